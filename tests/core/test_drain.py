"""The plan by which a node empties itself."""

from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.drain import Drain, Phase

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


def test_many_connections_take_longer_but_never_more_than_half_of_the_deadline() -> None:
    names = [str(number) for number in range(5_000)]
    assert tell_all(Drain(names[:500], now=0, deadline_s=25), until=25)[-1][0] == 4.99
    assert tell_all(Drain(names, now=0, deadline_s=25), until=25)[-1][0] < 12.5


def test_a_given_rate_is_kept_up_to_the_deadline() -> None:
    assert tell_all(Drain(NAMES, now=0, deadline_s=25, rate=2), until=25)[-1] == (4.5, "c9")
    assert tell_all(Drain(NAMES, now=0, deadline_s=2, rate=1), until=2)[-1] == (1.8, "c9")


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
    drain.due(20)
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
