"""The terminal below Textual: one that may stall or vanish without taking the program with it.

Theory of operation. Textual hands finished output to a thread that writes it. Stock, that thread dies when the terminal
is gone, and whoever draws then waits for it for ever; and a terminal that takes nothing (a stalled SSH link) stops the
loop after 30 writes, keys and signals included. Here the thread writes to an `Outlet`, which never raises and can be
told to give up; output beyond a full queue is dropped and made good by one complete repaint (`behind`); and `busy` tells
who draws to wait until the last frame is out. So the loop never waits for the terminal, and can always be ended.
"""

import asyncio
import gc
import os
import queue
import re
import select
import signal
import sys
import termios
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from io import TextIOWrapper
from typing import Any, Final, cast

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import AppBlur, AppFocus, Key, MouseDown, MouseScrollDown, MouseScrollUp, Paste
from textual.message import Message
from textual.messages import TerminalSupportsSynchronizedOutput

PATIENCE_S = 0.2
"""How long the end of the program waits for a terminal to take the last few bytes."""
ENDED_BY_SIGNAL: Final = 128
QUESTION: Final = "\x1b[?2026$p"
"""Asks for the state of a mode (DECRQM); changes nothing, and every answer will do, "never heard of it" included."""
_ANSWER: Final = re.compile(r"\x1b\[\?2026;\d+\$y")
ANSWER_MAX: Final = 12
TICK_MS: Final = 50
TICKS: Final = 4
_PRINT_QUESTIONS: Final = frozenset({"linux", "dumb"})
AGAIN_S: Final = 0.1
_CLEAR_LINE: Final = "\r\x1b[K"
_SGR_RESET: Final = "\x1b[m"
CHUNK = 256
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL
_CANCEL = "\x18"
"""Ends an escape sequence that was cut in the middle."""


class Told(Enum):
    """What a terminal says besides keys."""

    ANSWERED = auto()
    """The question that `ask` gave has arrived there, and all that was sent before it."""
    FOCUSED = auto()
    BLURRED = auto()
    KEY = auto()
    """Somebody did something; what it was goes its usual way."""
    SYNCHRONIZES = auto()
    """It shows a frame at once if it is told where the frame begins and ends."""
    ENTERED = auto()
    """It is ours, from the start or again; what it shows is not known."""


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
    """Textual's driver with output that cannot hang the program, input that cannot spin, and an orderly way out."""

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self.outlet = Outlet(_terminal())
        self._file = cast("TextIOWrapper", self.outlet)
        self.behind = False
        """Output was dropped: the screen needs a complete repaint once `busy` is over."""
        self.tell: Callable[[Told], None] | None = None
        """Called from the loop with what the terminal says besides keys."""
        self._on = False
        self._raw: list[Any] | None = None
        self._owed = False
        self._heard = threading.Event()
        self._hears: asyncio.AbstractEventLoop | None = None
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._told_of_sync = False

    def ask(self) -> str:
        """Return the question whose answer `tell` will report; it has to be sent."""
        if not self._on:
            return ""  # Nobody is left to hear the answer.
        self._heard.clear()
        self._owed = True
        return QUESTION

    @property
    def knows_questions(self) -> bool:
        """Whether a question does no harm: there are terminals that print half of it."""
        return (
            self.input_tty
            and os.environ.get("TERM_PROGRAM", "") != "Apple_Terminal"
            and os.environ.get("TERM", "") not in _PRINT_QUESTIONS
        )

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return columns and rows, of the terminal itself: the environment's would hold for ever, whatever its window does."""
        try:
            columns, rows = os.get_terminal_size(self.outlet.fileno())
        except (OSError, ValueError):
            columns = rows = 0
        if columns and rows:
            return columns, rows
        told: tuple[int, int] = super()._get_terminal_size()
        return told

    def _sigtstp_application(self, *_: object) -> None:
        self._soon(super()._sigtstp_application)

    def _sigcont_application(self, *_: object) -> None:
        self._soon(super()._sigcont_application)

    def _soon(self, act: Callable[[], None]) -> None:
        """Do it on the loop. A signal comes in the midst of anything, also of a write that holds the queue's lock.

        What writes in there would wait for a lock that the interrupted code, its own thread, never gives back.
        """
        if self._hears is None:
            act()
            return
        with suppress(RuntimeError):  # The loop may have ended by now.
            self._hears.call_soon_threadsafe(act)

    def _request_terminal_sync_mode_support(self) -> None:
        """Ask nothing: whoever draws asks, and the same answer tells this, too."""

    def _query_in_band_window_resize(self) -> None:
        """Ask nothing: signals tell of a new size, and reports in pixels cost bytes on every move of the mouse."""

    def start_application_mode(self) -> None:
        """Take the terminal over; once more if it was ours already and somebody else had it in between."""
        self._hears = asyncio.get_running_loop()
        if self._on:
            self._reassert()
        else:
            # Whoever is asked to go before the first picture has to restore the terminal, too.
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._hears.add_signal_handler(
                    number, self._app.exit, ENDED_BY_SIGNAL + number, ENDED_BY_SIGNAL + number
                )
            if self.outlet.isatty():
                self.outlet.write(_CLEAR_LINE)  # The screen that comes back at the end shall not say that we start.
            super().start_application_mode()  # type: ignore[no-untyped-call]
            self._on = self._writer_thread is not None
            with suppress(termios.error):
                self._raw = termios.tcgetattr(self.fileno)
        self._say(Told.ENTERED)

    def _end_early(self, status: int) -> None:
        """End, as soon as the app can be ended: it forgets what it is told before it runs."""
        self._app.exit(status, status)
        if self._hears is not None and self._on:
            self._hears.call_later(AGAIN_S, self._end_early, status)

    def _reassert(self) -> None:
        """Set all modes again: we were stopped without a chance to leave them."""
        with suppress(termios.error):
            if self._raw is not None:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self._raw)
        self.write("\x1b[?1049h\x1b[?25l\x1b[?1004h\x1b[?7l")
        self._enable_mouse_support()
        self._enable_bracketed_paste()
        os.kill(os.getpid(), signal.SIGWINCH)

    def _say(self, what: "Told") -> None:
        """Report something from any thread."""
        loop, tell = self._hears, self.tell
        if loop is not None and tell is not None:
            with suppress(RuntimeError):  # The loop may have ended by now.
                loop.call_soon_threadsafe(tell, what)

    def process_message(self, message: Message) -> None:
        """Pass on what a person did; what the terminal says is reported apart."""
        match message:
            case AppFocus():
                self._say(Told.FOCUSED)
            case AppBlur():
                self._say(Told.BLURRED)
            case TerminalSupportsSynchronizedOutput():
                if self._told_of_sync:
                    return
                self._told_of_sync = True
                self._say(Told.SYNCHRONIZES)
            case Key() | MouseDown() | MouseScrollDown() | MouseScrollUp() | Paste():
                self._say(Told.KEY)
            case _:
                pass
        super().process_message(message)

    def run_input_thread(self) -> None:
        """Read keys and answers until told to end.

        Textual's own loop wakes up ten times a second, spins when the terminal is gone, and takes bytes that are no
        UTF-8 for a reason to crash.
        """
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        tail = ""
        turns = 0
        while not self.exit_event.is_set():
            # A lone escape character is a key once nothing has followed for a moment.
            ready = dict(poll.poll(TICK_MS if turns else None))
            turns = max(0, turns - 1)
            if ready.pop(self._wake[0], 0):
                with suppress(BlockingIOError):
                    os.read(self._wake[0], 64)
                continue
            if ready:
                try:
                    raw = os.read(self.fileno, 4_096)
                except OSError:
                    raw = b""
                if not raw:
                    self.outlet.gone = True
                    return
                turns = TICKS
                text = decode(raw)
                answers = _ANSWER.findall(tail + text)
                if answers:
                    self._owed = False
                    self._heard.set()
                    self._say(Told.ANSWERED)
                tail = "" if answers else (tail + text)[-ANSWER_MAX:]
                for message in parser.feed(text):
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)

    def disable_input(self) -> None:
        """Stop to read."""
        if self._owed and not self.outlet.gone:
            # An answer that came later would be typed into whatever reads the terminal next.
            self._owed = False
            self._heard.wait(PATIENCE_S)
        self.exit_event.set()
        with suppress(OSError):
            os.write(self._wake[1], b"x")
        if self._key_thread is not None:
            self._key_thread.join(1)
        self.exit_event.clear()
        # Sets the event itself, and flushes what nobody will read.
        super().disable_input()

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
        if not self._on:
            return
        self._on = False
        if self.busy:
            self._discard()
            if self.outlet.cut:
                self.write(_CANCEL)
        self.write(_SGR_RESET)
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
        if self._app._exit:  # noqa: SLF001
            # Looking for garbage among all that a dashboard consists of at its end takes Python half a second.
            gc.freeze()
        thread, pending = self._writer_thread, self._pending
        if thread is None or pending is None:
            return
        with suppress(queue.Full):
            pending.put_nowait(None)
            thread.join(PATIENCE_S)
