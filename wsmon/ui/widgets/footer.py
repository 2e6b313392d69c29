"""The keys at the foot of the screen."""

from wsmon.ui.render import footer
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane


class KeyBar(Pane):
    """Which keys do what here."""

    def __init__(self, *, armed: bool) -> None:
        super().__init__(id="keys")
        self._armed = armed

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the keys."""
        return (footer.footer(width, armed=self._armed),) if height else ()
