"""The one clock of a run, and its beat."""

import time


class Clock:
    """Unix seconds at the start plus monotonic time since: a wall clock set back or forth does not change ages."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return Unix seconds."""
        return self._offset + time.monotonic()


def until_beat(now: float, every_s: float) -> float:
    """Return how long to wait for the next multiple of `every_s` on the clock that is at least half of it away.

    All that is done again and again is done at the same moments: one awakening for all costs half as much.
    """
    left = every_s - now % every_s
    return left if left >= every_s / 2 else left + every_s
