"""Truth above verdict as it is drawn: what was done to each node, and what its checker said."""

from dataclasses import dataclass

from wsmon.protocol.states import NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A fault while it lasted; `until_at` None: it still does."""

    what: str
    since_at: float
    until_at: float | None
    window_at: tuple[float, float] | None = None
    """When the node is removed for it at the earliest and at the latest, by what is promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A verdict while it held."""

    state: NodeState
    since_at: float
    until_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthLane:
    """One node."""

    node: str
    deeds: tuple[Deed, ...]
    said: tuple[Said, ...]
    found_ms: float | None = None
    """How long after the newest fault the node was removed; None: it was not, or nothing was done to it."""
    summary: str = ""
    """What was done, in a few words."""
    finding: str = ""
    """What came of it, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthLanes:
    """Nodes in trouble first, bounded."""

    now_at: float = 0.0
    lanes: tuple[TruthLane, ...] = ()
    hidden: int = 0
    """Nodes that have no lane."""
