"""Frames of the client protocol to bytes and back; one module a subprotocol."""

from collections.abc import Sequence
from typing import Protocol

from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import ClientFrame, Frame, NodeFrame, UnknownFrame


class Codec(Protocol):
    """One subprotocol. The payload of a WebSocket frame is `join` of one or more encoded frames."""

    @property
    def subprotocol(self) -> str:
        """Its name in the handshake."""

    @property
    def binary(self) -> bool:
        """Whether payloads go in binary WebSocket frames; in text frames otherwise."""

    def encode(self, frame: Frame) -> bytes:
        """Return one frame.

        Raises:
            ValueError: a number is NaN or infinite.

        """

    def encode_message(self, channel: str, entry: Entry, *, replay: bool = False) -> bytes:
        """Return the `Message` frame that delivers `entry`."""

    def join(self, encoded: Sequence[bytes]) -> bytes:
        """Return the payload that carries these frames."""

    def decode_client(self, payload: str | bytes) -> tuple[ClientFrame | UnknownFrame, ...]:
        """Return the frames of a client's payload: `str` from a text frame, `bytes` from a binary one.

        Raises:
            RemoteProtocolError: it is not of this subprotocol; `code` is the close code.

        """

    def decode_node(self, payload: str | bytes) -> tuple[NodeFrame | UnknownFrame, ...]:
        """Return the frames of a node's payload.

        Raises:
            RemoteProtocolError: it is not of this subprotocol.

        """
