"""What the checker promises, kept by real processes. `python -m tests.e2e.detection` does the same more often."""

import pytest

from sample_cluster.config import PROFILES
from tests.e2e.detection import TRIES, Proof, Run, prove

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.mark.slow
@pytest.mark.parametrize("what", TRIES)
async def test_promises_are_kept_by_real_processes(what: str) -> None:
    proof = await prove(what, PROFILES["test"], runs=4, seed=7)
    assert proof.held, "\n".join(proof.rows())


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["production", "demo"])
async def test_a_killed_node_is_gone_within_a_second_whatever_the_timings(profile: str) -> None:
    proof = await prove("kill", PROFILES[profile], runs=2, seed=7)
    assert proof.held, "\n".join(proof.rows())


async def test_a_node_that_stands_still_is_removed_when_it_was_promised() -> None:
    proof = await prove("freeze", PROFILES["test"], runs=2, seed=3)
    assert proof.held, "\n".join(proof.rows())


def test_a_broken_promise_is_told_and_why() -> None:
    kept = Run(took_s=1.5, least_s=1.2, most_s=1.9)
    broken = Run(took_s=2.5, least_s=1.2, most_s=1.9, held=False, note="why")
    assert not Proof("stopped", "test").held
    assert Proof("stopped", "test", [kept]).held
    proof = Proof("stopped", "test", [kept, broken])
    assert not proof.held
    line, _, told = proof.rows()
    assert "1 of 2" in line
    assert "took_s=2.5" in told
    assert "note='why'" in told
