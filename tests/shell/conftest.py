"""Tests in this directory run on a loop whose time jumps: sleeping an hour takes no time."""

from collections.abc import Callable

import async_solipsism


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], async_solipsism.EventLoop]]:
    """Give every test here a loop of virtual time."""
    return {"virtual": async_solipsism.EventLoop}
