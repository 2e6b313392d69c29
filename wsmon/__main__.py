"""`python -m wsmon` and the console script."""

import codecs
import gc
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_SHOWS: Final = ("attach", "replay")
"""Commands that fill the screen; so does none at all."""
_GARBAGE_AFTER: Final = (5_000, 10, 10)
"""When Python looks for garbage: seldom. Nearly all that is dropped here is free at once, without being looked for."""
_LINES: Final = ("--plain", "--json", "--help", "-h", "--version")


def main() -> None:
    """Run the command line and exit with its status."""
    gc.set_threshold(*_GARBAGE_AFTER)
    arguments = sys.argv[1:]
    open_standard_streams()
    say_what_cannot_be_encoded(as_json="--json" in arguments)
    if sys.stdin.isatty() and sys.stdout.isatty():
        sys.stdout.write(greeting(arguments, os.environ))
        sys.stdout.flush()
    from wsmon.cli import main as cli_main  # noqa: PLC0415  # Takes longer than a person takes to wonder.

    sys.exit(cli_main(arguments))


def greeting(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return what a terminal shows until the first screen is ready; whatever comes next is written over it."""
    shows = not arguments or arguments[0].startswith("-") or arguments[0] in _SHOWS
    if not shows or environ.get("TERM", "dumb") == "dumb" or any(word in _LINES for word in arguments):
        return ""
    return "wsmon is starting…\r" if "utf" in environ.get("LANG", "").lower() else "wsmon is starting...\r"


def open_standard_streams() -> None:
    """Put the null device where a standard stream was closed; else the next file that is opened would be taken for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # In this order: the lowest number that is free is the one that is missing.
            stream = open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def say_what_cannot_be_encoded(*, as_json: bool) -> None:
    """Have stdout say in other characters what its encoding does not have."""
    codecs.register_error("wsmon-json", in_json)
    codecs.register_error("wsmon-lines", in_lines)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="wsmon-json" if as_json else "wsmon-lines")


def in_json(error: UnicodeError) -> tuple[str, int]:
    """Return what stands in JSON for characters that an encoding does not have; only texts hold such."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[place : place + 2].hex() for place in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end


def in_lines(error: UnicodeError) -> tuple[str, int]:
    """Return the same for people: a stand-in of as many cells."""
    assert isinstance(error, UnicodeEncodeError)
    from wsmon.ui.render.lines import ascii_only  # noqa: PLC0415  # Seldom wanted.

    return ascii_only(error.object[error.start : error.end]), error.end


if __name__ == "__main__":
    main()
