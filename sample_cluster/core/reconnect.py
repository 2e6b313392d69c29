"""A client's way to a node and back: when to try, how often it tried, and when to give up.

```
waiting ──started──> attempting ──welcomed──> connected ──goaway──> moving
   ^                     │ failed                  │ lost              │ left, or lost before its time
   └─────────────────────┴─────────────────────────┴───────────────────┘        stopped: told never to come back
```
All times are monotonic seconds, given by the caller.
"""

import math
import random
from dataclasses import dataclass
from enum import StrEnum

from sample_cluster.core.backoff import Backoff, BackoffTiming, Delay, Source


class Phase(StrEnum):
    """Where a client stands."""

    WAITING = "waiting"
    ATTEMPTING = "attempting"
    CONNECTED = "connected"
    MOVING = "moving"
    """Connected, and asked to go elsewhere at `deadline`."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A planned wait: attempt number `attempt` is due at `due`, `delay_s` after it was planned."""

    attempt: int
    delay_s: float
    due: float
    source: Source
    jitter: float | None = None


def comes_back(code: int) -> bool:
    """Say whether a client comes back after this close code: after all but 4500–4999."""
    return not 4_500 <= code <= 4_999


class Reconnect:
    """The state of one client's connection. Calls that do not fit the phase are our own mistakes."""

    def __init__(self, timing: BackoffTiming, dice: random.Random, *, now: float, first_delay_s: float = 0.0) -> None:
        """Plan the first attempt in `first_delay_s`."""
        self._backoff = Backoff(timing, dice)
        self._open_since = now
        self._away_since: float | None = None
        self._attempt_before_move: int | None = None
        self.phase = Phase.WAITING
        self.welcomes = 0
        """How often a node took the client; before the first time it is not away, it was never there."""
        self.wait = _planned(self._backoff.next(advice_s=first_delay_s), now)
        """The last wait that was planned."""

    @property
    def deadline(self) -> float:
        """When to start the next attempt, or to leave the node; infinite if there is nothing to wait for."""
        return self.wait.due if self.phase in (Phase.WAITING, Phase.MOVING) else math.inf

    @property
    def attempt(self) -> int:
        """The number of the attempt under way, planned or last made."""
        return self._backoff.attempt

    @property
    def planned(self) -> tuple[float, ...]:
        """The delays that follow if the attempt of `wait` and each after it fails, in seconds."""
        return self._backoff.planned()

    @property
    def away_since(self) -> float | None:
        """Since when a client that had a connection has none."""
        return self._away_since

    def learn(self, timing: BackoffTiming) -> None:
        """Take the node's numbers from now on."""
        self._backoff.timing = timing

    def started(self, now: float) -> int:
        """Say that the planned attempt begins; return its number. A moving client has left its node for it."""
        assert self.phase in (Phase.WAITING, Phase.MOVING), self.phase
        if self.phase is Phase.MOVING:
            self._away_since = now
        self.phase = Phase.ATTEMPTING
        return self.wait.attempt

    def failed(self, now: float, *, code: int | None = None, advice_s: float | None = None) -> Wait | None:
        """Say that the attempt came to nothing; return the next wait, None if a close code said to stop."""
        assert self.phase is Phase.ATTEMPTING, self.phase
        self._attempt_before_move = None
        return self._plan(now, code, advice_s)

    def welcomed(self, now: float) -> float | None:
        """Say that a node took the client; return how long it was away in seconds, None the first time."""
        assert self.phase is Phase.ATTEMPTING, self.phase
        self.phase = Phase.CONNECTED
        self.welcomes += 1
        self._open_since = now
        if self.welcomes == 1:
            self._backoff.reset()  # There was no loss: the first one is to be spread like any other.
        elif self._attempt_before_move is not None:
            self._backoff.attempt = self._attempt_before_move  # To go when asked is no failure.
        self._attempt_before_move = None
        away_s = None if self._away_since is None else now - self._away_since
        self._away_since = None
        return away_s

    def goaway(self, now: float, *, retry_s: float, spread_s: float) -> Wait | None:
        """Say that the node asked the client to leave; return its slot, None if it has one already."""
        assert self.phase in (Phase.CONNECTED, Phase.MOVING), self.phase
        if self.phase is Phase.MOVING:
            return None
        self._reset_if_stable(now)
        self._attempt_before_move = self._backoff.attempt
        self.phase = Phase.MOVING
        self.wait = _planned(self._backoff.next(advice_s=retry_s, spread_s=spread_s, source=Source.GOAWAY), now)
        return self.wait

    def lost(self, now: float, *, code: int, advice_s: float | None = None) -> Wait | None:
        """Say that the connection is gone; return the wait before the next attempt, None if `code` says to stop."""
        assert self.phase in (Phase.CONNECTED, Phase.MOVING), self.phase
        self._away_since = now
        if self.phase is Phase.MOVING and comes_back(code):
            # The node went before the slot came: the slot stays, it is where the survivors expect us.
            self._attempt_before_move = None
            self.phase = Phase.WAITING
            left_s = max(0.0, self.wait.due - now)
            self.wait = Wait(attempt=self.wait.attempt, delay_s=left_s, due=now + left_s, source=Source.GOAWAY)
            return self.wait
        self._reset_if_stable(now)
        return self._plan(now, code, advice_s)

    def _plan(self, now: float, code: int | None, advice_s: float | None) -> Wait | None:
        if code is not None and not comes_back(code):
            self.phase = Phase.STOPPED
            return None
        self.phase = Phase.WAITING
        self.wait = _planned(self._backoff.next(advice_s=advice_s), now)
        return self.wait

    def _reset_if_stable(self, now: float) -> None:
        if now - self._open_since >= self._backoff.timing.stable_s:
            self._backoff.reset()


def _planned(delay: Delay, now: float) -> Wait:
    return Wait(
        attempt=delay.attempt,
        delay_s=delay.delay_s,
        due=now + delay.delay_s,
        source=delay.source,
        jitter=delay.jitter,
    )
