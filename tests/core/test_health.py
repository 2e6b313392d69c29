"""The judgement of one node, and the bounds that it promises."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.health import (
    LEFT_KEPT_S,
    AdminClosed,
    ConnectRefused,
    Evidence,
    Finding,
    HealthEvent,
    HeartbeatMissed,
    HeartbeatOk,
    HttpFailed,
    HttpOk,
    Kind,
    MissCounted,
    NodeHealth,
    NodeSays,
    OldBoot,
    Registered,
    Transition,
    Unregistered,
)
from wsmon.protocol.states import NodeState

BOOT = 7


@dataclass(frozen=True)
class Timing:
    interval_s: float
    timeout_s: float
    failures: int


@dataclass(frozen=True)
class Timings:
    heartbeat: Timing = Timing(5, 1, 3)
    http: Timing = Timing(10, 2, 2)
    refused_gap_s: float = 0.5


@dataclass
class Case:
    """One node under judgement, with a clock that tests move."""

    health: NodeHealth = field(default_factory=lambda: NodeHealth("n1", Timings(), now=0.0))
    now: float = 0.0
    found: list[Finding] = field(default_factory=list)

    def tell(self, *events: HealthEvent, after_s: float = 0.0) -> tuple[Finding, ...]:
        self.now += after_s
        found: list[Finding] = []
        for event in events:
            found += self.health.step(event, self.now)
        self.found += found
        return tuple(found)

    def ask(self, event: HealthEvent, kind: Kind = Kind.HEARTBEAT) -> tuple[Finding, ...]:
        """Wait for the next probe of this kind, send it, and tell `event` at its timeout."""
        self.now = max(self.now, self.health.due(kind))
        self.health.ask(kind, self.now)
        return self.tell(event, after_s=0.1)

    def come_online(self) -> "Case":
        self.tell(Registered(boot=BOOT), *[HeartbeatOk(boot=BOOT, rtt_s=0.001)] * 2, HttpOk(boot=BOOT))
        assert self.health.state is NodeState.ONLINE
        return self

    def be_removed(self) -> "Case":
        for _ in range(3):
            self.ask(HeartbeatMissed())
        assert self.health.state is NodeState.REMOVED
        return self

    def state(self) -> NodeState:
        """Return the state; a call, since mypy takes a property to stay what it was."""
        return self.health.state

    @property
    def path(self) -> list[NodeState]:
        return [finding.new for finding in self.found if isinstance(finding, Transition)]


BEAT = HeartbeatOk(boot=BOOT, rtt_s=0.001)
WEB = HttpOk(boot=BOOT)


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


def test_a_miss_while_joining_begins_the_count_anew() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT), BEAT, WEB)
    case.ask(HeartbeatMissed())
    assert case.tell(BEAT) == ()
    assert case.tell(BEAT)


def test_a_joining_node_is_asked_more_often() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT))
    case.ask(BEAT)
    assert case.health.due(Kind.HEARTBEAT) == 1.25


def test_probes_of_nodes_that_come_online_together_are_spread_over_the_interval() -> None:
    case = Case(NodeHealth("n2", Timings(), now=0.0, phase=0.5)).come_online()
    assert case.health.due(Kind.HEARTBEAT) == 2.5
    assert case.health.due(Kind.HTTP) == 5.0
    assert case.health.next_probe_at == 2.5


def test_the_first_miss_makes_suspect_and_one_answer_clears_it() -> None:
    case = Case().come_online()
    counted, suspect = case.ask(HeartbeatMissed())
    assert counted == MissCounted(count=1, needed=3)
    assert isinstance(suspect, Transition)
    assert suspect.new is NodeState.SUSPECT
    assert suspect.reason == "heartbeat 1/3 missed, last answer 0.1 s ago"
    assert suspect.evidence == Evidence(kind=Kind.HEARTBEAT, failed=1, needed=3, last_ok=0.0)
    (online,) = case.ask(BEAT)
    assert isinstance(online, Transition)
    assert (online.new, online.reason) == (NodeState.ONLINE, "heartbeat answered again after 5.1 s")
    assert case.health.heartbeat.failed == 0


def test_three_misses_in_a_row_remove() -> None:
    case = Case().come_online()
    for _ in range(2):
        case.ask(HeartbeatMissed())
    counted, removed = case.ask(HeartbeatMissed())
    assert counted == MissCounted(count=3, needed=3)
    assert isinstance(removed, Transition)
    assert (removed.old, removed.new) == (NodeState.SUSPECT, NodeState.REMOVED)
    assert removed.reason == "heartbeat 3/3 missed, last answer 10.1 s ago"


def test_a_removed_node_is_not_reported_again_for_every_further_miss() -> None:
    case = Case().come_online().be_removed()
    assert case.ask(HeartbeatMissed()) == ()
    assert case.health.heartbeat.failed == 3


def test_two_http_failures_remove_whatever_the_heartbeats_say() -> None:
    case = Case().come_online()
    (suspect,) = case.ask(HttpFailed(why="answered 500", status=500), Kind.HTTP)
    assert isinstance(suspect, Transition)
    assert suspect.reason == "HTTP check 1/2 failed (answered 500), last answer 0.1 s ago"
    assert case.ask(BEAT) == ()  # Another kind does not clear it.
    (removed,) = case.ask(HttpFailed(why="answered 500", status=500), Kind.HTTP)
    assert isinstance(removed, Transition)
    assert removed.new is NodeState.REMOVED
    assert removed.evidence.status == 500


def test_who_failed_http_checks_recovers_by_http_and_not_by_heartbeats() -> None:
    case = Case().come_online()
    for _ in range(2):
        case.ask(HttpFailed(why="no answer"), Kind.HTTP)
    assert case.ask(BEAT) == ()
    (recovering,) = case.ask(WEB, Kind.HTTP)
    assert isinstance(recovering, Transition)
    assert recovering.new is NodeState.RECOVERING
    case.ask(BEAT)
    case.ask(BEAT)
    assert case.path[-1] is NodeState.ONLINE


def test_a_removed_node_recovers_and_has_to_prove_itself_anew() -> None:
    case = Case().come_online().be_removed()
    (recovering,) = case.ask(BEAT)
    assert isinstance(recovering, Transition)
    assert recovering.new is NodeState.RECOVERING
    assert case.ask(BEAT) == ()
    case.ask(WEB, Kind.HTTP)
    assert case.path[-2:] == [NodeState.RECOVERING, NodeState.ONLINE]


def test_a_recovering_node_that_falls_silent_is_removed_again() -> None:
    case = Case().come_online().be_removed()
    case.ask(BEAT)
    case.be_removed()
    assert case.path[-2:] == [NodeState.RECOVERING, NodeState.REMOVED]


def test_the_end_of_the_admin_connection_makes_suspect_and_a_new_connection_clears_it() -> None:
    case = Case().come_online()
    (suspect,) = case.tell(AdminClosed(), after_s=2)
    assert isinstance(suspect, Transition)
    assert (suspect.new, suspect.reason) == (NodeState.SUSPECT, "its admin connection ended")
    assert case.health.due(Kind.HEARTBEAT) == 2  # Look at once.
    assert case.ask(WEB, Kind.HTTP) == ()  # Whether its admin side lives is not known by HTTP.
    case.ask(BEAT)
    assert case.path[-1] is NodeState.ONLINE


def test_a_killed_process_is_removed_by_two_refused_connects() -> None:
    case = Case().come_online()
    case.tell(AdminClosed(), after_s=2)
    case.health.ask(Kind.HEARTBEAT, case.now)
    assert case.tell(ConnectRefused()) == ()
    assert case.health.due(Kind.HEARTBEAT) == 2.5
    case.now = 2.5
    case.health.ask(Kind.HEARTBEAT, case.now)
    (removed,) = case.tell(ConnectRefused())
    assert isinstance(removed, Transition)
    assert removed.new is NodeState.REMOVED
    assert removed.evidence == Evidence(kind=Kind.GONE, refused=2, last_ok=0.0)
    assert case.now == 2.5


def test_two_refused_connects_too_close_together_prove_nothing() -> None:
    case = Case().come_online()
    case.tell(AdminClosed())
    case.tell(ConnectRefused())
    assert case.tell(ConnectRefused(), after_s=0.4) == ()
    assert case.state() is NodeState.SUSPECT
    case.tell(ConnectRefused(), after_s=0.1)
    assert case.state() is NodeState.REMOVED


def test_an_inherited_node_that_refuses_becomes_suspect_first() -> None:
    case = Case()
    case.health.inherit(NodeState.ONLINE, since=-60, reason="", kind=None, boot=BOOT)
    case.tell(Registered(boot=BOOT), ConnectRefused())
    assert case.path == [NodeState.SUSPECT]
    case.tell(ConnectRefused(), after_s=0.5)
    assert case.path == [NodeState.SUSPECT, NodeState.REMOVED]


def test_a_joining_node_whose_process_dies_is_removed_and_silence_alone_does_not_remove_it() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT))
    for _ in range(5):
        case.ask(HeartbeatMissed())
        case.ask(HttpFailed(why="no answer"), Kind.HTTP)
    assert case.state() is NodeState.JOINING
    case.tell(ConnectRefused())
    case.tell(ConnectRefused(), after_s=0.5)
    assert case.state() is NodeState.REMOVED


def test_a_later_boot_proves_that_the_earlier_process_is_gone() -> None:
    case = Case().come_online()
    removed, joining = case.tell(Registered(boot=BOOT + 1))
    assert isinstance(removed, Transition)
    assert isinstance(joining, Transition)
    assert (removed.new, removed.boot) == (NodeState.REMOVED, BOOT)
    assert (joining.new, joining.boot) == (NodeState.JOINING, BOOT + 1)


def test_a_later_boot_is_met_on_the_admin_connection_too() -> None:
    case = Case().come_online().be_removed()
    (joining,) = case.ask(HeartbeatOk(boot=BOOT + 1, rtt_s=0.001))
    assert isinstance(joining, Transition)
    assert joining.new is NodeState.JOINING
    assert case.health.connected


def test_a_later_boot_while_joining_starts_over_without_a_word() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT), BEAT, WEB)
    assert case.tell(Registered(boot=BOOT + 1)) == ()
    assert case.health.heartbeat.passed == 0


def test_an_old_boot_is_ignored_and_reported_once() -> None:
    case = Case().come_online()
    assert case.tell(HeartbeatOk(boot=BOOT - 1, rtt_s=0)) == (OldBoot(boot=BOOT - 1, known=BOOT),)
    assert case.tell(HttpOk(boot=BOOT - 1), NodeSays(boot=BOOT - 1, state=NodeState.LEFT)) == ()
    assert case.state() is NodeState.ONLINE


def test_an_inherited_verdict_without_a_boot_is_about_whoever_is_found() -> None:
    case = Case()
    case.health.inherit(NodeState.ONLINE, since=-60, reason="as before", kind=Kind.HEARTBEAT, boot=None)
    assert case.tell(Registered(boot=BOOT), BEAT, WEB) == ()
    assert (case.health.boot, case.health.reason) == (BOOT, "as before")


def test_an_inherited_suspect_has_no_misses_and_is_cleared_by_a_heartbeat() -> None:
    case = Case()
    case.health.inherit(NodeState.SUSPECT, since=-1, reason="", kind=Kind.HEARTBEAT, boot=BOOT)
    case.tell(Registered(boot=BOOT))
    case.ask(HeartbeatMissed())
    assert case.state() is NodeState.SUSPECT
    case.ask(BEAT)
    assert case.path == [NodeState.ONLINE]


def test_an_answer_without_a_boot_counts() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT), BEAT, BEAT, HttpOk(boot=None))
    assert case.state() is NodeState.ONLINE


def test_draining_never_alarms() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    for _ in range(6):
        case.ask(HeartbeatMissed())
        case.ask(HttpFailed(why="answered 503", status=503), Kind.HTTP)
    case.tell(AdminClosed())
    assert case.path[-1] is NodeState.DRAINING
    case.tell(ConnectRefused())
    assert case.path[-2:] == [NodeState.DRAINING, NodeState.LEFT]


def test_a_drain_ends_by_the_nodes_word_or_is_called_off() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    case.ask(HeartbeatMissed())
    case.tell(NodeSays(boot=BOOT, state=NodeState.ONLINE))
    assert case.state() is NodeState.ONLINE
    assert case.health.heartbeat.failed == 0
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING), NodeSays(boot=BOOT, state=NodeState.LEFT))
    assert case.path[-2:] == [NodeState.DRAINING, NodeState.LEFT]
    assert case.tell(NodeSays(boot=BOOT, state=NodeState.LEFT)) == ()


def test_a_node_frozen_while_draining_is_removed_when_its_lease_has_run_out() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    for _ in range(3):
        case.ask(HeartbeatMissed())
    case.tell(Unregistered(clean=False))
    case.ask(HttpFailed(why="no answer"), Kind.HTTP)
    assert case.state() is NodeState.DRAINING
    case.ask(HeartbeatMissed())
    assert case.state() is NodeState.REMOVED


def test_a_node_that_says_draining_while_it_recovers_goes_on_draining() -> None:
    case = Case().come_online().be_removed()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING))
    assert case.state() is NodeState.REMOVED
    case.ask(BEAT)
    case.ask(BEAT)
    case.ask(WEB, Kind.HTTP)
    assert case.path[-2:] == [NodeState.RECOVERING, NodeState.DRAINING]


def test_a_drained_node_that_is_started_again_leaves_and_joins() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.DRAINING), Registered(boot=BOOT + 1))
    assert case.path[-3:] == [NodeState.DRAINING, NodeState.LEFT, NodeState.JOINING]


def test_a_node_that_left_is_not_asked_and_may_come_back_by_its_own_word() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.LEFT))
    assert case.health.next_probe_at == float("inf")
    assert case.tell(BEAT, AdminClosed()) == ()
    case.tell(NodeSays(boot=BOOT, state=NodeState.ONLINE))
    assert case.state() is NodeState.JOINING
    assert case.health.due(Kind.HEARTBEAT) == case.now


def test_the_nodes_word_on_anything_else_changes_nothing() -> None:
    case = Case().come_online()
    assert case.tell(NodeSays(boot=BOOT, state=NodeState.JOINING)) == ()
    assert case.health.says is NodeState.JOINING


def test_who_takes_its_entry_back_and_closes_has_left_in_either_order() -> None:
    for events in ((Unregistered(clean=True), AdminClosed()), (AdminClosed(), Unregistered(clean=True))):
        case = Case().come_online()
        case.tell(*events)
        assert case.path[-1] is NodeState.LEFT


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


def test_an_online_node_whose_lease_runs_out_is_judged_by_probes_alone() -> None:
    case = Case()
    case.health.inherit(NodeState.ONLINE, since=-60, reason="", kind=None, boot=BOOT)
    assert case.tell(Unregistered(clean=False)) == ()
    case.be_removed()


def test_a_node_that_left_is_forgotten_after_a_while_unless_it_is_registered() -> None:
    case = Case().come_online()
    case.tell(NodeSays(boot=BOOT, state=NodeState.LEFT))
    assert not case.health.forgettable(LEFT_KEPT_S)
    case.tell(Unregistered(clean=True))
    assert not case.health.forgettable(LEFT_KEPT_S - 1)
    assert case.health.forgettable(LEFT_KEPT_S)


def test_a_miss_found_by_a_late_timer_does_not_count() -> None:
    case = Case().come_online()
    assert case.ask(HeartbeatMissed(late_s=0.51)) == ()
    assert case.ask(HttpFailed(why="no answer", late_s=1.01), Kind.HTTP) == ()
    assert case.health.uncounted == 2
    assert case.ask(HeartbeatMissed(late_s=0.5))


def test_a_retry_between_two_regular_probes_does_not_count() -> None:
    case = Case().come_online()
    case.ask(HeartbeatMissed())
    case.tell(AdminClosed())  # Asks again at once, long before an interval is over.
    assert case.ask(HeartbeatMissed()) == ()
    assert case.health.heartbeat.failed == 1


def test_the_end_of_a_connection_that_never_worked_tells_nothing() -> None:
    case = Case()
    case.tell(Registered(boot=BOOT))
    assert case.tell(AdminClosed()) == ()


def test_only_a_suspect_has_a_removal_window() -> None:
    assert Case().come_online().health.removal_window is None
    case = Case().come_online()
    case.ask(HeartbeatMissed())  # Asked at 0: the next two at 5 and 10 s.
    assert case.health.removal_window == (11.0, 11.0)
    case.health.ask(Kind.HEARTBEAT, 5.0)
    assert case.health.removal_window == (11.0, 11.0)


def test_the_removal_window_of_an_ended_connection_opens_with_hard_evidence() -> None:
    case = Case().come_online()
    case.tell(AdminClosed(), after_s=2)
    assert case.health.removal_window == (2.5, 13.0)
    case.health.ask(Kind.HEARTBEAT, 2.0)
    case.tell(ConnectRefused(), after_s=0.01)
    assert case.health.removal_window == pytest.approx((2.51, 13.51))


def test_a_failing_http_check_bounds_the_window_by_its_own_rhythm() -> None:
    case = Case().come_online()
    case.ask(HttpFailed(why="no answer"), Kind.HTTP)  # Asked at 0, again at 10.
    assert case.health.removal_window == (11.0, 12.0)


def test_evidence_goes_out_with_unix_times() -> None:
    evidence = Evidence(kind=Kind.HEARTBEAT, failed=2, needed=3, last_ok=4.0)
    assert evidence.to_object(offset_s=1_000) == {"kind": "heartbeat", "failed": 2, "needed": 3, "last_ok": 1_004.0}
    assert Evidence(kind=Kind.GONE, refused=2).to_object(offset_s=0) == {"kind": "gone", "refused": 2}


# The bounds, by playing a node and a checker on one clock.


def play(
    timings: Timings, answered_at: Callable[[float], float], *, phase: float, until: float
) -> Iterator[Transition]:
    """Yield what happens to a node whose answer to a probe of time t comes at `answered_at(t)`."""
    health = NodeHealth("n1", timings, now=0.0, phase=phase)
    health.inherit(NodeState.ONLINE, since=0, reason="", kind=None, boot=BOOT)
    health.step(Registered(boot=BOOT), 0.0)
    for kind, probe in ((Kind.HEARTBEAT, health.heartbeat), (Kind.HTTP, health.http)):
        probe.due = probe.timing.interval_s * phase * (1 if kind is Kind.HEARTBEAT else 0.7)
    ends: dict[Kind, tuple[float, HealthEvent]] = {}
    while True:
        idle = {kind: health.due(kind) for kind in (Kind.HEARTBEAT, Kind.HTTP) if kind not in ends}
        moments = [(when, kind) for kind, when in idle.items()] + [(when, kind) for kind, (when, _) in ends.items()]
        now, kind = min(moments)
        if now > until:
            return
        if kind in ends:
            _, event = ends.pop(kind)
            yield from (found for found in health.step(event, now) if isinstance(found, Transition))
            continue
        health.ask(kind, now)
        timing = timings.heartbeat if kind is Kind.HEARTBEAT else timings.http
        answer = answered_at(now)
        ok: HealthEvent = BEAT if kind is Kind.HEARTBEAT else WEB
        missed: HealthEvent = HeartbeatMissed() if kind is Kind.HEARTBEAT else HttpFailed(why="no answer")
        late = answer > now + timing.timeout_s
        ends[kind] = (now + timing.timeout_s, missed) if late else (answer, ok)


ROUND_TRIP_S = 0.002


@st.composite
def timings(draw: st.DrawFn) -> Timings:
    def one() -> Timing:
        interval_s = draw(st.floats(0.5, 10))
        return Timing(interval_s, interval_s * draw(st.floats(0.1, 0.9)), draw(st.integers(1, 4)))

    return Timings(one(), one(), 0.5)


def bounds(timing: Timing) -> tuple[float, float]:
    least = (timing.failures - 1) * timing.interval_s + timing.timeout_s - ROUND_TRIP_S
    return least, timing.failures * timing.interval_s + timing.timeout_s


@given(timings(), st.floats(0, 0.999), st.floats(0, 1))
def test_a_pause_below_the_lower_bound_never_removes(timings: Timings, phase: float, part: float) -> None:
    begins = 3.0
    pause_s = part * min(bounds(timings.heartbeat)[0], bounds(timings.http)[0]) - 0.01

    def answered_at(asked: float) -> float:
        return max(asked, begins + pause_s if asked >= begins else 0) + ROUND_TRIP_S

    for transition in play(timings, answered_at, phase=phase, until=begins + pause_s + 40):
        assert transition.new is not NodeState.REMOVED


@given(timings(), st.floats(0, 0.999), st.floats(0, 10))
def test_silence_above_the_upper_bound_always_removes(timings: Timings, phase: float, begins: float) -> None:
    within = min(bounds(timings.heartbeat)[1], bounds(timings.http)[1])

    def answered_at(asked: float) -> float:
        return asked + ROUND_TRIP_S if asked < begins else float("inf")

    path = list(play(timings, answered_at, phase=phase, until=begins + within + ROUND_TRIP_S + 0.001))
    assert path[-1].new is NodeState.REMOVED
    assert path[-1].now - begins <= within + ROUND_TRIP_S + 0.001


EVENTS = st.one_of(
    st.builds(Registered, boot=st.integers(6, 9)),
    st.builds(Unregistered, clean=st.booleans()),
    st.builds(HeartbeatOk, boot=st.integers(6, 9), rtt_s=st.just(0.001)),
    st.builds(HeartbeatMissed, late_s=st.sampled_from([0.0, 0.6])),
    st.builds(AdminClosed),
    st.builds(ConnectRefused),
    st.builds(HttpOk, boot=st.one_of(st.none(), st.integers(6, 9))),
    st.builds(HttpFailed, why=st.just("no answer"), late_s=st.sampled_from([0.0, 1.1])),
    st.builds(NodeSays, boot=st.integers(6, 9), state=st.sampled_from(list(NodeState))),
)


@given(st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 0.3, 0.6, 1.0, 5.0])), max_size=60))
def test_whatever_happens_removal_needs_evidence_draining_never_alarms_and_boots_never_go_back(
    told: list[tuple[HealthEvent, float]],
) -> None:
    health = NodeHealth("n1", Timings(), now=0.0)
    now, boot = 0.0, 0
    for event, after_s in told:
        now += after_s
        before = health.state
        kind = Kind.HTTP if isinstance(event, HttpOk | HttpFailed) else Kind.HEARTBEAT
        if isinstance(event, HttpOk | HttpFailed | HeartbeatOk | HeartbeatMissed):
            health.ask(kind, now)
        found = health.step(event, now)
        state = before
        for transition in found:
            if not isinstance(transition, Transition):
                continue
            assert transition.old is state
            assert transition.reason
            state = transition.new
            evidence = transition.evidence
            if transition.new is NodeState.REMOVED:
                hard = evidence.kind is Kind.GONE
                assert hard or (evidence.failed is not None and evidence.failed == evidence.needed)
            if transition.old is NodeState.DRAINING:
                allowed = {NodeState.LEFT, NodeState.ONLINE}
                assert transition.new in (allowed if health.registered else allowed | {NodeState.REMOVED})
        assert health.state is state
        assert (health.boot or 0) >= boot
        boot = health.boot or 0
        assert (health.removal_window is not None) == (health.state is NodeState.SUSPECT)
        assert health.next_probe_at >= 0
