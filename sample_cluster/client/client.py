"""The client library: one logical connection to the cluster over any number of real ones.

Theory of operation. `core.reconnect` decides when to try, `core.subscription` what becomes of a message, and
`core.outbox` keeps what is unanswered; this shell connects, reads and writes for them. One task lives as long as the
client: it waits for the next attempt, connects, reads until the connection ends, and starts over. It comes back into
its session, so that a publish whose answer was lost can be sent again without being written twice, and asks for every
channel again from its own position.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from sample_cluster.client.changes import Asked, Attempted, Back, Change, Failed, Jumped, Lost, Stopped, Welcomed
from sample_cluster.client.link import Link
from sample_cluster.codecs.json import SUBPROTOCOL, decode_node, encode
from sample_cluster.core.backoff import BackoffTiming
from sample_cluster.core.messages import (
    Ack,
    Error,
    GoAway,
    Hello,
    Level,
    Message,
    NodeFrame,
    Notice,
    Ping,
    Pong,
    Position,
    Published,
    Resume,
    Resync,
    Retry,
    Rewind,
    Subscribed,
    UnknownFrame,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from sample_cluster.core.messages import Reconnect as ReconnectNumbers
from sample_cluster.core.outbox import Outbox
from sample_cluster.core.reconnect import Phase, Reconnect
from sample_cluster.core.subscription import Subscription, Verdict
from sample_cluster.errors import LocalProtocolError, PublishRefusedError, RemoteProtocolError
from wsmon.protocol.frames import Json

log = logging.getLogger(__name__)

ACK_EVERY: Final = 32
"""Messages that may stay unacknowledged; a timer of the node's `ack_ms` sees to the rest."""
INBOUND_MAX: Final = 1024 * 1024
CLOSE_TIMEOUT_S: Final = 0.4
BACK_WITHIN_S: Final = 1.0
"""A client counts as back this long after a welcome at the latest, also if the node cannot serve a channel yet."""
QUIESCE_S: Final = 0.25
"""Before leaving a node that asked: patience for the answers to what it was sent."""
RETRY_LEAST_S: Final = 0.05
RETRY_MOST_S: Final = 60.0
RETRY_S: Final = 0.5
"""Wait after a temporary refusal that does not say how long to wait."""
ABNORMAL: Final = 1006
BAD_CREDENTIALS: Final = 4503
RETRIES_TOLD: Final = 16
"""Attempts that a node is told of when it takes the client."""

Handler: TypeAlias = Callable[[Message], None]
"""Gets every message of a channel once, in order. Must not block; what it raises ends the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What a client is told at its start. Timings hold until the first welcome tells the cluster's own."""

    timing: BackoffTiming
    attempt_timeout_s: float = 5.0
    """Patience with one attempt, from the TCP connect to the welcome."""
    unanswered_max: int = 64
    name: str = "python"


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a connection or an attempt ended."""

    outcome: str
    code: int | None = None
    advice_s: float | None = None
    left: bool = False
    """Whether we closed it ourselves, because the node asked us to leave."""


class Client:
    """Use it within one event loop: `start` or `connect`, `subscribe`, `publish`, `close`."""

    def __init__(
        self,
        url: str,
        options: ClientOptions,
        *,
        dice: random.Random | None = None,
        on_change: Callable[[Change], None] | None = None,
        first_delay_s: float = 0.0,
    ) -> None:
        """The first attempt is made `first_delay_s` after `start`. `on_change` must not block."""
        self._url = url
        self._options = options
        self._dice = dice or random.Random()
        self._on_change = on_change
        self._first_delay_s = first_delay_s
        self._way: Reconnect | None = None
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._first = asyncio.Event()
        self._subscriptions: dict[str, Subscription] = {}
        self._handlers: dict[str, Handler] = {}
        self._subscribing: dict[str, asyncio.Future[Position]] = {}
        self._outbox = Outbox(options.unanswered_max)
        self._answers: dict[tuple[str, int], asyncio.Future[Published]] = {}
        self._requests = 0
        self._unacked = 0
        self._ack_due = False
        self._closing = False
        self._session: tuple[str, str] | None = None
        """Id and secret of the session to come back into."""
        self._session_attempt = 1
        """The highest attempt used for it; a node refuses any that is not higher."""
        self._retries: deque[tuple[float, float, str]] = deque(maxlen=RETRIES_TOLD)
        """Failed attempts since the loss: when, after which delay, how it ended."""
        self.welcome: Welcome | None = None
        """The last node's welcome."""
        self.dropped = 0
        """Messages that came twice and were not handed out."""

    @property
    def phase(self) -> Phase:
        """Where the client stands."""
        return Phase.WAITING if self._way is None else self._way.phase

    @property
    def connected(self) -> bool:
        """Whether a node serves the client right now."""
        return self._link is not None

    @property
    def welcomes(self) -> int:
        """How often a node took the client."""
        return 0 if self._way is None else self._way.welcomes

    @property
    def planned(self) -> tuple[float, ...]:
        """The waits that follow the present one if every attempt fails, in seconds."""
        return () if self._way is None else self._way.planned

    @property
    def can_publish(self) -> bool:
        """Whether there is room for one more unanswered publish."""
        return not self._outbox.full and self.phase is not Phase.STOPPED

    def position(self, channel: str) -> Position | None:
        """Return up to where a channel was handed out."""
        subscription = self._subscriptions.get(channel)
        return None if subscription is None else subscription.position

    def start(self) -> None:
        """Begin to connect, and to come back, until `close`."""
        assert self._task is None, "started twice"
        loop = asyncio.get_running_loop()
        self._way = Reconnect(self._options.timing, self._dice, now=loop.time(), first_delay_s=self._first_delay_s)
        self._task = loop.create_task(self._run(self._way), name="client")
        self._task.add_done_callback(_log_failure)

    async def connect(self) -> Welcome:
        """Start, and return the first welcome, however long it takes.

        Raises:
            RemoteProtocolError: a node said never to come back.

        """
        self.start()
        await self._first.wait()
        if self.welcome is None:
            raise RemoteProtocolError("told never to come back")
        return self.welcome

    def subscribe(
        self, channel: str, handler: Handler, *, start: Position | Literal["now", "start"] = "now"
    ) -> asyncio.Future[Position]:
        """Follow a channel for good; the future gives the position at which it begins, once a node told.

        Raises:
            LocalProtocolError: the channel is followed already.

        """
        if channel in self._subscriptions:
            raise LocalProtocolError(f"{channel} is subscribed already")
        self._subscriptions[channel] = Subscription(channel, start)
        self._handlers[channel] = handler
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._subscribing[channel] = future
        if self._link is not None:
            self._ask(self._link, channel)
        return future

    def unsubscribe(self, channel: str) -> None:
        """Follow a channel no more."""
        if self._subscriptions.pop(channel, None) is None:
            return
        del self._handlers[channel]
        future = self._subscribing.pop(channel, None)
        if future is not None:
            future.cancel()
        if self._link is not None:
            self._requests += 1
            self._link.send(Unsubscribe(id=self._requests, channel=channel))

    def publish(self, channel: str, data: Json, *, level: Level = Level.FAST) -> asyncio.Future[Published]:
        """Publish, now or when a node is there again; the future gives the answer, however often it had to be sent.

        The future raises PublishRefusedError if the message is refused for good.

        Raises:
            LocalProtocolError: too many publishes are unanswered (see `can_publish`).

        """
        if not self.can_publish:
            raise LocalProtocolError("too many publishes are unanswered")
        frame = self._outbox.add(channel, data, level=level)
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._answers[channel, frame.cseq] = future
        if self._link is not None and self._link.publishing:
            self._link.send(frame)
        return future

    async def close(self) -> None:
        """Leave the cluster with 1000, within about half a second. What is unanswered is cancelled."""
        self._closing = True
        if self._link is not None:
            await self._link.connection.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for answer in self._answers.values():
            answer.cancel()
        for subscribed in self._subscribing.values():
            subscribed.cancel()

    # The life of the client.

    async def _run(self, way: Reconnect) -> None:
        clock = asyncio.get_running_loop().time
        while way.phase is not Phase.STOPPED:
            await asyncio.sleep(max(0.0, way.deadline - clock()))
            attempt = way.started(clock())
            self._tell(Attempted(attempt=attempt))
            ended = await self._attempt(way)
            if self._closing:
                return
            if way.phase is Phase.ATTEMPTING:
                self._tell(Failed(attempt=attempt, outcome=ended.outcome))
                self._retries.append((clock(), way.wait.delay_s, ended.outcome))
                wait = way.failed(clock(), code=ended.code, advice_s=ended.advice_s)
            elif not ended.left:
                assert self.welcome is not None
                code = ABNORMAL if ended.code is None else ended.code
                self._tell(Lost(node=self.welcome.node, code=code))
                wait = way.lost(clock(), code=code)
            else:
                continue
            if wait is None:
                self._stop(ended)
            else:
                self._tell(wait)

    def _stop(self, ended: _Ended) -> None:
        log.warning("told never to come back: %s", ended.outcome)
        self._first.set()
        refusal = PublishRefusedError("stopped", "the client was told never to come back", temporary=False)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(refusal)
        self._tell(Stopped(code=ABNORMAL if ended.code is None else ended.code))

    async def _attempt(self, way: Reconnect) -> _Ended:
        """Connect and stay connected; return how it ended."""
        patience_s = self._options.attempt_timeout_s
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + patience_s
        try:
            connection = await connect(
                self._url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                proxy=None,
                open_timeout=patience_s,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,
                max_size=INBOUND_MAX,
                user_agent_header=None,
            )
        except TimeoutError:
            return _Ended("timeout")
        except InvalidStatus as error:
            response = error.response
            return _Ended(f"http {response.status_code}", advice_s=_retry_after(response.headers.get("Retry-After")))
        except ConnectionRefusedError:
            return _Ended("refused")
        except (OSError, EOFError):
            return _Ended("unreachable")
        except WebSocketException as error:
            # The far end went away during the handshake, or is no WebSocket server.
            return _Ended("reset" if isinstance(error.__cause__, EOFError | OSError) else "bad handshake")
        try:
            try:
                async with asyncio.timeout_at(give_up_at):
                    await connection.send(encode(self._opening()))
                    frames = decode_node(_text(await connection.recv()))
            except TimeoutError:
                return _Ended("timeout")
            match frames:
                case (Welcome() as welcome, *rest):
                    return await self._stay(way, connection, welcome, tuple(rest))
                case (Error() as refusal, *_):
                    return _Ended(f"error {refusal.code}"[:40])
                case _:
                    return _Ended("bad welcome")
        except ConnectionClosed:
            code = _close_code(connection)
            if code == BAD_CREDENTIALS and self._session is not None:
                # The cluster does not know its own signature any more; as nobody in particular we may still come.
                self._session = None
                return _Ended("session refused")
            return _Ended(f"closed {code}", code=code)
        except RemoteProtocolError as error:
            log.warning("the node broke the protocol: %s", error)
            await connection.close(1002)
            return _Ended("bad frame", code=1002)
        finally:
            connection.transport.abort()  # Nothing if it is closed.

    def _opening(self) -> Hello | Resume:
        """Return the first frame of a connection."""
        if self._session is None:
            return Hello(client={"name": self._options.name, "version": "1", "lang": "python"})
        self._session_attempt += 1
        session, secret = self._session
        now = asyncio.get_running_loop().time()
        return Resume(
            session=session,
            secret=secret,
            attempt=self._session_attempt,
            # No positions: every channel is asked for by a subscribe of its own.
            pending={frame.channel: frame.cseq for frame in self._outbox.unanswered()},
            retries=tuple(
                Retry(ago_ms=round((now - at) * 1_000), delay_ms=round(delay_s * 1_000), outcome=outcome)
                for at, delay_s, outcome in self._retries
            ),
        )

    async def _stay(
        self, way: Reconnect, connection: ClientConnection, welcome: Welcome, rest: tuple[NodeFrame | UnknownFrame, ...]
    ) -> _Ended:
        """Serve one connection until it ends."""
        loop = asyncio.get_running_loop()
        link = Link(connection)
        link.node = welcome.node
        link.welcomed_at = link.heard_at = loop.time()
        writer = loop.create_task(link.write(), name="client-write")
        try:
            self._welcomed(way, link, welcome)
            for frame in rest:
                self._take(way, link, frame)
            async for text in connection:
                link.heard_at = loop.time()
                for frame in decode_node(_text(text)):
                    self._take(way, link, frame)
        except ConnectionClosed:
            pass  # The code says it all.
        finally:
            self._link, link.open = None, False
            for subscription in self._subscriptions.values():
                subscription.disconnected()
            writer.cancel()
            if link.closing is not None:
                await asyncio.gather(link.closing, return_exceptions=True)
        code = _close_code(connection)
        return _Ended(f"closed {code}", code=code, left=link.leaving is not None)

    # What a connection begins with.

    def _welcomed(self, way: Reconnect, link: Link, welcome: Welcome) -> None:
        self.welcome = welcome
        self._link = link
        if self._session is None or self._session[0] != welcome.session:
            self._session_attempt = 1
        self._session = (welcome.session, welcome.secret)
        self._retries.clear()
        self._unacked, self._ack_due = 0, False
        timing = _timing(welcome.reconnect)
        if timing is not None:
            way.learn(timing)
        link.away_s = way.welcomed(asyncio.get_running_loop().time())
        link.watch((welcome.timings.ping_ms + welcome.timings.pong_ms) / 1_000)
        self._first.set()
        self._tell(Welcomed(node=welcome.node))
        for channel in self._subscriptions:
            self._ask(link, channel)
        self._send_unanswered(link)
        self._look_back(link)
        link.later(BACK_WITHIN_S, lambda: self._look_back(link, whatever=True))

    def _ask(self, link: Link, channel: str) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is not None:
            self._requests += 1
            link.send(subscription.ask(self._requests))

    def _look_back(self, link: Link, *, whatever: bool = False) -> None:
        """Tell that the client is back once every channel goes on; with `whatever`, also if one does not."""
        if not link.told_back and (whatever or all(item.live for item in self._subscriptions.values())):
            link.told_back = True
            if link.away_s is not None:
                away_s = link.away_s + asyncio.get_running_loop().time() - link.welcomed_at
                self._tell(Back(node=link.node, away_s=away_s, replayed=link.replayed))

    def _send_unanswered(self, link: Link) -> None:
        if link.publishing:
            for frame in self._outbox.unanswered():
                link.send(frame)

    # What a node says.

    def _take(self, way: Reconnect, link: Link, frame: NodeFrame | UnknownFrame) -> None:
        match frame:
            case Message():
                self._take_message(link, frame)
            case Published(channel=channel, cseq=cseq):
                self._settle(link, channel, cseq, frame)
            case Ping(ts=ts):
                link.send(Pong(ts=ts))
            case Subscribed():
                self._subscribed(link, frame)
            case Resync() | Rewind():
                self._jump(frame)
            case GoAway():
                self._asked_to_leave(way, link, frame)
            case Error():
                self._refused(link, frame)
            case Welcome():
                raise RemoteProtocolError("a second welcome")
            case Unsubscribed() | Notice() | UnknownFrame():
                pass

    def _take_message(self, link: Link, message: Message) -> None:
        subscription = self._subscriptions.get(message.channel)
        if subscription is None:
            return  # Unsubscribed meanwhile.
        match subscription.take(message):
            case Verdict.DELIVER:
                self._count_for_ack(link)
                self._handlers[message.channel](message)
            case Verdict.DROP:
                self.dropped += 1
            case Verdict.ASK:
                log.info("%s has a hole before %d: asking again", message.channel, message.seq)
                self._ask(link, message.channel)
            case Verdict.BROKEN:
                raise RemoteProtocolError(f"{message.channel} never continues at {subscription.position}")

    def _count_for_ack(self, link: Link) -> None:
        self._unacked += 1
        if self._unacked >= ACK_EVERY:
            self._ack(link)
        elif not self._ack_due:
            assert self.welcome is not None
            self._ack_due = True
            link.later(self.welcome.timings.ack_ms / 1_000, lambda: self._ack(link, timer=True))

    def _ack(self, link: Link, *, timer: bool = False) -> None:
        if timer:
            self._ack_due = False
        if self._unacked:
            self._unacked = 0
            positions = ((name, item.position) for name, item in self._subscriptions.items())
            link.send(Ack(acks={name: position.seq for name, position in positions if position is not None}))

    def _subscribed(self, link: Link, answer: Subscribed) -> None:
        subscription = self._subscriptions.get(answer.channel)
        if subscription is None or not subscription.subscribed(answer):
            return
        if not link.told_back:
            link.replayed += answer.replay
        future = self._subscribing.pop(answer.channel, None)
        if future is not None and not future.done():
            future.set_result(answer.position)
        self._look_back(link)

    def _jump(self, told: Resync | Rewind) -> None:
        subscription = self._subscriptions.get(told.channel)
        if subscription is None:
            return
        if isinstance(told, Resync):
            lost = subscription.resync(told)
            log.warning("%s: %s, %d messages are gone", told.channel, told.reason, lost)
        else:
            subscription.rewind(told)
            lost = 0
            log.warning("%s: the log forked, %s never happened", told.channel, told.void)
        self._tell(Jumped(told=told, lost=lost))

    def _refused(self, link: Link, error: Error) -> None:
        retry_s = RETRY_S if error.retry_ms is None else error.retry_ms / 1_000
        retry_s = min(max(retry_s, RETRY_LEAST_S), RETRY_MOST_S)
        if error.channel is not None and error.cseq is not None:
            if not error.temporary:
                refusal = PublishRefusedError(error.code, error.message, temporary=False)
                self._settle(link, error.channel, error.cseq, refusal)
            elif not link.held:
                link.held = True  # One timer for all: everything unanswered goes out again, in order.
                link.later(retry_s, lambda: self._release(link))
            return
        subscription = None if error.id is None else self._asked_by(error.id)
        if subscription is not None:
            log.warning("%s was refused: %s", subscription.channel, error.code)
            future = self._subscribing.get(subscription.channel)
            if error.temporary:
                link.later(retry_s, lambda: self._ask(link, subscription.channel))
            elif future is not None and not future.done():
                future.set_exception(LocalProtocolError(f"{subscription.channel}: {error.message}"))
        else:
            log.warning("the node says: %s (%s)", error.message, error.code)

    def _release(self, link: Link) -> None:
        link.held = False
        self._send_unanswered(link)

    def _asked_by(self, request: int) -> Subscription | None:
        return next((item for item in self._subscriptions.values() if item.asked == request), None)

    def _settle(self, link: Link, channel: str, cseq: int, answer: Published | PublishRefusedError) -> None:
        if not self._outbox.settle(channel, cseq):
            return
        future = self._answers.pop((channel, cseq))
        if not future.done():
            if isinstance(answer, Published):
                future.set_result(answer)
            else:
                future.set_exception(answer)
        if link.leaving is not None:
            link.leaving.discard((channel, cseq))
            if not link.leaving:
                link.close()

    # Going when asked.

    def _asked_to_leave(self, way: Reconnect, link: Link, goaway: GoAway) -> None:
        wait = way.goaway(
            asyncio.get_running_loop().time(), retry_s=goaway.retry_ms / 1_000, spread_s=goaway.spread_ms / 1_000
        )
        if wait is None:
            return
        self._tell(Asked(node=link.node, reason=goaway.reason))
        self._tell(wait)
        link.later(wait.delay_s, lambda: self._leave(link))

    def _leave(self, link: Link) -> None:
        """Send no more, wait briefly for the answers to what was sent, and close."""
        sent = self._outbox.unanswered() if link.publishing else ()
        link.leaving = {(frame.channel, frame.cseq) for frame in sent}
        self._ack(link)
        if link.leaving:
            link.later(QUIESCE_S, link.close)
        else:
            link.close()

    def _tell(self, change: Change) -> None:
        if self._on_change is not None:
            self._on_change(change)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a client failed", exc_info=task.exception())


def _text(data: str | bytes) -> str:
    if isinstance(data, bytes):
        raise RemoteProtocolError("a binary frame under a JSON subprotocol")
    return data


def _close_code(connection: ClientConnection) -> int:
    return ABNORMAL if connection.close_code is None else connection.close_code


def _retry_after(header: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; a date, which nobody sends us, counts as none."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _timing(numbers: ReconnectNumbers) -> BackoffTiming | None:
    """Return the node's numbers, None if they make no sense."""
    try:
        return BackoffTiming(
            spread_s=numbers.spread_ms / 1_000,
            base_s=numbers.base_ms / 1_000,
            factor=numbers.factor,
            cap_s=numbers.cap_ms / 1_000,
            jitter=numbers.jitter,
            stable_s=numbers.stable_ms / 1_000,
        )
    except ValueError as error:
        log.warning("the node's timings are ignored: %s", error)
        return None
