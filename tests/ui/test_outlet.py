"""Output that cannot hang the program."""

import os
import threading

from wsmon.ui.terminal import Outlet


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
