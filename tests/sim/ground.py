"""What everything in a simulated cluster stands on: the dice, the clock, the connections, and the sizes."""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

from sample_cluster.core.messages import ClientFrame, NodeFrame

if TYPE_CHECKING:
    from tests.sim.client_side import SimClient
    from tests.sim.node_side import Connection

ABNORMAL: Final = 1006


class BrokenInvariantError(AssertionError):
    """Something that must never happen has happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of one simulated cluster; small, so that every bound is reached."""

    nodes: int
    channels: int
    clients: int
    ring: int
    window: int
    page: int
    keep: int
    """Entries that a log keeps."""
    ack_every: int
    refusals: float
    """Share of publishes that a node refuses for a while, as its rate limit would."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of one direction of a connection."""

    code: int


class Owner(Protocol):
    """Who set a timer. What a frozen one waits for happens when it is thawed; for one that is gone never."""

    frozen: bool
    gone: bool
    late: list[Callable[[], None]]


class Ground:
    """Clock, dice and notes of one simulation."""

    def __init__(self, dice: Random, shape: Shape, *, tracing: bool = False) -> None:
        self.dice = dice
        self.shape = shape
        self.now = 1_000.0
        self.tally: Counter[str] = Counter()
        """How often something worth reaching was reached."""
        self.tracing = tracing
        self.lines: list[str] = []
        self.switched = False
        """Whether Redis was ever another one than before: only then may histories fork."""
        self._timers: list[tuple[float, int, Owner, Callable[[], None]]] = []
        self._count = 0

    def number(self) -> int:
        """Return the next number of a series that never repeats."""
        self._count += 1
        return self._count

    def say(self, text: str, *args: object) -> None:
        """Write a line of the trace."""
        if self.tracing:
            self.lines.append(f"{self.now:8.2f}  {text.format(*args)}")

    def after(self, owner: Owner, delay_s: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self._count += 1
        heapq.heappush(self._timers, (self.now + delay_s, self._count, owner, action))

    @property
    def next_at(self) -> float:
        """When the next timer is due."""
        return self._timers[0][0] if self._timers else self.now + 1.0

    def advance(self, to: float) -> None:
        """Let time pass, and do what is due by then."""
        timers = self._timers
        while timers and timers[0][0] <= to:
            due, _, owner, action = heapq.heappop(timers)
            self.now = max(self.now, due)
            if owner.gone:
                continue
            if owner.frozen:
                owner.late.append(action)
            else:
                action()
        self.now = max(self.now, to)


class Link:
    """A connection between a client and a node: two streams that keep their order."""

    def __init__(self, client: "SimClient", name: str) -> None:
        self.client = client
        self.name = name
        self.connection: Connection | None = None
        """Who reads `up`; None when the node is gone."""
        self.up: deque[ClientFrame | Closed] = deque()
        self.down: deque[NodeFrame | Closed] = deque()
        self.dead = False
        """Whether nothing that is sent from now on arrives."""
        self.up_over = False
        self.down_over = False

    def send_up(self, frame: ClientFrame | Closed) -> None:
        """Send from the client to the node."""
        if not self.dead and not self.up_over:
            self.up.append(frame)
            self.up_over = isinstance(frame, Closed)

    def send_down(self, frame: NodeFrame | Closed) -> None:
        """Send from the node to the client."""
        if not self.dead and not self.down_over:
            self.down.append(frame)
            self.down_over = isinstance(frame, Closed)

    def cut(self, dice: Random, *, tell_node: bool, tell_client: bool, lose: bool = True) -> None:
        """End the connection: of what is under way only a part arrives, if `lose`, and each side learns of it or not."""
        for stream, tell in ((self.up, tell_node), (self.down, tell_client)):
            whole: deque[Any] = stream
            if lose and whole:
                for _ in range(dice.randrange(len(whole) + 1)):
                    whole.pop()
            if tell and not (whole and isinstance(whole[-1], Closed)):
                whole.append(Closed(ABNORMAL))
        self.dead = True
