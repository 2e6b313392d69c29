"""The node's feeds: one pub/sub connection for all channels, and the reading of what it did not bring.

Theory of operation. `core.feed` decides what an entry or a page means; this shell keeps the subscription, reads the
pages that a feed asks for, and hands what was taken to the hub. When Redis is lost, all feeds stall and keep their
positions; when it is back, channels are subscribed again first and compared with the log afterwards, in that order,
so that nothing falls between the two. A log that turns out to be another one than ours is repaired from the ring as
far as `core.repair` can; only then are clients told what never happened.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Final

from sample_cluster.config import Profile
from sample_cluster.core.catch_up import (
    Answer,
    Begun,
    Jumps,
    Pause,
    ReadAfter,
    ReadRecent,
    Restore,
    Step,
    Took,
    catch_up,
)
from sample_cluster.core.feed import Feed, FeedState, parse_fan_out
from sample_cluster.core.messages import Notice, Position
from sample_cluster.errors import RemoteProtocolError, StoreUnavailableError
from sample_cluster.node.hub import Hub
from sample_cluster.node.store import Store
from sample_cluster.redis_link import REDIS_ERRORS, FanOut, Heard, Ponged, Subscribed, open_fan_out
from wsmon.agent.cancellation import end, obey_cancellation
from wsmon.protocol.events import BreakerChanged, EventBody, FeedChanged

log = logging.getLogger(__name__)

PING_S: Final = 1.0
"""The pub/sub connection is asked this often whether it lives, and has as long to answer."""
COMPARE_S: Final = 5.0
LINGER_S: Final = 10.0
"""A feed without listeners is kept this long: whoever comes back finds it warm."""
SUBSCRIBE_BATCH: Final = 100
RETRY_S: Final = 0.1
RETRY_MOST_S: Final = 1.0
CHANNELS_MOST: Final = 10_000


class Feeds:
    """All channels that this node's clients listen to. `run` until cancelled."""

    def __init__(
        self, store: Store, hub: Hub, profile: Profile, dice: Random, emit: Callable[[EventBody], object]
    ) -> None:
        self._store = store
        self._hub = hub
        self._dice = dice
        self._emit = emit
        self._retry_most_s = min(RETRY_MOST_S, profile.reconnect.spread_s)
        self._feeds: dict[str, Feed] = {}
        self._told: dict[str, FeedState] = {}
        """Channel → state that was told last."""
        self._unused: dict[str, float] = {}
        self._users: dict[str, int] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._subscribing: set[asyncio.Task[None]] = set()
        self._fan_out: FanOut | None = None
        self._prefix = len(store.fan_out("")) - 1
        self._heard_at = 0.0
        self.mailbox = ""
        """Pub/sub channel on which other nodes reach this one; set before `run`."""
        self.on_mail: Callable[[str], None] = lambda _text: None
        self.on_restored: Callable[[], None] = lambda: None
        """Called when Redis is back."""
        self.connected = False
        """Whether the pub/sub connection stands."""
        self.rtt_ms: float | None = None
        self.reads = 0
        """Pages read because pub/sub did not bring everything."""
        store.seen = self._seen
        store.on_fork = self._forked
        store.on_breaker = lambda name, old, new: emit(BreakerChanged(name=name, old=old, new=new))

    def __iter__(self) -> Iterator[Feed]:
        """Return the feeds."""
        return iter(self._feeds.values())

    def __len__(self) -> int:
        """Return how many channels are followed."""
        return len(self._feeds)

    def get(self, channel: str) -> Feed | None:
        """Return the channel's feed if there is one."""
        return self._feeds.get(channel)

    def _seen(self, channel: str) -> Position | None:
        feed = self._feeds.get(channel)
        return None if feed is None else feed.position

    async def run(self) -> None:
        """Keep the subscription, until cancelled."""
        delay_s = RETRY_S
        try:
            while True:
                obey_cancellation()
                try:
                    await self._follow()
                except (*REDIS_ERRORS, StoreUnavailableError) as error:
                    if self.connected:
                        log.warning("lost the subscription: %s", error)
                if self.connected:
                    delay_s = RETRY_S
                self._lost()
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, self._retry_most_s)
        finally:
            for task in (*self._readers.values(), *self._subscribing):
                task.cancel()

    def use(self, channel: str) -> Feed:
        """Return the channel's feed, which may have no position yet (see `ready`). Give it back with `release`.

        Raises:
            StoreUnavailableError: this node follows too many channels already.

        """
        feed = self._feeds.get(channel)
        if feed is None:
            if len(self._feeds) >= CHANNELS_MOST:
                raise StoreUnavailableError(f"this node follows {CHANNELS_MOST} channels, which is its limit")
            feed = self._feeds[channel] = Feed(channel)
            self._told[channel] = feed.state
            self._ready[channel] = asyncio.Event()
            if self._fan_out is not None:
                task = asyncio.get_running_loop().create_task(self._subscribe([channel]), name=f"subscribe-{channel}")
                self._subscribing.add(task)
                task.add_done_callback(self._subscribing.discard)
        self._users[channel] = self._users.get(channel, 0) + 1
        self._unused.pop(channel, None)
        return feed

    async def ready(self, channel: str) -> Feed:
        """Return the feed that is in use once it has a position; waits while Redis is away."""
        feed = self._feeds[channel]
        await self._ready[channel].wait()
        return feed

    def release(self, channel: str) -> None:
        """Give back what `use` returned."""
        count = self._users.get(channel, 0) - 1
        if count > 0:
            self._users[channel] = count
        elif channel in self._users:
            del self._users[channel]
            self._unused[channel] = asyncio.get_running_loop().time()

    def catch_up(self, feed: Feed) -> asyncio.Task[None]:
        """Read pages until the feed asks for no more; return the task that does."""
        task = self._readers.get(feed.channel)
        if task is None or task.done():
            task = asyncio.get_running_loop().create_task(self._read(feed), name=f"feed-{feed.channel}")
            self._readers[feed.channel] = task
            task.add_done_callback(lambda done: self._reader_done(feed.channel, done))
        return task

    def _reader_done(self, channel: str, task: asyncio.Task[None]) -> None:
        if self._readers.get(channel) is task:
            del self._readers[channel]
        if not task.cancelled() and task.exception() is not None:
            log.error("following %s failed", channel, exc_info=task.exception())

    async def _read(self, feed: Feed) -> None:
        """Do what `core.catch_up` asks for, until it or the subscription ends."""
        work = catch_up(feed, self._dice, unanswered_s=self._retry_most_s / 2)
        answer: Answer = None
        try:
            while self.connected and self._feeds.get(feed.channel) is feed:
                step = work.send(answer)
                answer = await self._do(feed, step)
                obey_cancellation()
                self._tell(feed)
        except StopIteration:
            self._tell(feed)
        finally:
            work.close()

    async def _do(self, feed: Feed, step: Step) -> Answer:
        channel = feed.channel
        try:
            match step:
                case Took(entries=entries):
                    for entry in entries:
                        self._hub.deliver(channel, entry)
                case Pause(delay_s=delay_s):
                    await asyncio.sleep(delay_s)
                case ReadAfter(after=after, most=most):
                    self.reads += 1
                    return await self._store.read(channel, after=after, most=most)
                case ReadRecent(most=most):
                    return await self._store.recent(channel, most=most)
                case Begun():
                    self._ready[channel].set()
                case Restore(repair=repair):
                    done = await self._store.restore(channel, repair)
                    if done:
                        log.warning("%s: %d messages were put back", channel, len(repair.entries))
                    return done
                case Jumps(told=told):
                    log.warning("%s cannot be continued: %s", channel, told)
                    self._hub.jump(channel, told)
        except StoreUnavailableError as error:
            log.warning("%s", error)
        return None

    def _tell(self, feed: Feed) -> None:
        """Tell of a feed's state if it is another one; the way to live the first time is no news."""
        old = self._told.get(feed.channel, feed.state)
        if feed.state is old or (old is FeedState.SUBSCRIBING and feed.state is not FeedState.LIVE):
            return
        self._told[feed.channel] = feed.state
        if old is not FeedState.SUBSCRIBING:
            self._emit(FeedChanged(channel=feed.channel, old=old, new=feed.state))

    def _forked(self, channel: str) -> None:
        """Take note that the log lacks what we have."""
        feed = self._feeds.get(channel)
        if feed is not None and feed.position is not None:
            if not feed.behind:
                feed.doubt(FeedState.FORKED)
            self.catch_up(feed)

    async def _follow(self) -> None:
        """Connect, subscribe to everything, and read until the connection is lost."""
        fan_out = open_fan_out(self._store.redis)
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        try:
            await fan_out.connect()
            self._fan_out = fan_out
            tasks.append(loop.create_task(self._listen(fan_out), name="feeds-read"))
            await self._subscribe([*self._feeds])
            if self.mailbox:
                await fan_out.subscribe(self.mailbox)
            tasks.append(loop.create_task(self._ping(fan_out), name="feeds-ping"))
            tasks.append(loop.create_task(self._compare(), name="feeds-compare"))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._fan_out = None
            for task in tasks:
                task.cancel()
            for task in tasks:
                await end(task)
            await asyncio.gather(*tasks, return_exceptions=True)
            await fan_out.aclose()

    async def _listen(self, fan_out: FanOut) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            news = await fan_out.next()
            self._heard_at = clock()
            match news:
                case Heard(channel=name, text=text) if name == self.mailbox:
                    self.on_mail(text)
                case Heard(channel=name, text=text):
                    self._heard(name[self._prefix : -1], text)
                case Subscribed(channel=name):
                    feed = self._feeds.get(name[self._prefix : -1])
                    if feed is not None:
                        feed.doubt(FeedState.SYNCING)
                        self.catch_up(feed)
                case Ponged(token=sent):
                    self.rtt_ms = (clock() - float(sent)) * 1_000
                    self._restored()

    def _heard(self, channel: str, text: str) -> None:
        feed = self._feeds.get(channel)
        if feed is None:
            return
        try:
            epoch, entry = parse_fan_out(text)
        except RemoteProtocolError as error:
            log.warning("%s: %s", channel, error)  # Whatever it was, the log tells what it ought to have been.
            feed.doubt(FeedState.GAP)
            self.catch_up(feed)
            return
        if feed.heard(epoch, entry):
            self._hub.deliver(channel, entry)
        elif feed.behind and feed.position is not None:
            self.catch_up(feed)

    async def _ping(self, fan_out: FanOut) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            obey_cancellation()
            sent = clock()
            await fan_out.ping(str(sent))
            await asyncio.sleep(PING_S)
            # A sleep that took twice as long tells of our own pause: what came in lies unread.
            if self._heard_at < sent and clock() - sent < 2 * PING_S:
                raise StoreUnavailableError("the subscription does not answer")
            await self._drop_unused(fan_out, clock())

    async def _compare(self) -> None:
        """Compare quiet feeds with their logs: a subscription can be deaf without being closed."""
        seen: dict[str, Position | None] = {}
        while True:
            obey_cancellation()
            await asyncio.sleep(COMPARE_S)
            quiet = [
                feed
                for feed in self._feeds.values()
                if feed.position is not None and not feed.behind and seen.get(feed.channel) == feed.position
            ]
            seen = {feed.channel: feed.position for feed in self._feeds.values()}
            for start in range(0, len(quiet), SUBSCRIBE_BATCH):
                batch = quiet[start : start + SUBSCRIBE_BATCH]
                try:
                    ends = await self._store.ends(feed.channel for feed in batch)
                except StoreUnavailableError as error:
                    log.warning("%s", error)
                    break
                # What was delivered while we asked is not quiet any more.
                deaf = [
                    feed
                    for feed in batch
                    if feed.position == seen[feed.channel] and feed.position != ends.get(feed.channel)
                ]
                for feed in deaf:
                    log.warning("channel %s went on without us", feed.channel)
                    feed.doubt(FeedState.DEAF)
                    self.catch_up(feed)
                await self._subscribe([feed.channel for feed in deaf])

    async def _subscribe(self, channels: list[str]) -> None:
        if self._fan_out is None:
            return  # It will be done when there is a connection.
        for start in range(0, len(channels), SUBSCRIBE_BATCH):
            names = [self._store.fan_out(name) for name in channels[start : start + SUBSCRIBE_BATCH]]
            # A connection that is lost just now shows in the reader.
            with suppress(*REDIS_ERRORS):
                await self._fan_out.subscribe(*names)

    async def _drop_unused(self, fan_out: FanOut, now: float) -> None:
        dropped = [name for name, since in self._unused.items() if now - since > LINGER_S]
        for channel in dropped:
            del self._unused[channel], self._feeds[channel], self._ready[channel], self._told[channel]
            reader = self._readers.pop(channel, None)
            if reader is not None:
                reader.cancel()
        if dropped:
            await fan_out.unsubscribe(*(self._store.fan_out(name) for name in dropped))

    def _restored(self) -> None:
        if self.connected:
            return
        self.connected = True
        log.info("the subscription stands")
        self._store.restored()
        self.on_restored()
        self._hub.broadcast(Notice(component="redis", state="live"))
        for feed in self._feeds.values():
            if feed.behind:
                self.catch_up(feed)

    def _lost(self) -> None:
        if not self.connected:
            return
        self.connected = False
        self.rtt_ms = None
        for feed in self._feeds.values():
            feed.doubt(FeedState.STALLED)
            self._tell(feed)
        self._hub.broadcast(Notice(component="redis", state="degraded"))
