"""The admin socket and its client, on a loop whose time jumps."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from wsmon.agent.client import AdminClient, open_admin
from wsmon.agent.server import AdminServer, Identity, Tokens
from wsmon.errors import OperationRefusedError, RemoteProtocolError, UnreachableError, UsageError
from wsmon.protocol.events import ActionDone, DrainStarted, decode_body
from wsmon.protocol.frames import Actor, Beat, Command, EventFrame, JsonObject, Page, Query
from wsmon.protocol.session import StateChanged, WatchInput
from wsmon.protocol.states import PeerKind, Role

ACTOR = Actor(user="u", host="h")
URL = "ws://127.0.0.1:9001/admin"
TOKENS = Tokens(read="reader", control="controller")


class Node:
    """An owner of an admin socket: counts what it was told to do."""

    def __init__(self) -> None:
        self.drained = 0
        self.journal: list[EventFrame] = []
        self.agent = AdminServer(
            Identity(kind=PeerKind.NODE, id="n1", version="1", boot=7), journal=self.journal.append
        )
        self.agent.operation("drain", self.drain, check=lambda _: {"would": 1})
        self.agent.operation("fail", self.fail)
        self.agent.operation("slow", self.slow, audited=False)

    async def drain(self, command: Command) -> JsonObject:
        if command.args.get("node") == "n2":
            raise OperationRefusedError("not_me", "this is n1")
        self.drained += 1
        return {"left": 3}

    async def fail(self, command: Command) -> JsonObject:
        raise ZeroDivisionError

    async def slow(self, command: Command) -> JsonObject:
        await asyncio.sleep(60)
        return {}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    owner = Node()
    await owner.agent.serve(URL, tokens=TOKENS)
    yield owner
    await owner.agent.close()


async def watch(told: list[WatchInput] | None = None, token: str = "controller") -> AdminClient:
    return await open_admin(URL, (lambda _: None) if told is None else told.append, token=token)


async def test_a_watcher_gets_state_differences_events_and_beats(node: Node) -> None:
    told: list[WatchInput] = []
    node.agent.publish({"state": "joining"})
    async with await watch(told) as client:
        await asyncio.sleep(0.5)
        node.agent.publish({"state": "online"})
        node.agent.emit(DrainStarted(node="n1", total=3))
        await asyncio.sleep(1)
        assert client.state == {"state": "online"}
    states = [item.state for item in told if isinstance(item, StateChanged)]
    assert states == [{"state": "joining"}, {"state": "online"}]
    assert [decode_body(item) for item in told if isinstance(item, EventFrame)] == [DrainStarted(node="n1", total=3)]
    assert any(isinstance(item, Beat) for item in told)
    assert [event.kind for event in node.journal] == ["drain_started"]


async def test_a_command_is_done_answered_and_audited(node: Node) -> None:
    async with await watch() as client:
        result = await client.command("drain", {"node": "n1"}, actor=ACTOR, reason="because")
    assert (result.ok, result.effect, node.drained) == (True, {"left": 3}, 1)
    (event,) = node.journal
    assert decode_body(event) == ActionDone(
        actor={"user": "u", "host": "h"}, op="drain", target="n1", reason="because", ok=True
    )


async def test_the_same_key_is_done_once_and_answered_twice(node: Node) -> None:
    async with await watch() as client, await watch() as other:
        results = await asyncio.gather(
            client.command("drain", {}, actor=ACTOR, idempotency_key="k"),
            other.command("drain", {}, actor=ACTOR, idempotency_key="k"),
            client.command("drain", {}, actor=ACTOR, idempotency_key="k"),
        )
    assert [result.ok for result in results] == [True, True, True]
    assert node.drained == 1
    assert len(node.journal) == 1


async def test_a_dry_run_only_says_what_would_be(node: Node) -> None:
    async with await watch() as client:
        assert (await client.command("drain", {}, actor=ACTOR, dry_run=True)).effect == {"would": 1}
        refused = await client.command("fail", {}, actor=ACTOR, dry_run=True)
    assert refused.error is not None
    assert refused.error.code == "no_dry_run"
    assert (node.drained, node.journal) == (0, [])


async def test_refusals_and_failures_are_answers_and_stand_in_the_ledger(node: Node) -> None:
    async with await watch() as client:
        refused = await client.command("drain", {"node": "n2"}, actor=ACTOR)
        failed = await client.command("fail", {}, actor=ACTOR)
    assert refused.error is not None
    assert (refused.error.code, refused.error.message) == ("not_me", "this is n1")
    assert failed.error is not None
    assert failed.error.code == "internal"
    assert [event.fields["ok"] for event in node.journal] == [False, False]


async def test_a_query_that_fails_is_answered_by_a_page_without_rows(node: Node) -> None:
    def broken(_: Query) -> Page:
        raise KeyError("x")

    node.agent.query("broken", broken)
    async with await watch() as client, asyncio.timeout(1):
        assert (await client.query("broken", limit=5)).rows == ()


async def test_pings_are_answered_while_an_operation_takes_long(node: Node) -> None:
    async with await watch() as client:
        slow = asyncio.ensure_future(client.command("slow", {}, actor=ACTOR))
        assert await client.ping() < 1
        assert not slow.done()
        assert (await slow).ok


async def test_tokens_decide_what_a_connection_may_do(node: Node) -> None:
    async with await watch(token="reader") as client:
        assert client.hello.role is Role.READ
        result = await client.command("drain", {}, actor=ACTOR)
    assert result.error is not None
    assert result.error.code == "read_only"
    for token in ("", "wrong", "controllers"):
        with pytest.raises(UnreachableError, match="HTTP 401"):
            await watch(token=token)
    assert node.drained == 0


async def test_the_end_of_the_peer_ends_what_waits_for_it(node: Node) -> None:
    client = await watch()
    waiting = asyncio.ensure_future(client.command("slow", {}, actor=ACTOR))
    await asyncio.sleep(1)
    await node.agent.close()
    with pytest.raises(UnreachableError):
        await waiting
    assert await client.closed() is None
    with pytest.raises(UnreachableError):
        await client.ping()
    await client.close()


async def test_a_watcher_that_sends_garbage_is_put_out_and_the_others_stay(node: Node) -> None:
    rude, polite = await watch(), await watch()
    await rude._connection.send("garbage")
    await rude.closed()
    assert await polite.ping() < 1
    assert node.agent.watchers == 1
    await rude.close()
    await polite.close()


async def test_a_peer_that_speaks_garbage_is_reported_as_such() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 9002)
    with pytest.raises((UnreachableError, RemoteProtocolError), match="does not speak"):
        await open_admin("ws://127.0.0.1:9002/admin")
    server.close()
    await server.wait_closed()


async def test_a_peer_that_says_nothing_is_given_up() -> None:
    writers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 9003)
    before = asyncio.get_running_loop().time()
    with pytest.raises(UnreachableError, match="within 3 s"):
        await open_admin("ws://127.0.0.1:9003/admin")
    assert asyncio.get_running_loop().time() - before == pytest.approx(3.0)
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    silent.close()


async def test_another_life_greets_its_watchers_anew(node: Node) -> None:
    node.agent.publish({"state": "online"})
    node.agent.emit(DrainStarted(node="n1"))
    first: list[WatchInput] = []
    watcher = await watch(first)
    await asyncio.sleep(0.5)
    node.agent.reboot(8)
    node.agent.emit(DrainStarted(node="n1", total=2))  # Under the new boot: not for those who watch the old one.
    assert node.agent.watchers == 0
    assert await watcher.closed() is None
    await watcher.close()
    second: list[WatchInput] = []
    async with await watch(second) as client:
        assert client.hello.boot == 8
        await asyncio.sleep(0.1)  # Events are for those who have subscribed.
        node.agent.publish({"state": "joining"})
        node.agent.emit(DrainStarted(node="n1", total=3))
        await asyncio.sleep(0.5)
        assert client.state == {"state": "joining"}
    assert not any(isinstance(item, EventFrame) for item in first)
    assert [(item.boot, item.rev) for item in second if isinstance(item, StateChanged)] == [(8, 0), (8, 1)]
    assert [(item.boot, item.seq) for item in second if isinstance(item, EventFrame)] == [(8, 2)]
    assert [(item.boot, item.seq) for item in node.journal] == [(7, 1), (8, 1), (8, 2)]


async def test_what_was_sent_to_an_earlier_life_is_not_done_by_the_next(node: Node) -> None:
    client = await watch()
    asked = asyncio.ensure_future(client.command("drain", {}, actor=ACTOR))
    await asyncio.sleep(0)  # Sent, and not read yet.
    node.agent.reboot(8)
    with pytest.raises(UnreachableError):
        await asked
    assert (node.drained, node.journal) == (0, [])
    await client.close()


async def test_a_watcher_that_does_not_even_take_the_close_is_cut(node: Node) -> None:
    client = await watch()
    client._connection.transport.pause_reading()
    before = asyncio.get_running_loop().time()
    node.agent.reboot(8)
    while node.agent._putting_out:  # noqa: ASYNC110  # Time jumps.
        await asyncio.sleep(0.1)
    assert asyncio.get_running_loop().time() - before < 2.5
    client._connection.transport.abort()
    await client.closed()


def test_a_boot_never_goes_back() -> None:
    with pytest.raises(AssertionError):
        Node().agent.reboot(7)


@pytest.mark.parametrize("url", ["http://x:1/", "ws://example.org:1/admin", "ws+unix:relative", "ws://127.0.0.1/", "x"])
async def test_addresses_that_are_not_admin_sockets_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        await open_admin(url)


async def test_tcp_without_tokens_is_not_served() -> None:
    with pytest.raises(UsageError, match="tokens"):
        await Node().agent.serve(URL)
    with pytest.raises(UsageError, match="TLS"):
        await Node().agent.serve("wss://10.0.0.1:1/admin", tokens=TOKENS)
