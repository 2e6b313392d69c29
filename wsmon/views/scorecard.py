"""The scorecard of a run, and tables of incidents, as lines of text and of Markdown."""

from collections.abc import Sequence
from typing import Final

from wsmon.model.incidents import Incident
from wsmon.model.scorecard import TIMES, Bound, Judged, Scorecard
from wsmon.views.text import clean, name


def text_lines(card: Scorecard) -> tuple[str, ...]:
    """Return the card as a table of plain text."""
    lines = [
        f"{card.scenario}: {'passed' if card.passed else 'FAILED'}{f' – {clean(card.title)}' if card.title else ''}"
    ]
    if card.incidents:
        lines += ["", *aligned([INCIDENT_HEAD, *(incident_cells(incident) for incident in card.incidents)])]
    lines += ["", *aligned([_OBJECTIVE_HEAD, *(_objective_cells(judged) for judged in card.objectives)])]
    return tuple(lines)


def markdown_lines(card: Scorecard) -> tuple[str, ...]:
    """Return the card as Markdown."""
    lines = [f"## {card.scenario}: {'passed' if card.passed else 'failed'}", ""]
    if card.title:
        lines += [clean(card.title), ""]
    if card.incidents:
        lines += markdown_table([INCIDENT_HEAD, *(incident_cells(incident) for incident in card.incidents)])
        lines.append("")
    lines += markdown_table([_OBJECTIVE_HEAD, *(_objective_cells(judged) for judged in card.objectives)])
    return tuple(lines)


INCIDENT_HEAD: Final = (
    *("incident", "first miss", "suspect", "removed", "cut", "50 % back", "95 %", "all", "clients", "lost", "twice"),
)
_OBJECTIVE_HEAD: Final = ("objective", "wanted", "got", "")


def incident_cells(incident: Incident) -> tuple[str, ...]:
    """Return the incident's row below `INCIDENT_HEAD`."""
    target = name(incident.target)
    more = f" ({len(incident.parts)} links)" if len(incident.parts) > 1 else ""
    moved = f" ({incident.moved} moved)" if incident.moved else ""
    return (
        f"{name(incident.fault)} {target}{more}",
        *(_seconds(getattr(incident, part)) for part in TIMES),
        f"{incident.clients}{moved}",
        *("–" if number is None else str(number) for number in (incident.lost, incident.duplicated)),
    )


def _objective_cells(judged: Judged) -> tuple[str, ...]:
    bound = "" if judged.bound is Bound.EXACTLY else f"{judged.bound} "
    return (judged.name, f"{bound}{_value(judged.wanted)}", _value(judged.got), "pass" if judged.passed else "FAIL")


def _value(value: float | None) -> str:  # A truth value is a number, too.
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case _:
            return f"{value:g}"


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1_000:.2f} s"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the rows in columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the rows as a table of Markdown; the first one is its head."""
    escaped = [tuple(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row) for row in rows]
    head, *body = escaped
    return [_markdown_row(head), "|".join(("", "---", *("---:" for _ in head[1:]), "")), *map(_markdown_row, body)]


def _markdown_row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
