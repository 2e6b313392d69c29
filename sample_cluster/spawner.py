"""Starts and reaps the processes of a cluster.

Theory of operation. Eight interpreters importing side by side take more than a second on two cores; the fork of one
that has imported everything takes milliseconds. Forking is safe only from a process without threads, so a small,
single-threaded, synchronous one does nothing else:

    supervisor ──socketpair── spawner ──fork── node, checker, gateway, fleet; fork and exec for Redis

One JSON object a line each way. To the spawner: `{"do":"spawn","id","log",…}` with either `command[]` or the fields of
a role and `exchange`, and `{"do":"signal","pid","number"}`. From it: `{"told":"spawned","id","pid"}` and
`{"told":"exited","id","pid","signal"|"code"}`. The spawner alone sends signals, because it alone knows whether a pid
is still the child's.

Nothing outlives the supervisor, whatever kills it: the spawner reads the end of the socketpair, kills its children
(SIGKILL, which works on frozen ones too) and ends. Where the system has it (Linux), spawner and children also ask the
kernel to be killed with their parent; elsewhere each role watches its parent itself.
"""

import asyncio
import ctypes
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from sample_cluster.codecs import SUBPROTOCOLS, codec_for
from sample_cluster.config import PROFILES
from sample_cluster.detour import ExchangeLine, diverted
from sample_cluster.role import RoleSettings, set_up_logging
from wsmon.protocol.fields import Fields, dump_object, parse_object
from wsmon.protocol.frames import JsonObject, ReadOnlyJson
from wsmon.protocol.states import PeerKind

log = logging.getLogger(__name__)

ENTRIES: Final = {
    PeerKind.NODE: "sample_cluster.node:run_node",
    PeerKind.CHECKER: "sample_cluster.checker:run_checker",
    PeerKind.GATEWAY: "sample_cluster.gateway:run_gateway",
    PeerKind.FLEET: "sample_cluster.fleet:run_fleet",
}
"""The coroutine of each role; it takes `RoleSettings` and the role's own options by keyword."""
LOOPS: Final = {PeerKind.NODE: "sample_cluster.node:NodeLoop"}
"""The event loop of roles that need one of their own."""
LOG_MAX: Final = 10_000_000
"""A log file above this many bytes is put aside, once, when its process is started again."""
REAP_WITHIN_S: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15

Entry: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class RunRole:
    """One of our own roles, with its options by keyword."""

    settings: RoleSettings
    options: ReadOnlyJson


@dataclass(frozen=True, slots=True)
class RunProgram:
    """A program with its arguments; the first is its path."""

    command: tuple[str, ...]


Job: TypeAlias = RunRole | RunProgram


@dataclass(frozen=True, slots=True)
class SpawnerProcess:
    """A running spawner as its supervisor sees it; the supervisor owns the socket and reaps the pid."""

    pid: int
    control: socket.socket


def role_entry(kind: PeerKind) -> Entry:
    """Return the coroutine function that runs a role; imports it."""
    entry: Entry = _imported(ENTRIES[kind])
    return entry


def run_to_end(settings: RoleSettings, options: ReadOnlyJson, *, exchange: Path | None = None) -> None:
    """Run a role in this process, on the loop it needs, until it ends.

    `exchange` is where faults are injected into the connections that it makes.
    """
    place = LOOPS.get(settings.kind)
    kind = None if place is None else _imported(place)
    with asyncio.Runner(
        loop_factory=kind if exchange is None else partial(_diverted_loop, kind, exchange, settings.id)
    ) as runner:
        runner.run(role_entry(settings.kind)(settings, **options))


def _diverted_loop(
    kind: type[asyncio.AbstractEventLoop] | None, exchange: Path, name: str
) -> asyncio.AbstractEventLoop:
    loop = diverted(kind)()
    try:
        loop.divert_by(ExchangeLine(exchange, name))
    except OSError as error:
        log.warning("no faults can be injected here: %s", error)
    return loop


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def preload() -> None:
    """Import everything that a role needs, so that its fork starts at once."""
    for kind in ENTRIES:
        role_entry(kind)
    for subprotocol in SUBPROTOCOLS:
        codec_for(subprotocol)


def fork_spawner(log_path: Path) -> SpawnerProcess:
    """Start a spawner as a copy of this process, which must not have threads or an event loop yet."""
    preload()
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _end_with(lambda: _serve(theirs.detach(), parent, log_path))
    theirs.close()
    return SpawnerProcess(pid, ours)


def exec_spawner(log_path: Path) -> SpawnerProcess:
    """Start a spawner as a new interpreter: slower, but allowed at any time. Its stdin is the control socket."""
    ours, theirs = socket.socketpair()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "sample_cluster", "spawner", str(os.getpid()), str(log_path)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD),
    )
    theirs.close()
    return SpawnerProcess(pid, ours)


def serve_on_stdin(parent: int, log_path: Path) -> NoReturn:
    """Be the spawner that `exec_spawner` of process `parent` started; ends the process."""

    _end_with(lambda: _serve(os.dup(0), parent, log_path))


def spawn_message(name: str, job: Job, log_path: Path, *, exchange: Path | None = None) -> str:
    """Return the line that makes the spawner start `job`; a role calls at the `exchange`."""
    document: JsonObject = {"do": "spawn", "id": name, "log": str(log_path)}
    match job:
        case RunProgram(command):
            document["command"] = [*command]
        case RunRole(settings, options):
            document["role"] = {
                "kind": str(settings.kind),
                "cluster": settings.cluster,
                "redis": settings.redis,
                "admin": settings.admin,
                "profile": settings.profile.name,
                "zone": settings.zone,
                "options": dict(options),
            }
            if exchange is not None:
                document["exchange"] = str(exchange)
    return dump_object(document)


def signal_message(pid: int, number: int) -> str:
    """Return the line that makes the spawner send a signal."""
    return dump_object({"do": "signal", "pid": pid, "number": number})


def _decode_job(name: str, request: Fields) -> Job:
    if request.has("command"):
        return RunProgram(request.texts("command"))
    role = Fields(request.object("role"), "role")
    settings = RoleSettings(
        kind=role.word("kind", PeerKind),
        id=name,
        cluster=role.text("cluster"),
        redis=role.text("redis"),
        admin=role.text("admin"),
        profile=PROFILES[role.text("profile")],
        zone=role.text_or_none("zone"),
        parent=os.getpid(),
    )
    return RunRole(settings, role.object("options"))


class _Spawner:
    """The spawner's own loop. `run` until the supervisor is gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, str] = {}

    def run(self) -> None:
        woken, waker = socket.socketpair()
        woken.setblocking(False)  # noqa: FBT003  # The library's signature.
        waker.setblocking(False)  # noqa: FBT003  # The library's signature.
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # Without a handler the wake-up does not happen.
        gc.collect()
        gc.freeze()  # Pages that the collector does not touch stay shared with the children.
        pending = b""
        while True:
            ready, _, _ = select.select([self._control, woken], [], [])
            if woken in ready:
                with suppress(BlockingIOError):
                    woken.recv(4_096)
                self._reap()
            if self._control in ready:
                received = self._control.recv(65_536)
                if not received:
                    break
                *lines, pending = (pending + received).split(b"\n")
                for line in lines:
                    self._perform(line)
        self._kill_all()

    def _perform(self, line: bytes) -> None:
        request = Fields(parse_object(line, what="request"), "request")
        match request.text("do"):
            case "spawn":
                self._spawn(request)
            case "signal":
                pid = request.integer("pid")
                if pid in self._children:
                    os.kill(pid, request.integer("number"))
            case other:
                raise AssertionError(f"the supervisor asked for {other!r}")

    def _spawn(self, request: Fields) -> None:
        name = request.text("id")
        job = _decode_job(name, request)
        try:
            pid = os.fork()
        except OSError as error:
            log.error("cannot fork %s: %s", name, error)  # noqa: TRY400  # The reason says it all.
            self._tell({"told": "exited", "id": name, "pid": 0, "code": 1})
            return
        if pid == 0:
            exchange = request.text_or_none("exchange")
            _end_with(
                lambda: _run_child(
                    name, job, Path(request.text("log")), exchange=None if exchange is None else Path(exchange)
                )
            )
        self._children[pid] = name
        self._tell({"told": "spawned", "id": name, "pid": pid})

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._children.pop(pid, None)
            if name is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            how: JsonObject = {"signal": -code} if code < 0 else {"code": code}
            self._tell({"told": "exited", "id": name, "pid": pid, **how})

    def _tell(self, document: JsonObject) -> None:
        with suppress(OSError):  # The supervisor is gone: the next read says so.
            self._control.sendall(dump_object(document).encode() + b"\n")

    def _kill_all(self) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # What it started itself, such as a rewrite of Redis' log.
        give_up = time.monotonic() + REAP_WITHIN_S
        while self._children and time.monotonic() < give_up:
            self._reap()
            time.sleep(0.002)


def _serve(control: int, parent: int, log_path: Path) -> None:
    """Set this process up as a spawner and run it to its end."""
    with suppress(PermissionError):
        os.setpgid(0, 0)  # The terminal's ctrl-c is the supervisor's business.
    _die_with(parent)
    _default_signals()
    _name_process("spawner")
    _redirect(log_path)
    _close_all_but(control)
    set_up_logging("spawner")
    preload()
    with socket.socket(fileno=control) as connection:
        connection.setblocking(True)  # noqa: FBT003  # The library's signature.
        _Spawner(connection).run()


def _run_child(name: str, job: Job, log_path: Path, *, exchange: Path | None) -> None:
    """Be the child: never returns into the spawner's stack, see `_end_with`."""
    spawner = os.getppid()
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    _default_signals()
    _die_with(spawner)
    _redirect(log_path)
    _close_all_but()
    match job:
        case RunProgram(command):
            os.execv(command[0], command)  # noqa: S606  # No shell is what we want.
        case RunRole(settings, options):
            _name_process(name)
            set_up_logging(name)
            run_to_end(settings, options, exchange=exchange)


def _end_with(run: Callable[[], None]) -> NoReturn:
    """Run a forked process to its end without ever returning into what its parent was doing."""
    code = 1
    try:
        run()
        code = 0
    except BaseException:  # noqa: BLE001  # The process ends here, and its log says why.
        traceback.print_exc()
    finally:
        with suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _default_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process with `parent`; survives an exec. Source: prctl(2), PR_SET_PDEATHSIG."""
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # It died before we asked.
        os._exit(1)


def _name_process(name: str) -> None:
    """Show the role instead of `python` in ps and top, where the system can; 15 bytes are kept."""
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_NAME, f"wsmon-{name}".encode(), 0, 0, 0)


def _redirect(log_path: Path) -> None:
    """Read from nothing and write to the log, which is put aside once it is too long."""
    with suppress(FileNotFoundError):
        if log_path.stat().st_size > LOG_MAX:
            log_path.replace(log_path.with_suffix(".log.1"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(written, 1)
    os.dup2(written, 2)


def _close_all_but(*kept: int) -> None:
    """Close what was inherited: sockets and locks of the parent must not live on in its children."""
    for fd in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if fd > 2 and fd not in kept:  # 0 to 2 are the standard streams.
            with suppress(OSError):  # The listing's own.
                os.close(fd)


def decode_told(line: bytes) -> JsonObject:
    """Return what the spawner told in one line."""
    document: JsonObject = json.loads(line)
    return document
