"""What all pages have in common."""

from typing import ClassVar

from textual.containers import Container
from textual.geometry import Size
from textual.message import Message

from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import Frame, Looking, NodeRow, PageName


class Page(Container):
    """One page: a few panes that together show one side of the cluster. Draws frames; knows nothing else."""

    NAME: ClassVar[PageName]
    DEFAULT_CSS: ClassVar[str] = """
    Page {
        layout: vertical;
        height: 1fr;
        overflow: hidden;
    }
    """

    class LooksElsewhere(Message):
        """What is looked at has changed: another row is selected."""

    class GoTo(Message):
        """Somebody wants to see another moment."""

        def __init__(self, at: float) -> None:
            super().__init__()
            self.at = at

    class GoToPage(Message):
        """Somebody wants to see another page, with this node or client selected if one is given."""

        def __init__(self, page: PageName, *, node: str | None = None, client: str | None = None) -> None:
            super().__init__()
            self.page, self.node, self.client = page, node, client

    def __init__(self) -> None:
        super().__init__(id=f"page-{self.NAME}")

    @property
    def main(self) -> Pane:
        """The pane that gets the keys when nothing of this page has the focus."""
        raise NotImplementedError

    def foresee(self, size: Size) -> None:
        """Be told of the size to come before the page is laid out for the first time."""

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame; `offset_s` is how far local time is east of UTC. Called only while it is in sight."""
        raise NotImplementedError

    def looking(self, looking: Looking) -> Looking:
        """Return what is looked at, with what is selected here."""
        return looking

    def select(self, *, node: str | None, client: str | None) -> None:
        """Select a node or a client, if the page has such rows."""

    def targets(self) -> tuple[NodeRow, ...]:
        """Return the nodes that an action would be for; none where no node can be chosen."""
        return ()

    def command(self, id: str) -> bool:  # noqa: A002  # What the table of commands calls it.
        """Do what a key stands for on this page, after the pane with the focus did not; return whether it did."""
        del id
        return False
