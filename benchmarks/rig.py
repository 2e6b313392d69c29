"""Processes for benchmarks of the gateway: Redis, nodes, and gateways, with a health table that nobody judges.

Everything ends with the `Rig`, whatever happens in between.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sample_cluster.redis_link import REDIS_ERRORS, connect_redis
from sample_cluster.redis_server import find_server, server_command
from wsmon.protocol.fields import dump_object
from wsmon.protocol.registry import Keys, RegistryEntry, Verdict, decode_entry
from wsmon.protocol.states import NodeState, PeerKind

START_WITHIN_S = 15.0


class Rig:
    """A cluster without checker and supervisor. Use it as an asynchronous context."""

    def __init__(self, *, profile: str = "production") -> None:
        self.keys = Keys("bench")
        self.pids: dict[str, int] = {}
        self._profile = profile
        self._processes: list[subprocess.Popen[bytes]] = []
        self._directory = tempfile.TemporaryDirectory(prefix="wsm-")
        self._path = Path(self._directory.name)
        self._url = f"unix://{self._path / 'redis.sock'}"
        self.redis = connect_redis(self._url)

    async def __aenter__(self) -> Self:
        command = server_command(find_server(), directory=self._path, socket=self._path / "redis.sock")
        self._start("redis", *command)
        async with asyncio.timeout(START_WITHIN_S):
            while True:
                try:
                    await self.redis.hgetall(self.keys.health)
                    return self
                except REDIS_ERRORS:
                    await asyncio.sleep(0.02)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.redis.aclose()
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._directory.cleanup()

    def _start(self, name: str, *command: str) -> None:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._processes.append(process)
        self.pids[name] = process.pid

    async def role(self, kind: PeerKind, name: str) -> tuple[str, int]:
        """Start a node or a gateway on any free port; return its address once it has one."""
        admin = f"ws+unix://{self._path / f'{name}.sock'}"
        words = ["--cluster", self.keys.cluster, "--redis", self._url, "--profile", self._profile, "--admin", admin]
        self._start(name, sys.executable, "-m", "sample_cluster", str(kind), "--id", name, "--port", "0", *words)
        async with asyncio.timeout(START_WITHIN_S):
            while True:
                text = await self.redis.get(self.keys.node(name))
                entry = decode_entry(text) if text else None
                if entry is not None and entry.address is not None:
                    host, _, port = entry.address.rpartition(":")
                    return host.strip("[]"), int(port)
                await asyncio.sleep(0.05)

    async def foreign(self, name: str, address: str) -> None:
        """Enter a server that is none of ours."""
        entry = RegistryEntry(kind=PeerKind.NODE, id=name, boot=1, admin="", version="", address=address)
        await self.redis.set(self.keys.node(name), dump_object(entry.to_object()))

    async def judge(self, name: str, state: NodeState = NodeState.ONLINE) -> None:
        """Write a verdict, as a checker does."""
        verdict = Verdict(node=name, state=state, reason="", epoch=1, version=1, at=time.time())
        pipe = self.redis.pipeline(transaction=True)
        pipe.hset(self.keys.health, name, dump_object(verdict.to_object()))
        pipe.xadd(self.keys.health_log, {"node": name, "new": str(state)})
        await pipe.execute()
