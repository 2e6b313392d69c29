"""The stage of a black-box run: a real cluster, a process full of clients, and hands to break things with.

The rig is no client: it may use the admin protocol to find processes. What it does, it writes down as facts, too, in
a log of its own; what the clients saw is theirs alone to say.
"""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import IO, Any, Final, Self

import psutil
import redis.asyncio
import redis.exceptions

from sample_cluster.redis_server import find_server
from wsmon.agent.client import AdminClient, open_admin
from wsmon.protocol.frames import Actor, Json

ROOT: Final = Path(__file__).parents[2]
CLUSTER: Final = "bb"
ACTOR: Final = Actor(user="blackbox", host="localhost")
STARTS_WITHIN_S: Final = 30.0
SETTLES_WITHIN_S: Final = 45.0
ENDS_WITHIN_S: Final = 3.0
LOOK_S: Final = 0.05
PR_SET_PDEATHSIG: Final = 1
REDIS_ERRORS: Final = (redis.exceptions.RedisError, OSError)


class RigError(Exception):
    """The run could not be made; that says nothing about the cluster's promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run asks for."""

    nodes: int = 3
    subscribers: int = 100
    publishers: int = 30
    channels: int = 3
    rate: float = 200.0
    """Messages published per second, by all together."""
    seed: int = 1


class Facts:
    """The rig's own log."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def note(self, name: str, /, **fields: object) -> None:
        """Note a fact."""
        line = json.dumps({"at": round(time.monotonic(), 6), "fact": name, "client": "", **fields})
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """End the log."""
        self._file.close()


class Relay:
    """A TCP port that leads elsewhere, until it is cut or pointed to another place."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break everything that runs through it, and let nothing more through."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def point_to(self, target: int) -> None:
        """Lead to another port from now on; what runs already is broken off."""
        self.cut()
        self._target, self._cut = target, False

    def close(self) -> None:
        """Listen no more."""
        self.cut()
        if self._server is not None:
            self._server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._writers.add(writer)
        try:
            if self._cut:
                return
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(there_writer)
            ends.append(there_writer)
            ways = [
                asyncio.ensure_future(_copy(reader, there_writer)),
                asyncio.ensure_future(_copy(there_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
        except OSError:
            pass  # Nobody listens there: the caller sees its connection end.
        finally:
            for end in ends:
                end.transport.abort()
                self._writers.discard(end)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()


class RedisPair:
    """A primary and a replica. The cluster reaches whichever is in charge through `front`, the replica its primary
    through `link`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[asyncio.subprocess.Process] = []
        self._ports = tuple(_free_ports(2))
        self.front = Relay(self._ports[0])
        self.link = Relay(self._ports[0])

    @property
    def url(self) -> str:
        """The stable address."""
        return f"redis://127.0.0.1:{self.front.port}"

    async def start(self) -> None:
        """Start both, and wait until the replica follows."""
        await self.front.start()
        await self.link.start()
        for number, port in enumerate(self._ports):
            directory = self._directory / f"redis{number}"
            directory.mkdir()
            options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
            options += ["--repl-diskless-sync-delay", "0"]
            if number == 1:
                options += ["--replicaof", f"127.0.0.1 {self.link.port}"]
            self._processes.append(
                await asyncio.create_subprocess_exec(
                    find_server(), *options, stdout=asyncio.subprocess.DEVNULL, preexec_fn=_die_with_parent
                )
            )
        async with asyncio.timeout(STARTS_WITHIN_S):
            while not await self._follows():
                await _moment(LOOK_S)

    async def _follows(self) -> bool:
        with suppress(*REDIS_ERRORS):
            async with self._client(1) as client:
                info = await client.info("replication")
                return bool(info.get("master_link_status") == "up")
        return False

    async def lengths(self, number: int, keys: Iterable[str]) -> int:
        """Return how many entries these streams have together, on the primary (0) or the replica (1)."""
        async with self._client(number) as client:
            return sum([int(await client.xlen(key)) for key in keys])

    async def kill_primary(self) -> None:
        """End the primary as a power cut would."""
        self._processes[0].kill()
        await self._processes[0].wait()

    async def promote(self) -> None:
        """Put the replica in charge."""
        async with self._client(1) as client:
            await client.replicaof("NO", "ONE")
        self.front.point_to(self._ports[1])

    def _client(self, number: int) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(port=self._ports[number], decode_responses=True, protocol=2)

    async def close(self) -> None:
        """End both."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.front.close()
        self.link.close()


class Rig:
    """One cluster and its clients, for the time of the context. `directory` keeps the logs."""

    def __init__(self, directory: Path, load: Load, *, replicated: bool = False) -> None:
        self.directory = directory
        self.load = load
        self.dice = Random(load.seed)
        self.facts = Facts(directory / "rig.jsonl")
        self.pair: RedisPair | None = None
        self._replicated = replicated
        self._runtime = Path(tempfile.mkdtemp(prefix="bb-"))  # Short, as paths of sockets have to be.
        self._cluster: asyncio.subprocess.Process | None = None
        self._clients: asyncio.subprocess.Process | None = None
        self._files: list[IO[bytes]] = []
        self._endings: list[asyncio.Task[int]] = []
        self._supervisor: AdminClient | None = None
        self._redis_url = ""

    @property
    def logs(self) -> tuple[Path, ...]:
        """The logs of the run, in the order in which the checker wants them."""
        return self.directory / "rig.jsonl", self.directory / "clients.jsonl"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    async def _start(self) -> None:
        redis_flags: tuple[str, ...] = ()
        if self._replicated:
            self.pair = RedisPair(self._runtime)
            await self.pair.start()
            redis_flags = ("--redis", self.pair.url)
        self._cluster = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sample_cluster", "up", "--until-eof", "--cluster", CLUSTER, "--profile", "demo"),
            *("--port", "0", "--clients", "0", "--rate", "0", "--nodes", str(self.load.nodes), *redis_flags),
            cwd=ROOT,
            env={**os.environ, "XDG_RUNTIME_DIR": str(self._runtime)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._open("cluster.err"),
            start_new_session=True,
        )
        assert self._cluster.stdout is not None
        async with asyncio.timeout(STARTS_WITHIN_S):
            line = await self._cluster.stdout.readline()
        if not line:
            raise RigError(f"the cluster does not start; see {self.directory / 'cluster.err'}")
        descriptor = json.loads(line)
        self._redis_url = descriptor["redis"]
        self._supervisor = await open_admin(descriptor["supervisor"], interval_ms=50)
        load = self.load
        self._clients = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.blackbox.client", "--gateway", descriptor["gateway"]),
            *("--log", str(self.directory / "clients.jsonl"), "--subscribers", str(load.subscribers)),
            *("--publishers", str(load.publishers), "--channels", str(load.channels)),
            *("--rate", str(load.rate), "--seed", str(load.seed)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._open("clients.err"),
            start_new_session=True,
        )
        self._endings = [asyncio.ensure_future(process.wait()) for process in (self._cluster, self._clients)]
        await self._hear("ready", within_s=STARTS_WITHIN_S)

    def _open(self, name: str) -> IO[bytes]:
        """Open a file that a child writes to."""
        file = (self.directory / name).open("wb")
        self._files.append(file)
        return file

    async def _end(self) -> None:
        """End everything, in whatever state it is."""
        if self._supervisor is not None:
            await self._supervisor.close()
        with suppress(OSError):
            shutil.copytree(self._runtime / "wsmon" / CLUSTER / "log", self.directory / "log")
        for process in (self._clients, self._cluster):
            if process is None:
                continue
            family = _family(process.pid)
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(ENDS_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                for member in family:
                    with suppress(psutil.Error):
                        member.kill()
                await process.wait()
        if self._endings:
            await asyncio.wait(self._endings)
        if self.pair is not None:
            await self.pair.close()
        self.facts.close()
        for file in self._files:
            file.close()
        shutil.rmtree(self._runtime, ignore_errors=True)

    # The clients.

    def publish(self) -> None:
        """Let the clients publish from now on."""
        self._say("publish")

    async def stop_publishing(self) -> None:
        """End the publishing and wait until the clients have settled, or given up waiting."""
        self._say("stop")
        await self._hear("settled", "unsettled", within_s=SETTLES_WITHIN_S)

    def _say(self, word: str) -> None:
        assert self._clients is not None
        assert self._clients.stdin is not None
        self._clients.stdin.write(word.encode() + b"\n")

    async def _hear(self, *words: str, within_s: float) -> None:
        assert self._clients is not None
        assert self._clients.stdout is not None
        try:
            async with asyncio.timeout(within_s):
                line = (await self._clients.stdout.readline()).decode().strip()
        except TimeoutError:
            raise RigError(f"the clients are not {words[0]} within {within_s:g} s") from None
        if line not in words:
            raise RigError(f"the clients ended; see {self.directory / 'clients.err'}")

    async def pause(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            RigError: cluster or clients ended meanwhile.

        """
        done, _ = await asyncio.wait(self._endings, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if done:
            raise RigError(f"a process of the run ended; see {self.directory}")

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, *, within_s: float) -> None:
        """Wait for a condition.

        Raises:
            RigError: it does not come true.

        """
        give_up = time.monotonic() + within_s
        while not await condition():
            if time.monotonic() > give_up:
                raise RigError(f"{what}: not within {within_s:g} s")
            await self.pause(LOOK_S)

    # Faults.

    def fault(self, name: str, /, **fields: object) -> None:
        """Note that something is about to be broken."""
        self.facts.note("fault", name=name, **fields)

    def node(self) -> str:
        """Return the name of some node."""
        return f"n{self.dice.randint(1, self.load.nodes)}"

    def process(self, name: str) -> dict[str, Any]:
        """Return what the supervisor says about a process."""
        assert self._supervisor is not None
        processes: Any = self._supervisor.state.get("processes", {})
        found: dict[str, Any] = processes.get(name, {})
        return found

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a process of the cluster a signal, from outside."""
        pid = self.process(name)["pid"]
        self.fault(number.name, target=name, pid=pid)
        os.kill(pid, number)

    async def revive(self, name: str) -> None:
        """Start a node again that died."""

        async def is_running() -> bool:
            return bool(self.process(name).get("status") == "running")

        async def is_gone() -> bool:
            return self.process(name).get("status") in {"exited", "failed"}

        await self.until(is_gone, f"{name} is seen to be gone", within_s=10)
        assert self._supervisor is not None
        result = await self._supervisor.command("start", {"id": name}, actor=ACTOR)
        if result.error is not None:
            raise RigError(f"{name} cannot be started: {result.error.message}")
        self.facts.note("revived", target=name)
        await self.until(is_running, f"{name} runs", within_s=10)

    async def drain(self, name: str) -> None:
        """Drain a node and wait until it has left."""
        self.fault("drain", target=name)
        async with await self._admin(name) as node:
            await self._command(node, "drain")

            async def has_left() -> bool:
                return bool(node.state.get("state") == "left")

            await self.until(has_left, f"{name} has left", within_s=40)
        self.facts.note("drained", target=name)

    async def undrain(self, name: str) -> None:
        """Call a node back that was drained."""
        async with await self._admin(name) as node:
            await self._command(node, "undrain")
        self.facts.note("undrained", target=name)

    @staticmethod
    async def _command(node: AdminClient, op: str, **args: Json) -> None:
        result = await node.command(op, args, actor=ACTOR)
        if result.error is not None:
            raise RigError(f"{op}: {result.error.message}")

    async def _admin(self, name: str) -> AdminClient:
        async with self._redis() as client:
            entry = await client.get(f"wsc:{{{CLUSTER}}}:node:{name}")
        if entry is None:
            raise RigError(f"{name} is not registered")
        return await open_admin(json.loads(entry)["admin"], interval_ms=50)

    async def note_staleness(self) -> None:
        """Note how many messages the primary has that the replica has not heard of."""
        assert self.pair is not None
        keys = [_log_key(f"bb{number}") for number in range(self.load.channels)]
        ahead, behind = await self.pair.lengths(0, keys), await self.pair.lengths(1, keys)
        self.facts.note("stale", messages=ahead - behind)

    # Looking on.

    def _redis(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(self._redis_url, decode_responses=True, protocol=2)

    async def note_logs(self) -> None:
        """Note what stands in the logs of all channels, for the checker."""
        async with self._redis() as client:
            for number in range(self.load.channels):
                channel = f"bb{number}"
                entries: Any = await client.xrange(_log_key(channel))
                for entry, fields in entries:
                    data = json.loads(fields["data"])
                    self.facts.note(
                        "stored",
                        channel=channel,
                        seq=int(entry.partition("-")[0]),
                        nonce=int(fields["nonce"]),
                        id=fields["id"],
                        publisher=data["p"],
                        number=data["n"],
                    )

    def cpu_s(self) -> dict[str, float]:
        """Return the seconds of CPU that each part has used so far; `clients` is the harness, `rig` ourselves."""
        used: dict[str, float] = {}
        assert self._cluster is not None
        assert self._clients is not None
        for name, process in (
            *((name, _process(self.process(name).get("pid"))) for name in self._names()),
            ("clients", _process(self._clients.pid)),
            ("rig", _process(os.getpid())),
        ):
            if process is not None:
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    used[name] = times.user + times.system
        return used

    def _names(self) -> Iterable[str]:
        return "redis", *(f"n{number}" for number in range(1, self.load.nodes + 1)), "checker", "gateway"


def _log_key(channel: str) -> str:
    return f"wsc:{CLUSTER}:c:{{{channel}}}:log"


def _process(pid: int | None) -> psutil.Process | None:
    with suppress(psutil.Error):
        return None if pid is None else psutil.Process(pid)
    return None


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        own = psutil.Process(pid)
        return [own, *own.children(recursive=True)]
    return []


def _free_ports(count: int) -> Iterator[int]:
    """Return ports that were free a moment ago, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
            yield probe.getsockname()[1]
    finally:
        for probe in probes:
            probe.close()


def _die_with_parent() -> None:
    """Let the kernel end this child with us, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def _moment(seconds: float) -> None:
    """Let a moment pass before looking again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_future()
