"""Who is connected, who listens to which channel, and the writing to all of them.

A message becomes bytes once, here, header and all, and the same bytes go to every subscriber. Connections with
something to write are collected and written once per turn of the loop: no task and no system call per message.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from sample_cluster.codecs.json import encode, encode_message
from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import Frame, Resync

LAGGING_POLL_S: Final = 0.02
"""How often connections whose transport was full are tried again."""


def wire(text: str) -> bytes:
    """Return a whole unmasked WebSocket text frame."""
    return WireFrame(Opcode.TEXT, text.encode()).serialize(mask=False)


def wire_message(channel: str, entry: Entry, *, replay: bool = False) -> bytes:
    """Return the frame that delivers `entry`."""
    return wire(encode_message(channel, entry, replay=replay))


class Member(Protocol):
    """What the hub knows of a connection."""

    name: str
    session: str

    def push(self, frame: bytes) -> None:
        """Queue a frame; a connection that is too slow closes itself."""

    def flush(self) -> bool:
        """Write what is queued; return whether some of it has to wait for the transport."""


class Hub:
    """The connections of one node."""

    def __init__(self) -> None:
        self.connections: dict[str, Member] = {}
        """Those that were welcomed."""
        self.sessions: dict[str, Member] = {}
        self.channels: dict[str, dict[str, Member]] = {}
        """Channel → name → who gets its messages as they come."""
        self.messages_in = 0
        self.messages_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.pings = 0
        self.pings_missed = 0
        self.dead = 0
        self.closes: Counter[int] = Counter()
        self.on_joined: Callable[[Member], None] = lambda _: None
        self.on_left: Callable[[str], None] = lambda _: None
        """Called with the name of a connection that is gone."""
        self._dirty: list[Member] = []
        self._flush_planned = False

    def join(self, member: Member) -> None:
        """Count a connection that was welcomed."""
        self.connections[member.name] = member
        self.sessions[member.session] = member
        self.on_joined(member)

    def leave(self, member: Member) -> None:
        """Forget a connection; it has to be detached from its channels before or after."""
        self.connections.pop(member.name, None)
        if self.sessions.get(member.session) is member:
            del self.sessions[member.session]
        self.on_left(member.name)

    def attach(self, channel: str, member: Member) -> None:
        """Deliver the channel's messages to `member` from now on."""
        self.channels.setdefault(channel, {})[member.name] = member

    def detach(self, channel: str, member: Member) -> None:
        """Deliver no more of the channel to `member`."""
        members = self.channels.get(channel)
        if members is not None:
            members.pop(member.name, None)
            if not members:
                del self.channels[channel]

    def deliver(self, channel: str, entry: Entry) -> None:
        """Send a message to everybody who listens."""
        members = self.channels.get(channel)
        if not members:
            return
        frame = wire_message(channel, entry)
        self.messages_out += len(members)
        for member in [*members.values()]:
            member.push(frame)

    def resync(self, channel: str, frame: Resync) -> None:
        """Tell everybody who listens that the channel goes on elsewhere."""
        for member in [*self.channels.get(channel, {}).values()]:
            member.push(wire(encode(frame)))

    def broadcast(self, frame: Frame) -> None:
        """Send a frame to all connections."""
        data = wire(encode(frame))
        for member in [*self.connections.values()]:
            member.push(data)

    def mark(self, member: Member) -> None:
        """Have `member.flush` called at the end of this turn of the loop. The member marks itself once."""
        self._dirty.append(member)
        if not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        self._flush_planned = False
        lagging = [member for member in dirty if member.flush()]
        if lagging:
            asyncio.get_running_loop().call_later(LAGGING_POLL_S, self._retry, lagging)

    def _retry(self, lagging: list[Member]) -> None:
        for member in lagging:
            self.mark(member)
