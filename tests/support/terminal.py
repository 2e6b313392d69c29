"""A pseudo-terminal with a screen: drives a real program as a person would."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psutil
import pyte

LEAVES_ALTERNATE = b"\x1b[?1049l"
SHOWS_CURSOR = b"\x1b[?25h"

QUESTION = re.compile(rb"\x1b\[\?(\d+)\$p")
_NOT_FOR_PYTE = re.compile(rb"\x1b\[(?:\?\d+\$p|[<>]\d*u)")


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """One program in a pseudo-terminal. Close it; it ends what it started."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        columns: int = 120,
        rows: int = 36,
        env: Mapping[str, str] | None = None,
        answers: bool = True,
    ) -> None:
        """`answers`: whether it answers questions for the state of a mode."""
        self.started_at = time.monotonic()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.output = b""
        self.status: int | None = None
        """Exit status once it has ended; negative for a signal."""
        self._answers = answers
        self._stalled = threading.Event()
        self._stands = threading.Event()
        self._closing = threading.Event()
        kept = (key for key in os.environ if key not in {"NO_COLOR", "COLUMNS", "LINES"})
        environment = {key: os.environ[key] for key in kept}
        environment |= {"TERM": "xterm-256color", **(env or {})}
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._popen = subprocess.Popen(
            list(arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  # One call of the system between fork and exec.
        )
        self.pid = self._popen.pid
        self._slave = slave
        self._master = master
        self.process = psutil.Process(self.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._closing.is_set():
            if self._stalled.is_set():
                self._stands.set()
                threading.Event().wait(0.02)
                continue
            self._stands.clear()
            try:
                if not select.select([self._master], [], [], 0.05)[0]:
                    continue
                piece = os.read(self._master, 65_536)
            except (OSError, ValueError):
                return
            with self._lock:
                before = len(self.output)
                self.output += piece
                self._stream.feed(_NOT_FOR_PYTE.sub(b"", piece))
                asked = [found for found in QUESTION.finditer(self.output, max(0, before - 12)) if found.end() > before]
            for found in asked if self._answers else ():
                with contextlib.suppress(OSError):
                    os.write(self._master, b"\x1b[?%s;2$y" % found[1])

    @property
    def text(self) -> str:
        """What the screen shows."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def line(self, pattern: str) -> str:
        """Return the first line of the screen that matches, or nothing."""
        return next((line for line in self.text.splitlines() if re.search(pattern, line)), "")

    def stall(self, *, on: bool) -> None:
        """Stop to read what the program writes, or go on. What is being read just now is still read."""
        if on:
            self._stands.clear()
            self._stalled.set()
            assert self._stands.wait(5)
        else:
            self._stalled.clear()

    def wipe(self) -> None:
        """Make the screen blank, without the program's knowledge."""
        with self._lock:
            self._screen.erase_in_display(2)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def resize(self, *, columns: int, rows: int) -> None:
        """Give the window another size."""
        with self._lock:
            self._screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, pattern: str, *, within_s: float = 10.0) -> str:
        """Wait until the screen matches; return the matching text."""
        found: list[str] = []

        def look() -> bool:
            match = re.search(pattern, self.text, re.MULTILINE)
            if match:
                found.append(match[0])
            return bool(match)

        assert until(look, within_s), f"{pattern!r} did not come within {within_s} s:\n{self.text}"
        return found[0]

    def wait_for_end(self, *, within_s: float = 5.0) -> int:
        """Wait until the program has ended; return its exit status."""

        def ended() -> bool:
            self.status = self._popen.poll()
            return self.status is not None

        assert until(ended, within_s), f"still running after {within_s} s:\n{self.text}"
        assert self.status is not None
        return self.status

    @property
    def restored(self) -> bool:
        """Whether the alternate screen was left, the cursor shown, and the line discipline is as it was.

        A program may have ended before its last words are read here: they are waited for.
        """
        return until(self._is_restored, 2)

    def _is_restored(self) -> bool:
        with self._lock:
            output = self.output
        left = output.rfind(LEAVES_ALTERNATE) > output.rfind(b"\x1b[?1049h")
        shown = output.rfind(SHOWS_CURSOR) > output.rfind(b"\x1b[?25l")
        return left and shown and termios.tcgetattr(self._slave)[:4] == self.before[:4]

    def _end_reading(self) -> None:
        """Let the reader go before its descriptor is closed: the next terminal may get the same number."""
        self._closing.set()
        self._reader.join(5)

    def hang_up(self) -> None:
        """Close the terminal, as a closed window does."""
        self._end_reading()
        os.close(self._slave)
        os.close(self._master)
        self._slave = self._master = -1

    def close(self) -> None:
        """End the program if it still runs."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            try:
                self.wait_for_end()
            except AssertionError:
                os.kill(self.pid, signal.SIGKILL)
                self.wait_for_end()
        self._end_reading()
        for fd in (self._slave, self._master):
            if fd >= 0:
                os.close(fd)


def until(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until the condition holds; return whether it did in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)  # Real processes: there is nothing else to wait on.
    return True


def family(pid: int) -> list[psutil.Process]:
    """Return the process and everything below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def all_gone(processes: Sequence[psutil.Process], within_s: float = 5.0) -> bool:
    """Wait until none of the processes runs any more; what nobody has reaped yet counts as gone."""

    def gone() -> bool:
        return not [process for process in processes if _runs(process)]

    return until(gone, within_s)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
