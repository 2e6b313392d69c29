"""Who sees whom: rows are those who look, columns those who are looked at. Quiet as long as all agree."""

from typing import Final

from wsmon.ui.render import values
from wsmon.ui.render.lines import (
    EMPTY,
    FAINT,
    MUTED,
    STRONG,
    TEXT,
    WARNING,
    Ink,
    Line,
    Run,
    Tone,
    clip,
    fit,
    fitted,
    length_of,
    title,
)
from wsmon.ui.render.nodes import GLYPHS, TONES
from wsmon.views.beliefs_frame import Beliefs, Observer, Opinion

NOTHING: Final = "No node is known yet: there is nothing to believe."
NOBODY: Final = "Nobody is heard who could believe anything."
AGREED: Final = "all agree"
NAME: Final = 13
EPOCH: Final = 5
HEARD: Final = 5
LEADER: Final = 11
CELL: Final = 13
LEADER_FROM: Final = 90
"""Least width for the column of the leader; narrower, a disagreement about it is told in words."""
ALERT: Final = Ink(Tone.WARNING, bold=True)
_GLYPHS: Final = {str(state): (glyph, Ink(TONES[state])) for state, glyph in GLYPHS.items()}


def summary(beliefs: Beliefs, width: int) -> Line:
    """Return in at most `width` cells whether all agree, and if not, where they do not."""
    if not beliefs.nodes or not beliefs.observers:
        return (Run(clip(values.UNKNOWN, width), FAINT),)
    if not beliefs.doubts:
        return (Run(clip(AGREED, width), MUTED),)
    more = len(beliefs.doubts) - 1
    rest = f", and {more} more" if more else ""
    return (
        Run(clip(beliefs.doubts[0], max(1, width - len(rest))), WARNING),
        Run(rest if len(rest) < width else "", MUTED),
    )


def columns(beliefs: Beliefs, width: int) -> tuple[int, ...]:
    """Return which nodes have a column: all that fit, those in doubt before others, in their usual order."""
    room = max(1, (width - _before(width)) // (CELL + 1))
    everybody = range(len(beliefs.nodes))
    if len(everybody) <= room:
        return tuple(everybody)
    odd = {node for node in everybody if any(observer.opinions[node].odd for observer in beliefs.observers)}
    return tuple(sorted(sorted(everybody, key=lambda node: node not in odd)[:room]))


def _before(width: int) -> int:
    return 1 + NAME + 1 + EPOCH + 1 + HEARD + (1 + LEADER if width >= LEADER_FROM else 0) + 1


def matrix(beliefs: Beliefs, width: int, height: int, *, top: int = 0, focused: bool = False) -> tuple[Line, ...]:
    """Return head, titles and observers from `top` on: `height` lines at most."""
    if height <= 0:
        return ()
    shown = columns(beliefs, width)
    unseen = len(beliefs.nodes) - len(shown)
    below = len(beliefs.observers) - top - max(0, height - 2)
    facts = [f"{unseen} more {'node' if unseen == 1 else 'nodes'}"] if unseen > 0 else []
    facts += [f"{below} more ↓"] if below > 0 else []
    right: Line = (Run(", ".join(facts), MUTED),) if facts else EMPTY
    told = summary(beliefs, max(1, width - len("─ who sees whom  ") - (length_of(right) + 4 if right else 2)))
    lines = [title("who sees whom", told, width, focused=focused, right=right)]
    if not beliefs.nodes or not beliefs.observers:
        lines.append(fitted((Run(f"  {NOTHING if not beliefs.nodes else NOBODY}", MUTED),), width))
        return tuple(lines[:height])
    leader = f" {fit('LEADER', LEADER)}" if width >= LEADER_FROM else ""
    titles = Run(f" {fit('', NAME)} {fit('EPOCH', EPOCH)} {fit('HEARD', HEARD, right=True)}{leader} ", MUTED)
    names = tuple(Run(f" {fit(beliefs.nodes[node], CELL)}", STRONG) for node in shown)
    lines.append(fitted((titles, *names), width))
    lines += [row(observer, shown, width) for observer in beliefs.observers[top : top + height - 2]]
    return tuple(lines[:height])


def row(observer: Observer, shown: tuple[int, ...], width: int) -> Line:
    """Return what one observer believes."""
    quiet = FAINT if observer.old else MUTED
    label = FAINT if observer.old else STRONG if observer.leads else TEXT
    epoch = "" if observer.epoch is None else values.count(observer.epoch)
    heard = "" if observer.heard_s is None else values.age(observer.heard_s)
    runs = [
        Run(f" {fit(observer.name, NAME)} ", label),
        Run(f"{fit(epoch, EPOCH)} ", quiet),
        Run(fit(heard, HEARD, right=True), WARNING if observer.old else quiet),
    ]
    if width >= LEADER_FROM:
        runs.append(Run(f" {fit(observer.leader or '', LEADER)}", ALERT if observer.leader_odd else quiet))
    runs.append(Run(" ", quiet))
    for node in shown:
        runs += _cell(observer.opinions[node], judge=observer.leads)
    return fitted(runs, width)


def _cell(opinion: Opinion, *, judge: bool) -> Line:
    if not opinion.word:
        return (Run(f" {fit(values.UNKNOWN, CELL)}", FAINT),)
    glyph, mark = _GLYPHS.get(opinion.word, (" ", MUTED))
    if opinion.old_s is not None:
        return (Run(f" {fit(f'{glyph} {opinion.word} {values.age(opinion.old_s)}', CELL)}", FAINT),)
    ink = ALERT if opinion.odd else TEXT if judge else MUTED
    # One accent: the judge's glyphs, and whatever disagrees.
    mark = ALERT if opinion.odd else mark if judge else MUTED
    return (Run(f" {glyph} ", mark), Run(fit(opinion.word, CELL - 2), ink))
