"""What to do when a channel's log is not the one that a node has a copy of.

Theory of operation. After a failover of Redis the log may lack its newest entries, or have other ones in their place.
A node that took those entries still has them in its ring. As long as nobody has written in their place, they can go
back exactly as they were: same numbers, same nonces, and no client ever notices. Where somebody has, ours are void:
whoever got them is told so (`rewind`), and the same messages, recognised by their ids, are written again behind what
stands there now. A log that is empty takes our whole ring back, under our epoch.

Everything is written with a compare-and-append (`restore.lua`): it happens only if the log still ends where the plan
says. So any number of nodes may repair the same log at once; whoever comes second finds its work done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from sample_cluster.core.feed import Entry, Page
from sample_cluster.core.messages import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A plan: append `entries` if the log still ends at `end`, then go on at `to`."""

    end: Position
    """Where the log ended when it was looked at."""
    epoch: str
    """The log's epoch from now on."""
    entries: tuple[Entry, ...]
    to: Position | None
    """The last place that both histories share, if some of ours is void; None: nothing is."""
    last_resort: bool = False
    """The log ends before all that we know: only if nobody else can do better, and planned with the log's newest entries.
    We go on at `end` then."""


def plan_repair(ours: Position, ring: Sequence[Entry], log: Page, dice: Random) -> Repair | None:
    """Return how to bring a log and our copy of its end together, None if they share too little for that.

    `ring` ends at `ours`; `log` was read after the ring's first entry but one (see `read_from`) and must hold
    everything up to the log's end, or nothing is written again. `dice` make the nonces of what is written anew.
    """
    if log.epoch != ours.epoch:
        if log.top > 0 or not ring:
            return None
        # Nobody has written since everything was lost.
        return Repair(end=log.end, epoch=ours.epoch, entries=tuple(ring), to=None)
    nonces = {entry.seq: entry.nonce for entry in ring}
    nonces.setdefault(ours.seq, ours.nonce)
    if ring:
        nonces[ring[0].seq - 1] = ring[0].prev
    if log.top <= ours.seq and nonces.get(log.top) == log.nonce:
        # Ours simply goes further.
        missing = tuple(entry for entry in ring if entry.seq > log.top)
        return Repair(end=log.end, epoch=log.epoch, entries=missing, to=None)
    written = {entry.id for entry in log.entries}
    if ring and log.top < ring[0].seq - 1:
        # What lies between is gone, and others may have written there: under the old numbers ours would hide that.
        # What is older than all that can be seen of the log may have been written again and trimmed since.
        oldest = log.entries[0].ts if log.entries and log.entries[0].seq > 1 else 0
        anew = [entry for entry in ring if entry.id not in written and entry.ts >= oldest]
        return Repair(end=log.end, epoch=log.epoch, entries=_renumbered(anew, log, dice), to=None, last_resort=True)
    shared = _shared(ours.epoch, nonces, log)
    if shared is None or shared.seq == ours.seq:
        return None
    void = [entry for entry in ring if entry.seq > shared.seq]
    complete = (log.entries[-1].seq if log.entries else shared.seq) == log.top
    anew = [entry for entry in void if entry.id not in written] if complete else []
    return Repair(end=log.end, epoch=log.epoch, entries=_renumbered(anew, log, dice), to=shared)


def read_from(ours: Position, ring: Sequence[Entry]) -> int:
    """Return the seq after which the log has to be read for `plan_repair`."""
    return max(0, (ring[0].seq if ring else ours.seq) - 2)


def _shared(epoch: str, nonces: dict[int, int], log: Page) -> Position | None:
    """Return the highest place at which the log has our nonce."""
    found: Position | None = None
    for entry in log.entries:
        if nonces.get(entry.seq) == entry.nonce:
            found = Position(epoch=epoch, seq=entry.seq, nonce=entry.nonce)
        elif found is None and nonces.get(entry.seq - 1) == entry.prev:
            found = Position(epoch=epoch, seq=entry.seq - 1, nonce=entry.prev)
    return found


def _renumbered(entries: Sequence[Entry], log: Page, dice: Random) -> tuple[Entry, ...]:
    made: list[Entry] = []
    seq, prev = log.top, log.nonce
    for entry in entries:
        seq += 1
        nonce = dice.getrandbits(32)
        made.append(
            Entry(seq=seq, nonce=nonce, prev=prev, id=entry.id, ts=entry.ts, data=entry.data, encoding=entry.encoding)
        )
        prev = nonce
    return tuple(made)
