"""Events as lines of text: one clear sentence for each kind."""

import signal
from functools import lru_cache

from wsmon.model.cluster import ClusterModel
from wsmon.model.ledger import EVENTS_KEPT, Recorded
from wsmon.model.reading import NUMBER_MOST, TIME_MOST
from wsmon.model.timeline import HANDOVER
from wsmon.protocol.events import (
    ActionDone,
    BreakerChanged,
    ClientLost,
    ClockJumped,
    DrainAborted,
    DrainDone,
    DrainProgress,
    DrainStarted,
    EventBody,
    FaultEnded,
    FaultStarted,
    FeedChanged,
    HeartbeatMissed,
    InputRefused,
    LeaderChanged,
    NodeStateChanged,
    ProcessExited,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
    Tilt,
    TunnelsCut,
    Unrecognised,
    ZombieRefused,
    decode_body,
)
from wsmon.protocol.frames import EventFrame, Json
from wsmon.protocol.states import NodeState
from wsmon.views.frame import EventRow, Severity
from wsmon.views.text import clean, name, span

EVENTS_SHOWN = 500
FIELDS_SHOWN = 8
CLOSE_CODES = {
    1000: "closed",
    1001: "node going away",
    1006: "connection broken",
    1012: "node restarting",
    1013: "node overloaded",
    4001: "client too slow",
    4002: "heartbeat lost",
    4010: "node fenced itself",
    4501: "protocol error",
    4502: "taken over",
    4503: "bad credentials",
    4504: "session revoked",
}
_STATE_SEVERITY = {
    NodeState.ONLINE: Severity.GOOD,
    NodeState.SUSPECT: Severity.WARNING,
    NodeState.REMOVED: Severity.BAD,
    NodeState.QUARANTINED: Severity.WARNING,
    NodeState.STALE: Severity.WARNING,
}

_FEEDS = {
    "idle": (Severity.QUIET, "rests: nobody follows it", "rest: nobody follows them"),
    "subscribing": (Severity.QUIET, "begins", "begin"),
    "syncing": (Severity.QUIET, "catches up from the log", "catch up from the log"),
    "live": (Severity.GOOD, "is live", "are live"),
    "gap": (Severity.INFO, "has a gap, and reads it from the log", "have gaps, and read them from the log"),
    "stalled": (Severity.WARNING, "stalled: Redis is away", "stalled: Redis is away"),
    "deaf": (Severity.WARNING, "heard nothing while its log grew", "heard nothing while their logs grew"),
    "forked": (Severity.WARNING, "found another history in its log", "found another history in their logs"),
}
"""State of a feed → how much attention, and what one and several of them do."""
_PLACES = {"ring": "the ring", "log": "the log", "replay": ""}


def event_rows(model: ClusterModel, *, most: int = EVENTS_SHOWN) -> tuple[EventRow, ...]:
    """Return the newest events as rows, newest last. An event's row is made once."""
    return tuple(_row_of(recorded) for recorded in model.events.newest(most))


@lru_cache(maxsize=EVENTS_KEPT)
def _row_of(recorded: Recorded) -> EventRow:
    return _row(recorded.event, recorded.body, recorded.at)


def event_row(event: EventFrame) -> EventRow:
    """Return an event as a row, with the time that its source gave it."""
    return _row(event, decode_body(event), min(max(0.0, event.at), TIME_MOST))


def _row(event: EventFrame, body: EventBody, at: float) -> EventRow:
    severity, text = sentence(body)
    node, client = getattr(body, "node", None), getattr(body, "client", None)
    if isinstance(body, FaultStarted | FaultEnded) and "-" not in body.target:
        node = body.target  # Of a link it would be no process.
    return EventRow(
        key=(_key(event.source), event.boot, event.seq),
        at=at,
        source=name(event.source),
        kind=name(event.kind),
        severity=severity,
        text=clean(text),
        node=name(node) if isinstance(node, str) else None,
        client=name(client) if isinstance(client, str) else None,
        plural=clean(_plural(body), 120),
        fields=tuple((clean(key, 24), _short(value)) for key, value in list(event.fields.items())[:FIELDS_SHOWN]),
    )


def sentence(body: EventBody) -> tuple[Severity, str]:
    """Return how much attention the event asks for, and what happened as a sentence. Still raw: clean it."""
    match body:
        case NodeStateChanged(node=node, old=old, new=new, reason=reason):
            severity = _STATE_SEVERITY.get(new, Severity.INFO)  # type: ignore[call-overload]
            if old == new:
                # Good and bad are said when it comes to that state: only the reason is another one.
                severity = severity if severity is Severity.WARNING else Severity.INFO
                return severity, f"{name(node)} stays {name(new)}{_because(reason)}"
            # Whoever begins was not there, or had left: that it left is no news.
            way = name(new) if (old, new) == (NodeState.LEFT, NodeState.JOINING) else f"{name(old)} → {name(new)}"
            return severity, f"{name(node)} {way}{_because(reason)}"
        case HeartbeatMissed(node=node, connection=connection, count=count, needed=needed):
            who = name(node) if node else f"connection {name(connection or '?')}"
            severity = Severity.WARNING if node else Severity.INFO
            return severity, f"{who} missed heartbeat {_int(count)}/{_int(needed)}"
        case ClientLost(client=client, node=node, code=code):
            severity = Severity.INFO if code == 1000 else Severity.WARNING
            return severity, f"{name(client)} lost {name(node) if node else 'its node'}{_code(code)}"
        case ReconnectScheduled(client=client, attempt=attempt, delay_s=delay_s, jitter=jitter, delay_source=source):
            notes = [f"jitter ×{_num(jitter):.2f}"] if jitter is not None else []
            notes += [name(source)] if source else []
            more = f" ({', '.join(notes)})" if notes else ""
            return Severity.QUIET, f"{name(client)} tries again in {_num(delay_s):.2f} s, attempt {_int(attempt)}{more}"
        case ReconnectStarted(client=client, attempt=attempt):
            return Severity.QUIET, f"{name(client)} attempt {_int(attempt)} begins"
        case ReconnectFailed(client=client, attempt=attempt, outcome=outcome):
            which = "attempt" if attempt is None else f"attempt {_int(attempt)}"
            return Severity.WARNING, f"{name(client)} {which} failed: {clean(outcome, 120)}"
        case Resumed():
            return _resumed(body)
        case DrainStarted(node=node, total=total):
            load = "" if total is None else f": {_int(total)} connections"
            return Severity.INFO, f"{name(node)} begins to drain{load}"
        case DrainProgress(node=node, left=left, total=total):
            return (
                Severity.QUIET,
                f"{name(node)} drains: {_int(left)}{'' if total is None else f' of {_int(total)}'} to go",
            )
        case DrainDone(node=node, forced=forced):
            if forced:
                return Severity.WARNING, f"{name(node)} is drained; {_int(forced)} connections were closed by force"
            return Severity.GOOD, f"{name(node)} is drained"
        case DrainAborted(node=node):
            return Severity.INFO, f"{name(node)} takes clients again: the drain was called off"
        case FaultStarted(fault=fault, target=target, value=value, ttl_s=ttl_s):
            much = f" {clean(value, 40)}" if value else ""
            until = "" if ttl_s is None else f" for {span(_num(ttl_s))}"
            return Severity.WARNING, f"{name(target)} fault injected: {name(fault)}{much}{until}"
        case FaultEnded(fault=fault, target=target):
            return Severity.INFO, f"{name(target)} fault over: {name(fault)}"
        case ProcessExited(id=process, signal=number, code=code):
            if number is not None:
                return Severity.BAD, f"process {name(process)} was killed by {_signal(number)}"
            severity = Severity.INFO if code == 0 else Severity.BAD
            return severity, f"process {name(process)} ended{'' if code is None else f' with code {_int(code)}'}"
        case LeaderChanged(epoch=epoch, who=who):
            return Severity.INFO, f"{name(who)} leads the checkers, epoch {_int(epoch)}"
        case BreakerChanged(name=breaker, old=old, new=new):
            return _breaker(name(breaker), old=old, new=new)
        case FeedChanged(channel=channel, old=old, new=new):
            severity, words, _ = _FEEDS.get(new, (Severity.INFO, f"{name(old)} → {name(new)}", ""))
            return severity, f"feed {name(channel)} {words}"
        case ZombieRefused(client=client, node=node, reason=reason):
            if client:
                at = f" at {name(node)}" if node else ""
                return Severity.WARNING, f"an earlier attempt of {name(client)} was refused{at}{_because(reason)}"
            return Severity.WARNING, f"an earlier life of {name(node or 'somebody')} was refused{_because(reason)}"
        case InputRefused(what=what, reason=reason, node=node):
            about = f" about {name(node)}" if node and node not in reason else ""
            return Severity.WARNING, f"{_article(name(what))}{about} was refused{_because(reason)}"
        case Tilt(gap_s=gap_s, freeze_s=freeze_s):
            stood = f"the checker did nothing for {span(_num(gap_s))}"
            return Severity.WARNING, f"{stood}: it judges nobody for {span(_num(freeze_s))}"
        case ClockJumped(seconds=seconds):
            way = "forward" if seconds >= 0 else "back"
            return (
                Severity.WARNING,
                f"the wall clock jumped {way} by {span(abs(_num(seconds)))}; nothing is judged by it",
            )
        case TunnelsCut(node=node, count=count):
            connections = f"{_int(count)} connection{'' if count == 1 else 's'}"
            return Severity.WARNING, f"the gateway cut {connections} to {name(node)}"
        case ActionDone(actor=actor, op=op, target=target, reason=reason, ok=ok):
            user = actor.get("user")
            who = name(user) if isinstance(user, str) and user else "somebody"
            if ok:
                return Severity.INFO, f"by {who}: {name(op)} {name(target)}{_because(reason)}"
            return Severity.WARNING, f"by {who}: {name(op)} {name(target)} was refused{_because(reason)}"
        case Unrecognised(kind=kind, fields=fields):
            pairs = [f"{clean(key, 24)}={_short(value)}" for key, value in list(fields.items())[:FIELDS_SHOWN]]
            more = " …" if len(fields) > FIELDS_SHOWN else ""
            return Severity.INFO, f"{name(kind)} {' '.join(pairs)}{more}".rstrip()


def _resumed(body: Resumed) -> tuple[Severity, str]:
    client, node, replayed = name(body.client), name(body.node), body.replayed
    if body.how == HANDOVER:
        missed = f", {_int(replayed)} replayed" if replayed else ""
        return Severity.GOOD, f"{client} moved to {node} without a pause{missed}"
    back = f"{client} is back on {node}{'' if body.ms is None else f' after {_num(body.ms) / 1_000:.2f} s'}"
    if body.how == "resync":
        return Severity.WARNING, f"{back}, but had to begin anew: what it missed is gone"
    if replayed:
        where = _PLACES.get(body.how, name(body.how))
        return Severity.GOOD, f"{back}, {_int(replayed)} replayed{f' from {where}' if where else ''}"
    return Severity.GOOD, f"{back}, nothing missed" if replayed == 0 or body.how == "live" else back


def _breaker(breaker: str, *, old: str, new: str) -> tuple[Severity, str]:
    before, after = (word.replace("-", "_") for word in (old, new))
    match after:
        case "open" if before == "half_open":
            return Severity.WARNING, f"{breaker} breaker stays open: the try failed"
        case "open":
            return Severity.WARNING, f"{breaker} breaker opened: no calls until the next try"
        case "half_open":
            return Severity.INFO, f"{breaker} breaker half open: one call may try"
        case "closed":
            return Severity.GOOD, f"{breaker} breaker closed: calls go through again"
        case _:
            return Severity.INFO, f"{breaker} breaker {name(old)} → {name(new)}"


def _plural(body: EventBody) -> str:
    """Return what follows the number when several such events within a short time are one line."""
    match body:
        case ClientLost(node=node):
            return f"clients lost {name(node) if node else 'their node'}"
        case HeartbeatMissed(connection=str(), node=None):
            return "heartbeats of connections missed"
        case ReconnectFailed():
            return "attempts to reconnect failed"
        case Resumed(node=node, how="resync"):
            return f"clients began anew on {name(node)}: what they missed is gone"
        case Resumed(node=node, how=how) if how == HANDOVER:
            return f"clients moved to {name(node)} without a pause"
        case Resumed(node=node):
            return f"clients are back on {name(node)}"
        case FeedChanged(new=new) if new in _FEEDS:
            return f"feeds {_FEEDS[new][2]}"
        case ZombieRefused(client=str(), node=node):
            return f"earlier attempts of clients were refused{f' at {name(node)}' if node else ''}"
        case _:
            return ""


def _article(word: str) -> str:
    return f"{'an' if word[:1] in {*'aeiou'} else 'a'} {word}"


def _because(reason: str) -> str:
    return f": {clean(reason, 160)}" if reason else ""


def _code(code: int | None) -> str:
    if code is None:
        return ""
    return f" ({_int(code)} {CLOSE_CODES[code]})" if code in CLOSE_CODES else f" ({_int(code)})"


def _num(value: float) -> float:
    """Integers of any size pass the decoder, and infinity does; neither can be formatted sensibly."""
    return float(min(max(value, -NUMBER_MOST), NUMBER_MOST))


def _int(value: int) -> int:
    return min(max(value, -(2**53)), 2**53)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {_int(number)}"


def _short(value: Json) -> str:
    match value:
        case str():
            return clean(value, 40)
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return str(_int(value))
        case float():
            return f"{_num(value):g}"
        case list():
            return f"[{len(value)}]"
        case dict():
            return f"{{{len(value)}}}"


def _key(source: str) -> str:
    """Keys are not drawn, but must be unique even for names that differ only in what is neutralised."""
    return source if clean(source, len(source) + 1) == source else ascii(source)
