"""How fast `wsmon` is: the first screen, and everything online. Prints a table of medians over several starts.

Drives the real program in a pseudo-terminal. `python -m benchmarks.startup [RUNS]`.
"""

import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import termios
import time

RUNS = 5
MARKS = {
    "first byte": rb".",
    "first screen": rb"NODE",
    "everything online": rb"60\S*\x1b\[[0-9;]*m clients|60 clients",
}
GIVE_UP_S = 20.0


def measure(name: str) -> dict[str, float]:
    """Start wsmon once; return seconds from its start to each mark, and to its end after `q`."""
    started = time.monotonic()
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "wsmon", "--cluster", name, "--port", "0"])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
    seen: dict[str, float] = {}
    output = b""
    while len(seen) < len(MARKS) and time.monotonic() - started < GIVE_UP_S:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        output += os.read(fd, 65_536)
        for mark, pattern in MARKS.items():
            if mark not in seen and re.search(pattern, output):
                seen[mark] = time.monotonic() - started
    asked = time.monotonic()
    os.write(fd, b"q")
    while True:
        try:
            if select.select([fd], [], [], 0.1)[0] and not os.read(fd, 65_536):
                break
        except OSError:
            break
        if time.monotonic() - asked > GIVE_UP_S:
            os.kill(pid, signal.SIGKILL)
            break
    os.waitpid(pid, 0)
    os.close(fd)
    seen["end after q"] = time.monotonic() - asked
    return seen


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    results = [measure(f"bench{os.getpid()}-{number}") for number in range(runs)]
    print(f"{'seconds, median of ' + str(runs):<28}{'median':>8}{'worst':>8}")
    for mark in (*MARKS, "end after q"):
        values = [result[mark] for result in results if mark in result]
        if values:
            print(f"{mark:<28}{statistics.median(values):>8.2f}{max(values):>8.2f}")
        else:
            print(f"{mark:<28}{'never':>8}")


if __name__ == "__main__":
    main()
