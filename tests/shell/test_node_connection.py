"""Connections, feeds and hub of nodes on virtual time, with the log in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from sample_cluster.codecs import codec_for
from sample_cluster.config import PRODUCTION
from sample_cluster.core.messages import (
    Ack,
    ClientFrame,
    Error,
    GoAway,
    GoAwayReason,
    Hello,
    Message,
    NodeFrame,
    Notice,
    Ping,
    Pong,
    Position,
    Publish,
    Published,
    Resume,
    Resync,
    Rewind,
    Subscribe,
    Subscribed,
    UnknownFrame,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from sample_cluster.node.connection import ClientConnection, Services
from sample_cluster.node.credentials import Credentials
from sample_cluster.node.feed import Feeds
from sample_cluster.node.hub import Hub
from sample_cluster.node.listing import KEYS, answer
from sample_cluster.node.server import terms
from sample_cluster.node.sessions import Sessions
from tests.support.fake_log import FakeServer, FakeStore, install, key_of
from tests.support.store_contract import check_store
from wsmon.protocol.events import EventBody, HeartbeatMissed, ZombieRefused
from wsmon.protocol.frames import Page, Query


@pytest.fixture(autouse=True)
def _fake_fan_out(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


class FakeTransport:
    """Takes bytes as long as the peer reads."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.unsent = 0
        self.reading = True
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data
        self.unsent += 0 if self.reading else len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class FakeSocket:
    """The library's connection as far as ours uses it."""

    def __init__(self, subprotocol: str | None = None) -> None:
        self.transport = FakeTransport()
        self.state = State.OPEN
        self.remote_address = ("127.0.0.1", 5_000)
        self.subprotocol = subprotocol
        self.close_code: int | None = None
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()

    def feed(self, message: str | bytes | None) -> None:
        self._incoming.put_nowait(message)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while (message := await self._incoming.get()) is not None:
            yield message

    async def close(self, code: int, reason: str) -> None:
        if self.state is State.OPEN:
            self.close_code, self.state = code, State.CLOSED
            self.feed(None)


class Client:
    """A client's side: sends frames and collects what the node wrote."""

    def __init__(self, node: "FakeNode", number: int, subprotocol: str | None = None) -> None:
        self.socket = FakeSocket(subprotocol)
        self._codec = codec_for(subprotocol)
        self.connection = ClientConnection(number, cast("ServerConnection", self.socket), node.services)
        self.task = asyncio.create_task(self.connection.serve())
        self.acks = True
        self._read = 0

    def send(self, *frames: ClientFrame) -> None:
        payload = self._codec.join([self._codec.encode(frame) for frame in frames])
        self.socket.feed(payload if self._codec.binary else payload.decode())

    async def received(self, *, after_s: float = 1.0) -> list[NodeFrame | UnknownFrame]:
        """Return what came since the last time, once things have settled; acknowledge it, and on the way there."""
        frames: list[NodeFrame | UnknownFrame] = []
        while after_s > 0:
            await asyncio.sleep(min(after_s, 1.0))
            after_s -= 1.0
            frames += self._take()
            tops = {frame.channel: frame.seq for frame in frames if isinstance(frame, Message)}
            if tops and self.acks:
                self.send(Ack(acks=tops))
        return frames

    def _take(self) -> list[NodeFrame | UnknownFrame]:
        frames: list[NodeFrame | UnknownFrame] = []
        data = bytes(self.socket.transport.written)
        while self._read < len(data):
            length, start = data[self._read + 1], self._read + 2
            if length == 126:
                length, start = int.from_bytes(data[start : start + 2]), start + 2
            payload = data[start : start + length]
            frames += self._codec.decode_node(payload if self._codec.binary else payload.decode())
            self._read = start + length
        return frames

    def code(self) -> int | None:
        """Return the code with which the connection was closed."""
        return self.socket.close_code

    def leave(self) -> None:
        self.socket.close_code = 1000
        self.socket.state = State.CLOSED
        self.socket.feed(None)


class FakeNode:
    """A node without its server: store, feeds, hub and connections."""

    def __init__(self, server: FakeServer, name: str = "n1") -> None:
        profile = PRODUCTION
        self.hub = Hub()
        self.store = FakeStore(server, profile)
        self.events: list[EventBody] = []
        self.feeds = Feeds(self.store, self.hub, profile, Random(2), self.events.append)
        self.sessions = Sessions(name, self.store, self.feeds, self.hub, profile)
        self.services = Services(
            terms=terms(name, 1, profile),
            profile=profile,
            hub=self.hub,
            feeds=self.feeds,
            store=self.store,
            sessions=self.sessions,
            credentials=Credentials(b"key"),
            emit=self.events.append,
        )
        self.name = name
        self._clients: list[Client] = []

    def client(self, subprotocol: str | None = None) -> Client:
        client = Client(self, len(self._clients) + 1, subprotocol)
        self._clients.append(client)
        return client

    async def hello(self) -> Client:
        """Return a client that was welcomed."""
        client = self.client()
        client.send(Hello())
        assert [type(frame) for frame in await client.received(after_s=0.01)] == [Welcome]
        return client

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeNode"]:
        parts = (self.store.run(), self.feeds.run(), self.sessions.run())
        tasks = [asyncio.create_task(part) for part in parts]
        await asyncio.sleep(0.01)
        yield self
        for client in self._clients:
            client.leave()
        await asyncio.gather(*(client.task for client in self._clients))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert self.hub.connections == {}
        assert self.hub.sessions == {}
        assert self.hub.channels == {}


def keep_answering(client: Client, *, seconds: int) -> asyncio.Task[None]:
    async def answer() -> None:
        for _ in range(seconds):
            client.send(Pong(ts=0))
            await asyncio.sleep(1)

    return asyncio.create_task(answer())


def publish(cseq: int, channel: str = "c", data: Any = None) -> Publish:
    return Publish(channel=channel, cseq=cseq, data=cseq if data is None else data)


def seqs(frames: list[NodeFrame | UnknownFrame]) -> list[int]:
    return [frame.seq for frame in frames if isinstance(frame, Message)]


def place(frames: list[NodeFrame | UnknownFrame], seq: int) -> Position:
    """Return the position after the message `seq`."""
    found = next(frame for frame in frames if isinstance(frame, Message) and frame.seq == seq)
    return Position(epoch="0000000a", seq=seq, nonce=found.nonce)


async def test_hello_is_answered_with_what_the_client_has_to_know() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = node.client()
        client.send(Hello())
        (welcome,) = await client.received(after_s=0.01)
        assert isinstance(welcome, Welcome)
        assert (welcome.node, welcome.boot, welcome.attempt) == ("n1", 1, 1)
        assert (welcome.timings.ping_ms, welcome.timings.pong_ms, welcome.timings.misses) == (30_000, 10_000, 3)
        assert welcome.reconnect.spread_ms == 5_000
        assert welcome.limits.max_data == 512
        assert node.services.credentials.check(welcome.session, welcome.secret)
        assert len(node.hub.connections) == 1


async def test_a_client_that_says_nothing_is_closed_after_five_seconds() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = node.client()
        await asyncio.sleep(4.9)
        assert client.code() is None
        await client.received()
        assert node.hub.closes == {4501: 1}


@pytest.mark.parametrize(
    "text", ['{"type":"pong","ts":1}', "garbage", b"binary", '{"type":"hello"}\n{"type":"hello"}', '{"type":"wat"}']
)
async def test_a_client_that_breaks_the_protocol_is_closed_with_4501(text: str | bytes) -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = node.client()
        client.socket.feed(text)
        await client.task
        assert client.code() == 4501


async def test_a_frame_of_an_unknown_type_is_an_error_and_no_close() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.socket.feed('{"type":"wat"}\n{"type":"auth","token":"t"}')
        (error,) = await client.received()
        assert isinstance(error, Error)
        assert error.code == "unknown_type"
        assert client.code() is None


async def test_a_silent_client_is_dead_after_a_hundred_seconds() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        began = asyncio.get_running_loop().time()
        await client.task
        assert asyncio.get_running_loop().time() - began == pytest.approx(100, abs=0.1)
        assert client.code() == 4002
        assert node.events == [HeartbeatMissed(connection="n1-1", count=count, needed=3) for count in (1, 2, 3)]
        assert (node.hub.pings, node.hub.pings_missed, node.hub.dead) == (3, 3, 1)
        assert [type(frame) for frame in await client.received()] == [Ping] * 3


async def test_a_client_that_answers_stays() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        await keep_answering(client, seconds=600)
        assert client.code() is None
        assert (node.hub.pings, node.hub.pings_missed) == (20, 0)


async def test_a_message_reaches_the_subscribers_of_all_nodes_in_order() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        publisher, here, there = await one.hello(), await one.hello(), await two.hello()
        for client in (here, there):
            client.send(Subscribe(id=7, channel="c"))
            (answer,) = await client.received()
            assert answer == Subscribed(id=7, channel="c", position=Position(epoch="0000000a", seq=0, nonce=0))
        publisher.send(*(publish(cseq) for cseq in range(1, 51)))
        expected = [Published(channel="c", cseq=cseq, seq=cseq) for cseq in range(1, 51)]
        assert await publisher.received() == expected
        for client in (here, there):
            frames = await client.received()
            assert seqs(frames) == [*range(1, 51)]
            assert all(isinstance(frame, Message) and frame.data == frame.seq for frame in frames)
        assert (one.hub.messages_in, one.hub.messages_out, two.hub.messages_out) == (50, 50, 50)


async def test_a_repeated_publish_is_a_duplicate_and_delivered_once() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.send(Subscribe(id=1, channel="c"))
        await client.received()
        client.send(publish(1), publish(2), publish(1), publish(2), publish(3))
        frames = await client.received()
        answers = [(frame.cseq, frame.seq, frame.dup) for frame in frames if isinstance(frame, Published)]
        assert answers == [(1, 1, False), (2, 2, False), (1, 1, True), (2, 2, True), (3, 3, False)]
        assert seqs(frames) == [1, 2, 3]


async def test_what_cannot_be_published_is_refused_for_good() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.send(
            publish(1, data="x" * 511),
            replace(publish(2), encoding="base64", data="no!"),
            replace(publish(3), encoding="gzip", data="eA=="),
            replace(publish(4), encoding="base64", data="eA=="),
        )
        frames = await client.received()
        refused = [(frame.cseq, frame.code, frame.temporary) for frame in frames if isinstance(frame, Error)]
        assert refused == [(1, "too_big", False), (2, "bad_encoding", False), (3, "bad_encoding", False)]
        assert frames[-1] == Published(channel="c", cseq=4, seq=1)


async def test_an_earlier_message_that_was_refused_holds_up_the_later_ones() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client = await node.hello()
        client.send(publish(1))
        await client.received()
        server.down = True  # Appends fail; the subscription is lost a moment later.
        client.send(publish(2))
        error = (await client.received())[0]
        assert isinstance(error, Error)
        assert (error.cseq, error.code, error.temporary, error.retry_ms) == (2, "unavailable", True, 1_000)
        server.down = False
        client.send(publish(3))  # On its way before the client knew.
        error = next(frame for frame in await client.received() if isinstance(frame, Error))
        assert (error.cseq, error.code, error.temporary) == (3, "out_of_order", True)
        client.send(publish(2), publish(3))
        answers = [frame for frame in await client.received() if isinstance(frame, Published)]
        assert answers == [Published(channel="c", cseq=2, seq=2), Published(channel="c", cseq=3, seq=3)]


async def test_a_subscriber_continues_from_its_position_without_hole_or_repetition() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        publisher, client = await one.hello(), await one.hello()
        client.send(Subscribe(id=1, channel="c"))
        publisher.send(*(publish(cseq) for cseq in range(1, 701)))
        frames = await client.received(after_s=5)
        assert seqs(frames) == [*range(1, 701)]
        later = await two.hello()
        later.send(Subscribe(id=2, channel="c", start=place(frames, 30)))
        await asyncio.sleep(0.002)
        publisher.send(*(publish(cseq) for cseq in range(701, 801)))  # While the replay is under way.
        answer, *replayed = await later.received(after_s=5)
        assert isinstance(answer, Subscribed)
        assert (answer.position.seq, answer.replay >= 670) == (30, True)
        assert seqs(replayed) == [*range(31, 801)]
        flagged = [frame.seq for frame in replayed if isinstance(frame, Message) and frame.replay]
        assert flagged == [*range(31, 31 + answer.replay)]


async def test_a_recent_position_is_continued_from_memory() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client = await node.hello()
        client.send(Subscribe(id=1, channel="c"), *(publish(cseq) for cseq in range(1, 11)))
        frames = await client.received()
        reads = node.feeds.reads
        again = await node.hello()
        server.down = True  # No page can be read.
        again.send(Subscribe(id=1, channel="c", start=place(frames, 6)))
        assert seqs(await again.received()) == [7, 8, 9, 10]
        assert node.feeds.reads == reads


async def test_from_the_start_means_from_the_oldest_that_is_kept() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client = await node.hello()
        client.send(*(publish(cseq) for cseq in range(1, 11)))
        await client.received()
        server.model.trim(key_of("c"), 6)
        client.send(Subscribe(id=1, channel="c", start="start"))
        answer, *replayed = await client.received()
        assert isinstance(answer, Subscribed)
        assert (answer.position.seq, answer.replay) == (4, 6)
        assert seqs(replayed) == [5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("start", "reason", "first"),
    [
        (Position(epoch="0000000a", seq=2, nonce=1), "trimmed", 5),
        (Position(epoch="000000ff", seq=2, nonce=1), "epoch", 5),
        (Position(epoch="0000000a", seq=10, nonce=1), "fork", 11),
        (Position(epoch="0000000a", seq=99, nonce=1), "fork", 11),
    ],
)
async def test_a_position_that_cannot_be_continued_gets_a_resync(start: Position, reason: str, first: int) -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client = await node.hello()
        client.send(*(publish(cseq) for cseq in range(1, 11)))
        await client.received()
        server.model.trim(key_of("c"), 6)
        client.send(Subscribe(id=1, channel="c", start=start))
        resync, answer, *replayed = await client.received(after_s=3)  # A fork is given a moment to heal.
        assert isinstance(resync, Resync)
        assert (resync.reason, resync.have, resync.first, resync.top) == (reason, start.seq, 5, 10)
        assert isinstance(answer, Subscribed)
        assert answer.position == resync.position
        assert seqs(replayed) == [*range(first, 11)]


@pytest.mark.parametrize("seed", range(20))
async def test_pub_sub_may_drop_what_it_likes_and_nobody_misses_anything(seed: int) -> None:
    server = FakeServer()
    server.dice, dice = Random(seed), Random(seed)
    server.drop = 0.5
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        publisher = await one.hello()
        clients = [await one.hello(), await two.hello()]
        answering = [keep_answering(client, seconds=60) for client in (publisher, *clients)]
        for client in clients:
            client.send(Subscribe(id=1, channel="c"))
            await client.received()
        for cseq in range(1, 201):
            publisher.send(publish(cseq))
            await asyncio.sleep(dice.choice((0, 0, 0.0005, 0.01)))
        for frames in await asyncio.gather(*(client.received(after_s=12) for client in clients)):
            assert seqs(frames) == [*range(1, 201)]
        await asyncio.gather(*answering)


async def test_redis_may_go_and_come_back() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        publisher, client = await one.hello(), await two.hello()
        client.send(Subscribe(id=1, channel="c"))
        publisher.send(publish(1))
        await client.received()
        server.stop()
        assert await client.received() == [Notice(component="redis", state="degraded")]
        feed = two.feeds.get("c")
        assert feed is not None
        assert feed.state == "stalled"
        client.send(Subscribe(id=2, channel="later"))  # Waits, and is answered in the end.
        assert await client.received() == []
        server.down = False
        publisher.send(publish(2))  # Before any node has subscribed again.
        frames = await client.received(after_s=6)
        assert [frame.state for frame in frames if isinstance(frame, Notice)] == ["live"]
        assert seqs(frames) == [2]
        assert [frame.id for frame in frames if isinstance(frame, Subscribed)] == [2]
        assert feed.state == "live"


async def test_a_frozen_redis_is_noticed() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client = await node.hello()
        server.frozen = True
        assert Notice(component="redis", state="degraded") in await client.received(after_s=3)
        server.frozen = False
        assert Notice(component="redis", state="live") in await client.received(after_s=6)


async def test_a_lost_history_is_put_back_by_who_has_it_and_nobody_notices() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client = await node.hello()
        client.send(Subscribe(id=1, channel="c"), publish(1), publish(2))
        await client.received()
        before = server.log("c")
        server.begin_again()
        client.send(publish(3))
        (refusal,) = await client.received()
        assert isinstance(refusal, Error)
        assert (refusal.code, refusal.temporary, refusal.retry_ms) == ("unavailable", True, 250)
        client.send(publish(3))
        frames = await client.received()
        assert {type(frame) for frame in frames} == {Message, Published}
        assert seqs(frames) == [3]
        assert server.log("c")[:2] == before


async def test_a_history_that_others_have_begun_again_is_told() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node, FakeNode(server, "n2").running() as other:
        client, stranger = await node.hello(), await other.hello()
        client.send(Subscribe(id=1, channel="c"), publish(1), publish(2))
        await client.received()
        server.begin_again()
        stranger.send(publish(1))  # Its node has never seen the channel.
        frames = await client.received()
        resync = next(frame for frame in frames if isinstance(frame, Resync))
        assert (resync.reason, resync.have, resync.position.epoch) == ("epoch", 2, "0000000b")
        assert seqs(frames) == [1]


async def test_a_stale_replica_gets_back_what_a_ring_holds() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client = await node.hello()
        client.send(Subscribe(id=1, channel="c"), publish(1), publish(2))
        await client.received()
        replica = server.model.snapshot()
        client.send(publish(3), publish(4))
        await client.received()
        before = server.log("c")
        server.promote(replica)
        answering = keep_answering(client, seconds=12)
        assert await client.received(after_s=11) == []  # Found by comparing quiet feeds.
        answering.cancel()
        assert server.log("c") == before
        client.send(publish(5))
        assert {type(frame) for frame in await client.received()} == {Message, Published}


async def test_what_others_wrote_in_its_place_makes_a_rewind_and_nothing_is_lost() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node, FakeNode(server, "n2").running() as other:
        client, away, stranger = await node.hello(), await node.hello(), await other.hello()
        client.send(Subscribe(id=1, channel="c"), publish(1), publish(2))
        await client.received()
        replica = server.model.snapshot()
        client.send(publish(3), publish(4))
        frames = await client.received()
        old = place(frames, 3)
        server.promote(replica)
        stranger.send(publish(1, data="new"))
        frames = await client.received(after_s=2)
        rewind = next(frame for frame in frames if isinstance(frame, Rewind))
        assert (rewind.to, rewind.void, rewind.position.seq) == (2, (3, 4), 2)
        assert [frame.data for frame in frames if isinstance(frame, Message)] == ["new", 3, 4]
        assert seqs(frames) == [3, 4, 5]
        # Who comes later with a place that never happened is told the same.
        away.send(Subscribe(id=1, channel="c", start=old))
        told, answer, *rest = await away.received()
        assert isinstance(told, Rewind)
        assert (told.to, told.void) == (2, (3, 3))
        assert isinstance(answer, Subscribed)
        assert seqs(rest) == [3, 4, 5]


async def test_a_session_that_nobody_knows_any_more_goes_on_and_is_told() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        old = node.client()
        old.send(Hello(), Subscribe(id=1, channel="c"), publish(1), publish(2))
        frames = await old.received()
        welcome = next(frame for frame in frames if isinstance(frame, Welcome))
        old.leave()
        await asyncio.sleep(0.1)
        server.model.keys.hashes = {key: value for key, value in server.model.keys.hashes.items() if ":s:" not in key}
        new = node.client()
        new.send(Resume(session=welcome.session, secret=welcome.secret, attempt=7, positions={"c": place(frames, 1)}))
        again, resync, *rest = await new.received()
        assert isinstance(again, Welcome)
        assert (again.session, again.attempt, again.resumed, again.fresh) == (welcome.session, 7, (), ("c",))
        assert isinstance(resync, Resync)
        assert (resync.reason, resync.have, resync.position.seq) == ("expired", 1, 1)
        assert seqs(rest) == [2]


async def test_who_lost_its_positions_goes_on_where_it_acknowledged() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        old = one.client()
        old.send(Hello(), Subscribe(id=1, channel="c"), *(publish(cseq) for cseq in range(1, 6)))
        old.acks = False
        frames = await old.received()
        welcome = next(frame for frame in frames if isinstance(frame, Welcome))
        old.send(Ack(acks={"c": 3}))
        await old.received(after_s=0.1)
        old.leave()
        await asyncio.sleep(0.1)
        new = two.client()
        new.send(Resume(session=welcome.session, secret=welcome.secret, attempt=2))
        again, *rest = await new.received()
        assert isinstance(again, Welcome)
        assert again.resumed == ("c",)
        assert seqs(rest) == [4, 5]


async def test_a_session_is_fenced_across_nodes_and_its_old_owner_lets_go() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        old = one.client()
        old.send(Hello())
        (welcome,) = await old.received(after_s=0.1)
        assert isinstance(welcome, Welcome)
        new = two.client()
        resume = Resume(session=welcome.session, secret=welcome.secret, attempt=2)
        new.send(resume)
        await new.received(after_s=0.5)
        assert old.code() is None, "in a hand-over the client closes it"
        await new.received()
        assert old.code() == 4502
        zombie = one.client()
        zombie.send(resume)
        (error,) = await zombie.received()
        assert isinstance(error, Error)
        assert (error.code, zombie.code()) == ("stale_attempt", 4502)
        assert one.hub.resumes["stale"] == 1


async def test_a_revoked_session_is_closed_and_never_comes_back() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        client = one.client()
        client.send(Hello())
        (welcome,) = await client.received(after_s=0.1)
        assert isinstance(welcome, Welcome)
        assert await two.sessions.revoke(welcome.session)
        await client.task
        assert client.code() == 4504
        again = two.client()
        again.send(Resume(session=welcome.session, secret=welcome.secret, attempt=2))
        await again.task
        assert again.code() == 4504


async def test_without_redis_a_resume_is_served_from_memory_and_fenced_later() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        old = one.client()
        old.send(Hello(), Subscribe(id=1, channel="c"), *(publish(cseq) for cseq in range(1, 6)))
        listener = await two.hello()
        listener.send(Subscribe(id=1, channel="c"))
        frames = await old.received()
        welcome = next(frame for frame in frames if isinstance(frame, Welcome))
        third = two.client()
        resume = Resume(session=welcome.session, secret=welcome.secret, attempt=2, positions={"c": place(frames, 3)})
        server.stop()
        await asyncio.sleep(0.1)
        third.send(resume)
        again, *rest = await third.received()
        assert isinstance(again, Welcome)
        assert again.resumed == ("c",)
        assert seqs(rest) == [4, 5]
        server.down = False
        await third.received(after_s=4)
        assert third.connection.protocol.claimed_for_sure
        assert old.code() == 4502


async def test_a_session_that_acknowledges_nothing_is_asked_twice_and_closed_after_fifteen_seconds() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.acks = False
        client.send(Subscribe(id=1, channel="c"), publish(1), publish(2))
        answering = keep_answering(client, seconds=30)
        frames = await client.received(after_s=14)
        assert seqs(frames) == [1, 2, 1, 1]
        assert [frame.replay for frame in frames if isinstance(frame, Message)] == [False, False, True, True]
        assert client.code() is None
        await client.received(after_s=3)
        assert client.code() == 4001
        answering.cancel()


async def test_a_window_that_is_full_is_fed_as_it_is_acknowledged() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as node:
        client, publisher = await node.hello(), await node.hello()
        client.acks = False
        client.send(Subscribe(id=1, channel="c"))
        await client.received(after_s=0.1)
        for cseq in range(1, 3_001):
            publisher.send(publish(cseq))
            if cseq % 500 == 0:
                await asyncio.sleep(0.5)
        taken = seqs(await client.received(after_s=0.5))
        assert taken == [*range(1, 1_025)]
        assert node.services.hub.channels == {}
        assert client.connection.protocol.lagging
        while taken[-1] < 3_000:
            client.send(Ack(acks={"c": taken[-1] - 500}))
            more = seqs(await client.received(after_s=0.1))
            assert more, "an acknowledgement gives room"
            taken += more
        assert taken == [*range(1, 3_001)]
        client.send(Ack(acks={"c": 3_000}))
        await client.received(after_s=0.1)
        assert node.hub.channels["c"].keys() == {client.connection.name}
        publisher.send(publish(3_001))
        assert seqs(await client.received(after_s=0.1)) == [3_001]


async def test_who_publishes_too_much_is_told_and_then_closed() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client, other = await node.hello(), await node.hello()
        other.send(Subscribe(id=1, channel="other"))
        for start in range(1, 2_101, 100):
            client.send(*(publish(cseq) for cseq in range(start, start + 100)))
        errors = [frame for frame in await client.received() if isinstance(frame, Error)]
        assert all(error.temporary and error.retry_ms for error in errors)
        assert sum(error.code == "rate_limited" for error in errors) >= 40
        assert client.code() is None
        for _ in range(400):
            client.send(*(publish(cseq) for cseq in range(2_101, 2_201)))
        await client.received()
        assert client.code() == 4501
        other.send(publish(1, channel="other"))
        assert seqs(await other.received(after_s=0.1)) == [1]


async def test_protobuf_and_json_meet_in_one_channel() -> None:
    server = FakeServer()
    async with FakeNode(server).running() as one, FakeNode(server, "n2").running() as two:
        text, binary = one.client(), two.client("wsc.v1.pb")
        for client in (text, binary):
            client.send(Hello(), Subscribe(id=1, channel="c"))
            await client.received()
        text.send(publish(1, data={"ü": 1.5}))
        binary.send(replace(publish(1, data="AP8="), encoding="base64"))
        for client in (text, binary):
            messages = [frame for frame in await client.received() if isinstance(frame, Message)]
            assert {(str(frame.data), frame.encoding) for frame in messages} == {
                ("{'ü': 1.5}", None),
                ("AP8=", "base64"),
            }


async def test_nothing_comes_after_unsubscribe_and_the_feed_goes_after_a_while() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.send(Subscribe(id=1, channel="c"))
        await client.received()
        client.send(Unsubscribe(id=2, channel="c"), publish(1))
        assert await client.received() == [
            Unsubscribed(id=2, channel="c"),
            Published(channel="c", cseq=1, seq=1),
        ]
        assert node.feeds.get("c") is not None
        await asyncio.sleep(15)
        assert node.feeds.get("c") is None


async def test_acks_are_counted() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.acks = False
        client.send(Subscribe(id=1, channel="c"), *(publish(cseq) for cseq in range(1, 6)))
        await client.received()
        assert client.connection.unacked == 5
        client.send(Ack(acks={"c": 3, "other": 9}))
        await client.received()
        assert client.connection.unacked == 2


async def test_a_session_is_resumed_where_it_was_and_the_old_connection_is_closed() -> None:
    async with FakeNode(FakeServer()).running() as node:
        old = node.client()
        old.send(Hello(), Subscribe(id=1, channel="c"), publish(1), publish(2), publish(3))
        frames = await old.received()
        welcome = next(frame for frame in frames if isinstance(frame, Welcome))
        resume = Resume(session=welcome.session, secret=welcome.secret, attempt=2, positions={"c": place(frames, 1)})
        new = node.client()
        new.send(resume, publish(3), publish(4))
        again, *rest = await new.received(after_s=1.5)
        assert isinstance(again, Welcome)
        assert (again.session, again.attempt, again.resumed) == (welcome.session, 2, ("c",))
        assert seqs(rest) == [2, 3, 4]
        assert [(frame.cseq, frame.dup) for frame in rest if isinstance(frame, Published)] == [(3, True), (4, False)]
        assert old.code() == 4502
        stale = node.client()
        stale.send(replace(resume, attempt=1))
        (error,) = await stale.received()
        assert isinstance(error, Error)
        assert (error.code, stale.code()) == ("stale_attempt", 4502)
        assert node.events == [ZombieRefused(node="n1", reason="attempt 1 to resume, after attempt 2")]
        assert new.code() is None
        assert [*node.hub.sessions] == [welcome.session]


@pytest.mark.parametrize("change", [{"session": "made.up"}, {"secret": "guessed"}, {"session": "x", "secret": "x"}])
async def test_a_session_that_is_not_the_clients_is_refused_with_4503(change: dict[str, str]) -> None:
    async with FakeNode(FakeServer()).running() as node:
        session = node.services.credentials.issue()
        client = node.client()
        resume = Resume(session=session, secret=node.services.credentials.secret(session), attempt=2)
        client.send(replace(resume, **change))  # type: ignore[arg-type]  # Only texts are changed.
        await client.task
        assert client.code() == 4503


async def test_a_client_that_does_not_read_is_closed_and_costs_a_bounded_amount() -> None:
    async with FakeNode(FakeServer()).running() as node:
        publisher, slow, quick = await node.hello(), await node.hello(), await node.hello()
        for client in (slow, quick):
            client.send(Subscribe(id=1, channel="c"))
            await client.received(after_s=0.1)
        slow.socket.transport.reading = False
        taken: list[int] = []
        for cseq in range(1, 4_001):
            publisher.send(publish(cseq, data="x" * 200))
            if cseq % 100 == 0:
                taken += seqs(await quick.received(after_s=0.2))
        answering = [keep_answering(client, seconds=20) for client in (publisher, slow, quick)]
        await slow.task
        assert slow.code() == 4001
        assert slow.socket.transport.unsent < 2 * 1024 * 1024
        assert taken == [*range(1, 4_001)]
        assert node.hub.closes == {4001: 1}
        for task in answering:
            task.cancel()


async def test_a_client_that_reads_slowly_gets_everything() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.send(Subscribe(id=1, channel="c"))
        await client.received(after_s=0.1)
        client.socket.transport.reading = False
        client.send(*(publish(cseq, data="x" * 400) for cseq in range(1, 401)))
        await asyncio.sleep(1)
        client.socket.transport.reading = True
        client.socket.transport.unsent = 0
        assert seqs(await client.received()) == [*range(1, 401)]


async def test_go_away_says_how_long_there_is() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.connection.go_away(GoAwayReason.DRAIN, deadline_s=2.5)
        assert await client.received() == [
            GoAway(reason=GoAwayReason.DRAIN, retry_ms=0, spread_ms=0, deadline_ms=2_500, handover=True)
        ]


async def test_too_many_channels_are_refused() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        client.send(*(Subscribe(id=number, channel=f"c{number}") for number in range(257)))
        errors = [frame for frame in await client.received() if isinstance(frame, Error)]
        assert [(error.id, error.code) for error in errors] == [(256, "too_many_channels")]


async def test_two_frames_of_one_turn_are_written_at_once() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = await node.hello()
        writes: list[bytes] = []
        client.socket.transport.write = writes.append  # type: ignore[method-assign, assignment]
        client.socket.feed('{"type":"a"}\n{"type":"b"}')
        await asyncio.sleep(1)
        assert len(writes) == 1
        assert json.loads(writes[0][2 : 2 + writes[0][1]])["code"] == "unknown_type"


async def test_the_fake_log_keeps_the_contract_of_the_real_one() -> None:
    store = FakeStore(FakeServer(), PRODUCTION)
    task = asyncio.create_task(store.run())
    await check_store(store)
    task.cancel()


# What is told of connections.


def listed(node: FakeNode, **asked: Any) -> Page:
    connections = [item for item in node.hub.connections.values() if isinstance(item, ClientConnection)]
    return answer(Query(id="q1", **{"what": "sessions", "limit": 10, **asked}), connections)


async def test_a_row_tells_what_is_known_of_a_connection() -> None:
    async with FakeNode(FakeServer()).running() as node:
        client = node.client("wsc.v1.json")
        client.send(Hello(client={"name": "c001", "lang": "python"}))
        client.send(Subscribe(id=1, channel="c"))
        await client.received()
        client.send(publish(1), publish(2))
        client.acks = False
        await client.received()
        ((row,), cursor) = listed(node).rows, listed(node).cursor
        sent = len(client.socket.transport.written)
        assert cursor is None
        assert row == {
            "session": client.connection.session,
            "connection": "n1-1",
            "client": "c001",
            "address": "127.0.0.1:5000",
            "attempt": 1,
            "codec": "json",
            "since": round(client.connection.since, 3),
            "channels": ["c"],
            "positions": {"c": 2},
            "unacked": 2,
            "lagging": False,
            "bytes_in": row["bytes_in"],
            "bytes_out": sent,
        }
        assert row["bytes_in"] == node.hub.bytes_in > 0


async def test_rows_are_found_sorted_and_paged() -> None:
    async with FakeNode(FakeServer()).running() as node:
        for name in ("b", "a", "c"):
            client = node.client("wsc.v1.pb" if name == "a" else None)
            client.send(Hello(client={"name": f"client-{name}" + "!" * 100}))
            await client.received(after_s=0.01)
        names = [str(row["client"]) for row in listed(node, sort="-client").rows]
        assert [name[:8] for name in names] == ["client-c", "client-b", "client-a"]
        assert {len(name) for name in names} == {64}
        assert [row["connection"] for row in listed(node, filter="CLIENT-A").rows] == ["n1-2"]
        assert listed(node, filter="nobody").rows == ()
        assert [row["codec"] for row in listed(node, sort="codec").rows] == ["json", "json", "protobuf"]
        first = listed(node, limit=2)
        second = listed(node, limit=2, cursor=first.cursor)
        assert [row["connection"] for row in (*first.rows, *second.rows)] == ["n1-1", "n1-2", "n1-3"]


@pytest.mark.parametrize("key", KEYS)
async def test_rows_can_be_sorted_by_every_field_that_is_offered(key: str) -> None:
    async with FakeNode(FakeServer()).running() as node:
        for name in ("a", "b"):
            client = node.client()
            client.send(Hello(client={"name": name}))
            await client.received(after_s=0.01)
        rows = listed(node, sort=key).rows
        assert sorted(str(row["connection"]) for row in rows) == ["n1-1", "n1-2"]
        assert all(key in row for row in rows)
