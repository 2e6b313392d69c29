"""Short histories that turn counters into speeds and gauges into changes. All times are the peer's own clock."""

from collections import deque

SAMPLES_MAX = 128
"""More samples than a peer can send within the longest horizon."""
RATE_OVER_S = 2.0
CHANGE_OVER_S = 5.0


class History:
    """The last values of one number, over about `horizon_s` seconds."""

    __slots__ = ("_horizon_s", "_samples")

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)

    def clear(self) -> None:
        """Forget everything: the peer began a new life."""
        self._samples.clear()

    def note(self, at: float, value: float) -> None:
        """Take a value. A clock that went back starts the history again."""
        samples = self._samples
        if samples and at <= samples[-1][0]:
            if at == samples[-1][0]:
                samples[-1] = (at, value)
                return
            samples.clear()
        samples.append((at, value))
        # One sample at or beyond the horizon stays: the window is never shorter than it.
        while len(samples) > 2 and samples[1][0] <= at - self._horizon_s:
            samples.popleft()

    def note_counter(self, at: float, value: float) -> None:
        """Take a value of a counter, which starts the history again when it falls."""
        if self._samples and value < self._samples[-1][1]:
            self._samples.clear()
        self.note(at, value)

    def again(self, at: float) -> None:
        """The value is still the last one."""
        if self._samples and at > self._samples[-1][0]:
            self.note(at, self._samples[-1][1])

    def per_second(self) -> float | None:
        """Return the mean speed over the horizon; None before there are two samples."""
        if len(self._samples) < 2:
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - began)

    def change(self) -> float | None:
        """Return last minus first value of the horizon; None before there are two samples."""
        if len(self._samples) < 2:
            return None
        return self._samples[-1][1] - self._samples[0][1]
