"""The operator of a console that may only look: locked, or showing a recording."""

from wsmon.commands import Action, Outcome


class RefusingOperator:
    """Refuses everything; nothing leaves this process."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def perform(self, action: Action) -> Outcome:
        """Refuse the action."""
        return Outcome(ok=False, code="locked", message=f"{action.op} {action.node}: {self._why}", effect={})
