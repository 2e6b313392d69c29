"""How a log and a copy of its end are brought together after a failover."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sample_cluster.core.feed import Break, Entry, Page, follow
from sample_cluster.core.messages import Position
from sample_cluster.core.repair import Repair, plan_repair, read_from
from tests.support.history import EPOCH, OTHER_EPOCH, at, history, page


@dataclass
class Log:
    """A log that takes repairs as `restore.lua` does."""

    entries: list[Entry]
    epoch: str = EPOCH

    def read(self, after: int) -> Page:
        return page(self.entries, after=after, epoch=self.epoch, most=100_000)

    def restore(self, repair: Repair) -> bool:
        if self.read(0).end != repair.end:
            return False
        assert all(entry.seq > self.read(0).top for entry in repair.entries[:1])
        self.epoch = repair.epoch
        self.entries += repair.entries
        return True

    def check(self, *, after: int = 0) -> None:
        """No id twice, numbers that rise, and a chain that only a hole interrupts."""
        ids = [entry.id for entry in self.entries if entry.seq > after]
        assert len(ids) == len({*ids})
        for before, entry in zip(self.entries, self.entries[1:], strict=False):
            assert entry.seq > before.seq
            assert entry.seq > before.seq + 1 or entry.prev == before.nonce


def plan(ours: Position, ring: Sequence[Entry], log: Log, *, seed: int = 1) -> Repair | None:
    return plan_repair(ours, ring, log.read(read_from(ours, ring)), Random(seed))


def test_where_nobody_has_written_the_missing_entries_go_back_as_they_were() -> None:
    ours = history(9)
    log = Log([*ours[:6]])
    repair = plan(at(ours, 9), ours[3:], log)
    assert repair == Repair(end=at(ours, 6), epoch=EPOCH, entries=ours[6:], to=None)
    assert log.restore(repair)
    assert log.entries == [*ours]


def test_a_log_that_ends_just_before_the_ring_takes_all_of_it() -> None:
    ours = history(9)
    assert plan(at(ours, 9), ours[6:], Log([*ours[:6]])) == Repair(
        end=at(ours, 6), epoch=EPOCH, entries=ours[6:], to=None
    )


@pytest.mark.parametrize("first", [0, 4, 9])
def test_a_log_that_is_ours_needs_nothing(first: int) -> None:
    ours = history(9)
    assert plan(at(ours, 9), ours[first:], Log([*ours])) == Repair(end=at(ours, 9), epoch=EPOCH, entries=(), to=None)


def test_what_others_wrote_in_its_place_makes_ours_void_and_ours_follows_with_new_numbers() -> None:
    ours = history(8)
    theirs = history(7, salt=1, after=ours[:5])
    log = Log([*theirs])
    repair = plan(at(ours, 8), ours, log)
    assert repair is not None
    assert (repair.end, repair.epoch, repair.to) == (at(theirs, 7), EPOCH, at(ours, 5))
    assert not repair.last_resort
    assert [(entry.seq, entry.id, entry.data) for entry in repair.entries] == [
        (8, "m-6", "6"),
        (9, "m-7", "7"),
        (10, "m-8", "8"),
    ]
    assert {entry.nonce for entry in repair.entries}.isdisjoint(entry.nonce for entry in ours)
    assert log.restore(repair)
    assert follow(at(ours, 5), log.read(5)) == tuple(log.entries[5:])


def test_what_is_written_again_keeps_everything_but_its_place() -> None:
    ours = [*history(3)]
    ours[2] = replace(ours[2], ts=77, data='"eA=="', encoding="base64")
    repair = plan(at(ours, 3), ours, Log([*history(3, salt=1, after=ours[:2])]))
    assert repair is not None
    (entry,) = repair.entries
    assert replace(entry, seq=3, nonce=ours[2].nonce, prev=ours[2].prev) == ours[2]


def test_what_others_have_written_again_already_is_not_written_twice() -> None:
    ours = history(8)
    theirs = [*history(7, salt=1, after=ours[:5])]
    theirs[5] = replace(theirs[5], id="m-7")
    repair = plan(at(ours, 8), ours, Log(theirs))
    assert repair is not None
    assert [entry.id for entry in repair.entries] == ["m-6", "m-8"]
    assert repair.to == at(ours, 5)


def test_what_was_not_read_to_its_end_is_not_written_behind() -> None:
    ours = history(8)
    theirs = history(9, salt=1, after=ours[:5])
    part = replace(page(theirs, after=0), entries=theirs[:7])
    repair = plan_repair(at(ours, 8), ours, part, Random(1))
    assert repair == Repair(end=at(theirs, 9), epoch=EPOCH, entries=(), to=at(ours, 5))


def test_the_shared_place_may_be_just_before_the_ring() -> None:
    ours = history(8)
    theirs = history(6, salt=1, after=ours[:5])
    repair = plan(at(ours, 8), ours[5:], Log([*theirs]))
    assert repair is not None
    assert repair.to == at(ours, 5)
    assert [entry.id for entry in repair.entries] == ["m-6", "m-7", "m-8"]


def test_the_shared_place_is_known_from_what_follows_it_when_it_was_trimmed_itself() -> None:
    ours = history(8)
    theirs = history(7, salt=1, after=ours[:5])
    trimmed = Log([entry for entry in theirs if entry.seq > 5])
    repair = plan(at(ours, 8), ours, trimmed)
    assert repair is not None
    assert repair.to == at(ours, 5)
    assert [entry.id for entry in repair.entries] == ["m-6", "m-7", "m-8"], "what is shared is not written again"


def test_histories_that_share_nothing_cannot_be_brought_together() -> None:
    ours, theirs = history(8), history(9, salt=1)
    assert plan(at(ours, 8), ours[3:], Log([*theirs])) is None
    assert plan(at(ours, 8), (), Log([*theirs])) is None
    assert plan(at(ours, 8), ours[3:], Log([*theirs[:3]])) is None


def test_a_copy_without_a_ring_has_nothing_to_put_back() -> None:
    ours = history(8)
    assert plan(at(ours, 8), (), Log([*ours[:5]])) is None
    assert plan(at(ours, 8), (), Log([], epoch=OTHER_EPOCH)) is None
    assert read_from(at(ours, 8), ()) == 6


def test_an_empty_log_takes_the_whole_ring_under_our_epoch() -> None:
    ours = history(8)
    log = Log([], epoch=OTHER_EPOCH)
    repair = plan(at(ours, 8), ours[3:], log)
    assert repair == Repair(end=log.read(0).end, epoch=EPOCH, entries=ours[3:], to=None)
    assert log.restore(repair)
    assert log.read(0).end == at(ours, 8)
    log.check()


def test_a_log_that_lost_more_than_a_ring_holds_gets_the_ring_behind_its_end_as_a_last_resort() -> None:
    ours = history(9)
    log = Log([*ours[:3]])
    repair = plan_repair(at(ours, 9), ours[5:], log.read(0), Random(1))
    assert repair is not None
    assert (repair.end, repair.to, repair.last_resort) == (at(ours, 3), None, True)
    assert [(entry.seq, entry.id) for entry in repair.entries] == [(4, "m-6"), (5, "m-7"), (6, "m-8"), (7, "m-9")]
    assert {entry.nonce for entry in repair.entries}.isdisjoint(entry.nonce for entry in ours)
    assert log.restore(repair)
    log.check()
    again = plan_repair(at(ours, 9), ours[8:], log.read(0), Random(2))
    assert again is not None
    assert again.entries == (), "whoever comes second finds its entries there"


def test_another_history_that_has_begun_stays() -> None:
    ours = history(8)
    assert plan(at(ours, 8), ours, Log([*history(1, salt=1)], epoch=OTHER_EPOCH)) is None


def test_a_damaged_log_is_not_repaired_again_and_again() -> None:
    ours = history(5)
    damaged = [*history(6)]
    damaged[5] = replace(damaged[5], prev=1)
    assert follow(at(ours, 5), Log(damaged).read(5)) is Break.FORK
    assert plan(at(ours, 5), ours, Log(damaged)) is None


def test_the_log_is_read_from_before_the_ring() -> None:
    ours = history(9)
    assert read_from(at(ours, 9), ours[4:]) == 3
    assert read_from(at(ours, 9), ours) == 0


@dataclass
class Copy:
    """A node's copy, with what its clients were told."""

    position: Position
    ring: tuple[Entry, ...]
    planned: Repair | None = None
    gave_up: bool = False
    seed: int = 0
    void: list[int] = field(default_factory=list)

    def look(self, log: Log) -> None:
        """Make a plan, or take what the log has."""
        found = follow(self.position, log.read(self.position.seq))
        if isinstance(found, tuple):
            self.ring += found
            if found:
                self.position = Position(epoch=log.epoch, seq=found[-1].seq, nonce=found[-1].nonce)
        elif found is Break.TRIMMED:
            rest = log.read(self.position.seq)
            self.position, self.ring = rest.start, ()
        else:
            self.planned = plan(self.position, self.ring, log, seed=self.seed)
            self.seed += 1
            if self.planned is None:
                self.gave_up = True
                self.position, self.ring = log.read(0).end, ()

    def carry_out(self, log: Log) -> None:
        """Do what was planned; if the log has moved meanwhile, nothing."""
        repair, self.planned = self.planned, None
        assert repair is not None
        if repair.entries and not log.restore(repair):
            return
        if repair.to is not None:
            to = repair.to
            self.void += [entry.seq for entry in self.ring if entry.seq > to.seq]
            self.ring = tuple(entry for entry in self.ring if entry.seq <= to.seq)
            self.position = to

    def agrees(self, log: Log) -> bool:
        return self.planned is None and self.position == log.read(0).end


@st.composite
def failovers(draw: st.DrawFn) -> tuple[tuple[Entry, ...], Log, int]:
    """Return a history, the log after a failover, and how much of the history is left in it.

    What others wrote meanwhile are messages of their own, and some of the lost ones that publishers sent again.
    """
    ours = history(draw(st.integers(1, 12)))
    left = draw(st.integers(0, len(ours)))
    theirs = [*history(left + draw(st.integers(0, 6)), salt=1, after=ours[:left])]
    again = draw(st.lists(st.sampled_from(ours[left:]), unique=True)) if left < len(ours) else []
    places = draw(st.permutations(range(left, len(theirs))))
    for place, entry in zip(places, again, strict=False):
        theirs[place] = replace(theirs[place], id=entry.id)
    return ours, Log(theirs), left


@given(failover=failovers(), kept=st.integers(1, 12), seed=st.integers(0, 99))
def test_after_a_repair_everything_is_in_the_log_once_and_nothing_is_left_to_do(
    failover: tuple[tuple[Entry, ...], Log, int], kept: int, seed: int
) -> None:
    ours, log, left = failover
    ring = ours[-kept:]
    assume(left >= ring[0].seq - 1)
    before = [*log.entries]
    if len(before) == left == 0:
        log.epoch = OTHER_EPOCH
    copy = Copy(at(ours, len(ours)), ring, seed=seed)
    for _ in range(4):
        if not copy.agrees(log):
            copy.look(log)
        if copy.planned is not None:
            copy.carry_out(log)
    assert not copy.gave_up
    log.check(after=left)
    assert {entry.id for entry in ring} <= {entry.id for entry in log.entries} | {entry.id for entry in ours[:left]}
    assert log.entries[: len(before)] == before, "what others have written stays"
    assert copy.agrees(log)
    assert copy.void == ([*range(left + 1, len(ours) + 1)] if len(before) > left and left < len(ours) else [])
    done = plan(copy.position, copy.ring, log)
    assert done is not None
    assert (done.entries, done.to) == ((), None)


@given(
    failover=failovers(),
    kept=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seen=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    turns=st.lists(st.integers(0, 1), max_size=12),
)
def test_two_nodes_that_repair_one_log_in_any_order_come_to_agree(
    failover: tuple[tuple[Entry, ...], Log, int], kept: tuple[int, int], seen: tuple[int, int], turns: list[int]
) -> None:
    ours, log, left = failover
    copies = []
    for index in (0, 1):
        top = min(len(ours), max(seen[index], 1))
        ring = ours[max(0, top - kept[index]) : top]
        assume(left >= ring[0].seq - 1)  # What a ring does not reach is lost, and another story.
        copies.append(Copy(at(ours, top), ring, seed=100 * index))
    for index in [*turns, *[0, 1] * 12]:
        copy = copies[index]
        if copy.planned is not None:
            copy.carry_out(log)
        elif not copy.agrees(log):
            copy.look(log)
    log.check(after=left)
    for copy in copies:
        assert copy.agrees(log)
        assert not copy.gave_up
        assert all(log.entries[entry.seq - 1] == entry for entry in copy.ring)
    held = {entry.id for copy in copies for entry in copy.ring}
    assert held <= {entry.id for entry in log.entries}
