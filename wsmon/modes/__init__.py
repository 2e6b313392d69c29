"""Commands that are ways to look at something: one module a verb, each with `run(arguments) -> exit status`."""

import argparse
import math
import os
import sys
from typing import NoReturn

from wsmon.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Raises instead of printing usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(message, hint=f"`{self.prog} --help` lists what is allowed")


def number_between(text: str, *, least: float, most: float) -> float:
    """Return the number in a flag's value.

    Raises:
        argparse.ArgumentTypeError: it is none, or out of range.

    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
    return value


def on_terminal() -> bool:
    """Say whether somebody sits at a terminal that can show a dashboard."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
