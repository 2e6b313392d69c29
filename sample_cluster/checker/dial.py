"""Admin connections for heartbeats, and how a refused connect is told from a silent one."""

import socket
from collections.abc import Callable
from typing import Final, Self

from sample_cluster.checker.kernel import look_at
from sample_cluster.core.classify import Look
from wsmon.agent.client import AdminClient, open_admin
from wsmon.errors import UnreachableError
from wsmon.protocol.frames import Actor, JsonObject
from wsmon.protocol.session import StateChanged, WatchInput

WORD_WITHIN_MS: Final = 50
"""How soon after a node says so we want to know that it drains: until then it is sent new clients."""
CANARY_READS_MS: Final = 10_000
"""Our own state is of no interest to us."""


class RefusedError(UnreachableError):
    """Nobody listens at the address: no process has the socket open."""


class AdminLink:
    """The open connection as the prober sees it."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    @classmethod
    async def open(cls, url: str, on_word: Callable[[str], None]) -> Self:
        """Connect to a node's admin socket. The caller sets the timeout.

        Raises:
            RefusedError: nobody listens.
            UnreachableError: no connection for another reason.
            RemoteProtocolError: what answers does not speak the admin protocol.

        """

        def take(told: WatchInput) -> None:
            if isinstance(told, StateChanged):
                changed = told.state if told.patch is None else told.patch
                word = changed.get("state")
                if isinstance(word, str):
                    on_word(word)

        try:
            return cls(await open_admin(url, take, interval_ms=WORD_WITHIN_MS))
        except UnreachableError as error:
            # A missing socket file counts: its owner takes it away when it goes, and nobody can connect to it.
            if isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError):
                raise RefusedError(error.message) from error
            raise

    @property
    def id(self) -> str:
        """Who says to be at the other end."""
        return self._client.hello.id

    @property
    def boot(self) -> int:
        """Which life of the node is at the other end."""
        return self._client.hello.boot

    async def ping(self) -> float:
        """Return the round trip in seconds."""
        return await self._client.ping()

    def look(self) -> Look:
        """Return what the kernel tells of the connection at the moment."""
        return look_at(self._client.transport)

    async def reaches(self, node: str, *, within_s: float, address: str | None = None) -> bool | None:
        """Ask the node at the other end whether it reaches `node`, which serves at `address`; None: it cannot tell.

        Raises:
            UnreachableError: the connection is gone.

        """
        asked: JsonObject = {"node": node, "timeout_ms": max(round(within_s * 1_000, 1), 1.0)}
        if address is not None:
            asked["address"] = address  # So that it need not look it up, which takes time when Redis is slow.
        result = await self._client.command("probe", asked, actor=Actor(user="checker", host=socket.gethostname()))
        reached = (result.effect or {}).get("reached") if result.ok else None
        return reached if isinstance(reached, bool) else None

    async def closed(self) -> None:
        """Wait until the connection is gone."""
        await self._client.closed()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


class Canary:
    """Asks our own admin socket as a node's is asked: if that does not answer, the fault is ours."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: AdminClient | None = None

    async def sing(self) -> None:
        """Return when our own socket has answered. The caller sets the timeout.

        Raises:
            UnreachableError, ProtocolError: it does not.

        """
        if self._client is None:
            self._client = await open_admin(self._url, interval_ms=CANARY_READS_MS)
        try:
            await self._client.ping()
        except UnreachableError:
            client, self._client = self._client, None
            await client.close()
            raise

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
