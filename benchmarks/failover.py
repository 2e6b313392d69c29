"""A node is killed: how hard its clients press to come back, and how soon they are.

First measures how many handshakes per second the survivors do (`benchmarks.handshakes`, through the gateway), then
starts a cluster of real processes, waits until every client is connected, kills one node with SIGKILL, and reads from
the journal in Redis who was lost, who tried when, and who was back when. What is wanted:

- at most twice as many attempts in any second as the survivors do handshakes;
- 99 % of the clients back within 1.25 × (clients / handshakes per second + spread);
- everybody back, and no message lost, duplicated or out of order.

Everything shares this machine, the clients included. Exit status 0 if all of that was so, 1 if not.

`python -m benchmarks.failover [--clients 2000] [--rate 2] [--profile production] [--nodes 3]`.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil

from benchmarks.handshakes import Measured, measure
from sample_cluster.config import PROFILES, Profile
from sample_cluster.redis_link import connect_redis
from wsmon.agent.client import AdminClient, open_admin
from wsmon.protocol.fields import parse_object
from wsmon.protocol.registry import Keys, decode_entry

START_WITHIN_S = 60.0
STEADY_S = 3.0
"""Nothing is done for this long once everybody is connected."""
BACK_WITHIN_S = 60.0
SETTLE_S = 3.0
"""From the last client's return to the last look at the audit: what was published meanwhile has arrived."""
WINDOW_S = 1.0
ATTEMPTS_MOST = 2.0
"""Times the survivors' handshakes per second."""
BACK_MOST = 1.25
"""Times the ideal."""
LOSSES = ("lost", "duplicated", "inverted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """What the journal tells of one failover. Times in seconds after the kill."""

    victims: int
    back_s: tuple[float, ...]
    """When each victim was back, in order."""
    lost_s: tuple[float, ...]
    """When each victim noticed."""
    attempts_s: tuple[float, ...]
    failed: dict[str, int]
    """How attempts ended that came to nothing."""
    audit: dict[str, int]
    refused: int
    """Callers that the gateway told to come again."""
    cpu_s: dict[str, float]
    """CPU time that each kind of process used from the kill to the last return, and everybody else on this machine."""
    took_s: float
    missing: int
    """Events that the journal lacks: more than none makes the figures worthless."""


def peak(times: Sequence[float], *, window_s: float = WINDOW_S) -> int:
    """Return how many of the ordered times fall into the fullest window."""
    return max((index + 1 - bisect_left(times, at - window_s) for index, at in enumerate(times)), default=0)


def share(ordered: Sequence[float], part: float) -> float:
    """Return the value that `part` of all do not pass."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def judge(found: Failover, capacity: Measured, profile: Profile) -> list[tuple[str, str, str, bool]]:
    """Return what was wanted, what came, and whether that is good, a row each."""
    per_s, spread_s = capacity.per_second, profile.reconnect.spread_s
    ideal_s = found.victims / per_s + spread_s
    most, attempts = ATTEMPTS_MOST * per_s, peak(found.attempts_s)
    t99 = share(found.back_s, 0.99) if found.back_s else float("inf")
    losses = ", ".join(f"{found.audit[name]} {name}" for name in LOSSES)
    return [
        ("attempts in the worst second", f"<= {most:.0f}", f"{attempts}", attempts <= most),
        ("99 % back", f"<= {BACK_MOST * ideal_s:.2f} s", f"{t99:.2f} s", t99 <= BACK_MOST * ideal_s),
        ("everybody back", f"{found.victims}", f"{len(found.back_s)}", len(found.back_s) == found.victims > 0),
        ("messages", "none lost", losses, not any(found.audit[name] for name in LOSSES)),
        ("journal", "complete", f"{found.missing} missing", found.missing == 0),
    ]


def show(found: Failover, capacity: Measured, profile: Profile) -> bool:
    """Print the tables; return whether everything is as wanted."""
    per_s, spread_s = capacity.per_second, profile.reconnect.spread_s
    ideal_s = found.victims / per_s + spread_s
    columns = ("clients", "attempts", "peak /s", "capacity /s", "ratio", "refused", "t50", "t95", "t99", "t100")
    print("".join(f"{column:>12}" for column in (*columns, "ideal", "t99/ideal")))
    attempts = peak(found.attempts_s)
    times = [share(found.back_s, part) if found.back_s else float("nan") for part in (0.5, 0.95, 0.99, 1.0)]
    counts = (found.victims, len(found.attempts_s), attempts, round(per_s))
    cells = [f"{count:>12}" for count in counts] + [f"{attempts / per_s:>12.2f}", f"{found.refused:>12}"]
    cells += [f"{value:>12.2f}" for value in (*times, ideal_s, times[2] / ideal_s)]
    print("".join(cells))
    if found.lost_s:
        cuts = ", ".join(f"{share(found.lost_s, part):.2f}" for part in (0.5, 0.95, 1.0))
        print(f"connections lost after {cuts} s (50, 95, 100 %)")
    used = ", ".join(f"{name} {value:.1f}" for name, value in found.cpu_s.items())
    print(f"CPU seconds in the {found.took_s:.1f} s from the kill to the last return: {used}")
    if found.failed:
        print("attempts that came to nothing: " + ", ".join(f"{n} {word}" for word, n in sorted(found.failed.items())))
    rows = judge(found, capacity, profile)
    for name, wanted, came, good in rows:
        print(f"{name:<30}{wanted:>14}{came:>40}   {'pass' if good else 'FAIL'}")
    return all(good for *_, good in rows)


async def until(true: Callable[[], bool], *, within_s: float) -> bool:
    """Wait until something is so; return whether it came to that."""
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True


def audit(fleet: AdminClient) -> dict[str, int]:
    """Return the fleet's count of what went wrong with messages."""
    counts: Any = fleet.state["audit"]
    return {name: int(counts[name]) for name in LOSSES}


class Meter:
    """CPU time of the cluster's processes by kind, and of everything else on this machine."""

    def __init__(self, processes: dict[str, Any]) -> None:
        self._processes = {name: psutil.Process(it["pid"]) for name, it in processes.items() if "pid" in it}
        self._kinds = {name: it["kind"] for name, it in processes.items()}
        self._last = self._read()

    def _read(self) -> tuple[dict[str, float], float]:
        used = {}
        for name, process in self._processes.items():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used[name] = times.user + times.system
        whole = psutil.cpu_times()
        return used, whole.user + whole.nice + whole.system

    def used(self) -> dict[str, float]:
        """Return the CPU seconds since the meter was made; of who is gone nothing is known."""
        used, whole = self._read()
        by_kind: dict[str, float] = {}
        for name, value in used.items():
            kind = self._kinds[name]
            by_kind[kind] = by_kind.get(kind, 0.0) + value - self._last[0][name]
        by_kind["others"] = max(0.0, whole - self._last[1] - sum(by_kind.values()))
        return by_kind


def number(state: Any, *path: str) -> int:
    """Return a number of an admin state, 0 if it is not there yet."""
    for name in path:
        state = state.get(name, {})
    return state if isinstance(state, int) else 0


async def kill(args: argparse.Namespace, cluster: subprocess.Popen[str]) -> Failover:
    """Wait for the cluster, kill one of its nodes, and return what came of it."""
    loop = asyncio.get_running_loop()
    assert cluster.stdout is not None
    async with asyncio.timeout(START_WITHIN_S):
        descriptor = json.loads(await loop.run_in_executor(None, cluster.stdout.readline))
    keys, redis = Keys(descriptor["cluster"]), connect_redis(descriptor["redis"])
    peers: dict[str, AdminClient] = {}
    try:
        for name in ("fleet", "gateway"):
            entry = decode_entry(await redis.get(keys.node(name)) or "")
            peers[name] = await open_admin(entry.admin, interval_ms=1_000, timeout_s=START_WITHIN_S)
        peers["supervisor"] = await open_admin(descriptor["supervisor"], interval_ms=1_000, timeout_s=START_WITHIN_S)
        fleet, gateway, supervisor = peers["fleet"], peers["gateway"], peers["supervisor"]
        if not await until(lambda: number(fleet.state, "connected") == args.clients, within_s=START_WITHIN_S):
            raise SystemExit(f"only {number(fleet.state, 'connected')} of {args.clients} clients came")
        await asyncio.sleep(STEADY_S)
        victim = f"n{args.nodes}"
        pid = number(supervisor.state, "processes", victim, "pid")
        before, refused = audit(fleet), number(gateway.state, "refused")
        connections = number(gateway.state, "backends", victim, "connections")
        believed = number(gateway.state, "handshakes_per_s")
        print(f"{victim} has {connections} of {args.clients} clients and is killed", flush=True)
        print(f"the gateway believes that all {args.nodes} nodes together do {believed} handshakes/s", flush=True)
        processes: Any = supervisor.state["processes"]
        meter, killed_at = Meter(processes), time.time()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: number(fleet.state, "connected") < args.clients, within_s=BACK_WITHIN_S)
        await until(lambda: number(fleet.state, "connected") == args.clients, within_s=BACK_WITHIN_S)
        used, took_s = meter.used(), time.time() - killed_at
        await asyncio.sleep(SETTLE_S)
        after = audit(fleet)
        entries: Any = await redis.xrange(keys.events, min=f"{round(killed_at * 1_000) - 1_000}-0")
        events = [parse_object(fields["event"], what="event") for _, fields in entries]
        return read(
            [event for event in events if event["source"] == "fleet"],
            killed_at=killed_at,
            node=victim,
            audit={name: after[name] - before[name] for name in LOSSES},
            cpu_s=used,
            took_s=took_s,
            refused=number(gateway.state, "refused") - refused,
        )
    finally:
        for peer in peers.values():
            await peer.close()
        await redis.aclose()


def read(events: Sequence[Any], *, killed_at: float, node: str, **measured: Any) -> Failover:
    """Return what the fleet's events tell."""
    lost: dict[str, float] = {}
    back: dict[str, float] = {}
    attempts: list[float] = []
    failed: dict[str, int] = {}
    for event in events:
        if event["at"] < killed_at:
            continue
        after_s, client = event["at"] - killed_at, event.get("client")
        match event["kind"]:
            case "client_lost" if event["node"] == node:
                lost.setdefault(client, after_s)
            case "reconnect_started":
                attempts.append(after_s)
            case "reconnect_failed":
                failed[event["outcome"]] = failed.get(event["outcome"], 0) + 1
            case "resumed" if client in lost:
                # The event waits for the end of the replay to show; `ms` does not count that.
                back.setdefault(client, lost[client] + event["ms"] / 1_000)
    numbers = sorted(event["seq"] for event in events)
    return Failover(
        victims=len(lost),
        back_s=tuple(sorted(back.values())),
        lost_s=tuple(sorted(lost.values())),
        attempts_s=tuple(sorted(attempts)),
        failed=failed,
        **measured,
        missing=sum(later - earlier - 1 for earlier, later in pairwise(numbers)),
    )


def run(args: argparse.Namespace) -> bool:
    """Measure, start, kill and print; return whether everything is as wanted."""
    profile = PROFILES[args.profile]
    print(f"{args.nodes - 1} survivors alone, {os.cpu_count()} cores for everything:", flush=True)
    measured = asyncio.run(measure(nodes=args.nodes - 1, at_once=64, seconds=args.seconds))
    capacity = measured["gateway"]
    print(
        f"{capacity.per_second:.0f} handshakes/s through the gateway, {measured['direct'].per_second:.0f} straight",
        flush=True,
    )
    words = ["--cluster", f"failover-{os.getpid()}", "--profile", profile.name, "--port", "0", "--until-eof"]
    words += ["--nodes", str(args.nodes), "--clients", str(args.clients), "--rate", str(args.rate)]
    with tempfile.TemporaryDirectory(prefix="wsm-") as directory:
        cluster = subprocess.Popen(
            [sys.executable, "-m", "sample_cluster", "up", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "XDG_RUNTIME_DIR": directory},
            start_new_session=True,
        )
        try:
            found = asyncio.run(kill(args, cluster))
        finally:
            assert cluster.stdin is not None
            cluster.stdin.close()
            try:
                cluster.wait(10)
            except subprocess.TimeoutExpired:
                cluster.kill()
    return show(found, capacity, profile)


def main() -> None:
    """Measure as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2.0, help="messages published per second in total")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="production")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long handshakes are measured")
    args = parser.parse_args()
    sys.exit(0 if run(args) else 1)


if __name__ == "__main__":
    main()
