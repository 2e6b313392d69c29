"""A node process: alive, frozen or dead, and what others notice of it."""

from collections.abc import Callable
from typing import Final, Protocol

from sample_cluster.core.pause import Standstill
from tests.sim_health.ground import Ground
from tests.sim_health.redis_side import ModelRedis
from wsmon.protocol.registry import ENTRY_RENEW_S, ENTRY_TTL_S
from wsmon.protocol.states import NodeState

FENCE_PAUSE_S: Final = 1.0


class Watcher(Protocol):
    """Whoever holds an admin connection to the node."""

    def closed_by(self, node: str, boot: int) -> None:
        """Hear that the connection ended."""
        ...

    def told_by(self, node: str, boot: int, word: NodeState) -> None:
        """Hear the node's word on its own state."""
        ...


class SimNode:
    """One node. `watchers` are those who have an open admin connection."""

    def __init__(self, name: str, ground: Ground, redis: ModelRedis) -> None:
        self.name = name
        self.boot = 0
        self.alive = False
        self.frozen = False
        self.says = NodeState.JOINING
        self.dying_until = 0.0
        self.ill_since: float | None = 0.0
        """Since when it answers nobody; None: it does."""
        self.pauses: list[tuple[float, float]] = []
        """When it answered nobody, and until when."""
        self.watchers: list[Watcher] = []
        self._ground = ground
        self._redis = redis
        self._on_thaw: list[Callable[[], None]] = []
        self._standstill = Standstill(least_s=FENCE_PAUSE_S, ttl_s=ENTRY_TTL_S, now=0.0)
        self._renewed_at: float | None = None
        self._life = 0

    @property
    def well(self) -> bool:
        """Whether it answers."""
        return self.alive and not self.frozen

    def start(self) -> None:
        """Begin to run, with a boot above all before."""
        self.alive, self.frozen = True, False
        self._begin_life()
        self._get_well()

    def kill(self, *, dying_s: float = 0.0) -> None:
        """End at once; for `dying_s` the kernel still takes connections, and ends them."""
        self.alive, self.frozen = False, False
        self.dying_until = self._ground.now + dying_s
        self._on_thaw.clear()
        self._life += 1
        self._fall_ill()
        self._end_connections()

    def freeze(self) -> None:
        """Stand still."""
        self.frozen = True
        self._fall_ill()

    def thaw(self) -> None:
        """Go on: notice the standstill first, then do what waits."""
        self.frozen = False
        now = self._ground.now
        pause = self._standstill.look(now, renewed_at=self._renewed_at)
        self._get_well()
        if pause is not None and pause.ran_out:
            self._ground.say(f"{self.name} fences itself")
            self._on_thaw.clear()
            self._end_connections()
            self._begin_life()
            return
        waiting, self._on_thaw = self._on_thaw, []
        for answer in waiting:
            answer()

    def drain(self) -> None:
        """Say that it drains."""
        self._say(NodeState.DRAINING)

    def leave(self) -> None:
        """Say that it left, take its entry back, and end."""
        self._say(NodeState.LEFT)
        if self._redis.available:
            self._redis.take_back(self.name)
        self.kill()

    def answer(self, reply: Callable[[], None]) -> None:
        """Reply as soon as it runs; never, if it is dead."""
        if self.well:
            reply()
        elif self.alive:
            self._on_thaw.append(reply)

    def _begin_life(self) -> None:
        self.boot += 1
        self._life += 1
        self.says = NodeState.ONLINE
        self._standstill = Standstill(least_s=FENCE_PAUSE_S, ttl_s=ENTRY_TTL_S, now=self._ground.now)
        self._renewed_at = None
        self._renew(self._life)

    def _renew(self, life: int) -> None:
        if life != self._life or not self.alive:
            return
        now = self._ground.now
        if not self.frozen:
            self._standstill.look(now, renewed_at=self._renewed_at, waits_s=ENTRY_RENEW_S + 0.5)
            if self._redis.available and self.says is not NodeState.LEFT:
                self._redis.register(self.name, self.boot, now)
                self._renewed_at = now
        delay_s = ENTRY_RENEW_S if self._redis.available else 0.25
        self._ground.after(delay_s, lambda: self._renew(life))

    def _say(self, word: NodeState) -> None:
        self.says = word
        for watcher in tuple(self.watchers):
            watcher.told_by(self.name, self.boot, word)

    def _end_connections(self) -> None:
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher.closed_by(self.name, self.boot)

    def _fall_ill(self) -> None:
        if self.ill_since is None:
            self.ill_since = self._ground.now

    def _get_well(self) -> None:
        if self.ill_since is not None:
            self.pauses.append((self.ill_since, self._ground.now))
            del self.pauses[:-8]
        self.ill_since = None
