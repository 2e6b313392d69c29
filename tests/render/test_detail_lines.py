"""One node in full, as text."""

import math
from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.protocol.states import NodeState
from wsmon.ui.render import detail
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import Line, Tone, length_of, text_of
from wsmon.views.detail_frame import Fact, Measure, NodeDetail, Section, Strip
from wsmon.views.frame import Severity


def strip(label: str = "clients", **fields: object) -> Strip:
    one = Strip(label=label, measure=Measure.COUNT, now=20.0, values=(None, None, 10.0, 20.0))
    return replace(one, **fields)  # type: ignore[arg-type]


SUSPECT = NodeDetail(
    node="n2",
    state=NodeState.SUSPECT,
    why="suspect, 13 of 20 clients back: heartbeat 2/3 missed (last answer 2.4 s ago), http ok",
    sections=(
        Section("why", (Fact("heartbeat", "2/3 missed, last answer 2.4 s ago", Severity.WARNING), Fact("http", "ok"))),
        Section("cost", (Fact("clients", "20 lost it, 13 back, 7 away"),)),
        Section("problems", (Fact("injected", "freeze, heals in 9 s", Severity.BAD),)),
        Section("process", (Fact("boot", "1790000000000", Severity.QUIET, old=True),)),
    ),
    strips=(strip(), strip("lag", measure=Measure.MILLISECONDS, now=None, values=())),
    strips_s=240.0,
)
HOSTILE = NodeDetail(
    node=frames.HOSTILE,
    state=NodeState.REMOVED,
    silent_s=math.inf,
    why=frames.HOSTILE * 20,
    sections=(Section(frames.HOSTILE, (Fact(frames.HOSTILE, frames.HOSTILE * 9, Severity.BAD),) * 40),),
    strips=(strip(frames.HOSTILE, now=1e30, values=(1e30, -1e30, None) * 40),) * 3,
    strips_s=1e9,
)


def drawn(shown: NodeDetail | None, width: int = 50, height: int = 40, top: int = 0) -> tuple[Line, ...]:
    return detail.pane(shown, width, height, top=top, focused=False, glyphs=Glyphs.BLOCK)


def test_what_matters_most_comes_first() -> None:
    assert [text_of(line).rstrip() for line in drawn(SUSPECT)] == [
        "─ n2  ◐ suspect ──────────────────────────────────",
        "  suspect, 13 of 20 clients back: heartbeat 2/3",
        "  missed (last answer 2.4 s ago), http ok",
        " why",
        "  heartbeat  2/3 missed, last answer 2.4 s ago",
        "  http       ok",
        " cost",
        "  clients    20 lost it, 13 back, 7 away",
        " last 4m",
        "  clients       20                             ▄█",
        "  lag            –",
        " problems",
        "  injected   freeze, heals in 9 s",
        " process",
        "  boot       1790000000000",
    ]


def test_there_are_two_columns_where_there_is_room() -> None:
    text = [text_of(line).rstrip() for line in drawn(SUSPECT, 100)]
    assert len(text) < len(drawn(SUSPECT, 50))
    assert any(line.startswith(" why ") and len(line.split()) == 2 for line in text)


@pytest.mark.parametrize("width", [1, 12, 30, 47, 64, 80, 200])
@pytest.mark.parametrize("height", [1, 2, 9, 50])
@pytest.mark.parametrize("shown", [None, SUSPECT, HOSTILE], ids=["nobody", "suspect", "hostile"])
@pytest.mark.parametrize("glyphs", Glyphs)
def test_it_fits_its_place(shown: NodeDetail | None, width: int, height: int, glyphs: Glyphs) -> None:
    for top in (0, 7):
        lines = detail.pane(shown, width, height, top=top, focused=True, glyphs=glyphs)
        assert len(lines) <= height
        assert all(length_of(line) == width for line in lines)
        assert all(text_of(line).isprintable() for line in lines)


def test_what_is_below_is_counted_and_can_be_scrolled_to() -> None:
    assert text_of(drawn(SUSPECT, 50, 5)[0]).endswith(" 10 more ↓ ─")
    assert text_of(drawn(SUSPECT, 50, 5, top=10)[-1]).rstrip() == "  boot       1790000000000"


def test_colour_is_for_what_is_wrong_and_old_values_are_faint() -> None:
    tones = {run.text.strip(): run.ink.tone for line in drawn(SUSPECT) for run in line}
    assert tones["2/3 missed, last answer 2.4 s ago"] is Tone.WARNING
    assert tones["freeze, heals in 9 s"] is Tone.BAD
    assert tones["ok"] is Tone.TEXT
    assert tones["1790000000000"] is Tone.FAINT


def test_a_silent_node_is_not_called_what_it_was() -> None:
    online = replace(SUSPECT, state=NodeState.ONLINE)
    assert text_of(drawn(online)[0]).startswith("─ n2  ● online ─")
    assert text_of(drawn(replace(online, silent_s=12.0))[0]).startswith("─ n2  ? stale, silent for 12s ─")
    removed = replace(online, state=NodeState.REMOVED, silent_s=12.0)
    assert text_of(drawn(removed)[0]).startswith("─ n2  ○ removed, silent for 12s ─")


def test_a_graph_says_how_far_back_it_goes() -> None:
    shown = (strip(values=(1.0,) * 120),)
    wide = detail.strips(shown, 240.0, 200, Glyphs.BRAILLE)
    narrow = detail.strips(shown, 240.0, 50, Glyphs.BLOCK)
    assert (text_of(wide[0]).strip(), text_of(narrow[0]).strip()) == ("last 4m", "last 1m")
    assert detail.strips(shown, 240.0, 20, Glyphs.BLOCK) == ()
