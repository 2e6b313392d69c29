"""The pages by name, with the keys that lead there."""

from wsmon.commands import BY_ID, Keymap
from wsmon.ui.render.footer import key_name
from wsmon.ui.render.lines import ACCENT, FAINT, MUTED, Ink, Line, Run, Tone, fitted, length_of
from wsmon.views.frame import PageName


def tabs(page: PageName, keymap: Keymap, width: int) -> Line:
    """Return the line of pages; the present one stands out."""
    runs: list[Run] = [Run(" ", FAINT)]
    for name in PageName:
        runs += _tab(name, keymap, here=name is page)
    return fitted(runs, width)


def at(x: int, keymap: Keymap) -> PageName | None:
    """Return the page whose tab stands at cell `x`."""
    left = 1
    for name in PageName:
        length = length_of(_tab(name, keymap, here=False))
        if left <= x < left + length - 2:
            return name
        left += length
    return None


def _tab(name: PageName, keymap: Keymap, *, here: bool) -> Line:
    keys = keymap[name]
    label = BY_ID[name].label.lower()
    return (
        Run(f" {key_name(keys[0])} " if keys else " ", ACCENT if here else FAINT),
        Run(label, Ink(Tone.TEXT, bold=True) if here else MUTED),
        Run("  ", FAINT),
    )
