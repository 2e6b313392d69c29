"""Nodes, reconnects and events: what their keys do, and that nothing is cut off on any screen."""

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from tests.support import frames
from tests.support.frames import AT, FakePlayer, FakeSource
from wsmon.commands import USUAL_KEYS
from wsmon.protocol.states import NodeState
from wsmon.ui.app import WsmonApp
from wsmon.ui.pages import nodes as nodes_page
from wsmon.ui.pages.events import EventsPage
from wsmon.ui.pages.nodes import NodesPage, Place
from wsmon.ui.pages.timeline import TimelinePage
from wsmon.ui.render.lines import MINUS, safe
from wsmon.ui.render.timeline import LEGEND
from wsmon.ui.widgets.detail import DetailPane
from wsmon.ui.widgets.events import EventList
from wsmon.ui.widgets.timeline import TimelinePane
from wsmon.views.beliefs_frame import Beliefs, Observer, Opinion
from wsmon.views.detail_frame import Fact, Measure, NodeDetail, Section, Strip
from wsmon.views.frame import Forecast, Frame, LedgerRow, PageName, Severity
from wsmon.views.truth_frame import Deed, Said, TruthLane, TruthLanes

SIZES = ((60, 15), (80, 24), (120, 36), (200, 60))
TERMINAL = {"TERM": "xterm-256color"}
LAST_FACT = "1790000000000"
DETAIL = NodeDetail(
    node="n2",
    state=NodeState.REMOVED,
    why="removed 4.0 s ago, 13 of 20 clients back: its process is gone (SIGKILL)",
    sections=(
        Section("why", (Fact("heartbeat", "3/3 missed, last answer 5.2 s ago", Severity.WARNING),)),
        Section("cost", (Fact("clients", "20 lost it, 13 back, 7 away", Severity.WARNING),)),
        Section("process", (Fact("boot", LAST_FACT),)),
    ),
    strips=(Strip(label="clients", measure=Measure.COUNT, now=None, values=(20.0,) * 120),),
    strips_s=240.0,
)
BELIEFS = Beliefs(
    nodes=("n1", "n2"),
    observers=(Observer(name="checker", leads=True, opinions=(Opinion(word="online"), Opinion(word="removed"))),),
)
LEDGER = (LedgerRow(at=AT - 5, who="ann@desk", text="kill n2", reason="a rehearsal"),)


def rich() -> Frame:
    """Return a frame with all that somebody may look at."""
    return replace(
        frames.removed(lanes=40),
        detail=DETAIL,
        beliefs=BELIEFS,
        ledger=LEDGER,
        events_lost=3,
        forecast=Forecast(handshakes_per_s=800.0),
    )


def app_of(frame: Frame, *, armed: bool = True) -> tuple[WsmonApp, FakeSource]:
    source = FakeSource(frame)
    return WsmonApp(source, theme="dark", armed=armed, embedded=True, environ=TERMINAL), source


def lines(app: WsmonApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


def text(app: WsmonApp) -> str:
    return "\n".join(lines(app))


async def settled(pilot: Pilot[int]) -> None:
    await pilot.pause()
    await pilot.pause()


async def show(pilot: Pilot[int], app: WsmonApp, source: FakeSource, frame: Frame) -> None:
    source.frame = frame
    app.poll()
    await pilot.pause()


def focused(app: WsmonApp) -> str | None:
    return None if app.focused is None else app.focused.id


# Nodes.


@pytest.mark.parametrize(
    ("width", "height", "where"),
    [
        (60, 12, Place.INSTEAD),
        (80, 22, Place.INSTEAD),
        (200, 20, Place.INSTEAD),
        (120, 32, Place.BESIDE_LOWER),
        (160, 32, Place.BESIDE_ALL),
    ],
)
def test_the_room_decides_where_the_node_in_full_stands(width: int, height: int, where: Place) -> None:
    assert nodes_page.place(width, height) is where


@pytest.mark.parametrize("size", [(120, 30), (120, 36), (160, 40), (200, 60)])
async def test_there_is_a_detail_pane_where_there_is_room(size: tuple[int, int]) -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        assert "13 of 20 clients back" in text(app)
        assert "20 lost it, 13 back, 7 away" in text(app)
        assert "─ reconnects" in text(app)
        assert "─ events" in text(app)
        await pilot.press("enter")
        assert isinstance(app.focused, DetailPane)
        assert "─ events" in text(app)
        await pilot.press("escape")
        assert focused(app) == "nodes"


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 24)])
async def test_enter_opens_the_node_in_place_of_the_lower_part_on_smaller_screens(size: tuple[int, int]) -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        assert "─ n2  ○ removed" not in text(app)
        await pilot.press("enter")
        await settled(pilot)
        assert "─ n2  ○ removed" in text(app)
        assert "─ events" not in text(app)
        assert "NODE" in text(app)
        await pilot.press("G")
        assert LAST_FACT in text(app)
        await pilot.press("escape")
        await settled(pilot)
        assert "─ events" in text(app)
        assert focused(app) == "nodes"


async def test_a_screen_that_grows_closes_what_was_open() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await pilot.resize_terminal(120, 36)
        await settled(pilot)
        assert "─ events" in text(app)
        assert "─ n2  ○ removed" in text(app)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("tabs", "head"), [(0, "NODE"), (1, "─ reconnects"), (2, "─ events")])
async def test_zoom_shows_the_pane_with_the_focus_alone(size: tuple[int, int], tabs: int, head: str) -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press(*["tab"] * tabs, "z")
        await settled(pilot)
        others = {"NODE", "─ reconnects", "─ events"} - {head}
        assert head in text(app)
        assert not [other for other in others if other in text(app)]
        pane = app.focused
        assert pane is not None
        assert pane.size == app.page.size
        await pilot.press("z")
        await settled(pilot)
        assert all(other in text(app) for other in others)


async def test_escape_ends_a_zoom_too() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("z", "escape")
        await settled(pilot)
        assert "─ events" in text(app)


async def test_who_believes_what_stands_where_there_is_much_room() -> None:
    app, source = app_of(rich())
    async with app.run_test(size=(200, 60)) as pilot:
        await settled(pilot)
        await show(pilot, app, source, replace(rich(), events_lost=0))
        assert "─ who sees whom" in text(app)
        await pilot.resize_terminal(120, 36)
        await settled(pilot)
        await show(pilot, app, source, rich())
        assert "─ who sees whom" not in text(app)


async def test_the_selected_node_is_what_is_looked_at() -> None:
    app, source = app_of(rich())
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        assert source.looking.node == "n1"
        await pilot.press("j")
        await settled(pilot)
        assert source.looking.node == "n2"


async def test_a_hint_is_there_until_the_first_key() -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "↑↓ choose a node, D drains it, X kills it, ? all keys" in text(app)
        await pilot.press("j")
        await show(pilot, app, source, frames.healthy(AT + 1))
        assert "choose a node" not in text(app)


async def test_a_locked_console_is_not_told_to_act() -> None:
    app, _ = app_of(frames.healthy(), armed=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "↑↓ choose a node, Enter tells more of it, ? all keys" in text(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_the_events_have_the_room_while_nobody_is_away(size: tuple[int, int]) -> None:
    app, source = app_of(frames.healthy())
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        events = app.query_one("#events", EventList)
        quiet = events.size.height
        await show(pilot, app, source, frames.removed())
        storm = events.size.height
        assert quiet >= 2 * storm
        await show(pilot, app, source, frames.starting())
        assert events.size.height < quiet - 2
        await show(pilot, app, source, frames.healthy(AT + 1))
        assert events.size.height == quiet


async def test_the_one_lane_of_a_small_screen_is_somebody_away() -> None:
    shown = rich().timeline
    lanes = tuple(sorted(shown.lanes, key=lambda lane: lane.away))
    app, _ = app_of(replace(rich(), timeline=replace(shown, lanes=lanes)))
    async with app.run_test(size=(60, 15)) as pilot:
        await settled(pilot)
        assert not lanes[0].away
        first = next(lane.client for lane in lanes if lane.away)
        assert any(line.startswith(f" {first} ") for line in lines(app))
        assert not any(line.startswith(f" {lanes[0].client} ") for line in lines(app))


async def test_the_detail_pane_begins_where_the_table_does() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(200, 60)) as pilot:
        await settled(pilot)
        side, table = app.query_one("#nodes-side"), app.query_one("#nodes")
        assert side.region.y == table.region.y
        assert side.region.x == table.region.right + 1


def test_the_hint_names_the_keys_that_hold() -> None:
    keymap = {**USUAL_KEYS, "kill": (), "drain": ("E",)}
    assert nodes_page.hint(keymap, armed=True) == "↑↓ choose a node, E drains it, ? all keys"


# Reconnects.


@pytest.mark.parametrize("size", SIZES)
async def test_the_radar_stands_above_the_lanes(size: tuple[int, int]) -> None:
    past = replace(DETAIL, node="", strips=(replace(DETAIL.strips[0], label="connected"),), sections=())
    app, _ = app_of(replace(rich(), detail=past))
    async with app.run_test(size=size) as pilot:
        await pilot.press("2")
        await settled(pilot)
        shown = text(app)
        assert "─ storm ahead  7 planned in 6 s · peak 3/s now" in shown
        assert "─ reconnects" in shown
        assert ("connected" in shown) is (size[1] > 15)
        await pilot.press("z")
        await settled(pilot)
        assert "storm" not in text(app)
        await pilot.press("z")
        await settled(pilot)
        assert "storm" in text(app)


async def timeline_page(pilot: Pilot[int], app: WsmonApp) -> TimelinePane:
    await pilot.press("2")
    await settled(pilot)
    assert isinstance(app.page, TimelinePage)
    pane = app.page.main
    assert isinstance(pane, TimelinePane)
    return pane


async def test_a_lane_is_selected_and_stays_selected() -> None:
    app, source = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await timeline_page(pilot, app)
        assert pane.selected == "c00"
        await pilot.press("j", "j")
        assert pane.selected == "c02"
        lanes = rich().timeline.lanes
        turned = replace(rich(), timeline=replace(rich().timeline, lanes=lanes[::-1]))
        await show(pilot, app, source, turned)
        assert pane.selected == "c02"
        assert any(line.startswith("▌c02") for line in lines(app))
        await pilot.press("G")
        assert pane.cursor == 39


async def test_enter_on_a_lane_goes_to_the_clients_story() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        await timeline_page(pilot, app)
        await pilot.press("j", "enter")
        await settled(pilot)
        assert app.page.NAME is PageName.SESSIONS


async def test_those_away_come_first_and_other_orders_are_named() -> None:
    lanes = rich().timeline.lanes
    mixed = tuple(lane for pair in zip(lanes[20:], lanes[:20], strict=True) for lane in pair)
    app, _ = app_of(replace(rich(), timeline=replace(rich().timeline, lanes=mixed)))
    async with app.run_test(size=(120, 36)) as pilot:
        pane = await timeline_page(pilot, app)
        away = [lane.away for lane in pane._timeline.lanes]
        assert away == sorted(away, reverse=True)
        await pilot.press("greater_than_sign")
        assert [lane.client for lane in pane._timeline.lanes][:3] == ["c00", "c01", "c02"]
        assert "─ reconnects  by name" in text(app)
        await pilot.press("I")
        assert pane._timeline.lanes[0].client == "c39"
        await pilot.press("I", "less_than_sign", "less_than_sign")
        assert pane._timeline.lanes == mixed


async def test_a_filter_leaves_only_the_lanes_that_hold_its_words() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(120, 36)) as pilot:
        pane = await timeline_page(pilot, app)
        await pilot.press("slash", *"!away", "enter")
        assert not any(lane.away for lane in pane._timeline.lanes)
        assert "26 of 40 hold “!away”" in text(app)
        await pilot.press("slash", *"nobody", "enter")
        assert "No lane holds that; esc shows all again." in text(app)
        await pilot.press("escape")
        assert len(pane._timeline.lanes) == 40


async def test_plus_and_minus_show_more_and_less_of_the_past() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(120, 36)) as pilot:
        await timeline_page(pilot, app)
        await pilot.press("plus", "plus")
        assert "last 40 s" in text(app)
        await pilot.press("minus", "minus", "minus", "minus", "minus")
        assert "last 5 s" in text(app)
        await pilot.press("escape")
        assert "last 5 s" not in text(app)


async def test_the_lanes_in_sight_tell_something_when_all_are_back() -> None:
    lanes = tuple(replace(lane, away=False, lost_at=AT - 30) for lane in rich().timeline.lanes)
    back = (replace(lanes[0], lost_at=AT - 20), *lanes[1:])
    app, source = app_of(replace(rich(), timeline=replace(rich().timeline, lanes=back)))
    async with app.run_test(size=(60, 15)) as pilot:
        await settled(pilot)
        pane = app.query_one("#timeline", TimelinePane)
        assert pane.reach_s == 21.0
        await pilot.resize_terminal(120, 36)
        await settled(pilot)
        assert pane.reach_s == 31.0
        away = (replace(lanes[0], away=True, lost_at=AT - 9), *lanes[1:])
        frame = replace(rich(), timeline=replace(rich().timeline, lanes=away))
        await show(pilot, app, source, frame)
        assert pane.reach_s == 10.0


async def test_a_click_on_the_ruler_selects_no_lane() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await timeline_page(pilot, app)
        await pilot.click(pane, offset=(4, 2))
        assert pane.selected == "c01"
        await pilot.click(pane, offset=(4, pane.size.height - 1))
        assert pane.selected == "c01"


async def test_an_empty_page_of_reconnects_says_what_a_lane_is_made_of() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(60, 15)) as pilot:
        await timeline_page(pilot, app)
        assert f"  {LEGEND}  " in text(app)


async def test_in_a_replay_plus_and_minus_are_its_pace() -> None:
    player = FakePlayer(rich())
    app = WsmonApp(player, theme="dark", armed=False, embedded=False, environ=TERMINAL)
    async with app.run_test(size=(120, 36)) as pilot:
        await timeline_page(pilot, app)
        await pilot.press("plus")
        assert ("speed", 2.0) in player.told


TRUTH = TruthLanes(
    now_at=AT,
    lanes=(
        TruthLane(
            node="n2",
            deeds=(Deed(what="freeze", since_at=AT - 20, until_at=None),),
            said=(Said(state=NodeState.REMOVED, since_at=AT - 18, until_at=None),),
            summary="freeze on, 20 s",
        ),
    ),
)


async def test_what_was_done_stands_above_the_lanes_on_the_same_axis() -> None:
    app, source = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        await timeline_page(pilot, app)
        assert "─ truth and verdict" not in text(app)
        await show(pilot, app, source, replace(rich(), truth=TRUTH))
        await settled(pilot)
        shown = lines(app)
        heads = [next(y for y, line in enumerate(shown) if line.startswith(head)) for head in ("─ truth", "─ reconn")]
        assert heads == sorted(heads)
        rulers = [line.split("now")[0] for line in shown if "now" in line and f"{MINUS}10" in line]
        assert len(rulers) == 2
        assert rulers[0] == rulers[1]
        assert "freeze on, 20 s" in text(app)
        await pilot.resize_terminal(60, 15)
        await settled(pilot)
        assert "─ truth and verdict" not in text(app)


async def test_what_was_done_stands_on_the_first_page_where_there_is_much_room() -> None:
    app, source = app_of(rich())
    async with app.run_test(size=(200, 60)) as pilot:
        await settled(pilot)
        await show(pilot, app, source, replace(rich(), truth=TRUTH))
        await settled(pilot)
        assert "─ truth and verdict" in text(app)
        await pilot.resize_terminal(120, 36)
        await settled(pilot)
        await show(pilot, app, source, replace(rich(), truth=TRUTH, events_lost=9))
        await settled(pilot)
        assert "─ truth and verdict" not in text(app)


# Events.


async def events_page(pilot: Pilot[int], app: WsmonApp) -> EventList:
    await pilot.press("3")
    await settled(pilot)
    assert isinstance(app.page, EventsPage)
    pane = app.page.main
    assert isinstance(pane, EventList)
    return pane


def many(number: int = 60) -> Frame:
    return replace(rich(), events=tuple(frames.event(n, f"event {n}", node="n1") for n in range(number)), ledger=())


async def test_the_list_follows_until_somebody_goes_up_and_stays_with_what_is_read() -> None:
    app, source = app_of(many())
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await events_page(pilot, app)
        await show(pilot, app, source, many(61))
        assert pane.follows
        assert pane.selected is not None
        assert pane.selected.text == "event 60"
        await pilot.press("k", "k")
        shown = [line for line in lines(app) if " event " in line]
        await show(pilot, app, source, many(70))
        assert [line for line in lines(app) if " event " in line] == shown
        assert (pane.selected.text, pane.above) == ("event 58", 9)
        await pilot.press("f")
        assert pane.follows
        assert pane.above == 0
        await pilot.press("f")
        await show(pilot, app, source, many(71))
        assert pane.selected.text == "event 69"


async def test_the_selected_event_is_always_in_sight() -> None:
    app, _ = app_of(many())
    async with app.run_test(size=(80, 24)) as pilot:
        await events_page(pilot, app)
        for keys in (["g"], ["pagedown"], ["pagedown", "k"], ["G"], ["pageup", "pageup", "pageup"], ["j"]):
            await pilot.press(*keys)
            assert sum(line.startswith("▌") for line in lines(app)) == 1


async def test_enter_opens_the_event_and_then_goes_to_whom_it_is_about() -> None:
    app, _ = app_of(many())
    async with app.run_test(size=(80, 24)) as pilot:
        await events_page(pilot, app)
        await pilot.press("enter")
        await settled(pilot)
        assert "told by checker, event 59 of run 1" in text(app)
        await pilot.press("k")
        assert "told by checker, event 58 of run 1" in text(app)
        await pilot.press("escape")
        await settled(pilot)
        assert "told by" not in text(app)
        await pilot.press("enter", "enter")
        await settled(pilot)
        assert isinstance(app.page, NodesPage)
        assert app.page.table.selected is not None
        assert app.page.table.selected.id == "n1"


async def test_the_least_severity_is_set_by_two_keys() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        await events_page(pilot, app)
        assert "20 clients lost n2" in text(app)
        await pilot.press("less_than_sign")
        assert "every single one" in text(app)
        assert "c11        is back on n3" in text(app)
        await pilot.press("greater_than_sign", "greater_than_sign", "greater_than_sign", "greater_than_sign")
        shown = [line for line in lines(app) if line[1:9].count(":") == 2]
        assert "the worst only" in text(app)
        assert len(shown) == 2
        await pilot.press("escape")
        assert "20 clients lost n2" in text(app)


async def test_a_filter_finds_single_events_and_says_how_many() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await events_page(pilot, app)
        await pilot.press("slash", *"client:c07", "enter")
        assert [row.text for row in pane._rows] == [
            "c07 lost n2 (1006 connection broken)",
            "c07 is back on n3 after 0.52 s, 3 replayed from the ring",
        ]
        assert "2 hold “client:c07”" in text(app)
        assert "3 never came" in text(app)
        await pilot.press("slash", *"zzz", "enter")
        assert "No event is like that; esc shows all again." in text(app)


async def test_actions_of_all_consoles_stand_below_where_there_is_room_and_w_brings_them() -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=(120, 36)) as pilot:
        await events_page(pilot, app)
        assert "✓ kill n2              ann@desk           a rehearsal" in text(app)
        await pilot.press("w")
        await settled(pilot)
        assert "ann@desk" not in text(app)
        await pilot.resize_terminal(80, 24)
        await pilot.press("w")
        await settled(pilot)
        assert "ann@desk" in text(app)


async def test_actions_take_no_more_lines_than_there_are() -> None:
    app, source = app_of(rich())
    async with app.run_test(size=(120, 36)) as pilot:
        await events_page(pilot, app)
        deeds = app.query_one("#events-actions")
        assert deeds.size.height == 2
        await show(pilot, app, source, replace(rich(), ledger=LEDGER * 3))
        assert deeds.size.height == 4
        await show(pilot, app, source, replace(rich(), ledger=LEDGER * 30))
        assert deeds.size.height == 8


@pytest.mark.parametrize("size", [(60, 15), (80, 24)])
async def test_a_prompt_tells_how_to_leave_it(size: tuple[int, int]) -> None:
    app, _ = app_of(rich())
    async with app.run_test(size=size) as pilot:
        await pilot.press("slash", *"n2")
        await settled(pilot)
        assert lines(app)[-2].startswith(" / n2 ")
        assert lines(app)[-2].endswith(" enter takes it · esc calls it off ")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", ["1", "2", "3"])
async def test_every_page_fits_every_screen(page: str, size: tuple[int, int]) -> None:
    app, source = app_of(rich())
    async with app.run_test(size=size) as pilot:
        await pilot.press(page, "enter")
        for name, example in frames.EXAMPLES.items():
            frame = replace(example(), detail=DETAIL, beliefs=BELIEFS, ledger=LEDGER)
            await show(pilot, app, source, frame)
            shown = lines(app)
            assert len(shown) == size[1], name
            assert all(line.isprintable() for line in shown), name
            assert safe(frame.header.cluster)[:8] in shown[0], name
            assert "uit" in shown[-1], name


async def test_the_longest_question_shows_its_buttons_and_keys_at_80_by_24() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "F")
        await settled(pilot)
        shown = text(app)
        assert "Break n2" in shown
        assert "Cancel" in shown
        assert "esc cancels" in shown


async def test_a_question_higher_than_the_screen_scrolls_to_the_field_that_asks() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.press("j", "F")
        await settled(pilot)
        assert "Type n2" in text(app)
        await pilot.press("n", "2", "tab")
        await settled(pilot)
        shown = text(app)
        assert "Reason" in shown
        assert "Break it" in shown


async def test_the_palette_marks_its_choice_and_has_no_wide_picture() -> None:
    app, _ = app_of(frames.healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        await settled(pilot)
        assert "Search for commands" in text(app)
        assert "🔎" not in text(app)
        strips = app.screen._compositor.render_strips()
        grounds = [
            {str(part.style.bgcolor) for part in strip if part.style and title in part.text}
            for title in ("Drain (D)", "Abort drain (A)")
            for strip in strips
            if title in strip.text
        ]
        assert len(grounds) == 2
        assert grounds[0] != grounds[1]
