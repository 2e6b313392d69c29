"""The node table, and the line that explains a node."""

import math
from collections.abc import Callable
from typing import Final

from wsmon.protocol.states import NodeState
from wsmon.ui.render import values
from wsmon.ui.render.lines import (
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
    clip,
    fit,
    fitted,
    joined,
    known,
    length_of,
)
from wsmon.ui.render.table import Column
from wsmon.views.frame import NodeRow
from wsmon.views.text import natural

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


_TROUBLE: Final = {
    state: rank
    for rank, state in enumerate(
        (
            NodeState.REMOVED,
            NodeState.STALE,
            NodeState.SUSPECT,
            NodeState.QUARANTINED,
            NodeState.RECOVERING,
            NodeState.DRAINING,
            NodeState.JOINING,
            NodeState.CORDONED,
            NodeState.LEFT,
            NodeState.ONLINE,
        )
    )
}
"""The order of states when sorted by: what needs somebody first."""


def in_trouble(row: NodeRow) -> bool:
    """Return whether somebody should look at the node."""
    return shown_state(row) is not NodeState.ONLINE or bool(row.troubles or row.fault)


def _number(text: str) -> tuple[str, Ink]:
    return text, FAINT if text in {values.UNKNOWN, "0"} else TEXT


def _check(text: str) -> tuple[str, Ink]:
    if not text:
        return values.UNKNOWN, FAINT
    return text, MUTED if text == "ok" else WARNING


def _http(row: NodeRow) -> str:
    # Nobody asks a node that has left: what it last answered says nothing of now.
    return "" if shown_state(row) is NodeState.LEFT else row.http


def _misses(row: NodeRow) -> tuple[str, Ink]:
    needed = "" if row.misses_needed is None else f"/{row.misses_needed}"
    return f"{row.misses}{needed}", FAINT if row.misses == 0 else WARNING


def _own(  # noqa: PLR0917  # Read as the lines of a table.
    id: str,  # noqa: A002
    title: str,
    width: int,
    rank: int,
    text: Callable[[float | None], str],
    value: Callable[[NodeRow], float | None],
    *,
    warn: float = math.inf,
) -> Column[NodeRow]:
    """Return a column of a number that the node tells itself; from `warn` on it asks for attention."""

    def draw(row: NodeRow) -> tuple[str, Ink]:
        number = value(row)
        shown = text(number)
        return (shown, WARNING) if number is not None and known(number) and number >= warn else _number(shown)

    return Column(id, title, width, rank, draw, own=True, key=value, falls=True)


def _count(
    id: str,  # noqa: A002
    title: str,
    width: int,
    rank: int,
    value: Callable[[NodeRow], float | None],
    *,
    warn: float = math.inf,
) -> Column[NodeRow]:
    return _own(id, title, width, rank, values.count, value, warn=warn)


def _breakers(row: NodeRow) -> tuple[str, Ink]:
    """Return how many things ail the node: breakers that are open, feeds that are not live."""
    return (str(len(row.troubles)), WARNING) if row.troubles else ("0", FAINT)


COLUMNS: Final[tuple[Column[NodeRow], ...]] = (
    Column("node", "NODE", 6, 0, lambda row: (row.id, Ink(bold=True)), right=False, key=lambda row: natural(row.id)),
    Column(
        "state",
        "STATE",
        18,
        0,
        _state,
        right=False,
        key=lambda row: _TROUBLE[shown_state(row)],
        glyph=lambda row: Ink(TONES[shown_state(row)]),
    ),
    Column("age", "AGE", 4, 1, lambda row: (values.age(row.since_s), MUTED), key=lambda row: row.since_s),
    Column("heartbeat", "HB", 4, 5, lambda row: _check(row.heartbeat), key=lambda row: row.heartbeat != "ok"),
    Column("http", "HTTP", 4, 6, lambda row: _check(_http(row)), key=lambda row: _http(row) != "ok"),
    Column("misses", "MISS", 4, 17, _misses, key=lambda row: row.misses, falls=True),
    _count("connections", "CONN", 5, 0, lambda row: row.connections),
    Column(
        "delta",
        "Δ",
        5,
        3,
        lambda row: (values.delta(row.connections_delta), MUTED),
        own=True,
        key=lambda row: row.connections_delta,
        falls=True,
    ),
    _own("in", "IN/s", 5, 4, values.rate, lambda row: row.messages_in_s),
    _own("out", "OUT/s", 5, 2, values.rate, lambda row: row.messages_out_s),
    _count("unacked", "UNACK", 5, 9, lambda row: row.unacked),
    _count("retransmits", "RTX", 5, 11, lambda row: row.retransmits),
    _count("lagging", "SLOW", 5, 12, lambda row: row.lagging, warn=1),
    _own("lag", "LAG ms", 6, 7, values.milliseconds, lambda row: row.lag_ms, warn=LAG_WARNING_MS),
    _own("rtt", "RTT ms", 6, 10, values.milliseconds, lambda row: row.rtt_ms),
    _own("cpu", "CPU", 4, 8, values.percent, lambda row: row.cpu, warn=CPU_WARNING),
    _own("rss", "RSS", 5, 13, values.size, lambda row: row.rss),
    _count("fds", "FD", 4, 16, lambda row: row.fds),
    Column("breakers", "BRK", 3, 15, _breakers, key=lambda row: len(row.troubles), falls=True, own=True),
    Column(
        "uptime", "UP", 4, 14, lambda row: (values.age(row.uptime_s), MUTED), own=True, key=lambda row: row.uptime_s
    ),
    Column(
        "pid",
        "PID",
        7,
        19,
        lambda row: (values.UNKNOWN if row.pid is None else str(row.pid), MUTED),
        own=True,
        key=lambda row: row.pid,
    ),
    Column("address", "ADDRESS", 21, 20, lambda row: (row.address or values.UNKNOWN, MUTED), right=False, own=True),
    Column("process", "PROCESS", 9, 21, lambda row: (row.process or values.UNKNOWN, MUTED), right=False),
)
SETS: Final = (
    ("usual", ()),
    ("messages", ("in", "out", "unacked", "retransmits", "lagging", "delta")),
    ("process", ("cpu", "rss", "fds", "lag", "pid", "uptime", "process")),
    ("checks", ("heartbeat", "http", "misses", "rtt", "breakers", "address")),
)
"""Sets of columns to go through: a name, and what comes first in it."""


def why(row: NodeRow | None, width: int, window: tuple[float, float] | None) -> Line:
    """Return the line under the table: why the selected node is where it is, and what will happen to it."""
    if row is None:
        return fitted(EMPTY, width)
    state = shown_state(row)
    subject = (Run("  ", MUTED), Run(fit(row.id, 6) + " ", Ink(bold=True)))
    injected: list[Line] = [(Run(clip(f"injected: {row.fault}", width), BAD),)] if row.fault else []
    story = _story(row.why or state_text(row), state, width)
    troubles: list[Line] = [(Run(clip(trouble, width), WARNING),) for trouble in row.troubles]
    # That it is online says less than what ails it; why it is not says more.
    ailing = [*injected, *troubles]
    facts = [*ailing, story] if state is NodeState.ONLINE else [story, *ailing]
    if state is NodeState.ONLINE and window is not None and all(known(edge) for edge in window):
        facts.append((Run(f"silence removes it after {window[0]:.1f}–{window[1]:.1f} s", MUTED),))
    process = " ".join(part for part in (row.process, "" if row.pid is None else f"pid {row.pid}") if part)
    if process:
        facts.append((Run(clip(process, width), MUTED if row.process in {"", "running"} else WARNING),))
    told = joined(facts, width - length_of(subject))
    return fitted((*subject, *told), width)


def _story(text: str, state: NodeState, width: int) -> Line:
    """Return what has happened in the state's colour, and what is told of it in that of text."""
    text = clip(text, width)
    if state is NodeState.ONLINE:
        return (Run(text, TEXT),)
    end = min((at for at in (text.find(", "), text.find(": ")) if at > 0), default=len(text))
    happened = Run(text[:end], Ink(TONES[state]))
    return (happened, Run(text[end:], TEXT)) if end < len(text) else (happened,)
