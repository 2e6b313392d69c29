"""Keys at the foot of the screen, and the whole list of them for help; both come from the table of commands."""

from collections.abc import Sequence
from typing import Final

from wsmon.commands import BY_ID, COMMANDS, USUAL_KEYS, Confirm, Group, Keymap, UiCommand
from wsmon.ui.render.caption import broken
from wsmon.ui.render.lines import (
    ACCENT,
    MUTED,
    TEXT,
    WARNING,
    Ground,
    Ink,
    Line,
    Run,
    Tone,
    fit,
    fitted,
    length_of,
    on,
)
from wsmon.views.frame import Frame

_NAMES: Final = {
    "question_mark": "?",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "tab": "Tab",
    "shift+tab": "⇧Tab",
    "enter": "Enter",
    "escape": "Esc",
    "space": "Space",
    "slash": "/",
    "colon": ":",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "plus": "+",
    "minus": "-",
    "exclamation_mark": "!",
}
KEYS: Final = 12
"""Cells for the keys of one command in the list."""
_KEY: Final = Ink(Tone.ACCENT, bold=True)


def key_name(key: str) -> str:
    """Return a key as people write it."""
    return _NAMES.get(key) or ("^" + key[5:].upper() if key.startswith("ctrl+") else key)


def allowed(commands: Sequence[UiCommand] = COMMANDS, *, armed: bool) -> tuple[UiCommand, ...]:
    """Return the commands that exist here: a locked console has none that act."""
    return tuple(command for command in commands if armed or command.group is not Group.ACT)


_PAGES: Final = ("nodes", "timeline", "events", "sessions", "redis", "incidents")
_KEPT: Final = ("quit", "help", "live", "pages")
"""What stays when there is no room for all."""
_REPLAY: Final = ("step_back", "step", "incident_previous", "incident_next", "faster", "live")


def footer(
    width: int,
    *,
    armed: bool,
    replay: bool = False,
    past: bool = False,
    fault: bool = False,
    keymap: Keymap = USUAL_KEYS,
) -> Line:
    """Return the keys for the foot of the screen, as many as fit; leaving and help always do.

    `past`: what is replayed are the last minutes; the way back to live stands first then.
    `fault`: something is broken on purpose; a console that may act names the key that ends it.
    """
    shown: list[tuple[str, str, str]] = []
    commands = [command for command in allowed(armed=armed) if keymap[command.id]]
    for command in commands:
        wanted = command.footer or (replay and command.id in _REPLAY) or (not armed and command.id == "arm")
        if wanted and not (replay and command.id == "arm"):
            label = "Arm" if command.id == "arm" else command.label
            shown.append((command.id, key_name(keymap[command.id][0]), label))
    pages = [key_name(keymap[name][0]) for name in _PAGES if keymap[name]]
    if pages:
        digits = f"{pages[0]}–{pages[-1]}" if pages == list("123456") else pages[0]
        at = next((y for y, entry in enumerate(shown) if entry[0] in {"open", "filter"}), len(shown))
        shown.insert(at, ("pages", digits, "Pages"))
    if past:
        shown.sort(key=lambda entry: entry[0] != "live")
    gap = 2
    while shown and _cells(shown, gap) > width:
        if gap > 1:
            gap -= 1
            continue
        spare = [entry for entry in shown if entry[0] not in _KEPT]
        shown.remove(spare[-1] if spare else shown[0])
    if fault and armed and not replay and keymap["heal"]:
        shown = _with_cure(shown, width, gap, keymap)
    runs: list[Run] = []
    for _, key, label in shown:
        runs += [Run(" " + key, _KEY), Run(f" {label}", MUTED), Run(" " * (gap - 1), MUTED)]
    return on(fitted((run for run in runs if run.text), width), Ground.BAR)


def _cells(shown: Sequence[tuple[str, str, str]], gap: int) -> int:
    return sum(len(key) + len(label) + 1 + gap for _, key, label in shown)


def _with_cure(shown: list[tuple[str, str, str]], width: int, gap: int, keymap: Keymap) -> list[tuple[str, str, str]]:
    """Return the keys and the one that heals: where there is room, or else in the place of some that help less now.

    The distance between keys stays as it is: they are to stand where they stood as far as possible.
    """
    cure = ("heal", key_name(keymap["heal"][0]), "Heal")
    ids = [entry[0] for entry in shown]
    at = next((ids.index(name) for name in ("pause", "help") if name in ids), 0)
    longer = [*shown[:at], cure, *shown[at:]]
    for spare in ("palette", "start", "pause", "filter", "open", "kill", "drain", ""):
        if _cells(longer, gap) <= width:
            return longer
        longer = [entry for entry in longer if entry[0] != spare]
    return shown


def healable(frame: Frame) -> bool:
    """Return whether something is broken on purpose that healing would end; who was killed has to be started."""
    return (
        frame.header.faults > 0
        or any(row.fault not in {"", "kill"} for row in frame.nodes)
        or any(service.state == "frozen" for service in frame.services)
    )


def named(command: str, keymap: Keymap = USUAL_KEYS) -> str:
    """Return the key of a command for a sentence; one without a key is in the palette."""
    keys = keymap[command]
    return key_name(keys[0]) if keys else f"“{BY_ID[command].label}” in the palette"


def help_lines(width: int, *, armed: bool, keymap: Keymap = USUAL_KEYS) -> tuple[Line, ...]:
    """Return every command with its keys, by group."""
    lines: list[Line] = []
    for group in Group:
        commands = [command for command in COMMANDS if command.group is group]
        if not commands:
            continue
        locked = group is Group.ACT and not armed
        note = (Run("  locked: these do nothing here", WARNING),) if locked else ()
        lines.append(fitted((Run(f" {group}", Ink(Tone.MUTED, bold=True)), *note), width))
        for command in commands:
            keys = " ".join(key_name(key) for key in keymap[command.id])
            lines += _explained(keys, command, width, locked=locked)
        lines.append(fitted((), width))
    return tuple(lines[:-1])


def _explained(keys: str, command: UiCommand, width: int, *, locked: bool) -> tuple[Line, ...]:
    """Return one command's keys and what they do, whole, in as many lines as that takes."""
    told: list[Line] = [
        (Run(text, MUTED if locked else TEXT),) for text in broken(command.help, max(1, width - 2 - KEYS))
    ]
    if command.confirm is not Confirm.NOTHING:
        asks = Run("  asks first", MUTED)
        if 2 + KEYS + length_of((*told[-1], asks)) <= width:
            told[-1] = (*told[-1], asks)
        else:
            told.append((Run(asks.text.strip(), MUTED),))
    named = Run("  " + fit(keys, KEYS), MUTED if locked else ACCENT)
    indent = Run(" " * (2 + KEYS), MUTED)
    return tuple(fitted((indent if y else named, *one), width) for y, one in enumerate(told))
