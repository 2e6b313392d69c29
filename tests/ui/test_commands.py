"""One table of commands feeds everything: no place knows more, or less, than another."""

from pathlib import Path

import pytest

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon import cli
from wsmon.commands import ACTION_VERBS, COMMANDS, Confirm, Group, UiCommand
from wsmon.ui.app import WsmonApp
from wsmon.ui.keys import CommandProvider, bindings
from wsmon.ui.render.footer import help_lines, key_name
from wsmon.ui.render.lines import text_of

KEYS_MD = Path(__file__).parents[2] / "docs" / "keys.md"
ACTS = tuple(command for command in COMMANDS if command.group is Group.ACT)


def documented() -> dict[str, tuple[str, ...]]:
    rows = (line for line in KEYS_MD.read_text(encoding="utf-8").splitlines() if line.startswith("| `"))
    cells = (tuple(cell.strip() for cell in row.strip("|").split(" | ")) for row in rows)
    return {row[0].strip("`| "): row[1:] for row in cells}


def test_the_document_has_a_line_for_every_command_and_no_other() -> None:
    rows = documented()
    assert list(rows) == [command.id for command in COMMANDS]
    for command in COMMANDS:
        keys, does, *rest = rows[command.id]
        assert keys.split() == [f"`{key_name(key)}`" for key in command.keys]
        assert does.rstrip(" |") == command.help
        if command.group is Group.ACT:
            asks, verbs = rest
            assert asks == ("–" if command.confirm is Confirm.NOTHING else command.confirm)
            assert [verb.strip("` |") for verb in verbs.split(", ")] == [f"wsmon {verb}" for verb in command.verbs]


def test_every_action_has_key_help_line_and_verb() -> None:
    help_text = "\n".join(text_of(line) for line in help_lines(140, armed=True))
    bound = {binding.action for binding in bindings({c.id: c.keys for c in COMMANDS}, act=True)}
    verbs = {verb.name for verb in ACTION_VERBS}
    for command in ACTS:
        assert command.keys
        assert command.help in help_text
        assert f"command('{command.id}')" in bound
        assert command.verbs
        assert set(command.verbs) <= verbs <= set(cli.VERBS)


async def test_every_action_is_in_the_palette_of_an_armed_console_and_of_no_other() -> None:
    for armed in (True, False):
        app = WsmonApp(
            FakeSource(frames.healthy()), theme="dark", armed=armed, embedded=True, environ={"TERM": "xterm-256color"}
        )
        async with app.run_test():
            provider = CommandProvider(app.screen)
            names = [hit.text async for hit in provider.discover()]
            for command in ACTS:
                assert (f"{command.label} ({key_name(command.keys[0])})" in names) is armed
            others = [command for command in COMMANDS if command.group is not Group.ACT and command.id != "palette"]
            assert len(names) == len(others) + (len(ACTS) if armed else 0)


@pytest.mark.parametrize("command", ACTS, ids=lambda command: command.id)
def test_no_action_is_on_a_key_that_slips(command: UiCommand) -> None:
    """Neither a lower-case letter nor a chord: a paste, or a chord of the terminal, must not act."""
    assert all(len(key) == 1 and key.isascii() and key.isupper() for key in command.keys)
