"""Unanswered publishes."""

import pytest

from sample_cluster.core.messages import Level, Publish
from sample_cluster.core.outbox import Outbox


def test_publishes_are_numbered_for_each_channel_and_kept_in_order_until_answered() -> None:
    outbox = Outbox()
    ticket, first = outbox.add("a", 1)
    other, _ = outbox.add("b", 2, level=Level.SAFE)
    outbox.add("a", "AA==", encoding="base64")
    assert first == Publish(channel="a", cseq=1, data=1)
    assert [(frame.channel, frame.cseq) for frame in outbox.unanswered()] == [("a", 1), ("b", 1), ("a", 2)]
    assert [frame.cseq for frame in outbox.unanswered("a")] == [1, 2]
    assert outbox.pending() == {"a": 2, "b": 1}
    assert outbox.settle("b", 1) == other != ticket
    assert outbox.settle("b", 1) is None
    assert len(outbox) == 2
    assert outbox.add("b", 3)[1].cseq == 2


def test_it_has_a_bound() -> None:
    outbox = Outbox(most=1)
    outbox.add("a", 1)
    assert outbox.full
    with pytest.raises(AssertionError):
        outbox.add("a", 2)
    outbox.settle("a", 1)
    assert not outbox.full


def test_a_new_session_counts_what_is_unanswered_from_one_and_tickets_stay() -> None:
    outbox = Outbox()
    tickets = [outbox.add(channel, data)[0] for data, channel in enumerate("abaa")]
    outbox.settle("a", 1)
    outbox.renumber()
    assert [(frame.channel, frame.cseq, frame.data) for frame in outbox.unanswered()] == [
        ("b", 1, 1),
        ("a", 1, 2),
        ("a", 2, 3),
    ]
    assert outbox.settle("a", 3) is None
    assert outbox.settle("a", 1) == tickets[2]
    assert outbox.add("a", 4)[1].cseq == 3
    outbox.settle("b", 1)
    outbox.renumber()
    assert outbox.add("b", 5)[1].cseq == 1
