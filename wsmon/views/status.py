"""One look at the cluster, for machines and for people, and the exit status that goes with it."""

from wsmon.model.cluster import ClusterModel
from wsmon.protocol.frames import JsonObject
from wsmon.views.build import build_frame
from wsmon.views.frame import Audit, Frame, Health, NodeRow, Resumes
from wsmon.views.text import span

AUDITED = (
    "published",
    "delivered",
    "lost",
    "duplicated",
    "inverted",
    "never_acked",
    "refused",
    "overdue",
    "rewound",
    "resyncs",
    "replayed",
    "silent_s",
)
RESUMED = ("ring", "log", "resync", "stale", "p50_ms", "p99_ms")
EXIT_STATUS = {Health.HEALTHY: 0, Health.DEGRADED: 1, Health.UNREACHABLE: 3}


def status(model: ClusterModel, now: float) -> JsonObject:
    """Return the fields of `wsmon status --json` at `now`."""
    return frame_status(build_frame(model, now))


def frame_status(frame: Frame) -> JsonObject:
    """Return the fields of `wsmon status --json`. Numbers that are not known are null."""
    head = frame.header
    audit = head.audit
    return {
        "cluster": head.cluster,
        "at": head.at,
        "health": str(plain_health(frame)),
        "problems": list(head.problems),
        "nodes": [_node(row) for row in frame.nodes],
        "clients": {"connected": head.clients_connected, "reconnecting": head.clients_reconnecting},
        "audit": {item: None if audit is None else getattr(audit, item) for item in AUDITED},
        "resumes": {item: getattr(frame.timeline.resumes, item) for item in RESUMED},
        "services": [
            {"id": row.id, "kind": row.kind, "state": row.state, "good": row.good, "restarts": row.restarts}
            for row in frame.services
        ],
        "events_lost": frame.events_lost,
    }


def plain_health(frame: Frame) -> Health:
    """Return healthy, degraded or unreachable: to a machine, a cluster that is starting is not healthy yet."""
    if frame.header.health is not Health.STARTING:
        return frame.header.health
    return Health.DEGRADED if frame.nodes or frame.services else Health.UNREACHABLE


def exit_status(health: str) -> int:
    """Return 0 for healthy, 1 for degraded, 3 for unreachable."""
    return EXIT_STATUS.get(Health(health), 1)


def status_lines(frame: Frame) -> tuple[str, ...]:
    """Return one look as lines for people."""
    head = frame.header
    lines = [f"{head.cluster} is {plain_health(frame)}: {head.nodes_online} of {head.nodes_total} nodes online"]
    lines += [f"  ! {problem}" for problem in head.problems]
    wide = max((len(row.id) for row in frame.nodes), default=0)
    for row in frame.nodes:
        held = "" if row.connections is None else f"{row.connections} connections"
        since = "" if row.since_s is None else span(row.since_s)
        # What the state's word and its age say already is not said twice.
        why = row.why if row.reason or ";" in row.why or row.detail else ""
        why = "; ".join(part for part in (why, *row.troubles) if part)
        lines.append(f"  {row.id:<{wide}}  {row.state:<11}  {since:>8}  {held:<17}  {why}".rstrip())
    services = ", ".join(f"{row.id} {row.state}{f' ({row.detail})' if row.detail else ''}" for row in frame.services)
    if services:
        lines.append(f"  {services}")
    if head.clients_connected is not None:
        away = head.clients_reconnecting
        lines.append(f"  {head.clients_connected} clients connected{'' if away is None else f', {away} away'}")
    if head.audit is not None:
        old = "" if head.audit.silent_s is None else f", as of {span(head.audit.silent_s)} ago"
        lines.append(f"  {audit_text(head.audit)}{old}")
    came_back = resumes_text(frame.timeline.resumes)
    if came_back:
        lines.append(f"  {came_back}")
    return tuple(lines)


def audit_text(audit: Audit) -> str:
    """Return the audit in words."""
    lost = "unknown" if audit.lost is None else str(audit.lost)
    text = f"lost {lost} of {(audit.delivered or 0) + (audit.lost or 0)} deliveries"
    if audit.lost is None or audit.delivered is None:
        text = f"lost {lost}"
    more = [
        f"{number} {word}"
        for number, word in (
            (audit.duplicated, "duplicated"),
            (audit.inverted, "out of order"),
            (audit.never_acked, "never acknowledged"),
            (audit.overdue, "overdue"),
            (audit.resyncs, "resync" if audit.resyncs == 1 else "resyncs"),
            (audit.rewound, "rewound"),
        )
        if number
    ]
    return ", ".join([text, *more])


def resumes_text(resumes: Resumes) -> str:
    """Return in words how clients came back, empty if none did."""
    ways = ((resumes.ring, "from the ring"), (resumes.log, "from the log"), (resumes.resync, "by resync"))
    parts = [f"{number} {word}" for number, word in ways if number]
    if resumes.p50_ms is not None and resumes.p99_ms is not None:
        parts.append(f"half within {resumes.p50_ms / 1_000:.2f} s, 99 % within {resumes.p99_ms / 1_000:.2f} s")
    return f"came back: {', '.join(parts)}" if parts else ""


def _node(row: NodeRow) -> JsonObject:
    document: JsonObject = {
        "id": row.id,
        "state": str(row.state),
        "reason": row.reason or row.why,
        "since": row.since_at,
        "connections": row.connections,
        "unacked": row.unacked,
        "lagging": row.lagging,
        "retransmits": row.retransmits,
        "troubles": list(row.troubles),
    }
    if row.pid is not None:
        document["pid"] = row.pid
    return document
