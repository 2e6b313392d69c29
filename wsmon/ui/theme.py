"""Colours by meaning. A theme is a TOML file; what it leaves out comes from the theme it inherits from.

A value is a colour (`#rrggbb`, or `ansi_…` for one of the terminal's own), attributes (`bold`, `dim`, `italic`,
`underline`, `reverse`), or both. A theme with `ansi = true` uses the terminal's own colours only, its background too.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from rich.color import Color
from rich.style import Style
from textual.theme import Theme as TextualTheme

from wsmon.errors import ConfigError
from wsmon.ui.render.lines import Ink, Tone

DEFAULT: Final = "dark"
MEANINGS: Final = (
    "background",
    "surface",
    "selection",
    "text",
    "muted",
    "faint",
    "accent",
    "good",
    "warning",
    "bad",
)
_GROUNDS: Final = ("background", "surface", "selection")
_KEYS: Final = ("name", "inherit", "dark", "ansi", *MEANINGS)
_ATTRIBUTES: Final = frozenset({"bold", "dim", "italic", "underline", "reverse"})
_ANSI_NAMES: Final = ("default", *("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"))
_HEX: Final = re.compile(r"#[0-9a-fA-F]{6}")
# What Textual's own parts need besides, where a theme leaves all colours to the terminal.
_TERMINAL_COLORS: Final = {
    "ansi-background": "ansi_default",
    "ansi-foreground": "ansi_default",
    "border-blurred": "ansi_default",
    "block-cursor-foreground": "ansi_default",
    "block-cursor-background": "ansi_default",
    "block-cursor-text-style": "reverse",
    "input-cursor-foreground": "ansi_default",
    "input-cursor-background": "ansi_default",
    "input-cursor-text-style": "reverse",
    "input-selection-foreground": "ansi_default",
    "input-selection-background": "ansi_default",
    "screen-selection-foreground": "ansi_default",
    "screen-selection-background": "ansi_default",
}
_DEPTH_MAX: Final = 8
_SIZE_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Look:
    """How one meaning looks."""

    color: str | None = None
    """`#rrggbb` or `ansi_…`; None leaves the colour alone."""
    attributes: frozenset[str] = frozenset()

    @property
    def rich(self) -> Color | None:
        """The colour for the terminal."""
        if self.color is None:
            return None
        return Color.parse(self.color.removeprefix("ansi_"))


@dataclass(frozen=True)
class Theme:
    """One complete theme."""

    name: str
    dark: bool
    ansi: bool
    looks: Mapping[str, Look]

    @cached_property
    def _styles(self) -> dict[Ink, Style]:
        return {}

    def style(self, ink: Ink) -> Style:
        """Return the terminal style of an ink."""
        known = self._styles.get(ink)
        if known is None:
            look, ground = self.looks[ink.tone], self.looks[ink.ground]
            attributes = look.attributes | ground.attributes
            known = self._styles[ink] = Style(
                color=look.rich,
                bgcolor=ground.rich,
                bold=ink.bold or "bold" in attributes,
                # Faint text on a reversed or chosen line could not be read.
                dim="dim" in attributes and "reverse" not in ground.attributes,
                italic="italic" in attributes,
                underline="underline" in attributes,
                reverse=ink.reverse or "reverse" in attributes,
            )
        return known

    def textual(self) -> TextualTheme:
        """Return the theme for Textual's own parts: dialogs, palette, toasts."""
        color = {name: self.looks[name].color or "ansi_default" for name in MEANINGS}
        return TextualTheme(
            name=f"wsmon-{self.name}",
            primary=color["accent"],
            secondary=color["muted"],
            accent=color["accent"],
            foreground=color["text"],
            background=color["background"],
            surface=color["surface"],
            panel=color["surface"] if self.ansi else color["selection"],
            success=color["good"],
            warning=color["warning"],
            error=color["bad"],
            dark=self.dark,
            ansi=self.ansi,
            variables=dict(_TERMINAL_COLORS) if self.ansi else {},
        )


def directory() -> Path:
    """Return where the shipped themes are: in the checkout, or inside the installed package."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_themes"
    return shipped if shipped.is_dir() else package.parent / "themes"


def names() -> tuple[str, ...]:
    """Return the names of the shipped themes."""
    return tuple(sorted(path.stem for path in directory().glob("*.toml")))


def load(name_or_path: str) -> Theme:
    """Return a theme by the name of a shipped one or by the path of a TOML file.

    Raises:
        ConfigError: there is no such theme, or it cannot be used.

    """
    return _build(name_or_path, 0)


@lru_cache(16)
def _build(name_or_path: str, depth: int) -> Theme:
    path = _find(name_or_path)
    table = _read(path)
    if depth > _DEPTH_MAX:
        raise ConfigError(f"theme {path}: it inherits from itself, or too deeply")
    for key in table:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            raise ConfigError(f"theme {path}: unknown key {key!r}", hint=f"did you mean {near[0]!r}?" if near else "")
    parent_name = table.get("inherit", None if path.stem == DEFAULT and path.parent == directory() else DEFAULT)
    if parent_name is not None and not isinstance(parent_name, str):
        raise ConfigError(f"theme {path}: inherit has to be the name of a theme")
    parent = _build(parent_name, depth + 1) if parent_name is not None else None
    looks = dict(parent.looks) if parent is not None else {}
    for key in MEANINGS:
        if key in table:
            looks[key] = _look(table[key], key, path)
    missing = [key for key in MEANINGS if key not in looks]
    if missing:
        raise ConfigError(f"theme {path}: {', '.join(missing)} missing, and nothing to inherit them from")
    return Theme(
        name=path.stem,
        dark=_flag(table, "dark", path, default=parent is None or parent.dark),
        ansi=_flag(table, "ansi", path, default=parent is not None and parent.ansi),
        looks=looks,
    )


def _find(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return Path(name_or_path).expanduser().resolve()
    if name_or_path not in names():
        raise ConfigError(f"no theme {name_or_path!r}", hint=f"there are: {', '.join(names())}, or give a path")
    return directory() / f"{name_or_path}.toml"


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(_SIZE_MAX + 1)
    except OSError as error:
        raise ConfigError(f"theme {path} cannot be read: {error.strerror}") from error
    if len(raw) > _SIZE_MAX:
        raise ConfigError(f"theme {path} is larger than {_SIZE_MAX} bytes")
    try:
        return tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"theme {path} is not valid TOML: {error}") from error


def _look(value: object, key: str, path: Path) -> Look:
    if not isinstance(value, str):
        raise ConfigError(f"theme {path}: {key} has to be text")
    color: str | None = None
    attributes: set[str] = set()
    for word in value.split():
        if word in _ATTRIBUTES:
            attributes.add(word)
        elif color is None and _is_color(word):
            color = word
        else:
            raise ConfigError(
                f"theme {path}: {key} = {value!r} is not understood at {word!r}",
                hint="write a colour as #rrggbb or ansi_green, and attributes such as bold or reverse",
            )
    if key in _GROUNDS and attributes - {"reverse", "underline", "bold"}:
        raise ConfigError(f"theme {path}: {key} is a background: of the attributes only bold, underline, reverse fit")
    return Look(color, frozenset(attributes))


def _is_color(word: str) -> bool:
    if _HEX.fullmatch(word):
        return True
    return word.startswith("ansi_") and word.removeprefix("ansi_").removeprefix("bright_") in _ANSI_NAMES


def _flag(table: Mapping[str, object], key: str, path: Path, *, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"theme {path}: {key} has to be true or false")
    return value


assert set(Tone) <= set(MEANINGS), "every tone has a meaning in the themes"
