"""A client's place in a channel."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sample_cluster.core.messages import Message, Position, Resync, Rewind, Subscribe, Subscribed
from sample_cluster.core.outbox import Outbox
from sample_cluster.core.subscription import (
    REMEMBERED,
    REMEMBERED_SLACK,
    ROUNDS_MAX,
    State,
    Subscription,
    Verdict,
)

ROOM = "room.1"
EPOCH = "0000abcd"


def position(seq: int, epoch: str = EPOCH) -> Position:
    """Return a place whose nonce is derived from its number."""
    return Position(epoch=epoch, seq=seq, nonce=seq * 10)


def message(seq: int, *, prev: int | None = None, name: str | None = None, nonce: int | None = None) -> Message:
    """Return the entry `seq` of the one true history, unless `prev` or `nonce` say otherwise."""
    before = (seq - 1) * 10 if prev is None else prev
    own = seq * 10 if nonce is None else nonce
    return Message(channel=ROOM, seq=seq, nonce=own, prev=before, id=f"m{seq}" if name is None else name, ts=0, data=0)


def rewind(to: int, last: int, epoch: str = EPOCH) -> Rewind:
    """Return what tells that `to` + 1 to `last` never happened."""
    return Rewind(channel=ROOM, to=to, void=(to + 1, last), position=position(to, epoch))


def resync(reason: str, have: int, at: Position) -> Resync:
    """Return what tells to go on at `at`."""
    return Resync(channel=ROOM, reason=reason, have=have, first=at.seq + 1, top=at.seq + 2, position=at)


def live(seq: int = 0) -> Subscription:
    """Return a subscription that a node has taken at `seq`."""
    subscription = Subscription(ROOM)
    assert subscription.ask(1) == Subscribe(id=1, channel=ROOM, start="now")
    assert subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(seq)))
    return subscription


def test_messages_in_order_are_delivered_and_the_position_goes_first() -> None:
    subscription = live()
    for seq in (1, 2, 3):
        assert subscription.take(message(seq)) is Verdict.DELIVER
        assert subscription.position == position(seq)


def test_old_messages_are_dropped() -> None:
    subscription = live(5)
    assert subscription.take(message(5)) is Verdict.DUPLICATE
    assert subscription.take(message(1)) is Verdict.DUPLICATE
    assert subscription.live


@pytest.mark.parametrize("odd", [message(3), message(3, prev=0), message(1, prev=77)])
def test_a_hole_or_another_history_is_asked_about_from_the_own_position(odd: Message) -> None:
    subscription = live()
    assert subscription.take(odd) is Verdict.ASK
    assert not subscription.live
    assert subscription.ask(2) == Subscribe(id=2, channel=ROOM, start=position(0))
    # What was on its way is ignored, unless it happens to fit.
    assert subscription.take(message(4)) is Verdict.IGNORE
    assert subscription.take(message(1)) is Verdict.DELIVER
    assert subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(0), replay=1))
    assert subscription.take(message(1)) is Verdict.DUPLICATE
    assert subscription.take(message(2)) is Verdict.DELIVER


def test_only_the_answer_to_the_last_request_counts() -> None:
    subscription = Subscription(ROOM)
    assert subscription.take(message(1)) is Verdict.IGNORE
    subscription.ask(1)
    subscription.ask(2)
    assert not subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(9)))
    assert subscription.position is None
    assert subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(4)))
    assert subscription.position == position(4)


def test_after_a_loss_the_own_position_is_asked_for_and_kept() -> None:
    subscription = live(4)
    subscription.disconnected()
    assert not subscription.live
    assert subscription.ask(2).start == position(4)
    subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(7), replay=3))
    assert subscription.take(message(5)) is Verdict.DELIVER


def test_a_subscription_from_the_start_takes_the_first_message_wherever_history_begins() -> None:
    subscription = Subscription(ROOM, "start")
    assert subscription.ask(1).start == "start"
    subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(0), replay=2))
    assert subscription.take(message(501)) is Verdict.DELIVER
    assert subscription.take(message(502)) is Verdict.DELIVER
    assert subscription.take(message(504)) is Verdict.ASK


def test_a_subscription_can_begin_at_a_known_position() -> None:
    subscription = Subscription(ROOM, position(7))
    assert subscription.ask(1).start == position(7)
    subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(9), replay=2))
    assert subscription.take(message(8)) is Verdict.DELIVER


def test_a_node_that_never_sends_what_fits_is_broken() -> None:
    subscription = live()
    for request in range(2, 2 + ROUNDS_MAX):
        assert subscription.take(message(9)) is Verdict.ASK
        subscription.ask(request)
        subscription.subscribed(Subscribed(id=request, channel=ROOM, position=position(0)))
    assert subscription.take(message(9)) is Verdict.BROKEN


def test_a_resync_names_what_is_missing() -> None:
    subscription = live(3)
    told = resync("trimmed", 3, position(7))
    assert subscription.resync(told) == 4
    assert subscription.take(message(8)) is Verdict.DELIVER
    assert subscription.resync(resync("fork", 8, position(5))) == 0
    assert subscription.position == position(5)
    assert subscription.resync(resync("epoch", 5, position(2, "0000beef"))) == 2
    fresh = Subscription(ROOM)
    assert fresh.resync(told) == 0
    assert (fresh.position, fresh.live) == (position(7), True)


def test_history_that_was_trimmed_behind_us_moves_nothing() -> None:
    subscription = live(9)
    assert subscription.resync(resync("trimmed", 3, position(7))) == 0
    assert (subscription.position, subscription.live) == (position(9), True)


def test_a_resync_answers_a_request_and_the_answer_that_follows_it_changes_nothing() -> None:
    subscription = live(3)
    subscription.ask(2)
    subscription.resync(resync("trimmed", 3, position(7)))
    assert subscription.live
    assert subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(7)))
    assert (subscription.position, subscription.live) == (position(7), True)


@pytest.mark.parametrize(
    ("offered", "resumed", "fresh", "ask", "state"),
    [
        (True, True, False, False, State.LIVE),
        (True, False, True, False, State.FRESH),
        (True, True, True, False, State.LIVE),
        (True, False, False, True, State.IDLE),
        (False, True, False, True, State.IDLE),
        (False, False, True, True, State.IDLE),
    ],
)
def test_a_channel_goes_on_as_the_welcome_says_if_its_position_was_offered(
    *, offered: bool, resumed: bool, fresh: bool, ask: bool, state: State
) -> None:
    subscription = live(4)
    subscription.ask(9)
    assert subscription.welcomed(offered=offered, resumed=resumed, fresh=fresh) is ask
    assert (subscription.state, subscription.asked, subscription.position) == (state, None, position(4))


def test_a_channel_that_never_began_is_not_offered_and_has_to_be_asked_for() -> None:
    subscription = Subscription(ROOM, "start")
    assert subscription.resumable is None
    assert subscription.welcomed(offered=True, resumed=True, fresh=False)
    subscription.ask(1)
    subscription.subscribed(Subscribed(id=1, channel=ROOM, position=position(0), replay=9))
    # Where its history begins is not known before the first message.
    assert subscription.resumable is None
    assert subscription.ask(2).start == "start"
    subscription.subscribed(Subscribed(id=2, channel=ROOM, position=position(0), replay=9))
    assert subscription.take(message(7)) is Verdict.DELIVER
    assert subscription.resumable == position(7)


def test_a_fresh_channel_waits_for_its_resync_and_asks_if_there_is_none() -> None:
    subscription = live(4)
    subscription.disconnected()
    subscription.welcomed(offered=True, resumed=False, fresh=True)
    assert subscription.state is State.FRESH
    assert subscription.take(message(4)) is Verdict.DUPLICATE
    assert subscription.take(message(9)) is Verdict.ASK
    subscription.resync(resync("expired", 4, position(8)))
    assert subscription.live
    assert subscription.take(message(9)) is Verdict.DELIVER


def test_a_rewind_goes_back_and_says_how_much_of_what_was_handed_out_is_void() -> None:
    subscription = live(4)
    for seq in range(5, 10):
        subscription.take(message(seq))
    assert subscription.rewind(rewind(6, 9)) == 3
    assert subscription.position == position(6)
    assert subscription.take(message(7, nonce=71, name="new")) is Verdict.DELIVER
    # Before the subscription began nothing was handed out.
    assert subscription.rewind(rewind(2, 7)) == 3
    assert subscription.rewind(rewind(1, 2)) == 0


@pytest.mark.parametrize("to", [3, 4])
def test_a_rewind_takes_a_fresh_channel_up(to: int) -> None:
    subscription = live(4)
    subscription.welcomed(offered=True, resumed=False, fresh=True)
    subscription.rewind(rewind(to, 5))
    assert (subscription.live, subscription.position) == (True, position(to))


def test_a_resync_to_the_own_position_says_that_nothing_is_missing() -> None:
    subscription = live(0)
    subscription.take(message(1))
    subscription.welcomed(offered=True, resumed=False, fresh=True)
    assert subscription.resync(resync("expired", 1, position(1))) == 0
    assert subscription.live
    assert subscription.take(message(2, name="m1")) is Verdict.DELIVER


def test_what_is_void_ahead_of_us_changes_nothing() -> None:
    subscription = live(4)
    assert subscription.rewind(rewind(4, 9)) == 0
    assert subscription.rewind(rewind(6, 9)) == 0
    assert subscription.position == position(4)
    unknown = Subscription(ROOM)
    assert unknown.rewind(rewind(6, 9)) == 0
    assert unknown.position is None


def test_a_rewind_into_another_log_makes_everything_void() -> None:
    subscription = live(0)
    for seq in (1, 2, 3):
        subscription.take(message(seq))
    assert subscription.rewind(rewind(7, 9, "0000beef")) == 3
    assert subscription.position == position(7, "0000beef")
    assert subscription.take(message(8, name="m2")) is Verdict.REWRITTEN


def test_what_was_handed_out_before_a_fork_is_not_handed_out_when_it_is_written_again() -> None:
    subscription = live()
    for seq in range(1, 6):
        subscription.take(message(seq))
    subscription.rewind(rewind(2, 5))
    assert subscription.take(message(3, nonce=31, name="new")) is Verdict.DELIVER
    assert subscription.take(message(4, prev=31, nonce=41, name="m4")) is Verdict.REWRITTEN
    assert subscription.take(message(5, prev=41, nonce=51, name="m3")) is Verdict.REWRITTEN
    assert subscription.position == Position(epoch=EPOCH, seq=5, nonce=51)
    # The next fork takes some of that back again.
    subscription.rewind(Rewind(channel=ROOM, to=3, void=(4, 5), position=Position(epoch=EPOCH, seq=3, nonce=31)))
    assert subscription.take(message(4, prev=31, nonce=42, name="m3")) is Verdict.REWRITTEN
    assert subscription.take(message(5, prev=42, nonce=52, name="new")) is Verdict.DELIVER


def test_a_jump_of_an_earlier_cursor_makes_the_answer_to_a_question_useless() -> None:
    subscription = live()
    for seq in range(1, 6):
        subscription.take(message(seq))
    subscription.ask(7)
    subscription.resync(resync("expired", 2, position(2)))
    assert not subscription.subscribed(Subscribed(id=7, channel=ROOM, position=position(5)))
    assert subscription.state is State.IDLE
    assert subscription.ask(8).start == position(2)
    assert subscription.subscribed(Subscribed(id=8, channel=ROOM, position=position(2)))
    subscription.ask(9)
    subscription.resync(resync("fork", 2, position(9)))
    assert subscription.subscribed(Subscribed(id=9, channel=ROOM, position=position(9))), "it belongs to this question"


@pytest.mark.parametrize("reason", ["fork", "trimmed", "epoch"])
def test_after_a_resync_any_of_the_newest_messages_may_be_written_again(reason: str) -> None:
    subscription = live()
    subscription.take(message(1))
    subscription.resync(resync(reason, 1, position(7)))
    assert subscription.take(message(8, name="m1")) is Verdict.REWRITTEN


def test_a_message_without_an_id_is_never_taken_for_another() -> None:
    subscription = live()
    subscription.take(message(1, name=""))
    subscription.rewind(rewind(0, 1))
    assert subscription.take(message(1, name="")) is Verdict.DELIVER


def test_a_fork_before_anything_was_taken_has_nothing_to_remember() -> None:
    subscription = live(5)
    assert subscription.rewind(rewind(3, 5)) == 0
    assert subscription.take(message(4)) is Verdict.DELIVER


def test_the_newest_ids_are_remembered_and_no_more() -> None:
    subscription, last = live(), 4 * REMEMBERED
    for seq in range(1, last + 1):
        subscription.take(message(seq))
    hashes = subscription._seen._hashes
    assert hashes is not None
    assert REMEMBERED <= len(hashes) < REMEMBERED + REMEMBERED_SLACK
    subscription.rewind(rewind(0, last))
    assert subscription.take(message(1, name=f"m{last}")) is Verdict.REWRITTEN
    assert subscription.take(message(2, name=f"m{last - REMEMBERED + 1}")) is Verdict.REWRITTEN
    assert subscription.take(message(3, name="m1")) is Verdict.DELIVER


def test_a_fork_matters_for_so_many_messages_and_forks_upon_forks_stay_bounded() -> None:
    subscription = live()
    subscription.take(message(1))
    subscription.rewind(rewind(0, 1))
    for seq in range(1, REMEMBERED + 1):
        assert subscription.take(message(seq, name=f"x{seq}")) is Verdict.DELIVER
    assert subscription.take(message(REMEMBERED + 1, name="m1")) is Verdict.DELIVER
    for life in range(20):
        for seq in range(1, 301):
            subscription.take(message(REMEMBERED + 1 + seq, name=f"{life}-{seq}"))
        subscription.rewind(rewind(REMEMBERED + 1, REMEMBERED + 301))
    assert len(subscription._seen._forked) <= 2 * REMEMBERED


@given(plan=st.lists(st.integers(-2, 3), max_size=200))
def test_whatever_is_skipped_or_repeated_each_message_is_handed_out_once_in_order(plan: list[int]) -> None:
    subscription, delivered, cursor, request = live(), list[int](), 1, 1
    for step in plan:
        cursor = max(1, cursor + step)
        verdict = subscription.take(message(cursor))
        if verdict is Verdict.DELIVER:
            delivered.append(cursor)
        elif verdict is Verdict.ASK:
            request += 1
            subscription.ask(request)
            assert subscription.position is not None
            cursor = subscription.position.seq + 1
            subscription.subscribed(Subscribed(id=request, channel=ROOM, position=subscription.position, replay=1))
            assert subscription.take(message(cursor)) is Verdict.DELIVER
            delivered.append(cursor)
    assert delivered == list(range(1, len(delivered) + 1))


class Histories(RuleBasedStateMachine):
    """A channel whose log forks and is trimmed, a client that comes and goes, and frames that get lost in between.

    The node here serves what the protocol allows. Whatever the order of things, the client hands a message out once
    and in the order of the log, unless it was told of a jump.
    """

    @initialize()
    def begin(self) -> None:
        """Subscribe to an empty log."""
        self.log: list[Message] = []
        self.first = 1
        self.written = 0
        self.wire: list[Message | Resync | Rewind | Subscribed] = []
        self.subscription = Subscription(ROOM, position(0))
        self.connected = False
        self.ever: set[str] = set()
        self.delivered: list[tuple[int, str]] = []
        """Since the last jump."""
        self.requests = 0
        self.outbox = Outbox(8)
        self.answered: dict[int, int] = {}
        self.appended: dict[tuple[int, str, int], int] = {}
        self.session = 1

    def place(self, seq: int) -> Position:
        """Return the log's place."""
        return Position(epoch=EPOCH, seq=seq, nonce=self.log[seq - 1].nonce if seq else 0)

    def append(self, name: str) -> Message:
        """Append an entry."""
        self.written += 1
        end = self.place(len(self.log))
        entry = message(end.seq + 1, prev=end.nonce, nonce=self.written * 7, name=name)
        self.log.append(entry)
        return entry

    def serve(self, start: Position) -> bool:
        """Put what follows `start` on the wire; return whether the log continues it."""
        good = start.seq <= len(self.log) and self.place(start.seq) == start and start.seq >= self.first - 1
        if not good:
            fork = start.seq >= self.first - 1
            at = self.place(len(self.log) if fork else self.first - 1)
            self.wire.append(resync("fork" if fork else "trimmed", start.seq, at))
            start = at
        self.wire.extend(self.log[start.seq :])
        return good

    @precondition(lambda self: not self.connected)
    @rule(lists=st.booleans())
    def connect(self, *, lists: bool) -> None:
        """A node takes the client; it may do without naming the channel."""
        here = self.subscription.resumable
        self.connected, self.wire = True, []
        if here is not None and lists:
            good = self.serve(here)
            assert not self.subscription.welcomed(offered=True, resumed=good, fresh=not good)
        else:
            assert self.subscription.welcomed(offered=here is not None, resumed=False, fresh=False)
            self.ask()

    def ask(self) -> None:
        """Ask and let the node answer."""
        self.requests += 1
        asked = self.subscription.ask(self.requests)
        start = asked.start
        assert isinstance(start, Position)
        begin = len(self.wire)
        self.serve(start)
        first = self.wire[begin] if len(self.wire) > begin else None
        at = first.position if isinstance(first, Resync) else start
        self.wire.insert(begin + isinstance(first, Resync), Subscribed(id=asked.id, channel=ROOM, position=at))

    @precondition(lambda self: self.connected)
    @rule()
    def disconnect(self) -> None:
        """What was on its way is gone."""
        self.connected, self.wire = False, []
        self.subscription.disconnected()

    @rule(told=st.booleans())
    def write(self, *, told: bool) -> None:
        """Somebody publishes; the fast path may lose it."""
        entry = self.append(f"w{self.written}")
        if self.connected and told:
            self.wire.append(entry)

    @rule(lost=st.integers(1, 5), again=st.booleans())
    def fork(self, lost: int, *, again: bool) -> None:
        """The newest entries never happened; they may be written again."""
        keep = max(self.first - 1, len(self.log) - lost)
        void = self.log[keep:]
        if not void:
            return
        del self.log[keep:]
        if self.connected:
            told = Rewind(channel=ROOM, to=keep, void=(keep + 1, keep + len(void)), position=self.place(keep))
            self.wire.append(told)
        for entry in void if again else ():
            rewritten = self.append(entry.id)
            if self.connected:
                self.wire.append(rewritten)

    @rule(count=st.integers(1, 5))
    def trim(self, count: int) -> None:
        """The oldest entries are forgotten."""
        self.first = min(self.first + count, len(self.log) + 1)

    @precondition(lambda self: bool(self.wire))
    @rule(count=st.integers(1, 8))
    def arrive(self, count: int) -> None:
        """Frames arrive."""
        for _ in range(min(count, len(self.wire))):
            match self.wire.pop(0):
                case Message() as arrived:
                    self.take(arrived)
                case Resync() as told:
                    moved = self.subscription.position
                    self.subscription.resync(told)
                    self.jumped(moved)
                case Rewind() as told_back:
                    moved = self.subscription.position
                    self.subscription.rewind(told_back)
                    self.jumped(moved)
                case Subscribed() as answer:
                    self.subscription.subscribed(answer)

    def jumped(self, before: Position | None) -> None:
        """Numbers begin elsewhere, if the client moved at all."""
        if self.subscription.position != before:
            self.delivered = []

    def take(self, arrived: Message) -> None:
        """A message arrives."""
        before = self.subscription.position
        verdict = self.subscription.take(arrived)
        if verdict in (Verdict.DELIVER, Verdict.REWRITTEN):
            self.delivered.append((arrived.seq, arrived.id))
            assert (arrived.id in self.ever) == (verdict is Verdict.REWRITTEN)
            self.ever.add(arrived.id)
        else:
            assert self.subscription.position == before
        if verdict is Verdict.ASK:
            self.ask()
        elif verdict is Verdict.BROKEN:
            self.disconnect()

    @rule(odd=st.integers(0, 9), wrong=st.integers(1, 9))
    def nonsense_arrives(self, odd: int, wrong: int) -> None:
        """What fits nothing leaves everything as it is, but for a question."""
        subscription = self.subscription
        before = (subscription.position, subscription.asked)
        assert not subscription.subscribed(Subscribed(id=self.requests + wrong, channel=ROOM, position=position(odd)))
        here = subscription.position
        assert here is not None
        ahead = dataclasses.replace(rewind(here.seq + odd, here.seq + 10), position=position(here.seq + odd))
        assert subscription.rewind(ahead) == 0
        assert (subscription.position, subscription.asked) == before

    @rule()
    def publish(self) -> None:
        """Publish while there is room."""
        if not self.outbox.full:
            self.outbox.add(ROOM, None)

    @rule(count=st.integers(0, 8), answers=st.integers(0, 8))
    def send_unanswered(self, count: int, answers: int) -> None:
        """Some of what is unanswered reaches the log, in order; some answers come back."""
        for frame in self.outbox.unanswered()[:count]:
            self.appended.setdefault((self.session, frame.channel, frame.cseq), len(self.appended))
        for frame in self.outbox.unanswered()[: min(count, answers)]:
            ticket = self.outbox.settle(frame.channel, frame.cseq)
            assert ticket is not None
            assert ticket not in self.answered
            self.answered[ticket] = self.appended[self.session, frame.channel, frame.cseq]
            assert self.outbox.settle(frame.channel, frame.cseq) is None

    @rule()
    def begin_a_session(self) -> None:
        """The cluster forgot the client."""
        before = len(self.outbox)
        self.outbox.renumber()
        self.session += 1
        assert [frame.cseq for frame in self.outbox.unanswered()] == list(range(1, before + 1))

    @invariant()
    def numbers_are_contiguous_between_jumps(self) -> None:
        """Never twice, never out of order, never with a hole."""
        numbers = [seq for seq, _ in self.delivered]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True

    @invariant()
    def answers_follow_the_order_of_publication(self) -> None:
        """A later publish never stands before an earlier one."""
        places = [self.answered[ticket] for ticket in sorted(self.answered)]
        assert places == sorted(set(places))

    def teardown(self) -> None:
        """Once faults stop the client comes to the end of the log."""
        if not hasattr(self, "log"):
            return
        for _ in range(20):
            if self.subscription.position == self.place(len(self.log)):
                break
            if not self.connected:
                self.connect(lists=True)
            while self.wire:
                self.arrive(1)
            if self.subscription.position != self.place(len(self.log)) and self.connected:
                # A feed that heard nothing finds that out by itself and sends what is missing, or the client returns.
                self.disconnect()
        assert self.subscription.position == self.place(len(self.log))


TestHistories = Histories.TestCase
