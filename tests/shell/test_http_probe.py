"""Our own look at the nodes: only while no checker tells, on virtual time against nodes that answer as they are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import pytest

from wsmon.model.inputs import HttpSample, Input, PeerBeat, PeerState
from wsmon.sources.http_probe import PROBE_EVERY_S, REST_S, WELL_EVERY_S, HttpProbes
from wsmon.sources.merge import LiveCluster

ADDRESSES = {"n1": "127.0.0.1:1", "n2": "127.0.0.1:2"}


class FakeClient:
    """Answers for all nodes; `n2` is not there."""

    opened = 0

    def __init__(self, **_: Any) -> None:
        FakeClient.opened += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def get(self, url: str) -> httpx.Response:
        if url.endswith(":2/health"):
            raise httpx.ConnectError("refused")
        return httpx.Response(200)


@asynccontextmanager
async def probing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[HttpProbes, list[HttpSample]]]:
    monkeypatch.setattr(httpx, "AsyncClient", FakeClient)
    monkeypatch.setattr(FakeClient, "opened", 0)
    told: list[HttpSample] = []

    def emit(item: Input) -> None:
        assert isinstance(item, HttpSample)
        told.append(item)

    probes = HttpProbes(asyncio.get_running_loop().time)
    probes.want(ADDRESSES)
    task = asyncio.get_running_loop().create_task(probes.run(emit))
    try:
        yield probes, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def speak(probes: HttpProbes, seconds: int) -> None:
    for _ in range(seconds):
        probes.rest()
        await asyncio.sleep(1)


async def test_nothing_is_probed_while_a_checker_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with probing(monkeypatch) as (probes, told):
        await speak(probes, 60)
        assert (told, FakeClient.opened) == ([], 0)


async def test_a_checker_that_falls_silent_is_stood_in_for_until_it_speaks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with probing(monkeypatch) as (probes, told):
        await speak(probes, 10)
        await asyncio.sleep(REST_S - 1 + 2 * PROBE_EVERY_S)
        assert {(sample.id, sample.ok, sample.status) for sample in told} == {("n1", True, 200), ("n2", False, 0)}
        await asyncio.sleep(20)
        assert sum(sample.id == "n1" for sample in told) in {20 // WELL_EVERY_S, 20 // WELL_EVERY_S + 1}
        assert sum(sample.id == "n2" for sample in told) in {20, 21, 22}
        await speak(probes, 2)
        known = len(told)
        await speak(probes, 30)
        assert len(told) == known


async def test_without_any_checker_the_first_look_comes_after_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with probing(monkeypatch) as (_, told):
        await asyncio.sleep(REST_S - 0.1)
        assert told == []
        await asyncio.sleep(PROBE_EVERY_S + 0.2)
        assert {sample.id for sample in told} == set(ADDRESSES)


async def test_whoever_tells_of_targets_is_taken_for_a_checker_and_a_beat_of_its_is_enough() -> None:
    async def nowhere() -> Any:
        raise NotImplementedError

    clock = asyncio.get_running_loop().time
    source = LiveCluster(nowhere, clock)
    probes = source._probes

    def rested(told: Input) -> bool:
        probes._checked_at = -1_000.0
        source._notice(told)
        return probes._checked_at >= 0

    def state(name: str, **parts: Any) -> PeerState:
        return PeerState(id=name, boot=1, rev=1, at=clock(), state=parts, heard_at=clock())

    def beat(name: str) -> PeerBeat:
        return PeerBeat(id=name, boot=1, rev=1, at=clock(), lag_ms=0.0, heard_at=clock())

    assert not rested(beat("checker-1"))
    assert rested(state("checker-1", targets={"n1": {"state": "online"}}))
    assert rested(beat("checker-1"))
    assert not rested(state("n1", connections=3))
    assert not rested(beat("n1"))
    assert not rested(state("checker-1", targets={}))
    assert not rested(beat("checker-1"))
