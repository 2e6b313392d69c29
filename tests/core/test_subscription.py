"""A client's place in a channel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.messages import Message, Position, Resync, Rewind, Subscribe, Subscribed
from sample_cluster.core.subscription import ROUNDS_MAX, Subscription, Verdict

ROOM = "room.1"
EPOCH = "0000abcd"


def position(seq: int, epoch: str = EPOCH) -> Position:
    """Return a place whose nonce is derived from its number."""
    return Position(epoch=epoch, seq=seq, nonce=seq * 10)


def message(seq: int, *, prev: int | None = None) -> Message:
    """Return the entry `seq` of the one true history, unless `prev` says otherwise."""
    before = (seq - 1) * 10 if prev is None else prev
    return Message(channel=ROOM, seq=seq, nonce=seq * 10, prev=before, id="m", ts=0, data=None)


def live(seq: int = 0) -> Subscription:
    """Return a subscription that a node has taken at `seq`."""
    subscription = Subscription(ROOM)
    assert subscription.ask(1) == Subscribe(id=1, channel=ROOM, start="now")
    assert subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(seq)))
    return subscription


def test_messages_in_order_are_delivered_and_the_position_goes_first() -> None:
    subscription = live()
    for seq in (1, 2, 3):
        assert subscription.take(message(seq)) is Verdict.DELIVER
        assert subscription.position == position(seq)


def test_old_messages_are_dropped() -> None:
    subscription = live(5)
    assert subscription.take(message(5)) is Verdict.DROP
    assert subscription.take(message(1)) is Verdict.DROP
    assert subscription.live


@pytest.mark.parametrize("odd", [message(3), message(1, prev=77)])
def test_a_hole_or_another_history_is_asked_about_from_the_own_position(odd: Message) -> None:
    subscription = live()
    assert subscription.take(odd) is Verdict.ASK
    assert not subscription.live
    assert subscription.ask(2) == Subscribe(id=2, channel=ROOM, start=position(0))
    # What was on its way is ignored, unless it happens to fit.
    assert subscription.take(message(4)) is Verdict.DROP
    assert subscription.take(message(1)) is Verdict.DELIVER
    assert subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(0), replay=1))
    assert subscription.take(message(1)) is Verdict.DROP
    assert subscription.take(message(2)) is Verdict.DELIVER


def test_only_the_answer_to_the_last_request_counts() -> None:
    subscription = Subscription(ROOM)
    assert subscription.take(message(1)) is Verdict.DROP
    subscription.ask(1)
    subscription.ask(2)
    assert not subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(9)))
    assert subscription.position is None
    assert subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(4)))
    assert subscription.position == position(4)


def test_after_a_loss_the_own_position_is_asked_for_and_kept() -> None:
    subscription = live(4)
    subscription.disconnected()
    assert not subscription.live
    assert subscription.ask(2).start == position(4)
    subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(7), replay=3))
    assert subscription.take(message(5)) is Verdict.DELIVER


def test_a_subscription_from_the_start_takes_the_first_message_wherever_history_begins() -> None:
    subscription = Subscription(ROOM, "start")
    assert subscription.ask(1).start == "start"
    subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(0), replay=2))
    assert subscription.take(message(501)) is Verdict.DELIVER
    assert subscription.take(message(502)) is Verdict.DELIVER
    assert subscription.take(message(504)) is Verdict.ASK


def test_a_subscription_can_begin_at_a_known_position() -> None:
    subscription = Subscription(ROOM, position(7))
    assert subscription.ask(1).start == position(7)
    subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(9), replay=2))
    assert subscription.take(message(8)) is Verdict.DELIVER


def test_a_node_that_never_sends_what_fits_is_broken() -> None:
    subscription = live()
    for request in range(2, 2 + ROUNDS_MAX):
        assert subscription.take(message(9)) is Verdict.ASK
        subscription.ask(request)
        subscription.subscribed(Subscribed(id=request, channel=ROOM, position=position(0)))
    assert subscription.take(message(9)) is Verdict.BROKEN


def test_a_resync_names_what_is_missing() -> None:
    subscription = live(3)
    told = Resync(channel=ROOM, reason="trimmed", have=3, first=8, top=9, position=position(7))
    assert subscription.resync(told) == 4
    assert subscription.take(message(8)) is Verdict.DELIVER
    backwards = Resync(channel=ROOM, reason="fork", have=8, first=1, top=5, position=position(5))
    assert subscription.resync(backwards) == 0
    other = Resync(channel=ROOM, reason="epoch", have=5, first=1, top=2, position=position(2, "0000beef"))
    assert subscription.resync(other) == 2
    fresh = Subscription(ROOM)
    assert fresh.resync(told) == 0
    assert fresh.position == position(7)


def test_a_rewind_goes_back() -> None:
    subscription = live(9)
    subscription.rewind(Rewind(channel=ROOM, to=4, void=(5, 9), position=position(4)))
    assert subscription.take(message(5)) is Verdict.DELIVER


@given(plan=st.lists(st.integers(-2, 3), max_size=200))
def test_whatever_is_skipped_or_repeated_each_message_is_handed_out_once_in_order(plan: list[int]) -> None:
    subscription, delivered, cursor, request = live(), list[int](), 1, 1
    for step in plan:
        cursor = max(1, cursor + step)
        verdict = subscription.take(message(cursor))
        if verdict is Verdict.DELIVER:
            delivered.append(cursor)
        elif verdict is Verdict.ASK:
            request += 1
            subscription.ask(request)
            assert subscription.position is not None
            cursor = subscription.position.seq + 1
            subscription.subscribed(Subscribed(id=request, channel=ROOM, position=subscription.position, replay=1))
            assert subscription.take(message(cursor)) is Verdict.DELIVER
            delivered.append(cursor)
    assert delivered == list(range(1, len(delivered) + 1))
