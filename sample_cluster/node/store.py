"""Everything the node asks of Redis about channels and sessions: append, read pages, compare ends, put back, claim.

Scripts go through one queue and one task that sends them in batches: a single call costs five times its share of a
pipeline. Batches follow one another, so a publisher's messages reach the log in the order they came in.
"""

import asyncio
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any, Final, TypeAlias

from sample_cluster.config import Profile
from sample_cluster.core.breaker import Breaker, BreakerTiming, State
from sample_cluster.core.catch_up import PAGE_ENTRIES
from sample_cluster.core.claim import Claimed, Expired, Granted, Owner, Revoked, Stale, Unknown
from sample_cluster.core.feed import NO_ENCODING, Page, parse_stored
from sample_cluster.core.messages import Level, Position
from sample_cluster.core.repair import Repair
from sample_cluster.errors import RemoteProtocolError, StoreUnavailableError
from sample_cluster.node.credentials import publisher_of
from sample_cluster.redis_link import REDIS_ERRORS, Call, RedisClient, Scripts, publish, publish_word, replicas_with
from wsmon.agent.cancellation import obey_cancellation

log = logging.getLogger(__name__)

HISTORY_ENTRIES: Final = 10_000
HISTORY_S: Final = 600
META_S: Final = 86_400
"""A channel that nobody used for a day begins a new epoch."""
BATCH_MOST: Final = 256
QUEUED_MOST: Final = 4_096
READS_AT_ONCE: Final = 8
"""redis-py raises when its pool is empty: reads wait here instead."""
WRITES: Final = "redis writes"
READS: Final = "redis reads"
REPLICA_WITHIN_MS: Final = 500
"""Patience with replicas that have to confirm a `safe` publish."""


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
    level: Level = Level.FAST


@dataclass(frozen=True, slots=True)
class Appended:
    """The message is in the log at `seq`; `dup` when it already was."""

    seq: int
    dup: bool
    replicas: int | None = None
    """How many replicas have it, if that was asked for."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """The message was not taken, or nobody knows: send it again."""

    code: str
    message: str
    soon: bool = False
    """Whether it is worth another try in a moment."""


AppendOutcome: TypeAlias = Appended | NotNow
UNAVAILABLE: Final = NotNow("unavailable", "the message log does not answer")
OUT_OF_ORDER: Final = NotNow("out_of_order", "an earlier message was refused: send again from there", soon=True)
FORKED: Final = NotNow("unavailable", "the message log lacks what this node has seen, and is repaired", soon=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A connection that serves a session, or wants to."""

    session: str
    attempt: int
    node: str
    connection: str


_Job: TypeAlias = tuple[Callable[[], Call], Callable[[Any], None]]
"""Makes a call at the moment when it is sent, and takes its reply: an exception if there is none."""


class Store:
    """The channels and sessions of one cluster in Redis. `run` must run for anything to be written."""

    def __init__(self, client: RedisClient, cluster: str, profile: Profile, dice: Random) -> None:
        self.redis = client
        self.seen: Callable[[str], Position | None] = lambda _channel: None
        """Returns up to where this node has a channel's log; whatever lacks that is not written to."""
        self.on_fork: Callable[[str], None] = lambda _channel: None
        """Called with a channel whose log lacks what this node has seen."""
        self.breakers = {name: Breaker(BreakerTiming(), dice) for name in (WRITES, READS)}
        """Writes and reads may fail apart: a replica that was made the primary by mistake refuses writes only."""
        self.on_breaker: Callable[[str, str, str], object] = lambda _name, _old, _new: None
        self._scripts = Scripts(client)
        self._word = publish_word(client)
        self._cluster = cluster
        self._session_ttl_s = int(profile.resume_ttl_s) + 1
        self._dice = dice
        self._queue: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._confirming: set[asyncio.Task[None]] = set()

    # Names.

    def fan_out(self, channel: str) -> str:
        """Return the pub/sub channel's name."""
        return f"wsc:{self._cluster}:c:{{{channel}}}"

    def mailbox(self, node: str) -> str:
        """Return the pub/sub channel on which a node is told to let sessions go."""
        return f"wsc:{self._cluster}:n:{{{node}}}"

    def _session(self, session: str) -> str:
        return f"wsc:{self._cluster}:s:{{{session}}}"

    async def session_key(self) -> bytes:
        """Return the cluster's key for signing sessions; the first node to ask makes it.

        Raises:
            redis.exceptions.RedisError, OSError: Redis does not answer.

        """
        name = f"wsc:{{{self._cluster}}}:session-key"
        await self.redis.set(name, secrets.token_hex(32), nx=True)
        return str(await self.redis.get(name)).encode()

    # What is written.

    async def run(self) -> None:
        """Write what is queued until cancelled."""
        while True:
            obey_cancellation()
            await self._wake.wait()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH_MOST, len(self._queue)))]
                for (_, done), reply in zip(batch, await self._run([make() for make, _ in batch]), strict=True):
                    done(reply)
                obey_cancellation()
            self._wake.clear()

    async def _run(self, calls: list[Call]) -> list[Any]:
        """Run scripts; return a reply or an exception for each."""
        try:
            async with self._guarded(WRITES):
                return await self._scripts.run(calls)
        except (*REDIS_ERRORS, StoreUnavailableError) as error:
            log.warning("%d scripts came to nothing: %s", len(calls), error)
            return [error] * len(calls)

    @asynccontextmanager
    async def _guarded(self, name: str) -> AsyncIterator[None]:
        """Call Redis through a breaker.

        Raises:
            StoreUnavailableError: it is open.

        """
        breaker, clock = self.breakers[name], asyncio.get_running_loop().time
        before = breaker.state
        if not breaker.allows(clock()):
            raise StoreUnavailableError(f"redis has failed lately: the breaker of {name} is open")
        try:
            yield
        except REDIS_ERRORS:
            breaker.failed(clock())
            raise
        except BaseException:
            breaker.abandoned()
            raise
        else:
            breaker.succeeded()
        finally:
            self._told(name, before)

    def _told(self, name: str, before: State) -> None:
        state = self.breakers[name].state
        if state is not before:
            self.on_breaker(name, before, state)

    def restored(self) -> None:
        """Take note that Redis is well again: nobody has to find out by trying."""
        for name, breaker in self.breakers.items():
            before = breaker.state
            breaker.reset()
            self._told(name, before)

    def _put(self, make: Callable[[], Call], done: Callable[[Any], None]) -> bool:
        if len(self._queue) >= QUEUED_MOST:
            return False
        self._queue.append((make, done))
        self._wake.set()
        return True

    def append(self, request: Append) -> bool:
        """Queue a message; return False, and do nothing, when too many wait."""
        return self._put(lambda: self._append_call(request), lambda reply: self._appended(request, reply))

    def _append_call(self, request: Append) -> Call:
        key = self.fan_out(request.channel)
        seen = self.seen(request.channel)
        return Call(
            "append",
            (f"{key}:log", f"{key}:meta", f"{key}:dedupe:{publisher_of(request.id)}"),
            (
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
                self._word,
                *(("", 0, 0) if seen is None else (seen.epoch, seen.seq, seen.nonce)),
            ),
        )

    def _appended(self, request: Append, reply: Any) -> None:
        match reply:
            case ["ok", seq]:
                outcome: AppendOutcome = Appended(int(seq), dup=False)
            case ["dup", seq]:
                outcome = Appended(int(seq), dup=True)
            case ["order", _]:
                outcome = OUT_OF_ORDER
            case ["fork", _]:
                self.on_fork(request.channel)
                outcome = FORKED
            case _:
                if not isinstance(reply, (*REDIS_ERRORS, StoreUnavailableError)):
                    log.warning("append was refused: %s", reply)
                outcome = UNAVAILABLE
        if isinstance(outcome, Appended) and request.level is Level.SAFE:
            task = asyncio.get_running_loop().create_task(self._confirm(request, outcome), name="confirm")
            self._confirming.add(task)
            task.add_done_callback(self._confirming.discard)
        else:
            request.done(outcome)

    async def _confirm(self, request: Append, outcome: Appended) -> None:
        """Wait until a replica has what was just written, if there is one, and answer."""
        request.done(Appended(outcome.seq, dup=outcome.dup, replicas=await self._replicas(request.channel)))

    async def _replicas(self, channel: str) -> int:
        try:
            async with self._reads:
                return await replicas_with(self.redis, f"{self.fan_out(channel)}:safe", within_ms=REPLICA_WITHIN_MS)
        except REDIS_ERRORS as error:
            log.info("no replica confirms: %s", error)
            return 0

    # Sessions.

    def claim(self, who: Connected, *, new: bool, done: Callable[[Claimed], None]) -> None:
        """Claim a session for a connection; `done` is called on the loop, once."""

        def make() -> Call:
            args = (who.attempt, who.node, who.connection, self._now_ms(), self._session_ttl_s, int(new))
            return Call("claim", (self._session(who.session),), args)

        if not self._put(make, lambda reply: done(_claimed(reply))):
            done(Unknown())

    def snapshot(self, who: Connected, acks: Mapping[str, Position], *, done: Callable[[Claimed], None]) -> None:
        """Keep a session alive and note its acknowledged positions; `done` is told whether it is still ours."""
        text = json.dumps({channel: asdict(place) for channel, place in acks.items()}, separators=(",", ":"))

        def make() -> Call:
            args = (who.attempt, who.node, who.connection, self._now_ms(), self._session_ttl_s, text)
            return Call("snapshot", (self._session(who.session),), args)

        if not self._put(make, lambda reply: done(_claimed(reply))):
            done(Unknown())

    async def revoke(self, session: str) -> Owner | None:
        """End a session for good; return whose connection has to be closed.

        Raises:
            StoreUnavailableError: Redis does not answer.

        """
        (reply,) = await self._run([Call("revoke", (self._session(session),), (self._session_ttl_s,))])
        match reply:
            case [str(node), str(connection)]:
                return Owner(node=node, connection=connection) if node else None
            case _:
                raise StoreUnavailableError(f"revoking a session: {reply}")

    async def tell(self, node: str, text: str) -> None:
        """Tell another node something on its mailbox; it may get lost."""
        try:
            await publish(self.redis, self.mailbox(node), text)
        except REDIS_ERRORS as error:
            log.info("node %s could not be told: %s", node, error)

    # Repair.

    async def restore(self, channel: str, repair: Repair) -> bool:
        """Carry out a repair; return False if the log has moved meanwhile and it has to be planned again.

        Raises:
            StoreUnavailableError: Redis does not answer, so nobody knows.

        """
        key = self.fan_out(channel)
        keys = (f"{key}:log", f"{key}:meta", *(f"{key}:dedupe:{publisher_of(item.id)}" for item in repair.entries))
        args: list[str | int] = [key, self._word, repair.end.epoch, repair.end.seq, repair.end.nonce, repair.epoch]
        args += [HISTORY_ENTRIES, HISTORY_S, META_S, self._session_ttl_s]
        for item in repair.entries:
            args += [item.seq, item.nonce, item.prev, item.id, item.ts, item.data, item.encoding or NO_ENCODING]
        (reply,) = await self._run([Call("restore", keys, tuple(args))])
        match reply:
            case ["ok"]:
                return True
            case ["moved"]:
                return False
            case _:
                raise StoreUnavailableError(f"repairing {channel}: {reply}")

    # What is read.

    async def read(self, channel: str, *, after: int, most: int = PAGE_ENTRIES) -> Page:
        """Return the log's end and at most `most` entries after `after`.

        Raises:
            StoreUnavailableError: Redis does not answer, or answers nonsense.

        """
        return await self._page(channel, lambda pipe, key: pipe.xrange(key, min=f"{after + 1}-0", count=most))

    async def recent(self, channel: str, *, most: int) -> Page:
        """Return the log's end and at most `most` entries before it.

        Raises:
            StoreUnavailableError: Redis does not answer, or answers nonsense.

        """
        page = await self._page(channel, lambda pipe, key: pipe.xrevrange(key, count=most))
        return replace(page, entries=page.entries[::-1])

    async def _page(self, channel: str, ask: Callable[[Any, str], object]) -> Page:
        key = self.fan_out(channel)
        try:
            async with self._reads, self._guarded(READS):
                pipe = self.redis.pipeline(transaction=True)
                # A channel nobody has published to yet needs a history, too, or its first message could be missed.
                pipe.hsetnx(f"{key}:meta", "epoch", self._epoch())
                pipe.hmget(f"{key}:meta", "epoch", "top", "nonce")
                ask(pipe, f"{key}:log")
                pipe.expire(f"{key}:meta", META_S)
                _, (epoch, top, nonce), entries, _ = await pipe.execute()
            return Page(
                epoch=epoch,
                top=int(top or 0),
                nonce=int(nonce or 0),
                # Whatever stands in the stream of a log that has no end was not told of.
                entries=tuple(parse_stored(name, fields) for name, fields in entries) if top else (),
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
            async with self._reads, self._guarded(READS):
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

    @staticmethod
    def _now_ms() -> int:
        return time.time_ns() // 1_000_000


def _claimed(reply: Any) -> Claimed:
    match reply:
        case ["ok"]:
            return Granted()
        case ["ok", str(node), str(connection), str(acks)]:
            before = Owner(node=node, connection=connection) if node else None
            return Granted(before=before, positions=_positions(acks))
        case ["expired"]:
            return Expired()
        case ["stale", attempt]:
            return Stale(int(attempt))
        case ["revoked"]:
            return Revoked()
        case _:
            if not isinstance(reply, (*REDIS_ERRORS, StoreUnavailableError)):
                log.warning("a claim got a strange answer: %s", reply)
            return Unknown()


def _positions(text: str) -> dict[str, Position]:
    """Return what a snapshot says; nothing if it says nonsense."""
    try:
        return {channel: Position(**place) for channel, place in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        log.warning("a session's snapshot does not parse")
        return {}
