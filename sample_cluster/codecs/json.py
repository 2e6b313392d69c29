r"""Subprotocol `wsc.v1.json`: one text frame of WebSocket carries one or more JSON objects separated by `\n`.

Decoding is strict about the fields it knows and indifferent to those it does not. Types are read here, ranges are
checked in `limits`. A payload is taken as a whole or refused as a whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from typing import Final, Literal

from sample_cluster.codecs.limits import (
    CAPS_MAX,
    CHANNELS_MAX,
    CLIENT_FIELDS,
    DATA_MAX,
    FRAME_MAX,
    FRAMES_MAX,
    MS_MAX,
    NONCE_MAX,
    RETRIES_MAX,
    SEQ_MAX,
    TEXT_MAX,
    WORD_MAX,
    check,
    is_channel,
)
from sample_cluster.codecs.payload import data_size, dump_json, encode_data, parse_json, refusal
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
from wsmon.protocol.fields import Fields
from wsmon.protocol.frames import Json, JsonObject

__all__ = [
    "CHANNELS_MAX",
    "DATA_MAX",
    "FRAME_MAX",
    "JSON",
    "MS_MAX",
    "NONCE_MAX",
    "SEQ_MAX",
    "SUBPROTOCOL",
    "JsonCodec",
    "data_size",
    "decode_client",
    "decode_node",
    "encode",
    "encode_data",
    "encode_message",
    "is_channel",
]

SUBPROTOCOL: Final = "wsc.v1.json"
CLIENT_FIELDS_MAX: Final = 16
"""Most fields of `hello.client`, the unknown ones included."""


def encode(frame: Frame) -> str:
    """Return the frame as one JSON object without a line's end; fields that are None are left out.

    Raises:
        ValueError: a number is NaN or infinite, or data is nested endlessly.

    """
    try:
        return dump_json({"type": type(frame).__name__.lower(), **_object(frame)})
    except RecursionError:
        raise ValueError("nested too deeply") from None


def encode_message(channel: str, entry: Entry, *, replay: bool = False) -> str:
    """Return what `encode(Message(…))` would, for data that is JSON text already: it is not parsed again.

    `channel` and the entry's id must need no escaping; both are checked where they enter the cluster.
    """
    tail = ',"replay":true}' if replay else "}"
    if entry.encoding is not None:
        tail = f',"encoding":{dump_json(entry.encoding)}{tail}'
    return (
        f'{{"type":"message","channel":"{channel}","seq":{entry.seq},"nonce":{entry.nonce},"prev":{entry.prev},'
        f'"id":"{entry.id}","ts":{entry.ts},"data":{entry.data}{tail}'
    )


def decode_client(text: str) -> tuple[ClientFrame | UnknownFrame, ...]:
    """Return the frames that a client sent in one text frame.

    Raises:
        RemoteProtocolError: it is not of this protocol; `code` is the close code.

    """
    return tuple([_client(kind, fields) for kind, fields in _objects(text)])


def decode_node(text: str) -> tuple[NodeFrame | UnknownFrame, ...]:
    """Return the frames that a node sent in one text frame.

    Raises:
        RemoteProtocolError: it is not of this protocol; `code` is the close code.

    """
    return tuple([_node(kind, fields) for kind, fields in _objects(text)])


def _objects(text: str) -> Iterator[tuple[str, "_Fields"]]:
    lines = [line for line in text.split("\n") if line]
    if not lines:
        raise RemoteProtocolError("an empty frame")
    if len(lines) > FRAMES_MAX:
        raise RemoteProtocolError(f"more than {FRAMES_MAX} objects in one frame")
    for line in lines:
        document = parse_json(line, what="a frame")
        if not isinstance(document, dict):
            raise RemoteProtocolError("a frame is not a JSON object")
        kind = document.get("type")
        if not isinstance(kind, str) or not 1 <= len(kind) <= WORD_MAX:
            raise RemoteProtocolError(f"a frame's type is not text of 1 to {WORD_MAX} characters")
        yield kind, _Fields(document, kind)


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
        frame = _read_client(kind, fields)
    except FieldError as error:
        raise refusal(str(error)) from None
    if not isinstance(frame, UnknownFrame):
        check(frame)
    return frame


def _read_client(kind: str, fields: "_Fields") -> ClientFrame | UnknownFrame:
    match kind:
        case "publish":
            return Publish(
                channel=fields.text("channel"),
                cseq=fields.integer("cseq"),
                data=fields.any("data"),
                encoding=fields.text_or_none("encoding"),
                level=fields.word("level", Level) if fields.has("level") else Level.FAST,
            )
        case "ack":
            return Ack(acks=fields.numbers("acks"))
        case "pong":
            return Pong(ts=fields.integer("ts"))
        case "hello":
            return Hello(
                token=fields.text_or_none("token"),
                client=fields.client("client"),
                caps=fields.texts("caps", most=CAPS_MAX),
            )
        case "resume":
            return Resume(
                session=fields.text("session"),
                secret=fields.text("secret"),
                attempt=fields.integer("attempt"),
                token=fields.text_or_none("token"),
                positions=fields.positions("positions") if fields.has("positions") else {},
                pending=fields.numbers("pending") if fields.has("pending") else {},
                retries=fields.retries("retries") if fields.has("retries") else (),
            )
        case "subscribe":
            return Subscribe(id=fields.integer("id"), channel=fields.text("channel"), start=fields.start())
        case "unsubscribe":
            return Unsubscribe(id=fields.integer("id"), channel=fields.text("channel"))
        case "auth":
            return Auth(token=fields.text("token"))
        case _:
            return UnknownFrame(type=kind)


def _node(kind: str, fields: "_Fields") -> NodeFrame | UnknownFrame:
    try:
        frame = _read_node(kind, fields)
    except FieldError as error:
        raise refusal(str(error)) from None
    if not isinstance(frame, UnknownFrame):
        check(frame)
    return frame


def _read_node(kind: str, fields: "_Fields") -> NodeFrame | UnknownFrame:
    match kind:
        case "message":
            return Message(
                channel=fields.text("channel"),
                seq=fields.integer("seq"),
                nonce=fields.integer("nonce"),
                prev=fields.integer("prev"),
                id=fields.text("id"),
                ts=fields.integer("ts"),
                data=fields.any("data"),
                encoding=fields.text_or_none("encoding"),
                replay=fields.flag("replay"),
            )
        case "published":
            return Published(
                channel=fields.text("channel"),
                cseq=fields.integer("cseq"),
                seq=fields.integer("seq"),
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
                channel=fields.text("channel"),
                position=fields.position("position"),
                replay=fields.integer("replay") if fields.has("replay") else 0,
            )
        case "unsubscribed":
            return Unsubscribed(id=fields.integer("id"), channel=fields.text("channel"))
        case "resync":
            return Resync(
                channel=fields.text("channel"),
                reason=fields.text("reason"),
                have=fields.integer("have"),
                first=fields.integer("first"),
                top=fields.integer("top"),
                position=fields.position("position"),
            )
        case "rewind":
            return Rewind(
                channel=fields.text("channel"),
                to=fields.integer("to"),
                void=fields.void(),
                position=fields.position("position"),
            )
        case "goaway":
            return GoAway(
                reason=fields.word("reason", GoAwayReason),
                retry_ms=fields.integer("retry_ms"),
                spread_ms=fields.integer("spread_ms"),
                deadline_ms=fields.integer("deadline_ms"),
                handover=fields.flag("handover"),
            )
        case "notice":
            return Notice(component=fields.text("component"), state=fields.notice_state())
        case "error":
            return Error(
                code=fields.text("code"),
                message=fields.text("message"),
                temporary=fields.flag("temporary"),
                id=fields.integer_or_none("id"),
                retry_ms=fields.integer_or_none("retry_ms"),
                channel=fields.text_or_none("channel"),
                cseq=fields.integer_or_none("cseq"),
            )
        case _:
            return UnknownFrame(type=kind)


def _welcome(fields: "_Fields") -> Welcome:
    timings = Fields(fields.object("timings"), "welcome.timings")
    limits = Fields(fields.object("limits"), "welcome.limits")
    reconnect = Fields(fields.object("reconnect"), "welcome.reconnect")
    return Welcome(
        session=fields.text("session"),
        secret=fields.text("secret"),
        attempt=fields.integer("attempt"),
        node=fields.text("node"),
        boot=fields.integer("boot"),
        timings=Timings(
            ping_ms=timings.integer("ping_ms"),
            pong_ms=timings.integer("pong_ms"),
            misses=timings.integer("misses"),
            resume_ttl_ms=timings.integer("resume_ttl_ms"),
            ack_ms=timings.integer("ack_ms"),
        ),
        limits=Limits(
            max_frame=limits.integer("max_frame"),
            max_data=limits.integer("max_data"),
            window=limits.integer("window"),
        ),
        reconnect=Reconnect(
            spread_ms=reconnect.integer("spread_ms"),
            base_ms=reconnect.integer("base_ms"),
            factor=reconnect.number("factor"),
            cap_ms=reconnect.integer("cap_ms"),
            jitter=reconnect.number("jitter"),
            stable_ms=reconnect.integer("stable_ms"),
        ),
        resumed=fields.texts("resumed", most=CHANNELS_MAX),
        fresh=fields.texts("fresh", most=CHANNELS_MAX),
    )


class _Fields(Fields):
    """The reader of this protocol's own kinds of fields."""

    __slots__ = ()

    def text_or_none(self, name: str, *, longest: int = TEXT_MAX) -> str | None:
        """Return an optional text field; an empty one counts as absent, as it does in Protobuf."""
        return super().text_or_none(name, longest=longest) or None

    def any(self, name: str) -> Json:
        if name not in self._object:
            raise refusal(f"{self._what}.{name} is missing")
        return self._object[name]

    def position(self, name: str) -> Position:
        fields = Fields(self.object(name), f"{self._what}.{name}")
        return Position(epoch=fields.text("epoch"), seq=fields.integer("seq"), nonce=fields.integer("nonce"))

    def start(self) -> Position | Literal["now", "start"]:
        match self._object.get("from"):
            case None | "now":
                return "now"
            case "start":
                return "start"
            case _:
                return self.position("from")

    def positions(self, name: str) -> dict[str, Position]:
        inner = _Fields(self.object(name), f"{self._what}.{name}")
        return {channel: inner.position(channel) for channel in inner.names()}

    def numbers(self, name: str) -> dict[str, int]:
        inner = _Fields(self.object(name), f"{self._what}.{name}")
        return {channel: inner.integer(channel) for channel in inner.names()}

    def names(self) -> Iterator[str]:
        return iter(self._object)

    def client(self, name: str) -> dict[str, str]:
        document = self.object_or_none(name) or {}
        if len(document) > CLIENT_FIELDS_MAX:
            raise RemoteProtocolError(f"{self._what}.{name} holds more than {CLIENT_FIELDS_MAX} fields")
        inner = _Fields(document, f"{self._what}.{name}")
        texts = {key: inner.text_or_none(key) for key in CLIENT_FIELDS}
        return {key: text for key, text in texts.items() if text is not None}

    def retries(self, name: str) -> tuple[Retry, ...]:
        items = (Fields(item, f"{self._what}.{name}") for item in self.objects(name, most=RETRIES_MAX))
        return tuple(
            Retry(ago_ms=item.integer("ago_ms"), delay_ms=item.integer("delay_ms"), outcome=item.text("outcome"))
            for item in items
        )

    def void(self) -> tuple[int, int]:
        match self._object.get("void"):
            case [first, last]:
                ends = Fields({"first": first, "last": last}, f"{self._what}.void")
                return ends.integer("first"), ends.integer("last")
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
