"""Admin sockets: one connection each, opened again whenever it is lost."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from wsmon.agent.client import AdminClient, open_admin
from wsmon.errors import ProtocolError, UnreachableError, UsageError
from wsmon.model.inputs import Happened, Input, PeerBeat, PeerGarbage, PeerGone, PeerSeen, PeerState
from wsmon.protocol.frames import Beat, EventFrame, Hello
from wsmon.protocol.session import SILENCE_S, StateChanged, WatchInput

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.1
RETRY_MOST_S = 1.0
STATE_EVERY_MS: Final = 250
"""How often a peer tells what changed in its state; events come at once anyway."""
CALM_EVERY_MS: Final = 1_000
"""… while nothing is under way."""


class AdminWatch:
    """Connections to all admin sockets that somebody wants, by the peer's id. `run` until cancelled."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns Unix seconds."""
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._emit: Callable[[Input], None] = lambda _: None
        self._every_ms = STATE_EVERY_MS

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Serve `want` until cancelled."""
        self._emit = emit
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for watched in self._watched.values():
                self._start(watched)
            await asyncio.get_running_loop().create_future()

    def want(self, name: str, url: str, *, boot: int = 0) -> None:
        """Keep a connection to `name` at `url`. A higher `boot` than before means that it is worth trying at once."""
        watched = self._watched.get(name)
        if watched is None:
            self._watched[name] = watched = _Watched(name, url, boot)
            if self._tasks is not None:
                self._start(watched)
        elif watched.url != url or boot > watched.boot:
            watched.url, watched.boot = url, max(boot, watched.boot)
            watched.hurry.set()

    def calm(self, on: bool) -> None:  # noqa: FBT001  # A word of the caller's, passed on.
        """Have states told less often while nothing is under way. To be called on the loop."""
        every_ms = CALM_EVERY_MS if on else STATE_EVERY_MS
        if every_ms == self._every_ms or self._tasks is None:
            return
        self._every_ms = every_ms
        for watched in self._watched.values():
            if watched.client is not None:
                self._run(watched.client.pace(every_ms), name=f"pace-{watched.name}")

    def client(self, name: str) -> AdminClient | None:
        """Return the open connection to `name`, if there is one."""
        watched = self._watched.get(name)
        return None if watched is None else watched.client

    def _start(self, watched: "_Watched") -> None:
        self._run(self._keep(watched), name=f"watch-{watched.name}")

    def _run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        assert self._tasks is not None
        try:
            self._tasks.create_task(work, name=name)
        except RuntimeError:  # Everything is about to end.
            work.close()

    async def _keep(self, watched: "_Watched") -> None:
        delay_s = RETRY_FIRST_S
        while True:
            reason: str | None = None
            try:
                if await self._follow(watched):
                    delay_s = RETRY_FIRST_S
            except UnreachableError as error:
                reason = error.message
            except (ProtocolError, UsageError) as error:
                log.warning("%s: %s", watched.name, error.message)
                self._emit(PeerGarbage(id=watched.name, reason=error.message, at=self._clock()))
                delay_s = RETRY_MOST_S
            if reason is not None and reason != watched.told:
                self._emit(PeerGone(id=watched.name, reason=reason, at=self._clock()))
            watched.told = reason
            watched.hurry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await watched.hurry.wait()
            delay_s = min(delay_s * 1.5, RETRY_MOST_S)

    async def _follow(self, watched: "_Watched") -> bool:
        """Hold one connection to its end; return whether it ever said something useful."""
        url = watched.url
        heard = _Heard(self._clock)
        client = await open_admin(url, lambda told: self._tell(watched, heard, told), interval_ms=self._every_ms)
        hello = client.hello
        try:
            if hello.id != watched.name:
                raise UnreachableError(f"{url} says that it is {hello.id!r}, not {watched.name!r}")
            watched.client = client
            watched.told = None
            self._emit(_seen(hello, url, self._clock()))
            silent = await heard.until_silent(client)
        finally:
            watched.client = None
            with contextlib.suppress(UnreachableError):
                await client.close()
        if silent:
            raise UnreachableError(f"nothing heard for {SILENCE_S:g} s")
        failure = await client.closed()
        if isinstance(failure, ProtocolError):
            raise failure
        self._emit(PeerGone(id=watched.name, reason="closed the connection", at=self._clock()))
        return True

    def _tell(self, watched: "_Watched", heard: "_Heard", told: WatchInput) -> None:
        heard.at = self._clock()
        name, boot = watched.name, watched.client.hello.boot if watched.client else 0
        match told:
            case StateChanged(rev=rev, boot=boot, at=at, state=state):
                self._emit(PeerState(id=name, boot=boot, rev=rev, at=at, state=state, heard_at=heard.at))
            case Beat(rev=rev, at=at, lag_ms=lag_ms):
                self._emit(PeerBeat(id=name, boot=boot, rev=rev, at=at, lag_ms=lag_ms, heard_at=heard.at))
            case EventFrame() as event:
                self._emit(Happened(event=event, heard_at=heard.at))
            case _:
                pass


class _Watched:
    """One wanted socket."""

    def __init__(self, name: str, url: str, boot: int) -> None:
        self.name = name
        self.url = url
        self.boot = boot
        self.hurry = asyncio.Event()
        self.client: AdminClient | None = None
        self.told: str | None = None
        """The last reason that was told, so that the same one is not told at every attempt."""


class _Heard:
    """When a connection was last heard."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.at = clock()

    async def until_silent(self, client: AdminClient) -> bool:
        """Wait for the end of the connection; return True if it is only silent: a frozen process keeps its sockets."""
        closed = asyncio.ensure_future(client.closed())
        try:
            while not closed.done():
                left = self.at + SILENCE_S - self._clock()
                if left <= 0:
                    return True
                # Never less than a millisecond: rounding must not turn the last wait into a spin.
                await asyncio.wait([closed], timeout=max(left, 0.001))
            return False
        finally:
            closed.cancel()


def _seen(hello: Hello, url: str, at: float) -> PeerSeen:
    return PeerSeen(
        id=hello.id,
        kind=hello.kind,
        boot=hello.boot,
        pid=hello.pid,
        host=hello.host,
        version=hello.version,
        role=hello.role,
        ops=hello.ops,
        profile=hello.profile,
        at=at,
        endpoint=url,
    )
