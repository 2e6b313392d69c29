"""Connections to admin sockets: opened again whenever they are lost, and honest about what happened."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from wsmon.agent.client import AdminClient, open_admin
from wsmon.agent.server import AdminServer, Identity, Tokens
from wsmon.model.inputs import Happened, Input, PeerBeat, PeerGarbage, PeerGone, PeerSeen, PeerState
from wsmon.protocol.events import DrainStarted
from wsmon.protocol.session import WatchInput
from wsmon.protocol.states import PeerKind
from wsmon.sources import admin
from wsmon.sources.admin import AdminWatch

URL = "ws://127.0.0.1:9101/admin"


def clock() -> float:
    return 1_000.0 + asyncio.get_running_loop().time()


async def serve(name: str = "n1", boot: int = 1) -> AdminServer:
    agent = AdminServer(Identity(kind=PeerKind.NODE, id=name, version="1", boot=boot))
    await agent.serve(URL, tokens=Tokens(control="t"))
    agent.publish({"state": "online"})
    return agent


@pytest.fixture
async def told(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Input]]:
    """What a watch on n1 tells; TCP here needs a token, which Unix sockets do not."""

    async def open_with_token(url: str, on_input: Callable[[WatchInput], None], *, interval_ms: int) -> AdminClient:
        return await open_admin(url, on_input, token="t", interval_ms=interval_ms)

    monkeypatch.setattr(admin, "open_admin", open_with_token)
    inputs: list[Input] = []
    watch = AdminWatch(clock)
    watch.want("n1", URL)
    task = asyncio.ensure_future(watch.run(inputs.append))
    yield inputs
    task.cancel()
    await asyncio.wait([task])


def kinds(told: list[Input]) -> list[type]:
    return [type(item) for item in told if not isinstance(item, PeerBeat)]


async def test_a_peer_is_seen_with_its_state_and_its_events(told: list[Input]) -> None:
    agent = await serve()
    await asyncio.sleep(2)
    agent.emit(DrainStarted(node="n1"))
    await asyncio.sleep(1)
    assert kinds(told)[-3:] == [PeerSeen, PeerState, Happened]
    assert any(isinstance(item, PeerBeat) for item in told)
    await agent.close()


async def test_a_peer_that_is_not_there_is_told_once_and_tried_again(told: list[Input]) -> None:
    await asyncio.sleep(20)
    assert kinds(told) == [PeerGone]
    agent = await serve()
    await asyncio.sleep(2)
    assert kinds(told) == [PeerGone, PeerSeen, PeerState]
    await agent.close()
    await asyncio.sleep(1)
    assert kinds(told).count(PeerGone) >= 2
    agent = await serve(boot=2)
    await asyncio.sleep(2)
    seen = [item for item in told if isinstance(item, PeerSeen)]
    assert [item.boot for item in seen] == [1, 2]
    await agent.close()


async def test_a_peer_under_a_wrong_name_is_not_taken_for_the_right_one(told: list[Input]) -> None:
    agent = await serve(name="n2")
    await asyncio.sleep(3)
    assert PeerSeen not in kinds(told)
    assert any(isinstance(item, PeerGone) and "'n2', not 'n1'" in item.reason for item in told)
    await agent.close()


async def test_a_peer_that_speaks_garbage_is_reported_and_tried_again(told: list[Input]) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Whatever\r\nUpgrade: tea\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 9101)
    await asyncio.sleep(3)
    assert PeerGarbage in kinds(told)
    server.close()
    await server.wait_closed()
    agent = await serve()
    await asyncio.sleep(3)
    assert kinds(told)[-2:] == [PeerSeen, PeerState]
    await agent.close()
