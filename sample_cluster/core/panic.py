"""How many nodes may be out at once for nothing more than not answering.

A checker that finds most of a cluster silent is more likely to be wrong than right, and even if it is right, clients
without any node are no better off. So at most half of the nodes are taken out on soft evidence. Nodes whose process is
known to be gone are taken out in any case, and count neither among those that are out nor among those that are there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wsmon.protocol.states import NodeState

OUT = frozenset({NodeState.REMOVED, NodeState.RECOVERING, NodeState.QUARANTINED})
"""States of a node that was taken out and is not back yet."""
_IN = frozenset({NodeState.ONLINE, NodeState.SUSPECT})


@dataclass(frozen=True, slots=True)
class Floor:
    """`removed` nodes are out on soft evidence; `allowed` may be."""

    removed: int
    allowed: int

    @property
    def open(self) -> bool:
        """Whether one more may go."""
        return self.removed < self.allowed


def floor(nodes: Iterable[tuple[NodeState, bool]]) -> Floor:
    """Return the floor of a cluster whose nodes are in these states; with each, whether it is out by hard evidence.

    Nodes that join, drain or have left are no part of the sum: nobody would miss, or could use, them.
    """
    removed = there = 0
    for state, hard in nodes:
        if state in OUT and not hard:
            removed += 1
        elif state in _IN:
            there += 1
    return Floor(removed, (removed + there) // 2)
