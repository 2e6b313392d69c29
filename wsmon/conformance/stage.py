"""Gives transcripts their connections: the shell around `Performance`."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from wsmon.agent.client import NOT_NOW, dial
from wsmon.agent.endpoint import TcpEndpoint, UnixEndpoint
from wsmon.conformance.performance import (
    Came,
    Connect,
    Gone,
    Opened,
    Outcome,
    Peer,
    Performance,
    Say,
    Told,
    TurnedAway,
)
from wsmon.conformance.transcripts import Transcript, parse
from wsmon.errors import UnreachableError
from wsmon.protocol.frames import SUBPROTOCOL
from wsmon.protocol.session import HELLO_WITHIN_S

WRONG_TOKEN: Final = "wsmon-conform-knows-no-such-token"  # noqa: S105  # Sent in order to be refused.
SEND_WITHIN_S: Final = 5.0


def shipped() -> tuple[Transcript, ...]:
    """Return the transcripts beside this module, in the order of their files' names."""
    files = sorted(
        (file for file in resources.files("wsmon.conformance").iterdir() if file.name.endswith(".jsonl")),
        key=lambda file: file.name,
    )
    return tuple(parse(file.read_text(encoding="utf-8"), file=file.name) for file in files)


class Stage:
    """Where one peer plays. `token` is sent over TCP only."""

    def __init__(
        self, endpoint: UnixEndpoint | TcpEndpoint, *, token: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._endpoint = endpoint
        self._token = token
        self._tls = tls

    async def scout(self) -> Peer:
        """Return who is there; what cannot be read of its hello is left out.

        Raises:
            UnreachableError: nobody takes a connection, or not with this token.

        """
        transport = "unix" if isinstance(self._endpoint, UnixEndpoint) else "tcp"
        connection: ClientConnection | None = None
        hello: object = None
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                connection = await self._connect(Connect("scout", SUBPROTOCOL, "given"))
                hello = json.loads(await connection.recv())
        except TimeoutError:
            if connection is None:
                raise UnreachableError(f"{self._endpoint} did not answer within {HELLO_WITHIN_S:g} s") from None
        except InvalidStatus as error:
            if error.response.status_code in NOT_NOW:
                raise UnreachableError(
                    f"{self._endpoint} refused the connection: HTTP {error.response.status_code}"
                ) from None
        except (InvalidHandshake, ConnectionClosed, ValueError):
            pass  # Somebody is there, and breaks promises: the transcripts will say which.
        except OSError as error:
            raise UnreachableError(f"{self._endpoint}: {error.strerror or error}") from None
        finally:
            if connection is not None:
                connection.transport.abort()
                await connection.wait_closed()
        match hello:
            case {"type": "hello", "kind": str(kind), "id": str(name), "role": str(role), "ops": list(ops)}:
                return Peer(transport=transport, kind=kind, id=name, role=role, ops=tuple(map(str, ops)))
            case _:
                return Peer(transport=transport)

    async def play_all(
        self,
        transcripts: tuple[Transcript, ...],
        peer: Peer,
        tell: Callable[[Outcome], None] = lambda _: None,
    ) -> tuple[Outcome, ...]:
        """Play one after the other and `tell` of each as soon as it is over."""
        outcomes = []
        for transcript in transcripts:
            outcomes.append(await self._perform(transcript, peer))
            tell(outcomes[-1])
        return tuple(outcomes)

    async def _perform(self, transcript: Transcript, peer: Peer) -> Outcome:
        clock = asyncio.get_running_loop().time
        play = Performance(transcript, peer, now=clock())
        came: asyncio.Queue[Came] = asyncio.Queue()
        lines: dict[str, _Line] = {}
        try:
            while play.outcome is None:
                for do in play.take():
                    match do:
                        case Connect(on=on):
                            if on in lines:
                                await lines[on].end()
                            lines[on] = _Line(on, self._connect(do), came)
                        case Say(on=on, text=text):
                            await lines[on].say(text)
                try:
                    async with asyncio.timeout_at(max(play.deadline, clock())):
                        item = await came.get()
                except TimeoutError:
                    play.tick(now=clock())
                    continue
                play.receive(item, now=clock())
            return play.outcome
        finally:
            for open_line in lines.values():
                await open_line.end()

    async def _connect(self, do: Connect) -> ClientConnection:
        token = {"given": self._token, "wrong": WRONG_TOKEN}.get(do.token)
        return await dial(self._endpoint, token=token, tls=self._tls, subprotocol=do.subprotocol)


class _Line:
    """One connection and the task that reads it."""

    def __init__(self, on: str, opening: Awaitable[ClientConnection], came: "asyncio.Queue[Came]") -> None:
        self._on = on
        self._came = came
        self._connection: ClientConnection | None = None
        self._over = False
        self._reader = asyncio.get_running_loop().create_task(self._read(opening), name=f"conform-{on}")

    async def say(self, text: str) -> None:
        """Send the text; a connection that is gone, or does not take it, is noticed by its reader or by the next step."""
        if self._connection is not None:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(SEND_WITHIN_S):
                    await self._connection.send(text)

    async def end(self) -> None:
        """Drop the connection and wait until it is gone."""
        self._over = True
        if self._connection is not None:
            self._connection.transport.abort()
        self._reader.cancel()
        await asyncio.wait([self._reader])
        if self._connection is not None:
            await self._connection.wait_closed()

    def _tell(self, came: Came) -> None:
        if not self._over:
            self._came.put_nowait(came)

    async def _read(self, opening: Awaitable[ClientConnection]) -> None:
        try:
            self._connection = await opening
        except InvalidStatus as error:
            self._tell(TurnedAway(self._on, error.response.status_code, ""))
            return
        except (InvalidHandshake, InvalidMessage, OSError) as error:
            self._tell(TurnedAway(self._on, 0, str(error)))
            return
        self._tell(Opened(self._on, self._connection.subprotocol))
        try:
            while True:
                self._tell(Told(self._on, await self._connection.recv()))
        except ConnectionClosed as error:
            close = error.rcvd
            self._tell(Gone(self._on, 1006 if close is None else close.code, "" if close is None else close.reason))
