"""A model as plain values, to compare two of them field by field, and to say where they differ."""

from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from wsmon.model.incidents import Incidents

_ATOMS = (str, int, bool, bytes, type(None), type)


def fingerprint(value: Any) -> Any:
    """Return everything that is in `value`, down to the last field, as values that can be compared.

    Two are equal exactly if all fields are; names of a table count in their order, and 1 is not 1.0.
    """
    if isinstance(value, float):
        return "float", repr(value)  # Which makes one NaN equal to another.
    if isinstance(value, _ATOMS):
        return type(value).__name__, value
    if isinstance(value, array):
        return value.typecode, value.tobytes()
    if isinstance(value, Mapping):
        return type(value).__name__, [(fingerprint(name), fingerprint(part)) for name, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return type(value).__name__, [fingerprint(part) for part in value]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(repr, value))
    if isinstance(value, Incidents):
        return _answers(value)
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    names += list(getattr(value, "__dict__", {}))
    assert names or is_dataclass(value), f"nothing is known of the inside of {value!r}"
    return type(value).__name__, {name: fingerprint(getattr(value, name)) for name in names if hasattr(value, name)}


def _answers(incidents: Incidents) -> Any:
    """Return what was told of incidents, and what is concluded: how far conclusions have come depends on who asked."""
    told = (incidents._marks, incidents._ways, incidents._samples, incidents._nodes, incidents.dropped)
    concluded = (incidents.all(), incidents.removals(), incidents.clients_lost(), incidents.clients_away())
    return "Incidents", {"told": fingerprint(told), "concluded": fingerprint(concluded)}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return the places in which two fingerprints differ."""
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for name in one for found in differences(one[name], other[name], f"{where}.{name}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for place, (a, b) in pairs for found in differences(a, b, f"{where}[{place}]")]
    return [f"{where}: {one!r:.200} is not {other!r:.200}"]
