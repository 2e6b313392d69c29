"""What an action would do, in numbers, before anybody agrees to it."""

from dataclasses import dataclass
from typing import Final

from wsmon.commands import KILL_SIGNALS
from wsmon.protocol.states import NodeState
from wsmon.ui.render import values
from wsmon.ui.render.lines import ACCENT, EMPTY, FAINT, MUTED, STRONG, TEXT, WARNING, Ink, Line, Run, Tone, clip, fit
from wsmon.views.frame import Frame, NodeRow

SURVIVORS_MAX = 6
NAMES_MAX = 4
PACE: Final = 0.8
HAND_OVER_S: Final = 1.5
"""How long a drain takes however few there are: the node says it first, and each client opens its second connection."""
"""Part of what the others can accept that a drain makes use of."""
_COSTS = {
    "TERM": "asks it to leave: it drains and ends",
    "KILL": "gone at once; its clients reconnect elsewhere",
    "STOP": "frozen: silent, but its connections stay open",
    "CONT": "goes on after STOP",
}


def node_of(frame: Frame, node: str) -> NodeRow | None:
    """Return the node's row."""
    return next((row for row in frame.nodes if row.id == node), None)


def survivors(frame: Frame, *nodes: str) -> tuple[NodeRow, ...]:
    """Return the nodes that would take over: online, heard from, in reach, and not among those in question."""
    return tuple(
        row
        for row in frame.nodes
        if row.id not in nodes and row.state is NodeState.ONLINE and row.silent_s is None and not row.unreached_by
    )


def _doubts(frame: Frame, *nodes: str) -> list[Line]:
    """Return what is wrong with those that would take over, and with those that look as if they could."""
    online = [row for row in frame.nodes if row.id not in nodes and row.state is NodeState.ONLINE]
    told = [
        f"{clip(row.id, 12)} does not count: {clip(row.unreached_by, 16)} cannot reach it."
        for row in online
        if row.unreached_by
    ]
    told += [
        f"{clip(row.id, 12)} has a fault: {clip(row.fault, 32)}."
        for row in online
        if row.fault and not row.unreached_by
    ]
    return [(Run(text, WARNING),) for text in told[:NAMES_MAX]]


def shares(taking: tuple[int, ...], moving: int) -> tuple[int, ...]:
    """Return the connections of each survivor after the move, given to the least loaded first."""
    if not taking:
        return ()
    order = sorted(range(len(taking)), key=lambda index: taking[index])
    level = list(taking)
    left = moving
    for filled, index in enumerate(order, 1):
        # The `filled` least loaded are level: raise them together up to the next one.
        ceiling = taking[order[filled]] if filled < len(order) else None
        raise_by = left // filled if ceiling is None else min(ceiling - level[index], left // filled)
        for one in order[:filled]:
            level[one] += raise_by
        left -= raise_by * filled
        if ceiling is None or level[index] < ceiling:
            for one in order[:left]:
                level[one] += 1
            break
    return tuple(level)


@dataclass(frozen=True, slots=True)
class Breakage:
    """One way to break something on purpose, as it is offered for a node."""

    kind: str
    target: str
    """`{node}` stands for the node."""
    value: str
    ttl_s: float
    does: str


BREAKAGES: Final = (
    Breakage("freeze", "{node}", "", 20.0, "its process stands still, connections stay open"),
    Breakage("latency", "gateway-{node}", "200ms±50ms", 30.0, "its clients' traffic takes longer, each way"),
    Breakage("loss", "gateway-{node}", "5%", 30.0, "one in twenty segments is sent again"),
    Breakage("bandwidth", "gateway-{node}", "64kB/s", 30.0, "no more than that passes, each way"),
    Breakage("reset", "gateway-{node}", "", 5.0, "its clients' connections are reset, again and again"),
    Breakage("blackhole", "checker-{node}", "both", 15.0, "the leading checker hears nothing of it; clients do"),
    Breakage("blackhole", "{node}-redis", "both", 10.0, "it is cut off from Redis"),
    Breakage("stall", "redis", "", 2.0, "Redis stands still, for every node"),
    Breakage("drop_pubsub", "redis", "", 2.0, "all subscribers are cut, again and again"),
)
"""What the fault menu offers; the command line can do the rest."""


def last_online(frame: Frame, *nodes: str) -> bool:
    """Return whether no other node could take over."""
    return not survivors(frame, *nodes)


def _missing(nodes: tuple[str, ...], rows: tuple[NodeRow, ...]) -> tuple[Line, ...]:
    gone = [node for node in nodes if node not in {row.id for row in rows}]
    return tuple((Run(f"{clip(node, 20)} is not in the table any more.", WARNING),) for node in gone[:NAMES_MAX])


def _rows(frame: Frame, nodes: tuple[str, ...]) -> tuple[NodeRow, ...]:
    return tuple(row for row in frame.nodes if row.id in nodes)


def _plural(number: int | None, word: str) -> str:
    return f"{values.exact(number)} {word}{'' if number == 1 else 's'}"


def _named(rows: tuple[NodeRow, ...]) -> str:
    names = ", ".join(clip(row.id, 12) for row in rows[:NAMES_MAX])
    return names + (f" and {len(rows) - NAMES_MAX} more" if len(rows) > NAMES_MAX else "")


def _sum(rows: tuple[NodeRow, ...]) -> int | None:
    """Return the connections of all rows; None if one of them is not known."""
    known = tuple(row.connections for row in rows if row.connections is not None)
    return sum(known) if len(known) == len(rows) else None


def capacity_of(frame: Frame, staying: int) -> float | None:
    """Return how many new connections a second so many nodes accept together, as far as anybody knows."""
    whole, online = frame.forecast.handshakes_per_s, frame.header.nodes_online
    return None if whole is None or online < 1 else whole * staying / online


def drain_lines(frame: Frame, *nodes: str) -> tuple[Line, ...]:
    """Return what draining the nodes would do."""
    rows = _rows(frame, nodes)
    gone = _missing(nodes, rows)
    if not rows:
        return gone
    moving = _sum(rows)
    others = survivors(frame, *nodes)
    clients = _plural(moving, "connection")
    if not others:
        what = f"{_named(rows)} is the last node online." if len(rows) == 1 else "No other node is online."
        return (
            *gone,
            (Run(clients, STRONG), Run(" would have nowhere to go:", TEXT)),
            (Run(what, Ink(Tone.BAD, bold=True)),),
        )
    leave = "it leaves" if len(rows) == 1 else "they leave"
    lines: list[Line] = [*gone, (Run(clients, STRONG), Run(f" move to the others, then {leave}.", TEXT)), EMPTY]
    if len(rows) > 1:
        lines[-1:] = [(Run(_named(rows), MUTED),), EMPTY]
    lines += _spread(others, moving)
    lines += [EMPTY, _left_online(frame, rows, others), *_doubts(frame, *nodes)]
    pace = capacity_of(frame, len(others))
    if pace is not None and moving:
        per_s = max(1.0, PACE * pace)
        takes_s = HAND_OVER_S + moving / per_s
        takes = f"{takes_s:.1f} s" if takes_s < 60 else values.age(takes_s)
        done = f"Done in about {takes}, at up to {values.rate(per_s)} a second."
        lines += [(Run(done, MUTED),), (Run(f"The others accept {values.rate(pace)}/s.", MUTED),)]
        deadline_s = frame.forecast.drain_deadline_s
        if deadline_s is not None and takes_s > deadline_s:
            lines.append((Run(f"Its deadline is {values.seconds(deadline_s)}: the rest is closed then.", WARNING),))
    return tuple(lines)


def _spread(others: tuple[NodeRow, ...], moving: int | None) -> list[Line]:
    """Return the connections of the survivors before and after."""
    known = tuple(other.connections for other in others if other.connections is not None)
    after: tuple[int | None, ...] = (None,) * len(others)
    if moving is not None and len(known) == len(others):
        after = shares(known, moving)
    lines: list[Line] = [
        (
            Run("  " + fit(other.id, 8), TEXT),
            Run(fit(values.count(other.connections), 6, right=True), MUTED),
            Run("  → ", FAINT),
            Run(fit(values.count(then), 5), STRONG),
        )
        for other, then in list(zip(others, after, strict=True))[:SURVIVORS_MAX]
    ]
    if len(others) > SURVIVORS_MAX:
        lines.append((Run(f"  and {len(others) - SURVIVORS_MAX} more", MUTED),))
    return lines


def _left_online(frame: Frame, rows: tuple[NodeRow, ...], others: tuple[NodeRow, ...]) -> Line:
    leaving = sum(other.state is NodeState.DRAINING and other not in rows for other in frame.nodes)
    stay = f"{len(others)} of {len(frame.nodes)} nodes stay online"
    alone = len(others) == 1
    end = "; no spare." if alone else "."
    return (Run(stay + (f", {leaving} more drain already" if leaving else "") + end, WARNING if alone else MUTED),)


def _floor(frame: Frame) -> Line:
    """Return what the panic floor still allows: silence beyond it removes nobody."""
    removed, allowed = frame.forecast.panic_removed, frame.forecast.panic_allowed
    if removed is None or allowed is None:
        return EMPTY
    room = max(0, allowed - removed)
    words = f"{f'At most {room}' if room else 'No'} more may be removed for silence."
    return (Run(words, MUTED if room else WARNING),)


def kill_lines(frame: Frame, nodes: tuple[str, ...], chosen: int, width: int) -> tuple[Line, ...]:
    """Return what each signal would do; the chosen one is marked."""
    rows = _rows(frame, nodes)
    gone = _missing(nodes, rows)
    if not rows:
        return gone
    costs = _sum(rows)
    facts = [Run(_plural(costs, "connection"), STRONG), Run(" on it" if len(rows) == 1 else " on them", TEXT)]
    if len(rows) == 1:
        row = rows[0]
        where = " ".join(part for part in (row.process, "" if row.pid is None else f"pid {row.pid}") if part)
        if where:
            facts.append(Run(f" · {clip(where, 24)}", MUTED))
    lines: list[Line] = [*gone, tuple(facts)]
    if len(rows) > 1:
        lines.append((Run(clip(_named(rows), width), MUTED),))
    others = survivors(frame, *nodes)
    if not others:
        lines.append((Run("No other node is online.", Ink(Tone.BAD, bold=True)),))
    else:
        lines += [_left_online(frame, rows, others), *_doubts(frame, *nodes)]
        spread_s, pace = frame.forecast.spread_s, capacity_of(frame, len(others))
        if costs and spread_s:
            peak = costs / spread_s
            room = "" if pace is None else f"; the others accept {values.rate(pace)}/s"
            ink = WARNING if pace is not None and peak > pace else MUTED
            lines.append((Run(f"They come back at up to {values.rate(peak)}/s{room}.", ink),))
        floor = _floor(frame)
        if floor:
            lines.append(floor)
    lines.append(EMPTY)
    lines += _choices(tuple((name, _COSTS[name]) for name in KILL_SIGNALS), chosen, width, 6)
    return tuple(lines)


def _choices(entries: tuple[tuple[str, str], ...], chosen: int, width: int, cells: int) -> list[Line]:
    return [
        (
            Run("▌ " if index == chosen else "  ", ACCENT),
            Run(fit(name, cells), Ink(Tone.ACCENT if index == chosen else Tone.TEXT, bold=index == chosen)),
            Run(clip(does, max(0, width - cells - 2)), TEXT if index == chosen else MUTED),
        )
        for index, (name, does) in enumerate(entries)
    ]


def cordon_lines(frame: Frame, *nodes: str) -> tuple[Line, ...]:
    """Return what cordoning the nodes would do."""
    rows = _rows(frame, nodes)
    others = survivors(frame, *nodes)
    if not rows:
        return _missing(nodes, rows)
    what: Line = (Run(_plural(_sum(rows), "connection"), STRONG), Run(" stay; nothing new comes.", TEXT))
    lines: list[Line] = [*_missing(nodes, rows), what, EMPTY]
    if others:
        lines.append((Run(f"{_plural(len(others), 'node')} left for new connections.", MUTED),))
    else:
        lines.append((Run("No other node would take new connections.", Ink(Tone.BAD, bold=True)),))
    return tuple(lines)


def restart_lines(frame: Frame, offers: tuple[tuple[str, ...], ...], chosen: int, width: int) -> tuple[Line, ...]:
    """Return what restarting the nodes of the chosen offer would do."""
    rows = _rows(frame, offers[chosen])
    if not rows:
        return _missing(offers[chosen], rows)
    lines: list[Line] = [
        (Run("Drain, start again, wait until it is online; then the next.", TEXT),),
        (Run("Trouble stops it.", TEXT),),
        EMPTY,
    ]
    entries = [
        (f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}", _named(_rows(frame, nodes)) or "–") for nodes in offers
    ]
    lines += _choices(tuple(entries), chosen, width, 9)
    lines += [EMPTY, (Run(_plural(_sum(rows), "connection"), STRONG), Run(" move at least once.", TEXT))]
    if any(last_online(frame, row.id) for row in rows):
        lines.append((Run("No other node is online.", Ink(Tone.BAD, bold=True)),))
    return tuple(lines)


def fault_lines(frame: Frame, node: str, chosen: int, width: int) -> tuple[Line, ...]:
    """Return the ways to break something at the node; the chosen one is marked and told in words."""
    row = node_of(frame, node)
    if row is None:
        return _missing((node,), ())
    entries = []
    for one in BREAKAGES:
        target = one.target.format(node=node)
        entries.append(
            (" ".join(part for part in (one.kind, one.value) if part), f"{clip(target, 16)}, {one.ttl_s:g} s")
        )
    lines: list[Line] = [
        (Run(_plural(row.connections, "connection"), STRONG), Run(" on it. It heals by itself.", TEXT)),
        EMPTY,
        *_choices(tuple(entries), chosen, width, 22),
        EMPTY,
        (Run(clip(f"{BREAKAGES[chosen].does}.", width), MUTED),),
    ]
    return tuple(lines)
