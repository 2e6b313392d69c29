"""What went wrong, or was done on purpose, and how the cluster took it: from the fault to the last client back.

Theory of operation. `Incidents` keeps the events that matter, each once by source, boot and seq, and what the fleet's
audit counted; nothing is concluded while they come in. `all` sorts them by the time at which they happened and works
the incidents out: what begins one (a fault, a drain, the end of a process that nobody asked for, a removal that
nothing explains), and which of the later events belong to it. So any order of arrival, and any repetition, gives the
same incidents.

An event belongs to the newest incident that concerns its node, had begun when it happened, and was not over: an
incident of a node is over when the node is online again. Incidents of one node go before those of the whole cluster,
such as of Redis. Clocks of different processes differ: what belongs to no incident and happened up to `CLOCKS_S`
before a fault counts as caused by it, at its very moment.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, TypeAlias

from wsmon.model.inputs import Happened, Input, PeerState
from wsmon.model.reading import bounded, count, table
from wsmon.protocol.events import (
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
from wsmon.protocol.states import NodeState

MARKS_MAX: Final = 100_000
"""Events kept; the oldest to come in go first, and `dropped` counts them."""
SAMPLES_MAX: Final = 10_000
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


@dataclass(frozen=True, slots=True)
class _Sample:
    source: str
    boot: int
    at: float
    lost: int
    duplicated: int


@dataclass(slots=True)
class _Opening:
    """The begin of an incident, and what was found to belong to it."""

    fault: str
    parts: list[str]
    node: str | None
    at: float
    ended_at: float | None = None
    total: int | None = None
    forced: int | None = None
    first: dict[str, float] = field(default_factory=dict)
    """Kind of event → when the first of it happened."""
    lost_at: dict[str, float] = field(default_factory=dict)
    """Client → when it first lost its connection."""
    moved_at: dict[str, float] = field(default_factory=dict)

    @property
    def until(self) -> float:
        return math.inf if self.ended_at is None else self.ended_at + GRACE_S

    def over_by(self, at: float) -> bool:
        return self.first.get(NodeState.ONLINE, math.inf) < at


class Incidents:
    """All incidents that the events tell of."""

    def __init__(self, *, kept: int = MARKS_MAX) -> None:
        self._kept = kept
        self._marks: dict[Key, _Mark] = {}
        self._samples: dict[tuple[str, int], list[_Sample]] = {}
        self._ready: tuple[tuple[Incident, ...], tuple[Removal, ...]] | None = None
        self._away: int | None = 0
        self.dropped = 0

    def apply(self, item: Input) -> None:
        """Fold one fact in; only events, and the audit of a fleet, matter."""
        match item:
            case Happened(event=event, heard_at=heard_at):
                self.take(event, at=min(max(0.0, event.at), heard_at))
            case PeerState(id=source, boot=boot, state=state, at=at, heard_at=heard_at) if table(state, "audit"):
                audit = table(state, "audit")
                lost, duplicated = count(audit, "lost") or 0, count(audit, "duplicated") or 0
                self.sample(source, boot, at=min(max(0.0, at), heard_at), lost=lost, duplicated=duplicated)
            case _:
                pass

    def take(self, event: EventFrame, *, at: float) -> bool:
        """Fold one event in that happened `at`; return whether it is new and tells anything."""
        key = event.source, event.boot, event.seq
        if key in self._marks:
            return False
        body = decode_body(event)
        if not isinstance(body, _TELLING):
            return False
        if len(self._marks) >= self._kept:
            del self._marks[next(iter(self._marks))]
            self.dropped += 1
        self._marks[key] = _Mark(at, key, body)
        self._ready = self._away = None
        return True

    def sample(self, source: str, boot: int, *, at: float, lost: int, duplicated: int) -> None:
        """Fold in what an audit had counted `at`."""
        samples = self._samples.setdefault((source, boot), [])
        fresh = _Sample(source, boot, at, lost, duplicated)
        if samples and samples[-1].at <= at and (samples[-1].lost, samples[-1].duplicated) == (lost, duplicated):
            return
        if len(samples) < SAMPLES_MAX:
            samples.append(fresh)
        else:
            samples[-1] = fresh
        self._ready = None

    def all(self) -> tuple[Incident, ...]:
        """Return the incidents in the order in which they began."""
        return self._worked_out()[0]

    def removals(self) -> tuple[Removal, ...]:
        """Return every removal of a node. Where no supervisor tells of faults, none but those of drains is explained."""
        return self._worked_out()[1]

    def clients_lost(self, *, since: float = 0.0) -> int:
        """Return how often a client lost its connection."""
        return sum(isinstance(mark.body, ClientLost) and mark.at >= since for mark in self._marks.values())

    def entered(self, state: NodeState, *, since: float = 0.0) -> tuple[str, ...]:
        """Return the nodes that were moved to `state`, once for each time, in order."""
        return tuple(
            mark.body.node
            for mark in sorted(self._marks.values(), key=attrgetter("order"))
            if isinstance(mark.body, NodeStateChanged) and mark.body.new == state and mark.at >= since
        )

    def clients_away(self) -> int:
        """Return how many clients lost their connection and are not back, as far as events tell."""
        if self._away is not None:
            return self._away
        away: dict[str, bool] = {}
        for mark in sorted(self._marks.values(), key=attrgetter("order")):
            match mark.body:
                case ClientLost(client=client):
                    away[client] = True
                case Resumed(client=client):
                    away[client] = False
                case _:
                    pass
        self._away = sum(away.values())
        return self._away

    def _worked_out(self) -> tuple[tuple[Incident, ...], tuple[Removal, ...]]:
        if self._ready is None:
            marks = sorted(self._marks.values(), key=attrgetter("order"))
            openings = _open(marks)
            removals = _removals(marks, openings)
            _attribute(marks, openings)
            backs = _backs(marks)
            starts = [*(opening.at for opening in openings[1:]), math.inf]
            incidents = tuple(
                _close(opening, backs, *self._counted(opening.at, until))
                for opening, until in zip(openings, starts, strict=False)
            )
            self._ready = incidents, removals
        return self._ready

    def _counted(self, since: float, until: float) -> tuple[int | None, int | None]:
        """Return how many messages were lost and duplicated in that time."""
        if not self._samples:
            return None, None
        lost = duplicated = 0
        for samples in self._samples.values():
            ordered = sorted(samples, key=attrgetter("at"))
            before, after = _last(ordered, since), _last(ordered, until)
            lost += after[0] - before[0]
            duplicated += after[1] - before[1]
        return max(0, lost), max(0, duplicated)


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


def _last(samples: Sequence[_Sample], at: float) -> tuple[int, int]:
    """Return the counts at a moment. A life of a fleet counts from nothing."""
    known = [sample for sample in samples if sample.at <= at]
    return (known[-1].lost, known[-1].duplicated) if known else (0, 0)


# What begins an incident.


def _open(marks: Sequence[_Mark]) -> list[_Opening]:
    nodes = _nodes(marks)
    openings: list[_Opening] = []
    for mark in marks:
        match mark.body:
            case FaultStarted(fault=fault, target=target):
                _begin(openings, fault, target, mark.at, nodes)
            case FaultEnded(fault=fault, target=target):
                for opening in openings:
                    if opening.fault == fault and target in opening.parts and opening.ended_at is None:
                        opening.ended_at = mark.at
            case DrainStarted(node=node, total=total):
                openings.append(_Opening(DRAIN, [node], node, mark.at, total=total))
            case DrainDone(node=node) | DrainAborted(node=node):
                forced = mark.body.forced if isinstance(mark.body, DrainDone) else None
                for opening in openings:
                    if opening.fault == DRAIN and opening.node == node and opening.ended_at is None:
                        opening.ended_at, opening.forced = mark.at, forced
            case ProcessExited(id=target, signal=number, code=code):
                if code != 0 and not _expected(target, mark.at, marks):
                    _begin(openings, KILL if number == SIGKILL else EXIT, target, mark.at, nodes)
            case NodeStateChanged(node=node, new=NodeState.ONLINE) if mark.key[0] != node:
                # Nobody tells the end of what nobody told the begin of.
                for opening in openings:
                    untold = opening.fault in (KILL, EXIT) and opening.node == node and opening.ended_at is None
                    if untold and mark.at > opening.at + CLOCKS_S:
                        opening.ended_at = mark.at
            case _:
                pass
    for mark in marks:
        gone = mark.body.node if isinstance(mark.body, NodeStateChanged) and _is_removal(mark) else None
        if gone is None:
            continue
        owner = _owner(openings, gone, mark.at)
        if owner is None or any(
            owner.at + CLOCKS_S < other.at < mark.at and _is_online(other, gone) for other in marks
        ):
            back = next((other.at for other in marks if other.at > mark.at and _is_online(other, gone)), None)
            began = _first_sign(marks, gone, mark.at)
            openings.append(_Opening(UNKNOWN, [gone], gone, began, ended_at=back))
    openings.sort(key=attrgetter("at"))
    return openings


def _begin(openings: list[_Opening], fault: str, target: str, at: float, nodes: frozenset[str]) -> None:
    node = node_of(target, nodes)
    for opening in openings:
        together = opening.fault == fault and opening.node == node and at - opening.at <= TOGETHER_S
        if node is not None and together and target not in opening.parts:
            opening.parts.append(target)
            return
    openings.append(_Opening(fault, [target], node, at))


def node_of(target: str, nodes: Iterable[str]) -> str | None:
    """Return the node that a process or a link belongs to; None if it is none's alone. Links are named `from-to`."""
    found = {node for node in nodes if target == node or target.startswith(f"{node}-") or target.endswith(f"-{node}")}
    if len(found) > 1:  # One node calls another: the one that is called is the one that seems to be gone.
        found = {node for node in found if target.endswith(f"-{node}")}
    return found.pop() if len(found) == 1 else None


def _nodes(marks: Iterable[_Mark]) -> frozenset[str]:
    names = {_node_in(mark.body) for mark in marks}
    return frozenset(name for name in names if name is not None)


def _node_in(body: EventBody) -> str | None:
    match body:
        case NodeStateChanged() | HeartbeatMissed() | ClientLost() | Resumed() | DrainStarted() | DrainDone():
            return body.node or None
        case _:
            return None


def _expected(target: str, at: float, marks: Iterable[_Mark]) -> bool:
    """Say whether somebody is known to have ended the process."""
    for mark in marks:
        match mark.body:
            case FaultStarted(fault="kill" | "restart", target=name) if name == target:
                if -EXIT_WITHIN_S <= mark.at - at <= CLOCKS_S:
                    return True
            case ActionDone(op="stop" | "restart" | "scale", target=name, ok=True):
                # Of `scale` it is not told who has to go.
                if (name == target or mark.body.op == "scale") and -STOP_WITHIN_S <= mark.at - at <= CLOCKS_S:
                    return True
            case _:
                pass
    return False


def _is_removal(mark: _Mark) -> bool:
    return isinstance(mark.body, NodeStateChanged) and mark.body.new == NodeState.REMOVED


def _is_online(mark: _Mark, node: str) -> bool:
    body = mark.body
    return isinstance(body, NodeStateChanged) and body.node == node and body.new == NodeState.ONLINE


def _first_sign(marks: Iterable[_Mark], node: str | None, removed_at: float) -> float:
    """Return when the node that was removed first failed: since then it was never online."""
    sign = removed_at
    for mark in marks:
        if mark.at > removed_at or _node_in(mark.body) != node:
            continue
        match mark.body:
            case NodeStateChanged(new=NodeState.ONLINE):
                sign = removed_at
            case NodeStateChanged(new=NodeState.SUSPECT) | HeartbeatMissed() | ClientLost():
                sign = min(sign, mark.at)
            case _:
                pass
    return sign


def _removals(marks: Iterable[_Mark], openings: Iterable[_Opening]) -> tuple[Removal, ...]:
    causes = [opening for opening in openings if opening.fault in SILENCING]
    return tuple(
        Removal(
            node=_node_in(mark.body) or "",
            at=mark.at,
            explained=any(
                cause.node == _node_in(mark.body)
                and cause.at - CLOCKS_S
                <= mark.at
                <= (math.inf if cause.ended_at is None else cause.ended_at + EXPLAINED_S)
                for cause in causes
            ),
        )
        for mark in marks
        if _is_removal(mark)
    )


# What belongs to it.


def _owner(openings: Iterable[_Opening], node: str | None, at: float) -> _Opening | None:
    """Return the incident that something of this node belongs to."""
    around = [opening for opening in openings if opening.at - CLOCKS_S <= at <= opening.until]
    own = [opening for opening in around if opening.node is not None and opening.node == node]
    concerned = own or [opening for opening in around if opening.node is None]
    begun = [opening for opening in concerned if opening.at - NEAR_S <= at]
    going_on = [opening for opening in begun if not opening.over_by(at)]
    if going_on or len(begun) == len(concerned):
        return max(going_on or begun, key=attrgetter("at"), default=None)
    return min((opening for opening in concerned if opening not in begun), key=attrgetter("at"))


def _attribute(marks: Iterable[_Mark], openings: Sequence[_Opening]) -> None:
    for mark in marks:
        match mark.body:
            case HeartbeatMissed(node=str(node)):
                _note(openings, node, "miss", mark.at)
            case NodeStateChanged(node=node, new=new) if mark.key[0] != node:  # Its own word is no verdict.
                _note(openings, node, new, mark.at)
            case ClientLost(client=client, node=node):
                owner = _owner(openings, node, mark.at)
                if owner is not None:
                    owner.lost_at.setdefault(client, max(mark.at, owner.at))
            case Resumed(client=client, how=how) if how == HANDOVER:
                draining = [
                    opening
                    for opening in openings
                    if opening.fault == DRAIN
                    and opening.at - CLOCKS_S <= mark.at
                    and (opening.ended_at is None or mark.at <= opening.ended_at + CLOCKS_S)
                ]
                if draining:
                    draining[-1].moved_at.setdefault(client, max(mark.at, draining[-1].at))
            case LeaderChanged():
                owner = _owner(openings, None, mark.at)
                if owner is not None:
                    owner.first.setdefault("leader", max(mark.at, owner.at))
            case _:
                pass


_AWAY: Final = (NodeState.SUSPECT, NodeState.REMOVED, NodeState.LEFT, NodeState.DRAINING)


def _note(openings: Iterable[_Opening], node: str, kind: str, at: float) -> None:
    if kind == NodeState.ONLINE:
        # That it came back is news of what it was away for, even if the next fault began in the same moment.
        away = [
            opening for opening in openings if opening.node == node and any(word in opening.first for word in _AWAY)
        ]
        owner = max(away, key=attrgetter("at"), default=None)
    else:
        owner = _owner(openings, node, at)
    if owner is not None:
        owner.first.setdefault(kind, max(at, owner.at))


def _backs(marks: Iterable[_Mark]) -> dict[str, list[float]]:
    """Return when each client was connected again."""
    backs: dict[str, list[float]] = {}
    for mark in marks:
        if isinstance(mark.body, Resumed):
            backs.setdefault(mark.body.client, []).append(mark.at)
    return backs


def _close(opening: _Opening, backs: dict[str, list[float]], lost: int | None, duplicated: int | None) -> Incident:
    back_at = dict(opening.moved_at)
    pauses = []
    for client, lost_at in opening.lost_at.items():
        # The loss and the return are told by the same process: its clock does not matter.
        later = [at for at in backs.get(client, ()) if at >= lost_at]
        back_at[client] = later[0] if later else math.inf
        if later:
            pauses.append(bounded((later[0] - lost_at) * 1_000, least=0))
    after = sorted((at - opening.at) * 1_000 for at in back_at.values())
    cut = max(opening.lost_at.values(), default=None)

    def ms(kind: str) -> float | None:
        at = opening.first.get(kind)
        return None if at is None else (at - opening.at) * 1_000

    return Incident(
        fault=opening.fault,
        target=opening.parts[0] if len(opening.parts) == 1 or opening.node is None else opening.node,
        parts=tuple(opening.parts),
        node=opening.node,
        started_at=opening.at,
        ended_at=opening.ended_at,
        first_miss_ms=ms("miss"),
        suspect_ms=ms(NodeState.SUSPECT),
        removed_ms=ms(NodeState.REMOVED),
        online_ms=ms(NodeState.ONLINE),
        leader_ms=ms("leader"),
        cut_ms=None if cut is None else (cut - opening.at) * 1_000,
        back_p50_ms=_reached(after, 0.5),
        back_p95_ms=_reached(after, 0.95),
        back_all_ms=_reached(after, 1.0),
        clients=len(back_at),
        moved=len(opening.moved_at),
        pauses_ms=tuple(sorted(pauses)),
        forced=opening.forced,
        lost=lost,
        duplicated=duplicated,
    )


def _reached(ordered: Sequence[float], share: float) -> float | None:
    """Return the value that this share does not pass; None if not so many got there, or there is nobody."""
    if not ordered:
        return None
    value = ordered[max(0, math.ceil(share * len(ordered)) - 1)]
    return value if value < math.inf else None
