"""The circuit breaker."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.breaker import Breaker, BreakerTiming, State


def breaker() -> Breaker:
    return Breaker(BreakerTiming(open_s=5, open_most_s=60), Random(1))


def trip(made: Breaker, now: float = 0.0) -> float:
    """Open the breaker and return when it will try again."""
    for _ in range(5):
        assert made.allows(now)
        made.failed(now)
    assert made.state is State.OPEN
    return now + made.retry_in_s(now)


def test_five_failures_in_a_row_open_it() -> None:
    made = breaker()
    for _ in range(4):
        made.failed(0.0)
    made.succeeded()
    assert made.state is State.CLOSED
    until = trip(made)
    assert 4.5 <= until <= 5.5
    assert not made.allows(until - 0.01)


def test_half_of_the_last_calls_open_it_once_there_are_ten() -> None:
    made = breaker()
    for _ in range(4):
        made.failed(0.0)
        made.succeeded()
    made.succeeded()
    assert str(made.state) == "closed"
    made.failed(0.0)
    assert str(made.state) == "open"


def test_one_call_at_a_time_finds_out_whether_it_is_over() -> None:
    made = breaker()
    until = trip(made)
    assert made.allows(until)
    assert str(made.state) == "half_open"
    assert not made.allows(until)
    made.abandoned()
    assert made.allows(until)
    made.succeeded()
    assert str(made.state) == "closed"
    assert made.retry_in_s(until) == 0
    assert made.allows(until)


def test_every_trip_in_a_row_doubles_the_wait_up_to_a_minute() -> None:
    made = breaker()
    now, waits = trip(made), []
    for _ in range(6):
        assert made.allows(now)
        made.failed(now)
        waits.append(made.retry_in_s(now))
        now += waits[-1]
    assert waits == [pytest.approx(wait, rel=0.101) for wait in (10, 20, 40, 60, 60, 60)]
    assert made.allows(now)
    made.succeeded()
    assert trip(made, now) - now <= 5.5


def test_an_old_calls_failure_does_not_prolong_the_wait() -> None:
    made = breaker()
    until = trip(made)
    made.failed(until - 1)
    assert made.allows(until)


@given(st.lists(st.sampled_from(("ok", "bad", "left", "wait")), max_size=100))
def test_it_always_lets_a_call_through_in_the_end(calls: list[str]) -> None:
    made, now = breaker(), 0.0
    for call in calls:
        if call == "wait":
            now += 30
        elif made.allows(now):
            {"ok": made.succeeded, "bad": lambda: made.failed(now), "left": made.abandoned}[call]()  # noqa: B023
    assert made.retry_in_s(now) <= 66
    assert made.allows(now + 66)


def test_to_ask_whether_a_call_would_be_allowed_changes_nothing() -> None:
    made = breaker()
    assert made.would_allow(0.0)
    until = trip(made)
    assert not made.would_allow(until - 0.01)
    assert made.would_allow(until)
    assert made.retry_in_s(until - 1) == pytest.approx(1.0), "still open"
    assert made.allows(until)
    assert not made.would_allow(until)
    made.abandoned()
    assert made.would_allow(until)
