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
from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import (
    Ack,
    Auth,
    ClientFrame,
    Error,
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

PLACE = Position(epoch="00c0ffee", seq=7, nonce=2**32 - 1)
CLIENT_FRAMES: tuple[ClientFrame, ...] = (
    Hello(),
    Hello(token="t", client={"name": "x", "lang": "py"}, caps=("a", "b")),
    Resume(session="s", secret="x", attempt=2),
    Resume(
        session="s",
        secret="x",
        attempt=2,
        token="t",
        positions={"c": PLACE},
        pending={"c": 9},
        retries=(Retry(ago_ms=900, delay_ms=200, outcome="refused"),),
    ),
    Subscribe(id=1, channel="c"),
    Subscribe(id=1, channel="c", start="start"),
    Subscribe(id=1, channel="c", start=PLACE),
    Unsubscribe(id=1, channel="c"),
    Publish(channel="c", cseq=1, data=None),
    Publish(channel="c", cseq=1, data={"a": [1, 2.5, "ü", None, True]}, encoding="base64", level=Level.SAFE),
    Ack(acks={"c": 3}),
    Pong(ts=5),
    Auth(token="t"),
)
NODE_FRAMES: tuple[NodeFrame, ...] = (
    Welcome(
        session="s",
        secret="x",
        attempt=1,
        node="n1",
        boot=5,
        timings=Timings(ping_ms=1, pong_ms=2, misses=3, resume_ttl_ms=4, ack_ms=5),
        limits=Limits(max_frame=1, max_data=2, window=3),
        reconnect=Reconnect(spread_ms=1, base_ms=2, factor=2.0, cap_ms=3, jitter=0.2, stable_ms=4),
        resumed=("a",),
        fresh=("b",),
    ),
    Subscribed(id=1, channel="c", position=PLACE, replay=3),
    Unsubscribed(id=1, channel="c"),
    Message(channel="c", seq=1, nonce=2, prev=3, id="i", ts=4, data=None),
    Message(channel="c", seq=1, nonce=2, prev=3, id="i", ts=4, data="eA==", encoding="base64", replay=True),
    Published(channel="c", cseq=1, seq=2),
    Published(channel="c", cseq=1, seq=2, dup=True, replicas=1),
    Resync(channel="c", reason="trimmed", have=1, first=5, top=9, position=PLACE),
    Rewind(channel="c", to=4, void=(5, 9), position=PLACE),
    Ping(ts=5),
    GoAway(reason=GoAwayReason.DRAIN, retry_ms=0, spread_ms=1, deadline_ms=2, handover=False),
    Notice(component="redis", state="degraded"),
    Notice(component="redis", state="live"),
    Error(code="c", message="m"),
    Error(code="c", message="m", temporary=True, id=1, retry_ms=2, channel="c", cseq=3),
)


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
    json.dumps({"type": "ack", "acks": {f"c{number}": 1 for number in range(CHANNELS_MAX + 1)}}),
    '{"type":"resume","session":"s","secret":"x","attempt":0}',
    '{"type":"resume","session":"s","secret":"x","attempt":1,"positions":{"c":1}}',
    '{"type":"resume","session":"s","secret":"x","attempt":1,"retries":[{"ago_ms":1}]}',
    json.dumps({"type": "hello", "client": {f"k{number}": "v" for number in range(17)}}),
]


@pytest.mark.parametrize("text", BAD)
def test_a_broken_frame_of_a_client_is_refused_with_4501(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_client(text)
    assert caught.value.code == 4501


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"rewind","channel":"c","to":1,"void":[5],"position":{"epoch":"00c0ffee","seq":1,"nonce":1}}',
        '{"type":"rewind","channel":"c","to":1,"void":[5,4],"position":{"epoch":"00c0ffee","seq":1,"nonce":1}}',
        '{"type":"notice","component":"redis","state":"wonderful"}',
        '{"type":"goaway","reason":"whim","retry_ms":0,"spread_ms":0,"deadline_ms":0}',
        '{"type":"message","channel":"c","seq":1,"nonce":1,"prev":1,"id":"i","ts":1}',
        '{"type":"welcome"}',
    ],
)
def test_a_broken_frame_of_a_node_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_node(text)


def test_data_without_json_text_is_refused() -> None:
    for data in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(RemoteProtocolError):
            encode_data(data)
    assert encode_data({"a": 1}) == '{"a":1}'


def test_channel_names() -> None:
    assert is_channel("a.B:c-d_9")
    assert not any(is_channel(name) for name in ("", "a{b}", "a\n", "ü", "x" * 65))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(data=JSON)
def test_any_json_value_is_data(data: Any) -> None:
    frame = Publish(channel="c", cseq=1, data=data)
    assert decode_client(encode(frame)) == (frame,)
    text = encode_message("c", Entry(seq=1, nonce=1, prev=1, id="i", ts=1, data=encode_data(data)))
    assert decode_node(text) == (Message(channel="c", seq=1, nonce=1, prev=1, id="i", ts=1, data=data),)


@given(text=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_garbage_is_refused_and_nothing_else_happens(text: str) -> None:
    for decode in (decode_client, decode_node):
        with contextlib.suppress(RemoteProtocolError):
            decode(text)
