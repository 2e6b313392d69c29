"""What help says of columns and states: of every one, and of no other."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from wsmon.commands import USUAL_KEYS
from wsmon.protocol.states import NodeState
from wsmon.ui.render import beliefs, channels, incidents, legend, nodes, sessions
from wsmon.ui.render.lines import length_of, text_of
from wsmon.ui.render.table import Column
from wsmon.views.beliefs_frame import Beliefs, Observer, Opinion
from wsmon.views.sessions_frame import Stand

TABLES: tuple[tuple[Iterable[Column[Any]], Mapping[str, str]], ...] = (
    (nodes.COLUMNS, legend.NODES),
    (sessions.COLUMNS, legend.SESSIONS),
    (channels.CHANNELS, legend.CHANNELS),
    (channels.BREAKERS, legend.BREAKERS),
    (incidents.columns(lambda: 0.0), legend.INCIDENTS),
)
STATES: tuple[Mapping[Any, str], ...] = (legend.NODE_STATES, legend.CLIENT_STATES, legend.FEED_STATES)


def shown(width: int) -> list[str]:
    return [text_of(line) for line in legend.lines(width)]


@pytest.mark.parametrize("table", range(len(TABLES)))
def test_every_column_is_explained_and_nothing_that_is_none(table: int) -> None:
    columns, told = TABLES[table]
    assert list(told) == [column.id for column in columns]


def test_every_state_is_explained() -> None:
    assert set(legend.NODE_STATES) == set(NodeState)
    assert set(legend.CLIENT_STATES) == set(Stand)
    assert set(legend.FEED_STATES) == set(channels.GLYPHS) - {""}


def test_the_titles_of_who_sees_whom_are_explained() -> None:
    picture = Beliefs(nodes=("n1",), observers=(Observer(name="checker", opinions=(Opinion(word="online"),)),))
    titles = text_of(beliefs.matrix(picture, 160, 9)[1]).split()
    assert titles == [*(title for title, _ in legend.BELIEFS), "n1"]


@pytest.mark.parametrize("width", [51, 76, 112])
def test_every_explanation_is_told_whole(width: int) -> None:
    lines = shown(width)
    assert {length_of(line) for line in legend.lines(width)} == {width}
    text = " ".join(" ".join(line[2 + legend.LABEL :] for line in lines if line.startswith("  ")).split())
    told = [words for _, table in TABLES for words in table.values()]
    told += [words for states in STATES for words in states.values()] + [words for _, words in legend.BELIEFS]
    assert all(words in text for words in told)
    assert "…" not in text


def test_a_line_names_the_title_and_a_state_its_glyph() -> None:
    lines = [line.rstrip() for line in shown(112)]
    assert "  RTX           Messages sent once more (retransmits) since it started." in lines
    assert "  ◐ suspect     A check failed: it keeps its clients and gets no new ones." in lines
    parts = (*(told for _, told in TABLES), legend.BELIEFS, *STATES)
    between = len(parts) - 1
    assert len(lines) == sum(map(len, parts)) + len(parts) + between, "on a wide screen each takes one line"


def test_a_heading_names_the_page_by_its_key() -> None:
    assert shown(80)[0].rstrip() == " Columns of nodes, page 1"
    for keys, page in ((("f1",), "f1"), ((), "Nodes")):
        (first, *_) = legend.lines(80, {**USUAL_KEYS, "nodes": keys})
        assert text_of(first).rstrip() == f" Columns of nodes, page {page}"
