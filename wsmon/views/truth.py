"""Truth above verdict: what was done to each node, and what its checker made of it."""

from collections.abc import Iterable, Sequence
from typing import Final

from wsmon.model.cluster import ClusterModel, node_state
from wsmon.model.incidents import EXIT, KILL, Incident
from wsmon.model.truth import Stretch
from wsmon.protocol.states import NodeState
from wsmon.views.frame import NodeRow
from wsmon.views.header import removal_window
from wsmon.views.incidents import BLACKHOLE, FREEZE
from wsmon.views.text import name, span
from wsmon.views.truth_frame import Deed, Said, TruthLane, TruthLanes

LANES_MAX: Final = 8
STRETCHES_MAX: Final = 24
PAST_S: Final = 160.0
"""What was over before is not drawn."""


def truth_lanes(
    model: ClusterModel, now: float, nodes: Sequence[NodeRow], *, selected: str | None = None
) -> TruthLanes:
    """Return the lanes of the nodes that have something to tell: the selected one first, then those in trouble."""
    window_s = removal_window(model)
    names = [row.id for row in nodes]
    told: list[tuple[tuple[bool, bool, float], TruthLane]] = []
    latest: dict[str, Incident] = {}
    for incident in model.incidents.all():
        if incident.node is not None:
            latest[incident.node] = incident
    for node in model.listed():
        shown = name(node)
        deeds = [deed for deed in model.truth.done_to(node, model.nodes) if _recent(deed, now)]
        said = [stretch for stretch in model.truth.said_of(node) if _recent(stretch, now)]
        if not deeds and (not said or all(stretch.what == NodeState.ONLINE for stretch in said)):
            continue
        row = next((row for row in nodes if row.id == shown), None)
        well = row is None or row.state is NodeState.ONLINE
        began = max((deed.since for deed in deeds), default=0.0)
        lane = _lane(shown, deeds, said, incident=latest.get(node), window_s=window_s, now=now)
        told.append(((shown != selected, well, -began), lane))
    told.sort(key=lambda pair: (pair[0], names.index(pair[1].node) if pair[1].node in names else len(names)))
    lanes = tuple(lane for _, lane in told[:LANES_MAX])
    return TruthLanes(now_at=now, lanes=lanes, hidden=len(told) - len(lanes))


def _recent(stretch: Stretch, now: float) -> bool:
    return stretch.since <= now and (stretch.until is None or now - stretch.until < PAST_S)


def _lane(
    node: str,
    deeds: Sequence[Stretch],
    said: Sequence[Stretch],
    *,
    incident: Incident | None,
    window_s: tuple[float, float] | None,
    now: float,
) -> TruthLane:
    newest = deeds[-1] if deeds else None
    mine = (
        incident
        if incident is not None and newest is not None and abs(incident.started_at - newest.since) < 1
        else None
    )
    return TruthLane(
        node=node,
        deeds=tuple(_deed(deed, window_s) for deed in deeds[-STRETCHES_MAX:]),
        said=tuple(_said(said[-STRETCHES_MAX:])),
        found_ms=None if mine is None or mine.removed_ms is None else round(mine.removed_ms, 1),
        summary="" if newest is None else _summary(newest, now),
        finding=_finding(mine, newest, window_s),
    )


def _deed(deed: Stretch, window_s: tuple[float, float] | None) -> Deed:
    silent = deed.what in (KILL, EXIT, FREEZE, BLACKHOLE)
    window_at = (deed.since + window_s[0], deed.since + window_s[1]) if silent and window_s is not None else None
    return Deed(what=name(deed.what), since_at=deed.since, until_at=deed.until, window_at=window_at)


def _said(stretches: Iterable[Stretch]) -> Iterable[Said]:
    for stretch in stretches:
        state = node_state(stretch.what)
        if state is not None:
            yield Said(state=state, since_at=stretch.since, until_at=stretch.until)


def _summary(deed: Stretch, now: float) -> str:
    """Return what was done, and how long it lasts or lasted."""
    if deed.until is None:
        return f"{name(deed.what)} on, {span(now - deed.since)}"
    return f"{name(deed.what)}, {span(deed.until - deed.since)}"


def _finding(incident: Incident | None, deed: Stretch | None, window_s: tuple[float, float] | None) -> str:
    """Return how soon it was found, or by when it has to be."""
    if incident is not None and incident.removed_ms is not None:
        return f"removed {incident.removed_ms / 1_000:.2f} s"
    if incident is not None and incident.suspect_ms is not None:
        return f"suspect {incident.suspect_ms / 1_000:.2f} s"
    if deed is not None and deed.until is None and deed.what in (KILL, EXIT, FREEZE) and window_s is not None:
        return f"due at {window_s[0]:.1f}–{window_s[1]:.1f} s"
    return ""
