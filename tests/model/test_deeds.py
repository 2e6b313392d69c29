"""The ledger of actions."""

from tests.support.facts import T0, event
from wsmon.model.deeds import DEEDS_KEPT, Deeds
from wsmon.model.ledger import Recorded
from wsmon.protocol.events import ActionDone, ClientLost, EventBody


def recorded(seq: int, body: EventBody) -> Recorded:
    return Recorded(event(body, T0 + seq, seq=seq), body, T0 + seq)


def deed(seq: int) -> Recorded:
    return recorded(seq, ActionDone(actor={"user": "ann"}, op="drain", target=f"n{seq}"))


def test_actions_stand_in_the_order_of_time_and_nothing_else_does() -> None:
    known = Deeds()
    for one in (deed(3), recorded(2, ClientLost(client="c1")), deed(1)):
        known.take(one)
    assert [one.at - T0 for one in known] == [1, 3]


def test_the_oldest_go_first() -> None:
    known = Deeds()
    for seq in range(DEEDS_KEPT + 7):
        known.take(deed(seq))
    assert len(list(known)) == DEEDS_KEPT
    assert next(iter(known)).at == T0 + 7
