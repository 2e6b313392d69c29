"""The health table in Redis, as the gateway reads it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sample_cluster.core.balancer import Backend
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.redis_link import REDIS_ERRORS, RedisClient
from wsmon.errors import RemoteProtocolError
from wsmon.protocol.fields import Fields, parse_object
from wsmon.protocol.registry import Keys, Verdict, decode_verdict
from wsmon.protocol.states import NodeState

log = logging.getLogger(__name__)

BLOCK_MS: Final = 700
"""Shorter than the client's own timeout of a second, or every quiet second would look like a failure."""
RETRY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """What the gateway needs of a registry entry. Servers that are none of ours need not say more."""

    boot: int
    address: str | None = None
    admin: str | None = None


def decode_place(text: str) -> Place:
    """Return where a node is.

    Raises:
        RemoteProtocolError: it does not parse.

    """
    fields = Fields(parse_object(text, what="registry entry"), "registry entry")
    return Place(
        boot=fields.integer("boot"),
        address=fields.text_or_none("address"),
        admin=fields.text_or_none("admin") or None,
    )


def to_backends(
    table: Mapping[str, str], entries: Mapping[str, str | None], *, known: Mapping[str, Place], at: float
) -> dict[str, Backend]:
    """Return what verdicts and registry entries, as JSON texts, say of each node; what does not parse is left out.

    `known` holds the newest entries seen before: an expired lease does not make an address unknown. A verdict on an
    earlier life of a node counts for nothing: that node is joining.
    """
    backends = {}
    for node, text in table.items():
        try:
            verdict: Verdict = decode_verdict(text, node=node)
            entry_text = entries.get(node)
            entry = known.get(node) if entry_text is None else decode_place(entry_text)
        except RemoteProtocolError as error:
            log.warning("%s is left out: %s", node, error)
            continue
        state = verdict.state
        later_life = entry is not None and verdict.boot is not None and entry.boot > verdict.boot
        if later_life and state in (NodeState.ONLINE, NodeState.SUSPECT):
            state = NodeState.JOINING
        backends[node] = Backend(
            state=state,
            boot=verdict.boot,
            address=None if entry is None else entry.address,
            admin=None if entry is None else entry.admin,
            age_s=max(0.0, at - verdict.at),
        )
    return backends


class RedisTable:
    """Implements `HealthTable`. `wakeups` is a connection of its own: it spends its life in a blocking read."""

    def __init__(self, client: RedisClient, wakeups: RedisClient, keys: Keys) -> None:
        self._redis = client
        self._wakeups = wakeups
        self._keys = keys
        self._last = "$"
        self._known: dict[str, Place] = {}

    async def read(self) -> Mapping[str, Backend]:
        """Return the nodes that have a verdict; a server that has lost everything counts as one that is away."""
        table: dict[str, str] = await _available(self._redis.hgetall(self._keys.health))
        if not table and self._known and not await _available(self._redis.exists(self._keys.health_log)):
            # Whoever takes nodes off the table leaves a trace of it.
            raise StoreUnavailableError("redis has lost the health table")
        names = sorted(table)
        texts = await _available(self._redis.mget([self._keys.node(name) for name in names])) if names else []
        entries: dict[str, str | None] = dict(zip(names, texts, strict=True))
        self._remember(entries)
        return to_backends(table, entries, known=self._known, at=time.time())

    async def changed(self) -> None:
        """Wait for the health log to grow."""
        try:
            # The id of the newest entry, not "$", from the second time on: nothing between two reads is missed.
            if self._last == "$":
                newest: Any = await self._wakeups.xrevrange(self._keys.health_log, count=1)
                self._last = newest[0][0] if newest else "0"
                return
            answer: Any = await self._wakeups.xread({self._keys.health_log: self._last}, block=BLOCK_MS)
        except REDIS_ERRORS as error:
            await asyncio.sleep(RETRY_S)
            self._last = "$"
            raise StoreUnavailableError(f"redis: {error}") from error
        if answer:
            self._last = answer[0][1][-1][0]

    def _remember(self, entries: Mapping[str, str | None]) -> None:
        for name in self._known.keys() - entries.keys():
            del self._known[name]
        for name, text in entries.items():
            try:
                if text is not None:
                    self._known[name] = decode_place(text)
            except RemoteProtocolError:
                self._known.pop(name, None)


async def _available(call: Awaitable[Any] | Any) -> Any:
    """Return what Redis answers.

    Raises:
        StoreUnavailableError: it does not.

    """
    try:
        return await call
    except REDIS_ERRORS as error:
        raise StoreUnavailableError(f"redis: {error}") from error
