"""The gateway between real streams on virtual time, with a health table that lives in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from sample_cluster.config import PRODUCTION, TEST
from sample_cluster.core.balancer import Backend
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.gateway.entry import Load, with_load
from sample_cluster.gateway.redis_table import Place, to_backends
from sample_cluster.gateway.relay import BUFFER_BYTES_MAX, HALF_CLOSED_S, HEAD_BYTES_MAX, READ_BYTES_MAX
from sample_cluster.gateway.service import Gateway, run_until
from sample_cluster.gateway.sockets import Silence
from wsmon.errors import OperationRefusedError
from wsmon.protocol.events import BreakerChanged, EventBody, TunnelsCut
from wsmon.protocol.fields import Fields, dump_object
from wsmon.protocol.frames import JsonObject, ReadOnlyJson
from wsmon.protocol.registry import RegistryEntry, Verdict
from wsmon.protocol.states import NodeState, PeerKind

PORT = 8800
HEAD = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"


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
    answer_in_s: float = 0.0
    heads: list[bytes] = field(default_factory=list)
    """First lines of what connections sent first."""

    async def open(self) -> None:
        self.read_gate.set()
        self.answer = self.name.encode() + b"\n"
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def close(self) -> None:
        assert self.server is not None
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.heads.append(b"")
        place = len(self.heads) - 1
        try:
            while data := await reader.read(65_536):
                self.received += len(data)
                self.heads[place] = self.heads[place] or data.partition(b"\r\n")[0]
                await asyncio.sleep(self.answer_in_s)
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
    events: list[EventBody] = field(default_factory=list)

    def publish(self, state: ReadOnlyJson) -> None:
        self.state = state

    def emit(self, body: EventBody) -> object:
        self.events.append(body)
        return None

    def turned_down(self, why: str) -> int:
        return Fields(Fields(self.state, "state").object("turned_down"), "turned_down").integer(why)

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
    loads: list[Load]
    """What the gateway said of the nodes."""
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
        client.node = await client.ask(HEAD)
        return client


class Client:
    """One connection through the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.node = ""

    async def ask(self, words: bytes = b"who?\n") -> str:
        self.writer.write(words)
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


def no_tuning(end: object, silent_s: float, *, listening: bool = False) -> None:
    """Leave sockets as they are: those of this loop are none of the kernel's."""


@asynccontextmanager
async def scene(*, online: int = 3, tunnels_max: int = 10_000) -> AsyncIterator[Scene]:
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
    loads: list[Load] = []

    async def ask_to_move(admin: str, count: int) -> None:
        await made.move(admin, count)

    gateway = Gateway(
        TEST,
        table=table,
        teller=teller,
        ask_to_move=ask_to_move,
        dice=Random(1),
        announce=loads.append,
        tunnels_max=tunnels_max,
        tune=no_tuning,
    )
    made = Scene(gateway, table, teller, nodes, asked, loads)
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
        assert gateway.balancer._handshakes == {}
        assert gateway.relay.by_node == {}
        assert len(gateway.relay.newcomers) == 0
        assert not gateway.relay.waiting


async def test_connections_are_spread_evenly_and_bytes_pass_both_ways() -> None:
    async with scene() as run:
        clients = [await run.connect() for _ in range(9)]
        assert sorted(client.node for client in clients) == ["n1"] * 3 + ["n2"] * 3 + ["n3"] * 3
        assert await clients[0].ask() == clients[0].node
        await asyncio.sleep(0.5)
        assert run.teller.backend("n1").integer("connections") == 3
        assert run.teller.backend("n1").number("weight") == 1.0
        assert run.teller.state["accepts"] == 9
        assert run.teller.state["bytes_in"] == 9 * len(HEAD) + len(b"who?\n")
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
        assert TunnelsCut(node="n1", count=2) in run.teller.events


async def crowd_of(run: Scene, node: str, count: int) -> list[Client]:
    """Connect until `node` has `count` clients; return those."""
    clients = [await run.connect() for _ in range(2 * count)]
    found = [client for client in clients if client.node == node]
    assert len(found) == count
    return found


def ended(clients: list[Client]) -> int:
    return sum(client.reader.at_eof() or client.reader.exception() is not None for client in clients)


@pytest.mark.parametrize("how", ["ends", "breaks off", "is removed"])
async def test_the_clients_of_a_dead_node_are_let_go_of_as_fast_as_the_others_can_take_them(how: str) -> None:
    async with scene(online=2) as run:
        # One node is left, and clients spread themselves over 0.3 s: three go at once, the others at 20 each second.
        run.gateway.relay.line.speed.per_node = 20
        clients, node = await crowd_of(run, "n1", 23), run.nodes["n1"]
        if how == "is removed":
            await run.table.put("n1", NodeState.REMOVED)
        for writer in [*node.writers] if how != "is removed" else []:
            if how == "ends":
                writer.close()
            else:
                writer.transport.abort()
        await asyncio.sleep(0.01)
        assert ended(clients) == 3
        assert len(run.gateway.relay.kept) == 20
        assert run.gateway.balancer.connections("n1") <= 3, "only of those may be left who were let go of at once"
        await asyncio.sleep(0.5)
        assert 12 <= ended(clients) <= 14
        assert len(run.gateway.relay.kept) == 23 - ended(clients)
        kept = next(client for client in clients if not ended([client]))
        kept.writer.close()  # Who leaves by itself is kept no more.
        await asyncio.sleep(0.01)
        assert len(run.gateway.relay.kept) <= 22 - ended([client for client in clients if client is not kept])
        await asyncio.sleep(0.5)
        assert ended([client for client in clients if client is not kept]) == 22
        assert run.gateway.relay.kept == set()


async def test_a_client_that_is_kept_is_told_nothing_more_and_nothing_of_it_goes_anywhere() -> None:
    async with scene(online=1) as run:
        run.gateway.relay.line.speed.per_node = 1
        client = await run.connect()
        for writer in [*run.nodes["n1"].writers]:
            writer.transport.abort()
        await asyncio.sleep(0.1)
        client.writer.write(b"x" * 100_000)
        await asyncio.sleep(0.1)
        assert ended([client]) == 0
        assert len(run.gateway.relay.kept) == 1
        await asyncio.sleep(2)
        assert ended([client]) == 1
        client.writer.close()
        await asyncio.sleep(0.1)
        assert run.gateway.relay.tunnels == set()


async def test_a_gateway_that_ends_keeps_nobody() -> None:
    async with scene(online=1) as run:
        run.gateway.relay.line.speed.per_node = 0.5
        client = await run.connect()
        for writer in [*run.nodes["n1"].writers]:
            writer.close()
        await asyncio.sleep(0.1)
        assert len(run.gateway.relay.kept) == 1
        await run.gateway.relay.close()
        assert await client.ended()


async def test_what_is_known_of_the_nodes_is_told_to_those_who_drain() -> None:
    async with scene(online=2) as run:
        for _ in range(3):
            await run.connect()
        run.gateway.relay.line.speed.measured = True
        await asyncio.sleep(3)
        (first, second) = run.loads
        assert (first.connections, first.handshakes_per_s) == ({"n1": 0, "n2": 0, "n3": 0}, None)
        assert sorted(second.connections.values()) == [0, 1, 2]
        assert second.handshakes_per_s == run.gateway.relay.line.speed.per_node


def test_a_load_stands_beside_the_address_in_the_registry() -> None:
    entry = RegistryEntry(kind=PeerKind.GATEWAY, id="g", boot=7, admin="a", version="1", address="127.0.0.1:1")
    told = with_load(entry, Load(connections={"n1": 3}, handshakes_per_s=411.26))
    load: JsonObject = {"connections": {"n1": 3}, "handshakes_per_s": 411.3}
    assert told.to_object() == {**entry.to_object(), "load": load}
    again = with_load(told, Load())
    assert (again.address, again.to_object()["load"]) == ("127.0.0.1:1", {"connections": {}})


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


async def test_a_node_that_turns_clients_away_is_passed_over_and_avoided_for_a_while() -> None:
    async with scene(online=2) as run:
        run.nodes["n1"].answer = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
        clients = [await run.connect() for _ in range(6)]
        assert {client.node for client in clients} == {"n2"}
        run.nodes["n1"].answer = b"n1\n"
        await asyncio.sleep(2)
        assert (await run.connect()).node == "n1"
        assert run.teller.state["turned_away"] == 1
        assert run.teller.events == []


async def test_what_a_node_says_of_itself_is_passed_on_even_if_it_is_503() -> None:
    async with scene(online=1) as run:
        run.nodes["n1"].answer = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
        client = Client(*await run.open())
        assert await client.ask(b"GET /health HTTP/1.1\r\n\r\n") == "HTTP/1.1 503 Service Unavailable"


async def test_a_frozen_nodes_clients_are_taken_elsewhere_and_its_breaker_opens() -> None:
    async with scene(online=2) as run:
        run.nodes["n1"].read_gate.clear()  # Its kernel still connects.
        clients = await asyncio.gather(*(run.connect() for _ in range(12)))
        assert {client.node for client in clients} == {"n2"}
        assert run.teller.events == [BreakerChanged(name="n1", old="closed", new="open")]
        await asyncio.sleep(0.3)
        assert run.teller.backend("n1").text("breaker") == "open"
        breakers = Fields(Fields(run.teller.state, "state").object("breakers"), "breakers")
        assert Fields(breakers.object("n1"), "n1").integer("retry_in_s") == 1
        run.nodes["n1"].read_gate.set()
        await asyncio.sleep(1)
        assert (await run.connect()).node == "n1"
        changes = [(event.old, event.new) for event in run.teller.events if isinstance(event, BreakerChanged)]
        assert changes == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


async def test_a_client_without_an_answer_yet_is_not_cut_with_its_node() -> None:
    async with scene(online=2) as run:
        run.nodes["n1"].read_gate.clear()
        waiting = [asyncio.create_task(run.connect()) for _ in range(2)]
        await asyncio.sleep(0.1)
        await run.table.put("n1", NodeState.REMOVED)
        assert {(await client).node for client in waiting} == {"n2"}
        assert run.teller.state["cut"] == 0
        run.nodes["n1"].read_gate.set()


async def test_when_no_node_answers_the_client_is_told_to_come_again() -> None:
    async with scene(online=2) as run:
        for name in ("n1", "n2"):
            run.nodes[name].close()
        client = Client(*await run.open())
        assert await client.ask(HEAD) == "HTTP/1.1 503 Service Unavailable"
        assert await client.reader.readline() == b"Retry-After: 1\r\n"
        assert run.gateway.relay.counts.failed_connects == 2


async def test_a_client_that_leaves_while_a_node_is_asked_leaves_nothing_behind() -> None:
    async with scene(online=1) as run:
        run.nodes["n1"].read_gate.clear()
        _, writer = await run.open()
        writer.write(HEAD)
        await asyncio.sleep(0.1)
        (tunnel,) = run.gateway.relay.tunnels
        tunnel.cut()
        writer.close()
        await asyncio.sleep(0.1)
        assert run.gateway.relay.tunnels == set()
        assert run.gateway.balancer.connections("n1") == 0
        run.nodes["n1"].read_gate.set()


async def test_a_fault_of_our_own_costs_one_tunnel_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with scene(online=1) as run:
        connect = run.gateway.relay.connect

        async def fail(make: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
            raise AssertionError("our own mistake")

        run.gateway.relay.connect = fail
        client = Client(*await run.open())
        client.writer.write(HEAD)
        assert await client.ended()
        run.gateway.relay.connect = connect
        assert (await run.connect()).node == "n1"
        assert "a tunnel is lost" in caplog.text


async def test_a_node_gets_a_few_handshakes_at_a_time_and_the_rest_waits_in_line() -> None:
    async with scene(online=1) as run:
        node = run.nodes["n1"]
        node.read_gate.clear()
        waiting = [asyncio.create_task(run.connect()) for _ in range(60)]
        await asyncio.sleep(0.3)
        assert len(node.writers) == 32
        assert run.teller.state["waiting"] == 28
        begun = asyncio.get_running_loop().time()
        node.read_gate.set()
        assert {(await client).node for client in waiting} == {"n1"}
        assert asyncio.get_running_loop().time() - begun < 0.1
        assert run.gateway.relay.counts.refused == 0


async def test_how_fast_the_nodes_are_is_measured_while_clients_wait() -> None:
    async with scene(online=1) as run:
        run.nodes["n1"].answer_in_s = 0.15  # 32 at a time: 213 per second.
        for _ in range(6):
            await asyncio.gather(*(run.connect() for _ in range(190)))
        await asyncio.sleep(0.3)
        assert 190 < Fields(run.teller.state, "state").integer("handshakes_per_s") < 240


async def test_whom_a_node_did_not_take_keeps_its_place_before_the_line() -> None:
    async with scene(online=1) as run:
        relay, node = run.gateway.relay, run.nodes["n1"]
        for frozen in ("n1", "n2"):
            run.nodes[frozen].read_gate.clear()
        relay.patience_s = 5.0
        first = [asyncio.create_task(run.connect()) for _ in range(32)]
        await asyncio.sleep(0.05)
        relay.patience_s = 0.3

        async def arrive(name: bytes) -> None:
            _, writer = await run.open()
            writer.write(HEAD.replace(b"/ws", b"/" + name))
            await asyncio.sleep(0.01)

        await arrive(b"a")
        await arrive(b"b")
        await run.table.put("n2", NodeState.ONLINE)  # Both go there, in vain.
        await run.table.put("n2", NodeState.SUSPECT)
        await arrive(b"c")
        assert relay.waiting == 1
        await asyncio.sleep(0.3)
        assert relay.counts.failed_connects == 2
        assert relay.waiting == 3
        node.read_gate.set()
        await asyncio.gather(*first)
        await asyncio.sleep(0.05)
        assert node.heads[32:] == [b"GET /a HTTP/1.1", b"GET /b HTTP/1.1", b"GET /c HTTP/1.1"]
        run.nodes["n2"].read_gate.set()


async def test_an_answer_that_comes_together_with_its_end_is_passed_on_with_it() -> None:
    async with scene(online=1) as run:
        connect = asyncio.get_running_loop().create_connection

        async def connect_and_answer(make: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
            await connect(make, host, port)
            end = make()
            end.data_received(b"all\n")
            end.eof_received()

        run.gateway.relay.connect = connect_and_answer
        client = Client(*await run.open())
        begun = asyncio.get_running_loop().time()
        assert await client.ask(HEAD) == "all"
        assert await client.ended()
        assert asyncio.get_running_loop().time() - begun < 0.5


async def test_whoever_waits_in_line_and_leaves_is_not_taken_anywhere() -> None:
    async with scene(online=1) as run:
        node = run.nodes["n1"]
        node.read_gate.clear()
        first = [asyncio.create_task(run.connect()) for _ in range(32)]
        await asyncio.sleep(0.1)
        _, writer = await run.open()
        writer.write(HEAD)
        await asyncio.sleep(0.1)
        assert run.gateway.relay.waiting == 1
        writer.close()
        await asyncio.sleep(0.01)
        assert not run.gateway.relay.waiting
        node.read_gate.set()
        await asyncio.gather(*first)
        assert len(node.writers) == 32


async def test_beyond_the_line_clients_are_told_when_to_come_again_and_find_room_then() -> None:
    async with scene(online=1) as run:
        run.gateway.relay.line.speed.per_node = 25.0  # The line has room for 20: four fifths of a second's patience.
        node = run.nodes["n1"]
        node.read_gate.clear()
        clients = [Client(*await run.open()) for _ in range(80)]
        for client in clients:
            client.writer.write(HEAD)
        told = []
        for client in clients[52:]:
            assert await client.reader.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
            told.append((await client.reader.readline()).decode().strip())
        assert told == ["Retry-After: 1"] * 22 + ["Retry-After: 2"] * 6
        node.read_gate.set()
        assert {(await client.reader.readline()).strip() for client in clients[:52]} == {b"n1"}
        run.gateway.relay.line.speed.per_node = 25.0
        await asyncio.sleep(1)
        again = [await run.connect() for _ in range(22)]
        assert {client.node for client in again} == {"n1"}
        assert run.teller.state["refused"] == 28


async def test_nobody_waits_in_line_for_longer_than_its_patience() -> None:
    async with scene(online=1) as run:
        run.gateway.relay.patience_s = 5.0  # A node that hangs for long.
        run.nodes["n1"].read_gate.clear()
        first = [asyncio.create_task(run.connect()) for _ in range(32)]
        await asyncio.sleep(0.1)
        begun = asyncio.get_running_loop().time()
        client = Client(*await run.open())
        assert await client.ask(HEAD) == "HTTP/1.1 503 Service Unavailable"
        assert asyncio.get_running_loop().time() - begun == pytest.approx(0.8, abs=0.05)
        run.nodes["n1"].read_gate.set()
        await asyncio.gather(*first)


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


@pytest.mark.parametrize(
    ("sent", "within_s", "status", "why"),
    [
        (b"GET /ws HTTP/1.1\r\n" + b"x" * HEAD_BYTES_MAX, 0.1, b"431", "head_too_big"),
        (HEAD + b"x" * HEAD_BYTES_MAX, 0.1, b"431", "head_too_big"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 0.1, b"400", "garbage"),
        (b"GET", TEST.hello_timeout_s, b"408", "no_head"),
        (b"", TEST.hello_timeout_s, b"408", "no_head"),
    ],
)
async def test_whoever_sends_no_request_is_turned_down_and_costs_no_node_anything(
    sent: bytes, within_s: float, status: bytes, why: str
) -> None:
    async with scene(online=1) as run:
        begun = asyncio.get_running_loop().time()
        reader, writer = await run.open()
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.1 " + status)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(within_s, abs=0.1)
        writer.close()
        await asyncio.sleep(0.3)
        assert run.teller.turned_down(why) == 1
        assert run.nodes["n1"].received == 0
        assert run.teller.state["refused"] == 0


async def test_a_flood_of_connections_without_a_request_has_a_bound_and_harms_nobody_else() -> None:
    async with scene(online=1, tunnels_max=16) as run:
        for _ in range(20):
            await run.open()
        assert len(run.gateway.relay.newcomers) == 8
        assert (await run.connect()).node == "n1"
        await asyncio.sleep(0.3)
        assert run.teller.turned_down("flooded") == 13
        assert len(run.gateway.relay.tunnels) == 8


async def test_no_more_tunnels_are_opened_than_there_are_files_for() -> None:
    async with scene(online=1, tunnels_max=2) as run:
        clients = [await run.connect() for _ in range(2)]
        reader, _ = await run.open()
        assert await reader.read() == b""
        await asyncio.sleep(0.3)
        assert run.teller.turned_down("full") == 1
        assert await clients[0].ask() == "n1"


async def test_half_a_request_may_come_with_the_other_half_later() -> None:
    async with scene(online=1) as run:
        client = Client(*await run.open())
        client.writer.write(HEAD[:20])
        await asyncio.sleep(0.5)
        assert await client.ask(HEAD[20:]) == "n1"


def test_an_end_may_be_silent_as_long_as_its_own_patience_is() -> None:
    assert Silence.of(PRODUCTION) == Silence(client_s=40, node_s=16)
    assert Silence.of(TEST) == Silence(client_s=30, node_s=10)


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


async def test_an_end_that_the_kernel_gave_up_is_counted() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        (tunnel,) = run.gateway.relay.tunnels
        assert tunnel.server is not None
        assert tunnel.server.transport is not None
        tunnel.server.transport._force_close(TimeoutError("unacknowledged for too long"))  # type: ignore[attr-defined]
        assert await client.ended()
        await asyncio.sleep(0.3)
        assert run.teller.state["timed_out"] == 1


async def test_what_was_sent_before_a_half_close_arrives_and_so_does_the_answer() -> None:
    async with scene(online=1) as run:
        client = await run.connect()
        client.writer.write(b"last words\n")
        client.writer.write_eof()
        assert await client.reader.read() == b"n1\n"
        assert run.nodes["n1"].received == len(HEAD + b"last words\n")


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
        assert tunnel.server.transport.get_write_buffer_size() <= BUFFER_BYTES_MAX + READ_BYTES_MAX
        assert getattr(tunnel.client.transport, "max_size", None) == READ_BYTES_MAX
        assert run.gateway.relay.counts.bytes_in < 4_000_000
        node.read_gate.set()
        await client.writer.drain()
        await asyncio.sleep(1)
        assert node.received == 8_000_000 + len(HEAD)


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
    known = {"n1": Place(boot=1, address="127.0.0.1:1")}
    assert to_backends(table, {"n1": None}, known=known, at=100.0)["n1"].address == "127.0.0.1:1"
    assert to_backends(table, {"n1": None}, known={}, at=100.0)["n1"].address is None


def test_a_verdict_on_an_earlier_life_is_no_reason_to_send_clients() -> None:
    table = {"n1": verdict_text(NodeState.ONLINE)}
    assert to_backends(table, {"n1": entry_text(boot=2)}, known={}, at=0.0)["n1"].state is NodeState.JOINING


def test_a_foreign_server_needs_no_more_than_an_address() -> None:
    backends = to_backends(
        {"n1": verdict_text(NodeState.ONLINE)}, {"n1": '{"boot":1,"address":"h:1"}'}, known={}, at=90.0
    )
    assert backends == {"n1": Backend(state=NodeState.ONLINE, boot=1, address="h:1", admin=None)}


def test_what_does_not_parse_is_left_out() -> None:
    assert to_backends({"n1": "{"}, {}, known={}, at=0.0) == {}
    assert to_backends({"n1": verdict_text(NodeState.ONLINE)}, {"n1": "[]"}, known={}, at=0.0) == {}
