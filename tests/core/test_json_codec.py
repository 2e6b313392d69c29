"""The JSON subprotocol of clients."""

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.codecs.json import (
    CHANNELS_MAX,
    decode_client,
    decode_node,
    encode,
    encode_data,
    encode_message,
    is_channel,
)
from sample_cluster.codecs.json import JSON as JSON_CODEC
from sample_cluster.codecs.limits import FRAMES_MAX
from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import (
    ClientFrame,
    Error,
    Hello,
    Message,
    NodeFrame,
    Pong,
    Publish,
    Rewind,
    Subscribe,
    UnknownFrame,
)
from sample_cluster.errors import RemoteProtocolError
from tests.support.codec_frames import CLIENT_FRAMES, JSON, NODE_FRAMES, PLACE


@pytest.mark.parametrize("frame", CLIENT_FRAMES, ids=repr)
def test_a_clients_frame_survives_the_wire(frame: ClientFrame) -> None:
    assert decode_client(encode(frame)) == (frame,)


@pytest.mark.parametrize("frame", NODE_FRAMES, ids=repr)
def test_a_nodes_frame_survives_the_wire(frame: NodeFrame) -> None:
    assert decode_node(encode(frame)) == (frame,)


def test_names_on_the_wire_are_those_of_the_specification() -> None:
    subscribe = json.loads(encode(Subscribe(id=1, channel="c", start=PLACE)))
    assert subscribe == {
        "type": "subscribe",
        "id": 1,
        "channel": "c",
        "from": {"epoch": "00c0ffee", "seq": 7, "nonce": 2**32 - 1},
    }
    assert json.loads(encode(Rewind(channel="c", to=4, void=(5, 9), position=PLACE)))["void"] == [5, 9]
    assert json.loads(encode(Error(code="c", message="m"))) == {
        "type": "error",
        "code": "c",
        "message": "m",
        "temporary": False,
    }


def test_a_text_frame_holds_several_objects_and_unknown_types_and_fields_pass() -> None:
    text = '{"type":"pong","ts":1,"new":true}\n{"type":"wat"}\n{"type":"pong","ts":2}\n'
    assert decode_client(text) == (Pong(ts=1), UnknownFrame(type="wat"), Pong(ts=2))
    assert decode_node('{"type":"wat"}') == (UnknownFrame(type="wat"),)
    assert decode_client('{"type":"ping","ts":1}') == (UnknownFrame(type="ping"),), "a node's frame is none of ours"


def test_line_separators_inside_text_do_not_end_an_object() -> None:
    frame = Publish(channel="c", cseq=1, data="a\u2028b\x85c\nd")
    assert decode_client(encode(frame)) == (frame,)


def test_a_message_built_from_json_text_is_the_same() -> None:
    plain = Message(channel="c", seq=1, nonce=2, prev=3, id="i", ts=4, data={"a": "ü"})
    rich = dataclasses.replace(plain, data="eA==", encoding="base64", replay=True)
    for frame in (plain, rich):
        fields: dict[str, Any] = {item.name: getattr(frame, item.name) for item in dataclasses.fields(frame)}
        channel, replay = fields.pop("channel"), fields.pop("replay")
        text = encode_message(channel, Entry(**{**fields, "data": encode_data(frame.data)}), replay=replay)
        assert text == encode(frame) or json.loads(text) == json.loads(encode(frame))
        assert decode_node(text) == (frame,)


RETRY = {"ago_ms": 1, "delay_ms": 1, "outcome": "x"}
BAD = [
    "",
    "\n",
    "hello",
    "[]",
    "1",
    "{}",
    '{"type":1}',
    '{"type":"' + "x" * 65 + '"}',
    '{"type":"pong"}',
    '{"type":"pong","ts":"1"}',
    '{"type":"pong","ts":true}',
    '{"type":"pong","ts":-1}',
    '{"type":"pong","ts":NaN}',
    '{"type":"subscribe","id":1,"channel":""}',
    '{"type":"subscribe","id":1,"channel":"a b"}',
    '{"type":"subscribe","id":1,"channel":"' + "x" * 65 + '"}',
    '{"type":"subscribe","id":1,"channel":"c","from":"then"}',
    '{"type":"subscribe","id":1,"channel":"c","from":{"epoch":"xyz","seq":1,"nonce":1}}',
    '{"type":"subscribe","id":1,"channel":"c","from":{"epoch":"00c0ffee","seq":9007199254740992,"nonce":1}}',
    '{"type":"subscribe","id":1,"channel":"c","from":{"epoch":"00c0ffee","seq":1,"nonce":4294967296}}',
    '{"type":"publish","channel":"c","cseq":1}',
    '{"type":"publish","channel":"c","cseq":0,"data":1}',
    '{"type":"publish","channel":"c","cseq":1,"data":Infinity}',
    '{"type":"publish","channel":"c","cseq":1,"data":1e999}',
    '{"type":"publish","channel":"c","cseq":1,"data":{"a":[-1e999]}}',
    '{"type":"publish","channel":"c","cseq":1,"data":"\\ud800"}',
    '{"type":"publish","channel":"c","cseq":1,"data":1,"level":"sure"}',
    '{"type":"publish","channel":"c","cseq":1,"data":' + "[" * 100 + "]" * 100 + "}",
    '{"type":"ack"}',
    '{"type":"ack","acks":{"a b":1}}',
    '{"type":"ack","acks":{"c":-1}}',
    '{"type":"ack","acks":{"\U0001f600\\n":"x"}}',
    '{"type":"\U0001f600\\n","x":NaN}',
    json.dumps({"type": "ack", "acks": {f"c{number}": 1 for number in range(CHANNELS_MAX + 1)}}),
    '{"type":"resume","session":"s","secret":"x","attempt":0}',
    '{"type":"resume","session":"s","secret":"x","attempt":1,"positions":{"c":1}}',
    '{"type":"resume","session":"s","secret":"x","attempt":1,"retries":[{"ago_ms":1}]}',
    json.dumps({"type": "hello", "client": {f"k{number}": "v" for number in range(17)}}),
    # Numbers that only some readers can hold.
    '{"type":"pong","ts":' + "1" * 5_000 + "}",
    '{"type":"pong","ts":' + "1" * 4_000 + "}",
    '{"type":"pong","ts":9007199254740992}',
    '{"type":"pong","ts":1.5}',
    '{"type":"pong","ts":1e300}',
    '{"type":"pong","ts":1,"new":1e999}',
    '{"type":"publish","channel":"c","cseq":1,"data":' + "1" * 400 + "}",
    '{"type":"publish","channel":"c","cseq":true,"data":1}',
    '{"type":"publish","channel":"c","cseq":9007199254740992,"data":1}',
    '{"type":"subscribe","id":4294967296,"channel":"c"}',
    '{"type":"subscribe","id":-1,"channel":"c"}',
    '{"type":"subscribe","id":true,"channel":"c"}',
    '{"type":"subscribe","id":"1","channel":"c"}',
    '{"type":"subscribe","channel":"c"}',
    '{"type":"subscribe","id":1,"channel":"c","from":{"epoch":"00C0FFEE","seq":1,"nonce":1}}',
    '{"type":"subscribe","id":1,"channel":"c","from":{"epoch":"00c0ffee","seq":true,"nonce":1}}',
    '{"type":"subscribe","id":1,"channel":"c","from":true}',
    '{"type":"resume","session":"s","secret":"x","attempt":1,"retries":[{"ago_ms":4294967296,"delay_ms":0,"outcome":"x"}]}',
    # Names twice, here or further inside.
    '{"type":"pong","ts":1,"ts":2}',
    '{"type":"pong","type":"pong","ts":1}',
    '{"type":"publish","channel":"c","cseq":1,"data":{"a":{"b":1,"b":1}}}',
    # Half surrogates, as text and as escapes, in names and in values.
    '{"type":"pong","ts":1,"new":"\ud800"}',
    '{"type":"pong","ts":1,"new":"\\udc00"}',
    '{"type":"pong","ts":1,"\\ud800":1}',
    '{"type":"\\ud800"}',
    '{"type":"resume","session":"\\ud800","secret":"x","attempt":1}',
    '{"type":"ack","acks":{"\\udfff":1}}',
    # Nesting.
    "[" * 100_000,
    '{"a":' * 100_000,
    '{"type":"pong","ts":1,"new":' + "[" * 20_000 + "]" * 20_000 + "}",
    '{"type":"publish","channel":"c","cseq":1,"data":' + "[" * 32 + "]" * 32 + "}",
    # Too long, too many, of another type, empty where something is needed.
    '{"type":""}',
    '{"type":null}',
    '{"type":"pong","ts":1}\n' * (FRAMES_MAX + 1),
    '{"type":"pong","ts":1}\n{"type":"pong"}',
    json.dumps({"type": "hello", "caps": ["x"] * 65}),
    json.dumps({"type": "hello", "caps": ["x" * 65]}),
    json.dumps({"type": "hello", "caps": [""]}),
    json.dumps({"type": "hello", "caps": [1]}),
    json.dumps({"type": "hello", "caps": "x"}),
    json.dumps({"type": "hello", "token": "x" * 4_097}),
    json.dumps({"type": "hello", "token": 1}),
    json.dumps({"type": "hello", "client": {"name": "x" * 257}}),
    json.dumps({"type": "hello", "client": {"name": 1}}),
    json.dumps({"type": "hello", "client": []}),
    json.dumps({"type": "auth"}),
    json.dumps({"type": "auth", "token": ""}),
    json.dumps({"type": "auth", "token": "x" * 4_097}),
    json.dumps({"type": "resume", "session": "", "secret": "x", "attempt": 1}),
    json.dumps({"type": "resume", "session": "x" * 129, "secret": "x", "attempt": 1}),
    json.dumps({"type": "resume", "session": "s", "secret": "", "attempt": 1}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 2**53}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 1, "pending": {"c": -1}}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 1, "pending": {"a b": 1}}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 1, "pending": []}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 1, "positions": []}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 1, "retries": {}}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 1, "retries": [1]}),
    json.dumps({"type": "resume", "session": "s", "secret": "x", "attempt": 1, "retries": [RETRY] * 65}),
    json.dumps({"type": "publish", "channel": "c", "cseq": 1, "data": 1, "encoding": "x" * 17}),
    json.dumps({"type": "publish", "channel": "c", "cseq": 1, "data": 1, "encoding": 1}),
    json.dumps({"type": "publish", "channel": ["c"], "cseq": 1, "data": 1}),
]


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:60]))
def test_a_broken_frame_of_a_client_is_refused_with_4501(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_client(text)
    assert caught.value.code == 4501
    assert caught.value.message.isascii(), "it goes into a close frame, whose size is counted in bytes"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 200


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"rewind","channel":"c","to":1,"void":[5],"position":{"epoch":"00c0ffee","seq":1,"nonce":1}}',
        '{"type":"rewind","channel":"c","to":1,"void":[5,4],"position":{"epoch":"00c0ffee","seq":1,"nonce":1}}',
        '{"type":"notice","component":"redis","state":"wonderful"}',
        '{"type":"goaway","reason":"whim","retry_ms":0,"spread_ms":0,"deadline_ms":0}',
        '{"type":"rewind","channel":"c","to":1,"void":[true,true],"position":{"epoch":"00c0ffee","seq":1,"nonce":1}}',
        '{"type":"rewind","channel":"c","to":1,"void":[1,2,3],"position":{"epoch":"00c0ffee","seq":1,"nonce":1}}',
        '{"type":"message","channel":"c","seq":1,"nonce":1,"prev":1,"id":"i","ts":1}',
        '{"type":"message","channel":"c","seq":1,"nonce":1,"prev":1,"id":"i","ts":1,"data":1e999}',
        '{"type":"message","channel":"c","seq":0,"nonce":1,"prev":1,"id":"i","ts":1,"data":1}',
        '{"type":"message","channel":"c","seq":1,"nonce":1,"prev":1,"id":"","ts":1,"data":1}',
        '{"type":"message","channel":"c","seq":1,"nonce":1,"prev":1,"id":"i","ts":1,"data":1,"replay":1}',
        '{"type":"published","channel":"c","cseq":0,"seq":1}',
        '{"type":"published","channel":"c","cseq":1,"seq":1,"replicas":4294967296}',
        '{"type":"error","code":"c","message":"m","channel":"a b"}',
        '{"type":"error","code":"c","message":"m","id":4294967296}',
        '{"type":"error","code":"","message":"m"}',
        '{"type":"welcome"}',
        encode(NODE_FRAMES[0]).replace('"resumed":["a"]', '"resumed":["a b"]'),
        encode(NODE_FRAMES[0]).replace('"factor":2.0', '"factor":0.5'),
        encode(NODE_FRAMES[0]).replace('"jitter":0.2', '"jitter":1.5'),
        encode(NODE_FRAMES[0]).replace('"ping_ms":1', '"ping_ms":0'),
        encode(NODE_FRAMES[0]).replace('"ping_ms":1', '"ping_ms":4294967296'),
        encode(NODE_FRAMES[0]).replace('"attempt":1', '"attempt":0'),
    ],
)
def test_a_broken_frame_of_a_node_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_node(text)


def test_the_deepest_data_there_is_goes_to_the_node_and_back() -> None:
    data: Any = 1
    for _ in range(31):
        data = [data]
    frame = Publish(channel="c", cseq=1, data=data)
    assert decode_client(encode(frame)) == (frame,)
    message = Message(channel="c", seq=1, nonce=1, prev=1, id="i", ts=1, data=data)
    assert decode_node(encode(message)) == (message,)


def test_as_many_frames_as_allowed_are_taken() -> None:
    assert len(decode_client('{"type":"pong","ts":1}\n' * FRAMES_MAX)) == FRAMES_MAX


def test_a_number_without_a_fraction_is_an_integer() -> None:
    assert decode_client('{"type":"pong","ts":1.0}') == (Pong(ts=1),)
    assert decode_client('{"type":"pong","ts":-0}') == (Pong(ts=0),)


def test_an_empty_optional_text_is_absent_and_what_a_client_says_of_itself_is_a_fixed_set() -> None:
    text = '{"type":"hello","token":"","client":{"name":"","lang":"py","shoe":42}}'
    assert decode_client(text) == (Hello(client={"lang": "py"}),)


def test_data_without_json_text_is_refused() -> None:
    endless: Any = []
    for _ in range(100_000):
        endless = [endless]
    without: tuple[Any, ...] = (float("nan"), float("inf"), "\ud800", {"\ud800": 1}, endless)
    for data in without:
        with pytest.raises(RemoteProtocolError):
            encode_data(data)
        with pytest.raises(ValueError, match=r"."):
            JSON_CODEC.encode(Publish(channel="c", cseq=1, data=data))
    assert encode_data({"a": 1}) == '{"a":1}'


def test_a_binary_frame_on_a_json_connection_is_refused() -> None:
    for decode in (JSON_CODEC.decode_client, JSON_CODEC.decode_node):
        with pytest.raises(RemoteProtocolError) as caught:
            decode(b'{"type":"pong","ts":1}')
        assert caught.value.code == 4501


def test_channel_names() -> None:
    assert is_channel("a.B:c-d_9")
    assert not any(is_channel(name) for name in ("", "a{b}", "a\n", "ü", "x" * 65))


@given(data=JSON)
def test_any_json_value_is_data(data: Any) -> None:
    frame = Publish(channel="c", cseq=1, data=data)
    assert decode_client(encode(frame)) == (frame,)
    text = encode_message("c", Entry(seq=1, nonce=1, prev=1, id="i", ts=1, data=encode_data(data)))
    assert decode_node(text) == (Message(channel="c", seq=1, nonce=1, prev=1, id="i", ts=1, data=data),)


@given(text=st.text(st.characters()) | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_garbage_is_refused_and_nothing_else_happens(text: str) -> None:
    for decode in (decode_client, decode_node):
        with contextlib.suppress(RemoteProtocolError):
            decode(text)
