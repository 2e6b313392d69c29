"""The relay on a loop of virtual time: what goes in at one end comes out at the other, when the faults let it."""

import asyncio
import socket
from collections.abc import AsyncIterator

import async_solipsism
import pytest

from sample_cluster.core.faults import Bandwidth, Blackhole, Latency, Reset, Shape, Way, dice_of
from sample_cluster.faults import WAITING_BYTES_MAX, _End, _LinkState, _Tunnel


class Recorder(asyncio.Transport):
    """A transport that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__({"socket": self})
        self.family = socket.AF_INET
        self.written = b""
        self.paused = self.eof = self.closed = self.aborted = self.lingers = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def setsockopt(self, *option: object) -> None:
        self.lingers = option[:2] == (socket.SOL_SOCKET, socket.SO_LINGER)

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        assert not self.eof
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def has_closed(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Rig:
    """A tunnel between two recorders."""

    def __init__(self, *shapes: Shape) -> None:
        self.link = _LinkState(dice_of(1))
        self.tunnel = _Tunnel(self.link)
        self.shape(*shapes)
        self.near, self.far = Recorder(), Recorder()
        self.tunnel.near.connection_made(self.near)
        self.tunnel.far.connection_made(self.far)

    def shape(self, *shapes: Shape) -> None:
        self.link.shapes = shapes
        self.tunnel.reshape(shapes)

    def lose(self, end: _End, error: Exception | None = None) -> None:
        end.connection_lost(error)


async def test_without_faults_bytes_go_through_at_once_both_ways() -> None:
    rig = Rig()
    rig.tunnel.near.data_received(b"ask")
    rig.tunnel.far.data_received(b"answer")
    assert (rig.far.written, rig.near.written) == (b"ask", b"answer")


async def test_latency_holds_each_way_back_and_is_over_at_once_when_healed() -> None:
    rig = Rig(Latency(0.2))
    rig.tunnel.near.data_received(b"a")
    rig.tunnel.far.data_received(b"b")
    await asyncio.sleep(0.19)
    assert (rig.far.written, rig.near.written) == (b"", b"")
    await asyncio.sleep(0.02)
    assert (rig.far.written, rig.near.written) == (b"a", b"b")
    rig.tunnel.near.data_received(b"c")
    rig.shape()
    assert rig.far.written == b"ac"
    rig.tunnel.near.data_received(b"d")
    assert rig.far.written == b"acd"


async def test_what_came_before_the_other_end_was_there_is_kept() -> None:
    tunnel = _Tunnel(_LinkState(dice_of(1)))
    near, far = Recorder(), Recorder()
    tunnel.near.connection_made(near)
    tunnel.near.data_received(b"early")
    tunnel.near.eof_received()
    tunnel.far.connection_made(far)
    assert (far.written, far.eof) == (b"early", True)


async def test_a_black_hole_swallows_one_way_until_it_closes() -> None:
    rig = Rig(Blackhole(Way.TO))
    rig.tunnel.near.data_received(b"a")
    rig.tunnel.far.data_received(b"b")
    await asyncio.sleep(1_000)
    assert (rig.far.written, rig.near.written) == (b"", b"b")
    rig.shape()
    assert rig.far.written == b"a"


async def test_an_end_does_not_get_through_a_black_hole_either() -> None:
    rig = Rig(Blackhole(Way.BOTH))
    rig.lose(rig.tunnel.near)
    rig.tunnel.far.data_received(b"to nobody")
    assert rig.tunnel.far.lane.empty
    await asyncio.sleep(1_000)
    assert not rig.far.has_closed()
    rig.shape()
    assert rig.far.has_closed()
    rig.lose(rig.tunnel.far)
    assert rig.link.tunnels == set()


async def test_more_than_can_wait_is_not_read() -> None:
    rig = Rig(Bandwidth(1_000_000))
    rig.tunnel.near.data_received(bytes(WAITING_BYTES_MAX + 1))
    assert (rig.near.paused, rig.far.paused) == (True, False)
    await asyncio.sleep(0.3)
    assert not rig.near.paused
    assert len(rig.far.written) == WAITING_BYTES_MAX + 1


async def test_who_does_not_read_stops_who_writes() -> None:
    rig = Rig()
    rig.tunnel.far.pause_writing()
    assert (rig.near.paused, rig.far.paused) == (True, False)
    rig.tunnel.far.resume_writing()
    assert not rig.near.paused


async def test_half_an_end_is_passed_on_and_two_halves_close() -> None:
    rig = Rig(Latency(0.1))
    rig.tunnel.near.data_received(b"last words")
    assert rig.tunnel.near.eof_received()
    await asyncio.sleep(0.2)
    assert (rig.far.written, rig.far.eof, rig.far.has_closed()) == (b"last words", True, False)
    rig.tunnel.far.data_received(b"answer")
    rig.tunnel.far.eof_received()
    await asyncio.sleep(0.2)
    assert rig.near.written == b"answer"
    assert rig.near.has_closed()
    assert rig.far.has_closed()


@pytest.mark.parametrize("after_eof", [False, True])
async def test_a_connection_that_ends_takes_the_other_along_after_its_last_byte(*, after_eof: bool) -> None:
    rig = Rig(Latency(0.1))
    rig.tunnel.near.data_received(b"last words")
    if after_eof:
        rig.tunnel.near.eof_received()
    rig.lose(rig.tunnel.near)
    assert not rig.far.has_closed()
    await asyncio.sleep(0.2)
    assert rig.far.written == b"last words"
    assert rig.far.has_closed()


async def test_a_loss_after_its_end_was_passed_on_closes_the_other() -> None:
    rig = Rig()
    rig.tunnel.near.eof_received()
    assert (rig.far.eof, rig.far.has_closed()) == (True, False)
    rig.lose(rig.tunnel.near)
    assert rig.far.has_closed()


async def test_a_reset_is_passed_on_as_one() -> None:
    rig = Rig()
    rig.lose(rig.tunnel.near, ConnectionResetError())
    assert rig.far.aborted
    assert rig.far.lingers


async def test_a_reset_ends_both_ends_and_the_bytes_between_them() -> None:
    rig = Rig(Latency(5.0))
    rig.tunnel.near.data_received(b"lost")
    rig.link.shapes = (Reset(),)
    rig.tunnel.reset()
    assert (rig.near.aborted, rig.far.aborted) == (True, True)
    assert (rig.near.lingers, rig.far.lingers) == (True, True)
    rig.lose(rig.tunnel.near)
    rig.lose(rig.tunnel.far)
    assert rig.link.tunnels == set()
    await asyncio.sleep(10)
    assert rig.far.written == b""


# With sockets, as far as a loop of virtual time has them.


@pytest.fixture
async def joined() -> AsyncIterator[tuple[_LinkState, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a caller's streams; what it sends comes back through a tunnel."""
    link = _LinkState(dice_of(1))
    caller, near = async_solipsism.socketpair()
    far, called = async_solipsism.socketpair()
    await _Tunnel(link).join(near, far)
    reader, writer = await asyncio.open_connection(sock=caller)
    echo_reader, echo_writer = await asyncio.open_connection(sock=called)

    async def echo() -> None:
        while data := await echo_reader.read(4_096):
            echo_writer.write(data)
        echo_writer.close()

    echoing = asyncio.create_task(echo())
    yield link, reader, writer
    writer.close()
    await echoing
    for _ in range(5):
        await asyncio.sleep(0)


Streams = tuple[_LinkState, asyncio.StreamReader, asyncio.StreamWriter]


async def test_a_round_trip_takes_the_latency_twice(joined: Streams) -> None:
    link, reader, writer = joined
    clock = asyncio.get_running_loop().time
    for shapes, round_trip_s in (((), 0.0), ((Latency(0.2),), 0.4), ((), 0.0)):
        link.shapes = shapes
        for tunnel in link.tunnels:
            tunnel.reshape(shapes)
        asked = clock()
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert clock() - asked == pytest.approx(round_trip_s, abs=0.01)


async def test_a_long_answer_comes_whole_through_a_slow_link(joined: Streams) -> None:
    link, reader, writer = joined
    for tunnel in link.tunnels:
        tunnel.reshape((Bandwidth(100_000),))
    sent = bytes(range(256)) * 2_000
    writer.write(sent)
    began = asyncio.get_running_loop().time()
    assert await reader.readexactly(len(sent)) == sent
    assert asyncio.get_running_loop().time() - began > 5.0
