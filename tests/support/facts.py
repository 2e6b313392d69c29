"""Short ways to tell a model what sources would tell it: a small cluster in words."""

from collections.abc import Iterable

from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import Happened, PeerBeat, PeerGone, PeerSeen, PeerState, RedisSeen, RegistrySeen, VerdictsSeen
from wsmon.protocol.events import EventBody, body_fields, kind_of
from wsmon.protocol.frames import EventFrame, Json, JsonObject
from wsmon.protocol.registry import RegistryEntry, Verdict
from wsmon.protocol.states import NodeState, PeerKind, Role

T0 = 1_700_000_000.0
"""When stories begin, in Unix seconds."""
BOOT = int(T0 * 1_000) - 60_000
KINDS = {
    "checker": PeerKind.CHECKER,
    "gateway": PeerKind.GATEWAY,
    "fleet": PeerKind.FLEET,
    "supervisor": PeerKind.SUPERVISOR,
}


def kind_of_peer(name: str) -> PeerKind:
    """Return the kind that the id says."""
    return KINDS.get(name, PeerKind.NODE)


def seen(name: str, at: float = T0, *, boot: int = BOOT, pid: int = 100, profile: JsonObject | None = None) -> PeerSeen:
    """A peer said hello."""
    return PeerSeen(
        id=name,
        kind=kind_of_peer(name),
        boot=boot,
        pid=pid,
        host="here",
        version="1",
        role=Role.CONTROL,
        profile=profile or {},
        at=at,
    )


def says(name: str, state: JsonObject, at: float = T0, *, boot: int = BOOT, rev: int = 1) -> PeerState:
    """A peer published its state."""
    return PeerState(id=name, boot=boot, rev=rev, at=at, state=state, heard_at=at)


def beats(name: str, at: float, *, boot: int = BOOT, rev: int = 1) -> PeerBeat:
    """A peer is alive."""
    return PeerBeat(id=name, boot=boot, rev=rev, at=at, lag_ms=0.4, heard_at=at)


def gone(name: str, at: float) -> PeerGone:
    """The connection to a peer was lost."""
    return PeerGone(id=name, reason="closed the connection", at=at)


def event(body: EventBody, at: float = T0, *, seq: int, source: str = "fleet", boot: int = BOOT) -> EventFrame:
    """An event as it stands on the wire."""
    return EventFrame(source=source, boot=boot, seq=seq, at=at, kind=kind_of(body), fields=body_fields(body))


def happened(body: EventBody, at: float = T0, *, seq: int, source: str = "fleet", boot: int = BOOT) -> Happened:
    """An event arrived at once."""
    return Happened(event=event(body, at, seq=seq, source=source, boot=boot), heard_at=at)


def verdict(node: str, state: NodeState, at: float = T0, reason: str = "") -> Verdict:
    """A line of the checker's table."""
    return Verdict(node=node, state=state, reason=reason, epoch=1, version=1, at=at)


def table(*verdicts: Verdict, at: float = T0) -> VerdictsSeen:
    """The checker's table."""
    return VerdictsSeen(verdicts=verdicts, at=at)


def entries(*names: str, at: float = T0, boot: int = BOOT) -> RegistrySeen:
    """The registry."""
    return RegistrySeen(
        entries=tuple(
            RegistryEntry(
                kind=kind_of_peer(name),
                id=name,
                boot=boot,
                admin=f"ws+unix:///{name}.sock",
                version="1",
                address=f"127.0.0.1:{9000 + index}",
            )
            for index, name in enumerate(names)
        ),
        at=at,
    )


def target(state: str, since: float = T0, **more: Json) -> JsonObject:
    """One target of a checker, all well unless told otherwise."""
    return {
        "state": state,
        "since": since,
        "reason": "",
        "heartbeat": {"failed": 0, "needed": 3, "last_ok": since, "rtt_ms": 0.5},
        "http": {"failed": 0, "needed": 2, "last_ok": since},
        **more,
    }


def leading(targets: dict[str, JsonObject]) -> JsonObject:
    """State of a leading checker."""
    return {"mode": "leading", "leader": "checker", "epoch": 1, "targets": dict(targets)}


def running(*nodes: str) -> JsonObject:
    """State of a supervisor whose processes all run."""
    names = ("redis", "checker", "gateway", "fleet")
    rows: JsonObject = {
        name: {"kind": name, "status": "running", "restarts": 0, "pid": 50 + index, "started_at": T0 - 60}
        for index, name in enumerate(names)
    }
    for index, name in enumerate(nodes):
        rows[name] = {"kind": "node", "status": "running", "restarts": 0, "pid": 100 + index, "started_at": T0 - 60}
    return {"processes": rows}


def well(nodes: Iterable[str] = ("n1", "n2", "n3"), *, clients: int = 60, embedded: bool = False) -> ClusterModel:
    """A cluster in which everything is well at `T0`."""
    names = tuple(nodes)
    model = ClusterModel("demo", embedded=embedded)
    model.apply(RedisSeen(state="ok", rtt_ms=0.4, at=T0))
    model.apply(entries(*names, "checker", "gateway", "fleet", "supervisor"))
    model.apply(table(*(verdict(name, NodeState.ONLINE) for name in names)))
    profile: JsonObject = {"name": "demo", "removal_window_s": [2.2, 3.2]}
    for index, name in enumerate(names):
        model.apply(seen(name, pid=100 + index, profile=profile))
        model.apply(says(name, {"state": "online", "connections": 20, "messages_in": 100, "messages_out": 900}))
    for name in ("checker", "gateway", "fleet", "supervisor"):
        model.apply(seen(name, profile=profile))
    model.apply(says("checker", leading({name: target("online") for name in names})))
    model.apply(says("gateway", {"backends": {name: {"state": "online", "connections": 20} for name in names}}))
    audit: JsonObject = {"published": 10, "delivered": 200, "lost": 0, "duplicated": 0, "inverted": 0}
    model.apply(says("fleet", {"clients": clients, "connected": clients, "reconnecting": 0, "audit": audit}))
    model.apply(says("supervisor", running(*names)))
    return model


def all_beat(model: ClusterModel, at: float, *, but: tuple[str, ...] = ()) -> None:
    """Let everybody be heard again."""
    for name, peer in model.peers.items():
        if name not in but:
            model.apply(beats(name, at, boot=peer.boot, rev=peer.rev))
    model.apply(RedisSeen(state="ok", rtt_ms=0.4, at=at))
