"""A checker process: the real cores, and a shell that is as thin as the real one but runs on the simulation's clock.

A checker that is stopped or starved does nothing until it may run again. Then, as the real one, it reads what came in
before it calls anything late.
"""

import math
from collections.abc import Callable
from typing import Final

from sample_cluster.checker.ports import Conflict, Stale, Written
from sample_cluster.config import Profile
from sample_cluster.core.doubt import Tilted
from sample_cluster.core.health import (
    AdminClosed,
    AskHelpers,
    Broken,
    ConnectRefused,
    Evidence,
    GiveUp,
    HealthEvent,
    HeartbeatOk,
    HelperSaid,
    Hold,
    HttpOk,
    Kind,
    NodeSays,
    Registered,
    Send,
    Transition,
    Unasked,
    Unregistered,
)
from sample_cluster.core.judgement import Judgement, Outcome
from sample_cluster.core.lease import Lease, LeaseAnswer, LeaseChange, Lost, Took
from sample_cluster.core.probe import Said
from sample_cluster.core.verdicts import Draft, VerdictQueue
from tests.sim_health.ground import Ground
from tests.sim_health.network import Network
from tests.sim_health.node_side import SimNode
from tests.sim_health.redis_side import ModelRedis
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import CheckerMode, NodeState

REDIS_S: Final = 0.001
REDIS_TIMEOUT_S: Final = 1.0
REGISTRY_S: Final = 1.0
STARVED_SHARE: Final = 0.5
STARVED_TIMEOUTS: Final = 5


class SimChecker:
    """One checker. `start` it."""

    def __init__(
        self,
        name: str,
        *,
        profile: Profile,
        ground: Ground,
        redis: ModelRedis,
        network: Network,
        nodes: dict[str, SimNode],
    ) -> None:
        self.name = name
        self.profile = profile
        self.alive = False
        self.busy_until = 0.0
        """It does nothing before."""
        self.starved_until = 0.0
        """Until then it often gets no time to run just after it asked something."""
        self.shaken_at = -math.inf
        """When it last was anything but a calm leader."""
        self.moved: list[tuple[Transition, bool]] = []
        """Every transition that its judgement found, and whether it was one to judge."""
        self.took_at = -math.inf
        """When it began to lead after another one."""
        self.judgement: Judgement
        self.lease: Lease
        self._ground = ground
        self._redis = redis
        self._network = network
        self._nodes = nodes
        self._life = 0

    def start(self) -> None:
        """Begin to run, knowing nothing."""
        now = self._ground.now
        self.alive = True
        self._life += 1
        self.busy_until = now
        self.shaken_at = now
        self.judgement = Judgement(self.profile, now=now)
        self.lease = Lease(ttl_s=self.profile.lease_ttl_s, renew_s=self.profile.lease_renew_s, now=now)
        self._queue = VerdictQueue()
        self._reload: LeaseChange | None = None
        self._links: dict[str, int] = {}
        self._probes: dict[tuple[str, Kind], object] = {}
        self._inbox: list[Callable[[], None]] = []
        self._claiming = self._writing = False
        self._woken_at = math.inf
        self._read()
        self._claim()

    def kill(self) -> None:
        """End at once."""
        self.alive = False
        self._life += 1
        self._hang_up()

    def keep_busy(self, until: float) -> None:
        """Give it nothing to run on until then."""
        self.busy_until = self.shaken_at = max(self.busy_until, until)

    @property
    def leads(self) -> bool:
        """Whether it may write, as far as it knows."""
        return self.alive and self.lease.mode(self._ground.now) is CheckerMode.LEADING

    @property
    def judges(self) -> bool:
        """Whether it may judge, by what can be seen from outside."""
        return self.leads and self._reload is None and not self.judgement.doubt.tilted(self._ground.now)

    def hold(self, node: str, hold: Hold) -> None:
        """Do what an operator wants."""
        if self.leads and node in self.judgement.nodes:
            self._tell(node, hold)

    def step_down(self) -> None:
        """Leave the lead to another."""
        now = self._ground.now
        if self.leads and self._redis.available:
            if self._redis.holder == self.name and self._redis.epoch == self.lease.epoch:
                self._redis.holder = None
            self._changed(self.lease.stand_down(now, rest_s=2 * self.profile.lease_ttl_s))

    # Being woken.

    def _soon(self, delay_s: float, do: Callable[[], None]) -> None:
        """Have something reach us after a while, as soon as we run."""
        life = self._life

        def arrive() -> None:
            if life != self._life:
                return
            self._inbox.append(do)
            self._wake()

        self._ground.after(delay_s, arrive)

    def _wake(self) -> None:
        now = self._ground.now
        if now < self.busy_until:
            if self._woken_at != self.busy_until:
                self._woken_at = self.busy_until
                life = self._life
                self._ground.after(self.busy_until - now, lambda: self._wake() if life == self._life else None)
            return
        self._woken_at = math.inf
        while self._inbox:
            inbox, self._inbox = self._inbox, []
            for do in inbox:
                do()
        self._follow()
        if now >= self.judgement.deadline:
            self._do(self.judgement.tick(now, steady=now))
        if not self.judges or self.judgement.score:
            self.shaken_at = now
        self._write()
        self._set_timer()

    def _set_timer(self) -> None:
        at = self.judgement.deadline
        life = self._life

        def ring() -> None:
            # Only the newest timer counts; waking up once too often does no harm.
            if life == self._life and self._ground.now >= self.judgement.deadline:
                self._wake()

        self._ground.after(max(at - self._ground.now, 1e-6), ring)

    def _follow(self) -> None:
        self.judgement.follow(self._ground.now, leads=self.leads and self._reload is None)

    # Redis.

    def _claim(self) -> None:
        if self._claiming:
            return
        self._claiming = True
        asked_at, claim, life = self._ground.now, self.lease.claim(self._ground.now), self._life

        def reach() -> None:
            if life != self._life:
                return
            if not self._redis.available or self._network.cut(self.name, "redis"):
                self._soon(REDIS_TIMEOUT_S, self._claim_failed)
                return
            answer = self._redis.claim(self.name, claim, self._ground.now)
            self._soon(REDIS_S, lambda: self._claimed(answer, asked_at))

        self._ground.after(REDIS_S, reach)

    def _claimed(self, answer: LeaseAnswer, asked_at: float) -> None:
        self._claiming = False
        self._changed(self.lease.answered(answer, asked_at=asked_at, now=self._ground.now))
        self._soon(self.lease.deadline - self._ground.now, self._claim)

    def _claim_failed(self) -> None:
        self._claiming = False
        self._away()
        self._soon(self.lease.deadline - self._ground.now, self._claim)

    def _away(self) -> None:
        self.lease.failed(self._ground.now)
        self._follow()

    def _changed(self, change: LeaseChange | None) -> None:
        match change:
            case None:
                return
            case Lost():
                self._queue.clear()
                self._reload = None
            case _:
                if isinstance(change, Took) and not change.continuous:
                    self.judgement.forgive()
                    self.took_at = self._ground.now
                self._reload = change if isinstance(change, Took) or self._reload is None else self._reload
        self._ground.say(f"{self.name}: {change}")
        self._follow()

    def _read(self) -> None:
        def reach() -> None:
            if self._redis.available and not self._network.cut(self.name, "redis"):
                running, expired = self._redis.registered(self._ground.now)
                table = dict(self._redis.table)
                self._soon(REDIS_S, lambda: self._take(running, expired, table))

        life = self._life

        def again() -> None:
            if life == self._life:
                reach()
                self._ground.after(min(REGISTRY_S, self.profile.heartbeat.interval_s / 2), again)

        again()

    def _take(self, running: dict[str, int], expired: frozenset[str], table: dict[str, Verdict]) -> None:
        now = self._ground.now
        following = self.lease.mode(now) is CheckerMode.STANDBY
        for name, verdict in table.items():
            self.lease.raise_floor(verdict.epoch)
            fresh = name not in self.judgement.nodes
            self.judgement.node(name, now)
            if fresh or (following and not self._queue.outdates(verdict)):
                self._inherit(verdict)
        for name, boot in running.items():
            self.judgement.node(name, now)
            self._tell(name, Registered(boot=boot))
        for name in self.judgement.nodes.keys() - running.keys():
            self._tell(name, Unregistered(clean=name not in expired))

    def _inherit(self, verdict: Verdict) -> None:
        self.judgement.node(verdict.node, self._ground.now).inherit(
            verdict.state,
            since=min(verdict.at, self._ground.now),
            reason=verdict.reason,
            evidence=Evidence.inherited(verdict.evidence, offset_s=0.0),
            boot=verdict.boot,
        )

    def _write(self) -> None:
        if self._writing or not self.leads:
            return
        if self._reload is not None:
            self._writing = True
            self._reach_redis(lambda: self._reloaded(dict(self._redis.table)))
            return
        draft = self._queue.next()
        if draft is not None:
            self._writing = True
            self._reach_redis(lambda: self._send(draft))

    def _reach_redis(self, do: Callable[[], Callable[[], None]]) -> None:
        """Have `do` done in Redis, and what it returns here when the answer is back."""
        life = self._life

        def reach() -> None:
            if life != self._life:
                return
            if not self._redis.available or self._network.cut(self.name, "redis"):
                self._soon(REDIS_TIMEOUT_S, self._write_failed)
                return
            self._soon(REDIS_S, do())

        self._ground.after(REDIS_S, reach)

    def _write_failed(self) -> None:
        self._writing = False
        self._away()

    def _reloaded(self, table: dict[str, Verdict]) -> Callable[[], None]:
        def take() -> None:
            self._writing = False
            change = self._reload
            if change is None:
                return
            if isinstance(change, Took) and not change.continuous:
                for verdict in table.values():
                    self._inherit(verdict)
            self._queue.reconcile(table, self.judgement.nodes.values())
            self._reload = None
            self._follow()

        return take

    def _send(self, draft: Draft) -> Callable[[], None]:
        transition, epoch = draft.transition, self.lease.epoch
        verdict = Verdict(
            node=transition.node,
            state=transition.new,
            reason=transition.reason,
            epoch=epoch,
            version=draft.expected + 1,
            at=transition.now,
            boot=transition.boot,
            evidence=transition.evidence.to_object(offset_s=0.0),
        )
        outcome = self._redis.write(verdict, transition, expected=draft.expected, who=self.name)

        def take() -> None:
            self._writing = False
            match outcome:
                case Written():
                    self._queue.written(verdict)
                case Conflict(standing=standing, version=version):
                    self._queue.conflict(verdict.node, standing, version)
                case Stale(epoch=later):
                    self.lease.raise_floor(later)
                    self._changed(self.lease.fenced(later, self._ground.now))

        return take

    # Nodes. Implements `Watcher`.

    def closed_by(self, node: str, boot: int) -> None:
        """Hear that an admin connection ended, unless the network keeps it from us."""
        if not self._network.cut(self.name, node):
            self._soon(self._network.delay(), lambda: self._link_ended(node, boot))

    def told_by(self, node: str, boot: int, word: NodeState) -> None:
        """Hear a node's word."""
        if not self._network.cut(self.name, node):
            self._soon(self._network.delay(), lambda: self._tell(node, NodeSays(boot=boot, state=word)))

    def _link_ended(self, node: str, boot: int) -> None:
        if self._links.get(node) == boot:
            del self._links[node]
            self._tell(node, AdminClosed())

    def _hang_up(self) -> None:
        for node in self._nodes.values():
            node.watchers = [watcher for watcher in node.watchers if watcher is not self]

    def _tell(self, node: str, event: HealthEvent) -> None:
        self._follow()
        self._do(self.judgement.step(node, event, self._ground.now, steady=self._ground.now))

    def _do(self, outcomes: tuple[Outcome, ...]) -> None:
        for outcome in outcomes:
            match outcome:
                case Transition():
                    self._ground.say(f"{self.name}: {outcome.node} {outcome.old} -> {outcome.new}: {outcome.reason}")
                    self.moved.append((outcome, self.judges))
                    if self.leads:
                        self._queue.add(outcome)
                case Send(node=node, kind=kind):
                    probe = object()
                    self._probes[node, kind] = probe
                    self._ask_node(node, kind, probe)
                    dice, now = self._ground.dice, self._ground.now
                    if now < self.starved_until and dice.random() < STARVED_SHARE:
                        self.keep_busy(now + dice.random() * STARVED_TIMEOUTS * self.profile.heartbeat.timeout_s)
                case GiveUp(node=node, kind=kind):
                    self._probes.pop((node, kind), None)
                case AskHelpers():
                    for helper in outcome.helpers:
                        self._ask_helper(helper, outcome)
                case Tilted(gap_s=gap_s):
                    self._ground.say(f"{self.name}: tilt after {gap_s:.1f} s")
                case _:
                    pass

    def _ask_node(self, name: str, kind: Kind, probe: object) -> None:
        node, network, life = self._nodes[name], self._network, self._life

        def told(event: HealthEvent) -> None:
            if self._probes.get((name, kind)) is probe:
                del self._probes[name, kind]
                self._tell(name, event)

        def reach() -> None:
            if network.lost(self.name, name) or life != self._life:
                return
            linked = self._links.get(name) if kind is Kind.HEARTBEAT else None
            if linked is not None and (not node.alive or linked != node.boot):
                # The end of the connection did not get through, back then; now it is reset.
                self._soon(network.delay(), lambda: self._link_ended(name, linked))
            elif not node.alive:
                self._soon(network.delay(), lambda: told(self._absence(node, kind)))
            else:
                node.answer(reply)

        def reply() -> None:
            if life != self._life:
                return
            boot = node.boot
            if kind is Kind.HEARTBEAT and self._links.get(name) != boot:
                node.watchers.append(self)
                self._links[name] = boot
                if node.says is NodeState.DRAINING:
                    self.told_by(name, boot, node.says)
            if kind is Kind.HEARTBEAT:
                event: HealthEvent = HeartbeatOk(boot=boot, rtt_s=0.001)
            elif node.says is NodeState.DRAINING:
                event = Unasked(kind=Kind.HTTP)
            else:
                event = HttpOk(boot=boot)
            if not network.lost(name, self.name):
                self._soon(network.delay(), lambda: told(event))

        self._ground.after(network.delay(), reach)

    def _absence(self, node: SimNode, kind: Kind) -> HealthEvent:
        dying = self._ground.now < node.dying_until
        if kind is Kind.HTTP:
            return Broken(kind=kind, why="Connection reset by peer" if dying else "Connection refused")
        return Broken(kind=kind, why="closed the connection while it was opened") if dying else ConnectRefused()

    def _ask_helper(self, helper: str, asked: AskHelpers) -> None:
        network, by, target, life = self._network, self._nodes[helper], self._nodes[asked.node], self._life

        def say(said: Said) -> None:
            self._tell(asked.node, HelperSaid(kind=asked.kind, asked=asked.asked, helper=helper, said=said))

        def come_back(said: Said) -> None:
            if life == self._life and not network.lost(helper, self.name):
                self._soon(network.delay(), lambda: say(said))

        def try_it() -> None:
            ends = self._ground.now + asked.within_s
            open_ = True

            def reached() -> None:
                nonlocal open_
                if open_ and self._ground.now <= ends:
                    open_ = False
                    come_back(Said.YES)

            def gave_up() -> None:
                nonlocal open_
                if open_:
                    open_ = False
                    by.answer(lambda: come_back(Said.NO))

            if not network.lost(helper, asked.node) and not network.lost(asked.node, helper):
                self._ground.after(network.delay(), lambda: target.answer(reached))
            self._ground.after(asked.within_s, gave_up)

        if helper in self._links and not network.lost(self.name, helper):
            self._ground.after(network.delay(), lambda: by.answer(try_it))
