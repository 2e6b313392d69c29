"""Lines of text: exact widths, safe characters, and which cells differ."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.frames import HOSTILE
from wsmon.ui.render.lines import (
    BAD,
    GOOD,
    MUTED,
    NEAR,
    TEXT,
    Line,
    Run,
    ascii_only,
    changed,
    clip,
    fit,
    fitted,
    joined,
    length_of,
    safe,
    spread,
    text_of,
    title,
)

TEXTS = st.text(max_size=40) | st.sampled_from(["日本語", "e\u0301e\u0301", "👩\u200d👩\u200d👧", "\ufe0f", HOSTILE])


@given(TEXTS, st.integers(0, 30), st.booleans())
def test_fit_takes_exactly_its_width_whatever_the_text(text: str, width: int, right: bool) -> None:
    assert cell_len(fit(text, width, right=right)) == width


@given(TEXTS)
def test_nothing_unprintable_reaches_the_terminal(text: str) -> None:
    assert safe(text).isprintable()


@given(TEXTS, st.integers(0, 30))
def test_clip_takes_at_most_its_width(text: str, width: int) -> None:
    assert cell_len(clip(text, width)) <= width


@given(st.lists(TEXTS.map(safe), max_size=5), st.integers(0, 40))
def test_fitted_lines_have_exactly_their_width(texts: list[str], width: int) -> None:
    assert length_of(fitted((Run(text, TEXT) for text in texts), width)) == width


@given(TEXTS.map(safe), TEXTS.map(safe), st.integers(0, 60))
def test_spread_lines_have_exactly_their_width(left: str, right: str, width: int) -> None:
    assert length_of(spread((Run(left, TEXT),), (Run(right, TEXT),), width)) == width


def test_a_cut_text_says_so() -> None:
    assert fit("quarantined", 6) == "quara…"
    assert fit("日本語", 4) == "日 …"
    assert fit("12", 5, right=True) == "   12"


def test_parts_that_do_not_fit_are_left_out() -> None:
    parts = [(Run("one", TEXT),), (Run("two", TEXT),), (Run("three", TEXT),)]
    assert text_of(joined(parts, 9)) == "one · two"
    assert text_of(joined(parts, 2)) == "o…"
    assert joined([], 9) == ()


def test_a_title_is_a_rule_with_name_and_facts() -> None:
    line = title("events", (Run("3", TEXT),), 24, right=(Run("lost", BAD),))
    assert text_of(line) == "─ events  3 ───── lost ─"


def test_equal_lines_have_no_changed_cells() -> None:
    line: Line = (Run("abc", TEXT), Run("def", GOOD))
    assert changed(line, tuple(line)) == ()


def test_only_the_cells_that_differ_are_changed() -> None:
    old: Line = (Run("clock 12:00:01", MUTED), Run("  ok", GOOD))
    new: Line = (Run("clock 12:00:02", MUTED), Run("  ok", GOOD))
    assert changed(old, new) == ((13, 14),)


def test_another_ink_is_a_change() -> None:
    assert changed((Run("ab", TEXT), Run("c", GOOD)), (Run("ab", TEXT), Run("c", BAD))) == ((2, 3),)


def test_changes_close_together_are_one_stretch_and_those_apart_are_not() -> None:
    blank = "." * 60
    near = "x" + "." * (NEAR - 1) + "x" + "." * (59 - NEAR)
    far = "x" + "." * 40 + "x" + "." * 18
    assert changed((Run(blank, TEXT),), (Run(near, TEXT),)) == ((0, NEAR + 1),)
    assert changed((Run(blank, TEXT),), (Run(far, TEXT),)) == ((0, 1), (41, 42))


def test_wide_characters_change_with_all_their_cells() -> None:
    old: Line = (Run("日本", TEXT), Run("ab", TEXT))
    new: Line = (Run("日語", TEXT), Run("ab", TEXT))
    assert changed(old, new) == ((0, 4),)


RUNS = st.lists(st.builds(Run, st.text("ab─日", max_size=6), st.sampled_from([TEXT, MUTED, GOOD])), max_size=6)


@given(RUNS, RUNS, RUNS, RUNS)
def test_what_stands_between_equal_runs_is_compared_cell_by_cell(
    before: list[Run], old: list[Run], new: list[Run], behind: list[Run]
) -> None:
    def cells(line: Line) -> list[object]:
        return [cell for run in line for cell in [(run.text, run.ink)] * cell_len(run.text)]

    left, right = fitted((*before, *old, *behind), 60), fitted((*before, *new, *behind), 60)
    # Runs of one cell each, so that nothing can be passed over as a whole.
    apart = [
        tuple(
            Run(text, run.ink)
            for run in line
            for text in ([run.text] if len(run.text) != cell_len(run.text) else run.text)
        )
        for line in (left, right)
    ]
    spans = changed(left, right)
    covered = {x for start, end in spans for x in range(start, end)}
    for x, (one, other) in enumerate(zip(cells(apart[0]), cells(apart[1]), strict=True)):
        assert x in covered or one == other
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
    assert bool(spans) == (cells(apart[0]) != cells(apart[1]))


@given(st.text("ab─", max_size=20), st.text("ab─", max_size=20))
def test_what_is_outside_the_changed_stretches_is_equal(one: str, two: str) -> None:
    old, new = fitted((Run(one, TEXT),), 20), fitted((Run(two, TEXT),), 20)
    covered = {x for start, end in changed(old, new) for x in range(start, end)}
    for x, (before, after) in enumerate(zip(text_of(old), text_of(new), strict=True)):
        assert x in covered or before == after


@given(TEXTS.map(safe))
def test_ascii_takes_as_many_cells(text: str) -> None:
    assert ascii_only(text).isascii()
    assert len(ascii_only(text)) == cell_len(text)


@pytest.mark.parametrize("glyph", "●◐○▽▪◌◔◫·─━╍▶✗✓│▌…–Δ→×▁█↑↓\N{MINUS SIGN}\N{BOX DRAWINGS LIGHT DIAGONAL CROSS}")
def test_every_glyph_has_a_stand_in(glyph: str) -> None:
    assert ascii_only(glyph) != "?"
