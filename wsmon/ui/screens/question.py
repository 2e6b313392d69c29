"""The question before a dangerous action.

A hurried enter does nothing: Cancel has the focus, or the empty field for the name where one has to be typed. That field
has it from the very beginning: keys that are typed ahead go to whoever has the focus at that moment. `y` agrees, `n` and
escape refuse. Where the name has to be typed, enter behind it agrees, or the button does; tab goes on to the reason, which
may stay empty, and enter there agrees as well. The numbers follow the newest frame, also while the view is paused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Click, DescendantFocus, Key
from textual.geometry import Size
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from wsmon.ui.render.lines import (
    MUTED,
    STRONG,
    WARNING,
    Ground,
    Ink,
    Line,
    Run,
    Tone,
    clip,
    fit,
    fitted,
    length_of,
    safe,
    title,
)
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import Frame

REASON_MAX = 200
NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody agreed: to which choice, and why."""

    choice: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked."""

    heading: str
    node: str
    agree: str
    """The word on the button."""
    facts: Callable[[Frame, int, int], tuple[Line, ...]]
    """Frame, choice and width to the lines that tell what would happen."""
    type_name: Callable[[Frame], bool]
    """Whether the name has to be typed."""
    wants_reason: bool = True
    """Whether a reason goes along."""
    choices: int = 1


class Facts(Pane):
    """What would happen."""

    def __init__(self, asked: Asked, frame: Frame) -> None:
        super().__init__(id="facts")
        self._asked = asked
        self.frame = frame
        self.choice = 0

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return heading and facts."""
        if height <= 0:
            return ()
        heading = title(self._asked.heading, (), width, focused=True)
        lines = (heading, fitted((), width), *self._asked.facts(self.frame, self.choice, width))
        return tuple(fitted(line, width) for line in lines)[:height]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As high as the facts."""
        return 2 + len(self._asked.facts(self.frame, self.choice, max(1, width)))


class Push(Pane, can_focus=True):
    """A button of one line."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "push", "Push", show=False)]

    class Pushed(Message):
        """It was pushed."""

        def __init__(self, push: "Push") -> None:
            super().__init__()
            self.push = push

    def __init__(self, label: str, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.label = label
        self.ready = True

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the label, inverted when it has the focus."""
        if not height:
            return ()
        if self.has_focus:
            ink = Ink(Tone.ACCENT, bold=True, reverse=True)
        else:
            ink = Ink(Tone.TEXT if self.ready else Tone.FAINT, ground=Ground.SELECTED)
        return (fitted((Run(f"  {self.label}  ", ink),), width, ink),)

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002
        """As wide as the label."""
        return length_of((Run(f"  {self.label}  ", STRONG),))

    def action_push(self) -> None:
        """Say so."""
        self.post_message(self.Pushed(self))

    def on_click(self, _: Click) -> None:
        """Say so."""
        self.action_push()


class Caption(Pane):
    """A label or a hint of one line."""

    def __init__(self, text: str, ink: Ink, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._text, self._ink = text, ink

    def show(self, text: str, ink: Ink) -> None:
        """Show another text."""
        self._text, self._ink = text, ink
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the text."""
        return (fitted((Run(fit(self._text, width), self._ink),), width),) if height else ()


class Field(Input):
    """Where something is typed.

    Keys that are typed fast, or all at once, wait in the queue of the field that had the focus when they came. So all
    that mean something are taken here, each in its turn: what an earlier one chose holds for a later one that agrees, and
    what is typed behind enter is handed on to the field that has the focus by then.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        # A field could scroll, and would be asked first.
        Binding("up", "screen.choose(-1)", "Up", show=False),
        Binding("down", "screen.choose(1)", "Down", show=False),
    ]

    def __init__(self, *, id: str, longest: int, entered: Callable[[], None]) -> None:  # noqa: A002
        """`entered` is called at enter, and may move the focus."""
        super().__init__(id=id, compact=True, max_length=longest, select_on_focus=False)
        self._entered = entered

    async def on_key(self, event: Key) -> None:
        """Take what means something in the field with the focus, or in the dialog."""
        field = self.screen.focused
        if isinstance(field, Field) and await field.take(event):
            event.stop()
            event.prevent_default()

    async def take(self, event: Key) -> bool:
        """Do what a key means here; return whether it means anything."""
        if event.is_printable:
            self.replace(event.character or "", *self.selection)
            return True
        bound = self.screen.active_bindings.get(event.key)
        if bound is None or bound.node not in (self, self.screen):
            return False
        return await self.app.run_action(bound.binding.action, bound.node)

    async def action_submit(self) -> None:
        """Do what enter does, at once."""
        self._entered()


class Question(ModalScreen[Answer | None]):
    """Asks, and returns an answer or None."""

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "refuse", "Cancel", show=False),
        Binding("up", "choose(-1)", "Up", show=False),
        Binding("down", "choose(1)", "Down", show=False),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]

    def __init__(self, asked: Asked, frame: Frame) -> None:
        super().__init__()
        self._asked = asked
        self._frame = frame
        self._needs_name = asked.type_name(frame)
        self._finished = False
        self._refused: str | None = None
        """What stood in the field for the name when somebody agreed, and was wrong."""

    def compose(self) -> ComposeResult:
        """Build the dialog."""
        with Vertical(id="dialog"):
            yield Facts(self._asked, self._frame)
            with Horizontal(classes="field", id="name_row"):
                yield Caption(f"Type {clip(self._asked.node, 9)}", MUTED)
                longest = max(NAME_MAX, len(self._asked.node))
                yield Field(id="name", longest=longest, entered=self._agree)
            with Horizontal(classes="field", id="reason_row"):
                yield Caption("Reason", MUTED)
                yield Field(id="reason", longest=REASON_MAX, entered=self._reason_entered)
            with Horizontal(id="pushes"):
                yield Push("Cancel", id="cancel")
                yield Push(self._asked.agree, id="agree")
            yield Caption("", MUTED, id="hint")

    def on_mount(self) -> None:
        """Show what is needed."""
        self.query_one("#reason_row").display = self._asked.wants_reason
        self._update()
        if self._needs_name:
            name = self.query_one("#name", Input)
            self.set_focus(name)
            self.call_after_refresh(name.scroll_visible, animate=False)  # On few lines there is no room for all.

    def follow(self, frame: Frame) -> None:
        """Take the numbers from a newer frame."""
        self._frame = frame
        self._needs_name = self._asked.type_name(frame)
        facts = self.query_one(Facts)
        before = facts.get_content_height(facts.size, facts.size, facts.size.width)
        facts.frame = frame
        if facts.get_content_height(facts.size, facts.size, facts.size.width) != before:
            facts.refresh(layout=True)
        facts.redraw()
        self._update()

    @property
    def _typed(self) -> bool:
        wanted = self._asked.node.strip()
        return bool(wanted) and self.query_one("#name", Input).value.strip() == wanted

    def _update(self) -> None:
        self.query_one("#name_row").display = self._needs_name
        agree = self.query_one("#agree", Push)
        ready = not self._needs_name or self._typed
        if agree.ready != ready:
            agree.ready = ready
            agree.redraw()
        hint = self.query_one("#hint", Caption)
        if not ready and self._refused == self.query_one("#name", Input).value:
            hint.show(f"Type {safe(self._asked.node)} to agree", WARNING)
            return
        choose = "↑↓ choose · " if self._asked.choices > 1 else ""
        if not self._needs_name:
            how = "y agrees"
        elif self._typed and self.focused is self.query_one("#reason"):
            how = "a reason or none, then enter"
        else:
            how = "type the name, then enter"
            if self._asked.wants_reason:
                how = "type the name, enter · tab reason"
        hint.show(f"{choose}{how} · esc cancels", MUTED)

    def _finish(self, answer: Answer | None) -> None:
        """Leave, once: keys that were typed ahead still arrive while the dialog goes away."""
        if not self._finished:
            self._finished = True
            self.dismiss(answer)

    def _agree(self) -> None:
        """Agree, unless the name is missing: then say so."""
        if self._name_is_right():
            self._finish(Answer(self.query_one(Facts).choice, self.query_one("#reason", Input).value.strip()))

    def _name_is_right(self) -> bool:
        """Return whether nothing is missing; else say what is, and have it typed."""
        right = not self._needs_name or self._typed
        if not right:
            name = self.query_one("#name", Input)
            self._refused = name.value
            self.set_focus(name)
        self._update()
        return right

    def _reason_entered(self) -> None:
        """Agree where the name was typed before; else only go on to the button."""
        if self._needs_name:
            self._agree()
        else:
            self.set_focus(self.query_one("#agree", Push))

    def action_refuse(self) -> None:
        """Do nothing."""
        self._finish(None)

    def action_choose(self, rows: int) -> None:
        """Choose another line."""
        facts = self.query_one(Facts)
        facts.choice = max(0, min(facts.choice + rows, self._asked.choices - 1))
        facts.redraw()

    def on_push_pushed(self, message: Push.Pushed) -> None:
        """A button was pushed."""
        if message.push.id == "agree":
            self._agree()
        else:
            self.action_refuse()

    def on_input_changed(self, _: Input.Changed) -> None:
        """The name may be complete now."""
        self._update()

    def on_descendant_focus(self, _: DescendantFocus) -> None:
        """Say what enter does here."""
        self._update()

    def on_key(self, event: Key) -> None:
        """`y` and `n` where no name is needed; else start typing it."""
        if not event.is_printable or isinstance(self.focused, Input):
            return
        if self._needs_name:
            name = self.query_one("#name", Input)
            self.set_focus(name)
            name.insert_text_at_cursor(event.character or "")
            event.stop()
        elif event.character == "y":
            self._agree()
            event.stop()
        elif event.character == "n":
            self.action_refuse()
            event.stop()
