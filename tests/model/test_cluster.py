import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.facts import (
    BOOT,
    T0,
    beats,
    entries,
    event,
    gone,
    happened,
    leading,
    running,
    says,
    seen,
    table,
    target,
    verdict,
    well,
)
from wsmon.model.cluster import (
    ACTIONS_KEPT,
    BAD_MAX,
    FAULTS_MAX,
    PEERS_MAX,
    ClusterModel,
    node_state,
)
from wsmon.model.inputs import (
    ActionAnswered,
    ActionAsked,
    ClusterEnded,
    Happened,
    HttpSample,
    PeerGarbage,
    PeerGone,
    PeerState,
    ProcessSample,
    RedisSeen,
    RegistryBad,
    StartProgress,
    StepSeen,
)
from wsmon.protocol.events import (
    KINDS,
    ClientLost,
    DrainAborted,
    FaultEnded,
    FaultStarted,
    NodeStateChanged,
    Resumed,
)
from wsmon.protocol.frames import EventFrame, Json, JsonObject
from wsmon.protocol.states import NodeState, PeerKind


def test_what_an_earlier_life_of_a_peer_says_is_ignored() -> None:
    model = well()
    assert not model.apply(says("n1", {"connections": 99}, boot=BOOT - 1))
    assert not model.apply(beats("n1", T0 + 9, boot=BOOT - 1))
    assert not model.apply(seen("n1", T0 + 9, boot=BOOT - 1))
    assert model.peers["n1"].state["connections"] == 20
    assert model.peers["n1"].heard_at == T0


def test_a_new_life_of_a_node_starts_its_numbers_again() -> None:
    model = well()
    model.apply(says("n1", {"state": "online", "messages_in": 300, "connections": 25}, T0 + 1, rev=2))
    node = model.nodes["n1"]
    assert (node.messages_in.per_second(), node.connections.change()) == (200.0, 5.0)
    model.apply(seen("n1", T0 + 2, boot=BOOT + 1))
    assert (node.messages_in.per_second(), node.connections.change(), node.word) == (None, None, None)
    assert model.peers["n1"].state == {}
    model.apply(says("n1", {"state": "joining", "messages_in": 4}, T0 + 3, boot=BOOT + 2))
    assert (node.boot, node.messages_in.per_second()) == (BOOT + 2, None)


def test_a_beat_at_the_same_revision_lets_a_speed_fall_to_nothing() -> None:
    model = well()
    model.apply(says("n1", {"messages_in": 300}, T0 + 1, rev=2))
    for after in range(2, 6):
        model.apply(beats("n1", T0 + after, rev=2))
    assert model.nodes["n1"].messages_in.per_second() == 0.0
    model.apply(beats("n1", T0 + 9, rev=77))
    assert model.nodes["n1"].messages_in.per_second() == 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.floats(0, 3)), max_size=60))
def test_no_speed_is_ever_negative_whatever_restarts(lives: list[tuple[int, int, float]]) -> None:
    model, at = well(["n1"]), T0
    for boot, counter, pause in lives:
        at += pause
        model.apply(says("n1", {"messages_in": counter, "messages_out": counter}, at, boot=BOOT + boot))
        for history in (model.nodes["n1"].messages_in, model.nodes["n1"].messages_out):
            speed = history.per_second()
            assert speed is None or speed >= 0


def test_a_lost_connection_is_remembered_until_the_next_hello() -> None:
    model = well()
    model.apply(gone("n1", T0 + 1))
    model.apply(PeerGone(id="n1", reason="connection refused", at=T0 + 2))
    peer = model.peers["n1"]
    assert (peer.gone_at, peer.gone_reason, peer.fresh(T0 + 2)) == (T0 + 1, "connection refused", False)
    model.apply(seen("n1", T0 + 3))
    assert (peer.gone_at, peer.fresh(T0 + 3)) == (None, True)
    assert not peer.fresh(T0 + 9)


def test_a_peer_that_was_never_reached_has_the_kind_of_its_entry() -> None:
    model = ClusterModel("demo")
    model.apply(PeerGone(id="gateway", reason="connection refused", at=T0))
    assert [peer.kind for peer in model.peers.values()] == [None]
    model.apply(entries("gateway", "n1"))
    assert model.peers["gateway"].kind is PeerKind.GATEWAY
    model.apply(PeerGone(id="n1", reason="connection refused", at=T0))
    assert model.peers["n1"].kind is PeerKind.NODE
    assert model.peers["n1"].quiet_s(T0) is None


def test_the_same_event_by_socket_and_redis_counts_once() -> None:
    model = well()
    told = happened(ClientLost(client="c1", node="n1"), seq=1)
    assert model.apply(told)
    assert not model.apply(replace(told, heard_at=T0 + 1))
    assert (len(model.events), len(model.lanes)) == (1, 1)


BODIES = st.sampled_from(
    [
        ClientLost(client="c1", node="n1"),
        Resumed(client="c1", node="n2", ms=10.0),
        NodeStateChanged(node="n1", old="online", new="suspect", reason="r"),
        FaultStarted(fault="freeze", target="n1", ttl_s=5.0),
        DrainAborted(node="n1"),
    ]
)


@given(st.lists(st.tuples(BODIES, st.sampled_from(["checker", "fleet"]), st.integers(1, 9)), max_size=20))
def test_duplicates_change_nothing(story: list[tuple[object, str, int]]) -> None:
    once, twice = well(), well()
    for body, source, seq in story:
        told = happened(body, T0 + seq, seq=seq, source=source)  # type: ignore[arg-type]
        once.apply(told)
        twice.apply(told)
        twice.apply(told)
    assert [(item.event, item.at) for item in once.events] == [(item.event, item.at) for item in twice.events]
    assert once.faults == twice.faults
    assert once.nodes["n1"].told == twice.nodes["n1"].told
    assert {lane.client: lane for lane in once.lanes} == {lane.client: lane for lane in twice.lanes}


def test_an_event_cannot_lie_in_the_future() -> None:
    model = well()
    late = event(DrainAborted(node="n1"), 1e300, seq=1)
    model.apply(Happened(event=late, heard_at=T0 + 1))
    model.apply(Happened(event=replace(late, seq=2, at=-1e300), heard_at=T0 + 1))
    assert [item.at for item in model.events] == [0.0, T0 + 1]


def test_events_of_a_checker_are_its_judgement_and_a_nodes_own_are_its_word() -> None:
    model = well()
    suspect = NodeStateChanged(node="n1", old="online", new="suspect", reason="heartbeat 1/3 missed")
    model.apply(happened(suspect, T0 + 2, seq=1, source="checker"))
    model.apply(happened(replace(suspect, new="online"), T0 + 1, seq=2, source="checker"))
    model.apply(happened(replace(suspect, new="removed"), T0 + 3, seq=1, source="gateway"))
    model.apply(happened(replace(suspect, new="stale"), T0 + 4, seq=3, source="checker"))
    model.apply(happened(replace(suspect, node="n9"), T0 + 4, seq=4, source="checker"))
    node = model.nodes["n1"]
    assert node.told is not None
    assert (node.told.state, node.told.at) == (NodeState.SUSPECT, T0 + 2)
    draining = NodeStateChanged(node="n1", old="online", new="draining")
    model.apply(happened(draining, T0 + 5, seq=1, source="n1"))
    assert (node.word, node.word_at) == (NodeState.DRAINING, T0 + 5)
    model.apply(happened(replace(draining, new="online"), T0 + 4, seq=2, source="n1"))
    assert node.word is NodeState.DRAINING


def test_a_word_from_an_earlier_life_of_the_node_does_not_count() -> None:
    model = well()
    model.apply(seen("n2", T0 + 1, boot=BOOT + 5))
    left = NodeStateChanged(node="n2", old="draining", new="left")
    model.apply(happened(left, T0 + 2, seq=1, source="n2", boot=BOOT))
    assert model.nodes["n2"].word is None


def test_a_word_counts_since_it_changed() -> None:
    model = well()
    node = model.nodes["n1"]
    assert (node.word, node.word_at) == (NodeState.ONLINE, 0.0)
    model.apply(says("n1", {"state": "draining"}, T0 + 4))
    model.apply(says("n1", {"state": "draining"}, T0 + 5))
    assert (node.word, node.word_at) == (NodeState.DRAINING, T0 + 4)


def test_a_node_may_say_cordoned_beside_its_state() -> None:
    model = well()
    model.apply(says("n1", {"state": "online", "cordoned": True}, T0 + 4))
    assert model.nodes["n1"].word is NodeState.CORDONED
    model.apply(says("n1", {"state": "draining", "cordoned": True}, T0 + 5))
    assert next(iter(model.nodes.values())).word is NodeState.DRAINING


def test_nobody_but_the_watcher_says_stale() -> None:
    assert node_state("online") is NodeState.ONLINE
    assert [node_state(word) for word in ("stale", "dancing", "", None)] == [None] * 4


def test_faults_end_by_word_by_time_and_are_bounded() -> None:
    model = well()
    model.apply(happened(FaultStarted(fault="freeze", target="n1", ttl_s=5.0), T0, seq=1))
    assert [fault.fault for fault in model.faults_at("n1", T0 + 4.9)] == ["freeze"]
    assert model.faults_at("n1", T0 + 5) == ()
    assert model.faults_at("n2", T0) == ()
    model.apply(happened(FaultEnded(fault="freeze", target="n1"), T0 + 1, seq=2))
    assert model.faults_at("n1", T0 + 2) == ()
    for seq in range(3, 3 + 2 * FAULTS_MAX):
        model.apply(happened(FaultStarted(fault=f"f{seq}", target="n1"), T0, seq=seq))
    assert len(model.faults) == FAULTS_MAX


def test_a_node_is_listed_as_long_as_anybody_holds_it() -> None:
    model = ClusterModel("demo")
    assert model.listed() == []
    model.apply(seen("supervisor"))
    model.apply(says("supervisor", running("n1")))
    model.apply(entries("n2", "checker"))
    model.apply(table(verdict("n3", NodeState.REMOVED)))
    model.apply(seen("checker"))
    model.apply(says("checker", leading({"n4": target("online")})))
    model.apply(seen("n5"))
    assert sorted(model.listed()) == ["n1", "n2", "n3", "n4", "n5"]
    model.apply(gone("n5", T0 + 1))
    model.apply(table())
    model.apply(entries("checker"))
    model.apply(says("checker", leading({}), T0 + 1))
    model.apply(says("supervisor", running(), T0 + 1))
    assert model.listed() == []


def test_the_leading_checker_is_believed_then_the_highest_epoch() -> None:
    model = well()
    model.apply(replace(seen("checker"), id="checker2"))
    model.apply(replace(says("checker", {"mode": "standby", "epoch": 9}), id="checker2"))
    chosen = model.checker(T0)
    assert chosen is not None
    assert chosen.id == "checker"
    model.apply(gone("checker", T0))
    chosen = model.checker(T0)
    assert chosen is not None
    assert chosen.id == "checker2"
    assert model.checker(T0 + 60) is None


def test_lost_messages_are_remembered_by_the_moment() -> None:
    model = well()
    assert not model.lost_at
    model.apply(says("fleet", {"audit": {"lost": 2}}, T0 + 5))
    model.apply(says("fleet", {"audit": {"lost": 2}}, T0 + 9))
    assert model.lost_at == T0 + 5
    model.apply(seen("fleet", T0 + 20, boot=BOOT + 1))
    model.apply(says("fleet", {"audit": {"lost": 1}}, T0 + 20, boot=BOOT + 1))
    assert model.lost_at == T0 + 20
    model.apply(says("fleet", {"audit": {"lost": 3, "lost_at": T0 + 21}}, T0 + 25, boot=BOOT + 1))
    assert model.lost_at == T0 + 21


def test_a_start_is_over_when_every_step_is_done_and_every_node_online() -> None:
    model = ClusterModel("demo", embedded=True)
    model.apply(StartProgress(steps=(StepSeen("redis", done=True), StepSeen("nodes", done=False)), at=T0))
    model.apply(entries("n1", "n2"))
    model.apply(table(verdict("n1", NodeState.ONLINE), verdict("n2", NodeState.ONLINE)))
    assert [model.started] == [False]
    model.apply(StartProgress(steps=(StepSeen("redis", done=True), StepSeen("nodes", done=True)), at=T0))
    assert model.started
    other = ClusterModel("demo", embedded=True)
    other.apply(table(verdict("n1", NodeState.ONLINE), verdict("n2", NodeState.JOINING)))
    assert [other.started] == [False]
    other.apply(seen("checker"))
    other.apply(says("checker", leading({"n1": target("online"), "n2": target("online")})))
    assert other.started


def test_a_start_is_not_over_before_every_process_was_heard() -> None:
    model = ClusterModel("demo", embedded=True)
    model.apply(seen("supervisor"))
    model.apply(says("supervisor", running("n1")))
    for name in ("n1", "checker", "gateway", "fleet"):
        model.apply(seen(name))
        assert [model.started] == [False]
        model.apply(says(name, leading({"n1": target("online")}) if name == "checker" else {"state": "online"}))
    assert [model.started] == [True]
    model = ClusterModel("demo", embedded=True)
    model.apply(seen("supervisor"))
    model.apply(table(verdict("n1", NodeState.ONLINE)))
    assert [model.started] == [True]
    model.started = False
    model.apply(says("supervisor", {"start": {"ready": False}}))
    assert not model.started


def test_actions_wait_for_their_answers_and_are_bounded() -> None:
    model = well()
    for key in range(2 * ACTIONS_KEPT):
        model.apply(ActionAsked(key=key, text="drain n1", at=T0))
    model.apply(ActionAnswered(key=2 * ACTIONS_KEPT - 1, ok=True, message="done", at=T0 + 1))
    model.apply(ActionAnswered(key=0, ok=True, message="long gone", at=T0 + 1))
    assert len(model.actions) == ACTIONS_KEPT
    assert [asked.answer is not None for asked in model.actions].count(True) == 1


def test_complaints_are_mended_by_a_hello_and_bounded() -> None:
    model = well()
    model.apply(PeerGarbage(id="n1", reason="frame is not JSON", at=T0 + 1))
    assert [complaint.mended_at for complaint in model.garbage.values()] == [None]
    model.apply(seen("n1", T0 + 2))
    model.apply(seen("n1", T0 + 3))
    assert model.garbage["n1"].mended_at == T0 + 2
    for index in range(2 * BAD_MAX):
        model.apply(RegistryBad(id=f"x{index}", reason="?", at=T0))
    assert len(model.bad_entries) == BAD_MAX


def test_peers_nodes_and_samples_are_bounded() -> None:
    model = ClusterModel("demo")
    for index in range(PEERS_MAX + 5):
        model.apply(seen(f"n{index}"))
        model.apply(ProcessSample(id=f"n{index}", pid=1, cpu=1, rss=1, at=T0))
    assert (len(model.peers), len(model.nodes), len(model.samples)) == (PEERS_MAX, PEERS_MAX, PEERS_MAX)
    assert model.overflow == 10
    assert not model.apply(says("unknown", {}))
    assert not model.apply(beats("unknown", T0))
    assert not model.apply(gone("unknown", T0))
    assert not model.apply(HttpSample(id="unknown", ok=True, status=200, ms=1, at=T0))
    assert model.overflow > 10


def test_names_that_nobody_holds_any_more_are_forgotten() -> None:
    model = ClusterModel("demo")
    for index in range(PEERS_MAX // 2):
        model.apply(seen(f"n{index}"))
        model.apply(gone(f"n{index}", T0))
    model.apply(entries("n1"))
    assert list(model.nodes) == ["n1"]
    assert list(model.peers) == ["n1"]


def test_redis_is_away_since_it_went() -> None:
    model = well()
    for after in (1, 2, 3):
        model.apply(RedisSeen(state="away", detail="refused", at=T0 + after))
    assert model.redis_since == T0 + 1
    model.apply(happened(DrainAborted(node="n1"), T0 + 3, seq=1))
    model.apply(happened(DrainAborted(node="n1"), T0 + 3, seq=3))
    assert model.events_lost(T0 + 30) == 0
    model.apply(RedisSeen(state="ok", at=T0 + 30))
    assert model.events_lost(T0 + 31) == 0
    assert model.events_lost(T0 + 36) == 1
    alone = ClusterModel("demo")
    alone.apply(happened(DrainAborted(node="n1"), T0, seq=1))
    alone.apply(happened(DrainAborted(node="n1"), T0, seq=3))
    assert alone.events_lost(T0 + 9) == 1


def test_anything_is_heard_as_long_as_somebody_answers() -> None:
    model = ClusterModel("demo")
    assert not model.heard_anything(T0)
    model.apply(RedisSeen(state="ok", at=T0))
    assert model.heard_anything(T0 + 5)
    assert not model.heard_anything(T0 + 50)
    model.apply(seen("n1", T0 + 50))
    assert model.heard_anything(T0 + 50)
    assert model.processes(T0) == {}
    model.apply(ClusterEnded(reason="stopped", at=T0 + 51))
    assert model.ended is not None


@pytest.mark.parametrize("field", ["messages_in", "connections", "state", "audit", "targets", "processes"])
def test_a_state_of_the_wrong_shape_is_taken_for_unknown(field: str) -> None:
    values: list[Json] = [None, True, -5, 1e18 * 10, "x", [1], {"a": {"a": 1}}, [[]]]
    for value in values:
        model = well()
        for name in ("n1", "checker", "fleet", "supervisor"):
            assert model.apply(says(name, {field: value}, T0 + 1))
        model.listed()


KEYS = st.sampled_from(
    ["client", "node", "attempt", "delay_s", "ms", "outcome", "ttl_s", "fault", "target", "old", "new", "id", "count"]
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**320), 10**320),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(["n1", "c1", "online", "removed"]),
    st.just({"a": [1]}),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.dictionaries(KEYS, VALUES, max_size=6)), max_size=8))
def test_no_event_that_passes_the_decoder_breaks_the_model(told: list[tuple[str, JsonObject]]) -> None:
    model = well()
    for seq, (kind, fields) in enumerate(told):
        frame = EventFrame(source="fleet", boot=BOOT, seq=seq, at=T0, kind=kind, fields=fields)
        model.apply(Happened(event=frame, heard_at=T0))
    for lane in model.lanes:
        assert math.isfinite(lane.lost_at)
        assert lane.took_s is None or math.isfinite(lane.took_s)


def test_the_clock_of_a_peer_does_not_move_its_freshness() -> None:
    model = well()
    model.apply(PeerState(id="n1", boot=BOOT, rev=2, at=T0 + 9_999, state={}, heard_at=T0 + 1))
    assert model.peers["n1"].state_at == T0 + 1
    assert model.peers["n1"].fresh(T0 + 2)


def test_the_ledger_of_resumes_outlives_the_nodes() -> None:
    model = well(["n1", "n2"])
    model.apply(says("n1", {"resumes": {"ring": 4, "log": 1}}, T0 + 1))
    model.apply(says("n1", {"resumes": {"ring": 5, "log": 1}}, T0 + 2))
    model.apply(seen("n1", T0 + 3, boot=BOOT + 1))
    model.apply(says("n1", {"resumes": {"ring": 2}}, T0 + 4, boot=BOOT + 1))
    model.apply(says("n1", {"resumes": {"ring": 9}}, T0 + 5, boot=BOOT))
    node = model.nodes["n1"]
    assert (node.resumes_before, node.resumes) == ({"ring": 5, "log": 1}, {"ring": 2})
    model.apply(seen("n1", T0 + 6, boot=BOOT + 2))
    assert (node.resumes_before, node.resumes) == ({"ring": 7, "log": 1}, {})


def test_what_ailed_the_feeds_of_an_earlier_life_is_forgotten() -> None:
    model = well(["n1"])
    model.apply(says("n1", {"feeds": {"room.1": {"state": "gap"}}}, T0 + 1))
    assert [off.state for off in model.nodes["n1"].feeds_off] == ["gap"]
    model.apply(seen("n1", T0 + 2, boot=BOOT + 1))
    assert model.nodes["n1"].feeds_off == ()
