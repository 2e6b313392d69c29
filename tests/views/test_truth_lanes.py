"""Truth above verdict from a model."""

from dataclasses import replace

import pytest

from tests.support.facts import T0
from tests.support.frames import node
from tests.views.test_incidents_picture import Story
from wsmon.protocol.events import ProcessExited
from wsmon.protocol.states import NodeState
from wsmon.views.frame import NodeRow
from wsmon.views.truth import LANES_MAX, truth_lanes
from wsmon.views.truth_frame import TruthLanes

NODES = (node("n1"), node("n2"), node("n3"))


def lanes(story: Story, now: float, *, selected: str | None = None, rows: tuple[NodeRow, ...] = NODES) -> TruthLanes:
    return truth_lanes(story.model, T0 + now, rows, selected=selected)


def test_all_well_tells_nothing() -> None:
    story = Story()
    story.state(1, "n1", "online")
    assert lanes(story, 5).lanes == ()


def test_a_freeze_stands_above_what_the_checker_made_of_it() -> None:
    story = Story()
    story.state(1, "n1", "online")
    story.fault(10, "freeze", "n1")
    story.state(11, "n1", "suspect")
    assert lanes(story, 11.5).lanes[0].finding == "suspect 1.00 s"
    story.state(12.6, "n1", "removed")
    (lane,) = lanes(story, 15).lanes
    (deed,) = lane.deeds
    assert (deed.what, deed.since_at, deed.until_at) == ("freeze", T0 + 10, None)
    assert deed.window_at is not None
    assert deed.window_at == pytest.approx((T0 + 12.2, T0 + 13.2))
    assert [(said.state, said.since_at, said.until_at) for said in lane.said] == [
        (NodeState.ONLINE, T0 + 1, T0 + 11),
        (NodeState.SUSPECT, T0 + 11, T0 + 12.6),
        (NodeState.REMOVED, T0 + 12.6, None),
    ]
    assert (lane.found_ms, lane.finding, lane.summary) == (2_600.0, "removed 2.60 s", "freeze on, 5.0 s")


def test_what_is_due_is_said_before_anything_is_found() -> None:
    story = Story()
    story.fault(10, "freeze", "n1")
    (lane,) = lanes(story, 10.5).lanes
    assert lane.finding == "due at 2.2–3.2 s"


def test_a_fault_of_a_link_belongs_to_its_node_and_ends() -> None:
    story = Story()
    story.fault(10, "latency", "checker-n2", until=14)
    (lane,) = lanes(story, 20).lanes
    assert (lane.node, lane.summary, lane.finding) == ("n2", "latency, 4.0 s", "")
    assert lane.deeds[0].window_at is None


def test_a_process_that_ended_untold_is_gone_until_it_is_online() -> None:
    story = Story()
    story.tell(10, ProcessExited(id="n1", signal=9), "supervisor")
    story.state(10.6, "n1", "removed")
    assert lanes(story, 12).lanes[0].deeds[0].until_at is None
    story.state(16, "n1", "online")
    assert lanes(story, 20).lanes[0].deeds[0].until_at == T0 + 16


def test_what_is_long_over_is_gone() -> None:
    story = Story()
    story.kill(10, "n1")
    assert len(lanes(story, 60).lanes) == 1
    assert lanes(story, 400).lanes == ()


def test_the_selected_node_comes_first_then_those_in_trouble() -> None:
    story = Story()
    for index, name in enumerate(("n1", "n2", "n3")):
        story.fault(10 + index, "latency", name)
    rows = (NODES[0], replace(NODES[1], state=NodeState.REMOVED), NODES[2])
    assert [lane.node for lane in lanes(story, 20, rows=rows).lanes] == ["n2", "n3", "n1"]
    assert [lane.node for lane in lanes(story, 20, rows=rows, selected="n1").lanes] == ["n1", "n2", "n3"]


def test_lanes_have_a_bound() -> None:
    story = Story()
    story.model = type(story.model)("demo")
    rows = tuple(node(f"n{number}") for number in range(LANES_MAX + 3))
    for row in rows:
        story.model._node(row.id).verdict = object()  # type: ignore[union-attr]
        story.fault(10, "latency", row.id)
    shown = lanes(story, 20, rows=rows)
    assert (len(shown.lanes), shown.hidden) == (LANES_MAX, 3)
