"""`python -m wsmon` and the console script."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_SHOWS: Final = ("attach", "replay")
"""Commands that fill the screen; so does none at all."""
_LINES: Final = ("--plain", "--json", "--help", "-h", "--version")


def main() -> None:
    """Run the command line and exit with its status."""
    arguments = sys.argv[1:]
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


if __name__ == "__main__":
    main()
