"""What trouble with a node costs: which clients lost it since the trouble began, and which of them are back.

A toll begins when a client loses the node or the node is no longer online, whichever is told first, and is over when
the node is online again, or, if it never was anything else, when nobody has lost it for a while. What happens later is
another trouble; the last one stays until then.
"""

from dataclasses import dataclass, field
from typing import Final

from wsmon.protocol.events import ClientLost, EventBody, NodeStateChanged, Resumed
from wsmon.protocol.states import NodeState

TROUBLES: Final = frozenset({NodeState.SUSPECT, NodeState.REMOVED, NodeState.RECOVERING, NodeState.QUARANTINED})
APART_S: Final = 30.0
"""Losses this far apart are not of one trouble, if nothing was wrong with the node in between."""
NODES_MAX: Final = 1_024
CLIENTS_MAX: Final = 20_000
"""Of each node, and whose returns are remembered."""


@dataclass(slots=True)
class Toll:
    """One trouble of one node."""

    began_at: float
    last_at: float
    """When something of it was heard last."""
    troubled: bool = False
    """Whether the node itself was no longer online."""
    over_at: float | None = None
    """When the node was online again."""
    clients: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    """Client → when it lost the node, and when it was back anywhere."""
    back: int = 0
    """How many of them are back; counted along, since it is asked for with every picture."""
    back_at: float | None = None
    """When the last one that is back was."""

    @property
    def lost(self) -> int:
        """How many clients lost the node."""
        return len(self.clients)

    @property
    def whole_at(self) -> float | None:
        """When the last of them was back; None as long as one is away."""
        return self.back_at if self.back == self.lost else None

    def note(self, client: str, lost_at: float, back_at: float | None) -> None:
        """Keep when a client lost the node and was back."""
        _, before = self.clients.get(client, (0.0, None))
        self.clients[client] = (lost_at, back_at)
        self.back += (back_at is not None) - (before is not None)
        if back_at is not None:
            self.back_at = back_at if self.back_at is None else max(self.back_at, back_at)


class Tolls:
    """The last trouble of each node."""

    def __init__(self) -> None:
        self._tolls: dict[str, Toll] = {}
        self._nodes: dict[str, str] = {}
        """Client that is away → the node that it lost."""
        self._backs: dict[str, float] = {}
        """Client → when it was back last: two roads do not keep each other's order."""

    def get(self, node: str) -> Toll | None:
        """Return the node's present trouble, or the last one."""
        return self._tolls.get(node)

    def take(self, body: EventBody, at: float) -> None:
        """Fold one event in. Each event comes here once."""
        match body:
            case ClientLost(client=client, node=str(node)) if node:
                self._lost(client, node, at)
            case Resumed(client=client):
                self._back(client, at)
            case NodeStateChanged(node=node, new=new) if new in TROUBLES:
                toll = self._toll(node, at)
                toll.troubled = True
            case NodeStateChanged(node=node, new=NodeState.ONLINE):
                known = self._tolls.get(node)
                if known is not None and known.troubled and known.over_at is None and at >= known.began_at:
                    known.over_at = at
            case _:
                pass

    def _toll(self, node: str, at: float) -> Toll:
        """Return the trouble that what happened `at` belongs to."""
        toll = self._tolls.get(node)
        if toll is not None:
            apart = at - toll.last_at > APART_S if not toll.troubled else toll.over_at is not None and at > toll.over_at
            if not apart:
                toll.began_at, toll.last_at = min(toll.began_at, at), max(toll.last_at, at)
                return toll
            del self._tolls[node]
        elif len(self._tolls) >= NODES_MAX:
            del self._tolls[next(iter(self._tolls))]
        self._tolls[node] = toll = Toll(at, at)
        return toll

    def _lost(self, client: str, node: str, at: float) -> None:
        toll = self._toll(node, at)
        if client not in toll.clients and len(toll.clients) >= CLIENTS_MAX:
            return
        back_at = self._backs.get(client)
        toll.note(client, at, back_at if back_at is not None and back_at >= at else None)
        if client not in self._nodes and len(self._nodes) >= CLIENTS_MAX:
            del self._nodes[next(iter(self._nodes))]
        self._nodes[client] = node

    def _back(self, client: str, at: float) -> None:
        self._backs.pop(client, None)
        if len(self._backs) >= CLIENTS_MAX:
            del self._backs[next(iter(self._backs))]
        self._backs[client] = at
        node = self._nodes.pop(client, None)
        toll = None if node is None else self._tolls.get(node)
        if toll is None or client not in toll.clients:
            return
        lost_at, back_at = toll.clients[client]
        if back_at is None and at >= lost_at:
            toll.note(client, lost_at, at)
