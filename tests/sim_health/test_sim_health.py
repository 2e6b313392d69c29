"""Whole clusters on a virtual clock: no schedule breaks a law, and every law catches who breaks it."""

import sys

import pytest

from tests.sim_health.__main__ import main
from tests.sim_health.endurance import endure, starve
from tests.sim_health.mutants import CAUGHT_BY, MUTANTS, mutated
from tests.sim_health.schedule import FAULTS, play

SEEDS = range(50)
BROKE = ((917, 0), (917, 120), (2025, 120), (2412, 120), (2829, 120))
"""Seeds that broke a law once, and for how many heartbeats faults went on."""
SEEDS_FOR_A_MUTANT = 40


@pytest.mark.parametrize(("seed", "heartbeats"), [*((seed, 0) for seed in SEEDS), *BROKE])
def test_no_schedule_breaks_a_law(seed: int, heartbeats: int) -> None:
    outcome = play(seed, heartbeats=heartbeats)
    assert outcome.broken is None, "\n".join([*outcome.trace[-60:], f"seed {seed}: {outcome.broken}"])


def test_a_seed_is_a_schedule() -> None:
    assert play(3) == play(3)
    assert play(3).trace != play(4).trace


def test_schedules_have_all_faults_in_them_and_removals_of_both_kinds() -> None:
    tally = sum((play(seed).tally for seed in range(100, 112)), start=type(play(0).tally)())
    assert {fault for fault in FAULTS if not tally[fault]} <= {"step down", "hold", "freeze most"}
    assert tally["soft removals"] > 5
    assert tally["hard removals"] > 5


@pytest.mark.parametrize("name", MUTANTS)
def test_every_law_catches_who_breaks_it(name: str) -> None:
    with mutated(name):
        for seed in (CAUGHT_BY.get(name, 0), *range(SEEDS_FOR_A_MUTANT)):
            if play(seed).broken is not None:
                return
    pytest.fail(f"nobody notices that {name}")


def test_five_percent_of_lost_probes_remove_nobody() -> None:
    endured = endure(hours=0.5)
    assert (endured.removed, endured.probes) == (0, 2_700)
    assert 80 < endured.lost < 200
    assert "0 removed" in str(endured)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_five_percent_of_lost_probes_remove_nobody_in_a_day() -> None:
    endured = endure(hours=24)
    assert endured.removed == 0
    assert endured.lost > 6_000


def test_starved_checkers_remove_nobody() -> None:
    assert starve(hours=0.2).removed == 0


def test_the_command_line_plays_and_says_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sim_health", "--seeds", "1", "--heartbeats", "60", "--hours", "0.05"])
    assert main() == 0
    told = capsys.readouterr().out
    assert "1 schedules in" in told
    assert "0 broken" in told
    assert "5 % of all probes lost, 0.05 h" in told
    with mutated("one failure less is enough"):
        assert main() == 1
    assert "again: python -m tests.sim_health --first 0 --seeds 1 --heartbeats 60" in capsys.readouterr().out
