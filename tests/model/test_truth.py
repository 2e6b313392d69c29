"""What was done to nodes and said of them, from events in any order."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from wsmon.model.truth import MARKS_KEPT, SUBJECTS_MAX, Stretch, Truth
from wsmon.protocol.events import (
    DrainDone,
    DrainStarted,
    EventBody,
    FaultEnded,
    FaultStarted,
    LeaderChanged,
    NodeStateChanged,
    ProcessExited,
)

NODES = ("n1", "n2")
STORY: tuple[tuple[float, str, EventBody], ...] = (
    (1, "checker", NodeStateChanged(node="n1", old="joining", new="online")),
    (10, "supervisor", FaultStarted(fault="kill", target="n1")),
    (10.1, "supervisor", ProcessExited(id="n1", signal=9)),
    (10.2, "checker", NodeStateChanged(node="n1", old="online", new="suspect", reason="eof")),
    (10.6, "checker", NodeStateChanged(node="n1", old="suspect", new="removed", reason="refused")),
    (10.7, "checker", NodeStateChanged(node="n1", old="removed", new="removed", reason="refused again")),
    (14, "supervisor", FaultEnded(fault="kill", target="n1")),
    (15, "n1", NodeStateChanged(node="n1", old="?", new="online")),
    (18, "checker", NodeStateChanged(node="n1", old="recovering", new="online")),
    (20, "supervisor", FaultStarted(fault="latency", target="checker-n2")),
    (21, "checker", LeaderChanged(epoch=1, who="checker")),
    (30, "n2", DrainStarted(node="n2")),
    (34, "n2", DrainDone(node="n2")),
)


def told(order: list[int] | None = None) -> Truth:
    truth = Truth()
    for index in range(len(STORY)) if order is None else order:
        at, source, body = STORY[index]
        truth.take(body, source=source, boot=1, seq=index, at=at)
    return truth


def spans(stretches: tuple[Stretch, ...]) -> list[tuple[str, float, float | None]]:
    return [(stretch.what, stretch.since, stretch.until) for stretch in stretches]


def test_a_kill_lasts_until_it_is_told_to_be_over() -> None:
    assert spans(told().done_to("n1", NODES)) == [("kill", 10, 14)]


def test_links_and_drains_belong_to_their_node() -> None:
    assert spans(told().done_to("n2", NODES)) == [("latency", 20, None), ("drain", 30, 34)]


def test_verdicts_follow_each_other_and_a_nodes_own_word_is_none() -> None:
    assert spans(told().said_of("n1")) == [
        ("online", 1, 10.2),
        ("suspect", 10.2, 10.6),
        ("removed", 10.6, 18),
        ("online", 18, None),
    ]
    assert told().said_of("n2") == ()


@given(st.randoms(use_true_random=False))
def test_any_order_gives_the_same(dice: Random) -> None:
    order = list(range(len(STORY)))
    dice.shuffle(order)
    for node in NODES:
        assert told(order).done_to(node, NODES) == told().done_to(node, NODES)
        assert told(order).said_of(node) == told().said_of(node)


def test_a_process_that_goes_twice_untold_has_a_stretch_for_each_time() -> None:
    truth = Truth()
    story: tuple[tuple[float, EventBody], ...] = (
        (1.0, ProcessExited(id="n1", code=3)),
        (4.0, NodeStateChanged(node="n1", old="removed", new="online")),
        (6.0, ProcessExited(id="n1", code=3)),
        (7.0, ProcessExited(id="n1", code=0)),
    )
    for seq, (at, body) in enumerate(story):
        truth.take(body, source="x", boot=1, seq=seq, at=at)
    assert spans(truth.done_to("n1", NODES)) == [("exit", 1, 4), ("exit", 6, None)]


def test_memory_has_a_bound() -> None:
    truth = Truth()
    for number in range(SUBJECTS_MAX + 5):
        truth.take(FaultStarted(fault="freeze", target=f"n{number}"), source="s", boot=1, seq=number, at=number)
    assert truth.done_to("n0", ("n0",)) == ()
    assert len(truth.done_to("n5", ("n5",))) == 1
    for number in range(MARKS_KEPT + 10):
        new = "online" if number % 2 else "removed"
        truth.take(NodeStateChanged(node="n1", old="?", new=new), source="c", boot=1, seq=number, at=number)
    assert len(truth.said_of("n1")) == MARKS_KEPT
