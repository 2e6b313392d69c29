"""Tests in this directory run on a loop whose time jumps: sleeping an hour takes no time."""

import asyncio
from collections.abc import Iterator

import async_solipsism
import pytest


class _VirtualTimePolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return async_solipsism.EventLoop()  # type: ignore[no-any-return]


@pytest.fixture
def event_loop_policy() -> Iterator[asyncio.AbstractEventLoopPolicy]:
    """Make pytest-asyncio use virtual time here."""
    yield _VirtualTimePolicy()
