"""One row for each node, and the sentence that says which guard put it there."""

import math
from collections.abc import Iterable

from wsmon.model.cluster import ClusterModel, Node, Peer
from wsmon.model.continuity import FeedsOff
from wsmon.model.inputs import ProcessSample
from wsmon.model.reading import count, moment, number, span, table, text
from wsmon.model.standing import DEAD_WORDS, Standing, Voices, standing
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.session import BEAT_S, SILENCE_S
from wsmon.protocol.states import NodeState, PeerKind
from wsmon.views import text as words
from wsmon.views.frame import NodeRow
from wsmon.views.text import age, ago, clean, name, natural

QUIET_S = 2.5 * BEAT_S
"""A peer that promised a beat each second is late after this."""
LOOK_KEPT_S = 8.0
"""What our own look at `/health` found is shown for so long; a node that answers is looked at every five seconds."""
REASON_LONGEST = 160
GONE = "its process is gone"
FROZEN = "its process is frozen"
BREAKERS_MAX = 4
"""Breakers looked at; a node has one or two."""
_FEED_WORDS = {
    "forked": "found another history",
    "deaf": "heard nothing",
    "stalled": "stalled",
    "gap": "has a gap",
    "syncing": "catching up",
    "subscribing": "subscribing",
}
_COSTLY = frozenset(
    {NodeState.SUSPECT, NodeState.REMOVED, NodeState.QUARANTINED, NodeState.RECOVERING, NodeState.STALE}
)
_FEEDS_WORDS = {"gap": "have gaps"}


def node_rows(model: ClusterModel, heard: Voices) -> tuple[NodeRow, ...]:
    """Return the nodes in natural order of their names."""
    unreached = cut_off(model, heard.now)
    names = sorted(model.listed(), key=natural)
    return tuple(node_row(model, item, heard, cut_off_by=unreached.get(item, "")) for item in names)


def node_row(model: ClusterModel, item: str, heard: Voices, *, cut_off_by: str = "") -> NodeRow:
    """Return the row of the node called `item`; `cut_off_by` is a gateway that cannot reach it."""
    now = heard.now
    node, peer = model.nodes.get(item) or Node(item), model.peers.get(item) or Peer(item)
    target, process = table(heard.targets, item), table(heard.processes, item)
    stands = standing(model, item, heard)
    status = text(process, "status") or ""
    dead = status in DEAD_WORDS
    connected = peer.gone_at is None and peer.heard_at is not None
    quiet_s = peer.quiet_s(now)
    late = quiet_s is not None and (not connected or quiet_s > QUIET_S)
    # Without a connection nothing is known of the numbers any more; of a silent peer the last ones are, and are old.
    state: ReadOnlyJson = peer.state if connected else {}
    sample = _sample(model, item, process, peer, dead=dead, now=now)
    own = table(state, "process")
    heartbeat, http = table(target, "heartbeat"), table(target, "http")
    # Removed on hard evidence: nobody asked it any more, and its last good answer would look like a present one.
    gone = dead or (stands.state is NodeState.REMOVED and not connected)
    connections = count(state, "connections")
    change = node.connections.change() if connected and not late else None
    lag_ms = peer.lag_ms if peer.lag_ms is not None else number(state, "loop_lag_ms")
    entry = node.entry
    address = text(state, "address") or (entry.address if entry is not None else None)
    return NodeRow(
        id=name(item),
        state=stands.state,
        since_s=age(stands.since_at, now),
        since_at=stands.since_at,
        reason=clean(stands.reason, REASON_LONGEST),
        detail=_detail(stands.state, state, target, connections),
        why=clean(_priced(_why(stands, state, target, process, heard), _price(model, item, stands, now))),
        heartbeat="" if gone and not count(heartbeat, "failed") else _check(heartbeat),
        http="" if gone and not count(http, "failed") else _check(http) or _own_look(node, now),
        misses=count(heartbeat, "failed") or 0,
        misses_needed=count(heartbeat, "needed"),
        # Whoever is removed has been cut off; what a silent one held before says nothing of now.
        connections=None if late and stands.state is NodeState.REMOVED else connections,
        connections_delta=None if change is None else int(change),
        messages_in_s=_rate(node.messages_in.per_second()) if connected and not late else None,
        messages_out_s=_rate(node.messages_out.per_second()) if connected and not late else None,
        lag_ms=_tenths(lag_ms) if connected else None,
        rtt_ms=None if gone else _tenths(number(heartbeat, "rtt_ms")),
        cpu=_tenths(sample.cpu if sample is not None else number(own, "cpu")),
        rss=sample.rss if sample is not None else count(own, "rss"),
        fds=sample.fds if sample is not None and sample.fds is not None else count(own, "fds"),
        uptime_s=None if dead else _uptime(process, peer, now),
        pid=None if dead else _pid(process, peer, sample),
        process=clean(status, 16) or ("frozen" if sample is not None and sample.status == "stopped" else ""),
        address=None if address is None else clean(address, 64),
        silent_s=age(peer.heard_at, now) if late else None,
        fault=_injected(model, item, now) or name(_fault(state)),
        unreached_by=name(cut_off_by),
        unacked=count(state, "unacked"),
        lagging=count(state, "lagging"),
        retransmits=count(state, "retransmits"),
        # What a silent node was in the middle of says nothing about now.
        troubles=(
            *((f"{name(cut_off_by)} cannot reach it",) if cut_off_by else ()),
            *((clean(trouble, 120) for trouble in _troubles(node, peer, now)) if connected and not late else ()),
        ),
    )


def _injected(model: ClusterModel, item: str, now: float) -> str:
    """Return the fault that is on at a node, or on a link to it: `freeze`, `blackhole on gateway-n1`."""
    faults = sorted(model.faults_at(item, now), key=lambda fault: fault.target != item)
    if not faults:
        return ""
    where = "" if faults[0].target == item else f" on {name(faults[0].target)}"
    return f"{name(faults[0].fault)}{where}"


def cut_off(model: ClusterModel, now: float) -> dict[str, str]:
    """Return the nodes that a gateway's breaker keeps calls from, and which gateway's."""
    found = {}
    for peer in model.of_kind(PeerKind.GATEWAY):
        for node, told in table(peer.state, "breakers").items() if peer.fresh(now) else ():
            if isinstance(told, dict) and text(told, "state") not in {None, "closed"}:
                found[node] = peer.id
    return found


def _troubles(node: Node, peer: Peer, now: float) -> Iterable[str]:
    """Return what is not as it should be besides the state, the worst first."""
    heard_at = now if peer.state_at is None else peer.state_at
    cut = False
    for breaker, told in list(table(peer.state, "breakers").items())[:BREAKERS_MAX]:
        word = text(told, "state") if isinstance(told, dict) else None
        if not isinstance(told, dict) or word is None or word == "closed":
            continue
        cut = True
        retry_in_s = number(told, "retry_in_s")
        again = "" if retry_in_s is None or word != "open" else _again(retry_in_s - (now - heard_at))
        yield f"{name(breaker)} breaker {clean(word, 16).replace('_', ' ')}{again}"
    yield from (_off(feeds) for feeds in node.feeds_off)
    redis = text(table(peer.state, "redis"), "state")
    if redis not in {None, "ok", "live"} and not cut:
        yield f"redis is {clean(redis or '', 16)} for it"
    lagging = count(peer.state, "lagging")
    if lagging:
        yield "1 session does not keep up" if lagging == 1 else f"{lagging} sessions do not keep up"


def _again(wait_s: float) -> str:
    return f", tries again in {words.span(wait_s) if wait_s >= 60 else f'{math.ceil(wait_s)} s'}" if wait_s > 0 else ""


def _off(feeds: FeedsOff) -> str:
    """Return `feed room.1 stalled`, `feeds room.1, room.2, room.3 and 4 more stalled`."""
    word = _FEED_WORDS.get(feeds.state, clean(feeds.state, 16))
    if feeds.number == 1:
        return f"feed {clean(feeds.channels[0], 24)} {word}"
    shown = ", ".join(clean(channel, 16) for channel in feeds.channels)
    more = feeds.number - len(feeds.channels)
    return f"feeds {shown}{f' and {more} more' if more else ''} {_FEEDS_WORDS.get(feeds.state, word)}"


def _sample(
    model: ClusterModel, item: str, process: ReadOnlyJson, peer: Peer, *, dead: bool, now: float
) -> ProcessSample | None:
    """Return the sample of the node's present process."""
    sample = model.samples.get(item)
    if sample is None or dead or now - sample.at > SILENCE_S:
        return None
    pid = count(process, "pid") or (peer.hello.pid if peer.hello is not None else 0)
    return sample if pid in (0, sample.pid) else None


def _pid(process: ReadOnlyJson, peer: Peer, sample: ProcessSample | None) -> int | None:
    if sample is not None:
        return sample.pid
    return count(process, "pid") or (peer.hello.pid if peer.hello is not None and peer.gone_at is None else 0) or None


def _uptime(process: ReadOnlyJson, peer: Peer, now: float) -> float | None:
    started_at = moment(process, "started_at")
    if started_at is None and peer.gone_at is None and 1e12 < peer.boot < 1e14:
        started_at = peer.boot / 1_000  # A boot is the start in milliseconds, unless the clock went back.
    return None if started_at is None else float(int(max(0.0, now - started_at)))


def _check(probe: ReadOnlyJson) -> str:
    """Return `ok` or `2/3`; nothing if there was no answer to any check yet."""
    failed, needed = count(probe, "failed"), count(probe, "needed")
    if failed:
        return f"{failed}/{needed}" if needed else str(failed)
    return "ok" if failed == 0 and moment(probe, "last_ok") is not None else ""


def _own_look(node: Node, now: float) -> str:
    """Return what our own look at `/health` found: the second best, when no checker tells."""
    if node.http is None or now - node.http.at > LOOK_KEPT_S:
        return ""
    return "ok" if node.http.ok else str(node.http.status or "no")


def _fault(state: ReadOnlyJson) -> str:
    faults = state.get("faults")
    first = faults[0] if isinstance(faults, list) and faults else None
    if isinstance(first, dict):
        return text(first, "fault") or text(first, "kind") or "fault"
    return first if isinstance(first, str) else ""


def _detail(state: NodeState, own: ReadOnlyJson, target: ReadOnlyJson, connections: int | None) -> str:
    match state:
        case NodeState.SUSPECT:
            checks = (_check(table(target, "heartbeat")), _check(table(target, "http")))
            return next((check for check in checks if check not in ("", "ok")), "")
        case NodeState.DRAINING:
            left = count(table(own, "drain"), "left")
            left = connections if left is None else left
            return "" if left is None else str(left)
        case NodeState.QUARANTINED:
            wait_s = count(target, "reuse_in_s")
            return "" if wait_s is None else f"{wait_s // 60}:{wait_s % 60:02}"
        case _:
            return ""


def _why(stands: Standing, own: ReadOnlyJson, target: ReadOnlyJson, process: ReadOnlyJson, heard: Voices) -> str:
    story = _story(stands, own, target, heard.now)
    status = text(process, "status")
    if status in DEAD_WORDS:
        ended = clean(text(process, "exit") or "", 32)
        how = f" ({ended})" if ended else ""
        return f"{story}{how}" if GONE in story else _because(f"{GONE}{how}", story)
    return _because(FROZEN, story) if status == "frozen" else story


def _because(cause: str, story: str) -> str:
    """Return the story with what says most before the rest of its reasons: its end is what a narrow screen cuts."""
    state, colon, rest = story.partition(": ")
    return f"{state}: {cause}; {rest}" if colon else f"{story}; {cause}"


def _price(model: ClusterModel, item: str, stands: Standing, now: float) -> str:
    """Return what the trouble that is on has cost: `13 of 20 clients back`; nothing if it cost nothing."""
    toll = model.tolls.get(item)
    if toll is None or not toll.lost or toll.over_at is not None or stands.state not in _COSTLY:
        return ""
    clients = "client" if toll.lost == 1 else "clients"
    whole_at = toll.whole_at
    if whole_at is None:
        return f"{toll.back} of {toll.lost} {clients} back"
    took = words.span(max(0.0, min(whole_at, now) - toll.began_at))
    return f"{toll.lost} {clients} back in {took}" if toll.lost < 2 else f"all {toll.lost} clients back in {took}"


def _priced(story: str, price: str) -> str:
    """Return the story with its price behind the state: what comes last is what is cut on a narrow screen."""
    if not price:
        return story
    state, colon, rest = story.partition(": ")
    return f"{state}, {price}{colon}{rest}"


def _story(stands: Standing, own: ReadOnlyJson, target: ReadOnlyJson, now: float) -> str:
    since_s = age(stands.since_at, now)
    reason = clean(stands.reason, REASON_LONGEST)
    because = f": {reason}" if reason else ""
    match stands.state:
        case NodeState.SUSPECT:
            checks = [_checked("heartbeat", target, now), _checked("http", target, now)]
            told = ", ".join(check for check in checks if check)
            if " missed" not in told:
                # Hard evidence, or news that are ahead of the checker's counts: its reason says it all.
                told = reason or "a check failed"
            return f"suspect: {told}{_removal(target, now)}"
        case NodeState.ONLINE:
            return "online" if since_s is None else f"online for {words.span(since_s)}"
        case NodeState.DRAINING:
            return f"draining{_drain(own, now)}"
        case NodeState.STALE:
            return f"stale: nothing heard for {words.span(since_s or 0.0)}{because}"
        case NodeState.QUARANTINED:
            wait_s = number(target, "reuse_in_s")
            return f"quarantined{because}" + ("" if wait_s is None else f"; comes back in {words.span(wait_s)}")
        case NodeState.CORDONED:
            return "cordoned: keeps its clients, takes no new ones"
        case NodeState.REMOVED | NodeState.LEFT:
            return f"{stands.state}{'' if since_s is None else f' {ago(since_s)}'}{because}"
        case NodeState.JOINING | NodeState.RECOVERING:
            return f"{stands.state}{because}"


def _checked(kind: str, target: ReadOnlyJson, now: float) -> str:
    probe = table(target, kind)
    result = _check(probe)
    if not result or result == "ok":
        return f"{kind} ok" if result else ""
    last_ok = moment(probe, "last_ok")
    answered = "" if last_ok is None else f" (last answer {ago(age(last_ok, now) or 0.0)})"
    return f"{kind} {result} missed{answered}"


def _removal(target: ReadOnlyJson, now: float) -> str:
    window = span(target, "removal_window")
    if window is None:
        return ""
    least, most = (max(0.0, at - now) for at in window)
    if most <= 0:
        return "; removal is due"
    when = f"within {most:.1f} s" if least <= 0 else f"in {least:.1f}–{most:.1f} s"
    return f"; removal {when} unless it answers"


def _drain(own: ReadOnlyJson, now: float) -> str:
    drain = table(own, "drain")
    left, total, deadline = count(drain, "left"), count(drain, "total"), moment(drain, "deadline")
    parts = []
    if left is not None:
        parts.append(f"{left} of {total} connections to go" if total is not None else f"{left} connections to go")
    eta_s = number(drain, "eta_s")
    if eta_s is not None and eta_s > 0 and left:
        parts.append(f"about {math.ceil(min(eta_s, 1e6))} s to go")
    if deadline is not None and deadline > now:
        parts.append(f"the rest is closed in {words.span(deadline - now)}")
    return f": {', '.join(parts)}" if parts else ""


def _rate(value: float | None) -> float | None:
    return None if value is None else round(max(0.0, value), 1)


def _tenths(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
