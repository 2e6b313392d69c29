"""Keys at the foot of the screen, and the whole list of them for help; both come from the table of commands."""

from collections.abc import Sequence
from typing import Final

from wsmon.commands import COMMANDS, Confirm, Group, UiCommand
from wsmon.ui.render.lines import ACCENT, FAINT, MUTED, TEXT, WARNING, Ground, Ink, Line, Run, Tone, fit, fitted, on

_NAMES: Final = {
    "question_mark": "?",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "tab": "Tab",
}
_KEY: Final = Ink(Tone.ACCENT, bold=True)


def key_name(key: str) -> str:
    """Return a key as people write it."""
    return _NAMES.get(key) or ("^" + key[5:].upper() if key.startswith("ctrl+") else key)


def allowed(commands: Sequence[UiCommand] = COMMANDS, *, armed: bool) -> tuple[UiCommand, ...]:
    """Return the commands that exist here: a locked console has none that act."""
    return tuple(command for command in commands if armed or command.group is not Group.ACT)


def footer(width: int, *, armed: bool) -> Line:
    """Return the keys for the foot of the screen, as many as fit; leaving and help always do."""
    commands = [command for command in allowed(armed=armed) if command.footer]
    gap = 2
    while commands and sum(_length(command) + gap for command in commands) > width:
        if gap > 1:
            gap -= 1
            continue
        spare = [command for command in commands if command.id not in {"quit", "help"}]
        commands.remove(spare[-1] if spare else commands[-1])
    runs: list[Run] = []
    for command in commands:
        runs += [
            Run(" " + key_name(command.keys[0]), _KEY),
            Run(f" {command.label}", MUTED),
            Run(" " * (gap - 1), MUTED),
        ]
    return on(fitted((run for run in runs if run.text), width), Ground.BAR)


def _length(command: UiCommand) -> int:
    return len(key_name(command.keys[0])) + len(command.label) + 1


def help_lines(width: int, *, armed: bool) -> tuple[Line, ...]:
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
            keys = " ".join(key_name(key) for key in command.keys)
            lines.append(
                fitted(
                    (
                        Run("  " + fit(keys, 12), FAINT if locked else ACCENT),
                        Run(command.help, FAINT if locked else TEXT),
                        *_asks(command),
                    ),
                    width,
                )
            )
        lines.append(fitted((), width))
    return tuple(lines[:-1])


def _asks(command: UiCommand) -> Line:
    return () if command.confirm is Confirm.NOTHING else (Run("  asks first", MUTED),)
