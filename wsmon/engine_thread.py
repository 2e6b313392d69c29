"""An engine in a thread of its own, so that a stalled terminal never holds up collection.

Importing this is cheap: what collects, and the model, are imported by whoever makes the engine, in that thread, while a
first screen is there already.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsmon.agent.cancellation import end
from wsmon.commands import Action, Outcome
from wsmon.errors import WsmonError
from wsmon.views.frame import Frame, Header, Looking

if TYPE_CHECKING:
    from wsmon.engine import Engine
    from wsmon.replaying import PlayerThread

log = logging.getLogger(__name__)

STOP_WITHIN_S: Final = 2.0


class EngineThread:
    """An engine in a thread of its own: what a user interface draws from.

    Before its first picture it hands out one in which nothing is known yet, so that a screen need not wait for it.
    """

    def __init__(
        self,
        make: "Callable[[], Engine]",
        *,
        cluster: str = "",
        companion: "Callable[[Engine], Awaitable[None]] | None" = None,
    ) -> None:
        """`make` is called inside the thread, with its loop running; `companion` runs beside the engine."""
        self.news: Callable[[], None] = lambda: None
        """Called in the engine's thread when there is another frame."""
        self._first = Frame(header=Header(cluster=cluster))
        self._make = make
        self._companion = companion
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._looking = Looking()
        self._arming = threading.Lock()
        self._armed: bool | None = None
        """What was said before there was an engine; None: nothing."""
        self._unwanted = False
        """It was stopped before its loop ran."""
        self._thread = threading.Thread(target=self._main, name="wsmon-engine", daemon=True)
        self._actions: set[asyncio.Task[Outcome]] = set()

    def start(self) -> None:
        """Start the thread; what it sees comes when it comes."""
        self._thread.start()

    @property
    def frame(self) -> Frame:
        """The newest frame."""
        return self._first if self._engine is None else self._engine.frame

    def look_at(self, looking: Looking) -> None:
        """Say from any thread what is looked at; what was said before there is an engine holds for it."""
        self._looking = looking
        if self._loop is not None and self._thread.is_alive() and self._engine is not None:
            self._loop.call_soon_threadsafe(self._engine.look_at, looking)

    def arm(self, *, on: bool) -> None:
        """Let actions through, or refuse all of them; from any thread, and before there is an engine too."""
        with self._arming:
            self._armed = on
            if self._engine is not None:
                self._engine.armed = on

    def perform(self, action: Action) -> None:
        """Ask for an action from any thread; the outcome shows up in the frames."""
        if self._loop is not None and self._thread.is_alive() and self._engine is not None:
            self._loop.call_soon_threadsafe(self._begin, action)

    def mark(self, text: str) -> None:
        """Put a note on this moment, from any thread."""
        if self._loop is not None and self._thread.is_alive() and self._engine is not None:
            self._loop.call_soon_threadsafe(self._engine.mark, text)

    def ring(self) -> "PlayerThread | None":
        """Return the last minutes to go back to, held at their end; None if nothing is kept."""
        recorder = None if self._engine is None else self._engine.recorder
        recording = None if recorder is None else recorder.ring()
        if recording is None:
            return None
        from wsmon.replaying import PlayerThread  # noqa: PLC0415  # Wanted once somebody looks back.

        return PlayerThread(recording, twin=True, first=self.frame, at=recording.end_at, hold=True)

    def keep(self, path: Path) -> None:
        """Write the last minutes to a new file.

        Raises:
            WsmonError: nothing is kept, or it cannot be written.

        """
        if self._engine is None or self._engine.recorder is None:
            raise WsmonError("nothing of the last minutes is kept here")
        self._engine.recorder.keep(path)

    def stop(self) -> None:
        """End collection and wait a little for it."""
        self._unwanted = True
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
        self._loop = asyncio.get_running_loop()
        if self._unwanted:
            return
        try:
            self._engine = self._make()
        except Exception as error:
            log.exception("the engine cannot be made")
            self._first = replace(self._first, ended=f"wsmon's engine cannot start: {error}")
            return
        told = self._engine.on_frame

        def tell(frame: Frame) -> None:
            told(frame)
            self.news()

        self._engine.on_frame = tell
        self._engine.look_at(self._looking)
        with self._arming:
            if self._armed is not None:
                self._engine.armed = self._armed
        running = [asyncio.ensure_future(self._engine.run())]
        if self._companion is not None:
            running.append(asyncio.ensure_future(self._accompany(self._companion, self._engine)))
        await self._stopping.wait()
        for task in reversed(running):
            await end(task)

    async def _accompany(self, companion: "Callable[[Engine], Awaitable[None]]", engine: "Engine") -> None:
        try:
            await companion(engine)
        except Exception as error:
            log.exception("what runs beside the engine failed")
            engine.caption(f"wsmon failed here: {error!r}")
