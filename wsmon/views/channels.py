"""Redis, who leads, what is kept there; the channels and how far each node's feed is; circuit breakers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from wsmon.model.cluster import REDIS, ClusterModel, Peer
from wsmon.model.continuity import AT_REST, WORST_FIRST
from wsmon.model.reading import count, number, table, text
from wsmon.model.standing import leader, voices
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.session import SILENCE_S
from wsmon.protocol.states import PeerKind
from wsmon.views.channels_frame import BreakerRow, ChannelRow, Feed, RedisLink, RedisPicture, Table
from wsmon.views.frame import Severity
from wsmon.views.text import age, clean, name, natural

CHANNELS_MAX: Final = 1_000
NODES_MAX: Final = 64
BREAKERS_MAX: Final = 256
STANDBYS_MAX: Final = 8
UNCERTAIN_S: Final = 0.5
"""A state is published a few times a second: what holds now may be as much older than the peer was heard last."""
ASKED_LATE_S: Final = 2 * SILENCE_S
_ALARMING: Final = frozenset({"forked", "deaf", "stalled", "gap"})
_BREAKERS: Final = {"closed": Severity.QUIET, "half_open": Severity.INFO, "open": Severity.WARNING}


def redis_picture(model: ClusterModel, now: float) -> RedisPicture:
    """Return what is known of Redis and of what goes through it at `now`."""
    seen, heard = model.redis, voices(model, now)
    leading = leader(heard)
    asked_s = None if seen is None else age(seen.at, now)
    state, severity = "unknown", Severity.QUIET
    if seen is not None:
        state, severity = (seen.state, Severity.GOOD if seen.state == "ok" else Severity.BAD)
        if seen.state == "ok" and (asked_s or 0.0) > ASKED_LATE_S:
            state, severity = "silent", Severity.WARNING
    process_id = next((item for item, row in heard.processes.items() if _kind(row) == REDIS), REDIS)
    process = table(heard.processes, process_id)
    nodes = sorted(model.listed(), key=natural)[:NODES_MAX]
    peers = [model.peers.get(item) or Peer(item) for item in nodes]
    channels, hidden = _channels(nodes, peers, now)
    standbys = [peer for peer in model.of_kind(PeerKind.CHECKER) if peer is not leading and peer.fresh(now)]
    verdicts = [node.verdict.at for node in model.nodes.values() if node.verdict is not None]
    return RedisPicture(
        state=state,
        severity=severity,
        since_s=age(model.redis_since, now),
        rtt_ms=None if seen is None or seen.state != "ok" or seen.rtt_ms is None else round(seen.rtt_ms, 1),
        asked_s=asked_s,
        detail="" if seen is None else clean(seen.detail, 80),
        role="" if seen is None else clean(seen.role, 16),
        ops_s=None if seen is None or seen.ops_s is None else round(seen.ops_s, 1),
        process=clean(text(process, "status") or "", 16),
        pid=count(process, "pid"),
        restarts=count(process, "restarts"),
        leader=None if leading is None else name(leading.id),
        epoch=None if leading is None else count(leading.state, "epoch"),
        leader_s=None if leading is None else age(leading.heard_at, now),
        standbys=tuple(name(peer.id) for peer in sorted(standbys, key=lambda peer: natural(peer.id))[:STANDBYS_MAX]),
        registry=_table(len(model.registry), model.registry_at, now),
        verdicts=_table(len(verdicts), model.verdicts_at, now),
        newest_s=age(max(verdicts, default=None), now),
        links=tuple(_link(peer, now) for peer in peers),
        nodes=tuple(name(item) for item in nodes),
        channels=channels,
        hidden=hidden,
        breakers=tuple(_breakers(model, now)),
    )


def _kind(row: object) -> str | None:
    return text(row, "kind") if isinstance(row, dict) else None


def _table(entries: int, at: float | None, now: float) -> Table:
    return Table(number=entries, age_s=age(at, now), old=at is not None and now - at > SILENCE_S)


def _old_s(peer: Peer, now: float) -> float | None:
    return None if peer.fresh(now) or peer.heard_at is None else age(peer.heard_at, now)


def _link(peer: Peer, now: float) -> RedisLink:
    told = table(peer.state, "redis")
    rtt_ms, lease_s = number(told, "rtt_ms"), number(peer.state, "lease_age_s")
    return RedisLink(
        node=name(peer.id),
        state=clean(text(told, "state") or "", 12),
        rtt_ms=None if rtt_ms is None else round(rtt_ms, 1),
        lease_s=None if lease_s is None else round(max(0.0, lease_s), 1),
        old_s=_old_s(peer, now),
    )


@dataclass(slots=True)
class _Told:
    """One node's word of one channel."""

    state: str
    seq: int | None
    members: int | None
    told_at: float
    """When it said so."""
    holds_at: float
    """Until when that is known to have held."""
    old_s: float | None


@dataclass(slots=True)
class _Channel:
    told: dict[str, _Told] = field(default_factory=dict)


def _channels(nodes: list[str], peers: list[Peer], now: float) -> tuple[tuple[ChannelRow, ...], int]:
    found: dict[str, _Channel] = {}
    unnamed = 0
    for peer in peers:
        if peer.state_at is None:
            continue
        feeds = table(peer.state, "feeds")
        unnamed = max(unnamed, (count(peer.state, "channels") or 0) - len(feeds))
        holds_at = max(peer.state_at, (peer.heard_at or 0.0) - UNCERTAIN_S)
        old_s = _old_s(peer, now)
        for channel, feed in feeds.items():
            if isinstance(feed, dict):
                told = _Told(
                    text(feed, "state") or "",
                    count(feed, "seq"),
                    count(feed, "members"),
                    peer.state_at,
                    holds_at,
                    old_s,
                )
                found.setdefault(channel, _Channel()).told[peer.id] = told
    rows = [_channel(channel, one, nodes) for channel, one in found.items()]
    rows.sort(key=lambda row: natural(row.key))
    if len(rows) > CHANNELS_MAX:
        # Those in trouble have their place whatever the others are called.
        ill = [row for row in rows if row.severity is not Severity.GOOD]
        kept = {row.key for row in (ill + [row for row in rows if row.severity is Severity.GOOD])[:CHANNELS_MAX]}
        rows, unnamed = [row for row in rows if row.key in kept], unnamed + len(rows) - len(kept)
    return tuple(rows), unnamed


def _channel(channel: str, one: _Channel, nodes: list[str]) -> ChannelRow:
    fresh = [told for told in one.told.values() if told.old_s is None]
    feeds = tuple(_feed(node, one.told.get(node), one.told) for node in nodes)
    words = {told.state for told in fresh if told.state}
    state, severity = _worst(words)
    behind = max((feed.behind for feed in feeds), default=0)
    members = [told.members for told in fresh if told.members is not None]
    return ChannelRow(
        channel=name(channel),
        key=channel if name(channel) == channel else ascii(channel)[:512],
        state=clean(state, 12),
        severity=severity,
        top=max((told.seq for told in one.told.values() if told.seq is not None), default=None),
        members=sum(members) if members else None,
        behind=behind,
        feeds=feeds,
        old_s=None
        if fresh
        else min((told.old_s for told in one.told.values() if told.old_s is not None), default=None),
    )


def _worst(words: set[str]) -> tuple[str, Severity]:
    for word in WORST_FIRST:
        if word in words:
            return word, Severity.WARNING if word in _ALARMING else Severity.INFO
    strange = sorted(words - AT_REST)
    if strange:
        return strange[0], Severity.INFO
    if "live" in words:
        return "live", Severity.GOOD
    return ("idle", Severity.QUIET) if words else ("", Severity.QUIET)


def _feed(node: str, told: _Told | None, everybody: dict[str, _Told]) -> Feed:
    if told is None:
        return Feed(node=name(node))
    behind = 0
    if told.seq is not None and told.old_s is None and told.state != "idle":
        # Only what others had told before this one's word last held is certain to have been there by then.
        earlier = [
            other.seq for other in everybody.values() if other.seq is not None and other.told_at <= told.holds_at
        ]
        behind = max(0, max(earlier, default=0) - told.seq)
    return Feed(
        node=name(node),
        state=clean(told.state, 12),
        seq=told.seq,
        behind=behind,
        members=told.members,
        old_s=told.old_s,
    )


def _breakers(model: ClusterModel, now: float) -> Iterable[BreakerRow]:
    callers = [peer for peer in model.peers.values() if isinstance(peer.state.get("breakers"), dict)]
    callers.sort(key=lambda peer: (peer.kind is PeerKind.NODE, natural(peer.id)))
    rows = [
        _breaker(peer, target, told, now)
        for peer in callers
        for target, told in sorted(table(peer.state, "breakers").items(), key=lambda item: natural(item[0]))
        if isinstance(told, dict)
    ]
    # What is open is seen first; the others stand as their callers do.
    rows.sort(key=lambda row: (row.severity is Severity.QUIET, row.severity is not Severity.WARNING))
    return rows[:BREAKERS_MAX]


def _breaker(peer: Peer, target: str, told: ReadOnlyJson, now: float) -> BreakerRow:
    word = (text(told, "state") or "unknown").replace("-", "_")
    retry_s = number(told, "retry_in_s")
    old_s = _old_s(peer, now)
    left_s: float | None = None
    if word == "open" and retry_s is not None and old_s is None:
        told_at = now if peer.state_at is None else peer.state_at
        left_s = round(max(0.0, min(retry_s, 1e6) - (now - told_at)), 1)
    return BreakerRow(
        key=f"{ascii(peer.id)[:512]} {ascii(target)[:512]}",
        caller=name(peer.id),
        target=name(target),
        state=clean(word.replace("_", " "), 12),
        severity=Severity.QUIET if old_s is not None else _BREAKERS.get(word, Severity.INFO),
        retry_in_s=left_s,
        old_s=old_s,
    )
