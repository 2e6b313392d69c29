"""Everything about the selected node."""

from textual.app import App

from wsmon.ui.render import detail
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.detail_frame import NodeDetail


def glyphs_of(app: App[object]) -> Glyphs:
    """Return which characters graphs are made of; an app that does not say takes what every font of today has."""
    glyphs = getattr(app, "glyphs", None)
    if isinstance(glyphs, Glyphs):
        return glyphs
    return Glyphs.ASCII if getattr(app, "ascii_only", False) else Glyphs.BRAILLE


class DetailPane(Pane, can_focus=True):
    """Scrolls; a node that is selected next is shown from its beginning."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._detail: NodeDetail | None = None
        self.top = 0

    def show(self, shown: NodeDetail | None) -> None:
        """Show another node, or the same one as it is now."""
        if shown is None or self._detail is None or shown.node != self._detail.node:
            self.top = 0
        self._detail = shown
        self.redraw()

    def move(self, rows: int) -> None:
        """Scroll."""
        self.top += rows
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and facts."""
        glyphs = glyphs_of(self.app)
        below = 0 if self._detail is None else len(detail.lines(self._detail, width, glyphs))
        self.top = max(0, min(self.top, below - (height - 1)))
        return detail.pane(self._detail, width, height, top=self.top, focused=self.has_focus, glyphs=glyphs)
