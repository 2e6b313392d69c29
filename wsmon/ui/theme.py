"""Colours by meaning. A theme is a TOML file; what it leaves out comes from the theme it inherits from.

A value is a colour (`#rrggbb`, or `ansi_…` for one of the terminal's own), attributes (`bold`, `dim`, `italic`,
`underline`, `reverse`), or both. A theme with `ansi = true` uses the terminal's own colours only, its background too.

A name is looked for in the user's own directory first (`~/.config/wsmon/themes/NAME.toml`), then among the shipped ones.
A theme that inherits from its own name means the shipped one, so that a user can change two colours of `dark` and call
the result `dark`.
"""

import os
import re
import tomllib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from rich.color import Color
from rich.style import Style
from textual.theme import Theme as TextualTheme

from wsmon.config import config_dir
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
_KEYS: Final = ("name", "inherit", "dark", "ansi", "dichromats", *MEANINGS)
_ATTRIBUTES: Final = frozenset({"bold", "dim", "italic", "underline", "reverse"})
_ANSI_COLORS: Final = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_ANSI: Final = (
    "ansi_default",
    *(f"ansi_{color}" for color in _ANSI_COLORS),
    *(f"ansi_bright_{color}" for color in _ANSI_COLORS),
)
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
LOOK_EVERY_S: Final = 1.0
"""How often a theme's files are looked at."""

Stamp: TypeAlias = tuple[int, int, int]
"""When a file was written last, its size and its inode: an editor may write a new file under the old name."""
Stamps: TypeAlias = Mapping[Path, Stamp | None]
"""None: there is no such file."""


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
    files: tuple[Path, ...]
    """What it was read from: its own file, then those it inherits from."""
    dichromats: bool = False
    """Made for people who see fewer colours: `wsmon theme check` then asks more of it."""

    @property
    def colors(self) -> dict[str, str]:
        """The colours that are known here, as `#rrggbb`; what is left to the terminal is not among them."""
        return {
            meaning: look.color
            for meaning, look in self.looks.items()
            if look.color is not None and look.color.startswith("#")
        }

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
        """Return the theme for Textual's own parts: dialogs, palette, toasts.

        Its name tells two states of one file apart: Textual does nothing when it gets a name that it has already.
        """
        color = {name: self.looks[name].color or "ansi_default" for name in MEANINGS}
        return TextualTheme(
            name=f"wsmon-{zlib.crc32(repr((self.name, self.dark, self.ansi, sorted(color.items()))).encode()):08x}",
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


def user_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a user's own themes are; it need not exist."""
    return config_dir(environ) / "themes"


def names(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the names of all themes, the user's own among them."""
    return tuple(sorted({path.stem for place in (user_directory(environ), directory()) for path in _files(place)}))


def _files(place: Path) -> list[Path]:
    try:
        return [path for path in place.iterdir() if path.suffix == ".toml" and path.is_file()]
    except OSError:
        return []  # No directory, or one that we may not look into: nothing of it can be used.


def load(name_or_path: str, environ: Mapping[str, str] = os.environ) -> Theme:
    """Return a theme by name, the user's own before the shipped ones, or by the path of a TOML file.

    Raises:
        ConfigError: there is no such theme, or it cannot be used.

    """
    return _build(_find(name_or_path, environ), environ, ())


def _build(path: Path, environ: Mapping[str, str], children: tuple[Path, ...]) -> Theme:
    if path in children or len(children) > _DEPTH_MAX:
        raise ConfigError(f"theme {children[0]}: it inherits from itself, or too deeply")
    table = _read(path)
    for key in table:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(_KEYS)}"
            raise ConfigError(f"theme {path}: unknown key {key!r}", hint=hint)
    root = path == directory() / f"{DEFAULT}.toml"
    parent_name = table.get("inherit", None if root else DEFAULT)
    if parent_name is not None and not isinstance(parent_name, str):
        raise ConfigError(f"theme {path}: inherit has to be the name of a theme")
    parent: Theme | None = None
    if parent_name is not None:
        parent_path = _find_parent(parent_name, path, environ)
        parent = _build(parent_path, environ, (*children, path))
    looks = dict(parent.looks) if parent is not None else {}
    for key in MEANINGS:
        if key in table:
            looks[key] = _look(table[key], key, path)
    missing = [key for key in MEANINGS if key not in looks]
    if missing:
        raise ConfigError(f"theme {path}: {', '.join(missing)} missing, and nothing to inherit them from")
    if not isinstance(table.get("name", ""), str):
        raise ConfigError(f"theme {path}: name has to be text")
    return Theme(
        name=path.stem,
        dark=_flag(table, "dark", path, default=parent is None or parent.dark),
        ansi=_flag(table, "ansi", path, default=parent is not None and parent.ansi),
        looks=looks,
        files=(path, *(parent.files if parent is not None else ())),
        dichromats=_flag(table, "dichromats", path, default=parent is not None and parent.dichromats),
    )


def _find(name_or_path: str, environ: Mapping[str, str]) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        # Not resolved: who keeps the file elsewhere behind a link edits it there, and it keeps its name.
        return Path(os.path.abspath(os.path.expanduser(name_or_path)))  # noqa: PTH100, PTH111  # These never raise.
    for place in (user_directory(environ), directory()):
        path = place / f"{name_or_path}.toml"
        if path in _files(place):
            return path
    known = names(environ)
    near = get_close_matches(name_or_path, known, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"no theme {name_or_path!r}", hint=f"{guess}there are: {', '.join(known)}, or give a path")


def _find_parent(name: str, child: Path, environ: Mapping[str, str]) -> Path:
    shipped = directory() / f"{name}.toml"
    if name == child.stem and shipped != child and shipped.is_file():
        return shipped
    # The shipped themes stand on each other, whatever else a user has called by their names.
    if child.parent == directory() and shipped.is_file():
        return shipped
    try:
        return _find(name, environ)
    except ConfigError as error:
        raise ConfigError(f"theme {child}: inherit: {error.message}", hint=error.hint) from None


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(_SIZE_MAX + 1)
    except OSError as error:
        raise ConfigError(f"theme {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # A name that no file can have.
        raise ConfigError(f"theme {str(path)!r} cannot be read: {error}") from error
    if len(raw) > _SIZE_MAX:
        raise ConfigError(f"theme {path} is larger than {_SIZE_MAX} bytes")
    try:
        return tomllib.loads(raw.decode())
    except ValueError as error:  # No UTF-8, no TOML, or an integer of thousands of digits.
        raise ConfigError(f"theme {path} is not valid TOML: {error}") from error
    except RecursionError:
        raise ConfigError(f"theme {path} is not valid TOML: nested too deeply") from None


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
            near = get_close_matches(word, (*_ATTRIBUTES, *_ANSI), n=1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"theme {path}: {key} = {value!r} is not understood at {word!r}",
                hint=f"{guess}write a colour as #rrggbb or ansi_green, and attributes such as bold or reverse",
            )
    if key in _GROUNDS and attributes - {"reverse", "underline", "bold"}:
        raise ConfigError(f"theme {path}: {key} is a background: of the attributes only bold, underline, reverse fit")
    return Look(color, frozenset(attributes))


def _is_color(word: str) -> bool:
    return word in _ANSI or _HEX.fullmatch(word) is not None


def _flag(table: Mapping[str, object], key: str, path: Path, *, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"theme {path}: {key} has to be true or false")
    return value


@dataclass(frozen=True, slots=True)
class Reload:
    """A theme's file changed: `theme` is what it says now; None: it cannot be used, and the old look stays."""

    theme: Theme | None
    sentence: str
    """For the person who edits it."""


class ThemeWatch:
    """Tells when the files of a theme changed. All times are monotonic seconds, given by the caller."""

    def __init__(self, theme: Theme, stamps: Stamps) -> None:
        """`stamps` are those of the theme's files when it was read."""
        self.theme = theme
        self._stamps = dict(stamps)
        self._missing: frozenset[Path] = frozenset()
        self._due = 0.0

    @property
    def deadline(self) -> float:
        """When the files are looked at next."""
        return self._due

    def see(self, now: float, stamps: Stamps) -> bool:
        """Return whether the theme has to be read again, given how its files look now.

        A file that is gone counts only when it is gone twice: some editors move it away before they write it anew.
        """
        self._due = now + LOOK_EVERY_S
        missing = frozenset(path for path, stamp in stamps.items() if stamp is None)
        fresh = missing - self._missing
        self._missing = missing
        seen = {path: self._stamps.get(path) if path in fresh else stamp for path, stamp in stamps.items()}
        if seen == self._stamps:
            return False
        self._stamps = seen
        return True

    def replace(self, theme: Theme, stamps: Stamps) -> None:
        """Watch the files of another theme, or of another state of this one, from now on."""
        self.theme = theme
        self._stamps = {path: stamps.get(path, self._stamps.get(path)) for path in theme.files}
        self._missing = frozenset()


def stamps_of(files: Sequence[Path]) -> Stamps:
    """Return how the files look now."""
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def watch(theme: Theme) -> ThemeWatch:
    """Return a watch on the theme's files as they are now."""
    return ThemeWatch(theme, stamps_of(theme.files))


def reloaded(
    watched: ThemeWatch,
    now: float,
    *,
    stamp: Callable[[Sequence[Path]], Stamps] = stamps_of,
    environ: Mapping[str, str] = os.environ,
) -> Reload | None:
    """Look at the files if it is time to; return what came of it if they changed.

    A file that was broken by an edit leaves the theme as it was; the next edit is looked at like any other.
    """
    if now < watched.deadline:
        return None
    # Stamped before it is read: what is written in between is seen the next time.
    stamps = stamp(watched.theme.files)
    if not watched.see(now, stamps):
        return None
    try:
        fresh = load(str(watched.theme.files[0]), environ)
    except ConfigError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return Reload(None, f"{error.message}{hint}; the old look stays")
    watched.replace(fresh, {**stamp(fresh.files), **stamps})
    return Reload(fresh, f"theme {fresh.name} was read again")


assert set(Tone) <= set(MEANINGS), "every tone has a meaning in the themes"
