"""What the dashboard costs and how fast it answers, in a pseudo-terminal of 120×36. `python -m benchmarks.dashboard`.

Draws pictures that were made before (`benchmarks.synthetic`), so every figure is that of the terminal side alone; only
the start is that of the real program with a cluster, and is left out with `--no-cluster`. Takes three minutes.
"""

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.pseudo_terminal import Session, python, quantile, text_of
from benchmarks.synthetic import alarm_text

WARM_S = 4.0
LINKS = {"free": 0, "5 KB/s": 5_000, "960 B/s": 960}
KEYS = 14
KEY_EVERY_S = 1.15
"""Not a divisor of a second: keys come at every moment between two frames."""
_MARKER = re.compile(r"^▌ n(\d+) ", re.MULTILINE)
_ALARM = re.compile(r"alarm (\d+\.\d{3})/\d{3}\.")


def start(nodes: int, pattern: str, *flags: str, rate: int = 0) -> Session:
    """Start the dashboard on synthetic pictures."""
    return Session(python("benchmarks.synthetic", str(nodes), pattern, *flags), rate=rate)


def cost(name: str, nodes: int, pattern: str, *flags: str, rate: int = 0, seconds: float = 10.0) -> Session:
    """Print CPU, bytes and memory of a dashboard left alone."""
    session = start(nodes, pattern, *flags, rate=rate)
    session.rest(WARM_S)
    session.mark("from")
    session.rest(seconds)
    session.mark("to")
    session.quit()
    record = session.record
    first, last = record.marks["from"], record.marks["to"]
    cpu = 100 * (record.cpu["to"] - record.cpu["from"]) / (last - first)
    rate_s = record.between(first, last) / (last - first)
    ideal = session.ideal(first, last) if rate_s and not rate else 0
    ratio = f"{record.between(first, last) / ideal:.2f}" if ideal else "-"
    print(f"{name:<34}{cpu:>7.2f} %{rate_s:>9.0f}{ratio:>9}{record.rss / 2**20:>8.1f}", flush=True)
    return session


def first_paint(session: Session) -> int:
    """Return how many bytes the first complete screen took: all that came before the first long silence after it."""
    total, before = 0, session.record.started
    for at, piece in session.record.chunks:
        if total > 1_000 and at - before > 0.3:
            break
        total, before = total + len(piece), at
    return total


def answers(name: str, rate: int) -> None:
    """Print how long keys, alarms and the end take on a link."""
    with tempfile.TemporaryDirectory() as directory:
        stalls = Path(directory) / "stalls"
        session = start(100, "tick", "--alarms", "--stalls", str(stalls), rate=rate)
        session.rest(WARM_S + (6 if rate else 0))
        session.mark("from")
        for _ in range(KEYS):
            session.type("j")
            session.rest(KEY_EVERY_S)
        session.mark("to")
        session.quit()
        late_ms = json.loads(stalls.read_text()) if stalls.exists() else []
    record = session.record
    sent = [at for at, keys in record.keys if keys == "j"]
    seen: dict[int, float] = {}
    alarms: dict[str, float] = {}
    for at, screen in session.screens():
        text = text_of(screen)
        if marked := _MARKER.search(text):
            seen.setdefault(int(marked[1]), at)
        for match in _ALARM.finditer(text):
            if match[0] == alarm_text(float(match[1])):
                alarms.setdefault(match[1], at)
    took = [seen[number + 2] - at for number, at in enumerate(sent) if number + 2 in seen]
    lag = [at - float(stamp) for stamp, at in alarms.items() if float(stamp) > record.marks["from"]]
    lost = len(sent) - max(seen, default=1) + 1
    quit_ms = float("nan") if record.quit_s is None else record.quit_s * 1e3
    print(
        f"{name:<12}{quantile(took, 0.5) * 1e3:>8.0f}{quantile(took, 0.95) * 1e3:>8.0f}{lost:>6}"
        f"{quantile(lag, 0.5) * 1e3:>9.0f}{quantile(lag, 0.95) * 1e3:>8.0f}"
        f"{quantile(late_ms, 0.99):>9.1f}{quit_ms:>8.0f}{'yes' if record.restored else 'NO':>10}"
        f"{record.between(record.marks['from'], record.marks['to']) / KEYS / KEY_EVERY_S:>8.0f}",
        flush=True,
    )


def starting(runs: int) -> None:
    """Print how soon the real program shows something, with a cluster of its own."""
    marks = {"first byte": rb".", "first screen": rb"NODE"}
    took: dict[str, list[float]] = {name: [] for name in (*marks, "end after q")}
    for number in range(runs):
        with tempfile.TemporaryDirectory(prefix="wsm-") as directory:
            os.environ["XDG_RUNTIME_DIR"] = directory
            session = Session(python("wsmon", "--cluster", f"bench{os.getpid()}-{number}", "--port", "0"))
            for name, pattern in marks.items():
                at = session.wait_for(pattern, 10)
                if at is not None:
                    took[name].append(at)
            session.rest(4)
            session.quit()
            if session.record.quit_s is not None:
                took["end after q"].append(session.record.quit_s)
    print(f"\n{f'start, seconds, of {runs}':<34}{'median':>9}{'worst':>9}")
    for name, values in took.items():
        print(f"{name:<34}{quantile(values, 0.5):>9.3f}{max(values, default=float('nan')):>9.3f}")


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-cluster", action="store_true", help="leave the start of the real program out")
    parser.add_argument("--runs", type=int, default=3, help="starts of the real program (3)")
    options = parser.parse_args()
    began = time.monotonic()
    print(f"load before: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores\n")
    print(f"{'120x36, drawing alone':<34}{'CPU':>9}{'B/s':>9}{'x ideal':>9}{'MB':>8}")
    cost("idle: nothing changes", 100, "idle")
    cost("10 nodes, all change each second", 10, "tick")
    paint = first_paint(cost("100 nodes", 100, "tick"))
    cost("1000 nodes", 1_000, "tick")
    cost("1000 nodes, one after the other", 1_000, "stream")
    cost("3 nodes, slow link asked for", 3, "tick", "--lean")
    cost("100 nodes, slow link asked for", 100, "tick", "--lean", rate=960, seconds=20.0)
    print(f"first screen complete after {paint} bytes")
    print(f"\n{'ms, 100 nodes':<12}{'key p50':>8}{'p95':>8}{'lost':>6}{'alarm':>9}{'p95':>8}", end="")
    print(f"{'stall99':>9}{'quit':>8}{'restored':>10}{'B/s':>8}")
    for name, rate in LINKS.items():
        answers(name, rate)
    if not options.no_cluster:
        starting(options.runs)
    print(f"\ntook {time.monotonic() - began:.0f} s; load after: {psutil.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
