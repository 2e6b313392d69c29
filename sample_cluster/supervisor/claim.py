"""What has to be ours before anything is started: the cluster's name and directory, and the ports."""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sample_cluster.errors import StartError
from wsmon.errors import AlreadyRunningError

LOCK_NAME: Final = "lock"


@contextmanager
def claimed(directory: Path, cluster: str) -> Iterator[None]:
    """Hold the directory for this process alone; empty at the beginning and at the end.

    Raises:
        AlreadyRunningError: another process holds it.

    """
    path = directory / LOCK_NAME
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 32).decode(errors="replace").strip() or "?"
            os.close(fd)
            raise AlreadyRunningError(
                f"a cluster named {cluster!r} runs already (process {owner})",
                hint="stop it, or choose another name with --cluster",
            ) from None
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(fd).st_ino:
                break
        os.close(fd)  # Its owner removed the file between our opening and our locking it.
    try:
        os.truncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())
        _empty(directory)
        yield
    finally:
        _empty(directory)
        path.unlink(missing_ok=True)
        os.close(fd)


def _empty(directory: Path) -> None:
    """Remove everything but the lock: what is there belongs to a cluster that is gone."""
    for entry in directory.iterdir():
        if entry.name == LOCK_NAME:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def free_port(host: str, port: int, *, flag: str) -> int:
    """Return `port`, or a free one for 0, to be bound by another process soon.

    Raises:
        StartError: the port is taken.

    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(
                f"port {port} on {host} cannot be used: {(error.strerror or str(error)).lower()}",
                hint=f"choose another with {flag}, or {flag} 0 for any free one",
            ) from error
        bound: int = probe.getsockname()[1]
        return bound
