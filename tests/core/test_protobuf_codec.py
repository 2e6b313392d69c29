"""The Protobuf subprotocol of clients, and the code generated from its schema."""

import base64
import contextlib
import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.codecs.limits import CHANNELS_MAX, FRAMES_MAX
from sample_cluster.codecs.payload import encode_data
from sample_cluster.codecs.protobuf import NAMELESS, PROTOBUF
from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import (
    ClientFrame,
    Error,
    Hello,
    Level,
    Message,
    NodeFrame,
    Pong,
    Publish,
    Published,
    Subscribe,
    UnknownFrame,
)
from sample_cluster.errors import RemoteProtocolError
from sample_cluster.proto import wsc_pb2 as pb
from tests.support.codec_frames import CLIENT_FRAMES, MESSAGES, NODE_FRAMES

ROOT = Path(__file__).parents[2]


def delimited(*frames: pb.Frame | bytes) -> bytes:
    payload = b""
    for frame in frames:
        body = frame if isinstance(frame, bytes) else frame.SerializeToString()
        size = len(body)
        while size >= 0x80:
            payload += bytes((size & 0x7F | 0x80,))
            size >>= 7
        payload += bytes((size,)) + body
    return payload


def publish(**fields: Any) -> bytes:
    return delimited(pb.Frame(publish=pb.Publish(**{"channel": "c", "cseq": 1, "data": b"1", **fields})))


def resume(**fields: Any) -> bytes:
    return delimited(pb.Frame(resume=pb.Resume(**{"session": "s", "secret": "x", "attempt": 1, **fields})))


@pytest.mark.parametrize("frame", CLIENT_FRAMES, ids=repr)
def test_a_clients_frame_survives_the_wire(frame: ClientFrame) -> None:
    assert PROTOBUF.decode_client(PROTOBUF.encode(frame)) == (frame,)


@pytest.mark.parametrize("frame", NODE_FRAMES, ids=repr)
def test_a_nodes_frame_survives_the_wire(frame: NodeFrame) -> None:
    assert PROTOBUF.decode_node(PROTOBUF.encode(frame)) == (frame,)


def test_the_bytes_are_those_of_the_schema() -> None:
    frame = Message(channel="c", seq=300, nonce=1, prev=2, id="i", ts=4, data={"a": 1}, replay=True)
    assert PROTOBUF.encode(frame).hex(" ") == (
        "22 4a 20 0a 01 63 10 ac 02 1d 01 00 00 00 25 02 00 00 00 2a 01 69 30 04 3a 07 7b 22 61 22 3a 31 7d 48 01"
    )


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 300, 16_383, 16_384, 40_000])
def test_any_length_is_written_as_it_is_read(size: int) -> None:
    frame = Publish(channel="c", cseq=1, data="x" * size)
    assert PROTOBUF.decode_client(PROTOBUF.encode(frame)) == (frame,)
    entry = Entry(seq=1, nonce=1, prev=1, id="i", ts=1, data=encode_data("x" * size))
    message = Message(channel="c", seq=1, nonce=1, prev=1, id="i", ts=1, data="x" * size)
    assert PROTOBUF.encode_message("c", entry) == PROTOBUF.encode(message)


def test_a_payload_holds_several_frames_and_unknown_ones_pass() -> None:
    unknown = b"\xaa\x01\x02\x08\x01"  # Field 21, which is reserved for a later version.
    payload = PROTOBUF.join([PROTOBUF.encode(Pong(ts=1)), delimited(unknown), PROTOBUF.encode(Pong(ts=2))])
    assert PROTOBUF.decode_client(payload) == (Pong(ts=1), UnknownFrame(type=NAMELESS), Pong(ts=2))
    assert PROTOBUF.decode_node(delimited(b"")) == (UnknownFrame(type=NAMELESS),)
    assert PROTOBUF.decode_client(delimited(pb.Frame(goaway=pb.GoAway()))) == (UnknownFrame(type="goaway"),)
    assert PROTOBUF.decode_node(delimited(pb.Frame(auth=pb.Auth()))) == (UnknownFrame(type="auth"),)


def test_unknown_fields_of_known_frames_pass() -> None:
    pong = pb.Frame(pong=pb.Pong(ts=1)).SerializeToString()
    assert PROTOBUF.decode_client(delimited(pong + b"\xf8\x07\x01")) == (Pong(ts=1),)


def test_as_many_frames_as_allowed_are_taken() -> None:
    assert len(PROTOBUF.decode_client(PROTOBUF.encode(Pong(ts=1)) * FRAMES_MAX)) == FRAMES_MAX


@given(frame=MESSAGES)
def test_a_message_built_from_json_text_is_the_same(frame: Message) -> None:
    fields: dict[str, Any] = {item.name: getattr(frame, item.name) for item in dataclasses.fields(frame)}
    channel, replay = fields.pop("channel"), fields.pop("replay")
    entry = Entry(**{**fields, "data": encode_data(frame.data)})
    assert PROTOBUF.encode_message(channel, entry, replay=replay) == PROTOBUF.encode(frame)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ('"x"', "base64"),
        ('"eB=="', "base64"),
        ("7", "base64"),
        ("123456", "base64"),
        ("{}", "base64"),
        ('"x"', "rot13"),
        ('""', "#7"),
    ],
)
def test_a_log_that_others_wrote_does_not_stop_the_fan_out(data: str, encoding: str) -> None:
    entry = Entry(seq=1, nonce=1, prev=1, id="i", ts=1, data=data, encoding=encoding)
    (frame,) = PROTOBUF.decode_node(PROTOBUF.encode_message("c", entry))
    assert isinstance(frame, Message)
    assert (encode_data(frame.data), frame.encoding) == (data, None)


def test_data_is_json_text_or_bytes() -> None:
    assert pb.Frame.FromString(
        PROTOBUF.encode(Publish(channel="c", cseq=1, data={"ü": None}))[1:]
    ).publish == pb.Publish(channel="c", cseq=1, data='{"ü":null}'.encode())
    raw = bytes(range(256))
    published = Publish(channel="c", cseq=1, data=base64.b64encode(raw).decode(), encoding="base64")
    assert PROTOBUF.decode_client(publish(data=raw, content=pb.BYTES)) == (published,)
    assert PROTOBUF.decode_client(publish(data=b' {"a" : 1}\n')) == (Publish(channel="c", cseq=1, data={"a": 1}),)
    assert PROTOBUF.decode_client(publish(data=b"", content=pb.BYTES)) == (
        Publish(channel="c", cseq=1, data="", encoding="base64"),
    )


def test_an_unknown_kind_of_content_is_left_to_whoever_reads_the_message() -> None:
    (frame,) = PROTOBUF.decode_client(publish(data=b"x", content=7))
    assert frame == Publish(channel="c", cseq=1, data="eA==", encoding="#7")
    with pytest.raises(ValueError, match="base64"):
        PROTOBUF.encode(frame)
    with pytest.raises(ValueError, match="base64"):
        PROTOBUF.encode(Publish(channel="c", cseq=1, data=7, encoding="base64"))


def test_what_protobuf_does_not_send_is_none() -> None:
    for frame, read in (
        (Error(code="c", message="m", id=0, retry_ms=0), Error(code="c", message="m")),
        (Published(channel="c", cseq=1, seq=1, replicas=0), Published(channel="c", cseq=1, seq=1)),
    ):
        assert PROTOBUF.decode_node(PROTOBUF.encode(frame)) == (read,)
    hello = pb.Frame(hello=pb.Hello(client=pb.Client()))
    assert PROTOBUF.decode_client(delimited(hello)) == (Hello(),)
    assert PROTOBUF.decode_client(PROTOBUF.encode(Hello(client={"shoe": "42", "lang": "py"}))) == (
        Hello(client={"lang": "py"}),
    )


@pytest.mark.parametrize("place", [{}, {"now": True}, {"now": False}, {"start": False}])
def test_a_subscription_starts_now_unless_it_says_otherwise(place: dict[str, Any]) -> None:
    wire = pb.Frame(id=3, subscribe=pb.Subscribe(channel="c", **place))
    assert PROTOBUF.decode_client(delimited(wire)) == (Subscribe(id=3, channel="c"),)


def test_the_level_is_fast_unless_it_says_otherwise() -> None:
    assert PROTOBUF.decode_client(publish(level=pb.SAFE)) == (Publish(channel="c", cseq=1, data=1, level=Level.SAFE),)
    assert PROTOBUF.decode_client(publish()) == (Publish(channel="c", cseq=1, data=1),)


PONG = PROTOBUF.encode(Pong(ts=1))
PLACE = pb.Position(epoch=1, seq=1, nonce=1)
BAD: dict[str, str | bytes] = {
    "a text frame": '{"type":"pong","ts":1}',
    "an empty text frame": "",
    "nothing": b"",
    "JSON": b'{"type":"pong","ts":1}',
    "a length alone": b"\x05",
    "half a length": b"\x85",
    "a length that goes on and on": b"\xff" * 16,
    "a length in more bytes than needed": bytes((PONG[0] | 0x80, 0)) + PONG[1:],
    "a length of five bytes": b"\x80\x80\x80\x80\x01",
    "a frame cut off": PONG[:-1],
    "more after the frame": PONG + b"\x01",
    "a good frame before a bad one": PONG + publish(cseq=0),
    "too many frames": PONG * (FRAMES_MAX + 1),
    "too many empty frames": b"\x00" * (FRAMES_MAX + 1),
    "a field number of 0": delimited(b"\x00\x00"),
    "a wire type that does not exist": delimited(b"\x0f\x00"),
    "groups without end": delimited(b"\x0b" * 10_000),
    "a group that ends before it begins": delimited(b"\x0c"),
    "an inner length beyond the frame": delimited(b"\x82\x01\x7f\x08\x01"),
    "a varint that does not end": delimited(b"\x82\x01\x0b\x08" + b"\xff" * 10),
    "text that is not UTF-8": delimited(b"\xa2\x01\x03\x0a\x01\xff"),
    "half a surrogate in text": delimited(b"\xa2\x01\x05\x0a\x03\xed\xa0\x80"),
    "half a surrogate in a map": delimited(b"\x52\x09\x0a\x07\x0a\x03\xed\xa0\x80\x10\x01"),
    "ts": delimited(pb.Frame(pong=pb.Pong(ts=2**53))),
    "no channel": delimited(pb.Frame(id=1, subscribe=pb.Subscribe())),
    "channel": delimited(pb.Frame(id=1, subscribe=pb.Subscribe(channel="a b"))),
    "channel too long": delimited(pb.Frame(id=1, subscribe=pb.Subscribe(channel="x" * 65))),
    "channel to leave": delimited(pb.Frame(id=1, unsubscribe=pb.Unsubscribe(channel="ü"))),
    "channel of another type": delimited(b"\x2a\x02\x08\x01"),
    "from": delimited(pb.Frame(subscribe=pb.Subscribe(channel="c", position=pb.Position(seq=2**53)))),
    "cseq 0": publish(cseq=0),
    "cseq": publish(cseq=2**53),
    "publish to nowhere": publish(channel=""),
    "no data": publish(data=b""),
    "data is not JSON": publish(data=b"{"),
    "data is more than one value": publish(data=b"1 2"),
    "data is not UTF-8": publish(data=b'"\xff"'),
    "data has a byte order mark": publish(data=b"\xef\xbb\xbf1"),
    "data in UTF-16": publish(data='"x"'.encode("utf-16")),
    "NaN": publish(data=b"NaN"),
    "Infinity": publish(data=b"[-Infinity]"),
    "1e999": publish(data=b"1e999"),
    "400 digits": publish(data=b"1" * 400),
    "5000 digits": publish(data=b"1" * 5_000),
    "half a surrogate in data": publish(data=b'"\\ud800"'),
    "a half surrogate as bytes in data": publish(data=b'"\xed\xa0\x80"'),
    "a name twice": publish(data=b'{"a":1,"a":2}'),
    "nested too deeply": publish(data=b"[" * 32 + b"]" * 32),
    "nested without end": publish(data=b"[" * 50_000),
    "level": publish(level=2),
    "acks": delimited(pb.Frame(ack=pb.Ack(acks={"c": 2**53}))),
    "acks of no channel": delimited(pb.Frame(ack=pb.Ack(acks={"": 1}))),
    "too many acks": delimited(pb.Frame(ack=pb.Ack(acks={f"c{number}": 1 for number in range(CHANNELS_MAX + 1)}))),
    "no token": delimited(pb.Frame(auth=pb.Auth())),
    "token": delimited(pb.Frame(auth=pb.Auth(token="x" * 4_097))),
    "first token": delimited(pb.Frame(hello=pb.Hello(token="x" * 4_097))),
    "client": delimited(pb.Frame(hello=pb.Hello(client=pb.Client(lang="x" * 257)))),
    "caps": delimited(pb.Frame(hello=pb.Hello(caps=["x"] * 65))),
    "an empty cap": delimited(pb.Frame(hello=pb.Hello(caps=[""]))),
    "no session": resume(session=""),
    "session": resume(session="x" * 129),
    "no secret": resume(secret=""),
    "attempt 0": resume(attempt=0),
    "attempt": resume(attempt=2**53),
    "positions": resume(positions={"a b": PLACE}),
    "a position": resume(positions={"c": pb.Position(seq=2**64 - 1)}),
    "too many positions": resume(positions={f"c{number}": PLACE for number in range(CHANNELS_MAX + 1)}),
    "pending": resume(pending={"c": 2**53}),
    "pending nowhere": resume(pending={"a b": 1}),
    "outcome": resume(retries=[pb.Retry(outcome="x" * 65)]),
    "no outcome": resume(retries=[pb.Retry(ago_ms=1)]),
    "retries": resume(retries=[pb.Retry(outcome="x")] * 65),
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD)
def test_a_broken_payload_of_a_client_is_refused_with_4501(payload: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        PROTOBUF.decode_client(payload)
    assert caught.value.code == 4501
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 200


def welcome(**fields: Any) -> pb.Frame:
    wire = pb.Frame.FromString(PROTOBUF.encode(NODE_FRAMES[0])[1:])
    for name, value in fields.items():
        wire.welcome.ClearField(name)
        if value is not None:
            wire.welcome.MergeFrom(pb.Welcome(**{name: value}))
    return wire


BAD_OF_A_NODE: dict[str, pb.Frame] = {
    "no message": pb.Frame(message=pb.Message()),
    "seq 0": pb.Frame(message=pb.Message(channel="c", seq=0, id="i", data=b"1")),
    "no id": pb.Frame(message=pb.Message(channel="c", seq=1, data=b"1")),
    "no data": pb.Frame(message=pb.Message(channel="c", seq=1, id="i")),
    "ts": pb.Frame(message=pb.Message(channel="c", seq=1, id="i", data=b"1", ts=2**53)),
    "no position": pb.Frame(subscribed=pb.Subscribed(channel="c")),
    "resync without position": pb.Frame(resync=pb.Resync(channel="c", reason="fork")),
    "resync without reason": pb.Frame(resync=pb.Resync(channel="c", position=PLACE)),
    "rewind without position": pb.Frame(rewind=pb.Rewind(channel="c")),
    "published seq": pb.Frame(published=pb.Published(channel="c", cseq=1, seq=2**53)),
    "void": pb.Frame(rewind=pb.Rewind(channel="c", void_first=2, void_last=1, position=PLACE)),
    "void end": pb.Frame(rewind=pb.Rewind(channel="c", void_first=2, void_last=2**53, position=PLACE)),
    "published nothing": pb.Frame(published=pb.Published(channel="c")),
    "reason": pb.Frame(goaway=pb.GoAway(reason="whim")),
    "no reason": pb.Frame(goaway=pb.GoAway()),
    "state": pb.Frame(notice=pb.Notice(component="redis", state="wonderful")),
    "no component": pb.Frame(notice=pb.Notice(state="live")),
    "no code": pb.Frame(error=pb.Error(message="m")),
    "channel of an error": pb.Frame(error=pb.Error(code="c", channel="a b")),
    "welcome to nothing": pb.Frame(welcome=pb.Welcome()),
    "no timings": welcome(timings=None),
    "no limits": welcome(limits=None),
    "no reconnect": welcome(reconnect=None),
    "ping_ms": welcome(timings=pb.Timings(pong_ms=1, misses=1, ack_ms=1)),
    "factor": welcome(reconnect=pb.Reconnect(factor=float("nan"))),
    "factor without end": welcome(reconnect=pb.Reconnect(factor=float("inf"))),
    "jitter": welcome(reconnect=pb.Reconnect(factor=1, jitter=float("nan"))),
    "resumed": welcome(resumed=["a b"]),
    "fresh": welcome(fresh=[f"c{number}" for number in range(CHANNELS_MAX + 1)]),
}


@pytest.mark.parametrize("frame", BAD_OF_A_NODE.values(), ids=BAD_OF_A_NODE)
def test_a_broken_frame_of_a_node_is_refused(frame: pb.Frame) -> None:
    with pytest.raises(RemoteProtocolError):
        PROTOBUF.decode_node(delimited(frame))


def test_the_frames_that_are_broken_above_are_good_without_the_defect() -> None:
    assert len(PROTOBUF.decode_node(delimited(welcome()))) == 1
    assert len(PROTOBUF.decode_client(publish() + resume() + PONG)) == 3


@given(payload=st.binary() | st.binary(max_size=100).map(delimited) | st.text())
def test_garbage_is_refused_and_nothing_else_happens(payload: str | bytes) -> None:
    for decode in (PROTOBUF.decode_client, PROTOBUF.decode_node):
        with contextlib.suppress(RemoteProtocolError):
            decode(payload)


# The schema and the code that is checked in.

FIELD = re.compile(r"(?:(repeated) )?(map<string, (?P<value>\w+)>|\w+) (\w+) = (\d+)")


def schema_of_the_text() -> dict[str, set[tuple[str, ...]]]:
    """Return message → (oneof, repeated, type, name, number) of its fields, and enum → its values, as written."""
    text = re.sub(r"//.*", "", (ROOT / "sample_cluster/proto/wsc.proto").read_text(encoding="utf-8"))
    found: dict[str, set[tuple[str, ...]]] = {}
    kind = name = oneof = ""
    for raw in re.findall(r"[^{};]+[{;]|\}", text):
        words = " ".join(raw.split()).rstrip("{; ")
        if raw == "}":
            name, oneof = (name, "") if oneof else ("", "")
        elif raw.endswith("{"):
            if words.startswith("oneof "):
                oneof = words.removeprefix("oneof ")
            else:
                kind, name = words.split()
                found[name] = set()
        elif name and kind == "enum":
            found[name].add(tuple(words.split(" = ")))
        elif name and not words.startswith("reserved "):
            match = FIELD.fullmatch(words)
            assert match is not None, words
            repeated, typed, value, field, number = match.groups()
            found[name].add((oneof, "map" if value else repeated or "", value or typed, field, number))
    return found


def type_of(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return field.message_type.name
    if field.enum_type is not None:
        return field.enum_type.name
    names = {"double": 1, "uint64": 4, "fixed32": 7, "bool": 8, "string": 9, "bytes": 12, "uint32": 13}
    return next(name for name, number in names.items() if number == field.type)


def row_of(field: FieldDescriptor) -> tuple[str, ...]:
    oneof = field.containing_oneof.name if field.containing_oneof is not None else ""
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        assert type_of(inner.fields_by_name["key"]) == "string"
        return (oneof, "map", type_of(inner.fields_by_name["value"]), field.name, str(field.number))
    return (oneof, "repeated" if field.is_repeated else "", type_of(field), field.name, str(field.number))


def schema_of_the_code() -> dict[str, set[tuple[str, ...]]]:
    found: dict[str, set[tuple[str, ...]]] = {
        name: {(value.name, str(value.number)) for value in enum.values}
        for name, enum in pb.DESCRIPTOR.enum_types_by_name.items()
    }
    messages = {
        name: {row_of(field) for field in it.fields} for name, it in pb.DESCRIPTOR.message_types_by_name.items()
    }
    return {**found, **messages}


def test_the_code_that_is_checked_in_is_that_of_the_schema() -> None:
    schema = schema_of_the_text()
    assert len(schema) > 25
    assert len(schema["Frame"]) == 20
    assert schema_of_the_code() == schema, "run make proto"
    assert pb.DESCRIPTOR.package == "wsc.v1"


def test_the_types_that_are_checked_in_are_those_of_the_code() -> None:
    text = (ROOT / "sample_cluster/proto/wsc_pb2.pyi").read_text(encoding="utf-8")
    for name, message in pb.DESCRIPTOR.message_types_by_name.items():
        slots = ", ".join(f'"{field.name}"' for field in message.fields)
        assert re.search(rf"class {name}\(_message\.Message\):\n    __slots__ = \({slots},?\)\n", text), name


def test_the_generator_is_not_newer_than_the_runtime() -> None:
    code = (ROOT / "sample_cluster/proto/wsc_pb2.py").read_text(encoding="utf-8")
    pinned = re.search(r"^protobuf==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    generator = re.search(r"^# Protobuf Python Version: (.+)$", code, re.MULTILINE)
    assert pinned is not None
    assert generator is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(item.startswith(f"protobuf>={generator[1]},") for item in project["dependencies"])
    assert [*map(int, generator[1].split("."))] <= [*map(int, pinned[1].split("."))]
