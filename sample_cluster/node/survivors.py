"""Who would take this node's clients, and how fast: read from the registry, in which the gateways say what they measure."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from sample_cluster.core.drain import Survivors
from sample_cluster.membership import REDIS_ERRORS
from sample_cluster.redis_link import RedisClient
from wsmon.agent.cancellation import obey_cancellation
from wsmon.errors import RemoteProtocolError
from wsmon.protocol.fields import Fields, parse_object
from wsmon.protocol.registry import Keys, decode_entry, decode_verdict
from wsmon.protocol.states import NodeState, PeerKind

log = logging.getLogger(__name__)

READ_EVERY_S: Final = 3.0
"""As often as a registry entry is renewed."""
BELIEVED_S: Final = 15.0
"""What was read is worth nothing when it is older."""
HANDSHAKES_MOST: Final = 100_000.0


def survivors_of(table: Mapping[str, str], entries: Mapping[str, str | None], *, node: str) -> Survivors:
    """Return who is left without `node`, from the JSON texts of verdicts and registry entries.

    Several gateways each see their own part: connections add up, and of their measurements the lowest counts. What does
    not parse is left out.
    """
    connections: dict[str, int | None] = {
        name: None for name, text in table.items() if name != node and _is_online(name, text, entries.get(name))
    }
    per_node: float | None = None
    for text in entries.values():
        try:
            load = None if text is None else _load(text)
            if load is None:
                continue
            counts = load.object_or_none("connections") or {}
            for name in connections.keys() & counts.keys():
                connections[name] = (connections[name] or 0) + Fields(counts, "load").integer(name, least=0)
            measured = load.number_or_none("handshakes_per_s", least=0, most=HANDSHAKES_MOST)
        except RemoteProtocolError as error:
            log.info("a gateway's load makes no sense: %s", error)
            continue
        if measured is not None:
            per_node = measured if per_node is None else min(per_node, measured)
    return Survivors(connections=connections, per_node=per_node)


def _is_online(name: str, verdict: str, entry: str | None) -> bool:
    try:
        if entry is None or decode_entry(entry).kind is not PeerKind.NODE:
            return False
        return decode_verdict(verdict, node=name).state is NodeState.ONLINE
    except RemoteProtocolError:
        return False


def _load(text: str) -> Fields | None:
    """Return the load of a gateway's entry, None if it is another's or tells none."""
    fields = Fields(parse_object(text, what="registry entry"), "registry entry")
    if fields.text_or_none("kind") != PeerKind.GATEWAY:
        return None
    load = fields.object_or_none("load")
    return None if load is None else Fields(load, "load")


class Lookout:
    """Keeps what is known of the other nodes fresh. `run` until cancelled."""

    def __init__(self, redis: RedisClient, keys: Keys, node: str) -> None:
        self._redis = redis
        self._keys = keys
        self._node = node
        self._survivors = Survivors()
        self._read_at: float | None = None

    @property
    def survivors(self) -> Survivors:
        """Who is left without this node; nobody as long as Redis has not said."""
        now = asyncio.get_running_loop().time()
        return self._survivors if self._read_at is not None and now - self._read_at < BELIEVED_S else Survivors()

    async def run(self) -> None:
        """Read now and then, until cancelled."""
        while True:
            obey_cancellation()
            try:
                self._survivors = await self._read()
                self._read_at = asyncio.get_running_loop().time()
            except REDIS_ERRORS as error:
                log.debug("the registry cannot be read: %s", error)
            await asyncio.sleep(READ_EVERY_S)

    async def _read(self) -> Survivors:
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(self._keys.health)
        pipe.zrangebyscore(self._keys.nodes, time.time(), "+inf")
        table, names = await pipe.execute()
        texts: list[Any] = await self._redis.mget([self._keys.node(name) for name in names]) if names else []
        return survivors_of(table, dict(zip(names, texts, strict=True)), node=self._node)
