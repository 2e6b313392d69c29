"""The page of incidents, driven by keys, drawn from a model as it is."""

import pytest

from tests.support.facts import T0
from tests.ui.test_app import settled
from tests.ui.test_sessions_and_redis import app_of, drawn, go
from tests.views.test_incidents_picture import Story
from wsmon.ui.pages.incidents import TOLD_AFTER_S, IncidentsPage
from wsmon.views.frame import PageName


def three() -> Story:
    story = Story()
    story.kill(10, "n1")
    story.kill(60, "n2", removed=0.85)
    story.fault(100, "freeze", "n3", until=101)
    return story


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 36), (200, 60)])
async def test_the_newest_incident_is_selected_and_its_card_shown(size: tuple[int, int]) -> None:
    app, source = app_of(three().model, T0 + 130)
    async with app.run_test(size=size) as pilot:
        text = "\n".join(await go(pilot, app, "6"))
        assert source.looked.page is PageName.INCIDENTS
        assert "freeze n3" in text
        assert "scorecard" in text
        assert "#3" in text


async def test_arrows_and_braces_go_through_the_incidents() -> None:
    app, source = app_of(three().model, T0 + 130)
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "6")
        page = app.page
        assert isinstance(page, IncidentsPage)

        async def card(key: str) -> str | None:
            await pilot.press(key)
            await drawn(pilot, app)
            return None if page.card.card is None else page.card.card.row.what

        assert await card("down") == "kill n2"
        assert await card("left_curly_bracket") == "kill n1"
        assert await card("right_curly_bracket") == "kill n2"
        assert page.card.other is not None
        assert (page.card.other.row.what, page.card.chosen) == ("kill n1", False)
        assert source.looked.incident == page.card.card.row.key  # type: ignore[union-attr]


async def test_a_marked_incident_stands_beside_the_selected_one() -> None:
    app, source = app_of(three().model, T0 + 130)
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "6")
        text = "\n".join(await go(pilot, app, "space"))
        page = app.page
        assert isinstance(page, IncidentsPage)
        assert page.card.card is not None
        assert page.card.other is not None
        assert (page.card.card.row.what, page.card.other.row.what, page.card.chosen) == ("kill n2", "freeze n3", True)
        assert "│   #3 freeze n3" in text
        text = "\n".join(await go(pilot, app, "escape"))
        assert not page.card.chosen
        assert source.looked.other is None
        assert "last run: #1 kill n1" in text


async def test_enter_goes_to_where_it_has_just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = app_of(three().model, T0 + 130)
    asked: list[float] = []
    monkeypatch.setattr(app, "_seek", asked.append)
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "6")
        await pilot.press("enter")
        await settled(pilot)
    # At its very moment nobody knew of it: it would be missing from the list.
    assert asked == [T0 + 100 + TOLD_AFTER_S]


async def test_without_incidents_the_page_says_how_to_make_one() -> None:
    app, _ = app_of(Story().model, T0 + 1)
    async with app.run_test(size=(120, 24)) as pilot:
        text = "\n".join(await go(pilot, app, "6"))
        assert "No incident so far. X kills a node, F breaks a link." in text


async def test_a_picture_that_stays_is_not_repainted() -> None:
    app, source = app_of(three().model, T0 + 130)
    async with app.run_test(size=(120, 36)) as pilot:
        await go(pilot, app, "6")
        page = app.page
        assert isinstance(page, IncidentsPage)
        before = page.table.repainted, page.card.repainted
        source.now += 1
        source.draw()
        await drawn(pilot, app)
        assert (page.table.repainted, page.card.repainted) == before


async def test_a_card_that_is_longer_than_its_pane_can_be_scrolled() -> None:
    app, _ = app_of(three().model, T0 + 130)
    async with app.run_test(size=(80, 15)) as pilot:
        await go(pilot, app, "6")
        page = app.page
        assert isinstance(page, IncidentsPage)
        page.card.focus()
        await go(pilot, app, "down")
        assert page.card.top == 1
        text = "\n".join(await go(pilot, app, "G"))
        assert "inverted" in text
