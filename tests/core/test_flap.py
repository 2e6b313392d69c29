"""When a node that goes down again and again is kept out, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.flap import CEILING, LONGEST_HALF_LIVES, PENALTY, REUSE, SUPPRESS, Flap


def account(*removed_at: float, half_life_s: float = 120.0) -> Flap:
    made = Flap(half_life_s=half_life_s, now=0.0)
    for now in removed_at:
        made.removed(now)
    return made


def test_an_account_begins_empty_and_keeps_nobody_out() -> None:
    assert account().penalty(99.0) == 0
    assert not account().suppressed(0.0)
    assert account().reuse_in_s(0.0) == 0


def test_a_removal_costs_and_half_of_it_is_forgiven_in_a_half_life() -> None:
    assert account(0.0).penalty(0.0) == PENALTY
    assert account(0.0).penalty(120.0) == PENALTY / 2
    assert account(0.0).penalty(240.0) == PENALTY / 4


def test_two_removals_never_keep_a_node_out_unless_they_are_one_moment() -> None:
    assert account(0.0, 0.0).suppressed(0.0)
    assert not account(0.0, 0.1).suppressed(0.1)


def test_the_third_removal_in_a_minute_keeps_a_node_out_until_the_account_is_low() -> None:
    kept = account(0.0, 30.0, 60.0)
    penalty = PENALTY * (2**-0.5 + 2**-0.25 + 1)
    assert kept.penalty(60.0) == pytest.approx(penalty)
    assert penalty >= SUPPRESS
    wait_s = kept.reuse_in_s(60.0)
    assert wait_s == pytest.approx(kept.reuse_at() - 60.0)
    assert kept.suppressed(60.0 + wait_s - 0.01)
    assert not kept.suppressed(60.0 + wait_s)
    assert kept.penalty(60.0 + wait_s) == pytest.approx(REUSE)
    assert kept.reuse_in_s(60.0 + wait_s) == 0


def test_between_the_two_marks_a_node_stays_where_it_is() -> None:
    in_between = (SUPPRESS + REUSE) / 2
    free, kept = account(), account(0.0, 0.0)
    free.inherit(in_between, at=0.0)
    assert not free.suppressed(0.0)
    assert kept.suppressed(50.0)
    assert REUSE < kept.penalty(50.0) < SUPPRESS


def test_a_node_that_was_let_in_again_is_not_kept_out_by_its_next_removal_alone() -> None:
    flap = account(0.0, 0.0)
    flap.removed(125.0)  # The account is below the lower mark, and one removal does not bring it to the upper.
    assert flap.penalty(125.0) < SUPPRESS
    assert not flap.suppressed(125.0)


def test_nobody_waits_for_longer_than_the_ceiling_allows() -> None:
    flap = account(*[float(second) for second in range(100)])
    assert flap.penalty(99.0) == CEILING
    assert flap.reuse_in_s(99.0) == pytest.approx(LONGEST_HALF_LIVES * 120.0)


def test_an_inherited_account_counts_if_it_is_higher() -> None:
    flap = account(100.0)
    flap.inherit(PENALTY * 2, at=100.0)
    assert flap.penalty(100.0) == PENALTY * 2
    flap.inherit(PENALTY / 2, at=100.0)
    assert flap.penalty(100.0) == PENALTY * 2


def test_an_account_from_a_moment_to_come_is_not_worth_more_than_it_says() -> None:
    flap = account()
    flap.inherit(PENALTY, at=50.0)
    assert flap.penalty(10.0) == PENALTY


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.floats(1, 1_000))
def test_the_wait_is_what_the_formula_says(gaps_s: list[float], half_life_s: float) -> None:
    flap, now = Flap(half_life_s=half_life_s, now=0.0), 0.0
    for gap_s in gaps_s:
        now += gap_s
        flap.removed(now)
    assert 0 < flap.penalty(now) <= CEILING
    wait_s = flap.reuse_in_s(now)
    if flap.suppressed(now):
        assert flap.penalty(now + wait_s) == pytest.approx(REUSE)
        assert not flap.suppressed(now + wait_s + 1e-6)
    else:
        assert wait_s == 0
