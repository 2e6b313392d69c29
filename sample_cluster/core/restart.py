"""When a process that died by itself is started again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartTiming:
    """At once the first time, then `base_s` × `factor`^n up to `cap_s`. All times in seconds."""

    base_s: float = 0.5
    factor: float = 2.0
    cap_s: float = 10.0
    """A process that cannot run costs one attempt in this time, which is nothing."""
    stable_s: float = 30.0
    """Whoever ran this long has proved that it can: the next death counts as the first."""


class Restart:
    """The patience with one process. All times are monotonic seconds, given by the caller."""

    def __init__(self, timing: RestartTiming | None = None) -> None:
        self._timing = timing or RestartTiming()
        self._delay_s = 0.0
        self._started: float | None = None

    def started(self, now: float) -> None:
        """Say that the process runs from now on."""
        self._started = now

    def exited(self, now: float) -> float:
        """Say that the process is gone; return when to start it again."""
        if self._started is not None and now - self._started >= self._timing.stable_s:
            self._delay_s = 0.0
        self._started = None
        due = now + self._delay_s
        grown = self._delay_s * self._timing.factor if self._delay_s else self._timing.base_s
        self._delay_s = min(grown, self._timing.cap_s)
        return due
