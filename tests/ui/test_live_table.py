"""The table of nodes, driven by keys: sorted, filtered, marked."""

from dataclasses import replace

from textual.events import Key

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon.protocol.states import NodeState
from wsmon.ui.app import WsmonApp
from wsmon.ui.widgets.prompt import Prompt
from wsmon.ui.widgets.table import LiveTable
from wsmon.views.frame import Frame, NodeRow, PageName


def app_of(frame: Frame) -> tuple[WsmonApp, FakeSource]:
    source = FakeSource(frame)
    return WsmonApp(source, theme="dark", armed=True, embedded=True, environ={"TERM": "xterm-256color"}), source


def uneven() -> Frame:
    nodes = (
        frames.node("n1", connections=5),
        frames.node("n2", connections=70, state=NodeState.SUSPECT),
        frames.node("n3", connections=30),
        frames.node("n10", connections=None),
    )
    return replace(frames.healthy(), nodes=nodes)


def ids(table: LiveTable[NodeRow]) -> list[str]:
    return [row.id for row in table.rows]


async def test_rows_are_sorted_by_the_column_that_was_chosen() -> None:
    app, source = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        await pilot.press("greater_than_sign")
        assert table.order.column == "node"
        while table.order.column != "connections":
            await pilot.press("greater_than_sign")
        assert ids(table) == ["n2", "n3", "n1", "n10"]
        await pilot.press("I")
        assert ids(table) == ["n1", "n3", "n2", "n10"]
        source.frame = replace(uneven(), nodes=(frames.node("n1", connections=99), *uneven().nodes[1:]))
        app.poll()
        await pilot.pause()
        assert ids(table) == ["n3", "n2", "n1", "n10"]
        assert table.selected is not None
        assert table.selected.id == "n1"


async def test_the_first_row_is_selected_until_somebody_chooses_whichever_row_comes_first() -> None:
    one, two, three = (frames.node(name) for name in ("n1", "n2", "n3"))
    app, source = app_of(replace(frames.healthy(), nodes=(two,)))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        assert table.selected is not None
        assert table.selected.id == "n2"
        source.frame = replace(frames.healthy(), nodes=(one, two))
        app.poll()
        await pilot.pause()
        assert table.selected.id == "n1"
        await pilot.press("j")
        assert table.selected.id == "n2"
        source.frame = replace(frames.healthy(), nodes=(frames.node("n0"), one, two, three))
        app.poll()
        await pilot.pause()
        assert table.selected.id == "n2"


async def test_a_filter_is_typed_and_taken_away() -> None:
    app, source = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        await pilot.press("slash", *"susp")
        await pilot.pause()
        assert ids(table) == ["n2"]
        await pilot.press("enter")
        await pilot.pause()
        assert not app.query_one(Prompt).display
        assert app.focused is table
        await pilot.press("D")
        await pilot.pause()
        await pilot.press("y")
        assert [action.node for action in source.actions] == ["n2"]
        await pilot.press("escape")
        assert ids(table) == ["n1", "n2", "n3", "n10"]


async def test_going_to_a_node_takes_a_filter_away_that_hides_it_and_leaves_one_that_does_not() -> None:
    app, _ = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        table.filter("n1")
        await app.go_to(PageName.NODES, node="n10")
        assert (table.wanted, table.selected and table.selected.id) == ("n1", "n10")
        await app.go_to(PageName.NODES, node="n99")
        assert (table.wanted, table.selected and table.selected.id) == ("n1", "n10")
        await app.go_to(PageName.NODES, node="n2")
        await pilot.pause()
        assert (table.wanted, table.selected and table.selected.id) == ("", "n2")


async def test_a_filter_that_is_called_off_shows_all_again() -> None:
    app, _ = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"nothing")
        await pilot.pause()
        assert "Nothing holds “nothing”" in "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        await pilot.press("escape")
        await pilot.pause()
        assert len(app.query_one(LiveTable).rows) == 4


async def test_typing_a_filter_presses_no_key() -> None:
    app, source = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"qDXSARH!1p")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert not app._exit
        assert not app.paused
    assert source.actions == []


async def test_marked_nodes_are_drained_together_after_the_name_of_the_cluster() -> None:
    app, source = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("g", "space", "space", "D")
        await pilot.pause()
        await pilot.press("y", "enter", "enter")
        assert source.actions == []
        await pilot.press("backspace", *"demo", "enter", "enter")
        await pilot.pause()
        assert [(action.op, action.node) for action in source.actions] == [("drain", "n1"), ("drain", "n2")]


async def test_marks_go_with_escape_before_the_filter_does() -> None:
    app, _ = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        await pilot.press("slash", *"online", "enter", "space")
        await pilot.pause()
        assert len(table._marks) == 1
        await pilot.press("escape")
        assert not table._marks
        assert table.wanted == "online"
        await pilot.press("escape")
        assert table.wanted == ""


async def test_trouble_is_found() -> None:
    app, _ = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        await pilot.press("n")
        assert table.selected is not None
        assert table.selected.id == "n2"


async def test_sets_of_columns_are_gone_through() -> None:
    app, _ = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:

        def titles() -> str:
            return app.screen._compositor.render_strips()[1].text

        assert "PID" not in titles()
        await pilot.press("w", "w")
        assert "PID" in titles()
        await pilot.press("w", "w")
        assert "PID" not in titles()


async def test_a_click_on_a_title_sorts() -> None:
    app, _ = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(LiveTable)
        at = app.screen._compositor.render_strips()[1].text.index("CONN")
        await pilot.click(LiveTable, offset=(at, 0))
        assert table.order.column == "connections"


async def test_a_filter_that_is_typed_ahead_presses_no_key() -> None:
    app, _ = app_of(uneven())
    async with app.run_test(size=(80, 24)) as pilot:
        for key in ("slash", *"susp", "enter"):
            app.post_message(Key(key, "/" if key == "slash" else "\r" if key == "enter" else key))
        table = app.query_one(LiveTable)
        while table.wanted != "susp" or app.query_one(Prompt).display:
            await pilot.pause()
        assert ids(table) == ["n2"]
        assert not app.paused
