"""A console that is locked, or shows a recording, sends nothing, whatever is pressed."""

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

KEYS = tuple(key for keys in USUAL_KEYS.values() for key in keys if key not in {"q", "ctrl+c"})
LETTERS = tuple("abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
ACTS = tuple(command for command in COMMANDS if command.group is Group.ACT)


def app_of(source: FakeLive | FakePlayer, directory: Path, *, armed: bool) -> WsmonApp:
    return WsmonApp(
        source, theme="dark", armed=armed, embedded=False, directory=directory, environ={"TERM": "xterm-256color"}
    )


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
