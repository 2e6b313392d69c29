"""Long quiet hours with a network that loses packets, or with a checker that gets no time to run."""

import math
from dataclasses import dataclass
from typing import Final

from sample_cluster.config import PRODUCTION, Profile
from tests.sim_health.world import World
from wsmon.protocol.states import NodeState

LOSS_EACH_WAY: Final = 1 - 0.95**0.5
"""So that one probe in twenty is lost, there or back."""


@dataclass(frozen=True, slots=True)
class Endured:
    """What came of it."""

    what: str
    hours: float
    probes: int
    lost: int
    vouched: int
    suspected: int
    removed: int

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{self.what}, {self.hours:g} h: {self.probes} probes, {self.lost} unanswered, {self.vouched} vouched for,"
            f" {self.suspected} times suspect, {self.removed} removed"
        )


def endure(*, hours: float, seed: int = 1, profile: Profile = PRODUCTION, nodes: int = 5) -> Endured:
    """Lose 5 % of all probes, also those of helpers, for so many hours."""
    world = World(seed, nodes=nodes, profile=profile)
    world.start()
    world.network.loss = LOSS_EACH_WAY
    return _watch(world, hours, "5 % of all probes lost")


def starve(*, hours: float, seed: int = 1, profile: Profile = PRODUCTION, nodes: int = 5) -> Endured:
    """Give both checkers no time to run just after every other question, for up to five times a heartbeat's timeout."""
    world = World(seed, nodes=nodes, profile=profile)
    world.start()

    for checker in world.checkers.values():
        checker.starved_until = math.inf
    return _watch(world, hours, "starved checkers")


def _watch(world: World, hours: float, what: str) -> Endured:
    until = world.ground.now + hours * 3_600
    while world.ground.now < until:
        world.ground.run(min(until, world.ground.now + 60.0))
        world.look()
        for checker in world.checkers.values():
            del checker.moved[:]
        world.ground.trace.clear()
    states = [verdict.state for verdict, _, _ in world.redis.log]
    leader = next(checker for checker in world.checkers.values() if checker.name == world.redis.holder)
    probes = [probe for health in leader.judgement.nodes.values() for probe in (health.heartbeat, health.http)]
    timings = [probe.timing.interval_s for probe in probes]
    return Endured(
        what=what,
        hours=hours,
        probes=round(sum(hours * 3_600 / interval_s for interval_s in timings)),
        lost=sum(probe.vouched for probe in probes) + sum(h.uncounted for h in leader.judgement.nodes.values()),
        vouched=sum(probe.vouched for probe in probes),
        suspected=states.count(NodeState.SUSPECT),
        removed=states.count(NodeState.REMOVED),
    )
