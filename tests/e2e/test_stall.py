"""A terminal that takes nothing while the cluster goes through trouble: nothing is lost, and nothing waits for it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.taping import inputs_of
from tests.support.terminal import Terminal, all_gone, family, until
from wsmon.agent.runtime_dir import process_is_alive
from wsmon.model.inputs import ActionAnswered, Happened
from wsmon.protocol.registry import Keys
from wsmon.recording.files import open_recording

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

WSMON = (sys.executable, "-m", "wsmon")
CLIENTS = 300
"""So many that a drain takes longer than a look at the event stream."""
DRAINS_WITHIN_S = 15.0


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own; socket paths must stay short."""
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


@pytest.fixture
def terminal(root: Path) -> Iterator[Terminal]:
    """A recording dashboard on a cluster of its own; both are gone afterwards."""
    flags = ("--profile", "test", "--port", "0", "--clients", str(CLIENTS), "--record", str(root / "a.wsr"))
    shown = Terminal((*WSMON, *flags))
    yield shown
    shown.stall(on=False)
    shown.close()


@pytest.fixture
def store(root: Path, terminal: Terminal) -> Iterator[redis.Redis]:
    """The cluster's own Redis."""
    path = root / "wsmon" / "demo" / "redis.sock"
    assert until(path.exists, 20), terminal.text
    with redis.Redis(unix_socket_path=str(path), protocol=2, decode_responses=True) as client:
        yield client


def events_of(store: redis.Redis) -> list[dict[str, Any]]:
    """Return every event that the cluster itself has written down, the oldest first."""
    entries: Any = store.xrange(Keys("demo").events)
    return [json.loads(fields["event"]) for _, fields in entries]


def entered(store: redis.Redis, node: str, state: str) -> bool:
    return any(
        event["kind"] == "node_state" and event.get("node") == node and event.get("new") == state
        for event in events_of(store)
    )


def status() -> dict[str, Any]:
    done = subprocess.run([*WSMON, "status", "--json"], capture_output=True, timeout=20, check=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def age_s(text: str, now: float) -> float:
    """Return how old a screen is by the clock in its corner, which shows whole seconds."""
    clock = re.search(r"LIVE +(\d\d):(\d\d):(\d\d)", text)
    if clock is None:
        return float("inf")
    hours, minutes, seconds = (int(part) for part in clock.groups())
    local = time.localtime(now)
    today_s = local.tm_hour * 3_600 + local.tm_min * 60 + local.tm_sec
    return float((today_s - (hours * 3_600 + minutes * 60 + seconds)) % 86_400)


def disagreement(text: str, told: dict[str, Any], now: float) -> str:
    """Return in what a screen differs from what the cluster says of itself; empty if in nothing."""
    if age_s(text, now) > 1:
        return "the clock stands"
    for node in told["nodes"]:
        row = re.search(rf"^\W*{node['id']} +\S {node['state']} +(\d+)s +\S+ +\S+ +(\d+|–)", text, re.MULTILINE)
        if row is None:
            return f"{node['id']} is not {node['state']}"
        since_s, connections = float(row[1]), None if row[2] == "–" else int(row[2])
        if connections != node["connections"]:
            return f"{node['id']} has {connections} connections"
        if abs(now - node["since"] - since_s) > 2:
            return f"{node['id']} is {node['state']} for {since_s} s"
    return ""


@pytest.mark.parametrize(
    "stalled_s", [5, pytest.param(20, marks=pytest.mark.slow)], ids=["five seconds", "twenty seconds"]
)
def test_a_stalled_terminal_costs_no_event_no_drain_and_no_second_afterwards(
    root: Path, terminal: Terminal, store: redis.Redis, stalled_s: float
) -> None:
    terminal.wait_for(rf"HEALTHY\s+3/3 online\s+{CLIENTS} clients", within_s=30)
    everybody = family(terminal.pid)
    (pid,) = [node["pid"] for node in status()["nodes"] if node["id"] == "n2"]
    terminal.send("D")
    terminal.wait_for("Drain n1")
    terminal.send("y")
    assert until(lambda: entered(store, "n1", "draining"), 5)
    terminal.stall(on=True)
    began = time.monotonic()
    assert not entered(store, "n1", "left"), "the drain was over before the terminal stalled"
    seen = len(terminal.output)
    os.kill(pid, signal.SIGKILL)
    over = until(lambda: entered(store, "n1", "left") and entered(store, "n2", "removed"), DRAINS_WITHIN_S)
    assert over, events_of(store)[-5:]
    assert not process_is_alive(pid)
    until(lambda: False, stalled_s - (time.monotonic() - began))
    told = status()
    assert {node["id"]: node["state"] for node in told["nodes"]} == {"n1": "left", "n2": "removed", "n3": "online"}
    assert told["clients"] == {"connected": CLIENTS, "reconnecting": 0}
    assert len(terminal.output) == seen
    terminal.stall(on=False)
    assert until(lambda: not disagreement(terminal.text, told, time.time()), 1.0), (
        disagreement(terminal.text, told, time.time()) + "\n" + terminal.text
    )
    # Once the past is made good, time goes on.
    until(lambda: False, 2)
    assert not disagreement(terminal.text, told, time.time()), terminal.text
    terminal.send("jj")
    terminal.wait_for(r"▌ n3", within_s=1.0)
    terminal.send("3")
    terminal.wait_for(r"n1 +draining → left", within_s=2.0)
    written = events_of(store)
    terminal.send("q")
    assert terminal.wait_for_end() == 0
    assert all_gone(everybody)
    assert terminal.restored
    recorded = open_recording(root / "a.wsr")
    inputs = inputs_of(recorded)
    assert recorded.damage == ""
    kept = {(item.event.source, item.event.boot, item.event.seq) for item in inputs if isinstance(item, Happened)}
    assert len(written) >= CLIENTS // 3
    assert [event for event in written if (event["source"], event["boot"], event["seq"]) not in kept] == []
    holes = {(source, boot, seq - 1) for source, boot, seq in kept if seq > 1} - kept
    assert holes == set()
    assert [item.ok for item in inputs if isinstance(item, ActionAnswered)] == [True]
