"""Recordings on disk."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.fingerprint import fingerprint
from tests.support.tale import tale
from tests.support.taping import inputs_of, taped
from wsmon.errors import ConfigError, WsmonError
from wsmon.recording import files
from wsmon.recording.files import StoredFile, create, open_recording, write_whole


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    items = tale(7, seconds=10)
    path = tmp_path / "a.wsr"
    write_whole(path, taped(items))
    assert fingerprint(inputs_of(open_recording(path))) == fingerprint(items)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [other.name for other in tmp_path.iterdir()] == ["a.wsr"]


def test_a_file_that_grows_is_read_as_far_as_it_reached(tmp_path: Path) -> None:
    items = tale(7, seconds=10)
    path = tmp_path / "a.wsr"
    data = taped(items, end=False)
    path.write_bytes(data[: len(data) // 2])
    recording = open_recording(path)
    before = inputs_of(recording)
    with path.open("ab") as file:
        file.write(data[len(data) // 2 :])
    assert inputs_of(recording) == before
    assert fingerprint(inputs_of(open_recording(path))) == fingerprint(items)


def test_a_file_that_became_shorter_is_damaged_and_no_worse(tmp_path: Path) -> None:
    items = tale(7, seconds=10)
    path = tmp_path / "a.wsr"
    path.write_bytes(taped(items))
    recording = open_recording(path)
    os.truncate(path, 1_000)
    told = inputs_of(recording)
    assert len(told) < len(items)
    assert "damaged" in recording.damage


def test_no_file_is_ever_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.wsr"
    path.write_text("precious")
    with pytest.raises(WsmonError, match=r"a\.wsr exists already"):
        write_whole(path, b"new")
    with pytest.raises(WsmonError, match=r"a\.wsr exists already"):
        create(path)
    assert path.read_text() == "precious"
    assert [other.name for other in tmp_path.iterdir()] == ["a.wsr"]


def test_a_name_that_is_taken_meanwhile_is_not_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wsr"

    def slow(fd: int, data: bytes) -> None:
        path.write_text("precious")

    monkeypatch.setattr(files, "write_all", slow)
    with pytest.raises(WsmonError, match="exists already"):
        write_whole(path, b"new")
    assert path.read_text() == "precious"
    assert [other.name for other in tmp_path.iterdir()] == ["a.wsr"]


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(WsmonError, match="No space left on device"):
        write_whole(tmp_path / "a.wsr", b"new")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        open_recording(tmp_path / "none.wsr")
    with pytest.raises(ConfigError, match=r"nowhere/a\.wsr|No such file|cannot be written"):
        open_recording(tmp_path / "nowhere" / "a.wsr")
    with pytest.raises(WsmonError, match="cannot be written"):
        create(tmp_path / "nowhere" / "a.wsr")
    with pytest.raises(ConfigError, match="directory"):
        open_recording(tmp_path)
    (tmp_path / "empty.wsr").touch()
    with pytest.raises(ConfigError, match=r"empty\.wsr is empty"):
        open_recording(tmp_path / "empty.wsr")


def test_a_store_ends_where_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    store = StoredFile(path)
    assert (store.size, store.read(8, 5), store.read(20, 5)) == (10, b"89", b"")


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.wsr"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="it is not a regular file"):
        open_recording(pipe)
