"""Waiting for a moment of the clock that others wait for too."""

from hypothesis import given
from hypothesis import strategies as st

from wsmon.protocol.beat import until_beat

EPSILON = 1e-6


@given(st.floats(0.0, 2_000_000_000.0), st.sampled_from([0.5, 1.0, 2.0, 10.0]), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_the_wait_ends_at_a_multiple_and_is_neither_short_nor_longer_than_needed(
    now: float, every_s: float, least: float
) -> None:
    wait_s = until_beat(now, every_s, least=least)
    past = (now + wait_s) % every_s
    assert min(past, every_s - past) < EPSILON
    assert least * every_s <= wait_s + EPSILON
    assert 0 < wait_s < (1 + least) * every_s + EPSILON


def test_a_moment_that_is_too_near_is_left_out() -> None:
    assert until_beat(10.25, 1.0) == 0.75
    assert until_beat(10.75, 1.0) == 1.25
    assert until_beat(10.75, 1.0, least=0.0) == 0.25
    assert until_beat(11.0, 1.0, least=0.9) == 1.0
