"""One attempt to get a connection: from the TCP connect to the welcome, and every way in which that can fail."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from sample_cluster.codecs import Codec
from sample_cluster.core.messages import Error, Hello, NodeFrame, Resume, UnknownFrame, Welcome
from sample_cluster.errors import RemoteProtocolError

log = logging.getLogger(__name__)

INBOUND_MAX: Final = 1024 * 1024
CLOSE_TIMEOUT_S: Final = 0.4
ABNORMAL: Final = 1006
BROKEN: Final = 1002


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt came to nothing."""

    outcome: str
    """In a word or two, such as `refused`, `timeout`, `http 503`."""
    code: int | None = None
    advice_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A connection that a node has welcomed; it belongs to the caller."""

    connection: ClientConnection
    welcome: Welcome
    rest: tuple[NodeFrame | UnknownFrame, ...]
    """What came in one frame with the welcome."""


async def dial(
    url: str, codec: Codec, introduce: Callable[[], Hello | Resume], *, patience_s: float
) -> Taken | Failure:
    """Connect, say who we are, and return the connection once a node took us, or why none did.

    `introduce` is called when the node listens: what it returns is as new as can be.
    """
    give_up_at = asyncio.get_running_loop().time() + patience_s
    try:
        connection = await connect(
            url,
            subprotocols=[Subprotocol(codec.subprotocol)],
            compression=None,
            proxy=None,
            open_timeout=patience_s,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=None,
            max_size=INBOUND_MAX,
            user_agent_header=None,
        )
    except TimeoutError:
        return Failure("timeout")
    except InvalidStatus as error:
        response = error.response
        return Failure(f"http {response.status_code}", advice_s=_retry_after(response.headers.get("Retry-After")))
    except ConnectionRefusedError:
        return Failure("refused")
    except (OSError, EOFError):
        return Failure("unreachable")
    except WebSocketException as error:
        # The far end went away during the handshake, or is no WebSocket server.
        return Failure("reset" if isinstance(error.__cause__, EOFError | OSError) else "bad handshake")
    result: Taken | Failure | None = None
    try:
        result = await _greet(connection, codec, introduce, give_up_at)
    finally:
        if not isinstance(result, Taken):
            connection.transport.abort()  # Nothing if it is closed.
    return result


async def _greet(
    connection: ClientConnection, codec: Codec, introduce: Callable[[], Hello | Resume], give_up_at: float
) -> Taken | Failure:
    refusal: Error | None = None
    try:
        async with asyncio.timeout_at(give_up_at):
            await connection.send(codec.encode(introduce()), text=not codec.binary)
            match codec.decode_node(await connection.recv()):
                case (Welcome() as welcome, *rest):
                    return Taken(connection=connection, welcome=welcome, rest=tuple(rest))
                case (Error() as refusal, *_):
                    while True:
                        await connection.recv()  # The close code follows: it says whether to come back.
                case _:
                    return Failure("bad welcome")
    except TimeoutError:
        return _failure("timeout", refusal)
    except ConnectionClosed:
        code = close_code(connection)
        return _failure(f"closed {code}", refusal, code)
    except RemoteProtocolError as error:
        log.warning("the node broke the protocol: %s", error)
        await connection.close(BROKEN)
        return Failure("bad frame", code=BROKEN)


def _failure(outcome: str, refusal: Error | None, code: int | None = None) -> Failure:
    if refusal is None:
        return Failure(outcome, code=code)
    advice_s = None if refusal.retry_ms is None else refusal.retry_ms / 1_000
    return Failure(f"error {refusal.code}"[:40], code=code, advice_s=advice_s)


def close_code(connection: ClientConnection) -> int:
    """Return the code with which a connection ended; 1006 if it did without a close frame."""
    return ABNORMAL if connection.close_code is None else int(connection.close_code)


def _retry_after(header: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; a date, which nobody sends us, counts as none."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
