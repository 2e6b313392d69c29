"""What a person takes away: files for nobody else, and none of them over another."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon.errors import WsmonError
from wsmon.ui import take
from wsmon.ui.app import WsmonApp


def app_of(directory: Path) -> WsmonApp:
    source = FakeSource(frames.healthy())
    return WsmonApp(
        source, theme="dark", armed=True, embedded=True, directory=directory, environ={"TERM": "xterm-256color"}
    )


async def pressed(pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def test_no_file_is_written_over(tmp_path: Path) -> None:
    first, second = (take.write(tmp_path, "a", ".txt", text) for text in ("1", "2"))
    assert (first.name, second.name) == ("a.txt", "a-2.txt")
    assert first.read_text() == "1"
    assert stat.S_IMODE(second.stat().st_mode) == 0o600


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WsmonError, match="cannot be written to: No such file"):
        take.write(tmp_path / "no", "a", ".txt", "1")


def test_half_a_surrogate_pair_keeps_nobody_from_writing(tmp_path: Path) -> None:
    text = take.json_lines([{"name": "c\ud800"}])
    assert json.loads(take.write(tmp_path, "a", ".jsonl", text).read_text(encoding="utf-8")) == {"name": "c\ud800"}
    assert take.osc52("\ud800") == "\x1b]52;c;XHVkODAw\x07"
    assert take.keep_copy("\ud800").read_text(encoding="utf-8") == "\\ud800\n"


def test_a_disk_that_is_full_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.fdopen

    def full(fd: int, *args: Any, **named: Any) -> Any:
        opened(fd, *args, **named).close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(WsmonError, match="No space left on device"):
        take.write(tmp_path, "a", ".txt", "1")
    assert list(tmp_path.iterdir()) == []


def test_json_has_null_for_what_is_no_number() -> None:
    row = frames.node(cpu=float("nan"), lag_ms=float("inf"), rss=None)
    [line] = take.json_lines([row]).splitlines()
    told = json.loads(line)
    assert (told["cpu"], told["lag_ms"], told["rss"], told["state"]) == (None, None, None, "online")


def test_a_text_that_no_terminal_takes_gets_no_sequence() -> None:
    assert take.osc52("n1") == "\x1b]52;c;bjE=\x07"
    assert take.osc52("x" * 80_000) is None


async def test_a_table_is_exported_as_text_and_json(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pressed(pilot, "e")
    text, rows = sorted(tmp_path.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert text.read_text().splitlines()[1].split()[:3] == ["n1", "●", "online"]
    assert "127.0.0.1:40101" in text.read_text()
    assert [json.loads(line)["id"] for line in rows.read_text().splitlines()] == ["n1", "n2", "n3"]


async def test_a_screenshot_is_a_picture_and_a_text(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pressed(pilot, "ctrl+s")
    names = sorted(path.suffix for path in tmp_path.iterdir())
    assert names == [".svg", ".txt"]
    text = next(tmp_path.glob("*.txt")).read_text()
    assert "HEALTHY" in text.splitlines()[0]
    assert len(text.splitlines()) == 24


@pytest.mark.parametrize(("key", "wanted"), [("c", "n2"), ("y", '"id": "n2"')])
async def test_rows_are_copied_into_a_file_as_well(
    key: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    app = app_of(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pressed(pilot, "j", key)
    copied = tmp_path / "wsmon" / ".clipboard" / "text"
    assert wanted in copied.read_text()
    assert stat.S_IMODE(copied.stat().st_mode) == 0o600
