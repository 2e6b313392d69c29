"""How a cluster is found in Redis: key names and the entries under them."""

from dataclasses import dataclass, field

from wsmon.protocol.codec import ID_MAX
from wsmon.protocol.fields import Fields, parse_object
from wsmon.protocol.frames import JsonObject, ReadOnlyJson
from wsmon.protocol.states import NodeState, PeerKind

ENTRY_TTL_S = 10.0
ENTRY_RENEW_S = 3.0
STREAM_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of the control plane's keys. One hash tag, so that its scripts run on Redis Cluster."""

    cluster: str

    def _key(self, name: str) -> str:
        return f"wsc:{{{self.cluster}}}:{name}"

    @property
    def nodes(self) -> str:
        """Sorted set: id of every registered process → Unix time at which its lease expires."""
        return self._key("nodes")

    def node(self, name: str) -> str:
        """JSON text of a `RegistryEntry`, expiring with the lease."""
        return self._key(f"node:{name}")

    @property
    def health(self) -> str:
        """Hash: node → JSON text of a `Verdict`."""
        return self._key("health")

    @property
    def health_log(self) -> str:
        """Stream of verdicts; the wake-up of whoever reads the table."""
        return self._key("health:log")

    @property
    def events(self) -> str:
        """Stream of events and the action ledger; field `event` holds the JSON."""
        return self._key("events")

    @property
    def checker_lease(self) -> str:
        """Id of the leading checker, expiring."""
        return self._key("checker:lease")

    @property
    def checker_epoch(self) -> str:
        """Fencing number: rises with every new leader."""
        return self._key("checker:epoch")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntry:
    """What a process says of itself in Redis. Same ids as in the supervisor's state."""

    kind: PeerKind
    id: str
    boot: int
    admin: str
    """URL of the admin socket: `ws+unix:///path`, `ws://127.0.0.1:port/admin` or `wss://…`."""
    version: str
    address: str | None = None
    """`host:port` where clients are served; nodes and gateways have one."""
    zone: str | None = None

    def to_object(self) -> JsonObject:
        """Return the JSON object to store."""
        document: JsonObject = {
            "kind": str(self.kind),
            "id": self.id,
            "boot": self.boot,
            "admin": self.admin,
            "version": self.version,
        }
        if self.address is not None:
            document["address"] = self.address
        if self.zone is not None:
            document["zone"] = self.zone
        return document


def decode_entry(text: str | bytes) -> RegistryEntry:
    """Return the entry.

    Raises:
        RemoteProtocolError: it does not parse.

    """
    fields = Fields(parse_object(text, what="registry entry"), "registry entry")
    return RegistryEntry(
        kind=fields.word("kind", PeerKind),
        id=fields.text("id", longest=ID_MAX),
        boot=fields.integer("boot"),
        admin=fields.text("admin"),
        version=fields.text_or_none("version") or "",
        address=fields.text_or_none("address"),
        zone=fields.text_or_none("zone"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the checker holds true of a node. `version` rises with every change of that node, `epoch` with every leader."""

    node: str
    state: NodeState
    reason: str
    epoch: int
    version: int
    at: float
    boot: int | None = None
    evidence: ReadOnlyJson = field(default_factory=dict)

    def to_object(self) -> JsonObject:
        """Return the JSON object to store."""
        document: JsonObject = {
            "node": self.node,
            "state": str(self.state),
            "reason": self.reason,
            "epoch": self.epoch,
            "version": self.version,
            "at": self.at,
        }
        if self.boot is not None:
            document["boot"] = self.boot
        if self.evidence:
            document["evidence"] = dict(self.evidence)
        return document


def decode_verdict(text: str | bytes, *, node: str) -> Verdict:
    """Return the verdict on `node`.

    Raises:
        RemoteProtocolError: it does not parse.

    """
    fields = Fields(parse_object(text, what="verdict"), "verdict")
    return Verdict(
        node=node,
        state=fields.word("state", NodeState),
        reason=fields.text_or_none("reason") or "",
        epoch=fields.integer("epoch"),
        version=fields.integer("version"),
        at=fields.number("at"),
        boot=fields.integer_or_none("boot"),
        evidence=fields.object_or_none("evidence") or {},
    )
