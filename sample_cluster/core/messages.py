"""The frames of the client protocol, version 1, as values. Codecs turn them into bytes and back.

On the wire a frame's `type` is its class name in lower case (`GoAway` is `goaway`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from wsmon.protocol.frames import Json


class Level(StrEnum):
    """How safe a publish has to be before it is answered."""

    FAST = "fast"
    SAFE = "safe"


class GoAwayReason(StrEnum):
    """Why a node sends its clients elsewhere."""

    DRAIN = "drain"
    OVERLOAD = "overload"
    FENCED = "fenced"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a channel's log: everything up to `seq` has been seen, and `nonce` proves which history it was."""

    epoch: str
    """8 hex digits."""
    seq: int
    nonce: int
    """Unsigned 32-bit."""


# Client to node.


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First frame of a client without a session."""

    token: str | None = None
    client: Mapping[str, str] = field(default_factory=dict)
    caps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """One attempt of the client to come back: so long ago, after such a wait, with that outcome."""

    ago_ms: int
    delay_ms: int
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """First frame of a client that has a session."""

    session: str
    secret: str
    attempt: int
    token: str | None = None
    positions: Mapping[str, Position] = field(default_factory=dict)
    pending: Mapping[str, int] = field(default_factory=dict)
    retries: tuple[Retry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Asks for a channel from a position, from now on, or from the start of what is kept."""

    id: int
    channel: str
    start: Position | Literal["now", "start"] = "now"
    """`from` on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """Asks for no more of a channel."""

    id: int
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A message for a channel. `cseq` counts 1, 2, 3… per session and channel."""

    channel: str
    cseq: int
    data: Json
    encoding: str | None = None
    level: Level = Level.FAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Everything up to these sequence numbers has been received."""

    acks: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answers a ping, repeating its `ts`."""

    ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Fresh credentials for the same connection."""

    token: str


# Node to client.


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """What the node does, in milliseconds; `misses` unanswered pings in a row end the connection."""

    ping_ms: int
    pong_ms: int
    misses: int
    resume_ttl_ms: int
    ack_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the node takes: bytes of a frame, bytes of a message's data, unacknowledged messages."""

    max_frame: int
    max_data: int
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How the client is to come back, in milliseconds."""

    spread_ms: int
    base_ms: int
    factor: float
    cap_ms: int
    jitter: float
    stable_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Answers `Hello` and `Resume`."""

    session: str
    secret: str
    attempt: int
    node: str
    boot: int
    timings: Timings
    limits: Limits
    reconnect: Reconnect
    resumed: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """Answers `Subscribe`; `replay` messages from the log follow."""

    id: int
    channel: str
    position: Position
    replay: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribed:
    """Answers `Unsubscribe`."""

    id: int
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One entry of a channel's log. `prev` is the nonce of the entry before it."""

    channel: str
    seq: int
    nonce: int
    prev: int
    id: str
    ts: int
    data: Json
    encoding: str | None = None
    replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The message is in the log at `seq`."""

    channel: str
    cseq: int
    seq: int
    dup: bool = False
    replicas: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """What is missing could not be delivered: go on at `position`."""

    channel: str
    reason: str
    have: int
    first: int
    top: int
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewind:
    """The log forked: the sequence numbers in `void` never happened; go on at `position`."""

    channel: str
    to: int
    void: tuple[int, int]
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """The node asks whether the client is there; `ts` in Unix milliseconds."""

    ts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoAway:
    """The node will close this connection: come back elsewhere after `retry_ms` plus a share of `spread_ms`."""

    reason: GoAwayReason
    retry_ms: int
    spread_ms: int
    deadline_ms: int
    handover: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A part of the service works less well, or well again."""

    component: str
    state: Literal["degraded", "live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """A request was refused; the connection goes on."""

    code: str
    message: str
    temporary: bool = False
    id: int | None = None
    retry_ms: int | None = None
    channel: str | None = None
    cseq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownFrame:
    """A frame of a type that this version does not know."""

    type: str


ClientFrame: TypeAlias = Hello | Resume | Subscribe | Unsubscribe | Publish | Ack | Pong | Auth
NodeFrame: TypeAlias = (
    Welcome | Subscribed | Unsubscribed | Message | Published | Resync | Rewind | Ping | GoAway | Notice | Error
)
Frame: TypeAlias = ClientFrame | NodeFrame
