"""A simulated client: the real subscription, outbox and reconnect cores, and a witness of all that is handed out.

The names of methods are those of `sample_cluster.client.client`, where the reasons stand.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, Literal

from sample_cluster.core.backoff import BackoffTiming
from sample_cluster.core.messages import (
    Ack,
    Error,
    GoAway,
    Hello,
    Message,
    NodeFrame,
    Position,
    Publish,
    Published,
    Resume,
    Resync,
    Rewind,
    Subscribed,
    Unsubscribe,
    Welcome,
)
from sample_cluster.core.outbox import Outbox
from sample_cluster.core.reconnect import TAKEN_OVER, Phase, Reconnect
from sample_cluster.core.subscription import TRIMMED, State, Subscription, Verdict
from sample_cluster.node.credentials import message_id
from tests.sim.ground import ABNORMAL, BrokenInvariantError, Closed, Ground, Link
from tests.sim.redis_side import History

TIMING: Final = BackoffTiming(spread_s=0.2, base_s=0.2, factor=2, cap_s=1.0, jitter=0.2, stable_s=5.0)
ATTEMPT_TIMEOUT_S: Final = 2.0
ACK_WITHIN_S: Final = 1.0
ACK_PROMPTLY_S: Final = 0.02
SILENCE_S: Final = 2.0
OUTBOX: Final = 16


class Witness:
    """Knows what one subscription was handed out, and objects to anything that the guarantee forbids."""

    def __init__(self, owner: str, channel: str, ground: Ground, history: History) -> None:
        self._who = f"{owner} on {channel}"
        self._channel = channel
        self._ground = ground
        self._history = history
        self.last: Position | None = None
        self.view: dict[int, tuple[int, str]] = {}
        """Seq → nonce and id: what the client believes to be the log's history, from `since` on."""
        self.since = 0
        self.named: list[range] = []
        """What the client was told is missing."""
        self._handed: set[str] = set()

    def object(self, text: str) -> BrokenInvariantError:
        """Return what to raise."""
        return BrokenInvariantError(f"{self._who}: {text}")

    def began(self, position: Position) -> None:
        """Take note of where the channel begins."""
        if not self._history.knows(self._channel, position):
            raise self.object(f"begins at {position}, which never was")
        self.last, self.since = position, position.seq

    def took(self, message: Message, *, anywhere: bool, again: bool) -> None:
        """Take note of a message; `anywhere` if it may be the first one, `again` if it was not handed out."""
        last = self.last
        if last is None:
            raise self.object(f"{message.seq} before anything was agreed upon")
        if anywhere and message.seq > last.seq:
            self.since = message.seq - 1
        elif message.seq != last.seq + 1 or message.prev != last.nonce:
            raise self.object(f"{message.seq} (prev {message.prev:08x}) after {last}")
        entry = self._history.find(self._channel, last.epoch, message.seq, message.nonce, message.id)
        if entry is None or (entry.prev, entry.data) != (message.prev, message.data):
            raise self.object(f"{message} was never in the log")
        if not again and message.id in self._handed:
            if message.id in self._history.forgotten:
                self._ground.tally["twice after a total loss"] += 1
            else:
                raise self.object(f"{message.id} was handed out twice, the second time as {message.seq}")
        if again and message.id not in self._handed:
            raise self.object(f"{message.id} was never handed out, and is dropped at {message.seq}")
        self._handed.add(message.id)
        self.view[message.seq] = (message.nonce, message.id)
        self.last = Position(epoch=last.epoch, seq=message.seq, nonce=message.nonce)

    def resynced(self, told: Resync, after: Position | None) -> None:
        """Take note that the client goes on at `after`, because it was told so."""
        before, self.last = self.last, after
        if told.reason != TRIMMED and not self._ground.switched:
            raise self.object(f"{told}, though Redis was always the same")
        if after is None or after == before:
            return
        if after != told.position or not self._history.knows(self._channel, after):
            raise self.object(f"goes on at {after}, told was {told}")
        if before is not None and told.reason == TRIMMED and before.epoch == after.epoch:
            skipped = range(before.seq + 1, after.seq + 1)
            there = [seq for seq in skipped if not self._history.gone(self._channel, after.epoch, seq)]
            if there or told.first != after.seq + 1:
                raise self.object(f"{told}, but {there} can be read")
            self.named.append(skipped)
            if not self._ground.switched:
                return
            # Whether it was in the same history that the log came this far, nobody can tell any more.
        self.view.clear()
        self.since = after.seq

    def rewound(self, told: Rewind, after: Position | None) -> None:
        """Take note that the client went back to `after`, because it was told so."""
        before, self.last = self.last, after
        if not self._ground.switched:
            raise self.object(f"{told}, though Redis was always the same")
        if after is None or after == before:
            return
        if after != told.position or told.void[0] != told.to + 1 or not self._history.knows(self._channel, after):
            raise self.object(f"goes on at {after}, told was {told}")
        if before is not None and before.epoch == after.epoch:
            void = [seq for seq in self.view if seq > after.seq]
            for seq in void:
                nonce, name = self.view.pop(seq)
                if (self._channel, after.epoch, seq, nonce) in self._history.protected:
                    raise self.object(f"{name} at {seq} is told to be void, though it can be put back")
            self.since = min(self.since, after.seq)
        else:
            self.view.clear()
            self.since = after.seq


class SimClient:
    """One client."""

    resends = True
    """Whether unanswered publishes are sent again; a mutant does not."""

    def __init__(self, name: str, ground: Ground, history: History) -> None:
        self.name = name
        self.frozen = False
        self.gone = False
        self.late: list[Callable[[], None]] = []
        self.closes_old = ground.dice.random() < 0.8
        """Whether it closes the old connection after a hand-over, as it should."""
        self.subscriptions: dict[str, Subscription] = {}
        self.witnesses: dict[str, Witness] = {}
        self.outbox = Outbox(OUTBOX)
        self.links: list[Link] = []
        """All that are open, the one of the attempt included."""
        self.link: Link | None = None
        """The connection that counts."""
        self.attempt: Link | None = None
        self.way = Reconnect(TIMING, Random(ground.dice.getrandbits(32)), now=ground.now)
        self.answers: dict[str, tuple[str, Published]] = {}
        """Id → channel and answer of what was published."""
        self.payloads = 0
        self.choose: Callable[[], Link | None] = lambda: None
        """Opens a connection to some node."""
        self._ground = ground
        self._history = history
        self._offered: dict[str, tuple[Subscription, Position]] = {}
        self._session: tuple[str, str] | None = None
        self._session_attempt = 1
        self._sessions: dict[Link, tuple[str, int]] = {}
        """Session and attempt that each connection was welcomed with."""
        self._numbered_for = ""
        self._taken_over = False
        self._requests = 0
        self._held: set[str] = set()
        self._ack_owed = False
        self._unacked = 0

    @property
    def session(self) -> str:
        """Return the session's id."""
        return "" if self._session is None else self._session[0]

    @property
    def may_go(self) -> bool:
        """Whether the next attempt could be made now."""
        return self.attempt is None and self.way.phase in {Phase.WAITING, Phase.MOVING}

    # The application.

    def subscribe(self, channel: str, start: Literal["now", "start"]) -> None:
        """Follow a channel."""
        self.subscriptions[channel] = Subscription(channel, start)
        self.witnesses[channel] = Witness(self.name, channel, self._ground, self._history)
        if self.link is not None:
            self._ask(self.link, channel)

    def unsubscribe(self, channel: str) -> None:
        """Follow it no more."""
        del self.subscriptions[channel], self.witnesses[channel]
        if self.link is not None:
            self._forgo(self.link, channel)

    def publish(self, channel: str) -> None:
        """Publish something that nobody else publishes."""
        if self.outbox.full:
            return
        self.payloads += 1
        _, frame = self.outbox.add(channel, f'"{self.name}.{self.payloads}"')
        if self.link is not None and channel not in self._held:
            self.link.send_up(frame)

    # Connections.

    def start(self) -> None:
        """Make the first attempt soon."""
        self._plan()

    def _plan(self) -> None:
        if self.way.deadline != float("inf"):
            due = self.way.deadline
            self._ground.after(self, max(0.0, due - self._ground.now), partial(self._due, due))

    def _due(self, due: float) -> None:
        if self.may_go and self.way.deadline <= due:
            self.go()

    def go(self) -> None:
        """Make one attempt."""
        way = self.way
        if self.link is not None and not way.handover:
            self._leave(self.link)
        way.started(self._ground.now)
        link = self.choose()
        if link is None:
            self._failed(None)
            return
        self.attempt = link
        self.links.append(link)
        self._offered = {} if self._session is None else self._resumable()
        link.send_up(self._opening())
        self._ground.after(self, ATTEMPT_TIMEOUT_S, partial(self.give_up, link))

    def _resumable(self) -> dict[str, tuple[Subscription, Position]]:
        places = ((name, item, item.resumable) for name, item in self.subscriptions.items())
        return {name: (item, place) for name, item, place in places if place is not None}

    def _opening(self) -> Hello | Resume:
        if self._session is None:
            return Hello()
        self._session_attempt += 1
        session, secret = self._session
        return Resume(
            session=session,
            secret=secret,
            attempt=self._session_attempt,
            positions={name: place for name, (_, place) in self._offered.items()},
            pending=self.outbox.pending(),
        )

    def give_up(self, link: Link) -> None:
        """Wait no longer for an attempt's welcome."""
        if self.attempt is link:
            self._ground.tally["gave up an attempt"] += 1
            self._ground.say("{} gives up {}", self.name, link.name)
            self._abort(link)
            self._failed(None)

    def _abort(self, link: Link) -> None:
        """End a connection at once."""
        link.send_up(Closed(1006))
        link.down.clear()
        link.dead = True
        self._forget(link)

    def _forget(self, link: Link) -> None:
        self.links.remove(link)
        self._sessions.pop(link, None)

    def _failed(self, code: int | None) -> None:
        self.attempt = None
        self._taken_over = False
        if self.way.failed(self._ground.now, code=code) is None:
            raise BrokenInvariantError(f"{self.name} was told never to come back: {code}")
        self._plan()

    def _leave(self, link: Link) -> None:
        """Leave a node that asked us to."""
        self.ack()
        link.send_up(Closed(1000))
        link.down.clear()
        self._forget(link)
        self._no_link()

    def _no_link(self) -> None:
        self.link = None
        for subscription in self.subscriptions.values():
            subscription.disconnected()

    def lost(self, link: Link, code: int) -> None:
        """Take note that a connection has ended."""
        if link not in self.links:
            return
        self._ground.say("{} loses {} with {}", self.name, link.name, code)
        link.send_up(Closed(1000))
        if link is self.attempt:
            self._forget(link)
            self._failed(code)
            return
        _, used = self._sessions[link]
        self._forget(link)
        if link is not self.link:
            return
        self._no_link()
        attempting = self.way.phase is Phase.HANDOVER
        if code == TAKEN_OVER and not attempting and self._session_attempt > used:
            code = ABNORMAL  # Taken over by an attempt of our own that came to nothing.
        wait = self.way.lost(self._ground.now, code=code)
        if attempting and code == TAKEN_OVER:
            self._taken_over = True
        elif wait is None and self.way.phase is Phase.STOPPED:
            raise BrokenInvariantError(f"{self.name} was told never to come back: {code}")
        self._plan()

    def hear(self, link: Link) -> None:
        """Take the next frame from a connection."""
        frame = link.down.popleft()
        if link is self.attempt:
            self._introduced(link, frame)
        elif isinstance(frame, Closed):
            self.lost(link, frame.code)
        else:
            self._take(link, frame)

    def silent(self, link: Link) -> None:
        """Notice that nothing comes from a connection any more."""
        if link not in self.links:
            return
        if link.down:
            self._ground.after(self, SILENCE_S, partial(self.silent, link))
        else:
            self._ground.tally["silence"] += 1
            self.lost(link, 1006)

    def _introduced(self, link: Link, frame: NodeFrame | Closed) -> None:
        match frame:
            case Welcome():
                self._taken(link, frame)
            case Error():
                self._abort(link)
                self._failed(None)
            case Closed(code=code):
                self.lost(link, code)
            case _:
                raise BrokenInvariantError(f"{self.name}: instead of a welcome {frame}")

    def _taken(self, link: Link, welcome: Welcome) -> None:
        old, self.link, self.attempt, self._taken_over = self.link, link, None, False
        self._ground.say("{} is welcomed by {}, fresh {}", self.name, link.name, welcome.fresh)
        self._sessions[link] = (welcome.session, welcome.attempt)
        self._session = (welcome.session, welcome.secret)
        if self._numbered_for != welcome.session:
            self._numbered_for = welcome.session
            self._session_attempt = welcome.attempt
            self.outbox.renumber()
        self.way.welcomed(self._ground.now)
        self._held.clear()
        if old is not None:
            self._ground.tally["handed over"] += 1
            if self.closes_old:
                old.send_up(Closed(1000))
        self._go_on(link, welcome)
        if self.resends:
            for frame in self.outbox.unanswered():
                link.send_up(frame)

    def _go_on(self, link: Link, welcome: Welcome) -> None:
        for channel, subscription in [*self.subscriptions.items()]:
            # What the old connection brought since may be void: then the new one has to be told of it.
            offered = self._offered.get(channel) == (subscription, subscription.position)
            resumed, fresh = channel in welcome.resumed, channel in welcome.fresh
            if subscription.welcomed(offered=offered, resumed=resumed, fresh=fresh):
                self._ask(link, channel)
        for channel in (*welcome.resumed, *welcome.fresh):
            if channel not in self.subscriptions:
                self._forgo(link, channel)

    def _ask(self, link: Link, channel: str) -> None:
        subscription = self.subscriptions.get(channel)
        if subscription is not None:
            self._requests += 1
            link.send_up(subscription.ask(self._requests))

    def _forgo(self, link: Link, channel: str) -> None:
        self._requests += 1
        link.send_up(Unsubscribe(id=self._requests, channel=channel))

    # What a node says.

    def _take(self, link: Link, frame: NodeFrame) -> None:
        counts = link is self.link
        match frame:
            case Message() if counts:
                self._take_message(link, frame)
            case Published():
                self._settle(link, frame)
            case Subscribed() if counts:
                self._subscribed(link, frame)
            case Resync() | Rewind() if counts:
                self._jump(frame)
            case GoAway() if counts:
                self.way.goaway(
                    self._ground.now,
                    retry_s=frame.retry_ms / 1_000,
                    spread_s=frame.spread_ms / 1_000,
                    handover=frame.handover,
                )
                self._plan()
            case Error(channel=str(channel), cseq=int()):
                if counts and channel not in self._held:
                    self._held.add(channel)
                    retry_s = (frame.retry_ms or 0) / 1_000
                    self._ground.after(self, retry_s, partial(self._release, link, channel))
            case _:
                pass

    def _take_message(self, link: Link, message: Message) -> None:
        channel = message.channel
        subscription = self.subscriptions.get(channel)
        if subscription is None:
            return
        anywhere = subscription._any_next
        verdict = subscription.take(message)
        self._ground.say("{} takes {} {} {}: {}", self.name, channel, message.seq, message.id[-6:], verdict)
        match verdict:
            case Verdict.DELIVER | Verdict.REWRITTEN:
                again = verdict is Verdict.REWRITTEN
                self._ground.tally["rewritten" if again else "delivered"] += 1
                self.witnesses[channel].took(message, anywhere=anywhere, again=again)
                self._count_for_ack()
            case Verdict.DUPLICATE:
                self._ground.tally["came twice"] += 1
                self._owe_ack(ACK_PROMPTLY_S)
            case Verdict.ASK:
                self._ground.tally["asked again"] += 1
                self._ask(link, channel)
            case Verdict.BROKEN:
                raise self.witnesses[channel].object("the node never sends what continues our history")
            case Verdict.IGNORE:
                pass

    def _count_for_ack(self) -> None:
        self._owe_ack(ACK_WITHIN_S)
        self._unacked += 1
        if self._unacked >= self._ground.shape.ack_every:
            self.ack()

    def _owe_ack(self, within_s: float) -> None:
        if not self._ack_owed or within_s < ACK_WITHIN_S:
            self._ack_owed = True
            self._ground.after(self, within_s, self.ack)

    def ack(self) -> None:
        """Acknowledge everything, if there is anything to acknowledge."""
        if not self._ack_owed or self.link is None:
            return
        self._ack_owed, self._unacked = False, 0
        positions = ((name, item.position) for name, item in self.subscriptions.items())
        self.link.send_up(Ack(acks={name: position.seq for name, position in positions if position is not None}))

    def _subscribed(self, link: Link, answer: Subscribed) -> None:
        subscription = self.subscriptions.get(answer.channel)
        if subscription is None:
            return
        before = subscription.position
        if not subscription.subscribed(answer):
            if subscription.state is State.IDLE:
                self._ask(link, answer.channel)
        elif before is None:
            self.witnesses[answer.channel].began(answer.position)

    def _jump(self, told: Resync | Rewind) -> None:
        subscription = self.subscriptions.get(told.channel)
        if subscription is None:
            return
        self._ground.say("{} at {} is told {}", self.name, subscription.position, told)
        if isinstance(told, Resync):
            subscription.resync(told)
            self.witnesses[told.channel].resynced(told, subscription.position)
        else:
            subscription.rewind(told)
            self.witnesses[told.channel].rewound(told, subscription.position)
        self._count_for_ack()

    def _settle(self, link: Link, answer: Published) -> None:
        session, _ = self._sessions[link]
        if session != self._numbered_for:
            return
        if self.outbox.settle(answer.channel, answer.cseq) is None:
            return
        name = message_id(session, answer.channel, answer.cseq)
        self._ground.say("{} knows {} to be published at {}", self.name, name[-6:], answer.seq)
        self.answers[name] = (answer.channel, answer)

    def _release(self, link: Link, channel: str) -> None:
        if link is self.link and channel in self._held:
            self._held.discard(channel)
            if self.resends:
                self._resend(link, channel)

    def _resend(self, link: Link, channel: str) -> None:
        frames: tuple[Publish, ...] = self.outbox.unanswered(channel)
        for frame in frames:
            link.send_up(frame)
