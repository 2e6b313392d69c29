"""A message log in memory with the behaviour of the real one: for nodes on virtual time."""

import asyncio
from collections import defaultdict
from random import Random
from typing import Any, cast

import redis.asyncio
import redis.exceptions

from sample_cluster.config import Profile
from sample_cluster.core.feed import Entry, Page
from sample_cluster.core.messages import Position
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.node.store import OUT_OF_ORDER, UNAVAILABLE, Append, Appended, AppendOutcome, Store


class FakePubSub:
    """One subscription connection."""

    def __init__(self, server: "FakeServer") -> None:
        self._server = server
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        self.names: set[str] = set()

    async def connect(self) -> None:
        self._server.check()
        self._server.subscribers.append(self)

    async def subscribe(self, *names: str) -> None:
        self._server.check()
        self.names.update(names)
        for name in names:
            self.replies.put_nowait(["subscribe", name, len(self.names)])

    async def unsubscribe(self, *names: str) -> None:
        self.names.difference_update(names)

    async def ping(self, text: str) -> None:
        self._server.check()
        if not self._server.frozen:
            self.replies.put_nowait(["pong", text] if self.names else text)

    async def parse_response(self, *, block: bool) -> Any:
        reply = await self.replies.get()
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aclose(self) -> None:
        if self in self._server.subscribers:
            self._server.subscribers.remove(self)


class FakeServer:
    """What stands in Redis, shared by all nodes of a test."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Entry]] = defaultdict(list)
        self.tops: dict[str, Position] = {}
        self.published: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        self.subscribers: list[FakePubSub] = []
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
            subscriber.replies.put_nowait(redis.exceptions.ConnectionError("reset"))

    def pubsub(self) -> FakePubSub:
        return FakePubSub(self)

    def end(self, channel: str) -> Position:
        return self.tops.setdefault(channel, Position(epoch=self.epoch, seq=0, nonce=0))

    def append(self, request: Append, name: str) -> AppendOutcome:
        """Do what append.lua does."""
        known = self.published[request.session, request.channel]
        last = max(known, default=0)
        if request.cseq <= last:
            return Appended(known.get(request.cseq, 0), dup=True)
        if last < request.after:
            return OUT_OF_ORDER
        end = self.end(request.channel)
        entry = Entry(
            seq=end.seq + 1,
            nonce=self.dice.getrandbits(32),
            prev=end.nonce,
            id=request.id,
            ts=request.ts,
            data=request.data,
            encoding=request.encoding,
        )
        self.logs[request.channel].append(entry)
        self.tops[request.channel] = Position(epoch=end.epoch, seq=entry.seq, nonce=entry.nonce)
        known[request.cseq] = entry.seq
        text = f"{end.epoch} {entry.seq} {entry.nonce} {entry.prev} {entry.ts} {entry.id} - {entry.data}"
        for subscriber in self.subscribers:
            if name in subscriber.names and self.dice.random() >= self.drop:
                subscriber.replies.put_nowait(["message", name, text])
        return Appended(entry.seq, dup=False)

    def begin_again(self, channel: str) -> None:
        """Lose a channel's history."""
        self.epoch = "0000000b"
        self.logs[channel].clear()
        self.tops.pop(channel, None)


class FakeStore(Store):
    """A node's road to the fake server; every call takes a moment."""

    def __init__(self, server: FakeServer, profile: Profile) -> None:
        super().__init__(cast("redis.asyncio.Redis", server), "test", profile, Random(0))
        self._server = server

    async def session_key(self) -> bytes:
        return b"key"

    async def read(self, channel: str, *, after: int, most: int = 256) -> Page:
        self._check()
        end, entries = self._server.end(channel), self._server.logs[channel]
        found = tuple(entry for entry in entries if entry.seq > after)[:most]
        await asyncio.sleep(0.001)  # What is written meanwhile is not in the answer.
        return Page(epoch=end.epoch, top=end.seq, nonce=end.nonce, entries=found)

    async def ends(self, channels: Any) -> dict[str, Position]:
        self._check()
        await asyncio.sleep(0.001)
        return {channel: self._server.end(channel) for channel in channels}

    async def _append(self, batch: list[Append]) -> list[AppendOutcome]:
        await asyncio.sleep(0.001)
        if self._server.down:
            return [UNAVAILABLE] * len(batch)
        return [self._server.append(request, self.fan_out(request.channel)) for request in batch]

    def _check(self) -> None:
        if self._server.down:
            raise StoreUnavailableError("refused")
