"""What sources tell the model, one frozen value for each fact.

Live collection and replay hand in the same values. `at` and `heard_at` are Unix seconds of the watcher's clock,
except where a field says that it is the peer's own.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from wsmon.protocol.frames import EventFrame, ReadOnlyJson
from wsmon.protocol.registry import RegistryEntry, Verdict
from wsmon.protocol.states import PeerKind, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSeen:
    """An admin socket was opened and said hello."""

    id: str
    kind: PeerKind
    boot: int
    pid: int
    """0 if the peer did not tell."""
    host: str
    version: str
    role: Role
    ops: tuple[str, ...] = ()
    profile: ReadOnlyJson = field(default_factory=dict)
    at: float
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """The whole state of a peer after a snapshot or a delta. The model keeps `state` and never changes it."""

    id: str
    boot: int
    rev: int
    at: float
    """The peer's clock."""
    state: ReadOnlyJson
    heard_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerBeat:
    """A peer is alive; `lag_ms` is how late its loop runs."""

    id: str
    boot: int
    rev: int
    at: float
    """The peer's clock."""
    lag_ms: float
    heard_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGone:
    """The connection to a peer was lost or refused; `reason` is a short sentence."""

    id: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGarbage:
    """A peer broke the protocol. It is shown as a problem until the peer says hello again."""

    id: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event, from an admin socket or from Redis. By (source, boot, seq) it counts once."""

    event: EventFrame
    heard_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySeen:
    """All living entries of the registry."""

    entries: tuple[RegistryEntry, ...]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryBad:
    """An entry of the registry or of the health table does not parse; `id` is its name there."""

    id: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictsSeen:
    """The checker's whole table."""

    verdicts: tuple[Verdict, ...]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSeen:
    """Redis answered, or did not."""

    state: Literal["ok", "away"]
    rtt_ms: float | None = None
    detail: str = ""
    role: str = ""
    """primary, replica, or a word of the server's own; empty if it does not say."""
    ops_s: float | None = None
    """Commands a second that it carries out for everybody."""
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSample:
    """What a process on this machine costs. Not sent for processes of other machines."""

    id: str
    pid: int
    cpu: float
    """Percent of one core."""
    rss: int
    """Bytes."""
    fds: int | None = None
    status: str = ""
    """The system's word: running, sleeping, stopped, zombie."""
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSample:
    """The watcher's own look at a node's `/health`; `status` is 0 if there was no answer."""

    id: str
    ok: bool
    status: int
    ms: float
    at: float


@dataclass(frozen=True, slots=True)
class StepSeen:
    """One step of the embedded cluster's start."""

    name: str
    done: bool
    seconds: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartProgress:
    """All steps of the start, as far as they are known."""

    steps: tuple[StepSeen, ...]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEnded:
    """The cluster is gone for good; there is nothing more to come."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionAsked:
    """Somebody at this console asked for an action."""

    key: int
    """Rises with every action of this console."""
    text: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionAnswered:
    """What became of the action with this key."""

    key: int
    ok: bool
    message: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """Somebody put a note on this moment."""

    text: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """Whoever plays a scenario says what is to be seen now; an empty text takes the last words away."""

    text: str
    at: float


Input: TypeAlias = (
    PeerSeen
    | PeerState
    | PeerBeat
    | PeerGone
    | PeerGarbage
    | Happened
    | RegistrySeen
    | RegistryBad
    | VerdictsSeen
    | RedisSeen
    | ProcessSample
    | HttpSample
    | StartProgress
    | ClusterEnded
    | ActionAsked
    | ActionAnswered
    | Marked
    | Captioned
)
