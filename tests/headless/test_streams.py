"""The standard streams, whatever they are connected to."""

import errno
import io
import json
import os
import sys

import pytest

from wsmon import __main__ as entry
from wsmon import cli
from wsmon.errors import WsmonError

TEXT = "n1 → n2 × é \U0001f600 \ud800"


def printed(text: str, encoding: str, errors: str) -> str:
    entry.say_what_cannot_be_encoded(as_json=True)
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, errors=errors) as stream:
        stream.write(text)
        stream.flush()
        return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_stays_json_in_every_encoding(encoding: str) -> None:
    line = json.dumps({"text": TEXT}, ensure_ascii=False)
    assert json.loads(printed(line, encoding, "wsmon-json")) == {"text": TEXT}


def test_lines_get_stand_ins_of_as_many_cells() -> None:
    assert printed(TEXT, "ascii", "wsmon-lines") == "n1 > n2 x ? ?? ?"
    assert printed("n1 → n2 × é", "latin-1", "wsmon-lines") == "n1 > n2 × é"
    assert printed("n1 → n2", "utf-8", "wsmon-lines") == "n1 → n2"


def test_a_stream_that_was_closed_is_the_null_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, None)
        monkeypatch.setattr(sys, f"__{name}__", None)
    before = sys.stderr
    entry.open_standard_streams()
    assert sys.stdin.read() == ""
    assert not sys.stdin.isatty()
    assert sys.stdout.write("nobody reads this") == 17
    sys.stdout.flush()
    assert sys.__stdout__ is sys.stdout
    assert sys.stderr is before
    for stream in (sys.stdin, sys.stdout):
        assert stream is not None
        os.close(stream.fileno())


def test_what_a_peer_answers_does_not_reach_the_terminal_raw(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: list[str]) -> int:
        raise WsmonError("kill n1: \x1b]0;owned\x07no\nsuch " + "x" * 10_000, hint="\x9b2Jtry\u202e")

    monkeypatch.setattr(cli, "_run", refused)
    assert cli.main(["kill", "n1"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("wsmon: kill n1: ")
    assert "no such xxx" in line
    assert line.isprintable()
    assert len(line) < 3_000


def test_a_disk_that_is_full_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: list[str]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cli, "_run", full)
    monkeypatch.setattr(cli, "_silence_stdout", lambda: None)
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().err == "wsmon: what is printed cannot be written: No space left on device\n"


def test_other_failures_of_the_system_are_no_matter_of_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: list[str]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

    monkeypatch.setattr(cli, "_run", lost)
    with pytest.raises(OSError, match="/some/file"):
        cli.main(["status"])
