"""What a frame holds of incidents depends on what is looked at."""

import pytest

from tests.support.facts import T0
from tests.views.test_incidents_picture import Story
from wsmon.views.build import build_frame
from wsmon.views.frame import Looking, PageName


@pytest.mark.parametrize("page", list(PageName))
def test_incidents_and_truth_are_worked_out_for_those_who_look(page: PageName) -> None:
    story = Story()
    story.kill(10, "n1")
    frame = build_frame(story.model, T0 + 12, Looking(page=page))
    assert (frame.incidents is not None) is (page is PageName.INCIDENTS)
    assert (frame.truth is not None) is (page in {PageName.NODES, PageName.TIMELINE})


def test_the_model_hands_its_events_on() -> None:
    story = Story()
    story.kill(10, "n1")
    incidents = build_frame(story.model, T0 + 12, Looking(page=PageName.INCIDENTS)).incidents
    assert incidents is not None
    assert [row.what for row in incidents.rows] == ["kill n1"]
    truth = build_frame(story.model, T0 + 12, Looking()).truth
    assert truth is not None
    assert [(lane.node, lane.finding) for lane in truth.lanes] == [("n1", "removed 0.60 s")]
