"""The one door: every action is told before it is asked for and after it was answered."""

import itertools
import logging
from collections.abc import Callable

from wsmon.commands import ROLL, Action, Outcome
from wsmon.model.inputs import ActionAnswered, ActionAsked, Input
from wsmon.ports import Operator

log = logging.getLogger(__name__)


class AuditedOperator:
    """Wraps an operator; what is asked and answered becomes part of the one stream of inputs.

    One of these for each stream: it numbers the actions, and an answer is known by its number.
    """

    def __init__(self, inner: Operator, emit: Callable[[Input], None], clock: Callable[[], float]) -> None:
        self._inner = inner
        self._emit = emit
        self._clock = clock
        self._keys = itertools.count(1)

    async def perform(self, action: Action) -> Outcome:
        """Perform the action through the wrapped operator."""
        key = next(self._keys)
        self._emit(ActionAsked(key=key, text=describe(action), at=self._clock()))
        try:
            outcome = await self._inner.perform(action)
        except Exception as error:
            # Nobody waits for the task of an action; without an answer it would be shown as going on forever.
            log.exception("an action failed")
            outcome = Outcome(ok=False, code="internal", message=f"wsmon failed: {error!r}", effect={})
        self._emit(ActionAnswered(key=key, ok=outcome.ok, message=outcome.message, at=self._clock()))
        return outcome


def describe(action: Action) -> str:
    """Return the action as a person would say it: `kill n1 with KILL`, `fault n1-redis with latency 200ms`."""
    how = action.args.get("signal") or " ".join(
        str(action.args[name]) for name in ("kind", "value") if name in action.args
    )
    if action.op == ROLL:
        nodes = action.args.get("nodes")
        return (
            f"restart {', '.join(str(node) for node in nodes) if isinstance(nodes, list) else 'nobody'}, one at a time"
        )
    text = f"{action.op} {action.node or 'everything'}" + (f" with {how}" if how else "")
    return f"{text} (dry run)" if action.dry_run else text
