"""The keys at the foot of the screen."""

from wsmon.commands import Keymap
from wsmon.ui.render import footer
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane


class KeyBar(Pane):
    """Which keys do what here."""

    def __init__(self, keymap: Keymap, *, armed: bool) -> None:
        super().__init__(id="keys")
        self._keymap = keymap
        self._armed = armed
        self._replay = False

    def show(self, *, armed: bool, replay: bool) -> None:
        """Show the keys of another mode."""
        self._armed, self._replay = armed, replay
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the keys."""
        if not height:
            return ()
        return (footer.footer(width, armed=self._armed, replay=self._replay, keymap=self._keymap),)
