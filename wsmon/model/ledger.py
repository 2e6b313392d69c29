"""Every event once, whichever road brought it first, in the order of time; and how many never came.

Theory of operation. An event is known by (source, boot, seq). What was seen of a source's present life is one range
of numbers with holes in it: an event in a hole, above or below the range is new, everything else a duplicate. An
event comes by two roads, the source's admin socket and the stream in Redis, which do not keep each other's order;
so a hole counts as lost only when both roads had their chance, and no longer when it is filled after all.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from wsmon.protocol.events import EventBody, decode_body
from wsmon.protocol.frames import EventFrame

EVENTS_KEPT: Final = 2_000
SOURCES_MAX: Final = 4_096
HOLES_MAX: Final = 64
"""Holes kept for a source; the oldest is given up for lost when there are more."""
GRACE_S: Final = 5.0
"""A hole is given up this long after it was noticed, or after Redis came back."""
PATIENCE_S: Final = 60.0
"""A hole is given up after this long even if Redis stays away."""


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One event. Compared by identity: there is one of each."""

    event: EventFrame
    body: EventBody
    at: float
    """When it happened, on the watcher's clock."""


@dataclass(slots=True)
class _Hole:
    first: int
    last: int
    noticed_at: float


@dataclass(slots=True)
class _Seen:
    """What was seen of one life of one source: low … high without the holes."""

    boot: int
    low: int
    high: int
    holes: list[_Hole] = field(default_factory=list)


class EventLedger:
    """The newest events in the order of time, each once."""

    def __init__(self, *, kept: int = EVENTS_KEPT) -> None:
        self._kept = kept
        self._recent: deque[Recorded] = deque()
        self._sources: dict[str, _Seen] = {}
        self._given_up = 0
        self.taken = 0
        """Events taken, ever. Also says whether something changed."""
        self.duplicates = 0
        self.outdated = 0
        """Events of an earlier life of their source; ignored."""

    def __len__(self) -> int:
        return len(self._recent)

    def __iter__(self) -> Iterator[Recorded]:
        """Return the events kept, oldest first."""
        return iter(self._recent)

    def newest(self, most: int) -> list[Recorded]:
        """Return at most `most` of the newest events, oldest first."""
        recent = self._recent
        start = max(0, len(recent) - most)
        return [recent[index] for index in range(start, len(recent))] if start else list(recent)

    def highest(self, source: str) -> int:
        """Return the highest number seen of the source's present life, 0 before any."""
        seen = self._sources.get(source)
        return 0 if seen is None else seen.high

    def take(self, event: EventFrame, *, at: float, heard_at: float) -> Recorded | None:
        """Take an event that happened `at`; return it as recorded, or None if it is known or outdated."""
        if not self._is_new(event, heard_at):
            return None
        self.taken += 1
        recorded = Recorded(event, decode_body(event), at)
        recent = self._recent
        if len(recent) == self._kept:
            if at < recent[0].at:
                return recorded  # Taken, and already too old to be kept.
            recent.popleft()
        place = len(recent)
        key = (at, event.source, event.boot, event.seq)
        while place and key < _order(recent[place - 1]):
            place -= 1
        recent.insert(place, recorded)
        return recorded

    def lost(self, now: float, *, redis_since: float | None) -> int:
        """Return how many events never came. `redis_since`: since when Redis answers; None while it is away."""
        lost = self._given_up
        for seen in self._sources.values():
            for hole in seen.holes:
                settled = redis_since is not None and now - max(hole.noticed_at, redis_since) > GRACE_S
                if settled or now - hole.noticed_at > PATIENCE_S:
                    lost += hole.last - hole.first + 1
        return lost

    def _is_new(self, event: EventFrame, heard_at: float) -> bool:
        seq = event.seq
        seen = self._sources.get(event.source)
        if seen is None or event.boot > seen.boot:
            if seen is not None:
                self._give_up(seen.holes)
            elif len(self._sources) >= SOURCES_MAX:
                self._give_up(self._sources.pop(next(iter(self._sources))).holes)
            self._sources[event.source] = _Seen(event.boot, seq, seq)
            return True
        if event.boot < seen.boot:
            self.outdated += 1
            return False
        if seq > seen.high:
            self._dig(seen, seen.high + 1, seq - 1, heard_at)
            seen.high = seq
            return True
        if seq < seen.low:
            self._dig(seen, seq + 1, seen.low - 1, heard_at)
            seen.low = seq
            return True
        for index, hole in enumerate(seen.holes):
            if hole.first <= seq <= hole.last:
                below = _Hole(hole.first, seq - 1, hole.noticed_at)
                above = _Hole(seq + 1, hole.last, hole.noticed_at)
                seen.holes[index : index + 1] = [part for part in (below, above) if part.first <= part.last]
                self._bound(seen)
                return True
        self.duplicates += 1
        return False

    def _dig(self, seen: _Seen, first: int, last: int, heard_at: float) -> None:
        if first > last:
            return
        seen.holes.append(_Hole(first, last, heard_at))
        self._bound(seen)

    def _bound(self, seen: _Seen) -> None:
        if len(seen.holes) > HOLES_MAX:
            self._give_up([seen.holes.pop(0)])

    def _give_up(self, holes: list[_Hole]) -> None:
        self._given_up += sum(hole.last - hole.first + 1 for hole in holes)


def _order(recorded: Recorded) -> tuple[float, str, int, int]:
    event = recorded.event
    return recorded.at, event.source, event.boot, event.seq
