"""The end-to-end auditor."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.audit import (
    DUE_EVERY_S,
    FORKS_KEPT,
    NEVER_ACKED_S,
    OVERDUE_S,
    RECENT,
    REWRITE_S,
    WINDOW,
    AuditCounts,
    Auditor,
    Sequence,
    Step,
)
from sample_cluster.core.messages import Position

ROOM = "room.1"
EPOCH = "0000abcd"


def place(seq: int, epoch: str = EPOCH) -> Position:
    """Return a place in the room's log."""
    return Position(epoch=epoch, seq=seq, nonce=seq)


def deliver(auditor: Auditor, *seqs: int, subscriber: str = "s", publisher: str | None = "p") -> None:
    """Hand messages out whose running number is their place in the log."""
    for seq in seqs:
        auditor.delivered(subscriber, ROOM, seq, publisher=publisher, number=seq)


def test_contiguous_numbers_from_any_start_are_fine() -> None:
    auditor = Auditor()
    deliver(auditor, 41, 42, 43)
    deliver(auditor, 42, 43, 44, subscriber="late riser")
    assert auditor.counts(0) == AuditCounts(delivered=6)


def test_a_hole_is_lost_until_it_comes_late() -> None:
    auditor = Auditor()
    deliver(auditor, 1, 2, 5, publisher=None)
    assert auditor.counts(0).lost == 2
    deliver(auditor, 3, publisher=None)
    counts = auditor.counts(0)
    assert (counts.lost, counts.inverted, counts.duplicated, counts.delivered) == (1, 1, 0, 4)


def test_the_head_of_a_channel_is_what_anybody_was_handed_or_what_is_due() -> None:
    auditor = Auditor()
    assert auditor.head("s", ROOM) is None
    deliver(auditor, 1, 2, 3)
    assert auditor.head("late riser", ROOM) is None
    deliver(auditor, 1, subscriber="late riser")
    assert auditor.head("s", ROOM) == auditor.head("late riser", ROOM) == 3
    auditor.sent("p", 9, 0.0)
    auditor.answered("p", 9, ROOM, 9, 0.0)
    auditor.counts(OVERDUE_S)
    assert auditor.head("s", ROOM) == 3
    auditor.counts(OVERDUE_S + 1)
    assert auditor.head("s", ROOM) == 9


def test_who_does_not_know_of_a_fork_yet_has_no_head_to_be_compared_with() -> None:
    auditor = Auditor()
    deliver(auditor, 1, 2, 3)
    deliver(auditor, 1, 2, 3, subscriber="t")
    auditor.rewound("s", ROOM, place(2), now=0.0)
    assert auditor.head("s", ROOM) == 2
    assert auditor.head("t", ROOM) is None
    auditor.rewound("t", ROOM, place(2), now=0.0)
    assert auditor.head("t", ROOM) == 2


def test_a_number_that_comes_twice_is_duplicated() -> None:
    auditor = Auditor()
    deliver(auditor, 1, 2, 2, 1, publisher=None)
    assert auditor.counts(0).duplicated == 2


def test_what_precedes_the_first_number_is_never_negative_loss() -> None:
    auditor = Auditor()
    deliver(auditor, 10, 9, publisher=None)
    counts = auditor.counts(0)
    assert (counts.lost, counts.duplicated) == (0, 1)


def test_a_message_that_was_written_twice_is_found_once() -> None:
    auditor = Auditor()
    for subscriber in ("a", "b"):
        auditor.delivered(subscriber, ROOM, 1, publisher="p", number=1)
        auditor.delivered(subscriber, ROOM, 2, publisher="p", number=1)
    assert auditor.counts(0).duplicated == 1


def test_messages_written_in_the_wrong_order_are_inverted() -> None:
    auditor = Auditor()
    for seq, number in enumerate((1, 3, 2), 1):
        auditor.delivered("a", ROOM, seq, publisher="p", number=number)
    counts = auditor.counts(0)
    assert (counts.inverted, counts.lost, counts.duplicated) == (1, 0, 0)


def test_a_resync_counts_what_it_names_and_starts_anew() -> None:
    auditor = Auditor()
    deliver(auditor, 1, 2, publisher=None)
    auditor.resynced("s", ROOM, place(9), lost=7, fork=False, now=0)
    deliver(auditor, 10, publisher=None)
    counts = auditor.counts(0)
    assert (counts.lost, counts.resyncs, counts.rewound) == (7, 1, 0)


def test_one_subscriber_behind_a_trimmed_log_changes_nothing_for_the_others() -> None:
    auditor = Auditor()
    for subscriber in ("quick", "slow"):
        auditor.followed(subscriber, ROOM, place(0))
    deliver(auditor, *range(1, 21), subscriber="quick")
    deliver(auditor, 1, subscriber="slow")
    auditor.resynced("slow", ROOM, place(9), lost=8, fork=False, now=0)
    deliver(auditor, *range(10, 21), subscriber="slow")
    counts = auditor.counts(100)
    assert (counts.lost, counts.duplicated, counts.inverted) == (8, 0, 0)


def test_after_a_new_log_began_messages_are_checked_again() -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, place(49))
    deliver(auditor, 50)
    auditor.resynced("s", ROOM, place(0, "0000beef"), lost=0, fork=False, now=0)
    auditor.delivered("s", ROOM, 1, publisher="p", number=51)
    auditor.delivered("s", ROOM, 2, publisher="p", number=51)
    counts = auditor.counts(0)
    assert (counts.duplicated, counts.lost) == (1, 0)


def publish(auditor: Auditor, *numbers: int, first: int) -> None:
    """Publish and answer messages of p that stand one after the other from `first` on."""
    for seq, number in enumerate(numbers, first):
        auditor.sent("p", number, 0.0)
        auditor.answered("p", number, ROOM, seq, 0.0)


def forked() -> Auditor:
    """Return what saw a log fork after 2: a had all of 1…5, b had come to 3, the publisher was answered for all."""
    auditor = Auditor()
    for subscriber in "ab":
        auditor.followed(subscriber, ROOM, place(0))
    publish(auditor, 1, 2, 3, 4, 5, first=1)
    deliver(auditor, 1, 2, 3, 4, 5, subscriber="a")
    deliver(auditor, 1, 2, 3, subscriber="b")
    for subscriber in "ab":
        auditor.rewound(subscriber, ROOM, place(2), now=10.0)
    return auditor


def test_what_was_handed_out_before_a_fork_is_not_lost_and_what_was_not_is_if_nobody_writes_it_again() -> None:
    auditor = forked()
    counts = auditor.counts(10.0 + REWRITE_S)
    assert (counts.lost, counts.overdue, counts.rewound) == (0, 0, 2)
    counts = auditor.counts(10.1 + REWRITE_S)
    assert (counts.lost, counts.overdue) == (2, 0)  # 4 and 5, which b never got.


def test_messages_written_again_after_a_fork_are_neither_lost_nor_duplicated() -> None:
    auditor = forked()
    for seq, number in ((3, 9), (4, 5), (5, 3), (6, 4)):
        if number == 9:
            publish(auditor, 9, first=3)
        for subscriber in "ab":
            handed_out = number != 9 and (subscriber == "a" or number == 3)
            see = auditor.rewritten if handed_out else auditor.delivered
            see(subscriber, ROOM, seq, publisher="p", number=number)
    counts = auditor.counts(100)
    assert (counts.lost, counts.duplicated, counts.inverted, counts.overdue) == (0, 0, 0, 0)
    assert (counts.rewritten, counts.delivered) == (4, 12)


def test_a_message_that_is_written_twice_after_a_fork_is_found() -> None:
    auditor = forked()
    for seq in (3, 4):
        auditor.rewritten("a", ROOM, seq, publisher="p", number=5)
    assert auditor.counts(10).duplicated == 1


def test_who_is_told_of_a_fork_late_does_not_undo_what_is_known_of_the_new_history() -> None:
    auditor = Auditor()
    for subscriber in "ab":
        auditor.followed(subscriber, ROOM, place(0))
    deliver(auditor, 1, 2, 3, 4, subscriber="a")
    deliver(auditor, 1, 2, 3, subscriber="b")
    auditor.rewound("a", ROOM, place(1), now=0)
    deliver(auditor, 4, subscriber="b")  # Still of the old history.
    for seq, number in ((2, 7), (3, 8), (4, 9)):
        auditor.delivered("a", ROOM, seq, publisher="p", number=number)
    auditor.rewound("b", ROOM, place(1), now=0)
    for seq, number in ((2, 7), (3, 8), (4, 9)):
        auditor.delivered("b", ROOM, seq, publisher="p", number=number)
    for subscriber in "ab":
        auditor.rewritten(subscriber, ROOM, 5, publisher="p", number=4)
    counts = auditor.counts(100)
    assert (counts.duplicated, counts.lost, counts.inverted) == (0, 0, 0)


def test_a_rewind_ahead_of_a_subscriber_changes_nothing_for_it() -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, place(0))
    deliver(auditor, 1, 2)
    auditor.rewound("s", ROOM, place(5), now=0)
    deliver(auditor, 3)
    assert auditor.counts(0).lost == 0


def test_a_rewind_into_another_log_makes_everything_void() -> None:
    auditor = forked()
    auditor.rewound("b", ROOM, place(7, "0000beef"), now=20.0)
    auditor.delivered("b", ROOM, 8, publisher="p", number=1)
    counts = auditor.counts(20.0)
    assert (counts.lost, counts.duplicated) == (0, 0)


def test_after_a_resync_by_a_fork_any_recent_message_may_come_once_more() -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, place(0))
    publish(auditor, 1, 2, 3, first=1)
    deliver(auditor, 1, 2, 3)
    auditor.resynced("s", ROOM, place(6), lost=3, fork=True, now=0)
    auditor.rewritten("s", ROOM, 7, publisher="p", number=2)
    assert auditor.counts(100).duplicated == 0
    auditor.rewritten("s", ROOM, 8, publisher="p", number=2)
    counts = auditor.counts(100)
    assert (counts.duplicated, counts.lost) == (1, 3)


def test_what_is_remembered_of_forks_is_bounded() -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, place(0))
    for life in range(2 * FORKS_KEPT):
        for seq in range(1, RECENT):
            auditor.delivered("s", ROOM, seq, publisher="p", number=life * RECENT + seq)
        auditor.rewound("s", ROOM, Position(epoch=EPOCH, seq=0, nonce=life), now=0)
        auditor.rewound("s", ROOM, Position(epoch=EPOCH, seq=0, nonce=life), now=0)
    log = auditor._logs[ROOM]
    assert log.forks == 2 * FORKS_KEPT
    assert len(log.void) <= RECENT
    deliver(auditor, *range(1, 2 * RECENT))
    assert len(log.recent) <= RECENT


def test_messages_from_history_are_counted() -> None:
    auditor = Auditor()
    for seq, replay in ((1, True), (2, True), (3, False)):
        auditor.delivered("s", ROOM, seq, replay=replay)
    assert auditor.counts(0).replayed == 2


def test_a_publish_is_never_acked_after_ten_seconds_and_forgiven_when_it_is_answered_after_all() -> None:
    auditor = Auditor()
    auditor.sent("p", 1, 0.0)
    auditor.sent("p", 2, 5.0)
    auditor.sent("p", 3, 8.0)
    assert auditor.counts(NEVER_ACKED_S).never_acked == 0
    assert auditor.counts(NEVER_ACKED_S + 6).never_acked == 2
    auditor.answered("p", 1, ROOM, 1, 16.0)
    auditor.answered("p", 1, ROOM, 1, 16.0)
    auditor.refused("p", 2)
    auditor.refused("p", 2)
    counts = auditor.counts(NEVER_ACKED_S + 6)
    assert (counts.published, counts.refused, counts.never_acked) == (1, 1, 0)


def test_what_was_answered_and_not_delivered_for_ten_seconds_is_overdue_until_it_comes() -> None:
    auditor = Auditor()
    auditor.followed("a", ROOM, place(0))
    auditor.followed("b", ROOM, place(1))
    for seq, at in ((1, 0.0), (2, 0.1), (3, 5.0)):
        auditor.sent("p", seq, at)
        auditor.answered("p", seq, ROOM, seq, at)
    assert auditor.counts(OVERDUE_S + 0.2).overdue == 3  # Two for a, one for b: the third message is not due yet.
    assert auditor.counts(17.0).overdue == 5
    deliver(auditor, 1, 2, 3, subscriber="a")
    deliver(auditor, 2, 3, subscriber="b")
    counts = auditor.counts(17.0)
    assert (counts.overdue, counts.lost, counts.delivered) == (0, 0, 5)


def test_an_answer_without_a_place_is_an_answer() -> None:
    auditor = Auditor()
    auditor.sent("p", 1, 0.0)
    auditor.answered("p", 1, ROOM, 0, 0.0)
    counts = auditor.counts(100)
    assert (counts.published, counts.overdue, counts.never_acked) == (1, 0, 0)
    assert auditor._logs[ROOM].recent == {}


def test_what_a_new_log_began_without_is_not_due_any_more() -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, place(7))
    auditor.sent("p", 1, 0.0)
    deliver(auditor, 8)
    auditor.answered("p", 1, ROOM, 9, 0.0)
    assert auditor.counts(100).overdue == 1
    auditor.resynced("s", ROOM, place(2, "0000beef"), lost=2, fork=False, now=100)
    assert auditor.counts(100).overdue == 0


def test_a_subscriber_is_checked_from_where_it_was_told_to_begin() -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, place(4))
    deliver(auditor, 6, publisher=None)
    auditor.followed("s", ROOM, place(9))
    deliver(auditor, 7, publisher=None)
    assert auditor.counts(0).lost == 1


def test_memory_for_answers_is_bounded() -> None:
    auditor = Auditor()
    for number in range(5_000):
        auditor.sent("p", number, number / 100)
        auditor.answered("p", number, ROOM, number, number / 100)
    assert len(auditor._logs[ROOM].answered) <= OVERDUE_S / DUE_EVERY_S + 2


def test_a_client_that_left_for_good_is_forgotten() -> None:
    auditor = Auditor()
    auditor.sent("p", 1, 0.0)
    auditor.sent("q", 1, 0.0)
    deliver(auditor, 1, subscriber="p")
    deliver(auditor, 1, subscriber="q")
    auditor.forget("p")
    deliver(auditor, 9, subscriber="p")
    assert auditor.counts(100) == AuditCounts(delivered=3, never_acked=1)


def test_a_jump_beyond_the_window_forgets_what_lies_below_it() -> None:
    sequence = Sequence(1)
    assert sequence.take(1 + WINDOW) is Step.AHEAD
    assert sequence.take(2 + WINDOW) is Step.NEXT
    assert sequence.take(2) is Step.TWICE
    assert sequence.take(WINDOW) is Step.LATE
    assert sequence.top == 2 + WINDOW


@given(numbers=st.lists(st.integers(1, WINDOW - 1), max_size=300))
def test_counts_agree_with_a_simple_count_within_the_window(numbers: list[int]) -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, place(0))
    deliver(auditor, *numbers, publisher=None)
    counts = auditor.counts(0)
    often = Counter(numbers)
    assert counts.delivered == len(numbers)
    assert counts.duplicated == sum(times - 1 for times in often.values())
    assert counts.lost == (max(numbers) - len(often) if numbers else 0)
    first_times = list(dict.fromkeys(numbers))
    assert counts.inverted == sum(
        number < max(first_times[:index], default=0) for index, number in enumerate(first_times)
    )
