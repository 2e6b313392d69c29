"""Clients and their lives as text."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.frames import AT, HOSTILE
from wsmon.ui.render import sessions, table
from wsmon.ui.render.lines import CROSS, FAINT, Tone, ascii_only, length_of, safe, text_of
from wsmon.views.frame import Severity
from wsmon.views.sessions_frame import Life, LifeLine, SessionRow, SessionsPicture, Stand

WIDTHS = (20, 60, 80, 120, 200)
CALM = SessionRow(key="c001", client="c001", state=Stand.CONNECTED, node="n3", since_s=240.0, at_least=True, lost=0)
BACK = SessionRow(
    key="c004",
    client="c004",
    state=Stand.CONNECTED,
    node="n1",
    since_s=3.0,
    attempt=2,
    lost=1,
    how="log",
    way_ms=530.1,
    worst_ms=6_200.0,
    replayed=3,
)
AWAY = SessionRow(
    key="c007", client="c007", state=Stand.WAITING, node="n2", since_s=1.0, attempt=1, next_in_s=0.2, lost=2
)
LIFE = Life(
    key="c004",
    client="c004",
    lines=(
        LifeLine(None, Severity.QUIET, "connected to n2"),
        LifeLine(AT + 0.25, Severity.WARNING, "lost n2 (1006 connection broken)"),
        LifeLine(AT + 0.25, Severity.QUIET, "waited 0.31 s (spread)"),
        LifeLine(AT + 1.07, Severity.GOOD, "back on n3 after 0.82 s, 3 replayed from the log"),
    ),
)


def head(width: int) -> str:
    return text_of(table.head(table.layout(sessions.COLUMNS, width), width))


def line(row: SessionRow, width: int, *, selected: bool = False) -> str:
    plan = table.layout(sessions.COLUMNS, width)
    return text_of(table.line(row, plan, width, selected=selected, stale=row.old))


def drawn(picture: Life | None, width: int, height: int, **more: Any) -> list[str]:
    lines = sessions.life(picture, width, height, **{"above": 0, "focused": False, "offset_s": 0.0, **more})
    return [text_of(line) for line in lines]


def test_a_hand_over_took_no_time_and_asks_for_no_attention() -> None:
    moved = replace(BACK, how="handover", way_ms=0.0, worst_ms=0.0, replayed=0)
    runs = table.line(moved, table.layout(sessions.COLUMNS, 120), 120)
    assert [run.ink for run in runs if run.text.strip() == "0.0"] == [FAINT, FAINT]


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_table_at_60_columns() -> None:
    assert [head(60), line(CALM, 60, selected=True), line(BACK, 60), line(AWAY, 60)] == [
        "  CLIENT      STATE         NODE    SINCE  DROPS  BACK ms   ",
        "▌ c001        ● connected   n3        >4m      0        –   ",
        "  c004        ● connected   n1         3s      1      530   ",
        "  c007        ◔ waiting     n2         1s      2        –   ",
    ]


def test_the_table_at_80_columns() -> None:
    assert [head(80), line(BACK, 80), line(AWAY, 80)] == [
        "  CLIENT     STATE        NODE   SINCE NEXT s  TRY DROPS      HOW BACK ms WORST ",
        "  c004       ● connected  n1        3s           2     1      log     530  6.2s ",
        "  c007       ◔ waiting    n2        1s    0.2    1     2        –       –     – ",
    ]


def test_the_table_at_120_columns() -> None:
    assert words(head(120)) == (
        "CLIENT STATE NODE SINCE NEXT s TRY DROPS HOW BACK ms PLAYED WORST RESYNC CODEC POS BEHIND"
    )
    row = replace(BACK, codec="protobuf", position=41)
    assert words(line(row, 120)) == "c004 ● connected n1 3s 2 1 log 530 3 6.2s 0 protobuf 41 –"


def test_the_table_at_200_columns_shows_all() -> None:
    assert [column.id for column, _ in table.layout(sessions.COLUMNS, 200).columns] == [
        column.id for column in sessions.COLUMNS
    ]


@pytest.mark.parametrize("state", Stand)
def test_each_state_has_glyph_and_word(state: Stand) -> None:
    text = line(replace(CALM, state=state), 80)
    assert f"{sessions.GLYPHS[state]} {state}" in text
    assert "?" not in ascii_only(text) or state is Stand.UNKNOWN


def test_what_an_old_row_says_is_faint() -> None:
    plan = table.layout(sessions.COLUMNS, 80)
    runs = {run.text.strip(): run.ink for run in table.line(replace(BACK, old=True), plan, 80, stale=True)}
    assert runs["n1"] == runs["530"] == runs["●"] == FAINT
    assert runs["c004"] != FAINT


def test_a_long_pause_and_a_new_beginning_ask_for_attention() -> None:
    plan = table.layout(sessions.COLUMNS, 120)
    row = replace(BACK, how="resync", resyncs=1)
    runs = {run.text.strip(): run.ink.tone for run in table.line(row, plan, 120)}
    assert (runs["6.2s"], runs["resync"], runs["530"]) == (Tone.WARNING, Tone.WARNING, Tone.TEXT)
    assert sessions.in_trouble(row)
    assert sessions.in_trouble(AWAY)
    assert not sessions.in_trouble(BACK)


def test_those_away_sort_before_the_others() -> None:
    rows = table.ordered((CALM, BACK, AWAY), sessions.COLUMNS, table.Order("state"))
    assert [row.client for row in rows] == ["c007", "c001", "c004"]
    rows = table.ordered((CALM, BACK, AWAY), sessions.COLUMNS, table.Order("worst", reverse=True))
    assert [row.client for row in rows] == ["c004", "c001", "c007"]


def test_the_head_counts_and_says_what_is_not_shown() -> None:
    picture = SessionsPicture(total=10_000, away=41, hidden=8_000, forgotten=3)
    text = text_of(sessions.head(picture, 100))
    assert text.startswith("─ sessions  10,000 clients · 41 away · 8,000 more without a row · 3 lives forgotten ─")
    assert text_of(sessions.head(SessionsPicture(total=60, silent_s=7.2), 60)).endswith("─ ? stale 7s ─")
    assert text_of(sessions.head(SessionsPicture(), 40)) == "─ sessions " + "─" * 29


def test_a_life_at_80_columns() -> None:
    assert drawn(LIFE, 80, 6) == [
        "─ life of c004 " + "─" * 65,
        "               · connected to n2                                                ",
        f" 14:13:20.250  {CROSS} lost n2 (1006 connection broken)                               ",
        " 14:13:20.250  · waited 0.31 s (spread)                                         ",
        " 14:13:21.070  ● back on n3 after 0.82 s, 3 replayed from the log               ",
    ]


def test_a_life_in_a_narrow_pane() -> None:
    assert drawn(LIFE, 40, 3) == [
        "─ life of c004 " + "─" * 25,
        " 14:13:20  · waited 0.31 s (spread)     ",
        " 14:13:21  ● back on n3 after 0.82 s, 3…",
    ]


def test_a_life_scrolled_back_says_how_much_is_newer() -> None:
    lines = drawn(replace(LIFE, dropped=12), 80, 3, above=2)
    assert lines[0].startswith("─ life of c004  2 newer ↓ ─")
    assert lines[0].endswith("─ 12 older dropped ─")
    assert "lost n2" in lines[-1]


def test_without_a_client_the_pane_explains_itself() -> None:
    assert drawn(None, 60, 4)[1].strip() == sessions.NOBODY
    assert drawn(Life(key="c", client="c", lines=()), 60, 4)[1].strip() == sessions.UNEVENTFUL
    assert drawn(LIFE, 60, 0) == []
    assert drawn(None, 40, 4, client="c009") == ["─ life of c009 " + "─" * 25]


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_stays_in_its_place(width: int) -> None:
    row = SessionRow(
        key=HOSTILE,
        client=HOSTILE * 30,
        state=Stand.UNKNOWN,
        node=HOSTILE,
        since_s=1e300,
        attempt=10**30,
        next_in_s=1e300,
        lost=10**30,
        how=HOSTILE,
        way_ms=float("inf"),
        worst_ms=-1e300,
        replayed=-(10**30),
        resyncs=10**30,
        codec=HOSTILE,
        position=10**30,
        behind=-1,
    )
    plan = table.layout(sessions.COLUMNS, width)
    life = Life(
        key=HOSTILE, client=HOSTILE, lines=(LifeLine(float("nan"), Severity.BAD, HOSTILE * 30),) * 3, dropped=10**30
    )
    picture = SessionsPicture(total=10**30, away=10**30, hidden=10**18, unlisted=10**30, silent_s=1e300)
    lines = [
        table.line(row, plan, width),
        table.line(replace(row, state=Stand.WAITING), plan, width, stale=True),
        sessions.head(picture, width),
        *sessions.life(life, width, 5, above=0, focused=True, offset_s=0.0),
    ]
    assert all(length_of(line) == width for line in lines)
    assert all(safe(run.text) == run.text for line in lines for run in line)
