"""`wsmon replay` without a dashboard, and `wsmon report`."""

import dataclasses
import json
import math
from datetime import UTC, timedelta, timezone
from functools import cache
from pathlib import Path

import pytest

from tests.support.facts import T0
from tests.support.tale import tale
from tests.support.taping import taped
from wsmon.errors import ConfigError, UsageError
from wsmon.model.inputs import Happened, Marked
from wsmon.modes import replay, report
from wsmon.modes.replay import moment
from wsmon.protocol.codec import event_object
from wsmon.protocol.frames import EventFrame, JsonObject
from wsmon.recording.files import open_recording
from wsmon.recording.tape import Tape

ITEMS = tale(11, seconds=20, failover_every=0.12)


@cache
def data() -> bytes:
    return taped(ITEMS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.wsr"
    path.write_bytes(data())
    return path


def test_every_event_is_printed_once_in_the_order_of_time(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.run([str(file), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    events = [line for line in lines if line["kind"] != "marker"]
    expected = {json.dumps(event_object(item.event)) for item in ITEMS if isinstance(item, Happened)}
    assert {json.dumps(line) for line in events} == expected
    assert len(events) == len(expected)
    markers = [line for line in lines if line["kind"] == "marker"]
    assert [(line["at"], line["text"]) for line in markers] == [
        (item.at, item.text) for item in ITEMS if isinstance(item, Marked)
    ]


def test_plain_lines_say_what_happened(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.run([str(file), "--plain"]) == 0
    out, err = capsys.readouterr()
    assert "was killed by SIGKILL" in out
    assert "marker     note" in out
    assert err == ""


def test_lines_begin_where_they_are_told_to(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.run([str(file), "--json", "--at", "+10"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines
    assert min(line["at"] for line in lines) >= T0 + 10


def test_damage_is_told_beside_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.wsr").write_bytes(data()[:-100])
    assert replay.run([str(tmp_path / "cut.wsr"), "--plain"]) == 0
    assert "It was cut off at" in capsys.readouterr().err
    assert replay.run([str(tmp_path / "cut.wsr"), "--json"]) == 0
    *others, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert last["kind"] == "damage"
    assert "It was cut off at" in last["text"]
    assert all(other["kind"] != "damage" and other["at"] <= last["at"] for other in others)
    assert others


def test_wrong_use_is_refused(file: Path) -> None:
    for arguments in ([], [str(file), "--speed", "0"], [str(file), "--speed", "101"], [str(file), "--nothing"]):
        with pytest.raises(UsageError):
            replay.run(arguments)
    with pytest.raises(UsageError):
        report.run([])
    with pytest.raises(ConfigError, match="No such file"):
        replay.run([str(file) + "x"])
    with pytest.raises(ConfigError, match="No such file"):
        report.run([str(file) + "x"])


# 1,700,000,000 is 2023-11-14 22:13:20 UTC.


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("+0", 0),
        ("+90", 90),
        ("+90s", 90),
        ("+1.5m", 90),
        ("+1h", 3_600),
        ("22:13", 0),
        ("22:13:30", 10),
        ("22:14", 40),
        ("22:13:20.5", 0.5),
        ("0:00:10", 6_410),
        ("1700000030.25", 30.25),
        ("2023-11-14T22:14:20", 60),
        ("2023-11-14T23:14:20+01:00", 60),
    ],
)
def test_a_moment_can_be_said_in_many_ways(text: str, offset: float) -> None:
    assert moment(text, T0, T0 + 7_200, zone=UTC) == pytest.approx(T0 + offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "25:00",
        "+",
        "22:13:19",
        "21:00",
        "+3h",
        "5",
        "2023-11-13",
        "nan",
        "1e300",
        "0001-01-01",
        "9999-12-31",
    ],
)
@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))])
def test_a_moment_outside_the_recording_is_refused(text: str, zone: timezone) -> None:
    with pytest.raises(UsageError):
        moment(text, T0, T0 + 7_200, zone=zone)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59:59"])
def test_a_moment_at_the_edge_of_the_calendar_is_refused_in_local_time_too(text: str) -> None:
    with pytest.raises(UsageError):
        moment(text, T0, T0 + 7_200)


def test_events_that_say_what_json_cannot_are_printed_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields: JsonObject = {"far": math.inf, "deep": [{"far": -math.inf}], "near": 1.5}
    event = EventFrame(source="s", boot=1, seq=1, at=T0, kind="odd", fields=fields)
    path = tmp_path / "a.wsr"
    path.write_bytes(taped([Happened(event=event, heard_at=T0)]))
    assert replay.run([str(path), "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert (document["far"], document["deep"], document["near"]) == (None, [{"far": None}], 1.5)


def test_a_report_lists_the_incidents(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run([str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    told = report.report_of(open_recording(file), file=str(file))
    assert told.incidents
    assert document["cluster"] == "demo"
    assert document["damage"] == ""
    assert [incident["fault"] for incident in document["incidents"]] == ["kill"] * len(told.incidents)
    assert len(document["removals"]) == len(told.removals)
    assert document["clients_lost"] == told.clients_lost > 0

    assert report.run([str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("demo: 2023-11-14 22:13:20 UTC, ")
    assert lines[2].split()[:3] == ["incident", "at", "(UTC)"]
    assert sum("kill n" in line for line in lines) == len(told.incidents)
    assert lines[-1].startswith(f"{len(told.incidents)} incidents, ")

    assert report.run([str(file), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("## demo: ")
    assert sum(line.startswith("| ") for line in lines) == 1 + len(told.incidents)


def test_a_report_of_a_calm_time_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calm.wsr"
    path.write_bytes(taped(tale(1, seconds=5, failover_every=0), end=False))
    assert report.run([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Nothing went wrong."
    assert lines[1].startswith("It was cut off at ")
    assert report.run([str(path), "--markdown"]) == 0
    assert "It was cut off at" in capsys.readouterr().out


def test_what_a_recording_says_of_its_own_end_does_not_reach_the_terminal_raw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = Tape("demo")
    hostile = "full \x1b]0;owned\x07\x1b[2J"
    path = tmp_path / "a.wsr"
    path.write_bytes(taped(ITEMS[:300], tape=tape, end=False) + tape.ending(T0, reason=hostile))
    assert hostile in open_recording(path).damage
    for run, arguments in ((replay.run, ["--plain"]), (report.run, []), (report.run, ["--markdown"])):
        assert run([str(path), *arguments]) == 0
        out, err = capsys.readouterr()
        assert "It ended early: full" in out + err
        assert all(line.isprintable() for line in (out + err).splitlines())


def test_events_of_one_moment_are_printed_as_they_were_numbered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [item for item in ITEMS if isinstance(item, Happened)]
    some = events[0]
    numbers = [9, 10, 11]
    told = [dataclasses.replace(some, event=dataclasses.replace(some.event, seq=number)) for number in numbers]
    path = tmp_path / "a.wsr"
    path.write_bytes(taped(told))
    assert replay.run([str(path), "--json"]) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == numbers
