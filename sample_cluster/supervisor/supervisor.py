"""One running cluster.

The supervisor decides nothing about processes that `core.processes` could decide; it connects that table to the
spawner, to its admin socket and to the clock. Its admin socket is there before anything else, so that a dashboard can
show the start.
"""

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import psutil

from sample_cluster.core import faults
from sample_cluster.core.faults import Link, LinkFault, LinkFaults, Reshaped, check_ttl, decode_shape, links
from sample_cluster.core.processes import NODE, Deed, DropSubscribers, Processes, SendSignal, Spawn, Status
from sample_cluster.errors import ClusterError, StartError
from sample_cluster.faults import Exchange
from sample_cluster.membership import Membership
from sample_cluster.redis_link import REDIS_ERRORS, connect_redis
from sample_cluster.redis_server import server_command
from sample_cluster.role import VERSION, RoleSettings
from sample_cluster.spawner import (
    LOG_MAX,
    Job,
    RunProgram,
    RunRole,
    signal_message,
    spawn_message,
)
from sample_cluster.supervisor.link import SpawnerLink
from sample_cluster.supervisor.settings import UpSettings
from wsmon.agent.cancellation import obey_cancellation
from wsmon.agent.client import open_admin
from wsmon.agent.redis_url import shown
from wsmon.agent.runtime_dir import write_descriptor
from wsmon.agent.server import AdminServer, Identity, new_boot
from wsmon.errors import OperationRefusedError, RemoteProtocolError, UnreachableError
from wsmon.protocol.descriptor import Descriptor
from wsmon.protocol.events import FaultEnded, FaultStarted
from wsmon.protocol.fields import Fields
from wsmon.protocol.frames import Command, Json, JsonObject
from wsmon.protocol.registry import Keys, RegistryEntry, decode_entry, decode_verdict
from wsmon.protocol.states import NodeState, PeerKind

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
SUPERVISOR, REDIS, CHECKER, GATEWAY, FLEET = "supervisor", "redis", "checker", "gateway", "fleet"
STANDBY: Final = "checker2"
"""A second checker: whichever of the two holds the lease leads."""
REDIS_WITHIN_S: Final = 5.0
READY_WITHIN_S: Final = 15.0
"""The descriptor is printed by then, ready or not: whoever waits for it can see what is missing."""
FLEET_WAITS_S: Final = 5.0
"""Clients that start before all nodes are online would crowd on the first; those that never start show nothing."""
STOP_GRACE_S: Final = 2.0
"""A node that is asked to end has its drain deadline and this much more."""
OBSERVE_S: Final = 1.0
POLL_S, POLL_MAX_S = 0.02, 0.5
FAREWELL_S: Final = 0.2


class Supervisor:
    """One running cluster. `run` once."""

    def __init__(
        self, settings: UpSettings, directory: Path, link: SpawnerLink, *, port: int, binary: Path | None
    ) -> None:
        """`port` is the gateway's, chosen for good; `binary` the server to run unless Redis is elsewhere."""
        self._settings = settings
        self._directory = directory
        self._link = link
        self._gateway = f"ws://{HOST}:{port}/ws"
        self._port = port
        self._binary = binary
        self._redis_url = settings.redis or f"unix://{directory / 'redis.sock'}"
        self._keys = Keys(settings.cluster)
        self._client = connect_redis(self._redis_url)
        boot = new_boot()
        self._agent = AdminServer(
            Identity(
                kind=PeerKind.SUPERVISOR,
                id=SUPERVISOR,
                version=VERSION,
                boot=boot,
                profile=settings.profile.to_object(),
            )
        )
        self._membership = Membership(
            self._client,
            self._keys,
            RegistryEntry(
                kind=PeerKind.SUPERVISOR, id=SUPERVISOR, boot=boot, admin=self._admin_url(SUPERVISOR), version=VERSION
            ),
        )
        self._agent.journal = self._membership.journal
        self._processes = Processes(stop_within_s=settings.profile.drain_deadline_s + STOP_GRACE_S)
        self._link_faults = LinkFaults()
        self._exchange = Exchange(directory / "exchange.sock", lambda name: (str(self._admin_path(name)),))
        self._linked: tuple[tuple[str, str], ...] = ()
        self._known_links: dict[str, Link] = {}
        self._in_force: dict[tuple[str, str], JsonObject] = {}
        self._steps: dict[str, float | None] = {}
        self._started = time.monotonic()
        self._ready = False
        self._failed = ""
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._handles: dict[int, psutil.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Bring the cluster up, keep it, and end it.

        Raises:
            StartError: it did not come up.
            ClusterError: a part of the supervisor failed, which is a bug.

        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            if self._settings.until_eof:
                self._watch_stdin(loop)
            self._offer_operations()
            self._add_processes()
            self._exchange.open()
            await self._agent.serve(self._admin_url(SUPERVISOR))
            write_descriptor(self._directory, self._descriptor())
            self._changed()
            self._run_task(self._link.run(self._told, self._all_lost), "spawner")
            self._run_task(self._keep_time(), "deadlines")
            self._run_task(self._observe(), "observe")
            await self._start()
        finally:
            await self._end()
        if self._failed:
            raise ClusterError(f"the supervisor's part {self._failed!r} failed; its traceback stands above")

    async def _start(self) -> None:
        """Bring everything up and say where it is; then wait for the end."""
        starting = asyncio.create_task(self._bring_up(), name="start")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait((starting, stopping), timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                return
            if starting.done():
                starting.result()
            else:
                log.warning("not ready after %g s: %s", READY_WITHIN_S, self._agent.state.get("start"))
            with suppress(OSError):  # Nobody reads it; the file is there.
                print(self._descriptor().to_text(), flush=True)  # noqa: T201  # This line is the interface.
            await stopping
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.wait((starting, stopping))

    async def _end(self) -> None:
        """Kill everything at once: an embedded cluster that is quit does not drain."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.end()
        await self._exchange.close()
        with suppress(TimeoutError):  # A watcher that does not answer our goodbye is not waited for.
            async with asyncio.timeout(FAREWELL_S):
                if self._settings.redis:
                    await self._membership.leave()
                await self._agent.close()
        with suppress(*REDIS_ERRORS):
            await self._client.aclose()

    def _run_task(self, work: Awaitable[None], name: str) -> None:
        """Run a part for as long as the supervisor lives; a part that fails ends it."""

        async def guard() -> None:
            try:
                await work
            except Exception:  # A task ends here: without it the supervisor is blind.
                log.exception("%s failed", name)
                self._failed = name
                self._stopping.set()

        task = asyncio.create_task(guard(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _watch_stdin(self, loop: asyncio.AbstractEventLoop) -> None:
        """End with whoever holds the other end of stdin.

        Raises:
            StartError: stdin has no other end.

        """

        def read() -> None:
            with suppress(BlockingIOError):
                if not os.read(0, 4_096):
                    loop.remove_reader(0)
                    self._stopping.set()

        try:
            loop.add_reader(0, read)
        except (OSError, ValueError) as error:
            raise StartError("--until-eof needs a pipe or a terminal as stdin") from error

    # Where things are.

    def _admin_url(self, name: str) -> str:
        return f"ws+unix://{self._admin_path(name)}"

    def _admin_path(self, name: str) -> Path:
        return self._directory / f"{name}.sock"

    def _log_path(self, name: str) -> Path:
        return self._directory / "log" / f"{name}.log"

    def _descriptor(self) -> Descriptor:
        return Descriptor(
            cluster=self._settings.cluster,
            profile=self._settings.profile.name,
            redis=self._redis_url,
            gateway=self._gateway,
            supervisor=self._admin_url(SUPERVISOR),
            pid=os.getpid(),
        )

    def _job(self, name: str) -> Job:
        """Return what runs under this id."""
        if name == REDIS:
            assert self._binary is not None
            return RunProgram(
                server_command(
                    self._binary,
                    directory=self._directory / "redis",
                    socket=self._directory / "redis.sock",
                    port=self._settings.redis_port,
                )
            )
        known = {CHECKER: PeerKind.CHECKER, STANDBY: PeerKind.CHECKER, GATEWAY: PeerKind.GATEWAY, FLEET: PeerKind.FLEET}
        kind = known.get(name, PeerKind.NODE)
        options: JsonObject = {}
        if kind is PeerKind.GATEWAY:
            options = {"port": self._port}
        elif kind is PeerKind.FLEET:
            options = {"gateway": self._gateway, "clients": self._settings.clients, "rate": self._settings.rate}
            if self._settings.seed is not None:
                options["seed"] = self._settings.seed
        settings = RoleSettings(
            kind=kind,
            id=name,
            cluster=self._settings.cluster,
            redis=self._redis_url,
            admin=self._admin_url(name),
            profile=self._settings.profile,
        )
        return RunRole(settings, options)

    @property
    def _links(self) -> dict[str, Link]:
        """The links between all processes, by their names."""
        kinds = self._processes.kinds()
        if kinds != self._linked:  # Seldom: processes are added, never taken away.
            self._linked, self._known_links = kinds, links(kinds)
        return self._known_links

    @property
    def _first_nodes(self) -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(1, self._settings.nodes + 1))

    def _add_processes(self) -> None:
        if self._binary is not None:
            self._processes.add(REDIS, REDIS)
        for name in self._first_nodes:
            self._processes.add(name, NODE)
        for name, kind in ((CHECKER, CHECKER), (STANDBY, CHECKER), (GATEWAY, GATEWAY), (FLEET, FLEET)):
            self._processes.add(name, kind)

    # The start.

    async def _bring_up(self) -> None:
        for name in (REDIS, "nodes", CHECKER, GATEWAY, "online", "clients"):
            self._steps[name] = None
        self._changed()
        await self._step(REDIS, self._redis_up())
        self._run_task(self._membership.run(), "membership")
        for name in (*self._first_nodes, CHECKER, GATEWAY, STANDBY):
            self._processes.ensure(name)
        self._changed()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._step("nodes", self._until(self._all_registered)))
            group.create_task(self._step(CHECKER, self._until(self._runs(CHECKER))))
            gateway = group.create_task(self._step(GATEWAY, self._until(self._runs(GATEWAY))))
            online = group.create_task(self._step("online", self._until(self._all_online)))
            await asyncio.wait((gateway, online), timeout=FLEET_WAITS_S)
            self._processes.ensure(FLEET)
            self._changed()
            await self._step("clients", self._clients_connected())
        self._ready = True
        self._changed()

    async def _step(self, name: str, work: Awaitable[None]) -> None:
        await work
        self._steps[name] = time.monotonic() - self._started
        self._changed()

    async def _until(self, ask: Callable[[], Awaitable[bool]]) -> None:
        """Ask until the answer is yes, less often the longer it takes."""
        delay_s = POLL_S
        while True:
            with suppress(*REDIS_ERRORS, RemoteProtocolError):
                if await ask():
                    return
            obey_cancellation()
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 1.05, POLL_MAX_S)

    def _runs(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def ask() -> bool:
            return self._processes.status(name) is Status.RUNNING

        return ask

    async def _redis_up(self) -> None:
        """Start Redis, or find it elsewhere.

        Raises:
            StartError: it ends, or does not answer.

        """
        if self._binary is not None:
            self._processes.ensure(REDIS)
            self._changed()
        try:
            async with asyncio.timeout(REDIS_WITHIN_S):
                while not await self._redis_answers():
                    if self._binary is not None and self._processes.status(REDIS) is Status.FAILED:
                        break
                    obey_cancellation()
                    await asyncio.sleep(POLL_S / 2)
                else:
                    return
        except TimeoutError:
            pass
        if self._binary is None:
            raise StartError(f"Redis at {shown(self._redis_url)} does not answer", hint="start it, or check --redis")
        last = _last_line(self._log_path(REDIS))
        raise StartError(f"{self._binary} does not run: {last or 'it says nothing'}")

    async def _redis_answers(self) -> bool:
        try:
            await self._client.exists(self._keys.nodes)  # On a Cluster, a ping would ask every server.
        except REDIS_ERRORS:
            return False
        return True

    async def _all_registered(self) -> bool:
        boots = [await self._registered_boot(name) for name in self._first_nodes]
        return None not in boots

    async def _registered_boot(self, name: str) -> int | None:
        text = await self._client.get(self._keys.node(name))
        return None if text is None else decode_entry(text).boot

    async def _all_online(self) -> bool:
        """Say whether the checker has put every node online, in this life of it."""
        verdicts = await self._client.hgetall(self._keys.health)
        for name in self._first_nodes:
            text = verdicts.get(name)
            if text is None:
                return False
            verdict = decode_verdict(text, node=name)
            if verdict.state is not NodeState.ONLINE:
                return False
            if verdict.boot is not None and verdict.boot != await self._registered_boot(name):
                return False
        return True

    async def _clients_connected(self) -> None:
        """Wait until the fleet says that all its clients are connected."""
        while True:
            await self._until(self._runs(FLEET))
            try:
                async with await open_admin(self._admin_url(FLEET), interval_ms=50) as fleet:
                    closed = asyncio.create_task(fleet.closed())
                    try:
                        while not closed.done():
                            connected = fleet.state.get("connected")
                            if isinstance(connected, int) and connected >= self._settings.clients:
                                return
                            await asyncio.sleep(POLL_S)
                    finally:
                        closed.cancel()
            except (UnreachableError, RemoteProtocolError) as error:
                log.info("fleet: %s", error)
            await asyncio.sleep(POLL_S)

    # The table and the world.

    def _changed(self) -> None:
        """Carry out what the table wants; its deadlines may have moved."""
        self._carry_out()
        self._wake.set()

    def _carry_out(self) -> None:
        """Do what the table wants and show what it says."""
        for deed in (*self._processes.take(), *self._link_faults.take()):
            self._perform(deed)
        steps: list[Json] = [
            {"name": name, "done": False}
            if seconds is None
            else {"name": name, "done": True, "seconds": round(seconds, 3)}
            for name, seconds in self._steps.items()
        ]
        self._agent.publish(
            {
                "processes": self._processes.state(),
                "links": self._link_faults.state(self._links.values()),
                "faults": [dict(row) for row in self._in_force.values()],
                "start": {"steps": steps, "ready": self._ready},
            }
        )

    def _perform(self, deed: Deed | faults.Deed) -> None:
        match deed:
            case Spawn(name):
                if name != REDIS:  # Redis replaces its own; ours would look alive before it is.
                    self._admin_path(name).unlink(missing_ok=True)
                exchange = self._exchange.path
                self._link.send(spawn_message(name, self._job(name), self._log_path(name), exchange=exchange))
            case SendSignal(pid, number):
                self._link.send(signal_message(pid, number))
            case DropSubscribers():
                self._run_task(self._drop_subscribers(), "drop-subscribers")
            case Reshaped(name):
                self._exchange.reshape(self._links[name], self._link_faults.shapes(name))
            case _:
                self._agent.emit(deed)
                self._note(deed)

    def _note(self, deed: object) -> None:
        """Keep the list of what has been done on purpose: it stands above what anybody concludes."""
        match deed:
            case FaultStarted(fault=fault, target=target, ttl_s=ttl_s):
                row: JsonObject = {"fault": fault, "target": target, "at": round(time.time(), 3)}
                if ttl_s is not None:
                    row |= {"ttl_s": ttl_s, "until": round(time.time() + ttl_s, 3)}
                value = self._link_faults.value(target, fault)
                if value:
                    row["value"] = value
                self._in_force[fault, target] = row
            case FaultEnded(fault=fault, target=target):
                self._in_force.pop((fault, target), None)
            case _:
                pass

    async def _drop_subscribers(self) -> None:
        with suppress(*REDIS_ERRORS):  # It may be away, too.
            await self._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def _told(self, told: JsonObject) -> None:
        fields = Fields(told, "told")
        name, pid = fields.text("id"), fields.integer("pid")
        match fields.text("told"):
            case "spawned":
                self._processes.spawned(name, pid, now=time.monotonic(), at=time.time())
                with suppress(psutil.Error):
                    self._handles[pid] = psutil.Process(pid)
                self._run_task(self._await_running(name, pid), f"await-{name}")
            case "exited":
                self._handles.pop(pid, None)
                number, code = fields.integer_or_none("signal"), fields.integer_or_none("code")
                self._processes.exited(name, number=number, code=code, now=time.monotonic())
            case other:
                raise AssertionError(f"the spawner told {other!r}")
        self._changed()

    def _all_lost(self) -> None:
        for handle in self._handles.values():  # Where the kernel does not kill children with their parent.
            with suppress(psutil.Error):
                handle.kill()
        self._handles.clear()
        self._processes.all_lost(now=time.monotonic())
        self._changed()

    async def _await_running(self, name: str, pid: int) -> None:
        """Find out when a process serves: Redis when it answers, a role when its admin socket is there."""

        async def settled() -> bool:
            if (name, pid) not in self._processes.pids():
                return True
            if not (await self._redis_answers() if name == REDIS else self._admin_path(name).exists()):
                return False
            self._processes.running(pid)
            self._changed()
            return True

        await self._until(settled)

    async def _keep_time(self) -> None:
        while True:
            self._wake.clear()
            delay = min(self._processes.deadline, self._link_faults.deadline) - time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if delay == math.inf else max(0.0, delay)):
                    await self._wake.wait()
            self._processes.tick(time.monotonic())
            self._link_faults.tick(time.monotonic())
            self._carry_out()

    async def _observe(self) -> None:
        """See from outside which processes stand still, and keep the logs short."""
        while True:
            await asyncio.sleep(OBSERVE_S)
            for name, pid in self._processes.pids():
                handle = self._handles.get(pid)
                with suppress(psutil.Error):
                    if handle is not None:
                        stopped = handle.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
                        self._processes.seen(pid, stopped=stopped)
                _shorten(self._log_path(name))
            self._changed()

    # What an operator may ask.

    def _offer_operations(self) -> None:
        processes = self._processes
        self._offer("start", lambda args, _, dry: processes.start(_id(args), dry_run=dry))
        self._offer("stop", lambda args, now, dry: processes.stop(_id(args), now=now, dry_run=dry))
        self._offer("restart", lambda args, now, dry: processes.restart(_id(args), now=now, dry_run=dry))
        self._offer(
            "kill",
            lambda args, now, dry: processes.kill(_id(args), args.text("signal", longest=64), now=now, dry_run=dry),
        )
        self._offer(
            "freeze", lambda args, now, dry: processes.freeze(_id(args), args.number("ttl_s"), now=now, dry_run=dry)
        )
        self._offer("thaw", lambda args, now, dry: processes.thaw(_id(args), now=now, dry_run=dry))
        self._offer("scale", lambda args, now, dry: processes.scale(args.integer("nodes"), now=now, dry_run=dry))
        self._offer("heal", self._heal)
        for op, kind, target in (("fault", "kind", "target"), ("link", "fault", "name")):
            self._offer_faults(op, kind=kind, target=target)

    def _offer_faults(self, op: str, *, kind: str, target: str) -> None:
        """Offer faults of everything, or of links alone, whose arguments are called otherwise."""

        def act(args: Fields, now: float, dry_run: bool) -> JsonObject:  # noqa: FBT001  # As operations are called.
            name = args.text(target, longest=64)
            if op == "link" and name not in self._links:
                self._refuse_target(name)
            return self._inject(name, args.text(kind, longest=64), args, now, dry_run=dry_run)

        async def prepare(args: Fields) -> None:
            await self._divert(args.text(target), args.integer_or_none("seed"))

        self._offer(op, act, prepare=prepare)

    def _offer(
        self,
        op: str,
        act: Callable[[Fields, float, bool], JsonObject],
        *,
        prepare: Callable[[Fields], Awaitable[None]] | None = None,
    ) -> None:
        """Offer an operation. What has to be waited for is done by `prepare`, once `act` has found nothing wrong."""

        def perform(command: Command) -> JsonObject:
            try:
                effect = act(Fields(command.args, op), time.monotonic(), command.dry_run)
            except RemoteProtocolError as error:
                raise OperationRefusedError("bad_argument", str(error)) from None
            self._changed()
            return effect

        async def run(command: Command) -> JsonObject:
            if prepare is not None:
                perform(replace(command, dry_run=True))
                await prepare(Fields(command.args, op))
            return perform(command)

        self._agent.operation(op, run, check=perform)

    # Faults. What is told to have begun has: connections are led around first, then the fault takes hold of them.

    async def _divert(self, name: str, seed: int | None) -> None:
        link = self._links.get(name)
        if link is not None:
            await self._exchange.divert(link, seed=seed)

    def _inject(self, name: str, word: str, args: Fields, now: float, *, dry_run: bool) -> JsonObject:
        """Begin a fault of a link or of a process."""
        value, ttl_s = args.text_or_none("value", longest=64), args.number("ttl_s")
        args.integer_or_none("seed")
        if name in self._links:
            return self._inject_into_link(name, word, value, ttl_s, now, dry_run=dry_run)
        if name not in dict(self._processes.kinds()):
            self._refuse_target(name)
        if value is not None:
            raise OperationRefusedError("bad_argument", f"{word} of {name} takes no value")
        return self._processes.fault(name, word, ttl_s, now=now, dry_run=dry_run)

    def _inject_into_link(
        self, name: str, word: str, value: str | None, ttl_s: float, now: float, *, dry_run: bool = False
    ) -> JsonObject:
        if word not in list(LinkFault):
            raise OperationRefusedError(
                "unknown_fault", f"{name} has no fault {word!r}; allowed: {', '.join(LinkFault)}"
            )
        shape = decode_shape(LinkFault(word), value)
        check_ttl(ttl_s)
        if not dry_run:
            self._link_faults.start(name, shape, value or "", ttl_s, now=now)
        return {"name": name, "fault": word, "ttl_s": ttl_s, "connections": self._exchange.connections.get(name, 0)}

    def _heal(self, args: Fields, now: float, dry_run: bool) -> JsonObject:  # noqa: FBT001  # As operations are called.
        """End the faults of one link or process, or all."""
        name = args.text_or_none("name", longest=64)
        if name is not None and name not in self._links and name not in dict(self._processes.kinds()):
            self._refuse_target(name)
        healed = [
            *self._link_faults.heal(name, dry_run=dry_run),
            *self._processes.heal(name, now=now, dry_run=dry_run),
        ]
        return {"healed": [*healed]}

    def _refuse_target(self, name: str) -> NoReturn:
        shown = [link.name for link in self._links.values() if link.main]
        names = ", ".join((*(process for process, _ in self._processes.kinds()), *shown))
        raise OperationRefusedError("unknown_target", f"no process or link {name!r}; there are: {names}")


def _id(args: Fields) -> str:
    return args.text("id", longest=64)


def _shorten(path: Path) -> None:
    """Begin a log anew that grew too long while its process ran; whoever writes to it appends."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > 2 * LOG_MAX:
            os.truncate(path, 0)


def _last_line(path: Path) -> str:
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace")[-2_000:].split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")
    return ""
