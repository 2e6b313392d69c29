"""The served side of an admin socket, for any asyncio server.

The owner publishes its state and emits events; everything else (revisions, deltas, slow watchers, roles, audit)
happens here. A watcher can never slow the owner down: nothing here waits for one outside its own task.
"""

import asyncio
import hmac
import logging
import os
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext

from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from wsmon.agent.endpoint import TcpEndpoint, UnixEndpoint, is_loopback, parse_endpoint
from wsmon.errors import OperationRefusedError, RemoteProtocolError, UsageError
from wsmon.protocol.codec import encode_frame
from wsmon.protocol.events import ActionDone, EventBody, body_fields, kind_of
from wsmon.protocol.frames import (
    SUBPROTOCOL,
    Command,
    ErrorBody,
    EventFrame,
    Hello,
    JsonObject,
    Page,
    Query,
    ReadOnlyJson,
    Result,
)
from wsmon.protocol.session import ServedSession, StateLog
from wsmon.protocol.states import PeerKind, Role

log = logging.getLogger(__name__)

INBOUND_MAX = 64 * 1024
REQUESTS_AT_ONCE = 32
RESULTS_KEPT = 1_024
LAG_PROBE_S = 0.25
SERVICE_RESTART = 1012
CLOSE_WITHIN_S = 1.0
"""A watcher that does not take our close for this long is cut."""

Operation = Callable[[Command], Awaitable[ReadOnlyJson | None]]
"""Carries out a command and returns its effect; raises OperationRefusedError to refuse it."""
Check = Callable[[Command], ReadOnlyJson | None]
"""Says what a command would do, for `dry_run`; raises OperationRefusedError if it would be refused."""
Answer = Callable[[Query], Page]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who serves. `boot` must rise with every start: see `new_boot`."""

    kind: PeerKind
    id: str
    version: str
    boot: int
    profile: ReadOnlyJson = field(default_factory=dict)
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Bearer tokens of a TCP admin socket; an empty one opens nothing."""

    read: str = ""
    control: str = ""

    def role(self, authorization: str) -> Role | None:
        """Return what the `Authorization` header allows, in constant time."""
        offered = authorization.removeprefix("Bearer ").encode()
        for token, role in ((self.control, Role.CONTROL), (self.read, Role.READ)):
            if token and hmac.compare_digest(offered, token.encode()):
                return role
        return None


@dataclass(frozen=True, slots=True)
class _Operation:
    run: Operation
    check: Check | None
    audited: bool


def new_boot(last_known: int = 0) -> int:
    """Return a boot number above `last_known`: Unix milliseconds, also if the clock went back."""
    return max(time.time_ns() // 1_000_000, last_known + 1)


class AdminServer:
    """Serves one state and one stream of events to any number of watchers."""

    def __init__(self, identity: Identity, *, journal: Callable[[EventFrame], None] | None = None) -> None:
        """`journal` is called with every event, for a second road such as a Redis stream; it must not block."""
        self.identity = identity
        self.journal = journal
        self._log = StateLog(boot=identity.boot)
        self._operations: dict[str, _Operation] = {}
        self._answers: dict[str, Answer] = {}
        self._watchers: set[_Watcher] = set()
        self._putting_out: set[asyncio.Task[None]] = set()
        self._servers: list[Server] = []
        self._paths: list[Path] = []
        self._results: OrderedDict[str, asyncio.Future[Result]] = OrderedDict()
        self._seq = 0
        self._lag_ms = 0.0
        self._lag_task: asyncio.Task[None] | None = None

    @property
    def lag_ms(self) -> float:
        """How late this process's loop ran at worst within the last probes, in milliseconds."""
        return self._lag_ms

    @property
    def watchers(self) -> int:
        """How many watchers are connected."""
        return len(self._watchers)

    @property
    def state(self) -> ReadOnlyJson:
        """The newest published state."""
        return self._log.state

    def operation(self, name: str, run: Operation, *, check: Check | None = None, audited: bool = True) -> None:
        """Offer an operation. `check` answers dry runs; without it a dry run is refused.

        Audited operations leave an `action` event, whoever asked and however they ended.
        Register before `serve`: the names go out with the hello.
        """
        self._operations[name] = _Operation(run, check, audited)

    def query(self, what: str, answer: Answer) -> None:
        """Offer rows that are too many for the state."""
        self._answers[what] = answer

    def publish(self, state: ReadOnlyJson) -> None:
        """Serve `state` from now on; only what changed goes out. Hand over fresh lists: they are kept."""
        if self._log.publish(state, at=time.time()):
            for watcher in self._watchers:
                watcher.wake.set()

    def emit(self, body: EventBody, *, at: float | None = None) -> EventFrame:
        """Tell every watcher, and the journal, that something happened."""
        self._seq += 1
        event = EventFrame(
            source=self.identity.id,
            boot=self.identity.boot,
            seq=self._seq,
            at=time.time() if at is None else at,
            kind=kind_of(body),
            fields=body_fields(body),
        )
        text = encode_frame(event)
        for watcher in self._watchers:
            watcher.session.notify(text)
            watcher.wake.set()
        if self.journal is not None:
            self.journal(event)
        return event

    def reboot(self, boot: int) -> None:
        """Serve from now on as if this process had just been started, as `boot`; `publish` the state afterwards.

        Revisions and events count anew, and every watcher is put out, to come back and be greeted by the new life.
        What it sent and we have not read yet is thrown away. A command that is being carried out goes on if it has an
        idempotency key, and its answer is kept under that.
        """
        assert boot > self.identity.boot, "a later life has a higher boot"
        self.identity = replace(self.identity, boot=boot)
        self._log = StateLog(boot=boot)
        self._seq = 0
        over, self._watchers = self._watchers, set()
        for watcher in over:
            watcher.over = True
            watcher.writer.cancel()
            task = asyncio.get_running_loop().create_task(_put_out(watcher.connection), name="admin-put-out")
            self._putting_out.add(task)
            task.add_done_callback(self._putting_out.discard)

    async def serve(self, url: str, *, tokens: Tokens | None = None, tls: SSLContext | None = None) -> str:
        """Listen at `url` and return the URL under which the socket can be reached (port 0 is filled in).

        Raises:
            UsageError: TCP without tokens, or beyond loopback without TLS.
            OSError: the address cannot be bound.

        """
        if self._lag_task is None:
            self._lag_task = asyncio.get_running_loop().create_task(self._watch_lag(), name="admin-lag")
        endpoint = parse_endpoint(url)
        if isinstance(endpoint, UnixEndpoint):
            path = Path(endpoint.path)
            path.unlink(missing_ok=True)
            server = await unix_serve(
                self._serve_unix,
                endpoint.path,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                ping_interval=None,
                max_size=INBOUND_MAX,
                close_timeout=1,
            )
            path.chmod(0o600)
            self._paths.append(path)
            self._servers.append(server)
            return url
        if tokens is None or not (tokens.read or tokens.control):
            raise UsageError("an admin socket on TCP needs tokens")
        if tls is None and (endpoint.tls or not is_loopback(endpoint.host)):
            raise UsageError("an admin socket beyond loopback needs TLS")
        server = await serve(
            lambda connection: self._watch(connection, getattr(connection, "admin_role", Role.READ)),
            endpoint.host,
            endpoint.port,
            process_request=lambda connection, request: self._authorise(connection, request, tokens),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            ping_interval=None,
            max_size=INBOUND_MAX,
            close_timeout=1,
            ssl=tls,
        )
        self._servers.append(server)
        bound = next(iter(server.sockets)).getsockname()[1]
        return str(TcpEndpoint(endpoint.host, bound, tls=endpoint.tls))

    async def close(self) -> None:
        """Stop serving and close every connection with 1001."""
        for server in self._servers:
            server.close()
        if self._lag_task is not None:
            self._lag_task.cancel()
        for server in self._servers:
            await server.wait_closed()
        for path in self._paths:
            path.unlink(missing_ok=True)

    @staticmethod
    def _authorise(connection: ServerConnection, request: Request, tokens: Tokens) -> Response | None:
        role = tokens.role(request.headers.get("Authorization", ""))
        if role is None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "a bearer token is required\n")
        connection.admin_role = role  # type: ignore[attr-defined]  # Carried to the handler by the library's object.
        return None

    async def _serve_unix(self, connection: ServerConnection) -> None:
        uid = _peer_uid(connection)
        if uid is not None and uid not in (os.getuid(), 0):
            await connection.close(1008, "another user")
            return
        await self._watch(connection, Role.CONTROL)

    async def _watch(self, connection: ServerConnection, role: Role) -> None:
        loop = asyncio.get_running_loop()
        hello = Hello(
            kind=self.identity.kind,
            id=self.identity.id,
            boot=self.identity.boot,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=self.identity.version,
            role=role,
            ops=tuple(self._operations),
            profile=self.identity.profile,
            zone=self.identity.zone,
        )
        watcher = _Watcher(connection, ServedSession(hello, self._log, now=loop.time()))
        self._watchers.add(watcher)
        watcher.writer = loop.create_task(self._write(connection, watcher), name="admin-write")
        try:
            await self._read(connection, watcher)
        except ConnectionClosed:
            pass
        except RemoteProtocolError as error:
            log.warning("admin watcher broke the protocol: %s", error)
            await connection.close(1002, str(error)[:120])
        finally:
            self._watchers.discard(watcher)
            watcher.writer.cancel()
            for task in watcher.requests:
                task.cancel()

    async def _read(self, connection: ServerConnection, watcher: "_Watcher") -> None:
        loop = asyncio.get_running_loop()
        async for text in connection:
            if watcher.over:
                continue  # Meant for an earlier life. Read all the same: the watcher's close comes after it.
            request = watcher.session.receive(text, now=loop.time())
            watcher.wake.set()
            if request is None:
                continue
            if len(watcher.requests) >= REQUESTS_AT_ONCE:
                raise RemoteProtocolError(f"more than {REQUESTS_AT_ONCE} requests at once")
            task = loop.create_task(self._carry_out(request, watcher), name="admin-request")
            watcher.requests.add(task)
            task.add_done_callback(watcher.requests.discard)

    async def _write(self, connection: ServerConnection, watcher: "_Watcher") -> None:
        loop = asyncio.get_running_loop()
        session = watcher.session
        try:
            while True:
                watcher.wake.clear()
                for text in session.take(now=loop.time(), at=time.time(), lag_ms=self._lag_ms):
                    await connection.send(text)  # Waits while the watcher does not read; the session bounds the rest.
                if session.wants_write:
                    continue
                # At least a millisecond: a timer may fire early by its resolution, and would then be set again at once.
                timer = loop.call_later(max(session.deadline - loop.time(), 0.001), watcher.wake.set)
                try:
                    await watcher.wake.wait()
                finally:
                    timer.cancel()
        except ConnectionClosed:
            pass

    async def _carry_out(self, request: Command | Query, watcher: "_Watcher") -> None:
        match request:
            case Query(what=what, id=name):
                answer, page = self._answers.get(what), Page(id=name, rows=())
                try:
                    page = page if answer is None else answer(request)
                except Exception:  # A task ends here: the asker gets an answer, the log the traceback.
                    log.exception("query %s failed", what)
                watcher.session.answer(page)
            case Command():
                watcher.session.answer(await self._result(request))
        watcher.wake.set()

    async def _result(self, command: Command) -> Result:
        """Run the command once per idempotency key; a repetition gets the first answer under its own id."""
        key = command.idempotency_key
        if key is None or command.dry_run:
            return await self._run(command)
        known = self._results.get(key)
        if known is None:
            # The command outlives the watcher that asked: a lost connection must not leave it half done.
            known = asyncio.ensure_future(self._run(command))
            self._results[key] = known
            while len(self._results) > RESULTS_KEPT:
                self._results.popitem(last=False)
        first = await asyncio.shield(known)
        return Result(id=command.id, ok=first.ok, rev=first.rev, error=first.error, effect=first.effect)

    async def _run(self, command: Command) -> Result:
        operation = self._operations[command.op]
        effect: ReadOnlyJson | None = None
        error: ErrorBody | None = None
        try:
            if not command.dry_run:
                effect = await operation.run(command)
            elif operation.check is not None:
                effect = operation.check(command)
            else:
                raise OperationRefusedError("no_dry_run", f"{command.op} cannot be tried without doing it")
        except OperationRefusedError as refusal:
            error = ErrorBody(code=refusal.code, message=str(refusal))
        except Exception as failure:  # A task ends here: the asker gets an answer, the log the traceback.
            log.exception("operation %s failed", command.op)
            error = ErrorBody(code="internal", message=f"{command.op} failed: {type(failure).__name__}")
        if operation.audited and not command.dry_run:
            self.emit(
                ActionDone(
                    actor=_actor_object(command),
                    op=command.op,
                    target=_target(command, self.identity.id),
                    reason=command.reason or "",
                    ok=error is None,
                )
            )
        return Result(id=command.id, ok=error is None, rev=self._log.rev, error=error, effect=effect)

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        recent = [0.0] * 4
        while True:
            due = loop.time() + LAG_PROBE_S
            await asyncio.sleep(LAG_PROBE_S)
            recent = [*recent[1:], max(0.0, loop.time() - due) * 1_000]
            self._lag_ms = max(recent)


class _Watcher:
    """What belongs to one connection."""

    writer: asyncio.Task[None]

    def __init__(self, connection: ServerConnection, session: ServedSession) -> None:
        self.connection = connection
        self.session = session
        self.over = False
        """Whether it watches a life of the process that is over."""
        self.wake = asyncio.Event()
        self.requests: set[asyncio.Task[None]] = set()


async def _put_out(connection: ServerConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await connection.close(SERVICE_RESTART, "another life begins")
    except TimeoutError:
        connection.transport.abort()


def _actor_object(command: Command) -> JsonObject:
    actor: JsonObject = {"user": command.actor.user, "host": command.actor.host}
    if command.actor.tty is not None:
        actor["tty"] = command.actor.tty
    return actor


def _target(command: Command, default: str) -> str:
    names = (command.args.get(field) for field in ("id", "node", "name", "target"))
    return next((name for name in names if name and isinstance(name, str)), default)


def _peer_uid(connection: ServerConnection) -> int | None:
    """Return the user id at the other end of a Unix socket, None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    transport_socket = connection.transport.get_extra_info("socket")
    if option is None or transport_socket is None:
        return None
    credentials = transport_socket.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
