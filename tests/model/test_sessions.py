"""Biographies of clients: the same whatever the order and however often it is told, and bounded."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import facts
from tests.support.facts import T0, happened, says, seen
from wsmon.model.inputs import Happened, Input
from wsmon.model.sessions import ChapterKind, Sessions, Standing, Word
from wsmon.protocol.events import (
    ClientLost,
    EventBody,
    NodeStateChanged,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
)

LOST = ClientLost(client="c1", node="n2", code=1006)
STORY: tuple[EventBody, ...] = (
    LOST,
    ReconnectScheduled(client="c1", attempt=1, delay_s=0.3, delay_source="spread"),
    ReconnectStarted(client="c1", attempt=1),
    ReconnectFailed(client="c1", attempt=1, outcome="503 try later"),
    ReconnectScheduled(client="c1", attempt=2, delay_s=0.5, delay_source="backoff"),
    ReconnectStarted(client="c1", attempt=2),
    Resumed(client="c1", node="n3", how="log", ms=820.0, replayed=3),
)


def told(story: Sequence[EventBody], *, first: int = 1, at: float = T0) -> list[Happened]:
    return [happened(body, at + index / 10, seq=first + index) for index, body in enumerate(story)]


def after(inputs: Sequence[Input], sessions: Sessions | None = None) -> Sessions:
    sessions = Sessions() if sessions is None else sessions
    for item in inputs:
        sessions.apply(item)
    return sessions


def standing(sessions: Sessions, client: str = "c1") -> Standing:
    one = sessions.get("fleet", client)
    assert one is not None
    return one.now


def test_a_way_back_is_told_whole() -> None:
    now = standing(after(told(STORY)))
    assert (now.word, now.node, now.lost, now.tries, now.how, now.replayed) == (Word.CONNECTED, "n3", 1, 2, "log", 3)
    assert (now.way_s, now.worst_s) == (0.82, 0.82)
    assert now.since_at == pytest.approx(T0 + 0.6)


@pytest.mark.parametrize(
    ("chapters", "word"),
    [(1, Word.AWAY), (2, Word.WAITING), (3, Word.TRYING), (4, Word.AWAY), (5, Word.WAITING), (7, Word.CONNECTED)],
)
def test_each_chapter_leaves_its_state(chapters: int, word: Word) -> None:
    assert standing(after(told(STORY[:chapters]))).word is word


def test_a_plan_says_when_the_next_attempt_is() -> None:
    assert standing(after(told(STORY[:2]))).next_at == pytest.approx(T0 + 0.4)
    assert standing(after(told(STORY[:3]))).next_at is None


@given(st.permutations(range(len(STORY))), st.lists(st.integers(0, len(STORY) - 1), max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_order_and_any_duplicates_give_the_same_life(order: list[int], again: list[int]) -> None:
    inputs = told(STORY)
    plain = after(inputs)
    mixed = after([inputs[index] for index in (*order, *again)])
    assert mixed.get("fleet", "c1") == plain.get("fleet", "c1")
    assert mixed.chapters == plain.chapters == len(STORY)


def test_a_duplicate_changes_nothing_even_if_its_chapter_was_dropped() -> None:
    sessions = Sessions(clients_max=10, chapters_max=5, all_max=80)
    inputs = told(STORY)
    after(inputs, sessions)
    before = standing(sessions)
    assert sessions.dropped == 2
    assert [sessions.apply(item) for item in inputs] == [False] * len(inputs)
    assert standing(sessions) == before
    assert before.lost == 1


def test_what_was_dropped_stays_counted() -> None:
    sessions = Sessions(clients_max=10, chapters_max=5, all_max=80)
    for wave in range(20):
        after(told(STORY, first=1 + wave * len(STORY), at=T0 + 10 * wave), sessions)
    one = sessions.get("fleet", "c1")
    assert one is not None
    assert (len(one.chapters), one.dropped, one.now.lost, one.now.tries_ever) == (5, 135, 20, 40)
    late = happened(LOST, T0 + 191.35, seq=20 * len(STORY) - 1)
    assert not sessions.apply(late)


def test_a_client_is_moved_without_ever_being_away() -> None:
    plan = ReconnectScheduled(client="c1", attempt=1, delay_s=0.5, delay_source="goaway")
    sessions = after(told((plan,)))
    assert standing(sessions).word is Word.MOVING
    after(told((Resumed(client="c1", node="n1", how="handover", replayed=0),), first=2, at=T0 + 1), sessions)
    now = standing(sessions)
    assert (now.word, now.node, now.lost, now.way_s, now.how) == (Word.CONNECTED, "n1", 0, 0.0, "handover")


def test_a_client_that_is_stopped_is_not_away() -> None:
    sessions = after(told((*STORY[:3], ReconnectFailed(client="c1", outcome="stopped by 4504"))))
    assert standing(sessions).word is Word.STOPPED


def test_a_way_back_without_a_length_is_measured() -> None:
    sessions = after(told((LOST, Resumed(client="c1", node="n3"))))
    assert standing(sessions).way_s == pytest.approx(0.1)


def test_the_longest_pause_is_remembered() -> None:
    story = (LOST, Resumed(client="c1", node="n3", ms=900.0), LOST, Resumed(client="c1", node="n1", ms=100.0))
    now = standing(after(told(story)))
    assert (now.way_s, now.worst_s, now.lost) == (0.1, 0.9, 2)


def test_the_fleets_state_ends_an_absence_whose_end_was_not_heard_of() -> None:
    sessions = after(told((LOST,)))
    there = says("fleet", {"clients_state": {"c1": {"state": "connected", "node": "n1"}}}, T0 + 0.3)
    assert not sessions.apply(there), "a sample as old as the event says nothing"
    assert sessions.apply(says("fleet", dict(there.state), T0 + 2))
    now = standing(sessions)
    assert (now.word, now.node, now.since_at) == (Word.CONNECTED, "n1", T0 + 2)
    assert not sessions.apply(says("fleet", dict(there.state), T0 + 3))


def test_an_event_tells_it_better_than_the_state_even_if_it_comes_later() -> None:
    sessions = after(told((LOST,)))
    sessions.apply(says("fleet", {"clients_state": {"c1": {"state": "connected", "node": "n1"}}}, T0 + 2))
    after(told((Resumed(client="c1", node="n1", how="ring", ms=300.0, replayed=2),), first=2, at=T0 + 0.3), sessions)
    now = standing(sessions)
    assert (now.word, now.how, now.way_s, now.replayed) == (Word.CONNECTED, "ring", 0.3, 2)


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"state": "waiting"}, Word.AWAY),
        ({"state": "stopped"}, Word.STOPPED),
        ({"state": 7}, Word.AWAY),
        ("nonsense", Word.UNKNOWN),
        (None, Word.UNKNOWN),
    ],
)
def test_the_fleets_state_may_say_something_else(entry: object, word: Word) -> None:
    sessions = after(told((LOST,)))
    sessions.apply(says("fleet", {"clients_state": {"c1": entry}}, T0 + 2))  # type: ignore[dict-item]
    assert standing(sessions).word is word


def test_a_fleets_new_life_ends_the_absences_of_its_old_one() -> None:
    sessions = after([*told((LOST,)), happened(Resumed(client="c2", node="n1"), T0, seq=9)])
    assert sessions.apply(seen("fleet", T0 + 5, boot=facts.BOOT + 1))
    assert standing(sessions).word is Word.UNKNOWN
    assert standing(sessions, "c2").word is Word.CONNECTED
    assert not sessions.apply(seen("fleet", T0 + 6, boot=facts.BOOT + 1))
    assert not sessions.apply(happened(LOST, T0 + 7, seq=100)), "of an earlier life"


def test_two_fleets_may_call_their_clients_alike() -> None:
    sessions = after([happened(LOST, seq=1), happened(Resumed(client="c1", node="n9"), seq=1, source="other")])
    assert len(sessions) == 2
    assert standing(sessions).word is Word.AWAY


def test_what_is_not_about_clients_changes_nothing() -> None:
    sessions = Sessions()
    other = happened(NodeStateChanged(node="n1", old="online", new="suspect"), seq=1)
    assert not sessions.apply(other)
    assert not sessions.apply(says("n1", {"state": "online", "clients_state": 7}))
    assert not sessions.apply(facts.gone("n1", T0))
    assert len(sessions) == 0


def test_clients_are_bounded_and_the_quietest_is_forgotten() -> None:
    sessions = Sessions(clients_max=3, chapters_max=5, all_max=24)
    for index in range(5):
        sessions.apply(happened(ClientLost(client=f"c{index}"), seq=index + 1))
    assert (len(sessions), sessions.forgotten, sessions.chapters) == (3, 2, 3)
    assert sessions.get("fleet", "c0") is None


def test_all_chapters_together_are_bounded() -> None:
    dice = random.Random(4)
    sessions = Sessions(clients_max=20, chapters_max=50, all_max=160)
    for seq in range(1, 4_000):
        client = f"c{dice.randrange(20)}"
        body: EventBody = Resumed(client=client, node="n1", ms=1.0) if seq % 2 else ClientLost(client=client, node="n1")
        sessions.apply(happened(body, T0 + seq, seq=seq))
        assert sessions.chapters <= 160
    assert sessions.chapters == sum(len(one.chapters) for one in sessions)
    assert sessions.chapters + sessions.dropped == 3_999
    assert sum(one.dropped for one in sessions) == sessions.dropped


def test_sources_are_bounded() -> None:
    sessions = Sessions()
    for index in range(300):
        sessions.apply(happened(LOST, seq=1, source=f"fleet{index}"))
    assert (len(sessions), sessions.overflow) == (256, 44)


def test_nonsense_is_cut_to_size() -> None:
    story: tuple[EventBody, ...] = (
        ClientLost(client="x" * 10_000, node="n" * 10_000, code=10**40),
        ReconnectScheduled(client="x" * 10_000, attempt=-(10**40), delay_s=float("inf"), delay_source="s" * 10_000),
        ReconnectFailed(client="x" * 10_000, attempt=None, outcome="o" * 10_000),
        Resumed(client="x" * 10_000, node="n", ms=-5.0, replayed=10**40),
    )
    sessions = after(told(story))
    one = sessions.get("fleet", "x" * 10_000)
    assert one is not None
    assert len(one.client) == 256
    assert all(len(chapter.word) <= 120 for chapter in one.chapters)
    assert [chapter.seconds for chapter in one.chapters] == [None, 3_600.0, None, 0.0]
    assert one.chapters[0].number == 1_000_000_000
    assert [chapter.kind for chapter in one.chapters][-1] is ChapterKind.BACK
