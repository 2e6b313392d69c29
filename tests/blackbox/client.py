"""A client of the cluster written from its wire protocol alone, and a process full of them that logs what happens.

Nothing here comes from the cluster's or the dashboard's code: what both sides got wrong in the same way would not show.
`Client` does all that the protocol asks of a client. It decides nothing about right or wrong; it writes down every
fact, one JSON line each with a monotonic time, and `checker` judges the lines.

`python -m tests.blackbox.client --gateway URL --log FILE …` runs subscribers and publishers. It says on stdout what it
has reached (`ready`, `settled`), is told on stdin what to do (`publish`, `stop`), and ends with its stdin.
"""

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

from tests.blackbox.websocket import Connection

SUBPROTOCOL: Final = "wsc.v1.json"
DONE: Final = 1000
GOING_AWAY: Final = 1001
TAKEN_OVER: Final = 4502
ACK_EVERY: Final = 32
REMEMBERED: Final = 10_000
"""Ids that a client remembers per channel, to know again what comes a second time after a rewind."""
RETRIES_TOLD: Final = 32
RETRY_S: Final = 1.0
"""Wait before a request is repeated that was refused without advice."""
BEAT_S: Final = 0.01
TICK_BEATS: Final = 5
LAG_EVERY_S: Final = 1.0
CONNECTS_PER_S: Final = 80.0
SETTLES_WITHIN_S: Final = 30.0
AFTERTHOUGHT_S: Final = 1.0
"""How long a settled fleet goes on listening: for what comes twice."""

now = time.monotonic
quote: Final = json.encoder.encode_basestring_ascii


class Log:
    """Facts on their way into a file. Lines wait in memory until `flush`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="ascii")
        self._lines: list[str] = []
        self.line = self._lines.append

    def fact(self, name: str, client: str, /, **fields: object) -> None:
        """Note a fact."""
        document = {"at": round(now(), 6), "fact": name, "client": client, **fields}
        self._lines.append(json.dumps(document, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Write what was noted."""
        self._file.writelines(self._lines)
        self._lines.clear()
        self._file.flush()

    def close(self) -> None:
        """Write what was noted and end the file."""
        self.flush()
        self._file.close()


@dataclass(slots=True)
class Channel:
    """One channel of one subscriber: where it stands, and what it has handed out."""

    name: str
    epoch: str | None = None
    """None until the node said where the subscription begins."""
    seq: int = 0
    nonce: int = 0
    acked: int = 0
    asked: int | None = None
    """Id of a `subscribe` that waits for its answer."""
    rewound: bool = False
    order: deque[str] = field(default_factory=deque)
    ids: set[str] = field(default_factory=set)

    def position(self) -> dict[str, object]:
        """Return the position in the words of the wire."""
        return {"epoch": self.epoch, "seq": self.seq, "nonce": self.nonce}

    def go_to(self, position: dict[str, Any]) -> None:
        """Stand at a position that the node named."""
        self.epoch, self.seq, self.nonce = position["epoch"], position["seq"], position["nonce"]

    def remember(self, name: str) -> None:
        """Remember an id that was handed out."""
        self.ids.add(name)
        self.order.append(name)
        if len(self.order) > REMEMBERED:
            self.ids.discard(self.order.popleft())


@dataclass(slots=True)
class Timing:
    """What the node said about time, in seconds; before it said anything, what a patient client would do."""

    ping_s: float = 30.0
    pong_s: float = 5.0
    ack_s: float = 1.0
    spread_s: float = 1.0
    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 60.0
    jitter: float = 0.2
    stable_s: float = 30.0

    @staticmethod
    def told(welcome: dict[str, Any]) -> "Timing":
        """Return the numbers of a `welcome`."""
        timings, back = welcome["timings"], welcome["reconnect"]
        return Timing(
            ping_s=timings["ping_ms"] / 1_000,
            pong_s=timings["pong_ms"] / 1_000,
            ack_s=timings["ack_ms"] / 1_000,
            spread_s=back["spread_ms"] / 1_000,
            base_s=back["base_ms"] / 1_000,
            factor=back["factor"],
            cap_s=back["cap_ms"] / 1_000,
            jitter=back["jitter"],
            stable_s=back["stable_ms"] / 1_000,
        )


@dataclass(slots=True)
class Attempt:
    """One try to get to a node, from the TCP connect to the welcome."""

    connection: Connection
    delay_s: float
    resuming: bool = False
    patience: asyncio.TimerHandle | None = None
    dial: asyncio.Task[None] | None = None


class Client:
    """One client. `start` it, let it `publish`, call `tick` often, and `stop` it. It comes back by itself.

    `current` is the connection that counts; during a hand-over it stays until `trying` is welcomed.
    """

    def __init__(
        self, name: str, *, host: str, port: int, path: str, channels: list[str], log: Log, dice: Random
    ) -> None:
        self.name = name
        self.channels = {channel: Channel(channel) for channel in channels}
        self.unanswered: dict[str, dict[int, str]] = {}
        """Channel → cseq → the frame, in order."""
        self.current: Connection | None = None
        self.stopped = False
        self.answered: dict[str, int] = {}
        """Channel → seq of the newest answer."""
        self.dropped = 0
        """Messages that came again, which a client drops."""
        self._address = (host, port, path)
        self._log = log
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._timing = Timing()
        self._session: tuple[str, str] | None = None
        self._attempts = 0
        """The highest attempt number used in a `resume`."""
        self._trying: Attempt | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0
        """Delays taken since the count began anew; the n of the formula."""
        self._moving = False
        self._advice_s: float | None = None
        self._retries: deque[tuple[float, float, str]] = deque(maxlen=RETRIES_TOLD)
        self._welcomed_at = 0.0
        self._heard_at = 0.0
        self._acked_at = 0.0
        self._unacked = 0
        self._cseqs: dict[str, int] = {}
        self._held: dict[str, asyncio.TimerHandle] = {}
        """Channels of which a publish was refused: all that is unanswered goes out again when the timer ends."""
        self._ids = 0
        self._head = f'"client":"{name}","channel":'

    # From outside.

    def start(self, delay_s: float) -> None:
        """Connect after a while."""
        self._timer = self._loop.call_later(delay_s, self._attempt, delay_s)

    def stop(self) -> None:
        """Close for good."""
        self.stopped = True
        for timer in (self._timer, *self._held.values()):
            if timer is not None:
                timer.cancel()
        self._drop_attempt()
        if self.current is not None:
            self.current.close(DONE)
            self.current = None

    @property
    def ready(self) -> bool:
        """Whether it is connected and knows where it stands in every channel."""
        return self.current is not None and all(channel.epoch is not None for channel in self.channels.values())

    def publish(self, channel: str) -> int:
        """Publish the next message to a channel, or keep it until there is a connection; return its number."""
        cseq = self._cseqs[channel] = self._cseqs.get(channel, 0) + 1
        at = now()
        frame = (
            f'{{"type":"publish","channel":"{channel}","cseq":{cseq},'
            f'"data":{{"p":"{self.name}","n":{cseq},"t":{at:.6f}}}}}'
        )
        self.unanswered.setdefault(channel, {})[cseq] = frame
        self._log.line(
            f'{{"at":{at:.6f},"fact":"sent","client":"{self.name}","channel":"{channel}","number":{cseq}}}\n'
        )
        if self.current is not None and channel not in self._held:
            self.current.send(frame)
        return cseq

    def tick(self, at: float) -> None:
        """Acknowledge, and notice a node that has fallen silent."""
        if self.current is None:
            return
        if at - self._heard_at > self._timing.ping_s + self._timing.pong_s:
            self._lose(self.current, 0, "silent")
        elif self._unacked and at - self._acked_at >= self._timing.ack_s:
            self._ack(at)

    # The way to a node and back.

    def _attempt(self, delay_s: float) -> None:
        self._timer = None
        if self._trying is not None or self.stopped:
            return
        host, port, path = self._address
        connection = Connection(self, host=f"{host}:{port}", path=path, subprotocol=SUBPROTOCOL)
        attempt = self._trying = Attempt(connection, delay_s)
        attempt.dial = self._loop.create_task(self._dial(attempt, host, port))
        attempt.patience = self._loop.call_later(self._timing.pong_s, self._failed, attempt, "timeout")

    async def _dial(self, attempt: Attempt, host: str, port: int) -> None:
        try:
            await self._loop.create_connection(lambda: attempt.connection, host, port)
        except OSError:
            self._failed(attempt, "refused")

    def _failed(self, attempt: Attempt, outcome: str, advice_s: float | None = None) -> None:
        """Take note that an attempt came to nothing, and plan the next."""
        if attempt is not self._trying:
            return
        self._drop_attempt()
        self._log.fact("failed", self.name, outcome=outcome, delay=round(attempt.delay_s, 3))
        self._retries.append((now(), attempt.delay_s, outcome))
        self._plan(advice_s)

    def _drop_attempt(self) -> None:
        attempt, self._trying = self._trying, None
        if attempt is not None:
            if attempt.patience is not None:
                attempt.patience.cancel()
            attempt.connection.abort()

    def _plan(self, advice_s: float | None = None) -> None:
        """Set the timer for the next attempt; advice replaces the formula."""
        if advice_s is None:
            advice_s = self._advice_s
        self._advice_s = None
        self._failures += 1
        timing = self._timing
        if advice_s is not None:
            delay_s = advice_s
        elif self._failures == 1:
            delay_s = self._dice.uniform(0, timing.spread_s)
        else:
            grown = min(timing.base_s * timing.factor ** min(self._failures - 2, 64), timing.cap_s)
            delay_s = grown * self._dice.uniform(1 - timing.jitter, 1 + timing.jitter)
        self._timer = self._loop.call_later(delay_s, self._attempt, delay_s)

    def opened(self, connection: Connection) -> None:
        """Introduce ourselves, or take the session up again."""
        attempt = self._trying
        assert attempt is not None
        if self._session is None:
            connection.send('{"type":"hello","client":{"name":"blackbox","version":"1","lang":"python"},"caps":[]}')
            return
        attempt.resuming = True
        self._attempts += 1
        session, secret = self._session
        positions = {name: item.position() for name, item in self.channels.items() if item.epoch is not None}
        at = now()
        connection.send(
            json.dumps(
                {
                    "type": "resume",
                    "session": session,
                    "secret": secret,
                    "attempt": self._attempts,
                    "positions": positions,
                    "pending": {channel: max(frames) for channel, frames in self.unanswered.items() if frames},
                    "retries": [
                        {"ago_ms": round((at - when) * 1_000), "delay_ms": round(delay * 1_000), "outcome": outcome}
                        for when, delay, outcome in self._retries
                    ],
                }
            )
        )

    def refused(self, connection: Connection, status: int, retry_after_s: float | None) -> None:
        """Come back later."""
        attempt = self._trying
        if attempt is not None and attempt.connection is connection:
            self._failed(attempt, f"http {status}", retry_after_s)

    def ended(self, connection: Connection, code: int) -> None:
        """Find out which connection that was, and whether to come back."""
        attempt = self._trying
        if connection is self.current:
            self._lose(connection, code, "closed")
        elif attempt is not None and attempt.connection is connection:
            if self._forbids(code):
                self._give_up(code)
            else:
                self._failed(attempt, f"closed {code}")

    def _lose(self, connection: Connection, code: int, how: str) -> None:
        """Take note that the connection that counted is gone."""
        connection.abort()
        self.current = None
        at = now()
        self._log.fact("lost", self.name, code=code, how=how)
        under_way = self._trying is not None or self._timer is not None
        if self._forbids(code) and not (code == TAKEN_OVER and under_way):
            self._give_up(code)
        elif not under_way:
            if at - self._welcomed_at >= self._timing.stable_s:
                self._failures = 0
            self._plan()

    @staticmethod
    def _forbids(code: int) -> bool:
        return 4_500 <= code <= 4_999

    def _give_up(self, code: int) -> None:
        self._log.fact("stopped", self.name, code=code)
        self.stop()

    def _leave(self, delay_s: float, *, handover: bool) -> None:
        """Go elsewhere, as the node asked: with the old connection until the new one stands, if the node allows."""
        if self.current is not None and not handover:
            self._log.fact("lost", self.name, code=GOING_AWAY, how="left")
            self.current.close(GOING_AWAY)
            self.current = None
        self._attempt(delay_s)

    # What a node says.

    def received(self, connection: Connection, payload: bytes) -> None:
        """Take one frame's objects, one after the other."""
        if connection is self.current:
            self._heard_at = now()
        for line in payload.split(b"\n"):
            if not line:
                continue
            document = json.loads(line)
            if document["type"] == "message":
                if connection is self.current:
                    self._message(document)
            else:
                self._take(connection, document)
            if connection is not self.current and self._trying is None:
                return  # This very frame ended the connection.

    def _take(self, connection: Connection, document: dict[str, Any]) -> None:
        kind = document["type"]
        attempt = self._trying
        if attempt is not None and attempt.connection is connection:
            if kind == "welcome":
                self._welcome(attempt, document)
            elif kind == "error":
                self._log.fact("error", self.name, code=document["code"])
                if "retry_ms" in document:
                    self._advice_s = document["retry_ms"] / 1_000
            return
        match kind:
            case "published":
                self._published(document)
            case "ping":
                connection.send(f'{{"type":"pong","ts":{document["ts"]}}}')
            case "subscribed":
                self._subscribed(document)
            case "resync":
                self._resync(document)
            case "rewind":
                self._rewind(document)
            case "goaway":
                self._goaway(document)
            case "error":
                self._error(document)
            case _:
                pass  # A notice, or what a later version says.

    def _welcome(self, attempt: Attempt, welcome: dict[str, Any]) -> None:
        if attempt.patience is not None:
            attempt.patience.cancel()
        self._trying = None
        old, self.current = self.current, attempt.connection
        if old is not None:
            old.close(DONE)
        at = now()
        self._session = (welcome["session"], welcome["secret"])
        self._attempts = max(self._attempts, welcome["attempt"])
        self._timing = Timing.told(welcome)
        self._moving = False
        self._welcomed_at = self._heard_at = self._acked_at = at
        self._retries.clear()
        resumed, fresh = welcome["resumed"], welcome["fresh"]
        if not attempt.resuming:
            self._failures = 0  # There was no loss.
        self._log.fact(
            "welcome",
            self.name,
            node=welcome["node"],
            attempt=welcome["attempt"],
            resuming=attempt.resuming,
            resumed=resumed,
            fresh=fresh,
            handover=old is not None,
        )
        for channel in self.channels.values():
            channel.asked = None
            channel.acked = 0
            if channel.name not in resumed and channel.name not in fresh:
                self._subscribe(channel)
        for name in [*self._held]:
            self._held.pop(name).cancel()
        for name in self.unanswered:
            self._send_again(name)

    def _message(self, message: dict[str, Any]) -> None:
        channel = self.channels.get(message["channel"])
        if channel is None or channel.epoch is None:
            return
        seq = message["seq"]
        if seq <= channel.seq:
            self.dropped += 1
            return
        prev, nonce, name = message["prev"], message["nonce"], message["id"]
        if seq != channel.seq + 1 or prev != channel.nonce:
            if channel.asked is None:
                self._log.fact("gap", self.name, channel=channel.name, have=channel.seq, seq=seq)
                self._subscribe(channel)
            return
        # The position moves before the message is handed over: what is lost in between is not asked for twice.
        channel.seq, channel.nonce = seq, nonce
        self._unacked += 1
        at = now()
        if channel.rewound and name in channel.ids:
            self._log.fact(
                "skipped",
                self.name,
                channel=channel.name,
                epoch=channel.epoch,
                seq=seq,
                nonce=nonce,
                prev=prev,
                id=name,
            )
        else:
            channel.remember(name)
            data = message["data"]
            self._log.line(
                f'{{"at":{at:.6f},"fact":"delivered",{self._head}{quote(channel.name)},"epoch":{quote(channel.epoch)},'
                f'"seq":{seq},"nonce":{nonce},"prev":{prev},"id":{quote(name)},'
                f'"publisher":{quote(data["p"])},"number":{data["n"]},"sent":{data["t"]:.6f}}}\n'
            )
        if self._unacked >= ACK_EVERY:
            self._ack(at)

    def _ack(self, at: float) -> None:
        self._acked_at = at
        self._unacked = 0
        acks = {}
        for channel in self.channels.values():
            if channel.epoch is not None and channel.seq != channel.acked:
                channel.acked = acks[channel.name] = channel.seq
        if acks and self.current is not None:
            self.current.send(json.dumps({"type": "ack", "acks": acks}))

    def _subscribe(self, channel: Channel) -> None:
        """Subscribe, from our own position if we have one."""
        if self.current is None:
            return
        self._ids += 1
        channel.asked = self._ids
        start = "now" if channel.epoch is None else channel.position()
        self.current.send(json.dumps({"type": "subscribe", "id": self._ids, "channel": channel.name, "from": start}))

    def _subscribed(self, answer: dict[str, Any]) -> None:
        channel = self.channels.get(answer["channel"])
        if channel is None or answer["id"] != channel.asked:
            return
        channel.asked = None
        if channel.epoch is None:
            channel.go_to(answer["position"])
            self._log.fact("subscribed", self.name, channel=channel.name, position=answer["position"])

    def _resync(self, told: dict[str, Any]) -> None:
        channel = self.channels.get(told["channel"])
        if channel is not None:
            self._log.fact(
                "resync",
                self.name,
                channel=channel.name,
                reason=told["reason"],
                have=told["have"],
                first=told["first"],
                top=told["top"],
                position=told["position"],
                last=channel.seq,
            )
            channel.go_to(told["position"])

    def _rewind(self, told: dict[str, Any]) -> None:
        channel = self.channels.get(told["channel"])
        if channel is not None:
            self._log.fact(
                "rewind",
                self.name,
                channel=channel.name,
                to=told["to"],
                void=told["void"],
                position=told["position"],
                last=channel.seq,
            )
            channel.go_to(told["position"])
            channel.rewound = True

    def _goaway(self, told: dict[str, Any]) -> None:
        self._log.fact("goaway", self.name, reason=told["reason"], handover=told["handover"])
        if self._moving or self._trying is not None:
            return
        self._moving = True
        if now() - self._welcomed_at >= self._timing.stable_s:
            self._failures = 0
        delay_s = (told["retry_ms"] + self._dice.uniform(0, told["spread_ms"])) / 1_000
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._slot, delay_s, told["handover"])

    def _slot(self, delay_s: float, handover: bool) -> None:
        self._timer = None
        self._leave(delay_s, handover=handover)

    # Publishing.

    def _published(self, answer: dict[str, Any]) -> None:
        channel, cseq = answer["channel"], answer["cseq"]
        if self.unanswered.get(channel, {}).pop(cseq, None) is None:
            return  # The answer to the first copy of something that was sent twice.
        self.answered[channel] = answer["seq"]
        self._log.line(
            f'{{"at":{now():.6f},"fact":"answered",{self._head}{quote(channel)},"number":{cseq},'
            f'"seq":{answer["seq"]},"dup":{"true" if answer.get("dup") else "false"}}}\n'
        )

    def _error(self, error: dict[str, Any]) -> None:
        channel, cseq = error.get("channel"), error.get("cseq")
        wait_s = error["retry_ms"] / 1_000 if "retry_ms" in error else RETRY_S
        if channel is not None and cseq is not None:
            frames = self.unanswered.get(channel, {})
            if cseq not in frames:
                return
            self._log.fact(
                "refused", self.name, channel=channel, number=cseq, code=error["code"], temporary=error["temporary"]
            )
            if not error["temporary"]:
                del frames[cseq]
            elif channel not in self._held:
                self._held[channel] = self._loop.call_later(wait_s, self._release, channel)
            return
        self._log.fact("error", self.name, code=error["code"])
        item = self.channels.get(channel or "")
        if item is not None and item.asked is not None and error.get("id") == item.asked:
            self._loop.call_later(wait_s, self._ask_again, item, item.asked)
        elif "retry_ms" in error:
            self._advice_s = wait_s

    def _ask_again(self, channel: Channel, asked: int) -> None:
        if channel.asked == asked:
            self._subscribe(channel)

    def _release(self, channel: str) -> None:
        self._held.pop(channel, None)
        self._send_again(channel)

    def _send_again(self, channel: str) -> None:
        """Send everything that is unanswered, in order."""
        if self.current is not None:
            for frame in self.unanswered.get(channel, {}).values():
                self.current.send(frame)


class Fleet:
    """All clients of this process, and the beat at which they publish."""

    def __init__(self, gateway: str, log: Log, *, subscribers: int, publishers: int, channels: int, seed: int) -> None:
        parts = urlsplit(gateway)
        host, port, path = parts.hostname, parts.port, parts.path or "/"
        assert host is not None
        assert port is not None
        dice = Random(seed)
        names = [f"bb{number}" for number in range(channels)]

        def make(name: str, wanted: list[str]) -> Client:
            own = Random(dice.getrandbits(64))
            return Client(name, host=host, port=port, path=path, channels=wanted, log=log, dice=own)

        self._log = log
        self._loop = asyncio.get_running_loop()
        self._subscribers = [make(f"s{number:03}", [names[number % channels]]) for number in range(subscribers)]
        self._publishers = [(make(f"p{number:03}", []), names[number % channels]) for number in range(publishers)]
        self._clients = [*self._subscribers, *(client for client, _ in self._publishers)]
        self._closers = dict(reversed([(channel, client) for client, channel in self._publishers]))
        """Channel → the publisher that says its last word."""
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._rate = 0.0
        self._publishing_since = 0.0
        self._published = 0
        self._beats = 0
        self._due = self._lag_told_at = now()
        self._late_s = 0.0

    async def start(self) -> None:
        """Connect everybody; return when all know where they stand."""
        for number, client in enumerate(self._clients):
            client.start(number / CONNECTS_PER_S)
        self._beat()
        await self._until(lambda: all(client.ready for client in self._clients))
        say("ready")

    def publish(self, rate: float) -> None:
        """Publish so many messages a second, all publishers in turn."""
        self._publishing_since, self._published, self._rate = now(), 0, rate
        self._log.fact("publishing", "")

    async def stop(self) -> None:
        """Publish no more, wait until everything has arrived or cannot be waited for, and close."""
        self._rate = 0.0
        self._log.fact("quiet", "")
        settling = asyncio.ensure_future(self._settle())
        await asyncio.wait([settling], timeout=SETTLES_WITHIN_S)
        settled = settling.done()
        if settled:
            settling.result()
        settling.cancel()
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._log.fact(
            "end",
            "",
            settled=settled,
            dropped=sum(client.dropped for client in self._clients),
            cpu_s=round(used.ru_utime + used.ru_stime, 3),
            rss_mb=round(used.ru_maxrss / 1_024),
        )
        for client in self._clients:
            client.stop()
        self._log.flush()
        say("settled" if settled else "unsettled")

    async def _settle(self) -> None:
        """Wait until all is answered, say a last word on each channel, and wait until every subscriber has it."""
        publishers = [client for client, _ in self._publishers]
        await self._until(lambda: not any(frames for client in publishers for frames in client.unanswered.values()))
        for channel, client in self._closers.items():
            client.publish(channel)
        await self._until(lambda: not any(client.unanswered[channel] for channel, client in self._closers.items()))
        tops = {channel: client.answered[channel] for channel, client in self._closers.items()}
        await self._until(
            lambda: all(
                channel.seq >= tops[channel.name]
                for client in self._subscribers
                for channel in client.channels.values()
            )
        )
        end = now() + AFTERTHOUGHT_S
        await self._until(lambda: now() >= end)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, looked at with every beat."""
        waiter = self._loop.create_future()
        self._waiting.append((condition, waiter))
        await waiter

    def _beat(self) -> None:
        """Publish what is due, let every client's time pass, and see how late we are ourselves."""
        at = now()
        self._late_s = max(self._late_s, at - self._due)
        if at - self._lag_told_at >= LAG_EVERY_S:
            self._log.fact("lag", "", ms=round(self._late_s * 1_000, 1))
            self._lag_told_at, self._late_s = at, 0.0
        if self._rate:
            for _ in range(int((at - self._publishing_since) * self._rate) - self._published):
                client, channel = self._publishers[self._published % len(self._publishers)]
                client.publish(channel)
                self._published += 1
        self._beats += 1
        if self._beats % TICK_BEATS == 0:
            for client in self._clients:
                client.tick(at)
            self._log.flush()
            for item in self._waiting[:]:
                condition, waiter = item
                if waiter.cancelled() or condition():
                    self._waiting.remove(item)
                    if not waiter.done():
                        waiter.set_result(None)
        self._due = at + BEAT_S
        self._loop.call_at(self._due, self._beat)


def say(word: str) -> None:
    """Tell whoever started us."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def run(args: argparse.Namespace) -> None:
    """Do what the lines on stdin say until they end, or until something fails that never should."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    log = Log(args.log)
    fleet = Fleet(
        args.gateway,
        log,
        subscribers=args.subscribers,
        publishers=args.publishers,
        channels=args.channels,
        seed=args.seed,
    )
    failed: asyncio.Future[None] = loop.create_future()
    tasks: list[asyncio.Future[None]] = [failed]

    def fail(_: object, context: dict[str, Any]) -> None:
        if not failed.done():
            failed.set_exception(context.get("exception") or RuntimeError(context["message"]))

    def ended(task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            fail(None, {"exception": error})

    def run_task(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        tasks.append(task)
        task.add_done_callback(ended)

    loop.set_exception_handler(fail)
    gc.collect()
    gc.freeze()  # What lives as long as the process need not be looked at again and again.
    run_task(fleet.start())

    async def obey() -> None:
        while command := (await commands.readline()).strip():
            if command == b"publish":
                fleet.publish(args.rate)
            elif command == b"stop":
                run_task(fleet.stop())

    obeying = asyncio.ensure_future(obey())
    try:
        await asyncio.wait([failed, obeying], return_when=asyncio.FIRST_COMPLETED)
    finally:
        log.close()
        for task in tasks:
            task.cancel()
    if failed.done() and not failed.cancelled():
        failed.result()


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description="clients that log what they see")
    parser.add_argument("--gateway", required=True, metavar="URL")
    parser.add_argument("--log", required=True, type=Path, metavar="FILE")
    parser.add_argument("--subscribers", type=int, default=100, metavar="N")
    parser.add_argument("--publishers", type=int, default=30, metavar="N")
    parser.add_argument("--channels", type=int, default=3, metavar="N")
    parser.add_argument("--rate", type=float, default=200.0, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
