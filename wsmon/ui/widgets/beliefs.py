"""Who believes what of whom."""

from wsmon.ui.render import beliefs
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.beliefs_frame import Beliefs


class BeliefsPane(Pane, can_focus=True):
    """Who sees whom."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's own name for it.
        super().__init__(id=id)
        self._beliefs = Beliefs()
        self.top = 0

    def show(self, told: Beliefs | None) -> None:
        """Show other beliefs; None: nobody has worked them out, and the last ones stay."""
        if told is None:
            return
        before = len(self._beliefs.observers)
        self._beliefs = told
        self._bound()
        if len(told.observers) != before:
            self.refresh(layout=True)
        self.redraw()

    def move(self, rows: int) -> None:
        """Scroll through those who look."""
        self.top += rows
        self._bound()
        self.redraw()

    def _bound(self) -> None:
        self.top = max(0, min(self.top, len(self._beliefs.observers) - max(1, self.size.height - 2)))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:  # noqa: ARG002
        """As high as there are observers; the style sheet bounds it."""
        return max(1, len(self._beliefs.observers)) + 2

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the matrix."""
        return beliefs.matrix(self._beliefs, width, height, top=self.top, focused=self.has_focus)
