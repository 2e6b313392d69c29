"""All keys."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import ModalScreen

from wsmon.commands import Keymap
from wsmon.ui.render.footer import help_lines
from wsmon.ui.render.lines import MUTED, Line, Run, fitted, title
from wsmon.ui.widgets.pane import Pane


class HelpPane(Pane, can_focus=True):
    """The table of commands, scrollable."""

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
        return (*help_lines(width, armed=self._armed, keymap=self._keymap), (), (Run(f" {note}", MUTED),))

    def move(self, rows: int) -> None:
        """Scroll."""
        self.top += rows
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and the lines in sight."""
        body = self._body(width)
        room = max(0, height - 1)
        self.top = max(0, min(self.top, len(body) - room))
        below = len(body) - self.top - room
        right = (Run(f"{below} more ↓", MUTED),) if below > 0 else ()
        head = title("keys", (), width, focused=True, right=right)
        return tuple(fitted(line, width) for line in (head, *body[self.top : self.top + room]))[: max(0, height)]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As high as the list; the style sheet bounds it."""
        return len(self._body(max(1, width))) + 1


class HelpScreen(ModalScreen[None]):
    """Shows the keys until any of its own is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "close", "Close", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
        Binding("pagedown,space", "scroll(10)", "Page down", show=False),
    ]

    def __init__(self, keymap: Keymap, *, armed: bool, embedded: bool) -> None:
        super().__init__()
        self._keymap, self._armed, self._embedded = keymap, armed, embedded
        self._closed_once = False

    def compose(self) -> ComposeResult:
        """Build it."""
        yield HelpPane(self._keymap, armed=self._armed, embedded=self._embedded)

    def action_close(self) -> None:
        """Close it."""
        if not self._closed_once:
            self._closed_once = True
            self.dismiss(None)

    def action_scroll(self, rows: int) -> None:
        """Scroll."""
        self.query_one(HelpPane).move(rows)
