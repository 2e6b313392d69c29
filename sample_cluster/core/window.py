"""What waits to be written to one connection."""

from collections import deque
from typing import Final

FRAMES_MAX: Final = 4 * 1_024
BYTES_MAX: Final = 2 * 1024 * 1024
"""Twice what a session's window lets wait: the rest is for answers, and for whoever floods us for them."""


class Outbound:
    """Frames that wait for the transport, in order. Bounded: a reader that does not keep up is told, not waited for."""

    __slots__ = ("_bytes_max", "_frames", "_frames_max", "size")

    def __init__(self, *, frames_max: int = FRAMES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._frames: deque[bytes] = deque()
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self.size = 0
        """Bytes that wait."""

    def __len__(self) -> int:
        """Return how many frames wait."""
        return len(self._frames)

    @property
    def roomy(self) -> bool:
        """Whether less than half of what is allowed waits: the moment to produce more."""
        return len(self._frames) < self._frames_max // 2 and self.size < self._bytes_max // 2

    def put(self, frame: bytes) -> bool:
        """Queue a frame; return False, and queue nothing, when there is no room for it."""
        if len(self._frames) >= self._frames_max or self.size + len(frame) > self._bytes_max:
            return False
        self._frames.append(frame)
        self.size += len(frame)
        return True

    def take(self, most: int) -> bytes:
        """Return waiting frames joined, whole ones only: at most `most` bytes, but at least one frame if one waits."""
        if not self._frames:
            return b""
        if self.size <= most:
            taken = b"".join(self._frames)
            self.clear()
            return taken
        parts = [self._frames.popleft()]
        length = len(parts[0])
        while self._frames and length + len(self._frames[0]) <= most:
            part = self._frames.popleft()
            parts.append(part)
            length += len(part)
        self.size -= length
        return b"".join(parts)

    def clear(self) -> None:
        """Drop everything."""
        self._frames.clear()
        self.size = 0
