"""The reconnect timeline: lanes of the clients that are or were away, and the storm ahead."""

import statistics
from functools import lru_cache

from wsmon.model.cluster import ClusterModel
from wsmon.model.reading import number, table
from wsmon.model.timeline import Lane as ModelLane
from wsmon.model.timeline import Stretch, StretchKind, is_over, planned_ahead
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.views.frame import Lane, Resumes, Segment, SegmentKind, Timeline
from wsmon.views.text import clean, name

LANES_SHOWN = 400
PAST_KEPT = 8_192
"""More than a storm of 500 clients leaves; 2 MB."""
STORM_AHEAD_S = 30
LABEL_LONGEST = 32
_KINDS = {
    StretchKind.CONNECTED: SegmentKind.CONNECTED,
    StretchKind.LOST: SegmentKind.LOST,
    StretchKind.ATTEMPT: SegmentKind.ATTEMPT,
    StretchKind.FAILED: SegmentKind.FAILED,
    StretchKind.RESUMED: SegmentKind.RESUMED,
}


def timeline(model: ClusterModel, now: float) -> Timeline:
    """Return the lanes that have something to show at `now`, the newest loss first."""
    lanes = [lane for lane in model.lanes if not is_over(lane, now)]
    if len(lanes) > LANES_SHOWN:
        # Where not all can be shown, those away are.
        lanes.sort(key=lambda lane: (not lane.away, -lane.lost_at, lane.client))
    shown = sorted(lanes[:LANES_SHOWN], key=lambda lane: (-lane.lost_at, lane.client))
    ways = [round(lane.took_s, 3) for lane in shown if lane.back_at is not None and lane.took_s is not None]
    return Timeline(
        now_at=now,
        lanes=tuple(_lane(lane, now) for lane in shown),
        away=sum(lane.away for lane in lanes),
        back=sum(lane.back_at is not None and not lane.away for lane in lanes),
        hidden=len(lanes) - len(shown),
        planned=planned_ahead(lanes, now, seconds=STORM_AHEAD_S),
        slowest_s=max(ways, default=None),
        median_s=round(statistics.median(ways), 3) if ways else None,
        resumes=_resumes(model),
    )


def _resumes(model: ClusterModel) -> Resumes:
    """Return what all nodes counted in all their lives, and the slowest fleet's times."""
    ways: dict[str, int] = {}
    for node in model.nodes.values():
        for told in (node.resumes_before, node.resumes):
            for way, times in told.items():
                ways[way] = ways.get(way, 0) + times
    times_ms = [table(fleet.state, "resume_ms") for fleet in model.fleets()]
    return Resumes(
        ring=ways.get("ring"),
        log=ways.get("log"),
        resync=ways.get("resync"),
        stale=ways.get("stale"),
        p50_ms=_slowest(times_ms, "p50"),
        p99_ms=_slowest(times_ms, "p99"),
    )


def _slowest(told: list[ReadOnlyJson], share: str) -> float | None:
    known = [value for value in (number(times, share) for times in told) if value is not None and value >= 0]
    return round(max(known), 1) if known else None


def _lane(lane: ModelLane, now: float) -> Lane:
    node = lane.node if lane.back_at is not None else lane.origin
    return Lane(
        client=name(lane.client),
        away=lane.away,
        node=name(node) if node else None,
        attempt=lane.attempt,
        summary=_summary(lane, now),
        segments=tuple(segment for stretch in lane.stretches for segment in _segments(stretch, now)),
        lost_at=lane.lost_at,
    )


def _segments(stretch: Stretch, now: float) -> tuple[Segment, ...]:
    start_at, end_at = stretch.start_at, stretch.end_at
    if end_at is not None and (end_at <= now or stretch.kind is not StretchKind.WAIT):
        return _past(stretch.kind, start_at, end_at, stretch.label, stretch.attempt, stretch.delay_s)
    label = _label(stretch.kind, stretch.label, stretch.attempt, stretch.delay_s)
    if end_at is None:
        kind = SegmentKind.WAITED if stretch.kind is StretchKind.WAIT else _KINDS[stretch.kind]
        return (Segment(kind, start_at, max(now, start_at), label),)
    if start_at >= now:
        return (Segment(SegmentKind.PLANNED, start_at, end_at, label),)
    return Segment(SegmentKind.WAITED, start_at, now, label), Segment(SegmentKind.PLANNED, now, end_at, label)


@lru_cache(maxsize=PAST_KEPT)
def _past(  # noqa: PLR0917  # By keyword, looking it up would cost twice as much.
    kind: StretchKind, start_at: float, end_at: float, label: str, attempt: int, delay_s: float | None
) -> tuple[Segment, ...]:
    """Return what is over and will not change any more.

    That is nearly everything that a storm leaves: 0.3 µs each instead of 1.8, in up to ten frames a second.
    """
    shown = SegmentKind.WAITED if kind is StretchKind.WAIT else _KINDS[kind]
    return (Segment(shown, start_at, end_at, _label(kind, label, attempt, delay_s)),)


def _label(kind: StretchKind, label: str, attempt: int, delay_s: float | None) -> str:
    number = f"#{attempt}" if attempt else ""
    if kind is StretchKind.WAIT:
        return f"{number} {delay_s or 0.0:.2f} s".strip()
    return clean(label, LABEL_LONGEST) or number


def _summary(lane: ModelLane, now: float) -> str:
    origin = name(lane.origin) if lane.origin else "?"
    if lane.back_at is not None:
        took = "" if lane.took_s is None else f" in {lane.took_s:.2f} s"
        tries = "" if lane.tries < 2 else f", {lane.tries} tries"
        how = ", no pause" if lane.handed_over else f"{took}{tries}"
        return f"{origin} → {name(lane.node) if lane.node else '?'}{how}"
    next_at = lane.next_at
    if lane.moving:
        when = "now" if next_at is None or next_at <= now else f"in {next_at - now:.1f} s"
        return f"{origin} → moves {when}"
    away = f"{origin} → away {max(0.0, now - lane.lost_at):.1f} s"
    if next_at is not None and next_at > now:
        return f"{away}, try {lane.attempt} in {next_at - now:.1f} s"
    if lane.stretches and lane.stretches[-1].kind is StretchKind.ATTEMPT:
        return f"{away}, try {lane.attempt} now"
    return away
