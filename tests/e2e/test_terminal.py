"""The dashboard and its terminal: stalled, vanished, resized, without colours; and every way out."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.terminal import Terminal, until
from wsmon.agent.runtime_dir import process_is_alive

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

PICTURES = (sys.executable, "-m", "benchmarks.synthetic")
WSMON = (sys.executable, "-m", "wsmon")
COLOR = re.compile(r"\x1b\[([\d;]*)m")
MODES = (1000, 1003, 1004, 1006, 1015, 1049, 2004)
"""What must be off again: mouse, focus reports, alternate screen, bracketed paste."""

Start = Callable[..., Terminal]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a program in a terminal; it is gone afterwards."""
    terminals: list[Terminal] = []

    def begin(
        *command: str, columns: int = 120, rows: int = 36, env: dict[str, str] | None = None, answers: bool = True
    ) -> Terminal:
        terminal = Terminal(command, columns=columns, rows=rows, env=env, answers=answers)
        terminals.append(terminal)
        return terminal

    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield begin
        for terminal in terminals:
            terminal.close()


def codes(terminal: Terminal) -> set[int]:
    """Return every SGR parameter that was sent, the operands of extended colours included."""
    text = terminal.output.decode("utf-8", "replace")
    return {int(code or 0) for match in COLOR.findall(text) for code in match.split(";")}


def modes_left_on(terminal: Terminal) -> set[int]:
    """Return the private modes that were switched on and not off again."""
    on: set[int] = set()
    for numbers, state in re.findall(rb"\x1b\[\?([\d;]+)([hl])", terminal.output):
        for number in numbers.split(b";"):
            (on.add if state == b"h" else on.discard)(int(number))
    return on & set(MODES)


def shows_nodes(terminal: Terminal, *, within_s: float = 20) -> None:
    terminal.wait_for(r"n3 +● online", within_s=within_s)


def test_a_terminal_that_took_nothing_for_long_shows_the_present_at_once(start: Start) -> None:
    terminal = start(*WSMON, "--profile", "test", "--port", "0")
    terminal.wait_for(r"HEALTHY\s+3/3 online\s+60 clients", within_s=30)
    status = subprocess.run([*WSMON, "status", "--json"], capture_output=True, timeout=20, check=False)
    (pid,) = [node["pid"] for node in json.loads(status.stdout)["nodes"] if node["id"] == "n2"]
    terminal.stall(on=True)
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: not process_is_alive(pid), 5)
    until(lambda: False, 8)
    terminal.stall(on=False)
    terminal.wait_for(r"n2 +○ removed", within_s=1.0)
    terminal.send("j")
    terminal.wait_for(r"▌ n2", within_s=1.0)
    terminal.send("q")
    assert terminal.wait_for_end() == 0
    assert terminal.restored
    assert modes_left_on(terminal) == set()


@pytest.mark.parametrize("answers", [True, False])
def test_keys_work_whether_or_not_the_terminal_answers_questions(start: Start, answers: bool) -> None:
    terminal = start(*PICTURES, "5", "tick", answers=answers)
    shows_nodes(terminal)
    for number in (2, 3, 4):
        terminal.send("j")
        terminal.wait_for(f"▌ n{number}", within_s=4)
    terminal.send("q")
    assert terminal.wait_for_end() == 0
    assert terminal.restored


@pytest.mark.parametrize("how", ["q", signal.SIGTERM, signal.SIGHUP], ids=str)
@pytest.mark.parametrize("stalled", [False, True])
def test_every_end_restores_the_terminal_even_one_that_takes_nothing(
    start: Start, how: str | signal.Signals, stalled: bool
) -> None:
    terminal = start(*PICTURES, "5", "tick")
    shows_nodes(terminal)
    if stalled:
        terminal.stall(on=True)
        until(lambda: False, 2)
    if isinstance(how, signal.Signals):
        os.kill(terminal.pid, how)
    else:
        terminal.send(how)
    terminal.wait_for_end(within_s=3)
    terminal.stall(on=False)
    assert until(lambda: terminal.restored and not modes_left_on(terminal), 2), modes_left_on(terminal)


def test_a_signal_before_the_first_picture_restores_the_terminal(start: Start) -> None:
    terminal = start(*PICTURES, "5", "tick")
    assert until(lambda: b"\x1b[?1049h" in terminal.output, 10)
    os.kill(terminal.pid, signal.SIGTERM)
    terminal.wait_for_end(within_s=3)
    assert until(lambda: terminal.restored and not modes_left_on(terminal), 2)


def test_a_closed_terminal_ends_it(start: Start) -> None:
    terminal = start(*PICTURES, "5", "tick")
    shows_nodes(terminal)
    terminal.hang_up()
    terminal.wait_for_end(within_s=3)


def test_it_can_be_suspended_and_comes_back_with_all_it_showed(start: Start) -> None:
    terminal = start(*PICTURES, "5", "tick")
    shows_nodes(terminal)
    os.kill(terminal.pid, signal.SIGTSTP)
    assert until(lambda: terminal.process.status() == "stopped" and terminal.restored, 5)
    terminal.wipe()
    os.kill(terminal.pid, signal.SIGCONT)
    shows_nodes(terminal, within_s=5)
    terminal.send("q")
    assert terminal.wait_for_end() == 0
    assert terminal.restored


def test_one_that_was_stopped_without_a_word_still_restores_the_terminal_at_its_end(start: Start) -> None:
    terminal = start(*PICTURES, "5", "tick")
    shows_nodes(terminal)
    os.kill(terminal.pid, signal.SIGSTOP)
    assert until(lambda: terminal.process.status() == "stopped", 5)
    terminal.wipe()
    os.kill(terminal.pid, signal.SIGCONT)
    shows_nodes(terminal, within_s=5)
    terminal.send("j")
    terminal.wait_for("▌ n2")
    terminal.send("q")
    assert terminal.wait_for_end() == 0
    assert terminal.restored


def test_repaint_makes_good_what_another_program_left_on_the_screen(start: Start) -> None:
    terminal = start(*PICTURES, "5", "idle")
    shows_nodes(terminal)
    terminal.wipe()
    terminal.send("\x0c")
    shows_nodes(terminal, within_s=5)


def test_nothing_is_sent_while_nothing_changes(start: Start) -> None:
    terminal = start(*PICTURES, "5", "idle")
    shows_nodes(terminal)
    until(lambda: False, 1.5)
    before = len(terminal.output)
    until(lambda: False, 3)
    assert len(terminal.output) == before


def test_without_the_focus_less_is_drawn_and_with_it_all_at_once(start: Start) -> None:
    terminal = start(*PICTURES, "5", "tick")
    shows_nodes(terminal)
    terminal.send("\x1b[O")
    until(lambda: False, 0.5)
    before = terminal.output.count(b"\x1b[?2026$p")
    until(lambda: False, 5)
    assert terminal.output.count(b"\x1b[?2026$p") - before <= 3
    terminal.send("\x1b[I")
    before = terminal.output.count(b"\x1b[?2026$p")
    until(lambda: False, 3)
    assert terminal.output.count(b"\x1b[?2026$p") - before >= 2


def test_no_color_means_no_color(start: Start) -> None:
    terminal = start(*PICTURES, "5", "tick", env={"NO_COLOR": "1"})
    shows_nodes(terminal)
    assert {code for code in codes(terminal) if 30 <= code <= 49 or code >= 90} == set()


def test_the_linux_console_gets_its_sixteen_colors_and_ascii(start: Start) -> None:
    terminal = start(*PICTURES, "5", "tick", env={"TERM": "linux", "COLORTERM": ""})
    terminal.wait_for(r"n3 +\* online", within_s=20)
    assert terminal.output.isascii()
    assert codes(terminal) & {38, 48} == set()


@pytest.mark.parametrize(("columns", "rows"), [(60, 15), (300, 100)])
def test_the_smallest_and_the_largest_screen(start: Start, columns: int, rows: int) -> None:
    terminal = start(*PICTURES, "5", "tick", columns=columns, rows=rows)
    terminal.wait_for(r"n1 +● online", within_s=20)
    terminal.send("q")
    assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("env", [{}, {"COLUMNS": "80", "LINES": "24"}], ids=["", "sizes in the environment"])
def test_a_storm_of_new_sizes_ends_with_the_last_one_complete(start: Start, env: dict[str, str]) -> None:
    terminal = start(*PICTURES, "5", "idle", env=env)
    shows_nodes(terminal)
    for number in range(40):
        terminal.resize(columns=60 + number * 3, rows=15 + number)
        until(lambda: False, 0.01)
    terminal.resize(columns=100, rows=30)
    terminal.wipe()  # What a terminal makes of its old contents is its own affair.
    terminal.send("\x0c")
    shows_nodes(terminal, within_s=5)
    assert until(lambda: "Quit" in terminal.text.split("\n")[29], 3), terminal.text


def test_a_dumb_terminal_and_a_pipe_get_lines(start: Start) -> None:
    terminal = start(*WSMON, "--profile", "test", "--port", "0", "--for", "2", env={"TERM": "dumb"})
    terminal.wait_for_end(within_s=20)
    assert b"\x1b[" not in terminal.output
    assert terminal.output.strip()
    piped = subprocess.run(
        [*WSMON, "--profile", "test", "--port", "0", "--for", "2"],
        capture_output=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert b"\x1b" not in piped.stdout
    assert piped.stdout.strip()
