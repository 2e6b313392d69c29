"""The control plane in Redis."""

import logging
import time
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from sample_cluster.checker.ports import ClusterView, Conflict, Stale, WriteOutcome, Written
from sample_cluster.core.health import Transition
from sample_cluster.core.lease import Claim, Granted, HeldBy, LeaseAnswer
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.redis_link import REDIS_ERRORS, Call, RedisClient, Scripts
from wsmon.errors import RemoteProtocolError
from wsmon.protocol.fields import dump_object
from wsmon.protocol.registry import STREAM_LENGTH, Keys, RegistryEntry, Verdict, decode_entry, decode_verdict
from wsmon.protocol.states import NodeState, PeerKind

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


def decode_entries(texts: dict[str, str | None]) -> dict[str, RegistryEntry]:
    """Return the entries that are there and parse, by id."""
    entries = {}
    for name, text in texts.items():
        try:
            if text is not None:
                entries[name] = decode_entry(text)
        except RemoteProtocolError as error:
            log.warning("registry entry of %s is ignored: %s", name, error)
    return entries


def decode_table(texts: dict[str, str]) -> dict[str, Verdict]:
    """Return the verdicts that parse, by node."""
    table = {}
    for name, text in texts.items():
        try:
            table[name] = decode_verdict(text, node=name)
        except RemoteProtocolError as error:
            log.warning("verdict on %s is ignored: %s", name, error)
    return table


class RedisPlane:
    """Implements `ControlPlane`."""

    def __init__(self, client: RedisClient, keys: Keys, *, who: str, lease_ttl_s: float) -> None:
        self._redis = client
        self._keys = keys
        self._who = who
        self._ttl_ms = round(lease_ttl_s * 1_000)
        self._scripts = Scripts(client)

    async def claim(self, claim: Claim) -> LeaseAnswer:
        """Take or renew the lease."""
        answer = await self._call(
            Call(
                "lease",
                (self._keys.checker_lease, self._keys.checker_epoch),
                (self._who, claim.epoch, claim.floor, int(claim.fresh), self._ttl_ms),
            )
        )
        if answer[0] == "granted":
            return Granted(epoch=int(answer[1]))
        return HeldBy(epoch=int(answer[1]), who=answer[2])

    async def read(self) -> ClusterView:
        """Return registry and table."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrange(self._keys.nodes, 0, -1, withscores=True)
        pipe.hgetall(self._keys.health)
        leases, table = await _available(pipe.execute())
        names = [name for name, _ in leases]
        texts = await _available(self._redis.mget([self._keys.node(name) for name in names])) if names else []
        registered = dict(zip(names, texts, strict=True))
        now = time.time()
        return ClusterView(
            nodes={name: entry for name, entry in decode_entries(registered).items() if entry.kind is PeerKind.NODE},
            expired=frozenset(name for name, until in leases if until < now or registered[name] is None),
            table=decode_table(table),
        )

    async def write(self, verdict: Verdict, transition: Transition, *, expected: int) -> WriteOutcome:
        """Write a verdict."""
        return await self._run(
            verdict,
            document=dump_object(verdict.to_object()),
            expected=expected,
            old=transition.old,
        )

    async def forget(self, verdict: Verdict, *, epoch: int, reason: str, at: float) -> WriteOutcome:
        """Take the node of `verdict`, which stands in the table, off it."""
        gone = Verdict(
            node=verdict.node,
            state=NodeState.LEFT,
            reason=reason,
            epoch=epoch,
            version=verdict.version + 1,
            at=at,
        )
        return await self._run(gone, document="", expected=verdict.version, old=verdict.state)

    async def _run(self, verdict: Verdict, *, document: str, expected: int, old: NodeState) -> WriteOutcome:
        keys = self._keys
        outcome: list[str] = await self._call(
            Call(
                "verdict",
                (keys.health, keys.health_log, keys.checker_epoch, keys.nodes),
                (
                    verdict.node,
                    document,
                    verdict.epoch,
                    expected,
                    verdict.version,
                    str(old),
                    str(verdict.state),
                    verdict.reason,
                    f"{verdict.at:.3f}",
                    STREAM_LENGTH,
                ),
            )
        )
        match outcome:
            case ["stale", epoch]:
                return Stale(int(epoch))
            case ["conflict", standing, version]:
                table = decode_table({verdict.node: standing}) if standing else {}
                return Conflict(table.get(verdict.node), int(version))
            case _:
                return Written()

    async def _call(self, call: Call) -> Any:
        (answer,) = await _available(self._scripts.run([call]))
        if isinstance(answer, Exception):
            raise StoreUnavailableError(f"redis: {answer}") from answer
        return answer


async def _available(call: Awaitable[Answer] | Any) -> Any:
    """Return what Redis answers.

    Raises:
        StoreUnavailableError: it does not.

    """
    try:
        return await cast("Awaitable[Any]", call)
    except REDIS_ERRORS as error:
        raise StoreUnavailableError(f"redis: {error}") from error
