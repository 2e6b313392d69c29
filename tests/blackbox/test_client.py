"""The client of the black-box runs does what the protocol asks: against a node that a test plays by hand."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.blackbox.client import SUBPROTOCOL, Client, Log

WITHIN_S: Final = 5.0
CHANNEL: Final = "bb0"
EPOCH: Final = "aaaaaaaa"


def message(seq: int, *, nonce: int | None = None, prev: int | None = None, name: str | None = None) -> dict[str, Any]:
    """Return a message of a history in which number n has the nonce 1000 + n."""
    return {
        "type": "message",
        "channel": CHANNEL,
        "seq": seq,
        "nonce": 1_000 + seq if nonce is None else nonce,
        "prev": 999 + seq if prev is None else prev,
        "id": name or f"id{seq}",
        "ts": 0,
        "data": {"p": "x", "n": seq, "t": 0.0},
    }


def position(seq: int) -> dict[str, Any]:
    return {"epoch": EPOCH, "seq": seq, "nonce": 1_000 + seq}


class Peer:
    """One connection, from the node's end."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.ended = asyncio.Event()

    async def hear(self, kind: str) -> dict[str, Any]:
        """Return the next frame, which is of this kind."""
        frame: dict[str, Any] = json.loads(await self.socket.recv())
        assert frame["type"] == kind, frame
        return frame

    async def say(self, *documents: dict[str, Any]) -> None:
        """Send objects in one frame."""
        await self.socket.send("\n".join(map(json.dumps, documents)))

    async def welcome(self, attempt: int, *resumed: str, **reconnect: float) -> None:
        """Take the client; by default it is to come back at once."""
        back = {"spread_ms": 0, "base_ms": 1, "factor": 2, "cap_ms": 8, "jitter": 0.2, "stable_ms": 60_000}
        await self.say(
            {
                "type": "welcome",
                "session": "S",
                "secret": "X",
                "attempt": attempt,
                "node": "n1",
                "boot": 1,
                "resumed": list(resumed),
                "fresh": [],
                "timings": {"ping_ms": 6_000, "pong_ms": 2_000, "misses": 3, "resume_ttl_ms": 9_000, "ack_ms": 1_000},
                "limits": {"max_frame": 65_536, "max_data": 512, "window": 1_024},
                "reconnect": back | reconnect,
            }
        )

    async def closed(self) -> int | None:
        """Wait until the client has closed, and return its close code."""
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed:
            return self.socket.close_code


class Node:
    """Plays a node. Each connection is a `Peer`, in the order in which they came."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.refusals: list[Response] = []
        self.port = 0

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[None]:
        server = await serve(
            self._handle,
            "127.0.0.1",
            port,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            process_request=self._answer,
            close_timeout=0.1,
        )
        self.port = next(iter(server.sockets)).getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    async def accept(self) -> Peer:
        """Return the next connection."""
        return await self.peers.get()

    async def _handle(self, socket: ServerConnection) -> None:
        await self.peers.put(Peer(socket))
        await socket.wait_closed()

    def _answer(self, _socket: ServerConnection, _request: Request) -> Response | None:
        return self.refusals.pop(0) if self.refusals else None


class Stage:
    """A client, the node that it meets, and what it wrote down."""

    def __init__(self, client: Client, node: Node, log: Log, path: Path) -> None:
        self.client = client
        self.node = node
        self._log = log
        self._path = path

    def facts(self, name: str) -> list[dict[str, Any]]:
        self._log.flush()
        facts = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [fact for fact in facts if fact["fact"] == name]

    def delivered(self) -> list[int]:
        return [fact["seq"] for fact in self.facts("delivered")]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110  # Nothing tells when it comes true, and it takes a turn or two.
            await asyncio.sleep(0)

    async def subscribed(self, **reconnect: float) -> Peer:
        """Connect the client and subscribe it at 0."""
        self.client.start(0)
        peer = await self.node.accept()
        await peer.hear("hello")
        await peer.welcome(1, **reconnect)
        asked = await peer.hear("subscribe")
        assert asked["from"] == "now"
        await peer.say(
            {"type": "subscribed", "id": asked["id"], "channel": CHANNEL, "position": position(0), "replay": 0}
        )
        await self.until(lambda: self.client.ready)
        return peer


Scene = Callable[[Stage], Coroutine[Any, Any, None]]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    path = tmp_path / "facts.jsonl"
    log, node = Log(path), Node()
    async with asyncio.timeout(WITHIN_S), node.serve():
        client = Client("a", host="127.0.0.1", port=node.port, path="/ws", channels=[CHANNEL], log=log, dice=Random(1))
        yield Stage(client, node, log, path)
        client.stop()
    log.close()


async def test_it_delivers_what_follows_and_drops_what_it_has(stage: Stage) -> None:
    peer = await stage.subscribed()
    await peer.say(message(1), message(2))
    await peer.say(message(1))
    await peer.say(message(2), message(3))
    await stage.until(lambda: len(stage.delivered()) == 3)
    assert stage.delivered() == [1, 2, 3]
    assert stage.client.dropped == 2
    fact = stage.facts("delivered")[0]
    assert {name: fact[name] for name in ("client", "channel", "epoch", "nonce", "prev", "id", "publisher")} == {
        "client": "a",
        "channel": CHANNEL,
        "epoch": EPOCH,
        "nonce": 1_001,
        "prev": 1_000,
        "id": "id1",
        "publisher": "x",
    }


async def test_it_takes_fragments_and_answers_both_kinds_of_ping(stage: Stage) -> None:
    peer = await stage.subscribed()
    text = json.dumps(message(1))
    await peer.socket.send([text[:20], text[20:50], text[50:]])
    await (await peer.socket.ping())
    await peer.say({"type": "ping", "ts": 17})
    assert await peer.hear("pong") == {"type": "pong", "ts": 17}
    assert stage.delivered() == [1]


async def test_it_acknowledges_every_32_messages_and_every_second(stage: Stage) -> None:
    peer = await stage.subscribed()
    await peer.say(*(message(seq) for seq in range(1, 36)))
    assert (await peer.hear("ack"))["acks"] == {CHANNEL: 32}
    await stage.until(lambda: len(stage.delivered()) == 35)
    stage.client.tick(time.monotonic() + 1.5)
    assert (await peer.hear("ack"))["acks"] == {CHANNEL: 35}


@pytest.mark.parametrize("wrong", [message(3), message(2, prev=5)], ids=["a hole", "another history"])
async def test_it_asks_again_from_its_own_position(stage: Stage, wrong: dict[str, Any]) -> None:
    peer = await stage.subscribed()
    await peer.say(message(1))
    await peer.say(wrong, message(4))
    asked = await peer.hear("subscribe")
    assert asked["from"] == position(1)
    assert stage.delivered() == [1]
    await peer.say(
        {"type": "subscribed", "id": asked["id"], "channel": CHANNEL, "position": position(1), "replay": 3},
        *(message(seq) for seq in (2, 3, 4)),
    )
    await stage.until(lambda: len(stage.delivered()) == 4)
    assert stage.delivered() == [1, 2, 3, 4]


async def test_it_resumes_with_all_it_knows_and_sends_again_what_is_unanswered(stage: Stage) -> None:
    peer = await stage.subscribed()
    await peer.say(message(1))
    for _ in range(3):
        stage.client.publish(CHANNEL)
    frames = [await peer.hear("publish") for _ in range(3)]
    await peer.say({"type": "published", "channel": CHANNEL, "cseq": 1, "seq": 9})
    await stage.until(lambda: bool(stage.facts("answered")))
    await peer.socket.close(1012)
    stage.client.publish(CHANNEL)  # Between two connections.
    peer = await stage.node.accept()
    resume = await peer.hear("resume")
    assert {name: resume[name] for name in ("session", "secret", "attempt", "positions", "pending")} == {
        "session": "S",
        "secret": "X",
        "attempt": 2,
        "positions": {CHANNEL: position(1)},
        "pending": {CHANNEL: 4},
    }
    await peer.welcome(2, CHANNEL)
    assert [await peer.hear("publish") for _ in range(2)] == frames[1:]
    assert (await peer.hear("publish"))["cseq"] == 4
    await peer.say(*({"type": "published", "channel": CHANNEL, "cseq": cseq, "seq": 9} for cseq in (2, 3, 4)))
    await peer.say({"type": "published", "channel": CHANNEL, "cseq": 2, "seq": 9, "dup": True})
    await peer.say(message(2))
    await stage.until(lambda: len(stage.delivered()) == 2)
    assert [fact["number"] for fact in stage.facts("answered")] == [1, 2, 3, 4]
    assert [fact["code"] for fact in stage.facts("lost")] == [1012]


async def test_it_hands_over_without_a_pause(stage: Stage) -> None:
    old = await stage.subscribed()
    await old.say(message(1))
    await old.say(
        {"type": "goaway", "reason": "drain", "retry_ms": 0, "spread_ms": 5, "deadline_ms": 9_000, "handover": True}
    )
    new = await stage.node.accept()
    assert (await new.hear("resume"))["positions"] == {CHANNEL: position(1)}
    await old.say(message(2))  # The old one delivers on.
    await stage.until(lambda: stage.delivered() == [1, 2])
    await new.welcome(2, CHANNEL)
    await new.say(message(2), message(3))
    assert await old.closed() == 1000
    await stage.until(lambda: len(stage.delivered()) == 3)
    assert stage.delivered() == [1, 2, 3]
    assert stage.facts("lost") == []
    assert [fact["handover"] for fact in stage.facts("welcome")] == [False, True]


async def test_a_handover_that_fails_is_tried_again_while_the_old_connection_stays(stage: Stage) -> None:
    old = await stage.subscribed()
    stage.node.refusals.append(Response(503, "", Headers({"Retry-After": "0"}), b""))
    await old.say(
        {"type": "goaway", "reason": "drain", "retry_ms": 0, "spread_ms": 0, "deadline_ms": 9_000, "handover": True}
    )
    new = await stage.node.accept()
    assert (await new.hear("resume"))["attempt"] == 2  # The refused one never got as far as a resume.
    await old.socket.close(4502)  # It found out about the new one before the new one welcomed us.
    await stage.until(lambda: bool(stage.facts("lost")))
    await new.welcome(2, CHANNEL)
    await new.say(message(1))
    await stage.until(lambda: stage.delivered() == [1])
    assert stage.facts("stopped") == []
    assert [fact["outcome"] for fact in stage.facts("failed")] == ["http 503"]


async def test_without_handover_it_leaves_first(stage: Stage) -> None:
    old = await stage.subscribed()
    await old.say(
        {"type": "goaway", "reason": "overload", "retry_ms": 1, "spread_ms": 1, "deadline_ms": 9_000, "handover": False}
    )
    assert await old.closed() == 1001
    new = await stage.node.accept()
    await new.hear("resume")
    assert [fact["how"] for fact in stage.facts("lost")] == ["left"]


async def test_after_a_rewind_it_drops_what_it_handed_out_before(stage: Stage) -> None:
    peer = await stage.subscribed()
    await peer.say(message(1), message(2), message(3))
    await peer.say({"type": "rewind", "channel": CHANNEL, "to": 1, "void": [2, 3], "position": position(1)})
    await peer.say(message(2, nonce=7, name="other"), message(3, nonce=8, prev=7, name="id2"))
    await peer.say(message(4, nonce=9, prev=8, name="id4"))
    await stage.until(lambda: len(stage.delivered()) == 5)
    assert stage.delivered() == [1, 2, 3, 2, 4]
    assert [fact["id"] for fact in stage.facts("skipped")] == ["id2"]
    assert [fact["void"] for fact in stage.facts("rewind")] == [[2, 3]]


async def test_after_a_resync_it_goes_on_where_the_node_says(stage: Stage) -> None:
    peer = await stage.subscribed()
    await peer.say(
        {
            "type": "resync",
            "channel": CHANNEL,
            "reason": "trimmed",
            "have": 0,
            "first": 8,
            "top": 9,
            "position": position(7),
        },
        message(8),
    )
    await stage.until(lambda: stage.delivered() == [8])


async def test_a_refused_publish_holds_up_the_later_ones_and_all_go_out_again_in_order(stage: Stage) -> None:
    peer = await stage.subscribed()
    for _ in range(2):
        stage.client.publish(CHANNEL)
        await peer.hear("publish")
    error = {"type": "error", "code": "unavailable", "message": "", "temporary": True, "retry_ms": 20}
    await peer.say(*({**error, "channel": CHANNEL, "cseq": cseq} for cseq in (1, 2)))
    await stage.until(lambda: len(stage.facts("refused")) == 2)
    stage.client.publish(CHANNEL)
    assert [(await peer.hear("publish"))["cseq"] for _ in range(3)] == [1, 2, 3]
    final = {"type": "error", "code": "too_big", "message": "", "temporary": False, "channel": CHANNEL, "cseq": 2}
    await peer.say(final)
    await stage.until(lambda: len(stage.facts("refused")) == 3)
    assert [*stage.client.unanswered[CHANNEL]] == [1, 3]


@pytest.mark.parametrize("code", [4501, 4502, 4503, 4504])
async def test_some_codes_mean_never_again(stage: Stage, code: int) -> None:
    peer = await stage.subscribed()
    await peer.socket.close(code)
    await stage.until(lambda: bool(stage.facts("stopped")))
    assert stage.client.stopped
    assert stage.node.peers.empty()


@pytest.mark.parametrize("code", [1001, 1012, 1013, 4001, 4002, 4010])
async def test_other_codes_mean_come_back(stage: Stage, code: int) -> None:
    peer = await stage.subscribed()
    await peer.socket.close(code)
    peer = await stage.node.accept()
    await peer.hear("resume")


async def test_advice_replaces_the_formula(stage: Stage) -> None:
    peer = await stage.subscribed(spread_ms=0, base_ms=60_000, cap_ms=60_000)
    stage.node.refusals += [Response(HTTPStatus.SERVICE_UNAVAILABLE, "", Headers({"Retry-After": "0"}), b"")] * 3
    await peer.socket.close(1012)
    peer = await stage.node.accept()
    retries = (await peer.hear("resume"))["retries"]
    assert [retry["outcome"] for retry in retries] == ["http 503"] * 3


async def test_delays_follow_the_formula(stage: Stage) -> None:
    peer = await stage.subscribed(spread_ms=10, base_ms=4, factor=2, cap_ms=16, jitter=0.25)
    stage.node.refusals += [Response(HTTPStatus.NOT_FOUND, "", Headers(), b"")] * 5
    await peer.socket.close(1012)
    await (await stage.node.accept()).hear("resume")
    first, *others = [fact["delay"] for fact in stage.facts("failed")]
    assert 0 <= first <= 0.010
    for delay, expected in zip(others, (0.004, 0.008, 0.016, 0.016), strict=True):
        assert 0.74 * expected <= delay <= 1.26 * expected


async def test_a_silent_node_is_a_dead_one(stage: Stage) -> None:
    await stage.subscribed()
    stage.client.tick(time.monotonic() + 7.9)
    assert stage.facts("lost") == []
    stage.client.tick(time.monotonic() + 8.1)
    assert [fact["how"] for fact in stage.facts("lost")] == ["silent"]
    await (await stage.node.accept()).hear("resume")
