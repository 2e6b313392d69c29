"""Both sides of an admin connection, without I/O.

Theory of operation. The served side publishes its whole state as often as it likes into one `StateLog`,
shared by all connections. The log numbers the revisions and keeps the last 64. Each connection has a
`ServedSession`, which answers frames at once and, whenever its shell has room to write, hands out what the
watcher is missing: one delta from the revision the watcher has to the newest, or a fresh snapshot when that
revision is no longer kept. A slow watcher therefore costs the served side nothing: there is no queue of states,
and the queue of events is bounded (the oldest go, and the hole in `seq` shows it).

`WatchSession` is the other side: it checks that every delta follows the revision before it and asks again when
one does not.

All `now` are monotonic seconds handed in by the caller, all `at` Unix seconds.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TypeAlias

from wsmon.errors import LocalProtocolError, RemoteProtocolError
from wsmon.protocol.beat import until_beat
from wsmon.protocol.codec import decode_frame, diff, encode_frame, merge_patch
from wsmon.protocol.frames import (
    PROTOCOL,
    Beat,
    Command,
    Delta,
    ErrorBody,
    EventFrame,
    Hello,
    JsonObject,
    Page,
    Ping,
    Pong,
    Query,
    ReadOnlyJson,
    Result,
    Snapshot,
    Subscribe,
    UnknownFrame,
)
from wsmon.protocol.states import Role

REVISIONS_KEPT = 64
EVENTS_QUEUED = 1_024
BEAT_S = 1.0
BEAT_EARLY = 0.9
"""A beat that is due within this part of the pace goes with a state: its watcher wakes once instead of twice."""
TOGETHER_FROM_S = 1.0
"""From this pace on, peers tell their states at the same moments of the clock: their watcher wakes once for all."""
HELLO_WITHIN_S = 3.0
SILENCE_S = 5.0
"""A watcher that hears nothing for this long, five beats, says that the peer is silent."""


class StateLog:
    """The served state, its revisions, and the deltas between them, encoded once for all watchers."""

    def __init__(self, *, boot: int, kept: int = REVISIONS_KEPT) -> None:
        self.boot = boot
        self.rev = 0
        self.state: JsonObject = {}
        self.at = 0.0
        self._kept = kept
        self._states: OrderedDict[int, JsonObject] = OrderedDict({0: {}})
        self._deltas: dict[int, str] = {}

    def publish(self, state: ReadOnlyJson, *, at: float) -> bool:
        """Make `state` the newest revision if it differs; return whether it did.

        Lists inside `state` are kept as they are and must not be changed afterwards.
        """
        patch = diff(self.state, state)
        if not patch:
            return False
        self.state = merge_patch(self.state, patch)
        self.rev += 1
        self.at = at
        self._states[self.rev] = self.state
        self._deltas.clear()
        while len(self._states) > self._kept:
            self._states.popitem(last=False)
        return True

    def since(self, rev: int | None) -> str:
        """Return the frame that brings a watcher at `rev` to the newest revision: a delta, or a snapshot."""
        before = None if rev is None else self._states.get(rev)
        if rev is None or before is None:
            return encode_frame(Snapshot(rev=self.rev, boot=self.boot, at=self.at, state=self.state))
        text = self._deltas.get(rev)
        if text is None:
            patch = diff(before, self.state)
            text = encode_frame(Delta(rev=self.rev, prev=rev, at=self.at, patch=patch))
            self._deltas[rev] = text
        return text


ServedRequest: TypeAlias = Command | Query


class ServedSession:
    """Served side of one connection. Feed it with `receive`, send what `take` returns when there is room."""

    def __init__(self, hello: Hello, log: StateLog, *, now: float) -> None:
        self._hello = hello
        self._log = log
        self._out: deque[str] = deque([encode_frame(hello)])
        self._events: deque[str] = deque()
        self._subscribed = False
        self._interval_s = 0.25
        self._sent_rev: int | None = None
        self._state_due = now
        self._beat_due = now + BEAT_S
        self.events_dropped = 0
        """Events that this watcher was too slow for."""

    @property
    def deadline(self) -> float:
        """When `take` may have something new to say by itself."""
        if self._subscribed and self._sent_rev != self._log.rev:
            return min(self._state_due, self._beat_due)
        return self._beat_due

    @property
    def wants_write(self) -> bool:
        """Whether something waits that does not depend on time."""
        return bool(self._out or self._events)

    def receive(self, text: str | bytes, *, now: float) -> ServedRequest | None:
        """Take one frame of the watcher; return the request that the shell has to carry out, if any.

        Raises:
            RemoteProtocolError: the frame is not one that a watcher may send; close the connection.

        """
        frame = decode_frame(text)
        if isinstance(frame, Ping | Command | Query):
            _check_sendable(frame.id)
        match frame:
            case Subscribe(since=since, interval_ms=interval_ms):
                self._subscribed = True
                self._interval_s = interval_ms / 1_000
                self._sent_rev = since
                self._state_due = now
            case Ping(id=name, at=at):
                self._out.append(encode_frame(Pong(id=name, at=at)))
            case Command() as command if self._hello.role is not Role.CONTROL:
                self.refuse(command, code="read_only", message="this connection may only read")
            case Command() as command if command.op not in self._hello.ops:
                self.refuse(command, code="unknown_op", message=f"no operation {command.op!r}; there are: {self._ops}")
            case Command() | Query() as request:
                return request
            case Pong() | UnknownFrame():
                pass
            case _:
                raise RemoteProtocolError(f"a watcher does not send {type(frame).__name__.lower()}")
        return None

    @property
    def _ops(self) -> str:
        return ", ".join(self._hello.ops) or "none"

    def refuse(self, command: Command, *, code: str, message: str) -> None:
        """Answer a command with an error."""
        self.answer(Result(id=command.id, ok=False, rev=self._log.rev, error=ErrorBody(code=code, message=message)))

    def answer(self, frame: Result | Page) -> None:
        """Queue the answer to a request."""
        self._out.append(encode_frame(frame))

    def notify(self, event: str) -> None:
        """Queue an event, already encoded; the oldest gives way when the watcher is too slow."""
        if not self._subscribed:
            return
        if len(self._events) >= EVENTS_QUEUED:
            self._events.popleft()
            self.events_dropped += 1
        self._events.append(event)

    def take(self, *, now: float, at: float, lag_ms: float) -> list[str]:
        """Return the texts to send now, in order. Call it only when the transport has room."""
        texts = list(self._out)
        self._out.clear()
        if self._subscribed and self._sent_rev != self._log.rev and now >= self._state_due:
            texts.append(self._log.since(self._sent_rev))
            self._sent_rev = self._log.rev
            together = self._interval_s >= TOGETHER_FROM_S
            self._state_due = now + (until_beat(at, self._interval_s, least=0.9) if together else self._interval_s)
            if self._beat_due - now < BEAT_EARLY * min(self._interval_s, BEAT_S):
                self._beat_due = now
        elif self._subscribed and self._sent_rev is None:
            texts.append(self._log.since(None))
            self._sent_rev = self._log.rev
        texts.extend(self._events)
        self._events.clear()
        if now >= self._beat_due:
            texts.append(encode_frame(Beat(rev=self._log.rev, at=at, lag_ms=round(lag_ms, 3))))
            self._beat_due = now + BEAT_S
        return texts


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The served state moved on. `state` is whole and must not be changed."""

    rev: int
    boot: int
    at: float
    state: ReadOnlyJson
    patch: ReadOnlyJson | None = None
    """What changed, or None when the state came as a whole."""


WatchInput: TypeAlias = Hello | StateChanged | EventFrame | Beat | Result | Page | Pong


@dataclass(slots=True)
class WatchSession:
    """Watching side of one connection. Feed it with `receive`; send what `take` returns."""

    interval_ms: int = 250
    hello: Hello | None = None
    """Who serves; None until it has said so."""
    state: JsonObject = field(default_factory=dict)
    rev: int | None = None
    resubscribed: int = 0
    """How often a hole in the revisions made us ask again."""
    unknown_frames: int = 0
    _out: list[str] = field(default_factory=list)

    def receive(self, text: str | bytes) -> WatchInput | None:
        """Take one frame; return what it tells, or None when it tells nothing.

        Raises:
            RemoteProtocolError: the peer broke the protocol, or speaks another version of it.

        """
        frame = decode_frame(text)
        if self.hello is None:
            if not isinstance(frame, Hello):
                raise RemoteProtocolError(f"the peer began with {_name(frame)} instead of hello")
            if frame.protocol != PROTOCOL:
                raise RemoteProtocolError(f"the peer speaks admin protocol {frame.protocol}, we speak {PROTOCOL}")
            self.hello = frame
            self._subscribe()
            return frame
        match frame:
            case Snapshot(rev=rev, boot=boot, at=at, state=state):
                if boot != self.hello.boot:
                    raise RemoteProtocolError(f"snapshot of boot {boot} from a peer of boot {self.hello.boot}")
                self.rev, self.state = rev, dict(state)
                return StateChanged(rev, boot, at, self.state)
            case Delta(rev=rev, prev=prev, at=at, patch=patch):
                if prev != self.rev:
                    self.resubscribed += 1
                    self._subscribe()
                    return None
                self.rev, self.state = rev, merge_patch(self.state, patch)
                return StateChanged(rev, self.hello.boot, at, self.state, patch)
            case EventFrame() | Beat() | Result() | Page() | Pong():
                return frame
            case Ping(id=name, at=at):
                self._out.append(encode_frame(Pong(id=name, at=at)))
            case UnknownFrame():
                self.unknown_frames += 1
            case _:
                raise RemoteProtocolError(f"the served side does not send {_name(frame)}")
        return None

    def request(self, frame: Command | Query | Ping) -> None:
        """Queue a request.

        Raises:
            LocalProtocolError: the peer has not said hello yet.

        """
        if self.hello is None:
            raise LocalProtocolError("a request before the peer's hello")
        self._out.append(encode_frame(frame))

    def pace(self, interval_ms: int) -> None:
        """Ask for changes at most once in so many milliseconds from now on, beginning with what is known here."""
        self.interval_ms = interval_ms
        if self.hello is not None:
            self._out.append(encode_frame(Subscribe(since=self.rev, interval_ms=interval_ms)))

    def take(self) -> list[str]:
        """Return the texts to send, in order."""
        texts, self._out = self._out, []
        return texts

    def _subscribe(self) -> None:
        self.rev = None
        self._out.append(encode_frame(Subscribe(interval_ms=self.interval_ms)))


def _check_sendable(name: str) -> None:
    """Refuse an id that no answer could repeat: JSON can escape half a surrogate pair, UTF-8 cannot hold one.

    Raises:
        RemoteProtocolError: it is such an id.

    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RemoteProtocolError("id holds half a surrogate pair") from None


def _name(frame: object) -> str:
    return frame.type if isinstance(frame, UnknownFrame) else type(frame).__name__.lower()
