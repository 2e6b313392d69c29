"""How many may be out at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.panic import Floor, floor
from wsmon.protocol.states import NodeState

SOFT, HARD = False, True
UP = (NodeState.ONLINE, SOFT)
OUT = (NodeState.REMOVED, SOFT)


@pytest.mark.parametrize(("nodes", "allowed"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)])
def test_half_of_all_nodes_may_be_out(nodes: int, allowed: int) -> None:
    assert floor([UP] * nodes) == Floor(removed=0, allowed=allowed)
    assert floor([OUT] * allowed + [UP] * (nodes - allowed)) == Floor(removed=allowed, allowed=allowed)


def test_the_last_node_is_never_taken_out_for_its_silence() -> None:
    assert not floor([UP]).open
    assert floor([UP, UP]).open
    assert not floor([UP, OUT]).open


def test_processes_that_are_gone_neither_use_up_the_room_nor_make_any() -> None:
    gone = (NodeState.REMOVED, HARD)
    assert floor([gone, gone, UP, UP]) == Floor(removed=0, allowed=1)


@pytest.mark.parametrize("state", [NodeState.RECOVERING, NodeState.QUARANTINED])
def test_who_is_on_the_way_back_is_still_out(state: NodeState) -> None:
    assert floor([(state, SOFT), UP, UP]) == Floor(removed=1, allowed=1)


@pytest.mark.parametrize("state", [NodeState.JOINING, NodeState.DRAINING, NodeState.LEFT])
def test_who_is_not_there_yet_or_no_more_does_not_count(state: NodeState) -> None:
    assert floor([(state, SOFT), UP, (NodeState.SUSPECT, SOFT)]) == Floor(removed=0, allowed=1)


@given(st.lists(st.sampled_from([UP, OUT, (NodeState.SUSPECT, SOFT)]), max_size=30))
def test_one_more_always_leaves_half(nodes: list[tuple[NodeState, bool]]) -> None:
    found = floor(nodes)
    if found.open:
        assert 2 * (found.removed + 1) <= len(nodes)
