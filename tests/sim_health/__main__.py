"""Plays schedules: `python -m tests.sim_health --seeds 1000`; a seed that breaks a law prints how it came to that."""

import argparse
import sys
import time
from collections import Counter

from tests.sim_health.endurance import endure, starve
from tests.sim_health.schedule import play

SHOWN = 60


def main() -> int:
    """Play, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim_health")
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many schedules (200)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first seed (0)")
    parser.add_argument(
        "--heartbeats",
        type=int,
        default=120,
        metavar="N",
        help="how long faults go on, in heartbeats: 120 are ten minutes of production (120)",
    )
    parser.add_argument(
        "--hours", type=float, default=0.0, metavar="N", help="hours of five nodes with 5 %% of all probes lost"
    )
    args = parser.parse_args()
    began, tally, broken = time.monotonic(), Counter[str](), 0
    for seed in range(args.first, args.first + args.seeds):
        outcome = play(seed, heartbeats=args.heartbeats)
        tally += outcome.tally
        if outcome.broken is not None:
            broken += 1
            print(f"seed {seed}: {outcome.broken}")  # noqa: T201  # A command line prints.
            print("\n".join(outcome.trace[-SHOWN:]))  # noqa: T201  # A command line prints.
            print(f"again: python -m tests.sim_health --first {seed} --seeds 1 --heartbeats {args.heartbeats}")  # noqa: T201  # A command line prints.
    print(f"{args.seeds} schedules in {time.monotonic() - began:.1f} s, {broken} broken")  # noqa: T201  # A command line prints.
    print(", ".join(f"{name} {count}" for name, count in sorted(tally.items())))  # noqa: T201  # A command line prints.
    if args.hours:
        began = time.monotonic()
        print(endure(hours=args.hours), f"({time.monotonic() - began:.0f} s)")  # noqa: T201  # A command line prints.
        print(starve(hours=args.hours / 24))  # noqa: T201  # A command line prints.
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
