"""Judges a run from what its clients wrote down, and from nothing else.

Theory of operation. A log is a sequence of facts, one JSON line each, in the order of their monotonic time; `client`
says who writes, `fact` what happened. `check` folds them into a `Verdict`:

- *lost*: a message that a subscriber should have and has not, and that no `resync` or `rewind` told it of. There are
  two ways to find one: a hole in the sequence numbers that were delivered, and a publish that was answered (or that
  any other subscriber got) and never came. What a subscriber should have begins where its subscription began.
- *named*: the same, but the subscriber was told afterwards: a `resync` names the numbers between what the client had
  and where it goes on, a `rewind` those of its `void`. A `resync` after a fork says that anything before may be
  missing, and is taken at its word for what was answered, but never for a hole that was there before it.
- *duplicated*: a sequence number, a message id or a publisher's number that a subscriber got twice.
- *inverted*: a number that came after a higher one; by sequence, or by publisher. After a fork of the log a message may
  be appended again behind later ones: such are counted as *late* and break no promise.
- *broken*: `prev` is not the nonce of the message before, with no word from the node in between: another history.
- *unanswered*: published, and at the end neither answered nor refused for good.
- *resumes*: welcomes by which a subscriber took its session up again. One is *clean* if no channel of it was fresh and no `resync` came
  before its first delivery on the channel.
- *resume time*: from noticing the loss to the first delivery after it; to the welcome for who subscribes to nothing,
  or to whom nothing was sent any more. Who leaves because a node asked it to has lost nothing; how long that took
  shows in its pause.
- *pause*: how long a subscriber waited while there was something to deliver: from the delivery before, or from the
  sending of the message if that was later, to the delivery. Only within the fault (first `fault` to `quiet`).
- *missing in the log*: answered, and at the end not among the `stored` facts, if the run looked into the logs.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

EXAMPLES: Final = 12
"""Findings of one kind that are described; all are counted."""

Key: TypeAlias = tuple[str, int]
"""A publisher and its number: what a message is, whatever its place in a log."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to."""

    subscribers: int = 0
    sent: int = 0
    answered: int = 0
    delivered: int = 0
    lost: int = 0
    named: int = 0
    duplicated: int = 0
    inverted: int = 0
    late: int = 0
    broken: int = 0
    unanswered: int = 0
    refused: int = 0
    """Publishes that were refused for good, which is an answer."""
    retried: int = 0
    """Refusals for now."""
    resumes: int = 0
    clean: int = 0
    handovers: int = 0
    resyncs: int = 0
    rewinds: int = 0
    gaps: int = 0
    """Holes that a client noticed and had filled."""
    stopped: int = 0
    """Clients that were told never to come back."""
    away: int = 0
    """Clients that were lost and not back at the end."""
    resume_p50_s: float = math.nan
    resume_p99_s: float = math.nan
    resume_most_s: float = math.nan
    losses: int = 0
    pause_p50_s: float = math.nan
    """Median over the subscribers of each one's longest pause."""
    pause_most_s: float = math.nan
    stale: int = 0
    """Messages that a replica had not heard of when it was promoted."""
    stored: int | None = None
    missing_in_log: int = 0
    stored_twice: int = 0
    lag_most_ms: float = 0.0
    """How late the clients' own loop was at worst within the fault: what the harness itself adds to pauses."""
    settled: bool = False
    outcomes: tuple[tuple[str, int], ...] = ()
    """What became of failed attempts."""
    examples: tuple[str, ...] = ()


@dataclass(slots=True)
class _Stream:
    """One channel of one subscriber."""

    epoch: str
    first: int
    last: int
    nonce: int
    seqs: set[int] = field(default_factory=set)
    holes: dict[int, float] = field(default_factory=dict)
    """Missing sequence number → when it was passed over."""
    ids: set[str] = field(default_factory=set)
    keys: set[Key] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)
    """Publisher → highest number."""
    named: list[tuple[float, int, int]] = field(default_factory=list)
    """When, and which sequence numbers, first and last, this subscriber was told that it misses."""
    forks: list[tuple[float, int]] = field(default_factory=list)
    """When it was told that anything before may be missing, and the number after which the new history goes on."""
    told: bool = False
    """A `resync` or `rewind` came since the last message."""
    since: float = 0.0
    delivered_at: float = -math.inf
    pause_s: float = 0.0

    def names(self, seq: int, *, since: float) -> bool:
        """Say whether the subscriber was told of this number, at `since` or later."""
        return any(at >= since and first <= seq <= last for at, first, last in self.named)

    def excuses(self, message: "_Message") -> bool:
        """Say whether the subscriber was told of this message after it was sent.

        An answer may overtake such a word, or be overtaken by it, where they come from different nodes. A number of
        the new history that was passed over in spite of it shows as a hole.
        """
        if message.seq and self.names(message.seq, since=message.sent):
            return True
        return any(at >= message.sent and (at >= message.known or message.seq <= to) for at, to in self.forks)


@dataclass(slots=True)
class _Way:
    """One client's way through its connections."""

    lost_at: float | None = None
    left: bool = False
    """It went by itself, because a node asked it to."""
    welcomed_at: float | None = None
    """When it was welcomed after the loss, if nothing was delivered yet."""
    resume_open: bool = False
    """The last resume may still turn out to need a `resync`."""
    resume_clean: bool = True


@dataclass(frozen=True, slots=True)
class _Message:
    """A message that subscribers should have."""

    key: Key
    seq: int
    """0 if the node had forgotten it when it answered."""
    sent: float
    known: float
    """When it was answered or first delivered."""


def check(lines: Iterable[str]) -> Verdict:
    """Return the verdict on a whole run. Lines of one client are in order; those of different files need not be."""
    judge = _Judge()
    for line in lines:
        judge.take(json.loads(line))
    return judge.verdict()


class _Judge:
    """Facts go in, one after the other; the verdict comes out once."""

    def __init__(self) -> None:
        self.streams: dict[tuple[str, str], _Stream] = {}
        self.counts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.ways: dict[str, _Way] = defaultdict(_Way)
        self.subscribers: set[str] = set()
        self.sent: dict[Key, float] = {}
        self.open: set[Key] = set()
        self.answers: dict[str, dict[Key, tuple[int, float]]] = defaultdict(dict)
        """Channel → what was answered → its place, and when."""
        self.seen: dict[str, dict[Key, tuple[int, float]]] = defaultdict(dict)
        """Channel → what any subscriber got → its place, and when."""
        self.late: list[tuple[str, str]] = []
        self.forked: set[str] = set()
        self.resume_s: list[float] = []
        self.stored: dict[Key, int] | None = None
        self.stored_from: dict[str, int] = {}
        """Channel → where its log begins: what came before was trimmed."""
        self.fault_at: float | None = None
        self.quiet_at: float | None = None
        self.lag_ms = 0.0
        self.settled = False

    def take(self, fact: dict[str, Any]) -> None:
        """Fold one fact in."""
        match fact["fact"]:
            case "delivered":
                self._delivered(fact)
            case "skipped":
                self._skipped(fact)
            case "sent":
                key = _of(fact["channel"], (fact["client"], fact["number"]))
                self.sent[key] = fact["at"]
                self.open.add(key)
            case "answered":
                key = _of(fact["channel"], (fact["client"], fact["number"]))
                self.open.discard(key)
                self.answers[fact["channel"]][key] = (fact["seq"], fact["at"])
            case "refused":
                if fact["temporary"]:
                    self.counts["retried"] += 1
                else:
                    self.counts["refused"] += 1
                    self.open.discard(_of(fact["channel"], (fact["client"], fact["number"])))
            case "subscribed":
                position = fact["position"]
                self.subscribers.add(fact["client"])
                self.streams[fact["client"], fact["channel"]] = _Stream(
                    epoch=position["epoch"],
                    first=position["seq"],
                    last=position["seq"],
                    nonce=position["nonce"],
                    since=fact["at"],
                )
            case "resync":
                self._resync(fact)
            case "rewind":
                self._rewind(fact)
            case "gap":
                self.counts["gaps"] += 1
            case "welcome":
                self._welcome(fact)
            case "lost":
                way = self.ways[fact["client"]]
                self._close_resume(way)
                if way.lost_at is None:
                    way.lost_at, way.left = fact["at"], fact["how"] == "left"
                way.welcomed_at = None
            case "failed":
                self.outcomes[fact["outcome"]] += 1
            case "stopped":
                self._find("stopped", f"{fact['client']} was told never to come back (close code {fact['code']})")
            case "fault":
                self.fault_at = fact["at"] if self.fault_at is None else self.fault_at
            case "quiet":
                self.quiet_at = fact["at"]
            case "lag":
                if self._within_fault(fact["at"]):
                    self.lag_ms = max(self.lag_ms, fact["ms"])
            case "stale":
                self.counts["stale"] += fact["messages"]
            case "stored":
                self._stored(fact)
            case "end":
                self.settled = fact["settled"]
            case _:
                pass  # Facts that tell a person more about a run.

    # Deliveries.

    def _delivered(self, fact: dict[str, Any]) -> None:
        self.counts["delivered"] += 1
        client, channel = fact["client"], fact["channel"]
        stream = self.streams[client, channel]
        at, seq = fact["at"], fact["seq"]
        key = _of(channel, (fact["publisher"], fact["number"]))
        self._place(client, channel, stream, fact)
        if fact["id"] in stream.ids or key in stream.keys:
            self._find("duplicated", f"{client} got {key[0]} {key[1]} on {channel} twice, now as {seq} at {at}")
        stream.ids.add(fact["id"])
        stream.keys.add(key)
        before = stream.newest.get(key[0], 0)
        if key[1] < before:
            self.late.append((channel, f"{client} got {key[0]} {key[1]} after {before} on {channel} at {at}"))
        stream.newest[key[0]] = max(before, key[1])
        self.seen[channel].setdefault(key, (seq, at))
        if self._within_fault(at):
            stream.pause_s = max(stream.pause_s, at - max(stream.delivered_at, fact["sent"]))
        stream.delivered_at = at
        way = self.ways[client]
        self._close_resume(way)
        if way.welcomed_at is not None:
            self._back(way, at)

    def _skipped(self, fact: dict[str, Any]) -> None:
        client, channel = fact["client"], fact["channel"]
        stream = self.streams[client, channel]
        self._place(client, channel, stream, fact)
        if fact["id"] not in stream.ids:
            self._find("lost", f"{client} dropped {fact['id']} on {channel} as known, and never had it")

    def _place(self, client: str, channel: str, stream: _Stream, fact: dict[str, Any]) -> None:
        """Check the place of a message in its stream."""
        seq, at = fact["seq"], fact["at"]
        if seq == stream.last + 1:
            if fact["prev"] != stream.nonce and not stream.told:
                self._find("broken", f"{client} on {channel}: {seq} does not continue {stream.last}, at {at}")
        elif seq > stream.last:
            stream.holes.update(dict.fromkeys(range(stream.last + 1, seq), at))
        elif seq in stream.seqs:
            self._find("duplicated", f"{client} got seq {seq} of {channel} twice, again at {at}")
        else:
            stream.holes.pop(seq, None)
            self._find("inverted", f"{client} got seq {seq} of {channel} after {stream.last}, at {at}")
        stream.seqs.add(seq)
        stream.told = False
        if seq > stream.last:
            stream.last, stream.nonce = seq, fact["nonce"]

    def _resync(self, fact: dict[str, Any]) -> None:
        self.counts["resyncs"] += 1
        way = self.ways[fact["client"]]
        way.resume_clean = False
        stream = self.streams.get((fact["client"], fact["channel"]))
        position = fact["position"]
        if stream is None:
            return
        to = position["seq"]
        if fact["reason"] in {"fork", "epoch", "expired"} or position["epoch"] != stream.epoch:
            self.forked.add(fact["channel"])
            stream.forks.append((fact["at"], to))
        stream.named.append((fact["at"], min(stream.last, to) + 1, max(stream.last, to)))
        self._go_to(stream, position, fact["at"])

    def _rewind(self, fact: dict[str, Any]) -> None:
        self.counts["rewinds"] += 1
        self.forked.add(fact["channel"])
        stream = self.streams.get((fact["client"], fact["channel"]))
        if stream is None:
            return
        first, last = fact["void"]
        stream.named.append((fact["at"], first, last))
        self._go_to(stream, fact["position"], fact["at"])

    @staticmethod
    def _go_to(stream: _Stream, position: dict[str, Any], at: float) -> None:
        to = position["seq"]
        if position["epoch"] != stream.epoch:
            stream.seqs.clear()
        elif to > stream.last:  # Those that were named are found to be so in the end.
            stream.holes.update(dict.fromkeys(range(stream.last + 1, to + 1), at))
        stream.seqs = {seq for seq in stream.seqs if seq <= to}
        stream.epoch, stream.last, stream.nonce = position["epoch"], to, position["nonce"]
        stream.told = True

    # Connections.

    def _welcome(self, fact: dict[str, Any]) -> None:
        way = self.ways[fact["client"]]
        self._close_resume(way)
        if not fact["resuming"]:
            return
        if fact["client"] in self.subscribers:
            self.counts["resumes"] += 1
            self.counts["handovers"] += bool(fact["handover"])
            way.resume_open, way.resume_clean = True, not fact["fresh"]
            way.welcomed_at = None if way.lost_at is None else fact["at"]
        else:
            self._back(way, fact["at"])

    def _back(self, way: _Way, at: float) -> None:
        if way.lost_at is not None and not way.left:
            self.resume_s.append(at - way.lost_at)
        way.lost_at = way.welcomed_at = None

    def _close_resume(self, way: _Way) -> None:
        if way.resume_open:
            way.resume_open = False
            self.counts["clean"] += way.resume_clean
        way.resume_clean = True

    # The log.

    def _stored(self, fact: dict[str, Any]) -> None:
        if self.stored is None:
            self.stored = {}
        key = _of(fact["channel"], (fact["publisher"], fact["number"]))
        if key in self.stored:
            self._find("stored_twice", f"{key[0]} {key[1]} stands twice in the log of {fact['channel']}")
        self.stored[key] = fact["seq"]
        self.stored_from.setdefault(fact["channel"], fact["seq"])

    # The end.

    def verdict(self) -> Verdict:
        """Return what it all came to."""
        for way in self.ways.values():
            self._close_resume(way)
            if way.welcomed_at is not None:
                self._back(way, way.welcomed_at)
        for channel, text in self.late:
            if channel in self.forked:
                self.counts["late"] += 1
            else:
                self._find("inverted", text)
        owed = {channel: self._owed(channel) for _, channel in self.streams}
        for (client, channel), stream in self.streams.items():
            self._count_missing(client, channel, stream, owed[channel])
        for key in sorted(self.open):
            self._find("unanswered", f"{key[0]} {key[1]}: neither answered nor refused")
        away = [client for client, way in self.ways.items() if way.lost_at is not None]
        for client in away:
            self._find("away", f"{client} was lost at {self.ways[client].lost_at} and is not back")
        if self.stored is not None:
            for channel, answers in self.answers.items():
                first = self.stored_from.get(channel, 1)
                for key, (seq, _) in answers.items():
                    if key not in self.stored and seq >= first:
                        self._find("missing_in_log", f"{key[0]} {key[1]}: answered as {seq} and not in the log")
        pauses = [stream.pause_s for stream in self.streams.values()]
        names = (
            *("delivered", "lost", "named", "duplicated", "inverted", "late", "broken", "unanswered", "refused"),
            *("retried", "resumes", "clean", "handovers", "resyncs", "rewinds", "gaps", "stopped", "away"),
            *("missing_in_log", "stored_twice", "stale"),
        )
        return Verdict(
            **{name: self.counts[name] for name in names},
            subscribers=len(self.streams),
            sent=len(self.sent),
            answered=sum(map(len, self.answers.values())),
            resume_p50_s=percentile(self.resume_s, 50),
            resume_p99_s=percentile(self.resume_s, 99),
            resume_most_s=percentile(self.resume_s, 100),
            losses=len(self.resume_s),
            pause_p50_s=percentile(pauses, 50),
            pause_most_s=percentile(pauses, 100),
            stored=None if self.stored is None else len(self.stored),
            lag_most_ms=self.lag_ms,
            settled=self.settled,
            outcomes=tuple(self.outcomes.most_common()),
            examples=tuple(f"{kind}: {text}" for kind, texts in self.examples.items() for text in texts),
        )

    def _owed(self, channel: str) -> list[_Message]:
        """Return all messages of a channel that its subscribers should have."""
        places = dict(self.answers[channel])
        if channel not in self.forked:  # What became void before anybody answered for it was never promised.
            places = {**self.seen[channel], **places}
        return [_Message(key, seq, self.sent.get(key, -math.inf), at) for key, (seq, at) in places.items()]

    def _count_missing(self, client: str, channel: str, stream: _Stream, owed: list[_Message]) -> None:
        """Count what one subscriber should have and has not. What both ways find is one message."""
        named, lost = set(), {}
        for seq, at in stream.holes.items():
            if stream.names(seq, since=at):
                named.add(seq)
            else:
                lost[seq] = "a hole"
        for message in owed:
            seq = message.seq
            if message.key in stream.keys or not (seq > stream.first or message.sent > stream.since):
                continue
            what = f"{message.key[0]} {message.key[1]}"
            if stream.excuses(message):
                named.add(seq)
            elif seq:
                lost[seq] = what
            else:  # The node has forgotten where the message is.
                self._find("lost", f"{client} never got {what}, whose number nobody knows")
        for seq, what in sorted(lost.items()):
            self._find("lost", f"{client} never got seq {seq} of {channel} ({what})")
        self.counts["named"] += len(named - lost.keys())

    def _within_fault(self, at: float) -> bool:
        return self.fault_at is not None and at >= self.fault_at and (self.quiet_at is None or at <= self.quiet_at)

    def _find(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(text)


def _of(channel: str, key: Key) -> Key:
    """Return the key of a publisher's message on one of its channels, each of which it numbers by itself."""
    return f"{key[0]}@{channel}", key[1]


def percentile(values: list[float], percent: float) -> float:
    """Return the least value that `percent` of all do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
