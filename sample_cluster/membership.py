"""A process's place in the control plane: its registry entry, its lease, and its journal of events in Redis.

Redis may be away at any time: the entry is renewed when it is back, and events wait in a bounded queue.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Final

from sample_cluster.redis_link import REDIS_ERRORS, REDIS_TIMEOUT_S, RedisClient, connect_redis
from wsmon.agent.cancellation import obey_cancellation
from wsmon.protocol.codec import event_object
from wsmon.protocol.fields import dump_object
from wsmon.protocol.frames import EventFrame
from wsmon.protocol.registry import ENTRY_RENEW_S, ENTRY_TTL_S, STREAM_LENGTH, Keys, RegistryEntry

__all__ = ["REDIS_ERRORS", "REDIS_TIMEOUT_S", "Membership", "connect_redis"]

log = logging.getLogger(__name__)

JOURNAL_QUEUED: Final = 2_000
_LEASE_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux stops CLOCK_MONOTONIC while the machine sleeps; a lease in Redis runs on. Source: clock_gettime(2)."""


def lease_clock() -> float:
    """Return the seconds of a steady clock that goes on while the machine sleeps."""
    return time.clock_gettime(_LEASE_CLOCK)


class Membership:
    """Keeps one registry entry alive and writes one process's events. `run` until cancelled."""

    def __init__(self, client: RedisClient, keys: Keys, entry: RegistryEntry, *, ttl_s: float = ENTRY_TTL_S) -> None:
        """`entry` is given up `ttl_s` after its last renewal, and renewed three times within that."""
        self._redis = client
        self._keys = keys
        self._entry = entry
        self._queue: deque[EventFrame] = deque(maxlen=JOURNAL_QUEUED)
        self._wake = asyncio.Event()
        self._ttl_s = ttl_s
        self._renew_s = ttl_s * ENTRY_RENEW_S / ENTRY_TTL_S
        self._renew_at = 0.0
        self.renewed_at: float | None = None
        """When the lease was renewed last, by `lease_clock`; None before the first time."""
        self.dropped = 0
        """Events that Redis was away too long for."""
        self.available = False
        """Whether the last write to Redis went through."""
        self.rtt_ms = 0.0

    @property
    def entry(self) -> RegistryEntry:
        """What is registered."""
        return self._entry

    @property
    def lease_age_s(self) -> float | None:
        """Seconds since the entry was last renewed; None before the first time."""
        return None if self.renewed_at is None else lease_clock() - self.renewed_at

    def change(self, entry: RegistryEntry) -> None:
        """Register `entry` from now on; it goes out at once."""
        self._entry = entry
        self._renew_at = 0.0
        self._wake.set()

    def journal(self, event: EventFrame) -> None:
        """Queue an event for the stream; the oldest gives way while Redis is away."""
        if len(self._queue) == JOURNAL_QUEUED:
            self.dropped += 1
        self._queue.append(event)
        self._wake.set()

    async def register(self) -> None:
        """Write the entry and its lease.

        Raises:
            redis.exceptions.RedisError, OSError: Redis does not answer.

        """
        started = lease_clock()
        pipe = self._redis.pipeline(transaction=True)
        pipe.zadd(self._keys.nodes, {self._entry.id: time.time() + self._ttl_s})
        pipe.set(self._keys.node(self._entry.id), dump_object(self._entry.to_object()), px=round(self._ttl_s * 1_000))
        await pipe.execute()
        # From before the call: an answer that lay unread while we were stopped says nothing of now.
        self.renewed_at = started if self.renewed_at is None else max(started, self.renewed_at)
        self.rtt_ms = (lease_clock() - started) * 1_000

    async def run(self) -> None:
        """Renew the entry and write events until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            obey_cancellation()
            self._wake.clear()
            try:
                if clock() >= self._renew_at:
                    # Set before writing: an entry that changes meanwhile is written again.
                    self._renew_at = clock() + self._renew_s
                    await self.register()
                await self._write_events()
                self._say_available()
            except REDIS_ERRORS as error:
                if self.available:
                    log.warning("redis is away: %s", error)
                self.available = False
                self._renew_at = 0.0
                await asyncio.sleep(0.25)
                continue
            try:
                async with asyncio.timeout(max(0.0, self._renew_at - clock())):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def leave(self) -> None:
        """Write what is queued and take the entry back, if Redis is there to hear it."""
        try:
            await self._write_events()
            pipe = self._redis.pipeline(transaction=True)
            pipe.zrem(self._keys.nodes, self._entry.id)
            pipe.delete(self._keys.node(self._entry.id))
            await pipe.execute()
        except REDIS_ERRORS as error:
            log.info("could not leave the registry: %s", error)

    def _say_available(self) -> None:
        if not self.available:
            log.info("redis answers")
        self.available = True

    async def _write_events(self) -> None:
        while self._queue:
            batch = list(self._queue)[:200]
            pipe = self._redis.pipeline(transaction=False)
            for event in batch:
                pipe.xadd(
                    self._keys.events,
                    {"event": dump_object(event_object(event))},
                    maxlen=STREAM_LENGTH,
                    approximate=True,
                )
            await pipe.execute()
            for event in batch:
                if self._queue and self._queue[0] is event:
                    self._queue.popleft()
