"""What one client may ask of a node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.rate_limit import BURST_S, PATIENCE_S, Bucket, Permit, RateLimiter, RateLimits

WAITS = st.lists(st.floats(0, 3), max_size=60)


def test_a_bucket_is_full_at_first_and_grows_back_up_to_its_brim() -> None:
    bucket = Bucket(rate=2.0, most=3.0, now=100.0)
    assert [bucket.take(1, 100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s() == 0.0
    assert [bucket.take(1, 100.5) for _ in range(2)] == [True, False]
    assert [bucket.take(1, 1_000.0) for _ in range(4)] == [True, True, True, False]


def test_a_large_request_overdraws_and_is_paid_for_by_waiting() -> None:
    bucket = Bucket(rate=10.0, most=20.0, now=0.0)
    assert bucket.take(120, 0.0)
    assert bucket.wait_s() == 10.0
    assert not bucket.take(1, 10.0)
    assert bucket.wait_s() == 0.0
    assert bucket.take(1, 10.1)


def test_a_bucket_that_has_something_calls_for_no_wait() -> None:
    assert Bucket(rate=10.0, most=20.0, now=0.0).wait_s() == 0.0


@given(rate=st.floats(0.5, 100), most=st.floats(1, 200), waits=WAITS, amount=st.floats(0.1, 50))
def test_a_bucket_never_grants_more_than_its_rate_and_one_burst(
    rate: float, most: float, waits: list[float], amount: float
) -> None:
    bucket, now, granted = Bucket(rate=rate, most=most, now=0.0), 0.0, 0.0
    for wait in waits:
        now += wait
        while bucket.take(amount, now):
            granted += amount
            # The last one may have overdrawn, by less than itself.
            assert granted < (rate * now + most + amount) * (1 + 1e-9)
        due = bucket.wait_s()
        assert due * rate < amount * (1 + 1e-9)
        now += due + 1e-6
        assert bucket.take(amount, now), "who waits as long as it was told is served"
        granted += amount


def limiter(**limits: float) -> RateLimiter:
    return RateLimiter(RateLimits(**limits), now=0.0)  # type: ignore[arg-type]  # Whole numbers are floats, too.


def test_two_seconds_worth_of_publishes_is_taken_at_once() -> None:
    one = limiter(publishes_per_s=10)
    assert [one.publish(0.0) for _ in range(21)] == [Permit.GRANTED] * 20 + [Permit.LATER]
    assert one.wait_s == 0.05, "nobody is told to come back at once"
    assert [one.publish(1.0) for _ in range(11)] == [Permit.GRANTED] * 10 + [Permit.LATER]


def test_bytes_have_a_limit_of_their_own() -> None:
    one = limiter(bytes_per_s=100)
    assert one.received(700, 0.0) is Permit.GRANTED
    assert one.wait_s == 5.0
    assert one.received(1, 4.9) is Permit.LATER
    assert one.publish(4.9) is Permit.GRANTED
    assert one.received(1, 5.1) is Permit.GRANTED


def test_the_longer_wait_counts() -> None:
    one = limiter(publishes_per_s=0.5, bytes_per_s=100)
    assert [one.publish(0.0) for _ in range(2)] == [Permit.GRANTED, Permit.LATER]
    one.received(300, 0.0)
    assert one.wait_s == 1.0


def test_who_goes_on_regardless_uses_up_the_patience() -> None:
    one = limiter(publishes_per_s=10, refusals_max=5)
    for _ in range(20):
        assert one.publish(0.0) is Permit.GRANTED
    assert [one.publish(0.0) for _ in range(6)] == [Permit.LATER] * 5 + [Permit.ABUSE]


def test_publishes_and_bytes_try_the_same_patience() -> None:
    one = limiter(publishes_per_s=0.5, bytes_per_s=1, refusals_max=4)
    assert one.publish(0.0) is Permit.GRANTED
    assert one.received(10, 0.0) is Permit.GRANTED
    told = [one.publish(0.0), one.received(1, 0.0), one.publish(0.0), one.received(1, 0.0), one.publish(0.0)]
    assert told == [Permit.LATER] * 4 + [Permit.ABUSE]


def test_patience_grows_back_in_a_minute() -> None:
    one = limiter(bytes_per_s=0.001, refusals_max=6)
    one.received(1_000, 0.0)
    assert [one.received(1, 0.0) for _ in range(7)] == [Permit.LATER] * 6 + [Permit.ABUSE]
    assert [one.received(1, 10.1) for _ in range(2)] == [Permit.LATER] * 2, "a sixth of it, and what that overdraws"
    assert one.received(1, 10.1) is Permit.ABUSE
    again = 10.1 + 2 * PATIENCE_S
    assert [one.received(1, again) for _ in range(7)] == [Permit.LATER] * 6 + [Permit.ABUSE]


@given(waits=st.lists(st.floats(0, 1), min_size=1, max_size=50), rate=st.floats(1, 20))
def test_who_heeds_the_advice_is_served_for_good(waits: list[float], rate: float) -> None:
    one, now = limiter(publishes_per_s=rate, refusals_max=2), 0.0
    granted = 0
    for wait in waits:
        now += wait
        while one.publish(now) is Permit.GRANTED:
            granted += 1
        assert granted < rate * (now + BURST_S) + 1 + 1e-6
        now += one.wait_s + PATIENCE_S / 2
        assert one.publish(now) is Permit.GRANTED
        granted += 1


@pytest.mark.parametrize("limits", [RateLimits()])
def test_the_limits_of_a_node_let_a_thousand_publishes_a_second_through(limits: RateLimits) -> None:
    one, now = RateLimiter(limits, now=0.0), 0.0
    for _ in range(5_000):
        now += 0.001
        assert one.publish(now) is Permit.GRANTED
        assert one.received(200, now) is Permit.GRANTED
