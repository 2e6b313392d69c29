"""The end of a node whose libraries swallow a cancellation."""

import asyncio
from typing import Any

from sample_cluster.node.server import Node


async def test_a_node_that_is_ended_while_it_registers_ends_although_the_cancellation_got_lost() -> None:
    registering = asyncio.Event()

    class Registering(Node):
        def __init__(self) -> None:
            self._fenced = asyncio.Event()

        async def _register(self) -> Any:
            registering.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "key"  # As wait_for does before Python 3.12 when its own work is done at that very moment.

    task = asyncio.ensure_future(Registering().join())
    await registering.wait()
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()
