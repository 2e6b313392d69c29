"""How a process notices that it stood still, and whether it may go on as if nothing had happened.

Theory of operation. The process looks at the clock again and again, and says before each wait how long it may take. If
more time than that lies between two looks, it was stopped, its machine slept, or one call held it up. Most of these
pauses harm nobody. But if the lease ran out in one, others were free to give the process up, and what waits in its
sockets was meant for somebody who is gone.

Redis being away is no such pause: a process that runs sees its lease run out, and nobody else could have taken over
either. What counts is a lease that still held at one look and not at the next; and a pause as long as a whole lease,
after which none can hold, whatever was before.

All times are seconds of a clock that goes on while the machine sleeps, given by the caller.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """The process stood still for at most `length_s`, the wait in which that happened included."""

    length_s: float
    ran_out: bool
    """Whether the lease ended meanwhile: this life of the process is over."""


class Standstill:
    """Watches for pauses of one process that holds a lease of `ttl_s`.

    A pause of at least `least_s` and the longest wait together is always noticed, one below `least_s` never is.
    """

    def __init__(self, *, least_s: float, ttl_s: float, now: float) -> None:
        self._least_s = least_s
        self._ttl_s = ttl_s
        self._looked_at = now
        self._waits_s = 0.0

    def look(self, now: float, *, renewed_at: float | None, waits_s: float = 0.0) -> Pause | None:
        """Say that the process runs, and is about to wait for at most `waits_s`; return the pause that lies behind it.

        `renewed_at` is when the lease was renewed last, counted from before it was asked for; None: there is none yet.
        """
        before, gap_s = self._looked_at, now - self._looked_at
        unexplained_s = gap_s - self._waits_s
        self._looked_at, self._waits_s = now, waits_s
        if unexplained_s < self._least_s:
            return None
        if renewed_at is None:
            return Pause(gap_s, ran_out=False)
        ends_at = renewed_at + self._ttl_s
        # When in the wait the process stopped cannot be known: the earliest moment counts.
        return Pause(gap_s, ran_out=before < ends_at <= now or gap_s >= self._ttl_s)
