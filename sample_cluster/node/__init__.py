"""The node: the WebSocket server of the sample cluster."""

import asyncio
import contextlib
import dataclasses
import logging
from random import Random
from typing import Final

from sample_cluster.node.admin import register_operations
from sample_cluster.node.fence import Guard, NodeLoop
from sample_cluster.node.server import Node
from sample_cluster.role import Role, RoleSettings, run_role
from wsmon.agent.cancellation import end

__all__ = ["NodeLoop", "run_node"]

log = logging.getLogger(__name__)

STATE_EVERY_S: Final = 0.25
PROCESS_EVERY: Final = 4
"""States between two looks at the process: reading /proc costs more than everything else in the state."""


async def run_node(settings: RoleSettings, *, host: str = "127.0.0.1", port: int = 0) -> None:
    """Run a node until SIGTERM has drained it. It fences itself after a pause only on a `NodeLoop`."""

    async def serve(role: Role) -> None:
        node = Node(role, Random())
        register_operations(role, node)
        loop = asyncio.get_running_loop()
        if isinstance(loop, NodeLoop):
            loop.guard = _guard(role, node)
        else:
            log.warning("pauses go unnoticed: this is not the loop of a node")
        try:
            await _serve(role, node, host, port)
        finally:
            await node.stop()
            if isinstance(loop, NodeLoop):
                loop.guard = None

    await run_role(settings, serve)


def _guard(role: Role, node: Node) -> Guard:
    membership = role.membership
    return Guard(
        ttl_s=role.settings.entry_ttl_s,
        renewed_at=lambda: membership.renewed_at,
        fence=node.fence,
        renew=lambda: membership.change(membership.entry),
    )


async def _serve(role: Role, node: Node, host: str, port: int) -> None:
    address = await node.start(host, port)
    role.membership.change(dataclasses.replace(role.membership.entry, address=address))
    async with asyncio.TaskGroup() as group:  # Whatever of these breaks ends the process: it is started again.
        tasks = [group.create_task(work) for work in (node.run(), node.join(), _publish(role, node))]
        await role.stopping.wait()
        node.drain(deadline_s=role.settings.profile.drain_deadline_s, rate=None)
        await node.drained()
        for task in tasks:
            await end(task)


async def _publish(role: Role, node: Node) -> None:
    """Serve the node's state until cancelled."""
    while True:
        process = role.process_state()
        for _ in range(PROCESS_EVERY):
            node.changed.clear()
            role.agent.publish(node.describe(process))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATE_EVERY_S):
                    await node.changed.wait()
