"""The role that clients connect to: a relay in front of the nodes."""

import dataclasses
import random
import socket

from sample_cluster.errors import StartError
from sample_cluster.gateway.entry import with_load
from sample_cluster.gateway.redis_table import RedisTable
from sample_cluster.gateway.service import Gateway, raise_open_files, run_until
from sample_cluster.redis_link import connect_redis
from sample_cluster.role import Role, RoleSettings, run_role
from wsmon.agent.client import open_admin
from wsmon.errors import OperationRefusedError
from wsmon.protocol.frames import Actor


async def run_gateway(settings: RoleSettings, *, host: str = "127.0.0.1", port: int = 0) -> None:
    """Run a gateway until it is told to stop.

    Raises:
        StartError: the address cannot be bound.

    """

    async def serve(role: Role) -> None:
        wakeups = connect_redis(settings.redis)
        gateway = Gateway(
            settings.profile,
            table=RedisTable(role.redis, wakeups, role.keys),
            teller=role.agent,
            ask_to_move=_MoveAsker(settings.id),
            dice=random.Random(),
            process_state=role.process_state,
            announce=lambda load: role.membership.change(with_load(role.membership.entry, load)),
            tunnels_max=raise_open_files(),
        )
        try:
            bound = await gateway.open(host, port)
        except OSError as error:
            raise StartError(f"gateway cannot listen on {host}:{port}: {error.strerror}", hint="--port 0") from error
        shown = f"[{host}]" if ":" in host else host
        role.membership.change(dataclasses.replace(role.membership.entry, address=f"{shown}:{bound}"))
        try:
            await run_until(role.stopping, gateway)
        finally:
            await wakeups.aclose()

    await run_role(settings, serve)


class _MoveAsker:
    """Implements `AskToMove` over the nodes' admin sockets."""

    def __init__(self, name: str) -> None:
        self._actor = Actor(user=name, host=socket.gethostname())

    async def __call__(self, admin: str, count: int) -> None:
        """Ask the node at the admin socket to send `count` connections away."""
        async with await open_admin(admin) as client:
            if "disconnect" not in client.hello.ops:
                raise OperationRefusedError("unknown_op", "the node cannot send connections away")
            result = await client.command(
                "disconnect", {"count": count}, actor=self._actor, reason="connections are uneven"
            )
            if not result.ok:
                error = result.error
                raise OperationRefusedError(error.code if error else "refused", error.message if error else "refused")
