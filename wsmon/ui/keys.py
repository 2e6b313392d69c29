"""Key bindings and palette entries, both made from the one table of commands."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from wsmon.commands import COMMANDS, USUAL_KEYS, Group, Keymap, UiCommand
from wsmon.ui.render.footer import allowed, key_name

PRIORITY: Final = frozenset({"ctrl+c"})
"""Keys that work inside dialogs too."""


def bindings(keymap: Keymap, *, act: bool) -> list[Binding]:
    """Return the bindings of the commands that act, or of all the others."""
    return [
        Binding(
            key,
            "command_palette" if command.id == "palette" else f"command('{command.id}')",
            command.label,
            show=False,
            priority=key in PRIORITY,
        )
        for command in COMMANDS
        if (command.group is Group.ACT) is act
        for key in keymap[command.id]
    ]


class CommandProvider(Provider):
    """The palette's entries: every command of this console."""

    @property
    def _commands(self) -> tuple[UiCommand, ...]:
        armed: bool = getattr(self.app, "may_act", False)
        commands: Iterable[UiCommand] = (command for command in allowed(armed=armed) if command.id != "palette")
        return tuple(sorted(commands, key=lambda command: command.group is Group.LOOK))

    async def discover(self) -> Hits:
        """Offer everything before a letter is typed."""
        for command in self._commands:
            yield DiscoveryHit(self._name(command), partial(self._run, command), self._name(command), command.help)

    async def search(self, query: str) -> Hits:
        """Offer what resembles the query."""
        matcher = self.matcher(query)
        for command in self._commands:
            text = f"{self._name(command)} · {command.help}"
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, matcher.highlight(text), partial(self._run, command), text)

    async def _run(self, command: UiCommand) -> None:
        await self.app.run_action(f"command('{command.id}')")

    def _name(self, command: UiCommand) -> str:
        keymap: Keymap = getattr(self.app, "keymap", USUAL_KEYS)
        keys = keymap[command.id]
        return f"{command.label} ({key_name(keys[0])})" if keys else command.label
