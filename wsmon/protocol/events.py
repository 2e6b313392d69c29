"""What can happen in a cluster, as values. One class a kind; the field names are those of the wire.

`decode_body` never fails: a kind or a field that this version does not understand becomes `Unrecognised`,
which is counted and shown as text, never guessed at.
"""

import types
import typing
from dataclasses import MISSING, dataclass, field, fields
from typing import TypeAlias

from wsmon.protocol.frames import EventFrame, Json, JsonObject, ReadOnlyJson


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStateChanged:
    """The checker (or the node itself) moved a node from one state to another."""

    node: str
    old: str
    new: str
    reason: str = ""
    evidence: ReadOnlyJson = field(default_factory=dict)
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatMissed:
    """A ping went unanswered: `count` in a row, `needed` decide. Either a node or a client connection."""

    node: str | None = None
    connection: str | None = None
    count: int
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLost:
    """A client lost its connection to `node`."""

    client: str
    node: str | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectScheduled:
    """A client will try again in `delay_s`; `jitter` is the factor that the dice gave.

    `delay_source` tells where the delay is from: spread, backoff, goaway or advice. (An event's own `source` is the
    process that reports it.)
    """

    client: str
    attempt: int
    delay_s: float
    jitter: float | None = None
    delay_source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectStarted:
    """A client's attempt begins."""

    client: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectFailed:
    """A client's attempt ended without a connection."""

    client: str
    attempt: int | None = None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A client is back, on `node`, after `ms` milliseconds; `how` tells in which way: live, replay, resync, handover."""

    client: str
    node: str
    how: str = ""
    ms: float | None = None
    replayed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStarted:
    """A node begins to empty itself."""

    node: str
    total: int | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainProgress:
    """A node has `left` connections to move."""

    node: str
    left: int
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainDone:
    """A node is empty, or its deadline passed with `forced` connections left."""

    node: str
    forced: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainAborted:
    """A drain was called off."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultStarted:
    """A fault was injected on purpose."""

    fault: str
    target: str
    value: str | None = None
    """How much of it, in words such as `200ms±50ms`."""
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEnded:
    """An injected fault is over."""

    fault: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExited:
    """A supervised process is gone: by `signal` or with exit `code`."""

    id: str
    signal: int | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderChanged:
    """Another checker leads."""

    epoch: int
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged:
    """A circuit breaker opened, closed or tries."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedChanged:
    """A node's feed of a channel changed its state."""

    channel: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ZombieRefused:
    """Something from an earlier life of a process was refused."""

    client: str | None = None
    node: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRefused:
    """Something that makes no sense was refused, and nothing else came of it.

    `what` is a word for what it was, such as `entry`, `answer` or `verdict`; `node` is whom it was about.
    """

    what: str
    reason: str
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilt:
    """A checker did nothing for `gap_s` seconds, and judges nobody for the next `freeze_s`."""

    gap_s: float
    freeze_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJumped:
    """The wall clock of the process that reports it moved by `seconds` against a steady one."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelsCut:
    """A gateway closed the `count` connections that it led to a node, since the node was removed."""

    node: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone:
    """An operator's action: the entry of the ledger."""

    actor: ReadOnlyJson
    op: str
    target: str
    reason: str = ""
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognised:
    """An event of a kind, or with fields, that this version does not know."""

    kind: str
    fields: ReadOnlyJson


EventBody: TypeAlias = (
    NodeStateChanged
    | HeartbeatMissed
    | ClientLost
    | ReconnectScheduled
    | ReconnectStarted
    | ReconnectFailed
    | Resumed
    | DrainStarted
    | DrainProgress
    | DrainDone
    | DrainAborted
    | FaultStarted
    | FaultEnded
    | ProcessExited
    | LeaderChanged
    | BreakerChanged
    | FeedChanged
    | ZombieRefused
    | InputRefused
    | Tilt
    | ClockJumped
    | TunnelsCut
    | ActionDone
    | Unrecognised
)

KINDS: dict[str, type] = {
    "node_state": NodeStateChanged,
    "heartbeat_missed": HeartbeatMissed,
    "client_lost": ClientLost,
    "reconnect_scheduled": ReconnectScheduled,
    "reconnect_started": ReconnectStarted,
    "reconnect_failed": ReconnectFailed,
    "resumed": Resumed,
    "drain_started": DrainStarted,
    "drain_progress": DrainProgress,
    "drain_done": DrainDone,
    "drain_aborted": DrainAborted,
    "fault_started": FaultStarted,
    "fault_ended": FaultEnded,
    "process_exited": ProcessExited,
    "leader_changed": LeaderChanged,
    "breaker": BreakerChanged,
    "feed": FeedChanged,
    "zombie_refused": ZombieRefused,
    "refused": InputRefused,
    "tilt": Tilt,
    "clock_jumped": ClockJumped,
    "cut": TunnelsCut,
    "action": ActionDone,
}
_KIND_OF: dict[type, str] = {body: kind for kind, body in KINDS.items()}


def kind_of(body: EventBody) -> str:
    """Return the kind's name on the wire."""
    return body.kind if isinstance(body, Unrecognised) else _KIND_OF[type(body)]


def body_fields(body: EventBody) -> JsonObject:
    """Return the body's fields as JSON; what is None is left out."""
    if isinstance(body, Unrecognised):
        return dict(body.fields)
    pairs = ((item.name, getattr(body, item.name)) for item in fields(body))
    return {
        name: dict(value) if isinstance(value, typing.Mapping) else value for name, value in pairs if value is not None
    }


def decode_body(event: EventFrame) -> EventBody:
    """Return the event's body; `Unrecognised` if the kind is unknown or a field does not fit."""
    body = KINDS.get(event.kind)
    if body is None:
        return Unrecognised(kind=event.kind, fields=event.fields)
    values: dict[str, Json] = {}
    for name, (accepted, required) in _SHAPES[event.kind].items():
        value = event.fields.get(name)
        if value is None:
            if required:
                return Unrecognised(kind=event.kind, fields=event.fields)
            continue
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
            return Unrecognised(kind=event.kind, fields=event.fields)
        values[name] = value
    made: EventBody = body(**values)
    return made


# Everything else is an object.
_ACCEPTED: dict[object, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
}


def _shape(body: type) -> dict[str, tuple[tuple[type, ...], bool]]:
    shape = {}
    hints = typing.get_type_hints(body)
    for item in fields(body):
        hint = hints[item.name]
        if isinstance(hint, types.UnionType):
            hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        required = item.default is MISSING and item.default_factory is MISSING
        shape[item.name] = (_ACCEPTED.get(hint, (dict,)), required)
    return shape


_SHAPES = {kind: _shape(body) for kind, body in KINDS.items()}
