"""A rolling restart, decided without restarting anything."""

from dataclasses import replace

import pytest

from wsmon.model.rolling import (
    CALM_WITHIN_S,
    OFF_S,
    ONLINE_WITHIN_S,
    TOLD_WITHIN_S,
    Ask,
    Next,
    Over,
    Phase,
    Rolling,
    Seen,
    SeenNode,
    moves,
)
from wsmon.protocol.states import NodeState

NAMES = ("n1", "n2", "n3")


class World:
    """A cluster that does what it is asked, unless the test says otherwise."""

    def __init__(self, nodes: tuple[str, ...] = NAMES) -> None:
        self.rolling = Rolling(nodes, drain_within_s=10)
        self.seen = Seen(nodes={name: SeenNode(state=NodeState.ONLINE, boot=1) for name in NAMES}, lost=0)
        self.now = 0.0
        self.asked: list[Ask] = []

    def set(self, name: str, state: NodeState, *, boot: int | None = None) -> None:
        before = self.seen.nodes[name]
        node = SeenNode(state=state, boot=before.boot if boot is None else boot)
        self.seen = replace(self.seen, nodes={**self.seen.nodes, name: node})

    def tick(self, after: float = 0.1) -> Next:
        self.now += after
        asked = self.rolling.tick(self.seen, self.now)
        if isinstance(asked, Ask):
            self.asked.append(asked)
        return asked

    def drained(self, name: str, *, forced: int = 0) -> None:
        self.set(name, NodeState.LEFT)
        self.seen = replace(self.seen, forced={**self.seen.forced, name: forced})

    def back(self, name: str) -> None:
        self.set(name, NodeState.ONLINE, boot=self.seen.nodes[name].boot + 1)

    def restart(self, name: str) -> Next:
        """Go through one whole restart; return what comes after it."""
        assert self.tick() == Ask("drain", name)
        self.set(name, NodeState.DRAINING)
        assert self.tick() is None
        self.drained(name)
        assert self.tick() == Ask("restart", name)
        assert self.tick() is None, "it is the old life that is seen"
        self.set(name, NodeState.JOINING)
        assert self.tick() is None
        self.back(name)
        return self.tick()


def ended(told: Next) -> str:
    assert isinstance(told, Over)
    assert not told.ok
    return told.sentence


def test_nodes_are_restarted_one_after_the_other() -> None:
    world = World()
    assert world.restart("n1") is None
    assert world.rolling.done == ("n1",)
    assert world.restart("n2") is None
    told = world.restart("n3")
    assert told == Over(ok=True, sentence="n1, n2, n3 restarted, no message lost")
    assert [(ask.op, ask.node) for ask in world.asked] == [
        (op, name) for name in NAMES for op in ("drain", "restart")
    ], "never two at a time"


def test_one_that_left_before_is_nobodys_trouble() -> None:
    world = World(("n1",))
    world.set("n3", NodeState.LEFT)
    world.seen = replace(world.seen, lost=None)
    assert world.restart("n1") == Over(ok=True, sentence="n1 restarted")


def test_nothing_is_begun_while_another_node_is_away() -> None:
    world = World()
    world.set("n2", NodeState.SUSPECT)
    assert world.tick() is None, "that may pass"
    world.set("n2", NodeState.ONLINE)
    assert world.tick() == Ask("drain", "n1")
    world = World()
    world.set("n2", NodeState.RECOVERING)
    assert world.tick() is None
    assert "n2 is recovering, so n1 is left alone" in ended(world.tick(CALM_WITHIN_S))
    world = World()
    world.set("n2", NodeState.REMOVED)
    assert "n2 is removed" in ended(world.tick())
    assert world.asked == []


def test_nothing_is_begun_while_clients_are_away() -> None:
    world = World()
    world.seen = replace(world.seen, away=3)
    assert world.tick() is None
    assert "3 clients are still without a connection" in ended(world.tick(CALM_WITHIN_S))


def test_the_last_node_is_not_emptied() -> None:
    world = World(("n1",))
    for name in ("n2", "n3"):
        world.set(name, NodeState.LEFT)
    assert "no node but n1 is online" in ended(world.tick())


def test_a_node_that_is_not_online_or_not_there_is_not_restarted_in_turn() -> None:
    world = World(("n1",))
    world.set("n1", NodeState.LEFT)
    assert world.tick() is None
    assert "n1 is left" in ended(world.tick(CALM_WITHIN_S))
    assert "there is no node n9" in ended(World(("n9",)).tick())


def test_another_node_that_fails_calls_the_drain_off() -> None:
    world = World()
    world.tick()
    world.set("n1", NodeState.DRAINING)
    world.set("n3", NodeState.SUSPECT)
    assert world.tick() is None, "one missed heartbeat is no trouble"
    assert world.tick(OFF_S) == Ask("abort", "n1")
    told = ended(world.tick())
    assert "n3 is suspect; the drain of n1 was called off (stopped, 3 of 3 not done)" in told


def test_a_removed_node_calls_it_off_at_once() -> None:
    world = World()
    world.tick()
    world.set("n2", NodeState.REMOVED)
    assert world.tick() == Ask("abort", "n1")


def test_a_node_that_comes_back_in_time_is_forgotten() -> None:
    world = World()
    world.tick()
    for _ in range(5):
        world.set("n3", NodeState.SUSPECT)
        assert world.tick(OFF_S * 0.9) is None
        world.set("n3", NodeState.ONLINE)
        assert world.tick() is None


def test_a_drain_that_closed_connections_is_a_failed_one() -> None:
    world = World()
    world.tick()
    world.drained("n1", forced=4)
    assert world.tick() == Ask("restart", "n1"), "it is empty: online it is worth more"
    world.back("n1")
    told = ended(world.tick())
    assert "the drain of n1 failed: 4 connections were closed at its deadline" in told
    assert "2 of 3 not done; restarted before that: n1" in told


def test_how_a_drain_went_is_waited_for_a_little() -> None:
    world = World()
    world.tick()
    world.set("n1", NodeState.LEFT)
    assert world.tick() is None
    assert world.tick(TOLD_WITHIN_S) == Ask("restart", "n1")


def test_a_drain_without_an_end_is_called_off() -> None:
    world = World()
    world.tick()
    world.set("n1", NodeState.DRAINING)
    assert world.tick(20.0) is None
    assert world.tick() == Ask("abort", "n1")
    assert "n1 is not empty after 20 s" in ended(world.tick())


@pytest.mark.parametrize("gone", [True, False])
def test_a_node_that_dies_while_it_drains_ends_it(*, gone: bool) -> None:
    world = World()
    world.tick()
    if gone:
        world.seen = replace(world.seen, nodes={name: node for name, node in world.seen.nodes.items() if name != "n1"})
    else:
        world.set("n1", NodeState.REMOVED)
    assert "n1 was removed while it drained" in ended(world.tick())


def test_a_lost_message_ends_it() -> None:
    world = World()
    world.seen = replace(world.seen, lost=7)
    world.tick()
    world.seen = replace(world.seen, lost=8)
    assert world.tick() == Ask("abort", "n1")
    assert "1 message was lost since the beginning" in ended(world.tick())
    world = World()
    assert world.restart("n1") is None
    world.seen = replace(world.seen, lost=2)
    assert "2 messages were lost" in ended(world.tick())


def test_trouble_after_the_drain_still_brings_the_node_back() -> None:
    world = World()
    world.tick()
    world.drained("n1")
    world.tick()
    world.set("n2", NodeState.REMOVED)
    assert world.tick() is None
    world.back("n1")
    assert "n2 is removed" in ended(world.tick())
    assert world.rolling.done == ("n1",)


def test_a_node_that_does_not_come_back_ends_it() -> None:
    world = World()
    world.tick()
    world.drained("n1")
    world.tick()
    assert world.tick(ONLINE_WITHIN_S) is None
    assert "n1 is not online 60 s after its restart" in ended(world.tick())


def test_a_refusal_ends_it() -> None:
    world = World()
    world.tick()
    assert world.rolling.phase is Phase.DRAINING
    assert "drain n1: no" in ended(world.rolling.refused("no"))
    world.drained("n1")
    world.tick()
    assert "restart n1: no" in ended(world.rolling.refused("no"))


def test_the_plan_says_who_takes_how_many() -> None:
    seen = Seen(
        nodes={
            "n1": SeenNode(state=NodeState.ONLINE, connections=20),
            "n2": SeenNode(state=NodeState.ONLINE, connections=10),
            "n3": SeenNode(state=NodeState.ONLINE, connections=30),
            "n4": SeenNode(state=NodeState.LEFT, connections=0),
        }
    )
    first, second, third = moves(NAMES, seen)
    assert (first.node, first.connections, first.survivors, first.most) == ("n1", 20, ("n2", "n3"), 30)
    assert (second.connections, second.survivors, second.most) == (30, ("n1", "n3"), 30)
    assert (third.connections, third.most) == (30, 30)
    (alone,) = moves(("n1",), Seen(nodes={"n1": SeenNode(state=NodeState.ONLINE, connections=5)}))
    assert (alone.connections, alone.survivors, alone.most) == (5, (), 0)
