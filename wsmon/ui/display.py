"""The way from a picture to the terminal: what changed, in pieces, each after the last has arrived.

Joins a `Canvas`, which knows what differs, a `Pace`, which knows what the link carries, and the driver, which writes.
"""

import curses
from collections.abc import Callable, Iterable
from typing import Final

from rich.color import ColorSystem
from textual.geometry import Region

from wsmon.ui.pace import Pace, urgent
from wsmon.ui.terminal import TerminalDriver, Told
from wsmon.ui.tight import Canvas
from wsmon.views.frame import Frame

SYNC_BEGIN: Final = "\x1b[?2026h"
SYNC_END: Final = "\x1b[?2026l"
SYNC_FROM: Final = 256
"""Bytes; a smaller piece arrives at once anyhow, and the frame around it would cost as much as itself."""
WIDE: Final = 4_096
"""Bytes; what carries that in one piece carries any usual frame."""
SETTLES_S: Final = 0.08
"""Textual lays the first screen out twice; what it draws before the second time would be sent for nothing.

Nobody waits longer for `settled`.
"""
CAUSE_S: Final = 0.2
"""What is drawn so soon after a key was caused by the key."""


class Display:
    """Keeps one terminal up to date. Lives in the loop's thread."""

    def __init__(
        self,
        driver: TerminalDriver,
        *,
        color_system: ColorSystem | None,
        lean: bool,
        clock: Callable[[], float],
        regions: Callable[[], Iterable[Region]],
    ) -> None:
        """`regions` are those where it shows how things are; asked for only when not everything can go at once."""
        self._driver = driver
        self._clock = clock
        self._regions = regions
        if lean and color_system is ColorSystem.TRUECOLOR:
            color_system = ColorSystem.EIGHT_BIT  # Half the bytes of a change of colour.
        self.canvas = Canvas(color_system, erases_in_color=erases_in_color())
        self.pace = Pace(lean=lean)
        self.pace.asks = driver.knows_questions
        self._key_at = self._urgent_at = float("-inf")
        self._begins_at: float | None = None
        self.synchronized = False
        """Whether the terminal shows a frame at once if it is told where the frame begins and ends."""
        self.focus_came: Callable[[], None] = lambda: None
        """Called when the window has the focus again."""
        driver.tell = self._told

    def take(self, update: object) -> bool:
        """Draw one of Textual's updates; return whether it was understood."""
        if self._begins_at is None:
            self._begins_at = self._clock() + SETTLES_S
        first: Iterable[Region] = ()
        if self.narrow:
            now = self._clock()
            if now - self._key_at < CAUSE_S:
                first = (Region(0, 0, self.canvas.width, self.canvas.height),)
            elif now - self._urgent_at < CAUSE_S:
                first = self._regions()
        return self.canvas.take(update, first)

    @property
    def holds_s(self) -> float:
        """How long nothing is sent yet."""
        return 0.0 if self._begins_at is None else max(0.0, self._begins_at - self._clock())

    def settled(self) -> None:
        """The first screen is laid out: it may be sent."""
        self._begins_at = float("-inf")

    @property
    def rests(self) -> bool:
        """Whether the terminal shows all that was drawn, so that time changes nothing."""
        return not (self.canvas.differs or self._driver.behind or self.pace.pending)

    @property
    def narrow(self) -> bool:
        """Whether the link cannot carry a whole screen at once, so that the order matters."""
        return self.pace.budget < WIDE

    def may_draw(self, before: Frame, after: Frame) -> bool:
        """Say whether a newer frame may be drawn now; if so, it has to be."""
        now = self._clock()
        hurry = not self.pace.may_draw(now)
        if self.narrow:
            # What a key does is drawn alone, or it could not be sent alone.
            if now - self._key_at < CAUSE_S:
                return False
            hurry = urgent(before, after)
            if hurry:
                self._urgent_at = now
        elif hurry:
            hurry = urgent(before, after)
        if not hurry and not self.pace.may_draw(now):
            return False
        self.pace.drew(now)
        return True

    def send(self, cursor: tuple[int, int] | None = None) -> None:
        """Send the next piece, if there is one and the link is free; `cursor` is where the cursor has to be then."""
        canvas, pace, driver, now = self.canvas, self.pace, self._driver, self._clock()
        if not canvas.differs:
            pace.shown(now)
            return
        if self.holds_s:
            return
        if not pace.may_send(now, busy=driver.busy):
            return
        text = canvas.piece(pace.budget)
        if not text:
            pace.shown(now)
            return
        if cursor is not None:
            text += f"\x1b[{cursor[1] + 1};{cursor[0] + 1}H"
            canvas.moved(*cursor)
        if self.synchronized and len(text) >= SYNC_FROM:
            text = f"{SYNC_BEGIN}{text}{SYNC_END}"
        if pace.asks:
            text += driver.ask()
        driver.write(text)
        pace.sent(now, len(text))

    def repaint(self) -> None:
        """Draw everything again, whatever is thought to be on the screen."""
        self.canvas.forget()
        self.send()

    def tend(self) -> None:
        """Look after what time changes; to be called again and again."""
        if self._driver.behind:
            self._driver.behind = False
            self.canvas.forget()
        self.send()

    def _told(self, what: Told) -> None:
        match what:
            case Told.ANSWERED:
                self.pace.answered(self._clock())
                self.send()
            case Told.FOCUSED:
                self.pace.focused = True
                self.focus_came()
            case Told.KEY:
                self._key_at = self._clock()
            case Told.BLURRED:
                self.pace.focused = False
            case Told.SYNCHRONIZES:
                self.synchronized = True
            case Told.ENTERED:
                self.pace.began()
                self.canvas.forget()
                if self.pace.asks:
                    self._driver.write(self._driver.ask())
                    self.pace.sent(self._clock(), 0)
                self.send()


def erases_in_color() -> bool:
    """Return whether the terminal erases in the background colour of the pen, as its description says."""
    try:
        curses.setupterm(fd=2)
        return curses.tigetflag("bce") > 0
    except curses.error:
        return False
