"""How fast `wsmon` is: the first screen, and everything online. Prints a table of medians over several starts.

Drives the real program in a pseudo-terminal. `python -m benchmarks.startup [RUNS]`.
"""

import os
import re
import statistics
import sys
import tempfile

from benchmarks.pseudo_terminal import Session, python, text_of

RUNS = 5
SCREENS = {
    "first screen": re.compile(r"NODE +STATE"),
    "everything online": re.compile(r"3/3 online.* 60 clients"),
}
WATCHED_S = 7.0


def measure(name: str) -> dict[str, float]:
    """Start wsmon once; return seconds from its start to each mark, and to its end after `q`."""
    with tempfile.TemporaryDirectory(prefix="wsm-") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        session = Session(python("wsmon", "--cluster", name, "--port", "0"))
        session.rest(WATCHED_S)
        session.quit()
    record = session.record
    seen = {"first byte": record.chunks[0][0] - record.started} if record.chunks else {}
    for at, screen in session.screens():
        text = text_of(screen)
        for mark, pattern in SCREENS.items():
            if mark not in seen and pattern.search(text):
                seen[mark] = at - record.started
    if record.quit_s is not None:
        seen["end after q"] = record.quit_s
    return seen


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    results = [measure(f"bench{os.getpid()}-{number}") for number in range(runs)]
    print(f"{'seconds, median of ' + str(runs):<28}{'median':>8}{'worst':>8}")
    for mark in ("first byte", *SCREENS, "end after q"):
        values = [result[mark] for result in results if mark in result]
        if values:
            print(f"{mark:<28}{statistics.median(values):>8.2f}{max(values):>8.2f}")
        else:
            print(f"{mark:<28}{'never':>8}")


if __name__ == "__main__":
    main()
