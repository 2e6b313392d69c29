from hypothesis import given
from hypothesis import strategies as st

from wsmon.model.rates import CHANGE_OVER_S, RATE_OVER_S, SAMPLES_MAX, History


def test_a_counter_that_rises_by_ten_each_quarter_second_runs_at_forty() -> None:
    history = History(RATE_OVER_S)
    for tick in range(40):
        history.note_counter(100 + tick / 4, 10 * tick)
    assert history.per_second() == 40.0


def test_a_speed_needs_two_samples() -> None:
    history = History(RATE_OVER_S)
    assert history.per_second() is None
    assert history.change() is None
    history.note_counter(1, 5)
    assert history.per_second() is None


def test_a_change_of_speed_shows_after_the_horizon() -> None:
    history = History(RATE_OVER_S)
    for tick in range(20):
        history.note_counter(tick, 100 * tick)
    for tick in range(20, 23):
        history.note_counter(tick, 1_900)
    assert history.per_second() == 0.0


def test_a_beat_at_the_same_revision_keeps_the_value() -> None:
    history = History(RATE_OVER_S)
    history.again(0)
    history.note_counter(0, 0)
    history.note_counter(1, 100)
    history.again(2)
    history.again(3)
    assert history.per_second() == 0.0
    history.again(2)
    assert history.per_second() == 0.0


def test_the_change_of_a_gauge_covers_the_horizon_and_may_be_negative() -> None:
    history = History(CHANGE_OVER_S)
    for tick in range(11):
        history.note(tick, 100 - tick)
    assert history.change() == -5


def test_the_last_of_two_values_at_one_time_counts() -> None:
    history = History(RATE_OVER_S)
    for at, value in ((0, 0), (1, 5), (1, 9)):
        history.note_counter(at, value)
    assert history.per_second() == 9.0


def test_a_clock_that_goes_back_starts_again() -> None:
    history = History(RATE_OVER_S)
    for at, value in ((10, 0), (11, 5), (3, 6)):
        history.note_counter(at, value)
    assert history.per_second() is None
    history.clear()
    assert history.change() is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e12)), max_size=300))
def test_no_sequence_of_counter_values_gives_a_negative_speed(samples: list[tuple[float, float]]) -> None:
    """Restarts of the process and jumps of its clock included."""
    history = History(RATE_OVER_S)
    for at, value in samples:
        history.note_counter(at, value)
        speed = history.per_second()
        assert speed is None or speed >= 0
        assert len(history._samples) <= SAMPLES_MAX
