"""The heartbeat of one connection."""

from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.config import PRODUCTION, ProbeTiming
from sample_cluster.core.heartbeat import Heartbeat, Missed, SendPing

TIMING = ProbeTiming(interval_s=30, timeout_s=10, failures=3)


def run(beat: Heartbeat, *, until: float) -> list[tuple[float, SendPing | Missed]]:
    """Let time pass in the beat's own steps, without an answer."""
    found: list[tuple[float, SendPing | Missed]] = []
    while beat.deadline <= until:
        now = beat.deadline
        result = beat.tick(now)
        if result is not None:
            found.append((now, result))
    return found


def test_a_silent_peer_is_dead_after_three_pings_and_a_hundred_seconds() -> None:
    assert run(Heartbeat(TIMING, now=0), until=100) == [
        (30, SendPing()),
        (40, Missed(1, dead=False)),
        (60, SendPing()),
        (70, Missed(2, dead=False)),
        (90, SendPing()),
        (100, Missed(3, dead=True)),
    ]


def test_nothing_happens_before_the_deadline() -> None:
    beat = Heartbeat(TIMING, now=0)
    assert beat.tick(29.9) is None
    assert beat.deadline == 30


def test_an_answer_forgives_earlier_misses() -> None:
    beat = Heartbeat(TIMING, now=0)
    run(beat, until=90)
    beat.pong()
    assert run(beat, until=190)[-1] == (190, Missed(3, dead=True))


def test_a_late_answer_counts_although_its_ping_was_given_up() -> None:
    beat = Heartbeat(TIMING, now=0)
    run(beat, until=40)
    beat.pong()
    assert run(beat, until=70) == [(60, SendPing()), (70, Missed(1, dead=False))]


def test_a_pause_of_our_own_is_not_the_peers_fault() -> None:
    beat = Heartbeat(TIMING, now=0)
    run(beat, until=90)  # Two misses, and a third ping on its way.
    assert beat.tick(150) is None  # We were stopped for 50 s: the answer may lie in the socket.
    assert beat.deadline == 160
    assert beat.tick(160) == Missed(3, dead=True)


@given(pause=st.floats(0, 10), answered=st.integers(0, 20))
def test_a_peer_that_answers_in_time_never_misses(pause: float, answered: int) -> None:
    beat = Heartbeat(PRODUCTION.client_ping, now=0)
    now = 0.0
    for _ in range(answered):
        now = max(now, beat.deadline)
        assert beat.tick(now) == SendPing()
        now += pause
        beat.pong()
        assert beat.tick(now) is None
