"""The end-to-end auditor: compares what was published with what every subscriber was handed.

Theory of operation. A channel's log is contiguous, so each subscriber has to be handed its numbers one by one from
the first that it saw. Each subscriber has a highest number and a window of flags for the numbers below it: a number
that is skipped counts as lost until it comes late (then it is inverted), one that comes twice is duplicated. Every
message also tells its publisher and a running number; the first subscriber to see a place in the log checks those in
the same way, which finds a message that was written twice. What was answered with a place in the log and has not
reached a subscriber some time later is overdue: late, not lost. Each delivery costs the same, whatever went before,
and memory grows with subscribers and publishers only.

When the log forks, numbers that were used never happened. Whoever was handed such a message has it, so it is not lost
for him, whatever the log says. For a subscriber that had not come so far it is missing: it counts as lost if it is not
handed to him under a new number in time, and no more once it is. Which messages were void is known of our own
publishers' only, by their running numbers, and of the newest `RECENT` of a channel. A void message may be written once
more without being a duplicate; where a `resync` does not tell what is void, that holds for all that are remembered.

All times are monotonic seconds, given by the caller.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sample_cluster.core.messages import Position

WINDOW: Final = 256
"""How far below the highest number a duplicate can be told from an inversion; what is older counts as duplicated."""
NEVER_ACKED_S: Final = 10.0
"""A publish that is unanswered for longer counts as never acknowledged, until it is answered after all."""
OVERDUE_S: Final = 10.0
"""An answered publish is due at every subscriber of its channel this long after the answer."""
DUE_EVERY_S: Final = 0.25
"""Answers are remembered no more often than this, each time with the highest place."""
RECENT: Final = 4_096
"""Places of a channel whose messages are remembered, in case they turn out never to have happened."""
FORKS_KEPT: Final = 16
"""Forks of a channel that are told apart: every subscriber is told of each, at its own time."""
REWRITE_S: Final = 10.0
"""A void message that a subscriber was never handed counts as lost if it is not written again within this."""
_MASK: Final = (1 << WINDOW) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCounts:
    """What was counted so far. `never_acked` and `overdue` can fall again, and `lost` by what comes late."""

    published: int = 0
    """Publishes that were answered."""
    delivered: int = 0
    """Messages handed out, over all subscribers."""
    lost: int = 0
    duplicated: int = 0
    inverted: int = 0
    never_acked: int = 0
    refused: int = 0
    """Publishes that were refused for good: their publisher knows."""
    overdue: int = 0
    """Messages that subscribers should have been handed by now, over all subscribers."""
    resyncs: int = 0
    """Times that a subscriber was told to go on elsewhere."""
    rewound: int = 0
    """Times that a subscriber was told that the log forked."""
    rewritten: int = 0
    """Messages that came again after a fork and were not handed out again, over all subscribers."""
    replayed: int = 0
    """Messages handed out from history, over all subscribers."""


class Step(StrEnum):
    """How a number follows those before it."""

    NEXT = "next"
    AHEAD = "ahead"
    TWICE = "twice"
    LATE = "late"


class Sequence:
    """Numbers that should come one by one."""

    __slots__ = ("_seen", "top")

    def __init__(self, top: int) -> None:
        self.top = top
        """The highest number so far."""
        self._seen = _MASK
        """Bit i says that `top - i` came, or was before our time."""

    def restart(self, top: int) -> None:
        """Go on after `top`, whatever came before."""
        self.top = top
        self._seen = _MASK

    def take(self, number: int) -> Step:
        """Say how `number` follows, and remember it."""
        ahead = number - self.top
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _MASK if ahead < WINDOW else 1
            self.top = number
            return Step.NEXT if ahead == 1 else Step.AHEAD
        if -ahead >= WINDOW or self._seen >> -ahead & 1:
            return Step.TWICE
        self._seen |= 1 << -ahead
        return Step.LATE


class _Track(Sequence):
    """What one subscriber was handed of a channel."""

    __slots__ = ("forks", "missing")

    def __init__(self, top: int, forks: int) -> None:
        super().__init__(top)
        self.forks = forks
        """Of how many forks of the channel it knows."""
        self.missing: dict[tuple[str, int], float] = {}
        """Void messages that it was never handed, and since when that is known."""


class _Log:
    """What is known of one channel."""

    __slots__ = ("answered", "due", "epoch", "forks", "known", "recent", "top", "void", "written")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.top = 0
        """The highest place that any subscriber was handed."""
        self.due = 0
        self.answered: deque[tuple[float, int]] = deque()
        self.written: dict[str, Sequence] = {}
        """By publisher."""
        self.recent: dict[int, tuple[str, int]] = {}
        """Place → publisher and number."""
        self.void: dict[tuple[str, int], int] = {}
        """Publisher and number → the place that never happened; gone when it is written again."""
        self.forks = 0
        self.known: deque[Position] = deque(maxlen=FORKS_KEPT)
        """Where the log forked."""

    def note(self, seq: int, publisher: str, number: int) -> None:
        """Remember what stands at a place."""
        self.recent[seq] = publisher, number
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]

    def fork(self, at: Position, *, kept: int) -> None:
        """Forget what came after `kept`, as the log goes on after `at`; changes nothing if the fork is known."""
        if at in self.known:
            return
        self.epoch = at.epoch
        self.known.append(at)
        self.forks += 1
        self.top = min(self.top, at.seq)
        self.due = min(self.due, kept)
        self.answered.clear()
        self.void.update((message, seq) for seq, message in self.recent.items() if seq > kept)
        self.recent = {seq: message for seq, message in self.recent.items() if seq <= kept}
        for message in [*self.void][:-RECENT]:
            del self.void[message]


class Auditor:
    """Counts for all publishers and subscribers of a fleet."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._logs: dict[str, _Log] = {}
        self._open: dict[tuple[str, int], float] = {}
        self._published = self._delivered = self._lost = self._duplicated = self._inverted = self._refused = 0
        self._resyncs = self._rewound = self._rewritten = self._replayed = 0

    def sent(self, publisher: str, number: int, now: float) -> None:
        """A message was handed to the client library; its answer is due. Numbers rise with each publisher."""
        self._open[publisher, number] = now

    def answered(self, publisher: str, number: int, channel: str, seq: int, now: float) -> None:
        """The cluster said that the message is in the log at `seq`; 0 if it does not remember where."""
        if self._open.pop((publisher, number), None) is None:
            return
        self._published += 1
        log = self._log(channel)
        if seq:
            log.note(seq, publisher, number)
        if log.answered and now - log.answered[-1][0] < DUE_EVERY_S:
            since, highest = log.answered.pop()
            log.answered.append((since, max(highest, seq)))
        else:
            log.answered.append((now, seq))
            self._pass(now)

    def refused(self, publisher: str, number: int) -> None:
        """The cluster said that it does not take the message."""
        if self._open.pop((publisher, number), None) is not None:
            self._refused += 1

    def followed(self, subscriber: str, channel: str, position: Position) -> None:
        """A subscriber was told where it begins; changes nothing if it was handed something already."""
        log = self._log(channel, position.epoch)
        self._tracks.setdefault((subscriber, channel), _Track(position.seq, log.forks))

    def delivered(
        self,
        subscriber: str,
        channel: str,
        seq: int,
        *,
        publisher: str | None = None,
        number: int = 0,
        replay: bool = False,
    ) -> None:
        """A subscriber was handed message `seq` of a channel, the publisher's `number`; `replay`: from history.

        `publisher` is None for a stranger's message, whose numbers mean nothing to us.
        """
        self._delivered += 1
        self._replayed += replay
        self._see(subscriber, channel, seq, publisher, number)

    def rewritten(
        self, subscriber: str, channel: str, seq: int, *, publisher: str | None = None, number: int = 0
    ) -> None:
        """A subscriber was not handed message `seq`, because it had been handed it before the log forked."""
        self._rewritten += 1
        self._see(subscriber, channel, seq, publisher, number)

    def resynced(self, subscriber: str, channel: str, position: Position, *, lost: int, fork: bool, now: float) -> None:
        """A subscriber was told to go on after `position`, that `lost` messages are gone for it, and whether by a fork.

        A log of another epoch is a fork in any case.
        """
        self._resyncs += 1
        self._lost += lost
        log, track = self._log(channel, position.epoch), self._track(subscriber, channel, position.seq)
        if fork or position.epoch != log.epoch:
            track.top = max(track.top, position.seq)  # What lies between is in `lost` already.
            self._fork(log, track, position, kept=0, now=now)
        track.restart(position.seq)

    def rewound(self, subscriber: str, channel: str, position: Position, *, now: float) -> None:
        """A subscriber was told that the log forked after `position`."""
        self._rewound += 1
        log, track = self._log(channel, position.epoch), self._track(subscriber, channel, position.seq)
        same_log = position.epoch == log.epoch
        self._fork(log, track, position, kept=position.seq if same_log else 0, now=now)
        if not same_log or track.top > position.seq:
            track.restart(position.seq)

    def head(self, subscriber: str, channel: str) -> int | None:
        """Return the highest place of the channel that anybody was handed, or that is due by now.

        None if nothing was handed to the subscriber, or if it goes on in a history that a fork took back: its own place
        cannot be compared then.
        """
        log, track = self._logs.get(channel), self._tracks.get((subscriber, channel))
        if log is None or track is None or track.forks != log.forks:
            return None
        return max(log.top, log.due)

    def forget(self, client: str) -> None:
        """A client left for good: what it was not answered is nobody's loss any more.

        The numbers of a later publisher of this name have to go on where these ended.
        """
        for track in [key for key in self._tracks if key[0] == client]:
            del self._tracks[track]
        for message in [key for key in self._open if key[0] == client]:
            del self._open[message]

    def counts(self, now: float) -> AuditCounts:
        """Return what was counted so far."""
        never_acked = 0
        for sent in self._open.values():  # The oldest stand first.
            if now - sent <= NEVER_ACKED_S:
                break
            never_acked += 1
        self._pass(now)
        missing = sum(now - since > REWRITE_S for track in self._tracks.values() for since in track.missing.values())
        overdue = sum(max(0, self._logs[channel].due - track.top) for (_, channel), track in self._tracks.items())
        return AuditCounts(
            published=self._published,
            delivered=self._delivered,
            lost=self._lost + missing,
            duplicated=self._duplicated,
            inverted=self._inverted,
            never_acked=never_acked,
            refused=self._refused,
            overdue=overdue,
            resyncs=self._resyncs,
            rewound=self._rewound,
            rewritten=self._rewritten,
            replayed=self._replayed,
        )

    def _log(self, channel: str, epoch: str = "") -> _Log:
        log = self._logs.get(channel)
        if log is None:
            log = self._logs[channel] = _Log(epoch)
        log.epoch = log.epoch or epoch
        return log

    def _track(self, subscriber: str, channel: str, top: int) -> _Track:
        return self._tracks.setdefault((subscriber, channel), _Track(top, self._log(channel).forks))

    def _see(self, subscriber: str, channel: str, seq: int, publisher: str | None, number: int) -> None:
        log = self._log(channel)
        track = self._tracks.get((subscriber, channel))
        if track is None:
            track = self._tracks[subscriber, channel] = _Track(seq, log.forks)
        else:
            before = track.top
            match track.take(seq):
                case Step.AHEAD:
                    self._lost += seq - before - 1
                case Step.TWICE:
                    self._duplicated += 1
                case Step.LATE:
                    self._inverted += 1
                    self._lost -= 1
                case _:
                    pass  # The next one.
        if publisher is not None and track.missing:
            track.missing.pop((publisher, number), None)
        # Who does not know of the fork yet may still be handed what came of the other history.
        if seq > log.top and track.forks == log.forks:
            log.top = seq
            if publisher is not None:
                log.note(seq, publisher, number)
                self._check_written(log, publisher, number)

    def _fork(self, log: _Log, track: _Track, position: Position, *, kept: int, now: float) -> None:
        log.fork(position, kept=kept)
        if track.forks < log.forks:
            track.forks = log.forks
            for message, seq in log.void.items():
                if seq > track.top:
                    track.missing.setdefault(message, now)

    def _pass(self, now: float) -> None:
        """Move what was answered long enough ago to what is due."""
        for log in self._logs.values():
            while log.answered and now - log.answered[0][0] > OVERDUE_S:
                log.due = max(log.due, log.answered.popleft()[1])

    def _check_written(self, log: _Log, publisher: str, number: int) -> None:
        again = log.void.pop((publisher, number), None) is not None
        written = log.written.get(publisher)
        if written is None:
            log.written[publisher] = Sequence(number)
            return
        match written.take(number):
            case Step.TWICE if not again:  # Otherwise it never happened until now.
                self._duplicated += 1
            case Step.LATE if not again:
                self._inverted += 1
            case _:
                pass  # A hole is a message that was refused, or is still on its way.
