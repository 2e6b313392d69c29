"""The checker against nodes and a control plane that live in memory, on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest

from sample_cluster.checker.dial import RefusedError
from sample_cluster.checker.http_probe import HttpAnswer
from sample_cluster.checker.ports import ClusterView, Conflict, Stale, WriteOutcome, Written
from sample_cluster.checker.service import Checker
from sample_cluster.config import PRODUCTION, TEST, Profile
from sample_cluster.core.health import Transition
from sample_cluster.core.lease import Claim, Granted, HeldBy, LeaseAnswer
from sample_cluster.errors import StoreUnavailableError
from wsmon.errors import OperationRefusedError, UnreachableError
from wsmon.protocol.events import (
    EventBody,
    HeartbeatMissed,
    LeaderChanged,
    NodeStateChanged,
    ZombieRefused,
    body_fields,
    kind_of,
)
from wsmon.protocol.fields import Fields
from wsmon.protocol.frames import Actor, Command, EventFrame, JsonObject, ReadOnlyJson
from wsmon.protocol.registry import RegistryEntry, Verdict
from wsmon.protocol.states import CheckerMode, NodeState, PeerKind

WALL = 1_000_000.0
ROUND_TRIP_S = 0.001


class FakeLink:
    """An admin connection to a `FakeNode`."""

    def __init__(self, node: "FakeNode", on_word: Callable[[str], None]) -> None:
        self.boot = node.entry.boot
        self.on_word = on_word
        self._node = node
        self._closed = asyncio.Event()

    async def ping(self) -> float:
        await asyncio.sleep(ROUND_TRIP_S)
        await self._node.awake.wait()
        if self._closed.is_set():
            raise UnreachableError("gone")
        return ROUND_TRIP_S

    async def closed(self) -> None:
        await self._closed.wait()

    async def close(self) -> None:
        self._closed.set()


@dataclass
class FakeNode:
    """A node process as the checker meets it."""

    entry: RegistryEntry
    alive: bool = True
    status: int = 200
    word: str = "online"
    links: list[FakeLink] = field(default_factory=list)
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    async def kill(self) -> None:
        self.alive = False
        self.awake.set()
        for link in self.links:
            await link.close()
        self.links.clear()

    def say(self, word: str) -> None:
        self.word = word
        for link in self.links:
            link.on_word(word)


class World:
    """Nodes, and the control plane that they register in. Implements `ControlPlane`."""

    def __init__(self) -> None:
        self.nodes: dict[str, FakeNode] = {}
        self.entries: dict[str, RegistryEntry] = {}
        self.expired: set[str] = set()
        self.table: dict[str, Verdict] = {}
        self.log: list[tuple[str, NodeState, NodeState]] = []
        self.epoch = 0
        self.holder: str | None = None
        self.available = True

    def start(self, name: str, *, boot: int = 1) -> FakeNode:
        entry = RegistryEntry(
            kind=PeerKind.NODE, id=name, boot=boot, admin=name, version="1", address=f"127.0.0.1:{int(name[1:])}"
        )
        node = FakeNode(entry)
        node.awake.set()
        self.nodes[name] = node
        self.entries[name] = entry
        self.expired.discard(name)
        return node

    async def dial(self, url: str, on_word: Callable[[str], None]) -> FakeLink:
        node = self.nodes[url]
        if not node.alive:
            raise RefusedError(f"{url} refuses")
        await node.awake.wait()
        link = FakeLink(node, on_word)
        node.links.append(link)
        asyncio.get_running_loop().call_soon(on_word, node.word)
        return link

    async def get_health(self, host: str, port: int) -> HttpAnswer:
        node = self.nodes[f"n{port}"]
        if not node.alive:
            raise ConnectionRefusedError(111, "Connection refused")
        await asyncio.sleep(ROUND_TRIP_S)
        await node.awake.wait()
        return HttpAnswer(status=node.status, body=b'{"status":"ok","boot":%d}' % node.entry.boot)

    def _check(self) -> None:
        if not self.available:
            raise StoreUnavailableError("redis is away")

    async def claim(self, claim: Claim) -> LeaseAnswer:
        self._check()
        if self.holder == "c1" and claim.epoch and claim.epoch == self.epoch:
            return Granted(epoch=self.epoch)
        if self.holder is not None and not (self.holder == "c1" and claim.fresh):
            return HeldBy(epoch=self.epoch, who=self.holder)
        self.epoch = max(self.epoch, claim.floor) + 1
        self.holder = "c1"
        return Granted(epoch=self.epoch)

    async def read(self) -> ClusterView:
        self._check()
        return ClusterView(nodes=dict(self.entries), expired=frozenset(self.expired), table=dict(self.table))

    async def write(self, verdict: Verdict, transition: Transition, *, expected: int) -> WriteOutcome:
        self._check()
        await asyncio.sleep(0)
        if verdict.epoch < self.epoch:
            return Stale(self.epoch)
        standing = self.table.get(verdict.node)
        version = 0 if standing is None else standing.version
        if version != expected:
            return Conflict(standing, version)
        self.table[verdict.node] = verdict
        self.log.append((verdict.node, transition.old, verdict.state))
        return Written()

    async def forget(self, verdict: Verdict, *, epoch: int, reason: str, at: float) -> WriteOutcome:
        self._check()
        if epoch < self.epoch:
            return Stale(self.epoch)
        standing = self.table.get(verdict.node)
        if standing != verdict:
            return Conflict(standing, 0 if standing is None else standing.version)
        del self.table[verdict.node]
        return Written()


@dataclass
class Told:
    """Implements `Teller`; keeps what it is told."""

    state: ReadOnlyJson = field(default_factory=dict)
    events: list[EventBody] = field(default_factory=list)

    def publish(self, state: ReadOnlyJson) -> None:
        self.state = state

    def emit(self, body: EventBody) -> EventFrame:
        self.events.append(body)
        return EventFrame(source="c1", boot=1, seq=len(self.events), at=0, kind=kind_of(body), fields=body_fields(body))

    def target(self, name: str) -> JsonObject:
        return Fields(Fields(self.state, "state").object("targets"), "targets").object(name)


@dataclass
class Running:
    """A checker at work."""

    checker: Checker
    told: Told
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    def mode(self) -> CheckerMode:
        return self.checker.mode

    def path(self, node: str) -> list[str]:
        return [event.new for event in self.told.events if isinstance(event, NodeStateChanged) and event.node == node]


@asynccontextmanager
async def checking(world: World, profile: Profile = TEST) -> AsyncIterator[Running]:
    told = Told()
    checker = Checker(
        name="c1",
        profile=profile,
        plane=world,
        teller=told,
        dial=world.dial,
        get_health=world.get_health,
        wall=lambda: WALL + asyncio.get_running_loop().time(),
    )
    running = Running(checker, told, asyncio.create_task(checker.run()))
    try:
        yield running
        assert not running.task.done()
    finally:
        await running.stop()


def now() -> float:
    return asyncio.get_running_loop().time()


def forget(node: str) -> Command:
    return Command(id="c", op="forget", args={"node": node}, actor=Actor(user="ada", host="h"))


async def three_online(world: World) -> None:
    for name in ("n1", "n2", "n3"):
        world.start(name)


async def test_registered_nodes_come_online_and_every_step_is_written_and_told() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        assert {verdict.state for verdict in world.table.values()} == {NodeState.ONLINE}
        assert world.table["n2"].version == 2
        assert world.table["n2"].epoch == 1
        assert running.path("n2") == ["joining", "online"]
        assert LeaderChanged(epoch=1, who="c1") in running.told.events
        target = running.told.target("n1")
        assert target["state"] == "online"
        assert Fields(target, "target").object("heartbeat")["failed"] == 0
        assert Fields(target, "target").object("http")["status"] == 200
        assert WALL < Fields(target, "target").number("next_probe_at") < WALL + 3
        assert running.told.state["mode"] == "leading"
        assert running.told.state["leader"] == "c1"


async def test_a_killed_node_is_removed_within_about_half_a_second() -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(30)
        killed_at = now()
        await world.nodes["n2"].kill()
        await asyncio.sleep(0.6)
        assert running.path("n2")[-2:] == ["suspect", "removed"]
        assert world.table["n2"].at - WALL - killed_at == pytest.approx(0.5, abs=0.01)
        assert world.table["n2"].evidence["kind"] == "gone"
        assert world.table["n1"].state is NodeState.ONLINE


async def test_a_frozen_node_is_removed_within_its_window_and_recovers_when_thawed() -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(31)
        frozen_at = now()
        world.nodes["n1"].awake.clear()
        await asyncio.sleep(7)
        window = running.told.target("n1")["removal_window"]
        assert isinstance(window, list)
        await asyncio.sleep(9)
        assert running.path("n1")[-2:] == ["suspect", "removed"]
        silent_s = world.table["n1"].at - WALL - frozen_at
        assert 11 <= silent_s <= 16
        assert world.table["n1"].at == pytest.approx(window[0], abs=0.02)
        misses = [event.count for event in running.told.events if isinstance(event, HeartbeatMissed)]
        assert misses == [1, 2, 3]
        world.nodes["n1"].awake.set()
        await asyncio.sleep(20)
        assert running.path("n1")[-2:] == ["recovering", "online"]


async def test_a_pause_below_the_window_costs_a_suspicion_at_most() -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(31)
        world.nodes["n1"].awake.clear()
        await asyncio.sleep(10.9)
        world.nodes["n1"].awake.set()
        await asyncio.sleep(30)
        assert "removed" not in running.path("n1")
        assert world.table["n1"].state is NodeState.ONLINE


async def test_a_lost_connection_to_a_living_node_is_opened_again_at_once() -> None:
    world = World()
    node = world.start("n1")
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(30)
        await node.links.pop().close()
        await asyncio.sleep(0.1)
        assert running.path("n1")[-2:] == ["suspect", "online"]


async def test_a_node_that_was_replaced_between_two_looks_is_removed_and_joins() -> None:
    world = World()
    node = world.start("n1")
    async with checking(world) as running:
        await asyncio.sleep(2.1)
        await node.kill()
        world.start("n1", boot=2)
        await asyncio.sleep(2)
        assert running.path("n1") == ["joining", "online", "suspect", "removed", "joining", "online"]
        assert world.table["n1"].boot == 2


async def test_an_earlier_life_that_speaks_up_is_reported() -> None:
    world = World()
    node = world.start("n1", boot=2)
    async with checking(world) as running:
        await asyncio.sleep(2)
        node.entry = replace(node.entry, boot=1)
        await asyncio.sleep(3)
        assert any(isinstance(event, ZombieRefused) and event.node == "n1" for event in running.told.events)
        assert world.table["n1"].boot == 2


async def test_a_drained_node_leaves_without_an_alarm_and_is_dropped_after_a_minute() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        node = world.nodes["n3"]
        node.status = 503
        node.say("draining")
        node.say("of a later version")
        await asyncio.sleep(5)
        assert running.path("n3")[-1] == "draining"
        node.say("left")
        del world.entries["n3"]
        await node.kill()
        await asyncio.sleep(5)
        assert running.path("n3") == ["joining", "online", "draining", "left"]
        await asyncio.sleep(60)
        assert "n3" not in world.table
        assert "n3" not in running.checker.nodes


async def test_a_server_error_is_a_failure() -> None:
    world = World()
    node = world.start("n1")
    async with checking(world) as running:
        await asyncio.sleep(2)
        node.status = 500
        await asyncio.sleep(3)
        assert running.path("n1")[-2:] == ["suspect", "removed"]
        assert "answered 500" in world.table["n1"].reason


async def test_without_redis_verdicts_wait_and_only_what_still_holds_is_written() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        world.available = False
        await asyncio.sleep(1)
        assert running.mode() is CheckerMode.BLIND
        await world.nodes["n1"].kill()
        await world.nodes["n2"].links.pop().close()  # Suspect for a moment, and online again.
        await asyncio.sleep(5)
        assert running.told.target("n1")["state"] == "removed"
        assert running.told.state["mode"] == "blind"
        assert world.table["n1"].state is NodeState.ONLINE
        told = len(world.log)
        world.available = True
        await asyncio.sleep(1)
        assert world.log[told:] == [("n1", NodeState.ONLINE, NodeState.REMOVED)]
        assert running.mode() is CheckerMode.LEADING
        assert running.path("n2") == ["joining", "online"]


async def test_a_redis_that_forgot_everything_is_told_again_under_a_higher_epoch() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        world.available = False
        await asyncio.sleep(3)
        world.table.clear()
        world.epoch, world.holder, world.available = 0, None, True
        await asyncio.sleep(2)
        assert {verdict.state for verdict in world.table.values()} == {NodeState.ONLINE}
        assert world.epoch == 2
        assert running.told.events[-1] == NodeStateChanged(
            node="n3",
            old="left",
            new="online",
            reason="2 heartbeats and 1 HTTP check answered",
            evidence=world.table["n3"].evidence,
            epoch=2,
        )


async def test_a_restarted_checker_inherits_states_and_leaves_online_nodes_online() -> None:
    world = World()
    await three_online(world)
    async with checking(world):
        await asyncio.sleep(2)
        await world.nodes["n2"].kill()
        world.nodes["n3"].awake.clear()
        await asyncio.sleep(0.8)
    before = dict(world.table)
    assert before["n3"].state is NodeState.SUSPECT
    world.nodes["n3"].awake.set()
    async with checking(world) as running:
        await asyncio.sleep(1)
        assert world.epoch == 2
        assert running.path("n1") == []
        assert world.table["n1"] == before["n1"]
        assert world.table["n2"] == before["n2"]
        assert running.told.target("n1")["since"] == pytest.approx(before["n1"].at, abs=0.01)
        assert running.path("n3") == ["online"]


async def test_a_node_that_died_while_nobody_checked_is_found() -> None:
    world = World()
    await three_online(world)
    async with checking(world):
        await asyncio.sleep(2)
    await world.nodes["n1"].kill()
    world.expired.add("n1")
    del world.entries["n1"]
    async with checking(world) as running:
        await asyncio.sleep(3)
        assert running.path("n1") == ["suspect", "removed"]


async def test_a_standby_follows_the_table_and_writes_nothing() -> None:
    world = World()
    await three_online(world)
    async with checking(world):
        await asyncio.sleep(2)
    world.holder, world.epoch = "c0", 5
    written = len(world.log)
    async with checking(world) as running:
        await asyncio.sleep(2)
        assert running.mode() is CheckerMode.STANDBY
        assert running.told.state["leader"] == "c0"
        await world.nodes["n1"].kill()
        await asyncio.sleep(2)
        assert len(world.log) == written
        world.holder = None
        await asyncio.sleep(2)
        assert running.mode() is CheckerMode.LEADING
        assert world.table["n1"].state is NodeState.REMOVED
        assert world.table["n1"].epoch == 6


async def test_a_leader_that_was_overtaken_writes_nothing_more() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        world.holder, world.epoch = "c0", 9
        written = len(world.log)
        await world.nodes["n1"].kill()
        await asyncio.sleep(1)
        assert len(world.log) == written
        assert running.mode() is CheckerMode.STANDBY
        assert running.told.state["stale_verdicts_refused"] == 1


async def test_a_table_that_somebody_else_changed_is_written_on_top_of() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        world.table["n1"] = replace(world.table["n1"], version=40)
        await world.nodes["n1"].kill()
        await asyncio.sleep(1)
        assert world.table["n1"].state is NodeState.REMOVED
        assert world.table["n1"].version == 42
        assert running.path("n1")[-2:] == ["suspect", "removed"]


async def test_a_removed_node_is_forgotten_on_request_and_listed_again_when_it_returns() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        await world.nodes["n1"].kill()
        del world.entries["n1"]
        world.expired.add("n1")
        await asyncio.sleep(2)
        assert await running.checker.forget(forget("n1")) == {"node": "n1"}
        await asyncio.sleep(1)
        assert "n1" not in world.table
        assert "n1" not in running.checker.nodes
        assert running.path("n1")[-1] == "left"
        world.start("n1", boot=2)
        await asyncio.sleep(2)
        assert world.table["n1"].state is NodeState.ONLINE


async def test_only_a_node_that_is_gone_is_forgotten_and_only_by_a_leader_with_redis() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        with pytest.raises(OperationRefusedError, match="n1 is online"):
            await running.checker.forget(forget("n1"))
        with pytest.raises(OperationRefusedError, match="no node 'n9'"):
            await running.checker.forget(forget("n9"))
        await world.nodes["n1"].kill()
        await asyncio.sleep(1)
        world.table["n1"] = replace(world.table["n1"], version=40)
        with pytest.raises(OperationRefusedError, match="changed meanwhile"):
            await running.checker.forget(forget("n1"))
        world.available = False
        with pytest.raises(OperationRefusedError, match="redis is away"):
            await running.checker.forget(forget("n1"))
        with pytest.raises(OperationRefusedError, match="this checker is blind"):
            await running.checker.forget(forget("n1"))
