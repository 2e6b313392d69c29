"""A circuit breaker: whether it makes sense to call somebody who has failed lately.

```
closed ──too many failures──> open ──time──> half-open ──success──> closed
                               ^                 │ failure
                               └─────────────────┘
```
Trips on `IN_A_ROW` failures in a row, or when half of the last `WINDOW` calls failed. While it is open nobody is
called; then one call at a time is let through to see. Each trip in a row doubles the wait. A call that was given up by
its caller says nothing about the callee, and counts as nothing.

All times are monotonic seconds, given by the caller.
"""

import random
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

IN_A_ROW: Final = 5
WINDOW: Final = 20
WINDOW_LEAST: Final = 10
"""Calls that have to be known before their share of failures means anything."""
JITTER: Final = 0.1
EXPONENT_MOST: Final = 16


class State(StrEnum):
    """What becomes of a call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerTiming:
    """Open for `open_s` × 2^(trips in a row - 1), at most `open_most_s`, give or take a tenth."""

    open_s: float = 5.0
    open_most_s: float = 60.0


class Breaker:
    """One caller's opinion of one callee. Ask `allows`; if it does, tell how the call ended."""

    def __init__(self, timing: BreakerTiming, dice: random.Random) -> None:
        self._timing = timing
        self._dice = dice
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._failed_in_a_row = 0
        self._trips = 0
        self._open_until = 0.0
        self._trying = False
        self.state = State.CLOSED

    def allows(self, now: float) -> bool:
        """Say whether to call now. A call that is allowed has to be ended by one of the three below."""
        if self.state is State.OPEN and now >= self._open_until:
            self.state = State.HALF_OPEN
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN or self._trying:
            return False
        self._trying = True
        return True

    def would_allow(self, now: float) -> bool:
        """Say what `allows` would say, without asking for anything."""
        match self.state:
            case State.CLOSED:
                return True
            case State.OPEN:
                return now >= self._open_until
            case State.HALF_OPEN:
                return not self._trying

    def retry_in_s(self, now: float) -> float:
        """Return how long it is not worth to ask again, in seconds."""
        return max(0.0, self._open_until - now) if self.state is State.OPEN else 0.0

    def succeeded(self) -> None:
        """The call was answered."""
        self._trying = False
        self._failed_in_a_row = 0
        self._recent.append(True)
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._recent.clear()
            self._trips = 0

    def failed(self, now: float) -> None:
        """The call was not answered, or badly."""
        self._trying = False
        self._failed_in_a_row += 1
        self._recent.append(False)
        if self.state is State.OPEN:
            return  # A call from before.
        failures = self._recent.count(False)
        too_many = len(self._recent) >= WINDOW_LEAST and 2 * failures >= len(self._recent)
        if self.state is State.HALF_OPEN or self._failed_in_a_row >= IN_A_ROW or too_many:
            self._trips += 1
            grown = self._timing.open_s * 2.0 ** min(self._trips - 1, EXPONENT_MOST)
            jitter = 1 + JITTER * (2 * self._dice.random() - 1)
            self._open_until = now + min(grown, self._timing.open_most_s) * jitter
            self.state = State.OPEN

    def reset(self) -> None:
        """The callee is known to be well again, from elsewhere."""
        self.succeeded()

    def abandoned(self) -> None:
        """The call was given up by its caller."""
        self._trying = False
