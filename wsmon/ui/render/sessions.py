"""Clients as a table, and the life of one of them as a list of what happened, newest last."""

from typing import Final

from wsmon.ui.render import values
from wsmon.ui.render.lines import (
    CROSS,
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
    fitted,
    title,
)
from wsmon.ui.render.table import Cell, Column
from wsmon.views.frame import Severity
from wsmon.views.sessions_frame import ABSENT, Life, LifeLine, SessionRow, SessionsPicture, Stand

EMPTY_TABLE: Final = "No client is known yet: fleets name theirs, and none is heard."
NOBODY: Final = "Select a client to read what happened to it."
UNEVENTFUL: Final = "Nothing is known of its life."
PAUSE_WARNING_MS: Final = 5_000.0
GLYPHS: Final = {
    Stand.CONNECTED: "●",
    Stand.MOVING: "▽",
    Stand.AWAY: CROSS,
    Stand.WAITING: "◔",
    Stand.TRYING: "▶",
    Stand.CONNECTING: "◌",
    Stand.STOPPED: "○",
    Stand.UNKNOWN: "?",
}
_TONES: Final = {
    Stand.CONNECTED: Tone.GOOD,
    Stand.MOVING: Tone.ACCENT,
    Stand.AWAY: Tone.WARNING,
    Stand.WAITING: Tone.WARNING,
    Stand.TRYING: Tone.ACCENT,
    Stand.CONNECTING: Tone.ACCENT,
    Stand.STOPPED: Tone.BAD,
    Stand.UNKNOWN: Tone.FAINT,
}
_MARKS: Final = {
    Severity.QUIET: ("·", FAINT, MUTED),
    Severity.INFO: ("·", TEXT, TEXT),
    Severity.GOOD: ("●", Ink(Tone.GOOD), TEXT),
    Severity.WARNING: (CROSS, WARNING, TEXT),
    Severity.BAD: (CROSS, Ink(Tone.BAD, bold=True), Ink(Tone.BAD, bold=True)),
}
_ROOMY: Final = 76
"""From as many cells on a life tells milliseconds."""


def _unknown_or(text: str, ink: Ink = TEXT) -> Cell:
    return text, FAINT if text in {values.UNKNOWN, "0", "0.0"} else ink


def _state(row: SessionRow) -> Cell:
    calm = row.state is Stand.CONNECTED
    return f"{GLYPHS[row.state]} {row.state}", TEXT if calm else Ink(_TONES[row.state], bold=row.state in ABSENT)


def _since(row: SessionRow) -> Cell:
    if row.since_s is None:
        return values.UNKNOWN, FAINT
    return f"{'>' if row.at_least else ''}{values.age(row.since_s)}", MUTED


def _next(row: SessionRow) -> Cell:
    if row.next_in_s is None:
        return (values.UNKNOWN, FAINT) if row.state in ABSENT else ("", FAINT)
    return f"{min(row.next_in_s, 999.9):.1f}", Ink(Tone.ACCENT)


def _how(row: SessionRow) -> Cell:
    return _unknown_or(row.how or values.UNKNOWN, WARNING if row.how == "resync" else MUTED)


def _pause(ms: float | None) -> Cell:
    return _unknown_or(values.milliseconds(ms), WARNING if ms is not None and ms >= PAUSE_WARNING_MS else TEXT)


COLUMNS: Final[tuple[Column[SessionRow], ...]] = (
    Column("client", "CLIENT", 10, 0, lambda row: (row.client, Ink(bold=True)), right=False, key=lambda row: row.key),
    Column(
        "state",
        "STATE",
        12,
        0,
        _state,
        right=False,
        own=True,
        key=lambda row: (row.state not in ABSENT, row.state),
        glyph=lambda row: FAINT if row.old else Ink(_TONES[row.state]),
    ),
    Column(
        "node",
        "NODE",
        6,
        1,
        lambda row: _unknown_or(row.node or values.UNKNOWN),
        right=False,
        own=True,
        key=lambda row: row.node,
    ),
    Column("since", "SINCE", 5, 2, _since, own=True, key=lambda row: row.since_s),
    Column("next", "NEXT s", 6, 7, _next, own=True, key=lambda row: row.next_in_s),
    Column(
        "tries", "TRY", 4, 8, lambda row: _unknown_or(values.count(row.attempt)), own=True, key=lambda row: row.attempt
    ),
    Column(
        "lost",
        "DROPS",
        5,
        3,
        lambda row: _unknown_or(values.count(row.lost)),
        own=True,
        key=lambda row: row.lost,
        falls=True,
    ),
    Column("how", "HOW", 8, 5, _how, own=True, key=lambda row: row.how),
    Column("way", "BACK ms", 7, 4, lambda row: _pause(row.way_ms), own=True, key=lambda row: row.way_ms, falls=True),
    Column(
        "replayed",
        "PLAYED",
        6,
        9,
        lambda row: _unknown_or(values.count(row.replayed)),
        own=True,
        key=lambda row: row.replayed,
        falls=True,
    ),
    Column(
        "worst", "WORST", 5, 6, lambda row: _pause(row.worst_ms), own=True, key=lambda row: row.worst_ms, falls=True
    ),
    Column(
        "resyncs",
        "RESYNC",
        6,
        10,
        lambda row: _unknown_or(values.count(row.resyncs), WARNING),
        own=True,
        key=lambda row: row.resyncs,
        falls=True,
    ),
    Column(
        "codec",
        "CODEC",
        8,
        11,
        lambda row: _unknown_or(row.codec or values.UNKNOWN, MUTED),
        own=True,
        key=lambda row: row.codec,
    ),
    Column(
        "position",
        "POS",
        6,
        12,
        lambda row: _unknown_or(values.count(row.position)),
        own=True,
        key=lambda row: row.position,
    ),
    Column(
        "behind",
        "BEHIND",
        6,
        13,
        lambda row: _unknown_or(values.count(row.behind)),
        own=True,
        key=lambda row: row.behind,
        falls=True,
    ),
)
SETS: Final = (
    ("usual", ()),
    ("ways back", ("lost", "how", "way", "replayed", "worst", "resyncs")),
    ("now", ("next", "tries", "codec", "position", "behind")),
)


def in_trouble(row: SessionRow) -> bool:
    """Return whether the client asks for attention: it is away, was told to stay away, or began anew."""
    return row.state in ABSENT or row.state is Stand.STOPPED or row.resyncs > 0


def head(picture: SessionsPicture, width: int) -> Line:
    """Return the line above the table: how many there are, how many are away, and what is not shown."""
    facts: list[Run] = []

    def tell(text: str, ink: Ink) -> None:
        if facts:
            facts.append(Run(" · ", FAINT))
        facts.append(Run(text, ink))

    if picture.total is not None:
        tell(f"{values.exact(min(picture.total, 10**15))} clients", TEXT)
    if picture.away:
        tell(f"{values.exact(picture.away)} away", Ink(Tone.WARNING, bold=True))
    if picture.hidden:
        tell(f"{values.exact(picture.hidden)} more without a row", MUTED)
    if picture.unlisted:
        tell(f"{values.exact(min(picture.unlisted, 10**15))} not named by their fleet", MUTED)
    if picture.forgotten:
        tell(f"{values.exact(picture.forgotten)} lives forgotten", MUTED)
    stale: Line = EMPTY
    if picture.silent_s is not None:
        stale = (Run(f"? stale {values.age(picture.silent_s)}", WARNING),)
    return title("sessions", tuple(facts), width, right=stale)


def life_line(line: LifeLine, width: int, offset_s: float) -> Line:
    """Return one thing that happened."""
    digits = 3 if width >= _ROOMY else 0
    clock = "" if line.at is None else values.clock(line.at, offset_s, digits=digits)
    glyph, mark, ink = _MARKS[line.severity]
    start = (Run(f" {clock:<{12 if digits else 8}}  ", FAINT), Run(f"{glyph} ", mark))
    taken = sum(len(run.text) for run in start)
    return fitted((*start, Run(clip(line.text, max(0, width - taken)), ink)), width)


def life(
    life: Life | None, width: int, height: int, *, above: int, focused: bool, offset_s: float, client: str = ""
) -> tuple[Line, ...]:
    """Return the head and the newest of what happened; `above` is how many of the newest are scrolled out of sight.

    `client` is the name of the selected client, whose life may not be there yet.
    """
    if height <= 0:
        return ()
    if life is None and client:  # It was selected a moment ago.
        return (title(f"life of {clip(client, 24)}", EMPTY, width, focused=focused),)
    if life is None:
        return (title("life", EMPTY, width, focused=focused), fitted((Run(f"  {NOBODY}", MUTED),), width))[:height]
    room = height - 1
    end = max(0, len(life.lines) - above)
    shown = life.lines[max(0, end - room) : end]
    facts: Line = (Run(f"{values.exact(above)} newer ↓", MUTED),) if above else EMPTY
    right: Line = (Run(f"{values.exact(life.dropped)} older dropped", MUTED),) if life.dropped else EMPTY
    lines = [title(f"life of {clip(life.client, 24)}", facts, width, focused=focused, right=right)]
    if not life.lines:
        lines.append(fitted((Run(f"  {UNEVENTFUL}", MUTED),), width))
    lines += [life_line(line, width, offset_s) for line in shown]
    return tuple(lines[:height])
