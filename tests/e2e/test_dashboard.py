"""The dashboard on a real cluster, driven by keys in a pseudo-terminal."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.terminal import Terminal, all_gone, family, until
from wsmon.agent.client import open_admin
from wsmon.agent.runtime_dir import process_is_alive
from wsmon.protocol.fields import dump_object
from wsmon.protocol.registry import Keys, RegistryEntry
from wsmon.protocol.states import PeerKind

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

WSMON = (sys.executable, "-m", "wsmon")
QUICK = ("--profile", "test", "--port", "0")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own; socket paths must stay short."""
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


Start = Callable[..., Terminal]


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Start `wsmon` in a terminal; whatever it started is gone afterwards."""
    terminals: list[Terminal] = []

    def begin(*flags: str, columns: int = 120, rows: int = 36, env: dict[str, str] | None = None) -> Terminal:
        terminal = Terminal((*WSMON, *flags), columns=columns, rows=rows, env=env)
        terminals.append(terminal)
        return terminal

    yield begin
    for terminal in terminals:
        terminal.close()


def online(terminal: Terminal) -> None:
    """Wait until three nodes are online and all clients connected."""
    terminal.wait_for(r"HEALTHY\s+3/3 online\s+60 clients", within_s=20)


def run(*arguments: str, within_s: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WSMON, *arguments], capture_output=True, text=True, timeout=within_s, check=False, stdin=subprocess.DEVNULL
    )


def node_pid(name: str) -> int:
    """Ask the running cluster for a node's process."""
    status = json.loads(run("status", "--json").stdout)
    (pid,) = [node["pid"] for node in status["nodes"] if node["id"] == name]
    assert isinstance(pid, int)
    return pid


def pid_of(id_: str) -> int:
    """Ask the supervisor for the process of a part of the cluster."""

    async def ask() -> int:
        (path,) = Path(os.environ["XDG_RUNTIME_DIR"]).glob("wsmon/*/supervisor.sock")
        async with await open_admin(f"ws+unix://{path}") as client:
            while True:
                processes = client.state.get("processes")
                if isinstance(processes, dict) and isinstance(process := processes.get(id_), dict):
                    pid = process.get("pid")
                    assert isinstance(pid, int)
                    return pid
                await asyncio.sleep(0.02)

    return asyncio.run(ask())


def test_three_nodes_and_sixty_clients_are_shown_in_time(start: Start) -> None:
    terminal = start("--port", "0")
    terminal.wait_for("NODE .*STATE", within_s=5)
    terminal.wait_for(r"✓ redis|HEALTHY", within_s=5)
    online(terminal)
    assert all(terminal.line(rf"\bn{number} +● online") for number in (1, 2, 3))
    terminal.wait_for("All clients are connected")


def test_a_node_killed_by_keys_goes_and_its_clients_land_elsewhere_and_it_comes_back(start: Start) -> None:
    terminal = start(*QUICK)
    online(terminal)
    pid = node_pid("n2")
    terminal.send("jX")
    terminal.wait_for("Type n2")
    terminal.send("\x1b[B")  # From TERM down to KILL.
    terminal.send("n2\r")
    assert until(lambda: not process_is_alive(pid), 5)
    terminal.wait_for(r"n2 +◐ suspect|n2 +○ removed")
    terminal.wait_for(r"n2 +○ removed")
    terminal.wait_for(r"c\d{3}.*n2 → n[13] in \d+\.\d+ s")
    terminal.wait_for(r"20 back")
    terminal.send("S")
    terminal.wait_for(r"n2 +● online")
    assert until(
        lambda: (
            (row := re.search(r"n2 +● online +\S+ +ok +ok +(\d+)", terminal.text)) is not None and int(row[1]) >= 10
        ),
        20,
    ), terminal.text
    assert node_pid("n2") != pid
    assert re.search(r"lost 0 /", terminal.text)


def test_a_hurried_enter_kills_nobody(start: Start) -> None:
    terminal = start(*QUICK)
    online(terminal)
    pid = node_pid("n1")
    for keys, shown in (("X\r\r", "All clients are connected"), ("D\r\r", "All clients are connected")):
        terminal.send(keys)
        terminal.wait_for(shown)
    status = json.loads(run("status", "--json").stdout)
    assert [node["state"] for node in status["nodes"]] == ["online"] * 3
    assert process_is_alive(pid)


def test_a_drain_moves_every_client_without_an_error(start: Start) -> None:
    terminal = start(*QUICK)
    online(terminal)
    terminal.send("D")
    terminal.wait_for("Drain n1")
    terminal.send("y")
    terminal.wait_for(r"n1 +· left")
    terminal.wait_for("20 back")
    events = [json.loads(line) for line in run("events", "--json").stdout.splitlines()]
    began = next(number for number, event in enumerate(events) if event["kind"] == "drain_started")
    assert [event for event in events[began:] if event["kind"] in ("client_lost", "reconnect_failed")] == []
    status = json.loads(run("status", "--json").stdout)
    assert status["clients"] == {"connected": 60, "reconnecting": 0}
    assert status["audit"]["lost"] == 0
    terminal.send("S")
    terminal.wait_for(r"n1 +● online")


def test_what_a_second_terminal_does_is_seen_by_the_first(start: Start) -> None:
    terminal = start(*QUICK)
    online(terminal)
    done = run("kill", "n3", "--reason", "from the other side", "--json", "--wait")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["ok"]
    terminal.wait_for(r"n3 +○ removed")
    terminal.send("3")  # Where it cannot have scrolled out of sight.
    terminal.wait_for(r"kill n3: from the other")
    terminal.send("1")
    status = run("status", "--json")
    assert (status.returncode, json.loads(status.stdout)["health"]) == (1, "degraded")
    assert run("start", "n3", "--wait").returncode == 0
    terminal.wait_for(r"n3 +● online")
    drained = run("drain", "n1", "--wait")
    assert drained.returncode == 0, drained
    terminal.wait_for(r"n1 +· left")
    refused = run("kill", "n9")
    assert (refused.returncode, "n1, n2, n3" in refused.stderr) == (1, True)


def test_a_frozen_node_is_removed_within_the_promised_window_and_comes_back(start: Start) -> None:
    terminal = start(*QUICK)
    online(terminal)
    pid = node_pid("n2")
    os.kill(pid, signal.SIGSTOP)
    try:
        terminal.wait_for(r"n2 +◐ suspect")
        # 3 heartbeats of the test profile: 1.2–1.7 s of silence, and what a busy machine adds.
        terminal.wait_for(r"n2 +○ removed", within_s=8)
        terminal.wait_for(r"20 back")
    finally:
        os.kill(pid, signal.SIGCONT)
    terminal.wait_for(r"n2 +● online", within_s=15)


@pytest.mark.parametrize("part", ["redis", "checker", "gateway", "fleet"])
def test_a_part_that_dies_is_named_and_healed(start: Start, part: str) -> None:
    terminal = start(*QUICK)
    online(terminal)
    old = pid_of(part)
    os.kill(old, signal.SIGKILL)
    terminal.wait_for(rf"process {part} was killed")
    assert until(lambda: pid_of(part) != old, 10)
    online(terminal)
    delivered = int(terminal.wait_for(r"lost 0 / ([\d,]+)").rpartition(" ")[2].replace(",", ""))
    assert until(
        lambda: int(terminal.wait_for(r"lost \d+ / ([\d,]+)").rpartition(" ")[2].replace(",", "")) > delivered, 10
    ), "nothing is delivered any more"
    terminal.send("q")
    assert terminal.wait_for_end() == 0


@pytest.mark.parametrize(
    ("how", "status"),
    [("q", 0), ("\x03", 0), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)],
    ids=["q", "ctrl+c", "SIGTERM", "SIGHUP"],
)
def test_every_polite_end_restores_the_terminal_and_leaves_no_process(
    start: Start, how: str | signal.Signals, status: int
) -> None:
    terminal = start(*QUICK)
    online(terminal)
    everybody = family(terminal.pid)
    assert len(everybody) >= 8
    if isinstance(how, signal.Signals):
        os.kill(terminal.pid, how)
    else:
        terminal.send(how)
    assert terminal.wait_for_end() == status
    assert all_gone(everybody)
    assert terminal.restored


@pytest.mark.parametrize("how", ["kill -9", "closed terminal", "kill -9 of the supervisor"])
def test_no_end_leaves_a_process(start: Start, how: str) -> None:
    terminal = start(*QUICK)
    online(terminal)
    everybody = family(terminal.pid)
    match how:
        case "kill -9":
            os.kill(terminal.pid, signal.SIGKILL)
        case "closed terminal":
            terminal.hang_up()
        case _:
            (supervisor,) = psutil.Process(terminal.pid).children()
            supervisor.kill()
            terminal.wait_for("gone|ended")
            assert all_gone(everybody[1:])
            terminal.send("q")
    assert all_gone(everybody)


def test_it_ends_while_it_starts(start: Start) -> None:
    terminal = start(*QUICK)
    terminal.wait_for("NODE")
    everybody = family(terminal.pid)
    terminal.send("q")
    terminal.wait_for_end()
    assert all_gone(everybody)
    assert terminal.restored


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60), (60, 15), (40, 10)])
def test_every_size_shows_something_honest(start: Start, columns: int, rows: int) -> None:
    terminal = start(*QUICK, columns=columns, rows=rows)
    terminal.wait_for(r"3/3|too small|HEALTHY", within_s=20)
    terminal.resize(columns=120, rows=36)
    online(terminal)
    terminal.resize(columns=columns, rows=rows)
    terminal.send("q")
    assert terminal.wait_for_end() == 0


def test_a_second_one_on_the_same_name_and_a_port_in_use_are_refused_in_one_line(start: Start) -> None:
    terminal = start(*QUICK)
    online(terminal)
    second = run("--plain", "--for", "5")
    assert second.returncode == 1
    assert "runs already" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    gateway = next(
        connection.laddr.port
        for connection in psutil.Process(pid_of("gateway")).net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    )
    other = run("--cluster", "other", "--port", str(gateway), "--json", "--for", "5")
    assert other.returncode == 1
    assert str(gateway) in json.loads(other.stdout.splitlines()[-1])["error"]["message"]
    on_screen = start("--cluster", "other", "--port", str(gateway))
    assert on_screen.wait_for_end(within_s=10) == 1
    assert str(gateway) in on_screen.text
    assert on_screen.restored


def test_a_node_that_speaks_garbage_is_named_and_harms_nobody(start: Start, root: Path) -> None:
    """Its name carries markup, its answer escape sequences."""
    terminal = start(*QUICK)
    online(terminal)
    name = "[red]evil[/]"
    with (
        socket.socket(socket.AF_UNIX) as listener,
        redis.Redis(unix_socket_path=str(root / "wsmon" / "demo" / "redis.sock"), protocol=2) as store,
    ):
        listener.bind(str(root / "evil.sock"))
        listener.listen()
        stop = threading.Event()
        babbler = threading.Thread(target=babble, args=(listener, stop))
        babbler.start()
        keys = Keys("demo")
        entry = RegistryEntry(
            kind=PeerKind.NODE, id=name, boot=1, admin=f"ws+unix://{root}/evil.sock", version="\x1b[31m", address="x:1"
        )
        store.zadd(keys.nodes, {name: time.time() + 30})
        store.set(keys.node(name), dump_object(entry.to_object()), ex=30)
        terminal.wait_for(r"\[red\]evil\[/\].*garbage")
        store.zrem(keys.nodes, name)
        stop.set()
        babbler.join()
    for number in (1, 2, 3):
        terminal.wait_for(rf"\bn{number} +● online")
    assert b"hacked" not in terminal.output


def babble(listener: socket.socket, stop: threading.Event) -> None:
    """Answer everybody with something that is not the admin protocol."""
    listener.settimeout(0.1)
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection, contextlib.suppress(OSError):
            connection.recv(4_096)
            connection.sendall(b"HTTP/1.1 200 \x1b]0;hacked\x07\r\nContent-Length: 0\r\n\r\n")


def test_an_attached_console_sees_and_touches_nothing(start: Start) -> None:
    first = start(*QUICK)
    online(first)
    attached = start("attach")
    online(attached)
    attached.wait_for("locked")
    attached.send("XDS")
    attached.send("?")
    attached.wait_for("Select the row above")
    attached.send("?")
    attached.wait_for("All clients are connected")
    attached.send("q")
    assert attached.wait_for_end() == 0
    assert first.line(r"HEALTHY")
