"""Carries a rolling restart out, on whatever cluster an engine watches."""

import asyncio
import uuid
from collections.abc import Callable

from wsmon.commands import ROLL, Action, Outcome
from wsmon.engine import Engine
from wsmon.errors import WsmonError
from wsmon.model.cluster import ClusterModel
from wsmon.model.reading import number
from wsmon.model.rolling import Ask, Move, Over, Rolling, Seen, SeenNode
from wsmon.ports import Operator
from wsmon.protocol.events import DrainDone
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState, PeerKind
from wsmon.views.build import build_frame
from wsmon.views.text import clean as harmless_sentence
from wsmon.views.text import name as harmless

LOOK_EVERY_S = 0.1
EVENTS_LOOKED_AT = 500
DRAIN_WITHIN_S = 30.0
"""Deadline of a drain where no node tells its own."""


def see(model: ClusterModel, now: float, *, since_at: float = 0.0) -> Seen:
    """Return what a rolling restart looks at; drains that ended before `since_at` do not count."""
    frame = build_frame(model, now)
    nodes = {
        row.id: SeenNode(
            state=row.state,
            boot=model.peers[row.id].boot if row.id in model.peers else 0,
            connections=row.connections,
        )
        for row in frame.nodes
    }
    forced = {
        recorded.body.node: recorded.body.forced or 0
        for recorded in model.events.newest(EVENTS_LOOKED_AT)
        if isinstance(recorded.body, DrainDone) and recorded.at >= since_at
    }
    audit = frame.header.audit
    return Seen(
        nodes=nodes,
        away=frame.header.clients_reconnecting or 0,
        lost=None if audit is None else audit.lost,
        forced=forced,
    )


def order(seen: Seen) -> tuple[str, ...]:
    """Return the nodes to restart when all are meant, in the order of their rows.

    Raises:
        WsmonError: one of them is neither online nor has left.

    """
    off = [
        f"{name} is {node.state}"
        for name, node in seen.nodes.items()
        if node.state not in (NodeState.ONLINE, NodeState.LEFT)
    ]
    if off:
        raise WsmonError(f"{', '.join(off)}: nothing is restarted", hint="bring it back first, or restart single nodes")
    nodes = tuple(name for name, node in seen.nodes.items() if node.state is NodeState.ONLINE)
    if not nodes:
        raise WsmonError("no node is online")
    return nodes


def drain_within_s(model: ClusterModel) -> float:
    """Return the deadline that nodes give their drains, as they tell it themselves."""
    told = [
        number(peer.hello.profile, "drain_deadline_s")
        for peer in model.of_kind(PeerKind.NODE)
        if peer.hello is not None
    ]
    return max((value for value in told if value is not None), default=DRAIN_WITHIN_S)


async def roll(
    engine: Engine,
    nodes: tuple[str, ...],
    *,
    clock: Callable[[], float],
    reason: str,
    tell: Callable[[str], None] = lambda _: None,
) -> Over:
    """Restart the nodes in this order; return how it went. `tell` gets a line for each thing that is done."""
    for node in nodes:  # Nobody empties a node that nobody can start again.
        outcome = await engine.perform(
            Action(op="restart", node=node, args={}, reason=reason, dry_run=True, key=uuid.uuid4().hex)
        )
        if not outcome.ok:
            return Over(ok=False, sentence=f"restart {harmless(node)}: {harmless_sentence(outcome.message)}")
    rolling = Rolling(nodes, drain_within_s=drain_within_s(engine.model))
    began = clock()
    done = 0
    while True:
        asked = rolling.tick(see(engine.model, clock(), since_at=began), clock())
        if len(rolling.done) > done:
            done = len(rolling.done)
            tell(f"{harmless(rolling.done[-1])} is online again, {done} of {len(nodes)}")
        match asked:
            case Over():
                return asked
            case Ask(op=op, node=node):
                tell(f"{op} {harmless(node)}")
                outcome = await engine.perform(Action(op=op, node=node, args={}, reason=reason, key=uuid.uuid4().hex))
                if not outcome.ok:
                    return rolling.refused(outcome.message)
            case None:
                pass
        await asyncio.sleep(LOOK_EVERY_S)


class RollingOperator:
    """Carries rolling restarts out, one at a time, and passes everything else on.

    `engine` has to be set before anybody asks for anything: its actions are what a rolling restart is made of.
    """

    def __init__(self, inner: Operator, clock: Callable[[], float]) -> None:
        self.engine: Engine | None = None
        self._inner = inner
        self._clock = clock
        self._busy = False

    async def perform(self, action: Action) -> Outcome:
        """Perform the action; a rolling restart takes as long as it takes."""
        if action.op != ROLL:
            return await self._inner.perform(action)
        assert self.engine is not None
        if self._busy:
            return Outcome(ok=False, code="busy", message="a rolling restart is under way already", effect={})
        asked = action.args.get("nodes")
        nodes = tuple(one for one in asked if isinstance(one, str)) if isinstance(asked, list) else ()
        self._busy = True
        try:
            over = await roll(self.engine, nodes, clock=self._clock, reason=action.reason)
        finally:
            self._busy = False
        return Outcome(ok=over.ok, code="" if over.ok else "stopped", message=over.sentence, effect={})


def plan_object(planned: tuple[Move, ...]) -> JsonObject:
    """Return the plan as the effect of a dry run."""
    return {
        "order": [move.node for move in planned],
        "moves": [
            {
                "node": move.node,
                "connections": move.connections,
                "survivors": [*move.survivors],
                "most": move.most,
            }
            for move in planned
        ],
    }


def plan_lines(planned: tuple[Move, ...]) -> tuple[str, ...]:
    """Return the plan for a person."""
    lines = [f"order: {', '.join(harmless(move.node) for move in planned)}"]
    for move in planned:
        others = ", ".join(harmless(name) for name in move.survivors) or "nobody"
        lines.append(
            f"  {harmless(move.node)}: {move.connections} connections move to {others}, which then hold {move.most} at most"
        )
    return tuple(lines)
