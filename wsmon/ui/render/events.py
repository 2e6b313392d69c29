"""The list of events: newest last."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from wsmon.ui.render import values
from wsmon.ui.render.caption import broken
from wsmon.ui.render.lines import (
    ACCENT,
    BAD,
    EMPTY,
    GOOD,
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
    fit,
    fitted,
    joined,
    length_of,
    on,
    title,
)
from wsmon.views.frame import EventRow, LedgerRow, Severity

_TONES: Final = {
    Severity.QUIET: Tone.MUTED,
    Severity.INFO: Tone.TEXT,
    Severity.GOOD: Tone.GOOD,
    Severity.WARNING: Tone.WARNING,
    Severity.BAD: Tone.BAD,
}
NOTHING: Final = "Nothing has happened yet."
FOLD_S: Final = 2.0
"""Clients and feeds that fare alike within as much time share a line."""
# The word that matters is the one after an arrow, else one of these, else the first that is not the subject.
_ESSENTIAL: Final = (
    re.compile(r"→ *([^\s:,;]+)"),
    re.compile(
        r"\b(lost|failed|back|killed|ended|refused|drained|missed|injected|gone|moved|anew|stalled|live|opened|closed"
        r"|cut)\b"
    ),
)
_WIDE: Final = 76
_WHOLE: Final = 56
"""From this width on there is room for whoever an event is about: `supervisor` is the longest of ours."""
_RANKS: Final = {
    Severity.QUIET: 0,
    Severity.INFO: 1,
    Severity.GOOD: 1,
    Severity.WARNING: 2,
    Severity.BAD: 3,
}


@dataclass(frozen=True, slots=True)
class Level:
    """How much is shown."""

    rank: int
    name: str
    folded: bool = True
    """Whether storms of clients are told in a few lines."""


LEVELS: Final = (
    Level(0, "every single one", folded=False),
    Level(1, "all but the quiet"),
    Level(2, "warnings and worse"),
    Level(3, "the worst only"),
)
USUAL: Final = 1
"""The level to begin with."""


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


def matches(row: EventRow, wanted: str) -> bool:
    """Return whether the event is one that is wanted.

    All words must be there, in any case; one after `!` must not. `node:`, `kind:` and `sev:` before a word say where.
    """
    return all(_has(row, word.removeprefix("!")) is not word.startswith("!") for word in wanted.casefold().split())


def _has(row: EventRow, word: str) -> bool:
    where, colon, rest = word.partition(":")
    if colon and rest:
        match where:
            case "node":
                return rest in {(row.node or "").casefold(), row.source.casefold()}
            case "client":
                return rest == (row.client or "").casefold()
            case "kind":
                return row.kind.casefold().startswith(rest)
            case "sev":
                return row.severity.startswith(rest)
            case _:
                pass
    return word in f"{row.text} {row.source} {row.node or ''} {row.client or ''} {row.kind}".casefold()


def chosen(rows: Sequence[EventRow], level: Level, wanted: str) -> tuple[EventRow, ...]:
    """Return what is shown at this level of what is wanted. A filter looks at single events, not at folded ones."""
    if wanted.strip():
        # Who asks for actions or for what was quiet by name gets them.
        rank = 0 if level is LEVELS[USUAL] else level.rank
        return tuple(row for row in rows if _RANKS[row.severity] >= rank and matches(row, wanted))
    told = fold(rows) if level.folded else tuple(rows)
    return tuple(row for row in told if _RANKS[row.severity] >= level.rank) if level.rank > 1 else told


@lru_cache(1024)
def line(row: EventRow, width: int, offset_s: float) -> Line:
    """Return one event; only the word that matters carries its severity's colour."""
    runs = [Run(" " + values.clock(row.at, offset_s, digits=3 if width >= _WIDE else 0) + "  ", MUTED)]
    subject = row.client or row.node or row.source
    text = row.text
    if text.startswith(f"{subject} "):
        text = text[len(subject) + 1 :]
    runs.append(Run(fit(subject, 10 if width >= _WHOLE else 7) + " ", MUTED))
    plain = MUTED if row.severity is Severity.QUIET else TEXT
    text = clip(text, max(0, width - sum(len(run.text) for run in runs)))
    strong = Ink(_TONES[row.severity], bold=row.severity in {Severity.WARNING, Severity.BAD})
    start, end = _essential(text)
    runs += [Run(text[:start], plain), Run(text[start:end], strong), Run(text[end:], plain)]
    return fitted((run for run in runs if run.text), width)


def pane(
    rows: Sequence[EventRow],
    width: int,
    height: int,
    *,
    above: int,
    lost: int,
    focused: bool,
    offset_s: float,
    selected: tuple[str, int, int] | None = None,
    note: str = "",
    empty: str = NOTHING,
) -> tuple[Line, ...]:
    """Return the head and the newest rows; `above` is how many of the newest are scrolled out of sight.

    `selected` is the key of the selected row; `note` says what filter and level leave out; `empty` what is said
    where there is no row.
    """
    if height <= 0:
        return ()
    room = height - 1
    end = max(0, len(rows) - above)
    shown = rows[max(0, end - room) : end]
    newer: Line = (Run(f"{values.exact(above)} newer ↓", MUTED),) if above else EMPTY
    right = (Run(f"{values.exact(lost)} never came", WARNING),) if lost else EMPTY
    spare = width - len("─ events  ") - 1 - (length_of(right) + 3 if right else 0)
    facts = joined([part for part in (((Run(note, WARNING),) if note else EMPTY), newer) if part], spare)
    lines = [title("events", facts, width, focused=focused, right=right)]
    if not rows:
        lines.append(fitted((Run(f"  {empty}", MUTED),), width))
    lines += [
        _chosen(line(row, width, offset_s)) if row.key == selected else line(row, width, offset_s) for row in shown
    ]
    return tuple(lines[:height])


def _chosen(told: Line) -> Line:
    first = told[0]
    return on((Run("▌", ACCENT), Run(first.text[1:], first.ink), *told[1:]), Ground.SELECTED)


def opened(row: EventRow, width: int, height: int, offset_s: float) -> tuple[Line, ...]:
    """Return everything that is known of one event."""
    if height <= 0:
        return ()
    goal = row.client or row.node
    right: Line = (Run("enter ", ACCENT), Run(f"shows {clip(goal, 16)}", MUTED)) if goal else EMPTY
    head = title(row.kind, (Run(values.clock(row.at, offset_s, digits=3), MUTED),), width, focused=True, right=right)
    source, boot, seq = row.key
    about = [("node", row.node), ("client", row.client), ("kind", row.kind)]
    facts: list[Line] = [(Run(f"{label} ", MUTED), Run(clip(value, 32), TEXT)) for label, value in about if value]
    strong = Ink(_TONES[row.severity], bold=row.severity in {Severity.WARNING, Severity.BAD})
    facts.append((Run("severity ", MUTED), Run(str(row.severity), strong)))
    others = ((key, value) for key, value in row.fields if key not in {"node", "client"})
    facts += [(Run(f"{key} ", MUTED), Run(clip(value, 32), TEXT)) for key, value in others]
    told: Line = (
        Run("told by ", MUTED),
        Run(clip(row.source or source, 32), TEXT),
        Run(f", event {seq} of run {boot}", MUTED),
    )
    rest = [*_stacked(facts, width - 3, most=max(1, height - 4)), told]
    room = max(1, height - 1 - len(rest))
    words = [fitted((Run(f"  {text}", STRONG),), width) for text in broken(row.text, width - 3)[:room]]
    return (head, *words, *(fitted((Run("  ", TEXT), *one), width) for one in rest))[:height]


def _stacked(facts: Sequence[Line], width: int, *, most: int) -> list[Line]:
    """Return the facts in as many lines as they need, `most` at most."""
    lines: list[list[Line]] = []
    for fact in facts:
        if lines and length_of(joined((*lines[-1], fact), 10_000)) <= width:
            lines[-1].append(fact)
        else:
            lines.append([fact])
    return [joined(line, width) for line in lines[:most]]


def deeds(rows: Sequence[LedgerRow], width: int, height: int, offset_s: float) -> tuple[Line, ...]:
    """Return head and the newest actions of operators, newest last."""
    if height <= 0:
        return ()
    refused = sum(not row.ok for row in rows)
    parts: list[Line] = [(Run(values.exact(len(rows)), TEXT),)] if rows else []
    if refused:
        parts.append((Run(f"{refused} refused", WARNING),))
    lines = [title("actions", joined(parts, width - 14), width)]
    if not rows:
        lines.append(fitted((Run("  Nobody has done anything.", MUTED),), width))
    lines += [deed(row, width, offset_s) for row in rows[-(height - 1) :]] if height > 1 else []
    return tuple(lines[:height])


@lru_cache(512)
def deed(row: LedgerRow, width: int, offset_s: float) -> Line:
    """Return one action: when, whether it was done, what, by whom, why."""
    wide = width >= _WIDE
    mark = Run("✓ ", GOOD) if row.ok else Run("✗ ", BAD)
    return fitted(
        (
            Run(" " + values.clock(row.at, offset_s, digits=3 if wide else 0) + "  ", MUTED),
            mark,
            Run(fit(row.text, 20 if wide else 14) + " ", TEXT if row.ok else Ink(Tone.BAD, bold=True)),
            Run(fit(row.who, 18 if wide else 10) + " ", MUTED),
            Run(row.reason if row.ok else clip(f"refused {row.reason}".rstrip(), width), TEXT),
        ),
        width,
    )


def _essential(text: str) -> tuple[int, int]:
    for pattern in _ESSENTIAL:
        found = pattern.search(text)
        if found is not None:
            return found.span(1)
    end = min((at for at in (text.find(" "), text.find(":")) if at > 0), default=len(text))
    return 0, end
