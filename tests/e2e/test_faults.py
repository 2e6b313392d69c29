"""Faults on purpose: connections that are taken over while they are in use, and a whole cluster that suffers."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from sample_cluster.checker.kernel import look_at
from sample_cluster.core.classify import Look
from sample_cluster.core.faults import Bandwidth, Blackhole, Latency, Link, Reset, Way
from sample_cluster.detour import DetourLoop, ExchangeLine, is_led_around
from sample_cluster.faults import Exchange
from wsmon.agent.client import AdminClient, open_admin
from wsmon.protocol.descriptor import Descriptor, decode_descriptor
from wsmon.protocol.frames import Actor, EventFrame, Json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

ACTOR = Actor(user="test", host="localhost")
LINK = Link("caller", "called")


@pytest.fixture
def root() -> Iterator[Path]:
    # Socket paths must stay short, which those of tmp_path are not.
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        yield Path(name)


async def until(condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # The real thing has no event for us.
            await asyncio.sleep(0.02)


# One process: sockets that change hands


class Rig:
    """An exchange, and a caller and an echo on one loop that keeps a line to it."""

    def __init__(self, root: Path, loop: DetourLoop) -> None:
        self.path = root / "called.sock"
        self.exchange = Exchange(root / "x.sock", lambda name: (str(self.path),) if name == "called" else ())
        self.exchange.open()
        self.line = ExchangeLine(self.exchange.path, "caller")
        loop.divert_by(self.line)
        self.called = ExchangeLine(self.exchange.path, "called")
        self.called.attach(loop, loop._selector)  # type: ignore[attr-defined]
        self.echoed = 0
        self.echoing = 0

    async def serve(self) -> None:
        self.unix = await asyncio.start_unix_server(self.echo, self.path)
        await self.serve_tcp()

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.echoing += 1
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.echoed += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.echoing -= 1

    async def serve_tcp(self) -> None:
        self.tcp = await asyncio.start_server(self.echo, "127.0.0.1", 0)
        self.port = self.tcp.sockets[0].getsockname()[1]
        self.called.listens(f"127.0.0.1:{self.port}")

    async def call(self, kind: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if kind == "tcp":
            return await asyncio.open_connection("127.0.0.1", self.port)
        return await asyncio.open_unix_connection(str(self.path))

    async def close(self) -> None:
        self.tcp.close()
        self.unix.close()
        await self.exchange.close()
        self.called.close()
        await until(lambda: self.echoing == 0)


async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], text: bytes = b"ping") -> float:
    """Have `text` echoed; return how long that took."""
    reader, writer = streams
    began = time.monotonic()
    writer.write(text)
    assert await reader.readexactly(len(text)) == text
    return time.monotonic() - began


def on_a_diverted_loop(root: Path, use: Callable[[Rig], Awaitable[None]]) -> None:
    async def run(loop: DetourLoop) -> None:
        rig = Rig(root, loop)
        await rig.serve()
        await asyncio.sleep(0.01)  # The lines say hello.
        try:
            async with asyncio.timeout(30):
                await use(rig)
        finally:
            await rig.close()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=DetourLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, DetourLoop)
        runner.run(run(loop))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_connections_in_use_are_taken_over_without_losing_a_byte(root: Path, kind: str) -> None:
    async def use(rig: Rig) -> None:
        streams = [await rig.call(kind) for _ in range(8)]
        size = 2_000_000
        sent = bytes(range(256)) * (size // 256)

        async def push(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            async def write() -> None:
                for begin in range(0, len(sent), 10_000):
                    writer.write(sent[begin : begin + 10_000])
                    await writer.drain()

            _, came = await asyncio.gather(write(), reader.readexactly(len(sent)))
            return came

        pushing = [asyncio.create_task(push(*pair)) for pair in streams]
        await until(lambda: rig.echoed > size)
        assert await rig.exchange.divert(LINK) == 8
        assert rig.echoed < 8 * size, "they were not in use any more"
        assert all([await task == sent for task in pushing])
        assert rig.exchange.connections == {"caller-called": 8}
        for _, writer in streams:
            writer.close()
        await until(lambda: rig.exchange.connections == {})

    on_a_diverted_loop(root, use)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_faults_take_hold_of_connections_old_and_new(root: Path, kind: str) -> None:
    async def use(rig: Rig) -> None:
        old = await rig.call(kind)
        assert await ask(old) < 0.2
        assert not is_led_around(old[1].transport)
        await rig.exchange.divert(LINK)
        # What the kernel says of it from now on is about the relay.
        assert is_led_around(old[1].transport)
        assert look_at(old[1].transport) == Look()
        rig.exchange.reshape(LINK, (Latency(0.15),))
        new = await rig.call(kind)
        assert await ask(old) >= 0.3
        assert await ask(new) >= 0.3
        rig.exchange.reshape(LINK, ())
        assert await ask(old) < 0.2
        assert await ask(new) < 0.2
        later = await rig.call(kind)
        assert await ask(later) < 0.2
        assert rig.exchange.connections == {"caller-called": 2}, "what is made after the fault is direct"
        # A second fault finds all of them.
        assert await rig.exchange.divert(LINK) == 1
        rig.exchange.reshape(LINK, (Latency(0.15),))
        took = await asyncio.gather(ask(old), ask(new), ask(later))
        assert min(took) >= 0.3
        rig.exchange.reshape(LINK, (Bandwidth(20_000),))
        assert await ask(old, bytes(10_000)) >= 0.4
        for _, writer in (old, new, later):
            writer.close()

    on_a_diverted_loop(root, use)


def test_a_reset_is_a_reset_for_both_ends_and_for_new_connections(root: Path) -> None:
    async def use(rig: Rig) -> None:
        reader, writer = await rig.call("tcp")
        await ask((reader, writer))
        await rig.exchange.divert(LINK)
        rig.exchange.reshape(LINK, (Reset(),))
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        reader, writer = await rig.call("tcp")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        rig.exchange.reshape(LINK, ())
        fresh = await rig.call("tcp")
        await ask(fresh)
        fresh[1].close()

    on_a_diverted_loop(root, use)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_black_hole_lets_nobody_connect_and_gives_back_what_it_swallowed(root: Path, kind: str) -> None:
    async def use(rig: Rig) -> None:
        old = await rig.call(kind)
        await rig.exchange.divert(LINK)
        rig.exchange.reshape(LINK, (Blackhole(Way.TO),))
        await asyncio.sleep(0.01)
        echoed = rig.echoed
        answer = asyncio.create_task(ask(old))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await rig.call(kind)
        waiting = asyncio.create_task(rig.call(kind))
        await asyncio.sleep(0.1)
        assert rig.echoed == echoed
        assert not waiting.done()
        rig.exchange.reshape(LINK, ())
        assert await answer >= 0.3
        fresh = await waiting
        await ask(fresh)
        for _, writer in (old, fresh):
            writer.close()

    on_a_diverted_loop(root, use)


def test_a_refused_connect_is_refused_whatever_is_wrong_with_the_link(root: Path) -> None:
    async def use(rig: Rig) -> None:
        await rig.exchange.divert(LINK)
        rig.exchange.reshape(LINK, (Latency(0.1),))
        await asyncio.sleep(0.01)
        rig.tcp.close()
        await rig.tcp.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await rig.call("tcp")

    on_a_diverted_loop(root, use)


def test_a_process_that_listens_elsewhere_is_found_again(root: Path) -> None:
    async def use(rig: Rig) -> None:
        await rig.exchange.divert(LINK)
        rig.exchange.reshape(LINK, (Latency(0.15),))
        first = rig.tcp
        await rig.serve_tcp()
        first.close()
        await asyncio.sleep(0.01)
        streams = await rig.call("tcp")
        assert await ask(streams) >= 0.3
        streams[1].close()

    on_a_diverted_loop(root, use)


def test_somebody_who_speaks_something_else_is_hung_up_on_and_the_others_go_on(root: Path) -> None:
    async def use(rig: Rig) -> None:
        for text in (b"hello\n", b'{"told":"moved","link":"caller-called"}\n', b'{"told":"what"}\n'):
            reader, writer = await asyncio.open_unix_connection(str(rig.exchange.path))
            writer.write(text)
            assert await reader.read() == b""
            writer.close()
        streams = await rig.call("tcp")
        assert await rig.exchange.divert(LINK) == 1
        await ask(streams)
        streams[1].close()

    on_a_diverted_loop(root, use)


# A whole cluster


class Cluster:
    """A running `sample-cluster up`, watched as a dashboard would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[EventFrame] = []
        self.supervisor: AdminClient
        self.descriptor: Descriptor
        self.process: asyncio.subprocess.Process

    async def ask(self, op: str, **args: Json) -> Any:
        result = await self.supervisor.command(op, args, actor=ACTOR, reason="a test")
        return result.effect if result.error is None else (result.error.code, result.error.message)

    async def admin(self, name: str) -> AdminClient:
        assert self.descriptor.supervisor is not None
        return await open_admin(self.descriptor.supervisor.replace("supervisor.sock", f"{name}.sock"), interval_ms=50)

    def told(self, kind: str) -> list[tuple[Json, Json]]:
        return [(event.fields["fault"], event.fields["target"]) for event in self.events if event.kind == kind]

    @property
    def in_force(self) -> set[tuple[str, str]]:
        faults: Any = self.supervisor.state.get("faults", [])
        return {(row["fault"], row["target"]) for row in faults}

    def link(self, name: str) -> Any:
        links: Any = self.supervisor.state["links"]
        return links[name]


@contextlib.asynccontextmanager
async def running(root: Path, *flags: str) -> AsyncIterator[Cluster]:
    cluster = Cluster(root)
    cluster.process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sample_cluster", "up", "--until-eof", "--port", "0", "--profile", "test"),
        *("--clients", "9", "--rate", "10", *flags),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "XDG_RUNTIME_DIR": str(root)},
        start_new_session=True,
    )
    assert cluster.process.stdin is not None
    assert cluster.process.stdout is not None
    try:
        async with asyncio.timeout(30):
            cluster.descriptor = decode_descriptor((await cluster.process.stdout.readline()).decode())

        def take(told: object) -> None:
            if isinstance(told, EventFrame):
                cluster.events.append(told)

        assert cluster.descriptor.supervisor is not None
        cluster.supervisor = await open_admin(cluster.descriptor.supervisor, take, interval_ms=50)
        async with cluster.supervisor:
            await until(lambda: bool(cluster.supervisor.state.get("start", {}).get("ready")))  # type: ignore[union-attr]
            yield cluster
    finally:
        cluster.process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await cluster.process.wait()
        except TimeoutError:
            cluster.process.kill()
            await cluster.process.wait()


class Client:
    """A raw client: a bare WebSocket and JSON, nothing of the client library."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, gateway: str) -> "Client":
        connection = await connect(
            gateway, subprotocols=[Subprotocol("wsc.v1.json")], compression=None, proxy=None, ping_interval=None
        )
        client = cls(connection)
        await client.send(type="hello")
        await until(lambda: bool(client.of("welcome")))
        return client

    @property
    def node(self) -> Any:
        return self.of("welcome")[0]["node"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == kind]

    async def send(self, **frame: object) -> None:
        await self.connection.send(json.dumps(frame))

    async def round_trip_s(self) -> float:
        """Ask for something that the node answers by itself; a WebSocket ping would do, too."""
        began = time.monotonic()
        waiter = await self.connection.ping()
        await waiter
        return time.monotonic() - began

    async def close(self) -> None:
        await self.connection.close()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.connection:
                for line in str(text).splitlines():
                    frame = json.loads(line)
                    self.frames.append(frame)
                    if frame["type"] == "ping":
                        await self.send(type="pong", ts=frame["ts"])


async def client_on(gateway: str, node: str) -> Client:
    """Return a client that the gateway took to this node."""
    for _ in range(30):
        client = await Client.open(gateway)
        if client.node == node:
            return client
        await client.close()
    raise AssertionError(f"nobody comes to {node}")


async def nothing_was_lost(cluster: Cluster) -> None:
    """Wait until the fleet's clients have everything that was published so far, and look at their audit."""
    fleet = await cluster.admin("fleet")
    async with fleet:

        def audit() -> dict[str, int]:
            found: Any = fleet.state.get("audit", {})
            return dict(found)

        await until(lambda: fleet.state.get("connected") == 9 and "published" in audit(), within_s=20)
        before = audit()["delivered"]
        await until(lambda: audit()["delivered"] > before + 20, within_s=20)
        found = audit()
        assert (found["lost"], found["duplicated"], found["inverted"]) == (0, 0, 0)


def test_links_are_broken_and_heal_by_themselves(root: Path) -> None:
    """One cluster for several faults: starting one costs more than any."""

    async def run() -> None:
        async with running(root) as cluster:
            assert cluster.descriptor.gateway is not None
            # Latency between gateway and n1 is what a client of n1 sees, and nobody else.
            ours = await client_on(cluster.descriptor.gateway, "n1")
            others = await client_on(cluster.descriptor.gateway, "n2")
            quick_s = min([await ours.round_trip_s() for _ in range(3)])
            effect = await cluster.ask("fault", kind="latency", target="gateway-n1", value="150ms", ttl_s=20)
            assert effect["connections"] >= 1
            await until(lambda: cluster.told("fault_started") == [("latency", "gateway-n1")])
            assert await ours.round_trip_s() >= quick_s + 0.29
            assert await others.round_trip_s() < 0.29
            await until(lambda: cluster.in_force == {("latency", "gateway-n1")})
            assert cluster.link("gateway-n1") == {"fault": "latency"}
            assert await cluster.ask("heal", name="gateway-n1") == {"healed": ["gateway-n1"]}
            await until(lambda: cluster.told("fault_ended") == [("latency", "gateway-n1")])
            assert await ours.round_trip_s() < 0.29
            await until(lambda: cluster.in_force == set() and cluster.link("gateway-n1") == {})
            for client in (ours, others):
                await client.close()

            # A node whose connections to Redis are reset comes back and misses nothing.
            effect = await cluster.ask("fault", kind="reset", target="n1-redis", ttl_s=0.3)
            assert effect["connections"] >= 1
            await until(lambda: ("reset", "n1-redis") in cluster.told("fault_ended"))
            await nothing_was_lost(cluster)

            # Nor does one whose subscriptions are dropped for a while.
            assert (await cluster.ask("fault", kind="drop_pubsub", target="redis", ttl_s=0.5))["ttl_s"] == 0.5
            await until(lambda: ("drop_pubsub", "redis") in cluster.told("fault_ended"))
            await nothing_was_lost(cluster)

            # What does not exist is refused with what does, and changes nothing.
            for wrong, code, says in (
                ({"kind": "latency", "target": "n1-n9", "value": "1s", "ttl_s": 1}, "unknown_target", "gateway-n1"),
                ({"kind": "fire", "target": "n1-redis", "ttl_s": 1}, "unknown_fault", "latency, loss"),
                ({"kind": "latency", "target": "n1-redis", "value": "fast", "ttl_s": 1}, "bad_argument", "200ms"),
                ({"kind": "reset", "target": "n1-redis", "ttl_s": -1}, "bad_argument", "ttl_s"),
                ({"kind": "reset", "target": "n1-redis", "ttl_s": 1e9}, "bad_argument", "ttl_s"),
                ({"kind": "reset", "target": "n1-redis"}, "bad_argument", "ttl_s"),
                ({"kind": "stall", "target": "n1", "ttl_s": 1}, "unknown_fault", "kill, freeze"),
                ({"kind": "kill", "target": "n1", "value": "9", "ttl_s": 1}, "bad_argument", "value"),
            ):
                assert (await cluster.ask("fault", **wrong))[0] == code
                assert says in (await cluster.ask("fault", **wrong))[1]
            assert (await cluster.ask("link", fault="reset", name="n1", ttl_s=1))[0] == "unknown_target"
            assert (await cluster.ask("heal", name="n9"))[0] == "unknown_target"
            assert cluster.in_force == set()

    asyncio.run(run())


def test_who_hears_nothing_from_a_node_removes_it_until_the_link_heals(root: Path) -> None:
    async def run() -> None:
        async with running(root) as cluster, await cluster.admin("checker") as checker:
            seen: list[Any] = []

            def state() -> Any:
                targets: Any = checker.state.get("targets", {})
                word = targets.get("n2", {}).get("state")
                if not seen or seen[-1] != word:
                    seen.append(word)
                return word

            await until(lambda: state() == "online")
            # Nobody else reaches it either: whoever is asked for a second opinion, or leads instead, says the same.
            links: Any = cluster.supervisor.state["links"]
            checkers = [name for name in links if name.startswith("checker") and name.endswith("-n2")]
            assert "checker-n2" in checkers
            for name in ("n1-n2", "n3-n2", *checkers):
                assert (await cluster.ask("link", name=name, fault="blackhole", value="to", ttl_s=6))["ttl_s"] == 6
            await until(lambda: state() == "removed")
            assert "suspect" in seen
            await until(lambda: ("blackhole", "checker-n2") in cluster.in_force)
            await until(lambda: ("blackhole", "checker-n2") in cluster.told("fault_ended"))
            await until(lambda: state() == "online" and cluster.in_force == set())

    asyncio.run(run())


def test_a_stalled_redis_makes_publishers_wait_and_loses_nothing(root: Path) -> None:
    async def run() -> None:
        async with running(root) as cluster:
            assert cluster.descriptor.gateway is not None
            client = await Client.open(cluster.descriptor.gateway)
            await client.send(type="subscribe", id=1, channel="stalled", **{"from": "start"})
            await until(lambda: bool(client.of("subscribed")))
            assert (await cluster.ask("fault", kind="stall", target="redis", ttl_s=2.5))["fault"] == "stall"
            numbers = itertools.count(1)
            sent = 0
            while not client.of("error"):
                sent = next(numbers)
                await client.send(type="publish", channel="stalled", cseq=sent, data=sent)
                await asyncio.sleep(0.1)
                assert sent < 60, "nobody refuses"
            refusal = client.of("error")[0]
            assert refusal["temporary"] is True
            assert refusal["retry_ms"] > 0
            await until(lambda: ("stall", "redis") in cluster.told("fault_ended"))
            # What was not answered is sent again, as every client does.
            async with asyncio.timeout(20):
                while len(done := {frame["cseq"] for frame in client.of("published")}) < sent:
                    for number in range(1, sent + 1):
                        if number not in done:
                            await client.send(type="publish", channel="stalled", cseq=number, data=number)
                    await asyncio.sleep(0.3)
            await until(lambda: len(client.of("message")) >= sent)
            assert [frame["data"] for frame in client.of("message")] == [*range(1, sent + 1)]
            await client.close()
            await nothing_was_lost(cluster)

    asyncio.run(run())


def wsmon(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wsmon", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_command_line_breaks_and_heals(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(root))

    async def run() -> None:
        async with running(root) as cluster:

            async def verb(*words: str) -> subprocess.CompletedProcess[str]:
                return await asyncio.to_thread(wsmon, *words)

            dry = await verb("fault", "n1-redis", "--kind", "loss", "--value", "5%", "--ttl", "60", "--dry-run")
            assert (dry.returncode, dry.stdout) == (0, "fault n1-redis: would be done\n"), dry.stderr
            assert cluster.told("fault_started") == []

            # Whoever asked may be killed: the fault ends when it was to end, and not before.
            done = await verb("fault", "n1-redis", "--kind", "loss", "--value", "5%", "--ttl", "3", "--json")
            assert done.returncode == 0, done
            assert json.loads(done.stdout)["effect"]["fault"] == "loss"
            began = time.monotonic()
            await until(lambda: cluster.told("fault_started") == [("loss", "n1-redis")])
            asker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "wsmon", "fault", "checker", "--kind", "freeze", "--ttl", "2.5"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            await until(lambda: ("freeze", "checker") in cluster.told("fault_started"))
            with contextlib.suppress(ProcessLookupError):
                asker.send_signal(signal.SIGKILL)
            await asker.wait()
            assert ("freeze", "checker") not in cluster.told("fault_ended")
            await until(lambda: ("freeze", "checker") in cluster.told("fault_ended"))
            await until(lambda: ("loss", "n1-redis") in cluster.told("fault_ended"))
            assert time.monotonic() - began < 10

            # Killed for a while, it is started again; healed, at once.
            done = await verb("fault", "n3", "--kind", "kill", "--ttl", "600", "--reason", "to see who notices")
            assert (done.returncode, done.stdout) == (0, "fault n3: done\n"), done.stderr
            await until(lambda: cluster.in_force == {("kill", "n3")})
            healed = await verb("heal", "--all", "--json")
            assert json.loads(healed.stdout)["effect"] == {"healed": ["n3"]}
            await until(lambda: cluster.in_force == set())

            # A restart is no fault.
            done = await verb("restart", "n2", "--yes", "--wait")
            assert done.returncode == 0, done
            processes: Any = cluster.supervisor.state["processes"]
            assert processes["n2"]["restarts"] == 1
            assert cluster.in_force == set()

            refused = await verb("fault", "n1-redis", "--kind", "fire", "--ttl", "1")
            assert refused.returncode == 1
            assert "allowed: latency, loss, bandwidth, blackhole, reset" in refused.stderr
            assert (await verb("heal", "n1-redis", "demo")).returncode == 0
            assert (await verb("heal", "n77")).returncode == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fault", "n1-redis", "--ttl", "1"), "--kind"),
        (("fault", "n1-redis", "--kind", "reset"), "--ttl"),
        (("fault", "n1-redis", "--kind", "reset", "--ttl", "-1"), "--ttl"),
        (("fault", "n1-redis", "--kind", "reset", "--ttl", "1", "--seed", "x"), "--seed"),
        (("heal",), "--all"),
        (("heal", "n1", "demo", "--all"), "--all"),
    ],
)
def test_wrong_usage_is_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(root))
    done = wsmon(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_line_without_an_exchange_is_refused(root: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ExchangeLine(root / "x.sock", "caller")
    nobody = socket.socket(socket.AF_UNIX)
    nobody.bind(str(root / "x.sock"))
    with nobody, pytest.raises(ConnectionRefusedError):
        ExchangeLine(root / "x.sock", "caller")
