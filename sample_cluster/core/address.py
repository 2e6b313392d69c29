"""Reads the `host:port` that a process registers."""

from urllib.parse import urlsplit


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`; IPv6 hosts stand in brackets.

    Raises:
        ValueError: a part is missing, or there is more.

    """
    try:
        parts = urlsplit(f"//{address}")
        host, port, plain = parts.hostname, parts.port, parts.netloc == address and "@" not in address
    except ValueError:
        host, port, plain = None, None, False
    if not host or not port or not plain:
        raise ValueError(f"{address!r} is not an address: host:port, or [host]:port for IPv6")
    return host, port
