"""The one clock of a run."""

import time


class Clock:
    """Unix seconds at the start plus monotonic time since: a wall clock set back or forth does not change ages."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return Unix seconds."""
        return self._offset + time.monotonic()
