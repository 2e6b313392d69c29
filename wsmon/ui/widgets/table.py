"""The node table."""

from textual.events import MouseDown
from textual.geometry import Size
from textual.message import Message

from wsmon.ui.render import nodes
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import NodeRow


class LiveTable(Pane, can_focus=True):
    """Shows node rows with one of them selected. The selection follows the node, not the line."""

    class Selected(Message):
        """Another node is selected."""

    def __init__(self) -> None:
        super().__init__(id="nodes")
        self.rows: tuple[NodeRow, ...] = ()
        self.cursor = 0
        self.top = 0

    @property
    def selected(self) -> NodeRow | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def show(self, rows: tuple[NodeRow, ...]) -> None:
        """Show other rows; the same node stays selected if it is still there."""
        if rows is self.rows:
            return
        before, chosen = len(self.rows), self.selected
        self.rows = rows
        if chosen is not None:
            self.cursor = next((y for y, row in enumerate(rows) if row.id == chosen.id), self.cursor)
        self._scroll()
        if len(rows) != before:
            self.refresh(layout=True)
        self.redraw()

    def move(self, rows: int) -> None:
        """Select another row."""
        self._select(self.cursor + rows)

    def on_mouse_down(self, event: MouseDown) -> None:
        """Select the row that was clicked."""
        if 1 <= event.y <= len(self.rows) - self.top:
            self._select(self.top + event.y - 1)

    def _select(self, row: int) -> None:
        cursor = max(0, min(row, len(self.rows) - 1))
        if cursor != self.cursor:
            self.cursor = cursor
            self._scroll()
            self.redraw()
            self.post_message(self.Selected())

    def _scroll(self) -> None:
        """Keep the cursor in sight."""
        room = max(1, self.size.height - 1)
        self.cursor = max(0, min(self.cursor, len(self.rows) - 1))
        self.top = max(0, min(self.top, self.cursor, len(self.rows) - room))
        self.top = max(self.top, self.cursor - room + 1)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As high as the rows; the style sheet bounds it."""
        return max(2, len(self.rows) + 1)

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and rows."""
        self._scroll()
        return nodes.table(self.rows, width, height, top=self.top, cursor=self.cursor)
