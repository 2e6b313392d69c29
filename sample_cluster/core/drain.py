"""The plan by which a node empties itself.

Theory of operation. The connections are told to leave one after the other, evenly over a span, so that the nodes
that take them see a steady stream and not a wave. Whoever has been told leaves by itself; whoever is still there
at the deadline is closed by the shell. Connections that come late (their handshake was under way) are told at the
first moment.

How fast is a share of the handshakes that the other nodes do, as far as a gateway has measured that: the rest is for
everybody else who comes. Only the deadline is stronger. A node that could not tell anybody for a while, since its
process stood still, does not make up for that in one wave.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SHARE: Final = 0.8
"""Of the survivors' handshakes per second."""
EASY_RATE: Final = 100.0
"""Connections told per second while nobody has measured the survivors: a quarter of what a single one is trusted to do."""
RATE_LEAST: Final = 5.0
RATE_MOST: Final = 1_000.0
"""Bounds of what is believed of a measurement."""
SPAN_LEAST_S: Final = 1.0
"""Even a few connections are told one after the other."""
SPAN_NONE_S: Final = 0.001
"""Stands for no time at all."""
LEAVING_S: Final = 2.0
LEAVING_SHARE: Final = 0.2
"""The last one is told this long before the deadline, or this share of the time if that is less: it takes a while to go."""
BEHIND_MOST_S: Final = 0.1
"""Slots that were missed for longer are put off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivors:
    """Who takes a draining node's connections."""

    connections: Mapping[str, int | None] = field(default_factory=dict)
    """The other nodes that take connections, and how many each has; None: nobody says."""
    per_node: float | None = None
    """Handshakes that each of them does in a second; None: nobody has measured it."""

    @property
    def capacity(self) -> float | None:
        """Handshakes per second of all of them; None if that is not known."""
        return self.per_node * len(self.connections) if self.connections and self.per_node is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast connections are told to leave."""

    rate: float
    """Per second."""
    hurried: bool = False
    """Whether that is more than it should be, because of the deadline."""

    @classmethod
    def of(
        cls, count: int, survivors: Survivors, *, deadline_s: float, lead_s: float = 0.0, rate: float | None = None
    ) -> "Pace":
        """Return the pace for `count` connections; somebody asks for `rate`, or nobody does."""
        if rate is None:
            capacity = survivors.capacity
            rate = EASY_RATE if capacity is None else min(max(SHARE * capacity, RATE_LEAST), RATE_MOST)
            rate = min(rate, max(count / SPAN_LEAST_S, RATE_LEAST))
        span = deadline_s - min(lead_s, deadline_s) - min(LEAVING_S, LEAVING_SHARE * deadline_s)
        needed = count / max(span, SPAN_NONE_S)
        return cls(rate=rate) if needed <= rate else cls(rate=needed, hurried=True)


class Phase(StrEnum):
    """How far a drain is."""

    TELLING = "telling"
    WAITING = "waiting"
    """Everybody has been told."""
    CLOSING = "closing"
    """The deadline passed."""
    DONE = "done"


class Drain:
    """One drain of one node. All times are monotonic seconds, given by the caller."""

    def __init__(
        self,
        connections: Iterable[str],
        *,
        now: float,
        deadline_s: float,
        rate: float | None = None,
        lead_s: float = 0.0,
        survivors: Survivors = Survivors(),
    ) -> None:
        """Tell `rate` connections a second, or else as many as `survivors` allow.

        Nobody is told within the first `lead_s`: whoever is sent away must not be sent back by a gateway that has
        not heard of the drain yet.
        """
        self._left = dict.fromkeys(connections)
        self._untold = deque(self._left)
        self._late: list[str] = []
        self._started = now
        self._tells_at = now + min(lead_s, deadline_s)
        self.ends = now + deadline_s
        self._last_told_by = self.ends - min(LEAVING_S, LEAVING_SHARE * deadline_s)
        self.total = len(self._left)
        self.told = 0
        """How many were told so far."""
        self.pace = Pace.of(self.total, survivors, deadline_s=deadline_s, lead_s=lead_s, rate=rate)
        self._gap_s = 1 / self.pace.rate
        self._next = self._tells_at

    @property
    def left(self) -> int:
        """How many connections are still there."""
        return len(self._left)

    @property
    def remaining(self) -> tuple[str, ...]:
        """Return the connections that are still there."""
        return tuple(self._left)

    @property
    def deadline(self) -> float:
        """When the shell has to call `due` next."""
        if self._late:
            return self._tells_at
        return min(self._next, self.ends) if self._untold else self.ends

    def admits(self, now: float) -> bool:
        """Say whether the node still takes connections: until everybody who sends some has heard of the drain."""
        return now < self._tells_at

    def phase(self, now: float) -> Phase:
        """Return how far the drain is."""
        if not self._left:
            return Phase.DONE
        if now >= self.ends:
            return Phase.CLOSING
        return Phase.TELLING if self._untold or self._late else Phase.WAITING

    def due(self, now: float) -> tuple[str, ...]:
        """Return the connections that have to be told now; each is returned once."""
        if now < self._tells_at:
            return ()
        told, self._late = self._late, []
        if self._untold and now - self._next > BEHIND_MOST_S:
            self._put_off(now)
        while self._untold and self._next <= now:
            name = self._untold.popleft()
            self._next += self._gap_s
            if name in self._left:
                told.append(name)
        self.told += len(told)
        return tuple(told)

    def _put_off(self, now: float) -> None:
        """Go on from here at the same pace, or at the one that the deadline demands by now."""
        self._next = now - BEHIND_MOST_S
        left_s = self._last_told_by - self._next
        self._gap_s = min(self._gap_s, max(0.0, left_s) / len(self._untold))

    def joined(self, name: str) -> None:
        """Take a connection that became one only now."""
        if name not in self._left:
            self._left[name] = None
            self._late.append(name)
            self.total += 1

    def gone(self, name: str) -> None:
        """Take note that a connection is closed, whoever closed it."""
        self._left.pop(name, None)

    def eta_s(self, now: float) -> float:
        """Return how many seconds the rest will take at the pace so far; never more than until the deadline."""
        until_deadline = max(0.0, self.ends - now)
        gone = self.total - self.left
        if self.left == 0:
            return 0.0
        if gone == 0:
            return min(until_deadline, max(0.0, self._next + self._gap_s * len(self._untold) - now))
        return min(until_deadline, self.left * (now - self._started) / gone)
