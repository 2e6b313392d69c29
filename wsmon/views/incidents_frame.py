"""Incidents as they are drawn. Times named `at` are Unix seconds; milliseconds count from an incident's begin."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What became of an incident."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    """It is not over yet, and nothing went wrong so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One incident of the list."""

    key: str
    number: int
    at: float
    what: str
    """`kill n2`, `drain n3`, `n2 went (unknown)`."""
    node: str | None
    found_ms: float | None
    """When its node was removed, or was suspect if it never was removed."""
    clients: int
    back_p95_ms: float | None
    lost: int | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the way from the fault to the last client back."""

    name: str
    ms: float | None
    """None: it did not happen, or not yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Something that was promised, and what it was. `met` None: it cannot be said, or not yet."""

    name: str
    wanted: str
    got: str
    met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Everything about one incident."""

    row: IncidentRow
    stages: tuple[Stage, ...]
    window_ms: tuple[float, float] | None
    """When a node that falls silent is removed, by what its checker promises; None: that is not what this is about."""
    lasted_ms: float | None
    """How long what was done lasted; None: it still does."""
    parts: tuple[str, ...] = ()
    """What was broken, if it was more than one thing."""
    moved: int = 0
    duplicated: int | None = None
    inverted: int | None = None
    goals: tuple[Goal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentsPicture:
    """The page of incidents."""

    rows: tuple[IncidentRow, ...] = ()
    """Newest first."""
    hidden: int = 0
    """Older incidents that have no row."""
    card: Card | None = None
    """The one that is looked at."""
    other: Card | None = None
    """The one to compare it with: one that was asked for, else the last one of the same kind before it."""
    chosen: bool = False
    """Whether `other` was asked for."""
