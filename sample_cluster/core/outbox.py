"""A client's publishes that the node has not answered yet, in order."""

from sample_cluster.core.messages import Level, Publish
from wsmon.protocol.frames import Json


class Outbox:
    """At most `most` unanswered publishes. `cseq` counts 1, 2, 3… for each channel and never starts again."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._last: dict[str, int] = {}
        self._waiting: dict[tuple[str, int], Publish] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._waiting) >= self._most

    def add(self, channel: str, data: Json, *, encoding: str | None = None, level: Level = Level.FAST) -> Publish:
        """Return the frame for a new message; it is kept until `settle`. Ask `full` first."""
        assert not self.full
        cseq = self._last.get(channel, 0) + 1
        self._last[channel] = cseq
        frame = Publish(channel=channel, cseq=cseq, data=data, encoding=encoding, level=level)
        self._waiting[channel, cseq] = frame
        return frame

    def settle(self, channel: str, cseq: int) -> bool:
        """Forget a publish, because it was answered; return whether it was waited for."""
        return self._waiting.pop((channel, cseq), None) is not None

    def unanswered(self) -> tuple[Publish, ...]:
        """Return what is unanswered, in the order of publication: what to send after a new welcome."""
        return tuple(self._waiting.values())
