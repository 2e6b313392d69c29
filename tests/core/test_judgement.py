"""A whole cluster under one judge."""

import heapq
import itertools
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.doubt import Sign, Tilted
from sample_cluster.core.health import (
    AdminClosed,
    AskHelpers,
    ConnectRefused,
    Evidence,
    GiveUp,
    HealthEvent,
    HeartbeatOk,
    HelperSaid,
    HttpOk,
    Kind,
    NodeSays,
    Registered,
    Send,
    Transition,
)
from sample_cluster.core.judgement import TICK_S, Judgement, Outcome
from sample_cluster.core.panic import Floor
from sample_cluster.core.probe import Said
from tests.support.judged_node import BOOT, ROUND_TRIP_S, Timing, Timings
from wsmon.protocol.states import CheckerMode, NodeState

LEADING, STANDBY, BLIND = CheckerMode.LEADING, CheckerMode.STANDBY, CheckerMode.BLIND


@dataclass
class Court:
    """A judgement, nodes that answer or not, and a clock."""

    judgement: Judgement = field(default_factory=lambda: Judgement(Timings(), now=0.0))
    now: float = 0.0
    silent: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    boots: dict[str, int] = field(default_factory=dict)
    moves: list[Transition] = field(default_factory=list)
    tilts: list[Tilted] = field(default_factory=list)
    asked: list[AskHelpers] = field(default_factory=list)
    cut_off: bool = False
    """Whether only we do not reach the silent: others do."""

    def __post_init__(self) -> None:
        self._coming: list[tuple[float, int, str, HealthEvent, Kind | None]] = []
        self._numbers = itertools.count()

    def online(self, *names: str) -> "Court":
        self.judgement.follow(self.now, leads=True)
        for name in names:
            health = self.judgement.node(name, self.now)
            health.inherit(NodeState.ONLINE, since=0, reason="", evidence=Evidence(kind=Kind.WORD), boot=BOOT)
            self.boots[name] = BOOT
            self.tell(name, Registered(boot=BOOT))
        self.run(0.5)  # Everybody was asked once; next at 5 s.
        return self

    def tell(self, name: str, event: HealthEvent) -> None:
        self._take(self.judgement.step(name, event, self.now))

    def run(self, for_s: float) -> None:
        until = self.now + for_s
        while True:
            coming = self._coming[0][0] if self._coming else math.inf
            moment = min(coming, self.judgement.deadline)
            if moment > until:
                break
            self.now = max(self.now, moment)
            if coming <= self.judgement.deadline:
                _, _, name, event, _ = heapq.heappop(self._coming)
                self.tell(name, event)
            else:
                self._take(self.judgement.tick(self.now))
        self.now = until

    def kill(self, name: str) -> None:
        self.dead.add(name)
        self.tell(name, AdminClosed())

    def states(self) -> dict[str, NodeState]:
        return {name: health.state for name, health in self.judgement.nodes.items()}

    def _take(self, outcomes: tuple[Outcome, ...]) -> None:
        for outcome in outcomes:
            match outcome:
                case Transition():
                    self.moves.append(outcome)
                case Tilted():
                    self.tilts.append(outcome)
                case Send(node=name, kind=kind):
                    self._forget(name, kind)
                    event: HealthEvent = (
                        HeartbeatOk(boot=self.boots[name], rtt_s=0.0)
                        if kind is Kind.HEARTBEAT
                        else HttpOk(boot=self.boots[name])
                    )
                    if name in self.dead and kind is Kind.HEARTBEAT:
                        event = ConnectRefused()
                    elif name in self.silent | self.dead:
                        continue
                    self._come(ROUND_TRIP_S, name, event, kind)
                case AskHelpers(node=name, kind=kind, helpers=helpers):
                    self.asked.append(outcome)
                    for helper in helpers:
                        if helper in self.silent | self.dead and not self.cut_off:
                            continue
                        said = Said.YES if self.cut_off or name not in self.silent | self.dead else Said.NO
                        told = HelperSaid(kind=kind, asked=outcome.asked, helper=helper, said=said)
                        self._come(ROUND_TRIP_S, name, told, None)
                case GiveUp(node=name, kind=kind):
                    self._forget(name, kind)
                case _:
                    pass

    def _come(self, after_s: float, name: str, event: HealthEvent, kind: Kind | None) -> None:
        heapq.heappush(self._coming, (self.now + after_s, next(self._numbers), name, event, kind))

    def _forget(self, name: str, kind: Kind) -> None:
        self._coming = [item for item in self._coming if not (item[2] == name and item[4] is kind)]
        heapq.heapify(self._coming)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"n{number}" for number in range(1, count + 1))


def test_a_quiet_cluster_stays_as_it_is() -> None:
    court = Court().online(*names(5))
    court.run(600)
    assert court.moves == []
    assert court.judgement.score == 0
    assert court.asked == []


def test_two_other_online_nodes_are_asked_others_every_time() -> None:
    court = Court().online(*names(5))
    court.silent = {"n1"}
    court.run(60)
    assert all(len(asked.helpers) == 2 and "n1" not in asked.helpers for asked in court.asked)
    assert {helper for asked in court.asked for helper in asked.helpers} == {"n2", "n3", "n4", "n5"}
    assert court.states()["n1"] is NodeState.REMOVED


def test_whoever_is_there_is_asked_if_there_are_fewer_than_two() -> None:
    court = Court().online("n1", "n2")
    court.silent = {"n1"}
    court.run(6)
    assert [asked.helpers for asked in court.asked] == [("n2",)]
    alone = Court().online("n1")
    alone.silent = {"n1"}
    alone.run(7)
    assert alone.asked == []
    assert alone.states() == {"n1": NodeState.SUSPECT}


def test_who_fails_is_not_online_or_not_connected_is_no_help() -> None:
    court = Court().online(*names(5))
    court.judgement.nodes["n2"].heartbeat.failed = 1
    court.tell("n3", AdminClosed())
    court.tell("n4", NodeSays(boot=BOOT, state=NodeState.DRAINING))
    assert court.judgement.helpers("n1") == ("n5",)


def test_a_checker_that_is_cut_off_from_a_node_that_others_reach_removes_nobody() -> None:
    court = Court().online(*names(3))
    court.cut_off, court.silent = True, {"n1"}
    court.run(300)
    assert court.moves == []


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_at_most_half_are_taken_out_however_many_fall_silent(count: int) -> None:
    court = Court().online(*names(count))
    court.silent = set(names(count))
    court.run(120)
    removed = [name for name, state in court.states().items() if state is NodeState.REMOVED]
    assert len(removed) == count // 2
    assert court.judgement.floor == Floor(removed=count // 2, allowed=count // 2)
    assert court.judgement.mode(LEADING, court.now) is CheckerMode.PANIC
    held = [name for name, health in court.judgement.nodes.items() if health.held_by_panic]
    assert len(held) == count - count // 2
    court.silent.clear()
    court.run(120)
    assert set(court.states().values()) == {NodeState.ONLINE}
    assert court.judgement.mode(LEADING, court.now) is LEADING


def test_processes_that_are_gone_are_all_removed() -> None:
    court = Court().online(*names(4))
    for name in names(4):
        court.kill(name)
    court.run(1)
    assert set(court.states().values()) == {NodeState.REMOVED}
    assert court.judgement.floor == Floor(removed=0, allowed=0)
    assert not court.judgement.panics


def test_room_that_a_held_node_waited_for_is_given_to_it() -> None:
    court = Court().online(*names(3))
    court.silent = {"n1", "n2"}
    court.run(60)
    assert sorted(state for name, state in court.states().items() if name != "n3") == ["removed", "suspect"]
    court.dead |= {name for name in ("n1", "n2") if court.states()[name] is NodeState.REMOVED}
    for name in court.dead:
        court.tell(name, AdminClosed())
    court.run(12)
    assert [state for name, state in court.states().items() if name != "n3"] == [NodeState.REMOVED, NodeState.REMOVED]


def test_half_of_all_nodes_failing_at_once_makes_patient() -> None:
    court = Court().online(*names(4))
    court.silent = {"n1", "n2"}
    court.run(7)
    assert court.judgement.score == 1
    assert court.judgement.doubt.signs(court.now) == (Sign.SHARE,)
    court.run(60)
    removed = [move.now for move in court.moves if move.new is NodeState.REMOVED]
    # Never later than the timeout at its longest, which is the interval.
    assert 16 < min(removed) <= max(removed) <= 25


def test_a_late_tick_makes_patient_and_what_was_late_does_not_count() -> None:
    court = Court().online(*names(3))
    court.silent = {"n1"}
    court.run(4.6)
    court.now = 7.0  # 1.9 s without a tick.
    court.run(0.1)
    assert court.judgement.doubt.signs(court.now) == (Sign.LATE,)
    assert court.states()["n1"] is NodeState.ONLINE


def test_whoever_stood_still_judges_nobody_for_a_while_and_then_as_if_nothing_had_been_counted() -> None:
    court = Court().online(*names(3))
    court.silent = {"n1"}
    court.run(11.5)
    assert court.judgement.nodes["n1"].heartbeat.failed == 2
    court.now += 60.0
    court.kill("n2")
    court.run(9.9)
    assert len(court.tilts) == 1
    assert court.judgement.mode(LEADING, court.now) is CheckerMode.TILT
    assert not court.judgement.judging
    assert [(move.node, move.new) for move in court.moves] == [("n1", NodeState.SUSPECT)]
    tilt_ends = court.tilts[0].until
    court.run(30)
    removed = {move.node: move.now for move in court.moves if move.new is NodeState.REMOVED}
    assert removed["n2"] - tilt_ends < 1.0
    assert removed["n1"] - tilt_ends >= 11 - ROUND_TRIP_S


def test_a_machine_that_slept_is_known_by_its_steady_clock() -> None:
    court = Court().online("n1")
    court.judgement.tick(0.0, steady=0.0)
    (tilted,) = [item for item in court.judgement.tick(0.25, steady=999.0) if isinstance(item, Tilted)]
    assert tilted.gap_s == 999.0


def test_whoever_does_not_lead_moves_nobody_and_whoever_comes_to_lead_starts_from_nothing() -> None:
    court = Court().online(*names(3))
    court.judgement.follow(0.0, leads=False)
    court.silent = {"n1"}
    court.run(60)
    court.kill("n2")
    court.run(60)
    assert court.moves == []
    assert court.judgement.mode(STANDBY, court.now) is STANDBY
    court.judgement.forgive()
    court.judgement.follow(court.now, leads=True)
    began = court.now
    court.run(1)
    assert [(move.node, move.new) for move in court.moves] == [
        ("n2", NodeState.SUSPECT),
        ("n2", NodeState.REMOVED),
    ]
    court.run(30)
    removed = {move.node: move.now for move in court.moves if move.new is NodeState.REMOVED}
    assert removed["n1"] - began >= 11 - ROUND_TRIP_S


def test_whoever_was_blind_for_a_while_goes_on_from_what_was_counted_meanwhile() -> None:
    court = Court().online(*names(3))
    court.judgement.follow(0.0, leads=False)
    court.silent = {"n1"}
    court.run(60)
    assert court.moves == []
    court.judgement.follow(court.now, leads=True)
    court.run(6.1)
    assert court.states()["n1"] is NodeState.REMOVED


def test_every_mode_has_its_place() -> None:
    court = Court().online("n1")
    court.silent = {"n1"}
    court.run(30)
    assert court.judgement.mode(LEADING, court.now) is CheckerMode.PANIC
    assert court.judgement.mode(BLIND, court.now) is BLIND
    court.now += 9
    court.run(0.1)
    assert court.judgement.mode(LEADING, court.now) is CheckerMode.TILT
    assert court.judgement.mode(STANDBY, court.now) is STANDBY


def test_every_mode_has_its_sentence() -> None:
    court = Court().online("n1", "n2")
    why = court.judgement.why
    assert why(LEADING, court.now) == "leading"
    assert why(STANDBY, court.now, leader="c2") == "standby: c2 leads"
    assert why(STANDBY, court.now) == "standby: nobody leads yet"
    assert why(BLIND, court.now) == "blind: Redis takes nothing from it; what it finds waits"
    court.silent = {"n1", "n2"}
    court.run(6.0)
    assert why(LEADING, court.now) == "leading, and patient: half of all nodes or more fail at once"
    court.run(30.0)
    assert why(LEADING, court.now) == "panic: 1 of 1 that may be out are out; n2 would follow"
    court.now += 9
    court.run(0.5)
    assert why(LEADING, court.now) == "tilt: it stood still for 9 s; judges nobody for 9.5 s"


def test_a_node_is_forgotten_and_nobody_is_left_to_wait_for() -> None:
    court = Court().online("n1")
    court.judgement.drop("n1")
    court.judgement.drop("n1")
    assert court.judgement.nodes == {}
    court.run(10)
    assert court.judgement.deadline == pytest.approx(court.now, abs=TICK_S)


FAULTS = st.sampled_from(["silence", "wake", "kill", "restart", "stall", "lose lead", "win lead", "drain"])


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.floats(0, 12), FAULTS, st.integers(1, 6)), max_size=25),
)
def test_whatever_happens_nobody_is_removed_unless_that_is_allowed(
    count: int, faults: list[tuple[float, str, int]]
) -> None:
    court = Court().online(*names(count))
    leads = True
    seen = 0
    for after_s, fault, number in faults:
        before = court.now
        court.run(after_s)
        name = f"n{(number - 1) % count + 1}"
        match fault:
            case "silence":
                court.silent.add(name)
            case "wake":
                court.silent.discard(name)
            case "kill" if name not in court.dead:
                court.kill(name)
            case "restart":
                court.dead.discard(name)
                court.boots[name] += 1
                court.tell(name, Registered(boot=court.boots[name]))
            case "stall":
                court.now += 3.0
            case "lose lead" | "win lead":
                if fault == "win lead" and not leads:
                    court.judgement.forgive()
                leads = fault == "win lead"
                court.judgement.follow(court.now, leads=leads)
            case "drain":
                court.tell(name, NodeSays(boot=court.boots[name], state=NodeState.DRAINING))
            case _:
                pass
        for move in court.moves[seen:]:
            if move.new is not NodeState.REMOVED:
                continue
            hard = move.evidence.kind is Kind.GONE
            assert hard or move.evidence.failed == move.evidence.needed
            assert not any(tilt.until - 10 <= move.now < tilt.until for tilt in court.tilts)
            assert move.old is not NodeState.DRAINING
            assert move.now >= before
        seen = len(court.moves)
        floor = court.judgement.floor
        assert floor.removed <= max(floor.allowed, (count + 1) // 2)
    if not leads:
        told = len(court.moves)
        court.silent = set(names(count))
        court.run(60)
        assert [move for move in court.moves[told:] if move.new is NodeState.REMOVED] == []


def test_answers_that_come_between_two_ticks_make_no_tick_late() -> None:
    quick = Timings(heartbeat=Timing(0.5, 0.2, 3), http=Timing(1.0, 0.4, 2))
    court = Court(Judgement(quick, now=0.0)).online(*names(3))
    court.run(30)
    court.kill("n1")
    court.run(60)
    assert court.judgement.score == 0
