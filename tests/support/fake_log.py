"""A server in memory with the behaviour of the real one: for nodes on virtual time."""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any, cast

import redis.exceptions

from sample_cluster.config import Profile
from sample_cluster.core.feed import Entry, Page
from sample_cluster.core.messages import Position
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.node import feed as feed_module
from sample_cluster.node.store import Store
from sample_cluster.redis_link import Call, FanOut, FanOutNews, Heard, Ponged, RedisClient, Subscribed
from tests.support.model_redis import Keyspace, ModelRedis


class FakeFanOut(FanOut):
    """One subscription connection."""

    def __init__(self, server: "FakeServer") -> None:
        self._server = server
        self._news: asyncio.Queue[FanOutNews | Exception] = asyncio.Queue()
        self.names: set[str] = set()

    async def connect(self) -> None:
        self._server.check()
        self._server.subscribers.append(self)

    async def subscribe(self, *channels: str) -> None:
        self._server.check()
        self.names.update(channels)
        for name in channels:
            self._news.put_nowait(Subscribed(name))

    async def unsubscribe(self, *channels: str) -> None:
        self.names.difference_update(channels)

    async def ping(self, token: str) -> None:
        self._server.check()
        if not self._server.frozen:
            self._news.put_nowait(Ponged(token))

    async def next(self) -> FanOutNews:
        news = await self._news.get()
        if isinstance(news, Exception):
            raise news
        return news

    def tell(self, news: FanOutNews | Exception) -> None:
        self._news.put_nowait(news)

    async def aclose(self) -> None:
        if self in self._server.subscribers:
            self._server.subscribers.remove(self)


class FakeServer:
    """What stands in Redis, shared by all nodes of a test."""

    def __init__(self) -> None:
        self.model = ModelRedis(self._publish)
        self.subscribers: list[FakeFanOut] = []
        self.epoch = "0000000a"
        self.down = False
        self.frozen = False
        self.drop = 0.0
        """Share of pub/sub messages that get lost."""
        self.dice = Random(1)

    def check(self) -> None:
        if self.down:
            raise redis.exceptions.ConnectionError("refused")

    def stop(self) -> None:
        """Cut everybody off until `down` is taken back."""
        self.down = True
        for subscriber in self.subscribers:
            subscriber.tell(redis.exceptions.ConnectionError("reset"))

    def _publish(self, name: str, text: str) -> None:
        for subscriber in self.subscribers:
            if name in subscriber.names and self.dice.random() >= self.drop:
                subscriber.tell(Heard(name, text))

    def log(self, channel: str) -> tuple[Entry, ...]:
        """Return a channel's log."""
        return self.model.page(key_of(channel), epoch=self.epoch, after=0, most=100_000).entries

    def begin_again(self) -> None:
        """Lose everything."""
        self.epoch = "0000000b"
        self.model.keys = Keyspace()

    def promote(self, replica: Keyspace) -> None:
        """Go on with what a replica had."""
        self.model.keys = replica


def key_of(channel: str) -> str:
    return f"wsc:test:c:{{{channel}}}"


class FakeStore(Store):
    """A node's road to the fake server; every call takes a moment."""

    def __init__(self, server: FakeServer, profile: Profile) -> None:
        super().__init__(cast("RedisClient", server), "test", profile, Random(0))
        self._server = server

    def _epoch(self) -> str:
        return self._server.epoch

    async def session_key(self) -> bytes:
        return b"key"

    async def read(self, channel: str, *, after: int, most: int = 256) -> Page:
        return await self._read(channel, after, most)

    async def recent(self, channel: str, *, most: int) -> Page:
        return await self._read(channel, None, most)

    async def _read(self, channel: str, after: int | None, most: int) -> Page:
        self._check()
        page = self._server.model.page(key_of(channel), epoch=self._server.epoch, after=after, most=most)
        await asyncio.sleep(0.001)  # What is written meanwhile is not in the answer.
        return page

    async def ends(self, channels: Iterable[str]) -> dict[str, Position]:
        self._check()
        await asyncio.sleep(0.001)
        model, epoch = self._server.model, self._server.epoch
        return {channel: model.page(key_of(channel), epoch=epoch, after=0, most=0).end for channel in channels}

    async def tell(self, node: str, text: str) -> None:
        self._server._publish(self.mailbox(node), text)

    async def _run(self, calls: list[Call]) -> list[Any]:
        await asyncio.sleep(0.001)
        if self._server.down:
            return [redis.exceptions.ConnectionError("refused")] * len(calls)
        return [self._server.model.run(call) for call in calls]

    async def _replicas(self, channel: str) -> int:
        return 0  # Nobody copies what stands in memory.

    def _check(self) -> None:
        if self._server.down:
            raise StoreUnavailableError("refused")


def install(monkeypatch: Any) -> None:
    """Let feeds subscribe to the fake server."""
    monkeypatch.setattr(feed_module, "open_fan_out", FakeFanOut)
