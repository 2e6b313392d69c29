"""What an action would do, in numbers, before anybody agrees to it."""

from wsmon.commands import KILL_SIGNALS
from wsmon.protocol.states import NodeState
from wsmon.ui.render import values
from wsmon.ui.render.lines import ACCENT, EMPTY, FAINT, MUTED, STRONG, TEXT, WARNING, Ink, Line, Run, Tone, clip, fit
from wsmon.views.frame import Frame, NodeRow

SURVIVORS_MAX = 6
_COSTS = {
    "TERM": "asks it to leave: it drains and ends",
    "KILL": "gone at once; its clients reconnect elsewhere",
    "STOP": "frozen: silent, but its connections stay open",
    "CONT": "goes on after STOP",
}


def node_of(frame: Frame, node: str) -> NodeRow | None:
    """Return the node's row."""
    return next((row for row in frame.nodes if row.id == node), None)


def survivors(frame: Frame, node: str) -> tuple[NodeRow, ...]:
    """Return the nodes that would take over: online, heard from, and not the one in question."""
    return tuple(
        row for row in frame.nodes if row.id != node and row.state is NodeState.ONLINE and row.silent_s is None
    )


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


def last_online(frame: Frame, node: str) -> bool:
    """Return whether no other node could take over."""
    return not survivors(frame, node)


def drain_lines(frame: Frame, node: str) -> tuple[Line, ...]:
    """Return what draining the node would do."""
    row = node_of(frame, node)
    if row is None:
        return ((Run(f"{clip(node, 20)} is not in the table any more.", WARNING),),)
    moving = row.connections
    others = survivors(frame, node)
    clients = f"{values.exact(moving)} connection{'' if moving == 1 else 's'}"
    if not others:
        return (
            (Run(clients, STRONG), Run(" would have nowhere to go:", TEXT)),
            (Run(f"{clip(node, 20)} is the last node online.", Ink(Tone.BAD, bold=True)),),
        )
    lines: list[Line] = [(Run(clients, STRONG), Run(" move to the others, then it leaves.", TEXT)), EMPTY]
    known = tuple(other.connections for other in others if other.connections is not None)
    after: tuple[int | None, ...] = (None,) * len(others)
    if moving is not None and len(known) == len(others):
        after = shares(known, moving)
    for other, then in list(zip(others, after, strict=True))[:SURVIVORS_MAX]:
        lines.append(
            (
                Run("  " + fit(other.id, 8), TEXT),
                Run(fit(values.count(other.connections), 6, right=True), MUTED),
                Run("  → ", FAINT),
                Run(fit(values.count(then), 5), STRONG),
            )
        )
    if len(others) > SURVIVORS_MAX:
        lines.append((Run(f"  and {len(others) - SURVIVORS_MAX} more", MUTED),))
    leaving = sum(other.state is NodeState.DRAINING and other.id != node for other in frame.nodes)
    stay = f"{len(others)} of {len(frame.nodes)} nodes stay online"
    lines += [EMPTY, (Run(stay + (f", {leaving} more drain already" if leaving else "") + ".", MUTED),)]
    return tuple(lines)


def kill_lines(frame: Frame, node: str, chosen: int, width: int) -> tuple[Line, ...]:
    """Return what each signal would do; the chosen one is marked."""
    row = node_of(frame, node)
    if row is None:
        return ((Run(f"{clip(node, 20)} is not in the table any more.", WARNING),),)
    where = " ".join(part for part in (row.process, "" if row.pid is None else f"pid {row.pid}") if part)
    facts = [
        Run(f"{values.exact(row.connections)} connection{'' if row.connections == 1 else 's'}", STRONG),
        Run(" on it", TEXT),
    ]
    if where:
        facts.append(Run(f" · {clip(where, 30)}", MUTED))
    lines: list[Line] = [tuple(facts)]
    if last_online(frame, node):
        lines.append((Run("No other node is online.", Ink(Tone.BAD, bold=True)),))
    lines.append(EMPTY)
    for index, name in enumerate(KILL_SIGNALS):
        here = index == chosen
        lines.append(
            (
                Run("▌ " if here else "  ", ACCENT),
                Run(fit(name, 6), Ink(Tone.ACCENT if here else Tone.TEXT, bold=here)),
                Run(clip(_COSTS[name], max(0, width - 8)), TEXT if here else MUTED),
            )
        )
    return tuple(lines)
