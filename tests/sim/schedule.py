"""One seed, one schedule: what happens to a simulated cluster, in which order, and how it ends."""

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.sim.ground import BrokenInvariantError, Shape
from tests.sim.node_side import COMPARES, SWEEP_S
from tests.sim.redis_side import Heard, Mail, copy_keys
from tests.sim.world import Copy, World
from tests.support.model_redis import ModelRedis

HEAL_S: Final = 30.0
"""Longer than any patience in the cluster: what is not well by then never will be."""
COMPARED_S: Final = 2 * COMPARES * SWEEP_S + 1.0
"""By then even a feed that is deaf was compared with its log."""
FACTORS: Final = (0.0, 0.0, 1.0, 3.0)
ORDINARY: Final[dict[str, float]] = {
    "step": 60,
    "settle": 5,
    "stranger publishes": 5,
    "client publishes": 6,
    "time passes": 5,
    "ack": 2,
    "connect": 2,
    "copy": 2,
    "thaw": 2,
    "restart": 2,
    "reconnect": 1.5,
    "carry out orphan": 1.5,
}
"""What happens in every schedule, and how often."""
FAULTS: Final[dict[str, float]] = {
    "drop": 2,
    "lose request": 1.5,
    "freeze": 1,
    "cut": 2,
    "send away": 1,
    "trim": 1,
    "promote": 1,
    "lose everything": 0.2,
    "kill": 0.5,
    "deafen": 0.5,
    "cut off": 0.5,
    "lose ear": 0.5,
    "move": 1.5,
    "resubscribe": 0.3,
    "give up": 0.5,
}
"""What happens in some schedules. Half of these are left out each time: what always happens hides what needs quiet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a schedule ended."""

    seed: int
    broken: str | None
    tally: Counter[str]
    lines: list[str]


class Schedule:
    """Runs one seed."""

    def __init__(self, seed: int, *, make_redis: Callable[[], ModelRedis] = ModelRedis, tracing: bool = False) -> None:
        self.seed = seed
        self.dice = Random(seed)
        self.shape = self._shape()
        self.world = World(self.dice, self.shape, make_redis=make_redis, tracing=tracing)
        self._split = self.dice.random() < 0.3
        """Whether nodes find a new server one by one."""
        self._kinds = {**ORDINARY, **{name: weight * self.dice.choice(FACTORS) for name, weight in FAULTS.items()}}

    def run(self) -> Outcome:
        """Let everything happen; return how it ended."""
        world = self.world
        broken = None
        try:
            world.drain()
            world.ground.advance(world.ground.now + 1.0)
            world.drain()
            kinds = self.dice.choices([*self._kinds], [*self._kinds.values()], k=self.dice.randrange(100, 250))
            for kind in kinds:
                self._do(kind)
            self._heal()
        except Exception as error:  # noqa: BLE001  # Whatever it is: this schedule has found it.
            broken = f"{type(error).__name__}: {error}"
            if world.ground.tracing:
                world.ground.lines.append(traceback.format_exc())
        return Outcome(self.seed, broken, world.ground.tally, world.ground.lines)

    def _shape(self) -> Shape:
        dice = self.dice
        return Shape(
            nodes=dice.choice([2, 2, 3]),
            channels=dice.choice([1, 1, 2]),
            clients=dice.choice([2, 2, 3, 4]),
            ring=dice.choice([4, 6, 8, 32]),
            window=dice.choice([4, 6, 8, 32]),
            page=dice.choice([2, 3, 5, 32]),
            keep=dice.choice([6, 12, 100]),
            ack_every=dice.choice([1, 2, 4]),
            refusals=dice.choice([0.0, 0.0, 0.1]),
        )

    # What happens.

    def _do(self, kind: str) -> None:
        world, dice, ground = self.world, self.dice, self.world.ground
        match kind:
            case "step":
                moves = world.moves()
                if moves:
                    dice.choice(moves)()
            case "settle":
                world.drain(dice.choice([30, 100, 300]))
            case "stranger publishes":
                for _ in range(dice.choice([1, 1, 2, 5])):
                    world.publish(dice.choice(world.channels))
            case "client publishes":
                for _ in range(dice.choice([1, 1, 2, 3])):
                    dice.choice(world.clients).publish(dice.choice(world.channels))
            case "time passes":
                ground.advance(ground.now + dice.choice([0.05, 0.2, 0.2, 0.5, 1.2, 1.2, 5.5]))
            case "ack":
                dice.choice(world.clients).ack()
            case "connect":
                client = dice.choice(world.clients)
                if client.may_go:
                    client.go()
            case "send away":
                served = [member for node in world.nodes if not node.frozen for member in node.members.values()]
                if served:
                    dice.choice(served).go_away(handover=dice.random() < 0.7)
            case "give up":
                client = dice.choice(world.clients)
                if client.attempt is not None:
                    client.give_up(client.attempt)
            case "resubscribe":
                client = dice.choice(world.clients)
                channel = dice.choice(world.channels)
                if channel in client.subscriptions:
                    client.unsubscribe(channel)
                else:
                    client.subscribe(channel, "now")
            case "cut":
                self._cut()
            case "copy" | "promote" | "lose everything" | "trim":
                self._server(kind)
            case _:
                self._node(kind)

    def _cut(self) -> None:
        dice = self.dice
        links = [link for client in self.world.clients for link in client.links if not link.dead]
        if links:
            link = dice.choice(links)
            tell_node, tell_client = dice.choice([(True, True), (True, False), (False, True), (False, False)])
            self.world.cut(link, tell_node=tell_node, tell_client=tell_client, lose=dice.random() < 0.7)

    def _server(self, kind: str) -> None:
        world, dice = self.world, self.dice
        match kind:
            case "copy":
                world.ground.say("a replica has all")
                world.copy = Copy(copy_keys(world.primary.redis.keys), world.primary.shadow.copy())
            case "promote" if world.copy is not None:
                world.promote(world.copy, at_once=not self._split)
            case "lose everything":
                world.promote(None, at_once=not self._split)
                if dice.random() < 0.5:
                    world.copy = None
            case "trim":
                channel, keep = dice.choice(world.channels), dice.choice([0, 1, 2, 4])
                world.ground.say("{} keeps {}", channel, keep)
                world.primary.trim(channel, keep)
            case _:
                pass

    def _node(self, kind: str) -> None:
        world, dice, ground = self.world, self.dice, self.world.ground
        node = dice.choice(world.nodes)
        if kind == "restart":
            if node.gone:
                world.restart(node)
            return
        if kind == "carry out orphan":
            if world.orphans:
                orphan = world.orphans.pop(dice.randrange(len(world.orphans)))
                ground.say("late: {}", orphan.what)
                ground.tally["orphan"] += 1
                orphan.execute()
            return
        if node.gone:
            return
        match kind:
            case "drop" if node.ear is not None and node.ear.inbox:
                inbox = node.ear.inbox
                index = dice.randrange(len(inbox))
                if isinstance(inbox[index], Heard | Mail):  # The server's answers come or the connection ends.
                    ground.say("{} does not hear {}", node.name, inbox[index])
                    del inbox[index]
            case "lose request" if node.requests and not node.frozen:
                world.lose(node, dice.choice(node.requests))
            case "freeze":
                ground.say("{} is frozen", node.name)
                node.frozen = True
            case "thaw" if node.frozen:
                fence = dice.random() < 0.3
                ground.say("{} is thawed, fenced {}", node.name, fence)
                node.thaw(fence=fence)
            case "kill":
                world.kill(node)
            case "deafen" if node.server is not None:
                channel = dice.choice(world.channels)
                if node.ear is not None:
                    ground.say("{} is deaf to {}", node.name, channel)
                    node.server.ignore(channel, node.ear)
            case "cut off" if not node.frozen:
                ground.say("{} is cut off", node.name)
                node.cut_off = True
                for request in [*node.requests]:
                    world.lose(node, request)
            case "reconnect":
                node.cut_off = False
            case "lose ear" if not node.frozen:
                ground.say("{} loses its subscription", node.name)
                node.deafened()
            case "move" if not node.frozen:
                world.move(node)
            case _:
                pass

    # And how it ends.

    def _heal(self) -> None:
        """Undo all faults, let time pass until nothing happens any more, and look."""
        world, ground = self.world, self.world.ground
        ground.say("all faults end")
        for node in [*world.nodes]:
            if node.gone:
                world.restart(node)
        for node in world.nodes:
            node.cut_off = False
            if node.frozen:
                node.thaw(fence=self.dice.random() < 0.3)
            world.move(node)
        self._rest(HEAL_S)
        ground.say("all is quiet")
        world.check()
        for channel in world.channels:
            world.publish(channel)
        self._rest(COMPARED_S)
        ground.say("all is quiet again")
        world.check()

    def _rest(self, length_s: float) -> None:
        world, ground = self.world, self.world.ground
        world.drain()
        end = ground.now + length_s
        while ground.now < end:
            ground.advance(min(end, ground.next_at))
            if not world.drain():
                raise BrokenInvariantError("it never comes to rest")


def run(seed: int, *, make_redis: Callable[[], ModelRedis] = ModelRedis, tracing: bool = False) -> Outcome:
    """Run one schedule."""
    return Schedule(seed, make_redis=make_redis, tracing=tracing).run()
