"""What every process of the cluster has in common: logging, signals, an admin socket, a place in the registry.

A role is a coroutine that gets a `Role`, sets itself up, and returns when
`role.stopping` is set and its own work is wound up.
"""

import asyncio
import dataclasses
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psutil

from sample_cluster.config import Profile
from sample_cluster.membership import Membership
from sample_cluster.redis_link import RedisClient, connect_redis
from wsmon.agent.cancellation import end
from wsmon.agent.server import AdminServer, Identity, new_boot
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.registry import ENTRY_TTL_S, Keys, RegistryEntry
from wsmon.protocol.states import PeerKind

log = logging.getLogger(__name__)

VERSION = "0.1.0"
PARENT_CHECK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSettings:
    """What every role is told at its start."""

    kind: PeerKind
    id: str
    cluster: str
    redis: str
    """URL of Redis."""
    admin: str
    """URL at which the admin socket is to be served."""
    profile: Profile
    zone: str | None = None
    parent: int | None = None
    """Process that this one must not outlive; None when it runs alone."""
    entry_ttl_s: float = ENTRY_TTL_S
    """How long the registry entry holds after its last renewal."""


class Role:
    """The frame around one running role."""

    def __init__(self, settings: RoleSettings, client: RedisClient, boot: int) -> None:
        self.settings = settings
        self.redis = client
        self.keys = Keys(settings.cluster)
        self.boot = boot
        self.stopping = asyncio.Event()
        """Set by SIGTERM, SIGINT or the parent's end: wind up and return."""
        identity = Identity(
            kind=settings.kind,
            id=settings.id,
            version=VERSION,
            boot=boot,
            profile=settings.profile.to_object(),
            zone=settings.zone,
        )
        self.agent = AdminServer(identity)
        self.membership = Membership(
            client,
            self.keys,
            RegistryEntry(
                kind=settings.kind, id=settings.id, boot=boot, admin=settings.admin, version=VERSION, zone=settings.zone
            ),
            ttl_s=settings.entry_ttl_s,
        )
        self.agent.journal = self.membership.journal
        self._process = psutil.Process()
        self._process.cpu_percent(None)

    def begin_life(self) -> None:
        """Take a new boot and be to everybody as if this process had just been started: its earlier life is over."""
        self.boot = new_boot(self.boot)
        self.agent.reboot(self.boot)
        self.membership.change(dataclasses.replace(self.membership.entry, boot=self.boot))

    def process_state(self) -> JsonObject:
        """Return what this process costs: cpu in percent of one core since the last call, rss in bytes."""
        state: JsonObject = {
            "cpu": round(self._process.cpu_percent(None), 1),
            "rss": self._process.memory_info().rss,
            "threads": self._process.num_threads(),
        }
        if hasattr(self._process, "num_fds"):
            state["fds"] = self._process.num_fds()
        return state

    async def stop_after(self, delay_s: float) -> bool:
        """Sleep `delay_s`; return True at once if the role is to stop meanwhile."""
        try:
            async with asyncio.timeout(delay_s):
                await self.stopping.wait()
        except TimeoutError:
            return False
        return True


async def run_role(settings: RoleSettings, serve: Callable[[Role], Awaitable[None]]) -> None:
    """Run one role to its end: admin socket, registry, signals and the parent's watch around `serve`."""
    loop = asyncio.get_running_loop()
    client = connect_redis(settings.redis)
    role = Role(settings, client, new_boot(await _last_boot(client, settings)))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, role.stopping.set)
    tasks = [loop.create_task(role.membership.run(), name="membership")]
    if settings.parent is not None:
        tasks.append(loop.create_task(_watch_parent(settings.parent), name="parent"))
    try:
        await role.agent.serve(settings.admin)
        await serve(role)
    finally:
        for task in tasks:
            await end(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        await role.membership.leave()
        await role.agent.close()
        await client.aclose()


async def _last_boot(client: RedisClient, settings: RoleSettings) -> int:
    """Return the last boot known for this id, so that ours is higher even if the clock went back."""
    try:
        text = await client.get(Keys(settings.cluster).node(settings.id))
        boot = json.loads(text)["boot"] if text else 0
        return boot if isinstance(boot, int) else 0
    except Exception as error:  # noqa: BLE001  # Whatever stands there must not keep us from starting.
        log.info("no earlier boot known: %s", error)
        return 0


async def _watch_parent(parent: int) -> None:
    """End this process at once when its parent is gone: nothing may outlive the supervisor."""
    while os.getppid() == parent:  # noqa: ASYNC110  # No event tells of a parent's death.
        await asyncio.sleep(PARENT_CHECK_S)
    os._exit(1)


class JsonLines(logging.Formatter):
    """One JSON object a line: what nodes write to stderr."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        document: dict[str, Any] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def set_up_logging(role: str, level: int = logging.INFO) -> None:
    """Send JSON lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("websockets").setLevel(logging.WARNING)
