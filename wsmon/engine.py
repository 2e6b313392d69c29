"""Source → model → frames at a bounded rate; actions the other way.

Theory of operation. Everything happens on one loop: the source calls `_take` for each input, which the model folds in
at once. A frame is built on the clock's beat: gauges change all the time, and faster than that nobody reads them. The
beat is a second as long as all is well, and half a second as long as it is not: then counts and countdowns are read.
What happened, or what somebody asked for, is drawn at once, at most `FRAMES_PER_S` times a second. Whoever draws pulls
the newest frame and never queues; `wsmon.engine_thread` gives the loop a thread of its own.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

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
    VerdictsSeen,
)
from wsmon.operators.audited import AuditedOperator
from wsmon.operators.refuse import LockedOperator
from wsmon.ports import Operator, Source
from wsmon.protocol.beat import until_beat
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import NodeState
from wsmon.recording.recorder import Recorder
from wsmon.views.build import build_frame
from wsmon.views.frame import Frame, Health, Looking

log = logging.getLogger(__name__)

FRAMES_PER_S = 10
BEAT_S = 0.5
CALM_BEAT_S = 1.0
BEAT_AFTER_S = 0.1
"""In calm, peers tell their states with the clock's seconds: what is drawn then is fresh."""
GAUGES = (PeerState, PeerBeat, ProcessSample, HttpSample, RegistrySeen, RedisSeen)
"""Inputs that can wait for the next beat."""


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
        on_calm: Callable[[bool], None] = lambda _: None,
        armed: bool = True,
        recorder: Recorder | None = None,
    ) -> None:
        """`clock` returns Unix seconds; `on_frame` is called on the loop with every new frame and must not block.

        `on_calm` is told when calm begins, in which nothing is under way in the cluster, and when it ends.
        `recorder` is told all that the model is told; it is started and stopped here.
        As long as it is not `armed`, every action is refused here and nothing of it leaves this process.
        """
        self.model = model
        self.recorder = recorder
        self.armed = armed
        self._looking = Looking()
        self._source = source
        self._clock = clock
        self.on_frame = on_frame
        locked = LockedOperator(operator, lambda: self.armed, "this console is locked; ! arms it")
        self._operator = AuditedOperator(locked, self._take, clock)
        self._urgent = asyncio.Event()
        self._verdicts: tuple[Verdict, ...] = ()
        self._undrawable = False
        self._on_calm = on_calm
        self._calm = False
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
        return await self._operator.perform(action)

    def look_at(self, looking: Looking) -> None:
        """Draw what is looked at, from now on."""
        if looking != self._looking:
            self._looking = looking
            self._urgent.set()

    def _take(self, told: Input) -> None:
        self.model.apply(told)
        if self.recorder is not None:
            self.recorder.take(told)
        if self._is_news(told):
            self._urgent.set()

    def _is_news(self, told: Input) -> bool:
        if isinstance(told, VerdictsSeen):
            # Read every second, and nearly always the same: that is no reason for a third picture in each second.
            known, self._verdicts = self._verdicts, told.verdicts
            return told.verdicts != known
        return not isinstance(told, GAUGES)

    def _end(self, reason: str) -> None:
        self._take(ClusterEnded(reason=reason, at=self._clock()))
        self._redraw()

    def _redraw(self) -> None:
        try:
            frame = build_frame(self.model, self._clock(), self._looking)
        except Exception as error:
            if not self._undrawable:  # It is tried again with every picture; that is no reason to fill a log.
                log.exception("a picture cannot be built")
            self._undrawable = True
            frame = replace(self._frame, ended=f"wsmon cannot draw what it knows: {error!r}")
        else:
            self._undrawable = False
        if self.recorder is not None:
            frame = replace(frame, recording=self.recorder.words)
        self._frame = frame
        self.on_frame(frame)

    async def _draw(self) -> None:
        while True:
            self._urgent.clear()
            self._redraw()
            await asyncio.sleep(1 / FRAMES_PER_S)
            calm = _is_calm(self._frame)
            if calm is not self._calm:
                self._calm = calm
                self._on_calm(calm)
            beat_s = CALM_BEAT_S if calm else BEAT_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until_beat(self._clock() - BEAT_AFTER_S, beat_s, least=0.0)):
                    await self._urgent.wait()


def _is_calm(frame: Frame) -> bool:
    """Return whether nothing is under way."""
    return (
        frame.header.health is Health.HEALTHY
        and not frame.header.notices
        and not frame.timeline.away
        and all(row.state is NodeState.ONLINE for row in frame.nodes)
    )


def _first(errors: BaseExceptionGroup[BaseException]) -> WsmonError:
    """Return the first error inside the group, however deep; others are named in the log."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, WsmonError) else WsmonError(f"{type(error).__name__}: {error}")
