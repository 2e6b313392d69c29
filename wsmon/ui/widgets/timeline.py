"""The reconnect timeline; while the cluster starts, the steps of that instead."""

from wsmon.ui.render import start, timeline
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import StartStep, Timeline


class TimelinePane(Pane, can_focus=True):
    """One lane for each client that is or was away."""

    def __init__(self, *, id: str = "timeline") -> None:  # noqa: A002
        super().__init__(id=id)
        self._timeline = Timeline()
        self._steps: tuple[StartStep, ...] | None = None
        self._quiet = timeline.UNKNOWN
        self.top = 0

    def show(self, shown: Timeline, *, steps: tuple[StartStep, ...] | None, clients: int | None) -> None:
        """Show other lanes, or the steps of a start; `clients` is how many are connected, as far as known."""
        self._timeline, self._steps = shown, steps
        self._quiet = timeline.UNKNOWN if clients is None else timeline.QUIET
        self.redraw()

    def move(self, rows: int) -> None:
        """Scroll."""
        self.top += rows
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head, lanes and time axis."""
        if self._steps is not None:
            return start.pane(self._steps, width, height)
        self.top = max(0, min(self.top, len(self._timeline.lanes) - (height - 2)))
        return timeline.pane(self._timeline, width, height, top=self.top, focused=self.has_focus, quiet=self._quiet)
