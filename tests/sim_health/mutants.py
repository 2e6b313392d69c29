"""Mistakes that the laws have to catch. Each takes one rule away."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from sample_cluster.core import health
from sample_cluster.core.health import NodeHealth
from sample_cluster.core.judgement import Judgement
from sample_cluster.core.lease import Lease
from sample_cluster.core.probe import Probe
from tests.sim_health.checker_side import SimChecker
from tests.sim_health.redis_side import ModelRedis
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import CheckerMode, NodeState

Patch = tuple[Any, str, Any]


def _one_failure_less(self: Probe) -> bool:
    return self.failed >= max(self.timing.failures - 1, 1)


def _too_late(self: Probe, *, late_s: float) -> bool:
    self.in_flight = False
    if late_s > self.timing.timeout_s / 2 or self.asked - self._counted < self.timing.interval_s * 1.9:
        return False
    self._counted = self.asked
    self.passed = 0
    self.failed = min(self.failed + 1, self.timing.failures)
    return True


def _old_boots_are_new(self: NodeHealth, boot: int, now: float) -> bool:
    if self.boot != boot:
        if not self._around.judging:
            return False
        self._begin_life(boot, now)
    return True


def _reads_last(self: SimChecker) -> None:
    now = self._ground.now
    if now >= self.busy_until and now >= self.judgement.deadline:
        self._follow()
        self._do(self.judgement.tick(now, steady=now))
    _WAKE(self)


def _late_counts(self: NodeHealth, *args: Any, late_s: float, **more: Any) -> None:
    _FAILED(self, *args, late_s=0.0 * late_s, **more)


def _unfenced(self: ModelRedis, verdict: Verdict, *args: Any, **more: Any) -> Any:
    epoch, self.epoch = self.epoch, 0
    try:
        return _WRITE(self, verdict, *args, **more)
    finally:
        self.epoch = epoch


def _never_blind(self: Lease, now: float) -> None:
    self.deadline = now + self._renew_s / 4


def _leads_for_ever(self: Lease, now: float) -> CheckerMode:
    assert now >= 0
    return CheckerMode.LEADING if self._held_until > 0 else CheckerMode.STANDBY


_WAKE = SimChecker._wake
_FAILED = NodeHealth._failed
_WRITE = ModelRedis.write

MUTANTS: Final[dict[str, tuple[Patch, ...]]] = {
    "one failure less is enough": ((Probe, "decided", property(_one_failure_less)),),
    "others are not believed": ((Probe, "reached_by", property(lambda _: ())),),
    "no panic floor": ((Judgement, "may_go", lambda _: True),),
    "judges without leading": ((Judgement, "judging", property(lambda self: self.counting)),),
    "judges in tilt": (
        (Judgement, "judging", property(lambda self: self._leads)),
        (Judgement, "counting", property(lambda _: True)),
    ),
    "counts of before are kept by a new leader": ((Judgement, "forgive", lambda _: None),),
    "an old boot comes back": ((NodeHealth, "_meet", _old_boots_are_new),),
    "calls late before it reads": (
        (SimChecker, "_wake", _reads_last),
        (NodeHealth, "_failed", _late_counts),
        (Probe, "patience", lambda self, score: self.timing.timeout_s * (1 + 0 * score)),
    ),
    "a stale leader writes": (
        (ModelRedis, "write", _unfenced),
        (Lease, "mode", _leads_for_ever),
        (Lease, "failed", _never_blind),
    ),
    "draining alarms": ((health, "_JUDGED", health._JUDGED | {NodeState.DRAINING}),),
    "misses have to be two intervals apart": ((Probe, "fail", _too_late),),
}


CAUGHT_BY: Final = {
    "others are not believed": 2,
    "judges in tilt": 9,
    "counts of before are kept by a new leader": 1,
    "an old boot comes back": 13,
    "calls late before it reads": 11,
    "a stale leader writes": 1,
    "draining alarms": 7,
    "misses have to be two intervals apart": 2,
}
"""A seed that is known to catch it, to begin with; without one, the first does."""


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Take a rule away for a while."""
    with ExitStack() as stack:
        for owner, attribute, other in MUTANTS[name]:
            stack.callback(setattr, owner, attribute, owner.__dict__[attribute])
            setattr(owner, attribute, other)
        yield
