"""What was done to each node, above what its checker said."""

from wsmon.ui.render import truth
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.detail import glyphs_of
from wsmon.ui.widgets.pane import Pane
from wsmon.views.truth_frame import TruthLanes


class TruthPane(Pane, can_focus=True):
    """Two lines for each node that something was done to, or said of."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._truth = TruthLanes()
        self._past_s: float | None = None
        self._top = 0

    def show(self, shown: TruthLanes | None, *, past_s: float | None = None) -> None:
        """Show other lanes; `past_s` is how much of the past, None: as much as the newest faults need."""
        self._truth, self._past_s = TruthLanes() if shown is None else shown, past_s
        self.redraw()

    def move(self, rows: int) -> None:
        """Scroll."""
        self._top += rows
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head, lanes and time axis."""
        self._top = max(0, min(self._top, len(self._truth.lanes) - max(1, (height - 2) // 2)))
        return truth.pane(
            self._truth,
            width,
            height,
            top=self._top,
            focused=self.has_focus,
            past_s=self._past_s,
            glyphs=glyphs_of(self.app),
        )


def oldest_s(shown: TruthLanes | None, most_s: float) -> float:
    """Return how long ago the newest fault of any node began, of those younger than `most_s`; 0 without one."""
    lanes = () if shown is None else shown.lanes
    ages = [lane.deeds[-1].since_at for lane in lanes if lane.deeds]
    return max((age for at in ages if shown is not None and (age := shown.now_at - at) <= most_s), default=0.0)
