"""Numbers as short text that keeps its width. What is unknown is a dash, never zero."""

from typing import Final

from wsmon.ui.render.lines import MINUS, known

UNKNOWN: Final = "–"
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def age(seconds: float | None) -> str:
    """Return an age in at most 4 cells: seconds below a minute, then minutes, hours, days."""
    if seconds is None or not known(seconds):
        return UNKNOWN
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    return f"{min(whole // _DAY, 999)}d"


def count(number: float | None) -> str:
    """Return a whole number in at most 5 cells."""
    if number is None or not known(number):
        return UNKNOWN
    return _scaled(number, 99_999)


def rate(number: float | None) -> str:
    """Return a number per second in at most 5 cells; one digit after the point below 10."""
    if number is None or not known(number):
        return UNKNOWN
    return f"{number:.1f}" if 0 < abs(number) < 9.95 else _scaled(number, 9_999)


def delta(number: float | None) -> str:
    """Return a change with its sign in at most 5 cells; nothing at all for no change."""
    if number is None or not known(number):
        return UNKNOWN
    if number == 0:
        return ""
    return ("+" if number > 0 else MINUS) + _scaled(abs(number), 999)


def milliseconds(number: float | None) -> str:
    """Return milliseconds in at most 5 cells: `0.4`, `12`, `3.2s`."""
    if number is None or not known(number):
        return UNKNOWN
    if number < 9.95:
        return f"{max(number, 0):.1f}"
    if number < 999.5:
        return f"{number:.0f}"
    return f"{number / 1000:.1f}s" if number < 99_950 else age(number / 1000)


def lasting(milliseconds_: float | None) -> str:
    """Return a duration with its unit, in at most 5 cells: `0.4ms`, `541ms`, `3.2s`, `12m`."""
    if milliseconds_ is None or not known(milliseconds_):
        return UNKNOWN
    return milliseconds(milliseconds_) + ("ms" if milliseconds_ < 999.5 else "")


def percent(number: float | None) -> str:
    """Return percent in at most 4 cells."""
    if number is None or not known(number):
        return UNKNOWN
    return f"{min(max(number, 0), 999):.0f}%"


def size(number: float | None) -> str:
    """Return bytes in at most 5 cells, in binary units."""
    if number is None or not known(number):
        return UNKNOWN
    value = max(float(number), 0.0)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 999.5:
            return f"{value:.1f}{unit}" if unit in "GT" and value < 99.5 else f"{value:.0f}{unit}"
        value /= 1024
    return ">999T"


def seconds(number: float | None) -> str:
    """Return a duration with two digits after the point."""
    if number is None or not known(number):
        return UNKNOWN
    return f"{number:.2f} s" if abs(number) < 99.995 else age(number)


def exact(number: int | None) -> str:
    """Return a whole number with all its digits."""
    return UNKNOWN if number is None else f"{number:,}"


def clock(at: float, offset_s: float, *, digits: int = 0) -> str:
    """Return the time of day of `at` (Unix seconds), `offset_s` east of UTC, with up to 3 digits after the point."""
    if not known(at):
        return UNKNOWN
    scale = 10**digits
    ticks = int((at + offset_s) * scale) % (_DAY * scale)
    whole, part = divmod(ticks, scale)
    text = f"{whole // _HOUR:02}:{whole // _MINUTE % 60:02}:{whole % 60:02}"
    return f"{text}.{part:0{digits}}" if digits else text


def _scaled(number: float, largest: int) -> str:
    """Return a number of at most 5 cells: whole up to `largest`, else in thousands, millions, …."""
    if abs(number) < largest + 0.5:
        return f"{number:.0f}" if round(number) else "0"
    for unit in ("k", "M", "G", "T"):
        number /= 1000
        if abs(number) < 99.95:
            return f"{number:.1f}{unit}" if abs(number) < 9.95 else f"{number:.0f}{unit}"
        if abs(number) < 999.5:
            return f"{number:.0f}{unit}"
    return ">999T"
