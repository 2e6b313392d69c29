import random

from hypothesis import given
from hypothesis import strategies as st

from tests.support.facts import BOOT, T0, event
from wsmon.model.ledger import EVENTS_KEPT, GRACE_S, HOLES_MAX, PATIENCE_S, SOURCES_MAX, EventLedger
from wsmon.protocol.events import DrainAborted
from wsmon.protocol.frames import EventFrame


def fact(seq: int, *, at: float = T0, source: str = "fleet", boot: int = BOOT) -> EventFrame:
    return event(DrainAborted(node="n1"), at, seq=seq, source=source, boot=boot)


def take(ledger: EventLedger, *frames: EventFrame, heard_at: float = T0) -> list[bool]:
    return [ledger.take(frame, at=frame.at, heard_at=heard_at) is not None for frame in frames]


def seqs(ledger: EventLedger) -> list[int]:
    return [recorded.event.seq for recorded in ledger]


def test_the_same_event_by_two_roads_counts_once() -> None:
    ledger = EventLedger()
    assert take(ledger, fact(1), fact(2), fact(1), fact(2)) == [True, True, False, False]
    assert (len(ledger), ledger.taken, ledger.duplicates) == (2, 2, 2)


def test_a_hole_is_lost_after_the_grace_and_found_again_if_it_is_filled() -> None:
    ledger = EventLedger()
    take(ledger, fact(1), fact(5))
    assert ledger.lost(T0 + GRACE_S, redis_since=0.0) == 0
    assert ledger.lost(T0 + GRACE_S + 1, redis_since=0.0) == 3
    assert take(ledger, fact(3)) == [True]
    assert ledger.lost(T0 + GRACE_S + 1, redis_since=0.0) == 2
    assert take(ledger, fact(2), fact(4), fact(3)) == [True, True, False]
    assert ledger.lost(T0 + 1_000, redis_since=0.0) == 0


def test_a_hole_waits_for_redis_but_not_for_ever() -> None:
    ledger = EventLedger()
    take(ledger, fact(1), fact(3))
    assert ledger.lost(T0 + 30, redis_since=None) == 0
    assert ledger.lost(T0 + 30, redis_since=T0 + 28) == 0
    assert ledger.lost(T0 + 30, redis_since=T0 + 20) == 1
    assert ledger.lost(T0 + PATIENCE_S + 1, redis_since=None) == 1


def test_history_read_after_the_first_live_event_goes_before_it() -> None:
    ledger = EventLedger()
    take(ledger, fact(10, at=T0 + 10), fact(7, at=T0 + 7), fact(8, at=T0 + 8), fact(9, at=T0 + 9))
    assert seqs(ledger) == [7, 8, 9, 10]
    assert ledger.lost(T0 + 1_000, redis_since=0.0) == 0
    assert ledger.highest("fleet") == 10
    assert ledger.highest("nobody") == 0


def test_what_an_earlier_life_says_is_ignored_and_its_holes_are_lost() -> None:
    ledger = EventLedger()
    take(ledger, fact(1), fact(3), fact(1, boot=BOOT + 1))
    assert take(ledger, fact(2)) == [False]
    assert ledger.outdated == 1
    assert ledger.lost(T0, redis_since=None) == 1


def test_the_ledger_keeps_the_newest_and_its_order() -> None:
    ledger = EventLedger(kept=3)
    take(ledger, *(fact(seq, at=T0 + seq) for seq in (2, 4, 6, 8)))
    assert seqs(ledger) == [4, 6, 8]
    assert take(ledger, fact(1, at=T0 + 1)) == [True]
    assert seqs(ledger) == [4, 6, 8]
    take(ledger, fact(7, at=T0 + 7))
    assert seqs(ledger) == [6, 7, 8]
    assert [recorded.event.seq for recorded in ledger.newest(2)] == [7, 8]
    assert [recorded.event.seq for recorded in ledger.newest(9)] == [6, 7, 8]


def test_neither_holes_nor_sources_nor_events_grow_without_bound() -> None:
    ledger = EventLedger()
    top = 10 * HOLES_MAX
    take(ledger, *(fact(2 * seq) for seq in range(top)))
    take(ledger, *(fact(seq, source=f"s{seq}", boot=1) for seq in range(2 * SOURCES_MAX)))
    assert len(ledger._sources) == SOURCES_MAX
    assert len(ledger) == EVENTS_KEPT
    assert ledger.lost(T0 + 1_000, redis_since=0.0) == top - 1


def test_splitting_one_hole_again_and_again_stays_bounded() -> None:
    ledger = EventLedger()
    take(ledger, fact(0), fact(1_000_000))
    take(ledger, *(fact(seq) for seq in range(2, 2_000, 2)))
    assert len(ledger._sources["fleet"].holes) <= HOLES_MAX


@given(
    st.sets(st.integers(0, 60), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=40),
)
def test_any_order_of_two_roads_gives_the_same_events_once(
    numbers: set[int], dice: random.Random, names: list[str]
) -> None:
    told = [fact(seq, at=T0 + seq, source=source) for seq in numbers for source in sorted(set(names))]
    socket, redis = list(told), list(told)
    dice.shuffle(socket)
    dice.shuffle(redis)
    both = socket + redis
    dice.shuffle(both)
    mixed, straight = EventLedger(), EventLedger()
    take(mixed, *both)
    take(straight, *told)
    key = [(recorded.event.source, recorded.event.seq) for recorded in straight]
    assert [(recorded.event.source, recorded.event.seq) for recorded in mixed] == key
    assert mixed.taken == len(told)
    assert mixed.duplicates == len(told)
    late = T0 + 1_000
    assert mixed.lost(late, redis_since=0.0) == straight.lost(late, redis_since=0.0)
