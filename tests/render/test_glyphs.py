"""Graphs: heights, widths, bands, and what the terminal is thought to have."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from wsmon.ui.render import lines
from wsmon.ui.render.glyphs import Glyphs, bar, chosen, detect, grouped, spark, strip
from wsmon.ui.render.lines import ACCENT, BAD, WARNING, Run, length_of

ALL = pytest.mark.parametrize("glyphs", list(Glyphs))


def test_a_rising_line_climbs_through_all_steps() -> None:
    assert spark(range(9), 9, glyphs=Glyphs.BLOCK) == (" ▁▂▃▄▅▆▇█",)
    assert spark(range(5), 5, glyphs=Glyphs.ASCII) == (" .:|#",)
    assert spark(range(8), 4, glyphs=Glyphs.BRAILLE, most=4) == ("⢀⣴⣿⣿",)


def test_two_lines_have_twice_the_steps() -> None:
    assert spark(range(1, 9), 8, 2, Glyphs.ASCII) == ("    .:|#", ".:|#####")
    assert spark((1, 16), 2, 2, Glyphs.BLOCK) == (" █", "▁█")


def test_the_newest_stands_at_the_right_end() -> None:
    assert spark((4,), 3, glyphs=Glyphs.ASCII) == ("  #",)
    assert spark((9, 9, 9, 1, 4), 2, glyphs=Glyphs.ASCII) == (".#",)
    assert spark((4,), 2, glyphs=Glyphs.BRAILLE) == (" ⢸",)


@ALL
def test_one_of_a_million_still_shows(glyphs: Glyphs) -> None:
    (text,) = spark((1, 1_000_000), 2 // glyphs.columns, glyphs=glyphs)
    assert text[0] not in {" ", spark((0, 1_000_000), 2 // glyphs.columns, glyphs=glyphs)[0][0]}


@ALL
def test_what_is_no_number_shows_nothing(glyphs: Glyphs) -> None:
    nothing = (math.nan, math.inf, -math.inf, -3.0, 0.0)
    assert spark(nothing, 4, glyphs=glyphs) == ("    ",)
    assert lines.text_of(strip(nothing, 4, glyphs)) == "    "
    assert spark((1.0,), 2, glyphs=glyphs, most=math.nan) == ("  ",)
    assert bar(math.nan, 5, glyphs) == bar(0, 5, glyphs)


@ALL
def test_without_room_there_is_no_graph(glyphs: Glyphs) -> None:
    assert spark((1, 2), 0, glyphs=glyphs) == ()
    assert spark((1, 2), 3, 0, glyphs) == ()
    assert strip((1, 2), 0, glyphs) == ()
    assert bar(0.5, -1, glyphs) == ""


@given(
    st.lists(st.floats(), max_size=80),
    st.integers(1, 30),
    st.integers(1, 4),
    st.sampled_from(Glyphs),
    st.one_of(st.none(), st.floats()),
)
def test_a_graph_fills_exactly_its_cells(
    values: list[float], width: int, height: int, glyphs: Glyphs, most: float | None
) -> None:
    drawn = spark(values, width, height, glyphs, most=most)
    assert [cell_len(line) for line in drawn] == [width] * height
    histogram = strip(values, width, glyphs, bands=((1.0, WARNING), (5.0, BAD)), most=most)
    assert length_of(histogram) == width
    # One style run per band: two neighbours never have the same ink.
    assert all(one.ink != other.ink for one, other in pairwise(histogram))
    if glyphs is Glyphs.ASCII:
        assert all(line.isascii() for line in (*drawn, lines.text_of(histogram)))


@given(st.floats(), st.integers(1, 40), st.sampled_from(Glyphs))
def test_a_bar_fills_exactly_its_cells(part: float, width: int, glyphs: Glyphs) -> None:
    assert cell_len(bar(part, width, glyphs)) == width


@ALL
def test_only_what_is_done_fills_the_bar(glyphs: Glyphs) -> None:
    assert bar(1.0, 8, glyphs) == bar(7.0, 8, glyphs)
    assert bar(0.999_999, 8, glyphs) != bar(1.0, 8, glyphs)
    assert bar(0.000_001, 8, glyphs) != bar(0.0, 8, glyphs)
    assert bar(-1.0, 8, glyphs) == bar(0.0, 8, glyphs)


def test_bars_look_like_this() -> None:
    assert bar(0.5, 4, Glyphs.BLOCK) == "██  "
    assert bar(0.55, 4, Glyphs.BLOCK) == "██▎ "
    assert bar(0.6, 4, Glyphs.BRAILLE) == "⣿⣿⡇⣀"
    assert bar(0.5, 4, Glyphs.ASCII) == "##.."


def test_bands_give_the_ink_and_one_run_each() -> None:
    drawn = strip((1, 1, 6, 7, 12, 1), 6, Glyphs.BLOCK, bands=((5, WARNING), (10, BAD)), most=8)
    assert drawn == (Run("▁▁", ACCENT), Run("▆▇", WARNING), Run("█", BAD), Run("▁", ACCENT))


def test_a_peak_survives_being_put_together() -> None:
    values = [0.0] * 1_000
    values[437] = 9.0
    drawn = strip(values, 10, Glyphs.BLOCK, bands=((9, BAD),))
    assert drawn == (Run("    ", ACCENT), Run("█", BAD), Run("     ", ACCENT))


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=200), st.integers(1, 50))
def test_grouping_keeps_the_largest_and_the_order(values: list[float], room: int) -> None:
    columns = grouped(values, room)
    assert len(columns) == min(room, len(values))
    assert max(columns) == max(values)
    assert set(columns) <= set(values)


@pytest.mark.parametrize(
    ("term", "encoding", "found"),
    [
        ("xterm-256color", "UTF-8", Glyphs.BRAILLE),
        ("tmux-256color", "utf8", Glyphs.BRAILLE),
        ("linux", "UTF-8", Glyphs.ASCII),
        ("vt100", "UTF-8", Glyphs.ASCII),
        ("", "UTF-8", Glyphs.ASCII),
        ("xterm", "ANSI_X3.4-1968", Glyphs.ASCII),
        ("xterm", "ISO-8859-1", Glyphs.ASCII),
    ],
)
def test_the_terminal_decides(term: str, encoding: str, found: Glyphs) -> None:
    assert detect({"TERM": term}, encoding) is found
    assert chosen("auto", {"TERM": term}, encoding) is found
    assert chosen("block", {"TERM": term}, encoding) is Glyphs.BLOCK
