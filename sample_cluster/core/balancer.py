"""Where a new connection goes, whose connections are cut, and when a node that came back gets a fair share again.

Theory of operation. Only nodes whose verdict is online get new connections: the one with the fewest for its weight,
equals in turn. A node that comes back among others that are well established starts at a tenth of its weight and has
all of it after `ramp_s`. New connections alone would leave it idle for hours, so `moves` asks full nodes to send some
of theirs away, gently.

Every connection begins with a handshake, which a node answers, refuses, or leaves unanswered. A node gets a few at a
time only, the next when it is through with one: it sets the pace, and its loop has time for those who are there
already. Who does not answer has a circuit breaker opened before it.

Several balancers may stand before the same nodes, and each counts its own connections only: what each has spread
evenly is even in sum. They begin with different nodes, by dice, or the first connection of each would go to the same.
A node that is asked to send connections away does not know whose they are; a balancer that asked in vain leaves more
and more time before it asks again, so that two of them do not push clients round in circles.

All `now` are monotonic seconds.
"""

import math
import random
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sample_cluster.core.breaker import Breaker, BreakerTiming, State
from wsmon.protocol.states import NodeState

T = TypeVar("T")

WEIGHT_MIN = 0.1
MOVED_AT_ONCE = 0.1
"""At most this share of a node's connections is asked to move within a second."""
AVOIDED_S = 2.0
"""A node that took no connection is tried again after this long, then after twice that, and so on up to `TRIAL_S`.

Longer than the second after which a client that was turned away comes back: it must not meet the same node again.
"""
TRIAL_S = 15.0
"""While a node takes nothing, one connection this often is moved to find out whether it does again."""
REFUSALS_MAX = 8
HANDSHAKES_AT_ONCE = 32
"""Enough to keep a node busy over a round trip; more would wait in its loop, before those it serves."""
UNEVEN_SHARE = 0.2
UNEVEN_COUNT = 2
"""Loads this share of the mean plus this many connections apart are even enough: moving costs clients a reconnect."""
HELPS_WITHIN_S = 3.0
"""Those who were asked to go have arrived elsewhere by then."""
IN_VAIN_MOST_S = 60.0
"""The most that lies between two requests that did not help."""

_CARRIES_ON = (NodeState.ONLINE, NodeState.SUSPECT, NodeState.DRAINING)
"""States between which a node keeps its weight: it never stopped serving."""
_UNSETTLED = (NodeState.SUSPECT, NodeState.JOINING, NodeState.RECOVERING, NodeState.DRAINING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What verdict and registry say of a node."""

    state: NodeState
    boot: int | None = None
    """The life of the node that the verdict is about."""
    address: str | None = None
    """`host:port` for clients; without one the node gets none."""
    admin: str | None = None
    age_s: float = 0.0
    """How long ago the verdict was given."""


@dataclass(frozen=True, slots=True)
class Move:
    """A node is to send `count` of its connections away."""

    node: str
    count: int


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """The breaker before a node opened, closed or tries."""

    node: str
    old: State
    new: State


@dataclass(slots=True)
class _Place:
    backend: Backend
    full_at: float
    """When the node has its whole weight."""
    online_since: float
    breaker: Breaker
    turn: float = 0
    """Raised at every choice, so that equals are chosen in turn."""
    avoided_until: float = -math.inf
    refusals: int = 0
    """How many connections in a row were refused."""


class Balancer:
    """Chooses among nodes. Tell it the table with `update`, and of every connection with `opened` and `closed`."""

    def __init__(
        self,
        *,
        ramp_s: float,
        dice: random.Random,
        unreached_s: float = 1.0,
        breaker: BreakerTiming = BreakerTiming(),  # noqa: B008  # Frozen.
    ) -> None:
        """Make a node that did not answer the last choice for `unreached_s`: its breaker opens after several times."""
        self._ramp_s = ramp_s
        self._unreached_s = unreached_s
        self._dice = dice
        self._breaker = breaker
        self._places: dict[str, _Place] = {}
        self._connections: dict[str, int] = {}
        self._handshakes: dict[str, int] = {}
        self._turn = 0
        self._trial_at = -math.inf
        self._patience = _Patience()
        self.changes: list[BreakerChange] = []
        """What the breakers did, for the shell to tell and clear."""

    @property
    def nodes(self) -> Mapping[str, Backend]:
        """The table as it was told last."""
        return {node: place.backend for node, place in self._places.items()}

    def connections(self, node: str) -> int:
        """Return how many connections go to the node."""
        return self._connections.get(node, 0)

    def breaker(self, node: str) -> Breaker:
        """Return the breaker before a node of the table."""
        return self._places[node].breaker

    def opened(self, node: str) -> None:
        """Count a connection whose handshake begins; do so when the choice is made, or a burst would all choose alike.

        End the handshake with one of `took`, `took_nothing`, `unreached` and `gave_up`, the connection with `closed`.
        """
        self._connections[node] = self._connections.get(node, 0) + 1
        self._handshakes[node] = self._handshakes.get(node, 0) + 1

    def closed(self, node: str) -> None:
        """Count a connection off."""
        left = self._connections[node] - 1
        assert left >= 0
        if left:
            self._connections[node] = left
        else:
            del self._connections[node]

    def update(self, table: Mapping[str, Backend], now: float) -> tuple[str, ...]:
        """Take the table; return the nodes whose connections lead nowhere and have to be cut."""
        cut = [
            node
            for node, backend in table.items()
            if backend.state is NodeState.REMOVED or self._is_another_life(node, backend)
        ]
        before = self._places
        self._places = {}
        for node, backend in table.items():
            place = before.get(node)
            if place is None:
                # First sight: the age of the verdict tells how long the node has served.
                since = now - backend.age_s
                breaker = Breaker(self._breaker, self._dice)
                place = _Place(
                    backend, full_at=-math.inf, online_since=since, breaker=breaker, turn=-self._dice.random()
                )
                if backend.state is NodeState.ONLINE and self._has_elders(before, node, since):
                    place.full_at = since + self._ramp_s
            elif backend.state is NodeState.ONLINE and place.backend.state not in _CARRIES_ON:
                place.online_since = now
                place.full_at = now + self._ramp_s if self._has_elders(before, node, now) else -math.inf
            elif backend.state is NodeState.ONLINE and place.backend.state is not NodeState.ONLINE:
                place.online_since = now
            if backend.state not in _CARRIES_ON:
                place.refusals, place.avoided_until = 0, -math.inf
                self._judge(node, place, place.breaker.reset)
            place.backend = backend
            self._places[node] = place
        return tuple(cut)

    def weight(self, node: str, now: float) -> float:
        """Return the node's weight in [0.1, 1], 0 if it gets nothing new."""
        place = self._places.get(node)
        if place is None or place.backend.state is not NodeState.ONLINE or place.backend.address is None:
            return 0.0
        if now >= place.full_at or self._ramp_s <= 0:
            return 1.0
        done = 1 - (place.full_at - now) / self._ramp_s
        return WEIGHT_MIN + (1 - WEIGHT_MIN) * max(done, 0.0)

    def usable(self, now: float, *, without: Container[str] = ()) -> int:
        """Return how many nodes take connections now or as soon as they are through with those they have."""
        return sum(node not in without and self._may_be_asked(node, place, now) for node, place in self._places.items())

    def pick(self, now: float, *, without: Container[str] = ()) -> str | None:
        """Return the node that a new connection goes to, None if none has room. Tell `opened` at once."""
        best: tuple[bool, float, float] | None = None
        choice: str | None = None
        for node, place in self._places.items():
            if node in without or not self._may_be_asked(node, place, now):
                continue
            if self._handshakes.get(node, 0) >= HANDSHAKES_AT_ONCE:
                continue
            rank = (now < place.avoided_until, (self.connections(node) + 1) / self.weight(node, now), place.turn)
            if best is None or rank < best:
                best, choice = rank, node
        if choice is None:
            return None
        place = self._places[choice]
        allowed = self._judge(choice, place, lambda: place.breaker.allows(now))
        assert allowed
        self._turn += 1
        place.turn = self._turn
        return choice

    def took(self, node: str) -> None:
        """Say that the node took a connection."""
        self._shaken(node)
        place = self._places.get(node)
        if place is not None:
            place.refusals = 0
            place.avoided_until = -math.inf
            self._judge(node, place, place.breaker.succeeded)

    def took_nothing(self, node: str, now: float) -> None:
        """Say that the node refused a connection: it is cordoned, full or draining, and its verdict not there yet."""
        self._shaken(node)
        place = self._places.get(node)
        if place is not None:
            place.avoided_until = now + min(AVOIDED_S * 2**place.refusals, TRIAL_S)
            place.refusals = min(place.refusals + 1, REFUSALS_MAX)
            self._trial_at = now + TRIAL_S
            self._judge(node, place, place.breaker.succeeded)  # It is there to say so.

    def unreached(self, node: str, now: float) -> None:
        """Say that the node could not be connected to, or did not answer."""
        self._shaken(node)
        place = self._places.get(node)
        if place is not None:
            place.avoided_until = max(place.avoided_until, now + self._unreached_s)
            place.refusals = max(place.refusals, 1)
            self._trial_at = now + TRIAL_S
            self._judge(node, place, lambda: place.breaker.failed(now))

    def gave_up(self, node: str) -> None:
        """Say that a client left before the node had answered."""
        self._shaken(node)
        place = self._places.get(node)
        if place is not None:
            place.breaker.abandoned()

    def moves(self, now: float) -> tuple[Move, ...]:
        """Return which nodes should send how many connections away; ask once a second, not more often.

        Nothing moves while any node is on its way in or out or under suspicion, or came online only just now.
        """
        if any(place.backend.state in _UNSETTLED for place in self._places.values()):
            return ()
        weights = {node: weight for node in self._places if (weight := self.weight(node, now))}
        if len(weights) < 2 or any(now - self._places[node].online_since <= self._ramp_s / 2 for node in weights):
            return ()
        total = sum(self.connections(node) for node in weights)
        share = total / sum(weights.values())
        excess = {node: self.connections(node) - share * weight for node, weight in weights.items()}
        mean = total / len(weights)
        uneven = max(excess.values()) - min(excess.values())
        if uneven <= UNEVEN_SHARE * mean + UNEVEN_COUNT:
            self._patience = _Patience()
            return ()
        if any(self._places[node].refusals for node in weights):
            # Whoever is sent away would only come back: one is enough to find out.
            if now < self._trial_at:
                return ()
            self._trial_at = now + TRIAL_S
            return (Move(max(excess, key=lambda node: excess[node]), 1),)
        if not self._patience.asks(uneven, now):
            return ()
        return tuple(
            Move(node, min(math.ceil(self.connections(node) * MOVED_AT_ONCE), math.floor(over)))
            for node, over in excess.items()
            if over >= 1
        )

    def _may_be_asked(self, node: str, place: _Place, now: float) -> bool:
        return bool(self.weight(node, now)) and place.breaker.would_allow(now)

    def _shaken(self, node: str) -> None:
        left = self._handshakes[node] - 1
        assert left >= 0
        if left:
            self._handshakes[node] = left
        else:
            del self._handshakes[node]

    def _judge(self, node: str, place: _Place, tell: Callable[[], T]) -> T:
        """Tell a breaker something, and note what it made of it."""
        old = place.breaker.state
        answer = tell()
        if place.breaker.state is not old:
            self.changes.append(BreakerChange(node, old, place.breaker.state))
        return answer

    def _is_another_life(self, node: str, backend: Backend) -> bool:
        place = self._places.get(node)
        known = None if place is None else place.backend.boot
        return known is not None and backend.boot is not None and backend.boot > known

    def _has_elders(self, places: Mapping[str, _Place], node: str, since: float) -> bool:
        """Say whether others were established already; a cluster that starts needs no ramp, it has nobody to spare."""
        return any(
            other != node and place.backend.state in _CARRIES_ON and since - place.online_since > self._ramp_s
            for other, place in places.items()
        )


@dataclass(slots=True)
class _Patience:
    """When to ask for moves again. Asking every second is right as long as it helps."""

    least: float = math.inf
    """How uneven it was at best."""
    helped_at: float = 0.0
    wait_s: float = 0.0
    asked_at: float = -math.inf

    def asks(self, uneven: float, now: float) -> bool:
        """Say whether to ask, now that it is `uneven`."""
        if uneven < self.least:
            self.least, self.helped_at, self.wait_s = uneven, now, 0.0
        elif now - self.helped_at > HELPS_WITHIN_S and now - self.asked_at >= self.wait_s:
            self.wait_s = min(max(1.0, 2 * self.wait_s), IN_VAIN_MOST_S)
        if now - self.asked_at < self.wait_s:
            return False
        self.asked_at = now
        return True
