r"""Subprotocol `wsc.v1.json`: one text frame of WebSocket carries one or more JSON objects separated by `\n`.

Decoding is strict about the fields it knows and indifferent to those it does not. NaN and infinities are not JSON.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from enum import StrEnum
from typing import Final, Literal, TypeVar

from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import (
    Ack,
    Auth,
    ClientFrame,
    Error,
    Frame,
    GoAway,
    GoAwayReason,
    Hello,
    Level,
    Limits,
    Message,
    NodeFrame,
    Notice,
    Ping,
    Pong,
    Position,
    Publish,
    Published,
    Reconnect,
    Resume,
    Resync,
    Retry,
    Rewind,
    Subscribe,
    Subscribed,
    Timings,
    UnknownFrame,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from sample_cluster.errors import RemoteProtocolError
from wsmon.errors import RemoteProtocolError as FieldError
from wsmon.protocol.fields import Fields, parse_object
from wsmon.protocol.frames import Json, JsonObject

SUBPROTOCOL: Final = "wsc.v1.json"
FRAME_MAX: Final = 64 * 1024
"""Largest frame in bytes, in either direction."""
DATA_MAX: Final = 512
"""Largest `data` of a publish in bytes of its compact JSON text."""
CHANNELS_MAX: Final = 1_000
"""Most channels in one `resume` or `ack`."""
NONCE_MAX: Final = 2**32 - 1
SEQ_MAX: Final = 2**53 - 1
MS_MAX: Final = 10**12
"""Longest duration in milliseconds that anybody may announce: about thirty years."""
_CHANNEL: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_EPOCH: Final = re.compile(r"[0-9a-f]{8}")
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)

Word = TypeVar("Word", bound=StrEnum)


def is_channel(name: str) -> bool:
    """Say whether `name` can name a channel: 1 to 64 of letters, digits and `._:-`."""
    return _CHANNEL.fullmatch(name) is not None


def encode_data(data: Json) -> str:
    """Return the compact JSON text of a message's data.

    Raises:
        RemoteProtocolError: a number is NaN or infinite, or a text is not Unicode (half a surrogate pair).

    """
    try:
        text = _COMPACT.encode(data)
        text.encode()
    except ValueError as error:  # UnicodeEncodeError is one, too.
        raise RemoteProtocolError(f"data has no JSON text: {error}") from None
    return text


def encode(frame: Frame) -> str:
    """Return the frame as one JSON object without a line's end; fields that are None are left out.

    Raises:
        ValueError: a number is NaN or infinite.

    """
    return _COMPACT.encode({"type": type(frame).__name__.lower(), **_object(frame)})


def encode_message(channel: str, entry: Entry, *, replay: bool = False) -> str:
    """Return what `encode(Message(…))` would, for data that is JSON text already: it is not parsed again.

    `channel` and the entry's id must need no escaping; both are checked where they enter the cluster.
    """
    tail = ',"replay":true}' if replay else "}"
    if entry.encoding is not None:
        tail = f',"encoding":{_COMPACT.encode(entry.encoding)}{tail}'
    return (
        f'{{"type":"message","channel":"{channel}","seq":{entry.seq},"nonce":{entry.nonce},"prev":{entry.prev},'
        f'"id":"{entry.id}","ts":{entry.ts},"data":{entry.data}{tail}'
    )


def decode_client(text: str) -> tuple[ClientFrame | UnknownFrame, ...]:
    """Return the frames that a client sent in one text frame.

    Raises:
        RemoteProtocolError: it is not of this protocol; `code` is the close code.

    """
    return tuple(_client(kind, fields) for kind, fields in _objects(text))


def decode_node(text: str) -> tuple[NodeFrame | UnknownFrame, ...]:
    """Return the frames that a node sent in one text frame.

    Raises:
        RemoteProtocolError: it is not of this protocol; `code` is the close code.

    """
    return tuple(_node(kind, fields) for kind, fields in _objects(text))


def _objects(text: str) -> Iterator[tuple[str, "_Fields"]]:
    lines = [line for line in text.split("\n") if line]
    if not lines:
        raise RemoteProtocolError("an empty frame")
    for line in lines:
        try:
            document = parse_object(line)
            if "\\u" in line:  # Half a surrogate pair can only come in as an escape.
                encode_data(document)
            kind = Fields(document, "frame").text("type", longest=64)
            yield kind, _Fields(document, kind)
        except FieldError as error:
            raise RemoteProtocolError(str(error)) from None


def _object(value: object) -> JsonObject:
    document: JsonObject = {}
    for item in dataclass_fields(value):  # type: ignore[arg-type]  # Frames and their parts are dataclasses.
        inner = _plain(getattr(value, item.name))
        # Two flags that are rarely set are said only then.
        if inner is None or (inner is False and item.name in {"dup", "replay"}):
            continue
        document["from" if isinstance(value, Subscribe) and item.name == "start" else item.name] = inner
    if isinstance(value, Message | Publish) and value.data is None:
        document["data"] = None  # Null is data like any other.
    return document


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int() | float() | list():
            return value
        case str():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case _:
            return _object(value)


def _client(kind: str, fields: "_Fields") -> ClientFrame | UnknownFrame:
    try:
        match kind:
            case "publish":
                return _publish(fields)
            case "ack":
                return Ack(acks=fields.numbers("acks"))
            case "pong":
                return Pong(ts=fields.integer("ts"))
            case "hello":
                return Hello(
                    token=fields.text_or_none("token"),
                    client=fields.short_texts("client"),
                    caps=fields.texts("caps", most=64),
                )
            case "resume":
                return Resume(
                    session=fields.text("session", longest=128),
                    secret=fields.text("secret", longest=128),
                    attempt=fields.integer("attempt", least=1),
                    token=fields.text_or_none("token"),
                    positions=fields.positions("positions"),
                    pending=fields.numbers("pending") if fields.has("pending") else {},
                    retries=tuple(_retry(item) for item in fields.objects("retries", most=64))
                    if fields.has("retries")
                    else (),
                )
            case "subscribe":
                return Subscribe(id=fields.integer("id"), channel=fields.channel("channel"), start=fields.start())
            case "unsubscribe":
                return Unsubscribe(id=fields.integer("id"), channel=fields.channel("channel"))
            case "auth":
                return Auth(token=fields.text("token"))
            case _:
                return UnknownFrame(type=kind)
    except FieldError as error:
        raise RemoteProtocolError(str(error)) from None


def _publish(fields: "_Fields") -> Publish:
    data = fields.any("data")
    _check_finite(data)
    return Publish(
        channel=fields.channel("channel"),
        cseq=fields.integer("cseq", least=1, most=SEQ_MAX),
        data=data,
        encoding=fields.text_or_none("encoding", longest=16),
        level=fields.word("level", Level) if fields.has("level") else Level.FAST,
    )


def _check_finite(value: Json) -> None:
    """Refuse what `json` makes of 1e999: an infinity that came in without its name."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RemoteProtocolError("publish.data holds a number that is out of range")
    elif isinstance(value, dict):
        for item in value.values():
            _check_finite(item)
    elif isinstance(value, list):
        for item in value:
            _check_finite(item)


def _retry(document: JsonObject) -> Retry:
    fields = Fields(document, "resume.retries")
    return Retry(
        ago_ms=fields.integer("ago_ms", most=MS_MAX),
        delay_ms=fields.integer("delay_ms", most=MS_MAX),
        outcome=fields.text("outcome", longest=64),
    )


def _node(kind: str, fields: "_Fields") -> NodeFrame | UnknownFrame:
    try:
        match kind:
            case "message":
                return Message(
                    channel=fields.channel("channel"),
                    seq=fields.seq("seq"),
                    nonce=fields.nonce("nonce"),
                    prev=fields.nonce("prev"),
                    id=fields.text("id", longest=128),
                    ts=fields.integer("ts"),
                    data=fields.any("data"),
                    encoding=fields.text_or_none("encoding", longest=16),
                    replay=fields.flag("replay"),
                )
            case "published":
                return Published(
                    channel=fields.channel("channel"),
                    cseq=fields.seq("cseq"),
                    seq=fields.seq("seq"),
                    dup=fields.flag("dup"),
                    replicas=fields.integer_or_none("replicas"),
                )
            case "ping":
                return Ping(ts=fields.integer("ts"))
            case "welcome":
                return _welcome(fields)
            case "subscribed":
                return Subscribed(
                    id=fields.integer("id"),
                    channel=fields.channel("channel"),
                    position=fields.position("position"),
                    replay=fields.integer("replay") if fields.has("replay") else 0,
                )
            case "unsubscribed":
                return Unsubscribed(id=fields.integer("id"), channel=fields.channel("channel"))
            case "resync":
                return Resync(
                    channel=fields.channel("channel"),
                    reason=fields.text("reason", longest=64),
                    have=fields.seq("have"),
                    first=fields.seq("first"),
                    top=fields.seq("top"),
                    position=fields.position("position"),
                )
            case "rewind":
                return Rewind(
                    channel=fields.channel("channel"),
                    to=fields.seq("to"),
                    void=fields.void(),
                    position=fields.position("position"),
                )
            case "goaway":
                return GoAway(
                    reason=fields.word("reason", GoAwayReason),
                    retry_ms=fields.integer("retry_ms", most=MS_MAX),
                    spread_ms=fields.integer("spread_ms", most=MS_MAX),
                    deadline_ms=fields.integer("deadline_ms", most=MS_MAX),
                    handover=fields.flag("handover"),
                )
            case "notice":
                return Notice(component=fields.text("component", longest=64), state=fields.notice_state())
            case "error":
                return Error(
                    code=fields.text("code", longest=64),
                    message=fields.text("message"),
                    temporary=fields.flag("temporary"),
                    id=fields.integer_or_none("id"),
                    retry_ms=fields.integer_or_none("retry_ms", most=MS_MAX),
                    channel=fields.text_or_none("channel", longest=64),
                    cseq=fields.integer_or_none("cseq", most=SEQ_MAX),
                )
            case _:
                return UnknownFrame(type=kind)
    except FieldError as error:
        raise RemoteProtocolError(str(error)) from None


def _welcome(fields: "_Fields") -> Welcome:
    timings = Fields(fields.object("timings"), "welcome.timings")
    limits = Fields(fields.object("limits"), "welcome.limits")
    reconnect = Fields(fields.object("reconnect"), "welcome.reconnect")
    return Welcome(
        session=fields.text("session", longest=128),
        secret=fields.text("secret", longest=128),
        attempt=fields.integer("attempt"),
        node=fields.text("node", longest=256),
        boot=fields.integer("boot"),
        timings=Timings(
            ping_ms=timings.integer("ping_ms", least=1, most=MS_MAX),
            pong_ms=timings.integer("pong_ms", least=1, most=MS_MAX),
            misses=timings.integer("misses", least=1),
            resume_ttl_ms=timings.integer("resume_ttl_ms", most=MS_MAX),
            ack_ms=timings.integer("ack_ms", least=1, most=MS_MAX),
        ),
        limits=Limits(
            max_frame=limits.integer("max_frame"),
            max_data=limits.integer("max_data"),
            window=limits.integer("window"),
        ),
        reconnect=Reconnect(
            spread_ms=reconnect.integer("spread_ms", most=MS_MAX),
            base_ms=reconnect.integer("base_ms", most=MS_MAX),
            factor=reconnect.number("factor", least=1),
            cap_ms=reconnect.integer("cap_ms", most=MS_MAX),
            jitter=reconnect.number("jitter", least=0, most=1),
            stable_ms=reconnect.integer("stable_ms", most=MS_MAX),
        ),
        resumed=fields.texts("resumed", most=CHANNELS_MAX),
        fresh=fields.texts("fresh", most=CHANNELS_MAX),
    )


class _Fields(Fields):
    """The reader of this protocol's own kinds of fields."""

    __slots__ = ()

    def any(self, name: str) -> Json:
        if name not in self._object:
            raise RemoteProtocolError(f"{self._what}.{name} is missing")
        return self._object[name]

    def channel(self, name: str) -> str:
        value = self.text(name, longest=64)
        if not is_channel(value):
            raise RemoteProtocolError(f"{self._what}.{name} is not a channel's name")
        return value

    def seq(self, name: str) -> int:
        return self.integer(name, most=SEQ_MAX)

    def nonce(self, name: str) -> int:
        return self.integer(name, most=NONCE_MAX)

    def position(self, name: str) -> Position:
        fields = _Fields(self.object(name), f"{self._what}.{name}")
        epoch = fields.text("epoch", longest=8)
        if not _EPOCH.fullmatch(epoch):
            raise RemoteProtocolError(f"{self._what}.{name}.epoch is not 8 hex digits")
        return Position(epoch=epoch, seq=fields.seq("seq"), nonce=fields.nonce("nonce"))

    def start(self) -> Position | Literal["now", "start"]:
        match self._object.get("from"):
            case None | "now":
                return "now"
            case "start":
                return "start"
            case _:
                return self.position("from")

    def positions(self, name: str) -> dict[str, Position]:
        inner = self._by_channel(name)
        return {channel: inner.position(channel) for channel in inner.names()}

    def numbers(self, name: str) -> dict[str, int]:
        inner = self._by_channel(name)
        return {channel: inner.seq(channel) for channel in inner.names()}

    def names(self) -> Iterator[str]:
        return iter(self._object)

    def _by_channel(self, name: str) -> "_Fields":
        document = (self.object_or_none(name) or {}) if name == "positions" else self.object(name)
        if len(document) > CHANNELS_MAX:
            raise RemoteProtocolError(f"{self._what}.{name} holds more than {CHANNELS_MAX} channels")
        for channel in document:
            if not is_channel(channel):
                raise RemoteProtocolError(f"{self._what}.{name} holds a name that is not a channel's")
        return _Fields(document, f"{self._what}.{name}")

    def short_texts(self, name: str) -> dict[str, str]:
        document = self.object_or_none(name) or {}
        inner = Fields(document, f"{self._what}.{name}")
        if len(document) > 16:
            raise RemoteProtocolError(f"{self._what}.{name} holds more than 16 fields")
        return {key[:64]: inner.text(key, longest=256) for key, value in document.items() if isinstance(value, str)}

    def void(self) -> tuple[int, int]:
        match self._object.get("void"):
            case [int(first), int(last)] if 0 <= first <= last <= SEQ_MAX:
                return first, last
            case _:
                raise RemoteProtocolError(f"{self._what}.void is not a range [first, last]")

    def notice_state(self) -> Literal["degraded", "live"]:
        match self._object.get("state"):
            case "degraded":
                return "degraded"
            case "live":
                return "live"
            case _:
                raise RemoteProtocolError(f"{self._what}.state is neither degraded nor live")


class JsonCodec:
    """The subprotocol as one object. The functions above do the work."""

    subprotocol: Final = SUBPROTOCOL
    binary: Final = False

    def encode(self, frame: Frame) -> bytes:
        """Return one frame as UTF-8."""
        return encode(frame).encode()

    def encode_message(self, channel: str, entry: Entry, *, replay: bool = False) -> bytes:
        """Return the frame that delivers `entry` as UTF-8."""
        return encode_message(channel, entry, replay=replay).encode()

    def join(self, encoded: Sequence[bytes]) -> bytes:
        """Return one object a line."""
        return b"\n".join(encoded)

    def decode_client(self, payload: str | bytes) -> tuple[ClientFrame | UnknownFrame, ...]:
        """Return what a client says.

        Raises:
            RemoteProtocolError: see `decode_client`, or it came in a binary frame.

        """
        return decode_client(_text(payload))

    def decode_node(self, payload: str | bytes) -> tuple[NodeFrame | UnknownFrame, ...]:
        """Return what a node says.

        Raises:
            RemoteProtocolError: see `decode_node`, or it came in a binary frame.

        """
        return decode_node(_text(payload))


def _text(payload: str | bytes) -> str:
    if isinstance(payload, bytes):
        raise RemoteProtocolError("a binary frame on a JSON connection")
    return payload


JSON: Final = JsonCodec()
