"""The loop of a node, with a clock that is set by hand: what comes first after a pause."""

import asyncio
import selectors
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from sample_cluster.node.fence import FENCED, PAUSE_S, WAIT_MOST_S, ClientSocket, Guard, NodeLoop, PauseSelector

TTL_S = 10.0
FENCE = "fence after 12 s"


class Rig:
    """A guard whose clock only moves when the test says so, and what it asked for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.jumps: list[float] = []
        """What the clock moves on by at each look to come."""
        self.happened: list[str] = []
        self.on_fence: Callable[[], object] = lambda: None
        self.guard = Guard(
            ttl_s=TTL_S,
            renewed_at=lambda: 100.0,
            fence=self._fence,
            renew=lambda: self.happened.append("renew"),
            clock=self._clock,
        )

    def _clock(self) -> float:
        self.now += self.jumps.pop(0) if self.jumps else 0.0
        return self.now

    def _fence(self, stood_s: float) -> None:
        self.happened.append(f"fence after {stood_s:g} s")
        self.on_fence()


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def selector(rig: Rig) -> Iterator[PauseSelector]:
    """A selector with a socket that can be read."""
    ours, theirs = socket.socketpair()
    with ours, theirs, PauseSelector() as selector:
        selector.register(ours, selectors.EVENT_READ, "ours")
        theirs.send(b"x")
        selector.guard = rig.guard
        yield selector


def found(selector: PauseSelector, timeout: float | None = 0.0) -> list[Any]:
    return [key.data for key, _ in selector.select(timeout)]


@pytest.mark.parametrize("jumps", [[12.0], [0.0, 12.0]], ids=["before the wait", "in the wait"])
def test_nothing_is_found_in_the_turn_of_the_fence_and_everything_in_the_next(
    rig: Rig, selector: PauseSelector, jumps: list[float]
) -> None:
    rig.jumps = jumps
    assert found(selector) == []
    assert rig.happened == [FENCE]
    assert found(selector) == ["ours"]
    assert rig.happened == [FENCE]


def test_a_pause_that_the_lease_outlasts_costs_nothing_but_a_renewal(rig: Rig, selector: PauseSelector) -> None:
    rig.jumps = [0.0, 9.0]
    assert found(selector) == ["ours"]
    assert rig.happened == ["renew"]


def test_a_busy_loop_is_left_alone(rig: Rig, selector: PauseSelector) -> None:
    for _ in range(100):  # The lease is not renewed in all that time.
        rig.jumps = [0.5, 0.5]
        assert found(selector) == ["ours"]
    assert rig.happened == []


def test_a_loop_without_a_guard_is_like_any_other(rig: Rig, selector: PauseSelector) -> None:
    selector.guard = None
    rig.jumps = [12.0]
    assert found(selector, None) == ["ours"]
    assert rig.happened == []


def test_no_wait_is_so_long_that_a_pause_could_hide_in_it(
    selector: PauseSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []

    def select(_: selectors.BaseSelector, timeout: float | None = None) -> list[Any]:
        asked.append(timeout)
        return []

    monkeypatch.setattr(selectors.DefaultSelector, "select", select)
    for timeout in (None, 3_600.0, 0.1, 0.0, -1.0):
        selector.select(timeout)
    assert asked == [WAIT_MOST_S, WAIT_MOST_S, 0.1, 0.0, 0.0]


def test_a_lease_too_short_to_notice_its_end_is_refused() -> None:
    with pytest.raises(AssertionError):
        Guard(ttl_s=PAUSE_S, renewed_at=lambda: None, fence=lambda _: None, renew=lambda: None)


def test_a_node_is_fenced_before_its_loop_reads_anything(rig: Rig) -> None:
    """The process stands still in a callback, while bytes come in; what the fence plans comes before they are read."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NodeLoop)
        loop.guard = rig.guard
        rig.on_fence = lambda: loop.call_soon(rig.happened.append, "close")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            read = asyncio.Event()

            def readable() -> None:
                rig.happened.append(f"read {ours.recv(1)!r}")
                read.set()

            def stand_still() -> None:
                theirs.send(b"x")
                rig.now += 12.0

            loop.add_reader(ours, readable)
            loop.call_soon(stand_still)
            await read.wait()
            loop.remove_reader(ours)
        loop.guard = None

    with asyncio.Runner(loop_factory=NodeLoop) as runner:
        runner.run(run())
    assert rig.happened == [FENCE, "close", "read b'x'"]


def test_a_message_that_was_read_already_is_not_handed_out_after_a_pause(rig: Rig) -> None:
    handled: list[object] = []
    closed: list[int | None] = []

    async def handle(connection: ServerConnection) -> None:
        assert isinstance(connection, ClientSocket)

        def fence() -> None:
            connection.deaf = True
            tasks.append(asyncio.ensure_future(connection.close(FENCED)))

        rig.on_fence = fence
        try:
            async for message in connection:
                handled.append(message)
                while len(connection.recv_messages.frames) < 2:  # noqa: ASYNC110  # The library tells nobody.
                    await asyncio.sleep(0)
                rig.now += 12.0  # Stopped in a callback, the next messages in hand.
        except ConnectionClosed:
            pass

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NodeLoop)
        loop.guard = rig.guard
        server = await serve(handle, "127.0.0.1", 0, create_connection=ClientSocket, ping_interval=None)
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", ping_interval=None, proxy=None) as client:
            for message in ("1", "2", "3"):
                await client.send(message)
            await client.wait_closed()
            closed.append(client.close_code)
        loop.guard = None
        server.close()
        await server.wait_closed()

    tasks: list[asyncio.Future[None]] = []
    with asyncio.Runner(loop_factory=NodeLoop) as runner:
        runner.run(run())
    assert handled == ["1"]
    assert closed == [FENCED]
    assert rig.happened == [FENCE]
