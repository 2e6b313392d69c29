"""What the page of sessions draws: a row for each client, and the life of one of them. Finished values, as in `frame`."""

from dataclasses import dataclass
from enum import StrEnum

from wsmon.views.frame import Severity


class Stand(StrEnum):
    """How a client stands."""

    CONNECTED = "connected"
    MOVING = "moving"
    """Told to go elsewhere by its node, and still connected."""
    AWAY = "away"
    WAITING = "waiting"
    TRYING = "trying"
    CONNECTING = "connecting"
    """It never had a connection so far."""
    STOPPED = "stopped"
    UNKNOWN = "unknown"


ABSENT = frozenset({Stand.AWAY, Stand.WAITING, Stand.TRYING})
"""It had a connection, has none and wants one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One client. None: nobody says."""

    key: str
    """Unique and stable; the client's name as long as no other client has it."""
    client: str
    state: Stand
    node: str | None = None
    """Where it is; of one that is away: where it was."""
    since_s: float | None = None
    """Seconds in this state, on this node."""
    at_least: bool = False
    """Whether it is so for longer: it was when its fleet was heard first."""
    attempt: int | None = None
    """Attempts on the present or on the last way back."""
    next_in_s: float | None = None
    """Until the next attempt."""
    lost: int | None = None
    """How often it lost its connection."""
    how: str | None = None
    """How it came back last: from where what it missed came."""
    way_ms: float | None = None
    """How long that took."""
    worst_ms: float | None = None
    """The longest pause that it ever had."""
    replayed: int | None = None
    resyncs: int = 0
    codec: str | None = None
    position: int | None = None
    behind: int | None = None
    """Messages that it has still to get."""
    old: bool = False
    """Whether its fleet is silent: the row says how it was."""


@dataclass(frozen=True, slots=True)
class LifeLine:
    """One thing that happened to a client; `at` None: at no known time."""

    at: float | None
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One client's biography."""

    key: str
    client: str
    lines: tuple[LifeLine, ...]
    """Oldest first."""
    dropped: int = 0
    """Chapters that are no longer kept, from the oldest on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsPicture:
    """All clients, in the order of their names."""

    rows: tuple[SessionRow, ...] = ()
    total: int | None = None
    """Clients that there are; None: nobody says."""
    away: int = 0
    hidden: int = 0
    """Clients known but without a row, because there are too many."""
    unlisted: int = 0
    """Clients that their fleet counts but does not name: large fleets name those that were away."""
    forgotten: int = 0
    """Biographies given up for others."""
    silent_s: float | None = None
    """Set when a fleet is silent: how long."""
    life: Life | None = None
