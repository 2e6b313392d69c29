"""What the gateway needs from outside besides sockets."""

from collections.abc import Mapping
from typing import Protocol

from sample_cluster.core.balancer import Backend
from wsmon.protocol.events import EventBody
from wsmon.protocol.frames import ReadOnlyJson


class HealthTable(Protocol):
    """Verdicts and addresses. Every method raises StoreUnavailableError if the store does not answer."""

    async def read(self) -> Mapping[str, Backend]:
        """Return the nodes that have a verdict."""
        ...

    async def changed(self) -> None:
        """Return when something may have changed, or after a while."""
        ...


class AskToMove(Protocol):
    """Asks a node to send some of its connections away."""

    async def __call__(self, admin: str, count: int) -> None:
        """Ask at the node's admin socket; raise WsmonError if it does not do so."""
        ...


class Teller(Protocol):
    """The gateway's own admin socket."""

    def publish(self, state: ReadOnlyJson) -> None:
        """Serve `state`."""
        ...

    def emit(self, body: EventBody) -> object:
        """Tell that something happened."""
        ...
