"""One kind of probe of one node: its rhythm, and its row of failures.

Theory of operation. A probe leaves every interval. Half-way through its patience others are asked about the node; when
its time is over it counts as passed, vouched for, or failed. Failures count only if they were asked for an interval
apart: whoever asks in between, because a connection ended, neither shortens the time to removal nor moves the rhythm.
All `now` are monotonic seconds handed in by the caller.
"""

import math
from enum import StrEnum
from typing import Protocol


class ProbeTiming(Protocol):
    """One kind of probe: asked every `interval_s`, answered within `timeout_s`, decided by `failures` in a row."""

    @property
    def interval_s(self) -> float: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def failures(self) -> int: ...


class Said(StrEnum):
    """What another node said when it was asked about this one."""

    YES = "yes"
    """It reached the node."""
    NO = "no"
    NOTHING = "silent"
    """It did not answer itself, or could not try: no evidence either way."""


class Probe:
    """One kind of probe of one node: its rhythm and its row of successes or failures."""

    __slots__ = (
        "_counted",
        "asked",
        "broken",
        "due",
        "failed",
        "helpers",
        "helpers_asked",
        "in_flight",
        "last_ok",
        "passed",
        "patience_s",
        "rtt_s",
        "status",
        "timing",
        "vouched",
    )

    def __init__(self, timing: ProbeTiming, *, now: float) -> None:
        self.timing = timing
        self.due = now
        """When to ask next."""
        self.asked = now
        self.in_flight = False
        self.patience_s = timing.timeout_s
        """How long the probe that was sent last may take."""
        self.broken: str | None = None
        """Why the probe in flight will have no answer."""
        self.helpers: dict[str, Said | None] = {}
        """Who was asked about the last probe, and what they said so far."""
        self.helpers_asked = False
        self.failed = 0
        """Counted failures in a row, at most as many as decide."""
        self.passed = 0
        """Successes in a row since the node began to join or to recover."""
        self.vouched = 0
        """How often others reached the node when we did not."""
        self.last_ok: float | None = None
        self.rtt_s: float | None = None
        self.status: int | None = None
        self._counted = -math.inf

    def patience(self, score: int) -> float:
        """Return how long to wait for an answer if we doubt ourselves this much."""
        return min(self.timing.timeout_s * (1 + score), max(self.timing.interval_s, self.timing.timeout_s))

    def ask(self, now: float, *, haste: int, score: int) -> None:
        """Say that the probe is on its way; the next one is due an interval after this one really left."""
        self.asked = now
        self.in_flight = True
        self.patience_s = self.patience(score)
        self.broken = None
        self.helpers = {}
        self.helpers_asked = False
        self.due = now + self.timing.interval_s / haste
        again = self._counted + self.timing.interval_s
        if now < again:
            self.due = min(self.due, again)  # Whoever asked in between must not move the rhythm.

    def pass_(self, now: float) -> None:
        """Take a success."""
        self.in_flight = False
        self.failed = 0
        self.passed += 1
        self.last_ok = now
        self._counted = -math.inf

    def vouch(self) -> None:
        """Take others' word that the node can be reached."""
        self.in_flight = False
        self.failed = 0
        self.vouched += 1
        self._counted = -math.inf

    def fail(self, *, late_s: float) -> bool:
        """Take a failure; return whether it counts."""
        self.in_flight = False
        on_time = late_s <= self.timing.timeout_s / 2
        # A retry between two regular probes must not shorten the least time to removal.
        apart = self.asked - self._counted >= self.timing.interval_s * 0.999
        if not (on_time and apart):
            return False
        self._counted = self.asked
        self.passed = 0
        self.failed = min(self.failed + 1, self.timing.failures)
        return True

    def forgive(self) -> None:
        """Forget failures and successes. The probe in flight will not count as a failure, either."""
        self.failed = self.passed = 0
        self._counted = self.asked if self.in_flight else -math.inf

    def start_over(self, now: float) -> None:
        """Forget everything that was found, and ask at once."""
        self.in_flight = False
        self.forgive()
        self.due = now

    @property
    def half(self) -> float:
        """When others are asked about the probe in flight."""
        return self.asked + self.patience_s / 2

    @property
    def ends(self) -> float:
        """When the time of the probe in flight is over."""
        return self.asked + self.patience_s

    @property
    def reached_by(self) -> tuple[str, ...]:
        """Who reached the node when the last probe did not."""
        return tuple(helper for helper, said in self.helpers.items() if said is Said.YES)

    @property
    def heard(self) -> tuple[tuple[str, Said], ...]:
        """What those who were asked about the last probe said; who has not answered yet is silent."""
        return tuple((helper, said or Said.NOTHING) for helper, said in self.helpers.items())

    @property
    def decided(self) -> bool:
        """Whether the failures suffice for removal."""
        return self.failed >= self.timing.failures

    def decides_at(self, patience_s: float) -> float:
        """Return when the failures will suffice if every probe from now on fails, the last one after `patience_s`."""
        following = self.asked if self.in_flight else self.due
        following = max(following, self._counted + self.timing.interval_s)
        return following + patience_s + max(self.timing.failures - self.failed - 1, 0) * self.timing.interval_s
