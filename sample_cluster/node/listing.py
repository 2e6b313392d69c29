"""A node's sessions and connections, a page at a time, for whoever asks on the admin socket."""

from collections.abc import Callable, Iterable
from typing import Final

from sample_cluster.core.listing import Listing, Sortable
from sample_cluster.core.session import Cursor
from sample_cluster.node.connection import ClientConnection
from sample_cluster.node.server import Node
from wsmon.agent.server import AdminServer
from wsmon.protocol.frames import JsonObject, Page, Query

CHANNELS_SHOWN: Final = 32
"""Of one connection: a row has a bound."""

KEYS: Final[dict[str, Callable[[ClientConnection], Sortable]]] = {
    "session": lambda item: item.session,
    "client": lambda item: item.client,
    "codec": lambda item: item.codec.subprotocol,
    "address": lambda item: item.address,
    "since": lambda item: item.since,
    "unacked": lambda item: item.unacked,
    "lagging": lambda item: item.protocol.lagging,
    "channels": lambda item: len(item.protocol.cursors),
    "bytes_in": lambda item: item.bytes_in,
    "bytes_out": lambda item: item.bytes_out,
}
LISTING: Final = Listing[ClientConnection](number=lambda item: item.number, keys=KEYS)


def register_queries(agent: AdminServer, node: Node) -> None:
    """Answer `sessions`, one row each, and `connections`, of which a session that moves may have two."""
    agent.query("connections", lambda query: answer(query, node.connections))
    agent.query("sessions", lambda query: answer(query, node.owners))


def answer(query: Query, connections: Iterable[ClientConnection]) -> Page:
    """Return the page that was asked for. `filter` is any part of a session, client, connection, channel or address."""
    wanted = (query.filter or "").casefold()
    found = [item for item in connections if not wanted or wanted in _text(item)]
    page = LISTING.page(found, limit=query.limit, sort=query.sort, cursor=query.cursor)
    return Page(id=query.id, rows=tuple(row(item) for item in page.items), cursor=page.cursor)


def _text(item: ClientConnection) -> str:
    return " ".join((item.session, item.client, item.name, item.address, *item.channels)).casefold()


def row(item: ClientConnection) -> JsonObject:
    """Return what is told of one connection; what is not known is left out."""
    cursors = [*item.protocol.cursors.values()][:CHANNELS_SHOWN]
    document: JsonObject = {
        "session": item.session,
        "connection": item.name,
        "attempt": item.attempt,
        "codec": "protobuf" if item.codec.binary else "json",
        "since": round(item.since, 3),
        "channels": [cursor.channel for cursor in cursors],
        "positions": {cursor.channel: seq for cursor in cursors if (seq := _seq(cursor)) is not None},
        "unacked": item.unacked,
        "lagging": item.protocol.lagging,
        "bytes_in": item.bytes_in,
        "bytes_out": item.bytes_out,
    }
    if item.client:
        document["client"] = item.client
    if item.address:
        document["address"] = item.address
    return document


def _seq(cursor: Cursor) -> int | None:
    """Return up to where the channel was sent."""
    live = cursor.feed.position if cursor.live and cursor.feed is not None else None
    position = live or cursor.position
    return None if position is None else position.seq
