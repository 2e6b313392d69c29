from tests.support.facts import BOOT, T0, happened, says, seen, well
from wsmon.model.cluster import ClusterModel
from wsmon.protocol.events import ClientLost, ReconnectFailed, ReconnectScheduled, ReconnectStarted, Resumed
from wsmon.views.frame import Lane, Resumes, SegmentKind, Timeline
from wsmon.views.timeline import LANES_SHOWN, timeline


class Story:
    def __init__(self) -> None:
        self.model = well()
        self._seq = 0

    def tell(self, after: float, *bodies: object) -> "Story":
        for body in bodies:
            self._seq += 1
            self.model.apply(happened(body, T0 + after, seq=self._seq))  # type: ignore[arg-type]
        return self

    def at(self, after: float) -> Timeline:
        return timeline(self.model, T0 + after)

    def lane(self, after: float) -> Lane:
        return self.at(after).lanes[0]


def kinds(lane: Lane) -> list[tuple[str, float, float, str]]:
    return [
        (str(item.kind), round(item.start_at - T0, 3), round(item.end_at - T0, 3), item.label) for item in lane.segments
    ]


def test_nothing_happened_nothing_to_show() -> None:
    assert timeline(ClusterModel("demo"), T0) == Timeline(now_at=T0, planned=(0,) * 30)


def test_what_is_over_is_not_made_anew_for_each_frame() -> None:
    story = Story().tell(0.0, ClientLost(client="c1", node="n1", code=1006))
    story.tell(1.0, ReconnectScheduled(client="c1", attempt=1, delay_s=2.0))
    now, later = story.lane(5.0), story.lane(6.0)
    assert kinds(now) == kinds(later)
    assert [a is b for a, b in zip(now.segments, later.segments, strict=True)] == [True, True]


def test_a_wait_under_way_is_half_behind_and_half_ahead() -> None:
    story = Story().tell(
        0.0, ClientLost(client="c1", node="n1", code=1006), ReconnectScheduled(client="c1", attempt=1, delay_s=2.0)
    )
    lane = story.lane(0.5)
    assert kinds(lane) == [
        ("lost", 0.0, 0.0, "n1"),
        ("waited", 0.0, 0.5, "#1 2.00 s"),
        ("planned", 0.5, 2.0, "#1 2.00 s"),
    ]
    assert (lane.away, lane.node, lane.summary) == (True, "n1", "n1 → away 0.5 s, try 1 in 1.5 s")
    assert story.at(0.5).planned[:3] == (0, 1, 0)
    assert story.lane(2.5).summary == "n1 → away 2.5 s"
    assert kinds(story.lane(2.5))[-1] == ("waited", 0.0, 2.0, "#1 2.00 s")
    assert kinds(story.lane(0.0))[-1][0] == "planned"


def test_attempts_fail_and_succeed() -> None:
    story = Story().tell(0.0, ClientLost(client="c1", node="n1"))
    story.tell(0.5, ReconnectStarted(client="c1", attempt=1))
    assert story.lane(0.7).summary == "n1 → away 0.7 s, try 1 now"
    assert kinds(story.lane(0.7))[-1] == ("attempt", 0.5, 0.7, "#1")
    story.tell(0.8, ReconnectFailed(client="c1", attempt=1, outcome="refused"))
    story.tell(0.9, ReconnectStarted(client="c1", attempt=2))
    story.tell(1.0, Resumed(client="c1", node="n3", ms=1_000.0))
    lane = story.lane(3.0)
    assert kinds(lane)[1:] == [
        ("failed", 0.5, 0.8, "refused"),
        ("attempt", 0.9, 1.0, "#2"),
        ("resumed", 1.0, 1.0, "n3"),
        ("connected", 1.0, 3.0, "n3"),
    ]
    assert (lane.away, lane.node, lane.summary) == (False, "n3", "n1 → n3 in 1.00 s, 2 tries")


def test_a_move_is_announced() -> None:
    story = Story().tell(0.0, ReconnectScheduled(client="c1", attempt=1, delay_s=1.0, delay_source="goaway"))
    assert (story.lane(0.2).summary, story.lane(0.2).away) == ("? → moves in 0.8 s", False)
    assert story.lane(1.2).summary == "? → moves now"


def test_the_newest_loss_comes_first_and_the_ways_are_measured() -> None:
    story = Story()
    for index, ms in enumerate((200.0, 900.0, 400.0)):
        client = f"c{index}"
        story.tell(index, ClientLost(client=client, node="n1"))
        story.tell(index + ms / 1_000, Resumed(client=client, node="n2", ms=ms))
    story.tell(5, ClientLost(client="c9", node="n1"))
    shown = story.at(6)
    assert [lane.client for lane in shown.lanes] == ["c9", "c2", "c1", "c0"]
    assert (shown.away, shown.back, shown.hidden) == (1, 3, 0)
    assert (shown.slowest_s, shown.median_s) == (0.9, 0.4)
    assert [lane.client for lane in story.at(62.0).lanes] == ["c9", "c2"]


def test_too_many_lanes_are_counted_instead() -> None:
    story = Story()
    for index in range(LANES_SHOWN + 7):
        story.tell(0.0, ClientLost(client=f"c{index}", node="n1"))
    shown = story.at(1)
    assert (len(shown.lanes), shown.hidden, shown.away) == (LANES_SHOWN, 7, LANES_SHOWN + 7)


def test_hostile_names_are_harmless() -> None:
    story = Story().tell(0.0, ClientLost(client="\x1b[2J", node="\u202en1"))
    story.tell(0.1, ReconnectFailed(client="\x1b[2J", outcome="\x07" * 900))
    lane = story.lane(1)
    for text in (lane.client, lane.node or "", lane.summary, *(item.label for item in lane.segments)):
        assert text.isprintable()
        assert len(text) < 100
    assert lane.segments[-1].kind is SegmentKind.FAILED


def test_a_client_that_was_handed_over_was_never_away() -> None:
    story = Story().tell(0.0, ReconnectScheduled(client="c1", attempt=1, delay_s=0.2, delay_source="goaway"))
    story.tell(0.2, ReconnectStarted(client="c1", attempt=1))
    story.tell(0.3, Resumed(client="c1", node="n3", how="handover", ms=0.0))
    assert story.lane(1).summary == "? → n3, no pause"
    # It is not among the ways back, which it would make look better than they are.
    assert (story.at(1).away, story.at(1).back, story.at(1).median_s) == (0, 1, None)


def test_resumes_are_added_up_over_nodes_and_their_lives() -> None:
    model = well()
    assert timeline(model, T0).resumes == Resumes()
    for name, ring in (("n1", 4), ("n2", 5)):
        model.apply(says(name, {"resumes": {"ring": ring, "log": 1, "stale": 2}}, T0 + 1))
    model.apply(seen("n1", T0 + 2, boot=BOOT + 1))
    model.apply(says("fleet", {"resume_ms": {"p50": 210.04, "p99": 1_400}}, T0 + 2))
    assert timeline(model, T0 + 2).resumes == Resumes(ring=9, log=2, stale=4, p50_ms=210.0, p99_ms=1_400.0)
    model.apply(says("fleet", {"resume_ms": {"p50": -1, "p99": "x"}}, T0 + 2))
    assert timeline(model, T0 + 2).resumes.p50_ms is None
