"""What all parts of the screen have in common: lines of which only the changed stretches are repainted."""

from typing import Protocol, runtime_checkable

from rich.segment import Segment
from textual.events import MouseScrollDown, MouseScrollUp, Resize
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from wsmon.ui.render.lines import FAINT, Line, ascii_only, changed, fitted, length_of
from wsmon.ui.theme import Theme

WHEEL = 3
PAGE = 10
EVERYTHING = 1_000_000
_MOVES = {
    "up": -1,
    "down": 1,
    "page_up": -PAGE,
    "page_down": PAGE,
    "first": -EVERYTHING,
    "last": EVERYTHING,
}


@runtime_checkable
class Painter(Protocol):
    """The app, as far as panes need it."""

    @property
    def look(self) -> Theme:
        """The theme."""

    @property
    def ascii_only(self) -> bool:
        """Whether the terminal has no other characters."""


class Pane(Widget):
    """Draws lines. A subclass says in `picture` what they are, and calls `redraw` when that may have changed."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name for it.
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()
        self._drawn_width = -1
        self._strips: dict[int, Strip] = {}
        self._painter: Painter | None = None
        """The app; asked once, since asking whether it is a painter takes as long as drawing a line."""
        self.repainted = 0
        """How many lines were sent to be repainted since the start; for tests and curiosity."""

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the lines to show; fewer than `height` leave the rest empty."""
        raise NotImplementedError

    def move(self, rows: int) -> None:
        """Select or scroll by a number of rows, which may be huge."""

    @property
    def filter_text(self) -> str | None:
        """The filter that is on, if any; None: there is nothing to filter here."""
        return None

    def filter(self, wanted: str) -> None:
        """Show only what holds these words; nothing shows all."""

    def command(self, id: str) -> bool:  # noqa: A002  # What the table of commands calls it.
        """Do what a key stands for in this part; return whether it means anything here."""
        rows = _MOVES.get(id)
        if rows is not None:
            self.move(rows)
        return rows is not None

    def redraw(self) -> None:
        """Compare with what is shown and repaint only that."""
        width, height = self.size
        if width <= 0 or height <= 0:
            return
        new = tuple(line if length_of(line) == width else fitted(line, width) for line in self.picture(width, height))
        if self._drawn_width != width:
            self._keep(new, width)
            self.repainted += len(new)
            self.refresh()
            return
        if new == self._lines:
            return
        empty = fitted((), width, FAINT)
        regions = []
        for y in range(max(len(new), len(self._lines))):
            before = self._lines[y] if y < len(self._lines) else empty
            after = new[y] if y < len(new) else empty
            spans = changed(before, after)
            if spans:
                regions += [Region(start, y, end - start, 1) for start, end in spans]
                self._strips.pop(y, None)
                self.repainted += 1
        self._lines = new
        if regions:
            self.refresh(*regions)

    def repaint(self) -> None:
        """Draw everything again, after a change of theme."""
        self._drawn_width = -1
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """Return one line for Textual."""
        return self._line(y, self.size)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return lines for Textual as they are; only where a frame stands around them has it anything to add."""
        if self.styles.gutter:
            return super().render_lines(crop)
        size = self.size
        strips = [self._line(y, size) for y in crop.line_range]
        start, end = crop.column_span
        return strips if (start, end) == (0, size.width) else [strip.crop(start, end) for strip in strips]

    def _line(self, y: int, size: Size) -> Strip:
        width = size.width
        if self._drawn_width != width:
            self._keep(self.picture(width, size.height), width)
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._strip(self._lines[y] if y < len(self._lines) else (), width)
        return strip

    def _keep(self, lines: tuple[Line, ...], width: int) -> None:
        self._lines, self._drawn_width = lines, width
        self._strips.clear()

    def _strip(self, line: Line, width: int) -> Strip:
        painter = self._painter
        if painter is None:
            app = self.app
            assert isinstance(app, Painter)
            painter = self._painter = app
        style, plain = painter.look.style, painter.ascii_only
        segments = [Segment(ascii_only(run.text) if plain else run.text, style(run.ink)) for run in fitted(line, width)]
        strip = Strip(segments, width)
        for effect in self.get_line_filters():
            strip = strip.apply_filter(effect, self.background_colors[1])
        return strip

    def on_resize(self, _: Resize) -> None:
        """Draw for the new size."""
        self._drawn_width = -1
        self.redraw()

    def watch_has_focus(self, has_focus: bool) -> None:  # noqa: FBT001  # Textual calls it so.
        """Show it."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def on_mouse_scroll_down(self, _: MouseScrollDown) -> None:
        """Wheel."""
        self.move(WHEEL)

    def on_mouse_scroll_up(self, _: MouseScrollUp) -> None:
        """Wheel."""
        self.move(-WHEEL)
