"""The sessions: every client in a table, and the life of the selected one."""

from dataclasses import replace
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Key, MouseDown, Resize

from wsmon.ui.pages.page import Page
from wsmon.ui.render import sessions
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.table import LiveTable
from wsmon.views.frame import Frame, Looking, PageName
from wsmon.views.sessions_frame import Life, SessionRow, SessionsPicture

SIDE_BY_SIDE: Final = 152
"""From this width on the life stands beside the table."""


class SessionsHead(Pane):
    """How many clients there are."""

    def __init__(self) -> None:
        super().__init__(id="sessions-head")
        self._picture = SessionsPicture()

    def show(self, picture: SessionsPicture) -> None:
        """Show other numbers."""
        self._picture = picture
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return one line."""
        return (sessions.head(self._picture, width),)[:height]


class LifePane(Pane, can_focus=True):
    """The life of one client, newest last."""

    def __init__(self) -> None:
        super().__init__(id="sessions-life")
        self._life: Life | None = None
        self._client = ""
        self._offset_s = 0.0
        self.above = 0
        """How many of the newest lines are scrolled out of sight."""

    def show(self, life: Life | None, *, client: str, offset_s: float) -> None:
        """Show more of the life of `client`, or another one; what is being read stays in sight."""
        self._client = client
        before = self._life
        if life is None or before is None or life.key != before.key:
            self.above = 0
        elif self.above:
            grown = len(life.lines) + life.dropped - len(before.lines) - before.dropped
            self.above = max(0, self.above + grown)
        self._life, self._offset_s = life, offset_s
        self._bound()
        self.redraw()

    def move(self, rows: int) -> None:
        """Scroll; towards the end is towards the newest."""
        self.above -= rows
        self._bound()
        self.redraw()

    def _bound(self) -> None:
        lines = 0 if self._life is None else len(self._life.lines)
        self.above = max(0, min(self.above, lines - max(1, self.size.height - 1)))

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and lines."""
        return sessions.life(
            self._life,
            width,
            height,
            above=self.above,
            focused=self.has_focus,
            offset_s=self._offset_s,
            client=self._client,
        )


class SessionsPage(Page):
    """Shows every client, and what happened to the selected one."""

    NAME: ClassVar = PageName.SESSIONS
    DEFAULT_CSS: ClassVar[str] = """
    SessionsPage #sessions-head { height: 1; }
    SessionsPage #sessions-body { height: 1fr; layout: vertical; }
    SessionsPage #sessions-table { height: 2fr; width: 1fr; min-height: 3; }
    SessionsPage #sessions-life { height: 1fr; width: 1fr; min-height: 3; }
    SessionsPage.-side #sessions-body { layout: horizontal; }
    SessionsPage.-side #sessions-table { height: 100%; }
    SessionsPage.-side #sessions-life { height: 100%; width: 72; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = SessionsHead()
        self.table: LiveTable[SessionRow] = LiveTable(
            id="sessions-table",
            columns=sessions.COLUMNS,
            key=lambda row: row.key,
            empty=sessions.EMPTY_TABLE,
            sets=sessions.SETS,
            stale=lambda row: row.old,
            attention=sessions.in_trouble,
            grows=True,
        )
        self.life = LifePane()
        self._wanted: str | None = None
        """A client that is to be selected as soon as there is a row for it, unless somebody goes on before."""
        self._sought = False
        """Whether there was none when the rows were looked through."""

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self.head
        with Container(id="sessions-body"):
            yield self.table
            yield self.life

    @property
    def main(self) -> Pane:
        """The table."""
        return self.table

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame; one without sessions was made before somebody looked here."""
        picture = frame.sessions
        if picture is None:
            return
        self.head.show(picture)
        self.table.show(picture.rows)
        if self._wanted is not None:
            self._sought = not self._find(self._wanted)
            self._wanted = self._wanted if self._sought else None
        row = self.table.selected
        mine = row is not None and picture.life is not None and picture.life.key == row.key
        self.life.show(picture.life if mine else None, client="" if row is None else row.client, offset_s=offset_s)
        if row is not None and not mine:
            self.post_message(self.LooksElsewhere())

    def looking(self, looking: Looking) -> Looking:
        """Look at the selected client."""
        row = self.table.selected
        return replace(looking, client=self._wanted if row is None else row.key)

    def select(self, *, node: str | None, client: str | None) -> None:
        """Select a client; of a node, show the clients that are or were on it."""
        if client is not None:
            if not self._find(client) and self.table.wanted:
                self.table.filter("")  # It may hide the one that is asked for.
            self._wanted, self._sought = None if self._find(client) else client, False
        elif node is not None:
            self.table.filter(node)

    def _find(self, client: str) -> bool:
        """Select a client by key or name; return whether it has a row."""
        if self.table.select(client):
            return True
        key = next((row.key for row in self.table.rows if row.client == client), None)
        return key is not None and self.table.select(key)

    def on_key(self, _: Key) -> None:
        """Whoever goes on has given up waiting for a client."""
        self._go_on()

    def on_mouse_down(self, _: MouseDown) -> None:
        """The same."""
        self._go_on()

    def _go_on(self) -> None:
        if self._sought:
            self._wanted = None

    def on_live_table_selected(self, _: LiveTable.Selected) -> None:
        """Have the life of another client told."""
        self.post_message(self.LooksElsewhere())

    def on_resize(self, event: Resize) -> None:
        """Put the two beside each other where there is room."""
        self.set_class(event.size.width >= SIDE_BY_SIDE, "-side")


PAGE: Final = SessionsPage
