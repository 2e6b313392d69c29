"""A node is drained, once half and once whole: who has to wait, who fails, and how steady the stream is.

Starts a cluster of real processes with a fleet, and a few watchers of its own that follow one channel and measure the
time between two messages. Drains a node until half of its clients are gone, calls that off and looks whether the rest
is untouched; then drains it whole. What is wanted:

- no client loses its connection, no attempt fails, no message is lost, duplicated or out of order;
- no watcher waits for longer than 150 ms beside the time between two messages;
- in every whole second the node tells as many clients to leave as in every other, give or take a fifth (how many the
  fleet then moves is shown beside it: that also depends on how busy the fleet's one process is);
- after the call-off the node is online, and serves exactly those whom it served before, on the same connections.

Everything shares this machine. Exit status 0 if all of that was so, 1 if not.

`python -m benchmarks.drain [--clients 1500] [--watchers 30] [--rate 2] [--profile production]
[--storm 0]`; without a storm nobody has measured the survivors, and the node empties itself at an easy pace.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.failover import LOSSES, START_WITHIN_S, STEADY_S, audit, number, until
from benchmarks.handshakes import storm
from sample_cluster.client import Change, Client, ClientOptions, Failed, Lost
from sample_cluster.config import PROFILES
from sample_cluster.core.messages import Message
from sample_cluster.redis_link import RedisClient, connect_redis
from wsmon.agent.client import AdminClient, open_admin
from wsmon.protocol.fields import parse_object
from wsmon.protocol.frames import Actor, Beat, JsonObject
from wsmon.protocol.registry import Keys, decode_entry
from wsmon.protocol.session import StateChanged, WatchInput

ACTOR = Actor(user="benchmark", host="localhost")
CHANNEL = "benchmark"
EVERY_S = 0.05
"""Between two messages to the watchers."""
PAUSE_MOST_S = 0.150
UNEVEN_MOST = 0.2
DRAIN_WITHIN_S = 40.0
ROWS = 500
STORM_S = 4.0
HALF_RATE = 100.0
WAY_S = 0.5
"""From being told to being welcomed elsewhere, and then some."""


@dataclass
class Watcher:
    """Measures how long it waits for the next message."""

    client: Client | None = None
    heard_at: float | None = None
    worst_s: float = 0.0
    troubles: list[str] = field(default_factory=list)

    def hear(self, _message: Message) -> None:
        """Take a message."""
        now = time.monotonic()
        if self.heard_at is not None:
            self.worst_s = max(self.worst_s, now - self.heard_at)
        self.heard_at = now

    def see(self, change: Change) -> None:
        """Take note of what must not happen."""
        if isinstance(change, Lost | Failed):
            self.troubles.append(type(change).__name__)


@dataclass
class Running:
    """A cluster at work."""

    keys: Keys
    redis: RedisClient
    peers: dict[str, AdminClient]
    watchers: list[Watcher]
    lag_ms: dict[str, float] = field(default_factory=dict)
    """How late each process was at worst."""

    async def events(self, since: float) -> list[Any]:
        """Return what the fleet told since a moment."""
        entries: Any = await self.redis.xrange(self.keys.events, min=f"{round(since * 1_000)}-0")
        found = [parse_object(fields["event"], what="event") for _, fields in entries]
        return [event for event in found if event["source"] == "fleet"]

    async def rows(self, node: str) -> dict[str, str]:
        """Return session → connection of all that a node serves."""
        rows: dict[str, str] = {}
        cursor: str | None = None
        while True:
            page = await self.peers[node].query("sessions", limit=ROWS, cursor=cursor)
            rows |= {str(row["session"]): str(row["connection"]) for row in page.rows}
            cursor = page.cursor
            if cursor is None:
                return rows

    told: list[tuple[float, int]] = field(default_factory=list)
    """When the draining node said that it has told how many."""

    def heard(self, name: str, told: WatchInput) -> None:
        """Take what a process tells."""
        if isinstance(told, StateChanged) and isinstance(told.state.get("drain"), dict):
            self.told.append((told.at, number(told.state, "drain", "told")))
        if isinstance(told, Beat):
            self.lag_ms[name] = max(told.lag_ms, self.lag_ms.get(name, 0.0))

    def forget(self) -> None:
        """Let the watchers begin anew."""
        self.lag_ms.clear()
        self.told.clear()
        for watcher in self.watchers:
            watcher.worst_s = 0.0

    @property
    def pause_s(self) -> float:
        """The longest wait beside the time between two messages."""
        return max(watcher.worst_s for watcher in self.watchers) - EVERY_S


@asynccontextmanager
async def cluster(args: argparse.Namespace) -> AsyncIterator[Running]:
    """Start everything and wait until everybody is there."""
    words = ["--cluster", f"drain-{os.getpid()}", "--profile", args.profile, "--port", "0", "--until-eof"]
    words += ["--nodes", "3", "--clients", str(args.clients), "--rate", str(args.rate)]
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="wsm-"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sample_cluster",
            "up",
            *words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_RUNTIME_DIR": directory},
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stack.push_async_callback(process.wait)
        stack.callback(process.stdin.close)
        async with asyncio.timeout(START_WITHIN_S):
            descriptor = json.loads(await process.stdout.readline())
        keys, redis = Keys(descriptor["cluster"]), connect_redis(descriptor["redis"])
        stack.push_async_callback(redis.aclose)
        run = Running(keys, redis, {}, [Watcher() for _ in range(args.watchers)])
        for name in ("fleet", "gateway", "n1", "n2", "n3"):
            entry = decode_entry(await redis.get(keys.node(name)) or "")
            admin = await open_admin(entry.admin, partial(run.heard, name), timeout_s=START_WITHIN_S)
            run.peers[name] = await stack.enter_async_context(admin)
        fleet = run.peers["fleet"]
        if not await until(lambda: number(fleet.state, "connected") == args.clients, within_s=START_WITHIN_S):
            raise SystemExit(f"only {number(fleet.state, 'connected')} of {args.clients} clients came")
        patience_s = PROFILES[args.profile].connect_timeout_s
        for watcher in run.watchers:
            options = ClientOptions(attempt_timeout_s=patience_s, name="watcher")
            watcher.client = Client(descriptor["gateway"], options, on_change=watcher.see)
            await watcher.client.connect()
            stack.push_async_callback(watcher.client.close)
            await watcher.client.subscribe(CHANNEL, watcher.hear)
        talker = asyncio.create_task(talk(descriptor["gateway"]))
        stack.callback(talker.cancel)
        if args.storm:
            host, _, port = descriptor["gateway"].removeprefix("ws://").removesuffix("/ws").rpartition(":")
            await storm(lambda: (host, int(port)), at_once=args.storm, seconds=STORM_S)
            await asyncio.sleep(STEADY_S)  # Until the nodes have read what the gateway has measured.
            print(f"the gateway measured {number(run.peers['gateway'].state, 'handshakes_per_s')} handshakes/s in all")
        await asyncio.sleep(STEADY_S)
        yield run


async def talk(gateway: str) -> None:
    """Publish for the watchers until cancelled. A talker that moves waits for nothing: its messages only come later."""
    client = Client(gateway, ClientOptions(name="talker"))
    await client.connect()
    clock = asyncio.get_running_loop().time
    due = clock()
    try:
        while True:
            if client.can_publish:
                client.publish(CHANNEL, "tick")
            due += EVERY_S
            await asyncio.sleep(due - clock())
    finally:
        await client.close()


def slots(told: list[tuple[float, int]]) -> tuple[list[int], bool]:
    """Return how many were told per second over each second or so of telling, and whether these are alike."""
    began = [at for at, count in told if count > 0]
    most = max((count for _, count in told), default=0)
    during = [(at, count) for at, count in told if began and at >= began[0] and count < most]
    rates: list[int] = []
    last = during[0] if during else (0.0, 0)
    for at, count in during:
        if at - last[0] >= 1.0:
            rates.append(round((count - last[1]) / (at - last[0])))
            last = at, count
    mean = sum(rates) / len(rates) if rates else 0.0
    return rates, bool(rates) and all(abs(rate - mean) <= UNEVEN_MOST * mean for rate in rates)


def moves(moved_at: list[float]) -> list[int]:
    """Return how many moved in each second."""
    moved_at.sort()
    by_second = Counter(int(at - moved_at[0]) for at in moved_at)
    return [by_second[second] for second in range(max(by_second) + 1)]


async def drain(run: Running, node: str, *, half: bool) -> list[tuple[str, str, str, bool]]:
    """Drain a node, or half of it; return what was wanted, what came, and whether that is good."""
    admin, fleet = run.peers[node], run.peers["fleet"]
    talks = [watcher.client.welcome.node for watcher in run.watchers if watcher.client and watcher.client.welcome]
    run.forget()
    await asyncio.sleep(STEADY_S)
    quiet_s = run.pause_s
    before, handovers, losses = await run.rows(node), number(fleet.state, "handovers"), audit(fleet)
    plan = await admin.command("drain", {}, actor=ACTOR, dry_run=True)
    print(f"{node}: {json.dumps(plan.effect)}, {talks.count(node)} watchers there", flush=True)
    run.forget()
    began = time.time()
    # At the pace of a measured cluster half of a node is gone before its state has told so.
    asked: JsonObject = {"rate": HALF_RATE} if half else {}
    result = await admin.command("drain", asked, actor=ACTOR, reason="a benchmark")
    assert result.ok, result.error
    clock, started = asyncio.get_running_loop().time, asyncio.get_running_loop().time()
    if half:
        await until(lambda: 0 < number(admin.state, "connections") <= len(before) / 2, within_s=DRAIN_WITHIN_S)
        assert (await admin.command("undrain", {}, actor=ACTOR)).ok
    else:
        await until(lambda: admin.state.get("state") == "left", within_s=DRAIN_WITHIN_S)
    took_s = clock() - started
    await asyncio.sleep(STEADY_S if half else STEADY_S / 2)
    pause_s = run.pause_s
    lags = ", ".join(f"{name} {value:.0f}" for name, value in run.lag_ms.items())
    events = await run.events(began)
    troubles = Counter(event["kind"] for event in events if event["kind"] in {"client_lost", "reconnect_failed"})
    troubles.update(trouble for watcher in run.watchers for trouble in watcher.troubles)
    moved_at = [event["at"] for event in events if event["kind"] == "resumed" and event["how"] == "handover"]
    rates, even = slots(run.told)
    after = {name: value - losses[name] for name, value in audit(fleet).items()}
    rows = [
        ("took", "", f"{took_s:.2f} s", True),
        ("told in each second", "alike", ", ".join(map(str, rates)), even),
        ("moved in each second", "", ", ".join(map(str, moves(moved_at))), True),
        ("lost or failed", "none", ", ".join(f"{n} {kind}" for kind, n in troubles.items()) or "none", not troubles),
        ("longest pause", f"<= {PAUSE_MOST_S * 1_000:.0f} ms", f"{pause_s * 1_000:.0f} ms", pause_s <= PAUSE_MOST_S),
        ("longest pause before the drain", "", f"{quiet_s * 1_000:.0f} ms", True),
        ("processes were late by", "", f"{lags} ms", True),
        ("messages", "none lost", ", ".join(f"{after[n]} {n}" for n in LOSSES), not any(after.values())),
    ]
    here = await run.rows(node)
    if half:
        moved = {session for session, connection in here.items() if before.get(session) != connection}
        # Whoever had been told and was on its way when the drain was called off may have found the node open again.
        on_their_way = round(WAY_S * HALF_RATE)
        state = str(admin.state.get("state"))
        others = [len(await run.rows(name)) for name in run.peers if name.startswith("n") and name != node]
        total = len(here) + sum(others)
        wanted = number(fleet.state, "clients") + len(run.watchers) + 1
        rows += [
            ("state after the call-off", "online", state, state == "online"),
            ("clients that stayed", "most", f"{len(here) - len(moved)} of {len(before)}", len(here) > len(before) / 5),
            ("on their way, and back", f"<= {on_their_way}", f"{len(moved)}", len(moved) <= on_their_way),
            ("clients everywhere", f"{wanted}", f"{total}", total == wanted),
        ]
    else:
        count = number(fleet.state, "handovers") - handovers
        rows += [("left behind", "0", f"{len(here)}", not here), ("clients of the fleet moved", "", f"{count}", True)]
    return rows


def show(title: str, rows: list[tuple[str, str, str, bool]]) -> bool:
    """Print a table; return whether everything in it is good."""
    print(title)
    for name, wanted, came, good in rows:
        verdict = "" if not wanted else "pass" if good else "FAIL"
        print(f"  {name:<32}{wanted:>12}{came:>50}   {verdict}")
    return all(good for *_, good in rows)


async def measure(args: argparse.Namespace) -> bool:
    """Run both drains and print the tables."""
    async with cluster(args) as run:
        half = show("half of n2, then called off", await drain(run, "n2", half=True))
        return show("all of n3", await drain(run, "n3", half=False)) and half


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_500)
    parser.add_argument("--watchers", type=int, default=30)
    parser.add_argument("--rate", type=float, default=2.0, help="messages published per second by the fleet")
    parser.add_argument(
        "--storm", type=int, default=0, help="let so many clients at a time come first, to be measured by"
    )
    parser.add_argument("--profile", choices=sorted(PROFILES), default="production")
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(0 if asyncio.run(measure(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
