"""`wsmon completion bash|zsh|fish`: a script that completes commands and flags, made from the parsers themselves.

What a command takes is known to its parser only, which it makes when it is run. So every command is run up to the point
where it asks its parser to parse, and no further; from there on everything is pure.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wsmon.commands import ACTION_VERBS
from wsmon.errors import WsmonError
from wsmon.modes import Parser

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = frozenset({"FILE", "SCENARIO", "SCENARIO.toml", "PATH", "FILE|NAME", "TARGET"})
"""What a file's name may stand for."""
_ASCII: Final = str.maketrans({"±": "+-", "…": "...", "–": "-", "→": "->", "×": "x", "·": "-"})
_HELPS: Final = {verb.name: verb.help for verb in ACTION_VERBS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag of a command."""

    names: tuple[str, ...]
    help: str
    takes: bool
    """Whether a value follows."""
    choices: tuple[str, ...] = ()
    files: bool = False
    """Whether the value may be a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, or with an empty name what stands without one."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...] = ()
    """What may stand behind it."""
    files: bool = False
    """Whether a file may stand behind it."""


def run(arguments: list[str]) -> int:
    """Run the command; return its exit status.

    Raises:
        UsageError: there is no such shell.

    """
    parser = Parser(
        prog="wsmon completion",
        description="print a script that completes commands and flags",
        epilog="bash: source <(wsmon completion bash) · zsh: into a file _wsmon on $fpath · fish: wsmon completion fish | source",
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS)
    shell = parser.parse_args(arguments).shell
    sys.stdout.write(script(shell, commands()))
    return 0


def script(shell: str, known: Sequence[Command]) -> str:
    """Return the script for one of `SHELLS`."""
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(make(known)) + "\n"


# What there is


class _Caught(BaseException):  # No error: it carries the parser past every handler.
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def commands() -> tuple[Command, ...]:
    """Return every command that the command line knows, that without a name first."""
    # By name: it stands above this module, and loads it.
    line: Any = importlib.import_module("wsmon.cli")
    found = [_command("", _parser_of(line, []))]
    found += [_command(verb, _parser_of(line, [verb])) for verb in line.VERBS]
    return tuple(found)


def _parser_of(line: Any, words: list[str]) -> argparse.ArgumentParser | None:
    usual = argparse.ArgumentParser.parse_known_args

    def catch(parser: argparse.ArgumentParser, *_args: object, **_named: object) -> None:
        raise _Caught(parser)

    argparse.ArgumentParser.parse_known_args = catch  # type: ignore[method-assign, assignment]
    try:
        line._run(words)  # noqa: SLF001  # `main` would turn what comes back into messages.
    except _Caught as caught:
        return caught.parser
    except WsmonError:
        return None
    finally:
        argparse.ArgumentParser.parse_known_args = usual  # type: ignore[method-assign]
    return None


def _command(name: str, parser: argparse.ArgumentParser | None) -> Command:
    if parser is None:
        return Command(name=name, help=_HELPS.get(name, ""), flags=())
    flags: list[Flag] = []
    words: list[str] = []
    files, first = False, True
    for action in parser._actions:  # noqa: SLF001  # There is no other way to ask a parser what it takes.
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            words += action.choices
            for sub in action.choices.values():
                inner = _command("", sub)
                flags += [flag for flag in inner.flags if flag not in flags]
                files |= inner.files
        elif action.option_strings:
            flags.append(_flag(action))
        else:
            words += [str(choice) for choice in action.choices or ()]
            # What comes first counts: an action's target comes behind the node that it names.
            files |= first and action.metavar in _FILES
            first = False
    return Command(
        name=name, help=_plain(parser.description or ""), flags=tuple(flags), words=tuple(words), files=files
    )


def _flag(action: argparse.Action) -> Flag:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return Flag(
        names=tuple(action.option_strings),
        help=_plain(action.help or ""),
        takes=action.nargs != 0,
        choices=_themes()
        if "--theme" in action.option_strings
        else tuple(str(choice) for choice in action.choices or ()),
        files=metavar in _FILES or "--theme" in action.option_strings,
    )


def _themes() -> tuple[str, ...]:
    from wsmon.ui import theme  # noqa: PLC0415  # A third of a second, and only a completion script wants it.

    return theme.names({"HOME": "/nonexistent"})


def _plain(text: str) -> str:
    """Return help on one line and in ASCII, so that every locale can print it; argparse doubles its percent signs."""
    text = " ".join(text.replace("%%", "%").translate(_ASCII).split())
    return "".join(character for character in text if character.isascii() and character.isprintable())


def _quoted(text: str) -> str:
    """Return the text between single quotes for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# bash


def _bash(known: Sequence[Command]) -> Iterator[str]:
    root, verbs = known[0], known[1:]
    yield "# Completion of wsmon for bash: source <(wsmon completion bash)"
    yield "_wsmon() {"
    yield '    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" verb="" words="" files=""'
    # bash cuts --flag=value into three words.
    yield '    if [[ "$current" == "=" ]]; then current=""'
    yield '    elif [[ "$before" == "=" ]]; then before="${COMP_WORDS[COMP_CWORD-2]}"; fi'
    # The command is the first word, as wsmon itself reads it.
    yield '    if ((COMP_CWORD > 1)) && [[ "${COMP_WORDS[1]}" != -* ]]; then verb="${COMP_WORDS[1]}"; fi'
    yield '    case "$verb:$before" in'
    for command in known:
        for flag in command.flags:
            if flag.takes:
                pattern = "|".join(f"{command.name}:{name}" for name in flag.names)
                yield f"        {pattern}) words='{' '.join(flag.choices)}'; files='{'y' if flag.files else 'n'}' ;;"
    yield "    esac"
    yield '    if [[ -z "$files" ]]; then'
    yield "        files=n"
    yield '        case "$verb" in'
    for command in (*verbs, root):
        flags = " ".join(name for flag in command.flags for name in flag.names)
        pattern = command.name or "''"
        yield f"            {pattern})"
        words = " ".join(verb.name for verb in verbs) if command is root else " ".join(command.words)
        condition = '            if [[ "$current" == -* ]]'
        if command is root:
            condition = '            if [[ "$current" == -* ]] || ((COMP_CWORD > 1))'
        yield f"    {condition}; then words='{flags}'"
        yield f"                else words='{words}'; files={'y' if command.files else 'n'}; fi ;;"
    yield "        esac"
    yield "    fi"
    # Without mapfile, which the bash of macOS does not have.
    yield '    COMPREPLY=($(compgen -W "$words" -- "$current"))'
    yield '    if [[ "$files" == y ]]; then'
    yield "        local more"
    yield '        while IFS= read -r more; do COMPREPLY+=("$more"); done < <(compgen -f -- "$current")'
    yield "        compopt -o filenames 2>/dev/null"
    yield "    fi"
    yield "}"
    yield "complete -F _wsmon wsmon"


# zsh


def _zsh(known: Sequence[Command]) -> Iterator[str]:
    root, verbs = known[0], known[1:]
    yield "#compdef wsmon"
    yield "# Completion of wsmon for zsh: save as _wsmon in a directory of $fpath"
    yield "_wsmon() {"
    yield "    local -a verbs"
    yield "    verbs=("
    for command in verbs:
        yield f"        {_quoted(f'{command.name}:{_zsh_text(command.help)}')}"
    yield "    )"
    yield "    if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then"
    yield "        _describe -t commands command verbs"
    yield "        return"
    yield "    fi"
    yield "    local verb="
    yield "    if [[ $words[2] != -* ]]; then verb=$words[2]; shift words; ((CURRENT--)); fi"
    yield "    case $verb in"
    for command in (*verbs, root):
        name = command.name or "''"
        yield f"        {name}) _arguments{''.join(f' {part}' for part in _zsh_arguments(command))} ;;"
    yield "    esac"
    yield "}"
    # Saved as a file of $fpath it is called as a function; sourced, it has to be registered.
    yield 'if [[ "$funcstack[1]" == _wsmon ]]; then _wsmon "$@"; else compdef _wsmon wsmon; fi'


def _zsh_arguments(command: Command) -> Iterator[str]:
    for flag in command.flags:
        value = ""
        if flag.takes:
            choices = f"({' '.join(flag.choices)})" if flag.choices else "_files" if flag.files else " "
            value = f":value:{choices}"
        for name in flag.names:
            yield _quoted(f"{name}[{_zsh_text(flag.help)}]{value}")
    if command.words:
        yield f"'*:word:({' '.join(command.words)})'"
    elif command.files:
        yield "'*:file:_files'"


def _zsh_text(text: str) -> str:
    return text.replace("\\", "").replace("[", "(").replace("]", ")").replace(":", "\\:")


# fish


def _fish(known: Sequence[Command]) -> Iterator[str]:
    root, verbs = known[0], known[1:]
    names = " ".join(command.name for command in verbs)
    yield "# Completion of wsmon for fish: wsmon completion fish | source"
    yield "complete -c wsmon -f"
    for command in verbs:
        yield f"complete -c wsmon -n __fish_use_subcommand -a {command.name} -d {_fish_quoted(command.help)}"
    for command in known:
        if command is root:
            condition = f"'not __fish_seen_subcommand_from {names}'"
        else:
            condition = f"'__fish_seen_subcommand_from {command.name}'"
        for word in command.words:
            yield f"complete -c wsmon -n {condition} -a {word}"
        if command.files:
            yield f"complete -c wsmon -n {condition} -F"
        for flag in command.flags:
            parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names]
            if flag.takes:
                parts.append("-r")
                parts.append(f"-a '{' '.join(flag.choices)}'" if flag.choices else "-F" if flag.files else "")
            text = " ".join(part for part in parts if part)
            yield f"complete -c wsmon -n {condition} {text} -d {_fish_quoted(flag.help)}"
