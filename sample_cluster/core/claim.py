"""Who may serve a session: the answers to a claim.

A session belongs to the connection that claimed it with the highest attempt. The client counts its attempts, so a
claim that was sent earlier and is read later (by a node that was frozen meanwhile) loses whatever happens. The rule
itself stands in `claim.lua`, where it is atomic for the whole cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sample_cluster.core.messages import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A connection that held a session before."""

    node: str
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The session is ours."""

    before: Owner | None = None
    """Who has to let go of it."""
    positions: Mapping[str, Position] = field(default_factory=dict)
    """Channel → up to where the client acknowledged, as of the last snapshot."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The session is ours, but nothing is known of it any more."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Another connection has claimed the session with attempt number `attempt`, which is not lower."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """The session was ended for good by an operator."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Redis does not answer: nobody knows yet. To be claimed again."""


Claimed: TypeAlias = Granted | Expired | Stale | Revoked | Unknown
