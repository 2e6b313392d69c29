"""All keys, and what columns and states mean."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import ModalScreen

from wsmon.commands import Keymap
from wsmon.ui.render import legend
from wsmon.ui.render.caption import broken
from wsmon.ui.render.footer import help_lines
from wsmon.ui.render.lines import MUTED, Line, Run, fitted, title
from wsmon.ui.widgets.pane import Pane

MOVES: Final = ("up", "down", "page_up", "page_down", "first", "last")
"""The commands that move in a list move here too, by whatever keys they have."""
OVERLAP: Final = 2
"""Lines of one page that are on the next one as well."""


class HelpPane(Pane, can_focus=True):
    """The table of commands and the legend, scrollable."""

    def __init__(self, keymap: Keymap, *, armed: bool, embedded: bool) -> None:
        super().__init__(id="help")
        self._keymap, self._armed, self._embedded = keymap, armed, embedded
        self.top = 0

    def _body(self, width: int) -> tuple[Line, ...]:
        note = (
            "This console runs the cluster: leaving ends both."
            if self._embedded
            else "Attached: leaving changes nothing in the cluster."
        )
        told = ((Run(f" {text}", MUTED),) for text in broken(note, max(1, width - 1)))
        keys = help_lines(width, armed=self._armed, keymap=self._keymap)
        return (*keys, (), *told, (), *legend.lines(width, self._keymap))

    def move(self, rows: int) -> None:
        """Scroll."""
        self.top += rows
        self.redraw()

    def command(self, id: str) -> bool:  # noqa: A002  # What the table of commands calls it.
        """Scroll; a page is what is in sight."""
        page = max(1, self.size.height - 1 - OVERLAP)
        if id in {"page_up", "page_down"}:
            self.move(page if id == "page_down" else -page)
            return True
        return super().command(id)

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and the lines in sight."""
        body = self._body(width)
        room = max(0, height - 1)
        self.top = max(0, min(self.top, len(body) - room))
        below = len(body) - self.top - room
        right = (Run(f"{below} more ↓", MUTED),) if below > 0 else ()
        head = title("help", (), width, focused=True, right=right)
        return tuple(fitted(line, width) for line in (head, *body[self.top : self.top + room]))[: max(0, height)]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As high as the list; the style sheet bounds it."""
        return len(self._body(max(1, width))) + 1


class HelpScreen(ModalScreen[None]):
    """Shows the keys until any of its own is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "close", "Close", show=False),
        Binding("up", "move('up')", "Up", show=False),
        Binding("down", "move('down')", "Down", show=False),
        Binding("pageup", "move('page_up')", "Page up", show=False),
        Binding("pagedown,space", "move('page_down')", "Page down", show=False),
        Binding("home", "move('first')", "First line", show=False),
        Binding("end", "move('last')", "Last line", show=False),
    ]

    def __init__(self, keymap: Keymap, *, armed: bool, embedded: bool) -> None:
        super().__init__()
        self._keymap, self._armed, self._embedded = keymap, armed, embedded
        self._closed_once = False
        for command in ("help", *MOVES):
            for key in keymap[command]:
                # What closes it, and the keys that move in every list of the world, do so whatever else they are for.
                if key not in self._bindings.key_to_bindings:
                    self._bindings.bind(key, "close" if command == "help" else f"move('{command}')", show=False)

    def compose(self) -> ComposeResult:
        """Build it."""
        yield HelpPane(self._keymap, armed=self._armed, embedded=self._embedded)

    def action_close(self) -> None:
        """Close it."""
        if not self._closed_once:
            self._closed_once = True
            self.dismiss(None)

    def action_move(self, command: str) -> None:
        """Scroll."""
        self.query_one(HelpPane).command(command)
