"""The recorder: never waits for a disk, and says what it left out."""

import os
import threading
from pathlib import Path

import pytest

from tests.support.facts import T0
from tests.support.fingerprint import fingerprint
from tests.support.tale import tale
from tests.support.taping import inputs_of
from wsmon.errors import WsmonError
from wsmon.model.inputs import Captioned, ClusterEnded, Input, Marked
from wsmon.recording import recorder as module
from wsmon.recording.files import open_recording, write_all
from wsmon.recording.recorder import Recorder
from wsmon.recording.rows import RowWriter, heard
from wsmon.recording.tape import Tape

ITEMS = tale(8, seconds=20)


def clock() -> float:
    return heard(ITEMS[-1])


def feed(recorder: Recorder, items: list[Input]) -> None:
    for item in items:
        recorder.take(item)


def move(recorder: Recorder) -> None:
    """Do what the recorder's thread does twice a second."""
    with recorder._lock:
        recorder._move()


def test_everything_that_was_told_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wsr"
    recorder = Recorder(Tape("demo"), clock, path=path)
    recorder.start()
    assert recorder.words == "rec"
    feed(recorder, ITEMS)
    recorder.stop()
    recording = open_recording(path)
    assert fingerprint(inputs_of(recording)) == fingerprint(ITEMS)
    assert recording.damage == ""
    assert recorder.dropped == 0


def test_without_a_file_there_is_the_ring(tmp_path: Path) -> None:
    recorder = Recorder(Tape("demo"), clock)
    recorder.start()
    feed(recorder, ITEMS)
    ring = recorder.ring()
    assert ring is not None
    assert fingerprint(inputs_of(ring)) == fingerprint(ITEMS)
    recorder.keep(tmp_path / "b.wsr")
    assert fingerprint(inputs_of(open_recording(tmp_path / "b.wsr"))) == fingerprint(ITEMS)
    with pytest.raises(WsmonError, match="exists already"):
        recorder.keep(tmp_path / "b.wsr")
    recorder.stop()
    assert recorder.words == ""


def test_a_bundle_does_not_disturb_the_file(tmp_path: Path) -> None:
    recorder = Recorder(Tape("demo", segment_s=2), clock, path=tmp_path / "a.wsr")
    recorder.start()
    for start in range(0, len(ITEMS), 200):
        feed(recorder, ITEMS[start : start + 200])
        assert recorder.bundle()
    recorder.stop()
    recording = open_recording(tmp_path / "a.wsr")
    assert fingerprint(inputs_of(recording)) == fingerprint(ITEMS)
    assert recording.damage == ""


def test_a_file_that_exists_is_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "a.wsr").touch()
    with pytest.raises(WsmonError, match="exists already"):
        Recorder(Tape("demo"), clock, path=tmp_path / "a.wsr")


def test_a_queue_that_is_full_drops_the_oldest_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 100)
    recorder = Recorder(Tape("demo"), clock)
    feed(recorder, ITEMS[:150])
    assert recorder.dropped == 50
    ring = recorder.ring()
    assert ring is not None
    assert inputs_of(ring) == ITEMS[50:150]


def test_a_stalled_disk_holds_nobody_up_and_what_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_MAX", 4_000)
    moves, wrote = threading.Event(), threading.Event()

    def stalled(fd: int, data: bytes) -> None:
        assert moves.wait(10)
        write_all(fd, data)
        wrote.set()

    path = tmp_path / "a.wsr"
    recorder = Recorder(Tape("demo"), clock, path=path, write=stalled)
    recorder.start()
    third = len(ITEMS) // 3
    for start in range(0, 2 * third, 50):
        feed(recorder, ITEMS[start : start + 50])
        move(recorder)
    assert recorder.dropped > 0
    assert recorder.words == f"rec, {recorder.dropped} facts left out"
    ring = recorder.ring()
    assert ring is not None
    assert len(inputs_of(ring)) >= 2 * third
    moves.set()
    file = recorder._file
    assert file is not None
    while file._bytes:
        assert wrote.wait(10)
    feed(recorder, ITEMS[2 * third :])
    recorder.stop()
    recording = open_recording(path)
    told = [read.item for read in recording.inputs()]
    assert fingerprint(told[2 * third - len(ITEMS) :]) == fingerprint(ITEMS[2 * third :])
    assert {repr(item) for item in told} < {repr(item) for item in ITEMS}
    assert "missing" in recording.damage
    assert f"{recorder.dropped} facts are not in it" in recording.damage


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    failed = threading.Event()

    def full(fd: int, data: bytes) -> None:
        if os.fstat(fd).st_size > 500:
            write_all(fd, data[: len(data) // 2])
            failed.set()
            raise OSError(28, "No space left on device")
        write_all(fd, data)

    path = tmp_path / "a.wsr"
    recorder = Recorder(Tape("demo"), clock, path=path, write=full)
    recorder.start()
    feed(recorder, ITEMS[:500])
    move(recorder)
    feed(recorder, ITEMS[500:1_000])
    move(recorder)
    assert failed.wait(10)
    recorder.stop()
    assert recorder.words == "recording ended: a.wsr: No space left on device"
    ring = recorder.ring()
    assert ring is not None
    assert inputs_of(ring) == ITEMS[:1_000]
    told = inputs_of(open_recording(path))
    assert told == ITEMS[: len(told)]
    assert len(told) >= 500


@pytest.mark.parametrize(
    "told", [(), (ClusterEnded(reason="the port is taken", at=T0),), (Captioned(text="watch this", at=T0),)]
)
@pytest.mark.parametrize("started", [True, False])
def test_a_file_in_which_nothing_of_a_cluster_would_stand_is_not_left_behind(
    tmp_path: Path, told: tuple[Input, ...], *, started: bool
) -> None:
    path = tmp_path / "a.wsr"
    recorder = Recorder(Tape("demo"), lambda: T0, path=path)
    assert path.exists()
    if started:
        recorder.start()
        feed(recorder, [*told])
    recorder.stop()
    assert not path.exists()
    path.write_text("another's")
    recorder.stop()
    assert path.read_text() == "another's"


def test_a_recorder_that_was_stopped_before_it_began_does_not_begin(tmp_path: Path) -> None:
    recorder = Recorder(Tape("demo"), lambda: T0, path=tmp_path / "a.wsr")
    recorder.stop()
    descriptor = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)  # It may get the number that became free.
    recorder.start()
    feed(recorder, ITEMS[:10])
    recorder.stop()
    os.close(descriptor)
    assert (tmp_path / "other").read_bytes() == b""
    assert not (tmp_path / "a.wsr").exists()


def test_a_file_that_took_the_name_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.wsr"
    recorder = Recorder(Tape("demo"), lambda: T0, path=path)
    recorder.start()
    path.rename(tmp_path / "aside")
    path.write_text("another's")
    recorder.stop()
    assert path.read_text() == "another's"


def test_a_note_alone_is_worth_a_file(tmp_path: Path) -> None:
    recorder = Recorder(Tape("demo"), lambda: T0, path=tmp_path / "a.wsr")
    recorder.start()
    feed(recorder, [Marked(text="here", at=T0), ClusterEnded(reason="it ended", at=T0)])
    recorder.stop()
    recorder.stop()
    recording = open_recording(tmp_path / "a.wsr")
    assert (inputs_of(recording), recording.damage) == (
        [Marked(text="here", at=T0), ClusterEnded(reason="it ended", at=T0)],
        "",
    )


def test_a_fact_that_cannot_be_written_is_counted_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = RowWriter.row
    bad = ITEMS[100]

    def row(self: RowWriter, item: Input) -> object:
        if item is bad:
            raise TypeError("no row")
        return whole(self, item)

    monkeypatch.setattr(RowWriter, "row", row)
    recorder = Recorder(Tape("demo"), clock, path=tmp_path / "a.wsr")
    recorder.start()
    feed(recorder, ITEMS[:200])
    move(recorder)
    assert recorder.dropped == 1
    recorder.stop()
    assert fingerprint(inputs_of(open_recording(tmp_path / "a.wsr"))) == fingerprint([*ITEMS[:100], *ITEMS[101:200]])
