"""The incidents: a list of them, and how the cluster took the selected one."""

from dataclasses import replace
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.events import Resize

from wsmon.ui.pages.page import Page
from wsmon.ui.render import incidents
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.table import LiveTable
from wsmon.views.frame import Frame, Looking, PageName
from wsmon.views.incidents_frame import Card, IncidentRow

SIDE_BY_SIDE: Final = 160
"""From this width on the card stands beside the list."""
TOLD_AFTER_S: Final = 0.25
"""What begins an incident reaches wsmon within this; at its very moment nobody knows of it."""


class IncidentTable(LiveTable[IncidentRow]):
    """The list. Its marks say what to compare with what."""

    def command(self, id: str) -> bool:  # noqa: A002
        """Do what a key stands for; a mark set or taken away changes what is looked at."""
        done = super().command(id)
        if done and id in {"mark", "back"}:
            self.post_message(self.Selected(self))
        return done


class CardPane(Pane, can_focus=True):
    """The scorecard of one incident, beside another if two are marked."""

    def __init__(self) -> None:
        super().__init__(id="incidents-card")
        self.card: Card | None = None
        self.other: Card | None = None
        self.chosen = False
        self.top = 0
        self._offset_s = 0.0

    def show(self, card: Card | None, other: Card | None, *, chosen: bool, offset_s: float) -> None:
        """Show a card, and what to compare it with."""
        if (None if card is None else card.row.key) != (None if self.card is None else self.card.row.key):
            self.top = 0
        self.card, self.other, self.chosen, self._offset_s = card, other, chosen, offset_s
        self.redraw()

    def move(self, rows: int) -> None:
        """Scroll."""
        self.top += rows
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head, waterfall and goals."""
        room = incidents.lines_in(self.card, self.other, width, height, chosen=self.chosen) - max(1, height - 1)
        self.top = max(0, min(self.top, room))
        return incidents.pane(
            self.card,
            self.other,
            width,
            height,
            chosen=self.chosen,
            top=self.top,
            focused=self.has_focus,
            offset_s=self._offset_s,
            glyphs=getattr(self.app, "glyphs", Glyphs.BLOCK),
        )


class IncidentsPage(Page):
    """Shows every incident, and the scorecard of the selected one."""

    NAME: ClassVar = PageName.INCIDENTS
    DEFAULT_CSS: ClassVar[str] = """
    IncidentsPage #incidents-table { height: 1fr; width: 1fr; min-height: 3; }
    IncidentsPage #incidents-card { height: 2fr; width: 1fr; min-height: 3; }
    IncidentsPage.-side { layout: horizontal; }
    IncidentsPage.-side #incidents-table { height: 100%; width: 2fr; }
    IncidentsPage.-side #incidents-card { height: 100%; width: 3fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._offset_s = 0.0
        self._most: int | None = None
        """The lines that the list may have at most."""
        self.table = IncidentTable(
            id="incidents-table",
            columns=incidents.columns(lambda: self._offset_s),
            key=lambda row: row.key,
            empty=incidents.EMPTY,
            name="incidents",
            attention=incidents.in_trouble,
            grows=True,
        )
        self.card = CardPane()

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self.table
        yield self.card

    @property
    def main(self) -> Pane:
        """The list."""
        return self.table

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame; one without incidents was made before somebody looked here."""
        picture = frame.incidents
        if picture is None:
            return
        self._offset_s = offset_s
        self.table.show(picture.rows)
        self._share(len(picture.rows))
        row = self.table.selected
        if row is None:
            self.card.show(None, None, chosen=False, offset_s=offset_s)
            return
        if picture.card is None or picture.card.row.key != row.key:
            self.post_message(self.LooksElsewhere())
            return
        if (picture.other.row.key if picture.other is not None and picture.chosen else None) != self._marked():
            self.post_message(self.LooksElsewhere())
        self.card.show(picture.card, picture.other, chosen=picture.chosen, offset_s=offset_s)

    def _share(self, rows: int) -> None:
        """Give the list no more lines than it has rows; the scorecard under it has the rest."""
        most = None if self.has_class("-side") else max(3, rows + 2)
        if most != self._most:
            self._most = most
            self.table.styles.max_height = most

    def looking(self, looking: Looking) -> Looking:
        """Look at the selected incident, and at a marked one to compare it with."""
        row = self.table.selected
        return replace(looking, incident=None if row is None else row.key, other=self._marked())

    def _marked(self) -> str | None:
        """Return the newest incident that is marked, besides the selected one."""
        row = self.table.selected
        return next((marked.key for marked in self.table.marked if row is None or marked.key != row.key), None)

    def command(self, id: str) -> bool:  # noqa: A002
        """Go through the incidents by the keys of time: the list has the newest first."""
        match id:
            case "incident_previous":
                self.table.move(1)
            case "incident_next":
                self.table.move(-1)
            case _:
                return False
        return True

    def on_live_table_selected(self, _: LiveTable.Selected) -> None:
        """Have the card of another incident made."""
        self.post_message(self.LooksElsewhere())

    def on_live_table_opened(self, message: LiveTable.Opened) -> None:
        """Go to where it has just begun: it is in the list there."""
        message.stop()
        row = self.table.selected
        if row is not None:
            self.post_message(self.GoTo(row.at + TOLD_AFTER_S))

    def on_resize(self, event: Resize) -> None:
        """Put the two beside each other where there is room."""
        self.set_class(event.size.width >= SIDE_BY_SIDE, "-side")


PAGE: Final = IncidentsPage
