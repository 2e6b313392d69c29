"""The end-to-end auditor."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.audit import (
    DUE_EVERY_S,
    NEVER_ACKED_S,
    OVERDUE_S,
    WINDOW,
    AuditCounts,
    Auditor,
    Sequence,
    Step,
)

ROOM = "room.1"


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
    auditor.resynced("s", ROOM, 9, lost=7)
    deliver(auditor, 10, publisher=None)
    assert auditor.counts(0).lost == 7


def test_after_a_new_log_began_messages_are_checked_again() -> None:
    auditor = Auditor()
    deliver(auditor, 50)
    auditor.resynced("s", ROOM, 0, lost=0)
    auditor.delivered("s", ROOM, 1, publisher="p", number=51)
    auditor.delivered("s", ROOM, 2, publisher="p", number=51)
    counts = auditor.counts(0)
    assert (counts.duplicated, counts.lost) == (1, 0)


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
    auditor.followed("a", ROOM, 0)
    auditor.followed("b", ROOM, 1)
    for seq, at in ((1, 0.0), (2, 0.1), (3, 5.0)):
        auditor.sent("p", seq, at)
        auditor.answered("p", seq, ROOM, seq, at)
    assert auditor.counts(OVERDUE_S + 0.2).overdue == 3  # Two for a, one for b: the third message is not due yet.
    assert auditor.counts(17.0).overdue == 5
    deliver(auditor, 1, 2, 3, subscriber="a")
    deliver(auditor, 2, 3, subscriber="b")
    counts = auditor.counts(17.0)
    assert (counts.overdue, counts.lost, counts.delivered) == (0, 0, 5)


def test_what_a_new_log_began_without_is_not_due_any_more() -> None:
    auditor = Auditor()
    auditor.sent("p", 1, 0.0)
    deliver(auditor, 8)
    auditor.answered("p", 1, ROOM, 9, 0.0)
    assert auditor.counts(100).overdue == 1
    auditor.resynced("s", ROOM, 2, lost=2)
    assert auditor.counts(100).overdue == 0


def test_a_subscriber_is_checked_from_where_it_was_told_to_begin() -> None:
    auditor = Auditor()
    auditor.followed("s", ROOM, 4)
    deliver(auditor, 6, publisher=None)
    auditor.followed("s", ROOM, 9)
    deliver(auditor, 7, publisher=None)
    assert auditor.counts(0).lost == 1


def test_memory_for_answers_is_bounded() -> None:
    auditor = Auditor()
    for number in range(5_000):
        auditor.sent("p", number, number / 100)
        auditor.answered("p", number, ROOM, number, number / 100)
    assert len(auditor._answered[ROOM]) <= OVERDUE_S / DUE_EVERY_S + 2


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
    auditor.resynced("s", ROOM, 0, lost=0)
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
