"""The keys at the foot of the screen."""

from wsmon.commands import Keymap
from wsmon.ui.render import footer
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import Playback


class KeyBar(Pane):
    """Which keys do what here."""

    def __init__(self, keymap: Keymap, *, armed: bool) -> None:
        super().__init__(id="keys")
        self._keymap = keymap
        self._armed = armed
        self._playback: Playback | None = None
        self._fault = False

    def show(self, *, armed: bool, playback: Playback | None, fault: bool = False) -> None:
        """Show the keys of another mode; `fault`: something is broken on purpose."""
        self._armed, self._playback, self._fault = armed, playback, fault
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the keys."""
        if not height:
            return ()
        playback = self._playback
        past = playback is not None and playback.twin
        line = footer.footer(
            width,
            armed=self._armed,
            replay=playback is not None,
            past=past,
            fault=self._fault,
            keymap=self._keymap,
        )
        return (line,)
