"""Whether wsmon's memory stays flat: hours of events at 50 a second, in minutes. Prints a table, a row for each ten minutes.

The real engine, model and ring run on a loop whose time jumps, with every page looked at in turn; only sources and
screen are left out. Told are two hundred clients that are lost and come back all the time, some under a new name, nodes
that are killed twice a minute and come back with a new life, and now and then another node in the place of one.
`python -m benchmarks.events [MINUTES]`.
"""

import asyncio
import gc
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import async_solipsism
import psutil

from wsmon.agent.cancellation import end
from wsmon.commands import Action, Outcome
from wsmon.engine import Engine
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import (
    Happened,
    HttpSample,
    Input,
    PeerBeat,
    PeerGone,
    PeerSeen,
    PeerState,
    ProcessSample,
    RedisSeen,
    RegistrySeen,
    VerdictsSeen,
)
from wsmon.protocol.events import (
    BreakerChanged,
    ClientLost,
    EventBody,
    FaultEnded,
    FaultStarted,
    FeedChanged,
    HeartbeatMissed,
    NodeStateChanged,
    ProcessExited,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
    body_fields,
    kind_of,
)
from wsmon.protocol.frames import EventFrame, JsonObject
from wsmon.protocol.registry import RegistryEntry, Verdict
from wsmon.protocol.states import NodeState, PeerKind, Role
from wsmon.recording.recorder import Recorder
from wsmon.recording.tape import Tape
from wsmon.views.frame import Looking, PageName

MINUTES = 60
REPORT_EVERY = 10
EVENTS_S = 50
BEAT_S = 0.5
PARTS = 5
"""A beat is told in so many parts, so that there is something new for every picture."""
CLIENTS = 200
KILLED_EVERY_S = 30.0
BACK_AFTER_S = 8.0
MOVES_AWAY = 0.1
"""How often a killed node does not come back, but another one in its place."""
RENAMED = 0.05
"""How often a client does not come back, but another one in its place."""
BEGAN_AT = 1_790_000_000.0
OTHERS = {
    "checker": PeerKind.CHECKER,
    "gateway": PeerKind.GATEWAY,
    "fleet": PeerKind.FLEET,
    "supervisor": PeerKind.SUPERVISOR,
}


class Tale:
    """A cluster that never rests. Each `beat` tells what happened in half a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._dice = random.Random(11)
        self._nodes = ["n1", "n2", "n3"]
        self._names = len(self._nodes)
        self._clients = {f"c{number:04}": self._nodes[number % 3] for number in range(CLIENTS)}
        self._clients_made = CLIENTS
        self._boots = dict.fromkeys((*self._nodes, *OTHERS), int(BEGAN_AT * 1_000) - 60_000)
        self._revs: dict[str, int] = {}
        self._seqs: dict[tuple[str, int], int] = {}
        self._away: dict[str, float] = {}
        self._lost: list[tuple[str, str]] = []
        self._killed_at = BEGAN_AT
        self._sent = 0
        self.events = 0

    def _happens(self, source: str, body: EventBody) -> Happened:
        key = source, self._boots[source]
        self._seqs[key] = seq = self._seqs.get(key, 0) + 1
        now = self._clock()
        self.events += 1
        frame = EventFrame(
            source=source, boot=key[1], seq=seq, at=now - 0.01, kind=kind_of(body), fields=body_fields(body)
        )
        return Happened(event=frame, heard_at=now)

    def _says(self, name: str, state: JsonObject) -> PeerState:
        self._revs[name] = self._revs.get(name, 0) + 1
        now = self._clock()
        return PeerState(
            id=name, boot=self._boots[name], rev=self._revs[name], at=now - 0.001, state=state, heard_at=now
        )

    def _hello(self, name: str) -> PeerSeen:
        profile: JsonObject = {"name": "demo", "removal_window_s": [2.2, 3.2]}
        return PeerSeen(
            id=name,
            kind=OTHERS.get(name, PeerKind.NODE),
            boot=self._boots[name],
            pid=100,
            host="here",
            version="1",
            role=Role.CONTROL,
            profile=profile,
            at=self._clock(),
        )

    def _registry(self) -> Iterator[Input]:
        now = self._clock()
        present = [name for name in self._boots if name not in self._away]
        yield RegistrySeen(
            entries=tuple(
                RegistryEntry(
                    kind=OTHERS.get(name, PeerKind.NODE),
                    id=name,
                    boot=self._boots[name],
                    admin=f"ws+unix:///{name}.sock",
                    version="1",
                    address="127.0.0.1:9000",
                )
                for name in present
            ),
            at=now,
        )
        yield VerdictsSeen(
            verdicts=tuple(
                Verdict(node=name, state=self._verdict(name), reason="", epoch=1, version=1, at=now)
                for name in self._nodes
            ),
            at=now,
        )

    def _verdict(self, name: str) -> NodeState:
        return NodeState.REMOVED if name in self._away else NodeState.ONLINE

    def begin(self) -> Iterator[Input]:
        """Tell of everybody for the first time."""
        yield RedisSeen(state="ok", rtt_ms=0.4, at=self._clock())
        yield from self._registry()
        for name in self._boots:
            yield self._hello(name)

    def beat(self) -> Iterator[Input]:
        """Tell half a second."""
        already = self.events
        yield from self._gauges()
        yield from self._nodes_go_and_come()
        while self.events - already < EVENTS_S * BEAT_S:
            yield from self._client_goes_and_comes()

    def _gauges(self) -> Iterator[Input]:
        now, dice = self._clock(), self._dice
        self._sent += 1_000
        for name in self._nodes:
            if name in self._away:
                continue
            mine: JsonObject = {"state": "online", "connections": 20 + dice.randrange(9), "messages_in": self._sent}
            mine |= {"messages_out": 9 * self._sent, "unacked": dice.randrange(99), "loop_lag_ms": dice.random()}
            mine["feeds"] = {f"room.{number}": {"state": "live", "seq": self._sent + number} for number in range(8)}
            yield self._says(name, mine)
            yield ProcessSample(id=name, pid=100, cpu=dice.random() * 9, rss=4_096 * dice.randrange(9_999), at=now)
            yield HttpSample(id=name, ok=True, status=200, ms=dice.random(), at=now)
        targets: JsonObject = {
            name: {"state": str(self._verdict(name)), "since": now, "reason": "", "http": {"failed": 0, "needed": 2}}
            for name in self._nodes
        }
        yield self._says("checker", {"mode": "leading", "leader": "checker", "epoch": 1, "targets": targets})
        backends: JsonObject = {name: {"state": str(self._verdict(name)), "connections": 20} for name in self._nodes}
        yield self._says("gateway", {"backends": backends})
        yield self._says("fleet", self._fleet())
        rows: JsonObject = {name: {"kind": "node", "status": "running", "restarts": 0} for name in self._nodes}
        yield self._says("supervisor", {"processes": rows})
        for name, boot in self._boots.items():
            if name not in self._away:
                rev = self._revs.get(name, 0)
                yield PeerBeat(id=name, boot=boot, rev=rev, at=now, lag_ms=dice.random(), heard_at=now)
        yield RedisSeen(state="ok", rtt_ms=dice.random(), at=now)

    def _fleet(self) -> JsonObject:
        audit: JsonObject = {"published": self._sent, "delivered": 9 * self._sent, "lost": 0, "duplicated": 0}
        clients: JsonObject = {name: {"state": "connected", "node": node} for name, node in self._clients.items()}
        return {
            "clients": CLIENTS,
            "connected": CLIENTS,
            "reconnecting": 0,
            "audit": {**audit, "inverted": 0},
            "clients_state": clients,
        }

    def _nodes_go_and_come(self) -> Iterator[Input]:
        now = self._clock()
        for name, since in list(self._away.items()):
            if now - since < BACK_AFTER_S:
                continue
            del self._away[name]
            back = name
            if self._dice.random() < MOVES_AWAY:
                self._names += 1
                back = f"n{self._names}"
                self._nodes[self._nodes.index(name)] = back
                del self._boots[name]
            self._boots[back], self._revs[back] = int(now * 1_000), 0
            yield self._hello(back)
            yield self._happens("checker", NodeStateChanged(node=back, old="removed", new="online", epoch=1))
            yield self._happens("supervisor", FaultEnded(fault="kill", target=name))
            yield from self._registry()
        if now - self._killed_at >= KILLED_EVERY_S:
            self._killed_at = now
            name = self._dice.choice(self._nodes)
            self._away[name] = now
            yield self._happens("supervisor", FaultStarted(fault="kill", target=name))
            yield self._happens("supervisor", ProcessExited(id=name, signal=9))
            yield PeerGone(id=name, reason="closed the connection", at=now)
            yield self._happens("checker", HeartbeatMissed(node=name, count=1, needed=3))
            yield self._happens("checker", NodeStateChanged(node=name, old="online", new="suspect", epoch=1))
            yield self._happens("checker", NodeStateChanged(node=name, old="suspect", new="removed", epoch=1))
            yield self._happens("gateway", BreakerChanged(name=name, old="closed", new="open"))
            yield from self._registry()

    def _client_goes_and_comes(self) -> Iterator[Input]:
        dice = self._dice
        client = dice.choice(list(self._clients))
        yield self._happens("fleet", ClientLost(client=client, node=self._clients[client], code=1006))
        if dice.random() < RENAMED:
            del self._clients[client]
            self._clients_made += 1
            client = f"c{self._clients_made:04}"
        for attempt in (1, 2):
            delay_s = dice.random()
            yield self._happens(
                "fleet", ReconnectScheduled(client=client, attempt=attempt, delay_s=delay_s, jitter=1.0)
            )
            yield self._happens("fleet", ReconnectStarted(client=client, attempt=attempt))
            if attempt == 1:
                yield self._happens("fleet", ReconnectFailed(client=client, attempt=attempt, outcome="refused"))
        node = dice.choice([name for name in self._nodes if name not in self._away])
        self._clients[client] = node
        yield self._happens("fleet", Resumed(client=client, node=node, how="ring", ms=dice.random() * 900, replayed=3))
        yield self._happens(node, FeedChanged(channel=f"room.{dice.randrange(8)}", old="gap", new="live"))


class Hours:
    """A source that tells the tale, as fast as it is listened to."""

    def __init__(self, tale: Tale) -> None:
        self._tale = tale

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Tell until cancelled."""
        for told in self._tale.begin():
            emit(told)
        while True:
            beat = list(self._tale.beat())
            for part in range(PARTS):
                for told in beat[part * len(beat) // PARTS : (part + 1) * len(beat) // PARTS]:
                    emit(told)
                await asyncio.sleep(BEAT_S / PARTS)


class Nobody:
    """An operator for whom there is nothing to do."""

    async def perform(self, action: Action) -> Outcome:
        """Refuse."""
        return Outcome(ok=False, message=f"nobody is there for {action.op}", effect={})


async def run(minutes: int, path: Path) -> None:
    """Play the tale, and print how much memory is in use."""
    loop = asyncio.get_running_loop()
    frames = 0

    def clock() -> float:
        return BEGAN_AT + loop.time()

    def drawn(_: object) -> None:
        nonlocal frames
        frames += 1

    tale = Tale(clock)
    recorder = Recorder(Tape("demo"), clock, path=path)
    engine = Engine(Hours(tale), Nobody(), ClusterModel("demo"), clock, on_frame=drawn, recorder=recorder)
    running = asyncio.create_task(engine.run())
    process, pages, began = psutil.Process(), list(PageName), time.perf_counter()
    print("minutes   events  frames   ring MB  file MB   RSS MB  objects  chapters  took s")
    for minute in range(1, minutes + 1):
        await asyncio.sleep(60)
        engine.look_at(Looking(page=pages[minute % len(pages)], node="n1", client="c0001"))
        if minute % REPORT_EVERY == 0 or minute == 1:
            gc.collect()
            objects = len(gc.get_objects())
            print(
                f"{minute:7} {tale.events:8} {frames:7} {len(recorder.bundle()) / 1e6:9.1f}"
                f" {path.stat().st_size / 1e6:8.1f} {process.memory_info().rss / 1e6:8.1f} {objects:8}"
                f" {engine.model.sessions.chapters:9} {time.perf_counter() - began:7.0f}",
                flush=True,
            )
    await end(running)
    if recorder.dropped:
        print(f"the recorder left {recorder.dropped} inputs out")


def main(arguments: list[str]) -> None:
    """Run it on virtual time."""
    minutes = int(arguments[0]) if arguments else MINUTES
    with TemporaryDirectory() as name, asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(run(minutes, Path(name) / "a.wsr"))


if __name__ == "__main__":
    main(sys.argv[1:])
