"""Keeps asking one node, as its `NodeHealth` says, and tells what it found."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sample_cluster.checker.dial import RefusedError
from sample_cluster.checker.http_probe import HttpAnswer, judge
from sample_cluster.checker.ports import Dial, Link
from sample_cluster.config import Profile
from sample_cluster.core.address import split_address
from sample_cluster.core.health import (
    AdminClosed,
    ConnectRefused,
    HealthEvent,
    HeartbeatMissed,
    HeartbeatOk,
    HttpFailed,
    Kind,
    NodeHealth,
    NodeSays,
    Registered,
)
from wsmon.errors import ProtocolError, UnreachableError, UsageError
from wsmon.protocol.registry import RegistryEntry
from wsmon.protocol.states import NodeState

SLEEP_S_MIN: Final = 0.001
"""Timers may fire one tick of the clock early; waiting for what is left of it would not move a coarse clock."""
SLEEP_S_MAX: Final = 3_600.0
LAST_LOOKS: Final = 5
"""Turns of the loop that an answer needs from the socket to the one who waits for it."""

GetHealth = Callable[[str, int], Coroutine[Any, Any, HttpAnswer]]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Late:
    """No answer came in time; our own timer fired `late_s` after that."""

    late_s: float


class Prober:
    """Heartbeats and HTTP checks of one node. `run` until cancelled; `meet` when the registry tells something."""

    def __init__(
        self,
        health: NodeHealth,
        profile: Profile,
        *,
        dial: Dial,
        get_health: GetHealth,
        feed: Callable[[NodeHealth, HealthEvent], None],
        on_closed: Callable[[], None],
    ) -> None:
        """`feed` takes every event; `on_closed` is called when the node ended its admin connection."""
        self.health = health
        self._profile = profile
        self._dial = dial
        self._get_health = get_health
        self._feed = feed
        self._on_closed = on_closed
        self._entry: RegistryEntry | None = None
        self._link: Link | None = None
        self._watch: asyncio.Task[None] | None = None
        self._wake = {Kind.HEARTBEAT: asyncio.Event(), Kind.HTTP: asyncio.Event()}

    def meet(self, entry: RegistryEntry) -> None:
        """Take what the node registered."""
        self._entry = entry
        self.tell(Registered(boot=entry.boot))

    def tell(self, event: HealthEvent) -> None:
        """Feed one event, and look again when the next probe is due."""
        self._feed(self.health, event)
        for wake in self._wake.values():
            wake.set()

    async def run(self) -> None:
        """Probe until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._repeat(Kind.HEARTBEAT, self._heartbeat), name=f"heartbeat-{self.health.node}")
                group.create_task(self._repeat(Kind.HTTP, self._http_check), name=f"http-{self.health.node}")
        finally:
            await self._drop_link()

    async def _repeat(self, kind: Kind, probe: Callable[[], Awaitable[HealthEvent | None]]) -> None:
        clock = asyncio.get_running_loop().time
        wake = self._wake[kind]
        while True:
            wake.clear()
            delay_s = self.health.due(kind) - clock()
            if delay_s > 0:
                try:
                    async with asyncio.timeout(min(max(delay_s, SLEEP_S_MIN), SLEEP_S_MAX)):
                        await wake.wait()
                except TimeoutError:
                    pass
                continue
            self.health.ask(kind, clock())
            event = await probe()
            if event is not None:
                self.tell(event)

    async def _heartbeat(self) -> HealthEvent | None:
        if self._link is not None and self.health.boot is not None and self._link.boot < self.health.boot:
            await self._drop_link()  # Another life of the node is registered by now.
        try:
            found = await _in_time(self._ping(), self._profile.heartbeat.timeout_s)
        except RefusedError:
            return ConnectRefused()
        except (UnreachableError, ProtocolError, UsageError) as error:
            return HeartbeatMissed(why=_short(error.message))
        return HeartbeatMissed(late_s=found.late_s) if isinstance(found, Late) else found

    async def _ping(self) -> HealthEvent | None:
        link = self._link
        if link is None:
            if self._entry is None:
                return HeartbeatMissed(why="no address known")
            fresh = await self._dial(self._entry.admin, self._hear)
            self._link = fresh
            self._watch = asyncio.create_task(self._watch_link(fresh), name=f"link-{self.health.node}")
            return HeartbeatOk(boot=fresh.boot, rtt_s=await fresh.ping())
        try:
            return HeartbeatOk(boot=link.boot, rtt_s=await link.ping())
        except UnreachableError:
            return None  # It ended while we waited; `_watch_link` tells.

    async def _http_check(self) -> HealthEvent | None:
        address = None if self._entry is None else self._entry.address
        if address is None:
            return None  # It does not serve clients yet.
        try:
            host, port = split_address(address)
            found = await _in_time(self._get_health(host, port), self._profile.http.timeout_s)
        except (ValueError, ProtocolError) as error:
            return HttpFailed(why=_short(str(error)))
        except OSError as error:
            return HttpFailed(why=_short(error.strerror or type(error).__name__))
        return HttpFailed(why="no answer", late_s=found.late_s) if isinstance(found, Late) else judge(found)

    def _hear(self, word: str) -> None:
        link = self._link
        if link is None:
            return
        try:
            state = NodeState(word)
        except ValueError:
            return  # A word of a later version; what probes find out holds.
        self.tell(NodeSays(boot=link.boot, state=state))

    async def _watch_link(self, link: Link) -> None:
        await link.closed()
        if self._link is link:
            self._link = None
            self.tell(AdminClosed())
            self._on_closed()

    async def _drop_link(self) -> None:
        link, self._link = self._link, None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        if link is not None:
            await link.close()


async def _in_time(work: Coroutine[Any, Any, Answer], timeout_s: float) -> Answer | Late:
    """Return what `work` answers within `timeout_s`, else how late our timer was. What it raises is raised."""
    clock = asyncio.get_running_loop().time
    task = asyncio.create_task(work)
    started = clock()
    try:
        await asyncio.wait([task], timeout=timeout_s)
        late_s = clock() - started - timeout_s
        # A loop that was held up finds the answer and the timeout at once: read the socket before calling it late.
        for _ in range(LAST_LOOKS):
            if not task.done():
                await asyncio.sleep(0)
        return task.result() if task.done() else Late(late_s)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # Seen, so that nobody warns of it: the answer came too late either way.


def _short(text: str) -> str:
    return text[:80]
