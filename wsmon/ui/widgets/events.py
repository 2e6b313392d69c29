"""The list of events, one of them in full, and what operators did."""

from textual.events import Click, MouseDown
from textual.message import Message

from wsmon.ui.render import events
from wsmon.ui.render.lines import Line, clip
from wsmon.ui.widgets.pane import EVERYTHING, Pane
from wsmon.views.frame import EventRow, LedgerRow


class EventList(Pane, can_focus=True):
    """Follows the newest event until somebody goes up; then it stays with what is read."""

    class Selected(Message):
        """Another event is selected, or the same again."""

        def __init__(self, row: EventRow | None) -> None:
            super().__init__()
            self.row = row

    class Opened(Selected):
        """Somebody wants to know more of it."""

    def __init__(self, *, id: str = "events") -> None:  # noqa: A002
        super().__init__(id=id)
        self._all: tuple[EventRow, ...] = ()
        self._rows: tuple[EventRow, ...] = ()
        self._ends: object = None
        self._lost = 0
        self._offset_s = 0.0
        self._key: tuple[str, int, int] | None = None
        """Key of the selected row; None: the newest one, whichever that is."""
        self._level = events.USUAL
        self._wanted = ""
        self.above = 0
        """How many of the newest rows are scrolled out of sight."""

    def show(self, rows: tuple[EventRow, ...], *, lost: int, offset_s: float) -> None:
        """Show other rows."""
        self._lost, self._offset_s = lost, offset_s
        ends = (rows[0].key, rows[-1].key, len(rows)) if rows else None
        if ends != self._ends:
            self._ends, self._all = ends, rows
            self._arrange()
        self.redraw()

    @property
    def follows(self) -> bool:
        """Whether the newest event is the selected one."""
        return self._key is None

    @property
    def selected(self) -> EventRow | None:
        """The selected event."""
        return self._rows[self._cursor] if self._rows else None

    @property
    def _cursor(self) -> int:
        newest = len(self._rows) - 1
        return next((place for place, row in enumerate(self._rows) if row.key == self._key), newest)

    @property
    def filter_text(self) -> str | None:
        """The filter that is on."""
        return self._wanted

    def filter(self, wanted: str) -> None:
        """Show only events that hold these words."""
        self._wanted = wanted
        self._choose()

    def command(self, id: str) -> bool:  # noqa: A002
        """Do what a key stands for here."""
        match id:
            case "sort_left" | "sort_right":
                step = 1 if id == "sort_right" else -1
                self._level = max(0, min(self._level + step, len(events.LEVELS) - 1))
                self._choose()
            case "follow":
                row = self.selected
                self._key = row.key if self.follows and row is not None else None
                if self.follows:
                    self.above = 0
                self.redraw()
            case "open" if self.selected is not None:
                self.post_message(self.Opened(self.selected))
            case "back" if self._wanted or self._level != events.USUAL:
                if self._wanted:
                    self._wanted = ""
                else:
                    self._level = events.USUAL
                self._choose()
            case _:
                return super().command(id)
        return True

    def move(self, rows: int) -> None:
        """Select another event; downwards is towards the newest, and from the newest on it follows."""
        if not self._rows:
            return
        place = max(0, min(self._cursor + rows, len(self._rows) - 1))
        newest = place == len(self._rows) - 1
        self._key = None if newest and (rows > 0 or rows == -EVERYTHING) else self._rows[place].key
        self._scroll()
        self.redraw()
        self.post_message(self.Selected(self.selected))

    def on_mouse_down(self, event: MouseDown) -> None:
        """Select the event that was clicked."""
        room = max(1, self.size.height - 1)
        end = len(self._rows) - self.above
        place = max(0, end - room) + event.y - 1
        if event.y >= 1 and place < end:
            self._key = self._rows[place].key
            self.redraw()
            self.post_message(self.Selected(self.selected))

    def on_click(self, event: Click) -> None:
        """Two clicks open."""
        if event.chain == 2 and event.y >= 1:
            self.command("open")

    def _choose(self) -> None:
        """Show what another filter or level leaves, as far as possible around the same event."""
        self.above = 0
        self._arrange()
        if self._key is not None and all(row.key != self._key for row in self._rows):
            self._key = None
        self._scroll()
        self.redraw()
        self.post_message(self.Selected(self.selected))

    def _arrange(self) -> None:
        before = self._rows
        self._rows = events.chosen(self._all, events.LEVELS[self._level], self._wanted)
        if not self.follows and before:
            # What is read stays where it is: what came since is below.
            last = before[-1].key
            self.above += next((n for n, row in enumerate(reversed(self._rows)) if row.key == last), 0)

    def _scroll(self) -> None:
        """Keep the selected event in sight."""
        room = max(1, self.size.height - 1)
        below = len(self._rows) - 1 - self._cursor
        self.above = max(below - room + 1, min(self.above, below))

    def _note(self) -> str:
        notes = []
        if self._wanted:
            notes.append(f"{len(self._rows)} hold “{clip(self._wanted, 24)}”")
        if self._level != events.USUAL:
            notes.append(events.LEVELS[self._level].name)
        return ", ".join(notes)

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and rows."""
        self.above = max(0, min(self.above, len(self._rows) - (height - 1)))
        row = self.selected
        note = self._note()
        return events.pane(
            self._rows,
            width,
            height,
            above=self.above,
            lost=self._lost,
            focused=self.has_focus,
            offset_s=self._offset_s,
            selected=row.key if row is not None and self.has_focus else None,
            note=note,
            empty="No event is like that; esc shows all again." if note and self._all else events.NOTHING,
        )


class EventFacts(Pane):
    """One event in full."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._row: EventRow | None = None
        self._offset_s = 0.0

    def show(self, row: EventRow | None, *, offset_s: float) -> None:
        """Show another event."""
        self._row, self._offset_s = row, offset_s
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return its facts."""
        return () if self._row is None else events.opened(self._row, width, height, self._offset_s)


class DeedList(Pane):
    """What operators did, at whatever console."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows: tuple[LedgerRow, ...] = ()
        self._offset_s = 0.0

    def show(self, rows: tuple[LedgerRow, ...], *, offset_s: float) -> None:
        """Show other rows."""
        self._rows, self._offset_s = rows, offset_s
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and the newest ones."""
        return events.deeds(self._rows, width, height, self._offset_s)
