"""What a person takes away: files that only the user can read, and that never overwrite another."""

import base64
import dataclasses
import json
import os
import time
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, Final

from wsmon.agent.runtime_dir import ensure_private, runtime_root
from wsmon.errors import WsmonError

TRIES: Final = 100
HALVES: Final = "backslashreplace"
"""What becomes of half a surrogate pair, which a peer may send in JSON and no file can hold: JSON again."""
OSC52_MOST: Final = 74_994
"""Bytes of text that every terminal with a clipboard takes. Source: the limit of xterm and tmux for one sequence."""


def write(directory: Path, stem: str, suffix: str, text: str) -> Path:
    """Write a new file and return its path; a name that is taken gets a number.

    Raises:
        WsmonError: it cannot be written.

    """
    try:
        for number in range(1, TRIES + 1):
            path = directory / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            try:
                with os.fdopen(fd, "w", encoding="utf-8", errors=HALVES) as file:
                    file.write(text)
            except OSError:
                path.unlink(missing_ok=True)  # Half of it is of no use, and holds the name.
                raise
            return path
    except OSError as error:
        raise WsmonError(f"{directory} cannot be written to: {error.strerror}") from error
    raise WsmonError(f"{directory} holds {TRIES} files of that name already")


def stamp(at: float) -> str:
    """Return a moment for a file's name, in UTC: `20260915T133320Z`."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))


def as_json(row: Any) -> Any:
    """Return a row's fields as JSON values. What is unknown is null."""
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: as_json(getattr(row, field.name)) for field in dataclasses.fields(row)}
    if isinstance(row, Enum):
        return row.value
    if isinstance(row, list | tuple):
        return [as_json(one) for one in row]
    if isinstance(row, dict):
        return {str(key): as_json(value) for key, value in row.items()}
    if (isinstance(row, float) and row != row) or row in (float("inf"), float("-inf")):  # noqa: PLR0124  # NaN.
        return None
    return row if row is None or isinstance(row, str | int | float | bool) else str(row)


def json_lines(rows: Iterable[Any]) -> str:
    """Return one JSON object a line."""
    return "".join(json.dumps(as_json(row), ensure_ascii=False) + "\n" for row in rows)


def osc52(text: str) -> str | None:
    """Return the sequence that puts a text into the terminal's clipboard; None if it is too long for that.

    Source: xterm's control sequences, OSC 52.
    """
    raw = text.encode(errors=HALVES)
    return None if len(raw) > OSC52_MOST else f"\x1b]52;c;{base64.b64encode(raw).decode()}\x07"


def keep_copy(text: str) -> Path:
    """Write a text to the one file that stands in for a clipboard, and return its path.

    Raises:
        WsmonError: it cannot be written.

    """
    directory = runtime_root() / ".clipboard"  # No cluster can be called so.
    path = directory / "text"
    ensure_private(directory)
    try:
        fresh = path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors=HALVES) as file:
            file.write(text + "\n")
        fresh.replace(path)
    except OSError as error:
        raise WsmonError(f"{path} cannot be written: {error.strerror}") from error
    return path
