"""What the kernel tells of a connection of ours. On Linux, and nothing elsewhere.

No rights are needed for it: a process may look at its own sockets.
"""

import asyncio
import socket
import struct
import sys

from sample_cluster.core.classify import TCP_INFO_OPTION, Look, decode_tcp_info
from sample_cluster.detour import is_led_around

INFO_BYTES = 256
"""More than any field that is read; the kernel gives what it has."""


def look_at(transport: asyncio.BaseTransport) -> Look:
    """Return what there is to be known. Nothing of a connection that is led through a relay: its kernel is ours."""
    held = transport.get_extra_info("socket")
    if sys.platform != "linux" or held is None or is_led_around(transport):
        return Look()
    try:
        if held.family == socket.AF_UNIX:
            return Look(unread=_unread(held.fileno()))
        return Look(tcp=decode_tcp_info(held.getsockopt(socket.IPPROTO_TCP, TCP_INFO_OPTION, INFO_BYTES)))
    except (OSError, ValueError, AttributeError):
        return Look()  # It is closed, or no real socket.


def _unread(fd: int) -> int:
    """Return how much the process at the other end of a Unix socket has not read, in bytes of the kernel's memory.

    Source: unix(7), SIOCOUTQ. The number has another name among those of terminals.
    """
    import fcntl  # noqa: PLC0415  # Not everywhere.
    import termios  # noqa: PLC0415  # Not everywhere.

    (waiting,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))
    return int(waiting)
