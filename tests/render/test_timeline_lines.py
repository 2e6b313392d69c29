"""The reconnect timeline as text."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.support import frames
from wsmon.ui.render import timeline
from wsmon.ui.render.lines import CROSS, Tone, length_of, text_of
from wsmon.views.frame import Lane, Resumes, Segment, SegmentKind, Timeline

AT = frames.AT
HALF = timeline.Axis(start=round(AT / 0.5) - 30, step_s=0.5, cells=41, now=30)


def drawn(*segments: Segment) -> str:
    return text_of(timeline.cells_of(segments, HALF))


def test_a_way_back_from_left_to_right() -> None:
    text = drawn(
        Segment(SegmentKind.CONNECTED, AT - 99, AT - 5),
        Segment(SegmentKind.LOST, AT - 5, AT - 5),
        Segment(SegmentKind.WAITED, AT - 5, AT - 3),
        Segment(SegmentKind.FAILED, AT - 3, AT - 2.5),
        Segment(SegmentKind.WAITED, AT - 2.5, AT),
        Segment(SegmentKind.PLANNED, AT, AT + 2),
    )
    assert text == "─" * 20 + CROSS + "━━━▶✗━━━━╍╍╍╍╍".ljust(20)


def test_a_wait_behind_looks_different_from_one_ahead() -> None:
    line = timeline.cells_of((Segment(SegmentKind.WAITED, AT - 2, AT), Segment(SegmentKind.PLANNED, AT, AT + 2)), HALF)
    tones = {run.text[0]: run.ink.tone for run in line}
    assert tones["━"] is Tone.WARNING
    assert tones["╍"] is Tone.MUTED


def test_points_in_one_cell_stand_side_by_side() -> None:
    text = drawn(Segment(SegmentKind.LOST, AT - 5, AT - 5), Segment(SegmentKind.RESUMED, AT - 4.9, AT - 4.9))
    assert CROSS + "●" in text


def test_nothing_is_drawn_into_the_future_but_plans() -> None:
    text = drawn(Segment(SegmentKind.CONNECTED, AT - 99, AT + 99), Segment(SegmentKind.WAITED, AT - 1, AT + 99))
    assert text[31:].strip() == ""


def test_the_present_is_marked_where_nothing_else_is() -> None:
    assert drawn() == " " * 30 + "│" + " " * 10


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_times_that_are_none_are_left_out(at: float) -> None:
    assert drawn(Segment(SegmentKind.WAITED, at, AT)) == drawn()


def test_the_picture_moves_by_whole_cells() -> None:
    here = timeline.axis(AT + 0.01, 40)
    assert timeline.axis(AT + here.step_s * 0.9, 40) == here
    assert timeline.axis(AT + here.step_s * 1.1, 40) == replace(here, start=here.start + 1)


@pytest.mark.parametrize("cells", range(1, 200, 7))
def test_every_axis_has_its_present_in_sight(cells: int) -> None:
    across = timeline.axis(AT, cells)
    assert across.cell(AT) == across.now
    assert 0 <= across.now < cells or cells == 1


@pytest.mark.parametrize("width", [60, 66, 72, 80, 120, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("name", ["healthy", "removed", "harmed", "hostile"])
def test_the_pane_fits_its_place(name: str, width: int, height: int) -> None:
    lines = timeline.pane(frames.EXAMPLES[name]().timeline, width, height, top=0, focused=False)
    assert len(lines) <= height
    assert all(length_of(line) == width for line in lines)
    assert all(text_of(line).isprintable() for line in lines)


def test_the_head_counts_and_shows_the_storm_ahead() -> None:
    text = text_of(timeline.pane(frames.removed().timeline, 100, 8, top=0, focused=False)[0])
    assert text.startswith("─ reconnects  7 reconnecting · 13 back · median 0.52 s · slowest 5.98 s ─")
    assert text.endswith(" planned █▆▃▃ ─")


def test_lanes_out_of_sight_are_counted() -> None:
    shown = replace(frames.removed().timeline, hidden=5)
    lines = timeline.pane(shown, 80, 6, top=3, focused=False)
    assert text_of(lines[1]).startswith(" c03 ")
    assert text_of(lines[-1]).endswith("18 more ↓ ")


def test_the_words_of_a_lane_are_shown_where_there_is_room() -> None:
    assert "n2 → away 4.3 s, try 3 in" in text_of(
        timeline.pane(frames.removed().timeline, 110, 4, top=0, focused=False)[1]
    )
    halved = text_of(timeline.pane(frames.removed().timeline, 80, 4, top=0, focused=False)[1])
    assert halved.endswith("n2 → away 4.3 s   ")
    assert "away" not in text_of(timeline.pane(frames.removed().timeline, 60, 4, top=0, focused=False)[1])


def test_the_ruler_names_the_present_and_the_seconds_around_it() -> None:
    assert text_of(timeline.ruler(HALF, 60)).split() == [
        "\N{MINUS SIGN}15",
        "s",
        "\N{MINUS SIGN}10",
        "s",
        "\N{MINUS SIGN}5",
        "s",
        "now",
        "+5",
        "s",
    ]


def test_nobody_away_is_one_quiet_line() -> None:
    lines = timeline.pane(Timeline(now_at=AT), 80, 9, top=0, focused=False)
    assert [text_of(line).strip() for line in lines[1:]] == [timeline.QUIET]


def test_sparks_are_relative_to_the_largest() -> None:
    assert timeline.spark((0, 1, 4, 8)) == " ▁▄█"
    assert timeline.spark((0, 0)) == ""


def test_a_lane_is_drawn_with_its_label() -> None:
    row = Lane(client="c1", away=True, node="n1", attempt=1, summary="", segments=(), lost_at=AT)
    assert text_of(timeline.lane(row, HALF, 60)).startswith(" c1     ")


def test_a_long_absence_makes_the_cells_coarser() -> None:
    assert timeline.axis(AT, 40).step_s < timeline.axis(AT, 40, past_s=30.0).step_s
    far = timeline.axis(AT, 40, past_s=1e9)
    assert far.now * far.step_s >= timeline.PAST_MOST_S


def test_unknown_clients_are_not_called_connected() -> None:
    lines = timeline.pane(Timeline(now_at=AT), 80, 9, top=0, focused=False, quiet=timeline.UNKNOWN)
    assert "connected" not in text_of(lines[1])


def test_the_head_tells_how_clients_ever_came_back() -> None:
    quiet = frames.harmed().timeline
    for width in (66, 80):
        text = text_of(timeline.pane(quiet, width, 8, top=0, focused=False)[0])
        assert text.startswith("─ reconnects  so far 40 from memory, 3 from log, 5 anew")
    head = timeline.pane(quiet, 80, 8, top=0, focused=False)[0]
    assert next(run.ink.tone for run in head if run.text == "5 anew") is Tone.WARNING
    text = text_of(timeline.pane(frames.removed().timeline, 150, 8, top=0, focused=False)[0])
    assert "slowest 5.98 s · so far 12 from memory, 1 from log · p50 0.52 s, p99 5.98 s" in text


def test_nothing_is_said_of_ways_back_that_nobody_took() -> None:
    assert timeline.ways(Resumes(ring=0, log=0, resync=0)) == ()
    assert text_of(timeline.ways(Resumes(p99_ms=20.0))[0]) == "p50 –, p99 0.02 s"


def test_the_selected_lane_is_marked() -> None:
    shown = frames.removed().timeline
    lines = timeline.pane(shown, 80, 6, top=0, focused=True, selected="c01")
    assert [text_of(line)[0] for line in lines[1:-1]] == [" ", "▌", " ", " "]
    assert all(length_of(line) == 80 for line in lines)


def test_as_much_of_the_past_is_shown_as_is_asked_for() -> None:
    for past_s in timeline.PASTS_S:
        across = timeline.axis(AT, 60, past_s=past_s, asked=True)
        assert across.now * across.step_s >= past_s
    assert timeline.axis(AT, 60, past_s=160.0, asked=True).step_s > timeline.axis(AT, 60, past_s=160.0).step_s
    text = text_of(timeline.pane(frames.removed().timeline, 80, 6, top=0, focused=True, past_s=40.0)[-1])
    assert "40 s" in text


def test_the_head_says_what_filter_and_order_are_on() -> None:
    lines = timeline.pane(frames.removed().timeline, 120, 6, top=0, focused=True, note="3 of 20 hold “n1”")
    assert text_of(lines[0]).startswith("─ reconnects  3 of 20 hold “n1” · 7 reconnecting · 13 back ")


def test_a_hint_stands_under_the_quiet_line() -> None:
    lines = timeline.pane(Timeline(now_at=AT), 80, 9, top=0, focused=False, hint="j chooses")
    assert [text_of(line).strip() for line in lines[1:]] == [timeline.QUIET, "j chooses"]


def test_the_present_is_named_where_no_room_is_left_beside_the_lanes() -> None:
    shown = replace(frames.removed().timeline, hidden=5)
    feet = [text_of(timeline.pane(shown, 60, 6, top=3, focused=False, past_s=s)[-1]) for s in timeline.PASTS_S]
    assert all("now" in foot for foot in feet)
    assert feet[0].endswith("18 more ↓ ")
    assert feet[-1].startswith(" +18 ↓  ")
    many = replace(shown, hidden=9_000)
    assert text_of(timeline.pane(many, 60, 6, top=0, focused=False, past_s=160.0)[-1]).startswith(" +9016  ")


@pytest.mark.parametrize("step_s", timeline.STEPS_S)
def test_the_words_of_the_ruler_stand_at_even_distances(step_s: float) -> None:
    text = text_of(timeline.ruler(timeline.Axis(0, step_s, 100, 60), 120)).replace("now", "0 s")
    places = [found.start() for found in re.finditer(r"\d+ s", text)]
    named = [int(text[place:].split()[0]) for place in places]
    past = named[: named.index(0) + 1]
    assert len(past) >= 3
    assert len({before - after for before, after in pairwise(past)}) == 1


@pytest.mark.parametrize("below", range(0, 30, 3))
def test_the_ruler_has_whole_words_only(below: int) -> None:
    assert "…" not in text_of(timeline.ruler(HALF, 60 - below))
