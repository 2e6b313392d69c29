"""What a client tells about its connection and channels, in the order in which it happens.

The first time: (`Wait`, `Attempted`, `Failed`)…, `Attempted`, `Welcomed`. After a loss: `Lost`, `Wait`, `Attempted`,
(`Failed`, `Wait`, `Attempted`)…, `Welcomed`, `Back`. When a node asks it to leave: `Asked` and `Wait` while it is
still connected, `Attempted` as it leaves, then the same.

With a hand-over the old connection serves until the new one stands: `Asked`, `Wait`, `Attempted`, (`Failed`, `Wait`,
`Attempted`)…, `Welcomed`, `Back`, the attempts and the return with `handover` set and without a `Lost`. Should the old
connection end while an attempt is under way: `Lost`, then `Attempted` again without `handover`, and on as after any
loss. Should it end between attempts: `Lost` and the `Wait` that was planned.

`Jumped`, `Rewound` and `Rewritten` come whenever a node tells. Told never to come back: `Stopped`, and nothing more.
"""

from dataclasses import dataclass
from typing import TypeAlias

from sample_cluster.core.messages import GoAwayReason, Message, Resync, Rewind
from sample_cluster.core.reconnect import Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The connection to `node` ended without our doing; `code` 1006: without a close frame."""

    node: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """An attempt begins; with `handover` beside a connection that goes on serving."""

    attempt: int
    handover: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt came to nothing; `outcome` in a word or two, such as `refused`, `timeout`, `http 503`."""

    attempt: int
    outcome: str
    handover: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcomed:
    """A node took the client."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """Every channel goes on, `away_s` after the loss. Told once after each return, when the replay is over."""

    node: str
    away_s: float
    """0 after a hand-over, unless the old node cut the connection before the new one answered."""
    replayed: int
    """Messages from history that were handed out so far; a very long replay may go on."""
    jumped: int = 0
    """Channels that could not go on where they were."""
    handover: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The node asked the client to leave; its slot follows as a `Wait`."""

    node: str
    reason: GoAwayReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Jumped:
    """A channel goes on elsewhere; `lost` messages are missing for good."""

    told: Resync
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound:
    """The log forked: what it held under the numbers `told.void` never happened.

    That includes publishes that were answered with such a number. Somebody may write a void message again, under a
    new number; see `Rewritten`.
    """

    told: Rewind
    handed_out: int
    """Messages that were handed out and are void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A message that was handed out before the log forked was written again: it is not handed out a second time."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The client was told never to come back."""

    code: int


Change: TypeAlias = Wait | Lost | Attempted | Failed | Welcomed | Back | Asked | Jumped | Rewound | Rewritten | Stopped
