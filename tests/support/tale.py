"""A tale of a small cluster, told as sources would: gauges, events twice and late, a failover, a node's next life."""

import random
from collections.abc import Iterator

from tests.support.facts import BOOT, T0, entries, gone, leading, running, seen, table, target, verdict
from wsmon.model.inputs import (
    ActionAnswered,
    ActionAsked,
    Happened,
    HttpSample,
    Input,
    Marked,
    PeerBeat,
    PeerGarbage,
    PeerState,
    ProcessSample,
    RedisSeen,
    RegistryBad,
    StartProgress,
    StepSeen,
)
from wsmon.protocol.events import (
    ClientLost,
    EventBody,
    FaultStarted,
    NodeStateChanged,
    ProcessExited,
    ReconnectScheduled,
    Resumed,
    body_fields,
    kind_of,
)
from wsmon.protocol.frames import EventFrame, JsonObject
from wsmon.protocol.states import NodeState

NODES = ("n1", "n2", "n3")
EVERY_S = 0.25


class _Tale:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.at = T0
        self.seqs: dict[str, int] = {}
        self.revs: dict[str, int] = {}
        self.boots = dict.fromkeys((*NODES, "checker", "gateway", "fleet", "supervisor"), BOOT)
        self.late: list[tuple[float, Happened]] = []
        self.clients: JsonObject = {f"c{k:02}": {"state": "connected", "node": NODES[k % 3]} for k in range(12)}
        self.counts = dict.fromkeys(NODES, 0)

    def moment(self) -> float:
        self.at += self.dice.random() * 0.01
        return self.at

    def says(self, name: str, state: JsonObject) -> PeerState:
        self.revs[name] = self.revs.get(name, 0) + 1
        at = self.moment()
        lag = self.dice.random() * 0.002
        return PeerState(id=name, boot=self.boots[name], rev=self.revs[name], at=at - lag, state=state, heard_at=at)

    def node(self, name: str) -> PeerState:
        self.counts[name] += self.dice.randrange(40)
        sent = self.counts[name]
        return self.says(
            name,
            {
                "state": "online",
                "connections": 20,
                "messages_in": sent // 20,
                "messages_out": sent,
                "bytes_out": sent * 160,
                "unacked": self.dice.randrange(100),
                "feeds": {"room.1": {"state": "live", "seq": sent}},
                "lease_age_s": round(self.dice.random() * 3, 1),
                "loop_lag_ms": self.dice.choice((0.1, 1.25, 3)),
                "span": [1, self.dice.choice((2, 2.0))],
            },
        )

    def fleet(self) -> PeerState:
        lost = sum(isinstance(told, dict) and told["state"] == "lost" for told in self.clients.values())
        audit: JsonObject = {"published": self.counts["n1"], "delivered": 2 * self.counts["n1"], "lost": 0}
        return self.says(
            "fleet",
            {
                "clients": 12,
                "connected": 12 - lost,
                "reconnecting": lost,
                "audit": audit,
                "clients_state": self.clients,
            },
        )

    def happens(self, source: str, body: EventBody) -> Iterator[Input]:
        """Tell an event on the socket, and once more, later, by Redis; or the other way round."""
        self.seqs[source] = seq = self.seqs.get(source, 0) + 1
        at = self.moment()
        event = EventFrame(
            source=source, boot=self.boots[source], seq=seq, at=at, kind=kind_of(body), fields=body_fields(body)
        )
        self.late.append((at + self.dice.random() * 0.5, Happened(event=event, heard_at=at)))
        if self.dice.random() < 0.7:
            yield Happened(event=event, heard_at=self.moment())

    def caught_up(self) -> Iterator[Input]:
        for due, told in list(self.late):
            if due <= self.at:
                self.late.remove((due, told))
                yield Happened(event=told.event, heard_at=self.moment())

    def begin(self) -> Iterator[Input]:
        yield StartProgress(steps=(StepSeen("redis", done=True, seconds=0.1),), at=self.at)
        yield RedisSeen(state="ok", rtt_ms=0.4, at=self.moment())
        yield entries(*self.boots, at=self.moment())
        yield table(*(verdict(name, NodeState.ONLINE, self.at) for name in NODES), at=self.moment())
        for name in self.boots:
            yield seen(name, self.moment(), profile={"name": "demo", "removal_window_s": [2.2, 3.2]})
        yield self.says("supervisor", running(*NODES))
        yield PeerGarbage(id="n9", reason="spoke nonsense", at=self.moment())
        yield RegistryBad(id="n8", reason="does not parse", at=self.moment())

    def ordinary(self) -> Iterator[Input]:
        for name in NODES:
            yield self.node(name)
        yield self.fleet()
        yield self.says("checker", leading({name: target("online", round(self.at, 1)) for name in NODES}))
        if self.dice.random() < 0.3:
            for name in self.boots:
                beat = self.moment()
                rev = self.revs.get(name, 0)
                lag = self.dice.random()
                yield PeerBeat(id=name, boot=self.boots[name], rev=rev, at=beat, lag_ms=lag, heard_at=beat)
            yield RedisSeen(state="ok", rtt_ms=self.dice.random(), at=self.moment())
            yield HttpSample(id="n1", ok=True, status=200, ms=self.dice.random() * 9, at=self.moment())
            cpu, rss = round(self.dice.random() * 9, 1), 4_096 * self.dice.randrange(9_000, 9_100)
            yield ProcessSample(id="n1", pid=7, cpu=cpu, rss=rss, fds=30, status="sleeping", at=self.moment())

    def failover(self) -> Iterator[Input]:
        victim = self.dice.choice(NODES)
        key = self.seqs.get("actions", 0) + 1
        self.seqs["actions"] = key
        yield ActionAsked(key=key, text=f"kill {victim}", at=self.moment())
        yield from self.happens("supervisor", FaultStarted(fault="kill", target=victim))
        yield from self.happens("supervisor", ProcessExited(id=victim, signal=9))
        yield ActionAnswered(key=key, ok=True, message="", at=self.moment())
        yield gone(victim, self.moment())
        lost = [c for c, told in self.clients.items() if isinstance(told, dict) and told["node"] == victim]
        for client in lost:
            self.clients = {**self.clients, client: {"state": "lost", "node": victim, "attempt": 1}}
            yield from self.happens("fleet", ClientLost(client=client, node=victim, code=1006))
            delay_s = self.dice.random()
            yield from self.happens("fleet", ReconnectScheduled(client=client, attempt=1, delay_s=delay_s, jitter=1.0))
        for old, new in (("online", "suspect"), ("suspect", "removed")):
            yield from self.happens("checker", NodeStateChanged(node=victim, old=old, new=new, epoch=1))
        yield self.fleet()
        for client in lost:
            node = self.dice.choice([name for name in NODES if name != victim])
            self.clients = {**self.clients, client: {"state": "connected", "node": node}}
            ms = self.dice.random() * 900
            yield from self.happens("fleet", Resumed(client=client, node=node, how="ring", ms=ms, replayed=3))
        self.boots[victim] += 1_000
        self.revs[victim] = 0
        yield seen(victim, self.moment(), boot=self.boots[victim])
        yield from self.happens("checker", NodeStateChanged(node=victim, old="removed", new="online", epoch=1))


def tale(seed: int, *, seconds: float = 30.0, failover_every: float = 0.03) -> list[Input]:
    """Return what sources tell in that time. The same seed gives the same tale."""
    told = _Tale(seed)
    items = list(told.begin())
    began = told.at
    while told.at < began + seconds:
        told.at += EVERY_S
        items += told.ordinary()
        if told.dice.random() < failover_every:
            items += told.failover()
        if told.dice.random() < 0.02:
            items.append(Marked(text=f"note {len(items)}", at=told.moment()))
        items += told.caught_up()
    return items
