"""A recording as a source: the same inputs, in the same order, as fast as they can be read."""

import asyncio
from collections.abc import Callable
from typing import Final

from wsmon.model.inputs import Input
from wsmon.recording.recording import Recording

BREATHE_EVERY: Final = 500
"""Inputs told without giving others a turn."""


class ReplaySource:
    """Tells what a recording holds, and ends."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Tell everything from the beginning to the end."""
        for number, read in enumerate(self._recording.inputs()):
            emit(read.item)
            if number % BREATHE_EVERY == 0:
                await asyncio.sleep(0)
