"""From events to incidents, whatever order they come in."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsmon.model.incidents import DRAIN, EXIT, KILL, LIVES_MAX, UNKNOWN, Incident, Incidents, node_of
from wsmon.model.inputs import Happened, PeerSeen, PeerState, RedisSeen
from wsmon.protocol.frames import EventFrame, Json
from wsmon.protocol.states import NodeState, PeerKind, Role

T = 1_000.0


class Story:
    """Events of a cluster, numbered by source as they are told."""

    def __init__(self) -> None:
        self.events: list[EventFrame] = []

    def tell(self, at: float, source: str, kind: str, **fields: Json) -> None:
        seq = 1 + sum(event.source == source for event in self.events)
        self.events.append(EventFrame(source=source, boot=1, seq=seq, at=T + at, kind=kind, fields=fields))

    def state(self, at: float, node: str, new: str, *, source: str = "checker") -> None:
        self.tell(at, source, "node_state", node=node, old="?", new=new)

    def lost(self, at: float, client: str, node: str) -> None:
        self.tell(at, "fleet", "client_lost", client=client, node=node)

    def back(self, at: float, client: str, node: str, how: str = "log") -> None:
        self.tell(at, "fleet", "resumed", client=client, node=node, how=how)

    def fault(self, at: float, fault: str, target: str) -> None:
        self.tell(at, "supervisor", "fault_started", fault=fault, target=target)

    def healed(self, at: float, fault: str, target: str) -> None:
        self.tell(at, "supervisor", "fault_ended", fault=fault, target=target)

    def all(self, *, heard: list[EventFrame] | None = None) -> tuple[Incident, ...]:
        incidents = Incidents()
        for event in self.events if heard is None else heard:
            incidents.take(event, at=event.at)
        return incidents.all()

    def one(self) -> Incident:
        (incident,) = self.all()
        return incident


def killed() -> Story:
    """Return a whole failover: n1 of three is killed, four clients go elsewhere, and it comes back."""
    story = Story()
    for node in ("n1", "n2", "n3"):
        story.state(-5, node, "online")
    story.fault(0, "kill", "n1")
    story.tell(0.01, "supervisor", "process_exited", id="n1", signal=9)
    for number in range(1, 5):
        story.lost(0.02 + number / 100, f"c{number}", "n1")
    story.state(0.05, "n1", "suspect")
    story.tell(0.2, "checker", "heartbeat_missed", node="n1", count=1, needed=3)
    story.state(0.6, "n1", "removed")
    for number in range(1, 5):
        story.back(0.5 * number, f"c{number}", "n2")
    story.healed(5, "kill", "n1")
    story.state(6, "n1", "recovering")
    story.state(7, "n1", "online")
    return story


def ms(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def test_a_kill_is_one_incident_from_the_fault_to_the_last_client_back() -> None:
    incident = killed().one()
    assert (incident.fault, incident.target, incident.node) == (KILL, "n1", "n1")
    assert (incident.started_at, incident.ended_at) == (T, T + 5)
    assert ms(incident.suspect_ms) == 50
    assert ms(incident.first_miss_ms) == 200
    assert ms(incident.removed_ms) == 600
    assert ms(incident.online_ms) == 7_000
    assert ms(incident.cut_ms) == 60
    assert (ms(incident.back_p50_ms), ms(incident.back_p95_ms), ms(incident.back_all_ms)) == (1_000, 2_000, 2_000)
    assert (incident.clients, incident.moved) == (4, 0)
    assert [ms(pause) for pause in incident.pauses_ms] == [470, 960, 1_450, 1_940]
    assert (incident.lost, incident.duplicated) == (None, None), "nobody counted"


@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_any_order_and_any_repetition_give_the_same(dice: Random, twice: int) -> None:
    story = killed()
    story.fault(20, "freeze", "n2")
    story.lost(21, "c1", "n2")
    story.back(22, "c1", "n3")
    heard = [*story.events, *story.events[:twice]]
    dice.shuffle(heard)
    assert story.all(heard=heard) == story.all()


class Seeded:
    """Stories made up at random: everything that can be told, in any mixture."""

    def __init__(self, seed: int) -> None:
        self.story, dice, at = Story(), Random(seed), 0.0
        for _ in range(dice.choice((10, 40, 120))):
            at += dice.choice((0.001, 0.01, 0.1, 0.5, 2, 10, 40)) * dice.random()
            self._tell(dice, at, dice.choice(("n1", "n2", "n3")), f"c{dice.randrange(6)}")

    def _tell(self, dice: Random, at: float, node: str, client: str) -> None:
        fault = dice.choice(("kill", "freeze", "blackhole", "stall"))
        target = dice.choice((node, f"checker-{node}", "n1-n2", "redis"))
        match dice.randrange(11):
            case 0:
                self.story.fault(at, fault, target)
            case 1:
                self.story.healed(at, fault, target)
            case 2:
                self.story.tell(at, "supervisor", "process_exited", id=node, signal=dice.choice((9, 15)))
            case 3:
                self.story.tell(at, node, dice.choice(("drain_started", "drain_done", "drain_aborted")), node=node)
            case 4:
                self.story.tell(at, "supervisor", "action", actor={}, op="restart", target=node, ok=True)
            case 5:
                self.story.tell(at, "checker", "heartbeat_missed", node=node, count=1, needed=3)
            case 6 | 7:
                word = dice.choice(("online", "suspect", "removed", "left", "draining"))
                self.story.state(at + dice.uniform(-0.3, 0.3), node, word, source=dice.choice(("checker", node)))
            case 8 | 9:
                self.story.lost(at, client, node)
            case _:
                self.story.back(at, client, node, dice.choice(("log", "handover")))


@given(st.integers(0, 1_000_000), st.randoms(use_true_random=False), st.booleans())
def test_who_watches_all_the_time_sees_what_who_looks_once_sees(seed: int, dice: Random, mixed: bool) -> None:
    """What is kept from one look to the next is never told apart from what is worked out anew."""
    story = Seeded(seed).story
    heard = list(story.events)
    if mixed:
        dice.shuffle(heard)
    watched = Incidents()
    for event in heard:
        watched.take(event, at=event.at)
        if dice.random() < 0.3:
            watched.all()
    once = Incidents()
    for event in story.events:
        once.take(event, at=event.at)
    assert watched.all() == once.all()
    assert watched.removals() == once.removals()


def test_a_look_without_news_costs_nothing() -> None:
    incidents = Incidents()
    for event in killed().events:
        incidents.take(event, at=event.at)
    assert incidents.all() is incidents.all()
    assert not incidents.take(killed().events[0], at=T)
    assert incidents.all() is incidents.all()


def test_a_storm_does_not_push_out_what_caused_it() -> None:
    incidents = Incidents(kept=100)
    story = killed()
    for event in story.events:
        incidents.take(event, at=event.at)
    for seq in range(1, 301):
        client = EventFrame(
            source="fleet2", boot=1, seq=seq, at=T + 1, kind="client_lost", fields={"client": f"x{seq}", "node": "n1"}
        )
        incidents.take(client, at=client.at)
        incidents.all()
    (incident,) = incidents.all()
    assert (incident.fault, ms(incident.removed_ms)) == (KILL, 600)
    assert 90 <= incident.clients <= 100
    assert incidents.dropped == 300 + 8 - len(incidents._ways)


def test_a_node_that_only_introduced_itself_is_known_as_one() -> None:
    incidents = Incidents()
    frozen = EventFrame(
        source="supervisor", boot=1, seq=1, at=T, kind="fault_started", fields={"fault": "freeze", "target": "n1"}
    )
    incidents.take(frozen, at=T)
    assert incidents.all()[0].node is None
    incidents.apply(PeerSeen(id="n1", kind=PeerKind.NODE, boot=1, pid=0, host="", version="1", role=Role.READ, at=T))
    assert incidents.all()[0].node == "n1"


def test_a_verdict_that_is_told_again_is_no_second_removal() -> None:
    story = killed()
    story.tell(0.7, "checker", "node_state", node="n1", old="removed", new="removed", reason="held")
    incidents = Incidents()
    for event in story.events:
        incidents.take(event, at=event.at)
    assert len(incidents.removals()) == 1
    assert incidents.entered(NodeState.REMOVED) == ("n1",)


@given(st.floats(-0.4, 0.4))
def test_clocks_that_differ_a_little_change_numbers_and_nothing_else(offset: float) -> None:
    story = killed()
    told = [replace(event, at=event.at + offset) if event.source == "checker" else event for event in story.events]
    (there,) = story.all(heard=told)
    here = story.one()
    assert there.suspect_ms == pytest.approx(max(0, 50 + offset * 1_000))
    assert there.removed_ms == pytest.approx(600 + offset * 1_000)
    assert (there.clients, there.back_all_ms) == (here.clients, here.back_all_ms)


def test_who_is_not_back_leaves_the_time_of_all_open() -> None:
    story = Story()
    story.fault(0, "kill", "n1")
    for client in ("c1", "c2"):
        story.lost(0.1, client, "n1")
    story.back(0.5, "c1", "n2")
    incident = story.one()
    assert ms(incident.back_p50_ms) == 500
    assert incident.back_p95_ms is None
    assert incident.back_all_ms is None
    assert len(incident.pauses_ms) == 1


def test_a_client_that_is_lost_again_elsewhere_counts_for_both() -> None:
    story = Story()
    story.fault(0, "kill", "n1")
    story.lost(0.1, "c1", "n1")
    story.back(1, "c1", "n2")
    story.fault(2, "kill", "n2")
    story.lost(2.1, "c1", "n2")
    story.back(4, "c1", "n3")
    first, second = story.all()
    assert (first.target, ms(first.back_all_ms)) == ("n1", 1_000)
    assert (second.target, ms(second.back_all_ms)) == ("n2", 2_000)


@pytest.mark.parametrize("offset", [-0.03, 0.0, 0.03])
@pytest.mark.parametrize("gap", [0.9, 1.0, 3.0])
def test_a_node_that_flaps_has_an_incident_for_each_time(offset: float, gap: float) -> None:
    """The next kill may come so soon that clocks alone would not tell whose removal it was."""
    story = Story()
    story.state(-1, "n1", "online")
    for number in range(4):
        begin = number * gap
        story.fault(begin, "kill", "n1")
        story.tell(begin + 0.01, "supervisor", "process_exited", id="n1", signal=9)
        story.lost(begin - 0.005, "c1", "n1")
        story.state(begin + 0.05 + offset, "n1", "suspect")
        story.back(begin + 0.3, "c1", "n2")
        story.state(begin + 0.55 + offset, "n1", "removed")
        story.healed(begin + 0.6, "kill", "n1")
        story.state(begin + gap - 0.05 + offset, "n1", "online")
    incidents = story.all()
    assert len(incidents) == 4
    for incident in incidents:
        assert ms(incident.removed_ms) == round((0.55 + offset) * 1_000, 3)
        assert ms(incident.online_ms) == round((gap - 0.05 + offset) * 1_000, 3)
        assert (incident.clients, ms(incident.cut_ms), ms(incident.back_all_ms)) == (1, 0, 300)


def test_links_of_one_node_broken_at_once_are_one_incident() -> None:
    story = Story()
    for node in ("n1", "n2", "n3"):
        story.state(-5, node, "online")
    for index, link in enumerate(("checker-n1", "gateway-n1", "n1-redis", "n2-n1")):
        story.fault(index / 10, "blackhole", link)
    story.fault(0.3, "blackhole", "gateway-n2")
    story.fault(9, "blackhole", "gateway-n1")
    story.state(1.5, "n1", "removed")
    partition, other, later = story.all()
    assert (partition.target, partition.parts) == ("n1", ("checker-n1", "gateway-n1", "n1-redis", "n2-n1"))
    assert ms(partition.removed_ms) == 1_500
    assert (other.target, other.removed_ms) == ("gateway-n2", None)
    assert (later.target, later.parts) == ("gateway-n1", ("gateway-n1",))


@pytest.mark.parametrize(
    ("target", "node"),
    [
        ("n1", "n1"),
        ("n1-redis", "n1"),
        ("checker-n1", "n1"),
        ("n2-n1", "n1"),
        ("gateway-n10", "n10"),
        ("redis", None),
        ("gateway-redis", None),
        ("n3", None),
    ],
)
def test_a_target_belongs_to_the_node_that_it_cuts_off(target: str, node: str | None) -> None:
    assert node_of(target, ("n1", "n2", "n10")) == node


def test_what_befalls_everybody_belongs_to_the_incident_of_nobody_alone() -> None:
    story = Story()
    story.fault(0, "stall", "redis")
    story.lost(1, "c1", "n1")
    story.lost(2, "c2", "n2")
    story.back(3, "c1", "n2")
    story.back(4, "c2", "n1")
    incident = story.one()
    assert (incident.node, incident.clients, ms(incident.back_all_ms)) == (None, 2, 4_000)


def test_incidents_of_a_node_go_before_those_of_the_whole() -> None:
    story = Story()
    story.state(-1, "n1", "online")
    story.fault(0, "kill", "n1")
    story.fault(1, "stall", "redis")
    story.lost(1.5, "c1", "n1")
    story.lost(1.6, "c2", "n2")
    kill, stall = story.all()
    assert (kill.clients, stall.clients) == (1, 1)


def test_a_new_leader_belongs_to_the_fault_of_the_checker() -> None:
    story = Story()
    story.fault(0, "kill", "checker")
    story.tell(2.5, "checker2", "leader_changed", epoch=2, who="checker2")
    story.tell(9, "checker2", "leader_changed", epoch=3, who="checker2")
    assert ms(story.one().leader_ms) == 2_500


def test_a_process_that_ends_by_itself_is_an_incident_and_one_that_was_asked_to_is_not() -> None:
    story = Story()
    story.state(-1, "n1", "online")
    story.tell(0, "supervisor", "process_exited", id="n1", signal=9)
    story.tell(1, "supervisor", "process_exited", id="gateway", code=3)
    story.tell(2, "supervisor", "process_exited", id="n2", code=0)
    story.tell(3, "supervisor", "action", actor={}, op="stop", target="n3", ok=True)
    story.tell(20, "supervisor", "process_exited", id="n3", signal=9)
    story.tell(30, "supervisor", "action", actor={}, op="scale", target="supervisor", ok=True)
    story.tell(40, "supervisor", "process_exited", id="n4", signal=9)
    assert [(incident.fault, incident.target) for incident in story.all()] == [(KILL, "n1"), (EXIT, "gateway")]


def test_an_untold_kill_ends_when_the_node_is_online_again() -> None:
    story = Story()
    story.tell(0, "supervisor", "process_exited", id="n1", signal=9)
    story.state(0.6, "n1", "removed")
    story.state(8, "n1", "online")
    assert story.one().ended_at == T + 8


def test_a_removal_that_nothing_explains_is_an_incident_of_its_own_and_a_false_one() -> None:
    story = Story()
    story.state(-9, "n1", "suspect")
    story.state(-8, "n1", "online")
    story.tell(0, "checker", "heartbeat_missed", node="n1", count=1, needed=3)
    story.state(0.1, "n1", "suspect")
    story.lost(0.5, "c1", "n1")
    story.state(2, "n1", "removed")
    story.back(3, "c1", "n2")
    story.state(9, "n1", "online")
    incident = story.one()
    assert (incident.fault, incident.target) == (UNKNOWN, "n1")
    assert (incident.started_at, incident.ended_at) == (T, T + 9)
    assert ms(incident.removed_ms) == 2_000
    assert ms(incident.back_all_ms) == 3_000
    incidents = Incidents()
    for event in story.events:
        incidents.take(event, at=event.at)
    assert [removal.explained for removal in incidents.removals()] == [False]


def test_a_node_that_was_back_and_goes_again_by_itself_is_another_incident() -> None:
    story = killed()
    story.state(12, "n1", "suspect")
    story.state(13, "n1", "removed")
    kill, unknown = story.all()
    assert (kill.fault, ms(kill.removed_ms)) == (KILL, 600)
    assert (unknown.fault, unknown.started_at, ms(unknown.removed_ms)) == (UNKNOWN, T + 12, 1_000)


@pytest.mark.parametrize(
    ("fault", "target", "ended", "explained"),
    [
        ("kill", "n1", None, True),
        ("freeze", "n1", None, True),
        ("blackhole", "checker-n1", None, True),
        ("freeze", "n1", 1.5, True),  # The checker had asked before it went on.
        ("freeze", "n1", -5.0, False),
        ("freeze", "n2", None, False),
        ("latency", "checker-n1", None, False),
        ("stall", "redis", None, False),
    ],
)
def test_only_what_silences_a_node_explains_its_removal(
    fault: str, target: str, ended: float | None, explained: bool
) -> None:
    story = Story()
    story.fault(-10, fault, target)
    if ended is not None:
        story.healed(ended, fault, target)
    story.state(2, "n1", "removed")
    incidents = Incidents()
    for event in story.events:
        incidents.take(event, at=event.at)
    assert [removal.explained for removal in incidents.removals()] == [explained]


def test_a_drain_tells_when_its_clients_had_moved() -> None:
    story = Story()
    story.tell(0, "n1", "drain_started", node="n1", total=2)
    story.state(0.1, "n1", "draining", source="n1")
    story.back(1, "c1", "n2", "handover")
    story.back(2, "c2", "n3", "handover")
    story.tell(2.5, "n1", "drain_done", node="n1", forced=0)
    story.back(9, "c3", "n1", "handover")  # Evening out, long after.
    incident = story.one()
    assert (incident.fault, incident.clients, incident.moved) == (DRAIN, 2, 2)
    assert (ms(incident.back_p50_ms), ms(incident.back_all_ms)) == (1_000, 2_000)
    assert (incident.ended_at, incident.forced) == (T + 2.5, 0)
    assert incident.cut_ms is None


def test_a_nodes_own_word_is_no_verdict() -> None:
    story = Story()
    story.fault(0, "freeze", "n1")
    story.state(1, "n1", "removed", source="n1")
    assert story.one().removed_ms is None


def test_online_counts_only_after_it_was_away() -> None:
    story = Story()
    story.fault(0, "freeze", "n1")
    story.state(0.1, "n1", "online")
    assert story.one().online_ms is None


def test_what_the_audit_counts_belongs_to_the_newest_incident() -> None:
    story = Story()
    story.fault(10, "kill", "n1")
    story.fault(20, "kill", "n2")
    incidents = Incidents()
    for event in story.events:
        incidents.take(event, at=event.at)

    def counted(at: float, lost: int, duplicated: int, boot: int = 1) -> PeerState:
        audit: Json = {"lost": lost, "duplicated": duplicated}
        return PeerState(id="fleet", boot=boot, rev=1, at=T + at, state={"audit": audit}, heard_at=T + at)

    for fact in (counted(22, 6, 1), counted(5, 1, 0), counted(15, 3, 0), counted(6, 1, 0)):
        incidents.apply(fact)
    assert [(incident.lost, incident.duplicated) for incident in incidents.all()] == [(2, 0), (3, 1)]
    # Lost ones that came late after all, and a fleet that was started anew and counts from nothing.
    incidents.apply(counted(25, 4, 1))
    incidents.apply(counted(30, 2, 0, boot=2))
    assert [(incident.lost, incident.duplicated) for incident in incidents.all()] == [(2, 0), (3, 1)]


def test_a_fleet_that_starts_again_and_again_takes_no_more_memory_and_costs_no_other_its_count() -> None:
    story = Story()
    story.fault(5_000, "kill", "n1")
    incidents = Incidents()
    for event in story.events:
        incidents.take(event, at=event.at)
    for boot in range(1_000):
        incidents.sample("steady", 1, at=T + boot, lost=7, duplicated=0)
        incidents.sample("restless", boot, at=T + boot, lost=boot, duplicated=0)
    incidents.sample("steady", 1, at=T + 5_001, lost=9, duplicated=0)
    assert len(incidents._samples) == LIVES_MAX
    assert [incident.lost for incident in incidents.all()] == [2]


def test_facts_are_taken_as_they_come() -> None:
    incidents = Incidents()
    fault = EventFrame(
        source="supervisor", boot=1, seq=1, at=T + 50, kind="fault_started", fields={"fault": "kill", "target": "n1"}
    )
    incidents.apply(Happened(event=fault, heard_at=T))
    incidents.apply(RedisSeen(state="ok", at=T))
    incidents.apply(PeerState(id="n1", boot=1, rev=1, at=T, state={}, heard_at=T))
    assert [incident.started_at for incident in incidents.all()] == [T], "nothing happens after it was heard of"
    assert not incidents.take(fault, at=T)
    assert not incidents.take(replace(fault, seq=2, kind="feed"), at=T), "tells nothing of incidents"


def test_clients_and_states_are_counted_since_a_moment() -> None:
    story = killed()
    story.state(8, "n1", "quarantined")
    incidents = Incidents()
    for event in story.events:
        incidents.take(event, at=event.at)
    assert incidents.clients_lost() == 4
    assert incidents.clients_lost(since=T + 0.045) == 2
    assert incidents.clients_away() == 0
    assert incidents.entered(NodeState.QUARANTINED) == ("n1",)
    assert incidents.entered(NodeState.QUARANTINED, since=T + 9) == ()
    again = EventFrame(source="fleet", boot=1, seq=99, at=T + 9, kind="client_lost", fields={"client": "c9"})
    incidents.take(again, at=again.at)
    assert incidents.clients_away() == 1


def test_memory_has_a_bound_and_what_falls_over_it_is_counted() -> None:
    incidents = Incidents(kept=3)
    for seq in range(1, 6):
        event = EventFrame(
            source="fleet", boot=1, seq=seq, at=T + seq, kind="client_lost", fields={"client": f"c{seq}"}
        )
        incidents.take(event, at=event.at)
    assert incidents.dropped == 2
    assert incidents.clients_lost() == 3
