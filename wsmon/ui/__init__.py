"""The dashboard in the terminal. It draws frames and asks for actions; it knows no socket."""

import asyncio
import gc
import os
from collections.abc import Callable
from typing import Final

from wsmon.config import Settings
from wsmon.ports import FrameSource

FRAMES_PER_S = "100"
"""How often Textual may paint. Values change ten times a second at most; more only shortens the way from key to screen."""

LOADED_S: Final = 1.5
"""After that long everything that was loaded stays."""


def run_ui(
    source: FrameSource,
    settings: Settings,
    *,
    armed: bool,
    embedded: bool,
    for_s: float | None = None,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Show the dashboard until somebody leaves, at most for `for_s` seconds; return the exit status.

    `ready` is called when the first screen is there.

    Raises:
        ConfigError: the theme cannot be used.

    """

    def shown() -> None:
        asyncio.get_running_loop().call_later(LOADED_S, _sweep)
        ready()

    # Both are read when Textual is imported.
    os.environ.setdefault("TEXTUAL_FPS", FRAMES_PER_S if settings.fps is None else str(settings.fps))
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    gc.disable()  # Importing makes little garbage, and a tenth of the way to the first screen was to look for it.
    try:
        from wsmon.ui.app import WsmonApp  # noqa: PLC0415  # Half a second of imports, wanted only for a dashboard.

        app = WsmonApp(
            source,
            theme=settings.theme,
            armed=armed,
            embedded=embedded,
            for_s=for_s,
            keymap=settings.keys,
            glyphs=settings.glyphs,
            slow_link=settings.slow_link,
            ready=shown,
        )
        app.run()
    finally:
        gc.enable()
    return app.return_code or 0


def _sweep() -> None:
    """Look for garbage among all that was loaded, once, and never again."""
    gc.collect()
    gc.freeze()
    gc.enable()
