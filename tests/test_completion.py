"""Completion: everything that the parsers know, and scripts that a shell can run."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from wsmon import cli
from wsmon.commands import ACTION_VERBS, KILL_SIGNALS
from wsmon.errors import UsageError
from wsmon.modes import completion
from wsmon.modes.completion import Command, Flag

BASH = shutil.which("bash")
PLAIN = (
    Command(name="", help="", flags=(Flag(names=("--help",), help="it's 5% [odd]: `x` $y \\", takes=False),)),
    Command(
        name="paint",
        help="it's a node's",
        flags=(
            Flag(names=("--color", "-c"), help="which", takes=True, choices=("red", "green")),
            Flag(names=("--into",), help="where", takes=True, files=True),
        ),
        words=("walls", "doors"),
    ),
    Command(name="read", help="", flags=(), files=True),
)


@pytest.fixture(scope="module")
def known() -> dict[str, Command]:
    return {command.name: command for command in completion.commands()}


def names(command: Command) -> set[str]:
    return {name for flag in command.flags for name in flag.names}


def test_every_command_of_the_command_line_is_there(known: dict[str, Command]) -> None:
    assert set(known) == {"", *cli.VERBS}
    assert set(known) > {verb.name for verb in ACTION_VERBS}


def test_flags_are_those_of_the_parsers(known: dict[str, Command]) -> None:
    assert {"--nodes", "--clients", "--theme", "--version"} <= names(known[""])
    assert "--follow" in names(known["events"])
    for verb in ACTION_VERBS:
        assert {"--reason", "--dry-run", "--json"} <= names(known[verb.name]), verb.name
    flags = {name: flag for flag in known["kill"].flags for name in flag.names}
    assert flags["--signal"].choices == KILL_SIGNALS
    assert not flags["--yes"].takes
    themes = next(flag for flag in known["attach"].flags if "--theme" in flag.names)
    assert {"dark", "tide"} <= set(themes.choices)
    assert themes.files


def test_nothing_is_run_and_parsers_work_as_before(known: dict[str, Command]) -> None:
    with pytest.raises(UsageError):
        cli._run(["kill"])


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_script_can_be_printed_in_every_locale(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.run([shell]) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    for verb in cli.VERBS:
        assert verb in printed


def test_another_shell_is_refused() -> None:
    with pytest.raises(UsageError, match="tcsh"):
        completion.run(["tcsh"])


def test_help_cannot_break_out_of_its_quotes() -> None:
    """Of zsh and fish only the quoting is known here; words are taken apart as a shell would."""
    fish = [line for line in completion.script("fish", PLAIN).splitlines() if "odd" in line]
    assert fish == [
        "complete -c wsmon -n 'not __fish_seen_subcommand_from paint read' -l help -d 'it\\'s 5% [odd]: `x` $y \\\\'"
    ]
    zsh = next(line for line in completion.script("zsh", PLAIN).splitlines() if "odd" in line)
    assert "--help[it's 5% (odd)\\: `x` $y ]" in shlex.split(zsh.strip().removesuffix(";;"))


def complete(script: str, words: list[str], cwd: Path) -> list[str]:
    """Return what bash offers for the last word."""
    assert BASH is not None
    line = (
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _wsmon; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        [BASH, "--norc", "--noprofile", "-u", "-c", f"{script}\n{line}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
        cwd=cwd,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["wsmon", "pa"], ["paint"]),
        (["wsmon", ""], ["paint", "read"]),
        (["wsmon", "--"], ["--help"]),
        (["wsmon", "--help", ""], ["--help"]),
        (["wsmon", "paint", ""], ["walls", "doors"]),
        (["wsmon", "paint", "--c"], ["--color"]),
        (["wsmon", "paint", "--color", ""], ["red", "green"]),
        (["wsmon", "paint", "walls", "-c", "g"], ["green"]),
        (["wsmon", "paint", "--color", "="], ["red", "green"]),
        (["wsmon", "paint", "--color", "=", "r"], ["red"]),
        (["wsmon", "paint", "--into", "som"], ["some.toml"]),
        (["wsmon", "read", ""], ["some.toml"]),
        (["wsmon", "paint", "som"], []),
        (["wsmon", "nothing", ""], []),
    ],
)
def test_bash_offers_what_fits(words: list[str], offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "some.toml").touch()
    assert complete(completion.script("bash", PLAIN), words, tmp_path) == offered


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
def test_bash_takes_the_whole_script(known: dict[str, Command], tmp_path: Path) -> None:
    script = completion.script("bash", tuple(known.values()))
    assert complete(script, ["wsmon", "kill", "n1", "--signal", "K"], tmp_path) == ["KILL"]
    assert set(complete(script, ["wsmon", ""], tmp_path)) == set(cli.VERBS)
    assert complete(script, ["wsmon", "--theme", "ti"], tmp_path) == ["tide"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_can_read_theirs(shell: str, known: dict[str, Command], tmp_path: Path) -> None:
    binary = shutil.which(shell)
    if binary is None:
        pytest.skip(f"there is no {shell} here")
    path = tmp_path / "script"
    path.write_text(completion.script(shell, tuple(known.values())))
    subprocess.run([binary, "-n", str(path)], check=True, timeout=10)
