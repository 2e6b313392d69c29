"""Addresses of admin sockets."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from wsmon.errors import UsageError

UNIX_PATH_MAX = 107
"""Longest path of a Unix socket in bytes. Source: unix(7), sun_path of 108 with its closing zero."""


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A socket file; who may open the file may use the socket."""

    path: str

    def __str__(self) -> str:
        return f"ws+unix://{self.path}"


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A TCP port; `tls` is required for every host that is not loopback."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.tls else 'ws'}://{host}:{self.port}/admin"


def is_loopback(host: str) -> bool:
    """Say whether the host is this machine by its name alone; nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_endpoint(url: str) -> UnixEndpoint | TcpEndpoint:
    """Return the endpoint that `url` names.

    Raises:
        UsageError: the URL is not one of an admin socket, or is plain `ws://` to another machine.

    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not an admin socket: {error}") from None
    match parts.scheme:
        case "ws+unix" if parts.path.startswith("/") and not parts.netloc:
            if len(parts.path.encode()) > UNIX_PATH_MAX:
                raise UsageError(f"socket path is longer than {UNIX_PATH_MAX} bytes: {parts.path}")
            return UnixEndpoint(parts.path)
        case "ws" | "wss" if parts.hostname and port is not None:
            if parts.scheme == "ws" and not is_loopback(parts.hostname):
                raise UsageError(f"plain ws:// to {parts.hostname} is refused", hint="use wss:// outside this machine")
            return TcpEndpoint(parts.hostname, port, tls=parts.scheme == "wss")
        case _:
            raise UsageError(
                f"{url!r} is not an admin socket",
                hint="ws+unix:///path, ws://127.0.0.1:port/admin or wss://host:port/admin",
            )
