"""One GET /health, written by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from sample_cluster.checker.http_probe import ANSWER_MAX, HttpAnswer, get_health, judge, parse_answer
from sample_cluster.core.health import Denied, HealthEvent, HttpOk, Impostor, Kind, Unasked
from wsmon.errors import RemoteProtocolError

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{"status":"ok","boot":7}'


@asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 8801)
    try:
        yield 8801
    finally:
        server.close()
        await asyncio.sleep(1)  # Connections close in the background.


async def test_the_answer_is_read_from_a_real_server() -> None:
    asked = b""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()  # The connection stays open: the length says where the answer ends.
        writer.close()

    async with serving(handle) as port:
        assert await get_health("127.0.0.1", port) == HttpAnswer(status=200, body=b'{"status":"ok","boot":7}')
    assert asked.startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:8801\r\n")


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 503 Busy\r\n\r\nlater")
        writer.close()

    async with serving(handle) as port:
        assert await get_health("127.0.0.1", port) == HttpAnswer(status=503, body=b"later")


async def test_a_server_that_closes_without_a_word_is_no_http_server() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with serving(handle) as port:
        with pytest.raises(RemoteProtocolError, match="no HTTP answer"):
            await get_health("127.0.0.1", port)


@pytest.mark.parametrize("size", range(len(OK)))
def test_an_answer_is_the_same_however_it_is_cut(size: int) -> None:
    assert parse_answer(OK[:size], whole=False) is None
    assert parse_answer(OK, whole=False) == HttpAnswer(status=200, body=b'{"status":"ok","boot":7}')


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"x" * (ANSWER_MAX + 1),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_MAX + 1),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
    ],
)
def test_what_is_not_http_or_too_long_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_answer(data, whole=False)


@pytest.mark.parametrize(
    ("status", "body", "event"),
    [
        (200, b'{"boot":7}', HttpOk(boot=7, status=200)),
        (200, b'{"boot":7,"node":"n1"}', HttpOk(boot=7, status=200)),
        (200, b"fine", HttpOk(boot=None, status=200)),
        (200, b'{"boot":7,"node":"n2"}', Impostor(kind=Kind.HTTP, claims="n2")),
        (503, b'{"status":"draining"}', Unasked(kind=Kind.HTTP)),
        (503, b'{"status":"fenced"}', Denied(kind=Kind.HTTP, why="answered 503", status=503)),
        (500, b'{"status":"draining"}', Denied(kind=Kind.HTTP, why="answered 500", status=500)),
    ],
)
def test_answers_are_judged_by_status_and_name_and_a_draining_node_is_left_alone(
    status: int, body: bytes, event: HealthEvent
) -> None:
    assert judge(HttpAnswer(status=status, body=body), node="n1") == event
