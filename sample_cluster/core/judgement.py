"""All nodes under one judge: who is asked about whom, how many may go, and whether we may judge at all.

Theory of operation. The shell tells which node what happened to (`step`), calls `tick` at `deadline`, says when it
leads and when not (`follow`), and carries out what comes back. Node by node the judgement is made in `health`; what
depends on the others is here: helpers to ask, the panic floor, and doubt of ourselves. While we do not lead, do not see
Redis, or are in tilt, probes go on and counts are kept, and no finding moves a node.

All `now` are monotonic seconds handed in by the caller.
"""

import math
from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

from sample_cluster.core.doubt import Doubt, Tilted
from sample_cluster.core.health import HELPERS, Deed, Finding, HealthEvent, HealthTiming, NodeHealth, words_s
from sample_cluster.core.panic import Floor, floor
from wsmon.protocol.states import CheckerMode, NodeState

TICK_S: Final = 0.25
"""We look at the clock this often, so that a gap of seconds is one."""
LATE_SHARE: Final = 0.25
"""A timer that is late by this share of a heartbeat's timeout makes us doubt ourselves."""
GOLDEN: Final = 0.618034
"""Multiples of the golden ratio spread any number of nodes evenly over the interval. Source: Knuth, TAOCP 3, 6.4."""


class JudgementTiming(HealthTiming, Protocol):
    """The timings of a whole checker."""

    @property
    def tilt_gap_s(self) -> float: ...
    @property
    def tilt_s(self) -> float: ...


Outcome: TypeAlias = Finding | Deed | Tilted


class Judgement:
    """One checker's view of a cluster. Implements `Circumstances` for its nodes."""

    def __init__(self, timing: JudgementTiming, *, now: float) -> None:
        self.nodes: dict[str, NodeHealth] = {}
        """What we hold true of every node. Read it; `node` and `drop` change it."""
        self.doubt = Doubt(
            interval_s=timing.heartbeat.interval_s,
            late_s=timing.heartbeat.timeout_s * LATE_SHARE,
            gap_s=timing.tilt_gap_s,
            freeze_s=timing.tilt_s,
            now=now,
        )
        self._timing = timing
        self._leads = False
        self._judging = False
        self._counting = True
        self._joined = 0
        self._turn = 0
        self._expected = math.inf
        """When the next tick was due."""
        self._tick_at = now

    @property
    def judging(self) -> bool:
        """Whether findings may move a node."""
        return self._judging

    @property
    def counting(self) -> bool:
        """Whether failures count."""
        return self._counting

    @property
    def score(self) -> int:
        """How much we doubt ourselves."""
        return self.doubt.score

    def may_go(self) -> bool:
        """Say whether one more node may be taken out on soft evidence."""
        return self.floor.open

    def helpers(self, node: str) -> tuple[str, ...]:
        """Return online nodes to ask about this one, others every time."""
        able = [
            name
            for name, other in self.nodes.items()
            if name != node and other.state is NodeState.ONLINE and other.connected and not other.heartbeat.failed
        ]
        if len(able) <= HELPERS:
            return tuple(able)
        self._turn += 1
        return tuple(able[(self._turn * HELPERS + place) % len(able)] for place in range(HELPERS))

    @property
    def floor(self) -> Floor:
        """How many are out on soft evidence, and how many may be."""
        return floor((health.state, health.hard) for health in self.nodes.values())

    @property
    def panics(self) -> bool:
        """Whether a node is held that would be removed if not too many were."""
        return any(health.held_by_panic for health in self.nodes.values())

    def mode(self, lease: CheckerMode, now: float) -> CheckerMode:
        """Return what to show for a checker whose lease makes it `lease`."""
        if lease is not CheckerMode.LEADING:
            return lease
        if self.doubt.tilted(now):
            return CheckerMode.TILT
        return CheckerMode.PANIC if self.panics else lease

    def why(self, lease: CheckerMode, now: float, *, leader: str = "") -> str:
        """Return the mode and what it rests on, in one sentence; `leader` leads if we do not."""
        mode, doubt = self.mode(lease, now), self.doubt
        match mode:
            case CheckerMode.BLIND:
                return "blind: Redis takes nothing from it; what it finds waits"
            case CheckerMode.STANDBY:
                return f"standby: {leader} leads" if leader else "standby: nobody leads yet"
            case CheckerMode.TILT:
                left_s = doubt.tilted_until - now
                return f"tilt: it stood still for {words_s(doubt.gap_s)}; judges nobody for {words_s(left_s)}"
            case CheckerMode.PANIC:
                held = ", ".join(sorted(name for name, health in self.nodes.items() if health.held_by_panic))
                floor = self.floor
                return f"panic: {floor.removed} of {floor.allowed} that may be out are out; {held} would follow"
            case CheckerMode.LEADING:
                signs = ", ".join(doubt.signs(now))
                return f"leading, and patient: {signs}" if signs else "leading"

    def node(self, name: str, now: float) -> NodeHealth:
        """Return what we hold true of a node; one that was not known is known from now on."""
        known = self.nodes.get(name)
        if known is None:
            known = NodeHealth(name, self._timing, now=now, phase=self._joined * GOLDEN % 1, around=self)
            self._joined += 1
            self.nodes[name] = known
        return known

    def drop(self, name: str) -> None:
        """Forget a node."""
        self.nodes.pop(name, None)

    def follow(self, now: float, *, leads: bool) -> None:
        """Say whether we lead, as often as it may have changed. A new leader calls `forgive` first."""
        self._leads = leads
        self._refresh(now)

    def forgive(self) -> None:
        """Forget every count: another one judged until now, and its states are inherited, not our counts."""
        for health in self.nodes.values():
            health.forgive()

    @property
    def deadline(self) -> float:
        """When to call `tick` next."""
        return min(self._tick_at, *(health.deadline for health in self.nodes.values()), math.inf)

    def step(self, name: str, event: HealthEvent, now: float, *, steady: float | None = None) -> tuple[Outcome, ...]:
        """Tell what happened to a node that is known. `steady` is as for `tick`."""
        # What comes in first after a standstill must not be judged before the standstill is noticed.
        outcomes = [*self._look_at_clock(now, late_s=0.0, steady=steady), *self.nodes[name].step(event, now)]
        self._look_around(now)
        deadline = self.deadline
        # What became due by this event is not late; what was due before is, by as much as it was.
        self._expected = deadline if deadline >= now else min(self._expected, now)
        return tuple(outcomes)

    def tick(self, now: float, *, steady: float | None = None) -> tuple[Outcome, ...]:
        """Let time pass; return what follows, in order. `steady` goes on while the machine sleeps, if `now` does not."""
        outcomes = self._look_at_clock(now, late_s=max(0.0, now - self._expected), steady=steady)
        self._tick_at = now + TICK_S
        for health in self.nodes.values():
            if now >= health.deadline:
                outcomes += health.tick(now)
        self._look_around(now)
        self._expected = self.deadline
        return tuple(outcomes)

    def _look_at_clock(self, now: float, *, late_s: float, steady: float | None) -> list[Outcome]:
        tilted = self.doubt.tick(now, late_s=late_s, steady=steady)
        if tilted is not None:
            self.forgive()
        self._refresh(now)
        return [] if tilted is None else [tilted]

    def _refresh(self, now: float) -> None:
        judged = self._judging
        self._counting = not self.doubt.tilted(now)
        self._judging = self._leads and self._counting
        if self._judging and not judged:
            for health in self.nodes.values():
                health.resume(now)

    def _look_around(self, now: float) -> None:
        self.doubt.failing(*_failing(self.nodes), now)


def _failing(nodes: Mapping[str, NodeHealth]) -> tuple[int, int]:
    """Return how many of those that serve fail at the moment, and how many serve."""
    serving = [health for health in nodes.values() if health.state in (NodeState.ONLINE, NodeState.SUSPECT)]
    return sum(1 for health in serving if health.heartbeat.failed or health.http.failed), len(serving)
