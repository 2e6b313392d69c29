"""One client of the fleet: what it does, what it tells, and how its way back looks from outside."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from sample_cluster.client import (
    Attempted,
    Back,
    Change,
    Client,
    ClientOptions,
    Failed,
    Jumped,
    Lost,
    Rewound,
    Rewritten,
    Stopped,
    Welcomed,
)
from sample_cluster.core.audit import Auditor
from sample_cluster.core.messages import Message, Position, Published
from sample_cluster.core.reconnect import Phase, Wait
from wsmon.protocol.events import (
    ClientLost,
    EventBody,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
)
from wsmon.protocol.frames import JsonObject

FORK: Final = "fork"
"""The reason of a `resync` after which messages may be written again."""
HEAD_AFTER_S: Final = 2.0
"""A message counts as missing when somebody else was handed it so long ago: until then it may be on its way."""
RECENTLY_S: Final = 60.0
"""A client that came back is told of in a large fleet for this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the members of a fleet share."""

    auditor: Auditor
    emit: Callable[[EventBody], object]
    back: Callable[[Back], None]
    """Called with every way back that came to an end."""
    unix: Callable[[float], float]
    """Turns the loop's time into Unix seconds."""
    known: Callable[[str], bool]
    """Whether a publisher of this name is or was ours."""
    turnstile: asyncio.Semaphore
    """Lets so many of them attempt to connect at a time."""


class Member:
    """A client called `name` that follows `room` and publishes there."""

    def __init__(
        self,
        name: str,
        room: str,
        around: Surroundings,
        *,
        url: str,
        options: ClientOptions,
        dice: random.Random,
        first_delay_s: float,
        numbers_from: int,
    ) -> None:
        """Number its messages from `numbers_from` + 1 on."""
        self.name = name
        self.room = room
        self.protobuf = options.codec.binary
        self._around = around
        self.number = numbers_from
        """Running number of the last message that it published."""
        self._node: str | None = None
        self._wait: Wait | None = None
        self._back_at: float | None = None
        self._position: int | None = None
        self._position_due = 0.0
        self._behind: int | None = None
        self._head: int | None = None
        """How far the channel was at least when `_head_at` was."""
        self._head_at = 0.0
        self.client = Client(
            url,
            replace(options, name=name),
            dice=dice,
            on_change=self._changed,
            first_delay_s=first_delay_s,
            turnstile=around.turnstile,
        )

    @property
    def away(self) -> bool:
        """Whether it had a connection, has none, and wants one."""
        return self.client.welcomes > 0 and not self.client.connected and not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether it was told never to come back."""
        return self.client.phase is Phase.STOPPED

    def start(self) -> None:
        """Connect, follow the room, and come back until `close`."""
        self.client.start()
        self.client.subscribe(self.room, self._deliver).add_done_callback(self._followed)

    async def close(self) -> None:
        """Leave with 1000."""
        await self.client.close()

    def publish(self) -> bool:
        """Publish the next message; return whether there was room for it."""
        if self.client.welcomes == 0 or not self.client.can_publish:
            return False
        self.number += 1
        number = self.number
        clock = asyncio.get_running_loop().time
        self._around.auditor.sent(self.name, number, clock())
        sent_ms = round(self._around.unix(clock()) * 1_000)
        answer = self.client.publish(self.room, {"p": self.name, "n": number, "t": sent_ms})
        answer.add_done_callback(lambda done: self._answered(number, done))
        return True

    def state(self, now: float, *, positions_every_s: float = 0.0) -> JsonObject:
        """Return how it stands, for the admin socket.

        Its position is as old as `positions_every_s` at most, and new after every loss and return.
        """
        client = self.client
        self._measure(now, positions_every_s)
        state: JsonObject = {"state": self._word(), "codec": "protobuf" if self.protobuf else "json"}
        if self._position is not None:
            state["position"] = self._position
        if self._behind is not None:
            state["behind"] = self._behind
        if client.session:
            state["session"] = client.session
        if self._node is not None:
            state["node"] = self._node
        if client.phase in (Phase.CONNECTED, Phase.STOPPED):
            return state
        if self._wait is not None:
            state["attempt"] = self._wait.attempt
            state["delay_s"] = round(self._wait.delay_s, 3)
            if self._wait.due >= now and client.phase is not Phase.ATTEMPTING:
                state["next_at"] = round(self._around.unix(self._wait.due), 3)
        state["planned"] = [round(delay_s, 3) for delay_s in client.planned]
        return state

    def notable(self, now: float) -> bool:
        """Say whether it is away, about to move, or came back not long ago."""
        if self.client.phase is not Phase.CONNECTED:
            return True
        return self._back_at is not None and now - self._back_at < RECENTLY_S

    def _measure(self, now: float, every_s: float) -> None:
        """Look where it is, and how much of what others were handed some time ago it has still to get."""
        place = self.client.position(self.room)
        if place is not None and now >= self._position_due:
            self._position, self._position_due = place.seq, now + every_s
        if now < self._head_at + HEAD_AFTER_S:
            return
        head = self._around.auditor.head(self.name, self.room)
        if place is None or head is None or self._head is None:
            self._behind = None
        else:
            # A fork may have made the channel shorter meanwhile.
            behind = max(0, min(self._head, head) - place.seq)
            # While it is away others may be, too: nothing to be seen is not nothing to be had.
            self._behind = behind if behind or self.client.connected else None
        self._head, self._head_at = head, now

    def _word(self) -> str:
        if self.client.phase is Phase.STOPPED:
            return "stopped"
        if self.client.connected:
            return "connected"
        return self.client.phase.value if self.client.welcomes else "connecting"

    def _deliver(self, message: Message) -> None:
        publisher, number = self._origin(message)
        self._around.auditor.delivered(
            self.name, message.channel, message.seq, publisher=publisher, number=number, replay=message.replay
        )

    def _origin(self, message: Message) -> tuple[str | None, int]:
        """Return publisher and number; None for a stranger's message, whose place in the log counts all the same."""
        match message.data:
            case {"p": str(publisher), "n": int(number)} if self._around.known(publisher):
                return publisher, number
            case _:
                return None, 0

    def _answered(self, number: int, answer: asyncio.Future[Published]) -> None:
        if answer.cancelled():
            return
        if answer.exception() is None:
            now = asyncio.get_running_loop().time()
            self._around.auditor.answered(self.name, number, self.room, answer.result().seq, now)
        else:
            self._around.auditor.refused(self.name, number)

    def _followed(self, told: asyncio.Future[Position]) -> None:
        if not told.cancelled() and told.exception() is None:
            self._around.auditor.followed(self.name, self.room, told.result())

    def _changed(self, change: Change) -> None:
        """Keep what `state` tells, and tell the watchers; what is before the first welcome is nobody's loss."""
        now, auditor = asyncio.get_running_loop().time(), self._around.auditor
        match change:
            case Wait():
                self._wait = change
            case Welcomed(node=node):
                self._node = node
            case Lost():
                self._position_due = now
            case Back():
                self._back_at = self._position_due = now
                self._around.back(change)
            case Jumped(told=told, lost=lost):
                auditor.resynced(self.name, told.channel, told.position, lost=lost, fork=told.reason == FORK, now=now)
            case Rewound(told=told):
                auditor.rewound(self.name, told.channel, told.position, now=now)
            case Rewritten(message=message):
                publisher, number = self._origin(message)
                auditor.rewritten(self.name, message.channel, message.seq, publisher=publisher, number=number)
            case _:
                pass
        if self.client.welcomes:
            event = self._event(change)
            if event is not None:
                self._around.emit(event)

    def _event(self, change: Change) -> EventBody | None:
        match change:
            case Lost(node=node, code=code):
                return ClientLost(client=self.name, node=node, code=code)
            case Wait(attempt=attempt, delay_s=delay_s, jitter=jitter, source=source):
                return ReconnectScheduled(
                    client=self.name,
                    attempt=attempt,
                    delay_s=round(delay_s, 3),
                    jitter=jitter,
                    delay_source=source.value,
                )
            case Attempted(attempt=attempt, handover=False):
                return ReconnectStarted(client=self.name, attempt=attempt)
            case Failed(attempt=attempt, outcome=outcome, handover=False):
                return ReconnectFailed(client=self.name, attempt=attempt, outcome=outcome)
            case Back(node=node, away_s=away_s, replayed=replayed):
                return Resumed(
                    client=self.name,
                    node=node,
                    how=_how(change),
                    ms=round(away_s * 1_000, 1),
                    replayed=replayed,
                )
            case Stopped(code=code):
                return ReconnectFailed(client=self.name, outcome=f"stopped by {code}")
            case _:
                return None  # What happens during a hand-over takes nothing from the client: only its end is told.


def _how(back: Back) -> str:
    """Say how the client came back; where a replay came from, a node's memory or the log, only the node knows."""
    if back.handover:
        return "handover"
    if back.jumped:
        return "resync"
    return "replay" if back.replayed else "live"
