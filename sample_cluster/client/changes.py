"""What a client tells about its connection, in the order in which it happens.

The first time: (`Wait`, `Attempted`, `Failed`)…, `Attempted`, `Welcomed`. After a loss: `Lost`, `Wait`, `Attempted`,
(`Failed`, `Wait`, `Attempted`)…, `Welcomed`, `Back`. When a node asks it to leave: `Wait` while it is still connected,
`Attempted` as it leaves, then the same. Told never to come back: `Stopped`, and nothing more.
"""

from dataclasses import dataclass
from typing import TypeAlias

from sample_cluster.core.messages import GoAwayReason, Resync, Rewind
from sample_cluster.core.reconnect import Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The connection to `node` ended without our doing; `code` 1006: without a close frame."""

    node: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """An attempt begins."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt came to nothing; `outcome` in a word or two, such as `refused`, `timeout`, `http 503`."""

    attempt: int
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcomed:
    """A node took the client."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """Every channel goes on, `away_s` after the loss; `replayed` messages come from history."""

    node: str
    away_s: float
    replayed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The node asked the client to leave; its slot follows as a `Wait`."""

    node: str
    reason: GoAwayReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Jumped:
    """A channel goes on elsewhere, because of `told`; `lost` messages are missing for good."""

    told: Resync | Rewind
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The client was told never to come back."""

    code: int


Change: TypeAlias = Wait | Lost | Attempted | Failed | Welcomed | Back | Asked | Jumped | Stopped
