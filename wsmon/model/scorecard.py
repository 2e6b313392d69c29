"""What was wanted of a failover, what it was, and the verdict.

An objective is a name and a number. What the number bounds stands in `OBJECTIVES`: one table for the parser of
scenario files, for the verdict and for the documents. A time that was never reached is not met, whatever was wanted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Final, TypeAlias

from wsmon.model.incidents import DRAIN, EXIT, KILL, Incident, Removal
from wsmon.protocol.frames import Json, JsonObject

GOING: Final = frozenset({KILL, EXIT, "freeze", "blackhole"})
"""Faults after which the node is expected to be removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run has shown, beside its incidents. None: nobody says."""

    incidents: tuple[Incident, ...] = ()
    removals: tuple[Removal, ...] = ()
    clients_lost: int = 0
    """How often a client lost its connection."""
    quarantines: int = 0
    lost: int | None = None
    duplicated: int | None = None
    inverted: int | None = None
    overdue: int | None = None
    never_acked: int | None = None
    healthy_after_s: float | None = None
    """How long after the last thing that was done everything was well again; None: it was not."""
    steps: int = 0
    steps_done: int = 0


class Bound(StrEnum):
    """How a number is compared with what is wanted."""

    MOST = "≤"
    EXACTLY = "="
    LEAST = "≥"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What an objective's number is about."""

    name: str
    bound: Bound
    help: str
    """One clause for documents."""
    read: Callable[[Evidence], float | None]
    whole: bool = False
    """Whether it counts something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is wanted."""

    name: str
    wanted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One objective and what came of it."""

    name: str
    bound: Bound
    wanted: float | bool
    got: float | bool | None
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """The result of a run."""

    scenario: str
    title: str = ""
    objectives: tuple[Judged, ...] = ()
    incidents: tuple[Incident, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether everything is as it was wanted."""
        return all(judged.passed for judged in self.objectives)


def judge(objectives: Iterable[Objective], shown: Evidence) -> tuple[Judged, ...]:
    """Return the verdicts: every objective, and what holds for all runs: all steps done, and healthy at the end."""
    verdicts = [_judge(MEASURES[objective.name], objective.wanted, shown) for objective in objectives]
    healthy = shown.healthy_after_s is not None
    return (
        *verdicts,
        Judged(
            name="steps_done",
            bound=Bound.EXACTLY,
            wanted=shown.steps,
            got=shown.steps_done,
            passed=shown.steps_done == shown.steps,
        ),
        Judged(name="healthy_at_the_end", bound=Bound.EXACTLY, wanted=True, got=healthy, passed=healthy),
    )


def _judge(measure: Measure, wanted: float, shown: Evidence) -> Judged:
    got = measure.read(shown)
    if got is not None and not measure.whole:
        got = round(got, 3)
    passed = got is not None and _within(got, measure.bound, wanted)
    return Judged(name=measure.name, bound=measure.bound, wanted=wanted, got=got, passed=passed)


def _within(got: float, bound: Bound, wanted: float) -> bool:
    match bound:
        case Bound.MOST:
            return got <= wanted
        case Bound.EXACTLY:
            return got == wanted
        case Bound.LEAST:
            return got >= wanted


# What can be measured.

Pick: TypeAlias = Callable[[Incident], bool]


def _worst(part: str, pick: Pick) -> Callable[[Evidence], float | None]:
    """Return the longest of these times over all incidents that are picked; None if one of them has none."""
    read: Callable[[Incident], float | None] = attrgetter(part)

    def of(shown: Evidence) -> float | None:
        times = [read(incident) for incident in shown.incidents if pick(incident)]
        known = [time for time in times if time is not None]
        return max(known) / 1_000 if known and len(known) == len(times) else None

    return of


def _pause(share: float) -> Callable[[Evidence], float | None]:
    """Return how long clients were without a connection; None if one is not back, or if none ever was."""

    def of(shown: Evidence) -> float | None:
        pauses = sorted(pause for incident in shown.incidents for pause in incident.pauses_ms)
        away = sum(incident.clients - incident.moved for incident in shown.incidents)
        if not pauses or away > len(pauses):
            return None
        return pauses[min(len(pauses) - 1, int(share * len(pauses)))] / 1_000

    return of


def _forced(shown: Evidence) -> float | None:
    forced = [incident.forced for incident in shown.incidents if incident.fault == DRAIN]
    known = [number for number in forced if number is not None]
    return sum(known) if known and len(known) == len(forced) else None


def _drained(shown: Evidence) -> float | None:
    drains = [incident for incident in shown.incidents if incident.fault == DRAIN]
    times = [incident.ended_at - incident.started_at for incident in drains if incident.ended_at is not None]
    return max(times) if times and len(times) == len(drains) else None


def _goes(incident: Incident) -> bool:
    return incident.node is not None and incident.fault in GOING


def _hit(incident: Incident) -> bool:
    return incident.clients > 0


def _leads(incident: Incident) -> bool:
    return incident.leader_ms is not None or incident.target.startswith("checker")


_WITHIN: Final = (
    ("first_miss_within_s", "first_miss_ms", _goes, "the first heartbeat was missed after a node went"),
    ("suspect_within_s", "suspect_ms", _goes, "a node that went was suspect"),
    ("removed_within_s", "removed_ms", _goes, "a node that went was removed"),
    ("online_within_s", "online_ms", _goes, "a node that went was online again"),
    ("cut_within_s", "cut_ms", _hit, "the last client of an incident had lost its connection"),
    ("back_p50_s", "back_p50_ms", _hit, "half of an incident's clients were connected again, or had moved"),
    ("back_p95_s", "back_p95_ms", _hit, "95 % of them were"),
    ("back_all_s", "back_all_ms", _hit, "all of them were"),
    ("leader_within_s", "leader_ms", _leads, "a checker led again"),
)
_COUNTS: Final[tuple[tuple[str, Bound, Callable[[Evidence], float | None], str], ...]] = (
    ("lost", Bound.MOST, attrgetter("lost"), "messages that a subscriber never got"),
    ("duplicated", Bound.MOST, attrgetter("duplicated"), "messages that a subscriber got twice"),
    ("inverted", Bound.MOST, attrgetter("inverted"), "messages that a subscriber got in the wrong order"),
    ("overdue", Bound.MOST, attrgetter("overdue"), "deliveries that were late for more than 10 s at the end"),
    ("never_acked", Bound.MOST, attrgetter("never_acked"), "publishes unanswered for more than 10 s at the end"),
    (
        "false_removals",
        Bound.MOST,
        lambda shown: sum(not removal.explained for removal in shown.removals),
        "removals of a node to which nothing was done",
    ),
    ("removals", Bound.EXACTLY, lambda shown: len(shown.removals), "removals of nodes"),
    ("quarantines", Bound.EXACTLY, attrgetter("quarantines"), "times that a node was put in quarantine"),
    ("clients_lost", Bound.MOST, attrgetter("clients_lost"), "connections that clients lost"),
    ("clients_lost_least", Bound.LEAST, attrgetter("clients_lost"), "the same: so many, or the run shows nothing"),
    (
        "clients_moved_least",
        Bound.LEAST,
        lambda shown: sum(incident.moved for incident in shown.incidents),
        "clients that were handed over by a drain",
    ),
    ("forced", Bound.MOST, _forced, "connections that a drain closed at its deadline"),
)
_MORE: Final[tuple[tuple[str, Callable[[Evidence], float | None], str], ...]] = (
    ("pause_p50_s", _pause(0.5), "half of the clients were without a connection no longer than this"),
    ("pause_p95_s", _pause(0.95), "95 % of them"),
    ("pause_max_s", _pause(1.0), "all of them"),
    ("drain_within_s", _drained, "the longest drain took"),
    ("healthy_within_s", attrgetter("healthy_after_s"), "everything was well again after the last thing that was done"),
)
OBJECTIVES: Final = (
    *(Measure(name=name, bound=Bound.MOST, help=words, read=_worst(part, pick)) for name, part, pick, words in _WITHIN),
    *(Measure(name=name, bound=Bound.MOST, help=words, read=read) for name, read, words in _MORE),
    *(Measure(name=name, bound=bound, help=words, read=read, whole=True) for name, bound, read, words in _COUNTS),
)
MEASURES: Final[Mapping[str, Measure]] = {measure.name: measure for measure in OBJECTIVES}


# For machines.


def scorecard_object(card: Scorecard) -> JsonObject:
    """Return the card as `wsmon run --json` prints it. What is not known is null."""
    return {
        "scenario": card.scenario,
        "passed": card.passed,
        "objectives": [
            {"name": judged.name, "wanted": judged.wanted, "got": judged.got, "passed": judged.passed}
            for judged in card.objectives
        ],
        "incidents": [_incident(incident) for incident in card.incidents],
    }


TIMES: Final = ("first_miss_ms", "suspect_ms", "removed_ms", "cut_ms", "back_p50_ms", "back_p95_ms", "back_all_ms")


def _incident(incident: Incident) -> Json:
    times = ((name, getattr(incident, name)) for name in TIMES)
    return {
        "fault": incident.fault,
        "target": incident.target,
        "started_at": round(incident.started_at, 3),
        **{name: None if value is None else round(value, 1) for name, value in times},
        "lost": incident.lost,
        "duplicated": incident.duplicated,
    }
