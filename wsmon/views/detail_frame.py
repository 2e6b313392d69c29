"""What is drawn of one node in full. Finished values, as in `frame`."""

from dataclasses import dataclass
from enum import StrEnum

from wsmon.protocol.states import NodeState
from wsmon.views.frame import Severity


class Measure(StrEnum):
    """What the numbers of a strip are."""

    COUNT = "count"
    RATE = "rate"
    MILLISECONDS = "ms"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of a node: `heartbeat`, `2/3 missed, last answer 2.4 s ago`."""

    label: str
    text: str
    severity: Severity = Severity.INFO
    old: bool = False
    """Whether it is how it was when the one who says so was heard last."""


@dataclass(frozen=True, slots=True)
class Section:
    """Facts that belong together."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One number over the last minutes."""

    label: str
    measure: Measure
    now: float | None
    values: tuple[float | None, ...]
    """Oldest first, evenly spaced, up to now; None: nobody told it then."""
    old: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetail:
    """Everything about one node, what matters most first."""

    node: str
    state: NodeState
    silent_s: float | None = None
    """Set when nothing was heard from the node itself for longer than it promised."""
    why: str = ""
    """The guard as a sentence."""
    sections: tuple[Section, ...] = ()
    strips: tuple[Strip, ...] = ()
    strips_s: float = 0.0
    """How much time each strip shows."""
