"""Measures how long real processes take to find out: `python -m tests.e2e.detection --runs 20`.

A cluster is started, and its nodes are stopped and killed with plain signals at moments that the dice choose. What the
checker promised for the node just before is compared with what came of it. A promise is widened by what the processes
themselves reported meanwhile and by nothing else: how late their loops ran (`lag_ms` of their beats), and misses that
the checker did not count for having been late itself (`uncounted`).
"""

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from sample_cluster.config import PROFILES, Profile
from wsmon.agent.client import AdminClient, open_admin
from wsmon.protocol.descriptor import Descriptor, decode_descriptor
from wsmon.protocol.frames import Actor, Beat, EventFrame, Json
from wsmon.protocol.session import WatchInput

NODES: Final = ("n1", "n2", "n3", "n4")
CHECKERS: Final = ("checker", "checker2")
GATEWAY: Final = "gateway"
ACTOR: Final = Actor(user="detection", host="localhost")
UNDER_S: Final = 0.05
"""So much less than the promised least is a pause that must be survived."""
KILLED_WITHIN_S: Final = 1.0
CALM_S: Final = 0.1
"""A checker whose loop was later than this lately is not asked to keep promises yet."""
FRESH_BEATS: Final = 2
UP_WITHIN_S: Final = 60.0


@dataclass
class Process:
    """What one process told since it was last asked to forget."""

    client: AdminClient
    lag_s: float = 0.0
    """The worst since it was asked to forget."""
    lately_s: float = 0.0
    """What its last beat said."""
    beats: int = 0
    """How many came since it was last waited for."""

    @property
    def state(self) -> Any:
        """Its newest state."""
        return self.client.state


class Cluster:
    """A running cluster, watched through its admin sockets."""

    def __init__(self, descriptor: Descriptor, profile: Profile) -> None:
        self.profile = profile
        self._descriptor = descriptor
        self._processes: dict[str, Process] = {}
        self.events: list[EventFrame] = []
        self._told = asyncio.Event()

    async def watch(self, stack: AsyncExitStack) -> None:
        """Connect to everybody, and stay so."""
        for name in ("supervisor", GATEWAY, *CHECKERS, *NODES):
            watching = asyncio.create_task(self._watch(name))
            stack.push_async_callback(self._end, watching)
        await self.until(lambda: len(self._processes) == len(NODES) + len(CHECKERS) + 2)

    async def _watch(self, name: str) -> None:
        """Connect to one process, again and again: it may be killed."""
        assert self._descriptor.supervisor is not None
        url = self._descriptor.supervisor.replace("supervisor.sock", f"{name}.sock")
        while True:
            with suppress(Exception):  # Whatever it is, it is tried again, and whoever waits says what for.
                async with await open_admin(url, lambda told: self._take(name, told), interval_ms=50) as client:
                    self._processes[name] = Process(client)
                    await client.closed()
            self._processes.pop(name, None)
            await asyncio.sleep(0.05)

    @staticmethod
    async def _end(watching: asyncio.Task[None]) -> None:
        watching.cancel()
        await asyncio.wait([watching])

    def _take(self, name: str, told: WatchInput) -> None:
        if isinstance(told, EventFrame):
            self.events.append(told)
        elif isinstance(told, Beat) and name in self._processes:
            process = self._processes[name]
            process.beats += 1
            process.lately_s = told.lag_ms / 1_000
            process.lag_s = max(process.lag_s, process.lately_s)
        self._told.set()

    async def until(self, condition: Callable[[], bool], *, within_s: float = UP_WITHIN_S) -> None:
        """Wait for something that is told.

        Raises:
            TimeoutError: it did not come.

        """
        async with asyncio.timeout(within_s):
            while not condition():
                self._told.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self._told.wait()

    @property
    def redis(self) -> str | None:
        """URL of the cluster's Redis."""
        return self._descriptor.redis

    @property
    def leader(self) -> str:
        """The checker that leads and judges; empty while there is none."""
        for name in CHECKERS:
            process = self._processes.get(name)
            if process is not None and process.state.get("mode") == "leading":
                return name
        return ""

    def target(self, node: str) -> Any:
        """Return what the leading checker tells of a node."""
        process = self._processes.get(self.leader)
        return {} if process is None else process.state.get("targets", {}).get(node, {})

    def uncounted(self, node: str) -> dict[str, int]:
        """Return how many misses of a node each checker did not count in its life, mostly for being late itself."""
        found: dict[str, int] = {}
        for name in CHECKERS:
            if name in self._processes:
                found[name] = int(self._processes[name].state.get("targets", {}).get(node, {}).get("uncounted", 0))
        return found

    def pid(self, name: str) -> int:
        """Return the process id of a process."""
        return int(self._processes["supervisor"].state["processes"][name]["pid"])

    def forget(self) -> None:
        """Count lateness and events from now on."""
        self.events.clear()
        for process in self._processes.values():
            process.lag_s = 0.0

    @property
    def lag_s(self) -> float:
        """How late the loops of checkers and gateway ran at worst since `forget`."""
        return max((self._processes[name].lag_s for name in (*CHECKERS, GATEWAY) if name in self._processes), default=0)

    def moved(self, node: str, state: str) -> EventFrame | None:
        """Return the checker's word that the node moved to a state since `forget`."""
        for event in self.events:
            fields = event.fields
            told = event.source in CHECKERS and event.kind == "node_state" and fields.get("node") == node
            if told and fields.get("new") == state != fields.get("old"):
                return event
        return None

    async def settle(self) -> None:
        """Wait until two checkers and all nodes are well, and nothing casts doubt on that."""
        for process in self._processes.values():
            process.beats = 0

        def well() -> bool:
            if not self.leader or not all(name in self._processes for name in (*CHECKERS, *NODES, GATEWAY)):
                return False
            checkers = [self._processes[name] for name in CHECKERS]
            doubtful = any(
                checker.state.get("score", 1)
                or "tilt_until" in checker.state
                or checker.lately_s > CALM_S
                # What a process that stood still says first is old.
                or checker.beats < FRESH_BEATS
                for checker in checkers
            )
            return not doubtful and all(self.target(node).get("removal_window_s") for node in NODES)

        await self.until(well)

    async def start(self, name: str) -> None:
        """Have a killed process started again, if nobody did."""
        supervisor = self._processes["supervisor"]
        with suppress(Exception):
            await supervisor.client.command("start", {"id": name}, actor=ACTOR)

    async def fault(self, kind: str, link: str, *, ttl_s: float, value: str | None = None) -> None:
        """Break a link for a while."""
        args: dict[str, Json] = {"kind": kind, "target": link, "ttl_s": ttl_s}
        if value is not None:
            args["value"] = value
        result = await self._processes["supervisor"].client.command("fault", args, actor=ACTOR)
        assert result.ok, result.error

    async def client_on(self, node: str) -> ClientConnection:
        """Return a client's connection that the gateway led to the node."""
        assert self._descriptor.gateway is not None
        others: list[ClientConnection] = []  # Kept for a while: the gateway fills up whoever has the fewest.
        try:
            for _ in range(60):
                connection = await connect(
                    self._descriptor.gateway,
                    subprotocols=[Subprotocol("wsc.v1.json")],
                    compression=None,
                    proxy=None,
                    ping_interval=None,
                )
                await connection.send('{"type":"hello"}')
                if f'"node":"{node}"' in str(await connection.recv()):
                    return connection
                others.append(connection)
        finally:
            await asyncio.gather(*(other.close() for other in others))
        raise AssertionError(f"nobody comes to {node}")


@asynccontextmanager
async def running(profile: Profile) -> AsyncIterator[Cluster]:
    """Run a cluster of its own, and take it away again."""
    with tempfile.TemporaryDirectory(prefix="wsm-") as root:  # Socket paths must stay short.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sample_cluster", "up", "--until-eof", "--port", "0", "--profile", profile.name),
            *("--cluster", "detection", "--nodes", str(len(NODES)), "--clients", "12", "--rate", "10"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "XDG_RUNTIME_DIR": str(Path(root))},
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(UP_WITHIN_S):
                descriptor = decode_descriptor((await process.stdout.readline()).decode())
            cluster = Cluster(descriptor, profile)
            async with AsyncExitStack() as stack:
                await cluster.watch(stack)
                await cluster.settle()
                yield cluster
        finally:
            process.stdin.close()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


# What is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One try: how long it took, and what was promised. `held` is False if the promise was broken."""

    took_s: float
    least_s: float
    most_s: float
    widened_s: float = 0.0
    held: bool = True
    cut_s: float | None = None
    """From the removal to the end of a client's connection."""
    note: str = ""


@dataclass(slots=True)
class Proof:
    """All tries of one kind."""

    name: str
    profile: str
    runs: list[Run] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether every promise was kept."""
        return bool(self.runs) and all(run.held for run in self.runs)

    def rows(self) -> list[str]:
        """Return a line for the table, and one for every run that broke its promise."""
        least, most = min(run.least_s for run in self.runs), max(run.most_s for run in self.runs)
        took = sorted(run.took_s for run in self.runs)
        cuts = [run.cut_s for run in self.runs if run.cut_s is not None]
        widened = max(run.widened_s for run in self.runs)
        held = sum(run.held for run in self.runs)
        line = (
            f"{self.name:34} {self.profile:10} {held:3} of {len(self.runs):<3} {least:6.2f}–{most:<6.2f}"
            f" {took[0]:7.3f} {statistics.median(took):7.3f} {took[-1]:7.3f} {widened:8.3f}"
            f" {'' if not cuts else f'{max(cuts) * 1_000:6.0f}':>8}"
        )
        slowest = max(self.runs, key=lambda run: run.took_s)
        return [line, f"    slowest: {slowest.note}", *(f"    broken: {run}" for run in self.runs if not run.held)]


HEAD: Final = (
    f"{'what':34} {'profile':10} {'held':10} {'promised s':13} {'min':>7} {'median':>7} {'max':>7} {'widened':>8}"
    f" {'cut ms':>8}"
)


async def _ended(connection: ClientConnection) -> float:
    await connection.wait_closed()
    return time.time()


async def _removal(cluster: Cluster, node: str, *, within_s: float) -> EventFrame | None:
    with suppress(TimeoutError):
        await cluster.until(lambda: cluster.moved(node, "removed") is not None, within_s=within_s)
    return cluster.moved(node, "removed")


def _widened_s(cluster: Cluster, node: str, before: Mapping[str, int], found_by: str) -> float:
    """Return by how much a promise is widened for what the processes reported since `forget`."""
    beat = cluster.profile.heartbeat
    # A miss that was found by a timer this late does not count, and the next one is an interval away. (Others that do
    # not count were asked for too soon by a new leader, which costs nothing.)
    held_up = cluster.lag_s > beat.timeout_s / 2
    late = max(cluster.uncounted(node).get(found_by, 0) - before.get(found_by, 0), 0)
    # Each probe up to the one that decides may leave, and be called unanswered, as late as the loop ran.
    return (beat.failures + 1) * cluster.lag_s + (late * beat.interval_s if held_up else 0.0)


async def freeze(cluster: Cluster, node: str, dice: random.Random) -> Run:
    """Stop a node until it is removed."""
    connection = await cluster.client_on(node)
    await asyncio.sleep(dice.uniform(0, cluster.profile.http.interval_s))
    ended = asyncio.create_task(_ended(connection))
    cluster.forget()
    before = cluster.uncounted(node)
    least_s, most_s = cluster.target(node)["removal_window_s"]
    pid, stopped_at = cluster.pid(node), time.time()
    os.kill(pid, signal.SIGSTOP)
    try:
        removed = await _removal(cluster, node, within_s=most_s + 10)
        cut_at = None
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                cut_at = await ended
    finally:
        os.kill(pid, signal.SIGCONT)
        ended.cancel()
    widened_s = _widened_s(cluster, node, before, "" if removed is None else removed.source)
    if removed is None or cut_at is None:
        what = "it was not removed" if removed is None else "its tunnels were not cut"
        return Run(took_s=most_s + 10, least_s=least_s, most_s=most_s, widened_s=widened_s, held=False, note=what)
    took_s = removed.at - stopped_at
    return Run(
        took_s=took_s,
        least_s=least_s,
        most_s=most_s,
        widened_s=widened_s,
        cut_s=cut_at - removed.at,
        held=least_s <= took_s <= most_s + widened_s,
        note=str(removed.fields.get("reason")),
    )


async def pause(cluster: Cluster, node: str, dice: random.Random) -> Run:
    """Stop a node for a little less than the least time to removal, which must not remove it."""
    while True:
        await asyncio.sleep(dice.uniform(0, cluster.profile.http.interval_s))
        cluster.forget()
        least_s, most_s = cluster.target(node)["removal_window_s"]
        pid, stopped_at = cluster.pid(node), time.time()
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(least_s - UNDER_S)
        finally:
            os.kill(pid, signal.SIGCONT)
        paused_s = time.time() - stopped_at
        removed = await _removal(cluster, node, within_s=most_s - paused_s + 1)
        if paused_s < least_s:
            break
        await cluster.settle()  # We were held up ourselves, and the pause was longer than it should have been.
    return Run(
        took_s=paused_s,
        least_s=0.0,
        most_s=least_s,
        held=removed is None,
        note="" if removed is None else str(removed.fields.get("reason")),
    )


async def beheaded(cluster: Cluster, node: str, dice: random.Random) -> Run:
    """Kill the leading checker, and stop a node in the same moment. The supervisor starts the checker again."""
    return await _without_leader(cluster, node, dice, signal.SIGKILL)


async def headless(cluster: Cluster, node: str, dice: random.Random) -> Run:
    """Stop the leading checker for good, and a node in the same moment: the other one has to wait for the lease."""
    return await _without_leader(cluster, node, dice, signal.SIGSTOP)


async def _without_leader(cluster: Cluster, node: str, dice: random.Random, number: signal.Signals) -> Run:
    await asyncio.sleep(dice.uniform(0, cluster.profile.lease_renew_s))
    leader, before = cluster.leader, cluster.uncounted(node)
    cluster.forget()
    _, most_s = cluster.target(node)["removal_window_s"]
    # The rest of its lease, and as long again as a standby waits between two looks at who leads.
    most_s += cluster.profile.lease_ttl_s + cluster.profile.lease_renew_s
    head, pid, stopped_at = cluster.pid(leader), cluster.pid(node), time.time()
    os.kill(head, number)
    os.kill(pid, signal.SIGSTOP)
    try:
        removed = await _removal(cluster, node, within_s=most_s + 10)
        widened_s = _widened_s(cluster, node, before, "" if removed is None else removed.source)
    finally:
        os.kill(pid, signal.SIGCONT)
        with suppress(ProcessLookupError):
            os.kill(head, signal.SIGCONT)
    if removed is None:
        return Run(took_s=most_s + 10, least_s=0.0, most_s=most_s, widened_s=widened_s, held=False, note="not removed")
    took_s = removed.at - stopped_at
    note = f"without {leader}, {removed.source} found the node: {removed.fields.get('reason')}"
    held = took_s <= most_s + widened_s
    return Run(took_s=took_s, least_s=0.0, most_s=most_s, widened_s=widened_s, held=held, note=note)


async def kill(cluster: Cluster, node: str, dice: random.Random) -> Run:
    """Kill a node. It is removed, and its clients' connections end, within a second in every profile."""
    connection = await cluster.client_on(node)
    await asyncio.sleep(dice.uniform(0, cluster.profile.heartbeat.interval_s))
    ended = asyncio.create_task(_ended(connection))
    cluster.forget()
    killed_at = time.time()
    os.kill(cluster.pid(node), signal.SIGKILL)
    removed = await _removal(cluster, node, within_s=20)
    cut_at = killed_at + 20
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            cut_at = await ended
    widened_s = 3 * cluster.lag_s  # The end of the connection, the first connect that is refused, and the second.
    await cluster.start(node)
    took_s = 20.0 if removed is None else removed.at - killed_at
    return Run(
        took_s=took_s,
        least_s=0.0,
        most_s=KILLED_WITHIN_S,
        widened_s=widened_s,
        cut_s=cut_at - killed_at,
        held=max(took_s, cut_at - killed_at) <= KILLED_WITHIN_S + widened_s,
        note="not removed" if removed is None else str(removed.fields.get("reason")),
    )


Try = Callable[[Cluster, str, random.Random], Awaitable[Run]]
TRIES: Final[dict[str, tuple[str, Try]]] = {
    "freeze": ("stopped until it is removed", freeze),
    "pause": ("stopped for less than the least", pause),
    "beheaded": ("stopped as the leader is killed", beheaded),
    "headless": ("stopped together with the leader", headless),
    "kill": ("killed", kill),
}


async def prove(what: str, profile: Profile, *, runs: int, seed: int = 1) -> Proof:
    """Try one thing so many times in a cluster of its own."""
    name, tries = TRIES[what]
    proof, dice = Proof(name, profile.name), random.Random(seed)
    async with running(profile) as cluster:
        for number in range(runs):
            await cluster.settle()
            proof.runs.append(await tries(cluster, NODES[number % len(NODES)], dice))
    return proof


def main() -> int:
    """Try everything, and print what came of it as a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.detection")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="tries of a stop and of a pause (20)")
    parser.add_argument("--few", type=int, default=4, metavar="N", help="tries of everything else (4)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="when signals are sent (1)")
    parser.add_argument("--only", choices=TRIES, action="append", help="not everything")
    parser.add_argument("--profile", choices=PROFILES, default="test", help="of what is not tried in all (test)")
    args = parser.parse_args()
    plan = [(what, args.profile, args.runs) for what in ("freeze", "pause")]
    plan += [(what, args.profile, args.few) for what in ("beheaded", "headless")]
    plan += [("kill", name, args.few) for name in PROFILES]
    print(HEAD, flush=True)  # noqa: T201  # A command line prints.
    held = True
    for what, profile, runs in plan:
        if args.only is None or what in args.only:
            proof = asyncio.run(prove(what, PROFILES[profile], runs=runs, seed=args.seed))
            print("\n".join(proof.rows()), flush=True)  # noqa: T201  # A command line prints.
            held = held and proof.held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
