"""Everything that happened, and what operators did."""

from dataclasses import dataclass
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.events import Resize

from wsmon.ui.pages.page import Page
from wsmon.ui.widgets.events import DeedList, EventFacts, EventList
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import EventRow, Frame, PageName

TALL: Final = 26
"""Lines from which on the actions stand under the events, as soon as there is one."""


@dataclass(slots=True)
class _Parts:
    """Which parts stand under the list."""

    opened: bool = False
    """One event in full."""
    actions: bool | None = None
    """The actions; None: if there is room."""


class EventsPage(Page):
    """Shows the events in full height; under them the opened one, and the actions of operators."""

    NAME: ClassVar = PageName.EVENTS
    DEFAULT_CSS: ClassVar[str] = """
    #events-all { height: 1fr; }
    #events-opened { height: 6; display: none; }
    #events-actions { height: 8; display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._list = EventList(id="events-all")
        self._facts = EventFacts(id="events-opened")
        self._deeds = DeedList(id="events-actions")
        self._parts = _Parts()
        self._offset_s = 0.0
        self._acted = 0
        """How many actions there are."""

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self._list
        yield self._facts
        yield self._deeds

    @property
    def main(self) -> Pane:
        """The events."""
        return self._list

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame."""
        self._offset_s = offset_s
        self._list.show(frame.events, lost=frame.events_lost, offset_s=offset_s)
        if self._acted != len(frame.ledger):
            self._acted = len(frame.ledger)
            self._lay_out(self.size.height)
        self._deeds.show(frame.ledger, offset_s=offset_s)
        if self._parts.opened:
            self._facts.show(self._list.selected, offset_s=offset_s)

    def command(self, id: str) -> bool:  # noqa: A002
        """Show the actions or hide them; close what is open."""
        match id:
            case "wide" | "zoom":
                shown = bool(self._deeds.display)
                self._parts.actions = not shown
                if id == "zoom":
                    self._parts.opened = False
            case "back" if self._parts.opened:
                self._parts.opened = False
            case _:
                return False
        self._lay_out(self.size.height)
        return True

    def on_event_list_selected(self, message: EventList.Selected) -> None:
        """Show another event in full, if one is."""
        message.stop()
        if self._parts.opened:
            self._facts.show(message.row, offset_s=self._offset_s)

    def on_event_list_opened(self, message: EventList.Opened) -> None:
        """Show the event in full; the second time go to whom it is about."""
        message.stop()
        row = message.row
        if self._parts.opened and row is not None:
            self._go_to(row)
            return
        self._parts.opened = True
        self._lay_out(self.size.height)
        self._facts.show(row, offset_s=self._offset_s)

    def _go_to(self, row: EventRow) -> None:
        if row.client is not None:
            self.post_message(self.GoToPage(PageName.SESSIONS, client=row.client))
        elif row.node is not None:
            self.post_message(self.GoToPage(PageName.NODES, node=row.node))

    def on_resize(self, event: Resize) -> None:
        """Show what there is room for."""
        self._lay_out(event.size.height)

    def _lay_out(self, height: int) -> None:
        wanted = self._parts.actions
        self._deeds.display = (self._acted > 0 and height >= TALL) if wanted is None else wanted
        # No more lines than there are actions: what is left is the events'.
        self._deeds.styles.height = min(8, max(3, height // 3), 1 + max(1, self._acted))
        self._facts.display = self._parts.opened
        self._facts.styles.height = 7 if height >= TALL else 5


PAGE: Final = EventsPage
