"""Processes of this machine: what each costs, and whether the system holds it stopped."""

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Final

from wsmon.model.inputs import Input, ProcessSample
from wsmon.protocol.beat import until_beat

log = logging.getLogger(__name__)

SAMPLE_EVERY_S: Final = 1.0
CALM_EVERY_S: Final = 2.0
"""… while nothing is under way."""
FILES_EVERY: Final = 5
"""Open files are counted with every so many samples: the system lists them all for it."""


class ProcessSource:
    """Samples processes of this machine by pid. `run` until cancelled."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pids: dict[str, int] = {}
        self._every_s = SAMPLE_EVERY_S

    def calm(self, on: bool) -> None:  # noqa: FBT001  # A word of the caller's, passed on.
        """Look less often while nothing is under way."""
        self._every_s = CALM_EVERY_S if on else SAMPLE_EVERY_S

    def want(self, name: str, pid: int | None) -> None:
        """Sample `name` as process `pid` from now on; None stops it."""
        if pid:
            self._pids[name] = pid
        else:
            self._pids.pop(name, None)

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Sample until cancelled."""
        import psutil  # noqa: PLC0415  # After the first picture, in this thread.

        known: dict[str, psutil.Process] = {}
        files: dict[str, int | None] = {}
        for turn in count():
            for name, pid in list(self._pids.items()):
                process = known.get(name)
                try:
                    if process is None or process.pid != pid:
                        known[name] = process = psutil.Process(pid)
                        files.pop(name, None)
                        process.cpu_percent(None)  # The first call only sets the mark to measure from.
                        continue
                    if name not in files or not turn % FILES_EVERY:
                        files[name] = process.num_fds() if hasattr(process, "num_fds") else None
                    with process.oneshot():
                        sample = ProcessSample(
                            id=name,
                            pid=pid,
                            cpu=process.cpu_percent(None),
                            rss=process.memory_info().rss,
                            fds=files[name],
                            status=str(process.status()),
                            at=self._clock(),
                        )
                except psutil.Error:
                    known.pop(name, None)
                    files.pop(name, None)
                    self._pids.pop(name, None)
                    continue
                emit(sample)
            await asyncio.sleep(until_beat(self._clock(), self._every_s))
