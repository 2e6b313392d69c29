"""Source → model → frames at a bounded rate; actions the other way.

Theory of operation. Everything happens on one loop: the source calls `_take` for each input, which the model folds in
at once. A frame is built twice a second, on the clock's beat: gauges change all the time, and faster than that nobody
reads them. What happened, or what somebody asked for, is drawn at once, at most `FRAMES_PER_S` times a second. `EngineThread` gives that loop a thread of its own, so that a stalled terminal never holds up collection;
whoever draws pulls the newest frame and never queues.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from wsmon.agent.cancellation import end
from wsmon.commands import Action, Outcome
from wsmon.errors import WsmonError
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import (
    Captioned,
    ClusterEnded,
    HttpSample,
    Input,
    Marked,
    PeerBeat,
    PeerState,
    ProcessSample,
    RedisSeen,
    RegistrySeen,
)
from wsmon.operators.audited import AuditedOperator
from wsmon.operators.refuse import RefusingOperator
from wsmon.ports import Operator, Source
from wsmon.recording.recorder import Recorder
from wsmon.replaying import PlayerThread
from wsmon.views.build import build_frame
from wsmon.views.frame import Frame, Looking

log = logging.getLogger(__name__)

FRAMES_PER_S = 10
BEAT_S = 0.5
GAUGES = (PeerState, PeerBeat, ProcessSample, HttpSample, RegistrySeen, RedisSeen)
"""Inputs that can wait for the next beat."""
STOP_WITHIN_S = 2.0


class Engine:
    """Runs one source into one model and draws frames from it."""

    def __init__(
        self,
        source: Source,
        operator: Operator,
        model: ClusterModel,
        clock: Callable[[], float],
        *,
        on_frame: Callable[[Frame], None] = lambda _: None,
        armed: bool = True,
        recorder: Recorder | None = None,
    ) -> None:
        """`clock` returns Unix seconds; `on_frame` is called on the loop with every new frame and must not block.

        `recorder` is told all that the model is told; it is started and stopped here.
        As long as it is not `armed`, every action is refused here and nothing of it leaves this process.
        """
        self.model = model
        self.recorder = recorder
        self.armed = armed
        self._locked = AuditedOperator(RefusingOperator("this console is locked; ! arms it"), self._take, clock)
        self._looking = Looking()
        self._source = source
        self._clock = clock
        self._on_frame = on_frame
        self._operator = AuditedOperator(operator, self._take, clock)
        self._urgent = asyncio.Event()
        self._frame = build_frame(model, clock())

    @property
    def frame(self) -> Frame:
        """The newest frame."""
        return self._frame

    async def run(self) -> None:
        """Collect and draw until cancelled. Our own failures end in the picture, not in silence."""
        if self.recorder is not None:
            self.recorder.start()
        drawing = asyncio.create_task(self._draw(), name="draw")
        try:
            await self._source.run(self._take)
            await drawing
        except* WsmonError as errors:
            self._end(_first(errors).message)
        except* Exception as errors:
            log.exception("collection failed")
            self._end(f"wsmon's collector failed: {_first(errors)!r}")
        finally:
            await end(drawing)
            if self.recorder is not None:
                self.recorder.stop()

    def mark(self, text: str) -> None:
        """Put a note on this moment."""
        self._take(Marked(text=text, at=self._clock()))

    def caption(self, words: str) -> None:
        """Show what is to be seen now, above everything else; an empty text takes it away."""
        self._take(Captioned(text=words, at=self._clock()))

    async def perform(self, action: Action) -> Outcome:
        """Carry an action out, audited."""
        return await (self._operator if self.armed else self._locked).perform(action)

    def look_at(self, looking: Looking) -> None:
        """Draw what is looked at, from now on."""
        if looking != self._looking:
            self._looking = looking
            self._urgent.set()

    def _take(self, told: Input) -> None:
        self.model.apply(told)
        if self.recorder is not None:
            self.recorder.take(told)
        if not isinstance(told, GAUGES):
            self._urgent.set()

    def _end(self, reason: str) -> None:
        self._take(ClusterEnded(reason=reason, at=self._clock()))
        self._redraw()

    def _redraw(self) -> None:
        frame = build_frame(self.model, self._clock(), self._looking)
        if self.recorder is not None:
            frame = replace(frame, recording=self.recorder.words)
        self._frame = frame
        self._on_frame(frame)

    async def _draw(self) -> None:
        while True:
            self._urgent.clear()
            self._redraw()
            await asyncio.sleep(1 / FRAMES_PER_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S - self._clock() % BEAT_S):
                    await self._urgent.wait()


def _first(errors: BaseExceptionGroup[BaseException]) -> WsmonError:
    """Return the first error inside the group, however deep; others are named in the log."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, WsmonError) else WsmonError(f"{type(error).__name__}: {error}")


class EngineThread:
    """An engine in a thread of its own: what a user interface draws from."""

    def __init__(
        self, make: Callable[[], Engine], *, companion: Callable[[Engine], Awaitable[None]] | None = None
    ) -> None:
        """`make` is called inside the thread, with its loop running; `companion` runs beside the engine."""
        self._make = make
        self._companion = companion
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._main, name="wsmon-engine", daemon=True)
        self._actions: set[asyncio.Task[Outcome]] = set()

    def start(self) -> None:
        """Start the thread and wait until there is a first frame."""
        self._thread.start()
        self._up.wait()

    @property
    def frame(self) -> Frame:
        """The newest frame."""
        assert self._engine is not None, "start first"
        return self._engine.frame

    def look_at(self, looking: Looking) -> None:
        """Say from any thread what is looked at."""
        if self._loop is not None and self._thread.is_alive() and self._engine is not None:
            self._loop.call_soon_threadsafe(self._engine.look_at, looking)

    def arm(self, *, on: bool) -> None:
        """Let actions through, or refuse all of them; from any thread."""
        assert self._engine is not None, "start first"
        self._engine.armed = on

    def perform(self, action: Action) -> None:
        """Ask for an action from any thread; the outcome shows up in the frames."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._begin, action)

    def mark(self, text: str) -> None:
        """Put a note on this moment, from any thread."""
        if self._loop is not None and self._thread.is_alive() and self._engine is not None:
            self._loop.call_soon_threadsafe(self._engine.mark, text)

    def ring(self) -> PlayerThread | None:
        """Return the last minutes to go back to, held at their end; None if nothing is kept."""
        assert self._engine is not None, "start first"
        recorder = self._engine.recorder
        recording = None if recorder is None else recorder.ring()
        if recording is None:
            return None
        return PlayerThread(recording, twin=True, first=self.frame, at=recording.end_at, hold=True)

    def keep(self, path: Path) -> None:
        """Write the last minutes to a new file.

        Raises:
            WsmonError: nothing is kept, or it cannot be written.

        """
        assert self._engine is not None, "start first"
        if self._engine.recorder is None:
            raise WsmonError("nothing of the last minutes is kept here")
        self._engine.recorder.keep(path)

    def stop(self) -> None:
        """End collection and wait a little for it."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_WITHIN_S)

    def _begin(self, action: Action) -> None:
        assert self._engine is not None
        task = asyncio.get_running_loop().create_task(self._engine.perform(action), name=f"action-{action.op}")
        self._actions.add(task)
        task.add_done_callback(self._actions.discard)

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        try:
            self._loop = asyncio.get_running_loop()
            self._engine = self._make()
        finally:
            self._up.set()
        running = [asyncio.ensure_future(self._engine.run())]
        if self._companion is not None:
            running.append(asyncio.ensure_future(self._companion(self._engine)))
        await self._stopping.wait()
        for task in reversed(running):
            await end(task)
