"""Pages of a long list that changes while somebody turns them.

Theory of operation. Rows are ordered by what was asked for and then by a number that never changes. A cursor names the
last row of a page by both, so that the next page begins behind it whatever has come or gone meanwhile: no row that
stays where it is comes twice or is left out.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

ROWS_MOST: Final = 500
CURSOR_LONGEST: Final = 512
"""Characters of a cursor, and of a text that is sorted by."""

Item = TypeVar("Item")
Sortable: TypeAlias = float | str
_Place: TypeAlias = tuple[Sortable, int]


@dataclass(frozen=True, slots=True)
class Slice(Generic[Item]):
    """A page; `cursor` leads to the next one, None if this is the last."""

    items: tuple[Item, ...]
    cursor: str | None


class Listing(Generic[Item]):
    """How items of one sort are ordered. All values of one sort key are numbers, or all are texts."""

    def __init__(self, *, number: Callable[[Item], int], keys: Mapping[str, Callable[[Item], Sortable]]) -> None:
        """`number` is an item's own and never changes; without a key, items are in its order."""
        self._number = number
        self._keys = keys

    def page(
        self, items: Iterable[Item], *, limit: int, sort: str | None = None, cursor: str | None = None
    ) -> Slice[Item]:
        """Return at most `limit` items, `-` before a key for the largest first.

        A key that there is not counts as none, and a cursor that makes no sense as the beginning.
        """
        most = max(1, min(limit, ROWS_MOST))
        descending = sort is not None and sort.startswith("-")
        key = self._keys.get((sort or "").removeprefix("-"))

        def place(item: Item) -> _Place:
            value: Sortable = 0 if key is None else key(item)
            return (value[:CURSOR_LONGEST] if isinstance(value, str) else value), self._number(item)

        placed = [(place(item), item) for item in items]
        after = _decode(cursor)
        if after is not None and placed and _alike(after, placed[0][0]):
            placed = [pair for pair in placed if (pair[0] < after if descending else pair[0] > after)]
        choose = heapq.nlargest if descending else heapq.nsmallest
        chosen = choose(most + 1, placed, key=_place)
        more = len(chosen) > most
        chosen = chosen[:most]
        return Slice(tuple(item for _, item in chosen), _encode(chosen[-1][0]) if more else None)


def _place(pair: tuple[_Place, Item]) -> _Place:
    return pair[0]


def _encode(place: _Place) -> str:
    return json.dumps(place, separators=(",", ":"))


def _decode(cursor: str | None) -> _Place | None:
    try:
        read = json.loads(cursor or "null")
    except ValueError:
        return None
    match read:
        case [str() | int() | float() as value, int(number)]:
            return value, number
        case _:
            return None


def _alike(one: _Place, other: _Place) -> bool:
    return isinstance(one[0], str) == isinstance(other[0], str)
