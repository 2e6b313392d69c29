"""Carries actions out over the admin connections that the sources hold."""

import asyncio
import getpass
import os
import socket
import sys
from collections.abc import Callable

from wsmon.agent.client import AdminClient
from wsmon.commands import Action, Outcome
from wsmon.errors import OperationRefusedError, UnreachableError
from wsmon.operators.plan import SUPERVISOR, plan
from wsmon.protocol.frames import Actor

ANSWER_WITHIN_S = 10.0


def this_actor() -> Actor:
    """Return who sits at this console."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    tty = None
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        try:
            tty = os.ttyname(stream.fileno())
            break
        except (OSError, ValueError, AttributeError):
            continue
    return Actor(user=user, host=socket.gethostname(), tty=tty)


class AdminOperator:
    """Asks the peer that owns the matter, and waits for its answer."""

    def __init__(self, client: Callable[[str], AdminClient | None], actor: Actor) -> None:
        self._client = client
        self._actor = actor

    async def perform(self, action: Action) -> Outcome:
        """Ask for the action and return what became of it; never raises for a peer's refusal or absence."""
        node = self._client(action.node)
        try:
            state = None if node is None else node.state.get("state")
            step = plan(
                action,
                supervised=self._client(SUPERVISOR) is not None,
                node_state=None if node is None else str(state or "unknown"),
            )
            client = self._client(step.peer)
            if client is None:
                raise UnreachableError(f"{step.peer} cannot be reached")
            async with asyncio.timeout(ANSWER_WITHIN_S):
                result = await client.command(
                    step.op,
                    step.args,
                    actor=self._actor,
                    reason=action.reason or None,
                    dry_run=action.dry_run,
                    idempotency_key=action.key,
                )
        except OperationRefusedError as refusal:
            return Outcome(ok=False, code=refusal.code, message=refusal.message, effect={})
        except UnreachableError as error:
            return Outcome(ok=False, code=error.code, message=error.message, effect={})
        except TimeoutError:
            return Outcome(ok=False, code="timeout", message=f"no answer within {ANSWER_WITHIN_S:g} s", effect={})
        if result.error is not None:
            return Outcome(ok=False, code=result.error.code, message=result.error.message, effect={}, rev=result.rev)
        return Outcome(ok=result.ok, effect=result.effect or {}, rev=result.rev)
