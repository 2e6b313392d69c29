"""The dashboard, driven by keys and drawn from example frames."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import RenderableType
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon.commands import COMMANDS, Group
from wsmon.config import Settings
from wsmon.errors import ConfigError
from wsmon.protocol.states import NodeState
from wsmon.ui import run_ui
from wsmon.ui import theme as themes
from wsmon.ui.app import WsmonApp
from wsmon.ui.render.lines import safe
from wsmon.ui.screens.help import HelpScreen
from wsmon.ui.widgets.events import EventList
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.status import StatusBar
from wsmon.ui.widgets.table import LiveTable
from wsmon.ui.widgets.timeline import TimelinePane
from wsmon.views.frame import ActionRow, Audit, Frame

SIZES = ((60, 15), (80, 24), (120, 36), (200, 60))
TERMINAL = {"TERM": "xterm-256color"}


def app_of(frame: Frame, *, armed: bool = True, theme: str | None = "dark") -> tuple[WsmonApp, FakeSource]:
    source = FakeSource(frame)
    return WsmonApp(source, theme=theme, armed=armed, embedded=True, environ=TERMINAL), source


def screen_text(app: WsmonApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


async def show(pilot: Pilot[int], app: WsmonApp, source: FakeSource, frame: Frame) -> None:
    source.frame = frame
    app.poll()
    await pilot.pause()


def has_focus(app: WsmonApp) -> str | None:
    return None if app.focused is None else app.focused.id


async def settled(pilot: Pilot[int]) -> None:
    """Wait until the layout for this size has been drawn."""
    await pilot.pause()
    await pilot.pause()


def repaints(app: WsmonApp) -> dict[str, int]:
    return {pane.id or "": pane.repainted for pane in app.screen_stack[0].query(Pane)}


@pytest.mark.parametrize("size", SIZES)
async def test_every_frame_fits_every_screen(size: tuple[int, int]) -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=size) as pilot:
        for name, example in frames.EXAMPLES.items():
            frame = example()
            await show(pilot, app, source, frame)
            text = screen_text(app)
            assert len(text) == size[1], name
            assert all(line.isprintable() for line in text), name
            assert safe(frame.header.cluster)[:8] in text[0], name
            assert "quit" in text[-1].lower(), name


async def test_a_healthy_cluster_at_80_by_24() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)):
        text = screen_text(app)
    assert "● HEALTHY  3/3 online  60 clients        lost 0 / 12,345" in text[0]
    assert text[1].split()[:2] == ["NODE", "STATE"]
    assert [line.split()[:3] for line in text[3:5]] == [["n2", "●", "online"], ["n3", "●", "online"]]
    assert text[5].startswith("  n1     online for 5 m")
    assert text[6].split()[:2] == ["●", "redis"]
    assert text[7].split() == [
        "pub",
        "12345",
        "delivered",
        "740,700",
        "lost",
        "0",
        "dup",
        "0",
        "inverted",
        "0",
        "no",
        "ack",
        "0",
    ]
    assert text[8].startswith("─ reconnects ─")
    assert "All clients are connected" in text[9]


@pytest.mark.parametrize("size", SIZES)
async def test_a_lost_message_is_seen_on_every_screen(size: tuple[int, int]) -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        assert "✗" not in "".join(screen_text(app))
        await show(pilot, app, source, frames.harmed())
        assert any("✗ lost 3" in line for line in screen_text(app))


async def test_only_the_number_that_grew_is_repainted() -> None:
    frame = frames.healthy()
    app, source = app_of(frame)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        before = repaints(app)
        audit = replace(frame.header.audit or Audit(), delivered=740_760)
        await show(pilot, app, source, replace(frame, header=replace(frame.header, audit=audit)))
        after = repaints(app)
        assert {pane: n - before[pane] for pane, n in after.items() if n != before[pane]} == {"ledger": 1}


async def test_events_stand_beside_the_timeline_where_there_is_room() -> None:
    app, _ = app_of(frames.removed())
    async with app.run_test(size=(200, 60)) as pilot:
        await settled(pilot)
        heads = [line for line in screen_text(app) if "─ reconnects" in line]
        assert "─ events" in heads[0]
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        heads = [line for line in screen_text(app) if "─ reconnects" in line]
        assert "─ events" not in heads[0]


async def test_a_screen_that_is_too_small_has_one_honest_line() -> None:
    app, _ = app_of(frames.removed())
    async with app.run_test(size=(80, 24)) as pilot:
        for size in ((59, 24), (80, 14), (20, 3), (1, 1)):
            await pilot.resize_terminal(*size)
            text = screen_text(app)
            assert not "".join(text[1:]).strip()
            assert "◐ degraded 2/3 · "[: size[0]].startswith(text[0][:10].rstrip("…"))
        await pilot.resize_terminal(80, 24)
        assert "─ reconnects" in "\n".join(screen_text(app))


async def test_an_equal_frame_repaints_nothing() -> None:
    app, source = app_of(frames.removed())
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        before = repaints(app)
        await show(pilot, app, source, frames.removed())
        assert repaints(app) == before


async def test_only_the_lines_that_changed_are_repainted() -> None:
    frame = frames.healthy()
    app, source = app_of(frame)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        before = repaints(app)
        busier = replace(frame.nodes[1], messages_out_s=1_300.0)
        await show(pilot, app, source, replace(frame, nodes=(frame.nodes[0], busier, frame.nodes[2])))
        after = repaints(app)
        assert after["nodes"] == before["nodes"] + 1
        assert {pane: n for pane, n in after.items() if n != before[pane]} == {"nodes": after["nodes"]}


async def test_a_second_that_passes_repaints_the_clock_only() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        before = repaints(app)
        await show(pilot, app, source, frames.healthy(frames.AT + 1))
        changed = {pane for pane, count in repaints(app).items() if count != before[pane]}
        assert changed == {"status"}


async def test_the_selection_moves_and_stays_with_its_node() -> None:
    frame = frames.healthy()
    app, source = app_of(frame)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        await pilot.press("j")
        assert table.selected is not None
        assert table.selected.id == "n2"
        assert screen_text(app)[5].startswith("  n2 ")
        await pilot.press("G")
        assert table.cursor == 2
        await pilot.press("g", "k")
        assert table.cursor == 0
        await pilot.press("down")
        await show(pilot, app, source, replace(frame, nodes=(frames.node("n0"), *frame.nodes)))
        assert table.selected.id == "n2"
        await show(pilot, app, source, replace(frame, nodes=()))
        assert table.selected is None


async def test_a_click_selects_a_node() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.click(LiveTable, offset=(10, 3))
        assert app.query_one(LiveTable).cursor == 2


async def test_many_nodes_scroll_with_the_selection() -> None:
    nodes = tuple(frames.node(f"n{number}") for number in range(1, 101))
    app, _ = app_of(replace(frames.healthy(), nodes=nodes))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        assert table.size.height <= 10
        await pilot.press("G")
        assert any(line.startswith("▌ n100") for line in screen_text(app))
        await pilot.press("pageup")
        assert any(line.startswith("▌ n90") for line in screen_text(app))


async def test_tab_goes_round_the_panes_and_keys_scroll_there() -> None:
    app, _ = app_of(frames.removed(lanes=40))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab", "j", "j")
        assert has_focus(app) == "timeline"
        assert app.query_one(TimelinePane).selected == "c02"
        await pilot.press("G")
        assert "c39" in "\n".join(screen_text(app))
        assert app.query_one(TimelinePane).top > 0
        await pilot.press("tab", "k")
        assert has_focus(app) == "events"
        assert not app.query_one(EventList).follows
        await pilot.press("g")
        assert app.query_one(EventList).above > 0
        await pilot.press("tab")
        assert has_focus(app) == "nodes"


async def test_a_list_that_is_scrolled_up_stays_with_what_is_read() -> None:
    frame = replace(frames.healthy(), events=tuple(frames.event(n, f"event {n}") for n in range(40)))
    app, source = app_of(frame)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab", "tab", "k", "k", "k")
        before = [line for line in screen_text(app) if " event " in line]
        more = (*frame.events, frames.event(40, "event 40"), frames.event(41, "event 41"))
        await show(pilot, app, source, replace(frame, events=more))
        assert [line for line in screen_text(app) if " event " in line] == before


async def test_pause_holds_the_picture_and_live_goes_on_with_the_newest() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p")
        assert " PAUSED " in screen_text(app)[0]
        await show(pilot, app, source, frames.removed())
        assert "HEALTHY" in screen_text(app)[0]
        await pilot.press("p")
        assert "DEGRADED" in screen_text(app)[0]
        assert "LIVE" in screen_text(app)[0]


async def test_the_start_shows_its_steps_and_then_the_timeline() -> None:
    app, source = app_of(frames.starting())
    async with app.run_test(size=(80, 24)) as pilot:
        text = "\n".join(screen_text(app))
        assert "─ starting  2 of 5" in text
        assert "✓ redis" in text
        await show(pilot, app, source, frames.healthy())
        text = "\n".join(screen_text(app))
        assert "starting" not in text
        assert "─ reconnects" in text


@pytest.mark.parametrize("paused", [False, True])
async def test_the_end_is_said_even_when_paused(paused: bool) -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        if paused:
            await pilot.press("p")
        await show(pilot, app, source, frames.ended())
        assert "the cluster is gone" in screen_text(app)[1]
        assert "q leaves" in screen_text(app)[1]


async def test_q_leaves_with_success() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.parametrize("before", [(), ("X",), ("question_mark",), ("ctrl+p",)])
async def test_ctrl_c_leaves_from_everywhere(before: tuple[str, ...]) -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test() as pilot:
        await pilot.press(*before, "ctrl+c")
        await pilot.pause()
        assert app._exit
    assert app.return_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test() as pilot:
        os.kill(os.getpid(), number)
        while not app._exit:
            await pilot.pause()
    assert app.return_code == 128 + number


async def test_help_lists_keys_and_closes() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(140, 90)) as pilot:
        await pilot.press("question_mark")
        text = "\n".join(screen_text(app))
        assert all(command.help in text for command in COMMANDS)
        await pilot.press("j", "pagedown", "q", "q")
        assert not isinstance(app.screen, HelpScreen)


async def test_the_palette_offers_our_commands_and_runs_them() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"hold the pic")
        await app.workers.wait_for_complete()
        await pilot.press("enter", "enter")
        await pilot.pause()
        assert app.paused


@pytest.mark.usefixtures("impatient")
async def test_locked_no_key_asks_for_anything() -> None:
    app, source = app_of(frames.healthy(), armed=False)
    async with app.run_test(size=(80, 24)) as pilot:
        assert "locked" in screen_text(app)[0]
        for command in COMMANDS:
            if command.group is Group.ACT:
                assert not any(key in app._bindings.key_to_bindings for key in command.keys)
                await pilot.press(*command.keys)
                await app.action_command(command.id)
                await pilot.press("y", "enter")
        assert len(app.screen_stack) == 1
    assert source.actions == []


@pytest.mark.usefixtures("impatient")
async def test_letters_in_lower_case_never_act() -> None:
    app, source = app_of(frames.removed())
    async with app.run_test() as pilot:
        for letter in "abcdefhijklmnoprstuvwxyz":
            await pilot.press(letter)
        assert len(app.screen_stack) == 1
    assert source.actions == []


async def test_outcomes_are_told_once_and_as_plain_text() -> None:
    told = ActionRow(key=1, at=frames.AT, text="[red]drain[/red] n1", done=True, ok=False, message="n1 [b]refused")
    waiting = replace(told, done=False)
    app, source = app_of(replace(frames.healthy(), actions=(waiting,)))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        assert len(app._notifications) == 0
        await show(pilot, app, source, replace(frames.healthy(), actions=(told,)))
        await show(pilot, app, source, replace(frames.removed(), actions=(told,)))
        await settled(pilot)
        assert [note.message for note in app._notifications] == ["failed: [red]drain[/red] n1: n1 [b]refused"]
        assert "[red]drain[/red] n1" in "\n".join(screen_text(app))


async def test_outcomes_from_before_are_not_told_again() -> None:
    done = ActionRow(key=1, at=frames.AT, text="drain n1", done=True, ok=True)
    app, source = app_of(replace(frames.healthy(), actions=(done,)))
    async with app.run_test() as pilot:
        await show(pilot, app, source, replace(frames.removed(), actions=(done,)))
        assert len(app._notifications) == 0


@pytest.mark.parametrize("name", themes.names())
async def test_every_shipped_theme_draws_every_part(name: str) -> None:
    app, source = app_of(frames.healthy(), theme=name)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        app.say("hello")
        await pilot.press("X")
        await pilot.pause()
        await pilot.press("escape", "question_mark", "escape", "ctrl+p")
        await pilot.pause()
        await pilot.press("escape")
        await show(pilot, app, source, frames.removed())
        assert "DEGRADED" in screen_text(app)[0]


@pytest.mark.parametrize("name", ["dark", "light", "terminal", "mono"])
@pytest.mark.parametrize("colorless", [False, True])
async def test_panes_draw_what_textual_would(name: str, *, colorless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if colorless:
        monkeypatch.setenv("NO_COLOR", "1")
    app, _ = app_of(frames.removed(), theme=name)
    async with app.run_test(size=(120, 36)) as pilot:
        for keys in ((), ("question_mark",), ("escape", "X")):
            await pilot.press(*keys)
            await settled(pilot)
            for screen in app.screen_stack:
                for pane in screen.query(Pane):
                    for crop in (pane.size.region, pane.size.region.shrink((0, 3, 0, 2))):
                        if crop:
                            ours, theirs = pane.render_lines(crop), Widget.render_lines(pane, crop)
                            assert [list(strip) for strip in ours] == [list(strip) for strip in theirs], pane


@pytest.mark.parametrize("size", [*SIZES, (120, 29), (100, 40), (160, 30)])
async def test_the_first_screen_is_laid_out_for_the_terminal_at_once(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WsmonApp, "size", Size(*size))
    app, _ = app_of(frames.healthy())
    drawn: list[frozenset[str]] = []
    display = WsmonApp._display

    def note(self: WsmonApp, screen: Screen[object], renderable: RenderableType | None) -> None:
        drawn.append(screen.classes | self.page.classes)
        display(self, screen, renderable)

    monkeypatch.setattr(WsmonApp, "_display", note)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
    assert set(drawn[:3]) == {drawn[-1]}


def test_a_theme_that_cannot_be_used_leaves_python_as_it_was() -> None:
    with pytest.raises(ConfigError):
        run_ui(FakeSource(frames.healthy()), Settings(theme="none such"), armed=True, embedded=True)
    assert gc.isenabled()


async def test_without_colour_there_is_really_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = WsmonApp(FakeSource(frames.removed()), theme="dark", armed=True, embedded=True)
    async with app.run_test(size=(100, 30)) as pilot:
        for keys in ((), ("X",), ("escape", "question_mark"), ("escape", "ctrl+p")):
            await pilot.press(*keys)
            await pilot.pause()
            for strip in app.screen._compositor.render_strips():
                for segment in strip:
                    for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                        assert color is None or color.is_default


@pytest.mark.parametrize("keys", [(), ("X",), ("D",), ("question_mark",)])
async def test_a_terminal_with_ascii_only_gets_nothing_else(keys: tuple[str, ...]) -> None:
    source = FakeSource(frames.removed())
    app = WsmonApp(source, theme=None, armed=True, embedded=True, environ={"TERM": "linux"})
    assert app.look.name == "terminal"
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        app.say("n1 → n2")
        await pilot.press(*keys)
        await pilot.pause()
        assert all(line.isascii() for line in screen_text(app))


async def test_hostile_text_is_drawn_as_text_in_dialogs_too() -> None:
    app, source = app_of(frames.hostile())
    async with app.run_test(size=(80, 24)) as pilot:
        for key in ("D", "X"):
            await pilot.press(key)
            await pilot.pause()
            assert all(line.isprintable() for line in screen_text(app))
            await pilot.press("escape")
        await show(pilot, app, source, replace(frames.hostile(), ended=""))
        assert app.query_one(StatusBar).size.height == 1


async def test_starting_needs_a_process_that_is_gone() -> None:
    app, source = app_of(frames.removed())
    async with app.run_test() as pilot:
        await pilot.press("S")
        assert source.actions == []
        assert [note.message for note in app._notifications] == ["n1 is running; there is nothing to start."]
        await pilot.press("j", "S")
    assert [(action.op, action.node, dict(action.args)) for action in source.actions] == [("start", "n2", {})]


async def test_a_node_that_left_can_be_started() -> None:
    gone = replace(frames.healthy(), nodes=(frames.node(state=NodeState.LEFT),))
    app, source = app_of(gone)
    async with app.run_test() as pilot:
        await pilot.press("S")
    assert [action.op for action in source.actions] == ["start"]


async def test_abort_needs_a_drain() -> None:
    app, source = app_of(frames.draining())
    async with app.run_test() as pilot:
        await pilot.press("A", "j", "A")
        assert [(action.op, action.node) for action in source.actions] == [("abort", "n1")]
        assert [note.message for note in app._notifications] == ["n2 is online; there is no drain to abort."]


async def test_without_a_node_nothing_can_be_done() -> None:
    app, source = app_of(replace(frames.healthy(), nodes=()))
    async with app.run_test() as pilot:
        await pilot.press("D", "X", "S", "A")
        assert len(app.screen_stack) == 1
    assert source.actions == []


class TellingSource(FakeSource):
    """Says when there is another frame."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self.news: Callable[[], None] = lambda: None


async def test_news_of_another_thread_is_drawn_at_once_and_news_after_the_end_hurt_nobody() -> None:
    source = TellingSource(frames.healthy())
    app = WsmonApp(source, theme="dark", armed=True, embedded=True, environ=TERMINAL)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app._timer is not None
        app._timer.cancel()  # So that only the news can bring it.
        source.frame = frames.removed()
        await asyncio.to_thread(source.news)
        await pilot.pause()
        assert "removed" in "\n".join(screen_text(app))
    await asyncio.to_thread(source.news)


async def test_a_picture_that_was_to_be_drawn_when_the_app_ended_is_not() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
    shown = app._shown
    source.frame = frames.removed()
    app.poll()
    assert app._shown is shown


async def test_the_footer_names_the_cure_while_a_fault_is_on() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(120, 40)) as pilot:
        assert "H Heal" not in screen_text(app)[-1]
        await show(pilot, app, source, replace(frames.healthy(), nodes=(frames.node(fault="freeze"),)))
        assert "H Heal" in screen_text(app)[-1]
