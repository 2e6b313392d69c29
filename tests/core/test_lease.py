"""Who leads, and for how long."""

from sample_cluster.core.lease import Claim, Granted, HeldBy, Lease, Lost, Regained, Took
from wsmon.protocol.states import CheckerMode


def lease() -> Lease:
    return Lease(ttl_s=6, renew_s=2, now=0)


def test_a_new_checker_stands_by_and_claims_at_once() -> None:
    fresh = lease()
    assert fresh.mode(0) is CheckerMode.STANDBY
    assert fresh.deadline == 0
    assert fresh.claim(0.0) == Claim(epoch=0, floor=0, fresh=True)


def test_a_granted_lease_counts_from_the_moment_of_asking() -> None:
    held = lease()
    assert held.answered(Granted(epoch=4), asked_at=0, now=0.5) == Took(epoch=4, continuous=False)
    assert held.mode(5.9) is CheckerMode.LEADING
    assert held.mode(6.0) is CheckerMode.STANDBY
    assert held.deadline == 2.5
    assert held.claim(1.0) == Claim(epoch=4, floor=4, fresh=False)


def test_a_renewal_in_time_changes_nothing() -> None:
    held = lease()
    held.answered(Granted(epoch=4), asked_at=0, now=0)
    assert held.answered(Granted(epoch=4), asked_at=2, now=2) is None
    assert held.mode(7.9) is CheckerMode.LEADING


def test_a_renewal_that_comes_too_late_makes_us_look_again() -> None:
    held = lease()
    held.answered(Granted(epoch=4), asked_at=0, now=0)
    assert held.answered(Granted(epoch=4), asked_at=5, now=6.5) == Regained()


def test_without_redis_a_checker_is_blind_and_asks_sooner() -> None:
    held = lease()
    held.answered(Granted(epoch=4), asked_at=0, now=0)
    held.failed(3)
    assert held.mode(3) is CheckerMode.BLIND
    assert held.deadline == 3.5
    assert held.answered(Granted(epoch=4), asked_at=4, now=4) == Regained()


def test_the_next_epoch_after_our_own_means_that_nobody_led_between() -> None:
    held = lease()
    held.answered(Granted(epoch=4), asked_at=0, now=0)
    held.failed(3)
    assert held.answered(Granted(epoch=5), asked_at=9, now=9) == Took(epoch=5, continuous=True)
    held.failed(12)
    assert held.answered(Granted(epoch=7), asked_at=19, now=19) == Took(epoch=7, continuous=False)


def test_another_holder_makes_us_stand_by_and_is_told_once() -> None:
    held = lease()
    held.answered(Granted(epoch=4), asked_at=0, now=0)
    assert held.answered(HeldBy(who="c2", epoch=5), asked_at=2, now=2) == Lost(epoch=5, who="c2")
    assert held.answered(HeldBy(who="c2", epoch=5), asked_at=4, now=4) is None
    assert (held.mode(4), held.leader) == (CheckerMode.STANDBY, "c2")


def test_a_refused_write_ends_our_lead_and_makes_us_ask_at_once() -> None:
    held = lease()
    held.answered(Granted(epoch=4), asked_at=0, now=0)
    assert held.fenced(5, 1) == Lost(epoch=5, who="")
    assert held.mode(1) is CheckerMode.STANDBY
    assert held.deadline == 1


def test_a_new_epoch_is_above_everything_that_was_seen() -> None:
    held = lease()
    held.raise_floor(9)
    held.raise_floor(3)
    assert held.claim(0.0).floor == 9


def test_whoever_stood_down_asks_who_leads_and_takes_no_lease_until_its_rest_is_over() -> None:
    held = lease()
    held.answered(Granted(epoch=4), asked_at=0, now=0)
    assert held.stand_down(1, rest_s=12) == Lost(epoch=4, who="")
    assert held.mode(1) is CheckerMode.STANDBY
    assert held.deadline == 1
    assert held.claim(1) == Claim(epoch=4, floor=4, fresh=False, take=False)
    assert held.answered(HeldBy(who="", epoch=4), asked_at=1, now=1) is None
    assert held.answered(HeldBy(who="c2", epoch=5), asked_at=3, now=3) == Lost(epoch=5, who="c2")
    assert not held.claim(12.9).take
    assert held.claim(13).take


def test_whoever_stands_by_asks_again_as_soon_as_the_lease_has_run_out() -> None:
    waiting = lease()
    waiting.answered(HeldBy(who="c2", epoch=5, left_s=0.5), asked_at=0, now=0)
    assert 0.5 < waiting.deadline < 0.6
    waiting.answered(HeldBy(who="c2", epoch=5, left_s=5.5), asked_at=2, now=2)
    assert waiting.deadline == 4
    waiting.answered(HeldBy(who="c2", epoch=5), asked_at=4, now=4)
    assert waiting.deadline == 6
