"""What an action would do, in numbers."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.support import frames
from wsmon.protocol.states import NodeState
from wsmon.ui.render import preflight
from wsmon.ui.render.lines import text_of
from wsmon.views.frame import Frame


def drain_text(frame: Frame, node: str) -> str:
    return "\n".join(text_of(line) for line in preflight.drain_lines(frame, node))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=8), st.integers(0, 3_000))
def test_a_move_loses_nobody_and_levels_the_load(taking: list[int], moving: int) -> None:
    after = preflight.shares(tuple(taking), moving)
    assert sum(after) == sum(taking) + moving
    raised = [then for now, then in zip(taking, after, strict=True) if then > now]
    if raised:
        assert max(raised) - min(raised) <= 1
        assert all(then >= max(raised) - 1 for then in after)


def test_nobody_takes_nothing() -> None:
    assert preflight.shares((), 5) == ()


def test_a_drain_tells_who_gets_how_many() -> None:
    text = drain_text(frames.healthy(), "n1")
    assert "20 connections move to the others" in text
    assert [line.split() for line in text.splitlines() if "→" in line] == [
        ["n2", "20", "→", "30"],
        ["n3", "20", "→", "30"],
    ]
    assert "2 of 3 nodes stay online." in text


def test_a_node_that_drains_already_takes_nobody() -> None:
    text = drain_text(frames.draining(), "n2")
    assert "1 of 3 nodes stay online, 1 more drain already; no spare." in text
    assert "n1 " not in text


def test_a_silent_node_takes_nobody() -> None:
    frame = replace(frames.healthy(), nodes=(frames.node("n1"), frames.node("n2", silent_s=9.0)))
    assert preflight.last_online(frame, "n1")
    assert "n1 is the last node online." in drain_text(frame, "n1")


def test_unknown_numbers_stay_unknown() -> None:
    frame = replace(frames.healthy(), nodes=(frames.node("n1", connections=None), frames.node("n2")))
    assert "– connections move" in drain_text(frame, "n1")
    assert "20  → –" in drain_text(frame, "n1")


def test_many_survivors_are_not_all_listed() -> None:
    frame = replace(frames.healthy(), nodes=tuple(frames.node(f"n{n}") for n in range(1, 20)))
    assert "and 12 more" in drain_text(frame, "n1")


def test_a_node_that_vanished_is_said_to_have() -> None:
    assert "not in the table" in drain_text(frames.healthy(), "n9")
    assert "not in the table" in text_of(preflight.kill_lines(frames.healthy(), ("n9",), 0, 60)[0])


def test_a_kill_tells_what_it_costs() -> None:
    lines = [text_of(line) for line in preflight.kill_lines(frames.healthy(), ("n2",), 1, 60)]
    assert lines[0] == "20 connections on it · running pid 41001"
    assert any(line.startswith("▌ KILL") for line in lines)
    alone = replace(frames.healthy(), nodes=(frames.node("n1"), frames.node("n2", state=NodeState.REMOVED)))
    assert "No other node is online." in "\n".join(text_of(x) for x in preflight.kill_lines(alone, ("n1",), 0, 60))
