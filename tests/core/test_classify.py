"""What is wrong with a link, told from synthetic series."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.classify import (
    SAMPLES_MOST,
    TCP_INFO_BYTES,
    LinkHistory,
    LinkState,
    LinkVerdict,
    LinkWatch,
    Look,
    Sample,
    Silence,
    TcpInfo,
    Trouble,
    decode_tcp_info,
    in_words,
    silence,
)

BASE_S = 0.01


def history(*rtts_s: float | None, every_s: float = 1.0, start: float = 0.0) -> tuple[LinkHistory, float]:
    """Return a history of one sample each second, and the time right after the last."""
    made = LinkHistory(base_s=BASE_S, now=start)
    now = start
    for rtt_s in rtts_s:
        now += every_s
        made.add(Sample(at=now, rtt_s=rtt_s))
    return made, now


def verdict(*rtts_s: float | None, every_s: float = 1.0) -> LinkVerdict:
    made, now = history(*rtts_s, every_s=every_s)
    return made.verdict(now)


def test_quick_answers_mean_that_nothing_is_wrong() -> None:
    found = verdict(*[BASE_S] * 30)
    assert found == LinkVerdict(Trouble.NONE, median_s=BASE_S, answers=20)
    assert LinkHistory(base_s=BASE_S, now=0.0).verdict(1.0).trouble is Trouble.NONE


def test_silence_is_transient_for_30_s_and_persistent_from_then_on() -> None:
    made, now = history(BASE_S, None, None, None, None)
    assert made.verdict(now).trouble is Trouble.TRANSIENT
    assert made.verdict(1.0 + 29.9).trouble is Trouble.TRANSIENT
    found = made.verdict(1.0 + 30.0)
    assert (found.trouble, found.silent_s, found.unanswered) == (Trouble.PERSISTENT, 30.0, 4)


def test_silence_without_three_questions_proves_nothing() -> None:
    made, _ = history(BASE_S, None, None)
    assert made.verdict(40.0).trouble is Trouble.TRANSIENT
    made.add(Sample(at=40.0, rtt_s=None))
    assert made.verdict(40.0).trouble is Trouble.PERSISTENT


def test_one_open_question_on_a_link_that_is_slow_or_lossy_is_on_its_way() -> None:
    assert verdict(*[0.3] * 5, None).trouble is Trouble.HIGH_LATENCY
    assert verdict(*[0.3] * 5, None, None).trouble is Trouble.TRANSIENT
    assert verdict(*[BASE_S] * 5, 0.3, 0.3, None).trouble is Trouble.PACKET_LOSS
    assert verdict(*[BASE_S] * 5, None).trouble is Trouble.TRANSIENT


def test_any_byte_ends_the_silence() -> None:
    made, now = history(BASE_S, *[None] * 5, every_s=10.0)
    assert made.verdict(now).trouble is Trouble.PERSISTENT
    made.heard(now)
    found = made.verdict(now + 1)
    assert (found.trouble, found.unanswered) == (Trouble.TRANSIENT, 0)
    made.heard(now - 5)  # Told late: the newest counts.
    assert made.verdict(now + 1).silent_s == 1.0


def test_an_interruption_that_healed_is_remembered_as_long_as_its_samples() -> None:
    made, now = history(BASE_S, None, None, BASE_S, BASE_S)
    assert made.verdict(now).trouble is Trouble.TRANSIENT
    for _ in range(SAMPLES_MOST):
        now += 1.0
        made.add(Sample(at=now, rtt_s=BASE_S))
    assert made.verdict(now).trouble is Trouble.NONE


def test_samples_older_than_a_minute_do_not_count() -> None:
    made, now = history(0.5, 0.5, 0.5)
    assert made.verdict(now).trouble is Trouble.HIGH_LATENCY
    assert made.verdict(now + 61).trouble is Trouble.NONE


@pytest.mark.parametrize(
    ("base_s", "rtt_s", "trouble"),
    [
        # base + 100 ms decides on quick links, three times base on slow ones.
        (0.001, 0.1009, Trouble.NONE),
        (0.001, 0.1011, Trouble.HIGH_LATENCY),
        (0.1, 0.299, Trouble.NONE),
        (0.1, 0.301, Trouble.HIGH_LATENCY),
    ],
)
def test_high_latency_is_judged_by_the_median(base_s: float, rtt_s: float, trouble: Trouble) -> None:
    made = LinkHistory(base_s=base_s, now=0.0)
    for number in range(10):
        made.add(Sample(at=float(number), rtt_s=rtt_s))
    assert made.verdict(10.0).trouble is trouble


def test_a_few_slow_answers_are_no_high_latency() -> None:
    assert verdict(*[BASE_S] * 11, *[0.15] * 9).trouble is Trouble.NONE
    assert verdict(*[BASE_S] * 9, *[0.15] * 11).trouble is Trouble.HIGH_LATENCY


def test_two_answers_late_by_a_retransmission_are_packet_loss() -> None:
    assert verdict(*[BASE_S] * 19, BASE_S + 0.2).trouble is Trouble.NONE
    found = verdict(*[BASE_S] * 18, BASE_S + 0.2, BASE_S + 0.18)
    assert (found.trouble, found.spikes) == (Trouble.PACKET_LOSS, 2)
    assert verdict(*[BASE_S] * 18, BASE_S + 0.2, BASE_S + 0.17).trouble is Trouble.NONE


@pytest.mark.parametrize(("again", "trouble"), [(0, Trouble.NONE), (9, Trouble.NONE), (10, Trouble.PACKET_LOSS)])
def test_one_segment_in_a_hundred_sent_again_is_packet_loss(again: int, trouble: Trouble) -> None:
    made = LinkHistory(base_s=BASE_S, now=0.0)
    for number in range(10):
        made.add(Sample(at=float(number), rtt_s=BASE_S, segments=100, retransmitted=again if number == 5 else 0))
    found = made.verdict(10.0)
    assert (found.trouble, found.retransmitted) == (trouble, again / 1_000)


def test_a_link_that_is_late_as_a_whole_is_slow_and_not_lossy() -> None:
    assert verdict(*[0.3] * 18, 0.6, 0.6).trouble is Trouble.HIGH_LATENCY


@given(
    rtts_s=st.lists(st.one_of(st.none(), st.floats(0, 0.0999)), max_size=40),
    every_s=st.floats(0.1, 20),
)
def test_no_verdict_without_its_evidence(rtts_s: list[float | None], every_s: float) -> None:
    found = verdict(*rtts_s, every_s=every_s)
    if None not in rtts_s:
        assert found.trouble is Trouble.NONE
    if found.trouble is Trouble.PERSISTENT:
        assert found.silent_s >= 30
        assert rtts_s[-3:] == [None] * 3
    assert found.unanswered <= SAMPLES_MOST


# Silence


def tcp_info(**changed: float) -> TcpInfo:
    values: dict[str, float] = {
        "retransmits": 0,
        "backoff": 0,
        "rto_s": 0.204,
        "unacked": 0,
        "retransmitted_total": 0,
        "last_sent_s": 0.5,
        "last_received_s": 0.5,
        "rtt_s": 0.001,
    }
    return TcpInfo(**(values | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("look", "ended", "asked_s", "found"),
    [
        (Look(tcp=tcp_info()), True, 0.0, Silence.GONE),
        (Look(), True, 0.0, Silence.GONE),
        (Look(), False, 9.0, Silence.UNDECIDED),
        (Look(tcp=tcp_info()), False, 0.1, Silence.UNDECIDED),
        (Look(tcp=tcp_info()), False, 0.3, Silence.FROZEN),
        (Look(tcp=tcp_info(rto_s=1.0)), False, 0.9, Silence.UNDECIDED),
        (Look(tcp=tcp_info(unacked=1)), False, 0.5, Silence.UNDECIDED),
        (Look(tcp=tcp_info(unacked=1, retransmits=1, backoff=1)), False, 0.5, Silence.UNREACHABLE),
        (Look(tcp=tcp_info(unacked=1, backoff=2)), False, 1.0, Silence.UNREACHABLE),
        # It was lost once and has arrived since: the process does not answer.
        (Look(tcp=tcp_info(retransmits=1)), False, 1.0, Silence.FROZEN),
        # A Unix socket: the question lies there and nobody reads it, or it was read and has no answer yet.
        (Look(unread=768), False, 0.1, Silence.FROZEN),
        (Look(unread=0), False, 9.0, Silence.UNDECIDED),
        (Look(connecting=True), False, 0.1, Silence.UNDECIDED),
        (Look(connecting=True), False, 0.3, Silence.UNREACHABLE),
    ],
)
def test_the_kernel_tells_why_nobody_answers(look: Look, *, ended: bool, asked_s: float, found: Silence) -> None:
    assert silence(look, ended=ended, asked_s=asked_s) is found


def test_tcp_info_is_read_at_the_offsets_of_linux() -> None:
    small = [1, 0, 3, 0, 2, 0, 0, 0]
    words = [*range(100, 124)]
    found = decode_tcp_info(struct.pack("=8B24I", *small, *words) + bytes(100))
    assert found == TcpInfo(
        retransmits=3,
        backoff=2,
        rto_s=100 / 1e6,
        unacked=104,
        last_sent_s=0.109,
        last_received_s=0.111,
        rtt_s=115 / 1e6,
        retransmitted_total=123,
        segments=0,
    )
    assert decode_tcp_info(struct.pack("=8B24I8xQQQI", *small, *words, 1, 2, 3, 77)) == replace(found, segments=77)
    short = decode_tcp_info(struct.pack("=8B24I", *small, *words))
    assert short == replace(found, segments=None)


@pytest.mark.parametrize("size", [0, 8, TCP_INFO_BYTES - 1])
def test_another_format_says_nothing(size: int) -> None:
    assert decode_tcp_info(bytes(size)) is None


# The way to one node


BEAT, WEB = "heartbeat", "http"


class Way:
    """A watch that is asked once a second."""

    def __init__(self) -> None:
        self.watch = LinkWatch(late_s=1.0, now=0.0)
        self.now = 0.0

    def answers(self, *rtts_s: float) -> "Way":
        for rtt_s in rtts_s:
            self.now += 1.0
            self.watch.answered(BEAT, self.now, rtt_s=rtt_s)
        return self

    def falls_silent(self, times: int, why: Silence = Silence.UNDECIDED, kind: str = BEAT) -> "Way":
        for _ in range(times):
            self.now += 1.0
            self.watch.silent(kind, why)
            self.watch.unanswered(kind, self.now, asked=self.now - 0.5 if kind == BEAT else None)
        return self

    def state(self, *, gone: bool = False) -> LinkState:
        return self.watch.state(self.now, gone=gone)

    def word(self) -> str:
        return self.state().word


def test_a_way_is_well_until_something_is_known_against_it() -> None:
    assert Way().state() == LinkState(word="ok", since=0.0, trouble=Trouble.NONE)
    assert in_words(Way().state()) == ""


def test_what_the_way_is_like_when_it_is_well_is_learned_from_five_answers_and_never_rises() -> None:
    way = Way().answers(*[0.002] * 4)
    assert way.state().base_s is None
    assert way.answers(0.002).state().base_s == 0.002
    assert way.answers(*[0.3] * 15).state().base_s == 0.002
    found = way.state()
    assert (found.word, found.rtt_s, found.since) == ("high latency", 0.3, 20.0)
    assert in_words(found) == "answers take 300 ms instead of 2 ms (high latency)"
    way.answers(*[0.001] * 20)
    assert (way.word(), way.state().base_s) == ("ok", 0.001)


def test_a_way_that_is_slow_from_the_first_answer_on_is_like_that() -> None:
    assert Way().answers(*[0.4] * 20).word() == "ok"


def test_since_is_when_the_word_was_first_said() -> None:
    way = Way().answers(*[0.002] * 5).falls_silent(1)
    assert (way.word(), way.state().since) == ("transient", 6.0)
    way.falls_silent(1)
    assert way.state().since == 6.0
    way.falls_silent(1, Silence.FROZEN)
    assert (way.word(), way.state().since, way.state().trouble) == ("frozen", 8.0, Trouble.TRANSIENT)


def test_why_there_is_no_answer_says_more_than_that_there_is_none() -> None:
    way = Way().answers(*[0.002] * 5).falls_silent(40, Silence.FROZEN)
    found = way.state()
    assert (found.word, found.trouble, found.silent_s) == ("frozen", Trouble.PERSISTENT, 40.0)
    assert in_words(found) == "it takes what is sent and does not answer (frozen)"
    way.answers(0.002)
    assert way.word() == "transient"


def test_a_question_that_is_still_open_proves_nothing() -> None:
    way = Way().answers(*[0.002] * 5)
    way.watch.silent(BEAT, Silence.FROZEN)
    assert way.word() == "ok"
    way.answers(0.4)
    way.watch.unanswered(BEAT, way.now, asked=way.now)
    assert way.word() == "transient"


def test_who_takes_what_is_sent_can_be_reached_even_if_no_new_connection_gets_through() -> None:
    way = Way().answers(*[0.002] * 5).falls_silent(1, Silence.UNREACHABLE, WEB)
    assert way.word() == "unreachable"
    assert in_words(way.state()) == "nothing confirms that what is sent arrives (unreachable)"
    way.falls_silent(1, Silence.FROZEN)
    assert way.word() == "frozen"
    way.watch.answered(WEB, way.now)
    way.answers(0.002)
    assert way.word() == "transient"


def test_a_silence_of_which_nothing_is_known_is_told_by_how_long_it_lasts() -> None:
    way = Way().answers(*[0.002] * 5).falls_silent(31)
    assert in_words(way.state()) == "not a byte for 31 s (persistent)"


def test_nobody_listens_is_the_last_word() -> None:
    way = Way().answers(0.002).falls_silent(1, Silence.FROZEN)
    assert way.state(gone=True).word == "gone"
    assert in_words(way.state(gone=True)) == "nobody listens (gone)"


def test_a_late_answer_was_slow_and_not_lost() -> None:
    way = Way().answers(*[0.002] * 5)
    for _ in range(20):
        way.falls_silent(1)
        way.watch.late(way.now - 0.5, 0.7, way.now + 0.2)
    assert (way.word(), way.state().rtt_s) == ("high latency", 0.7)


def test_an_answer_that_comes_after_a_standstill_says_nothing_of_the_way() -> None:
    way = Way().answers(*[0.002] * 15).falls_silent(12)
    asked = [way.now - 11.5 + number for number in range(12)]
    for when in asked:
        way.watch.late(when, way.now + 0.1 - when, way.now + 0.1)
    assert way.state().rtt_s == 0.002
    assert way.word() == "transient"
    way.watch.late(-9.0, 0.1, way.now)  # Of a question that nobody asked.
    assert way.state().rtt_s == 0.002


def test_segments_sent_again_on_any_connection_are_packet_loss() -> None:
    way = Way().answers(*[0.002] * 5)
    way.watch.counted(segments=40, retransmitted=1)
    way.watch.counted(segments=10, retransmitted=1)
    way.answers(0.002)
    found = way.state()
    assert (found.word, found.retransmitted) == ("packet loss", 0.04)
    assert in_words(found) == "packets get lost: 4% of segments sent again (packet loss)"
    late = Way().answers(*[0.002] * 8, 0.21, 0.21)
    assert in_words(late.state()) == "packets get lost (packet loss)"
