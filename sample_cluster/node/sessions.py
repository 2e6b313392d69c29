"""Who owns which session: claims in Redis, the owners that have to let go, and snapshots.

Theory of operation. Every connection claims its session before it is welcomed. While Redis is away a claim stays
unknown: the client is served all the same, since messages are fenced by their numbers and publishes by the log, and
the claim is made as soon as Redis is back. Who has lost a session keeps it for a moment: in a hand-over the client
closes the old connection itself, once it has been welcomed on the new one.
"""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from sample_cluster.config import Profile
from sample_cluster.core.claim import Claimed, Expired, Granted, Revoked, Stale, Unknown
from sample_cluster.node.feed import Feeds
from sample_cluster.node.hub import Hub
from sample_cluster.node.store import Connected, Store
from wsmon.agent.cancellation import obey_cancellation

if TYPE_CHECKING:
    from sample_cluster.node.connection import ClientConnection

log = logging.getLogger(__name__)

SWEEP_S: Final = 1.0
LET_GO_S: Final = 1.0
"""How long the owner before waits for its client to close the connection."""
SNAPSHOTS_IN_TTL: Final = 12
"""Snapshots of a busy session within the time that a session is kept; a quiet one gets three."""
TAKEN_OVER: Final = 4502
REVOKED: Final = 4504


class Sessions:
    """The sessions of one node's connections. `run` until cancelled."""

    def __init__(self, node: str, store: Store, feeds: Feeds, hub: Hub, profile: Profile) -> None:
        self._node = node
        self._store = store
        self._feeds = feeds
        self._hub = hub
        self._snapshot_s = profile.resume_ttl_s / SNAPSHOTS_IN_TTL
        self._keep_s = profile.resume_ttl_s / 3
        self._telling: set[asyncio.Task[None]] = set()
        feeds.mailbox = store.mailbox(node)
        feeds.on_mail = self.mail
        feeds.on_restored = self.restored

    async def run(self) -> None:
        """Look after all connections once a second, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            obey_cancellation()
            await asyncio.sleep(SWEEP_S)
            now = clock()
            for member in self._members():
                member.sweep(now)
                if self._feeds.connected and not member.closing:
                    self._look_after(member, now)

    def _members(self) -> "list[ClientConnection]":
        return cast("list[ClientConnection]", [*self._hub.connections.values()])  # A node's hub holds nothing else.

    def _look_after(self, member: "ClientConnection", now: float) -> None:
        if not member.protocol.claimed_for_sure:
            self.claim(member, new=False)
            return
        age_s = now - member.snapshot_at
        if age_s >= self._keep_s or (member.protocol.dirty and age_s >= self._snapshot_s):
            self.snapshot(member, now)

    # Claims.

    def claim(self, member: "ClientConnection", *, new: bool) -> None:
        """Claim the member's session; its protocol is told what came of it."""
        other = self._hub.sessions.get(member.session)
        if other is not None and other is not member and other.attempt >= member.attempt:
            self._answer(member, Stale(other.attempt))
            return
        if not self._feeds.connected:
            self._answer(member, Unknown())
            return
        self._store.claim(_who(member, self._node), new=new, done=partial(self._answer, member))

    def _answer(self, member: "ClientConnection", result: Claimed) -> None:
        other = self._hub.sessions.get(member.session)
        if other is not None and other is not member and not isinstance(result, Stale | Revoked):
            if other.attempt > member.attempt:
                result = Stale(other.attempt)  # It came while ours was on its way, and could not be claimed itself yet.
            else:
                other.let_go(LET_GO_S)
        if isinstance(result, Stale):
            self._hub.resumes["stale"] += 1
        if isinstance(result, Granted) and result.before is not None and result.before.node != self._node:
            self._tell(result.before.node, f"{member.attempt} {member.session}")
        member.claimed(result)

    def _tell(self, node: str, text: str) -> None:
        task = asyncio.get_running_loop().create_task(self._store.tell(node, text), name="let-go")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def mail(self, text: str) -> None:
        """Take what another node says: `attempt session`, the session now belongs to that attempt; 0: to nobody."""
        attempt, _, session = text.partition(" ")
        member = self._hub.sessions.get(session)
        if member is None or not attempt.isdecimal():
            return
        if attempt == "0":
            member.close(REVOKED, "session revoked")
        elif member.attempt < int(attempt):
            member.let_go(LET_GO_S)

    def restored(self) -> None:
        """Make the claims that could not be made while Redis was away."""
        for member in self._members():
            if not member.protocol.claimed_for_sure and not member.closing:
                self.claim(member, new=False)

    async def revoke(self, session: str) -> bool:
        """End a session for good, wherever it is served; return whether it was served.

        Raises:
            StoreUnavailableError: Redis does not answer.

        """
        owner = await self._store.revoke(session)
        self.mail(f"0 {session}")
        if owner is not None and owner.node != self._node:
            await self._store.tell(owner.node, f"0 {session}")
        return owner is not None

    # Snapshots.

    def snapshot(self, member: "ClientConnection", now: float) -> None:
        """Write down up to where a client has acknowledged."""
        member.snapshot_at = now
        member.protocol.dirty = False
        acks = member.protocol.acked()
        self._store.snapshot(_who(member, self._node), acks, done=partial(self._kept, member))

    def farewell(self, member: "ClientConnection", now: float) -> None:
        """Write down where a client was when its connection ended."""
        if self._feeds.connected and member.protocol.claimed_for_sure:
            self.snapshot(member, now)

    @staticmethod
    def _kept(member: "ClientConnection", result: Claimed) -> None:
        match result:
            case Stale() | Revoked():
                member.claimed(result)
            case Granted() | Expired() | Unknown():
                pass


def _who(member: "ClientConnection", node: str) -> Connected:
    return Connected(
        session=member.session, attempt=member.attempt, node=node, connection=f"{member.name}@{member.boot}"
    )
