"""The screen of keys, columns and states, and the keys at the foot while something is broken."""

import pytest

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon.commands import USUAL_KEYS, Keymap
from wsmon.ui.app import WsmonApp
from wsmon.ui.render.lines import text_of
from wsmon.ui.screens.help import HelpPane, HelpScreen
from wsmon.ui.widgets.footer import KeyBar


def app_of(keymap: Keymap = USUAL_KEYS) -> WsmonApp:
    return WsmonApp(
        FakeSource(frames.healthy()),
        theme="dark",
        armed=True,
        embedded=True,
        keymap=keymap,
        environ={"TERM": "xterm-256color"},
    )


def seen(app: WsmonApp) -> list[str]:
    pane = app.screen.query_one(HelpPane)
    return [text_of(line).rstrip() for line in pane.picture(*pane.size)]


@pytest.mark.parametrize(("last", "first"), [("G", "g"), ("end", "home")])
@pytest.mark.parametrize("size", [(60, 15), (80, 24), (160, 50)])
async def test_the_keys_to_both_ends_work_as_help_itself_says(last: str, first: str, size: tuple[int, int]) -> None:
    app = app_of()
    async with app.run_test(size=size) as pilot:
        await pilot.press("question_mark")
        top = seen(app)
        assert top[1] == " Look"
        assert "more ↓" in top[0]
        await pilot.press(last)
        bottom = seen(app)
        assert bottom[-1].endswith("than the node's.")
        assert "more ↓" not in bottom[0]
        await pilot.press(first)
        assert seen(app) == top


async def test_a_page_is_what_is_in_sight_and_nothing_is_skipped() -> None:
    app = app_of()
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.press("question_mark")
        before = seen(app)
        for _ in range(3):
            await pilot.press("pagedown")
            after = seen(app)
            assert after[1:3] == before[-2:]
            before = after
        await pilot.press("pageup", "pageup", "pageup", "j", "k")
        assert seen(app)[1] == " Look"


async def test_keys_come_first_then_what_leaving_means_then_columns_and_states() -> None:
    app = app_of()
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.press("question_mark")
        lines = [text_of(line).rstrip() for line in app.screen.query_one(HelpPane)._body(51)]
    order = [lines.index(line) for line in (" Look", " wsmon", " Columns of nodes, page 1", " States of nodes")]
    assert order == sorted(order)
    assert order[1] < lines.index(" This console runs the cluster: leaving ends both.") < order[2]
    assert max(map(len, lines)) <= 51


async def test_other_keys_move_and_close_it_where_they_are_mapped_so() -> None:
    app = app_of({**USUAL_KEYS, "last": ("E",), "down": ("q", "t"), "help": ("Q",)})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("Q")
        top = seen(app)
        await pilot.press("t")
        assert seen(app)[1:3] == top[2:4]
        await pilot.press("E")
        assert "more ↓" not in seen(app)[0]
        await pilot.press("Q")
        assert not isinstance(app.screen, HelpScreen)
        await pilot.press("Q")
        await pilot.press("q")
        assert not isinstance(app.screen, HelpScreen), "what closes it closes it whatever else the key does"


def test_the_key_bar_names_the_cure_only_while_a_fault_is_on() -> None:
    bar = KeyBar(USUAL_KEYS, armed=True)
    told = []
    for armed, fault in ((True, False), (True, True), (False, True), (True, False)):
        bar.show(armed=armed, playback=None, fault=fault)
        [line] = bar.picture(120, 1)
        told.append("H Heal" in text_of(line))
    assert told == [False, True, False, False]
