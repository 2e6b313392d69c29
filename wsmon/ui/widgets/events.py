"""The list of events."""

from wsmon.ui.render import events
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import EventRow


class EventList(Pane, can_focus=True):
    """Follows the newest event unless it is scrolled up; then it stays with what is read."""

    def __init__(self, *, id: str = "events") -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows: tuple[EventRow, ...] = ()
        self._ends: object = None
        self._lost = 0
        self._offset_s = 0.0
        self.above = 0
        """How many of the newest rows are scrolled out of sight."""

    def show(self, rows: tuple[EventRow, ...], *, lost: int, offset_s: float) -> None:
        """Show other rows."""
        ends = (rows[0].key, rows[-1].key, len(rows)) if rows else None
        if ends == self._ends:
            rows = self._rows
        else:
            self._ends, rows = ends, events.fold(rows)
        if self.above and self._rows and rows is not self._rows:
            last = self._rows[-1].key
            self.above += next((n for n, row in enumerate(reversed(rows)) if row.key == last), 0)
        self._rows, self._lost, self._offset_s = rows, lost, offset_s
        self.redraw()

    def move(self, rows: int) -> None:
        """Scroll; downwards is towards the newest."""
        self.above -= rows
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and rows."""
        self.above = max(0, min(self.above, len(self._rows) - (height - 1)))
        return events.pane(
            self._rows,
            width,
            height,
            above=self.above,
            lost=self._lost,
            focused=self.has_focus,
            offset_s=self._offset_s,
        )
