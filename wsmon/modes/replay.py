"""`wsmon replay FILE`: a recording in the dashboard, or its events as lines."""

import math
import re
import sys
from argparse import Namespace
from datetime import datetime, timedelta, tzinfo
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Final

from wsmon import config
from wsmon.errors import UsageError
from wsmon.model.inputs import Happened, Marked
from wsmon.modes import Parser, number_between, on_terminal
from wsmon.protocol.codec import event_object
from wsmon.protocol.fields import print_object
from wsmon.protocol.frames import JsonObject
from wsmon.recording.files import open_recording
from wsmon.recording.recording import Recording
from wsmon.replaying import FASTEST, SLOWEST, PlayerThread
from wsmon.views.events import event_row
from wsmon.views.plain import plain_event_line
from wsmon.views.text import clean

_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?")
_AFTER: Final = re.compile(r"\+(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, None: 1}
_TIMES: Final = "12:34, 12:34:56, 2026-05-01T12:34:56, +90 (seconds from its beginning), +5m, or Unix seconds"


def run(arguments: list[str]) -> int:
    """Run the command; return its exit status.

    Raises:
        UsageError: a flag or its value is not allowed.
        ConfigError: the file is not a recording that can be read.

    """
    options = _parser().parse_args(arguments)
    recording = open_recording(Path(options.file).expanduser())
    at = None if options.at is None else moment(options.at, recording.start_at, recording.end_at)
    if options.plain or options.json or not on_terminal():
        return _print_events(recording, as_json=options.json, since=at)
    return _show(recording, options, at)


def _parser() -> Parser:
    parser = Parser(prog="wsmon replay", description="show a recording", allow_abbrev=False)
    add = parser.add_argument
    add("file", metavar="FILE", help="written by --record, or saved from the dashboard")
    add("--at", metavar="TIME", help=f"begin there: {_TIMES}".replace("%", "%%"))
    pace = partial(number_between, least=SLOWEST, most=FASTEST)
    add("--speed", type=pace, default=1.0, metavar="N", help=f"so many times as fast, {SLOWEST:g} to {FASTEST:g} (1)")
    add("--theme", default=None, help="a shipped theme's name or a file (dark)")
    add("--plain", action="store_true", help="print what happened as lines")
    add("--json", action="store_true", help="print what happened as JSON lines")
    seconds = partial(number_between, least=0.001, most=1e9)
    add("--for", dest="for_s", type=seconds, metavar="SECONDS", help="end after so many seconds")
    return parser


def moment(text: str, start_at: float, end_at: float, *, zone: tzinfo | None = None) -> float:
    """Return the moment that somebody means. `zone` None: local time. A clock time is the first one in the recording.

    Raises:
        UsageError: it is none, or not in the recording.

    """
    began = datetime.fromtimestamp(start_at, tz=zone).astimezone(zone)
    after, clock = _AFTER.fullmatch(text), _CLOCK.fullmatch(text)
    if after is not None:
        at = start_at + float(after[1]) * _UNITS[after[2]]
    elif clock is not None:
        hours, minutes, seconds = int(clock[1]), int(clock[2]), float(clock[3] or 0)
        midnight = began.replace(hour=0, minute=0, second=0, microsecond=0)
        at = (midnight + timedelta(hours=hours, minutes=minutes, seconds=seconds)).timestamp()
        whole = 0.0 if clock[3] else 59.999  # A minute that the recording begins in is in it.
        if at + whole < start_at:
            at += 86_400
    else:
        at = _date_or_number(text, zone)
    if not start_at - 60 < at <= end_at:
        first, last = (
            datetime.fromtimestamp(edge, tz=zone).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
            for edge in (start_at, end_at)
        )
        raise UsageError(f"{text} is not in the recording", hint=f"it goes from {first} to {last}")
    return max(at, start_at)


def _date_or_number(text: str, zone: tzinfo | None) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a time", hint=f"such as {_TIMES}") from None
    try:
        return (told if told.tzinfo is not None else told.replace(tzinfo=zone).astimezone(zone)).timestamp()
    except (ValueError, OverflowError):  # At the edges of the calendar there is no time in other zones.
        return -math.inf


def _show(recording: Recording, options: Namespace, at: float | None) -> int:
    from wsmon.ui import run_ui  # noqa: PLC0415  # Lines need nothing of it.

    settings = config.load(config.Flags(theme=options.theme))
    player = PlayerThread(recording, at=at, speed=options.speed)
    try:
        return run_ui(player, settings, armed=False, embedded=False, for_s=options.for_s)
    finally:
        player.close()


def _print_events(recording: Recording, *, as_json: bool, since: float | None) -> int:
    """Print everything that happened, each once, in the order of time."""
    found: dict[tuple[str, int, int], Happened] = {}
    markers: list[Marked] = []
    for read in recording.inputs():
        match read.item:
            case Happened(event=event) as told:
                found.setdefault((event.source, event.boot, event.seq), told)
            case Marked() as mark:
                markers.append(mark)
            case _:
                pass
    lines = [(told.event.at, _event_line(told, as_json=as_json)) for told in found.values()]
    lines += [(mark.at, _marker_line(mark, as_json=as_json)) for mark in markers]
    for at, line in sorted(lines, key=itemgetter(0)):  # What one source tells of one moment keeps its order.
        if since is None or at >= since:
            sys.stdout.write(f"{line}\n")
    if recording.damage:  # Known once everything was read.
        if as_json:
            last: JsonObject = {"at": recording.end_at, "kind": "damage", "text": recording.damage}
            sys.stdout.write(f"{print_object(last)}\n")
        else:
            sys.stdout.flush()
            sys.stderr.write(f"wsmon: {clean(recording.damage, 2_000)}\n")
    sys.stdout.flush()
    return 0


def _event_line(told: Happened, *, as_json: bool) -> str:
    return print_object(event_object(told.event)) if as_json else plain_event_line(event_row(told.event))


def _marker_line(mark: Marked, *, as_json: bool) -> str:
    if as_json:
        return print_object({"at": mark.at, "kind": "marker", "text": mark.text})
    when = datetime.fromtimestamp(mark.at).astimezone()
    return f"{when:%H:%M:%S}.{when.microsecond // 1_000:03} {'marker':<10} {clean(mark.text)}"
