"""How long a client waits before each attempt to come back.

Theory of operation. The first delay after a loss is uniform in [0, spread], so that the clients of one dead node do
not come in one wave; the n-th after that is base × factor^(n-1), at most cap, times uniform 1 ± jitter. Advice of the
server replaces the next delay. Every attempt uses one roll of the dice, and rolls are made a few attempts ahead:
what is planned can be told without changing it, and what was told is what happens.
"""

import random
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PLANNED: Final = 3
"""Attempts that are rolled ahead."""
ADVICE_MOST_S: Final = 300.0
"""No server may send a client away for longer."""
EXPONENT_MOST: Final = 64
"""The cap is long reached; keeps the power finite."""


class Source(StrEnum):
    """Where a delay comes from."""

    SPREAD = "spread"
    BACKOFF = "backoff"
    GOAWAY = "goaway"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffTiming:
    """The numbers of the formula. All times in seconds.

    Raises:
        ValueError: numbers that would make delays negative, infinite or shrinking.

    """

    spread_s: float
    base_s: float
    factor: float
    cap_s: float
    jitter: float
    """Share of a delay, in [0, 1]."""
    stable_s: float
    """The count of attempts starts again only after a connection was open this long."""

    def __post_init__(self) -> None:
        """Check the numbers: they may come from a peer."""
        sound = (
            0 <= self.spread_s <= 3_600
            and 0 < self.base_s <= self.cap_s <= 3_600
            and 1 <= self.factor <= 100
            and 0 <= self.jitter <= 1
            and 0 <= self.stable_s <= 86_400
        )
        if not sound:
            raise ValueError(f"these timings make no sense: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The wait before attempt number `attempt`."""

    attempt: int
    delay_s: float
    source: Source
    jitter: float | None = None
    """Factor that the dice gave; None where the formula has none."""


class Backoff:
    """The delays of one client. The dice are its own."""

    def __init__(self, timing: BackoffTiming, dice: random.Random) -> None:
        self.timing = timing
        """May be replaced at any time; holds from the next delay on."""
        self.attempt = 0
        """Attempts since the last reset."""
        self._dice = dice
        self._rolls: deque[float] = deque()

    def next(self, *, advice_s: float | None = None, spread_s: float = 0.0, source: Source = Source.ADVICE) -> Delay:
        """Return the delay of the next attempt. Advice replaces the formula: `advice_s` and a share of `spread_s`."""
        roll = self._ahead(1)[0]
        self._rolls.popleft()
        self.attempt += 1
        if advice_s is None:
            return self._delay(self.attempt, roll)
        delay_s = max(0.0, advice_s) + max(0.0, spread_s) * roll
        return Delay(attempt=self.attempt, delay_s=min(delay_s, ADVICE_MOST_S), source=source)

    def planned(self) -> tuple[float, ...]:
        """Return the delays of the coming attempts, in seconds, should each fail and nobody advise."""
        return tuple(
            self._delay(self.attempt + number, roll).delay_s for number, roll in enumerate(self._ahead(PLANNED), 1)
        )

    def reset(self) -> None:
        """Start counting again."""
        self.attempt = 0

    def _ahead(self, count: int) -> deque[float]:
        while len(self._rolls) < count:
            self._rolls.append(self._dice.random())
        return self._rolls

    def _delay(self, attempt: int, roll: float) -> Delay:
        timing = self.timing
        if attempt == 1:
            return Delay(attempt=1, delay_s=roll * timing.spread_s, source=Source.SPREAD)
        grown = timing.base_s * timing.factor ** min(attempt - 2, EXPONENT_MOST)
        jitter = 1 + timing.jitter * (2 * roll - 1)
        return Delay(
            attempt=attempt, delay_s=min(grown, timing.cap_s) * jitter, source=Source.BACKOFF, jitter=round(jitter, 3)
        )
