"""A node's copy of the end of one channel's log, and the rule by which any copy is continued.

Theory of operation. Entries come by two roads: pub/sub, fast but allowed to lose, and pages read from the log. An
entry is taken only when it is the next one (`seq` is ours plus one) and continues our history (its `prev` is our
nonce). Anything further ahead is a hole: the shell reads pages after our position until the feed has nothing to ask
for any more. A page also tells where the log ends, so a copy that heard nothing at all finds out that it is deaf.

`follow` is the rule; the feed uses it, and so does a subscriber who catches up from an older position by itself.

A log can also turn out to be another one than ours: a stale replica was promoted, or everything in Redis is gone.
Then the feed is forked until `core.repair` has said what both histories share. What lies beyond that is void: the feed
forgets it, but remembers its nonces for a while, so that a client who comes back with a void position is told exactly
which numbers never happened.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from sample_cluster.core.messages import Position
from sample_cluster.errors import RemoteProtocolError

RING_ENTRIES: Final = 1_024
VOID_KEPT: Final = RING_ENTRIES
"""Void entries that are remembered."""
NO_ENCODING: Final = "-"


class FeedState(StrEnum):
    """How much a feed can be relied on."""

    SUBSCRIBING = "subscribing"
    SYNCING = "syncing"
    LIVE = "live"
    GAP = "gap"
    DEAF = "deaf"
    STALLED = "stalled"
    FORKED = "forked"


class Break(StrEnum):
    """Why a history cannot be continued: the words of `resync`."""

    TRIMMED = "trimmed"
    EPOCH = "epoch"
    FORK = "fork"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message of the log. `data` is JSON text."""

    seq: int
    nonce: int
    prev: int
    id: str
    ts: int
    data: str
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one read of the log told, in one step: where it ends, and the entries after the position asked for."""

    epoch: str
    top: int
    nonce: int
    """Of the entry at `top`."""
    entries: tuple[Entry, ...]

    @property
    def end(self) -> Position:
        """Where the log ended when the page was read."""
        return Position(epoch=self.epoch, seq=self.top, nonce=self.nonce)

    @property
    def start(self) -> Position:
        """Just before the page's first entry; the end if the page is empty."""
        if not self.entries:
            return self.end
        first = self.entries[0]
        return Position(epoch=self.epoch, seq=first.seq - 1, nonce=first.prev)


def parse_fan_out(text: str) -> tuple[str, Entry]:
    """Return epoch and entry from what the append script publishes.

    Raises:
        RemoteProtocolError: it is something else.

    """
    try:
        epoch, seq, nonce, prev, ts, name, encoding, data = text.split(" ", 7)
        entry = Entry(
            seq=int(seq),
            nonce=int(nonce),
            prev=int(prev),
            id=name,
            ts=int(ts),
            data=data,
            encoding=None if encoding == NO_ENCODING else encoding,
        )
    except ValueError:
        raise RemoteProtocolError("not a message of the append script") from None
    _check(entry)
    return epoch, entry


def parse_stored(name: str, fields: Mapping[str, str]) -> Entry:
    """Return the entry under the stream id `seq-0`.

    Raises:
        RemoteProtocolError: it is not one of the append script's.

    """
    try:
        encoding = fields["encoding"]
        entry = Entry(
            seq=int(name.partition("-")[0]),
            nonce=int(fields["nonce"]),
            prev=int(fields["prev"]),
            id=fields["id"],
            ts=int(fields["ts"]),
            data=fields["data"],
            encoding=None if encoding == NO_ENCODING else encoding,
        )
    except (KeyError, ValueError):
        raise RemoteProtocolError(f"stream entry {name} is not a message of the append script") from None
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    """Refuse what no codec could deliver: a stranger may have written to the log."""
    sound = 0 < entry.seq < 2**53 and 0 <= entry.nonce < 2**32 and 0 <= entry.prev < 2**32 and 0 <= entry.ts < 2**53
    name = entry.id
    if not sound or not name or not name.isascii() or not name.isprintable() or '"' in name or "\\" in name:
        raise RemoteProtocolError("a message of the log is out of range")


def follow(position: Position, page: Page) -> tuple[Entry, ...] | Break:
    """Return the entries that continue the history at `position`, or why none can.

    `page` was read after `position`; no entries means that the position is the end of the log. What stands behind a
    hole in the log is not returned: the next page begins with the hole.
    """
    if page.epoch != position.epoch:
        return Break.EPOCH
    if not page.entries:
        if page.top == position.seq:
            return () if page.nonce == position.nonce else Break.FORK
        return Break.TRIMMED if page.top > position.seq else Break.FORK
    seq, nonce = position.seq, position.nonce
    if page.entries[0].seq > seq + 1:
        return Break.TRIMMED
    for count, entry in enumerate(page.entries):
        if entry.seq > seq + 1:
            return page.entries[:count]
        if entry.seq != seq + 1 or entry.prev != nonce:
            return Break.FORK
        seq, nonce = entry.seq, entry.nonce
    return page.entries


class Feed:
    """The end of one channel's log as this node knows it."""

    def __init__(self, channel: str, *, ring_entries: int = RING_ENTRIES) -> None:
        self.channel = channel
        self.state = FeedState.SUBSCRIBING
        self.position: Position | None = None
        """The newest entry that was taken; None until the log was read once."""
        self._ring: deque[Entry] = deque(maxlen=ring_entries)
        self._heard = 0
        self._doubts = 0
        self._asked = (0, 0)
        self._void: dict[tuple[int, int], Position] = {}
        """(seq, nonce) of what never happened → the last place before it that did."""

    @property
    def ring(self) -> tuple[Entry, ...]:
        """Return the newest entries that were taken, oldest first, without a hole."""
        return tuple(self._ring)

    @property
    def behind(self) -> bool:
        """Whether more may exist than was taken: another page has to be read."""
        return self.position is None or self._heard > self.position.seq

    def heard(self, epoch: str, entry: Entry) -> bool:
        """Take an entry that came by pub/sub; return whether it was the next one.

        When it was not, `behind` says whether it was an old one or tells of a hole.
        """
        position = self.position
        if position is None:
            self._heard = max(self._heard, entry.seq)
            return False
        if epoch == position.epoch:
            if entry.seq == position.seq + 1 and entry.prev == position.nonce and not self.behind:
                self._take(entry)
                self._heard = entry.seq
                return True
            if entry.seq <= position.seq and self._nonce_at(entry.seq) in {entry.nonce, None}:
                return False
        # A hole, another history, or one that began again: the log knows.
        next_one = entry.seq == position.seq + 1
        if epoch != position.epoch or entry.seq <= position.seq or (next_one and entry.prev != position.nonce):
            self._doubts += 1  # More than a hole: no page that is on its way settles it.
        self._heard = max(self._heard, entry.seq, position.seq + 1)
        if self.state is FeedState.LIVE:
            self.state = FeedState.GAP
        return False

    def doubt(self, state: FeedState) -> None:
        """Do not trust the copy until a page confirms it."""
        self.state = state
        self._doubts += 1
        if self.position is not None:
            self._heard = max(self._heard, self.position.seq + 1)

    def ask(self) -> int:
        """Return the seq after which to read a page; `read` must be called with that page, and nothing else between."""
        self._asked = (self._heard, self._doubts)
        return 0 if self.position is None else self.position.seq

    def read(self, page: Page) -> tuple[Entry, ...] | Break:
        """Take the page that `ask` asked for; return the entries taken.

        A break changes nothing: the shell decides where to go on, and calls `restart`.
        """
        assert self.position is not None, "begin first"
        found = follow(self.position, page)
        if isinstance(found, Break):
            return found
        for entry in found:
            self._take(entry)
        if self.position.seq < page.top:
            self._heard = max(self._heard, page.top)
        elif (self._heard, self._doubts) == self._asked:
            # The page reached the end, and nothing happened since it was asked for: there is nothing more.
            self._heard = self.position.seq
        elif self._doubts != self._asked[1]:
            # It was doubted after the page had been asked for: only a page of its own settles that.
            self._heard = max(self._heard, self.position.seq + 1)
        if not self.behind:
            self.state = FeedState.LIVE
        return found

    def begin(self, page: Page) -> None:
        """Begin at the log's end. `page` holds its newest entries: they are history, and fill the ring."""
        self.restart(page.end)
        chain: list[Entry] = []
        seq, nonce = page.top, page.nonce
        for entry in reversed(page.entries):
            if (entry.seq, entry.nonce) != (seq, nonce):
                break  # What stands further back is of no use.
            chain.append(entry)
            seq, nonce = entry.seq - 1, entry.prev
        self._ring.extend(reversed(chain))

    def restart(self, position: Position) -> None:
        """Go on at `position`; what came before is forgotten. One more page is needed, for what was heard meanwhile."""
        self._ring.clear()
        self._void.clear()
        self.position = position
        self._heard = position.seq
        self.doubt(FeedState.SYNCING)

    def rewind(self, to: Position) -> None:
        """Forget what was taken after `to`, a place in the ring or just before it: it never happened."""
        assert self.position is not None
        while self._ring and self._ring[-1].seq > to.seq:
            gone = self._ring.pop()
            self._void[gone.seq, gone.nonce] = to
        self._void = dict(islice(self._void.items(), max(0, len(self._void) - VOID_KEPT), None))
        self.position = to
        self._heard = to.seq
        self.doubt(FeedState.SYNCING)

    def void_after(self, position: Position) -> Position | None:
        """Return the last place before `position` that did happen, if we know that `position` did not."""
        found: Position | None = None
        to = self._void.get((position.seq, position.nonce))
        while to is not None and to.epoch == position.epoch:
            found, to = to, self._void.get((to.seq, to.nonce))  # What it was rewound to may be void by now, too.
        return found

    def entry(self, seq: int) -> Entry | None:
        """Return the entry that was taken at `seq`, None if the ring does not have it."""
        if self.position is None:
            return None
        index = len(self._ring) - 1 - (self.position.seq - seq)
        return self._ring[index] if 0 <= index < len(self._ring) else None

    def tail(self, position: Position) -> tuple[Entry, ...] | None:
        """Return the entries after `position`, or None if the ring does not know that position."""
        ours = self.position
        if ours is None or position.epoch != ours.epoch:
            return None
        if position.seq == ours.seq:
            return () if position.nonce == ours.nonce else None
        count = ours.seq - position.seq
        if not 0 < count <= len(self._ring):
            return None
        first = len(self._ring) - count
        if self._ring[first].prev != position.nonce:
            return None
        return tuple(islice(self._ring, first, None))

    def _nonce_at(self, seq: int) -> int | None:
        """Return the nonce that we took at `seq`, None if the ring has forgotten."""
        found = self.entry(seq)
        return None if found is None else found.nonce

    def _take(self, entry: Entry) -> None:
        assert self.position is not None
        self._void.pop((entry.seq, entry.nonce), None)  # It did happen after all.
        self._ring.append(entry)
        self.position = Position(epoch=self.position.epoch, seq=entry.seq, nonce=entry.nonce)
