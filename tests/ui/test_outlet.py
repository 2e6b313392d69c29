"""Output that cannot hang the program, and the driver around it."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from typing import cast

import pytest
from textual.app import App

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon.ui.app import WsmonApp
from wsmon.ui.terminal import Outlet, TerminalDriver


@pytest.fixture
def _handlers() -> Iterator[None]:
    """A driver takes signals for itself as soon as it is made."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def driver_of_an_app() -> TerminalDriver:
    app = WsmonApp(FakeSource(frames.healthy()), theme="dark", armed=True, embedded=True, environ={"TERM": "xterm"})
    return TerminalDriver(cast("App[object]", app))


def test_everything_is_written() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    assert outlet.write("grüße" * 10) == 50
    assert os.read(reading, 1_000).decode() == "grüße" * 10
    assert not outlet.cut
    assert not outlet.isatty()
    assert outlet.fileno() == writing
    os.close(reading)
    os.close(writing)


def test_a_reader_that_vanished_is_not_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outlet = Outlet(writing)
    outlet.write("x")
    assert outlet.gone
    outlet.write("y")
    outlet.flush()
    os.close(writing)


def test_a_write_that_hangs_can_be_given_up() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    outlet = Outlet(writing)
    thread = threading.Thread(target=outlet.write, args=("x" * 1_000_000,))
    thread.start()
    outlet.skip(on=True)
    thread.join(5)
    assert not thread.is_alive()
    assert outlet.cut
    outlet.skip(on=False)
    os.close(reading)
    os.close(writing)


@pytest.mark.usefixtures("_handlers")
async def test_a_signal_in_the_midst_of_a_write_waits_for_its_end() -> None:
    """What a handler writes would wait for the lock that the interrupted write holds, for ever."""
    driver = driver_of_an_app()
    loop = asyncio.get_running_loop()
    driver._hears = loop
    came: list[str] = []
    driver.resume_application_mode = lambda: came.append("resumed")  # type: ignore[method-assign]
    driver._sigcont_application()
    assert came == []
    done = asyncio.Event()
    loop.call_soon(done.set)
    await done.wait()
    assert came == ["resumed"]


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize(("given", "told"), [((100, 30), (100, 30)), ((0, 0), (80, 24))])
async def test_the_size_is_that_of_the_terminal_and_not_of_the_environment(
    given: tuple[int, int], told: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    driver = driver_of_an_app()
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", given[1], given[0], 0, 0))
        monkeypatch.setattr(driver, "outlet", Outlet(slave))
        assert driver._get_terminal_size() == told
    finally:
        os.close(master)
        os.close(slave)
