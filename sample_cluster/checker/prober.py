"""Carries out the probes of one node, as the judgement says, and tells what came of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sample_cluster.checker.dial import RefusedError
from sample_cluster.checker.http_probe import HttpAnswer, judge
from sample_cluster.checker.ports import Dial, Link
from sample_cluster.core.address import split_address
from sample_cluster.core.classify import SAMPLES_MOST, Look, TcpInfo, silence
from sample_cluster.core.health import (
    AdminClosed,
    Broken,
    ConnectRefused,
    HealthEvent,
    HeartbeatLate,
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

Peek = Callable[[], Look]
GetHealth = Callable[[str, int, Callable[[Peek], None]], Coroutine[Any, Any, HttpAnswer]]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

LATE_MOST: Final = SAMPLES_MOST
"""So many pings that were given up are waited for, to tell a slow link from one that loses everything."""


def _connecting() -> Look:
    return Look(connecting=True)


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
        self._pinging: asyncio.Task[None] | None = None
        """The heartbeat that waits for nothing but its answer."""
        self._late: deque[asyncio.Task[None]] = deque()
        self._peek: Peek | None = None
        """Looks at the connection of the HTTP check that is on its way."""
        self._seen = (0, 0)
        """Segments that the admin connection has sent, and sent again, as of the last look."""

    def meet(self, entry: RegistryEntry) -> None:
        """Take what the node registered."""
        self._entry = entry
        self._tell(Registered(boot=entry.boot))

    def send(self, kind: Kind) -> None:
        """Send a probe; one of this kind that is still on its way is over."""
        self.give_up(kind)
        asked = self.health.http.asked if kind is Kind.HTTP else self.health.heartbeat.asked
        self._probes[kind] = self._spawn(self._probe(kind, asked))

    def give_up(self, kind: Kind) -> None:
        """Wait no longer for the answer to a probe: if it comes, it tells of the link and counts for nothing else."""
        task = self._probes.pop(kind, None)
        if task is None:
            return
        if task is not self._pinging:
            task.cancel()
            return
        self._pinging = None
        self._late.append(task)
        task.add_done_callback(self._forget)
        if len(self._late) > LATE_MOST:
            self._late[0].cancel()

    def look(self, now: float) -> None:
        """Have the kernel say why what was asked a while ago is not answered, if it knows."""
        health, link = self.health, self._link
        if health.heartbeat.in_flight and now >= health.heartbeat.half and link is not None:
            why = silence(link.look(), ended=False, asked_s=now - health.heartbeat.asked)
            health.link.silent(Kind.HEARTBEAT, why)
        if health.http.in_flight and now >= health.http.half and self._peek is not None:
            health.link.silent(Kind.HTTP, silence(self._peek(), ended=False, asked_s=now - health.http.asked))

    @property
    def address(self) -> str | None:
        """Where the node serves its clients, if it does."""
        return None if self._entry is None else self._entry.address

    async def reaches(self, node: str, *, address: str | None, within_s: float) -> Said:
        """Ask this node whether it reaches another."""
        link = self._link
        if link is None:
            return Said.NOTHING
        try:
            # Twice: its own time begins when the question arrives.
            async with asyncio.timeout(2 * within_s):
                reached = await link.reaches(node, address=address, within_s=within_s)
        except (TimeoutError, UnreachableError):
            return Said.NOTHING
        return Said.NOTHING if reached is None else Said.YES if reached else Said.NO

    async def close(self) -> None:
        """Ask nothing more."""
        self._pinging = None
        for kind in tuple(self._probes):
            self.give_up(kind)
        for task in tuple(self._late):
            task.cancel()
        link = self._detach()
        if link is not None:
            await link.close()

    async def _probe(self, kind: Kind, asked: float) -> None:
        event = await (self._http_check() if kind is Kind.HTTP else self._heartbeat())
        if self._probes.get(kind) is not asyncio.current_task():
            if isinstance(event, HeartbeatOk):
                self._tell(HeartbeatLate(asked=asked, rtt_s=event.rtt_s))
            return
        # Done before it is told: what is sent because of it must not find us still at work.
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
            self._pinging = asyncio.current_task()
            answered = HeartbeatOk(boot=link.boot, rtt_s=await link.ping())
            self._count(link)
        except RefusedError:
            return ConnectRefused()
        except (UnreachableError, ProtocolError, UsageError) as error:
            # Of a connection that worked, `_watch_link` tells the end.
            return Broken(kind=Kind.HEARTBEAT, why=_short(error.message)) if known is None else None
        return answered

    def _count(self, link: Link) -> None:
        info = link.look().tcp
        if info is not None and info.segments is not None and link is self._link:
            before, self._seen = self._seen, (info.segments, info.retransmitted_total)
            self.health.link.counted(segments=info.segments - before[0], retransmitted=self._seen[1] - before[1])

    def _count_all(self, info: TcpInfo | None) -> None:
        """Count what a connection sent that exists for one question."""
        if info is not None and info.segments is not None:
            self.health.link.counted(segments=info.segments, retransmitted=info.retransmitted_total)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._late.remove(task)

    async def _connect(self) -> Link | Broken | Impostor:
        if self._entry is None:
            return Broken(kind=Kind.HEARTBEAT, why="no address known")
        fresh = await self._dial(self._entry.admin, self._hear)
        if fresh.id != self.health.node:
            await fresh.close()
            return Impostor(kind=Kind.HEARTBEAT, claims=_short(fresh.id))
        self._link, self._seen = fresh, (0, 0)
        self._watch = self._spawn(self._watch_link(fresh))
        return fresh

    async def _http_check(self) -> HealthEvent:
        address = self.address
        if address is None:
            return Unasked(kind=Kind.HTTP)  # It does not serve clients yet.
        self._peek = peek = _connecting

        def connected(looks: Peek) -> None:
            nonlocal peek
            self._peek = peek = looks

        try:
            host, port = split_address(address)
            answer = await self._get_health(host, port, connected)
            self._count_all(answer.look.tcp)
            return judge(answer, node=self.health.node)
        except asyncio.CancelledError:
            self._count_all(peek().tcp)  # What was sent in vain says most of all.
            raise
        except (ValueError, ProtocolError) as error:
            return Broken(kind=Kind.HTTP, why=_short(str(error)))
        except OSError as error:
            return Broken(kind=Kind.HTTP, why=_short(error.strerror or type(error).__name__))
        finally:
            if self._peek is peek:
                self._peek = None

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
