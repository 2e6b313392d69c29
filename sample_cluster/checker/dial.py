"""Admin connections for heartbeats, and how a refused connect is told from a silent one."""

from collections.abc import Callable
from typing import Final, Self

from wsmon.agent.client import AdminClient, open_admin
from wsmon.errors import UnreachableError
from wsmon.protocol.session import StateChanged, WatchInput

WORD_WITHIN_MS: Final = 50
"""How soon after a node says so we want to know that it drains: until then it is sent new clients."""


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
    def boot(self) -> int:
        """Which life of the node is at the other end."""
        return self._client.hello.boot

    async def ping(self) -> float:
        """Return the round trip in seconds."""
        return await self._client.ping()

    async def closed(self) -> None:
        """Wait until the connection is gone."""
        await self._client.closed()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()
