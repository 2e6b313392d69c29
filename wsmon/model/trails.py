"""What the last minutes were like: one value for every two seconds, of each node and of the cluster as a whole.

A trail is a ring of cells; a cell stands for a fixed stretch of the clock. Gauges keep the last value of a cell and have
holes where nobody told one; counts add up and have zeros. So a trail costs the same whether little or much happens.
"""

from array import array
from math import floor, nan
from typing import Final

STEP_S: Final = 2.0
KEPT: Final = 120
"""Cells of a trail: four minutes."""
TRAILS_MAX: Final = 2_048
"""Beyond this many, the trail that was begun first goes."""
CLUSTER: Final = ""
"""Whose the trails of the whole cluster are: no process is called so."""
AT_MOST: Final = 1e30
"""What a cell can hold."""


class Trail:
    """The cells of one number."""

    __slots__ = ("_empty", "_last", "_values")

    def __init__(self, *, counts: bool) -> None:
        self._empty = 0.0 if counts else nan
        self._values = array("f", [self._empty] * KEPT)
        self._last: int | None = None

    def note(self, at: float, value: float) -> None:
        """Take a value of a gauge."""
        if self._reach(at):
            self._values[floor(at / STEP_S) % KEPT] = min(max(value, -AT_MOST), AT_MOST)

    def add(self, at: float, number: float) -> None:
        """Add to a count."""
        if self._reach(at):
            place = floor(at / STEP_S) % KEPT
            self._values[place] = min(self._values[place] + number, AT_MOST)

    def read(self, now: float) -> tuple[float | None, ...]:
        """Return the cells up to the one of `now`, oldest first and to a tenth; None where nothing is known."""
        last = self._last
        if last is None:
            return ()
        begin = (last + 1) % KEPT
        cells = self._values[begin:] + self._values[:begin]
        ahead = floor(now / STEP_S) - last
        if ahead:
            nothing = array("f", [self._empty] * min(abs(ahead), KEPT))
            cells = cells[ahead:] + nothing if ahead > 0 else nothing + cells[:ahead]
        return tuple([None if value != value else round(value, 1) for value in cells])  # noqa: PLR0124  # Each second, of each graph.

    def _reach(self, at: float) -> bool:
        """Begin the cells up to that of `at`; return whether there is one for it."""
        cell = floor(at / STEP_S)
        if self._last is None:
            self._last = cell
        for fresh in range(max(self._last + 1, cell - KEPT + 1), cell + 1):
            self._values[fresh % KEPT] = self._empty
        self._last = max(self._last, cell)
        return cell > self._last - KEPT


class Trails:
    """All trails, by whose they are and what they measure."""

    def __init__(self) -> None:
        self._trails: dict[tuple[str, str], Trail] = {}

    def note(self, owner: str, measure: str, at: float, value: float | None) -> None:
        """Take a value of a gauge; None is none."""
        if value is not None:
            self._trail(owner, measure, counts=False).note(at, value)

    def add(self, owner: str, measure: str, at: float, number: float = 1.0) -> None:
        """Add to a count."""
        self._trail(owner, measure, counts=True).add(at, number)

    def read(self, owner: str, measure: str, now: float) -> tuple[float | None, ...]:
        """Return the cells up to `now`, oldest first and to a tenth; nothing if nothing was ever told."""
        trail = self._trails.get((owner, measure))
        return () if trail is None else trail.read(now)

    def _trail(self, owner: str, measure: str, *, counts: bool) -> Trail:
        trail = self._trails.get((owner, measure))
        if trail is None:
            if len(self._trails) >= TRAILS_MAX:
                del self._trails[next(iter(self._trails))]
            trail = self._trails[owner, measure] = Trail(counts=counts)
        return trail
