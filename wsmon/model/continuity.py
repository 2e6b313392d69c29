"""What nodes say about the continuity of messages, read out of their state."""

from dataclasses import dataclass
from typing import Final

from wsmon.model.reading import count, table, text
from wsmon.protocol.frames import ReadOnlyJson

WAYS: Final = ("ring", "log", "resync", "stale")
"""How a resume ended: what was missed came from memory, from the log, was gone, or somebody else was first."""
AT_REST: Final = frozenset({"live", "idle"})
WORST_FIRST: Final = ("forked", "deaf", "stalled", "gap", "syncing", "subscribing")
CHANNELS_NAMED: Final = 3
WORDS_MAX: Final = 8
"""Kinds of trouble kept apart; a node that invents more has the rest left out."""


@dataclass(frozen=True, slots=True)
class FeedsOff:
    """The feeds of a node that are in one state which is neither live nor idle."""

    state: str
    """Raw, as the node says it."""
    channels: tuple[str, ...]
    """The first few, raw."""
    number: int


def feeds_off(state: ReadOnlyJson) -> tuple[FeedsOff, ...]:
    """Return the feeds that are not as they should be, the worst state first."""
    found: dict[str, list[str]] = {}
    numbers: dict[str, int] = {}
    for channel, feed in table(state, "feeds").items():
        word = text(feed, "state") if isinstance(feed, dict) else None
        if word is None or word in AT_REST:
            continue
        if word not in found:
            if len(found) >= WORDS_MAX:
                continue
            found[word], numbers[word] = [], 0
        numbers[word] += 1
        if len(found[word]) < CHANNELS_NAMED:
            found[word].append(channel)
    words = sorted(found, key=lambda word: WORST_FIRST.index(word) if word in WORST_FIRST else len(WORST_FIRST))
    return tuple(FeedsOff(word, tuple(found[word]), numbers[word]) for word in words)


def resumes(state: ReadOnlyJson) -> dict[str, int]:
    """Return how many sessions the node took up again in each way, as far as it says so."""
    told = table(state, "resumes")
    return {way: number for way in WAYS if (number := count(told, way)) is not None}
