"""The control plane in Redis."""

import time
from collections.abc import Awaitable, Mapping
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

Answer = TypeVar("Answer")


def decode_entries(texts: Mapping[str, str | None]) -> tuple[dict[str, RegistryEntry], dict[str, str]]:
    """Return the entries that are there and make sense, by id, and what is wrong with the others."""
    entries, refused = {}, {}
    for name, text in texts.items():
        try:
            if text is not None:
                entry = decode_entry(text)
                if entry.id != name:
                    raise RemoteProtocolError(f"it says that it is {entry.id}")
                entries[name] = entry
        except RemoteProtocolError as error:
            refused[name] = f"registry entry of {name}: {error}"
    return entries, refused


def decode_table(texts: Mapping[str, str]) -> tuple[dict[str, Verdict], dict[str, str]]:
    """Return the verdicts that parse, by node, and what is wrong with the others."""
    table, refused = {}, {}
    for name, text in texts.items():
        try:
            table[name] = decode_verdict(text, node=name)
        except RemoteProtocolError as error:
            refused[name] = f"verdict on {name}: {error}"
    return table, refused


class RedisPlane:
    """Implements `ControlPlane`."""

    def __init__(self, client: RedisClient, keys: Keys, *, who: str, lease_ttl_s: float) -> None:
        self._redis = client
        self._keys = keys
        self._who = who
        self._ttl_ms = round(lease_ttl_s * 1_000)
        self._scripts = Scripts(client)

    async def claim(self, claim: Claim) -> LeaseAnswer:
        """Take or renew the lease. It writes in any case, so that its failure means that Redis cannot be written to."""
        answer = await self._lease(claim, "take" if claim.take else "look")
        if answer[0] == "granted":
            return Granted(epoch=int(answer[1]))
        left_ms = int(answer[3])
        return HeldBy(epoch=int(answer[1]), who=answer[2], left_s=left_ms / 1_000 if left_ms >= 0 else None)

    async def release(self, claim: Claim) -> None:
        """Give the lease back if it is ours."""
        await self._lease(claim, "release")

    async def _lease(self, claim: Claim, what: str) -> list[str]:
        keys = self._keys
        answer: list[str] = await self._call(
            Call(
                "lease",
                (keys.checker_lease, keys.checker_epoch, f"{keys.checker_lease}:canary"),
                (self._who, claim.epoch, claim.floor, int(claim.fresh), self._ttl_ms, what),
            )
        )
        return answer

    async def read(self) -> ClusterView:
        """Return registry and table."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrange(self._keys.nodes, 0, -1, withscores=True)
        pipe.hgetall(self._keys.health)
        leases, verdicts = await _available(pipe.execute())
        names = [name for name, _ in leases]
        texts = await _available(self._redis.mget([self._keys.node(name) for name in names])) if names else []
        registered = dict(zip(names, texts, strict=True))
        now = time.time()
        entries, refused = decode_entries(registered)
        table, unreadable = decode_table(verdicts)
        return ClusterView(
            nodes={name: entry for name, entry in entries.items() if entry.kind is PeerKind.NODE},
            # A lease is judged by whether Redis still has the entry, too: our own clock may have jumped.
            expired=frozenset(name for name, until in leases if until < now or registered[name] is None),
            checkers=frozenset(name for name, entry in entries.items() if entry.kind is PeerKind.CHECKER),
            table=table,
            refused=(*refused.values(), *unreadable.values()),
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
                table, _ = decode_table({verdict.node: standing} if standing else {})
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
