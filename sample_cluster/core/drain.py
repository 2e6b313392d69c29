"""The plan by which a node empties itself.

Theory of operation. The connections are told to leave one after the other, evenly over a span, so that the nodes
that take them see a steady stream and not a wave. Whoever has been told leaves by itself; whoever is still there
at the deadline is closed by the shell. Connections that come late (their handshake was under way) are told at the
first moment.
"""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

EASY_RATE: Final = 100.0
"""Connections told per second when nobody asks for less or more: a tenth of what one survivor accepts."""
SPAN_LEAST_S: Final = 1.0


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
    ) -> None:
        """`rate` in connections per second; without it the whole is told within half of the deadline at most.

        Nobody is told within the first `lead_s`: whoever is sent away must not be sent back by a gateway that has
        not heard of the drain yet.
        """
        self._left = dict.fromkeys(connections)
        self._untold = deque(self._left)
        self._late: list[str] = []
        self._started = now
        self._tells_at = now + min(lead_s, deadline_s)
        self.ends = now + deadline_s
        self.total = len(self._left)
        span = min(deadline_s / 2, max(SPAN_LEAST_S, self.total / EASY_RATE)) if rate is None else self.total / rate
        self._gap_s = min(span, deadline_s) / max(1, self.total)
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
        while self._untold and self._next <= now:
            name = self._untold.popleft()
            self._next += self._gap_s
            if name in self._left:
                told.append(name)
        return tuple(told)

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
