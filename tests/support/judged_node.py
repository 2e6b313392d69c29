"""A node under judgement, with a clock that tests move: answers what it is told to, when it is told to."""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from sample_cluster.core.health import (
    AskHelpers,
    Circumstances,
    Deed,
    Finding,
    GiveUp,
    HealthEvent,
    HeartbeatOk,
    HelperSaid,
    HttpOk,
    Kind,
    MissCounted,
    NodeHealth,
    OldBoot,
    Registered,
    Send,
    Transition,
    WrongName,
)
from sample_cluster.core.probe import Said
from wsmon.protocol.states import NodeState

BOOT = 7
ROUND_TRIP_S = 0.001
BEAT = HeartbeatOk(boot=BOOT, rtt_s=ROUND_TRIP_S)
WEB = HttpOk(boot=BOOT)
HEARTBEAT, HTTP = Kind.HEARTBEAT, Kind.HTTP

Answer = Callable[[float], tuple[float, HealthEvent] | None]
"""What comes of a probe that leaves at a time, and when; None: nothing ever."""


@dataclass(frozen=True)
class Timing:
    interval_s: float
    timeout_s: float
    failures: int


@dataclass(frozen=True)
class Timings:
    heartbeat: Timing = Timing(5, 1, 3)
    http: Timing = Timing(10, 2, 2)
    refused_gap_s: float = 0.5
    flap_half_life_s: float = 120.0
    tilt_gap_s: float = 2.0
    tilt_s: float = 10.0


@dataclass
class Around:
    """Circumstances that a test sets."""

    judging: bool = True
    counting: bool = True
    score: int = 0
    room: bool = True
    others: tuple[str, ...] = ()

    def may_go(self) -> bool:
        return self.room

    def helpers(self, node: str) -> tuple[str, ...]:
        return self.others


def at_once(event: HealthEvent) -> Answer:
    """Return an answer that comes after a round trip."""
    return lambda asked: (asked + ROUND_TRIP_S, event)


def silence(asked: float) -> None:
    """Answer nothing."""


class Case:
    """One node, what it answers, and everything that was found."""

    def __init__(
        self, timings: Timings | None = None, *, around: Circumstances | None = None, phase: float = 0.0
    ) -> None:
        self.now = 0.0
        self.health = NodeHealth("n1", timings or Timings(), now=0.0, phase=phase, around=around)
        self.found: list[Finding] = []
        self.deeds: list[Deed] = []
        self.answers: dict[Kind, Answer] = {HEARTBEAT: at_once(BEAT), HTTP: at_once(WEB)}
        self.helpers_say: dict[str, Said | None] = {}
        """None: the helper does not answer either."""
        self._coming: list[tuple[float, int, HealthEvent, Kind | None]] = []
        self._numbers = itertools.count()

    def tell(self, *events: HealthEvent, after_s: float = 0.0) -> tuple[Finding, ...]:
        """Tell events; return what was found because of them."""
        if after_s:
            self.run(after_s)
        before = len(self.found)
        for event in events:
            self._take(self.health.step(event, self.now))
        return tuple(self.found[before:])

    def run(self, for_s: float) -> tuple[Finding, ...]:
        """Let time pass, probes included; return what was found."""
        before, until, turns, moved_at = len(self.found), self.now + for_s, 0, self.now
        while True:
            coming = self._coming[0][0] if self._coming else math.inf
            moment = min(coming, self.health.deadline)
            if moment > until:
                break
            self.now = max(self.now, moment)
            turns, moved_at = (turns + 1 if moved_at == self.now else 0), self.now
            assert turns < 100, "what is due has to be over when it was done"
            if coming <= self.health.deadline:
                _, _, event, kind = heapq.heappop(self._coming)
                if kind is None or self.health._probe(kind).in_flight:
                    self._take(self.health.step(event, self.now))
            else:
                self._take(self.health.tick(self.now))
        self.now = until
        return tuple(self.found[before:])

    def run_to(self, state: NodeState, *, within_s: float = 100.0) -> float:
        """Let time pass until the node is in the state; return the seconds that it took."""
        began = self.now
        while self.health.state is not state:
            assert self.now - began <= within_s, f"it is {self.health.state}"
            coming = self._coming[0][0] if self._coming else math.inf
            self.run(max(0.0, min(coming, self.health.deadline) - self.now))
        return self.now - began

    def fall_silent(self, *kinds: Kind) -> None:
        """Answer no more probes of these kinds, or of any."""
        for kind in kinds or (HEARTBEAT, HTTP):
            self.answers[kind] = silence

    def answer(self, *events: HealthEvent) -> None:
        """Answer probes with these from now on, heartbeats first; without any, as a node that is well."""
        for kind, event in zip((HEARTBEAT, HTTP), events or (BEAT, WEB), strict=True):
            self.answers[kind] = at_once(event)

    def come_online(self) -> "Case":
        """Register, answer, and be online; the next heartbeat leaves an interval after that."""
        self.tell(Registered(boot=BOOT), BEAT, BEAT, WEB)
        assert self.health.state is NodeState.ONLINE
        self.run(ROUND_TRIP_S)  # What was on its way.
        return self

    def be_removed(self) -> "Case":
        """Fall silent and be removed."""
        self.fall_silent(HEARTBEAT)
        self.run_to(NodeState.REMOVED)
        return self

    def state(self) -> NodeState:
        """Return the state; a call, since mypy takes a property to stay what it was."""
        return self.health.state

    def hard(self) -> bool:
        """Return whether it is out by hard evidence."""
        return self.health.hard

    def window(self) -> tuple[float, float] | None:
        """Return when it will be removed if it stays silent."""
        return self.health.removal_window

    @property
    def moves(self) -> list[Transition]:
        """Every transition so far."""
        return [finding for finding in self.found if isinstance(finding, Transition)]

    @property
    def path(self) -> list[NodeState]:
        """Every state so far."""
        return [move.new for move in self.moves]

    @property
    def misses(self) -> list[int]:
        """The count of every heartbeat that was counted as missed."""
        return [finding.count for finding in self.found if isinstance(finding, MissCounted)]

    def _take(self, outcomes: tuple[Finding | Deed, ...]) -> None:
        for outcome in outcomes:
            match outcome:
                case Transition() | MissCounted() | OldBoot() | WrongName():
                    self.found.append(outcome)
                case Send(kind=kind):
                    self.deeds.append(outcome)
                    comes = self.answers[kind](self.now)
                    self._coming = [item for item in self._coming if item[3] is not kind]
                    if comes is not None:
                        self._come(comes[0], comes[1], kind)
                case AskHelpers(kind=kind, asked=asked, helpers=helpers, within_s=within_s):
                    self.deeds.append(outcome)
                    for helper in helpers:
                        said = self.helpers_say.get(helper)
                        if said is not None:
                            at = self.now + (ROUND_TRIP_S if said is Said.YES else within_s)
                            self._come(at, HelperSaid(kind=kind, asked=asked, helper=helper, said=said))
                case GiveUp(kind=kind):
                    self.deeds.append(outcome)
                    self._coming = [item for item in self._coming if item[3] is not kind]
        heapq.heapify(self._coming)

    def _come(self, at: float, event: HealthEvent, kind: Kind | None = None) -> None:
        heapq.heappush(self._coming, (at, next(self._numbers), event, kind))
