"""Tables: columns of fixed width, so that numbers never jump; the width of the screen decides which are shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar

from wsmon.ui.render.lines import ACCENT, FAINT, MUTED, Ground, Ink, Line, Run, Tone, fit, fitted, on, text_of

Row = TypeVar("Row")
Cell: TypeAlias = tuple[str, Ink]
GAP_MOST: Final = 3
RISING, FALLING = "▲", "▼"
MARK: Final = Run("+", Ink(Tone.ACCENT, bold=True))


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column of a table.

    `rank` says which go first when there is no room (the smallest stay). A cell's text that begins with a glyph and a
    blank is drawn with the glyph in `glyph`'s ink.
    """

    id: str
    """Stable; what sorting is remembered by."""
    title: str
    width: int
    rank: int
    draw: Callable[[Row], Cell]
    right: bool = True
    own: bool = False
    """Whether the row's subject tells the value itself: it is drawn as old when `stale` says so."""
    key: Callable[[Row], Any] | None = None
    """What to sort by; without one the column cannot be sorted. None sorts last in either direction."""
    falls: bool = False
    """Whether the largest come first when sorting begins: numbers, mostly."""
    glyph: Callable[[Row], Ink] | None = None
    grows: bool = False
    """Whether it takes what room is left; one column at most."""


@dataclass(frozen=True, slots=True)
class Layout(Generic[Row]):
    """The columns for a width, each with its width, and the gap between them."""

    columns: tuple[tuple[Column[Row], int], ...]
    gap: int


@dataclass(frozen=True, slots=True)
class Order:
    """How rows are sorted: by which column; None leaves them as they come."""

    column: str | None = None
    reverse: bool = False


@lru_cache(128)
def layout(columns: tuple[Column[Any], ...], width: int, first: tuple[str, ...] = ()) -> Layout[Any]:
    """Return the columns that fit, in their usual order; those called `first` come before all but rank 0."""
    taken: list[Column[Any]] = []
    room = width - 2
    for column in sorted(columns, key=lambda column: (column.rank > 0, column.id not in first, column.rank)):
        if column.width + 1 > room:
            break
        taken.append(column)
        room -= column.width + 1
    shown = tuple(column for column in columns if column in taken)
    growing = next((column for column in shown if column.grows), None)
    gap = 1 if growing else 1 + max(0, min(GAP_MOST - 1, room // max(1, len(shown) - 1)))
    return Layout(tuple((column, column.width + (room if column is growing else 0)) for column in shown), gap)


def head(plan: Layout[Any], width: int, order: Order | None = None) -> Line:
    """Return the titles; the one that sorts is marked."""
    runs = [Run(" ", MUTED)]
    for index, (column, cells) in enumerate(plan.columns):
        space = " " * (plan.gap if index else 1)
        if order is not None and order.column == column.id:
            arrow = FALLING if order.reverse else RISING
            title = column.title[: cells - 1] + arrow if column.right else fit(column.title + arrow, cells)
            runs += [Run(space, MUTED), Run(fit(title, cells, right=column.right), Ink(Tone.ACCENT, bold=True))]
        else:
            runs.append(Run(space + fit(column.title, cells, right=column.right), MUTED))
    return fitted(runs, width)


def line(
    row: Row,
    plan: Layout[Row],
    width: int,
    *,
    selected: bool = False,
    marked: bool = False,
    stale: bool = False,
    sparing: bool = False,
) -> Line:
    """Return one row, exactly `width` cells. The first shows whether it is selected, the second whether it is marked.

    `sparing`: what shows that it is selected has to cost few bytes, so only its beginning stands on another ground.
    """
    runs = [Run("▌" if selected else " ", ACCENT), MARK if marked else Run(" ", ACCENT)]
    for index, (column, cells) in enumerate(plan.columns):
        text, ink = column.draw(row)
        space = " " * plan.gap if index else ""
        if stale and column.own:
            ink = FAINT
        body = fit(text, cells, right=column.right)
        if column.glyph is not None and body:
            runs += [Run(space + body[0], column.glyph(row)), Run(body[1:], ink)]
        else:
            runs.append(Run(space + body, ink))
    if not selected:
        return fitted(runs, width)
    if not sparing:
        return on(fitted(runs, width), Ground.SELECTED)
    return fitted((*on(tuple(runs[:3]), Ground.SELECTED), *runs[3:]), width)


def ordered(rows: Sequence[Row], columns: Sequence[Column[Row]], order: Order) -> tuple[Row, ...]:
    """Return the rows in the order asked for. What is unknown comes last; equal rows stay as they were."""
    column = next((column for column in columns if column.id == order.column), None)
    if column is None or column.key is None:
        return tuple(reversed(rows)) if order.reverse else tuple(rows)
    key = column.key
    known = [row for row in rows if key(row) is not None]
    unknown = [row for row in rows if key(row) is None]
    return (*sorted(known, key=key, reverse=order.reverse), *unknown)


def matches(row: Row, columns: Sequence[Column[Row]], wanted: str) -> bool:
    """Return whether the row's cells hold every word of `wanted`, in any case; a word after `!` must not be there."""
    if not wanted.strip():
        return True
    text = " ".join(column.draw(row)[0] for column in columns).casefold()
    for word in wanted.casefold().split():
        bare = word.removeprefix("!")
        if bare and (bare in text) is word.startswith("!"):
            return False
    return True


def plain(row: Row, plan: Layout[Row]) -> str:
    """Return a row's text as it is shown, for the clipboard."""
    return "  ".join(fit(column.draw(row)[0], cells, right=column.right) for column, cells in plan.columns).rstrip()


def text_table(rows: Sequence[Row], columns: tuple[Column[Row], ...], width: int) -> str:
    """Return head and rows as plain text."""
    plan = layout(columns, width)
    return "\n".join(text_of(one).rstrip() for one in (head(plan, width), *(line(row, plan, width) for row in rows)))
