"""A table that is alive: rows come and go, and the selection stays with what was selected."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Generic

from textual.events import Click, MouseDown
from textual.geometry import Size
from textual.message import Message

from wsmon.ui.render import table
from wsmon.ui.render.lines import ACCENT, EMPTY, MUTED, WARNING, Line, Run, clip, fitted, title
from wsmon.ui.render.table import Column, Order, Row
from wsmon.ui.widgets.pane import Pane

MARKS_MAX: Final = 1_000


class LiveTable(Pane, Generic[Row], can_focus=True):
    """Shows rows with one of them selected; sorts, filters and marks them.

    Everything is by the rows' keys, never by their place.
    """

    class Selected(Message):
        """Another row is selected."""

        def __init__(self, live_table: "LiveTable[Any]") -> None:
            super().__init__()
            self.live_table = live_table

    class Opened(Selected):
        """Somebody wants to know more of the selected row."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        columns: tuple[Column[Row], ...],
        key: Callable[[Row], str],
        empty: str,
        name: str = "",
        sets: Sequence[tuple[str, tuple[str, ...]]] = (("usual", ()),),
        stale: Callable[[Row], bool] = lambda _: False,
        attention: Callable[[Row], bool] = lambda _: False,
        grows: bool = False,
    ) -> None:
        """`empty` is the sentence of a table without rows; `name` puts a head line with that name above the titles.

        `sets` are the sets of columns that can be gone through, the first one to begin with; `stale` says whether a
        row's own values are old; `attention` whether a row asks for attention; `grows`: take all height there is.
        """
        super().__init__(id=id)
        self.rows: tuple[Row, ...] = ()
        """The rows in sight: sorted, and only those that the filter lets through."""
        self.cursor = 0
        self.top = 0
        self.order = Order()
        self.wanted = ""
        """The filter."""
        self.follow = False
        """Whether the last row stays selected."""
        self._all: tuple[Row, ...] = ()
        self._columns = columns
        self._key = key
        self._empty = empty
        self._name = name
        self._sets = tuple(sets)
        self._set = 0
        self._chosen = False
        """Whether somebody used the table while it had rows; until then the first row is selected, whichever comes."""
        self._stale = stale
        self._attention = attention
        self._grows = grows
        self._marks: dict[str, None] = {}
        self._laid_out = self._above
        self._drawn: dict[tuple[str, int], tuple[object, Line]] = {}
        """Line of a row as it was drawn last, by its key and place, and what it was drawn from."""

    # What is asked of it.

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def marked(self) -> tuple[Row, ...]:
        """The marked rows; without marks the selected one."""
        chosen = tuple(row for row in self._all if self._key(row) in self._marks)
        if chosen:
            return chosen
        return () if self.selected is None else (self.selected,)

    @property
    def hidden(self) -> tuple[Row, ...]:
        """The rows that the filter does not let through."""
        shown = {self._key(row) for row in self.rows}
        return tuple(row for row in self._all if self._key(row) not in shown)

    @property
    def filter_text(self) -> str | None:
        """The filter that is on."""
        return self.wanted

    @property
    def set_name(self) -> str:
        """The name of the set of columns that is shown."""
        return self._sets[self._set][0]

    def text(self) -> str:
        """Return the marked rows, or the selected one, as they are shown."""
        plan = self._plan(max(40, self.size.width))
        return "\n".join(table.plain(row, plan) for row in self.marked)

    def everything(self) -> str:
        """Return all rows that the filter lets through, with every column, as text."""
        width = sum(column.width + 2 for column in self._columns) + 4
        return table.text_table(self.rows, self._columns, width)

    # What is done to it.

    def show(self, rows: tuple[Row, ...]) -> None:
        """Show other rows; once the table was used, the same one stays selected."""
        if rows is self._all:
            return
        self._all = rows
        if self._marks:
            here = {self._key(row) for row in rows}
            self._marks = {key: None for key in self._marks if key in here}
        self._arrange()

    def move(self, rows: int) -> None:
        """Select another row."""
        self.follow = self.follow and rows > 0
        self._select(self.cursor + rows)

    def select(self, key: str) -> bool:
        """Select the row with this key; return whether it is in sight."""
        place = next((y for y, row in enumerate(self.rows) if self._key(row) == key), None)
        if place is not None:
            self._select(place)
        return place is not None

    def filter(self, wanted: str) -> None:
        """Show only rows that hold these words; an empty text shows all again."""
        self.wanted = wanted
        self._chosen = self._chosen or bool(self.rows)
        self._arrange()

    def command(self, id: str) -> bool:  # noqa: A002
        """Do what a key stands for here."""
        self._chosen = self._chosen or bool(self.rows)
        match id:
            case "sort_left":
                self._sort(-1)
            case "sort_right":
                self._sort(1)
            case "sort_invert":
                self.order = replace(self.order, reverse=not self.order.reverse)
                self._arrange()
            case "wide":
                self._set = (self._set + 1) % len(self._sets)
                self._drawn.clear()
                self.redraw()
            case "follow":
                self.follow = not self.follow
                self._arrange()
            case "mark":
                self._mark()
            case "find_next":
                return self._find(1)
            case "find_previous":
                return self._find(-1)
            case "open" if self.selected is not None:
                self.post_message(self.Opened(self))
            case "back" if self._marks or self.wanted:
                if self._marks:
                    self._marks.clear()
                else:
                    self.wanted = ""
                self._arrange()
            case _:
                return super().command(id)
        return True

    def on_mouse_down(self, event: MouseDown) -> None:
        """Select the row that was clicked; a click on a title sorts by it."""
        above = self._above
        if event.y == above - 1:
            self._sort_at(event.x)
        elif above <= event.y < above + len(self.rows) - self.top:
            self._select(self.top + event.y - above)

    def on_click(self, event: Click) -> None:
        """Two clicks open."""
        if event.chain == 2 and event.y >= self._above:
            self.command("open")

    # How.

    @property
    def _headed(self) -> bool:
        """Whether a head stands above the titles: if the table has a name, and while rows are hidden or marked."""
        return bool(self._name or self.wanted or self._marks)

    @property
    def _above(self) -> int:
        return 2 if self._headed else 1

    def _plan(self, width: int) -> table.Layout[Row]:
        return table.layout(self._columns, width, self._sets[self._set][1])

    def _arrange(self) -> None:
        """Filter and sort; keep the selection."""
        before, above, chosen = len(self.rows), self._laid_out, self.selected
        rows = self._all
        if self.wanted:
            rows = tuple(row for row in rows if table.matches(row, self._columns, self.wanted))
        if self.order != Order():
            rows = table.ordered(rows, self._columns, self.order)
        self.rows = rows
        if self.follow:
            self.cursor = max(0, len(rows) - 1)
        elif chosen is not None and self._chosen:
            key = self._key(chosen)
            here = self.cursor < len(rows) and self._key(rows[self.cursor]) == key
            if not here:
                self.cursor = next((y for y, row in enumerate(rows) if self._key(row) == key), self.cursor)
        self._scroll()
        self._laid_out = self._above
        now = self.selected
        if (None if now is None else self._key(now)) != (None if chosen is None else self._key(chosen)):
            self.post_message(self.Selected(self))
        if not self._grows and (len(rows) != before or self._above != above):
            self.refresh(layout=True)
        self.redraw()

    def _sort(self, step: int) -> None:
        """Sort by the next column in sight; before the first one rows stand as they come."""
        names = [None, *(column.id for column, _ in self._plan(self.size.width).columns if column.key is not None)]
        here = names.index(self.order.column) if self.order.column in names else 0
        self._sort_by(names[(here + step) % len(names)])

    def _sort_by(self, name: str | None) -> None:
        column = next((column for column in self._columns if column.id == name), None)
        self.order = Order(name, reverse=column is not None and column.falls)
        self._arrange()

    def _sort_at(self, x: int) -> None:
        left, plan = 1, self._plan(self.size.width)
        for index, (column, cells) in enumerate(plan.columns):
            left += plan.gap if index else 1
            if left <= x < left + cells and column.key is not None:
                if self.order.column == column.id:
                    self.command("sort_invert")
                else:
                    self._sort_by(column.id)
                return
            left += cells

    def _mark(self) -> None:
        if self.selected is None:
            return
        key = self._key(self.selected)
        if key in self._marks:
            del self._marks[key]
        elif len(self._marks) < MARKS_MAX:
            self._marks[key] = None
        self._arrange()
        self._select(self.cursor + 1)

    def _find(self, step: int) -> bool:
        """Select the next row that asks for attention."""
        for distance in range(1, len(self.rows) + 1):
            place = (self.cursor + step * distance) % len(self.rows)
            if self._attention(self.rows[place]):
                self._select(place)
                return True
        return False

    def _select(self, row: int) -> None:
        self._chosen = True
        cursor = max(0, min(row, len(self.rows) - 1))
        if cursor != self.cursor:
            self.cursor = cursor
            self._scroll()
            self.redraw()
            self.post_message(self.Selected(self))

    def _scroll(self) -> None:
        """Keep the cursor in sight."""
        room = max(1, self.size.height - self._above)
        self.cursor = max(0, min(self.cursor, len(self.rows) - 1))
        self.top = max(0, min(self.top, self.cursor, len(self.rows) - room))
        self.top = max(self.top, self.cursor - room + 1)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As high as the rows; the style sheet bounds it."""
        return max(1, len(self.rows)) + self._above

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and rows."""
        if height <= 0:
            return ()
        self._scroll()
        plan = self._plan(width)
        lines = [self._head(width)] if self._headed else []
        lines.append(table.head(plan, width, self.order))
        shown = self.rows[self.top : self.top + height - len(lines)]
        if not shown:
            words = self._empty if not self._all else f"Nothing holds “{clip(self.wanted, 30)}”; esc shows all again."
            lines.append(fitted((Run(f"  {words}", MUTED),), width))
        drawn: dict[tuple[str, int], tuple[object, Line]] = {}
        sparing = bool(getattr(self.app, "link_is_slow", False))
        for y, row in enumerate(shown):
            key = self._key(row)
            state = (self.top + y == self.cursor, key in self._marks, self._stale(row), sparing, plan)
            known = self._drawn.get((key, y))
            if known is None or known[0] != (row, state):
                selected, marked, stale = state[:3]
                one = table.line(row, plan, width, selected=selected, marked=marked, stale=stale, sparing=sparing)
                known = ((row, state), one)
            drawn[key, y] = known
            lines.append(known[1])
        self._drawn = drawn
        return tuple(lines[:height])

    def _head(self, width: int) -> Line:
        facts: list[Run] = []
        if self.wanted:
            facts.append(Run(f"{len(self.rows)} of {len(self._all)} hold “{clip(self.wanted, 24)}”", WARNING))
        elif self._all:
            facts.append(Run(f"{len(self._all)}", MUTED))
        if self._marks:
            facts.append(Run(f"  {len(self._marks)} marked", ACCENT))
        below = len(self.rows) - self.top - max(0, self.size.height - self._above)
        right = (Run(f"{below} more ↓", MUTED),) if below > 0 else EMPTY
        return title(self._name or (self.id or ""), tuple(facts), width, focused=self.has_focus, right=right)
