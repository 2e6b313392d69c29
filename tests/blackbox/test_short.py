"""The short black-box run of the ordinary tests: one node is killed and another drained, under load."""

import asyncio
from pathlib import Path

import pytest

from tests.blackbox.rig import Load
from tests.blackbox.scenarios import SHORT, play

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(60)
def test_nothing_is_lost_when_a_node_is_killed_and_another_drained(tmp_path: Path) -> None:
    load = Load(subscribers=24, publishers=9, rate=60.0, seed=1)
    outcome = asyncio.run(play(SHORT, load, tmp_path))
    assert outcome.violations == (), outcome.verdict.examples
    assert outcome.verdict.losses >= 4
    assert outcome.verdict.delivered == outcome.verdict.sent * 8
