"""The ledger of messages: one line of columns that stand still while their numbers grow.

Zeros are quiet. A message that was lost, that came twice or in the wrong order has glyph, word and colour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from wsmon.ui.render import values
from wsmon.ui.render.lines import FAINT, MUTED, TEXT, Ink, Line, Run, Tone, fit, fitted, spread
from wsmon.views.frame import Audit

NOBODY: Final = "No auditor is heard: nobody counts messages from end to end."
ALARM: Final = Ink(Tone.BAD, bold=True, reverse=True)
ALERT: Final = Ink(Tone.WARNING, bold=True)
CROSS: Final = "✗"
EXTRA: Final = 8
"""Columns of this rank and above take what room the long titles leave."""


@dataclass(frozen=True, slots=True)
class Column:
    """One number; `rank` says which go first when there is no room (the smallest stay)."""

    short: str
    long: str
    width: int
    """Cells of the number beside the short title."""
    wide: int
    """… beside the long one."""
    rank: int
    value: Callable[[Audit], int | None]
    ink: Ink = TEXT
    """How a number that is not zero is drawn."""
    rare: bool = False
    """Whether it is left out while it is zero."""

    @property
    def before(self) -> int:
        """Blank cells before the title; a glyph needs one of them."""
        return 3 if self.ink is ALARM else 1

    def length(self, *, roomy: bool) -> int:
        """Return the cells of the whole column."""
        return self.before + len(self.long if roomy else self.short) + 1 + (self.wide if roomy else self.width)


COLUMNS: Final = (
    Column("pub", "published", 5, 10, 7, lambda audit: audit.published),
    Column("delivered", "delivered", 7, 10, 5, lambda audit: audit.delivered),
    Column("lost", "lost", 4, 5, 0, lambda audit: audit.lost, ALARM),
    Column("dup", "duplicated", 4, 4, 1, lambda audit: audit.duplicated, ALARM),
    Column("inverted", "inverted", 4, 4, 2, lambda audit: audit.inverted, ALARM),
    Column("no ack", "never acked", 4, 4, 6, lambda audit: audit.never_acked, ALERT),
    Column("resyncs", "resyncs", 4, 4, 3, lambda audit: audit.resyncs, ALERT, rare=True),
    Column("rewound", "rewound", 4, 4, 4, lambda audit: audit.rewound, ALERT, rare=True),
    Column("overdue", "overdue", 4, 4, 8, lambda audit: audit.overdue, ALERT, rare=True),
    Column("refused", "refused", 4, 4, 9, lambda audit: audit.refused, rare=True),
    Column("replayed", "replayed", 5, 5, 10, lambda audit: audit.replayed, rare=True),
)


def line(audit: Audit | None, width: int) -> Line:
    """Return the ledger, exactly `width` cells."""
    if audit is None:
        return fitted((Run(f"  {NOBODY}", FAINT),), width)
    present = tuple(index for index, column in enumerate(COLUMNS) if not column.rare or column.value(audit))
    columns, roomy = _layout(present, width)
    stale = audit.silent_s is not None
    runs = [Run(" ", MUTED)]
    for column in columns:
        runs += _cell(column, audit, roomy=roomy, stale=stale)
    old: Line = (Run(f" ? stale {values.age(audit.silent_s)} ", ALERT),) if stale else ()
    return spread(tuple(runs), old, width)


@lru_cache(64)
def _layout(present: tuple[int, ...], width: int) -> tuple[tuple[Column, ...], bool]:
    """Return the columns that fit, in their usual order, and whether their long titles fit."""
    columns = [COLUMNS[index] for index in present]
    usual = [column for column in columns if column.rank < EXTRA]
    roomy = 1 + sum(column.length(roomy=True) for column in usual) <= width
    room, taken = width - 1, []
    for column in sorted(columns, key=lambda column: column.rank):
        length = column.length(roomy=roomy)
        if length <= room:
            taken.append(column)
            room -= length
    return tuple(column for column in columns if column in taken), roomy


def _cell(column: Column, audit: Audit, *, roomy: bool, stale: bool) -> Line:
    number = column.value(audit)
    title, room = (column.long, column.wide) if roomy else (column.short, column.width)
    text = _number(number, room)
    blank, padding = " " * column.before, " " * (room - len(text))
    if number and column.ink is ALARM:
        ink = FAINT if stale else ALARM
        return (Run(" ", MUTED), Run(f"{CROSS} {title} {text}", ink), Run(padding, MUTED))
    if stale or number is None:
        return (Run(f"{blank}{title} ", FAINT if stale else MUTED), Run(text + padding, FAINT))
    if number and column.ink is ALERT:
        return (Run(blank, MUTED), Run(f"{title} {text}", ALERT), Run(padding, MUTED))
    return (Run(f"{blank}{title} ", MUTED), Run(text + padding, TEXT))


def _number(number: int | None, room: int) -> str:
    """Return the number with all its digits if they fit, else rounded."""
    text = values.exact(number)
    if len(text) > room:
        text = str(number)
    return text if len(text) <= room else fit(values.count(number), room).rstrip()
