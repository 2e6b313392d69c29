"""What the checker holds true of one node.

Theory of operation. A `NodeHealth` is fed with what probes and the registry tell, one event at a time, and answers
with findings: transitions, counted misses, old boots. It also says when the next probe is due, so that the rhythm,
which the bounds depend on, is decided here and not in the shell.

    (left) ── registered ──> joining ── 2 heartbeats, 1 HTTP ──> online
    online ── first counted failure, or end of the admin connection ──> suspect
    suspect ── every failing kind succeeds once ──> online
    suspect ── k heartbeats, k' HTTP checks in a row, or hard evidence ──> removed
    removed ── answers ──> recovering ── 2 heartbeats, 1 HTTP ──> online
    any ── by the node's own word ──> draining ──> left

Hard evidence is a process that is gone: after the end of its admin connection two connects were refused some time
apart, or a later boot of the node has appeared. With interval I, timeout T and round trip d of a kind of probe, a node
silent for less than (k-1)I+T-d is never removed, one silent for more than kI+T always is: misses count only if they
were asked for at least I apart, and only if the checker's own timer was on time.

All `now` are monotonic seconds handed in by the caller.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState

HEARTBEATS_TO_COME_BACK = 2
HTTP_TO_COME_BACK = 1
JOINING_HASTE = 4
"""A joining node is asked this many times as often: nothing depends on it yet, and people wait for it."""
LEFT_KEPT_S = 60.0
"""A node that left stays listed this long, for whoever looks up where it went."""
HARD_REFUSALS = 2


class ProbeTiming(Protocol):
    """One kind of probe: asked every `interval_s`, answered within `timeout_s`, decided by `failures` in a row."""

    @property
    def interval_s(self) -> float: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def failures(self) -> int: ...


class HealthTiming(Protocol):
    """The timings that judge a node."""

    @property
    def heartbeat(self) -> ProbeTiming: ...
    @property
    def http(self) -> ProbeTiming: ...
    @property
    def refused_gap_s(self) -> float: ...


class Kind(StrEnum):
    """What an answer or a removal is based on."""

    HEARTBEAT = "heartbeat"
    HTTP = "http"
    CLOSED = "closed"
    """The admin connection ended."""
    GONE = "gone"
    """Hard evidence: the process does not exist any more."""
    WORD = "word"
    """The node itself, or its registry entry, says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The registry lists the node with this boot."""

    boot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregistered:
    """The registry does not list the node: `clean` if the entry was taken back, else the lease ran out."""

    clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatOk:
    """A ping on the admin connection was answered."""

    boot: int
    rtt_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatMissed:
    """No answer in time; `late_s` is how late the checker's own timer fired."""

    why: str = ""
    late_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminClosed:
    """The admin connection ended from the other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectRefused:
    """Nobody listens at the admin socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOk:
    """`/health` answered 200; `boot` if the answer named it."""

    boot: int | None = None
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFailed:
    """`/health` did not answer 200 in time; `why` is a few words."""

    why: str
    status: int | None = None
    late_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSays:
    """The node's own word on its state."""

    boot: int
    state: NodeState


HealthEvent: TypeAlias = (
    Registered
    | Unregistered
    | HeartbeatOk
    | HeartbeatMissed
    | AdminClosed
    | ConnectRefused
    | HttpOk
    | HttpFailed
    | NodeSays
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a transition rests on. `last_ok` is the monotonic time of the last answer of this kind."""

    kind: Kind
    failed: int | None = None
    needed: int | None = None
    last_ok: float | None = None
    refused: int | None = None
    status: int | None = None

    def to_object(self, *, offset_s: float) -> JsonObject:
        """Return the JSON object; `offset_s` turns monotonic times into Unix ones."""
        document: JsonObject = {"kind": str(self.kind)}
        for name in ("failed", "needed", "refused", "status"):
            value: int | None = getattr(self, name)
            if value is not None:
                document[name] = value
        if self.last_ok is not None:
            document["last_ok"] = round(self.last_ok + offset_s, 3)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The node moved from `old` to `new`. What is not registered counts as `left`."""

    node: str
    old: NodeState
    new: NodeState
    reason: str
    evidence: Evidence
    boot: int | None
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MissCounted:
    """A heartbeat counted as missed: `count` in a row, `needed` decide."""

    count: int
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OldBoot:
    """Something of an earlier life of the node spoke up and was ignored."""

    boot: int
    known: int


Finding: TypeAlias = Transition | MissCounted | OldBoot


class Probe:
    """One kind of probe of one node: its rhythm and its row of successes or failures."""

    __slots__ = ("_counted", "asked", "due", "failed", "in_flight", "last_ok", "passed", "rtt_s", "status", "timing")

    def __init__(self, timing: ProbeTiming, *, now: float) -> None:
        self.timing = timing
        self.due = now
        """When to ask next."""
        self.asked = now
        self.in_flight = False
        self.failed = 0
        """Counted failures in a row, at most as many as decide."""
        self.passed = 0
        """Successes in a row since the node began to join or to recover."""
        self.last_ok: float | None = None
        self.rtt_s: float | None = None
        self.status: int | None = None
        self._counted = -math.inf

    def ask(self, now: float, *, haste: int) -> None:
        """Say that the probe is on its way; the next one is due an interval after this one really left."""
        self.asked = now
        self.in_flight = True
        self.due = now + self.timing.interval_s / haste

    def pass_(self, now: float) -> None:
        """Take a success."""
        self.in_flight = False
        self.failed = 0
        self.passed += 1
        self.last_ok = now
        self._counted = -math.inf

    def fail(self, *, late_s: float) -> bool:
        """Take a failure; return whether it counts."""
        self.in_flight = False
        on_time = late_s <= self.timing.timeout_s / 2
        # A retry between two regular probes must not shorten the least time to removal.
        apart = self.asked - self._counted >= self.timing.interval_s * 0.999
        if not (on_time and apart):
            return False
        self._counted = self.asked
        self.passed = 0
        self.failed = min(self.failed + 1, self.timing.failures)
        return True

    def forgive(self, now: float) -> None:
        """Forget failures and successes and ask at once."""
        self.failed = self.passed = 0
        self.in_flight = False
        self.due = now
        self._counted = -math.inf

    @property
    def decided(self) -> bool:
        """Whether the failures suffice for removal."""
        return self.failed >= self.timing.failures

    @property
    def decides_at(self) -> float:
        """When the failures will suffice if every probe from now on fails."""
        following = self.asked if self.in_flight else self.due
        return (
            following + self.timing.timeout_s + max(self.timing.failures - self.failed - 1, 0) * self.timing.interval_s
        )


class NodeHealth:
    """State machine of one node. A new one is `left`: what never registered is not part of the cluster."""

    def __init__(self, node: str, timing: HealthTiming, *, now: float, phase: float = 0.0) -> None:
        """`phase` in [0, 1) shifts this node's probes within the interval, so that not all nodes are asked at once."""
        assert 0 <= phase < 1
        self.node = node
        self.state = NodeState.LEFT
        self.since = now
        self.reason = ""
        self.evidence = Evidence(kind=Kind.WORD)
        self.boot: int | None = None
        self.says: NodeState | None = None
        """The node's own last word."""
        self.registered = False
        self.connected = False
        """Whether its admin connection is known to work."""
        self.heartbeat = Probe(timing.heartbeat, now=now)
        self.http = Probe(timing.http, now=now)
        self.uncounted = 0
        """Failures that did not count because our own timer was late."""
        self._timing = timing
        self._phase = phase
        self._lease_ran_out = False
        self._refused = 0
        self._refused_first = now
        self._old_boot_reported: int | None = None
        self._findings: list[Finding] = []

    def inherit(self, state: NodeState, *, since: float, reason: str, kind: Kind | None, boot: int | None) -> None:
        """Take over an earlier leader's verdict: the state, not the counts of misses."""
        self.state = state
        self.since = since
        self.reason = reason
        self.evidence = Evidence(kind=kind or Kind.WORD)
        self.boot = boot
        self.heartbeat.failed = self.http.failed = 0

    @property
    def next_probe_at(self) -> float:
        """When the next probe of any kind is due; infinite for a node that left."""
        return min(self.due(Kind.HEARTBEAT), self.due(Kind.HTTP))

    def due(self, kind: Kind) -> float:
        """Return when the next probe of this kind is due; infinite for a node that left."""
        return math.inf if self.state is NodeState.LEFT else self._probe(kind).due

    def ask(self, kind: Kind, now: float) -> None:
        """Say that a probe of this kind leaves now. Every probe ends in one event to `step`."""
        self._probe(kind).ask(now, haste=JOINING_HASTE if self.state is NodeState.JOINING else 1)

    @property
    def removal_window(self) -> tuple[float, float] | None:
        """Return the earliest and the latest time of removal of a suspect that stays silent; None for others."""
        if self.state is not NodeState.SUSPECT:
            return None
        failing = [probe.decides_at for probe in (self.heartbeat, self.http) if probe.failed]
        earliest = [self.heartbeat.decides_at, self.http.decides_at]
        if not self.connected:
            failing.append(self.heartbeat.decides_at)
            first = self._refused_first if self._refused else self.heartbeat.due
            earliest.append(first + self._timing.refused_gap_s)
        return min(earliest), min(failing, default=self.heartbeat.decides_at)

    def forgettable(self, now: float) -> bool:
        """Say whether a node that left has been listed long enough."""
        return self.state is NodeState.LEFT and not self.registered and now - self.since >= LEFT_KEPT_S

    def step(self, event: HealthEvent, now: float) -> tuple[Finding, ...]:
        """Take one event in; return what follows from it, in order."""
        self._findings = []
        match event:
            case Registered(boot=boot):
                self.registered, self._lease_ran_out = True, False
                self._meet(boot, now)
            case Unregistered(clean=clean):
                self._unregister(now, clean=clean)
            case HeartbeatOk(boot=boot, rtt_s=rtt_s):
                if self._meet(boot, now):
                    self.connected, self._refused = True, 0
                    self.heartbeat.rtt_s = rtt_s
                    self._passed(self.heartbeat, Kind.HEARTBEAT, now)
            case HttpOk(boot=boot, status=status):
                if boot is None or self._meet(boot, now):
                    self.http.status = status
                    self._passed(self.http, Kind.HTTP, now)
            case HeartbeatMissed(why=why, late_s=late_s):
                self._failed(self.heartbeat, Kind.HEARTBEAT, now, why=why, late_s=late_s)
            case HttpFailed(why=why, status=status, late_s=late_s):
                self.http.status = status
                self._failed(self.http, Kind.HTTP, now, why=why, late_s=late_s)
            case AdminClosed():
                self._close(now)
            case ConnectRefused():
                self._refuse(now)
            case NodeSays(boot=boot, state=state):
                if self._meet(boot, now):
                    self._hear(state, now)
        return tuple(self._findings)

    def _probe(self, kind: Kind) -> Probe:
        return self.http if kind is Kind.HTTP else self.heartbeat

    def _move(self, new: NodeState, reason: str, evidence: Evidence, now: float) -> None:
        self._findings.append(
            Transition(
                node=self.node, old=self.state, new=new, reason=reason, evidence=evidence, boot=self.boot, now=now
            )
        )
        self.state, self.since, self.reason, self.evidence = new, now, reason, evidence

    def _meet(self, boot: int, now: float) -> bool:
        """Compare a boot with the one we know; return False for one that is over."""
        known = self.boot
        if known is not None and boot < known:
            if boot != self._old_boot_reported:
                self._old_boot_reported = boot
                self._findings.append(OldBoot(boot=boot, known=known))
            return False
        if known is None and self.state is not NodeState.LEFT:
            self.boot = boot  # Inherited without a boot: the life that we find is the one that was judged.
        elif known is None or boot > known:
            self._begin_life(boot, now)
        return True

    def _begin_life(self, boot: int, now: float) -> None:
        """Another process stands for the node: the earlier one is gone, this one has to join."""
        if self.state in (NodeState.ONLINE, NodeState.SUSPECT, NodeState.RECOVERING):
            self._move(
                NodeState.REMOVED, "its process is gone: another one took its place", Evidence(kind=Kind.GONE), now
            )
        elif self.state is NodeState.DRAINING:
            self._move(NodeState.LEFT, "drained, and started again", Evidence(kind=Kind.WORD), now)
        self.boot = boot
        self.says = None
        self.connected, self._refused = False, 0
        self.heartbeat.forgive(now)
        self.http.forgive(now)
        if self.state is not NodeState.JOINING:
            self._move(NodeState.JOINING, "registered", Evidence(kind=Kind.WORD), now)

    def _passed(self, probe: Probe, kind: Kind, now: float) -> None:
        last_ok = probe.last_ok
        probe.pass_(now)
        if self.state is NodeState.SUSPECT:
            if self.connected and not self.heartbeat.failed and not self.http.failed:
                self._move(
                    NodeState.ONLINE, f"{_NAMES[kind]} answered again{_after(last_ok, now)}", Evidence(kind=kind), now
                )
            return
        if self.state is NodeState.REMOVED and self._answers_what_removed_it(kind):
            self.heartbeat.passed = self.http.passed = 0
            probe.passed = 1
            self._move(NodeState.RECOVERING, f"answers again{_after(last_ok, now)}", Evidence(kind=kind), now)
        if (
            self.state in (NodeState.JOINING, NodeState.RECOVERING)
            and self.heartbeat.passed >= HEARTBEATS_TO_COME_BACK
            and self.http.passed >= HTTP_TO_COME_BACK
        ):
            self._admit(kind, now)

    def _answers_what_removed_it(self, kind: Kind) -> bool:
        """Whoever was removed for failing HTTP checks does not recover by answering heartbeats, which it always did."""
        return kind is (Kind.HTTP if self.evidence.kind is Kind.HTTP else Kind.HEARTBEAT)

    def _admit(self, kind: Kind, now: float) -> None:
        if self.says is NodeState.DRAINING:
            self._move(NodeState.DRAINING, "drains by its own word", Evidence(kind=Kind.WORD), now)
            return
        self._move(
            NodeState.ONLINE,
            f"{HEARTBEATS_TO_COME_BACK} heartbeats and {HTTP_TO_COME_BACK} HTTP check answered",
            Evidence(kind=kind),
            now,
        )
        for probe in (self.heartbeat, self.http):
            probe.due = now + probe.timing.interval_s * self._phase

    def _failed(self, probe: Probe, kind: Kind, now: float, *, why: str, late_s: float) -> None:
        if not probe.fail(late_s=late_s):
            self.uncounted += 1
            return
        needed = probe.timing.failures
        silent = self._lease_ran_out and self.heartbeat.decided
        if self.state is NodeState.DRAINING and silent and kind is Kind.HEARTBEAT:
            reason = "fell silent while draining, and its lease ran out"
            self._move(NodeState.REMOVED, reason, self._evidence(probe, kind), now)
        if self.state not in (NodeState.ONLINE, NodeState.SUSPECT, NodeState.RECOVERING):
            return
        if kind is Kind.HEARTBEAT:
            self._findings.append(MissCounted(count=probe.failed, needed=needed))
        verb = "missed" if kind is Kind.HEARTBEAT else "failed"
        reason = f"{_NAMES[kind]} {probe.failed}/{needed} {verb}{f' ({why})' if why else ''}"
        reason += ", never answered" if probe.last_ok is None else f", last answer {now - probe.last_ok:.1f} s ago"
        if probe.decided:
            self._move(NodeState.REMOVED, reason, self._evidence(probe, kind), now)
        elif self.state is NodeState.ONLINE:
            self._move(NodeState.SUSPECT, reason, self._evidence(probe, kind), now)

    def _evidence(self, probe: Probe, kind: Kind) -> Evidence:
        return Evidence(
            kind=kind,
            failed=probe.failed,
            needed=probe.timing.failures,
            last_ok=probe.last_ok,
            status=probe.status if kind is Kind.HTTP else None,
        )

    def _close(self, now: float) -> None:
        if not self.connected:
            return
        self.connected, self._refused = False, 0
        self.heartbeat.due = now  # Whether somebody still listens is worth knowing at once.
        self.heartbeat.passed = 0
        if self.state is NodeState.LEFT:
            return
        if not self.registered and not self._lease_ran_out:
            self._move(NodeState.LEFT, _TOOK_BACK, Evidence(kind=Kind.WORD), now)
        elif self.state is NodeState.ONLINE:
            evidence = Evidence(kind=Kind.CLOSED, last_ok=self.heartbeat.last_ok)
            self._move(NodeState.SUSPECT, "its admin connection ended", evidence, now)

    def _refuse(self, now: float) -> None:
        self.connected = False
        self.heartbeat.in_flight = False
        self.heartbeat.passed = 0
        self._refused += 1
        if self._refused == 1:
            self._refused_first = now
            self.heartbeat.due = min(self.heartbeat.due, now + self._timing.refused_gap_s)
        evidence = Evidence(kind=Kind.GONE, refused=self._refused, last_ok=self.heartbeat.last_ok)
        apart_s = now - self._refused_first
        hard = self._refused >= HARD_REFUSALS and apart_s >= self._timing.refused_gap_s
        match self.state:
            case NodeState.DRAINING:
                self._move(NodeState.LEFT, "drained, and its process is gone", evidence, now)
            case NodeState.ONLINE | NodeState.SUSPECT | NodeState.RECOVERING | NodeState.JOINING if hard:
                reason = f"its process is gone: {self._refused} connects refused within {apart_s:.1f} s"
                self._move(NodeState.REMOVED, reason, evidence, now)
            case NodeState.ONLINE:
                self._move(NodeState.SUSPECT, "nobody listens at its admin socket", evidence, now)
            case _:
                pass

    def _hear(self, word: NodeState, now: float) -> None:
        self.says = word
        evidence = Evidence(kind=Kind.WORD)
        match word, self.state:
            case NodeState.LEFT, NodeState.LEFT:
                pass
            case NodeState.LEFT, _:
                self._move(NodeState.LEFT, "left by its own word", evidence, now)
            case NodeState.DRAINING, NodeState.ONLINE | NodeState.SUSPECT | NodeState.JOINING | NodeState.RECOVERING:
                self._move(NodeState.DRAINING, "drains by its own word", evidence, now)
            case NodeState.ONLINE, NodeState.DRAINING:
                self.heartbeat.failed = self.http.failed = 0
                self._move(NodeState.ONLINE, "the drain was called off", evidence, now)
            case NodeState.ONLINE, NodeState.LEFT:
                self.heartbeat.forgive(now)
                self.http.forgive(now)
                self._move(NodeState.JOINING, "is back by its own word", evidence, now)
            case _:
                pass  # Joining and the like: what probes find out is worth more.

    def _unregister(self, now: float, *, clean: bool) -> None:
        self.registered, self._lease_ran_out = False, not clean
        if self.connected or self.state in (NodeState.LEFT, NodeState.REMOVED):
            return  # It answers: a registry that lost its data takes no node away.
        if clean:
            self._move(NodeState.LEFT, _TOOK_BACK, Evidence(kind=Kind.WORD), now)
        elif self.state is NodeState.JOINING:
            self._move(NodeState.LEFT, "its lease ran out before it came online", Evidence(kind=Kind.WORD), now)


_NAMES = {Kind.HEARTBEAT: "heartbeat", Kind.HTTP: "HTTP check"}
_TOOK_BACK = "took its registry entry back"


def _after(last_ok: float | None, now: float) -> str:
    return "" if last_ok is None else f" after {now - last_ok:.1f} s"
