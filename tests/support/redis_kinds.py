"""The three kinds of Redis for tests: one server, a primary behind Sentinels, a Cluster. All on loopback.

What a kind starts lives in the test's own directory and ends with its `async with`.
"""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis.asyncio

from sample_cluster.redis_link import REDIS_ERRORS
from sample_cluster.redis_server import find_server
from tests.support.redis_server import start_redis

START_WITHIN_S = 15.0
SERVICE = "main"
SLOTS = 16_384


@dataclass
class Servers:
    """Processes by name, and the URL under which clients find them."""

    url: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, directory: Path, options: dict[str, str], *more: str) -> None:
        home = directory / name
        home.mkdir(exist_ok=True)
        settings = {"bind": "127.0.0.1", "dir": str(home), "logfile": str(home / "log"), "save": "", **options}
        config = home / "conf"
        config.write_text("".join(f'{key} "{value}"\n' for key, value in settings.items()), encoding="utf-8")
        command = (str(find_server()), str(config), *more)
        self.processes[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def end(self) -> None:
        for name in self.processes:
            self.kill(name)

    async def move_slot(self, slot: int, owner: str, target: str) -> None:
        """Move an empty slot, as the servers want it.

        Only a server that was importing the slot gets a higher epoch with it: with an equal one, the old owner's word that
        is still under way could take it back.
        """
        owner_id, target_id = [await self.ask(name, "CLUSTER", "MYID") for name in (owner, target)]
        await self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", owner_id)
        await self.ask(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        for name in (target, *(name for name in self.ports if name != target)):  # The new owner first.
            await self.ask(name, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

    async def ask(self, name: str, *words: str | int, **options: Any) -> Any:
        """Return what one server answers, once it answers at all."""
        async with asyncio.timeout(START_WITHIN_S):
            while True:
                client = redis.asyncio.Redis(
                    port=self.ports[name], decode_responses=True, protocol=2, socket_timeout=1.0, **options
                )
                try:
                    return await client.execute_command(*words)  # type: ignore[no-untyped-call]
                except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    await asyncio.sleep(0.02)
                finally:
                    await client.aclose()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that were free just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


async def until(ask: Callable[[], Awaitable[bool]], within_s: float = START_WITHIN_S) -> None:
    """Ask until the answer is yes; no answer is a no."""
    async with asyncio.timeout(within_s):
        while True:
            with suppress(*REDIS_ERRORS):
                if await ask():
                    return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def plain_server(directory: Path) -> AsyncIterator[Servers]:
    """One server on a Unix socket."""
    servers = Servers()
    try:
        servers.url, servers.processes["server"] = await start_redis(directory)
        yield servers
    finally:
        servers.end()


@asynccontextmanager
async def sentinel_set(directory: Path, *, password: str = "", down_after_ms: int = 300) -> AsyncIterator[Servers]:
    """A primary, a replica and three Sentinels, which want the password, too, if there is one."""
    servers = Servers()
    names = ("primary", "replica", "sentinel-1", "sentinel-2", "sentinel-3")
    servers.ports = dict(zip(names, free_ports(len(names)), strict=True))
    secret = {"requirepass": password, "masterauth": password} if password else {}
    primary = servers.ports["primary"]
    try:
        servers.start("primary", directory, {"port": str(primary), **secret})
        servers.start(
            "replica",
            directory,
            {
                "port": str(servers.ports["replica"]),
                "repl-diskless-sync-delay": "0",
                **secret,
            },
        )
        login = {"password": password} if password else {}
        await servers.ask("primary", "CONFIG", "SET", "repl-diskless-sync-delay", "0", **login)
        await servers.ask("replica", "REPLICAOF", "127.0.0.1", primary, **login)

        async def replicates() -> bool:
            role = await servers.ask("replica", "ROLE", **login)
            return bool(role[0] == "slave" and role[3] == "connected")

        await until(replicates)
        for name in names[2:]:
            options = {"port": str(servers.ports[name])} | ({"requirepass": password} if password else {})
            servers.start(name, directory, options, "--sentinel")
        for name in names[2:]:
            await servers.ask(name, "SENTINEL", "MONITOR", SERVICE, "127.0.0.1", primary, 2, **login)
            if password:
                await servers.ask(name, "SENTINEL", "SET", SERVICE, "auth-pass", password, **login)
            await servers.ask(name, "SENTINEL", "SET", SERVICE, "down-after-milliseconds", down_after_ms, **login)
            await servers.ask(name, "SENTINEL", "SET", SERVICE, "failover-timeout", 2_000, **login)

        async def all_know_all() -> bool:
            for name in names[2:]:
                others = await servers.ask(name, "SENTINEL", "SENTINELS", SERVICE, **login)
                replicas = await servers.ask(name, "SENTINEL", "REPLICAS", SERVICE, **login)
                if len(others) != 2 or len(replicas) != 1:
                    return False
            return True

        await until(all_know_all)
        places = ",".join(f"127.0.0.1:{servers.ports[name]}" for name in names[2:])
        servers.url = f"redis+sentinel://{f':{quote(password, safe=str())}@' if password else ''}{places}/{SERVICE}"
        yield servers
    finally:
        servers.end()


@asynccontextmanager
async def cluster(directory: Path, *, password: str = "", with_replica: bool = False) -> AsyncIterator[Servers]:
    """Three primaries with a third of the slots each; with `with_replica`, the first of them has one."""
    servers = Servers()
    names = ("first", "second", "third", *(("replica",) if with_replica else ()))
    ports = free_ports(2 * len(names))
    servers.ports = dict(zip(names, ports, strict=False))
    buses = dict(zip(names, ports[len(names) :], strict=True))
    login = {"password": password} if password else {}
    try:
        for name in names:
            options = {
                "port": str(servers.ports[name]),
                "cluster-port": str(buses[name]),
                "cluster-enabled": "yes",
                "cluster-node-timeout": "1000",
                "cluster-require-full-coverage": "no",
                "cluster-replica-validity-factor": "0",
                "repl-diskless-sync-delay": "0",
                **({"requirepass": password, "masterauth": password} if password else {}),
            }
            servers.start(name, directory, options)
        ids = {name: await servers.ask(name, "CLUSTER", "MYID", **login) for name in names}
        for number, name in enumerate(("first", "second", "third")):
            await servers.ask(name, "CLUSTER", "SET-CONFIG-EPOCH", number + 1, **login)
            slots = (number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1)
            await servers.ask(name, "CLUSTER", "ADDSLOTSRANGE", *slots, **login)
        for name in names[1:]:
            await servers.ask("first", "CLUSTER", "MEET", "127.0.0.1", servers.ports[name], buses[name], **login)
        if with_replica:

            async def follows() -> bool:
                return bool(await servers.ask("replica", "CLUSTER", "REPLICATE", ids["first"], **login))

            await until(follows)

        async def agreed() -> bool:
            for name in names:
                text = await servers.ask(name, "CLUSTER", "INFO", **login)
                state = dict(line.split(":", 1) for line in text.split())
                seen = await servers.ask(name, "CLUSTER", "SLOTS", **login)
                whole = state["cluster_state"] == "ok" and state["cluster_known_nodes"] == str(len(names))
                replicas = sum(len(part) - 3 for part in seen)
                if not whole or len(seen) != 3 or replicas != len(names) - 3:
                    return False
            if with_replica:
                role = await servers.ask("replica", "ROLE", **login)
                return bool(role[0] == "slave" and role[3] == "connected")
            return True

        await until(agreed)
        places = ",".join(f"127.0.0.1:{servers.ports[name]}" for name in names[:2])
        servers.url = f"redis+cluster://{f':{quote(password, safe=str())}@' if password else ''}{places}"
        yield servers
    finally:
        servers.end()
