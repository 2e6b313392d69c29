import json
from datetime import UTC

import pytest

from tests.support.facts import T0, all_beat, event, leading, says, target, well
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import ClusterEnded, RedisSeen
from wsmon.protocol.events import NodeStateChanged
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState
from wsmon.views.build import build_frame
from wsmon.views.events import event_row
from wsmon.views.frame import Audit, Frame, Header, Health
from wsmon.views.plain import plain_event_line, plain_status_line
from wsmon.views.status import AUDITED, audit_text, exit_status, frame_status, plain_health, status, status_lines

QUIET: JsonObject = {"unacked": None, "lagging": None, "retransmits": None, "troubles": []}
SERVICES = (
    "  redis ok (0.4 ms), checker leading (epoch 1), gateway running (60 tunnels), fleet running (60/60 connected),"
    " supervisor running"
)


def removed() -> ClusterModel:
    model = well()
    targets = {"n1": target("online"), "n2": target("removed", T0 + 1, reason="heartbeat 3/3 missed")}
    model.apply(says("checker", leading(targets), T0 + 1))
    all_beat(model, T0 + 5)
    return model


def test_the_status_has_the_promised_fields() -> None:
    document = status(removed(), T0 + 5)
    assert json.loads(json.dumps(document)) == document
    assert document["cluster"] == "demo"
    assert document["at"] == T0 + 5
    assert document["health"] == "degraded"
    assert document["nodes"] == [
        {
            "id": "n1",
            "state": "online",
            "reason": "online for 5.0 s",
            "since": T0,
            "connections": 20,
            **QUIET,
            "pid": 100,
        },
        {
            "id": "n2",
            "state": "removed",
            "reason": "heartbeat 3/3 missed",
            "since": T0 + 1,
            "connections": 20,
            **QUIET,
            "pid": 101,
        },
        {
            "id": "n3",
            "state": "online",
            "reason": "online for 5.0 s",
            "since": T0,
            "connections": 20,
            **QUIET,
            "pid": 102,
        },
    ]
    assert document["clients"] == {"connected": 60, "reconnecting": 0}
    assert document["audit"] == {
        "published": 10,
        "delivered": 200,
        "lost": 0,
        "duplicated": 0,
        "inverted": 0,
        "never_acked": None,
        "refused": None,
        "overdue": None,
        "rewound": None,
        "resyncs": None,
        "replayed": None,
        "silent_s": None,
    }
    assert document["resumes"] == dict.fromkeys(("ring", "log", "resync", "stale", "p50_ms", "p99_ms"))
    assert document["problems"] == ["n2 removed 4.0 s ago"]


def test_what_is_not_known_is_null() -> None:
    document = status(ClusterModel("demo"), T0)
    assert document["health"] == "unreachable"
    assert document["clients"] == {"connected": None, "reconnecting": None}
    assert document["audit"] == dict.fromkeys(AUDITED)
    assert {"published", "delivered", "lost", "duplicated", "inverted", "never_acked"} < set(AUDITED)


def test_a_cluster_that_is_starting_is_not_healthy_to_a_machine() -> None:
    starting = Frame(header=Header(cluster="demo", health=Health.STARTING))
    assert plain_health(starting) is Health.UNREACHABLE
    model = ClusterModel("demo", embedded=True)
    model.apply(RedisSeen(state="ok", at=T0))
    assert plain_health(build_frame(model, T0)) is Health.DEGRADED


@pytest.mark.parametrize(("health", "code"), [("healthy", 0), ("degraded", 1), ("unreachable", 3), ("starting", 1)])
def test_the_exit_status_says_the_health(health: str, code: int) -> None:
    assert exit_status(health) == code


def test_one_look_for_people() -> None:
    lines = status_lines(build_frame(removed(), T0 + 5))
    assert lines == (
        "demo is degraded: 2 of 3 nodes online",
        "  ! n2 removed 4.0 s ago",
        "  n1  online          5.0 s  20 connections",
        "  n2  removed         4.0 s  20 connections     removed 4.0 s ago: heartbeat 3/3 missed",
        "  n3  online          5.0 s  20 connections",
        SERVICES,
        "  60 clients connected, 0 away",
        "  lost 0 of 200 deliveries",
    )
    assert status_lines(build_frame(ClusterModel("x"), T0)) == ("x is unreachable: 0 of 0 nodes online",)


def test_the_audit_names_what_went_wrong() -> None:
    assert audit_text(Audit(delivered=90, lost=10, duplicated=1, inverted=2, never_acked=3)) == (
        "lost 10 of 100 deliveries, 1 duplicated, 2 out of order, 3 never acknowledged"
    )
    assert audit_text(Audit(lost=0, delivered=9, overdue=4, resyncs=5, rewound=6)) == (
        "lost 0 of 9 deliveries, 4 overdue, 5 resyncs, 6 rewound"
    )


def test_an_audit_that_does_not_say_is_not_called_flawless() -> None:
    assert audit_text(Audit(lost=None, delivered=9)) == "lost unknown"
    assert audit_text(Audit(lost=2, delivered=None)) == "lost 2"
    head = Header(cluster="x", health=Health.HEALTHY, audit=Audit(lost=None))
    assert plain_status_line(Frame(header=head)) == "healthy  nodes 0/0  lost unknown"
    head = Header(cluster="x", health=Health.HEALTHY, audit=Audit(delivered=9, resyncs=1))
    assert plain_status_line(Frame(header=head)) == "healthy  nodes 0/0  lost 0 of 9 deliveries, 1 resync"


def test_one_look_tells_what_ails_a_node_and_how_clients_came_back() -> None:
    model = well()
    told = {"state": "online", "unacked": 4, "lagging": 2, "retransmits": 1, "resumes": {"ring": 40, "log": 3}}
    model.apply(says("n1", told, T0 + 1))  # type: ignore[arg-type]
    audit = {"lost": 0, "delivered": 9, "replayed": 7}
    model.apply(says("fleet", {"audit": audit, "resume_ms": {"p50": 210.0, "p99": 1_400.0}}, T0 + 1))  # type: ignore[dict-item]
    all_beat(model, T0 + 5, but=("fleet",))
    frame = build_frame(model, T0 + 5)
    document = frame_status(frame)
    assert document["nodes"][0] | {"pid": None} == {  # type: ignore[index,operator]
        "id": "n1",
        "state": "online",
        "reason": "online for 5.0 s",
        "since": T0,
        "connections": None,
        "unacked": 4,
        "lagging": 2,
        "retransmits": 1,
        "troubles": ["2 sessions do not keep up"],
        "pid": None,
    }
    assert document["audit"]["replayed"] == 7  # type: ignore[call-overload,index]
    assert document["audit"]["silent_s"] == 4.0  # type: ignore[call-overload,index]
    assert document["resumes"] == {
        "ring": 40,
        "log": 3,
        "resync": None,
        "stale": None,
        "p50_ms": 210.0,
        "p99_ms": 1_400.0,
    }
    lines = status_lines(frame)
    assert lines[1].split() == ["n1", "online", "5.0", "s", "2", "sessions", "do", "not", "keep", "up"]
    assert lines[-2:] == (
        "  lost 0 of 9 deliveries, as of 4.0 s ago",
        "  came back: 40 from the ring, 3 from the log, half within 0.21 s, 99 % within 1.40 s",
    )


def test_the_plain_line_is_short_when_all_is_well_and_says_what_is_not() -> None:
    assert plain_status_line(build_frame(well(), T0)) == "healthy  nodes 3/3  clients 60  lost 0"
    model = removed()
    fleet = {"connected": 40, "reconnecting": 20, "audit": {"lost": 1, "delivered": 9}}
    model.apply(says("fleet", fleet, T0 + 5))  # type: ignore[arg-type]
    assert plain_status_line(build_frame(model, T0 + 5)) == (
        "degraded  nodes 2/3  clients 40 (20 away)  lost 1 of 10 deliveries"
        "  1 message lost, the last 0.0 s ago; n2 removed 4.0 s ago"
    )
    model.apply(ClusterEnded(reason="stopped", at=T0 + 6))
    assert plain_status_line(build_frame(model, T0 + 6)).endswith("  ended: stopped")
    many = Header(cluster="x", health=Health.DEGRADED, problems=("a", "b", "c", "d", "e"))
    assert plain_status_line(Frame(header=many, events_lost=2)) == (
        "degraded  nodes 0/0  2 events missed  a; b; c; 2 more"
    )


def test_an_event_line_has_time_source_and_sentence() -> None:
    body = NodeStateChanged(node="n2", old="suspect", new=NodeState.REMOVED, reason="heartbeat 3/3 missed")
    row = event_row(event(body, T0 + 0.789, seq=1, source="checker"))
    assert plain_event_line(row, zone=UTC) == "22:13:20.789 checker    n2 suspect → removed: heartbeat 3/3 missed"
    assert plain_event_line(row).endswith("n2 suspect → removed: heartbeat 3/3 missed")


def test_a_frame_alone_is_enough_for_a_status() -> None:
    model = removed()
    assert frame_status(build_frame(model, T0 + 5)) == status(model, T0 + 5)
