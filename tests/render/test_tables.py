"""Tables in general: which columns fit, in which order rows stand, and which rows a filter lets through."""

from dataclasses import dataclass

import pytest

from wsmon.ui.render import table
from wsmon.ui.render.lines import GOOD, MUTED, TEXT, ascii_only, changed, fitted, length_of, text_of
from wsmon.ui.render.table import Column, Order


@dataclass(frozen=True)
class Fruit:
    name: str
    weight: float | None = None


COLUMNS: tuple[Column[Fruit], ...] = (
    Column("name", "NAME", 8, 0, lambda row: (row.name, TEXT), right=False, key=lambda row: row.name),
    Column(
        "weight", "WEIGHT", 6, 1, lambda row: (str(row.weight), TEXT), key=lambda row: row.weight, falls=True, own=True
    ),
    Column("rest", "REST", 4, 2, lambda _: ("● x", MUTED), right=False, glyph=lambda _: GOOD, grows=True),
)
FRUIT = (Fruit("plum", 3), Fruit("apple", 10), Fruit("quince"), Fruit("cherry", 1))


@pytest.mark.parametrize("width", [0, 1, 5, 12, 19, 25, 60])
def test_every_line_has_exactly_the_width(width: int) -> None:
    plan = table.layout(COLUMNS, width)
    assert length_of(table.head(plan, width)) == width
    assert all(length_of(table.line(row, plan, width, selected=True, marked=True)) == width for row in FRUIT)


def test_columns_go_by_rank_and_what_comes_first_in_a_set_stays() -> None:
    assert [column.id for column, _ in table.layout(COLUMNS, 18).columns] == ["name", "weight"]
    assert [column.id for column, _ in table.layout(COLUMNS, 16, ("rest",)).columns] == ["name", "rest"]


def test_one_column_takes_the_room_that_is_left() -> None:
    assert {column.id: cells for column, cells in table.layout(COLUMNS, 60).columns} == {
        "name": 8,
        "weight": 6,
        "rest": 41,
    }


def test_what_is_unknown_comes_last_in_either_direction() -> None:
    def names(*, reverse: bool) -> list[str]:
        return [row.name for row in table.ordered(FRUIT, COLUMNS, Order("weight", reverse=reverse))]

    assert names(reverse=False) == ["cherry", "plum", "apple", "quince"]
    assert names(reverse=True) == ["apple", "plum", "cherry", "quince"]


def test_without_a_column_rows_stay_as_they_come() -> None:
    assert table.ordered(FRUIT, COLUMNS, Order()) == FRUIT
    assert table.ordered(FRUIT, COLUMNS, Order("no such")) == FRUIT
    assert table.ordered(FRUIT, COLUMNS, Order(reverse=True)) == FRUIT[::-1]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ("", ["plum", "apple", "quince", "cherry"]),
        ("PL", ["plum", "apple"]),
        ("pl !ap", ["plum"]),
        ("!pl", ["quince", "cherry"]),
        ("none", ["quince"]),
        ("!", ["plum", "apple", "quince", "cherry"]),
        ("[", []),
    ],
)
def test_a_filter_is_words_that_must_or_must_not_be_there(wanted: str, left: list[str]) -> None:
    assert [row.name for row in FRUIT if table.matches(row, COLUMNS, wanted)] == left


def test_the_column_that_sorts_is_marked() -> None:
    plan = table.layout(COLUMNS, 30)
    assert "WEIGHT" in text_of(table.head(plan, 30))
    assert "WEIGH▼" in text_of(table.head(plan, 30, Order("weight", reverse=True)))
    assert "NAME▲" in text_of(table.head(plan, 30, Order("name")))


def test_a_row_shows_by_signs_alone_whether_it_is_selected_and_whether_it_is_marked() -> None:
    plan = table.layout(COLUMNS, 24)

    def signs(*, selected: bool, marked: bool) -> str:
        text = text_of(table.line(FRUIT[0], plan, 24, selected=selected, marked=marked))
        assert text[2:] == "plum          3 ● x   "
        return text[:2]

    assert signs(selected=False, marked=False) == "  "
    assert signs(selected=True, marked=False) == "▌ "
    assert signs(selected=False, marked=True) == " +"
    assert signs(selected=True, marked=True) == "▌+"
    assert ascii_only(signs(selected=True, marked=True)) == ">+"


def test_text_for_the_clipboard_has_no_marks() -> None:
    plan = table.layout(COLUMNS, 24)
    assert table.plain(FRUIT[0], plan) == "plum           3  ● x"


def test_on_a_slow_link_a_selected_row_differs_from_another_in_its_first_column_only() -> None:
    plan = table.layout(COLUMNS, 24)
    plain, selected, sparing = (
        fitted(table.line(FRUIT[0], plan, 24, **how), 24)
        for how in ({}, {"selected": True}, {"selected": True, "sparing": True})
    )
    assert changed(plain, selected) == ((0, 24),)
    ((start, end),) = changed(plain, sparing)
    assert (start, end) == (0, 2 + COLUMNS[0].width)
    assert text_of(sparing) == text_of(selected)
