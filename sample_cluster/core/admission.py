"""Who comes in at a gateway's door, who waits, and when those come again for whom there is no room.

Theory of operation. A caller passes three doors. `Newcomers` bounds those who have connected and said nothing: the
oldest gives way, since an honest caller needs one round trip and a hostile one stays. `judge_head` looks at what the
caller says only so far as to know that it is a request. `Line` bounds those who wait for a node to what the nodes
shake hands with in `wait_s`, and gives everybody else a second of the future to come again in.

The line is a timetable: every second has as many places as the nodes shake hands with in one. The n-th caller that is
turned away gets the n-th place, so that callers come back as fast as they can be served and no faster. `Retry-After`
counts whole seconds, and so does the timetable: nothing is rounded. Callers are invited half of `wait_s` before their
turn, which keeps the nodes busy whoever is late. While somebody is invited for now, his place is kept: a caller
without an invitation waits only if the line has room for both. A caller is known by its address; callers behind one
address share their invitations.

How fast the nodes are is measured whenever the line is not empty, because only then it is they who are waited for.
Without a line they do at least what is asked of them: that can show that they are faster than we thought, never that
they are slower.

`Release` stands at the other end of a connection. When a node dies, all its clients would hear of it at once; those
who are more than the other nodes can take are told a little later, each at the time at which there is room for it.

All times are monotonic seconds, given by the caller.
"""

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

HANDSHAKES_PER_S: Final = 400.0
"""What a node is trusted to do before anything is known. Source: benchmarks/handshakes.py, one node on half a core."""
HANDSHAKES_PER_S_LEAST: Final = 5.0
MEASURED_S: Final = 0.5
"""A measurement takes this long at least."""
RESERVE: Final = 0.1
"""Share of each second's places for those who came when told and found no room all the same."""
LATE_S: Final = 2
"""An invitation holds this many seconds longer than its own."""
BURST_SHARE: Final = 0.5
"""Of what the nodes do in the time over which clients spread themselves, so many are let go of at once. They come while
the next are let go of already: with half of it, there are never more than one and a half times of what is done."""
CROWD_S: Final = 0.2
CROWD_SHARE: Final = 0.25
"""Those whose connections end within this long, or this share of the time over which they spread, may be a crowd: a dead
node's connections end all at once, those that are closed one by one are never many in so short a time."""
AHEAD_S: Final = 120
"""Nobody is sent away for longer. More callers than there are places until then get none."""

Caller = TypeVar("Caller", bound=Hashable)


class Newcomers(Generic[Caller]):
    """Callers that have not said what they want, by address, in the order of their coming."""

    def __init__(self, *, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._address: dict[Caller, str] = {}
        self._by_address: dict[str, dict[Caller, None]] = {}

    def __len__(self) -> int:
        return len(self._address)

    def add(self, caller: Caller, address: str) -> Caller | None:
        """Take a caller; return the one that has to give way."""
        mine = self._by_address.setdefault(address, {})
        over: Caller | None = None
        if len(mine) >= self._most_per_address:
            over = next(iter(mine))
        elif len(self._address) >= self._most:
            over = next(iter(self._address))
        self._address[caller] = address
        mine[caller] = None
        if over is not None:
            self.remove(over)
        return over

    def remove(self, caller: Caller) -> None:
        """Take note that a caller has said what it wants, or is gone; one that is not here changes nothing."""
        address = self._address.pop(caller, None)
        if address is not None:
            mine = self._by_address[address]
            del mine[caller]
            if not mine:
                del self._by_address[address]


class Head(StrEnum):
    """What the first bytes of a connection are."""

    UNFINISHED = "unfinished"
    REQUEST = "request"
    UPGRADE = "upgrade"
    """A request for a WebSocket."""
    TOO_BIG = "too_big"
    GARBAGE = "garbage"


_METHOD: Final = re.compile(rb"[A-Z]{1,16}(?: |$)")
_REQUEST_LINE: Final = re.compile(rb"[A-Z]{1,16} \S+ HTTP/1\.[01]\r\n")
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)


def judge_head(data: bytes | bytearray, *, most: int) -> Head:
    """Say what `data`, all that came so far, is. More than `most` bytes are too many before a node has answered."""
    if not _METHOD.match(data[:17]):
        return Head.GARBAGE
    if len(data) > most:
        return Head.TOO_BIG
    if b"\r\n\r\n" not in data:
        return Head.UNFINISHED
    if not _REQUEST_LINE.match(data):
        return Head.GARBAGE
    return Head.UPGRADE if _UPGRADE.search(data) else Head.REQUEST


class Speed:
    """How many handshakes a node does in a second."""

    def __init__(self, per_node: float = HANDSHAKES_PER_S) -> None:
        self.per_node = per_node
        self.measured = False
        """Whether `per_node` is more than what was believed at the beginning."""
        self._busy = _Count()
        self._any = _Count()

    def done(self, now: float, *, waiting: bool, nodes: int) -> None:
        """Count a handshake; `waiting` says whether more wait, `nodes` how many nodes share the work."""
        if not nodes:
            self._busy, self._any = _Count(), _Count()
            return
        at_least = self._any.add(now, nodes)
        if at_least is not None and at_least > self.per_node:
            self._learn(at_least)
        if not waiting:
            self._busy = _Count()
            return
        measured = self._busy.add(now, nodes)
        if measured is not None:
            self._learn((self.per_node + measured) / 2)

    def _learn(self, per_node: float) -> None:
        self.per_node, self.measured = max(per_node, HANDSHAKES_PER_S_LEAST), True


@dataclass(slots=True)
class _Count:
    """Handshakes of the same nodes since a moment; nothing before the first."""

    since: float = -math.inf
    nodes: int = 0
    done: int = 0

    def add(self, now: float, nodes: int) -> float | None:
        """Count one; return how many each node does in a second, once they were counted for long enough."""
        if nodes != self.nodes:
            self.since, self.nodes, self.done = now, nodes, 0
            return None
        self.done += 1
        if now - self.since < MEASURED_S:
            return None
        each = self.done / (now - self.since) / nodes
        self.since, self.done = now, 0
        return each


@dataclass(slots=True)
class _Second:
    """The invitations of one second that nobody has made use of."""

    count: int = 0
    """All that were ever given."""
    left: int = 0
    callers: dict[str, int] = field(default_factory=dict)


class Line:
    """The line before the nodes. The shell keeps those who wait, in order; the line says who may."""

    def __init__(self, *, wait_s: float, per_node: float = HANDSHAKES_PER_S) -> None:
        self.speed = Speed(per_node)
        self._wait_s = wait_s
        self._seconds: dict[int, _Second] = {}
        self._nodes = 1
        self._kept_from = -(2**62)

    @property
    def invited(self) -> int:
        """How many have been told when to come again and have not come."""
        return sum(second.left for second in self._seconds.values())

    @property
    def capacity(self) -> float:
        """Handshakes per second of all nodes, as of the last arrival."""
        return self.speed.per_node * self._nodes

    def arrive(self, caller: str, now: float, *, waiting: int, nodes: int) -> int | None:
        """Take a caller into the line, or return in how many seconds, at least one, it should come again.

        `waiting` are in the line, `nodes` take connections; without any nobody waits.
        """
        second = math.floor(now)
        self._forget(second)
        if nodes:
            self._nodes = nodes
        invited = self._claim(caller, second)
        kept = 0 if invited else sum(self._left(due) for due in range(second - LATE_S, second + 2))
        if nodes and waiting + kept < max(1.0, self.capacity * self._wait_s):
            return None
        return self._invite(caller, second, waiting=waiting, again=invited)

    def turned_away(self, caller: str, now: float, *, waiting: int) -> int:
        """Return in how many seconds one that was in the line, in vain, should come again."""
        second = math.floor(now)
        self._forget(second)
        return self._invite(caller, second, waiting=waiting, again=True)

    def _claim(self, caller: str, now: int) -> bool:
        for due in range(now - LATE_S, now + 1):
            second = self._seconds.get(due)
            if second is not None and second.callers.get(caller):
                second.callers[caller] -= 1
                second.left -= 1
                return True
        return False

    def _invite(self, caller: str, now: int, *, waiting: int, again: bool) -> int:
        capacity = self.capacity
        places = max(1, math.floor(capacity if again else capacity * (1 - RESERVE)))
        first = now + max(1, math.ceil(waiting / capacity - self._wait_s / 2))
        for due in range(first, now + AHEAD_S):
            second = self._seconds.setdefault(due, _Second())
            if second.count < places:
                second.count += 1
                second.left += 1
                second.callers[caller] = second.callers.get(caller, 0) + 1
                return due - now
        return AHEAD_S

    def _left(self, due: int) -> int:
        second = self._seconds.get(due)
        return 0 if second is None else second.left

    def _forget(self, now: int) -> None:
        """Give up the invitations of those who did not come."""
        keep_from = now - LATE_S
        if keep_from > self._kept_from:
            self._kept_from = keep_from
            for due in [due for due in self._seconds if due < keep_from]:
                del self._seconds[due]


class Release:
    """When to let go of clients whose node is gone. They come back at once, spread over `spread_s`.

    Connections also end one by one, however busy the nodes are; that is no crowd and nobody is kept for it.
    """

    def __init__(self, *, spread_s: float, most_s: float) -> None:
        """Nobody is kept for longer than `most_s`: by then a client finds out for itself."""
        self._spread_s = spread_s
        self._most_s = most_s
        self._crowd_s = min(CROWD_S, CROWD_SHARE * spread_s)
        self._since = -math.inf
        self._next = -math.inf

    def wait_s(self, now: float, *, per_s: float) -> float:
        """Count one more client; return how long to keep it, 0 if there is room for it now.

        `per_s` is how many handshakes the other nodes do in a second.
        """
        if now - self._since > self._crowd_s and self._next <= now:
            self._since, self._next = now, -math.inf
        self._next = max(self._next, now - BURST_SHARE * self._spread_s) + 1 / per_s
        wait_s = max(0.0, self._next - now)
        # Those who are too many for `most_s` are shared out evenly over it.
        return wait_s if wait_s <= self._most_s else math.fmod(wait_s, self._most_s)
