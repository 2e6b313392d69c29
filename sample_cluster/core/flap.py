"""Whether a node goes down too often to be trusted when it answers again.

Theory of operation. Every removal adds `PENALTY` to an account that halves once in a half-life. A node whose account
reached `SUPPRESS` is kept out until the account is below `REUSE`: the gap between the two keeps it from being let in
and thrown out at the edge. The account has a ceiling, so that nobody waits for more than `LONGEST_HALF_LIVES`. One
outage costs nothing, two do not either; the third within about half a half-life does. With a half-life h and an
account p, the wait is h × log2(p / REUSE): nothing has to be counted down.

Source: route flap damping, RFC 2439, sections 4.2 and 4.8.6. All `now` are monotonic seconds handed in by the caller.
"""

import math
from typing import Final

PENALTY: Final = 1_000.0
SUPPRESS: Final = 2_000.0
REUSE: Final = 1_000.0
LONGEST_HALF_LIVES: Final = 4
CEILING: Final = REUSE * 2.0**LONGEST_HALF_LIVES


class Flap:
    """One node's account."""

    __slots__ = ("_at", "_half_life_s", "_penalty", "_suppressed")

    def __init__(self, *, half_life_s: float, now: float) -> None:
        self._half_life_s = half_life_s
        self._penalty = 0.0
        self._at = now
        self._suppressed = False

    def removed(self, now: float) -> None:
        """Book one removal."""
        self._book(self.penalty(now) + PENALTY, now)

    def inherit(self, penalty: float, *, at: float) -> None:
        """Take over an account as it stood at `at`; one that we know to be higher stays."""
        if penalty > self.penalty(at):
            self._book(penalty, at)

    def penalty(self, now: float) -> float:
        """Return what stands in the account."""
        # The account of an earlier leader may be from a moment that our own clock says is still to come.
        return self._penalty * math.exp2(-max(0.0, now - self._at) / self._half_life_s)

    def reuse_at(self) -> float:
        """Return when the account is down to `REUSE`; in the past for one that never reached it."""
        if self._penalty <= 0:
            return -math.inf
        return self._at + self._half_life_s * math.log2(self._penalty / REUSE)

    def suppressed(self, now: float) -> bool:
        """Say whether the node is kept out."""
        return self._suppressed and now < self.reuse_at()

    def reuse_in_s(self, now: float) -> float:
        """Return for how long the node is kept out yet; 0 if it is not."""
        return self.reuse_at() - now if self.suppressed(now) else 0.0

    def _book(self, penalty: float, now: float) -> None:
        # Down to `REUSE` it was let in again; what is left of the account counts, that it was kept out does not.
        kept_out = self.suppressed(now)
        self._penalty = min(penalty, CEILING)
        self._at = now
        self._suppressed = kept_out or self._penalty >= SUPPRESS
