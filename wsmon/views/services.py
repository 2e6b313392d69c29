"""One row for each process that is not a node: Redis, checkers, gateways, fleets, the supervisor."""

from wsmon.model.cluster import REDIS, ClusterModel, Peer
from wsmon.model.inputs import ProcessSample
from wsmon.model.reading import count, number, table, text
from wsmon.model.standing import DEAD_WORDS, Voices
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.session import SILENCE_S
from wsmon.protocol.states import CheckerMode, PeerKind
from wsmon.views.frame import ServiceRow
from wsmon.views.text import age, clean, name, natural
from wsmon.views.text import span as words_span

ORDER = (REDIS, PeerKind.CHECKER, PeerKind.GATEWAY, PeerKind.FLEET, PeerKind.SUPERVISOR, PeerKind.SERVER)
GOOD_MODES = frozenset({CheckerMode.LEADING, CheckerMode.STANDBY})


def service_rows(model: ClusterModel, heard: Voices) -> tuple[ServiceRow, ...]:
    """Return the services: Redis first, then what stands on it."""
    kinds: dict[str, str] = {}
    for entry in model.registry.values():
        kinds[entry.id] = str(entry.kind)
    supervisor = model.supervisor()
    known = {} if supervisor is None else table(supervisor.state, "processes")
    for item, process in known.items():
        if isinstance(process, dict):
            kinds[item] = text(process, "kind") or PeerKind.SERVER
    for peer in model.peers.values():
        if peer.kind is not None:
            kinds[peer.id] = str(peer.kind)
    redis = [item for item, kind in kinds.items() if kind == REDIS]
    if model.redis is not None and not redis:
        kinds[REDIS] = REDIS
    rows = [
        _redis_row(model, item, heard) if kind == REDIS else _row(model, item, kind, heard)
        for item, kind in kinds.items()
        if kind != PeerKind.NODE
    ]
    rows.sort(key=lambda row: (ORDER.index(row.kind) if row.kind in ORDER else len(ORDER), natural(row.id)))
    return tuple(rows)


def _redis_row(model: ClusterModel, item: str, heard: Voices) -> ServiceRow:
    process = table(heard.processes, item)
    status = text(process, "status") or ""
    seen = model.redis
    detail = ""
    if seen is None:
        state, good = status or "unknown", False
    elif seen.state == "ok":
        state, good = "ok", True
        detail = "" if seen.rtt_ms is None else f"{seen.rtt_ms:.1f} ms"
    else:
        state, good = "away", False
        away_s = age(model.redis_since, heard.now)
        detail = "" if away_s is None else f"for {words_span(away_s)}"
    return _with_process(model, item, REDIS, heard, state=state, good=good, detail=_ended(detail, process))


def _row(model: ClusterModel, item: str, kind: str, heard: Voices) -> ServiceRow:
    process = table(heard.processes, item)
    status = text(process, "status") or ""
    peer = model.peers.get(item)
    detail, good = "", False
    if status in DEAD_WORDS or status == "frozen":
        state = status
    elif peer is None or peer.heard_at is None:
        # Not reached so far: right after its start there is nothing wrong with that.
        state = "starting"
        if peer is not None and peer.gone_at is not None and not status:
            state, detail = "unreachable", peer.gone_reason
    elif peer.gone_at is not None:
        state, detail = "gone", peer.gone_reason
    elif not peer.fresh(heard.now):
        state, detail = "silent", f"for {words_span(age(peer.heard_at, heard.now) or 0.0)}"
    else:
        state, good, detail = _alive(peer)
    return _with_process(model, item, kind, heard, state=state, good=good, detail=_ended(detail, process))


def _alive(peer: Peer) -> tuple[str, bool, str]:
    """Return word, whether it is a good one, and detail of a peer that is heard."""
    state = peer.state
    match peer.kind:
        case PeerKind.CHECKER:
            mode = text(state, "mode") or "starting"
            epoch = count(state, "epoch")
            return mode, mode in GOOD_MODES, "" if epoch is None else f"epoch {epoch}"
        case PeerKind.GATEWAY:
            backends = table(state, "backends")
            tunnels = [count(table(backends, item), "connections") for item in backends]
            return "running", True, f"{sum(item or 0 for item in tunnels)} tunnels" if backends else ""
        case PeerKind.FLEET:
            connected, clients = count(state, "connected"), count(state, "clients")
            return "running", True, "" if None in (connected, clients) else f"{connected}/{clients} connected"
        case _:
            return "running", True, ""


def _ended(detail: str, process: ReadOnlyJson) -> str:
    ended = text(process, "exit")
    return detail if ended is None else f"{ended} {detail}".strip()


def _with_process(
    model: ClusterModel, item: str, kind: str, heard: Voices, *, state: str, good: bool, detail: str
) -> ServiceRow:
    process = table(heard.processes, item)
    peer = model.peers.get(item)
    sample: ProcessSample | None = model.samples.get(item)
    dead = text(process, "status") in DEAD_WORDS
    if sample is not None and (dead or heard.now - sample.at > SILENCE_S):
        sample = None
    own = table(peer.state, "process") if peer is not None and peer.fresh(heard.now) else {}
    cpu = sample.cpu if sample is not None else number(own, "cpu")
    pid = count(process, "pid") or (sample.pid if sample is not None else None)
    if pid is None and peer is not None and peer.hello is not None and peer.gone_at is None:
        pid = peer.hello.pid or None
    return ServiceRow(
        id=name(item),
        kind=clean(kind, 16),
        state=clean(state, 16),
        good=good,
        detail=clean(detail, 80),
        pid=None if dead else pid,
        cpu=None if cpu is None else round(cpu, 1),
        rss=sample.rss if sample is not None else count(own, "rss"),
        restarts=count(process, "restarts") or 0,
    )
