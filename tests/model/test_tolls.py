"""What trouble with a node costs."""

from tests.support.facts import T0
from wsmon.model import tolls
from wsmon.model.tolls import APART_S, Tolls
from wsmon.protocol.events import ClientLost, EventBody, NodeStateChanged, Resumed


def told(*story: tuple[float, EventBody]) -> Tolls:
    known = Tolls()
    for after_s, body in story:
        known.take(body, T0 + after_s)
    return known


def lost(client: str, node: str | None = "n1") -> ClientLost:
    return ClientLost(client=client, node=node)


def back(client: str) -> Resumed:
    return Resumed(client=client, node="n2")


def becomes(state: str, node: str = "n1") -> NodeStateChanged:
    return NodeStateChanged(node=node, old="online", new=state)


def summed(known: Tolls, node: str = "n1") -> tuple[int, int, float | None]:
    toll = known.get(node)
    assert toll is not None
    return toll.lost, toll.back, None if toll.whole_at is None else round(toll.whole_at - T0, 3)


def test_clients_that_lost_the_node_are_counted_until_they_are_back() -> None:
    story: list[tuple[float, EventBody]] = [
        (0.0, lost("c1")),
        (0.1, lost("c2")),
        (0.2, becomes("suspect")),
        (0.9, back("c1")),
    ]
    assert summed(told(*story)) == (2, 1, None)
    assert summed(told(*story, (2.5, back("c2")))) == (2, 2, 2.5)


def test_the_trouble_begins_with_whatever_is_told_of_it_first() -> None:
    stories: list[list[tuple[float, EventBody]]] = [
        [(0.0, lost("c1")), (0.5, becomes("removed"))],
        [(0.5, becomes("removed")), (0.0, lost("c1"))],
    ]
    for story in stories:
        toll = told(*story).get("n1")
        assert toll is not None
        assert (toll.began_at, toll.troubled, toll.lost) == (T0, True, 1)


def test_a_return_that_is_told_before_its_loss_counts() -> None:
    assert summed(told((1.0, back("c1")), (0.2, lost("c1")))) == (1, 1, 1.0)


def test_a_return_of_before_does_not_count() -> None:
    assert summed(told((0.0, back("c1")), (0.2, lost("c1")))) == (1, 0, None)


def test_it_is_over_when_the_node_is_online_again_and_stands_until_the_next() -> None:
    known = told((0.0, lost("c1")), (0.5, becomes("removed")), (1.0, back("c1")), (9.0, becomes("online")))
    toll = known.get("n1")
    assert toll is not None
    assert toll.over_at == T0 + 9.0
    known.take(lost("c7"), T0 + 20)
    toll = known.get("n1")
    assert toll is not None
    assert (toll.over_at, list(toll.clients)) == (None, ["c7"])


def test_losses_far_apart_are_two_troubles_unless_the_node_is_out() -> None:
    apart = told((0.0, lost("c1")), (APART_S + 1, lost("c2")))
    assert summed(apart) == (1, 0, None)
    out = told((0.0, lost("c1")), (0.1, becomes("removed")), (APART_S + 1, lost("c2")))
    assert summed(out) == (2, 0, None)


def test_other_nodes_and_unknown_ones_are_no_matter() -> None:
    known = told((0.0, lost("c1", "n2")), (0.0, lost("c2", None)), (1.0, becomes("online")), (1.0, back("c9")))
    assert known.get("n1") is None
    assert summed(known, "n2") == (1, 0, None)


def test_a_client_that_loses_two_nodes_is_back_from_the_last_one() -> None:
    known = told((0.0, lost("c1", "n1")), (0.5, lost("c1", "n2")), (1.0, back("c1")))
    assert summed(known, "n2") == (1, 1, 1.0)


def test_everything_is_bounded() -> None:
    known = Tolls()
    for number in range(tolls.NODES_MAX + 5):
        known.take(lost("c1", f"n{number}"), T0)
    assert known.get("n0") is None
    known = Tolls()
    for number in range(tolls.CLIENTS_MAX + 5):
        known.take(lost(f"c{number}"), T0)
        known.take(back(f"x{number}"), T0)
    assert summed(known)[0] == tolls.CLIENTS_MAX
    assert len(known._backs) == tolls.CLIENTS_MAX
