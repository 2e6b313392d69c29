"""Replays: whatever was skipped, sought and stepped on the way, the model is the one that live had."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fingerprint import differences, fingerprint
from tests.support.tale import tale
from tests.support.taping import opened, taped, told
from wsmon import replaying
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import Input, Marked
from wsmon.recording.copying import copied
from wsmon.recording.recording import moment_of
from wsmon.recording.rows import heard
from wsmon.recording.tape import Tape
from wsmon.replaying import Replay
from wsmon.views.build import build_frame
from wsmon.views.frame import Looking, PageName

LOOKS = tuple(Looking(page=page, node="n2", client="c01") for page in PageName)


@cache
def story() -> tuple[list[Input], bytes]:
    items = tale(11, seconds=12, failover_every=0.12)
    return items, taped(items, tape=Tape("demo", segment_s=2))


def replay() -> Replay:
    return Replay(opened(story()[1]))


def live_until(at: float) -> ClusterModel:
    """Return the model that live had at a moment of the recorded clock."""
    model, now = ClusterModel("demo"), 0.0
    for item in story()[0]:
        now = moment_of(item, now)
        if now > at:
            break
        model.apply(item)
    return model


def assert_same(model: ClusterModel, other: ClusterModel) -> None:
    assert differences(fingerprint(model), fingerprint(other)) == []


def test_a_replayed_model_is_the_one_that_live_had() -> None:
    played = replay()
    played.to_the_end()
    assert_same(played.model, told(story()[0]))


@pytest.mark.parametrize("speed", [0.1, 1, 7, 100])
def test_no_speed_changes_what_comes_out(speed: float) -> None:
    played = replay()
    at = played.recording.start_at
    while at < played.recording.end_at:
        at += 0.1 * speed if speed > 1 else 0.5 * speed
        played.seek(at)
    assert_same(played.model, told(story()[0]))


@settings(max_examples=15)
@given(st.lists(st.floats(-5, 18), min_size=1, max_size=5))
def test_after_any_jumps_the_model_is_the_one_that_live_had_there(jumps: list[float]) -> None:
    played = replay()
    start_at, end_at = played.recording.start_at, played.recording.end_at
    for jump in jumps:
        played.seek(start_at + jump)
        at = min(max(start_at + jump, start_at), end_at)
        assert played.at == at
    assert_same(played.model, live_until(played.at))
    played.to_the_end()
    assert_same(played.model, told(story()[0]))


@pytest.mark.parametrize("looking", LOOKS, ids=lambda looking: looking.page)
def test_frames_are_those_that_live_drew_at_the_same_moment(looking: Looking) -> None:
    played = replay()
    dice = random.Random(2)
    for _ in range(6):
        at = dice.uniform(played.recording.start_at, played.recording.end_at)
        played.seek(at)
        assert played.frame(looking) == build_frame(live_until(at), at, looking)


def test_a_long_recording_keeps_a_bounded_number_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "COPIES_MAX", 4)
    items = story()[0]
    played = Replay(opened(taped(items, tape=Tape("demo", segment_s=1))))
    played.to_the_end()
    assert len(played._copies) <= 4
    dice = random.Random(3)
    for _ in range(10):
        at = dice.uniform(played.recording.start_at, played.recording.end_at)
        played.seek(at)
        assert_same(played.model, live_until(at))


def test_marks_are_incidents_and_markers() -> None:
    items, played = story()[0], replay()
    while played.look_ahead():
        pass
    assert played.looked_through
    markers = [item.at for item in items if isinstance(item, Marked)]
    assert markers
    assert set(markers) < set(played.marks)
    assert list(played.marks) == sorted(played.marks)


def test_a_recording_with_damage_goes_on_with_the_next_segment() -> None:
    items, data = story()
    segment = opened(data).segments[2]
    place = segment.chunks[1].offset + 3
    played = Replay(opened(data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]))
    played.to_the_end()
    live, end_at = told(items), played.recording.end_at
    assert "damaged" in played.recording.damage
    frame, before = build_frame(played.model, end_at), build_frame(live, end_at)
    assert [(row.id, row.state, row.connections, row.messages_out_s) for row in frame.nodes] == [
        (row.id, row.state, row.connections, row.messages_out_s) for row in before.nodes
    ]
    assert frame.header.audit == before.header.audit
    played.seek(played.recording.start_at)
    played.to_the_end()
    assert build_frame(played.model, end_at) == frame


def test_a_bundle_ends_in_the_picture_that_live_has() -> None:
    items = story()[0]
    tape = Tape("demo", ring_s=10, segment_s=2)
    taped(items, tape=tape, end=False)
    end_at = heard(items[-1])
    played = Replay(opened(tape.bundle(end_at)))
    played.to_the_end()
    live, shown = build_frame(told(items), end_at), build_frame(played.model, end_at)
    assert [(row.id, row.state, row.connections, row.messages_out_s) for row in shown.nodes] == [
        (row.id, row.state, row.connections, row.messages_out_s) for row in live.nodes
    ]
    assert [row.key for row in shown.events] == [row.key for row in live.events]
    assert {lane.client for lane in shown.timeline.lanes} == {lane.client for lane in live.timeline.lanes}
    assert shown.header.audit == live.header.audit
    assert shown.services == live.services


def test_a_copy_of_a_model_lives_on_its_own() -> None:
    items = story()[0]
    half = len(items) // 2
    model = told(items[:half])
    before = fingerprint(model)
    copy = copied(model)
    assert fingerprint(copy) == before
    for item in items[half:]:
        copy.apply(item)
    assert fingerprint(model) == before
    assert_same(copy, told(items))
    for item in items[half:]:
        model.apply(item)
    assert_same(model, copy)


def test_a_copy_of_a_model_that_was_asked_for_its_incidents_concludes_by_itself() -> None:
    items = story()[0]
    half = len(items) // 2
    model = told(items[:half])
    first = model.incidents.all()
    assert first
    copy = copied(model)
    for item in items[half:]:
        copy.apply(item)
    assert copy.incidents.all() == told(items).incidents.all()
    assert model.incidents.all() is first
    assert [sum(opening.clients.lost_at.values()) for opening in model.incidents._openings] == [
        sum(opening.clients.lost_at.values()) for opening in remembered(items[:half])
    ]


def remembered(items: list[Input]) -> list[Any]:
    model = told(items)
    model.incidents.all()
    return list(model.incidents._openings)


def test_functions_that_hold_values_are_copied_with_them() -> None:
    held = [1]

    class Asker:
        def __init__(self) -> None:
            self.values = held
            self.ask: Callable[[], int] = lambda: len(held)
            self.own = self.count

        def count(self) -> int:
            return len(self.values)

    Asker.__module__ = "wsmon.asker"
    asker = Asker()
    copy = copied(asker)
    held.append(2)
    assert (asker.ask(), asker.own()) == (2, 2)
    assert (copy.ask(), copy.own()) == (1, 1)
    copy.values.append(5)
    copy.values.append(6)
    assert (copy.ask(), copy.own(), asker.ask()) == (3, 3, 2)
