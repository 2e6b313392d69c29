"""`wsmon report FILE`: the failover scorecard of everything that went wrong in a recording."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wsmon.model.incidents import Incident, Incidents, Removal
from wsmon.model.scorecard import Scorecard, scorecard_object
from wsmon.modes import Parser
from wsmon.protocol.frames import JsonObject
from wsmon.recording.files import open_recording
from wsmon.recording.recording import Recording
from wsmon.views.scorecard import INCIDENT_HEAD, aligned, incident_cells, markdown_table
from wsmon.views.text import clean, name, span

DAMAGE_KEPT: Final = 2_000
HEAD: Final = (INCIDENT_HEAD[0], "at (UTC)", *INCIDENT_HEAD[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a recording tells of its incidents."""

    file: str
    cluster: str
    start_at: float
    end_at: float
    damage: str
    incidents: tuple[Incident, ...]
    removals: tuple[Removal, ...]
    clients_lost: int


def run(arguments: list[str]) -> int:
    """Run the command; return its exit status.

    Raises:
        UsageError: a flag or its value is not allowed.
        ConfigError: the file is not a recording that can be read.

    """
    parser = Parser(
        prog="wsmon report", description="the failover scorecard of every incident in a recording", allow_abbrev=False
    )
    parser.add_argument("file", metavar="FILE", help="written by --record, or saved from the dashboard")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--markdown", action="store_true", help="print it as Markdown")
    options = parser.parse_args(arguments)
    report = report_of(open_recording(Path(options.file).expanduser()), file=options.file)
    if options.json:
        sys.stdout.write(f"{json.dumps(report_object(report))}\n")
    else:
        lines = markdown_lines(report) if options.markdown else text_lines(report)
        sys.stdout.write("\n".join(lines) + "\n")
    return 0


def report_of(recording: Recording, *, file: str) -> Report:
    """Read the whole recording."""
    incidents = Incidents()
    for read in recording.inputs():
        incidents.apply(read.item)
    return Report(
        file=file,
        cluster=recording.cluster,
        start_at=recording.start_at,
        end_at=recording.end_at,
        damage=recording.damage,
        incidents=incidents.all(),
        removals=incidents.removals(),
        clients_lost=incidents.clients_lost(),
    )


def report_object(report: Report) -> JsonObject:
    """Return what `wsmon report --json` prints. What is not known is null; incidents are those of `wsmon run --json`."""
    return {
        "recording": report.file,
        "cluster": report.cluster,
        "start_at": round(report.start_at, 3),
        "end_at": round(report.end_at, 3),
        "damage": report.damage,
        "clients_lost": report.clients_lost,
        "removals": [
            {"node": removal.node, "at": round(removal.at, 3), "explained": removal.explained}
            for removal in report.removals
        ],
        "incidents": scorecard_object(Scorecard(scenario="", incidents=report.incidents))["incidents"],
    }


def text_lines(report: Report) -> tuple[str, ...]:
    """Return the report as plain text."""
    lines = [_title(report)]
    if report.damage:
        lines.append(clean(report.damage, DAMAGE_KEPT))
    if report.incidents:
        lines += ["", *aligned(_rows(report)), ""]
    return (*lines, _sum(report))


def markdown_lines(report: Report) -> tuple[str, ...]:
    """Return the report as Markdown."""
    lines = [f"## {_title(report)}", ""]
    if report.damage:
        lines += [clean(report.damage, DAMAGE_KEPT), ""]
    if report.incidents:
        lines += [*markdown_table(_rows(report)), ""]
    return (*lines, _sum(report))


def _rows(report: Report) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [HEAD]
    for incident in report.incidents:
        what, *cells = incident_cells(incident)
        rows.append((what, _clock(incident.started_at), *cells))
    return rows


def _title(report: Report) -> str:
    began = datetime.fromtimestamp(report.start_at, tz=UTC)
    return f"{name(report.cluster)}: {began:%Y-%m-%d %H:%M:%S} UTC, {span(report.end_at - report.start_at)}"


def _sum(report: Report) -> str:
    incidents, removals = len(report.incidents), len(report.removals)
    if not incidents and not removals:
        return "Nothing went wrong."
    unexplained = sum(not removal.explained for removal in report.removals)
    told = f"{incidents} incident{'' if incidents == 1 else 's'}, {removals} removal{'' if removals == 1 else 's'}"
    told += f" ({unexplained} of them of a node to which nothing was done)" if unexplained else ""
    return f"{told}, {report.clients_lost} connections lost by clients."


def _clock(at: float) -> str:
    when = datetime.fromtimestamp(at, tz=UTC)
    return f"{when:%H:%M:%S}.{when.microsecond // 100_000}"
