import pytest

from tests.support.facts import BOOT, T0, all_beat, beats, gone, happened, leading, running, says, seen, target, well
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import HttpSample, ProcessSample
from wsmon.model.standing import voices
from wsmon.protocol.events import FaultStarted
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState
from wsmon.views.frame import NodeRow
from wsmon.views.nodes import BREAKERS_MAX, node_row, node_rows
from wsmon.views.text import natural


def row(model: ClusterModel, now: float = T0, name: str = "n1") -> NodeRow:
    return node_row(model, name, voices(model, now))


def judged(model: ClusterModel, word: str, at: float, **more: object) -> None:
    model.apply(says("checker", leading({"n1": target(word, at, **more)}), at))  # type: ignore[arg-type]


def test_nodes_stand_in_their_natural_order() -> None:
    model = well(["n10", "n2", "n1", "m", "n02"])
    assert [item.id for item in node_rows(model, voices(model, T0))] == ["m", "n1", "n02", "n2", "n10"]
    assert sorted(["n²", "n1", "9" * 40, "n"], key=natural) == ["9" * 40, "n", "n1", "n²"]


def test_a_healthy_node_shows_what_everybody_says_of_it() -> None:
    model = well()
    state: JsonObject = {
        "state": "online",
        "address": "127.0.0.1:9000",
        "connections": 26,
        "messages_in": 150,
        "messages_out": 1_900,
        "process": {"cpu": 3.14, "rss": 5_000, "fds": 40},
    }
    model.apply(says("n1", state, T0 + 1, rev=2))
    model.apply(beats("n1", T0 + 1.5, rev=2))
    all_beat(model, T0 + 1.5)
    shown = row(model, T0 + 2)
    assert shown == NodeRow(
        id="n1",
        state=NodeState.ONLINE,
        since_s=2.0,
        since_at=T0,
        why="online for 2.0 s",
        heartbeat="ok",
        http="ok",
        misses_needed=3,
        connections=26,
        connections_delta=6,
        messages_in_s=shown.messages_in_s,
        messages_out_s=shown.messages_out_s,
        lag_ms=0.4,
        rtt_ms=0.5,
        cpu=3.1,
        rss=5_000,
        fds=40,
        uptime_s=62.0,
        pid=100,
        process="running",
        address="127.0.0.1:9000",
    )
    assert shown.messages_in_s == pytest.approx(33.3)
    assert shown.messages_out_s == pytest.approx(666.7)


def test_our_own_sample_of_the_process_is_preferred_unless_it_is_of_another_one() -> None:
    model = well()
    sample = ProcessSample(id="n1", pid=100, cpu=7.77, rss=9, fds=8, at=T0)
    model.apply(sample)
    assert (row(model).cpu, row(model).rss, row(model).fds, row(model).pid) == (7.8, 9, 8, 100)
    assert row(model, T0 + 20).cpu is None
    model.apply(ProcessSample(id="n1", pid=4, cpu=7.77, rss=9, at=T0))
    assert row(model).cpu is None


def test_a_suspect_tells_the_exact_guard() -> None:
    model = well()
    at = T0 + 10
    judged(
        model,
        "suspect",
        at,
        heartbeat={"failed": 2, "needed": 3, "last_ok": at - 1.4, "rtt_ms": 0.5},
        removal_window=[at + 1.2, at + 2.2],
    )
    all_beat(model, at)
    shown = row(model, at + 1)
    assert (shown.state, shown.detail, shown.heartbeat, shown.misses) == (NodeState.SUSPECT, "2/3", "2/3", 2)
    assert shown.why == (
        "suspect: heartbeat 2/3 missed (last answer 2.4 s ago), http ok; removal in 0.2–1.2 s unless it answers"
    )
    assert row(model, at + 2).why.endswith("removal within 0.2 s unless it answers")
    assert row(model, at + 3).why.endswith("removal is due")


def test_the_last_good_answer_of_a_dead_process_is_not_shown_as_a_present_one() -> None:
    model = well()
    judged(model, "removed", T0 + 1, http={"failed": 1, "needed": 2, "last_ok": T0})
    model.apply(gone("n1", T0 + 1))
    shown = row(model, T0 + 2)
    assert (shown.heartbeat, shown.http, shown.rtt_ms) == ("", "1/2", None)


def test_a_suspect_by_hard_evidence_gives_the_checkers_reason() -> None:
    model = well()
    judged(model, "suspect", T0 + 1, reason="its admin socket closed", http={"failed": 1, "needed": 2})
    assert row(model, T0 + 1).why == "suspect: heartbeat ok, http 1/2 missed"
    assert row(model, T0 + 1).detail == "1/2"
    judged(model, "suspect", T0 + 1, reason="its admin socket closed", heartbeat={}, http={})
    assert row(model, T0 + 1).why == "suspect: its admin socket closed"
    judged(model, "suspect", T0 + 1, heartbeat={"failed": 1}, http={})
    assert (row(model, T0 + 1).heartbeat, row(model, T0 + 1).detail) == ("1", "1")
    judged(model, "suspect", T0 + 1, heartbeat={}, http={})
    assert (row(model, T0 + 1).why, row(model, T0 + 1).detail) == ("suspect: a check failed", "")


def test_a_removed_node_tells_when_and_why_and_what_became_of_its_process() -> None:
    model = well()
    at = T0 + 1
    judged(model, "removed", at, reason="heartbeat 3/3 missed")
    dead = running("n1")
    dead["processes"]["n1"] |= {"status": "exited", "exit": "SIGKILL"}  # type: ignore[index,call-overload,operator]
    model.apply(says("supervisor", dead, at))
    model.apply(gone("n1", at))
    all_beat(model, at + 12, but=("n1",))
    shown = row(model, at + 12)
    assert shown.why == "removed 12 s ago: its process is gone (SIGKILL); heartbeat 3/3 missed"
    assert shown.reason == "heartbeat 3/3 missed"
    assert (shown.process, shown.pid, shown.uptime_s, shown.connections, shown.messages_in_s) == (
        "exited",
        None,
        None,
        None,
        None,
    )
    assert shown.silent_s == 13.0


def test_a_frozen_process_is_called_so() -> None:
    model = well()
    judged(model, "removed", T0)
    frozen = running("n1")
    frozen["processes"]["n1"]["status"] = "frozen"  # type: ignore[index,call-overload]
    model.apply(says("supervisor", frozen))
    assert row(model).why == "removed 0.0 s ago; its process is frozen"
    bare = ClusterModel("demo")
    bare.apply(ProcessSample(id="n1", pid=3, cpu=0, rss=1, status="stopped", at=T0))
    assert (row(bare).process, row(bare).pid) == ("frozen", 3)


def test_a_silent_node_keeps_its_last_numbers_and_says_how_old_they_are() -> None:
    model = well()
    assert row(model, T0 + 2.5).silent_s is None
    shown = row(model, T0 + 2.6)
    assert (shown.silent_s, shown.connections, shown.messages_in_s, shown.connections_delta) == (2.6, 20, None, None)


def test_a_draining_node_shows_what_is_left() -> None:
    model = well()
    drain: JsonObject = {"phase": "moving", "left": 12, "total": 20, "deadline": T0 + 21}
    model.apply(says("n1", {"state": "draining", "connections": 13, "drain": drain}, T0 + 1))
    shown = row(model, T0 + 1)
    assert (shown.state, shown.detail) == (NodeState.DRAINING, "12")
    assert shown.why == "draining: 12 of 20 connections to go, the rest is closed in 20 s"
    model.apply(says("n1", {"state": "draining", "connections": 13, "drain": {"left": 3}}, T0 + 1))
    assert row(model, T0 + 1).why == "draining: 3 connections to go"
    model.apply(says("n1", {"state": "draining", "connections": 13}, T0 + 1))
    assert (row(model, T0 + 1).why, row(model, T0 + 1).detail) == ("draining", "13")


@pytest.mark.parametrize(
    ("word", "more", "detail", "why"),
    [
        ("quarantined", {"reuse_in_s": 104.2}, "1:44", "quarantined; comes back in 1 m"),
        ("quarantined", {"reason": "flaps"}, "", "quarantined: flaps"),
        ("recovering", {"reason": "heartbeat 1/2 ok"}, "", "recovering: heartbeat 1/2 ok"),
        ("joining", {}, "", "joining"),
        ("left", {}, "", "left 0.0 s ago"),
    ],
)
def test_each_state_has_its_sentence(word: str, more: dict[str, object], detail: str, why: str) -> None:
    model = well()
    judged(model, word, T0, **more)
    assert (row(model).detail, row(model).why) == (detail, why)


def test_a_cordoned_and_a_stale_node_say_so() -> None:
    model = well()
    model.apply(says("n1", {"state": "cordoned"}, T0 + 1))
    assert row(model, T0 + 1).why == "cordoned: keeps its clients, takes no new ones"
    shown = row(model, T0 + 7)
    assert shown.state is NodeState.STALE
    assert shown.why == "stale: nothing heard for 6.0 s: neither a checker nor the node is heard"


def test_our_own_look_at_health_stands_in_for_a_checker() -> None:
    model = well()
    model.apply(says("checker", leading({"n1": {"state": "online"}})))
    assert row(model).http == ""
    for ok, status, shown in ((True, 200, "ok"), (False, 503, "503"), (False, 0, "no")):
        model.apply(HttpSample(id="n1", ok=ok, status=status, ms=1.0, at=T0))
        assert row(model).http == shown
    assert row(model, T0 + 7).http == "no"
    assert row(model, T0 + 9).http == ""


def test_a_fault_on_a_link_is_shown_at_its_node_and_one_at_the_node_comes_first() -> None:
    model = well()
    model.apply(happened(FaultStarted(fault="loss", target="gateway-n1", ttl_s=9.0), T0, seq=1))
    assert row(model).fault == "loss on gateway-n1"
    model.apply(happened(FaultStarted(fault="freeze", target="n1", ttl_s=5.0), T0, seq=2))
    assert row(model).fault == "freeze"
    assert row(model, T0 + 6).fault == "loss on gateway-n1"
    assert row(model, T0 + 9).fault == ""


def test_a_node_that_a_gateway_cannot_reach_says_so() -> None:
    model = well()
    model.apply(says("gateway", {"breakers": {"n1": {"state": "half_open"}, "n2": {"state": "closed"}}}))
    first, other, _ = node_rows(model, voices(model, T0))
    assert (first.unreached_by, first.troubles[0]) == ("gateway", "gateway cannot reach it")
    assert (other.unreached_by, other.troubles) == ("", ())


def test_what_a_frozen_node_held_is_not_told_once_it_is_removed_and_silent() -> None:
    model = well()
    at = T0 + 4
    model.apply(says("checker", leading({"n1": target("removed", at, heartbeat={"failed": 3, "needed": 3})}), at))
    shown = row(model, at)
    assert (shown.state, shown.connections) == (NodeState.REMOVED, None)


def test_that_a_process_is_frozen_comes_before_what_is_cut_on_a_narrow_screen() -> None:
    model = well()
    frozen = running("n1", "n2", "n3")
    rows = frozen["processes"]
    assert isinstance(rows, dict)
    rows["n1"] = {"kind": "node", "status": "frozen", "pid": 9}
    model.apply(says("supervisor", frozen, T0 + 1, rev=2))
    removed = target("removed", T0 + 1)
    removed["reason"] = "heartbeat 3/3 missed"
    model.apply(says("checker", leading({"n1": removed}), T0 + 1))
    assert row(model, T0 + 1).why.endswith(": its process is frozen; heartbeat 3/3 missed")


def test_injected_faults_are_shown() -> None:
    model = well()
    for faults, shown in (
        ([{"kind": "freeze"}], "freeze"),
        ([{"fault": "loss"}], "loss"),
        (["x"], "x"),
        ([{}], "fault"),
        ([7], ""),
    ):
        model.apply(says("n1", {"state": "online", "faults": faults}))  # type: ignore[dict-item]
        assert row(model).fault == shown
    model.apply(happened(FaultStarted(fault="latency", target="n1", ttl_s=5), seq=1))
    assert row(model).fault == "latency"


def test_the_boot_tells_the_age_when_no_supervisor_does() -> None:
    model = well()
    model.apply(gone("supervisor", T0))
    shown = row(model, T0 + 1)
    assert (shown.uptime_s, shown.process, shown.pid) == (61.0, "", 100)
    model.apply(seen("n1", boot=10**15))
    assert row(model, T0 + 1).uptime_s is None
    assert BOOT > 1e12


def test_an_idle_node_makes_equal_rows_within_a_second() -> None:
    model = well()
    all_beat(model, T0 + 20)
    assert row(model, T0 + 20.1) == row(model, T0 + 20.6)


def test_the_numbers_of_continuity_are_shown_as_far_as_they_are_told() -> None:
    model = well()
    assert (row(model).unacked, row(model).lagging, row(model).retransmits) == (None, None, None)
    model.apply(says("n1", {"state": "online", "unacked": 12, "lagging": 0, "retransmits": 3}, T0 + 1))
    assert (row(model, T0 + 1).unacked, row(model, T0 + 1).lagging, row(model, T0 + 1).retransmits) == (12, 0, 3)
    model.apply(says("n1", {"state": "online", "unacked": -1, "lagging": "x", "retransmits": 10**400}, T0 + 1))
    assert (row(model, T0 + 1).unacked, row(model, T0 + 1).lagging, row(model, T0 + 1).retransmits) == (None,) * 3


@pytest.mark.parametrize(
    ("told", "troubles"),
    [
        ({"breakers": {"redis": {"state": "closed"}}, "redis": {"state": "ok"}, "lagging": 0}, ()),
        ({"breakers": {"redis": {"state": "open", "retry_in_s": 3.4}}}, ("redis breaker open, tries again in 3 s",)),
        ({"breakers": {"redis": {"state": "open", "retry_in_s": 0.9}}}, ("redis breaker open",)),
        ({"breakers": {"redis": {"state": "open", "retry_in_s": 200}}}, ("redis breaker open, tries again in 3 m",)),
        ({"breakers": {"redis": {"state": "open", "retry_in_s": "soon"}}}, ("redis breaker open",)),
        ({"breakers": {"redis": {"state": "half_open", "retry_in_s": 3}}}, ("redis breaker half open",)),
        ({"breakers": {"redis": {"state": 7}, "b": "open", "c": {}}}, ()),
        ({"redis": {"state": "away"}}, ("redis is away for it",)),
        ({"redis": {"state": "away"}, "breakers": {"redis": {"state": "open"}}}, ("redis breaker open",)),
        ({"feeds": {"room.1": {"state": "stalled"}}}, ("feed room.1 stalled",)),
        ({"feeds": {"a": {"state": "gap"}, "b": {"state": "gap"}}}, ("feeds a, b have gaps",)),
        ({"feeds": {"a": {"state": "odd"}}}, ("feed a odd",)),
        (
            {"feeds": {f"r{n}": {"state": "forked"} for n in range(9)}, "lagging": 2},
            ("feeds r0, r1, r2 and 6 more found another history", "2 sessions do not keep up"),
        ),
        ({"lagging": 1}, ("1 session does not keep up",)),
    ],
)
def test_what_ails_a_node_is_said_in_words(told: JsonObject, troubles: tuple[str, ...]) -> None:
    model = well()
    model.apply(says("n1", {"state": "online", **told}, T0 + 1))
    # A second has passed since the node said so.
    assert row(model, T0 + 2).troubles == troubles


def test_what_a_silent_node_was_in_the_middle_of_says_nothing_about_now() -> None:
    model = well()
    model.apply(says("n1", {"state": "online", "lagging": 3}, T0 + 1))
    assert row(model, T0 + 2).troubles
    assert (row(model, T0 + 4).troubles, row(model, T0 + 4).lagging) == ((), 3)
    model.apply(gone("n1", T0 + 2))
    assert (row(model, T0 + 2).troubles, row(model, T0 + 2).lagging) == ((), None)


def test_many_breakers_and_hostile_names_are_bounded() -> None:
    model = well()
    broken: JsonObject = {f"\x1b{n}" * 90: {"state": "open\u202e" * 90, "retry_in_s": 1e17} for n in range(900)}
    model.apply(says("n1", {"state": "online", "breakers": broken}, T0 + 1))
    shown = row(model, T0 + 1).troubles
    assert len(shown) == BREAKERS_MAX
    assert all(trouble.isprintable() or "\ufffd" in trouble for trouble in shown)
