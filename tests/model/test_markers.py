"""Notes that somebody puts on a moment."""

from tests.support.facts import T0
from wsmon.model.cluster import MARKERS_KEPT, ClusterModel
from wsmon.model.inputs import Marked


def test_the_newest_markers_are_kept_in_order() -> None:
    model = ClusterModel("demo")
    notes = [Marked(text=f"note {number}", at=T0 + number) for number in range(MARKERS_KEPT + 5)]
    for note in notes:
        assert model.apply(note)
    assert list(model.markers) == notes[5:]
