"""Who leads: one checker at a time, by a lease in Redis and a fencing number that rises with every leader.

Theory of operation. The shell claims the lease at every `deadline` and hands in the answer. A granted lease is counted
from the moment of asking, so that our own idea of it ends before Redis's does. Whoever cannot reach Redis is blind: it
neither leads nor stands by, since nothing that it says can be written. Whoever stood down goes on asking who leads, but
takes no lease until its rest is over. All `now` are monotonic seconds.
"""

import math
from dataclasses import dataclass, field
from typing import TypeAlias

from wsmon.protocol.states import CheckerMode

ASK_AFTER_S = 0.02
"""So long after the end of another's lease it is asked for: Redis must agree that it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What to ask of Redis: take or renew the lease."""

    epoch: int
    """The epoch that we led with last; 0 if we never did."""
    floor: int
    """A new epoch has to be above this, whatever Redis has forgotten."""
    fresh: bool
    """First claim of this process: a lease under our own name is that of an earlier life and may be taken."""
    take: bool = True
    """False: only ask who leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """We hold the lease."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBy:
    """Somebody else does, or a later life of ourselves; nobody if `who` is empty."""

    who: str
    epoch: int
    left_s: float | None = field(default=None, compare=False)
    """When the lease ends unless it is renewed, if Redis told."""


LeaseAnswer: TypeAlias = Granted | HeldBy


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """We lead from now on. `continuous`: nobody led since we did last, so that our own view is the newest there is."""

    epoch: int
    continuous: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Regained:
    """We still lead, after a time in which we could not be sure: compare the table with the own view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Somebody else leads."""

    epoch: int
    who: str


LeaseChange: TypeAlias = Took | Regained | Lost


class Lease:
    """Our part in the election."""

    def __init__(self, *, ttl_s: float, renew_s: float, now: float) -> None:
        self.epoch = 0
        self.leader: str | None = None
        """Who leads if it is somebody else."""
        self.deadline = now
        """When to claim next."""
        self._ttl_s = ttl_s
        self._renew_s = renew_s
        self._held_until = -math.inf
        self._led = False
        """Whether the last answer made us leader, and nothing has shaken that since."""
        self._away = False
        self._fresh = True
        self._floor = 0
        self._rests_until = -math.inf

    def raise_floor(self, epoch: int) -> None:
        """Say that this epoch was seen somewhere: ours must be above it."""
        self._floor = max(self._floor, epoch)

    def claim(self, now: float) -> Claim:
        """Return what to ask of Redis at `deadline`."""
        return Claim(
            epoch=self.epoch, floor=max(self._floor, self.epoch), fresh=self._fresh, take=now >= self._rests_until
        )

    def mode(self, now: float) -> CheckerMode:
        """Return what we are at the moment."""
        if self._away:
            return CheckerMode.BLIND
        return CheckerMode.LEADING if now < self._held_until else CheckerMode.STANDBY

    def failed(self, now: float) -> None:
        """Say that Redis did not answer a claim, or a write."""
        self._away = True
        self._led = False
        self.deadline = now + self._renew_s / 4

    def answered(self, answer: LeaseAnswer, *, asked_at: float, now: float) -> LeaseChange | None:
        """Take the answer to a claim that was sent at `asked_at`; return what changed."""
        led = self._led and now < self._held_until
        self._away = False
        self._fresh = False
        self.deadline = now + self._renew_s
        match answer:
            case Granted(epoch=epoch):
                before = self.epoch
                self.epoch, self.leader = epoch, None
                self._held_until = asked_at + self._ttl_s
                self._led = True
                if epoch != before:
                    return Took(epoch=epoch, continuous=bool(before) and epoch == before + 1)
                return None if led else Regained()
            case HeldBy(who=who, epoch=epoch, left_s=left_s):
                if left_s is not None:  # Nobody leads from the end of a lease until somebody asks.
                    self.deadline = min(self.deadline, now + max(left_s, 0.0) + ASK_AFTER_S)
                return self._lose(who, epoch)

    def fenced(self, epoch: int, now: float) -> LeaseChange | None:
        """Say that a write was refused because a later leader, of `epoch`, exists."""
        self.deadline = now
        return self._lose("", epoch)

    def stand_down(self, now: float, *, rest_s: float) -> Lost | None:
        """Lead no longer, and take no lease for `rest_s`. The shell gives the lease back in Redis."""
        self._rests_until = now + rest_s
        self.deadline = now
        return self._lose("", self.epoch)

    def _lose(self, who: str, epoch: int) -> Lost | None:
        changed = self._led or who != self.leader
        self.leader = who
        self._led = False
        self._held_until = -math.inf
        return Lost(epoch=epoch, who=who) if changed else None
