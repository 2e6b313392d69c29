"""How many handshakes per second nodes do: from the TCP connect to the welcome, as clients see it.

Starts a cluster of real processes and lets clients connect, say hello and leave, as many at a time as stated, first
straight to the nodes and then through the gateway. Everything shares this machine, the clients included; the CPU time
per handshake says what a node could do with a core of its own.

`python -m benchmarks.handshakes [--nodes 2] [--at-once 64] [--seconds 5]`.
"""

import argparse
import asyncio
import os
import statistics
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import psutil

from benchmarks.rig import Rig
from wsmon.protocol.states import PeerKind

HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame; its mask is all zeros, which costs nothing."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload


HELLO = frame(1, b'{"type":"hello"}')
CLOSE = frame(8, struct.pack("!H", 1000))


@dataclass
class Tally:
    """What clients lived to see."""

    took_s: list[float] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    """`Retry-After` of those who were turned away."""
    failed: Counter[str] = field(default_factory=Counter)
    """How attempts ended that came to nothing."""


async def shake(host: str, port: int, tally: Tally) -> None:
    """Connect, be welcomed and leave."""
    started = time.monotonic()
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(HEAD)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            _, found, rest = head.partition(b"Retry-After: ")
            if found:
                tally.told.append(int(rest.partition(b"\r")[0]))
            else:
                tally.failed[head.partition(b"\r")[0].decode()] += 1
            return
        writer.write(HELLO)
        answer = await reader.read(4_096)
        if b'"welcome"' not in answer:
            tally.failed[f"no welcome: {answer[:40]!r}"] += 1
            return
        tally.took_s.append(time.monotonic() - started)
        writer.write(CLOSE)
        await reader.read()
    except (OSError, asyncio.IncompleteReadError) as error:
        tally.failed[f"{type(error).__name__}: {error}"] += 1
    finally:
        if writer is not None:
            writer.close()


async def storm(target: Callable[[], tuple[str, int]], *, at_once: int, seconds: float) -> Tally:
    """Let `at_once` clients come one after the other for a while."""
    tally = Tally()
    end = time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < end:
            told = len(tally.told)
            await shake(*target(), tally)
            if len(tally.told) > told:
                await asyncio.sleep(tally.told[-1])

    await asyncio.gather(*(client() for _ in range(at_once)))
    return tally


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return the CPU time that processes have used."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one way to the nodes did."""

    per_second: float
    p50_ms: float
    p99_ms: float
    node_ms: float
    """CPU time of the nodes for one handshake."""
    relay_ms: float
    told: int
    """Clients that were told to wait."""
    failed: Counter[str]


async def measure(*, nodes: int, at_once: int, seconds: float) -> dict[str, Measured]:
    """Return what came of a storm straight to the nodes, and of one through the gateway."""
    results: dict[str, Measured] = {}
    async with Rig() as rig:
        names = [f"n{number}" for number in range(1, nodes + 1)]
        addresses = [await rig.role(PeerKind.NODE, name) for name in names]
        for name in names:
            await rig.judge(name)
        gateway = await rig.role(PeerKind.GATEWAY, "gateway")
        workers = [psutil.Process(rig.pids[name]) for name in names]
        relay = psutil.Process(rig.pids["gateway"])
        turn = count()
        for name, target in (
            ("direct", lambda: addresses[next(turn) % nodes]),
            ("gateway", lambda: gateway),
        ):
            await storm(target, at_once=at_once, seconds=1.0)
            used, carried, started = cpu_s(workers), cpu_s([relay]), time.monotonic()
            tally = await storm(target, at_once=at_once, seconds=seconds)
            took_s, done = time.monotonic() - started, len(tally.took_s)
            cuts = [cut * 1_000 for cut in statistics.quantiles(tally.took_s, n=100)]
            results[name] = Measured(
                per_second=done / took_s,
                p50_ms=cuts[49],
                p99_ms=cuts[98],
                node_ms=(cpu_s(workers) - used) / done * 1_000,
                relay_ms=(cpu_s([relay]) - carried) / done * 1_000,
                told=len(tally.told),
                failed=tally.failed,
            )
    return results


def show(results: dict[str, Measured]) -> None:
    """Print the table."""
    columns = ("per second", "p50 ms", "p99 ms", "node CPU ms", "a core could", "gateway CPU ms", "told to wait")
    print(f"{'':<9}" + "".join(f"{column:>16}" for column in columns))
    for name, it in results.items():
        if it.failed:
            print(f"{name}: failed: {dict(it.failed)}", file=sys.stderr)
        values = (it.per_second, it.p50_ms, it.p99_ms, it.node_ms, 1_000 / it.node_ms, it.relay_ms, it.told)
        print(f"{name:<9}" + "".join(f"{value:>16.{0 if value >= 100 else 2}f}" for value in values))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    print(f"{args.nodes} nodes, {args.at_once} clients at a time, {os.cpu_count()} cores for everything")
    show(asyncio.run(measure(nodes=args.nodes, at_once=args.at_once, seconds=args.seconds)))


if __name__ == "__main__":
    main()
