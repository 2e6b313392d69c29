"""The values that are drawn. A `Frame` is one complete, consistent picture; equal parts need no repainting.

Everything in here is finished: ages are computed, text from outside is neutralised (no control characters, bounded
length), nothing has to be looked up. `None` means unknown and is drawn as such, never as zero.
Times named `at` are Unix seconds, durations end in `_s` or `_ms`.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from wsmon.protocol.states import NodeState

if TYPE_CHECKING:  # Those modules take their words from this one.
    from wsmon.views.beliefs_frame import Beliefs
    from wsmon.views.channels_frame import RedisPicture
    from wsmon.views.detail_frame import NodeDetail
    from wsmon.views.incidents_frame import IncidentsPicture
    from wsmon.views.sessions_frame import SessionsPicture
    from wsmon.views.truth_frame import TruthLanes


class PageName(StrEnum):
    """A page of the dashboard."""

    NODES = "nodes"
    TIMELINE = "timeline"
    EVENTS = "events"
    SESSIONS = "sessions"
    REDIS = "redis"
    INCIDENTS = "incidents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """What a person looks at. Parts of a frame that nobody looks at are not worked out."""

    page: PageName = PageName.NODES
    node: str | None = None
    """The selected node."""
    client: str | None = None
    """The selected client."""
    incident: str | None = None
    """Key of the selected incident."""
    other: str | None = None
    """Key of the incident to compare it with."""


class Health(StrEnum):
    """One word for the whole cluster."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"


class Severity(StrEnum):
    """How much attention a line asks for."""

    QUIET = "quiet"
    INFO = "info"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the fleet's end-to-end checker counted. None: it does not say."""

    published: int | None = 0
    delivered: int | None = 0
    lost: int | None = 0
    duplicated: int | None = 0
    inverted: int | None = 0
    never_acked: int | None = 0
    refused: int | None = None
    """Publishes that were refused for good: their publisher knows."""
    overdue: int | None = None
    """Deliveries that are late."""
    rewound: int | None = None
    """Messages that a new history of the log declared void."""
    resyncs: int | None = None
    """How often a subscriber could not go on where it was."""
    replayed: int | None = None
    """Messages that clients had missed and got after they were back."""
    silent_s: float | None = None
    """Set when nothing was heard from the checker for longer than it promised: its counts are old."""

    @property
    def harmed(self) -> bool:
        """Whether a message was lost, duplicated or handed out in the wrong order."""
        return bool(self.lost or self.duplicated or self.inverted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumes:
    """How clients came back, since the beginning. None: nobody says."""

    ring: int | None = None
    """What they had missed came from the newest messages that a node keeps in memory."""
    log: int | None = None
    """… from Redis."""
    resync: int | None = None
    """It was gone: they began anew."""
    stale: int | None = None
    """Refused: a newer attempt of the same client was first."""
    p50_ms: float | None = None
    """Half of all were back within this time."""
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The status bar."""

    cluster: str
    profile: str | None = None
    health: Health = Health.STARTING
    problems: tuple[str, ...] = ()
    """Short sentences, worst first: "redis is away for 3 s", "no checker leads", "gateway is gone"."""
    notices: tuple[str, ...] = ()
    """What is not as it should be although every node is online: faults that are on, nodes that a gateway cannot reach."""
    faults: int = 0
    """How many things are broken on purpose that healing would end, wherever they are."""
    armed: bool = True
    at: float = 0.0
    """When the frame was made."""
    nodes_online: int = 0
    nodes_total: int = 0
    nodes_left: int = 0
    """Nodes that went on purpose; not counted in the total."""
    clients_connected: int | None = None
    clients_reconnecting: int | None = None
    audit: Audit | None = None
    removal_window_s: tuple[float, float] | None = None
    """A node silent for less than the first is never removed, for more than the second always (soft evidence)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node of the table."""

    id: str
    state: NodeState
    since_s: float | None = None
    """Seconds in this state."""
    since_at: float | None = None
    """When the state began."""
    reason: str = ""
    """Why, in the words of whoever said so: `heartbeat 3/3 missed`. `why` is the whole story."""
    detail: str = ""
    """What stands behind the state's word: `2/3` failures of a suspect, connections left of a draining one, …"""
    why: str = ""
    """A sentence: which guard put the node there."""
    heartbeat: str = ""
    """`ok` or `2/3`: the checker's heartbeats."""
    http: str = ""
    """The same for its HTTP probes."""
    misses: int = 0
    misses_needed: int | None = None
    connections: int | None = None
    connections_delta: int | None = None
    """Change over the last few seconds."""
    messages_in_s: float | None = None
    messages_out_s: float | None = None
    lag_ms: float | None = None
    rtt_ms: float | None = None
    cpu: float | None = None
    """Percent of one core."""
    rss: int | None = None
    """Bytes."""
    fds: int | None = None
    uptime_s: float | None = None
    pid: int | None = None
    process: str = ""
    """What the supervisor says of the process: running, frozen, exited, …"""
    address: str | None = None
    silent_s: float | None = None
    """Set when nothing was heard from the node itself for longer than it promised: its values are old."""
    fault: str = ""
    """An injected fault that is on now, at it or on a link to it: `freeze`, `blackhole on gateway-n1`."""
    unreached_by: str = ""
    """A gateway whose breaker keeps all calls from it."""
    unacked: int | None = None
    """Messages handed to clients and not acknowledged yet."""
    lagging: int | None = None
    """Sessions that are fed at their own pace, because they do not keep up."""
    retransmits: int | None = None
    """Messages sent once more, since the node started."""
    troubles: tuple[str, ...] = ()
    """What else is not as it should be: a breaker that is open, a feed that is not live, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """One process that is not a node: redis, checker, gateway, fleet, supervisor."""

    id: str
    kind: str
    state: str
    """One word: running, leading, away, restarting, …"""
    good: bool
    detail: str = ""
    pid: int | None = None
    cpu: float | None = None
    rss: int | None = None
    restarts: int = 0


class SegmentKind(StrEnum):
    """What a stretch of a client's lane shows."""

    CONNECTED = "connected"
    LOST = "lost"
    """A point: the moment the connection was lost."""
    WAITED = "waited"
    """A wait that lies behind."""
    PLANNED = "planned"
    """A wait that still lies ahead, up to the next attempt."""
    ATTEMPT = "attempt"
    """An attempt under way, or one whose end was not told."""
    FAILED = "failed"
    """A failed attempt."""
    RESUMED = "resumed"
    """A point: back on a node."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time of one lane; a point has `start_at == end_at`."""

    kind: SegmentKind
    start_at: float
    end_at: float
    label: str = ""
    """Node for connected, lost and resumed; outcome for failed; `#2 0.84 s` for waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One client's way back."""

    client: str
    away: bool
    """Whether it is away right now."""
    node: str | None
    """Where it was, or is again."""
    attempt: int
    summary: str
    """One short line: `n1 → away 1.2 s, try 2 in 0.3 s` or `n1 → n3 in 0.84 s, 2 tries`."""
    segments: tuple[Segment, ...]
    lost_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All lanes that are or were recently away, the newest loss first, and the storm ahead."""

    now_at: float = 0.0
    lanes: tuple[Lane, ...] = ()
    away: int = 0
    back: int = 0
    """How many of the lanes are back."""
    hidden: int = 0
    """Lanes left out because there are too many."""
    planned: tuple[int, ...] = ()
    """Attempts planned in each of the coming seconds."""
    slowest_s: float | None = None
    """Longest way back among the lanes shown."""
    median_s: float | None = None
    resumes: Resumes = field(default_factory=Resumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One line of the event list. `key` is unique and stable."""

    key: tuple[str, int, int]
    at: float
    source: str
    kind: str
    severity: Severity
    text: str
    node: str | None = None
    client: str | None = None
    plural: str = ""
    """What follows the number when several rows like this one are told as one; empty: each stands for itself."""
    fields: tuple[tuple[str, str], ...] = ()
    """Everything that was told with it, in short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStep:
    """One step of the start-up."""

    name: str
    done: bool
    detail: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRow:
    """An action asked for at this console, and what became of it."""

    key: int
    at: float
    text: str
    done: bool
    ok: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the cluster can stand, for questions about what would happen. None: nobody says."""

    handshakes_per_s: float | None = None
    """New connections that the nodes online accept in a second, as the gateways measure it."""
    spread_s: float | None = None
    """Over how long clients that lost their node spread their first attempts."""
    panic_removed: int | None = None
    """Nodes removed on soft evidence now."""
    panic_allowed: int | None = None
    """How many may be: beyond it a node stays suspect."""
    drain_deadline_s: float | None = None
    links: tuple[str, ...] = ()
    """Links between processes that can be broken on purpose; none where no supervisor owns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What an operator did, at this console or at any other."""

    at: float
    who: str
    text: str
    """`drain n1`."""
    reason: str = ""
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """Where a replay stands."""

    at: float
    start_at: float
    end_at: float
    speed: float = 1.0
    held: bool = False
    twin: bool = False
    """Whether live goes on behind it."""
    note: str = ""
    """What is wrong with the recording, if anything."""
    marks: tuple[float, ...] = ()
    """Incidents and markers on the way, oldest first."""
    looked_to: float = math.inf
    """Up to which moment the recording has been looked through for them; infinite: all are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture of the cluster."""

    header: Header
    nodes: tuple[NodeRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    timeline: Timeline = field(default_factory=Timeline)
    events: tuple[EventRow, ...] = ()
    """Newest last, bounded."""
    events_lost: int = 0
    """Events that never reached us: holes in the sources' numbering."""
    start: tuple[StartStep, ...] = ()
    """Steps of the start-up; empty when attached to a running cluster."""
    ended: str = ""
    """Why there is nothing more to see (the cluster is gone); empty while it lives."""
    actions: tuple[ActionRow, ...] = ()
    forecast: Forecast = field(default_factory=Forecast)
    ledger: tuple[LedgerRow, ...] = ()
    """Operators' actions, newest last, bounded."""
    playback: Playback | None = None
    """Set in a replay; None: this is live."""
    caption: str = ""
    """What a scenario says is to be seen now."""
    recording: str = ""
    """What is being recorded, in a word or two; empty: nothing but the ring of the last minutes."""
    # Worked out only when somebody looks at them.
    detail: "NodeDetail | None" = None
    truth: "TruthLanes | None" = None
    beliefs: "Beliefs | None" = None
    sessions: "SessionsPicture | None" = None
    redis: "RedisPicture | None" = None
    incidents: "IncidentsPicture | None" = None
