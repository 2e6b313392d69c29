"""The loop of a node: notices that the node stood still before anything is read that came in meanwhile.

Theory of operation. A loop looks for events, then runs what they wake. `NodeLoop` looks at the clock before and after
it looks for events, and if the node has to fence itself, that is done on the spot and the events are kept back for one
turn: they are found again, because a selector names what can be read as long as it can. So nothing of what came in
during the pause, clients, admin socket or Redis, is read before the fence.

The process may also be stopped while callbacks run, with events in hand that were found before. Bytes are then read,
but not understood: a `ClientSocket` looks at the clock before it hands out a message, and hands out none after a fence.
"""

import asyncio
import logging
import selectors
from collections.abc import Callable
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.typing import Data

from sample_cluster.core.pause import Pause, Standstill
from sample_cluster.membership import lease_clock

log = logging.getLogger(__name__)

FENCED: Final = 4010
PAUSE_S: Final = 1.0
"""A loop that is held up for less is busy and nothing else."""
WAIT_MOST_S: Final = 0.25
"""The loop wakes up this often, so that a pause shows in a wait of any length."""


class Guard:
    """Looks for pauses on behalf of a node, and has done what they ask for by the time `look` returns."""

    def __init__(
        self,
        *,
        ttl_s: float,
        renewed_at: Callable[[], float | None],
        fence: Callable[[float], None],
        renew: Callable[[], None],
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        """`renewed_at` is by `clock`. `fence` is called with the seconds that the node stood still, `renew` if the
        lease has to be renewed at once; neither may wait for anything, and `fence` must not fail: the process ends.
        """
        assert ttl_s >= PAUSE_S + WAIT_MOST_S, "a pause as long as the lease has to be noticed"
        self._renewed_at = renewed_at
        self._fence = fence
        self._renew = renew
        self._clock = clock
        self._standstill = Standstill(least_s=PAUSE_S, ttl_s=ttl_s, now=clock())

    def look(self, waits_s: float = 0.0) -> bool:
        """Look at the clock, before a wait of at most `waits_s`; return whether the node was fenced just now."""
        match self._standstill.look(self._clock(), renewed_at=self._renewed_at(), waits_s=waits_s):
            case Pause(length_s=length_s, ran_out=True):
                log.warning("stood still for %.1f s and lost the lease: this life is over", length_s)
                self._fence(length_s)
                return True
            case Pause(length_s=length_s):
                log.warning("stood still for %.1f s", length_s)
                self._renew()
            case None:
                pass
        return False


class PauseSelector(selectors.DefaultSelector):
    """A selector that finds nothing in the turn in which the node was fenced."""

    guard: Guard | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready within `timeout`, or nothing, earlier."""
        guard = self.guard
        if guard is None:
            return super().select(timeout)
        waits_s = WAIT_MOST_S if timeout is None else min(max(timeout, 0.0), WAIT_MOST_S)
        if guard.look(waits_s):
            return []
        found = super().select(waits_s)
        return [] if guard.look() else found


class NodeLoop(asyncio.SelectorEventLoop):
    """The loop that a node runs on. Without a guard it is like any other."""

    def __init__(self, selector: PauseSelector | None = None) -> None:
        self._pauses = PauseSelector() if selector is None else selector
        super().__init__(self._pauses)

    @property
    def guard(self) -> Guard | None:
        """Who looks for pauses."""
        return self._pauses.guard

    @guard.setter
    def guard(self, guard: Guard | None) -> None:
        self._pauses.guard = guard


class ClientSocket(ServerConnection):
    """The library's connection to a client, which can be made deaf: what still comes in is thrown away."""

    deaf = False

    async def recv(self, decode: bool | None = None) -> Data:  # type: ignore[override]  # noqa: FBT001  # As inherited.
        """Return the next message that was not sent to an earlier life of the node."""
        while True:
            message = await super().recv(decode)
            guard = self.loop.guard if isinstance(self.loop, NodeLoop) else None
            if guard is not None:
                guard.look()
            if not self.deaf:
                return message
