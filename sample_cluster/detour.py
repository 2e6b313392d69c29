"""How a process lets its connections be led through a relay, and why that costs nothing as long as none is.

Theory of operation. Every process of an embedded cluster runs on a loop that remembers which connections it made, and
keeps one line to the supervisor, the *exchange*. Connections are direct. When a fault is to be injected into a link,
the exchange asks the process that calls: it makes a pair of sockets, hands its connection and one of the pair over,
and puts the other in the place of the connection, under the same file descriptor. From then on the relay at the
exchange stands in between; transport, protocol and peer notice nothing, and not a byte is lost, because the kernel's
buffers stay where they are and nobody reads in between. New connections of the link are handed over as soon as they
are made, until the exchange says that it is enough.

A line each way is one JSON object. From the exchange: `{"do":"detour","link","to":[places],"hold"}` and
`{"do":"release","link"}`. To it: `{"told":"hello","id"}`, `{"told":"listens","at"}`, `{"told":"moved","link"}` with
the two sockets, and `{"told":"done","link","moved"}`. A place is `host:port`, or the path of a Unix socket.
"""

import asyncio
import logging
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias
from weakref import WeakSet

from wsmon.errors import RemoteProtocolError
from wsmon.protocol.fields import Fields, dump_object, parse_object
from wsmon.protocol.frames import JsonObject

log = logging.getLogger(__name__)

LINE_MAX: Final = 64 * 1024
SEND_WITHIN_S: Final = 1.0
PLACES_MOST: Final = 256
"""So many places are remembered before those without connections are forgotten."""

Factory: TypeAlias = Callable[[], Any]
Made: TypeAlias = tuple[asyncio.Transport, Any]


@dataclass(slots=True)
class _Detour:
    link: str
    places: frozenset[str]
    hold: bool
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another order for the link, or none, holds."""


class ExchangeLine:
    """A process's line to the exchange. Made before the loop runs; belongs to the loop from then on."""

    def __init__(self, path: Path, name: str) -> None:
        """Call the exchange at `path` and say that we are `name`.

        Raises:
            OSError: nobody is there.

        """
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SEND_WITHIN_S)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._pending = b""
        self._made: dict[str, WeakSet[asyncio.Transport]] = {}
        self._detours: dict[str, _Detour] = {}
        self._led_around: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._tell({"told": "hello", "id": name})

    def attach(self, loop: asyncio.AbstractEventLoop, selector: selectors.BaseSelector) -> None:
        """Listen on `loop`, whose selector is `selector`."""
        self._loop, self._selector = loop, selector
        loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Hang up. Connections stay as they are."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def listens(self, place: str) -> None:
        """Tell where this process can be called."""
        self._tell({"told": "listens", "at": place})

    async def may_connect(self, place: str) -> None:
        """Wait as long as nothing gets through to the place; the caller sets the timeout."""
        while (detour := self._detour_to(place)) is not None and detour.hold:
            await detour.over.wait()

    def made(self, place: str, transport: asyncio.Transport) -> None:
        """Hand a connection over at once if it is to be led around, else remember it."""
        detour = self._detour_to(place)
        if detour is not None and self._move(transport, detour.link):
            return
        if len(self._made) >= PLACES_MOST:
            self._made = {known: transports for known, transports in self._made.items() if transports}
        self._made.setdefault(place, WeakSet()).add(transport)

    def leads_around(self, transport: asyncio.BaseTransport) -> bool:
        """Say whether the connection was handed over."""
        return transport in self._led_around

    def _detour_to(self, place: str) -> _Detour | None:
        return next((detour for detour in self._detours.values() if place in detour.places), None)

    def _read(self) -> None:
        try:
            received = self._socket.recv(LINE_MAX)
        except OSError:
            received = b""
        if not received:  # The supervisor is gone, and we shall follow.
            self.close()
            return
        *lines, self._pending = (self._pending + received).split(b"\n")
        for line in lines:
            try:
                self._obey(Fields(parse_object(line, what="order"), "order"))
            except RemoteProtocolError as error:
                log.error("the exchange asked for something else: %s", error)  # noqa: TRY400  # The reason says it all.

    def _obey(self, order: Fields) -> None:
        link = order.text("link")
        before = self._detours.pop(link, None)
        match order.text("do"):
            case "detour":
                self._detours[link] = detour = _Detour(link, frozenset(order.texts("to")), order.flag("hold"))
                direct = [(place, transport) for place in detour.places for transport in self._made.pop(place, ())]
                for place, transport in direct:
                    self.made(place, transport)
                left = sum(len(self._made.get(place, ())) for place in detour.places)
                self._tell({"told": "done", "link": link, "moved": len(direct) - left})
            case "release":
                pass
            case other:
                raise RemoteProtocolError(f"order.do is {other!r}")
        if before is not None:
            before.over.set()

    def _move(self, transport: asyncio.Transport, link: str) -> bool:
        """Hand one connection over and put another in its place; say whether that was possible."""
        held = transport.get_extra_info("socket")
        fd = -1 if held is None else held.fileno()
        if fd < 0 or transport.is_closing():
            return False
        try:
            with socket.socket(fileno=os.dup(fd)) as far:
                near, between = _pair(far.family)
                with near, between:
                    near.setblocking(False)  # noqa: FBT003  # The library's signature.
                    self._tell({"told": "moved", "link": link}, far.fileno(), between.fileno())
                    # A selector may know the connection rather than its number, and the connection lives on elsewhere.
                    key = self._selector.get_map().get(fd)
                    if key is not None:
                        self._selector.unregister(fd)
                    os.dup2(near.fileno(), fd, inheritable=False)
                    if key is not None:
                        self._selector.register(fd, key.events, key.data)
        except OSError as error:  # Above all too many open files: the connection stays direct.
            log.warning("a connection of %s stays direct: %s", link, error)
            return False
        self._led_around.add(transport)
        return True

    def _tell(self, document: JsonObject, *fds: int) -> None:
        line = dump_object(document).encode() + b"\n"
        if fds:
            socket.send_fds(self._socket, [line], [*fds])
        else:
            with suppress(OSError):  # The supervisor is gone: the next read says so.
                self._socket.sendall(line)


def _pair(family: int) -> tuple[socket.socket, socket.socket]:
    """Return two sockets that are connected to each other, of a kind that can be reset if `family` is."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    near = socket.socket()
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(8)
            near.settimeout(SEND_WITHIN_S)
            near.connect(listener.getsockname())
            listener.settimeout(SEND_WITHIN_S)
            while True:
                far, caller = listener.accept()
                if caller == near.getsockname():
                    break
                far.close()  # Somebody else on this machine tried the port.
        except BaseException:
            near.close()
            raise
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


class DetourLoop(asyncio.SelectorEventLoop):
    """A loop whose outgoing connections can be led through a relay. Without a line it is like any other."""

    line: ExchangeLine | None = None

    def divert_by(self, line: ExchangeLine) -> None:
        """Do from now on what the exchange asks for."""
        self.line = line
        line.attach(self, self._selector)  # type: ignore[attr-defined]  # asyncio's own, under this name since 3.4.

    async def create_connection(  # The parts that matter here, by name; the rest as inherited.
        self, protocol_factory: Factory, host: str | None = None, port: int | str | None = None, **options: Any
    ) -> Made:
        """Connect, and remember the connection."""
        line = self.line
        if line is None or host is None:
            return await super().create_connection(protocol_factory, host, port, **options)  # type: ignore[arg-type]
        place = f"{host}:{port}"
        await line.may_connect(place)
        transport, protocol = await super().create_connection(protocol_factory, host, port, **options)  # type: ignore[arg-type]
        line.made(place, transport)
        return transport, protocol

    async def create_unix_connection(self, protocol_factory: Factory, path: str | None = None, **options: Any) -> Made:
        """Connect, and remember the connection."""
        line = self.line
        if line is None or path is None:
            return await super().create_unix_connection(protocol_factory, path, **options)
        await line.may_connect(str(path))
        transport, protocol = await super().create_unix_connection(protocol_factory, path, **options)
        line.made(str(path), transport)
        return transport, protocol

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """Listen, and tell the exchange where."""
        server: asyncio.Server = await super().create_server(*args, **options)
        if self.line is not None:
            for listener in server.sockets:
                host, port, *_ = listener.getsockname()
                self.line.listens(f"{host}:{port}")
        return server

    def close(self) -> None:
        """End with the loop."""
        if self.line is not None and not self.is_closed():
            self.line.close()
        super().close()


def is_led_around(transport: asyncio.BaseTransport) -> bool:
    """Say whether a connection of the running loop goes through the relay: then its socket knows the relay only."""
    line = getattr(asyncio.get_running_loop(), "line", None)
    return isinstance(line, ExchangeLine) and line.leads_around(transport)


def diverted(loop: type[asyncio.AbstractEventLoop] | None) -> type[DetourLoop]:
    """Return a kind of loop that is `loop` and can be diverted, too."""
    return DetourLoop if loop is None else type(f"Detour{loop.__name__}", (DetourLoop, loop), {})
