"""Copies of a model, so that a replay can go back to a moment without starting from the beginning.

What is frozen is shared: inputs, events, states of peers. Everything else is copied, whatever it is called, so that a
model may grow new parts without anybody having to think of this one.
"""

import copy
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import CellType, FunctionType, MethodType
from typing import Any, Final, TypeVar, cast

from wsmon.protocol.frames import ReadOnlyJson

_TABLES: Final = (dict, OrderedDict, defaultdict)
Whole = TypeVar("Whole")


def copied(whole: Whole) -> Whole:
    """Return a copy that changes neither with the original nor it with the copy."""
    return cast("Whole", _copied(whole, {}))


_shared: Final[dict[type, bool]] = {}


def _is_shared(kind: type) -> bool:
    """Say whether values of this type never change."""
    known = _shared.get(kind)
    if known is None:
        known = _shared[kind] = _never_changes(kind)
    return known


def _never_changes(kind: type) -> bool:
    if issubclass(kind, (str, int, float, bytes, Enum, frozenset, type, type(None))):
        return True
    return is_dataclass(kind) and bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def _copied(value: Any, known: dict[int, Any]) -> Any:
    kind = type(value)
    if _is_shared(kind):
        return value
    if id(value) in known:
        return known[id(value)]
    made: Any
    if kind in _TABLES:
        made = known[id(value)] = copy.copy(value)  # With its order, and what it makes of a missing name.
        for name, part in value.items():
            if not _is_shared(type(part)):
                made[name] = _copied(part, known)
    elif kind is list:
        made = known[id(value)] = []
        made.extend(part if _is_shared(type(part)) else _copied(part, known) for part in value)
    elif kind is deque:
        made = known[id(value)] = deque(maxlen=value.maxlen)
        made.extend(part if _is_shared(type(part)) else _copied(part, known) for part in value)
    elif issubclass(kind, tuple):
        made = value
        if not all(_is_shared(type(part)) for part in value):
            parts = (_copied(part, known) for part in value)
            made = tuple(parts) if kind is tuple else kind(*parts)  # The others have names for their parts.
    elif kind is set:
        made = known[id(value)] = set(value)
    elif kind is array:
        made = known[id(value)] = value[:]
    elif kind is FunctionType:
        # One that was made inside another holds on to values of that one.
        cells = tuple(CellType(_copied(cell.cell_contents, known)) for cell in value.__closure__ or ())
        made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
        known[id(value)] = made = made if cells else value
    elif kind is MethodType:
        made = MethodType(value.__func__, _copied(value.__self__, known))
    elif kind.__module__.startswith("wsmon.") and cast("object", kind.__new__) is object.__new__:
        made = known[id(value)] = object.__new__(kind)
        names, shared = _parts(cast("Hashable", kind))
        own = getattr(value, "__dict__", {})
        for name in (*names, *own):
            try:
                part = getattr(value, name)
            except AttributeError:
                continue  # A slot that was never filled.
            whole = part if name in shared or _is_shared(type(part)) else _copied(part, known)
            object.__setattr__(made, name, whole)
    else:
        made = known[id(value)] = copy.deepcopy(value, known)
    return made


@cache
def _parts(kind: Hashable) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the slots, and the fields that hold what a peer said, which nobody changes."""
    assert isinstance(kind, type)
    names = tuple(name for base in kind.__mro__ for name in getattr(base, "__slots__", ()))
    told = fields(kind) if is_dataclass(kind) else ()
    return names, frozenset(item.name for item in told if item.type == ReadOnlyJson)
