from dataclasses import replace

import pytest

from tests.support.facts import T0, all_beat, gone, happened, leading, running, says, seen, table, target, verdict, well
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import ClusterEnded, PeerGarbage, PeerGone, RedisSeen, RegistryBad, StartProgress, StepSeen
from wsmon.protocol.events import FaultStarted
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState
from wsmon.views.build import build_frame
from wsmon.views.frame import Audit, Header, Health

COUNTED = Audit(published=10, delivered=200, never_acked=None)


def head(model: ClusterModel, now: float = T0) -> Header:
    return build_frame(model, now).header


def judge(model: ClusterModel, at: float, **words: str) -> None:
    model.apply(says("checker", leading({name: target(word, at) for name, word in words.items()}), at))


def test_a_cluster_in_which_all_is_well_is_healthy() -> None:
    assert head(well()) == Header(
        cluster="demo",
        profile="demo",
        health=Health.HEALTHY,
        at=T0,
        nodes_online=3,
        nodes_total=3,
        clients_connected=60,
        clients_reconnecting=0,
        audit=COUNTED,
        removal_window_s=(2.2, 3.2),
    )


def test_a_node_that_has_left_is_no_problem_and_not_counted() -> None:
    model = well()
    judge(model, T0 + 1, n1="left", n2="online", n3="online")
    shown = head(model, T0 + 1)
    assert (shown.health, shown.nodes_online, shown.nodes_total, shown.nodes_left) == (Health.HEALTHY, 2, 2, 1)


def test_faults_frozen_nodes_and_nodes_out_of_reach_are_told_while_every_node_is_online() -> None:
    model = well()
    assert head(model).notices == ()
    model.apply(happened(FaultStarted(fault="blackhole", target="gateway-n1", ttl_s=5.0), T0, seq=1))
    assert head(model).health is Health.HEALTHY
    assert head(model).notices == ("fault: blackhole on gateway-n1",)
    breakers: JsonObject = {"n1": {"state": "open", "retry_in_s": 3}, "n2": {"state": "closed"}}
    model.apply(says("gateway", {"breakers": breakers}, T0 + 1, rev=2))
    assert head(model, T0 + 1).notices == ("gateway cannot reach n1", "fault: blackhole on gateway-n1")
    all_beat(model, T0 + 5)
    assert head(model, T0 + 5).notices == ("gateway cannot reach n1",)
    frozen = running("n1", "n2", "n3")
    rows = frozen["processes"]
    assert isinstance(rows, dict)
    rows["n3"] = {"kind": "node", "status": "frozen", "pid": 9}
    model.apply(says("supervisor", frozen, T0 + 5, rev=2))
    assert head(model, T0 + 5).notices == ("gateway cannot reach n1", "n3 is frozen")


def test_what_is_told_beside_health_gives_way_to_problems() -> None:
    model = well()
    model.apply(happened(FaultStarted(fault="blackhole", target="gateway-n1", ttl_s=5.0), T0, seq=1))
    judge(model, T0 + 1, n1="removed", n2="online", n3="online")
    shown = head(model, T0 + 1)
    assert (shown.health, shown.notices) == (Health.DEGRADED, ())


def test_faults_on_links_that_end_at_no_node_are_counted_too_and_a_kill_is_not() -> None:
    model = well()
    assert head(model).faults == 0
    model.apply(happened(FaultStarted(fault="latency", target="gateway-redis", ttl_s=5.0), T0, seq=1))
    model.apply(happened(FaultStarted(fault="kill", target="n1", ttl_s=5.0), T0, seq=2))
    assert head(model).faults == 1
    all_beat(model, T0 + 5)
    assert head(model, T0 + 5).faults == 0


def test_a_cluster_that_every_node_has_left_is_not_healthy() -> None:
    model = well(["n1"])
    judge(model, T0 + 1, n1="left")
    assert head(model, T0 + 1).problems == ("every node has left",)


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("removed", "n1 removed 2.0 s ago"),
        ("suspect", "n1 is suspect"),
        ("quarantined", "n1 is quarantined"),
        ("recovering", "n1 is recovering"),
        ("joining", "n1 is joining"),
        ("draining", "n1 is draining, 20 to go"),
    ],
)
def test_a_node_that_is_not_online_degrades_the_cluster(word: str, problem: str) -> None:
    model = well()
    judge(model, T0 + 1, n1=word, n2="online", n3="online")
    all_beat(model, T0 + 3)
    shown = head(model, T0 + 3)
    assert (shown.health, shown.problems, shown.nodes_online) == (Health.DEGRADED, (problem,), 2)


def test_many_nodes_in_one_state_are_one_problem() -> None:
    names = [f"n{index}" for index in range(1, 8)]
    model = well(names)
    judge(model, T0 + 1, **dict.fromkeys(names, "removed"))
    assert head(model, T0 + 1).problems == ("7 nodes removed: n1, n2, n3 and 4 more",)


def test_problems_come_worst_first() -> None:
    model = well()
    at = T0 + 1
    model.apply(says("fleet", {"audit": {"lost": 3}}, at))
    model.apply(RedisSeen(state="away", detail="refused", at=at))
    judge(model, at, n1="suspect", n2="removed", n3="online")
    model.apply(
        says(
            "checker",
            {
                "mode": "blind",
                "targets": {"n1": target("suspect", at), "n2": target("removed", at), "n3": target("online")},
            },
            at,
        )
    )
    down = running("n1", "n2", "n3")
    down["processes"]["gateway"] |= {"status": "exited", "restarts": 1, "exit": "SIGKILL"}  # type: ignore[index,call-overload,operator]
    model.apply(says("supervisor", down, at))
    model.apply(PeerGarbage(id="n3", reason="frame is not JSON", at=at))
    model.apply(RegistryBad(id="n9", reason="registry entry is not JSON", at=at))
    assert head(model, at + 2).problems == (
        "3 messages lost, the last 2.0 s ago",
        "redis is away for 2.0 s: refused",
        "no checker leads (checker is blind)",
        "n2 removed 2.0 s ago",
        "n1 is suspect",
        "checker is blind",
        "gateway is exited, restart 1: SIGKILL",
        "n3 speaks garbage on its admin socket: frame is not JSON",
        "what Redis holds of n9 is broken: registry entry is not JSON",
    )


def test_a_lost_message_is_remembered_for_ten_minutes() -> None:
    model = well()
    model.apply(says("fleet", {"audit": {"lost": 1}}, T0 + 1))
    assert head(model, T0 + 2).health is Health.DEGRADED
    later = T0 + 1 + 600
    all_beat(model, later)
    assert head(model, later).problems == ()
    model.apply(seen("fleet", T0 + 2, boot=10**14))
    assert head(model, T0 + 2).problems[0] == "messages lost, the last 1.0 s ago"


def test_without_redis_or_checker_a_cluster_is_not_healthy() -> None:
    model = ClusterModel("demo")
    model.apply(seen("n1"))
    model.apply(says("n1", {"state": "online", "connections": 7}))
    shown = head(model)
    assert (shown.health, shown.problems) == (
        Health.DEGRADED,
        ("redis has not answered yet", "no checker leads", "n1 is joining"),
    )
    assert (shown.clients_connected, shown.clients_reconnecting, shown.audit) == (7, None, None)


def test_a_stale_node_is_a_problem() -> None:
    model = well()
    model.apply(gone("checker", T0))
    all_beat(model, T0 + 9, but=("checker", "n1"))
    assert head(model, T0 + 9).problems == (
        "no checker leads",
        "n1 is stale, nothing heard for 9.0 s",
        "checker is gone: closed the connection",
    )


def test_redis_alone_knows_no_node() -> None:
    model = ClusterModel("demo")
    model.apply(RedisSeen(state="ok", at=T0))
    assert head(model).problems == ("no checker leads", "no node is known")


def test_nothing_heard_is_unreachable() -> None:
    model = ClusterModel("demo")
    assert head(model).health is Health.STARTING
    model.apply(PeerGone(id="supervisor", reason="no such file", at=T0))
    shown = head(model)
    assert (shown.health, shown.problems) == (Health.UNREACHABLE, ("nothing is heard of the cluster",))
    assert head(well(), T0 + 60).health is Health.UNREACHABLE


def test_a_cluster_that_ended_says_why() -> None:
    model = well()
    model.apply(ClusterEnded(reason="the supervisor was killed", at=T0))
    frame = build_frame(model, T0)
    assert (frame.header.health, frame.header.problems) == (Health.UNREACHABLE, ("the supervisor was killed",))
    assert frame.ended == "the supervisor was killed"
    model.apply(ClusterEnded(reason="", at=T0))
    assert build_frame(model, T0).ended == "the cluster ended"


def test_an_embedded_cluster_starts_until_it_was_whole_once() -> None:
    model = ClusterModel("demo", embedded=True)
    model.apply(StartProgress(steps=(StepSeen("redis", done=True, seconds=0.1), StepSeen("nodes", done=False)), at=T0))
    frame = build_frame(model, T0 + 1)
    assert (frame.header.health, frame.header.problems) == (Health.STARTING, ())
    assert [(step.name, step.done, step.seconds) for step in frame.start] == [
        ("redis", True, 0.1),
        ("nodes", False, None),
    ]
    assert head(model, T0 + 21).health is Health.UNREACHABLE
    whole = well(embedded=True)
    assert head(whole).health is Health.HEALTHY
    whole.apply(table(verdict("n1", NodeState.REMOVED, T0 + 1), at=T0 + 1))
    judge(whole, T0 + 1, n1="removed", n2="online", n3="online")
    assert head(whole, T0 + 1).health is Health.DEGRADED


def test_a_start_that_takes_too_long_tells_its_problems() -> None:
    model = ClusterModel("demo", embedded=True)
    model.apply(RedisSeen(state="ok", at=T0))
    assert head(model, T0 + 1).problems == ()
    model.apply(RedisSeen(state="ok", at=T0 + 20))
    assert head(model, T0 + 20).health is Health.DEGRADED


def test_a_peer_back_to_normal_is_a_problem_for_a_while() -> None:
    model = well()
    model.apply(PeerGarbage(id="n1", reason="x", at=T0 + 1))
    model.apply(seen("n1", T0 + 2))
    assert len(head(model, T0 + 5).problems) == 1
    all_beat(model, T0 + 11)
    assert head(model, T0 + 11).problems == ()


def test_a_silent_fleet_counts_no_clients() -> None:
    model = well()
    all_beat(model, T0 + 9, but=("fleet",))
    shown = head(model, T0 + 9)
    assert (shown.clients_connected, shown.clients_reconnecting) == (None, None)
    assert shown.audit == replace(COUNTED, silent_s=9.0)
    odd: JsonObject = {"audit": 7}
    model.apply(says("fleet", odd, T0 + 9))
    assert head(model, T0 + 9).audit is None


def test_the_audit_says_what_it_knows_and_no_more() -> None:
    model = well()
    told: JsonObject = {
        "published": 7,
        "delivered": "many",
        "lost": -1,
        "duplicated": 10**400,
        "inverted": True,
        "never_acked": 1,
        "refused": 2,
        "overdue": 3,
        "rewound": 4,
        "resyncs": 5,
        "replayed": 6,
    }
    model.apply(says("fleet", {"audit": told}, T0 + 1))
    assert head(model, T0 + 1).audit == Audit(
        published=7,
        delivered=None,
        lost=None,
        duplicated=None,
        inverted=None,
        never_acked=1,
        refused=2,
        overdue=3,
        rewound=4,
        resyncs=5,
        replayed=6,
    )


def test_an_audit_is_old_when_its_fleet_is_late() -> None:
    model = well()
    ages = []
    for after in (2.5, 2.6, 30.0):
        counted = head(model, T0 + after).audit
        ages.append(None if counted is None else counted.silent_s)
    assert ages == [None, 2.6, 30.0]


@pytest.mark.parametrize(
    ("audit", "harmed"),
    [(Audit(), False), (Audit(lost=None, resyncs=3), False), (Audit(lost=1), True), (Audit(inverted=1), True)],
)
def test_harm_is_what_was_lost_doubled_or_out_of_order(audit: Audit, harmed: bool) -> None:
    assert audit.harmed is harmed
