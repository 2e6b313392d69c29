"""The words of a scenario, above everything else."""

from textual.geometry import Size

from wsmon.ui.render import caption
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane


class CaptionBar(Pane):
    """Says what is to be seen now; out of sight while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__(id="caption")
        self._words = ""

    def show(self, words: str) -> None:
        """Show other words."""
        if words != self._words:
            self._words = words
            self.display = bool(words)
            self.refresh(layout=True)
            self.redraw()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As high as the words; the style sheet bounds it."""
        return max(1, len(caption.broken(self._words, max(1, width - 4))))

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the words."""
        return caption.caption(self._words, width, height)
