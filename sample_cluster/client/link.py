"""One connection of a client: what is to be written, when something was last heard, and timers that end with it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from sample_cluster.codecs import Codec
from sample_cluster.core.messages import ClientFrame
from sample_cluster.core.reconnect import Return

BATCH_BYTES: Final = 48_000
"""Several frames go out in one WebSocket frame up to this, well below the 64 KiB that nodes take."""
GRACE_S: Final = 0.05
"""Before silence is called death: time to read what came while this process itself was stopped."""


class Link:
    """Owned by `Client`. `write` runs until cancelled or the connection ends."""

    def __init__(self, connection: ClientConnection, codec: Codec, *, queued_max: int) -> None:
        """More than `queued_max` frames wait only if the peer floods us with pings and reads nothing: it is cut."""
        self.connection = connection
        self.codec = codec
        self.node = ""
        """Set by the welcome, as are `session` and `attempt`."""
        self.session = ""
        self.attempt = 0
        self.heard_at = 0.0
        self.open = True
        self.reading: asyncio.Task[None] | None = None
        """Reads the connection until it ends."""
        self.back: Return | None = None
        """Set while the client's return has not been told."""
        self.held: set[str] = set()
        """Channels that the node asked not to be sent publishes for a while."""
        self.unacked = 0
        self.ack_at: float | None = None
        """When the next acknowledgement is due at the latest."""
        self.advice: tuple[float, float] | None = None
        """When the node said how long to stay away, should the connection end now, and that time in seconds."""
        self.leaving: set[tuple[str, int]] | None = None
        """Publishes whose answers are waited for before this connection is left; None: it is not left."""
        self.left = asyncio.Event()
        """Set when none of these is open any more, or the connection is gone."""
        self.retired = False
        """Whether another connection took over, or the client stopped: its end is nobody's loss."""
        self.closing: asyncio.Task[None] | None = None
        self._queued_max = queued_max
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()

    def publishing(self, channel: str) -> bool:
        """Say whether publishes to `channel` may go out."""
        return self.leaving is None and channel not in self.held

    def send(self, frame: ClientFrame) -> None:
        """Queue a frame.

        Raises:
            ValueError: it has no encoding; see `Codec.encode`.

        """
        if len(self._queue) >= self._queued_max:
            self.abort()
            return
        self._queue.append(self.codec.encode(frame))
        self._wake.set()

    async def write(self) -> None:
        """Write what is queued, as it comes."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self.connection.send(self._batch(), text=not self.codec.binary)
        except ConnectionClosed:
            pass  # The reader tells.

    def _batch(self) -> bytes:
        frames: list[bytes] = []
        size = 0
        while self._queue and (not frames or size + len(self._queue[0]) <= BATCH_BYTES):
            frames.append(self._queue.popleft())
            size += len(frames[-1])
        return self.codec.join(frames)

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
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

    def settled(self, channel: str, cseq: int) -> None:
        """Say that a publish was answered, in case that was waited for."""
        if self.leaving is not None:
            self.leaving.discard((channel, cseq))
            if not self.leaving:
                self.left.set()
                if self.retired:
                    self.close()

    def retire(self, waiting: set[tuple[str, int]], *, patience_s: float) -> None:
        """Close, because another connection took over: once these publishes are answered, or after `patience_s`."""
        self.retired, self.leaving = True, waiting
        if waiting:
            self.later(patience_s, self.close)
        else:
            self.close()

    def abort(self) -> None:
        """End the connection at once; the reader sees it as lost with 1006."""
        self.connection.transport.abort()

    def close(self) -> asyncio.Task[None]:
        """Begin the closing handshake with 1000; it is bounded by the connection's close timeout."""
        if self.closing is None:
            self.closing = asyncio.get_running_loop().create_task(self.connection.close(), name="client-close")
        return self.closing
