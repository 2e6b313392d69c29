"""The reconnect timeline: one lane per client, time from left to right.

A cell stands for a fixed stretch of time, aligned to the clock, so that the picture moves by whole cells and only when
one has passed. Points (lost, failed, resumed) matter more than the stretches between them and are drawn last; two that
fall into one cell are drawn side by side, as far as they are not in the future.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import floor
from typing import Final

from rich.cells import cell_len

from wsmon.ui.render import values
from wsmon.ui.render.lines import (
    ACCENT,
    BAD,
    CROSS,
    EMPTY,
    FAINT,
    GOOD,
    MINUS,
    MUTED,
    TEXT,
    WARNING,
    Ground,
    Ink,
    Line,
    Run,
    Tone,
    fit,
    fitted,
    joined,
    known,
    length_of,
    on,
    spread,
    title,
)
from wsmon.views.frame import Lane, Resumes, Segment, SegmentKind, Timeline

AHEAD_S: Final = 5.0
PAST_LEAST_S: Final = 6.0
"""The finest cells that show as much of the past are taken, and all of every absence that lasts."""
PAST_MOST_S: Final = 60.0
PASTS_S: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""How much of the past can be asked for."""
LABEL: Final = 7
SUMMARY: Final = 32
SHORT: Final = 18
"""The first half of the summary, where there is no room for the whole."""
LONG_CELLS: Final = 60
SHORT_CELLS: Final = 36
"""So many cells for the lane itself come before the whole summary, and before the first half of it."""
STEPS_S: Final = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
RULED_S: Final = (2, 5, 10, 20, 60, 120)
"""Distances of the words on the ruler: the first that leaves room for one between two others is taken."""
WORD_CELLS: Final = 8
SPARKS: Final = "▁▂▃▄▅▆▇█"
UNKNOWN: Final = "Nothing is known of clients yet."
QUIET: Final = "All clients are connected; lost connections appear here."
LEGEND: Final = f"{CROSS} lost  ━ waits  ╍ will try  ▶ tries  ✗ failed  ● back"
"""What a lane is made of, for those who see none yet."""

_POINTS: Final = {
    SegmentKind.LOST: (CROSS, Ink(Tone.BAD, bold=True)),
    SegmentKind.FAILED: ("✗", BAD),
    SegmentKind.RESUMED: ("●", GOOD),
}
_STRETCHES: Final = {
    SegmentKind.CONNECTED: ("─", FAINT),
    SegmentKind.WAITED: ("━", WARNING),
    SegmentKind.PLANNED: ("╍", MUTED),
    SegmentKind.ATTEMPT: ("▶", ACCENT),
}
_NOTHING: Final = (" ", TEXT)
_NOW: Final = ("│", FAINT)


@dataclass(frozen=True, slots=True)
class Axis:
    """Which time each cell stands for."""

    start: int
    """Number of the first cell, counted from the epoch."""
    step_s: float
    cells: int
    now: int
    """Cell of the present."""

    def cell(self, at: float) -> int:
        """Return the cell of a time, which may lie outside."""
        return floor(at / self.step_s + 1e-6) - self.start


def axis(now_at: float, cells: int, *, past_s: float = 0.0, asked: bool = False) -> Axis:
    """Return an axis of `cells` cells that shows at least `past_s` of the past and up to 5 s of what is planned.

    Unless somebody asked for just this much, it is kept within what is usually of use.
    """
    past_s = past_s if asked else min(max(past_s, PAST_LEAST_S), PAST_MOST_S)
    step = next((step for step in STEPS_S if _present(cells, step) * step >= past_s), STEPS_S[-1])
    now = _present(cells, step)
    return Axis(floor(now_at / step + 1e-6) - now, step, cells, now)


def _present(cells: int, step_s: float) -> int:
    """Return the cell of the present: what comes next gets a third of the cells at most."""
    return cells - max(1, min(cells // 3, round(AHEAD_S / step_s))) - 1


@lru_cache(512)
def cells_of(segments: tuple[Segment, ...], across: Axis) -> Line:
    """Return a lane's cells as runs."""
    cells: list[tuple[str, Ink]] = [_NOTHING] * across.cells
    if 0 <= across.now < across.cells:
        cells[across.now] = _NOW
    points: list[tuple[int, SegmentKind]] = []
    for segment in segments:
        if not (known(segment.start_at) and known(segment.end_at)):
            continue
        first, last = across.cell(segment.start_at), across.cell(segment.end_at)
        if segment.kind in _POINTS:
            points.append((last if segment.kind is SegmentKind.FAILED else first, segment.kind))
        if segment.kind in _STRETCHES or first < last:
            glyph = _STRETCHES.get(segment.kind, _STRETCHES[SegmentKind.ATTEMPT])
            limit = across.cells if segment.kind is SegmentKind.PLANNED else across.now + 1
            for cell in range(max(0, first), min(last + 1, limit)):
                cells[cell] = glyph
    taken: set[int] = set()
    for at, kind in points:
        cell = at
        while cell in taken and cell < across.now:
            cell += 1
        if 0 <= cell < across.cells:
            taken.add(cell)
            cells[cell] = _POINTS[kind]
    return tuple(Run("".join(glyph for glyph, _ in run), ink) for ink, run in groupby(cells, key=lambda cell: cell[1]))


def lane(row: Lane, across: Axis, width: int, *, selected: bool = False) -> Line:
    """Return one client's line: its name, its lane, and in words what it does if there is room."""
    runs = [
        Run("▌" if selected else " ", ACCENT),
        Run(fit(row.client, LABEL - 1) + " ", TEXT if row.away else MUTED),
        *cells_of(row.segments, across),
    ]
    left = width - length_of(tuple(runs))
    if left > 4:
        summary = row.summary if cell_len(row.summary) < left else row.summary.split(",")[0]
        runs.append(Run(" " + fit(summary, left - 1), TEXT if row.away else MUTED))
    return on(fitted(runs, width), Ground.SELECTED) if selected else fitted(runs, width)


def ruler(across: Axis, width: int) -> Line:
    """Return the time axis: seconds from now."""
    text = [" "] * across.cells
    per_s = 1 / across.step_s
    room = min(across.cells, width - LABEL - 1)
    step = next((step for step in RULED_S if step * per_s >= WORD_CELLS), RULED_S[-1])
    farthest = step * (1 + int(across.cells * across.step_s / step))
    for second in sorted(range(-farthest, farthest + 1, step), key=abs):
        cell = across.now + round(second * per_s)
        word = "now" if second == 0 else f"{second:+d} s".replace("-", MINUS)
        if not 0 <= cell < across.cells:
            continue
        start = max(0, min(cell - len(word) // 2, across.cells - len(word)))
        if start + len(word) > room:
            continue
        # Words keep a blank between them; the present comes first.
        if "".join(text[max(0, start - 1) : start + len(word) + 1]).strip():
            continue
        text[start : start + len(word)] = word
    before, now, after = "".join(text[: max(0, room)]).partition("now")
    return fitted(
        (Run(" " * (LABEL + 1), MUTED), Run(before, MUTED), Run(now, TEXT), Run(after.rstrip(), MUTED)), width
    )


def spark(numbers: Sequence[int]) -> str:
    """Return a bar for each number; the largest fills the cell, zero is a blank."""
    most = max(numbers, default=0)
    if most <= 0:
        return ""
    return "".join(SPARKS[max(0, -(-number * len(SPARKS) // most) - 1)] if number > 0 else " " for number in numbers)


def facts(timeline: Timeline, width: int) -> Line:
    """Return the counts for the head, as many as fit into `width` cells."""
    parts: list[Line] = []
    if timeline.away:
        parts.append((Run(f"{timeline.away}", Ink(Tone.WARNING, bold=True)), Run(" reconnecting", WARNING)))
    if timeline.back:
        parts.append((Run(f"{timeline.back}", GOOD), Run(" back", MUTED)))
    if timeline.median_s is not None:
        parts.append((Run(f"median {values.seconds(timeline.median_s)}", MUTED),))
    if timeline.slowest_s is not None:
        parts.append((Run(f"slowest {values.seconds(timeline.slowest_s)}", MUTED),))
    return joined([*parts, *ways(timeline.resumes)], width)


def ways(resumes: Resumes) -> tuple[Line, ...]:
    """Return in which ways, and how fast, clients came back since the beginning."""
    named = (("from memory", resumes.ring, MUTED), ("from log", resumes.log, MUTED), ("anew", resumes.resync, WARNING))
    runs: list[Run] = []
    for word, number, ink in named:
        if number:
            runs += [Run(", " if runs else "so far ", MUTED), Run(f"{values.count(number)} {word}", ink)]
    parts: list[Line] = [tuple(runs)] if runs else []
    if resumes.p50_ms is not None or resumes.p99_ms is not None:
        p50, p99 = (values.seconds(None if ms is None else ms / 1_000) for ms in (resumes.p50_ms, resumes.p99_ms))
        parts.append((Run(f"p50 {p50}, p99 {p99}", MUTED),))
    return tuple(parts)


def pane(
    timeline: Timeline,
    width: int,
    height: int,
    *,
    top: int,
    focused: bool,
    quiet: str = QUIET,
    selected: str | None = None,
    past_s: float | None = None,
    note: str = "",
    hint: str = "",
) -> tuple[Line, ...]:
    """Return head, lanes from `top` on, and ruler: `height` lines at most.

    `quiet` is said where there is no lane, and under it the `hint`; `selected` is the client of the selected lane;
    `past_s` how much of the past was asked for; `note` what the head tells of filter and order.
    """
    if height <= 0:
        return ()
    noted: Line = (Run(note, WARNING),) if note else EMPTY
    if not timeline.lanes:
        told = joined(ways(timeline.resumes), width - len("─ reconnects  ") - 1)
        lines = [title("reconnects", noted or told, width, focused=focused), fitted((Run(f"  {quiet}", MUTED),), width)]
        if hint:
            lines.append(fitted((Run(f"  {hint}", MUTED),), width))
        return tuple(lines[:height])
    room = max(0, height - 2)
    shown = timeline.lanes[top : top + room]
    unseen = len(timeline.lanes) - top - len(shown) + timeline.hidden
    storm = spark(timeline.planned).rstrip()
    right: Line = (Run("planned ", MUTED), Run(storm, ACCENT)) if storm else EMPTY
    spare = width - len("─ reconnects  ") - (length_of(right) + 4 if storm else 1)
    if note:
        rest = facts(timeline, max(0, spare - length_of(noted) - 3))
        told = joined([part for part in (noted, rest) if part], spare)
    else:
        told = facts(timeline, spare)
    longest_s = max((timeline.now_at - row.lost_at for row in shown if row.away and known(row.lost_at)), default=0.0)
    across = axis(
        timeline.now_at,
        lane_cells(width),
        past_s=longest_s + 1.0 if past_s is None else past_s,
        asked=past_s is not None,
    )
    lines = [title("reconnects", told, width, focused=focused, right=right)]
    lines += [lane(row, across, width, selected=row.client == selected) for row in shown]
    lines.append(_foot(across, unseen, width))
    return tuple(lines[:height])


def _foot(across: Axis, unseen: int, width: int) -> Line:
    """Return the time axis and how many lanes are out of sight, where it hides nothing: the present least of all."""
    if not unseen:
        return ruler(across, width)
    more: Line = (Run(f"{unseen} more ↓ ", MUTED),)
    room = width - length_of(more)
    if LABEL + 1 + across.now + len("now") <= room:
        return spread(ruler(across, room), more, width)
    number = f" +{values.count(unseen)}"
    label = f"{number} ↓" if len(number) + 2 <= LABEL else number
    return (Run(fit(label, LABEL + 1), MUTED), *ruler(across, width)[1:])


def lane_cells(width: int) -> int:
    """Return how many cells of a line are time."""
    for summary, least in ((SUMMARY, LONG_CELLS), (SHORT, SHORT_CELLS)):
        cells = width - LABEL - summary - 2
        if cells >= least:
            return cells
    return max(1, width - LABEL - 2)
