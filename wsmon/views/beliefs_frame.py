"""What is drawn of who sees whom: a matrix of observers and nodes. Finished values, as in `frame`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one observer believes of one node."""

    word: str
    """Empty: it says nothing."""
    odd: bool = False
    """Whether it cannot be true together with what the judge says."""
    old_s: float | None = None
    """Set when this is how it was: how long ago."""
    epoch: int | None = None
    """Of the judgement, where each has its own."""


SILENT = Opinion(word="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """One row: what an observer believes."""

    name: str
    leads: bool = False
    epoch: int | None = None
    heard_s: float | None = None
    """How old its word is; None: never heard, or each cell says it."""
    old: bool = False
    """Whether that is older than it promised."""
    leader: str | None = None
    """Whom it takes for the leading checker."""
    leader_odd: bool = False
    opinions: tuple[Opinion, ...] = ()
    """One for each node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """Who believes what."""

    nodes: tuple[str, ...] = ()
    observers: tuple[Observer, ...] = ()
    doubts: tuple[str, ...] = ()
    """Each disagreement as a sentence: `n2: gateway says online, checker says removed`."""
