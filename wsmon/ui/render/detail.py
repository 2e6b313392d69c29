"""One node in full: why it is where it is, and everything that is known of it, in one column or two."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from wsmon.protocol.states import NodeState
from wsmon.ui.render import values
from wsmon.ui.render.caption import broken
from wsmon.ui.render.glyphs import Glyphs, spark
from wsmon.ui.render.lines import (
    ACCENT,
    BAD,
    EMPTY,
    FAINT,
    GOOD,
    MUTED,
    TEXT,
    WARNING,
    Ink,
    Line,
    Run,
    clip,
    fit,
    fitted,
    title,
)
from wsmon.ui.render.nodes import GLYPHS, JUDGED, TONES
from wsmon.views.detail_frame import Fact, Measure, NodeDetail, Section, Strip
from wsmon.views.frame import Severity

LABEL: Final = 10
TWO_COLUMNS: Final = 76
"""From this width on the sections stand in two columns."""
GAP: Final = 3
WHY_LINES: Final = 4
FACT_LINES: Final = 3
GRAPH_MOST: Final = 60
NUMBER: Final = 6
NOBODY: Final = "No node is selected."
INKS: Final = {
    Severity.QUIET: MUTED,
    Severity.INFO: TEXT,
    Severity.GOOD: GOOD,
    Severity.WARNING: WARNING,
    Severity.BAD: BAD,
}


def pane(
    detail: NodeDetail | None, width: int, height: int, *, top: int, focused: bool, glyphs: Glyphs
) -> tuple[Line, ...]:
    """Return the head and, from line `top` on, what is known of the node."""
    if height <= 0 or width <= 0:
        return ()
    if detail is None:
        return (title("node", EMPTY, width, focused=focused), fitted((Run(f"  {NOBODY}", MUTED),), width))[:height]
    body = lines(detail, width, glyphs)
    room = max(0, height - 1)
    unseen = len(body) - top - room
    right: Line = (Run(f"{unseen} more ↓", MUTED),) if unseen > 0 and room else EMPTY
    head = title(clip(detail.node, 24), _state(detail), width, focused=focused, right=right)
    return (head, *body[top : top + room])


@lru_cache(2)
def lines(detail: NodeDetail, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Return everything below the head, as many lines as it takes. Whoever scrolls asks how many, and then for them."""
    told = [fitted((Run(f"  {text}", TEXT),), width) for text in broken(detail.why, width - 3)[:WHY_LINES]]
    if width < TWO_COLUMNS:
        parts = [_section(section, width) for section in detail.sections]
        parts.insert(min(2, len(parts)), strips(detail.strips, detail.strips_s, width, glyphs))
        return (*told, *(line for part in parts for line in part))
    room = (width - GAP) // 2
    blocks = [_section(section, room) for section in detail.sections]
    blocks.append(strips(detail.strips, detail.strips_s, room, glyphs))
    left, right = _halves(blocks)
    gap = Run(" " * GAP, TEXT)
    empty = fitted(EMPTY, room)
    pairs = (
        fitted(
            (
                *(left[y] if y < len(left) else empty),
                gap,
                *(right[y] if y < len(right) else empty),
            ),
            width,
        )
        for y in range(max(len(left), len(right)))
    )
    return (*told, *pairs)


def strips(shown: Sequence[Strip], span_s: float, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Return the graphs of the last minutes, one a line, the newest value at the right end."""
    if not shown:
        return ()
    room = min(GRAPH_MOST, width - LABEL - NUMBER - 4)
    if room < 4:
        return ()
    held = max(len(strip.values) for strip in shown)
    # The graph shows as much of the past as it has columns for.
    covers_s = min(span_s, span_s * room * glyphs.columns / held) if held else span_s
    return (_name(f"last {values.age(covers_s)}", width), *(_graph(strip, room, width, glyphs) for strip in shown))


def _graph(strip: Strip, room: int, width: int, glyphs: Glyphs) -> Line:
    (graph,) = spark([0.0 if value is None else value for value in strip.values], room, 1, glyphs)
    quiet = strip.old or strip.now is None
    return fitted(
        (
            Run("  " + fit(strip.label, LABEL) + " ", MUTED),
            Run(fit(_number(strip), NUMBER - 1, right=True) + " ", FAINT if quiet else TEXT),
            Run(graph, FAINT if quiet else ACCENT),
        ),
        width,
    )


def _number(strip: Strip) -> str:
    match strip.measure:
        case Measure.COUNT:
            return values.count(strip.now)
        case Measure.RATE:
            return values.rate(strip.now)
        case Measure.MILLISECONDS:
            return values.milliseconds(strip.now)


def _state(detail: NodeDetail) -> Line:
    silent = detail.silent_s is not None and detail.state not in JUDGED
    state = NodeState.STALE if silent else detail.state
    word = str(state)
    if detail.silent_s is not None and detail.silent_s >= 1:
        word += f", silent for {values.age(detail.silent_s)}"
    ink = TEXT if state is NodeState.ONLINE else Ink(TONES[state], bold=True)
    return (Run(f"{GLYPHS[state]} ", Ink(TONES[state])), Run(word, ink))


def _name(name: str, width: int) -> Line:
    return fitted((Run(f" {clip(name, width)}", Ink(MUTED.tone, bold=True)),), width)


def _section(section: Section, width: int) -> tuple[Line, ...]:
    return (_name(section.name, width), *(line for fact in section.facts for line in _fact(fact, width)))


def _fact(fact: Fact, width: int) -> tuple[Line, ...]:
    ink = FAINT if fact.old else INKS[fact.severity]
    room = max(1, width - LABEL - 4)
    told = broken(fact.text, room)[:FACT_LINES] or ("",)
    return tuple(
        fitted((Run("  " + (fit(fact.label, LABEL) if not y else " " * LABEL) + " ", MUTED), Run(text, ink)), width)
        for y, text in enumerate(told)
    )


def _halves(blocks: Sequence[tuple[Line, ...]]) -> tuple[list[Line], list[Line]]:
    """Return two columns of about one height; blocks stay whole and in their order."""
    total = sum(map(len, blocks))
    best, cut, left = total + 1, len(blocks), 0
    for place in range(len(blocks) + 1):
        higher = max(left, total - left)
        if higher < best:
            best, cut = higher, place
        left += len(blocks[place]) if place < len(blocks) else 0
    return [line for block in blocks[:cut] for line in block], [line for block in blocks[cut:] for line in block]
