"""Questions before dangerous actions: hurried keys do nothing, and the numbers are those of now."""

from dataclasses import replace

import pytest
from textual.events import Key
from textual.widgets import Input

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon.protocol.states import NodeState
from wsmon.ui.app import WsmonApp
from wsmon.ui.screens.question import Push, Question
from wsmon.views.frame import Frame


def app_of(frame: Frame) -> tuple[WsmonApp, FakeSource]:
    source = FakeSource(frame)
    environ = {"TERM": "xterm-256color"}
    return WsmonApp(source, theme="dark", armed=True, embedded=True, environ=environ), source


def alone() -> Frame:
    """One node online, the other removed."""
    return replace(
        frames.healthy(), nodes=(frames.node("n1"), frames.node("n2", state=NodeState.REMOVED, process="exited"))
    )


def screen_text(app: WsmonApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("key", ["D", "X"])
@pytest.mark.parametrize(
    "then",
    [
        ("enter",),
        ("enter", "enter"),
        ("enter", "enter", "enter", "enter"),
        ("space",),
        ("escape",),
        ("tab", "escape"),
        ("q", "enter"),
        ("up", "enter", "enter"),
    ],
)
async def test_hurried_keys_do_nothing(key: str, then: tuple[str, ...]) -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test() as pilot:
        await pilot.press(key, *then)
    assert source.actions == []


@pytest.mark.parametrize(("key", "focused"), [("D", "cancel"), ("C", "cancel"), ("X", "name"), ("R", "name")])
async def test_cancel_has_the_focus_or_the_empty_field_for_the_name(key: str, focused: str) -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test() as pilot:
        await pilot.press(key)
        assert app.focused is not None
        assert app.focused.id == focused


async def test_keys_that_are_typed_ahead_go_where_they_are_meant_to() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test() as pilot:
        for key in ("j", "X", "down", "n", "2", "tab", *"so it is", "enter", "enter", "j"):
            app.post_message(Key(key, {"down": None, "tab": "\t", "enter": "\r"}.get(key, key)))
        while not source.actions:
            await pilot.pause()
    [action] = source.actions
    assert (action.op, action.node, dict(action.args)) == ("kill", "n2", {"signal": "KILL"})
    assert action.reason == "so it is"


async def test_enter_right_behind_the_name_acts_without_a_reason() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test() as pilot:
        for key in ("j", "X", "n", "2", "enter"):
            app.post_message(Key(key, "\r" if key == "enter" else key))
        while not source.actions:
            await pilot.pause()
    assert [(action.op, action.node, action.reason) for action in source.actions] == [("kill", "n2", "")]


async def test_enters_right_behind_a_wrong_name_do_nothing_and_say_what_is_missing() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        for key in ("j", "X", "n", "1", *("enter",) * 3):
            app.post_message(Key(key, "\r" if key == "enter" else key))
        await pilot.pause()
        app.poll()
        await pilot.pause()
        assert "Type n2 to agree" in screen_text(app)
        await pilot.press("backspace")
        assert "type the name, enter · tab reason" in screen_text(app)
        await pilot.press("2", "tab")
        assert "a reason or none, then enter" in screen_text(app)
    assert source.actions == []


async def test_the_name_is_asked_for_again_when_it_was_spoilt_behind_its_enter() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "X", *"n2", "tab", *"why", "shift+tab", "x", "tab", "enter")
        assert app.focused is app.screen.query_one("#name")
        assert "Type n2 to agree" in screen_text(app)
        await pilot.press("backspace", "enter")
    assert [(action.op, action.reason) for action in source.actions] == [("kill", "why")]


async def test_y_drains_and_n_does_not() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test() as pilot:
        await pilot.press("j", "D", "n")
        assert source.actions == []
        await pilot.press("D", "y", "y", "y")
    [action] = source.actions
    assert (action.op, action.node, dict(action.args), action.reason) == ("drain", "n2", {}, "")
    assert len(action.key) == 32


async def test_a_reason_goes_along_and_its_enter_does_not_agree() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test() as pilot:
        await pilot.press("D")
        app.screen.query_one("#reason", Input).focus()
        await pilot.press(*"yes, a new kernel", "enter")
        assert source.actions == []
        assert app.focused is app.screen.query_one("#agree")
        await pilot.press("enter")
    assert [action.reason for action in source.actions] == ["yes, a new kernel"]


async def test_the_drain_shows_where_the_connections_go() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("D")
        await pilot.pause()
        text = screen_text(app)
    assert "20 connections move to the others" in text
    assert "n2          20  → 30" in text
    assert "2 of 3 nodes stay online." in text


async def test_the_numbers_follow_while_the_dialog_is_open_and_the_view_is_paused() -> None:
    frame = frames.healthy()
    app, source = app_of(frame)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p", "D")
        source.frame = replace(frame, nodes=(frames.node("n1", connections=44), *frame.nodes[1:]))
        app.poll()
        await pilot.pause()
        assert "44 connections move" in screen_text(app)


async def test_the_last_node_online_needs_its_name() -> None:
    app, source = app_of(alone())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("D")
        await pilot.pause()
        assert "n1 is the last node online." in screen_text(app)
        await pilot.press("y")
        assert source.actions == []
        await pilot.press("backspace", *"n1", "enter")
    assert [(action.op, action.node) for action in source.actions] == [("drain", "n1")]


async def test_a_drain_that_becomes_the_last_one_asks_for_the_name_after_all() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test() as pilot:
        await pilot.press("D")
        source.frame = alone()
        app.poll()
        await pilot.press("y", "enter")
        assert isinstance(app.screen, Question)
    assert source.actions == []


@pytest.mark.parametrize(
    ("steps", "sent"), [((), "TERM"), (("down",), "KILL"), (("down",) * 2, "STOP"), (("down",) * 9, "CONT")]
)
async def test_a_kill_needs_signal_and_name(steps: tuple[str, ...], sent: str) -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "X", *steps, *"n2", "enter")
    [action] = source.actions
    assert (action.op, action.node, dict(action.args)) == ("kill", "n2", {"signal": sent})


@pytest.mark.parametrize("typed", ["", "n", "n1", "N2", "n2x", "y"])
async def test_another_name_kills_nothing(typed: str) -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "X", "down", "tab", *typed, "enter")
        app.screen.query_one("#agree", Push).focus()
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Question)
        assert "Type n2 to agree" in screen_text(app)
    assert source.actions == []


async def test_buttons_can_be_clicked() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("D")
        await pilot.click("#cancel")
        assert source.actions == []
        await pilot.press("D")
        await pilot.click("#agree")
    assert [action.op for action in source.actions] == ["drain"]


async def test_no_other_command_works_behind_a_dialog() -> None:
    app, source = app_of(frames.removed())
    async with app.run_test() as pilot:
        await pilot.press("j", "X")
        app.screen.query_one("#cancel", Push).focus()
        await pilot.press("ctrl+p", "escape")
        assert len(app.screen_stack) == 1
    assert source.actions == []
