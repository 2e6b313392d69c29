"""The ledger of messages."""

from wsmon.ui.render import ledger
from wsmon.ui.render.lines import Line
from wsmon.ui.widgets.pane import Pane
from wsmon.views.frame import Audit


class LedgerLine(Pane):
    """One line: what became of the messages, from end to end."""

    def __init__(self) -> None:
        super().__init__(id="ledger")
        self._audit: Audit | None = None

    def show(self, audit: Audit | None) -> None:
        """Show other counts."""
        self._audit = audit
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the ledger."""
        return (ledger.line(self._audit, width),) if height else ()
