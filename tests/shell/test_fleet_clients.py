"""The fleet against a fake node, on virtual time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sample_cluster.config import DEMO
from sample_cluster.core.messages import ClientFrame, GoAway, GoAwayReason, Position, Resync, Subscribe, UnknownFrame
from sample_cluster.fleet import Fleet
from sample_cluster.membership import connect_redis
from sample_cluster.role import Role, RoleSettings
from tests.support.fake_node import EPOCH, FakeLog, FakeNode, FakeSession, eventually, nonce
from wsmon.errors import OperationRefusedError
from wsmon.protocol.frames import Actor, Command, EventFrame, Json
from wsmon.protocol.states import PeerKind


class Running:
    """A fleet that runs, and what it told."""

    def __init__(self, *, clients: int, rate: float, url: str, protobuf_share: float = 0.25) -> None:
        settings = RoleSettings(
            kind=PeerKind.FLEET,
            id="fleet",
            cluster="test",
            redis="unix:///nowhere/redis.sock",  # Never connected to: only run_role writes to the registry.
            admin="ws+unix:///nowhere/fleet.sock",
            profile=DEMO,
        )
        self.role = Role(settings, connect_redis(settings.redis), 1)
        self.events: list[EventFrame] = []
        self.role.agent.journal = self.events.append
        self.fleet = Fleet(self.role, gateway=url, clients=clients, rate=rate, seed=1, protobuf_share=protobuf_share)
        self.task = asyncio.get_running_loop().create_task(self.fleet.serve())

    @property
    def state(self) -> dict[str, Any]:
        """What was published last."""
        return dict(self.role.agent.state)

    def of(self, client: str) -> list[str]:
        """Kinds of the events of one client."""
        return [event.kind for event in self.events if event.fields.get("client") == client]

    def kinds(self, kind: str) -> list[EventFrame]:
        """All events of a kind."""
        return [event for event in self.events if event.kind == kind]

    async def perform(self, op: str, **args: Json) -> Any:
        """Run an operation as the admin socket would."""
        return await self.role.agent._operations[op].run(self._command(op, args))

    def check(self, op: str, **args: Json) -> Any:
        """Run its dry run."""
        check = self.role.agent._operations[op].check
        assert check is not None
        return check(self._command(op, args))

    @staticmethod
    def _command(op: str, args: dict[str, Json]) -> Command:
        return Command(id="1", op=op, args=args, actor=Actor(user="u", host="h"))


@asynccontextmanager
async def fleet_of(
    node: FakeNode, clients: int, *, rate: float = 20, protobuf_share: float = 0.25
) -> AsyncIterator[Running]:
    """Yield a fleet whose clients are connected, and end it."""
    running = Running(clients=clients, rate=rate, url=node.url, protobuf_share=protobuf_share)
    await eventually(lambda: running.state.get("connected") == clients)
    try:
        yield running
    finally:
        running.role.stopping.set()
        await running.task


async def test_sixty_clients_connect_within_half_a_second_and_publish_at_the_rate_without_a_loss() -> None:
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    async with FakeNode() as node, fleet_of(node, 60) as running:
        assert loop.time() - started_at < 1
        followed = [frame.channel for frame in node.said if isinstance(frame, Subscribe)]
        assert [followed.count(f"room.{number}") for number in (1, 2, 3)] == [20, 20, 20]
        await asyncio.sleep(10)
        state = running.state
        assert (state["clients"], state["connected"], state["reconnecting"], state["connecting"]) == (60, 60, 0, 0)
        audit = state["audit"]
        assert 195 <= audit["published"] <= 215
        assert 0 <= audit["published"] * 20 - audit["delivered"] <= 400
        for name in ("lost", "duplicated", "inverted", "never_acked", "refused", "overdue"):
            assert audit[name] == 0
        assert state["rate"] == 20
        assert state["process"]["rss"] > 0
        told = dict(state["clients_state"]["c001"])
        assert 0 <= told.pop("position") <= len(node.log.entries["room.1"])
        assert told == {
            "state": "connected",
            "node": "n1",
            "codec": "json",
            "session": "n1-1",
            "behind": 0,
        }
        assert len(state["clients_state"]) == 60
        assert "resume_ms" not in state
        assert running.events == []
        published = {
            frame.data["p"]
            for entries in node.log.entries.values()
            for frame in entries
            if isinstance(frame.data, dict)
        }
        assert len(published) == 60


async def test_a_killed_node_shows_in_state_and_events_and_costs_no_message() -> None:
    log = FakeLog()
    async with FakeNode(log) as node, fleet_of(node, 6) as running:
        await asyncio.sleep(3)
        await node.kill()
        await asyncio.sleep(4)
        state = running.state
        assert state["connected"] == 0
        assert state["reconnecting"] == 6
        told = state["clients_state"]["c001"]
        assert told["state"] == "waiting"
        assert told["node"] == "n1"
        assert told["attempt"] >= 2
        assert told["delay_s"] > 0
        assert abs(told["next_at"] - time.time()) < 60
        assert len(told["planned"]) == 3
        assert state["audit"]["published"] > 0
        async with FakeNode(log, name="n2"):
            await eventually(lambda: running.state["connected"] == 6)
            await asyncio.sleep(12)
            state = running.state
            assert state["audit"]["lost"] == state["audit"]["duplicated"] == state["audit"]["never_acked"] == 0
            assert state["audit"]["overdue"] == 0
            assert state["resume_ms"]["p99"] >= state["resume_ms"]["p50"] > 1_000
            kinds = running.of("c001")
            assert kinds[:3] == ["client_lost", "reconnect_scheduled", "reconnect_started"]
            assert kinds[-1] == "resumed"
            assert kinds.count("reconnect_failed") == kinds.count("reconnect_started") - 1
            lost, scheduled = running.kinds("client_lost")[0], running.kinds("reconnect_scheduled")
            assert lost.fields["code"] == 1006
            assert lost.fields["node"] == "n1"
            assert {event.fields["delay_source"] for event in scheduled} == {"spread", "backoff"}
            assert all(("jitter" in event.fields) == (event.fields["delay_source"] == "backoff") for event in scheduled)
            assert running.kinds("reconnect_failed")[0].fields["outcome"] == "refused"
            back = running.kinds("resumed")
            assert len(back) == 6
            assert {event.fields["node"] for event in back} == {"n2"}
            assert any(event.fields["how"] == "replay" for event in back)
            assert state["audit"]["replayed"] == sum(int(str(event.fields["replayed"])) for event in back) > 0
            assert any(event.fields["how"] == "live" for event in back)


@pytest.mark.parametrize(("share", "speakers"), [(0.25, 15), (0.0, 0), (1.0, 60), (0.1, 6)])
async def test_a_share_of_the_clients_speaks_protobuf_and_everybody_hears_everybody(
    share: float, speakers: int
) -> None:
    async with FakeNode() as node, fleet_of(node, 60, protobuf_share=share) as running:
        await asyncio.sleep(5)
        spoken = [str(session.connection.subprotocol) for session in node.sessions]
        assert (spoken.count("wsc.v1.pb"), spoken.count("wsc.v1.json")) == (speakers, 60 - speakers)
        assert running.state["protobuf"] == speakers
        audit = running.state["audit"]
        assert audit["delivered"] >= 20 * (audit["published"] - 20) > 0
        assert (audit["lost"], audit["duplicated"]) == (0, 0)


async def test_clients_that_are_handed_over_are_neither_lost_nor_away() -> None:
    log = FakeLog()
    async with FakeNode(log) as node, fleet_of(node, 6, rate=0) as running:
        await running.perform("rate", messages_per_s=20)
        await asyncio.sleep(3)
        await node.stop_listening()
        node.go_away(retry_ms=500)
        await asyncio.sleep(2)
        assert running.state["connected"] == 6  # Nobody takes them yet: they stay.
        async with FakeNode(log, name="n2"):
            await eventually(lambda: len(running.kinds("resumed")) == 6)
            await publish_for(running, 12)
            state = running.state
            assert state["handovers"] == 6
            assert "resume_ms" not in state
            told = state["clients_state"]["c001"]
            assert {name: told[name] for name in ("state", "node", "codec", "session", "behind")} == {
                "state": "connected",
                "node": "n2",
                "codec": "json",
                "session": "n1-1",
                "behind": 0,
            }
            assert [state["audit"][name] for name in ("lost", "duplicated", "inverted", "overdue")] == [0, 0, 0, 0]
            assert state["audit"]["delivered"] == 2 * state["audit"]["published"]
            assert set(running.of("c001")) == {"reconnect_scheduled", "resumed"}
            assert {(event.fields["how"], event.fields["ms"]) for event in running.kinds("resumed")} == {
                ("handover", 0.0)
            }
        assert node.codes() == [1000] * 6


async def publish_for(running: Running, seconds: float, *, rate: float = 40) -> None:
    """Publish for a while, and wait until all is handed out."""
    await running.perform("rate", messages_per_s=rate)
    await asyncio.sleep(seconds)
    await running.perform("rate", messages_per_s=0)
    await asyncio.sleep(1)


@pytest.mark.parametrize("away", [False, True])
async def test_what_a_fork_took_back_and_somebody_wrote_again_is_no_loss_and_comes_once(*, away: bool) -> None:
    async with FakeNode() as node, fleet_of(node, 6, rate=0) as running:
        await publish_for(running, 3)
        log, room = node.log, "room.1"
        if away:
            await node.kill()
        void = log.fork(room, len(log.entries[room]) - 5, tell=not away)
        if away:
            await node.start()
            await eventually(lambda: len(running.kinds("resumed")) == 6)
        log.append(room, "a stranger's")
        log.restore(*void)
        await publish_for(running, 3)
        await asyncio.sleep(12)
        audit = running.state["audit"]
        names = ("lost", "duplicated", "inverted", "never_acked", "overdue")
        assert {name: audit[name] for name in names} == dict.fromkeys(names, 0)
        assert (audit["rewound"], audit["resyncs"]) == ((0, 2) if away else (2, 0))
        assert audit["rewritten"] == 10
        assert audit["delivered"] == 2 * (audit["published"] + 1)
        how = [event.fields["how"] for event in running.kinds("resumed")]
        assert how.count("resync") == (2 if away else 0)


async def test_an_answered_message_that_a_subscriber_never_got_is_lost_unless_it_is_written_again() -> None:
    async with FakeNode() as node, fleet_of(node, 3, rate=0) as running:
        log, room = node.log, "room.1"
        await publish_for(running, 2)
        follower = next(session for session in log.followers if room in session.channels)
        follower.channels.discard(room)  # Its feed is deaf.
        await publish_for(running, 0.5)
        follower.channels.add(room)
        missed = running.state["audit"]["published"] - running.state["audit"]["delivered"]
        assert missed > 3
        keep = len(log.entries[room]) - missed
        void = log.fork(room, keep)
        await asyncio.sleep(5)
        assert running.state["audit"]["lost"] == 0
        await asyncio.sleep(10)
        assert running.state["audit"]["lost"] == missed
        log.restore(*void)
        await asyncio.sleep(1)
        audit = running.state["audit"]
        assert (audit["lost"], audit["duplicated"], audit["rewound"]) == (0, 0, 1)
        assert audit["delivered"] == audit["published"]


async def test_clients_that_were_never_connected_are_connecting_and_say_nothing() -> None:
    node = FakeNode()
    running = Running(clients=3, rate=20, url=node.url)
    await asyncio.sleep(5)
    assert running.events == []
    state = running.state
    assert (state["connecting"], state["reconnecting"], state["connected"]) == (3, 0, 0)
    assert state["clients_state"]["c002"]["state"] == "connecting"
    assert "node" not in state["clients_state"]["c002"]
    async with node:
        await eventually(lambda: running.state["connected"] == 3, within_s=2)
        assert running.events == []
        running.role.stopping.set()
        await running.task


async def test_clients_that_are_asked_to_leave_are_not_lost() -> None:
    async with FakeNode() as node, fleet_of(node, 6) as running:
        await asyncio.sleep(2)
        node.send(GoAway(reason=GoAwayReason.DRAIN, retry_ms=2_000, spread_ms=1_000, deadline_ms=9_000, handover=False))
        await asyncio.sleep(1)
        told = running.state["clients_state"]["c001"]
        assert told["state"] == "connected"
        assert "next_at" in told
        await eventually(lambda: len(running.kinds("resumed")) == 6)
        assert running.of("c001") == ["reconnect_scheduled", "reconnect_started", "resumed"]
        assert {event.fields["delay_source"] for event in running.kinds("reconnect_scheduled")} == {"goaway"}
        await asyncio.sleep(1)
        assert running.state["audit"]["lost"] == 0
        assert [code for code in node.codes() if code is not None] == [1000] * 6


async def test_stopping_closes_every_client_with_1000_within_half_a_second() -> None:
    loop = asyncio.get_running_loop()
    async with FakeNode() as node:
        async with fleet_of(node, 30) as running:
            running.role.stopping.set()
            before = loop.time()
            await running.task
            assert loop.time() - before <= 0.5
        await asyncio.sleep(0.1)
        assert node.codes() == [1000] * 30
        assert running.events == []


async def test_a_client_that_gets_nothing_falls_behind_what_the_others_have() -> None:
    async with FakeNode() as node, fleet_of(node, 6, rate=0) as running:
        log, room = node.log, "room.1"
        await publish_for(running, 2)
        follower = next(session for session in log.followers if room in session.channels)
        follower.channels.discard(room)  # Its feed is deaf.
        before = len(log.entries[room])
        await publish_for(running, 4)
        await asyncio.sleep(5)
        states = [running.state["clients_state"][name] for name in ("c001", "c004")]
        deaf = max(states, key=lambda state: state["behind"])
        assert deaf["behind"] == len(log.entries[room]) - before > 0
        assert sorted(state["behind"] for state in states) == [0, deaf["behind"]]
        await node.kill()
        await asyncio.sleep(3)
        away = {state["position"]: state.get("behind") for state in running.state["clients_state"].values()}
        # What it lacked when it was lost is known; that the others lack nothing is not.
        assert away[before] == deaf["behind"]
        assert away[len(log.entries[room])] is None
        await node.start()
        await eventually(lambda: len(running.kinds("resumed")) == 6)
        await asyncio.sleep(5)
        told = running.state["clients_state"]
        assert {told[name]["position"] for name in ("c001", "c004")} == {len(log.entries[room])}
        assert {state["behind"] for state in told.values()} == {0}


async def test_a_position_is_told_now_and_then_and_not_with_every_message() -> None:
    async with FakeNode() as node, fleet_of(node, 3, rate=0) as running:
        await running.perform("rate", messages_per_s=30)
        told: dict[float, int] = {}
        for _ in range(240):
            told.setdefault(running.state["clients_state"]["c001"]["position"], len(told))
            await asyncio.sleep(0.25)
        assert 3 <= len(told) <= 5
        assert max(told) > 200


async def test_who_goes_on_in_a_history_that_was_taken_back_is_neither_behind_nor_ahead() -> None:
    async with FakeNode() as node, fleet_of(node, 6, rate=0) as running:
        await publish_for(running, 3)
        await asyncio.sleep(5)
        node.log.fork("room.1", len(node.log.entries["room.1"]) - 5, tell=True)
        await asyncio.sleep(0.5)
        assert {running.state["clients_state"][name].get("behind", 0) for name in ("c001", "c004")} == {0}
        await asyncio.sleep(5)
        assert {running.state["clients_state"][name]["behind"] for name in ("c001", "c004")} == {0}


async def test_the_fleet_grows_and_shrinks_and_numbers_go_on() -> None:
    async with FakeNode() as node, fleet_of(node, 3, rate=30) as running:
        await asyncio.sleep(2)
        assert await running.perform("scale", clients=6) == {"clients": 6, "before": 3}
        await eventually(lambda: running.state["connected"] == 6)
        await asyncio.sleep(3)
        await running.perform("scale", clients=2)
        await eventually(lambda: running.state["clients"] == 2)
        await asyncio.sleep(12)
        await running.perform("scale", clients=6)
        await eventually(lambda: running.state["connected"] == 6)
        await asyncio.sleep(12)
        audit = running.state["audit"]
        assert all(audit[name] == 0 for name in ("lost", "duplicated", "inverted", "never_acked", "overdue"))
        numbers = [
            int(str(frame.data["n"]))
            for frame in node.log.entries["room.3"]
            if isinstance(frame.data, dict) and frame.data["p"] == "c006"
        ]
        assert numbers == sorted(set(numbers))
        assert running.events == []


async def test_the_rate_can_be_changed_and_be_nothing() -> None:
    async with FakeNode() as node, fleet_of(node, 3, rate=0) as running:
        await asyncio.sleep(5)
        assert running.state["audit"]["published"] == 0
        assert await running.perform("rate", messages_per_s=200) == {"messages_per_s": 200, "before": 0}
        await asyncio.sleep(5)
        published = running.state["audit"]["published"]
        assert 900 <= published <= 1_010
        await running.perform("rate", messages_per_s=0)
        await asyncio.sleep(1)
        published = running.state["audit"]["published"]
        await asyncio.sleep(5)
        assert running.state["audit"]["published"] == published
        assert running.state["rate"] == 0


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("scale", {}),
        ("scale", {"clients": -1}),
        ("scale", {"clients": 5_001}),
        ("scale", {"clients": True}),
        ("scale", {"clients": "many"}),
        ("rate", {}),
        ("rate", {"messages_per_s": -1}),
        ("rate", {"messages_per_s": 1e9}),
        ("rate", {"messages_per_s": False}),
    ],
)
async def test_operations_refuse_what_makes_no_sense(op: str, args: dict[str, Json]) -> None:
    async with FakeNode() as node, fleet_of(node, 1) as running:
        with pytest.raises(OperationRefusedError) as caught:
            await running.perform(op, **args)
        assert caught.value.code == "bad_args"
        with pytest.raises(OperationRefusedError):
            running.check(op, **args)


async def test_a_dry_run_changes_nothing() -> None:
    async with FakeNode() as node, fleet_of(node, 2) as running:
        assert running.check("scale", clients=9) == {"clients": 9, "before": 2}
        assert running.check("rate", messages_per_s=1) == {"messages_per_s": 1, "before": 20}
        await asyncio.sleep(1)
        assert running.state["clients"] == 2
        assert running.state["rate"] == 20


async def test_a_large_fleet_tells_of_those_away_or_just_back() -> None:
    async with FakeNode() as node, fleet_of(node, 210, rate=0) as running:
        assert running.state["clients_state"] == {}
        # Nodes ping; otherwise the clients would rightly call the silence death.
        node.ping()
        await node.sessions[0].connection.close(1012)
        await eventually(lambda: bool(running.kinds("resumed")))
        await asyncio.sleep(0.5)
        assert len(running.state["clients_state"]) == 1
        for _ in range(13):
            node.ping()
            await asyncio.sleep(5)
        assert running.state["clients_state"] == {}


async def test_a_strangers_messages_count_by_their_place_only() -> None:
    async with FakeNode() as node, fleet_of(node, 1, rate=0) as running:
        strange: tuple[Json, ...] = (
            "text",
            None,
            {"p": "somebody", "n": 1},
            {"p": "somebody", "n": 1},
            {"p": 5},
            {"p": "c001"},
        )
        for data in strange:
            node.log.append("room.1", data)
        await asyncio.sleep(1)
        audit = running.state["audit"]
        assert (audit["delivered"], audit["duplicated"], audit["lost"]) == (6, 0, 0)


async def test_what_a_resync_names_is_lost() -> None:
    async with FakeNode() as node, fleet_of(node, 1, rate=0) as running:
        position = Position(epoch=EPOCH, seq=7, nonce=nonce(7))
        node.send(Resync(channel="room.1", reason="trimmed", have=0, first=8, top=9, position=position))
        await asyncio.sleep(1)
        assert running.state["audit"]["lost"] == 7


async def test_refused_publishes_are_counted_and_a_full_outbox_skips() -> None:
    async with FakeNode() as node, fleet_of(node, 1, rate=10) as running:
        node.refusal = ("too_big", False, None)
        await asyncio.sleep(2)
        assert running.state["audit"]["refused"] > 10
        node.refusal = None
        node.answers_publishes = False
        await asyncio.sleep(20)
        state = running.state
        assert state["skipped"] > 0
        assert state["audit"]["never_acked"] > 0


async def test_a_client_that_was_told_to_stay_away_is_shown_as_stopped() -> None:
    async with FakeNode() as node, fleet_of(node, 2) as running:
        await node.sessions[0].connection.close(4504)
        await asyncio.sleep(1)
        state = running.state
        assert (state["connected"], state["stopped"], state["reconnecting"]) == (1, 1, 0)
        told = state["clients_state"]["c001"]
        assert told == {
            "state": "stopped",
            "node": "n1",
            "codec": "json",
            "session": "n1-1",
            "position": told["position"],
        }
        assert running.of("c001") == ["client_lost", "reconnect_failed"]


async def test_a_subscription_that_a_node_refuses_leaves_the_client_connected() -> None:
    async with FakeNode() as node:

        def swallow(_: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            return isinstance(frame, Subscribe)

        node.answer = swallow
        async with fleet_of(node, 1) as running:
            await asyncio.sleep(3)
            assert running.state["connected"] == 1


async def test_clients_are_described_one_by_one_only_as_often_as_that_is_cheap_and_always_counted() -> None:
    async with FakeNode() as node, fleet_of(node, 3, rate=0) as running:
        loop, fleet = asyncio.get_running_loop(), running.fleet
        fleet._describe_at = loop.time() + 5
        await running.perform("scale", clients=4)
        await eventually(lambda: running.state["connected"] == 4)
        assert running.state["clients_state"].keys() == {"c001", "c002", "c003"}
        await asyncio.sleep(5)
        assert running.state["clients_state"].keys() == {"c001", "c002", "c003", "c004"}
