"""The pages of sessions and of Redis, driven by keys, drawn from a model as it is."""

import math
import random

import pytest
from textual.pilot import Pilot

from tests.support.facts import T0, gone, happened, says, well
from tests.support.frames import HOSTILE, FakeSource
from tests.ui.test_app import TERMINAL, screen_text, settled
from wsmon.model.cluster import ClusterModel
from wsmon.protocol.events import ClientLost, EventBody, Resumed
from wsmon.protocol.frames import Json, JsonObject
from wsmon.ui.app import WsmonApp
from wsmon.ui.pages.redis import RedisPage
from wsmon.ui.pages.sessions import SessionsPage
from wsmon.ui.render import channels, sessions
from wsmon.ui.render.lines import safe
from wsmon.views.build import build_frame
from wsmon.views.frame import Looking, PageName

SIZES = ((60, 15), (80, 24), (120, 36), (200, 60))


class ModelSource(FakeSource):
    """Draws a model for whatever is looked at, as an engine does."""

    def __init__(self, model: ClusterModel, now: float) -> None:
        super().__init__(build_frame(model, now))
        self.model, self.now, self.looked = model, now, Looking()

    def look_at(self, looking: Looking) -> None:
        """Draw at once."""
        self.looked = looking
        self.draw()

    def draw(self) -> None:
        """Draw once more."""
        self.frame = build_frame(self.model, self.now, self.looked)


def cluster(*, clients: int = 30) -> ClusterModel:
    """A client that was lost and came back, one that is away, a feed with a gap, an open breaker."""
    model = well(clients=clients)
    told: JsonObject = {f"c{index:02}": {"state": "connected", "node": "n1"} for index in range(1, clients + 1)}
    model.apply(says("fleet", {"clients": clients, "connected": clients, "clients_state": told}, T0, rev=2))
    story: tuple[EventBody, ...] = (
        ClientLost(client="c03", node="n1", code=1006),
        Resumed(client="c03", node="n2", how="ring", ms=310.0, replayed=4),
        ClientLost(client="c05", node="n1", code=1006),
    )
    for seq, body in enumerate(story, 1):
        model.apply(happened(body, T0 + seq, seq=seq))
    for index, (word, seq) in enumerate((("live", 172), ("gap", 160), ("live", 172)), 1):
        feeds: JsonObject = {"lobby": {"state": word, "seq": seq, "members": 10}, "room": {"state": "live", "seq": 9}}
        model.apply(says(f"n{index}", {"state": "online", "feeds": feeds, "redis": {"state": "ok"}}, T0 + 1, rev=2))
    model.apply(says("gateway", {"breakers": {"n2": {"state": "open", "retry_in_s": 9}}}, T0 + 3, rev=2))
    return model


def app_of(model: ClusterModel, now: float = T0 + 4) -> tuple[WsmonApp, ModelSource]:
    source = ModelSource(model, now)
    return WsmonApp(source, theme="dark", armed=True, embedded=True, environ=TERMINAL), source


async def drawn(pilot: Pilot[int], app: WsmonApp) -> list[str]:
    """Let what is looked at and what is drawn come to rest."""
    for _ in range(3):
        app.poll()
        await settled(pilot)
    return screen_text(app)


async def go(pilot: Pilot[int], app: WsmonApp, key: str) -> list[str]:
    await settled(pilot)
    await pilot.press(key)
    return await drawn(pilot, app)


def sessions_page(app: WsmonApp) -> SessionsPage:
    page = app.page
    assert isinstance(page, SessionsPage)
    return page


def redis_page(app: WsmonApp) -> RedisPage:
    page = app.page
    assert isinstance(page, RedisPage)
    return page


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["4", "5"])
async def test_both_pages_fit_every_screen(key: str, size: tuple[int, int]) -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=size) as pilot:
        lines = await go(pilot, app, key)
        assert len(lines) == size[1]
        assert all(len(line) == size[0] for line in lines)
        text = "\n".join(lines)
        assert ("c03" in text and "life of" in text) if key == "4" else ("lobby" in text and "who sees whom" in text)


async def test_the_digit_opens_the_sessions_and_the_first_life() -> None:
    app, source = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        lines = await go(pilot, app, "4")
        assert source.looked == Looking(page=PageName.SESSIONS, client="c01", node=source.looked.node)
        assert any("life of c01" in line for line in lines)
        assert any("nothing has happened to it" in line for line in lines)


async def test_another_row_tells_another_life() -> None:
    app, source = app_of(cluster())
    async with app.run_test(size=(160, 36)) as pilot:
        await go(pilot, app, "4")
        await pilot.press("down", "down")
        text = "\n".join(await drawn(pilot, app))
        assert source.looked.client == "c03"
        assert "life of c03" in text
        assert "back on n2 after 0.31 s, 4 replayed from the ring" in text


async def test_n_finds_the_client_that_is_away() -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "4")
        await pilot.press("n")
        row = sessions_page(app).table.selected
        assert row is not None
        assert row.client == "c05"


async def test_the_life_follows_and_scrolls() -> None:
    model = cluster()
    for seq in range(10, 80):
        body: EventBody = (
            Resumed(client="c03", node="n2", how="ring", ms=float(seq), replayed=seq)
            if seq % 2
            else ClientLost(client="c03", node="n2", code=1006)
        )
        model.apply(happened(body, T0 + 3, seq=seq))
    app, source = app_of(model)
    async with app.run_test(size=(120, 30)) as pilot:
        await go(pilot, app, "4")
        await pilot.press("down", "down")
        assert any("79 replayed" in line for line in await drawn(pilot, app))
        await pilot.press("tab", "pageup")
        lines = await drawn(pilot, app)
        assert not any("79 replayed" in line for line in lines)
        assert any("newer ↓" in line for line in lines)
        above = sessions_page(app).life.above
        model.apply(happened(ClientLost(client="c03", node="n2", code=1006), T0 + 4, seq=99))
        source.draw()
        await drawn(pilot, app)
        assert sessions_page(app).life.above == above + 1, "what is being read stays in sight"


async def test_another_page_may_send_here_for_a_client() -> None:
    app, source = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await app.go_to(PageName.SESSIONS, client="c05")
        text = "\n".join(await drawn(pilot, app))
        assert source.looked.client == "c05"
        assert "life of c05" in text


async def test_a_client_that_shows_up_late_does_not_take_the_selection_from_whoever_moved_on() -> None:
    model = cluster()
    app, source = app_of(model)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.go_to(PageName.SESSIONS, client="c99")
        await drawn(pilot, app)
        await pilot.press("j")
        told: JsonObject = {f"c{index:02}": {"state": "connected", "node": "n1"} for index in (*range(1, 31), 99)}
        model.apply(says("fleet", {"clients": 31, "connected": 31, "clients_state": told}, T0 + 3, rev=3))
        source.draw()
        await drawn(pilot, app)
        table = sessions_page(app).table
        assert "c99" in {row.client for row in table.rows}
        assert table.selected is not None
        assert table.selected.client == "c02"


async def test_a_filter_does_not_hide_the_client_that_somebody_goes_to() -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "4")
        sessions_page(app).table.filter("c01")
        await app.go_to(PageName.SESSIONS, client="c05")
        await drawn(pilot, app)
        selected = sessions_page(app).table.selected
        assert selected is not None
        assert selected.client == "c05"


async def test_a_node_stands_for_the_clients_on_it() -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "4")
        await app.go_to(PageName.SESSIONS, node="n2")
        await drawn(pilot, app)
        assert [row.client for row in sessions_page(app).table.rows] == ["c03"]


async def test_a_page_at_rest_repaints_nothing() -> None:
    app, source = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        for key in ("4", "5"):
            await go(pilot, app, key)
            page = app.page
            before = [pane.repainted for pane in page.query("*") if hasattr(pane, "repainted")]
            source.draw()
            await drawn(pilot, app)
            assert [pane.repainted for pane in page.query("*") if hasattr(pane, "repainted")] == before


async def test_redis_shows_what_is_off() -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        text = "\n".join(await go(pilot, app, "5"))
        assert "n2 gap 12 behind" in text
        assert "gateway  n2           ○ open         8.0 s" in text
        assert "1 breaker open" in text
        assert "n2 gap 160, 12 behind" in text
        assert "all agree" in text


async def test_another_channel_is_told_node_by_node() -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "5")
        await pilot.press("down")
        assert any(line.startswith("  room  n1 live 9") for line in await drawn(pilot, app))


async def test_a_disagreement_comes_to_the_head_of_the_matrix() -> None:
    model = cluster()
    model.apply(gone("n2", T0 + 3))
    app, _ = app_of(model)
    async with app.run_test(size=(120, 36)) as pilot:
        text = "\n".join(await go(pilot, app, "5"))
        assert "who sees whom  n2: wsmon says gone, checker says online" in text


@pytest.mark.parametrize("size", [(120, 36), (200, 60)])
async def test_what_is_below_short_tables_follows_at_once(size: tuple[int, int]) -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=size) as pilot:
        lines = await go(pilot, app, "5")
        page = redis_page(app)
        longest = max(len(page.channels.rows), len(page.breakers.rows), 2)
        assert page.tables.size.height == longest + 2
        top = next(y for y, line in enumerate(lines) if "channels" in line)
        assert "node by node" in lines[top + longest + 2]


async def test_the_matrix_scrolls_where_it_has_no_room() -> None:
    app, _ = app_of(cluster())
    async with app.run_test(size=(80, 20)) as pilot:
        await go(pilot, app, "5")
        await pilot.press("tab", "tab", "end")
        lines = await drawn(pilot, app)
        assert redis_page(app).beliefs.top > 0
        assert any(line.strip().startswith("wsmon ") and "reached" in line for line in lines)


async def test_empty_pages_explain_themselves() -> None:
    app, _ = app_of(ClusterModel("demo"), T0)
    async with app.run_test(size=(120, 36)) as pilot:
        text = "\n".join(await go(pilot, app, "4"))
        assert sessions.EMPTY_TABLE in text
        assert sessions.NOBODY in text
        text = "\n".join(await go(pilot, app, "5"))
        assert channels.NO_CHANNELS in text
        assert "● unknown" in text


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_names_are_drawn_safely(size: tuple[int, int]) -> None:
    dice = random.Random(5)
    names = (HOSTILE, "x" * 10_000, "日本語" * 40, "e\u0301" * 60, "\u202eabc")
    model = well(("n1", *names))
    strange: tuple[Json, ...] = (None, True, -1, 1e300, math.pi, 10**40, *names, [], {})
    told: JsonObject = {
        name: {key: dice.choice(strange) for key in ("state", "node", "codec", "position", "behind")} for name in names
    }
    model.apply(says("fleet", {"clients": 10_000_000, "connected": 10_000_000, "clients_state": told}, T0, rev=2))
    for seq, name in enumerate(names, 1):
        model.apply(happened(ClientLost(client=name, node=name, code=10**40), T0 + 1, seq=seq))
        feeds: JsonObject = {each: {"state": each, "seq": 10**17, "members": 10_000_000} for each in names}
        breakers: JsonObject = {each: {"state": dice.choice(names), "retry_in_s": 1e300} for each in names}
        state: JsonObject = {"feeds": feeds, "breakers": breakers, "redis": {"state": name, "rtt_ms": 1e300}}
        model.apply(says(name, state, T0 + 1, rev=2))
    app, _ = app_of(model)
    async with app.run_test(size=size) as pilot:
        for key in ("4", "5"):
            await go(pilot, app, key)
            await pilot.press("down", "down")
            strips = app.screen._compositor.render_strips()
            await drawn(pilot, app)
            assert all(strip.cell_length == size[0] for strip in strips)
            assert all(safe(strip.text) == strip.text for strip in strips)
