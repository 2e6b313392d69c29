"""A node that speaks just enough of the client protocol, and misbehaves on request. Any number may share one log."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from sample_cluster.codecs.json import SUBPROTOCOL, decode_client, encode
from sample_cluster.core.messages import (
    Ack,
    ClientFrame,
    Error,
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


def nonce(seq: int) -> int:
    """Return the nonce of the entry `seq`; 0 before the first."""
    return seq * 7_919 % 2**32


@dataclass
class FakeLog:
    """What is in the cluster's logs, with deduplication by session."""

    entries: dict[str, list[Message]] = field(default_factory=dict)
    taken: dict[tuple[str, str, int], int] = field(default_factory=dict)
    followers: list["FakeSession"] = field(default_factory=list)

    def position(self, channel: str) -> Position:
        """Return the end of a channel."""
        seq = len(self.entries.get(channel, []))
        return Position(epoch=EPOCH, seq=seq, nonce=nonce(seq))

    def append(self, channel: str, data: Json, *, tell: bool = True) -> Message:
        """Append an entry; without `tell` the followers miss it, as if the fast path had dropped it."""
        entries = self.entries.setdefault(channel, [])
        seq = len(entries) + 1
        message = Message(
            channel=channel, seq=seq, nonce=nonce(seq), prev=nonce(seq - 1), id=f"m{seq}", ts=0, data=data
        )
        entries.append(message)
        if tell:
            for follower in self.followers:
                if channel in follower.channels:
                    follower.send(message)
        return message


class FakeSession:
    """One connection of a fake node."""

    def __init__(self, node: "FakeNode", connection: ServerConnection) -> None:
        self.node = node
        self.connection = connection
        self.session = ""
        self.channels: set[str] = set()
        self.said: list[ClientFrame | UnknownFrame] = []
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def send(self, *frames: NodeFrame) -> None:
        """Send frames, several in one text frame."""
        if not self.node.silent:
            self._queue.put_nowait("\n".join(encode(frame) for frame in frames))

    async def run(self) -> None:
        """Serve until the connection ends."""
        writer = asyncio.get_running_loop().create_task(self._write())
        self.node.log.followers.append(self)
        try:
            async for text in self.connection:
                assert isinstance(text, str)
                for frame in decode_client(text):
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
                await self.connection.send(await self._queue.get())

    def _answer(self, frame: ClientFrame | UnknownFrame) -> None:
        log = self.node.log
        match frame:
            case Hello():
                self.node.sessions_issued += 1
                self._welcome(f"{self.node.name}-{self.node.sessions_issued}", 1)
            case Resume(session=session, attempt=attempt):
                self._welcome(session, attempt)
            case Subscribe(id=request, channel=channel, start=start):
                entries = log.entries.get(channel, [])
                if isinstance(start, Position):
                    position, missed = start, entries[start.seq :]
                else:
                    position, missed = log.position(channel), []
                    if start == "start":
                        position, missed = Position(epoch=EPOCH, seq=0, nonce=0), entries
                self.send(Subscribed(id=request, channel=channel, position=position, replay=len(missed)), *missed)
                self.channels.add(channel)
            case Unsubscribe(id=request, channel=channel):
                self.channels.discard(channel)
                self.send(Unsubscribed(id=request, channel=channel))
            case Publish(channel=channel, cseq=cseq, data=data):
                self._publish(channel, cseq, data)
            case Ack() | Pong() | _:
                pass

    def _welcome(self, session: str, attempt: int) -> None:
        self.session = session
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
            subprotocols=[Subprotocol(SUBPROTOCOL)],
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
