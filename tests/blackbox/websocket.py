"""A WebSocket client connection as thin as it can be (RFC 6455), so that a hundred of them leave the machine to others.

It negotiates no extension, takes fragmented and control frames, answers pings and closes, and masks what it sends.
The owner is called back on the loop, and never again after it called `close` or `abort`.
"""

import asyncio
import base64
import hashlib
import os
from typing import Final, Protocol

TEXT: Final = 0x1
CLOSE: Final = 0x8
PONG: Final = 0xA
ABNORMAL: Final = 1006
FRAME_MAX: Final = 16 * 1024 * 1024
HEAD_MAX: Final = 16 * 1024
CLOSES_WITHIN_S: Final = 1.0
"""A server that does not answer our close for this long is cut."""
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Owner(Protocol):
    """Who is told what happens to a connection."""

    def opened(self, connection: "Connection") -> None:
        """The handshake is through."""

    def refused(self, connection: "Connection", status: int, retry_after_s: float | None) -> None:
        """The server answered the handshake with another HTTP status."""

    def received(self, connection: "Connection", payload: bytes) -> None:
        """A data message came."""

    def ended(self, connection: "Connection", code: int) -> None:
        """The connection is gone; `code` is the server's, or 1006 if it said none."""


class Connection(asyncio.Protocol):
    """One connection, from the handshake on. Give it to `loop.create_connection`."""

    def __init__(self, owner: Owner, *, host: str, path: str, subprotocol: str) -> None:
        self._owner: Owner | None = owner
        self._host = host
        self._path = path
        self._subprotocol = subprotocol
        self._key = base64.b64encode(os.urandom(16))
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._open = False
        self._parts: list[bytes] = []
        self._code = ABNORMAL
        self._aborted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._aborted:
            transport.abort()
            return
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self._key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {self._subprotocol}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take what came and hand over every whole message in it."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if not self._open:
            data = self._handshake(data)
        at, size = 0, len(data)
        while size - at >= 2 and self._owner is not None:
            length, start = data[at + 1], at + 2
            if length == 126:
                start = at + 4
                if start > size:
                    break
                length = int.from_bytes(data[at + 2 : start])
            elif length == 127:
                start = at + 10
                if start > size:
                    break
                length = int.from_bytes(data[at + 2 : start])
            if length > FRAME_MAX or data[at] & 0x70 or data[at + 1] & 0x80:
                self._fail(1002)
                return
            end = start + length
            if end > size:
                break
            self._frame(data[at], data[start:end])
            at = end
        self._buffer = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, unless it let go before."""
        self._transport = None
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.ended(self, self._code)

    def send(self, text: str) -> None:
        """Send a text message; nothing if the connection is going."""
        self._write(TEXT, text.encode())

    def close(self, code: int) -> None:
        """Let go of the owner, say goodbye, and end within a second."""
        self._owner = None
        if self._open:
            self._write(CLOSE, code.to_bytes(2))
        transport = self._transport
        if transport is not None:
            transport.write_eof()
            asyncio.get_running_loop().call_later(CLOSES_WITHIN_S, transport.abort)
        self._aborted = True

    def abort(self) -> None:
        """Let go of the owner and of the connection at once."""
        self._owner = None
        self._aborted = True
        if self._transport is not None:
            self._transport.abort()

    def _handshake(self, data: bytes) -> bytes:
        """Read the server's answer; return what follows it."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._buffer = data
            if len(data) > HEAD_MAX:
                self._fail(1002)
            return b""
        status, _, lines = head.partition(b"\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n"))
        }
        words = status.split()
        number = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        accept = base64.b64encode(hashlib.sha1(self._key + GUID).digest())
        if number != 101:
            after = fields.get(b"retry-after", b"")
            self._leave().refused(self, number, float(after) if after.isdigit() else None)
            return b""
        if fields.get(b"sec-websocket-accept") != accept:
            self._fail(1002)
            return b""
        if fields.get(b"sec-websocket-protocol") != self._subprotocol.encode():
            self._fail(1002)
            return b""
        self._open = True
        assert self._owner is not None
        self._owner.opened(self)
        return rest

    def _frame(self, first: int, payload: bytes) -> None:
        match first & 0x0F:
            case 0x0 | 0x1 | 0x2 if not first & 0x80:
                self._parts.append(payload)
            case 0x0 | 0x1 | 0x2:
                if self._parts:
                    payload = b"".join((*self._parts, payload))
                    self._parts.clear()
                assert self._owner is not None
                self._owner.received(self, payload)
            case 0x9:
                self._write(PONG, payload)
            case 0x8:
                code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
                self._write(CLOSE, payload[:2])
                self._leave().ended(self, code)
            case _:
                pass  # A pong that nobody asked for.

    def _leave(self) -> Owner:
        """Let go of the owner and end the connection; return the owner, for a last word."""
        owner, self._owner = self._owner, None
        assert owner is not None
        if self._transport is not None:
            self._transport.close()
        return owner

    def _fail(self, code: int) -> None:
        self._leave().ended(self, code)

    def _write(self, kind: int, payload: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | kind, 0x80 | length))
        elif length < 65_536:
            head = bytes((0x80 | kind, 0xFE)) + length.to_bytes(2)
        else:
            head = bytes((0x80 | kind, 0xFF)) + length.to_bytes(8)
        mask = os.urandom(4)
        stretched = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(payload) ^ int.from_bytes(stretched)).to_bytes(length)
        transport.write(head + mask + masked)
