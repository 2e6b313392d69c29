"""Truth above verdict: two lines for each node on one axis of time, what was done and what its checker said."""

from itertools import groupby
from typing import Final

from wsmon.protocol.states import NodeState
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import (
    FAINT,
    MUTED,
    TEXT,
    WARNING,
    Ink,
    Line,
    Run,
    fit,
    fitted,
    known,
    length_of,
    title,
)
from wsmon.ui.render.nodes import GLYPHS, TONES
from wsmon.ui.render.timeline import LABEL, Axis, axis, lane_cells, ruler
from wsmon.views.truth_frame import Deed, TruthLane, TruthLanes

QUIET: Final = "Nothing was done to any node, and every node is online."
_QUIET_STATES: Final = (NodeState.ONLINE, NodeState.LEFT)


def pane(
    truth: TruthLanes,
    width: int,
    height: int,
    *,
    top: int = 0,
    focused: bool = False,
    past_s: float | None = None,
    glyphs: Glyphs = Glyphs.BLOCK,
) -> tuple[Line, ...]:
    """Return head, two lines a node from node `top` on, and time axis; `past_s` is how much of the past is wanted."""
    if height <= 0:
        return ()
    shown = truth.lanes[top : top + max(1, (height - 2) // 2)]
    unseen = truth.hidden + len(truth.lanes) - len(shown)
    told: Line = (Run(f"{unseen} more {'node' if unseen == 1 else 'nodes'}", MUTED),) if unseen else ()
    head = title("truth and verdict", told, width, focused=focused)
    if not truth.lanes:
        return (head, fitted((Run(f"  {QUIET}", MUTED),), width))[:height]
    oldest = max((truth.now_at - deed.since_at for row in shown for deed in row.deeds[-1:]), default=0.0)
    across = axis(
        truth.now_at,
        lane_cells(width),
        past_s=oldest + 1.0 if past_s is None else past_s,
        asked=past_s is not None,
    )
    lines = [head]
    for row in shown:
        lines += lane(row, across, width, glyphs=glyphs)
    lines.append(ruler(across, width))
    return tuple(lines[:height])


def lane(row: TruthLane, across: Axis, width: int, *, glyphs: Glyphs = Glyphs.BLOCK) -> tuple[Line, Line]:
    """Return one node's two lines: what was done to it, and below what was said of it."""
    return (
        _line(Run(row.node, TEXT), deeds_of(row.deeds, across, glyphs), Run(row.summary, WARNING), width),
        _line(Run("judged", MUTED), said_of(row, across), Run(row.finding, MUTED), width),
    )


def _line(label: Run, cells: Line, words: Run, width: int) -> Line:
    runs = [Run(" " + fit(label.text, LABEL - 1) + " ", label.ink), *cells]
    left = width - length_of(tuple(runs))
    if left > 4 and words.text:
        runs.append(Run(" " + fit(words.text, left - 1), words.ink))
    return fitted(runs, width)


def deeds_of(deeds: tuple[Deed, ...], across: Axis, glyphs: Glyphs = Glyphs.BLOCK) -> Line:
    """Return what was done as cells. While a removal is due by what is promised, the fault is shaded."""
    plain = glyphs is Glyphs.ASCII
    cells: list[tuple[str, Ink]] = [(" ", TEXT)] * across.cells
    if 0 <= across.now < across.cells:
        cells[across.now] = ("│", FAINT)
    for deed in deeds:
        if not known(deed.since_at) or (deed.until_at is not None and not known(deed.until_at)):
            continue
        first = across.cell(deed.since_at)
        last = across.now if deed.until_at is None else min(across.now, across.cell(deed.until_at))
        for cell in range(max(0, first), min(last + 1, across.cells)):
            cells[cell] = ("=" if plain else "━", WARNING)
        if deed.window_at is not None and all(known(edge) for edge in deed.window_at):
            # What is still to come is promised as well, as long as the fault lasts.
            end = across.cells - 1 if deed.until_at is None else last
            for cell in range(max(0, across.cell(deed.window_at[0])), min(across.cell(deed.window_at[1]), end) + 1):
                cells[cell] = (":" if plain else "░", WARNING if cell <= last else MUTED)
        start = max(first, 0) + 1
        place = cells[start : start + len(deed.what)]
        # Its name stands in it if nothing has to give way; wide characters would push all that follows.
        if deed.what.isascii() and start + len(deed.what) <= last and all(glyph in "━=" for glyph, _ in place):
            cells[start : start + len(deed.what)] = [(letter, WARNING) for letter in deed.what]
    return _runs(cells)


def said_of(row: TruthLane, across: Axis) -> Line:
    """Return the verdicts as cells: a glyph where one begins, or comes into sight, then a line while it holds."""
    cells: list[tuple[str, Ink]] = [(" ", TEXT)] * across.cells
    if 0 <= across.now < across.cells:
        cells[across.now] = ("│", FAINT)
    marks: dict[int, tuple[str, Ink]] = {}
    for said in row.said:
        if not known(said.since_at) or (said.until_at is not None and not known(said.until_at)):
            continue
        ink = FAINT if said.state in _QUIET_STATES else Ink(TONES[said.state])
        first = across.cell(said.since_at)
        last = across.now if said.until_at is None else min(across.now, across.cell(said.until_at))
        for cell in range(max(0, first), min(last + 1, across.cells)):
            cells[cell] = ("─", ink)
        place = max(0, first) if last >= 0 else first
        while place in marks and place < across.now:
            place += 1
        if 0 <= place < across.cells:
            marks[place] = (GLYPHS[said.state], Ink(TONES[said.state]))
    for place, mark in marks.items():
        cells[place] = mark
    return _runs(cells)


def _runs(cells: list[tuple[str, Ink]]) -> Line:
    return tuple(Run("".join(glyph for glyph, _ in run), ink) for ink, run in groupby(cells, key=lambda cell: cell[1]))
