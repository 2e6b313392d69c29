"""The way to a node and back."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sample_cluster.core.backoff import BackoffTiming, Source
from sample_cluster.core.reconnect import (
    BACK_WITHIN_S,
    QUIET_S,
    TAKEN_OVER,
    Phase,
    Reconnect,
    Return,
    Route,
    comes_back,
)

TIMING = BackoffTiming(spread_s=5, base_s=1, factor=2, cap_s=60, jitter=0.2, stable_s=30)


def connected(now: float = 0.0) -> Reconnect:
    """Return a client that a node took for the first time at `now`."""
    way = Reconnect(TIMING, random.Random(3), now=now)
    way.started(now)
    assert way.welcomed(now) is None
    return way


def test_the_first_attempt_is_due_when_it_was_asked_for_and_its_failures_are_no_absence() -> None:
    way = Reconnect(TIMING, random.Random(3), now=10, first_delay_s=0.5)
    assert (way.phase, way.deadline, way.welcomes) == (Phase.WAITING, 10.5, 0)
    assert way.started(10.5) == 1
    assert way.deadline == math.inf
    wait = way.failed(11)
    assert wait is not None
    assert (wait.attempt, wait.source) == (2, Source.BACKOFF)
    assert way.deadline == wait.due == 11 + wait.delay_s
    assert way.away_since is None


def test_a_loss_is_followed_by_spread_then_backoff_until_a_node_takes_the_client() -> None:
    way = connected()
    wait = way.lost(100, code=1006)
    assert wait is not None
    assert (wait.attempt, wait.source) == (1, Source.SPREAD)
    assert way.away_since == 100
    assert len(way.planned) == 3
    way.started(101)
    second = way.failed(102)
    assert second is not None
    assert (second.attempt, second.source, way.attempt) == (2, Source.BACKOFF, 2)
    way.started(103)
    assert way.welcomed(104) == 4
    assert (way.phase, way.deadline) == (Phase.CONNECTED, math.inf)
    assert way.away_since is None


@pytest.mark.parametrize(("open_s", "attempt"), [(29.9, 2), (30.0, 1)])
def test_attempts_are_counted_from_one_again_only_after_a_stable_connection(open_s: float, attempt: int) -> None:
    way = connected()
    way.lost(100, code=1006)
    way.started(101)
    way.welcomed(101)
    wait = way.lost(101 + open_s, code=1006)
    assert wait is not None
    assert wait.attempt == attempt


def test_the_first_loss_is_spread_however_young_the_first_connection_was() -> None:
    wait = connected().lost(1, code=1006)
    assert wait is not None
    assert wait.source is Source.SPREAD


def test_advice_replaces_the_next_delay_only() -> None:
    way = connected()
    wait = way.lost(100, code=1013, advice_s=7)
    assert wait is not None
    assert (wait.delay_s, wait.source) == (7, Source.ADVICE)
    way.started(107)
    wait = way.failed(107, advice_s=9)
    assert wait is not None
    assert (wait.delay_s, wait.source) == (9, Source.ADVICE)
    way.started(116)
    wait = way.failed(116)
    assert wait is not None
    assert wait.source is Source.BACKOFF


def test_a_moving_client_stays_connected_until_its_slot_and_was_away_only_between() -> None:
    way = connected()
    wait = way.goaway(100, retry_s=2, spread_s=1)
    assert wait is not None
    assert (way.phase, wait.source) == (Phase.MOVING, Source.GOAWAY)
    assert 102 <= way.deadline <= 103
    assert way.goaway(101, retry_s=50, spread_s=0) is None
    assert way.deadline == wait.due
    assert way.away_since is None
    way.started(103)
    assert way.welcomed(103.25) == 0.25


def test_to_go_when_asked_is_no_failure() -> None:
    way = connected()
    for move in range(5):
        way.goaway(move, retry_s=0, spread_s=0)
        way.started(move)
        way.welcomed(move)
    wait = way.lost(6, code=1006)
    assert wait is not None
    assert wait.attempt == 1


def test_a_move_that_fails_is_a_failure_like_any_other() -> None:
    way = connected()
    way.goaway(1, retry_s=0, spread_s=0)
    way.started(1)
    wait = way.failed(2)
    assert wait is not None
    assert (wait.attempt, wait.source) == (2, Source.BACKOFF)
    way.started(3)
    way.welcomed(3)
    wait = way.lost(4, code=1006)
    assert wait is not None
    assert wait.attempt == 3


def test_a_node_that_goes_early_leaves_the_slot_standing() -> None:
    way = connected()
    slot = way.goaway(100, retry_s=10, spread_s=0)
    wait = way.lost(104, code=1012)
    assert slot is not None
    assert wait is not None
    assert (wait.due, wait.delay_s, wait.attempt, wait.source) == (slot.due, 6, slot.attempt, Source.GOAWAY)
    assert (way.phase, way.away_since) == (Phase.WAITING, 104)


@pytest.mark.parametrize(
    ("code", "back"), [(1000, True), (1006, True), (1012, True), (4499, True), (4500, False), (4999, False)]
)
def test_close_codes_say_whether_to_come_back(code: int, *, back: bool) -> None:
    assert comes_back(code) is back
    for moving in (False, True):
        way = connected()
        if moving:
            way.goaway(1, retry_s=10, spread_s=0)
        assert (way.lost(2, code=code) is not None) is back
        assert (way.phase is Phase.STOPPED) is not back


def test_a_close_code_can_end_an_attempt_for_good() -> None:
    way = Reconnect(TIMING, random.Random(3), now=0)
    way.started(0)
    assert way.failed(1, code=4503) is None
    assert (way.phase, way.deadline) == (Phase.STOPPED, math.inf)


def test_numbers_learned_from_the_node_hold_from_the_next_delay_on() -> None:
    way = connected()
    way.learn(BackoffTiming(spread_s=0, base_s=9, factor=1, cap_s=9, jitter=0, stable_s=30))
    wait = way.lost(100, code=1006)
    assert wait is not None
    assert wait.delay_s == 0
    assert way.planned == (9, 9, 9)


def handing_over(now: float = 100.0) -> Reconnect:
    """Return a client whose second connection is under way since `now`."""
    way = connected()
    slot = way.goaway(now, retry_s=0, spread_s=0, handover=True)
    assert slot is not None
    assert way.started(now) == slot.attempt
    assert (way.phase, way.away_since) == (Phase.HANDOVER, None)
    return way


def test_a_handed_over_client_was_never_away_and_that_is_no_failure() -> None:
    way = handing_over()
    assert way.deadline == math.inf
    assert way.welcomed(101) == 0.0
    assert (way.phase, way.handover) == (Phase.CONNECTED, False)
    wait = way.lost(102, code=1006)
    assert wait is not None
    assert (wait.attempt, wait.source) == (1, Source.SPREAD)


def test_a_second_connection_that_fails_is_tried_again_while_the_old_one_serves() -> None:
    way = handing_over()
    wait = way.failed(101)
    assert wait is not None
    assert (way.phase, way.handover, way.away_since) == (Phase.MOVING, True, None)
    assert (wait.attempt, wait.source) == (2, Source.BACKOFF)
    assert way.deadline == wait.due
    way.started(wait.due)
    advised = way.failed(wait.due, advice_s=7)
    assert advised is not None
    assert (advised.delay_s, advised.source, advised.attempt) == (7, Source.ADVICE, 3)
    way.started(advised.due)
    assert way.welcomed(advised.due) == 0.0
    assert way.attempt == 3


def test_the_planned_slot_stays_if_the_old_connection_goes_between_two_attempts() -> None:
    way = handing_over()
    planned = way.failed(101)
    assert planned is not None
    wait = way.lost(101.25, code=1012)
    assert wait is not None
    assert (wait.due, wait.attempt, wait.source, wait.jitter) == (planned.due, 2, Source.BACKOFF, None)
    assert (way.phase, way.handover, way.away_since) == (Phase.WAITING, False, 101.25)


@pytest.mark.parametrize("code", [1006, 1012, 4001, TAKEN_OVER])
def test_an_attempt_goes_on_alone_if_the_old_connection_goes_first(code: int) -> None:
    way = handing_over()
    assert way.lost(101, code=code) is None
    assert (way.phase, way.handover, way.away_since) == (Phase.ATTEMPTING, False, 101)
    wait = way.failed(102)
    assert wait is not None
    assert way.phase is Phase.WAITING
    way.started(103)
    assert way.welcomed(104) == 3


@pytest.mark.parametrize("code", [4501, 4503, 4504])
def test_a_code_that_says_to_stop_does_so_during_a_hand_over_too(code: int) -> None:
    old, new = handing_over(), handing_over()
    assert old.lost(101, code=code) is None
    assert new.failed(101, code=code) is None
    assert old.phase is new.phase is Phase.STOPPED


def test_somebody_else_who_takes_the_session_over_stops_the_client() -> None:
    way = connected()
    assert way.lost(100, code=TAKEN_OVER) is None
    assert way.phase is Phase.STOPPED
    moving = connected()
    moving.goaway(100, retry_s=5, spread_s=0, handover=True)
    assert moving.lost(101, code=TAKEN_OVER) is None
    assert moving.phase is Phase.STOPPED


def test_a_client_that_moves_already_is_not_asked_twice() -> None:
    way = handing_over()
    assert way.goaway(100, retry_s=0, spread_s=0) is None
    assert way.phase is Phase.HANDOVER
    way.failed(101)
    deadline = way.deadline
    assert way.goaway(101, retry_s=0, spread_s=0, handover=False) is None
    assert (way.deadline, way.handover) == (deadline, True)


def test_nodes_that_pass_a_client_round_do_not_do_so_without_a_pause() -> None:
    way = handing_over()
    way.welcomed(100)
    wait = way.goaway(100.5, retry_s=0, spread_s=0, handover=True)
    assert wait is not None
    assert wait.delay_s == TIMING.base_s
    way.started(wait.due)
    way.welcomed(wait.due)
    later = way.goaway(wait.due + TIMING.base_s, retry_s=0, spread_s=0, handover=True)
    assert later is not None
    assert later.delay_s == 0


def test_every_attempt_takes_another_address_if_there_is_one() -> None:
    assert [Route(["a"], random.Random(1)).next() for _ in range(2)] == ["a", "a"]
    for seed in range(20):
        route = Route(["a", "b", "c"], random.Random(seed))
        taken = [route.next() for _ in range(7)]
        assert all(before != after for before, after in itertools.pairwise(taken))
        assert set(taken) == {"a", "b", "c"}
    assert len({Route("abc", random.Random(seed)).next() for seed in range(20)}) == 3
    with pytest.raises(ValueError, match="at least one"):
        Route([], random.Random(1))


def test_a_client_is_back_when_every_channel_goes_on_and_the_replay_is_over() -> None:
    back = Return(now=10, away_s=2)
    assert back.due(live=False) == 10 + BACK_WITHIN_S
    assert back.due(live=True) == 10 + QUIET_S
    back.answered(10.1)
    assert back.due(live=True) == 10.1 + QUIET_S
    for at in (10.11, 10.12):
        back.replay(at)
    back.jumped(10.13)
    assert back.due(live=True) == 10.13 + QUIET_S
    assert back.away_s(10.2, live=True) == pytest.approx(2.13)
    assert back.away_s(11, live=False) == pytest.approx(3)
    assert (back.replayed, back.jumps, back.handover) == (2, 1, False)
    back.replay(10.99)
    assert back.due(live=True) == 10 + BACK_WITHIN_S


def test_whoever_was_handed_over_was_not_away_whatever_the_new_node_still_sends() -> None:
    back = Return(now=10, away_s=0, handover=True)
    back.replay(10.5)
    assert back.away_s(10.6, live=True) == 0


class Ways(RuleBasedStateMachine):
    """Any order of calls that fit the phase."""

    @initialize(seed=st.integers(0, 2**32), first_s=st.floats(0, 5))
    def begin(self, seed: int, first_s: float) -> None:
        """Plan the first attempt."""
        self.now = 0.0
        self.way = Reconnect(TIMING, random.Random(seed), now=0.0, first_delay_s=first_s)
        self.planned: tuple[float, ...] = ()
        self.advised = True

    def keep_plan(self) -> None:
        """Remember what is told of the future."""
        self.planned = self.way.planned

    @rule(seconds=st.floats(0, 50))
    def time_passes(self, seconds: float) -> None:
        """Let the clock run, though not past a deadline."""
        self.now = min(self.now + seconds, self.way.deadline)

    @precondition(lambda self: self.way.phase in (Phase.WAITING, Phase.MOVING))
    @rule()
    def attempt(self) -> None:
        """Do what the deadline asks for."""
        self.now = self.way.deadline
        assert self.way.started(self.now) == self.way.wait.attempt
        self.keep_plan()

    @precondition(lambda self: self.way.phase in (Phase.ATTEMPTING, Phase.HANDOVER))
    @rule(advice_s=st.none() | st.floats(0, 10))
    def fail(self, advice_s: float | None) -> None:
        """The attempt fails; without advice what was planned happens."""
        before, served = self.way.attempt, self.way.phase is Phase.HANDOVER
        wait = self.way.failed(self.now, advice_s=advice_s)
        assert wait is not None
        assert self.way.phase is (Phase.MOVING if served else Phase.WAITING)
        assert wait.attempt == before + 1
        assert wait.delay_s == (self.planned[0] if advice_s is None else advice_s)

    @precondition(lambda self: self.way.phase in (Phase.ATTEMPTING, Phase.HANDOVER))
    @rule()
    def welcome(self) -> None:
        """A node takes the client."""
        had, served = self.way.welcomes, self.way.phase is Phase.HANDOVER
        away_s = self.way.welcomed(self.now)
        assert (away_s is None) == (had == 0)
        assert away_s is None or away_s >= 0
        assert away_s == 0 or not served

    @precondition(lambda self: self.way.phase in (Phase.CONNECTED, Phase.MOVING, Phase.HANDOVER))
    @rule(code=st.sampled_from([1000, 1006, 1012, 4001, 4010]))
    def lose(self, code: int) -> None:
        """The connection goes."""
        slot, attempting = self.way.deadline, self.way.phase is Phase.HANDOVER
        wait = self.way.lost(self.now, code=code)
        if attempting:
            assert wait is None
            self.keep_plan()
            return
        assert wait is not None
        if slot < math.inf:
            assert math.isclose(wait.due, max(slot, self.now), abs_tol=1e-6)

    @precondition(lambda self: self.way.phase in (Phase.CONNECTED, Phase.MOVING, Phase.HANDOVER))
    @rule(retry_s=st.floats(0, 10), spread_s=st.floats(0, 10), handover=st.booleans())
    def go_away(self, retry_s: float, spread_s: float, *, handover: bool) -> None:
        """The node asks the client to leave."""
        before = self.way.deadline
        wait = self.way.goaway(self.now, retry_s=retry_s, spread_s=spread_s, handover=handover)
        if wait is None:
            assert self.way.deadline == before
        else:
            most_s = max(retry_s, TIMING.base_s) + spread_s
            assert self.now + retry_s - 1e-6 <= wait.due <= self.now + most_s + 1e-6

    @invariant()
    def a_deadline_exists_exactly_when_something_is_to_be_done(self) -> None:
        """And it never lies in the past, nor further away than anybody may wait."""
        if self.way.phase in (Phase.WAITING, Phase.MOVING):
            assert self.now <= self.way.deadline <= self.now + 300
        else:
            assert self.way.deadline == math.inf

    @invariant()
    def absence_is_known_exactly_while_away(self) -> None:
        """A client that never had a connection is not away."""
        away = self.way.welcomes > 0 and self.way.phase in (Phase.WAITING, Phase.ATTEMPTING)
        assert (self.way.away_since is not None) == away


TestWays = Ways.TestCase


@given(seed=st.integers(0, 2**32))
def test_the_first_wave_after_a_loss_is_spread_over_the_whole_interval(seed: int) -> None:
    dice = random.Random(seed)
    delays = []
    for _ in range(100):
        way = Reconnect(TIMING, random.Random(dice.getrandbits(64)), now=0)
        way.started(0)
        way.welcomed(0)
        wait = way.lost(1, code=1006)
        assert wait is not None
        delays.append(wait.delay_s)
    busiest = max(sum(second <= delay < second + 1 for delay in delays) for second in range(5))
    assert busiest < 50
