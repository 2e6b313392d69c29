"""One `GET /health` on a fresh connection.

Fresh on purpose: it shows whether the node still accepts anybody. Written by hand because the answer is three lines
long and a client library costs a third of a second of start-up.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from sample_cluster.checker.kernel import look_at
from sample_cluster.core.classify import Look
from sample_cluster.core.health import Denied, HealthEvent, HttpOk, Impostor, Kind, Unasked
from wsmon.errors import RemoteProtocolError
from wsmon.protocol.fields import Fields, parse_object
from wsmon.protocol.states import NodeState

ANSWER_MAX = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """Status and body of an answer."""

    status: int
    body: bytes
    look: Look = field(default=Look(), compare=False)
    """What the kernel told of the connection when the answer was there."""


def parse_answer(data: bytes, *, whole: bool) -> HttpAnswer | None:
    """Return the answer in `data`, None while more has to come; `whole` says that nothing will.

    Raises:
        RemoteProtocolError: this is not an HTTP/1 answer, or it is cut off or too long.

    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        if whole or len(data) > ANSWER_MAX:
            raise RemoteProtocolError("no HTTP answer")
        return None
    lines = head.split(b"\r\n")
    words = lines[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise RemoteProtocolError("not an HTTP answer")
    length: int | None = None
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    if len(body) > ANSWER_MAX or (length is not None and length > ANSWER_MAX):
        raise RemoteProtocolError(f"answer longer than {ANSWER_MAX} bytes")
    if not whole and (length is None or len(body) < length):
        return None
    return HttpAnswer(status=int(words[1]), body=body if length is None else body[:length])


def _do_nothing(_: Callable[[], Look]) -> None:
    """Have no use for it."""


async def get_health(
    host: str, port: int, on_connected: Callable[[Callable[[], Look]], None] = _do_nothing
) -> HttpAnswer:
    """Ask the node at the address. The caller sets the timeout.

    `on_connected` is given what looks at the connection while the answer is waited for.

    Raises:
        OSError: no connection.
        RemoteProtocolError: what answers does not speak HTTP.

    """
    reader, writer = await asyncio.open_connection(host, port)
    on_connected(lambda: look_at(writer.transport))
    try:
        name = f"[{host}]" if ":" in host else host
        writer.write(f"GET /health HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while True:
            more = await reader.read(ANSWER_MAX)
            data += more
            answer = parse_answer(data, whole=not more)
            if answer is not None:
                return replace(answer, look=look_at(writer.transport))
    finally:
        # Nothing is left to say, and a peer that does not read must not keep us.
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def judge(answer: HttpAnswer, *, node: str) -> HealthEvent:
    """Return what the answer says of the node; one that says that it is draining is no failure."""
    told = _told(answer.body)
    if told.node is not None and told.node != node:
        return Impostor(kind=Kind.HTTP, claims=told.node[:80])
    if answer.status == HTTPStatus.OK:
        return HttpOk(boot=told.boot, status=answer.status)
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and told.status in (NodeState.DRAINING, NodeState.LEFT):
        return Unasked(kind=Kind.HTTP)
    return Denied(kind=Kind.HTTP, why=f"answered {answer.status}", status=answer.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    status: str | None = None
    boot: int | None = None
    node: str | None = None


def _told(body: bytes) -> _Told:
    try:
        fields = Fields(parse_object(body, what="health"), "health")
        return _Told(
            status=fields.text_or_none("status"), boot=fields.integer_or_none("boot"), node=fields.text_or_none("node")
        )
    except RemoteProtocolError:
        return _Told()
