"""A moment as people type it."""

import re
from typing import Final

DAY_S: Final = 86_400
_CLOCK: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,3})?))?")
_SPAN: Final = re.compile(r"([+-])([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*([smh]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600}


def parse(text: str, now: float, *, offset_s: float) -> float | None:
    """Return the moment that `text` names, in Unix seconds; None if it names none.

    A time of day (`14:03`, `14:03:20`) is the one nearest to `now`, `offset_s` east of UTC; `-30`, `+2m` count from
    `now`.
    """
    text = text.strip()
    span = _SPAN.fullmatch(text)
    if span is not None:
        seconds = float(span[2]) * _UNITS[span[3]]
        return now - seconds if span[1] == "-" else now + seconds
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return None
    hours, minutes, seconds = int(clock[1]), int(clock[2]), float(clock[3] or 0)
    if hours > 23 or minutes > 59 or seconds >= 60:
        return None
    midnight = (now + offset_s) // DAY_S * DAY_S - offset_s
    at = midnight + hours * 3_600 + minutes * 60 + seconds
    return min((at - DAY_S, at, at + DAY_S), key=lambda one: abs(one - now))
