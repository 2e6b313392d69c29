"""Replays a recording: a model that goes to any moment, and the thread that plays it to a user interface.

Theory of operation. `Replay` feeds a recording's inputs to a model, in their order, up to the moment that is looked at;
the recorded clock is the time of the newest input. Going back means to take a copy of the model from before that moment
and to go on from there. Such copies are made once, at the begin of every segment, by a scout that reads ahead to the
end; it also finds the incidents. There are at most `COPIES_MAX`: in a long recording they are further apart.

`PlayerThread` does that in a thread, as fast as somebody wishes to see it, and hands out frames.
"""

import logging
import math
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from wsmon.commands import Action
from wsmon.model.cluster import MARKERS_KEPT, ClusterModel
from wsmon.model.incidents import Incidents
from wsmon.model.inputs import Marked
from wsmon.operators.audited import describe
from wsmon.recording.copying import copied
from wsmon.recording.recording import Read, Recording, moment_of
from wsmon.views.build import build_frame
from wsmon.views.frame import ActionRow, Frame, Looking, Playback

log = logging.getLogger(__name__)

COPIES_MAX: Final = 128
FRAME_S: Final = 0.5
"""Distance of two pictures."""
DRAW_EVERY_S: Final = 0.25
HURRY_EVERY_S: Final = 0.1
"""The same for a replay that goes faster than `HURRIES`."""
HURRIES: Final = 2.0
SLOWEST, FASTEST = 0.1, 100.0
SLICE: Final = 500
"""Inputs that the scout reads without looking up."""
MARKS_MAX: Final = 2_000
MARKS_EVERY_S: Final = 2.0
"""How often the marks found so far are told, while the recording is looked through."""
REFUSED: Final = "this is a recording: nothing can be done to it"
STOP_WITHIN_S: Final = 2.0


@dataclass(slots=True)
class _Stand:
    """A model at a moment, and the place in the recording from which it goes on."""

    model: ClusterModel
    now: float
    segment: int


class Replay:
    """A recording and a model of it at `at`. Not thread-safe; does nothing by itself."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.at = recording.start_at
        self._head = _Walk(recording, _fresh(recording))
        self._scout = _Walk(recording, _fresh(recording))
        self._incidents = Incidents()
        self._markers: deque[float] = deque(maxlen=MARKERS_KEPT)
        self._copies: list[_Stand] = []
        self._copy_every = 1
        self._marks: tuple[float, ...] | None = None
        self.seek(recording.start_at)

    @property
    def model(self) -> ClusterModel:
        """The model at `at`. It is another object after a `seek`; do not change it."""
        return self._head.model

    @property
    def marks(self) -> tuple[float, ...]:
        """The moments of incidents and markers, oldest first, as far as the recording has been looked through."""
        if self._marks is None:
            found = {*self._markers, *(incident.started_at for incident in self._incidents.all())}
            start, end = self.recording.start_at, self.recording.end_at
            self._marks = tuple(sorted(at for at in found if start <= at <= end)[-MARKS_MAX:])
        return self._marks

    @property
    def looked_through(self) -> bool:
        """Whether the scout has reached the end."""
        return self._scout.over

    @property
    def looked_to(self) -> float:
        """Up to which moment all marks are known; infinite at the end."""
        return math.inf if self._scout.over else self._scout.now

    def look_ahead(self, most: int = SLICE) -> bool:
        """Read on, at most so many inputs; return whether there is more."""
        scout = self._scout
        for _ in range(most):
            if scout.over:
                return False
            if scout.enters_segment:
                self._copy(scout)
            read = scout.advance()
            assert read is not None
            self._incidents.apply(read.item)
            self._marks = None
            if isinstance(read.item, Marked):
                self._markers.append(read.item.at)
        return True

    def seek(self, at: float) -> None:
        """Go to a moment; beyond an end means the end."""
        recording = self.recording
        self.at = at = min(max(at, recording.start_at), recording.end_at)
        if at < self._head.now or self._best(at) > self._head.segment:
            while self._scout.now <= at and self.look_ahead():
                pass
            place = self._best(at)
            if place >= 0:
                stand = next(stand for stand in self._copies if stand.segment == place)
                self._head = _Walk(recording, _Stand(copied(stand.model), stand.now, stand.segment))
            else:
                self._head = _Walk(recording, _fresh(recording))
        self._head.run_to(at)

    def to_the_end(self) -> None:
        """Apply everything."""
        self.seek(self.recording.end_at)
        while self._head.advance() is not None:
            pass

    def frame(self, looking: Looking) -> Frame:
        """Return the picture at this moment."""
        return build_frame(self.model, self.at, looking)

    def _best(self, at: float) -> int:
        """Return the segment of the last copy that is not after `at`; -1 if there is none."""
        place = bisect_right(self._copies, at, key=lambda stand: stand.now)
        return self._copies[place - 1].segment if place else -1

    def _copy(self, scout: "_Walk") -> None:
        if scout.segment % self._copy_every:
            return
        self._copies.append(_Stand(copied(scout.model), scout.now, scout.segment))
        if len(self._copies) > COPIES_MAX:
            self._copy_every *= 2
            self._copies = [stand for stand in self._copies if stand.segment % self._copy_every == 0]


class _Walk:
    """Goes through a recording with a model."""

    def __init__(self, recording: Recording, stand: _Stand) -> None:
        self._recording = recording
        self.model = stand.model
        self.now = stand.now
        self.segment = stand.segment
        """The segment that is being read, or is to be read next."""
        self._reads: Iterator[Read] | None = None
        self._next: Read | None = None
        self.enters_segment = False
        """Whether the next input is the first of its segment; known after `over`."""

    @property
    def over(self) -> bool:
        """Whether the end is reached."""
        return self._peek() is None

    def advance(self) -> Read | None:
        """Apply the next input and return it; None at the end."""
        read = self._peek()
        if read is not None:
            self._next, self.enters_segment = None, False
            if not read.preface:
                self.now = moment_of(read.item, self.now)
            self.model.apply(read.item)
        return read

    def run_to(self, at: float) -> None:
        """Apply everything up to this moment."""
        while True:
            read = self._peek()
            if read is None or (not read.preface and moment_of(read.item, self.now) > at):
                return
            self.advance()

    def _peek(self) -> Read | None:
        """Return the next input without applying it."""
        segments = self._recording.segments
        while self._next is None and self.segment < len(segments):
            if self._reads is None:
                self._reads = self._recording.read(segments[self.segment], whole=False)
                self.enters_segment = True
            self._next = next(self._reads, None)
            if self._next is None:
                self._reads = None
                self.segment += 1
        return self._next


def _fresh(recording: Recording) -> _Stand:
    return _Stand(ClusterModel(recording.cluster, embedded=recording.embedded), 0.0, 0)


class PlayerThread:
    """Plays a recording in a thread of its own: what a user interface draws a replay from."""

    def __init__(
        self,
        recording: Recording,
        *,
        twin: bool = False,
        first: Frame | None = None,
        at: float | None = None,
        speed: float = 1.0,
        hold: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to play from `at`, or from the beginning. `twin`: live goes on behind it.

        `first` is shown until there is a picture of the recording: once something is asked for, or all has been looked
        through.
        """
        self._recording = recording
        self._twin = twin
        self._clock = clock
        self._at = self._bounded(recording.start_at if at is None else at)
        self._speed = min(max(speed, SLOWEST), FASTEST)
        self._held = hold
        self._looking = Looking()
        self._refused: deque[ActionRow] = deque(maxlen=20)
        self._failure = ""
        self._marks: tuple[float, ...] = ()
        self._looked_to = 0.0
        self._moved_at = clock()
        # With a picture to begin with, reading ahead goes first: that is the way to a mark, and what it copies on the
        # way makes the first picture cheap.
        self._changed = first is None
        self._closing = False
        self._came = threading.Condition()
        self._replay: Replay | None = None
        if first is None:
            self._replay = Replay(recording)
            first = self._replay.frame(self._looking)
        self._frame = replace(first, playback=self._playback())
        self._thread = threading.Thread(target=self._run, name="wsmon-replay", daemon=True)
        self._thread.start()

    @property
    def frame(self) -> Frame:
        """The newest picture."""
        return self._frame

    def look_at(self, looking: Looking) -> None:
        """Draw what is looked at, from now on."""
        with self._came:
            if looking != self._looking:
                self._looking = looking
                self._wake()

    def perform(self, action: Action) -> None:
        """Refuse."""
        with self._came:
            # Keys of the recording's own actions are far below.
            key = 10**9 + (self._refused[-1].key % 10**9 + 1 if self._refused else 0)
            self._refused.append(ActionRow(key=key, at=self._at, text=describe(action), done=True, message=REFUSED))
            self._wake()

    def seek(self, at: float) -> None:
        """Go to a moment; beyond an end means the end."""
        with self._came:
            self._go(at)

    def step(self, frames: int) -> None:
        """Hold, and go so many pictures on; back if negative."""
        with self._came:
            self._pass_time()
            self._held = True
            self._go(self._at + frames * FRAME_S)

    def speed(self, factor: float) -> None:
        """Play so many times as fast as it happened, within `SLOWEST` and `FASTEST`."""
        with self._came:
            self._pass_time()
            self._speed = min(max(factor, SLOWEST), FASTEST)
            self._wake()

    def hold(self, *, on: bool) -> None:
        """Stand still, or go on."""
        with self._came:
            self._pass_time()
            self._held = on
            self._wake()

    def close(self) -> None:
        """End the thread. Nobody waits for that of a twin: live goes on at once."""
        with self._came:
            self._closing = True
            self._came.notify()
        self._thread.join(0 if self._twin else STOP_WITHIN_S)

    # With the lock held.

    @property
    def _pace(self) -> float:
        return HURRY_EVERY_S if self._speed > HURRIES else DRAW_EVERY_S

    def _bounded(self, at: float) -> float:
        return min(max(at, self._recording.start_at), self._recording.end_at)

    def _go(self, at: float) -> None:
        self._at, self._moved_at = self._bounded(at), self._clock()
        self._wake()

    def _wake(self) -> None:
        self._changed = True
        self._came.notify()

    def _pass_time(self) -> None:
        """Let the replay go on as far as time has passed. It holds at its end."""
        now = self._clock()
        if not self._held:
            before, self._at = self._at, self._bounded(self._at + (now - self._moved_at) * self._speed)
            self._held = self._at >= self._recording.end_at
            self._changed |= self._at != before or self._held
        self._moved_at = now

    def _playback(self) -> Playback:
        recording = self._recording
        return Playback(
            at=self._at,
            start_at=recording.start_at,
            end_at=recording.end_at,
            speed=self._speed,
            held=self._held,
            twin=self._twin,
            note=self._failure or recording.damage,
            marks=self._marks,
            looked_to=self._looked_to,
        )

    # In the thread.

    def _run(self) -> None:
        try:
            if self._replay is None:
                self._replay = Replay(self._recording)
            self._play(self._replay)
        except Exception as error:
            log.exception("the replay failed")
            with self._came:
                self._failure, self._held = f"wsmon cannot replay it: {error!r}", True
                self._looked_to = math.inf  # Nobody finds more.
                self._frame = replace(self._frame, playback=self._playback())

    def _play(self, replay: Replay) -> None:
        reading, told_marks_at = True, self._clock()
        while True:
            with self._came:
                if not self._changed and not self._closing and not reading:
                    self._came.wait(None if self._held else self._pace)
                if self._closing:
                    return
                due = self._changed or not reading or self._clock() - self._moved_at >= self._pace
                if due:
                    self._pass_time()
                changed, self._changed = self._changed, False
                at, looking = self._at, self._looking
            if changed:
                self._draw(replay, at, looking)
            if reading:
                reading = replay.look_ahead()
                if not reading or self._clock() - told_marks_at >= MARKS_EVERY_S:
                    told_marks_at = self._clock()
                    with self._came:
                        self._marks, self._looked_to = replay.marks, replay.looked_to
                        self._changed = True

    def _draw(self, replay: Replay, at: float, looking: Looking) -> None:
        replay.seek(at)
        frame = replay.frame(looking)
        with self._came:
            if self._changed and self._at != at:
                return  # It has gone elsewhere meanwhile; that is drawn next.
            self._frame = replace(frame, playback=self._playback(), actions=(*frame.actions, *self._refused))
