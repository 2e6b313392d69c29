"""The first page: nodes, what else runs, the reconnecting clients, what happened, and the selected node in full.

Where the node in full stands depends on the room: beside everything on a broad screen, beside the lower part on a
wide and high one, and on all others in place of the lower part, for as long as it is open.
"""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Container
from textual.dom import DOMNode
from textual.events import Key, Resize
from textual.geometry import Size
from textual.widget import Widget

from wsmon.commands import USUAL_KEYS, Keymap
from wsmon.ui.pages.page import Page
from wsmon.ui.render import nodes
from wsmon.ui.render.footer import key_name
from wsmon.ui.widgets.beliefs import BeliefsPane
from wsmon.ui.widgets.detail import DetailPane
from wsmon.ui.widgets.events import EventList
from wsmon.ui.widgets.ledger import LedgerLine
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.services import ServiceStrip
from wsmon.ui.widgets.status import WhyLine
from wsmon.ui.widgets.table import LiveTable
from wsmon.ui.widgets.timeline import AWAY_FIRST, TimelinePane
from wsmon.ui.widgets.truth import TruthPane
from wsmon.views.beliefs_frame import Beliefs
from wsmon.views.frame import Frame, Health, Looking, NodeRow, PageName
from wsmon.views.truth_frame import TruthLanes

WIDE: Final = 120
BROAD: Final = 160
HIGH: Final = 26
"""Lines of the page; a screen of 30 has as many when status, tabs and keys are taken away."""
VERY_HIGH: Final = 44
"""Lines from which on there is room for who believes what."""
TRUTHS_MOST: Final = 3


class Place(StrEnum):
    """Where the node in full stands."""

    BESIDE_ALL = "beside-all"
    BESIDE_LOWER = "beside-lower"
    INSTEAD = "instead"


def place(width: int, height: int) -> Place:
    """Return where the node in full stands on a page of this size."""
    if width >= BROAD and height >= HIGH:
        return Place.BESIDE_ALL
    return Place.BESIDE_LOWER if width >= WIDE and height >= HIGH else Place.INSTEAD


class NodesPage(Page):
    """Shows it all in one look."""

    NAME: ClassVar = PageName.NODES
    DEFAULT_CSS: ClassVar[str] = """
    #nodes-left { width: 1fr; height: 100%; }
    #nodes-side { width: 64; height: 100%; margin-left: 1; display: none; }
    #nodes { height: auto; max-height: 40%; }
    #why, #services, #ledger { height: 1; }
    #lower { height: 1fr; layout: horizontal; }
    #lower-left { width: 11fr; height: 100%; layout: vertical; }
    #nodes-detail { width: 9fr; height: 100%; display: none; }
    #timeline { height: 3fr; min-height: 2; }
    #events { height: 2fr; min-height: 2; }
    #nodes-truth { height: 4; display: none; }
    #nodes-beliefs { height: auto; max-height: 12; display: none; }

    NodesPage { layout: horizontal; }
    NodesPage.-quiet #timeline { height: 3; }
    NodesPage.-quiet #events { height: 1fr; }
    NodesPage.-split #lower-left { layout: horizontal; }
    NodesPage.-split #timeline { width: 11fr; height: 100%; }
    NodesPage.-split #events { width: 9fr; height: 100%; margin-left: 1; }
    NodesPage.-beside-all #nodes-side { display: block; }
    NodesPage.-beside-lower #nodes-detail { display: block; margin-left: 1; }
    NodesPage.-open #nodes-detail { display: block; width: 1fr; }
    NodesPage.-open #lower-left { display: none; }

    NodesPage.-high #nodes, NodesPage.-high #services { margin-top: 1; }
    NodesPage.-high #nodes-side { margin: 1 0 0 1; }
    NodesPage.-high #ledger { margin-bottom: 1; }

    NodesPage.-zoomed .-aside { display: none !important; }
    NodesPage.-zoomed .-zoom {
        display: block !important;
        width: 1fr !important;
        height: 1fr !important;
        max-height: 100% !important;
        margin: 0 !important;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.table: LiveTable[NodeRow] = LiveTable(
            id="nodes",
            columns=nodes.COLUMNS,
            key=lambda row: row.id,
            empty="No node is known yet; one appears here as soon as it registers.",
            sets=nodes.SETS,
            stale=lambda row: row.silent_s is not None,
            attention=nodes.in_trouble,
        )
        self._window: tuple[float, float] | None = None
        self._place = Place.INSTEAD
        self._open = False
        self._zoomed: Pane | None = None
        self._truths = 0
        self._new = True
        """Whether nobody has pressed a key so far."""

    def compose(self) -> ComposeResult:
        """Build it."""
        with Container(id="nodes-left"):
            yield self.table
            yield WhyLine()
            yield ServiceStrip()
            yield LedgerLine()
            with Container(id="lower"):
                with Container(id="lower-left"):
                    yield TimelinePane(order=AWAY_FIRST)
                    yield EventList()
                yield DetailPane(id="nodes-detail")
            yield TruthPane(id="nodes-truth")
            yield BeliefsPane(id="nodes-beliefs")
        yield DetailPane(id="nodes-side")

    @property
    def main(self) -> Pane:
        """The table."""
        return self.table

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame."""
        self._window = frame.header.removal_window_s
        self.table.show(frame.nodes)
        self._show_why()
        self.query_one(ServiceStrip).show(frame.services)
        self.query_one(LedgerLine).show(frame.header.audit)
        steps = frame.start if frame.header.health is Health.STARTING else None
        # While nobody is or was away the events have the room: more of them says more than an empty field.
        self.set_class(steps is None and not frame.timeline.lanes, "-quiet")
        lanes = self.query_one(TimelinePane)
        lanes.replays = frame.playback is not None
        hint = self._hint() if self._new and frame.playback is None else ""
        lanes.show(frame.timeline, steps=steps, clients=frame.header.clients_connected, hint=hint)
        self.query_one(EventList).show(frame.events, lost=frame.events_lost, offset_s=offset_s)
        for pane in self.query(DetailPane):
            pane.show(frame.detail)
        self._show_truth(frame.truth)
        self._show_beliefs(frame.beliefs)

    def looking(self, looking: Looking) -> Looking:
        """Look at the selected node."""
        row = self.table.selected
        return replace(looking, node=None if row is None else row.id)

    def select(self, *, node: str | None, client: str | None) -> None:
        """Select a node."""
        del client
        if node is not None:
            self._go(node)

    def targets(self) -> tuple[NodeRow, ...]:
        """Return the marked nodes, or the selected one."""
        return self.table.marked

    def command(self, id: str) -> bool:  # noqa: A002
        """Zoom, and close what is open, the innermost first."""
        match id:
            case "zoom":
                self._zoom(None if self._zoomed is not None else self._focused)
            case "back" if self._zoomed is not None:
                self._zoom(None)
            case "back" if self._open:
                self._open = False
                self._lay_out(self.size)
                self.table.focus()
            case "back" if isinstance(self._focused, DetailPane):
                self.table.focus()
            case _:
                return False
        return True

    def on_live_table_selected(self, _: LiveTable.Selected) -> None:
        """Explain another node."""
        self._show_why()
        self.post_message(self.LooksElsewhere())

    def on_live_table_opened(self, _: LiveTable.Opened) -> None:
        """Show the node in full, or go to where it stands."""
        self._zoom(None)
        self._open = self._place is Place.INSTEAD
        self._lay_out(self.size)
        self._detail.focus()

    def on_timeline_pane_opened(self, message: TimelinePane.Opened) -> None:
        """Show the client's story."""
        message.stop()
        self.post_message(self.GoToPage(PageName.SESSIONS, client=message.client))

    def on_event_list_opened(self, message: EventList.Opened) -> None:
        """Go to whom the event is about."""
        message.stop()
        row = message.row
        if row is not None and row.client is not None:
            self.post_message(self.GoToPage(PageName.SESSIONS, client=row.client))
        elif row is not None and row.node is not None and self._go(row.node):
            self.table.focus()

    def on_key(self, _: Key) -> None:
        """Who presses keys needs no hint any more."""
        self._new = False

    def foresee(self, size: Size) -> None:
        """Put the parts where there will be room for them."""
        self._place = place(*size)
        self._lay_out(size)

    def on_resize(self, event: Resize) -> None:
        """Put the parts where there is room for them."""
        self._place = place(*event.size)
        if self._place is not Place.INSTEAD:
            self._open = False
        self._lay_out(event.size)

    # How.

    def _go(self, node: str) -> bool:
        """Select a node, past a filter that hides it; return whether it is there."""
        if not self.table.select(node) and any(row.id == node for row in self.table.hidden):
            self.table.filter("")
        return self.table.select(node)

    @property
    def _detail(self) -> DetailPane:
        return self.query_one("#nodes-side" if self._place is Place.BESIDE_ALL else "#nodes-detail", DetailPane)

    @property
    def _focused(self) -> Pane:
        focused = self.screen.focused
        return focused if isinstance(focused, Pane) and self in focused.ancestors else self.table

    def _lay_out(self, size: Size) -> None:
        width, height = size
        for one in Place:
            self.set_class(one is self._place, f"-{one}")
        self.set_class(self._open, "-open")
        # Lanes and events side by side, unless a third part stands there.
        self.set_class(self._place is not Place.BESIDE_LOWER and self._left_width(width) >= WIDE, "-split")
        self.set_class(height >= HIGH, "-high")

    def _left_width(self, width: int) -> int:
        return width - 65 if self._place is Place.BESIDE_ALL else width

    def _zoom(self, pane: Pane | None) -> None:
        """Show this pane alone; None: all of them."""
        self._zoomed = pane
        self.set_class(pane is not None, "-zoomed")
        kept: set[DOMNode] = set() if pane is None else {pane, *pane.ancestors}
        for part in self._parts():
            part.set_class(pane is not None and part not in kept, "-aside")
            part.set_class(part is pane, "-zoom")

    def _parts(self) -> Iterator[Widget]:
        yield from self.query(Pane)
        yield from self.query(Container)

    def _hint(self) -> str:
        keymap = getattr(self.app, "keymap", USUAL_KEYS)
        return hint(keymap, armed=bool(getattr(self.app, "may_act", False)))

    def _show_why(self) -> None:
        self.query_one(WhyLine).show(self.table.selected, self._window)

    def _show_truth(self, shown: TruthLanes | None) -> None:
        """Show what was done to nodes while there is room for it and something to tell."""
        pane = self.query_one(TruthPane)
        lanes = 0 if shown is None else len(shown.lanes)
        fits = lanes > 0 and self.size.height >= VERY_HIGH and self._place is Place.BESIDE_ALL
        if fits and self._truths != lanes:
            self._truths = lanes
            pane.styles.height = 2 + 2 * min(lanes, TRUTHS_MOST)
        if pane.display is not fits and self._zoomed is None:
            pane.display = fits
        pane.show(shown)

    def _show_beliefs(self, shown: Beliefs | None) -> None:
        pane = self.query_one(BeliefsPane)
        rows = 0 if shown is None else len(shown.observers)
        fits = rows > 0 and self.size.height >= VERY_HIGH and self._place is Place.BESIDE_ALL
        if pane.display is not fits and self._zoomed is None:
            pane.display = fits
        pane.show(shown)


def hint(keymap: Keymap, *, armed: bool) -> str:
    """Return what somebody needs to know who sees this for the first time, in the keys that hold here."""
    deeds = (("drain", "drains it"), ("kill", "kills it")) if armed else (("open", "tells more of it"),)
    named = [(keymap.get(name, ()), does) for name, does in (*deeds, ("help", "all keys"))]
    choose = [keys[0] for name in ("up", "down") if (keys := keymap.get(name, ()))]
    parts = [f"{''.join(key_name(key) for key in choose)} choose a node"] if len(choose) == 2 else []
    return ", ".join([*parts, *(f"{key_name(keys[0])} {does}" for keys, does in named if keys)])


PAGE: Final = NodesPage
