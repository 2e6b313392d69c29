"""What has to hold for any payload, and a run over many of them.

A payload is made from a seed and its number alone, so each one can be had again by itself.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random

from sample_cluster.codecs import Codec, data_size
from sample_cluster.codecs.json import JSON
from sample_cluster.codecs.limits import FRAMES_MAX, check
from sample_cluster.codecs.protobuf import PROTOBUF
from sample_cluster.core.messages import Error, Frame, Message, Publish, Published, UnknownFrame
from sample_cluster.errors import RemoteProtocolError
from sample_cluster.proto import wsc_pb2 as pb
from tests.fuzz.mutate import mutated_json, mutated_protobuf
from tests.support.codec_frames import CLIENT_FRAMES, NODE_FRAMES

FRAMES: tuple[Frame, ...] = (*CLIENT_FRAMES, *NODE_FRAMES)
CLIENT_KINDS = {type(frame) for frame in CLIENT_FRAMES}
JSON_SEEDS = tuple(JSON.encode(frame) for frame in FRAMES)
PROTOBUF_SEEDS = tuple(
    pb.Frame.FromString(raw[2 if raw[0] & 0x80 else 1 :]).SerializeToString() for raw in map(PROTOBUF.encode, FRAMES)
)


class BrokenPromiseError(AssertionError):
    """A decoder did what it must not do."""


@dataclass(slots=True)
class Tally:
    """What came of a run."""

    executions: int = 0
    refused: int = 0
    frames: Counter[str] = field(default_factory=Counter)


def payload_of(seed: int, number: int) -> tuple[Codec, str | bytes]:
    """Return one payload, and whose it is."""
    dice = Random(f"{seed} {number}")
    if number % 2:
        return PROTOBUF, mutated_protobuf(dice, PROTOBUF_SEEDS)
    raw = mutated_json(dice, JSON_SEEDS)
    # Only Unicode comes through the WebSocket library; a decoder does not rely on that.
    return JSON, raw.decode("utf-8", dice.choice(("replace", "surrogateescape")))


def examine(codec: Codec, payload: str | bytes, tally: Tally) -> None:
    """Decode a payload in both directions.

    Raises:
        BrokenPromiseError: something else came of it than frames that keep to the limits, or a refusal with 4501.

    """
    for decode in (codec.decode_client, codec.decode_node):
        tally.executions += 1
        try:
            frames: tuple[Frame | UnknownFrame, ...] = decode(payload)
        except RemoteProtocolError as error:
            if error.code != 4501 or not (error.message.isascii() and error.message.isprintable()):
                raise BrokenPromiseError(f"refused with {error.code}: {error.message}") from error
            tally.refused += 1
            continue
        except Exception as error:
            raise BrokenPromiseError(f"{type(error).__name__}: {error}") from error
        if not 1 <= len(frames) <= FRAMES_MAX:
            raise BrokenPromiseError(f"{len(frames)} frames")
        for same in dict.fromkeys(map(_Same, frames)):
            tally.frames[type(same.frame).__name__] += 1
            if not isinstance(same.frame, UnknownFrame):
                _hold(codec, same.frame)


@dataclass(frozen=True, slots=True)
class _Same:
    """A frame as a key: hundreds of copies in one payload are looked at once."""

    frame: Frame | UnknownFrame

    def __hash__(self) -> int:
        return hash(repr(self.frame))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and repr(self.frame) == repr(other.frame)


def _hold(codec: Codec, frame: Frame) -> None:
    """Check that an accepted frame keeps to the limits, can be written again, and reads the same in both forms."""
    forms: tuple[Codec, ...] = (JSON, PROTOBUF)
    try:
        check(frame)
        if isinstance(frame, Publish | Message) and data_size(frame.data, frame.encoding) is None:
            # The node refuses it, and Protobuf has no form for it.
            assert codec is JSON or str(frame.encoding).startswith("#"), "bytes have a size"
            forms = (JSON,)
        for form in forms:
            encoded = form.encode(frame)
            read = _decode(form, frame, encoded if form.binary else encoded.decode())
            assert read == (frame if form is JSON else _in_protobuf(frame),), f"{read} in {form.subprotocol}"
    except Exception as error:
        raise BrokenPromiseError(f"{frame}: {type(error).__name__}: {error}") from error


def _decode(codec: Codec, frame: Frame, payload: str | bytes) -> tuple[Frame | UnknownFrame, ...]:
    return codec.decode_client(payload) if type(frame) in CLIENT_KINDS else codec.decode_node(payload)


def _in_protobuf(frame: Frame) -> Frame:
    """Return what Protobuf makes of a frame: the presence differences of docs/client-protocol.md."""
    match frame:
        case Error():
            return replace(frame, id=frame.id or None, retry_ms=frame.retry_ms or None)
        case Published():
            return replace(frame, replicas=frame.replicas or None)
        case _:
            return frame


def run(seed: int, numbers: Iterable[int]) -> Tally:
    """Examine these payloads of `seed`.

    Raises:
        BrokenPromiseError: one of them is a find; the message has all that is needed to see it again.

    """
    tally = Tally()
    for number in numbers:
        codec, payload = payload_of(seed, number)
        try:
            examine(codec, payload, tally)
        except BrokenPromiseError as error:
            raise BrokenPromiseError(
                f"{codec.subprotocol}, --seed {seed} --only {number}\n{payload[:4_000]!r}\n{error}"
            ) from error
    return tally
