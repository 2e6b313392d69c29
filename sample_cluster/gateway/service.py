"""The gateway: follows the health table, relays, and evens out what a node's absence left uneven."""

import asyncio
import contextlib
import logging
import math
import random
import resource
from collections.abc import Callable
from typing import Final

from sample_cluster.config import Profile
from sample_cluster.core.admission import Release
from sample_cluster.core.balancer import Balancer, BreakerChange, Move
from sample_cluster.core.breaker import BreakerTiming
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.gateway.entry import Load
from sample_cluster.gateway.ports import AskToMove, HealthTable, Teller
from sample_cluster.gateway.relay import Relay, Tune
from sample_cluster.gateway.sockets import Silence, tune
from wsmon.agent.cancellation import end, obey_cancellation
from wsmon.errors import WsmonError
from wsmon.protocol.events import BreakerChanged, TunnelsCut
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.registry import ENTRY_RENEW_S

log = logging.getLogger(__name__)

PUBLISH_S: Final = 0.25
EVEN_OUT_S: Final = 1.0
WAIT_MOST_S: Final = 4.0
WAIT_SHARE: Final = 0.8
"""Share of a client's patience that it may spend in line: whoever waits longer gives up before its turn."""
OPEN_BASES: Final = 5.0
"""A breaker opens for this many times the first delay of a client that comes back: 5 s in production."""
KEPT_MOST_S: Final = 15.0
"""A client of a dead node is kept no longer, however many there are: our idea of what the others can take may be wrong."""
TUNNELS_MAX: Final = 100_000
FDS_RESERVED: Final = 64
"""For everything that is no tunnel: Redis, admin sockets, logs."""
ASK_WITHIN_S: Final = 2.0


class Gateway:
    """One gateway process. `open`, then `run` until cancelled, then `close`."""

    def __init__(
        self,
        profile: Profile,
        *,
        table: HealthTable,
        teller: Teller,
        ask_to_move: AskToMove,
        dice: random.Random,
        process_state: Callable[[], JsonObject] = dict,
        announce: Callable[[Load], object] = lambda _: None,
        tunnels_max: int = TUNNELS_MAX,
        tune: Tune = tune,
    ) -> None:
        reconnect, ping = profile.reconnect, profile.client_ping
        self.balancer = Balancer(
            ramp_s=profile.ramp_s,
            dice=dice,
            unreached_s=reconnect.base_s,
            breaker=BreakerTiming(open_s=OPEN_BASES * reconnect.base_s, open_most_s=reconnect.cap_s),
        )
        self.relay = Relay(
            self.balancer,
            # Twice within a client's patience with an attempt: there is time for a second node.
            patience_s=profile.connect_timeout_s / 2,
            wait_s=min(WAIT_MOST_S, WAIT_SHARE * profile.connect_timeout_s),
            head_within_s=profile.hello_timeout_s,
            silence=Silence.of(profile),
            # A client that hears nothing for so long has given its node up by itself.
            release=Release(spread_s=reconnect.spread_s, most_s=min(KEPT_MOST_S, ping.interval_s + ping.timeout_s)),
            tunnels_max=tunnels_max,
            tune=tune,
        )
        self.relay.on_breaker = self._tell_breaker
        self._table = table
        self._teller = teller
        self._ask_to_move = ask_to_move
        self._process_state = process_state
        self._announce = announce
        self._clock = asyncio.get_running_loop().time
        self._read_at: float | None = None
        self._moved = 0

    async def open(self, host: str, port: int) -> int:
        """Listen for clients; return the port."""
        return await self.relay.serve(host, port)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_table(), name="table")
            group.create_task(self._even_out(), name="even-out")
            group.create_task(self._publish(), name="publish")
            group.create_task(self._tell_load(), name="load")

    async def close(self) -> None:
        """Cut everything."""
        await self.relay.close()

    async def _follow_table(self) -> None:
        available = True
        while True:
            obey_cancellation()
            try:
                backends = await self._table.read()
                for node in self.balancer.update(backends, self._clock()):
                    count = self.relay.cut(node)
                    if count:
                        log.info("cut %d tunnels to %s", count, node)
                        self._teller.emit(TunnelsCut(node=node, count=count))
                self.relay.dispatch()
                self._read_at = self._clock()
                available = True
                await self._table.changed()
            except StoreUnavailableError as error:
                if available:
                    log.warning("going on with the table as it is: %s", error)
                available = False
                await asyncio.sleep(PUBLISH_S)

    async def _even_out(self) -> None:
        while True:
            await asyncio.sleep(EVEN_OUT_S)
            moves = self.balancer.moves(self._clock())
            if moves:
                await asyncio.gather(*(self._move(move) for move in moves))

    async def _move(self, move: Move) -> None:
        admin = self.balancer.nodes[move.node].admin
        if admin is None:
            return
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                await self._ask_to_move(admin, move.count)
            self._moved += move.count
        except (WsmonError, TimeoutError) as error:
            log.info("%s was asked to move %d connections and did not: %s", move.node, move.count, error)

    def _tell_breaker(self, change: BreakerChange) -> None:
        self._teller.emit(BreakerChanged(name=change.node, old=change.old, new=change.new))

    async def _publish(self) -> None:
        process, process_due = self._process_state(), self._clock() + 1.0
        while True:
            if self._clock() >= process_due:
                process, process_due = self._process_state(), self._clock() + 1.0
            state = self._state()
            state["process"] = process
            self._teller.publish(state)
            await asyncio.sleep(PUBLISH_S)

    async def _tell_load(self) -> None:
        """Tell the nodes what their handshakes are worth, which they cannot know themselves."""
        while True:
            speed = self.relay.line.speed
            self._announce(
                Load(
                    connections={node: self.balancer.connections(node) for node in self.balancer.nodes},
                    handshakes_per_s=speed.per_node if speed.measured else None,
                )
            )
            await asyncio.sleep(ENTRY_RENEW_S)

    def _state(self) -> JsonObject:
        now = self._clock()
        counts = self.relay.counts
        backends: JsonObject = {}
        breakers: JsonObject = {}
        for node, backend in sorted(self.balancer.nodes.items()):
            backends[node] = {
                "state": str(backend.state),
                "weight": round(self.balancer.weight(node, now), 2),
                "connections": self.balancer.connections(node),
                "breaker": str(self.balancer.breaker(node).state),
            }
            breakers[node] = {
                "state": str(self.balancer.breaker(node).state),
                "retry_in_s": math.ceil(self.balancer.breaker(node).retry_in_s(now)),
            }
        state: JsonObject = {
            "backends": backends,
            "breakers": breakers,
            "connections": len(self.relay.tunnels),
            "waiting": self.relay.waiting,
            "invited": self.relay.line.invited,
            "kept": len(self.relay.kept),
            "handshakes_per_s": round(self.relay.line.capacity),
            "accepts": counts.accepts,
            "refused": counts.refused,
            "cut": counts.cut,
            "moved": self._moved,
            "failed_connects": counts.failed_connects,
            "turned_away": counts.turned_away,
            "timed_out": counts.timed_out,
            "turned_down": {
                "no_head": counts.no_head,
                "head_too_big": counts.head_too_big,
                "garbage": counts.garbage,
                "flooded": counts.flooded,
                "full": counts.full,
            },
            "bytes_in": counts.bytes_in,
            "bytes_out": counts.bytes_out,
        }
        if self._read_at is not None:
            # In whole seconds: while Redis answers it stays 0 and costs the watchers nothing.
            state["table_age_s"] = int(now - self._read_at)
        return state


async def run_until(stopping: asyncio.Event, gateway: Gateway) -> None:
    """Run an open gateway until `stopping` is set."""
    running = asyncio.create_task(gateway.run(), name="gateway")
    waiting = asyncio.create_task(stopping.wait(), name="stopping")
    try:
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        running.cancel()
        await gateway.close()
        await end(running)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def raise_open_files() -> int:
    """Allow this process as many open files as it may have; return how many tunnels that is enough for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # A limit of "infinity" is refused by some systems.
        wanted = 2 * TUNNELS_MAX + FDS_RESERVED if hard == resource.RLIM_INFINITY else hard
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return TUNNELS_MAX
    return max(1, min(TUNNELS_MAX, (soft - FDS_RESERVED) // 2))
