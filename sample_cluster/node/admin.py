"""A node's operations on the admin socket."""

import asyncio
import logging
import os
import signal
from typing import Final

from sample_cluster.core.address import split_address
from sample_cluster.core.drain import Drain, Pace
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.membership import REDIS_ERRORS
from sample_cluster.node.connection import RESTART, ClientConnection
from sample_cluster.node.listing import register_queries
from sample_cluster.node.server import DRAIN_LEAD_S, Node
from sample_cluster.role import Role
from wsmon.errors import OperationRefusedError, RemoteProtocolError
from wsmon.protocol.fields import Fields
from wsmon.protocol.frames import Command, JsonObject, ReadOnlyJson
from wsmon.protocol.registry import decode_entry

KILL_DELAY_S: Final = 0.05
"""Time for the answer to leave before the signal comes."""
SIGNALS: Final = ("TERM", "KILL", "STOP", "CONT", "INT")
LEVELS: Final = ("debug", "info", "warning", "error")
DEADLINE_MOST_S: Final = 3_600.0


def register_operations(role: Role, node: Node) -> None:
    """Offer everything that can be asked of a node."""
    register_queries(role.agent, node)
    operations = Operations(role, node)
    for name in ("drain", "undrain", "cordon", "uncordon", "disconnect", "revoke", "kill", "log_level"):
        run = getattr(operations, name)
        role.agent.operation(name, run, check=getattr(operations, f"check_{name}", None))
    # Other checkers ask several times a second: not an operator's action.
    role.agent.operation("probe", operations.probe, audited=False)


class Operations:
    """What can be asked of a node. Each is idempotent by itself: doing it twice is doing it once."""

    def __init__(self, role: Role, node: Node) -> None:
        self._role = role
        self._node = node
        self._addresses: dict[str, str] = {}

    async def drain(self, command: Command) -> ReadOnlyJson:
        """Begin to empty the node; the answer does not wait for the end."""
        deadline_s, rate = self._drain_args(command)
        return self._drain_effect(self._node.drain(deadline_s=deadline_s, rate=rate))

    def check_drain(self, command: Command) -> ReadOnlyJson:
        """Say how many connections a drain would move, where to, and how fast."""
        deadline_s, rate = self._drain_args(command)
        count, survivors = len(self._node.hub.connections), self._node.lookout.survivors
        pace = Pace.of(count, survivors, deadline_s=deadline_s, lead_s=DRAIN_LEAD_S, rate=rate)
        effect: JsonObject = {
            "connections": count,
            "deadline_s": deadline_s,
            "rate": round(pace.rate, 1),
            "hurried": pace.hurried,
            "eta_s": round(min(deadline_s, DRAIN_LEAD_S + count / pace.rate) if count else 0.0, 1),
            "survivors": {
                node: {} if connections is None else {"connections": connections}
                for node, connections in sorted(survivors.connections.items())
            },
        }
        if survivors.capacity is not None:
            effect["handshakes_per_s"] = round(survivors.capacity, 1)
        return effect

    def _drain_args(self, command: Command) -> tuple[float, float | None]:
        fields = _fields(command)
        try:
            deadline_s = fields.number_or_none("deadline_s", least=0, most=DEADLINE_MOST_S)
            rate = fields.number_or_none("rate", least=0.1, most=100_000)
        except RemoteProtocolError as error:
            raise OperationRefusedError("bad_args", error.message) from None
        return self._role.settings.profile.drain_deadline_s if deadline_s is None else deadline_s, rate

    def _drain_effect(self, drain: Drain | None) -> JsonObject:
        if drain is None:
            return {"state": str(self._node.state), "left": 0}
        return {"state": str(self._node.state), "left": drain.left, "total": drain.total}

    async def undrain(self, command: Command) -> ReadOnlyJson:
        """Call off a drain."""
        self.check_undrain(command)
        self._node.undrain()
        return {"state": str(self._node.state)}

    def check_undrain(self, _command: Command) -> ReadOnlyJson:
        """Refuse when the drain cannot be called off any more."""
        if self._role.stopping.is_set():
            raise OperationRefusedError(
                "stopping", f"{self._node.id} has been told to end: its drain cannot be aborted"
            )
        return {"state": str(self._node.state)}

    async def cordon(self, _command: Command) -> ReadOnlyJson:
        """Take no new connections; those that are here stay."""
        self._node.cordoned = True
        return {"cordoned": True}

    async def uncordon(self, _command: Command) -> ReadOnlyJson:
        """Take new connections again."""
        self._node.cordoned = False
        return {"cordoned": False}

    async def disconnect(self, command: Command) -> ReadOnlyJson:
        """Close one connection or one session with 1012, or ask the `count` oldest to go elsewhere, in a steady stream."""
        chosen = self._chosen(command)
        if "count" in command.args:
            # Nobody in particular is meant: this is about balance, and need not hurt.
            return {"closed": len(chosen), "rate": round(self._node.send_away(chosen), 1)}
        self._node.close(chosen, RESTART, "disconnected by an operator")
        return {"closed": len(chosen)}

    def check_disconnect(self, command: Command) -> ReadOnlyJson:
        """Say how many connections would be closed."""
        return {"connections": len(self._chosen(command))}

    async def revoke(self, command: Command) -> ReadOnlyJson:
        """End a session for good, wherever it is served: its client is closed with 4504 and may not come back."""
        session = self._revoked(command)
        try:
            return {"served": await self._node.sessions.revoke(session)}
        except StoreUnavailableError as error:
            raise OperationRefusedError("unavailable", error.message) from None

    def check_revoke(self, command: Command) -> ReadOnlyJson:
        """Say whether this node serves the session."""
        return {"here": self._revoked(command) in self._node.hub.sessions}

    @staticmethod
    def _revoked(command: Command) -> str:
        try:
            return _fields(command).text("session", longest=128)
        except RemoteProtocolError as error:
            raise OperationRefusedError("bad_args", error.message) from None

    def _chosen(self, command: Command) -> tuple[ClientConnection, ...]:
        fields = _fields(command)
        connections = self._node.connections
        try:
            if fields.has("connection"):
                name = fields.text("connection")
                return tuple(item for item in connections if item.name == name)
            if fields.has("session"):
                name = fields.text("session")
                return tuple(item for item in connections if item.session == name)
            return self._node.staying[: fields.integer("count", least=1)]
        except RemoteProtocolError as error:
            raise OperationRefusedError("bad_args", error.message) from None

    async def kill(self, command: Command) -> ReadOnlyJson:
        """Send this process a signal, just after the answer."""
        name = self._signal(command)
        asyncio.get_running_loop().call_later(KILL_DELAY_S, os.kill, os.getpid(), signal.Signals[f"SIG{name}"])
        return {"signal": name, "pid": os.getpid()}

    def check_kill(self, command: Command) -> ReadOnlyJson:
        """Say which process would get the signal."""
        return {"signal": self._signal(command), "pid": os.getpid()}

    @staticmethod
    def _signal(command: Command) -> str:
        asked = command.args.get("signal", "TERM")
        name = asked.upper().removeprefix("SIG") if isinstance(asked, str) else ""
        if name not in SIGNALS:
            raise OperationRefusedError("bad_args", f"kill.signal is not one of {', '.join(SIGNALS)}")
        return name

    async def log_level(self, command: Command) -> ReadOnlyJson:
        """Set how much this process logs."""
        level = command.args.get("level")
        if not isinstance(level, str) or level not in LEVELS:
            raise OperationRefusedError("bad_args", f"log_level.level is not one of {', '.join(LEVELS)}")
        logging.getLogger().setLevel(level.upper())
        return {"level": level}

    async def probe(self, command: Command) -> ReadOnlyJson:
        """Say whether this node reaches another: a fresh connection and an answer from the process itself."""
        fields = _fields(command)
        try:
            node = fields.text("node", longest=256)
            timeout_ms = fields.number("timeout_ms", least=1, most=60_000)
            address = fields.text_or_none("address", longest=256)
            if address is not None:
                split_address(address)
        except (RemoteProtocolError, ValueError) as error:
            raise OperationRefusedError("bad_args", str(error)) from None
        clock = asyncio.get_running_loop().time
        if address is None:
            # Before the time begins: how long Redis takes says nothing of the node that is asked about.
            address = await self._address(node)
        started = clock()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                reached = await _is_live(address)
        except (TimeoutError, OSError):
            reached = False
        return {"reached": reached, "ms": round((clock() - started) * 1_000, 1)}

    async def _address(self, node: str) -> str:
        """Return where `node` serves; the last known address while Redis is away."""
        try:
            text = await self._role.redis.get(self._role.keys.node(node))
            address = decode_entry(text).address if text else None
            if address is not None:
                self._addresses[node] = address
        except (*REDIS_ERRORS, RemoteProtocolError):
            pass
        if node not in self._addresses:
            raise OperationRefusedError("unknown_node", f"no address of {node[:64]!r} is known")
        return self._addresses[node]


def _fields(command: Command) -> Fields:
    return Fields(command.args, command.op)


async def _is_live(address: str) -> bool:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(f"GET /live HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    finally:
        writer.transport.abort()
