"""A whole cluster: Redis, nodes, two checkers, and the laws that they are under."""

from collections.abc import Sequence
from typing import Final

from sample_cluster.config import DEMO, Profile
from sample_cluster.core.health import Kind, Transition
from sample_cluster.core.panic import floor
from sample_cluster.core.probe import Said
from tests.sim_health.checker_side import SimChecker
from tests.sim_health.ground import BrokenLawError, Ground
from tests.sim_health.network import Network
from tests.sim_health.node_side import SimNode
from tests.sim_health.redis_side import ModelRedis
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import NodeState

CHECKERS: Final = ("checker", "checker2")
ROUND_TRIP_S: Final = 0.01
WRITE_S: Final = 0.05
"""From a judgement to the table, without Redis being away."""
JUDGED: Final = (NodeState.ONLINE, NodeState.SUSPECT)


class World:
    """The cluster. Everything that a schedule does goes through here; `look` holds what came of it against the laws."""

    def __init__(self, seed: int, *, nodes: int, profile: Profile = DEMO) -> None:
        self.ground = Ground(seed)
        self.profile = profile
        self.redis = ModelRedis(lease_ttl_s=profile.lease_ttl_s)
        self.network = Network(self.ground)
        self.nodes = {
            name: SimNode(name, self.ground, self.redis) for name in (f"n{number}" for number in range(1, nodes + 1))
        }
        self.checkers = {
            name: SimChecker(
                name,
                profile=profile,
                ground=self.ground,
                redis=self.redis,
                network=self.network,
                nodes=self.nodes,
            )
            for name in CHECKERS
        }
        self.false_removals = 0
        self.soft_removals = 0
        self.hard_removals = 0
        self.held: set[str] = set()
        """Nodes that an operator held: what they go through is not the checkers' doing."""
        self._drained: set[tuple[str, str]] = set()
        """By whose view which nodes are removed that drained before."""
        self._seen = 0
        self._last: dict[str, Verdict] = {}
        self._epoch = 0

    def start(self) -> None:
        """Start everything and have it come online."""
        for node in self.nodes.values():
            node.start()
        for checker in self.checkers.values():
            checker.start()
        self.run(10.0)
        self.expect({NodeState.ONLINE}, "after the start")

    def run(self, for_s: float) -> None:
        """Let time pass, a little at a time, and look."""
        until = self.ground.now + for_s
        while self.ground.now < until:
            self.ground.run(min(until, self.ground.now + 0.05))
            self.look()

    # Faults.

    def freeze(self, name: str) -> None:
        """Freeze a node, and hold the checkers to what they promise."""
        node = self.nodes[name]
        if not node.well:
            return
        node.freeze()
        began, boot = self.ground.now, node.boot
        verdict = self.redis.table.get(name)
        if verdict is None or verdict.state not in JUDGED or verdict.boot != boot:
            return
        within = min(probe.removal_window()[1] for probe in (self.profile.heartbeat, self.profile.http))
        self.ground.after(within + ROUND_TRIP_S + WRITE_S, lambda: self._must_be_removed(name, boot, began, within))

    def _must_be_removed(self, name: str, boot: int, began: float, within: float) -> None:
        node = self.nodes[name]
        if not node.frozen or node.boot != boot or node.ill_since != began or name in self.held:
            return
        calm = [
            checker
            for checker in self.checkers.values()
            if checker.judges and checker.shaken_at < began and self.network.whole_since(checker.name, name) < began
        ]
        for checker in calm:
            health = checker.judgement.nodes[name]
            if health.state in JUDGED and not health.held_by_panic:
                self.break_law(
                    f"{name} is silent for more than {within} s and not removed: {health.why(self.ground.now)}"
                )

    # Laws.

    def look(self) -> None:
        """Hold what was written since the last look against the laws."""
        for verdict, transition, who in self.redis.log[self._seen :]:
            self._judge(verdict, transition, who)
        self._seen = len(self.redis.log)
        for checker in self.checkers.values():
            moved, checker.moved = checker.moved, []
            for move, _ in moved:
                drained = move.old is NodeState.DRAINING and move.new is NodeState.REMOVED
                (self._drained.add if drained else self._drained.discard)((checker.name, move.node))
            for number, (move, allowed) in enumerate(moved):
                later = [other for other, _ in moved[number + 1 :]]
                self._judge_move(checker, move, allowed=allowed, later=later)

    def _judge(self, verdict: Verdict, transition: Transition, who: str) -> None:
        before = self._last.get(verdict.node)
        self._last[verdict.node] = verdict
        if verdict.epoch < self._epoch:
            self.break_law(f"{who} wrote under epoch {verdict.epoch} after {self._epoch}")
        self._epoch = verdict.epoch
        old = NodeState.LEFT if before is None else before.state
        if transition.old is not old:
            self.break_law(f"the log says that {verdict.node} was {transition.old}, and it was {old}")
        if before is not None and verdict.version != before.version + 1:
            self.break_law(f"version {verdict.version} of {verdict.node} follows {before.version}")
        if before is not None and (verdict.boot or 0) < (before.boot or 0):
            self.break_law(f"boot {verdict.boot} of {verdict.node} came back after {before.boot}")

    def _judge_move(self, checker: SimChecker, move: Transition, *, allowed: bool, later: Sequence[Transition]) -> None:
        if move.new is not NodeState.REMOVED or move.evidence.kind in (Kind.HELD, Kind.WORD):
            return
        node, evidence = self.nodes[move.node], move.evidence
        if not allowed:
            self.break_law(f"{checker.name} removed {move.node}, and must not judge")
        if evidence.kind is Kind.GONE:
            self.hard_removals += 1
            if node.alive and node.boot == move.boot:
                self.break_law(f"{move.node} is said to be gone, and it is there")
            return
        self.soft_removals += 1
        if evidence.failed != evidence.needed:
            self.break_law(f"{move.node} was removed after {evidence.failed} of {evidence.needed} failures")
        # An entry that an earlier life wrote a moment ago is no lease of the life that drains.
        listed = node.boot == move.boot == self.redis.registered(move.now)[0].get(move.node)
        if move.old is NodeState.DRAINING and listed:
            self.break_law(f"{move.node} was removed while it drained")
        timing = self.profile.http if evidence.kind is Kind.HTTP else self.profile.heartbeat
        if move.now - checker.took_at < (timing.failures - 1) * timing.interval_s * 0.99:
            self.break_law(
                f"{checker.name} has not led for long enough to have counted what {move.node} is removed for"
            )
        self._judge_floor(checker, move, later)
        self._judge_truth(checker, move, node)

    def _judge_floor(self, checker: SimChecker, move: Transition, later: Sequence[Transition]) -> None:
        if move.old not in JUDGED:
            return
        # Who fell silent while it drained takes no room from others before it is gone.
        # Whoever went only after this one was still there when it was judged.
        went = {other.node: other.old for other in reversed(later) if other.old in JUDGED}
        standing = [
            (went[name], False) if name in went else (health.state, health.hard)
            for name, health in checker.judgement.nodes.items()
            # One that another checker let back in is there, whatever became of it before.
            if (checker.name, name) not in self._drained or health.state in JUDGED
        ]
        found = floor(standing)
        if found.removed > found.allowed and not self.held:
            self.break_law(f"{move.node} was removed though {found.removed} are out and {found.allowed} may be")

    def _judge_truth(self, checker: SimChecker, move: Transition, node: SimNode) -> None:
        """Whoever was well and could be reached all the time must not be removed, and no short pause is enough."""
        asked = move.evidence.asked or 0.0
        # A failure of which the checker learned early may have been decided after the node was well again.
        well_since = max((end for _, end in node.pauses), default=0.0) if node.ill_since is None else float("inf")
        reached = self.network.whole_since(checker.name, move.node) < asked
        lossless = self.network.lossless_since < asked
        if well_since < asked and reached:
            self.false_removals += 1
            if lossless:
                self.break_law(f"{move.node} was well, and {checker.name} removed it: {move.reason}")
        yes = [helper for helper, said in move.evidence.helpers if said is Said.YES]
        if yes:
            self.break_law(f"{move.node} was removed though {' and '.join(yes)} reached it")
        timing = self.profile.http if move.evidence.kind is Kind.HTTP else self.profile.heartbeat
        least = timing.removal_window(round_trip_s=ROUND_TRIP_S)[0]
        recent = [pause for pause in node.pauses if pause[1] > move.now - 60]
        quiet = self.network.whole_since(checker.name, move.node) < move.now - 60
        if node.ill_since is not None and not recent and quiet and self.network.lossless_since < move.now - 60:
            pause_s = move.now - node.ill_since
            if pause_s < least and move.boot == node.boot:
                self.break_law(f"{move.node} was silent for {pause_s:.2f} s, and {least:.2f} s are allowed")

    def expect(self, states: set[NodeState], when: str) -> None:
        """Say that every node that lives should be in one of these states, and that one checker should lead."""
        for name, node in self.nodes.items():
            verdict = self.redis.table.get(name)
            if verdict is None or (node.alive and verdict.state not in states):
                self.break_law(f"{name} is {verdict.state if verdict else 'unknown'} {when}")
            elif not node.alive and verdict.state not in (NodeState.REMOVED, NodeState.LEFT):
                self.break_law(f"{name} is dead, and {verdict.state} {when}")
        leaders = [checker.name for checker in self.checkers.values() if checker.leads]
        if len(leaders) != 1:
            self.break_law(f"{leaders} lead {when}")

    def break_law(self, what: str) -> None:
        """Say that a law was broken.

        Raises:
            BrokenLawError: always.

        """
        self.ground.say(f"BROKEN: {what}")
        raise BrokenLawError(what)
