"""Pictures of every page, for looking at: `python -m tests.shots DIRECTORY [--recording FILE] [--small]`.

Draws the six pages at four sizes and in several themes and writes them as SVG files named
`PAGE-MOMENT-COLUMNSxROWS-THEME.svg`. With a recording the moments are those of its first incident: before, in the midst
of it, and at the end; without one they are the example frames of the tests. docs/screens.md tells how to look at them.
"""

import argparse
import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.support import frames
from wsmon.protocol.states import NodeState
from wsmon.recording.files import open_recording
from wsmon.replaying import Replay
from wsmon.ui.app import WsmonApp
from wsmon.views.frame import Frame, Looking, PageName

SIZES: Final = ((60, 15), (80, 24), (120, 36), (200, 60))
THEMES: Final = ("dark", "linen", "deuteranopia")
FIRST_PAGE_THEMES: Final = ("tide", "high-contrast")
"""What is drawn of the first page only."""
TERMINAL: Final = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
AFTER_S: Final = 1.6
"""How long after an incident's begin its picture is taken: a node is removed, and clients are on their way back."""
CELL: Final = 12.2
"""Width of a cell in the picture."""
_TEXT: Final = re.compile(
    r'(<text [^>]*?) x="([0-9.]+)"([^>]*?) textLength="([0-9.]+)"([^>]*)>((?:&#160;)*)([^<]*?)((?:&#160;)*)</text>'
)
_FONT_FACE: Final = re.compile(r"@font-face\s*\{[^}]*\}\s*")
_COMMENT: Final = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_NODE_IN_TROUBLE: Final = frozenset({NodeState.SUSPECT, NodeState.REMOVED, NodeState.DRAINING, NodeState.RECOVERING})

Draw: TypeAlias = Callable[[Looking], Frame]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture to be made."""

    page: PageName
    moment: str
    size: tuple[int, int]
    theme: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.page}-{self.moment}-{self.size[0]}x{self.size[1]}-{self.theme}.svg"


class Still:
    """A source that stands still at one moment, and draws whatever part is looked at."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.frame = draw(Looking())

    def look_at(self, looking: Looking) -> None:
        """Draw what is looked at."""
        self.frame = self._draw(looking)

    def perform(self, action: object) -> None:
        """Do nothing: a picture cannot act."""


def examples() -> dict[str, Draw]:
    """Return the moments that need no recording."""
    return {"well": lambda _: frames.healthy(), "failover": lambda _: frames.removed()}


def recorded(path: Path, after_s: float = AFTER_S) -> dict[str, Draw]:
    """Return moments of a recording: before its first incident, in it, and its end."""
    replay = Replay(open_recording(path))
    while replay.look_ahead():
        pass
    start, end = replay.recording.start_at, replay.recording.end_at
    begin = replay.marks[0] if replay.marks else end

    def draw(at: float) -> Draw:
        def frame(looking: Looking) -> Frame:
            replay.seek(at)
            return replay.frame(looking)

        return frame

    return {"well": draw(max(start, begin - 2.0)), "failover": draw(begin + after_s), "after": draw(end)}


def portable(svg: str) -> str:
    """Return a picture that loads nothing from elsewhere: its letters come from the reader's own fixed-width font."""
    svg = _FONT_FACE.sub("", _COMMENT.sub("", svg))
    svg = _TEXT.sub(_without_blanks, svg)
    return svg.replace("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace").replace(
        "font-family: Fira Code;", "font-family: monospace;"
    )


def _without_blanks(found: re.Match[str]) -> str:
    """Return a text that begins where its first letter stands: not every viewer keeps blanks before and behind it."""
    begin, x, middle, length, end, before, words, behind = found.groups()
    if not words:
        return ""
    left, right = (part.count("&#160;") * CELL for part in (before, behind))
    at, long = float(x) + left, float(length) - left - right
    return f'{begin} x="{at:.1f}"{middle} textLength="{long:.1f}"{end}>{words}</text>'


async def take(picture: Picture, draw: Draw) -> str:
    """Return one picture as SVG."""
    source = Still(draw)
    app = WsmonApp(source, theme=picture.theme, armed=True, embedded=True, environ=TERMINAL, glyphs="braille")
    async with app.run_test(size=picture.size) as pilot:
        await app.go_to(picture.page)
        trouble = next((row.id for row in source.frame.nodes if row.state in _NODE_IN_TROUBLE), None)
        if trouble is not None and picture.page is PageName.NODES:
            await app.go_to(picture.page, node=trouble)
        for _ in range(4):
            app.poll()
            await pilot.pause()
        return portable(app.export_screenshot(title="wsmon"))


def pictures(moments: tuple[str, ...], *, small: bool) -> Iterator[Picture]:
    """Yield what is to be drawn. `small`: the dark theme alone."""
    for page in PageName:
        more = FIRST_PAGE_THEMES if page is PageName.NODES else ()
        for theme in THEMES[:1] if small else THEMES + more:
            for size in SIZES:
                for moment in moments:
                    yield Picture(page, moment, size, theme)


async def _make(directory: Path, moments: dict[str, Draw], *, small: bool) -> int:
    count = 0
    for picture in pictures(tuple(moments), small=small):
        svg = await take(picture, moments[picture.moment])
        (directory / picture.file).write_text(svg, encoding="utf-8")
        count += 1
    return count


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.shots", description="write pictures of every page")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--recording", type=Path, help="take its first incident instead of the example frames")
    parser.add_argument("--after", type=float, default=AFTER_S, help="take it so many seconds after it began")
    parser.add_argument("--small", action="store_true", help="the dark theme alone")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    moments = examples() if options.recording is None else recorded(options.recording, options.after)
    count = asyncio.run(_make(options.directory, moments, small=options.small))
    print(f"{count} pictures in {options.directory}")  # noqa: T201  # A command line prints.


if __name__ == "__main__":
    main()
