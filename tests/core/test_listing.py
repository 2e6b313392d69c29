"""Pages of a list that changes while they are turned."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.listing import ROWS_MOST, Listing


@dataclass(frozen=True)
class Item:
    number: int
    size: int = 0
    name: str = ""


LISTING = Listing[Item](
    number=lambda item: item.number, keys={"size": lambda item: item.size, "name": lambda item: item.name}
)
ITEMS = st.lists(
    st.builds(Item, st.integers(0, 50), st.integers(0, 3), st.sampled_from(["", "a", "b"])),
    unique_by=lambda item: item.number,
)


def turn(items: list[Item], *, limit: int, sort: str | None = None) -> list[list[Item]]:
    pages: list[list[Item]] = []
    cursor: str | None = None
    while True:
        page = LISTING.page(items, limit=limit, sort=sort, cursor=cursor)
        pages.append([*page.items])
        cursor = page.cursor
        if cursor is None:
            return pages


@given(items=ITEMS, limit=st.integers(1, 7), sort=st.sampled_from([None, "size", "-size", "name", "-name", "nonsense"]))
def test_pages_hold_every_item_once_in_order(items: list[Item], limit: int, sort: str | None) -> None:
    pages = turn(items, limit=limit, sort=sort)
    key = {"size": lambda item: item.size, "name": lambda item: item.name}.get((sort or "").removeprefix("-"))
    expected = sorted(items, key=lambda item: (key(item) if key else 0, item.number), reverse=(sort or "")[:1] == "-")
    assert [item for page in pages for item in page] == expected
    assert all(len(page) == limit for page in pages[:-1])


def test_what_comes_and_goes_between_two_pages_moves_nobody_else() -> None:
    items = [Item(number) for number in range(10)]
    first = LISTING.page(items, limit=4)
    assert [item.number for item in first.items] == [0, 1, 2, 3]
    changed = [Item(number) for number in (2, 4, 6, 7, 8, 9, 11)]
    second = LISTING.page(changed, limit=4, cursor=first.cursor)
    assert [item.number for item in second.items] == [4, 6, 7, 8]
    assert [item.number for item in LISTING.page(changed, limit=4, cursor=second.cursor).items] == [9, 11]


@pytest.mark.parametrize("cursor", ["", "nonsense", "{}", "[1]", "[[],1]", '["a","b"]', '["a",1]', "[null,2]"])
def test_a_cursor_that_makes_no_sense_is_the_beginning(cursor: str) -> None:
    assert LISTING.page([Item(1), Item(2)], limit=1, cursor=cursor).items == (Item(1),)


def test_a_page_has_a_bound_whatever_is_asked_for() -> None:
    items = [Item(number) for number in range(ROWS_MOST + 1)]
    assert len(LISTING.page(items, limit=10_000).items) == ROWS_MOST
    assert len(LISTING.page(items, limit=0).items) == 1
    assert LISTING.page([], limit=5, cursor="[1,1]").items == ()


def test_very_long_texts_make_no_very_long_cursor() -> None:
    items = [Item(number, name="x" * 10_000 + str(number)) for number in range(3)]
    page = LISTING.page(items, limit=1, sort="name")
    assert page.cursor is not None
    assert len(page.cursor) < 1_000
    assert [item.number for each in turn(items, limit=1, sort="name") for item in each] == [0, 1, 2]
