"""Subprotocol `wsc.v1.pb`: a binary frame of WebSocket carries `Frame`s of proto/wsc.proto, each after its length.

Theory of operation. The runtime parses bytes and knows types; here its messages become our values and back, and
`limits` checks ranges, the same ones as for JSON. A payload is taken as a whole or refused as a whole.

Presence. Protobuf does not send a number that is 0, a text that is empty or a flag that is false. Where our values know
None, those are read as None; a required text is therefore never empty, and a required part (a position, the timings)
must be there even if all its fields are 0. `docs/client-protocol.md` lists what cannot be told apart.

Data. JSON values travel as their JSON text, bytes as bytes, which are base64 text in our values. Content of an unknown
kind becomes base64 text whose encoding is `#` and the kind's number: nobody takes it for something else.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, assert_never

from google.protobuf.message import DecodeError

from sample_cluster.codecs.limits import CLIENT_FIELDS, FRAMES_MAX, check
from sample_cluster.codecs.payload import (
    BASE64,
    DATA_DEPTH_MAX,
    decode_base64,
    dump_json,
    encode_base64,
    parse_json,
)
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
from sample_cluster.proto import wsc_pb2 as pb
from wsmon.protocol.frames import Json

SUBPROTOCOL: Final = "wsc.v1.pb"
LENGTH_BYTES_MAX: Final = 4
"""Longest length prefix: no frame has 2^28 bytes."""
NAMELESS: Final = "?"
"""Type of a frame that came without a member that we know."""
_MESSAGE_TAG: Final = bytes((pb.Frame.MESSAGE_FIELD_NUMBER << 3 | 2,))
_LEVELS: Final = {Level.FAST: pb.FAST, Level.SAFE: pb.SAFE}


class ProtobufCodec:
    """The subprotocol as one object."""

    subprotocol: Final = SUBPROTOCOL
    binary: Final = True

    def encode(self, frame: Frame) -> bytes:
        """Return one frame with its length before it.

        Raises:
            ValueError: a number does not fit its field, or data is not what its encoding says.

        """
        return _delimited(_wire(frame).SerializeToString())

    def encode_message(self, channel: str, entry: Entry, *, replay: bool = False) -> bytes:
        """Return what `encode(Message(…))` would, for data that is JSON text already: it is not parsed again.

        Data that is not what its encoding says goes out as the JSON text that it is: a log written by others must not
        stop the fan-out.
        """
        # The fields are set one by one, and Frame's own tag is put before the bytes: a third less time than keyword
        # arguments and a Frame around the message.
        message = pb.Message()
        message.channel = channel
        message.seq = entry.seq
        message.nonce = entry.nonce
        message.prev = entry.prev
        message.id = entry.id
        message.ts = entry.ts
        raw = _bytes_in(entry.data) if entry.encoding == BASE64 else None
        if raw is None:
            message.data = entry.data.encode()
        else:
            message.data = raw
            message.content = pb.BYTES
        if replay:
            message.replay = True
        body = message.SerializeToString()
        head = _MESSAGE_TAG + _varint(len(body))
        return _varint(len(head) + len(body)) + head + body

    def join(self, encoded: Sequence[bytes]) -> bytes:
        """Return the frames one after the other: each brings its length."""
        return b"".join(encoded)

    def decode_client(self, payload: str | bytes) -> tuple[ClientFrame | UnknownFrame, ...]:
        """Return what a client says.

        Raises:
            RemoteProtocolError: it is not of this protocol, or came in a text frame.

        """
        return tuple([_client(frame) for frame in _frames(payload)])

    def decode_node(self, payload: str | bytes) -> tuple[NodeFrame | UnknownFrame, ...]:
        """Return what a node says.

        Raises:
            RemoteProtocolError: it is not of this protocol, or came in a text frame.

        """
        return tuple([_node(frame) for frame in _frames(payload)])


PROTOBUF: Final = ProtobufCodec()


# Bytes to frames.


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    return bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)


def _delimited(body: bytes) -> bytes:
    return _varint(len(body)) + body


def _length(payload: bytes, place: int) -> tuple[int, int]:
    """Return the length at `place`, and where what it measures begins."""
    size = 0
    for index, byte in enumerate(payload[place : place + LENGTH_BYTES_MAX]):
        size |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index:
                break  # Padded: other readers stop at another byte, or refuse it.
            return size, place + index + 1
    raise RemoteProtocolError("a frame's length is cut off, or not in its shortest form")


def _frames(payload: str | bytes) -> Iterator[pb.Frame]:
    if isinstance(payload, str):
        raise RemoteProtocolError("a text frame on a Protobuf connection")
    if not payload:
        raise RemoteProtocolError("an empty frame")
    place, count = 0, 0
    while place < len(payload):
        size, place = _length(payload, place)
        count += 1
        if size > len(payload) - place:
            raise RemoteProtocolError("a frame is cut off")
        if count > FRAMES_MAX:
            raise RemoteProtocolError(f"more than {FRAMES_MAX} frames in one payload")
        try:
            yield pb.Frame.FromString(payload[place : place + size])
        except (DecodeError, ValueError):  # What the runtime raises for text that is not UTF-8 depends on its kind.
            raise RemoteProtocolError("a frame is not a Protobuf message of this protocol") from None
        place += size


def _client(wire: pb.Frame) -> ClientFrame | UnknownFrame:
    frame = _read_client(wire)
    if not isinstance(frame, UnknownFrame):
        check(frame)
    return frame


def _read_client(wire: pb.Frame) -> ClientFrame | UnknownFrame:
    match wire.WhichOneof("frame"):
        case "publish":
            publish = wire.publish
            data, encoding = _data(publish.data, publish.content)
            return Publish(
                channel=publish.channel,
                cseq=publish.cseq,
                data=data,
                encoding=encoding,
                level=_level(publish.level),
            )
        case "ack":
            return Ack(acks=dict(wire.ack.acks))
        case "pong":
            return Pong(ts=wire.pong.ts)
        case "hello":
            hello = wire.hello
            texts = {name: getattr(hello.client, name) for name in CLIENT_FIELDS}
            return Hello(
                token=hello.token or None,
                client={name: text for name, text in texts.items() if text},
                caps=tuple(hello.caps),
            )
        case "resume":
            resume = wire.resume
            return Resume(
                session=resume.session,
                secret=resume.secret,
                attempt=resume.attempt,
                token=resume.token or None,
                positions={channel: _position(place) for channel, place in resume.positions.items()},
                pending=dict(resume.pending),
                retries=tuple(
                    [Retry(ago_ms=item.ago_ms, delay_ms=item.delay_ms, outcome=item.outcome) for item in resume.retries]
                ),
            )
        case "subscribe":
            return Subscribe(id=wire.id, channel=wire.subscribe.channel, start=_start(wire.subscribe))
        case "unsubscribe":
            return Unsubscribe(id=wire.id, channel=wire.unsubscribe.channel)
        case "auth":
            return Auth(token=wire.auth.token)
        case kind:
            return UnknownFrame(type=kind or NAMELESS)


def _node(wire: pb.Frame) -> NodeFrame | UnknownFrame:
    frame = _read_node(wire)
    if not isinstance(frame, UnknownFrame):
        check(frame)
    return frame


def _read_node(wire: pb.Frame) -> NodeFrame | UnknownFrame:
    match wire.WhichOneof("frame"):
        case "message":
            message = wire.message
            data, encoding = _data(message.data, message.content)
            return Message(
                channel=message.channel,
                seq=message.seq,
                nonce=message.nonce,
                prev=message.prev,
                id=message.id,
                ts=message.ts,
                data=data,
                encoding=encoding,
                replay=message.replay,
            )
        case "published":
            published = wire.published
            return Published(
                channel=published.channel,
                cseq=published.cseq,
                seq=published.seq,
                dup=published.dup,
                replicas=published.replicas or None,
            )
        case "ping":
            return Ping(ts=wire.ping.ts)
        case "welcome":
            return _welcome(wire.welcome)
        case "subscribed":
            subscribed = wire.subscribed
            return Subscribed(
                id=wire.id,
                channel=subscribed.channel,
                position=_required_position(subscribed),
                replay=subscribed.replay,
            )
        case "unsubscribed":
            return Unsubscribed(id=wire.id, channel=wire.unsubscribed.channel)
        case "resync":
            resync = wire.resync
            return Resync(
                channel=resync.channel,
                reason=resync.reason,
                have=resync.have,
                first=resync.first,
                top=resync.top,
                position=_required_position(resync),
            )
        case "rewind":
            rewind = wire.rewind
            return Rewind(
                channel=rewind.channel,
                to=rewind.to,
                void=(rewind.void_first, rewind.void_last),
                position=_required_position(rewind),
            )
        case "goaway":
            goaway = wire.goaway
            return GoAway(
                reason=_reason(goaway.reason),
                retry_ms=goaway.retry_ms,
                spread_ms=goaway.spread_ms,
                deadline_ms=goaway.deadline_ms,
                handover=goaway.handover,
            )
        case "notice":
            return Notice(component=wire.notice.component, state=_notice_state(wire.notice.state))
        case "error":
            error = wire.error
            return Error(
                code=error.code,
                message=error.message,
                temporary=error.temporary,
                id=wire.id or None,
                retry_ms=error.retry_ms or None,
                channel=error.channel or None,
                cseq=error.cseq or None,
            )
        case kind:
            return UnknownFrame(type=kind or NAMELESS)


def _welcome(welcome: pb.Welcome) -> Welcome:
    if not (welcome.HasField("timings") and welcome.HasField("limits") and welcome.HasField("reconnect")):
        raise RemoteProtocolError("welcome.timings, welcome.limits or welcome.reconnect is missing")
    timings, limits, reconnect = welcome.timings, welcome.limits, welcome.reconnect
    return Welcome(
        session=welcome.session,
        secret=welcome.secret,
        attempt=welcome.attempt,
        node=welcome.node,
        boot=welcome.boot,
        timings=Timings(
            ping_ms=timings.ping_ms,
            pong_ms=timings.pong_ms,
            misses=timings.misses,
            resume_ttl_ms=timings.resume_ttl_ms,
            ack_ms=timings.ack_ms,
        ),
        limits=Limits(max_frame=limits.max_frame, max_data=limits.max_data, window=limits.window),
        reconnect=Reconnect(
            spread_ms=reconnect.spread_ms,
            base_ms=reconnect.base_ms,
            factor=reconnect.factor,
            cap_ms=reconnect.cap_ms,
            jitter=reconnect.jitter,
            stable_ms=reconnect.stable_ms,
        ),
        resumed=tuple(welcome.resumed),
        fresh=tuple(welcome.fresh),
    )


def _data(raw: bytes, content: int) -> tuple[Json, str | None]:
    """Return data and encoding of our values."""
    if content != pb.JSON:
        return encode_base64(raw), BASE64 if content == pb.BYTES else f"#{content}"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("data is not UTF-8") from None
    return parse_json(text, what="data", depth_max=DATA_DEPTH_MAX), None


def _position(place: pb.Position) -> Position:
    return Position(epoch=f"{place.epoch:08x}", seq=place.seq, nonce=place.nonce)


def _required_position(frame: pb.Subscribed | pb.Resync | pb.Rewind) -> Position:
    if not frame.HasField("position"):
        raise RemoteProtocolError(f"{type(frame).__name__.lower()}.position is missing")
    return _position(frame.position)


def _start(subscribe: pb.Subscribe) -> Position | Literal["now", "start"]:
    if subscribe.HasField("position"):
        return _position(subscribe.position)
    return "start" if subscribe.start else "now"


def _level(level: int) -> Level:
    match level:
        case pb.FAST:
            return Level.FAST
        case pb.SAFE:
            return Level.SAFE
        case _:
            raise RemoteProtocolError(f"publish.level is {level}, which is none")


def _reason(word: str) -> GoAwayReason:
    try:
        return GoAwayReason(word)
    except ValueError:
        raise RemoteProtocolError(f"goaway.reason is not one of {', '.join(GoAwayReason)}") from None


def _notice_state(word: str) -> Literal["degraded", "live"]:
    match word:
        case "degraded":
            return "degraded"
        case "live":
            return "live"
        case _:
            raise RemoteProtocolError("notice.state is neither degraded nor live")


# Frames to bytes.


def _wire(frame: Frame) -> pb.Frame:
    match frame:
        case Message():
            raw, content = _raw(frame.data, frame.encoding)
            message = pb.Message(
                channel=frame.channel,
                seq=frame.seq,
                nonce=frame.nonce,
                prev=frame.prev,
                id=frame.id,
                ts=frame.ts,
                data=raw,
                content=content,
                replay=frame.replay,
            )
            return pb.Frame(message=message)
        case Publish():
            raw, content = _raw(frame.data, frame.encoding)
            publish = pb.Publish(
                channel=frame.channel, cseq=frame.cseq, data=raw, content=content, level=_LEVELS[frame.level]
            )
            return pb.Frame(publish=publish)
        case Published():
            published = pb.Published(
                channel=frame.channel, cseq=frame.cseq, seq=frame.seq, dup=frame.dup, replicas=frame.replicas or 0
            )
            return pb.Frame(published=published)
        case Ack():
            return pb.Frame(ack=pb.Ack(acks=frame.acks))
        case Ping():
            return pb.Frame(ping=pb.Ping(ts=frame.ts))
        case Pong():
            return pb.Frame(pong=pb.Pong(ts=frame.ts))
        case Hello():
            about = {name: frame.client[name] for name in CLIENT_FIELDS if name in frame.client}
            hello = pb.Hello(token=frame.token or "", client=pb.Client(**about) if about else None, caps=frame.caps)
            return pb.Frame(hello=hello)
        case Resume():
            resume = pb.Resume(
                session=frame.session,
                secret=frame.secret,
                attempt=frame.attempt,
                token=frame.token or "",
                positions={channel: _place(position) for channel, position in frame.positions.items()},
                pending=frame.pending,
                retries=[
                    pb.Retry(ago_ms=item.ago_ms, delay_ms=item.delay_ms, outcome=item.outcome) for item in frame.retries
                ],
            )
            return pb.Frame(resume=resume)
        case Subscribe(start=Position() as position):
            subscribe = pb.Subscribe(channel=frame.channel, position=_place(position))
            return pb.Frame(id=frame.id, subscribe=subscribe)
        case Subscribe(start="start"):
            return pb.Frame(id=frame.id, subscribe=pb.Subscribe(channel=frame.channel, start=True))
        case Subscribe():
            return pb.Frame(id=frame.id, subscribe=pb.Subscribe(channel=frame.channel))
        case Unsubscribe():
            return pb.Frame(id=frame.id, unsubscribe=pb.Unsubscribe(channel=frame.channel))
        case Auth():
            return pb.Frame(auth=pb.Auth(token=frame.token))
        case Welcome():
            return pb.Frame(welcome=_wire_welcome(frame))
        case Subscribed():
            subscribed = pb.Subscribed(channel=frame.channel, position=_place(frame.position), replay=frame.replay)
            return pb.Frame(id=frame.id, subscribed=subscribed)
        case Unsubscribed():
            return pb.Frame(id=frame.id, unsubscribed=pb.Unsubscribed(channel=frame.channel))
        case Resync():
            resync = pb.Resync(
                channel=frame.channel,
                reason=frame.reason,
                have=frame.have,
                first=frame.first,
                top=frame.top,
                position=_place(frame.position),
            )
            return pb.Frame(resync=resync)
        case Rewind(void=(first, last)):
            rewind = pb.Rewind(
                channel=frame.channel,
                to=frame.to,
                void_first=first,
                void_last=last,
                position=_place(frame.position),
            )
            return pb.Frame(rewind=rewind)
        case GoAway():
            goaway = pb.GoAway(
                reason=frame.reason,
                retry_ms=frame.retry_ms,
                spread_ms=frame.spread_ms,
                deadline_ms=frame.deadline_ms,
                handover=frame.handover,
            )
            return pb.Frame(goaway=goaway)
        case Notice():
            return pb.Frame(notice=pb.Notice(component=frame.component, state=frame.state))
        case Error():
            error = pb.Error(
                code=frame.code,
                message=frame.message,
                temporary=frame.temporary,
                retry_ms=frame.retry_ms or 0,
                channel=frame.channel or "",
                cseq=frame.cseq or 0,
            )
            return pb.Frame(id=frame.id or 0, error=error)
        case _:
            assert_never(frame)


def _wire_welcome(frame: Welcome) -> pb.Welcome:
    timings, limits, reconnect = frame.timings, frame.limits, frame.reconnect
    return pb.Welcome(
        session=frame.session,
        secret=frame.secret,
        attempt=frame.attempt,
        node=frame.node,
        boot=frame.boot,
        resumed=frame.resumed,
        fresh=frame.fresh,
        timings=pb.Timings(
            ping_ms=timings.ping_ms,
            pong_ms=timings.pong_ms,
            misses=timings.misses,
            resume_ttl_ms=timings.resume_ttl_ms,
            ack_ms=timings.ack_ms,
        ),
        limits=pb.Limits(max_frame=limits.max_frame, max_data=limits.max_data, window=limits.window),
        reconnect=pb.Reconnect(
            spread_ms=reconnect.spread_ms,
            base_ms=reconnect.base_ms,
            factor=reconnect.factor,
            cap_ms=reconnect.cap_ms,
            jitter=reconnect.jitter,
            stable_ms=reconnect.stable_ms,
        ),
    )


def _raw(data: Json, encoding: str | None) -> tuple[bytes, pb.Content]:
    """Return the bytes of data, and what they are."""
    if encoding is None:
        return dump_json(data).encode(), pb.JSON
    raw = decode_base64(data) if encoding == BASE64 else None
    if raw is None:
        raise ValueError("encoding is not base64, or data is not in it")
    return raw, pb.BYTES


def _bytes_in(text: str) -> bytes | None:
    """Return the bytes whose base64 the JSON text `text` is; no digit of base64 is ever escaped by us."""
    return decode_base64(text[1:-1]) if text[:1] == text[-1:] == '"' else None


def _place(position: Position) -> pb.Position:
    return pb.Position(epoch=int(position.epoch, 16), seq=position.seq, nonce=position.nonce)
