"""The thread that plays a recording to a user interface."""

import math
import threading
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.support.tale import tale
from tests.support.taping import opened, taped
from wsmon.commands import Action
from wsmon.model.inputs import Marked
from wsmon.ports import Player
from wsmon.recording.recording import Recording
from wsmon.recording.tape import Tape
from wsmon.replaying import FASTEST, SLOWEST, PlayerThread, Replay
from wsmon.views.frame import Frame, Looking, PageName, Playback

ITEMS = tale(11, seconds=20, failover_every=0.12)


@cache
def data() -> bytes:
    return taped(ITEMS, tape=Tape("demo", segment_s=4))


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recording() -> Recording:
    return opened(data())


@pytest.fixture
def player(recording: Recording, clock: Clock) -> Iterator[PlayerThread]:
    player = PlayerThread(recording, clock=clock, hold=True)
    yield player
    player.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    pause = threading.Event()
    for _ in range(5_000):
        if holds():
            return
        pause.wait(0.002)
    raise AssertionError("it did not come")


def playback(player: PlayerThread) -> Playback:
    told = player.frame.playback
    assert told is not None
    return told


def stands_at(player: PlayerThread, at: float) -> None:
    until(lambda: abs(playback(player).at - at) < 1e-6 and abs(player.frame.header.at - at) < 1e-6)


def test_it_is_a_player(player: PlayerThread) -> None:
    assert isinstance(player, Player)


def test_it_begins_at_the_beginning(player: PlayerThread, recording: Recording) -> None:
    stands_at(player, recording.start_at)
    told = playback(player)
    assert (told.start_at, told.end_at, told.held, told.twin, told.note) == (
        recording.start_at,
        recording.end_at,
        True,
        False,
        "",
    )


def test_seeking_shows_what_was_to_be_seen_then(player: PlayerThread, recording: Recording) -> None:
    for offset in (12.0, 3.0, 17.5):
        player.seek(recording.start_at + offset)
        stands_at(player, recording.start_at + offset)
        expected = Replay(opened(data()))
        expected.seek(recording.start_at + offset)
        frame = expected.frame(Looking())
        assert player.frame.nodes == frame.nodes
        assert player.frame.events == frame.events
    player.seek(0)
    stands_at(player, recording.start_at)
    player.seek(1e12)
    stands_at(player, recording.end_at)


def test_steps_hold_and_go_by_half_a_second_both_ways(player: PlayerThread, recording: Recording) -> None:
    player.hold(on=False)
    player.step(4)
    stands_at(player, recording.start_at + 2)
    assert playback(player).held
    player.step(-1)
    stands_at(player, recording.start_at + 1.5)
    player.step(-100)
    stands_at(player, recording.start_at)


def test_it_plays_as_fast_as_it_is_told_and_holds_at_the_end(
    player: PlayerThread, recording: Recording, clock: Clock
) -> None:
    player.hold(on=False)
    clock.now += 2
    stands_at(player, recording.start_at + 2)
    player.speed(4)
    clock.now += 1
    stands_at(player, recording.start_at + 6)
    player.hold(on=True)
    clock.now += 50
    until(lambda: playback(player).held)
    stands_at(player, recording.start_at + 6)
    player.hold(on=False)
    clock.now += 50
    stands_at(player, recording.end_at)
    until(lambda: playback(player).held)


def test_the_speed_is_bounded(player: PlayerThread) -> None:
    player.speed(1e9)
    until(lambda: playback(player).speed == FASTEST)
    player.speed(0)
    until(lambda: playback(player).speed == SLOWEST)


def test_a_held_replay_draws_nothing(player: PlayerThread, recording: Recording, clock: Clock) -> None:
    until(lambda: bool(playback(player).marks))
    stands_at(player, recording.start_at)
    frame = player.frame
    clock.now += 5
    with player._came:
        player._came.notify()
    assert player.frame is frame


def test_incidents_and_markers_are_marks(player: PlayerThread) -> None:
    until(lambda: bool(playback(player).marks))
    assert {item.at for item in ITEMS if isinstance(item, Marked)} < set(playback(player).marks)


def test_it_says_how_far_it_has_looked_for_marks(player: PlayerThread) -> None:
    until(lambda: playback(player).looked_to == math.inf)
    assert playback(player).marks


def test_marks_are_known_up_to_where_the_scout_is() -> None:
    replay = Replay(opened(data()))
    assert replay.looked_to < replay.recording.end_at
    while replay.look_ahead(50):
        assert replay.looked_to <= replay.recording.end_at
    assert replay.looked_to == math.inf


def test_the_marks_of_a_twin_come_with_its_first_picture(recording: Recording, clock: Clock) -> None:
    first = Replay(opened(data())).frame(Looking())
    player = PlayerThread(recording, twin=True, first=first, at=recording.end_at, hold=True, clock=clock)
    try:
        stands_at(player, recording.end_at)
        assert playback(player).looked_to == math.inf
        assert playback(player).marks
    finally:
        player.close()


def test_nothing_can_be_done_to_a_recording(player: PlayerThread) -> None:
    player.perform(Action(op="kill", node="n1", args={}, reason="", dry_run=False, key="k"))
    player.perform(Action(op="drain", node="n1", args={}, reason="", dry_run=False, key="k"))
    until(lambda: len(player.frame.actions) == 2)
    one, two = player.frame.actions
    assert (one.text, one.done, one.ok) == ("kill n1", True, False)
    assert "recording" in one.message
    assert one.key < two.key


def test_what_is_looked_at_is_drawn(player: PlayerThread, recording: Recording) -> None:
    stands_at(player, recording.start_at)
    before = player.frame
    player.look_at(Looking(page=PageName.SESSIONS, client="c01"))
    until(lambda: player.frame is not before)


def test_a_twin_shows_live_until_it_has_its_own_picture(recording: Recording, clock: Clock) -> None:
    live = Replay(opened(data()))
    live.to_the_end()
    first = live.frame(Looking())
    player = PlayerThread(recording, twin=True, first=first, at=recording.end_at, hold=True, clock=clock)
    try:
        assert isinstance(player.frame, Frame)
        assert playback(player).twin
        assert playback(player).at == recording.end_at
        stands_at(player, recording.end_at)
        until(lambda: player.frame.nodes == first.nodes)
    finally:
        player.close()


def test_damage_is_told(clock: Clock) -> None:
    player = PlayerThread(opened(data()[:-200]), clock=clock, hold=True)
    try:
        assert "cut off" in playback(player).note
    finally:
        player.close()


def test_a_failure_of_the_thread_ends_in_the_picture(
    recording: Recording, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(replay: Replay, at: float) -> None:
        raise ValueError("a bug of ours")

    player = PlayerThread(recording, clock=clock, hold=True)
    until(lambda: bool(playback(player).marks))
    monkeypatch.setattr(Replay, "seek", broken)
    player.seek(recording.start_at + 5)
    until(lambda: "a bug of ours" in playback(player).note)
    assert playback(player).looked_to == math.inf
    player.close()
