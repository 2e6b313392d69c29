"""What an action key leads to: a refusal, an action, or a question first. Pure; decided on the newest frame."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from wsmon.commands import KILL_SIGNALS
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.states import NodeState
from wsmon.ui.render import preflight, values
from wsmon.ui.render.lines import EMPTY, MUTED, TEXT, Line, Run, clip
from wsmon.ui.screens.question import Answer, Asked
from wsmon.views.frame import Frame, NodeRow

GONE_PROCESS = ("exited", "failed", "stopped")
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


def plan(name: str, nodes: tuple[str, ...], frame: Frame) -> Plan:
    """Return what the command `name` means for the nodes, as they are in `frame`."""
    rows = tuple(row for row in frame.nodes if row.id in nodes)
    if name == "heal":
        return (Deed("heal", ""),)
    if not rows:
        return NOBODY
    match name:
        case "start":
            fit = tuple(row for row in rows if row.process in GONE_PROCESS or row.state is NodeState.LEFT)
            return _now("start", fit) or _not(rows, "start", lambda row: row.process or row.state)
        case "abort":
            fit = tuple(row for row in rows if row.state is NodeState.DRAINING)
            return _now("abort", fit) or _not(rows, "abort", lambda row: row.state, "no drain to abort")
        case "uncordon":
            return _now("uncordon", rows)
        case "drain":
            return Ask(
                _asked(
                    "Drain",
                    rows,
                    frame,
                    facts=lambda now, _choice, _width: preflight.drain_lines(now, rows[0].id),
                    type_name=lambda now: len(rows) > 1 or preflight.last_online(now, rows[0].id),
                ),
                lambda _: _now("drain", rows),
            )
        case "kill":
            return Ask(
                _asked(
                    "Kill",
                    rows,
                    frame,
                    agree="Send the signal",
                    facts=lambda now, choice, width: preflight.kill_lines(now, rows[0].id, choice, width),
                    type_name=lambda _: True,
                    choices=len(KILL_SIGNALS),
                ),
                lambda answer: tuple(Deed("kill", row.id, {"signal": KILL_SIGNALS[answer.choice]}) for row in rows),
            )
        case _:
            raise AssertionError(f"the command {name!r} has nothing behind it")


def _now(op: str, rows: tuple[NodeRow, ...]) -> tuple[Deed, ...]:
    return tuple(Deed(op, row.id) for row in rows)


def _not(rows: tuple[NodeRow, ...], op: str, word: Callable[[NodeRow], str], nothing: str = "") -> str:
    listed = ", ".join(f"{clip(row.id, 20)} is {word(row)}" for row in rows[:3])
    return f"{listed}; there is {nothing or f'nothing to {op}'}."


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
    cluster = clip(frame.header.cluster, 30)
    online = f"{frame.header.nodes_online} of {frame.header.nodes_total} nodes online"
    clients = (
        "" if frame.header.clients_connected is None else f", {values.exact(frame.header.clients_connected)} clients"
    )
    lines: tuple[Line, ...] = (
        (Run(f"Keys will drain, kill and break nodes of {cluster}", TEXT),),
        (Run(f"({online}{clients}).", MUTED),),
        EMPTY,
        (Run("Dangerous ones still ask. ! locks it again.", MUTED),),
    )
    return Asked(
        heading="Arm this console",
        node=cluster,
        agree="Arm",
        facts=lambda _frame, _choice, _width: lines,
        type_name=lambda _: False,
    )
