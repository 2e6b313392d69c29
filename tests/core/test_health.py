"""The judgement of one node, and the bounds that it promises."""

import math
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sample_cluster.core.classify import Silence
from sample_cluster.core.flap import PENALTY, REUSE
from sample_cluster.core.health import (
    HURRY_S,
    LEFT_KEPT_S,
    AdminClosed,
    Alone,
    AskHelpers,
    Broken,
    ConnectRefused,
    Denied,
    Evidence,
    HealthEvent,
    HeartbeatLate,
    HeartbeatOk,
    HelperSaid,
    Hold,
    HttpOk,
    Impostor,
    Kind,
    MissCounted,
    NodeHealth,
    NodeSays,
    OldBoot,
    Registered,
    Release,
    Send,
    Transition,
    Unasked,
    Unregistered,
    WrongName,
    words_s,
)
from sample_cluster.core.probe import Said
from tests.support.judged_node import (
    BEAT,
    BOOT,
    HEARTBEAT,
    HTTP,
    ROUND_TRIP_S,
    WEB,
    Around,
    Case,
    Timing,
    Timings,
    at_once,
    silence,
)
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState

LATER = BOOT + 1
REFUSED = ConnectRefused()
HELD = Hold(state=NodeState.REMOVED, until=60.0, by="ada", why="a test")


def inherited(
    state: NodeState, *, boot: int | None = BOOT, around: Around | None = None, evidence: Evidence | None = None
) -> Case:
    """Return a node as a new leader finds it in the table, registered."""
    case = Case(around=around)
    case.health.inherit(
        state, since=-60.0, reason="as before", evidence=evidence or Evidence(kind=Kind.HEARTBEAT), boot=boot
    )
    case.tell(Registered(boot=BOOT))
    return case


# Joining.


def test_a_registered_node_joins_and_is_online_after_two_heartbeats_and_one_http_check() -> None:
    case = Case()
    (joining,) = case.tell(Registered(boot=BOOT))
    assert isinstance(joining, Transition)
    assert (joining.old, joining.new) == (NodeState.LEFT, NodeState.JOINING)
    assert case.tell(BEAT, WEB) == ()
    (online,) = case.tell(BEAT)
    assert isinstance(online, Transition)
    assert (online.new, online.boot) == (NodeState.ONLINE, BOOT)
    assert online.reason == "2 heartbeats and 1 HTTP check answered"


def test_a_joining_node_is_asked_more_often() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT))
    case.run(0.0)
    assert case.deeds == [Send(node="n1", kind=HEARTBEAT), Send(node="n1", kind=HTTP)]
    assert case.health.due(HEARTBEAT) == 1.25
    assert case.run_to(NodeState.ONLINE) == pytest.approx(1.25 + ROUND_TRIP_S)


def test_a_miss_while_joining_begins_the_count_anew_and_silence_alone_removes_nobody_who_joins() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT))
    case.run(0.01)
    assert case.health.heartbeat.passed == 1
    case.fall_silent()
    case.run(60.0)
    assert case.path == [NodeState.JOINING]
    assert case.health.heartbeat.passed == 0
    assert case.misses == []


def test_probes_of_nodes_that_come_online_together_are_spread_over_the_interval() -> None:
    case = Case(phase=0.5)
    case.tell(Registered(boot=BOOT), BEAT, BEAT, WEB)
    assert case.health.due(HEARTBEAT) == 2.5
    assert case.health.due(HTTP) == 5.0
    assert case.health.next_probe_at == 2.5


def test_a_probe_that_could_not_be_made_counts_for_nothing() -> None:
    case = Case().come_online()
    case.answers[HTTP] = at_once(Unasked(kind=HTTP))
    case.run(60.0)
    assert case.state() is NodeState.ONLINE
    assert case.health.http.failed == 0
    assert case.health.uncounted == 0


# Silence.


def test_the_first_miss_makes_suspect_and_one_answer_clears_it() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    counted, suspect = case.run(6.1)
    assert counted == MissCounted(node="n1", count=1, needed=3)
    assert isinstance(suspect, Transition)
    assert suspect.new is NodeState.SUSPECT
    assert suspect.reason == "heartbeat 1/3 missed (no answer within 1 s), last answer 6 s before"
    assert suspect.evidence == Evidence(
        kind=HEARTBEAT,
        failed=1,
        needed=3,
        last_ok=ROUND_TRIP_S,
        asked=5.0,
        answer="no answer within 1 s",
        link="transient",
    )
    case.answer()
    (online,) = case.run(5.0)
    assert isinstance(online, Transition)
    assert (online.new, online.reason) == (NodeState.ONLINE, "heartbeat answered again after 10 s")
    assert case.health.heartbeat.failed == 0


def test_three_misses_in_a_row_remove_and_further_ones_are_not_reported() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    case.run(60.0)
    removed = case.moves[-1]
    assert (removed.old, removed.new, removed.now) == (NodeState.SUSPECT, NodeState.REMOVED, 16.0)
    assert removed.reason == "heartbeat 3/3 missed (no answer within 1 s), last answer 16 s before"
    assert case.misses == [1, 2, 3]
    assert case.health.heartbeat.failed == 3


def test_two_bad_http_answers_remove_whatever_the_heartbeats_say_and_need_no_confirmation() -> None:
    case = Case(around=Around(others=("n2",))).come_online()
    case.helpers_say["n2"] = Said.YES
    case.answers[HTTP] = at_once(Denied(kind=HTTP, why="answered 500", status=500))
    (suspect,) = case.run(11.0)
    assert isinstance(suspect, Transition)
    assert suspect.reason == "HTTP check 1/2 failed (answered 500), last answer 10 s before"
    assert case.health.why(case.now) == (
        "suspect: heartbeat ok 1 s ago, http 1/2 failed (answered 500, ok 11 s ago);"
        " removal in 11.0–13.0 s unless it answers"
    )
    (removed,) = case.run(10.0)
    assert isinstance(removed, Transition)
    assert (removed.new, removed.evidence.status, removed.evidence.answer) == (NodeState.REMOVED, 500, "answered 500")
    assert not any(isinstance(deed, AskHelpers) for deed in case.deeds)


def test_who_failed_http_checks_recovers_by_http_and_not_by_heartbeats() -> None:
    case = Case().come_online()
    case.fall_silent(HTTP)
    case.run_to(NodeState.REMOVED)
    assert case.run(8.0) == ()
    case.answer()
    case.run(30.0)
    assert case.path[-2:] == [NodeState.RECOVERING, NodeState.ONLINE]


def test_a_removed_node_recovers_and_has_to_prove_itself_anew() -> None:
    case = Case().come_online().be_removed()
    case.answers[HTTP] = silence
    case.answers[HEARTBEAT] = at_once(BEAT)
    (recovering,) = case.run(12.0)
    assert isinstance(recovering, Transition)
    assert (recovering.new, recovering.reason) == (NodeState.RECOVERING, "answers again after 20 s")
    case.answer()
    case.run_to(NodeState.ONLINE)
    assert case.path[-2:] == [NodeState.RECOVERING, NodeState.ONLINE]


def test_a_recovering_node_that_falls_silent_is_removed_again_even_if_no_more_may_go() -> None:
    around = Around()
    case = Case(around=around).come_online().be_removed()
    case.answers[HTTP] = silence
    case.answers[HEARTBEAT] = at_once(BEAT)
    case.run_to(NodeState.RECOVERING)
    around.room = False
    case.be_removed()
    assert case.path[-2:] == [NodeState.RECOVERING, NodeState.REMOVED]


def test_a_miss_found_by_a_late_timer_does_not_count() -> None:
    case = Case().come_online()
    case.fall_silent()
    case.run(5.1)
    case._take(case.health.tick(6.51))  # Due at 6.0.
    assert (case.misses, case.health.uncounted) == ([], 1)
    case.now = 6.51
    case.run(4.49)
    case._take(case.health.tick(11.5))  # Due at 11.0: just not late enough.
    assert case.misses == [1]


def test_answers_that_come_too_late_come_to_nothing() -> None:
    case = Case().come_online()
    case.answers[HEARTBEAT] = lambda asked: (asked + 1.001, BEAT)
    case.run(40.0)
    assert case.state() is NodeState.REMOVED


# Confirmation by others.


def test_nobody_is_removed_whom_others_can_reach() -> None:
    case = Case(around=Around(others=("n2", "n3"))).come_online()
    case.helpers_say = {"n2": Said.NO, "n3": Said.YES}
    case.fall_silent()
    assert case.run(120.0) == ()
    assert (case.health.heartbeat.failed, case.health.http.failed) == (0, 0)
    assert case.health.heartbeat.vouched == 23
    assert case.health.http.vouched == 11


def test_others_are_asked_at_half_time_and_have_the_rest_of_it() -> None:
    case = Case(around=Around(others=("n2", "n3"))).come_online()
    case.helpers_say = {"n2": Said.NO, "n3": Said.NO}
    case.fall_silent(HEARTBEAT)
    case.run(5.5)
    assert case.deeds[-1] == AskHelpers(node="n1", kind=HEARTBEAT, asked=5.0, helpers=("n2", "n3"), within_s=0.45)
    assert case.health.deadline == 6.0
    case.run(0.49)
    assert case.misses == []
    case.run(0.01)
    assert case.misses == [1]
    assert case.moves[-1].evidence.helpers == (("n2", Said.NO), ("n3", Said.NO))
    assert case.moves[-1].reason.endswith("last answer 6 s before, helpers n2 no, n3 no")


def test_a_node_that_answers_in_the_second_half_passes_whatever_others_say() -> None:
    case = Case(around=Around(others=("n2",))).come_online()
    case.helpers_say = {"n2": Said.NO}
    case.answers[HEARTBEAT] = lambda asked: (asked + 0.9, BEAT)
    case.run(30.0)
    assert case.state() is NodeState.ONLINE
    assert case.misses == []
    assert case.health.heartbeat.vouched == 0


def test_others_who_do_not_answer_themselves_are_no_evidence() -> None:
    case = Case(around=Around(others=("n2", "n3"))).come_online()
    case.helpers_say = {"n2": None, "n3": Said.NOTHING}
    case.fall_silent(HEARTBEAT)
    case.run(20.0)
    removed = case.moves[-1]
    assert removed.new is NodeState.REMOVED
    assert removed.now == 16.0
    assert removed.evidence.helpers == (("n2", Said.NOTHING), ("n3", Said.NOTHING))


def test_a_suspect_whom_another_reaches_is_trusted_again() -> None:
    around = Around()
    case = Case(around=around).come_online()
    case.fall_silent(HEARTBEAT)
    case.run(7.0)
    around.others, case.helpers_say = ("n2",), {"n2": Said.YES}
    (online,) = case.run(5.0)
    assert isinstance(online, Transition)
    assert (online.new, online.reason) == (NodeState.ONLINE, "heartbeat not answered, but n2 can reach it")
    assert online.evidence.helpers == (("n2", Said.YES),)


def test_a_probe_that_breaks_asks_others_at_once_and_is_decided_when_all_have_answered() -> None:
    case = Case(around=Around(others=("n2",))).come_online()
    case.helpers_say = {"n2": Said.NO}
    case.answers[HTTP] = at_once(Broken(kind=HTTP, why="Connection refused"))
    case.run(10.1)
    asked = case.deeds[-1]
    assert isinstance(asked, AskHelpers)
    assert asked.within_s == pytest.approx(1.8, abs=0.01)
    (suspect,) = case.run(1.8)
    assert isinstance(suspect, Transition)
    assert suspect.reason == "HTTP check 1/2 failed (Connection refused), last answer 11.8 s before, helpers n2 no"


def test_a_probe_that_breaks_is_saved_by_the_first_who_reaches_the_node() -> None:
    case = Case(around=Around(others=("n2", "n3"))).come_online()
    case.helpers_say = {"n2": Said.YES, "n3": None}
    case.answers[HTTP] = at_once(Broken(kind=HTTP, why="Connection reset by peer"))
    assert case.run(10.1) == ()
    assert not case.health.http.in_flight
    assert case.health.http.vouched == 1


def test_a_probe_that_breaks_is_over_at_its_time_if_others_are_silent_and_at_once_if_there_are_none() -> None:
    for others, at in (("n2",), 12.0), ((), 10.0 + ROUND_TRIP_S):
        case = Case(around=Around(others=others)).come_online()
        case.answers[HTTP] = at_once(Broken(kind=HTTP, why="Connection refused"))
        case.run_to(NodeState.SUSPECT)
        assert case.now == pytest.approx(at)


def test_what_others_say_of_a_probe_that_is_over_changes_nothing() -> None:
    case = Case(around=Around(others=("n2",))).come_online()
    case.fall_silent(HEARTBEAT)
    case.run(5.6)
    for asked, helper in ((0.0, "n2"), (5.0, "n9")):
        case.tell(HelperSaid(kind=HEARTBEAT, asked=asked, helper=helper, said=Said.YES))
    case.run(1.0)
    case.tell(HelperSaid(kind=HEARTBEAT, asked=5.0, helper="n2", said=Said.YES))
    assert case.misses == [1]
    assert case.state() is NodeState.SUSPECT
    assert case.tell(Broken(kind=HEARTBEAT, why="too late")) == ()


def test_others_are_not_asked_when_no_time_is_left_for_them() -> None:
    case = Case(around=Around(others=("n2",))).come_online()
    case.fall_silent(HEARTBEAT)
    case.run(5.1)
    case._take(case.health.tick(6.1))
    assert not any(isinstance(deed, AskHelpers) for deed in case.deeds)
    assert case.misses == [1]


# Hard evidence.


def test_the_end_of_the_admin_connection_makes_suspect_and_a_new_connection_clears_it() -> None:
    case = Case().come_online()
    (suspect,) = case.tell(AdminClosed(), after_s=2)
    assert isinstance(suspect, Transition)
    assert (suspect.new, suspect.reason) == (NodeState.SUSPECT, "its admin connection ended")
    assert case.health.due(HEARTBEAT) == case.now  # Look at once.
    assert case.tell(WEB) == ()  # Whether its admin side lives is not known by HTTP.
    case.run(0.01)
    assert case.state() is NodeState.ONLINE


def test_a_killed_process_is_removed_by_two_refused_connects() -> None:
    case = Case().come_online()
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.tell(AdminClosed(), after_s=2)
    case.run(5)
    removed = case.moves[-1]
    assert removed.new is NodeState.REMOVED
    assert removed.reason == "its process is gone: 2 connects refused within 0.5 s"
    assert removed.evidence.kind is Kind.GONE
    assert removed.evidence.refused == 2
    assert removed.now == pytest.approx(2.5 + 3 * ROUND_TRIP_S)
    assert case.health.hard
    assert case.misses == []


def test_the_second_connect_is_neither_too_soon_nor_an_interval_too_late() -> None:
    for interval_s in (0.4, 0.5, 0.501, 0.6, 1.0):
        case = Case(Timings(heartbeat=Timing(interval_s, 0.2, 3))).come_online()
        case.answers[HEARTBEAT] = at_once(REFUSED)
        case.tell(AdminClosed(), after_s=2)
        case.run(0.6)
        assert case.state() is NodeState.REMOVED, interval_s


@pytest.mark.parametrize("dying_s", [0.0, 0.05, 0.2, 0.39])
def test_a_dying_process_that_still_takes_connections_does_not_delay_its_removal_by_an_interval(dying_s: float) -> None:
    case = Case().come_online()
    broken = Broken(kind=HEARTBEAT, why="closed the connection while it was opened")
    case.answers[HEARTBEAT] = lambda asked: (asked + ROUND_TRIP_S, broken if asked < 2 + dying_s else REFUSED)
    case.tell(AdminClosed(), after_s=2)
    case.run(3)
    assert case.state() is NodeState.REMOVED
    assert case.moves[-1].now - 2 <= 0.5 + dying_s + 0.1 + 0.01
    assert case.misses == []


def test_a_node_that_ends_every_connection_is_dialled_in_a_hurry_for_a_second_only_and_keeps_its_rhythm() -> None:
    case = Case().come_online()
    case.answers[HEARTBEAT] = at_once(Broken(kind=HEARTBEAT, why="reset"))
    case.tell(AdminClosed(), after_s=2)
    case.deeds.clear()
    case.run(HURRY_S + 0.1)
    assert len(case.deeds) == pytest.approx(HURRY_S / 0.1, abs=3)
    case.deeds.clear()
    case.run_to(NodeState.REMOVED)
    assert case.misses == [1, 2, 3]
    assert case.now <= 2 + HURRY_S + 3 * 5 + 1
    assert len(case.deeds) < 12


def test_two_refused_connects_too_close_together_prove_nothing() -> None:
    case = Case().come_online()
    case.fall_silent()
    case.tell(AdminClosed(), REFUSED, after_s=2)
    case.now += 0.4
    assert case.tell(REFUSED) == ()
    assert case.state() is NodeState.SUSPECT
    case.now += 0.1
    case.tell(REFUSED)
    assert case.state() is NodeState.REMOVED


def test_an_inherited_node_that_refuses_becomes_suspect_first() -> None:
    case = inherited(NodeState.ONLINE)
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.run(2.0)
    assert case.path == [NodeState.SUSPECT, NodeState.REMOVED]
    assert case.moves[0].reason == "nobody listens at its admin socket"


def test_a_joining_node_whose_process_dies_is_removed() -> None:
    case = Case()
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.tell(Registered(boot=BOOT))
    case.run(2.0)
    assert case.path == [NodeState.JOINING, NodeState.REMOVED]


def test_a_node_removed_for_its_silence_that_turns_out_not_to_exist_is_hard() -> None:
    case = Case().come_online().be_removed()
    assert case.hard() is False
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.tell(AdminClosed())
    case.run(2.0)
    assert case.hard() is True
    assert case.state() is NodeState.REMOVED
    case.answer()
    case.run_to(NodeState.RECOVERING)
    assert case.hard() is False


def test_a_later_boot_ends_the_earlier_life() -> None:
    case = Case().come_online()
    removed, joining = case.tell(Registered(boot=LATER))
    assert isinstance(removed, Transition)
    assert isinstance(joining, Transition)
    assert (removed.new, removed.boot, removed.evidence.kind) == (NodeState.REMOVED, BOOT, Kind.GONE)
    assert removed.reason == f"its earlier life is over: boot {LATER} took its place"
    assert (joining.new, joining.boot) == (NodeState.JOINING, LATER)


def test_a_later_boot_is_met_on_the_admin_connection_too() -> None:
    case = Case().come_online().be_removed()
    case.answer(HeartbeatOk(boot=LATER, rtt_s=0.001), HttpOk(boot=LATER))
    case.run(4.5)
    assert case.path[-2:] == [NodeState.JOINING, NodeState.ONLINE]
    assert case.health.connected


def test_a_later_boot_while_joining_starts_over_without_a_word() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT), BEAT, WEB)
    assert case.tell(Registered(boot=LATER)) == ()
    assert case.health.heartbeat.passed == 0


def test_an_old_boot_is_ignored_and_reported_once() -> None:
    case = Case().come_online()
    old = OldBoot(node="n1", boot=BOOT - 1, known=BOOT)
    assert case.tell(HeartbeatOk(boot=BOOT - 1, rtt_s=0)) == (old,)
    assert case.tell(HttpOk(boot=BOOT - 1), NodeSays(boot=BOOT - 1, state=NodeState.LEFT)) == ()
    assert case.state() is NodeState.ONLINE


def test_who_answers_in_anothers_name_is_reported_once_and_stands_for_nobody() -> None:
    case = Case(around=Around(others=("n2",))).come_online()
    case.helpers_say["n2"] = Said.YES
    case.answers[HEARTBEAT] = at_once(Impostor(kind=HEARTBEAT, claims="n2"))
    found = case.run(20.0)
    assert [item for item in found if isinstance(item, WrongName)] == [
        WrongName(node="n1", kind=HEARTBEAT, claims="n2")
    ]
    assert case.moves[-1].new is NodeState.REMOVED
    assert case.moves[-1].evidence.answer == "it says that it is n2"


# Inheritance.


def test_an_inherited_verdict_without_a_boot_is_about_whoever_is_found() -> None:
    case = inherited(NodeState.ONLINE, boot=None)
    assert case.tell(BEAT, WEB) == ()
    assert (case.health.boot, case.health.reason) == (BOOT, "as before")


def test_an_inherited_suspect_has_no_misses_and_is_cleared_by_a_heartbeat() -> None:
    case = inherited(NodeState.SUSPECT)
    case.fall_silent(HEARTBEAT)
    case.run(2.0)
    assert case.path == []
    assert case.health.heartbeat.failed == 1
    case.answer()
    case.run(5.0)
    assert case.path == [NodeState.ONLINE]


def test_an_inherited_suspect_that_is_silent_has_its_whole_time_and_a_window_that_says_so() -> None:
    case = inherited(NodeState.SUSPECT)
    case.fall_silent()
    case.run(0.0)
    assert case.health.removal_window == (0.5, 12.0)  # There is no connection: it may yet be refused.
    case.run(30.0)
    assert case.moves[-1].now == 11.0


def test_counts_can_be_forgiven() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    case.run(11.1)
    assert case.health.heartbeat.failed == 2
    case.health.forgive()
    case.run(14.8)
    assert case.state() is NodeState.SUSPECT
    case.run(0.2)
    assert case.state() is NodeState.REMOVED


def test_an_inherited_penalty_decays_from_when_it_was_written() -> None:
    case = inherited(NodeState.REMOVED, evidence=Evidence(kind=Kind.HEARTBEAT, penalty=3_000.0))
    assert case.health.flap.penalty(60.0) == pytest.approx(1_500.0)
    case.run(1.0)
    assert case.path == [NodeState.QUARANTINED]


def test_whether_an_inherited_removal_was_hard_is_known() -> None:
    assert inherited(NodeState.REMOVED, evidence=Evidence(kind=Kind.GONE)).health.hard
    assert not inherited(NodeState.REMOVED).health.hard
    assert not inherited(NodeState.JOINING, evidence=Evidence(kind=Kind.GONE)).health.hard


# Draining, leaving.


def test_draining_never_alarms() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    case.answer(Broken(kind=HEARTBEAT, why="reset"), Denied(kind=HTTP, why="answered 503", status=503))
    case.run(60.0)
    case.tell(AdminClosed())
    assert case.state() is NodeState.DRAINING
    assert case.misses == []
    case.tell(REFUSED)
    assert case.path[-2:] == [NodeState.DRAINING, NodeState.LEFT]


def test_a_drain_ends_by_the_nodes_word_or_is_called_off() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    case.run(7.0)
    assert case.health.heartbeat.failed == 1
    case.tell(NodeSays(boot=BOOT, state=NodeState.ONLINE))
    assert case.state() is NodeState.ONLINE
    assert case.health.heartbeat.failed == 0
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING), NodeSays(boot=BOOT, state=NodeState.LEFT))
    assert case.path[-2:] == [NodeState.DRAINING, NodeState.LEFT]
    assert case.tell(NodeSays(boot=BOOT, state=NodeState.LEFT)) == ()


def test_a_node_frozen_while_draining_is_removed_when_its_lease_has_run_out() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    case.fall_silent()
    case.run(20.0)
    case.health.connected = False  # As after the end of its connection.
    case.tell(Unregistered(clean=False))
    assert case.state() is NodeState.DRAINING
    (removed,) = case.run(5.0)
    assert isinstance(removed, Transition)
    assert removed.reason == "fell silent while draining, and its lease ran out"


def test_a_node_that_says_draining_while_it_is_removed_goes_on_draining_when_it_recovers() -> None:
    case = Case().come_online().be_removed()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    assert case.state() is NodeState.REMOVED
    case.answer()
    case.run_to(NodeState.DRAINING)
    assert case.path[-2:] == [NodeState.RECOVERING, NodeState.DRAINING]


def test_a_drained_node_that_is_started_again_leaves_and_joins() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING), Registered(boot=LATER))
    assert case.path[-3:] == [NodeState.DRAINING, NodeState.LEFT, NodeState.JOINING]


def test_a_node_that_left_is_not_asked_and_may_come_back_by_its_own_word() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.LEFT))
    assert case.health.next_probe_at == math.inf
    assert case.tell(BEAT, AdminClosed()) == ()
    case.run(30.0)
    case.tell(NodeSays(boot=BOOT, state=NodeState.ONLINE))
    assert case.state() is NodeState.JOINING
    assert case.health.due(HEARTBEAT) == case.now


def test_the_nodes_word_on_anything_else_changes_nothing() -> None:
    case = Case().come_online()
    assert case.tell(NodeSays(boot=BOOT, state=NodeState.JOINING)) == ()
    assert case.health.says is NodeState.JOINING


def test_who_takes_its_entry_back_and_closes_has_left_in_either_order() -> None:
    for events in ((Unregistered(clean=True), AdminClosed()), (AdminClosed(), Unregistered(clean=True))):
        case = Case().come_online()
        case.tell(*events)
        assert case.state() is NodeState.LEFT


def test_a_registry_that_lost_its_data_takes_no_node_away() -> None:
    case = Case().come_online()
    assert case.tell(Unregistered(clean=True), BEAT, WEB) == ()
    assert case.state() is NodeState.ONLINE


def test_a_removed_node_whose_lease_runs_out_stays_removed() -> None:
    case = Case().come_online().be_removed()
    assert case.tell(Unregistered(clean=False), Unregistered(clean=True)) == ()


def test_a_node_that_never_came_online_leaves_with_its_lease() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT), Unregistered(clean=False))
    assert case.path == [NodeState.JOINING, NodeState.LEFT]


def test_a_node_that_left_by_the_registry_alone_joins_again_in_the_same_life_and_one_that_said_so_does_not() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT), Unregistered(clean=False))
    case.run(30.0)
    case.tell(Registered(boot=BOOT))
    case.run_to(NodeState.ONLINE)
    assert case.path == [NodeState.JOINING, NodeState.LEFT, NodeState.JOINING, NodeState.ONLINE]
    for word in (NodeState.DRAINING, NodeState.LEFT):
        case = Case().come_online()
        case.tell(NodeSays(boot=BOOT, state=word), Unregistered(clean=True), AdminClosed())
        assert case.tell(Registered(boot=BOOT)) == ()
        assert case.state() is NodeState.LEFT


def test_an_online_node_whose_lease_runs_out_is_judged_by_probes_alone() -> None:
    case = inherited(NodeState.ONLINE)
    assert case.tell(Unregistered(clean=False)) == ()
    case.be_removed()


def test_a_node_that_left_is_forgotten_after_a_while_unless_it_is_registered() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.LEFT))
    assert not case.health.forgettable(LEFT_KEPT_S + 1)
    case.tell(Unregistered(clean=True))
    assert not case.health.forgettable(LEFT_KEPT_S - 1)
    assert case.health.forgettable(LEFT_KEPT_S + 1)


def test_the_end_of_a_connection_that_never_worked_tells_nothing() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT))
    assert case.tell(AdminClosed()) == ()


# Flapping.


def test_the_third_removal_in_short_time_keeps_a_node_out_until_its_account_is_low() -> None:
    case = Case().come_online()
    for _ in range(2):
        case.be_removed()
        case.answer()
        case.run_to(NodeState.ONLINE)
    case.be_removed()
    removed_at = case.now
    expected = sum(PENALTY * 2 ** (-(removed_at - move.now) / 120) for move in case.moves if move.new == "removed")
    assert case.health.flap.penalty(case.now) == pytest.approx(expected)
    assert case.moves[-1].evidence.penalty == pytest.approx(expected)
    case.answer()
    case.run_to(NodeState.QUARANTINED)
    assert case.moves[-1].reason.endswith(", but went down too often lately")
    wait_s = case.health.flap.reuse_in_s(case.now)
    assert wait_s == pytest.approx(120 * math.log2(expected / REUSE) - (case.now - removed_at))
    assert case.health.why(case.now).endswith(f"; may come back in {wait_s:.0f} s")
    assert case.run_to(NodeState.RECOVERING, within_s=300) == pytest.approx(wait_s)
    assert case.health.flap.penalty(case.now) == pytest.approx(REUSE)
    assert case.run_to(NodeState.ONLINE) < 6


def test_a_node_that_crashes_again_and_again_is_kept_out_when_it_joins() -> None:
    case = Case().come_online()
    for boot in range(BOOT + 1, BOOT + 4):
        case.answer(HeartbeatOk(boot=boot, rtt_s=0.001), HttpOk(boot=boot))
        case.tell(Registered(boot=boot))
        case.run(5.0)
    assert case.state() is NodeState.QUARANTINED
    assert case.moves[-1].reason == "is well, but went down too often lately"
    case.run_to(NodeState.ONLINE, within_s=300)


def test_a_node_that_falls_silent_in_quarantine_is_removed() -> None:
    case = inherited(NodeState.QUARANTINED, evidence=Evidence(kind=Kind.HEARTBEAT, penalty=8_000.0))
    case.run(1.0)
    case.fall_silent()
    case.run_to(NodeState.REMOVED)
    assert case.path == [NodeState.REMOVED]


def test_a_quarantined_node_may_drain() -> None:
    case = inherited(NodeState.QUARANTINED, evidence=Evidence(kind=Kind.HEARTBEAT, penalty=8_000.0))
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    assert case.path == [NodeState.DRAINING]


@given(
    st.lists(st.floats(0.1, 60), min_size=3, max_size=12),
    st.floats(5, 300),
)
def test_the_countdown_of_a_quarantine_is_exact(gaps_s: list[float], half_life_s: float) -> None:
    timings = Timings(flap_half_life_s=half_life_s)
    case = Case(timings).come_online()
    for gap_s in gaps_s:
        case.now += gap_s
        case.health.flap.removed(case.now)
    case.be_removed()
    assume(case.health.flap.suppressed(case.now + 10))
    case.answer()
    case.run_to(NodeState.QUARANTINED)
    wait_s = case.health.flap.reuse_in_s(case.now)
    assert wait_s <= 4 * half_life_s + 1e-6
    assert case.run_to(NodeState.RECOVERING, within_s=2_000) == pytest.approx(wait_s, abs=1e-6)


# Circumstances.


def test_the_panic_floor_holds_a_silent_node_and_lets_it_go_when_there_is_room() -> None:
    around = Around(room=False)
    case = Case(around=around).come_online()
    case.fall_silent(HEARTBEAT)
    case.run(40.0)
    assert case.path[-2:] == [NodeState.SUSPECT, NodeState.SUSPECT]
    assert case.moves[-1].reason.startswith("held by panic: heartbeat 3/3 missed")
    assert case.health.held_by_panic
    assert case.health.removal_window is None
    assert case.health.why(case.now) == (
        "suspect (held by panic): heartbeat 3/3 missed (40 s ago), http ok 0 s ago;"
        " not a byte for 40 s (persistent); stays, since as many as may be out are out"
    )
    around.room = True
    case.run(5.0)
    assert case.state() is NodeState.REMOVED
    assert not case.health.held_by_panic


def test_a_node_held_by_panic_that_answers_is_trusted_again_and_hard_evidence_is_not_held() -> None:
    case = Case(around=Around(room=False)).come_online()
    case.fall_silent(HEARTBEAT)
    case.run(20.0)
    case.answer()
    case.run(5.0)
    assert case.state() is NodeState.ONLINE
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.tell(AdminClosed())
    case.run(2.0)
    assert case.state() is NodeState.REMOVED


def test_whoever_may_not_judge_goes_on_probing_and_counting_and_moves_nobody() -> None:
    around = Around()
    case = Case(around=around).come_online()
    around.judging = False
    case.fall_silent()
    case.run(40.0)
    case.tell(AdminClosed(), REFUSED)
    case.now += 0.5
    case.tell(REFUSED, Registered(boot=LATER), HeartbeatOk(boot=LATER, rtt_s=0.001))
    assert case.state() is NodeState.ONLINE
    assert case.health.boot == BOOT
    assert case.health.heartbeat.failed == 3
    around.judging = True
    case.health.resume(case.now)
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.run(0.6)
    assert case.state() is NodeState.REMOVED


def test_failures_that_may_not_be_counted_are_not() -> None:
    around = Around()
    case = Case(around=around).come_online()
    around.counting = False
    case.fall_silent()
    case.run(40.0)
    case.tell(AdminClosed(), REFUSED)
    assert case.health.heartbeat.failed == case.health._refused == 0
    assert case.health.uncounted > 8


def test_the_nodes_own_word_moves_it_whether_we_may_judge_or_not() -> None:
    case = Case(around=(around := Around())).come_online()
    around.judging = False
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING), NodeSays(boot=BOOT, state=NodeState.LEFT))
    assert case.path[-2:] == [NodeState.DRAINING, NodeState.LEFT]


def test_doubt_makes_patient_but_never_longer_than_the_interval() -> None:
    around = Around(score=2)
    case = Case(around=around).come_online()
    case.fall_silent(HEARTBEAT)
    case.run_to(NodeState.SUSPECT)
    assert case.now == 8.0
    assert case.moves[-1].evidence.answer == "no answer within 3 s"
    around.score = 9
    case.run_to(NodeState.REMOVED)
    assert case.now == 20.0


def test_doubt_that_rises_while_a_probe_is_on_its_way_makes_patient_at_once() -> None:
    around = Around()
    case = Case(around=around).come_online()
    case.fall_silent(HEARTBEAT)
    case.run(5.9)
    around.score = 1
    case.run_to(NodeState.SUSPECT)
    assert case.now == 7.0


def test_a_word_of_a_life_that_we_may_not_judge_yet_is_not_forgotten() -> None:
    around = Around()
    case = Case(around=around).come_online()
    around.judging = False
    case.tell(NodeSays(boot=LATER, state=NodeState.DRAINING))
    assert case.state() is NodeState.ONLINE
    around.judging = True
    case.tell(Registered(boot=LATER))
    assert case.path[-3:] == [NodeState.REMOVED, NodeState.JOINING, NodeState.DRAINING]


def test_a_word_that_the_table_of_another_leader_overrode_counts_again_when_we_judge() -> None:
    around = Around(judging=False)
    case = inherited(NodeState.ONLINE, around=around)
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    evidence = Evidence(kind=Kind.HEARTBEAT)
    case.health.inherit(NodeState.ONLINE, since=0, reason="", evidence=evidence, boot=BOOT)
    case.run(10.0)
    assert case.state() is NodeState.ONLINE
    around.judging = True
    case.run(5.0)
    assert case.state() is NodeState.DRAINING
    case.health.inherit(NodeState.ONLINE, since=0, reason="", evidence=evidence, boot=LATER)
    case.answer(HeartbeatOk(boot=LATER, rtt_s=0.001), HttpOk(boot=LATER))
    case.run(10.0)
    assert case.state() is NodeState.ONLINE  # That was the word of an earlier life.


def test_a_word_that_came_before_the_table_told_of_its_life_counts() -> None:
    around = Around(judging=False)
    case = inherited(NodeState.ONLINE, around=around)
    case.tell(NodeSays(boot=LATER, state=NodeState.DRAINING))
    case.health.inherit(NodeState.ONLINE, since=0, reason="", evidence=Evidence(kind=Kind.WORD), boot=LATER)
    around.judging = True
    case.run(5.0)
    assert case.state() is NodeState.DRAINING


# An operator's hold.


def test_a_hold_wins_over_findings_until_it_ends() -> None:
    case = Case().come_online()
    (held,) = case.tell(HELD)
    assert isinstance(held, Transition)
    assert (held.new, held.evidence.kind, held.evidence.by) == (NodeState.REMOVED, Kind.HELD, "ada")
    assert held.reason == "held removed by ada for 60 s: a test"
    assert case.health.why(case.now) == "removed: held removed by ada for 60 s: a test"
    assert case.health.flap.penalty(case.now) == 0
    case.run(59.9)
    assert case.state() is NodeState.REMOVED
    case.run(0.2)
    assert case.path[-2:] == [NodeState.REMOVED, NodeState.RECOVERING]
    assert case.moves[-2].reason == "the hold by ada is over"
    case.run_to(NodeState.ONLINE, within_s=7)


def test_a_node_held_online_stays_so_whatever_is_found_and_pays_for_it_afterwards() -> None:
    case = Case().come_online()
    case.tell(Hold(state=NodeState.ONLINE, until=40.0, by="ada"))
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.tell(AdminClosed())
    case.fall_silent(HTTP)
    case.run(39.0)
    assert case.state() is NodeState.ONLINE
    case.run(2.0)
    assert case.state() is NodeState.REMOVED


def test_a_held_suspect_has_no_window_and_a_hold_can_be_ended_early() -> None:
    case = Case().come_online()
    assert case.tell(Release(by="bob")) == ()
    case.tell(Hold(state=NodeState.SUSPECT, until=999.0, by="ada"))
    assert case.health.removal_window is None
    case.tell(Release(by="bob"))
    assert case.moves[-1].reason == "bob ended the hold"
    case.run(0.1)
    assert case.state() is NodeState.ONLINE


def test_a_hold_outlives_the_process_and_passes_to_the_next_leader() -> None:
    case = Case().come_online()
    case.tell(HELD)
    (again,) = case.tell(Registered(boot=LATER))
    assert isinstance(again, Transition)
    assert (again.old, again.new, again.boot) == (NodeState.REMOVED, NodeState.REMOVED, LATER)
    written = again.evidence.to_object(offset_s=1_000.0)
    assert written == {"kind": "held", "until": 1_060.0, "by": "ada"}
    evidence = Evidence.inherited(written, offset_s=1_000.0)
    heir = inherited(NodeState.REMOVED, boot=LATER, evidence=evidence)
    heir.answer(HeartbeatOk(boot=LATER, rtt_s=0.001), HttpOk(boot=LATER))
    assert heir.health.hold == Hold(state=NodeState.REMOVED, until=60.0, by="ada")
    heir.run(59.0)
    assert heir.path == []
    heir.run(10.0)
    assert heir.path[-1] is NodeState.ONLINE
    heir.health.inherit(NodeState.ONLINE, since=0, reason="", evidence=Evidence(kind=Kind.WORD), boot=LATER)
    assert heir.health.hold is None


def test_who_may_not_judge_does_not_end_a_hold() -> None:
    around = Around(judging=False)
    case = inherited(NodeState.REMOVED, around=around, evidence=Evidence(kind=Kind.HELD, until=3.0, by="ada"))
    case.run(20.0)
    assert case.path == []
    case.health.inherit(
        NodeState.REMOVED, since=0, reason="", evidence=Evidence(kind=Kind.HELD, until=3.0, by="ada"), boot=BOOT
    )
    around.judging = True
    case.run(0.0)
    assert case.path == [NodeState.REMOVED]
    assert case.health.hold is None


def test_a_held_node_drains_by_its_own_word_and_is_held_again_when_that_is_called_off() -> None:
    case = Case().come_online()
    case.tell(Hold(state=NodeState.SUSPECT, until=60.0, by="ada"))
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING), NodeSays(boot=BOOT, state=NodeState.ONLINE))
    assert case.path[-2:] == [NodeState.DRAINING, NodeState.SUSPECT]


# Sentences.


def test_why_says_what_is_known_and_what_will_come_of_it() -> None:
    case = Case(around=Around(others=("n1", "n3"))).come_online()
    case.helpers_say = {"n1": Said.NO, "n3": Said.NO}
    case.answers[HTTP] = lambda asked: (asked + 0.4, WEB)
    case.fall_silent(HEARTBEAT)
    case.run(13.4 - case.now)
    assert case.health.why(case.now) == (
        "suspect: heartbeat 2/3 missed (13.4 s ago), http ok 3 s ago, helpers n1 no, n3 no;"
        " removal in 2.6–3.6 s unless it answers"
    )
    case.run(1.1)
    assert case.health.why(case.now).endswith("; removal in 1.5–2.5 s unless it answers")
    assert case.health.why(16.5).endswith("; removal within 0.5 s unless it answers")
    assert case.health.why(17.5).endswith("; removal is due")


def test_why_tells_of_an_ended_connection_and_of_refused_connects() -> None:
    case = Case().come_online()
    case.fall_silent()
    case.tell(AdminClosed(), after_s=2)
    assert case.health.why(case.now).startswith("suspect: no admin connection, heartbeat ok 2 s ago, http ok 2 s ago;")
    case.tell(REFUSED)
    assert case.health.why(case.now).startswith("suspect: no admin connection and 1 connect refused, heartbeat ok")
    case.now += 0.1
    case.tell(REFUSED)
    assert " and 2 connects refused," in case.health.why(case.now)


def test_why_tells_of_a_node_that_never_answered() -> None:
    case = inherited(NodeState.ONLINE)
    case.fall_silent()
    case.run(1.0)
    assert case.moves[-1].reason == "heartbeat 1/3 missed (no answer within 1 s), never answered"
    assert case.health.why(1.0).startswith("suspect: no admin connection, heartbeat 1/3 missed (never answered);")


def joining() -> Case:
    case = Case()
    case.tell(Registered(boot=BOOT), BEAT)
    return case


def recovering() -> Case:
    case = Case().come_online().be_removed()
    case.tell(BEAT)
    return case


def quarantined() -> Case:
    case = Case().come_online()
    for _ in range(3):
        case.fall_silent(HEARTBEAT)
        case.run_to(NodeState.REMOVED)
        case.answer()
        case.run(11.0)
    return case


def draining() -> Case:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    return case


def left() -> Case:
    case = draining()
    case.tell(NodeSays(boot=BOOT, state=NodeState.LEFT))
    return case


def killed() -> Case:
    case = Case().come_online()
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.tell(AdminClosed())
    case.run_to(NodeState.REMOVED)
    return case


def suspect(around: Around | None = None) -> Case:
    case = Case(around=around).come_online()
    case.fall_silent(HEARTBEAT)
    case.run_to(NodeState.SUSPECT)
    return case


def in_tilt() -> Case:
    around = Around()
    case = suspect(around)
    around.judging = around.counting = False
    return case


def held_by_panic() -> Case:
    case = suspect(Around(room=False))
    case.run(11.0)
    return case


def held() -> Case:
    case = Case().come_online()
    case.tell(HELD)
    return case


def slow() -> Case:
    case = Case().come_online()
    for rtt_s in (*[0.001] * 5, *[0.4] * 15):
        case.tell(HeartbeatOk(boot=BOOT, rtt_s=rtt_s))
    return case


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (Case, "left"),
        (joining, "joining: registered; 1 of 2 heartbeats and 0 of 1 HTTP checks answered"),
        (lambda: Case().come_online(), "online: 2 heartbeats and 1 HTTP check answered"),
        (
            slow,
            "online: 2 heartbeats and 1 HTTP check answered; answers take 400 ms instead of 1 ms (high latency)",
        ),
        (suspect, "suspect: heartbeat 1/3 missed (6 s ago), http ok 6 s ago; removal in 10.0–11.0 s unless it answers"),
        (
            in_tilt,
            "suspect: heartbeat 1/3 missed (6 s ago), http ok 6 s ago; stays, since nothing is judged at the moment",
        ),
        (
            held_by_panic,
            (
                "suspect (held by panic): heartbeat 3/3 missed (17 s ago), http ok 7 s ago;"
                " stays, since as many as may be out are out"
            ),
        ),
        (
            lambda: suspect().be_removed(),
            "removed: heartbeat 3/3 missed (no answer within 1 s), last answer 16 s before",
        ),
        (killed, "removed: its process is gone: 2 connects refused within 0.5 s"),
        (held, "removed: held removed by ada for 60 s: a test"),
        (
            recovering,
            "recovering: answers again after 16 s; 1 of 2 heartbeats and 0 of 1 HTTP checks answered",
        ),
        (
            quarantined,
            "quarantined: answers again after 20 s, but went down too often lately; may come back in 155 s",
        ),
        (draining, "draining: it says so itself"),
        (left, "left: it is drained"),
    ],
)
def test_every_state_has_its_sentence(made: Callable[[], Case], sentence: str) -> None:
    case = made()
    assert case.health.why(case.now) == sentence


def test_all_states_of_a_judgement_are_among_the_sentences() -> None:
    told = {made().state() for made in (Case, joining, suspect, recovering, quarantined, draining, killed)}
    assert told == {*NodeState} - {NodeState.ONLINE, NodeState.CORDONED, NodeState.STALE}


@pytest.mark.parametrize(("seconds", "words"), [(3.0, "3 s"), (12.44, "12.4 s"), (0.04, "0 s")])
def test_seconds_are_short(seconds: float, words: str) -> None:
    assert words_s(seconds) == words


def test_evidence_goes_out_with_unix_times() -> None:
    evidence = Evidence(
        kind=HEARTBEAT,
        failed=2,
        needed=3,
        last_ok=4.0,
        asked=9.0,
        answer="no answer within 1 s",
        helpers=(("n2", Said.NO), ("n3", Said.NOTHING)),
        penalty=1_234.5,
    )
    assert evidence.to_object(offset_s=1_000) == {
        "kind": "heartbeat",
        "failed": 2,
        "needed": 3,
        "last_ok": 1_004.0,
        "asked_at": 1_009.0,
        "answer": "no answer within 1 s",
        "helpers": {"n2": "no", "n3": "silent"},
        "penalty": 1_234,
    }
    assert Evidence(kind=Kind.GONE, refused=2).to_object(offset_s=0) == {"kind": "gone", "refused": 2}


def test_evidence_of_an_earlier_leader_is_read_with_care() -> None:
    assert Evidence.inherited({}, offset_s=0) == Evidence(kind=Kind.WORD)
    odd: JsonObject = {"kind": "magic", "penalty": "many", "until": True, "by": 7}
    assert Evidence.inherited(odd, offset_s=0) == Evidence(kind=Kind.WORD)
    assert Evidence.inherited({"kind": "gone", "penalty": 2_000}, offset_s=0) == Evidence(
        kind=Kind.GONE, penalty=2_000.0
    )


def test_alone_means_that_everything_is_allowed_and_nobody_helps() -> None:
    assert Alone().may_go()
    assert Alone().helpers("n1") == ()


# The removal window.


def test_only_a_suspect_has_a_removal_window() -> None:
    case = Case().come_online()
    assert case.window() is None
    case.fall_silent(HEARTBEAT)
    case.run(6.0)  # Asked at 5: the next two at 10 and 15 s.
    assert case.health.removal_window == (16.0, 17.0)
    case.run(4.1)
    assert case.health.removal_window == (16.0, 17.0)


def test_the_removal_window_of_an_ended_connection_opens_with_hard_evidence() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    case.tell(AdminClosed(), after_s=2)
    assert case.health.removal_window == pytest.approx((2.5, 14.0), abs=0.01)
    case.tell(REFUSED, after_s=0.1)
    assert case.health.removal_window == pytest.approx((2.6, 14.6), abs=0.01)


def test_a_failing_http_check_bounds_the_window_by_its_own_rhythm() -> None:
    case = Case().come_online()
    case.fall_silent(HTTP)
    case.run(13.0)  # Asked at 10, again at 20.
    assert case.health.removal_window == (22.0, 24.0)


# The bounds, by playing a node and a checker on one clock.


@st.composite
def timings(draw: st.DrawFn) -> Timings:
    def one() -> Timing:
        interval_s = draw(st.floats(0.5, 10))
        return Timing(interval_s, interval_s * draw(st.floats(0.1, 0.9)), draw(st.integers(1, 4)))

    return Timings(one(), one(), 0.5)


def bounds(timing: Timing) -> tuple[float, float]:
    least = (timing.failures - 1) * timing.interval_s + timing.timeout_s - ROUND_TRIP_S
    return least, timing.failures * timing.interval_s + timing.timeout_s


def until(end: float) -> Callable[[float], float]:
    """Return the answers of a node that falls silent at `end`."""
    return lambda asked: asked + ROUND_TRIP_S if asked < end else math.inf


def played(timings: Timings, answered_at: Callable[[float], float], *, phase: float, helped: bool) -> Case:
    """Return an online node whose answer to a probe of time t comes at `answered_at(t)`; others see the same."""
    case = Case(timings, around=Around(others=("n2", "n3") if helped else ()))
    case.helpers_say = {"n2": Said.NO, "n3": Said.NO}
    case.health.inherit(NodeState.ONLINE, since=0, reason="", evidence=Evidence(kind=Kind.WORD), boot=BOOT)
    case.tell(Registered(boot=BOOT))
    case.health.heartbeat.due = timings.heartbeat.interval_s * phase
    case.health.http.due = timings.http.interval_s * phase * 0.7
    for kind, event in ((HEARTBEAT, BEAT), (HTTP, WEB)):
        case.answers[kind] = lambda asked, event=event: (answered_at(asked), event)  # type: ignore[misc]
    return case


@given(timings(), st.floats(0, 0.999), st.floats(0, 1), st.booleans())
def test_a_pause_below_the_lower_bound_never_removes(timings: Timings, phase: float, part: float, helped: bool) -> None:
    begins = 3.0
    pause_s = part * min(bounds(timings.heartbeat)[0], bounds(timings.http)[0]) - 0.01

    def answered_at(asked: float) -> float:
        return max(asked, begins + pause_s if asked >= begins else 0) + ROUND_TRIP_S

    case = played(timings, answered_at, phase=phase, helped=helped)
    case.run(begins + max(pause_s, 0) + 40)
    assert NodeState.REMOVED not in case.path


@given(timings(), st.floats(0, 0.999), st.floats(0, 10), st.booleans())
def test_silence_above_the_upper_bound_always_removes(
    timings: Timings, phase: float, begins: float, helped: bool
) -> None:
    within = min(bounds(timings.heartbeat)[1], bounds(timings.http)[1])
    case = played(timings, until(begins), phase=phase, helped=helped)
    case.run(begins + within + ROUND_TRIP_S + 0.001)
    assert case.state() is NodeState.REMOVED


@pytest.mark.parametrize("failures", [1, 2, 3, 5])
@pytest.mark.parametrize(("interval_s", "timeout_s"), [(5.0, 1.0), (1.0, 0.2), (0.5, 0.2), (2.0, 1.9), (10.0, 0.1)])
def test_over_all_phases_a_silent_node_is_removed_within_its_bounds_and_within_every_window_that_was_shown(
    interval_s: float, timeout_s: float, failures: int
) -> None:
    timing = Timing(interval_s, timeout_s, failures)
    least, most = bounds(timing)
    took: list[float] = []
    for step in range(200):
        begins = 2 * interval_s + interval_s * step / 200
        case = played(Timings(timing, Timing(1e6, 1.0, 9)), until(begins), phase=0.0, helped=step % 2 == 0)
        case.run(begins)
        windows: list[tuple[float, float]] = []
        while case.state() is not NodeState.REMOVED:
            window = case.health.removal_window
            if window is not None:
                windows.append(window)
            case.run(timeout_s / 3)
        removed_at = case.moves[-1].now
        took.append(removed_at - begins)
        assert all(lo - 1e-6 <= removed_at <= hi + 1e-6 for lo, hi in windows)
    assert least - 1e-6 <= min(took)
    assert max(took) <= most + 1e-6
    # The bounds are not only kept but reached: what is promised is no wider than what happens.
    assert min(took) <= least + interval_s / 100 + ROUND_TRIP_S
    assert max(took) >= most - interval_s / 100 - ROUND_TRIP_S


EVENTS = st.one_of(
    st.builds(Registered, boot=st.integers(6, 9)),
    st.builds(Unregistered, clean=st.booleans()),
    st.builds(HeartbeatOk, boot=st.integers(6, 9), rtt_s=st.just(0.001)),
    st.builds(Broken, kind=st.sampled_from([HEARTBEAT, HTTP]), why=st.just("reset")),
    st.builds(Denied, kind=st.sampled_from([HEARTBEAT, HTTP]), why=st.just("answered 500")),
    st.builds(Unasked, kind=st.sampled_from([HEARTBEAT, HTTP])),
    st.builds(Impostor, kind=st.sampled_from([HEARTBEAT, HTTP]), claims=st.just("n2")),
    st.builds(
        HelperSaid,
        kind=st.sampled_from([HEARTBEAT, HTTP]),
        asked=st.sampled_from([0.0, 0.3, 1.0]),
        helper=st.sampled_from(["n2", "n3"]),
        said=st.sampled_from(Said),
    ),
    st.builds(AdminClosed),
    st.builds(ConnectRefused),
    st.builds(HttpOk, boot=st.one_of(st.none(), st.integers(6, 9))),
    st.builds(NodeSays, boot=st.integers(6, 9), state=st.sampled_from(list(NodeState))),
    st.builds(
        Hold,
        state=st.sampled_from([NodeState.ONLINE, NodeState.SUSPECT, NodeState.REMOVED]),
        until=st.floats(0, 60),
        by=st.just("ada"),
    ),
    st.builds(Release, by=st.just("bob")),
)
WHENEVER = st.sampled_from(["judging", "not judging", "full", "room", "tilt", "no tilt", "doubt", "no doubt"])


@given(st.lists(st.tuples(st.one_of(EVENTS, WHENEVER), st.sampled_from([0.0, 0.3, 0.6, 1.0, 5.0])), max_size=80))
def test_whatever_happens_the_rules_hold(told: list[tuple[HealthEvent | str, float]]) -> None:
    around = Around(others=("n2", "n3"))
    case = Case(around=around)
    case.fall_silent()
    boot, seen = 0, 0
    for event, after_s in told:
        case.run(after_s)
        match event:
            case "judging" | "not judging":
                around.judging = event == "judging" and around.counting
            case "full" | "room":
                around.room = event == "room"
            case "tilt" | "no tilt":
                around.counting = event == "no tilt"
                around.judging = around.counting
            case "doubt" | "no doubt":
                around.score = 3 if event == "doubt" else 0
            case str():
                pytest.fail(event)
            case _:
                case.tell(event)
        for move in case.moves[seen:]:
            assert move.reason
            assert move.old is (case.moves[seen - 1].new if seen else NodeState.LEFT)
            seen += 1
            evidence = move.evidence
            if move.new is NodeState.REMOVED and evidence.kind not in (Kind.HELD, Kind.WORD):
                assert around.judging
                soft = evidence.failed is not None and evidence.failed == evidence.needed
                assert evidence.kind is Kind.GONE or soft
                if move.old in (NodeState.ONLINE, NodeState.SUSPECT) and evidence.kind is not Kind.GONE:
                    assert around.room
            # Where old and new are the same only the reason is new, such as by the end of a hold.
            if move.old is NodeState.DRAINING is not move.new and evidence.kind is not Kind.HELD:
                assert move.new in {NodeState.LEFT, NodeState.ONLINE, NodeState.REMOVED}
                assert move.new is not NodeState.REMOVED or not case.health.registered
        assert (case.health.boot or 0) >= boot
        boot = case.health.boot or 0
        window = case.health.removal_window
        assert window is None or (case.state() is NodeState.SUSPECT and window[0] <= window[1])
        assert case.health.why(case.now)


def test_a_node_health_knows_its_phase() -> None:
    with pytest.raises(AssertionError):
        NodeHealth("n1", Timings(), now=0.0, phase=1.0)


def test_what_silence_of_an_online_node_would_lead_to_is_known_beforehand() -> None:
    around = Around()
    case = Case(around=around)

    def window() -> tuple[float, float] | None:
        return case.health.silence_window_s

    assert window() is None
    case.come_online()
    for score, most_s in ((0, 17.0), (2, 19.0), (4, 20.0)):
        around.score = score
        promised = window()
        assert promised is not None
        assert promised == pytest.approx((10.99, most_s))
    case.tell(HELD)
    assert window() is None


# The way to the node.


def test_evidence_and_sentences_say_what_is_wrong_with_the_way_to_a_node() -> None:
    case = Case().come_online()
    case.fall_silent()
    case.run(6.1)
    assert case.moves[-1].evidence.link == "transient"
    case.health.link.silent(HEARTBEAT, Silence.FROZEN)
    frozen = "it takes what is sent and does not answer (frozen)"
    case.run(0.5)
    assert f"; {frozen}; removal in " in case.health.why(case.now)
    case.run_to(NodeState.REMOVED)
    removed = case.moves[-1]
    assert removed.evidence.link == "frozen"
    assert removed.evidence.to_object(offset_s=0.0)["link"] == "frozen"
    assert removed.reason.endswith(f", {frozen}")
    assert case.health.why(case.now).endswith(f", {frozen}")


def test_a_killed_process_has_a_way_on_which_nobody_listens() -> None:
    case = Case().come_online()
    case.answers[HEARTBEAT] = at_once(REFUSED)
    case.tell(AdminClosed())
    assert case.health.link_state(case.now).word == "ok"
    case.run_to(NodeState.REMOVED)
    assert case.moves[-1].evidence.link == "gone"
    assert case.health.link_state(case.now).word == "gone"


def test_a_late_answer_tells_of_the_way_and_counts_for_nothing_else() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    case.run(6.5)
    failed = case.health.heartbeat.failed
    for _ in range(5):
        case.health.link.answered(HEARTBEAT, case.now, rtt_s=ROUND_TRIP_S)
    assert case.tell(HeartbeatLate(asked=case.health.heartbeat.asked, rtt_s=1.2)) == ()
    assert (case.state(), case.health.heartbeat.failed) == (NodeState.SUSPECT, failed)
    assert case.health.link_state(case.now).word == "ok"


def test_another_life_of_a_node_has_another_way() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    case.run(6.5)
    assert case.health.link_state(case.now).word == "transient"
    case.tell(Registered(boot=LATER))
    assert case.health.link_state(case.now).word == "ok"


def test_misses_that_are_our_own_fault_say_nothing_of_the_way() -> None:
    case = Case().come_online()
    case.fall_silent(HEARTBEAT)
    case.run(5.5)
    case.now += 3.0
    case.health.tick(case.now)
    assert case.health.uncounted == 1
    assert case.health.link_state(case.now).word == "ok"
    around = Around(counting=False)
    case = Case(around=around).come_online()
    case.fall_silent(HEARTBEAT)
    case.run(20.0)
    assert case.health.link_state(case.now).word == "ok"
