"""One client's connection: the shell around `core.session`.

Theory of operation. The library's handler task is the read pump: it takes one WebSocket frame after the other and
handles each without waiting for anything. What has to wait (a claim, a page of the log, a channel that is followed for
the first time) is reported to the session when it has come. Writing has no task at all: `push` queues finished
frames, and the hub calls `flush` once per turn of the loop. What a client does not acknowledge is bounded by the
session's window, everything else by the queue.

Frames are written straight to the transport, past the library, which would encode and mask-check each of them for
each connection again; it offers no way to send a finished frame. That is safe because we negotiate no extension and
never fragment, and because control frames of the library are whole frames as well.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, assert_never

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from sample_cluster.codecs import Codec, codec_for, data_size
from sample_cluster.codecs.limits import DATA_MAX
from sample_cluster.codecs.payload import encode_data
from sample_cluster.config import Profile
from sample_cluster.core.catch_up import PAGE_ENTRIES
from sample_cluster.core.claim import Claimed
from sample_cluster.core.feed import Entry
from sample_cluster.core.heartbeat import Heartbeat, Missed, SendPing
from sample_cluster.core.messages import (
    ClientFrame,
    Error,
    Frame,
    GoAway,
    GoAwayReason,
    Hello,
    Ping,
    Pong,
    Publish,
    Published,
    Resync,
    Rewind,
    UnknownFrame,
)
from sample_cluster.core.rate_limit import Permit, RateLimiter, RateLimits
from sample_cluster.core.session import (
    Attach,
    CatchUp,
    Claim,
    Close,
    Cursor,
    Deliver,
    Detach,
    Effect,
    Follow,
    Phase,
    Read,
    Release,
    Send,
    Session,
    Source,
    Terms,
    Welcomed,
    Zombie,
)
from sample_cluster.core.window import Outbound
from sample_cluster.errors import RemoteProtocolError, StoreUnavailableError
from sample_cluster.node.credentials import Credentials, message_id
from sample_cluster.node.feed import Feeds
from sample_cluster.node.hub import Hub, wire
from sample_cluster.node.sessions import Sessions
from sample_cluster.node.store import Append, Appended, AppendOutcome, NotNow, Store
from wsmon.protocol.events import EventBody, HeartbeatMissed, ZombieRefused

log = logging.getLogger(__name__)

DONE: Final = 1000
INTERNAL_ERROR: Final = 1011
RESTART: Final = 1012
SLOW_CONSUMER: Final = 4001
HEARTBEAT_LOST: Final = 4002
PROTOCOL_ERROR: Final = 4501
TAKEN_OVER: Final = 4502
CLOSE_WITHIN_S: Final = 1.0
"""A peer that does not answer our close for this long is cut."""
TRANSPORT_BYTES: Final = 64 * 1024
"""With this much unsent in the transport, the rest waits in the bounded queue."""
WRITE_MOST: Final = 256 * 1024
UNANSWERED_MOST: Final = 1_024
"""Publishes of one connection that wait for the log."""
REPAIR_RETRY_MS: Final = 250
"""A log that is being repaired is worth another try soon."""
CATCH_UP_PAUSE_S: Final = 0.1
CLIENT_LONGEST: Final = 64
"""Characters of a client's name that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all connections of a node share."""

    terms: Terms
    profile: Profile
    hub: Hub
    feeds: Feeds
    store: Store
    sessions: Sessions
    credentials: Credentials
    emit: Callable[[EventBody], object]
    limits: RateLimits = RateLimits()  # noqa: RUF009  # Frozen.


class ClientConnection:
    """One accepted connection. `serve` until it is closed."""

    def __init__(self, number: int, socket: ServerConnection, services: Services) -> None:
        """`number` is this connection's alone as long as the process lives."""
        self.number = number
        self.name = f"{services.terms.node}-{number}"
        self.client = ""
        """The name that the client gave itself; one that resumes a session gives none."""
        self.address = _address(socket)
        """The peer's: behind a gateway, the gateway's."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.since = time.time()
        self.boot = services.terms.boot
        self.codec: Codec = codec_for(socket.subprotocol)
        self.protocol = Session(services.terms, services.credentials)
        self.snapshot_at = 0.0
        """When a snapshot of the session was written last, by the loop's clock."""
        self._socket = socket
        self._services = services
        self._hub = services.hub
        self._loop = asyncio.get_running_loop()
        self._outbound = Outbound()
        self._marked = False
        now = self._loop.time()
        self._beat = Heartbeat(services.profile.client_ping, now=now)
        self._timer = self._loop.call_later(services.profile.hello_timeout_s, self._no_hello)
        self._look_timer: asyncio.TimerHandle | None = None
        self._limiter = RateLimiter(services.limits, now=now)
        self._told_of_bytes_at = -1.0
        self._unanswered = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._carrying_out = False
        self._closing: asyncio.Task[None] | None = None
        self._close_code: int | None = None

    @property
    def session(self) -> str:
        """Return the session's id, empty before the hello."""
        return self.protocol.id

    @property
    def attempt(self) -> int:
        """Return the attempt with which the session was claimed."""
        return self.protocol.attempt

    @property
    def closing(self) -> bool:
        """Whether the connection is being closed."""
        return self._closing is not None

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels that are subscribed."""
        return tuple(self.protocol.cursors)

    @property
    def unacked(self) -> int:
        """Return how many messages were delivered or queued and not acknowledged yet."""
        return self.protocol.window.in_flight

    async def serve(self) -> None:
        """Read until the connection is closed, then clean up."""
        try:
            async for message in self._socket:
                self._hub.bytes_in += len(message)
                self.bytes_in += len(message)
                wait_s = self._received(len(message))
                for frame in self.codec.decode_client(message):
                    self._handle(frame)
                    if self._closing is not None:
                        break
                if wait_s > 0:
                    # Whatever else the client has sent waits in its own socket.
                    await asyncio.sleep(wait_s)
        except ConnectionClosed:
            pass
        except RemoteProtocolError as error:
            log.info("%s broke the protocol: %s", self.name, error)
            self.close(error.code, error.message)
        finally:
            await self._clean_up()

    def send(self, frame: Frame) -> None:
        """Queue a frame."""
        self.push(wire(self.codec.encode(frame), binary=self.codec.binary))

    def push(self, frame: bytes) -> None:
        """Queue a finished frame; a connection without room for it is closed."""
        if self._closing is not None:
            return
        if not self._outbound.put(frame):
            log.info("%s does not read: %d frames wait", self.name, len(self._outbound))
            self.close(SLOW_CONSUMER, "slow consumer")
        elif not self._marked:
            self._marked = True
            self._hub.mark(self)

    def flush(self) -> bool:
        """Write what is queued; return whether some of it has to wait for the transport."""
        self._marked = False
        transport = self._socket.transport
        if self._socket.state is not State.OPEN or transport.is_closing():
            self._outbound.clear()
            return False
        if transport.get_write_buffer_size() < TRANSPORT_BYTES:
            written = self._outbound.take(WRITE_MOST)
            transport.write(written)
            self._hub.bytes_out += len(written)
            self.bytes_out += len(written)
        self._marked = len(self._outbound) > 0
        return self._marked

    def close(self, code: int, reason: str) -> None:
        """Close with `code`; what is queued goes out first if the transport takes it. Does not wait."""
        if self._closing is None:
            self._close_code = code
            self.flush()
            self._outbound.clear()
            self._closing = self._loop.create_task(self._close(code, reason), name=f"close-{self.name}")
            self.protocol.ended()
            self._carry_out()

    def let_go(self, patience_s: float) -> None:
        """Close soon, because another connection owns the session: the client may do so first."""
        self._loop.call_later(patience_s, self._taken_over)

    def _taken_over(self) -> None:
        if self.protocol.phase is not Phase.CLOSED:
            self.close(TAKEN_OVER, "resumed by another connection")

    def go_away(self, reason: GoAwayReason, *, deadline_s: float) -> None:
        """Ask the client to leave; if there is time, by opening its next connection before it closes this one."""
        deadline_ms = max(0, round(deadline_s * 1_000))
        handover = reason in {GoAwayReason.DRAIN, GoAwayReason.OVERLOAD}
        self.send(GoAway(reason=reason, retry_ms=0, spread_ms=0, deadline_ms=deadline_ms, handover=handover))

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._socket.close(code, reason[:100])
        except TimeoutError:
            self._socket.transport.abort()

    async def _clean_up(self) -> None:
        self._timer.cancel()
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self.session in self._hub.sessions and self._hub.sessions[self.session] is self:
            self._services.sessions.farewell(self, self._loop.time())
        self.protocol.ended()
        self._carry_out()
        self._hub.retransmits += self.protocol.retransmits
        self._hub.leave(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._closing is not None:
            await asyncio.gather(self._closing, return_exceptions=True)
        code = self._close_code if self._close_code is not None else self._socket.close_code
        self._hub.closes[code or 1006] += 1

    # What the client says.

    def _received(self, size: int) -> float:
        """Count bytes against the limit; return for how long nothing more is read."""
        now = self._loop.time()
        match self._limiter.received(size, now):
            case Permit.GRANTED:
                return 0.0
            case Permit.ABUSE:
                raise RemoteProtocolError("rate")
            case Permit.LATER:
                if now - self._told_of_bytes_at > 1.0:
                    self._told_of_bytes_at = now
                    retry_ms = round(self._limiter.wait_s * 1_000)
                    message = "more bytes than this node takes from one connection"
                    self.send(Error(code="rate_limited", message=message, temporary=True, retry_ms=retry_ms))
                return self._limiter.wait_s

    def _handle(self, frame: ClientFrame | UnknownFrame) -> None:
        if self.protocol.phase is Phase.SERVING:
            match frame:
                case Publish():
                    self._publish(frame)
                    return
                case Pong():
                    self._beat.pong()
                    return
                case _:
                    pass
        elif isinstance(frame, Hello):
            self.client = frame.client.get("name", "")[:CLIENT_LONGEST]
        self.protocol.receive(frame, self._loop.time())
        self._carry_out()

    def claimed(self, result: Claimed) -> None:
        """Take the answer to a claim."""
        self.protocol.claimed(result, self._loop.time())
        self._carry_out()

    def sweep(self, now: float) -> None:
        """Look after what waits for a long time."""
        self.protocol.sweep(now)
        self._carry_out()

    # Publishing.

    def _publish(self, frame: Publish) -> None:
        self._hub.messages_in += 1
        data = encode_data(frame.data)
        size = len(data.encode()) if frame.encoding is None else data_size(frame.data, frame.encoding)
        if size is None:
            self._refuse(frame, "bad_encoding", "encoding is not base64, or data is not in it")
            return
        if size > DATA_MAX:
            self._refuse(frame, "too_big", f"data is larger than {DATA_MAX} bytes")
            return
        after = self.protocol.forward(frame)
        match self._limiter.publish(self._loop.time()):
            case Permit.ABUSE:
                raise RemoteProtocolError("rate")
            case Permit.LATER:
                retry_ms = round(self._limiter.wait_s * 1_000)
                self._refuse(frame, "rate_limited", "more publishes than this node takes", retry_ms=retry_ms)
                return
            case Permit.GRANTED:
                pass
        request = Append(
            channel=frame.channel,
            session=self.session,
            cseq=frame.cseq,
            after=after,
            id=message_id(self.session, frame.channel, frame.cseq),
            ts=time.time_ns() // 1_000_000,
            data=data,
            encoding=frame.encoding,
            done=partial(self._appended, frame),
            level=frame.level,
        )
        if self._unanswered >= UNANSWERED_MOST or not self._services.store.append(request):
            self._refuse(frame, "overload", "too many messages wait for the log", retry_ms=self._retry_ms)
            return
        self._unanswered += 1

    def _appended(self, frame: Publish, outcome: AppendOutcome) -> None:
        self._unanswered -= 1
        match outcome:
            case Appended(seq=seq, dup=dup, replicas=replicas):
                self.send(Published(channel=frame.channel, cseq=frame.cseq, seq=seq, dup=dup, replicas=replicas))
            case NotNow(code=code, message=message, soon=soon):
                retry_ms = min(REPAIR_RETRY_MS, self._retry_ms) if soon else self._retry_ms
                self._refuse(frame, code, message, retry_ms=retry_ms)

    @property
    def _retry_ms(self) -> int:
        return round(self._services.profile.reconnect.base_s * 1_000)

    def _refuse(self, frame: Publish, code: str, message: str, *, retry_ms: int | None = None) -> None:
        """Refuse a publish: for good, or with advice when to send it again."""
        self.send(
            Error(
                code=code,
                message=message,
                temporary=retry_ms is not None,
                retry_ms=retry_ms,
                channel=frame.channel,
                cseq=frame.cseq,
            )
        )

    # What the session wants done.

    def _carry_out(self) -> None:
        """Carry out the session's effects, those of the effects included."""
        if self._carrying_out:
            return  # Further up: the loop there takes what was added.
        self._carrying_out = True
        try:
            while effects := self.protocol.take():
                for effect in effects:
                    self._do(effect)
        finally:
            self._carrying_out = False
        try:
            for frame in self.protocol.take_early():
                self._handle(frame)
        except RemoteProtocolError as error:
            self.close(error.code, error.message)
        self._watch_deadline()

    def _do(self, effect: Effect) -> None:
        services = self._services
        match effect:
            case Send(frame=frame):
                self.send(frame)
            case Deliver(channel=channel, entries=entries, replay_to=replay_to):
                codec = self.codec
                for entry in entries:
                    payload = codec.encode_message(channel, entry, replay=entry.seq <= replay_to)
                    self.push(wire(payload, binary=codec.binary))
                self._hub.messages_out += len(entries)
            case Claim(new=new):
                services.sessions.claim(self, new=new)
            case Follow(cursor=cursor):
                self._follow(cursor)
            case Release(cursor=cursor):
                if cursor.followed:
                    cursor.followed = False
                    services.feeds.release(cursor.channel)
            case Attach(cursor=cursor):
                self._hub.attach(cursor, self)
            case Detach(cursor=cursor):
                self._hub.detach(cursor.channel, self)
            case Read(cursor=cursor, after=after, most=most):
                self._run(self._read(cursor, after, most), f"page-{self.name}")
            case CatchUp(cursor=cursor):
                self._run(self._catch_up(cursor), f"catch-up-{self.name}")
            case Welcomed(resumed=resumed):
                self._welcomed(resumed=resumed)
            case Zombie(reason=reason):
                services.emit(ZombieRefused(node=services.terms.node, reason=reason))
            case Close(code=code, reason=reason):
                self.close(code, reason)
            case _:
                assert_never(effect)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A task ends here: the client must not wait for what will never come.
            log.error("%s cannot be served", self.name, exc_info=task.exception())
            self.close(INTERNAL_ERROR, "internal error")

    def _welcomed(self, *, resumed: bool) -> None:
        self._timer.cancel()
        now = self._loop.time()
        self.snapshot_at = now
        self._beat = Heartbeat(self._services.profile.client_ping, now=now)
        self._timer = self._loop.call_at(self._beat.deadline, self._tick)
        if resumed:
            sources = self.protocol.sources()
            self._hub.resumes[max(sources, key=[*Source].index) if sources else Source.RING] += 1
        self._hub.join(self)

    def _follow(self, cursor: Cursor) -> None:
        feeds = self._services.feeds
        try:
            feed = feeds.use(cursor.channel)
        except StoreUnavailableError as error:
            self.protocol.refused_channel(cursor, error.message, self._loop.time())
            return
        cursor.followed = True
        if feed.position is not None:
            self.protocol.followed(cursor, feed, self._loop.time())
        else:
            self._run(self._await_feed(cursor), f"follow-{self.name}")

    async def _await_feed(self, cursor: Cursor) -> None:
        feed = await self._services.feeds.ready(cursor.channel)
        self.protocol.followed(cursor, feed, self._loop.time())
        self._carry_out()

    async def _read(self, cursor: Cursor, after: int, most: int | None) -> None:
        store = self._services.store
        try:
            page = await store.read(cursor.channel, after=after, most=PAGE_ENTRIES if most is None else most)
        except StoreUnavailableError as error:
            log.info("%s: %s", self.name, error)
            self.protocol.unreadable(cursor, self._loop.time())
        else:
            self.protocol.page(cursor, page, self._loop.time())
        self._carry_out()

    async def _catch_up(self, cursor: Cursor) -> None:
        """Bring the feed to the end of the log, which a cursor has reached before it."""
        feeds, feed = self._services.feeds, cursor.feed
        assert feed is not None
        feed.doubt(feed.state)
        await asyncio.wait([feeds.catch_up(feed)])
        if feed.behind:
            await asyncio.sleep(CATCH_UP_PAUSE_S)
        self.protocol.look(cursor, self._loop.time())
        self._carry_out()

    # What the feeds bring.

    def offer(self, cursor: Cursor, entry: Entry, size: int, now: float) -> bool:
        """Say whether the next entry of a live cursor is to be pushed."""
        return self.protocol.offer(cursor, entry, size, now)

    def jumped(self, cursor: Cursor, told: Resync | Rewind) -> None:
        """Tell the client of a live cursor that the channel goes on elsewhere."""
        self.protocol.jumped(cursor, told)
        self._carry_out()

    # Time.

    def _no_hello(self) -> None:
        if self.protocol.phase is Phase.OPENING:
            self.close(PROTOCOL_ERROR, "no hello")

    def _watch_deadline(self) -> None:
        """Wake up when the session wants to; too early does no harm."""
        deadline = self.protocol.deadline
        if deadline == math.inf:
            return
        if self._look_timer is not None:
            if self._look_timer.when() <= deadline:
                return
            self._look_timer.cancel()
        self._look_timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._look_timer = None
        self.protocol.tick(self._loop.time())
        self._carry_out()

    def _tick(self) -> None:
        if self._closing is not None:
            return
        match self._beat.tick(self._loop.time()):
            case SendPing():
                self._hub.pings += 1
                self.send(Ping(ts=time.time_ns() // 1_000_000))
            case Missed(count=count, dead=dead):
                self._hub.pings_missed += 1
                needed = self._services.profile.client_ping.failures
                self._services.emit(HeartbeatMissed(connection=self.name, count=count, needed=needed))
                if dead:
                    self._hub.dead += 1
                    self.close(HEARTBEAT_LOST, "heartbeat lost")
                    return
            case None:
                pass
        self._timer = self._loop.call_at(self._beat.deadline, self._tick)


def _address(socket: ServerConnection) -> str:
    """Return `host:port` of the peer, as far as the system tells."""
    peer = socket.remote_address
    if not isinstance(peer, tuple) or len(peer) < 2:
        return ""
    host, port = str(peer[0]), peer[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
