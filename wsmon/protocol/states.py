"""The words of the cluster, exactly as they stand on the wire."""

from enum import StrEnum


class NodeState(StrEnum):
    """What is said of a node: by itself, by the checker, or (stale) by the watcher."""

    JOINING = "joining"
    ONLINE = "online"
    SUSPECT = "suspect"
    REMOVED = "removed"
    RECOVERING = "recovering"
    QUARANTINED = "quarantined"
    DRAINING = "draining"
    CORDONED = "cordoned"
    LEFT = "left"
    STALE = "stale"


class PeerKind(StrEnum):
    """Who serves an admin socket."""

    NODE = "node"
    CHECKER = "checker"
    GATEWAY = "gateway"
    FLEET = "fleet"
    SUPERVISOR = "supervisor"
    SERVER = "server"


class Role(StrEnum):
    """What a connection to an admin socket may do."""

    READ = "read"
    CONTROL = "control"


class CheckerMode(StrEnum):
    """How much a checker trusts itself at the moment."""

    LEADING = "leading"
    STANDBY = "standby"
    TILT = "tilt"
    BLIND = "blind"
    PANIC = "panic"
