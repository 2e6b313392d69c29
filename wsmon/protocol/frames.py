"""The frames of the admin protocol as values.

A frame on the wire is one JSON object in one WebSocket text message, with `type` naming it.
No field is ever null: what is not known is absent, which is `None` here.
Times named `at` are Unix seconds as a float, `rev` and `prev` are revisions of the served state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from wsmon.protocol.states import PeerKind, Role

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
JsonObject: TypeAlias = dict[str, Json]
ReadOnlyJson: TypeAlias = Mapping[str, Json]

PROTOCOL = 1
SUBPROTOCOL = "wsmon.admin.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First frame of the served side: who is speaking and what the connection may do."""

    kind: PeerKind
    id: str
    boot: int
    """Rises with every start of the process: its start time in milliseconds."""
    pid: int
    host: str
    version: str
    role: Role
    ops: tuple[str, ...] = ()
    profile: ReadOnlyJson = field(default_factory=dict)
    """The timings that the peer works with; the watcher knows none of its own."""
    zone: str | None = None
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Watching side asks for the state from revision `since` on, at most every `interval_ms`."""

    since: int | None = None
    interval_ms: int = 250
    topics: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole state."""

    rev: int
    boot: int
    at: float
    state: ReadOnlyJson


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What changed between the revisions `prev` and `rev`, as a JSON Merge Patch (RFC 7396)."""

    rev: int
    prev: int
    at: float
    patch: ReadOnlyJson


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFrame:
    """Something that happened once. `source`, `boot` and `seq` identify it on every road it takes."""

    source: str
    boot: int
    seq: int
    at: float
    kind: str
    fields: ReadOnlyJson


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Each second: still here, at this revision; `lag_ms` is how late the peer's own loop runs."""

    rev: int
    at: float
    lag_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks for an operation."""

    user: str
    host: str
    tty: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A request for one operation, answered by a `Result` with the same id."""

    id: str
    op: str
    args: ReadOnlyJson = field(default_factory=dict)
    actor: Actor
    reason: str | None = None
    dry_run: bool = False
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """Why a request was refused."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Answer to a command."""

    id: str
    ok: bool
    rev: int
    error: ErrorBody | None = None
    effect: ReadOnlyJson | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Either side asks; the answer is a `Pong` with the same fields."""

    id: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answers a `Ping`, repeating its fields."""

    id: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Asks for rows that are too many for the state."""

    id: str
    what: str
    limit: int
    filter: str | None = None
    sort: str | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Rows that answer a query; `cursor` leads to the next page."""

    id: str
    rows: tuple[ReadOnlyJson, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownFrame:
    """A frame of a type that this version does not know. It is ignored, never guessed at."""

    type: str


Frame: TypeAlias = (
    Hello
    | Subscribe
    | Snapshot
    | Delta
    | EventFrame
    | Beat
    | Command
    | Result
    | Ping
    | Pong
    | Query
    | Page
    | UnknownFrame
)
