"""Sends only the cells that changed.

Stock, Textual repaints a changed stretch of a line from the beginning of its widget, which costs many times the bytes.
This leans on the shape of one of its internal classes; if that is not as expected, Textual's own way is taken.
"""

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate

_SHAPE = ("chops", "spans", "chop_ends")


class TightUpdate(ChopsUpdate):
    """An update cut to its spans at both ends."""

    def render_segments(self, console: Console) -> str:
        """Return the escape sequences that bring the changed cells to the screen."""
        out: list[str] = []
        for y, first, last in self.spans:
            for end, (start, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                left, right = max(start, first), min(end, last)
                if strip is None or left >= right:
                    continue
                piece = strip if (left, right) == (start, end) else strip.crop(left - start, right - start)
                out.append(Control.move_to(left, y).segment.text)
                out.append(piece.render(console))
        return "".join(out)


def tightened(update: object) -> object:
    """Return the update cut to what changed, if it is of the kind that can be; else the update itself."""
    if type(update) is ChopsUpdate and all(hasattr(update, name) for name in _SHAPE):
        return TightUpdate(update.chops, update.spans, update.chop_ends)
    return update
