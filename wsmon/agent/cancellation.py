"""Ends tasks for certain, also where a library swallows a cancellation."""

import asyncio
from typing import Any

AGAIN_AFTER_S = 0.25


def obey_cancellation() -> None:
    """Raise the cancellation that a library swallowed; call it in every loop that talks to Redis.

    Before Python 3.12, `asyncio.wait_for`, which redis-py uses for every write, drops a cancellation that comes in the
    moment its own work is done. The task would then run on, and whoever waits for its end would wait forever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel the task and wait until it is over; a cancellation that got lost on the way is repeated."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_AFTER_S)
