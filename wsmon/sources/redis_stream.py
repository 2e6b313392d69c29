"""Redis: who is registered, what the checker holds true, and the stream of events.

The tables are read every second, in calm every two, and at once when the verdicts' stream moves or a connection is lost; events come
from their stream. Every few seconds the server is asked what it is and how much it does.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Final

from wsmon.agent.cancellation import obey_cancellation
from wsmon.errors import RemoteProtocolError
from wsmon.model.inputs import Happened, Input, RedisSeen, RegistryBad, RegistrySeen, VerdictsSeen
from wsmon.protocol.beat import until_beat
from wsmon.protocol.codec import decode_event
from wsmon.protocol.fields import parse_object
from wsmon.protocol.registry import Keys, RegistryEntry, Verdict, decode_entry, decode_verdict

log = logging.getLogger(__name__)

TABLES_EVERY_S: Final = 1.0
CALM_EVERY_S: Final = 2.0
"""… while nothing is under way."""
INFO_EVERY_S: Final = 5.0
ROLES: Final = {"master": "primary", "slave": "replica"}
"""What servers call themselves → our words."""
BLOCK_MS = 1_000
CALL_TIMEOUT_S = 3.0
RETRY_S = 0.5
HISTORY = 200
"""Events read back at the start, so that a console opened after an incident still shows it."""
BATCH = 500


class RedisSource:
    """Reads one cluster's control plane. `run` until cancelled; Redis may come and go.

    The client is typed as Any: redis-py's answers are unions over all of its modes.
    """

    def __init__(self, url: str, keys: Keys, clock: Callable[[], float]) -> None:
        self._url = url
        self._keys = keys
        self._clock = clock
        self._last_event = ""
        self._last_verdict = "$"
        self._changed = asyncio.Event()
        self._history_told = asyncio.Event()
        self._told: str | None = None
        self._every_s = TABLES_EVERY_S
        self._role = ""
        self._ops_s: float | None = None

    def calm(self, on: bool) -> None:  # noqa: FBT001  # A word of the caller's, passed on.
        """Read less often while nothing is under way. To be called on the loop."""
        self._every_s = CALM_EVERY_S if on else TABLES_EVERY_S
        if not on:
            self._changed.set()

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Tell what Redis holds until cancelled."""
        from wsmon.agent.redis_client import open_redis  # noqa: PLC0415  # redis-py: half a second of CPU, in this thread.

        client = open_redis(self._url, timeout_s=CALL_TIMEOUT_S)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(self._tables, client, emit), name="redis-tables")
                tasks.create_task(self._keep(self._streams, client, emit), name="redis-streams")
        finally:
            await client.aclose()

    async def _keep(self, follow: Callable[..., Any], client: Any, emit: Callable[[Input], None]) -> None:
        from wsmon.agent.redis_client import REDIS_ERRORS  # noqa: PLC0415  # See run.

        while True:
            obey_cancellation()
            try:
                await follow(client, emit)
            except REDIS_ERRORS as error:
                self._changed.set()  # Whoever waits for its turn to ask finds out now.
                detail = type(error).__name__ if not str(error) else str(error)
                if follow == self._tables and self._told != detail:
                    log.info("redis is away: %s", detail)
                    self._told = detail
                    emit(RedisSeen(state="away", detail=detail, at=self._clock()))
                await asyncio.sleep(RETRY_S)

    async def _tables(self, client: Any, emit: Callable[[Input], None]) -> None:
        clock = asyncio.get_running_loop().time
        await client.exists(self._keys.nodes)  # On a Cluster, a ping would ask every server.
        await self._history_told.wait()  # Whoever sees Redis answer has seen its history as well.
        info_due = clock()  # It may be another server than before.
        while True:
            obey_cancellation()
            self._changed.clear()
            if clock() >= info_due:
                await self._ask_info(client)
                info_due = clock() + INFO_EVERY_S
            started = clock()
            names = await client.zrangebyscore(self._keys.nodes, self._clock(), "+inf")
            texts = await client.mget([self._keys.node(name) for name in names]) if names else []
            table = await client.hgetall(self._keys.health)
            rtt_ms = (clock() - started) * 1_000 / 3
            self._told = None
            at = self._clock()
            emit(RedisSeen(state="ok", rtt_ms=rtt_ms, role=self._role, ops_s=self._ops_s, at=at))
            emit(RegistrySeen(entries=self._entries(names, texts, emit), at=at))
            emit(VerdictsSeen(verdicts=self._verdicts(table, emit), at=at))
            try:
                async with asyncio.timeout(until_beat(self._clock(), self._every_s)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _ask_info(self, client: Any) -> None:
        from redis.exceptions import ResponseError  # noqa: PLC0415  # See run.

        # Of a Cluster, the server that holds our keys.
        find = getattr(client, "get_node_from_key", None)
        whom = {} if find is None else {"target_nodes": find(self._keys.nodes)}
        try:
            told = await client.info(**whom)
        except ResponseError:  # Not everybody may ask; everything else goes on without.
            told = {}
        self._role, self._ops_s = info_of(told)

    def _entries(
        self, names: list[str], texts: list[str | None], emit: Callable[[Input], None]
    ) -> tuple[RegistryEntry, ...]:
        entries = []
        for name, text in zip(names, texts, strict=True):
            if text is None:
                continue  # Its lease is just running out.
            try:
                entry = decode_entry(text)
                if entry.id != name:
                    raise RemoteProtocolError(f"registry entry {name!r} says that it is {entry.id!r}")
            except RemoteProtocolError as error:
                emit(RegistryBad(id=name, reason=error.message, at=self._clock()))
            else:
                entries.append(entry)
        return tuple(entries)

    def _verdicts(self, table: dict[str, str], emit: Callable[[Input], None]) -> tuple[Verdict, ...]:
        verdicts = []
        for node, text in table.items():
            try:
                verdicts.append(decode_verdict(text, node=node))
            except RemoteProtocolError as error:
                emit(RegistryBad(id=node, reason=error.message, at=self._clock()))
        return tuple(verdicts)

    async def _streams(self, client: Any, emit: Callable[[Input], None]) -> None:
        if not self._last_event:
            history = await client.xrevrange(self._keys.events, count=HISTORY)
            self._last_event = history[0][0] if history else "0-0"
            for _, fields in reversed(history):
                self._event(fields, emit)
        self._history_told.set()
        while True:
            obey_cancellation()
            answer = await client.xread(
                {self._keys.events: self._last_event, self._keys.health_log: self._last_verdict},
                count=BATCH,
                block=BLOCK_MS,
            )
            for stream, entries in answer or ():
                if stream == self._keys.health_log:
                    self._last_verdict = entries[-1][0]
                    self._changed.set()
                    continue
                for entry_id, fields in entries:
                    self._last_event = entry_id
                    self._event(fields, emit)

    def _event(self, fields: dict[str, str], emit: Callable[[Input], None]) -> None:
        try:
            event = decode_event(parse_object(fields.get("event", ""), what="event"))
        except RemoteProtocolError as error:
            emit(RegistryBad(id="events", reason=error.message, at=self._clock()))
            return
        emit(Happened(event=event, heard_at=self._clock()))


def info_of(told: object) -> tuple[str, float | None]:
    """Return role and commands a second out of what a server answered to `INFO`."""
    if not isinstance(told, dict):
        return "", None
    role, ops = told.get("role"), told.get("instantaneous_ops_per_sec")
    good = isinstance(ops, int | float) and not isinstance(ops, bool) and math.isfinite(ops) and ops >= 0
    return ROLES.get(role, role) if isinstance(role, str) else "", float(ops) if good and ops is not None else None
