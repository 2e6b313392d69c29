"""The rhythm of one kind of probe, and what counts in a row."""

from sample_cluster.core.probe import Probe, Said
from tests.support.judged_node import Timing


def probe() -> Probe:
    return Probe(Timing(5.0, 1.0, 3), now=0.0)


def asked(self: Probe, now: float, *, haste: int = 1, score: int = 0) -> Probe:
    self.ask(now, haste=haste, score=score)
    return self


def test_the_next_one_is_due_an_interval_after_this_one_left_or_sooner_in_haste() -> None:
    assert asked(probe(), 2.0).due == 7.0
    assert asked(probe(), 2.0, haste=4).due == 3.25


def test_patience_grows_with_doubt_up_to_the_interval() -> None:
    assert [probe().patience(score) for score in range(6)] == [1, 2, 3, 4, 5, 5]
    assert Probe(Timing(1.0, 2.0, 1), now=0.0).patience(3) == 2.0
    assert asked(probe(), 2.0, score=1).ends == 4.0
    assert asked(probe(), 2.0, score=1).half == 3.0


def test_a_failure_counts_if_our_timer_was_on_time_and_the_last_one_is_an_interval_ago() -> None:
    row = asked(probe(), 0.0)
    assert row.fail(late_s=0.5)
    assert not asked(row, 4.9).fail(late_s=0.0)
    assert not asked(row, 5.0).fail(late_s=0.51)
    assert asked(row, 5.0).fail(late_s=0.0)
    assert (row.failed, row.decided) == (2, False)
    assert asked(row, 10.0).fail(late_s=0.0)
    assert (row.failed, row.decided) == (3, True)
    asked(row, 15.0).fail(late_s=0.0)
    assert (row.failed, row.decided) == (3, True)


def test_whoever_asks_in_between_does_not_move_the_rhythm() -> None:
    row = asked(probe(), 0.0)
    row.fail(late_s=0.0)
    assert asked(row, 2.0).due == 5.0
    assert asked(row, 5.0).due == 10.0


def test_a_success_and_a_voucher_begin_the_row_anew() -> None:
    for end in ("pass", "vouch"):
        row = asked(probe(), 0.0)
        row.fail(late_s=0.0)
        asked(row, 5.0)
        if end == "pass":
            row.pass_(5.1)
            assert (row.last_ok, row.passed, row.vouched) == (5.1, 1, 0)
        else:
            row.vouch()
            assert (row.last_ok, row.passed, row.vouched) == (None, 0, 1)
        assert (row.failed, row.in_flight) == (0, False)
        assert asked(row, 6.0).fail(late_s=0.0)


def test_when_it_will_be_decided_is_known_from_what_was_counted() -> None:
    row = asked(probe(), 0.0)
    assert row.decides_at(1.0) == 11.0
    row.fail(late_s=0.0)
    assert row.decides_at(1.0) == 11.0
    asked(row, 2.0)  # Comes too soon to count.
    assert row.decides_at(1.0) == 11.0
    assert row.decides_at(3.0) == 13.0


def test_starting_over_forgets_and_asks_at_once() -> None:
    row = asked(probe(), 0.0)
    row.fail(late_s=0.0)
    asked(row, 5.0).start_over(6.0)
    assert (row.failed, row.passed, row.in_flight, row.due) == (0, 0, False, 6.0)


def test_helpers_that_have_not_answered_are_silent() -> None:
    row = asked(probe(), 0.0)
    row.helpers = {"n2": None, "n3": Said.YES, "n4": Said.NO}
    assert row.heard == (("n2", Said.NOTHING), ("n3", Said.YES), ("n4", Said.NO))
    assert row.reached_by == ("n3",)
    assert asked(row, 5.0).heard == ()


def test_what_is_on_its_way_when_all_is_forgiven_counts_for_nothing() -> None:
    row = asked(probe(), 0.0)
    row.forgive()
    assert not row.fail(late_s=0.0)
    assert row.decides_at(1.0) == 16.0
    assert asked(row, 5.0).fail(late_s=0.0)
