"""How much one client may ask of a node in a second, and when it has gone too far.

Theory of operation. Two token buckets, one of publishes and one of bytes. Whoever finds a bucket empty is told so and
when to come again. A client that heeds that is served at the allowed rate for good; one that goes on regardless
uses up the node's patience, which grows back slowly, and is sent away.

All times are monotonic seconds, given by the caller.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What one connection may send. A burst of two seconds' worth is taken at once."""

    publishes_per_s: float = 1_000.0
    bytes_per_s: float = 1024.0 * 1024.0
    refusals_max: int = 1_000
    """Refusals, less what has grown back, that end a connection."""


BURST_S: Final = 2.0
PATIENCE_S: Final = 60.0
"""The refusals that are tolerated grow back in this time."""


class Permit(StrEnum):
    """What becomes of a request."""

    GRANTED = "granted"
    LATER = "later"
    ABUSE = "abuse"


class Bucket:
    """Tokens that grow back at `rate` per second up to `most`."""

    __slots__ = ("_at", "_level", "_most", "_rate")

    def __init__(self, *, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._level = self._most = most
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` if something is there; a large request may overdraw, and is paid for by waiting."""
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level <= 0:
            return False
        self._level -= amount
        return True

    def wait_s(self) -> float:
        """Return how long it takes until something is there again, as of the last `take`."""
        return max(0.0, -self._level / self._rate)


class RateLimiter:
    """The limits of one connection."""

    __slots__ = ("_bytes", "_publishes", "_refusals")

    def __init__(self, limits: RateLimits, *, now: float) -> None:
        rate = limits.publishes_per_s
        self._publishes = Bucket(rate=rate, most=rate * BURST_S, now=now)
        rate = limits.bytes_per_s
        self._bytes = Bucket(rate=rate, most=rate * BURST_S, now=now)
        most = limits.refusals_max
        self._refusals = Bucket(rate=most / PATIENCE_S, most=most, now=now)

    def publish(self, now: float) -> Permit:
        """Say what becomes of one more publish."""
        return Permit.GRANTED if self._publishes.take(1, now) else self._refused(now)

    def received(self, size: int, now: float) -> Permit:
        """Say what becomes of `size` more bytes. They have been read already: `LATER` is advice only."""
        return Permit.GRANTED if self._bytes.take(size, now) else self._refused(now)

    @property
    def wait_s(self) -> float:
        """How long whoever was refused has to wait at least, in seconds."""
        return max(self._publishes.wait_s(), self._bytes.wait_s(), 0.05)

    def _refused(self, now: float) -> Permit:
        return Permit.LATER if self._refusals.take(1, now) else Permit.ABUSE
