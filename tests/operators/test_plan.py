"""Whom to ask for an action, decided without asking anybody."""

import pytest

from wsmon.commands import ACTION_VERBS, Action
from wsmon.errors import OperationRefusedError
from wsmon.operators.audited import describe
from wsmon.operators.plan import OPS, Step, plan


def action(op: str, **args: str) -> Action:
    return Action(op=op, node="n1", args=args, key="k")


@pytest.mark.parametrize(("op", "asked"), [("drain", "drain"), ("abort", "undrain"), ("cordon", "cordon")])
def test_what_a_node_does_itself_is_asked_of_the_node(op: str, asked: str) -> None:
    assert plan(action(op), supervised=True, node_state="online") == Step("n1", asked, {})
    with pytest.raises(OperationRefusedError, match="cannot be reached"):
        plan(action(op), supervised=True, node_state=None)


@pytest.mark.parametrize("op", ["kill", "start", "stop", "freeze", "thaw", "restart"])
def test_what_concerns_its_process_is_asked_of_the_supervisor(op: str) -> None:
    assert plan(action(op), supervised=True, node_state=None) == Step("supervisor", op, {"id": "n1"})


def test_a_kill_carries_its_signal() -> None:
    step = plan(action("kill", signal="TERM"), supervised=True, node_state="online")
    assert step == Step("supervisor", "kill", {"id": "n1", "signal": "TERM"})


def test_faults_are_asked_of_the_supervisor_under_the_names_they_have_there() -> None:
    step = plan(action("fault", kind="loss", value="5%"), supervised=True, node_state=None)
    assert step == Step("supervisor", "fault", {"target": "n1", "kind": "loss", "value": "5%"})
    assert plan(action("heal"), supervised=True, node_state="online") == Step("supervisor", "heal", {"name": "n1"})
    everything = Action(op="heal", node="", args={}, key="k")
    assert plan(everything, supervised=True, node_state=None) == Step("supervisor", "heal", {})
    with pytest.raises(OperationRefusedError, match="nobody here can heal anything"):
        plan(everything, supervised=False, node_state=None)


def test_what_its_clients_do_is_asked_of_the_fleet() -> None:
    many = Action(op="clients", node="", args={"clients": 5}, key="k")
    assert plan(many, supervised=True, node_state=None) == Step("fleet", "scale", {"clients": 5})
    rate = Action(op="rate", node="fleet2", args={"messages_per_s": 1.0}, key="k")
    assert plan(rate, supervised=False, node_state=None) == Step("fleet2", "rate", {"messages_per_s": 1.0})


def test_every_verb_of_the_command_line_can_be_planned() -> None:
    assert {verb.op for verb in ACTION_VERBS} <= {*OPS}


def test_an_action_is_told_as_a_person_would_say_it() -> None:
    assert describe(action("kill", signal="KILL")) == "kill n1 with KILL"
    assert describe(action("fault", kind="latency", value="200ms")) == "fault n1 with latency 200ms"
    assert describe(Action(op="heal", node="", args={}, dry_run=True, key="k")) == "heal everything (dry run)"


@pytest.mark.parametrize("state", ["left", "draining"])
def test_starting_a_node_that_left_by_itself_calls_it_back(state: str) -> None:
    assert plan(action("start"), supervised=True, node_state=state) == Step("n1", "undrain", {})


def test_without_a_supervisor_a_node_can_be_told_to_end_itself_and_nothing_more() -> None:
    assert plan(action("kill", signal="KILL"), supervised=False, node_state="online") == Step(
        "n1", "kill", {"signal": "KILL"}
    )
    with pytest.raises(OperationRefusedError, match="no supervisor"):
        plan(action("kill"), supervised=False, node_state=None)
    with pytest.raises(OperationRefusedError, match="no supervisor"):
        plan(action("start"), supervised=False, node_state="online")


def test_an_action_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(OperationRefusedError, match="there are: drain"):
        plan(action("explode"), supervised=True, node_state="online")
