"""The checker: finds nodes, has each probed, leads if it may, writes verdicts and tells what it sees."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

from sample_cluster.checker.ports import ClusterView, Conflict, ControlPlane, Dial, Stale, Teller, Written
from sample_cluster.checker.prober import GetHealth, Prober
from sample_cluster.config import Profile
from sample_cluster.core.classify import LinkState
from sample_cluster.core.doubt import Tilted
from sample_cluster.core.health import (
    AskHelpers,
    Evidence,
    GiveUp,
    HealthEvent,
    HelperSaid,
    Hold,
    MissCounted,
    NodeHealth,
    OldBoot,
    Release,
    Send,
    Transition,
    Unregistered,
    WrongName,
)
from sample_cluster.core.judgement import Judgement, Outcome
from sample_cluster.core.lease import Lease, LeaseChange, Lost, Took
from sample_cluster.core.probe import Probe, Said
from sample_cluster.core.verdicts import VerdictQueue
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.membership import lease_clock
from wsmon.agent.cancellation import obey_cancellation
from wsmon.errors import OperationRefusedError, ProtocolError, RemoteProtocolError, UnreachableError
from wsmon.protocol import events
from wsmon.protocol.fields import Fields
from wsmon.protocol.frames import Command, Json, JsonObject, ReadOnlyJson
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import CheckerMode, NodeState

log = logging.getLogger(__name__)

PUBLISH_S: Final = 0.25
REGISTRY_S: Final = 1.0
OFFSET_STEP_S: Final = 0.01
CLOCK_JUMP_S: Final = 1.0
"""A wall clock that moves by more than this against a steady one has jumped; less is being slewed."""
SLEEP_S_MIN: Final = 0.001
"""Timers may fire one tick of the clock early; waiting for what is left of it would not move a coarse clock."""
LAST_LOOKS: Final = 5
"""Turns of the loop that an answer needs from the socket to the one who waits for it."""
TOLD_AT_ONCE: Final = 16
"""Of what makes no sense in Redis, this much is told word by word in one look."""
HOLD_MOST_S: Final = 86_400.0
HOLDS: Final = (NodeState.ONLINE, NodeState.SUSPECT, NodeState.REMOVED)
REST_LEASES: Final = 2
"""Who stood down leaves the lease to others for as long as this many leases."""


async def no_canary() -> None:
    """Be well, always."""


class Checker:
    """One checker process. `run` until cancelled."""

    def __init__(
        self,
        *,
        name: str,
        profile: Profile,
        plane: ControlPlane,
        teller: Teller,
        dial: Dial,
        get_health: GetHealth,
        canary: Callable[[], Awaitable[None]] = no_canary,
        process_state: Callable[[], JsonObject] = dict,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = lease_clock,
    ) -> None:
        """`canary` asks our own admin socket; `steady` is a clock that goes on while the machine sleeps."""
        self._name = name
        self._profile = profile
        self._plane = plane
        self._teller = teller
        self._dial = dial
        self._get_health = get_health
        self._canary = canary
        self._process_state = process_state
        self._wall = wall
        self._steady = steady
        self._clock = asyncio.get_running_loop().time
        self._lease = Lease(ttl_s=profile.lease_ttl_s, renew_s=profile.lease_renew_s, now=self._clock())
        self._judgement = Judgement(profile, now=self._clock())
        self._queue = VerdictQueue()
        self._reload: LeaseChange | None = None
        self._probers: dict[str, Prober] = {}
        self._group: asyncio.TaskGroup | None = None
        self._claim_now = asyncio.Event()
        self._look = asyncio.Event()
        self._write = asyncio.Event()
        self._changed = asyncio.Event()
        self._due = asyncio.Event()
        self._stale_refused = 0
        self._senseless: frozenset[str] = frozenset()
        """What in Redis makes no sense, as of the last look; it was told."""
        self._others: frozenset[str] = frozenset()
        """Other checkers in the registry."""
        self._offset_kept_s = wall() - self._clock()

    @property
    def mode(self) -> CheckerMode:
        """How much we may do, and trust ourselves, at the moment."""
        now = self._clock()
        return self._judgement.mode(self._lease.mode(now), now)

    @property
    def _leads(self) -> bool:
        """Whether what we say may be written. In tilt and panic it may: it was judged before."""
        return self._lease.mode(self._clock()) is CheckerMode.LEADING

    @property
    def nodes(self) -> dict[str, NodeHealth]:
        """What we hold true of every node."""
        return self._judgement.nodes

    async def run(self) -> None:
        """Check until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._keep_lease(), name="lease")
                group.create_task(self._watch_registry(), name="registry")
                group.create_task(self._write_verdicts(), name="verdicts")
                group.create_task(self._keep_time(), name="time")
                group.create_task(self._watch_canary(), name="canary")
                group.create_task(self._publish(), name="publish")
        finally:
            for prober in self._probers.values():
                await prober.close()

    async def resign(self) -> None:
        """Give the lease back, so that another one need not wait for its end. Call it when `run` is over."""
        with suppress(StoreUnavailableError):
            await self._plane.release(self._lease.claim(self._clock()))

    # What an operator may ask.

    async def hold(self, command: Command) -> ReadOnlyJson:
        """Keep a node in a state, whatever is found; with a `ttl_s` of 0, end that."""
        event = self._hold_asked(command)
        node = str(command.args["node"])
        self._feed(node, event)
        effect: JsonObject = {"node": node, "state": str(self.nodes[node].state)}
        if isinstance(event, Hold):
            effect["until"] = round(event.until + self._offset_s, 3)
        return effect

    def check_hold(self, command: Command) -> ReadOnlyJson:
        """Say which node would be held, and where it stands now.

        Raises:
            OperationRefusedError: there is no such node or state, or we do not lead.

        """
        self._hold_asked(command)
        node = str(command.args["node"])
        return {"node": node, "state": str(self.nodes[node].state)}

    def _hold_asked(self, command: Command) -> Hold | Release:
        fields = Fields(command.args, command.op)
        try:
            node = fields.text("node", longest=256)
            ttl_s = fields.number("ttl_s", least=0, most=HOLD_MOST_S)
            state = fields.word("state", NodeState) if ttl_s or fields.has("state") else NodeState.ONLINE
        except RemoteProtocolError as error:
            raise OperationRefusedError("bad_args", error.message) from None
        if state not in HOLDS:
            raise OperationRefusedError("bad_args", f"hold.state is not one of {', '.join(HOLDS)}")
        health = self.nodes.get(node)
        if health is None or health.state is NodeState.LEFT:
            raise OperationRefusedError("unknown_node", f"no node {node[:64]!r}")
        self._check_leads()
        by = command.actor.user
        if not ttl_s:
            if health.hold is None:
                raise OperationRefusedError("not_held", f"{node} is not held")
            return Release(by=by)
        return Hold(state=state, until=self._clock() + ttl_s, by=by, why=command.reason or "")

    async def step_down(self, command: Command) -> ReadOnlyJson:
        """Leave the lead to another checker."""
        effect = self.check_step_down(command)
        claim = self._lease.claim(self._clock())
        self._follow(self._lease.stand_down(self._clock(), rest_s=REST_LEASES * self._profile.lease_ttl_s))
        self._keep_up()
        try:
            await self._plane.release(claim)
        except StoreUnavailableError as error:
            self._away(error)
        self._claim_now.set()
        return effect

    def check_step_down(self, _command: Command) -> ReadOnlyJson:
        """Say who could lead instead.

        Raises:
            OperationRefusedError: we do not lead, or nobody else could.

        """
        self._check_leads()
        if not self._others:
            raise OperationRefusedError("nobody_else", "there is no other checker to lead")
        others: list[Json] = [*sorted(self._others)]
        return {"epoch": self._lease.epoch, "others": others}

    def _check_leads(self) -> None:
        if not self._leads:
            who = f"; {self._lease.leader} leads" if self._lease.leader else ""
            raise OperationRefusedError("not_leading", f"this checker is {self.mode}{who}")

    async def forget(self, command: Command) -> ReadOnlyJson:
        """Take a node that was removed, or that left, off the list. It is listed again if it comes back."""
        health = self.check_forget(command)
        standing = self._queue.table.get(health.node)
        if standing is not None:
            reason = f"forgotten by {command.actor.user}"
            try:
                outcome = await self._take_off(standing, reason)
            except StoreUnavailableError as error:
                raise OperationRefusedError("unavailable", error.message) from error
            if not isinstance(outcome, Written):
                raise OperationRefusedError("conflict", "the verdict changed meanwhile; try again")
            if health.state is not NodeState.LEFT:
                self._teller.emit(
                    events.NodeStateChanged(
                        node=health.node,
                        old=standing.state,
                        new=NodeState.LEFT,
                        reason=reason,
                        epoch=self._lease.epoch,
                    )
                )
        self._drop(health.node)
        return {"node": health.node}

    def check_forget(self, command: Command) -> NodeHealth:
        """Return the node that the command names if it may be forgotten.

        Raises:
            OperationRefusedError: it may not.

        """
        name = command.args.get("node")
        health = self.nodes.get(name) if isinstance(name, str) else None
        if health is None:
            raise OperationRefusedError("unknown_node", f"no node {name!r}")
        if health.state not in (NodeState.REMOVED, NodeState.LEFT):
            raise OperationRefusedError("not_gone", f"{name} is {health.state}; only a node that is gone is forgotten")
        self._check_leads()
        return health

    # The lease.

    async def _keep_lease(self) -> None:
        while True:
            obey_cancellation()
            self._claim_now.clear()
            asked_at = self._clock()
            try:
                answer = await self._plane.claim(self._lease.claim(asked_at))
            except StoreUnavailableError as error:
                self._away(error)
            else:
                self._follow(self._lease.answered(answer, asked_at=asked_at, now=self._clock()))
                self._keep_up()
            await _wait(self._claim_now, self._lease.deadline - self._clock())

    def _away(self, error: Exception) -> None:
        if self.mode is not CheckerMode.BLIND:
            log.warning("verdicts are held back: %s", error)
            self._changed.set()
        self._lease.failed(self._clock())
        self._keep_up()

    def _keep_up(self) -> None:
        """Let the judgement know whether we lead. Not before the table is read: its states are to be inherited."""
        self._judgement.follow(self._clock(), leads=self._leads and self._reload is None)
        self._due.set()

    def _follow(self, change: LeaseChange | None) -> None:
        """Do what a change of leadership asks for."""
        if change is None:
            return
        log.info("lease: %s", change)
        if isinstance(change, Lost):
            self._queue.clear()
            self._reload = None
        else:
            if isinstance(change, Took) and not change.continuous:
                self._judgement.forgive()  # Another one led: our own counts say nothing.
            # A second change before the first is worked off: having taken over says more than having got back.
            self._reload = change if isinstance(change, Took) or self._reload is None else self._reload
            self._write.set()
        self._changed.set()

    # Nodes.

    async def _watch_registry(self) -> None:
        interval_s = min(REGISTRY_S, self._profile.heartbeat.interval_s / 2)
        while True:
            obey_cancellation()
            self._look.clear()
            try:
                view = await self._plane.read()
            except StoreUnavailableError:
                pass  # The lease says so already; what is known goes on being probed.
            else:
                self._take(view)
                with suppress(StoreUnavailableError):
                    await self._drop_old()
            await _wait(self._look, interval_s)

    def _take(self, view: ClusterView) -> None:
        """Take in what the registry and the table say."""
        self._others = view.checkers - {self._name}
        news = [text for text in view.refused if text not in self._senseless]
        self._senseless = frozenset(view.refused)
        for text in news[:TOLD_AT_ONCE]:
            self._refuse("entry", text)
        if len(news) > TOLD_AT_ONCE:
            self._refuse("entry", f"{len(news) - TOLD_AT_ONCE} more make no sense")
        following = self._lease.mode(self._clock()) is CheckerMode.STANDBY
        for name, verdict in view.table.items():
            self._lease.raise_floor(verdict.epoch)
            fresh = name not in self._probers
            self._prober(name)
            if fresh or (following and not self._queue.outdates(verdict)):
                self._inherit(self.nodes[name], verdict)
        for name, entry in view.nodes.items():
            self._prober(name).meet(entry)
        for name in self._probers.keys() - view.nodes.keys():
            self._feed(name, Unregistered(clean=name not in view.expired))

    def _prober(self, name: str) -> Prober:
        """Return the node's prober; a node not seen before gets one."""
        known = self._probers.get(name)
        if known is None:
            known = Prober(
                self._judgement.node(name, self._clock()),
                dial=self._dial,
                get_health=self._get_health,
                tell=lambda event: self._feed(name, event),
                on_closed=self._look.set,
                spawn=self._spawn,
            )
            self._probers[name] = known
            self._due.set()
        return known

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None
        return self._group.create_task(work)

    def _inherit(self, health: NodeHealth, verdict: Verdict) -> None:
        now = self._clock()
        health.inherit(
            verdict.state,
            # Not in the future, whatever the clock of the one who wrote it said.
            since=min(now - (self._wall() - verdict.at), now),
            reason=verdict.reason,
            evidence=Evidence.inherited(verdict.evidence, offset_s=self._offset_s),
            boot=verdict.boot,
        )

    # Judgement.

    async def _keep_time(self) -> None:
        """Let time pass for the judgement, and do what it says."""
        while True:
            self._due.clear()
            delay_s = self._judgement.deadline - self._clock()
            if delay_s > 0:
                await _wait(self._due, max(delay_s, SLEEP_S_MIN))
                continue
            # A loop that was held up finds answers and timeouts at once: read the sockets before calling anybody late.
            for _ in range(LAST_LOOKS):
                await asyncio.sleep(0)
            now = self._clock()
            for prober in self._probers.values():
                prober.look(now)
            self._judgement.follow(now, leads=self._leads and self._reload is None)
            self._do(self._judgement.tick(now, steady=self._steady()))

    async def _watch_canary(self) -> None:
        while True:
            await asyncio.sleep(self._profile.heartbeat.interval_s)
            answered = True
            try:
                async with asyncio.timeout(self._profile.heartbeat.timeout_s):
                    await self._canary()
            except (TimeoutError, UnreachableError, ProtocolError):
                answered = False
            self._judgement.doubt.canary(self._clock(), answered=answered)

    def _feed(self, name: str, event: HealthEvent) -> None:
        if name not in self.nodes:
            return  # It was dropped while it was asked.
        now = self._clock()
        self._judgement.follow(now, leads=self._leads and self._reload is None)
        self._do(self._judgement.step(name, event, now, steady=self._steady()))
        self._due.set()

    def _do(self, outcomes: Iterable[Outcome]) -> None:
        """Carry out what the judgement wants, and tell what it found."""
        for outcome in outcomes:
            match outcome:
                case Send(node=node, kind=kind):
                    self._probers[node].send(kind)
                case GiveUp(node=node, kind=kind):
                    self._probers[node].give_up(kind)
                case AskHelpers(helpers=helpers):
                    for helper in helpers:
                        self._spawn(self._ask(helper, outcome))
                case Transition():
                    log.info("%s: %s -> %s: %s", outcome.node, outcome.old, outcome.new, outcome.reason)
                    if self._leads:
                        self._queue.add(outcome)
                        self._write.set()
                    self._changed.set()
                case MissCounted(node=node, count=count, needed=needed):
                    if self._lease.mode(self._clock()) is not CheckerMode.STANDBY:
                        self._teller.emit(events.HeartbeatMissed(node=node, count=count, needed=needed))
                case OldBoot(node=node, boot=boot, known=known):
                    reason = f"boot {boot} is over, boot {known} stands for the node"
                    self._teller.emit(events.ZombieRefused(node=node, reason=reason))
                case WrongName(node=node, kind=kind, claims=claims):
                    self._refuse("answer", f"{kind} of {node}: it says that it is {claims}", node=node)
                case Tilted(gap_s=gap_s, until=until):
                    log.warning("nothing was done for %.1f s; nothing is judged for a while", gap_s)
                    freeze_s = round(until - self._clock(), 1)
                    self._teller.emit(events.Tilt(gap_s=round(gap_s, 1), freeze_s=freeze_s))
                    self._changed.set()

    async def _ask(self, helper: str, asked: AskHelpers) -> None:
        prober, target = self._probers.get(helper), self._probers.get(asked.node)
        address = None if target is None else target.address
        said = Said.NOTHING
        if prober is not None:
            said = await prober.reaches(asked.node, address=address, within_s=asked.within_s)
        self._feed(asked.node, HelperSaid(kind=asked.kind, asked=asked.asked, helper=helper, said=said))

    def _refuse(self, what: str, reason: str, *, node: str | None = None) -> None:
        """Tell what was refused, and why. Nothing else comes of it."""
        log.warning("refused: %s", reason)
        self._teller.emit(events.InputRefused(what=what, reason=reason[:256], node=node))

    # Verdicts.

    async def _write_verdicts(self) -> None:
        while True:
            obey_cancellation()
            await self._write.wait()
            self._write.clear()
            try:
                await self._write_what_is_due()
            except StoreUnavailableError as error:
                self._away(error)
                # The claim that succeeds next makes us compare table and view again. Not at once: whatever is wrong
                # with this one write must not become a storm.
                await asyncio.sleep(self._profile.lease_renew_s / 4)
                self._claim_now.set()

    async def _write_what_is_due(self) -> None:
        if self._reload is not None:
            await self._reconcile(self._reload)
        while self._leads and (draft := self._queue.next()) is not None:
            transition, epoch = draft.transition, self._lease.epoch
            verdict = Verdict(
                node=transition.node,
                state=transition.new,
                reason=transition.reason,
                epoch=epoch,
                version=draft.expected + 1,
                at=round(transition.now + self._offset_s, 3),
                boot=transition.boot,
                evidence=transition.evidence.to_object(offset_s=self._offset_s),
            )
            match await self._plane.write(verdict, transition, expected=draft.expected):
                case Written():
                    self._queue.written(verdict)
                    self._teller.emit(
                        events.NodeStateChanged(
                            node=verdict.node,
                            old=transition.old,
                            new=verdict.state,
                            reason=verdict.reason,
                            evidence=verdict.evidence,
                            epoch=epoch,
                        )
                    )
                case Conflict(standing=standing, version=version):
                    log.warning("the verdict on %s is not the one we knew; writing on top of it", verdict.node)
                    self._queue.conflict(verdict.node, standing, version)
                case Stale(epoch=later):
                    self._refuse("verdict", f"verdict of epoch {epoch} on {verdict.node}: epoch {later} leads")
                    self._fence(later)

    async def _reconcile(self, change: LeaseChange) -> None:
        view = await self._plane.read()
        taken_over = isinstance(change, Took) and not change.continuous
        if taken_over:
            # Another one led, or our earlier life: its states hold, our counts begin anew.
            for name, verdict in view.table.items():
                self._inherit(self._prober(name).health, verdict)
        self._queue.reconcile(view.table, self.nodes.values())
        self._reload = None
        self._keep_up()
        self._look.set()  # Who registered meanwhile was not judged yet.
        if isinstance(change, Took):
            self._teller.emit(events.LeaderChanged(epoch=change.epoch, who=self._name))

    def _fence(self, later: int) -> None:
        self._stale_refused += 1
        self._lease.raise_floor(later)
        self._follow(self._lease.fenced(later, self._clock()))
        self._keep_up()
        self._claim_now.set()

    async def _drop_old(self) -> None:
        for name, health in tuple(self.nodes.items()):
            if not health.forgettable(self._clock()) or not self._leads:
                continue
            standing = self._queue.table.get(name)
            if standing is None or isinstance(await self._take_off(standing, "left a while ago"), Written):
                self._drop(name)

    async def _take_off(self, standing: Verdict, reason: str) -> Written | Stale | Conflict:
        try:
            outcome = await self._plane.forget(
                standing, epoch=self._lease.epoch, reason=reason, at=round(self._wall(), 3)
            )
        except StoreUnavailableError as error:
            self._away(error)
            raise
        match outcome:
            case Stale(epoch=later):
                self._fence(later)
            case Conflict(standing=other, version=version):
                self._queue.conflict(standing.node, other, version)
            case Written():
                pass
        return outcome

    def _drop(self, name: str) -> None:
        self._queue.forget(name)
        self._judgement.drop(name)
        self._spawn(self._probers.pop(name).close())
        self._changed.set()

    # What is shown.

    @property
    def _offset_s(self) -> float:
        """What turns monotonic times into Unix ones; steady, so that old times do not seem to change."""
        offset_s = self._wall() - self._clock()
        moved_s = offset_s - self._offset_kept_s
        if abs(moved_s) > OFFSET_STEP_S:
            self._offset_kept_s = offset_s
            if abs(moved_s) > CLOCK_JUMP_S:
                # Nothing is judged by that clock: it stands on what is shown and written, and nowhere else.
                log.warning("the wall clock jumped by %+.1f s", moved_s)
                self._teller.emit(events.ClockJumped(seconds=round(moved_s, 1)))
        return self._offset_kept_s

    async def _publish(self) -> None:
        process, process_due = self._process_state(), 0.0
        while True:
            self._changed.clear()
            if self._clock() >= process_due:
                process, process_due = self._process_state(), self._clock() + 1.0
            state = self._state()
            state["process"] = process
            self._teller.publish(state)
            await _wait(self._changed, PUBLISH_S)

    def _state(self) -> JsonObject:
        now, floor, doubt = self._clock(), self._judgement.floor, self._judgement.doubt
        state: JsonObject = {
            "mode": str(self.mode),
            "why": self._judgement.why(self._lease.mode(now), now, leader=self._lease.leader or ""),
            "epoch": self._lease.epoch,
            "score": doubt.score,
            "panic": {"removed": floor.removed, "allowed": floor.allowed},
            "targets": {name: self._target(health) for name, health in sorted(self.nodes.items())},
            "stale_verdicts_refused": self._stale_refused,
        }
        leader = self._name if self._leads else self._lease.leader
        if leader:
            state["leader"] = leader
        signs: list[Json] = [str(sign) for sign in doubt.signs(now)]
        if signs:
            state["doubts"] = signs
        if doubt.tilted(now):
            state["tilt_until"] = round(doubt.tilted_until + self._offset_s, 1)
        return state

    def _target(self, health: NodeHealth) -> JsonObject:
        offset_s, now = self._offset_s, self._clock()
        target: JsonObject = {
            "state": str(health.state),
            "since": round(health.since + offset_s, 3),
            "reason": health.reason,
            "why": health.why(now),
            "heartbeat": _probe_object(health.heartbeat, offset_s),
            "http": _probe_object(health.http, offset_s),
        }
        if health.state is not NodeState.LEFT:
            target["next_probe_at"] = round(health.next_probe_at + offset_s, 1)
            target["link"] = _link_object(health.link_state(now), offset_s)
        window = health.removal_window
        if window is not None:
            target["removal_window"] = [round(edge + offset_s, 2) for edge in window]
        silence_s = health.silence_window_s
        if silence_s is not None:
            target["removal_window_s"] = [round(edge_s, 2) for edge_s in silence_s]
        if health.uncounted:
            target["uncounted"] = health.uncounted
        # In tens: what falls all the time need not be told all the time.
        penalty = round(health.flap.penalty(now), -1)
        if penalty:
            target["penalty"] = int(penalty)
        if health.state is NodeState.QUARANTINED:
            target["reuse_in_s"] = math.ceil(health.flap.reuse_in_s(now))
        if health.hold is not None:
            target["held_until"] = round(health.hold.until + offset_s, 1)
        return target


def _link_object(link: LinkState, offset_s: float) -> JsonObject:
    document: JsonObject = {"word": link.word, "since": round(link.since + offset_s, 1)}
    if link.word != link.trouble:
        document["trouble"] = str(link.trouble)
    for name, seconds in (("rtt_ms", link.rtt_s), ("base_ms", link.base_s)):
        if seconds is not None:
            document[name] = round(seconds * 1_000, 1)
    if link.retransmitted is not None:
        document["retrans"] = round(link.retransmitted, 3)
    return document


def _probe_object(probe: Probe, offset_s: float) -> JsonObject:
    document: JsonObject = {"failed": probe.failed, "needed": probe.timing.failures}
    if probe.last_ok is not None:
        document["last_ok"] = round(probe.last_ok + offset_s, 1)
    if probe.rtt_s is not None:
        document["rtt_ms"] = round(probe.rtt_s * 1_000, 1)
    if probe.status is not None:
        document["status"] = probe.status
    if probe.vouched:
        document["vouched"] = probe.vouched
    if probe.failed and probe.helpers:
        document["helpers"] = {helper: str(said) for helper, said in probe.heard}
    return document


async def _wait(event: asyncio.Event, longest_s: float) -> None:
    """Wait for the event, at most `longest_s`."""
    try:
        async with asyncio.timeout(max(longest_s, 0.0)):
            await event.wait()
    except TimeoutError:
        pass
