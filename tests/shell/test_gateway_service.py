"""The gateway between real streams on virtual time, with a health table that lives in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest

from sample_cluster.config import TEST
from sample_cluster.core.balancer import Backend
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.gateway.redis_table import to_backends
from sample_cluster.gateway.relay import BUFFER_BYTES_MAX, HALF_CLOSED_S, HEAD_BYTES_MAX, HEAD_WITHIN_S
from sample_cluster.gateway.service import Gateway, run_until
from wsmon.errors import OperationRefusedError
from wsmon.protocol.fields import Fields, dump_object
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.registry import RegistryEntry, Verdict, decode_entry
from wsmon.protocol.states import NodeState, PeerKind

PORT = 8800


@dataclass
class FakeTable:
    """Implements `HealthTable`."""

    backends: dict[str, Backend] = field(default_factory=dict)
    available: bool = True
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> Mapping[str, Backend]:
        if not self.available:
            raise StoreUnavailableError("redis is away")
        return dict(self.backends)

    async def changed(self) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.7):
                await self._wake.wait()

    async def put(self, node: str, state: NodeState, *, boot: int = 1) -> None:
        """Change a verdict and give the gateway the time to hear of it."""
        self.backends[node] = replace(self.backends[node], state=state, boot=boot, age_s=0.0)
        self._wake.set()
        await asyncio.sleep(0.01)


@dataclass
class FakeNode:
    """Answers each line of a connection with its own name; knows how many connections it has."""

    name: str
    port: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    read_gate: asyncio.Event = field(default_factory=asyncio.Event)
    received: int = 0
    lost: list[str] = field(default_factory=list)
    """How connections ended: `eof`, `error` or `aborted`."""
    server: asyncio.Server | None = None
    answer: bytes = b""

    async def open(self) -> None:
        self.read_gate.set()
        self.answer = self.name.encode() + b"\n"
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def close(self) -> None:
        assert self.server is not None
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(65_536):
                self.received += len(data)
                await self.read_gate.wait()
                if data.endswith(b"\n"):
                    writer.write(self.answer)
            self.lost.append("eof")
        except ConnectionError:
            self.lost.append("error")
        finally:
            self.writers.remove(writer)
            writer.close()


@dataclass
class Teller:
    """Implements the gateway's `Teller`."""

    state: ReadOnlyJson = field(default_factory=dict)

    def publish(self, state: ReadOnlyJson) -> None:
        self.state = state

    def backend(self, node: str) -> Fields:
        return Fields(Fields(Fields(self.state, "state").object("backends"), "backends").object(node), node)


@dataclass
class Scene:
    """A gateway at work before three nodes."""

    gateway: Gateway
    table: FakeTable
    teller: Teller
    nodes: dict[str, FakeNode]
    asked: list[tuple[str, int]]
    refuse_moves: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def move(self, admin: str, count: int) -> None:
        """Implement `AskToMove`."""
        self.asked.append((admin, count))
        if self.refuse_moves:
            raise OperationRefusedError("unknown_op", "cannot")
        for writer in self.nodes[admin].writers[:count]:
            writer.close()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; whatever the test does with it, the scene closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        self.writers.append(writer)
        return reader, writer

    async def connect(self) -> "Client":
        """Connect and ask which node it is."""
        client = Client(*await self.open())
        client.node = await client.ask()
        return client


class Client:
    """One connection through the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.node = ""

    async def ask(self) -> str:
        self.writer.write(b"who?\n")
        return (await self.reader.readline()).decode().strip()

    async def ended(self) -> bool:
        """Say whether the connection ends within a second."""
        try:
            async with asyncio.timeout(1):
                return await self.reader.read() == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


@asynccontextmanager
async def scene(*, online: int = 3) -> AsyncIterator[Scene]:
    nodes = {f"n{number}": FakeNode(f"n{number}", 9_000 + number) for number in (1, 2, 3)}
    table = FakeTable()
    for number, node in enumerate(nodes.values(), 1):
        await node.open()
        state = NodeState.ONLINE if number <= online else NodeState.JOINING
        table.backends[node.name] = Backend(
            state=state, boot=1, address=f"127.0.0.1:{node.port}", admin=node.name, age_s=1_000
        )
    teller = Teller()
    asked: list[tuple[str, int]] = []

    async def ask_to_move(admin: str, count: int) -> None:
        await made.move(admin, count)

    gateway = Gateway(TEST, table=table, teller=teller, ask_to_move=ask_to_move)
    made = Scene(gateway, table, teller, nodes, asked)
    stopping = asyncio.Event()
    assert await gateway.open("127.0.0.1", PORT) == PORT
    running = asyncio.create_task(run_until(stopping, gateway))
    await asyncio.sleep(0.01)
    try:
        yield made
        assert not running.done()
        # Anything that a tunnel leaves behind would show here.
        for writer in made.writers:
            writer.close()
        await asyncio.sleep(HALF_CLOSED_S + 1)
        assert gateway.relay.tunnels == set()
    finally:
        stopping.set()
        await running
        for writer in made.writers:
            writer.close()
        for node in nodes.values():
            node.close()
        await asyncio.sleep(1)
        assert gateway.relay.tunnels == set()
        assert [gateway.balancer.connections(name) for name in nodes] == [0, 0, 0]


async def test_connections_are_spread_evenly_and_bytes_pass_both_ways() -> None:
    async with scene() as run:
        clients = [await run.connect() for _ in range(9)]
        assert sorted(client.node for client in clients) == ["n1"] * 3 + ["n2"] * 3 + ["n3"] * 3
        assert await clients[0].ask() == clients[0].node
        await asyncio.sleep(0.5)
        assert run.teller.backend("n1").integer("connections") == 3
        assert run.teller.backend("n1").number("weight") == 1.0
        assert run.teller.state["accepts"] == 9
        assert run.teller.state["bytes_in"] == 50
        assert run.teller.state["table_age_s"] == 0


async def test_a_suspect_keeps_its_connections_and_gets_nothing_new() -> None:
    async with scene(online=2) as run:
        first, second = await run.connect(), await run.connect()
        await run.table.put(first.node, NodeState.SUSPECT)
        more = [await run.connect() for _ in range(4)]
        assert {client.node for client in more} == {second.node}
        assert await first.ask() == first.node


async def test_a_removed_nodes_tunnels_are_cut_at_once() -> None:
    async with scene(online=2) as run:
        clients = [await run.connect() for _ in range(4)]
        await run.table.put("n1", NodeState.REMOVED)
        for client in clients:
            assert await client.ended() == (client.node == "n1")
        await asyncio.sleep(0.5)
        assert run.teller.state["cut"] == 2
        assert run.teller.backend("n1").integer("connections") == 0


async def test_tunnels_to_an_earlier_life_are_cut() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        await run.table.put("n1", NodeState.ONLINE, boot=2)
        assert await client.ended()


async def test_a_node_that_refuses_is_passed_over() -> None:
    async with scene(online=2) as run:
        run.nodes["n1"].close()
        clients = [await run.connect() for _ in range(3)]
        assert {client.node for client in clients} == {"n2"}
        assert run.gateway.relay.counts.failed_connects > 0


async def test_a_node_that_turns_clients_away_is_avoided_for_a_while() -> None:
    async with scene(online=2) as run:
        run.nodes["n1"].answer = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
        clients = [await run.connect() for _ in range(6)]
        assert [client.node for client in clients].count("n2") == 5
        run.nodes["n1"].answer = b"n1\n"
        await asyncio.sleep(2)
        assert (await run.connect()).node == "n1"
        assert run.teller.state["turned_away"] == 1


async def test_an_address_that_cannot_be_read_is_passed_over() -> None:
    async with scene(online=2) as run:
        run.table.backends["n1"] = replace(run.table.backends["n1"], address="nowhere")
        await run.table.put("n1", NodeState.ONLINE)
        assert {(await run.connect()).node for _ in range(3)} == {"n2"}


async def test_without_a_node_the_request_is_read_and_answered_with_advice() -> None:
    async with scene(online=0) as run:
        reader, writer = await run.open()
        writer.write(b"GET /ws HTTP/1.1\r\n")
        await asyncio.sleep(0.5)
        writer.write(b"Host: x\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(body) in head
        writer.close()
        await asyncio.sleep(0.5)
        assert run.teller.state["refused"] == 1


@pytest.mark.parametrize(("sent", "within_s"), [(b"x" * (HEAD_BYTES_MAX + 1), 0.1), (b"GET", HEAD_WITHIN_S)])
async def test_a_head_that_is_too_long_or_never_ends_is_answered_all_the_same(sent: bytes, within_s: float) -> None:
    async with scene(online=0) as run:
        begun = asyncio.get_running_loop().time()
        reader, writer = await run.open()
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.1 503")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(within_s, abs=0.1)
        writer.close()


async def test_a_client_that_leaves_before_it_is_refused_leaves_nothing_behind() -> None:
    async with scene(online=0) as run:
        _, writer = await run.open()
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(0.1)
        assert run.gateway.relay.tunnels == set()


async def test_the_end_of_either_side_ends_the_other() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        run.nodes["n1"].writers[0].close()
        assert await client.ended()
        client.writer.close()
        other = await run.connect()
        other.writer.close()
        await asyncio.sleep(0.1)
        assert run.nodes["n1"].lost[-1] == "eof"
        assert run.gateway.relay.tunnels == set()


async def test_a_side_that_breaks_off_breaks_the_other_off() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        client.writer.transport.abort()
        await asyncio.sleep(0.1)
        assert run.nodes["n1"].writers == []
        assert run.gateway.relay.tunnels == set()


async def test_what_was_sent_before_a_half_close_arrives_and_so_does_the_answer() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        client.writer.write(b"last words\n")
        client.writer.write_eof()
        assert await client.reader.read() == b"n1\n"
        assert run.nodes["n1"].received == len(b"who?\nlast words\n")


async def test_a_tunnel_of_which_one_side_is_over_does_not_stay_for_ever() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        run.nodes["n1"].read_gate.clear()  # The node is stuck and will never answer the end.
        client.writer.write(b"?\n")
        client.writer.write_eof()
        await asyncio.sleep(HALF_CLOSED_S - 1)
        assert len(run.gateway.relay.tunnels) == 1
        await asyncio.sleep(2)
        assert run.gateway.relay.tunnels == set()
        run.nodes["n1"].read_gate.set()


async def test_a_side_that_does_not_read_stops_the_other_instead_of_filling_memory() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        node = run.nodes["n1"]
        node.read_gate.clear()
        client.writer.write(b"x" * 8_000_000)
        await asyncio.sleep(1)
        (tunnel,) = run.gateway.relay.tunnels
        assert tunnel.server is not None
        assert tunnel.server.transport is not None
        assert tunnel.server.transport.get_write_buffer_size() <= BUFFER_BYTES_MAX + 256 * 1024
        assert run.gateway.relay.counts.bytes_in < 4_000_000
        node.read_gate.set()
        await client.writer.drain()
        await asyncio.sleep(1)
        assert node.received == 8_000_000 + len(b"who?\n")


async def test_without_redis_the_last_table_holds() -> None:
    async with scene(online=2) as run:
        run.table.available = False
        await asyncio.sleep(5)
        assert (await run.connect()).node in ("n1", "n2")
        await asyncio.sleep(0.5)
        assert Fields(run.teller.state, "state").integer("table_age_s") >= 4
        run.table.available = True
        await asyncio.sleep(1)
        assert run.teller.state["table_age_s"] == 0


async def test_a_node_that_came_back_gets_its_share_of_connections() -> None:
    async with scene() as run:
        await run.table.put("n3", NodeState.REMOVED)
        clients = [await run.connect() for _ in range(40)]
        await run.table.put("n3", NodeState.RECOVERING)
        await run.table.put("n3", NodeState.ONLINE)
        for _ in range(20):
            await asyncio.sleep(1)
            gone = [client for client in clients if client.reader.at_eof()]
            for client in gone:
                client.writer.close()
                clients.remove(client)
            clients += [await run.connect() for _ in gone]
        assert {admin for admin, _ in run.asked} == {"n1", "n2"}
        assert max(count for _, count in run.asked) <= 2
        assert run.gateway.balancer.connections("n3") >= 8


async def test_a_node_that_cannot_move_connections_is_left_alone() -> None:
    async with scene(online=2) as run:
        run.refuse_moves = True
        await run.table.put("n2", NodeState.DRAINING)
        for _ in range(10):
            await run.connect()
        await run.table.put("n2", NodeState.ONLINE)
        run.table.backends["n3"] = replace(run.table.backends["n3"], state=NodeState.LEFT)
        await asyncio.sleep(4)
        assert run.asked
        assert run.teller.state["moved"] == 0


def entry_text(*, boot: int, address: str | None = "127.0.0.1:1") -> str:
    entry = RegistryEntry(kind=PeerKind.NODE, id="n1", boot=boot, admin="ws+unix:///a", version="1", address=address)
    return dump_object(entry.to_object())


def verdict_text(state: NodeState, *, boot: int = 1) -> str:
    verdict = Verdict(node="n1", state=state, reason="", epoch=1, version=1, at=90.0, boot=boot)
    return dump_object(verdict.to_object())


def test_a_backend_is_a_verdict_and_an_address() -> None:
    table = {"n1": verdict_text(NodeState.ONLINE)}
    (backend,) = to_backends(table, {"n1": entry_text(boot=1)}, known={}, at=100.0).values()
    assert backend == Backend(state=NodeState.ONLINE, boot=1, address="127.0.0.1:1", admin="ws+unix:///a", age_s=10.0)


def test_an_expired_lease_does_not_make_an_address_unknown() -> None:
    table = {"n1": verdict_text(NodeState.ONLINE)}
    known = {"n1": decode_entry(entry_text(boot=1))}
    assert to_backends(table, {"n1": None}, known=known, at=100.0)["n1"].address == "127.0.0.1:1"
    assert to_backends(table, {"n1": None}, known={}, at=100.0)["n1"].address is None


def test_a_verdict_on_an_earlier_life_is_no_reason_to_send_clients() -> None:
    table = {"n1": verdict_text(NodeState.ONLINE)}
    assert to_backends(table, {"n1": entry_text(boot=2)}, known={}, at=0.0)["n1"].state is NodeState.JOINING


def test_what_does_not_parse_is_left_out() -> None:
    assert to_backends({"n1": "{"}, {}, known={}, at=0.0) == {}
    assert to_backends({"n1": verdict_text(NodeState.ONLINE)}, {"n1": "[]"}, known={}, at=0.0) == {}
