"""A simulated node: the real feeds and sessions, and around them what a node's shell does, one step at a time.

Theory of operation. What is a task or a callback in a node is an entry of a queue here, and the schedule decides which
queue moves next. The order within a queue is that of the event loop, of TCP, or of pub/sub. The names of methods are
those of `sample_cluster.node`, where the reasons stand.
"""

import math
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

from sample_cluster.core.catch_up import (
    BEGIN_ENTRIES,
    PAGE_ENTRIES,
    Answer,
    Begun,
    Jumps,
    Pause,
    ReadAfter,
    ReadRecent,
    Restore,
    Step,
    Took,
    catch_up,
)
from sample_cluster.core.claim import Claimed, Expired, Granted, Owner, Revoked, Stale, Unknown
from sample_cluster.core.feed import NO_ENCODING, Entry, Feed, FeedState, Page
from sample_cluster.core.messages import (
    Ack,
    ClientFrame,
    Error,
    GoAway,
    GoAwayReason,
    Limits,
    Message,
    NodeFrame,
    Position,
    Publish,
    Published,
    Reconnect,
    Resume,
    Resync,
    Rewind,
    Subscribe,
    Subscribed,
    Timings,
    Welcome,
)
from sample_cluster.core.repair import Repair
from sample_cluster.core.send_window import AckTiming
from sample_cluster.core.session import (
    Attach,
    CatchUp,
    Claim,
    Close,
    Cursor,
    Deliver,
    Detach,
    Effect,
    Follow,
    Phase,
    Read,
    Release,
    Send,
    Session,
    Terms,
    Welcomed,
    Zombie,
    entry_size,
)
from sample_cluster.node.credentials import message_id, publisher_of
from sample_cluster.redis_link import Call
from tests.sim.ground import BrokenInvariantError, Closed, Ground, Link
from tests.sim.redis_side import LOST, Ear, Heard, History, Lost, Mail, Ponged, Request, Server
from tests.sim.redis_side import Subscribed as Listening

SWEEP_S: Final = 1.0
COMPARES: Final = 5
"""Sweeps between two comparisons of quiet feeds."""
LET_GO_S: Final = 1.0
LINGER_S: Final = 10.0
SNAPSHOT_S: Final = 1.0
KEEP_S: Final = 4.0
RETRY_S: Final = 0.1
CATCH_UP_PAUSE_S: Final = 0.1
CLOSE_WITHIN_S: Final = 1.0
HEARTBEAT_S: Final = 3.0
TAKEN_OVER: Final = 4502
HEARTBEAT_LOST: Final = 4002
FENCED: Final = 4010
RETRY_MS: Final = 200


class Signatures:
    """Sessions s1, s2…"""

    def __init__(self) -> None:
        self._count = 0

    def issue(self) -> str:
        """Return a new session id."""
        self._count += 1
        return f"s{self._count}"

    def secret(self, session: str) -> str:
        """Return the secret of a session."""
        return f"secret of {session}"

    def check(self, session: str, secret: str) -> bool:
        """Say whether both belong together."""
        return secret == self.secret(session)


class Reader:
    """Brings one feed to the end of its log."""

    def __init__(self, node: "SimNode", feed: Feed) -> None:
        self._node = node
        self._feed = feed
        self._work: Generator[Step, Answer, None] = catch_up(feed, node.ground.dice, unanswered_s=RETRY_S)
        self.waiting: list[Callable[[], None]] = []
        self.done = False

    def go_on(self, answer: Answer = None) -> None:
        """Go on until something has to be waited for."""
        if self.done:
            return
        node, feed = self._node, self._feed
        try:
            while node.connected and node.feeds.get(feed.channel) is feed:
                step = self._work.send(answer)
                answer = None
                if not self._do(step):
                    return
        except StopIteration:
            pass
        self.end()

    def end(self) -> None:
        """Give up, or be through."""
        if not self.done:
            self.done = True
            self._work.close()
            if self._node.readers.get(self._feed.channel) is self:
                del self._node.readers[self._feed.channel]
            self._node.ready.extend(self.waiting)

    def _do(self, step: Step) -> bool:
        """Return whether the work can go on at once."""
        node, channel = self._node, self._feed.channel
        match step:
            case Took(entries=entries):
                for entry in entries:
                    node.deliver(channel, entry)
                return True
            case Jumps(told=told):
                node.jump(channel, told)
                return True
            case Begun():
                node.begun(channel)
                return True
            case Pause(delay_s=0):
                node.ready.append(self.go_on)
            case Pause(delay_s=delay_s):
                node.ground.after(node, delay_s, self.go_on)
            case ReadAfter(after=after, most=most):
                if most == PAGE_ENTRIES:
                    most = node.ground.shape.page
                node.read(channel, after, most, self.go_on)
            case ReadRecent(most=most):
                if most == BEGIN_ENTRIES:
                    most = node.ground.shape.page
                node.read(channel, None, most, self.go_on)
            case Restore(repair=repair):
                node.restore(channel, repair, self.go_on)
        return False


class Connection:
    """One accepted connection of a client."""

    def __init__(self, node: "SimNode", link: Link, name: str) -> None:
        self.node = node
        self.link = link
        self.name = name
        self.boot = node.boot
        self.owner = f"{name}@{node.boot}"
        self.protocol = Session(node.terms, node.signatures)
        self.closing = False
        self.gone = False
        self.deaf = False
        self.snapshot_at = 0.0
        self._carrying_out = False
        self._look_at = math.inf
        self._opening: Resume | None = None
        self._sent: dict[str, Position] = {}
        """Channel → the last place that the client was told or sent."""

    # What the client says.

    def hear(self) -> None:
        """Take the next frame."""
        frame = self.link.up.popleft()
        if isinstance(frame, Closed):
            self.clean_up()
        elif not self.closing and not self.deaf:
            self.node.ground.say("{} hears {}", self.name, frame)
            self._handle(frame)

    def _handle(self, frame: ClientFrame) -> None:
        now, protocol = self.node.ground.now, self.protocol
        if protocol.phase is Phase.SERVING and isinstance(frame, Publish):
            self._publish(frame)
            return
        if isinstance(frame, Resume) and protocol.phase is Phase.OPENING:
            self._opening = frame
        if isinstance(frame, Subscribe) and not isinstance(frame.start, Position):
            self.node.history.jumps[protocol.id] += 1  # The client forgot where it was.
        if isinstance(frame, Ack):
            before = [(cursor, cursor.track.acked) for cursor in protocol.cursors.values()]
            jumps = self.node.history.jumps[protocol.id]
            protocol.receive(frame, now)
            self.carry_out()
            if jumps == self.node.history.jumps[protocol.id] and any(
                cursor.track.acked < acked for cursor, acked in before
            ):
                raise BrokenInvariantError(f"{self.name}: an acknowledgement went back")
        else:
            protocol.receive(frame, now)
            self.carry_out()

    def claimed(self, result: Claimed) -> None:
        """Take the answer to a claim."""
        self.protocol.claimed(result, self.node.ground.now)
        self.carry_out()

    def sweep(self) -> None:
        """Look after what waits for a long time."""
        self.protocol.sweep(self.node.ground.now)
        self.carry_out()

    def _publish(self, frame: Publish) -> None:
        after = self.protocol.forward(frame)
        ground = self.node.ground
        if ground.dice.random() < ground.shape.refusals:
            ground.tally["refused by rate"] += 1
            self._refuse(frame, "rate_limited")
            return
        self.node.append(self, frame, after)

    def appended(self, frame: Publish, reply: list[str] | Lost) -> None:
        """Take what became of a publish."""
        if isinstance(reply, Lost):
            self._refuse(frame, "unavailable")
            return
        match reply:
            case ["ok" | "dup" as how, seq]:
                self.send(Published(channel=frame.channel, cseq=frame.cseq, seq=int(seq), dup=how == "dup"))
            case ["order", _]:
                self._refuse(frame, "out_of_order")
            case ["fork", _]:
                self.node.forked(frame.channel)
                self._refuse(frame, "unavailable")
            case _:
                raise BrokenInvariantError(f"append answered {reply}")

    def _refuse(self, frame: Publish, code: str) -> None:
        self.send(
            Error(code=code, message=code, temporary=True, retry_ms=RETRY_MS, channel=frame.channel, cseq=frame.cseq)
        )

    # What goes to the client.

    def send(self, frame: NodeFrame) -> None:
        """Send a frame."""
        if self.closing:
            return
        self._check(frame)
        self.node.ground.say("{} sends {}", self.name, frame)
        self.link.send_down(frame)

    def push(self, channel: str, entry: Entry, *, replay: bool) -> None:
        """Send a message."""
        if self.closing:
            return
        self._check_message(channel, entry)
        self.link.send_down(
            Message(
                channel=channel,
                seq=entry.seq,
                nonce=entry.nonce,
                prev=entry.prev,
                id=entry.id,
                ts=entry.ts,
                data=entry.data,
                encoding=entry.encoding,
                replay=replay,
            )
        )

    def _check(self, frame: NodeFrame) -> None:
        """Follow what the client is told about its place."""
        tally = self.node.ground.tally
        match frame:
            case Welcome(resumed=resumed):
                if self._opening is not None and self._opening.positions:
                    for channel in (*resumed, *frame.fresh):
                        self._sent[channel] = self._opening.positions[channel]
                tally["resumed" if self._opening is not None else "began"] += 1
            case Subscribed(channel=channel, position=position):
                self._sent[channel] = position
            case Resync(channel=channel, reason=reason, position=position):
                tally[f"resync: {reason}"] += 1
                self._told(channel, position)
                before, feed = self._sent.get(channel), self.node.feeds.get(channel)
                fork = reason == "fork" and before is not None and before.seq == frame.have
                if fork and before is not None and feed is not None and _knows_void(feed, before):
                    raise BrokenInvariantError(f"{self.name}: a resync, though the node knows what is void: {frame}")
                self._sent[channel] = position
            case Rewind(channel=channel, position=position):
                tally["rewind"] += 1
                self._told(channel, position)
                self._sent[channel] = position
            case _:
                pass

    def _told(self, channel: str, position: Position) -> None:
        session, history = self.protocol.id, self.node.history
        history.jumps[session] += 1
        history.told[session, channel] = min(position.seq, history.told.get((session, channel), position.seq))

    def _check_message(self, channel: str, entry: Entry) -> None:
        last = self._sent.get(channel)
        if last is not None and entry.seq <= last.seq:
            self.node.ground.tally["sent again"] += 1
            return
        if last is not None and (entry.seq != last.seq + 1 or entry.prev != last.nonce):
            raise BrokenInvariantError(f"{self.name}: sends {channel} {entry.seq} after {last}")
        epoch = "" if last is None else last.epoch
        self._sent[channel] = Position(epoch=epoch, seq=entry.seq, nonce=entry.nonce)

    def go_away(self, *, handover: bool) -> None:
        """Ask the client to leave."""
        reason = GoAwayReason.DRAIN if handover else GoAwayReason.REMOVED
        self.send(GoAway(reason=reason, retry_ms=0, spread_ms=500, deadline_ms=5_000, handover=handover))

    def offer(self, cursor: Cursor, entry: Entry, size: int) -> bool:
        """Say whether the next entry of a live cursor is to be pushed."""
        return self.protocol.offer(cursor, entry, size, self.node.ground.now)

    def jumped(self, cursor: Cursor, told: Resync | Rewind) -> None:
        """Tell the client of a live cursor that the channel goes on elsewhere."""
        self.protocol.jumped(cursor, told)
        self.carry_out()

    # The end.

    def close(self, code: int) -> None:
        """Close the connection."""
        if not self.closing:
            self.closing = True
            self.node.ground.say("{} closes with {}", self.name, code)
            self.node.ground.tally[f"closed {code}"] += 1
            self.link.send_down(Closed(code))
            self.protocol.ended()
            self.carry_out()
            self.node.ground.after(self.node, CLOSE_WITHIN_S, self.clean_up)

    def let_go(self) -> None:
        """Close soon: another connection owns the session."""
        self.node.ground.after(self.node, LET_GO_S, partial(self._close_if_open, TAKEN_OVER))

    def heartbeat_lost(self) -> None:
        """Close a connection whose client does not answer."""
        self._close_if_open(HEARTBEAT_LOST)

    def _close_if_open(self, code: int) -> None:
        if not self.gone:
            self.close(code)

    def clean_up(self) -> None:
        """Do what is left when the connection has ended."""
        if self.gone:
            return
        self.gone = True
        node = self.node
        if node.sessions.get(self.protocol.id) is self:
            node.farewell(self)
        self.protocol.ended()
        self.carry_out()
        node.leave(self)
        self.closing = True
        self.link.connection = None
        self.link.send_down(Closed(1000))

    # What the session wants done.

    def carry_out(self) -> None:
        """Carry out the session's effects, those of the effects included."""
        if self._carrying_out:
            return
        self._carrying_out = True
        while effects := self.protocol.take():
            for effect in effects:
                self._do(effect)
        self._carrying_out = False
        for frame in self.protocol.take_early():
            self._handle(frame)  # type: ignore[arg-type]  # Nobody sends what we do not know.
        deadline = self.protocol.deadline
        if deadline < self._look_at:
            self._look_at = deadline
            ground = self.node.ground
            ground.after(self.node, max(0.0, deadline - ground.now), partial(self._look, deadline))

    def _look(self, due: float) -> None:
        if self.gone or self._look_at != due:
            return
        self._look_at = math.inf
        self.protocol.tick(self.node.ground.now)
        self.carry_out()

    def _do(self, effect: Effect) -> None:
        node = self.node
        match effect:
            case Send(frame=frame):
                self.send(frame)
            case Deliver(channel=channel, entries=entries, replay_to=replay_to):
                for entry in entries:
                    self.push(channel, entry, replay=entry.seq <= replay_to)
            case Claim(new=new):
                node.claim(self, new=new)
            case Follow(cursor=cursor):
                self._follow(cursor)
            case Release(cursor=cursor):
                if cursor.followed:
                    cursor.followed = False
                    node.release(cursor.channel)
            case Attach(cursor=cursor):
                node.attach(cursor, self)
            case Detach(cursor=cursor):
                node.detach(cursor.channel, self)
            case Read(cursor=cursor, after=after, most=most):
                page = node.ground.shape.page
                node.read(cursor.channel, after, page if most is None else most, partial(self._page, cursor))
            case CatchUp(cursor=cursor):
                self._catch_up(cursor)
            case Welcomed():
                self.snapshot_at = node.ground.now
                node.join(self)
            case Zombie():
                node.ground.tally["zombie"] += 1
            case Close(code=code):
                self.close(code)

    def _follow(self, cursor: Cursor) -> None:
        feed = self.node.use(cursor.channel)
        cursor.followed = True
        if feed.position is not None:
            self.protocol.followed(cursor, feed, self.node.ground.now)
        else:
            self.node.unready[cursor.channel].append(partial(self._followed, cursor, feed))

    def _followed(self, cursor: Cursor, feed: Feed) -> None:
        if not self.gone:
            self.protocol.followed(cursor, feed, self.node.ground.now)
            self.carry_out()

    def _page(self, cursor: Cursor, page: Page | None) -> None:
        if self.gone:
            return
        if page is None:
            self.protocol.unreadable(cursor, self.node.ground.now)
        else:
            self.protocol.page(cursor, page, self.node.ground.now)
        self.carry_out()

    def _catch_up(self, cursor: Cursor) -> None:
        feed = cursor.feed
        assert feed is not None
        feed.doubt(feed.state)
        self.node.catch_up(feed).waiting.append(partial(self._caught_up, cursor))

    def _caught_up(self, cursor: Cursor) -> None:
        assert cursor.feed is not None
        if cursor.feed.behind:
            self.node.ground.after(self.node, CATCH_UP_PAUSE_S, partial(self._look_at_cursor, cursor))
        else:
            self._look_at_cursor(cursor)

    def _look_at_cursor(self, cursor: Cursor) -> None:
        if not self.gone:
            self.protocol.look(cursor, self.node.ground.now)
            self.carry_out()


class SimNode:
    """One life of a node's process."""

    compares = True
    """Whether quiet feeds are compared with their logs; a mutant does not."""

    def __init__(self, name: str, boot: int, ground: Ground, history: History, signatures: Signatures) -> None:
        self.name = name
        self.boot = boot
        self.ground = ground
        self.history = history
        self.signatures = signatures
        self.frozen = False
        self.gone = False
        self.late: list[Callable[[], None]] = []
        self.cut_off = False
        """Whether it cannot reach Redis."""
        self.server: Server | None = None
        self.ear: Ear | None = None
        self.connected = False
        self.connections: list[Connection] = []
        """All that were accepted and are not cleaned up."""
        self.members: dict[str, Connection] = {}
        """Those that were welcomed."""
        self.sessions: dict[str, Connection] = {}
        self.channels: dict[str, dict[str, tuple[Connection, Cursor]]] = {}
        self.feeds: dict[str, Feed] = {}
        self.unready: dict[str, list[Callable[[], None]]] = {}
        self.readers: dict[str, Reader] = {}
        self.ready: deque[Callable[[], None]] = deque()
        self.requests: list[Request] = []
        self._users: dict[str, int] = {}
        self._unused: dict[str, float] = {}
        self._jobs: deque[tuple[Callable[[], tuple[Call, int]], Callable[[Any], None]]] = deque()
        self._busy = False
        self._sweeps = 0
        self._compared: dict[str, Position | None] = {}
        self._names = 0
        self.terms = self._terms()

    def _terms(self) -> Terms:
        return Terms(
            node=self.name,
            boot=self.boot,
            timings=Timings(ping_ms=1_000, pong_ms=1_000, misses=3, resume_ttl_ms=12_000, ack_ms=1_000),
            limits=Limits(max_frame=65_536, max_data=512, window=self.ground.shape.window),
            reconnect=Reconnect(spread_ms=200, base_ms=200, factor=2, cap_ms=1_000, jitter=0.2, stable_ms=5_000),
            acks=AckTiming(retransmit_s=2.0, tries=3),
        )

    # Life and death.

    def start(self, server: Server) -> None:
        """Begin to work with a server."""
        self.server = server
        self._listen()
        self.ground.after(self, SWEEP_S, self._sweep)

    def fence(self) -> None:
        """End this life's connections: the node stood still for too long."""
        self.boot += 1
        self.terms = self._terms()
        self.ground.tally["fenced"] += 1
        for connection in [*self.connections]:
            connection.deaf = True
            connection._close_if_open(FENCED)

    def thaw(self, *, fence: bool) -> None:
        """Go on after having stood still."""
        self.frozen = False
        if fence:
            self.fence()
        late, self.late = self.late, []
        self.ready.extend(late)

    def accept(self, link: Link) -> None:
        """Take a new connection."""
        self._names += 1
        connection = link.connection = Connection(self, link, f"{self.name}-{self._names}")
        self.connections.append(connection)

    def turn(self) -> None:
        """Run the next callback."""
        self.ready.popleft()()

    def hear(self) -> None:
        """Take the next news from pub/sub."""
        assert self.ear is not None
        match self.ear.inbox.popleft():
            case Heard(channel=channel, epoch=epoch, entry=entry):
                feed = self.feeds.get(channel)
                if feed is None:
                    pass
                elif feed.heard(epoch, entry):
                    self.deliver(channel, entry)
                elif feed.behind and feed.position is not None:
                    self.catch_up(feed)
            case Mail(text=text):
                self.mail(text)
            case Listening(channel=channel):
                feed = self.feeds.get(channel)
                if feed is not None:
                    feed.doubt(FeedState.SYNCING)
                    self.catch_up(feed)
            case Ponged():
                self._restored()

    # The subscription.

    def _listen(self) -> None:
        if self.ear is not None:
            return
        if self.cut_off or self.server is None:
            self.ground.after(self, RETRY_S, self._listen)
            return
        self.ear = Ear(self, self.server)
        self.ear.commands.extend(("subscribe", channel) for channel in self.feeds)
        self.ear.commands.extend([("subscribe", f"mail {self.name}"), ("ping", "")])

    def deafened(self) -> None:
        """Take note that the subscription is lost."""
        if self.ear is None:
            return
        self.ear.close()
        self.ear = None
        if self.connected:
            self.connected = False
            for feed in self.feeds.values():
                feed.doubt(FeedState.STALLED)
        self.ground.after(self, RETRY_S, self._listen)

    def _restored(self) -> None:
        if self.connected:
            return
        self.connected = True
        for member in [*self.members.values()]:
            if not member.protocol.claimed_for_sure and not member.closing:
                self.claim(member, new=False)
        for feed in self.feeds.values():
            if feed.behind:
                self.catch_up(feed)

    # Feeds.

    def use(self, channel: str) -> Feed:
        """Return a feed, which may have no position yet."""
        feed = self.feeds.get(channel)
        if feed is None:
            feed = self.feeds[channel] = Feed(channel, ring_entries=self.ground.shape.ring)
            self.unready[channel] = []
            if self.ear is not None:
                self.ear.commands.append(("subscribe", channel))
        self._users[channel] = self._users.get(channel, 0) + 1
        self._unused.pop(channel, None)
        return feed

    def begun(self, channel: str) -> None:
        """Say that a feed has a position."""
        waiting, self.unready[channel] = self.unready[channel], []
        self.ready.extend(waiting)

    def release(self, channel: str) -> None:
        """Give back what `use` returned."""
        count = self._users.get(channel, 0) - 1
        if count > 0:
            self._users[channel] = count
        elif channel in self._users:
            del self._users[channel]
            self._unused[channel] = self.ground.now

    def catch_up(self, feed: Feed) -> Reader:
        """Bring a feed to the end of its log."""
        reader = self.readers.get(feed.channel)
        if reader is None:
            reader = self.readers[feed.channel] = Reader(self, feed)
            self.ready.append(reader.go_on)
        return reader

    def forked(self, channel: str) -> None:
        """Take note that the log lacks what we have."""
        feed = self.feeds.get(channel)
        if feed is not None and feed.position is not None:
            if not feed.behind:
                feed.doubt(FeedState.FORKED)
            self.catch_up(feed)

    def _drop_unused(self) -> None:
        for channel in [name for name, since in self._unused.items() if self.ground.now - since > LINGER_S]:
            del self._unused[channel], self.feeds[channel], self.unready[channel]
            reader = self.readers.get(channel)
            if reader is not None:
                reader.end()
            if self.ear is not None:
                self.ear.commands.append(("unsubscribe", channel))

    def _compare(self) -> None:
        seen, self._compared = self._compared, {name: feed.position for name, feed in self.feeds.items()}
        quiet = [
            feed
            for feed in self.feeds.values()
            if feed.position is not None and not feed.behind and seen.get(feed.channel) == feed.position
        ]
        if quiet and self.server is not None:
            names = [feed.channel for feed in quiet]
            self._request("ends", [lambda server: server.ends(names)], partial(self._compare_with, quiet))

    def _compare_with(self, quiet: list[Feed], replies: list[Any] | Lost) -> None:
        if isinstance(replies, Lost) or not self.connected:
            return
        ends: dict[str, Position] = replies[0]
        for feed in quiet:
            if feed.position == self._compared.get(feed.channel) and feed.position != ends.get(feed.channel):
                self.ground.tally["found deaf"] += 1
                feed.doubt(FeedState.DEAF)
                self.catch_up(feed)
                if self.ear is not None:
                    self.ear.commands.append(("subscribe", feed.channel))

    # The hub.

    def deliver(self, channel: str, entry: Entry) -> None:
        """Send a feed's next entry to everybody who listens."""
        members = self.channels.get(channel)
        if not members:
            return
        size = entry_size(entry)
        for connection, cursor in [*members.values()]:
            if connection.offer(cursor, entry, size):
                connection.push(channel, entry, replay=False)
            else:
                self.ground.tally["lags"] += 1
                self.detach(channel, connection)

    def jump(self, channel: str, told: Resync | Rewind) -> None:
        """Tell everybody who listens that the channel goes on elsewhere."""
        self.ground.say("{} jumps: {}", self.name, told)
        for connection, cursor in [*self.channels.get(channel, {}).values()]:
            connection.jumped(cursor, told)

    def attach(self, cursor: Cursor, connection: Connection) -> None:
        """Deliver the channel's messages from now on."""
        self.channels.setdefault(cursor.channel, {})[connection.name] = (connection, cursor)

    def detach(self, channel: str, connection: Connection) -> None:
        """Deliver no more of the channel."""
        self.channels.get(channel, {}).pop(connection.name, None)

    def join(self, connection: Connection) -> None:
        """Count a connection that was welcomed."""
        self.members[connection.name] = connection
        self.sessions[connection.protocol.id] = connection

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.remove(connection)
        self.members.pop(connection.name, None)
        if self.sessions.get(connection.protocol.id) is connection:
            del self.sessions[connection.protocol.id]

    # The store.

    def _request(self, what: str, calls: list[Callable[[Server], Any]], done: Callable[[Any], None]) -> None:
        assert self.server is not None
        if self.cut_off:
            self.ready.append(partial(done, LOST))
        else:
            self.requests.append(Request(self.server, calls, done, what))

    def answer(self, request: Request, replies: list[Any] | Lost) -> None:
        """Take the replies to a request."""
        self.requests.remove(request)
        request.done(replies)

    def read(self, channel: str, after: int | None, most: int, done: Callable[[Page | None], None]) -> None:
        """Read a page."""
        epoch = f"{self.ground.dice.getrandbits(32):08x}"
        step: Callable[[Server], Page] = lambda server: server.page(channel, epoch=epoch, after=after, most=most)  # noqa: E731
        self._request(
            f"read {channel} {after}",
            [step],
            lambda replies: done(None if isinstance(replies, Lost) else replies[0]),
        )

    def restore(self, channel: str, repair: Repair, done: Callable[[bool | None], None]) -> None:
        """Carry out a repair."""
        end = repair.end
        keys = (
            f"{channel}:log",
            f"{channel}:meta",
            *(f"{channel}:dedupe:{publisher_of(item.id)}" for item in repair.entries),
        )
        args: list[str | int] = [channel, "PUBLISH", end.epoch, end.seq, end.nonce, repair.epoch]
        args += [self.ground.shape.keep, 600, 600, 600]
        for item in repair.entries:
            args += [item.seq, item.nonce, item.prev, item.id, item.ts, item.data, item.encoding or NO_ENCODING]
        call = Call("restore", keys, tuple(args))
        self.put(lambda: (call, 0), lambda reply: done(None if isinstance(reply, Lost) else reply[0] == "ok"))

    def put(self, make: Callable[[], tuple[Call, int]], done: Callable[[Any], None]) -> None:
        """Queue a script; `make` is called when it is sent."""
        self._jobs.append((make, done))
        if not self._busy:
            self._busy = True
            self.ready.append(self._send_batch)

    def _send_batch(self) -> None:
        batch, self._jobs = [*self._jobs], deque()
        made = [make() for make, _ in batch]
        calls: list[Callable[[Server], Any]] = [partial(_run, call=call, jumps=jumps, by=self) for call, jumps in made]
        what = " ".join(call.script for call, _ in made)
        self._request(what, calls, partial(self._batch_done, [done for _, done in batch]))

    def _batch_done(self, dones: list[Callable[[Any], None]], replies: list[Any] | Lost) -> None:
        for index, done in enumerate(dones):
            done(replies if isinstance(replies, Lost) else replies[index])
        self._busy = bool(self._jobs)
        if self._busy:
            self.ready.append(self._send_batch)

    def append(self, connection: Connection, frame: Publish, after: int) -> None:
        """Queue a message."""
        channel, shape = frame.channel, self.ground.shape
        name = message_id(connection.protocol.id, channel, frame.cseq)

        def make() -> tuple[Call, int]:
            feed = self.feeds.get(channel)
            seen = None if feed is None else feed.position
            return append_call(
                channel,
                cseq=frame.cseq,
                after=after,
                name=name,
                data=str(frame.data),
                seen=seen,
                dice_bits=(self.ground.dice.getrandbits(32), self.ground.dice.getrandbits(32)),
                keep=shape.keep,
            ), 0

        self.put(make, partial(connection.appended, frame))

    # Sessions.

    def _sweep(self) -> None:
        """Look after everything once a second."""
        self.ground.after(self, SWEEP_S, self._sweep)
        for member in [*self.members.values()]:
            member.sweep()
            if self.connected and not member.closing:
                self._look_after(member)
        self._drop_unused()
        if self.cut_off:
            self.deafened()
        self._sweeps += 1
        if self._sweeps % COMPARES == 0 and self.connected and self.compares:
            self._compare()

    def _look_after(self, member: Connection) -> None:
        if not member.protocol.claimed_for_sure:
            self.claim(member, new=False)
            return
        age_s = self.ground.now - member.snapshot_at
        if age_s >= KEEP_S or (member.protocol.dirty and age_s >= SNAPSHOT_S):
            self.snapshot(member)

    def claim(self, member: Connection, *, new: bool) -> None:
        """Claim the member's session; its protocol is told what came of it."""
        protocol = member.protocol
        other = self.sessions.get(protocol.id)
        if other is not None and other is not member and other.protocol.attempt >= protocol.attempt:
            self._answer(member, Stale(other.protocol.attempt))
            return
        if not self.connected:
            self._answer(member, Unknown())
            return
        args = (protocol.attempt, self.name, member.owner, 0, 600, int(new))
        call = Call("claim", (protocol.id,), args)
        self.put(lambda: (call, 0), lambda reply: self._answer(member, _claimed(reply)))

    def _answer(self, member: Connection, result: Claimed) -> None:
        other = self.sessions.get(member.protocol.id)
        if other is not None and other is not member and not isinstance(result, Stale | Revoked):
            if other.protocol.attempt > member.protocol.attempt:
                result = Stale(other.protocol.attempt)
            else:
                other.let_go()
        if isinstance(result, Granted) and result.before is not None and result.before.node != self.name:
            node, text = result.before.node, f"{member.protocol.attempt} {member.protocol.id}"
            self._request(f"tell {node}", [lambda server: server.tell(node, text)], lambda _replies: None)
        member.claimed(result)

    def mail(self, text: str) -> None:
        """Take what another node says."""
        attempt, _, session = text.partition(" ")
        member = self.sessions.get(session)
        if member is not None and member.protocol.attempt < int(attempt):
            self.ground.tally["told to let go"] += 1
            member.let_go()

    def snapshot(self, member: Connection) -> None:
        """Write down up to where a client has acknowledged."""
        protocol = member.protocol
        member.snapshot_at = self.ground.now
        protocol.dirty = False
        acks = " ".join(
            f"{channel}:{place.epoch}:{place.seq}:{place.nonce}" for channel, place in protocol.acked().items()
        )
        call = Call("snapshot", (protocol.id,), (protocol.attempt, self.name, member.owner, 0, 600, acks))
        jumps = self.history.jumps[protocol.id]
        self.put(lambda: (call, jumps), partial(self._kept, member))

    def farewell(self, member: Connection) -> None:
        """Write down where a client was when its connection ended."""
        if self.connected and member.protocol.claimed_for_sure:
            self.snapshot(member)

    @staticmethod
    def _kept(member: Connection, reply: list[str] | Lost) -> None:
        result = _claimed(reply)
        if isinstance(result, Stale | Revoked):
            member.claimed(result)


def _knows_void(feed: Feed, place: Position) -> bool:
    """Say whether a feed remembers that this place never happened."""
    to = feed._void.get((place.seq, place.nonce))
    return to is not None and to.epoch == place.epoch


def append_call(
    channel: str,
    *,
    cseq: int,
    after: int,
    name: str,
    data: str,
    seen: Position | None,
    dice_bits: tuple[int, int],
    keep: int,
) -> Call:
    """Return the call that appends a message."""
    nonce, epoch = dice_bits
    return Call(
        "append",
        (f"{channel}:log", f"{channel}:meta", f"{channel}:dedupe:{publisher_of(name)}"),
        (
            channel,
            cseq,
            after,
            name,
            0,
            data,
            NO_ENCODING,
            nonce,
            f"{epoch:08x}",
            keep,
            600,
            600,
            600,
            "PUBLISH",
            *(("", 0, 0) if seen is None else (seen.epoch, seen.seq, seen.nonce)),
        ),
    )


def _run(server: Server, *, call: Call, jumps: int, by: SimNode) -> list[str]:
    return server.run(call, jumps=jumps, by=by)


def _claimed(reply: list[str] | Lost) -> Claimed:
    if isinstance(reply, Lost):
        return Unknown()
    match reply:
        case ["ok"]:
            return Granted()
        case ["ok", node, connection, acks]:
            before = Owner(node=node, connection=connection) if node else None
            return Granted(before=before, positions=_positions(acks))
        case ["expired"]:
            return Expired()
        case ["stale", attempt]:
            return Stale(int(attempt))
        case _:
            raise BrokenInvariantError(f"a claim was answered {reply}")


def _positions(text: str) -> dict[str, Position]:
    found = {}
    for item in text.split():
        channel, epoch, seq, nonce = item.split(":")
        found[channel] = Position(epoch=epoch, seq=int(seq), nonce=int(nonce))
    return found
