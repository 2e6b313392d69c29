"""A node's copy of the end of a log, and the rule for continuing any copy."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.feed import (
    VOID_KEPT,
    Break,
    Entry,
    Feed,
    FeedState,
    Page,
    follow,
    parse_fan_out,
    parse_stored,
)
from sample_cluster.core.messages import Position
from sample_cluster.errors import RemoteProtocolError
from tests.support.history import EPOCH, OTHER_EPOCH, at, history, live_feed, page, read, recent


def test_a_feed_begins_at_the_end_of_the_log_and_knows_what_stands_before_it() -> None:
    log = history(9)
    feed = Feed("c")
    assert (feed.state, feed.behind, feed.position, feed.ask()) == (FeedState.SUBSCRIBING, True, None, 0)
    feed.begin(recent(log, most=4))
    assert feed.position == at(log, 9)
    assert (feed.behind, feed.state) == (True, FeedState.SYNCING), "one more page tells what came meanwhile"
    assert read(feed, log) == []
    assert (feed.behind, feed.state) == (False, FeedState.LIVE)
    assert feed.ring == log[5:]
    assert feed.tail(at(log, 5)) == log[5:]


def test_a_feed_may_begin_with_an_empty_log() -> None:
    feed = Feed("c")
    feed.begin(page((), after=0))
    assert feed.position == at((), 0)
    assert feed.ring == ()
    assert read(feed, history(2)) == [*history(2)]


def test_the_ring_begins_behind_the_last_hole_of_the_log() -> None:
    log = history(9)
    feed = Feed("c")
    feed.begin(page([*log[:4], *log[6:]], after=0))
    assert feed.ring == log[6:]
    feed = Feed("c")
    feed.begin(page([*history(5, salt=1), *log[5:]], after=0))
    assert feed.ring == log[5:], "what the next one does not continue is of no use"


def test_a_log_whose_newest_entries_were_trimmed_fills_no_ring() -> None:
    log = history(9)
    feed = Feed("c")
    feed.begin(Page(epoch=EPOCH, top=9, nonce=log[8].nonce, entries=log[2:5]))
    assert feed.position == at(log, 9)
    assert feed.ring == ()


def test_what_is_heard_before_the_first_page_is_not_lost() -> None:
    log = history(6)
    feed = Feed("c")
    feed.ask()
    assert not feed.heard(EPOCH, log[5])
    feed.begin(recent(log[:5], most=3))
    assert read(feed, log) == [log[5]]


def test_the_next_entry_is_taken_and_an_old_one_is_not() -> None:
    log = history(6)
    feed = live_feed(log[:4])
    assert feed.heard(EPOCH, log[4])
    assert not feed.heard(EPOCH, log[4])
    assert not feed.heard(EPOCH, log[0])
    assert not feed.behind
    assert feed.position == at(log, 5)


def test_a_hole_is_read_from_the_log() -> None:
    log = history(9)
    feed = live_feed(log[:4])
    assert not feed.heard(EPOCH, log[6])
    assert (feed.state, feed.behind) == (FeedState.GAP, True)
    assert not feed.heard(EPOCH, log[7]), "nothing is taken past a hole"
    assert read(feed, log[:8], most=3) == [*log[4:8]]
    assert feed.heard(EPOCH, log[8])


def test_a_page_is_taken_up_to_a_hole_in_the_log_and_the_next_one_begins_with_it() -> None:
    log = history(9)
    feed = live_feed(log[:4])
    feed.doubt(FeedState.DEAF)
    holed = [*log[:6], *log[7:]]
    assert feed.read(page(holed, after=feed.ask())) == log[4:6]
    assert feed.behind
    assert feed.read(page(holed, after=feed.ask())) is Break.TRIMMED


def test_what_is_heard_while_a_page_is_read_asks_for_another_page() -> None:
    log = history(8)
    feed = live_feed(log[:4])
    feed.heard(EPOCH, log[5])
    after = feed.ask()
    feed.heard(EPOCH, log[7])
    assert feed.read(page(log[:6], after=after)) == log[4:6]
    assert feed.behind
    assert read(feed, log) == [*log[6:8]]


def test_what_is_heard_while_a_page_is_read_and_stands_in_it_asks_for_no_other_one() -> None:
    log = history(8)
    feed = live_feed(log[:4])
    feed.heard(EPOCH, log[5])
    after = feed.ask()
    feed.heard(EPOCH, log[7])
    assert feed.read(page(log, after=after)) == log[4:]
    assert (feed.behind, feed.state) == (False, FeedState.LIVE)


def test_a_page_that_does_not_reach_the_end_asks_for_another_one() -> None:
    log = history(8)
    feed = live_feed(log[:2])
    feed.doubt(FeedState.DEAF)
    assert feed.read(page(log, after=feed.ask(), most=2)) == log[2:4]
    assert (feed.behind, feed.state) == (True, FeedState.DEAF)
    read(feed, log)
    assert feed.position == at(log, 8)


def test_a_rumour_that_the_log_does_not_confirm_is_forgotten() -> None:
    log = history(4)
    feed = live_feed(log[:4])
    feed.heard("ffffffff", log[0])
    assert feed.behind
    assert read(feed, log) == []
    assert feed.state is FeedState.LIVE


def test_a_doubt_that_comes_while_a_page_is_read_needs_a_page_of_its_own() -> None:
    log = history(5)
    feed = live_feed(log[:4])
    feed.doubt(FeedState.STALLED)
    after = feed.ask()
    feed.doubt(FeedState.SYNCING)  # The subscription stands only now: the page was read before.
    assert feed.read(page(log[:4], after=after)) == ()
    assert (feed.behind, feed.state) == (True, FeedState.SYNCING)
    assert read(feed, log) == [log[4]]


def test_a_doubt_is_not_settled_by_what_an_older_page_brings() -> None:
    log = history(8)
    feed = live_feed(log[:4])
    feed.doubt(FeedState.STALLED)
    after = feed.ask()
    feed.doubt(FeedState.SYNCING)
    assert feed.read(page(log[:7], after=after)) == log[4:7]
    assert (feed.behind, feed.state) == (True, FeedState.SYNCING)
    assert read(feed, log) == [log[7]]


@pytest.mark.parametrize("rumour", [(EPOCH, 3), (EPOCH, 4), (EPOCH, 5), (OTHER_EPOCH, 1), (OTHER_EPOCH, 9)])
def test_a_rumour_of_another_history_is_not_settled_by_a_page_of_the_old_one(rumour: tuple[str, int]) -> None:
    log = history(6)
    feed = live_feed(log[:4])
    feed.heard(EPOCH, log[5])
    after = feed.ask()
    assert not feed.heard(rumour[0], history(9, salt=1)[rumour[1] - 1])
    feed.read(page(log, after=after))
    assert feed.behind
    assert read(feed, log) == []
    assert feed.state is FeedState.LIVE


def test_a_doubt_before_the_first_page_changes_only_the_state() -> None:
    feed = Feed("c")
    feed.doubt(FeedState.STALLED)
    assert (feed.state, feed.position) == (FeedState.STALLED, None)


def test_another_history_under_the_same_numbers_is_noticed() -> None:
    ours, theirs = history(6), history(7, salt=1)
    feed = live_feed(ours[:4])
    feed.heard(EPOCH, ours[4])
    feed.heard(EPOCH, ours[5])
    assert not feed.heard(EPOCH, theirs[5])
    assert feed.behind
    assert feed.read(page(theirs, after=feed.ask())) is Break.FORK
    assert feed.position == at(ours, 6), "a break changes nothing"
    feed.restart(at(theirs, 7))
    assert feed.ring == ()
    assert feed.tail(at(ours, 5)) is None
    read(feed, theirs)
    assert feed.position == at(theirs, 7)


def test_an_entry_of_another_history_is_not_taken_as_the_next() -> None:
    ours, theirs = history(4), history(5, salt=1)
    feed = live_feed(ours[:4])
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
        (page([*history(6), history(8)[7]], after=4), history(6)[4:]),
        (page([*history(4), history(8)[7]], after=4), Break.TRIMMED),
        (page([*history(5), replace(history(6)[5], prev=1)], after=4), Break.FORK),
    ],
)
def test_follow(found: Page, wanted: Break | tuple[Entry, ...]) -> None:
    assert follow(at(history(4), 4), found) == wanted


def test_the_tail_reaches_back_as_far_as_the_ring() -> None:
    log = history(9)
    feed = live_feed(log[:3], ring_entries=4)
    for entry in log[3:]:
        assert feed.heard(EPOCH, entry)
    assert feed.ring == log[5:]
    assert feed.tail(at(log, 9)) == ()
    assert feed.tail(at(log, 7)) == log[7:]
    assert feed.tail(at(log, 5)) == log[5:]
    assert feed.tail(at(log, 4)) is None
    assert feed.entry(6) == log[5]
    assert feed.entry(9) == log[8]
    assert feed.entry(5) is None
    assert feed.entry(10) is None
    assert Feed("c").entry(1) is None


def test_an_old_entry_that_the_ring_has_forgotten_is_too_old_to_matter() -> None:
    log = history(9)
    feed = live_feed(log, known=2)
    assert not feed.heard(EPOCH, history(3, salt=1)[2])
    assert not feed.behind


def test_the_tail_is_refused_to_a_position_of_another_history() -> None:
    log, other = history(9), history(12, salt=1)
    feed = live_feed(log[:3])
    assert Feed("c").tail(at(log, 3)) is None
    for entry in log[3:]:
        feed.heard(EPOCH, entry)
    assert feed.tail(at(other, 9)) is None
    assert feed.tail(at(other, 7)) is None
    assert feed.tail(at(other, 12)) is None
    assert feed.tail(Position(epoch="0000000b", seq=7, nonce=log[6].nonce)) is None


def test_what_is_rewound_is_void_and_the_rest_stays() -> None:
    ours, theirs = history(8), history(7, salt=1, after=history(5))
    feed = live_feed(ours)
    feed.rewind(at(ours, 5))
    assert feed.position == at(ours, 5)
    assert feed.ring == ours[:5]
    assert (feed.behind, feed.state) == (True, FeedState.SYNCING)
    for seq in (6, 7, 8):
        assert feed.void_after(at(ours, seq)) == at(ours, 5)
    assert feed.void_after(at(ours, 5)) is None
    assert feed.void_after(at(ours, 7, epoch=OTHER_EPOCH)) is None
    assert read(feed, theirs) == [*theirs[5:]]
    assert feed.void_after(at(theirs, 7)) is None
    assert feed.tail(at(ours, 7)) is None


def test_a_feed_may_be_rewound_to_just_before_its_ring() -> None:
    log = history(8)
    feed = live_feed(log, known=3)
    feed.rewind(at(log, 5))
    assert (feed.position, feed.ring) == (at(log, 5), ())
    assert feed.void_after(at(log, 6)) == at(log, 5)


def test_a_second_rewind_makes_void_what_the_first_one_went_back_to() -> None:
    log = history(8)
    feed = live_feed(log)
    feed.rewind(at(log, 5))
    feed.rewind(at(log, 3))
    for seq in (4, 5, 6, 7, 8):
        assert feed.void_after(at(log, seq)) == at(log, 3)


def test_what_was_void_and_then_happened_after_all_is_void_no_longer() -> None:
    log = history(8)
    feed = live_feed(log)
    feed.rewind(at(log, 5))
    read(feed, log[:7])
    assert feed.void_after(at(log, 7)) is None
    assert feed.void_after(at(log, 8)) == at(log, 5)
    assert feed.tail(at(log, 6)) == log[6:7]


def test_only_the_newest_void_entries_are_remembered() -> None:
    ours = history(VOID_KEPT + 10)
    feed = live_feed(ours, ring_entries=2 * VOID_KEPT, known=2 * VOID_KEPT)
    feed.rewind(at(ours, VOID_KEPT))
    theirs = history(2 * VOID_KEPT, salt=1, after=ours[:VOID_KEPT])
    read(feed, theirs, most=VOID_KEPT)
    feed.rewind(at(ours, VOID_KEPT))
    assert len(feed._void) == VOID_KEPT
    assert feed.void_after(at(theirs, VOID_KEPT + 1)) == at(ours, VOID_KEPT)
    assert feed.void_after(at(ours, VOID_KEPT + 10)) is None


def test_without_a_position_nothing_can_be_read_or_rewound() -> None:
    feed = Feed("c")
    with pytest.raises(AssertionError):
        feed.read(page(history(3), after=0))
    with pytest.raises(AssertionError):
        feed.rewind(at(history(3), 1))


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


def test_the_largest_and_smallest_numbers_are_taken() -> None:
    low, high = 0, 2**32 - 1
    assert parse_fan_out(f"{EPOCH} 1 {low} {low} {low} m - 1")[1].nonce == low
    assert parse_fan_out(f"{EPOCH} {2**53 - 1} {high} {high} {2**53 - 1} m - 1")[1].seq == 2**53 - 1


@pytest.mark.parametrize("text", ["", "hello", f"{EPOCH} x 2 1 5 m - 1", f"{EPOCH} 7 2 1 5 m -"])
def test_nonsense_on_the_fast_road_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_fan_out(text)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *((0, value) for value in ("0", "-1", str(2**53))),
        *((1, value) for value in ("-1", str(2**32))),
        *((2, value) for value in ("-1", str(2**32))),
        *((3, value) for value in ("-1", str(2**53))),
        *((4, value) for value in ("", "\u00fc", "a\tb", 'a"b', "a\\b")),
    ],
)
def test_what_no_codec_could_deliver_is_refused_on_both_roads(part: int, value: str) -> None:
    words = ["7", "2", "1", "5", "m"]
    words[part] = value
    seq, nonce, prev, ts, name = words
    with pytest.raises(RemoteProtocolError):
        parse_fan_out(f"{EPOCH} {seq} {nonce} {prev} {ts} {name} - 1")
    with pytest.raises(RemoteProtocolError):
        parse_stored(f"{seq}-0", {"nonce": nonce, "prev": prev, "id": name, "ts": ts, "data": "1", "encoding": "-"})


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
