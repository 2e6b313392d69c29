"""How much a checker doubts itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.doubt import SCORE_MAX, Doubt, Sign, Tilted


def doubt() -> Doubt:
    return Doubt(interval_s=5.0, late_s=0.25, gap_s=2.0, freeze_s=10.0, now=0.0)


def ticks(self: Doubt, begin: float, end: float) -> None:
    now = begin
    while now < end:
        self.tick(now, late_s=0.0)
        now += 0.25
    self.tick(end, late_s=0.0)


def test_a_checker_that_sees_nothing_amiss_does_not_doubt_itself() -> None:
    calm = doubt()
    ticks(calm, 0.0, 60.0)
    calm.canary(60.0, answered=True)
    calm.failing(1, 3, 60.0)
    assert calm.score == 0
    assert calm.signs(60.0) == ()
    assert not calm.tilted(60.0)


@pytest.mark.parametrize("sign", Sign)
def test_every_sign_raises_the_score_and_two_intervals_without_it_lower_it(sign: Sign) -> None:
    shaken = doubt()
    shaken.tick(0.0, late_s=0.25 if sign is Sign.LATE else 0.0)
    shaken.canary(0.0, answered=sign is not Sign.CANARY)
    shaken.failing(2 if sign is Sign.SHARE else 1, 4, 0.0)
    assert shaken.score == 1
    assert shaken.signs(0.0) == (sign,)
    ticks(shaken, 0.25, 9.75)
    assert shaken.score == 1
    ticks(shaken, 10.0, 10.0)
    assert shaken.score == 0
    assert shaken.signs(10.0) == ()


def test_different_signs_add_up_and_one_that_stays_adds_once_in_an_interval() -> None:
    shaken = doubt()
    for now in (0.0, 0.1, 4.9):
        shaken.canary(now, answered=False)
        shaken.failing(3, 3, now)
    assert shaken.score == 2
    for now in (5.0, 10.0, 15.0, 20.0):
        shaken.canary(now, answered=False)
    assert shaken.score == SCORE_MAX
    assert set(shaken.signs(20.0)) == {Sign.CANARY, Sign.SHARE}


def test_a_score_falls_by_one_in_every_two_quiet_intervals() -> None:
    shaken = doubt()
    for now in (0.0, 6.0, 12.0):  # A canary that fails late.
        shaken.canary(now, answered=False)
    assert shaken.score == 3
    ticks(shaken, 12.0, 22.0)
    assert shaken.score == 2
    ticks(shaken, 22.0, 42.0)
    assert shaken.score == 0


def test_half_of_all_nodes_says_something_of_us_and_a_single_one_does_not() -> None:
    for failing, targets, score in ((1, 1, 0), (1, 2, 0), (2, 2, 1), (2, 3, 1), (2, 4, 1), (2, 5, 0), (0, 0, 0)):
        shaken = doubt()
        shaken.failing(failing, targets, 0.0)
        assert shaken.score == score, (failing, targets)


def test_a_gap_between_two_ticks_is_tilt_for_a_while() -> None:
    stopped = doubt()
    assert stopped.tick(0.0, late_s=0.0) is None
    assert stopped.tick(2.0, late_s=0.0) is None
    assert stopped.tick(4.125, late_s=0.0) == Tilted(2.125, 14.125)
    assert stopped.tilted(14.0)
    assert stopped.tilted_until == 14.125
    assert not stopped.tilted(14.125)


def test_a_second_gap_prolongs_the_tilt() -> None:
    stopped = doubt()
    for now in (0.0, 3.0, 6.0):
        stopped.tick(now, late_s=0.0)
    assert stopped.tilted(15.9)


def test_a_machine_that_slept_is_known_by_the_clock_that_went_on() -> None:
    slept = doubt()
    slept.tick(0.0, late_s=0.0, steady=100.0)
    assert slept.tick(0.25, late_s=0.0, steady=3_700.0) == Tilted(3_600.0, 10.25)


@given(st.lists(st.tuples(st.floats(0, 4), st.sampled_from(["late", "canary", "share", "calm"])), max_size=60))
def test_the_score_has_bounds_and_calm_brings_it_to_nothing(steps: list[tuple[float, str]]) -> None:
    shaken, now = doubt(), 0.0
    for gap_s, what in steps:
        now += gap_s
        shaken.tick(now, late_s=1.0 if what == "late" else 0.0)
        shaken.canary(now, answered=what != "canary")
        shaken.failing(2 if what == "share" else 0, 3, now)
        assert 0 <= shaken.score <= SCORE_MAX
        assert bool(shaken.signs(now)) == bool(shaken.score)
    shaken.tick(now + 10.0 * SCORE_MAX, late_s=0.0)
    assert shaken.score == 0
