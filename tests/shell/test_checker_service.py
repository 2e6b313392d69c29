"""The checker against nodes and a control plane that live in memory, on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest

from sample_cluster.checker.dial import RefusedError
from sample_cluster.checker.http_probe import HttpAnswer
from sample_cluster.checker.ports import ClusterView, Conflict, Stale, WriteOutcome, Written
from sample_cluster.checker.prober import LATE_MOST
from sample_cluster.checker.service import TOLD_AT_ONCE, Checker, no_canary
from sample_cluster.config import PRODUCTION, PROFILES, TEST, Profile
from sample_cluster.core.classify import Look, TcpInfo
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
from wsmon.protocol.frames import Actor, Command, EventFrame, Json, JsonObject, ReadOnlyJson
from wsmon.protocol.registry import RegistryEntry, Verdict
from wsmon.protocol.states import CheckerMode, NodeState, PeerKind

WALL = 1_000_000.0
ROUND_TRIP_S = 0.001
ADA = Actor(user="ada", host="h")


def now() -> float:
    return asyncio.get_running_loop().time()


def wall() -> float:
    return WALL + now()


class FakeLink:
    """An admin connection to a `FakeNode`."""

    def __init__(self, world: "World", node: "FakeNode", on_word: Callable[[str], None]) -> None:
        self.id = node.says_id or node.entry.id
        self.boot = node.entry.boot
        self.on_word = on_word
        self._world = world
        self._node = node
        self._closed = asyncio.Event()

    async def ping(self) -> float:
        asked = now()
        await asyncio.sleep(self._world.delay_s.get(self._node.entry.id, ROUND_TRIP_S))
        await self._world._passes(self._node.entry.id)
        await self._node.awake.wait()
        if self._closed.is_set():
            raise UnreachableError("gone")
        return now() - asked

    def look(self) -> Look:
        return self._node.look

    async def reaches(self, node: str, *, address: str | None, within_s: float) -> bool | None:
        self._world.addresses.append(address)
        await asyncio.sleep(ROUND_TRIP_S)
        await self._node.awake.wait()
        if self._closed.is_set():
            raise UnreachableError("gone")
        asked = self._world.nodes.get(node)
        self._world.helped.append((self.id, node))
        if asked is None:
            return None
        try:
            async with asyncio.timeout(within_s):
                await asked.awake.wait()
        except TimeoutError:
            return False
        return asked.alive

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
    says_id: str = ""
    dying_until: float = 0.0
    """Until then connections are taken, and ended at once."""
    look: Look = field(default_factory=Look)
    """What the kernel says of connections to it."""
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
        self.helped: list[tuple[str, str]] = []
        """Who was asked about whom."""
        self.addresses: list[str | None] = []
        """Where helpers were told that it serves."""
        self.delay_s: dict[str, float] = {}
        """Nodes whose heartbeats take so long."""
        self.cut: set[str] = set()
        """Nodes that checkers do not reach, and others do."""
        self.refused: tuple[str, ...] = ()
        self.released = 0
        self.checkers: set[str] = set()

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
        if not node.alive and now() >= node.dying_until:
            raise RefusedError(f"{url} refuses")
        if now() < node.dying_until:
            await asyncio.sleep(ROUND_TRIP_S)
            raise UnreachableError(f"{url} closed the connection while it was opened")
        await self._passes(url)
        await node.awake.wait()
        link = FakeLink(self, node, on_word)
        node.links.append(link)
        asyncio.get_running_loop().call_soon(on_word, node.word)
        return link

    async def _passes(self, name: str) -> None:
        if name in self.cut:
            await asyncio.Event().wait()

    async def get_health(self, host: str, port: int, on_connected: Callable[[Callable[[], Look]], None]) -> HttpAnswer:
        node = self.nodes[f"n{port}"]
        on_connected(lambda: node.look)
        await self._passes(node.entry.id)
        if not node.alive:
            raise ConnectionRefusedError(111, "Connection refused")
        await asyncio.sleep(ROUND_TRIP_S)
        await node.awake.wait()
        return HttpAnswer(status=node.status, body=b'{"status":"ok","boot":%d}' % node.entry.boot, look=node.look)

    def state(self, name: str) -> NodeState:
        return self.table[name].state

    def _check(self) -> None:
        if not self.available:
            raise StoreUnavailableError("redis is away")

    def plane(self, who: str) -> "Plane":
        return Plane(self, who)

    async def claim(self, claim: Claim, who: str) -> LeaseAnswer:
        self._check()
        if self.holder == who and claim.epoch and claim.epoch == self.epoch:
            return Granted(epoch=self.epoch)
        if not claim.take or (self.holder is not None and not (self.holder == who and claim.fresh)):
            return HeldBy(epoch=self.epoch, who=self.holder or "")
        self.epoch = max(self.epoch, claim.floor) + 1
        self.holder = who
        return Granted(epoch=self.epoch)

    async def release(self, claim: Claim, who: str) -> None:
        self._check()
        self.released += 1
        if self.holder == who and claim.epoch == self.epoch:
            self.holder = None

    async def read(self) -> ClusterView:
        self._check()
        return ClusterView(
            nodes=dict(self.entries),
            expired=frozenset(self.expired),
            checkers=frozenset(self.checkers),
            table=dict(self.table),
            refused=self.refused,
        )

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


class Plane:
    """What one checker sees of the control plane. Implements `ControlPlane`."""

    def __init__(self, world: World, who: str) -> None:
        self._world = world
        self._who = who
        self.read = world.read
        self.write = world.write
        self.forget = world.forget

    async def claim(self, claim: Claim) -> LeaseAnswer:
        return await self._world.claim(claim, self._who)

    async def release(self, claim: Claim) -> None:
        await self._world.release(claim, self._who)


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

    stopped: bool = False

    async def stop(self) -> None:
        self.stopped = True
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    def mode(self) -> CheckerMode:
        return self.checker.mode

    def told_of(self, kind: str) -> list[dict[str, Json]]:
        return [body_fields(event) for event in self.told.events if kind_of(event) == kind]

    def path(self, node: str) -> list[str]:
        return [event.new for event in self.told.events if isinstance(event, NodeStateChanged) and event.node == node]


@asynccontextmanager
async def checking(
    world: World,
    profile: Profile = TEST,
    *,
    name: str = "c1",
    wall: Callable[[], float] = wall,
    steady: Callable[[], float] = now,
    canary: Callable[[], Awaitable[None]] = no_canary,
) -> AsyncIterator[Running]:
    told = Told()
    world.checkers.add(name)
    checker = Checker(
        name=name,
        profile=profile,
        plane=world.plane(name),
        teller=told,
        dial=world.dial,
        get_health=world.get_health,
        canary=canary,
        wall=wall,
        steady=steady,
    )
    running = Running(checker, told, asyncio.create_task(checker.run()))
    try:
        yield running
        assert running.stopped or not running.task.done()
    finally:
        await running.stop()


def forget(node: str) -> Command:
    return Command(id="c", op="forget", args={"node": node}, actor=ADA)


def hold(node: str, state: str, ttl_s: float) -> Command:
    args: JsonObject = {"node": node, "state": state, "ttl_s": ttl_s}
    return Command(id="c", op="hold", args=args, actor=ADA, reason="a test")


def step_down() -> Command:
    return Command(id="c", op="step_down", args={}, actor=ADA)


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
        assert world.state("n1") is NodeState.ONLINE


async def test_a_frozen_node_is_removed_within_its_window_and_recovers_when_thawed() -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(31)
        frozen_at = now()
        assert running.told.target("n1")["removal_window_s"] == [10.99, 17.0]
        assert running.told.target("n1")["why"] == "online: 2 heartbeats and 1 HTTP check answered"
        world.nodes["n1"].awake.clear()
        await asyncio.sleep(7)
        assert "removal_window_s" not in running.told.target("n1")
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
        assert world.state("n1") is NodeState.ONLINE


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
    await three_online(world)
    node = world.nodes["n1"]
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
        assert running.told.target("n1")["state"] == "online"  # Nobody is judged by whom Redis does not hear.
        assert running.told.state["mode"] == "blind"
        assert world.state("n1") is NodeState.ONLINE
        told = len(world.log)
        world.available = True
        await asyncio.sleep(1)
        assert [node for node, _, _ in world.log[told:]] == ["n1"]
        assert world.state("n1") is NodeState.REMOVED
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
        assert world.state("n1") is NodeState.REMOVED
        assert world.table["n1"].epoch == 6


async def test_a_leader_that_was_overtaken_writes_nothing_more() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2.1)
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
        assert world.state("n1") is NodeState.REMOVED
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
        assert world.state("n1") is NodeState.ONLINE


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


# Other nodes' help.


async def test_a_node_that_only_the_checker_cannot_reach_stays_online() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        world.cut.add("n1")
        await asyncio.sleep(20)
        assert running.path("n1") == ["joining", "online"]
        assert {node for _, node in world.helped} == {"n1"}
        assert {helper for helper, _ in world.helped} == {"n2", "n3"}
        vouched = Fields(running.told.target("n1"), "target").object("heartbeat")["vouched"]
        assert isinstance(vouched, int)
        assert vouched > 20


async def test_evidence_says_who_was_asked_and_what_they_said() -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(30)
        world.nodes["n1"].awake.clear()
        await asyncio.sleep(7)
        why = running.told.target("n1")["why"]
        assert isinstance(why, str)
        assert why.startswith("suspect: heartbeat 1/3 missed (")
        assert ", helpers n2 no, n3 no; removal in " in why
        await asyncio.sleep(10)
        evidence = world.table["n1"].evidence
        assert evidence["helpers"] == {"n2": "no", "n3": "no"}
        assert evidence["answer"] == "no answer within 1 s"
        assert (evidence["failed"], evidence["needed"], evidence["penalty"]) == (3, 3, 1_000)
        asked_at = evidence["asked_at"]
        assert isinstance(asked_at, float)
        assert world.table["n1"].at == pytest.approx(asked_at + 1.0, abs=0.01)


async def test_a_helper_whose_connection_ends_is_no_evidence() -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(30)
        world.cut.add("n1")
        for name in ("n2", "n3"):
            world.nodes[name].awake.clear()  # They freeze, and cannot help.
        await asyncio.sleep(120)
        assert running.told.state["panic"] == {"removed": 1, "allowed": 1}
        assert running.told.state["mode"] == "panic"
        states = sorted(str(verdict.state) for verdict in world.table.values())
        assert states == ["removed", "suspect", "suspect"]
        assert sum("held by panic" in verdict.reason for verdict in world.table.values()) == 2
        score = running.told.state["score"]
        assert isinstance(score, int)
        assert score >= 1
        assert running.told.state["doubts"] == ["half of all nodes or more fail at once"]


# A killed process.


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("dying_s", [0.0, 0.01, 0.1, 0.3])
async def test_a_process_that_takes_connections_while_it_dies_is_removed_within_a_second(
    profile: Profile, dying_s: float
) -> None:
    world = World()
    await three_online(world)
    async with checking(world, profile) as running:
        await asyncio.sleep(30)
        killed_at = now()
        world.nodes["n2"].dying_until = killed_at + dying_s
        await world.nodes["n2"].kill()
        await asyncio.sleep(1.0)
        assert running.path("n2")[-2:] == ["suspect", "removed"]
        assert world.table["n2"].evidence["kind"] == "gone"
        assert not [event for event in running.told.events if isinstance(event, HeartbeatMissed)]


async def test_a_node_that_is_killed_again_and_again_is_kept_out_for_a_while() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        for boot in range(2, 5):
            await asyncio.sleep(2)
            await world.nodes["n1"].kill()
            await asyncio.sleep(1)
            world.start("n1", boot=boot)
        await asyncio.sleep(2)
        target = running.told.target("n1")
        assert target["state"] == "quarantined"
        reuse_in_s, penalty = target["reuse_in_s"], target["penalty"]
        assert isinstance(reuse_in_s, int)
        assert isinstance(penalty, int)
        assert 1_000 < penalty < 3_000
        assert 0 < reuse_in_s < 20
        assert f"may come back in {reuse_in_s}" in str(target["why"]) or reuse_in_s > 0
        await asyncio.sleep(reuse_in_s + 3)
        assert running.path("n1")[-3:] == ["quarantined", "recovering", "online"]


# Two checkers.


async def test_of_two_checkers_one_leads_and_the_other_writes_nothing() -> None:
    world = World()
    await three_online(world)
    async with checking(world, name="c1") as first, checking(world, name="c2") as second:
        await asyncio.sleep(3)
        assert (first.mode(), second.mode()) == (CheckerMode.LEADING, CheckerMode.STANDBY)
        assert second.told.state["leader"] == "c1"
        assert second.path("n1") == []
        assert second.told.target("n1")["state"] == "online"
        last_ok = Fields(second.told.target("n1"), "target").object("heartbeat")["last_ok"]
        assert isinstance(last_ok, float)
        assert last_ok > WALL + 2  # It probes, all the same.
        await world.nodes["n1"].kill()
        await asyncio.sleep(1.5)
        assert second.told.target("n1")["state"] == "removed"
        assert not [event for event in second.told.events if isinstance(event, NodeStateChanged)]


async def test_whoever_takes_over_inherits_states_and_not_counts() -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION, name="c1") as first, checking(world, PRODUCTION, name="c2") as second:
        await asyncio.sleep(31)
        frozen_at = now()
        world.nodes["n1"].awake.clear()
        await asyncio.sleep(11.0)
        assert world.state("n1") is NodeState.SUSPECT
        assert first.checker.nodes["n1"].heartbeat.failed == 2
        await first.stop()
        world.holder = None  # Its lease runs out.
        await asyncio.sleep(2.1)
        assert second.mode() is CheckerMode.LEADING
        took_at = now()
        await asyncio.sleep(20)
        removed_at = world.table["n1"].at - WALL
        assert world.state("n1") is NodeState.REMOVED
        assert removed_at - took_at > 8
        assert removed_at - frozen_at > 20


async def test_stepping_down_leaves_the_lead_to_another_at_once() -> None:
    world = World()
    await three_online(world)
    async with checking(world, name="c1") as first, checking(world, name="c2") as second:
        await asyncio.sleep(3)
        assert await first.checker.step_down(step_down()) == {"epoch": 1, "others": ["c2"]}
        assert first.mode() is CheckerMode.STANDBY
        await asyncio.sleep(0.6)
        assert second.mode() is CheckerMode.LEADING
        assert LeaderChanged(epoch=2, who="c2") in second.told.events
        with pytest.raises(OperationRefusedError, match="this checker is standby; c2 leads"):
            await first.checker.step_down(step_down())
        await world.nodes["n1"].kill()
        await asyncio.sleep(1)
        assert world.table["n1"].epoch == 2
        await second.checker.resign()
        await second.stop()
        await asyncio.sleep(6)
        assert first.mode() is CheckerMode.LEADING


async def test_nobody_steps_down_if_nobody_else_could_lead() -> None:
    world = World()
    async with checking(world) as running:
        await asyncio.sleep(1)
        with pytest.raises(OperationRefusedError, match="no other checker"):
            running.checker.check_step_down(step_down())
        world.checkers.add("c9")
        await asyncio.sleep(1)
        assert running.checker.check_step_down(step_down()) == {"epoch": 1, "others": ["c9"]}
        world.available = False
        await running.checker.step_down(step_down())
        assert running.mode() is CheckerMode.BLIND


async def test_a_checker_that_ends_gives_its_lease_back_if_it_can() -> None:
    world = World()
    async with checking(world) as running:
        await asyncio.sleep(1)
        await running.checker.resign()
        assert world.holder is None
        world.available = False
        await running.checker.resign()


# An operator's hold.


async def test_a_hold_is_written_shown_wins_and_ends() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        assert running.checker.check_hold(hold("n1", "removed", 10)) == {"node": "n1", "state": "online"}
        effect = await running.checker.hold(hold("n1", "removed", 10))
        assert effect == {"node": "n1", "state": "removed", "until": pytest.approx(wall() + 10, abs=0.01)}
        await asyncio.sleep(5)
        assert world.state("n1") is NodeState.REMOVED
        assert world.table["n1"].reason == "held removed by ada for 10 s: a test"
        assert running.told.target("n1")["held_until"] == pytest.approx(effect["until"], abs=0.1)
        await asyncio.sleep(8)
        assert running.path("n1")[-2:] == ["recovering", "online"]
        await running.checker.hold(hold("n2", "suspect", 60))
        await running.checker.hold(hold("n2", "online", 0))
        await asyncio.sleep(1)
        assert world.state("n2") is NodeState.ONLINE


async def test_a_hold_lives_on_under_the_next_leader() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        await running.checker.hold(hold("n1", "removed", 10))
        await asyncio.sleep(0.5)
    world.holder = None
    async with checking(world, name="c2") as running:
        await asyncio.sleep(6)
        assert running.mode() is CheckerMode.LEADING
        assert world.state("n1") is NodeState.REMOVED
        await asyncio.sleep(6)
        assert world.state("n1") is NodeState.ONLINE


@pytest.mark.parametrize(
    ("node", "state", "ttl_s", "why"),
    [
        ("n9", "online", 5, "no node 'n9'"),
        ("n1", "joining", 5, "hold.state is not one of online, suspect, removed"),
        ("n1", "asleep", 5, "hold.state is 'asleep'"),
        ("n1", "online", -1, "hold.ttl_s"),
        ("n1", "online", 1e9, "hold.ttl_s"),
        ("n1", "online", 0, "n1 is not held"),
    ],
)
async def test_a_hold_that_makes_no_sense_is_refused(node: str, state: str, ttl_s: float, why: str) -> None:
    world = World()
    world.start("n1")
    async with checking(world) as running:
        await asyncio.sleep(2)
        with pytest.raises(OperationRefusedError, match=why):
            await running.checker.hold(hold(node, state, ttl_s))
        assert running.path("n1") == ["joining", "online"]


# Is it me?


async def test_a_checker_that_stood_still_judges_nobody_for_a_while() -> None:
    world = World()
    await three_online(world)
    asleep_s = 0.0
    async with checking(world, PRODUCTION, steady=lambda: now() + asleep_s) as running:
        await asyncio.sleep(30)
        asleep_s = 3_600.0
        await world.nodes["n1"].kill()
        world.nodes["n2"].awake.clear()
        await asyncio.sleep(9)
        assert running.mode() is CheckerMode.TILT
        assert running.told.state["mode"] == "tilt"
        assert running.told.state["leader"] == "c1"
        assert "tilt_until" in running.told.state
        assert str(running.told.state["why"]).startswith("tilt: it stood still for 3600")
        assert world.state("n1") is NodeState.ONLINE
        (told,) = running.told_of("tilt")
        assert told == {"gap_s": pytest.approx(3_600.1, abs=0.2), "freeze_s": 10.0}
        await asyncio.sleep(3)
        assert running.mode() is CheckerMode.LEADING
        assert world.state("n1") is NodeState.REMOVED
        assert world.state("n2") is not NodeState.REMOVED
        await asyncio.sleep(16)
        assert world.state("n2") is NodeState.REMOVED


async def test_a_canary_that_fails_makes_patient() -> None:
    world = World()
    await three_online(world)
    well = True

    async def canary() -> None:
        if not well:
            raise UnreachableError("we do not answer")

    async def deaf_canary() -> None:
        await asyncio.sleep(99)

    async with checking(world, PRODUCTION, canary=canary) as running:
        await asyncio.sleep(30)
        assert running.told.state["score"] == 0
        well = False
        await asyncio.sleep(30)
        assert running.told.state["score"] == 4
        assert running.told.state["doubts"] == ["its own canary does not answer"]
    async with checking(world, PRODUCTION, canary=deaf_canary) as running:
        await asyncio.sleep(30)
        assert running.told.state["score"] == 4


# The way to a node.


def tcp(**changed: int) -> Look:
    values: dict[str, float] = dict.fromkeys(
        ("retransmits", "backoff", "unacked", "retransmitted_total", "last_sent_s", "last_received_s", "rtt_s"), 0
    )
    return Look(tcp=TcpInfo(**{**values, "rto_s": 0.2, "segments": 10, **changed}))  # type: ignore[arg-type]


def link(running: Running, node: str) -> dict[str, Json]:
    told = running.told.target(node)["link"]
    assert isinstance(told, dict)
    return told


async def test_the_way_to_a_node_that_is_well_is_told_with_its_round_trip() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(10)
        assert link(running, "n1") == {
            "word": "ok",
            "since": pytest.approx(wall() - 10, abs=1),
            "rtt_ms": 1.0,
            "base_ms": 1.0,
        }


@pytest.mark.parametrize(
    ("look", "word"),
    [
        (Look(unread=768), "frozen"),
        (tcp(), "frozen"),
        (tcp(unacked=1, retransmits=2, backoff=2), "unreachable"),
        (Look(connecting=True), "unreachable"),
        (Look(), "transient"),
        (tcp(unacked=1), "transient"),
    ],
)
async def test_a_node_that_falls_silent_is_told_apart_by_what_the_kernel_says(look: Look, word: str) -> None:
    world = World()
    await three_online(world)
    async with checking(world, PRODUCTION) as running:
        await asyncio.sleep(30)
        node = world.nodes["n1"]
        node.look = look
        node.awake.clear()
        await asyncio.sleep(20)
        assert world.state("n1") is NodeState.REMOVED
        assert world.table["n1"].evidence["link"] == word
        assert (f"({word})" in world.table["n1"].reason) is (word != "transient")
        assert link(running, "n1")["word"] == word
        await asyncio.sleep(30)
        told = link(running, "n1")
        assert told.get("trouble", told["word"]) == "persistent"
        node.look = Look()
        node.awake.set()
        await asyncio.sleep(5.5)
        assert link(running, "n1")["word"] == "transient"


async def test_a_killed_node_is_gone() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        await world.nodes["n1"].kill()
        await asyncio.sleep(1)
        assert world.table["n1"].evidence["link"] == "gone"
        assert link(running, "n1")["word"] == "gone"


async def test_a_slow_way_is_called_slow_even_if_no_answer_comes_in_time() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(10)
        world.delay_s["n1"] = 0.3  # Above the patience of a heartbeat; helpers reach the node.
        await asyncio.sleep(11)
        told = link(running, "n1")
        assert (told["word"], told["rtt_ms"], told["base_ms"]) == ("high latency", 300.0, 1.0)
        assert world.state("n1") is NodeState.ONLINE
        world.delay_s.clear()
        await asyncio.sleep(11)
        assert link(running, "n1")["word"] == "ok"


async def test_pings_that_are_waited_for_in_vain_are_not_too_many_and_end_with_the_checker() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        world.nodes["n1"].awake.clear()
        await asyncio.sleep(60)
        prober = running.checker._probers["n1"]
        assert len(prober._late) == LATE_MOST
        world.nodes["n1"].awake.set()
        await asyncio.sleep(1)
        assert not prober._late
        assert link(running, "n1")["word"] != "high latency"
        world.nodes["n1"].awake.clear()
        await asyncio.sleep(5)
        assert prober._late
    assert not prober._late


async def test_segments_that_were_sent_again_are_told_as_their_share() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2)
        world.nodes["n1"].look = tcp(retransmitted_total=1)
        await asyncio.sleep(10)
        told = link(running, "n1")
        assert told["word"] == "packet loss"
        assert told["retrans"] == pytest.approx(0.1)


async def test_helpers_are_told_where_the_node_serves() -> None:
    world = World()
    await three_online(world)
    async with checking(world):
        await asyncio.sleep(2)
        world.nodes["n2"].awake.clear()
        await asyncio.sleep(1)
        assert {*world.addresses} == {"127.0.0.1:2"}


# Bad input.


async def test_a_registry_entry_that_makes_no_sense_is_told_once_and_disturbs_nobody() -> None:
    world = World()
    await three_online(world)
    world.refused = ("registry entry of n7: it says that it is n8",)
    async with checking(world) as running:
        await asyncio.sleep(5)
        assert running.told_of("refused") == [
            {"what": "entry", "reason": "registry entry of n7: it says that it is n8"}
        ]
        assert {verdict.state for verdict in world.table.values()} == {NodeState.ONLINE}
        assert set(world.table) == {"n1", "n2", "n3"}


async def test_much_that_makes_no_sense_is_told_in_few_words_and_again_when_it_comes_back() -> None:
    world = World()
    async with checking(world) as running:
        world.refused = tuple(f"entry {number}" for number in range(1_000))
        await asyncio.sleep(3)
        told = running.told_of("refused")
        assert len(told) == TOLD_AT_ONCE + 1
        assert told[-1]["reason"] == f"{1_000 - TOLD_AT_ONCE} more make no sense"
        for refused in ((), ("entry 1",)):
            world.refused = refused
            await asyncio.sleep(1)
        assert running.told_of("refused")[-1]["reason"] == "entry 1"


async def test_a_node_that_lies_about_its_id_never_comes_online_and_disturbs_nobody() -> None:
    world = World()
    await three_online(world)
    world.nodes["n3"].says_id = "n1"
    async with checking(world) as running:
        await asyncio.sleep(5)
        assert running.path("n3") == ["joining"]
        assert running.told_of("refused") == [
            {"what": "answer", "reason": "heartbeat of n3: it says that it is n1", "node": "n3"}
        ]
        assert running.path("n1") == ["joining", "online"]


async def test_a_verdict_of_an_epoch_that_is_over_is_refused_and_told() -> None:
    world = World()
    await three_online(world)
    async with checking(world) as running:
        await asyncio.sleep(2.1)
        world.holder, world.epoch = "c0", 9
        await world.nodes["n1"].kill()
        await asyncio.sleep(1)
        (told,) = running.told_of("refused")
        assert told == {"what": "verdict", "reason": "verdict of epoch 1 on n1: epoch 9 leads"}
        assert world.state("n2") is NodeState.ONLINE


async def test_a_wall_clock_that_jumps_is_told_and_moves_nobody() -> None:
    world = World()
    await three_online(world)
    jump_s = 0.0
    async with checking(world, wall=lambda: WALL + now() + jump_s) as running:
        await asyncio.sleep(2)
        jump_s = 7_200.0
        await asyncio.sleep(3)
        jump_s = -7_200.0
        await asyncio.sleep(3)
        assert running.told_of("clock_jumped") == [{"seconds": 7_200.0}, {"seconds": -14_400.0}]
        assert {verdict.state for verdict in world.table.values()} == {NodeState.ONLINE}
        assert running.told.state["score"] == 0
        assert "removed" not in running.path("n1")


async def test_a_verdict_from_a_moment_to_come_is_taken_for_one_of_now() -> None:
    world = World()
    await three_online(world)
    async with checking(world, wall=lambda: wall() + 500.0):
        await asyncio.sleep(2)
    async with checking(world) as running:
        await asyncio.sleep(1)
        assert running.checker.nodes["n1"].since <= now()
        assert running.path("n1") == []
