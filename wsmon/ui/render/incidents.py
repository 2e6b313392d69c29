"""Incidents: the columns of the list, and the scorecard of one as a waterfall on a common scale of time."""

from collections.abc import Callable, Sequence
from typing import Final

from wsmon.ui.render import values
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import (
    ACCENT,
    BAD,
    FAINT,
    GOOD,
    MINUS,
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
    joined,
    known,
    length_of,
    title,
)
from wsmon.ui.render.table import Cell, Column
from wsmon.views.incidents_frame import Card, Goal, IncidentRow, Stage, Verdict

EMPTY: Final = "No incident so far. X kills a node, F breaks a link."
NO_CARD: Final = "Select an incident to see how the cluster took it."
SIDE_BY_SIDE: Final = 96
"""From this width on two cards stand beside each other."""
_GLYPHS: Final = {Verdict.GOOD: "✓", Verdict.BAD: "✗", Verdict.OPEN: "◐"}
_INKS: Final = {Verdict.GOOD: GOOD, Verdict.BAD: Ink(Tone.BAD, bold=True), Verdict.OPEN: WARNING}
_WORDS: Final = {Verdict.GOOD: "as promised", Verdict.BAD: "not as promised", Verdict.OPEN: "going on"}
_NAME: Final = 12
_TIME: Final = 6
_LEAST_BAR: Final = 8
_SCALES_MS: Final = (1, 2, 5)


def columns(offset_s: Callable[[], float]) -> tuple[Column[IncidentRow], ...]:
    """Return the columns of the list; `offset_s` returns how far local time is east of UTC."""
    return (
        Column("number", "#", 4, 0, lambda row: (str(row.number), MUTED), key=lambda row: row.number, falls=True),
        Column(
            "at",
            "WHEN",
            8,
            0,
            lambda row: (values.clock(row.at, offset_s()), TEXT),
            right=False,
            key=lambda row: row.at,
        ),
        Column(
            "what", "WHAT", 18, 0, lambda row: (row.what, STRONG), right=False, key=lambda row: row.what, grows=True
        ),
        Column("verdict", "", 1, 0, _verdict, right=False, key=lambda row: row.verdict),
        Column("found", "FOUND", 5, 1, lambda row: _ms(row.found_ms), key=lambda row: row.found_ms, falls=True),
        Column("clients", "CLNTS", 5, 3, lambda row: _count(row.clients), key=lambda row: row.clients, falls=True),
        Column("back", "95 %", 5, 2, lambda row: _ms(row.back_p95_ms), key=lambda row: row.back_p95_ms, falls=True),
        Column("lost", "LOST", 5, 1, _lost, key=lambda row: row.lost, falls=True),
    )


def in_trouble(row: IncidentRow) -> bool:
    """Return whether somebody should look at it."""
    return row.verdict is not Verdict.GOOD


def _verdict(row: IncidentRow) -> Cell:
    return _GLYPHS[row.verdict], _INKS[row.verdict]


def _ms(number: float | None) -> Cell:
    text = values.lasting(number)
    return text, FAINT if text == values.UNKNOWN else TEXT


def _count(number: int | None) -> Cell:
    return values.count(number), TEXT if number else FAINT


def _lost(row: IncidentRow) -> Cell:
    return values.count(row.lost), BAD if row.lost else FAINT


# The card.


def pane(
    card: Card | None,
    other: Card | None,
    width: int,
    height: int,
    *,
    chosen: bool = False,
    top: int = 0,
    focused: bool = False,
    offset_s: float = 0.0,
    glyphs: Glyphs = Glyphs.BLOCK,
) -> tuple[Line, ...]:
    """Return the scorecard, from line `top` on. `chosen`: the other one was asked for, and is drawn beside it."""
    if height <= 0:
        return ()
    if card is None:
        return (title("scorecard", (), width, focused=focused), fitted((Run(f"  {NO_CARD}", MUTED),), width))[:height]
    lines = _under(card, other, width, height, chosen=chosen, offset_s=offset_s, glyphs=glyphs)
    below = len(lines) - top - (height - 1)
    more: Line = (Run(f"{below} more ↓", MUTED),) if below > 0 else ()
    head = title("scorecard", _head(card, offset_s), width, focused=focused, right=more)
    return tuple([head, *lines[top:]][:height])


def lines_in(card: Card | None, other: Card | None, width: int, height: int, *, chosen: bool) -> int:
    """Return how many lines the card has under its head, in a pane of this height."""
    return 1 if card is None else len(_under(card, other, width, height, chosen=chosen))


def _under(
    card: Card,
    other: Card | None,
    width: int,
    height: int,
    *,
    chosen: bool,
    offset_s: float = 0.0,
    glyphs: Glyphs = Glyphs.BLOCK,
) -> list[Line]:
    """Return everything under the head. One that was not asked for is drawn below if the pane has room for both."""
    if other is None:
        return body(card, width, scale_of([card]), against=None, glyphs=glyphs)
    both = scale_of([card, other])
    if chosen and width >= SIDE_BY_SIDE:
        left = (width - 3) // 2
        right = width - 3 - left
        mine = [_caption(card, left, offset_s), *body(card, left, both, against=None, glyphs=glyphs)]
        its = [_caption(other, right, offset_s), *body(other, right, both, against=card, glyphs=glyphs)]
        blank_left, blank_right = fitted((), left), fitted((), right)
        return [
            (
                *(mine[y] if y < len(mine) else blank_left),
                Run(" │ ", FAINT),
                *(its[y] if y < len(its) else blank_right),
            )
            for y in range(max(len(mine), len(its)))
        ]
    words = "against" if chosen else "last run:"
    named = fitted((Run(f"  {words} ", MUTED), *_named(other, offset_s)), width)
    mine = body(card, width, both, against=other, glyphs=glyphs)
    its = body(other, width, both, against=card, glyphs=glyphs)
    if len(mine) + 2 + len(its) < height:
        return [*mine, fitted((), width), named, *its]
    # Alone, it need not share its scale with what is not drawn.
    return [*body(card, width, both if chosen else scale_of([card]), against=other, glyphs=glyphs), named]


def _head(card: Card, offset_s: float) -> Line:
    verdict = card.row.verdict
    return (*_named(card, offset_s), Run(f"  {_GLYPHS[verdict]} {_WORDS[verdict]}", _INKS[verdict]))


def _named(card: Card, offset_s: float) -> Line:
    return (
        Run(f"#{card.row.number} ", MUTED),
        Run(clip(card.row.what, 40), STRONG),
        Run(f" {values.clock(card.row.at, offset_s)}", MUTED),
    )


def _caption(card: Card, width: int, offset_s: float) -> Line:
    return fitted((Run("  ", MUTED), *_named(card, offset_s)), width)


def scale_of(cards: Sequence[Card]) -> float:
    """Return how many milliseconds a full bar stands for: the next of 1, 2, 5, 10, … above all that is shown."""
    times = [stage.ms for card in cards for stage in card.stages if stage.ms is not None and known(stage.ms)]
    times += [card.window_ms[1] for card in cards if card.window_ms is not None and known(card.window_ms[1])]
    most = min(max(times, default=0.0), 1e12)
    power = 100.0
    while True:
        for step in _SCALES_MS:
            if step * power >= most:
                return step * power
        power *= 10


def body(card: Card, width: int, scale_ms: float, *, against: Card | None, glyphs: Glyphs) -> list[Line]:
    """Return waterfall, counts and goals; times and counts of `against` stand beside them as differences."""
    differs = against is not None
    cells = width - 2 - _NAME - 1 - _TIME - 1 - (_TIME + 1 if differs else 0) - 1
    if cells < _LEAST_BAR:
        cells = 0
    lines = []
    for stage in card.stages:
        runs = [Run("  " + fit(stage.name, _NAME) + " ", MUTED), Run(fit(*_stage_time(stage), right=True), _ink(stage))]
        if differs:
            runs.append(_difference(stage.ms, _same(against, stage.name)))
        if cells:
            window = card.window_ms if stage.name == "removed" else None
            runs += [Run(" ", FAINT), *_bar(stage, cells, scale_ms, window, glyphs)]
        lines.append(fitted(runs, width))
    if cells:
        lines.append(_ruler(width, width - 1 - cells, cells, scale_ms))
    lines.append(_counts(card, width))
    if card.parts:
        lines.append(fitted((Run("  broken       ", MUTED), Run(clip(", ".join(card.parts), width - 16), TEXT)), width))
    lines += [_goal(goal, width) for goal in card.goals]
    return lines


def _stage_time(stage: Stage) -> tuple[str, int]:
    return values.lasting(stage.ms), _TIME


def _ink(stage: Stage) -> Ink:
    return FAINT if stage.ms is None or not known(stage.ms) else TEXT


def _same(card: Card | None, word: str) -> float | None:
    stages = () if card is None else card.stages
    return next((stage.ms for stage in stages if stage.name == word), None)


def _difference(ms: float | None, its: float | None) -> Run:
    """Return how much slower or faster it was; what is within a tenth is no difference worth an accent."""
    if ms is None or its is None or not known(ms) or not known(its):
        return Run(" " * (_TIME + 1), FAINT)
    more = ms - its
    if abs(more) < 1:
        return Run(" " + fit("=", _TIME, right=True), FAINT)
    text = ("+" if more > 0 else MINUS) + values.lasting(abs(more))
    near = abs(more) <= max(50.0, 0.1 * its)
    return Run(" " + fit(text, _TIME, right=True), MUTED if near else WARNING if more > 0 else GOOD)


def _bar(stage: Stage, cells: int, scale_ms: float, window: tuple[float, float] | None, glyphs: Glyphs) -> Line:
    """Return the way up to the stage as a thin line that ends in a mark; the promised window is shaded."""
    plain = glyphs is Glyphs.ASCII
    shade = ":" if plain else "░"
    drawn: list[tuple[str, Ink]] = [(" ", FAINT)] * cells
    if window is not None and all(known(edge) for edge in window):
        for cell in range(_cell(window[0], cells, scale_ms), _cell(window[1], cells, scale_ms) + 1):
            drawn[cell] = (shade, MUTED)
    if stage.ms is not None and known(stage.ms):
        end = _cell(stage.ms, cells, scale_ms)
        for cell in range(end):
            if drawn[cell][0] == " ":
                drawn[cell] = ("-" if plain else "─", FAINT)
        drawn[end] = ("*" if plain else "●", ACCENT)
    runs: list[Run] = []
    for glyph, ink in drawn:
        if runs and runs[-1].ink == ink:
            runs[-1] = Run(runs[-1].text + glyph, ink)
        else:
            runs.append(Run(glyph, ink))
    return tuple(runs)


def _cell(ms: float, cells: int, scale_ms: float) -> int:
    return max(0, min(cells - 1, int(ms / scale_ms * cells)))


def _ruler(width: int, left: int, cells: int, scale_ms: float) -> Line:
    middle, end = _span(scale_ms / 2), _span(scale_ms)
    text = list(" " * cells)
    text[0] = "0"
    if cells >= 24:
        start = cells // 2 - len(middle) // 2
        text[start : start + len(middle)] = middle
    if cells > len(end) + 1:
        text[cells - len(end) :] = end
    return fitted((Run(" " * left + "".join(text), FAINT),), width)


def _span(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1_000 else f"{ms / 1_000:g} s"


def _counts(card: Card, width: int) -> Line:
    row = card.row
    parts: list[Line] = [(Run(f"{row.clients} ", TEXT), Run("clients" if row.clients != 1 else "client", MUTED))]
    if card.moved:
        parts.append((Run(f"{card.moved} ", TEXT), Run("moved without a pause", MUTED)))
    lasted = "still going on" if card.lasted_ms is None else f"lasted {_span(round(card.lasted_ms / 100) * 100)}"
    parts.append((Run(lasted, MUTED),))
    return fitted((Run("  ", MUTED), *joined(parts, width - 2)), width)


def _goal(goal: Goal, width: int) -> Line:
    glyph, ink = {True: ("✓", GOOD), False: ("✗", Ink(Tone.BAD, bold=True)), None: ("·", FAINT)}[goal.met]
    got = Ink(Tone.BAD, bold=True) if goal.met is False else TEXT if goal.met else MUTED
    wanted = (Run("wanted ", FAINT), Run(goal.wanted, MUTED))
    runs = [Run("  ", MUTED), Run(f"{glyph} ", ink), Run(fit(goal.name, _NAME - 2) + " ", MUTED)]
    runs.append(Run(fit(goal.got, 12) + " ", got))
    if width - length_of(tuple(runs)) >= length_of(wanted):
        runs += wanted
    return fitted(runs, width)
