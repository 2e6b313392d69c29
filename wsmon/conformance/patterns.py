"""Says whether a JSON value is as a pattern wants it, and where it is not.

A pattern is JSON. An object wants its own fields and allows more beside them, a list wants its items one by one,
everything else wants itself. Keys of an object that begin with `$` are no fields but tests of the value.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from wsmon.protocol.frames import Json, JsonObject, ReadOnlyJson

Bound: TypeAlias = dict[str, Json]
"""What `$as` has given a name to."""

TYPES: Final = ("any", "text", "integer", "number", "flag", "object", "list")
TESTS: Final = frozenset(
    {
        "$is",
        "$as",
        "$least",
        "$most",
        "$among",
        "$each",
        "$above",
        "$not_below",
        "$same",
        "$apart",
        "$any_of",
        "$optional",
        "$absent",
    }
)
NAMES: Final = ("$above", "$not_below", "$same", "$apart")
"""Tests that look at a value which was bound before."""
SHOWN_LONGEST: Final = 160


@dataclass(frozen=True, slots=True)
class Miss:
    """Where a value is not as it was wanted."""

    path: str
    """Names and indices down to it, joined by points; empty for the whole."""
    wanted: str
    got: str

    def __str__(self) -> str:
        return f"{self.path or 'it'} is {self.got}, not {self.wanted}"


def is_test(pattern: Json) -> bool:
    """Say whether the pattern is a test rather than a value."""
    return isinstance(pattern, dict) and any(name.startswith("$") for name in pattern)


def check_pattern(pattern: Json) -> None:
    """Do nothing if the pattern can be used.

    Raises:
        ValueError: it holds a test or a type that does not exist.

    """
    match pattern:
        case dict() if is_test(pattern):
            unknown = {name for name in pattern if name.startswith("$")} - TESTS
            if unknown:
                raise ValueError(f"there is no test {', '.join(sorted(unknown))}")
            if pattern.get("$is", "any") not in TYPES:
                raise ValueError(f"there is no type {pattern['$is']!r}")
            choices = pattern.get("$any_of", [])
            fields = [inner for name, inner in pattern.items() if not name.startswith("$")]
            for inner in (pattern.get("$each"), *(choices if isinstance(choices, list) else [choices]), *fields):
                check_pattern(inner)
        case dict():
            for inner in pattern.values():
                check_pattern(inner)
        case list():
            for inner in pattern:
                check_pattern(inner)
        case _:
            pass


def compare(pattern: Json, value: Json, bound: Bound, path: str = "") -> Miss | None:
    """Return the first difference, or None. Names are added to `bound` only if there is none."""
    found = dict(bound)
    miss = _compare(pattern, value, found, path)
    if miss is None:
        bound.update(found)
    return miss


def resolve(pattern: Json, bound: ReadOnlyJson) -> Json:
    """Return the pattern with every `$same` replaced by the value that it stands for, if there is one."""
    match pattern:
        case {"$same": str(name)} if name in bound:
            return bound[name]
        case dict():
            return {name: resolve(inner, bound) for name, inner in pattern.items()}
        case list():
            return [resolve(inner, bound) for inner in pattern]
        case _:
            return pattern


def shown(value: Json) -> str:
    """Return the value as JSON, cut if it is long."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= SHOWN_LONGEST else text[: SHOWN_LONGEST - 1] + "…"


def _compare(pattern: Json, value: Json, bound: Bound, path: str) -> Miss | None:
    match pattern:
        case dict() if is_test(pattern):
            return _test(pattern, value, bound, path)
        case dict():
            if not isinstance(value, dict):
                return Miss(path, "an object", shown(value))
            return _fields(pattern, value, bound, path)
        case list():
            if not isinstance(value, list) or len(value) != len(pattern):
                return Miss(path, f"a list of {len(pattern)}", shown(value))
            return _first(
                _compare(p, v, bound, _below(path, i)) for i, (p, v) in enumerate(zip(pattern, value, strict=True))
            )
        case _:
            return None if equal(pattern, value) else Miss(path, shown(pattern), shown(value))


def _fields(pattern: JsonObject, value: JsonObject, bound: Bound, path: str) -> Miss | None:
    for name, inner in pattern.items():
        here = _below(path, name)
        options = inner if isinstance(inner, dict) and is_test(inner) else {}
        if name not in value:
            if "$optional" in options or "$absent" in options:
                continue
            return Miss(here, shown(inner), "missing")
        if "$absent" in options:
            return Miss(here, "absent", shown(value[name]))
        miss = _compare(inner, value[name], bound, here)
        if miss is not None:
            return miss
    return None


def _test(test: JsonObject, value: Json, bound: Bound, path: str) -> Miss | None:
    kind = str(test.get("$is", "any"))
    if not _is(kind, value):
        return Miss(
            path,
            {"text": "text", "any": "anything"}.get(kind, f"{'an' if kind[0] in 'io' else 'a'} {kind}"),
            shown(value),
        )
    fields = {name: inner for name, inner in test.items() if not name.startswith("$")}
    miss = _compare(fields, value, bound, path) if fields else None
    if miss is not None:
        return miss
    size, least, most = _size(value), test.get("$least"), test.get("$most")
    if isinstance(least, int | float) and size < least:
        return Miss(path, f"at least {least:g}", shown(value))
    if isinstance(most, int | float) and size > most:
        return Miss(path, f"at most {most:g}", shown(value))
    among = test.get("$among")
    if isinstance(among, list) and not any(equal(one, value) for one in among):
        return Miss(path, f"one of {shown(among)}", shown(value))
    for name in NAMES:
        if name in test:
            other = bound.get(str(test[name]))
            if not _stands(name, value, other):
                return Miss(path, f"{_RELATIONS[name]} {shown(other)}", shown(value))
    choices = test.get("$any_of")
    if isinstance(choices, list):
        misses = [compare(choice, value, bound, path) for choice in choices]
        if None not in misses:
            return _first(misses)
    if "$each" in test:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        miss = _first(_compare(test["$each"], item, bound, _below(path, name)) for name, item in inner)
        if miss is not None:
            return miss
    if "$as" in test:
        bound[str(test["$as"])] = value
    return None


_RELATIONS: Final = {"$above": "above", "$not_below": "at least", "$same": "", "$apart": "without anything of"}


def _stands(name: str, value: Json, other: Json) -> bool:
    if name == "$same":
        return equal(other, value)
    if name == "$apart":
        return (
            isinstance(value, list) and isinstance(other, list) and not any(equal(a, b) for a in other for b in value)
        )
    if not isinstance(value, int | float) or not isinstance(other, int | float):
        return False
    return value > other if name == "$above" else value >= other


def equal(one: Json, other: Json) -> bool:
    """Say whether two values are the same JSON: 1 and 1.0 are, 1 and true are not."""
    match one, other:
        case bool(), bool():
            return one == other
        case (bool(), _) | (_, bool()):
            return False
        case dict(), dict():
            return one.keys() == other.keys() and all(equal(value, other[name]) for name, value in one.items())
        case list(), list():
            return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
        case _:
            return one == other


def _is(kind: str, value: Json) -> bool:
    match kind:
        case "any":
            return True
        case "text":
            return isinstance(value, str)
        case "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole or (isinstance(value, float) and value.is_integer())
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "flag":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case _:
            return isinstance(value, list)


def _size(value: Json) -> float:
    match value:
        case int() | float():
            return value
        case str() | list() | dict():
            return len(value)
        case _:
            return 0


def _below(path: str, name: str | int) -> str:
    return f"{path}.{name}" if path else str(name)


def _first(misses: Iterable[Miss | None]) -> Miss | None:
    return next((miss for miss in misses if miss is not None), None)


def nulls(value: Json, path: str = "") -> str | None:
    """Return the path of the first null inside, or None."""
    match value:
        case None:
            return path
        case Mapping():
            return next((p for n, v in value.items() if (p := nulls(v, _below(path, n))) is not None), None)
        case list():
            return next((p for i, v in enumerate(value) if (p := nulls(v, _below(path, i))) is not None), None)
        case _:
            return None
