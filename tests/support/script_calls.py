"""Calls of the Lua scripts as a node makes them, with whatever arguments a test wants."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from sample_cluster.core.feed import NO_ENCODING
from sample_cluster.core.messages import Position
from sample_cluster.core.repair import Repair
from sample_cluster.node.credentials import publisher_of
from sample_cluster.redis_link import Call

HISTORY_S, META_S, DEDUPE_S, SESSION_S = 600, 86_400, 31, 37


def append_call(
    key: str,
    *,
    publisher: str,
    cseq: int,
    nonce: int,
    after: int = 0,
    seen: Position | None = None,
    data: str = "1",
    encoding: str = NO_ENCODING,
    epoch: str = "0000000a",
    most: int = 10_000,
) -> Call:
    """Append `publisher`'s message number `cseq`."""
    place: tuple[str | int, ...] = ("", 0, 0) if seen is None else (seen.epoch, seen.seq, seen.nonce)
    return Call(
        "append",
        (f"{key}:log", f"{key}:meta", f"{key}:dedupe:{publisher}"),
        (
            *(
                key,
                cseq,
                after,
                f"{publisher}-{cseq}",
                1_700_000_000_000 + cseq % 1_000,
                data,
                encoding,
                nonce,
                epoch,
                most,
            ),
            *(HISTORY_S, META_S, DEDUPE_S, "PUBLISH"),
            *place,
        ),
    )


def restore_call(key: str, repair: Repair, *, most: int = 10_000) -> Call:
    """Carry out a repair."""
    keys = (f"{key}:log", f"{key}:meta", *(f"{key}:dedupe:{publisher_of(entry.id)}" for entry in repair.entries))
    args: list[str | int] = [key, "PUBLISH", repair.end.epoch, repair.end.seq, repair.end.nonce, repair.epoch]
    args += [most, HISTORY_S, META_S, DEDUPE_S]
    for entry in repair.entries:
        args += [entry.seq, entry.nonce, entry.prev, entry.id, entry.ts, entry.data, entry.encoding or NO_ENCODING]
    return Call("restore", keys, tuple(args))


def claim_call(key: str, *, attempt: int, node: str, connection: str, now_ms: int, new: bool = False) -> Call:
    """Claim a session."""
    return Call("claim", (key,), (attempt, node, connection, now_ms, SESSION_S, int(new)))


def snapshot_call(
    key: str, *, attempt: int, node: str, connection: str, now_ms: int, acks: Mapping[str, Position]
) -> Call:
    """Note up to where a session has acknowledged."""
    text = json.dumps({channel: asdict(place) for channel, place in acks.items()}, separators=(",", ":"))
    return Call("snapshot", (key,), (attempt, node, connection, now_ms, SESSION_S, text))


def revoke_call(key: str) -> Call:
    """End a session for good."""
    return Call("revoke", (key,), (SESSION_S,))
