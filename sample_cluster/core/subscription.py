"""A client's place in one channel, and what becomes of each message that the node sends for it.

Theory of operation. The position is the truth: it is advanced before a message is handed out, so whatever happens
afterwards the message is not taken twice. A message is taken if it is the next one and its `prev` proves that it
continues the same history. Older ones are dropped. Anything else means that something is missing: the client asks
again from its own position and ignores what comes until the node has answered that.
"""

from enum import StrEnum
from typing import Final, Literal

from sample_cluster.core.messages import Message, Position, Resync, Rewind, Subscribe, Subscribed

ROUNDS_MAX: Final = 5
"""A node that was asked this often without one message that fits is broken."""


class Verdict(StrEnum):
    """What to do about a message."""

    DELIVER = "deliver"
    DROP = "drop"
    ASK = "ask"
    """Something is missing: send what `ask` returns."""
    BROKEN = "broken"
    """The node never sends what continues our history: leave it."""


class Subscription:
    """One channel of one client. `ask`, send that, and hand in what comes."""

    def __init__(self, channel: str, start: Position | Literal["now", "start"] = "now") -> None:
        self.channel = channel
        self._start = start
        self.position: Position | None = start if isinstance(start, Position) else None
        """Everything up to here has been handed out; None before the node first told."""
        self.asked: int | None = None
        """Number of the request that is not answered yet."""
        self._live = False
        self._any_next = False
        self._rounds = 0

    @property
    def live(self) -> bool:
        """Whether the node has answered the last `ask`."""
        return self._live

    def disconnected(self) -> None:
        """The connection is gone; `ask` on the next one."""
        self.asked, self._live, self._rounds = None, False, 0

    def ask(self, request: int) -> Subscribe:
        """Return the request, number `request`, that continues from the own position."""
        self.asked, self._live = request, False
        return Subscribe(id=request, channel=self.channel, start=self.position or self._start)

    def subscribed(self, answer: Subscribed) -> bool:
        """Take the node's answer; return whether it was the one to the last request."""
        if answer.id != self.asked:
            return False
        self._live, self.asked = True, None
        if self.position is None:
            self.position = answer.position
            # What is kept may begin anywhere: its first message is taken as it comes.
            self._any_next = self._start == "start" and answer.replay > 0
        return True

    def take(self, message: Message) -> Verdict:
        """Say what to do about `message`; the position is advanced already if it is to be delivered."""
        here = self.position
        if here is None:
            return Verdict.DROP
        fits = message.seq == here.seq + 1 and message.prev == here.nonce
        if fits or self._any_next:
            self.position = Position(epoch=here.epoch, seq=message.seq, nonce=message.nonce)
            self._any_next = False
            self._rounds = 0
            return Verdict.DELIVER
        if message.seq <= here.seq or not self._live:
            return Verdict.DROP
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            return Verdict.BROKEN
        self._live = False
        return Verdict.ASK

    def resync(self, told: Resync) -> int:
        """Go on where the node says; return how many messages are missing for good, as far as numbers tell."""
        here, self.position = self.position, told.position
        self._any_next = False
        if here is None:
            return 0
        if here.epoch != told.position.epoch:
            return told.position.seq  # A new log: at least all of it that came before.
        return max(0, told.position.seq - here.seq)

    def rewind(self, told: Rewind) -> None:
        """Go on where the node says: the log forked."""
        self.position = told.position
        self._any_next = False
