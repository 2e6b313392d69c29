"""`wsmon theme list`, and `wsmon theme check FILE|NAME`: can it be read, and can the states be told apart?"""

import json
import sys
from collections.abc import Iterable

from wsmon.errors import ConfigError
from wsmon.modes import Parser
from wsmon.protocol.frames import JsonObject
from wsmon.ui import contrast, theme
from wsmon.views.text import clean


def run(arguments: list[str]) -> int:
    """Run the command; return its exit status: 1 if something cannot be read or told apart.

    Raises:
        UsageError: a flag or its value is not allowed.
        ConfigError: the theme cannot be used.

    """
    parser = Parser(prog="wsmon theme", description="themes, and how well one can be read", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|check")
    check = verbs.add_parser("check", help="print the contrasts of a theme", allow_abbrev=False)
    check.add_argument("theme", metavar="FILE|NAME", help="a theme's name, or the path of a TOML file")
    check.add_argument("--json", action="store_true", help="print them as JSON")
    verbs.add_parser("list", help="print the names of all themes", allow_abbrev=False)
    options = parser.parse_args(arguments)
    if options.verb == "list":
        sys.stdout.writelines(f"{line}\n" for line in list_lines())
        return 0
    found = theme.load(options.theme)
    readings = contrast.readings(found.colors)
    differences = contrast.differences(found.colors, dichromats=found.dichromats)
    if options.json:
        sys.stdout.write(f"{json.dumps(report_object(found, readings, differences))}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in report_lines(found, readings, differences))
    return 0 if _fine(readings, differences) else 1


def list_lines() -> list[str]:
    """Return a line for every theme: its name, whether it is for light or dark rooms, and where it comes from."""
    names = theme.names()
    width = max(map(len, names), default=0)
    lines = []
    for name in names:
        try:
            found = theme.load(name)
        except ConfigError as error:
            lines.append(f"{clean(name):<{width}}  cannot be used: {clean(error.message)}")
            continue
        kind = "terminal" if found.ansi else "dark" if found.dark else "light"
        origin = "shipped" if found.files[0].parent == theme.directory() else clean(str(found.files[0]))
        lines.append(f"{clean(name):<{width}}  {kind:<8}  {origin}")
    return lines


def report_lines(
    found: theme.Theme, readings: Iterable[contrast.Reading], differences: Iterable[contrast.Difference]
) -> list[str]:
    """Return the report for people."""
    readings, differences = tuple(readings), tuple(differences)
    lines = [f"{clean(found.name)}: {clean(str(found.files[0]))}"]
    if not readings and not differences:
        return [*lines, "All colours are left to the terminal; there is nothing to judge."]
    rows: dict[str, dict[str, contrast.Reading]] = {}
    for reading in readings:
        rows.setdefault(reading.tone, {})[reading.ground] = reading
    lines += ["", "contrast    " + "".join(f"{ground:>12}" for ground in contrast.GROUNDS) + "      needed"]
    for tone, by_ground in rows.items():
        cells = "".join(f"{_ratio(by_ground.get(ground)):>12}" for ground in contrast.GROUNDS)
        lines.append(f"{tone:<12}{cells}{contrast.LEAST_CONTRAST[tone]:>12.1f}")
    pairs = list(dict.fromkeys((pair.one, pair.other) for pair in differences))
    if pairs:
        head = "".join(f"{f'{one}-{other}':>14}" for one, other in pairs)
        lines += ["", f"{'difference':<20}{head}      needed"]
    for sight in contrast.Sight:
        seen = [pair for pair in differences if pair.sight is sight]
        cells = "".join(f"{f'{pair.distance:.0f}{_mark(fine=pair.fine)}':>14}" for pair in seen)
        needed = f"{contrast.LEAST_DIFFERENCE:.0f}" if any(pair.wanted for pair in seen) else "–"
        if seen:
            lines.append(f"{sight:<20}{cells}{needed:>12}")
    lines.append("")
    wrong = [reading for reading in readings if not reading.fine]
    close = [pair for pair in differences if not pair.fine]
    lines += [f"{r.tone} on {r.ground}: {r.ratio:.2f}, needs {r.least:.1f}" for r in wrong]
    lines += [f"{p.one} and {p.other} are too alike with {p.sight}: {p.distance:.0f}" for p in close]
    if not wrong and not close:
        lines.append("Everything can be read, and good, warning and bad can be told apart.")
    return lines


def report_object(
    found: theme.Theme, readings: Iterable[contrast.Reading], differences: Iterable[contrast.Difference]
) -> JsonObject:
    """Return the report for machines."""
    readings, differences = tuple(readings), tuple(differences)
    return {
        "theme": found.name,
        "file": str(found.files[0]),
        "passed": _fine(readings, differences),
        "contrasts": [
            {"tone": r.tone, "ground": r.ground, "ratio": round(r.ratio, 2), "needed": r.least, "passed": r.fine}
            for r in readings
        ],
        "differences": [
            {
                "pair": [p.one, p.other],
                "sight": p.sight.value,
                "distance": round(p.distance, 1),
                "needed": contrast.LEAST_DIFFERENCE if p.wanted else None,
                "passed": p.fine,
            }
            for p in differences
        ],
    }


def _fine(readings: Iterable[contrast.Reading], differences: Iterable[contrast.Difference]) -> bool:
    return all(reading.fine for reading in readings) and all(pair.fine for pair in differences)


def _ratio(reading: contrast.Reading | None) -> str:
    return "–" if reading is None else f"{reading.ratio:.2f}{_mark(fine=reading.fine)}"


def _mark(*, fine: bool) -> str:
    return " " if fine else "!"
