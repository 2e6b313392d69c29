"""Scenarios and rolling restarts on real clusters."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.terminal import all_gone, family, until
from wsmon.scenario import shipped

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

WSMON = (sys.executable, "-m", "wsmon")
IMPOSSIBLE = {
    "checker-leader-kill": ("leader_within_s", "0.0001"),
    "double-kill": ("removed_within_s", "0.0001"),
    "drain": ("drain_within_s", "0.0001"),
    "flapping-node": ("quarantines", "9"),
    "freeze": ("cut_within_s", "0.0001"),
    "kill": ("removed_within_s", "0.0001"),
    "packet-loss": ("removals", "9"),
    "partition": ("back_all_s", "0.0001"),
    "redis-restart": ("removals", "9"),
    "rolling-restart": ("clients_moved_least", "999"),
    "slow-link": ("removals", "9"),
    "storm": ("back_p50_s", "0.0001"),
    "tour": ("removals", "9"),
}
FIELDS = {
    *("fault", "target", "started_at", "first_miss_ms", "suspect_ms", "removed_ms", "cut_ms"),
    *("back_p50_ms", "back_p95_ms", "back_all_ms", "lost", "duplicated"),
}


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


def wsmon(*words: str, within_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WSMON, *words], capture_output=True, text=True, timeout=within_s, check=False, stdin=subprocess.DEVNULL
    )


def leftovers(root: Path) -> list[str]:
    """Return the files and processes of a cluster that outlived its run."""
    mine = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("XDG_RUNTIME_DIR") == str(root) and process.status() != psutil.STATUS_ZOMBIE:
                mine.append(" ".join(process.cmdline()))
    return [*mine, *(str(path) for path in root.glob("wsmon/*"))]


def changed(name: str, root: Path, **lines: str) -> Path:
    """Return a copy of a shipped scenario with other values."""
    text = shipped()[name].read_text(encoding="utf-8")
    for key, value in lines.items():
        text, times = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert times == 1, (name, key)
    path = root / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def got(document: Any) -> dict[str, Any]:
    return {judged["name"]: judged["got"] for judged in document["objectives"]}


def test_a_scenario_that_goes_as_wanted_passes(root: Path) -> None:
    done = wsmon("run", str(changed("kill", root, settle_s="1.0", at="0.2", seconds="0")), "--json")
    assert done.returncode == 0, done
    document = json.loads(done.stdout)
    assert document.keys() == {"scenario", "passed", "objectives", "incidents"}
    assert (document["scenario"], document["passed"]) == ("kill", True)
    assert all(judged.keys() == {"name", "wanted", "got", "passed"} for judged in document["objectives"])
    (incident,) = document["incidents"]
    assert incident.keys() == FIELDS
    assert (incident["fault"], incident["target"], incident["lost"], incident["duplicated"]) == ("kill", "n1", 0, 0)
    assert incident["suspect_ms"] < incident["removed_ms"]
    assert incident["cut_ms"] < incident["back_p50_ms"] <= incident["back_p95_ms"] <= incident["back_all_ms"]
    assert got(document)["clients_lost_least"] >= 10
    assert "step 1: kill n1" in done.stderr
    assert leftovers(root) == []


def test_a_scenario_whose_objective_is_not_met_fails(root: Path) -> None:
    done = wsmon("run", str(changed("kill", root, settle_s="0.5", at="0.2", removed_within_s="0.0001")), "--quiet")
    assert done.returncode == 1, done
    assert done.stderr == ""
    assert done.stdout.startswith("kill: FAILED")
    (verdict,) = re.findall(r"^removed_within_s .*$", done.stdout, re.MULTILINE)
    assert verdict.endswith("FAIL")
    assert done.stdout.count("FAIL") == 2
    assert leftovers(root) == []


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_takes_its_cluster_with_it(root: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*WSMON, "run", "kill", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stdout is not None
    for line in process.stderr:
        if "everything is online" in line:
            break
    everybody = family(process.pid)
    assert len(everybody) > 5
    os.kill(process.pid, number)
    assert process.wait(5) == 130
    assert all_gone(everybody)
    assert process.stdout.read() == ""
    assert leftovers(root) == []
    process.stdout.close()
    process.stderr.close()


@contextlib.contextmanager
def running(root: Path) -> Iterator[None]:
    """Run a cluster of three nodes and 60 clients, as `wsmon` does without a terminal."""
    lines = root / "lines"
    # Into a file: a pipe that nobody empties would hold it up.
    with lines.open("w") as out:
        process = subprocess.Popen(
            [*WSMON, "--json", "--profile", "test", "--port", "0", "--clients", "60", "--rate", "40"], stdout=out
        )
    try:
        assert until(lambda: '"health":"healthy"' in lines.read_text(encoding="utf-8"), 30)
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_all_nodes_are_restarted_and_nobody_notices(root: Path) -> None:
    with running(root):
        pids = {node["id"]: node["pid"] for node in json.loads(wsmon("status", "--json").stdout)["nodes"]}

        planned = wsmon("restart", "--all", "--dry-run")
        assert planned.returncode == 0, planned
        assert planned.stdout.splitlines()[:2] == ["restart --all: would be done", "order: n1, n2, n3"]
        assert re.search(r"n1: \d+ connections move to n2, n3", planned.stdout)
        assert wsmon("restart", "n7", "--yes").returncode == 1

        done = wsmon("restart", "--all", "--yes", "--json", "--reason", "a new version")
        assert done.returncode == 0, done
        assert json.loads(done.stdout)["effect"] == {"order": ["n1", "n2", "n3"]}

        after = json.loads(wsmon("status", "--json").stdout)
        assert after["health"] == "healthy"
        assert after["clients"] == {"connected": 60, "reconnecting": 0}
        assert (after["audit"]["lost"], after["audit"]["duplicated"]) == (0, 0)
        assert all(node["pid"] != pids[node["id"]] for node in after["nodes"])
        # From who watched all the time: `wsmon events` begins with the newest ones only.
        told_lines = (root / "lines").read_text(encoding="utf-8").split("\n")[:-1]
        events = [event for event in map(json.loads, told_lines) if event["type"] == "event"]
        kinds = [event["kind"] for event in events]
        assert "client_lost" not in kinds
        assert kinds.count("drain_done") == 3
        moved = [event for event in events if event["kind"] == "resumed"]
        assert len(moved) >= 40
        assert {event["how"] for event in moved} == {"handover"}
        # The gateway asks for `disconnect` by itself, to even the nodes out.
        actions = [event for event in events if event["kind"] == "action" and event["op"] != "disconnect"]
        actions.sort(key=lambda event: float(event["at"]))
        told = [(event["op"], event["target"], event["reason"]) for event in actions]
        assert told == [(op, node, "a new version") for node in ("n1", "n2", "n3") for op in ("drain", "restart")]
    assert until(lambda: not list(root.glob("wsmon/*/cluster.json")), 5)


@pytest.mark.slow
def test_a_node_that_dies_meanwhile_stops_a_rolling_restart(root: Path) -> None:
    with running(root):
        rolling = subprocess.Popen(
            [*WSMON, "restart", "--all", "--yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert rolling.stderr is not None
        assert "drain n1" in rolling.stderr.readline()
        assert wsmon("kill", "n3", "--yes").returncode == 0
        said = rolling.communicate(timeout=60)
        assert rolling.returncode == 1, said
        assert "n3 is removed" in said[1]
        assert said[0] == ""
        states = {node["id"]: node["state"] for node in json.loads(wsmon("status", "--json").stdout)["nodes"]}
        assert (states["n1"], states["n2"]) == ("online", "online")


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", [*shipped()])
def test_every_shipped_scenario_passes(root: Path, name: str) -> None:
    done = wsmon("run", name, "--json", within_s=120)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["passed"] is True
    assert leftovers(root) == []


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", [*shipped()])
def test_every_shipped_scenario_can_fail(root: Path, name: str) -> None:
    key, value = IMPOSSIBLE[name]
    done = wsmon("run", str(changed(name, root, settle_s="1.0", **{key: value})), "--json", within_s=120)
    assert done.returncode == 1, done
    failed = [judged["name"] for judged in json.loads(done.stdout)["objectives"] if not judged["passed"]]
    assert failed == [key]
