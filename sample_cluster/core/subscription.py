"""A client's place in one channel, and what becomes of each message that the node sends for it.

```
idle ──ask──> asked ──subscribed, or resync──> live ──a hole: ask──> asked
  │ welcomed (the node goes on at our position) ─^  ^
  └ welcomed (it cannot) ──> fresh ──resync─────────┘        disconnected: idle again
```
Theory of operation. The position is the truth: it is advanced before a message is handed out, so whatever happens
afterwards the message is not taken twice. A message is taken if it is the next one and its `prev` proves that it
continues the same history. Older ones are dropped. Anything else means that something is missing: the client asks
again from its own position and ignores what comes until the node has answered that.

When the log forks (a replica without the newest entries was promoted), some of what was handed out never happened
for the log. Nodes and publishers write it again, under new numbers. The ids of the last `REMEMBERED` messages tell
these from new ones: they move the position like any other, and are not handed out a second time.
"""

from array import array
from enum import StrEnum
from typing import Final, Literal

from sample_cluster.core.messages import Message, Position, Resync, Rewind, Subscribe, Subscribed

ROUNDS_MAX: Final = 5
"""A node that was asked this often without one message that fits is broken."""
REMEMBERED: Final = 1_024
"""Ids of so many messages are remembered. Kept as hashes: 8 bytes each, for every channel of every client."""
REMEMBERED_SLACK: Final = 256
"""Forgetting goes in steps of this, so that it costs next to nothing for each message."""
TRIMMED: Final = "trimmed"
"""The reason of a `resync` in a history that goes on, as far as anybody can tell."""


class State(StrEnum):
    """How a channel stands with the node."""

    IDLE = "idle"
    """Nothing is agreed upon: `ask`."""
    ASKED = "asked"
    FRESH = "fresh"
    """The node cannot go on at our position and will tell where to."""
    LIVE = "live"


class Verdict(StrEnum):
    """What to do about a message."""

    DELIVER = "deliver"
    DUPLICATE = "duplicate"
    """It was had before: drop it and acknowledge, the node may be asking by it whether we are there."""
    REWRITTEN = "rewritten"
    """It was handed out before the log forked: drop it, though it counts for the acknowledgement."""
    IGNORE = "ignore"
    """An answer of the node is awaited that will sort this out."""
    ASK = "ask"
    """Something is missing: send what `ask` returns."""
    BROKEN = "broken"
    """The node never sends what continues our history: leave it."""


class Subscription:
    """One channel of one client. `ask` and send that, or offer `resumable` in a `resume`; hand in what comes."""

    __slots__ = ("_any_next", "_moved", "_rounds", "_seen", "_since", "_start", "asked", "channel", "position", "state")

    def __init__(self, channel: str, start: Position | Literal["now", "start"] = "now") -> None:
        self.channel = channel
        self._start = start
        self.position: Position | None = start if isinstance(start, Position) else None
        """Everything up to here has been handed out; None before the node first told."""
        self.asked: int | None = None
        """Number of the request that is not answered yet."""
        self.state = State.IDLE
        self._any_next = False
        self._moved = False
        """Whether a jump came since the last request: an answer to an earlier cursor of the node."""
        self._rounds = 0
        self._since = start.seq if isinstance(start, Position) else 0
        """Everything after this number, up to the position, was handed out."""
        self._seen = _Seen()

    @property
    def live(self) -> bool:
        """Whether the channel goes on: nothing is awaited from the node but messages."""
        return self.state is State.LIVE

    @property
    def resumable(self) -> Position | None:
        """Where a `resume` can go on; None if the channel has to be asked for, as it never truly began."""
        return None if self._any_next else self.position

    def disconnected(self) -> None:
        """The connection is gone; `welcomed` by the next one."""
        self.asked, self.state, self._rounds = None, State.IDLE, 0

    def ask(self, request: int) -> Subscribe:
        """Return the request, number `request`, that continues from the own position."""
        if self._any_next:
            self.position, self._any_next = None, False
        self.asked, self.state, self._moved = request, State.ASKED, False
        return Subscribe(id=request, channel=self.channel, start=self.position or self._start)

    def welcomed(self, *, offered: bool, resumed: bool, fresh: bool) -> bool:
        """A node took the client; return whether the channel has to be asked for on this connection.

        `offered` says whether the resume carried a position of ours, the others in which list the node named us. What
        was agreed upon with an earlier connection is over.
        """
        self.asked, self._rounds = None, 0
        if offered and self.position is not None and (resumed or fresh):
            self.state = State.LIVE if resumed else State.FRESH
            return False
        self.state = State.IDLE
        return True

    def subscribed(self, answer: Subscribed) -> bool:
        """Take the node's answer; return whether the channel goes on by it.

        It does not if it answers an earlier request. If a jump of an earlier cursor of the node came in between and the
        node goes on elsewhere than we, the state is idle again: ask once more.
        """
        if self.asked is None or answer.id != self.asked:
            return False
        self.asked = None
        if self._moved and answer.position != self.position:
            self.state = State.IDLE
            return False
        self.state = State.LIVE
        if self.position is None:
            self.position, self._since = answer.position, answer.position.seq
            # What is kept may begin anywhere: its first message is taken as it comes.
            self._any_next = self._start == "start" and answer.replay > 0
        return True

    def take(self, message: Message) -> Verdict:
        """Say what to do about `message`; the position is advanced already if it is to be delivered."""
        here = self.position
        if here is None:
            return Verdict.IGNORE
        fits = message.seq == here.seq + 1 and message.prev == here.nonce
        if fits or self._any_next:
            if not fits:
                self._since = message.seq - 1
            self.position = Position(epoch=here.epoch, seq=message.seq, nonce=message.nonce)
            self._any_next = False
            self._rounds = 0
            return Verdict.REWRITTEN if self._seen.take(message.id) else Verdict.DELIVER
        if message.seq <= here.seq:
            return Verdict.DUPLICATE
        if self.state in (State.IDLE, State.ASKED):
            return Verdict.IGNORE
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            return Verdict.BROKEN
        self.state = State.IDLE
        return Verdict.ASK

    def resync(self, told: Resync) -> int:
        """Go on where the node says; return how many messages are missing for good, as far as numbers tell.

        That may be where we are: then nothing is missing, and nothing changed but that the channel goes on.
        """
        here, there = self.position, told.position
        self.state = State.LIVE
        if here == there:
            return 0
        lost = 0
        if here is not None:
            # A new log: at least all of it that came before.
            lost = there.seq - (here.seq if here.epoch == there.epoch else 0)
            if told.reason == TRIMMED and here.epoch == there.epoch and lost <= 0:
                return 0  # During a hand-over we may have come further by the old connection.
            # Also after a trim: nobody can tell whether the log forked before.
            self._seen.forked(None)
        self.position, self._since, self._any_next, self._moved = there, there.seq, False, True
        return max(0, lost)

    def rewind(self, told: Rewind) -> int:
        """Go back to where the log forked; return how many messages that were handed out never happened.

        Our position stays if what is void lies ahead of us. Should we be further behind than the node believes, the
        hole shows by itself; to jump over it would hide it.
        """
        if self.state is State.FRESH:
            self.state = State.LIVE
        here, there = self.position, told.position
        same_log = here is not None and here.epoch == there.epoch
        if here is None or (same_log and here.seq <= there.seq):
            return 0
        handed_out = here.seq - max(there.seq if same_log else 0, self._since)
        self._seen.forked(handed_out if same_log else None)
        self._since = min(self._since, there.seq) if same_log else there.seq
        self.position, self._any_next, self._moved, self._rounds = there, False, True, 0
        return handed_out


class _Seen:
    """Which of the newest messages were taken, by the hash of their id.

    Python's hash of a text is keyed anew in each process, so nobody can make ids that collide; by chance two of
    these differ in all but one of 2⁶⁴ cases.
    """

    __slots__ = ("_forked", "_forked_for", "_hashes")

    def __init__(self) -> None:
        self._hashes: array[int] | None = None
        self._forked: set[int] = set()
        """What was taken and then never happened."""
        self._forked_for = 0
        """For how many more messages that matters."""

    def take(self, name: str) -> bool:
        """Remember a message; return whether it was taken before the log forked. A message may have no id."""
        mark = hash(name)
        again = False
        if self._forked_for:
            again = mark in self._forked and name != ""
            self._forked_for -= 1
            if not self._forked_for:
                self._forked = set()
        if self._hashes is None:
            self._hashes = array("q")
        self._hashes.append(mark)
        if len(self._hashes) >= REMEMBERED + REMEMBERED_SLACK:
            del self._hashes[:REMEMBERED_SLACK]
        return again

    def forked(self, count: int | None) -> None:
        """Say that the newest `count` messages never happened; None: nobody knows which, so it may be any."""
        if self._hashes is None:
            return
        newest = min(REMEMBERED if count is None else count, REMEMBERED, len(self._hashes))
        gone = self._hashes[len(self._hashes) - newest :]
        if len(self._forked) > REMEMBERED:
            self._forked.clear()  # Forks upon forks: the older ones are long settled.
        self._forked.update(gone)
        self._forked_for = REMEMBERED
        if count is not None:
            del self._hashes[len(self._hashes) - newest :]
