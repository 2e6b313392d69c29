"""The first page: nodes, what else runs, the reconnecting clients, and what happened."""

from dataclasses import replace
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Container

from wsmon.ui.pages.page import Page
from wsmon.ui.render import nodes
from wsmon.ui.widgets.events import EventList
from wsmon.ui.widgets.ledger import LedgerLine
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.services import ServiceStrip
from wsmon.ui.widgets.status import WhyLine
from wsmon.ui.widgets.table import LiveTable
from wsmon.ui.widgets.timeline import TimelinePane
from wsmon.views.frame import Frame, Health, Looking, NodeRow, PageName


class NodesPage(Page):
    """Shows it all in one look."""

    NAME: ClassVar = PageName.NODES

    def __init__(self) -> None:
        super().__init__()
        self.table: LiveTable[NodeRow] = LiveTable(
            id="nodes",
            columns=nodes.COLUMNS,
            key=lambda row: row.id,
            empty="No node is known yet.",
            sets=nodes.SETS,
            stale=lambda row: row.silent_s is not None,
            attention=nodes.in_trouble,
        )
        self._window: tuple[float, float] | None = None
        self._zoomed = False

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self.table
        yield WhyLine()
        yield ServiceStrip()
        yield LedgerLine()
        with Container(id="lower"):
            yield TimelinePane()
            yield EventList()

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
        self.query_one(TimelinePane).show(frame.timeline, steps=steps, clients=frame.header.clients_connected)
        self.query_one(EventList).show(frame.events, lost=frame.events_lost, offset_s=offset_s)

    def looking(self, looking: Looking) -> Looking:
        """Look at the selected node."""
        row = self.table.selected
        return replace(looking, node=None if row is None else row.id)

    def select(self, *, node: str | None, client: str | None) -> None:
        """Select a node."""
        del client
        if node is not None:
            self.table.select(node)

    def targets(self) -> tuple[NodeRow, ...]:
        """Return the marked nodes, or the selected one."""
        return self.table.marked

    def on_live_table_selected(self, _: LiveTable.Selected) -> None:
        """Explain another node."""
        self._show_why()
        self.post_message(self.LooksElsewhere())

    def _show_why(self) -> None:
        self.query_one(WhyLine).show(self.table.selected, self._window)


PAGE: Final = NodesPage
