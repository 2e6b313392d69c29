"""Where the parts meet: what collects, what acts, and what a user interface draws from."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from wsmon.commands import Action, Outcome
from wsmon.views.frame import Frame, Looking

if TYPE_CHECKING:  # What a user interface needs at its start is imported before the first screen, and no more.
    from wsmon.model.inputs import Input


class Source(Protocol):
    """Tells what happens, from a live cluster or from anywhere else."""

    async def run(self, emit: "Callable[[Input], None]") -> None:
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

    def look_at(self, looking: Looking) -> None:
        """Say what is looked at: the next frames hold the parts that are about it."""

    def perform(self, action: Action) -> None:
        """Ask for an action; what becomes of it shows up in `frame.actions`."""


@runtime_checkable
class Telling(Protocol):
    """A source of frames that says when there is another one, so that nobody has to look again and again."""

    news: Callable[[], None]
    """Called from any thread; must return at once."""


@runtime_checkable
class LiveSource(FrameSource, Protocol):
    """A cluster that is watched now."""

    def arm(self, *, on: bool) -> None:
        """Let actions through, or refuse all of them here."""

    def mark(self, text: str) -> None:
        """Put a note on this moment."""

    def ring(self) -> "Player | None":
        """Return the last minutes, to go back to while live goes on; None if nothing is kept."""

    def keep(self, path: Path) -> None:
        """Write the last minutes to a file.

        Raises:
            WsmonError: it cannot be written.

        """


@runtime_checkable
class Player(FrameSource, Protocol):
    """A recording that is replayed. `frame.playback` says where it stands."""

    def seek(self, at: float) -> None:
        """Go to a moment, in Unix seconds; beyond an end means the end."""

    def step(self, frames: int) -> None:
        """Hold, and go so many pictures on; back if negative."""

    def speed(self, factor: float) -> None:
        """Play so many times as fast as it happened."""

    def hold(self, *, on: bool) -> None:
        """Stand still, or go on."""

    def close(self) -> None:
        """Let go of what it holds."""
