"""Which peer has to be asked for an action, decided without talking to anybody."""

from dataclasses import dataclass

from wsmon.commands import Action
from wsmon.errors import OperationRefusedError
from wsmon.protocol.frames import JsonObject, ReadOnlyJson
from wsmon.protocol.states import NodeState

SUPERVISOR = "supervisor"
FLEET = "fleet"
_NODE_OPS = {"drain": "drain", "abort": "undrain", "cordon": "cordon", "uncordon": "uncordon"}
_SUPERVISOR_OPS = ("kill", "start", "stop", "restart", "freeze", "thaw", "fault", "heal")
_FLEET_OPS = {"clients": "scale", "rate": "rate"}
_NAMED = {"fault": "target", "heal": "name"}
"""What operations that are not for processes alone call what they are for."""
OPS = (*_NODE_OPS, *_SUPERVISOR_OPS, *_FLEET_OPS)
_AWAY_FROM_DUTY = (NodeState.LEFT, NodeState.DRAINING)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation to ask one peer for."""

    peer: str
    op: str
    args: ReadOnlyJson


def plan(action: Action, *, supervised: bool, node_state: str | None) -> Step:
    """Return what to ask whom.

    `supervised` says whether a supervisor can be asked, `node_state` what the node says of itself (None if it cannot
    be asked). Processes belong to their supervisor; without one a node can only be told to end itself.

    Raises:
        OperationRefusedError: nobody who could do it can be reached, or there is no such action.

    """
    node = action.node
    if action.op in _NODE_OPS:
        if node_state is None:
            raise OperationRefusedError("node_away", f"{node} cannot be reached", hint="start it first")
        return Step(node, _NODE_OPS[action.op], action.args)
    if action.op in _FLEET_OPS:
        return Step(node or FLEET, _FLEET_OPS[action.op], action.args)
    if action.op not in _SUPERVISOR_OPS:
        raise OperationRefusedError("unknown_op", f"no action {action.op!r}; there are: {', '.join(OPS)}")
    if action.op == "start" and node_state in _AWAY_FROM_DUTY:
        # Its process runs and it left by itself: what is wanted is that it serves again.
        return Step(node, "undrain", {})
    if supervised:
        # Healing everything is asked for without a name.
        named: JsonObject = {_NAMED.get(action.op, "id"): node} if node else {}
        return Step(SUPERVISOR, action.op, {**named, **action.args})
    if action.op == "kill" and node_state is not None:
        return Step(node, "kill", action.args)
    raise OperationRefusedError(
        "no_supervisor", f"nobody here can {action.op} {node or 'anything'}: no supervisor answers"
    )
