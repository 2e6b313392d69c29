"""One line to type into, at the foot of the screen: a filter, a time, a note."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from wsmon.ui.render.lines import ACCENT, MUTED, Ground, Line, Run, fitted, length_of, on
from wsmon.ui.widgets.pane import Pane

LONGEST = 200


HINT: Final = " enter takes it · esc calls it off "


class _Label(Pane):
    def __init__(self) -> None:
        super().__init__(id="prompt-label")
        self.words = ""

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        return (fitted((Run(self.words, ACCENT),), width),) if height else ()


class _Hint(Pane):
    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        return (on(fitted((Run(HINT, MUTED),), width), Ground.BAR),) if height else ()


class Prompt(Horizontal):
    """Out of sight until it asks for something."""

    DEFAULT_CSS: ClassVar[str] = """
    Prompt { height: 1; display: none; }
    Prompt _Label { width: 10; height: 1; }
    Prompt _Hint { width: 35; height: 1; }
    Prompt Input { width: 1fr; height: 1; border: none; padding: 0; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", show=False)]

    class Typed(Message):
        """The text has changed, or is complete: then `done` is set. None: called off."""

        def __init__(self, purpose: str, text: str | None, *, done: bool) -> None:
            super().__init__()
            self.purpose, self.text, self.done = purpose, text, done

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.purpose = ""

    def compose(self) -> ComposeResult:
        """Build it."""
        yield _Label()
        yield Input(compact=True, max_length=LONGEST, select_on_focus=True)
        yield _Hint(id="prompt-hint")

    def ask(self, purpose: str, label: str, text: str = "") -> None:
        """Ask for something; `Typed` tells what was typed."""
        self.purpose = purpose
        words = self.query_one(_Label)
        words.words = f" {label} "
        words.styles.width = length_of((Run(words.words, ACCENT),))
        self.display = True
        field = self.query_one(Input)
        field.value = text
        self.screen.set_focus(field)  # At once: what is typed right behind is for it, and presses no key.
        words.redraw()

    def close(self) -> None:
        """Go out of sight."""
        self.purpose = ""
        self.display = False

    def action_cancel(self) -> None:
        """Call it off."""
        self.post_message(self.Typed(self.purpose, None, done=True))

    def on_input_changed(self, message: Input.Changed) -> None:
        """Pass on what is typed."""
        message.stop()
        if self.purpose:
            self.post_message(self.Typed(self.purpose, message.value, done=False))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Pass on what was typed."""
        message.stop()
        if self.purpose:
            self.post_message(self.Typed(self.purpose, message.value, done=True))
