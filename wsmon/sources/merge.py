"""All roads to one live cluster, merged into one stream of inputs.

The descriptor leads to Redis and to the supervisor; the registry in Redis leads to everybody else. What is learned on
one road opens the next: a registry entry an admin socket, a hello a process to sample. Without Redis or without a
supervisor the rest goes on.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from wsmon.agent.client import AdminClient
from wsmon.model.inputs import ClusterEnded, Input, PeerBeat, PeerSeen, PeerState, RegistrySeen, StartProgress, StepSeen
from wsmon.protocol.descriptor import Descriptor
from wsmon.protocol.frames import Json
from wsmon.protocol.registry import Keys
from wsmon.protocol.states import PeerKind
from wsmon.sources.admin import AdminWatch
from wsmon.sources.http_probe import HttpProbes
from wsmon.sources.process import ProcessSource
from wsmon.sources.redis_stream import RedisSource

SUPERVISOR = "supervisor"


class LiveCluster:
    """The source for a cluster that runs now."""

    def __init__(
        self,
        locate: Callable[[], Awaitable[Descriptor]],
        clock: Callable[[], float],
        *,
        ended: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """Watch the cluster that `locate` finds, which may take its time and raise WsmonError.

        `ended` returns when the cluster is gone for good, with the reason: whoever started it knows, and only then
        are the supervisor's steps of the start of interest.
        """
        self._locate = locate
        self._ended = ended
        self._clock = clock
        self._host = socket.gethostname()
        self._admin = AdminWatch(clock)
        self._processes = ProcessSource(clock)
        self._probes = HttpProbes(clock)
        self._checkers: set[str] = set()
        """Who tells how nodes answer its probes."""
        self._redis: RedisSource | None = None
        self._emit: Callable[[Input], None] = lambda _: None

    def client(self, name: str) -> AdminClient | None:
        """Return the open admin connection to `name`, if there is one."""
        return self._admin.client(name)

    def calm(self, on: bool) -> None:  # noqa: FBT001  # A word of the engine's, passed on.
        """Listen less closely while nothing is under way."""
        self._admin.calm(on)
        self._processes.calm(on)
        if self._redis is not None:
            self._redis.calm(on)

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Tell everything until cancelled."""
        self._emit = emit
        async with asyncio.TaskGroup() as tasks:
            if self._ended is not None:
                tasks.create_task(self._tell_end(self._ended), name="ended")
            tasks.create_task(self._admin.run(self._notice), name="admin")
            descriptor = await self._locate()
            if descriptor.supervisor is not None:
                self._admin.want(SUPERVISOR, descriptor.supervisor)
            if descriptor.redis is not None:
                self._redis = RedisSource(descriptor.redis, Keys(descriptor.cluster), self._clock)
                tasks.create_task(self._redis.run(self._notice), name="redis")
            tasks.create_task(self._processes.run(emit), name="processes")
            tasks.create_task(self._probes.run(emit), name="http")

    async def _tell_end(self, ended: Callable[[], Awaitable[str]]) -> None:
        self._emit(ClusterEnded(reason=await ended(), at=self._clock()))

    def _notice(self, told: Input) -> None:
        """Pass an input on, and follow where it leads."""
        self._emit(told)
        match told:
            case RegistrySeen(entries=entries):
                for entry in entries:
                    self._admin.want(entry.id, entry.admin, boot=entry.boot)
                self._probes.want(
                    {entry.id: entry.address for entry in entries if entry.kind is PeerKind.NODE and entry.address}
                )
            case PeerSeen(id=name, host=host, pid=pid) if host == self._host:
                self._processes.want(name, pid)
            case PeerState(id=name, state=state) if name == SUPERVISOR:
                self._notice_processes(state.get("processes"))
                if self._ended is not None:
                    self._notice_start(state.get("start"))
            case PeerState(id=name, state=state):
                if state.get("targets"):
                    self._checkers.add(name)
                    self._probes.rest()
                else:
                    self._checkers.discard(name)
            case PeerBeat(id=name) if name in self._checkers:
                self._probes.rest()
            case _:
                pass

    def _notice_processes(self, processes: Json) -> None:
        """The supervisor is on this machine if its hello said so; only then are its pids ours to look at."""
        supervisor = self.client(SUPERVISOR)
        if not isinstance(processes, dict) or supervisor is None or supervisor.hello.host != self._host:
            return
        for name, process in processes.items():
            pid = process.get("pid") if isinstance(process, dict) else None
            self._processes.want(name, pid if isinstance(pid, int) else None)

    def _notice_start(self, start: Json) -> None:
        steps = start.get("steps") if isinstance(start, dict) else None
        if isinstance(steps, list):
            self._emit(StartProgress(steps=tuple(_step(step) for step in steps[:50]), at=self._clock()))


def _step(step: Json) -> StepSeen:
    if not isinstance(step, dict):
        return StepSeen(name=str(step), done=False)
    seconds = step.get("seconds")
    return StepSeen(
        name=str(step.get("name", "")),
        done=step.get("done") is True,
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        detail=str(step.get("detail", "")),
    )
