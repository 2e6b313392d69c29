"""One connection of a client: what is to be written, when something was last heard, and timers that end with it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from sample_cluster.codecs.json import encode
from sample_cluster.core.messages import ClientFrame

QUEUED_MAX: Final = 512
"""Frames waiting to be written. Publishes and acks are bounded elsewhere: only a peer that floods us with pings and
reads nothing comes here."""
BATCH_CHARS: Final = 12_000
"""Several frames go out in one text frame up to this, which stays below 64 KiB whatever the characters are."""
GRACE_S: Final = 0.05
"""Before silence is called death: time to read what came while this process itself was stopped."""


class Link:
    """Owned by `Client`. `write` runs until cancelled or the connection ends."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.node = ""
        """Set by the welcome."""
        self.welcomed_at = self.heard_at = 0.0
        self.open = True
        self.held = False
        """Whether the node asked not to be sent publishes for a while."""
        self.told_back = False
        self.away_s: float | None = None
        self.replayed = 0
        self.leaving: set[tuple[str, int]] | None = None
        """Publishes whose answers are waited for before this connection is left; None: it is not left."""
        self.closing: asyncio.Task[None] | None = None
        self._queue: deque[ClientFrame] = deque()
        self._wake = asyncio.Event()

    @property
    def publishing(self) -> bool:
        """Whether publishes may go out."""
        return not self.held and self.leaving is None

    def send(self, frame: ClientFrame) -> None:
        """Queue a frame."""
        if len(self._queue) >= QUEUED_MAX:
            self.abort()
            return
        self._queue.append(frame)
        self._wake.set()

    async def write(self) -> None:
        """Write what is queued, as it comes."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self.connection.send(self._batch())
        except ConnectionClosed:
            pass  # The reader tells.

    def _batch(self) -> str:
        texts: list[str] = []
        size = 0
        while self._queue and size < BATCH_CHARS:
            texts.append(encode(self._queue.popleft()))
            size += len(texts[-1])
        return "\n".join(texts)

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do `action` in `delay_s`, unless the connection has ended by then."""
        asyncio.get_running_loop().call_later(delay_s, lambda: action() if self.open else None)

    def watch(self, silence_s: float) -> None:
        """End the connection once nothing was heard for `silence_s`."""
        clock = asyncio.get_running_loop().time

        def look(*, last: bool = False) -> None:
            left_s = self.heard_at + silence_s - clock()
            if left_s > GRACE_S:
                self.later(left_s, look)
            elif last:
                self.abort()
            else:
                self.later(GRACE_S, lambda: look(last=True))

        self.later(silence_s, look)

    def abort(self) -> None:
        """End the connection at once; the reader sees it as lost with 1006."""
        self.connection.transport.abort()

    def close(self) -> None:
        """Begin the closing handshake with 1000; it is bounded by the connection's close timeout."""
        if self.closing is None:
            self.closing = asyncio.get_running_loop().create_task(self.connection.close(), name="client-close")
