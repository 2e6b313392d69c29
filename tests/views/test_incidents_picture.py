"""The page of incidents from a model: the list, the card, and what was promised."""

import pytest

from tests.support.facts import T0, happened, says, well
from wsmon.model.cluster import ClusterModel
from wsmon.protocol.events import (
    ClientLost,
    DrainDone,
    DrainStarted,
    EventBody,
    FaultEnded,
    FaultStarted,
    HeartbeatMissed,
    NodeStateChanged,
    Resumed,
)
from wsmon.protocol.frames import JsonObject
from wsmon.views.frame import Looking
from wsmon.views.incidents import incidents_picture
from wsmon.views.incidents_frame import Goal, IncidentsPicture, Verdict


class Story:
    """A cluster that is told one event after the other."""

    def __init__(self) -> None:
        self.model: ClusterModel = well()
        self.seq = 0

    def tell(self, at: float, body: EventBody, source: str = "checker") -> None:
        self.seq += 1
        self.model.apply(happened(body, T0 + at, seq=self.seq, source=source))

    def fault(self, at: float, fault: str, target: str, *, until: float | None = None) -> None:
        self.tell(at, FaultStarted(fault=fault, target=target), "supervisor")
        if until is not None:
            self.tell(until, FaultEnded(fault=fault, target=target), "supervisor")

    def state(self, at: float, node: str, new: str) -> None:
        self.tell(at, NodeStateChanged(node=node, old="?", new=new))

    def lose(self, at: float, client: str, node: str, *, back: float | None = None) -> None:
        self.tell(at, ClientLost(client=client, node=node), "fleet")
        if back is not None:
            self.tell(back, Resumed(client=client, node="n3", how="log"), "fleet")

    def kill(self, at: float, node: str, *, removed: float = 0.6) -> None:
        self.fault(at, "kill", node, until=at + 5)
        self.tell(at + 0.1, HeartbeatMissed(node=node, count=1, needed=3))
        self.state(at + 0.05, node, "suspect")
        self.state(at + removed, node, "removed")
        self.lose(at + 0.02, "c1", node, back=at + 1)
        self.lose(at + 0.03, "c2", node, back=at + 2)
        self.state(at + 9, node, "online")

    def picture(self, now: float, **looking: str) -> IncidentsPicture:
        return incidents_picture(self.model, T0 + now, Looking(**looking))  # type: ignore[arg-type]


def goal(picture: IncidentsPicture, name: str) -> Goal:
    assert picture.card is not None
    return next(goal for goal in picture.card.goals if goal.name == name)


def test_without_incidents_there_is_nothing() -> None:
    assert Story().picture(1) == IncidentsPicture()


def test_the_newest_incident_stands_first_and_is_looked_at() -> None:
    story = Story()
    story.kill(10, "n1")
    story.kill(60, "n2")
    picture = story.picture(100)
    assert [(row.number, row.what) for row in picture.rows] == [(2, "kill n2"), (1, "kill n1")]
    row = picture.rows[0]
    assert (row.found_ms, row.clients, row.back_p95_ms, row.lost, row.verdict) == (600.0, 2, 2_000.0, 0, Verdict.GOOD)
    assert picture.card is not None
    assert picture.card.row is picture.rows[0] or picture.card.row == row
    assert picture.card.window_ms == (2_200.0, 3_200.0)
    assert picture.card.lasted_ms == 5_000.0
    assert [(stage.name, stage.ms) for stage in picture.card.stages] == [
        ("first miss", 100.0),
        ("suspect", 50.0),
        ("removed", 600.0),
        ("cut", 30.0),
        ("50 % back", 1_000.0),
        ("95 % back", 2_000.0),
        ("all back", 2_000.0),
        ("online again", 9_000.0),
    ]


def test_the_last_run_is_the_one_of_the_same_kind_before_it() -> None:
    story = Story()
    story.kill(10, "n1")
    story.fault(40, "freeze", "n3", until=41)
    story.kill(60, "n2")
    picture = story.picture(100)
    assert picture.other is not None
    assert (picture.other.row.what, picture.chosen) == ("kill n1", False)


def test_two_can_be_compared() -> None:
    story = Story()
    story.kill(10, "n1")
    story.fault(40, "freeze", "n3", until=41)
    story.kill(60, "n2")
    first, second = (row.key for row in reversed(story.picture(100).rows[1:]))
    picture = story.picture(100, incident=first, other=second)
    assert picture.card is not None
    assert picture.other is not None
    assert (picture.card.row.what, picture.other.row.what, picture.chosen) == ("kill n1", "freeze n3", True)
    alone = story.picture(100, incident=first, other=first)
    assert (alone.other, alone.chosen) == (None, False)
    assert story.picture(100, incident="gone").card == story.picture(100).card


@pytest.mark.parametrize(
    ("fault", "removed", "until", "met"),
    [
        ("kill", 0.6, 5.0, True),
        ("kill", 3.6, 9.0, True),
        ("kill", 5.0, 9.0, False),
        ("freeze", 2.6, 9.0, True),
        ("freeze", 1.0, 9.0, False),
        ("freeze", 5.0, 9.0, False),
        ("freeze", None, 1.0, True),
        ("freeze", None, 2.5, True),
        ("freeze", None, 9.0, False),
        ("freeze", None, None, None),
    ],
)
def test_a_removal_has_to_be_in_time_and_not_too_soon(
    fault: str, removed: float | None, until: float | None, met: bool | None
) -> None:
    story = Story()
    story.fault(10, fault, "n1", until=None if until is None else 10 + until)
    if removed is not None:
        story.state(10 + removed, "n1", "removed")
    picture = story.picture(12 if until is None else 30)
    assert goal(picture, "removed").met is met
    assert picture.rows[0].verdict is {True: Verdict.GOOD, False: Verdict.BAD, None: Verdict.OPEN}[met]


def test_a_link_that_is_broken_need_not_cost_a_node() -> None:
    story = Story()
    story.fault(10, "blackhole", "gateway-n1", until=30)
    picture = story.picture(60)
    assert picture.card is not None
    assert "removed" not in {goal.name for goal in picture.card.goals}
    assert picture.rows[0].verdict is Verdict.GOOD


def test_a_removal_without_a_cause_is_never_as_promised() -> None:
    story = Story()
    story.state(10, "n2", "removed")
    story.state(20, "n2", "online")
    picture = story.picture(30)
    assert (picture.rows[0].what, picture.rows[0].verdict) == ("n2 went (unknown)", Verdict.BAD)


def test_a_client_that_stays_away_is_waited_for_and_then_held_against_it() -> None:
    story = Story()
    story.fault(10, "kill", "n1", until=12)
    story.state(10.5, "n1", "removed")
    story.lose(10.1, "c1", "n1")
    story.lose(10.1, "c2", "n1", back=11)
    assert goal(story.picture(30), "back") == Goal(name="back", wanted="all", got="1 of 2", met=None)
    assert story.picture(30).rows[0].verdict is Verdict.OPEN
    assert goal(story.picture(90), "back").met is False
    assert story.picture(90).rows[0].verdict is Verdict.BAD


def test_lost_messages_are_held_against_the_incident_they_were_lost_in() -> None:
    story = Story()
    story.kill(10, "n1")
    audit: JsonObject = {"lost": 2, "duplicated": 0, "inverted": 1}
    story.model.apply(says("fleet", {"audit": audit}, T0 + 15, rev=2))
    picture = story.picture(30)
    assert (goal(picture, "lost").met, goal(picture, "duplicated").met, goal(picture, "inverted").met) == (
        False,
        True,
        False,
    )
    assert picture.rows[0].lost == 2


@pytest.mark.parametrize(("forced", "met"), [(0, True), (3, False)])
def test_a_drain_closes_nobody_by_force(forced: int, met: bool) -> None:
    story = Story()
    story.tell(10, DrainStarted(node="n3", total=1), "n3")
    assert goal(story.picture(11), "forced").met is None
    story.tell(11, Resumed(client="c1", node="n1", how="handover"), "fleet")
    story.tell(12, DrainDone(node="n3", forced=forced), "n3")
    picture = story.picture(20)
    assert (picture.rows[0].what, picture.rows[0].clients) == ("drain n3", 1)
    assert goal(picture, "forced").met is met
    assert picture.card is not None
    assert (picture.card.moved, picture.card.window_ms) == (1, None)


def test_what_is_drawn_does_not_change_while_nothing_happens() -> None:
    story = Story()
    story.kill(10, "n1")
    assert story.picture(30) == story.picture(31)


def test_names_from_outside_are_made_harmless() -> None:
    story = Story()
    story.fault(10, "kill\x1b[2J", "n1\x07")
    assert all(character.isprintable() for character in story.picture(20).rows[0].what)
