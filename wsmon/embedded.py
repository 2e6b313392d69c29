"""The embedded cluster: started as a process of its own, found by its descriptor, ended with us.

The child holds the read end of a pipe whose only writer is this process: however we end, even by SIGKILL, the pipe
closes and the cluster stops.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wsmon.agent.runtime_dir import DESCRIPTOR_NAME, read_descriptor, runtime_dir
from wsmon.errors import ProtocolError, StartError

if TYPE_CHECKING:
    from wsmon.protocol.descriptor import Descriptor

MODULE = "sample_cluster"
REDIS_VARIABLE = "SAMPLE_CLUSTER_REDIS"
"""Environment variable with the URL of a foreign Redis: arguments can be read by everybody on the machine."""
LOOK_EVERY_S = 0.02
ENDED_LOOK_S = 2.0
STOP_WITHIN_S = 3.0
STDERR_KEPT = 4_096


class EmbeddedCluster:
    """One cluster as a child process. `launch` returns at once; `stop` must be called."""

    def __init__(self, cluster: str, arguments: Sequence[str], *, redis: str | None = None) -> None:
        """`arguments` are those of `sample-cluster up`; the URL of a foreign Redis may hold a password and goes apart."""
        self.cluster = cluster
        self._directory = runtime_dir(cluster)
        self._arguments = tuple(arguments)
        self._environment = os.environ | ({} if redis is None else {REDIS_VARIABLE: redis})
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process.

        Raises:
            StartError: the interpreter cannot be started.

        """
        try:
            self._process = subprocess.Popen(  # noqa: S603  # Our own module, arguments without a shell.
                [sys.executable, "-m", MODULE, "up", "--cluster", self.cluster, "--until-eof", *self._arguments],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # The terminal's ctrl-c and hang-up are for us; the pipe is for the cluster.
            )
        except OSError as error:
            raise StartError(f"the cluster cannot be started: {error.strerror}") from error

    async def locate(self) -> "Descriptor":
        """Wait for the descriptor that this very process wrote.

        It is there as soon as the supervisor listens. If the process ends first, this waits for ever: `ended` tells.
        """
        process = self._running()
        while True:
            with contextlib.suppress(ProtocolError):
                descriptor = read_descriptor(self._directory / DESCRIPTOR_NAME)
                if descriptor is not None and descriptor.pid == process.pid:
                    return descriptor
            await asyncio.sleep(LOOK_EVERY_S)

    async def ended(self) -> str:
        """Wait until the process is gone; return why, in its own words if it said any."""
        process = self._running()
        assert process.stderr is not None
        loop, stderr = asyncio.get_running_loop(), process.stderr.fileno()
        os.set_blocking(stderr, False)
        said, closed = b"", asyncio.Event()

        def hear() -> None:
            nonlocal said
            piece = _read_available(stderr)
            said = (said + piece)[-STDERR_KEPT:]
            if not piece:
                loop.remove_reader(stderr)
                closed.set()

        loop.add_reader(stderr, hear)
        try:
            while (status := process.poll()) is None:
                # Nearly always it ends with its end of the pipe; it may also live on without it.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ENDED_LOOK_S):
                        await closed.wait()
                        closed.clear()
        finally:
            loop.remove_reader(stderr)
        said = (said + _read_available(stderr))[-STDERR_KEPT:]
        return _reason(status, said.decode(errors="replace"))

    def stop(self) -> None:
        """End the cluster and wait for it: the pipe first, then signals to its process group."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                process.wait(STOP_WITHIN_S / 2)
                break
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
        self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "launch first"
        return self._process


def _read_available(fd: int) -> bytes:
    try:
        return os.read(fd, STDERR_KEPT)
    except BlockingIOError:
        return b""


def _reason(status: int, said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    # The supervisor logs JSON lines; a refusal to start is one plain line.
    plain = [line for line in lines if not line.startswith("{")]
    if plain:
        return plain[-1].removeprefix("sample-cluster: ").removeprefix("error: ")
    if lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(json.loads(lines[-1])["message"])
    if status < 0:
        return f"the cluster's supervisor was ended by {signal.Signals(-status).name}"
    return f"the cluster's supervisor ended with status {status}"
