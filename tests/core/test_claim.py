"""The answers to a claim."""

import pytest

from sample_cluster.core.claim import Claimed, Expired, Granted, Owner, Revoked, Stale, Unknown
from sample_cluster.core.messages import Position

PLACE = Position(epoch="0000000a", seq=3, nonce=9)


def test_a_new_session_has_no_owner_before_and_no_positions() -> None:
    assert Granted().before is None
    assert Granted().positions == {}


def test_what_is_granted_to_two_connections_is_not_shared() -> None:
    assert Granted().positions is not Granted().positions


def test_a_session_that_goes_on_names_who_has_to_let_go_and_where_its_client_was() -> None:
    granted = Granted(before=Owner(node="n1", connection="n1-7@3"), positions={"c": PLACE})
    assert granted == Granted(before=Owner(node="n1", connection="n1-7@3"), positions={"c": PLACE})
    assert granted != Granted(before=Owner(node="n1", connection="n1-7@4"), positions={"c": PLACE})


@pytest.mark.parametrize("answer", [Granted(), Expired(), Stale(4), Revoked(), Unknown()])
def test_an_answer_cannot_be_changed(answer: Claimed) -> None:
    name = "attempt" if isinstance(answer, Stale) else "before"
    with pytest.raises((AttributeError, TypeError)):
        setattr(answer, name, None)


def test_the_answers_are_told_apart() -> None:
    answers: list[Claimed] = [Granted(), Expired(), Stale(4), Stale(5), Revoked(), Unknown()]
    assert all((one == other) == (one is other) for one in answers for other in answers)
