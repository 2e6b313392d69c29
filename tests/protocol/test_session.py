"""Two sessions talk to each other without any I/O."""

from itertools import pairwise

import pytest

from wsmon.errors import LocalProtocolError, RemoteProtocolError
from wsmon.protocol.codec import decode_frame, encode_frame
from wsmon.protocol.frames import (
    Actor,
    Beat,
    Command,
    Delta,
    EventFrame,
    Hello,
    Ping,
    Pong,
    Query,
    Result,
    Snapshot,
    Subscribe,
)
from wsmon.protocol.session import (
    BEAT_S,
    EVENTS_QUEUED,
    REVISIONS_KEPT,
    ServedSession,
    StateChanged,
    StateLog,
    WatchSession,
)
from wsmon.protocol.states import PeerKind, Role

ACTOR = Actor(user="u", host="h")


def hello(role: Role = Role.CONTROL) -> Hello:
    return Hello(kind=PeerKind.NODE, id="n1", boot=7, pid=1, host="h", version="1", role=role, ops=("drain",))


def event(seq: int) -> str:
    return encode_frame(EventFrame(source="n1", boot=7, seq=seq, at=1.0, kind="x", fields={}))


class Pair:
    """A served and a watching session with a perfect wire between them."""

    def __init__(self, role: Role = Role.CONTROL) -> None:
        self.log = StateLog(boot=7)
        self.served = ServedSession(hello(role), self.log, now=0.0)
        self.watch = WatchSession(interval_ms=100)
        self.told: list[object] = []

    def exchange(self, now: float) -> list[object]:
        """Carry everything both ways; return what the watcher learned."""
        told: list[object] = []
        for _ in range(3):
            told += [self.watch.receive(text) for text in self.served.take(now=now, at=now, lag_ms=0.0)]
            for text in self.watch.take():
                self.served.receive(text, now=now)
        return [item for item in told if item is not None]


def test_a_watcher_gets_hello_then_the_whole_state_then_differences() -> None:
    pair = Pair()
    pair.log.publish({"state": "joining", "connections": 0}, at=0.0)
    first = pair.exchange(now=0.0)
    assert isinstance(first[0], Hello)
    assert first[1] == StateChanged(1, 7, 0.0, {"state": "joining", "connections": 0})
    pair.log.publish({"state": "online", "connections": 0}, at=1.0)
    (change,) = [item for item in pair.exchange(now=0.5) if isinstance(item, StateChanged)]
    assert change.patch == {"state": "online"}
    assert change.state == {"state": "online", "connections": 0}


def test_states_come_no_faster_than_asked_for_and_then_only_the_newest() -> None:
    pair = Pair()
    pair.log.publish({"x": 0}, at=0.0)
    pair.exchange(now=0.0)
    for step in range(1, 10):
        pair.log.publish({"x": step}, at=0.0)
        assert pair.exchange(now=0.01 * step) == []
    assert pair.served.deadline == pytest.approx(0.1)
    (change,) = pair.exchange(now=0.1)
    assert isinstance(change, StateChanged)
    assert change.state == {"x": 9}


def test_a_watcher_can_ask_for_another_pace_and_goes_on_from_what_it_knows() -> None:
    pair = Pair()
    pair.log.publish({"x": 0}, at=0.0)
    pair.exchange(now=0.0)
    pair.watch.pace(1_000)
    pair.exchange(now=0.05)
    pair.log.publish({"x": 1}, at=0.0)
    assert [type(item) for item in pair.exchange(now=0.1)] == [StateChanged]
    pair.log.publish({"x": 2}, at=0.0)
    assert pair.exchange(now=0.9) == []
    (told,) = [item for item in pair.exchange(now=2.0) if isinstance(item, StateChanged)]
    assert told.patch == {"x": 2}
    pair.watch.pace(100)
    pair.exchange(now=2.02)
    pair.log.publish({"x": 3}, at=0.0)
    assert [type(item) for item in pair.exchange(now=2.05)] == [StateChanged]
    assert pair.watch.resubscribed == 0


def test_a_watcher_that_asks_for_another_pace_before_the_first_state_gets_the_whole_of_it() -> None:
    pair = Pair()
    pair.watch.pace(500)
    pair.log.publish({"x": 0}, at=0.0)
    assert pair.exchange(now=0.0)[-1] == StateChanged(1, 7, 0.0, {"x": 0})
    pair.log.publish({"x": 1}, at=0.0)
    assert pair.exchange(now=0.4) == []
    assert [type(item) for item in pair.exchange(now=0.5)] == [StateChanged]


def test_an_unchanged_state_is_not_sent_but_a_beat_is_every_second() -> None:
    pair = Pair()
    pair.log.publish({"x": 0}, at=0.0)
    pair.exchange(now=0.0)
    assert not pair.log.publish({"x": 0}, at=5.0)
    assert pair.exchange(now=0.9) == []
    assert pair.served.deadline == BEAT_S
    assert pair.exchange(now=1.0) == [Beat(rev=1, at=1.0, lag_ms=0.0)]


def test_beats_go_with_the_states_of_a_watcher_that_wants_one_a_second() -> None:
    pair = Pair()
    pair.watch.pace(1_000)
    pair.log.publish({"x": 0}, at=0.0)
    pair.exchange(now=0.0)
    took = {}
    for tick in range(1, 60):
        pair.log.publish({"x": tick}, at=0.0)
        told = pair.exchange(now=0.3 + tick / 10)
        if told:
            took[tick] = [type(item) for item in told]
    beats = [tick for tick, kinds in took.items() if Beat in kinds]
    assert all(later - earlier <= 10 for earlier, later in pairwise(beats))
    assert list(took.values())[-4:] == [[StateChanged, Beat]] * 4


@pytest.mark.parametrize("begun_at", [0.0, 0.05, 0.3, 0.99])
def test_a_watcher_that_wants_one_state_a_second_gets_it_with_the_clocks_seconds(begun_at: float) -> None:
    pair = Pair()
    pair.watch.pace(1_000)
    told = []
    for tick in range(800):
        now = begun_at + tick / 100
        pair.log.publish({"x": tick}, at=0.0)
        if any(isinstance(item, StateChanged) for item in pair.exchange(now)):
            told.append(now)
    assert all(later - earlier > 0.9 for earlier, later in pairwise(told))
    assert all(later - earlier < 2.0 for earlier, later in pairwise(told))
    assert len(told) >= 7
    assert [now % 1.0 < 0.011 or now % 1.0 > 0.999 for now in told[1:]] == [True] * (len(told) - 1)


def test_a_slow_watcher_gets_one_fresh_snapshot_instead_of_a_queue() -> None:
    pair = Pair()
    pair.log.publish({"x": 0}, at=0.0)
    pair.exchange(now=0.0)
    for step in range(1, REVISIONS_KEPT + 2):
        pair.log.publish({"x": step}, at=0.0)
    texts = pair.served.take(now=0.5, at=0.5, lag_ms=0.0)
    assert len(texts) == 1
    frame = decode_frame(texts[0])
    assert isinstance(frame, Snapshot)
    assert frame.state == {"x": REVISIONS_KEPT + 1}


def test_watchers_at_the_same_revision_share_one_encoded_delta() -> None:
    log = StateLog(boot=7)
    log.publish({"x": 0}, at=0.0)
    log.publish({"x": 1}, at=0.0)
    assert log.since(1) is log.since(1)
    assert isinstance(decode_frame(log.since(1)), Delta)
    assert isinstance(decode_frame(log.since(99)), Snapshot)


def test_a_hole_in_the_revisions_makes_the_watcher_ask_again() -> None:
    pair = Pair()
    pair.log.publish({"x": 0}, at=0.0)
    pair.exchange(now=0.0)
    assert pair.watch.receive(encode_frame(Delta(rev=9, prev=8, at=0.0, patch={"x": 5}))) is None
    assert pair.watch.resubscribed == 1
    assert [decode_frame(text) for text in pair.watch.take()] == [Subscribe(interval_ms=100)]


def test_events_wait_in_a_bounded_queue_and_the_oldest_go_first() -> None:
    pair = Pair()
    pair.exchange(now=0.0)
    for seq in range(EVENTS_QUEUED + 10):
        pair.served.notify(event(seq))
    assert pair.served.events_dropped == 10
    assert pair.served.wants_write
    told = [item for item in pair.exchange(now=0.1) if isinstance(item, EventFrame)]
    assert (told[0].seq, told[-1].seq, len(told)) == (10, EVENTS_QUEUED + 9, EVENTS_QUEUED)


def test_nobody_gets_events_before_subscribing() -> None:
    served = ServedSession(hello(), StateLog(boot=7), now=0.0)
    served.notify(event(1))
    assert [type(decode_frame(text)) for text in served.take(now=0.0, at=0.0, lag_ms=0.0)] == [Hello]


def test_a_reader_may_ask_but_not_command() -> None:
    pair = Pair(Role.READ)
    pair.exchange(now=0.0)
    assert pair.served.receive(encode_frame(Command(id="c1", op="drain", actor=ACTOR)), now=0.0) is None
    (result,) = pair.served.take(now=0.0, at=0.0, lag_ms=0.0)
    answer = pair.watch.receive(result)
    assert isinstance(answer, Result)
    assert answer.error is not None
    assert answer.error.code == "read_only"
    query = Query(id="q", what="connections", limit=1)
    assert pair.served.receive(encode_frame(query), now=0.0) == query


def test_an_unknown_operation_is_answered_with_those_that_exist() -> None:
    pair = Pair()
    pair.exchange(now=0.0)
    pair.served.receive(encode_frame(Command(id="c1", op="explode", actor=ACTOR)), now=0.0)
    answer = pair.watch.receive(pair.served.take(now=0.0, at=0.0, lag_ms=0.0)[0])
    assert isinstance(answer, Result)
    assert answer.error is not None
    assert "there are: drain" in answer.error.message


def test_a_known_command_is_handed_to_the_shell() -> None:
    pair = Pair()
    pair.exchange(now=0.0)
    command = Command(id="c1", op="drain", actor=ACTOR)
    assert pair.served.receive(encode_frame(command), now=0.0) == command


def test_pings_are_answered_by_both_sides() -> None:
    pair = Pair()
    pair.exchange(now=0.0)
    pair.watch.request(Ping(id="p1", at=1.0))
    assert Pong(id="p1", at=1.0) in pair.exchange(now=0.1)
    pair.watch.receive(encode_frame(Ping(id="p2", at=2.0)))
    assert [decode_frame(text) for text in pair.watch.take()] == [Pong(id="p2", at=2.0)]


@pytest.mark.parametrize(
    "frame",
    [
        '"type":"ping","at":1',
        '"type":"query","what":"log","limit":1',
        '"type":"command","op":"drain","args":{},"actor":{"user":"u","host":"h"}',
    ],
)
def test_an_id_that_no_answer_could_repeat_is_refused(frame: str) -> None:
    pair = Pair()
    with pytest.raises(RemoteProtocolError, match="surrogate"):
        pair.served.receive(f'{{"id":"\\ud800",{frame}}}', now=0.0)
    for text in pair.served.take(now=0.0, at=0.0, lag_ms=0.0):
        text.encode()


def test_a_watcher_refuses_a_peer_that_does_not_begin_with_hello() -> None:
    with pytest.raises(RemoteProtocolError, match="began with beat"):
        WatchSession().receive(encode_frame(Beat(rev=1, at=1.0, lag_ms=0)))


def test_a_watcher_refuses_another_version_instead_of_guessing() -> None:
    text = encode_frame(hello()).replace('"protocol":1', '"protocol":2')
    with pytest.raises(RemoteProtocolError, match="speaks admin protocol 2"):
        WatchSession().receive(text)


def test_a_watcher_refuses_a_snapshot_of_another_boot() -> None:
    watch = WatchSession()
    watch.receive(encode_frame(hello()))
    with pytest.raises(RemoteProtocolError, match="boot 8"):
        watch.receive(encode_frame(Snapshot(rev=1, boot=8, at=1.0, state={})))


def test_sides_do_not_swap() -> None:
    pair = Pair()
    pair.exchange(now=0.0)
    with pytest.raises(RemoteProtocolError, match="does not send hello"):
        pair.served.receive(encode_frame(hello()), now=0.0)
    with pytest.raises(RemoteProtocolError, match="does not send subscribe"):
        pair.watch.receive(encode_frame(Subscribe()))


def test_unknown_frames_are_counted_and_otherwise_ignored() -> None:
    pair = Pair()
    pair.exchange(now=0.0)
    assert pair.watch.receive('{"type":"hologram"}') is None
    assert pair.served.receive('{"type":"hologram"}', now=0.0) is None
    assert pair.watch.unknown_frames == 1


def test_a_request_before_hello_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        WatchSession().request(Ping(id="p", at=0.0))
