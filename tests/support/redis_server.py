"""A real Redis-compatible server for tests: on a Unix socket in the test's own directory, nothing else."""

import asyncio
import subprocess
from pathlib import Path

from sample_cluster.membership import REDIS_ERRORS, connect_redis
from sample_cluster.redis_server import find_server, server_command

START_WITHIN_S = 10.0


async def start_redis(directory: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Start a server and return its URL and its process, which the caller ends; it keeps its data in `directory`."""
    socket = directory / "redis.sock"
    command = server_command(find_server(), directory=directory, socket=socket)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220  # Starting takes a millisecond.
    url = f"unix://{socket}"
    client = connect_redis(url)
    try:
        async with asyncio.timeout(START_WITHIN_S):
            while not await _answers(client.ping()):  # noqa: ASYNC110  # Nothing tells when it is up.
                await asyncio.sleep(0.02)
    except BaseException:
        process.kill()
        raise
    finally:
        await client.aclose()
    return url, process


async def _answers(ping: object) -> bool:
    try:
        await ping  # type: ignore[misc]  # redis-py types it for both of its clients at once.
    except REDIS_ERRORS:
        return False
    return True
