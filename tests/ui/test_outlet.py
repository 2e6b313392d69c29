"""Output that cannot hang the program, and updates that hold only what changed."""

import os
import threading

from rich.console import Console
from rich.segment import Segment
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from wsmon.ui.terminal import Outlet
from wsmon.ui.tight import TightUpdate, tightened


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


def test_an_update_holds_only_the_cells_of_its_spans() -> None:
    strip = Strip([Segment("0123456789")], 10)
    update = tightened(ChopsUpdate([{0: strip}], [(0, 3, 5), (0, 8, 9)], [[10]]))
    assert isinstance(update, TightUpdate)
    sent = update.render_segments(Console(color_system=None))
    assert sent == "\x1b[1;4H34\x1b[1;9H8"


def test_parts_outside_the_span_are_not_sent() -> None:
    chops = [{0: Strip([Segment("abc")], 3), 3: None, 6: Strip([Segment("xyz")], 3)}]
    update = TightUpdate(chops, [(0, 3, 7)], [[3, 6, 9]])
    assert update.render_segments(Console(color_system=None)) == "\x1b[1;7Hx"


def test_other_updates_are_left_alone() -> None:
    assert tightened(None) is None
    assert tightened("text") == "text"
