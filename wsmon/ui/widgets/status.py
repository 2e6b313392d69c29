"""One-line parts: status bar, banner, the sentence on the selected node."""

from textual.events import MouseDown

from wsmon.commands import Keymap
from wsmon.ui.pages.page import Page
from wsmon.ui.render import nodes, status, tabs
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import Frame, NodeRow, PageName


class StatusBar(Pane):
    """The first line of the screen; the only one when the screen is too small."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self._armed = False
        self._frame: Frame | None = None
        self._paused = False
        self._offset_s = 0.0

    def show(self, frame: Frame, *, paused: bool, armed: bool, offset_s: float) -> None:
        """Show another frame's header."""
        self._frame, self._paused, self._armed, self._offset_s = frame, paused, armed, offset_s
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the bar."""
        frame, screen = self._frame, self.app.size
        if frame is None or not height:
            return ()
        if screen.width < status.LEAST_WIDTH or screen.height < status.LEAST_HEIGHT:
            return (status.too_small(frame.header, screen.width, screen.height),)
        bar = status.status(
            frame.header,
            width,
            paused=self._paused,
            armed=self._armed,
            ended=bool(frame.ended),
            offset_s=self._offset_s,
            playback=frame.playback,
            recording=frame.recording,
        )
        return (bar,)


class Banner(Pane):
    """Tells that there is nothing more to see, and why."""

    def __init__(self) -> None:
        super().__init__(id="banner")
        self._reason = ""

    def show(self, reason: str) -> None:
        """Show the reason; an empty one hides the banner."""
        self._reason = reason
        self.display = bool(reason)
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the banner."""
        return (status.ended(self._reason, width),) if height else ()


class WhyLine(Pane):
    """Why the selected node is where it is."""

    def __init__(self) -> None:
        super().__init__(id="why")
        self._row: NodeRow | None = None
        self._window: tuple[float, float] | None = None

    def show(self, row: NodeRow | None, window: tuple[float, float] | None) -> None:
        """Show another node."""
        self._row, self._window = row, window
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the sentence."""
        return (nodes.why(self._row, width, self._window),) if height else ()


class TabBar(Pane):
    """The pages, on screens that are high enough."""

    def __init__(self, keymap: Keymap) -> None:
        super().__init__(id="tabs")
        self._keymap = keymap
        self._page = PageName.NODES

    def show(self, page: PageName) -> None:
        """Show another page as the present one."""
        self._page = page
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the tabs."""
        return (tabs.tabs(self._page, self._keymap, width),) if height else ()

    def on_mouse_down(self, event: MouseDown) -> None:
        """Go to the page that was clicked."""
        page = tabs.at(event.x, self._keymap)
        if page is not None:
            self.post_message(Page.GoToPage(page))
