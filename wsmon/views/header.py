"""The status bar: one word for the cluster, and what is wrong with it, the worst first."""

from collections.abc import Iterable
from typing import Final

from wsmon.model.cluster import REDIS, ClusterModel
from wsmon.model.incidents import KILL
from wsmon.model.reading import count, span, table, text
from wsmon.model.standing import Voices, leader
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.states import NodeState, PeerKind
from wsmon.views.frame import Audit, Header, Health, NodeRow, ServiceRow
from wsmon.views.nodes import QUIET_S
from wsmon.views.text import age, ago, clean, listing, name
from wsmon.views.text import span as words_span

START_PATIENCE_S: Final = 20.0
"""An embedded cluster that is not whole after this long is degraded, not starting."""
LOSS_REMEMBERED_S: Final = 600.0
COMPLAINT_KEPT_S: Final = 10.0
"""A peer that spoke nonsense stays among the problems this long after it is back to normal."""
PROBLEMS_MAX: Final = 12
_STATES_WORST_FIRST: Final = (
    NodeState.REMOVED,
    NodeState.STALE,
    NodeState.SUSPECT,
    NodeState.QUARANTINED,
    NodeState.RECOVERING,
    NodeState.JOINING,
    NodeState.DRAINING,
    NodeState.CORDONED,
)
_WORDS: Final = {state: f"is {state}" for state in _STATES_WORST_FIRST} | {
    NodeState.REMOVED: "removed",
    NodeState.STALE: "not heard of",
    NodeState.SUSPECT: "suspect",
}


def header(
    model: ClusterModel, heard: Voices, *, nodes: tuple[NodeRow, ...], services: tuple[ServiceRow, ...]
) -> Header:
    """Return the status bar for the rows."""
    problems = _problems(model, heard, nodes, services)
    health = _health(model, heard.now, problems)
    connected, reconnecting = _clients(model, heard.now, nodes)
    listed = [row for row in nodes if row.state is not NodeState.LEFT]
    return Header(
        cluster=name(model.cluster),
        profile=_profile_name(model),
        health=health,
        notices=tuple(clean(notice) for notice in _notices(model, nodes, heard.now))
        if health is Health.HEALTHY
        else (),
        faults=sum(fault.fault != KILL and heard.now < fault.until_at for fault in model.faults.values()),
        problems=() if health is Health.STARTING else tuple(clean(problem) for problem in problems[:PROBLEMS_MAX]),
        at=heard.now,
        nodes_online=sum(row.state is NodeState.ONLINE for row in listed),
        nodes_total=len(listed),
        nodes_left=len(nodes) - len(listed),
        clients_connected=connected,
        clients_reconnecting=reconnecting,
        audit=audit(model, heard.now),
        removal_window_s=removal_window(model),
    )


def _health(model: ClusterModel, now: float, problems: list[str]) -> Health:
    if model.ended is not None:
        return Health.UNREACHABLE
    if model.began_at is None:
        return Health.STARTING
    if model.embedded and not model.started and now - model.began_at < START_PATIENCE_S:
        return Health.STARTING
    if not model.heard_anything(now):
        return Health.UNREACHABLE
    return Health.DEGRADED if problems else Health.HEALTHY


def _problems(
    model: ClusterModel, heard: Voices, nodes: tuple[NodeRow, ...], services: tuple[ServiceRow, ...]
) -> list[str]:
    """Return what keeps the cluster from being healthy, then what else is wrong."""
    now = heard.now
    if model.ended is not None:
        return [model.ended.reason]
    if model.began_at is not None and not model.heard_anything(now):
        return ["nothing is heard of the cluster"]
    # That a node is joining says less than why it cannot.
    babbling = {name(complaint.id) for complaint in model.garbage.values() if complaint.mended_at is None}
    standing = tuple(row for row in nodes if row.state is not NodeState.JOINING or row.id not in babbling)
    return [
        *_loss(model, now),
        *_redis(model, now),
        *_leading(heard),
        *_nodes(standing, now),
        *_services(services),
        *_complaints(model, now),
    ]


def _notices(model: ClusterModel, nodes: tuple[NodeRow, ...], now: float) -> Iterable[str]:
    """Return what somebody should know of a cluster whose nodes are all online, the worst first."""
    for row in nodes:
        if row.process == "frozen":
            yield f"{row.id} is frozen"
        elif row.unreached_by:
            yield f"{row.unreached_by} cannot reach {row.id}"
    frozen = {row.id for row in nodes if row.process == "frozen"}
    faults = [fault for fault in model.faults.values() if now < fault.until_at and fault.target not in frozen]
    yield from (f"fault: {name(fault.fault)} on {name(fault.target)}" for fault in faults[:PROBLEMS_MAX])


def _loss(model: ClusterModel, now: float) -> Iterable[str]:
    if model.lost_at is not None and now - model.lost_at < LOSS_REMEMBERED_S:
        counted = audit(model, now)
        number = 0 if counted is None else counted.lost or 0
        lost = {0: "messages", 1: "1 message"}.get(number, f"{number} messages")
        yield f"{lost} lost, the last {ago(age(model.lost_at, now) or 0.0)}"


def _redis(model: ClusterModel, now: float) -> Iterable[str]:
    if model.redis is None:
        yield "redis has not answered yet"
    elif model.redis.state != "ok":
        detail = clean(model.redis.detail, 80)
        yield f"redis is away for {words_span(age(model.redis_since, now) or 0.0)}{f': {detail}' if detail else ''}"


def _leading(heard: Voices) -> Iterable[str]:
    if leader(heard) is None:
        mode = None if heard.checker is None else text(heard.checker.state, "mode")
        about = "" if mode is None or heard.checker is None else f" ({name(heard.checker.id)} is {clean(mode, 16)})"
        yield f"no checker leads{about}"


def _nodes(nodes: tuple[NodeRow, ...], now: float) -> Iterable[str]:
    if not nodes:
        yield "no node is known"
    if len(nodes) > 0 and all(row.state is NodeState.LEFT for row in nodes):
        yield "every node has left"
    for state in _STATES_WORST_FIRST:
        rows = [row for row in nodes if row.state is state]
        if len(rows) > 3:
            yield f"{len(rows)} nodes {_WORDS[state].removeprefix('is ')}: {listing([row.id for row in rows])}"
            continue
        for row in rows:
            since = age(row.since_at, now)
            detail = f" {row.detail}" if row.detail else ""
            match state:
                case NodeState.REMOVED:
                    yield f"{row.id} removed{'' if since is None else f' {ago(since)}'}"
                case NodeState.STALE:
                    yield f"{row.id} is stale, nothing heard for {words_span(since or 0.0)}"
                case NodeState.DRAINING:
                    yield f"{row.id} is draining{f', {row.detail} to go' if row.detail else ''}"
                case _:
                    yield f"{row.id} is {state}{detail}"


def _services(services: tuple[ServiceRow, ...]) -> Iterable[str]:
    for row in services:
        if row.good or (row.kind == REDIS and row.state in ("away", "unknown")):
            continue
        detail = f": {row.detail}" if row.detail else ""
        again = f", restart {row.restarts}" if row.restarts else ""
        yield f"{row.id} is {row.state}{again}{detail}"


def _complaints(model: ClusterModel, now: float) -> Iterable[str]:
    for complaint in model.garbage.values():
        if complaint.mended_at is None or now - complaint.at < COMPLAINT_KEPT_S:
            yield f"{name(complaint.id)} speaks garbage on its admin socket: {clean(complaint.reason, 120)}"
    for complaint in model.bad_entries.values():
        if now - complaint.at < COMPLAINT_KEPT_S:
            yield f"what Redis holds of {name(complaint.id)} is broken: {clean(complaint.reason, 120)}"


def _clients(model: ClusterModel, now: float, nodes: tuple[NodeRow, ...]) -> tuple[int | None, int | None]:
    """Return connected and reconnecting clients: by the fleets; without one, what the nodes that are heard hold."""
    fleets = model.fleets()
    if fleets:
        heard = [fleet.state for fleet in fleets if fleet.fresh(now)]
        return _total(heard, "connected"), _total(heard, "reconnecting")
    known = [row.connections for row in nodes if row.connections is not None and row.silent_s is None]
    return (sum(known) if known else None), None


def _total(states: list[ReadOnlyJson], field: str) -> int | None:
    known = [value for value in (count(state, field) for state in states) if value is not None]
    return sum(known) if known else None


def audit(model: ClusterModel, now: float) -> Audit | None:
    """Return what all fleets counted together, None if none counts. The oldest count tells how old they are."""
    fleets = [fleet for fleet in model.fleets() if table(fleet.state, "audit")]
    if not fleets:
        return None
    counts = [table(fleet.state, "audit") for fleet in fleets]
    quiet = [quiet_s for fleet in fleets if (quiet_s := fleet.quiet_s(now)) is not None]
    late = [quiet_s for quiet_s in quiet if quiet_s > QUIET_S]
    return Audit(
        published=_total(counts, "published"),
        delivered=_total(counts, "delivered"),
        lost=_total(counts, "lost"),
        duplicated=_total(counts, "duplicated"),
        inverted=_total(counts, "inverted"),
        never_acked=_total(counts, "never_acked"),
        refused=_total(counts, "refused"),
        overdue=_total(counts, "overdue"),
        rewound=_total(counts, "rewound"),
        resyncs=_total(counts, "resyncs"),
        replayed=_total(counts, "replayed"),
        silent_s=age(now - max(late), now) if late else None,
    )


def _profiles(model: ClusterModel) -> Iterable[ReadOnlyJson]:
    for kind in (PeerKind.CHECKER, PeerKind.NODE, PeerKind.SUPERVISOR):
        for peer in model.of_kind(kind):
            if peer.hello is not None:
                yield peer.hello.profile


def _profile_name(model: ClusterModel) -> str | None:
    found = next((word for word in (text(profile, "name") for profile in _profiles(model)) if word), None)
    return None if found is None else clean(found, 16)


def removal_window(model: ClusterModel) -> tuple[float, float] | None:
    """Return after how long a silent node is removed, at the earliest and at the latest, by what the peers promise."""
    found = (span(profile, "removal_window_s") for profile in _profiles(model))
    return next((window for window in found if window is not None), None)
