"""What the gateway's relay costs, beside a direct connection and, where it is installed, HAProxy, in one run.

Latency: clients send 100 bytes every 50 ms each and wait for the echo. Bulk: a server sends as fast as it is read.
CPU is that of the relaying process alone. Rounds alternate, so that all see the same machine.

`python -m benchmarks.relay [--clients 100] [--seconds 4] [--rounds 3] [--idle 0]`; `--idle 10000` opens that many
tunnels and tells what they cost.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.rig import Rig
from wsmon.protocol.states import PeerKind

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
MESSAGE = b"m" * 100
EVERY_S = 0.05
CHUNK = b"b" * 65_536
BULK_CONNECTIONS = 8
HAPROXY = """
global
    nbthread 1
    maxconn 9500
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
listen relay
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{target}
"""


class Served(asyncio.Protocol):
    """The server's side: echoes, or sends in bulk, as the request says."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._greeted:
            self._transport.write(data)
            return
        self._greeted = True
        self._transport.write(ANSWER)
        if data.startswith(b"GET /bulk "):
            self._task = asyncio.get_running_loop().create_task(self._send())

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # The library's signature.
        if self._task is not None:
            self._task.cancel()

    async def _send(self) -> None:
        assert self._transport is not None
        while not self._transport.is_closing():
            await self._writable.wait()
            self._transport.write(CHUNK)
            await asyncio.sleep(0)


async def serve() -> None:
    """Be the server; tell the port on stdout and end with stdin."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Served, "127.0.0.1", 0, backlog=4_096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


@dataclass
class Way:
    """One way to the server and what was measured on it."""

    name: str
    port: int
    process: psutil.Process | None = None
    rtt_ms: list[float] = field(default_factory=list)
    echoed_mb: float = 0.0
    echo_cpu_s: float = 0.0
    bulk_mb: float = 0.0
    bulk_s: float = 0.0
    bulk_cpu_s: float = 0.0

    def cpu_s(self) -> float:
        """Return the relay's CPU time so far."""
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return times.user + times.system


async def join(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and be greeted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == ANSWER
    return reader, writer


async def echo(way: Way, *, clients: int, seconds: float) -> None:
    """Measure round trips of small messages."""
    joined = [await join(way.port, "/echo") for _ in range(clients)]
    dice = random.Random(1)
    cpu_s, end = way.cpu_s(), time.monotonic() + seconds

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first_s: float) -> int:
        await asyncio.sleep(first_s)
        sent = 0
        while (started := time.monotonic()) < end:
            writer.write(MESSAGE)
            await reader.readexactly(len(MESSAGE))
            way.rtt_ms.append((time.monotonic() - started) * 1_000)
            sent += 1
            await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - started)))
        return sent

    counts = await asyncio.gather(*(talk(*ends, dice.random() * EVERY_S) for ends in joined))
    way.echo_cpu_s += way.cpu_s() - cpu_s
    way.echoed_mb += 2 * sum(counts) * len(MESSAGE) / 1e6
    for _, writer in joined:
        writer.close()


async def bulk(way: Way, *, seconds: float) -> None:
    """Measure what a few fast streams cost."""
    joined = [await join(way.port, "/bulk") for _ in range(BULK_CONNECTIONS)]
    cpu_s, started = way.cpu_s(), time.monotonic()
    end = started + seconds

    async def drink(reader: asyncio.StreamReader) -> int:
        size = 0
        while time.monotonic() < end:
            size += len(await reader.read(262_144))
        return size

    sizes = await asyncio.gather(*(drink(reader) for reader, _ in joined))
    way.bulk_cpu_s += way.cpu_s() - cpu_s
    way.bulk_s += time.monotonic() - started
    way.bulk_mb += sum(sizes) / 1e6
    for _, writer in joined:
        writer.transport.abort()
    await asyncio.sleep(0.2)


async def idle(way: Way, *, tunnels: int) -> None:
    """Tell what many tunnels cost that carry nothing, and how long it took to open them."""
    assert way.process is not None
    before, started = way.process.memory_info().rss, time.monotonic()
    joined: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    while len(joined) < tunnels:
        joined += await asyncio.gather(*(join(way.port, "/echo") for _ in range(min(100, tunnels - len(joined)))))
    took_s = time.monotonic() - started
    each_kb = (way.process.memory_info().rss - before) / tunnels / 1024
    cpu_s = way.cpu_s()
    await asyncio.sleep(5)
    share = (way.cpu_s() - cpu_s) / 5 * 100
    print(f"{way.name}: {tunnels} tunnels in {took_s:.1f} s, {each_kb:.1f} KB each, {share:.1f} % CPU idle")
    for _, writer in joined:
        writer.transport.abort()
    await asyncio.sleep(1)


def row(way: Way) -> str:
    """Return a line of the table."""
    cuts = statistics.quantiles(way.rtt_ms, n=1_000)
    small = way.echo_cpu_s / way.echoed_mb * 1_000 if way.process else 0.0
    each = way.echo_cpu_s / (2 * len(way.rtt_ms)) * 1e6 if way.process else 0.0
    large = way.bulk_cpu_s / way.bulk_mb * 1_000 if way.process else 0.0
    values = (statistics.median(way.rtt_ms), cuts[989], cuts[998], each, small, large, way.bulk_mb / way.bulk_s)
    return f"{way.name:<9}" + "".join(f"{value:>13.2f}" for value in values)


async def measure(args: argparse.Namespace) -> None:
    """Run everything and print the table."""
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(
            subprocess.Popen(  # noqa: ASYNC220  # Nothing else runs yet.
                [sys.executable, "-m", "benchmarks.relay", "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        stack.callback(server.kill)
        assert server.stdout is not None
        target = int(server.stdout.readline())
        rig = await stack.enter_async_context(Rig())
        await rig.foreign("echo", f"127.0.0.1:{target}")
        await rig.judge("echo")
        _, port = await rig.role(PeerKind.GATEWAY, "gateway")
        await asyncio.sleep(1)
        ways = [Way("direct", target), Way("gateway", port, psutil.Process(rig.pids["gateway"]))]
        binary = shutil.which("haproxy")
        if binary is not None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsm-")))
            spare = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
            free = spare.sockets[0].getsockname()[1]
            spare.close()
            await spare.wait_closed()
            config = directory / "haproxy.cfg"
            config.write_text(HAPROXY.format(port=free, target=target))
            other = stack.enter_context(
                subprocess.Popen(  # noqa: ASYNC220  # The same.
                    [binary, "-db", "-f", str(config)]
                )
            )
            stack.callback(other.kill)
            await asyncio.sleep(0.5)
            ways.append(Way("haproxy", free, psutil.Process(other.pid)))
        if args.idle:
            for way in ways[1:]:
                await idle(way, tunnels=args.idle)
        for _ in range(args.rounds):
            for way in ways:
                await echo(way, clients=args.clients, seconds=args.seconds)
                await bulk(way, seconds=args.seconds / 2)
        columns = ("p50 ms", "p99 ms", "p99.9 ms", "µs a message", "small ms/MB", "bulk ms/MB", "bulk MB/s")
        print(f"{'':<9}" + "".join(f"{column:>13}" for column in columns))
        for way in ways:
            print(row(way))


def main() -> None:
    """Measure, or be the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    asyncio.run(serve() if args.serve else measure(args))


if __name__ == "__main__":
    main()
