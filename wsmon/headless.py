"""wsmon without a terminal: plain lines, JSON lines, one look, one action. The same engine as the dashboard."""

import asyncio
import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, TextIO

from wsmon.agent.cancellation import end
from wsmon.commands import Action, Outcome
from wsmon.engine import Engine
from wsmon.errors import UnreachableError, WsmonError
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import (
    Happened,
    Input,
    PeerGarbage,
    PeerGone,
    PeerState,
    RedisSeen,
    RegistrySeen,
    VerdictsSeen,
)
from wsmon.ports import Operator, Source
from wsmon.protocol.codec import event_object
from wsmon.protocol.fields import print_object
from wsmon.protocol.frames import JsonObject
from wsmon.recording.recorder import Recorder
from wsmon.views.build import build_frame
from wsmon.views.events import event_row
from wsmon.views.frame import Frame
from wsmon.views.plain import plain_event_line, plain_status_line
from wsmon.views.status import frame_status

LOOK_WITHIN_S = 3.0
SUPERVISOR = "supervisor"


@dataclass(slots=True)
class Look:
    """Decides when one look at a cluster has seen everybody. Pure."""

    supervisor: bool
    """Whether a supervisor is expected; it stands in the descriptor, not in the registry alone."""
    redis: bool
    _wanted: set[str] | None = None
    _heard: set[str] = field(default_factory=set)
    _verdicts: bool = False
    _redis_away: bool = False

    def take(self, told: Input) -> bool:
        """Fold one input in; return whether the look is complete."""
        match told:
            case PeerState(id=name) | PeerGone(id=name) | PeerGarbage(id=name):
                self._heard.add(name)
            case RegistrySeen(entries=entries):
                self._wanted = {entry.id for entry in entries}
            case VerdictsSeen():
                self._verdicts = True
            case RedisSeen(state=state):
                self._redis_away = state == "away"
            case _:
                pass
        return self.complete

    @property
    def complete(self) -> bool:
        """Whether everybody who is known of has been heard or is known to be gone."""
        if self.supervisor and SUPERVISOR not in self._heard:
            return False
        if not self.redis or self._redis_away:
            return True
        return self._verdicts and self._wanted is not None and self._wanted <= self._heard


class Console:
    """Runs an engine for a command without a terminal, until it is told to stop."""

    def __init__(
        self,
        source: Source,
        operator: Operator,
        model: ClusterModel,
        clock: Callable[[], float],
        out: TextIO = sys.stdout,
        *,
        recorder: Recorder | None = None,
    ) -> None:
        self.model = model
        self._clock = clock
        self._out = out
        self._listeners: list[Callable[[Input], None]] = []
        self._waiting: deque[Happened] = deque(maxlen=_Seen.KEPT)
        self._seen = _Seen()
        self._stopping = asyncio.Event()
        self._frame_came = asyncio.Event()
        self.engine = Engine(
            _Tapped(source, self._tell), operator, model, clock, on_frame=self._drawn, recorder=recorder
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._task = loop.create_task(self.engine.run(), name="engine")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await end(self._task)

    async def follow(self, *, as_json: bool, for_s: float | None) -> None:
        """Print the status each second and events as they come, for `for_s` seconds or until stopped.

        Raises:
            WsmonError: the cluster ended.
            BrokenPipeError: nobody reads any more.

        """
        deadline = None if for_s is None else self._clock() + for_s
        next_frame = self._clock()
        last_line = ""
        while not self._stopping.is_set() and (deadline is None or self._clock() < deadline):
            self._print_new_events(as_json=as_json, typed=True)
            frame = self.engine.frame
            if self._clock() >= next_frame:
                next_frame += 1.0
                line = self._frame_line(frame, as_json=as_json)
                if as_json:
                    self._print(line)
                elif line != last_line:
                    self._print(f"{_clock_text(self._clock())} {line}")
                last_line = line
            self._out.flush()
            if frame.ended:
                raise WsmonError(frame.ended)
            await self._pause(0.1)

    async def print_events(self, *, as_json: bool, follow: bool) -> None:
        """Print what happened so far, in order of time; then, if `follow`, what happens, until stopped.

        Raises:
            BrokenPipeError: nobody reads any more.

        """
        self._waiting = deque(sorted(self._waiting, key=lambda told: told.event.at), maxlen=_Seen.KEPT)
        self._print_new_events(as_json=as_json, typed=False)
        self._out.flush()
        while follow and not self._stopping.is_set():
            await self._pause(0.1)
            self._print_new_events(as_json=as_json, typed=False)
            self._out.flush()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _print_new_events(self, *, as_json: bool, typed: bool) -> None:
        for told in self._waiting:
            if self._seen.is_new(told):
                self._print(self._event_line(told, as_json=as_json, typed=typed))
        self._waiting.clear()

    async def look(self, look: Look) -> None:
        """Wait until the picture is complete, or as long as one look may take.

        Raises:
            UnreachableError: nothing was heard at all.

        """
        done = asyncio.Event()
        heard = asyncio.Event()

        def listen(told: Input) -> None:
            if isinstance(told, PeerState | RegistrySeen):
                heard.set()
            if look.take(told):
                done.set()

        self._listeners.append(listen)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_WITHIN_S):
                await done.wait()
        self._listeners.remove(listen)
        if not heard.is_set():
            raise UnreachableError("the cluster does not answer")

    async def wait_for_node(self, node: str, states: tuple[str, ...], *, within_s: float) -> str | None:
        """Wait until the node is in one of `states`; return the one it reached, None if time ran out."""
        deadline = self._clock() + within_s
        while self._clock() < deadline and not self._stopping.is_set():
            for row in self.engine.frame.nodes:
                if row.id == node and row.state in states:
                    return str(row.state)
            self._frame_came.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._frame_came.wait()
        return None

    def status(self) -> JsonObject:
        """Return the fields of `wsmon status --json`, as of now."""
        return frame_status(self.frame())

    def frame(self) -> Frame:
        """Return a frame of this very moment; the engine's newest may be a tenth of a second older."""
        return build_frame(self.model, self._clock())

    async def perform(self, action: Action) -> Outcome:
        """Carry an action out."""
        return await self.engine.perform(action)

    def _tell(self, told: Input) -> None:
        if isinstance(told, Happened):
            self._waiting.append(told)
        for listener in self._listeners:
            listener(told)

    def _drawn(self, _: Frame) -> None:
        self._frame_came.set()

    def _print(self, line: str) -> None:
        self._out.write(line + "\n")

    def _event_line(self, told: Happened, *, as_json: bool, typed: bool) -> str:
        if not as_json:
            return plain_event_line(event_row(told.event))
        document = event_object(told.event)
        return print_object({"type": "event", **document} if typed else document)

    def _frame_line(self, frame: Frame, *, as_json: bool) -> str:
        return print_object({"type": "frame", **frame_status(frame)}) if as_json else plain_status_line(frame)


class _Seen:
    """Remembers which events were printed: the same one comes on two roads."""

    KEPT = 20_000

    def __init__(self) -> None:
        self._keys: dict[tuple[str, int, int], None] = {}

    def is_new(self, told: Happened) -> bool:
        key = (told.event.source, told.event.boot, told.event.seq)
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self.KEPT:
            del self._keys[next(iter(self._keys))]
        return True


class _Tapped:
    """A source whose inputs are also told to somebody else, after the model has them."""

    def __init__(self, inner: Source, tap: Callable[[Input], None]) -> None:
        self._inner = inner
        self._tap = tap

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Run the inner source."""

        def both(told: Input) -> None:
            emit(told)
            self._tap(told)

        await self._inner.run(both)


def _clock_text(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
