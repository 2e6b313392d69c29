"""What a person has settled: flags before environment before configuration file before defaults.

`parse` and `settle` are pure; `load` reads the one file and the environment. The result is frozen and passed on by
constructors; nobody reads the file a second time.
"""

import os
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, NoReturn, TypeAlias
from urllib.parse import quote, unquote

from wsmon.agent.redis_url import parse_redis_url
from wsmon.commands import COMMANDS, USUAL_KEYS, Group, Keymap, UiCommand
from wsmon.errors import ConfigError

SIZE_MAX: Final = 65_536
KEYS_MAX: Final = 8
"""Keys of one command."""
CONTEXTS_MAX: Final = 256
SHOWN_MAX: Final = 80
"""Characters of a value in a message."""
FPS_MAX: Final = 60
_SECTIONS: Final = ("ui", "keys", "contexts")
_UI: Final = ("theme", "glyphs", "fps", "slow_link")
_CONTEXT: Final = ("redis", "descriptor", "armed", "password_env")
_CONTEXT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
VARIABLES: Final = {
    "WSMON_CONFIG": "the configuration file to read instead of the usual one",
    "WSMON_THEME": "as theme",
    "WSMON_GLYPHS": "as glyphs",
    "WSMON_FPS": "as fps",
    "WSMON_SLOW_LINK": "as slow_link: 1 or 0",
}


class GlyphChoice(StrEnum):
    """Which characters graphs are made of."""

    AUTO = "auto"
    """What the terminal is thought to have."""
    BRAILLE = "braille"
    BLOCK = "block"
    ASCII = "ascii"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A cluster by a name of the user's own."""

    name: str
    redis: str | None = field(default=None, repr=False)
    """Its Redis URL; exactly one of this and `descriptor` is there."""
    descriptor: Path | None = None
    armed: bool = False
    """Whether a dashboard on it may act from the start."""
    password_env: str | None = None
    """The environment variable that holds the password of `redis`."""

    def target(self, environ: Mapping[str, str]) -> str:
        """Return what `attach` and the other verbs take: a URL, complete with its password, or a path.

        Raises:
            ConfigError: the password's variable is not set.

        """
        if self.redis is None:
            return str(self.descriptor)
        if self.password_env is None:
            return self.redis
        password = environ.get(self.password_env, "")
        if not password:
            raise ConfigError(
                f"context {self.name}: the variable {self.password_env} is not set",
                hint="it has to hold the password of its Redis",
            )
        return with_password(self.redis, password)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is settled."""

    theme: str | None = None
    """A name or a path; None: what fits the terminal."""
    glyphs: GlyphChoice = GlyphChoice.AUTO
    fps: int | None = None
    """How often the screen may be painted, 1 to 60 times a second; None: what the dashboard thinks best."""
    slow_link: bool = False
    keys: Keymap = field(default_factory=lambda: USUAL_KEYS)
    """Every command's keys, as Textual names them."""
    contexts: Mapping[str, Context] = field(default_factory=lambda: MappingProxyType({}))
    file: Path | None = None
    """The file that was read; None: there is none."""

    def resolve(self, target: str | None, environ: Mapping[str, str] = os.environ) -> tuple[str | None, bool]:
        """Return the target that a person means, and whether it may be acted upon from the start.

        A context comes before a cluster of the same name on this machine. What is no context is returned as it is.

        Raises:
            ConfigError: the context's password is not there.

        """
        context = self.contexts.get(target) if target is not None else None
        return (target, False) if context is None else (context.target(environ), context.armed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line says; None: nothing."""

    theme: str | None = None
    glyphs: str | None = None
    fps: int | None = None
    slow_link: bool | None = None


_NO_FLAGS: Final = Flags()
_Table: TypeAlias = Mapping[str, object]


# Where things are


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the user's own files; it need not exist.

    Source: XDG Base Directory Specification 0.8: a path that is not absolute has to be ignored.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = f"{environ.get('HOME') or _home('~')}/.config"
    return Path(base) / "wsmon"


def _home(path: str) -> str:
    """Return the path with a leading `~` replaced; unlike pathlib's it stays as it is where nobody has a home."""
    return os.path.expanduser(path)  # noqa: PTH111


def load(flags: Flags = _NO_FLAGS, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of this run. Without a file they are the defaults.

    Raises:
        ConfigError: the file, a variable or a flag holds something that cannot be used; the message says where.

    """
    named = environ.get("WSMON_CONFIG")
    path = Path(_home(named)) if named else config_dir(environ) / "config.toml"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(SIZE_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        if named:
            raise ConfigError(f"there is no {path}", hint="WSMON_CONFIG names it") from None
        return settle(flags, environ, Settings())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return settle(flags, environ, parse(raw, path=path, mode=mode))


# Pure from here on


def settle(flags: Flags, environ: Mapping[str, str], base: Settings) -> Settings:
    """Return `base`, which is the file, as environment and flags change it.

    Raises:
        ConfigError: a variable or a flag holds something that cannot be used.

    """
    theme, glyphs = environ.get("WSMON_THEME"), environ.get("WSMON_GLYPHS")
    fps, slow = environ.get("WSMON_FPS"), environ.get("WSMON_SLOW_LINK")
    if flags.glyphs is not None:
        chosen = _glyphs(flags.glyphs, "--glyphs")
    else:
        chosen = _glyphs(glyphs, "WSMON_GLYPHS") if glyphs else base.glyphs
    if flags.fps is not None:
        rate: int | None = _fps(flags.fps, "--fps")
    elif fps:
        rate = _fps(int(fps) if fps.isascii() and fps.isdecimal() and len(fps) < 6 else fps, "WSMON_FPS")
    else:
        rate = base.fps
    if flags.slow_link is not None:
        slow_link = flags.slow_link
    elif slow:
        slow_link = _WORDS.get(slow.lower(), base.slow_link)
        if slow.lower() not in _WORDS:
            raise ConfigError(f"WSMON_SLOW_LINK is {_quoted(slow)}", hint="1 or 0")
    else:
        slow_link = base.slow_link
    return Settings(
        theme=flags.theme or theme or base.theme,
        glyphs=chosen,
        fps=rate,
        slow_link=slow_link,
        keys=base.keys,
        contexts=base.contexts,
        file=base.file,
    )


def parse(raw: bytes, *, path: Path, mode: int) -> Settings:
    """Return what the file says. `mode` is that of the file: others must not be able to read a password.

    Raises:
        ConfigError: it cannot be used; the message names file, section and key, and what is allowed.

    """
    if len(raw) > SIZE_MAX:
        raise ConfigError(f"{path} is larger than {SIZE_MAX} bytes")
    try:
        table: _Table = tomllib.loads(raw.decode())
    except ValueError as error:  # No UTF-8, no TOML, or an integer of thousands of digits.
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: nested too deeply") from None
    _known(table, _SECTIONS, str(path), "section")
    ui = _section(table, "ui", path)
    where = f"{path}: [ui]"
    _known(ui, _UI, where, "key")
    theme = ui.get("theme")
    if theme is not None and (not isinstance(theme, str) or not theme):
        raise ConfigError(f"{where} theme has to be the name of a theme or the path of a file")
    slow_link = ui.get("slow_link", False)
    if not isinstance(slow_link, bool):
        raise ConfigError(f"{where} slow_link has to be true or false")
    try:
        keys = remapped(COMMANDS, _lists(_section(table, "keys", path)))
    except ConfigError as error:
        raise ConfigError(f"{path}: [keys] {error.message}", hint=error.hint) from None
    if theme is not None and ("/" in theme or theme.endswith(".toml")):
        theme = str(path.parent / _home(theme))
    return Settings(
        theme=theme,
        glyphs=_glyphs(ui.get("glyphs", GlyphChoice.AUTO), f"{where} glyphs"),
        fps=_fps(ui["fps"], f"{where} fps") if "fps" in ui else None,
        slow_link=slow_link,
        keys=MappingProxyType(keys),
        contexts=MappingProxyType(_contexts(_section(table, "contexts", path), path, mode)),
        file=path,
    )


def _section(table: _Table, name: str, path: Path) -> dict[str, object]:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: {name} has to be a section", hint=f"write [{name}] on a line of its own")
    return section


def _known(table: Iterable[str], allowed: Sequence[str], where: str, what: str) -> None:
    for key in table:
        if key not in allowed:
            raise ConfigError(f"{where}: unknown {what} {key!r}", hint=_nearest(key, allowed))


def _nearest(word: str, allowed: Sequence[str]) -> str:
    near = get_close_matches(word, allowed, n=1)
    return f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"


def _glyphs(value: object, where: str) -> GlyphChoice:
    if isinstance(value, str) and value in [*GlyphChoice]:
        return GlyphChoice(value)
    raise ConfigError(f"{where} is {_quoted(value)}", hint=f"allowed: {', '.join(GlyphChoice)}")


def _fps(value: object, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= FPS_MAX:
        return value
    raise ConfigError(f"{where} is {_quoted(value)}", hint=f"a whole number from 1 to {FPS_MAX}")


def _quoted(value: object) -> str:
    """Return a value for a message, as far as it helps to see it."""
    try:
        text = repr(value)
    except ValueError:  # Of an integer of thousands of digits Python makes no text.
        return "a number beyond reason"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


# Contexts


def _contexts(table: _Table, path: Path, mode: int) -> dict[str, Context]:
    if len(table) > CONTEXTS_MAX:
        raise ConfigError(f"{path}: there are more than {CONTEXTS_MAX} contexts")
    return {name: _context(name, entry, path, mode) for name, entry in table.items()}


def _context(name: str, entry: object, path: Path, mode: int) -> Context:
    where = f"{path}: [contexts.{name}]"
    if not _CONTEXT_NAME.fullmatch(name):
        raise ConfigError(
            f"{path}: the context name {name!r} is not allowed",
            hint="1 to 32 letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} has to be a section", hint=f"write [contexts.{name}] on a line of its own")
    _known(entry, _CONTEXT, where, "key")
    for key in ("redis", "descriptor", "password_env"):
        if key in entry and (not isinstance(entry[key], str) or not entry[key]):
            raise ConfigError(f"{where} {key} has to be text")
    armed = entry.get("armed", False)
    if not isinstance(armed, bool):
        raise ConfigError(f"{where} armed has to be true or false")
    redis, descriptor, variable = entry.get("redis"), entry.get("descriptor"), entry.get("password_env")
    if (redis is None) == (descriptor is None):
        raise ConfigError(f"{where} needs redis or descriptor, and not both")
    if redis is not None:
        _check_url(redis, variable, where, path, mode)
    elif variable is not None:
        raise ConfigError(f"{where} password_env goes with redis only")
    return Context(
        name=name,
        redis=redis,
        descriptor=None if descriptor is None else path.parent / _home(descriptor),
        armed=armed,
        password_env=variable,
    )


def _check_url(url: str, variable: str | None, where: str, path: Path, mode: int) -> None:
    try:
        parse_redis_url(url)
    except ValueError as error:  # It does not repeat the URL, which may hold a password.
        raise ConfigError(f"{where} redis: {error}") from None
    if variable is not None and not _VARIABLE.fullmatch(variable):
        # Not repeated either: somebody may have put the password itself here.
        raise ConfigError(f"{where} password_env has to be the name of an environment variable, not the password")
    if not holds_password(url):
        return
    if variable is not None:
        raise ConfigError(f"{where} has password_env, and a password in redis", hint="take the one in redis out")
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(
            f"{where} redis holds a password, and others can read the file (mode {stat.S_IMODE(mode):04o})",
            hint=f"put the password into a variable and name it with password_env, or `chmod 600 {path}`",
        )


class _Credentials(NamedTuple):
    before: str
    """The scheme with its separator."""
    user: str
    password: str
    after: str
    """From the host on."""


def _split(url: str) -> _Credentials:
    scheme, separator, rest = url.partition("://")
    # The last @ of all but the options, as for messages: a password with an unescaped / counts as one, too.
    place, question, options = rest.partition("?")
    # A path that begins at once has none before it, and may hold an @ itself.
    credentials, _, host = ("", "", place) if place.startswith("/") else place.rpartition("@")
    user, _, password = credentials.partition(":")
    return _Credentials(scheme + separator, user, password, host + question + options)


def holds_password(url: str) -> bool:
    """Say whether the Redis URL has a password in it."""
    split = _split(url)
    options = split.after.partition("?")[2].split("&")
    return bool(split.password) or any(unquote(option).lower().startswith("password=") for option in options)


def with_password(url: str, password: str) -> str:
    """Return the Redis URL with the password, which may hold any character, put in."""
    split = _split(url)
    return f"{split.before}{split.user}:{quote(password, safe='')}@{split.after}"


# Keys

_NAMED: Final = (
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
    *("tab", "enter", "escape", "space", "backspace", "delete", "insert"),
    *(f"f{number}" for number in (*range(1, 10), 12)),
)
_SHIFTED: Final = tuple(
    f"shift+{key}" for key in ("tab", "up", "down", "left", "right", "home", "end", "pageup", "pagedown")
)
_CONTROL: Final = tuple(
    f"ctrl+{key}" for key in (*"abcdefghijklmnopqrstuvwxyz", "up", "down", "left", "right", "home", "end")
)
_MARKS: Final = tuple(chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum())
_TEXTUAL: Final = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}


def _name_of(character: str) -> str:
    if character.isalnum():
        return character
    name = unicodedata.name(character, character).lower().replace("-", "_").replace(" ", "_")
    return _TEXTUAL.get(name, name)


_MARK_NAMES: Final = {_name_of(mark): mark for mark in _MARKS}
_FORBIDDEN: Final = {
    "f10": "terminals open their menu with it",
    "f11": "terminals fill the screen with it",
    "ctrl+i": "a terminal cannot tell it from tab",
    "ctrl+m": "a terminal cannot tell it from enter",
    "ctrl+j": "many terminals send it for enter",
    "ctrl+h": "many terminals send it for backspace",
    "ctrl+z": "people expect it to suspend a program",
}
ALWAYS: Final = {"ctrl+c": "quit"}
"""Keys that stay where they are: there is always a way out."""
_MOVES: Final = frozenset(
    {
        *("up", "down", "first", "last", "page_up", "page_down", "find_next", "find_previous"),
        *("next_pane", "previous_pane", "open", "back"),
    }
)
_ARMS: Final = "arm"


def remapped(commands: Sequence[UiCommand], table: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return every command's keys, as Textual names them: those of the table, else the usual ones.

    In the table a key is a character (`D`, `/`) or a name (`pageup`, `ctrl+s`, `f5`).

    Raises:
        ConfigError: an id or key is unknown, a key is reserved or taken twice, an action would lie on a key that is
            pressed by accident, or an action or a command of wsmon's own would have no key at all.

    """
    by_id = {command.id: command for command in commands}
    keys = {command.id: command.keys for command in commands}
    for name, wanted in table.items():
        if name not in by_id:
            raise ConfigError(f"unknown command {name!r}", hint=_nearest(name, tuple(by_id)))
        keys[name] = _keys_of(by_id[name], wanted)
    owner: dict[str, str] = {}
    for name, its in keys.items():
        for key in its:
            other = owner.setdefault(key, name)
            if other != name:
                _refuse_shared(key, *((name, other) if name in table else (other, name)))
    moving = {key for name in _MOVES for key in keys.get(name, ()) if len(key) == 1 and key.islower()}
    for name, its in keys.items():
        for key in its:
            if _acts(by_id[name]) and len(key) == 1 and key.lower() in moving:
                mover = owner[key.lower()]
                raise ConfigError(
                    f"{name} cannot lie on {key!r}: with Caps Lock on, {key.lower()!r} for {mover} would do it",
                    hint="take another capital letter, or give the other command another key",
                )
    return keys


def _keys_of(command: UiCommand, wanted: Sequence[str]) -> tuple[str, ...]:
    if len(wanted) > KEYS_MAX:
        raise ConfigError(f"{command.id} has more than {KEYS_MAX} keys")
    keys: list[str] = []
    for text in wanted:
        key = key_of(text, command.id)
        if key in keys:
            raise ConfigError(f"{command.id} names the key {text!r} twice")
        holder = ALWAYS.get(key)
        if holder is not None and holder != command.id:
            raise ConfigError(f"{command.id} cannot have {text!r}: it is always {holder}")
        if _acts(command) and not _is_deliberate(key, marks=command.group is not Group.ACT):
            raise ConfigError(
                f"{command.id} cannot lie on {text!r}: what acts must not be pressed by accident",
                hint="take a capital letter"
                if command.group is Group.ACT
                else "take a capital letter or a punctuation mark",
            )
        keys.append(key)
    keys += [key for key, holder in ALWAYS.items() if holder == command.id and key not in keys]
    if not keys and command.group in (Group.ACT, Group.APP):
        raise ConfigError(f"{command.id} needs a key", hint="leave the line out to keep the usual one")
    return tuple(keys)


def _acts(command: UiCommand) -> bool:
    return command.group is Group.ACT or command.id == _ARMS


def _is_deliberate(key: str, *, marks: bool) -> bool:
    return (len(key) == 1 and key.isupper()) or (marks and key in _MARK_NAMES)


def key_of(text: str, command: str) -> str:
    """Return Textual's name of a key as people write it; `command` is for the message only.

    Raises:
        ConfigError: there is no such key, or it cannot be given to a command.

    """
    if len(text) == 1 and text.isprintable() and not text.isspace() and not unicodedata.combining(text):
        return _name_of(text)
    key = text.lower()
    if key in _FORBIDDEN and key not in USUAL_KEYS.get(command, ()):
        raise ConfigError(f"{command} cannot have {text!r}: {_FORBIDDEN[key]}")
    if key.startswith(("alt+", "meta+", "super+", "ctrl+alt+")):
        raise ConfigError(f"{command} cannot have {text!r}: not every terminal sends it")
    allowed = (*_NAMED, *_SHIFTED, *_CONTROL, *_MARK_NAMES)
    if key in allowed:
        return key
    near = get_close_matches(key, allowed, n=1)
    raise ConfigError(
        f"{command}: there is no key {text!r}",
        hint=f"did you mean {near[0]!r}?" if near else "a character such as D or /, or a name such as pageup or ctrl+s",
    )


def _refuse_shared(key: str, asked: str, other: str) -> NoReturn:
    shown = _MARK_NAMES.get(key, key)
    raise ConfigError(f"{asked} and {other} would both lie on {shown!r}", hint=f"give {other} another key as well")


def _lists(table: _Table) -> dict[str, tuple[str, ...]]:
    keys: dict[str, tuple[str, ...]] = {}
    for name, value in table.items():
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{name} has to be a key or a list of keys, each as text")
        keys[name] = tuple(texts)
    return keys
