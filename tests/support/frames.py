"""Example frames for tests of everything that draws, and a source of them."""

import math
import random
from dataclasses import replace
from pathlib import Path

from wsmon.commands import Action
from wsmon.protocol.states import NodeState
from wsmon.views.frame import (
    ActionRow,
    Audit,
    EventRow,
    Frame,
    Header,
    Health,
    Lane,
    Looking,
    NodeRow,
    Playback,
    Resumes,
    Segment,
    SegmentKind,
    ServiceRow,
    Severity,
    StartStep,
    Timeline,
)

AT = 1_790_000_000.0
"""Some moment at 13:33:20 UTC."""
HOSTILE = "\x1b[31m[red]x\x07\u202e\x9b2J日本語\u0301[/] ${HOME} {0} %s"


class FakeSource:
    """Hands out whatever frame it was given last, and remembers what was asked."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.actions: list[Action] = []
        self.looking = Looking()

    def look_at(self, looking: Looking) -> None:
        """Remember it."""
        self.looking = looking

    def perform(self, action: Action) -> None:
        """Remember it."""
        self.actions.append(action)


class FakeLive(FakeSource):
    """The same, of a cluster that is watched now."""

    def __init__(self, frame: Frame, player: "FakePlayer | None" = None) -> None:
        super().__init__(frame)
        self.armed = False
        self.marks: list[str] = []
        self.kept: list[Path] = []
        self._player = player

    def arm(self, *, on: bool) -> None:
        """Remember it."""
        self.armed = on

    def mark(self, text: str) -> None:
        """Remember it."""
        self.marks.append(text)

    def ring(self) -> "FakePlayer | None":
        """Return what was given."""
        return self._player

    def keep(self, path: Path) -> None:
        """Remember it."""
        self.kept.append(path)


class FakePlayer(FakeSource):
    """Hands out one frame of a recording, and remembers where it was told to go."""

    def __init__(self, frame: Frame) -> None:
        playback = Playback(at=AT, start_at=AT - 40, end_at=AT + 40, marks=(AT - 20, AT + 10))
        super().__init__(replace(frame, playback=playback))
        self.told: list[tuple[object, ...]] = []

    def seek(self, at: float) -> None:
        """Remember it."""
        self.told.append(("seek", at))

    def step(self, frames: int) -> None:
        """Remember it."""
        self.told.append(("step", frames))

    def speed(self, factor: float) -> None:
        """Remember it."""
        self.told.append(("speed", factor))

    def hold(self, *, on: bool) -> None:
        """Remember it."""
        self.told.append(("hold", on))

    def close(self) -> None:
        """Remember it."""
        self.told.append(("close",))


def node(name: str = "n1", **fields: object) -> NodeRow:
    """Return an online node."""
    row = NodeRow(
        id=name,
        state=NodeState.ONLINE,
        since_s=312.0,
        why=f"online for 5 m; heartbeat ok, http ok ({name})",
        heartbeat="ok",
        http="ok",
        misses_needed=3,
        connections=20,
        connections_delta=0,
        messages_in_s=6.7,
        messages_out_s=1_207.0,
        lag_ms=0.8,
        rtt_ms=1.2,
        cpu=12.0,
        rss=64 * 2**20,
        fds=48,
        uptime_s=330.0,
        pid=41_001,
        process="running",
        address="127.0.0.1:40101",
        unacked=3,
        lagging=0,
        retransmits=0,
    )
    return replace(row, **fields)  # type: ignore[arg-type]


def services() -> tuple[ServiceRow, ...]:
    """Return five good services."""
    return (
        ServiceRow(id="redis", kind="redis", state="running", good=True, detail="0.2 ms", pid=41_010),
        ServiceRow(id="checker", kind="checker", state="leading", good=True, detail="epoch 1", pid=41_011),
        ServiceRow(id="gateway", kind="gateway", state="running", good=True, detail="3 backends", pid=41_012),
        ServiceRow(id="fleet", kind="fleet", state="running", good=True, detail="20/s", pid=41_013),
        ServiceRow(id="supervisor", kind="supervisor", state="running", good=True, pid=41_014),
    )


def event(number: int, text: str, severity: Severity = Severity.INFO, *, at: float = AT, **fields: str) -> EventRow:
    """Return an event."""
    row = EventRow(key=("checker", 1, number), at=at, source="checker", kind="node_state", severity=severity, text=text)
    return replace(row, **fields)  # type: ignore[arg-type]


def healthy(at: float = AT) -> Frame:
    """Return a cluster in which all is well."""
    return Frame(
        header=Header(
            cluster="demo",
            profile="demo",
            health=Health.HEALTHY,
            at=at,
            nodes_online=3,
            nodes_total=3,
            clients_connected=60,
            clients_reconnecting=0,
            audit=Audit(published=12_345, delivered=740_700),
            removal_window_s=(2.2, 3.2),
        ),
        nodes=(node("n1", since_s=312 + at - AT), node("n2", cpu=9.0), node("n3", messages_out_s=1_198.0)),
        services=services(),
        timeline=Timeline(now_at=at),
        events=(
            event(1, "n1 joining → online: 2 heartbeats and http ok", Severity.GOOD, at=AT - 312, node="n1"),
            event(2, "n2 joining → online: 2 heartbeats and http ok", Severity.GOOD, at=AT - 311.8, node="n2"),
            event(3, "n3 joining → online: 2 heartbeats and http ok", Severity.GOOD, at=AT - 311.7, node="n3"),
            event(4, "checker leads with epoch 1", Severity.QUIET, at=AT - 313.1),
        ),
    )


def suspect() -> Frame:
    """Return a cluster with a node that misses heartbeats."""
    frame = healthy()
    ill = node(
        "n2",
        state=NodeState.SUSPECT,
        since_s=1.4,
        detail="2/3",
        heartbeat="2/3",
        misses=2,
        lag_ms=412.0,
        why="suspect: heartbeat 2/3 missed (last answer 2.4 s ago), http ok; removal in 0.2–1.2 s unless it answers",
    )
    return replace(
        frame,
        header=replace(frame.header, health=Health.DEGRADED, nodes_online=2, problems=("n2 suspect 1.4 s ago",)),
        nodes=(frame.nodes[0], ill, frame.nodes[2]),
        events=(*frame.events, event(5, "n2 online → suspect: heartbeat 1/3 missed", Severity.WARNING, node="n2")),
    )


def _lane(number: int, dice: random.Random, *, away: bool) -> Lane:
    client = f"c{number:02}"
    lost = AT - (4.2 if away else 8.0) - dice.random() * 0.4
    spread = dice.random() * 1.2
    segments = [
        Segment(SegmentKind.CONNECTED, AT - 60, lost, "n2"),
        Segment(SegmentKind.LOST, lost, lost, "n2"),
        Segment(SegmentKind.WAITED, lost, lost + 0.4 + spread, "#1 0.84 s"),
        Segment(SegmentKind.FAILED, lost + 0.4 + spread, lost + 0.5 + spread, "refused"),
        Segment(SegmentKind.WAITED, lost + 0.5 + spread, min(AT, lost + 3.0 + 2 * spread), "#2 1.9 s"),
    ]
    if away:
        due = AT + 0.4 + dice.random() * 3
        segments.append(Segment(SegmentKind.PLANNED, AT, due, "#3 3.1 s"))
        summary = f"n2 → away {AT - lost:.1f} s, try 3 in {due - AT:.1f} s"
        return Lane(
            client=client, away=True, node="n2", attempt=3, summary=summary, segments=tuple(segments), lost_at=lost
        )
    back = lost + 3.2 + 2 * spread
    segments += [
        Segment(SegmentKind.ATTEMPT, lost + 3.0 + 2 * spread, back),
        Segment(SegmentKind.RESUMED, back, back, "n3"),
        Segment(SegmentKind.CONNECTED, back, AT, "n3"),
    ]
    return Lane(
        client=client,
        away=False,
        node="n3",
        attempt=2,
        summary=f"n2 → n3 in {back - lost:.2f} s, 2 tries",
        segments=tuple(segments),
        lost_at=lost,
    )


def removed(lanes: int = 20) -> Frame:
    """Return a cluster that just lost a node, with a storm of reconnects."""
    frame = healthy()
    dice = random.Random(7)
    dead = node(
        "n2",
        state=NodeState.REMOVED,
        since_s=4.0,
        heartbeat="3/3",
        http="2/2",
        misses=3,
        connections=0,
        connections_delta=-20,
        messages_in_s=0.0,
        messages_out_s=0.0,
        silent_s=4.6,
        cpu=None,
        rss=None,
        fds=None,
        process="exited",
        pid=None,
        why="removed 4 s ago: process exited (SIGKILL), 2 connects refused",
    )
    others = (
        node("n1", connections=29, connections_delta=9, messages_out_s=1_740.0),
        dead,
        node("n3", connections=24, connections_delta=4, messages_out_s=1_440.0),
    )
    away = 7 * lanes // 20
    events = (
        event(5, "process n2 was killed by SIGKILL", Severity.BAD, at=AT - 4.71, source="supervisor"),
        event(6, "n2 online → suspect: connection closed", Severity.WARNING, at=AT - 4.68, node="n2"),
        *(
            event(
                30 + number,
                f"c{number:02} lost n2 (1006 connection broken)",
                Severity.WARNING,
                at=AT - 4.6 + number / 100,
                source="fleet",
                kind="client_lost",
                plural="clients lost n2",
                node="n2",
                client=f"c{number:02}",
            )
            for number in range(20)
        ),
        event(7, "n2 suspect → removed: 2 connects refused", Severity.BAD, at=AT - 4.02, node="n2"),
        *(
            event(
                8 + number,
                f"c{number:02} is back on n3 after 0.52 s, 3 replayed from the ring",
                Severity.GOOD,
                at=AT - 3 + number * 0.113,
                source="fleet",
                kind="resumed",
                plural="clients are back on n3",
                node="n3",
                client=f"c{number:02}",
            )
            for number in range(12)
        ),
    )
    return replace(
        frame,
        header=replace(
            frame.header,
            health=Health.DEGRADED,
            nodes_online=2,
            clients_connected=53,
            clients_reconnecting=7,
            problems=("n2 removed 4 s ago", "7 clients are away"),
        ),
        nodes=others,
        timeline=Timeline(
            now_at=AT,
            lanes=tuple(_lane(number, dice, away=number < away) for number in range(lanes)),
            away=away,
            back=lanes - away,
            planned=(3, 2, 1, 1, 0, 0),
            slowest_s=5.98,
            median_s=0.52,
            resumes=Resumes(ring=12, log=1, p50_ms=520.0, p99_ms=5_980.0),
        ),
        events=(*frame.events, *events),
    )


def draining() -> Frame:
    """Return a cluster in which a node is being drained."""
    frame = healthy()
    leaving = node(
        "n1",
        state=NodeState.DRAINING,
        since_s=3.2,
        detail="12",
        connections=12,
        connections_delta=-8,
        why="draining: 12 of 20 connections to go, about 4 s to go, deadline in 22 s",
    )
    return replace(
        frame,
        nodes=(leaving, node("n2", connections=24, connections_delta=4), node("n3", connections=24)),
        header=replace(frame.header, health=Health.DEGRADED, nodes_online=2, problems=("n1 is draining: 12 left",)),
        actions=(ActionRow(key=1, at=AT - 3.2, text="drain n1", done=False),),
    )


def starting() -> Frame:
    """Return a cluster that is coming up."""
    return Frame(
        header=Header(cluster="demo", health=Health.STARTING, at=AT, nodes_online=0, nodes_total=3),
        nodes=(
            node("n1", state=NodeState.JOINING, since_s=0.4, connections=0, messages_in_s=None, messages_out_s=None),
        ),
        start=(
            StartStep(name="redis", done=True, seconds=0.05, detail="valkey 9.0 on a private socket"),
            StartStep(name="checker", done=True, seconds=0.31),
            StartStep(name="nodes", done=False, detail="1 of 3"),
            StartStep(name="gateway", done=False),
            StartStep(name="clients", done=False),
        ),
        timeline=Timeline(now_at=AT),
    )


def ended() -> Frame:
    """Return the last picture of a cluster that is gone."""
    frame = healthy()
    return replace(
        frame,
        header=replace(frame.header, health=Health.UNREACHABLE, problems=("the supervisor is gone",)),
        ended="the cluster is gone: its supervisor (pid 41014) ended",
    )


def harmed() -> Frame:
    """Return a cluster in which all went wrong that the auditor can find, with a node in trouble."""
    frame = healthy()
    audit = Audit(
        published=12_345,
        delivered=740_697,
        lost=3,
        duplicated=1,
        inverted=2,
        never_acked=4,
        resyncs=5,
        rewound=6,
        refused=7,
        overdue=8,
        replayed=9,
    )
    ill = node(
        "n2",
        unacked=1_024,
        lagging=2,
        retransmits=17,
        troubles=(
            "redis breaker open, tries again in 3 s",
            "feeds room.1, room.2 stalled",
            "2 sessions do not keep up",
        ),
    )
    return replace(
        frame,
        header=replace(
            frame.header, health=Health.DEGRADED, audit=audit, problems=("3 messages lost, the last 2.0 s ago",)
        ),
        nodes=(frame.nodes[0], ill, frame.nodes[2]),
        timeline=Timeline(now_at=AT, resumes=Resumes(ring=40, log=3, resync=5, stale=1, p50_ms=210.0, p99_ms=1_400.0)),
    )


def hostile() -> Frame:
    """Return a frame whose every text is out to harm a terminal."""
    frame = removed()
    return replace(
        frame,
        header=replace(
            frame.header,
            cluster=HOSTILE,
            problems=(HOSTILE, HOSTILE * 9),
            audit=Audit(
                published=10**18, delivered=-1, lost=10**30, duplicated=None, never_acked=-(10**30), silent_s=1e18
            ),
        ),
        nodes=tuple(
            replace(
                row,
                id=HOSTILE,
                why=HOSTILE,
                detail=HOSTILE,
                process=HOSTILE,
                address=HOSTILE,
                fault=HOSTILE,
                troubles=(HOSTILE, HOSTILE * 9),
                unacked=10**30,
                lagging=-(10**30),
                retransmits=10**18,
            )
            for row in frame.nodes
        ),
        services=tuple(
            replace(row, id=HOSTILE, state=HOSTILE, detail=HOSTILE, good=number % 2 == 0)
            for number, row in enumerate(frame.services)
        ),
        timeline=replace(
            frame.timeline,
            lanes=tuple(replace(row, client=HOSTILE, summary=HOSTILE) for row in frame.timeline.lanes),
            resumes=Resumes(ring=10**30, log=-1, resync=10**18, p50_ms=math.inf, p99_ms=-1e18),
        ),
        events=tuple(
            replace(row, text=HOSTILE, plural=HOSTILE, source=HOSTILE, node=None, client=None) for row in frame.events
        ),
        ended=HOSTILE,
        actions=(ActionRow(key=9, at=AT, text=HOSTILE, done=True, ok=False, message=HOSTILE),),
    )


EXAMPLES = {
    "healthy": healthy,
    "suspect": suspect,
    "removed": removed,
    "draining": draining,
    "starting": starting,
    "ended": ended,
    "harmed": harmed,
    "hostile": hostile,
}
