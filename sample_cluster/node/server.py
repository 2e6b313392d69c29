"""One node: the socket that clients connect to, what state the node is in, and how it is emptied."""

import asyncio
import gc
import itertools
import logging
import math
import time
from collections.abc import Sequence
from http import HTTPStatus
from random import Random

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from sample_cluster.codecs import SUBPROTOCOLS, codec_for
from sample_cluster.codecs.limits import DATA_MAX, FRAME_MAX
from sample_cluster.config import Profile
from sample_cluster.core.drain import Drain, Pace, Phase
from sample_cluster.core.messages import GoAwayReason, Limits, Reconnect, Timings
from sample_cluster.core.send_window import MESSAGES_MAX
from sample_cluster.core.session import Terms
from sample_cluster.membership import REDIS_ERRORS
from sample_cluster.node.connection import RESTART, ClientConnection, Services
from sample_cluster.node.credentials import Credentials
from sample_cluster.node.feed import Feeds
from sample_cluster.node.fence import FENCED, ClientSocket
from sample_cluster.node.http import document, metrics, plain, refuse_request
from sample_cluster.node.hub import Hub, Member
from sample_cluster.node.sessions import Sessions
from sample_cluster.node.store import Store
from sample_cluster.node.survivors import Lookout
from sample_cluster.role import Role
from wsmon.agent.cancellation import obey_cancellation
from wsmon.protocol.events import (
    DrainAborted,
    DrainDone,
    DrainProgress,
    DrainStarted,
    NodeStateChanged,
    ZombieRefused,
)
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState

log = logging.getLogger(__name__)

GARBAGE_AFTER = (2_000, 25, 100)
"""Thresholds of the garbage collector: a connection is a hundred objects that live on, and with the defaults a full look
at all of them holds the loop up whenever a crowd comes."""
PROGRESS_S = 0.5
DRAIN_LEAD_S = 0.5
"""From the state `draining` to the first client that is told: checker and gateway hear of it in between."""
SENT_AWAY_WITHIN_S = 5.0
FEEDS_SHOWN = 64
ACK_MS = 1_000
READ_AHEAD = 8
"""Frames of one client that the library may hold unread."""


class Node:
    """A node. `start` it, `run` and `join` it side by side, `describe` it now and then, `stop` it."""

    def __init__(self, role: Role, dice: Random) -> None:
        self._role = role
        self._profile = role.settings.profile
        self.id = role.settings.id
        self.state = NodeState.JOINING
        self.cordoned = False
        self.address: str | None = None
        self.started_at = time.time()
        self.hub = Hub()
        self._store = Store(role.redis, role.settings.cluster, self._profile, dice)
        self._feeds = Feeds(self._store, self.hub, self._profile, dice, role.agent.emit)
        self.sessions = Sessions(self.id, self._store, self._feeds, self.hub, self._profile)
        self.lookout = Lookout(role.redis, role.keys, self.id)
        self._services: Services | None = None
        """None until the node has joined, and again from a fence until it has joined anew."""
        self._accepted: dict[ClientConnection, ClientSocket] = {}
        """All connections, those that were not welcomed yet included."""
        self._fences = 0
        self._fenced = asyncio.Event()
        self._server: Server | None = None
        self._numbers = itertools.count(1)
        self._sent_away: set[str] = set()
        """Names of connections that were asked to leave, or are about to be, so that nobody is asked twice."""
        self._drain: Drain | None = None
        self._drain_task: asyncio.Task[None] | None = None
        self._drain_wake = asyncio.Event()
        self.changed = asyncio.Event()
        """Set when the node's state is another: whoever publishes it should not wait."""
        self._drain_ends_at = 0.0
        self.hub.on_joined = self._connection_joined
        self.hub.on_left = self._connection_left

    async def start(self, host: str, port: int) -> str:
        """Listen, and return the address `host:port`. Clients are taken once `join` is through."""
        gc.set_threshold(*GARBAGE_AFTER)
        for subprotocol in SUBPROTOCOLS:
            codec_for(subprotocol)  # Imported now: the first client that speaks it must not hold up the others.
        quiet = logging.getLogger(f"{__name__}.handshake")
        quiet.setLevel(logging.CRITICAL)  # Every port scan and every half-open probe would be a traceback.
        self._server = await serve(
            self._handle,
            host,
            port,
            create_connection=ClientSocket,
            process_request=self._answer,
            select_subprotocol=_select,
            compression=None,
            ping_interval=None,
            max_size=FRAME_MAX,
            max_queue=READ_AHEAD,
            open_timeout=self._profile.hello_timeout_s,
            close_timeout=1,
            server_header=None,
            logger=quiet,
            backlog=1_024,
        )
        bound = next(iter(self._server.sockets)).getsockname()[1]
        self.address = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        return self.address

    async def run(self) -> None:
        """Work with Redis until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._store.run(), name="appends")
            group.create_task(self._feeds.run(), name="feeds")
            group.create_task(self.sessions.run(), name="sessions")
            group.create_task(self.lookout.run(), name="lookout")

    async def join(self) -> None:
        """Take clients once Redis knows this node and the cluster's key is known; again after a fence. Never returns."""
        while True:
            obey_cancellation()
            self._fenced.clear()
            key = await self._register()
            obey_cancellation()
            if self._fenced.is_set():
                continue  # What was registered is an earlier life.
            self._services = Services(
                terms=terms(self.id, self._role.boot, self._profile),
                profile=self._profile,
                hub=self.hub,
                feeds=self._feeds,
                store=self._store,
                sessions=self.sessions,
                credentials=Credentials(key),
                emit=self._role.agent.emit,
            )
            if self.state is NodeState.JOINING:
                self._enter(NodeState.ONLINE)
            log.info("%s at %s as boot %d", self.state, self.address, self._role.boot)
            await self._fenced.wait()

    def fence(self, stood_s: float) -> None:
        """End this life of the node, which stood still while its lease ran out, and begin another.

        Does not wait: when it returns, nothing that clients or operators sent meanwhile can have an effect any more.
        """
        self._services = None
        self._fences += 1
        self._fenced.set()
        self._role.begin_life()
        reason = f"stood still for {stood_s:.1f} s, its lease ran out"
        if self.state is NodeState.ONLINE:
            self._enter(NodeState.JOINING)
            self._role.agent.emit(
                NodeStateChanged(node=self.id, old=NodeState.ONLINE, new=NodeState.JOINING, reason=reason)
            )
        else:  # One that joins, drains or left goes on doing so.
            self._role.agent.emit(ZombieRefused(node=self.id, reason=reason))
        for connection, socket in [*self._accepted.items()]:
            socket.deaf = True
            connection.close(FENCED, "fenced")
        self.changed.set()

    def _enter(self, state: NodeState) -> None:
        self.state = state
        self.changed.set()

    async def _register(self) -> bytes:
        """Enter the registry and return the cluster's key, as soon as Redis answers."""
        while True:
            obey_cancellation()
            try:
                key = await self._store.session_key()
                await self._role.membership.register()
            except REDIS_ERRORS as error:
                log.info("waiting for redis: %s", error)
                await asyncio.sleep(self._profile.reconnect.base_s)
            else:
                return key

    async def stop(self) -> None:
        """Close what is still open with 1012, and stop listening."""
        if self._server is not None:
            self._server.close(code=RESTART)
            await self._server.wait_closed()

    @property
    def connections(self) -> tuple[ClientConnection, ...]:
        """Return the connections that were welcomed."""
        return tuple(item for item in self.hub.connections.values() if isinstance(item, ClientConnection))

    def close(self, connections: Sequence[ClientConnection], code: int, reason: str) -> None:
        """Close connections."""
        for connection in connections:
            connection.close(code, reason)

    @property
    def owners(self) -> tuple[ClientConnection, ...]:
        """Return, for each session, the connection that it is served on."""
        return tuple(item for item in self.hub.sessions.values() if isinstance(item, ClientConnection))

    @property
    def staying(self) -> tuple[ClientConnection, ...]:
        """Return the connections that nobody has sent away, the oldest first."""
        return tuple(item for item in self.connections if item.name not in self._sent_away)

    def send_away(self, connections: Sequence[ClientConnection]) -> float:
        """Ask connections to leave for another node, one after the other; return how many are asked in a second.

        Those that do not go are closed a while after they were asked.
        """
        loop = asyncio.get_running_loop()
        rate = Pace.of(len(connections), self.lookout.survivors, deadline_s=math.inf).rate
        for turn, connection in enumerate(connections):
            self._sent_away.add(connection.name)
            loop.call_later(turn / rate, self._send_away, connection)
        return rate

    def _send_away(self, connection: ClientConnection) -> None:
        if connection.name in self.hub.connections:
            connection.go_away(GoAwayReason.OVERLOAD, deadline_s=SENT_AWAY_WITHIN_S)
            asyncio.get_running_loop().call_later(SENT_AWAY_WITHIN_S, connection.close, RESTART, "sent away")

    # Draining.

    @property
    def draining(self) -> Drain | None:
        """The drain under way."""
        return self._drain

    def drain(self, *, deadline_s: float, rate: float | None) -> Drain | None:
        """Begin to empty the node, or return the drain that is under way; None if the node is empty for good."""
        if self._drain is not None or self.state is NodeState.LEFT:
            return self._drain
        loop = asyncio.get_running_loop()
        self._drain = Drain(
            [*self.hub.connections],
            now=loop.time(),
            deadline_s=deadline_s,
            rate=rate,
            lead_s=DRAIN_LEAD_S,
            survivors=self.lookout.survivors,
        )
        self._drain_ends_at = time.time() + deadline_s
        self._enter(NodeState.DRAINING)
        self._role.agent.emit(DrainStarted(node=self.id, total=self._drain.total, deadline=self._drain_ends_at))
        self._drain_task = loop.create_task(self._run_drain(self._drain), name="drain")
        return self._drain

    def undrain(self) -> bool:
        """Call off a drain, or come back after one; return whether there was anything to call off."""
        if self.state not in {NodeState.DRAINING, NodeState.LEFT}:
            return False
        if self._drain_task is not None:
            self._drain_task.cancel()
        if self._drain is not None:
            self._role.agent.emit(DrainAborted(node=self.id))
        self._drain = self._drain_task = None
        self._enter(NodeState.JOINING if self._services is None else NodeState.ONLINE)
        return True

    async def drained(self) -> None:
        """Wait until the drain under way is over."""
        if self._drain_task is not None:
            await asyncio.wait([self._drain_task])

    async def _run_drain(self, plan: Drain) -> None:
        clock = asyncio.get_running_loop().time
        progress_due, told = clock() + PROGRESS_S, plan.left
        while (phase := plan.phase(clock())) in {Phase.TELLING, Phase.WAITING}:
            for name in plan.due(clock()):
                member = self.hub.connections.get(name)
                if isinstance(member, ClientConnection):
                    member.go_away(GoAwayReason.DRAIN, deadline_s=plan.ends - clock())
            if clock() >= progress_due:
                progress_due = clock() + PROGRESS_S
                if plan.left != told:
                    told = plan.left
                    self._role.agent.emit(DrainProgress(node=self.id, left=plan.left, total=plan.total))
            self._drain_wake.clear()
            try:
                async with asyncio.timeout(max(0.0, min(plan.deadline, progress_due) - clock())):
                    await self._drain_wake.wait()
            except TimeoutError:
                pass
        forced = plan.left if phase is Phase.CLOSING else 0
        self.close(self.connections, RESTART, "drained")
        self._drain = None
        self._enter(NodeState.LEFT)
        self._role.agent.emit(DrainDone(node=self.id, forced=forced))

    def _connection_joined(self, member: Member) -> None:
        """Send a connection away whose handshake was under way when the drain began."""
        if self._drain is not None:
            self._drain.joined(member.name)
            self._drain_wake.set()
        elif self.state is NodeState.LEFT and isinstance(member, ClientConnection):
            member.close(RESTART, "drained")

    def _connection_left(self, name: str) -> None:
        self._sent_away.discard(name)
        if self._drain is not None:
            self._drain.gone(name)
            if self._drain.left == 0:
                self._drain_wake.set()

    # Serving.

    async def _handle(self, socket: ServerConnection) -> None:
        assert isinstance(socket, ClientSocket)
        if self._services is None:  # Fenced between the request and now; until the services are there none gets here.
            await socket.close(FENCED, "fenced")
            return
        connection = ClientConnection(next(self._numbers), socket, self._services)
        self._accepted[connection] = socket
        try:
            await connection.serve()
        finally:
            del self._accepted[connection]

    def _answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        refusal = refuse_request(request)
        if refusal is not None:
            return refusal
        match request.path.partition("?")[0]:
            case "/live":
                return plain(HTTPStatus.OK, "live\n")
            case "/health":
                return self._health(needs_redis=False)
            case "/ready":
                return self._health(needs_redis=True)
            case "/metrics":
                return self._metrics()
            case _:
                return self._admit()

    def _admit(self) -> Response | None:
        now = asyncio.get_running_loop().time()
        serving = self.state is NodeState.ONLINE or (self._drain is not None and self._drain.admits(now))
        if self._services is not None and serving and not self.cordoned:
            return None
        word = "cordoned" if self.cordoned else self.state
        wait = {"Retry-After": "1"}
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, f"this node takes no connections: {word}\n", wait)

    def _health(self, *, needs_redis: bool) -> Response:
        going = self.state in {NodeState.DRAINING, NodeState.LEFT}
        fields = {"status": "ok", "node": self.id, "boot": self._role.boot, "state": str(self.state)}
        if needs_redis:
            ready = self._services is not None and self._feeds.connected and not self.cordoned and not going
            status = "ok" if ready else "unready"
        else:
            fenced = self._services is None and self._fences > 0
            status = "fenced" if fenced else str(self.state) if going else "ok"
        code = HTTPStatus.OK if status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
        return document(code, {**fields, "status": status})

    def _metrics(self) -> Response:
        hub = self.hub
        return metrics(
            {
                "wsc_connections": ("gauge", "Open client connections.", len(hub.connections)),
                "wsc_channels": ("gauge", "Channels followed.", len(self._feeds)),
                "wsc_messages_in_total": ("counter", "Messages published by clients.", hub.messages_in),
                "wsc_messages_out_total": ("counter", "Messages delivered to clients.", hub.messages_out),
                "wsc_bytes_in_total": ("counter", "Bytes of frames from clients.", hub.bytes_in),
                "wsc_bytes_out_total": ("counter", "Bytes of frames to clients.", hub.bytes_out),
                "wsc_heartbeats_missed_total": ("counter", "Pings without an answer.", hub.pings_missed),
                "wsc_redis_connected": ("gauge", "Whether the fan-out stands.", int(self._feeds.connected)),
                "wsc_fences_total": ("counter", "Lives ended because the lease ran out in a pause.", self._fences),
                "wsc_loop_lag_seconds": ("gauge", "Worst recent lateness.", self._role.agent.lag_ms / 1_000),
            },
            node=self.id,
        )

    # What the node says of itself.

    def describe(self, process: JsonObject) -> JsonObject:
        """Return the admin state; what is not known is left out."""
        hub, role = self.hub, self._role
        state: JsonObject = {
            "state": str(self.state),
            "started_at": round(self.started_at, 3),
            "connections": len(hub.connections),
            "sessions": len(hub.sessions),
            "channels": len(self._feeds),
            "messages_in": hub.messages_in,
            "messages_out": hub.messages_out,
            "bytes_in": hub.bytes_in,
            "bytes_out": hub.bytes_out,
            "unacked": sum(connection.unacked for connection in self.connections),
            "lagging": sum(connection.protocol.lagging for connection in self.connections),
            "retransmits": hub.retransmits + sum(item.protocol.retransmits for item in self.connections),
            "resumes": {how: hub.resumes[how] for how in ("ring", "log", "resync", "stale")},
            "heartbeat": {"sent": hub.pings, "missed": hub.pings_missed, "dead": hub.dead},
            "closes": {str(code): count for code, count in sorted(hub.closes.items())},
            "feeds": self._describe_feeds(),
            "breakers": self._describe_breakers(),
            "redis": {"state": "ok" if self._feeds.connected else "away"},
            "loop_lag_ms": round(role.agent.lag_ms, 1),
            "process": process,
        }
        if self.cordoned:
            state["cordoned"] = True
        if self.address is not None:
            state["address"] = self.address
        if self._feeds.rtt_ms is not None:
            state["redis"] = {"state": "ok", "rtt_ms": round(self._feeds.rtt_ms, 2)}
        age = role.membership.lease_age_s
        if age is not None:
            state["lease_age_s"] = round(age, 1)
        if self._drain is not None:
            now = asyncio.get_running_loop().time()
            state["drain"] = {
                "phase": str(self._drain.phase(now)),
                "left": self._drain.left,
                "told": self._drain.told,
                "total": self._drain.total,
                "deadline": round(self._drain_ends_at, 3),
                "eta_s": round(self._drain.eta_s(now), 1),
                "rate": round(self._drain.pace.rate, 1),
                **({"hurried": True} if self._drain.pace.hurried else {}),
            }
        return state

    def _describe_breakers(self) -> JsonObject:
        now = asyncio.get_running_loop().time()
        return {
            name: {"state": str(breaker.state), "retry_in_s": round(breaker.retry_in_s(now), 1)}
            for name, breaker in self._store.breakers.items()
        }

    def _describe_feeds(self) -> JsonObject:
        """Return the feeds with most listeners: the state has a bound, the number of channels has not."""
        members = self.hub.channels
        shown = sorted(self._feeds, key=lambda feed: -len(members.get(feed.channel, ())))[:FEEDS_SHOWN]
        return {
            feed.channel: {
                "state": str(feed.state),
                "seq": 0 if feed.position is None else feed.position.seq,
                "members": len(members.get(feed.channel, ())),
            }
            for feed in shown
        }


def _select(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Return the first that we speak, too; a client that offers nothing gets JSON without saying so."""
    return next((name for name in offered if name in SUBPROTOCOLS), None)


def terms(node: str, boot: int, profile: Profile) -> Terms:
    """Return what a node tells its clients."""
    ping, reconnect = profile.client_ping, profile.reconnect
    return Terms(
        node=node,
        boot=boot,
        timings=Timings(
            ping_ms=round(ping.interval_s * 1_000),
            pong_ms=round(ping.timeout_s * 1_000),
            misses=ping.failures,
            resume_ttl_ms=round(profile.resume_ttl_s * 1_000),
            ack_ms=ACK_MS,
        ),
        limits=Limits(max_frame=FRAME_MAX, max_data=DATA_MAX, window=MESSAGES_MAX),
        reconnect=Reconnect(
            spread_ms=round(reconnect.spread_s * 1_000),
            base_ms=round(reconnect.base_s * 1_000),
            factor=reconnect.factor,
            cap_ms=round(reconnect.cap_s * 1_000),
            jitter=reconnect.jitter,
            stable_ms=round(reconnect.stable_s * 1_000),
        ),
        # Half of a client's patience with an attempt.
        welcome_within_s=profile.connect_timeout_s / 2,
    )
