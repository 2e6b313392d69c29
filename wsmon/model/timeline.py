"""The clients' ways back: one lane for each client that is away, is being moved, or came back not long ago.

Theory of operation. A lane keeps the marks that events left, in the order of their numbers, and what follows from
them: stretches of time on a line. An event that comes late, by the slower road, is put in its place and the lane is
worked out again, so any order of arrival gives the same lane. What the fleet's state says of its clients confirms
the lanes: it opens one for a client whose loss was never heard of, and ends one whose way back was not.
"""

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from wsmon.model.reading import NOTHING, bounded, count, moment, number, text
from wsmon.protocol.events import ClientLost, EventBody, ReconnectFailed, ReconnectScheduled, ReconnectStarted, Resumed
from wsmon.protocol.frames import ReadOnlyJson

LANES_MAX: Final = 2_000
MARKS_MAX: Final = 48
"""Marks kept in a lane; the oldest go first."""
HANDOVER: Final = "handover"
"""How a client resumes that was never without a connection."""
KEPT_BACK_S: Final = 60.0
"""How long a lane stays after its client came back."""
KEPT_IDLE_S: Final = 120.0
"""How long a lane stays whose client was to move and then said nothing more."""
PLAN_MOST_S: Final = 3_600.0
"""Nobody waits longer than this; a longer plan is nonsense and is cut."""
WAY_MOST_MS: Final = 1e9
"""Longest way back that is believed: eleven days."""
CONFIRM_S: Final = 0.5
"""The fleet's state has to be this much newer than an event to contradict it."""

CONNECTED_WORDS: Final = frozenset({"connected", "online", "live"})
AWAY_WORDS: Final = frozenset({"away", "lost", "waiting", "attempting", "reconnecting", "retrying"})
"""How a fleet calls a client that had a connection. One that never had any is `connecting`: no lane."""
STOPPED_WORD: Final = "stopped"
"""A client that was told never to come back."""


class StretchKind(StrEnum):
    """What a stretch of a lane is."""

    CONNECTED = "connected"
    LOST = "lost"
    WAIT = "wait"
    ATTEMPT = "attempt"
    FAILED = "failed"
    RESUMED = "resumed"


@dataclass(slots=True)
class Stretch:
    """A stretch of time; `end_at` None: it goes on. The planned end of a wait may lie ahead."""

    kind: StretchKind
    start_at: float
    end_at: float | None
    label: str = ""
    """Raw text of a peer for nodes and outcomes."""
    attempt: int = 0
    delay_s: float | None = None
    """Of a wait: how long it was meant to be."""


Body: TypeAlias = ClientLost | ReconnectScheduled | ReconnectStarted | ReconnectFailed | Resumed


@dataclass(frozen=True, slots=True)
class _Mark:
    order: tuple[int, int, int]
    """Boot and number of the event; then 0 for an event, 1 for what the fleet's state said after it."""
    at: float
    body: Body


@dataclass(slots=True)
class Lane:
    """One client's way back. Read it; only `Lanes` writes."""

    client: str
    source: str
    """Who tells of this client."""
    boot: int
    known_since: float | None
    """Since when the client is known to have been connected before; None if that is not known."""
    node_before: str | None
    """Where the fleet's state had the client before the lane began."""
    away: bool = False
    moving: bool = False
    """Told to go elsewhere by its node, and still connected."""
    origin: str | None = None
    """Node that was lost."""
    node: str | None = None
    """Node that the client is back on; None before."""
    attempt: int = 0
    tries: int = 0
    lost_at: float = 0.0
    back_at: float | None = None
    took_s: float | None = None
    """Length of the way back, from the loss to the resumption."""
    handed_over: bool = False
    """Back without ever having been away: the new connection stood before the old one ended."""
    stretches: list[Stretch] = field(default_factory=list)
    marks: list[_Mark] = field(default_factory=list)

    @property
    def last_at(self) -> float:
        """When the last thing was heard of."""
        return self.marks[-1].at if self.marks else self.lost_at

    @property
    def next_at(self) -> float | None:
        """When the next attempt is planned; None if no wait is under way."""
        last = self.stretches[-1] if self.stretches else None
        return last.end_at if last is not None and last.kind is StretchKind.WAIT and self.back_at is None else None


class Lanes:
    """All lanes, by client."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._clients: ReadOnlyJson = NOTHING
        self._known_since: float | None = None
        self._confirmed_by = ""
        self._pruned_at = 0.0
        self.dropped = 0
        """Lanes given up while their client was away, because there were too many."""

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        """Return all lanes in no particular order."""
        return iter(self._lanes.values())

    def get(self, client: str) -> Lane | None:
        """Return the client's lane."""
        return self._lanes.get(client)

    def take(self, body: EventBody, *, source: str, boot: int, seq: int, at: float) -> None:
        """Fold one event in; others than those of clients change nothing. Each event comes here once."""
        if isinstance(body, ClientLost | ReconnectScheduled | ReconnectStarted | ReconnectFailed | Resumed):
            lane = self._lanes.get(body.client)
            if lane is None:
                lane = self._open(body.client, source, boot, at)
            self._mark(lane, _Mark((boot, seq, 0), at, body))
            self.prune(at)

    def confirm(self, state: ReadOnlyJson, *, source: str, boot: int, seq: int, at: float) -> None:
        """Compare with the fleet's `clients_state`, sampled `at`, after its event `seq`."""
        told = state.get("clients_state")
        if not isinstance(told, dict):
            return
        self._clients, self._confirmed_by = told, source
        if self._known_since is None:
            self._known_since = at
        for client, lane in list(self._lanes.items()):
            if lane.source != source or not (lane.away or lane.moving) or lane.last_at > at - CONFIRM_S:
                continue
            entry = told.get(client)
            word = text(entry, "state") if isinstance(entry, dict) else None
            if not isinstance(entry, dict) or word == STOPPED_WORD:
                # A large fleet lists those away only: this one is back, or is no more.
                del self._lanes[client]
            elif lane.away and word in CONNECTED_WORDS:
                back = Resumed(client=client, node=text(entry, "node") or "")
                self._mark(lane, _Mark((boot, seq, 1), at, back))
        for client, entry in told.items():
            if (
                client not in self._lanes
                and isinstance(entry, dict)
                and text(entry, "state") in AWAY_WORDS
                and len(self._lanes) < LANES_MAX
            ):
                self._seen_away(client, entry, source=source, boot=boot, seq=seq, at=at)
        self.prune(at)

    def restarted(self, source: str, boot: int) -> None:
        """Forget the lanes of an earlier life of `source`: its clients are gone with it."""
        outlived = [lane.client for lane in self._lanes.values() if lane.source == source and lane.boot < boot]
        for client in outlived:
            del self._lanes[client]
        if source == self._confirmed_by:
            self._known_since, self._clients = None, NOTHING

    def prune(self, now: float) -> None:
        """Drop lanes that are over; looks at most once a second."""
        if now < self._pruned_at + 1:
            return
        self._pruned_at = now
        for client, lane in list(self._lanes.items()):
            if is_over(lane, now):
                del self._lanes[client]

    def _seen_away(self, client: str, entry: ReadOnlyJson, *, source: str, boot: int, seq: int, at: float) -> None:
        """Open a lane for a client whose loss was not heard of."""
        node = text(entry, "node")
        lane = self._open(client, source, boot, at)
        lane.known_since = None
        lost_at = moment(entry, "lost_at") or at
        self._mark(lane, _Mark((boot, seq, 1), min(lost_at, at), ClientLost(client=client, node=node)))
        next_at, delay_s = moment(entry, "next_at"), number(entry, "delay_s")
        if next_at is not None and delay_s is not None and next_at > at:
            plan = ReconnectScheduled(client=client, attempt=count(entry, "attempt") or 1, delay_s=delay_s)
            self._mark(lane, _Mark((boot, seq, 1), next_at - delay_s, plan))

    def _open(self, client: str, source: str, boot: int, at: float) -> Lane:
        while len(self._lanes) >= LANES_MAX:
            self._evict()
        entry = self._clients.get(client)
        before = text(entry, "node") if isinstance(entry, dict) else None
        known_since = self._known_since if self._known_since is not None and self._known_since < at else None
        lane = Lane(client, source, boot, known_since, before)
        self._lanes[client] = lane
        return lane

    def _evict(self) -> None:
        # The first one back if there is one, else simply the first.
        victim = next((lane for lane in self._lanes.values() if not lane.away), None)
        if victim is None:
            victim = next(iter(self._lanes.values()))
            self.dropped += 1
        del self._lanes[victim.client]

    def _mark(self, lane: Lane, mark: _Mark) -> None:
        marks = lane.marks
        if not marks or marks[-1].order <= mark.order:
            marks.append(mark)
            _fold(lane, mark)
        else:
            bisect.insort(marks, mark, key=lambda item: item.order)
            _begin(lane)
            for item in marks:
                _fold(lane, item)
        if len(marks) > MARKS_MAX:
            del marks[: len(marks) - MARKS_MAX]
        if len(lane.stretches) > 2 * MARKS_MAX:
            del lane.stretches[: len(lane.stretches) - 2 * MARKS_MAX]


def is_over(lane: Lane, now: float) -> bool:
    """Say whether the lane has nothing more to show."""
    if lane.away:
        return False
    if lane.back_at is not None:
        return now - lane.back_at >= KEPT_BACK_S
    return now - lane.last_at >= KEPT_IDLE_S


def _begin(lane: Lane) -> None:
    lane.away = lane.moving = False
    lane.origin = lane.node = None
    lane.attempt = lane.tries = 0
    lane.lost_at, lane.back_at, lane.took_s = 0.0, None, None
    lane.handed_over = False
    lane.stretches = []


def _fold(lane: Lane, mark: _Mark) -> None:
    at = mark.at
    lane.handed_over = False
    match mark.body:
        case ClientLost(node=node):
            _close(lane, at)
            _leave(lane, at, node)
            lane.stretches.append(Stretch(StretchKind.LOST, at, at, lane.origin or ""))
        case ReconnectScheduled(attempt=attempt, delay_s=delay_s):
            delay_s = bounded(delay_s, least=0, most=PLAN_MOST_S)
            if not lane.away and not lane.moving:
                # Still connected: its node asked it to go elsewhere.
                lane.moving = True
                lane.origin = lane.node or lane.node_before
                lane.lost_at, lane.back_at, lane.took_s = at, None, None
                lane.tries = 0
                _close(lane, at)
                _connected_before(lane, at)
            else:
                _close(lane, at)
            lane.attempt = _number(attempt)
            lane.stretches.append(Stretch(StretchKind.WAIT, at, at + delay_s, attempt=lane.attempt, delay_s=delay_s))
        case ReconnectStarted(attempt=attempt):
            _close(lane, at)
            if not lane.away:
                _leave(lane, at, None)
            lane.attempt = _number(attempt)
            lane.tries += 1
            lane.stretches.append(Stretch(StretchKind.ATTEMPT, at, None, attempt=lane.attempt))
        case ReconnectFailed(attempt=attempt, outcome=outcome):
            if not lane.away:
                _close(lane, at)
                _leave(lane, at, None)
            last = lane.stretches[-1] if lane.stretches else None
            if last is not None and last.kind is StretchKind.ATTEMPT and last.end_at is None:
                last.kind, last.end_at, last.label = StretchKind.FAILED, max(at, last.start_at), outcome
            else:
                _close(lane, at)
                lane.stretches.append(Stretch(StretchKind.FAILED, at, at, outcome, _number(attempt or lane.attempt)))
        case Resumed(node=node, how=how) if how == HANDOVER:
            known = lane.away or lane.moving
            if not known and lane.back_at is not None and lane.node == node:
                # Known to be there already, from the fleet's state.
                lane.took_s, lane.handed_over = None, True
                return
            _close(lane, at)
            if not known:
                lane.origin, lane.lost_at = lane.node or lane.node_before, at
            lane.away = lane.moving = False
            lane.node, lane.back_at, lane.took_s, lane.handed_over = node or None, at, None, True
            lane.stretches.append(Stretch(StretchKind.RESUMED, at, at, node))
            lane.stretches.append(Stretch(StretchKind.CONNECTED, at, None, node))
        case Resumed(node=node, ms=ms):
            if not lane.away and not lane.moving and lane.back_at is not None:
                # Known to be back already, from the fleet's state; this tells the rest.
                lane.node = node or lane.node
                lane.took_s = lane.took_s if ms is None else _seconds(ms)
                return
            _close(lane, at)
            known = lane.away or lane.moving
            took_s = None if ms is None else _seconds(ms)
            if not known:
                lane.lost_at = at - (took_s or 0.0)
            elif took_s is None:
                took_s = max(0.0, at - lane.lost_at)
            lane.away = lane.moving = False
            lane.node, lane.back_at, lane.took_s = node or None, at, took_s
            lane.stretches.append(Stretch(StretchKind.RESUMED, at, at, node))
            lane.stretches.append(Stretch(StretchKind.CONNECTED, at, None, node))


def _seconds(ms: float) -> float:
    return bounded(ms, least=0, most=WAY_MOST_MS) / 1_000


def _number(attempt: int) -> int:
    return int(bounded(attempt, least=0, most=1e9))


def _leave(lane: Lane, at: float, node: str | None) -> None:
    """The client is without a connection from `at` on."""
    known = lane.origin if lane.moving else None
    lane.origin = node or known or lane.node or lane.node_before
    _connected_before(lane, at)
    lane.away, lane.moving = True, False
    lane.node, lane.lost_at, lane.back_at, lane.took_s = None, at, None, None
    lane.attempt = lane.tries = 0


def _connected_before(lane: Lane, at: float) -> None:
    if not lane.stretches and lane.known_since is not None and lane.known_since < at:
        lane.stretches.append(Stretch(StretchKind.CONNECTED, lane.known_since, at, lane.origin or ""))


def _close(lane: Lane, at: float) -> None:
    """End the last stretch, or cut it where something else begins."""
    last = lane.stretches[-1] if lane.stretches else None
    if last is not None and (last.end_at is None or last.end_at > at):
        last.end_at = max(at, last.start_at)


def planned_ahead(lanes: Iterable[Lane], now: float, *, seconds: int) -> tuple[int, ...]:
    """Return how many attempts are planned in each of the coming `seconds`."""
    bins = [0] * seconds
    for lane in lanes:
        next_at = lane.next_at
        if next_at is not None and now <= next_at < now + seconds:
            bins[int(next_at - now)] += 1
    return tuple(bins)
