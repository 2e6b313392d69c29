"""The list of events: newest last."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from wsmon.ui.render import values
from wsmon.ui.render.lines import (
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
    title,
)
from wsmon.views.frame import EventRow, Severity

_TONES: Final = {
    Severity.QUIET: Tone.MUTED,
    Severity.INFO: Tone.TEXT,
    Severity.GOOD: Tone.GOOD,
    Severity.WARNING: Tone.WARNING,
    Severity.BAD: Tone.BAD,
}
FOLD_S: Final = 2.0
"""Clients and feeds that fare alike within as much time share a line."""
# The word that matters is the one after an arrow, else one of these, else the first that is not the subject.
_ESSENTIAL: Final = (
    re.compile(r"→ *([^\s:,;]+)"),
    re.compile(
        r"\b(lost|failed|back|killed|ended|refused|drained|missed|injected|gone|moved|anew|stalled|live|opened|closed)\b"
    ),
)
_WIDE: Final = 76


def fold(rows: Sequence[EventRow]) -> tuple[EventRow, ...]:
    """Return the rows with a storm of clients or feeds folded into a few lines.

    What a client plans is left out: the timeline shows it, and twenty clients would push everything else away. So is
    what a feed does when all is well: that it is live is news after trouble only.
    """
    out: list[EventRow] = []
    groups: dict[tuple[str, str], tuple[int, int, float]] = {}
    ailing: dict[str, float | None] = {}
    for row in rows:
        if row.kind == "feed" and row.severity is not Severity.QUIET and not _is_news(row, ailing):
            continue
        if row.client is None and not row.plural:
            if row.severity is not Severity.QUIET:
                groups.clear()
            out.append(row)
            continue
        if row.severity is Severity.QUIET:
            continue
        group = (row.source, row.plural)
        index, number, since = groups.get(group, (len(out), 0, row.at))
        if number == 0 or not row.plural or row.at - since > FOLD_S:
            groups[group] = (len(out), 1, row.at)
            out.append(row)
            continue
        groups[group] = (index, number + 1, since)
        out[index] = replace(out[index], client=None, text=f"{number + 1} {row.plural}")
    return tuple(out)


def _is_news(row: EventRow, ailing: dict[str, float | None]) -> bool:
    """Say whether a feed's row is news. `ailing` holds who had trouble, and since when it is mending."""
    if row.severity is not Severity.GOOD:
        ailing[row.source] = None
        return True
    if row.source not in ailing:
        return False
    since = ailing[row.source]
    if since is None:
        ailing[row.source] = row.at
    elif row.at - since > FOLD_S:
        del ailing[row.source]
        return False
    return True


@lru_cache(1024)
def line(row: EventRow, width: int, offset_s: float) -> Line:
    """Return one event; only the word that matters carries its severity's colour."""
    runs = [Run(" " + values.clock(row.at, offset_s, digits=3 if width >= _WIDE else 0) + "  ", FAINT)]
    subject = row.client or row.node or row.source
    text = row.text
    if text.startswith(f"{subject} "):
        text = text[len(subject) + 1 :]
    runs.append(Run(fit(subject, 10 if width >= _WIDE else 7) + " ", MUTED))
    plain = MUTED if row.severity is Severity.QUIET else TEXT
    text = clip(text, max(0, width - sum(len(run.text) for run in runs)))
    strong = Ink(_TONES[row.severity], bold=row.severity in {Severity.WARNING, Severity.BAD})
    start, end = _essential(text)
    runs += [Run(text[:start], plain), Run(text[start:end], strong), Run(text[end:], plain)]
    return fitted((run for run in runs if run.text), width)


def pane(
    rows: Sequence[EventRow], width: int, height: int, *, above: int, lost: int, focused: bool, offset_s: float
) -> tuple[Line, ...]:
    """Return the head and the newest rows; `above` is how many of the newest are scrolled out of sight."""
    if height <= 0:
        return ()
    room = height - 1
    end = max(0, len(rows) - above)
    shown = rows[max(0, end - room) : end]
    facts = (Run(f"{values.exact(above)} newer ↓", MUTED),) if above else EMPTY
    right = (Run(f"{values.exact(lost)} never came", WARNING),) if lost else EMPTY
    lines = [title("events", facts, width, focused=focused, right=right)]
    if not rows:
        lines.append(fitted((Run("  Nothing has happened yet.", MUTED),), width))
    lines += [line(row, width, offset_s) for row in shown]
    return tuple(lines[:height])


def _essential(text: str) -> tuple[int, int]:
    for pattern in _ESSENTIAL:
        found = pattern.search(text)
        if found is not None:
            return found.span(1)
    end = min((at for at in (text.find(" "), text.find(":")) if at > 0), default=len(text))
    return 0, end
