"""Rows: what is read is what was written, down to the last bit."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.facts import T0, beats, says
from tests.support.fingerprint import fingerprint
from tests.support.tale import tale
from wsmon.model.inputs import Happened, Input, PeerState, RedisSeen
from wsmon.protocol.frames import EventFrame, Json, JsonObject
from wsmon.recording.rows import TYPES, RowReader, RowWriter, UnreadableError, patch_of, patched

NAMES = st.sampled_from(("a", "b", "c", "", "\ud800"))
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.sampled_from((0, 0.0, 1, 1.0, 0.1, 2.125, 1e300, 2**70))
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=4)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES, inner, max_size=4)


VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=12)


STATES = objects(VALUES)
MOMENTS = st.floats(min_value=0, max_value=4e9) | st.floats(allow_nan=False, allow_infinity=False)


def copied(items: list[Input]) -> list[Input]:
    writer, reader = RowWriter(), RowReader()
    return [reader.item(json.loads(json.dumps(writer.row(item)))) for item in items]


@given(STATES, STATES)
def test_a_patch_leads_from_any_state_to_any_other(old: JsonObject, new: JsonObject) -> None:
    patch = patch_of(old, new)
    if patch is not None:
        assert fingerprint(patched(old, json.loads(json.dumps(patch)))) == fingerprint(new)


@given(st.lists(st.tuples(STATES, MOMENTS, MOMENTS), max_size=8))
def test_states_at_any_time_are_read_as_they_were_told(told: list[tuple[JsonObject, float, float]]) -> None:
    items: list[Input] = [
        PeerState(id="n1", boot=1, rev=number, at=at, state=state, heard_at=heard_at)
        for number, (state, at, heard_at) in enumerate(told)
    ]
    assert fingerprint(copied(items)) == fingerprint(items)


@given(st.lists(st.tuples(STATES, MOMENTS), max_size=8))
def test_events_of_any_shape_are_read_as_they_were_told(told: list[tuple[JsonObject, float]]) -> None:
    items: list[Input] = [
        Happened(event=EventFrame(source="s", boot=1, seq=seq, at=at, kind="k", fields=body), heard_at=T0 + seq)
        for seq, (body, at) in enumerate(told)
    ]
    assert fingerprint(copied(items)) == fingerprint(items)


def test_a_tale_is_read_as_it_was_told() -> None:
    items = tale(1)
    assert {type(item).__name__ for item in items} >= TYPES.keys() - {"ClusterEnded", "PeerGone", "Captioned"}
    assert fingerprint(copied(items)) == fingerprint(items)


def test_an_optional_field_may_come_and_go() -> None:
    items: list[Input] = [
        RedisSeen(state="ok", rtt_ms=0.5, at=T0),
        RedisSeen(state="away", detail="refused", at=T0 + 1),
        RedisSeen(state="ok", rtt_ms=0.5, at=T0 + 2),
    ]
    assert copied(items) == items


def test_a_row_without_fields_that_came_later_is_read_with_their_defaults() -> None:
    row: Json = [["RedisSeen", ""], T0, {"state": "ok", "rtt_ms": 0.5, "detail": ""}]
    assert RowReader().item(row) == RedisSeen(state="ok", rtt_ms=0.5, role="", ops_s=None, at=T0)


def test_a_row_with_fields_of_a_later_version_is_read_without_them() -> None:
    row: Json = [["RedisSeen", ""], T0, {"state": "ok", "detail": "", "shards": 3, "role": "primary"}]
    assert RowReader().item(row) == RedisSeen(state="ok", role="primary", at=T0)


def test_the_order_of_names_is_kept() -> None:
    states: list[JsonObject] = [{"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, {"a": {"y": 2, "z": 3, "x": 1}}]
    items: list[Input] = [says("n1", state) for state in states]
    read = copied(items)
    assert [list(item.state["a"]) for item in read if isinstance(item, PeerState)] == [  # type: ignore[arg-type]
        ["x", "y"],
        ["y", "x"],
        ["y", "z", "x"],
    ]


def test_a_number_that_is_infinite_is_told_as_such() -> None:
    items: list[Input] = [says("n1", {"a": value}) for value in (1.0, math.inf, 2.5, -math.inf, 3)]
    assert fingerprint(copied(items)) == fingerprint(items)


def test_what_does_not_change_costs_a_few_characters() -> None:
    state: JsonObject = {f"gauge{number}": number for number in range(100)}
    writer = RowWriter()
    writer.row(says("n1", state))
    assert len(json.dumps(writer.row(says("n1", dict(state), T0 + 0.25, rev=2)))) < 40
    writer.row(beats("n1", T0 + 1))
    assert len(json.dumps(writer.row(beats("n1", T0 + 2)))) < 40


@pytest.mark.parametrize(
    "row",
    [
        None,
        {},
        [],
        [0],
        [0, 0],
        [True, 0],
        [["Nothing", ""], 0],
        [["PeerSeen", "n1"], 0],
        [["PeerSeen"], 0],
        [["Marked", ""], "now", {"text": "a"}],
        [["Marked", ""], True, {"text": "a"}],
        [["Marked", ""], math.nan, {"text": "a"}],
        [["Marked", ""], -1, {"text": "a"}],
        [["Marked", ""], 2**80, {"text": "a"}],
        [["Marked", ""], 0, {"text": 1}],
        [["Marked", ""], 0, {"text": "a"}, 1],
        [["Marked", ""], 0, {}],
        [["PeerState", "n1"], 0, {"id": "n1"}],
        [["PeerState", "n1"], 0, 0, {"id": "n1", "boot": True, "rev": 1, "state": {}}],
        [["PeerState", "n1"], 0, 0, {"id": "n1", "boot": 1, "rev": 1, "state": [3]}],
        [["Happened", "x"], 0, 0, {"event": [[]]}],
        [["HttpSample", "n1"], 0, {"id": "n1", "ok": 1, "status": 200, "ms": 1.0}],
        [["RedisSeen", ""], 0, {"state": "perhaps", "detail": ""}],
        [["RegistrySeen", ""], 0, {"entries": "all"}],
        [["RegistrySeen", ""], 0, {"entries": [[{"kind": "king"}]]}],
        [["Marked", ""], 0, {"text": [1, 2]}],
        [["RedisSeen", ""], 0, {"state": "ok", "detail": "", "rtt_ms": math.nan}],
        [["RedisSeen", ""], 0, {"state": "ok", "detail": "", "rtt_ms": 10**400}],
        [["RedisSeen", ""], 0, {"state": "ok", "detail": "", "rtt_ms": -(10**400)}],
        [["RedisSeen", ""], 0, {"state": "ok", "detail": "", "rtt_ms": True}],
        [["RedisSeen", ""], 0, {"state": "ok", "detail": "", "rtt_ms": "1"}],
    ],
)
def test_what_is_no_row_is_refused(row: Json) -> None:
    with pytest.raises(UnreadableError):
        RowReader().item(row)


@given(VALUES, st.lists(VALUES, max_size=3))
def test_nothing_that_json_can_say_is_worse_than_refused(head: Json, rest: list[Json]) -> None:
    rows: tuple[Json, ...] = ([head, *rest], [["PeerState", "n"], 0, 0, head], [["PeerSeen", "n"], 0, head], head)
    for row in rows:
        with contextlib.suppress(UnreadableError):
            RowReader().item(row)


def test_a_deep_patch_is_refused() -> None:
    patch: Json = {}
    for _ in range(100):
        patch = {"a": patch}
    with pytest.raises(UnreadableError):
        RowReader().item([["PeerState", "n1"], 0, 0, patch])


def test_a_difference_beyond_all_numbers_is_refused() -> None:
    reader = RowReader()
    reader.item([["HttpSample", "n1"], 0, {"id": "n1", "ok": True, "status": 200, "ms": 1.5}])
    with pytest.raises(UnreadableError):
        reader.item([0, 0, {"ms": 10**400}])
