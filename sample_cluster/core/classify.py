"""What is wrong with a network link, told from how a prober's questions were answered.

Theory of operation. `LinkHistory` keeps the last samples of one link: when each was asked, how long the answer took,
and what the kernel counted meanwhile. `verdict` looks at them all at once; nothing is carried over between two looks,
so that a verdict can always be explained by the samples shown beside it. `silence` tells from one look at the prober's
own socket why an answer does not come, long before a timeout does.

All `now` are monotonic seconds, given by the caller.
"""

import struct
from collections import deque
from dataclasses import dataclass
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


class Trouble(StrEnum):
    """What can be said of a link."""

    NONE = "none"
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


class LinkHistory:
    """The last samples of one link."""

    def __init__(self, *, base_s: float, now: float) -> None:
        """`base_s` is the round trip of the link when nothing is wrong with it."""
        self._base_s = base_s
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
        if silent_s >= PERSISTENT_S and unanswered >= PERSISTENT_PROBES:
            trouble = Trouble.PERSISTENT
        elif unanswered:
            trouble = Trouble.TRANSIENT
        elif middle is not None and self._is_slow(middle):
            # Late as a whole: what little is later still says nothing of lost segments.
            trouble = Trouble.HIGH_LATENCY
        elif lossy:
            trouble = Trouble.PACKET_LOSS
        elif any(sample.rtt_s is None for sample in samples):
            trouble = Trouble.TRANSIENT
        else:
            trouble = Trouble.NONE
        return LinkVerdict(trouble, middle, silent_s, unanswered, spikes, again)

    def _is_slow(self, middle_s: float) -> bool:
        return middle_s > max(LATENCY_FACTOR * self._base_s, self._base_s + LATENCY_ABOVE_S)


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
    )


def silence(info: TcpInfo | None, *, ended: bool, asked_s: float) -> Silence:
    """Return why no answer has come to what was asked `asked_s` seconds ago.

    `ended` says that the connection was closed, reset or refused; `info` is None where the kernel does not tell.
    """
    if ended:
        return Silence.GONE
    if info is None:
        return Silence.UNDECIDED
    if info.unacked and (info.retransmits or info.backoff):
        return Silence.UNREACHABLE
    if not info.unacked and asked_s > max(RTO_S, info.rto_s):
        return Silence.FROZEN
    return Silence.UNDECIDED
