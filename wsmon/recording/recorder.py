"""The shell around a tape: two threads of its own, so that neither work nor a stalled disk holds up collection.

Theory of operation. `take` puts an input into a bounded queue and returns. One thread empties it into the tape, twice
a second, and with that keeps the ring. If there is a file, the chunks go into a second queue, bounded by bytes, from
which another thread writes. If the disk does not keep up, chunks are left out and counted, and as soon as there is room
again a new segment begins, so that what follows can be read without what is missing. A disk that fails or is full ends
the recording; the ring goes on.
"""

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wsmon.errors import WsmonError
from wsmon.model.inputs import Input
from wsmon.recording.chunks import Held
from wsmon.recording.files import create, write_all, write_whole
from wsmon.recording.recording import Recording
from wsmon.recording.tape import Tape

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5
"""How often what came in is written."""
QUEUE_MAX: Final = 50_000
"""Inputs that wait for the tape; the oldest go first."""
BACKLOG_MAX: Final = 4 * 2**20
"""Bytes that wait for the disk."""
STOP_WITHIN_S: Final = 1.0


class Recorder:
    """Keeps the last minutes, and writes everything to a file if there is one."""

    def __init__(
        self,
        tape: Tape,
        clock: Callable[[], float],
        *,
        path: Path | None = None,
        write: Callable[[int, bytes], None] = write_all,
    ) -> None:
        """Create the file at `path`. `clock` returns Unix seconds; `write` writes bytes to a descriptor.

        Raises:
            WsmonError: the file exists already, or cannot be created.

        """
        self._tape = tape
        self._clock = clock
        self._waiting: deque[Input] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._file = None if path is None else _File(create(path), path, write)
        self._thread = threading.Thread(target=self._run, name="wsmon-recorder", daemon=True)
        self._broken = False
        """Chunks were left out, and the next must begin a segment."""
        self._failed = False
        """An input could not be put on the tape; it is said once."""
        self._over = False
        self.dropped = 0
        """Inputs that did not get into the file, or not even into the ring."""

    def start(self) -> None:
        """Begin to record, unless it was stopped before."""
        with self._lock:
            if self._over:
                return  # The descriptor is closed, and may be another file's by now.
            if self._file is not None:
                self._file.put(self._tape.opening(self._clock()))
                self._file.start()
            self._thread.start()

    def take(self, item: Input) -> None:
        """Take an input; never waits."""
        if len(self._waiting) >= QUEUE_MAX:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(item)

    def stop(self) -> None:
        """Write what waits and end the file. A disk that does not move is not waited for long.

        A file in which nothing of a cluster would stand is taken away again. Whoever created a recorder stops it, also if
        it was never started; the second time nothing is done.
        """
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WITHIN_S)
        if self._file is None or self._thread.is_alive():
            return
        with self._lock:
            if self._over:
                return
            self._over = True
            self._move()
            bare = self._tape.bare or not self._file.began
            if not bare:
                self._file.put(self._tape.ending(self._clock(), reason="", dropped=self.dropped), always=True)
        self._file.stop()
        if bare:
            self._file.discard()

    @property
    def words(self) -> str:
        """Return what is being recorded, in a few words; empty without a file."""
        file = self._file
        if file is None:
            return ""
        if file.failure:
            return f"recording ended: {file.failure}"
        return f"rec, {self.dropped} facts left out" if self.dropped else "rec"

    def bundle(self) -> bytes:
        """Return the last minutes as a recording of their own, up to this very moment."""
        with self._lock:
            self._move()
            return self._tape.bundle(self._clock())

    def ring(self) -> Recording | None:
        """Return the last minutes; None before anything was told."""
        try:
            return Recording(Held(self.bundle()), what="the ring")
        except WsmonError:
            return None

    def keep(self, path: Path) -> None:
        """Write the last minutes to a new file.

        Raises:
            WsmonError: it exists already, or cannot be written.

        """
        write_whole(path, self.bundle())

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            with self._lock:
                self._move()

    def _move(self) -> None:
        """Put what waits on the tape, and hand the chunks to the file. Called with the lock held."""
        now = self._clock()
        file = self._file
        if file is not None and self._broken and file.has_room:
            self._broken = False
            self._tape.restart(now)
        taken = 0
        while self._waiting:
            item = self._waiting.popleft()
            try:
                self._tape.take(item)
            except Exception:
                # One that cannot be written must not end the recording of all others.
                if not self._failed:
                    log.exception("a fact cannot be recorded")
                self._failed = True
                self.dropped += 1
                self._tape.restart(now)  # What was half written is not gone on from.
            taken += 1
        chunks = self._tape.flush(now)
        if file is None or not chunks or file.failure:
            return
        if self._broken or not file.put(chunks):
            self._broken = True
            self.dropped += taken


class _File:
    """Writes to a descriptor in a thread of its own."""

    def __init__(self, fd: int, path: Path, write: Callable[[int, bytes], None]) -> None:
        self._fd = fd
        self._path = path
        self._id = _id(os.fstat(fd))
        self._write = write
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._came = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="wsmon-recording", daemon=True)
        self.failure = ""
        """Why nothing is written any more."""

    @property
    def has_room(self) -> bool:
        """Whether the disk has caught up."""
        return self._bytes <= BACKLOG_MAX // 2

    @property
    def began(self) -> bool:
        """Whether it was ever started."""
        return self._thread.ident is not None

    def start(self) -> None:
        self._thread.start()

    def put(self, data: bytes, *, always: bool = False) -> bool:
        """Have it written; return False if too much waits already. What is longer than all the room waits alone."""
        with self._came:
            if self._queue and not always and self._bytes + len(data) > BACKLOG_MAX:
                return False
            self._queue.append(data)
            self._bytes += len(data)
            self._came.notify()
        return True

    def stop(self) -> None:
        with self._came:
            self._over = True
            self._came.notify()
        if self._thread.is_alive():
            self._thread.join(STOP_WITHIN_S)

    def discard(self) -> None:
        """Take the file away, unless another has its name by now. Stop before."""
        if not self.began:
            os.close(self._fd)
        with contextlib.suppress(OSError):
            if _id(self._path.lstat()) == self._id:
                self._path.unlink()

    def _run(self) -> None:
        try:
            while True:
                with self._came:
                    self._came.wait_for(lambda: bool(self._queue) or self._over)
                    if not self._queue:
                        return
                    data = self._queue[0]
                self._write(self._fd, data)
                with self._came:
                    self._queue.popleft()
                    self._bytes -= len(data)
        except OSError as error:
            self.failure = f"{self._path.name}: {error.strerror or error}"
        finally:
            os.close(self._fd)


def _id(told: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from all others."""
    return told.st_dev, told.st_ino
