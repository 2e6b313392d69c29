"""The start-up, step by step."""

from collections.abc import Sequence

from wsmon.ui.render import values
from wsmon.ui.render.lines import ACCENT, FAINT, GOOD, MUTED, STRONG, TEXT, Line, Run, clip, fit, fitted, title
from wsmon.views.frame import StartStep


def pane(steps: Sequence[StartStep], width: int, height: int) -> tuple[Line, ...]:
    """Return the steps: done ones with their time, the first open one as under way."""
    if not steps:
        note = fitted((Run("  Waiting for the first signs of life.", MUTED),), width)
        return (title("starting", (), width), note)[: max(0, height)]
    done = sum(step.done for step in steps)
    lines = [title("starting", (Run(f"{done} of {len(steps)}", MUTED),), width)]
    under_way = next((index for index, step in enumerate(steps) if not step.done), None)
    for index, step in enumerate(steps):
        if step.done:
            mark, name = Run("  ✓ ", GOOD), TEXT
        elif index == under_way:
            mark, name = Run("  ◌ ", ACCENT), STRONG
        else:
            mark, name = Run("  · ", FAINT), FAINT
        time = values.seconds(step.seconds) if step.seconds is not None else ""
        runs = (
            mark,
            Run(fit(step.name, 24), name),
            Run(fit(time, 8, right=True), MUTED),
            Run("  " + clip(step.detail, max(0, width - 40)), MUTED),
        )
        lines.append(fitted(runs, width))
    return tuple(lines[: max(0, height)])
