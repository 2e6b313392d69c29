"""A rolling restart: one node after the other is emptied, restarted and waited for, and the first trouble ends it.

Theory of operation. The shell tells what is seen (`tick`), carries out what `tick` hands back, and says if that was
refused. For each node in turn: wait until all others are online and no client is away; drain; restart once it has
left; wait until its next life is online. Trouble while a node drains calls the drain off. Trouble after that changes
nothing for the node, which is worth more online than gone; but no other node follows.

All `now` are seconds of one clock, given by the caller.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from wsmon.protocol.states import NodeState

CALM_WITHIN_S: Final = 30.0
"""So long is waited for the others to be online, and for all clients to be back, before a node is begun with."""
OFF_S: Final = 2.0
"""Another node may be anything but removed for this long: a single missed heartbeat is no trouble."""
TOLD_WITHIN_S: Final = 2.0
"""How a drain went is told this soon after the node has left."""
ONLINE_WITHIN_S: Final = 60.0
DRAIN_SPARE_S: Final = 10.0
"""A drain ends at its deadline; it is given up this much later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenNode:
    """One node, as it is seen."""

    state: NodeState
    boot: int = 0
    connections: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is seen of the cluster."""

    nodes: Mapping[str, SeenNode]
    away: int = 0
    """Clients without a connection."""
    lost: int | None = None
    """Messages lost so far, by the audit; None: nobody counts."""
    forced: Mapping[str, int] = field(default_factory=dict)
    """Node → connections that its newest drain, begun by us, closed at its deadline. Missing: it is not over."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for this operation: drain, restart or abort."""

    op: str
    node: str


@dataclass(frozen=True, slots=True)
class Over:
    """The end: `sentence` says how it went."""

    ok: bool
    sentence: str


Next: TypeAlias = Ask | Over | None


class Phase(StrEnum):
    """How far the node is whose turn it is."""

    READY = "ready"
    DRAINING = "draining"
    RETURNING = "returning"


class Rolling:
    """One rolling restart of `nodes`, in this order. `tick` again and again until it returns `Over`."""

    def __init__(self, nodes: Sequence[str], *, drain_within_s: float) -> None:
        """`drain_within_s` is the deadline that the nodes give their drains."""
        self._nodes = tuple(nodes)
        self._drain_within_s = drain_within_s + DRAIN_SPARE_S
        self._done: list[str] = []
        self._phase = Phase.READY
        self._since: float | None = None
        self._boot = 0
        self._left_since: float | None = None
        self._off_since: dict[str, float] = {}
        self._lost_before: int | None = None
        self._trouble = ""

    @property
    def done(self) -> tuple[str, ...]:
        """The nodes that are back."""
        return tuple(self._done)

    @property
    def phase(self) -> Phase:
        """How far the present node is."""
        return self._phase

    @property
    def node(self) -> str:
        """Whose turn it is."""
        return self._nodes[min(len(self._done), len(self._nodes) - 1)]

    def tick(self, seen: Seen, now: float) -> Next:
        """Return what to do now, None if there is only to wait."""
        if self._lost_before is None:
            self._lost_before = seen.lost
        self._note_others(seen, now)
        if self._since is None:
            self._since = now
        match self._phase:
            case Phase.READY:
                return self._ready(seen, now)
            case Phase.DRAINING:
                return self._draining(seen, now)
            case Phase.RETURNING:
                return self._returning(seen, now)

    def refused(self, message: str) -> Over:
        """Take note that what was asked for last was refused; that ends it."""
        op = "drain" if self._phase is Phase.DRAINING else "restart"
        return self._over(f"{op} {self.node}: {message}")

    def _ready(self, seen: Seen, now: float) -> Next:
        assert self._since is not None
        others = [name for name in seen.nodes if name != self.node]
        online = [name for name in others if seen.nodes[name].state is NodeState.ONLINE]
        waited = now - self._since
        off = self._off(seen)
        if self._lost(seen):
            return self._over(self._lost(seen))
        if self.node not in seen.nodes:
            return self._over(f"there is no node {self.node} any more")
        if not online:
            return self._over(f"no node but {self.node} is online: nobody could take its clients")
        mine = seen.nodes[self.node].state
        if not off and not seen.away and mine is NodeState.ONLINE:
            return self._enter(Phase.DRAINING, now, Ask("drain", self.node))
        if waited < CALM_WITHIN_S and not any(seen.nodes[name].state is NodeState.REMOVED for name in off):
            return None
        if off:
            return self._over(f"{_standing(seen, off)}, so {self.node} is left alone")
        if mine is not NodeState.ONLINE:
            return self._over(f"{self.node} is {mine}: only what is online can be restarted in turn")
        return self._over(f"{seen.away} clients are still without a connection, so {self.node} is left alone")

    def _draining(self, seen: Seen, now: float) -> Next:
        assert self._since is not None
        node = seen.nodes.get(self.node)
        state = NodeState.REMOVED if node is None else node.state
        if state is NodeState.LEFT:
            if self._left_since is None:
                self._left_since = now
            forced = seen.forced.get(self.node)
            if forced is None and now - self._left_since < TOLD_WITHIN_S:
                return None
            if forced:
                self._trouble = f"the drain of {self.node} failed: {forced} connections were closed at its deadline"
            self._trouble = self._trouble or self._lasting(seen, now) or self._lost(seen)
            self._boot = 0 if node is None else node.boot
            return self._enter(Phase.RETURNING, now, Ask("restart", self.node))
        if self._trouble:  # Called off.
            return self._over(f"{self._trouble}; the drain of {self.node} was called off")
        if state is NodeState.REMOVED:
            return self._over(f"{self.node} was removed while it drained")
        self._trouble = self._lasting(seen, now) or self._lost(seen)
        if not self._trouble and now - self._since > self._drain_within_s:
            self._trouble = f"{self.node} is not empty after {self._drain_within_s:g} s"
        return Ask("abort", self.node) if self._trouble else None

    def _returning(self, seen: Seen, now: float) -> Next:
        assert self._since is not None
        node = seen.nodes.get(self.node)
        self._trouble = self._trouble or self._lasting(seen, now) or self._lost(seen)
        if node is not None and node.boot > self._boot and node.state is NodeState.ONLINE:
            self._done.append(self.node)
            if self._trouble:
                return self._over(self._trouble)
            if len(self._done) == len(self._nodes):
                lost = "" if seen.lost is None else ", no message lost"
                return Over(ok=True, sentence=f"{', '.join(self._done)} restarted{lost}")
            return self._enter(Phase.READY, now, None)
        if now - self._since > ONLINE_WITHIN_S:
            return self._over(f"{self.node} is not online {ONLINE_WITHIN_S:g} s after its restart")
        return None

    def _enter(self, phase: Phase, now: float, ask: Ask | None) -> Ask | None:
        self._phase, self._since, self._left_since = phase, now, None
        return ask

    def _over(self, trouble: str) -> Over:
        rest = len(self._nodes) - len(self._done)
        done = f"; restarted before that: {', '.join(self._done)}" if self._done else ""
        return Over(ok=False, sentence=f"{trouble} (stopped, {rest} of {len(self._nodes)} not done{done})")

    def _note_others(self, seen: Seen, now: float) -> None:
        off = self._off(seen)
        self._off_since = {name: self._off_since.get(name, now) for name in off}

    def _off(self, seen: Seen) -> list[str]:
        """Return the other nodes that are not online. One that left did so because somebody wanted it."""
        fine = (NodeState.ONLINE, NodeState.LEFT)
        return [name for name, node in seen.nodes.items() if name != self.node and node.state not in fine]

    def _lasting(self, seen: Seen, now: float) -> str:
        off = [
            name
            for name, since in self._off_since.items()
            if now - since >= OFF_S or seen.nodes[name].state is NodeState.REMOVED
        ]
        return _standing(seen, off) if off else ""

    def _lost(self, seen: Seen) -> str:
        if seen.lost is None or self._lost_before is None or seen.lost <= self._lost_before:
            return ""
        number = seen.lost - self._lost_before
        return f"{number} message{'s were' if number > 1 else ' was'} lost since the beginning"


def _standing(seen: Seen, names: Sequence[str]) -> str:
    return ", ".join(f"{name} is {seen.nodes[name].state}" for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What restarting one node of a series means."""

    node: str
    connections: int
    """That have to move."""
    survivors: tuple[str, ...]
    most: int
    """What the fullest of them holds afterwards."""


def moves(nodes: Sequence[str], seen: Seen) -> tuple[Move, ...]:
    """Return what each restart will move, if every client goes where the fewest are, as a gateway sends it."""
    held = {
        name: node.connections or 0
        for name, node in seen.nodes.items()
        if node.state is NodeState.ONLINE or name in nodes
    }
    planned = []
    for node in nodes:
        moving = held.get(node, 0)
        others = [(number, name) for name, number in held.items() if name != node]
        heapq.heapify(others)
        for _ in range(moving if others else 0):
            number, name = others[0]
            heapq.heapreplace(others, (number + 1, name))
        held = {name: number for number, name in others} | {node: 0}
        planned.append(
            Move(
                node=node,
                connections=moving,
                survivors=tuple(sorted(name for _, name in others)),
                most=max((number for number, _ in others), default=0),
            )
        )
    return tuple(planned)
