"""Looks for a schedule that breaks message continuity: python -m tests.sim.explore --seeds 20000.

A schedule that does prints what it broke and the command that shows it step by step. `--mutant` switches a safety rule
off and wants to see that noticed: all of them with `--mutant all`.
"""

import argparse
import gc
import itertools
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.sim.mutants import MUTANTS, mutated
from tests.sim.schedule import Outcome, run

CHUNK: Final = 50
MUTANT_SEEDS: Final = 2_000
SHOWN: Final = 5
Found = tuple[int, str]
Job = tuple[int, int, str | None]


def explore(job: Job) -> tuple[list[Found], Counter[str]]:
    """Run the seeds from one number up to another; return what they broke, and how often what was reached."""
    first, end, mutant = job
    found: list[Found] = []
    tally: Counter[str] = Counter()
    gc.disable()  # A world is one knot of references that lives for milliseconds: it goes in one piece, below.
    with mutated(mutant) as make_redis:
        for seed in range(first, end):
            outcome = run(seed, make_redis=make_redis)
            tally.update(outcome.tally)
            if outcome.broken is not None:
                found.append((seed, outcome.broken))
    gc.enable()
    gc.collect()
    return found, tally


def hunt(mutant: str, first: int = 0, most: int = MUTANT_SEEDS) -> Found | None:
    """Return the number of schedules after which a mutant was noticed, and by what; None if it was not."""
    with mutated(mutant) as make_redis:
        for seed in range(first, first + most):
            broken = run(seed, make_redis=make_redis).broken
            if broken is not None:
                return seed - first + 1, broken
    return None


def show(seed: int, mutant: str | None, *, trace: bool) -> Outcome:
    """Run one schedule and print what happened."""
    with mutated(mutant) as make_redis:
        outcome = run(seed, make_redis=make_redis, tracing=trace)
    for line in outcome.lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"seed {seed}: {outcome.broken or 'nothing is broken'}\n")
    return outcome


def _jobs(first: int, count: int, mutant: str | None) -> Iterator[Job]:
    for start in range(first, first + count, CHUNK):
        yield start, min(start + CHUNK, first + count), mutant


def _search(first: int, count: int, mutant: str | None, *, processes: int) -> int:
    started = time.monotonic()
    tally: Counter[str] = Counter()
    found: list[Found] = []
    done = 0
    with multiprocessing.Pool(processes) as pool:
        for broken, reached in pool.imap(explore, _jobs(first, count, mutant)):
            done = min(done + CHUNK, count)
            tally.update(reached)
            for seed, text in broken[: max(0, SHOWN - len(found))]:
                also = f" --mutant {mutant}" if mutant is not None else ""
                sys.stdout.write(f"BROKEN by seed {seed}: {text}\n")
                sys.stdout.write(f"  python -m tests.sim.explore --seed {seed} --trace{also}\n")
                sys.stdout.flush()
            found += broken
    took = time.monotonic() - started
    sys.stdout.write(f"{done} schedules in {took:.0f} s ({done / took:.0f} a second), {len(found)} broken\n")
    counts = ", ".join(f"{name} {tally[name]}" for name in sorted(tally))
    sys.stdout.write(f"reached: {counts}\n")
    return 1 if found else 0


def _gate(names: list[str], first: int, *, processes: int) -> int:
    survived = 0
    with multiprocessing.Pool(processes) as pool:
        for name, found in zip(names, pool.starmap(hunt, zip(names, itertools.repeat(first))), strict=True):
            survived += found is None
            text = f"NOT NOTICED in {MUTANT_SEEDS}" if found is None else f"noticed after {found[0]}: {found[1][:100]}"
            sys.stdout.write(f"{name:24} {text}\n")
    return 1 if survived else 0


def main() -> int:
    """Return 1 if something was broken, or a mutant was not noticed."""
    parser = argparse.ArgumentParser(prog="tests.sim.explore", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many schedules")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--mutant", choices=[*MUTANTS, "all"], help="a safety rule to switch off")
    parser.add_argument("--seed", type=int, help="this schedule only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every step")
    asked = parser.parse_args()
    if asked.seed is not None:
        return 1 if show(asked.seed, asked.mutant, trace=asked.trace).broken else 0
    if asked.mutant is not None:
        names = [*MUTANTS] if asked.mutant == "all" else [asked.mutant]
        return _gate(names, asked.first, processes=asked.jobs)
    return _search(asked.first, asked.seeds, None, processes=asked.jobs)


if __name__ == "__main__":
    sys.exit(main())
