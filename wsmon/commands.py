"""The one table of what a person can do: keys, palette, help, footer and command-line verbs come from here."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wsmon.protocol.frames import ReadOnlyJson


class Group(StrEnum):
    """Where help lists a command."""

    LOOK = "Look"
    ACT = "Act"
    TIME = "Time"
    APP = "wsmon"


class Confirm(StrEnum):
    """What a dangerous command asks before it is done."""

    NOTHING = "nothing"
    DIALOG = "dialog"
    """Cancel has the focus; `y` or `n`."""
    TYPE_NAME = "type the name"
    """The node's name has to be typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UiCommand:
    """One thing to do. `id` is stable: remapping and documents refer to it."""

    id: str
    keys: tuple[str, ...]
    label: str
    """Two words at most, for footer and palette."""
    help: str
    """One sentence for help and documents."""
    group: Group
    footer: bool = False
    verb: str | None = None
    """The command-line verb that does the same; every action has one."""
    confirm: Confirm = Confirm.NOTHING


COMMANDS: Final = (
    UiCommand(id="up", keys=("up", "k"), label="Up", help="Select the row above.", group=Group.LOOK),
    UiCommand(id="down", keys=("down", "j"), label="Down", help="Select the row below.", group=Group.LOOK),
    UiCommand(id="first", keys=("g", "home"), label="First", help="Select the first row.", group=Group.LOOK),
    UiCommand(id="last", keys=("G", "end"), label="Last", help="Select the last row.", group=Group.LOOK),
    UiCommand(id="page_up", keys=("pageup",), label="Page up", help="Go ten rows up.", group=Group.LOOK),
    UiCommand(id="page_down", keys=("pagedown",), label="Page down", help="Go ten rows down.", group=Group.LOOK),
    UiCommand(
        id="next_pane", keys=("tab",), label="Next pane", help="Move to the next part of the screen.", group=Group.LOOK
    ),
    UiCommand(
        id="drain",
        keys=("D",),
        label="Drain",
        help="Empty the selected node: its clients move to the others, then it leaves.",
        group=Group.ACT,
        footer=True,
        verb="drain",
        confirm=Confirm.DIALOG,
    ),
    UiCommand(
        id="abort",
        keys=("A",),
        label="Abort drain",
        help="Call off the drain of the selected node; it takes clients again.",
        group=Group.ACT,
        verb="abort",
    ),
    UiCommand(
        id="kill",
        keys=("X",),
        label="Kill…",
        help="Send TERM, KILL, STOP or CONT to the selected node's process.",
        group=Group.ACT,
        footer=True,
        verb="kill",
        confirm=Confirm.TYPE_NAME,
    ),
    UiCommand(
        id="start",
        keys=("S",),
        label="Start",
        help="Start the selected node's process again.",
        group=Group.ACT,
        footer=True,
        verb="start",
    ),
    UiCommand(
        id="pause",
        keys=("p",),
        label="Pause",
        help="Hold the picture still; collection goes on, the same key goes back to live.",
        group=Group.TIME,
        footer=True,
    ),
    UiCommand(id="help", keys=("question_mark",), label="Help", help="Show all keys.", group=Group.APP, footer=True),
    UiCommand(
        id="palette",
        keys=("ctrl+p",),
        label="Palette",
        help="Search for a command by name.",
        group=Group.APP,
        footer=True,
    ),
    UiCommand(
        id="quit",
        keys=("q", "ctrl+c"),
        label="Quit",
        help="End wsmon; an embedded cluster ends with it.",
        group=Group.APP,
        footer=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """An action as the command line knows it: `wsmon NAME NODE`."""

    name: str
    help: str
    """One clause for help and documents."""
    op: str
    """What an `Action` calls it."""
    asks: bool = False
    """Whether a person at a terminal has to type the target's name before it is done."""
    wait_for: tuple[str, ...] = ()
    """Node states that `--wait` waits for; without any there is nothing to wait for."""


ACTION_VERBS: Final = (
    Verb(
        name="drain",
        op="drain",
        help="empty a node: its clients move to the others, then it leaves",
        asks=True,
        wait_for=("left",),
    ),
    Verb(name="abort", op="abort", help="call a drain off", wait_for=("online",)),
    Verb(name="undrain", op="abort", help="the same as abort", wait_for=("online",)),
    Verb(name="cordon", op="cordon", help="let a node keep what it has and take nothing new"),
    Verb(name="uncordon", op="uncordon", help="let a node take clients again"),
    Verb(
        name="kill",
        op="kill",
        help="send a signal to a node's process",
        asks=True,
        wait_for=("removed", "left"),
    ),
    Verb(
        name="start",
        op="start",
        help="start a node's process again, or call back a node that left",
        wait_for=("online",),
    ),
    Verb(
        name="stop",
        op="stop",
        help="ask a node's process to end: it drains first, and stays down",
        asks=True,
        wait_for=("removed", "left"),
    ),
    Verb(
        name="restart",
        op="restart",
        help="drain a node, start its process again, and wait until it is online; --all: one after the other",
        asks=True,
    ),
    Verb(name="freeze", op="freeze", help="stop a node's process where it stands, for a while"),
    Verb(name="thaw", op="thaw", help="let a frozen process go on"),
    Verb(
        name="fault",
        op="fault",
        help="break a process or a link on purpose, for a while",
        asks=True,
    ),
    Verb(name="heal", op="heal", help="end faults before their time"),
)
"""Everything that changes something, in the order of help."""

BY_ID: Final = {command.id: command for command in COMMANDS}
KILL_SIGNALS: Final = ("TERM", "KILL", "STOP", "CONT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An operation that a person asked for. wsmon asks; whoever owns the process acts.

    `op` is one of those of `ACTION_VERBS`; `node` its target, empty for everything; `args` what it takes besides.
    """

    op: str
    node: str
    args: ReadOnlyJson
    reason: str = ""
    dry_run: bool = False
    key: str
    """Idempotency key: the same action sent twice is done once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an action."""

    ok: bool
    code: str = ""
    message: str = ""
    effect: ReadOnlyJson
    rev: int = 0
