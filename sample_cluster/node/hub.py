"""Who is connected, who listens to which channel, and the writing to all of them.

A message becomes bytes once for each subprotocol, here, header and all, and the same bytes go to every subscriber.
Connections with something to write are collected and written once per turn of the loop: no task and no system call
per message.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from sample_cluster.codecs import Codec
from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import Frame, Resync, Rewind
from sample_cluster.core.session import Cursor, entry_size

LAGGING_POLL_S: Final = 0.02
"""How often connections whose transport was full are tried again."""


def wire(payload: bytes, *, binary: bool) -> bytes:
    """Return a whole unmasked WebSocket frame (RFC 6455, section 5.2)."""
    length = len(payload)
    head = b"\x82" if binary else b"\x81"
    if length < 126:
        return head + length.to_bytes(1) + payload
    if length < 65_536:
        return head + b"\x7e" + length.to_bytes(2) + payload
    return head + b"\x7f" + length.to_bytes(8) + payload


class Member(Protocol):
    """What the hub knows of a connection."""

    name: str
    codec: Codec

    @property
    def session(self) -> str:
        """Return the session's id."""

    @property
    def attempt(self) -> int:
        """Return the attempt with which it claimed its session."""

    def close(self, code: int, reason: str) -> None:
        """Close the connection."""

    def let_go(self, patience_s: float) -> None:
        """Close soon, because another connection owns the session."""

    def offer(self, cursor: Cursor, entry: Entry, size: int, now: float) -> bool:
        """Say whether the next entry of a live cursor is to be pushed; one that is not is detached by the hub."""

    def push(self, frame: bytes) -> None:
        """Queue a finished frame; a connection that is too slow closes itself."""

    def jumped(self, cursor: Cursor, told: Resync | Rewind) -> None:
        """Tell the client of a live cursor that the channel goes on elsewhere."""

    def send(self, frame: Frame) -> None:
        """Queue a frame."""

    def flush(self) -> bool:
        """Write what is queued; return whether some of it has to wait for the transport."""


class Hub:
    """The connections of one node."""

    def __init__(self) -> None:
        self.connections: dict[str, Member] = {}
        """Those that were welcomed."""
        self.sessions: dict[str, Member] = {}
        self.channels: dict[str, dict[str, tuple[Member, Cursor]]] = {}
        """Channel → name → who gets its messages as they come."""
        self.messages_in = 0
        self.messages_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.pings = 0
        self.pings_missed = 0
        self.dead = 0
        self.retransmits = 0
        """Of connections that are gone."""
        self.closes: Counter[int] = Counter()
        self.resumes: Counter[str] = Counter()
        """How resumes were served: from ring, log or not (resync); stale ones were refused."""
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

    def attach(self, cursor: Cursor, member: Member) -> None:
        """Deliver the channel's messages to `member` from now on."""
        self.channels.setdefault(cursor.channel, {})[member.name] = (member, cursor)

    def detach(self, channel: str, member: Member) -> None:
        """Deliver no more of the channel to `member`."""
        members = self.channels.get(channel)
        if members is not None:
            members.pop(member.name, None)
            if not members:
                del self.channels[channel]

    def deliver(self, channel: str, entry: Entry) -> None:
        """Send the feed's next entry to everybody who listens."""
        members = self.channels.get(channel)
        if not members:
            return
        now, size = asyncio.get_running_loop().time(), entry_size(entry)
        text: bytes | None = None
        binary: bytes | None = None
        count = 0
        for member, cursor in [*members.values()]:
            if not member.offer(cursor, entry, size, now):
                self.detach(channel, member)
                continue
            codec = member.codec
            if codec.binary:
                if binary is None:
                    binary = wire(codec.encode_message(channel, entry), binary=True)
                frame = binary
            else:
                if text is None:
                    text = wire(codec.encode_message(channel, entry), binary=False)
                frame = text
            member.push(frame)
            count += 1
        self.messages_out += count

    def jump(self, channel: str, told: Resync | Rewind) -> None:
        """Tell everybody who listens that the channel goes on elsewhere."""
        for member, cursor in [*self.channels.get(channel, {}).values()]:
            member.jumped(cursor, told)

    def broadcast(self, frame: Frame) -> None:
        """Send a frame to all connections."""
        for member in [*self.connections.values()]:
            member.send(frame)

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
