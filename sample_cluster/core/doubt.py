"""Whether the fault is ours: how much a checker doubts itself before it doubts a node.

Theory of operation. Three things point at the checker and not at a node: its own timer is late, its own canary (its
own admin socket, asked like a node's) does not answer, and half of all nodes or more fail at once. Each of them raises
the score by one when it is noticed first, and by one again with every interval in which it is still there; every two
intervals without any of them lower it by one. Timeouts are multiplied by 1 + score, so that a busy checker becomes patient
instead of wrong.

Standing still is worse than being slow: whoever was stopped, or whose machine slept, holds answers that are old and has
missed others. After a gap between two ticks of more than `gap_s` nothing is judged at all for `freeze_s`. That is tilt.

Source of the score: Lifeguard, "Local Health Aware Probe" (Dadgar, Phillips, Currey, 2017); tilt is the mode of that
name in Redis Sentinel. All `now` are monotonic seconds handed in by the caller.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SCORE_MAX: Final = 4
SHARE: Final = 0.5
FAILING_LEAST: Final = 2
"""One failing node says nothing about us, not even if it is half of what is left."""
QUIET_INTERVALS: Final = 2
"""A canary that sings once an interval, and fails late, must not look as if it had been well in between."""


class Sign(StrEnum):
    """What points at ourselves, in words for people."""

    LATE = "its own timer is late"
    CANARY = "its own canary does not answer"
    SHARE = "half of all nodes or more fail at once"


@dataclass(frozen=True, slots=True)
class Tilted:
    """Nothing is judged until `until`, since nothing was done for `gap_s` seconds."""

    gap_s: float
    until: float


class Doubt:
    """One checker's opinion of itself."""

    def __init__(self, *, interval_s: float, late_s: float, gap_s: float, freeze_s: float, now: float) -> None:
        """A timer is late from `late_s` on; `interval_s` is how long a sign counts before it has to be seen again."""
        self.score = 0
        self.gap_s = 0.0
        """How long the last standstill was."""
        self._interval_s = interval_s
        self._late_s = late_s
        self._gap_s = gap_s
        self._freeze_s = freeze_s
        self._raised: dict[Sign, float] = {}
        """When each sign last raised the score."""
        self._lower_at = now
        """When the score falls next, if it is above 0."""
        self._looked: tuple[float, float] | None = None
        self._tilted_until = -math.inf

    def tick(self, now: float, *, late_s: float, steady: float | None = None) -> Tilted | None:
        """Let time pass; return the tilt that begins with it.

        `late_s` is how late this tick is. `steady` is a clock that goes on while the machine sleeps, if `now` does not.
        """
        clocks = now, now if steady is None else steady
        before, self._looked = self._looked, clocks
        self._lower(now)
        if late_s >= self._late_s:
            self.sign(Sign.LATE, now)
        if before is None:
            return None
        gap_s = max(clocks[0] - before[0], clocks[1] - before[1])
        if gap_s <= self._gap_s:
            return None
        self._tilted_until, self.gap_s = now + self._freeze_s, gap_s
        return Tilted(gap_s, self._tilted_until)

    def sign(self, sign: Sign, now: float) -> None:
        """Take note of a sign. The same one raises the score once in an interval."""
        self._lower(now)
        self._lower_at = now + QUIET_INTERVALS * self._interval_s
        if now - self._raised.get(sign, -math.inf) >= self._interval_s:
            self._raised[sign] = now
            self.score = min(self.score + 1, SCORE_MAX)

    def failing(self, failing: int, targets: int, now: float) -> None:
        """Say how many of those that are asked fail at the moment."""
        if failing >= FAILING_LEAST and failing >= SHARE * targets:
            self.sign(Sign.SHARE, now)

    def canary(self, now: float, *, answered: bool) -> None:
        """Say how our own canary did."""
        if not answered:
            self.sign(Sign.CANARY, now)

    def tilted(self, now: float) -> bool:
        """Say whether nothing may be judged."""
        return now < self._tilted_until

    @property
    def tilted_until(self) -> float:
        """When judgement begins again; in the past if it never stopped."""
        return self._tilted_until

    def signs(self, now: float) -> tuple[Sign, ...]:
        """Return why the score is above 0; nothing if it is not."""
        if not self.score:
            return ()
        return tuple(
            sign for sign, at in self._raised.items() if now - at < QUIET_INTERVALS * self._interval_s * SCORE_MAX
        )

    def _lower(self, now: float) -> None:
        while self.score and now >= self._lower_at:
            self.score -= 1
            self._lower_at += QUIET_INTERVALS * self._interval_s
