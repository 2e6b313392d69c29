"""The end-to-end auditor: compares what was published with what every subscriber was handed.

Theory of operation. A channel's log is contiguous, so each subscriber has to be handed its numbers one by one from
the first that it saw. Each subscriber has a highest number and a window of flags for the numbers below it: a number
that is skipped counts as lost until it comes late (then it is inverted), one that comes twice is duplicated. Every
message also tells its publisher and a running number; the first subscriber to see a place in the log checks those in
the same way, which finds a message that was written twice. What was answered with a place in the log and has not
reached a subscriber some time later is overdue: late, not lost. Each delivery costs the same, whatever went before,
and memory grows with subscribers and publishers only.

All times are monotonic seconds, given by the caller.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WINDOW: Final = 256
"""How far below the highest number a duplicate can be told from an inversion; what is older counts as duplicated."""
NEVER_ACKED_S: Final = 10.0
"""A publish that is unanswered for longer counts as never acknowledged, until it is answered after all."""
OVERDUE_S: Final = 10.0
"""An answered publish is due at every subscriber of its channel this long after the answer."""
DUE_EVERY_S: Final = 0.25
"""Answers are remembered no more often than this, each time with the highest place."""
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


class Auditor:
    """Counts for all publishers and subscribers of a fleet."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], Sequence] = {}
        self._tops: dict[str, int] = {}
        self._written: dict[tuple[str, str], Sequence] = {}
        self._open: dict[tuple[str, int], float] = {}
        self._answered: dict[str, deque[tuple[float, int]]] = {}
        self._due: dict[str, int] = {}
        self._published = self._delivered = self._lost = self._duplicated = self._inverted = self._refused = 0

    def sent(self, publisher: str, number: int, now: float) -> None:
        """A message was handed to the client library; its answer is due. Numbers rise with each publisher."""
        self._open[publisher, number] = now

    def answered(self, publisher: str, number: int, channel: str, seq: int, now: float) -> None:
        """The cluster said that the message is in the log at `seq`; 0 if it does not remember where."""
        if self._open.pop((publisher, number), None) is None:
            return
        self._published += 1
        answers = self._answered.setdefault(channel, deque())
        if answers and now - answers[-1][0] < DUE_EVERY_S:
            since, highest = answers.pop()
            answers.append((since, max(highest, seq)))
        else:
            answers.append((now, seq))
            self._pass(now)

    def refused(self, publisher: str, number: int) -> None:
        """The cluster said that it does not take the message."""
        if self._open.pop((publisher, number), None) is not None:
            self._refused += 1

    def followed(self, subscriber: str, channel: str, seq: int) -> None:
        """A subscriber was told that it begins after `seq`; changes nothing if it was handed something already."""
        self._tracks.setdefault((subscriber, channel), Sequence(seq))

    def delivered(
        self, subscriber: str, channel: str, seq: int, *, publisher: str | None = None, number: int = 0
    ) -> None:
        """A subscriber was handed message `seq` of a channel, the publisher's `number`.

        `publisher` is None for a stranger's message, whose numbers mean nothing to us.
        """
        self._delivered += 1
        track = self._tracks.get((subscriber, channel))
        if track is None:
            self._tracks[subscriber, channel] = Sequence(seq)
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
                case Step.NEXT:
                    pass
        if seq > self._tops.get(channel, 0):
            self._tops[channel] = seq
            if publisher is not None:
                self._check_written(channel, publisher, number)

    def resynced(self, subscriber: str, channel: str, seq: int, *, lost: int) -> None:
        """A subscriber was told to go on after `seq`, and that `lost` messages are gone for it."""
        self._tracks[subscriber, channel] = Sequence(seq)
        self._lost += lost
        if seq < self._tops.get(channel, 0):
            self._tops[channel] = seq  # Another log, or another history of it.
            self._answered.pop(channel, None)
            self._due.pop(channel, None)

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
        overdue = sum(max(0, self._due.get(channel, 0) - track.top) for (_, channel), track in self._tracks.items())
        return AuditCounts(
            published=self._published,
            delivered=self._delivered,
            lost=self._lost,
            duplicated=self._duplicated,
            inverted=self._inverted,
            never_acked=never_acked,
            refused=self._refused,
            overdue=overdue,
        )

    def _pass(self, now: float) -> None:
        """Move what was answered long enough ago to what is due."""
        for channel, answers in self._answered.items():
            while answers and now - answers[0][0] > OVERDUE_S:
                self._due[channel] = max(self._due.get(channel, 0), answers.popleft()[1])

    def _check_written(self, channel: str, publisher: str, number: int) -> None:
        written = self._written.get((channel, publisher))
        if written is None:
            self._written[channel, publisher] = Sequence(number)
            return
        match written.take(number):
            case Step.TWICE:
                self._duplicated += 1
            case Step.LATE:
                self._inverted += 1
            case Step.NEXT | Step.AHEAD:
                pass  # A hole is a message that was refused, or is still on its way.
