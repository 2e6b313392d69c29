"""Everything that happened."""

from typing import ClassVar, Final

from textual.app import ComposeResult

from wsmon.ui.pages.page import Page
from wsmon.ui.widgets.events import EventList
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import Frame, PageName


class EventsPage(Page):
    """Shows the events in full height."""

    NAME: ClassVar = PageName.EVENTS

    def __init__(self) -> None:
        super().__init__()
        self._pane = EventList(id="events-all")

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self._pane

    @property
    def main(self) -> Pane:
        """The events."""
        return self._pane

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame."""
        self._pane.show(frame.events, lost=frame.events_lost, offset_s=offset_s)


PAGE: Final = EventsPage
