"""Frames survive the wire, and what is not a frame is refused with its field's name."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsmon.errors import RemoteProtocolError
from wsmon.protocol.codec import decode_event, decode_frame, diff, encode_frame, event_object, merge_patch
from wsmon.protocol.frames import (
    Actor,
    Beat,
    Command,
    Delta,
    ErrorBody,
    EventFrame,
    Frame,
    Hello,
    JsonObject,
    Page,
    Ping,
    Pong,
    Query,
    Result,
    Snapshot,
    Subscribe,
    UnknownFrame,
)
from wsmon.protocol.states import PeerKind, Role

FRAMES: tuple[Frame, ...] = (
    Hello(
        kind=PeerKind.NODE,
        id="n1",
        boot=7,
        pid=1,
        host="h",
        version="1",
        role=Role.CONTROL,
        ops=("drain",),
        profile={"name": "demo"},
        zone="a",
    ),
    Subscribe(since=3, interval_ms=100, topics=("state",)),
    Subscribe(),
    Snapshot(rev=1, boot=7, at=1.5, state={"a": {"b": [1, 2]}}),
    Delta(rev=2, prev=1, at=1.5, patch={"a": None}),
    EventFrame(source="n1", boot=7, seq=1, at=1.5, kind="drain_started", fields={"node": "n1", "total": 3}),
    Beat(rev=2, at=1.5, lag_ms=0.25),
    Command(id="c1", op="kill", args={"id": "n1"}, actor=Actor(user="u", host="h", tty="t"), reason="r", dry_run=True),
    Command(id="c1", op="drain", actor=Actor(user="u", host="h")),
    Result(id="c1", ok=False, rev=2, error=ErrorBody(code="no", message="because")),
    Result(id="c1", ok=True, rev=2, effect={"left": 3}),
    Ping(id="p", at=1.0),
    Pong(id="p", at=1.0),
    Query(id="q", what="connections", limit=10, cursor="x"),
    Page(id="q", rows=({"id": 1},), cursor="y"),
)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_comes_back_as_it_went(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_no_frame_carries_null_except_inside_a_patch(frame: Frame) -> None:
    document = json.loads(encode_frame(frame))
    assert all(value is not None for value in document.values())


def test_an_event_is_flat_and_its_envelope_wins() -> None:
    event = EventFrame(source="n1", boot=1, seq=2, at=3.0, kind="x", fields={"node": "n1"})
    document = event_object(event)
    assert document == {"source": "n1", "boot": 1, "seq": 2, "at": 3.0, "kind": "x", "node": "n1"}
    assert decode_event(document) == event


def test_a_type_of_a_later_version_is_unknown_and_not_an_error() -> None:
    assert decode_frame('{"type":"hologram","x":1}') == UnknownFrame(type="hologram")
    with pytest.raises(TypeError):
        encode_frame(UnknownFrame(type="x"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "type is missing"),
        ('{"type":7}', "type is not text"),
        ('{"type":"beat","rev":1,"at":NaN}', "NaN is not JSON"),
        ('{"type":"beat","rev":1,"at":1e999}', "out of range"),
        ('{"type":"beat","rev":-1,"at":1}', "not in 0"),
        ('{"type":"beat","rev":true,"at":1}', "not an integer"),
        ('{"type":"beat","rev":1.5,"at":1}', "not an integer"),
        ('{"type":"beat","rev":9007199254740993,"at":1}', "not in 0"),
        ('{"type":"subscribe","interval_ms":10}', "interval_ms is 10"),
        ('{"type":"snapshot","rev":1,"boot":1,"at":1,"state":[]}', "state is not an object"),
        (
            '{"type":"hello","kind":"toaster","role":"read","id":"x","boot":1,"protocol":1}',
            "'toaster', not one of node",
        ),
        ('{"type":"command","id":"c","op":"x"}', "actor is missing"),
        ('{"type":"page","id":"q","rows":[1]}', "not an object"),
        ('{"type":"hello","kind":"node","role":"read","id":"x","boot":1,"protocol":1,"ops":[1]}', "not text"),
        ('{"type":"result","id":"c","ok":"yes"}', "not true or false"),
        ('{"type":"ping","id":"' + "x" * 300 + '","at":1}', "longer than 256"),
        ("[" * 100_000, "not JSON"),
        ('{"type":"snapshot","state":' + '{"a":' * 40 + "1" + "}" * 40 + "}", "nested deeper"),
    ],
)
def test_what_is_not_a_frame_is_refused_by_name(text: str, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        decode_frame(text)


def test_a_number_that_json_does_not_have_is_never_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_frame(Beat(rev=1, at=math.nan, lag_ms=0))


@given(st.text())
def test_any_text_is_a_frame_or_refused(text: str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_frame(text)


_json = st.recursive(
    st.booleans()
    | st.integers(-5, 5)
    | st.floats(-2, 2)
    | st.text(max_size=3)
    | st.lists(st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
_objects = st.dictionaries(st.sampled_from("abcd"), _json, max_size=4)


@given(_objects, _objects)
def test_a_diff_applied_gives_the_new_document(old: JsonObject, new: JsonObject) -> None:
    merged = merge_patch(old, diff(old, new))
    assert json.dumps(merged, sort_keys=True) == json.dumps(new, sort_keys=True)


@given(_objects)
def test_equal_documents_have_no_difference(document: JsonObject) -> None:
    assert diff(document, json.loads(json.dumps(document))) == {}


@pytest.mark.parametrize(
    ("document", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_the_rfc_shows(document: JsonObject, patch: JsonObject, merged: JsonObject) -> None:
    """Source: RFC 7396, appendix A."""
    before = json.dumps(document)
    assert merge_patch(document, patch) == merged
    assert json.dumps(document) == before
