"""A client's publishes that the node has not answered yet, in order.

Within one session a publish can be sent any number of times: `cseq` lets the log take it once. A client that has to
begin a new session numbers what is unanswered anew, and what of it reached the log under the old session is unknown:
such a message may be written a second time.
"""

from sample_cluster.core.messages import Level, Publish
from wsmon.protocol.frames import Json


class Outbox:
    """At most `most` unanswered publishes. `cseq` counts 1, 2, 3… for each channel, as long as the session lives.

    Each publish also has a ticket, a number that it keeps whatever its `cseq` becomes.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._last: dict[str, int] = {}
        self._waiting: dict[tuple[str, int], tuple[int, Publish]] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._waiting) >= self._most

    def add(
        self, channel: str, data: Json, *, encoding: str | None = None, level: Level = Level.FAST
    ) -> tuple[int, Publish]:
        """Return ticket and frame of a new message; it is kept until `settle`. Ask `full` first."""
        assert not self.full
        self._tickets += 1
        frame = self._number(Publish(channel=channel, cseq=0, data=data, encoding=encoding, level=level))
        self._waiting[channel, frame.cseq] = self._tickets, frame
        return self._tickets, frame

    def settle(self, channel: str, cseq: int) -> int | None:
        """Forget a publish, because it was answered; return its ticket, None if it was not waited for."""
        ticket, _ = self._waiting.pop((channel, cseq), (None, None))
        return ticket

    def unanswered(self, channel: str | None = None) -> tuple[Publish, ...]:
        """Return what is unanswered, in the order of publication: all of it, or a channel's."""
        return tuple(frame for _, frame in self._waiting.values() if channel in (None, frame.channel))

    def pending(self) -> dict[str, int]:
        """Return the highest unanswered `cseq` of each channel."""
        return {frame.channel: frame.cseq for _, frame in self._waiting.values()}

    def renumber(self) -> None:
        """Begin a new session: what is unanswered counts from 1 again, in the same order."""
        self._last.clear()
        waiting = [(ticket, self._number(frame)) for ticket, frame in self._waiting.values()]
        self._waiting = {(frame.channel, frame.cseq): (ticket, frame) for ticket, frame in waiting}

    def _number(self, frame: Publish) -> Publish:
        cseq = self._last.get(frame.channel, 0) + 1
        self._last[frame.channel] = cseq
        return Publish(channel=frame.channel, cseq=cseq, data=frame.data, encoding=frame.encoding, level=frame.level)
