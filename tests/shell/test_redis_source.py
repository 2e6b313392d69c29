"""Reading Redis, against a fake client on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.exceptions

from wsmon.agent import redis_client
from wsmon.model.inputs import Input, RedisSeen
from wsmon.protocol.registry import Keys
from wsmon.sources.redis_stream import CALM_EVERY_S, INFO_EVERY_S, TABLES_EVERY_S, RedisSource, info_of


class FakeRedis:
    """A server that holds nothing."""

    def __init__(self) -> None:
        self.away = False
        self.answer: dict[str, Any] | Exception = {"role": "master", "instantaneous_ops_per_sec": 40}
        self.asked: list[float] = []
        self.source: RedisSource | None = None
        """Who reads it."""

    async def _reply(self, reply: Any) -> Any:
        if self.away:
            raise redis.exceptions.ConnectionError("refused")
        return reply

    async def exists(self, _: str) -> int:
        return int(await self._reply(0))

    async def zrangebyscore(self, *_: Any) -> Any:
        return await self._reply([])

    async def hgetall(self, _: str) -> Any:
        return await self._reply({})

    async def xrevrange(self, _: str, *, count: int) -> Any:
        assert count > 0
        return await self._reply([])

    async def xread(self, _: Any, *, count: int, block: int) -> Any:
        assert count > 0
        await asyncio.sleep(block / 1_000)
        return await self._reply(None)

    async def info(self) -> Any:
        self.asked.append(asyncio.get_running_loop().time())
        if isinstance(self.answer, Exception):
            raise self.answer
        return await self._reply(self.answer)

    async def aclose(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def watched(fake: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[RedisSeen]]:
    """Yield what is told of Redis as it comes."""
    monkeypatch.setattr(redis_client, "open_redis", lambda _, timeout_s: fake if timeout_s else None)
    told: list[RedisSeen] = []

    def emit(item: Input) -> None:
        if isinstance(item, RedisSeen):
            told.append(item)

    source = fake.source = RedisSource("redis://nowhere", Keys("demo"), asyncio.get_running_loop().time)
    task = asyncio.get_running_loop().create_task(source.run(emit))
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_redis_is_asked_every_few_seconds_what_it_is_and_how_much_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeRedis()
    async with watched(fake, monkeypatch) as told:
        await asyncio.sleep(4)
        assert {(seen.state, seen.role, seen.ops_s) for seen in told} == {("ok", "primary", 40.0)}
        assert len(fake.asked) == 1
        fake.answer = {"role": "slave", "instantaneous_ops_per_sec": 7}
        await asyncio.sleep(16)
        assert (told[-1].role, told[-1].ops_s) == ("replica", 7.0)
        assert len(fake.asked) == 4
        assert all(after - before >= INFO_EVERY_S for before, after in zip(fake.asked, fake.asked[1:], strict=False))


async def test_redis_that_comes_back_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRedis()
    async with watched(fake, monkeypatch) as told:
        await asyncio.sleep(1.5)
        fake.away = True
        await asyncio.sleep(2)
        assert (told[-1].state, told[-1].role, told[-1].ops_s) == ("away", "", None)
        fake.away, fake.answer = False, {"role": "slave"}
        await asyncio.sleep(1)
        assert (told[-1].state, told[-1].role, told[-1].ops_s) == ("ok", "replica", None)


async def test_a_lost_stream_makes_the_tables_find_out_before_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRedis()
    async with watched(fake, monkeypatch) as told:
        await asyncio.sleep(TABLES_EVERY_S / 2)
        assert fake.source is not None
        fake.source.calm(True)
        await asyncio.sleep(TABLES_EVERY_S / 2 + CALM_EVERY_S + 0.1)
        read = len(told)
        fake.away = True
        await asyncio.sleep(1.0)
        assert [seen.state for seen in told[read:]] == ["away"]


async def test_a_redis_that_refuses_to_tell_of_itself_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRedis()
    fake.answer = redis.exceptions.NoPermissionError("this user has no permissions to run the 'info' command")
    async with watched(fake, monkeypatch) as told:
        await asyncio.sleep(12)
        assert {(seen.state, seen.role, seen.ops_s) for seen in told} == {("ok", "", None)}


@pytest.mark.parametrize(
    ("told", "meaning"),
    [
        ({"role": "master", "instantaneous_ops_per_sec": 3}, ("primary", 3.0)),
        ({"role": "sentinel"}, ("sentinel", None)),
        ({"role": 5, "instantaneous_ops_per_sec": "many"}, ("", None)),
        ({"instantaneous_ops_per_sec": -1}, ("", None)),
        ({"instantaneous_ops_per_sec": True}, ("", None)),
        ({"instantaneous_ops_per_sec": float("inf")}, ("", None)),
        ({}, ("", None)),
        (None, ("", None)),
        ("nothing", ("", None)),
    ],
)
def test_an_answer_is_read_as_far_as_it_makes_sense(told: object, meaning: tuple[str, float | None]) -> None:
    assert info_of(told) == meaning
