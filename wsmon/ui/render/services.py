"""The strip of processes that are not nodes: one line."""

from collections.abc import Sequence
from typing import Final

from wsmon.ui.render.lines import BAD, FAINT, GOOD, MUTED, TEXT, Ink, Line, Run, Tone, clip, fitted, length_of
from wsmon.views.frame import ServiceRow

_GAP: Final = Run("   ", TEXT)


def strip(services: Sequence[ServiceRow], width: int) -> Line:
    """Return all services in one line, with as much detail as fits; what is wrong always says so."""
    if not services:
        return fitted((Run("  No service is known yet.", FAINT),), width)
    line: Line = ()
    for detail in (2, 1, 0):
        runs: list[Run] = [Run("  ", TEXT)]
        for service in services:
            runs += [*_service(service, detail), _GAP]
        line = tuple(runs[:-1])
        if length_of(line) <= width:
            return fitted(line, width)
    return fitted(_shortened(services, width), width)


def _shortened(services: Sequence[ServiceRow], width: int) -> Line:
    """Return as many services as fit, and how many good ones do not; those that are wrong come before them."""
    shown = [service for service in services if not service.good]
    good = [service for service in services if service.good]
    line: Line = ()
    for taken in range(len(good), -1, -1):
        kept = [service for service in services if service in shown or service in good[:taken]]
        more = len(good) - taken
        runs: list[Run] = [Run("  ", TEXT)]
        for service in kept:
            runs += [*_service(service, 0), _GAP]
        if more:
            runs += [Run("● ", GOOD), Run(f"{more} more", MUTED), _GAP]
        line = tuple(runs[:-1])
        if length_of(line) <= width:
            break
    return line


def _service(service: ServiceRow, detail: int) -> Line:
    """Return one service. `detail` 2 tells everything, 1 the state, 0 only the name of a good one."""
    name, state, more = clip(service.id, 16), clip(service.state, 16), clip(service.detail, 40)
    if not service.good:
        text = f"{name} {state}" + (f" {more}" if more and detail else "")
        return (Run("○ ", BAD), Run(text, Ink(Tone.BAD, bold=True)))
    runs = [Run("● ", GOOD), Run(name, TEXT)]
    if detail:
        runs.append(Run(f" {state}", MUTED))
    if detail == 2 and more:
        runs.append(Run(f" {more}", FAINT))
    return tuple(runs)
