"""How a feed is brought to the end of its log, step by step, against a server that does what it likes meanwhile."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.catch_up import (
    BEGIN_ENTRIES,
    FORK_LOOKS,
    FORK_PAUSE_S,
    PAGE_ENTRIES,
    REPAIR_ENTRIES,
    Answer,
    Begun,
    Jumps,
    Pause,
    ReadAfter,
    ReadRecent,
    Restore,
    Step,
    Took,
    catch_up,
)
from sample_cluster.core.feed import Entry, Feed, FeedState, parse_fan_out
from sample_cluster.core.messages import Position, Resync, Rewind
from tests.support.history import EPOCH, OTHER_EPOCH, at, history, live_feed, page, recent
from tests.support.model_redis import Keyspace, ModelRedis
from tests.support.script_calls import append_call, restore_call

KEY = "wsc:t:c:{c}"
UNANSWERED_S = 0.7


class Work:
    """One run of the procedure, advanced by hand."""

    def __init__(self, feed: Feed, dice: Random | None = None) -> None:
        self.feed = feed
        self._work: Generator[Step, Answer, None] = catch_up(feed, dice or Random(1), unanswered_s=UNANSWERED_S)
        self.done = False

    def send(self, answer: Answer = None) -> Step | None:
        """Return the next step, None at the end."""
        try:
            return self._work.send(answer)
        except StopIteration:
            self.done = True
            return None

    def finish(self, log: Sequence[Entry]) -> None:
        """Go on to the end with nothing but pages of `log`."""
        step = self.send(None)
        while step is not None:
            step = self.send(page(log, after=step.after, most=step.most) if isinstance(step, ReadAfter) else None)


def doubtful(entries: Sequence[Entry], *, known: int = 1_024) -> Feed:
    """Return a feed at the end of `entries` that has to look."""
    feed = live_feed(entries, known=known)
    feed.doubt(FeedState.DEAF)
    return feed


def test_a_feed_that_is_not_behind_needs_nothing() -> None:
    work = Work(live_feed(history(3)))
    assert work.send() is None


def test_a_new_feed_begins_with_the_newest_entries_and_looks_once_more() -> None:
    log = history(7)
    work = Work(Feed("c"))
    assert work.send() == ReadRecent(BEGIN_ENTRIES)
    assert work.send(recent(log[:5], most=BEGIN_ENTRIES)) == Begun()
    assert work.feed.position == at(log, 5)
    assert work.send() == ReadAfter(5, PAGE_ENTRIES)
    assert work.send(page(log, after=5)) == Took(log[5:])
    assert work.send() == Pause(0)
    assert work.send() is None
    assert work.feed.state is FeedState.LIVE


def test_a_new_feed_waits_for_redis() -> None:
    work = Work(Feed("c"))
    assert work.send() == ReadRecent(BEGIN_ENTRIES)
    assert work.send(None) == Pause(UNANSWERED_S)
    assert work.send() == ReadRecent(BEGIN_ENTRIES)


def test_pages_are_read_until_there_are_no_more() -> None:
    log = history(9)
    work = Work(doubtful(log[:2]))
    assert work.send() == ReadAfter(2, PAGE_ENTRIES)
    assert work.send(None) == Pause(UNANSWERED_S)
    assert work.send() == ReadAfter(2, PAGE_ENTRIES)
    assert work.send(page(log, after=2, most=4)) == Took(log[2:6])
    assert work.send() == Pause(0)
    assert work.send() == ReadAfter(6, PAGE_ENTRIES)
    assert work.send(page(log, after=6)) == Took(log[6:])
    assert work.send() == Pause(0)
    assert work.send() is None


def test_an_empty_page_delivers_nothing() -> None:
    log = history(3)
    work = Work(doubtful(log))
    work.send()
    assert work.send(page(log, after=3)) == Pause(0)
    assert work.send() is None


def test_what_was_trimmed_is_named_and_the_feed_goes_on_behind_it() -> None:
    log = history(9)
    work = Work(doubtful(log[:2]))
    work.send()
    told = Resync(channel="c", reason="trimmed", have=2, first=6, top=9, position=at(log, 5))
    assert work.send(page(log, after=2, trimmed=5)) == Jumps(told)
    assert work.feed.position == at(log, 2), "listeners are told before"
    assert work.send() == ReadAfter(5, PAGE_ENTRIES)
    assert work.send(page(log, after=5)) == Took(log[5:])


def test_a_hole_in_the_log_is_named() -> None:
    log = history(9)
    holed = [*log[:4], *log[6:]]
    work = Work(doubtful(log[:2]))
    work.send()
    assert work.send(page(holed, after=2)) == Took(log[2:4])
    assert work.send() == Pause(0)
    assert work.send() == ReadAfter(4, PAGE_ENTRIES)
    told = Resync(channel="c", reason="trimmed", have=4, first=7, top=9, position=at(log, 6))
    assert work.send(page(holed, after=4)) == Jumps(told)


def test_a_log_that_lacks_our_newest_entries_gets_them_back_and_nobody_is_told() -> None:
    log = history(9)
    work = Work(doubtful(log, known=6))
    assert work.send() == ReadAfter(9, PAGE_ENTRIES)
    assert work.send(page(log[:7], after=9)) == ReadAfter(2, REPAIR_ENTRIES)
    assert work.feed.state == "forked"
    step = work.send(page(log[:7], after=2))
    assert isinstance(step, Restore)
    assert (step.repair.entries, step.repair.to) == (log[7:], None)
    assert work.send(True) == ReadAfter(9, PAGE_ENTRIES)
    work.send(page(log, after=9))
    assert work.send() is None
    assert work.feed.state is FeedState.LIVE
    assert work.feed.position == at(log, 9)


def test_what_others_wrote_in_place_of_ours_makes_a_rewind_after_ours_was_written_again() -> None:
    ours = history(6)
    theirs = history(5, salt=1, after=ours[:4])
    work = Work(doubtful(ours))
    work.send()
    work.send(page(theirs, after=6))
    step = work.send(page(theirs, after=0))
    assert isinstance(step, Restore)
    assert [entry.id for entry in step.repair.entries] == ["m-5", "m-6"]
    told = Rewind(channel="c", to=4, void=(5, 6), position=at(ours, 4))
    assert work.send(True) == Jumps(told)
    assert work.feed.position == at(ours, 6), "listeners are told before"
    assert work.send() == ReadAfter(4, PAGE_ENTRIES)
    assert work.feed.void_after(at(ours, 6)) == at(ours, 4)
    new = (*theirs, *step.repair.entries)
    assert work.send(page(new, after=4)) == Took(new[4:])
    assert work.send() == Pause(0)
    assert work.send() is None


def test_what_is_in_the_log_already_is_only_rewound_to() -> None:
    ours = history(6)
    theirs = [*history(6, salt=1, after=ours[:4])]
    theirs[4:] = [replace(theirs[4], id="m-5"), replace(theirs[5], id="m-6")]
    work = Work(doubtful(ours))
    work.send()
    work.send(page(theirs, after=6))
    assert isinstance(work.send(page(theirs, after=0)), Jumps)


def test_who_comes_second_looks_again() -> None:
    log = history(6)
    work = Work(doubtful(log))
    work.send()
    work.send(page(log[:5], after=6))
    assert isinstance(work.send(page(log[:5], after=0)), Restore)
    assert work.send(False) == ReadAfter(6, PAGE_ENTRIES)
    work.send(page(log, after=6))
    assert work.send() is None


def test_a_repair_that_nobody_answered_is_looked_at_again_after_a_while() -> None:
    log = history(6)
    work = Work(doubtful(log))
    work.send()
    work.send(page(log[:5], after=6))
    work.send(page(log[:5], after=0))
    assert work.send(None) == Pause(UNANSWERED_S)
    assert work.send() == ReadAfter(6, PAGE_ENTRIES)


def test_a_look_that_nobody_answered_is_made_again_after_a_while() -> None:
    log = history(6)
    work = Work(doubtful(log))
    work.send()
    assert isinstance(work.send(page(log[:5], after=6)), ReadAfter)
    assert work.send(None) == Pause(UNANSWERED_S)
    assert work.send() == ReadAfter(6, PAGE_ENTRIES)


@pytest.mark.parametrize("moved_at", ["look", "restore"])
def test_a_feed_that_went_on_meanwhile_is_not_rewound(moved_at: str) -> None:
    ours = history(6)
    theirs = history(5, salt=1, after=ours[:4])
    work = Work(doubtful(ours))
    work.send()
    work.send(page(theirs, after=6))
    if moved_at == "look":
        work.feed.restart(at(theirs, 5))
        assert work.send(page(theirs, after=0)) == ReadAfter(5, PAGE_ENTRIES)
    else:
        assert isinstance(work.send(page(theirs, after=0)), Restore)
        work.feed.restart(at(theirs, 5))
        assert work.send(True) == ReadAfter(5, PAGE_ENTRIES)
    assert work.feed.position == at(theirs, 5)


def test_a_fork_that_we_cannot_mend_is_left_to_others_for_a_second_and_then_told() -> None:
    ours, theirs = history(6), history(8, salt=1)
    work = Work(doubtful(ours, known=2))
    for _ in range(FORK_LOOKS):
        assert work.send() == ReadAfter(6, PAGE_ENTRIES)
        work.send(page(theirs, after=6))
        assert work.send(page(theirs, after=3)) == Pause(FORK_PAUSE_S)
    work.send()
    work.send(page(theirs, after=6))
    assert work.send(page(theirs, after=3)) == ReadAfter(0, 1)
    told = Resync(channel="c", reason="fork", have=6, first=3, top=8, position=at(theirs, 8))
    assert work.send(page(theirs, after=0, most=1, trimmed=2)) == Jumps(told)
    work.finish(theirs)
    assert work.feed.position == at(theirs, 8)


def test_a_fork_that_others_mend_meanwhile_is_not_told() -> None:
    log, theirs = history(6), history(8, salt=1)
    work = Work(doubtful(log, known=2))
    work.send()
    work.send(page(theirs, after=6))
    work.send(page(theirs, after=3))
    assert work.send() == ReadAfter(6, PAGE_ENTRIES)
    assert work.send(page(log, after=6)) == Pause(0)
    assert work.send() is None


def test_a_ring_that_a_log_has_lost_sight_of_is_written_again_when_nobody_else_helps() -> None:
    ours = history(20)
    log = ours[:5]
    work = Work(doubtful(ours, known=3))
    for _ in range(FORK_LOOKS):
        work.send()
        work.send(page(log, after=20))
        assert work.send(page(log, after=16)) == ReadRecent(REPAIR_ENTRIES)
        assert work.send(recent(log, most=REPAIR_ENTRIES)) == Pause(FORK_PAUSE_S)
    work.send()
    work.send(page(log, after=20))
    assert work.send(page(log, after=16)) == ReadRecent(REPAIR_ENTRIES)
    step = work.send(recent(log, most=REPAIR_ENTRIES))
    assert isinstance(step, Restore)
    assert [(entry.seq, entry.id) for entry in step.repair.entries] == [(6, "m-18"), (7, "m-19"), (8, "m-20")]
    told = work.send(True)
    assert isinstance(told, Jumps)
    assert isinstance(told.told, Resync)
    assert (told.told.reason, told.told.have, told.told.position) == ("fork", 20, at(ours, 5))
    new = (*log, *step.repair.entries)
    assert work.send() == ReadAfter(5, PAGE_ENTRIES)
    assert work.send(page(new, after=5)) == Took(new[5:])


@pytest.mark.parametrize(("top", "sight"), [(15, False), (16, False), (17, True), (18, True)])
def test_a_log_that_reaches_the_ring_is_in_sight(top: int, sight: bool) -> None:
    work = Work(doubtful(history(20), known=3))
    log = history(top, salt=1)
    work.send()
    work.send(page(log, after=20))
    step = work.send(page(log, after=16))
    assert step == (Pause(FORK_PAUSE_S) if sight else ReadRecent(REPAIR_ENTRIES))


def test_a_feed_that_went_on_while_its_last_resort_was_looked_for_has_no_need_of_it() -> None:
    ours = history(20)
    work = Work(doubtful(ours, known=3))
    work.send()
    work.send(page(ours[:5], after=20))
    assert work.send(page(ours[:5], after=16)) == ReadRecent(REPAIR_ENTRIES)
    work.feed.restart(at(ours, 4))
    assert work.send(recent(ours[:5], most=REPAIR_ENTRIES)) == ReadAfter(4, PAGE_ENTRIES)


@pytest.mark.parametrize("answer", [None, (), (1,)])
def test_a_last_resort_needs_to_know_what_the_log_has(answer: tuple[int, ...] | None) -> None:
    """No page, a page that has some of it, and a page that has nothing of it."""
    ours = history(20)
    log = (*ours[:5], *(replace(ours[16 + number], seq=6, prev=ours[4].nonce, nonce=5) for number in answer or ()))
    work = Work(doubtful(ours, known=3))
    step: Step | None = None
    for _ in range(FORK_LOOKS + 1):
        work.send()
        work.send(page(log, after=20))
        assert work.send(page(log, after=16)) == ReadRecent(REPAIR_ENTRIES)
        step = work.send(None if answer is None else recent(log, most=REPAIR_ENTRIES))
    if answer is None:
        assert step == Pause(UNANSWERED_S)
    else:
        assert isinstance(step, Restore)
        missing = {"m-18", "m-19", "m-20"} - {entry.id for entry in log}
        assert {entry.id for entry in step.repair.entries} == missing


def test_another_epoch_that_has_begun_is_told_at_once_and_read_from_its_start() -> None:
    ours, theirs = history(6), history(2, salt=1)
    work = Work(doubtful(ours))
    work.send()
    assert work.send(page(theirs, after=6, epoch=OTHER_EPOCH)) == ReadAfter(0, REPAIR_ENTRIES)
    assert work.send(page(theirs, after=0, epoch=OTHER_EPOCH)) == ReadAfter(0, 1)
    told = Resync(channel="c", reason="epoch", have=6, first=1, top=2, position=at((), 0, epoch=OTHER_EPOCH))
    assert work.send(page(theirs, after=0, most=1, epoch=OTHER_EPOCH)) == Jumps(told)
    assert work.send() == ReadAfter(0, PAGE_ENTRIES)
    assert work.send(page(theirs, after=0, epoch=OTHER_EPOCH)) == Took(theirs)


def test_an_empty_log_of_another_epoch_gets_everything_back() -> None:
    ours = history(6)
    work = Work(doubtful(ours, known=3))
    work.send()
    work.send(page((), after=6, epoch=OTHER_EPOCH))
    step = work.send(page((), after=2, epoch=OTHER_EPOCH))
    assert isinstance(step, Restore)
    assert (step.repair.epoch, step.repair.entries) == (EPOCH, ours[3:])


def test_an_empty_log_of_another_epoch_that_we_cannot_fill_is_left_to_others_for_a_second() -> None:
    work = Work(doubtful(history(6), known=0))
    for _ in range(FORK_LOOKS):
        work.send()
        work.send(page((), after=6, epoch=OTHER_EPOCH))
        assert work.send(page((), after=4, epoch=OTHER_EPOCH)) == Pause(FORK_PAUSE_S)
    work.send()
    work.send(page((), after=6, epoch=OTHER_EPOCH))
    assert work.send(page((), after=4, epoch=OTHER_EPOCH)) == ReadAfter(0, 1)
    assert work.send(None) == Pause(FORK_PAUSE_S), "nobody answers: look again before giving up"
    assert work.send() == ReadAfter(6, PAGE_ENTRIES)


def test_after_a_page_was_taken_a_fork_gets_its_full_patience_again() -> None:
    ours, theirs = history(6), history(8, salt=1)
    work = Work(doubtful(ours, known=2))
    for _ in range(FORK_LOOKS):
        work.send()
        work.send(page(theirs, after=6))
        work.send(page(theirs, after=3))
    work.send()
    assert isinstance(work.send(page(history(7), after=6)), Took)
    work.feed.doubt(FeedState.DEAF)
    work.send()
    work.send()
    work.send(page(theirs, after=7))
    assert work.send(page(theirs, after=3)) == Pause(FORK_PAUSE_S)


def test_giving_up_half_way_leaves_the_feed_behind_and_it_can_be_started_again() -> None:
    log = history(9)
    work = Work(doubtful(log[:2]))
    work.send()
    work.send(page(log, after=2, most=3))
    work._work.close()
    assert work.feed.behind
    again = Work(work.feed)
    again.finish(log)
    assert work.feed.position == at(log, 9)


class Listener:
    """What a client that gets everything a feed takes is told, and whether that makes sense."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self.places: list[Position] = []
        self.resyncs = 0

    def begun(self, position: Position) -> None:
        self.position, self.places = position, [position]

    def take(self, epoch: str, entry: Entry) -> None:
        here = self.position
        assert here is not None
        assert (epoch, entry.seq, entry.prev) == (here.epoch, here.seq + 1, here.nonce)
        self.position = Position(epoch=epoch, seq=entry.seq, nonce=entry.nonce)
        self.places.append(self.position)

    def told(self, told: Resync | Rewind) -> None:
        here = self.position
        assert here is not None
        match told:
            case Rewind(to=to, void=void, position=position):
                assert (to, void) == (position.seq, (position.seq + 1, here.seq))
                assert to < here.seq
                if position.seq < self.places[0].seq:  # Where it began is void, too.
                    self.begun(position)
                    return
                assert position in self.places, "only what was there can be gone back to"
                del self.places[self.places.index(position) + 1 :]
                self.position = position
            case Resync(have=have, position=position):
                assert have == here.seq
                self.resyncs += 1
                self.begun(position)


class Node:
    """A feed and what brings it to the end, one step at a time."""

    def __init__(self, world: "World", name: str, ring: int) -> None:
        self.world = world
        self.name = name
        self.feed = Feed("c", ring_entries=ring)
        self.listener = Listener()
        self.mail: list[str] = []
        self._work: Work | None = None
        self._answer: Answer = None

    def hear(self) -> None:
        """Take the oldest of what pub/sub brought."""
        epoch, entry = parse_fan_out(self.mail.pop(0))
        if self.feed.heard(epoch, entry):
            self.listener.take(epoch, entry)

    def step(self) -> None:
        """Do the next step, of which the answer is seen only at the one after that."""
        if self._work is None or self._work.done:
            if not self.feed.behind:
                return
            self._work, self._answer = Work(self.feed, self.world.dice), None
        step = self._work.send(self._answer)
        self._answer = None
        match step:
            case ReadRecent(most=most):
                self._answer = self.world.read(None, most)
            case ReadAfter(after=after, most=most):
                self._answer = self.world.read(after, most)
            case Restore(repair=repair):
                done = self.world.server.run(restore_call(KEY, repair)) == ["ok"]
                self._answer = None if self.world.flaky() else done
            case Took(entries=entries):
                assert self.feed.position is not None
                for entry in entries:
                    self.listener.take(self.feed.position.epoch, entry)
            case Jumps(told=told):
                self.listener.told(told)
            case Begun():
                assert self.feed.position is not None
                self.listener.begun(self.feed.position)
            case Pause() | None:
                pass


class World:
    """A server that loses and forgets, nodes that follow one channel, and strangers that write to it."""

    def __init__(self, seed: int, *, kinds: str, ring: int = 1_024) -> None:
        self.dice = Random(seed)
        self.kinds = kinds
        self.server = ModelRedis(self._publish)
        self.trouble = True
        self.nodes = [Node(self, name, ring) for name in ("n1", "n2", "n3")]
        self.replica = Keyspace()
        self.cseq = {"p": 0, "q": 0}
        self.epoch = EPOCH

    def flaky(self) -> bool:
        return self.trouble and self.dice.random() < 0.1

    def read(self, after: int | None, most: int) -> Answer:
        if self.flaky():
            return None
        if after is not None:
            most = min(most, self.dice.choice((3, 50, most)))  # A long log, in short.
        return self.server.page(KEY, epoch=self.epoch, after=after, most=most)

    def _publish(self, _channel: str, text: str) -> None:
        for node in self.nodes:
            if not self.trouble or self.dice.random() < 0.7:
                node.mail.append(text)

    def publish(self) -> None:
        """Publish the next message of somebody, or one of the last again, by a node or by a stranger."""
        who = self.dice.choice(("p", "q"))
        cseq = self.cseq[who] + 1
        if self.dice.random() < 0.3:
            cseq = max(1, cseq - self.dice.randint(1, 3))
        node = self.dice.choice([*self.nodes, None])
        seen = None if node is None else node.feed.position
        nonce = self.dice.getrandbits(32)
        reply = self.server.run(
            append_call(KEY, publisher=who, cseq=cseq, nonce=nonce, seen=seen, epoch=self.epoch, data=f"{who}{cseq}")
        )
        if reply[0] == "ok":
            self.cseq[who] = max(cseq, self.cseq[who])
        elif reply[0] == "fork":
            assert node is not None
            if not node.feed.behind:
                node.feed.doubt(FeedState.FORKED)

    def disaster(self) -> None:
        match self.dice.choice(self.kinds):
            case "c":
                self.replica = self.server.snapshot()
            case "p":
                self.server.keys = self.replica
                self.replica = self.server.snapshot()
            case "t":
                self.server.trim(KEY, self.dice.randint(0, 6))
            case "l":
                self.server.keys = Keyspace()
                self.epoch = f"{self.dice.getrandbits(32):08x}"
            case "d":
                self.dice.choice(self.nodes).feed.doubt(FeedState.SYNCING)
            case _:
                raise AssertionError

    def run(self, turns: int) -> None:
        for _ in range(turns):
            node = self.dice.choice(self.nodes)
            chance = self.dice.random()
            if chance < 0.35:
                self.publish()
            elif chance < 0.6 and node.mail:
                node.hear()
            elif chance < 0.97:
                node.step()
            else:
                self.disaster()

    def settle(self) -> None:
        """Let everybody come to the end, as the comparison every few seconds does in a node."""
        self.trouble = False
        for _ in range(4):
            for node in self.nodes:
                while node.mail:
                    node.hear()
                node.feed.doubt(FeedState.DEAF)
            for _ in range(200):
                for node in self.nodes:
                    node.step()
            for node in self.nodes:
                while node.mail:
                    node.hear()

    def log(self) -> tuple[Entry, ...]:
        answer = self.server.page(KEY, epoch=self.epoch, after=0, most=100_000)
        return answer.entries

    def check(self) -> None:
        """Everybody is at the end of the log, and what they hold is what stands there."""
        end = self.server.page(KEY, epoch=self.epoch, after=0, most=0).end
        kept = {entry.seq: entry for entry in self.log()}
        for node in self.nodes:
            assert not node.feed.behind
            assert node.feed.state is FeedState.LIVE
            assert node.feed.position == node.listener.position == end
            for entry in node.feed.ring:
                assert kept.get(entry.seq, entry) == entry


@given(seed=st.integers(0, 1 << 32))
def test_whatever_the_network_does_every_feed_comes_to_the_end_and_is_told_everything(seed: int) -> None:
    world = World(seed, kinds="d")
    world.run(400)
    world.settle()
    world.check()
    assert all(node.listener.resyncs == 0 for node in world.nodes)


@given(seed=st.integers(0, 1 << 32))
def test_whatever_is_trimmed_is_named_and_nothing_else_is_missed(seed: int) -> None:
    world = World(seed, kinds="dt")
    world.run(400)
    world.settle()
    world.check()


@given(seed=st.integers(0, 1 << 32))
def test_whatever_a_failover_loses_every_feed_ends_with_the_same_log_and_each_message_once(seed: int) -> None:
    world = World(seed, kinds="dcp")
    world.run(400)
    world.settle()
    world.check()
    ids = [entry.id for entry in world.log()]
    assert len(ids) == len({*ids})


@given(seed=st.integers(0, 1 << 32))
def test_whatever_a_failover_loses_beyond_the_rings_every_feed_ends_with_the_same_log_and_each_message_once(
    seed: int,
) -> None:
    world = World(seed, kinds="dddcp", ring=4)
    world.run(400)
    world.settle()
    world.check()
    ids = [entry.id for entry in world.log()]
    assert len(ids) == len({*ids})


@given(seed=st.integers(0, 1 << 32))
def test_whatever_happens_all_at_once_every_feed_ends_with_the_same_log(seed: int) -> None:
    world = World(seed, kinds="dcptl")
    world.run(400)
    world.settle()
    world.check()
