"""The role that decides which nodes are there."""

import asyncio
import contextlib

from sample_cluster.checker.dial import AdminLink, Canary
from sample_cluster.checker.http_probe import get_health
from sample_cluster.checker.redis_plane import RedisPlane
from sample_cluster.checker.service import Checker
from sample_cluster.role import Role, RoleSettings, run_role
from wsmon.agent.cancellation import end
from wsmon.protocol.frames import Command, ReadOnlyJson


async def run_checker(settings: RoleSettings) -> None:
    """Run a checker until it is told to stop."""
    await run_role(settings, _serve)


async def _serve(role: Role) -> None:
    settings = role.settings
    canary = Canary(settings.admin)
    checker = Checker(
        name=settings.id,
        profile=settings.profile,
        plane=RedisPlane(role.redis, role.keys, who=settings.id, lease_ttl_s=settings.profile.lease_ttl_s),
        teller=role.agent,
        dial=AdminLink.open,
        get_health=get_health,
        canary=canary.sing,
        process_state=role.process_state,
    )

    def check_forget(command: Command) -> ReadOnlyJson:
        return {"node": checker.check_forget(command).node}

    role.agent.operation("forget", checker.forget, check=check_forget)
    role.agent.operation("hold", checker.hold, check=checker.check_hold)
    role.agent.operation("step_down", checker.step_down, check=checker.check_step_down)
    running = asyncio.create_task(checker.run(), name="checker")
    stopping = asyncio.create_task(role.stopping.wait(), name="stopping")
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    await end(stopping)
    await end(running)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await checker.resign()
    await canary.close()
