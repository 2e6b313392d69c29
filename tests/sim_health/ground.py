"""Time for a whole cluster: whatever is due happens in order, and nothing takes longer than it says."""

import heapq
import itertools
from collections.abc import Callable
from random import Random


class BrokenLawError(Exception):
    """The cluster did what it promised never to do."""


class Ground:
    """One clock, one dice, and what is still to happen."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.dice = Random(seed)
        self.trace: list[str] = []
        """What happened, for whoever has to find out why a seed fails."""
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Do something in a while."""
        heapq.heappush(self._coming, (self.now + max(delay_s, 0.0), next(self._numbers), do))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._coming and self._coming[0][0] <= until:
            at, _, do = heapq.heappop(self._coming)
            self.now = max(self.now, at)
            do()
        self.now = until

    def say(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now:10.3f}  {text}")
