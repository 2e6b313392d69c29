"""The terminal below Textual: one that may stall or vanish without taking the program with it.

Theory of operation. Textual hands finished output to a thread that writes it. Stock, that thread dies when the terminal
is gone, and whoever draws then waits for it for ever; and a terminal that takes nothing (a stalled SSH link) stops the
loop after 30 writes, keys and signals included. Here the thread writes to an `Outlet`, which never raises and can be
told to give up; output beyond a full queue is dropped and made good by one complete repaint (`behind`); and `busy` tells
who draws to wait until the last frame is out. So the loop never waits for the terminal, and can always be ended.
"""

import os
import queue
import select
import sys
import threading
import time
from contextlib import suppress
from io import TextIOWrapper
from typing import cast

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

PATIENCE_S = 0.2
"""How long the end of the program waits for a terminal to take the last few bytes."""
CHUNK = 256
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL
_CANCEL = "\x18"
"""Ends an escape sequence that was cut in the middle."""


class Outlet:
    """Writes to a file descriptor; a vanished terminal is not an error, and what is superseded can be skipped."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._skip = threading.Event()
        self.gone = False
        """The descriptor takes nothing any more."""
        self.writing = False
        self.cut = False
        """Something was not written to its end."""

    def write(self, text: str) -> int:
        """Write everything, in pieces, each only when there is room for it."""
        self.writing = True
        left = memoryview(text.encode("utf-8", "replace"))
        try:
            while left and not self.gone and not self._skip.is_set():
                _, ready, _ = select.select([], [self._fd], [], 0.1)
                if ready:
                    left = left[os.write(self._fd, left[:CHUNK]) :]
        except OSError:
            self.gone = True
        finally:
            self.cut |= bool(left)
            self.writing = False
        return len(text)

    def skip(self, *, on: bool) -> None:
        """Begin or stop to throw away what is written, the piece under way included."""
        if on:
            self._skip.set()
        else:
            self._skip.clear()

    def flush(self) -> None:
        """Nothing is kept back."""

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether there is a terminal behind it."""
        return os.isatty(self._fd)


def _terminal() -> int:
    """Return the descriptor of the terminal: stderr as Textual has it, stdout if stderr goes into a file."""
    assert sys.__stderr__ is not None
    assert sys.__stdout__ is not None
    return (sys.__stderr__ if sys.__stderr__.isatty() else sys.__stdout__).fileno()


class TerminalDriver(LinuxDriver):
    """Textual's driver with output that cannot hang the program."""

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self.outlet = Outlet(_terminal())
        self._file = cast("TextIOWrapper", self.outlet)
        self.behind = False
        """Output was dropped: the screen needs a complete repaint once `busy` is over."""

    @property
    def _pending(self) -> "queue.Queue[str | None] | None":
        return None if self._writer_thread is None else self._writer_thread._queue  # noqa: SLF001

    @property
    def busy(self) -> bool:
        """Whether earlier output is still on its way."""
        pending = self._pending
        return self.outlet.writing or (pending is not None and not pending.empty())

    @property
    def gone(self) -> bool:
        """Whether the terminal has hung up."""
        if not self.outlet.gone:
            poll = select.poll()
            for fd in {self.fileno, self.outlet.fileno()}:
                poll.register(fd, 0)
            self.outlet.gone = any(state & _HUNG_UP for _, state in poll.poll(0))
        return self.outlet.gone

    def write(self, data: str) -> None:
        """Hand output to the writing thread, if there is room for it."""
        pending = self._pending
        if self.outlet.gone:
            return
        if pending is not None and pending.full():
            self.behind = True
            return
        super().write(data)

    def stop_application_mode(self) -> None:
        """Restore the terminal; what is still queued for the screen that goes away is thrown away."""
        if self.busy:
            self._discard()
            if self.outlet.cut:
                self.write(_CANCEL)
        super().stop_application_mode()

    def _discard(self) -> None:
        """Throw away what is queued, the write under way included."""
        pending = self._pending
        deadline = time.monotonic() + PATIENCE_S
        self.outlet.skip(on=True)
        while pending is not None and self.busy and time.monotonic() < deadline:
            with suppress(queue.Empty):
                pending.get(timeout=0.01)
        # A write that still hangs in the kernel hangs for good: nothing more can be done for this terminal.
        self.outlet.skip(on=self.busy)

    def close(self) -> None:
        """Wait a little for the last bytes; a terminal that takes none is left alone."""
        thread, pending = self._writer_thread, self._pending
        if thread is None or pending is None:
            return
        with suppress(queue.Full):
            pending.put_nowait(None)
            thread.join(PATIENCE_S)
