"""Who gets the next connection."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.balancer import HANDSHAKES_AT_ONCE, Backend, Balancer, BreakerChange, Move
from sample_cluster.core.breaker import BreakerTiming, State
from wsmon.protocol.states import NodeState

RAMP_S = 30.0


def backend(state: NodeState = NodeState.ONLINE, *, boot: int = 1, age_s: float = 1_000.0) -> Backend:
    return Backend(state=state, boot=boot, address="127.0.0.1:1", admin="ws+unix:///n.sock", age_s=age_s)


def balancer(*, seed: int = 1, **nodes: Backend) -> Balancer:
    made = Balancer(ramp_s=RAMP_S, dice=Random(seed))
    made.update(nodes, 0.0)
    return made


def fill(made: Balancer, **counts: int) -> None:
    for node, count in counts.items():
        for _ in range(count):
            made.opened(node)
            made.took(node)


def place(made: Balancer, count: int, now: float) -> list[str]:
    """Open `count` connections where the balancer says; return where they went."""
    went = []
    for _ in range(count):
        node = made.pick(now)
        assert node is not None
        made.opened(node)
        made.took(node)
        went.append(node)
    return went


def turn_away(made: Balancer, node: str, now: float) -> None:
    """Let the node answer a connection with a refusal."""
    made.opened(node)
    made.took_nothing(node, now)
    made.closed(node)


def miss(made: Balancer, node: str, now: float) -> None:
    """Let a connection to the node fail."""
    made.opened(node)
    made.unreached(node, now)
    made.closed(node)


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
    now = 0.0
    for avoided_s in (2.0, 4.0, 8.0, 15.0, 15.0):
        turn_away(made, "n1", now)
        assert made.pick(now + avoided_s - 0.1) == "n2"
        assert made.pick(now + avoided_s - 0.1, without={"n2"}) == "n1"
        now += avoided_s
        assert made.pick(now) == "n1"
    fill(made, n1=1)
    turn_away(made, "n1", now)
    assert made.pick(now + 2.0) == "n1"
    assert made.changes == []


def test_another_life_of_a_node_that_took_nothing_is_tried_at_once() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n2=15)
    turn_away(made, "n1", 0.0)
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
    made = Balancer(ramp_s=0, dice=Random(1))
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
    turn_away(made, "n3", 100.0)
    assert made.moves(101.0) == ()
    assert made.moves(115.0) == (Move("n2", 1),)
    assert made.moves(116.0) == ()
    fill(made, n3=1)
    made.closed("n3")
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
    made = Balancer(ramp_s=RAMP_S, dice=Random(1))
    made.update(nodes, 0.0)
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


def test_a_node_gets_a_few_handshakes_at_a_time() -> None:
    made = balancer(n1=backend())
    for _ in range(HANDSHAKES_AT_ONCE):
        assert made.pick(0.0) == "n1"
        made.opened("n1")
    assert made.pick(0.0) is None
    assert made.usable(0.0) == 1
    assert made.usable(0.0, without={"n1"}) == 0
    made.took("n1")
    assert made.pick(0.0) == "n1"
    made.opened("n1")
    made.gave_up("n1")
    assert made.pick(0.0) == "n1"


def test_a_node_that_does_not_answer_is_the_last_choice_for_a_second_and_then_its_breaker_opens() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n2=5)
    for number in range(5):
        assert made.pick(float(number)) == "n1"
        miss(made, "n1", float(number))
        assert made.pick(number + 0.9) == "n2"
    assert made.changes == [BreakerChange("n1", State.CLOSED, State.OPEN)]
    assert made.usable(5.0) == 1
    assert made.pick(5.0, without={"n2"}) is None
    again = 4.0 + made.breaker("n1").retry_in_s(4.0)
    assert made.pick(again) == "n1"
    assert made.changes[1:] == [BreakerChange("n1", State.OPEN, State.HALF_OPEN)]
    made.opened("n1")
    assert made.pick(again) == "n2", "one at a time finds out"
    made.took("n1")
    assert made.changes[2:] == [BreakerChange("n1", State.HALF_OPEN, State.CLOSED)]
    assert made.pick(again) == "n1"


def test_a_client_that_leaves_decides_nothing_about_a_node() -> None:
    made = balancer(n1=backend())
    for _ in range(5):
        miss(made, "n1", 0.0)
    assert made.pick(10.0) == "n1"
    made.opened("n1")
    made.gave_up("n1")
    made.closed("n1")
    assert made.breaker("n1").state is State.HALF_OPEN
    assert made.pick(10.0) == "n1"


def test_another_life_of_a_node_begins_with_a_closed_breaker() -> None:
    made = balancer(n1=backend())
    for _ in range(5):
        miss(made, "n1", 0.0)
    made.update({"n1": backend(NodeState.JOINING, boot=2)}, 1.0)
    assert made.breaker("n1").state is State.CLOSED
    assert made.changes[-1] == BreakerChange("n1", State.OPEN, State.CLOSED)


def test_a_handshake_may_end_after_its_node_left_the_table() -> None:
    made = balancer(n1=backend())
    for _ in range(4):
        made.opened("n1")
    made.update({}, 1.0)
    made.took("n1")
    made.took_nothing("n1", 1.0)
    made.unreached("n1", 1.0)
    made.gave_up("n1")
    assert made.connections("n1") == 4
    assert made.changes == []


def test_the_times_of_the_breaker_are_handed_in() -> None:
    made = Balancer(ramp_s=1, dice=Random(1), breaker=BreakerTiming(open_s=0.5, open_most_s=2))
    made.update({"n1": backend()}, 0.0)
    for _ in range(5):
        miss(made, "n1", 0.0)
    assert 0.4 < made.breaker("n1").retry_in_s(0.0) < 0.6


def test_balancers_do_not_all_begin_with_the_same_node() -> None:
    firsts = Counter(balancer(seed=seed, n1=backend(), n2=backend(), n3=backend()).pick(0.0) for seed in range(300))
    assert min(firsts[node] for node in ("n1", "n2", "n3")) > 60


@pytest.mark.parametrize("seed", range(5))
def test_what_several_balancers_spread_evenly_is_even_in_sum(seed: int) -> None:
    dice = Random(seed)
    nodes = {"n1": backend(), "n2": backend(), "n3": backend()}
    made = [balancer(seed=seed * 10 + number, **nodes) for number in range(3)]
    for _ in range(400):
        place(dice.choices(made, weights=(5, 2, 1))[0], 1, 0.0)
    sums = [sum(each.connections(node) for each in made) for node in nodes]
    assert max(sums) - min(sums) <= 3


class Crowd:
    """Clients of two gateways at three nodes. A node sends those away that came first, whoever brought them."""

    def __init__(self, seed: int, shares: list[dict[str, int]]) -> None:
        nodes = {"n1": backend(), "n2": backend(), "n3": backend()}
        self.gateways = [balancer(seed=seed + number, **nodes) for number in range(len(shares))]
        self.clients: dict[str, list[int]] = {node: [] for node in nodes}
        self.moved = 0
        for number, share in enumerate(shares):
            fill(self.gateways[number], **share)
            for node, count in share.items():
                self.clients[node] += [number] * count
        for clients in self.clients.values():
            Random(seed).shuffle(clients)

    def second(self, now: float) -> None:
        wishes = [move for gateway in self.gateways for move in gateway.moves(now)]
        leaving: list[int] = []
        for move in wishes:
            gone, self.clients[move.node] = self.clients[move.node][: move.count], self.clients[move.node][move.count :]
            for number in gone:
                self.gateways[number].closed(move.node)
            leaving += gone
        self.moved += len(leaving)
        for number in leaving:
            (node,) = place(self.gateways[number], 1, now)
            self.clients[node].append(number)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "shares",
    [
        [{"n1": 60, "n2": 60}, {"n1": 60, "n2": 60}],
        [{"n1": 60, "n2": 60}, {"n1": 40, "n2": 40, "n3": 40}],
        [{"n1": 60}, {"n2": 60}],
    ],
)
def test_two_balancers_even_out_and_do_not_fight(shares: list[dict[str, int]], seed: int) -> None:
    crowd = Crowd(seed, shares)
    total = sum(sum(share.values()) for share in shares)
    for second in range(300):
        crowd.second(100.0 + second)
    for gateway in crowd.gateways:
        loads = [gateway.connections(node) for node in crowd.clients]
        assert max(loads) - min(loads) <= 0.2 * sum(loads) / 3 + 2
    moved = crowd.moved
    assert moved <= 2 * total
    for second in range(100):
        crowd.second(400.0 + second)
    assert crowd.moved == moved, "even is even for good"


def test_who_asks_in_vain_asks_less_and_less() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n1=60)
    asked = [now for now in range(100, 400) if made.moves(float(now))]
    assert asked[:4] == [100, 101, 102, 103], "what was asked for takes its time"
    assert len(asked) < 15
    assert asked[-1] - asked[-2] >= 60
    for _ in range(30):
        made.closed("n1")
    assert made.moves(400.0), "something helped: no more waiting"
    fill(made, n2=30)
    assert made.moves(401.0) == ()
    fill(made, n1=60)
    assert all(made.moves(float(now)) for now in range(500, 504)), "that was another time"


def test_towards_a_node_that_does_not_answer_next_to_nothing_is_moved() -> None:
    made = balancer(n1=backend(), n2=backend())
    fill(made, n1=60)
    miss(made, "n2", 100.0)
    assert made.moves(101.0) == ()
    assert made.moves(115.0) == (Move("n1", 1),)


def test_a_node_that_says_that_it_takes_nothing_is_there() -> None:
    made = balancer(n1=backend())
    for _ in range(4):
        miss(made, "n1", 0.0)
    turn_away(made, "n1", 0.0)
    for _ in range(4):
        miss(made, "n1", 0.0)
    assert made.changes == []
