"""Lines of text, inked by meaning: what everything on the screen is made of.

Lengths are terminal cells, not characters: every text from outside goes through `fit`, which also takes out whatever
a terminal could mistake for an order.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from itertools import zip_longest
from typing import Final, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size


class Tone(StrEnum):
    """What a run of text means; a theme says how that looks."""

    TEXT = "text"
    MUTED = "muted"
    """Labels, units, what is as it should be."""
    FAINT = "faint"
    """Rules, empty cells, what is old."""
    ACCENT = "accent"
    """Keys, the focus, what is under way."""
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Ground(StrEnum):
    """What a run stands on."""

    PLAIN = "background"
    BAR = "surface"
    SELECTED = "selection"


class Ink(NamedTuple):
    """How a run is drawn."""

    tone: Tone = Tone.TEXT
    bold: bool = False
    ground: Ground = Ground.PLAIN
    reverse: bool = False


class Run(NamedTuple):
    """Text in one ink. The text is safe for a terminal."""

    text: str
    ink: Ink


Line: TypeAlias = tuple[Run, ...]

MINUS: Final = "\N{MINUS SIGN}"
CROSS: Final = "\N{BOX DRAWINGS LIGHT DIAGONAL CROSS}"
TEXT: Final = Ink()
STRONG: Final = Ink(bold=True)
MUTED: Final = Ink(Tone.MUTED)
FAINT: Final = Ink(Tone.FAINT)
ACCENT: Final = Ink(Tone.ACCENT)
GOOD: Final = Ink(Tone.GOOD)
WARNING: Final = Ink(Tone.WARNING)
BAD: Final = Ink(Tone.BAD)
EMPTY: Final[Line] = ()
NEAR: Final = 12
"""Cells; about what moving the cursor and setting a style costs in bytes."""


def safe(text: str) -> str:
    """Return the text without anything but printable characters; what is taken out leaves a mark."""
    if text.isascii() and text.isprintable():
        return text
    # Variation selectors are printable and change the width of what stands before them, differently per terminal.
    return "".join(
        character if character.isprintable() and not "\ufe00" <= character <= "\ufe0f" else "\ufffd"
        for character in text
    )


@lru_cache(4096)
def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return the text in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    text = safe(text)
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def clip(text: str, width: int) -> str:
    """Return the text in at most `width` cells."""
    return fit(text, width) if cell_len(safe(text)) > width else safe(text)


def length_of(line: Line) -> int:
    """Return how many cells the line takes."""
    return sum(cell_len(run.text) for run in line)


def fitted(line: Iterable[Run], width: int, ink: Ink = TEXT) -> Line:
    """Return the line in exactly `width` cells; `ink` is that of the padding."""
    runs: list[Run] = []
    left = width
    for run in line:
        length = cell_len(run.text)
        if length > left:
            if left > 0:
                runs.append(Run(fit(run.text, left), run.ink))
            return tuple(runs)
        runs.append(run)
        left -= length
    if left > 0:
        runs.append(Run(" " * left, ink))
    return tuple(runs)


def spread(left: Line, right: Line, width: int, *, fill: str = " ", ink: Ink = TEXT) -> Line:
    """Return `left` and `right` at the two ends of `width` cells; `left` gives way if there is no room for both."""
    room = width - length_of(right)
    if room < 0:
        return fitted(right, width, ink)
    body = fitted(left, min(length_of(left), room), ink)
    return (*body, Run(fill * (room - length_of(body)), ink), *right)


def joined(parts: Iterable[Line], width: int) -> Line:
    """Return the parts with a dot between them, as many as fit into `width` cells; the first is cut if it has to be."""
    runs: tuple[Run, ...] = ()
    for part in parts:
        longer = (*runs, Run(" · ", FAINT), *part) if runs else part
        if length_of(longer) > width:
            return runs or fitted(part, max(0, width))
        runs = longer
    return runs


def on(line: Line, ground: Ground) -> Line:
    """Return the line on another ground."""
    return tuple(Run(text, Ink(ink.tone, ink.bold, ground, ink.reverse)) for text, ink in line)


def title(name: str, facts: Line, width: int, *, focused: bool = False, right: Line = EMPTY) -> Line:
    """Return a section's head: its name and facts, then a thin rule."""
    ink = Ink(Tone.ACCENT if focused else Tone.MUTED, bold=True)
    told = (Run("  ", FAINT), *facts) if facts else ()
    left = (Run("─ ", FAINT), Run(name, ink), *told, Run(" ", FAINT))
    end = (Run(" ", FAINT), *right, Run(" ─", FAINT)) if right else ()
    return spread(left, end, width, fill="─", ink=FAINT)


def changed(old: Line, new: Line) -> tuple[tuple[int, int], ...]:
    """Return the stretches of cells that differ, as first cell and the one after the last; none if the lines are equal.

    Both lines have the same length. Stretches that are close together are one: to go over what lies between costs less
    than to begin again.
    """
    if old == new:
        return ()
    # Most lines differ in one run of many: what stands before and behind it need not be taken apart.
    most = min(len(old), len(new))
    same = next((at for at in range(most) if old[at] != new[at]), most)
    behind = next((at for at in range(most - same) if old[-1 - at] != new[-1 - at]), most - same)
    spans: list[tuple[int, int]] = []
    cells = zip_longest(_cells(old[same : len(old) - behind]), _cells(new[same : len(new) - behind]))
    for x, (before, after) in enumerate(cells, length_of(old[:same])):
        if before == after:
            continue
        if spans and x - spans[-1][1] <= NEAR:
            spans[-1] = (spans[-1][0], x + 1)
        else:
            spans.append((x, x + 1))
    return tuple(spans)


def _cells(line: Line) -> list[tuple[str, Ink]]:
    """Return what stands in each cell; all cells of a wide character change together with it."""
    cells: list[tuple[str, Ink]] = []
    for text, ink in line:
        if len(text) == cell_len(text):
            cells += [(character, ink) for character in text]
        else:
            # Combining characters belong to the cell before, so the run is compared as a whole.
            cells += [(text, ink)] * cell_len(text)
    return cells


def text_of(line: Line) -> str:
    """Return the bare text."""
    return "".join(run.text for run in line)


# Every glyph of ours has a stand-in of one ASCII character, for terminals that have no others.
_ASCII: Final = str.maketrans(
    {
        "●": "*",
        "◐": "%",
        "○": "o",
        "▽": "v",
        "▪": "#",
        "◌": ".",
        "◔": "c",
        "◫": "H",
        "·": ".",
        "─": "-",
        "━": "=",
        "╍": ":",
        CROSS: "X",
        "▶": ">",
        "✗": "x",
        "✓": "+",
        "│": "|",
        "▌": ">",
        "…": "~",
        "–": "-",
        MINUS: "-",
        "Δ": "d",
        "→": ">",
        "×": "x",
        "▁": ".",
        "▂": ".",
        "▃": ":",
        "▄": ":",
        "▅": "|",
        "▆": "|",
        "▇": "#",
        "█": "#",
        "“": '"',
        "”": '"',
        "░": ":",
        "≤": "<",
        "▲": "^",
        "▼": "v",
        "↑": "^",
        "↓": "v",
    }
)


def ascii_only(text: str) -> str:
    """Return the text in ASCII, in as many cells as before."""
    if text.isascii():
        return text
    text = text.translate(_ASCII)
    return text if text.isascii() else "".join(c if c.isascii() else "?" * cell_len(c) for c in text)


def known(number: float | None) -> bool:
    """Return whether there is a number that can be drawn."""
    return number is not None and math.isfinite(number)
