"""What is wrong with a network link, told from how a prober's questions were answered.

Theory of operation. `LinkHistory` keeps the last samples of one link: when each was asked, how long the answer took,
and what the kernel counted meanwhile. `verdict` looks at them all at once; nothing is carried over between two looks,
so that a verdict can always be explained by the samples shown beside it. `silence` tells from one look at the prober's
own socket why an answer does not come, long before a timeout does. `LinkWatch` puts both together for the way to one
node: it learns what the way is like when it is well, takes late answers for the answers that they are, and says one
word at a time.

All `now` are monotonic seconds, given by the caller.
"""

import math
import struct
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median
from typing import Final

SAMPLES_MOST: Final = 20
SAMPLES_FOR_S: Final = 60.0
"""A verdict rests on the last 20 samples, none older than a minute."""
PERSISTENT_S: Final = 30.0
PERSISTENT_PROBES: Final = 3
LATENCY_FACTOR: Final = 3.0
LATENCY_ABOVE_S: Final = 0.1
RETRANSMITTED_MIN: Final = 0.01
SPIKE_S: Final = 0.18
"""A lost segment is sent again after 200 ms at the earliest. Source: Linux, TCP_RTO_MIN."""
SPIKES_MIN: Final = 2
RTO_S: Final = 0.2
TCP_INFO_OPTION: Final = 11
"""Source: tcp(7), TCP_INFO, on Linux."""
TCP_INFO_BYTES: Final = 104
"""struct tcp_info up to tcpi_total_retrans: what every Linux has had since 2.6."""
SEGMENTS_AT: Final = 136
"""tcpi_segs_out, since Linux 4.2."""
BASE_SAMPLES: Final = 5
"""So many answers tell what the way to a node is like."""


class Trouble(StrEnum):
    """What can be said of a link."""

    NONE = "ok"
    PERSISTENT = "persistent"
    """Not a byte for 30 s, and three questions unanswered."""
    TRANSIENT = "transient"
    """Interrupted, for less than 30 s so far or altogether."""
    HIGH_LATENCY = "high latency"
    PACKET_LOSS = "packet loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question and what became of it."""

    at: float
    """When it was answered, or given up."""
    rtt_s: float | None
    """How long the answer took; None without one."""
    segments: int = 0
    """Segments sent since the sample before, if the kernel tells."""
    retransmitted: int = 0
    """Those of them that were sent again."""


@dataclass(frozen=True, slots=True)
class LinkVerdict:
    """What is wrong, and the numbers that it rests on."""

    trouble: Trouble
    median_s: float | None = None
    silent_s: float = 0.0
    """How long nothing has come."""
    unanswered: int = 0
    """Questions without an answer since the last byte."""
    spikes: int = 0
    retransmitted: float | None = None
    """Share of segments that were sent again; None if the kernel does not tell."""
    answers: int = 0


class LinkHistory:
    """The last samples of one link."""

    def __init__(self, *, base_s: float, now: float) -> None:
        """`base_s` is the round trip of the link when nothing is wrong with it."""
        self.base_s = base_s
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MOST)
        self._byte_at = now

    def heard(self, at: float) -> None:
        """Note that bytes came, whatever they were."""
        self._byte_at = max(self._byte_at, at)

    def add(self, sample: Sample) -> None:
        """Take the next sample; they come in the order of time."""
        self._samples.append(sample)
        if sample.rtt_s is not None:
            self.heard(sample.at)

    def late(self, sample: Sample, rtt_s: float) -> None:
        """Say that the answer to this sample, which was given up, came after all."""
        for place, known in enumerate(self._samples):
            if known is sample:
                self._samples[place] = replace(known, rtt_s=rtt_s)

    def verdict(self, now: float) -> LinkVerdict:
        """Say what is wrong with the link at the moment."""
        samples = [sample for sample in self._samples if sample.at >= now - SAMPLES_FOR_S]
        answers = [sample.rtt_s for sample in samples if sample.rtt_s is not None]
        middle = median(answers) if answers else None
        spikes = 0 if middle is None else sum(rtt_s >= middle + SPIKE_S for rtt_s in answers)
        segments = sum(sample.segments for sample in samples)
        again = sum(sample.retransmitted for sample in samples) / segments if segments else None
        silent_s = now - self._byte_at
        unanswered = sum(sample.rtt_s is None and sample.at > self._byte_at for sample in samples)
        lossy = (again is not None and again >= RETRANSMITTED_MIN) or spikes >= SPIKES_MIN
        slow = middle is not None and self._is_slow(middle)
        if silent_s >= PERSISTENT_S and unanswered >= PERSISTENT_PROBES:
            trouble = Trouble.PERSISTENT
        elif unanswered > 1 or (unanswered and not slow and not lossy):
            # One question alone may be on its way yet, where answers are known to take long.
            trouble = Trouble.TRANSIENT
        elif slow:
            # Late as a whole: what little is later still says nothing of lost segments.
            trouble = Trouble.HIGH_LATENCY
        elif lossy:
            trouble = Trouble.PACKET_LOSS
        elif any(sample.rtt_s is None for sample in samples):
            trouble = Trouble.TRANSIENT
        else:
            trouble = Trouble.NONE
        return LinkVerdict(trouble, middle, silent_s, unanswered, spikes, again, len(answers))

    def _is_slow(self, middle_s: float) -> bool:
        return middle_s > max(LATENCY_FACTOR * self.base_s, self.base_s + LATENCY_ABOVE_S)


class Silence(StrEnum):
    """Why an answer does not come."""

    GONE = "gone"
    """The peer's end is closed, or nobody listens: no process has the socket open."""
    FROZEN = "frozen"
    """The peer's kernel has taken our question; the process has not answered it."""
    UNREACHABLE = "unreachable"
    """Nothing confirms that our question arrived, and it is sent again and again."""
    UNDECIDED = "undecided"
    """Too early to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """What Linux tells of one connection."""

    retransmits: int
    """How often the oldest segment has been sent again so far."""
    backoff: int
    """How often the time until the next attempt has been doubled."""
    rto_s: float
    unacked: int
    """Segments that the peer's kernel has not confirmed."""
    retransmitted_total: int
    """Segments sent again since the connection was made."""
    last_sent_s: float
    """How long ago something was sent."""
    last_received_s: float
    """How long ago something came."""
    rtt_s: float
    segments: int | None = None
    """Segments sent since the connection was made; None where the kernel is too old to tell."""


def decode_tcp_info(data: bytes) -> TcpInfo | None:
    """Return what `getsockopt(IPPROTO_TCP, TCP_INFO)` of Linux answered; None if this is not its format.

    Source: include/uapi/linux/tcp.h, struct tcp_info: eight bytes of small numbers, then 32-bit ones.
    """
    if len(data) < TCP_INFO_BYTES:
        return None
    numbers = struct.unpack_from("=8B24I", data)
    retransmits, backoff = numbers[2], numbers[4]
    words = numbers[8:]
    return TcpInfo(
        retransmits=retransmits,
        backoff=backoff,
        rto_s=words[0] / 1e6,
        unacked=words[4],
        last_sent_s=words[9] / 1e3,
        last_received_s=words[11] / 1e3,
        rtt_s=words[15] / 1e6,
        retransmitted_total=words[23],
        segments=struct.unpack_from("=I", data, SEGMENTS_AT)[0] if len(data) >= SEGMENTS_AT + 4 else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the kernel told of a connection at one moment. Nothing where it does not tell."""

    tcp: TcpInfo | None = None
    unread: int | None = None
    """Of a Unix socket: bytes that the process at the other end has not read."""
    connecting: bool = False
    """There is no connection yet: nobody has confirmed the wish for one."""


def silence(look: Look, *, ended: bool, asked_s: float) -> Silence:
    """Return why no answer has come to what was asked `asked_s` seconds ago.

    `ended` says that the connection was closed, reset or refused.
    """
    if ended:
        return Silence.GONE
    if look.connecting and asked_s > RTO_S:
        return Silence.UNREACHABLE
    if look.unread:
        return Silence.FROZEN  # Nothing can get lost on its way to a process on the same machine.
    info = look.tcp
    if info is None:
        return Silence.UNDECIDED
    if info.unacked and (info.retransmits or info.backoff):
        return Silence.UNREACHABLE
    if not info.unacked and asked_s > max(RTO_S, info.rto_s):
        return Silence.FROZEN
    return Silence.UNDECIDED


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """The way to a node at one moment, as it is told."""

    word: str
    """What is wrong, in a word or two: why there is no answer, if that is known, else `trouble`."""
    since: float
    """Since when that is so."""
    trouble: Trouble
    """What the last samples say, whatever is known of the present silence."""
    silent_s: float = 0.0
    rtt_s: float | None = None
    """Median of the last answers."""
    base_s: float | None = None
    """The least that it ever was."""
    retransmitted: float | None = None


class LinkWatch:
    """The way to one node, in one life of it.

    Tell it what becomes of every question (`answered`, `unanswered`, `late`), and what the kernel says while one is
    open (`silent`). `kind` is a name for questions that go one way, such as those on the standing connection; how long
    answers take is told of one kind only, since those on fresh connections take longer.
    """

    def __init__(self, *, late_s: float, now: float) -> None:
        """An answer that comes more than `late_s` after its question says nothing of the link."""
        self._late_s = late_s
        self._history = LinkHistory(base_s=math.inf, now=now)
        self._given_up: deque[tuple[float, Sample]] = deque(maxlen=SAMPLES_MOST)
        """Questions that were given up, by when they were asked."""
        self._segments = self._retransmitted = 0
        self._why: dict[str, Silence] = {}
        """Why the last question of each kind was, or is, not answered."""
        self._unanswered: set[str] = set()
        """Kinds whose last question was given up."""
        self._word = str(Trouble.NONE)
        self._since = now

    def answered(self, kind: str, now: float, *, rtt_s: float | None = None) -> None:
        """Take an answer; `rtt_s` of the one kind whose answers are measured."""
        self._why.pop(kind, None)
        self._unanswered.discard(kind)
        if rtt_s is None:
            return
        self._add(now, rtt_s)
        found = self._history.verdict(now)
        if found.answers >= BASE_SAMPLES and found.median_s is not None:
            self._history.base_s = min(self._history.base_s, found.median_s)

    def unanswered(self, kind: str, now: float, *, asked: float | None = None) -> None:
        """Say that a question was given up; `asked`, when it was asked, of the one kind that is measured."""
        self._unanswered.add(kind)
        if asked is not None:
            self._given_up.append((asked, self._add(now, None)))

    def late(self, asked: float, rtt_s: float, now: float) -> None:
        """Take the answer to a question that was given up: it was slow, and not lost."""
        self._history.heard(now)
        for when, sample in self._given_up:
            if when == asked and rtt_s <= self._late_s:
                self._history.late(sample, rtt_s)

    def counted(self, *, segments: int, retransmitted: int) -> None:
        """Add what a connection sent, and sent again, since it was looked at before."""
        self._segments += segments
        self._retransmitted += retransmitted

    def silent(self, kind: str, why: Silence) -> None:
        """Say why the open question of this kind has no answer yet; `UNDECIDED` changes nothing."""
        if why is not Silence.UNDECIDED:
            self._why[kind] = why

    def state(self, now: float, *, gone: bool) -> LinkState:
        """Return what there is to be said; `gone` says that nobody listens at the node's address."""
        found = self._history.verdict(now)
        why = Silence.GONE if gone else self._silence
        word = str(why or found.trouble)
        if word != self._word:
            self._word, self._since = word, now
        base_s = self._history.base_s
        return LinkState(
            word=word,
            since=self._since,
            trouble=found.trouble,
            silent_s=found.silent_s,
            rtt_s=found.median_s,
            base_s=None if math.isinf(base_s) else base_s,
            retransmitted=found.retransmitted,
        )

    @property
    def _silence(self) -> Silence | None:
        """Whoever takes what we send and does not answer can be reached, even if no new connection gets through."""
        known = {why for kind, why in self._why.items() if kind in self._unanswered}
        return next((why for why in (Silence.FROZEN, Silence.UNREACHABLE) if why in known), None)

    def _add(self, now: float, rtt_s: float | None) -> Sample:
        sample = Sample(at=now, rtt_s=rtt_s, segments=self._segments, retransmitted=self._retransmitted)
        self._segments = self._retransmitted = 0
        self._history.add(sample)
        return sample


def in_words(link: LinkState) -> str:
    """Return what is wrong with a link as part of a sentence; empty where a missed answer says as much."""
    match link.word:
        case Silence.GONE:
            return "nobody listens (gone)"
        case Silence.FROZEN:
            return "it takes what is sent and does not answer (frozen)"
        case Silence.UNREACHABLE:
            return "nothing confirms that what is sent arrives (unreachable)"
        case Trouble.PERSISTENT:
            return f"not a byte for {link.silent_s:.0f} s (persistent)"
        case Trouble.HIGH_LATENCY if link.rtt_s is not None and link.base_s is not None:
            return f"answers take {link.rtt_s * 1_000:.0f} ms instead of {link.base_s * 1_000:.0f} ms (high latency)"
        case Trouble.PACKET_LOSS:
            share = "" if not link.retransmitted else f": {link.retransmitted:.0%} of segments sent again"
            return f"packets get lost{share} (packet loss)"
        case _:
            return ""
