"""The supervisor's end of the line to its spawner."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sample_cluster.core.restart import Restart
from sample_cluster.spawner import SpawnerProcess, decode_told, exec_spawner
from wsmon.protocol.frames import JsonObject

log = logging.getLogger(__name__)

ENDS_WITHIN_S: Final = 0.8


class SpawnerLink:
    """Speaks to one spawner after the other: a spawner that dies is replaced. `run` until cancelled, then `end`."""

    def __init__(self, spawner: SpawnerProcess, log_path: Path) -> None:
        self._spawner = spawner
        self._log_path = log_path
        self._writer: asyncio.StreamWriter | None = None
        self._unsent: list[str] = []

    def send(self, line: str) -> None:
        """Tell the spawner, or the next one: what is meant for a process that died with the last does nothing."""
        if self._writer is None:
            self._unsent.append(line)
        else:
            self._writer.write(line.encode() + b"\n")

    async def run(self, on_told: Callable[[JsonObject], None], on_lost: Callable[[], None]) -> None:
        """Listen. `on_lost` is called when a spawner died, and all processes with it, and the next one listens."""
        clock = asyncio.get_running_loop().time
        patience = Restart()
        while True:
            patience.started(clock())
            reader, self._writer = await asyncio.open_connection(sock=self._spawner.control)
            unsent, self._unsent = self._unsent, []
            for line in unsent:
                self.send(line)
            with suppress(ConnectionError):
                while told := await reader.readline():
                    on_told(decode_told(told))
            log.error("the spawner died; starting another, and every process")
            self._writer.close()
            self._writer = None
            await _reap(self._spawner.pid)
            now = clock()
            await asyncio.sleep(patience.exited(now) - now)
            self._spawner = exec_spawner(self._log_path)
            on_lost()

    async def end(self) -> None:
        """Kill every process at once, by closing the line, and wait until the spawner has seen to it."""
        if self._writer is None:
            self._spawner.control.close()
        else:
            self._writer.transport.abort()
        await _reap(self._spawner.pid)


async def _reap(pid: int) -> None:
    """Wait for the spawner's end, and bring it about if it takes too long."""
    give_up = time.monotonic() + ENDS_WITHIN_S
    while not _has_ended(pid):
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.005)


def _has_ended(pid: int) -> bool:
    """Say whether a child of ours is gone, and reap it then."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True
