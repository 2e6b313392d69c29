"""What a scenario says is to be seen now."""

from rich.cells import cell_len

from wsmon.ui.render.lines import ACCENT, Ground, Ink, Line, Run, fitted, on, safe


def caption(words: str, width: int, height: int) -> tuple[Line, ...]:
    """Return the words, broken between words, in `height` lines at most; the last one is cut if need be."""
    room = max(1, width - 4)
    return tuple(
        on(fitted((Run(" ▌ ", ACCENT), Run(text, Ink(bold=True))), width), Ground.BAR)
        for text in broken(words, room)[:height]
    )


def broken(words: str, width: int) -> tuple[str, ...]:
    """Return the words in lines of at most `width` cells."""
    lines: list[str] = []
    for word in safe(words).split():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(lines)
