"""The status bar: is all well, and is what I see live?"""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

from wsmon.ui.render import values
from wsmon.ui.render.lines import (
    BAD,
    FAINT,
    MINUS,
    MUTED,
    STRONG,
    TEXT,
    WARNING,
    Ground,
    Ink,
    Line,
    Run,
    Tone,
    clip,
    fitted,
    length_of,
    on,
    safe,
    spread,
)
from wsmon.views.frame import Header, Health, Playback

WORDS: Final = {
    Health.STARTING: ("◌", Tone.ACCENT),
    Health.HEALTHY: ("●", Tone.GOOD),
    Health.DEGRADED: ("◐", Tone.WARNING),
    Health.UNREACHABLE: ("○", Tone.BAD),
}
IMPAIRED: Final = "IMPAIRED"
"""Every node is online, and yet something is not as it should be."""
LEAST_WIDTH: Final = 60
LEAST_HEIGHT: Final = 15
GAP: Final = Run("  ", TEXT)


def status(
    header: Header,
    width: int,
    *,
    paused: bool,
    armed: bool,
    ended: bool,
    offset_s: float,
    playback: Playback | None = None,
    recording: str = "",
) -> Line:
    """Return the status bar; parts that do not fit are left out, the least important first. A replay's is inverted."""
    glyph, tone = WORDS[header.health]
    said = header.health.upper()
    if header.notices and header.health is Health.HEALTHY:
        glyph, tone, said = "◐", Tone.WARNING, IMPAIRED
    problems = header.problems or header.notices
    word = Ink(tone if tone in {Tone.WARNING, Tone.BAD} else Tone.TEXT, bold=True)
    left: Line = (
        # By the width alone: what follows must not move sideways when something happens.
        Run(" wsmon " if width >= 100 else " ", MUTED),
        Run(clip(header.cluster, 20), STRONG),
        GAP,
        Run(f"{glyph} ", Ink(tone)),
        Run(said, word),
        GAP,
    )
    clock = values.clock(header.at, offset_s)
    if playback is not None:
        mode = _replay(playback, clock, roomy=width >= 100)
    else:
        mode = _mode(paused=paused, armed=armed, ended=ended, roomy=width >= 100)
        if recording:
            # What went wrong with it is said where there is room; that it goes on, always.
            ill = recording != "rec"
            words = clip(recording, 30) if ill and width >= 100 else "REC!" if ill else "REC"
            mode = (Run(words, Ink(Tone.BAD, bold=True)), GAP, *mode)
    right = mode if playback is not None and playback.twin else (*mode, Run(f"  {clock} ", MUTED))
    room = width - length_of(left) - length_of(right)
    lost = _lost(header)
    if problems:
        # How many messages were lost stays in sight; the counts are in the table anyway.
        if room - length_of(lost) >= 22:
            right = (*lost, GAP, *right)
            room -= length_of(lost) + 2
        middle = _problems(problems, room - 1, BAD if tone is Tone.BAD else WARNING)
    else:
        nodes, clients = _counts(header)
        if length_of(nodes) + length_of(lost) + 4 > room:
            lost = lost[:2]  # Without the total.
        # What is left out first stands last here.
        kept = [part for part in _fitting((nodes, lost, clients), room) if part]
        middle = tuple(run for part in (nodes, clients) if part in kept for run in (*part, GAP))
        if lost and lost in kept:
            # At the right like beside problems: it must not be looked for when something happens.
            right = (*lost, GAP, *right)
            room -= length_of(lost) + 2
    bar = on(spread((*left, *middle), right, width), Ground.BAR)
    if playback is None:
        return bar
    # One tone for all: on an inverted bar colours would be grounds, and loud.
    return tuple(Run(run.text, Ink(Tone.TEXT, bold=run.ink.bold, reverse=True)) for run in bar)


def _fitting(parts: Sequence[Line], room: int) -> list[Line]:
    """Return the parts that fit into the room one after the other, gaps included."""
    taken: list[Line] = []
    for part in parts:
        length = length_of(part) + 2
        if length <= room:
            taken.append(part)
            room -= length
    return taken


def too_small(header: Header, width: int, height: int) -> Line:
    """Return the one line for a screen that is too small for anything else."""
    glyph, tone = WORDS[header.health]
    words = (
        Run(f"{glyph} ", Ink(tone)),
        Run(str(header.health), Ink(tone, bold=True)),
        Run(f" {header.nodes_online}/{header.nodes_total}", TEXT),
        Run(f" · {width}×{height} is too small, {LEAST_WIDTH}×{LEAST_HEIGHT} shows more", MUTED),
    )
    return on(fitted(words, width), Ground.BAR)


def ended(reason: str, width: int) -> Line:
    """Return the banner that tells why nothing moves any more."""
    ink = Ink(Tone.BAD, bold=True, reverse=True)
    return spread((Run(f" ○ {clip(reason, max(8, width - 20))}", ink),), (Run("q leaves ", ink),), width, ink=ink)


def _problems(problems: tuple[str, ...], width: int, ink: Ink) -> Line:
    """Return as many problems as fit, and how many more there are."""
    for shown in range(len(problems), 1, -1):
        more = len(problems) - shown
        text = " · ".join(safe(problem) for problem in problems[:shown]) + (f"  +{more}" if more else "")
        if cell_len(text) <= width:
            return (Run(text, ink),)
    others = f"  +{len(problems) - 1}" if len(problems) > 1 else ""
    return (Run(clip(problems[0], width - len(others)) + others, ink),)


def _counts(header: Header) -> tuple[Line, ...]:
    nodes: Line = ()
    if header.nodes_total:
        ink = TEXT if header.nodes_online == header.nodes_total else WARNING
        nodes = (Run(f"{header.nodes_online}/{header.nodes_total}", ink), Run(" online", MUTED))
        if header.nodes_left:
            nodes = (*nodes, Run(f", {header.nodes_left} left", TEXT))
    clients: Line = ()
    if header.clients_connected is not None:
        clients = (Run(values.exact(header.clients_connected), TEXT), Run(" clients", MUTED))
        if header.clients_reconnecting:
            clients = (*clients, Run(f", {values.exact(header.clients_reconnecting)} away", WARNING))
    return nodes, clients


def _lost(header: Header) -> Line:
    audit = header.audit
    if audit is None:
        return ()
    lost = Ink(Tone.BAD, bold=True) if audit.lost else TEXT
    old = audit.silent_s is not None
    return (
        Run("lost ", FAINT if old else MUTED),
        Run(values.exact(audit.lost), FAINT if old else lost),
        Run(f" / {values.exact(audit.published)}", FAINT if old else MUTED),
    )


def _replay(playback: Playback, clock: str, *, roomy: bool) -> Line:
    """Return where a replay stands: how fast it goes, and how far it is from its end.

    Of the last minutes the clock is a part of it: that it is not now is what has to be seen.
    """
    behind = max(0.0, playback.end_at - playback.at)
    pace = "held" if playback.held else f"{playback.speed:g}×"
    far = f" {MINUS}{values.age(behind)}" if behind >= 1 else ""
    words = f" PAST {clock} {pace}{far if roomy else ''} " if playback.twin else f" REPLAY {pace}{far} "
    note = (Run(clip(playback.note, 24), STRONG), GAP) if roomy and playback.note else ()
    return (*note, Run(words, STRONG))


def _mode(*, paused: bool, armed: bool, ended: bool, roomy: bool) -> Line:
    lock: Line = () if armed and not roomy else (Run("armed", MUTED) if armed else Run("locked", WARNING), GAP)
    if ended:
        return (*lock, Run("ENDED", BAD))
    if paused:
        return (*lock, Run(" PAUSED ", Ink(Tone.WARNING, bold=True, reverse=True)))
    return (*lock, Run("LIVE", MUTED))
