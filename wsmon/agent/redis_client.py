"""Clients for every kind of Redis: a single server, a primary behind Sentinels, a Cluster.

They answer or fail soon. redis-py's own retries are off: whoever reads a lease or shows an outage must not learn of it
late. Every kind finds a new primary by itself, at the first call after one that failed.
"""

import asyncio
from collections import Counter
from typing import Any, Final, TypeAlias

import redis.asyncio
import redis.exceptions
from redis._parsers.commands import AsyncCommandsParser
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, PipelineCommand
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wsmon.agent.redis_url import ClusterUrl, PlainUrl, SentinelUrl, parse_redis_url

RedisClient: TypeAlias = redis.asyncio.Redis | redis.asyncio.RedisCluster

REDIS_ERRORS: Final = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError)
"""What a call raises when Redis does not answer, or answers with an error. Some of redis-py's have no common base."""
ASK_WITHIN_S: Final = 0.5
"""A Sentinel that is slower has no say."""
_LOST: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


def open_redis(url: str, *, timeout_s: float = 1.0, connect_timeout_s: float = 1.0) -> RedisClient:
    """Return a client; nothing is connected yet. No call waits longer than `timeout_s`, but for finding a primary.

    Raises:
        ValueError: it is not a Redis URL; the message says what is wrong, without its password.

    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    match parse_redis_url(url):
        case PlainUrl(text):
            return redis.asyncio.Redis.from_url(text, **options)
        case SentinelUrl() as place:
            return redis.asyncio.Redis.from_pool(
                ConnectionPool(
                    connection_class=PrimaryConnection,
                    sentinels=_Sentinels(place),
                    db=place.database,
                    username=place.user,
                    password=place.password,
                    **options,
                )
            )
        case ClusterUrl(servers, user, password):
            return _Cluster(
                startup_nodes=[ClusterNode(host, port) for host, port in servers],
                username=user,
                password=password,
                **options,
            )


class _Sentinels:
    """Knows who is the primary, by asking; a new connection asks again."""

    def __init__(self, place: SentinelUrl) -> None:
        self._place = place
        self.current: tuple[str, int] | None = None
        """The last answer."""

    async def find(self) -> tuple[str, int]:
        """Return where the primary is: what most Sentinels say.

        Raises:
            redis.exceptions.ConnectionError: none knows.

        """
        asked = {asyncio.get_running_loop().create_task(self._ask(host, port)) for host, port in self._place.sentinels}
        votes: Counter[tuple[str, int]] = Counter()
        problems: set[str] = set()
        try:
            waiting = asked
            while waiting and (not votes or 2 * max(votes.values()) <= len(asked)):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        votes[task.result()] += 1
                    except (redis.exceptions.RedisError, OSError) as error:
                        problems.add(str(error) or type(error).__name__)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if not votes:
            raise redis.exceptions.ConnectionError(
                f"no Sentinel of {len(asked)} names the primary of {self._place.service!r}: {'; '.join(sorted(problems))}"
            )
        ((self.current, _),) = votes.most_common(1)
        return self.current

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        try:
            return await self._ask_as(host, port)
        except redis.exceptions.AuthenticationError:
            # Only a Sentinel that wants a password gets one: the others would refuse it.
            return await self._ask_as(host, port, username=self._place.user, password=self._place.password)

    async def _ask_as(self, host: str, port: int, **credentials: Any) -> tuple[str, int]:
        connection = Connection(
            host=host, port=port, decode_responses=True, socket_timeout=None, protocol=2, **credentials
        )
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.service)
                answer = await connection.read_response()
        except TimeoutError:
            raise redis.exceptions.TimeoutError(f"the Sentinel at {host}:{port} does not answer") from None
        finally:
            await connection.disconnect(nowait=True)
        match answer:
            case [str(name), str(number)] if number.isdecimal():
                return name, int(number)
            case _:
                raise redis.exceptions.ResponseError(f"the Sentinel at {host}:{port} does not know the service")


class PrimaryConnection(Connection):
    """A connection to whoever is the primary when it is made."""

    def __init__(self, *, sentinels: _Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    @property
    def stale(self) -> bool:
        """Whether another server is the primary by now, as far as anybody has asked."""
        return self._sentinels.current not in (None, (self.host, self.port))

    async def connect(self) -> None:
        """Connect unless connected to the primary. The pool does this before every call."""
        if self.is_connected and self.stale:
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call]

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.find()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # Not ours.
        """Make sure that a primary answers: Sentinels learn of a change later than the servers."""
        await super().on_connect_check_health(check_health)
        await self.send_command("ROLE", check_health=False)
        role = await self.read_response()
        if role[0] != "master":
            raise redis.exceptions.ConnectionError(f"{self.host}:{self.port} is not the primary any more")

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the reply. A primary that was demoted counts as lost."""
        try:
            return await super().read_response(*args, **options)
        except redis.exceptions.ReadOnlyError:
            await self.disconnect(nowait=True)
            raise redis.exceptions.ConnectionError(f"{self.host}:{self.port} is not the primary any more") from None


class _Cluster(redis.asyncio.RedisCluster):
    """redis-py's client, made to survive the loss of any server.

    Without retries it would not look for a new primary after a pipeline that failed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands_parser: AsyncCommandsParser = _Commands()
        self._find_within_s = 2 * float(options["socket_timeout"])

    async def initialize(self, *args: Any, **options: Any) -> "_Cluster":
        """Learn who serves what, unless that is known.

        Raises:
            redis.exceptions.ConnectionError: no server tells.
            TimeoutError: that takes too long.

        """
        try:
            async with asyncio.timeout(self._find_within_s):
                await super().initialize(*args, **options)
        except redis.exceptions.RedisClusterException as error:
            raise redis.exceptions.ConnectionError(str(error)) from None
        return self

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        """Return a pipeline; the keys of a transaction must share one slot."""
        assert shard_hint is None
        return (_Transaction if transaction else _Pipeline)(self)  # type: ignore[abstract]  # The base's annotation is never filled in.

    def forget_servers(self) -> None:
        """Learn anew, at the next call, who serves what."""
        self._initialize = True


class _Pipeline(ClusterPipeline):
    """Makes its client look for new primaries when one was lost; redis-py's own does not unless it retries."""

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:  # noqa: FBT001, FBT002  # Not ours.
        try:
            replies = await self._send(raise_on_error, allow_redirections)
        except _LOST:
            self._client.forget_servers()
            raise
        if any(isinstance(reply, (*_LOST, redis.exceptions.ClusterDownError)) for reply in replies):
            self._client.forget_servers()
        return replies

    @property
    def _client(self) -> _Cluster:
        assert isinstance(self.cluster_client, _Cluster)
        return self.cluster_client

    async def _send(self, raise_on_error: bool, allow_redirections: bool) -> list[Any]:  # noqa: FBT001
        replies: list[Any] = await super().execute(raise_on_error, allow_redirections)
        return replies


class _Transaction(_Pipeline):
    """MULTI and EXEC around the queue. redis-py's own would run a loop in a thread of its own for every command."""

    def __init__(self, client: _Cluster) -> None:
        super().__init__(client)
        self._queue: list[PipelineCommand] = []

    def execute_command(self, *args: Any, **options: Any) -> ClusterPipeline:
        """Queue a command."""
        self._queue.append(PipelineCommand(len(self._queue), *args, **options))
        return self

    async def _send(self, raise_on_error: bool, allow_redirections: bool) -> list[Any]:  # noqa: FBT001, ARG002
        client = self._client
        queue, self._queue = self._queue, []
        await client.initialize()
        slots = set()
        for command in queue:
            slots |= {client.keyslot(key) for key in await client.commands_parser.get_keys(*command.args) or ()}
        if len(slots) != 1:
            raise redis.exceptions.CrossSlotTransactionError("the keys of a transaction must share one slot")
        (slot,) = slots
        try:
            replies = await self._run(client.nodes_manager.get_node_from_slot(slot), queue)
        except redis.exceptions.MovedError as error:  # Nothing was done yet.
            await client.nodes_manager.move_slot(error)
            replies = await self._run(client.nodes_manager.get_node_from_slot(slot), queue)
        for place, (reply, command) in enumerate(zip(replies, queue, strict=True)):
            if isinstance(reply, Exception):
                if raise_on_error:
                    raise reply
            elif command.args[0] in client.response_callbacks:
                replies[place] = client.response_callbacks[command.args[0]](reply, **command.kwargs)
        return replies

    @staticmethod
    async def _run(server: ClusterNode, queue: list[PipelineCommand]) -> list[Any]:
        connection = server.acquire_connection()
        try:
            await server.disconnect_if_needed(connection)
            words = [("MULTI",), *(command.args for command in queue), ("EXEC",)]
            await connection.send_packed_command(connection.pack_commands(words))
            problem: redis.exceptions.ResponseError | None = None
            for _ in words[1:]:
                try:
                    await connection.read_response()
                except redis.exceptions.ResponseError as error:
                    problem = problem or error
            try:
                return list(await connection.read_response())
            except redis.exceptions.ExecAbortError as error:
                raise (problem or error) from None
        finally:
            try:
                await server.disconnect_if_needed(connection)
            finally:
                server.release(connection)


class _Commands(AsyncCommandsParser):
    """Knows where a command has its keys. What a server told once is not asked again: the next may be away."""

    async def initialize(self, node: ClusterNode | None = None) -> None:
        if node is not None:
            self.node = node
        if not self.commands:
            await super().initialize(node)

    async def get_keys(self, *args: Any) -> tuple[str, ...] | None:
        if str(args[0]).upper() == "XREAD":  # redis-py would ask some server for its keys, every time.
            words = args[args.index(b"STREAMS") + 1 :]
            return tuple(words[: len(words) // 2])
        return await super().get_keys(*args)
