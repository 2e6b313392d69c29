"""What the leading checker still has to write, and what it knows to stand in the table.

Theory of operation. While the checker leads, every transition passes through here in order. When it could not write
for a while it asks `reconcile` what differs between the table and its own view: the latest state of a node is worth
writing, the steps in between are not.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sample_cluster.core.health import NodeHealth, Transition
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import NodeState

WAITING_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One change to write, if the table's version of the node is still `expected` (0: not in the table)."""

    transition: Transition
    expected: int


class VerdictQueue:
    """Transitions on their way to the table."""

    def __init__(self) -> None:
        self._waiting: deque[Transition] = deque(maxlen=WAITING_MAX)
        self._table: dict[str, Verdict] = {}
        self._versions: dict[str, int] = {}
        """Versions of what stands in the table and does not parse."""

    @property
    def table(self) -> Mapping[str, Verdict]:
        """What we know to stand in the table."""
        return self._table

    def outdates(self, verdict: Verdict) -> bool:
        """Say whether we know something newer than this verdict, which was read a while ago."""
        known = self._table.get(verdict.node)
        return known is not None and (verdict.epoch, verdict.version) < (known.epoch, known.version)

    def add(self, transition: Transition) -> None:
        """Queue a transition."""
        self._waiting.append(transition)

    def reconcile(self, table: Mapping[str, Verdict], nodes: Iterable[NodeHealth]) -> None:
        """Start over from `table` as it was just read: queue what differs from the nodes' states."""
        self._table = dict(table)
        self._versions.clear()
        self._waiting.clear()
        for health in nodes:
            if health.state is NodeState.LEFT and health.node not in self._table:
                continue  # It never was there.
            self.add(
                Transition(
                    node=health.node,
                    old=health.state,
                    new=health.state,
                    reason=health.reason,
                    evidence=health.evidence,
                    boot=health.boot,
                    now=health.since,
                )
            )

    def next(self) -> Draft | None:
        """Return the next change to write; the same one until `written`, `conflict`, `forget` or `clear`."""
        while self._waiting:
            transition = self._waiting[0]
            standing = self._table.get(transition.node)
            if standing is None:
                new = replace(transition, old=NodeState.LEFT) if transition.old is transition.new else transition
                return Draft(transition=new, expected=self._versions.get(transition.node, 0))
            if _is_over(transition, standing):
                self._waiting.popleft()
                continue
            restated = transition.old is transition.new and standing.reason != transition.reason
            if standing.state is not transition.new or standing.boot != transition.boot or restated:
                # The log tells one story: each entry begins where the one before it ended.
                return Draft(transition=replace(transition, old=standing.state), expected=standing.version)
            self._waiting.popleft()
        return None

    def written(self, verdict: Verdict) -> None:
        """Say that the change that `next` gave stands in the table as `verdict`."""
        self._table[verdict.node] = verdict
        head = self._waiting[0] if self._waiting else None
        # While it was being written the queue may have been cleared.
        if head is not None and head.node == verdict.node and head.new is verdict.state:
            self._waiting.popleft()

    def conflict(self, node: str, standing: Verdict | None, version: int) -> None:
        """Say that the table holds something else: the change is tried again on top of it.

        `standing` is None if there is nothing, or nothing that parses; `version` is 0 or the one that it claims.
        """
        if standing is None:
            self._table.pop(node, None)
            self._versions[node] = version
        else:
            self._table[node] = standing

    def forget(self, node: str) -> None:
        """Say that the node is not in the table any more."""
        self._table.pop(node, None)
        self._waiting = deque((item for item in self._waiting if item.node != node), maxlen=WAITING_MAX)

    def clear(self) -> None:
        """Drop everything that waits: somebody else leads."""
        self._waiting.clear()


def _is_over(transition: Transition, standing: Verdict) -> bool:
    """Say whether the table tells of a later life of the node than the change does: an old boot never comes back."""
    return transition.boot is not None and standing.boot is not None and transition.boot < standing.boot
