"""Inputs as rows of JSON, each told as what changed against the one before of the same kind and name.

Theory of operation. An input is laid out as a tree of JSON values by the types of its fields. Inputs of one type and
name (for events: of one source and kind) form a stream, and only the difference to the stream's last tree is written:
a merge patch in the manner of RFC 7396, in which numbers are told as differences, too. Counters that rise and clocks
that go on are then a few digits that repeat, which is what a compressor wants. Writer and reader keep the same trees;
both forget them together, where a new chain begins.

A row is `[stream, when, (lag,) (patch)]`. `stream` is a number; the first row of a stream has `[type, name]` in its
place and the next free number is taken for it. `when` is the moment at which the watcher heard of it: an integer is the
difference to the row before in ticks, a float the moment itself. `lag` does the same for the peer's own clock, against
`when`. Nothing is rounded: what is read is equal to what was written.
"""

import math
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast

from wsmon.model.inputs import Happened, Input
from wsmon.protocol.frames import EventFrame, Json, JsonObject, ReadOnlyJson

TICKS_PER_S: Final = 2**22
"""Unix seconds in a double have this resolution in our days: a number of ticks is exact."""
TIME_TICKS_MOST: Final = 2**33
STREAMS_MAX: Final = 65_536
"""Streams of one chain; more of them are damage, and a writer begins a new chain before."""
DEPTH_MAX: Final = 48
"""Deeper trees are refused by the reader; states and events come from a decoder that stops at 32."""
_WHOLE_MOST: Final = 2**62
_DECIMAL_MOST: Final = 1e11
_FLOAT_MOST: Final = int(sys.float_info.max)
_SCALE: Final = 1_000
_NOWHERE: Final = object()

Row: TypeAlias = list[Json]


class UnreadableError(ValueError):
    """A row is none that this version writes."""


# Layout: between inputs and trees.


def tree_of(value: object) -> Json:
    """Return a field's value as JSON. Objects of peers are handed through as they are."""
    match value:
        case StrEnum():
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return [tree_of(item) for item in value]
        case dict():
            return cast("JsonObject", value)
        case Mapping():
            return dict(value)
        case _:
            assert is_dataclass(value), type(value)
            pairs = ((item.name, getattr(value, item.name)) for item in fields(value))
            return {name: tree_of(part) for name, part in pairs if part is not None}


Reader: TypeAlias = Callable[[Json], Any]


def _refuse(what: str) -> typing.NoReturn:
    raise UnreadableError(f"not {what}")


def _plain_reader(kinds: tuple[type, ...]) -> Reader:
    def read(value: Json) -> Any:
        # True is an int to Python, and to nobody else.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            _refuse(kinds[0].__name__)
        return value

    return read


def _float_reader(value: Json) -> Any:
    if isinstance(value, bool) or not isinstance(value, float | int) or value != value:  # noqa: PLR0124  # NaN.
        _refuse("a number")
    if isinstance(value, int) and not -_FLOAT_MOST <= value <= _FLOAT_MOST:
        _refuse("a number that can be reckoned with")
    return value


def _word_reader(words: type[StrEnum]) -> Reader:
    def read(value: Json) -> Any:
        try:
            return words(str(value))
        except ValueError:
            _refuse(words.__name__)

    return read


def _choice_reader(choices: tuple[object, ...]) -> Reader:
    return lambda value: value if value in choices else _refuse(f"one of {choices}")


def _tuple_reader(item: Reader) -> Reader:
    return lambda value: tuple(map(item, value)) if isinstance(value, list) else _refuse("a list")


def _record_reader(cls: type[Any]) -> Reader:
    parts = {}
    for item in fields(cls):
        optional = isinstance(item.type, types.UnionType) and types.NoneType in typing.get_args(item.type)
        # A field that came later has a default; older recordings do not hold it.
        added = item.default is not MISSING
        parts[item.name] = (reader_of(item.type), item.default if added else None, optional or added)

    def read(value: Json) -> Any:
        if not isinstance(value, dict):
            _refuse(cls.__name__)
        values = {}
        for name, (part, default, optional) in parts.items():
            if name in value:
                values[name] = part(value[name])
            elif optional:
                values[name] = default
            else:
                raise UnreadableError(f"{cls.__name__} without {name}")
        return cls(**values)

    return read


def reader_of(hint: Any) -> Reader:
    """Return what reads values of this type out of JSON and refuses all others."""
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    origin = typing.get_origin(hint)
    if hint is float:
        return _float_reader
    if hint in (str, int, bool):
        return _plain_reader((hint,))
    if hint == ReadOnlyJson or origin is dict:
        return _plain_reader((dict,))
    if origin is typing.Literal:
        return _choice_reader(typing.get_args(hint))
    if origin is tuple:
        return _tuple_reader(reader_of(typing.get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _word_reader(hint)
    assert is_dataclass(hint), f"no reader for {hint}"
    return _record_reader(cast("type[Any]", hint))


TYPES: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in typing.get_args(Input)}
_READERS: Final[dict[str, Reader]] = {name: _record_reader(kind) for name, kind in TYPES.items()}
_LAGGING: Final = frozenset(
    name
    for name, kind in TYPES.items()
    if kind is Happened or {"at", "heard_at"} <= {item.name for item in fields(kind)}
)
"""Types that hold a moment of the peer's clock beside the one at which it was heard."""


def heard(item: Input) -> float:
    """Return when the watcher learned of it."""
    at = getattr(item, "heard_at", None)
    return cast("float", getattr(item, "at") if at is None else at)  # noqa: B009  # Not every type has both.


def stream_of(item: Input) -> tuple[str, str]:
    """Return the stream that an input belongs to."""
    if isinstance(item, Happened):
        return "Happened", f"{item.event.kind} {item.event.source}"
    return type(item).__name__, str(getattr(item, "id", ""))


# Patches.


def patch_of(old: ReadOnlyJson, new: ReadOnlyJson, *, ordered: bool = True) -> JsonObject | None:
    """Return what turns `old` into `new`; None if `ordered` and their names do not come into the same order that way.

    Null takes a name away; a whole number is a difference to the number before, in thousandths if that was a fraction;
    a list holds one value to put there as it is.
    """
    patch: JsonObject = {}
    names = list(new)
    if old and names != list(old):
        patch = {name: None for name in old if name not in new}
        # A patch leaves the old names where they are and adds the new ones at the end.
        if ordered and names != [name for name in old if name in new] + [name for name in new if name not in old]:
            return None
    for name, value in new.items():
        before = old.get(name, _NOWHERE)
        if value is not before:
            told = _told(before, value)
            if told is not _NOWHERE:
                patch[name] = cast("Json", told)
    return patch


def _told(before: object, value: Json) -> object:
    """Return how to tell a value; `_NOWHERE` if it is the one before."""
    kind = type(value)
    if kind is dict:
        inner = patch_of(cast("JsonObject", before) if type(before) is dict else {}, cast("JsonObject", value))
        if inner is None:
            return [value]
        return _NOWHERE if not inner and type(before) is dict else inner
    if kind is type(before) and value == before and _same(before, value):
        return _NOWHERE
    if kind is int:
        number = cast("int", value)
        if type(before) is int:
            close = -_WHOLE_MOST < number < _WHOLE_MOST and -_WHOLE_MOST < before < _WHOLE_MOST
            return number - before if close else [value]
        return [value] if type(before) is float else value
    if kind is float:
        here, there = _thousandths(value), _thousandths(before)
        return value if here is None or there is None else here - there
    return [value] if kind is list or value is None else value


def _same(one: object, other: object) -> bool:
    """Say whether two values are equal and their numbers of the same type."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    return one == other and (one != 0 or str(one) == str(other))  # Zero has two signs.


def _thousandths(value: object) -> int | None:
    """Return a fraction as a whole number of thousandths; None if it is not exactly one."""
    if type(value) is not float or not -_DECIMAL_MOST < value < _DECIMAL_MOST:
        return None
    whole = round(value * _SCALE)
    return whole if whole / _SCALE == value and (whole or not str(value).startswith("-")) else None


def patched(old: ReadOnlyJson, patch: ReadOnlyJson, depth: int = DEPTH_MAX) -> JsonObject:
    """Return `old` with the patch applied; neither is changed, untouched parts are shared.

    Raises:
        UnreadableError: the patch does not fit.

    """
    if depth == 0:
        raise UnreadableError("nested too deeply")
    merged = dict(old)
    for name, told in patch.items():
        kind = type(told)
        if kind is int:
            before = merged.get(name)
            if type(before) is int:
                merged[name] = before + cast("int", told)
            elif type(before) is float:
                there = _thousandths(before)
                if there is None:
                    raise UnreadableError("a difference to a number that has none")
                try:
                    merged[name] = (there + cast("int", told)) / _SCALE
                except OverflowError:
                    raise UnreadableError("a difference beyond reason") from None
            else:
                merged[name] = told
        elif kind is dict:
            before = merged.get(name)
            inner = cast("JsonObject", told)
            merged[name] = patched(before if type(before) is dict else {}, inner, depth - 1)
        elif kind is list:
            values = cast("list[Json]", told)
            if len(values) != 1:
                raise UnreadableError("a list of other than one value")
            merged[name] = values[0]
        elif told is None:
            merged.pop(name, None)
        else:
            merged[name] = told
    return merged


# Chains.


@dataclass(slots=True)
class _Stream:
    number: int
    tree: JsonObject


class RowWriter:
    """Writes one chain of rows."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._ticks = 0

    @property
    def full(self) -> bool:
        """Whether a new chain has to begin before the next row."""
        return len(self._streams) >= STREAMS_MAX

    def row(self, item: Input) -> Row:
        """Return the next row."""
        key = stream_of(item)
        tree = cast("JsonObject", tree_of(item))
        at = heard(item)
        lag: float | None = None
        if isinstance(item, Happened):
            lag = item.event.at
            event = cast("JsonObject", tree["event"])
            del tree["heard_at"], event["at"]
        elif key[0] in _LAGGING:
            lag = cast("float", tree.pop("at"))
            del tree["heard_at"]
        else:
            del tree["at"]
        when, self._ticks = _when(at, self._ticks)
        stream = self._streams.get(key)
        old: JsonObject = {} if stream is None else stream.tree
        head: Json = [*key] if stream is None else stream.number
        patch = patch_of(old, tree, ordered=False)  # These names are fields, and have no order.
        if stream is None:
            self._streams[key] = _Stream(len(self._streams), tree)
        else:
            stream.tree = tree
        row: Row = [head, when]
        if lag is not None:
            row.append(_when(lag, self._ticks)[0])
        if patch:
            row.append(patch)
        return row


class RowReader:
    """Reads one chain of rows."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._trees: list[JsonObject] = []
        self._ticks = 0

    def item(self, row: Json) -> Input:
        """Return the input that a row tells.

        Raises:
            UnreadableError: no row that this version writes, or none that can follow those before.

        """
        if not isinstance(row, list) or not 2 <= len(row) <= 4:
            raise UnreadableError("not a row")
        match row[0]:
            case bool():
                raise UnreadableError("not a stream")
            case int(number) if 0 <= number < len(self._trees):
                pass
            case [str(name), str()] if name in TYPES and len(self._trees) < STREAMS_MAX:
                number = len(self._trees)
                self._names.append(name)
                self._trees.append({})
            case _:
                raise UnreadableError("not a stream")
        name = self._names[number]
        lagging = name in _LAGGING
        at, self._ticks = _moment(row[1], self._ticks)
        rest = row[2:]
        lag = _moment(rest.pop(0), self._ticks)[0] if lagging and rest else None
        if lagging and lag is None:
            raise UnreadableError("a row without the peer's time")
        tree = self._trees[number]
        if rest:
            patch = rest.pop()
            if rest or not isinstance(patch, dict):
                raise UnreadableError("not a patch")
            tree = self._trees[number] = patched(tree, patch)
        if name == "Happened":
            event = tree.get("event")
            if not isinstance(event, dict):
                raise UnreadableError("not an event")
            told = _EVENT({**event, "at": lag})
            return Happened(event=told, heard_at=at)
        times: JsonObject = {"at": lag, "heard_at": at} if lagging else {"at": at}
        return cast("Input", _READERS[name]({**tree, **times}))


_EVENT: Final = _record_reader(EventFrame)


def _when(at: float, ticks: int) -> tuple[Json, int]:
    """Return how to tell a moment, and its ticks."""
    if 0 < at < TIME_TICKS_MOST:
        here = round(at * TICKS_PER_S)
        if here / TICKS_PER_S == at:
            return here - ticks, here
        return float(at), here
    return float(at), ticks


def _moment(told: Json, ticks: int) -> tuple[float, int]:
    if isinstance(told, bool) or not isinstance(told, int | float):
        raise UnreadableError("not a moment")
    if isinstance(told, int):
        here = ticks + told
        if not 0 <= here <= TIME_TICKS_MOST * TICKS_PER_S:
            raise UnreadableError("a moment beyond reason")
        return here / TICKS_PER_S, here
    if math.isnan(told):
        raise UnreadableError("not a moment")
    if 0 < told < TIME_TICKS_MOST:
        return told, round(told * TICKS_PER_S)
    return told, ticks
