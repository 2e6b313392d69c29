"""Who leads, and for how long."""

from sample_cluster.core.lease import Claim, Granted, HeldBy, Lease, Lost, Regained, Took
from wsmon.protocol.states import CheckerMode


def lease() -> Lease:
    return Lease(ttl_s=6, renew_s=2, now=0)


def test_a_new_checker_stands_by_and_claims_at_once() -> None:
    fresh = lease()
    assert fresh.mode(0) is CheckerMode.STANDBY
    assert fresh.deadline == 0
    assert fresh.claim == Claim(epoch=0, floor=0, fresh=True)


def test_a_granted_lease_counts_from_the_moment_of_asking() -> None:
    held = lease()
    assert held.answered(Granted(epoch=4), asked_at=0, now=0.5) == Took(epoch=4, continuous=False)
    assert held.mode(5.9) is CheckerMode.LEADING
    assert held.mode(6.0) is CheckerMode.STANDBY
    assert held.deadline == 2.5
    assert held.claim == Claim(epoch=4, floor=4, fresh=False)


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
    assert held.claim.floor == 9
