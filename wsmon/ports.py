"""Where the parts meet: what collects, what acts, and what a user interface draws from."""

from collections.abc import Callable
from typing import Protocol

from wsmon.commands import Action, Outcome
from wsmon.model.inputs import Input
from wsmon.views.frame import Frame


class Source(Protocol):
    """Tells what happens, from a live cluster or from anywhere else."""

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Call `emit` for every fact, in order, until cancelled or until there is nothing more to tell."""


class Operator(Protocol):
    """Carries actions out, or refuses them."""

    async def perform(self, action: Action) -> Outcome:
        """Perform the action and return what became of it."""


class FrameSource(Protocol):
    """What a user interface draws from and acts through. Thread-safe; nothing in it waits."""

    @property
    def frame(self) -> Frame:
        """The newest picture; the same object as long as nothing changed."""

    def perform(self, action: Action) -> None:
        """Ask for an action; what becomes of it shows up in `frame.actions`."""
