"""The storm radar: how many attempts are planned in each of the coming seconds, against what the survivors can take."""

from typing import Final

from rich.cells import cell_len

from wsmon.ui.render import detail, values
from wsmon.ui.render.glyphs import Glyphs, spark
from wsmon.ui.render.lines import (
    ACCENT,
    BAD,
    EMPTY,
    FAINT,
    MUTED,
    TEXT,
    WARNING,
    Ink,
    Line,
    Run,
    Tone,
    fit,
    fitted,
    joined,
    title,
)
from wsmon.views.detail_frame import NodeDetail
from wsmon.views.frame import Timeline

LABEL: Final = 8
CELLS_MOST: Final = 3
"""Cells of one second at most."""
CELLS_BESIDE: Final = 2
"""… where something else stands beside them."""
BESIDE: Final = 112
"""From this width on the last minutes stand beside the radar, below it otherwise."""
NEAR: Final = 2.0
"""The line of the capacity is drawn if it is not higher than the peak by more than this factor."""
NOTHING: Final = "no attempt is planned"


def pane(
    timeline: Timeline, capacity: float | None, past: NodeDetail | None, width: int, height: int, *, glyphs: Glyphs
) -> tuple[Line, ...]:
    """Return head, bars and seconds, and how the last minutes went if there is room: `height` lines."""
    if height <= 0 or width <= 0:
        return ()
    head = title("storm ahead", facts(timeline, capacity, width - len("─ storm ahead  ") - 1), width)
    shown = () if past is None else past.strips
    beside = bool(shown) and width >= BESIDE
    below = len(shown) + 1 if shown and not beside and height >= 3 + len(shown) + 2 else 0
    room = LABEL + CELLS_BESIDE * max(1, len(timeline.planned)) + 6 if beside else width
    body = list(_radar(timeline, capacity, room, height - 1 - below, glyphs))
    span_s = 0.0 if past is None else past.strips_s
    if beside:
        right = detail.strips(shown, span_s, width - room, glyphs)
        empty = fitted(EMPTY, width - room)
        body = [(*line, *(right[y] if y < len(right) else empty)) for y, line in enumerate(body)]
    elif below:
        body += detail.strips(shown, span_s, width, glyphs)
    return (head, *body)[:height]


def facts(timeline: Timeline, capacity: float | None, width: int) -> Line:
    """Return what the bars mean in words."""
    planned = timeline.planned
    total, peak = sum(planned), max(planned, default=0)
    if not total:
        waits = "" if timeline.away else "; nobody is away"
        parts: list[Line] = [(Run(NOTHING + waits, MUTED),)]
    else:
        when = planned.index(peak)
        over = capacity is not None and peak > capacity
        parts = [
            (Run(values.exact(total), Ink(bold=True)), Run(f" planned in {len(planned)} s", MUTED)),
            (
                Run("peak ", MUTED),
                Run(f"{values.exact(peak)}/s", Ink(Tone.BAD, bold=True) if over else TEXT),
                Run(" now" if not when else f" in {when} s", MUTED),
            ),
        ]
    if capacity is not None:
        parts.append((Run("capacity ", MUTED), Run(f"{values.count(capacity)}/s", TEXT)))
    return joined(parts, width)


def _radar(timeline: Timeline, capacity: float | None, width: int, height: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Return bars, and under them the seconds if there are lines enough."""
    planned = timeline.planned
    if height <= 0:
        return ()
    cells = max(1, min(CELLS_MOST, (width - LABEL - 1) // max(1, len(planned))))
    ruled = height >= 2
    rows = height - ruled
    peak = max(planned, default=0)
    near = capacity is not None and capacity <= NEAR * peak
    top = float(max(peak, capacity or 0)) if near else float(peak)
    bars = spark(
        list(planned), len(planned), rows, Glyphs.ASCII if glyphs is Glyphs.ASCII else Glyphs.BLOCK, most=top or None
    )
    # The row in which the capacity lies, from above.
    limit = rows - 1 - min(rows - 1, int((capacity or 0) / top * rows - 1e-9)) if near and top else None
    lines = [
        _bars(text, planned, cells, width, capacity=capacity, limit=y == limit, label=_label(y, rows, top))
        for y, text in enumerate(bars)
    ]
    if ruled:
        lines.append(_ruler(len(planned), cells, width))
    return tuple(lines)


def _label(y: int, rows: int, top: float) -> str:
    return values.count(top) if y == 0 and top else "0" if top and y == rows - 1 and rows > 1 else ""


def _bars(  # All of one line.
    text: str, planned: tuple[int, ...], cells: int, width: int, *, capacity: float | None, limit: bool, label: str
) -> Line:
    runs = [Run(fit(label, LABEL - 2, right=True), MUTED), Run(" │", FAINT)]
    for bar, number in zip(text, planned, strict=True):
        over = capacity is not None and number > capacity
        ink = BAD if over else ACCENT
        wide = bar * (cells - 1) + " " if cells > 1 else bar
        if limit:
            # The line goes behind the bars.
            runs += [Run("─" if cell == " " else cell, WARNING if cell == " " else ink) for cell in wide]
        else:
            runs.append(Run(wide, ink))
    return fitted(_merged(runs), width)


def _merged(runs: list[Run]) -> list[Run]:
    merged: list[Run] = []
    for run in runs:
        if merged and merged[-1].ink == run.ink:
            merged[-1] = Run(merged[-1].text + run.text, run.ink)
        else:
            merged.append(run)
    return merged


def _ruler(seconds: int, cells: int, width: int) -> Line:
    text = " " * LABEL
    for second in range(0, seconds + 1, 5 if cells > 1 else 10):
        word = "now" if not second else f"+{second} s"
        start = LABEL + second * cells
        if (cell_len(text) < start or not second) and start + cell_len(word) <= width:
            text = text.ljust(start) + word
    return fitted((Run(text, MUTED),), width)
