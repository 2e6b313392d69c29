"""What is in flight to one session, and the patience with those who acknowledge nothing."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sample_cluster.core.send_window import BYTES_MAX, MESSAGES_MAX, AckTiming, Overdue, SendWindow, Track


def window_with(
    count: int, *, at: int = 0, messages_max: int = MESSAGES_MAX, bytes_max: int = BYTES_MAX
) -> tuple[SendWindow, Track]:
    """Return a window and its only track, with messages `at` + 1 to `at` + `count` of 10 bytes sent at 0.0."""
    window, track = SendWindow(messages_max=messages_max, bytes_max=bytes_max), Track(at)
    for _ in range(count):
        window.sent(track, 10, 0.0)
    return window, track


def test_an_empty_window_waits_for_nothing() -> None:
    window = SendWindow()
    assert (window.full, window.room, window.deadline) == (False, MESSAGES_MAX, math.inf)
    assert window.tick(1e9) is None


def test_an_acknowledgement_gives_back_everything_up_to_it() -> None:
    window, track = window_with(5, at=7)
    assert window.acked(track, 10, 1.0)
    assert (track.acked, window.in_flight, window.in_flight_bytes) == (10, 2, 20)
    assert window.acked(track, 12, 1.0)
    assert (track.acked, window.in_flight, window.in_flight_bytes) == (12, 0, 0)
    assert window.deadline == math.inf


@pytest.mark.parametrize("seq", [-1, 0, 3, 7])
def test_an_old_acknowledgement_changes_nothing(seq: int) -> None:
    window, track = window_with(5, at=7)
    assert not window.acked(track, seq, 3.0)
    assert (track.acked, window.in_flight, window.deadline) == (7, 5, 5.0)


def test_an_acknowledgement_of_what_was_never_sent_counts_as_far_as_something_was() -> None:
    window, track = window_with(5)
    assert window.acked(track, 2**53 - 1, 1.0)
    assert (track.acked, window.in_flight) == (5, 0)
    assert not window.acked(track, 2**53 - 1, 1.0)
    window.sent(track, 10, 2.0)
    assert (track.acked, window.in_flight) == (5, 1), "the next message is not acknowledged in advance"


def test_a_window_is_full_of_messages() -> None:
    window, track = window_with(2, messages_max=3)
    assert (window.full, window.room) == (False, 1)
    window.sent(track, 10, 0.0)
    assert (window.full, window.room) == (True, 0)
    window.sent(track, 10, 0.0)  # A probe too many makes no negative room.
    assert (window.full, window.room) == (True, 0)
    window.acked(track, 2, 0.0)
    assert (window.full, window.room) == (False, 1)


def test_a_window_is_full_of_bytes() -> None:
    window, track = window_with(2, bytes_max=25)
    assert (window.full, window.room) == (False, MESSAGES_MAX - 2)
    window.sent(track, 10, 0.0)
    assert (window.full, window.room) == (True, 0)
    window.acked(track, 1, 0.0)
    assert not window.full


def test_the_limits_are_1024_messages_and_a_mebibyte() -> None:
    assert not window_with(MESSAGES_MAX - 1)[0].full
    assert window_with(MESSAGES_MAX)[0].full
    assert MESSAGES_MAX == 1_024
    large, track = SendWindow(), Track(0)
    found: list[bool] = []
    for size in (BYTES_MAX - 1, 1):
        large.sent(track, size, 0.0)
        found.append(large.full)
    assert found == [False, True]


def test_channels_share_one_window() -> None:
    window, one = window_with(2, messages_max=3)
    other = Track(100)
    window.sent(other, 10, 0.0)
    assert window.full
    assert window.acked(other, 101, 0.0)
    assert (one.acked, window.in_flight) == (0, 2)


def test_a_channel_that_goes_on_elsewhere_gives_back_what_it_had_in_flight() -> None:
    window, one = window_with(3, messages_max=4)
    other = Track(0)
    window.sent(other, 5, 0.0)
    window.jump(one, 50)
    assert (one.acked, window.in_flight, window.in_flight_bytes) == (50, 1, 5)
    assert not window.acked(one, 50, 1.0)
    window.sent(one, 10, 1.0)
    assert window.acked(one, 51, 2.0)
    window.jump(one, 3)
    assert one.acked == 3, "a rewind goes back"
    window.jump(other, 0)
    assert window.deadline == math.inf


def test_the_oldest_message_is_sent_again_after_5_and_10_seconds_and_15_are_too_many() -> None:
    window, _ = window_with(2)
    assert window.deadline == 5.0
    assert window.tick(4.999) is None
    assert window.tick(5.0) is Overdue.RETRANSMIT
    assert window.deadline == 10.0
    assert window.tick(9.0) is None
    assert window.tick(10.0) is Overdue.RETRANSMIT
    assert window.tick(14.0) is None
    assert window.tick(15.0) is Overdue.GIVE_UP
    assert window.tick(15.0) is Overdue.GIVE_UP, "who does not act on it is told again"


def test_an_acknowledgement_begins_the_schedule_again() -> None:
    window, track = window_with(2)
    assert window.tick(5.0) is Overdue.RETRANSMIT
    assert window.tick(10.0) is Overdue.RETRANSMIT
    assert window.acked(track, 1, 14.0)
    assert window.deadline == 19.0
    assert window.tick(15.0) is None
    assert window.tick(19.0) is Overdue.RETRANSMIT


def test_an_acknowledgement_that_gives_no_room_does_not_begin_it_again() -> None:
    window, track = window_with(2)
    window.acked(track, 0, 4.0)
    assert window.deadline == 5.0


def test_sending_more_does_not_put_it_off() -> None:
    window, track = window_with(1)
    window.sent(track, 10, 4.0)
    assert window.deadline == 5.0


def test_the_schedule_begins_when_something_is_in_flight_again() -> None:
    window, track = window_with(1)
    window.tick(5.0)
    window.acked(track, 1, 6.0)
    window.sent(track, 10, 100.0)
    assert window.deadline == 105.0
    window.tick(105.0)
    window.jump(track, 2)
    window.sent(track, 10, 200.0)
    assert window.deadline == 205.0


@given(retransmit_s=st.floats(0.1, 60), tries=st.integers(1, 6))
def test_each_try_comes_when_it_is_due_and_no_other(retransmit_s: float, tries: int) -> None:
    window, track = SendWindow(AckTiming(retransmit_s=retransmit_s, tries=tries)), Track(0)
    window.sent(track, 1, 0.0)
    seen: list[Overdue] = []
    while Overdue.GIVE_UP not in seen:
        due = window.deadline
        assert due == pytest.approx((len(seen) + 1) * retransmit_s)
        assert window.tick(math.nextafter(due, 0)) is None
        told = window.tick(due)
        assert told is not None
        seen.append(told)
    assert seen == [Overdue.RETRANSMIT] * (tries - 1) + [Overdue.GIVE_UP]


class Windows(RuleBasedStateMachine):
    """Whatever happens to a window, it knows what a plain list of messages would know."""

    def __init__(self) -> None:
        super().__init__()
        self.window = SendWindow(messages_max=6, bytes_max=100)
        self.tracks = [Track(0), Track(40), Track(7)]
        self.plain: list[deque[tuple[int, int]]] = [deque() for _ in self.tracks]
        self.acked = [0, 40, 7]
        self.now = 0.0
        self.quiet_since = 0.0
        self.tries = 0

    @precondition(lambda self: not self.window.full)
    @rule(which=st.integers(0, 2), size=st.integers(0, 60))
    def send(self, which: int, size: int) -> None:
        if not any(self.plain):
            self.quiet_since, self.tries = self.now, 0
        self.window.sent(self.tracks[which], size, self.now)
        self.plain[which].append((self.acked[which] + len(self.plain[which]) + 1, size))

    @rule(which=st.integers(0, 2), ahead=st.integers(-5, 12))
    def ack(self, which: int, ahead: int) -> None:
        seq, mine, gave = self.acked[which] + ahead, self.plain[which], False
        while mine and mine[0][0] <= seq:
            self.acked[which] = mine.popleft()[0]
            gave = True
        if gave:
            self.quiet_since, self.tries = self.now, 0
        assert self.window.acked(self.tracks[which], seq, self.now) == gave

    @rule(which=st.integers(0, 2), seq=st.integers(0, 100))
    def jump(self, which: int, seq: int) -> None:
        self.window.jump(self.tracks[which], seq)
        self.plain[which].clear()
        self.acked[which] = seq

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        told = self.window.tick(self.now)
        if not any(self.plain) or self.now < self.quiet_since + 5.0 * (self.tries + 1):
            assert told is None
        elif self.tries < 2:
            assert told is Overdue.RETRANSMIT
            self.tries += 1
        else:
            assert told is Overdue.GIVE_UP

    @invariant()
    def the_sums_are_those_of_the_tracks(self) -> None:
        window = self.window
        assert window.in_flight == sum(map(len, self.plain)) == sum(len(track.sizes) for track in self.tracks)
        assert window.in_flight_bytes == sum(size for mine in self.plain for _, size in mine)
        assert [track.acked for track in self.tracks] == self.acked
        assert window.full == (window.room == 0)
        assert window.full == (window.in_flight >= 6 or window.in_flight_bytes >= 100)
        assert (window.deadline == math.inf) == (window.in_flight == 0)


test_a_window_knows_what_a_plain_list_would_know = Windows.TestCase
