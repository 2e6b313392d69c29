"""Faults of links, injected on purpose: what they are, how long they last, and what they do to bytes.

Theory of operation. A link leads from one process to another and is named after both: `gateway-n1`. `LinkFaults` knows
which faults every link has and until when; each has a time after which it is over, whoever asked for it. A `Lane` is
one direction of one connection: bytes are put in, and come out when the faults of the link let them. Both hold at any
time that no byte is lost, doubled or overtaken: below the bytes of a TCP connection lies a network that loses and
delays packets, but the connection itself does not.

All `now` are monotonic seconds, given by the caller.
"""

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, TypeAlias

from wsmon.errors import OperationRefusedError
from wsmon.protocol.events import FaultEnded, FaultStarted
from wsmon.protocol.frames import JsonObject

TTL_MAX_S: Final = 3_600.0
LATENCY_MAX_S: Final = 60.0
LOSS_MAX: Final = 0.9
"""A network that loses more carries nothing: that is a black hole."""
RATE_MIN, RATE_MAX = 100.0, 1e9
SEGMENT_BYTES: Final = 1_448
"""What one packet of TCP carries over Ethernet, with time stamps."""
RETRANSMIT_S: Final = 0.2
"""What a lost segment costs, doubled for each time it is lost again. Source: Linux, TCP_RTO_MIN; RFC 6298 (5.5)."""
RETRANSMITS_MOST: Final = 6
PIECE_S: Final = 0.05
PIECE_BYTES_MIN: Final = 64
"""A slow link hands on what goes through in this time, or this many bytes, at once."""

# Values


class LinkFault(StrEnum):
    """What can be wrong with a link."""

    LATENCY = "latency"
    LOSS = "loss"
    BANDWIDTH = "bandwidth"
    BLACKHOLE = "blackhole"
    RESET = "reset"


class Way(StrEnum):
    """A direction, seen from the process that a link is named after first."""

    TO = "to"
    FROM = "from"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Latency:
    """Everything takes longer, each way, by `delay_s` give or take up to `jitter_s`."""

    delay_s: float
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Loss:
    """So large a share of all segments has to be sent again."""

    share: float


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """No more than this passes, each way of each connection."""

    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Blackhole:
    """Nothing passes in this direction, and nobody is told; what was sent arrives after the fault has ended."""

    way: Way


@dataclass(frozen=True, slots=True)
class Reset:
    """Every connection is reset: those that exist, and new ones as long as it lasts."""


Shape: TypeAlias = Latency | Loss | Bandwidth | Blackhole | Reset

VALUES: Final[Mapping[LinkFault, str]] = {
    LinkFault.LATENCY: f"a time up to {LATENCY_MAX_S:g}s, such as 200ms, or 200ms±50ms with jitter",
    LinkFault.LOSS: f"a share above 0% and up to {LOSS_MAX:.0%}, such as 5%",
    LinkFault.BANDWIDTH: "a rate from 100B/s to 1000MB/s, such as 64kB/s",
    LinkFault.BLACKHOLE: f"{', '.join(Way)} (both)",
    LinkFault.RESET: "none",
}
"""Which values a fault takes, in words."""
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile(rf"{_NUMBER}(ms|s)(?:(?:±|\+-|~){_NUMBER}(ms|s))?")
_SHARE = re.compile(rf"{_NUMBER}%")
_RATE = re.compile(rf"{_NUMBER}(|k|M)B/s")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "k": 1e3, "M": 1e6}


def decode_shape(fault: LinkFault, value: str | None) -> Shape:
    """Return the fault with its value, as it is written: `200ms`, `200ms±50ms`, `5%`, `64kB/s`, `to`.

    Raises:
        OperationRefusedError: the value does not fit the fault; the message says what does.

    """
    text = value or ""
    shape: Shape | None = None
    match fault:
        case LinkFault.LATENCY:
            if found := _DURATION.fullmatch(text):
                delay_s = float(found[1]) * _UNITS[found[2]]
                jitter_s = float(found[3]) * _UNITS[found[4]] if found[3] else 0.0
                if jitter_s <= delay_s <= LATENCY_MAX_S and delay_s > 0:
                    shape = Latency(delay_s, jitter_s)
        case LinkFault.LOSS:
            if found := _SHARE.fullmatch(text):
                share = float(found[1]) / 100
                shape = Loss(share) if 0 < share <= LOSS_MAX else None
        case LinkFault.BANDWIDTH:
            if found := _RATE.fullmatch(text):
                rate = float(found[1]) * _UNITS[found[2]]
                shape = Bandwidth(rate) if RATE_MIN <= rate <= RATE_MAX else None
        case LinkFault.BLACKHOLE:
            if (text or Way.BOTH) in list(Way):
                shape = Blackhole(Way(text or Way.BOTH))
        case LinkFault.RESET:
            shape = None if text else Reset()
    if shape is None:
        raise OperationRefusedError("bad_argument", f"{fault} with the value {text!r}; allowed: {VALUES[fault]}")
    return shape


def check_ttl(ttl_s: float) -> float:
    """Return a fault's lifetime if it is one.

    Raises:
        OperationRefusedError: it is not positive, or too long to be called passing.

    """
    if not 0 < ttl_s <= TTL_MAX_S:
        raise OperationRefusedError("bad_argument", f"ttl_s is {ttl_s:g}, not in 0…{TTL_MAX_S:g}")
    return ttl_s


# Links


@dataclass(frozen=True, slots=True)
class Link:
    """One process calls another."""

    source: str
    target: str
    main: bool = True
    """Whether it is always shown; nodes call each other only to ask whether one is there."""

    @property
    def name(self) -> str:
        """What the link is called."""
        return f"{self.source}-{self.target}"


def links(kinds: Iterable[tuple[str, str]]) -> dict[str, Link]:
    """Return the links between processes, given as pairs of id and kind, by their names."""
    processes = tuple(kinds)
    found = [
        Link(source, target, main=kind != callee)
        for source, kind in processes
        for target, callee in processes
        if source != target and callee in _CALLS.get(kind, ())
    ]
    return {link.name: link for link in found}


_CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway": ("node", "redis"),
    "node": ("redis", "node"),
    "checker": ("node", "redis"),
    "fleet": ("gateway",),
}


@dataclass(frozen=True, slots=True)
class Reshaped:
    """The link has other faults now: see `LinkFaults.shapes`."""

    link: str


Deed: TypeAlias = Reshaped | FaultStarted | FaultEnded


@dataclass(frozen=True, slots=True)
class _Active:
    shape: Shape
    value: str
    until: float


class LinkFaults:
    """The faults of all links. Every one ends by itself: call `tick` at the `deadline`."""

    def __init__(self) -> None:
        self._table: dict[str, dict[LinkFault, _Active]] = {}
        self._deeds: list[Deed] = []

    def start(self, link: str, shape: Shape, value: str, ttl_s: float, *, now: float) -> None:
        """Begin a fault; one of the same kind on the same link gives way."""
        until = now + check_ttl(ttl_s)
        fault = _FAULT_OF[type(shape)]
        faults = self._table.setdefault(link, {})
        if fault in faults:
            self._end(link, fault)
        self._table.setdefault(link, {})[fault] = _Active(shape, value, until)
        self._deeds += [Reshaped(link), FaultStarted(fault=fault, target=link, value=value or None, ttl_s=ttl_s)]

    def heal(self, link: str | None = None, *, dry_run: bool = False) -> tuple[str, ...]:
        """End all faults of one link, or of all; return the links that had any."""
        healed = tuple(name for name in self._table if link in (None, name))
        for name in () if dry_run else healed:
            self._end_all(name, self._table[name])
        return healed

    @property
    def deadline(self) -> float:
        """When `tick` has to be called next; infinite if never."""
        return min((active.until for faults in self._table.values() for active in faults.values()), default=math.inf)

    def tick(self, now: float) -> None:
        """Let time pass. Calling too early does nothing."""
        for name, faults in [*self._table.items()]:
            over = [fault for fault, active in faults.items() if active.until <= now]
            if over:
                self._end_all(name, over)

    def take(self) -> tuple[Deed, ...]:
        """Return what is to be done and told since the last call, in order."""
        deeds, self._deeds = tuple(self._deeds), []
        return deeds

    def shapes(self, link: str) -> tuple[Shape, ...]:
        """Return what is wrong with a link."""
        return tuple(active.shape for active in self._table.get(link, {}).values())

    def value(self, link: str, fault: str) -> str:
        """Return the value of a fault as it was written; empty without one."""
        return next((active.value for kind, active in self._table.get(link, {}).items() if kind == fault), "")

    def state(self, known: Iterable[Link]) -> JsonObject:
        """Return every link with its faults, those of no use to anybody left out."""
        names = [link.name for link in known if link.main or link.name in self._table]
        return {name: {"fault": "+".join(self._table[name])} if name in self._table else {} for name in names}

    def _end_all(self, link: str, faults: Iterable[LinkFault]) -> None:
        for fault in [*faults]:
            self._end(link, fault)

    def _end(self, link: str, fault: LinkFault) -> None:
        del self._table[link][fault]
        if not self._table[link]:
            del self._table[link]
        self._deeds += [Reshaped(link), FaultEnded(fault=fault, target=link)]


_FAULT_OF: Final[Mapping[type, LinkFault]] = {
    Latency: LinkFault.LATENCY,
    Loss: LinkFault.LOSS,
    Bandwidth: LinkFault.BANDWIDTH,
    Blackhole: LinkFault.BLACKHOLE,
    Reset: LinkFault.RESET,
}

# Bytes


@dataclass(slots=True)
class _Piece:
    data: bytes
    """Empty for the end of the stream."""
    due: float


class Lane:
    """One direction of one connection: bytes in order, each with a time before which it must not go on."""

    def __init__(self, way: Way, dice: Random) -> None:
        """`way` is TO or FROM; `dice` decide on jitter and loss."""
        self._way = way
        self._dice = dice
        self._pieces: deque[_Piece] = deque()
        self._shapes: tuple[Shape, ...] = ()
        self._free_at = -math.inf
        self.waiting = 0
        """Bytes that have not come out yet."""

    @property
    def empty(self) -> bool:
        """Whether everything that was put in has come out, the end included."""
        return not self._pieces

    @property
    def clear(self) -> bool:
        """Whether bytes may pass by: nothing waits, and nothing is wrong with the link."""
        return not self._pieces and not self._shapes

    @property
    def deadline(self) -> float:
        """When `take` has something; infinite if it will not until something changes."""
        return self._pieces[0].due if self._pieces else math.inf

    def put(self, data: bytes, now: float) -> None:
        """Take bytes in."""
        size = self._piece_size(len(data))
        for begin in range(0, len(data), size):
            self._append(data[begin : begin + size], now)

    def end(self, now: float) -> None:
        """Note that nothing more will come in; the end travels like everything before it."""
        self._append(b"", now)

    def take(self, now: float) -> tuple[bytes, ...]:
        """Return what may go on now, in order; empty bytes are the end."""
        taken = []
        # Whatever is not due holds up all behind it, as a lost segment does: nothing overtakes.
        while self._pieces and self._pieces[0].due <= now:
            piece = self._pieces.popleft()
            self.waiting -= len(piece.data)
            taken.append(piece.data)
        return tuple(taken)

    def reshape(self, shapes: tuple[Shape, ...], now: float) -> None:
        """Have the link other faults. What waits sets out anew, as if it had been sent this moment."""
        self._shapes = shapes
        waiting = [*self._pieces]
        self._pieces.clear()
        self.waiting = 0
        self._free_at = -math.inf
        for piece in waiting:
            if piece.data:
                self.put(piece.data, now)
            else:
                self.end(now)

    def _append(self, data: bytes, now: float) -> None:
        self._pieces.append(_Piece(data, self._due(len(data), now)))
        self.waiting += len(data)

    def _due(self, size: int, now: float) -> float:
        due = now
        for shape in self._shapes:
            match shape:
                case Latency(delay_s, jitter_s):
                    due += delay_s + jitter_s * self._dice.uniform(-1, 1)
                case Loss(share):
                    due += self._retransmission_s(max(1, math.ceil(size / SEGMENT_BYTES)), share)
                case Bandwidth(bytes_per_s):
                    self._free_at = max(self._free_at, now) + size / bytes_per_s
                    due += self._free_at - now
                case Blackhole(way):
                    due = math.inf if way in (Way.BOTH, self._way) else due
                case Reset():
                    pass  # Ends connections, and does nothing to bytes.
        return due

    def _retransmission_s(self, segments: int, share: float) -> float:
        """Return what losses cost: segments on their way at the same time are sent again at the same time."""
        losses = max(self._losses(share) for _ in range(segments))
        return RETRANSMIT_S * ((1 << losses) - 1)

    def _losses(self, share: float) -> int:
        losses = 0
        while losses < RETRANSMITS_MOST and self._dice.random() < share:
            losses += 1
        return losses

    def _piece_size(self, size: int) -> int:
        rates = [shape.bytes_per_s for shape in self._shapes if isinstance(shape, Bandwidth)]
        return max(PIECE_BYTES_MIN, int(min(rates) * PIECE_S)) if rates else max(1, size)


def dice_of(seed: int | str) -> Callable[[], Random]:
    """Return a source of dice, one set for each direction of each connection, the same every time for one seed."""
    first = Random(seed)
    return lambda: Random(first.getrandbits(64))
