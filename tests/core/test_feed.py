"""A node's copy of the end of a log, and the rule for continuing any copy."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.feed import Break, Entry, Feed, FeedState, Page, follow, parse_fan_out, parse_stored
from sample_cluster.core.messages import Position
from sample_cluster.errors import RemoteProtocolError

EPOCH = "0000000a"


def history(count: int, *, salt: int = 0) -> tuple[Entry, ...]:
    """Return the entries 1 to `count` of one history."""
    nonces = [0, *(1_000 * (number + 1) + salt for number in range(count))]
    return tuple(
        Entry(seq=seq, nonce=nonces[seq], prev=nonces[seq - 1], id=f"m{seq}", ts=seq, data=str(seq))
        for seq in range(1, count + 1)
    )


def at(entries: Sequence[Entry], seq: int) -> Position:
    return Position(epoch=EPOCH, seq=seq, nonce=entries[seq - 1].nonce if seq else 0)


def page(entries: Sequence[Entry], *, after: int, most: int = 100, epoch: str = EPOCH, trimmed: int = 0) -> Page:
    """Return what a read of the log would bring; entries up to `trimmed` are gone."""
    found = tuple(entry for entry in entries if entry.seq > max(after, trimmed))[:most]
    end = entries[-1] if entries else None
    return Page(epoch=epoch, top=end.seq if end else 0, nonce=end.nonce if end else 0, entries=found)


def live(entries: Sequence[Entry], seq: int, *, ring_entries: int = 1_024) -> Feed:
    """Return a feed that is live at `seq`."""
    feed = Feed("c", ring_entries=ring_entries)
    read(feed, entries[:seq])
    assert feed.state is FeedState.LIVE
    assert not feed.behind
    return feed


def read(feed: Feed, entries: Sequence[Entry], *, most: int = 100) -> list[Entry]:
    """Read until the feed asks for no more."""
    taken: list[Entry] = []
    while feed.behind:
        found = feed.read(page(entries, after=feed.ask(), most=most))
        assert not isinstance(found, Break)
        taken += found
    return taken


def test_a_feed_begins_at_the_end_of_the_log() -> None:
    log = history(5)
    feed = Feed("c")
    assert feed.behind
    assert read(feed, log) == []
    assert feed.position == at(log, 5)
    assert feed.state is FeedState.LIVE


def test_what_is_heard_before_the_first_page_is_not_lost() -> None:
    log = history(6)
    feed = Feed("c")
    after = feed.ask()
    assert not feed.heard(EPOCH, log[5])
    assert feed.read(page(log[:5], after=after)) == ()
    assert read(feed, log) == [log[5]]


def test_the_next_entry_is_taken_and_an_old_one_is_not() -> None:
    log = history(6)
    feed = live(log, 4)
    assert feed.heard(EPOCH, log[4])
    assert not feed.heard(EPOCH, log[4])
    assert not feed.heard(EPOCH, log[0])  # The ring never had it: too old to matter.
    assert not feed.behind
    assert feed.position == at(log, 5)


def test_a_hole_is_read_from_the_log() -> None:
    log = history(9)
    feed = live(log, 4)
    assert not feed.heard(EPOCH, log[6])
    assert (feed.state, feed.behind) == (FeedState.GAP, True)
    assert not feed.heard(EPOCH, log[7]), "nothing is taken past a hole"
    assert read(feed, log[:8], most=3) == [*log[4:8]]
    assert feed.heard(EPOCH, log[8])


def test_what_is_heard_while_a_page_is_read_asks_for_another_page() -> None:
    log = history(8)
    feed = live(log, 4)
    feed.heard(EPOCH, log[5])
    after = feed.ask()
    feed.heard(EPOCH, log[7])
    assert feed.read(page(log[:6], after=after)) == log[4:6]
    assert feed.behind
    assert read(feed, log) == [*log[6:8]]


def test_a_page_that_does_not_reach_the_end_asks_for_another_one() -> None:
    log = history(8)
    feed = live(log, 2)
    feed.doubt(FeedState.DEAF)
    assert feed.read(page(log, after=feed.ask(), most=2)) == log[2:4]
    assert (feed.behind, feed.state) == (True, FeedState.DEAF)
    read(feed, log)
    assert feed.position == at(log, 8)


def test_a_rumour_that_the_log_does_not_confirm_is_forgotten() -> None:
    log = history(4)
    feed = live(log, 4)
    feed.heard("ffffffff", log[0])
    assert feed.behind
    assert read(feed, log) == []
    assert feed.state is FeedState.LIVE


def test_a_doubt_that_comes_while_a_page_is_read_needs_a_page_of_its_own() -> None:
    log = history(5)
    feed = live(log, 4)
    feed.doubt(FeedState.STALLED)
    after = feed.ask()
    feed.doubt(FeedState.SYNCING)  # The subscription stands only now: the page was read before.
    assert feed.read(page(log[:4], after=after)) == ()
    assert (feed.behind, feed.state) == (True, FeedState.SYNCING)
    assert read(feed, log) == [log[4]]


def test_a_doubt_before_the_first_page_changes_only_the_state() -> None:
    feed = Feed("c")
    feed.doubt(FeedState.STALLED)
    assert (feed.state, feed.position) == (FeedState.STALLED, None)


def test_another_history_under_the_same_numbers_is_noticed() -> None:
    ours, theirs = history(6), history(7, salt=1)
    feed = live(ours, 4)
    feed.heard(EPOCH, ours[4])
    feed.heard(EPOCH, ours[5])
    assert not feed.heard(EPOCH, theirs[5])
    assert feed.behind
    assert feed.read(page(theirs, after=feed.ask())) is Break.FORK
    assert feed.position == at(ours, 6), "a break changes nothing"
    feed.restart(at(theirs, 7))
    assert feed.tail(at(ours, 5)) is None
    read(feed, theirs)
    assert feed.position == at(theirs, 7)


def test_an_entry_of_another_history_is_not_taken_as_the_next() -> None:
    ours, theirs = history(4), history(5, salt=1)
    feed = live(ours, 4)
    assert not feed.heard(EPOCH, theirs[4])
    assert feed.behind


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (page(history(9), after=4, epoch="0000000b"), Break.EPOCH),
        (page(history(9), after=4, trimmed=6), Break.TRIMMED),
        (page(history(9), after=4, trimmed=9), Break.TRIMMED),
        (page(history(9, salt=1), after=4), Break.FORK),
        (page(history(4, salt=1), after=4), Break.FORK),
        (page(history(3), after=4), Break.FORK),
        (page(history(4), after=4), ()),
        (page(history(6), after=4), history(6)[4:]),
        (Page(epoch=EPOCH, top=7, nonce=7000, entries=(history(7)[4], history(7)[6])), Break.FORK),
    ],
)
def test_follow(found: Page, wanted: Break | tuple[Entry, ...]) -> None:
    assert follow(at(history(4), 4), found) == wanted


def test_the_tail_reaches_back_as_far_as_the_ring() -> None:
    log = history(9)
    feed = live(log, 3, ring_entries=4)
    for entry in log[3:]:
        assert feed.heard(EPOCH, entry)
    assert feed.tail(at(log, 9)) == ()
    assert feed.tail(at(log, 7)) == log[7:]
    assert feed.tail(at(log, 5)) == log[5:]
    assert feed.tail(at(log, 4)) is None


def test_the_tail_is_refused_to_a_position_of_another_history() -> None:
    log, other = history(9), history(12, salt=1)
    feed = live(log, 3)
    assert Feed("c").tail(at(log, 3)) is None
    for entry in log[3:]:
        feed.heard(EPOCH, entry)
    assert feed.tail(at(other, 9)) is None
    assert feed.tail(at(other, 7)) is None
    assert feed.tail(at(other, 12)) is None
    assert feed.tail(Position(epoch="0000000b", seq=7, nonce=log[6].nonce)) is None


def test_a_page_tells_where_it_begins_and_where_the_log_ends() -> None:
    log = history(9)
    assert page(log, after=0, trimmed=3).start == at(log, 3)
    assert page(log, after=9).start == page(log, after=9).end == at(log, 9)


def test_both_roads_bring_the_same_entry() -> None:
    entry = Entry(seq=7, nonce=2, prev=1, id="m", ts=5, data='{"a b":1}')
    fields = {"nonce": "2", "prev": "1", "id": "m", "ts": "5", "data": '{"a b":1}', "encoding": "-"}
    assert parse_fan_out(f'{EPOCH} 7 2 1 5 m - {{"a b":1}}') == (EPOCH, entry)
    assert parse_stored("7-0", fields) == entry
    assert parse_fan_out(f'{EPOCH} 7 2 1 5 m base64 "eA=="')[1].encoding == "base64"
    assert parse_stored("7-0", {**fields, "encoding": "base64"}).encoding == "base64"


@pytest.mark.parametrize("text", ["", "hello", f"{EPOCH} x 2 1 5 m - 1", f"{EPOCH} 7 2 1 5 m -"])
def test_nonsense_on_the_fast_road_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_fan_out(text)


@pytest.mark.parametrize("fields", [{}, {"nonce": "x", "prev": "1", "id": "", "ts": "1", "data": "", "encoding": "-"}])
def test_nonsense_in_the_log_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_stored("7-0", fields)


@given(seed=st.integers(0, 10_000), drop=st.floats(0, 0.9))
def test_whatever_pub_sub_drops_everything_arrives_once_and_in_order(seed: int, drop: float) -> None:
    """The log grows, pub/sub drops and delays, pages are read in between: the feed takes 1, 2, 3…"""
    dice = Random(seed)
    log = history(60)
    feed = Feed("c")
    feed.restart(at(log, 0))
    taken: list[Entry] = []
    written = 0
    while written < len(log) or feed.behind:
        if written < len(log) and dice.random() < 0.7:
            written += 1
            if dice.random() >= drop and feed.heard(EPOCH, log[written - 1]):
                taken.append(log[written - 1])
        elif feed.behind:
            asked = page(log[:written], after=feed.ask(), most=dice.randint(1, 5))
            while written < len(log) and dice.random() < 0.4:  # Written and heard while the page is on its way.
                written += 1
                assert not feed.heard(EPOCH, log[written - 1])
            found = feed.read(asked)
            assert not isinstance(found, Break)
            taken += found
    feed.doubt(FeedState.DEAF)  # The comparison every few seconds finds what was dropped at the very end.
    taken += read(feed, log)
    assert taken == [*log]
