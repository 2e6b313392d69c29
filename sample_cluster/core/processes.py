"""The supervisor's table of processes: what runs, what an operator wants of it, and what to do next.

Theory of operation. The shell tells the table what it saw (`spawned`, `exited`, `running`, `seen`) and what was asked
(`start`, `kill`, …), lets time pass with `tick`, and carries out what `take` hands back: spawn, signal, or an event to
tell the watchers. A process that ends by itself is started again by the policy, except a node: nodes dying is what
this cluster demonstrates, and somebody is watching to start them.

What is done to a process on purpose is a fault, told when it begins and when it is over. Faults asked for as such have
a time after which they are over, and `heal` ends them before that. A kill is over when the process runs again.

All `now` are monotonic seconds and all `at` Unix seconds, given by the caller.
"""

import math
import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from sample_cluster.core.faults import check_ttl
from sample_cluster.core.restart import Restart, RestartTiming
from wsmon.errors import OperationRefusedError
from wsmon.protocol.events import FaultEnded, FaultStarted, ProcessExited
from wsmon.protocol.frames import JsonObject

NODES_MAX: Final = 32
STOPPED_FOR_S: Final = 3_600.0
"""A process that was sent STOP goes on after this time if nobody sends CONT."""
DROP_EVERY_S: Final = 0.2
"""Subscriptions that come back while they are being dropped are dropped again this often."""
NODE, REDIS = "node", "redis"
SIGNALS: Final = {name: signal.Signals[f"SIG{name}"].value for name in ("TERM", "KILL", "STOP", "CONT", "INT", "HUP")}
"""What `kill` may send, by the names on the wire."""


class ProcessFault(StrEnum):
    """What can be done to a process."""

    KILL = "kill"
    """It is gone for the time of the fault, then started again."""
    FREEZE = "freeze"
    """It stands still where it is."""
    STALL = "stall"
    """The same, said of Redis."""
    RESTART = "restart"
    """Redis is asked to end, and started again at once."""
    DROP_PUBSUB = "drop_pubsub"
    """Redis cuts the connections of all subscribers, again and again."""


_OF_REDIS_ONLY: Final = (ProcessFault.STALL, ProcessFault.RESTART, ProcessFault.DROP_PUBSUB)


class Status(StrEnum):
    """The words of the supervisor's state."""

    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    STOPPING = "stopping"
    EXITED = "exited"
    FAILED = "failed"
    """It ended before it ever ran."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process."""

    id: str


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send signal `number` to a process of ours."""

    pid: int
    number: int


@dataclass(frozen=True, slots=True)
class DropSubscribers:
    """Have Redis cut the connections of all subscribers."""


Deed: TypeAlias = Spawn | SendSignal | DropSubscribers | ProcessExited | FaultStarted | FaultEnded


@dataclass(slots=True)
class _Process:
    id: str
    kind: str
    policy: Restart
    status: Status = Status.EXITED
    asked: bool = False
    """A spawn is under way."""
    wanted: bool = False
    """Nobody stopped it."""
    again: bool = False
    """Start it as soon as it is gone."""
    frozen: bool = False
    pid: int | None = None
    started_at: float | None = None
    starts: int = 0
    exit: str = ""
    start_due: float = math.inf
    kill_due: float = math.inf
    thaw_due: float = math.inf
    down_until: float | None = None
    """Killed on purpose, and to be started again then."""
    drop_due: float = math.inf
    drop_until: float = math.inf
    faults: set[ProcessFault] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        return self.asked or self.pid is not None

    @property
    def shown(self) -> Status:
        return Status.FROZEN if self.frozen and self.pid is not None else self.status


class Processes:
    """All processes by id, in the order in which they were added."""

    def __init__(self, *, stop_within_s: float, timing: RestartTiming | None = None) -> None:
        """`stop_within_s` is how long a process may take to end when asked to, before it is killed."""
        self._stop_within_s = stop_within_s
        self._timing = timing
        self._table: dict[str, _Process] = {}
        self._deeds: list[Deed] = []

    # What the shell sees.

    def add(self, name: str, kind: str) -> None:
        """Make a process known. It is shown as starting; `start` starts it."""
        self._table[name] = _Process(name, kind, Restart(self._timing), status=Status.STARTING)

    def ensure(self, name: str) -> None:
        """Start a known process unless it lives already."""
        if not self._table[name].alive:
            self._spawn(self._table[name])

    def spawned(self, name: str, pid: int, *, now: float, at: float) -> None:
        """Take note of a process that was born."""
        process = self._table[name]
        process.asked = False
        process.pid = pid
        process.started_at = at
        process.policy.started(now)

    def running(self, pid: int) -> None:
        """Take note that a process answers."""
        process = self._of(pid)
        if process is not None and process.status is Status.STARTING:
            process.status = Status.RUNNING
            self._end_faults(process, ProcessFault.KILL, ProcessFault.RESTART)

    def seen(self, pid: int, *, stopped: bool) -> None:
        """Take note of whether a process is stopped by a signal, whoever sent it."""
        process = self._of(pid)
        if process is not None:
            process.frozen = stopped

    def exited(self, name: str, *, number: int | None, code: int | None, now: float) -> None:
        """Take note of a process that is gone, or could not be born: by signal `number` or with exit `code`."""
        process = self._table[name]
        if not process.alive:
            return
        process.exit = f"code {code}" if number is None else signal_name(number)
        process.status = Status.FAILED if process.status is Status.STARTING and process.wanted else Status.EXITED
        process.asked = process.frozen = False
        process.pid = process.started_at = None
        process.kill_due = math.inf
        self._end_freeze(process)
        self._deeds.append(ProcessExited(id=name, signal=number, code=code))
        if process.again:
            process.start_due = now
        elif process.wanted and process.down_until is not None:
            process.start_due = max(now, process.down_until)
        elif process.wanted and process.kind != NODE:
            process.start_due = process.policy.exited(now)
        else:
            process.wanted = False
        process.again = False

    def all_lost(self, *, now: float) -> None:
        """Take note that the spawner died and every process with it; what was wanted comes back, nodes too."""
        for process in self._table.values():
            if process.alive:
                process.again = process.again or process.wanted
                self.exited(process.id, number=signal.SIGKILL, code=None, now=now)
        self.tick(now)

    @property
    def deadline(self) -> float:
        """When `tick` has to be called next; infinite if never."""
        dues = (
            min(process.start_due, process.kill_due, process.thaw_due, process.drop_due)
            for process in self._table.values()
        )
        return min(dues, default=math.inf)

    def tick(self, now: float) -> None:
        """Let time pass. Calling too early does nothing."""
        for process in self._table.values():
            if process.start_due <= now:
                self._spawn(process)
            if process.kill_due <= now:
                process.kill_due = math.inf
                self._signal(process, "KILL")
            if process.thaw_due <= now:
                process.frozen = False
                self._signal(process, "CONT")
                self._end_freeze(process)
            if process.drop_due <= now:
                self._drop(process, now)

    def take(self) -> tuple[Deed, ...]:
        """Return what is to be done since the last call, in order."""
        deeds, self._deeds = tuple(self._deeds), []
        return deeds

    def state(self) -> JsonObject:
        """Return the table as it is served."""
        rows: JsonObject = {}
        for process in self._table.values():
            row: JsonObject = {
                "kind": process.kind,
                "status": str(process.shown),
                "restarts": max(0, process.starts - 1),
            }
            if process.pid is not None:
                row["pid"] = process.pid
            if process.started_at is not None:
                row["started_at"] = process.started_at
            if process.exit and not process.alive:
                row["exit"] = process.exit
            rows[process.id] = row
        return rows

    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Return all processes as pairs of id and kind."""
        return tuple((process.id, process.kind) for process in self._table.values())

    def pids(self) -> tuple[tuple[str, int], ...]:
        """Return the processes that live, as pairs of id and pid."""
        return tuple((process.id, process.pid) for process in self._table.values() if process.pid is not None)

    def status(self, name: str) -> Status:
        """Return the status shown of a known process."""
        return self._table[name].shown

    # What an operator asks. Each returns its effect; a dry run changes nothing.
    # Each raises OperationRefusedError if it cannot be done.

    def start(self, name: str, *, dry_run: bool = False) -> JsonObject:
        """Start a process that does not run."""
        process = self._known(name)
        if process.alive:
            hint = "thaw it instead" if process.frozen else "stop it first"
            raise OperationRefusedError("already_running", f"{name} is {process.shown}; {hint}")
        if not dry_run:
            self._spawn(process)
        return {"id": name, "status": "starting"}

    def stop(self, name: str, *, now: float, dry_run: bool = False) -> JsonObject:
        """Ask a process to end (a node drains) and kill it when it takes too long; it stays down."""
        process = self._known(name)
        if not process.alive and process.start_due < math.inf:  # Waiting for its next attempt.
            if not dry_run:
                process.start_due, process.wanted = math.inf, False
                self._end_kill(process)
            return {"id": name, "status": str(process.status)}
        pid = self._pid_of(process)
        if not dry_run:
            process.wanted = process.again = False
            self._end_kill(process)
            self._ask_to_end(process, now)
        return {"id": name, "pid": pid, "status": "stopping", "killed_after_s": self._stop_within_s}

    def restart(self, name: str, *, now: float, dry_run: bool = False) -> JsonObject:
        """Ask a process to end and start it again as soon as it is gone."""
        process = self._known(name)
        if not process.alive:
            return self.start(name, dry_run=dry_run)
        pid = self._pid_of(process)
        if not dry_run:
            self._ask_to_end(process, now)
            process.again = True
        return {"id": name, "pid": pid, "status": "stopping", "killed_after_s": self._stop_within_s}

    def kill(self, name: str, word: str, *, now: float, dry_run: bool = False) -> JsonObject:
        """Send a signal by its name, and nothing else: what follows is what happens to processes outside, too.

        KILL is a fault until the process runs again, STOP is one for an hour at most.
        """
        if word not in SIGNALS:
            raise OperationRefusedError("unknown_signal", f"no signal {word!r}; there are: {', '.join(SIGNALS)}")
        process = self._known(name)
        pid = self._pid_of(process)
        if not dry_run:
            if word == "STOP":
                self._freeze(process, ProcessFault.FREEZE, now + STOPPED_FOR_S, STOPPED_FOR_S)
            elif word == "CONT":
                self._signal(process, word)
                process.frozen = False
                self._end_freeze(process)
            else:
                self._signal(process, word)
                if word == "KILL":
                    self._begin(process, ProcessFault.KILL)
        return {"id": name, "pid": pid, "signal": f"SIG{word}"}

    def freeze(self, name: str, ttl_s: float, *, now: float, dry_run: bool = False) -> JsonObject:
        """Stop a process where it stands; it goes on by itself after `ttl_s` seconds."""
        return self.fault(name, ProcessFault.FREEZE, ttl_s, now=now, dry_run=dry_run)

    def thaw(self, name: str, *, now: float, dry_run: bool = False) -> JsonObject:
        """Let a frozen process go on."""
        return self.kill(name, "CONT", now=now, dry_run=dry_run)

    def fault(self, name: str, word: str, ttl_s: float, *, now: float, dry_run: bool = False) -> JsonObject:
        """Do one of the process's faults to it, for `ttl_s` seconds; one of the same kind gives way."""
        process = self._known(name)
        allowed = [fault for fault in ProcessFault if process.kind == REDIS or fault not in _OF_REDIS_ONLY]
        if word not in allowed:
            raise OperationRefusedError("unknown_fault", f"{name} has no fault {word!r}; allowed: {', '.join(allowed)}")
        fault = ProcessFault(word)
        check_ttl(ttl_s)
        pid = self._pid_of(process)
        if not dry_run:
            match fault:
                case ProcessFault.FREEZE | ProcessFault.STALL:
                    self._freeze(process, fault, now + ttl_s, ttl_s)
                case ProcessFault.KILL:
                    process.down_until = now + ttl_s
                    self._signal(process, "KILL")
                    self._begin(process, fault, ttl_s)
                case ProcessFault.RESTART:
                    self.restart(name, now=now)
                    process.kill_due = min(process.kill_due, now + ttl_s)
                    self._begin(process, fault, ttl_s)
                case ProcessFault.DROP_PUBSUB:
                    process.drop_until = now + ttl_s
                    self._begin(process, fault, ttl_s)
                    self._drop(process, now)
        return {"id": name, "pid": pid, "fault": str(fault), "ttl_s": ttl_s}

    def heal(self, name: str | None = None, *, now: float, dry_run: bool = False) -> tuple[str, ...]:
        """End the faults of one process, or of all; return the processes that had any. Who was killed is started."""
        found = [process for process in self._table.values() if process.faults and name in (None, process.id)]
        for process in () if dry_run else found:
            if process.thaw_due < math.inf:
                self.thaw(process.id, now=now)
            if process.drop_due < math.inf:
                self._end_drop(process)
            if ProcessFault.KILL in process.faults:
                process.down_until = now
                if not process.alive:
                    process.start_due = math.inf
                    self._spawn(process)
        return tuple(process.id for process in found)

    def scale(self, nodes: int, *, now: float, dry_run: bool = False) -> JsonObject:
        """Have so many nodes run: starts the lowest that do not, or stops the highest that do.

        The effect names new ids under `started` as well: the shell makes them startable when it spawns them.
        """
        if not 1 <= nodes <= NODES_MAX:
            raise OperationRefusedError("bad_argument", f"nodes is {nodes}, not in 1…{NODES_MAX}")
        live = [
            process
            for process in self._table.values()
            if process.kind == NODE and process.alive and process.status is not Status.STOPPING
        ]
        live.sort(key=lambda process: _number(process.id))
        free = (f"n{number}" for number in range(1, 2 * NODES_MAX + 1))
        idle = (name for name in free if name not in self._table or not self._table[name].alive)
        starting = [name for name, _ in zip(idle, range(nodes - len(live)), strict=False)]
        stopping = [process.id for process in live[nodes:]]
        if not dry_run:
            for name in starting:
                if name not in self._table:
                    self.add(name, NODE)
                self.start(name)
            for name in stopping:
                self.stop(name, now=now)
        return {"nodes": nodes, "started": [*starting], "stopped": [*stopping]}

    # How it is done.

    def _known(self, name: str) -> _Process:
        process = self._table.get(name)
        if process is None:
            raise OperationRefusedError("unknown_process", f"no process {name!r}; there are: {', '.join(self._table)}")
        return process

    def _pid_of(self, process: _Process) -> int:
        if process.pid is None:
            raise OperationRefusedError("not_running", f"{process.id} does not run, it is {process.shown}")
        return process.pid

    def _of(self, pid: int) -> _Process | None:
        return next((process for process in self._table.values() if process.pid == pid), None)

    def _spawn(self, process: _Process) -> None:
        process.start_due = math.inf
        process.down_until = None
        process.status = Status.STARTING
        process.asked = process.wanted = True
        process.starts += 1
        self._deeds.append(Spawn(process.id))

    def _signal(self, process: _Process, word: str) -> None:
        if process.pid is not None:
            self._deeds.append(SendSignal(process.pid, SIGNALS[word]))

    def _ask_to_end(self, process: _Process, now: float) -> None:
        process.status = Status.STOPPING
        process.kill_due = now + self._stop_within_s
        self._signal(process, "TERM")
        if process.frozen:  # A stopped process acts on TERM only once it goes on.
            process.frozen = False
            self._signal(process, "CONT")
            self._end_freeze(process)

    def _freeze(self, process: _Process, fault: ProcessFault, until: float, ttl_s: float) -> None:
        self._end_freeze(process)
        self._signal(process, "STOP")
        process.frozen = True
        process.thaw_due = until
        self._begin(process, fault, ttl_s)

    def _end_freeze(self, process: _Process) -> None:
        process.thaw_due = math.inf
        self._end_faults(process, ProcessFault.FREEZE, ProcessFault.STALL)

    def _end_kill(self, process: _Process) -> None:
        process.down_until = None
        self._end_faults(process, ProcessFault.KILL, ProcessFault.RESTART)

    def _drop(self, process: _Process, now: float) -> None:
        if now >= process.drop_until:
            self._end_drop(process)
            return
        self._deeds.append(DropSubscribers())
        process.drop_due = min(now + DROP_EVERY_S, process.drop_until)

    def _end_drop(self, process: _Process) -> None:
        process.drop_due = process.drop_until = math.inf
        self._end_faults(process, ProcessFault.DROP_PUBSUB)

    def _begin(self, process: _Process, fault: ProcessFault, ttl_s: float | None = None) -> None:
        self._end_faults(process, fault)
        process.faults.add(fault)
        self._deeds.append(FaultStarted(fault=fault, target=process.id, ttl_s=ttl_s))

    def _end_faults(self, process: _Process, *faults: ProcessFault) -> None:
        for fault in faults:
            if fault in process.faults:
                process.faults.remove(fault)
                self._deeds.append(FaultEnded(fault=fault, target=process.id))


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9; a number without a name is shown as such."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _number(name: str) -> int:
    digits = name.removeprefix("n")
    return int(digits) if digits.isdecimal() else 0
