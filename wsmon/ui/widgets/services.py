"""The strip of processes that are not nodes."""

from wsmon.ui.render import services
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import ServiceRow


class ServiceStrip(Pane):
    """One line for redis, checker, gateway, fleet, supervisor."""

    def __init__(self) -> None:
        super().__init__(id="services")
        self._rows: tuple[ServiceRow, ...] = ()

    def show(self, rows: tuple[ServiceRow, ...]) -> None:
        """Show other rows."""
        self._rows = rows
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the strip."""
        return (services.strip(self._rows, width),) if height else ()
