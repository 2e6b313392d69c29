"""What was sent to one session and is not acknowledged yet, and what to do when no acknowledgement comes.

Theory of operation. A session has one window for all of its channels. A message that is sent takes a place in it, an
acknowledgement (cumulative, one number a channel) gives places back. A full window means: send no more; the session
is fed later, at its own pace, from the ring or the log. TCP brings everything in order, so nothing is sent twice
because of a timer but a probe: the oldest message again, which makes a living client acknowledge. When nothing was
acknowledged for so long that all tries are used up, the connection is only half there.

All times are monotonic seconds, given by the caller.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MESSAGES_MAX: Final = 1_024
BYTES_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AckTiming:
    """The oldest message is sent again after each `retransmit_s` without an acknowledgement, `tries` times in all."""

    retransmit_s: float = 5.0
    tries: int = 3


class Overdue(StrEnum):
    """What a missing acknowledgement calls for."""

    RETRANSMIT = "retransmit"
    GIVE_UP = "give up"


class Track:
    """One channel's part of a window."""

    __slots__ = ("acked", "sizes")

    def __init__(self, acked: int) -> None:
        self.acked = acked
        """Everything up to here was acknowledged, or never sent."""
        self.sizes: deque[int] = deque()
        """Bytes of each message in flight, from `acked` + 1 on."""


class SendWindow:
    """The window of one session. Tracks are made by `track` and handed back with every call."""

    __slots__ = ("_bytes_max", "_messages_max", "_since", "_timing", "_tries", "in_flight", "in_flight_bytes")

    def __init__(
        self, timing: AckTiming | None = None, *, messages_max: int = MESSAGES_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        self._timing = timing or AckTiming()
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._since = math.inf
        self._tries = 1
        self.in_flight = 0
        """Messages that are not acknowledged."""
        self.in_flight_bytes = 0

    @property
    def full(self) -> bool:
        """Whether nothing more may be sent."""
        return self.in_flight >= self._messages_max or self.in_flight_bytes >= self._bytes_max

    @property
    def room(self) -> int:
        """How many more messages may be sent, as far as their number goes."""
        return 0 if self.in_flight_bytes >= self._bytes_max else max(0, self._messages_max - self.in_flight)

    @property
    def deadline(self) -> float:
        """When the shell has to call `tick`; infinite while everything is acknowledged."""
        return self._since + self._tries * self._timing.retransmit_s if self.in_flight else math.inf

    def sent(self, track: Track, size: int, now: float) -> None:
        """Take note of the next message of a channel, `size` bytes long. Ask `full` first."""
        if self.in_flight == 0:
            self._since, self._tries = now, 1
        self.in_flight += 1
        self.in_flight_bytes += size
        track.sizes.append(size)

    def acked(self, track: Track, seq: int, now: float) -> bool:
        """Take an acknowledgement; return whether it gave room. Old ones, and ones of what was never sent, do not."""
        count = min(seq - track.acked, len(track.sizes))
        if count <= 0:
            return False
        for _ in range(count):
            self.in_flight_bytes -= track.sizes.popleft()
        self.in_flight -= count
        track.acked += count
        self._since, self._tries = now, 1
        return True

    def jump(self, track: Track, seq: int) -> None:
        """Forget what is in flight of a channel, which goes on after `seq`."""
        self.in_flight -= len(track.sizes)
        self.in_flight_bytes -= sum(track.sizes)
        track.sizes.clear()
        track.acked = seq

    def tick(self, now: float) -> Overdue | None:
        """Let time pass; return what to do about it. Calling too early does nothing."""
        if now < self.deadline:
            return None
        if self._tries >= self._timing.tries:
            return Overdue.GIVE_UP
        self._tries += 1
        return Overdue.RETRANSMIT
