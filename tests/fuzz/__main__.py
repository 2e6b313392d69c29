"""Throws broken payloads at the decoders for a while: python -m tests.fuzz --seconds 60."""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator

from tests.fuzz.harness import BrokenPromiseError, run


def until(deadline: float, first: int) -> Iterator[int]:
    """Count up until the time is over."""
    return itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count(first))


def main() -> int:
    """Return 1 if a decoder broke its promise."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="equal seeds make equal payloads")
    parser.add_argument("--only", type=int, help="the one payload with this number")
    asked = parser.parse_args()
    started = time.monotonic()
    try:
        numbers = until(started + asked.seconds, 0) if asked.only is None else [asked.only]
        tally = run(asked.seed, numbers)
    except BrokenPromiseError as error:
        sys.stdout.write(f"FOUND: {error}\n")
        return 1
    took = time.monotonic() - started
    sys.stdout.write(
        f"seed {asked.seed}: {tally.executions} executions in {took:.0f} s, {tally.refused} refused, no finding\n"
        f"accepted: {', '.join(f'{name} {count}' for name, count in tally.frames.most_common())}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
