"""Proves on real processes that no message is lost, doubled or turned around: `python -m tests.blackbox NAME|all`."""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.blackbox.rig import Load, RigError
from tests.blackbox.scenarios import SCENARIOS, SHORT, Outcome, play

COLUMNS = (
    *("run", "sent", "delivered", "lost", "named", "dup", "inv", "late", "broken", "unansw", "notlog"),
    *("resumes", "resync", "rewind", "moved", "p50 s", "p99 s", "pause ms", "lag ms", "verdict"),
)
FAILED = "FAILED"


def main() -> int:
    """Run what was asked for, print a table, and return the exit status."""
    args = _flags()
    directory = Path(args.keep) if args.keep else Path(tempfile.mkdtemp(prefix="blackbox-"))
    directory.mkdir(parents=True, exist_ok=True)
    load = Load(subscribers=args.clients, publishers=args.publishers, rate=args.rate, seed=args.seed)
    names = [*SCENARIOS] if args.name == "all" else [args.name]
    rows: list[Sequence[str]] = []
    details: list[str] = []
    failed = False
    for name in names:
        outcomes: list[Outcome] = []
        scenario = SHORT if name == SHORT.name else SCENARIOS[name]
        for number in range(1, args.runs + 1):
            here = directory / (name if args.runs == 1 else f"{name}-{number}")
            if here.exists():
                shutil.rmtree(here)
            here.mkdir()
            say(f"{name}: {scenario.what} …")
            try:
                outcome = asyncio.run(play(scenario, load, here, seconds=args.seconds))
            except RigError as error:
                rows.append([name, *("–" for _ in COLUMNS[2:]), "not run"])
                details.append(f"{name}: not run: {error}")
                failed = True
                continue
            outcomes.append(outcome)
            rows.append(_row(name, outcome))
            details += _details(name, outcome, here)
            failed = failed or bool(outcome.violations)
        if len(outcomes) > 1:
            rows.append(_medians(outcomes))
    say("")
    for line in _table([COLUMNS, *rows]):
        say(line)
    for line in details:
        say(line)
    if failed or args.keep:
        say(f"\nlogs: {directory}")
    else:
        shutil.rmtree(directory)
    return int(failed)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.blackbox", description=__doc__, allow_abbrev=False)
    names = [*SCENARIOS, SHORT.name, "all"]
    text = "; ".join(f"{name}: {item.what}" for name, item in SCENARIOS.items())
    parser.add_argument("name", choices=names, nargs="?", default="all", metavar="NAME", help=text)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all dice (1)")
    parser.add_argument("--clients", type=int, default=100, metavar="N", help="subscribers (100)")
    parser.add_argument("--publishers", type=int, default=30, metavar="N", help="clients that publish (30)")
    parser.add_argument("--rate", type=float, default=200.0, metavar="N", help="messages published per second (200)")
    parser.add_argument("--seconds", type=float, metavar="N", help="length of churn (60)")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="repeat each so often (1)")
    parser.add_argument("--keep", metavar="DIR", help="keep the logs here, whatever they say")
    return parser.parse_args()


def _row(name: str, outcome: Outcome) -> Sequence[str]:
    verdict = outcome.verdict
    return (
        name,
        str(verdict.sent),
        str(verdict.delivered),
        *(str(getattr(verdict, field)) for field in ("lost", "named", "duplicated", "inverted", "late", "broken")),
        str(verdict.unanswered),
        str(verdict.missing_in_log),
        f"{verdict.clean}/{verdict.resumes}",
        str(verdict.resyncs),
        str(verdict.rewinds),
        str(verdict.handovers),
        f"{verdict.resume_p50_s:.2f}",
        f"{verdict.resume_p99_s:.2f}",
        f"{verdict.pause_p50_s * 1_000:.0f}/{verdict.pause_most_s * 1_000:.0f}",
        f"{verdict.lag_most_ms:.0f}",
        FAILED if outcome.violations else "holds",
    )


def _medians(outcomes: Sequence[Outcome]) -> Sequence[str]:
    """Return a row with the medians of the times: one run on a busy machine says little about them."""
    verdicts = [outcome.verdict for outcome in outcomes]

    def median(field: str) -> float:
        return float(statistics.median(getattr(verdict, field) for verdict in verdicts))

    return (
        "median",
        *("" for _ in COLUMNS[1:-5]),
        f"{median('resume_p50_s'):.2f}",
        f"{median('resume_p99_s'):.2f}",
        f"{median('pause_p50_s') * 1_000:.0f}/{median('pause_most_s') * 1_000:.0f}",
        f"{median('lag_most_ms'):.0f}",
        "",
    )


def _details(name: str, outcome: Outcome, directory: Path) -> list[str]:
    """Return what is behind the row of a run."""
    verdict = outcome.verdict
    cores = outcome.cores
    nodes = sum(share for part, share in cores.items() if part.startswith("n"))
    parts = ", ".join(f"{part} {cores.get(part, 0.0):.2f}" for part in ("gateway", "redis", "clients", "rig"))
    others = outcome.machine - sum(cores.values())
    rate = verdict.delivered / max(outcome.seconds, 1e-9)
    busy = f"cores: nodes {nodes:.2f}, {parts}, others {max(0.0, others):.2f} of {os.cpu_count()}"
    failures = ", ".join(f"{count} × {text}" for text, count in verdict.outcomes) or "none"
    lines = [
        f"\n{name}: {outcome.seconds:.0f} s, {rate:.0f} deliveries/s; {busy}",
        f"  gaps filled {verdict.gaps}, publishes refused for now {verdict.retried}, failed attempts: {failures}",
    ]
    if verdict.stale:
        lines.append(f"  the promoted replica had not heard of {verdict.stale} messages")
    if outcome.violations:
        lines += [f"  ! {text}" for text in outcome.violations]
        lines += [f"    {text}" for text in verdict.examples]
        lines.append(f"    logs: {directory}")
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
