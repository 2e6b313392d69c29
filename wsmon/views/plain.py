"""The picture as plain lines, for pipes, logs and terminals that can do no more."""

from datetime import UTC, datetime, tzinfo

from wsmon.model.reading import TIME_MOST
from wsmon.views.frame import EventRow, Frame
from wsmon.views.status import audit_text

PROBLEMS_SHOWN = 3


def plain_status_line(frame: Frame) -> str:
    """Return the cluster on one line. Without a time, so that lines differ only when the cluster does."""
    head = frame.header
    parts = [f"{head.health}", f"nodes {head.nodes_online}/{head.nodes_total}"]
    if head.clients_connected is not None:
        away = f" ({head.clients_reconnecting} away)" if head.clients_reconnecting else ""
        parts.append(f"clients {head.clients_connected}{away}")
    audit = head.audit
    if audit is not None and (audit.harmed or audit.lost is None or audit.resyncs or audit.rewound):
        parts.append(audit_text(audit))
    elif audit is not None:
        parts.append("lost 0")
    if frame.events_lost:
        parts.append(f"{frame.events_lost} events missed")
    line = "  ".join(parts)
    if frame.ended:
        return f"{line}  ended: {frame.ended}"
    if head.problems:
        more = len(head.problems) - PROBLEMS_SHOWN
        line += "  " + "; ".join(head.problems[:PROBLEMS_SHOWN]) + (f"; {more} more" if more > 0 else "")
    return line


def plain_event_line(row: EventRow, *, zone: tzinfo | None = None) -> str:
    """Return the event on one line: `12:34:56.789 checker  n2 suspect → removed: …`. `zone` None: local time."""
    when = datetime.fromtimestamp(min(max(0.0, row.at), TIME_MOST), tz=UTC).astimezone(zone)
    return f"{when:%H:%M:%S}.{when.microsecond // 1_000:03} {row.source:<10} {row.text}"
