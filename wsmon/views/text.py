"""Text from outside made harmless, and times in words."""

import re
from functools import lru_cache
from typing import Final

NAME_LONGEST: Final = 48
SENTENCE_LONGEST: Final = 240
REPLACEMENT: Final = "\ufffd"

_BLANKS: Final = re.compile("[\t\n\r\x0b\x0c\x85\u2028\u2029]+")
# Everything that moves the cursor, changes the direction of writing, hides itself, or cannot be encoded:
# C0, DEL and C1 controls, bidi controls, zero-width characters, invisible fillers, tags, lone surrogates.
_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def clean(text: str, longest: int = SENTENCE_LONGEST) -> str:
    """Return `text` on one line, at most `longest` characters, without anything that a terminal would obey.

    Line breaks and tabs become a blank, all else that is harmful U+FFFD, so that it is seen that something was there.
    """
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isascii() and text.isprintable():
        return text  # Nearly every text; the searches below cost five times as much.
    return _HARMFUL.sub(REPLACEMENT, _BLANKS.sub(" ", text))


def name(text: str) -> str:
    """Return the name of a node, client, channel or person, made harmless."""
    return clean(text, NAME_LONGEST)


def span(seconds: float) -> str:
    """Return a length of time in words: `0.4 s`, `12 s`, `2 m`, `1 h 5 m`, `3 d`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 60:
        return f"{int(seconds)} s"
    if seconds < 3_600:
        return f"{int(seconds // 60)} m"
    if seconds < 86_400:
        hours, rest = divmod(int(seconds), 3_600)
        return f"{hours} h {rest // 60} m" if rest >= 60 else f"{hours} h"
    return f"{int(min(seconds, 1e9) // 86_400)} d"


def ago(seconds: float) -> str:
    """Return how long ago something was: `4.0 s ago`."""
    return f"{span(seconds)} ago"


def age(at: float | None, now: float) -> float | None:
    """Return the age in seconds of what happened `at`: tenths below ten seconds, whole seconds above.

    What is drawn shows no more than that, and rows that are equal need no repainting.
    """
    if at is None:
        return None
    seconds = max(0.0, now - at)
    return round(seconds, 1) if seconds < 10 else float(int(seconds))


def listing(names: list[str], *, most: int = 3) -> str:
    """Return names in a row: `n1, n2, n3 and 4 more`."""
    shown = ", ".join(name(item) for item in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


@lru_cache(maxsize=8_192)
def natural(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a key that sorts n2 before n10."""
    parts = re.findall(r"[0-9]{1,15}|[^0-9]+", text)
    return tuple((0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts), text
