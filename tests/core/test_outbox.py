"""Unanswered publishes."""

import pytest

from sample_cluster.core.messages import Level, Publish
from sample_cluster.core.outbox import Outbox


def test_publishes_are_numbered_for_each_channel_and_kept_in_order_until_answered() -> None:
    outbox = Outbox()
    first = outbox.add("a", 1)
    outbox.add("b", 2, level=Level.SAFE)
    outbox.add("a", "AA==", encoding="base64")
    assert first == Publish(channel="a", cseq=1, data=1)
    assert [(frame.channel, frame.cseq) for frame in outbox.unanswered()] == [("a", 1), ("b", 1), ("a", 2)]
    assert outbox.settle("b", 1)
    assert not outbox.settle("b", 1)
    assert len(outbox) == 2
    assert outbox.add("b", 3).cseq == 2


def test_it_has_a_bound() -> None:
    outbox = Outbox(most=1)
    outbox.add("a", 1)
    assert outbox.full
    with pytest.raises(AssertionError):
        outbox.add("a", 2)
    outbox.settle("a", 1)
    assert not outbox.full
