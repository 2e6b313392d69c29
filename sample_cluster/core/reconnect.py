"""A client's way to a node and back: when to try, how often it tried, and when to give up.

```
waiting ──started──> attempting ──welcomed──> connected ──goaway──> moving ──started──> handing over
   ^                     │ failed                  │ lost   ^ welcomed │ left, or lost     │ failed: moving
   └─────────────────────┴─────────────────────────┘        └──────────┼───────────────────┤ lost: attempting
   ^                                                                   │                   │ welcomed: connected
   └──────────────────────── (lost; the slot stays) ──────────────────┘        stopped: told never to come back
```
A node that asks its client to leave gives it a slot. Without a hand-over the client leaves in its slot and attempts
like any other. With one it attempts while the old connection goes on serving, so that it is never away; should the
attempt fail it stays where it is and tries again later, and should the old connection go first it is away from then
on, with the attempt still under way.

All times are monotonic seconds, given by the caller.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sample_cluster.core.backoff import Backoff, BackoffTiming, Delay, Source

TAKEN_OVER: Final = 4502
"""Another connection resumed the session with a higher attempt: a later one of our own, or somebody else's."""
QUIET_S: Final = 0.05
"""A replay is over when nothing of it came for this long."""
BACK_WITHIN_S: Final = 1.0
"""A client counts as back this long after a welcome at the latest, also if a channel cannot be served yet."""


class Phase(StrEnum):
    """Where a client stands."""

    WAITING = "waiting"
    ATTEMPTING = "attempting"
    CONNECTED = "connected"
    MOVING = "moving"
    """Connected, and asked to go elsewhere at `deadline`."""
    HANDOVER = "handover"
    """Connected, and a second connection is being made to take over."""
    STOPPED = "stopped"


CONNECTED_PHASES: Final = (Phase.CONNECTED, Phase.MOVING, Phase.HANDOVER)


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
        self.handover = False
        """Whether a moving client connects elsewhere before it leaves."""
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
        """Say that the planned attempt begins; return its number.

        A moving client has left its node for it, unless it is to be handed over.
        """
        assert self.phase in (Phase.WAITING, Phase.MOVING), self.phase
        if self.phase is Phase.MOVING and self.handover:
            self.phase = Phase.HANDOVER
            return self.wait.attempt
        if self.phase is Phase.MOVING:
            self._away_since = now
        self.phase = Phase.ATTEMPTING
        return self.wait.attempt

    def failed(self, now: float, *, code: int | None = None, advice_s: float | None = None) -> Wait | None:
        """Say that the attempt came to nothing; return the next wait, None if a close code said to stop."""
        assert self.phase in (Phase.ATTEMPTING, Phase.HANDOVER), self.phase
        self._attempt_before_move = None
        phase = Phase.MOVING if self.phase is Phase.HANDOVER else Phase.WAITING
        return self._plan(now, phase, code, advice_s)

    def welcomed(self, now: float) -> float | None:
        """Say that a node took the client; return how long it was away in seconds, None the first time.

        After a hand-over that is 0: the old connection is to be closed now.
        """
        assert self.phase in (Phase.ATTEMPTING, Phase.HANDOVER), self.phase
        self.phase = Phase.CONNECTED
        self.handover = False
        self.welcomes += 1
        self._open_since = now
        if self.welcomes == 1:
            self._backoff.reset()  # There was no loss: the first one is to be spread like any other.
        elif self._attempt_before_move is not None:
            self._backoff.attempt = self._attempt_before_move  # To go when asked is no failure.
        self._attempt_before_move = None
        away_s = 0.0 if self._away_since is None else now - self._away_since
        self._away_since = None
        return None if self.welcomes == 1 else away_s

    def goaway(self, now: float, *, retry_s: float, spread_s: float, handover: bool = False) -> Wait | None:
        """Say that the node asked the client to leave; return its slot, None if it has one already.

        Whoever is sent on by the node that it was just sent to waits a little: nodes that all want to be rid of
        their clients must not pass them round without a pause.
        """
        assert self.phase in CONNECTED_PHASES, self.phase
        if self.phase is not Phase.CONNECTED:
            return None
        base_s = self._backoff.timing.base_s
        if self.welcomes > 1 and now - self._open_since < base_s:
            retry_s = max(retry_s, base_s)
        self._reset_if_stable(now)
        self._attempt_before_move = self._backoff.attempt
        self.phase = Phase.MOVING
        self.handover = handover
        self.wait = _planned(self._backoff.next(advice_s=retry_s, spread_s=spread_s, source=Source.GOAWAY), now)
        return self.wait

    def lost(self, now: float, *, code: int, advice_s: float | None = None) -> Wait | None:
        """Say that the connection is gone; return the wait before the next attempt.

        None if `code` says to stop, or if an attempt is under way already: look at `phase`. While one is, 4502 only
        says that it has come far enough to take the session over.
        """
        assert self.phase in CONNECTED_PHASES, self.phase
        self._away_since = now
        handing_over, self.handover = self.phase is Phase.HANDOVER, False
        if handing_over and (comes_back(code) or code == TAKEN_OVER):
            self.phase = Phase.ATTEMPTING
            return None
        if self.phase is Phase.MOVING and comes_back(code):
            # The node went before the slot came: the slot stays, it is where the survivors expect us.
            self._attempt_before_move = None
            self.phase = Phase.WAITING
            left_s = max(0.0, self.wait.due - now)
            self.wait = replace(self.wait, delay_s=left_s, due=now + left_s, jitter=None)
            return self.wait
        self._reset_if_stable(now)
        return self._plan(now, Phase.WAITING, code, advice_s)

    def _plan(self, now: float, phase: Phase, code: int | None, advice_s: float | None) -> Wait | None:
        if code is not None and not comes_back(code):
            self.phase = Phase.STOPPED
            return None
        self.phase = phase
        self.wait = _planned(self._backoff.next(advice_s=advice_s), now)
        return self.wait

    def _reset_if_stable(self, now: float) -> None:
        if now - self._open_since >= self._backoff.timing.stable_s:
            self._backoff.reset()


class Route:
    """Which of several addresses to try next: another one than the last, which was lost or tried in vain."""

    def __init__(self, addresses: Sequence[str], dice: random.Random) -> None:
        """Begin anywhere, so that the clients of a cluster do not all begin at the same one.

        Raises:
            ValueError: there is no address.

        """
        if not addresses:
            raise ValueError("a client needs at least one address")
        self._addresses = tuple(addresses)
        self._next = dice.randrange(len(addresses)) if len(addresses) > 1 else 0

    def next(self) -> str:
        """Return the address of the next attempt."""
        address = self._addresses[self._next]
        self._next = (self._next + 1) % len(self._addresses)
        return address


class Return:
    """Decides when a client that a node took counts as back: once every channel goes on and the replay is over.

    The end of a replay is not told by the node, it shows by a little silence. That silence is not counted as time
    away: `away_s` ends with the last thing that was waited for.
    """

    def __init__(self, *, now: float, away_s: float, handover: bool = False) -> None:
        self.handover = handover
        self.replayed = 0
        """Messages that came from history so far."""
        self.jumps = 0
        """Channels that could not go on where they were."""
        self._away_s = away_s
        self._welcomed_at = self._last_at = now

    def away_s(self, now: float, *, live: bool) -> float:
        """Return how long the client was away: up to what came last, or until now if a channel still waits."""
        if self.handover:
            return self._away_s
        return self._away_s + (self._last_at if live else now) - self._welcomed_at

    def replay(self, now: float) -> None:
        """Say that a message from history was handed out."""
        self.replayed += 1
        self._last_at = now

    def answered(self, now: float) -> None:
        """Say that a channel goes on because the node answered for it."""
        self._last_at = now

    def jumped(self, now: float) -> None:
        """Say that a channel goes on elsewhere."""
        self.jumps += 1
        self._last_at = now

    def due(self, *, live: bool) -> float:
        """Return when the client is back if nothing more happens; `live` says whether every channel goes on."""
        latest = self._welcomed_at + BACK_WITHIN_S
        return min(latest, self._last_at + QUIET_S) if live else latest


def _planned(delay: Delay, now: float) -> Wait:
    return Wait(
        attempt=delay.attempt,
        delay_s=delay.delay_s,
        due=now + delay.delay_s,
        source=delay.source,
        jitter=delay.jitter,
    )
