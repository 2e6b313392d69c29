"""Tests in this directory run on a loop whose time jumps: sleeping an hour takes no time."""

from collections.abc import Callable

import async_solipsism


def virtual_loop() -> async_solipsism.EventLoop:
    """Return a loop whose time jumps to the next timer as soon as there is nothing else to do.

    Its clock moves on by at least a tick: a wait shorter than half of one would otherwise never end.
    """
    loop = async_solipsism.EventLoop()
    clock = loop._selector.clock
    advance, tick = clock.advance, clock.resolution
    clock.advance = lambda delta: advance(max(delta, tick) if delta > 0 else delta)
    return loop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], async_solipsism.EventLoop]]:
    """Give every test here a loop of virtual time."""
    return {"virtual": virtual_loop}
