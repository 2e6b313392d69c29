"""The reconnect timeline alone: every client's way back."""

from typing import ClassVar, Final

from textual.app import ComposeResult

from wsmon.ui.pages.page import Page
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.timeline import TimelinePane
from wsmon.views.frame import Frame, Health, PageName


class TimelinePage(Page):
    """Shows the lanes in full height."""

    NAME: ClassVar = PageName.TIMELINE

    def __init__(self) -> None:
        super().__init__()
        self._pane = TimelinePane(id="timeline-lanes")

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self._pane

    @property
    def main(self) -> Pane:
        """The lanes."""
        return self._pane

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame."""
        del offset_s
        steps = frame.start if frame.header.health is Health.STARTING else None
        self._pane.show(frame.timeline, steps=steps, clients=frame.header.clients_connected)


PAGE: Final = TimelinePage
