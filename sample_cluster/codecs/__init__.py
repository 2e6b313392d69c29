"""Frames of the client protocol to bytes and back; one module a subprotocol.

`limits` says what both let pass, `payload` what a message's data may be.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from sample_cluster.codecs.payload import data_size
from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import ClientFrame, Frame, NodeFrame, UnknownFrame

__all__ = ["SUBPROTOCOLS", "Codec", "codec_for", "data_size"]

SUBPROTOCOLS: Final = ("wsc.v1.json", "wsc.v1.pb")
"""What is spoken; the first one also with a client that names none."""


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
            ValueError: a number is NaN, infinite or too large for its field, or data cannot be put into this form.

        """

    def encode_message(self, channel: str, entry: Entry, *, replay: bool = False) -> bytes:
        """Return the `Message` frame that delivers `entry`."""

    def join(self, encoded: Sequence[bytes]) -> bytes:
        """Return the payload that carries these frames. The caller keeps to `FRAME_MAX` and `FRAMES_MAX`."""

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


def codec_for(subprotocol: str | None) -> Codec:
    """Return the codec of one of `SUBPROTOCOLS`, of the first one for None. A codec is imported when it is asked for.

    Raises:
        LookupError: there is no such subprotocol.

    """
    match subprotocol:
        case None | "wsc.v1.json":
            from sample_cluster.codecs.json import JSON  # noqa: PLC0415

            return JSON
        case "wsc.v1.pb":
            from sample_cluster.codecs.protobuf import PROTOBUF  # noqa: PLC0415 - 30 ms that JSON alone does not need.

            return PROTOBUF
        case _:
            raise LookupError(f"no subprotocol {subprotocol!r}; there are {', '.join(SUBPROTOCOLS)}")
