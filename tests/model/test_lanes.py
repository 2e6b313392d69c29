from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.facts import BOOT, T0
from wsmon.model.timeline import (
    KEPT_BACK_S,
    KEPT_IDLE_S,
    LANES_MAX,
    MARKS_MAX,
    Lane,
    Lanes,
    StretchKind,
    is_over,
    planned_ahead,
)
from wsmon.protocol.events import (
    ClientLost,
    DrainAborted,
    EventBody,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
)
from wsmon.protocol.frames import JsonObject

C = "c001"
STORY: tuple[tuple[float, EventBody], ...] = (
    (0.0, ClientLost(client=C, node="n1", code=1006)),
    (0.0, ReconnectScheduled(client=C, attempt=1, delay_s=0.4, delay_source="spread")),
    (0.4, ReconnectStarted(client=C, attempt=1)),
    (0.5, ReconnectFailed(client=C, attempt=1, outcome="refused")),
    (0.5, ReconnectScheduled(client=C, attempt=2, delay_s=0.8, delay_source="backoff")),
    (1.3, ReconnectStarted(client=C, attempt=2)),
    (1.4, Resumed(client=C, node="n3", how="log", ms=1_400.0, replayed=7)),
)


def tell(lanes: Lanes, *story: tuple[float, EventBody], first: int = 1, source: str = "fleet") -> None:
    for seq, (after, body) in enumerate(story, first):
        lanes.take(body, source=source, boot=BOOT, seq=seq, at=T0 + after)


def confirm(lanes: Lanes, clients: JsonObject, after: float, *, seq: int = 100) -> None:
    lanes.confirm({"clients_state": clients}, source="fleet", boot=BOOT, seq=seq, at=T0 + after)


def lane_of(lanes: Lanes, client: str = C) -> Lane:
    lane = lanes.get(client)
    assert lane is not None
    return lane


def shape(lane: Lane) -> list[tuple[str, float, float | None]]:
    return [
        (str(item.kind), round(item.start_at - T0, 3), None if item.end_at is None else round(item.end_at - T0, 3))
        for item in lane.stretches
    ]


def test_a_way_back_is_drawn_from_its_events() -> None:
    lanes = Lanes()
    tell(lanes, *STORY)
    lane = lane_of(lanes)
    assert shape(lane) == [
        ("lost", 0.0, 0.0),
        ("wait", 0.0, 0.4),
        ("failed", 0.4, 0.5),
        ("wait", 0.5, 1.3),
        ("attempt", 1.3, 1.4),
        ("resumed", 1.4, 1.4),
        ("connected", 1.4, None),
    ]
    assert (lane.away, lane.origin, lane.node, lane.tries, lane.took_s) == (False, "n1", "n3", 2, 1.4)
    assert lane.next_at is None


def test_a_wait_ends_early_when_the_attempt_comes_early() -> None:
    lanes = Lanes()
    tell(lanes, *STORY[:2], (0.1, ReconnectStarted(client=C, attempt=1)))
    assert shape(lane_of(lanes))[1] == ("wait", 0.0, 0.1)


def test_the_planned_attempts_are_counted_by_second() -> None:
    lanes = Lanes()
    for index, delay_s in enumerate((0.2, 0.9, 1.5, 40.0)):
        client = f"c{index}"
        lanes.take(ClientLost(client=client, node="n1"), source="fleet", boot=BOOT, seq=2 * index, at=T0)
        plan = ReconnectScheduled(client=client, attempt=1, delay_s=delay_s)
        lanes.take(plan, source="fleet", boot=BOOT, seq=2 * index + 1, at=T0)
    assert planned_ahead(lanes, T0, seconds=3) == (2, 1, 0)
    assert planned_ahead(lanes, T0 + 1, seconds=3) == (1, 0, 0)


def test_a_client_that_is_asked_to_move_is_not_away_until_it_goes() -> None:
    lanes = Lanes()
    confirm(lanes, {C: {"state": "connected", "node": "n2"}}, 0.0)
    tell(lanes, (1.0, ReconnectScheduled(client=C, attempt=1, delay_s=2.0, delay_source="goaway")))
    lane = lane_of(lanes)
    assert (lane.moving, lane.away, lane.origin, lane.next_at) == (True, False, "n2", T0 + 3.0)
    tell(lanes, (3.0, ReconnectStarted(client=C, attempt=1)), first=2)
    assert (lane.moving, lane.away, lane.lost_at) == (False, True, T0 + 3.0)
    tell(lanes, (3.1, Resumed(client=C, node="n3", ms=100.0)), first=3)
    assert (lane.away, lane.origin, lane.node, lane.took_s) == (False, "n2", "n3", 0.1)
    assert shape(lane)[0] == ("connected", 0.0, 1.0)


def test_a_moving_client_that_closes_first_is_lost_from_there() -> None:
    lanes = Lanes()
    tell(
        lanes,
        (0.0, ReconnectScheduled(client=C, attempt=1, delay_s=1.0, delay_source="goaway")),
        (1.0, ClientLost(client=C, node="n1", code=1000)),
        (1.0, ReconnectStarted(client=C, attempt=1)),
        (1.1, Resumed(client=C, node="n2")),
    )
    lane = lane_of(lanes)
    assert (lane.origin, lane.node, lane.tries) == ("n1", "n2", 1)
    assert lane.took_s == pytest.approx(0.1)


def test_a_second_loss_goes_on_in_the_same_lane() -> None:
    lanes = Lanes()
    tell(lanes, *STORY, (9.0, ClientLost(client=C, node=None)))
    lane = lane_of(lanes)
    assert (lane.away, lane.origin, lane.lost_at, lane.back_at, lane.tries) == (True, "n3", T0 + 9, None, 0)
    assert shape(lane)[-2:] == [("connected", 1.4, 9.0), ("lost", 9.0, 9.0)]


def test_a_back_client_may_be_asked_to_move() -> None:
    lanes = Lanes()
    tell(lanes, *STORY, (5.0, ReconnectScheduled(client=C, attempt=1, delay_s=1.0, delay_source="goaway")))
    lane = lane_of(lanes)
    assert (lane.moving, lane.away, lane.origin, lane.back_at) == (True, False, "n3", None)


def test_parts_of_a_story_make_a_lane_as_well() -> None:
    lanes = Lanes()
    tell(lanes, (2.0, Resumed(client="a", node="n2", ms=500.0)))
    assert (lane_of(lanes, "a").lost_at, lane_of(lanes, "a").took_s) == (T0 + 1.5, 0.5)
    tell(lanes, (2.0, Resumed(client="b", node="n2")), first=2)
    assert (lane_of(lanes, "b").lost_at, lane_of(lanes, "b").took_s) == (T0 + 2.0, None)
    tell(lanes, (2.0, ReconnectFailed(client="c", outcome="timeout")), first=3)
    assert lane_of(lanes, "c").away
    assert shape(lane_of(lanes, "c")) == [("failed", 2.0, 2.0)]
    tell(lanes, (2.0, DrainAborted(node="n1")), first=4)
    assert len(lanes) == 3


def test_a_resumption_told_twice_changes_the_numbers_only() -> None:
    lanes = Lanes()
    tell(lanes, *STORY, (1.5, Resumed(client=C, node="n2", ms=1_500.0)), (1.6, Resumed(client=C, node="")))
    lane = lane_of(lanes)
    assert (lane.node, lane.took_s, len(lane.stretches)) == ("n2", 1.5, 7)


@given(st.permutations(range(len(STORY))))
def test_any_order_of_arrival_gives_the_same_lane(order: list[int]) -> None:
    straight, mixed = Lanes(), Lanes()
    tell(straight, *STORY)
    for index in order:
        after, body = STORY[index]
        mixed.take(body, source="fleet", boot=BOOT, seq=index + 1, at=T0 + after)
    assert asdict(lane_of(mixed)) == asdict(lane_of(straight))


def test_the_fleet_ends_a_lane_whose_way_back_was_not_heard_of() -> None:
    lanes = Lanes()
    tell(lanes, STORY[0])
    confirm(lanes, {C: {"state": "connected", "node": "n2"}}, 0.3)
    assert lane_of(lanes).away, "the state may be older than the event"
    confirm(lanes, {C: {"state": "waiting"}}, 1.0)
    assert lane_of(lanes).away
    confirm(lanes, {C: {"state": "connected", "node": "n2"}}, 2.0)
    lane = lane_of(lanes)
    assert (lane.away, lane.node, lane.back_at) == (False, "n2", T0 + 2.0)
    tell(lanes, STORY[-1], first=200)
    assert (lane.node, lane.took_s, len(lane.stretches)) == ("n3", 1.4, 3)


def test_the_fleet_drops_a_lane_whose_client_is_no_more() -> None:
    lanes = Lanes()
    tell(lanes, STORY[0])
    tell(lanes, (0.0, ClientLost(client="of another", node="n1")), source="other fleet")
    tell(lanes, (0.0, ClientLost(client="stopped", node="n1")), first=2)
    confirm(lanes, {"stopped": {"state": "stopped"}}, 2.0)
    assert [lane.client for lane in lanes] == ["of another"]


def test_the_fleet_opens_a_lane_whose_loss_was_not_heard_of() -> None:
    lanes = Lanes()
    clients: JsonObject = {
        "away": {"state": "waiting", "node": "n1", "attempt": 2, "next_at": T0 + 3, "delay_s": 2, "lost_at": T0 - 4},
        "no plan": {"state": "attempting"},
        "new": {"state": "connecting"},
        "well": {"state": "connected", "node": "n1"},
        "odd": "?",
    }
    confirm(lanes, clients, 2.0)
    assert {lane.client for lane in lanes} == {"away", "no plan"}
    lane = lane_of(lanes, "away")
    assert (lane.away, lane.origin, lane.lost_at, lane.attempt, lane.next_at) == (True, "n1", T0 - 4, 2, T0 + 3)
    assert lane_of(lanes, "no plan").lost_at == T0 + 2


def test_a_state_without_clients_confirms_nothing() -> None:
    lanes = Lanes()
    tell(lanes, STORY[0])
    lanes.confirm({"clients_state": 7}, source="fleet", boot=BOOT, seq=9, at=T0 + 9)
    assert lane_of(lanes).away


def test_a_new_life_of_the_fleet_forgets_its_clients() -> None:
    lanes = Lanes()
    tell(lanes, STORY[0])
    confirm(lanes, {C: {"state": "waiting"}}, 0.1)
    lanes.restarted("somebody", BOOT + 1)
    lanes.restarted("fleet", BOOT)
    assert len(lanes) == 1
    lanes.restarted("fleet", BOOT + 1)
    assert len(lanes) == 0


def test_lanes_stay_while_away_and_a_minute_after() -> None:
    lanes = Lanes()
    tell(lanes, *STORY)
    tell(lanes, (0.0, ClientLost(client="gone", node="n1")), first=20)
    tell(lanes, (0.0, ReconnectScheduled(client="calm", attempt=1, delay_s=1)), first=21)
    assert not is_over(lane_of(lanes), T0 + 1.4 + KEPT_BACK_S - 0.1)
    assert not is_over(lane_of(lanes, "calm"), T0 + KEPT_IDLE_S - 0.1)
    lanes.prune(T0 + 1.4 + KEPT_BACK_S)
    assert {lane.client for lane in lanes} == {"gone", "calm"}
    lanes.prune(T0 + KEPT_IDLE_S)
    assert {lane.client for lane in lanes} == {"gone"}


def test_lanes_are_bounded_and_those_away_are_kept_longest() -> None:
    lanes = Lanes()
    tell(lanes, *STORY)
    for index in range(LANES_MAX):
        body = ClientLost(client=f"x{index}", node="n1")
        lanes.take(body, source="fleet", boot=BOOT, seq=50 + index, at=T0 + 2)
    assert (len(lanes), lanes.dropped, lanes.get(C)) == (LANES_MAX, 0, None)
    tell(lanes, (2.0, ClientLost(client="one more", node="n1")), first=99_999)
    assert (len(lanes), lanes.dropped) == (LANES_MAX, 1)


def test_a_lane_is_bounded_too() -> None:
    lanes = Lanes()
    for seq in range(10 * MARKS_MAX):
        body = ReconnectFailed(client=C, attempt=10**30, outcome="no")
        lanes.take(body, source="fleet", boot=BOOT, seq=seq, at=T0 + seq)
    lane = lane_of(lanes)
    assert len(lane.marks) == MARKS_MAX
    assert len(lane.stretches) <= 2 * MARKS_MAX
    assert all(item.kind is StretchKind.FAILED and item.attempt <= 1e9 for item in lane.stretches)


def test_a_handover_is_told_apart_from_a_way_back() -> None:
    lanes = Lanes()
    tell(
        lanes, (0.0, ReconnectScheduled(client=C, attempt=1, delay_s=0.2)), (0.2, ReconnectStarted(client=C, attempt=1))
    )
    tell(lanes, (0.3, Resumed(client=C, node="n3", how="handover", ms=0.0)), first=3)
    lane = lane_of(lanes)
    assert (lane.away, lane.moving, lane.node, lane.took_s, lane.handed_over) == (False, False, "n3", None, True)
    # The next one goes on from there, and a real loss after it is a loss.
    tell(lanes, (5.0, Resumed(client=C, node="n1", how="handover")), first=4)
    assert (lane.origin, lane.node, lane.lost_at, lane.handed_over) == ("n3", "n1", T0 + 5.0, True)
    tell(lanes, (6.0, ClientLost(client=C, node="n1")), first=5)
    assert (lane.away, lane.origin, lane.handed_over) == (True, "n1", False)


def test_a_handover_that_the_fleets_state_told_first_is_no_second_one() -> None:
    lanes = Lanes()
    tell(lanes, (0.0, Resumed(client=C, node="n3", ms=100.0)), (0.1, Resumed(client=C, node="n3", how="handover")))
    lane = lane_of(lanes)
    assert (lane.took_s, lane.handed_over, len(lane.stretches)) == (None, True, 2)
