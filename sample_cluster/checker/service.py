"""The checker: finds nodes, has each probed, leads if it may, writes verdicts and tells what it sees."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from sample_cluster.checker.ports import Conflict, ControlPlane, Dial, Stale, Teller, Written
from sample_cluster.checker.prober import GetHealth, Prober
from sample_cluster.config import Profile
from sample_cluster.core.health import (
    HealthEvent,
    Kind,
    MissCounted,
    NodeHealth,
    OldBoot,
    Probe,
    Transition,
    Unregistered,
)
from sample_cluster.core.lease import Lease, LeaseChange, Lost, Took
from sample_cluster.core.verdicts import VerdictQueue
from sample_cluster.errors import StoreUnavailableError
from wsmon.agent.cancellation import obey_cancellation
from wsmon.errors import OperationRefusedError
from wsmon.protocol import events
from wsmon.protocol.frames import Command, JsonObject, ReadOnlyJson
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import CheckerMode, NodeState

log = logging.getLogger(__name__)

PUBLISH_S: Final = 0.25
REGISTRY_S: Final = 1.0
OFFSET_STEP_S: Final = 0.01
GOLDEN: Final = 0.618034
"""Multiples of the golden ratio spread any number of nodes evenly over the interval. Source: Knuth, TAOCP 3, 6.4."""


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
        process_state: Callable[[], JsonObject] = dict,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._profile = profile
        self._plane = plane
        self._teller = teller
        self._dial = dial
        self._get_health = get_health
        self._process_state = process_state
        self._wall = wall
        self._clock = asyncio.get_running_loop().time
        self._lease = Lease(ttl_s=profile.lease_ttl_s, renew_s=profile.lease_renew_s, now=self._clock())
        self._queue = VerdictQueue()
        self._reload: LeaseChange | None = None
        self._probers: dict[str, tuple[Prober, asyncio.Task[None]]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._joined = 0
        self._claim_now = asyncio.Event()
        self._look = asyncio.Event()
        self._write = asyncio.Event()
        self._changed = asyncio.Event()
        self._stale_refused = 0
        self._offset_kept_s = 0.0

    @property
    def mode(self) -> CheckerMode:
        """How much we may do at the moment."""
        return self._lease.mode(self._clock())

    @property
    def nodes(self) -> dict[str, NodeHealth]:
        """What we hold true of every node."""
        return {name: prober.health for name, (prober, _) in self._probers.items()}

    async def run(self) -> None:
        """Check until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._keep_lease(), name="lease")
            group.create_task(self._watch_registry(), name="registry")
            group.create_task(self._write_verdicts(), name="verdicts")
            group.create_task(self._publish(), name="publish")

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
        known = self._probers.get(name) if isinstance(name, str) else None
        if known is None:
            raise OperationRefusedError("unknown_node", f"no node {name!r}")
        health = known[0].health
        if health.state not in (NodeState.REMOVED, NodeState.LEFT):
            raise OperationRefusedError("not_gone", f"{name} is {health.state}; only a node that is gone is forgotten")
        if self.mode is not CheckerMode.LEADING:
            raise OperationRefusedError("not_leading", f"this checker is {self.mode}")
        return health

    async def _keep_lease(self) -> None:
        while True:
            obey_cancellation()
            self._claim_now.clear()
            asked_at = self._clock()
            try:
                answer = await self._plane.claim(self._lease.claim)
            except StoreUnavailableError as error:
                self._away(error)
            else:
                self._follow(self._lease.answered(answer, asked_at=asked_at, now=self._clock()))
            await _wait(self._claim_now, self._lease.deadline - self._clock())

    def _away(self, error: Exception) -> None:
        if self.mode is not CheckerMode.BLIND:
            log.warning("verdicts are held back: %s", error)
            self._changed.set()
        self._lease.failed(self._clock())

    def _follow(self, change: LeaseChange | None) -> None:
        """Do what a change of leadership asks for."""
        if change is None:
            return
        log.info("lease: %s", change)
        if isinstance(change, Lost):
            self._queue.clear()
            self._reload = None
        else:
            # A second change before the first is worked off: having taken over says more than having got back.
            self._reload = change if isinstance(change, Took) or self._reload is None else self._reload
            self._write.set()
        self._changed.set()

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
                following = self.mode is CheckerMode.STANDBY
                for name, verdict in view.table.items():
                    self._lease.raise_floor(verdict.epoch)
                    fresh = name not in self._probers
                    prober = self._prober(name)
                    if fresh or following:
                        self._inherit(prober.health, verdict)
                for name, entry in view.nodes.items():
                    self._prober(name).meet(entry)
                for name in self._probers.keys() - view.nodes.keys():
                    self._prober(name).tell(Unregistered(clean=name not in view.expired))
                with contextlib.suppress(StoreUnavailableError):
                    await self._drop_old()
            await _wait(self._look, interval_s)

    def _prober(self, name: str) -> Prober:
        """Return the node's prober; a node not seen before gets one."""
        known = self._probers.get(name)
        if known is not None:
            return known[0]
        assert self._group is not None
        health = NodeHealth(name, self._profile, now=self._clock(), phase=self._joined * GOLDEN % 1)
        self._joined += 1
        prober = Prober(
            health,
            self._profile,
            dial=self._dial,
            get_health=self._get_health,
            feed=self._feed,
            on_closed=self._look.set,
        )
        self._probers[name] = prober, self._group.create_task(prober.run(), name=f"probe-{name}")
        return prober

    def _inherit(self, health: NodeHealth, verdict: Verdict) -> None:
        kind = verdict.evidence.get("kind")
        health.inherit(
            verdict.state,
            since=self._clock() - (self._wall() - verdict.at),
            reason=verdict.reason,
            kind=Kind(kind) if isinstance(kind, str) and kind in list(Kind) else None,
            boot=verdict.boot,
        )

    def _feed(self, health: NodeHealth, event: HealthEvent) -> None:
        for finding in health.step(event, self._clock()):
            match finding:
                case Transition():
                    log.info("%s: %s -> %s: %s", finding.node, finding.old, finding.new, finding.reason)
                    if self.mode is CheckerMode.LEADING:
                        self._queue.add(finding)
                        self._write.set()
                    self._changed.set()
                case MissCounted(count=count, needed=needed):
                    if self.mode is not CheckerMode.STANDBY:
                        self._teller.emit(events.HeartbeatMissed(node=health.node, count=count, needed=needed))
                case OldBoot(boot=boot, known=known):
                    reason = f"boot {boot} is over, boot {known} stands for the node"
                    self._teller.emit(events.ZombieRefused(node=health.node, reason=reason))

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
        while self.mode is CheckerMode.LEADING and (draft := self._queue.next()) is not None:
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
        if isinstance(change, Took):
            self._teller.emit(events.LeaderChanged(epoch=change.epoch, who=self._name))

    def _fence(self, later: int) -> None:
        self._stale_refused += 1
        self._lease.raise_floor(later)
        self._follow(self._lease.fenced(later, self._clock()))
        self._claim_now.set()

    async def _drop_old(self) -> None:
        for name, health in self.nodes.items():
            if not health.forgettable(self._clock()) or self.mode is not CheckerMode.LEADING:
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
        _, task = self._probers.pop(name)
        task.cancel()
        self._changed.set()

    @property
    def _offset_s(self) -> float:
        """What turns monotonic times into Unix ones; steady, so that old times do not seem to change."""
        offset_s = self._wall() - self._clock()
        if abs(offset_s - self._offset_kept_s) > OFFSET_STEP_S:
            self._offset_kept_s = offset_s
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
        mode = self.mode
        state: JsonObject = {
            "mode": str(mode),
            "epoch": self._lease.epoch,
            "targets": {name: self._target(health) for name, health in sorted(self.nodes.items())},
            "stale_verdicts_refused": self._stale_refused,
        }
        leader = self._name if mode is CheckerMode.LEADING else self._lease.leader
        if leader:
            state["leader"] = leader
        return state

    def _target(self, health: NodeHealth) -> JsonObject:
        offset_s = self._offset_s
        target: JsonObject = {
            "state": str(health.state),
            "since": round(health.since + offset_s, 3),
            "reason": health.reason,
            "heartbeat": _probe_object(health.heartbeat, offset_s),
            "http": _probe_object(health.http, offset_s),
        }
        if health.state is not NodeState.LEFT:
            target["next_probe_at"] = round(health.next_probe_at + offset_s, 1)
        window = health.removal_window
        if window is not None:
            target["removal_window"] = [round(edge + offset_s, 2) for edge in window]
        return target


def _probe_object(probe: Probe, offset_s: float) -> JsonObject:
    document: JsonObject = {"failed": probe.failed, "needed": probe.timing.failures}
    if probe.last_ok is not None:
        document["last_ok"] = round(probe.last_ok + offset_s, 1)
    if probe.rtt_s is not None:
        document["rtt_ms"] = round(probe.rtt_s * 1_000, 1)
    if probe.status is not None:
        document["status"] = probe.status
    return document


async def _wait(event: asyncio.Event, longest_s: float) -> None:
    """Wait for the event, at most `longest_s`."""
    try:
        async with asyncio.timeout(max(longest_s, 0.0)):
            await event.wait()
    except TimeoutError:
        pass
