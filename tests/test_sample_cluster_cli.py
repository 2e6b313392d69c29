"""The command line of the cluster, as far as it goes without starting one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sample_cluster import redis_server
from sample_cluster.cli import run
from sample_cluster.errors import StartError
from sample_cluster.supervisor.claim import claimed, free_port
from wsmon.errors import AlreadyRunningError


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "a command is missing; allowed: up, node, checker, gateway, fleet"),
        ("upp", "unknown command 'upp'; allowed: up, node, checker, gateway, fleet"),
        ("spawner x y", "unknown command 'spawner'; allowed: up, node, checker, gateway, fleet"),
        ("up --nodes 0", "--nodes: '0'; allowed: whole numbers from 1 to 32"),
        ("up --nodes", "--nodes: expected one argument"),
        ("up --nodes three", "--nodes: 'three'; allowed: whole numbers from 1 to 32"),
        ("up --port 65536", "--port: '65536'; allowed: whole numbers from 0 to 65535"),
        ("up --rate nan", "--rate: 'nan'; allowed: numbers from 0 to 100000"),
        ("up --rate x", "--rate: 'x'; allowed: numbers from 0 to 100000"),
        ("up --profile slow", "--profile: unknown profile 'slow'; allowed: production, demo, test"),
        ("up --redis http://x", "--redis: that is not a Redis URL; allowed: redis://host:port"),
        ("up --redis redis://x:y", "--redis: redis:// has a port that is not a number"),
        ("up --redis redis+sentinel://x", "--redis: redis+sentinel:// has no service; allowed: redis+sentinel://"),
        ("up --redis redis+cluster://", "--redis: redis+cluster:// names no server; allowed: redis://host:port"),
        ("up --redis redis://h --redis-port 7000", "allowed: --redis or --redis-port"),
        ("up --cluster ../x", "--cluster: cluster name '../x' is not allowed; allowed: 1 to 32 of a-z"),
        ("up --wat", "unknown argument '--wat'; allowed: --help, --cluster, --profile, --nodes"),
        ("node --redis redis://h", "the following arguments are required: --id"),
        ("node --id N1 --redis redis://h", "--id: 'N1'; allowed: 1 to 16 of a-z"),
        ("checker --redis redis://h --admin http://x", "allowed: ws+unix:///path"),
        ("fleet --redis redis://h --gateway tcp://x", "is not a gateway; allowed: ws://host:port/ws"),
    ],
)
def test_a_wrong_line_gets_one_line_that_says_what_is_allowed(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sample-cluster: error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("line", ["--help", "up --help", "node -h", "fleet --help"])
def test_help_goes_to_stdout(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 0
    assert capsys.readouterr().out.startswith("usage: sample-cluster")


def test_a_typing_mistake_is_answered_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys; from sample_cluster.cli import run; run(['up', '--nodes', 'x']); "
        "print([name for name in ('redis', 'websockets', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_port_in_use_is_named_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} on 127.0.0.1 cannot be used") as caught:
            free_port("127.0.0.1", port, flag="--port")
    assert "--port" in caught.value.hint


def test_port_0_becomes_a_port_that_can_be_bound() -> None:
    port = free_port("127.0.0.1", 0, flag="--port")
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_name_is_claimed_once_and_the_second_is_told_by_whom(tmp_path: Path) -> None:
    with (
        claimed(tmp_path, "demo"),
        pytest.raises(AlreadyRunningError, match=rf"'demo' runs already \(process {os.getpid()}\)"),
        claimed(tmp_path, "demo"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_cluster_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "n1.log").write_text("old")
    (tmp_path / "cluster.json").write_text("{}")
    outside = tmp_path.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    (tmp_path / "link").symlink_to(outside)
    with claimed(tmp_path, "demo"):
        assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]
        (tmp_path / "new").write_text("")
    assert list(tmp_path.iterdir()) == []
    assert (outside / "kept").exists()


def test_without_the_wheel_a_server_from_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    monkeypatch.setattr(redis_server, "_bundled_path", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server.find_server() == binary


def test_without_any_server_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "_bundled_path", lambda: tmp_path / "valkey-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match=r"no Redis server: .*valkey-server cannot be run") as caught:
        redis_server.find_server()
    assert "--redis URL" in caught.value.hint


def test_the_server_listens_on_its_socket_alone_unless_asked() -> None:
    def option(name: str, port: int | None = None) -> str:
        command = redis_server.server_command(Path("/bin/x"), directory=Path("/d"), socket=Path("/d/s"), port=port)
        return command[command.index(name) + 1]

    assert option("--port") == "0"
    assert option("--port", port=7_000) == "7000"
    assert option("--unixsocket") == "/d/s"
    assert option("--bind") == "127.0.0.1"
