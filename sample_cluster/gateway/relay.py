"""Carries bytes between a client and a node, without looking at them.

Theory of operation. A `Tunnel` is made when a client connects. Nothing is read from the client until a node is
chosen and connected; if none can be, the request head is read only to be answered with 503. Each end is an asyncio
protocol that writes to the other; what one end does not take in time stops the reading of the other end, so that a
tunnel holds at most two write buffers. The end of one direction is passed on as such; a tunnel of which one direction
is over ends a while later, whatever the other direction does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sample_cluster.core.address import split_address
from sample_cluster.core.balancer import Balancer

log = logging.getLogger(__name__)

BUFFER_BYTES_MAX: Final = 64 * 1024
HEAD_BYTES_MAX: Final = 8 * 1024
HEAD_WITHIN_S: Final = 2.0
HALF_CLOSED_S: Final = 10.0
CONNECTING_MAX: Final = 1_024
"""Tunnels that may wait for a node at a time: about four seconds' worth of handshakes. More are answered with 503."""
BACKLOG: Final = 1_024
TURNED_AWAY: Final = b"HTTP/1.1 503 "
RETRY_AFTER_S: Final = 1
UNAVAILABLE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: %d\r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: 24\r\n"
    b"Connection: close\r\n\r\n"
    b"no node is online, wait\n" % RETRY_AFTER_S
)

Connect = Callable[[Callable[[], asyncio.Protocol], str, int], Awaitable[object]]


@dataclass(slots=True)
class Counts:
    """What the gateway has done so far."""

    accepts: int = 0
    refused: int = 0
    """Clients that were answered with 503."""
    cut: int = 0
    """Tunnels that were cut because their node was removed."""
    turned_away: int = 0
    """Clients that a node answered with 503."""
    failed_connects: int = 0
    """Connects to a node that failed; the next node was tried."""
    bytes_in: int = 0
    """From clients to nodes."""
    bytes_out: int = 0


class _Owner(Protocol):
    """What an end tells."""

    def carried(self, end: "_End", data: bytes) -> None: ...
    def finished(self, end: "_End") -> None: ...
    def lost(self, end: "_End", error: Exception | None) -> None: ...


class _End(asyncio.Protocol):
    """One end of a tunnel. `other` is None until the two ends are joined."""

    def __init__(self, owner: _Owner) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.finished = False
        """Whether this end has said that it will send nothing more."""
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        self._owner.carried(self, data)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.finished = True
        self._owner.finished(self)
        return True  # The other direction goes on.

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._owner.lost(self, exc)

    def end(self) -> None:
        """Send nothing more."""
        if self.transport is not None and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def close(self) -> None:
        """Close after what is buffered is sent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()


class _ClientEnd(_End):
    """The end that a client opened; makes its tunnel's life begin."""

    def __init__(self, tunnel: "Tunnel") -> None:
        super().__init__(tunnel)
        self._tunnel = tunnel
        self.head: bytearray | None = None
        """Collects the request head when all that is left to do is to refuse it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._tunnel.begin()

    def data_received(self, data: bytes) -> None:
        if self.head is None:
            super().data_received(data)
            return
        self.head += data
        if b"\r\n\r\n" in self.head or len(self.head) > HEAD_BYTES_MAX:
            self._tunnel.answer_unavailable()


class Tunnel:
    """One client's connection and the node it was taken to."""

    def __init__(self, relay: "Relay") -> None:
        self.client = _ClientEnd(self)
        self.server: _End | None = None
        self.node: str | None = None
        self._relay = relay
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    def begin(self) -> None:
        """Look for a node."""
        self._relay.counts.accepts += 1
        self._relay.tunnels.add(self)
        self._task = asyncio.get_running_loop().create_task(self._join(), name="gateway-join")

    def cut(self) -> None:
        """End the tunnel now, in both directions."""
        if self._task is not None:
            self._task.cancel()
        self.client.abort()
        if self.server is not None:
            self.server.abort()

    def answer_unavailable(self) -> None:
        """Answer the client that there is no node, and close."""
        self.client.head = None
        self._stop_timer()
        transport = self.client.transport
        if transport is not None and not transport.is_closing():
            transport.write(UNAVAILABLE)
            transport.close()

    def carried(self, end: _End, data: bytes) -> None:
        """Count bytes, and notice a node that turns the client away."""
        if end is self.client:
            self._relay.counts.bytes_in += len(data)
            return
        self._relay.counts.bytes_out += len(data)
        if not self._answered:
            self._answered = True
            # The one look into what passes: without it an idle node that takes nobody would be everybody's choice.
            if self.node is None:
                return
            if data.startswith(TURNED_AWAY):
                self._relay.counts.turned_away += 1
                self._relay.balancer.took_nothing(self.node, self._relay.now())
            else:
                self._relay.balancer.took(self.node)

    def finished(self, end: _End) -> None:
        """Pass on that one end sends nothing more."""
        other = end.other
        if other is None:
            end.close()
            return
        other.end()
        if other.finished:
            self.client.close()
            other.close()
            end.close()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HALF_CLOSED_S, self.cut)

    def lost(self, end: _End, error: Exception | None) -> None:
        """One end is gone: so is the other, at once if the first one broke off."""
        other = end.other
        if other is not None:
            if error is None:
                other.close()
            else:
                other.abort()
        if end is self.client:
            if self._task is not None:
                self._task.cancel()
            if self.server is not None and other is None:
                self.server.abort()
        if self.client.transport is None and (self.server is None or self.server.transport is None):
            self._stop_timer()
            self._leave()
            self._relay.tunnels.discard(self)
        elif other is not None and self._timer is None:
            # What is buffered for the other end goes out, but not for ever.
            self._timer = asyncio.get_running_loop().call_later(HALF_CLOSED_S, self.cut)

    async def _join(self) -> None:
        """Connect to the best node that takes the connection, or refuse the client."""
        relay = self._relay
        tried: set[str] = set()
        if relay.connecting < CONNECTING_MAX:
            relay.connecting += 1
            try:
                while (node := relay.balancer.pick(relay.now(), without=tried)) is not None:
                    tried.add(node)
                    if await self._connect(node):
                        return
                    relay.counts.failed_connects += 1
            finally:
                relay.connecting -= 1
        self._refuse()

    async def _connect(self, node: str) -> bool:
        relay = self._relay
        address = relay.balancer.nodes[node].address
        assert address is not None
        self.node = node
        relay.balancer.opened(node)
        end = _End(self)
        try:
            host, port = split_address(address)
            async with asyncio.timeout(relay.connect_timeout_s):
                await relay.connect(lambda: end, host, port)
        except (OSError, ValueError) as error:
            log.info("%s does not take connections: %s", node, error)
            relay.balancer.took_nothing(node, relay.now())
            self._leave()
            return False
        except asyncio.CancelledError:
            end.abort()
            self._leave()
            raise
        self.server = end
        if self.client.transport is None or self.client.transport.is_closing() or end.transport is None:
            self.client.abort()
            end.abort()
            return True
        self.client.other, end.other = end, self.client
        self.client.transport.resume_reading()
        return True

    def _refuse(self) -> None:
        transport = self.client.transport
        if transport is None:
            return
        self._relay.counts.refused += 1
        self.client.head = bytearray()
        self._timer = asyncio.get_running_loop().call_later(HEAD_WITHIN_S, self.answer_unavailable)
        transport.resume_reading()

    def _leave(self) -> None:
        node, self.node = self.node, None
        if node is not None:
            self._relay.balancer.closed(node)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Relay:
    """All tunnels of a gateway. `serve` to open, `close` to end."""

    def __init__(self, balancer: Balancer, *, connect_timeout_s: float, connect: Connect | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.balancer = balancer
        self.connect_timeout_s = connect_timeout_s
        self.counts = Counts()
        self.tunnels: set[Tunnel] = set()
        self.connecting = 0
        self.now = loop.time
        self.connect = connect or loop.create_connection
        self._server: asyncio.Server | None = None

    async def serve(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: the address cannot be bound.

        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Tunnel(self).client, host, port, backlog=BACKLOG, reuse_address=True
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def cut(self, node: str) -> int:
        """Cut every tunnel to the node; return how many."""
        doomed = [tunnel for tunnel in self.tunnels if tunnel.node == node]
        for tunnel in doomed:
            tunnel.cut()
        self.counts.cut += len(doomed)
        return len(doomed)

    async def close(self) -> None:
        """Stop listening and cut everything."""
        if self._server is not None:
            self._server.close()
        for tunnel in list(self.tunnels):
            tunnel.cut()
        # One turn for the transports to let go of their sockets.
        await asyncio.sleep(0)
