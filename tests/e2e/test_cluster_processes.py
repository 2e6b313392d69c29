"""`sample-cluster up` for real: what lives, what dies, what comes back, and that nothing is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from wsmon.agent.client import AdminClient, open_admin
from wsmon.protocol.descriptor import Descriptor, decode_descriptor
from wsmon.protocol.frames import Actor, EventFrame, Json

pytestmark = pytest.mark.e2e

ACTOR = Actor(user="test", host="localhost")
GONE_WITHIN_S = 2.0
IDS = {"redis", "n1", "n2", "n3", "checker", "checker2", "gateway", "fleet"}


class Cluster:
    """A running `sample-cluster up` in a runtime directory of its own."""

    def __init__(self, root: Path, *flags: str) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sample_cluster", "up", "--until-eof"),
                *("--port", "0", "--profile", "test", "--clients", "9", "--rate", "5", *flags),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "XDG_RUNTIME_DIR": str(root)},
            text=True,
            start_new_session=True,
        )

    def descriptor(self) -> Descriptor:
        """Wait for the line that is printed when everything is up."""
        assert self.process.stdout is not None
        return decode_descriptor(self.process.stdout.readline())

    def family(self) -> list[psutil.Process]:
        """Return the supervisor, its spawner and all processes."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def spawner(self) -> psutil.Process:
        (spawner,) = psutil.Process(self.process.pid).children()
        return spawner

    def files(self) -> list[str]:
        return [entry.name for entry in (self.root / "wsmon" / "demo").iterdir()]

    def close(self) -> str:
        """End it in whatever state it is and return what it wrote to stderr."""
        family = []
        with contextlib.suppress(psutil.Error):
            family = self.family()
        self.process.kill()
        _, errors = self.process.communicate()
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return errors


@pytest.fixture
def root() -> Iterator[Path]:
    # Socket paths must stay short, which those of tmp_path are not.
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        yield Path(name)


@pytest.fixture
def cluster(root: Path) -> Iterator[Cluster]:
    running = Cluster(root)
    yield running
    running.close()


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def wait_until_gone(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while left := [process for process in processes if not is_gone(process)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.01)


async def until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # The real thing has no event for us.
            await asyncio.sleep(0.02)


class Watched:
    """A supervisor as a dashboard sees it."""

    def __init__(self) -> None:
        self.events: list[EventFrame] = []
        self.client: AdminClient

    def take(self, told: object) -> None:
        if isinstance(told, EventFrame):
            self.events.append(told)

    def process(self, name: str) -> dict[str, Any]:
        processes: Any = self.client.state.get("processes", {})
        found: dict[str, Any] = processes.get(name, {})
        return found

    def kinds(self, kind: str) -> list[dict[str, Json]]:
        return [dict(event.fields) for event in self.events if event.kind == kind]


def watching(descriptor: Descriptor, run: Callable[[Watched], Awaitable[None]]) -> None:
    async def watch() -> None:
        watched = Watched()
        assert descriptor.supervisor is not None
        watched.client = await open_admin(descriptor.supervisor, watched.take, interval_ms=50)
        async with watched.client:
            await until(lambda: bool(watched.client.state))
            await run(watched)

    asyncio.run(watch())


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP", "end of stdin"])
def test_every_way_to_quit_leaves_no_process_and_no_file(cluster: Cluster, how: str) -> None:
    descriptor = cluster.descriptor()
    assert descriptor.pid == cluster.process.pid
    family = cluster.family()
    assert len(family) == len(IDS) + 2
    if how == "end of stdin":
        assert cluster.process.stdin is not None
        cluster.process.stdin.close()
        cluster.process.stdin = None
    else:
        cluster.process.send_signal(signal.Signals[how])
    wait_until_gone(family)
    assert cluster.process.wait(1) == 0
    assert cluster.files() == []


@pytest.mark.parametrize("frozen", [False, True])
def test_a_supervisor_killed_takes_everything_along_and_the_next_one_starts_over_its_leftovers(
    cluster: Cluster, *, frozen: bool
) -> None:
    cluster.descriptor()
    family = cluster.family()
    if frozen:
        for process in family[1:]:
            process.suspend()
    cluster.process.kill()
    wait_until_gone(family)
    assert "cluster.json" in cluster.files()
    second = Cluster(cluster.root)
    try:
        assert second.descriptor().pid == second.process.pid
    finally:
        second.close()


def test_a_second_cluster_of_the_same_name_is_refused_and_the_first_goes_on(cluster: Cluster) -> None:
    cluster.descriptor()
    second = Cluster(cluster.root)
    assert second.process.wait(10) == 1
    errors = second.close()
    assert errors.startswith("sample-cluster: error: a cluster named 'demo' runs already (process ")
    assert str(cluster.process.pid) in errors
    assert cluster.process.poll() is None
    assert "cluster.json" in cluster.files()


def test_a_dead_spawner_is_replaced_and_everything_comes_back(cluster: Cluster) -> None:
    descriptor = cluster.descriptor()
    family = cluster.family()
    old = cluster.spawner()

    async def look(watched: Watched) -> None:
        pids = {name: watched.process(name)["pid"] for name in IDS}
        old.kill()
        wait_until_gone(family[1:])
        await until(
            lambda: all(
                watched.process(name).get("status") == "running" and watched.process(name)["pid"] != pids[name]
                for name in IDS
            )
        )
        assert {event["id"] for event in watched.kinds("process_exited")} == IDS

    watching(descriptor, look)


def test_start_up_is_shown_from_its_first_moment(cluster: Cluster) -> None:
    admin = cluster.root / "wsmon" / "demo" / "supervisor.sock"
    deadline = time.monotonic() + 5
    while not (admin.parent / "cluster.json").exists():  # The socket's file is there before anybody listens.
        assert time.monotonic() < deadline
        time.sleep(0.005)

    async def look(watched: Watched) -> None:
        start: Any = watched.client.state["start"]
        assert [step["name"] for step in start["steps"]] == [
            *("redis", "nodes", "checker", "gateway", "online", "clients"),
        ]
        await until(lambda: bool(watched.client.state["start"]["ready"]), within_s=15)  # type: ignore[index, call-overload]
        start = watched.client.state["start"]
        assert all(step["done"] and step["seconds"] >= 0 for step in start["steps"])
        assert {watched.process(name)["status"] for name in IDS} == {"running"}

    watching(Descriptor(cluster="demo", supervisor=f"ws+unix://{admin}"), look)


def test_operations_do_what_they_say(cluster: Cluster) -> None:
    """One cluster for all of them: starting one costs more than any."""
    descriptor = cluster.descriptor()

    async def look(watched: Watched) -> None:
        async def ask(op: str, **args: Json) -> Any:
            result = await watched.client.command(op, args, actor=ACTOR, reason="a test")
            return result.effect if result.error is None else result.error.code

        assert set(watched.client.hello.ops) == {
            *("start", "stop", "restart", "kill", "freeze", "thaw", "scale", "fault", "link", "heal"),
        }
        assert await ask("kill", id="n9", signal="KILL") == "unknown_process"
        assert await ask("kill", id="n1", signal="SEGV") == "unknown_signal"
        assert await ask("kill", id="n1") == "bad_argument"
        assert await ask("start", id="n1") == "already_running"
        assert await ask("freeze", id="n1", ttl_s=0) == "bad_argument"

        # A node that is killed stays down until somebody starts it.
        pid = watched.process("n1")["pid"]
        assert await ask("kill", id="n1", signal="KILL") == {"id": "n1", "pid": pid, "signal": "SIGKILL"}
        await until(lambda: watched.process("n1")["status"] == "exited")
        assert watched.process("n1")["exit"] == "SIGKILL"
        assert watched.kinds("process_exited") == [{"id": "n1", "signal": 9}]
        assert await ask("kill", id="n1", signal="KILL") == "not_running"
        await ask("start", id="n1")
        await until(lambda: watched.process("n1")["status"] == "running")
        assert watched.process("n1")["restarts"] == 1

        # What is not a node comes back by itself, the gateway on its port.
        gateway, redis = (psutil.Process(watched.process(name)["pid"]) for name in ("gateway", "redis"))
        gateway.kill()
        redis.kill()
        await until(
            lambda: all(
                watched.process(name)["status"] == "running" and watched.process(name)["restarts"] == 1
                for name in ("gateway", "redis")
            )
        )
        assert descriptor.gateway is not None
        port = int(descriptor.gateway.split(":")[2].split("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

        # A freeze thaws by itself; one from outside is seen.
        await ask("freeze", id="n2", ttl_s=0.3)
        await until(lambda: watched.process("n2")["status"] == "frozen")
        await until(lambda: watched.process("n2")["status"] == "running")
        outside = psutil.Process(watched.process("n3")["pid"])
        outside.suspend()
        await until(lambda: watched.process("n3")["status"] == "frozen")
        await ask("thaw", id="n3")
        await until(lambda: watched.process("n3")["status"] == "running")

        # Scaling up adds, scaling down drains the highest away.
        assert await ask("scale", nodes=4) == {"nodes": 4, "started": ["n4"], "stopped": []}
        await until(lambda: watched.process("n4").get("status") == "running")
        await ask("scale", nodes=3)
        await until(lambda: watched.process("n4")["status"] == "exited", within_s=14)
        assert watched.process("n4")["exit"] == "code 0"

        actions = [(event["op"], event["target"], event["ok"]) for event in watched.kinds("action")]
        assert actions[0] == ("kill", "n9", False)
        assert ("start", "n1", True) in actions
        told = [
            [(event["fault"], event["target"]) for event in watched.kinds(f"fault_{word}")]
            for word in ("started", "ended")
        ]
        assert told == [[("kill", "n1"), ("freeze", "n2")]] * 2

    watching(descriptor, look)
