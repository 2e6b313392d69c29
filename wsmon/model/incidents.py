"""What went wrong, or was done on purpose, and how the cluster took it: from the fault to the last client back.

Theory of operation. `Incidents` keeps the events that matter, each once by source, boot and seq, and what the fleet's
audit counted; nothing is concluded while they come in. `all` sorts them by the time at which they happened and works
the incidents out: what begins one (a fault, a drain, the end of a process that nobody asked for, a removal that
nothing explains), and which of the later events belong to it. So any order of arrival, and any repetition, gives the
same incidents.

Events of two kinds are kept apart. Those of nodes and processes are few and say when incidents begin and end; they are
gone through anew whenever there is another one. Losses and returns of clients come by the ten thousand and only have
to be given to an incident: each is looked at once, and again only when the incidents begin or end at other times than
before. So what somebody who watches pays for depends on what is new, not on what is kept.

An event belongs to the newest incident that concerns its node, had begun when it happened, and was not over: an
incident of a node is over when the node is online again. Incidents of one node go before those of the whole cluster,
such as of Redis. Clocks of different processes differ: what belongs to no incident and happened up to `CLOCKS_S`
before a fault counts as caused by it, at its very moment.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, TypeAlias

from wsmon.model.inputs import Happened, Input, PeerSeen, PeerState, RegistrySeen
from wsmon.model.reading import bounded, count, table
from wsmon.protocol.events import (
    KINDS,
    ActionDone,
    ClientLost,
    DrainAborted,
    DrainDone,
    DrainStarted,
    EventBody,
    FaultEnded,
    FaultStarted,
    HeartbeatMissed,
    LeaderChanged,
    NodeStateChanged,
    ProcessExited,
    Resumed,
    decode_body,
)
from wsmon.protocol.frames import EventFrame
from wsmon.protocol.states import NodeState, PeerKind

MARKS_MAX: Final = 100_000
"""Losses and returns of clients that are kept, and a fifth as many events of nodes and processes.

The oldest to come in go first, and `dropped` counts them.
"""
KEPT_LIVE: Final = 10_000
"""The same for those who only watch: a storm of five thousand clients."""
FORGOTTEN: Final = 10
"""When there is no room, one in so many of what is kept goes at once: each time all has to be looked at anew."""
TOLD_LEAST: Final = 100
NODES_MAX: Final = 4_096
SAMPLES_MAX: Final = 10_000
LIVES_MAX: Final = 64
"""Lives of fleets whose audit is kept: those heard of last."""
CLOCKS_S: Final = 0.5
"""How far the clocks of two processes of a cluster may be apart."""
NEAR_S: Final = 0.02
"""A fault is told this long after it has begun to work, however well the clocks go."""
TOGETHER_S: Final = 1.0
"""Faults of one kind on several links of one node that begin within this are one incident."""
GRACE_S: Final = 30.0
"""What follows a fault may come this long after its end."""
EXIT_WITHIN_S: Final = 10.0
"""A process that is killed is gone within this."""
STOP_WITHIN_S: Final = 120.0
"""A process that is asked to end does so within this, its drain included."""
EXPLAINED_S: Final = 2.0
"""A removal is still explained by a fault that ended this long before: the checker may have asked before its end."""
SIGKILL: Final = 9

KILL, EXIT, DRAIN, UNKNOWN = "kill", "exit", "drain", "unknown"
SILENCING: Final = frozenset({KILL, EXIT, DRAIN, "freeze", "blackhole", "reset"})
"""Faults for which a node may be removed."""
HANDOVER: Final = "handover"

Key: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident. Milliseconds count from `started_at`; None: it did not happen, or not yet."""

    key: str = ""
    """Names it, as long as what began it is known."""
    fault: str
    """What was done: kill, freeze, latency, …; drain; exit of a process; `unknown` if a node just went."""
    target: str
    """To whom: a process or a link; the node, if several of its links were broken at once."""
    parts: tuple[str, ...]
    """Everything that was broken, one or more."""
    node: str | None
    """The one node that it concerns; None: the whole cluster."""
    started_at: float
    ended_at: float | None
    """When the fault was over."""
    first_miss_ms: float | None = None
    suspect_ms: float | None = None
    removed_ms: float | None = None
    online_ms: float | None = None
    """When the node was online again, after it was suspect or removed or had left."""
    leader_ms: float | None = None
    """When another checker, or the same again, led."""
    cut_ms: float | None = None
    """When the last of the clients that it cost their connection had lost it."""
    back_p50_ms: float | None = None
    """When so large a part of those clients was connected again; of a drain: had moved."""
    back_p95_ms: float | None = None
    back_all_ms: float | None = None
    clients: int = 0
    """How many lost their connection, or had to move."""
    moved: int = 0
    """How many of them never were without a connection."""
    pauses_ms: tuple[float, ...] = ()
    """How long each client that lost its connection was without one, in rising order; who is not back is missing."""
    forced: int | None = None
    """Of a drain: connections closed at its deadline."""
    lost: int | None = None
    """Messages, by the fleet's audit, until the next incident began; None: nobody counts."""
    duplicated: int | None = None
    inverted: int | None = None
    """The same: how many were handed out in the wrong order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A node was removed. `explained`: something was done to it for which a node may be removed."""

    node: str
    at: float
    explained: bool


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    key: Key
    body: EventBody

    @property
    def order(self) -> tuple[float, Key]:
        return self.at, self.key


@dataclass(frozen=True, slots=True, order=True)
class _Sample:
    at: float
    lost: int
    duplicated: int
    inverted: int


@dataclass(slots=True, eq=False)
class _Clients:
    """The clients that an incident concerned."""

    lost_at: dict[str, float] = field(default_factory=dict)
    """Client → when it first lost its connection."""
    moved_at: dict[str, float] = field(default_factory=dict)
    latest_at: float = -math.inf
    """When the last of what was given to it happened."""
    summed: "_Sum | None" = None
    """What follows from both; None: to be worked out."""


@dataclass(frozen=True, slots=True)
class _Sum:
    cut_at: float | None
    back_ms: tuple[float, ...]
    """After the begin, in rising order; infinite: not back."""
    pauses_ms: tuple[float, ...]


@dataclass(slots=True)
class _Opening:
    """The begin of an incident, and what was found to belong to it."""

    key: Key
    fault: str
    parts: list[str]
    node: str | None
    at: float
    ended_at: float | None = None
    total: int | None = None
    forced: int | None = None
    first: dict[str, float] = field(default_factory=dict)
    """Kind of event → when the first of it happened."""
    clients: _Clients = field(default_factory=_Clients)

    @property
    def until(self) -> float:
        return math.inf if self.ended_at is None else self.ended_at + GRACE_S

    @property
    def over_at(self) -> float:
        return self.first.get(NodeState.ONLINE, math.inf)

    @property
    def shape(self) -> tuple[object, ...]:
        """What decides which clients belong to it."""
        return self.fault == DRAIN, self.node, self.at, self.ended_at, self.over_at


class Incidents:
    """All incidents that the events tell of."""

    def __init__(self, *, kept: int = MARKS_MAX) -> None:
        self._kept = kept
        self._marks: dict[Key, _Mark] = {}
        """What nodes and processes did."""
        self._ways: dict[Key, _Mark] = {}
        """Losses and returns of clients."""
        self._in_order: list[_Mark] = []
        """Those of them that were looked at, by time."""
        self._fresh: list[_Mark] = []
        """Those of them that were not looked at yet."""
        self._samples: dict[tuple[str, int], list[_Sample]] = {}
        self._nodes: set[str] = set()
        """Who is known to be a node, besides those that events name."""
        self._losses: dict[str, list[float]] = {}
        """Node → when clients lost it; every node that a client ever named stands here."""
        self._backs: dict[str, list[float]] = {}
        """Client → when it was connected again."""
        self._lost_in: dict[str, list[_Clients]] = {}
        self._openings: list[_Opening] = []
        self._removals: tuple[Removal, ...] = ()
        self._unexplained: dict[str, float] = {}
        """Node → its last removal that nothing explains: a loss before that may show that it went earlier."""
        self._owners = _Owners(())
        self._changed = False
        """Whether incidents may begin or end at other times than was worked out."""
        self._ready: tuple[Incident, ...] | None = ()
        self._away: int | None = 0
        self.dropped = 0

    def apply(self, item: Input) -> None:
        """Fold one fact in: events, the audit of a fleet, and who is a node."""
        match item:
            case PeerSeen(id=peer, kind=PeerKind.NODE):
                self._is_node(peer)
            case RegistrySeen(entries=entries):
                for entry in entries:
                    if entry.kind is PeerKind.NODE:
                        self._is_node(entry.id)
            case Happened(event=event, heard_at=heard_at):
                self.take(event, at=min(max(0.0, event.at), heard_at))
            case PeerState(id=source, boot=boot, state=state, at=at, heard_at=heard_at) if table(state, "audit"):
                audit = table(state, "audit")
                self.sample(
                    source,
                    boot,
                    at=min(max(0.0, at), heard_at),
                    lost=count(audit, "lost") or 0,
                    duplicated=count(audit, "duplicated") or 0,
                    inverted=count(audit, "inverted") or 0,
                )
            case _:
                pass

    def take(self, event: EventFrame, *, at: float) -> bool:
        """Fold one event in that happened `at`; return whether it is new and tells anything."""
        key = event.source, event.boot, event.seq
        if event.kind not in _KINDS or key in self._marks or key in self._ways:
            return False
        body = decode_body(event)
        if isinstance(body, ClientLost | Resumed):
            if self._make_room(self._ways, self._kept):
                self._begin_anew()
            mark = self._ways[key] = _Mark(at, key, body)
            self._fresh.append(mark)
            self._away = None
        elif isinstance(body, _TELLING):
            self._make_room(self._marks, max(TOLD_LEAST, self._kept // 5))
            self._marks[key] = _Mark(at, key, body)
            self._changed = True
        else:
            return False
        self._ready = None
        return True

    def sample(self, source: str, boot: int, *, at: float, lost: int, duplicated: int, inverted: int = 0) -> None:
        """Fold in what an audit had counted `at`."""
        samples = self._samples.pop((source, boot), [])
        if len(self._samples) >= LIVES_MAX:
            del self._samples[next(iter(self._samples))]
        self._samples[source, boot] = samples  # At the end: who is heard is not forgotten.
        fresh = _Sample(at, lost, duplicated, inverted)
        place = bisect_right(samples, fresh)
        before = samples[place - 1] if place else None
        if before is not None and (before.lost, before.duplicated, before.inverted) == (lost, duplicated, inverted):
            return
        if len(samples) < SAMPLES_MAX:
            samples.insert(place, fresh)
        elif place == len(samples):
            samples[-1] = fresh
        self._ready = None

    def all(self) -> tuple[Incident, ...]:
        """Return the incidents in the order in which they began; the same tuple as long as nothing is new."""
        self._work_out()
        if self._ready is None:
            starts = [*(opening.at for opening in self._openings[1:]), math.inf]
            self._ready = tuple(
                _close(opening, self._summed(opening), self._counted(opening.at, until))
                for opening, until in zip(self._openings, starts, strict=False)
            )
        return self._ready

    def removals(self) -> tuple[Removal, ...]:
        """Return every removal of a node. Where no supervisor tells of faults, none but those of drains is explained."""
        self._work_out()
        return self._removals

    def clients_lost(self, *, since: float = 0.0) -> int:
        """Return how often a client lost its connection."""
        return sum(isinstance(mark.body, ClientLost) and mark.at >= since for mark in self._ways.values())

    def entered(self, state: NodeState, *, since: float = 0.0) -> tuple[str, ...]:
        """Return the nodes that were moved to `state`, once for each time, in order."""
        return tuple(
            mark.body.node
            for mark in sorted(self._marks.values(), key=attrgetter("order"))
            if isinstance(mark.body, NodeStateChanged) and mark.body.new == state != mark.body.old and mark.at >= since
        )

    def clients_away(self) -> int:
        """Return how many clients lost their connection and are not back, as far as events tell."""
        if self._away is not None:
            return self._away
        away: dict[str, bool] = {}
        for mark in sorted(self._ways.values(), key=attrgetter("order")):
            match mark.body:
                case ClientLost(client=client):
                    away[client] = True
                case Resumed(client=client):
                    away[client] = False
                case _:
                    pass
        self._away = sum(away.values())
        return self._away

    def _is_node(self, peer: str) -> None:
        if peer not in self._nodes and len(self._nodes) < NODES_MAX:
            self._nodes.add(peer)
            self._changed, self._ready = True, None

    def _make_room(self, marks: dict[Key, _Mark], kept: int) -> bool:
        """Forget the oldest if there are too many; return whether that was necessary."""
        if len(marks) < kept:
            return False
        going = list(marks)[: max(1, kept // FORGOTTEN)]
        for key in going:
            del marks[key]
        self.dropped += len(going)
        return True

    def _begin_anew(self) -> None:
        """Look at all losses and returns as if none had been looked at yet."""
        self._fresh = list(self._ways.values())
        self._in_order, self._losses, self._backs, self._lost_in = [], {}, {}, {}
        self._openings, self._changed = [], True

    def _work_out(self) -> None:
        """Bring openings, removals and clients up to what was told."""
        fresh, self._fresh = self._fresh, []
        for mark in fresh:
            self._list(mark)
        if self._changed:
            self._changed = False
            told = _Told(self._marks.values(), self._losses, self._nodes)
            openings, self._unexplained = _open(told)
            self._removals = _removals(told.marks, openings)
            _attribute(told.marks, openings)
            self._owners = _Owners(openings)
            since = self._hand_on(openings)
            self._openings = openings
            known = self._in_order[bisect_left(self._in_order, since, key=attrgetter("at")) :]
            fresh = [*known, *(mark for mark in fresh if mark.at < since)]
        for mark in fresh:
            self._give(mark)

    def _hand_on(self, openings: Sequence[_Opening]) -> float:
        """Let incidents keep the clients that are theirs in any case; return since when all have to be given anew."""
        pairs = list(zip(self._openings, openings, strict=False))
        same = next((index for index, (old, new) in enumerate(pairs) if old.shape != new.shape), len(pairs))
        since = min(
            (opening.at - CLOCKS_S for known in (self._openings, openings) for opening in known[same : same + 1]),
            default=math.inf,
        )
        keep = pairs[:same]
        while late := [pair for pair in keep if pair[0].clients.latest_at >= since]:
            keep = [pair for pair in keep if pair[0].clients.latest_at < since]
            since = min(since, *(old.at - CLOCKS_S for old, _ in late))
        kept: set[Key] = set()
        for old, new in keep:
            new.clients = old.clients
            kept.add(old.key)
        for old in self._openings:
            if old.key not in kept:
                for client in old.clients.lost_at:
                    self._lost_in[client].remove(old.clients)
        return since

    def _list(self, mark: _Mark) -> None:
        """Note who lost or got a connection when."""
        insort(self._in_order, mark, key=attrgetter("at"))
        match mark.body:
            case ClientLost(node=str(node)) if node:
                if node not in self._losses or mark.at <= self._unexplained.get(node, -math.inf):
                    self._changed = True
                insort(self._losses.setdefault(node, []), mark.at)
            case Resumed(client=client, node=node):
                if node and node not in self._losses:
                    self._losses[node] = []
                    self._changed = True
                insort(self._backs.setdefault(client, []), mark.at)
            case _:
                pass

    def _give(self, mark: _Mark) -> None:
        """Let a loss or a return count where it belongs."""
        match mark.body:
            case ClientLost(client=client, node=node):
                owner = self._owners.of(node, mark.at)
                if owner is not None:
                    at, clients = max(mark.at, owner.at), owner.clients
                    clients.latest_at = max(clients.latest_at, mark.at)
                    known = clients.lost_at.get(client)
                    if known is None:
                        self._lost_in.setdefault(client, []).append(clients)
                    if known is None or at < known:
                        clients.lost_at[client] = at
                        clients.summed = None
            case Resumed(client=client, how=how):
                times = self._backs[client]
                for clients in self._lost_in.get(client, ()):
                    # Most returns are those from later incidents.
                    if _next(times, clients.lost_at[client]) == mark.at:
                        clients.summed = None
                drain = self._owners.drain(mark.at) if how == HANDOVER else None
                if drain is not None:
                    moved_at, at = drain.clients.moved_at, max(mark.at, drain.at)
                    moved_at[client] = min(at, moved_at.get(client, at))
                    drain.clients.latest_at = max(drain.clients.latest_at, mark.at)
                    drain.clients.summed = None
            case _:
                pass

    def _summed(self, opening: _Opening) -> _Sum:
        clients = opening.clients
        if clients.summed is None:
            clients.summed = _sum(clients, self._backs, opening.at)
        return clients.summed

    def _counted(self, since: float, until: float) -> _Sample | None:
        """Return how many messages were lost, duplicated and inverted in that time; None: nobody counts."""
        if not self._samples:
            return None
        lost = duplicated = inverted = 0
        for samples in self._samples.values():
            before, after = _last(samples, since), _last(samples, until)
            lost += after.lost - before.lost
            duplicated += after.duplicated - before.duplicated
            inverted += after.inverted - before.inverted
        return _Sample(until, max(0, lost), max(0, duplicated), max(0, inverted))


_TELLING: Final = (
    ActionDone,
    ClientLost,
    DrainAborted,
    DrainDone,
    DrainStarted,
    FaultEnded,
    FaultStarted,
    HeartbeatMissed,
    LeaderChanged,
    NodeStateChanged,
    ProcessExited,
    Resumed,
)
_KINDS: Final = frozenset(kind for kind, body in KINDS.items() if body in _TELLING)


def _last(samples: Sequence[_Sample], at: float) -> _Sample:
    """Return the counts at a moment. A life of a fleet counts from nothing."""
    place = bisect_right(samples, at, key=attrgetter("at"))
    return samples[place - 1] if place else _Sample(at, 0, 0, 0)


# What begins an incident.


class _Told:
    """What nodes and processes did, in order, and where to find some of it."""

    def __init__(self, marks: Iterable[_Mark], losses: Mapping[str, Sequence[float]], nodes: Iterable[str]) -> None:
        self._nodes = nodes
        self.marks = sorted(marks, key=attrgetter("order"))
        self.losses = losses
        self.online: dict[str, list[float]] = {}
        self.signs: dict[str, list[float]] = {}
        """Node → when it was suspect, or missed a heartbeat."""
        self.killed: dict[str, list[float]] = {}
        """Process → when it was killed or restarted on purpose."""
        self.stopped: dict[str, list[float]] = {}
        """The same for those that were asked to end."""
        self.scaled: list[float] = []
        for mark in self.marks:
            match mark.body:
                case NodeStateChanged(node=node, new=NodeState.ONLINE):
                    self.online.setdefault(node, []).append(mark.at)
                case NodeStateChanged(node=node, new=NodeState.SUSPECT) | HeartbeatMissed(node=str(node)):
                    self.signs.setdefault(node, []).append(mark.at)
                case FaultStarted(fault="kill" | "restart", target=target):
                    self.killed.setdefault(target, []).append(mark.at)
                case ActionDone(op="stop" | "restart", target=target, ok=True):
                    self.stopped.setdefault(target, []).append(mark.at)
                case ActionDone(op="scale", ok=True):
                    self.scaled.append(mark.at)
                case _:
                    pass

    def nodes(self) -> frozenset[str]:
        """Return every node that anything names."""
        names = {_node_in(mark.body) for mark in self.marks}
        return frozenset(name for name in names if name is not None).union(self.losses, self._nodes)

    def expected(self, target: str, at: float) -> bool:
        """Say whether somebody is known to have ended the process."""
        return (
            _within(self.killed.get(target, ()), at - EXIT_WITHIN_S, at + CLOCKS_S)
            or _within(self.stopped.get(target, ()), at - STOP_WITHIN_S, at + CLOCKS_S)
            # It is not told who has to go.
            or _within(self.scaled, at - STOP_WITHIN_S, at + CLOCKS_S)
        )

    def was_online(self, node: str, since: float, until: float) -> bool:
        """Say whether the node became online between the two moments."""
        times = self.online.get(node, ())
        place = bisect_right(times, since)
        return place < len(times) and times[place] < until

    def back(self, node: str, at: float) -> float | None:
        """Return when the node was online next."""
        times = self.online.get(node, ())
        place = bisect_right(times, at)
        return times[place] if place < len(times) else None

    def first_sign(self, node: str, removed_at: float) -> float:
        """Return when the node that was removed first failed: since then it was never online."""
        times = self.online.get(node, ())
        place = bisect_left(times, removed_at)
        since = times[place - 1] if place else -math.inf
        first = removed_at
        for signs in (self.signs.get(node, ()), self.losses.get(node, ())):
            place = bisect_right(signs, since)
            if place < len(signs):
                first = min(first, signs[place])
        return first


def _next(times: Sequence[float], at: float) -> float | None:
    """Return the first of these times that is not before `at`."""
    place = bisect_left(times, at)
    return times[place] if place < len(times) else None


def _within(times: Sequence[float], least: float, most: float) -> bool:
    place = bisect_left(times, least)
    return place < len(times) and times[place] <= most


def _open(told: _Told) -> tuple[list[_Opening], dict[str, float]]:
    """Return the incidents in order, with nothing in them, and when each node was last removed without a reason."""
    nodes = told.nodes()
    openings: list[_Opening] = []
    of_node: dict[str | None, list[_Opening]] = {}
    going_on: dict[tuple[str, str], list[_Opening]] = {}
    """Fault and target → those whose end was not told yet."""

    def begin(mark: _Mark, fault: str, target: str, node: str | None) -> _Opening:
        opening = _Opening(mark.key, fault, [target], node, mark.at)
        openings.append(opening)
        of_node.setdefault(node, []).append(opening)
        return opening

    def broken(mark: _Mark, fault: str, target: str) -> None:
        node = node_of(target, nodes)
        recent: list[_Opening] = []
        for other in reversed(of_node.get(node, ())):
            if mark.at - other.at > TOGETHER_S:
                break
            if node is not None and other.fault == fault and target not in other.parts:
                recent.append(other)
        if recent:
            opening = recent[-1]
            opening.parts.append(target)
        else:
            opening = begin(mark, fault, target, node)
        going_on.setdefault((fault, target), []).append(opening)

    for mark in told.marks:
        match mark.body:
            case FaultStarted(fault=fault, target=target):
                broken(mark, fault, target)
            case FaultEnded(fault=fault, target=target):
                for opening in going_on.pop((fault, target), ()):
                    if opening.ended_at is None:
                        opening.ended_at = mark.at
            case DrainStarted(node=node, total=total):
                opening = begin(mark, DRAIN, node, node)
                opening.total = total
                going_on.setdefault((DRAIN, node), []).append(opening)
            case DrainDone(node=node) | DrainAborted(node=node):
                forced = mark.body.forced if isinstance(mark.body, DrainDone) else None
                for opening in going_on.pop((DRAIN, node), ()):
                    if opening.ended_at is None:
                        opening.ended_at, opening.forced = mark.at, forced
            case ProcessExited(id=target, signal=number, code=code):
                if code != 0 and not told.expected(target, mark.at):
                    broken(mark, KILL if number == SIGKILL else EXIT, target)
            case NodeStateChanged(node=node, new=NodeState.ONLINE) if mark.key[0] != node:
                # Nobody tells the end of what nobody told the begin of.
                for opening in of_node.get(node, ()):
                    untold = opening.fault in (KILL, EXIT) and opening.ended_at is None
                    if untold and mark.at > opening.at + CLOCKS_S:
                        opening.ended_at = mark.at
            case _:
                pass
    unexplained: dict[str, float] = {}
    for mark in told.marks:
        gone = mark.body.node if isinstance(mark.body, NodeStateChanged) and _is_removal(mark) else None
        if gone is None:
            continue
        owner = _owner(of_node.get(gone, ()), of_node.get(None, ()), mark.at)
        if owner is None or told.was_online(gone, owner.at + CLOCKS_S, mark.at):
            opening = begin(mark, UNKNOWN, gone, gone)
            opening.at = told.first_sign(gone, mark.at)
            opening.ended_at = told.back(gone, mark.at)
            unexplained[gone] = mark.at
    openings.sort(key=attrgetter("at", "key"))
    return openings, unexplained


def node_of(target: str, nodes: Iterable[str]) -> str | None:
    """Return the node that a process or a link belongs to; None if it is none's alone. Links are named `from-to`."""
    found = {node for node in nodes if target == node or target.startswith(f"{node}-") or target.endswith(f"-{node}")}
    if len(found) > 1:  # One node calls another: the one that is called is the one that seems to be gone.
        found = {node for node in found if target.endswith(f"-{node}")}
    return found.pop() if len(found) == 1 else None


def _node_in(body: EventBody) -> str | None:
    match body:
        case NodeStateChanged() | HeartbeatMissed() | ClientLost() | Resumed() | DrainStarted() | DrainDone():
            return body.node or None
        case _:
            return None


def _is_removal(mark: _Mark) -> bool:
    body = mark.body
    # A verdict may be told again for a new reason.
    return isinstance(body, NodeStateChanged) and body.new == NodeState.REMOVED != body.old


def _removals(marks: Iterable[_Mark], openings: Iterable[_Opening]) -> tuple[Removal, ...]:
    causes: dict[str | None, list[_Opening]] = {}
    for opening in openings:
        if opening.fault in SILENCING:
            causes.setdefault(opening.node, []).append(opening)
    return tuple(
        Removal(
            node=_node_in(mark.body) or "",
            at=mark.at,
            explained=any(
                cause.at - CLOCKS_S <= mark.at <= (math.inf if cause.ended_at is None else cause.ended_at + EXPLAINED_S)
                for cause in causes.get(_node_in(mark.body), ())
            ),
        )
        for mark in marks
        if _is_removal(mark)
    )


# What belongs to it.


def _owner(own: Iterable[_Opening], of_all: Iterable[_Opening], at: float) -> _Opening | None:
    """Return the incident, of those of one node and those of the whole cluster, that something of the node belongs to."""
    concerned = [opening for opening in own if opening.at - CLOCKS_S <= at <= opening.until]
    concerned = concerned or [opening for opening in of_all if opening.at - CLOCKS_S <= at <= opening.until]
    begun = [opening for opening in concerned if opening.at - NEAR_S <= at]
    going_on = [opening for opening in begun if at <= opening.over_at]
    if going_on or len(begun) == len(concerned):
        return max(going_on or begun, key=attrgetter("at"), default=None)
    return min((opening for opening in concerned if opening not in begun), key=attrgetter("at"))


class _Pieces:
    """A function of time that changes at `edges` and nowhere else: asked ten thousand times, worked out a few times."""

    def __init__(self, edges: Iterable[float], find: Callable[[float], _Opening | None]) -> None:
        self._edges = sorted(edges)
        self._find = find
        self._found: dict[tuple[int, int], _Opening | None] = {}

    def of(self, at: float) -> _Opening | None:
        piece = bisect_left(self._edges, at), bisect_right(self._edges, at)
        if piece not in self._found:
            self._found[piece] = self._find(at)
        return self._found[piece]


class _Owners:
    """Says which incident a loss or a return of a client belongs to. The incidents must not change any more."""

    def __init__(self, openings: Sequence[_Opening]) -> None:
        self._of_node: dict[str | None, list[_Opening]] = {}
        for opening in openings:
            self._of_node.setdefault(opening.node, []).append(opening)
        self._pieces: dict[str | None, _Pieces] = {}
        drains = [opening for opening in openings if opening.fault == DRAIN]
        edges = [edge for drain in drains for edge in (drain.at - CLOCKS_S, _drain_until(drain))]
        self._drains = _Pieces(edges, lambda at: _drain(drains, at))

    def of(self, node: str | None, at: float) -> _Opening | None:
        """Return the incident that something of this node belongs to."""
        if node not in self._of_node:
            node = None
        if node not in self._pieces:
            of_all = self._of_node.get(None, [])
            own = [] if node is None else self._of_node[node]
            edges = [
                edge
                for opening in (*own, *of_all)
                for edge in (opening.at - CLOCKS_S, opening.at - NEAR_S, opening.until, opening.over_at)
            ]
            self._pieces[node] = _Pieces(edges, lambda at: _owner(own, of_all, at))
        return self._pieces[node].of(at)

    def drain(self, at: float) -> _Opening | None:
        """Return the drain that hands clients over at this moment."""
        return self._drains.of(at)


def _drain_until(drain: _Opening) -> float:
    return math.inf if drain.ended_at is None else drain.ended_at + CLOCKS_S


def _drain(drains: Sequence[_Opening], at: float) -> _Opening | None:
    return next((drain for drain in reversed(drains) if drain.at - CLOCKS_S <= at <= _drain_until(drain)), None)


def _attribute(marks: Iterable[_Mark], openings: Sequence[_Opening]) -> None:
    """Give the incidents what happened to nodes and checkers."""
    of_node: dict[str | None, list[_Opening]] = {}
    for opening in openings:
        of_node.setdefault(opening.node, []).append(opening)
    near = {node: deque(concerned) for node, concerned in of_node.items()}
    of_all = near.get(None, deque())
    nothing: deque[_Opening] = deque()

    def around(node: str, at: float) -> deque[_Opening]:
        """Return the node's incidents without those that were over before: marks come in order."""
        concerned = near.get(node, nothing)
        while concerned and concerned[0].until < at:
            concerned.popleft()
        return concerned

    for mark in marks:
        match mark.body:
            case HeartbeatMissed(node=str(node)):
                _note(_owner(around(node, mark.at), of_all, mark.at), "miss", mark.at)
            case NodeStateChanged(node=node, new=NodeState.ONLINE) if mark.key[0] != node:
                # That it came back is news of what it was away for, even if the next fault began in the same moment.
                away = (
                    opening for opening in reversed(of_node.get(node, ())) if not opening.first.keys().isdisjoint(_AWAY)
                )
                _note(next(away, None), NodeState.ONLINE, mark.at)
            case NodeStateChanged(node=node, new=new) if mark.key[0] != node:  # Its own word is no verdict.
                _note(_owner(around(node, mark.at), of_all, mark.at), new, mark.at)
            case LeaderChanged():
                _note(_owner((), of_all, mark.at), "leader", mark.at)
            case _:
                pass


_AWAY: Final = frozenset({NodeState.SUSPECT, NodeState.REMOVED, NodeState.LEFT, NodeState.DRAINING})


def _note(owner: _Opening | None, kind: str, at: float) -> None:
    if owner is not None:
        owner.first.setdefault(kind, max(at, owner.at))


def _sum(clients: _Clients, backs: Mapping[str, Sequence[float]], began_at: float) -> _Sum:
    back_at = dict(clients.moved_at)
    pauses = []
    for client, lost_at in clients.lost_at.items():
        # The loss and the return are told by the same process: its clock does not matter.
        at = _next(backs.get(client, ()), lost_at)
        back_at[client] = math.inf if at is None else at
        if at is not None:
            pauses.append(bounded((at - lost_at) * 1_000, least=0))
    return _Sum(
        cut_at=max(clients.lost_at.values(), default=None),
        back_ms=tuple(sorted((at - began_at) * 1_000 for at in back_at.values())),
        pauses_ms=tuple(sorted(pauses)),
    )


def _close(opening: _Opening, clients: _Sum, counted: _Sample | None) -> Incident:
    def ms(at: float | None) -> float | None:
        return None if at is None else (at - opening.at) * 1_000

    first = opening.first.get
    return Incident(
        key="/".join(str(part) for part in opening.key),
        fault=opening.fault,
        target=opening.parts[0] if len(opening.parts) == 1 or opening.node is None else opening.node,
        parts=tuple(opening.parts),
        node=opening.node,
        started_at=opening.at,
        ended_at=opening.ended_at,
        first_miss_ms=ms(first("miss")),
        suspect_ms=ms(first(NodeState.SUSPECT)),
        removed_ms=ms(first(NodeState.REMOVED)),
        online_ms=ms(first(NodeState.ONLINE)),
        leader_ms=ms(first("leader")),
        cut_ms=ms(clients.cut_at),
        back_p50_ms=_reached(clients.back_ms, 0.5),
        back_p95_ms=_reached(clients.back_ms, 0.95),
        back_all_ms=_reached(clients.back_ms, 1.0),
        clients=len(clients.back_ms),
        moved=len(opening.clients.moved_at),
        pauses_ms=clients.pauses_ms,
        forced=opening.forced,
        lost=None if counted is None else counted.lost,
        duplicated=None if counted is None else counted.duplicated,
        inverted=None if counted is None else counted.inverted,
    )


def _reached(ordered: Sequence[float], share: float) -> float | None:
    """Return the value that this share does not pass; None if not so many got there, or there is nobody."""
    if not ordered:
        return None
    value = ordered[max(0, math.ceil(share * len(ordered)) - 1)]
    return value if value < math.inf else None
