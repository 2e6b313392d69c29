"""Logs and feeds made up for tests of the continuity cores."""

from collections.abc import Sequence

from sample_cluster.core.feed import Break, Entry, Feed, FeedState, Page
from sample_cluster.core.messages import Position

EPOCH = "0000000a"
OTHER_EPOCH = "0000000b"


def history(count: int, *, salt: int = 0, after: Sequence[Entry] = ()) -> tuple[Entry, ...]:
    """Return the entries up to `count` of one history; `after` is how it begins. Another `salt` is another history."""
    made = list(after)
    for seq in range(len(made) + 1, count + 1):
        prev = made[-1].nonce if made else 0
        name = f"m{salt}-{seq}" if salt else f"m-{seq}"
        made.append(Entry(seq=seq, nonce=1_000 * seq + salt, prev=prev, id=name, ts=seq, data=str(seq)))
    return tuple(made)


def at(entries: Sequence[Entry], seq: int, *, epoch: str = EPOCH) -> Position:
    """Return the place after the entry `seq` of a history that begins with 1."""
    return Position(epoch=epoch, seq=seq, nonce=entries[seq - 1].nonce if seq else 0)


def page(entries: Sequence[Entry], *, after: int, most: int = 100, epoch: str = EPOCH, trimmed: int = 0) -> Page:
    """Return what a read of the log would bring; entries up to `trimmed` are gone."""
    found = tuple(entry for entry in entries if entry.seq > max(after, trimmed))[:most]
    end = entries[-1] if entries else None
    return Page(epoch=epoch, top=end.seq if end else 0, nonce=end.nonce if end else 0, entries=found)


def recent(entries: Sequence[Entry], *, most: int, epoch: str = EPOCH) -> Page:
    """Return what a read of the log's newest entries would bring."""
    return page(entries, after=entries[-1].seq - most if entries else 0, epoch=epoch)


def read(feed: Feed, entries: Sequence[Entry], *, most: int = 100, epoch: str = EPOCH) -> list[Entry]:
    """Read until the feed asks for no more; return what it took."""
    taken: list[Entry] = []
    while feed.behind:
        found = feed.read(page(entries, after=feed.ask(), most=most, epoch=epoch))
        assert not isinstance(found, Break)
        taken += found
    return taken


def live_feed(
    entries: Sequence[Entry], *, channel: str = "c", ring_entries: int = 1_024, known: int = 1_024, epoch: str = EPOCH
) -> Feed:
    """Return a feed that is live at the end of the log, with its newest `known` entries in the ring."""
    feed = Feed(channel, ring_entries=ring_entries)
    feed.begin(recent(entries, most=known, epoch=epoch))
    assert read(feed, entries, epoch=epoch) == []
    assert feed.state is FeedState.LIVE
    return feed
