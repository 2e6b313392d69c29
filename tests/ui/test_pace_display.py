"""From the real app's updates to what is written: a terminal that answers late, and Textual as it is installed."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pyte
import pytest
from rich.color import ColorSystem
from rich.console import RenderableType
from rich.segment import Segment
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip

from tests.support import frames
from tests.support.frames import FakeSource
from wsmon.ui import app as app_module
from wsmon.ui.app import WsmonApp
from wsmon.ui.display import SYNC_BEGIN, Display
from wsmon.ui.terminal import QUESTION, TerminalDriver, Told
from wsmon.ui.tight import Canvas


class FakeDriver:
    """Takes everything, and says what it is told to say."""

    def __init__(self, *, knows_questions: bool = True) -> None:
        self.written: list[str] = []
        self.busy = False
        self.behind = False
        self.knows_questions = knows_questions
        self.tell: Callable[[Told], None] = lambda _: None

    def ask(self) -> str:
        return QUESTION

    def write(self, text: str) -> None:
        self.written.append(text)


class Rig:
    """A display on a fake driver, with a clock of its own."""

    def __init__(self, *, lean: bool = False, knows_questions: bool = True) -> None:
        self.now = 100.0
        self.driver = FakeDriver(knows_questions=knows_questions)
        self.display = Display(
            cast("TerminalDriver", self.driver),
            color_system=ColorSystem.TRUECOLOR,
            lean=lean,
            clock=lambda: self.now,
            regions=lambda: (Region(0, 1, 20, 1),),
        )

    def enter(self, *, answers_after_s: float | None = 0.01) -> None:
        self.display.take(LayoutUpdate([[Strip([Segment(" " * 20)])]], Region(0, 0, 20, 1)))
        self.now += 1
        self.driver.tell(Told.ENTERED)
        if answers_after_s is not None:
            self.answer(answers_after_s)  # To the question that went alone,
            self.answer(answers_after_s)  # and to the first piece.
        self.driver.written.clear()

    def answer(self, after_s: float) -> None:
        self.now += after_s
        self.driver.tell(Told.ANSWERED)

    def draw(self, *texts: str) -> None:
        rows: list[list[Strip]] = [[Strip([Segment(text.ljust(20))])] for text in texts]
        assert self.display.take(LayoutUpdate([*rows], Region(0, 0, 20, len(texts))))
        self.display.send()


def test_what_changes_while_an_answer_is_owed_is_sent_once_and_as_it_is_then() -> None:
    rig = Rig()
    rig.enter()
    rig.draw("one")
    sent = len(rig.driver.written)
    rig.draw("two")
    rig.draw("three")
    assert len(rig.driver.written) == sent
    rig.answer(0.3)
    assert len(rig.driver.written) == sent + 1
    assert "three" in rig.driver.written[-1]
    assert rig.driver.written[-1].endswith(QUESTION)


def test_a_terminal_that_would_print_the_question_is_not_asked() -> None:
    rig = Rig(knows_questions=False)
    rig.enter(answers_after_s=None)
    rig.draw("one")
    rig.draw("two")
    assert not [text for text in rig.driver.written if QUESTION in text]
    assert len(rig.driver.written) == 2


def test_a_frame_is_marked_as_one_only_where_that_is_known_and_worth_it() -> None:
    rig = Rig()
    rig.enter()
    rig.draw("".join(chr(97 + n) for n in range(20)), *["x" * 20] * 30)
    rig.answer(0.01)
    rig.driver.tell(Told.SYNCHRONIZES)
    rig.draw("short", *["x" * 20] * 30)
    rig.answer(0.01)
    assert SYNC_BEGIN not in "".join(rig.driver.written)
    rig.draw(*["y" * 20] * 31)
    assert SYNC_BEGIN in rig.driver.written[-1]


def test_the_focus_that_comes_back_draws_at_once() -> None:
    rig = Rig()
    came: list[bool] = []
    rig.display.focus_came = lambda: came.append(True)
    rig.enter()
    rig.driver.tell(Told.BLURRED)
    calm = frames.healthy()
    assert rig.display.may_draw(calm, frames.healthy(frames.AT + 1))
    rig.display.send()
    rig.now += 1
    assert not rig.display.may_draw(calm, frames.healthy(frames.AT + 2))
    assert rig.display.may_draw(calm, frames.suspect())
    rig.driver.tell(Told.FOCUSED)
    assert came == [True]


def test_on_a_slow_link_what_a_key_does_is_not_mixed_with_new_values() -> None:
    rig = Rig(lean=True)
    rig.enter(answers_after_s=0.4)
    rig.driver.tell(Told.KEY)
    assert not rig.display.may_draw(frames.healthy(), frames.suspect())
    rig.now += 0.3
    assert rig.display.may_draw(frames.healthy(), frames.suspect())


def test_output_that_was_dropped_is_made_good_by_drawing_everything() -> None:
    rig = Rig()
    rig.enter()
    rig.draw("one")
    rig.answer(0.01)
    rig.driver.behind = True
    rig.display.tend()
    assert "\x1b[2J" in rig.driver.written[-1]
    assert "one" in rig.driver.written[-1]


class Kept(WsmonApp):
    """Draws into a canvas instead of a terminal."""

    CSS_PATH = str(Path(app_module.__file__).with_name("app.tcss"))

    def __init__(self, source: FakeSource) -> None:
        super().__init__(source, theme="dark", armed=True, embedded=True, environ={"TERM": "xterm-256color"})
        self.canvas = Canvas(ColorSystem.TRUECOLOR, erases_in_color=False)
        self.refused: list[object] = []

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if renderable is not None and not self.canvas.take(renderable):
            self.refused.append(renderable)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_every_update_of_the_installed_textual_is_understood(size: tuple[int, int]) -> None:
    source = FakeSource(frames.healthy())
    app = Kept(source)
    async with app.run_test(size=size) as pilot:
        terminal = pyte.Screen(*size)
        terminal.reset_mode(7, private=True)
        stream = pyte.Stream(terminal)
        for step in ("", "j", "question_mark", "escape", "D", "escape", "2", "1"):
            if step:
                await pilot.press(step)
            source.frame = frames.removed() if step == "j" else source.frame
            app.poll()
            await pilot.pause()
            await pilot.pause()
            while app.canvas.differs:
                stream.feed(app.canvas.piece(500))
            wanted = [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
            assert [line.rstrip() for line in terminal.display] == wanted
        assert app.refused == []
