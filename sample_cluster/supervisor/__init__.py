"""A whole cluster on this machine: `up` brings it up, keeps it up, and takes it down with itself.

`claim` makes name and ports ours, `link` speaks to the spawner that starts and reaps the processes, `supervisor`
connects it to the table of processes (`sample_cluster.core.processes`), the admin socket and the clock.
"""

import asyncio
import os
from contextlib import suppress

from sample_cluster.redis_server import find_server
from sample_cluster.spawner import fork_spawner
from sample_cluster.supervisor.claim import claimed, free_port
from sample_cluster.supervisor.link import SpawnerLink
from sample_cluster.supervisor.settings import UpSettings
from sample_cluster.supervisor.supervisor import HOST, Supervisor
from wsmon.agent.runtime_dir import ensure_private, runtime_dir

__all__ = ["UpSettings", "up"]


def up(settings: UpSettings) -> None:
    """Run a cluster until a signal or, if so asked, the end of stdin; nothing is left afterwards.

    Raises:
        StartError, WsmonError: it cannot start; the message says what to do.

    """
    if settings.until_eof:
        with suppress(PermissionError):  # We lead a session already.
            os.setsid()
    directory = runtime_dir(settings.cluster)
    ensure_private(directory)
    with claimed(directory, settings.cluster):
        port = free_port(HOST, settings.port, flag="--port")
        if settings.redis_port is not None:
            free_port(HOST, settings.redis_port, flag="--redis-port")
        binary = None if settings.redis else find_server()
        for name in ("log", "redis"):
            (directory / name).mkdir(mode=0o700)
        log_path = directory / "log" / "spawner.log"
        link = SpawnerLink(fork_spawner(log_path), log_path)
        asyncio.run(Supervisor(settings, directory, link, port=port, binary=binary).run())
