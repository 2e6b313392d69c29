"""Gateway processes of their own before WebSocket servers that are none of ours: all they share is the health table."""

import asyncio
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sample_cluster.gateway.redis_table import RedisTable
from sample_cluster.gateway.sockets import UNSENT_BYTES_MAX, tune
from sample_cluster.redis_link import connect_redis
from tests.support.redis_server import start_redis
from wsmon.agent.client import AdminClient, open_admin
from wsmon.errors import UnreachableError
from wsmon.protocol.fields import Fields, dump_object
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.registry import Keys, Verdict, decode_entry
from wsmon.protocol.states import NodeState

pytestmark = pytest.mark.e2e

KEYS = Keys("t")
NODES = ("n1", "n2")


async def until(true: Callable[[], Awaitable[bool]], *, within_s: float = 10) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110  # What is waited for tells nobody.
            await asyncio.sleep(0.02)


class Rig:
    """A server, foreign nodes in this process, and gateways in their own."""

    def __init__(self, directory: Path, url: str, redis: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.url = url
        self.redis = redis
        self.client = connect_redis(url)
        self.nodes: dict[str, Server] = {}
        self.ports: dict[str, int] = {}
        self.versions = Counter[str]()
        self.stack = AsyncExitStack()

    async def node(self, name: str) -> None:
        """Start a server that tells its name, and enter it as somebody would by hand."""

        async def tell(connection: ServerConnection) -> None:
            await connection.send(name)
            await connection.wait_closed()

        server = await self.stack.enter_async_context(
            serve(tell, "127.0.0.1", self.ports.get(name, 0), compression=None, ping_interval=None)
        )
        self.nodes[name] = server
        self.ports[name] = next(iter(server.sockets)).getsockname()[1]
        place: JsonObject = {"kind": "node", "id": name, "boot": 1, "address": f"127.0.0.1:{self.ports[name]}"}
        await self.client.set(KEYS.node(name), dump_object(place))
        await self.judge(name, NodeState.ONLINE)

    async def judge(self, name: str, state: NodeState) -> None:
        """Write a verdict, as a checker does."""
        self.versions[name] += 1
        verdict = Verdict(
            node=name, state=state, reason="", epoch=1, version=self.versions[name], at=time.time(), boot=1
        )
        pipe = self.client.pipeline(transaction=True)
        pipe.hset(KEYS.health, name, dump_object(verdict.to_object()))
        pipe.xadd(KEYS.health_log, {"node": name, "new": str(state)})
        await pipe.execute()

    async def gateway(self, name: str) -> tuple[int, AdminClient]:
        """Start a gateway; return its port and its admin socket once it knows the nodes."""
        admin = f"ws+unix://{self.directory}/{name}.sock"
        words = ["--id", name, "--cluster", "t", "--redis", self.url, "--admin", admin, "--profile", "test"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sample_cluster", "gateway", "--port", "0", *words, cwd=Path(__file__).parents[2]
        )

        async def end() -> None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            await process.wait()

        self.stack.push_async_callback(end)

        async def registered() -> bool:
            text = await self.client.get(KEYS.node(name))
            return text is not None and decode_entry(text).address is not None

        await until(registered)
        entry = decode_entry(await self.client.get(KEYS.node(name)) or "")
        assert entry.address is not None
        try:
            watch = await open_admin(admin)
        except UnreachableError as error:
            raise AssertionError(error.message) from error
        self.stack.push_async_callback(watch.close)

        async def knows() -> bool:
            return len(backends(watch)) == len(self.nodes)

        await until(knows)
        return int(entry.address.rpartition(":")[2]), watch

    async def client_of(self, port: int) -> tuple[str, ClientConnection]:
        """Connect a client; return its node and its connection."""
        connection = await self.stack.enter_async_context(
            connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None, proxy=None)
        )
        return str(await connection.recv()), connection


def backends(watch: AdminClient) -> dict[str, Fields]:
    nodes = Fields(watch.state, "state").object_or_none("backends") or {}
    return {name: Fields(Fields(nodes, "backends").object(name), name) for name in nodes}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with _rig() as made:
        yield made


@asynccontextmanager
async def _rig() -> AsyncIterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        url, redis = await start_redis(Path(name))
        made = Rig(Path(name), url, redis)
        try:
            for node in NODES:
                await made.node(node)
            yield made
        finally:
            await made.stack.aclose()
            await made.client.aclose()
            redis.kill()
            redis.wait()


async def test_tunnels_of_a_removed_node_are_cut_as_soon_as_the_verdict_is_written(rig: Rig) -> None:
    port, watch = await rig.gateway("g1")
    clients = await asyncio.gather(*(rig.client_of(port) for _ in range(40)))
    assert Counter(node for node, _ in clients) == {"n1": 20, "n2": 20}
    cut_ms = []

    async def wait(connection: ClientConnection) -> None:
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        cut_ms.append((time.monotonic() - written) * 1_000)

    waiting = [asyncio.create_task(wait(connection)) for node, connection in clients if node == "n1"]
    await asyncio.sleep(0)
    written = time.monotonic()
    await rig.judge("n1", NodeState.REMOVED)
    async with asyncio.timeout(0.6):  # Less than the table is read anyway.
        await asyncio.gather(*waiting)
    print(f"cut after {min(cut_ms):.1f} to {max(cut_ms):.1f} ms")  # noqa: T201  # A figure for whoever runs it by hand.
    assert (await rig.client_of(port))[0] == "n2"
    await until(lambda: _is(watch, "cut", 20))


async def test_a_node_that_refuses_gets_a_breaker_and_is_tried_again_by_one(rig: Rig) -> None:
    port, watch = await rig.gateway("g1")
    rig.nodes["n1"].close()
    await rig.nodes["n1"].wait_closed()

    async def opened() -> bool:
        assert (await rig.client_of(port))[0] == "n2"
        return backends(watch)["n1"].text("breaker") == "open"

    await until(opened)
    events: Any = await rig.client.xrange(KEYS.events)
    assert any('"kind":"breaker"' in fields["event"] and '"name":"n1"' in fields["event"] for _, fields in events)
    await rig.node("n1")

    async def closed() -> bool:
        return (await rig.client_of(port))[0] == "n1"

    await until(closed)
    await until(lambda: _is_closed(watch))


async def test_without_redis_the_last_table_holds_and_its_age_shows(rig: Rig) -> None:
    port, watch = await rig.gateway("g1")
    rig.redis.send_signal(signal.SIGSTOP)
    await until(lambda: _is(watch, "table_age_s", 2))
    assert {(await rig.client_of(port))[0] for _ in range(4)} == {"n1", "n2"}
    rig.redis.send_signal(signal.SIGCONT)
    await until(lambda: _is(watch, "table_age_s", 0))
    await rig.judge("n1", NodeState.REMOVED)
    await until(lambda: _gone(watch, "n1"))
    await rig.client.flushall()
    await until(lambda: _is(watch, "table_age_s", 1))
    assert (await rig.client_of(port))[0] == "n2", "a server that has lost everything knows nothing better"


async def test_two_gateways_share_the_table_and_spread_evenly_together(rig: Rig) -> None:
    ports = [(await rig.gateway(name))[0] for name in ("g1", "g2")]
    clients = [await rig.client_of(ports[number % 3 == 0]) for number in range(31)]
    counts = Counter(node for node, _ in clients)
    assert abs(counts["n1"] - counts["n2"]) <= 2
    await rig.judge("n2", NodeState.REMOVED)
    for node, connection in clients:
        if node == "n2":
            async with asyncio.timeout(1):
                await connection.wait_closed()
    assert {(await rig.client_of(port))[0] for port in ports} == {"n1"}


async def test_strangers_are_turned_down_by_name_and_without_a_node_the_time_to_come_again_is_told(rig: Rig) -> None:
    port, watch = await rig.gateway("g1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(bytes(range(256)))
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    silent, other = await asyncio.open_connection("127.0.0.1", port)
    assert (await silent.read()).startswith(b"HTTP/1.1 408 ")
    other.close()
    turned_down = Fields(Fields(watch.state, "state").object("turned_down"), "turned_down")
    assert turned_down.integer("garbage") == 1
    for node in NODES:
        await rig.judge(node, NodeState.DRAINING)
        await until(lambda node=node: _gone(watch, node))  # type: ignore[misc]
    with pytest.raises(InvalidStatus) as refusal:
        await rig.client_of(port)
    assert refusal.value.response.status_code == 503
    assert refusal.value.response.headers["Retry-After"] == "1"


async def test_a_table_that_is_lost_is_no_table(rig: Rig) -> None:
    table = RedisTable(rig.client, rig.client, KEYS)
    assert (await table.read()).keys() == {*NODES}
    await rig.client.delete(KEYS.health)
    assert await table.read() == {}, "somebody took the last node off"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
async def test_what_is_accepted_inherits_the_patience_of_the_listening_socket() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    tune(server, 40, listening=True)
    with server, socket.create_connection(server.getsockname()) as near, server.accept()[0] as far:
        tune(near, 16)
        for end, idle_s, probe_s, most_ms in ((far, 20, 5, 40_000), (near, 8, 2, 16_000)):
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle_s
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == probe_s
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == most_ms
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES_MAX


async def _is(watch: AdminClient, name: str, value: int) -> bool:
    return Fields(watch.state, "state").integer_or_none(name) == value


async def _gone(watch: AdminClient, node: str) -> bool:
    return backends(watch)[node].number("weight") == 0


async def _is_closed(watch: AdminClient) -> bool:
    return backends(watch)["n1"].text("breaker") == "closed"
