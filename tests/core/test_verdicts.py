"""What is on its way to the health table."""

from dataclasses import replace

from sample_cluster.core.health import Evidence, Kind, NodeHealth, Transition
from sample_cluster.core.verdicts import Draft, VerdictQueue
from tests.support.judged_node import Timings
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import NodeState


def move(old: NodeState, new: NodeState, *, node: str = "n1", boot: int | None = 7) -> Transition:
    return Transition(
        node=node, old=old, new=new, reason="because", evidence=Evidence(kind=Kind.WORD), boot=boot, now=1.0
    )


def verdict(state: NodeState, *, node: str = "n1", version: int = 1, boot: int | None = 7) -> Verdict:
    return Verdict(node=node, state=state, reason="because", epoch=1, version=version, at=1.0, boot=boot)


def health(state: NodeState, *, node: str = "n1", boot: int | None = 7) -> NodeHealth:
    made = NodeHealth(node, Timings(), now=0.0)
    made.inherit(state, since=1.0, reason="because", evidence=Evidence(kind=Kind.WORD), boot=boot)
    return made


def test_transitions_are_written_in_order_each_on_top_of_the_one_before() -> None:
    queue = VerdictQueue()
    joining, online = move(NodeState.LEFT, NodeState.JOINING), move(NodeState.JOINING, NodeState.ONLINE)
    queue.add(joining)
    queue.add(online)
    assert queue.next() == Draft(transition=joining, expected=0)
    assert queue.next() == Draft(transition=joining, expected=0)
    queue.written(verdict(NodeState.JOINING))
    assert queue.next() == Draft(transition=online, expected=1)
    queue.written(verdict(NodeState.ONLINE, version=2))
    assert queue.next() is None
    assert queue.table == {"n1": verdict(NodeState.ONLINE, version=2)}


def test_after_a_gap_only_what_differs_is_written_and_the_log_stays_contiguous() -> None:
    queue = VerdictQueue()
    queue.add(move(NodeState.ONLINE, NodeState.SUSPECT))
    table = {"n1": verdict(NodeState.ONLINE, version=5), "n2": verdict(NodeState.ONLINE, node="n2")}
    queue.reconcile(table, [health(NodeState.REMOVED), health(NodeState.ONLINE, node="n2")])
    draft = queue.next()
    assert draft is not None
    assert (draft.transition.old, draft.transition.new, draft.expected) == (NodeState.ONLINE, NodeState.REMOVED, 5)
    queue.written(verdict(NodeState.REMOVED, version=6))
    assert queue.next() is None


def test_a_node_missing_from_the_table_is_written_as_new() -> None:
    queue = VerdictQueue()
    queue.reconcile({}, [health(NodeState.ONLINE)])
    draft = queue.next()
    assert draft is not None
    assert (draft.transition.old, draft.transition.new, draft.expected) == (NodeState.LEFT, NodeState.ONLINE, 0)


def test_the_same_state_of_another_life_is_news() -> None:
    queue = VerdictQueue()
    queue.reconcile({"n1": verdict(NodeState.ONLINE, boot=6)}, [health(NodeState.ONLINE, boot=7)])
    assert queue.next() is not None


def test_a_conflict_is_solved_on_top_of_what_stands() -> None:
    queue = VerdictQueue()
    queue.add(move(NodeState.ONLINE, NodeState.SUSPECT))
    queue.conflict("n1", verdict(NodeState.RECOVERING, version=9), 9)
    draft = queue.next()
    assert draft is not None
    assert (draft.transition.old, draft.expected) == (NodeState.RECOVERING, 9)
    queue.conflict("n1", None, 0)
    assert queue.next() == Draft(transition=move(NodeState.ONLINE, NodeState.SUSPECT), expected=0)


def test_what_does_not_parse_is_overwritten_at_the_version_that_it_claims() -> None:
    queue = VerdictQueue()
    queue.add(move(NodeState.ONLINE, NodeState.SUSPECT))
    queue.conflict("n1", None, 12)
    draft = queue.next()
    assert draft is not None
    assert draft.expected == 12


def test_a_forgotten_node_leaves_nothing_behind() -> None:
    queue = VerdictQueue()
    queue.reconcile({"n1": verdict(NodeState.REMOVED)}, [])
    queue.add(move(NodeState.REMOVED, NodeState.RECOVERING))
    queue.add(move(NodeState.LEFT, NodeState.JOINING, node="n2"))
    queue.forget("n1")
    draft = queue.next()
    assert draft is not None
    assert draft.transition.node == "n2"
    assert queue.table == {}


def test_a_write_that_ends_after_the_queue_was_cleared_is_still_known() -> None:
    queue = VerdictQueue()
    queue.add(move(NodeState.ONLINE, NodeState.SUSPECT))
    queue.clear()
    queue.written(verdict(NodeState.SUSPECT))
    assert queue.next() is None
    assert queue.table["n1"].state is NodeState.SUSPECT


def restated(reason: str) -> Transition:
    return Transition(
        node="n1",
        old=NodeState.SUSPECT,
        new=NodeState.SUSPECT,
        reason=reason,
        evidence=Evidence(kind=Kind.WORD),
        boot=7,
        now=1.0,
    )


def test_a_new_reason_for_the_same_state_is_written_and_the_same_one_is_not() -> None:
    queue = VerdictQueue()
    queue.reconcile({"n1": verdict(NodeState.SUSPECT, version=3)}, [])
    queue.add(restated("because"))
    assert queue.next() is None
    queue.add(restated("held by panic"))
    draft = queue.next()
    assert draft is not None
    assert (draft.transition.reason, draft.expected) == ("held by panic", 3)


def test_a_node_that_never_was_there_is_not_written_and_one_that_left_is() -> None:
    queue = VerdictQueue()
    table = {"n1": verdict(NodeState.ONLINE)}
    queue.reconcile(table, [health(NodeState.LEFT), health(NodeState.LEFT, node="n2", boot=None)])
    draft = queue.next()
    assert draft is not None
    assert draft.transition.node == "n1"
    queue.written(verdict(NodeState.LEFT, version=2))
    assert queue.next() is None


def test_an_old_boot_is_never_written_over_a_later_one() -> None:
    queue = VerdictQueue()
    queue.reconcile({"n1": verdict(NodeState.JOINING, boot=8)}, [health(NodeState.REMOVED, boot=7)])
    assert queue.next() is None
    queue.add(move(NodeState.JOINING, NodeState.ONLINE, boot=8))
    assert queue.next() is not None


def test_what_was_read_before_we_wrote_is_known_to_be_old() -> None:
    queue = VerdictQueue()
    assert not queue.outdates(verdict(NodeState.ONLINE))
    queue.written(verdict(NodeState.ONLINE, version=4))
    assert queue.outdates(verdict(NodeState.SUSPECT, version=3))
    assert not queue.outdates(verdict(NodeState.SUSPECT, version=5))
    later = replace(verdict(NodeState.SUSPECT, version=1), epoch=2)  # Of a Redis that forgot, and its next leader.
    assert not queue.outdates(later)
