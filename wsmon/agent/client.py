"""The watching side of an admin socket: one connection, shared by state, commands and pings."""

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from wsmon.agent.endpoint import TcpEndpoint, UnixEndpoint, parse_endpoint
from wsmon.errors import RemoteProtocolError, UnreachableError
from wsmon.protocol.frames import SUBPROTOCOL, Actor, Command, Hello, Page, Ping, Pong, Query, ReadOnlyJson, Result
from wsmon.protocol.session import HELLO_WITHIN_S, WatchInput, WatchSession

STATE_MAX = 16 * 1024 * 1024
"""Largest frame that a watcher takes, in bytes: the state of a very large node."""

NOT_NOW = (401, 403, 429, 502, 503, 504)
"""HTTP statuses of an admin socket, or of a proxy before one, that takes no connection from us at the moment."""


class AdminClient:
    """One open connection. Get it from `open_admin`, close it, or use it as a context manager.

    `on_input` is called for everything the peer tells, on the loop, and must not block.
    """

    def __init__(
        self, connection: ClientConnection, session: WatchSession, hello: Hello, on_input: Callable[[WatchInput], None]
    ) -> None:
        self.hello = hello
        self._connection = connection
        self._session = session
        self._on_input = on_input
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Result | Page | Pong]] = {}
        self._failure: Exception | None = None
        self._reader = asyncio.get_running_loop().create_task(self._read(), name=f"admin-{hello.id}")

    @property
    def state(self) -> ReadOnlyJson:
        """The newest state of the peer; empty until its first snapshot."""
        return self._session.state

    @property
    def transport(self) -> asyncio.BaseTransport:
        """The connection's transport, for whoever wants to know what the kernel thinks of it."""
        return self._connection.transport

    async def closed(self) -> Exception | None:
        """Wait until the connection is gone; return the protocol error that ended it, if one did."""
        await asyncio.wait([self._reader])
        return self._failure

    async def command(
        self,
        op: str,
        args: ReadOnlyJson,
        *,
        actor: Actor,
        reason: str | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Result:
        """Ask for an operation and return the answer.

        Raises:
            UnreachableError: the connection was lost before the answer came; the operation may have happened.

        """
        name = f"c{next(self._ids)}"
        answer = await self._request(
            Command(
                id=name,
                op=op,
                args=args,
                actor=actor,
                reason=reason,
                dry_run=dry_run,
                idempotency_key=idempotency_key,
            )
        )
        assert isinstance(answer, Result)
        return answer

    async def query(
        self, what: str, *, limit: int, matching: str | None = None, sort: str | None = None, cursor: str | None = None
    ) -> Page:
        """Ask for rows, at most `limit` of them: those that hold the text `matching`, in the order `sort`."""
        name = f"q{next(self._ids)}"
        answer = await self._request(Query(id=name, what=what, limit=limit, filter=matching, sort=sort, cursor=cursor))
        assert isinstance(answer, Page)
        return answer

    async def pace(self, interval_ms: int) -> None:
        """Ask for changes of the state at most once in so many milliseconds from now on; no error if it is gone."""
        self._session.pace(interval_ms)
        with contextlib.suppress(ConnectionClosed):
            await self._flush()

    async def ping(self) -> float:
        """Return the round trip in seconds. The caller sets the timeout.

        Raises:
            UnreachableError: the connection is gone.

        """
        clock = asyncio.get_running_loop().time
        sent = clock()
        await self._request(Ping(id=f"p{next(self._ids)}", at=time.time()))
        return clock() - sent

    async def close(self) -> None:
        """Close the connection; never raises for a peer that is gone."""
        await self._connection.close()
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _request(self, frame: Command | Query | Ping) -> Result | Page | Pong:
        if self._reader.done():
            raise UnreachableError(f"{self.hello.id} is gone")
        future: asyncio.Future[Result | Page | Pong] = asyncio.get_running_loop().create_future()
        self._waiting[frame.id] = future
        try:
            self._session.request(frame)
            await self._flush()
            return await future
        except ConnectionClosed:
            raise UnreachableError(f"{self.hello.id} closed the connection") from None
        finally:
            self._waiting.pop(frame.id, None)

    async def _flush(self) -> None:
        for text in self._session.take():
            await self._connection.send(text)

    async def _read(self) -> None:
        try:
            await self._flush()
            async for text in self._connection:
                told = self._session.receive(text)
                await self._flush()
                if told is None:
                    continue
                if isinstance(told, Result | Page | Pong):
                    future = self._waiting.pop(told.id, None)
                    if future is not None and not future.done():
                        future.set_result(told)
                    continue
                self._on_input(told)
        except ConnectionClosed:
            pass
        except RemoteProtocolError as error:
            self._failure = error
            # Nobody waits for a peer that talks nonsense to answer our close.
            self._connection.transport.abort()
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(UnreachableError(f"{self.hello.id} is gone"))
            self._waiting.clear()


async def open_admin(
    url: str,
    on_input: Callable[[WatchInput], None] = lambda _: None,
    *,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    interval_ms: int = 250,
    timeout_s: float = HELLO_WITHIN_S,
) -> AdminClient:
    """Connect to the admin socket at `url`, wait for its hello and subscribe.

    `token` is sent only over TCP, and only because the caller names it for this very host.

    Raises:
        UsageError: `url` is not an admin socket.
        UnreachableError: nobody answers, the token is refused, or no hello came within `timeout_s`.
        RemoteProtocolError: what answers does not speak this protocol.

    """
    endpoint = parse_endpoint(url)
    connection: ClientConnection | None = None
    session = WatchSession(interval_ms=interval_ms)
    try:
        async with asyncio.timeout(timeout_s):
            connection = await dial(endpoint, token=token, tls=tls)
            hello = session.receive(await connection.recv())
    except TimeoutError:
        await _drop(connection)
        raise UnreachableError(f"{url} did not answer within {timeout_s:g} s") from None
    except InvalidStatus as error:
        status = error.response.status_code
        if status in NOT_NOW:
            raise UnreachableError(f"{url} refused the connection: HTTP {status}") from None
        raise RemoteProtocolError(f"{url} is not an admin socket: it answers HTTP {status}") from None
    except InvalidMessage as error:
        if isinstance(error.__cause__, EOFError):
            raise UnreachableError(f"{url} closed the connection while it was opened") from None
        raise RemoteProtocolError(f"{url} does not speak WebSocket") from None
    except InvalidHandshake as error:
        raise RemoteProtocolError(f"{url} does not speak this protocol: {error}") from None
    except ConnectionClosed as error:
        raise UnreachableError(f"{url} closed the connection: {error}") from None
    except OSError as error:
        raise UnreachableError(f"{url}: {error.strerror or error}") from error
    except BaseException:
        await _drop(connection)
        raise
    assert isinstance(hello, Hello)
    return AdminClient(connection, session, hello, on_input)


async def _drop(connection: ClientConnection | None) -> None:
    if connection is not None:
        connection.transport.abort()
        await connection.wait_closed()


async def dial(
    endpoint: UnixEndpoint | TcpEndpoint,
    *,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    subprotocol: str | None = SUBPROTOCOL,
) -> ClientConnection:
    """Open a bare connection to an admin socket; `token` is sent over TCP only. The caller sets the timeout.

    Raises:
        OSError: nobody listens there.
        InvalidHandshake: who listens turns us away, or speaks something else.

    """
    subprotocols = None if subprotocol is None else [Subprotocol(subprotocol)]
    if isinstance(endpoint, UnixEndpoint):
        return await unix_connect(
            endpoint.path,
            "ws://localhost/admin",
            subprotocols=subprotocols,
            compression=None,
            ping_interval=None,
            max_size=STATE_MAX,
            open_timeout=None,
            close_timeout=1,
            proxy=None,
        )
    return await connect(
        str(endpoint),
        additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
        ssl=(tls or ssl.create_default_context()) if endpoint.tls else None,
        subprotocols=subprotocols,
        compression=None,
        ping_interval=None,
        max_size=STATE_MAX,
        open_timeout=None,
        close_timeout=1,
        proxy=None,
    )
