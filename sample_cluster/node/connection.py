"""One client's connection: what it may say, and what is done about it.

Theory of operation. The library's handler task is the read pump: it takes one WebSocket frame after the other and
handles each without waiting for anything. What has to wait (a replay from the log, a channel that is followed for the
first time) is a task of its own, one per channel at most. Writing has no task at all: `push` queues finished frames,
and the hub calls `flush` once per turn of the loop. The queue is bounded; who does not read is closed with 4001.

Frames are written straight to the transport, past the library, which would encode and mask-check each of them for
each connection again; it offers no way to send a finished frame. That is safe because we negotiate no extension and
never fragment, and because control frames of the library are whole frames as well.
"""

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, assert_never

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from sample_cluster.codecs.json import DATA_MAX, FRAME_MAX, decode_client, encode, encode_data
from sample_cluster.config import Profile
from sample_cluster.core.feed import Break, Feed, follow
from sample_cluster.core.heartbeat import Heartbeat, Missed, SendPing
from sample_cluster.core.messages import (
    Ack,
    Auth,
    ClientFrame,
    Error,
    Frame,
    GoAway,
    GoAwayReason,
    Hello,
    Limits,
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
from sample_cluster.core.window import FRAMES_MAX, Outbound
from sample_cluster.errors import RemoteProtocolError, StoreUnavailableError
from sample_cluster.node.credentials import Credentials, message_id
from sample_cluster.node.feed import Feeds
from sample_cluster.node.hub import Hub, wire, wire_message
from sample_cluster.node.store import Append, Appended, AppendOutcome, NotNow, Store
from wsmon.agent.cancellation import obey_cancellation
from wsmon.protocol.events import EventBody, HeartbeatMissed, ZombieRefused

log = logging.getLogger(__name__)

DONE: Final = 1000
INTERNAL_ERROR: Final = 1011
RESTART: Final = 1012
SLOW_CONSUMER: Final = 4001
HEARTBEAT_LOST: Final = 4002
PROTOCOL_ERROR: Final = 4501
TAKEN_OVER: Final = 4502
BAD_CREDENTIALS: Final = 4503
CLOSE_WITHIN_S: Final = 1.0
"""A peer that does not answer our close for this long is cut."""
TRANSPORT_BYTES: Final = 64 * 1024
"""With this much unsent in the transport, the rest waits in the bounded queue."""
WRITE_MOST: Final = 256 * 1024
ACK_MS: Final = 1_000
CHANNELS_MOST: Final = 256
"""Channels of one connection."""
UNANSWERED_MOST: Final = 1_024
"""Publishes of one connection that wait for the log."""
TAIL_MOST: Final = 256
"""Messages handed over in one step when a replay reaches the present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all connections of a node share."""

    node: str
    boot: int
    profile: Profile
    hub: Hub
    feeds: Feeds
    store: Store
    credentials: Credentials
    emit: Callable[[EventBody], object]


@dataclass(slots=True)
class _Subscription:
    """One channel of one connection."""

    acked: int = 0
    feed: Feed | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    """Runs until the subscription is attached to its feed."""


class ClientConnection:
    """One accepted connection. `serve` until it is closed."""

    def __init__(self, name: str, socket: ServerConnection, services: Services) -> None:
        self.name = name
        self.session = ""
        self.attempt = 0
        self.since = time.time()
        self._socket = socket
        self._services = services
        self._hub = services.hub
        self._loop = asyncio.get_running_loop()
        self._outbound = Outbound()
        self._marked = False
        self._room = asyncio.Event()
        self._beat = Heartbeat(services.profile.client_ping, now=self._loop.time())
        self._timer = self._loop.call_later(services.profile.hello_timeout_s, self._no_hello)
        self._subscriptions: dict[str, _Subscription] = {}
        self._forwarded: dict[str, int] = {}
        """Channel → cseq that went to the log last; see append.lua."""
        self._unanswered = 0
        self._closing: asyncio.Task[None] | None = None
        self._close_code: int | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels that are subscribed."""
        return tuple(self._subscriptions)

    @property
    def unacked(self) -> int:
        """Return how many messages were delivered or queued and not acknowledged yet."""
        return sum(
            max(0, item.feed.position.seq - item.acked)
            for item in self._subscriptions.values()
            if item.feed is not None and item.feed.position is not None
        )

    async def serve(self) -> None:
        """Read until the connection is closed, then clean up."""
        try:
            async for message in self._socket:
                self._hub.bytes_in += len(message)
                if not isinstance(message, str):
                    raise RemoteProtocolError("a binary frame on a JSON connection")
                for frame in decode_client(message):
                    self._handle(frame)
                    if self._closing is not None:
                        break
        except ConnectionClosed:
            pass
        except RemoteProtocolError as error:
            log.info("%s broke the protocol: %s", self.name, error)
            self.close(error.code, error.message)
        finally:
            await self._clean_up()

    def send(self, frame: Frame) -> None:
        """Queue a frame."""
        self.push(wire(encode(frame)))

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
        if self._outbound.roomy:
            self._room.set()
        self._marked = len(self._outbound) > 0
        return self._marked

    def close(self, code: int, reason: str) -> None:
        """Close with `code`; what is queued goes out first if the transport takes it. Does not wait."""
        if self._closing is None:
            self._close_code = code
            self.flush()
            self._outbound.clear()
            self._closing = self._loop.create_task(self._close(code, reason), name=f"close-{self.name}")

    def go_away(self, reason: GoAwayReason, *, deadline_s: float) -> None:
        """Ask the client to leave."""
        self.send(
            GoAway(
                reason=reason, retry_ms=0, spread_ms=0, deadline_ms=max(0, round(deadline_s * 1_000)), handover=False
            )
        )

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._socket.close(code, reason[:100])
        except TimeoutError:
            self._socket.transport.abort()

    async def _clean_up(self) -> None:
        self._timer.cancel()
        self._hub.leave(self)
        tasks = [item.task for item in self._subscriptions.values() if item.task is not None]
        for channel in [*self._subscriptions]:
            self._drop(channel)
        if self._closing is not None:
            tasks.append(self._closing)
        await asyncio.gather(*tasks, return_exceptions=True)
        code = self._close_code if self._close_code is not None else self._socket.close_code
        self._hub.closes[code or 1006] += 1

    # What the client says.

    def _handle(self, frame: ClientFrame | UnknownFrame) -> None:
        if not self.session and not isinstance(frame, Hello | Resume):
            raise RemoteProtocolError("the first frame has to be hello or resume")
        match frame:
            case Publish():
                self._publish(frame)
            case Ack(acks=acks):
                for channel, seq in acks.items():
                    item = self._subscriptions.get(channel)
                    if item is not None:
                        item.acked = max(item.acked, seq)
            case Pong():
                self._beat.pong()
            case Subscribe(id=request, channel=channel, start=start):
                self._subscribe(channel, start, request)
            case Unsubscribe(id=request, channel=channel):
                self._drop(channel)
                self.send(Unsubscribed(id=request, channel=channel))
            case Hello() | Resume() if self.session:
                raise RemoteProtocolError(f"a second {type(frame).__name__.lower()}")
            case Hello():
                self._welcome(self._services.credentials.issue(), attempt=1)
            case Resume():
                self._resume(frame)
            case Auth():
                pass  # No credentials are required yet, so fresh ones change nothing.
            case UnknownFrame(type=kind):
                self.send(Error(code="unknown_type", message=f"no frame of type {kind[:32]!r} in this version"))
            case _:
                assert_never(frame)

    def _welcome(self, session: str, *, attempt: int, resumed: tuple[str, ...] = ()) -> None:
        self.session = session
        self.attempt = attempt
        self._hub.join(self)
        profile = self._services.profile
        self.send(
            Welcome(
                session=session,
                secret=self._services.credentials.secret(session),
                attempt=attempt,
                node=self._services.node,
                boot=self._services.boot,
                timings=Timings(
                    ping_ms=round(profile.client_ping.interval_s * 1_000),
                    pong_ms=round(profile.client_ping.timeout_s * 1_000),
                    misses=profile.client_ping.failures,
                    resume_ttl_ms=round(profile.resume_ttl_s * 1_000),
                    ack_ms=ACK_MS,
                ),
                limits=Limits(max_frame=FRAME_MAX, max_data=DATA_MAX, window=FRAMES_MAX),
                reconnect=Reconnect(
                    spread_ms=round(profile.reconnect.spread_s * 1_000),
                    base_ms=round(profile.reconnect.base_s * 1_000),
                    factor=profile.reconnect.factor,
                    cap_ms=round(profile.reconnect.cap_s * 1_000),
                    jitter=profile.reconnect.jitter,
                    stable_ms=round(profile.reconnect.stable_s * 1_000),
                ),
                resumed=resumed,
            )
        )
        self._timer.cancel()
        self._beat = Heartbeat(profile.client_ping, now=self._loop.time())
        self._timer = self._loop.call_at(self._beat.deadline, self._tick)

    def _resume(self, frame: Resume) -> None:
        """Take a session up again. Every position is a subscription; one that cannot be continued gets a `resync`."""
        if not self._services.credentials.check(frame.session, frame.secret):
            self.close(BAD_CREDENTIALS, "no session of this cluster, or not its secret")
            return
        other = self._hub.sessions.get(frame.session)
        if isinstance(other, ClientConnection):
            if frame.attempt <= other.attempt:
                self.send(Error(code="stale_attempt", message=f"attempt {other.attempt} has resumed this session"))
                self.close(TAKEN_OVER, "stale attempt")
                self._services.emit(ZombieRefused(node=self._services.node, reason="stale attempt to resume"))
                return
            other.close(TAKEN_OVER, "resumed by another connection")
        self._welcome(frame.session, attempt=frame.attempt, resumed=tuple(frame.positions))
        for channel, position in frame.positions.items():
            self._subscribe(channel, position, None)

    def _publish(self, frame: Publish) -> None:
        self._hub.messages_in += 1
        data = encode_data(frame.data)
        if len(data.encode()) > DATA_MAX:
            self._refuse(frame, "too_big", f"data is larger than {DATA_MAX} bytes")
            return
        if frame.encoding is not None and not _is_base64(frame):
            self._refuse(frame, "bad_encoding", "encoding is not base64, or data is not in it")
            return
        forwarded = self._forwarded.get(frame.channel, 0)
        request = Append(
            channel=frame.channel,
            session=self.session,
            cseq=frame.cseq,
            # Whoever goes back sends everything again, in order: nothing stands before the first of them.
            after=forwarded if frame.cseq > forwarded else 0,
            id=message_id(self.session, frame.channel, frame.cseq),
            ts=time.time_ns() // 1_000_000,
            data=data,
            encoding=frame.encoding,
            done=partial(self._appended, frame),
        )
        self._forwarded[frame.channel] = frame.cseq
        if len(self._forwarded) > CHANNELS_MOST:
            del self._forwarded[next(iter(self._forwarded))]
        if self._unanswered >= UNANSWERED_MOST or not self._services.store.append(request):
            self._refuse(frame, "overload", "too many messages wait for the log", temporary=True)
            return
        self._unanswered += 1

    def _appended(self, frame: Publish, outcome: AppendOutcome) -> None:
        self._unanswered -= 1
        match outcome:
            case Appended(seq=seq, dup=dup):
                # No replica is asked: none is known to have it.
                replicas = 0 if frame.level == "safe" else None
                self.send(Published(channel=frame.channel, cseq=frame.cseq, seq=seq, dup=dup, replicas=replicas))
            case NotNow(code=code, message=message):
                self._refuse(frame, code, message, temporary=True)

    def _refuse(self, frame: Publish, code: str, message: str, *, temporary: bool = False) -> None:
        retry_ms = round(self._services.profile.reconnect.base_s * 1_000) if temporary else None
        self.send(
            Error(
                code=code,
                message=message,
                temporary=temporary,
                retry_ms=retry_ms,
                channel=frame.channel,
                cseq=frame.cseq,
            )
        )

    # Subscriptions.

    def _subscribe(self, channel: str, start: Position | Literal["now", "start"], request: int | None) -> None:
        """Answer at once if the feed's ring has what is missing, else begin a replay."""
        self._drop(channel)
        if len(self._subscriptions) >= CHANNELS_MOST:
            self.send(
                Error(code="too_many_channels", message=f"{CHANNELS_MOST} are the limit", id=request, channel=channel)
            )
            return
        item = self._subscriptions[channel] = _Subscription()
        item.task = self._loop.create_task(
            self._catch_up(channel, item, start, request), name=f"replay-{self.name}-{channel}"
        )

    def _drop(self, channel: str) -> None:
        item = self._subscriptions.pop(channel, None)
        if item is None:
            return
        self._hub.detach(channel, self)
        if item.task is not None:
            item.task.cancel()
        if item.feed is not None:
            self._services.feeds.release(channel)

    async def _catch_up(
        self, channel: str, item: _Subscription, start: Position | Literal["now", "start"], request: int | None
    ) -> None:
        """Bring the subscription from `start` to the present and attach it to its feed."""
        try:
            item.feed = feed = await self._services.feeds.use(channel)
            assert feed.position is not None
            if isinstance(start, Position):
                position = start
            else:
                position = feed.position if start == "now" else await self._log_start(channel)
            await self._replay(item, feed, position, request)
            item.task = None
        except StoreUnavailableError as error:
            self._subscriptions.pop(channel, None)
            self.send(Error(code="too_many_channels", message=error.message, id=request, channel=channel))
        except Exception:  # A task ends here: the client must not wait for what will never come.
            log.exception("%s cannot follow %s", self.name, channel)
            self.close(INTERNAL_ERROR, "internal error")

    async def _log_start(self, channel: str) -> Position:
        while True:
            obey_cancellation()
            try:
                return (await self._services.store.read(channel, after=0, most=1)).start
            except StoreUnavailableError:
                await self._pause()

    async def _replay(self, item: _Subscription, feed: Feed, position: Position, request: int | None) -> None:
        """Send everything after `position`, at the client's pace, until the feed itself can take over."""
        channel, feeds = feed.channel, self._services.feeds
        assert feed.position is not None
        history_end = feed.position.seq
        answered = False
        while True:
            obey_cancellation()
            found = feed.tail(position)
            attach = found is not None and len(found) <= TAIL_MOST
            if found is None:
                try:
                    page = await self._services.store.read(channel, after=position.seq)
                    continued = follow(position, page)
                    if isinstance(continued, Break):
                        target = await feeds.restart_of(channel, position, continued)
                        self.send(target)
                        position = target.position
                        continue
                except StoreUnavailableError:
                    await self._pause()
                    continue
                found = continued
                history_end = history_end if answered else max(history_end, page.top)
            if not answered:
                answered = True
                item.acked = position.seq
                if request is not None:
                    missing = max(0, history_end - position.seq)
                    self.send(Subscribed(id=request, channel=channel, position=position, replay=missing))
            for entry in found if attach else found[:TAIL_MOST]:
                self.push(wire_message(channel, entry, replay=entry.seq <= history_end))
                self._hub.messages_out += 1
                position = Position(epoch=position.epoch, seq=entry.seq, nonce=entry.nonce)
            if attach:
                # Nothing was awaited since the tail was taken: what the feed takes next is delivered by the hub.
                self._hub.attach(channel, self)
                return
            if not found:
                # The log ends here and the feed has not come that far.
                feed.doubt(feed.state)
                await asyncio.shield(feeds.catch_up(feed))
                if not feeds.connected:
                    await self._pause()
            await self._until_roomy()

    async def _until_roomy(self) -> None:
        while not self._outbound.roomy:
            self._room.clear()
            await self._room.wait()

    async def _pause(self) -> None:
        await asyncio.sleep(self._services.profile.reconnect.base_s)

    # Time.

    def _no_hello(self) -> None:
        self.close(PROTOCOL_ERROR, "no hello")

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


def _is_base64(frame: Publish) -> bool:
    if frame.encoding != "base64" or not isinstance(frame.data, str):
        return False
    try:
        base64.b64decode(frame.data, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
