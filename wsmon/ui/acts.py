"""What an action key leads to: a refusal, an action, or a question first. Pure; decided on the newest frame."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from wsmon.commands import KILL_SIGNALS, ROLL, USUAL_KEYS, Keymap
from wsmon.protocol.frames import Json, ReadOnlyJson
from wsmon.protocol.states import NodeState
from wsmon.ui.render import preflight, values
from wsmon.ui.render.footer import named
from wsmon.ui.render.lines import EMPTY, MUTED, STRONG, TEXT, Line, Run, clip
from wsmon.ui.screens.question import Answer, Asked
from wsmon.views.frame import Frame, NodeRow

GONE_PROCESS = ("exited", "failed", "stopped")
EMPTYING_OR_GONE = (NodeState.REMOVED, NodeState.DRAINING, NodeState.LEFT)
NOBODY = "No node is selected; page 1 has them."


@dataclass(frozen=True, slots=True)
class Deed:
    """One action to ask for."""

    op: str
    node: str
    args: ReadOnlyJson = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, and what follows from its answer."""

    asked: Asked
    deeds: Callable[[Answer], tuple[Deed, ...]]


Plan: TypeAlias = str | tuple[Deed, ...] | Ask
"""A sentence why nothing is done, what is done at once, or what is asked before."""


def plan(name: str, nodes: tuple[str, ...], frame: Frame, keymap: Keymap = USUAL_KEYS) -> Plan:
    """Return what the command `name` means for the nodes, as they are in `frame`; sentences name keys of `keymap`."""
    rows = tuple(row for row in frame.nodes if row.id in nodes)
    if name == "heal":
        return (Deed("heal", ""),)
    if name == "restart":
        return _restart(rows, frame)
    if not rows:
        return NOBODY
    ids = tuple(row.id for row in rows)
    match name:
        case "start":
            fit = tuple(row for row in rows if row.process in GONE_PROCESS or row.state is NodeState.LEFT)
            return (
                _now("start", fit) or _frozen(rows, keymap) or _not(rows, "start", lambda row: row.process or row.state)
            )
        case "abort":
            fit = tuple(row for row in rows if row.state is NodeState.DRAINING)
            return _now("abort", fit) or _not(rows, "abort", lambda row: row.state, "no drain to abort")
        case "uncordon":
            return _now("uncordon", rows)
        case "cordon":
            asked = _asked(
                "Cordon",
                rows,
                frame,
                facts=lambda now, _choice, _width: preflight.cordon_lines(now, *ids),
                type_name=lambda now: len(ids) > 1 or preflight.last_online(now, *ids),
            )
            return Ask(asked, lambda _: _now("cordon", rows))
        case "drain":
            fit = tuple(row for row in rows if row.state not in EMPTYING_OR_GONE)
            if not fit:
                return _not(rows, "drain", lambda row: row.state)
            rows, ids = fit, tuple(row.id for row in fit)
            asked = _asked(
                "Drain",
                rows,
                frame,
                facts=lambda now, _choice, _width: preflight.drain_lines(now, *ids),
                type_name=lambda now: len(ids) > 1 or preflight.last_online(now, *ids),
            )
            return Ask(asked, lambda _: _now("drain", rows))
        case "kill":
            asked = _asked(
                "Kill",
                rows,
                frame,
                agree="Send the signal",
                facts=lambda now, choice, width: preflight.kill_lines(now, ids, choice, width),
                type_name=lambda _: True,
                choices=len(KILL_SIGNALS),
            )
            return Ask(asked, lambda answer: _kill(rows, KILL_SIGNALS[answer.choice]))
        case "fault":
            if len(rows) > 1:
                return "One node at a time is broken on purpose; take the marks away."
            node = rows[0].id
            asked = _asked(
                "Break",
                rows,
                frame,
                agree="Break it",
                facts=lambda now, choice, width: preflight.fault_lines(now, node, choice, width),
                type_name=lambda _: True,
                choices=len(preflight.BREAKAGES),
            )
            return Ask(asked, lambda answer: _break(node, preflight.BREAKAGES[answer.choice]))
        case _:
            raise AssertionError(f"the command {name!r} has nothing behind it")


def _restart(rows: tuple[NodeRow, ...], frame: Frame) -> Plan:
    """Marked nodes are restarted in the order of their rows; where one is meant, all can be chosen instead."""
    online = tuple(row.id for row in frame.nodes if row.state is NodeState.ONLINE)
    ids = tuple(row.id for row in rows)
    offers = tuple(dict.fromkeys(offer for offer in (ids, online if len(ids) < 2 else ()) if offer))
    if not offers:
        return "No node is online."
    asked = Asked(
        heading="Restart, one at a time",
        node=frame.header.cluster,
        agree="Restart",
        facts=lambda now, choice, width: preflight.restart_lines(now, offers, choice, width),
        type_name=lambda _: True,
        choices=len(offers),
    )
    return Ask(asked, lambda answer: (Deed(ROLL, "", {"nodes": [*offers[answer.choice]]}),))


def _kill(rows: tuple[NodeRow, ...], signal: str) -> tuple[Deed, ...]:
    return tuple(Deed("kill", row.id, {"signal": signal}) for row in rows)


def _break(node: str, what: preflight.Breakage) -> tuple[Deed, ...]:
    args: dict[str, Json] = {"kind": what.kind, "ttl_s": what.ttl_s}
    if what.value:
        args["value"] = what.value
    return (Deed("fault", what.target.format(node=node), args),)


def _now(op: str, rows: tuple[NodeRow, ...]) -> tuple[Deed, ...]:
    return tuple(Deed(op, row.id) for row in rows)


def _not(rows: tuple[NodeRow, ...], op: str, word: Callable[[NodeRow], str], nothing: str = "") -> str:
    listed = ", ".join(f"{clip(row.id, 20)} is {word(row)}" for row in rows[:3])
    return f"{listed}; there is {nothing or f'nothing to {op}'}."


def _frozen(rows: tuple[NodeRow, ...], keymap: Keymap) -> str:
    """Return what makes the frozen ones of the nodes go on; nothing if none is frozen."""
    frozen = [row for row in rows if row.process == "frozen"]
    if not frozen:
        return ""
    listed = ", ".join(clip(row.id, 20) for row in frozen[:3])
    ways = f"{named('kill', keymap)} then {KILL_SIGNALS[-1]}"
    if any(row.fault for row in frozen):  # Whoever was stopped from outside is nothing that healing knows of.
        ways += f", or {named('heal', keymap)},"
    return (
        f"{listed} {'is' if len(frozen) == 1 else 'are'} frozen: {ways} thaws {'it' if len(frozen) == 1 else 'them'}."
    )


def _asked(
    verb: str,
    rows: tuple[NodeRow, ...],
    frame: Frame,
    *,
    facts: Callable[[Frame, int, int], tuple[Line, ...]],
    type_name: Callable[[Frame], bool],
    agree: str = "",
    choices: int = 1,
) -> Asked:
    """Return a question about nodes. For several the name of the cluster has to be typed, not that of one of them."""
    what = clip(rows[0].id, 20) if len(rows) == 1 else f"{len(rows)} nodes"
    return Asked(
        heading=f"{verb} {what}",
        node=rows[0].id if len(rows) == 1 else frame.header.cluster,
        agree=agree or verb,
        facts=facts,
        type_name=type_name,
        choices=choices,
    )


def arming(frame: Frame) -> Asked:
    """Return the question before a console may act."""
    cluster = frame.header.cluster
    online = f"{frame.header.nodes_online} of {frame.header.nodes_total} nodes online"
    clients = (
        "" if frame.header.clients_connected is None else f", {values.exact(frame.header.clients_connected)} clients"
    )
    lines: tuple[Line, ...] = (
        (Run("Keys will drain, kill and break nodes of", TEXT),),
        (Run(clip(cluster, 40), STRONG), Run(f" ({online}{clients}).", MUTED)),
        EMPTY,
        (Run("Dangerous ones still ask. ! locks it again.", MUTED),),
    )
    return Asked(
        heading="Arm this console",
        node=cluster,
        agree="Arm",
        facts=lambda _frame, _choice, _width: lines,
        type_name=lambda _: True,  # No row of keys that somebody leans on arms it.
        wants_reason=False,
    )
