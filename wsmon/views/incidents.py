"""The page of incidents: a list, and the scorecard of one beside another."""

from typing import Final

from wsmon.model.cluster import ClusterModel
from wsmon.model.incidents import CLOCKS_S, DRAIN, EXIT, KILL, UNKNOWN, Incident
from wsmon.views.frame import Looking
from wsmon.views.header import removal_window
from wsmon.views.incidents_frame import Card, Goal, IncidentRow, IncidentsPicture, Stage, Verdict
from wsmon.views.text import name

ROWS_MAX: Final = 500
PARTS_MAX: Final = 12
PATIENCE_S: Final = 60.0
"""A client that is not back after this long is not coming."""
FREEZE: Final = "freeze"
BLACKHOLE: Final = "blackhole"
_STAGES: Final = (
    ("first miss", "first_miss_ms"),
    ("suspect", "suspect_ms"),
    ("removed", "removed_ms"),
    ("cut", "cut_ms"),
    ("50 % back", "back_p50_ms"),
    ("95 % back", "back_p95_ms"),
    ("all back", "back_all_ms"),
    ("leads again", "leader_ms"),
    ("online again", "online_ms"),
)
_ALWAYS: Final = 7
"""So many stages are shown even if they did not happen."""


def incidents_picture(model: ClusterModel, now: float, looking: Looking) -> IncidentsPicture:
    """Return the newest incidents, the one that is looked at (else the newest), and one to compare it with."""
    every = model.incidents.all()
    if not every:
        return IncidentsPicture()
    window_s = removal_window(model)
    first = max(0, len(every) - ROWS_MAX)
    rows = tuple(
        _row(every[index], index + 1, _goals(every[index], window_s, now))
        for index in reversed(range(first, len(every)))
    )
    places = {incident.key: index for index, incident in enumerate(every)}
    here = places.get(looking.incident or "", len(every) - 1)
    there = places.get(looking.other or "")
    chosen = there is not None and there != here
    if not chosen:
        there = _before(every, here)

    def card(index: int) -> Card:
        return _card(every[index], index + 1, window_s, now)

    return IncidentsPicture(
        rows=rows,
        hidden=first,
        card=card(here),
        other=None if there is None else card(there),
        chosen=chosen,
    )


def what_of(incident: Incident) -> str:
    """Return in few words what happened."""
    target = name(incident.target)
    return f"{target} went (unknown)" if incident.fault == UNKNOWN else f"{name(incident.fault)} {target}"


def _before(every: tuple[Incident, ...], here: int) -> int | None:
    """Return the last incident of the same kind before this one."""
    mine = every[here]
    for index in reversed(range(here)):
        if every[index].fault == mine.fault and (every[index].node is None) == (mine.node is None):
            return index
    return None


def _row(incident: Incident, number: int, goals: tuple[Goal, ...]) -> IncidentRow:
    return IncidentRow(
        key=incident.key,
        number=number,
        at=incident.started_at,
        what=what_of(incident),
        node=None if incident.node is None else name(incident.node),
        found_ms=_tenth(incident.suspect_ms if incident.removed_ms is None else incident.removed_ms),
        clients=incident.clients,
        back_p95_ms=_tenth(incident.back_p95_ms),
        lost=incident.lost,
        verdict=_verdict(incident, goals),
    )


def _card(incident: Incident, number: int, window_s: tuple[float, float] | None, now: float) -> Card:
    goals = _goals(incident, window_s, now)
    stages = (Stage(word, _tenth(getattr(incident, part))) for word, part in _STAGES)
    silenced = incident.node is not None and incident.fault in (KILL, EXIT, FREEZE, BLACKHOLE)
    return Card(
        row=_row(incident, number, goals),
        stages=tuple(stage for index, stage in enumerate(stages) if index < _ALWAYS or stage.ms is not None),
        window_ms=(window_s[0] * 1_000, window_s[1] * 1_000) if silenced and window_s is not None else None,
        lasted_ms=None if incident.ended_at is None else _tenth((incident.ended_at - incident.started_at) * 1_000),
        parts=tuple(name(part) for part in incident.parts[:PARTS_MAX]) if len(incident.parts) > 1 else (),
        moved=incident.moved,
        duplicated=incident.duplicated,
        inverted=incident.inverted,
        goals=goals,
    )


def _tenth(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)


def _verdict(incident: Incident, goals: tuple[Goal, ...]) -> Verdict:
    if any(goal.met is False for goal in goals):
        return Verdict.BAD
    away = incident.clients > 0 and incident.back_all_ms is None
    return Verdict.OPEN if incident.ended_at is None or away else Verdict.GOOD


# What was promised.


def _goals(incident: Incident, window_s: tuple[float, float] | None, now: float) -> tuple[Goal, ...]:
    goals: list[Goal] = []
    if incident.fault == UNKNOWN:
        goals.append(Goal(name="cause", wanted="known", got="unknown", met=False))
    elif incident.node is not None and window_s is not None:
        found = _detection(incident, window_s, now)
        if found is not None:
            goals.append(found)
    if incident.fault == DRAIN:
        forced = incident.forced
        goals.append(Goal(name="forced", wanted="0", got=_number(forced), met=None if forced is None else forced == 0))
    if incident.clients:
        back = incident.moved + len(incident.pauses_ms)
        late = now - incident.started_at > PATIENCE_S
        all_back = incident.back_all_ms is not None
        got = "all" if all_back else f"{min(back, incident.clients - 1)} of {incident.clients}"
        goals.append(Goal(name="back", wanted="all", got=got, met=True if all_back else False if late else None))
    for word, number in (
        ("lost", incident.lost),
        ("duplicated", incident.duplicated),
        ("inverted", incident.inverted),
    ):
        goals.append(Goal(name=word, wanted="0", got=_number(number), met=None if number is None else number == 0))
    return tuple(goals)


def _detection(incident: Incident, window_s: tuple[float, float], now: float) -> Goal | None:
    """Return whether the node was removed when it had to be.

    Of a process that is gone there is hard evidence, so that it may be removed at once. One that only is silent has to
    be left alone for as long as the first bound, and removed by the second.
    """
    least, most = window_s
    removed_s = None if incident.removed_ms is None else incident.removed_ms / 1_000
    lasted_s = (now if incident.ended_at is None else incident.ended_at) - incident.started_at
    hard = incident.fault in (KILL, EXIT)
    if not hard and incident.fault not in (FREEZE, BLACKHOLE):
        return None
    wanted = f"≤ {most:.1f} s" if hard else f"{least:.1f}–{most:.1f} s"
    if removed_s is not None:
        met = removed_s <= most + CLOCKS_S and (hard or removed_s >= least - CLOCKS_S)
        return Goal(name="removed", wanted=wanted, got=f"{removed_s:.2f} s", met=met)
    if incident.fault == BLACKHOLE:
        return None  # A link may be broken without anybody missing the node.
    if lasted_s > most + CLOCKS_S:
        return Goal(name="removed", wanted=wanted, got="not removed", met=False)
    if incident.ended_at is None or hard:
        return Goal(
            name="removed", wanted=wanted, got="not yet" if incident.ended_at is None else "not removed", met=None
        )
    words = f"not before {least:.1f} s"
    return Goal(name="removed", wanted=words, got=f"silent {lasted_s:.2f} s", met=True)


def _number(number: int | None) -> str:
    return "–" if number is None else str(number)
