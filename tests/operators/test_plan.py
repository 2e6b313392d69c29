"""Whom to ask for an action, decided without asking anybody."""

import pytest

from wsmon.commands import Action
from wsmon.errors import OperationRefusedError
from wsmon.operators.plan import Step, plan


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
