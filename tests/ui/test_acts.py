"""What action keys lead to: decided on values, without a screen."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.commands import ACTION_VERBS, COMMANDS, USUAL_KEYS, Group
from wsmon.operators.plan import OPS
from wsmon.protocol.states import NodeState
from wsmon.ui import acts
from wsmon.ui.acts import Ask, Deed
from wsmon.ui.render import preflight
from wsmon.ui.render.lines import length_of, text_of
from wsmon.ui.screens.question import Answer
from wsmon.views.frame import Forecast, Frame

ACTS = tuple(command.id for command in COMMANDS if command.group is Group.ACT)


def roomy() -> Frame:
    return replace(
        frames.healthy(),
        forecast=Forecast(
            handshakes_per_s=900.0, spread_s=1.0, panic_removed=0, panic_allowed=1, drain_deadline_s=25.0
        ),
    )


def facts(asked: Ask, frame: Frame, choice: int = 0, width: int = 60) -> str:
    lines = asked.asked.facts(frame, choice, width)
    assert all(length_of(line) <= width for line in lines)
    return "\n".join(text_of(line) for line in lines)


@pytest.mark.parametrize("name", ACTS)
def test_without_a_node_nothing_is_done_to_one(name: str) -> None:
    planned = acts.plan(name, (), frames.healthy())
    match name:
        case "heal":
            assert planned == (Deed("heal", ""),)
        case "restart":
            assert isinstance(planned, Ask)
        case _:
            assert planned == acts.NOBODY


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("example", frames.EXAMPLES)
def test_every_action_has_an_answer_for_every_cluster(name: str, example: str) -> None:
    frame = frames.EXAMPLES[example]()
    for nodes in ((), *((row.id,) for row in frame.nodes), tuple(row.id for row in frame.nodes)):
        planned = acts.plan(name, nodes, frame)
        if isinstance(planned, Ask):
            for choice in range(planned.asked.choices):
                facts(planned, frame, choice)
                assert all(
                    deed.op in (*OPS, "roll", "fault", "heal") for deed in planned.deeds(Answer(choice, "because"))
                )


def test_a_drain_says_how_fast_and_how_long() -> None:
    planned = acts.plan("drain", ("n2",), roomy())
    assert isinstance(planned, Ask)
    text = facts(planned, roomy())
    assert "Done in about 1.5 s, at up to 480 a second.\nThe others accept 600/s." in text


def test_a_node_out_of_reach_takes_nobody_and_one_with_a_fault_is_named() -> None:
    one, two, three = roomy().nodes
    frame = replace(
        roomy(),
        nodes=(
            replace(one, unreached_by="gateway", fault="blackhole on gateway-n1"),
            two,
            replace(three, fault="bandwidth on gateway-n3"),
        ),
    )
    planned = acts.plan("drain", ("n2",), frame)
    assert isinstance(planned, Ask)
    text = facts(planned, frame)
    assert "n1 does not count: gateway cannot reach it." in text
    assert "n3 has a fault: bandwidth on gateway-n3." in text
    assert "1 of 3 nodes stay online; no spare." in text
    assert "  n1 " not in text
    cut_off = replace(frame, nodes=(frame.nodes[0], two, replace(three, unreached_by="gateway")))
    last = acts.plan("drain", ("n2",), cut_off)
    assert isinstance(last, Ask)
    assert last.asked.type_name(cut_off)


def test_a_drain_that_its_deadline_cuts_short_says_so() -> None:
    slow = replace(roomy(), forecast=replace(roomy().forecast, handshakes_per_s=1.5))
    planned = acts.plan("drain", ("n2",), slow)
    assert isinstance(planned, Ask)
    text = facts(planned, slow)
    assert "Its deadline is" not in text
    many = replace(slow, nodes=(slow.nodes[0], replace(slow.nodes[1], connections=500), slow.nodes[2]))
    assert "Its deadline is 25.00 s" in facts(planned, many)


def test_a_kill_says_what_comes_back_and_what_the_panic_floor_allows() -> None:
    planned = acts.plan("kill", ("n2",), roomy())
    assert isinstance(planned, Ask)
    text = facts(planned, roomy(), 1)
    assert "come back at up to 20/s; the others accept 600/s" in text
    assert "At most 1 more may be removed for silence." in text


def test_several_nodes_need_the_name_of_the_cluster() -> None:
    for name in ("drain", "kill", "cordon"):
        planned = acts.plan(name, ("n1", "n2"), roomy())
        assert isinstance(planned, Ask)
        assert planned.asked.type_name(roomy())
        assert planned.asked.node == "demo"
        assert [deed.node for deed in planned.deeds(Answer(0, ""))] == ["n1", "n2"]


def test_a_restart_is_of_the_node_or_of_all_that_are_online() -> None:
    frame = replace(roomy(), nodes=(*roomy().nodes, frames.node("n4", state=NodeState.REMOVED, process="exited")))
    planned = acts.plan("restart", ("n2",), frame)
    assert isinstance(planned, Ask)
    assert planned.deeds(Answer(0, "")) == (Deed("roll", "", {"nodes": ["n2"]}),)
    assert planned.deeds(Answer(1, "")) == (Deed("roll", "", {"nodes": ["n1", "n2", "n3"]}),)
    several = acts.plan("restart", ("n1", "n3"), frame)
    assert isinstance(several, Ask)
    assert several.asked.choices == 1
    assert several.deeds(Answer(0, "")) == (Deed("roll", "", {"nodes": ["n1", "n3"]}),)


def test_every_breakage_ends_by_itself() -> None:
    planned = acts.plan("fault", ("n2",), roomy())
    assert isinstance(planned, Ask)
    assert planned.asked.choices == len(preflight.BREAKAGES)
    for choice in range(planned.asked.choices):
        [deed] = planned.deeds(Answer(choice, ""))
        ttl_s = deed.args["ttl_s"]
        assert isinstance(ttl_s, float)
        assert 0 < ttl_s <= 60
        assert "{" not in deed.node


def test_only_one_node_is_broken_at_a_time() -> None:
    assert acts.plan("fault", ("n1", "n2"), roomy()) == "One node at a time is broken on purpose; take the marks away."


def test_start_and_abort_name_what_stands_in_the_way() -> None:
    assert acts.plan("start", ("n1",), roomy()) == "n1 is running; there is nothing to start."
    assert acts.plan("abort", ("n1",), roomy()) == "n1 is online; there is no drain to abort."


def test_what_is_frozen_is_not_started_but_thawed() -> None:
    one, two, three = roomy().nodes
    frame = replace(
        roomy(),
        nodes=(
            replace(one, process="frozen", fault="freeze"),
            replace(two, process="frozen"),
            replace(three, process="exited"),
        ),
    )
    assert acts.plan("start", ("n1",), frame) == "n1 is frozen: X then CONT, or H, thaws it."
    assert acts.plan("start", ("n2",), frame) == "n2 is frozen: X then CONT thaws it."
    assert acts.plan("start", ("n1", "n2"), frame) == "n1, n2 are frozen: X then CONT, or H, thaws them."
    assert acts.plan("start", ("n1", "n3"), frame) == (Deed("start", "n3"),)
    keymap = {**USUAL_KEYS, "kill": ("Z",), "heal": ()}
    assert acts.plan("start", ("n1",), frame, keymap) == (
        "n1 is frozen: Z then CONT, or “Heal all” in the palette, thaws it."
    )


def test_every_action_has_verbs_and_every_verb_an_action() -> None:
    verbs = {verb.name for verb in ACTION_VERBS}
    covered = {verb for command in COMMANDS if command.group is Group.ACT for verb in command.verbs}
    assert covered == verbs


def test_a_node_that_is_gone_or_empties_itself_is_not_drained() -> None:
    states = (NodeState.REMOVED, NodeState.DRAINING, NodeState.LEFT)
    for state in states:
        frame = replace(roomy(), nodes=(*roomy().nodes[:2], frames.node("n3", state=state)))
        assert acts.plan("drain", ("n3",), frame) == f"n3 is {state}; there is nothing to drain."
        planned = acts.plan("drain", ("n1", "n3"), frame)
        assert isinstance(planned, Ask)
        assert planned.deeds(Answer(0, "")) == (Deed("drain", "n1"),)


@pytest.mark.parametrize("name", ["arm", "restart"])
def test_what_has_to_be_typed_is_the_whole_name_of_the_cluster(name: str) -> None:
    longest = "a" * 32
    frame = replace(frames.healthy(), header=replace(frames.healthy().header, cluster=longest))
    planned = acts.plan("restart", ("n1",), frame)
    assert isinstance(planned, Ask)
    asked = acts.arming(frame) if name == "arm" else planned.asked
    assert asked.node == longest
    if name == "arm":
        assert any(text_of(line).startswith(f"{longest} (") for line in asked.facts(frame, 0, 60)), (
            "nothing of it is cut"
        )
