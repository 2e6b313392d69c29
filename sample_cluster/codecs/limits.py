"""What every frame has to keep to, whatever subprotocol it came by.

A codec reads fields of the right type; `check` holds all values against their ranges. docs/client-protocol.md lists
them for those who write clients.
"""

import math
import re
from collections.abc import Mapping
from typing import Final, assert_never

from sample_cluster.core.messages import (
    Ack,
    Auth,
    Error,
    Frame,
    GoAway,
    Hello,
    Message,
    Notice,
    Ping,
    Pong,
    Position,
    Publish,
    Published,
    Resume,
    Resync,
    Rewind,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from sample_cluster.errors import RemoteProtocolError

FRAME_MAX: Final = 64 * 1024
"""Largest payload of a WebSocket frame in bytes, in either direction. The WebSocket library holds peers to it."""
FRAMES_MAX: Final = 1_024
"""Most frames of ours in one payload."""
DATA_MAX: Final = 512
"""Largest `data` of a publish in bytes; see `data_size`."""
CHANNELS_MAX: Final = 1_000
"""Most channels in one `resume`, `ack` or `welcome`."""
SEQ_MAX: Final = 2**53 - 1
"""Integers stay exact in every JSON implementation up to here."""
U32_MAX: Final = 2**32 - 1
NONCE_MAX: Final = U32_MAX
MS_MAX: Final = U32_MAX
"""Longest duration in milliseconds that anybody may announce: about fifty days."""
CAPS_MAX: Final = 64
RETRIES_MAX: Final = 64
WORD_MAX: Final = 64
"""Longest code, reason and the like, in characters."""
NAME_MAX: Final = 256
"""Longest name of a node, and longest text about a client."""
KEY_MAX: Final = 128
"""Longest session, secret and message id."""
ENCODING_MAX: Final = 16
TEXT_MAX: Final = 4_096
"""Longest token and message of an error."""
CLIENT_FIELDS: Final = ("name", "version", "lang")
"""What a client may say about itself."""
_CHANNEL: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_EPOCH: Final = re.compile(r"[0-9a-f]{8}")


def is_channel(name: str) -> bool:
    """Say whether `name` can name a channel: 1 to 64 of letters, digits and `._:-`."""
    return _CHANNEL.fullmatch(name) is not None


def check(frame: Frame) -> None:
    """Let a frame pass whose fields have the right types.

    Raises:
        RemoteProtocolError: a value is out of its range.

    """
    match frame:
        # Those that come by the thousand stand first.
        case Message():
            _channel(frame.channel, "message.channel")
            _integer(frame.seq, "message.seq", least=1)
            _u32(frame.nonce, "message.nonce")
            _u32(frame.prev, "message.prev")
            _text(frame.id, "message.id", KEY_MAX)
            _integer(frame.ts, "message.ts")
            _encoding(frame.encoding, "message.encoding")
        case Publish():
            _channel(frame.channel, "publish.channel")
            _integer(frame.cseq, "publish.cseq", least=1)
            _encoding(frame.encoding, "publish.encoding")
        case Published():
            _channel(frame.channel, "published.channel")
            _integer(frame.cseq, "published.cseq", least=1)
            _integer(frame.seq, "published.seq")  # 0: a repetition, so long after that its number is forgotten.
            if frame.replicas is not None:
                _u32(frame.replicas, "published.replicas")
        case Ack():
            _by_channel(frame.acks, "ack.acks")
            for seq in frame.acks.values():
                _integer(seq, "ack.acks")
        case Ping():
            _integer(frame.ts, "ping.ts")
        case Pong():
            _integer(frame.ts, "pong.ts")
        case Hello():
            _token(frame.token, "hello.token")
            for value in frame.client.values():
                _text(value, "hello.client", NAME_MAX)
            _count(len(frame.caps), "hello.caps", CAPS_MAX)
            for value in frame.caps:
                _text(value, "hello.caps", WORD_MAX)
        case Resume():
            _resume(frame)
        case Subscribe():
            _u32(frame.id, "subscribe.id")
            _channel(frame.channel, "subscribe.channel")
            if isinstance(frame.start, Position):
                _position(frame.start, "subscribe.from")
        case Unsubscribe():
            _u32(frame.id, "unsubscribe.id")
            _channel(frame.channel, "unsubscribe.channel")
        case Auth():
            _text(frame.token, "auth.token", TEXT_MAX)
        case Welcome():
            _welcome(frame)
        case Subscribed():
            _u32(frame.id, "subscribed.id")
            _channel(frame.channel, "subscribed.channel")
            _position(frame.position, "subscribed.position")
            _u32(frame.replay, "subscribed.replay")
        case Unsubscribed():
            _u32(frame.id, "unsubscribed.id")
            _channel(frame.channel, "unsubscribed.channel")
        case Resync():
            _channel(frame.channel, "resync.channel")
            _text(frame.reason, "resync.reason", WORD_MAX)
            _integer(frame.have, "resync.have")
            _integer(frame.first, "resync.first")
            _integer(frame.top, "resync.top")
            _position(frame.position, "resync.position")
        case Rewind(void=(first, last)):
            _channel(frame.channel, "rewind.channel")
            _integer(frame.to, "rewind.to")
            _integer(last, "rewind.void")
            _integer(first, "rewind.void", most=last)
            _position(frame.position, "rewind.position")
        case GoAway():
            _u32(frame.retry_ms, "goaway.retry_ms")
            _u32(frame.spread_ms, "goaway.spread_ms")
            _u32(frame.deadline_ms, "goaway.deadline_ms")
        case Notice():
            _text(frame.component, "notice.component", WORD_MAX)
        case Error():
            _text(frame.code, "error.code", WORD_MAX)
            _text(frame.message, "error.message", TEXT_MAX, shortest=0)
            if frame.id is not None:
                _u32(frame.id, "error.id")
            if frame.retry_ms is not None:
                _u32(frame.retry_ms, "error.retry_ms")
            if frame.channel is not None:
                _channel(frame.channel, "error.channel")
            if frame.cseq is not None:
                _integer(frame.cseq, "error.cseq", least=1)
        case _:
            assert_never(frame)


def _resume(frame: Resume) -> None:
    _text(frame.session, "resume.session", KEY_MAX)
    _text(frame.secret, "resume.secret", KEY_MAX)
    _integer(frame.attempt, "resume.attempt", least=1)
    _token(frame.token, "resume.token")
    _by_channel(frame.positions, "resume.positions")
    for position in frame.positions.values():
        _position(position, "resume.positions")
    _by_channel(frame.pending, "resume.pending")
    for cseq in frame.pending.values():
        _integer(cseq, "resume.pending")
    _count(len(frame.retries), "resume.retries", RETRIES_MAX)
    for retry in frame.retries:
        _u32(retry.ago_ms, "resume.retries.ago_ms")
        _u32(retry.delay_ms, "resume.retries.delay_ms")
        _text(retry.outcome, "resume.retries.outcome", WORD_MAX)


def _welcome(frame: Welcome) -> None:
    _text(frame.session, "welcome.session", KEY_MAX)
    _text(frame.secret, "welcome.secret", KEY_MAX)
    _integer(frame.attempt, "welcome.attempt", least=1)
    _text(frame.node, "welcome.node", NAME_MAX)
    _integer(frame.boot, "welcome.boot")
    timings, limits, reconnect = frame.timings, frame.limits, frame.reconnect
    _u32(timings.ping_ms, "welcome.timings.ping_ms", least=1)
    _u32(timings.pong_ms, "welcome.timings.pong_ms", least=1)
    _u32(timings.misses, "welcome.timings.misses", least=1)
    _u32(timings.resume_ttl_ms, "welcome.timings.resume_ttl_ms")
    _u32(timings.ack_ms, "welcome.timings.ack_ms", least=1)
    _u32(limits.max_frame, "welcome.limits.max_frame")
    _u32(limits.max_data, "welcome.limits.max_data")
    _u32(limits.window, "welcome.limits.window")
    _u32(reconnect.spread_ms, "welcome.reconnect.spread_ms")
    _u32(reconnect.base_ms, "welcome.reconnect.base_ms")
    _u32(reconnect.cap_ms, "welcome.reconnect.cap_ms")
    _u32(reconnect.stable_ms, "welcome.reconnect.stable_ms")
    if not 1 <= reconnect.factor < math.inf:  # NaN is not.
        raise RemoteProtocolError("welcome.reconnect.factor is not a number from 1 on")
    if not 0 <= reconnect.jitter <= 1:
        raise RemoteProtocolError("welcome.reconnect.jitter is not from 0 to 1")
    for names, what in ((frame.resumed, "welcome.resumed"), (frame.fresh, "welcome.fresh")):
        _count(len(names), what, CHANNELS_MAX)
        for name in names:
            _channel(name, what)


def _channel(name: str, what: str) -> None:
    if _CHANNEL.fullmatch(name) is None:
        raise RemoteProtocolError(f"{what} is not a channel's name")


def _by_channel(values: Mapping[str, object], what: str) -> None:
    _count(len(values), what, CHANNELS_MAX)
    for name in values:
        _channel(name, what)


def _integer(value: int, what: str, *, least: int = 0, most: int = SEQ_MAX) -> None:
    if not least <= value <= most:
        raise RemoteProtocolError(f"{what} is not from {least} to {most}")


def _u32(value: int, what: str, *, least: int = 0) -> None:
    if not least <= value <= U32_MAX:
        raise RemoteProtocolError(f"{what} is not from {least} to {U32_MAX}")


def _count(value: int, what: str, most: int) -> None:
    if value > most:
        raise RemoteProtocolError(f"{what} holds more than {most}")


def _text(value: str, what: str, longest: int, *, shortest: int = 1) -> None:
    """Refuse text of another length. Protobuf cannot say that a text is missing, so the required ones are never empty."""
    if not shortest <= len(value) <= longest:
        raise RemoteProtocolError(f"{what} is empty or longer than {longest} characters")


def _token(value: str | None, what: str) -> None:
    if value is not None:
        _text(value, what, TEXT_MAX)


def _encoding(value: str | None, what: str) -> None:
    """Let names of unknown encodings pass: they are an error of that message, not of the connection."""
    if value is not None:
        _text(value, what, ENCODING_MAX)


def _position(position: Position, what: str) -> None:
    if _EPOCH.fullmatch(position.epoch) is None:
        raise RemoteProtocolError(f"{what}.epoch is not 8 hex digits")
    if not 0 <= position.seq <= SEQ_MAX or not 0 <= position.nonce <= NONCE_MAX:
        raise RemoteProtocolError(f"{what} is out of range")
