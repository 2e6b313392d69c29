"""Revisions and events of one connection."""

from wsmon.conformance.stream import Stream
from wsmon.protocol.frames import JsonObject


def delta(prev: int, rev: int, **patch: int) -> JsonObject:
    return {"type": "delta", "rev": rev, "prev": prev, "at": 1.0, "patch": {**patch}}


def snapshot(rev: int, **state: int) -> JsonObject:
    return {"type": "snapshot", "rev": rev, "boot": 1, "at": 1.0, "state": {**state}}


def event(seq: int, source: str = "n1", boot: int = 1) -> JsonObject:
    return {"type": "event", "source": source, "boot": boot, "seq": seq, "at": 1.0, "kind": "feed"}


def stream(*frames: JsonObject) -> Stream:
    found = Stream()
    for now, frame in enumerate(frames):
        found.feed(frame, now=float(now))
    return found


def test_revisions_that_follow_on_are_right() -> None:
    found = stream(snapshot(3, a=1), delta(3, 5, a=2), delta(5, 6, b=1), snapshot(6, a=2, b=1), delta(6, 7, a=3))
    assert found.faults == {"revisions": [], "events": []}
    assert (found.deltas, found.gaps_s) == (3, [1.0, 1.0, 1.0])


def test_holes_steps_back_and_other_states_are_faults() -> None:
    for frames, says in (
        ((snapshot(3), delta(4, 5)), "a delta from revision 4 came after revision 3"),
        ((snapshot(3), delta(3, 3)), "a delta led from revision 3 to 3"),
        ((snapshot(3), snapshot(2)), "a snapshot of revision 2 came after revision 3"),
        ((snapshot(3, a=1), delta(3, 4, a=2), snapshot(4, a=3)), "the deltas up to 4 lead to"),
        ((delta(1, 2),), "a delta from revision 1 came after revision None"),
        (({"type": "delta", "rev": 1},), "a delta without rev, prev or patch"),
    ):
        (fault,) = stream(*frames).faults["revisions"]
        assert fault.startswith(says)


def test_events_are_counted_by_source_and_boot() -> None:
    found = stream(event(7), event(1, "n2"), event(8), event(2, "n2"), event(1, boot=2))
    assert (found.events, found.faults["events"]) == (5, [])
    assert stream(event(7), event(9)).faults["events"] == ["event 9 of n1 came after event 7"]
    assert stream(event(7), event(7)).faults["events"] == ["event 7 of n1 came after event 7"]
    assert len(stream({"type": "event", "seq": 1}).faults["events"]) == 1
