"""What a gateway enters in the registry beside its address: what it knows of the nodes, for those who drain."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from wsmon.protocol.frames import JsonObject
from wsmon.protocol.registry import RegistryEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much the nodes have to do, as one gateway sees it."""

    connections: Mapping[str, int] = field(default_factory=dict)
    """Node → connections that this gateway leads to it."""
    handshakes_per_s: float | None = None
    """Of one node; None until it has been measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayEntry(RegistryEntry):
    """A registry entry with a load."""

    load: Load = Load()

    def to_object(self) -> JsonObject:
        """Return the JSON object to store."""
        load: JsonObject = {"connections": dict(self.load.connections)}
        if self.load.handshakes_per_s is not None:
            load["handshakes_per_s"] = round(self.load.handshakes_per_s, 1)
        return {**RegistryEntry.to_object(self), "load": load}


def with_load(entry: RegistryEntry, load: Load) -> GatewayEntry:
    """Return the entry with another load."""
    known = {item.name: getattr(entry, item.name) for item in dataclasses.fields(RegistryEntry)}
    return GatewayEntry(**known, load=load)
