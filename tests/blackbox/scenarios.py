"""What is broken in each black-box run, and what must hold all the same."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.blackbox.checker import Verdict, check
from tests.blackbox.rig import Load, Rig

WARM_UP_S: Final = 3.0
CLEAN_SHARE: Final = 0.99
FROZEN_REDIS_S: Final = 2.5
KILLED_BEFORE_S: Final = 0.3
"""Shorter than most clients take to come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to break the cluster. What must hold in all of them is in `violations`; here is what is special."""

    name: str
    what: str
    act: Callable[[Rig, float], Awaitable[None]]
    """Breaks things; the number is how long to go on, in seconds, for the scenarios that have no length of their own."""
    after_s: float
    """How long messages are published after it."""
    seconds: float = 0.0
    replicated: bool = False
    resume_p50_s: float | None = None
    resume_p99_s: float | None = None
    pause_most_s: float | None = None
    must_resume: bool = True
    """Somebody has to lose its connection, or nothing was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    scenario: Scenario
    verdict: Verdict
    violations: tuple[str, ...]
    seconds: float
    """How long messages were published."""
    cores: dict[str, float]
    """Cores that each part used while messages were published."""
    machine: float
    """Cores that were busy meanwhile, with whatever else runs here."""


async def _kill(rig: Rig, _: float) -> None:
    name = rig.node()
    rig.signal(name, signal.SIGKILL)
    await rig.pause(5)
    await rig.revive(name)


async def _kill_two(rig: Rig, _: float) -> None:
    first, second = rig.dice.sample([f"n{number}" for number in range(1, rig.load.nodes + 1)], 2)
    rig.signal(first, signal.SIGKILL)
    await rig.pause(3)
    rig.signal(second, signal.SIGKILL)
    await rig.pause(4)
    await rig.revive(first)
    await rig.revive(second)


async def _freeze(rig: Rig, _: float) -> None:
    name = rig.node()
    rig.signal(name, signal.SIGSTOP)
    await rig.pause(20)
    rig.signal(name, signal.SIGCONT)


async def _drain(rig: Rig, _: float) -> None:
    await rig.drain(rig.node())


async def _kill_gateway(rig: Rig, _: float) -> None:
    rig.signal("gateway", signal.SIGKILL)


async def _end_redis(rig: Rig, _: float) -> None:
    rig.signal("redis", signal.SIGTERM)


async def _kill_redis(rig: Rig, _: float) -> None:
    rig.signal("redis", signal.SIGKILL)


async def _freeze_redis(rig: Rig, _: float) -> None:
    """What was sent to it meanwhile is carried out afterwards, when nodes and clients have long given it up."""
    rig.signal("redis", signal.SIGSTOP)
    await rig.pause(FROZEN_REDIS_S)
    rig.signal("redis", signal.SIGCONT)


async def _promote(rig: Rig, _: float) -> None:
    await _fork(rig, None, stale_s=3.0)


async def _promote_and_kill(rig: Rig, _: float) -> None:
    """Let a third of the clients be away while history forks.

    They come back with positions of the old history when the new one has grown past them: their numbers exist again.
    """
    name = rig.node()
    await _fork(rig, name, stale_s=0.6)
    await rig.pause(5)
    await rig.revive(name)


async def _fork(rig: Rig, killed: str | None, *, stale_s: float) -> None:
    """Put a replica in charge that has not heard of the last seconds; kill a node a little before if one is named."""
    assert stale_s >= KILLED_BEFORE_S
    pair = rig.pair
    assert pair is not None
    rig.fault("replication cut")
    pair.link.cut()
    await rig.pause(stale_s - KILLED_BEFORE_S)
    if killed is not None:
        rig.signal(killed, signal.SIGKILL)
    await rig.pause(KILLED_BEFORE_S)
    await rig.note_staleness()
    rig.fault("primary killed")
    await pair.kill_primary()
    await pair.promote()
    rig.facts.note("promoted")


async def _churn(rig: Rig, seconds: float) -> None:
    """Break one thing after the other, and let each mend before the next."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        name = rig.node()
        match rig.dice.choice(("kill", "freeze", "drain", "gateway", "redis", "stopped redis", "two at once")):
            case "kill":
                rig.signal(name, signal.SIGKILL)
                await rig.pause(rig.dice.uniform(0.5, 4))
                await rig.revive(name)
            case "freeze":
                rig.signal(name, signal.SIGSTOP)
                await rig.pause(rig.dice.uniform(0.5, 6))
                rig.signal(name, signal.SIGCONT)
            case "drain":
                await rig.drain(name)
                await rig.undrain(name)
            case "gateway":
                rig.signal("gateway", signal.SIGKILL)
            case "redis":
                rig.signal("redis", signal.SIGKILL)
            case "stopped redis":
                await _freeze_redis(rig, seconds)
            case "two at once":
                rig.signal(name, signal.SIGKILL)
                rig.signal("redis", signal.SIGKILL)
                await rig.pause(1)
                await rig.revive(name)
        await rig.pause(rig.dice.uniform(4, 8))


async def _kill_and_drain(rig: Rig, _: float) -> None:
    """Fit both into a few seconds."""
    first, second = rig.dice.sample([f"n{number}" for number in range(1, rig.load.nodes + 1)], 2)
    rig.signal(first, signal.SIGKILL)
    await rig.pause(2.5)
    await rig.revive(first)
    await rig.pause(2)
    await rig.drain(second)


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="kill",
            what="SIGKILL of a node",
            act=_kill,
            after_s=5,
            resume_p50_s=1.0,
            resume_p99_s=3.0,
        ),
        Scenario(name="kill2", what="SIGKILL of two nodes, 3 s apart", act=_kill_two, after_s=5),
        Scenario(name="freeze", what="a node stopped for 20 s", act=_freeze, after_s=6),
        Scenario(name="drain", what="a node drained", act=_drain, after_s=3, pause_most_s=0.150),
        Scenario(name="gateway", what="SIGKILL of the gateway", act=_kill_gateway, after_s=8),
        Scenario(name="redis-term", what="Redis restarted", act=_end_redis, after_s=10, must_resume=False),
        Scenario(name="redis-kill", what="SIGKILL of Redis", act=_kill_redis, after_s=10, must_resume=False),
        Scenario(name="redis-freeze", what="Redis stopped for 2.5 s", act=_freeze_redis, after_s=8, must_resume=False),
        Scenario(
            name="replica",
            what="a replica promoted that lags 3 s",
            act=_promote,
            after_s=12,
            replicated=True,
            must_resume=False,
        ),
        Scenario(
            name="replica-kill",
            what="one promoted that lags 0.6 s, a node killed just before",
            act=_promote_and_kill,
            after_s=8,
            replicated=True,
        ),
        Scenario(name="churn", what="all of it, one after the other", act=_churn, after_s=8, seconds=60),
    )
}
SHORT: Final = Scenario(name="short", what="a node killed, another drained", act=_kill_and_drain, after_s=2)
"""Part of the ordinary tests, on a machine that may be busy: no times are judged."""


def violations(scenario: Scenario, verdict: Verdict) -> tuple[str, ...]:
    """Return what does not hold that must, each in a few words."""
    found = []

    def demand(holds: bool, text: str) -> None:
        if not holds:
            found.append(text)

    for name in ("lost", "duplicated", "inverted", "broken", "unanswered", "refused", "stopped", "away"):
        count = getattr(verdict, name)
        demand(count == 0, f"{count} {name}")
    demand(verdict.missing_in_log == 0, f"{verdict.missing_in_log} answered and not in the log")
    demand(verdict.stored_twice == 0, f"{verdict.stored_twice} twice in the log")
    demand(verdict.settled, "not settled in the end")
    demand(
        verdict.clean >= CLEAN_SHARE * verdict.resumes,
        f"only {verdict.clean} of {verdict.resumes} resumes without a resync",
    )
    demand(verdict.resumes > 0 or not scenario.must_resume, "nobody had to resume: nothing was shown")
    demand(verdict.stale > 0 or not scenario.replicated, "the replica had everything: nothing was shown")
    for limit, value, text in (
        (scenario.resume_p50_s, verdict.resume_p50_s, "resume p50"),
        (scenario.resume_p99_s, verdict.resume_p99_s, "resume p99"),
        (scenario.pause_most_s, verdict.pause_most_s, "longest pause"),
    ):
        demand(limit is None or value <= limit, f"{text} {value:.3f} s, allowed {limit} s")
    return tuple(found)


async def play(scenario: Scenario, load: Load, directory: Path, *, seconds: float | None = None) -> Outcome:
    """Run a scenario and judge it; the logs stay in `directory`.

    Raises:
        RigError: the run could not be made.

    """
    loop = asyncio.get_running_loop()
    async with Rig(directory, load, replicated=scenario.replicated) as rig:
        rig.publish()
        started, used_before, busy_before = loop.time(), rig.cpu_s(), _busy_s()
        await rig.pause(WARM_UP_S)
        await scenario.act(rig, scenario.seconds if seconds is None else seconds)
        await rig.pause(scenario.after_s)
        elapsed, used, busy = loop.time() - started, rig.cpu_s(), _busy_s()
        await rig.stop_publishing()
        await rig.note_logs()
        logs = rig.logs
    verdict = judge(logs)
    # A process that was replaced began to count anew.
    cores = {name: max(0.0, used[name] - used_before.get(name, 0.0)) / elapsed for name in used}
    return Outcome(
        scenario=scenario,
        verdict=verdict,
        violations=violations(scenario, verdict),
        seconds=elapsed,
        cores=cores,
        machine=(busy - busy_before) / elapsed,
    )


def judge(logs: tuple[Path, ...]) -> Verdict:
    """Return the checker's verdict on some logs."""

    def lines() -> Iterator[str]:
        for path in logs:
            with path.open(encoding="utf-8") as file:
                yield from file

    return check(lines())


def _busy_s() -> float:
    """Return the CPU seconds that the whole machine has spent on work so far."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)
