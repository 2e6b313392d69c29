"""When something is sent, and how much of it."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.protocol.states import NodeState
from wsmon.ui import pace as limits
from wsmon.ui.pace import Pace, urgent
from wsmon.views.frame import Severity


def link(pace: Pace, *, bytes_s: float, way_s: float, until_s: float = 20.0) -> list[tuple[float, int]]:
    """Send as much as is allowed over a link; return when each piece went, and its size."""
    now, sent = 0.0, []
    pace.sent(now, 0)
    pace.answered(now + way_s)
    now += way_s
    while now < until_s:
        assert pace.may_send(now, busy=False)
        size = pace.budget
        pace.sent(now, size)
        sent.append((now, size))
        assert not pace.may_send(now, busy=False)
        now += way_s + size / bytes_s
        pace.answered(now)
    return sent


def test_nothing_is_sent_while_an_answer_is_owed() -> None:
    pace = Pace()
    assert pace.may_send(0.0, busy=False)
    pace.sent(0.0, 100)
    assert not pace.may_send(0.5, busy=False)
    pace.answered(0.6)
    assert pace.may_send(0.6, busy=False)


def test_nothing_waits_for_the_answer_to_a_question_that_went_alone() -> None:
    pace = Pace()
    pace.sent(0.0, 0)
    assert pace.may_send(0.0, busy=False)


def test_a_terminal_that_never_answers_is_not_asked_again() -> None:
    pace = Pace()
    pace.sent(0.0, 100)
    assert not pace.may_send(0.9, busy=False)
    assert not pace.may_send(1.5, busy=True)
    assert pace.may_send(1.5, busy=False)
    assert not pace.asks
    pace.sent(1.5, 100)
    assert pace.may_send(1.6, busy=False)
    assert not pace.may_send(1.6, busy=True)


def test_a_late_answer_makes_it_one_that_is_asked() -> None:
    pace = Pace()
    pace.sent(0.0, 100)
    assert pace.may_send(1.5, busy=False)
    pace.answered(3.0)
    assert pace.asks


def test_an_answer_that_is_lost_stops_nothing_for_ever() -> None:
    pace = Pace()
    pace.sent(0.0, 100)
    pace.answered(0.1)
    pace.sent(1.0, 100)
    assert not pace.may_send(10.9, busy=False)
    assert pace.may_send(11.1, busy=False)
    assert pace.asks


@pytest.mark.parametrize("bytes_s", [960, 5_000])
def test_pieces_for_a_slow_link_become_so_small_that_they_arrive_soon(bytes_s: int) -> None:
    pieces = link(Pace(), bytes_s=bytes_s, way_s=0.06)
    assert pieces[-1][1] <= max(limits.BYTES_MIN, bytes_s * limits.TARGET_S * 1.5)
    assert max(size / bytes_s for _, size in pieces[-10:]) < 0.25


def test_only_a_very_slow_link_makes_each_byte_count() -> None:
    for bytes_s, slow in ((960, True), (20_000, False)):
        pace = Pace()
        link(pace, bytes_s=bytes_s, way_s=0.02)
        assert pace.slow is slow


@pytest.mark.parametrize("way_s", [0.002, 0.3, 0.7])
def test_a_link_that_is_long_but_wide_carries_large_pieces(way_s: float) -> None:
    pieces = link(Pace(), bytes_s=2e6, way_s=way_s)
    assert pieces[-1][1] >= 16_384


def test_a_terminal_that_answers_at_once_gets_the_whole_screen_at_once() -> None:
    pace = Pace()
    assert pace.budget == limits.BYTES_FIRST
    pace.sent(0.0, 0)
    pace.answered(0.004)
    assert pace.budget == limits.BYTES_NEAR


def test_values_are_drawn_ten_times_a_second_once_the_last_are_shown() -> None:
    pace = Pace()
    assert pace.may_draw(0.0)
    pace.drew(0.0)
    assert not pace.may_draw(5.0)
    pace.shown(0.001)
    assert not pace.may_draw(0.05)
    assert pace.may_draw(0.1)


def test_a_link_that_worked_rests_as_long() -> None:
    pace = Pace()
    pace.drew(0.0)
    pace.shown(2.0)
    assert not pace.may_draw(3.9)
    assert pace.may_draw(4.0)


def test_after_a_link_stood_still_the_present_is_drawn_at_once() -> None:
    pace = Pace()
    pace.sent(0.0, 100)
    pace.drew(0.2)
    assert not pace.may_send(0.2, busy=False)
    assert not pace.may_send(0.9, busy=True)
    pace.answered(30.0)
    assert pace.may_send(30.0, busy=False)
    pace.sent(30.0, 100)
    pace.shown(30.01)
    assert pace.may_draw(30.02)


def test_a_stall_of_a_terminal_that_never_answers_is_no_work_either() -> None:
    pace = Pace()
    pace.asks = False
    pace.drew(0.0)
    assert not pace.may_send(0.0, busy=True)
    assert not pace.may_send(29.9, busy=True)
    assert pace.may_send(30.0, busy=False)
    pace.shown(30.0)
    assert pace.may_draw(30.01)


def test_a_slow_link_that_did_not_stand_still_rests_all_the_same() -> None:
    pace = Pace()
    pace.drew(0.0)
    for number in range(1, 5):
        pace.sent(number - 1, 100)
        assert not pace.may_send(number - 0.1, busy=False)
        pace.answered(number)
        assert pace.may_send(number, busy=False)
    pace.shown(4.0)
    assert not pace.may_draw(7.9)
    assert pace.may_draw(8.0)


def test_a_slow_link_gets_values_once_a_second_and_no_more_bytes_than_promised() -> None:
    pace = Pace(lean=True)
    pace.drew(0.0)
    pace.sent(0.0, 100)
    pace.shown(0.02)
    assert not pace.may_draw(0.9)
    assert pace.may_draw(1.0)
    pace.drew(1.0)
    pace.sent(1.0, 2_100)
    pace.shown(1.02)
    assert not pace.may_draw(3.9)
    assert pace.may_draw(4.0)


def test_a_window_without_the_focus_gets_values_less_often() -> None:
    pace = Pace()
    pace.focused = False
    pace.drew(0.0)
    pace.shown(0.01)
    assert not pace.may_draw(1.9)
    assert pace.may_draw(2.0)
    pace.focused = True
    assert pace.may_draw(0.2)


def test_a_terminal_entered_again_owes_nothing() -> None:
    pace = Pace()
    pace.drew(0.0)
    pace.sent(0.0, 100)
    pace.began()
    assert pace.may_send(0.1, busy=False)
    assert pace.may_draw(0.2)


def test_what_is_urgent_is_seen() -> None:
    calm = frames.healthy()
    assert not urgent(calm, frames.healthy(frames.AT + 1))
    busier = replace(calm.nodes[1], messages_out_s=9.0)
    assert not urgent(calm, replace(calm, nodes=(calm.nodes[0], busier, calm.nodes[2])))
    ill = replace(calm.nodes[1], state=NodeState.SUSPECT)
    assert urgent(calm, replace(calm, nodes=(calm.nodes[0], ill, calm.nodes[2])))
    assert urgent(calm, replace(calm, ended="gone"))
    quiet = frames.event(9, "n1 is well", Severity.GOOD)
    loud = frames.event(10, "n1 is not", Severity.BAD)
    assert not urgent(calm, replace(calm, events=(*calm.events, quiet)))
    assert urgent(calm, replace(calm, events=(*calm.events, loud, quiet)))
    assert not urgent(replace(calm, events=(loud,)), replace(calm, events=(loud, quiet)))
