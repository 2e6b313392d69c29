"""What is wanted against what it was."""

from typing import Any

import pytest

from wsmon.model.incidents import DRAIN, Incident, Removal
from wsmon.model.scorecard import MEASURES, Bound, Evidence, Objective, Scorecard, judge, scorecard_object


def incident(fault: str = "kill", node: str | None = "n1", **values: Any) -> Incident:
    target = values.pop("target", node or "redis")
    return Incident(fault=fault, target=target, parts=(target,), node=node, started_at=1.0, ended_at=2.0, **values)


def got(name: str, shown: Evidence) -> float | None:
    (judged, *_) = judge((Objective(name=name, wanted=1),), shown)
    return judged.got


@pytest.mark.parametrize(
    ("name", "wanted", "passes", "fails"),
    [
        ("lost", 2, 2, 3),
        ("duplicated", 0, 0, 1),
        ("clients_lost_least", 5, 5, 4),
        ("clients_lost", 5, 5, 6),
        ("quarantines", 1, 1, 2),
    ],
)
def test_a_number_is_bounded_from_above_from_below_or_exactly(name: str, wanted: int, passes: int, fails: int) -> None:
    part = name.removesuffix("_least")
    for value, passed in ((passes, True), (fails, False)):
        (judged, *_) = judge((Objective(name=name, wanted=wanted),), Evidence(**{part: value}))  # type: ignore[arg-type]
        assert (judged.got, judged.passed) == (value, passed)


def test_the_worst_incident_counts() -> None:
    shown = Evidence(incidents=(incident(removed_ms=500.0), incident(node="n2", removed_ms=1_500.4)))
    assert got("removed_within_s", shown) == 1.5
    assert not judge((Objective(name="removed_within_s", wanted=1.5),), Evidence(incidents=()))[0].passed


def test_a_time_that_was_never_reached_is_not_met() -> None:
    shown = Evidence(incidents=(incident(removed_ms=500.0), incident(node="n2")))
    (judged, *_) = judge((Objective(name="removed_within_s", wanted=1e9),), shown)
    assert (judged.got, judged.passed) == (None, False)


def test_only_what_silences_a_node_has_to_remove_it() -> None:
    shown = Evidence(incidents=(incident(removed_ms=500.0), incident("latency"), incident("stall", None)))
    assert got("removed_within_s", shown) == 0.5


def test_ways_back_are_those_of_incidents_that_cost_a_connection() -> None:
    shown = Evidence(incidents=(incident(clients=3, back_all_ms=800.0), incident("stall", None)))
    assert got("back_all_s", shown) == 0.8
    one_is_away = Evidence(incidents=(incident(clients=3, back_all_ms=800.0), incident(clients=1)))
    assert got("back_all_s", one_is_away) is None


def test_pauses_are_those_of_all_clients_together() -> None:
    shown = Evidence(incidents=(incident(clients=2, pauses_ms=(100.0, 400.0)), incident(clients=1, pauses_ms=(250.0,))))
    assert got("pause_p50_s", shown) == 0.25
    assert got("pause_max_s", shown) == 0.4
    not_back = Evidence(incidents=(incident(clients=3, pauses_ms=(100.0, 400.0)),))
    assert got("pause_p50_s", not_back) is None
    moved = Evidence(incidents=(incident(DRAIN, clients=3, moved=1, pauses_ms=(100.0, 400.0)),))
    assert got("pause_max_s", moved) == 0.4
    assert got("pause_max_s", Evidence()) is None


def test_a_drain_has_its_own_measures() -> None:
    shown = Evidence(incidents=(incident(DRAIN, forced=0, moved=7, clients=7), incident(DRAIN, forced=2)))
    assert got("forced", shown) == 2
    assert got("drain_within_s", shown) == 1.0
    assert got("clients_moved_least", shown) == 7
    assert got("forced", Evidence(incidents=(incident(DRAIN),))) is None


def test_a_leader_is_wanted_after_faults_of_checkers() -> None:
    shown = Evidence(incidents=(incident("kill", None, target="checker", leader_ms=2_000.0), incident("stall", None)))
    assert got("leader_within_s", shown) == 2.0
    assert got("leader_within_s", Evidence(incidents=(incident("kill", None, target="checker2"),))) is None


def test_false_removals_are_those_that_nothing_explains() -> None:
    removals = (Removal(node="n1", at=1.0, explained=True), Removal(node="n2", at=1.0, explained=False))
    shown = Evidence(removals=removals)
    assert (got("removals", shown), got("false_removals", shown)) == (2, 1)


def test_every_run_has_to_do_its_steps_and_end_well() -> None:
    steps, healthy = judge((), Evidence(steps=3, steps_done=3, healthy_after_s=1.0))
    assert (steps.passed, healthy.passed) == (True, True)
    steps, healthy = judge((), Evidence(steps=3, steps_done=2))
    assert (steps.wanted, steps.got, steps.passed) == (3, 2, False)
    assert (healthy.wanted, healthy.got, healthy.passed) == (True, False, False)


def test_every_measure_can_be_taken_of_nothing() -> None:
    for name, measure in MEASURES.items():
        (judged, *_) = judge((Objective(name=name, wanted=1),), Evidence())
        assert judged.name == name
        assert judged.bound is measure.bound
        assert measure.help
        assert not judged.passed or measure.bound is Bound.MOST


def test_a_card_for_machines_has_exactly_the_documented_fields() -> None:
    judged = judge((Objective(name="lost", wanted=0),), Evidence(lost=None, steps=1, steps_done=1, healthy_after_s=0.0))
    card = Scorecard(scenario="kill", title="x", objectives=judged, incidents=(incident(removed_ms=511.04, lost=0),))
    assert scorecard_object(card) == {
        "scenario": "kill",
        "passed": False,
        "objectives": [
            {"name": "lost", "wanted": 0, "got": None, "passed": False},
            {"name": "steps_done", "wanted": 1, "got": 1, "passed": True},
            {"name": "healthy_at_the_end", "wanted": True, "got": True, "passed": True},
        ],
        "incidents": [
            {
                "fault": "kill",
                "target": "n1",
                "started_at": 1.0,
                "first_miss_ms": None,
                "suspect_ms": None,
                "removed_ms": 511.0,
                "cut_ms": None,
                "back_p50_ms": None,
                "back_p95_ms": None,
                "back_all_ms": None,
                "lost": 0,
                "duplicated": None,
            }
        ],
    }
