"""How long a client waits."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.backoff import ADVICE_MOST_S, PLANNED, Backoff, BackoffTiming, Source

TIMING = BackoffTiming(spread_s=5, base_s=1, factor=2, cap_s=60, jitter=0.2, stable_s=30)

timings = st.builds(
    BackoffTiming,
    spread_s=st.floats(0, 100),
    base_s=st.floats(0.001, 10),
    factor=st.floats(1, 100),
    cap_s=st.floats(10, 3_600),
    jitter=st.floats(0, 1),
    stable_s=st.floats(0, 100),
)


def test_the_first_delay_is_spread_and_the_others_grow_to_the_cap() -> None:
    backoff = Backoff(replace(TIMING, jitter=0), random.Random(7))
    first = backoff.next()
    assert (first.attempt, first.source, first.jitter) == (1, Source.SPREAD, None)
    assert 0 <= first.delay_s <= 5
    assert [backoff.next().delay_s for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.attempt == 9


def test_advice_replaces_one_delay_and_counts_as_an_attempt() -> None:
    backoff = Backoff(TIMING, random.Random(7))
    advised = backoff.next(advice_s=3.5)
    assert (advised.attempt, advised.delay_s, advised.source, advised.jitter) == (1, 3.5, Source.ADVICE, None)
    slot = backoff.next(advice_s=1, spread_s=2, source=Source.GOAWAY)
    assert slot.source is Source.GOAWAY
    assert 1 <= slot.delay_s <= 3
    assert backoff.next().attempt == 3


def test_no_advice_sends_a_client_away_for_good_or_into_the_past() -> None:
    backoff = Backoff(TIMING, random.Random(7))
    assert backoff.next(advice_s=1e12).delay_s == ADVICE_MOST_S
    assert backoff.next(advice_s=-5, spread_s=-5).delay_s == 0


def test_a_reset_begins_with_the_spread_again() -> None:
    backoff = Backoff(TIMING, random.Random(7))
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next().source is Source.SPREAD


@pytest.mark.parametrize(
    "wrong",
    [
        {"spread_s": -1},
        {"spread_s": 1e9},
        {"base_s": 0},
        {"base_s": 61},
        {"cap_s": 4_000},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": 1e300},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"stable_s": -1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="make no sense"):
        replace(TIMING, **wrong)


@given(timing=timings, seed=st.integers(), attempts=st.integers(1, 100))
def test_every_delay_is_within_its_bounds(timing: BackoffTiming, seed: int, attempts: int) -> None:
    backoff = Backoff(timing, random.Random(seed))
    assert 0 <= backoff.next().delay_s <= timing.spread_s
    for _ in range(attempts):
        delay = backoff.next()
        assert delay.jitter is not None
        assert (
            timing.base_s * (1 - timing.jitter) * 0.999 <= delay.delay_s <= timing.cap_s * (1 + timing.jitter) * 1.001
        )


@given(timing=timings, seed=st.integers(), attempts=st.integers(0, 10))
def test_what_is_planned_is_what_happens(timing: BackoffTiming, seed: int, attempts: int) -> None:
    backoff = Backoff(timing, random.Random(seed))
    for _ in range(attempts):
        backoff.next()
    planned = backoff.planned()
    assert planned == backoff.planned()
    assert tuple(backoff.next().delay_s for _ in range(PLANNED)) == planned


@given(seed=st.integers(), looks=st.lists(st.booleans(), max_size=20))
def test_looking_ahead_does_not_change_the_dice(seed: int, looks: list[bool]) -> None:
    watched, unwatched = Backoff(TIMING, random.Random(seed)), Backoff(TIMING, random.Random(seed))
    for look in looks:
        if look:
            watched.planned()
        assert watched.next() == unwatched.next()
