"""The list of incidents and the scorecard, drawn."""

from dataclasses import replace
from math import isfinite

import pytest

from tests.support.frames import AT, HOSTILE
from wsmon.ui.render import incidents
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import BAD, GOOD, MINUS, WARNING, Ink, Line, Tone, ascii_only, length_of, text_of
from wsmon.ui.render.table import layout, line
from wsmon.views.incidents_frame import Card, Goal, IncidentRow, Stage, Verdict

ROW = IncidentRow(
    key="supervisor/1/7",
    number=2,
    at=AT,
    what="kill n2",
    node="n2",
    found_ms=850.0,
    clients=20,
    back_p95_ms=1_900.0,
    lost=0,
    verdict=Verdict.GOOD,
)
CARD = Card(
    row=ROW,
    stages=(
        Stage("first miss", None),
        Stage("suspect", 50.0),
        Stage("removed", 850.0),
        Stage("cut", 30.0),
        Stage("50 % back", 600.0),
        Stage("95 % back", 1_900.0),
        Stage("all back", 2_400.0),
    ),
    window_ms=(2_200.0, 3_200.0),
    lasted_ms=5_000.0,
    goals=(
        Goal(name="removed", wanted="≤ 3.2 s", got="0.85 s", met=True),
        Goal(name="back", wanted="all", got="all", met=True),
        Goal(name="lost", wanted="0", got="0", met=True),
        Goal(name="duplicated", wanted="0", got="–", met=None),
    ),
)
BEFORE = replace(
    CARD,
    row=replace(ROW, key="supervisor/1/3", number=1, what="kill n1", at=AT - 100, verdict=Verdict.BAD, lost=3),
    stages=(
        Stage("first miss", 90.0),
        Stage("suspect", 50.4),
        Stage("removed", 820.0),
        Stage("cut", 30.0),
        Stage("50 % back", 500.0),
        Stage("95 % back", 1_000.0),
        Stage("all back", 4_000.0),
    ),
    goals=(Goal(name="lost", wanted="0", got="3", met=False),),
)

AT_60 = """\
─ scorecard  #2 kill n2 14:13:20  ✓ as promised ────────────
  first miss        –
  suspect        50ms ●
  removed       850ms ──────●         ░░░░░░░░
  cut            30ms ●
  50 % back     600ms ────●
  95 % back      1.9s ──────────────●
  all back       2.4s ─────────────────●
                      0               2.5 s             5 s
  20 clients · lasted 5 s
  ✓ removed    0.85 s       wanted ≤ 3.2 s
  ✓ back       all          wanted all
  ✓ lost       0            wanted 0
  · duplicated –            wanted 0"""
AT_80 = """\
─ scorecard  #2 kill n2 14:13:20  ✓ as promised ────────────────────────────────
  first miss        –
  suspect        50ms      = ●
  removed       850ms  +30ms ────────●             ░░░░░░░░░░░
  cut            30ms      = ●
  50 % back     600ms +100ms ──────●
  95 % back      1.9s +900ms ───────────────────●
  all back       2.4s  -1.6s ────────────────────────●
                             0                      2.5 s                   5 s
  20 clients · lasted 5 s
  ✓ removed    0.85 s       wanted ≤ 3.2 s
  ✓ back       all          wanted all
  ✓ lost       0            wanted 0
  · duplicated –            wanted 0
  last run: #1 kill n1 14:11:40"""
AT_120 = """\
─ scorecard  #2 kill n2 14:13:20  ✓ as promised ───────────────────────────────────────────────────────────── 5 more ↓ ─
  #2 kill n2 14:13:20                                      │   #1 kill n1 14:11:40
  first miss        –                                      │   first miss     90ms        ●
  suspect        50ms ●                                    │   suspect        50ms      = ●
  removed       850ms ─────●         ░░░░░░░░              │   removed       820ms  -30ms ────●       ░░░░░░░
  cut            30ms ●                                    │   cut            30ms      = ●
  50 % back     600ms ────●                                │   50 % back     500ms -100ms ──●
  95 % back      1.9s ─────────────●                       │   95 % back      1.0s -900ms ─────●
  all back       2.4s ────────────────●                    │   all back       4.0s  +1.6s ───────────────────────●
                      0              2.5 s            5 s  │                              0           2.5 s         5 s"""


def drawn(lines: tuple[Line, ...]) -> str:
    return "\n".join(text_of(one).rstrip() for one in lines).replace(MINUS, "-")


def inks(lines: tuple[Line, ...], text: str) -> set[Ink]:
    return {run.ink for one in lines for run in one if text in run.text}


def test_the_card_at_60_columns() -> None:
    assert drawn(incidents.pane(CARD, None, 60, 20, offset_s=0)) == AT_60


def test_the_card_at_80_columns_beside_the_last_run() -> None:
    assert drawn(incidents.pane(CARD, BEFORE, 80, 20, offset_s=0)) == AT_80


def test_two_cards_at_120_columns() -> None:
    lines = incidents.pane(CARD, BEFORE, 120, 10, chosen=True, offset_s=0)
    assert drawn(lines) == AT_120


def test_200_columns_show_the_same_in_finer_steps() -> None:
    lines = incidents.pane(CARD, None, 200, 20)
    removed = text_of(lines[3])
    cells = 200 - 2 - 12 - 1 - 6 - 1 - 1
    left = 199 - cells
    assert removed.index("●") == left + int(850 / 5_000 * cells)
    assert (removed.index("░"), removed.rindex("░")) == (
        left + int(2_200 / 5_000 * cells),
        left + int(3_200 / 5_000 * cells),
    )


@pytest.mark.parametrize("width", [1, 12, 30, 60, 80, 120, 200])
@pytest.mark.parametrize("chosen", [False, True])
def test_every_line_fills_the_width(width: int, *, chosen: bool) -> None:
    for lines in (
        incidents.pane(CARD, BEFORE, width, 30, chosen=chosen),
        incidents.pane(None, None, width, 30),
        (incidents.pane(replace(CARD, parts=("n1-redis", "checker-n1"), moved=3), None, width, 30)),
    ):
        assert {length_of(one) for one in lines} == {width}


def test_no_more_lines_than_there_is_room_and_the_rest_can_be_scrolled_to() -> None:
    assert incidents.pane(CARD, None, 80, 0) == ()
    assert len(incidents.pane(CARD, None, 80, 5)) == 5
    total = incidents.lines_in(CARD, None, 80, 5, chosen=False)
    assert text_of(incidents.pane(CARD, None, 80, 5)[0]).endswith(f" {total - 4} more ↓ ─")
    last = incidents.pane(CARD, None, 80, 5, top=total - 4)
    assert "more" not in text_of(last[0])
    assert "duplicated" in text_of(last[-1])


@pytest.mark.parametrize("chosen", [False, True])
def test_the_last_run_is_drawn_below_where_both_have_room(*, chosen: bool) -> None:
    need = incidents.lines_in(CARD, BEFORE, 80, 100, chosen=chosen) + 1
    whole = [text_of(line) for line in incidents.pane(CARD, BEFORE, 80, need, chosen=chosen)]
    assert len(whole) == need
    assert sum(line.startswith("  all back ") for line in whole) == 2
    # Both have one scale, so that equal times end at the same place.
    rulers = [line for line in whole if line.rstrip().endswith(" s") and line.strip().startswith("0")]
    assert len(rulers) == 2
    assert rulers[0] == rulers[1]
    tight = [text_of(line) for line in incidents.pane(CARD, BEFORE, 80, need - 1, chosen=chosen)]
    assert ("against" if chosen else "last run:") in tight[-1]
    assert incidents.lines_in(CARD, BEFORE, 80, need - 1, chosen=chosen) == len(tight) - 1 < need - 2


def test_the_hint_of_an_empty_list_fits_the_narrowest_screen() -> None:
    assert len(incidents.EMPTY) <= 58


def test_what_went_wrong_is_the_only_thing_in_red() -> None:
    good = incidents.pane(CARD, None, 80, 20)
    assert not [run for one in good for run in one if run.ink.tone in {Tone.BAD, Tone.WARNING}]
    bad = incidents.pane(BEFORE, None, 80, 20)
    assert inks(bad, "✗") == {Ink(Tone.BAD, bold=True)}
    assert "3" in "".join(run.text for one in bad for run in one if run.ink == Ink(Tone.BAD, bold=True))


def test_a_difference_gets_an_accent_only_if_it_matters() -> None:
    lines = incidents.pane(CARD, BEFORE, 80, 20)
    assert inks(lines, "+900") == {WARNING}
    assert inks(lines, f"{MINUS}1.6s") == {GOOD}
    assert inks(lines, "+30").isdisjoint({WARNING, GOOD, BAD})


def test_an_ascii_terminal_gets_ascii() -> None:
    text = drawn(incidents.pane(CARD, None, 60, 20, glyphs=Glyphs.ASCII)[1:9])
    assert text.isascii() or ascii_only(text).count("?") == 0
    assert "------*         ::::::::" in text


@pytest.mark.parametrize("most", [0.0, 1.0, 1e30, float("inf"), float("nan")])
def test_any_time_has_a_scale(most: float) -> None:
    card = replace(CARD, stages=(Stage("removed", most),), window_ms=None)
    assert incidents.scale_of([card]) >= (min(most, 1e12) if isfinite(most) else 0)
    assert {length_of(one) for one in incidents.pane(card, None, 80, 20)} == {80}


def test_an_incident_that_broke_several_links_names_them() -> None:
    card = replace(CARD, parts=("n1-redis", "checker-n1"))
    assert "  broken       n1-redis, checker-n1" in drawn(incidents.pane(card, None, 80, 20))


def test_a_row_of_the_list() -> None:
    plan = layout(incidents.columns(lambda: 0.0), 80)
    text = text_of(line(ROW, plan, 80))
    assert text.split() == ["2", "14:13:20", "kill", "n2", "✓", "850ms", "20", "1.9s", "0"]
    narrow = layout(incidents.columns(lambda: 0.0), 60)
    assert length_of(line(replace(ROW, what=HOSTILE), narrow, 60)) == 60
    unknown = replace(ROW, found_ms=None, back_p95_ms=None, lost=None, verdict=Verdict.OPEN)
    assert text_of(line(unknown, plan, 80)).split()[4:] == ["◐", "–", "20", "–", "–"]
    assert incidents.in_trouble(unknown)
    assert not incidents.in_trouble(ROW)
