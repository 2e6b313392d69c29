"""How the sample cluster talks to Redis: scripts in batches, and one subscription for all channels.

Every wait here is bounded, and nothing is retried behind the caller's back: a client that hides an outage makes the
one who has to act on it late.
"""

import asyncio
import hashlib
import importlib.resources
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import redis.asyncio
import redis.exceptions
from redis.asyncio.cluster import PipelineCommand
from redis.asyncio.connection import AbstractConnection

from wsmon.agent.cancellation import end, obey_cancellation
from wsmon.agent.redis_client import REDIS_ERRORS, PrimaryConnection, RedisClient, open_redis

__all__ = [
    "REDIS_ERRORS",
    "REDIS_TIMEOUT_S",
    "Call",
    "FanOut",
    "FanOutNews",
    "Heard",
    "Ponged",
    "RedisClient",
    "Scripts",
    "Subscribed",
    "connect_redis",
    "open_fan_out",
    "publish",
    "publish_word",
    "read_script",
    "replicas_with",
]

REDIS_TIMEOUT_S: Final = 1.0
"""redis-py's own retries outlive a lease: none here, and no call longer than this."""
UNREAD_MOST: Final = 1_024
"""So much of a sharded subscription waits for its reader; the rest waits at the servers."""
REFRESH_EVERY_S: Final = 0.25
"""A Cluster that is being resharded is asked this often at most who serves what."""


def connect_redis(url: str) -> RedisClient:
    """Return a client whose calls answer or fail within about a second; nothing is connected yet.

    Raises:
        ValueError: it is not a Redis URL; the message says what is wrong, without its password.

    """
    return open_redis(url, timeout_s=REDIS_TIMEOUT_S, connect_timeout_s=REDIS_TIMEOUT_S)


def publish_word(client: RedisClient) -> str:
    """Return the command that publishes to a fan-out's channels, for scripts that do it themselves."""
    return "SPUBLISH" if isinstance(client, redis.asyncio.RedisCluster) else "PUBLISH"


async def publish(client: RedisClient, channel: str, text: str) -> int:
    """Publish to a fan-out's channel; return how many of the server's subscribers it reached.

    Raises:
        redis.exceptions.RedisError, OSError: Redis does not answer.

    """
    return int(await client.execute_command(publish_word(client), channel, text))


async def replicas_with(client: RedisClient, key: str, *, within_ms: int) -> int:
    """Return how many replicas have everything that was written to the server of `key`, once one has, if there are any.

    `key` is overwritten. Waits at most `within_ms`, which must be less than a second.

    Raises:
        redis.exceptions.RedisError, OSError: Redis does not answer.

    """
    # Replication is one stream: who has a write that we make now has everything before it.
    commands = (("SET", key, 1, "PX", 60_000), ("WAIT", 1, within_ms))
    if isinstance(client, redis.asyncio.RedisCluster):
        await client.initialize()
        server = client.get_node_from_key(key)
        if server is None:
            raise redis.exceptions.ConnectionError("no server of the Cluster has the key's slot")
        if not (await server.execute_command("ROLE"))[2]:
            return 0
        work = [PipelineCommand(place, *words) for place, words in enumerate(commands)]
        await server.execute_pipeline(work)
        replies = [command.result for command in work]
    else:
        role = await client.execute_command("ROLE")  # type: ignore[no-untyped-call]
        if not role[2]:
            return 0
        pipe = client.pipeline(transaction=False)
        for words in commands:
            pipe.execute_command(*words)
        replies = await pipe.execute(raise_on_error=False)
    obey_cancellation()
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    count: Any = replies[1]
    return int(count)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a script."""

    script: str
    """Its file in sample_cluster/scripts, without `.lua`."""
    keys: tuple[str, ...]
    """At least one; on a Cluster all in one slot."""
    args: tuple[str | int, ...]


def read_script(name: str) -> str:
    """Return the text of one of our scripts."""
    return importlib.resources.files("sample_cluster").joinpath(f"scripts/{name}.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class _Script:
    source: str
    sha: str


class Scripts:
    """Runs the cluster's Lua scripts. One per client."""

    def __init__(self, client: RedisClient, read: Callable[[str], str] = read_script) -> None:
        """`read` returns a script's text by its name."""
        self._client = client
        self._read = read
        self._scripts: dict[str, _Script] = {}

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run the calls in one pipeline, not a transaction; return one reply per call.

        A call that failed alone has its exception in the place of its reply; so have, on a Cluster, the calls for a
        server that is lost. Calls with keys in one slot run in their order. A call that failed with the loss of a
        connection, and any when this raises, may or may not have run.

        Raises:
            redis.exceptions.RedisError, OSError: Redis does not answer.

        """
        replies: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        while left:  # Every round runs one call at least, by its source.
            for index, reply in zip(left, await self._send([calls[index] for index in left]), strict=True):
                replies[index] = reply
            # Somebody emptied the server's cache of scripts between our calls.
            left = [index for index in left if isinstance(replies[index], redis.exceptions.NoScriptError)]
        return replies

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        """Send each call to the server that has its keys."""
        client = self._client
        if not isinstance(client, redis.asyncio.RedisCluster):
            return await self._send_to_one(calls)
        await client.initialize()
        shares: dict[str, list[int]] = {}
        for index, call in enumerate(calls):
            server = client.get_node_from_key(call.keys[0])
            shares.setdefault(server.name if server else "", []).append(index)
        # The loss of one server is the others' business no more than that of their callers.
        answers = await asyncio.gather(
            *(self._send_to_one([calls[index] for index in share]) for share in shares.values()), return_exceptions=True
        )
        obey_cancellation()
        lost = [answer for answer in answers if isinstance(answer, BaseException)]
        for error in lost:
            if len(lost) == len(answers) or not isinstance(error, REDIS_ERRORS):
                raise error
        replies: list[Any] = [None] * len(calls)
        for share, answer in zip(shares.values(), answers, strict=True):
            for place, index in enumerate(share):
                replies[index] = answer if isinstance(answer, BaseException) else answer[place]
        return replies

    async def _send_to_one(self, calls: Iterable[Call]) -> list[Any]:
        """Send each script's source once and its hash from then on.

        The source goes along every time: to ask whether the server still has it is another round trip, and to be wrong
        about it would let later calls overtake the first. It costs some microseconds a batch.
        """
        pipe = self._client.pipeline(transaction=False)
        sent: set[str] = set()
        for call in calls:
            script = self._script(call.script)
            how = ("EVALSHA", script.sha) if call.script in sent else ("EVAL", script.source)
            sent.add(call.script)
            pipe.execute_command(*how, len(call.keys), *call.keys, *call.args)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        obey_cancellation()
        return replies

    def _script(self, name: str) -> _Script:
        script = self._scripts.get(name)
        if script is None:
            source = self._read(name)
            sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
            script = self._scripts[name] = _Script(source, sha)
        return script


@dataclass(frozen=True, slots=True)
class Heard:
    """A message came."""

    channel: str
    text: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """From here on the channel's messages come."""

    channel: str


@dataclass(frozen=True, slots=True)
class Ponged:
    """Every connection of the subscription answered a ping."""

    token: str


FanOutNews: TypeAlias = Heard | Subscribed | Ponged


class FanOut(ABC):
    """A subscription to many channels. Use it once: `connect`, then `next` in one task, the rest from any.

    It never makes up for a lost connection unseen: either its methods raise redis.exceptions.RedisError or OSError, and
    only `aclose` is left to do, or the channel's `Subscribed` comes again, and its reader looks for what it missed.
    """

    @abstractmethod
    async def connect(self) -> None:
        """Connect within about a second."""

    @abstractmethod
    async def subscribe(self, *channels: str) -> None:
        """Ask for the channels' messages; `next` tells when each begins. Asking again is answered again."""

    @abstractmethod
    async def unsubscribe(self, *channels: str) -> None:
        """Do without the channels' messages; some may still come."""

    @abstractmethod
    async def ping(self, token: str) -> None:
        """Ask for a sign of life; it comes from `next`, after all that the server sent before."""

    @abstractmethod
    async def next(self) -> FanOutNews:
        """Wait, as long as it takes, for what comes next. May be cancelled and called again."""

    @abstractmethod
    async def aclose(self) -> None:
        """Hang up."""


def open_fan_out(client: RedisClient) -> FanOut:
    """Return a subscription beside the client's own connections; nothing is connected yet."""
    return _ShardedFanOut(client) if isinstance(client, redis.asyncio.RedisCluster) else _PlainFanOut(client)


# Reads last as long as nothing comes. With no timeout of its own redis-py also keeps away from `asyncio.wait_for`, which
# loses cancellations; `_Line` bounds what has to be bounded. A foreign publisher's bytes are the reader's to refuse.
_LINE_OPTIONS: Final = {"socket_timeout": None, "encoding_errors": "replace"}


class _Line:
    """One connection in subscriber mode. It is never connected twice."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self.closed = False

    async def connect(self) -> None:
        """Connect, and make sure that somebody answers: a stopped process accepts connections, too."""
        async with asyncio.timeout(REDIS_TIMEOUT_S):
            await self._connection.connect()  # type: ignore[no-untyped-call]
            await self._connection.send_command("PING")
            await self._connection.read_response()

    async def send(self, *commands: tuple[str, ...]) -> None:
        """Send the commands at once."""
        self._check()
        connection = self._connection
        async with asyncio.timeout(REDIS_TIMEOUT_S):
            await connection.send_packed_command(connection.pack_commands(commands))

    async def read(self) -> Any:
        """Return the next reply, however long it takes."""
        self._check()
        return await self._connection.read_response(disconnect_on_error=False, push_request=True)

    async def aclose(self) -> None:
        self.closed = True
        with suppress(*REDIS_ERRORS):
            await self._connection.disconnect(nowait=True)  # To wait for a reader's end can take forever.

    def _check(self) -> None:
        connection = self._connection
        if not connection.is_connected:
            raise redis.exceptions.ConnectionError("the subscription's connection is lost")
        if isinstance(connection, PrimaryConnection) and connection.stale:
            raise redis.exceptions.ConnectionError("another server is the primary now")


class _PlainFanOut(FanOut):
    """One server, one connection."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        pool = client.connection_pool
        self._line = _Line(pool.connection_class(**{**pool.connection_kwargs, **_LINE_OPTIONS}))

    async def connect(self) -> None:
        await self._line.connect()

    async def subscribe(self, *channels: str) -> None:
        if channels:
            await self._line.send(("SUBSCRIBE", *channels))

    async def unsubscribe(self, *channels: str) -> None:
        if channels:
            await self._line.send(("UNSUBSCRIBE", *channels))

    async def ping(self, token: str) -> None:
        await self._line.send(("PING", token))

    async def next(self) -> FanOutNews:
        while True:
            match await self._line.read():
                case ["message", str(name), str(text)]:
                    return Heard(name, text)
                case ["subscribe", str(name), _]:
                    return Subscribed(name)
                case ["pong", str(token)] | str(token):  # The short form as long as nothing is subscribed.
                    return Ponged(token)
                case _:
                    pass

    async def aclose(self) -> None:
        await self._line.aclose()


@dataclass(slots=True, eq=False)
class _Shard:
    """The line to one of a Cluster's primaries."""

    name: str
    line: _Line
    asked: deque[tuple[str, str]]
    """Commands and channels without an answer yet: errors do not say what they answer."""
    channels: set[str]
    """Channels that were asked for here."""
    reader: asyncio.Task[None] | None = None


class _ShardedFanOut(FanOut):
    """One connection to each primary of a Cluster; a channel belongs to the primary that has its slot.

    Channels whose primary cannot be found, or has changed, are pending: each `ping` tries again, and their `Subscribed`
    comes when it worked. So the loss of one server leaves the channels of the others alone, after one `connect` anew.
    """

    def __init__(self, client: redis.asyncio.RedisCluster) -> None:
        self._client = client
        self._shards: dict[str, _Shard] = {}
        self._wanted: set[str] = set()
        self._pending: set[str] = set()
        self._pings: dict[str, set[_Shard]] = {}
        self._unread: asyncio.Queue[tuple[_Shard, Any]] = asyncio.Queue(UNREAD_MOST)
        self._news: deque[FanOutNews] = deque()
        self._refreshed_at = 0.0
        self._opening = asyncio.Lock()
        self._refused: dict[str, float] = {}
        """Until when a server that did not answer is left alone: each try may take a second."""

    async def connect(self) -> None:
        await self._client.initialize()
        await self._refresh()
        names = [server.name for server in self._client.get_primaries()]
        problems = await asyncio.gather(*(self._open(name) for name in names), return_exceptions=True)
        obey_cancellation()
        if not self._shards:
            why = next((str(problem) for problem in problems if isinstance(problem, REDIS_ERRORS)), "it has none")
            raise _lost(f"no primary of the Cluster can be subscribed to: {why}")

    async def subscribe(self, *channels: str) -> None:
        self._wanted.update(channels)
        self._pending.update(channels)
        await self._try(channels)

    async def unsubscribe(self, *channels: str) -> None:
        for channel in channels:
            self._wanted.discard(channel)
            self._pending.discard(channel)
        for shard in [*self._shards.values()]:
            mine = shard.channels.intersection(channels)
            shard.channels -= mine
            await self._send(shard, "SUNSUBSCRIBE", mine)

    async def ping(self, token: str) -> None:
        if self._pending:
            await self._refresh()
            await self._try(self._pending)
        waiting = self._pings[token] = set(self._shards.values())
        for shard in [*waiting]:
            try:
                await shard.line.send(("PING", token))
            except REDIS_ERRORS:
                if shard.channels:
                    raise
                await self._drop(shard)
        if not self._shards:
            raise _lost("no primary of the Cluster answers")

    async def next(self) -> FanOutNews:
        while not self._news:
            shard, reply = await self._unread.get()
            if self._shards.get(shard.name) is not shard:
                continue
            if isinstance(reply, Exception):
                await self._failed(shard, reply)
            else:
                await self._answered(shard, reply)
        return self._news.popleft()

    async def aclose(self) -> None:
        for shard in [*self._shards.values()]:
            await self._close(shard)

    async def _answered(self, shard: _Shard, reply: Any) -> None:
        match reply:
            case ["smessage", str(name), str(text)]:
                self._news.append(Heard(name, text))
            case ["ssubscribe", str(name), _]:
                _remove(shard.asked, ("SSUBSCRIBE", name))
                if name in shard.channels:
                    self._news.append(Subscribed(name))
            case ["sunsubscribe", str(name), _]:
                _remove(shard.asked, ("SUNSUBSCRIBE", name))
                if name in shard.channels:  # We did not ask for that: its slot went elsewhere.
                    await self._moved(shard, name)
            case ["pong", str(token)] | str(token):
                self._ponged(shard, token)
            case _:
                pass

    async def _failed(self, shard: _Shard, error: Exception) -> None:
        match error:
            case redis.exceptions.AskError() | redis.exceptions.TryAgainError() | redis.exceptions.ClusterDownError():
                command, name = shard.asked.popleft() if shard.asked else ("", "")
                if command == "SSUBSCRIBE" and name in shard.channels:
                    await self._moved(shard, name)
            case _ if shard.channels or not isinstance(error, REDIS_ERRORS):
                raise error
            case _:  # Nobody listened there: a server that left the Cluster, perhaps.
                await self._drop(shard)

    async def _moved(self, shard: _Shard, channel: str) -> None:
        """Look for a channel's new server, at once if nobody has looked just now."""
        shard.channels.discard(channel)
        self._pending.add(channel)
        if asyncio.get_running_loop().time() - self._refreshed_at >= REFRESH_EVERY_S:
            await self._refresh()
            await self._try([channel])

    def _ponged(self, shard: _Shard, token: str) -> None:
        waiting = self._pings.get(token)
        if waiting is None:
            return
        waiting.discard(shard)
        if not waiting:
            del self._pings[token]
            self._news.append(Ponged(token))

    async def _refresh(self) -> None:
        """Learn who serves what; what was known stands if nobody tells."""
        self._refreshed_at = asyncio.get_running_loop().time()
        with suppress(*REDIS_ERRORS):
            async with asyncio.timeout(2 * REDIS_TIMEOUT_S):
                await self._client.nodes_manager.initialize()
        obey_cancellation()

    async def _try(self, channels: Iterable[str]) -> None:
        """Ask for those channels that are pending where they should be."""
        places: dict[str, list[str]] = {}
        for channel in self._pending.intersection(channels):
            with suppress(*REDIS_ERRORS):
                server = self._client.get_node_from_key(channel)
                if server is not None:
                    places.setdefault(server.name, []).append(channel)
        for name, asked in places.items():
            with suppress(*REDIS_ERRORS):  # It stays pending.
                shard = await self._open(name)
                still = self._pending.intersection(asked)
                self._pending -= still
                shard.channels |= still
                await self._send(shard, "SSUBSCRIBE", still)

    async def _send(self, shard: _Shard, command: str, channels: Iterable[str]) -> None:
        """Send one command for each channel: those of one command would have to be in one slot."""
        commands = [(command, channel) for channel in channels]
        if commands:
            shard.asked.extend(commands)
            await shard.line.send(*commands)

    async def _open(self, name: str) -> _Shard:
        async with self._opening:
            shard = self._shards.get(name)
            if shard is not None:
                return shard
            server = self._client.get_node(node_name=name)
            if server is None:
                raise _lost(f"{name} has left the Cluster")
            now = asyncio.get_running_loop().time()
            if now < self._refused.get(name, 0.0):
                raise _lost(f"{name} did not answer just now")
            line = _Line(server.connection_class(**{**server.connection_kwargs, **_LINE_OPTIONS}))
            try:
                await line.connect()
            except BaseException:
                self._refused[name] = now + REDIS_TIMEOUT_S
                await line.aclose()
                raise
            shard = self._shards[name] = _Shard(name, line, deque(), set())
            shard.reader = asyncio.get_running_loop().create_task(self._read(shard), name=f"fan-out-{name}")
            return shard

    async def _read(self, shard: _Shard) -> None:
        while not shard.line.closed:
            obey_cancellation()
            try:
                reply = await shard.line.read()
            except redis.exceptions.ResponseError as error:
                reply = error
            except Exception as error:  # noqa: BLE001  # A task ends here; `next` raises it.
                await self._unread.put((shard, error))
                return
            await self._unread.put((shard, reply))

    async def _drop(self, shard: _Shard) -> None:
        """Do without a server that no channel is at."""
        await self._close(shard)
        for token in [*self._pings]:
            self._ponged(shard, token)

    async def _close(self, shard: _Shard) -> None:
        self._shards.pop(shard.name, None)
        await shard.line.aclose()
        if shard.reader is not None:
            await end(shard.reader)


def _remove(asked: deque[tuple[str, str]], what: tuple[str, str]) -> None:
    with suppress(ValueError):
        asked.remove(what)


def _lost(why: str) -> redis.exceptions.ConnectionError:
    return redis.exceptions.ConnectionError(why)
