"""The control plane as a model: registry, lease, health table. It says the same as the scripts."""

from dataclasses import dataclass, replace

from sample_cluster.checker.ports import Conflict, Stale, WriteOutcome, Written
from sample_cluster.core.health import Transition
from sample_cluster.core.lease import Claim, Granted, HeldBy, LeaseAnswer
from wsmon.protocol.registry import ENTRY_TTL_S, Verdict


@dataclass(frozen=True)
class Entry:
    """One node's registration."""

    boot: int
    until: float


class ModelRedis:
    """Everything that checkers and nodes share."""

    def __init__(self, *, lease_ttl_s: float) -> None:
        self.available = True
        self.entries: dict[str, Entry] = {}
        self.known: set[str] = set()
        """Whoever registered and did not take it back."""
        self.table: dict[str, Verdict] = {}
        self.log: list[tuple[Verdict, Transition, str]] = []
        """Verdict, the move that it came from, and who wrote it."""
        self.epoch = 0
        self.holder: str | None = None
        self.held_until = 0.0
        self._lease_ttl_s = lease_ttl_s

    def register(self, node: str, boot: int, now: float) -> None:
        """Write or renew an entry."""
        self.entries[node] = Entry(boot, now + ENTRY_TTL_S)
        self.known.add(node)

    def take_back(self, node: str) -> None:
        """Take an entry off."""
        self.entries.pop(node, None)
        self.known.discard(node)

    def registered(self, now: float) -> tuple[dict[str, int], frozenset[str]]:
        """Return the boots of those whose lease runs, and the ids of those whose ran out."""
        running = {node: entry.boot for node, entry in self.entries.items() if entry.until > now}
        return running, frozenset(self.known - running.keys())

    def claim(self, who: str, claim: Claim, now: float) -> LeaseAnswer:
        """Do what the script does."""
        holder = self.holder if now < self.held_until else None
        if holder == who and claim.epoch and claim.epoch == self.epoch:
            self.held_until = now + self._lease_ttl_s
            return Granted(epoch=self.epoch)
        if not claim.take or (holder is not None and not (holder == who and claim.fresh)):
            return HeldBy(epoch=self.epoch, who=holder or "", left_s=self.held_until - now if holder else None)
        self.epoch = max(self.epoch, claim.floor) + 1
        self.holder, self.held_until = who, now + self._lease_ttl_s
        return Granted(epoch=self.epoch)

    def write(self, verdict: Verdict, transition: Transition, *, expected: int, who: str) -> WriteOutcome:
        """Do what the script does."""
        if verdict.epoch < self.epoch:
            return Stale(self.epoch)
        standing = self.table.get(verdict.node)
        version = 0 if standing is None else standing.version
        if version != expected:
            return Conflict(standing, version)
        self.table[verdict.node] = verdict
        self.log.append((verdict, replace(transition), who))
        return Written()
