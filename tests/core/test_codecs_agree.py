"""What holds for both subprotocols, and between them."""

import base64
import subprocess
import sys
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.codecs import SUBPROTOCOLS, Codec, codec_for, data_size
from sample_cluster.codecs.json import JSON
from sample_cluster.codecs.limits import check, is_channel
from sample_cluster.codecs.payload import decode_base64, encode_base64, encode_data, parse_json
from sample_cluster.codecs.protobuf import PROTOBUF
from sample_cluster.core.feed import Entry
from sample_cluster.core.messages import ClientFrame, Error, Message, NodeFrame, Published
from sample_cluster.errors import RemoteProtocolError
from tests.support import codec_frames
from tests.support.codec_frames import CLIENT, CLIENT_FRAMES, MESSAGES, NODE, NODE_FRAMES

CODECS: tuple[Codec, ...] = (JSON, PROTOBUF)
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.subprotocol)


def payload(codec: Codec, encoded: bytes) -> str | bytes:
    """Return what the WebSocket library would hand over."""
    return encoded if codec.binary else encoded.decode()


def test_the_examples_know_every_type_of_frame() -> None:
    assert {type(frame) for frame in CLIENT_FRAMES} == {*get_args(ClientFrame)}
    assert {type(frame) for frame in NODE_FRAMES} == {*get_args(NodeFrame)}


@each_codec
@given(frames=st.lists(CLIENT, min_size=1, max_size=3))
def test_what_a_client_says_survives_the_wire(codec: Codec, frames: list[ClientFrame]) -> None:
    joined = codec.join([codec.encode(frame) for frame in frames])
    assert codec.decode_client(payload(codec, joined)) == tuple(frames)


@each_codec
@given(frames=st.lists(NODE, min_size=1, max_size=3))
def test_what_a_node_says_survives_the_wire(codec: Codec, frames: list[NodeFrame]) -> None:
    joined = codec.join([codec.encode(frame) for frame in frames])
    assert codec.decode_node(payload(codec, joined)) == tuple(frames)


@given(frame=CLIENT | NODE)
def test_whatever_survives_the_wire_keeps_to_the_limits(frame: ClientFrame | NodeFrame) -> None:
    check(frame)


@given(frame=CLIENT)
def test_a_client_may_speak_either(frame: ClientFrame) -> None:
    assert PROTOBUF.decode_client(PROTOBUF.encode(frame)) == JSON.decode_client(JSON.encode(frame).decode())


@given(frame=NODE)
def test_a_client_hears_the_same_in_either(frame: NodeFrame) -> None:
    assert PROTOBUF.decode_node(PROTOBUF.encode(frame)) == JSON.decode_node(JSON.encode(frame).decode())


@each_codec
@given(frame=MESSAGES)
def test_a_message_is_delivered_without_parsing_its_data(codec: Codec, frame: Message) -> None:
    frame = replace(frame, id="0123456789abcdef-7")  # Others need an escape, and do not get into the log.
    entry = Entry(
        seq=frame.seq,
        nonce=frame.nonce,
        prev=frame.prev,
        id=frame.id,
        ts=frame.ts,
        data=encode_data(frame.data),
        encoding=frame.encoding,
    )
    encoded = codec.encode_message(frame.channel, entry, replay=frame.replay)
    assert encoded == codec.encode(frame)
    assert codec.decode_node(payload(codec, encoded)) == (frame,)


def test_the_differences_between_the_two_are_those_in_the_document() -> None:
    for frame in (Error(code="c", message="m", id=0), Published(channel="c", cseq=1, seq=1, replicas=0)):
        assert JSON.decode_node(JSON.encode(frame).decode()) == (frame,)
        assert PROTOBUF.decode_node(PROTOBUF.encode(frame)) != (frame,)


@each_codec
def test_numbers_that_no_field_holds_are_not_written(codec: Codec) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.encode(Message(channel="c", seq=1, nonce=1, prev=1, id="i", ts=1, data=float("inf")))


def test_a_codec_is_found_by_its_name() -> None:
    assert [codec_for(name).subprotocol for name in SUBPROTOCOLS] == [*SUBPROTOCOLS]
    assert codec_for(None) is codec_for(SUBPROTOCOLS[0]) is JSON
    assert [codec_for(name).binary for name in SUBPROTOCOLS] == [False, True]
    with pytest.raises(LookupError, match=r"wsc\.v1\.pb"):
        codec_for("wsc.v2.json")


def test_json_alone_does_not_load_protobuf() -> None:
    code = (
        "import sys; from sample_cluster.codecs import codec_for; codec_for(None);"
        "print(*[name for name in sys.modules if name.startswith('google.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == []


@given(data=codec_frames.JSON)
def test_the_size_of_a_json_value_is_that_of_its_text(data: Any) -> None:
    assert data_size(data, None) == len(encode_data(data).encode())
    assert parse_json(encode_data(data), what="data") == data


@given(raw=st.binary(max_size=200))
def test_the_size_of_base64_is_what_it_stands_for(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    assert data_size(text, "base64") == len(raw)
    assert decode_base64(text) == raw
    assert encode_base64(raw) == text


@pytest.mark.parametrize(
    "data",
    ["=", "A", "eA", "eA=", "eA===", "eB==", "eA==\n", " eA==", "eA==eA==", "e_-=", "ü", "\ud800", 7, None, ["eA=="]],
)
def test_other_spellings_of_base64_have_no_size(data: Any) -> None:
    assert data_size(data, "base64") is None


def test_an_encoding_that_nobody_knows_has_no_size() -> None:
    assert data_size("eA==", "rot13") is None
    assert data_size("eA==", "#7") is None


def test_data_that_is_no_json_value_is_refused_when_it_is_measured() -> None:
    for data in (float("nan"), "\ud800"):
        with pytest.raises(RemoteProtocolError):
            data_size(data, None)


@given(name=st.text(max_size=70) | st.text("aZ09._:-", max_size=70))
def test_a_channels_name_needs_no_escape_in_any_form(name: str) -> None:
    if is_channel(name):
        assert encode_data(name) == f'"{name}"'
        assert 1 <= len(name.encode()) <= 64
