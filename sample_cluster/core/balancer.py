"""Where a new connection goes, whose connections are cut, and when a node that came back gets a fair share again.

Theory of operation. Only nodes whose verdict is online get new connections: the one with the fewest for its weight,
equals in turn. A node that comes back among others that are well established starts at a tenth of its weight and has
all of it after `ramp_s`. New connections alone would leave it idle for hours, so `moves` asks full nodes to send some
of theirs away, gently. All `now` are monotonic seconds.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

from wsmon.protocol.states import NodeState

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
UNEVEN_SHARE = 0.2
UNEVEN_COUNT = 2
"""Loads this share of the mean plus this many connections apart are even enough: moving costs clients a reconnect."""

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


@dataclass(slots=True)
class _Place:
    backend: Backend
    full_at: float
    """When the node has its whole weight."""
    online_since: float
    turn: int = 0
    """Raised at every choice, so that equals are chosen in turn."""
    avoided_until: float = -math.inf
    refusals: int = 0
    """How many connections in a row were refused."""


class Balancer:
    """Chooses among nodes. Tell it the table with `update`, and of every connection with `opened` and `closed`."""

    def __init__(self, *, ramp_s: float) -> None:
        self._ramp_s = ramp_s
        self._places: dict[str, _Place] = {}
        self._connections: dict[str, int] = {}
        self._turn = 0
        self._trial_at = -math.inf

    @property
    def nodes(self) -> Mapping[str, Backend]:
        """The table as it was told last."""
        return {node: place.backend for node, place in self._places.items()}

    def connections(self, node: str) -> int:
        """Return how many connections go to the node."""
        return self._connections.get(node, 0)

    def opened(self, node: str) -> None:
        """Count a connection; do so when the choice is made, or a burst would all choose alike."""
        self._connections[node] = self._connections.get(node, 0) + 1

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
                place = _Place(backend, full_at=-math.inf, online_since=since)
                if backend.state is NodeState.ONLINE and self._has_elders(before, node, since):
                    place.full_at = since + self._ramp_s
            elif backend.state is NodeState.ONLINE and place.backend.state not in _CARRIES_ON:
                place.online_since = now
                place.full_at = now + self._ramp_s if self._has_elders(before, node, now) else -math.inf
            elif backend.state is NodeState.ONLINE and place.backend.state is not NodeState.ONLINE:
                place.online_since = now
            if backend.state not in _CARRIES_ON:
                place.refusals, place.avoided_until = 0, -math.inf
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

    def took_nothing(self, node: str, now: float) -> None:
        """Say that the node refused a connection: it is cordoned, full, or gone, and its verdict not there yet."""
        place = self._places.get(node)
        if place is not None:
            place.avoided_until = now + min(AVOIDED_S * 2**place.refusals, TRIAL_S)
            place.refusals = min(place.refusals + 1, REFUSALS_MAX)
            self._trial_at = now + TRIAL_S

    def took(self, node: str) -> None:
        """Say that the node took a connection."""
        place = self._places.get(node)
        if place is not None:
            place.refusals = 0
            place.avoided_until = -math.inf

    def pick(self, now: float, *, without: Container[str] = ()) -> str | None:
        """Return the node that a new connection goes to, None if there is none."""
        best: tuple[bool, float, int] | None = None
        choice: str | None = None
        for node, place in self._places.items():
            weight = self.weight(node, now)
            if not weight or node in without:
                continue
            rank = (now < place.avoided_until, (self.connections(node) + 1) / weight, place.turn)
            if best is None or rank < best:
                best, choice = rank, node
        if choice is not None:
            self._turn += 1
            self._places[choice].turn = self._turn
        return choice

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
        if max(excess.values()) - min(excess.values()) <= UNEVEN_SHARE * mean + UNEVEN_COUNT:
            return ()
        if any(self._places[node].refusals for node in weights):
            # Whoever is sent away would only come back: one is enough to find out.
            if now < self._trial_at:
                return ()
            self._trial_at = now + TRIAL_S
            return (Move(max(excess, key=lambda node: excess[node]), 1),)
        return tuple(
            Move(node, min(math.ceil(self.connections(node) * MOVED_AT_ONCE), math.floor(over)))
            for node, over in excess.items()
            if over >= 1
        )

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
