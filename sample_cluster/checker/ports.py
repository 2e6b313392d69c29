"""What the checker needs from outside: the control plane, and connections to nodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sample_cluster.core.classify import Look
from sample_cluster.core.health import Transition
from sample_cluster.core.lease import Claim, LeaseAnswer
from wsmon.protocol.events import EventBody
from wsmon.protocol.frames import EventFrame, ReadOnlyJson
from wsmon.protocol.registry import RegistryEntry, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """Registry and health table, read together."""

    nodes: Mapping[str, RegistryEntry] = field(default_factory=dict)
    """Entries of kind node whose lease runs."""
    expired: frozenset[str] = frozenset()
    """Ids whose lease ran out; every other id took its entry back, or never had one."""
    checkers: frozenset[str] = frozenset()
    """Ids of the checkers that are there, ourselves included."""
    refused: tuple[str, ...] = ()
    """What stands there and makes no sense: where, and why it was refused, in words."""
    table: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """The table holds the verdict."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A leader of a later epoch exists: nothing was written."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The table holds something else than expected: nothing was written."""

    standing: Verdict | None
    """What stands there, if it parses."""
    version: int


WriteOutcome: TypeAlias = Written | Stale | Conflict


class ControlPlane(Protocol):
    """Redis, as far as the checker uses it. Every method raises StoreUnavailableError if it does not answer."""

    async def claim(self, claim: Claim) -> LeaseAnswer:
        """Take or renew the lease."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give the lease back if it is ours, so that the next one need not wait for its end."""
        ...

    async def read(self) -> ClusterView:
        """Return registry and table."""
        ...

    async def write(self, verdict: Verdict, transition: Transition, *, expected: int) -> WriteOutcome:
        """Write the verdict that the transition led to, unless the table moved on or another checker leads."""
        ...

    async def forget(self, verdict: Verdict, *, epoch: int, reason: str, at: float) -> WriteOutcome:
        """Take a node off the table."""
        ...


class Link(Protocol):
    """An open admin connection to a node."""

    @property
    def id(self) -> str:
        """Who says to be at the other end."""
        ...

    @property
    def boot(self) -> int:
        """Which life of the node is at the other end."""
        ...

    async def ping(self) -> float:
        """Return the round trip in seconds; raise UnreachableError if the connection is gone."""
        ...

    def look(self) -> Look:
        """Return what the kernel tells of the connection at the moment."""
        ...

    async def reaches(self, node: str, *, address: str | None, within_s: float) -> bool | None:
        """Say whether the node at the other end reaches `node`; None: it cannot tell. Raises like `ping`.

        `address` is where `node` serves, if that is known.
        """
        ...

    async def closed(self) -> None:
        """Wait until the connection is gone."""
        ...

    async def close(self) -> None:
        """Close it; never raises."""
        ...


class Dial(Protocol):
    """Opens admin connections."""

    async def __call__(self, url: str, on_word: Callable[[str], None]) -> Link:
        """Connect; `on_word` is called with the node's own state whenever it tells one.

        Raises:
            RefusedError: nobody listens.
            UnreachableError, ProtocolError: no usable connection for another reason.

        """
        ...


class Teller(Protocol):
    """The checker's own admin socket."""

    def publish(self, state: ReadOnlyJson) -> None:
        """Serve `state`."""
        ...

    def emit(self, body: EventBody) -> EventFrame:
        """Tell an event."""
        ...
