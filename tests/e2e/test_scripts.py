"""The Lua scripts on a real server, held against their model: same calls, same replies, same contents, same fan-out."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from sample_cluster.config import TEST
from sample_cluster.core.feed import Entry, Page
from sample_cluster.core.messages import Position
from sample_cluster.core.repair import Repair
from sample_cluster.node.store import Store
from sample_cluster.redis_link import (
    Call,
    FanOut,
    Heard,
    Ponged,
    RedisClient,
    Scripts,
    Subscribed,
    connect_redis,
    open_fan_out,
)
from tests.support.history import history
from tests.support.model_redis import ModelRedis
from tests.support.redis_server import start_redis
from tests.support.script_calls import (
    DEDUPE_S,
    HISTORY_S,
    META_S,
    SESSION_S,
    append_call,
    claim_call,
    restore_call,
    revoke_call,
    snapshot_call,
)

pytestmark = pytest.mark.e2e

SEQUENCES, STEPS = 150, 25
PUBLISHERS = ("p", "q-r", "00ff")
EPOCHS = ("0000000a", "0000000b", "ffffffff")
TEXTS = ("1", '"x"', '{"a b": "ü – 1"}', "null", '"  "', "[1,2]", '"%s %d \\\\ \\""')
FAR = 2**53 - 1_000
"""Sequence numbers that Lua would write with an exponent if it were left to it."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one server for all tests of this file."""
    url, process = asyncio.run(start_redis(tmp_path_factory.mktemp("s")))
    yield url
    process.kill()
    process.wait()


@pytest.fixture
async def client(url: str) -> AsyncIterator[RedisClient]:
    client = connect_redis(url)
    yield client
    await client.aclose()


@asynccontextmanager
async def trims_exactly(client: RedisClient) -> AsyncIterator[None]:
    """Have `MAXLEN ~` trim to the entry: the server drops whole nodes of a stream, so let each hold one entry."""
    name = "stream-node-max-entries"
    before = (await client.config_get(name))[name]
    assert before is not None
    await client.config_set(name, 1)
    yield
    await client.config_set(name, before)


class FixedStore(Store):
    """A store that begins every log with one epoch."""

    epoch = EPOCHS[0]

    def _epoch(self) -> str:
        return self.epoch


@dataclass
class Pair:
    """A server and its model, which are told the same."""

    client: RedisClient
    fan_out: FanOut
    cluster: str
    dice: Random

    def __post_init__(self) -> None:
        self.scripts = Scripts(self.client)
        self.store = FixedStore(self.client, self.cluster, TEST, self.dice)
        self.key = self.store.fan_out("c")
        self.session = self.store._session("s")
        self.published: list[tuple[str, str]] = []
        self.model = ModelRedis(lambda channel, text: self.published.append((channel, text)))
        self.nonce = 100

    # What may happen.

    def end(self) -> Position:
        """Return where the log ends."""
        meta = self.model.keys.hashes.get(f"{self.key}:meta", {})
        return Position(epoch=meta.get("epoch", ""), seq=int(meta.get("top", 0)), nonce=int(meta.get("nonce", 0)))

    def place(self) -> Position:
        """Return the log's end, or a place near it that may or may not exist."""
        dice, end = self.dice, self.end()
        if dice.random() < 0.5:
            return end
        return Position(
            epoch=dice.choice((end.epoch, end.epoch, *EPOCHS)),
            seq=max(0, end.seq + dice.choice((-2, -1, 0, 0, 1))),
            nonce=end.nonce if dice.random() < 0.5 else 7,
        )

    def append(self) -> Call:
        dice = self.dice
        self.nonce += 1
        return append_call(
            self.key,
            publisher=dice.choice(PUBLISHERS),
            cseq=dice.randint(1, 9) if dice.random() < 0.95 else 2**53 - 1,
            nonce=self.nonce,
            after=dice.choice((0, 0, 0, 1, 2, 4, 8)),
            seen=None if dice.random() < 0.5 else self.place(),
            data=dice.choice(TEXTS),
            encoding=dice.choice(("-", "-", "base64")),
            epoch=dice.choice(EPOCHS),
            most=dice.choice((3, 5, 10_000)),
        )

    def restore(self) -> Call:
        dice, end = self.dice, self.place()
        seq = self.end().seq + dice.choice((1, 1, 1, 2, 5)) if self.end().seq or dice.random() < 0.7 else FAR
        entries = []
        for _ in range(dice.randint(0, 4)):
            self.nonce += 1
            name = f"{dice.choice(PUBLISHERS)}-{dice.randint(1, 9)}" if dice.random() < 0.9 else "noname"
            entries.append(
                Entry(
                    seq=seq,
                    nonce=self.nonce,
                    prev=self.nonce - 1,
                    id=name,
                    ts=dice.randint(0, 2**41),
                    data=dice.choice(TEXTS),
                    encoding=dice.choice((None, "base64")),
                )
            )
            seq += dice.choice((1, 1, 1, 3))
        repair = Repair(end=end, epoch=end.epoch or dice.choice(EPOCHS), entries=tuple(entries), to=None)
        return restore_call(self.key, repair, most=dice.choice((3, 10_000)))

    def of_a_session(self) -> Call:
        dice = self.dice
        attempt, node, connection = dice.randint(1, 4), dice.choice(("n1", "n2")), dice.choice(("c1", "c2"))
        now_ms = dice.randint(0, 2**41)
        chance = dice.random()
        if chance < 0.5:
            return claim_call(
                self.session,
                attempt=attempt,
                node=node,
                connection=connection,
                now_ms=now_ms,
                new=dice.random() < 0.3,
            )
        if chance < 0.95:
            acks = {f"ü{number}": self.place() for number in range(dice.randint(0, 2))}
            return snapshot_call(
                self.session, attempt=attempt, node=node, connection=connection, now_ms=now_ms, acks=acks
            )
        return revoke_call(self.session)

    # Both are told.

    async def run(self, *calls: Call) -> list[list[str]]:
        wanted = [self.model.run(call) for call in calls]
        assert await self.scripts.run(calls) == wanted
        return wanted

    async def read(self) -> None:
        dice = self.dice
        most = dice.randint(1, 6)
        self.store.epoch = epoch = dice.choice(EPOCHS)
        if dice.random() < 0.5:
            wanted = self.model.page(self.key, epoch=epoch, most=most)
            assert await self.store.recent("c", most=most) == wanted
        else:
            after = max(0, self.end().seq - dice.randint(-1, 8))
            wanted = self.model.page(self.key, epoch=epoch, after=after, most=most)
            assert await self.store.read("c", after=after, most=most) == wanted
        assert await self.store.ends(["c"]) == {"c": wanted.end}

    async def trim(self) -> None:
        keep = self.dice.randint(0, 4)
        self.model.trim(self.key, keep)
        await self.client.xtrim(f"{self.key}:log", maxlen=keep, approximate=False)

    async def lose(self) -> None:
        """Lose a key, as an eviction or an expiry would."""
        keys = self.model.keys
        name = self.dice.choice(sorted({*keys.hashes, *keys.streams, *keys.strings}) or [self.key])
        for kind in (keys.hashes, keys.streams, keys.strings):
            kind.pop(name, None)
        await self.client.delete(name)

    async def step(self) -> None:
        chance = self.dice.random()
        if chance < 0.45:
            await self.run(*(self.append() for _ in range(self.dice.choice((1, 1, 3)))))
        elif chance < 0.6:
            await self.run(self.restore())
        elif chance < 0.8:
            await self.run(*(self.of_a_session() for _ in range(self.dice.choice((1, 1, 3)))))
        elif chance < 0.9:
            await self.read()
        elif chance < 0.95:
            await self.trim()
        else:
            await self.lose()

    # Both are compared.

    async def compare(self) -> None:
        keys = self.model.keys
        hashes = (f"{self.key}:meta", self.session)
        strings = tuple(f"{self.key}:dedupe:{name}" for name in (*PUBLISHERS, ""))
        pipe = self.client.pipeline(transaction=False)
        for name in hashes:
            pipe.hgetall(name)
        for name in strings:
            pipe.get(name)
        pipe.xrange(f"{self.key}:log")
        meta, session, *rest, entries = await pipe.execute()
        assert [meta, session] == [keys.hashes.get(name, {}) for name in hashes]
        assert rest == [keys.strings.get(name) for name in strings]
        stream = keys.streams.get(f"{self.key}:log", {})
        assert entries == [(f"{seq}-0", stream[seq]) for seq in sorted(stream)]

    async def heard(self) -> list[tuple[str, str]]:
        """Return everything that was published and not heard yet."""
        token = f"{self.cluster}-{self.dice.random()}"
        await self.fan_out.ping(token)
        found = []
        async with asyncio.timeout(5):
            while (news := await self.fan_out.next()) != Ponged(token):
                if isinstance(news, Heard):
                    found.append((news.channel, news.text))
        return found


@asynccontextmanager
async def listening(client: RedisClient) -> AsyncIterator[FanOut]:
    fan_out = open_fan_out(client)
    await fan_out.connect()
    yield fan_out
    await fan_out.aclose()


async def listen(fan_out: FanOut, channel: str) -> None:
    await fan_out.subscribe(channel)
    async with asyncio.timeout(5):
        while await fan_out.next() != Subscribed(channel):
            pass


async def test_the_scripts_do_what_their_model_does(client: RedisClient) -> None:
    replies: set[str] = set()
    async with trims_exactly(client), listening(client) as fan_out:
        for seed in range(SEQUENCES):
            pair = Pair(client, fan_out, f"m{seed}", Random(seed))
            await listen(fan_out, pair.key)
            run = pair.model.run

            def remember(call: Call, run: Any = run) -> Any:
                reply = run(call)
                replies.add(f"{call.script} {reply[0]}")
                return reply

            pair.model.run = remember  # type: ignore[method-assign]
            try:
                for _ in range(STEPS):
                    await pair.step()
                    await pair.compare()
                assert await pair.heard() == pair.published
            except AssertionError as error:
                raise AssertionError(f"sequence {seed}") from error
            await fan_out.unsubscribe(pair.key)
    every = {f"append {word}" for word in ("ok", "dup", "order", "fork")} | {"restore ok", "restore moved"}
    every |= {f"claim {word}" for word in ("ok", "expired", "stale", "revoked")}
    every |= {f"snapshot {word}" for word in ("ok", "stale", "revoked")} | {"revoke "}
    assert every <= replies, "each answer was seen"


@pytest.fixture
async def pair(client: RedisClient, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Return a server and its model, both empty."""
    async with listening(client) as fan_out:
        pair = Pair(client, fan_out, f"t-{request.node.name[:60]}", Random(1))
        await listen(fan_out, pair.key)
        yield pair


async def ttls(pair: Pair, *names: str) -> list[int]:
    return [int(await pair.client.ttl(name)) for name in names]


def about(found: list[int], wanted: list[int]) -> bool:
    return all(seconds - 2 <= left <= seconds for left, seconds in zip(found, wanted, strict=True))


async def test_an_append_lets_log_meta_and_dedupe_entry_live_on(pair: Pair) -> None:
    names = [f"{pair.key}:log", f"{pair.key}:meta", f"{pair.key}:dedupe:p"]
    for cseq in (1, 2):
        await pair.run(append_call(pair.key, publisher="p", cseq=cseq, nonce=cseq))
        assert about(await ttls(pair, *names), [HISTORY_S, META_S, DEDUPE_S])
        for name in names:
            await pair.client.expire(name, 5)


async def test_a_restore_lets_log_meta_and_dedupe_entries_live_on(pair: Pair) -> None:
    entries = (*history(2), Entry(seq=3, nonce=7, prev=2_000, id="other-4", ts=1, data="1"))
    names = [f"{pair.key}:log", f"{pair.key}:meta", f"{pair.key}:dedupe:m", f"{pair.key}:dedupe:other"]
    nothing = Position(epoch="", seq=0, nonce=0)
    await pair.run(restore_call(pair.key, Repair(end=nothing, epoch=EPOCHS[0], entries=entries, to=None)))
    assert about(await ttls(pair, *names), [HISTORY_S, META_S, DEDUPE_S, DEDUPE_S])
    assert await pair.client.get(names[2]) == "2 2"
    assert await pair.client.get(names[3]) == "4 3"


async def test_a_session_lives_on_with_every_claim_snapshot_and_revocation_but_not_for_who_lost_it(pair: Pair) -> None:
    who = {"node": "n1", "connection": "c1", "now_ms": 5}
    for call in (
        claim_call(pair.session, attempt=2, **who, new=True),  # type: ignore[arg-type]
        snapshot_call(pair.session, attempt=2, **who, acks={}),  # type: ignore[arg-type]
    ):
        await pair.run(call)
        assert about(await ttls(pair, pair.session), [SESSION_S])
        await pair.client.expire(pair.session, 5)
    for call in (
        claim_call(pair.session, attempt=1, **who),  # type: ignore[arg-type]
        snapshot_call(pair.session, attempt=1, **who, acks={}),  # type: ignore[arg-type]
    ):
        assert await pair.run(call) == [["stale", "2"]]
        assert about(await ttls(pair, pair.session), [5])
    await pair.run(revoke_call(pair.session))
    assert about(await ttls(pair, pair.session), [SESSION_S])


async def test_a_log_is_trimmed_about_where_it_should_and_never_below(pair: Pair) -> None:
    """The server drops whole nodes of a stream: some entries more stay, none less."""
    most, count = 150, 500
    for start in range(1, count, 100):
        calls = [
            append_call(pair.key, publisher="p", cseq=cseq, nonce=cseq, most=most) for cseq in range(start, start + 100)
        ]
        assert await pair.scripts.run(calls) == [["ok", str(call.args[1])] for call in calls]
    page = await pair.store.read("c", after=0, most=count)
    assert most <= len(page.entries) < most + 100
    assert [entry.seq for entry in page.entries] == [*range(count + 1 - len(page.entries), count + 1)]
    assert all(before.nonce == entry.prev for before, entry in zip(page.entries, page.entries[1:], strict=False))


async def test_a_repetition_is_found_again_as_far_back_as_is_searched(pair: Pair) -> None:
    calls = [append_call(pair.key, publisher="p", cseq=cseq, nonce=cseq) for cseq in range(1, 1_101)]
    await pair.run(*calls)
    again = [append_call(pair.key, publisher="p", cseq=cseq, nonce=9) for cseq in (1_100, 1_099, 77, 76, 1)]
    assert await pair.run(*again) == [["dup", "1100"], ["dup", "1099"], ["dup", "77"], ["dup", "0"], ["dup", "0"]]


async def test_numbers_stay_whole_beyond_what_lua_writes_without_an_exponent(pair: Pair) -> None:
    end = Position(epoch="", seq=0, nonce=0)
    entry = Entry(seq=FAR, nonce=2**32 - 1, prev=5, id=f"p-{FAR}", ts=2**41, data="1")
    await pair.run(restore_call(pair.key, Repair(end=end, epoch=EPOCHS[0], entries=(entry,), to=None)))
    replies = await pair.run(
        append_call(pair.key, publisher="p", cseq=FAR + 1, nonce=1),
        append_call(pair.key, publisher="p", cseq=FAR + 9, nonce=1, after=FAR + 8),
        append_call(pair.key, publisher="p", cseq=FAR, nonce=1),
    )
    assert replies == [["ok", str(FAR + 1)], ["order", str(FAR + 1)], ["dup", str(FAR)]]
    await pair.compare()
    assert await pair.heard() == pair.published


async def test_two_repairs_of_one_log_are_not_both_carried_out(pair: Pair) -> None:
    log = history(6)
    nothing = Position(epoch="", seq=0, nonce=0)
    repair = Repair(end=nothing, epoch=EPOCHS[0], entries=log, to=None)
    assert await pair.run(restore_call(pair.key, repair), restore_call(pair.key, repair)) == [["ok"], ["moved"]]
    assert await pair.store.read("c", after=0) == Page(epoch=EPOCHS[0], top=6, nonce=log[5].nonce, entries=log)
    assert len(await pair.heard()) == 6
