"""A node that speaks just enough of the client protocol, and misbehaves on request. Any number may share one log.

Resumptions are served as the protocol wants it: what the log can continue is `resumed`, anything else `fresh`; an
attempt that is not higher is stale, and the connection that had the session before is closed with 4502.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import TracebackType
from typing import Literal, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from sample_cluster.codecs import SUBPROTOCOLS, codec_for
from sample_cluster.core.messages import (
    Ack,
    ClientFrame,
    Error,
    GoAway,
    GoAwayReason,
    Hello,
    Limits,
    Message,
    NodeFrame,
    Ping,
    Pong,
    Position,
    Publish,
    Published,
    Reconnect,
    Resume,
    Resync,
    Rewind,
    Subscribe,
    Subscribed,
    Timings,
    UnknownFrame,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from wsmon.protocol.frames import Json

EPOCH = "0000abcd"
TIMINGS = Timings(ping_ms=6_000, pong_ms=2_000, misses=3, resume_ttl_ms=120_000, ack_ms=1_000)
RECONNECT = Reconnect(spread_ms=1_000, base_ms=200, factor=2.0, cap_ms=12_000, jitter=0.2, stable_ms=6_000)


def nonce(seq: int, life: int = 0) -> int:
    """Return the nonce of the entry `seq`, 0 before the first; `life` counts how often the log forked before it."""
    return (seq * 7_919 + life * 104_729) % 2**32


@dataclass
class FakeLog:
    """What is in the cluster's logs, with deduplication by session."""

    entries: dict[str, list[Message]] = field(default_factory=dict)
    """Everything ever written and not void, trimmed or not."""
    taken: dict[tuple[str, str, int], int] = field(default_factory=dict)
    followers: list["FakeSession"] = field(default_factory=list)
    owners: dict[str, tuple[int, "FakeSession"]] = field(default_factory=dict)
    """Session → its highest attempt, and who made it."""
    first: dict[str, int] = field(default_factory=dict)
    """Channel → the oldest entry that is still kept; 1 if nothing was trimmed."""
    lives: dict[str, int] = field(default_factory=dict)
    written: int = 0

    def position(self, channel: str) -> Position:
        """Return the end of a channel."""
        return self.at(channel, len(self.entries.get(channel, [])))

    def at(self, channel: str, seq: int) -> Position:
        """Return the place of the entry `seq`."""
        return Position(epoch=EPOCH, seq=seq, nonce=self.entries[channel][seq - 1].nonce if seq else 0)

    def append(self, channel: str, data: Json, *, tell: bool = True, name: str | None = None) -> Message:
        """Append an entry; without `tell` the followers miss it, as if the fast path had dropped it."""
        entries = self.entries.setdefault(channel, [])
        end = self.position(channel)
        self.written += 1
        message = Message(
            channel=channel,
            seq=end.seq + 1,
            nonce=nonce(end.seq + 1, self.lives.get(channel, 0)),
            prev=end.nonce,
            id=name or f"m{self.written}",
            ts=0,
            data=data,
        )
        entries.append(message)
        if tell:
            for follower in self.followers:
                if channel in follower.channels:
                    follower.send(message)
        return message

    def fork(self, channel: str, keep: int, *, tell: bool = True) -> list[Message]:
        """Lose all entries after `keep`, tell the followers, and return what never happened."""
        entries = self.entries[channel]
        void = entries[keep:]
        del entries[keep:]
        self.lives[channel] = self.lives.get(channel, 0) + 1
        for key in [key for key, seq in self.taken.items() if key[1] == channel and seq > keep]:
            del self.taken[key]
        rewind = Rewind(channel=channel, to=keep, void=(keep + 1, keep + len(void)), position=self.at(channel, keep))
        for follower in self.followers:
            if tell and channel in follower.channels:
                follower.send(rewind)
        return void

    def restore(self, *void: Message) -> None:
        """Append again what a fork lost, as nodes do that still have it."""
        for message in void:
            self.append(message.channel, message.data, name=message.id)

    def missed(self, channel: str, start: Position) -> list[Message] | Resync:
        """Return what follows `start`, or where to go on if the log does not continue it."""
        entries = self.entries.get(channel, [])
        first = self.first.get(channel, 1)
        if start.seq <= len(entries) and self.at(channel, start.seq) == start and start.seq >= first - 1:
            return [replace(message, replay=True) for message in entries[start.seq :]]
        fork = start.seq >= first - 1
        return Resync(
            channel=channel,
            reason="fork" if fork else "trimmed",
            have=start.seq,
            first=first,
            top=len(entries),
            position=self.position(channel) if fork else self.at(channel, first - 1),
        )


class FakeSession:
    """One connection of a fake node."""

    def __init__(self, node: "FakeNode", connection: ServerConnection) -> None:
        self.node = node
        self.connection = connection
        self.codec = codec_for(connection.subprotocol)
        self.session = ""
        self.channels: set[str] = set()
        self.said: list[ClientFrame | UnknownFrame] = []
        self.closing: asyncio.Task[None] | None = None
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, *frames: NodeFrame) -> None:
        """Send frames, several in one WebSocket frame."""
        if not self.node.silent:
            self._queue.put_nowait(self.codec.join([self.codec.encode(frame) for frame in frames]))

    def close(self, code: int) -> None:
        """Begin to close, after all that was sent."""
        if self.closing is None:
            self.closing = asyncio.get_running_loop().create_task(self._close(code))

    async def _close(self, code: int) -> None:
        while not self._queue.empty():
            await self.connection.send(self._queue.get_nowait(), text=not self.codec.binary)
        await self.connection.close(code)

    async def run(self) -> None:
        """Serve until the connection ends."""
        writer = asyncio.get_running_loop().create_task(self._write())
        self.node.log.followers.append(self)
        try:
            async for payload in self.connection:
                for frame in self.codec.decode_client(payload):
                    self.said.append(frame)
                    if self.node.answer is None or not self.node.answer(self, frame):
                        self._answer(frame)
        except ConnectionClosed:
            pass
        finally:
            writer.cancel()
            self.node.log.followers.remove(self)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.connection.send(await self._queue.get(), text=not self.codec.binary)

    def _answer(self, frame: ClientFrame | UnknownFrame) -> None:
        log = self.node.log
        match frame:
            case Hello():
                self.node.sessions_issued += 1
                self._welcome(f"{self.node.name}-{self.node.sessions_issued}", 1)
            case Resume():
                if self.node.welcome_after_s:
                    asyncio.get_running_loop().call_later(self.node.welcome_after_s, self._resume, frame)
                else:
                    self._resume(frame)
            case Subscribe(id=request, channel=channel, start=start):
                entries = log.entries.get(channel, [])
                missed: list[Message] | Resync
                position, missed = log.position(channel), []
                if isinstance(start, Position):
                    position, missed = start, log.missed(channel, start)
                elif start == "start":
                    position, missed = Position(epoch=EPOCH, seq=0, nonce=0), entries
                if isinstance(missed, Resync):
                    self.send(missed)
                    position, missed = missed.position, entries[missed.position.seq :]
                self.send(Subscribed(id=request, channel=channel, position=position, replay=len(missed)), *missed)
                self.channels.add(channel)
            case Unsubscribe(id=request, channel=channel):
                self.channels.discard(channel)
                self.send(Unsubscribed(id=request, channel=channel))
            case Publish(channel=channel, cseq=cseq, data=data):
                self._publish(channel, cseq, data)
            case Ack() | Pong() | _:
                pass

    def _resume(self, resume: Resume) -> None:
        """Claim the session, welcome, and send what was missed."""
        log = self.node.log
        attempt, owner = log.owners.get(resume.session, (0, None))
        if resume.attempt <= attempt:
            self.send(Error(code="stale_attempt", message=f"attempt {attempt} has resumed this session"))
            self.close(4502)
            return
        if owner is not None:
            if self.node.takeover_s:
                asyncio.get_running_loop().call_later(self.node.takeover_s, owner.close, 4502)
            else:
                owner.close(4502)
        found = {channel: log.missed(channel, position) for channel, position in resume.positions.items()}
        fresh = tuple(channel for channel, missed in found.items() if isinstance(missed, Resync))
        resumed = tuple(channel for channel in found if channel not in fresh)
        if self.node.lists == "all":
            resumed, fresh = tuple(found), ()
        self._welcome(resume.session, resume.attempt, resumed=resumed, fresh=fresh)
        for channel, missed in found.items():
            self.channels.add(channel)
            if isinstance(missed, Resync):
                self.send(missed, *log.entries[channel][missed.position.seq :])
            elif missed:
                self.send(*missed)

    def _welcome(
        self, session: str, attempt: int, *, resumed: tuple[str, ...] = (), fresh: tuple[str, ...] = ()
    ) -> None:
        self.session = session
        self.node.log.owners[session] = attempt, self
        self.send(
            Welcome(
                session=session,
                secret="s3cret",
                attempt=attempt,
                node=self.node.name,
                boot=1,
                timings=self.node.timings,
                limits=Limits(max_frame=65_536, max_data=512, window=1_024),
                reconnect=self.node.reconnect,
                resumed=resumed,
                fresh=fresh,
            )
        )

    def _publish(self, channel: str, cseq: int, data: Json) -> None:
        log = self.node.log
        if self.node.refusal is not None:
            code, temporary, retry_ms = self.node.refusal
            self.send(
                Error(code=code, message=code, temporary=temporary, retry_ms=retry_ms, channel=channel, cseq=cseq)
            )
            return
        key = (self.session, channel, cseq)
        dup = key in log.taken
        if not dup:
            log.taken[key] = log.append(channel, data).seq
        if self.node.answers_publishes:
            self.send(Published(channel=channel, cseq=cseq, seq=log.taken[key], dup=dup))


class FakeNode:
    """Listens at one port of loopback. `async with` it."""

    def __init__(self, log: FakeLog | None = None, *, name: str = "n1", port: int = 8_800) -> None:
        self.name = name
        self.port = port
        self.log = log or FakeLog()
        self.timings = TIMINGS
        self.reconnect = RECONNECT
        self.sessions: list[FakeSession] = []
        self.sessions_issued = 0
        self.handshakes = 0
        self.silent = False
        """Read on and say nothing."""
        self.retry_after: str | None = None
        """Answer every handshake with 503 and this header."""
        self.refusal: tuple[str, bool, int | None] | None = None
        """Refuse every publish: code, whether temporary, retry_ms."""
        self.answers_publishes = True
        self.lists: Literal["exact", "all"] = "exact"
        """With `all` every position that a resume carries is called resumed, and jumps follow unannounced."""
        self.welcome_after_s = 0.0
        """A resume is served only after this."""
        self.takeover_s = 1.0
        """A connection whose session was resumed by another is closed after this, if it has not gone by itself."""
        self.answer: Callable[[FakeSession, ClientFrame | UnknownFrame], bool] | None = None
        """Called first with every frame; True means that it was dealt with."""
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """Return where clients connect."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def said(self) -> list[ClientFrame | UnknownFrame]:
        """Return what all clients said, connection by connection."""
        return [frame for session in self.sessions for frame in session.said]

    async def start(self) -> None:
        """Listen."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            process_request=self._check,
            subprotocols=[Subprotocol(name) for name in SUBPROTOCOLS],
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
        )

    async def kill(self) -> None:
        """Cut every connection without a close frame and stop listening."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for session in self.sessions:
            session.connection.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def stop_listening(self) -> None:
        """Refuse new connections; those that stand are served. `start` listens again, here or in another node."""
        assert self._server is not None
        self._server.close(close_connections=False)
        self._server = None
        await asyncio.sleep(0)

    def go_away(self, *, retry_ms: int = 0, deadline_ms: int = 9_000, handover: bool = True) -> None:
        """Ask everybody to leave."""
        self.send(
            GoAway(
                reason=GoAwayReason.DRAIN,
                retry_ms=retry_ms,
                spread_ms=0,
                deadline_ms=deadline_ms,
                handover=handover,
            )
        )

    async def close_all(self, code: int) -> None:
        """Close every connection with `code`, and go on listening."""
        await asyncio.gather(*(session.connection.close(code) for session in self.sessions))

    def send(self, *frames: NodeFrame) -> None:
        """Send frames to everybody."""
        for session in self.log.followers:
            if session.node is self:
                session.send(*frames)

    def codes(self) -> list[int | None]:
        """Return the close codes of all connections so far; None while open."""
        return [session.connection.close_code for session in self.sessions]

    def ping(self) -> None:
        """Ask everybody whether they are there."""
        self.send(Ping(ts=1))

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End everything."""
        if self._server is not None:
            await self.kill()
        for session in self.sessions:
            session.connection.transport.abort()

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes += 1
        if self.retry_after is None:
            return None
        response = connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no room\n")
        response.headers["Retry-After"] = self.retry_after
        return response

    async def _serve(self, connection: ServerConnection) -> None:
        session = FakeSession(self, connection)
        self.sessions.append(session)
        await session.run()


async def eventually(condition: Callable[[], bool], *, within_s: float = 60.0, look_s: float = 0.01) -> None:
    """Let virtual time pass until `condition` holds.

    Raises:
        TimeoutError: it never did.

    """
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # Time is virtual, and a condition is simpler than an event for each.
            await asyncio.sleep(look_s)
