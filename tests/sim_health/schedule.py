"""One seed, one schedule: which faults come when, and how it ends."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sample_cluster.config import PROFILES
from sample_cluster.core.flap import LONGEST_HALF_LIVES
from sample_cluster.core.health import Hold
from tests.sim_health.ground import BrokenLawError
from tests.sim_health.world import CHECKERS, World
from wsmon.protocol.states import NodeState

FAULTS: Final[dict[str, float]] = {
    "kill node": 3,
    "start node": 4,
    "freeze node": 4,
    "thaw node": 5,
    "drain node": 1,
    "drain and freeze node": 0.5,
    "earlier life registers": 0.7,
    "cut checker off a node": 2,
    "cut two nodes off each other": 1,
    "mend": 3,
    "stop checker": 1.5,
    "starve checker": 2,
    "kill checker": 1,
    "take redis away": 1,
    "give redis back": 3,
    "cut checker off redis": 0.7,
    "lose": 1,
    "lose nothing": 2,
    "hold": 0.5,
    "step down": 0.5,
    "freeze most": 0.5,
}
STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a schedule ended."""

    seed: int
    broken: str | None
    trace: tuple[str, ...]
    tally: Counter[str]


class Schedule:
    """Draws faults and does them."""

    def __init__(self, seed: int) -> None:
        # Simple seeds first: what breaks with few nodes is easier to read.
        self.seed = seed
        profile = list(PROFILES.values())[seed % len(PROFILES)]
        self.world = World(seed, nodes=2 + seed % 5, profile=profile)
        self.tally: Counter[str] = Counter()
        self._dice = self.world.ground.dice

    def run(self, *, heartbeats: int = 0) -> Outcome:
        """Play it to its end: `STEPS` faults at least, and until so many heartbeats of a node have passed."""
        steps = itertools.count()
        until = heartbeats * self.world.profile.heartbeat.interval_s
        broken = None
        try:
            self.world.start()
            while next(steps) < STEPS or self.world.ground.now < until:
                (fault,) = self._dice.choices(list(FAULTS), list(FAULTS.values()))
                self.tally[fault] += 1
                self.world.ground.say(f"--- {fault}")
                self._do(fault)
                self.world.run(self._pause_s())
            self._heal()
        except BrokenLawError as error:
            broken = str(error)
        self.tally["soft removals"] = self.world.soft_removals
        self.tally["hard removals"] = self.world.hard_removals
        self.tally["false removals under loss"] = self.world.false_removals
        return Outcome(self.seed, broken, tuple(self.world.ground.trace), self.tally)

    def _pause_s(self) -> float:
        unit = self.world.profile.heartbeat.interval_s
        return self._dice.choice((0.1, 0.5, 1.0, 2.0, 4.0)) * unit * (0.5 + self._dice.random())

    def _do(self, fault: str) -> None:
        world, dice = self.world, self._dice
        node = world.nodes[dice.choice(list(world.nodes))]
        other = dice.choice([name for name in world.nodes if name != node.name])
        checker = world.checkers[dice.choice(CHECKERS)]
        now, interval_s = world.ground.now, world.profile.heartbeat.interval_s
        acts: dict[str, Callable[[], None]] = {
            "kill node": lambda: node.kill(dying_s=dice.choice((0.0, 0.02, 0.2))) if node.alive else None,
            "start node": self._start_one,
            "freeze node": lambda: world.freeze(node.name),
            "thaw node": self._thaw_one,
            "drain node": lambda: self._drain(node.name) if node.well else None,
            "drain and freeze node": lambda: self._drain(node.name, freeze=True) if node.well else None,
            "earlier life registers": lambda: self._register_earlier_life(node.name),
            "cut checker off a node": lambda: world.network.set_cut(checker.name, node.name, cut=True),
            "cut two nodes off each other": lambda: world.network.set_cut(node.name, other, cut=True),
            "mend": world.network.mend,
            "stop checker": lambda: checker.keep_busy(now + dice.choice((0.3, 1.5, 3.0, 8.0))),
            "starve checker": lambda: setattr(checker, "starved_until", now + 6 * interval_s),
            "kill checker": lambda: self._kill_checker(checker.name),
            "take redis away": lambda: setattr(world.redis, "available", False),
            "give redis back": lambda: setattr(world.redis, "available", True),
            "cut checker off redis": lambda: world.network.set_cut(checker.name, "redis", cut=True),
            "lose": lambda: setattr(world.network, "loss", dice.choice((0.01, 0.05, 0.2))),
            "lose nothing": lambda: setattr(world.network, "loss", 0.0),
            "hold": lambda: self._hold(node.name, checker.name),
            "step down": self._step_down,
            "freeze most": self._freeze_most,
        }
        acts[fault]()

    def _start_one(self) -> None:
        dead = [node for node in self.world.nodes.values() if not node.alive]
        if dead:
            self._dice.choice(dead).start()

    def _freeze_most(self) -> None:
        for name in list(self.world.nodes)[1:]:
            self.world.freeze(name)

    def _thaw_one(self) -> None:
        frozen = [node for node in self.world.nodes.values() if node.frozen]
        if frozen:
            self._dice.choice(frozen).thaw()

    def _register_earlier_life(self, name: str) -> None:
        """Have what is left of an earlier process renew its entry."""
        node = self.world.nodes[name]
        if node.boot > 1 and self.world.redis.available:
            self.world.redis.register(name, node.boot - 1, self.world.ground.now)

    def _drain(self, name: str, *, freeze: bool = False) -> None:
        node = self.world.nodes[name]
        node.drain()
        boot = node.boot
        if freeze:
            self.world.ground.after(0.1, lambda: self.world.freeze(name) if node.boot == boot else None)
        self.world.ground.after(
            6 * self.world.profile.heartbeat.interval_s,
            lambda: node.leave() if node.well and node.boot == boot else None,
        )

    def _kill_checker(self, name: str) -> None:
        checker = self.world.checkers[name]
        if checker.alive:
            checker.kill()
            self.world.ground.after(1.0, lambda: None if checker.alive else checker.start())

    def _hold(self, node: str, checker: str) -> None:
        state = self._dice.choice((NodeState.ONLINE, NodeState.SUSPECT, NodeState.REMOVED))
        until = self.world.ground.now + self.world.profile.heartbeat.interval_s * 3
        self.world.held.add(node)
        self.world.checkers[checker].hold(node, Hold(state=state, until=until, by="ada"))

    def _step_down(self) -> None:
        for checker in self.world.checkers.values():
            if checker.leads:
                checker.step_down()
                return

    def _heal(self) -> None:
        """Mend everything, and expect everything to be well again in the time that it may take."""
        world = self.world
        world.ground.say("--- everything heals")
        world.network.mend()
        world.network.loss = 0.0
        world.redis.available = True
        for checker in world.checkers.values():
            checker.starved_until = 0.0
        for node in world.nodes.values():
            if node.frozen:
                node.thaw()
            if node.alive and node.says is NodeState.DRAINING:
                node.leave()
            if not node.alive:
                node.start()
        profile = world.profile
        quarantine_s = LONGEST_HALF_LIVES * profile.flap_half_life_s
        settle_s = profile.tilt_s + 3 * profile.lease_ttl_s + 6 * profile.http.interval_s + 20
        world.run(quarantine_s + settle_s)
        world.expect({NodeState.ONLINE}, "long after everything was mended")
        for checker in world.checkers.values():
            if checker.judgement.score:
                world.break_law(f"{checker.name} still doubts itself by {checker.judgement.score}")
            if checker.judgement.panics:
                world.break_law(f"{checker.name} still panics")


def play(seed: int, *, heartbeats: int = 0) -> Outcome:
    """Play one schedule."""
    return Schedule(seed).run(heartbeats=heartbeats)
