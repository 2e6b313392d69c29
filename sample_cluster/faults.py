"""The relay in which faults are injected into links, and the exchange by which connections come to it.

Theory of operation. The `Exchange` belongs to the supervisor; every process keeps a line to it (`detour`). As long as
a link has no fault, its connections are direct and nothing here has any work. When it gets one, the process that calls
is asked for its connections, and each becomes a `_Tunnel`: two ends, and a lane in each direction
(`sample_cluster.core.faults`) that decides when which bytes go on. What comes in faster than it goes out stops being
read, so that a tunnel holds a bounded number of bytes. A fault that ends leaves its tunnels behind, carrying bytes
straight through, until their connections end.
"""

import asyncio
import logging
import os
import resource
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from sample_cluster.core.faults import Blackhole, Lane, Link, Reset, Shape, Way, dice_of
from wsmon.errors import RemoteProtocolError
from wsmon.protocol.fields import Fields, dump_object, parse_object
from wsmon.protocol.frames import JsonObject

log = logging.getLogger(__name__)

WAITING_BYTES_MAX: Final = 256 * 1024
BUFFER_BYTES_MAX: Final = 64 * 1024
LINE_MAX: Final = 64 * 1024
FDS_AT_ONCE: Final = 64
FILES_MAX: Final = 65_536
ANSWER_WITHIN_S: Final = 1.0
"""A process that stands still hands its connections over once it goes on: nothing moves on them before that."""


class _End(asyncio.Protocol):
    """One end of a tunnel. `lane` holds what came in here and has not gone out at the other end yet."""

    other: "_End"

    def __init__(self, way: Way, link: "_LinkState", over: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.lane = Lane(way, link.dice())
        self._link = link
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._lost = self._ended = self._passed = self._error = self._reading_paused = self._writing_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_BYTES_MAX)
        self.other.pump()

    def data_received(self, data: bytes) -> None:
        out = self.other.transport
        if self.lane.clear and out is not None:
            out.write(data)
        elif not self.other._lost:  # noqa: SLF001  # Of the same class.
            self.lane.put(data, self._loop.time())
            self.pump()

    def eof_received(self) -> bool:
        self._end_lane()
        return True  # The other direction goes on.

    def pause_writing(self) -> None:
        self._writing_paused = True
        self.other.throttle()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.other.throttle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._lost = True
        self._error = exc is not None
        self.other.drop()
        self._end_lane()
        self._finish_if_over()

    def pump(self) -> None:
        """Hand on what may go on now, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        out = self.other.transport
        if out is None:
            return
        for data in self.lane.take(self._loop.time()):
            if data:
                out.write(data)
            else:
                self._pass_end_on(out)
        if self.lane.deadline < float("inf"):
            self._timer = self._loop.call_at(self.lane.deadline, self.pump)
        self.throttle()

    def throttle(self) -> None:
        """Read only what can go on."""
        full = self.lane.waiting > WAITING_BYTES_MAX or self.other._writing_paused  # noqa: SLF001  # Of the same class.
        if self.transport is None or full == self._reading_paused:
            return
        self._reading_paused = full
        if full:
            self.transport.pause_reading()
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def drop(self) -> None:
        """Forget what waits: nobody is left to take it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.lane.reshape((), self._loop.time())
        self.lane.take(float("inf"))
        self.throttle()

    def reset(self) -> None:
        """End the connection so that its peer is told that something went wrong."""
        if self.transport is not None:
            held = self.transport.get_extra_info("socket")
            if held.family != socket.AF_UNIX:  # Source: socket(7), SO_LINGER with no time: a reset instead of an end.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _end_lane(self) -> None:
        if not self._ended:
            self._ended = True
            self.lane.end(self._loop.time())
            self.pump()
        elif self._lost and self.lane.empty:
            self._close_other()

    def _pass_end_on(self, out: asyncio.Transport) -> None:
        self._passed = True
        if self._lost or self.other._passed:  # noqa: SLF001  # Of the same class.
            self._close_other()
            if self.transport is not None:
                self.transport.close()
        elif out.can_write_eof() and not out.is_closing():
            with suppress(OSError):  # Its peer has reset it: `connection_lost` follows.
                out.write_eof()

    def _close_other(self) -> None:
        if self._error:
            self.other.reset()
        elif self.other.transport is not None:
            self.other.transport.close()

    def _finish_if_over(self) -> None:
        if self._lost and self.other._lost:  # noqa: SLF001  # Of the same class.
            self.drop()
            self.other.drop()
            self._over()


class _Tunnel:
    """One connection that is led through here."""

    def __init__(self, link: "_LinkState") -> None:
        self._link = link
        self.near = _End(Way.TO, link, self._over)
        self.far = _End(Way.FROM, link, self._over)
        self.near.other, self.far.other = self.far, self.near
        link.tunnels.add(self)

    async def join(self, near: socket.socket, far: socket.socket) -> None:
        """Carry between the process that called (`near`) and the one that was called (`far`)."""
        loop = asyncio.get_running_loop()
        self.reshape(self._link.shapes)
        try:
            await loop.create_connection(lambda: self.near, sock=near)
            await loop.create_connection(lambda: self.far, sock=far)
        except BaseException as error:
            self.reset()
            near.close()
            far.close()
            self._over()
            if not isinstance(error, OSError):
                raise
            log.info("a connection ended before it could be led through here: %s", error)
            return
        if self._link.resets:
            self.reset()

    def reshape(self, shapes: tuple[Shape, ...]) -> None:
        """Have other faults."""
        now = asyncio.get_running_loop().time()
        for end in (self.near, self.far):
            end.lane.reshape(shapes, now)
            end.pump()

    def reset(self) -> None:
        """End the connection, both ways, with a reset."""
        self.near.reset()
        self.far.reset()

    def _over(self) -> None:
        self._link.tunnels.discard(self)


@dataclass(slots=True)
class _LinkState:
    dice: Callable[[], Random]
    shapes: tuple[Shape, ...] = ()
    tunnels: set[_Tunnel] = field(default_factory=set)

    @property
    def resets(self) -> bool:
        return any(isinstance(shape, Reset) for shape in self.shapes)

    @property
    def holds(self) -> bool:
        """Whether not even a connect gets through."""
        return any(isinstance(shape, Blackhole) for shape in self.shapes)


class _Line:
    """A process on the line."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.name = ""
        self.listens: set[str] = set()
        self.fds: deque[int] = deque()
        self.pending = b""
        self.unsent = b""
        self.waiting: dict[str, asyncio.Future[int]] = {}
        """Who waits for how many connections of a link were handed over."""


class Exchange:
    """Leads links around through the relay. `open` it before the first process starts, `close` it at the end."""

    def __init__(self, path: Path, paths_of: Callable[[str], tuple[str, ...]]) -> None:
        """`paths_of` names the Unix sockets at which a process can be called."""
        self._path = path
        self._paths_of = paths_of
        self._listener: socket.socket | None = None
        self._lines: set[_Line] = set()
        self._links: dict[Link, _LinkState] = {}
        self._joining: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Listen.

        Raises:
            OSError: the path cannot be bound.

        """
        _raise_file_limit()
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.setblocking(False)  # noqa: FBT003  # The library's signature.
        listener.bind(str(self._path))
        self._path.chmod(0o600)
        listener.listen(128)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def close(self) -> None:
        """Let go of everything; connections that are led through here end."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
            self._path.unlink(missing_ok=True)
        for task in self._joining:
            task.cancel()
        await asyncio.gather(*self._joining, return_exceptions=True)
        for line in [*self._lines]:
            self._hang_up(line)
        for state in self._links.values():
            for tunnel in [*state.tunnels]:
                tunnel.reset()

    @property
    def path(self) -> Path:
        """Where processes call."""
        return self._path

    @property
    def connections(self) -> Mapping[str, int]:
        """How many connections are led through here, by link; links without any are left out."""
        return {link.name: len(state.tunnels) for link, state in self._links.items() if state.tunnels}

    async def divert(self, link: Link, *, seed: int | None = None) -> int:
        """Lead the link's connections through here; return how many were handed over just now.

        A process that does not answer, because it stands still or does not run, hands none over. `seed` makes the
        dice of connections that come from now on fall the same way again.
        """
        state = self._links.setdefault(link, _LinkState(dice_of(link.name)))
        if seed is not None:
            state.dice = dice_of(seed)
        line = self._line_of(link.source)
        if line is None:
            return 0
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        line.waiting[link.name] = answer
        self._ask_for(link, line)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await answer
        except TimeoutError:
            return 0
        finally:
            line.waiting.pop(link.name, None)

    def reshape(self, link: Link, shapes: tuple[Shape, ...]) -> None:
        """Have these faults on the link from now on."""
        state = self._links.setdefault(link, _LinkState(dice_of(link.name)))
        held = state.holds
        state.shapes = shapes
        line = self._line_of(link.source)
        if line is not None:
            if not shapes:
                self._say(line, {"do": "release", "link": link.name})
            elif held != state.holds:
                self._ask_for(link, line)
        for tunnel in [*state.tunnels]:
            tunnel.reshape(shapes)
            if state.resets:
                tunnel.reset()

    def _ask_for(self, link: Link, line: _Line) -> None:
        called = self._line_of(link.target)
        places = [*self._paths_of(link.target), *(called.listens if called is not None else ())]
        hold = self._links[link].holds
        self._say(line, {"do": "detour", "link": link.name, "to": [*places], "hold": hold})

    def _line_of(self, name: str) -> _Line | None:
        return next((line for line in self._lines if line.name == name), None)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(False)  # noqa: FBT003  # The library's signature.
            line = _Line(connection)
            self._lines.add(line)
            asyncio.get_running_loop().add_reader(connection, self._read, line)

    def _read(self, line: _Line) -> None:
        try:
            received, fds, _, _ = socket.recv_fds(line.socket, LINE_MAX, FDS_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            received, fds = b"", []
        for fd in fds:
            os.set_inheritable(fd, False)  # noqa: FBT003  # The library's signature.
        line.fds += fds
        if not received:
            self._hang_up(line)
            return
        *lines, line.pending = (line.pending + received).split(b"\n")
        try:
            for text in lines:
                self._hear(line, Fields(parse_object(text, what="told"), "told"))
        except RemoteProtocolError as error:
            log.error("%s is hung up on: %s", line.name or "somebody", error)  # noqa: TRY400  # The reason says it all.
            self._hang_up(line)

    def _hear(self, line: _Line, told: Fields) -> None:
        match told.text("told"):
            case "hello":
                line.name = told.text("id")
                self._repeat(lambda link: link.source == line.name)
            case "listens":
                line.listens.add(told.text("at"))
                self._repeat(lambda link: link.target == line.name)
            case "moved":
                if len(line.fds) < 2:
                    raise RemoteProtocolError("told.moved came without its sockets")
                far, near = (socket.socket(fileno=line.fds.popleft()) for _ in range(2))
                self._adopt(told.text("link"), near, far)
            case "done":
                waiting = line.waiting.get(told.text("link"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(told.integer("moved"))
            case other:
                raise RemoteProtocolError(f"told.told is {other!r}")

    def _repeat(self, concerned: Callable[[Link], bool]) -> None:
        """Ask again for links that have faults: a process was started, or listens elsewhere."""
        for link, state in self._links.items():
            line = self._line_of(link.source)
            if line is not None and state.shapes and concerned(link):
                self._ask_for(link, line)

    def _adopt(self, name: str, near: socket.socket, far: socket.socket) -> None:
        state = next((state for link, state in self._links.items() if link.name == name), None)
        for end in (near, far):
            end.setblocking(False)  # noqa: FBT003  # The library's signature.
        if state is None:
            near.close()
            far.close()
            raise RemoteProtocolError(f"nobody asked for connections of {name!r}")
        task = asyncio.get_running_loop().create_task(_Tunnel(state).join(near, far), name=f"join-{name}")
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    def _say(self, line: _Line, order: JsonObject) -> None:
        line.unsent += dump_object(order).encode() + b"\n"
        self._send(line)

    def _send(self, line: _Line) -> None:
        """Send what the process takes; one that stands still may have to be waited for."""
        loop = asyncio.get_running_loop()
        try:
            sent = line.socket.send(line.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:  # It is gone: reading says so.
            sent = len(line.unsent)
        line.unsent = line.unsent[sent:]
        if line.unsent:
            loop.add_writer(line.socket, self._send, line)
        else:
            loop.remove_writer(line.socket)

    def _hang_up(self, line: _Line) -> None:
        if line not in self._lines:
            return
        self._lines.discard(line)
        loop = asyncio.get_running_loop()
        loop.remove_reader(line.socket)
        loop.remove_writer(line.socket)
        line.socket.close()
        for fd in line.fds:
            os.close(fd)
        for waiting in line.waiting.values():
            if not waiting.done():
                waiting.set_result(0)


def _raise_file_limit() -> None:
    """Take as many open files as we may: a connection that is led through here costs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
