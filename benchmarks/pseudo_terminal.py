"""A pseudo-terminal at the end of a link of any speed, and what it recorded: bytes, times, screens, CPU.

Output is recorded with its times and drawn only afterwards, so that drawing costs nothing while it is measured.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import psutil
import pyte

_QUESTION = re.compile(rb"\x1b\[\?(\d+)\$p")
_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[(?:\?\d+\$p|[<>]\d*u)")
READ = 65_536
SWALLOWED = 16_384
"""What a slow link takes ahead of its rate, as the sockets of a remote shell do."""
GAP_S = 0.005
"""A pause as long as this ends a burst."""


@dataclass(slots=True)
class Recording:
    """What came out of one run."""

    started: float = 0.0
    """Monotonic seconds."""
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    """When each piece was on the screen, in monotonic seconds."""
    keys: list[tuple[float, str]] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds of the process at each mark."""
    rss: int = 0
    quit_s: float | None = None
    status: int | None = None
    restored: bool = False

    def between(self, first: float, last: float) -> int:
        """Return how many bytes came in between."""
        return sum(len(piece) for at, piece in self.chunks if first <= at < last)


class Session:
    """Runs one program in a pseudo-terminal. `rate`: bytes a second that the link carries; 0 is as fast as it can."""

    def __init__(self, command: Sequence[str], *, columns: int = 120, rows: int = 36, rate: int = 0) -> None:
        self.size = (columns, rows)
        self._rate = rate
        self.record = Recording()
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._before = termios.tcgetattr(slave)
        environ = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM_PROGRAM")}
        environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.record.started = time.monotonic()
        self._process = subprocess.Popen(
            list(command), stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # One call of the system.
        )  # fmt: skip
        self._master, self._slave = master, slave
        self.pid = self._process.pid
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Deliver what the program writes, at the rate of the link, and answer its questions."""
        waiting = bytearray()
        due = time.monotonic()
        open_ = True
        while open_ or waiting:
            now = time.monotonic()
            room = not self._rate or len(waiting) < SWALLOWED
            pause = max(0.0, due - now) if waiting else 0.2
            if room and open_:
                try:
                    if select.select([self._master], [], [], pause)[0]:
                        waiting += os.read(self._master, READ if not self._rate else 1_024)
                except (OSError, ValueError):
                    open_ = False
            else:
                self._ended.wait(pause)
            now = time.monotonic()
            if self._ended.is_set() and not room:
                return
            if waiting and now >= due:
                # A slow link delivers in small packets.
                size = len(waiting) if not self._rate else min(len(waiting), max(16, self._rate // 50))
                self._arrived(time.monotonic(), bytes(waiting[:size]))
                del waiting[:size]
                if self._rate:
                    due = max(due, now - 0.02) + size / self._rate
            if self._ended.is_set() and not open_:
                return

    def _arrived(self, now: float, piece: bytes) -> None:
        before = b"".join(data for _, data in self.record.chunks[-2:])[-10:]
        self.record.chunks.append((now, piece))
        for match in _QUESTION.finditer(before + piece):
            if match.end() > len(before):
                with contextlib.suppress(OSError):
                    os.write(self._master, b"\x1b[?%s;2$y" % match[1])

    def type(self, keys: str) -> None:
        """Press keys."""
        self.record.keys.append((time.monotonic(), keys))
        os.write(self._master, keys.encode())

    def rest(self, seconds: float) -> None:
        """Let it run, at most until it ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            time.sleep(0.02)

    def mark(self, name: str) -> None:
        """Note time and CPU."""
        self.record.marks[name] = time.monotonic()
        self.record.cpu[name] = time.clock_gettime((~self.pid << 3) | 2)

    def wait_for(self, pattern: bytes, within_s: float) -> float | None:
        """Wait until the output holds a pattern; return when it came, in seconds since the start."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            output = b""
            for at, piece in list(self.record.chunks):
                output += piece
                if re.search(pattern, output):
                    return at - self.record.started
            time.sleep(0.01)
        return None

    def quit(self, keys: str = "q", within_s: float = 30.0) -> None:
        """Ask it to end, and note how long that takes; nothing is noted if it had ended by itself."""
        with contextlib.suppress(psutil.Error):
            self.record.rss = psutil.Process(self.pid).memory_info().rss
        over = self._process.poll() is not None
        asked = time.monotonic()
        self.type(keys)
        try:
            self.record.status = self._process.wait(within_s)
            self.record.quit_s = None if over else time.monotonic() - asked
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self.record.restored = termios.tcgetattr(self._slave)[:4] == self._before[:4]
        time.sleep(0.2)
        self._ended.set()
        os.close(self._slave)
        self._reader.join(5)
        os.close(self._master)
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)

    # Afterwards.

    def screens(self) -> Iterator[tuple[float, pyte.Screen]]:
        """Draw what was recorded, burst by burst."""
        screen = pyte.Screen(*self.size)
        stream = pyte.ByteStream(screen)
        chunks = self.record.chunks
        for number, (at, piece) in enumerate(chunks):
            stream.feed(_UNKNOWN_TO_PYTE.sub(b"", piece))
            if number + 1 == len(chunks) or chunks[number + 1][0] - at >= GAP_S or self._rate:
                yield at, screen

    def ideal(self, first: float, last: float) -> int:
        """Return how many bytes the cheapest updates of the cells that changed in between would have had."""
        price = Price(*self.size)
        total = 0
        for at, screen in self.screens():
            cost = price.frame(screen)
            if first <= at < last:
                total += cost
        return total


class Price:
    """What a frame costs at least: moving the cursor, changing attributes, writing; blank ends of lines erased."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._shown: list[list[Any]] = [[None] * columns for _ in range(rows)]
        self._style: tuple[Any, ...] = ("default", "default", *[False] * 6)

    def frame(self, screen: pyte.Screen) -> int:
        """Return the bytes from the last frame to this one."""
        total = 0
        for y in sorted(row for row in screen.dirty if row < len(self._shown)):
            line = screen.buffer[y]
            new = [_visible(line[x]) for x in range(self._columns)]
            total += self._line(y, self._shown[y], new)
            self._shown[y] = new
        screen.dirty.clear()
        return total

    def _line(self, y: int, old: list[Any], new: list[Any]) -> int:
        total, at = 0, -1
        end = self._columns
        while end and new[end - 1] == new[-1] and new[-1].data == " " and not any(_style(new[-1])[2:]):
            end -= 1
        for x, (before, cell) in enumerate(zip(old, new, strict=True)):
            if before == cell:
                continue
            if at < 0:
                total += len(f"\x1b[{y + 1};{x + 1}H")
            elif x > at:
                skipped = new[at:x]
                jump = 3 if x - at == 1 else len(f"\x1b[{x - at}C")
                same = all(_style(other) == self._style for other in skipped)
                total += min(jump, sum(len(other.data.encode()) for other in skipped)) if same else jump
            style = _style(cell)
            if cell.data == " " and style[1] == self._style[1] and not any(self._style[5:]):
                style = self._style
            total += _change(self._style, style)
            self._style = style
            if x >= end:
                return total + min(3, sum(1 for a, b in zip(old[x:], new[x:], strict=True) if a != b))
            total += len(cell.data.encode())
            at = x + 1
        return total


@lru_cache(65_536)
def _visible(cell: Any) -> Any:
    """Return the cell without what cannot be seen on it."""
    if cell.data == " " and not (cell.reverse or cell.underscore or cell.strikethrough):
        return pyte.screens.Char(" ", bg=cell.bg)
    return cell


def _style(cell: Any) -> tuple[Any, ...]:
    return (
        cell.fg, cell.bg, cell.bold, cell.italics, cell.blink, cell.underscore, cell.reverse, cell.strikethrough,
    )  # fmt: skip


@lru_cache(65_536)
def _change(old: tuple[Any, ...], new: tuple[Any, ...]) -> int:
    """Return the length of the order that turns one style into the other."""
    if old == new:
        return 0
    parts = [_color(new[place]) for place in (0, 1) if old[place] != new[place]]
    parts += [1 if new[place] else 2 for place in range(2, 8) if old[place] != new[place]]
    return 3 + sum(parts) + len(parts) - 1


def _color(name: str) -> int:
    if re.fullmatch("[0-9a-f]{6}", name):
        return len("38;2;" + ";".join(str(int(name[place : place + 2], 16)) for place in (0, 2, 4)))
    return 2


def text_of(screen: pyte.Screen) -> str:
    """Return what a screen shows."""
    return "\n".join(line.rstrip() for line in screen.display)


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def python(*words: str) -> list[str]:
    """Return a command that runs one of our modules."""
    return [sys.executable, "-m", *words]


def within(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
