"""`wsmon conform ENDPOINT`: does what serves this admin socket keep what the protocol promises?"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from wsmon.agent.endpoint import parse_endpoint
from wsmon.conformance.performance import Outcome, Peer, Verdict
from wsmon.conformance.stage import Stage, shipped
from wsmon.errors import UsageError
from wsmon.modes import Parser
from wsmon.protocol.frames import JsonObject
from wsmon.views.text import clean, name

TOKEN_VARIABLE: Final = "WSMON_TOKEN"  # noqa: S105  # Where the token is, not what it is.
LONGEST: Final = 400
_MARKS: Final = {Verdict.PASSED: "ok", Verdict.FAILED: "FAIL", Verdict.SKIPPED: "skip"}


def run(arguments: list[str]) -> int:
    """Run the command; return its exit status: 1 if a promise is broken.

    Raises:
        UsageError: a flag or its value is not allowed.
        UnreachableError: nobody takes a connection there, or not with this token.

    """
    parser = Parser(
        prog="wsmon conform",
        description="play golden transcripts of the admin protocol against a socket, and say what was expected and what came",
        epilog=f"Nothing is changed there. A token for TCP is read from {TOKEN_VARIABLE}. Exit status: 0 all passed, "
        "1 some failed, 3 unreachable.",
        allow_abbrev=False,
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="ws+unix:///path, ws://127.0.0.1:port/admin or wss://…")
    parser.add_argument("--only", action="append", metavar="NAME", help="this transcript alone; may be repeated")
    parser.add_argument("--steps", action="store_true", help="print the steps of those that pass, too")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(arguments)
    endpoint = parse_endpoint(options.endpoint)
    transcripts = shipped()
    names = [transcript.name for transcript in transcripts]
    for wanted in options.only or ():
        if wanted not in names:
            raise UsageError(f"there is no transcript {wanted!r}", hint=f"there are: {', '.join(names)}")
    chosen = tuple(transcript for transcript in transcripts if not options.only or transcript.name in options.only)
    stage = Stage(endpoint, token=os.environ.get(TOKEN_VARIABLE) or None)

    def tell(outcome: Outcome) -> None:
        if not options.json:
            _print(outcome_lines(outcome, steps=options.steps))

    async def play() -> tuple[Peer, tuple[Outcome, ...]]:
        peer = await stage.scout()
        if not options.json:
            _print([title_line(peer, str(endpoint))])
        return peer, await stage.play_all(chosen, peer, tell)

    peer, outcomes = asyncio.run(play())
    if options.json:
        _print([json.dumps(report_object(peer, str(endpoint), outcomes))])
    else:
        _print([sum_line(outcomes)])
    return 1 if _count(outcomes, Verdict.FAILED) else 0


def title_line(peer: Peer, endpoint: str) -> str:
    """Return who is asked."""
    if not peer.id:
        return f"{clean(endpoint)}: its hello cannot be read"
    return f"{name(peer.id)} at {clean(endpoint)}: {name(peer.kind)}, role {name(peer.role)}"


def outcome_lines(outcome: Outcome, *, steps: bool) -> Iterator[str]:
    """Yield what became of a transcript; its steps if it failed, or if all `steps` are wanted."""
    why = f" ({clean(outcome.why)})" if outcome.why else ""
    yield f"{_MARKS[outcome.verdict]:<5} {outcome.name:<13} {outcome.title}{why}"
    if not steps and outcome.verdict is not Verdict.FAILED:
        return
    for step in outcome.steps:
        yield f"      {step.number:>2} {'ok  ' if step.passed else 'FAIL'} {step.says}"
        if steps or not step.passed:
            yield f"              expected  {clean(step.expected, LONGEST)}"
            if step.came:
                yield f"              came      {clean(step.came, LONGEST)}"


def sum_line(outcomes: Iterable[Outcome]) -> str:
    """Return how many ended how."""
    outcomes = tuple(outcomes)
    return ", ".join(f"{_count(outcomes, verdict)} {verdict}" for verdict in Verdict)


def report_object(peer: Peer, endpoint: str, outcomes: Iterable[Outcome]) -> JsonObject:
    """Return the report for machines."""
    outcomes = tuple(outcomes)
    return {
        "endpoint": endpoint,
        "peer": {"id": peer.id, "kind": peer.kind, "role": peer.role},
        "conforms": not _count(outcomes, Verdict.FAILED),
        **{str(verdict): _count(outcomes, verdict) for verdict in Verdict},
        "transcripts": [
            {
                "name": outcome.name,
                "title": outcome.title,
                "verdict": str(outcome.verdict),
                "why": outcome.why,
                "steps": [
                    {
                        "line": step.number,
                        "says": step.says,
                        "expected": step.expected,
                        "came": step.came,
                        "passed": step.passed,
                    }
                    for step in outcome.steps
                ],
            }
            for outcome in outcomes
        ],
    }


def _count(outcomes: tuple[Outcome, ...], verdict: Verdict) -> int:
    return sum(outcome.verdict is verdict for outcome in outcomes)


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
