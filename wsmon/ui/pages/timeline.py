"""The reconnect timeline: the storm ahead, what was injected, and every client's way back."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.events import Resize

from wsmon.ui.pages.page import Page
from wsmon.ui.render.storm import BESIDE
from wsmon.ui.render.timeline import LEGEND, PAST_MOST_S
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.timeline import AWAY_FIRST, StormPane, TimelinePane
from wsmon.ui.widgets.truth import TruthPane, oldest_s
from wsmon.views.frame import Frame, Health, PageName

ROOMY: Final = 20
"""Lines from which on the radar is more than one line high."""


class TimelinePage(Page):
    """Shows radar and lanes in full height."""

    NAME: ClassVar = PageName.TIMELINE
    DEFAULT_CSS: ClassVar[str] = """
    #timeline-storm { height: 3; }
    #timeline-truth { height: 4; display: none; }
    #timeline-lanes { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._storm = StormPane(id="timeline-storm")
        self._truth = TruthPane(id="timeline-truth")
        self._pane = TimelinePane(id="timeline-lanes", order=AWAY_FIRST)
        self._told = 0
        """How many nodes have something to tell above the lanes."""
        self._zoomed = False

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self._storm
        yield self._truth
        yield self._pane

    @property
    def main(self) -> Pane:
        """The lanes."""
        return self._pane

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame."""
        del offset_s
        steps = frame.start if frame.header.health is Health.STARTING else None
        self._storm.show(frame.timeline, capacity=frame.forecast.handshakes_per_s, past=frame.detail)
        self._pane.replays = frame.playback is not None
        self._pane.least_s = oldest_s(frame.truth, PAST_MOST_S)
        self._pane.show(frame.timeline, steps=steps, clients=frame.header.clients_connected, hint=LEGEND)
        told = 0 if frame.truth is None else len(frame.truth.lanes)
        if told != self._told:
            self._told = told
            self._lay_out(self.size.width, self.size.height)
        # One axis for both: what was done stands above what came of it.
        self._truth.show(frame.truth, past_s=self._pane.reach_s)

    def select(self, *, node: str | None, client: str | None) -> None:
        """Select a client's lane."""
        del node
        if client is not None:
            self._pane.select(client)

    def command(self, id: str) -> bool:  # noqa: A002
        """Zoom: the lanes alone, or the rest again."""
        if id != "zoom" and not (id == "back" and self._zoomed):
            return False
        self._zoomed = not self._zoomed
        self._pane.focus()
        self._lay_out(self.size.width, self.size.height)
        return True

    def on_timeline_pane_opened(self, message: TimelinePane.Opened) -> None:
        """Show the client's story."""
        message.stop()
        self.post_message(self.GoToPage(PageName.SESSIONS, client=message.client))

    def on_resize(self, event: Resize) -> None:
        """Give the parts above the lanes what height can be spared."""
        self._lay_out(event.size.width, event.size.height)

    def _lay_out(self, width: int, height: int) -> None:
        roomy = height >= ROOMY
        self._storm.display = not self._zoomed
        self._storm.styles.height = 3 if not roomy else 5 if width >= BESIDE else 7
        self._truth.display = bool(roomy and self._told and not self._zoomed)
        self._truth.styles.height = 2 + 2 * max(1, min(self._told, height // 10 - 1))


PAGE: Final = TimelinePage
