"""The judge of the black-box runs has to find each kind of wrong in a log that holds nothing else."""

import json
import math
from typing import Any

import pytest

from tests.blackbox.checker import Verdict, check, percentile

NONCE = 1_000
"""Message n of the made-up history carries the nonce 1000 + n."""


class Story:
    """A log written by hand. Times go up by a hundredth of a second with each fact, unless said otherwise."""

    def __init__(self, *subscribers: str) -> None:
        self.facts: list[dict[str, Any]] = []
        self.at = 100.0
        for client in subscribers:
            self.note("subscribed", client, channel="c", position={"epoch": "aa", "seq": 0, "nonce": NONCE})

    def note(self, name: str, client: str, /, **fields: object) -> None:
        self.at = round(self.at + 0.01, 6)
        self.facts.append({"at": self.at, "fact": name, "client": client, **fields})

    def publish(self, number: int, *, answer: bool = True) -> None:
        """Let p publish its message `number`, which gets the same number in the log."""
        self.note("sent", "p", channel="c", number=number)
        if answer:
            self.note("answered", "p", channel="c", number=number, seq=number, dup=False)

    def deliver(self, client: str, number: int, /, **other: object) -> None:
        """Deliver message `number` to a subscriber; `other` replaces what it would say."""
        fields: dict[str, object] = {
            "channel": "c",
            "epoch": "aa",
            "seq": number,
            "nonce": NONCE + number,
            "prev": NONCE + number - 1,
            "id": f"id{number}",
            "publisher": "p",
            "number": number,
            "sent": self.at - 0.001,
        }
        self.note("delivered", client, **(fields | other))

    def all_is_well(self, *numbers: int, clients: tuple[str, ...] = ("a", "b")) -> None:
        for number in numbers:
            self.publish(number)
            for client in clients:
                self.deliver(client, number)

    def verdict(self) -> Verdict:
        return check(json.dumps(fact) for fact in self.facts)


@pytest.fixture
def story() -> Story:
    return Story("a", "b")


def wrongs(verdict: Verdict) -> dict[str, int]:
    names = ("lost", "named", "duplicated", "inverted", "late", "broken", "unanswered", "stopped", "away")
    more = ("missing_in_log", "stored_twice")
    return {name: count for name in (*names, *more) if (count := getattr(verdict, name))}


def test_a_run_without_a_fault_has_nothing_wrong(story: Story) -> None:
    story.all_is_well(1, 2, 3, 4)
    story.note("end", "", settled=True)
    verdict = story.verdict()
    assert wrongs(verdict) == {}
    assert (verdict.subscribers, verdict.sent, verdict.answered, verdict.delivered) == (2, 4, 4, 8)
    assert verdict.settled


def test_a_hole_in_what_was_delivered_is_a_loss(story: Story) -> None:
    story.all_is_well(1)
    story.publish(2)
    story.deliver("a", 2)
    story.publish(3)
    story.deliver("a", 3)
    story.deliver("b", 3)
    verdict = story.verdict()
    assert wrongs(verdict) == {"lost": 1}
    assert verdict.examples == ("lost: b never got seq 2 of c (p@c 2)",)


def test_a_hole_that_nobody_answered_for_is_a_loss_as_well(story: Story) -> None:
    """Nobody else saw it and its publisher has no answer: still the node skipped a number without a word."""
    story.all_is_well(1)
    story.deliver("a", 3)
    story.deliver("b", 3)
    assert story.verdict().lost == 2


def test_a_message_that_is_missing_at_the_very_end_is_a_loss(story: Story) -> None:
    """No later message shows the hole: only that it was answered does."""
    story.all_is_well(1)
    story.publish(2)
    assert wrongs(story.verdict()) == {"lost": 2}


def test_a_message_that_only_others_got_is_a_loss(story: Story) -> None:
    story.all_is_well(1)
    story.publish(2, answer=False)
    story.deliver("a", 2)
    assert wrongs(story.verdict()) == {"lost": 1, "unanswered": 1}


def test_an_answer_without_a_number_still_obliges(story: Story) -> None:
    story.all_is_well(1)
    story.note("sent", "p", channel="c", number=2)
    story.note("answered", "p", channel="c", number=2, seq=0, dup=True)
    story.deliver("a", 2)
    assert wrongs(story.verdict()) == {"lost": 1}


def test_who_subscribes_later_is_not_owed_what_came_before() -> None:
    story = Story("a")
    story.all_is_well(1, 2, clients=("a",))
    story.note("subscribed", "b", channel="c", position={"epoch": "aa", "seq": 2, "nonce": NONCE + 2})
    story.all_is_well(3)
    assert wrongs(story.verdict()) == {}


def test_a_resync_names_what_it_skips(story: Story) -> None:
    story.all_is_well(1)
    for number in (2, 3, 4):
        story.publish(number)
        story.deliver("a", number)
    position = {"epoch": "aa", "seq": 3, "nonce": NONCE + 3}
    story.note("resync", "b", channel="c", reason="trimmed", have=1, first=4, top=4, position=position, last=1)
    story.deliver("b", 4)
    verdict = story.verdict()
    assert wrongs(verdict) == {"named": 2}
    assert verdict.resyncs == 1


def test_a_resync_does_not_excuse_an_older_hole(story: Story) -> None:
    story.all_is_well(1)
    story.publish(2)
    story.deliver("a", 2)
    story.publish(3)
    story.deliver("a", 3)
    story.deliver("b", 3)
    position = {"epoch": "aa", "seq": 3, "nonce": NONCE + 3}
    story.note("resync", "b", channel="c", reason="trimmed", have=3, first=1, top=3, position=position, last=3)
    assert wrongs(story.verdict()) == {"lost": 1}


def rewind(story: Story, client: str, to: int, last: int) -> None:
    position = {"epoch": "aa", "seq": to, "nonce": NONCE + to}
    story.note("rewind", client, channel="c", to=to, void=[to + 1, last], position=position, last=last)


def test_after_a_rewind_numbers_are_used_again_and_what_is_void_is_named(story: Story) -> None:
    story.all_is_well(1)
    story.publish(2)
    story.deliver("a", 2)  # b never gets it: the log forgets it.
    for client in ("a", "b"):
        rewind(story, client, 1, 2)
    story.note("sent", "p", channel="c", number=3)
    story.note("answered", "p", channel="c", number=3, seq=2, dup=False)
    for client in ("a", "b"):
        story.deliver(client, 3, seq=2, nonce=7, prev=NONCE + 1)
    verdict = story.verdict()
    assert wrongs(verdict) == {"named": 1}
    assert verdict.rewinds == 2


def test_what_is_appended_again_after_a_fork_is_late_for_one_and_known_to_the_other(story: Story) -> None:
    story.all_is_well(1)
    story.publish(2)
    story.deliver("a", 2)
    for client in ("a", "b"):
        rewind(story, client, 1, 2)
    story.note("sent", "p", channel="c", number=3)
    story.note("answered", "p", channel="c", number=3, seq=2, dup=False)
    for client in ("a", "b"):
        story.deliver(client, 3, seq=2, nonce=7, prev=NONCE + 1)
    story.note("skipped", "a", channel="c", epoch="aa", seq=3, nonce=8, prev=7, id="id2")
    story.deliver("b", 2, seq=3, nonce=8, prev=7)
    assert wrongs(story.verdict()) == {"late": 1}


def test_what_a_rewind_did_not_name_stays_lost(story: Story) -> None:
    story.all_is_well(1)
    story.publish(2)
    rewind(story, "a", 1, 2)
    story.publish(3)  # Answered after the rewind: its number is of the new history.
    assert wrongs(story.verdict()) == {"named": 1, "lost": 3}


def fork(story: Story, client: str, *, have: int, top: int) -> None:
    position = {"epoch": "aa", "seq": top, "nonce": 7}
    story.note("resync", client, channel="c", reason="fork", have=have, first=1, top=top, position=position, last=have)


def test_a_resync_after_a_fork_speaks_of_both_histories_up_to_its_position(story: Story) -> None:
    """The answer for what was passed over comes a moment later, from another node."""
    story.all_is_well(1)
    story.note("sent", "p", channel="c", number=2)
    for client in ("a", "b"):
        fork(story, client, have=1, top=2)
    story.note("answered", "p", channel="c", number=2, seq=2, dup=False)
    assert wrongs(story.verdict()) == {"named": 2}


def test_a_resync_after_a_fork_does_not_speak_of_what_follows(story: Story) -> None:
    story.all_is_well(1)
    story.note("sent", "p", channel="c", number=2)
    for client in ("a", "b"):
        fork(story, client, have=1, top=1)
    story.note("answered", "p", channel="c", number=2, seq=2, dup=False)
    assert wrongs(story.verdict()) == {"lost": 2}


def test_a_hole_in_the_new_history_is_a_loss_though_its_number_was_void_in_the_old(story: Story) -> None:
    story.all_is_well(1, 2)
    story.note("sent", "p", channel="c", number=3)
    for client in ("a", "b"):
        rewind(story, client, 1, 9)
    story.note("answered", "p", channel="c", number=3, seq=2, dup=False)
    story.publish(4)
    for client in ("a", "b"):
        story.deliver(client, 4, seq=3, nonce=7)
    assert story.verdict().lost == 2


def test_dropping_as_known_what_was_never_delivered_is_a_loss(story: Story) -> None:
    story.all_is_well(1)
    story.note("skipped", "a", channel="c", epoch="aa", seq=2, nonce=NONCE + 2, prev=NONCE + 1, id="id2")
    assert story.verdict().lost == 1


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"id": "another"},
        {"id": "another", "number": 9},
        {"seq": 3, "prev": NONCE + 2},
        {"seq": 3, "prev": NONCE + 2, "id": "another"},
    ],
    ids=["the same", "seq and number", "seq", "id and number", "number"],
)
def test_whatever_comes_twice_is_a_duplicate(story: Story, other: dict[str, object]) -> None:
    story.all_is_well(1, 2)
    story.deliver("a", 2, **other)
    assert story.verdict().duplicated >= 1


def test_a_filled_hole_is_an_inversion_and_no_loss(story: Story) -> None:
    story.all_is_well(1)
    story.publish(2)
    story.deliver("b", 2)
    story.publish(3)
    story.deliver("b", 3)
    story.deliver("a", 3)
    story.deliver("a", 2)
    verdict = story.verdict()
    assert verdict.inverted >= 1
    assert verdict.lost == 0


def test_a_publisher_overtaken_by_itself_is_an_inversion(story: Story) -> None:
    """The log itself has the two in the wrong order."""
    for number, seq in ((2, 1), (1, 2)):
        story.note("sent", "p", channel="c", number=number)
        story.note("answered", "p", channel="c", number=number, seq=seq, dup=False)
        for client in ("a", "b"):
            story.deliver(client, number, seq=seq, nonce=NONCE + seq, prev=NONCE + seq - 1)
    assert wrongs(story.verdict()) == {"inverted": 2}


def test_another_history_without_a_word_is_noticed(story: Story) -> None:
    story.all_is_well(1, 2)
    story.publish(3)
    story.deliver("a", 3)
    story.deliver("b", 3, prev=5)
    assert wrongs(story.verdict()) == {"broken": 1}


def test_a_publish_without_an_answer_is_noticed_and_a_refusal_is_an_answer(story: Story) -> None:
    story.all_is_well(1)
    for number in (2, 3, 4):
        story.publish(number, answer=False)
    story.note("refused", "p", channel="c", number=2, code="too_big", temporary=False)
    story.note("refused", "p", channel="c", number=3, code="unavailable", temporary=True)
    verdict = story.verdict()
    assert wrongs(verdict) == {"unanswered": 2}
    assert (verdict.refused, verdict.retried) == (1, 1)


def welcome(story: Story, client: str, *, handover: bool = False, fresh: tuple[str, ...] = ()) -> None:
    resumed = [] if fresh else ["c"]
    story.note(
        "welcome", client, node="n1", attempt=1, resuming=True, resumed=resumed, fresh=list(fresh), handover=handover
    )


def test_the_time_of_a_resume_runs_from_the_loss_to_the_next_delivery(story: Story) -> None:
    story.all_is_well(1)
    for client in ("a", "b"):
        story.note("lost", client, code=1006, how="closed")
    story.at += 0.5
    for client in ("a", "b"):
        welcome(story, client)
    story.publish(2)
    story.deliver("a", 2)
    story.at += 1.0
    story.deliver("b", 2)
    verdict = story.verdict()
    assert wrongs(verdict) == {}
    assert verdict.resume_p50_s == pytest.approx(0.56, abs=0.011)
    assert verdict.resume_p99_s == verdict.resume_most_s == pytest.approx(1.56, abs=0.011)
    assert (verdict.resumes, verdict.clean, verdict.losses) == (2, 2, 2)


def test_who_is_welcomed_and_has_nothing_to_get_is_back(story: Story) -> None:
    story.all_is_well(1)
    story.note("lost", "a", code=1006, how="closed")
    story.at += 0.5
    welcome(story, "a")
    verdict = story.verdict()
    assert wrongs(verdict) == {}
    assert verdict.resume_p50_s == pytest.approx(0.51, abs=0.011)


def test_to_leave_when_asked_is_no_loss(story: Story) -> None:
    story.all_is_well(1)
    story.note("lost", "a", code=1001, how="left")
    welcome(story, "a")
    story.all_is_well(2)
    story.note("lost", "b", code=1001, how="left")
    verdict = story.verdict()
    assert wrongs(verdict) == {"away": 1}
    assert (verdict.resumes, verdict.losses) == (1, 0)


def test_a_client_that_does_not_come_back_or_must_not_is_noticed(story: Story) -> None:
    story.all_is_well(1)
    story.note("lost", "a", code=1006, how="closed")
    story.note("lost", "b", code=4503, how="closed")
    story.note("stopped", "b", code=4503)
    assert wrongs(story.verdict()) == {"away": 2, "stopped": 1}


@pytest.mark.parametrize("fresh", [True, False])
def test_a_resume_with_a_resync_is_not_clean(story: Story, *, fresh: bool) -> None:
    story.all_is_well(1)
    for client in ("a", "b"):
        story.note("lost", client, code=1006, how="closed")
        welcome(story, client, fresh=("c",) if fresh and client == "a" else ())
    position = {"epoch": "aa", "seq": 1, "nonce": NONCE + 1}
    story.note("resync", "a", channel="c", reason="expired", have=1, first=1, top=1, position=position, last=1)
    story.all_is_well(2)
    verdict = story.verdict()
    assert (verdict.resumes, verdict.clean) == (2, 1)


def test_a_handover_is_a_resume_without_a_loss(story: Story) -> None:
    story.all_is_well(1)
    welcome(story, "a", handover=True)
    story.all_is_well(2)
    verdict = story.verdict()
    assert (verdict.resumes, verdict.clean, verdict.handovers, verdict.losses) == (1, 1, 1, 0)
    assert math.isnan(verdict.resume_p50_s)


def test_a_pause_counts_only_while_there_was_something_to_deliver(story: Story) -> None:
    story.note("fault", "", name="drain")
    story.all_is_well(1)
    story.at += 5.0  # Nobody publishes.
    story.all_is_well(2)
    assert story.verdict().pause_most_s < 0.05
    story.publish(3)
    sent = story.at
    story.deliver("a", 3, sent=sent)
    story.at += 0.7
    story.deliver("b", 3, sent=sent)
    verdict = story.verdict()
    assert verdict.pause_most_s == pytest.approx(0.73, abs=0.02)
    assert verdict.pause_p50_s < 0.05


def test_a_pause_after_the_publishers_fell_silent_does_not_count(story: Story) -> None:
    story.note("fault", "", name="drain")
    story.all_is_well(1)
    story.publish(2)
    story.note("quiet", "")
    story.at += 3.0
    story.deliver("a", 2, sent=100.0)
    story.deliver("b", 2, sent=100.0)
    assert story.verdict().pause_most_s < 0.05


def test_the_log_in_the_end_holds_all_that_was_answered_once(story: Story) -> None:
    story.all_is_well(1, 2, 3)
    for number in (1, 3, 3):
        story.note("stored", "", channel="c", seq=number, id=f"id{number}", publisher="p", number=number)
    verdict = story.verdict()
    assert wrongs(verdict) == {"missing_in_log": 1, "stored_twice": 1}
    assert verdict.stored == 2


def test_what_was_trimmed_off_the_log_is_not_missed(story: Story) -> None:
    story.all_is_well(1, 2, 3)
    story.note("stored", "", channel="c", seq=3, id="id3", publisher="p", number=3)
    assert wrongs(story.verdict()) == {}


def test_all_is_counted_and_only_some_is_told(story: Story) -> None:
    story.all_is_well(1)
    for number in range(2, 50):
        story.publish(number)
    verdict = story.verdict()
    assert verdict.lost == 96
    assert len(verdict.examples) == 12


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert percentile([3.0], 1) == 3.0
    assert math.isnan(percentile([], 50))
