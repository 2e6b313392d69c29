"""All clients of the fleet, the pace at which they publish, and what the admin socket is told."""

import asyncio
import logging
import math
import random
import time
from collections import Counter, deque
from dataclasses import asdict, replace
from typing import Final

from sample_cluster.client import Back, ClientOptions
from sample_cluster.codecs import codec_for
from sample_cluster.core.audit import Auditor
from sample_cluster.core.backoff import BackoffTiming
from sample_cluster.fleet.member import Member, Surroundings
from sample_cluster.role import Role
from wsmon.errors import OperationRefusedError
from wsmon.protocol.frames import Command, JsonObject

log = logging.getLogger(__name__)

ROOMS: Final = ("room.1", "room.2", "room.3")
CLIENTS_MAX: Final = 5_000
RATE_MAX: Final = 10_000.0
PUBLISH_S: Final = 0.25
TELLING_SHARE: Final = 0.1
"""Share of its time that the process spends on describing its clients one by one. When thousands are on their way at
once this is what would hold them up: every attempt takes several turns of the loop."""
PROCESS_EVERY: Final = 4
"""The process's own figures are measured with every so many-th publication of the state."""
TICK_LEAST_S: Final = 0.02
"""Faster rates publish several messages at a time."""
BEHIND_MOST_S: Final = 1.0
"""What could not be published for longer, because the process stood still, is left out."""
PACE_S: Final = 0.5
PACE_CLIENTS_S: Final = 500.0
"""New clients come within half a second, or at this many each second."""
ATTEMPTS_AT_ONCE: Final = 64
"""Clients that attempt to connect at a time: this process is through with so many long before their patience ends."""
POSITIONS_EVERY_S: Final = 20.0
POSITIONS_S: Final = 5.0
"""A client's position is told so rarely, and of so many clients a second: it changes with every message."""
ALL_TOLD: Final = 200
"""A fleet up to this size tells of all its clients, a larger one of those away or just back."""
RESUMES_KEPT: Final = 1_000
UNANSWERED_MAX: Final = 64
PROTOBUF: Final = "wsc.v1.pb"
PROTOBUF_SHARE: Final = 0.25
"""Every fourth client speaks Protobuf, so that each run shows that both forms of the protocol are one."""


class Fleet:
    """Clients c001, c002, … in three rooms. Make it within the role's event loop, then `serve`."""

    def __init__(
        self,
        role: Role,
        *,
        gateway: str,
        clients: int,
        rate: float,
        seed: int | None = None,
        protobuf_share: float = PROTOBUF_SHARE,
    ) -> None:
        """`rate` is in messages/s over all clients; with a `seed` the dice of every client are the same each time.

        `protobuf_share` of the clients, in [0, 1], speak Protobuf, the others JSON.
        """
        self._role = role
        profile = role.settings.profile
        timing = profile.reconnect
        self._gateway = gateway
        self._wanted = clients
        self._rate = rate
        self._dice = random.Random(seed)
        first_cap_s = max(2.5 * timing.base_s, clients / PACE_CLIENTS_S)
        self._options = ClientOptions(
            timing=BackoffTiming(
                spread_s=timing.spread_s,
                base_s=timing.base_s,
                factor=timing.factor,
                # Until the first welcome there is a cluster that starts: ask often, but no faster than clients come.
                cap_s=min(timing.cap_s, first_cap_s),
                jitter=timing.jitter,
                stable_s=timing.stable_s,
            ),
            attempt_timeout_s=profile.connect_timeout_s,
            unanswered_max=UNANSWERED_MAX,
            name="fleet",
        )
        self._protobuf_share = protobuf_share
        # Imported when it is needed only: a process of JSON clients does without the Protobuf runtime.
        self._protobuf = replace(self._options, codec=codec_for(PROTOBUF)) if protobuf_share > 0 else self._options
        self._auditor = Auditor()
        self._members: list[Member] = []
        self._numbers: dict[str, int] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._resumes_s: deque[float] = deque(maxlen=RESUMES_KEPT)
        self._handovers = 0
        self._process: JsonObject = {}
        self._clients_state: JsonObject = {}
        self._describe_at = -math.inf
        self._rate_changed = asyncio.Event()
        self._turn = 0
        self._skipped = 0
        # Taken once: times that were told must not move with every correction of the clock.
        self._unix_offset = time.time() - asyncio.get_running_loop().time()
        self._around = Surroundings(
            auditor=self._auditor,
            emit=role.agent.emit,
            back=self._back,
            unix=self._unix,
            known=self._numbers.__contains__,
            turnstile=asyncio.Semaphore(ATTEMPTS_AT_ONCE),
        )

    async def serve(self) -> None:
        """Run until the role stops."""
        agent = self._role.agent
        agent.operation("scale", self._scale, check=self._check_scale)
        agent.operation("rate", self._change_rate, check=self._check_rate)
        loop = asyncio.get_running_loop()
        self._set_size(self._wanted)
        tasks = [
            loop.create_task(self._publish(), name="fleet-publish"),
            loop.create_task(self._tell(), name="fleet-state"),
        ]
        try:
            await self._role.stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(member.close() for member in self._members), *self._leaving)

    # How many.

    def _set_size(self, clients: int) -> None:
        """Add clients, paced, or send the last ones home."""
        have = len(self._members)
        self._wanted = clients
        pace_s = max(PACE_S, (clients - have) / PACE_CLIENTS_S)
        for index in range(have, clients):
            name = f"c{index + 1:03d}"
            member = Member(
                name,
                ROOMS[index % len(ROOMS)],
                self._around,
                url=self._gateway,
                options=self._protobuf if self._speaks_protobuf(index) else self._options,
                dice=random.Random(self._dice.getrandbits(64)),
                first_delay_s=pace_s * (index - have) / (clients - have),
                numbers_from=self._numbers.setdefault(name, 0),
            )
            self._members.append(member)
            member.start()
        while len(self._members) > clients:
            member = self._members.pop()
            self._numbers[member.name] = member.number
            task = asyncio.get_running_loop().create_task(self._send_home(member), name="fleet-leave")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _speaks_protobuf(self, index: int) -> bool:
        """Say whether the client speaks Protobuf; spread evenly, whatever the share."""
        return int((index + 1) * self._protobuf_share) > int(index * self._protobuf_share)

    async def _send_home(self, member: Member) -> None:
        await member.close()
        self._auditor.forget(member.name)

    def _check_scale(self, command: Command) -> JsonObject:
        clients = command.args.get("clients")
        if not isinstance(clients, int) or isinstance(clients, bool) or not 0 <= clients <= CLIENTS_MAX:
            raise OperationRefusedError("bad_args", f"clients must be a whole number in 0…{CLIENTS_MAX}")
        return {"clients": clients, "before": self._wanted}

    async def _scale(self, command: Command) -> JsonObject:
        effect = self._check_scale(command)
        clients = effect["clients"]
        assert isinstance(clients, int)
        self._set_size(clients)
        return effect

    # How fast.

    def _check_rate(self, command: Command) -> JsonObject:
        rate = command.args.get("messages_per_s")
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate <= RATE_MAX:
            raise OperationRefusedError("bad_args", f"messages_per_s must be a number in 0…{RATE_MAX:.0f}")
        return {"messages_per_s": rate, "before": self._rate}

    async def _change_rate(self, command: Command) -> JsonObject:
        effect = self._check_rate(command)
        rate = effect["messages_per_s"]
        assert isinstance(rate, int | float)
        self._rate = float(rate)
        self._rate_changed.set()
        return effect

    async def _publish(self) -> None:
        """Publish at the rate, each client in its turn, until cancelled."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            if self._rate <= 0:
                self._rate_changed.clear()
                await self._rate_changed.wait()
                due = clock()
                continue
            due = max(due, clock() - BEHIND_MOST_S)
            while due <= clock():
                self._publish_one()
                due += 1 / self._rate
            self._rate_changed.clear()
            try:
                async with asyncio.timeout(max(due - clock(), TICK_LEAST_S)):
                    await self._rate_changed.wait()
                due = clock() + 1 / self._rate if self._rate > 0 else clock()
            except TimeoutError:
                pass

    def _publish_one(self) -> None:
        if self._members:
            self._turn = (self._turn + 1) % len(self._members)
            if not self._members[self._turn].publish():
                self._skipped += 1

    # What is told.

    def _back(self, back: Back) -> None:
        """Remember how long a way back took; a hand-over is none, nobody was away."""
        if back.handover:
            self._handovers += 1
        else:
            self._resumes_s.append(back.away_s)

    def _unix(self, now: float) -> float:
        return now + self._unix_offset

    async def _tell(self) -> None:
        """Publish the state until cancelled."""
        clock = asyncio.get_running_loop().time
        count = 0
        while True:
            if count % PROCESS_EVERY == 0:
                self._process = self._role.process_state()
            started = clock()
            described = started >= self._describe_at
            self._role.agent.publish(self.state(started))
            if described:
                self._describe_at = started + (clock() - started) / TELLING_SHARE
            count += 1
            await asyncio.sleep(PUBLISH_S)

    def state(self, now: float) -> JsonObject:
        """Return the fleet's admin state."""
        members = self._members
        if now >= self._describe_at:
            told = len(members) <= ALL_TOLD
            every_s = max(POSITIONS_EVERY_S, len(members) / POSITIONS_S)
            self._clients_state = {
                item.name: item.state(now, positions_every_s=every_s) for item in members if told or item.notable(now)
            }
        counts = Counter(
            "connected"
            if member.client.connected
            else "stopped"
            if member.stopped
            else "reconnecting"
            if member.away
            else "connecting"
            for member in members
        )
        state: JsonObject = {
            "clients": len(members),
            "connected": counts["connected"],
            "reconnecting": counts["reconnecting"],
            "connecting": counts["connecting"],
            "stopped": counts["stopped"],
            "rate": self._rate,
            "skipped": self._skipped,
            "handovers": self._handovers,
            "protobuf": sum(member.protobuf for member in members),
            "audit": asdict(self._auditor.counts(now)),
            "clients_state": self._clients_state,
            "process": self._process,
        }
        if self._resumes_s:
            ordered = sorted(self._resumes_s)
            state["resume_ms"] = {"p50": _share(ordered, 0.50), "p99": _share(ordered, 0.99)}
        return state


def _share(ordered: list[float], share: float) -> float:
    """Return the value in milliseconds that `share` of all do not pass."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1_000, 1)
