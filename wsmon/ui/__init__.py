"""The dashboard in the terminal. It draws frames and asks for actions; it knows no socket."""

import os
from collections.abc import Callable

from wsmon.config import Settings
from wsmon.ports import FrameSource

FRAMES_PER_S = "100"
"""How often Textual may paint. Values change ten times a second at most; more only shortens the way from key to screen."""


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
    # Both are read when Textual is imported.
    os.environ.setdefault("TEXTUAL_FPS", FRAMES_PER_S if settings.fps is None else str(settings.fps))
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
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
        ready=ready,
    )
    app.run()
    return app.return_code or 0
