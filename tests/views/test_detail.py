"""One node in full: from what everybody says to facts."""

from dataclasses import replace

import pytest

from tests.support.facts import BOOT, T0, all_beat, beats, gone, happened, leading, says, seen, target, verdict, well
from tests.support.facts import table as table_of
from wsmon.model.cluster import ClusterModel
from wsmon.protocol.events import (
    ActionDone,
    ClientLost,
    EventBody,
    FaultStarted,
    NodeStateChanged,
    ProcessExited,
    Resumed,
)
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState
from wsmon.views.build import build_frame
from wsmon.views.deeds import ledger_rows
from wsmon.views.detail_frame import Fact, NodeDetail
from wsmon.views.frame import LedgerRow, Looking, PageName, Severity

N1 = Looking(node="n1")


def of(model: ClusterModel, now: float = T0, looking: Looking = N1) -> NodeDetail:
    detail = build_frame(model, now, looking).detail
    assert detail is not None
    return detail


def facts(model: ClusterModel, now: float = T0) -> dict[str, Fact]:
    return {fact.label: fact for section in of(model, now).sections for fact in section.facts}


def words(model: ClusterModel, now: float = T0) -> dict[str, str]:
    return {label: fact.text for label, fact in facts(model, now).items()}


def judge(model: ClusterModel, word: str, at: float, **more: object) -> None:
    model.apply(says("checker", leading({"n1": target(word, T0 + 5, **more)}), at, rev=2))  # type: ignore[arg-type]


def tell(model: ClusterModel, at: float, *bodies: EventBody, source: str = "fleet", first: int = 1) -> None:
    for seq, body in enumerate(bodies, first):
        model.apply(happened(body, at, seq=seq, source=source))


def test_nothing_is_worked_out_for_a_node_that_nobody_looks_at() -> None:
    model = well()
    assert build_frame(model, T0).detail is None
    assert build_frame(model, T0, Looking(node="n9")).detail is None
    assert build_frame(model, T0, replace(N1, page=PageName.EVENTS)).detail is None


def test_a_healthy_node_is_told_quietly() -> None:
    shown = facts(well(), T0 + 1)
    assert shown["heartbeat"] == Fact("heartbeat", "ok", Severity.QUIET)
    assert shown["http"] == Fact("http", "ok", Severity.QUIET)
    assert shown["removal"].text == "after 2.2–3.2 s of silence"
    assert shown["verdict"].text == "online, 1.0 s ago by checker, epoch 1, version 1"
    assert shown["process"].text == "running, pid 100, up 1 m"
    assert "cost" not in [section.name for section in of(well()).sections]


def test_the_exact_guard_of_a_suspect() -> None:
    model = well()
    evidence: JsonObject = {"helpers": {"n2": "no", "n3": "yes"}, "answer": "no answer within 0.2 s", "refused": 1}
    model.apply(table_of(replace(verdict("n1", NodeState.SUSPECT, T0 + 5), epoch=7, version=3, evidence=evidence)))
    judge(
        model,
        "suspect",
        T0 + 6,
        heartbeat={"failed": 2, "needed": 3, "last_ok": T0 + 3, "rtt_ms": 0.5},
        http={"failed": 0, "needed": 2, "last_ok": T0 + 5, "status": 200},
        removal_window=[T0 + 6.5, T0 + 7.5],
        link={"word": "frozen", "since": T0 + 4},
        penalty=1200,
    )
    shown = facts(model, T0 + 6)
    assert shown["heartbeat"] == Fact("heartbeat", "2/3 missed, last answer 3.0 s ago", Severity.WARNING)
    assert shown["helpers"].text == "n2 no, n3 yes"
    assert shown["evidence"].text == "no answer within 0.2 s, 1 connect refused"
    assert shown["removal"] == Fact("removal", "in 0.5–1.5 s unless it answers", Severity.WARNING)
    assert shown["verdict"].text == "suspect, 1.0 s ago, epoch 7, version 3"
    assert shown["link"].text == "frozen for 2.0 s"
    assert shown["flapping"] == Fact("flapping", "1200 points; 2000 quarantine it", Severity.WARNING)
    assert words(model, T0 + 7)["removal"] == "within 0.5 s unless it answers"


def test_a_quarantine_counts_down_and_holds_are_named() -> None:
    model = well()
    judge(model, "quarantined", T0 + 6, reuse_in_s=104, held_until=T0 + 66)
    shown = words(model, T0 + 6)
    assert shown["quarantine"] == "may come back in 1:44"
    assert shown["held"] == "by an operator for 1 m"


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"mode": "panic", "panic": {"removed": 1, "allowed": 1}}, "by panic: 1 of 1 that may be out are out"),
        ({"mode": "tilt"}, "the checker is tilt: nobody is judged"),
        ({"mode": "blind"}, "the checker is blind: nobody is judged"),
    ],
)
def test_what_keeps_the_checker_from_deciding_is_said(state: JsonObject, told: str) -> None:
    model = well()
    model.apply(says("checker", {**leading({"n1": target("suspect")}), **state}, T0 + 1, rev=2))
    assert words(model, T0 + 1)["held"] == told


def test_without_a_checker_it_is_said_that_nobody_judges() -> None:
    model = well()
    model.apply(gone("checker", T0))
    assert words(model, T0 + 1)["held"] == "no checker is heard: nobody is judged"


def test_an_answer_of_long_ago_is_old() -> None:
    model = well()
    model.apply(says("checker", leading({"n1": target("online")}), T0 + 30, rev=2))
    fact = facts(model, T0 + 30)["http"]
    assert (fact.text, fact.old) == ("ok, last answer 30 s ago", True)


def test_what_the_trouble_cost_is_counted_and_stands_in_the_sentence() -> None:
    model = well()
    tell(model, T0 + 1, ClientLost(client="c1", node="n1"), ClientLost(client="c2", node="n1"))
    judge(model, "removed", T0 + 2, reason="its process is gone: 2 connects refused")
    tell(model, T0 + 2, NodeStateChanged(node="n1", old="suspect", new="removed"), source="checker")
    tell(model, T0 + 3, Resumed(client="c2", node="n2"), first=3)
    assert words(model, T0 + 4)["clients"] == "2 lost it, 1 back, 1 away"
    assert facts(model, T0 + 4)["clients"].severity is Severity.WARNING
    assert words(model, T0 + 4)["trouble"] == "began 3.0 s ago"
    assert ", 1 of 2 clients back: its process is gone" in of(model, T0 + 4).why
    tell(model, T0 + 5, Resumed(client="c1", node="n3"), first=4)
    assert words(model, T0 + 6)["clients"] == "2 lost it, all back in 4.0 s"
    assert ", all 2 clients back in 4.0 s: " in of(model, T0 + 6).why
    judge(model, "online", T0 + 9)
    tell(model, T0 + 9, NodeStateChanged(node="n1", old="recovering", new="online"), source="checker", first=2)
    assert words(model, T0 + 10)["trouble"] == "began 9.0 s ago, online again after 8.0 s"
    assert "clients" not in of(model, T0 + 10).why


def test_a_drain_tells_how_far_it_is() -> None:
    model = well()
    drain: JsonObject = {"phase": "telling", "left": 12, "total": 20, "deadline": T0 + 21, "eta_s": 3.2}
    model.apply(says("n1", {"state": "draining", "connections": 12, "drain": drain}, T0 + 1, rev=2))
    shown = words(model, T0 + 1)
    assert shown["drain"] == "12 of 20 to go, about 4 s to go, the rest is closed in 20 s"
    assert shown["phase"] == "telling"
    assert "12 of 20 connections to go, about 4 s to go, the rest" in of(model, T0 + 1).why


def test_faults_on_the_node_and_on_its_links_are_told_with_their_end() -> None:
    model = well()
    tell(
        model,
        T0,
        FaultStarted(fault="latency", target="gateway-n1", ttl_s=30),
        FaultStarted(fault="freeze", target="n2", ttl_s=30),
        source="supervisor",
    )
    told = [fact.text for section in of(model, T0 + 1).sections for fact in section.facts if fact.label == "injected"]
    assert told == ["latency on gateway-n1, heals in 29 s"]


def test_what_ails_it_is_listed_and_what_is_well_is_not() -> None:
    model = well()
    state: JsonObject = {
        "state": "online",
        "breakers": {"redis": {"state": "open", "retry_in_s": 5}, "log": {"state": "closed"}},
        "feeds": {"room.1": {"state": "stalled"}, "room.2": {"state": "live"}, "room.3": {"state": "idle"}},
        "redis": {"state": "away"},
        "lagging": 2,
        "cordoned": True,
    }
    model.apply(says("n1", state, T0 + 1, rev=2))
    wrong = next(section for section in of(model, T0 + 2).sections if section.name == "problems")
    assert [fact.text for fact in wrong.facts] == [
        "redis open, tries in 4 s",
        "room.1 stalled",
        "is away for it",
        "2 sessions lag",
    ]
    assert words(model, T0 + 2)["cordon"] == "keeps its clients, takes no new ones"
    assert all(section.name != "problems" for section in of(well()).sections)


def test_sessions_and_how_they_ended() -> None:
    model = well()
    state: JsonObject = {
        "state": "online",
        "connections": 20,
        "sessions": 22,
        "unacked": 7,
        "retransmits": 1,
        "resumes": {"ring": 3, "log": 1, "resync": 1, "stale": 0},
        "heartbeat": {"dead": 2},
        "closes": {"1006": 9, "4002": 2, "x": 1},
    }
    model.apply(says("n1", state, T0 + 1, rev=2))
    section = next(section for section in of(model, T0 + 1).sections if section.name == "sessions")
    assert [fact.text for fact in section.facts] == [
        "22 on 20 connections",
        "7, 1 sent once more",
        "ring 3, log 1, resync 1, stale 0",
        "2 connections fell silent and were closed",
        "9 × 1006 connection broken",
        "2 × 4002 heartbeat lost",
        "1 × x",
    ]


def test_a_silent_node_is_shown_as_it_was_and_says_so() -> None:
    model = well()
    model.apply(says("n1", {"state": "online", "sessions": 20, "lease_age_s": 1.0}, T0, rev=2))
    all_beat(model, T0 + 8, but=("n1",))
    detail = of(model, T0 + 8)
    assert detail.silent_s == 8.0
    assert facts(model, T0 + 8)["sessions"].old
    assert facts(model, T0 + 8)["lease"] == Fact("lease", "renewed 9.0 s ago", Severity.WARNING)
    assert all(strip.old for strip in detail.strips)


def test_nothing_is_said_of_the_files_of_a_process_that_is_gone() -> None:
    model = well()
    model.apply(says("n1", {"state": "online", "process": {"fds": 4, "fd_limit": 64}, "lease_age_s": 0.1}, T0, rev=2))
    assert words(model)["files"] == "4 of 64 open"
    tell(model, T0, ProcessExited(id="n1", signal=9), source="supervisor")
    model.apply(gone("n1", T0))
    assert not {"files", "lease"} & set(words(model))


def test_the_last_minutes_have_a_hole_where_the_node_was_silent() -> None:
    model = well()
    for after in (2.0, 4.0, 8.0):
        model.apply(beats("n1", T0 + after))
    clients = next(strip for strip in of(model, T0 + 8).strips if strip.label == "clients")
    assert clients.values[-5:] == (20.0, 20.0, 20.0, None, 20.0)
    assert clients.now == 20.0


def test_the_page_of_reconnects_gets_the_minutes_of_the_whole_cluster() -> None:
    model = well()
    tell(model, T0 + 1, *(Resumed(client=f"c{n}", node="n2") for n in range(6)))
    model.apply(says("fleet", {"clients": 60, "connected": 54}, T0 + 3, rev=2))
    detail = of(model, T0 + 3, Looking(page=PageName.TIMELINE))
    connected, resumed = detail.strips
    assert (connected.now, connected.values[-2:]) == (54.0, (60.0, 54.0))
    assert (resumed.now, resumed.values[-1]) == (3.0, 3.0)


def test_actions_of_all_consoles_are_rows() -> None:
    model = well()
    tell(
        model,
        T0 + 1,
        ActionDone(actor={"user": "ann", "host": "desk"}, op="drain", target="n1", reason="upgrade"),
        ActionDone(actor={}, op="heal", target="", ok=False),
        source="supervisor",
    )
    assert ledger_rows(model) == (
        LedgerRow(at=T0 + 1, who="ann@desk", text="drain n1", reason="upgrade"),
        LedgerRow(at=T0 + 1, who="somebody", text="heal", ok=False),
    )
    assert build_frame(model, T0).ledger == ledger_rows(model)


def test_a_node_is_found_by_the_name_that_is_shown() -> None:
    model = well()
    model.apply(seen("\x1bn7", boot=BOOT))
    model.apply(says("\x1bn7", {"state": "online", "closes": {"\x1b": 1}}, T0))
    detail = of(model, T0, Looking(node="\ufffdn7"))
    assert detail.node == "\ufffdn7"
    assert all("\x1b" not in fact.text for section in detail.sections for fact in section.facts)
