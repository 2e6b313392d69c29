"""The node table as text."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.protocol.states import NodeState
from wsmon.ui.render import nodes, table
from wsmon.ui.render.lines import FAINT, Ground, Line, Tone, length_of, text_of
from wsmon.ui.render.table import layout
from wsmon.views.frame import NodeRow

WIDTHS = (20, 60, 80, 100, 120, 160, 200, 240)


def words(text: str) -> str:
    return " ".join(text.split())


def line_of(row: NodeRow, width: int, *, selected: bool = False) -> Line:
    plan = layout(nodes.COLUMNS, width)
    return table.line(row, plan, width, selected=selected, stale=row.silent_s is not None)


def lines_of(rows: tuple[NodeRow, ...], width: int) -> list[Line]:
    return [table.head(layout(nodes.COLUMNS, width), width), *(line_of(row, width) for row in rows)]


def _text(row: NodeRow, width: int) -> str:
    return text_of(line_of(row, width))


def test_the_table_at_80_columns() -> None:
    rows = frames.removed().nodes
    assert [text_of(line) for line in lines_of(rows, 80)] == [
        "  NODE   STATE               AGE   HB HTTP  CONN     Δ  IN/s OUT/s LAG ms  CPU  ",
        "  n1     ● online             5m   ok   ok    29    +9   6.7  1740    0.8  12%  ",
        "  n2     ○ removed            4s  3/3  2/2     0   \N{MINUS SIGN}20     0     0    0.8    –  ",
        "  n3     ● online             5m   ok   ok    24    +4   6.7  1440    0.8  12%  ",
    ]


def test_the_table_at_120_columns() -> None:
    lines = [text_of(line) for line in lines_of(frames.healthy().nodes[1:], 120)]
    assert words(lines[0]) == "NODE STATE AGE HB HTTP CONN Δ IN/s OUT/s UNACK RTX SLOW LAG ms RTT ms CPU RSS BRK UP"
    assert words(lines[1]) == "n2 ● online 5m ok ok 20 6.7 1207 3 0 0 0.8 1.2 9% 64M 0 5m"


@pytest.mark.parametrize("width", WIDTHS)
def test_every_line_has_exactly_the_width(width: int) -> None:
    for example in frames.EXAMPLES.values():
        for line in lines_of(example().nodes, width):
            assert length_of(line) == width


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_stand_where_their_titles_stand(width: int) -> None:
    """A number that grows does not move the next column."""
    small = _text(frames.node(connections=1, messages_out_s=0.1), width)
    large = _text(frames.node(connections=99_999, messages_out_s=99_999.0), width)
    assert small.index("ok") == large.index("ok") if "ok" in small else True
    assert len(small) == len(large) == width


@pytest.mark.parametrize(
    ("state", "detail", "shown"),
    [
        (NodeState.ONLINE, "", "● online"),
        (NodeState.SUSPECT, "2/3", "◐ suspect 2/3"),
        (NodeState.REMOVED, "", "○ removed"),
        (NodeState.DRAINING, "41", "▽ draining 41"),
        (NodeState.CORDONED, "", "▪ cordoned"),
        (NodeState.JOINING, "", "◌ joining"),
        (NodeState.RECOVERING, "", "◔ recovering"),
        (NodeState.QUARANTINED, "1:44", "◫ quarantined 1:44"),
        (NodeState.LEFT, "", "· left"),
        (NodeState.STALE, "", "? stale"),
    ],
)
def test_each_state_has_glyph_and_word(state: NodeState, detail: str, shown: str) -> None:
    assert shown in _text(frames.node(state=state, detail=detail), 80)


def test_a_silent_node_is_not_shown_as_it_last_was() -> None:
    row = frames.node(silent_s=7.2)
    assert "? stale 7s" in _text(row, 80)
    assert "online" not in _text(row, 80)
    runs = {run.text.strip(): run.ink for run in line_of(row, 80)}
    assert runs["20"] == FAINT
    assert runs["n1"].tone is Tone.TEXT


def test_a_silent_node_keeps_the_word_that_others_say() -> None:
    assert "○ removed" in _text(frames.node(state=NodeState.REMOVED, silent_s=7.2), 80)


def test_what_is_unknown_is_a_dash_and_not_zero() -> None:
    row = frames.node(connections=None, messages_in_s=None, messages_out_s=None, lag_ms=None, cpu=None)
    assert _text(row, 80).split()[6:] == ["–", "–", "–", "–", "–"]


def test_the_selected_line_stands_on_its_own_ground() -> None:
    assert {run.ink.ground for run in line_of(frames.node(), 80, selected=True)} == {Ground.SELECTED}


def test_the_line_below_says_why_and_when() -> None:
    row = frames.suspect().nodes[1]
    text = text_of(nodes.why(row, 160, (2.2, 3.2)))
    assert text.startswith("  n2     suspect: heartbeat 2/3 missed (last answer 2.4 s ago)")
    assert text.rstrip().endswith("running pid 41001")
    assert "silence removes it after 2.2–3.2 s" in text_of(nodes.why(frames.node(), 160, (2.2, 3.2)))
    assert text_of(nodes.why(None, 10, None)) == " " * 10


def test_an_injected_fault_is_named_first() -> None:
    assert "injected: latency 300 ms" in text_of(nodes.why(frames.node(fault="latency 300 ms"), 80, None))


def test_sessions_that_do_not_keep_up_are_marked() -> None:
    row = frames.harmed().nodes[1]
    runs = {run.text.strip(): run.ink.tone for run in line_of(row, 120)}
    assert (runs["1024"], runs["17"], runs["2"]) == (Tone.TEXT, Tone.TEXT, Tone.WARNING)


def test_a_long_reason_is_cut_and_never_left_out_for_an_injected_fault() -> None:
    row = frames.node(state=NodeState.REMOVED, why="removed 0.3 s ago: " + "a long story " * 20, fault="kill")
    assert "removed 0.3 s ago: a long story" in text_of(nodes.why(row, 100, None))


def test_what_has_happened_carries_the_colour_and_what_is_told_of_it_does_not() -> None:
    row = frames.node(state=NodeState.QUARANTINED, why="quarantined 1:44 more, for flapping: 3 removals in 60 s")
    inks = {run.text: run.ink.tone for run in nodes.why(row, 120, None)}
    assert inks["quarantined 1:44 more"] is Tone.WARNING
    assert inks[", for flapping: 3 removals in 60 s"] is Tone.TEXT
    whole = nodes.why(frames.node(state=NodeState.REMOVED, why="removed"), 120, None)
    assert next(run.ink.tone for run in whole if run.text == "removed") is Tone.BAD


def test_what_a_node_answered_before_it_left_is_not_shown() -> None:
    assert _text(frames.node(state=NodeState.LEFT), 80).split()[5] == "–"
    assert _text(frames.node(), 80).split()[5] == "ok"


def test_what_ails_a_node_comes_before_that_it_is_online_and_after_why_it_is_not() -> None:
    row = frames.harmed().nodes[1]
    text = text_of(nodes.why(row, 80, (2.2, 3.2)))
    assert text.startswith("  n2     redis breaker open, tries again in 3 s · feeds room.1, room.2 stalled")
    text = text_of(nodes.why(replace(row, state=NodeState.SUSPECT, why="suspect: heartbeat 2/3 missed"), 120, None))
    assert text.startswith("  n2     suspect: heartbeat 2/3 missed · redis breaker open")
