"""Reading recordings, whole ones and damaged ones."""

import json
import zlib
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.facts import T0, entries, says, seen
from tests.support.fingerprint import fingerprint
from tests.support.tale import tale
from tests.support.taping import inputs_of, opened, taped
from wsmon.errors import ConfigError
from wsmon.model.inputs import Happened, Input, Marked, PeerState, RedisSeen
from wsmon.recording import recording as recording_module
from wsmon.recording.chunks import HEAD_SIZE, MARK, TITLE, Chunk, ChunkKind, Held, Hole, pack, scan
from wsmon.recording.recording import UNPACKED_MAX, moment_of
from wsmon.recording.rows import heard
from wsmon.recording.tape import Tape

HEADLINE = b'{"version": 1, "cluster": "demo", "embedded": false, "began_at": 5.0}\n'


@cache
def story() -> tuple[list[Input], bytes]:
    """A recording of several segments, and what it was made of."""
    items = tale(3, seconds=10)
    return items, taped(items, tape=Tape("demo", segment_s=2))


def test_a_recording_tells_what_was_told() -> None:
    items, data = story()
    recording = opened(data)
    assert fingerprint(inputs_of(recording)) == fingerprint(items)
    assert recording.cluster == "demo"
    assert recording.damage == ""
    assert recording.start_at == heard(items[0])
    assert recording.end_at == heard(items[-1])
    assert len(recording.segments) >= 5


def test_reading_twice_tells_the_same() -> None:
    recording = opened(story()[1])
    assert inputs_of(recording) == inputs_of(recording)


def test_a_segment_alone_tells_how_everything_stands() -> None:
    items, data = story()
    recording = opened(data)
    alone = [read.item for read in recording.read(recording.segments[3]) if read.preface]
    assert {item.id for item in alone if isinstance(item, PeerState)} >= {"n1", "n2", "n3", "fleet", "checker"}
    newest = [item for item in items if heard(item) < recording.segments[3].began_at]
    expected = [item for item in newest if isinstance(item, PeerState) and item.id == "fleet"][-1]
    assert [item for item in alone if isinstance(item, PeerState) and item.id == "fleet"] == [expected]


@pytest.mark.parametrize("length", range(0, 4_000, 37))
def test_a_recording_cut_anywhere_tells_what_was_before_the_cut(length: int) -> None:
    items, data = story()
    first = next(iter(scan(Held(data))))
    assert isinstance(first, Chunk)
    if length < first.offset + first.length:
        with pytest.raises(ConfigError):
            opened(data[:length])
        return
    recording = opened(data[:length])
    told = inputs_of(recording)
    assert fingerprint(told) == fingerprint(items[: len(told)])
    assert "cut off" in recording.damage


def test_a_cut_loses_no_more_than_the_last_half_second() -> None:
    items, data = story()
    recording = opened(data[: len(data) * 3 // 4])
    told = inputs_of(recording)
    assert told == items[: len(told)]
    after = opened(data[: len(data) * 3 // 4 + 2_000])
    assert recording.end_at - heard(told[-1]) < 1
    assert after.end_at > recording.end_at


@settings(max_examples=40)
@given(st.data())
def test_a_flipped_byte_costs_no_more_than_the_segment_that_it_is_in(data: st.DataObject) -> None:
    items, whole = story()
    place = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    harmed = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
    recording = opened(harmed)
    hit = [
        segment
        for segment in opened(whole).segments
        if segment.chunks[0].offset - HEAD_SIZE <= place < segment.chunks[-1].offset + segment.chunks[-1].length
    ]
    missing = [(segment.began_at, segment.ended_at) for segment in hit]
    told = {id_of(item) for read in recording.inputs() if not read.preface for item in [read.item]}
    for item in items:
        at = heard(item)
        if not any(low <= at <= high for low, high in missing):
            assert id_of(item) in told
    assert told <= {id_of(item) for item in items}
    if hit:
        assert "damaged or missing" in recording.damage


def id_of(item: Input) -> str:
    return repr(item)


@settings(max_examples=40)
@given(st.binary(max_size=400), st.integers(0, 2_000))
def test_nonsense_put_into_a_recording_is_left_out(nonsense: bytes, place: int) -> None:
    items, whole = story()
    told = inputs_of(opened(whole[: place + 60] + nonsense + whole[place + 60 :]))
    assert {id_of(item) for item in told} <= {id_of(item) for item in items}


@given(st.binary(max_size=600))
def test_nonsense_is_refused_in_a_sentence(nonsense: bytes) -> None:
    for data in (nonsense, TITLE + nonsense, MARK + nonsense):
        with pytest.raises(ConfigError) as refused:
            opened(data)
        assert refused.value.message


def test_what_cannot_be_read_is_named() -> None:
    def why(data: bytes) -> str:
        with pytest.raises(ConfigError) as refused:
            opened(data)
        return refused.value.message

    assert why(b"") == "the recording is empty"
    assert why(b"#!/bin/sh\n") == "the recording is not a recording of wsmon"
    assert "newer wsmon (format 7; this one reads 1)" in why(b"wsmon recording 7\n" + b"x" * 50)
    assert "cut off at its very beginning" in why(TITLE)
    newer = zlib.compress(HEADLINE.replace(b'"version": 1', b'"version": 2'))
    assert "holds nothing that can be read" in why(TITLE + pack(ChunkKind.SEGMENT, 1, 5.0, newer))


def bomb(lines: bytes) -> bytes:
    press = zlib.compressobj(9)
    return press.compress(HEADLINE + lines) + press.flush(zlib.Z_SYNC_FLUSH)


def test_what_unpacks_to_more_than_anybody_writes_is_damage() -> None:
    honest = taped(tale(3, seconds=3), end=False)
    huge = bomb(b" " * (UNPACKED_MAX + 10))
    assert len(huge) < 100_000
    recording = opened(honest + pack(ChunkKind.SEGMENT, 999, T0 + 50, huge))
    told = inputs_of(recording)
    assert fingerprint(told) == fingerprint(tale(3, seconds=3))
    assert "damaged" in recording.damage


def test_a_segment_of_many_chunks_is_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    items = tale(3, seconds=3)
    data = taped(items, end=False)
    monkeypatch.setattr(recording_module, "SEGMENT_MAX", 8_000)
    recording = opened(data)
    told = inputs_of(recording)
    assert 0 < len(told) < len(items)
    assert "damaged" in recording.damage


def test_more_rows_than_anybody_writes_are_damage() -> None:
    recording = opened(
        TITLE + pack(ChunkKind.SEGMENT, 1, 5.0, bomb(b"")) + pack(ChunkKind.SEGMENT, 2, 6.0, bomb(b"\n" * 3_000_000))
    )
    assert inputs_of(recording) == []
    assert "damaged" in recording.damage


@pytest.mark.parametrize(
    "line",
    [
        b"[[]]",
        b"{",
        b'"x"',
        b'[["Marked",""],0,{}]',
        b"[" * 5_000,
        b"\xff",
        b"9" * 9_999,
        b'[["Marked",""],1e12,{"text":"x"}]',
        b"\n" * 3,
    ],
)
def test_rows_that_cannot_be_read_end_their_segment_and_no_other(line: bytes) -> None:
    items = tale(3, seconds=3)
    parts = [TITLE, pack(ChunkKind.SEGMENT, 1, 5.0, bomb(b"")), b""]
    press = zlib.compressobj()
    head = press.compress(HEADLINE) + press.flush(zlib.Z_SYNC_FLUSH)
    rows = press.compress(b'[["Marked",""],6.0,{"text":"good"}]\n' + line + b"\n") + press.flush(zlib.Z_SYNC_FLUSH)
    parts = [TITLE, pack(ChunkKind.SEGMENT, 1, 5.0, head), pack(ChunkKind.ROWS, 2, 7.0, rows)]
    good = [chunk for chunk in scan(Held(taped(items, end=False))) if isinstance(chunk, Chunk)]
    tail = taped(items, end=False)
    for number, chunk in enumerate(good[1:], 3):
        payload = tail[chunk.offset : chunk.offset + chunk.length]
        parts.append(pack(chunk.kind, number, chunk.at, payload))
    recording = opened(b"".join(parts))
    told = inputs_of(recording)
    assert told[0] == Marked(text="good", at=6.0)
    assert fingerprint(told[1:]) == fingerprint(items)
    assert "1 part is damaged" in recording.damage


def test_chunks_that_are_missing_are_told_and_the_next_segment_stands_by_itself() -> None:
    items, data = story()
    chunks = [chunk for chunk in scan(Held(data)) if isinstance(chunk, Chunk)]
    gone = chunks[10]
    assert gone.kind is ChunkKind.ROWS
    recording = opened(data[: gone.offset - HEAD_SIZE] + data[gone.offset + gone.length :])
    assert "missing" in recording.damage
    follows = [segment.follows for segment in recording.segments[1:]]
    assert follows.count(False) == 1
    reads = list(recording.inputs())
    assert any(read.preface for read in reads)
    assert {id_of(read.item) for read in reads} <= {id_of(item) for item in items}


def test_a_recording_that_was_not_ended_says_so() -> None:
    recording = opened(taped(tale(3, seconds=3), end=False))
    assert recording.damage.startswith("It was cut off at 22:13:2")


def test_an_early_end_and_what_was_left_out_are_told() -> None:
    tape = Tape("demo")
    data = taped(tale(3, seconds=3), tape=tape, end=False)
    recording = opened(data + tape.ending(T0 + 9, reason="no space left", dropped=7))
    assert recording.damage == "It ended early: no space left. 7 facts are not in it, because writing did not keep up."


def test_scanning_finds_what_lies_between_chunks() -> None:
    one, two = pack(ChunkKind.ROWS, 1, 1.0, b"a"), pack(ChunkKind.END, 2, 2.0, b"")
    found = list(scan(Held(TITLE + one + b"junk" + MARK + b"more" + two + two[:-3])))
    assert [type(piece) for piece in found] == [Chunk, Hole, Chunk, Hole]
    assert [piece.cut for piece in found if isinstance(piece, Hole)] == [False, True]
    unknown = pack(ChunkKind.ROWS, 1, 1.0, b"a").replace(b"WSRR", b"WSRZ")
    assert [type(piece) for piece in scan(Held(unknown))] == [Hole]


def test_the_recorded_clock_never_goes_back_and_ignores_nonsense() -> None:
    def at(moment: float) -> Input:
        return RedisSeen(state="ok", at=moment)

    assert moment_of(at(T0 + 1), T0) == T0 + 1
    assert moment_of(at(T0 - 1), T0) == T0
    assert moment_of(at(1e300), T0) == T0


# What a tape keeps.


def test_the_ring_is_the_last_minutes() -> None:
    items = tale(4, seconds=60)
    tape = Tape("demo", ring_s=10, segment_s=2)
    taped(items, tape=tape, end=False)
    recording = opened(tape.bundle(heard(items[-1])))
    told = [read.item for read in recording.inputs() if not read.preface]
    assert fingerprint(told) == fingerprint(items[-len(told) :])
    assert 10 <= recording.end_at - recording.start_at <= 13
    assert recording.damage == ""


def test_a_bundle_tells_the_events_of_before_and_how_everything_stood() -> None:
    items = tale(4, seconds=60)
    tape = Tape("demo", ring_s=10, segment_s=2)
    taped(items, tape=tape, end=False)
    reads = list(opened(tape.bundle(heard(items[-1]))).inputs())
    assert {repr(read.item) for read in reads if isinstance(read.item, Happened | Marked)} == {
        repr(item) for item in items if isinstance(item, Happened | Marked)
    }
    assert next(read for read in reads if isinstance(read.item, type(items[2]))).preface
    assert [heard(read.item) for read in reads] == sorted(heard(read.item) for read in reads)


def test_the_ring_is_bounded_in_bytes() -> None:
    tape = Tape("demo", segment_s=1, ring_bytes=8_000)
    taped(tale(4, seconds=60), tape=tape, end=False)
    assert 4_000 < tape.ring_size <= 8_000


def test_an_empty_tape_makes_a_recording_of_nothing() -> None:
    recording = opened(Tape("demo").bundle(T0))
    assert list(recording.inputs()) == []
    assert (recording.start_at, recording.end_at, recording.damage) == (T0, T0, "")


def test_a_recording_that_begins_later_begins_with_how_everything_stands() -> None:
    items = tale(5, seconds=20)
    tape = Tape("demo")
    half = len(items) // 2
    taped(items[:half], tape=tape, end=False)
    now = heard(items[half])
    tape.restart(now)
    tape.flush(now)
    data = tape.opening(now)
    for item in items[half:]:
        tape.take(item)
    recording = opened(data + tape.flush(heard(items[-1])))
    told = [read.item for read in recording.inputs() if not read.preface]
    assert fingerprint(told) == fingerprint(items[half:])
    assert recording.start_at == heard(items[half])
    assert any(read.preface and isinstance(read.item, PeerState) for read in recording.inputs())


def test_a_segment_ends_when_it_is_large() -> None:
    tape = Tape("demo")
    filler = {f"c{number}": "x" * 1_000 for number in range(1_000)}
    data = [tape.opening(T0)]
    for number in range(20):
        tape.take(says("fleet", {"clients_state": {**filler, "odd": "yz" * number}, "all": ["y" * 400_000, number]}))
        data.append(tape.flush(T0))
    recording = opened(b"".join(data))
    assert len(recording.segments) > 1
    assert len(inputs_of(recording)) == 20


def test_no_password_is_stored() -> None:
    secret = "hunter2"
    items: list[Input] = [
        replace(seen("n1"), endpoint=f"wss://user:p@{secret}@host/admin"),
        replace(entries("n1"), entries=tuple(replace(e, admin=f"wss://:{secret}@h/") for e in entries("n1").entries)),
        RedisSeen(state="away", detail=f"rediss://default:{secret}@redis:6379/0?password={secret}&db=1", at=T0),
        says("n1", {"redis": {"url": f"redis://{secret}@h:1", "n": 1}}),
        says("n1", {"redis": {"url": f"redis://{secret}@h:1", "n": 2}}),
        says("n1", {"redis": {"url": "redis://h:1", "n": 3}}),
    ]
    told = inputs_of(opened(taped(items)))
    assert secret not in repr(told)
    assert "wss://***@host/admin" in repr(told[0])
    assert "rediss://***@redis:6379/0?password=***&db=1" in repr(told[2])
    assert told[-1] == items[-1]
    assert secret not in json.dumps([repr(item) for item in told])
