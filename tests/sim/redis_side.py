"""Redis as the simulated nodes see it: a server, what is under way to it, and what it tells by pub/sub.

Theory of operation. A request is issued, carried out, and answered, each at a step of its own; in between it may get
lost, so that it was carried out and nobody knows, or is carried out when nobody waits for it any more. Beside the
model of the scripts each server keeps a shadow: the whole history, also what was trimmed, which is what the
invariants are checked against.
"""

from collections import Counter, deque
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sample_cluster.core.feed import Entry, Page, parse_fan_out
from sample_cluster.core.messages import Position
from sample_cluster.redis_link import Call
from tests.sim.ground import BrokenInvariantError, Ground
from tests.support.model_redis import Keyspace, ModelRedis, Reply

if TYPE_CHECKING:
    from tests.sim.node_side import SimNode


class Lost:
    """Stands for an answer that never comes."""


LOST: Final = Lost()
Step: TypeAlias = Callable[["Server"], Any]


@dataclass(slots=True)
class Request:
    """Calls that go to a server together; `done` gets their replies, or LOST."""

    server: "Server"
    calls: list[Step]
    done: Callable[[list[Any] | Lost], None]
    what: str
    replies: list[Any] = field(default_factory=list)

    @property
    def executed(self) -> bool:
        """Whether the server has done everything."""
        return len(self.replies) == len(self.calls)

    def execute(self) -> None:
        """Do everything that is left."""
        for call in self.calls[len(self.replies) :]:
            self.replies.append(call(self.server))


@dataclass(frozen=True, slots=True)
class Heard:
    """An entry that came by pub/sub."""

    channel: str
    epoch: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Mail:
    """What another node says."""

    text: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The server will tell of a channel from here on."""

    channel: str


@dataclass(frozen=True, slots=True)
class Ponged:
    """The server answered a ping."""


News: TypeAlias = Heard | Mail | Subscribed | Ponged


class Ear:
    """One pub/sub connection of a node. Commands are carried out one by one, news keep their order."""

    def __init__(self, node: "SimNode", server: "Server") -> None:
        self.node = node
        self.server = server
        self.commands: deque[tuple[str, str]] = deque()
        self.inbox: deque[News] = deque()
        self.open = True

    def execute(self) -> None:
        """Have the server carry out the next command."""
        command, name = self.commands.popleft()
        match command:
            case "subscribe":
                self.server.listen(name, self)
                self.inbox.append(Subscribed(name))
            case "unsubscribe":
                self.server.ignore(name, self)
            case _:
                self.inbox.append(Ponged())

    def close(self) -> None:
        """End the connection."""
        self.open = False
        self.commands.clear()
        for ears in self.server.ears.values():
            if self in ears:
                ears.remove(self)


@dataclass
class Shadow:
    """What a server was ever told, as far as it belongs to its present history."""

    logs: dict[str, dict[int, tuple[int, str]]] = field(default_factory=dict)
    """Channel → seq → nonce and id."""
    places: dict[str, dict[str, int]] = field(default_factory=dict)
    """Channel → id → seq."""
    epochs: dict[str, str] = field(default_factory=dict)
    granted: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Session → highest attempt that was granted, and to which connection."""
    acks: dict[tuple[str, str], tuple[str, str, int, int]] = field(default_factory=dict)
    """Session and channel → connection, epoch and seq of the last snapshot, and how often the session had jumped."""

    def copy(self) -> "Shadow":
        """Return a copy of its own."""
        return Shadow(
            {name: {**log} for name, log in self.logs.items()},
            {name: {**log} for name, log in self.places.items()},
            {**self.epochs},
            {**self.granted},
            {**self.acks},
        )


class History:
    """Everything that was ever written anywhere, and what was lost of it for good."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, int, int], list[Entry]] = {}
        self._gone_to: dict[tuple[str, str], int] = {}
        self._holes: set[tuple[str, str, int]] = set()
        self.written: set[str] = set()
        """Ids."""
        self.forgotten: set[str] = set()
        """Ids that Redis cannot tell from new ones any more although they are history."""
        self.protected: set[tuple[str, str, int, int]] = set()
        """Entries that a promoted replica lacks and that can be put back as they were."""
        self.jumps: Counter[str] = Counter()
        """How often each session was told to go on elsewhere."""
        self.told: dict[tuple[str, str], int] = {}
        """Session and channel → where it was told to go on last, whether or not the client has heard it."""

    def wrote(self, channel: str, epoch: str, entry: Entry) -> None:
        """Remember an entry."""
        self.written.add(entry.id)
        same = self.entries.setdefault((channel, epoch, entry.seq, entry.nonce), [])
        if entry not in same:
            same.append(entry)

    def knows(self, channel: str, place: Position) -> bool:
        """Say whether this place ever existed."""
        return place.seq == 0 or (channel, place.epoch, place.seq, place.nonce) in self.entries

    def find(self, channel: str, epoch: str, seq: int, nonce: int, name: str) -> Entry | None:
        """Return the entry with that id which was once written at this place."""
        found = self.entries.get((channel, epoch, seq, nonce), ())
        return next((entry for entry in found if entry.id == name), None)

    def trimmed(self, channel: str, epoch: str, to: int) -> None:
        """Say that a log forgot everything up to `to`."""
        key = (channel, epoch)
        if to > self._gone_to.get(key, 0):
            self._gone_to[key] = to

    def hole(self, channel: str, epoch: str, seqs: range) -> None:
        """Say that a log was continued behind a hole."""
        self._holes.update((channel, epoch, seq) for seq in seqs)

    def forget(self, channel: str, epoch: str, first: int) -> None:
        """Say that everything was lost, and only what begins at `first` was put back.

        Who had published what lies before, and got no answer, publishes it again: with the log, what tells a repetition
        was lost.
        """
        for (name, other, seq, _), entries in self.entries.items():
            if name == channel and other == epoch and seq < first:
                self.forgotten.update(entry.id for entry in entries)

    def gone(self, channel: str, epoch: str, seq: int) -> bool:
        """Say whether a log ever lacked this number although it goes further."""
        return seq <= self._gone_to.get((channel, epoch), 0) or (channel, epoch, seq) in self._holes


class Server:
    """One Redis."""

    def __init__(
        self,
        ground: Ground,
        history: History,
        name: str,
        make: Callable[[], ModelRedis],
        *,
        keys: Keyspace | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.name = name
        self.ears: dict[str, list[Ear]] = {}
        self.shadow = Shadow() if shadow is None else shadow
        self.on_append: Callable[[str, Position | None], None] = lambda _channel, _seen: None
        """Called with what the writer had seen, after a message was written."""
        self.on_restore: Callable[[str, SimNode | None], None] = lambda _channel, _node: None
        """Called after a node has put back what it had."""
        self._ground = ground
        self._history = history
        self._restoring = False
        self.redis = make()
        self.redis.publish = self._published
        if keys is not None:
            self.redis.keys = keys

    # Pub/sub.

    def listen(self, name: str, ear: Ear) -> None:
        """Tell `ear` of a channel from now on."""
        ears = self.ears.setdefault(name, [])
        if ear not in ears:
            ears.append(ear)

    def ignore(self, name: str, ear: Ear) -> None:
        """Tell it no more."""
        ears = self.ears.get(name, [])
        if ear in ears:
            ears.remove(ear)

    def tell(self, node: str, text: str) -> None:
        """Put a message into a node's mailbox."""
        for ear in self.ears.get(f"mail {node}", ()):
            ear.inbox.append(Mail(text))

    def _published(self, channel: str, text: str) -> None:
        epoch, entry = parse_fan_out(text)
        self._note(channel, epoch, entry)
        heard = Heard(channel, epoch, entry)
        for ear in self.ears.get(channel, ()):
            ear.inbox.append(heard)

    def _note(self, channel: str, epoch: str, entry: Entry) -> None:
        logs, history = self.shadow.logs, self._history
        log, places = logs.setdefault(channel, {}), self.shadow.places.setdefault(channel, {})
        if self.shadow.epochs.get(channel) != epoch:
            log.clear()
            places.clear()
            self.shadow.epochs[channel] = epoch
        top = next(reversed(log)) if log else 0
        if entry.seq > top + 1:
            history.hole(channel, epoch, range(top + 1, entry.seq))
        if entry.id in places:
            self._twice(channel, places[entry.id], entry)
        log[entry.seq] = (entry.nonce, entry.id)
        places[entry.id] = entry.seq
        history.wrote(channel, epoch, entry)
        self._ground.say(
            "{} {} has {} at {}:{} nonce {:08x}", self.name, channel, entry.id[-6:], epoch[:4], entry.seq, entry.nonce
        )
        self._note_trim(channel)

    def _twice(self, channel: str, before: int, entry: Entry) -> None:
        """Take note that a message is written that stands in the log, or stood there before it was trimmed.

        A node that puts back what it has cannot see what was trimmed; a publisher's repetition is always recognised.
        """
        if not self._restoring or before in self.redis.keys.streams[f"{channel}:log"]:
            raise BrokenInvariantError(f"{channel}: {entry.id} is written as {entry.seq} and as {before}")
        self._history.forgotten.add(entry.id)
        self._ground.tally["put back although it was trimmed"] += 1

    def _note_trim(self, channel: str) -> None:
        stream = self.redis.keys.streams.get(f"{channel}:log")
        first = next(iter(stream)) if stream else next(reversed(self.shadow.logs[channel])) + 1
        self._history.trimmed(channel, self.shadow.epochs[channel], first - 1)

    # What nodes ask for.

    def run(self, call: Call, *, jumps: int = 0, by: "SimNode | None" = None) -> Reply:
        """Run a script, and hold its answer against what the shadow knows.

        `jumps` says how often a session had been told to go on elsewhere when its snapshot was made.
        """
        self._restoring = call.script == "restore"
        reply = self.redis.run(call)
        match call.script, reply[0]:
            case "append", "ok":
                channel, seen = str(call.args[0]), call.args[14:17]
                epoch, seq, nonce = str(seen[0]), int(seen[1]), int(seen[2])
                self.on_append(channel, Position(epoch=epoch, seq=seq, nonce=nonce) if seq else None)
            case "append", "fork":
                self._ground.tally["append refused: fork"] += 1
            case "append", "order":
                self._ground.tally["append refused: order"] += 1
            case "append", "dup":
                self._ground.tally["append: duplicate"] += 1
            case "restore", "ok":
                self._ground.tally["put back"] += 1
                self.on_restore(str(call.args[0]), by)
                if str(call.args[3]) == "0":
                    self._history.forget(str(call.args[0]), str(call.args[5]), int(call.args[10]))
            case "claim", "ok" | "expired":
                self._granted(call)
            case "claim", "stale":
                self._ground.tally["stale claim"] += 1
            case "snapshot", "ok":
                self._kept(call, jumps)
            case _:
                pass
        self._ground.say(
            "{} {}{} -> {}",
            self.name,
            call.script,
            call.args[1:4] if call.script != "snapshot" else (*call.args[:3], call.args[5]),
            reply,
        )
        return reply

    def _granted(self, call: Call) -> None:
        session, attempt, connection = call.keys[0], int(call.args[0]), str(call.args[2])
        best, owner = self.shadow.granted.get(session, (0, ""))
        if attempt < best or (attempt == best and connection != owner):
            raise BrokenInvariantError(f"{session}: attempt {attempt} was granted after attempt {best}")
        self.shadow.granted[session] = (attempt, connection)

    def _kept(self, call: Call, jumps: int) -> None:
        """Check that a connection's acknowledged positions never go back, unless the client was told to go back."""
        session, attempt, connection, acks = call.keys[0], int(call.args[0]), str(call.args[2]), call.args[5]
        best, owner = self.shadow.granted.get(session, (0, ""))
        same = (attempt, connection) == (best, owner)
        if not same and attempt <= best:
            raise BrokenInvariantError(f"{session}: a snapshot of attempt {attempt} after attempt {best} was granted")
        self.shadow.granted[session] = (attempt, connection)
        for channel, (epoch, seq) in _acks(str(acks)).items():
            before = self.shadow.acks.get((session, channel))
            # Another connection begins where the client was when it asked for it, which may be a while ago.
            if before is not None and before[0] == connection and before[1] == epoch and seq < before[2]:
                told = self._history.told.pop((session, channel), None)
                if before[3] == jumps and (told is None or seq < told):
                    raise BrokenInvariantError(f"{session}: acknowledged {before[2]} of {channel} before, {seq} now")
            self.shadow.acks[session, channel] = (connection, epoch, seq, jumps)

    def page(self, channel: str, *, epoch: str, after: int | None, most: int) -> Page:
        """Read a page."""
        return self.redis.page(channel, epoch=epoch, after=after, most=most)

    def ends(self, channels: list[str]) -> dict[str, Position]:
        """Return where logs end."""
        found = {}
        for channel in channels:
            meta = self.redis.keys.hashes.get(f"{channel}:meta", {})
            if "epoch" in meta:
                found[channel] = Position(
                    epoch=meta["epoch"], seq=int(meta.get("top", 0)), nonce=int(meta.get("nonce", 0))
                )
        return found

    def trim(self, channel: str, keep: int) -> None:
        """Forget old entries."""
        self.redis.trim(channel, keep)
        if channel in self.shadow.epochs:
            self._note_trim(channel)


def copy_keys(keys: Keyspace) -> Keyspace:
    """Return a copy; the fields of one entry or hash are never changed in place but by `page`."""
    return Keyspace(
        hashes={name: copy(fields) for name, fields in keys.hashes.items()},
        streams={name: copy(stream) for name, stream in keys.streams.items()},
        strings=copy(keys.strings),
    )


def _acks(text: str) -> dict[str, tuple[str, int]]:
    """Return what a snapshot of ours says; see `SimNode.snapshot`."""
    found = {}
    for item in text.split():
        channel, epoch, seq, _ = item.split(":")
        found[channel] = (epoch, int(seq))
    return found
