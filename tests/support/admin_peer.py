"""A served side of the admin protocol that does everything right but, if asked to, one thing wrong."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from wsmon.errors import RemoteProtocolError
from wsmon.protocol.codec import encode_frame
from wsmon.protocol.frames import (
    SUBPROTOCOL,
    Command,
    ErrorBody,
    EventFrame,
    Hello,
    Json,
    JsonObject,
    Page,
    Query,
    Result,
)
from wsmon.protocol.session import ServedSession, StateLog
from wsmon.protocol.states import PeerKind, Role

SESSIONS = tuple({"session": f"s{number}"} for number in range(5))
TICK_S = 0.05


class Wrong(StrEnum):
    """What it may do wrong."""

    NOTHING = "nothing"
    ANY_SUBPROTOCOL = "takes a handshake without the subprotocol"
    NO_TOKEN = "asks for no token"
    FORBIDDEN = "says 404 to a wrong token"
    LATE_HELLO = "says hello after 4 s"
    BEAT_FIRST = "beats before hello"
    PROTOCOL = "speaks version 2"
    KIND = "is of no known kind"
    OPS = "leaves out ops"
    NULL = "says null for a missing zone"
    BINARY = "sends binary messages"
    TELLS_ALL = "gives its state to everybody"
    OTHER_BOOT = "gives a snapshot of another boot"
    NO_STATE = "gives a snapshot without a state"
    PREV = "names the wrong revision before"
    PATCH = "leaves a field out of its patches"
    HASTY = "ignores the interval"
    DEAF = "ignores a second subscribe"
    OLD_SNAPSHOT = "goes back in its revisions"
    UNKNOWN_SINCE = "gives a delta from any revision"
    IGNORES_SINCE = "gives a snapshot to everybody who subscribes"
    NO_BEATS = "does not beat"
    SLOW_BEATS = "beats each 3 s"
    FAST_BEATS = "beats each 0.1 s"
    SEQ_HOLE = "counts events by two"
    SEQ_TWICE = "uses each number twice"
    EVENT_SOURCE = "tells no source"
    NO_PONG = "answers no ping"
    PONG_ID = "answers pings under another id"
    PONG_AT = "answers pings with its own time"
    PAGE_LIMIT = "gives more rows than asked for"
    PAGE_AGAIN = "gives the first page again"
    NO_PAGE = "does not answer what it does not know"
    UNKNOWN_OK = "says yes to everything"
    UNKNOWN_CODE = "refuses with another code"
    UNKNOWN_CLOSES = "closes after an unknown operation"
    DRY_DONE = "does what it was only asked about"
    DRY_NOTHING = "says nothing of what would be done"
    DRY_SILENT = "does not answer dry runs"
    KEY_ID = "answers under the first id"
    KEY_OTHER = "answers the second time differently"
    STRICT = "closes after an unknown frame"
    STRICT_FIELDS = "closes after an unknown field"
    GARBAGE_KEPT = "goes on after garbage"
    GARBAGE_CODE = "closes after garbage with 1000"
    GARBAGE_ALL = "closes everything after garbage"
    FIELDS_KEPT = "goes on after wrong fields"
    SIDE_KEPT = "goes on after the wrong side's frames"
    LARGE_TAKEN = "takes frames of any size"
    SMALL_ONLY = "takes frames of 16 KiB"


@dataclass(slots=True)
class AdminPeer:
    """Serves on TCP. Its state changes twenty times a second, and each time something happens."""

    wrong: Wrong = Wrong.NOTHING
    role: Role = Role.CONTROL
    token: str = "right"
    eventful: bool = True
    done: int = 0
    """Operations carried out."""
    _log: StateLog = field(default_factory=lambda: StateLog(boot=7))
    _lines: dict["ServerConnection", ServedSession] = field(default_factory=dict)
    _seq: int = 0
    _keys: dict[str, str] = field(default_factory=dict)
    _server: Server | None = None
    _life: asyncio.Task[None] | None = None

    async def start(self, port: int) -> int:
        """Listen on loopback; return the port, also of a free one if it was 0."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            process_request=self._authorise,
            subprotocols=None if self.wrong is Wrong.ANY_SUBPROTOCOL else [Subprotocol(SUBPROTOCOL)],
            select_subprotocol=self._any if self.wrong is Wrong.ANY_SUBPROTOCOL else None,
            compression=None,
            ping_interval=None,
            max_size={Wrong.LARGE_TAKEN: None, Wrong.SMALL_ONLY: 16 * 1024}.get(self.wrong, 64 * 1024),
            close_timeout=1,
        )
        self._life = asyncio.get_running_loop().create_task(self._live())
        bound: int = next(iter(self._server.sockets)).getsockname()[1]
        return bound

    async def stop(self) -> None:
        """End all connections."""
        assert self._server is not None
        assert self._life is not None
        self._life.cancel()
        self._server.close()
        await self._server.wait_closed()

    @staticmethod
    def _any(_connection: ServerConnection, offered: object) -> Subprotocol | None:
        return Subprotocol(SUBPROTOCOL) if offered else None

    def _authorise(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.wrong is Wrong.NO_TOKEN or request.headers.get("Authorization") == f"Bearer {self.token}":
            return None
        status = HTTPStatus.NOT_FOUND if self.wrong is Wrong.FORBIDDEN else HTTPStatus.UNAUTHORIZED
        return connection.respond(status, "a token is needed\n")

    async def _live(self) -> None:
        count = 0
        while True:
            count += 1
            self._log.publish({"count": count, "odd": {"count": count // 2}}, at=100.0 + count)
            if self.eventful:
                self._emit("feed", {"channel": "c", "old": "a", "new": "b"})
            await asyncio.sleep(TICK_S)

    def _emit(self, kind: str, fields: JsonObject) -> None:
        self._seq += 2 if self.wrong is Wrong.SEQ_HOLE else 1
        seq = (self._seq + 1) // 2 if self.wrong is Wrong.SEQ_TWICE else self._seq
        for session in self._lines.values():
            session.notify(encode_frame(EventFrame(source="n1", boot=7, seq=seq, at=100.0, kind=kind, fields=fields)))

    async def _serve(self, connection: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        ops = ("probe", "drain")
        hello = Hello(
            kind=PeerKind.NODE, id="n1", boot=7, pid=1, host="h", version="1", role=self.role, ops=ops, profile={}
        )
        session = ServedSession(hello, self._log, now=loop.time())
        self._lines[connection] = session
        writer = loop.create_task(self._write(connection, session))
        try:
            async for text in connection:
                await self._take(connection, session, text)
        except ConnectionClosed:
            pass
        finally:
            self._lines.pop(connection, None)
            writer.cancel()

    async def _write(self, connection: ServerConnection, session: ServedSession) -> None:
        loop = asyncio.get_running_loop()
        if self.wrong is Wrong.LATE_HELLO:
            await asyncio.sleep(4)
        if self.wrong is Wrong.TELLS_ALL:
            session.receive('{"type":"subscribe","interval_ms":50}', now=loop.time())
        if self.wrong is Wrong.BEAT_FIRST:
            await connection.send('{"type":"beat","rev":0,"at":1.0,"lag_ms":0}')
        due, whole = loop.time() + 1.0, set[ServerConnection]()
        with contextlib.suppress(ConnectionClosed):
            while True:
                for text in session.take(now=loop.time(), at=100.0, lag_ms=0.0):
                    document = json.loads(text)
                    if document["type"] == "beat" and self.wrong in (Wrong.SLOW_BEATS, Wrong.FAST_BEATS):
                        continue
                    again = document["type"] == "snapshot" and connection in whole
                    if document["type"] == "snapshot":
                        whole.add(connection)
                    for changed in self._spoil(document, again=again):
                        spoilt = json.dumps(changed)
                        await connection.send(spoilt.encode() if self.wrong is Wrong.BINARY else spoilt)
                every_s = {Wrong.SLOW_BEATS: 3.0, Wrong.FAST_BEATS: 0.1}.get(self.wrong)
                if every_s is not None and loop.time() >= due:
                    await connection.send('{"type":"beat","rev":0,"at":1.0,"lag_ms":0}')
                    due = loop.time() + every_s
                await asyncio.sleep(TICK_S / 5)

    def _spoil(self, frame: JsonObject, *, again: bool) -> list[JsonObject]:
        """Return what is sent in place of a frame that is right; `again` is a snapshot that is not the first."""
        match self.wrong, frame["type"]:
            case Wrong.PROTOCOL, "hello":
                frame["protocol"] = 2
            case Wrong.KIND, "hello":
                frame["kind"] = "toaster"
            case Wrong.OPS, "hello":
                del frame["ops"]
            case Wrong.NULL, "hello":
                frame["zone"] = None
            case Wrong.OTHER_BOOT, "snapshot":
                frame["boot"] = 6
            case Wrong.NO_STATE, "snapshot":
                del frame["state"]
            case Wrong.PREV, "delta":
                frame["prev"] = _number(frame["prev"]) - 1
            case Wrong.PATCH, "delta":
                patch = frame["patch"]
                assert isinstance(patch, dict)
                patch.pop("odd", None)
            case Wrong.NO_BEATS, "beat":
                return []
            case Wrong.EVENT_SOURCE, "event":
                del frame["source"]
            case Wrong.NO_PONG, "pong":
                return []
            case Wrong.PONG_ID, "pong":
                frame["id"] = "p0"
            case Wrong.PONG_AT, "pong":
                frame["at"] = 100.0
            case Wrong.OLD_SNAPSHOT, "snapshot" if again:
                frame["rev"] = 0
            case Wrong.UNKNOWN_OK, "result" if "error" in frame:
                frame |= {"ok": True, "effect": {}}
                del frame["error"]
            case Wrong.UNKNOWN_CODE, "result" if "error" in frame:
                frame["error"] = {"code": "oops", "message": "no"}
            case _:
                pass
        return [frame]

    async def _take(self, connection: ServerConnection, session: ServedSession, text: str | bytes) -> None:
        now = asyncio.get_running_loop().time()
        if self._unheard(text):
            return
        if self._too_strict(text):
            await connection.close(1002, "unknown")
            return
        if self.wrong is Wrong.HASTY:
            text = _bytes(text).replace(b'"interval_ms": 1000', b'"interval_ms": 50')
        try:
            request = session.receive(self._altered(session, text), now=now)
        except RemoteProtocolError as error:
            await self._break_off(connection, text, str(error))
            return
        match request:
            case Query():
                page = self._page(request)
                if page is not None:
                    session.answer(page)
            case Command():
                self._command(session, request)
            case None if self.wrong is Wrong.UNKNOWN_CLOSES and b'"op": "wsmon-conform-nothing"' in _bytes(text):
                await connection.close(1002, "unknown operation")
            case None:
                pass

    def _unheard(self, text: str | bytes) -> bool:
        return self.wrong is Wrong.DRY_SILENT and b'"dry_run": true' in _bytes(text) and b"nobody" in _bytes(text)

    def _too_strict(self, text: str | bytes) -> bool:
        if self.wrong is Wrong.STRICT:
            return b'"wsmon-conform-nothing", "id": 7' in _bytes(text)
        return self.wrong is Wrong.STRICT_FIELDS and b'"wsmon-conform":' in _bytes(text)

    def _altered(self, session: ServedSession, text: str | bytes) -> str | bytes:
        """Return what the session is told in place of the text."""
        if b'"subscribe"' not in _bytes(text):
            return text
        with contextlib.suppress(ValueError):
            frame: dict[str, Json] = json.loads(text)
            again = session._subscribed
            match self.wrong:
                case Wrong.DEAF if again:
                    return '{"type":"unheard"}'
                case Wrong.IGNORES_SINCE:
                    frame.pop("since", None)
                case Wrong.UNKNOWN_SINCE if "since" in frame:
                    frame["since"] = self._log.rev
                case _:
                    pass
            return json.dumps(frame)
        return text

    async def _break_off(self, connection: ServerConnection, text: str | bytes, why: str) -> None:
        kept = {
            Wrong.GARBAGE_KEPT: "not JSON" in why or "JSON object" in why or "nested" in why,
            Wrong.FIELDS_KEPT: "." in why and "watcher" not in why,
            Wrong.SIDE_KEPT: "a watcher does not send" in why,
        }
        if kept.get(self.wrong, False):
            return
        if self.wrong is Wrong.GARBAGE_ALL:
            for other in (*self._lines,):
                await other.close(1002, "all out")
            return
        await connection.close(1000 if self.wrong is Wrong.GARBAGE_CODE else 1002, why[:120])

    def _page(self, query: Query) -> Page | None:
        if query.what != "sessions":
            return None if self.wrong is Wrong.NO_PAGE else Page(id=query.id, rows=())
        first = 0 if self.wrong is Wrong.PAGE_AGAIN else int(query.cursor or 0)
        last = first + query.limit + (1 if self.wrong is Wrong.PAGE_LIMIT else 0)
        return Page(id=query.id, rows=SESSIONS[first:last], cursor=str(last) if last < len(SESSIONS) else None)

    def _command(self, session: ServedSession, command: Command) -> None:
        """Answer `probe`: a dry run says what would be done."""
        if not command.dry_run or self.wrong is Wrong.DRY_DONE:
            self.done += 1
            self._emit("action", {"actor": {"user": command.actor.user}, "op": command.op, "ok": True})
        key = command.idempotency_key
        first = self._keys.setdefault(key, command.id) if key is not None else command.id
        ok = not (self.wrong is Wrong.KEY_OTHER and first != command.id)
        session.answer(
            Result(
                id=first if self.wrong is Wrong.KEY_ID else command.id,
                ok=ok,
                rev=self._log.rev,
                effect=None if self.wrong is Wrong.DRY_NOTHING or not ok else {"would": 1},
                error=None if ok else ErrorBody(code="again", message="that was asked before"),
            )
        )


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _number(value: Json) -> int:
    assert isinstance(value, int)
    return value
