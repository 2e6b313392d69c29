"""The private directory in which a cluster on this machine keeps its sockets and its descriptor."""

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wsmon.agent.endpoint import UNIX_PATH_MAX
from wsmon.errors import EnvironmentUnsafeError, RemoteProtocolError
from wsmon.protocol.names import check_cluster_name

if TYPE_CHECKING:  # Looking where nothing is comes before the first screen, and needs none of it.
    from wsmon.protocol.descriptor import Descriptor

DESCRIPTOR_NAME = "cluster.json"
SOCKET_NAME_MAX = 24
"""Longest name of a socket below the directory, such as `/supervisor.sock`."""


def runtime_root() -> Path:
    """Return the directory above all clusters of this user: below $XDG_RUNTIME_DIR, else the temporary directory."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir():
        return Path(base) / "wsmon"
    return Path(tempfile.gettempdir()) / f"wsmon-{os.getuid()}"


def runtime_dir(cluster: str) -> Path:
    """Return where the cluster keeps its files. Nothing is created.

    Raises:
        UsageError: the name is not allowed.
        EnvironmentUnsafeError: socket paths below it would be too long.

    """
    path = runtime_root() / check_cluster_name(cluster)
    if len(os.fsencode(path)) + SOCKET_NAME_MAX > UNIX_PATH_MAX:
        raise EnvironmentUnsafeError(
            f"{path} is too long for socket paths ({UNIX_PATH_MAX} bytes)", hint="set XDG_RUNTIME_DIR to a shorter one"
        )
    return path


def ensure_private(path: Path) -> None:
    """Create `path` and its parent if need be, and make sure that both are ours alone.

    Raises:
        EnvironmentUnsafeError: one belongs to somebody else, is open to others, or is not a directory.

    """
    for directory in (path.parent, path):
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EnvironmentUnsafeError(f"runtime directory {directory}: {error.strerror}") from error
        check_private(directory)


def check_private(directory: Path) -> None:
    """Make sure that the directory is a real one, ours, and closed to others.

    Raises:
        EnvironmentUnsafeError: it is not.

    """
    status = directory.lstat()
    hint = f"remove {directory} or point XDG_RUNTIME_DIR elsewhere"
    if not stat.S_ISDIR(status.st_mode):
        raise EnvironmentUnsafeError(f"runtime directory {directory} is not a directory", hint=hint)
    if status.st_uid != os.getuid():
        raise EnvironmentUnsafeError(f"runtime directory {directory} belongs to user {status.st_uid}", hint=hint)
    if status.st_mode & 0o077:
        raise EnvironmentUnsafeError(
            f"runtime directory {directory} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})", hint=hint
        )


def write_descriptor(directory: Path, descriptor: "Descriptor") -> None:
    """Put the descriptor in place in one step, readable by us alone."""
    fresh = directory / f"{DESCRIPTOR_NAME}.{os.getpid()}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(descriptor.to_text() + "\n")
    fresh.replace(directory / DESCRIPTOR_NAME)


def read_descriptor(path: Path) -> "Descriptor | None":
    """Return the descriptor in the file, None if there is no such file.

    Raises:
        RemoteProtocolError: the file does not hold a descriptor.

    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RemoteProtocolError(f"{path}: {error.strerror}") from error
    from wsmon.protocol.descriptor import decode_descriptor  # noqa: PLC0415  # See above.

    return decode_descriptor(text)


def process_is_alive(pid: int) -> bool:
    """Say whether a process of this number exists; one that we may not signal exists too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
