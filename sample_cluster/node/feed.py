"""The node's feeds: one pub/sub connection for all channels, and the reading of what it did not bring.

Theory of operation. `core.feed` decides what an entry or a page means; this shell keeps the subscription, reads the
pages that a feed asks for, and hands what was taken to the hub. When Redis is lost, all feeds stall and keep their
positions; when it is back, channels are subscribed again first and compared with the log afterwards, in that order,
so that nothing falls between the two.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from redis.asyncio.client import PubSub

from sample_cluster.config import Profile
from sample_cluster.core.feed import Break, Feed, FeedState, parse_fan_out
from sample_cluster.core.messages import Notice, Position, Resync
from sample_cluster.errors import RemoteProtocolError, StoreUnavailableError
from sample_cluster.membership import REDIS_ERRORS
from sample_cluster.node.hub import Hub
from sample_cluster.node.store import Store
from wsmon.agent.cancellation import obey_cancellation

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

    def __init__(self, store: Store, hub: Hub, profile: Profile) -> None:
        self._store = store
        self._hub = hub
        self._retry_most_s = min(RETRY_MOST_S, profile.reconnect.spread_s)
        self._feeds: dict[str, Feed] = {}
        self._unused: dict[str, float] = {}
        self._users: dict[str, int] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._pubsub: PubSub | None = None
        self._prefix = len(store.fan_out("")) - 1
        self._heard_at = 0.0
        self.connected = False
        """Whether the pub/sub connection stands."""
        self.rtt_ms: float | None = None
        self.reads = 0
        """Pages read because pub/sub did not bring everything."""

    def __iter__(self) -> Iterator[Feed]:
        """Return the feeds."""
        return iter(self._feeds.values())

    def __len__(self) -> int:
        """Return how many channels are followed."""
        return len(self._feeds)

    def get(self, channel: str) -> Feed | None:
        """Return the channel's feed if there is one."""
        return self._feeds.get(channel)

    async def run(self) -> None:
        """Keep the subscription, until cancelled."""
        delay_s = RETRY_S
        try:
            while True:
                obey_cancellation()
                try:
                    await self._follow()
                except (*REDIS_ERRORS, RemoteProtocolError, StoreUnavailableError) as error:
                    if self.connected:
                        log.warning("lost the subscription: %s", error)
                if self.connected:
                    delay_s = RETRY_S
                self._lost()
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, self._retry_most_s)
        finally:
            for task in self._readers.values():
                task.cancel()

    async def use(self, channel: str) -> Feed:
        """Return the channel's feed once it has a position; waits while Redis is away. Give it back with `release`.

        Raises:
            StoreUnavailableError: this node follows too many channels already.

        """
        if channel not in self._feeds and len(self._feeds) >= CHANNELS_MOST:
            raise StoreUnavailableError(f"this node follows {CHANNELS_MOST} channels, which is its limit")
        self._users[channel] = self._users.get(channel, 0) + 1
        self._unused.pop(channel, None)
        try:
            feed = self._feeds.get(channel)
            if feed is None:
                feed = self._feeds[channel] = Feed(channel)
                self._ready[channel] = asyncio.Event()
                await self._subscribe([channel])
            if feed.position is None:
                await self._ready[channel].wait()
        except asyncio.CancelledError:
            self.release(channel)
            raise
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

    async def _read(self, feed: Feed) -> None:
        """Read pages after the feed's position and deliver what is taken."""
        while feed.behind and self.connected and feed.channel in self._feeds:
            obey_cancellation()
            try:
                page = await self._store.read(feed.channel, after=feed.ask())
                self.reads += 1
                found = feed.read(page)
                if isinstance(found, Break):
                    await self._restart(feed, found)
                    continue
            except StoreUnavailableError as error:
                log.warning("%s", error)
                await asyncio.sleep(self._retry_most_s / 2)
                continue
            for entry in found:
                self._hub.deliver(feed.channel, entry)
            self._ready[feed.channel].set()
            await asyncio.sleep(0)  # Let the connections write before the next page.

    async def _restart(self, feed: Feed, why: Break) -> None:
        """Begin the feed again where the log can be continued, and tell the listeners what they miss."""
        assert feed.position is not None
        target = await self.restart_of(feed.channel, feed.position, why)
        log.warning("channel %s cannot be continued at %d (%s)", feed.channel, feed.position.seq, why)
        feed.restart(target.position)
        self._hub.resync(feed.channel, target)

    async def restart_of(self, channel: str, have: Position, why: Break) -> Resync:
        """Return what to tell somebody at `have` who cannot go on, with the position where the log can be taken up.

        After a fork that is the end of the log: what lies before may have been seen under another number.

        Raises:
            StoreUnavailableError: Redis does not answer.

        """
        page = await self._store.read(channel, after=0, most=1)
        return Resync(
            channel=channel,
            reason=str(why),
            have=have.seq,
            first=page.start.seq + 1,
            top=page.top,
            position=page.end if why is Break.FORK else page.start,
        )

    async def _follow(self) -> None:
        """Connect, subscribe to everything, and read until the connection is lost."""
        pubsub = self._store.redis.pubsub()
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        try:
            await pubsub.connect()  # type: ignore[no-untyped-call]
            self._pubsub = pubsub
            self._heard_at = loop.time()
            await self._subscribe([*self._feeds])
            obey_cancellation()
            # No TaskGroup: before Python 3.13 a failed one leaves its parent marked as cancelled.
            tasks += [loop.create_task(work) for work in (self._receive(pubsub), self._ping(pubsub), self._compare())]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._pubsub = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(*REDIS_ERRORS):
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _receive(self, pubsub: PubSub) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            reply = await pubsub.parse_response(block=True)
            self._heard_at = clock()
            match reply:
                case ["message", str(name), str(text)]:
                    self._heard(name[self._prefix : -1], text)
                case ["subscribe", str(name), _]:
                    feed = self._feeds.get(name[self._prefix : -1])
                    if feed is not None:
                        feed.doubt(FeedState.SYNCING)
                        self.catch_up(feed)
                case ["pong", str(sent)] | str(sent):  # The short form as long as nothing is subscribed.
                    self.rtt_ms = (clock() - float(sent)) * 1_000
                    self._restored()
                case _:
                    pass

    def _heard(self, channel: str, text: str) -> None:
        feed = self._feeds.get(channel)
        if feed is None:
            return
        epoch, entry = parse_fan_out(text)
        if feed.heard(epoch, entry):
            self._hub.deliver(channel, entry)
        elif feed.behind and feed.position is not None:
            self.catch_up(feed)

    async def _ping(self, pubsub: PubSub) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            obey_cancellation()
            sent = clock()
            await pubsub.ping(str(sent))
            await asyncio.sleep(PING_S)
            # A sleep that took twice as long tells of our own pause: what came in lies unread.
            if self._heard_at < sent and clock() - sent < 2 * PING_S:
                raise StoreUnavailableError("the subscription does not answer")
            await self._drop_unused(pubsub, clock())

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
        if self._pubsub is None:
            return  # It will be done when there is a connection.
        for start in range(0, len(channels), SUBSCRIBE_BATCH):
            names = [self._store.fan_out(name) for name in channels[start : start + SUBSCRIBE_BATCH]]
            # A connection that is lost just now shows in the reader.
            with suppress(*REDIS_ERRORS):
                await self._pubsub.subscribe(*names)

    async def _drop_unused(self, pubsub: PubSub, now: float) -> None:
        dropped = [name for name, since in self._unused.items() if now - since > LINGER_S]
        for channel in dropped:
            del self._unused[channel], self._feeds[channel], self._ready[channel]
            reader = self._readers.pop(channel, None)
            if reader is not None:
                reader.cancel()
        if dropped:
            await pubsub.unsubscribe(*(self._store.fan_out(name) for name in dropped))

    def _restored(self) -> None:
        if self.connected:
            return
        self.connected = True
        log.info("the subscription stands")
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
        self._hub.broadcast(Notice(component="redis", state="degraded"))
