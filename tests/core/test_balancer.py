"""Who gets the next connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.balancer import Backend, Balancer, Move
from wsmon.protocol.states import NodeState

RAMP_S = 30.0


def backend(state: NodeState = NodeState.ONLINE, *, boot: int = 1, age_s: float = 1_000.0) -> Backend:
    return Backend(state=state, boot=boot, address="127.0.0.1:1", admin="ws+unix:///n.sock", age_s=age_s)


def balancer(**nodes: Backend) -> Balancer:
    made = Balancer(ramp_s=RAMP_S)
    made.update(nodes, 0.0)
    return made


def fill(made: Balancer, **counts: int) -> None:
    for node, count in counts.items():
        for _ in range(count):
            made.opened(node)


def place(made: Balancer, count: int, now: float) -> list[str]:
    """Open `count` connections where the balancer says; return where they went."""
    went = []
    for _ in range(count):
        node = made.pick(now)
        assert node is not None
        made.opened(node)
        went.append(node)
    return went


def test_equals_are_chosen_in_turn_and_the_least_loaded_first() -> None:
    made = balancer(n1=backend(), n2=backend(), n3=backend())
    assert sorted(place(made, 3, 0.0)) == ["n1", "n2", "n3"]
    made.closed("n2")
    assert made.pick(0.0) == "n2"


def test_idle_equals_take_turns_even_if_nothing_stays_open() -> None:
    made = balancer(n1=backend(), n2=backend())
    assert {made.pick(0.0), made.pick(0.0)} == {"n1", "n2"}


@pytest.mark.parametrize("state", [state for state in NodeState if state is not NodeState.ONLINE])
def test_only_online_nodes_get_anything_new(state: NodeState) -> None:
    made = balancer(n1=backend(state))
    assert made.pick(0.0) is None
    assert made.weight("n1", 0.0) == 0.0


def test_a_node_without_an_address_gets_nothing() -> None:
    made = balancer(n1=Backend(state=NodeState.ONLINE))
    assert made.pick(0.0) is None


def test_a_node_that_just_failed_is_passed_over() -> None:
    made = balancer(n1=backend(), n2=backend())
    assert made.pick(0.0, without={"n1"}) == "n2"
    assert made.pick(0.0, without={"n1", "n2"}) is None


def test_a_node_that_took_nothing_is_the_last_choice_for_longer_and_longer() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n2=5)
    made.took_nothing("unknown", 0.0)
    now = 0.0
    for avoided_s in (2.0, 4.0, 8.0, 15.0, 15.0):
        made.took_nothing("n1", now)
        assert made.pick(now + avoided_s - 0.1) == "n2"
        assert made.pick(now + avoided_s - 0.1, without={"n2"}) == "n1"
        now += avoided_s
        assert made.pick(now) == "n1"
    made.took("n1")
    made.took_nothing("n1", now)
    assert made.pick(now + 2.0) == "n1"


def test_another_life_of_a_node_that_took_nothing_is_tried_at_once() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n2=15)
    made.took_nothing("n1", 0.0)
    made.update({"n1": backend(NodeState.JOINING, boot=2), "n2": backend()}, 0.1)
    made.update({"n1": backend(boot=2), "n2": backend()}, 0.2)
    assert made.pick(0.3) == "n1"


def test_a_cluster_that_starts_needs_no_ramp() -> None:
    made = balancer(n1=backend(age_s=0.5))
    made.update({"n1": backend(age_s=1.0), "n2": backend(age_s=0.0)}, 0.5)
    assert made.weight("n1", 0.5) == made.weight("n2", 0.5) == 1.0


def test_a_node_that_comes_back_gets_its_share_back_step_by_step() -> None:
    made = balancer(n1=backend(), n2=backend(NodeState.REMOVED))
    made.update({"n1": backend(), "n2": backend(NodeState.RECOVERING)}, 1.0)
    made.update({"n1": backend(), "n2": backend(age_s=0)}, 2.0)
    assert made.weight("n2", 2.0) == pytest.approx(0.1)
    assert made.weight("n2", 17.0) == pytest.approx(0.55)
    assert made.weight("n2", 32.0) == 1.0
    fill(made, n1=20)
    assert place(made, 3, 2.0) == ["n2", "n2", "n1"]


def test_a_new_node_among_established_ones_is_ramped_from_the_time_of_its_verdict() -> None:
    made = balancer(n1=backend())
    made.update({"n1": backend(), "n2": backend(age_s=15)}, 100.0)
    assert made.weight("n2", 100.0) == pytest.approx(0.55)


def test_suspicion_costs_no_ramp() -> None:
    made = balancer(n1=backend(), n2=backend())
    made.update({"n1": backend(), "n2": backend(NodeState.SUSPECT)}, 1.0)
    made.update({"n1": backend(), "n2": backend(age_s=0)}, 2.0)
    assert made.weight("n2", 2.0) == 1.0


def test_without_a_ramp_everybody_counts_in_full() -> None:
    made = Balancer(ramp_s=0)
    made.update({"n1": backend()}, 0.0)
    made.update({"n1": backend(), "n2": backend(age_s=0)}, 5.0)
    assert made.weight("n2", 5.0) == 1.0


def test_removed_nodes_and_earlier_lives_are_cut() -> None:
    made = balancer(n1=backend(), n2=backend(), n3=backend())
    told = {"n1": backend(NodeState.REMOVED), "n2": backend(NodeState.JOINING, boot=2), "n3": backend()}
    assert made.update(told, 1.0) == ("n1", "n2")
    assert made.update({"n2": backend(NodeState.JOINING, boot=2), "n3": backend()}, 2.0) == ()
    assert set(made.nodes) == {"n2", "n3"}


def test_connections_are_moved_to_a_node_that_came_back_gently() -> None:
    made = balancer(n1=backend(), n2=backend(), n3=backend())
    fill(made, n1=30, n2=30)
    assert made.moves(100.0) == (Move("n1", 3), Move("n2", 3))


def test_the_last_moves_stop_at_the_fair_share() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n1=56, n2=44)
    assert made.moves(100.0) == ()
    fill(made, n1=1)
    assert made.moves(100.0) == (Move("n1", 6),)
    small = balancer(n1=backend(), n2=backend())
    fill(small, n1=4)
    assert small.moves(100.0) == (Move("n1", 1),)


def test_nothing_moves_while_a_node_is_on_its_way_or_only_just_back() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n1=60)
    for state in (NodeState.DRAINING, NodeState.SUSPECT, NodeState.JOINING, NodeState.RECOVERING):
        made.update({"n1": backend(), "n2": backend(), "n3": backend(state)}, 1.0)
        assert made.moves(1.0) == ()
    made.update({"n1": backend(), "n2": backend(), "n3": backend(age_s=0)}, 2.0)
    assert made.moves(16.0) == ()
    assert made.moves(18.0) != ()


def test_towards_a_node_that_refuses_only_one_connection_is_moved_now_and_then() -> None:
    made = balancer(n1=backend(), n2=backend(), n3=backend())
    fill(made, n1=30, n2=31)
    made.took_nothing("n3", 100.0)
    assert made.moves(101.0) == ()
    assert made.moves(115.0) == (Move("n2", 1),)
    assert made.moves(116.0) == ()
    made.took("n3")
    made.took("unknown")
    assert made.moves(117.0) == (Move("n1", 3), Move("n2", 4))


def test_nodes_that_are_gone_do_not_keep_the_others_uneven() -> None:
    made = balancer(n1=backend(), n2=backend(), n3=backend(NodeState.REMOVED), n4=backend(NodeState.LEFT))
    fill(made, n1=60)
    assert made.moves(100.0) == (Move("n1", 6),)


def test_one_node_has_nowhere_to_move_to() -> None:
    made = balancer(n1=backend())
    fill(made, n1=60)
    assert made.moves(100.0) == ()


@given(st.lists(st.integers(0, 200), min_size=2, max_size=6), st.floats(0, 60))
def test_moving_until_nothing_is_left_to_move_ends_and_is_even(counts: list[int], now: float) -> None:
    nodes = {f"n{index}": backend() for index in range(len(counts))}
    made = balancer(**nodes)
    fill(made, **{f"n{index}": count for index, count in enumerate(counts)})
    for _ in range(200):
        moves = made.moves(now)
        if not moves:
            break
        for move in moves:
            assert 0 < move.count <= made.connections(move.node) * 0.1 + 1
            for _ in range(move.count):
                made.closed(move.node)
        place(made, sum(move.count for move in moves), now)
    loads = [made.connections(node) for node in nodes]
    assert sum(loads) == sum(counts)
    assert max(loads) - min(loads) <= 0.2 * sum(loads) / len(loads) + 2
