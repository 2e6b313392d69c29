"""Message continuity in a few hundred schedules; `make explore` runs as many as there is patience for."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.sim.explore import explore, hunt
from tests.sim.mutants import MUTANTS

REACHED = (
    "lags",
    "sent again",
    "resync: trimmed",
    "resync: epoch",
    "resync: fork",
    "resync: expired",
    "rewind",
    "rewritten",
    "put back",
    "was put back",
    "stale claim",
    "told to let go",
    "handed over",
    "fenced",
    "found deaf",
    "closed 4001",
    "append refused: fork",
    "append refused: order",
    "append: duplicate",
    "orphan",
)


def test_nothing_breaks_continuity() -> None:
    found, tally = explore((0, 500, None))
    assert found == []
    # Schedules in which none of this happens would prove nothing.
    assert [name for name in REACHED if tally[name] < 3] == []


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_that_is_switched_off_is_missed(mutant: str) -> None:
    assert hunt(mutant) is not None


def test_equal_seeds_make_equal_schedules_in_any_process() -> None:
    command = [sys.executable, "-m", "tests.sim.explore", "--seed", "12", "--trace"]
    traces = Counter(
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=15
        ).stdout
        for seed in ("1", "2")
    )
    assert len(traces) == 1
    assert all(trace.count(b"\n") > 100 for trace in traces)
