"""Reads values out of a peer's state. A value that is absent, of another type or beyond reason is unknown: None.

A state has passed the JSON decoder and nothing else, so nothing about its shape may be taken for granted.
"""

import math
from typing import Final

from wsmon.protocol.frames import ReadOnlyJson

NUMBER_MOST: Final = 1e18
"""Larger numbers are nonsense in every field that there is, and awkward to format."""
TIME_MOST: Final = 1e11
"""A Unix time after the year 5000 is nonsense."""
NOTHING: Final[ReadOnlyJson] = {}


def table(state: ReadOnlyJson, *path: str) -> ReadOnlyJson:
    """Return the object at `path`, empty if there is none."""
    for name in path:
        inner = state.get(name)
        if not isinstance(inner, dict):
            return NOTHING
        state = inner
    return state


def number(state: ReadOnlyJson, name: str) -> float | None:
    """Return a finite number."""
    value = state.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -NUMBER_MOST <= value <= NUMBER_MOST else None


def bounded(value: float, *, least: float = -NUMBER_MOST, most: float = NUMBER_MOST) -> float:
    """Return the value cut to sensible bounds: integers of any length pass the decoder, and so does 1e999."""
    return float(min(max(value, least), most))


def count(state: ReadOnlyJson, name: str) -> int | None:
    """Return a whole number, not negative."""
    value = number(state, name)
    return int(value) if value is not None and value >= 0 else None


def moment(state: ReadOnlyJson, name: str) -> float | None:
    """Return a Unix time."""
    value = number(state, name)
    return value if value is not None and 0 <= value <= TIME_MOST else None


def text(state: ReadOnlyJson, name: str) -> str | None:
    """Return a text that is not empty. It is still raw: whoever shows it has to neutralise it."""
    value = state.get(name)
    return value if isinstance(value, str) and value else None


def span(state: ReadOnlyJson, name: str) -> tuple[float, float] | None:
    """Return a list of two finite numbers in rising order."""
    value = state.get(name)
    if not isinstance(value, list) or len(value) != 2:
        return None
    least, most = value
    if isinstance(least, bool) or isinstance(most, bool):
        return None
    if not isinstance(least, int | float) or not isinstance(most, int | float):
        return None
    if not -NUMBER_MOST <= least <= most <= NUMBER_MOST or math.isnan(least) or math.isnan(most):
        return None
    return float(least), float(most)
