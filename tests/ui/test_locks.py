"""A console that is locked, or shows a recording, sends nothing, whatever is pressed."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import frames
from tests.support.frames import FakeLive, FakePlayer
from wsmon.commands import COMMANDS, USUAL_KEYS, Group
from wsmon.ui.app import WsmonApp
from wsmon.ui.screens.question import Question
from wsmon.ui.widgets.prompt import Prompt
from wsmon.views.frame import Playback

TERMINAL = {"TERM": "xterm-256color"}
KEYS = tuple(key for keys in USUAL_KEYS.values() for key in keys if key not in {"q", "ctrl+c"})
LETTERS = tuple("abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
ACTS = tuple(command for command in COMMANDS if command.group is Group.ACT)


def app_of(source: FakeLive | FakePlayer, directory: Path, *, armed: bool) -> WsmonApp:
    return WsmonApp(source, theme="dark", armed=armed, embedded=False, directory=directory, environ=TERMINAL)


def shown_by(app: WsmonApp) -> str:
    return "player" if isinstance(app.source, FakePlayer) else "live"


def may_act(app: WsmonApp) -> bool:
    return app.may_act


@pytest.mark.timeout(60)  # Hundreds of keys.
@pytest.mark.usefixtures("impatient")
async def test_locked_no_key_sends_anything(tmp_path: Path) -> None:
    live = FakeLive(frames.healthy())
    app = app_of(live, tmp_path, armed=False)
    async with app.run_test(size=(100, 30)) as pilot:
        for key in (*KEYS, *LETTERS[::-1], "enter", "y", "enter", "escape", "escape"):
            await pilot.press(key)
        for command in ACTS:
            await app.action_command(command.id)
        assert not may_act(app)
    assert live.actions == []
    assert live.armed is False


@pytest.mark.usefixtures("impatient")
async def test_in_a_replay_no_key_sends_anything_and_nothing_arms_it(tmp_path: Path) -> None:
    player = FakePlayer(frames.healthy())
    app = app_of(player, tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        assert not may_act(app)
        for key in (*KEYS, *LETTERS, "enter", "y", "escape"):
            await pilot.press(key)
            assert not isinstance(app.screen, Question)
        for command in ACTS:
            await app.action_command(command.id)
    assert player.actions == []


async def test_a_console_is_armed_by_the_name_of_its_cluster_only(tmp_path: Path) -> None:
    live = FakeLive(frames.healthy())
    app = app_of(live, tmp_path, armed=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("exclamation_mark", "enter", "enter", "escape")
        assert not may_act(app)
        await pilot.press("exclamation_mark", *"demo", "enter")
        await pilot.pause()
        assert may_act(app)
        assert [live.armed] == [True]
        await pilot.press("D", "y")
        await pilot.pause()
        assert [action.op for action in live.actions] == ["drain"]
        await pilot.press("exclamation_mark", "D", "y")
        assert [live.armed] == [False]
        assert len(live.actions) == 1


async def test_the_last_minutes_cannot_be_acted_on_and_live_can_again(tmp_path: Path) -> None:
    player = FakePlayer(frames.healthy())
    live = FakeLive(frames.removed(), player)
    app = app_of(live, tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_square_bracket")
        await pilot.pause()
        assert shown_by(app) == "player"
        assert player.told == [("step", -1)]
        await pilot.press("D", "X", "y")
        assert len(app.screen_stack) == 1
        await pilot.press("L")
        await pilot.pause()
        assert shown_by(app) == "live"
        assert player.told[-1] == ("close",)
        await pilot.press("D", "y")
    assert [action.op for action in live.actions] == ["drain"]
    assert player.actions == []


class Twin(FakePlayer):
    """The last minutes, to be looked through for incidents and notes yet."""

    def __init__(self, *, looked_to: float = math.inf, marks: tuple[float, ...] = (frames.AT - 20,)) -> None:
        super().__init__(frames.removed())
        self.look(looked_to, marks)

    def look(self, looked_to: float, marks: tuple[float, ...]) -> None:
        playback = Playback(
            at=frames.AT,
            start_at=frames.AT - 40,
            end_at=frames.AT,
            held=True,
            twin=True,
            marks=marks,
            looked_to=looked_to,
        )
        self.frame = replace(self.frame, playback=playback)


def told_by(app: WsmonApp) -> list[str]:
    return [note.message for note in app._notifications]


def on_screen(app: WsmonApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


async def test_from_live_the_first_press_goes_to_the_latest_incident(tmp_path: Path) -> None:
    player = Twin(marks=(frames.AT - 20, frames.AT - 0.2))
    app = app_of(FakeLive(frames.healthy(), player), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_curly_bracket")
        assert shown_by(app) == "player"
        assert player.told == [("seek", frames.AT - 0.2)]
        await pilot.press("left_curly_bracket")
        assert player.told[-1] == ("seek", frames.AT - 20)


async def test_live_stays_until_the_last_minutes_are_looked_through(tmp_path: Path) -> None:
    player = Twin(looked_to=0.0, marks=())
    app = app_of(FakeLive(frames.healthy(), player), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_curly_bracket", "left_curly_bracket")
        assert shown_by(app) == "live"
        assert may_act(app)
        player.look(frames.AT - 10, (frames.AT - 20,))
        app._land()
        assert shown_by(app) == "live"
        player.look(math.inf, (frames.AT - 20, frames.AT - 5))
        while shown_by(app) == "live":
            await pilot.pause()  # Nobody presses anything: it comes by itself.
        await pilot.pause()
        assert player.told == [("seek", frames.AT - 5)]
        assert told_by(app) == []


async def test_with_nothing_to_go_to_it_says_so_and_stays_live(tmp_path: Path) -> None:
    player = Twin(looked_to=0.0, marks=())
    app = app_of(FakeLive(frames.healthy(), player), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_curly_bracket")
        player.look(math.inf, ())
        app._land()
        await pilot.pause()
        assert told_by(app) == ["No incident and no note in the last minutes."]
        assert shown_by(app) == "live"
        assert player.told == [("close",)]
        await pilot.press("right_curly_bracket")
        assert told_by(app)[1:] == ["There is no later one."]
        assert shown_by(app) == "live"


async def test_in_the_past_a_jump_waits_for_what_is_not_looked_through_yet(tmp_path: Path) -> None:
    player = Twin(looked_to=frames.AT - 30, marks=(frames.AT - 35,))
    app = app_of(FakeLive(frames.healthy(), player), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_square_bracket", "left_curly_bracket")
        await pilot.pause()
        assert player.told == [("step", -1)]
        assert told_by(app) == []
        player.look(frames.AT, (frames.AT - 35, frames.AT - 20))
        app._land()
        assert player.told[1:] == [("seek", frames.AT - 20)]
        player.look(frames.AT, (frames.AT + 5,))
        await pilot.press("left_curly_bracket")
        assert told_by(app) == ["There is no earlier one."]
        assert shown_by(app) == "player"


@pytest.mark.parametrize("key", ["L", "escape", "p", "left_square_bracket"])
async def test_another_key_of_time_calls_a_waiting_jump_off(tmp_path: Path, key: str) -> None:
    player = Twin(looked_to=0.0, marks=())
    app = app_of(FakeLive(frames.healthy(), player), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_curly_bracket", key)
        assert player.told[0] == ("close",)
        player.look(math.inf, (frames.AT - 5,))
        app._land()
        assert not any(told[0] == "seek" for told in player.told)


async def test_escape_leaves_the_past_once_nothing_else_is_open(tmp_path: Path) -> None:
    player = Twin()
    app = app_of(FakeLive(frames.healthy(), player), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_square_bracket", "slash", *"n1", "enter", "question_mark")
        await pilot.pause()
        assert len(app.screen_stack) == 2
        await pilot.press("escape")  # Help.
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert " PAST 14:13:20 held " in on_screen(app)[0]
        assert on_screen(app)[-1].startswith(" L Live")
        await pilot.press("escape")  # The filter.
        assert shown_by(app) == "player"
        await pilot.press("escape")
        await pilot.pause()
        assert shown_by(app) == "live"
        assert "LIVE" in on_screen(app)[0]
        assert "L Live" not in on_screen(app)[-1]
        await pilot.press("escape")
        assert shown_by(app) == "live"


async def test_escape_leaves_pause(tmp_path: Path) -> None:
    app = app_of(FakeLive(frames.healthy()), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("p")
        assert " PAUSED " in on_screen(app)[0]
        await pilot.press("escape")
        assert "LIVE" in on_screen(app)[0]


async def test_escape_leaves_no_recording(tmp_path: Path) -> None:
    player = FakePlayer(frames.healthy())
    app = app_of(player, tmp_path, armed=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("p", "escape")
    assert player.told == [("hold", True)]


async def test_a_locked_console_says_what_arms_it(tmp_path: Path) -> None:
    live = FakeLive(frames.healthy())
    keymap = {**USUAL_KEYS, "arm": ("ctrl+a",), "drain": ("E",)}
    app = WsmonApp(live, theme="dark", armed=False, embedded=False, keymap=keymap, directory=tmp_path, environ=TERMINAL)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("E", "X", "D", "Q")
        assert told_by(app) == ["Locked: ^A arms this console."] * 2
        await pilot.press("slash", "X")
        assert len(told_by(app)) == 2
        await pilot.press("escape", "question_mark")
        await pilot.pause()
        await pilot.press("X")
        assert len(told_by(app)) == 2
    assert live.actions == []


async def test_a_recording_and_the_past_say_why_no_key_acts(tmp_path: Path) -> None:
    recording = app_of(FakePlayer(frames.healthy()), tmp_path, armed=False)
    async with recording.run_test(size=(100, 30)) as pilot:
        await pilot.press("D")
        assert told_by(recording) == ["A recording cannot be acted on."]
    app = app_of(FakeLive(frames.healthy(), Twin()), tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_square_bracket", "X", "exclamation_mark")
        assert told_by(app) == ["This is the past; L goes back to live."] * 2
        await pilot.press("escape", "X")
        assert len(app.screen_stack) == 2
        assert len(told_by(app)) == 2


async def test_a_way_out_without_a_key_is_named_by_its_entry_in_the_palette(tmp_path: Path) -> None:
    keymap = {**USUAL_KEYS, "arm": ()}
    app = WsmonApp(
        FakeLive(frames.healthy()),
        theme="dark",
        armed=False,
        embedded=False,
        keymap=keymap,
        directory=tmp_path,
        environ=TERMINAL,
    )
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("D")
        assert told_by(app) == ["Locked: “Arm or lock” in the palette arms this console."]


async def test_time_is_travelled_by_keys(tmp_path: Path) -> None:
    player = FakePlayer(frames.healthy())
    app = app_of(player, tmp_path, armed=False)
    at = frames.AT
    async with app.run_test(size=(100, 30)) as pilot:
        assert "REPLAY" in app.screen._compositor.render_strips()[0].text
        await pilot.press("p", "plus", "minus", "right_square_bracket", "left_curly_bracket", "right_curly_bracket")
        await pilot.press("b", *"-30", "enter")
        await pilot.pause()
        await pilot.press("L")
        assert player.told == [
            ("hold", True),
            ("speed", 2.0),
            ("speed", 0.5),
            ("step", 1),
            ("seek", at - 20),
            ("seek", at + 10),
            ("seek", at - 30),
            ("hold", True),
            ("seek", at + 40),
        ]


async def test_a_note_and_a_bundle_go_to_what_is_live(tmp_path: Path) -> None:
    live = FakeLive(frames.healthy())
    app = app_of(live, tmp_path, armed=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("i", *"switch moved", "enter")
        await pilot.pause()
        assert live.marks == ["switch moved"]
        assert not app.query_one(Prompt).display
        await pilot.press("o")
        await pilot.pause()
        assert [path.suffix for path in live.kept] == [".wsr"]


async def test_without_a_ring_there_is_no_way_back(tmp_path: Path) -> None:
    live = FakeLive(frames.healthy())
    app = app_of(live, tmp_path, armed=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("left_square_bracket")
        assert shown_by(app) == "live"
        assert may_act(app)


def test_the_player_of_these_tests_says_where_it_stands() -> None:
    playback = FakePlayer(replace(frames.healthy())).frame.playback
    assert playback == Playback(
        at=frames.AT, start_at=frames.AT - 40, end_at=frames.AT + 40, marks=(frames.AT - 20, frames.AT + 10)
    )
