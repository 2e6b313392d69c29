"""Pauses, and which of them end a life."""

from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.pause import Pause, Standstill

TTL_S = 10.0
LEAST_S = 1.0


def standstill() -> Standstill:
    return Standstill(least_s=LEAST_S, ttl_s=TTL_S, now=100.0)


def test_a_loop_that_looks_often_stood_never_still() -> None:
    watch = standstill()
    for turn in range(200):
        assert watch.look(100.0 + turn / 4, renewed_at=100.0, waits_s=0.25) is None  # The lease ran out long ago.


def test_a_wait_that_takes_as_long_as_announced_is_no_pause() -> None:
    watch = standstill()
    assert watch.look(100.0, renewed_at=100.0, waits_s=30.0) is None
    assert watch.look(130.9, renewed_at=100.0) is None


def test_a_loop_that_is_busy_for_half_a_second_is_not_paused_even_if_its_lease_runs_out_then() -> None:
    watch = Standstill(least_s=LEAST_S, ttl_s=TTL_S, now=109.8)
    assert watch.look(110.3, renewed_at=100.0) is None


def test_a_pause_in_a_wait_ends_the_life_if_the_lease_ran_out_in_it() -> None:
    watch = standstill()
    watch.look(100.0, renewed_at=99.0, waits_s=0.25)
    assert watch.look(109.0, renewed_at=99.0) == Pause(9.0, ran_out=True)


def test_a_pause_between_two_waits_is_seen_before_the_next() -> None:
    watch = standstill()
    watch.look(100.0, renewed_at=99.0, waits_s=0.25)
    watch.look(100.1, renewed_at=99.0)
    assert watch.look(109.1, renewed_at=99.0, waits_s=0.25) == Pause(9.0, ran_out=True)


def test_a_pause_that_the_lease_outlasts_is_told_and_ends_nothing() -> None:
    watch = standstill()
    assert watch.look(108.5, renewed_at=99.0) == Pause(8.5, ran_out=False)


def test_a_pause_is_told_once() -> None:
    watch = standstill()
    assert watch.look(120.0, renewed_at=99.0) == Pause(20.0, ran_out=True)
    assert watch.look(120.1, renewed_at=99.0) is None


def test_whoever_holds_no_lease_yet_has_none_to_lose() -> None:
    assert standstill().look(200.0, renewed_at=None) == Pause(100.0, ran_out=False)


def test_a_short_pause_while_redis_is_away_is_not_why_the_lease_ran_out() -> None:
    assert standstill().look(103.0, renewed_at=50.0) == Pause(3.0, ran_out=False)


def test_a_pause_as_long_as_a_lease_ends_the_life_whatever_was_before() -> None:
    assert standstill().look(110.0, renewed_at=50.0) == Pause(10.0, ran_out=True)


@given(
    waits_s=st.floats(0, 0.25),
    stopped_after_s=st.floats(0, 0.25),
    pause_s=st.floats(TTL_S, 1e6),
    age_s=st.floats(0, 1e6),
)
def test_a_pause_as_long_as_the_lease_is_never_missed(
    waits_s: float, stopped_after_s: float, pause_s: float, age_s: float
) -> None:
    watch = standstill()
    watch.look(100.0, renewed_at=100.0 - age_s, waits_s=waits_s)
    found = watch.look(100.0 + min(stopped_after_s, waits_s) + pause_s, renewed_at=100.0 - age_s)
    assert found is not None
    assert found.ran_out


@given(gaps=st.lists(st.tuples(st.floats(0, 0.25), st.floats(0, LEAST_S * 0.999)), max_size=50), age_s=st.floats(0, 99))
def test_nothing_below_the_threshold_ends_a_life(gaps: list[tuple[float, float]], age_s: float) -> None:
    watch, now = standstill(), 100.0
    for waits_s, late_s in gaps:
        assert watch.look(now, renewed_at=100.0 - age_s, waits_s=waits_s) is None
        now += waits_s + late_s
