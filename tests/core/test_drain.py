"""The plan by which a node empties itself."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.drain import EASY_RATE, RATE_LEAST, RATE_MOST, Drain, Pace, Phase, Survivors

NAMES = tuple(f"c{number}" for number in range(10))


def tell_all(drain: Drain, *, until: float) -> list[tuple[float, str]]:
    """Let time pass up to `until` in the drain's own steps; return who was told when."""
    told: list[tuple[float, str]] = []
    while (now := drain.deadline) < until:
        told += [(round(now, 6), name) for name in drain.due(now)]
    return told


def test_connections_are_told_one_after_the_other_within_a_second() -> None:
    drain = Drain(NAMES, now=100, deadline_s=25)
    assert drain.phase(100) is Phase.TELLING
    told = tell_all(drain, until=125)
    assert [name for _, name in told] == list(NAMES)
    assert [at for at, _ in told] == [round(100 + number / 10, 6) for number in range(10)]
    assert drain.phase(101) is Phase.WAITING
    assert drain.deadline == drain.ends == 125


def crowd(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))


def test_many_connections_take_longer_and_the_last_one_is_told_two_seconds_before_the_deadline() -> None:
    assert tell_all(Drain(crowd(500), now=0, deadline_s=25), until=25)[-1][0] == 4.99
    drain = Drain(crowd(5_000), now=0, deadline_s=25)
    assert drain.pace == Pace(rate=5_000 / 23, hurried=True)
    assert 22.9 < tell_all(drain, until=25)[-1][0] < 23


def test_the_pace_is_four_fifths_of_what_the_survivors_shake_hands_with() -> None:
    survivors = Survivors(connections={"n2": 10, "n3": None}, per_node=200)
    assert survivors.capacity == 400
    drain = Drain(crowd(960), now=0, deadline_s=25, survivors=survivors)
    assert drain.pace == Pace(rate=320)
    told = Counter(int(at) for at, _ in tell_all(drain, until=25))
    assert all(319 <= told[second] <= 321 for second in range(3))
    assert drain.told == 960


@pytest.mark.parametrize(
    ("count", "per_node", "rate"),
    [(960, None, EASY_RATE), (100_000, 1e9, RATE_MOST), (20, 0.01, RATE_LEAST), (960, 1_000, 960), (3, 1_000, 5)],
)
def test_no_measurement_is_believed_without_bounds_and_nothing_takes_less_than_a_second(
    count: int, per_node: float | None, rate: float
) -> None:
    survivors = Survivors(connections={"n2": 10, "n3": 10}, per_node=per_node)
    assert Pace.of(count, survivors, deadline_s=1_000) == Pace(rate=rate)


def test_without_survivors_there_is_no_capacity() -> None:
    assert Survivors(per_node=100).capacity is None


def test_the_deadline_is_stronger_than_the_survivors_and_than_whoever_asks() -> None:
    slow = Survivors(connections={"n2": 10}, per_node=10)
    assert Pace.of(460, slow, deadline_s=25.5, lead_s=0.5) == Pace(rate=20, hurried=True)
    assert Pace.of(460, slow, deadline_s=25.5, lead_s=0.5, rate=1) == Pace(rate=20, hurried=True)
    assert Pace.of(460, slow, deadline_s=25.5, lead_s=0.5, rate=30) == Pace(rate=30)
    assert Pace.of(1, slow, deadline_s=0).hurried


def test_a_node_that_stood_still_goes_on_at_its_pace() -> None:
    drain = Drain(crowd(100), now=0, deadline_s=25, rate=10)
    assert len(drain.due(0.95)) == 2  # A tenth of a second's worth, and the one that is due.
    assert round(drain.deadline, 6) == 1.05
    assert [name for _, name in tell_all(drain, until=25)] == list(crowd(100)[2:])


def test_a_node_that_stood_still_for_long_hurries_to_be_through_before_the_deadline() -> None:
    drain = Drain(crowd(100), now=0, deadline_s=25, rate=10)
    drain.due(21)
    told = tell_all(drain, until=25)
    assert len(told) == 95
    assert 22.9 < told[-1][0] <= 23
    late = Drain(crowd(100), now=0, deadline_s=25, rate=10)
    assert len(late.due(24)) == 100


def test_a_given_rate_is_kept_up_to_the_deadline() -> None:
    assert tell_all(Drain(NAMES, now=0, deadline_s=25, rate=2), until=25)[-1] == (4.5, "c9")
    assert tell_all(Drain(NAMES, now=0, deadline_s=2, rate=1), until=2)[-1] == (1.44, "c9")


def test_an_empty_node_is_done_at_once() -> None:
    drain = Drain((), now=0, deadline_s=25)
    assert drain.phase(0) is Phase.DONE
    assert (drain.left, drain.eta_s(0), drain.due(0)) == (0, 0.0, ())


def test_who_left_by_itself_is_not_told() -> None:
    drain = Drain(("a", "b"), now=0, deadline_s=25)
    drain.gone("b")
    drain.gone("nobody")
    assert drain.due(10) == ("a",)
    drain.gone("a")
    assert drain.phase(10) is Phase.DONE


def test_who_comes_late_is_told_at_once_and_counted() -> None:
    drain = Drain(("a",), now=0, deadline_s=25)
    assert drain.due(0) == ("a",)
    drain.joined("b")
    drain.joined("b")
    assert drain.deadline <= 0
    assert drain.phase(3) is Phase.TELLING
    assert drain.due(3) == ("b",)
    assert (drain.total, drain.left, drain.phase(3)) == (2, 2, Phase.WAITING)


def test_whoever_is_left_at_the_deadline_is_named() -> None:
    drain = Drain(("a", "b"), now=0, deadline_s=25)
    assert len(tell_all(drain, until=24)) == 2
    drain.gone("a")
    assert drain.phase(24.9) is Phase.WAITING
    assert drain.phase(25) is Phase.CLOSING
    assert drain.remaining == ("b",)


def test_the_estimate_follows_the_pace() -> None:
    drain = Drain(NAMES, now=0, deadline_s=25)
    assert drain.eta_s(0) == 1.0
    for name in NAMES[:5]:
        drain.gone(name)
    assert drain.eta_s(2) == 2.0
    assert drain.eta_s(24) == 1.0  # Never beyond the deadline.
    for name in NAMES:
        drain.gone(name)
    assert drain.eta_s(24) == 0.0


@given(count=st.integers(0, 300), deadline_s=st.floats(0.1, 60), rate=st.none() | st.floats(0.1, 1_000))
def test_everybody_is_told_once_before_the_deadline(count: int, deadline_s: float, rate: float | None) -> None:
    names = [str(number) for number in range(count)]
    drain = Drain(names, now=0, deadline_s=deadline_s, rate=rate)
    told = tell_all(drain, until=deadline_s)
    assert [name for _, name in told] + list(drain.due(deadline_s)) == names


def test_nobody_is_told_before_the_gateways_have_heard() -> None:
    drain = Drain(NAMES, now=100, deadline_s=25, lead_s=0.5)
    drain.joined("late")
    assert drain.admits(100.4)
    assert drain.due(100.4) == ()
    assert drain.deadline == 100.5
    assert not drain.admits(100.5)
    assert drain.due(100.5) == ("late", NAMES[0])
