"""The storm radar as text."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.protocol.states import NodeState
from wsmon.ui.render import storm
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import Tone, length_of, text_of
from wsmon.views.detail_frame import Measure, NodeDetail, Strip
from wsmon.views.frame import Timeline

PLANNED = (8, 4, 2, 0, 0, 1, *(0,) * 24)
STORM = Timeline(now_at=frames.AT, away=15, planned=PLANNED)
QUIET = Timeline(now_at=frames.AT, planned=(0,) * 30)
PAST = NodeDetail(
    node="",
    state=NodeState.ONLINE,
    strips=(
        Strip(label="connected", measure=Measure.COUNT, now=60.0, values=(60.0,) * 120),
        Strip(label="back/s", measure=Measure.RATE, now=None, values=()),
    ),
    strips_s=240.0,
)


def drawn(
    shown: Timeline, *, capacity: float | None = None, past: NodeDetail | None = None, width: int = 80, height: int = 5
) -> list[str]:
    lines = storm.pane(shown, capacity, past, width, height, glyphs=Glyphs.BLOCK)
    return [text_of(line).rstrip() for line in lines]


def test_each_second_is_a_bar_and_the_peak_is_named() -> None:
    assert drawn(STORM) == [
        "─ storm ahead  15 planned in 30 s · peak 8/s now " + "─" * 31,
        "     8 │█",
        "       │█ ▄",
        "     0 │█ █ ▆     ▃",
        "        now       +5 s      +10 s     +15 s     +20 s     +25 s     +30 s",
    ]


def test_a_capacity_that_is_near_is_a_line_and_what_is_above_it_is_red() -> None:
    text = drawn(STORM, capacity=4)
    assert text[0].startswith("─ storm ahead  15 planned in 30 s · peak 8/s now · capacity 4/s ─")
    assert text[2].startswith("       │█─▄─────")
    lines = storm.pane(STORM, 4, None, 80, 5, glyphs=Glyphs.BLOCK)
    bad = [run.text.strip() for line in lines for run in line if run.ink.tone is Tone.BAD]
    assert bad == ["8/s", "█", "█", "█"]


def test_a_capacity_that_is_far_away_is_a_number_only() -> None:
    text = drawn(STORM, capacity=800)
    assert "capacity 800/s" in text[0]
    assert all("──" not in line for line in text[1:])
    assert all(
        run.ink.tone is not Tone.BAD
        for line in storm.pane(STORM, 800, None, 80, 5, glyphs=Glyphs.BLOCK)
        for run in line
    )


def test_a_capacity_that_nobody_tells_is_not_shown() -> None:
    assert "capacity" not in " ".join(drawn(STORM))


def test_no_storm_is_said_in_words() -> None:
    assert drawn(QUIET, capacity=800)[0].startswith(
        "─ storm ahead  no attempt is planned; nobody is away · capacity 800/s"
    )
    assert "nobody" not in drawn(replace(QUIET, away=2))[0]


def test_the_last_minutes_stand_beside_it_or_below() -> None:
    beside = drawn(STORM, past=PAST, width=200)
    assert len(beside) == 5
    assert beside[1].split("│")[1].split()[-2:] == ["last", "2m"]
    assert "connected     60" in beside[2]
    below = drawn(STORM, past=PAST, height=8)
    assert [line.split()[0] for line in below[-3:]] == ["last", "connected", "back/s"]
    assert len(drawn(STORM, past=PAST, height=5)) == 5


@pytest.mark.parametrize("width", [1, 20, 60, 80, 112, 120, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("glyphs", Glyphs)
@pytest.mark.parametrize("planned", [(), (0,) * 30, PLANNED, (10**9,) * 30])
def test_it_fits_its_place(width: int, height: int, glyphs: Glyphs, planned: tuple[int, ...]) -> None:
    for capacity in (None, 0.0, 3.0, 1e12):
        lines = storm.pane(replace(STORM, planned=planned), capacity, PAST, width, height, glyphs=glyphs)
        assert len(lines) <= height
        assert all(length_of(line) == width for line in lines)
