"""Recordings on disk: private, never written over another file, and readable while they are written."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from wsmon.errors import ConfigError, WsmonError
from wsmon.recording.recording import Recording

SUFFIX: Final = ".wsr"


class StoredFile:
    """An open file as bytes that can be read anywhere. It is read as far as it reached when it was opened."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            OSError: it cannot be read.

        """
        # A pipe that nobody writes to would hold us here for ever.
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        told = os.fstat(self._fd)
        if stat.S_ISDIR(told.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        if not stat.S_ISREG(told.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        self.size = told.st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return these bytes, fewer if the file became shorter."""
        return os.pread(self._fd, max(0, min(length, self.size - offset)), offset)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._fd)


def open_recording(path: Path) -> Recording:
    """Return the recording in a file.

    Raises:
        ConfigError: there is none that can be read; the message says why.

    """
    try:
        return Recording(StoredFile(path), what=str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def create(path: Path) -> int:
    """Create a file that only its owner can read, open for appending; return its descriptor.

    Raises:
        WsmonError: there is one of this name, or it cannot be created.

    """
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise WsmonError(f"{path} exists already", hint="a recording never overwrites a file") from None
    except OSError as error:
        raise WsmonError(f"{path} cannot be written: {error.strerror}") from error


def write_all(fd: int, data: bytes) -> None:
    """Write everything.

    Raises:
        OSError: it could not be written, or not to its end.

    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_whole(path: Path, data: bytes) -> None:
    """Write a new file that is either whole or not there at all.

    Raises:
        WsmonError: there is one of this name, or it cannot be written.

    """
    if path.exists():  # Said before the work; the link below decides.
        raise WsmonError(f"{path} exists already", hint="a recording never overwrites a file")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = create(aside)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        _take_name(aside, path)
    except OSError as error:
        raise WsmonError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


def _take_name(aside: Path, path: Path) -> None:
    """Give the file its name, unless another has it."""
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        raise WsmonError(f"{path} exists already", hint="a recording never overwrites a file") from None
    except OSError:
        # Not every file system has hard links.
        aside.rename(path)
