"""What the checker holds true of one node.

Theory of operation. A `NodeHealth` is fed with what probes, other nodes and the registry tell, one event at a time, and
answers with findings: transitions, counted misses, what was refused. `tick` lets time pass, and says which probe to
send, whom else to ask, and which probe to give up. So the rhythm, which the bounds depend on, is decided here and not
in the shell.

    (left) ── registered ──> joining ── 2 heartbeats, 1 HTTP ──> online
    online ── first counted failure, or end of the admin connection ──> suspect
    suspect ── every failing kind succeeds once ──> online
    suspect ── k heartbeats, k' HTTP checks in a row, or hard evidence ──> removed
    removed ── answers ──> recovering ── 2 heartbeats, 1 HTTP ──> online
    removed ── answers, but went down too often lately ──> quarantined ── in time ──> recovering
    any ── by the node's own word ──> draining ──> left

A probe fails if no answer came within its patience T *and* none of two other online nodes, asked at T/2, reached the
node in the rest of it. An answer that says no, such as HTTP 500, needs no confirmation. Hard evidence is a process that
is gone: after the end of its admin connection two connects were refused some time apart, or a later boot of the node
has appeared.

With interval I, timeout T and round trip d of a kind of probe, a node silent for less than (k-1)I+T-d is never removed,
one silent for more than kI+T always is: misses count only if they were asked for at least I apart, and only if the
checker's own timer was on time. Three things bend the upper bound, and each of them is shown: doubt of ourselves makes
T longer (never longer than I), the panic floor and an operator's hold keep a node where it is.

All `now` are monotonic seconds handed in by the caller.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from sample_cluster.core.classify import LinkState, LinkWatch, Trouble, in_words
from sample_cluster.core.flap import Flap
from sample_cluster.core.probe import Probe, ProbeTiming, Said
from wsmon.protocol.frames import Json, JsonObject, ReadOnlyJson
from wsmon.protocol.states import NodeState

HEARTBEATS_TO_COME_BACK = 2
HTTP_TO_COME_BACK = 1
JOINING_HASTE = 4
"""A joining node is asked this many times as often: nothing depends on it yet, and people wait for it."""
LEFT_KEPT_S = 60.0
"""A node that left stays listed this long, for whoever looks up where it went."""
HARD_REFUSALS = 2
HURRY_S = 1.0
"""So long after the end of its admin connection a node is dialled again and again.

A dying process may still take a connection and end it at once: the next one is refused, and that is the evidence.
"""
HURRIES_IN_GAP = 5
HELPERS = 2
HELPER_SHARE = 0.9
"""Of the time that is left, so that a helper's `no` is here before the time is over."""


class HealthTiming(Protocol):
    """The timings that judge a node."""

    @property
    def heartbeat(self) -> ProbeTiming: ...
    @property
    def http(self) -> ProbeTiming: ...
    @property
    def refused_gap_s(self) -> float: ...
    @property
    def flap_half_life_s(self) -> float: ...


class Circumstances(Protocol):
    """What the judgement of a node depends on, beyond the node."""

    @property
    def judging(self) -> bool:
        """Whether findings may move a node: we lead, see Redis, and trust our clock."""
        ...

    @property
    def counting(self) -> bool:
        """Whether a failure says anything about the node."""
        ...

    @property
    def score(self) -> int:
        """How much we doubt ourselves."""
        ...

    def may_go(self) -> bool:
        """Say whether one more node may be taken out on soft evidence."""
        ...

    def helpers(self, node: str) -> tuple[str, ...]:
        """Return other nodes to ask about this one, at most `HELPERS`."""
        ...


class Alone:
    """Circumstances of a node that nobody else is there for. Implements `Circumstances`."""

    judging = True
    counting = True
    score = 0

    def may_go(self) -> bool:
        """Say yes."""
        return True

    def helpers(self, node: str) -> tuple[str, ...]:  # noqa: ARG002  # There is nobody.
        """Return nobody."""
        return ()


class Kind(StrEnum):
    """What an answer or a removal is based on."""

    HEARTBEAT = "heartbeat"
    HTTP = "http"
    CLOSED = "closed"
    """The admin connection ended."""
    GONE = "gone"
    """Hard evidence: the process does not exist any more."""
    WORD = "word"
    """The node itself says so, or its first registration."""
    REGISTRY = "registry"
    """The registry does not list it any more."""
    HELD = "held"
    """An operator says so."""


PROBES: Final = (Kind.HEARTBEAT, Kind.HTTP)


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
class HeartbeatLate:
    """The ping that was sent at `asked` was given up, and has been answered since. It counts for the link alone."""

    asked: float
    rtt_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOk:
    """`/health` answered 200; `boot` if the answer named it."""

    boot: int | None = None
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A probe ended before its time and without an answer, such as by a reset. `why` is a few words."""

    kind: Kind
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """A probe was answered, but not as by a node that is well. `why` is a few words."""

    kind: Kind
    why: str
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unasked:
    """A probe could not be made, or its answer says nothing: it counts for nothing."""

    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Impostor:
    """Who answers says that it is `claims`, which is another node."""

    kind: Kind
    claims: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperSaid:
    """Another node was asked about the probe that was sent at `asked`."""

    kind: Kind
    asked: float
    helper: str
    said: Said


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminClosed:
    """The admin connection ended from the other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectRefused:
    """Nobody listens at the admin socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSays:
    """The node's own word on its state."""

    boot: int
    state: NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An operator wants the node in `state` until `until`, whatever is found."""

    state: NodeState
    until: float
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An operator ends a hold."""

    by: str


HealthEvent: TypeAlias = (
    Registered
    | Unregistered
    | HeartbeatOk
    | HeartbeatLate
    | HttpOk
    | Broken
    | Denied
    | Unasked
    | Impostor
    | HelperSaid
    | AdminClosed
    | ConnectRefused
    | NodeSays
    | Hold
    | Release
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a transition rests on. All times are monotonic."""

    kind: Kind
    failed: int | None = None
    needed: int | None = None
    last_ok: float | None = None
    """The last answer of this kind."""
    asked: float | None = None
    """When the probe left that decided it."""
    answer: str = ""
    """What came back, in words."""
    status: int | None = None
    refused: int | None = None
    helpers: tuple[tuple[str, Said], ...] = ()
    """Who else was asked, and what they said."""
    penalty: float = 0.0
    """What stood in the node's account for removals."""
    link: str = ""
    """What was wrong with the way to the node, in a word; empty if nothing was."""
    until: float | None = None
    """End of an operator's hold, which lives on under the next leader."""
    by: str = ""

    def to_object(self, *, offset_s: float) -> JsonObject:
        """Return the JSON object; `offset_s` turns monotonic times into Unix ones."""
        document: JsonObject = {"kind": str(self.kind)}
        for name in ("failed", "needed", "refused", "status"):
            value: int | None = getattr(self, name)
            if value is not None:
                document[name] = value
        for name, moment in (("last_ok", self.last_ok), ("asked_at", self.asked), ("until", self.until)):
            if moment is not None:
                document[name] = round(moment + offset_s, 3)
        for name, text in (("answer", self.answer), ("link", self.link), ("by", self.by)):
            if text:
                document[name] = text
        if self.helpers:
            document["helpers"] = {helper: str(said) for helper, said in self.helpers}
        if self.penalty >= 1:
            document["penalty"] = round(self.penalty)
        return document

    @staticmethod
    def inherited(document: ReadOnlyJson, *, offset_s: float) -> "Evidence":
        """Return what of an earlier leader's evidence still matters; what does not fit is left out."""
        word, penalty, until, by = (document.get(name) for name in ("kind", "penalty", "until", "by"))
        return Evidence(
            kind=Kind(word) if isinstance(word, str) and word in list(Kind) else Kind.WORD,
            penalty=_number(penalty) or 0.0,
            until=None if (at := _number(until)) is None else at - offset_s,
            by=by if isinstance(by, str) else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The node moved from `old` to `new`. What is not registered counts as `left`.

    Where both are the same, only the reason is new.
    """

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

    node: str
    count: int
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OldBoot:
    """Something of an earlier life of the node spoke up and was ignored."""

    node: str
    boot: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongName:
    """At the node's address somebody answered who says that it is `claims`; the answer was refused."""

    node: str
    kind: Kind
    claims: str


Finding: TypeAlias = Transition | MissCounted | OldBoot | WrongName


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a probe; one of this kind that is still on its way is over."""

    node: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class AskHelpers:
    """Ask other nodes whether they reach this one within `within_s`; tell each answer as `HelperSaid`."""

    node: str
    kind: Kind
    asked: float
    helpers: tuple[str, ...]
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The probe was decided without its answer."""

    node: str
    kind: Kind


Deed: TypeAlias = Send | AskHelpers | GiveUp


class NodeHealth:
    """State machine of one node. A new one is `left`: what never registered is not part of the cluster."""

    def __init__(
        self, node: str, timing: HealthTiming, *, now: float, phase: float = 0.0, around: Circumstances | None = None
    ) -> None:
        """`phase` in [0, 1) shifts this node's probes within the interval, so that not all nodes are asked at once."""
        assert 0 <= phase < 1
        self.node = node
        self.state = NodeState.LEFT
        self.since = now
        self.reason = ""
        self.evidence = Evidence(kind=Kind.WORD)
        self.boot: int | None = None
        self.says: NodeState | None = None
        """The node's own last word in this life of it."""
        self.registered = False
        self.connected = False
        """Whether its admin connection is known to work."""
        self.heartbeat = Probe(timing.heartbeat, now=now)
        self.http = Probe(timing.http, now=now)
        self.uncounted = 0
        """Failures that did not count because our own timer was late, or for coming too soon."""
        self.link = self._new_link(timing, now)
        """The way to it. The shell tells it what the kernel says."""
        self.flap = Flap(half_life_s=timing.flap_half_life_s, now=now)
        self.hold: Hold | None = None
        self.held_by_panic = False
        """Whether it would be removed if not too many were."""
        self.hard = False
        """Whether it is out because its process is gone."""
        self._timing = timing
        self._around: Circumstances = Alone() if around is None else around
        self._phase = phase
        self._lease_ran_out = False
        self._refused = 0
        self._refused_first = now
        self._hurry_until = -math.inf
        self._word: NodeSays | None = None
        """The last word that came from it, even if it is of a life that we do not judge yet: it is said only once."""
        self._old_boot_reported: int | None = None
        self._claims_reported: str | None = None
        self._findings: list[Finding] = []
        self._deeds: list[Deed] = []

    def inherit(self, state: NodeState, *, since: float, reason: str, evidence: Evidence, boot: int | None) -> None:
        """Take over an earlier leader's verdict: the state, not the counts of misses."""
        if boot != self.boot:  # What an earlier life of it said is over.
            self.says = self._word.state if self._word is not None and self._word.boot == boot else None
        self.state = state
        self.since = since
        self.reason = reason
        self.evidence = evidence
        self.boot = boot
        self.held_by_panic = False
        self.hard = state is NodeState.REMOVED and evidence.kind is Kind.GONE
        self.flap.inherit(evidence.penalty, at=since)
        if evidence.kind is not Kind.HELD or evidence.until is None:
            self.hold = None
        elif self.hold is None or self.hold.until != evidence.until:
            self.hold = Hold(state=state, until=evidence.until, by=evidence.by)

    @staticmethod
    def _new_link(timing: HealthTiming, now: float) -> LinkWatch:
        # After a standstill all answers come at once: of those, at most one is younger than this.
        return LinkWatch(late_s=timing.heartbeat.interval_s, now=now)

    def link_state(self, now: float) -> LinkState:
        """Return what is wrong with the way to the node."""
        return self.link.state(now, gone=not self.connected and self._refused > 0)

    def forgive(self) -> None:
        """Forget every count: what was found until now says nothing any more."""
        self.heartbeat.forgive()
        self.http.forgive()
        self._refused = 0

    def resume(self, now: float) -> None:
        """Say that findings count again: what is unsettled is asked at once."""
        if self.state not in (NodeState.ONLINE, NodeState.LEFT) or not self.connected:
            self.heartbeat.due = min(self.heartbeat.due, now)
        for probe in (self.heartbeat, self.http):
            if probe.failed:
                probe.due = min(probe.due, now)

    # When what happens.

    @property
    def next_probe_at(self) -> float:
        """When the next probe of any kind is due; infinite for a node that left."""
        return min(self.due(kind) for kind in PROBES)

    def due(self, kind: Kind) -> float:
        """Return when the next probe of this kind is due; infinite for a node that left."""
        return math.inf if self.state is NodeState.LEFT else self._probe(kind).due

    @property
    def deadline(self) -> float:
        """When to call `tick` next."""
        moments = [self._reuse_at, self._hold_ends_at]
        for kind in PROBES:
            probe = self._probe(kind)
            if not probe.in_flight:
                moments.append(self.due(kind))
            else:
                moments.append(probe.ends if probe.helpers_asked else probe.half)
        return min(moments)

    @property
    def _reuse_at(self) -> float:
        waits = self.state is NodeState.QUARANTINED and self.hold is None and self._around.judging
        return self.flap.reuse_at() if waits else math.inf

    @property
    def _word_unheeded(self) -> bool:
        """Whether the node says that it drains, and the table of an earlier leader made us forget it."""
        drains = self.says is NodeState.DRAINING and self.hold is None and self._around.judging
        return drains and (self.state in _SERVES or self.state is NodeState.QUARANTINED)

    @property
    def _hold_ends_at(self) -> float:
        return self.hold.until if self.hold is not None and self._around.judging else math.inf

    @property
    def removal_window(self) -> tuple[float, float] | None:
        """Return the earliest and the latest time of removal of a suspect that stays silent.

        The latest is what comes true if we doubt ourselves by one more by then. None: it will not be removed, either
        because it is no suspect, or because panic or an operator holds it, or because nothing is judged at the moment.
        """
        held = self.held_by_panic or self.hold is not None
        if self.state is not NodeState.SUSPECT or held or not self._around.judging:
            return None
        score = self._around.score
        probes = (self.heartbeat, self.http)
        earliest = [probe.decides_at(probe.patience(score)) for probe in probes]
        latest = [probe.decides_at(probe.patience(score + 1)) for probe in probes if probe.failed]
        if not self.connected:
            latest.append(self.heartbeat.decides_at(self.heartbeat.patience(score + 1)))
            asks_at = self.heartbeat.asked if self.heartbeat.in_flight else self.heartbeat.due
            first = self._refused_first if self._refused else asks_at
            earliest.append(first + self._timing.refused_gap_s)
        if not latest:  # Suspected by an earlier leader.
            latest.append(self.heartbeat.decides_at(self.heartbeat.patience(score + 1)))
        return min(earliest), min(latest)

    @property
    def silence_window_s(self) -> tuple[float, float] | None:
        """Return after how many seconds of silence from now on an online node is removed: not before, and until when.

        As for `removal_window`, the latest holds if we doubt ourselves by one more by then. None: it is not online, or
        an operator holds it.
        """
        if self.state is not NodeState.ONLINE or self.hold is not None:
            return None
        round_trip_s = math.ceil((self.heartbeat.rtt_s or 0.0) * 100) / 100
        timings = [probe.timing for probe in (self.heartbeat, self.http)]
        least_s = min((timing.failures - 1) * timing.interval_s + timing.timeout_s for timing in timings)
        beat = self.heartbeat.timing
        most_s = beat.failures * beat.interval_s + self.heartbeat.patience(self._around.score + 1)
        return max(least_s - round_trip_s, 0.0), most_s

    def forgettable(self, now: float) -> bool:
        """Say whether a node that left has been listed long enough."""
        return self.state is NodeState.LEFT and not self.registered and now - self.since >= LEFT_KEPT_S

    # What happens.

    def tick(self, now: float) -> tuple[Finding | Deed, ...]:
        """Let time pass; return what follows, in order. Calling too early does nothing."""
        self._findings, self._deeds = [], []
        if self.hold is not None and now >= self._hold_ends_at:
            self._end_hold(f"the hold by {self.hold.by} is over", now)
        if now >= self._reuse_at:
            self._move(NodeState.RECOVERING, "was kept out long enough", Evidence(kind=Kind.WORD), now)
            self.heartbeat.passed = self.http.passed = 0
            self.heartbeat.due = self.http.due = now
        if self._word_unheeded:
            self._hear(NodeState.DRAINING, now)
        for kind in PROBES:
            probe = self._probe(kind)
            if probe.in_flight:
                # Whoever began to doubt itself meanwhile waits longer; how late we are is measured against before.
                late_s = now - probe.ends
                probe.patience_s = max(probe.patience_s, probe.patience(self._around.score))
                if now >= probe.half and not probe.helpers_asked:
                    self._ask_helpers(probe, kind, now)
                if now >= probe.ends:
                    self._settle(probe, kind, now, late_s=late_s)
            if not probe.in_flight and now >= self.due(kind):
                probe.ask(now, haste=JOINING_HASTE if self.state is NodeState.JOINING else 1, score=self._around.score)
                self._deeds.append(Send(node=self.node, kind=kind))
        return (*self._findings, *self._deeds)

    def step(self, event: HealthEvent, now: float) -> tuple[Finding | Deed, ...]:
        """Take one event in; return what follows from it, in order."""
        self._findings, self._deeds = [], []
        match event:
            case Registered(boot=boot):
                self.registered, self._lease_ran_out = True, False
                if self._meet(boot, now):
                    self._welcome(now)
            case Unregistered(clean=clean):
                self._unregister(now, clean=clean)
            case HeartbeatOk(boot=boot, rtt_s=rtt_s):
                self.heartbeat.in_flight = False
                if self._meet(boot, now):
                    self.connected, self._refused = True, 0
                    self.heartbeat.rtt_s = rtt_s
                    self.link.answered(Kind.HEARTBEAT, now, rtt_s=rtt_s)
                    self._passed(self.heartbeat, Kind.HEARTBEAT, now)
            case HeartbeatLate(asked=asked, rtt_s=rtt_s):
                self.link.late(asked, rtt_s, now)
            case HttpOk(boot=boot, status=status):
                self.http.in_flight = False
                if boot is None or self._meet(boot, now):
                    self.http.status = status
                    self.link.answered(Kind.HTTP, now)
                    self._passed(self.http, Kind.HTTP, now)
            case Broken(kind=kind, why=why):
                self._break(kind, why, now)
            case Denied(kind=kind, why=why, status=status):
                probe = self._probe(kind)
                probe.status = status
                probe.helpers = {}
                self.link.answered(kind, now)
                self._failed(probe, kind, now, answer=why, late_s=0.0)
            case Unasked(kind=kind):
                self._probe(kind).in_flight = False
            case Impostor(kind=kind, claims=claims):
                self._unmask(kind, claims, now)
            case HelperSaid():
                self._heard(event, now)
            case AdminClosed():
                self._close(now)
            case ConnectRefused():
                self._refuse(now)
            case NodeSays(boot=boot, state=state):
                self._word = event
                if self._meet(boot, now) and self.says is not state:
                    self._hear(state, now)
            case Hold():
                self._hold(event, now)
            case Release(by=by):
                if self.hold is not None:
                    self._end_hold(f"{by} ended the hold", now)
        return (*self._findings, *self._deeds)

    def _probe(self, kind: Kind) -> Probe:
        return self.http if kind is Kind.HTTP else self.heartbeat

    def _move(self, new: NodeState, reason: str, evidence: Evidence, now: float) -> None:
        if new is NodeState.REMOVED:
            self.hard = evidence.kind is Kind.GONE
            if evidence.kind is not Kind.HELD:
                self.flap.removed(now)
        elif new is not self.state:
            self.hard = False
        evidence = replace(evidence, penalty=self.flap.penalty(now))
        self._findings.append(
            Transition(
                node=self.node, old=self.state, new=new, reason=reason, evidence=evidence, boot=self.boot, now=now
            )
        )
        if new is not self.state:
            self.since = now
        self.state, self.reason, self.evidence = new, reason, evidence
        self.held_by_panic = False

    def _find(self, new: NodeState, reason: str, evidence: Evidence, now: float) -> bool:
        """Move by what was found, unless we may not judge or an operator knows better; return whether it moved."""
        if self.hold is not None or not self._around.judging:
            return False
        self._move(new, reason, evidence, now)
        return True

    def _meet(self, boot: int, now: float) -> bool:
        """Compare a boot with the one we know; return False for one that is over, or that we must not judge yet."""
        known = self.boot
        if known is not None and boot < known:
            if boot != self._old_boot_reported:
                self._old_boot_reported = boot
                self._findings.append(OldBoot(node=self.node, boot=boot, known=known))
            return False
        if known is None and self.state is not NodeState.LEFT:
            self.boot = boot  # Inherited without a boot: the life that we find is the one that was judged.
        elif known is None or boot > known:
            if not self._around.judging:
                return False
            self._begin_life(boot, now)
        return True

    def _begin_life(self, boot: int, now: float) -> None:
        """Another process stands for the node: the earlier one is gone, this one has to join."""
        if self.hold is None:
            if self.state in _JUDGED:
                reason = f"its earlier life is over: boot {boot} took its place"
                self._move(NodeState.REMOVED, reason, Evidence(kind=Kind.GONE), now)
            elif self.state is NodeState.DRAINING:
                self._move(NodeState.LEFT, "drained, and started again", Evidence(kind=Kind.WORD), now)
        self.boot = boot
        self.says = None
        self.connected, self._refused = False, 0
        self.link = self._new_link(self._timing, now)
        self.heartbeat.start_over(now)
        self.http.start_over(now)
        if self.hold is not None:
            self._hold(self.hold, now)
        elif self.state is not NodeState.JOINING:
            self._move(NodeState.JOINING, "registered", Evidence(kind=Kind.WORD), now)
        if self._word is not None and self._word.boot == boot:
            self._hear(self._word.state, now)

    def _welcome(self, now: float) -> None:
        """Let a node join again that had left by nothing but the registry, and is listed once more in the same life."""
        if (
            self.state is NodeState.LEFT
            and self.evidence.kind is Kind.REGISTRY
            and self.says not in (NodeState.DRAINING, NodeState.LEFT)
            and self._find(NodeState.JOINING, "registered again", Evidence(kind=Kind.WORD), now)
        ):
            self.heartbeat.start_over(now)
            self.http.start_over(now)

    # Answers.

    def _passed(self, probe: Probe, kind: Kind, now: float) -> None:
        last_ok = probe.last_ok
        probe.pass_(now)
        if self.state is NodeState.SUSPECT:
            self._clear(f"{_NAMES[kind]} answered again{_after(last_ok, now)}", Evidence(kind=kind), now)
            return
        if self.state is NodeState.REMOVED and self._answers_what_removed_it(kind):
            self._let_back(probe, kind, f"answers again{_after(last_ok, now)}", now)
        if (
            self.state in (NodeState.JOINING, NodeState.RECOVERING)
            and self.heartbeat.passed >= HEARTBEATS_TO_COME_BACK
            and self.http.passed >= HTTP_TO_COME_BACK
        ):
            self._admit(kind, now)

    def _clear(self, reason: str, evidence: Evidence, now: float) -> None:
        """Trust a suspect again if nothing is left to be said against it."""
        if self.connected and not self.heartbeat.failed and not self.http.failed:
            self._find(NodeState.ONLINE, reason, evidence, now)

    def _let_back(self, probe: Probe, kind: Kind, reason: str, now: float) -> None:
        if self.flap.suppressed(now):
            moved = self._find(NodeState.QUARANTINED, f"{reason}, {_TOO_OFTEN}", Evidence(kind=kind), now)
        else:
            moved = self._find(NodeState.RECOVERING, reason, Evidence(kind=kind), now)
        if moved:
            self.heartbeat.passed = self.http.passed = 0
            probe.passed = 1

    def _answers_what_removed_it(self, kind: Kind) -> bool:
        """Whoever was removed for failing HTTP checks does not recover by answering heartbeats, which it always did."""
        return kind is (Kind.HTTP if self.evidence.kind is Kind.HTTP else Kind.HEARTBEAT)

    def _admit(self, kind: Kind, now: float) -> None:
        if self.says is NodeState.DRAINING:
            self._find(NodeState.DRAINING, "it says so itself", Evidence(kind=Kind.WORD), now)
            return
        if self.state is NodeState.JOINING and self.flap.suppressed(now):
            self._find(NodeState.QUARANTINED, f"is well, {_TOO_OFTEN}", Evidence(kind=kind), now)
            return
        reason = f"{HEARTBEATS_TO_COME_BACK} heartbeats and {HTTP_TO_COME_BACK} HTTP check answered"
        if self._find(NodeState.ONLINE, reason, Evidence(kind=kind), now):
            for probe in (self.heartbeat, self.http):
                probe.due = now + probe.timing.interval_s * self._phase

    # No answers.

    def _break(self, kind: Kind, why: str, now: float) -> None:
        """Take note that the probe in flight will have no answer. What others say may still save it."""
        probe = self._probe(kind)
        if not probe.in_flight:
            return
        probe.broken = why
        if kind is Kind.HEARTBEAT and now < self._hurry_until:
            # Somebody was there and went away: very likely a process that is just dying.
            probe.in_flight = False
            probe.due = min(probe.due, now + self._timing.refused_gap_s / HURRIES_IN_GAP)
            self.uncounted += 1
            return
        if not probe.helpers_asked:
            self._ask_helpers(probe, kind, now)
        if probe.reached_by or None not in probe.helpers.values():
            self._settle(probe, kind, now, late_s=0.0)

    def _ask_helpers(self, probe: Probe, kind: Kind, now: float) -> None:
        probe.helpers_asked = True
        within_s = (probe.ends - now) * HELPER_SHARE
        helpers = self._around.helpers(self.node) if within_s > 0 else ()
        if helpers:
            probe.helpers = dict.fromkeys(helpers)
            self._deeds.append(
                AskHelpers(node=self.node, kind=kind, asked=probe.asked, helpers=helpers, within_s=within_s)
            )

    def _heard(self, told: HelperSaid, now: float) -> None:
        probe = self._probe(told.kind)
        if not probe.in_flight or told.asked != probe.asked or told.helper not in probe.helpers:
            return  # About a probe that is over.
        probe.helpers[told.helper] = told.said
        # Until its time is over the node may still answer for itself, unless it is known that it will not.
        if probe.broken is not None and (probe.reached_by or None not in probe.helpers.values()):
            self._settle(probe, told.kind, now, late_s=0.0)

    def _settle(self, probe: Probe, kind: Kind, now: float, *, late_s: float) -> None:
        """End a probe without an answer."""
        self._deeds.append(GiveUp(node=self.node, kind=kind))
        if self._around.counting and late_s <= probe.timing.timeout_s / 2:
            self.link.unanswered(kind, now, asked=probe.asked if kind is Kind.HEARTBEAT else None)
        if kind is Kind.HTTP:
            probe.status = None
        if not probe.reached_by:
            answer = f"no answer within {words_s(probe.patience_s)}" if probe.broken is None else probe.broken
            self._failed(probe, kind, now, answer=answer, late_s=late_s)
            return
        probe.vouch()
        if self.state is NodeState.SUSPECT:
            reason = f"{_NAMES[kind]} not answered, but {' and '.join(probe.reached_by)} can reach it"
            evidence = Evidence(kind=kind, asked=probe.asked, last_ok=probe.last_ok, helpers=probe.heard)
            self._clear(reason, evidence, now)

    def _failed(self, probe: Probe, kind: Kind, now: float, *, answer: str, late_s: float) -> None:
        counting = self._around.counting
        probe.in_flight = False
        if not counting or not probe.fail(late_s=late_s):
            self.uncounted += 1
            return
        needed = probe.timing.failures
        evidence = Evidence(
            kind=kind,
            failed=probe.failed,
            needed=needed,
            last_ok=probe.last_ok,
            asked=probe.asked,
            answer=answer,
            status=probe.status if kind is Kind.HTTP else None,
            helpers=probe.heard,
            link=self._link_word(now),
        )
        silent = self._lease_ran_out and self.heartbeat.decided
        if self.state is NodeState.DRAINING and silent and kind is Kind.HEARTBEAT:
            self._find(NodeState.REMOVED, "fell silent while draining, and its lease ran out", evidence, now)
        if self.state not in _JUDGED:
            return
        if kind is Kind.HEARTBEAT:
            self._findings.append(MissCounted(node=self.node, count=probe.failed, needed=needed))
        verb = "missed" if kind is Kind.HEARTBEAT else "failed"
        reason = f"{_NAMES[kind]} {probe.failed}/{needed} {verb} ({answer})"
        reason += (
            ", never answered" if probe.last_ok is None else f", last answer {words_s(now - probe.last_ok)} before"
        )
        reason += _helpers(probe)
        link = in_words(self.link_state(now))
        reason += f", {link}" if link else ""
        if probe.decided:
            self._remove(reason, evidence, now)
        elif self.state is NodeState.ONLINE:
            self._find(NodeState.SUSPECT, reason, evidence, now)

    def _remove(self, reason: str, evidence: Evidence, now: float) -> None:
        """Take the node out on soft evidence, unless too many are out already."""
        if self.state not in (NodeState.ONLINE, NodeState.SUSPECT) or self._around.may_go():
            self._find(NodeState.REMOVED, reason, evidence, now)
        elif not self.held_by_panic and self._find(NodeState.SUSPECT, f"held by panic: {reason}", evidence, now):
            self.held_by_panic = True

    def _close(self, now: float) -> None:
        if not self.connected:
            return
        self.connected, self._refused = False, 0
        # Whether somebody still listens is worth knowing at once.
        self.heartbeat.in_flight = False
        self.heartbeat.due = now
        self.heartbeat.passed = 0
        interval_s, timeout_s = self.heartbeat.timing.interval_s, self.heartbeat.timing.timeout_s
        self._hurry_until = now + min(HURRY_S, max(interval_s - timeout_s, 0.0))
        if self.state is NodeState.LEFT:
            return
        if not self.registered and not self._lease_ran_out:
            self._find(NodeState.LEFT, _TOOK_BACK, Evidence(kind=Kind.REGISTRY), now)
        elif self.state is NodeState.ONLINE:
            evidence = Evidence(kind=Kind.CLOSED, last_ok=self.heartbeat.last_ok)
            self._find(NodeState.SUSPECT, "its admin connection ended", evidence, now)

    def _refuse(self, now: float) -> None:
        self.connected = False
        self.heartbeat.in_flight = False
        self.heartbeat.passed = 0
        if not self._around.counting:
            return
        self._refused += 1
        if self._refused == 1:
            self._refused_first = now
            # Neither later nor sooner: a connect that comes too soon proves nothing.
            self.heartbeat.due = now + self._timing.refused_gap_s
        evidence = Evidence(
            kind=Kind.GONE,
            refused=self._refused,
            last_ok=self.heartbeat.last_ok,
            asked=self.heartbeat.asked,
            answer="connection refused",
            link=self._link_word(now),
        )
        apart_s = now - self._refused_first
        hard = self._refused >= HARD_REFUSALS and apart_s >= self._timing.refused_gap_s
        match self.state:
            case NodeState.DRAINING:
                self._find(NodeState.LEFT, "drained, and its process is gone", evidence, now)
            case NodeState.REMOVED if hard:
                self.hard = True  # What was removed for its silence turns out not to exist.
            case _ if hard and (self.state in _JUDGED or self.state is NodeState.JOINING):
                reason = f"its process is gone: {self._refused} connects refused within {words_s(apart_s)}"
                self._find(NodeState.REMOVED, reason, evidence, now)
            case NodeState.ONLINE:
                self._find(NodeState.SUSPECT, "nobody listens at its admin socket", evidence, now)
            case _:
                pass

    # Words.

    def _unmask(self, kind: Kind, claims: str, now: float) -> None:
        if claims != self._claims_reported:
            self._claims_reported = claims
            self._findings.append(WrongName(node=self.node, kind=kind, claims=claims))
        probe = self._probe(kind)
        probe.helpers = {}
        self._failed(probe, kind, now, answer=f"it says that it is {claims}", late_s=0.0)

    def _hear(self, word: NodeState, now: float) -> None:
        self.says = word
        evidence = Evidence(kind=Kind.WORD)
        match word, self.state:
            case NodeState.LEFT, NodeState.LEFT:
                pass
            case NodeState.LEFT, _:
                self._move(NodeState.LEFT, "it is drained", evidence, now)
            case NodeState.DRAINING, _ if self.state in _SERVES or self.state is NodeState.QUARANTINED:
                self._move(NodeState.DRAINING, "it says so itself", evidence, now)
            case NodeState.ONLINE, NodeState.DRAINING:
                self.heartbeat.failed = self.http.failed = 0
                if self.hold is None:
                    self._move(NodeState.ONLINE, "the drain was called off", evidence, now)
                else:
                    self._hold(self.hold, now)
            case NodeState.ONLINE, NodeState.LEFT:
                self.heartbeat.start_over(now)
                self.http.start_over(now)
                self._move(NodeState.JOINING, "it says it is back", evidence, now)
            case _:
                pass  # Joining and the like: what probes find out is worth more.

    def _unregister(self, now: float, *, clean: bool) -> None:
        self.registered, self._lease_ran_out = False, not clean
        if self.connected or self.state in (NodeState.LEFT, NodeState.REMOVED):
            return  # It answers: a registry that lost its data takes no node away.
        if clean:
            self._find(NodeState.LEFT, _TOOK_BACK, Evidence(kind=Kind.REGISTRY), now)
        elif self.state is NodeState.JOINING:
            self._find(NodeState.LEFT, "its lease ran out before it came online", Evidence(kind=Kind.REGISTRY), now)

    def _hold(self, hold: Hold, now: float) -> None:
        self.hold = hold
        why = f": {hold.why}" if hold.why else ""
        reason = f"held {hold.state} by {hold.by} for {words_s(max(hold.until - now, 0.0))}{why}"
        self._move(hold.state, reason, Evidence(kind=Kind.HELD, until=hold.until, by=hold.by), now)

    def _end_hold(self, reason: str, now: float) -> None:
        self.hold = None
        # Where it stands until something is found, which is looked for at once.
        self._move(self.state, reason, Evidence(kind=Kind.WORD), now)
        self.heartbeat.due = self.http.due = now

    # For people.

    def why(self, now: float) -> str:
        """Return the state and what it rests on, in one sentence."""
        if self.hold is not None or self.state is not NodeState.SUSPECT:
            told = f"{self.state}{f': {self.reason}' if self.reason else ''}"
            return f"{told}{self._prospect(now)}"
        parts = [
            self._checked(probe, kind, now)
            for probe, kind in ((self.heartbeat, Kind.HEARTBEAT), (self.http, Kind.HTTP))
        ]
        if not self.connected:
            gone = f" and {self._refused} connect{'s' if self._refused > 1 else ''} refused" if self._refused else ""
            parts.insert(0, f"no admin connection{gone}")
        failing = next((probe for probe in (self.heartbeat, self.http) if probe.failed and probe.helpers), None)
        told = ", ".join(part for part in parts if part) + ("" if failing is None else _helpers(failing))
        held = " (held by panic)" if self.held_by_panic else ""
        # Of an ended connection and of refused connects the sentence has told already.
        link = in_words(self.link_state(now)) if self.connected else ""
        return f"suspect{held}: {told}{f'; {link}' if link else ''}{self._removal(now)}"

    def _prospect(self, now: float) -> str:
        """Return what will become of a node that is no suspect, and what is to be seen on the way."""
        if self.hold is not None:
            return ""
        match self.state:
            case NodeState.JOINING | NodeState.RECOVERING:
                beats = min(self.heartbeat.passed, HEARTBEATS_TO_COME_BACK)
                checks = min(self.http.passed, HTTP_TO_COME_BACK)
                return (
                    f"; {beats} of {HEARTBEATS_TO_COME_BACK} heartbeats and {checks} of {HTTP_TO_COME_BACK}"
                    " HTTP checks answered"
                )
            case NodeState.QUARANTINED:
                kept_s = self.flap.reuse_in_s(now)
                return f"; may come back in {kept_s:.0f} s" if kept_s else ""
            case NodeState.ONLINE:
                link = in_words(self.link_state(now))
                return f"; {link}" if link else ""
            case _:
                return ""

    def _link_word(self, now: float) -> str:
        word = self.link_state(now).word
        return "" if word == Trouble.NONE else word

    def _checked(self, probe: Probe, kind: Kind, now: float) -> str:
        ago = "never answered" if probe.last_ok is None else f"{words_s(now - probe.last_ok)} ago"
        if not probe.failed:
            return "" if probe.last_ok is None else f"{kind} ok {ago}"
        verb = "missed" if kind is Kind.HEARTBEAT else "failed"
        said = f"answered {probe.status}, ok " if probe.status is not None and kind is Kind.HTTP else ""
        return f"{kind} {probe.failed}/{probe.timing.failures} {verb} ({said}{ago})"

    def _removal(self, now: float) -> str:
        if self.held_by_panic:
            return "; stays, since as many as may be out are out"
        if not self._around.judging:
            return "; stays, since nothing is judged at the moment"
        window = self.removal_window
        if window is None:
            return ""
        least, most = (max(0.0, at - now) for at in window)
        if most <= 0:
            return "; removal is due"
        when = f"within {most:.1f} s" if least <= 0 else f"in {least:.1f}–{most:.1f} s"
        return f"; removal {when} unless it answers"


_SERVES = frozenset({NodeState.ONLINE, NodeState.SUSPECT, NodeState.JOINING, NodeState.RECOVERING})
_JUDGED = frozenset({NodeState.ONLINE, NodeState.SUSPECT, NodeState.RECOVERING, NodeState.QUARANTINED})
"""States from which a node can be removed for its silence."""
_NAMES = {Kind.HEARTBEAT: "heartbeat", Kind.HTTP: "HTTP check"}
_TOOK_BACK = "took its registry entry back"
_TOO_OFTEN = "but went down too often lately"


def words_s(seconds: float) -> str:
    """Return `12.4 s`, or `3 s` where there is nothing after the point."""
    return f"{seconds:.1f}".removesuffix(".0") + " s"


def _after(last_ok: float | None, now: float) -> str:
    return "" if last_ok is None else f" after {words_s(now - last_ok)}"


def _helpers(probe: Probe) -> str:
    if not probe.helpers:
        return ""
    return f", helpers {', '.join(f'{helper} {said}' for helper, said in probe.heard)}"


def _number(value: Json | None) -> float | None:
    finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if finite and isinstance(value, int | float) else None
