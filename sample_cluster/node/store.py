"""Everything the node asks of Redis about channels: append, read pages, compare ends.

Appends go through one queue and one task that sends them in batches: a single call costs five times its share of a
pipeline. Batches follow one another, so a publisher's messages reach the log in the order they came in.
"""

import asyncio
import importlib.resources
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeAlias

import redis.asyncio
import redis.exceptions

from sample_cluster.config import Profile
from sample_cluster.core.feed import NO_ENCODING, Page, parse_stored
from sample_cluster.core.messages import Position
from sample_cluster.errors import RemoteProtocolError, StoreUnavailableError
from sample_cluster.membership import REDIS_ERRORS
from wsmon.agent.cancellation import obey_cancellation

log = logging.getLogger(__name__)

HISTORY_ENTRIES: Final = 10_000
HISTORY_S: Final = 600
META_S: Final = 86_400
"""A channel that nobody used for a day begins a new epoch."""
PAGE_ENTRIES: Final = 256
BATCH_MOST: Final = 256
QUEUED_MOST: Final = 4_096
READS_AT_ONCE: Final = 8
"""redis-py raises when its pool is empty: reads wait here instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """One message on its way into a log. `done` is called on the loop, once, and must not block."""

    channel: str
    session: str
    cseq: int
    after: int
    """See append.lua."""
    id: str
    ts: int
    data: str
    encoding: str | None
    done: Callable[["AppendOutcome"], None]


@dataclass(frozen=True, slots=True)
class Appended:
    """The message is in the log at `seq`; `dup` when it already was."""

    seq: int
    dup: bool


@dataclass(frozen=True, slots=True)
class NotNow:
    """The message was not taken, or nobody knows: send it again."""

    code: str
    message: str


AppendOutcome: TypeAlias = Appended | NotNow
UNAVAILABLE: Final = NotNow("unavailable", "the message log does not answer")
OUT_OF_ORDER: Final = NotNow("out_of_order", "an earlier message was refused: send again from there")


class Store:
    """The channels of one cluster in Redis. `run` must run for appends to happen."""

    def __init__(self, client: redis.asyncio.Redis, cluster: str, profile: Profile, dice: Random) -> None:
        self.redis = client
        self._cluster = cluster
        self._session_ttl_s = int(profile.resume_ttl_s) + 1
        self._dice = dice
        self._source = importlib.resources.files("sample_cluster").joinpath("scripts/append.lua").read_text("utf-8")
        self._sha = ""
        self._queue: deque[Append] = deque()
        self._wake = asyncio.Event()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    def fan_out(self, channel: str) -> str:
        """Return the pub/sub channel's name."""
        return f"wsc:{self._cluster}:c:{{{channel}}}"

    async def session_key(self) -> bytes:
        """Return the cluster's key for signing sessions; the first node to ask makes it.

        Raises:
            redis.exceptions.RedisError, OSError: Redis does not answer.

        """
        name = f"wsc:{{{self._cluster}}}:session-key"
        await self.redis.set(name, secrets.token_hex(32), nx=True)
        return str(await self.redis.get(name)).encode()

    def append(self, request: Append) -> bool:
        """Queue a message; return False, and do nothing, when too many wait."""
        if len(self._queue) >= QUEUED_MOST:
            return False
        self._queue.append(request)
        self._wake.set()
        return True

    async def run(self) -> None:
        """Append what is queued until cancelled."""
        while True:
            obey_cancellation()
            await self._wake.wait()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH_MOST, len(self._queue)))]
                for request, outcome in zip(batch, await self._append(batch), strict=True):
                    request.done(outcome)
                obey_cancellation()
            self._wake.clear()

    async def read(self, channel: str, *, after: int, most: int = PAGE_ENTRIES) -> Page:
        """Return the log's end and at most `most` entries after `after`.

        Raises:
            StoreUnavailableError: Redis does not answer, or answers nonsense.

        """
        key = self.fan_out(channel)
        try:
            async with self._reads:
                pipe = self.redis.pipeline(transaction=True)
                # A channel nobody has published to yet needs a history, too, or its first message could be missed.
                pipe.hsetnx(f"{key}:meta", "epoch", self._epoch())
                pipe.hmget(f"{key}:meta", "epoch", "top", "nonce")
                pipe.xrange(f"{key}:log", min=f"{after + 1}-0", count=most)
                pipe.expire(f"{key}:meta", META_S)
                _, (epoch, top, nonce), entries, _ = await pipe.execute()
            return Page(
                epoch=epoch,
                top=int(top or 0),
                nonce=int(nonce or 0),
                entries=tuple(parse_stored(name, fields) for name, fields in entries),
            )
        except (*REDIS_ERRORS, RemoteProtocolError, ValueError) as error:
            raise StoreUnavailableError(f"reading {channel}: {error}") from error

    async def ends(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return where the logs end; a channel without a history is left out.

        Raises:
            StoreUnavailableError: Redis does not answer.

        """
        names = list(channels)
        try:
            async with self._reads:
                pipe = self.redis.pipeline(transaction=False)
                for name in names:
                    pipe.hmget(f"{self.fan_out(name)}:meta", "epoch", "top", "nonce")
                    pipe.expire(f"{self.fan_out(name)}:meta", META_S)
                rows = (await pipe.execute())[::2]
            return {
                name: Position(epoch=epoch, seq=int(top or 0), nonce=int(nonce or 0))
                for name, (epoch, top, nonce) in zip(names, rows, strict=True)
                if epoch is not None
            }
        except (*REDIS_ERRORS, ValueError) as error:
            raise StoreUnavailableError(f"comparing channels: {error}") from error

    def _epoch(self) -> str:
        return f"{self._dice.getrandbits(32):08x}"

    async def _append(self, batch: list[Append]) -> list[AppendOutcome]:
        try:
            replies = await self._pipeline(batch)
            if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
                # The server was restarted. What did get in is found again by its cseq.
                self._sha = ""
                replies = await self._pipeline(batch)
        except REDIS_ERRORS as error:
            log.warning("append failed, %d messages are to be sent again: %s", len(batch), error)
            self._sha = ""
            return [UNAVAILABLE] * len(batch)
        return [self._outcome(reply) for reply in replies]

    async def _pipeline(self, batch: list[Append]) -> list[Any]:
        if not self._sha:
            self._sha = await self.redis.script_load(self._source)
        pipe = self.redis.pipeline(transaction=False)
        for request in batch:
            key = self.fan_out(request.channel)
            pipe.evalsha(
                self._sha,
                3,
                f"{key}:log",
                f"{key}:meta",
                f"{key}:dedupe:{request.session}",
                key,
                request.cseq,
                request.after,
                request.id,
                request.ts,
                request.data,
                request.encoding or NO_ENCODING,
                self._dice.getrandbits(32),
                self._epoch(),
                HISTORY_ENTRIES,
                HISTORY_S,
                META_S,
                self._session_ttl_s,
            )
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies

    @staticmethod
    def _outcome(reply: Any) -> AppendOutcome:
        match reply:
            case ["ok", seq]:
                return Appended(int(seq), dup=False)
            case ["dup", seq]:
                return Appended(int(seq), dup=True)
            case ["order", _]:
                return OUT_OF_ORDER
            case _:
                log.warning("append was refused: %s", reply)
                return UNAVAILABLE
