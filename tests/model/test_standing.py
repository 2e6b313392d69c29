import pytest

from tests.support.facts import (
    BOOT,
    T0,
    all_beat,
    entries,
    gone,
    happened,
    leading,
    running,
    says,
    seen,
    table,
    target,
    verdict,
    well,
)
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import RedisSeen
from wsmon.model.standing import Standing, leader, standing, voices
from wsmon.protocol.events import NodeStateChanged
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState


def of(model: ClusterModel, now: float = T0, name: str = "n1") -> Standing:
    return standing(model, name, voices(model, now))


def without_checker(**own: str) -> ClusterModel:
    model = ClusterModel("demo")
    for name, state in own.items():
        model.apply(seen(name))
        model.apply(says(name, {"state": state}))
    return model


def test_the_leading_checkers_word_is_the_state_and_since_when() -> None:
    assert of(well()) == Standing(NodeState.ONLINE, T0, "")


@pytest.mark.parametrize("word", ["suspect", "removed", "recovering", "quarantined", "joining"])
def test_what_the_checker_finds_wrong_stands_above_the_nodes_own_word(word: str) -> None:
    model = well()
    model.apply(says("checker", leading({"n1": target(word, T0 + 1, reason="because")}), T0 + 1))
    assert of(model, T0 + 1) == Standing(NodeState(word), T0 + 1, "because")


@pytest.mark.parametrize("word", ["draining", "left", "cordoned", "joining"])
def test_a_nodes_own_business_stands_above_online(word: str) -> None:
    model = well()
    model.apply(says("n1", {"state": word}, T0 + 1))
    assert of(model, T0 + 1) == Standing(NodeState(word), T0 + 1, "")


def test_a_node_that_has_left_is_not_draining_any_more() -> None:
    model = well()
    model.apply(says("checker", leading({"n1": target("draining", T0 + 1, reason="the node says so")}), T0 + 1))
    assert of(model, T0 + 1).state is NodeState.DRAINING
    model.apply(says("n1", {"state": "draining"}, T0 + 1))
    assert of(model, T0 + 1) == Standing(NodeState.DRAINING, T0 + 1, "the node says so")
    model.apply(says("n1", {"state": "left"}, T0 + 2))
    assert of(model, T0 + 2).state is NodeState.LEFT
    model.apply(says("n1", {"state": "cordoned"}, T0 + 2))
    assert of(model, T0 + 2).state is NodeState.DRAINING


def test_a_node_that_left_stays_left_until_a_new_life_of_it_joins() -> None:
    model = well()
    model.apply(says("checker", leading({"n1": target("left", T0 + 1)}), T0 + 1))
    model.apply(table(verdict("n1", NodeState.LEFT, T0 + 1), at=T0 + 1))
    model.apply(gone("n1", T0 + 1))
    assert of(model, T0 + 1).state is NodeState.LEFT
    assert of(model, T0 + 900).state is NodeState.LEFT
    model.apply(seen("n1", T0 + 2, boot=BOOT + 1))
    model.apply(says("n1", {"state": "joining"}, T0 + 2, boot=BOOT + 1))
    assert of(model, T0 + 2).state is NodeState.JOINING


def test_an_old_word_of_a_silent_node_does_not_count() -> None:
    model = well()
    model.apply(says("n1", {"state": "draining"}, T0 + 1))
    all_beat(model, T0 + 8, but=("n1",))
    assert of(model, T0 + 8).state is NodeState.ONLINE


def test_an_event_newer_than_the_checkers_state_is_believed_and_an_older_is_not() -> None:
    model = well()
    model.apply(says("checker", leading({"n1": target("online", T0)}), T0 + 5))
    suspect = NodeStateChanged(node="n1", old="online", new="suspect", reason="heartbeat 1/3 missed")
    model.apply(happened(suspect, T0 + 4, seq=1, source="checker"))
    assert of(model, T0 + 6).state is NodeState.ONLINE
    model.apply(happened(suspect, T0 + 5.1, seq=2, source="checker"))
    assert of(model, T0 + 6) == Standing(NodeState.SUSPECT, T0 + 5.1, "heartbeat 1/3 missed")
    model.apply(says("checker", leading({"n1": target("suspect", T0 + 5.1)}), T0 + 5.3))
    assert of(model, T0 + 6) == Standing(NodeState.SUSPECT, T0 + 5.1, "heartbeat 1/3 missed")


def test_a_target_without_a_time_takes_it_from_the_table() -> None:
    model = well()
    bare: JsonObject = {"state": "online"}
    model.apply(says("checker", leading({"n1": bare}), T0 + 1))
    assert of(model, T0 + 1) == Standing(NodeState.ONLINE, T0, "")
    model.apply(says("checker", leading({"n1": {"state": "suspect"}}), T0 + 2))
    assert of(model, T0 + 2) == Standing(NodeState.SUSPECT, None, "")


def test_the_table_speaks_when_no_checker_does_and_the_node_lives() -> None:
    model = well()
    model.apply(gone("checker", T0 + 1))
    model.apply(table(verdict("n1", NodeState.SUSPECT, T0 + 1, "http 1/2 missed"), at=T0 + 1))
    assert of(model, T0 + 2) == Standing(NodeState.SUSPECT, T0 + 1, "http 1/2 missed")


def test_a_node_without_a_verdict_is_not_online() -> None:
    assert of(without_checker(n1="online")) == Standing(NodeState.JOINING, None, "no verdict of the checker yet")
    assert of(without_checker(n1="draining")).state is NodeState.DRAINING
    assert of(ClusterModel("demo")).state is NodeState.JOINING


def test_a_process_that_died_before_any_verdict_is_removed() -> None:
    model = without_checker(supervisor="")
    state = running("n1")
    state["processes"]["n1"]["status"] = "exited"  # type: ignore[index,call-overload]
    model.apply(says("supervisor", state))
    assert of(model) == Standing(NodeState.REMOVED, None, "its process is gone")


def test_a_verdict_that_was_taken_back_is_over() -> None:
    model = well()
    suspect = NodeStateChanged(node="n1", old="online", new="removed")
    model.apply(happened(suspect, T0 + 1, seq=1, source="checker"))
    model.apply(says("checker", leading({}), T0 + 2))
    model.apply(table(at=T0 + 2))
    assert of(model, T0 + 2).state is NodeState.JOINING


def test_a_node_that_nobody_can_know_of_is_stale_since_it_was_last_heard_of() -> None:
    model = well()
    all_beat(model, T0 + 2)
    all_beat(model, T0 + 4, but=("checker",))
    model.apply(gone("checker", T0 + 4))
    assert of(model, T0 + 8).state is NodeState.ONLINE
    all_beat(model, T0 + 9, but=("checker", "n1"))
    assert of(model, T0 + 10) == Standing(NodeState.STALE, T0 + 4, "neither a checker nor the node is heard")


def test_the_supervisor_knows_a_dead_process_even_without_a_checker() -> None:
    model = well()
    model.apply(gone("checker", T0))
    model.apply(gone("n1", T0))
    dead = running("n1")
    dead["processes"]["n1"]["status"] = "exited"  # type: ignore[index,call-overload]
    model.apply(says("supervisor", dead, T0 + 8))
    stands = of(model, T0 + 8)
    assert (stands.state, stands.reason) == (NodeState.STALE, "its process is gone and no checker is heard")
    model.apply(table(verdict("n1", NodeState.REMOVED, T0 + 1), at=T0 + 8))
    assert of(model, T0 + 8).state is NodeState.REMOVED


def test_a_checker_that_lets_nobody_in_is_believed_by_its_table() -> None:
    model = ClusterModel("demo")
    model.apply(RedisSeen(state="ok", at=T0))
    model.apply(entries("n1"))
    model.apply(table(verdict("n1", NodeState.ONLINE)))
    assert not voices(model, T0).judged
    model.apply(entries("n1", "checker"))
    assert of(model).state is NodeState.ONLINE
    assert of(model, T0 + 9) == Standing(NodeState.STALE, T0, "neither a checker nor the node is heard")


@pytest.mark.parametrize(
    ("said", "leads"),
    [
        ({"mode": "leading", "leader": "checker"}, True),
        ({"mode": "tilt", "leader": "checker"}, True),
        ({"mode": "panic", "leader": "checker"}, True),
        ({"mode": "standby", "leader": "checker-2"}, False),
        ({"mode": "blind"}, False),
        ({"mode": "leading"}, True),  # One that does not say who leads.
    ],
)
def test_the_checker_that_names_itself_leads_even_while_it_judges_nobody(said: JsonObject, *, leads: bool) -> None:
    model = ClusterModel("demo")
    model.apply(seen("checker"))
    model.apply(says("checker", said))
    assert (leader(voices(model, T0)) is not None) is leads


def test_only_a_leading_checker_leads() -> None:
    model = well()
    assert leader(voices(model, T0)) is not None
    model.apply(says("checker", {"mode": "blind"}, T0 + 1))
    assert leader(voices(model, T0 + 1)) is None
    assert leader(voices(model, T0 + 60)) is None
