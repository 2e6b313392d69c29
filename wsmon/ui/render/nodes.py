"""The node table: columns of fixed width, so that numbers never jump; the width of the screen decides which."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from wsmon.protocol.states import NodeState
from wsmon.ui.render import values
from wsmon.ui.render.lines import (
    ACCENT,
    BAD,
    EMPTY,
    FAINT,
    MUTED,
    TEXT,
    WARNING,
    Ground,
    Ink,
    Line,
    Run,
    Tone,
    clip,
    fit,
    fitted,
    joined,
    known,
    length_of,
    on,
)
from wsmon.views.frame import NodeRow

GLYPHS: Final = {
    NodeState.JOINING: "◌",
    NodeState.ONLINE: "●",
    NodeState.SUSPECT: "◐",
    NodeState.REMOVED: "○",
    NodeState.RECOVERING: "◔",
    NodeState.QUARANTINED: "◫",
    NodeState.DRAINING: "▽",
    NodeState.CORDONED: "▪",
    NodeState.LEFT: "·",
    NodeState.STALE: "?",
}
TONES: Final = {
    NodeState.JOINING: Tone.ACCENT,
    NodeState.ONLINE: Tone.GOOD,
    NodeState.SUSPECT: Tone.WARNING,
    NodeState.REMOVED: Tone.BAD,
    NodeState.RECOVERING: Tone.ACCENT,
    NodeState.QUARANTINED: Tone.WARNING,
    NodeState.DRAINING: Tone.ACCENT,
    NodeState.CORDONED: Tone.WARNING,
    NodeState.LEFT: Tone.FAINT,
    NodeState.STALE: Tone.WARNING,
}
JUDGED: Final = (NodeState.SUSPECT, NodeState.REMOVED, NodeState.QUARANTINED, NodeState.LEFT)
"""Words that hold for a silent node too: somebody else says them."""
LAG_WARNING_MS: Final = 250.0
CPU_WARNING: Final = 90.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `rank` says which go first when there is no room (the smallest stay)."""

    title: str
    width: int
    rank: int
    draw: Callable[[NodeRow], tuple[str, Ink]]
    right: bool = True
    own: bool = True
    """Whether the node itself tells the value: it is old when the node is silent."""


def shown_state(row: NodeRow) -> NodeState:
    """Return the state to draw: a node that says nothing is not shown as it last was."""
    return row.state if row.silent_s is None or row.state in JUDGED else NodeState.STALE


def state_text(row: NodeRow) -> str:
    """Return the state's word and what stands behind it."""
    state = shown_state(row)
    if state is NodeState.STALE:
        return f"{state} {values.age(row.silent_s)}" if row.silent_s is not None else str(state)
    return f"{state} {row.detail}".rstrip()


def _state(row: NodeRow) -> tuple[str, Ink]:
    state = shown_state(row)
    # All is well in the colour of text: only the glyph is green.
    return f"{GLYPHS[state]} {state_text(row)}", TEXT if state is NodeState.ONLINE else Ink(TONES[state], bold=True)


def _number(text: str) -> tuple[str, Ink]:
    return text, FAINT if text in {values.UNKNOWN, "0"} else TEXT


def _check(text: str) -> tuple[str, Ink]:
    if not text:
        return values.UNKNOWN, FAINT
    return text, MUTED if text == "ok" else WARNING


def _misses(row: NodeRow) -> tuple[str, Ink]:
    needed = "" if row.misses_needed is None else f"/{row.misses_needed}"
    return f"{row.misses}{needed}", FAINT if row.misses == 0 else WARNING


def _warned(text: str, value: float | None, limit: float) -> tuple[str, Ink]:
    return (text, WARNING) if value is not None and known(value) and value >= limit else _number(text)


COLUMNS: Final = (
    Column("NODE", 6, 0, lambda row: (row.id, Ink(bold=True)), right=False, own=False),
    Column("STATE", 18, 0, _state, right=False, own=False),
    Column("AGE", 4, 1, lambda row: (values.age(row.since_s), MUTED), own=False),
    Column("HB", 4, 5, lambda row: _check(row.heartbeat), own=False),
    Column("HTTP", 4, 6, lambda row: _check(row.http), own=False),
    Column("MISS", 4, 15, _misses, own=False),
    Column("CONN", 5, 0, lambda row: _number(values.count(row.connections))),
    Column("Δ", 5, 3, lambda row: (values.delta(row.connections_delta), MUTED)),
    Column("IN/s", 5, 4, lambda row: _number(values.rate(row.messages_in_s))),
    Column("OUT/s", 5, 2, lambda row: _number(values.rate(row.messages_out_s))),
    Column("UNACK", 5, 9, lambda row: _number(values.count(row.unacked))),
    Column("RTX", 5, 11, lambda row: _number(values.count(row.retransmits))),
    Column("SLOW", 5, 12, lambda row: _warned(values.count(row.lagging), row.lagging, 1)),
    Column("LAG ms", 6, 7, lambda row: _warned(values.milliseconds(row.lag_ms), row.lag_ms, LAG_WARNING_MS)),
    Column("RTT ms", 6, 10, lambda row: _number(values.milliseconds(row.rtt_ms))),
    Column("CPU", 4, 8, lambda row: _warned(values.percent(row.cpu), row.cpu, CPU_WARNING)),
    Column("RSS", 5, 13, lambda row: _number(values.size(row.rss))),
    Column("FD", 4, 16, lambda row: _number(values.count(row.fds))),
    Column("UP", 4, 14, lambda row: (values.age(row.uptime_s), MUTED)),
    Column("PID", 7, 17, lambda row: (values.UNKNOWN if row.pid is None else str(row.pid), MUTED)),
    Column("ADDRESS", 21, 18, lambda row: (row.address or values.UNKNOWN, MUTED), right=False),
    Column("PROCESS", 9, 19, lambda row: (row.process or values.UNKNOWN, MUTED), right=False, own=False),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns for a width, and the gap between them."""

    columns: tuple[Column, ...]
    gap: int
    width: int


@lru_cache(32)
def layout(width: int) -> Layout:
    """Return the columns that fit, in their usual order; what room is left widens the gaps."""
    taken: list[Column] = []
    room = width - 2
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.width + 1 > room:
            break
        taken.append(column)
        room -= column.width + 1
    columns = tuple(column for column in COLUMNS if column in taken)
    gap = 1 + max(0, min(2, room // max(1, len(columns) - 1)))
    return Layout(columns, gap, width)


def head(width: int) -> Line:
    """Return the titles of the columns."""
    plan = layout(width)
    runs = [Run(" ", MUTED)]
    for index, column in enumerate(plan.columns):
        runs.append(Run(" " * (plan.gap if index else 1) + fit(column.title, column.width, right=column.right), MUTED))
    return fitted(runs, width)


@lru_cache(512)
def line(row: NodeRow, width: int, *, selected: bool) -> Line:
    """Return one node's line, exactly `width` cells."""
    plan = layout(width)
    runs = [Run("▌" if selected else " ", ACCENT)]
    for index, column in enumerate(plan.columns):
        text, ink = column.draw(row)
        space = " " * (plan.gap if index else 1)
        if column.title == "STATE":
            state = shown_state(row)
            body = fit(text, column.width)
            runs += [Run(space + body[0], Ink(TONES[state])), Run(body[1:], ink)]
            continue
        if row.silent_s is not None and column.own:
            ink = FAINT
        runs.append(Run(space + fit(text, column.width, right=column.right), ink))
    drawn = fitted(runs, width)
    return on(drawn, Ground.SELECTED) if selected else drawn


def table(rows: Sequence[NodeRow], width: int, height: int, *, top: int, cursor: int) -> tuple[Line, ...]:
    """Return the head and the rows from `top` on, `height` lines at most."""
    if height <= 0:
        return ()
    if not rows:
        return (head(width), fitted((Run("  No node is known yet.", MUTED),), width))[:height]
    shown = rows[top : top + height - 1]
    return (head(width), *(line(row, width, selected=top + y == cursor) for y, row in enumerate(shown)))


def why(row: NodeRow | None, width: int, window: tuple[float, float] | None) -> Line:
    """Return the line under the table: why the selected node is where it is, and what will happen to it."""
    if row is None:
        return fitted(EMPTY, width)
    state = shown_state(row)
    subject = (Run("  ", MUTED), Run(fit(row.id, 6) + " ", Ink(bold=True)))
    injected = [(f"injected: {row.fault}", BAD)] if row.fault else []
    story = (row.why or state_text(row), TEXT if state is NodeState.ONLINE else Ink(TONES[state]))
    troubles = [(trouble, WARNING) for trouble in row.troubles]
    # That it is online says less than what ails it; why it is not says more.
    ailing = [*injected, *troubles]
    facts = [*ailing, story] if state is NodeState.ONLINE else [story, *ailing]
    if state is NodeState.ONLINE and window is not None and all(known(edge) for edge in window):
        facts.append((f"silence removes it after {window[0]:.1f}–{window[1]:.1f} s", MUTED))
    process = " ".join(part for part in (row.process, "" if row.pid is None else f"pid {row.pid}") if part)
    if process:
        facts.append((process, MUTED if row.process in {"", "running"} else WARNING))
    told = joined(((Run(clip(text, width), ink),) for text, ink in facts), width - length_of(subject))
    return fitted((*subject, *told), width)
