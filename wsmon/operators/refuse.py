"""The operators of a console that may only look: locked, or showing a recording."""

from collections.abc import Callable

from wsmon.commands import Action, Outcome
from wsmon.ports import Operator


class RefusingOperator:
    """Refuses everything; nothing leaves this process."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def perform(self, action: Action) -> Outcome:
        """Refuse the action."""
        return Outcome(ok=False, code="locked", message=f"{action.op} {action.node}: {self._why}", effect={})


class LockedOperator:
    """Lets actions through only while a console is armed, and refuses all others."""

    def __init__(self, inner: Operator, armed: Callable[[], bool], why: str) -> None:
        self._inner = inner
        self._armed = armed
        self._refusing = RefusingOperator(why)

    async def perform(self, action: Action) -> Outcome:
        """Perform the action through the wrapped operator, or refuse it."""
        return await (self._inner if self._armed() else self._refusing).perform(action)
