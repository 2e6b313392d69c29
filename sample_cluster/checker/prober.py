"""Carries out the probes of one node, as the judgement says, and tells what came of them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sample_cluster.checker.dial import RefusedError
from sample_cluster.checker.http_probe import HttpAnswer, judge
from sample_cluster.checker.ports import Dial, Link
from sample_cluster.core.address import split_address
from sample_cluster.core.health import (
    AdminClosed,
    Broken,
    ConnectRefused,
    HealthEvent,
    HeartbeatOk,
    Impostor,
    Kind,
    NodeHealth,
    NodeSays,
    Registered,
    Unasked,
)
from sample_cluster.core.probe import Said
from wsmon.errors import ProtocolError, UnreachableError, UsageError
from wsmon.protocol.registry import RegistryEntry
from wsmon.protocol.states import NodeState

GetHealth = Callable[[str, int], Coroutine[Any, Any, HttpAnswer]]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Prober:
    """Everything that is asked of one node. `send` when the judgement says so, `close` at the end."""

    def __init__(
        self,
        health: NodeHealth,
        *,
        dial: Dial,
        get_health: GetHealth,
        tell: Callable[[HealthEvent], None],
        on_closed: Callable[[], None],
        spawn: Spawn,
    ) -> None:
        """`tell` takes every event; `on_closed` is called when the node ended its admin connection."""
        self.health = health
        self._dial = dial
        self._get_health = get_health
        self._tell = tell
        self._on_closed = on_closed
        self._spawn = spawn
        self._entry: RegistryEntry | None = None
        self._link: Link | None = None
        self._watch: asyncio.Task[None] | None = None
        self._probes: dict[Kind, asyncio.Task[None]] = {}

    def meet(self, entry: RegistryEntry) -> None:
        """Take what the node registered."""
        self._entry = entry
        self._tell(Registered(boot=entry.boot))

    def send(self, kind: Kind) -> None:
        """Send a probe; one of this kind that is still on its way is over."""
        self.give_up(kind)
        self._probes[kind] = self._spawn(self._probe(kind))

    def give_up(self, kind: Kind) -> None:
        """Wait no longer for the answer to a probe."""
        task = self._probes.pop(kind, None)
        if task is not None:
            task.cancel()

    async def reaches(self, node: str, *, within_s: float) -> Said:
        """Ask this node whether it reaches another."""
        link = self._link
        if link is None:
            return Said.NOTHING
        try:
            # Twice: its own time begins when the question arrives.
            async with asyncio.timeout(2 * within_s):
                reached = await link.reaches(node, within_s=within_s)
        except (TimeoutError, UnreachableError):
            return Said.NOTHING
        return Said.NOTHING if reached is None else Said.YES if reached else Said.NO

    async def close(self) -> None:
        """Ask nothing more."""
        for kind in tuple(self._probes):
            self.give_up(kind)
        link = self._detach()
        if link is not None:
            await link.close()

    async def _probe(self, kind: Kind) -> None:
        event = await (self._http_check() if kind is Kind.HTTP else self._heartbeat())
        # Done before it is told: what is sent because of it must not find us still at work.
        if self._probes.get(kind) is asyncio.current_task():
            del self._probes[kind]
        if event is not None:
            self._tell(event)

    async def _heartbeat(self) -> HealthEvent | None:
        known = self._link
        if known is not None and self.health.boot is not None and known.boot < self.health.boot:
            self._detach()  # Another life of the node is registered by now.
            self._spawn(known.close())
            known = None
        try:
            link = known or await self._connect()
            if isinstance(link, Broken | Impostor):
                return link
            return HeartbeatOk(boot=link.boot, rtt_s=await link.ping())
        except RefusedError:
            return ConnectRefused()
        except (UnreachableError, ProtocolError, UsageError) as error:
            # Of a connection that worked, `_watch_link` tells the end.
            return Broken(kind=Kind.HEARTBEAT, why=_short(error.message)) if known is None else None

    async def _connect(self) -> Link | Broken | Impostor:
        if self._entry is None:
            return Broken(kind=Kind.HEARTBEAT, why="no address known")
        fresh = await self._dial(self._entry.admin, self._hear)
        if fresh.id != self.health.node:
            await fresh.close()
            return Impostor(kind=Kind.HEARTBEAT, claims=_short(fresh.id))
        self._link = fresh
        self._watch = self._spawn(self._watch_link(fresh))
        return fresh

    async def _http_check(self) -> HealthEvent:
        address = None if self._entry is None else self._entry.address
        if address is None:
            return Unasked(kind=Kind.HTTP)  # It does not serve clients yet.
        try:
            host, port = split_address(address)
            return judge(await self._get_health(host, port), node=self.health.node)
        except (ValueError, ProtocolError) as error:
            return Broken(kind=Kind.HTTP, why=_short(str(error)))
        except OSError as error:
            return Broken(kind=Kind.HTTP, why=_short(error.strerror or type(error).__name__))

    def _hear(self, word: str) -> None:
        link = self._link
        if link is None:
            return
        try:
            state = NodeState(word)
        except ValueError:
            return  # A word of a later version; what probes find out holds.
        self._tell(NodeSays(boot=link.boot, state=state))

    async def _watch_link(self, link: Link) -> None:
        await link.closed()
        if self._link is link:
            self._link = None
            self._tell(AdminClosed())
            self._on_closed()

    def _detach(self) -> Link | None:
        """Let go of the admin connection and return it, to be closed."""
        link, self._link = self._link, None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        return link


def _short(text: str) -> str:
    return text[:80]
