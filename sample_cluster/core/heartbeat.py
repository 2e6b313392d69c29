"""Ping and pong of one connection."""

from dataclasses import dataclass

from sample_cluster.config import ProbeTiming


@dataclass(frozen=True, slots=True)
class SendPing:
    """Send a ping now."""


@dataclass(frozen=True, slots=True)
class Missed:
    """No pong came in time, for the `count`-th time in a row; `dead` when that decides."""

    count: int
    dead: bool


class Heartbeat:
    """Ping and pong of one connection. All times are monotonic seconds, given by the caller.

    The first ping is due one interval after the start. A peer that never answers is dead after
    `failures × interval + timeout` seconds.
    """

    __slots__ = ("_misses", "_ping_due", "_pong_due", "_timing")

    def __init__(self, timing: ProbeTiming, *, now: float) -> None:
        self._timing = timing
        self._ping_due = now + timing.interval_s
        self._pong_due: float | None = None
        self._misses = 0

    @property
    def deadline(self) -> float:
        """When the shell has to call `tick` next."""
        return self._ping_due if self._pong_due is None else self._pong_due

    def pong(self) -> None:
        """Take an answer. One to an older ping counts too: the peer is there."""
        self._pong_due = None
        self._misses = 0

    def tick(self, now: float) -> SendPing | Missed | None:
        """Let time pass; return what to do about it. Calling too early does nothing.

        A call that comes later than a whole timeout after the deadline tells of a pause of our own (a stopped process,
        a stalled loop): the answer may lie unread, so the peer gets its time again.
        """
        if now < self.deadline:
            return None
        if self._pong_due is None:  # The peer owes us nothing: ask.
            self._ping_due = now + self._timing.interval_s
            self._pong_due = now + self._timing.timeout_s
            return SendPing()
        if now - self._pong_due > self._timing.timeout_s:
            self._pong_due = now + self._timing.timeout_s
            return None
        self._pong_due = None
        self._misses += 1
        return Missed(self._misses, dead=self._misses == self._timing.failures)
