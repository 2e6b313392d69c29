"""Bars, sparklines and strips in the characters that a terminal has. Nothing here knows colours of its own.

A braille cell holds two columns of four dots, a block one column of eight steps, an ASCII one column of four. A height
of more than one line multiplies the steps. Whatever is above zero shows at least its smallest mark: a single lost
message must not look like none. What is not a number shows nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby, pairwise
from math import ceil, isfinite
from typing import Final

from wsmon.ui.render.lines import ACCENT, Ink, Line, Run

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
MARKS: Final = " .:|#"
_LEFT: Final = (0x00, 0x40, 0x44, 0x46, 0x47)
"""Dots of the left column of a braille cell, filled from below."""
_RIGHT: Final = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
_BRAILLE: Final = 0x2800


class Glyphs(StrEnum):
    """Which characters graphs are made of."""

    BRAILLE = "braille"
    BLOCK = "block"
    ASCII = "ascii"

    @property
    def columns(self) -> int:
        """How many values stand side by side in one cell."""
        return 2 if self is Glyphs.BRAILLE else 1

    @property
    def steps(self) -> int:
        """How many heights one cell can show, besides none."""
        return 8 if self is Glyphs.BLOCK else 4


_BARS: Final[Mapping[Glyphs, tuple[str, str, str]]] = {
    Glyphs.BLOCK: ("█", " ▏▎▍▌▋▊▉", " "),
    Glyphs.BRAILLE: ("⣿", " ⡇", "⣀"),
    Glyphs.ASCII: ("#", " ", "."),
}
"""A full cell, the parts of one, and an empty one."""


def detect(environ: Mapping[str, str], encoding: str) -> Glyphs:
    """Return what the terminal is thought to have; `encoding` is that of the locale.

    The Linux console has 512 characters and no braille among them, and neither have the oldest terminals and serial
    lines.
    """
    term = environ.get("TERM", "")
    plain = encoding.lower().replace("-", "").replace("_", "")
    if term in ("", "linux", "dumb", "vt100", "vt102", "vt220", "ansi", "cons25") or not plain.startswith("utf"):
        return Glyphs.ASCII
    return Glyphs.BRAILLE


def chosen(choice: str, environ: Mapping[str, str], encoding: str) -> Glyphs:
    """Return the glyphs of a setting: `auto`, or one by name."""
    return detect(environ, encoding) if choice == "auto" else Glyphs(choice)


def spark(
    values: Sequence[float],
    width: int,
    height: int = 1,
    glyphs: Glyphs = Glyphs.BRAILLE,
    *,
    most: float | None = None,
) -> tuple[str, ...]:
    """Return a graph of the newest values, `height` lines of `width` cells, the newest at the right end.

    `most` is the value that fills the height; without it the largest that is shown.
    """
    if width <= 0 or height <= 0:
        return ()
    room = width * glyphs.columns
    shown = [value if isfinite(value) and value > 0 else 0.0 for value in values[-room:]]
    levels = _levels(shown, height * glyphs.steps, most)
    return _drawn([0] * (room - len(levels)) + levels, height, glyphs)


def strip(
    values: Sequence[float],
    width: int,
    glyphs: Glyphs = Glyphs.BRAILLE,
    *,
    bands: Sequence[tuple[float, Ink]] = (),
    ink: Ink = ACCENT,
    most: float | None = None,
) -> Line:
    """Return a histogram in one line of `width` cells, all values in their order from left to right.

    More values than there is room for are put together, and the largest of each group is drawn. `bands` are rising
    limits with the ink from each on; below the first it is `ink`. Neighbours in one band are one run. Where a cell holds
    two values, the larger decides.
    """
    if width <= 0:
        return ()
    room = width * glyphs.columns
    fair = [value if isfinite(value) and value > 0 else 0.0 for value in values]
    columns = grouped(fair, room)
    columns += [0.0] * (room - len(columns))
    top = max(columns, default=0.0) if most is None else most
    (text,) = _drawn(_levels(columns, glyphs.steps, top), 1, glyphs)
    peaks = [max(columns[at : at + glyphs.columns]) for at in range(0, room, glyphs.columns)]
    inks = [_band(peak, bands, ink) for peak in peaks]
    cells = zip(inks, text, strict=True)
    return tuple(Run("".join(glyph for _, glyph in run), of) for of, run in groupby(cells, key=lambda cell: cell[0]))


def bar(part: float, width: int, glyphs: Glyphs = Glyphs.BLOCK) -> str:
    """Return a bar of `width` cells from the left, filled to `part`, 0 to 1, which may lie outside."""
    if width <= 0:
        return ""
    part = min(1.0, max(0.0, part)) if isfinite(part) else 0.0
    filled, parts, empty = _BARS[glyphs]
    fine = len(parts)
    # Only what is done fills the bar.
    marks = min(width * fine - (part < 1), ceil(part * width * fine - 1e-9))
    full, rest = divmod(max(0, marks), fine)
    text = filled * full + (parts[rest] if rest else "")
    return text + empty * (width - len(text))


def grouped(values: Sequence[float], room: int) -> list[float]:
    """Return at most `room` values: neighbours in groups of nearly one size, of each its largest."""
    if len(values) <= room:
        return list(values)
    edges = [at * len(values) // room for at in range(room + 1)]
    return [max(values[start:end]) for start, end in pairwise(edges)]


def _levels(values: Sequence[float], steps: int, most: float | None) -> list[int]:
    top = max(values, default=0.0) if most is None else most
    if not (isfinite(top) and top > 0):
        return [0] * len(values)
    # The tiny subtraction keeps 3 of 8 at three eighths whatever the division makes of it.
    return [min(steps, max(1, ceil(min(1.0, value / top) * steps - 1e-9))) if value > 0 else 0 for value in values]


def _drawn(levels: Sequence[int], height: int, glyphs: Glyphs) -> tuple[str, ...]:
    steps, lines = glyphs.steps, []
    for line in reversed(range(height)):
        here = levels if height == 1 else [min(steps, max(0, level - line * steps)) for level in levels]
        lines.append("".join(_cells(here, glyphs)))
    return tuple(lines)


def _cells(levels: Sequence[int], glyphs: Glyphs) -> Iterator[str]:
    if glyphs is not Glyphs.BRAILLE:
        marks = BLOCKS if glyphs is Glyphs.BLOCK else MARKS
        return (marks[level] for level in levels)
    pairs = zip(levels[::2], levels[1::2], strict=True)
    return (chr(_BRAILLE | _LEFT[left] | _RIGHT[right]) if left or right else " " for left, right in pairs)


def _band(value: float, bands: Sequence[tuple[float, Ink]], ink: Ink) -> Ink:
    for limit, above in bands:
        if value >= limit:
            ink = above
    return ink
