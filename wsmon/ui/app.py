"""The dashboard: pulls the newest frame ten times a second, draws what changed, and passes actions on."""

import asyncio
import locale
import os
import signal
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Final, TypeVar, cast

from rich.console import RenderableType
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.command import Provider
from textual.containers import Container
from textual.screen import Screen

from wsmon.commands import BY_ID, KILL_SIGNALS, Action, Group
from wsmon.ports import FrameSource
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.states import NodeState
from wsmon.ui import theme as themes
from wsmon.ui.keys import CommandProvider, bindings
from wsmon.ui.render import lines, preflight, status
from wsmon.ui.screens.help import HelpScreen
from wsmon.ui.screens.question import Answer, Asked, Question
from wsmon.ui.terminal import TerminalDriver
from wsmon.ui.tight import tightened
from wsmon.ui.widgets.events import EventList
from wsmon.ui.widgets.footer import KeyBar
from wsmon.ui.widgets.ledger import LedgerLine
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.services import ServiceStrip
from wsmon.ui.widgets.status import Banner, StatusBar, WhyLine
from wsmon.ui.widgets.table import LiveTable
from wsmon.ui.widgets.timeline import TimelinePane
from wsmon.views.frame import ActionRow, Frame, Health

POLL_S: Final = 0.1
SETTLES_S: Final = 0.25
REPAINT_EVERY_S: Final = 10.0
"""Only changes are sent, so whatever else disturbs the screen would stay: it is right again after this long."""
EVERYTHING: Final = 1_000_000
PAGE: Final = 10
TOAST_MAX: Final = 200
ENDED_BY_SIGNAL: Final = 128
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
_GONE_PROCESS: Final = ("exited", "failed", "stopped")
_Part = TypeVar("_Part", bound=Pane)


class WsmonApp(App[int], inherit_bindings=False):
    """Draws a source's frames; everything it knows comes from them."""

    CSS_PATH: ClassVar = "app.tcss"
    TITLE = "wsmon"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(act=False)]
    COMMANDS: ClassVar[set[type[Provider]]] = {CommandProvider}  # type: ignore[assignment]
    # Textual declares these two as instance variables, by a slip of the pen.
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (status.LEAST_WIDTH, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (status.LEAST_HEIGHT, "-low"), (30, "-tall")]  # noqa: RUF012
    NOTIFICATION_TIMEOUT = 4
    CLOSE_TIMEOUT = 0.5

    def __init__(
        self,
        source: FrameSource,
        *,
        theme: str | None,
        armed: bool,
        embedded: bool,
        for_s: float | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`theme` is a name or a path; None takes what fits the terminal. `for_s`: leave after so many seconds.

        Raises:
            ConfigError: the theme cannot be used.

        """
        colorless = "NO_COLOR" in environ
        super().__init__(driver_class=TerminalDriver, ansi_color=True if colorless else None)
        self.source = source
        self.armed = armed
        self.embedded = embedded
        self._for_s = for_s
        self._missed = False
        """Something drawn was not sent."""
        self._depth = 1
        self._repaint_at = 0.0
        """When everything is drawn once more: after a dialog that came or went has settled, and now and then."""
        self.paused = False
        self.ascii_only = needs_ascii(environ, locale.getpreferredencoding(do_setlocale=False))
        self.look = themes.load(self._theme_name(theme, colorless=colorless, environ=environ))
        self._frame = source.frame
        self._shown = self._frame
        self._told = {row.key for row in self._frame.actions if row.done}
        chosen = self.look.textual()
        self.register_theme(chosen)
        self.theme = chosen.name
        self.animation_level = "none"
        if armed:
            for binding in bindings(act=True):
                self.bind(binding.key, binding.action, description=binding.description, show=False)

    def _theme_name(self, asked: str | None, *, colorless: bool, environ: Mapping[str, str]) -> str:
        if colorless:
            return "mono"
        if asked is not None:
            return asked
        few = environ.get("TERM") == "linux" or self.console.color_system in {None, "standard"}
        return "terminal" if few else themes.DEFAULT

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Send what Textual drew, cut to the cells that changed.

        During a batch Textual throws away what it has drawn and repaints whole widgets sooner or later. Ours repaint
        only what changed, so what was thrown away has to be made good.
        """
        self._missed |= self._batch_count > 0 and renderable is not None
        super()._display(screen, cast("RenderableType | None", tightened(renderable)))

    def _repaint(self) -> None:
        """Draw the whole screen again, whatever is thought to be on it."""
        update = self.screen._compositor.render_update(full=True, screen_stack=self._background_screens)  # noqa: SLF001
        self._display(self.screen, update)

    def compose(self) -> ComposeResult:
        """Build the first view."""
        yield StatusBar(armed=self.armed)
        yield Banner()
        yield LiveTable()
        yield WhyLine()
        yield ServiceStrip()
        yield LedgerLine()
        with Container(id="lower"):
            yield TimelinePane()
            yield EventList()
        yield KeyBar(armed=self.armed)

    def on_mount(self) -> None:
        """Start to draw."""
        self.set_class(self.look.ansi, "-terminal")
        self.set_class(self.ascii_only, "-ascii")
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, partial(self._leave, ENDED_BY_SIGNAL + number))
        self._show(self._frame)
        self.query_one(LiveTable).focus()
        if self._for_s is not None:
            loop.call_later(self._for_s, self._leave, 0)
        self._watch(loop)

    def _leave(self, return_code: int) -> None:
        self.exit(return_code, return_code)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look for something new, again and again, until the app ends.

        A bare timer: looking costs microseconds, a message through Textual's queues a hundred times that.
        """
        if self._exit:
            return
        loop.call_later(POLL_S, self._watch, loop)
        driver = self._driver
        if isinstance(driver, TerminalDriver):
            if driver.gone:
                self._leave(ENDED_BY_SIGNAL + signal.SIGHUP)
                return
            if driver.busy:
                return  # It is not done with the last frame.
            if driver.behind or self._missed or self._repaint_is_due(loop.time()):
                driver.behind = self._missed = False
                self._repaint()  # In the middle of a batch it counts as missed again.
        if self.source.frame is not self._frame:
            self.call_next(self.poll)

    def _repaint_is_due(self, now: float) -> bool:
        if len(self.screen_stack) != self._depth:
            self._depth = len(self.screen_stack)
            self._repaint_at = now + SETTLES_S
        if now < self._repaint_at:
            return False
        self._repaint_at = now + REPAINT_EVERY_S
        return True

    def poll(self) -> None:
        """Draw the newest frame, unless nothing changed."""
        frame = self.source.frame
        if frame is self._frame:
            return
        self._frame = frame
        if frame.ended and self.embedded and not frame.nodes:
            self._leave(1)  # It never came up: whoever runs us says why, where it stays readable.
            return
        self._tell(frame.actions)
        if isinstance(self.screen, Question):
            self.screen.follow(frame)
        if not self.paused:
            self._show(frame)
        elif frame.ended:
            self._main(Banner).show(frame.ended)

    def _main(self, part: type[_Part]) -> _Part:
        """Return a part of the first view, whatever lies over it."""
        return self.screen_stack[0].query_one(part)

    def _show(self, frame: Frame) -> None:
        self._shown = frame
        offset_s = float(time.localtime(frame.header.at).tm_gmtoff) if lines.known(frame.header.at) else 0.0
        self._main(StatusBar).show(frame, paused=self.paused, offset_s=offset_s)
        self._main(Banner).show(frame.ended)
        self._main(LiveTable).show(frame.nodes)
        self._show_why()
        self._main(ServiceStrip).show(frame.services)
        self._main(LedgerLine).show(frame.header.audit)
        steps = frame.start if frame.header.health is Health.STARTING else None
        self._main(TimelinePane).show(frame.timeline, steps=steps, clients=frame.header.clients_connected)
        self._main(EventList).show(frame.events, lost=frame.events_lost, offset_s=offset_s)

    def _show_why(self) -> None:
        self._main(WhyLine).show(self._main(LiveTable).selected, self._shown.header.removal_window_s)

    def on_live_table_selected(self, _: LiveTable.Selected) -> None:
        """Explain another node."""
        self._show_why()

    def _tell(self, actions: tuple[ActionRow, ...]) -> None:
        """Say what became of actions, once."""
        for row in actions:
            if row.done and row.key not in self._told:
                told = f"{row.text}: {row.message}" if row.message else row.text
                self.say(told if row.ok else f"failed: {told}", bad=not row.ok)
        self._told = {row.key for row in actions if row.done}

    def say(self, text: str, *, bad: bool = False) -> None:
        """Show a short message for a while."""
        text = lines.clip(text, TOAST_MAX)
        if self.ascii_only:
            text = lines.ascii_only(text)
        self.notify(text, severity="error" if bad else "information", markup=False)

    async def action_command(self, name: str) -> None:
        """Do what a key or a palette entry stands for."""
        command = BY_ID[name]
        if command.group is Group.ACT:
            if self.armed:
                self._act(name)
            return
        pane = self.screen.focused
        if not isinstance(pane, Pane):
            pane = self._main(LiveTable)
        match name:
            case "up":
                pane.move(-1)
            case "down":
                pane.move(1)
            case "page_up":
                pane.move(-PAGE)
            case "page_down":
                pane.move(PAGE)
            case "first":
                pane.move(-EVERYTHING)
            case "last":
                pane.move(EVERYTHING)
            case "next_pane":
                self.screen.focus_next()
            case "pause":
                self.paused = not self.paused
                self._show(self._shown if self.paused else self._frame)
            case "help":
                self.push_screen(HelpScreen(armed=self.armed, embedded=self.embedded))
            case "quit":
                self._leave(0)
            case _:
                raise AssertionError(f"the command {name!r} has nothing behind it")

    def _act(self, name: str) -> None:
        row = self._main(LiveTable).selected
        # What is shown may be held still; what is done depends on how things are now.
        row = None if row is None else preflight.node_of(self._frame, row.id)
        if row is None:
            self.say("No node is selected.")
            return
        node = row.id
        if name == "start":
            if row.process not in _GONE_PROCESS and row.state is not NodeState.LEFT:
                self.say(f"{node} is {row.process or row.state}; there is nothing to start.")
                return
            self._perform(name, node)
        elif name == "abort":
            if row.state is not NodeState.DRAINING:
                self.say(f"{node} is {row.state}; there is no drain to abort.")
                return
            self._perform(name, node)
        elif name == "drain":
            asked = Asked(
                heading=f"Drain {lines.clip(node, 20)}",
                node=node,
                agree="Drain",
                facts=lambda frame, _choice, _width: preflight.drain_lines(frame, node),
                type_name=lambda frame: preflight.last_online(frame, node),
            )
            self.push_screen(Question(asked, self._frame), partial(self._answered, name, node))
        else:
            asked = Asked(
                heading=f"Kill {lines.clip(node, 20)}",
                node=node,
                agree="Send the signal",
                facts=lambda frame, choice, width: preflight.kill_lines(frame, node, choice, width),
                type_name=lambda _: True,
                choices=len(KILL_SIGNALS),
            )
            self.push_screen(Question(asked, self._frame), partial(self._answered, name, node))

    def _answered(self, name: str, node: str, answer: Answer | None) -> None:
        if answer is None:
            return
        args = {"signal": KILL_SIGNALS[answer.choice]} if name == "kill" else {}
        self._perform(name, node, args, answer.reason)

    def _perform(self, op: str, node: str, args: ReadOnlyJson | None = None, reason: str = "") -> None:
        self.source.perform(Action(op=op, node=node, args=args or {}, reason=reason, key=uuid.uuid4().hex))


def needs_ascii(environ: Mapping[str, str], encoding: str) -> bool:
    """Return whether the terminal cannot show more than ASCII."""
    return environ.get("TERM") == "linux" or "utf" not in encoding.lower()
