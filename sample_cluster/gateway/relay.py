"""Carries bytes between a client and a node, without looking at them once a node has answered.

Theory of operation. A `Tunnel` is made when a client connects, and goes through these stages:

```
SILENT ──request head──> WAITING ──a node has room──> JOINING ──the node answers──> JOINED
   │ none in time,          │ the line is full,          │ no answer: the next node,
   v garbage, too big       v or no node, or too long    v or again WAITING, at the head of the line
  OVER: answered with 408, 400 or 431, or with 503 and the time to come again
```

The head is read first, so that only those who ask for something cost a node anything, and kept until a node has
answered: a node that does not connect, does not answer (its process stands still, its kernel does not) or turns a
WebSocket away is passed over without the client noticing. Who may wait is the business of `core/admission.py`, who
goes where that of `core/balancer.py`.

Each end of a joined tunnel is an asyncio protocol that writes to the other. What one end does not take in time stops
the reading of the other, so that a tunnel holds at most a write buffer and what was read last for each direction. The
end of one direction is passed on as such; a tunnel of which one direction is over ends a while later, whatever the
other direction does.

A node that dies ends all its tunnels at once. Its clients are let go of as fast as the other nodes can take them, see
`Release`: a tunnel whose node's end is over may be kept for a moment. It counts for no node any more.
"""

import asyncio
import logging
import math
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Final, Protocol

from sample_cluster.core.address import split_address
from sample_cluster.core.admission import Head, Line, Newcomers, Release, judge_head
from sample_cluster.core.balancer import Balancer, BreakerChange
from sample_cluster.gateway.sockets import Silence, tune

log = logging.getLogger(__name__)

BUFFER_BYTES_MAX: Final = 32 * 1024
READ_BYTES_MAX: Final = 64 * 1024
"""Read at once; asyncio's own 256 KiB would be the larger part of what a tunnel can hold."""
HEAD_BYTES_MAX: Final = 16 * 1024
"""With room for a browser's cookies. Also the most that a client may send before a node has answered."""
HALF_CLOSED_S: Final = 10.0
SILENT_SHARE: Final = 0.75
SILENT_SHARE_OF_ADDRESS: Final = 0.5
"""Shares of all tunnels that those without a request may have, and those of one address. A whole crowd may live behind
one address and be slow to speak when it is in a hurry; what a flood has to leave is room for the others."""
ACCEPTS_AT_ONCE: Final = 64
"""Between two looks at those who are here already: asyncio would take a whole backlog before it reads one request."""
TURNED_AWAY: Final = b"HTTP/1.1 503 "

Connect = Callable[[Callable[[], asyncio.Protocol], str, int], Awaitable[object]]


class Tune(Protocol):
    """Sets a socket up; see `tune`."""

    def __call__(self, end: socket.socket | TransportSocket, silent_s: float, *, listening: bool = False) -> None: ...


@dataclass(slots=True)
class Counts:
    """What the gateway has done so far."""

    accepts: int = 0
    refused: int = 0
    """Clients that were answered with 503."""
    cut: int = 0
    """Tunnels that were cut because their node was removed."""
    turned_away: int = 0
    """Clients that a node answered with 503; the next node was tried."""
    failed_connects: int = 0
    """Connects to a node that failed or were not answered; the next node was tried."""
    timed_out: int = 0
    """Tunnels of which the kernel gave one end up."""
    bytes_in: int = 0
    """From clients to nodes."""
    bytes_out: int = 0
    no_head: int = 0
    """Clients that did not finish a request in time."""
    head_too_big: int = 0
    garbage: int = 0
    """Clients that sent something that is no request."""
    flooded: int = 0
    """Connections without a request that gave way to newer ones."""
    full: int = 0
    """Connections beyond what this process may have open."""


class _Stage(Enum):
    SILENT = 1
    WAITING = 2
    JOINING = 3
    JOINED = 4
    OVER = 5


class _End(asyncio.Protocol):
    """One end of a tunnel. `other` is None until the two ends are joined."""

    __slots__ = ("counts", "finished", "other", "transport", "tunnel")

    def __init__(self, tunnel: "Tunnel", counts: Counts) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.finished = False
        """Whether this end has said that it will send nothing more."""
        self.tunnel = tunnel
        self.counts = counts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_BYTES_MAX)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES_MAX

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.tunnel.lost(self, exc)

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

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.tunnel.begin(transport)

    def data_received(self, data: bytes) -> None:
        other = self.other
        if other is None:
            self.tunnel.said(data)
        elif other.transport is not None:
            self.counts.bytes_in += len(data)
            other.transport.write(data)

    def eof_received(self) -> bool:
        self.finished = True
        return self.tunnel.client_finished()


class _NodeEnd(_End):
    """The end that we opened to a node."""

    __slots__ = ("answer", "answered")

    def __init__(self, tunnel: "Tunnel", counts: Counts) -> None:
        super().__init__(tunnel, counts)
        self.answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether an answer came, as soon as that is certain."""
        self.answer = b""
        """What came before the ends were joined: no more than arrives within one turn of the loop."""

    def data_received(self, data: bytes) -> None:
        other = self.other
        if other is None:
            self.answer += data
            self.settle(answered=True)
        elif other.transport is not None:
            self.counts.bytes_out += len(data)
            other.transport.write(data)

    def eof_received(self) -> bool:
        self.finished = True
        if self.other is None:
            self.settle(answered=False)
        else:
            self.tunnel.finished(self)
        return True  # The other direction goes on.

    def connection_lost(self, exc: Exception | None) -> None:
        self.finished = True
        self.settle(answered=False)
        super().connection_lost(exc)

    def settle(self, *, answered: bool) -> None:
        """Say whether there is an answer, unless that is known."""
        if not self.answered.done():
            self.answered.set_result(answered)


class Tunnel:
    """One client's connection and the node it was taken to."""

    __slots__ = (
        "_head",
        "_kept",
        "_relay",
        "_shaking",
        "_stage",
        "_task",
        "_timer",
        "_upgrade",
        "address",
        "client",
        "node",
        "server",
        "tried",
    )

    def __init__(self, relay: "Relay") -> None:
        self.client = _ClientEnd(self, relay.counts)
        self.address = ""
        """The client's, without its port."""
        self.server: _NodeEnd | None = None
        self.node: str | None = None
        self.tried: frozenset[str] = frozenset()
        """Nodes that did not take this client."""
        self._relay = relay
        self._stage = _Stage.SILENT
        self._head: bytearray | None = bytearray()
        self._upgrade = False
        self._shaking = False
        """Whether the balancer is to be told how a handshake ended."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._kept: asyncio.TimerHandle | None = None
        """Lets go of the client of a node that is gone."""

    def begin(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's request."""
        relay = self._relay
        relay.counts.accepts += 1
        relay.tunnels.add(self)
        if len(relay.tunnels) > relay.tunnels_max:
            relay.counts.full += 1
            self.cut()
            return
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._set_timer(relay.head_within_s, self._said_nothing)
        over = relay.newcomers.add(self, self.address)
        if over is not None:
            relay.counts.flooded += 1
            over.cut()

    def cut(self) -> None:
        """End the tunnel now, in both directions."""
        self._stage = _Stage.OVER if self._stage is not _Stage.JOINED else self._stage
        self._relay.newcomers.remove(self)
        self._relay.step_out(self)
        if self._task is not None:
            self._task.cancel()
        self.client.abort()
        if self.server is not None:
            self.server.abort()

    def node_removed(self) -> bool:
        """Leave the node; say whether that ended the tunnel. Whoever has no answer yet goes to another node."""
        if self._stage is _Stage.JOINING:
            if self.server is not None:
                self.server.settle(answered=False)
            return False
        if not self._keep(self.client.abort):
            self.cut()
        return True

    # What the client does before there is a node.

    def said(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._head is None or self._stage is _Stage.OVER:
            return
        self._head += data
        counts = self._relay.counts
        match judge_head(self._head, most=HEAD_BYTES_MAX):
            case Head.UNFINISHED:
                pass
            case Head.GARBAGE:
                counts.garbage += 1
                self._turn_down(HTTPStatus.BAD_REQUEST, "this is no HTTP request")
            case Head.TOO_BIG:
                counts.head_too_big += 1
                self._turn_down(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {HEAD_BYTES_MAX} bytes")
            case Head.REQUEST | Head.UPGRADE as head:
                if self._stage is _Stage.SILENT:
                    self._upgrade = head is Head.UPGRADE
                    self._arrive()

    def client_finished(self) -> bool:
        """The client sends nothing more; return whether the connection is kept for the answer."""
        if self._stage is not _Stage.JOINED:
            return False  # Nobody closes half of a connection that he still waits in line with: he has left.
        self.finished(self.client)
        return True

    def _said_nothing(self) -> None:
        self._relay.counts.no_head += 1
        self._turn_down(HTTPStatus.REQUEST_TIMEOUT, "no request came in time")

    def _arrive(self) -> None:
        relay = self._relay
        relay.newcomers.remove(self)
        self._stop_timer()
        now = relay.now()
        told = relay.line.arrive(self.address, now, waiting=relay.waiting, nodes=relay.balancer.usable(now))
        if told is None:
            self._wait(relay.arrived)
            relay.dispatch()
        else:
            self.refuse(told)

    def _wait(self, line: "dict[Tunnel, None]") -> None:
        self._stage = _Stage.WAITING
        line[self] = None
        self._set_timer(self._relay.wait_s, self.waited_in_vain)

    def waited_in_vain(self) -> None:
        """Send the client away; it was in the line already, and keeps a place near its head."""
        relay = self._relay
        relay.step_out(self)
        self.refuse(relay.line.turned_away(self.address, relay.now(), waiting=relay.waiting))

    def refuse(self, retry_after_s: int) -> None:
        """Answer that there is no room, and when to come again."""
        self._relay.counts.refused += 1
        self._turn_down(HTTPStatus.SERVICE_UNAVAILABLE, "no node has room", retry_after_s=retry_after_s)

    def _turn_down(self, status: HTTPStatus, why: str, *, retry_after_s: int | None = None) -> None:
        self._relay.newcomers.remove(self)
        self._stage = _Stage.OVER
        self._head = None
        transport = self.client.transport
        if transport is not None and not transport.is_closing():
            transport.write(answer(status, why, retry_after_s=retry_after_s))
            transport.close()
            self._set_timer(HALF_CLOSED_S, self.cut)

    # The way to a node.

    def join(self, node: str) -> None:
        """Go to a node that has room; the tunnel is in the line no more."""
        self._stage = _Stage.JOINING
        self._stop_timer()
        if self.client.transport is not None:
            self.client.transport.pause_reading()
        self._enter(node)
        self._task = asyncio.get_running_loop().create_task(self._join(node), name="gateway-join")
        self._task.add_done_callback(self._join_over)

    async def _join(self, node: str) -> None:
        relay = self._relay
        while not await self._attempt(node):
            self.tried |= {node}
            choice = relay.balancer.pick(relay.now(), without=self.tried)
            relay.tell()
            if choice is None:
                if self.client.transport is not None:
                    self.client.transport.resume_reading()
                    self._wait(relay.returned)
                break
            node = choice
            self._enter(node)

    def _join_over(self, task: asyncio.Task[None]) -> None:
        """Clean up after a client that left meanwhile, even before the task began, and let others have its room."""
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a tunnel is lost", exc_info=error)
        if task.cancelled() or error is not None:
            if self._shaking and self.node is not None:
                self._shaking = False
                self._relay.balancer.gave_up(self.node)
            self.cut()
        self._end_if_over()
        self._relay.dispatch()

    async def _attempt(self, node: str) -> bool:
        """Connect to the node and join the ends if it answers; return whether this node it is."""
        relay, balancer = self._relay, self._relay.balancer
        end = self.server = _NodeEnd(self, relay.counts)
        answered = await self._ask(end, node)
        now = relay.now()
        self._shaking = False
        if answered and not (self._upgrade and end.answer.startswith(TURNED_AWAY)):
            balancer.took(node)
            relay.line.speed.done(now, waiting=relay.waiting > 0, nodes=balancer.usable(now))
            relay.tell()
            self._join_ends(end)
            return True
        if answered:
            relay.counts.turned_away += 1
            balancer.took_nothing(node, now)
        else:
            relay.counts.failed_connects += 1
            balancer.unreached(node, now)
        relay.tell()
        end.abort()
        self.server = None
        self._leave()
        return False

    async def _ask(self, end: _NodeEnd, node: str) -> bool:
        """Pass the request on; return whether an answer came."""
        relay = self._relay
        backend = relay.balancer.nodes.get(node)
        assert self._head is not None
        try:
            host, port = split_address(backend.address if backend and backend.address else "")
            async with asyncio.timeout(relay.patience_s):
                await relay.connect(lambda: end, host, port)
                if end.transport is None:
                    return False
                relay.tune(end.transport.get_extra_info("socket"), relay.silence.node_s)
                end.transport.write(bytes(self._head))
                return await end.answered
        except (OSError, ValueError) as error:
            log.info("%s does not take a connection: %s", node, str(error) or "no answer")
            return False

    def _join_ends(self, end: _NodeEnd) -> None:
        self._stage = _Stage.JOINED
        counts, client = self._relay.counts, self.client
        counts.bytes_in += len(self._head or b"")
        counts.bytes_out += len(end.answer)
        self._head = None
        self.tried = frozenset()
        assert client.transport is not None, "its loss cancels the way to a node"
        client.other, end.other = end, client
        client.transport.write(end.answer)
        end.answer = b""
        client.transport.resume_reading()
        if end.finished:
            self.finished(end)

    # The end.

    def finished(self, end: _End) -> None:
        """Pass on that one end sends nothing more."""
        other = end.other
        if other is None:
            end.close()
            return
        if end is self.server and not other.finished and self._keep(self.client.close):
            return
        other.end()
        if other.finished:
            self.client.close()
            other.close()
            end.close()
        elif self._timer is None:
            self._set_timer(HALF_CLOSED_S, self.cut)

    def lost(self, end: _End, error: Exception | None) -> None:
        """One end is gone: so is the other, at once if the first one broke off."""
        relay = self._relay
        if isinstance(error, TimeoutError):
            relay.counts.timed_out += 1
        if end is self.client:
            relay.newcomers.remove(self)
            relay.step_out(self)
            if self._task is not None:
                self._task.cancel()
        other = end.other
        if other is not None and (end is self.client or self._kept is None):
            end_other = other.close if error is None else other.abort
            over = end is self.client or other.finished or other.transport is None or self._timer is not None
            if over or not self._keep(end_other):  # What is over on one side already is no surprise to the other.
                end_other()
        self._end_if_over()

    def _keep(self, let_go: Callable[[], None]) -> bool:
        """Leave the node, and let go of the client when there is room for it elsewhere; False if there is now."""
        relay = self._relay
        if self._kept is not None:
            return True
        wait_s = relay.release_in_s(self.node) if self._upgrade else 0.0
        if wait_s <= 0:
            return False
        self._stop_timer()
        self._leave()
        self._kept = asyncio.get_running_loop().call_later(wait_s, self._let_go, let_go)
        relay.kept.add(self)
        if self.server is not None:
            self.server.abort()
        return True

    def _let_go(self, let_go: Callable[[], None]) -> None:
        self._relay.kept.discard(self)
        self._set_timer(HALF_CLOSED_S, self.cut)
        let_go()

    def _end_if_over(self) -> None:
        if self.client.transport is not None or self._task is not None:
            return
        if self.server is not None and self.server.transport is not None:
            return
        self._stop_timer()
        if self._kept is not None:
            self._kept.cancel()
            self._relay.kept.discard(self)
        self._leave()
        self._relay.tunnels.discard(self)

    def _enter(self, node: str) -> None:
        self.node = node
        self._shaking = True
        self._relay.balancer.opened(node)
        self._relay.by_node.setdefault(node, set()).add(self)

    def _leave(self) -> None:
        node, self.node = self.node, None
        if node is not None:
            relay = self._relay
            relay.balancer.closed(node)
            relay.by_node[node].discard(self)
            if not relay.by_node[node]:
                del relay.by_node[node]

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def answer(status: HTTPStatus, why: str, *, retry_after_s: int | None = None) -> bytes:
    """Return a whole response that ends the connection."""
    body = f"{why}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *([] if retry_after_s is None else [f"Retry-After: {retry_after_s}"]),
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Relay:
    """All tunnels of a gateway. `serve` to open, `close` to end."""

    def __init__(
        self,
        balancer: Balancer,
        *,
        patience_s: float,
        wait_s: float,
        head_within_s: float,
        silence: Silence,
        release: Release,
        tunnels_max: int,
        connect: Connect | None = None,
        tune: Tune = tune,
    ) -> None:
        """A node answers within `patience_s` of the connect, a client waits at most `wait_s` for one with room."""
        loop = asyncio.get_running_loop()
        self.balancer = balancer
        self.line = Line(wait_s=wait_s)
        self.patience_s = patience_s
        self.wait_s = wait_s
        self.head_within_s = head_within_s
        self.silence = silence
        self.tunnels_max = tunnels_max
        self.counts = Counts()
        self.tunnels: set[Tunnel] = set()
        self.by_node: dict[str, set[Tunnel]] = {}
        self.newcomers = Newcomers[Tunnel](
            most=math.ceil(tunnels_max * SILENT_SHARE),
            most_per_address=math.ceil(tunnels_max * SILENT_SHARE_OF_ADDRESS),
        )
        self.arrived: dict[Tunnel, None] = {}
        """The line, its head first."""
        self.returned: dict[Tunnel, None] = {}
        """Those that a node did not take after all, and the others have no room for: they come before the line."""
        self.release = release
        self.kept: set[Tunnel] = set()
        """Those whose node is gone and whose client has not been let go of."""
        self.on_breaker: Callable[[BreakerChange], object] = lambda _change: None
        self.now = loop.time
        self.connect = connect or loop.create_connection
        self.tune = tune
        self._server: asyncio.Server | None = None

    async def serve(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: the address cannot be bound.

        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Tunnel(self).client, host, port, backlog=ACCEPTS_AT_ONCE, reuse_address=True
        )
        for listening in self._server.sockets:
            self.tune(listening, self.silence.client_s, listening=True)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    @property
    def waiting(self) -> int:
        """How many wait for a node with room."""
        return len(self.arrived) + len(self.returned)

    def release_in_s(self, node: str | None) -> float:
        """Return how long to keep a client whose node is gone; 0 if it may go at once."""
        now = self.now()
        others = self.balancer.usable(now, without=() if node is None else (node,))
        return self.release.wait_s(now, per_s=self.line.speed.per_node * max(1, others))

    def step_out(self, tunnel: Tunnel) -> None:
        """Take a tunnel out of the line if it is there."""
        self.arrived.pop(tunnel, None)
        self.returned.pop(tunnel, None)

    def dispatch(self) -> None:
        """Send those at the head of the line to nodes, as far as these have room. Call it whenever that may be."""
        while self.waiting:
            now = self.now()
            tunnel = next(iter(self.returned or self.arrived))
            node = self.balancer.pick(now, without=tunnel.tried)
            if node is not None:
                self.step_out(tunnel)
                tunnel.join(node)
            elif self.balancer.usable(now, without=tunnel.tried):
                break
            else:
                tunnel.waited_in_vain()
        self.tell()

    def tell(self) -> None:
        """Pass on what the breakers did."""
        changes = self.balancer.changes
        while changes:
            self.on_breaker(changes.pop(0))

    def cut(self, node: str) -> int:
        """Cut every tunnel to the node; return how many."""
        tunnels = [*self.by_node.get(node, ())]
        count: int = sum(tunnel.node_removed() for tunnel in tunnels)
        self.counts.cut += count
        return count

    async def close(self) -> None:
        """Stop listening and cut everything."""
        if self._server is not None:
            self._server.close()
        for tunnel in list(self.tunnels):
            tunnel.cut()
        # One turn for the transports to let go of their sockets.
        await asyncio.sleep(0)
