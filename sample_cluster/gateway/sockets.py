"""What the kernel is told about the two sockets of a tunnel."""

import math
import socket
from asyncio.trsock import TransportSocket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from sample_cluster.config import Profile

UNSENT_BYTES_MAX: Final = 128 * 1024
"""What the kernel takes beyond what is on its way; without a bound it would hide megabytes of a slow reader's backlog."""
CLIENT_SILENT_LEAST_S: Final = 30.0
"""An interruption that heals within this is transient and must not cost a connection. It is also twice the 15 s after
which a node itself closes a client that takes nothing, and says so with a code."""
NODE_SILENT_LEAST_S: Final = 10.0
PROBES: Final = 4
BACKLOG: Final = 4_096
"""Connections that wait to be accepted. More are not refused but lost, and come again a second later."""


@dataclass(frozen=True, slots=True)
class Silence:
    """How long, in seconds, an end may leave what it was sent unacknowledged, or keep its window shut."""

    client_s: float
    node_s: float

    @classmethod
    def of(cls, profile: Profile) -> Self:
        """Return what fits a profile: after this long the one at the other end has given us up, too.

        A client does when nothing came for a ping's interval and its answer's time. A node that is silent so long is
        removed by the checker; this is for the case that only we cannot reach it.
        """
        ping = profile.client_ping
        return cls(
            client_s=max(CLIENT_SILENT_LEAST_S, ping.interval_s + ping.timeout_s),
            node_s=max(NODE_SILENT_LEAST_S, profile.heartbeat.removal_window()[1]),
        )


_OPTIONS: Final = tuple(
    (number, name)
    for name in (
        "TCP_KEEPIDLE",
        "TCP_KEEPALIVE",  # The same by the name it has on macOS.
        "TCP_KEEPINTVL",
        "TCP_KEEPCNT",
        "TCP_USER_TIMEOUT",
        "TCP_NOTSENT_LOWAT",
    )
    if (number := getattr(socket, name, None)) is not None
)
"""Those that this system has."""


def tune(end: socket.socket | TransportSocket, silent_s: float, *, listening: bool = False) -> None:
    """Let the kernel give a connection up when its other end is silent, as far as this system can do that.

    An idle connection is probed after half of `silent_s` and is over after the whole of it. What is accepted from a
    listening socket inherits all this; such a one also gets a backlog for a crowd.
    """
    if listening:
        with end.dup() as same:
            same.listen(BACKLOG)
    idle_s, probe_s = max(1, math.floor(silent_s / 2)), max(1, math.floor(silent_s / 8))
    values = {
        "TCP_KEEPIDLE": idle_s,
        "TCP_KEEPALIVE": idle_s,
        "TCP_KEEPINTVL": probe_s,
        "TCP_KEEPCNT": PROBES,
        "TCP_USER_TIMEOUT": round(silent_s * 1_000),
        "TCP_NOTSENT_LOWAT": UNSENT_BYTES_MAX,
    }
    with suppress(OSError):  # It was reset this moment: asyncio will notice.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for number, name in _OPTIONS:
            end.setsockopt(socket.IPPROTO_TCP, number, values[name])
