"""The client library: one logical connection to the cluster over any number of real ones.

Theory of operation. `core.reconnect` decides when to try, `core.subscription` what becomes of a message, and
`core.outbox` keeps what is unanswered; this shell connects, reads and writes for them. One task lives as long as the
client: it waits for the next attempt, connects, says who it is, and goes back to waiting once a node took it. Each
connection (`Link`) is read by a task of its own, so that one can serve while the next is being made.

Coming back, the client names its session and all its positions. What the node goes on with needs nothing more, where
it cannot it says where to go on, and everything else is asked for channel by channel. Publishes without an answer are
sent again: within a session the log takes each once.

There is one connection at a time that counts: messages, jumps and advice of any other are ignored, for what they tell
comes by the new one as well. Only answers to publishes count wherever they come from, as long as it is the same
session.
"""

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from websockets.exceptions import ConnectionClosed

from sample_cluster.client.changes import (
    Asked,
    Attempted,
    Back,
    Change,
    Failed,
    Jumped,
    Lost,
    Rewound,
    Rewritten,
    Stopped,
    Welcomed,
)
from sample_cluster.client.dial import ABNORMAL, BROKEN, Failure, Taken, close_code, dial
from sample_cluster.client.link import Link
from sample_cluster.codecs import Codec
from sample_cluster.codecs.json import JSON
from sample_cluster.codecs.limits import check
from sample_cluster.codecs.payload import BASE64, encode_base64
from sample_cluster.core.backoff import BackoffTiming
from sample_cluster.core.messages import (
    Ack,
    Error,
    GoAway,
    Hello,
    Level,
    Message,
    NodeFrame,
    Ping,
    Pong,
    Position,
    Publish,
    Published,
    Resume,
    Resync,
    Retry,
    Rewind,
    Subscribe,
    Subscribed,
    UnknownFrame,
    Unsubscribe,
    Welcome,
)
from sample_cluster.core.messages import Reconnect as ReconnectNumbers
from sample_cluster.core.outbox import Outbox
from sample_cluster.core.reconnect import TAKEN_OVER, Phase, Reconnect, Return, Route
from sample_cluster.core.subscription import State, Subscription, Verdict
from sample_cluster.errors import LocalProtocolError, PublishRefusedError, RemoteProtocolError
from wsmon.protocol.frames import Json

log = logging.getLogger(__name__)

ACK_EVERY: Final = 32
"""Messages that may stay unacknowledged; a timer of the node's `ack_ms` sees to the rest."""
ACK_PROMPTLY_S: Final = 0.02
"""A message that came twice is acknowledged within this: a node without acknowledgements sends one again to ask."""
QUEUED_MAX: Final = 512
"""Frames that may wait to be written beside the publishes. Only a peer that floods us and reads nothing gets there."""
QUIESCE_S: Final = 0.25
"""Before leaving a node that asked: patience for the answers to what it was sent."""
RETRY_LEAST_S: Final = 0.05
RETRY_MOST_S: Final = 60.0
RETRY_S: Final = 0.5
"""Wait after a temporary refusal that does not say how long to wait."""
BAD_CREDENTIALS: Final = 4503
ADVICE_FRESH_S: Final = 1.0
"""An error that says when to come back is about the close that follows it within this."""
RETRIES_TOLD: Final = 16
"""Attempts that a node is told of when it takes the client."""
FIRST_TIMING: Final = BackoffTiming(spread_s=5, base_s=1, factor=2, cap_s=60, jitter=0.2, stable_s=30)
"""What the protocol says for the time before a node told its own numbers."""

Handler: TypeAlias = Callable[[Message], None]
"""Gets every message of a channel once, in order. Must not block; what it raises ends the client."""
_Offered: TypeAlias = dict[str, tuple[Subscription, Position]]
"""What a resume offered to go on with, and from where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What a client is told at its start. Timings hold until the first welcome tells the cluster's own."""

    timing: BackoffTiming = FIRST_TIMING
    codec: Codec = JSON
    """The subprotocol that is spoken; see `sample_cluster.codecs.codec_for`."""
    attempt_timeout_s: float = 5.0
    """Patience with one attempt, from the TCP connect to the welcome."""
    unanswered_max: int = 64
    name: str = "python"


class Client:
    """Use it within one event loop: `start` or `connect`, `subscribe`, `publish`, `close`."""

    def __init__(
        self,
        url: str | Sequence[str],
        options: ClientOptions,
        *,
        dice: random.Random | None = None,
        on_change: Callable[[Change], None] | None = None,
        first_delay_s: float = 0.0,
        turnstile: asyncio.Semaphore | None = None,
    ) -> None:
        """The first attempt is made `first_delay_s` after `start`. `on_change` must not block.

        Clients of one process may share a `turnstile` that lets only so many of them attempt at a time: if all did at
        once, they would wait for their own process until each had run out of patience with its node. Of several addresses each attempt takes another one than the attempt before.

        Raises:
            ValueError: there is no address.

        """
        self._options = options
        self._dice = dice or random.Random()
        self._route = Route([url] if isinstance(url, str) else url, self._dice)
        self._on_change = on_change
        self._first_delay_s = first_delay_s
        self._turnstile = turnstile or nullcontext()
        self._way: Reconnect | None = None
        self._task: asyncio.Task[None] | None = None
        self._replan = asyncio.Event()
        """Set when the next attempt may be due at another time than it was."""
        self._link: Link | None = None
        """The connection that counts."""
        self._links: set[Link] = set()
        """All that are open; those beside `_link` are being closed."""
        self._taken_over: Lost | None = None
        """The old connection ended because our next one, not welcomed yet, took the session over."""
        self._first = asyncio.Event()
        self._subscriptions: dict[str, Subscription] = {}
        self._handlers: dict[str, Handler] = {}
        self._subscribing: dict[str, asyncio.Future[Position]] = {}
        self._outbox = Outbox(options.unanswered_max)
        self._answers: dict[int, asyncio.Future[Published]] = {}
        self._requests = 0
        self._closing = False
        self._session: tuple[str, str] | None = None
        """Id and secret of the session to come back into."""
        self._numbered_for = ""
        """The session whose `cseq` the outbox counts."""
        self._session_attempt = 1
        """The highest attempt used for it; a node refuses any that is not higher."""
        self._retries: deque[tuple[float, float, str]] = deque(maxlen=RETRIES_TOLD)
        """Failed attempts since the loss: when, after which delay, how it ended."""
        self.welcome: Welcome | None = None
        """The last node's welcome."""
        self.dropped = 0
        """Messages that came twice and were not handed out."""
        self.rewritten = 0
        """Messages that were written again after the log forked, and were not handed out again."""

    @property
    def phase(self) -> Phase:
        """Where the client stands."""
        return Phase.WAITING if self._way is None else self._way.phase

    @property
    def connected(self) -> bool:
        """Whether a node serves the client right now."""
        return self._link is not None

    @property
    def session(self) -> str:
        """The id of the session, empty before there is one; nobody can take it over without its secret."""
        return "" if self._session is None else self._session[0]

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
        self._task.add_done_callback(self._task_ended)

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
            LocalProtocolError: the channel is followed already, or this is no channel's name.

        """
        if channel in self._subscriptions:
            raise LocalProtocolError(f"{channel} is subscribed already")
        self._check(Subscribe(id=0, channel=channel, start=start))
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
            self._forgo(self._link, channel)

    def publish(self, channel: str, data: Json | bytes, *, level: Level = Level.FAST) -> asyncio.Future[Published]:
        """Publish, now or when a node is there again; the future gives the answer once the log has the message.

        However often it has to be sent, the log has it once as long as the session lives. Should the cluster forget the
        session (`resume_ttl_ms` without a connection, or changed keys), what was unanswered is published anew, and if
        only the answer was lost the message stands in the log twice. Bytes are delivered as base64 text to those who
        speak JSON. The future raises PublishRefusedError if the message is refused for good.

        Raises:
            LocalProtocolError: too many publishes are unanswered (see `can_publish`), this is no channel's name, or
                the data has no JSON text.

        """
        if not self.can_publish:
            raise LocalProtocolError("too many publishes are unanswered")
        encoding = BASE64 if isinstance(data, bytes) else None
        value = encode_base64(data) if isinstance(data, bytes) else data
        self._check(Publish(channel=channel, cseq=1, data=value, encoding=encoding, level=level))
        ticket, frame = self._outbox.add(channel, value, encoding=encoding, level=level)
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = future
        if self._link is not None and self._link.publishing(channel):
            self._link.send(frame)
        return future

    async def close(self) -> None:
        """Leave the cluster with 1000, within about half a second. What is unanswered is cancelled."""
        self._closing = True
        tasks = [link.close() for link in self._links]
        tasks += [link.reading for link in self._links if link.reading is not None]
        if self._task is not None:
            self._task.cancel()
            tasks.append(self._task)
        await asyncio.gather(*tasks, return_exceptions=True)
        for answer in self._answers.values():
            answer.cancel()
        for subscribed in self._subscribing.values():
            subscribed.cancel()

    def _check(self, frame: Subscribe | Publish) -> None:
        """Refuse what a node would have to end the connection for."""
        try:
            check(frame)
            self._options.codec.encode(frame)
        except (ValueError, RemoteProtocolError) as error:
            raise LocalProtocolError(str(error)) from None

    # The life of the client.

    async def _run(self, way: Reconnect) -> None:
        try:
            while await self._slot(way):
                async with self._turnstile:
                    if way.phase is not Phase.STOPPED:  # The connection that it was to leave may have been told so.
                        await self._go(way)
        finally:
            for link in self._links:
                if link.closing is None:  # Otherwise its closing handshake is bounded.
                    link.retired = True
                    link.abort()

    async def _slot(self, way: Reconnect) -> bool:
        """Wait until the next attempt is due, whenever that becomes; return whether there will be one at all."""
        clock = asyncio.get_running_loop().time
        while way.phase is not Phase.STOPPED:
            left_s = way.deadline - clock()
            if left_s <= 0:
                return True
            self._replan.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left_s == math.inf else left_s):
                    await self._replan.wait()
        return False

    async def _go(self, way: Reconnect) -> None:
        """Make one attempt."""
        clock = asyncio.get_running_loop().time
        if self._link is not None and not way.handover:
            await self._leave(self._link)
        attempt = way.started(clock())
        self._tell(Attempted(attempt=attempt, handover=self._link is not None))
        result, offered = await self._attempt()
        if way.phase is Phase.STOPPED:  # The old connection was told so meanwhile.
            if isinstance(result, Taken):
                await result.connection.close()
        elif isinstance(result, Taken):
            self._taken(way, result, offered)
        else:
            self._failed(way, attempt, result)

    def _failed(self, way: Reconnect, attempt: int, failure: Failure) -> None:
        now = asyncio.get_running_loop().time()
        if self._taken_over is not None:
            # The new connection ended the old one and then came to nothing itself.
            self._tell(self._taken_over)
            self._taken_over = None
        self._tell(Failed(attempt=attempt, outcome=failure.outcome, handover=self._link is not None))
        self._retries.append((now, way.wait.delay_s, failure.outcome))
        wait = way.failed(now, code=failure.code, advice_s=failure.advice_s)
        if wait is None:
            self._stop(failure.code)
        else:
            self._tell(wait)

    def _ended(self, way: Reconnect, link: Link, code: int) -> None:
        """Say that a connection is gone."""
        self._links.discard(link)
        link.left.set()
        if link is not self._link:
            return
        self._link = None
        for subscription in self._subscriptions.values():
            subscription.disconnected()
        if self._closing or link.retired or link.leaving is not None:
            return
        lost, attempting = Lost(node=link.node, code=code), way.phase is Phase.HANDOVER
        if code == TAKEN_OVER and link.attempt < self._session_attempt and not attempting:
            code = ABNORMAL  # By an attempt of our own that came to nothing afterwards: come back with a higher one.
        now = asyncio.get_running_loop().time()
        advised_at, advice_s = link.advice or (-math.inf, None)
        wait = way.lost(now, code=code, advice_s=advice_s if now - advised_at <= ADVICE_FRESH_S else None)
        self._replan.set()
        if attempting and code == TAKEN_OVER:
            self._taken_over = lost
            return
        self._tell(lost)
        if wait is not None:
            self._tell(wait)
        elif way.phase is Phase.STOPPED:
            self._stop(code)
        else:
            self._tell(Attempted(attempt=way.wait.attempt))

    def _stop(self, code: int | None) -> None:
        log.warning("told never to come back: %s", code)
        self._first.set()
        for link in self._links:
            link.retired = True
            link.close()
        refusal = PublishRefusedError("stopped", "the client was told never to come back", temporary=False)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(refusal)
        self._tell(Stopped(code=ABNORMAL if code is None else code))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """Say so when one of our tasks failed, and end the others with it."""
        if task.cancelled() or task.exception() is None:
            return
        log.error("a client failed", exc_info=task.exception())
        if self._task is not None:
            self._task.cancel()

    async def _attempt(self) -> tuple[Taken | Failure, _Offered]:
        """Make one attempt; return what became of it, and which channels the node was offered to go on with."""
        offered: _Offered = {}

        def introduce() -> Hello | Resume:
            offered.update(self._resumable())
            return self._opening(offered)

        options = self._options
        result = await dial(self._route.next(), options.codec, introduce, patience_s=options.attempt_timeout_s)
        if isinstance(result, Failure) and result.code == BAD_CREDENTIALS and self._session is not None:
            # The cluster does not know its own signature any more; as nobody in particular we may still come.
            self._session = None
            result = Failure("session refused")
        return result, offered

    def _resumable(self) -> _Offered:
        """Return the subscriptions whose positions a resume carries."""
        if self._session is None:
            return {}
        places = ((name, item, item.resumable) for name, item in self._subscriptions.items())
        return {name: (item, place) for name, item, place in places if place is not None}

    def _opening(self, offered: _Offered) -> Hello | Resume:
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
            positions={name: place for name, (_, place) in offered.items()},
            pending=self._outbox.pending(),
            retries=tuple(
                Retry(ago_ms=round((now - at) * 1_000), delay_ms=round(delay_s * 1_000), outcome=outcome)
                for at, delay_s, outcome in self._retries
            ),
        )

    # What a connection begins with.

    def _taken(self, way: Reconnect, taken: Taken, offered: _Offered) -> None:
        """Make the new connection the one that counts; an old one has done its work."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        welcome = self.welcome = taken.welcome
        link = Link(taken.connection, self._options.codec, queued_max=QUEUED_MAX + self._options.unanswered_max)
        link.node, link.session, link.attempt, link.heard_at = welcome.node, welcome.session, welcome.attempt, now
        handover = self._link is not None or self._taken_over is not None
        old, self._link, self._taken_over = self._link, link, None
        self._links.add(link)
        self._belong(welcome)
        self._retries.clear()
        timing = _timing(welcome.reconnect)
        if timing is not None:
            way.learn(timing)
        away_s = way.welcomed(now)
        if away_s is not None:
            link.back = Return(now=now, away_s=away_s, handover=handover)
        if old is not None:
            # The new node answers what is sent again; those answers that are under way may be quicker.
            same = old.session == welcome.session
            waiting = {(frame.channel, frame.cseq) for frame in self._outbox.unanswered()} if same else set()
            old.retire(waiting, patience_s=QUIESCE_S)
        link.reading = loop.create_task(self._read(way, link, taken.rest), name="client-read")
        link.reading.add_done_callback(self._task_ended)
        link.watch((welcome.timings.ping_ms + welcome.timings.pong_ms) / 1_000)
        self._first.set()
        self._tell(Welcomed(node=welcome.node))
        self._go_on(link, welcome, offered)
        for frame in self._outbox.unanswered():
            link.send(frame)
        self._look_back(link)

    def _belong(self, welcome: Welcome) -> None:
        """Take the session over; in a new one, publishes and attempts are counted from the start."""
        self._session = (welcome.session, welcome.secret)
        if self._numbered_for != welcome.session:
            self._numbered_for = welcome.session
            self._session_attempt = welcome.attempt
            self._outbox.renumber()

    def _go_on(self, link: Link, welcome: Welcome, offered: _Offered) -> None:
        """Take up every channel: as the welcome says, or by asking."""
        resumed, fresh = set(welcome.resumed), set(welcome.fresh)
        for channel, subscription in [*self._subscriptions.items()]:
            # What came by the old connection since we offered our place may be void by now: the node has to look again.
            ours = offered.get(channel) == (subscription, subscription.position)
            if subscription.welcomed(offered=ours, resumed=channel in resumed, fresh=channel in fresh):
                self._ask(link, channel)
            elif subscription.live:
                self._begun(subscription)
        for channel in ({*offered} | resumed | fresh) - self._subscriptions.keys():
            self._forgo(link, channel)  # Unsubscribed since it was offered, or remembered by the node alone.

    async def _read(self, way: Reconnect, link: Link, rest: tuple[NodeFrame | UnknownFrame, ...]) -> None:
        """Serve one connection until it ends."""
        loop = asyncio.get_running_loop()
        writer = loop.create_task(link.write(), name="client-write")
        code = None
        try:
            for frame in rest:
                self._take(way, link, frame)
            async for payload in link.connection:
                link.heard_at = loop.time()
                for frame in link.codec.decode_node(payload):
                    self._take(way, link, frame)
        except ConnectionClosed:
            pass  # The code says it all.
        except RemoteProtocolError as error:
            log.warning("the node broke the protocol: %s", error)
            code = BROKEN
            await link.connection.close(BROKEN)
        except BaseException:
            link.retired = True  # A handler failed, or we were cancelled: the connection ends by our doing.
            raise
        finally:
            link.open = False
            writer.cancel()
            link.abort()
            self._ended(way, link, close_code(link.connection) if code is None else code)

    def _ask(self, link: Link, channel: str) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is not None and link is self._link:
            self._requests += 1
            link.send(subscription.ask(self._requests))

    def _forgo(self, link: Link, channel: str) -> None:
        self._requests += 1
        link.send(Unsubscribe(id=self._requests, channel=channel))

    def _begun(self, subscription: Subscription) -> None:
        """Say that a channel goes on, to whoever waits for its beginning."""
        future = self._subscribing.pop(subscription.channel, None)
        if future is not None and not future.done() and subscription.position is not None:
            future.set_result(subscription.position)

    def _look_back(self, link: Link) -> None:
        """Tell that the client is back once it is."""
        back = link.back
        if back is None:
            return
        now = asyncio.get_running_loop().time()
        live = all(item.live for item in self._subscriptions.values())
        left_s = back.due(live=live) - now
        if left_s > 0:
            link.later(left_s, lambda: self._look_back(link))
            return
        link.back = None
        self._tell(
            Back(
                node=link.node,
                away_s=back.away_s(now, live=live),
                replayed=back.replayed,
                jumped=back.jumps,
                handover=back.handover,
            )
        )

    # What a node says.

    def _take(self, way: Reconnect, link: Link, frame: NodeFrame | UnknownFrame) -> None:
        counts = link is self._link
        match frame:
            case Message() if counts:
                self._take_message(link, frame)
            case Published(channel=channel, cseq=cseq):
                self._settle(link, channel, cseq, frame)
            case Ping(ts=ts):
                link.send(Pong(ts=ts))
            case Subscribed() if counts:
                self._subscribed(link, frame)
            case Resync() | Rewind() if counts:
                self._jump(link, frame)
            case GoAway() if counts:
                self._asked_to_leave(way, link, frame)
            case Error():
                self._refused(link, frame, counts=counts)
            case Welcome():
                raise RemoteProtocolError("a second welcome")
            case _:
                pass

    def _take_message(self, link: Link, message: Message) -> None:
        subscription = self._subscriptions.get(message.channel)
        if subscription is None:
            return  # Unsubscribed meanwhile.
        match subscription.take(message):
            case Verdict.DELIVER:
                self._count_for_ack(link)
                if message.replay and link.back is not None:
                    link.back.replay(asyncio.get_running_loop().time())
                self._handlers[message.channel](message)
            case Verdict.REWRITTEN:
                self.rewritten += 1
                self._count_for_ack(link)
                self._tell(Rewritten(message=message))
            case Verdict.DUPLICATE:
                self.dropped += 1
                self._owe_ack(link, ACK_PROMPTLY_S)
            case Verdict.ASK:
                log.info("%s has a hole before %d: asking again", message.channel, message.seq)
                self._ask(link, message.channel)
            case Verdict.BROKEN:
                raise RemoteProtocolError(f"{message.channel} never continues at {subscription.position}")
            case Verdict.IGNORE:
                pass

    def _count_for_ack(self, link: Link) -> None:
        assert self.welcome is not None
        self._owe_ack(link, self.welcome.timings.ack_ms / 1_000)
        link.unacked += 1
        if link.unacked >= ACK_EVERY:
            self._ack(link)

    def _owe_ack(self, link: Link, within_s: float) -> None:
        """Acknowledge within `within_s`: one frame for all that is owed by then."""
        due = asyncio.get_running_loop().time() + within_s
        if link.ack_at is None or due < link.ack_at:
            link.ack_at = due
            link.later(within_s, lambda: self._ack(link) if link.ack_at == due else None)

    def _ack(self, link: Link) -> None:
        if link.ack_at is None or link is not self._link:
            return
        link.ack_at, link.unacked = None, 0
        positions = ((name, item.position) for name, item in self._subscriptions.items())
        acks = {name: position.seq for name, position in positions if position is not None}
        if acks:
            link.send(Ack(acks=acks))

    def _subscribed(self, link: Link, answer: Subscribed) -> None:
        subscription = self._subscriptions.get(answer.channel)
        if subscription is None:
            return
        if not subscription.subscribed(answer):
            if subscription.state is State.IDLE:
                self._ask(link, answer.channel)
            return
        if link.back is not None:
            link.back.answered(asyncio.get_running_loop().time())
        self._begun(subscription)
        self._look_back(link)

    def _jump(self, link: Link, told: Resync | Rewind) -> None:
        subscription = self._subscriptions.get(told.channel)
        if subscription is None:
            return
        before = subscription.position
        if isinstance(told, Resync):
            lost = subscription.resync(told)
            log.warning("%s: %s, %d messages are gone", told.channel, told.reason, lost)
            self._tell(Jumped(told=told, lost=lost))
        else:
            handed_out = subscription.rewind(told)
            log.warning("%s: the log forked, %s never happened", told.channel, told.void)
            self._tell(Rewound(told=told, handed_out=handed_out))
        now = asyncio.get_running_loop().time()
        if link.back is not None and subscription.position == before:
            link.back.answered(now)
        elif link.back is not None:
            link.back.jumped(now)
        self._count_for_ack(link)
        self._begun(subscription)
        self._look_back(link)

    def _refused(self, link: Link, error: Error, *, counts: bool) -> None:
        retry_s = RETRY_S if error.retry_ms is None else error.retry_ms / 1_000
        retry_s = min(max(retry_s, RETRY_LEAST_S), RETRY_MOST_S)
        channel = error.channel
        if channel is not None and error.cseq is not None:
            if not error.temporary:
                refusal = PublishRefusedError(error.code, error.message, temporary=False)
                self._settle(link, channel, error.cseq, refusal)
            elif counts and channel not in link.held:
                # One timer for the channel: everything unanswered goes out again, in order.
                link.held.add(channel)
                link.later(retry_s, lambda: self._release(link, channel))
            return
        subscription = None if error.id is None else self._asked_by(error.id)
        if subscription is not None and counts:
            log.warning("%s was refused: %s", subscription.channel, error.code)
            future = self._subscribing.get(subscription.channel)
            if error.temporary:
                link.later(retry_s, lambda: self._ask(link, subscription.channel))
            elif future is not None and not future.done():
                future.set_exception(LocalProtocolError(f"{subscription.channel}: {error.message}"))
        else:
            log.warning("the node says: %s (%s)", error.message, error.code)
            if error.retry_ms is not None:
                link.advice = asyncio.get_running_loop().time(), retry_s

    def _release(self, link: Link, channel: str) -> None:
        link.held.discard(channel)
        if link is self._link and link.publishing(channel):
            for frame in self._outbox.unanswered(channel):
                link.send(frame)

    def _asked_by(self, request: int) -> Subscription | None:
        return next((item for item in self._subscriptions.values() if item.asked == request), None)

    def _settle(self, link: Link, channel: str, cseq: int, answer: Published | PublishRefusedError) -> None:
        if link.session != self._numbered_for:
            return  # Numbers of another session.
        ticket = self._outbox.settle(channel, cseq)
        if ticket is None:
            return
        future = self._answers.pop(ticket)
        if not future.done():
            if isinstance(answer, Published):
                future.set_result(answer)
            else:
                future.set_exception(answer)
        for each in self._links:
            each.settled(channel, cseq)

    # Going when asked.

    def _asked_to_leave(self, way: Reconnect, link: Link, goaway: GoAway) -> None:
        wait = way.goaway(
            asyncio.get_running_loop().time(),
            retry_s=goaway.retry_ms / 1_000,
            spread_s=goaway.spread_ms / 1_000,
            handover=goaway.handover,
        )
        if wait is not None:
            self._replan.set()
            self._tell(Asked(node=link.node, reason=goaway.reason))
            self._tell(wait)

    async def _leave(self, link: Link) -> None:
        """Send no more, wait briefly for the answers to what was sent, and close."""
        sent = {(frame.channel, frame.cseq) for frame in self._outbox.unanswered() if link.publishing(frame.channel)}
        link.leaving = sent
        self._ack(link)
        if sent:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIESCE_S):
                    await link.left.wait()
        await asyncio.wait([link.close()])
        if link.reading is not None:
            await asyncio.wait([link.reading])

    def _tell(self, change: Change) -> None:
        if self._on_change is not None:
            self._on_change(change)


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
