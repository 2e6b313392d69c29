"""Who sees whom: what each believes, and where that cannot all be true."""

import random

import pytest

from tests.support import facts
from tests.support.facts import T0, all_beat, entries, gone, leading, says, table, target, verdict, well
from tests.support.frames import HOSTILE
from wsmon.model.cluster import ClusterModel
from wsmon.protocol.frames import Json, JsonObject
from wsmon.protocol.states import NodeState
from wsmon.views.beliefs import beliefs
from wsmon.views.beliefs_frame import Beliefs, Observer


def of(told: Beliefs, observer: str) -> Observer:
    return next(row for row in told.observers if row.name == observer)


def words(told: Beliefs, observer: str) -> list[str]:
    return [opinion.word for opinion in of(told, observer).opinions]


def judged(model: ClusterModel, node: str, state: str, at: float = T0 + 1) -> None:
    """Let the checker and its table say something of a node."""
    targets = {name: target("online") for name in ("n1", "n2", "n3")}
    targets[node] = target(state)
    model.apply(says("checker", leading(targets), at, rev=2))
    verdicts = [verdict(name, NodeState.ONLINE) for name in ("n1", "n2", "n3") if name != node]
    model.apply(table(*verdicts, verdict(node, NodeState(state)), at=at))


def gateway_says(model: ClusterModel, at: float = T0 + 1, **states: str) -> None:
    told: JsonObject = {name: {"state": "online", "connections": 1} for name in ("n1", "n2", "n3")}
    told.update({name: {"state": state} for name, state in states.items()})
    model.apply(says("gateway", {"backends": told}, at, rev=2))


def test_when_all_is_well_all_agree() -> None:
    told = beliefs(well(), T0 + 1)
    assert told.nodes == ("n1", "n2", "n3")
    assert told.doubts == ()
    assert [row.name for row in told.observers] == [
        "checker",
        "health table",
        "gateway",
        "registry",
        "themselves",
        "supervisor",
        "wsmon",
    ]
    assert not any(opinion.odd for row in told.observers for opinion in row.opinions)
    assert words(told, "supervisor") == ["running"] * 3
    assert words(told, "wsmon") == ["reached"] * 3


def test_the_leader_comes_first_with_its_epoch_and_the_age_of_its_word() -> None:
    first = beliefs(well(), T0 + 1).observers[0]
    assert (first.name, first.leads, first.epoch, first.heard_s, first.leader) == ("checker", True, 1, 1.0, "checker")
    assert of(beliefs(well(), T0 + 1), "health table").opinions[0].epoch == 1


def test_a_gateway_that_still_trusts_a_removed_node_lights_up() -> None:
    model = well()
    judged(model, "n2", "removed")
    gateway_says(model)
    told = beliefs(model, T0 + 1.5)
    assert [opinion.odd for opinion in of(told, "gateway").opinions] == [False, True, False]
    assert "n2: gateway says online, checker says removed" in told.doubts


def test_a_removed_node_that_thinks_it_is_online_lights_up() -> None:
    model = well()
    judged(model, "n2", "removed")
    gateway_says(model, n2="removed")
    told = beliefs(model, T0 + 1.5)
    assert told.doubts == (
        "n2: it says online, checker says removed",
        "n2: supervisor says running, checker says removed",
        "n2: wsmon says reached, checker says removed",
    )


def test_a_dead_node_is_no_disagreement() -> None:
    model = well()
    judged(model, "n2", "removed")
    gateway_says(model, n2="removed")
    processes: JsonObject = {item: {"kind": "node", "status": "running"} for item in ("n1", "n3")}
    processes["n2"] = {"kind": "node", "status": "exited"}
    model.apply(says("supervisor", {"processes": processes}, T0 + 1, rev=2))
    model.apply(gone("n2", T0 + 1))
    told = beliefs(model, T0 + 4)
    assert told.doubts == ()
    assert (words(told, "supervisor")[1], words(told, "wsmon")[1]) == ("exited", "gone")
    mine = of(told, "themselves").opinions[1]
    assert (mine.word, mine.old_s, mine.odd) == ("online", 4.0, False)


def test_a_node_that_is_gone_while_the_checker_trusts_it_lights_up() -> None:
    model = well()
    model.apply(gone("n2", T0 + 1))
    model.apply(entries("n1", "n3", "checker", "gateway", "fleet", "supervisor", at=T0 + 1))
    assert beliefs(model, T0 + 2).doubts == (
        "n2: registry says absent, checker says online",
        "n2: wsmon says gone, checker says online",
    )


@pytest.mark.parametrize("state", ["suspect", "quarantined", "joining", "recovering", "left"])
def test_between_up_and_removed_a_running_process_is_no_contradiction(state: str) -> None:
    model = well()
    judged(model, "n2", state)
    gateway_says(model, n2=state)
    assert beliefs(model, T0 + 1.5).doubts == ()


@pytest.mark.parametrize("word", ["draining", "cordoned"])
def test_what_a_node_does_of_its_own_will_is_no_contradiction(word: str) -> None:
    model = well()
    model.apply(says("n2", {"state": word, "connections": 3}, T0 + 1, rev=2))
    gateway_says(model, n2=word)
    assert beliefs(model, T0 + 1.5).doubts == ()
    assert words(beliefs(model, T0 + 1.5), "themselves")[1] == word


def test_a_gateway_that_does_not_know_a_node_lights_up() -> None:
    model = well()
    model.apply(says("gateway", {"backends": {"n1": {"state": "online"}, "n3": {"state": "online"}}}, T0 + 1, rev=2))
    assert beliefs(model, T0 + 1.5).doubts == ("n2: gateway says absent, checker says online",)
    model.apply(says("gateway", {"accepts": 3}, T0 + 1, rev=3))
    assert words(beliefs(model, T0 + 1.5), "gateway") == ["", "", ""]


def test_two_checkers_that_follow_different_leaders_light_up() -> None:
    model = well()
    facts.KINDS["checker2"] = facts.KINDS["checker"]
    try:
        model.apply(facts.seen("checker2"))
    finally:
        del facts.KINDS["checker2"]
    targets: JsonObject = {"n1": {"state": "online"}, "n2": {"state": "suspect"}}
    model.apply(says("checker2", {"mode": "standby", "leader": "checker", "epoch": 0, "targets": targets}))
    told = beliefs(model, T0 + 1)
    assert told.doubts == ("n2: checker2 says suspect, checker says online",)
    assert words(told, "checker2") == ["online", "suspect", ""]
    model.apply(
        says("checker2", {"mode": "leading", "leader": "checker2", "epoch": 2, "targets": targets}, T0 + 1, rev=2)
    )
    told = beliefs(model, T0 + 1)
    assert told.doubts[0] == "checker takes itself for the leader, not checker2"


def test_a_silent_observer_is_old_and_contradicts_nobody() -> None:
    model = well()
    gateway_says(model, T0, n2="removed")
    all_beat(model, T0 + 20, but=("gateway",))
    model.apply(table(*(verdict(name, NodeState.ONLINE) for name in ("n1", "n2", "n3")), at=T0 + 20))
    told = beliefs(model, T0 + 20)
    gateway = of(told, "gateway")
    assert (gateway.old, gateway.heard_s) == (True, 20.0)
    assert gateway.opinions[1].old_s == 20.0
    assert told.doubts == ()


def test_without_a_leader_the_table_is_what_others_are_compared_with() -> None:
    model = well()
    model.apply(gone("checker", T0 + 1))
    model.apply(table(verdict("n1", NodeState.ONLINE), verdict("n2", NodeState.REMOVED), at=T0 + 1))
    gateway_says(model, n2="online")
    assert "n2: gateway says online, health table says removed" in beliefs(model, T0 + 1.5).doubts


def test_without_any_judge_nobody_is_contradicted() -> None:
    model = well()
    model.apply(gone("checker", T0 + 1))
    all_beat(model, T0 + 20, but=("checker",))
    gateway_says(model, T0 + 20, n2="removed")
    told = beliefs(model, T0 + 20)
    assert told.doubts == ()
    assert of(told, "health table").old


def test_of_nothing_nothing_is_believed() -> None:
    assert beliefs(ClusterModel("demo"), T0) == Beliefs(observers=(Observer(name="themselves"), Observer(name="wsmon")))


def test_hostile_states_harm_nobody() -> None:
    dice = random.Random(2)
    strange: tuple[Json, ...] = (None, True, -1, 1e300, "x" * 10_000, HOSTILE, [], {}, "removed", {"state": HOSTILE})
    model = well(("n1", HOSTILE, "x" * 10_000))
    for rev in range(2, 60):
        inner: JsonObject = {node: {"state": dice.choice(strange)} for node in ("n1", HOSTILE, "x" * 10_000)}
        for peer, field in (("checker", "targets"), ("gateway", "backends"), ("supervisor", "processes")):
            state: JsonObject = {field: dice.choice((inner, *strange)), "leader": dice.choice(strange)}
            model.apply(says(peer, state, T0 + rev / 100, rev=rev))
        told = beliefs(model, T0 + 1)
        assert all(len(row.opinions) == len(told.nodes) for row in told.observers)
        texts = [*told.nodes, *told.doubts, *(opinion.word for row in told.observers for opinion in row.opinions)]
        assert all(text.isprintable() for text in texts)
