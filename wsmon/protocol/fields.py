"""Reads typed fields out of a decoded JSON object and says precisely what is wrong with one.

One reader serves frames, events, registry entries and descriptors, so that every peer gets the same
sentences and the same limits.
"""

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import NoReturn, TypeVar

from wsmon.errors import RemoteProtocolError
from wsmon.protocol.frames import Json, JsonObject

Word = TypeVar("Word", bound=StrEnum)

TEXT_MAX = 4_096
"""Longest text field, in characters, unless the reader says otherwise."""
INTEGER_MAX = 2**53
"""Integers stay exact in every JSON implementation below this."""
DEPTH_MAX = 32
"""Deeper documents are refused: nothing we speak needs them, and recursion has an end."""


def _refuse_constant(name: str) -> NoReturn:
    raise RemoteProtocolError(f"{name} is not JSON")


def parse_object(text: str | bytes, *, what: str = "frame") -> JsonObject:
    """Return the JSON object in `text`.

    Raises:
        RemoteProtocolError: not JSON, not an object, NaN or infinite numbers, or nested too deeply.

    """
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"{what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise RemoteProtocolError(f"{what} is not a JSON object")
    if _opens(text) > DEPTH_MAX and _deeper_than(document, DEPTH_MAX):
        raise RemoteProtocolError(f"{what} is nested deeper than {DEPTH_MAX}")
    return document


def dump_object(document: Mapping[str, Json]) -> str:
    """Return `document` as compact JSON text.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have.

    """
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def print_object(document: Mapping[str, Json]) -> str:
    """Return `document` as `dump_object` does, with null for numbers that JSON does not have: for what peers may say."""
    try:
        return dump_object(document)
    except ValueError:  # 1e999 is JSON, and infinite once it is read.
        return dump_object({name: _finite(value) for name, value in document.items()})


def _finite(value: Json) -> Json:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: _finite(inner) for name, inner in value.items()}
        case list():
            return [_finite(inner) for inner in value]
        case _:
            return value


def _opens(text: str | bytes) -> int:
    """Return how often something is opened in a text: nothing in it is deeper than that."""
    return text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")


def _deeper_than(value: Json, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value)
    return False


class Fields:
    """The fields of one object called `what` in error messages."""

    __slots__ = ("_object", "_what")

    def __init__(self, document: Mapping[str, Json], what: str) -> None:
        self._object = document
        self._what = what

    def has(self, name: str) -> bool:
        """Say whether the field is there and not null (null counts as absent)."""
        return self._object.get(name) is not None

    def text(self, name: str, *, longest: int = TEXT_MAX) -> str:
        """Return a required text field of at most `longest` characters."""
        value = self._object.get(name)
        if not isinstance(value, str):
            self._refuse(name, "text", value)
        if len(value) > longest:
            raise RemoteProtocolError(f"{self._what}.{name} is longer than {longest} characters")
        return value

    def text_or_none(self, name: str, *, longest: int = TEXT_MAX) -> str | None:
        """Return an optional text field."""
        return self.text(name, longest=longest) if self.has(name) else None

    def word(self, name: str, words: type[Word]) -> Word:
        """Return a required text field that is one of `words`."""
        value = self.text(name, longest=64)
        try:
            return words(value)
        except ValueError:
            raise RemoteProtocolError(f"{self._what}.{name} is {value!r}, not one of {', '.join(words)}") from None

    def integer(self, name: str, *, least: int = 0, most: int = INTEGER_MAX) -> int:
        """Return a required integer in [least, most]; 3.0 is taken for 3, true is not taken for 1."""
        value = self._object.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self._refuse(name, "an integer", value)
        if not least <= value <= most:
            raise RemoteProtocolError(f"{self._what}.{name} is {value}, not in {least}…{most}")
        return value

    def integer_or_none(self, name: str, *, least: int = 0, most: int = INTEGER_MAX) -> int | None:
        """Return an optional integer in [least, most]."""
        return self.integer(name, least=least, most=most) if self.has(name) else None

    def number(self, name: str, *, least: float = -math.inf, most: float = math.inf) -> float:
        """Return a required finite number in [least, most] as a float."""
        value = self._object.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(name, "a number", value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or not least <= number <= most:
            raise RemoteProtocolError(f"{self._what}.{name} is out of range")
        return number

    def number_or_none(self, name: str, *, least: float = -math.inf, most: float = math.inf) -> float | None:
        """Return an optional finite number."""
        return self.number(name, least=least, most=most) if self.has(name) else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean field, `default` if it is absent."""
        value = self._object.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._refuse(name, "true or false", value)
        return value

    def object(self, name: str) -> JsonObject:
        """Return a required object field."""
        value = self._object.get(name)
        if not isinstance(value, dict):
            self._refuse(name, "an object", value)
        return value

    def object_or_none(self, name: str) -> JsonObject | None:
        """Return an optional object field."""
        return self.object(name) if self.has(name) else None

    def objects(self, name: str, *, most: int) -> tuple[JsonObject, ...]:
        """Return a required list of at most `most` objects."""
        value = self._list(name, most)
        objects = tuple(item for item in value if isinstance(item, dict))
        if len(objects) != len(value):
            raise RemoteProtocolError(f"{self._what}.{name} holds something that is not an object")
        return objects

    def texts(self, name: str, *, most: int = 1_000) -> tuple[str, ...]:
        """Return a list of texts, empty if it is absent."""
        if not self.has(name):
            return ()
        value = self._list(name, most)
        texts = tuple(item for item in value if isinstance(item, str))
        if len(texts) != len(value):
            raise RemoteProtocolError(f"{self._what}.{name} holds something that is not text")
        return texts

    def _list(self, name: str, most: int) -> list[Json]:
        value = self._object.get(name)
        if not isinstance(value, list):
            self._refuse(name, "a list", value)
        if len(value) > most:
            raise RemoteProtocolError(f"{self._what}.{name} holds more than {most} items")
        return value

    def _refuse(self, name: str, wanted: str, value: Json) -> NoReturn:
        if value is None:
            raise RemoteProtocolError(f"{self._what}.{name} is missing")
        raise RemoteProtocolError(f"{self._what}.{name} is not {wanted}")
