"""One connection's half of the client protocol, at the node: what it may say, and what is done about it.

Theory of operation. A session is opened with `hello` or taken up again with `resume`. Either has to be claimed, so
that of two connections with the same session only the later one is served. A resume is then weighed: each of its
channels is compared with the log, so that the welcome can say which go on (`resumed`) and which cannot (`fresh`, a
`resync` follows). From the welcome on each channel is a cursor:

```
opening ──followed──> behind ──caught up──> live
                      ^  │ page             │ window full, or the client moves
                      │  v                  │
                     reading <──────────────┘
```
A live cursor is at the end of its feed and gets every entry as it comes. One that is behind takes what it lacks from
the feed's ring, or else asks for pages of the log, no more at a time than the window has room for. When the ring has
the rest, the cursor is caught up: nothing happens between looking and attaching, so nothing can fall in between.

The core decides; its owner carries out the effects of `take`, at once and in order, and reports what came of them.
All times are monotonic seconds, given by the caller.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, Protocol, TypeAlias, assert_never

from sample_cluster.core.claim import Claimed, Expired, Granted, Revoked, Stale, Unknown
from sample_cluster.core.feed import Break, Entry, Feed, Page, follow
from sample_cluster.core.messages import (
    Ack,
    Auth,
    ClientFrame,
    Error,
    Hello,
    Limits,
    NodeFrame,
    Pong,
    Position,
    Publish,
    Reconnect,
    Resume,
    Resync,
    Rewind,
    Subscribe,
    Subscribed,
    Timings,
    UnknownFrame,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from sample_cluster.core.send_window import AckTiming, Overdue, SendWindow, Track
from sample_cluster.errors import RemoteProtocolError

SLOW_CONSUMER: Final = 4001
TAKEN_OVER: Final = 4502
BAD_CREDENTIALS: Final = 4503
REVOKED: Final = 4504
CHANNELS_MOST: Final = 256
"""Channels of one connection."""
EARLY_MOST: Final = 1_024
"""Frames that a client may send before it is welcomed."""
ENTRY_OVERHEAD: Final = 128
"""Bytes that a message takes beside its data, more or less."""
FORK_GRACE_S: Final = 1.5
"""A log that lacks what a client has is looked at again for this long: another node may be putting it back."""
LOOK_AGAIN_S: Final = 0.25


class Phase(StrEnum):
    """How far a connection is."""

    OPENING = "opening"
    CLAIMING = "claiming"
    WEIGHING = "weighing"
    SERVING = "serving"
    CLOSED = "closed"


class Source(StrEnum):
    """Where what a client missed came from."""

    RING = "ring"
    LOG = "log"
    RESYNC = "resync"


class Signatures(Protocol):
    """Issues and checks session ids."""

    def issue(self) -> str:
        """Return a new session id."""

    def secret(self, session: str) -> str:
        """Return the secret of a session."""

    def check(self, session: str, secret: str) -> bool:
        """Say whether both belong together and to this cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a node tells every client, and what it grants."""

    node: str
    boot: int
    timings: Timings
    limits: Limits
    reconnect: Reconnect
    welcome_within_s: float = 1.0
    """A resume is weighed no longer than this; what is not known by then shows later."""
    acks: AckTiming = field(default_factory=AckTiming)


class Cursor:
    """One channel of one session. Owned by its `Session`; `feed` and `live` may be read."""

    __slots__ = (
        "_broken_since",
        "broken",
        "channel",
        "closed",
        "feed",
        "fell_behind",
        "followed",
        "fresh",
        "live",
        "position",
        "reading",
        "replay_to",
        "request",
        "retry_at",
        "source",
        "start",
        "track",
        "unconfirmed",
        "weighed",
    )

    def __init__(self, channel: str, start: Position | Literal["now", "start"], request: int | None) -> None:
        self.channel = channel
        self.start = start
        self.request = request
        """Number of the `subscribe` that has not been answered."""
        self.position = start if isinstance(start, Position) else None
        """Everything up to here was sent; not kept while live, when it is the feed's."""
        self.feed: Feed | None = None
        self.followed = False
        """For the owner: whether the feed has to be given back."""
        self.live = False
        self.closed = False
        self.reading = False
        self.fell_behind = False
        """Whether it was live before: then it is the client that is slow."""
        self.broken: Break | None = None
        """Why it cannot go on; the page that is being read tells where the log begins."""
        self.weighed = False
        self.fresh: Resync | None = None
        """Goes out right after the welcome."""
        self.source = Source.RING
        self.replay_to = -1
        """Messages up to here are from history; -1 before that is known."""
        self.track = Track(0 if self.position is None else self.position.seq)
        self.unconfirmed: tuple[Position, int] | None = None
        """Where the client was before a jump, until it acknowledges the place that it was told."""
        self._broken_since: float | None = None
        self.retry_at = math.inf
        """When to look again."""

    def moved(self, position: Position) -> None:
        """Go on after `position`."""
        self.position = position
        self._broken_since = None

    def healed(self) -> None:
        """Take note that nothing is broken."""
        self._broken_since = None

    def may_heal(self, now: float) -> bool:
        """Say whether what is broken since a moment ago may still be put right by others."""
        if self._broken_since is None:
            self._broken_since = now
        return now - self._broken_since < FORK_GRACE_S


# What the owner has to do.


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame."""

    frame: NodeFrame


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send messages of a channel; those up to `replay_to` come from history."""

    channel: str
    entries: tuple[Entry, ...]
    replay_to: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the session; answer with `claimed`. `new`: it was issued just now."""

    session: str
    attempt: int
    new: bool


@dataclass(frozen=True, slots=True)
class Follow:
    """Get the channel's feed; answer with `followed`, or `refused_channel`."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Release:
    """Give a feed back that was followed, or stop waiting for it."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Attach:
    """Hand every entry of the feed to `offer` from now on."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Detach:
    """Offer no more."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Read:
    """Read a page of the log after `after`; answer with `page` or `unreadable`."""

    cursor: Cursor
    after: int
    most: int | None = None


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Bring the feed to the log's end, then call `look`."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The client was welcomed: it counts from now on."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Zombie:
    """A claim from the past was refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection; nothing more is taken from it."""

    code: int
    reason: str


Effect: TypeAlias = (
    Send | Deliver | Claim | Follow | Release | Attach | Detach | Read | CatchUp | Welcomed | Zombie | Close
)


def entry_size(entry: Entry) -> int:
    """Return about how many bytes a message takes on the wire."""
    return len(entry.data) + ENTRY_OVERHEAD


class Session:
    """The protocol of one connection. Hand in what comes; carry out what `take` returns."""

    def __init__(self, terms: Terms, signatures: Signatures, *, expect_claims: bool = True) -> None:
        """`expect_claims` False serves without asking who owns a session: for a single node."""
        self._terms = terms
        self._signatures = signatures
        self._claims = expect_claims
        self.phase = Phase.OPENING
        self.id = ""
        self.attempt = 0
        self.claimed_for_sure = False
        """Whether Redis has confirmed the claim."""
        self.window = SendWindow(terms.acks, messages_max=terms.limits.window)
        self.cursors: dict[str, Cursor] = {}
        self.retransmits = 0
        self._turn = -1
        self.dirty = False
        """Whether a snapshot of the acknowledged positions has something new to tell."""
        self._effects: list[Effect] = []
        self._early: list[ClientFrame | UnknownFrame] = []
        self._resume: Resume | None = None
        self._refused: list[Error] = []
        self._expired = False
        self._welcome_by = math.inf
        self._look_at = math.inf
        self._forwarded: dict[str, int] = {}

    # What the owner asks.

    def take(self) -> list[Effect]:
        """Return what is to be done, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def deadline(self) -> float:
        """When to call `tick` next; infinite if nothing waits."""
        return min(self._welcome_by, self._look_at)

    @property
    def lagging(self) -> bool:
        """Whether a channel that was live is fed at the client's own pace."""
        return any(cursor.fell_behind and not cursor.live for cursor in self.cursors.values())

    def sources(self) -> set[Source]:
        """Return where a resume was served from."""
        return {cursor.source for cursor in self.cursors.values()}

    def acked(self) -> dict[str, Position]:
        """Return up to where each channel was acknowledged, as far as the feeds still know the place."""
        places: dict[str, Position] = {}
        for cursor in self.cursors.values():
            place = self._acked_place(cursor)
            if place is not None:
                places[cursor.channel] = place
        return places

    # What the client says.

    def receive(self, frame: ClientFrame | UnknownFrame, now: float) -> None:
        """Take a frame, all but `Publish`, which goes through `forward`.

        Raises:
            RemoteProtocolError: the client broke the protocol; `code` is the close code.

        """
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.OPENING:
            self._open(frame, now)
        elif self.phase is not Phase.SERVING:
            if len(self._early) >= EARLY_MOST:
                raise RemoteProtocolError("too much was sent before the welcome")
            self._early.append(frame)
        else:
            self._serve(frame, now)

    def take_early(self) -> tuple[ClientFrame | UnknownFrame, ...]:
        """Return what came before the welcome, once there was one: to be handed in again."""
        if self.phase is not Phase.SERVING:
            return ()
        early, self._early = tuple(self._early), []
        return early

    def forward(self, frame: Publish) -> int:
        """Return the cseq that has to stand before this one in the log, 0 if it does not matter; see append.lua.

        To be called for every publish that the log may get, also when it is refused for a while.
        """
        last = self._forwarded.pop(frame.channel, 0)
        self._forwarded[frame.channel] = frame.cseq
        if len(self._forwarded) > CHANNELS_MOST:
            del self._forwarded[next(iter(self._forwarded))]
        # Whoever goes back sends everything again, in order: nothing stands before the first of them.
        return last if frame.cseq > last else 0

    def _open(self, frame: ClientFrame | UnknownFrame, now: float) -> None:
        match frame:
            case Hello():
                self.id, self.attempt = self._signatures.issue(), 1
            case Resume():
                if not self._signatures.check(frame.session, frame.secret):
                    self.close(BAD_CREDENTIALS, "no session of this cluster, or not its secret")
                    return
                if len(frame.positions) > CHANNELS_MOST:
                    raise RemoteProtocolError(f"more than {CHANNELS_MOST} channels on one connection")
                self.id, self.attempt, self._resume = frame.session, frame.attempt, frame
            case _:
                raise RemoteProtocolError("the first frame has to be hello or resume")
        self.phase = Phase.CLAIMING
        self._welcome_by = now + self._terms.welcome_within_s
        if self._claims:
            self._effects.append(Claim(self.id, self.attempt, new=self._resume is None))
        else:
            self.claimed(Granted(), now)

    def _serve(self, frame: ClientFrame | UnknownFrame, now: float) -> None:
        match frame:
            case Ack(acks=acks):
                self._acked(acks, now)
            case Subscribe(id=request, channel=channel, start=start):
                self._subscribe(channel, start, request, now)
            case Unsubscribe(id=request, channel=channel):
                self._drop(channel)
                self._send(Unsubscribed(id=request, channel=channel))
                self._pump_all(now)
            case Pong() | Auth() | Publish():
                pass  # The owner's; no credentials are required yet, so fresh ones change nothing.
            case Hello() | Resume():
                raise RemoteProtocolError(f"a second {type(frame).__name__.lower()}")
            case UnknownFrame(type=kind):
                self._send(Error(code="unknown_type", message=f"no frame of type {kind[:32]!r} in this version"))
            case _:
                assert_never(frame)

    # Claim, weigh, welcome.

    def claimed(self, result: Claimed, now: float) -> None:
        """Take the answer to a `Claim`, or to one that was made again later."""
        if self.phase is Phase.CLOSED:
            return
        match result:
            case Stale(attempt=attempt):
                self._send(Error(code="stale_attempt", message=f"attempt {attempt} has resumed this session"))
                self._effects.append(Zombie(f"attempt {self.attempt} to resume, after attempt {attempt}"))
                self.close(TAKEN_OVER, "stale attempt")
            case Revoked():
                self.close(REVOKED, "session revoked")
            case Granted() | Expired() | Unknown():
                self.claimed_for_sure = not isinstance(result, Unknown)
                if self.phase is Phase.CLAIMING:
                    self._weigh_all(result, now)
            case _:
                assert_never(result)

    def _weigh_all(self, result: Granted | Expired | Unknown, now: float) -> None:
        self.phase = Phase.WEIGHING
        positions: Mapping[str, Position] = {}
        if self._resume is not None:
            self._expired = isinstance(result, Expired)
            positions = self._resume.positions
            if not positions and isinstance(result, Granted):
                positions = result.positions
        for channel, position in positions.items():
            self._add(Cursor(channel, position, None))
        self._welcome_when_weighed(now)

    def _weigh(self, cursor: Cursor, now: float) -> None:
        """Find out whether a position can be continued."""
        assert cursor.feed is not None
        assert cursor.position is not None
        if cursor.feed.tail(cursor.position) is not None or cursor.feed.void_after(cursor.position) is not None:
            self._weighed(cursor, None, now)
        elif not cursor.reading:
            self._read(cursor)

    def _weighed(self, cursor: Cursor, told: Resync | None, now: float) -> None:
        cursor.weighed = True
        cursor.fresh = told
        if told is not None:
            cursor.source = Source.RESYNC
        self._welcome_when_weighed(now)

    def _welcome_when_weighed(self, now: float) -> None:
        if self.phase is Phase.WEIGHING and (
            now >= self._welcome_by or all(cursor.weighed for cursor in self.cursors.values())
        ):
            self._welcome(now)

    def _welcome(self, now: float) -> None:
        self.phase = Phase.SERVING
        self._welcome_by = math.inf
        terms = self._terms
        for cursor in self.cursors.values():
            if self._expired and cursor.fresh is None:
                # Nothing is missing as far as the log tells: the client goes on where it was.
                assert cursor.position is not None
                top = cursor.position if cursor.feed is None or cursor.feed.position is None else cursor.feed.position
                cursor.fresh = Resync(
                    channel=cursor.channel,
                    reason="expired",
                    have=cursor.position.seq,
                    first=cursor.position.seq + 1,
                    top=max(top.seq, cursor.position.seq),
                    position=cursor.position,
                )
        fresh = tuple(cursor.channel for cursor in self.cursors.values() if cursor.fresh is not None)
        self._effects.append(Welcomed(resumed=self._resume is not None))
        self._send(
            Welcome(
                session=self.id,
                secret=self._signatures.secret(self.id),
                attempt=self.attempt,
                node=terms.node,
                boot=terms.boot,
                timings=terms.timings,
                limits=terms.limits,
                reconnect=terms.reconnect,
                resumed=tuple(channel for channel in self.cursors if channel not in fresh),
                fresh=fresh,
            )
        )
        for cursor in [*self.cursors.values()]:
            if cursor.fresh is not None:
                reason = "expired" if self._expired else cursor.fresh.reason
                self._jump(cursor, replace(cursor.fresh, reason=reason))
                cursor.fresh = None
        for error in self._refused:
            self._send(error)
        self._pump_all(now)

    def tick(self, now: float) -> None:
        """Let time pass: who waits too long is welcomed with what is known, and what was broken is looked at again."""
        if self.phase is Phase.CLAIMING and now >= self._welcome_by:
            self.claimed(Unknown(), now)
        if now >= self._look_at:
            cursors = [*self.cursors.values()]
            due = [cursor for cursor in cursors if cursor.retry_at <= now]
            self._look_at = min((cursor.retry_at for cursor in cursors if cursor not in due), default=math.inf)
            for cursor in due:
                cursor.retry_at = math.inf
                self.look(cursor, now)
        self._welcome_when_weighed(now)

    # Channels.

    def _subscribe(
        self, channel: str, start: Position | Literal["now", "start"], request: int | None, now: float
    ) -> None:
        self._drop(channel)
        if len(self.cursors) >= CHANNELS_MOST:
            self._refuse_channel(channel, request, f"{CHANNELS_MOST} channels are the limit")
            return
        self._add(Cursor(channel, start, request))
        self._pump_all(now)

    def _add(self, cursor: Cursor) -> None:
        self.cursors[cursor.channel] = cursor
        self.dirty = True
        self._effects.append(Follow(cursor))

    def _drop(self, channel: str) -> None:
        cursor = self.cursors.pop(channel, None)
        if cursor is None:
            return
        self.dirty = True
        self._let_go(cursor)

    def _let_go(self, cursor: Cursor) -> None:
        cursor.closed = True
        if cursor.live:
            cursor.live = False
            self._effects.append(Detach(cursor))
        self.window.jump(cursor.track, cursor.track.acked)
        self._effects.append(Release(cursor))

    def _refuse_channel(self, channel: str, request: int | None, message: str) -> None:
        error = Error(code="too_many_channels", message=message, id=request, channel=channel)
        if self.phase is Phase.WEIGHING:
            self._refused.append(error)  # Nothing goes out before the welcome.
        else:
            self._send(error)

    def refused_channel(self, cursor: Cursor, message: str, now: float) -> None:
        """Take note that the feed cannot be followed."""
        if not cursor.closed:
            del self.cursors[cursor.channel]
            cursor.closed = True
            self._refuse_channel(cursor.channel, cursor.request, message)
            self._welcome_when_weighed(now)

    def followed(self, cursor: Cursor, feed: Feed, now: float) -> None:
        """Take the feed that a `Follow` asked for; it has a position."""
        assert feed.position is not None
        if cursor.closed:
            return
        cursor.feed = feed
        if self.phase is Phase.WEIGHING:
            self._weigh(cursor, now)
        else:
            self._pump(cursor, now)

    def look(self, cursor: Cursor, now: float) -> None:
        """Look again whether a cursor can go on."""
        if self.phase is Phase.WEIGHING and cursor.feed is not None and not cursor.closed and not cursor.weighed:
            self._weigh(cursor, now)
        else:
            self._pump(cursor, now)

    def _read(self, cursor: Cursor, *, most: int | None = None) -> None:
        cursor.reading = True
        after = 0 if cursor.position is None or cursor.broken is not None else cursor.position.seq
        self._effects.append(Read(cursor, after, most))

    def unreadable(self, cursor: Cursor, now: float) -> None:
        """Take note that a page could not be read; it is asked for again soon."""
        cursor.reading = False
        if not cursor.closed:
            self._wait(cursor, now)

    def _wait(self, cursor: Cursor, now: float) -> None:
        cursor.retry_at = now + LOOK_AGAIN_S
        self._look_at = min(self._look_at, cursor.retry_at)

    def page(self, cursor: Cursor, page: Page, now: float) -> None:
        """Take the page that a `Read` asked for."""
        cursor.reading = False
        if cursor.closed or self.phase is Phase.CLOSED:
            return
        here = cursor.position
        if here is None:
            cursor.moved(page.start)
            self._pump(cursor, now)
            return
        if cursor.broken is not None:
            why, cursor.broken = cursor.broken, None
            if cursor.feed is not None and cursor.feed.void_after(here) is not None:
                self.look(cursor, now)  # The feed has found out meanwhile what is void.
            elif why is Break.EPOCH and page.epoch == here.epoch:
                self._read(cursor)  # Our history is back.
            else:
                # After a fork all but the end may have been seen under another number.
                to = page.end if why is Break.FORK else page.start
                self._broke(cursor, self._resync(cursor, why, page, to), now)
            return
        found = follow(here, page)
        match found:
            case Break.EPOCH | Break.FORK if page.top <= here.seq and self._may_heal(cursor, found, page, now):
                self._wait(cursor, now)
            case Break.EPOCH | Break.FORK:
                cursor.broken = found  # This page was cut by a number of another history.
                self._read(cursor, most=1)
            case Break.TRIMMED if cursor.fell_behind:
                self.close(SLOW_CONSUMER, "slower than the history is long")
            case Break.TRIMMED:
                self._broke(cursor, self._resync(cursor, found, page, page.start), now)
            case _:
                self._found(cursor, found, page, now)

    @staticmethod
    def _may_heal(cursor: Cursor, why: Break, page: Page, now: float) -> bool:
        """Say whether another node may be about to put back what the log lacks."""
        return (why is Break.FORK or page.top == 0) and cursor.may_heal(now)

    def _found(self, cursor: Cursor, found: tuple[Entry, ...], page: Page, now: float) -> None:
        """Go on with what a page holds."""
        cursor.healed()
        if cursor.source is Source.RING:
            cursor.source = Source.LOG
        if self.phase is Phase.WEIGHING:
            self._weighed(cursor, None, now)
            return
        assert cursor.feed is not None
        self._answer(cursor, page.top)
        self._deliver(cursor, found, now)
        assert cursor.position is not None
        if cursor.feed.void_after(cursor.position) is not None:
            self._ask_feed(cursor, now)
        elif not found and cursor.feed.tail(page.end) is None:
            # The log ends here, and the feed has not come that far.
            self._effects.append(CatchUp(cursor))
        else:
            self._pump(cursor, now)

    def _broke(self, cursor: Cursor, told: Resync, now: float) -> None:
        if self.phase is Phase.WEIGHING:
            self._weighed(cursor, told, now)
            return
        cursor.source = Source.RESYNC
        self._jump(cursor, told)
        if cursor.feed is not None and cursor.feed.void_after(told.position) is not None:
            self._ask_feed(cursor, now)
        else:
            self._pump(cursor, now)

    def _ask_feed(self, cursor: Cursor, now: float) -> None:
        """Have the feed brought to the log's end, since the log goes on with what the feed holds for void."""
        self._effects.append(CatchUp(cursor))
        self._wait(cursor, now)  # Until then nothing else may move this cursor.

    @staticmethod
    def _resync(cursor: Cursor, why: Break, page: Page, position: Position) -> Resync:
        assert cursor.position is not None
        return Resync(
            channel=cursor.channel,
            reason=str(why),
            have=cursor.position.seq,
            first=page.start.seq + 1,
            top=page.top,
            position=position,
        )

    def _jump(self, cursor: Cursor, told: Resync | Rewind) -> None:
        before = self._acked_place(cursor)
        if before is not None:
            cursor.unconfirmed = (before, told.position.seq)
        self.window.jump(cursor.track, told.position.seq)
        cursor.moved(told.position)
        cursor.replay_to = max(cursor.replay_to, told.top if isinstance(told, Resync) else -1)
        self.dirty = True
        self._send(told)

    def _pump(self, cursor: Cursor, now: float) -> None:
        """Bring a cursor as far as the window allows."""
        feed = cursor.feed
        if cursor.closed or cursor.live or cursor.reading or feed is None or self.phase is not Phase.SERVING:
            return
        assert feed.position is not None
        if cursor.position is None:
            if cursor.start == "start":
                self._read(cursor, most=1)
                return
            cursor.moved(feed.position)
        here = cursor.position
        assert here is not None
        if (to := feed.void_after(here)) is not None:
            self._jump(cursor, Rewind(channel=cursor.channel, to=to.seq, void=(to.seq + 1, here.seq), position=to))
            here = to
        found = feed.tail(here)
        if found is None:
            if not self.window.full:
                self._read(cursor)
            return
        self._answer(cursor, feed.position.seq)
        if self._deliver(cursor, found, now) < len(found):
            return
        cursor.live = True
        cursor.position = None
        self._effects.append(Attach(cursor))

    def _pump_all(self, now: float) -> None:
        """Bring all cursors on: one window serves them all, and it may have room now.

        Another one is first each time: a channel that takes all the room there is must not starve the others.
        """
        cursors = [*self.cursors.values()]
        self._turn += 1
        first = self._turn % len(cursors) if cursors else 0
        for cursor in cursors[first:] + cursors[:first]:
            if cursor.retry_at == math.inf:
                self._pump(cursor, now)

    def _answer(self, cursor: Cursor, top: int) -> None:
        """Answer the `subscribe` that began this cursor, if that is still to be done."""
        assert cursor.position is not None
        if cursor.request is None:
            if cursor.replay_to < 0:
                cursor.replay_to = top
            return
        self.window.jump(cursor.track, cursor.position.seq)
        cursor.replay_to = max(top, cursor.position.seq)
        missing = cursor.replay_to - cursor.position.seq
        self._send(
            Subscribed(id=cursor.request, channel=cursor.channel, position=cursor.position, replay=missing),
        )
        cursor.request = None

    def _deliver(self, cursor: Cursor, entries: tuple[Entry, ...], now: float) -> int:
        """Send as many entries as there is room for; return how many."""
        assert cursor.position is not None
        count = 0
        for entry in entries:
            if self.window.full:
                break
            self.window.sent(cursor.track, entry_size(entry), now)
            count += 1
        if count:
            last = entries[count - 1]
            cursor.moved(Position(epoch=cursor.position.epoch, seq=last.seq, nonce=last.nonce))
            self._effects.append(Deliver(cursor.channel, entries[:count], cursor.replay_to))
        return count

    # What the feeds bring.

    def offer(self, cursor: Cursor, entry: Entry, size: int, now: float) -> bool:
        """Say whether a live cursor takes the feed's next entry; the owner sends it then.

        One that does not is behind from now on: the owner detaches it.
        """
        window = self.window
        if window.full:
            assert cursor.feed is not None
            assert cursor.feed.position is not None
            cursor.live = False
            cursor.fell_behind = True
            cursor.moved(Position(epoch=cursor.feed.position.epoch, seq=entry.seq - 1, nonce=entry.prev))
            return False
        window.sent(cursor.track, size, now)
        return True

    def jumped(self, cursor: Cursor, told: Resync | Rewind) -> None:
        """Tell a live cursor's client that its feed goes on elsewhere."""
        if not cursor.closed:
            self._jump(cursor, told)
            cursor.position = None

    # Acknowledgements.

    def _acked(self, acks: Mapping[str, int], now: float) -> None:
        gave_room = False
        for channel, seq in acks.items():
            cursor = self.cursors.get(channel)
            if cursor is None:
                continue
            if cursor.unconfirmed is not None and seq >= cursor.unconfirmed[1]:
                cursor.unconfirmed = None
                self.dirty = True
            if self.window.acked(cursor.track, seq, now):
                gave_room = self.dirty = True
        if gave_room:
            self._pump_all(now)

    def _acked_place(self, cursor: Cursor) -> Position | None:
        if cursor.unconfirmed is not None:
            return cursor.unconfirmed[0]
        seq, feed = cursor.track.acked, cursor.feed
        here = cursor.position
        if here is not None and here.seq == seq:
            return here
        if feed is None or feed.position is None:
            return None
        if feed.position.seq == seq:
            return feed.position
        entry = feed.entry(seq)
        if entry is not None:
            return Position(epoch=feed.position.epoch, seq=seq, nonce=entry.nonce)
        after = feed.entry(seq + 1)
        return None if after is None else Position(epoch=feed.position.epoch, seq=seq, nonce=after.prev)

    def sweep(self, now: float) -> None:
        """Look after missing acknowledgements, about once a second."""
        if self.phase is not Phase.SERVING:
            return
        match self.window.tick(now):
            case Overdue.GIVE_UP:
                self.close(SLOW_CONSUMER, "nothing was acknowledged for too long")
            case Overdue.RETRANSMIT:
                self._retransmit()
            case None:
                pass
        if not self.window.full:
            self._pump_all(now)  # A jump may have given room.

    def _retransmit(self) -> None:
        """Send the oldest message of a channel again: a client that lives acknowledges it."""
        for cursor in self.cursors.values():
            if cursor.track.sizes and cursor.feed is not None:
                entry = cursor.feed.entry(cursor.track.acked + 1)
                if entry is not None:
                    self.retransmits += 1
                    self._effects.append(Deliver(cursor.channel, (entry,), entry.seq))
                    return

    # The end.

    def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        if self.phase is not Phase.CLOSED:
            self.ended()
            self._effects.append(Close(code, reason))

    def ended(self) -> None:
        """Take note that the connection is gone."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._welcome_by = self._look_at = math.inf
        self._early.clear()
        for cursor in self.cursors.values():
            self._let_go(cursor)

    def _send(self, frame: NodeFrame) -> None:
        self._effects.append(Send(frame))
