"""Truth above verdict, drawn."""

from dataclasses import replace

import pytest

from tests.support.frames import AT
from wsmon.protocol.states import NodeState
from wsmon.ui.render import truth
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import MINUS, Line, ascii_only, length_of, text_of
from wsmon.ui.render.timeline import LABEL, axis, lane_cells
from wsmon.views.truth_frame import Deed, Said, TruthLane, TruthLanes

FROZEN = TruthLane(
    node="n1",
    deeds=(Deed(what="freeze", since_at=AT - 6, until_at=None, window_at=(AT - 3.8, AT - 2.8)),),
    said=(
        Said(state=NodeState.ONLINE, since_at=AT - 300, until_at=AT - 5),
        Said(state=NodeState.SUSPECT, since_at=AT - 5, until_at=AT - 3.4),
        Said(state=NodeState.REMOVED, since_at=AT - 3.4, until_at=None),
    ),
    found_ms=2_600.0,
    summary="freeze on, 6.0 s",
    finding="removed 2.60 s",
)
LANES = TruthLanes(now_at=AT, lanes=(FROZEN,))
AT_60 = """\
─ truth and verdict ────────────────────────────────────────
 n1              ━freeze━░░░░░━━━━━━━━━━━━
 judged ●────────────◐─────○──────────────
        -8 s   -6 s    -4 s    -2 s     now    +2 s    +4 s"""
AT_80 = """\
─ truth and verdict ────────────────────────────────────────────────────────────
 n1          ━freeze━━━━░░░░░░━━━━━━━━━━━━━━                  freeze on, 6.0 s
 judged ●─────────◐───────○─────────────────                  removed 2.60 s
           -6 s      -4 s      -2 s       now      +2 s"""


def drawn(lines: tuple[Line, ...]) -> str:
    return "\n".join(text_of(one).rstrip() for one in lines).replace(MINUS, "-")


def cell(text: str, at: float, width: int) -> str:
    across = axis(AT, lane_cells(width), past_s=7.0)
    return text[LABEL + 1 + across.cell(at)]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_promised_window_is_shaded_and_the_verdict_stands_below(width: int) -> None:
    head, done, judged, ruler = (text_of(one) for one in truth.pane(LANES, width, 10))
    assert head.startswith("─ truth and verdict ")
    assert cell(done, AT - 6, width) == "━"
    assert cell(done, AT - 3.4, width) == "░"
    assert cell(done, AT - 1, width) == "━"
    assert cell(judged, AT - 5, width) == "◐"
    assert cell(judged, AT - 3.4, width) == "○"
    assert "now" in ruler
    if width >= 120:
        assert "freeze on, 6.0 s" in done
        assert "removed 2.60 s" in judged


def test_at_60_columns() -> None:
    assert drawn(truth.pane(LANES, 60, 10)) == AT_60


def test_at_80_columns() -> None:
    assert drawn(truth.pane(LANES, 80, 10)) == AT_80


@pytest.mark.parametrize("width", [1, 12, 30, 60, 80, 120, 200])
def test_every_line_fills_the_width(width: int) -> None:
    many = replace(LANES, lanes=(FROZEN,) * 3, hidden=4)
    assert {length_of(one) for one in truth.pane(many, width, 10)} == {width}
    assert {length_of(one) for one in truth.pane(TruthLanes(), width, 10)} == {width}


def test_what_is_due_while_a_fault_lasts_is_shaded_ahead() -> None:
    due = replace(FROZEN, deeds=(Deed(what="freeze", since_at=AT - 1, until_at=None, window_at=(AT + 1, AT + 2)),))
    (_, done, *_) = truth.pane(replace(LANES, lanes=(due,)), 120, 10)
    assert "░" in text_of(done).partition("━ ")[2]
    over = replace(due, deeds=(replace(due.deeds[0], until_at=AT - 0.5),))
    (_, done, *_) = truth.pane(replace(LANES, lanes=(over,)), 120, 10)
    assert "░" not in text_of(done)


def test_all_well_is_one_quiet_sentence() -> None:
    lines = truth.pane(TruthLanes(), 80, 10)
    assert [text_of(one).strip() for one in lines][1:] == [truth.QUIET]
    assert truth.pane(TruthLanes(), 80, 0) == ()


def test_what_was_said_before_is_told_where_it_comes_into_sight() -> None:
    said = (
        Said(state=NodeState.JOINING, since_at=AT - 900, until_at=AT - 800),
        Said(state=NodeState.CORDONED, since_at=AT - 800, until_at=None),
    )
    (_, _, judged, _) = truth.pane(replace(LANES, lanes=(replace(FROZEN, said=said),)), 80, 10)
    assert text_of(judged)[LABEL + 1] == "▪"
    assert "◌" not in text_of(judged)


def test_nodes_that_do_not_fit_are_left_out_whole() -> None:
    many = replace(LANES, lanes=tuple(replace(FROZEN, node=f"n{number}") for number in range(5)))
    lines = [text_of(one) for one in truth.pane(many, 80, 6, top=1)]
    assert [one[1:3] for one in lines[1:5:2]] == ["n1", "n2"]
    assert lines[0].startswith("─ truth and verdict  3 more nodes ─")
    assert len(lines) == 6


def test_an_ascii_terminal_gets_ascii() -> None:
    for one in truth.pane(LANES, 60, 10, glyphs=Glyphs.ASCII)[1:]:
        assert "?" not in ascii_only(text_of(one))


def test_times_that_are_none_are_not_drawn() -> None:
    nonsense = replace(
        FROZEN,
        deeds=(Deed(what="x", since_at=float("nan"), until_at=None),),
        said=(Said(state=NodeState.REMOVED, since_at=float("inf"), until_at=None),),
    )
    lines = truth.pane(replace(LANES, lanes=(nonsense,)), 80, 10)
    assert {length_of(one) for one in lines} == {80}
    assert "○" not in text_of(lines[2])
