"""What operators did, at whatever console: the newest entries of the ledger of actions."""

from bisect import insort
from collections.abc import Iterator
from typing import Final

from wsmon.model.ledger import Recorded
from wsmon.protocol.events import ActionDone

DEEDS_KEPT: Final = 200


class Deeds:
    """The last actions, oldest first; a storm of other events does not push them out."""

    def __init__(self) -> None:
        self._deeds: list[Recorded] = []

    def __iter__(self) -> Iterator[Recorded]:
        """Return them, oldest first."""
        return iter(self._deeds)

    def take(self, recorded: Recorded) -> None:
        """Keep an event if it is an action. Each event comes here once."""
        if isinstance(recorded.body, ActionDone):
            insort(self._deeds, recorded, key=lambda deed: deed.at)
            del self._deeds[:-DEEDS_KEPT]
