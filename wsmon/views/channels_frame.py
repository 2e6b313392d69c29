"""What the page of Redis and channels draws. Finished values, as in `frame`."""

from dataclasses import dataclass

from wsmon.views.frame import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One node's feed of a channel."""

    node: str
    state: str = ""
    """Empty: the node has no feed of the channel, or does not name it."""
    seq: int | None = None
    behind: int = 0
    """Messages that others had before this node told of its own place."""
    members: int | None = None
    old_s: float | None = None
    """Set when this is how it was: how long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """One channel, as the nodes that are heard see it."""

    channel: str
    key: str
    """Unique, even if names differ only in what is neutralised."""
    state: str
    """The worst state of a feed, in one word; empty: nobody who is heard feeds it."""
    severity: Severity
    top: int | None = None
    """Highest number that a node told."""
    members: int | None = None
    behind: int = 0
    """Of the feed that is farthest behind."""
    feeds: tuple[Feed, ...] = ()
    """One for each node, in the order of `RedisPicture.nodes`."""
    old_s: float | None = None
    """Set when everybody who told of it is silent: since when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRow:
    """One circuit breaker: `caller` makes no calls to `target` while it is open."""

    key: str
    caller: str
    target: str
    state: str
    severity: Severity
    retry_in_s: float | None = None
    old_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLink:
    """How one node stands with Redis."""

    node: str
    state: str = ""
    rtt_ms: float | None = None
    lease_s: float | None = None
    """Since its lease was renewed."""
    old_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Something that is kept in Redis, and how fresh our reading is. `age_s` None: never read."""

    number: int = 0
    age_s: float | None = None
    old: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPicture:
    """Redis, what is kept there, and who depends on it."""

    state: str = "unknown"
    """ok, away, unknown; silent when nobody has looked for too long."""
    severity: Severity = Severity.QUIET
    since_s: float | None = None
    rtt_ms: float | None = None
    asked_s: float | None = None
    """How long ago we asked it last."""
    detail: str = ""
    role: str = ""
    """primary, replica, or the server's own word."""
    ops_s: float | None = None
    """Commands a second."""
    process: str = ""
    """What the supervisor says of it: running, exited, …"""
    pid: int | None = None
    restarts: int | None = None
    leader: str | None = None
    epoch: int | None = None
    leader_s: float | None = None
    """How old the leader's word is."""
    standbys: tuple[str, ...] = ()
    registry: Table = Table()
    verdicts: Table = Table()
    newest_s: float | None = None
    """Age of the newest verdict."""
    links: tuple[RedisLink, ...] = ()
    nodes: tuple[str, ...] = ()
    channels: tuple[ChannelRow, ...] = ()
    hidden: int = 0
    """Channels left out, because there are too many or because nodes name their busiest only."""
    breakers: tuple[BreakerRow, ...] = ()
