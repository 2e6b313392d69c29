"""What the Lua scripts do, as plain Python on plain values: a Redis for simulations, and for nodes on virtual time.

`tests/e2e/test_scripts.py` holds it against the scripts on a real server, call by call.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from sample_cluster.core.feed import NO_ENCODING, Entry, Page, parse_stored
from sample_cluster.redis_link import Call

SEARCHED = 1_024
Reply = list[str]
Fields = dict[str, str]


@dataclass
class Keyspace:
    """What a server holds."""

    hashes: dict[str, Fields] = field(default_factory=dict)
    streams: dict[str, dict[int, Fields]] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)


class ModelRedis:
    """One server. `publish` is called with channel and text of what scripts publish."""

    def __init__(self, publish: Callable[[str, str], None] = lambda _channel, _text: None) -> None:
        self.keys = Keyspace()
        self.publish = publish
        # Rules that a mutant may switch off.
        self.nonces = True
        self.dedupe = True
        self.fence = True
        self.fork_check = True

    def snapshot(self) -> Keyspace:
        """Return a copy of everything: what a replica has."""
        return deepcopy(self.keys)

    def run(self, call: Call) -> Reply:
        """Run a script."""
        script: Callable[..., Reply] = getattr(self, f"_{call.script}")
        return script(call.keys, [str(value) for value in call.args])

    # What nodes read without a script.

    def page(self, key: str, *, epoch: str, after: int | None = None, most: int) -> Page:
        """Return at most `most` entries after `after`, or before the end; `epoch` begins a log that has none."""
        meta = self.keys.hashes.setdefault(f"{key}:meta", {})
        meta.setdefault("epoch", epoch)
        stream = self.keys.streams.get(f"{key}:log", {})
        seqs = sorted(stream)
        seqs = seqs[-most:] if after is None else [seq for seq in seqs if seq > after][:most]
        entries: tuple[Entry, ...] = tuple(parse_stored(f"{seq}-0", stream[seq]) for seq in seqs)
        return Page(
            epoch=meta["epoch"],
            top=int(meta.get("top", 0)),
            nonce=int(meta.get("nonce", 0)),
            entries=entries if "top" in meta else (),
        )

    def trim(self, key: str, keep: int) -> None:
        """Forget all but the newest `keep` entries."""
        stream = self.keys.streams.get(f"{key}:log", {})
        for seq in sorted(stream)[: max(0, len(stream) - keep)]:
            del stream[seq]

    # The scripts.

    def _append(self, keys: tuple[str, ...], argv: list[str]) -> Reply:
        log, meta_key, dedupe_key = keys
        channel, cseq_text, after, name, ts, data, encoding, nonce, first_epoch, most = argv[:10]
        seen_epoch, seen_seq, seen_nonce = argv[14:17]
        meta = self.keys.hashes.get(meta_key, {})
        epoch, top, prev = meta.get("epoch"), meta.get("top"), meta.get("nonce")
        seen = int(seen_seq)
        if self.fork_check and seen > 0:
            other = epoch != seen_epoch or int(top or 0) < seen
            if other or (int(top or 0) == seen and prev != seen_nonce):
                return ["fork", top or "0"]
        cseq, last, last_seq = int(cseq_text), 0, "0"
        known = self.keys.strings.get(dedupe_key)
        if known is not None:
            last_text, last_seq = known.split(" ")
            last = int(last_text)
        if self.dedupe:
            if cseq == last:
                return ["dup", last_seq]
            if cseq < last:
                return ["dup", self._find(log, int(last_seq), name)]
            if last < int(after):
                return ["order", str(last)]
        if top is None:
            top, prev = "0", "0"
            self.keys.streams.pop(log, None)
        assert prev is not None
        epoch, seq = epoch or first_epoch, int(top) + 1
        nonce = nonce if self.nonces else "0"
        self._add(log, seq, int(most), nonce=nonce, prev=prev, id=name, ts=ts, data=data, encoding=encoding)
        self.keys.hashes[meta_key] = {"epoch": epoch, "top": str(seq), "nonce": nonce}
        self.keys.strings[dedupe_key] = f"{cseq} {seq}"
        self.publish(channel, " ".join((epoch, str(seq), nonce, prev, ts, name, encoding, data)))
        return ["ok", str(seq)]

    def _find(self, log: str, last: int, name: str) -> str:
        stream = self.keys.streams.get(log, {})
        for seq in sorted((seq for seq in stream if seq <= last), reverse=True)[:SEARCHED]:
            if stream[seq]["id"] == name:
                return str(seq)
        return "0"

    def _restore(self, keys: tuple[str, ...], argv: list[str]) -> Reply:
        log, meta_key = keys[:2]
        channel, _, end_epoch, end_top, end_nonce, epoch, most = argv[:7]
        meta = self.keys.hashes.get(meta_key, {})
        if (meta.get("epoch", ""), meta.get("top", "0"), meta.get("nonce", "0")) != (end_epoch, end_top, end_nonce):
            return ["moved"]
        if end_top == "0":
            self.keys.streams.pop(log, None)
        for index, dedupe_key in enumerate(keys[2:]):
            seq, nonce, prev, name, ts, data, encoding = argv[10 + 7 * index : 17 + 7 * index]
            self._add(log, int(seq), int(most), nonce=nonce, prev=prev, id=name, ts=ts, data=data, encoding=encoding)
            self.keys.hashes[meta_key] = {"epoch": epoch, "top": seq, "nonce": nonce}
            tail = name.rpartition("-")[2]
            cseq = int(tail) if tail.isdecimal() and "-" in name else 0
            if cseq > int(self.keys.strings.get(dedupe_key, "0").split(" ")[0]):
                self.keys.strings[dedupe_key] = f"{cseq} {seq}"
            self.publish(channel, f"{epoch} {seq} {nonce} {prev} {ts} {name} {encoding} {data}")
        return ["ok"]

    def _claim(self, keys: tuple[str, ...], argv: list[str]) -> Reply:
        (key,) = keys
        attempt, node, connection, now_ms, _, new = argv
        known = self.keys.hashes.get(key, {})
        refusal = self._refused(known, attempt, node, connection)
        if refusal is not None:
            return refusal
        self.keys.hashes[key] = {
            **known,
            "attempt": attempt,
            "node": node,
            "connection": connection,
            "timestamp": now_ms,
        }
        if "attempt" not in known:
            return ["ok", "", "", ""] if new == "1" else ["expired"]
        acks = known.get("acks", "")
        if self._mine(known, node, connection):
            return ["ok", "", "", acks]
        return ["ok", known.get("node", ""), known.get("connection", ""), acks]

    def _snapshot(self, keys: tuple[str, ...], argv: list[str]) -> Reply:
        (key,) = keys
        attempt, node, connection, now_ms, _, acks = argv
        known = self.keys.hashes.get(key, {})
        refusal = self._refused(known, attempt, node, connection)
        if refusal is not None:
            return refusal
        self.keys.hashes[key] = {
            **known,
            "attempt": attempt,
            "node": node,
            "connection": connection,
            "timestamp": now_ms,
            "acks": acks,
        }
        return ["ok"]

    def _revoke(self, keys: tuple[str, ...], _argv: list[str]) -> Reply:
        (key,) = keys
        known = self.keys.hashes.get(key, {})
        self.keys.hashes[key] = {**known, "revoked": "1"}
        return [known.get("node", ""), known.get("connection", "")]

    def _refused(self, known: Fields, attempt: str, node: str, connection: str) -> Reply | None:
        if "revoked" in known:
            return ["revoked"]
        if not self.fence or "attempt" not in known:
            return None
        higher = int(known["attempt"]) - int(attempt)
        if higher > 0 or (higher == 0 and not self._mine(known, node, connection)):
            return ["stale", known["attempt"]]
        return None

    @staticmethod
    def _mine(known: Fields, node: str, connection: str) -> bool:
        return (known.get("node"), known.get("connection")) == (node, connection)

    def _add(self, log: str, seq: int, most: int, **fields: str) -> None:
        stream = self.keys.streams.setdefault(log, {})
        assert seq > max(stream, default=0), "a stream's ids only rise"
        stream[seq] = dict(fields)
        if len(stream) > most:
            for old in sorted(stream)[: len(stream) - most]:
                del stream[old]


def acks_of(reply: Any) -> Mapping[str, Any]:
    """Return the acknowledged positions in a claim's answer."""
    return dict(json.loads(reply[3] or "{}"))


__all__ = ["NO_ENCODING", "Call", "Keyspace", "ModelRedis", "acks_of"]
