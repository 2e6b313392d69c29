"""What waits to be written to one connection."""

from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.window import Outbound


def test_frames_come_out_in_order_and_joined() -> None:
    queue = Outbound()
    assert queue.take(100) == b""
    assert all(queue.put(frame) for frame in (b"one", b"two", b"three"))
    assert (len(queue), queue.size) == (3, 11)
    assert queue.take(100) == b"onetwothree"
    assert (len(queue), queue.size) == (0, 0)


def test_only_whole_frames_come_out_and_at_least_one() -> None:
    queue = Outbound()
    for frame in (b"one", b"two", b"three"):
        queue.put(frame)
    assert queue.take(1) == b"one"
    assert queue.take(6) == b"two"
    assert queue.take(6) == b"three"


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    queue = Outbound(frames_max=2, bytes_max=10)
    assert queue.put(b"123456")
    assert not queue.put(b"12345")
    assert queue.put(b"1234")
    assert not queue.put(b"")
    assert queue.take(100) == b"1234561234"


def test_there_is_room_while_less_than_half_waits() -> None:
    queue = Outbound(frames_max=4, bytes_max=100)
    rooms = [queue.roomy]
    queue.put(b"x" * 60)
    rooms.append(queue.roomy)
    queue.clear()
    rooms.append(queue.roomy)
    queue.put(b"")
    queue.put(b"")
    rooms.append(queue.roomy)
    assert rooms == [True, False, True, False]


@given(frames=st.lists(st.binary(max_size=20), max_size=30), most=st.integers(0, 60))
def test_nothing_is_lost_or_reordered(frames: list[bytes], most: int) -> None:
    queue = Outbound()
    for frame in frames:
        assert queue.put(frame)
    parts = []
    while len(queue):
        parts.append(queue.take(most))
    assert b"".join(parts) == b"".join(frames)
    assert queue.size == 0
