"""The restart policy."""

from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.restart import Restart, RestartTiming

TIMING = RestartTiming()


def test_the_first_death_is_answered_at_once() -> None:
    restart = Restart()
    restart.started(1.0)
    assert restart.exited(2.0) == 2.0


def test_deaths_in_a_row_wait_twice_as_long_each_up_to_the_cap() -> None:
    restart = Restart()
    delays = []
    for _ in range(8):
        restart.started(0.0)
        delays.append(restart.exited(0.0))
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_process_that_never_came_up_waits_too() -> None:
    restart = Restart()
    assert [restart.exited(0.0) for _ in range(3)] == [0.0, 0.5, 1.0]


def test_thirty_seconds_of_life_forget_earlier_deaths() -> None:
    restart = Restart()
    for _ in range(5):
        restart.started(0.0)
        restart.exited(0.0)
    restart.started(100.0)
    assert restart.exited(130.0) == 130.0
    restart.started(130.0)
    assert restart.exited(159.9) == 159.9 + 0.5


@given(lives=st.lists(st.floats(min_value=0, max_value=29), max_size=2_000))
def test_the_wait_never_shrinks_nor_passes_the_cap_while_lives_are_short(lives: list[float]) -> None:
    restart = Restart()
    now, before = 0.0, 0.0
    for life in lives:
        restart.started(now)
        delay = restart.exited(now + life) - (now + life)
        assert before - 1e-6 <= delay <= TIMING.cap_s + 1e-6
        before, now = delay, now + life + delay
