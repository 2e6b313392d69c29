"""The one table of what a person can do: keys, palette, help, footer and command-line verbs come from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from wsmon.protocol.frames import ReadOnlyJson


class Group(StrEnum):
    """Where help lists a command."""

    LOOK = "Look"
    ACT = "Act"
    TIME = "Time"
    TAKE = "Take away"
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
    verbs: tuple[str, ...] = ()
    """The command-line verbs that do the same; every action has one."""
    confirm: Confirm = Confirm.NOTHING


def _look(id: str, keys: str, label: str, help: str, *, footer: bool = False) -> UiCommand:  # noqa: A002
    return UiCommand(id=id, keys=tuple(keys.split()), label=label, help=help, group=Group.LOOK, footer=footer)


def _time(id: str, keys: str, label: str, help: str, *, footer: bool = False) -> UiCommand:  # noqa: A002
    return UiCommand(id=id, keys=tuple(keys.split()), label=label, help=help, group=Group.TIME, footer=footer)


def _take(id: str, keys: str, label: str, help: str) -> UiCommand:  # noqa: A002
    return UiCommand(id=id, keys=tuple(keys.split()), label=label, help=help, group=Group.TAKE)


def _app(id: str, keys: str, label: str, help: str, *, footer: bool = False) -> UiCommand:  # noqa: A002
    return UiCommand(id=id, keys=tuple(keys.split()), label=label, help=help, group=Group.APP, footer=footer)


def _act(
    id: str,  # noqa: A002
    key: str,
    label: str,
    help: str,  # noqa: A002
    *verbs: str,
    confirm: Confirm = Confirm.NOTHING,
    footer: bool = False,
) -> UiCommand:
    return UiCommand(
        id=id, keys=(key,), label=label, help=help, group=Group.ACT, verbs=verbs, confirm=confirm, footer=footer
    )


COMMANDS: Final = (
    _look("nodes", "1", "Nodes", "Show nodes, reconnecting clients and events."),
    _look("timeline", "2", "Reconnects", "Show the clients' ways back, and the storm ahead."),
    _look("events", "3", "Events", "Show everything that happened."),
    _look("sessions", "4", "Sessions", "Show clients, and the story of the selected one."),
    _look("redis", "5", "Redis", "Show Redis, channels, breakers, and who believes what of whom."),
    _look("incidents", "6", "Incidents", "Show incidents, and the scorecard of the selected one."),
    _look("up", "up k", "Up", "Select the row above."),
    _look("down", "down j", "Down", "Select the row below."),
    _look("first", "g home", "First", "Select the first row."),
    _look("last", "G end", "Last", "Select the last row."),
    _look("page_up", "pageup", "Page up", "Go ten rows up."),
    _look("page_down", "pagedown", "Page down", "Go ten rows down."),
    _look("next_pane", "tab", "Next pane", "Move to the next part of the screen."),
    _look("previous_pane", "shift+tab", "Previous pane", "Move to the part of the screen before."),
    _look("open", "enter", "Open", "Show more of the selected row: why it is so, and since when.", footer=True),
    _look("back", "escape", "Back", "Close what is open; take marks, then the filter away; then go back to live."),
    _look(
        "filter", "slash", "Filter", "Show only rows that hold these words; ! before a word: that do not.", footer=True
    ),
    _look("find_next", "n", "Next trouble", "Select the next row that asks for attention."),
    _look("find_previous", "N", "Previous trouble", "Select the row before that asks for attention."),
    _look("sort_left", "less_than_sign", "Sort left", "Sort by the column to the left."),
    _look("sort_right", "greater_than_sign", "Sort right", "Sort by the column to the right."),
    _look("sort_invert", "I", "Invert order", "Turn the order round."),
    _look("wide", "w", "Columns", "Show another set of columns."),
    _look("follow", "f", "Follow", "Stay with the newest row."),
    _look("mark", "space", "Mark", "Mark the row: what comes next is for all marked ones."),
    _look("zoom", "z", "Zoom", "Show the selected part alone, or all of them again."),
    _act(
        "drain",
        "D",
        "Drain",
        "Empty a node: its clients move to the others, then it leaves.",
        "drain",
        confirm=Confirm.DIALOG,
        footer=True,
    ),
    _act("abort", "A", "Abort drain", "Call a drain off; the node takes clients again.", "abort", "undrain"),
    _act(
        "cordon",
        "C",
        "Cordon",
        "Let a node keep what it has and take nothing new.",
        "cordon",
        confirm=Confirm.DIALOG,
    ),
    _act("uncordon", "U", "Uncordon", "Let a node take clients again.", "uncordon"),
    _act(
        "kill",
        "X",
        "Kill…",
        "Send TERM, KILL, STOP or CONT to a node's process.",
        "kill",
        "stop",
        "freeze",
        "thaw",
        confirm=Confirm.TYPE_NAME,
        footer=True,
    ),
    _act("start", "S", "Start", "Start a node's process again, or call back a node that left.", "start", footer=True),
    _act(
        "restart",
        "R",
        "Restart all",
        "Restart the nodes, or the marked ones, one at a time: drain, start, wait until it is online.",
        "restart",
        confirm=Confirm.TYPE_NAME,
    ),
    _act(
        "fault",
        "F",
        "Fault…",
        "Break a node's link or process on purpose, for a while.",
        "fault",
        confirm=Confirm.TYPE_NAME,
    ),
    _act("heal", "H", "Heal all", "End everything that was broken on purpose.", "heal"),
    _time("pause", "p", "Pause", "Hold the picture still; collection goes on.", footer=True),
    _time("step_back", "left_square_bracket", "Step back", "Go half a second back in time."),
    _time("step", "right_square_bracket", "Step", "Go half a second on in time."),
    _time("incident_previous", "left_curly_bracket", "Previous incident", "Go to the incident before."),
    _time("incident_next", "right_curly_bracket", "Next incident", "Go to the next incident."),
    _time("goto", "b", "Go to time", "Go to a time of day, such as 14:03:20, or so many seconds back, such as -30."),
    _time("live", "L", "Live", "Go back to what happens now."),
    _time("faster", "plus", "Faster", "Replay at twice the speed, or show more of the past."),
    _time("slower", "minus", "Slower", "Replay at half the speed, or show less of the past."),
    _time("marker", "i", "Marker", "Put a note on this moment; recordings keep it."),
    _take("copy", "c", "Copy", "Copy the row, or the marked ones, to the clipboard."),
    _take("copy_json", "y", "Copy JSON", "Copy the row as JSON."),
    _take("export", "e", "Export", "Write the table to a file, as text and as JSON."),
    _take("screenshot", "ctrl+s", "Screenshot", "Write the screen to files: SVG and text."),
    _take("bundle", "o", "Save bundle", "Save the last minutes as a recording."),
    _app("arm", "exclamation_mark", "Arm or lock", "Let this console act, or keep it from acting."),
    _app("help", "question_mark", "Help", "Show all keys.", footer=True),
    _app("palette", "ctrl+p colon", "Palette", "Search for a command by name.", footer=True),
    _app("repaint", "ctrl+l", "Repaint", "Draw the whole screen again."),
    _app("suspend", "ctrl+z", "Suspend", "Stop here and give the terminal back to the shell; `fg` comes back."),
    _app("quit", "q ctrl+c", "Quit", "End wsmon; an embedded cluster ends with it.", footer=True),
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
Keymap: TypeAlias = Mapping[str, tuple[str, ...]]
"""Command id → its keys, as Textual names them."""
USUAL_KEYS: Final[Keymap] = {command.id: command.keys for command in COMMANDS}
ROLL: Final = "roll"
"""Restart the nodes of `args["nodes"]` one after the other: several actions that are one to whoever asks."""
KILL_SIGNALS: Final = ("TERM", "KILL", "STOP", "CONT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An operation that a person asked for. wsmon asks; whoever owns the process acts.

    `op` is one of those of `ACTION_VERBS`; `node` its target, empty for everything; `args` what it takes besides.
    """

    op: str
    node: str
    args: "ReadOnlyJson"
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
    effect: "ReadOnlyJson"
    rev: int = 0
