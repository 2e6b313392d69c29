"""One connection's half of the client protocol, driven by hand: what comes in, what is to be done."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.claim import Claimed, Expired, Granted, Owner, Revoked, Stale, Unknown
from sample_cluster.core.feed import Break, Entry, Feed, FeedState, Page
from sample_cluster.core.messages import (
    Ack,
    Auth,
    ClientFrame,
    Error,
    Hello,
    Limits,
    NodeFrame,
    Pong,
    Position,
    Publish,
    Reconnect,
    Resume,
    Resync,
    Rewind,
    Subscribe,
    Subscribed,
    Timings,
    UnknownFrame,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from sample_cluster.core.session import (
    CHANNELS_MOST,
    EARLY_MOST,
    FORK_GRACE_S,
    LOOK_AGAIN_S,
    Attach,
    CatchUp,
    Claim,
    Close,
    Cursor,
    Deliver,
    Detach,
    Effect,
    Follow,
    Phase,
    Read,
    Release,
    Send,
    Session,
    Source,
    Terms,
    Welcomed,
    Zombie,
    entry_size,
)
from sample_cluster.errors import RemoteProtocolError
from tests.support.history import EPOCH, OTHER_EPOCH, at, history, live_feed, page, read

TERMS = Terms(
    node="n1",
    boot=3,
    timings=Timings(ping_ms=30_000, pong_ms=10_000, misses=3, resume_ttl_ms=60_000, ack_ms=1_000),
    limits=Limits(max_frame=65_536, max_data=512, window=1_024),
    reconnect=Reconnect(spread_ms=5_000, base_ms=1_000, factor=2.0, cap_ms=30_000, jitter=0.5, stable_ms=30_000),
)
ID, SECRET = "0123.abcd", "s3cret"
LOG = history(20)

AnEffect = TypeVar("AnEffect", bound=Effect)
AFrame = TypeVar("AFrame", bound=NodeFrame)


class FakeSignatures:
    """One session is known."""

    def issue(self) -> str:
        return ID

    def secret(self, session: str) -> str:
        return SECRET

    def check(self, session: str, secret: str) -> bool:
        return (session, secret) == (ID, SECRET)


def new_session(*, window: int = 1_024, expect_claims: bool = True) -> Session:
    terms = replace(TERMS, limits=replace(TERMS.limits, window=window))
    return Session(terms, FakeSignatures(), expect_claims=expect_claims)


def serving(*, window: int = 1_024) -> Session:
    """Return a session that was welcomed at 0.0."""
    session = new_session(window=window)
    session.receive(Hello(), 0.0)
    session.claimed(Granted(), 0.0)
    assert session.phase is Phase.SERVING
    session.take()
    return session


def resuming(
    positions: Mapping[str, Position], *, claimed: Claimed | None = None, attempt: int = 2, window: int = 1_024
) -> Session:
    """Return a session whose resume was claimed at 0.0; effects up to there are forgotten."""
    session = new_session(window=window)
    session.receive(Resume(session=ID, secret=SECRET, attempt=attempt, positions=positions), 0.0)
    session.claimed(claimed or Granted(), 0.0)
    session.take()
    return session


def subscribed(
    session: Session,
    feed: Feed,
    start: Position | Literal["now", "start"] = "now",
    *,
    request: int = 1,
    now: float = 0.0,
) -> Cursor:
    """Subscribe to a feed that is there at once; effects are left to be taken."""
    session.receive(Subscribe(id=request, channel=feed.channel, start=start), now)
    cursor = session.cursors[feed.channel]
    session.followed(cursor, feed, now)
    return cursor


def effects_of(session: Session, kind: type[AnEffect]) -> list[AnEffect]:
    """Take all effects and return those of one kind."""
    return [effect for effect in session.take() if isinstance(effect, kind)]


def sent(effects: Sequence[Effect]) -> list[NodeFrame]:
    return [effect.frame for effect in effects if isinstance(effect, Send)]


def only(effects: Sequence[Effect], kind: type[AFrame]) -> AFrame:
    """Return the one frame of a kind."""
    (frame,) = [frame for frame in sent(effects) if isinstance(frame, kind)]
    return frame


def delivered(effects: Sequence[Effect]) -> list[int]:
    return [entry.seq for effect in effects if isinstance(effect, Deliver) for entry in effect.entries]


def flagged(effects: Sequence[Effect]) -> list[int]:
    """Return the numbers of messages that go out as replayed."""
    return [
        entry.seq
        for effect in effects
        if isinstance(effect, Deliver)
        for entry in effect.entries
        if entry.seq <= effect.replay_to
    ]


def kinds(effects: Sequence[Effect]) -> list[str]:
    """Return what is to be done, in a word each; a frame by its own name."""
    return [type(effect.frame if isinstance(effect, Send) else effect).__name__ for effect in effects]


def bring(session: Session, cursor: Cursor, entries: Sequence[Entry], *, now: float = 0.0) -> list[int]:
    """Let a live cursor's feed hear entries; return the numbers of those that the cursor takes, as a hub would ask."""
    feed, taken = cursor.feed, []
    assert feed is not None
    for entry in entries:
        assert feed.heard(EPOCH, entry)
        if cursor.live and session.offer(cursor, entry, entry_size(entry), now):
            taken.append(entry.seq)
    return taken


# Opening.


def test_hello_is_claimed_as_a_new_session_and_then_welcomed() -> None:
    session = new_session()
    assert session.phase is Phase.OPENING
    assert session.deadline == math.inf
    session.receive(Hello(), 5.0)
    assert session.take() == [Claim(ID, 1, new=True)]
    assert not session.claimed_for_sure
    assert (session.phase, session.deadline) == (Phase.CLAIMING, 6.0)
    session.claimed(Granted(), 5.1)
    welcome = Welcome(
        session=ID,
        secret=SECRET,
        attempt=1,
        node="n1",
        boot=3,
        timings=TERMS.timings,
        limits=TERMS.limits,
        reconnect=TERMS.reconnect,
    )
    assert session.take() == [Welcomed(resumed=False), Send(welcome)]
    assert (session.phase, session.claimed_for_sure, session.deadline) == (Phase.SERVING, True, math.inf)


def test_a_node_that_is_alone_claims_nothing() -> None:
    session = new_session(expect_claims=False)
    session.receive(Hello(), 0.0)
    assert kinds(session.take()) == ["Welcomed", "Welcome"]


@pytest.mark.parametrize(
    "frame",
    [
        Pong(ts=1),
        Auth(token="t"),
        Ack(acks={}),
        Subscribe(id=1, channel="c"),
        Unsubscribe(id=1, channel="c"),
        Publish(channel="c", cseq=1, data=1),
        UnknownFrame(type="wat"),
    ],
)
def test_the_first_frame_has_to_open_a_session(frame: ClientFrame | UnknownFrame) -> None:
    session = new_session()
    with pytest.raises(RemoteProtocolError) as caught:
        session.receive(frame, 0.0)
    assert caught.value.code == 4501
    assert (session.phase, session.take(), session.id) == (Phase.OPENING, [], "")
    session.receive(Hello(), 0.0)
    assert session.take() == [Claim(ID, 1, new=True)]


@pytest.mark.parametrize(("name", "secret"), [("made.up", SECRET), (ID, "guessed")])
def test_a_resume_with_bad_credentials_is_closed(name: str, secret: str) -> None:
    session = new_session()
    session.receive(Resume(session=name, secret=secret, attempt=2), 0.0)
    (close,) = session.take()
    assert isinstance(close, Close)
    assert (close.code, session.phase, session.deadline) == (4503, Phase.CLOSED, math.inf)


def test_a_resume_of_too_many_channels_is_refused_and_changes_nothing() -> None:
    session = new_session()
    positions = {f"c{number}": at((), 0) for number in range(CHANNELS_MOST + 1)}
    with pytest.raises(RemoteProtocolError):
        session.receive(Resume(session=ID, secret=SECRET, attempt=2, positions=positions), 0.0)
    assert (session.phase, session.take(), session.cursors) == (Phase.OPENING, [], {})
    del positions["c0"]
    session.receive(Resume(session=ID, secret=SECRET, attempt=2, positions=positions), 0.0)
    assert session.take() == [Claim(ID, 2, new=False)]


@pytest.mark.parametrize("second", [Hello(), Resume(session=ID, secret=SECRET, attempt=9)])
def test_a_session_is_opened_once(second: ClientFrame) -> None:
    session = serving()
    with pytest.raises(RemoteProtocolError):
        session.receive(second, 1.0)
    assert (session.phase, session.attempt, session.take()) == (Phase.SERVING, 1, [])


def test_what_comes_before_the_welcome_is_kept_and_handed_out_after_it() -> None:
    session = new_session()
    session.receive(Hello(), 0.0)
    early = (Subscribe(id=1, channel="c"), Publish(channel="c", cseq=1, data=1), UnknownFrame(type="wat"))
    for frame in early:
        session.receive(frame, 0.0)
    assert session.take_early() == ()
    assert session.take() == [Claim(ID, 1, new=True)]
    session.claimed(Granted(), 0.1)
    assert session.take_early() == early
    assert session.take_early() == ()


def test_too_much_before_the_welcome_breaks_the_protocol_and_is_not_kept() -> None:
    session = new_session()
    session.receive(Hello(), 0.0)
    for number in range(EARLY_MOST):
        session.receive(Pong(ts=number), 0.0)
    with pytest.raises(RemoteProtocolError):
        session.receive(Pong(ts=-1), 0.0)
    session.claimed(Granted(), 0.1)
    assert session.take_early() == tuple(Pong(ts=number) for number in range(EARLY_MOST))


# Claims.


def test_a_resume_is_claimed_with_its_attempt_and_not_as_new() -> None:
    session = new_session()
    session.receive(Resume(session=ID, secret=SECRET, attempt=7), 0.0)
    assert session.take() == [Claim(ID, 7, new=False)]
    session.claimed(Granted(before=Owner(node="n2", connection="x")), 0.0)
    welcomed, welcome = session.take()
    assert welcomed == Welcomed(resumed=True)
    assert isinstance(welcome, Send)
    assert isinstance(welcome.frame, Welcome)
    assert welcome.frame.attempt == 7


def test_a_stale_attempt_is_told_and_closed() -> None:
    session = new_session()
    session.receive(Resume(session=ID, secret=SECRET, attempt=3), 0.0)
    session.take()
    session.claimed(Stale(5), 0.0)
    effects = session.take()
    assert kinds(effects) == ["Error", "Zombie", "Close"]
    assert only(effects, Error).code == "stale_attempt"
    assert effects[1] == Zombie("attempt 3 to resume, after attempt 5")
    assert isinstance(effects[2], Close)
    assert effects[2].code == 4502


@pytest.mark.parametrize(("answer", "code"), [(Stale(2), 4502), (Revoked(), 4504)])
def test_a_session_that_is_lost_later_is_closed_and_lets_go_of_everything(answer: Claimed, code: int) -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG))
    session.take()
    session.claimed(answer, 1.0)
    effects = session.take()
    assert [effect for effect in effects if isinstance(effect, Detach | Release)] == [Detach(cursor), Release(cursor)]
    assert isinstance(effects[-1], Close)
    assert effects[-1].code == code
    assert cursor.closed


def test_while_nobody_knows_the_client_is_served_and_the_claim_is_made_good_later() -> None:
    session = new_session()
    session.receive(Hello(), 0.0)
    session.claimed(Unknown(), 0.1)
    assert (session.phase, session.claimed_for_sure) == (Phase.SERVING, False)
    session.take()
    session.claimed(Expired(), 9.0)
    assert (session.claimed_for_sure, session.take()) == (True, [])


def test_a_claim_that_is_not_answered_in_time_is_unknown() -> None:
    session = new_session()
    session.receive(Hello(), 0.0)
    session.take()
    session.tick(0.9)
    assert session.take() == []
    session.tick(1.0)
    assert kinds(session.take()) == ["Welcomed", "Welcome"]
    assert not session.claimed_for_sure
    session.claimed(Granted(), 1.2)
    assert session.claimed_for_sure


def test_an_answer_after_the_end_changes_nothing() -> None:
    session = new_session()
    session.receive(Hello(), 0.0)
    session.ended()
    session.take()
    session.claimed(Granted(), 0.1)
    session.receive(Subscribe(id=1, channel="c"), 0.2)
    session.tick(9.0)
    session.sweep(9.0)
    assert (session.phase, session.take(), session.deadline) == (Phase.CLOSED, [], math.inf)


# Resume.


def test_a_position_in_the_ring_is_resumed_and_continued_without_a_read() -> None:
    session = resuming({"c": at(LOG, 17)})
    (cursor,) = session.cursors.values()
    assert session.phase is Phase.WEIGHING
    session.followed(cursor, live_feed(LOG), 0.1)
    effects = session.take()
    assert kinds(effects) == ["Welcomed", "Welcome", "Deliver", "Attach"]
    assert (only(effects, Welcome).resumed, only(effects, Welcome).fresh) == (("c",), ())
    assert delivered(effects) == flagged(effects) == [18, 19, 20]
    assert cursor.live
    assert session.sources() == {Source.RING}


def test_every_channel_is_weighed_before_the_welcome() -> None:
    session = resuming({"a": at(LOG, 20), "b": at(LOG, 19)})
    one, other = session.cursors.values()
    session.followed(one, live_feed(LOG, channel="a"), 0.1)
    assert session.take() == []
    session.followed(other, live_feed(LOG, channel="b"), 0.2)
    effects = session.take()
    assert only(effects, Welcome).resumed == ("a", "b")
    assert delivered(effects) == [20]
    assert [effect.cursor for effect in effects if isinstance(effect, Attach)] == [one, other]


def test_a_position_before_the_ring_is_looked_up_in_the_log() -> None:
    session = resuming({"c": at(LOG, 5)})
    (cursor,) = session.cursors.values()
    session.followed(cursor, live_feed(LOG, known=4), 0.1)
    assert session.take() == [Read(cursor, 5)]
    session.look(cursor, 0.1)
    assert session.take() == [], "one read at a time"
    session.page(cursor, page(LOG, after=5), 0.2)
    effects = session.take()
    assert only(effects, Welcome).resumed == ("c",)
    assert [effect for effect in effects if isinstance(effect, Read)] == [Read(cursor, 5)]
    session.page(cursor, page(LOG, after=5, most=3), 0.3)
    effects = session.take()
    assert kinds(effects) == ["Deliver", "Read"]
    session.page(cursor, page(LOG, after=8, most=10), 0.3)
    effects += session.take()
    assert delivered(effects) == flagged(effects) == [*range(6, 21)]
    assert cursor.live
    assert session.sources() == {Source.LOG}


@pytest.mark.parametrize(
    ("position", "pages", "told"),
    [
        (
            at(LOG, 3),
            [page(LOG, after=3, trimmed=9)],
            Resync(channel="c", reason="trimmed", have=3, first=10, top=20, position=at(LOG, 9)),
        ),
        (
            at(history(9, salt=1), 9),
            [page(LOG, after=9), page(LOG, after=0, most=1, trimmed=4)],
            Resync(channel="c", reason="fork", have=9, first=5, top=20, position=at(LOG, 20)),
        ),
        (
            at(LOG, 8, epoch=OTHER_EPOCH),
            [page(LOG, after=8), page(LOG, after=0, most=1, trimmed=4)],
            Resync(channel="c", reason="epoch", have=8, first=5, top=20, position=at(LOG, 4)),
        ),
    ],
)
def test_a_position_that_cannot_be_continued_is_fresh_and_resynced(
    position: Position, pages: list[Page], told: Resync
) -> None:
    session = resuming({"c": position})
    (cursor,) = session.cursors.values()
    session.followed(cursor, live_feed(LOG, known=2), 0.1)
    for answer in pages:
        (ask,) = session.take()
        assert isinstance(ask, Read)
        session.page(cursor, answer, 0.2)
    effects = session.take()
    assert kinds(effects)[:3] == ["Welcomed", "Welcome", "Resync"]
    assert (only(effects, Welcome).resumed, only(effects, Welcome).fresh) == ((), ("c",))
    assert only(effects, Resync) == told
    assert session.sources() == {Source.RESYNC}


def test_an_expired_session_is_fresh_everywhere_and_goes_on_where_it_was() -> None:
    session = resuming({"c": at(LOG, 18)}, claimed=Expired())
    (cursor,) = session.cursors.values()
    session.followed(cursor, live_feed(LOG), 0.1)
    effects = session.take()
    assert only(effects, Welcome).fresh == ("c",)
    assert only(effects, Resync) == Resync(
        channel="c", reason="expired", have=18, first=19, top=20, position=at(LOG, 18)
    )
    assert delivered(effects) == flagged(effects) == [19, 20]


def test_an_expired_session_is_told_what_is_missing_as_well() -> None:
    session = resuming({"c": at(LOG, 3)}, claimed=Expired())
    (cursor,) = session.cursors.values()
    session.followed(cursor, live_feed(LOG, known=2), 0.1)
    session.page(cursor, page(LOG, after=3, trimmed=9), 0.1)
    assert only(session.take(), Resync) == Resync(
        channel="c", reason="expired", have=3, first=10, top=20, position=at(LOG, 9)
    )


def test_an_expired_session_whose_channel_is_not_known_in_time_is_told_what_it_has() -> None:
    session = resuming({"c": at(LOG, 3)}, claimed=Expired())
    session.tick(1.0)
    told = only(session.take(), Resync)
    assert (told.reason, told.have, told.first, told.top, told.position) == ("expired", 3, 4, 3, at(LOG, 3))


def test_who_lost_its_positions_gets_those_of_the_snapshot() -> None:
    session = resuming({}, claimed=Granted(positions={"c": at(LOG, 19)}))
    (cursor,) = session.cursors.values()
    session.followed(cursor, live_feed(LOG), 0.0)
    effects = session.take()
    assert only(effects, Welcome).resumed == ("c",)
    assert delivered(effects) == [20]


def test_the_clients_own_positions_count_more_than_the_snapshot() -> None:
    session = resuming({"a": at(LOG, 19)}, claimed=Granted(positions={"b": at(LOG, 3)}))
    assert [*session.cursors] == ["a"]


def test_a_new_session_takes_nothing_from_a_snapshot() -> None:
    session = new_session()
    session.receive(Hello(), 0.0)
    session.claimed(Granted(positions={"c": at(LOG, 3)}), 0.0)
    assert session.cursors == {}


def test_a_resume_is_weighed_for_a_second_at_most_and_what_is_found_later_is_told_then() -> None:
    session = resuming({"a": at(LOG, 3), "b": at(LOG, 3)})
    one, other = session.cursors.values()
    session.followed(one, live_feed(LOG, channel="a", known=2), 0.1)
    session.tick(0.99)
    assert kinds(session.take()) == ["Read"]
    session.tick(1.0)
    effects = session.take()
    assert only(effects, Welcome).resumed == ("a", "b")
    session.page(one, page(LOG, after=3, trimmed=9), 1.5)
    effects = session.take()
    assert only(effects, Resync).reason == "trimmed"
    assert [effect for effect in effects if isinstance(effect, Read)] == [Read(one, 9)]
    session.followed(other, live_feed(LOG, channel="b"), 2.0)
    assert delivered(session.take()) == [*range(4, 21)]


def test_a_channel_that_is_refused_while_weighing_is_told_after_the_welcome_and_does_not_hold_it_up() -> None:
    session = resuming({"a": at(LOG, 3)})
    (cursor,) = session.cursors.values()
    session.refused_channel(cursor, "no more", 0.1)
    effects = session.take()
    assert kinds(effects) == ["Welcomed", "Welcome", "Error"]
    error = only(effects, Error)
    assert (error.code, error.channel, error.id) == ("too_many_channels", "a", None)
    assert (only(effects, Welcome).resumed, session.cursors) == ((), {})
    session.refused_channel(cursor, "no more", 0.2)
    session.followed(cursor, live_feed(LOG), 0.2)
    assert session.take() == []


def test_a_position_that_never_happened_is_rewound_after_the_welcome() -> None:
    ours = history(9)
    feed = live_feed(ours)
    feed.rewind(at(ours, 6))
    theirs = history(8, salt=1, after=ours[:6])
    read(feed, theirs)
    session = resuming({"c": at(ours, 8)})
    (cursor,) = session.cursors.values()
    session.followed(cursor, feed, 0.1)
    effects = session.take()
    assert kinds(effects) == ["Welcomed", "Welcome", "Rewind", "Deliver", "Attach"]
    assert only(effects, Welcome).resumed == ("c",)
    assert only(effects, Rewind) == Rewind(channel="c", to=6, void=(7, 8), position=at(ours, 6))
    assert delivered(effects) == flagged(effects) == [7, 8]


# A log that lacks what the client has.


def test_a_log_that_lacks_what_the_client_has_is_given_a_moment_to_heal() -> None:
    session = resuming({"c": at(LOG, 20)})
    (cursor,) = session.cursors.values()
    feed = live_feed(LOG[:15])
    session.followed(cursor, feed, 0.1)
    assert session.take() == [Read(cursor, 20)]
    session.page(cursor, page(LOG[:15], after=20), 0.2)
    assert session.take() == []
    assert session.deadline == 0.2 + LOOK_AGAIN_S
    session.tick(0.3)
    assert session.take() == []
    session.tick(0.5)
    assert session.take() == [Read(cursor, 20)]
    session.page(cursor, page(LOG, after=20), 0.6)  # Another node has put it back.
    assert only(session.take(), Welcome).resumed == ("c",)


def test_a_log_that_does_not_heal_is_a_fork() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG[:15]), at(LOG, 20))
    now, reads = 0.0, 0
    while now < FORK_GRACE_S:
        reads += len(effects_of(session, Read))
        session.page(cursor, page(LOG[:15], after=20), now)
        assert session.deadline == now + LOOK_AGAIN_S
        now = session.deadline
        session.tick(now)
    assert reads == math.ceil(FORK_GRACE_S / LOOK_AGAIN_S)
    assert session.take() == [Read(cursor, 20)]
    session.page(cursor, page(LOG[:15], after=20), now)
    assert session.take() == [Read(cursor, 0, 1)]
    session.page(cursor, page(LOG[:15], after=0, most=1), now)
    effects = session.take()
    assert kinds(effects) == ["Resync", "Subscribed", "Attach"]
    assert only(effects, Resync) == Resync(channel="c", reason="fork", have=20, first=1, top=15, position=at(LOG, 15))
    assert session.deadline == math.inf


def test_the_next_fork_of_a_channel_has_a_moment_of_its_own() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG[:10], known=1), at(LOG, 14))
    session.page(cursor, page(LOG[:10], after=14), 0.0)
    session.tick(1.0)
    session.page(cursor, page(LOG, after=14, most=3), 1.0)  # It healed,
    assert cursor.position == at(LOG, 17)
    session.take()
    session.page(cursor, page(LOG[:10], after=17), 2.0)  # and lost it again.
    assert session.deadline == 2.0 + LOOK_AGAIN_S
    session.page(cursor, page(LOG[:10], after=17), 2.0 + FORK_GRACE_S - 0.01)
    assert session.take() == []


def test_after_a_fork_was_told_the_next_one_has_a_moment_of_its_own() -> None:
    session = serving(window=1)
    cursor = subscribed(session, live_feed(LOG[:15], known=1), at(LOG, 20))
    for now in (0.0, FORK_GRACE_S):
        session.tick(now)
        session.page(cursor, page(LOG[:12], after=20), now)
    session.page(cursor, page(LOG[:12], after=0, most=1), FORK_GRACE_S)
    assert kinds(session.take())[-2:] == ["Resync", "Read"]
    session.page(cursor, page(LOG[:10], after=12), FORK_GRACE_S + 0.5)
    assert session.take() == []
    assert session.deadline == FORK_GRACE_S + 0.5 + LOOK_AGAIN_S


def test_a_log_of_another_epoch_may_heal_while_it_is_empty() -> None:
    session = serving()
    cursor = subscribed(session, live_feed((), epoch=OTHER_EPOCH), at(LOG, 5))
    session.take()
    session.page(cursor, page((), after=5, epoch=OTHER_EPOCH), 0.0)
    assert session.take() == []
    session.tick(LOOK_AGAIN_S)
    assert session.take() == [Read(cursor, 5)]
    session.page(cursor, page(history(2, salt=1), after=5, epoch=OTHER_EPOCH), 0.3)
    assert session.take() == [Read(cursor, 0, 1)], "somebody has begun it"
    session.page(cursor, page(LOG, after=0, most=1), 0.4)
    assert session.take() == [Read(cursor, 5)], "our history is back"
    session.page(cursor, page(LOG, after=5), 0.5)
    assert delivered(session.take())[0] == 6


def test_a_page_that_cannot_be_read_is_asked_for_again() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG, known=1), at(LOG, 5))
    session.take()
    session.unreadable(cursor, 1.0)
    assert session.deadline == 1.25
    session.sweep(1.1)
    assert session.take() == [], "not before its time"
    session.tick(1.25)
    assert session.take() == [Read(cursor, 5)]
    assert session.deadline == math.inf


def test_several_cursors_that_wait_are_looked_at_each_in_its_time() -> None:
    session = serving()
    cursors = [
        subscribed(session, live_feed(LOG, channel=name, known=1), at(LOG, 5), request=number)
        for number, name in enumerate(("a", "b", "c"))
    ]
    session.take()
    for number, cursor in enumerate(cursors):
        session.unreadable(cursor, 1.0 + number / 16)
    for number, cursor in enumerate(cursors):
        assert session.deadline == 1.0 + number / 16 + LOOK_AGAIN_S
        session.tick(session.deadline)
        assert session.take() == [Read(cursor, 5)]
    assert session.deadline == math.inf


def test_a_log_that_healed_without_anything_new_may_be_lost_again() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG[:10]), at(LOG, 20))
    session.page(cursor, page(LOG[:10], after=20), 0.0)
    session.page(cursor, page(LOG, after=20), 0.5)
    session.take()
    session.page(cursor, page(LOG[:10], after=20), FORK_GRACE_S + 1.0)
    assert session.take() == [], "it is given a moment again"


# Subscribe.


def test_now_begins_at_the_feeds_end() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG), request=7)
    effects = session.take()
    assert effects == [
        Follow(cursor),
        Send(Subscribed(id=7, channel="c", position=at(LOG, 20), replay=0)),
        Attach(cursor),
    ]
    assert session.dirty
    more = history(22)[20:]
    assert bring(session, cursor, more) == [21, 22]
    assert session.window.in_flight == 2


def test_start_begins_at_the_oldest_entry_that_is_kept() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG), "start")
    assert session.take() == [Follow(cursor), Read(cursor, 0, 1)]
    session.page(cursor, page(LOG, after=0, most=1, trimmed=12), 0.1)
    effects = session.take()
    assert only(effects, Subscribed) == Subscribed(id=1, channel="c", position=at(LOG, 12), replay=8)
    assert delivered(effects) == flagged(effects) == [*range(13, 21)]


def test_start_of_an_empty_log_is_its_end() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(()), "start")
    session.take()
    session.page(cursor, page((), after=0), 0.1)
    assert session.take() == [
        Send(Subscribed(id=1, channel="c", position=at((), 0), replay=0)),
        Attach(cursor),
    ]


def test_a_position_in_the_ring_is_continued_from_it() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG), at(LOG, 16))
    effects = session.take()
    assert kinds(effects) == ["Follow", "Subscribed", "Deliver", "Attach"]
    assert only(effects, Subscribed).replay == 4
    assert delivered(effects) == flagged(effects) == [17, 18, 19, 20]
    assert bring(session, cursor, history(21)[20:]) == [21]


def test_only_what_the_answer_promised_is_flagged_as_replay() -> None:
    session = serving(window=4)
    feed = live_feed(LOG, known=15)
    cursor = subscribed(session, feed, at(LOG, 15))
    effects = session.take()
    for entry in history(24)[20:]:
        assert feed.heard(EPOCH, entry)
    session.receive(Ack(acks={"c": 19}), 0.1)
    effects += session.take()
    assert only(effects, Subscribed).replay == 5
    assert delivered(effects) == [*range(16, 24)]
    assert flagged(effects) == [16, 17, 18, 19, 20]
    assert not cursor.live


@pytest.mark.parametrize("begun", [0, 1])
def test_who_falls_behind_gets_no_flag_on_what_came_after_its_answer(begun: int) -> None:
    session = serving(window=4)
    cursor = subscribed(session, live_feed(LOG[:begun]))
    session.take()
    bring(session, cursor, LOG[begun : begun + 6])
    assert not cursor.live
    session.receive(Ack(acks={"c": begun + 4}), 0.1)
    effects = session.take()
    assert delivered(effects) == [begun + 5, begun + 6]
    assert flagged(effects) == []


def test_the_log_is_read_up_to_where_the_ring_goes_on() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG, known=5), at(LOG, 4))
    assert session.take() == [Follow(cursor), Read(cursor, 4)]
    session.page(cursor, page(LOG, after=4, most=6), 0.1)
    effects = session.take()
    assert only(effects, Subscribed) == Subscribed(id=1, channel="c", position=at(LOG, 4), replay=16)
    assert effects[-1] == Read(cursor, 10)
    session.page(cursor, page(LOG, after=10, most=6), 0.2)
    effects += session.take()
    assert delivered(effects) == [*range(5, 21)]
    assert cursor.live


def test_a_cursor_that_reaches_the_end_before_its_feed_has_the_feed_caught_up() -> None:
    session = serving()
    feed = live_feed(LOG[:10], known=2)
    cursor = subscribed(session, feed, at(LOG, 20))
    assert session.take() == [Follow(cursor), Read(cursor, 20)]
    session.page(cursor, page(LOG, after=20), 0.1)
    effects = session.take()
    assert effects == [
        Send(Subscribed(id=1, channel="c", position=at(LOG, 20), replay=0)),
        CatchUp(cursor),
    ]
    feed.doubt(FeedState.DEAF)
    read(feed, LOG)
    session.look(cursor, 0.2)
    assert session.take() == [Attach(cursor)]


def test_a_cursor_that_has_more_to_read_does_not_wait_for_its_feed() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG[:10], known=2), at(LOG, 4))
    session.take()
    session.page(cursor, page(LOG, after=4, most=3), 0.1)
    assert kinds(session.take()) == ["Subscribed", "Deliver", "Read"]


def test_a_feed_that_was_caught_up_meanwhile_need_not_be() -> None:
    session = serving()
    feed = live_feed(LOG[:10], known=2)
    cursor = subscribed(session, feed, at(LOG, 20))
    session.take()
    feed.doubt(FeedState.DEAF)
    read(feed, LOG)
    session.page(cursor, page(LOG, after=20), 0.1)
    assert kinds(session.take()) == ["Subscribed", "Attach"]


def test_a_feed_that_holds_for_void_what_the_log_has_is_caught_up_first() -> None:
    ours = history(9)
    feed = live_feed(ours)
    feed.rewind(at(ours, 6))
    session = serving()
    cursor = subscribed(session, feed, at(history(8, salt=5), 8))
    session.take()
    session.page(cursor, page(ours, after=8), 0.1)
    session.page(cursor, page(ours, after=0, most=1), 0.1)
    effects = session.take()
    assert kinds(effects) == ["Read", "Resync", "CatchUp"]
    assert only(effects, Resync).position == at(ours, 9)
    read(feed, ours)
    session.look(cursor, 0.2)
    assert kinds(session.take()) == ["Subscribed", "Attach"]


def test_a_feed_that_comes_later_is_waited_for() -> None:
    session = serving()
    session.receive(Subscribe(id=1, channel="c"), 0.0)
    (cursor,) = session.cursors.values()
    assert session.take() == [Follow(cursor)]
    session.sweep(1.0)
    session.look(cursor, 1.0)
    assert session.take() == []
    session.followed(cursor, live_feed(LOG), 5.0)
    assert kinds(session.take()) == ["Subscribed", "Attach"]


def test_a_second_subscribe_begins_again() -> None:
    session = serving()
    first = subscribed(session, live_feed(LOG))
    session.take()
    second = subscribed(session, live_feed(LOG), at(LOG, 18), request=2)
    effects = session.take()
    assert effects[:3] == [Detach(first), Release(first), Follow(second)]
    assert first.closed
    assert only(effects, Subscribed).id == 2
    assert delivered(effects) == [19, 20]


def test_more_channels_than_are_allowed_are_refused_and_change_nothing() -> None:
    session = serving()
    for number in range(CHANNELS_MOST):
        session.receive(Subscribe(id=number, channel=f"c{number}"), 0.0)
    session.take()
    session.receive(Subscribe(id=999, channel="one more"), 0.0)
    (error,) = sent(session.take())
    assert isinstance(error, Error)
    assert (error.code, error.id, error.channel, error.temporary) == ("too_many_channels", 999, "one more", False)
    assert len(session.cursors) == CHANNELS_MOST
    session.receive(Subscribe(id=1_000, channel="c3"), 0.0)
    assert kinds(session.take()) == ["Release", "Follow"], "one that is there may begin again"


def test_a_channel_that_the_node_cannot_follow_is_refused() -> None:
    session = serving()
    session.receive(Subscribe(id=4, channel="c"), 0.0)
    (cursor,) = session.cursors.values()
    session.take()
    session.refused_channel(cursor, "this node is full", 0.0)
    error = only(session.take(), Error)
    assert (error.code, error.id, error.message) == ("too_many_channels", 4, "this node is full")
    assert session.cursors == {}


def test_a_subscribe_from_a_void_position_is_rewound_first() -> None:
    ours = history(9)
    feed = live_feed(ours)
    feed.rewind(at(ours, 6))
    read(feed, history(8, salt=1, after=ours[:6]))
    session = serving()
    subscribed(session, feed, at(ours, 9))
    effects = session.take()
    assert kinds(effects) == ["Follow", "Rewind", "Subscribed", "Deliver", "Attach"]
    assert only(effects, Subscribed).position == at(ours, 6)


# Unsubscribe.


def test_nothing_is_sent_after_unsubscribe() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG), at(LOG, 17))
    session.take()
    session.dirty = False
    session.receive(Unsubscribe(id=2, channel="c"), 0.1)
    assert session.take() == [Detach(cursor), Release(cursor), Send(Unsubscribed(id=2, channel="c"))]
    assert session.window.in_flight == 0
    assert session.dirty
    session.jumped(cursor, Rewind(channel="c", to=3, void=(4, 20), position=at(LOG, 3)))
    session.look(cursor, 1.0)
    assert session.take() == []


def test_unsubscribe_from_what_was_not_subscribed_is_answered() -> None:
    session = serving()
    session.receive(Unsubscribe(id=2, channel="c"), 0.1)
    assert session.take() == [Send(Unsubscribed(id=2, channel="c"))]
    assert not session.dirty


@pytest.mark.parametrize("answer", ["page", "unreadable", "followed", "refused"])
def test_an_answer_for_a_closed_cursor_is_ignored(answer: str) -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG, known=1), at(LOG, 5))
    session.receive(Unsubscribe(id=2, channel="c"), 0.1)
    assert kinds(session.take()) == ["Follow", "Read", "Release", "Unsubscribed"]
    match answer:
        case "page":
            session.page(cursor, page(LOG, after=5), 0.2)
        case "unreadable":
            session.unreadable(cursor, 0.2)
        case "followed":
            session.followed(cursor, live_feed(LOG), 0.2)
        case _:
            session.refused_channel(cursor, "no", 0.2)
    assert (session.take(), session.deadline, session.cursors) == ([], math.inf, {})
    assert session.window.in_flight == 0


def test_a_page_that_comes_after_the_end_is_ignored() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG, known=1), at(LOG, 5))
    session.ended()
    session.take()
    session.page(cursor, page(LOG, after=5), 0.2)
    session.unreadable(cursor, 0.2)
    assert (session.take(), session.deadline) == ([], math.inf)


# Window.


def test_a_full_window_stops_the_pushing_and_acknowledgements_bring_the_rest() -> None:
    session = serving(window=4)
    cursor = subscribed(session, live_feed(LOG[:10]))
    session.take()
    assert bring(session, cursor, LOG[10:]) == [11, 12, 13, 14]
    assert (cursor.live, cursor.position, session.lagging) == (False, at(LOG, 14), True)
    session.receive(Ack(acks={"c": 12}), 1.0)
    assert delivered(session.take()) == [15, 16]
    session.receive(Ack(acks={"c": 16}), 1.0)
    assert delivered(session.take()) == [17, 18, 19, 20]
    assert cursor.live, "the ring has no more, and the last that fits was the last there is"
    assert not session.lagging


def test_a_cursor_that_is_behind_is_attached_as_soon_as_the_ring_has_no_more() -> None:
    session = serving(window=4)
    cursor = subscribed(session, live_feed(LOG[:10]))
    session.take()
    bring(session, cursor, LOG[10:15])
    session.receive(Ack(acks={"c": 14}), 1.0)
    effects = session.take()
    assert kinds(effects) == ["Deliver", "Attach"]
    assert bring(session, cursor, LOG[15:17]) == [16, 17]


def test_a_window_that_is_full_of_bytes_stops_the_pushing() -> None:
    session = serving()
    cursor = subscribed(session, live_feed(LOG[:10]))
    assert session.offer(cursor, LOG[10], 1024 * 1024, 0.0)
    assert not session.offer(cursor, LOG[11], 1, 0.0)


def test_who_is_behind_the_ring_reads_the_log_no_faster_than_it_acknowledges() -> None:
    session = serving(window=4)
    feed = live_feed(LOG[:2], ring_entries=3)
    cursor = subscribed(session, feed)
    session.take()
    assert bring(session, cursor, LOG[2:]) == [3, 4, 5, 6]
    got: list[int] = []
    acked = 6
    while not cursor.live:
        session.receive(Ack(acks={"c": acked}), 1.0)
        effects = session.take()
        for ask in [effect for effect in effects if isinstance(effect, Read)]:
            session.page(cursor, page(LOG, after=ask.after, most=100), 1.0)
            effects += session.take()
        assert session.window.in_flight <= 4
        got += delivered(effects)
        acked = got[-1]
    assert got == [*range(7, 21)]
    assert session.sources() == {Source.LOG}


def test_nothing_is_read_while_the_window_is_full() -> None:
    session = serving(window=4)
    cursor = subscribed(session, live_feed(LOG, known=1), at(LOG, 2))
    session.page(cursor, page(LOG, after=2), 0.1)
    assert delivered(session.take()) == [3, 4, 5, 6]
    session.look(cursor, 0.2)
    session.sweep(0.3)
    assert session.take() == []


def test_who_fell_behind_and_is_slower_than_the_history_is_long_is_closed() -> None:
    session = serving(window=2)
    cursor = subscribed(session, live_feed(LOG[:2], ring_entries=3))
    bring(session, cursor, LOG[2:])
    session.receive(Ack(acks={"c": 3}), 1.0)
    session.take()
    session.page(cursor, page(LOG, after=4, trimmed=8), 1.0)
    effects = session.take()
    assert kinds(effects) == ["Release", "Close"]
    assert isinstance(effects[-1], Close)
    assert effects[-1].code == 4001


def test_a_fork_is_no_fault_of_a_slow_client() -> None:
    session = serving(window=2)
    cursor = subscribed(session, live_feed(LOG[:2], ring_entries=3))
    bring(session, cursor, LOG[2:])
    session.receive(Ack(acks={"c": 3}), 1.0)
    session.take()
    other = history(25, salt=1)
    session.page(cursor, page(other, after=4), 1.0)
    session.page(cursor, page(other, after=0, most=1), 1.0)
    effects = session.take()
    assert only(effects, Resync).reason == "fork"
    assert session.phase is Phase.SERVING


@pytest.mark.parametrize("room_by", ["unsubscribe", "subscribe", "jump"])
def test_room_that_one_channel_gives_up_is_used_by_the_others(room_by: str) -> None:
    session = serving(window=4)
    one = subscribed(session, live_feed(LOG, channel="a"), at(LOG, 16))
    assert one.live
    other = subscribed(session, live_feed(LOG, channel="b"), at(LOG, 18), request=2)
    assert delivered(session.take()) == [17, 18, 19, 20]
    assert not other.live
    match room_by:
        case "unsubscribe":
            session.receive(Unsubscribe(id=3, channel="a"), 1.0)
        case "subscribe":
            session.receive(Subscribe(id=3, channel="a"), 1.0)
        case _:
            session.jumped(one, Resync(channel="a", reason="fork", have=20, first=1, top=30, position=at(LOG, 3)))
            session.sweep(1.0)
    assert delivered(session.take()) == [19, 20]
    assert other.live


def test_acknowledgements_of_other_channels_and_old_ones_change_nothing() -> None:
    session = serving()
    subscribed(session, live_feed(LOG), at(LOG, 16))
    session.take()
    session.dirty = False
    session.receive(Ack(acks={"other": 9, "c": 16}), 1.0)
    assert (session.window.in_flight, session.dirty, session.take()) == (4, False, [])
    session.receive(Ack(acks={"c": 18, "other": 9}), 1.0)
    assert (session.window.in_flight, session.dirty) == (2, True)


def test_one_window_serves_all_channels() -> None:
    session = serving(window=4)
    one = subscribed(session, live_feed(LOG, channel="a"), at(LOG, 17))
    other = subscribed(session, live_feed(LOG, channel="b"), at(LOG, 17), request=2)
    assert delivered(session.take()) == [18, 19, 20, 18]
    assert (one.live, other.live) == (True, False)
    session.receive(Ack(acks={"a": 20}), 1.0)
    assert delivered(session.take()) == [19, 20]
    assert other.live


# Missing acknowledgements.


def test_the_oldest_message_is_sent_again_twice_and_then_the_connection_is_closed() -> None:
    session = serving()
    subscribed(session, live_feed(LOG), at(LOG, 17))
    session.take()
    session.sweep(4.0)
    assert session.take() == []
    for now in (5.0, 10.0):
        session.sweep(now)
        (again,) = session.take()
        assert isinstance(again, Deliver)
        assert again == Deliver("c", LOG[17:18], 18), "flagged as a replay"
    assert session.retransmits == 2
    session.sweep(15.0)
    effects = session.take()
    assert isinstance(effects[-1], Close)
    assert effects[-1].code == 4001


def test_an_acknowledgement_in_time_keeps_the_connection() -> None:
    session = serving()
    subscribed(session, live_feed(LOG), at(LOG, 17))
    session.sweep(5.0)
    session.sweep(10.0)
    session.receive(Ack(acks={"c": 18}), 14.0)
    session.take()
    session.sweep(15.0)
    assert session.take() == []
    session.sweep(19.0)
    assert delivered(session.take()) == [19]


def test_what_the_ring_has_forgotten_is_not_sent_again_but_another_channel_is() -> None:
    session = serving()
    old = subscribed(session, live_feed(LOG[:5], channel="a", ring_entries=2), at(LOG, 4))
    session.take()
    bring(session, old, LOG[5:9])
    session.sweep(5.0)
    assert session.take() == []
    subscribed(session, live_feed(LOG, channel="b"), at(LOG, 19), request=2)
    session.take()
    session.sweep(10.0)
    assert session.take() == [Deliver("b", LOG[19:], 20)]
    assert session.retransmits == 1


def test_a_channel_with_nothing_in_flight_is_passed_over() -> None:
    session = serving()
    subscribed(session, live_feed(LOG, channel="a"))
    subscribed(session, live_feed(LOG, channel="b"), at(LOG, 19), request=2)
    session.take()
    session.sweep(5.0)
    assert session.take() == [Deliver("b", LOG[19:], 20)]


def test_before_the_welcome_nobody_owes_an_acknowledgement() -> None:
    session = resuming({"c": at(LOG, 3)})
    session.sweep(99.0)
    assert session.take() == []


# Jumps of the feed.


@pytest.mark.parametrize(
    "told",
    [
        Rewind(channel="c", to=15, void=(16, 20), position=at(LOG, 15)),
        Resync(channel="c", reason="epoch", have=20, first=1, top=4, position=at((), 0, epoch=OTHER_EPOCH)),
    ],
)
def test_a_live_cursor_goes_where_its_feed_goes(told: Resync | Rewind) -> None:
    session = serving(window=8)
    feed = live_feed(LOG)
    cursor = subscribed(session, feed, at(LOG, 17))
    session.take()
    session.dirty = False
    session.jumped(cursor, told)
    assert session.take() == [Send(told)]
    assert (cursor.live, cursor.position, session.window.in_flight, session.dirty) == (True, None, 0, True)
    if isinstance(told, Rewind):
        feed.rewind(told.position)
    else:
        feed.restart(told.position)
    for entry in history(told.position.seq + 3, salt=5, after=LOG[: told.position.seq])[told.position.seq :]:
        assert session.offer(cursor, entry, entry_size(entry), 1.0)
    session.receive(Ack(acks={"c": told.position.seq + 2}), 2.0)
    assert session.window.in_flight == 1


# Small things.


def test_unknown_frames_are_answered_and_the_owners_frames_left_to_it() -> None:
    session = serving()
    session.receive(UnknownFrame(type="w" * 99), 0.0)
    error = only(session.take(), Error)
    assert (error.code, error.temporary) == ("unknown_type", False)
    assert "w" * 33 not in error.message
    for frame in (Pong(ts=1), Auth(token="t"), Publish(channel="c", cseq=1, data=1)):
        session.receive(frame, 0.0)
    assert session.take() == []


def test_each_publish_names_the_one_that_has_to_stand_before_it() -> None:
    session = serving()

    def after(cseq: int, channel: str = "c") -> int:
        return session.forward(Publish(channel=channel, cseq=cseq, data=1))

    assert [after(cseq) for cseq in (4, 5, 6)] == [0, 4, 5]
    assert after(1, "other") == 0
    assert [after(cseq) for cseq in (5, 6, 6, 7)] == [0, 5, 0, 6], "who goes back begins again"


def test_only_so_many_channels_are_remembered_for_publishing() -> None:
    session = serving()
    for number in range(CHANNELS_MOST):
        session.forward(Publish(channel=f"c{number}", cseq=1, data=1))
    session.forward(Publish(channel="c0", cseq=2, data=1))
    session.forward(Publish(channel="one more", cseq=1, data=1))
    assert session.forward(Publish(channel="c0", cseq=3, data=1)) == 2
    assert session.forward(Publish(channel="c1", cseq=2, data=1)) == 0, "the one that was used longest ago is forgotten"
    assert len(session._forwarded) == CHANNELS_MOST


def test_the_acknowledged_positions_are_known_wherever_the_cursor_is() -> None:
    session = serving(window=4)
    feed = live_feed(LOG[:16], known=6)
    cursor = subscribed(session, feed, at(LOG, 12))
    assert session.acked() == {"c": at(LOG, 12)}
    session.receive(Ack(acks={"c": 14}), 0.1)
    assert session.acked() == {"c": at(LOG, 14)}, "live: from the ring"
    session.receive(Ack(acks={"c": 16}), 0.1)
    assert session.acked() == {"c": at(LOG, 16)}, "live, at the end"
    bring(session, cursor, LOG[16:])
    assert session.acked() == {"c": at(LOG, 16)}
    session.receive(Ack(acks={"c": 20}), 0.1)
    session.receive(Unsubscribe(id=2, channel="c"), 0.1)
    assert session.acked() == {}


@pytest.mark.parametrize(
    "told",
    [
        Rewind(channel="c", to=15, void=(16, 20), position=at(LOG, 15)),
        Resync(channel="c", reason="fork", have=20, first=1, top=30, position=at(history(30), 30)),
    ],
)
def test_a_jump_counts_for_the_snapshot_when_the_client_has_acknowledged_it(told: Resync | Rewind) -> None:
    session = serving()
    feed = live_feed(LOG)
    cursor = subscribed(session, feed, at(LOG, 12))
    session.receive(Ack(acks={"c": 14}), 0.1)
    session.jumped(cursor, told)
    feed.restart(told.position)
    assert session.acked() == {"c": at(LOG, 14)}
    session.jumped(cursor, told)
    assert session.acked() == {"c": at(LOG, 14)}, "a second jump does not hide the first"
    session.receive(Ack(acks={"c": 14}), 0.2)
    assert session.acked() == {"c": at(LOG, 14)}
    session.dirty = False
    session.receive(Ack(acks={"c": told.position.seq}), 0.3)
    assert session.acked() == {"c": told.position}
    assert session.dirty


def test_an_acknowledged_position_just_before_the_ring_is_known_from_what_follows_it() -> None:
    session = serving()
    feed = live_feed(LOG[:10], ring_entries=4)
    cursor = subscribed(session, feed)
    bring(session, cursor, LOG[10:14])
    assert feed.ring == LOG[10:14]
    assert session.acked() == {"c": at(LOG, 10)}
    bring(session, cursor, LOG[14:])
    assert session.acked() == {}, "nobody knows its nonce any more"


def test_a_channel_that_is_not_followed_yet_is_at_its_position_if_it_has_one() -> None:
    session = serving()
    session.receive(Subscribe(id=1, channel="a", start=at(LOG, 3)), 0.0)
    session.receive(Subscribe(id=2, channel="b"), 0.0)
    assert session.acked() == {"a": at(LOG, 3)}


def test_closing_twice_closes_once() -> None:
    session = serving()
    session.close(4001, "slow")
    session.close(4502, "late")
    session.ended()
    assert session.take() == [Close(4001, "slow")]


def test_positions_survive_the_end_for_the_last_snapshot() -> None:
    session = serving()
    subscribed(session, live_feed(LOG), at(LOG, 17))
    session.receive(Ack(acks={"c": 19}), 0.1)
    session.ended()
    assert session.acked() == {"c": at(LOG, 19)}


def test_a_message_costs_its_data_and_something_on_top() -> None:
    assert entry_size(replace(LOG[0], data="x" * 100)) > 100


# Everything at once.


@dataclass
class Client:
    """What a client knows of one channel, and whether what it gets makes sense."""

    last: Position | None = None
    start: Position | None = None
    got: list[tuple[int, str]] = field(default_factory=list)

    def message(self, entry: Entry) -> None:
        last = self.last
        assert last is not None, "a message before the answer"
        if entry.seq <= last.seq:
            return
        assert (entry.seq, entry.prev) == (last.seq + 1, last.nonce), "a hole that nobody told of"
        self.last = Position(epoch=last.epoch, seq=entry.seq, nonce=entry.nonce)
        self.got.append((entry.seq, entry.id))


class World:
    """A session, two channels whose logs grow, are trimmed and fork, and a client that acknowledges when it likes."""

    def __init__(self, seed: int, *, forks: bool) -> None:
        self.dice = Random(seed)
        self.forks = forks
        self.now = 0.0
        self.session = serving(window=6)
        self.logs = {"a": list(history(5)), "b": list(history(3, salt=1))}
        self.trimmed = {"a": 0, "b": 0}
        self.feeds = {
            name: live_feed(log, channel=name, known=self.dice.randint(0, 3), ring_entries=5)
            for name, log in self.logs.items()
        }
        self.clients = {"a": Client(), "b": Client()}
        self.attached: dict[str, Cursor] = {}
        self.asked: list[Callable[[], None]] = []
        self.closed: Close | None = None
        self.salt = 10
        self.request = 0

    def carry_out(self) -> None:
        while effects := self.session.take():
            for effect in effects:
                self._do(effect)
        assert self.session.window.in_flight <= 6 + 1

    def _do(self, effect: Effect) -> None:
        session = self.session
        match effect:
            case Send(frame=frame):
                self._told(frame)
            case Deliver(channel=channel, entries=entries):
                for entry in entries:
                    self.clients[channel].message(entry)
            case Follow(cursor=cursor):
                self.asked.append(lambda: session.followed(cursor, self.feeds[cursor.channel], self.now))
            case Read(cursor=cursor, after=after, most=most):
                wanted = self.dice.randint(1, 4) if most is None else most
                found = page(self.logs[cursor.channel], after=after, most=wanted, trimmed=self.trimmed[cursor.channel])
                if self.dice.random() < 0.1:
                    self.asked.append(lambda: session.unreadable(cursor, self.now))
                else:
                    self.asked.append(lambda: session.page(cursor, found, self.now))
            case CatchUp(cursor=cursor):
                self.asked.append(lambda: session.look(cursor, self.now))
            case Attach(cursor=cursor):
                assert cursor.channel not in self.attached
                self.attached[cursor.channel] = cursor
            case Detach(cursor=cursor):
                assert self.attached.pop(cursor.channel) is cursor
            case Close():
                self.closed = effect
            case Claim() | Release() | Welcomed() | Zombie():
                pass

    def _told(self, frame: NodeFrame) -> None:
        match frame:
            case Subscribed(channel=channel, position=position):
                self.clients[channel].last = position
            case Resync(channel=channel, position=position):
                self.clients[channel].last = position
            case Rewind(channel=channel, to=to, void=void, position=position):
                client = self.clients[channel]
                assert client.last is not None
                assert to == void[0] - 1 == position.seq < client.last.seq
                client.last = position
            case _:
                pass

    def grow(self, name: str) -> None:
        """Append an entry, and let the feed hear of it, or find it later by itself."""
        log, feed = self.logs[name], self.feeds[name]
        log += history(len(log) + 1, salt=self.salt, after=log)[len(log) :]
        if self.dice.random() < 0.8 and not feed.behind and feed.heard(EPOCH, log[-1]):
            self.offer(name, log[-1])
        else:
            feed.doubt(FeedState.GAP)

    def offer(self, name: str, entry: Entry) -> None:
        cursor = self.attached.get(name)
        if cursor is None:
            return
        if self.session.offer(cursor, entry, entry_size(entry), self.now):
            self.clients[name].message(entry)
        else:
            del self.attached[name]

    def catch_up(self, name: str) -> None:
        """What a node does about a feed that is behind, at once."""
        log, feed = self.logs[name], self.feeds[name]
        while feed.behind:
            assert feed.position is not None
            found = feed.read(page(log, after=feed.ask(), trimmed=self.trimmed[name]))
            if isinstance(found, tuple):
                for entry in found:
                    self.offer(name, entry)
                continue
            shared = next((e for e in reversed(feed.ring) if e.seq <= len(log) and log[e.seq - 1] == e), None)
            told: Resync | Rewind
            if found is Break.FORK and shared is not None:
                to, here = at(log, shared.seq), feed.position
                told = Rewind(channel=name, to=to.seq, void=(to.seq + 1, here.seq), position=to)
            else:
                to = at(log, len(log))
                told = Resync(
                    channel=name, reason=str(found), have=feed.position.seq, first=1, top=len(log), position=to
                )
            if name in self.attached:
                self.session.jumped(self.attached[name], told)
                self.carry_out()
            if isinstance(told, Rewind):
                feed.rewind(to)
            else:
                feed.restart(to)

    def fork(self, name: str) -> None:
        """Lose the newest entries, and have others in their place."""
        log = self.logs[name]
        keep = self.dice.randint(max(self.trimmed[name] + 1, len(log) - 3), len(log))
        self.salt += 1
        log[:] = history(keep + self.dice.randint(1, 4), salt=self.salt, after=log[:keep])
        self.feeds[name].doubt(FeedState.FORKED)
        self.catch_up(name)

    def subscribe(self, name: str) -> None:
        client, self.request = self.clients[name], self.request + 1
        start: Position | Literal["now", "start"] = self.dice.choice(("now", "start"))
        if client.last is not None and self.dice.random() < 0.7:
            start = client.last
        else:
            client.last = None
        if isinstance(start, Position):
            # Until it is answered the client stays where it is.
            client.start = start
        self.session.receive(Subscribe(id=self.request, channel=name, start=start), self.now)

    def step(self) -> None:
        name = self.dice.choice(("a", "b"))
        chance = self.dice.random()
        last = self.clients[name].last
        if chance < 0.3:
            self.grow(name)
        elif chance < 0.55 and self.asked:
            self.asked.pop(0)()
        elif chance < 0.7 and last is not None:
            self.session.receive(Ack(acks={name: last.seq - self.dice.randint(0, 2)}), self.now)
        elif chance < 0.78:
            self.catch_up(name)
        elif chance < 0.84:
            self.now += 0.2
            self.session.tick(self.now)
        elif chance < 0.9:
            self.session.sweep(self.now)
        elif chance < 0.94:
            self.subscribe(name)
        elif chance < 0.955:
            self.session.receive(Unsubscribe(id=0, channel=name), self.now)
            self.clients[name].last = None
        elif chance < 0.97 and self.forks:
            self.trimmed[name] = self.dice.randint(
                self.trimmed[name], max(self.trimmed[name], len(self.logs[name]) - 4)
            )
        elif self.forks:
            self.fork(name)
        self.carry_out()

    def settle(self) -> None:
        """Answer and acknowledge everything until nothing happens any more."""
        for name in self.logs:
            self.subscribe(name)
            self.carry_out()
        for _ in range(200):
            for name, client in self.clients.items():
                self.catch_up(name)
                if client.last is not None:
                    self.session.receive(Ack(acks={name: client.last.seq}), self.now)
            self.carry_out()
            while self.asked:
                self.asked.pop(0)()
                self.carry_out()
            self.now += 0.25
            self.session.tick(self.now)
            self.session.sweep(self.now)
            self.carry_out()

    def check(self) -> None:
        if self.closed is not None:
            assert self.closed.code == 4001
            assert self.attached == {}
            return
        for name, log in self.logs.items():
            assert self.clients[name].last == at(log, len(log))
            assert self.session.cursors[name].live
            assert self.attached[name] is self.session.cursors[name]
        assert self.session.window.in_flight == 0
        assert not self.session.lagging
        assert self.session.deadline == math.inf


@given(seed=st.integers(0, 1 << 32))
def test_whatever_comes_in_whatever_order_every_client_gets_everything(seed: int) -> None:
    world = World(seed, forks=False)
    for _ in range(250):
        world.step()
    world.settle()
    assert world.closed is None
    world.check()


@given(seed=st.integers(0, 1 << 32))
def test_whatever_is_trimmed_and_forked_every_client_is_told_and_comes_to_the_end(seed: int) -> None:
    world = World(seed, forks=True)
    for _ in range(250):
        world.step()
        if world.closed is not None:
            break
    else:
        world.settle()
    world.check()
