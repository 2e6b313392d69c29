"""Redis URLs: a single server, a set of servers behind Sentinels, or a Cluster.

`redis://`, `rediss://` and `unix://` are read by redis-py; the other two are ours:

    redis+sentinel://[user:password@]host[:port],…/service[/database]
    redis+cluster://[user:password@]host[:port],…

No message here shows what stands before the `@`.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import unquote

PLAIN_SCHEMES: Final = ("redis", "rediss", "unix")
SENTINEL_SCHEME: Final = "redis+sentinel"
CLUSTER_SCHEME: Final = "redis+cluster"
SCHEMES: Final = (*PLAIN_SCHEMES, SENTINEL_SCHEME, CLUSTER_SCHEME)
ALLOWED: Final = (
    "redis://host:port, rediss://host:port, unix:///path, "
    "redis+sentinel://host:port,host:port/service, redis+cluster://host:port,host:port"
)
_ESCAPES: Final = "in a password, write : / @ ? # as %3A %2F %40 %3F %23"
_SENTINEL_PORT: Final = 26_379
_SERVER_PORT: Final = 6_379


@dataclass(frozen=True, slots=True)
class PlainUrl:
    """One server."""

    text: str = field(repr=False)
    """The URL, for redis-py."""


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """One primary at a time, which the Sentinels know."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int = 0
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """Some of the servers of a Cluster; they know the others."""

    servers: tuple[tuple[str, int], ...]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


RedisUrl: TypeAlias = PlainUrl | SentinelUrl | ClusterUrl


def is_redis_url(text: str) -> bool:
    """Say whether the text is meant as a Redis URL."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def parse_redis_url(text: str) -> RedisUrl:
    """Return what the URL names.

    Raises:
        ValueError: it is not a Redis URL; the message says what is wrong and what is allowed.

    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"that is not a Redis URL; allowed: {ALLOWED}")
    if scheme == "unix":
        if not rest.rpartition("@")[2].partition("?")[0].strip("/"):
            raise ValueError("unix:// has no path; allowed: unix:///path")
        return PlainUrl(text)
    authority, slash, path = rest.partition("/")
    if scheme in PLAIN_SCHEMES:
        # redis-py's own messages repeat what they refuse, perhaps a part of a password.
        _places(authority.partition("?")[0].rpartition("@")[2], scheme, _SERVER_PORT)
        return PlainUrl(text)
    if "?" in rest or "#" in rest:
        raise ValueError(f"{scheme}:// takes no options; {_ESCAPES}")
    user, password, places = _take_credentials(authority)
    if scheme == CLUSTER_SCHEME:
        if slash and path:
            raise ValueError(f"{scheme}:// takes no path, a Cluster has one database; {_ESCAPES}")
        return ClusterUrl(_places(places, scheme, _SERVER_PORT), user, password)
    sentinels = _places(places, scheme, _SENTINEL_PORT)
    service, _, database = path.partition("/")
    if not service:
        raise ValueError(f"{scheme}:// has no service; allowed: {scheme}://host:port,host:port/service")
    if not _is_number(database or "0"):
        raise ValueError(f"{scheme}:// has a database that is not a number; allowed: …/service/0")
    return SentinelUrl(sentinels, unquote(service), int(database or "0"), user, password)


def shown(text: str) -> str:
    """Return the URL without what may be secret: for messages."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "that URL"
    # The last @ of all: a password with an unescaped / must not show either.
    place = rest.rpartition("@")[2].partition("?")[0]
    return f"{scheme}://{place.partition('/')[0] if scheme in ('redis', 'rediss') else place}"


def _take_credentials(authority: str) -> tuple[str | None, str | None, str]:
    before, at, places = authority.rpartition("@")
    if not at:
        return None, None, places
    user, colon, password = before.partition(":")
    if not colon:  # As in redis://: a name alone is a name.
        return unquote(user) or None, None, places
    return unquote(user) or None, unquote(password), places


def _places(text: str, scheme: str, port: int) -> tuple[tuple[str, int], ...]:
    if not text:
        raise ValueError(f"{scheme}:// names no server; allowed: {ALLOWED}")
    return tuple(_place(part, scheme, port) for part in text.split(","))


def _place(text: str, scheme: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        colon, port = port[:1], port[1:]
        good = bool(bracket) and colon in ("", ":")
    else:
        host, colon, port = text.partition(":")
        good = True
    if not good or not host:
        raise ValueError(f"{scheme}:// has an address without a host; allowed: host:port or [IPv6]:port; {_ESCAPES}")
    if not colon:
        return host, default_port
    if not _is_number(port) or not 0 < int(port) < 65_536:
        raise ValueError(f"{scheme}:// has a port that is not a number from 1 to 65535; {_ESCAPES}")
    return host, int(port)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6
