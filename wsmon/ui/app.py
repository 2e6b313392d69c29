"""The dashboard: pulls the newest frame ten times a second, draws what changed, and passes actions on."""

import asyncio
import contextlib
import locale
import math
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from rich.console import RenderableType
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.command import Provider
from textual.containers import Container
from textual.events import Event, Key
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from wsmon.commands import BY_ID, USUAL_KEYS, Action, Group, Keymap
from wsmon.errors import WsmonError
from wsmon.ports import FrameSource, LiveSource, Player, Telling
from wsmon.ui import take
from wsmon.ui import theme as themes
from wsmon.ui.display import Display
from wsmon.ui.keys import CommandProvider, bindings
from wsmon.ui.pages import make
from wsmon.ui.pages.page import Page
from wsmon.ui.render import lines, moment, status
from wsmon.ui.render.footer import healable, named
from wsmon.ui.render.glyphs import Glyphs
from wsmon.ui.render.glyphs import chosen as chosen_glyphs
from wsmon.ui.terminal import TerminalDriver
from wsmon.ui.widgets.caption import CaptionBar
from wsmon.ui.widgets.footer import KeyBar
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.prompt import Prompt
from wsmon.ui.widgets.status import Banner, StatusBar, TabBar
from wsmon.ui.widgets.table import LiveTable
from wsmon.views.frame import ActionRow, Frame, Looking, PageName

if TYPE_CHECKING:  # Questions and help are imported when somebody wants them, not before the first screen.
    from wsmon.ui.acts import Deed
    from wsmon.ui.screens.question import Answer, Question

POLL_S: Final = 0.1
SYSTEM_S: Final = 0.5
"""How often to look whether the terminal is still there, and whether the theme's file was changed."""
LAYOUTS: Final = 1
"""How often the first screen is laid out again before it stays as it is."""
BARS: Final = 3
"""Lines around a page where there is room for all of them."""
TOAST_MAX: Final = 200
FRAME_S: Final = 0.5
"""Distance of two pictures of a replay."""
FASTEST, SLOWEST = 64.0, 0.125
NO_EARLIER, NO_LATER = "There is no earlier one.", "There is no later one."
NONE_KEPT: Final = "No incident and no note in the last minutes."
ENDED_BY_SIGNAL: Final = 128
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
_PAGES: Final = frozenset(str(name) for name in PageName)
_Part = TypeVar("_Part", bound=Pane | Prompt)


class WsmonApp(App[int], inherit_bindings=False):
    """Draws a source's frames; everything it knows comes from them."""

    CSS_PATH: ClassVar = "app.tcss"
    TITLE = "wsmon"
    BINDINGS: ClassVar[list[BindingType]] = []
    COMMANDS: ClassVar[set[type[Provider]]] = {CommandProvider}  # type: ignore[assignment]
    # Textual declares these two as instance variables, by a slip of the pen.
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (status.LEAST_WIDTH, "-narrow"), (120, "-wide"), (160, "-broad")]  # noqa: RUF012
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
        keymap: Keymap = USUAL_KEYS,
        directory: Path | None = None,
        glyphs: str = "auto",
        slow_link: bool = False,
        ready: Callable[[], None] = lambda: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`theme` is a name or a path; None takes what fits the terminal. `for_s`: leave after so many seconds.

        `armed`: whether actions are possible from the beginning; a replay never is. `directory` is where exports go;
        None is the working directory. `ready` is called when the first screen is there.

        Raises:
            ConfigError: the theme cannot be used.

        """
        colorless = "NO_COLOR" in environ
        super().__init__(driver_class=TerminalDriver, ansi_color=True if colorless else None)
        self.source = source
        self.live = source
        """Where `source` goes back to: the same, unless somebody looks at the last minutes."""
        self.armed = armed and not isinstance(source, Player)
        self.embedded = embedded
        self.keymap = keymap
        self._directory = Path.cwd() if directory is None else directory
        self._for_s = for_s
        self._slow_link = slow_link
        self._when_shown = ready
        self._way: Display | None = None
        self.paused = False
        self.glyphs = chosen_glyphs(glyphs, environ, locale.getpreferredencoding(do_setlocale=False))
        self.ascii_only = self.glyphs is Glyphs.ASCII
        self.look = themes.load(self._theme_name(theme, colorless=colorless, environ=environ))
        self._theme_watch = themes.watch(self.look)
        self._frame = source.frame
        self._shown = self._frame
        self._told = {row.key for row in self._frame.actions if row.done}
        self._pages: dict[PageName, Page] = {}
        self._page = PageName.NODES
        self._looking = Looking()
        self._timer: asyncio.TimerHandle | None = None
        """When to look for news next."""
        self._question: Question | None = None
        """The last question that was asked."""
        self._tells = False
        """Whether what is live says by itself when there is news."""
        self._system_due = -math.inf
        self._asked_at = -math.inf
        """When the last question came up, in monotonic seconds."""
        self._jumping: tuple[Player, int] | None = None
        """A jump that waits until the marks on its way are known: where, and in which direction."""
        self._filtered: Pane | None = None
        """What the filter that is being typed is for."""
        chosen = self.look.textual()
        self.register_theme(chosen)
        self.theme = chosen.name
        self.animation_level = "none"
        for binding in bindings(keymap, act=False):
            self._bindings.key_to_bindings[binding.key] = [binding]
        self._bind_acts()

    @property
    def may_act(self) -> bool:
        """Whether action keys exist: armed, and what is shown is live."""
        return self.armed and self.source is self.live

    def _bind_acts(self) -> None:
        """Bind the keys that act, or take them away: what is not bound cannot be pressed."""
        for binding in bindings(self.keymap, act=True):
            if self.may_act:
                self._bindings.key_to_bindings[binding.key] = [binding]
            else:
                self._bindings.key_to_bindings.pop(binding.key, None)

    def _theme_name(self, asked: str | None, *, colorless: bool, environ: Mapping[str, str]) -> str:
        if colorless:
            return str(themes.directory() / "mono.toml")  # Not one of the user's own by that name.
        if asked is not None:
            return asked
        few = environ.get("TERM") == "linux" or self.console.color_system in {None, "standard"}
        return "terminal" if few else themes.DEFAULT

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Send what changed of what Textual drew; where that is not understood, send it Textual's way."""
        display = self._terminal
        if display is None or renderable is None:
            super()._display(screen, renderable)
            return
        if not display.take(renderable):
            super()._display(screen, renderable)
            display.canvas.forget()
            return
        if display.canvas.incomplete:
            display.take(self.screen._compositor.render_update(full=True, screen_stack=self._background_screens))  # noqa: SLF001
        if display.holds_s:
            asyncio.get_running_loop().call_later(display.holds_s, self._send)
        elif not self._exit and not self._batch_count:
            self._send()

    def _send(self) -> None:
        """Send what the link carries now; the cursor goes to where somebody types."""
        if self._terminal is not None and not self._exit:
            cursor = self.cursor_position
            self._terminal.send((cursor.x, cursor.y) if cursor else None)

    @property
    def _terminal(self) -> Display | None:
        """The way to the terminal; none before it is ours, and none in tests without one."""
        if self._way is None and isinstance(self._driver, TerminalDriver):
            system = self.console._color_system  # noqa: SLF001  # Public as a name only.
            self._way = Display(
                self._driver,
                color_system=system,
                lean=self._slow_link,
                clock=time.monotonic,
                regions=self._regions,
            )
            self._way.focus_came = self.poll
        return self._way

    @property
    def link_is_slow(self) -> bool:
        """Whether each byte to the terminal counts."""
        return self._way is not None and self._way.pace.slow

    def _regions(self) -> list[Region]:
        """Return where it shows first when something is wrong."""
        parts = self.screen_stack[0].query("#status, #banner, #caption, EventList").results(Widget)
        return [part.region for part in parts if part.region]

    def _repaint(self) -> None:
        """Draw the whole screen again, whatever is thought to be on it."""
        if self._terminal is not None:
            self._terminal.repaint()

    def compose(self) -> ComposeResult:
        """Build what stays, and the first page."""
        yield StatusBar()
        yield TabBar(self.keymap)
        yield Banner()
        yield CaptionBar()
        self._pages[self._page] = page = make(self._page)
        self._foresee(page)
        with Container(id="pages"):
            yield page
        yield Prompt()
        yield KeyBar(self.keymap, armed=self.may_act)

    def _foresee(self, page: Page) -> None:
        """Have the first screen laid out for the terminal as it is, not for an unknown one and then again."""
        for length, steps in zip(self.size, (self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS), strict=True):
            self.screen.add_class(max(step for step in steps if step[0] <= length)[1])
        page.foresee(self.size - Size(0, BARS))

    def on_mount(self) -> None:
        """Start to draw."""
        self.set_class(self.look.ansi, "-terminal")
        self.set_class(self.ascii_only, "-ascii")
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, partial(self._leave, ENDED_BY_SIGNAL + number))
        self._show(self._frame)
        self.page.main.focus()
        if self._for_s is not None:
            loop.call_later(self._for_s, self._leave, 0)
        self._watch(loop)
        if isinstance(self.live, Telling):
            self._tells = True
            self.live.news = partial(_tell, loop, partial(self._hear, loop))
        self.call_after_refresh(self._begin, LAYOUTS)

    def _begin(self, more: int) -> None:
        """Send the first screen once it is laid out, and only then let others work: they would share the processor."""
        if more:
            self.call_after_refresh(self._begin, more - 1)
            return
        if self._terminal is not None:
            self._terminal.settled()
            self._send()
        self._when_shown()

    def _look_for_another_theme(self, now: float) -> None:
        """Wear the theme anew if its file was changed; one that cannot be used changes nothing."""
        reload = themes.reloaded(self._theme_watch, now)
        if reload is None:
            return
        if reload.theme is not None:
            self.look = reload.theme
            chosen = self.look.textual()
            self.register_theme(chosen)
            self.theme = chosen.name
            self.set_class(self.look.ansi, "-terminal")
            for screen in self.screen_stack:
                for pane in screen.query(Pane):
                    pane.repaint()
        self.say(reload.sentence, bad=reload.theme is None)

    def _leave(self, return_code: int) -> None:
        self.exit(return_code, return_code)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look for something new, again and again, until the app ends.

        A bare timer: looking costs microseconds, a message through Textual's queues a hundred times that. It can take
        its time if nothing is under way to the terminal, and the source says by itself when there is news.
        """
        if self._is_over:
            return
        now = loop.time()
        if now >= self._system_due:
            self._system_due = now + SYSTEM_S
            if isinstance(self._driver, TerminalDriver) and self._driver.gone:
                self._leave(ENDED_BY_SIGNAL + signal.SIGHUP)
                return
            self._look_for_another_theme(now)
        self._land()
        rests = self._look_for_news() and self._tells and self.source is self.live and self._jumping is None
        self._timer = loop.call_later(SYSTEM_S if rests else POLL_S, self._watch, loop)

    @property
    def _is_over(self) -> bool:
        """Whether the app ends: what was asked for before may still come, when its screens are gone."""
        return self._exit or not self.screen_stack

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at once: there is news."""
        if self._timer is not None:
            self._timer.cancel()
            self._watch(loop)

    def _look_for_news(self) -> bool:
        """Draw the newest frame if the terminal can take it; return whether nothing more is to be done about it."""
        frame, display = self.source.frame, self._terminal
        if display is not None:
            if not self._batch_count:
                display.tend()
            if frame is self._frame:
                return display.rests
            if not display.may_draw(self._frame, frame):
                return False
        if frame is not self._frame:
            self.call_next(self.poll)
            return False
        return True

    def poll(self) -> None:
        """Draw the newest frame, unless nothing changed or there is no screen any more."""
        frame = self.source.frame
        if frame is self._frame or self._is_over:
            return
        self._frame = frame
        if frame.ended and self.embedded and not frame.nodes and self.source is self.live:
            self._leave(1)  # It never came up: whoever runs us says why, where it stays readable.
            return
        self._tell(frame.actions)
        if self._question is not None and self.screen is self._question:
            self._question.follow(frame)
        if not self.paused:
            self._show(frame)
        elif frame.ended:
            self._main(Banner).show(frame.ended)

    # What is shown.

    @property
    def page(self) -> Page:
        """The page in sight."""
        return self._pages[self._page]

    def _main(self, part: type[_Part]) -> _Part:
        """Return a part of the screen under whatever lies over it."""
        return self.screen_stack[0].query_one(part)

    def _show(self, frame: Frame) -> None:
        self._shown = frame
        offset_s = float(time.localtime(frame.header.at).tm_gmtoff) if lines.known(frame.header.at) else 0.0
        self._main(StatusBar).show(frame, paused=self.paused, armed=self.may_act, offset_s=offset_s)
        self._main(Banner).show(frame.ended)
        self._main(CaptionBar).show(frame.caption)
        self._main(KeyBar).show(armed=self.may_act, playback=frame.playback, fault=healable(frame))
        page = self.page
        if page.is_mounted:
            page.show(frame, offset_s=offset_s)

    async def go_to(self, name: PageName, *, node: str | None = None, client: str | None = None) -> None:
        """Show a page, with this node or client selected."""
        if name is not self._page:
            self.page.display = False
            self._page = name
            if name not in self._pages:
                self._pages[name] = make(name)
                await self.screen_stack[0].query_one("#pages", Container).mount(self._pages[name])
            self.page.display = True
            self._main(TabBar).show(name)
        if node is not None or client is not None:
            self.page.select(node=node, client=client)
        self.page.main.focus()
        self._show(self._shown if self.paused else self._frame)
        self._look()

    def _look(self) -> None:
        """Tell the source what is looked at."""
        looking = replace(self.page.looking(self._looking), page=self._page)
        if looking != self._looking:
            self._looking = looking
            self.source.look_at(looking)

    def on_page_looks_elsewhere(self, _: Page.LooksElsewhere) -> None:
        """Have the parts drawn that are about what is selected now."""
        self._look()

    async def on_page_go_to_page(self, message: Page.GoToPage) -> None:
        """Go there."""
        await self.go_to(message.page, node=message.node, client=message.client)

    def on_page_go_to(self, message: Page.GoTo) -> None:
        """Go back, or on, to a moment."""
        self._seek(message.at)

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

    # Commands.

    async def action_command(self, name: str) -> None:
        """Do what a key or a palette entry stands for: the pane with the focus first, then the page, then all."""
        command = BY_ID[name]
        if command.group is Group.ACT:
            if self.may_act:
                await self._act(name)
            else:
                self.say(self._why_locked)
            return
        pane = self.screen.focused
        if not isinstance(pane, Pane):
            pane = self.page.main
        if pane.command(name) or self.page.command(name):
            return
        if name in _PAGES:
            await self.go_to(PageName(name))
            return
        match name:
            case "next_pane":
                self.screen.focus_next()
            case "previous_pane":
                self.screen.focus_previous()
            case "filter":
                self._ask_filter(pane)
            case "pause":
                self._pause()
            case "live":
                self._go_live()
            case "back":
                self._come_back()
            case "step":
                self._step(1)
            case "step_back":
                self._step(-1)
            case "incident_previous":
                self._jump(-1)
            case "incident_next":
                self._jump(1)
            case "goto":
                self._prompt("goto", "go to")
            case "faster":
                self._speed(2)
            case "slower":
                self._speed(0.5)
            case "marker":
                if isinstance(self.source, LiveSource):
                    self._prompt("marker", "note")
                else:
                    self.say("A note is for what happens now.")
            case "copy" | "copy_json" | "export":
                self._take(name, pane)
            case "screenshot":
                self._take_screen()
            case "bundle":
                await self._bundle()
            case "arm":
                await self._arm()
            case "suspend":
                self.action_suspend_process()
            case "repaint":
                self._repaint()
            case "help":
                from wsmon.ui.screens.help import HelpScreen  # noqa: PLC0415

                await self.push_screen(HelpScreen(self.keymap, armed=self.may_act, embedded=self.embedded))
            case "quit":
                self._leave(0)
            case _:
                pass  # Means nothing on this page.

    # Act.

    async def _act(self, name: str) -> None:
        from wsmon.ui import acts  # noqa: PLC0415
        from wsmon.ui.screens.question import Question  # noqa: PLC0415

        # What is shown may be held still; what is done depends on how things are now.
        nodes = tuple(row.id for row in self.page.targets())
        match acts.plan(name, nodes, self._frame, self.keymap):
            case str(sentence):
                self.say(sentence)
            case acts.Ask(asked=asked, deeds=deeds):
                await self._ask(Question(asked, self._frame), partial(self._answered, deeds))
            case deeds:
                self._perform(deeds)

    async def _ask(self, question: "Question", then: "Callable[[Answer | None], None]") -> None:
        """Show a question and wait until it is there; keys that were typed ahead are for it."""
        self._question = question
        await self.push_screen(question, then)
        self._asked_at = time.monotonic()

    async def on_event(self, event: Event) -> None:
        """Take keys that were typed before a question or a field came up to it.

        Textual hands a key to what has the focus at once, and looks for bindings when it comes back from there. What was
        typed right behind the key that asks would come back to nobody.
        """
        if isinstance(event, Key) and event.is_forwarded and event.time < self._asked_at and self._takes_text:
            event = Key(event.key, event.character)
        await super().on_event(event)

    @property
    def _takes_text(self) -> bool:
        return self.screen is self._question or isinstance(self.focused, Input)

    def on_key(self, event: Key) -> None:
        """Say why a key that would act does nothing here: it is not bound, so nothing else comes of it."""
        if self.may_act or len(self.screen_stack) > 1 or self._takes_text:
            return
        if any(event.key in self.keymap[command.id] for command in BY_ID.values() if command.group is Group.ACT):
            self.say(self._why_locked)

    @property
    def _why_locked(self) -> str:
        """Why no key acts, and what to do about it."""
        if self.source is not self.live:
            return f"This is the past; {named('live', self.keymap)} goes back to live."
        if not isinstance(self.live, LiveSource):
            return "A recording cannot be acted on."
        return f"Locked: {named('arm', self.keymap)} arms this console."

    def _answered(self, deeds: "Callable[[Answer], tuple[Deed, ...]]", answer: "Answer | None") -> None:
        if answer is not None and self.may_act:
            self._perform(deeds(answer), answer.reason)

    def _perform(self, deeds: "tuple[Deed, ...]", reason: str = "") -> None:
        for deed in deeds:
            self.live.perform(Action(op=deed.op, node=deed.node, args=deed.args, reason=reason, key=uuid.uuid4().hex))

    async def _arm(self) -> None:
        if self.source is not self.live or not isinstance(self.live, LiveSource):
            self.say(self._why_locked)
        elif self.armed:
            self._set_armed(on=False)
        else:
            from wsmon.ui import acts  # noqa: PLC0415
            from wsmon.ui.screens.question import Question  # noqa: PLC0415

            await self._ask(Question(acts.arming(self._frame), self._frame), self._armed)

    def _armed(self, answer: "Answer | None") -> None:
        if answer is not None:
            self._set_armed(on=True)

    def _set_armed(self, *, on: bool) -> None:
        assert isinstance(self.live, LiveSource)
        self.live.arm(on=on)
        self.armed = on
        self._bind_acts()
        self._show(self._shown)
        self.say("Armed: keys act on the cluster." if on else "Locked: no key acts.")

    # Time.

    @property
    def _player(self) -> Player | None:
        return self.source if isinstance(self.source, Player) else None

    def _pause(self) -> None:
        self._call_off()
        player = self._player
        if player is not None:
            playback = self.source.frame.playback
            player.hold(on=playback is None or not playback.held)
            return
        self.paused = not self.paused
        self._show(self._shown if self.paused else self._frame)

    def _back(self) -> Player | None:
        """Return what is replayed; from live, go to the last minutes."""
        self._call_off()
        if self._player is None:
            player = self._ring()
            if player is None:
                return None
            self._turn_to(player)
        return self._player

    def _ring(self) -> Player | None:
        """Return the last minutes; say so if there are none."""
        player = self.live.ring() if isinstance(self.live, LiveSource) else None
        if player is None:
            self.say("The last minutes are not kept here.")
        return player

    def _turn_to(self, source: FrameSource) -> None:
        """Draw from another source."""
        if self.source is not self.live and isinstance(self.source, Player):
            self.source.close()
        self.source = source
        self.paused = False
        self._frame = source.frame
        source.look_at(self._looking)
        self._bind_acts()
        self._show(self._frame)

    def _come_back(self) -> None:
        """Leave the past, or the held picture, when nothing else is open; a recording has no other place to go to."""
        if self.source is self.live and self._player is not None:
            self._call_off()
        else:
            self._go_live()

    def _go_live(self) -> None:
        self._call_off()
        player = self._player
        if self.source is not self.live:
            self._turn_to(self.live)
        elif player is not None:
            playback = player.frame.playback
            if playback is not None:
                player.seek(playback.end_at)
        elif self.paused:
            self._pause()

    def _step(self, frames: int) -> None:
        player = self._back()
        if player is not None:
            player.step(frames)

    def _seek(self, at: float) -> None:
        player = self._back()
        if player is not None:
            player.seek(at)
            player.hold(on=True)

    def _jump(self, step: int) -> None:
        """Go to the next incident or note, or the one before; from live, to the latest of the last minutes."""
        player = self._player
        if player is None:
            if step > 0:
                self.say(NO_LATER)
                return
            if self._jumping is not None:
                return  # It is on its way.
            player = self._ring()
            if player is None:
                return
        self._jumping = player, step
        self._land()

    def _land(self) -> None:
        """Make the jump that was asked for, if the marks on its way are known; live stays in sight until then."""
        if self._jumping is None:
            return
        player, step = self._jumping
        playback = player.frame.playback
        assert playback is not None, "a player says where it stands"
        shown = player is self.source
        at = playback.at if shown else math.inf
        if step > 0:
            mark = next((mark for mark in playback.marks if mark > at + FRAME_S), None)
            known = mark is not None or playback.looked_to >= playback.end_at
        else:
            mark = next((mark for mark in reversed(playback.marks) if mark < at - FRAME_S), None)
            known = playback.looked_to >= min(at, playback.end_at)
        if not known:
            return
        self._jumping = None
        if mark is None:
            self.say(NO_LATER if step > 0 else NO_EARLIER if shown else NONE_KEPT)
            if not shown:
                player.close()
            return
        if not shown:
            self._turn_to(player)
        player.seek(mark)

    def _call_off(self) -> None:
        """Make no jump that still waits."""
        if self._jumping is not None:
            player, _ = self._jumping
            self._jumping = None
            if player is not self.source:
                player.close()

    def _speed(self, factor: float) -> None:
        player = self._player
        playback = None if player is None else player.frame.playback
        if player is not None and playback is not None:
            player.speed(min(FASTEST, max(SLOWEST, playback.speed * factor)))

    def _go_to_time(self, text: str) -> None:
        playback = self.source.frame.playback
        now = self.source.frame.header.at if playback is None else playback.at
        at = moment.parse(text, now, offset_s=float(time.localtime(now).tm_gmtoff))
        if at is None:
            self.say(f"“{text}” is no time; 14:03:20, 14:03 or -30 are.", bad=True)
        else:
            self._seek(at)

    # What is typed.

    def _prompt(self, purpose: str, label: str, text: str = "") -> None:
        self._main(Prompt).ask(purpose, label, text)
        self._asked_at = time.monotonic()

    def _ask_filter(self, pane: Pane) -> None:
        if pane.filter_text is None:
            pane = self.page.main
        if pane.filter_text is None:
            self.say("There is nothing to filter here.")
            return
        self._filtered = pane
        self._prompt("filter", "/", pane.filter_text)

    async def on_prompt_typed(self, message: Prompt.Typed) -> None:
        """Take what was typed."""
        prompt = self._main(Prompt)
        if message.done:
            prompt.close()
            (self._filtered or self.page.main).focus()
        match message.purpose:
            case "filter" if self._filtered is not None:
                self._filtered.filter(message.text or "")
                if message.done:
                    self._filtered = None
            case "goto" if message.done and message.text:
                self._go_to_time(message.text)
            case "marker" if message.done and message.text and isinstance(self.live, LiveSource):
                self.live.mark(message.text)
            case _:
                pass

    # Take away.

    def _take(self, name: str, pane: Pane) -> None:
        table = pane if isinstance(pane, LiveTable) else self.page.main
        try:
            if name == "export":
                stem = f"wsmon-{self._page}-{take.stamp(self._shown.header.at)}"
                if isinstance(table, LiveTable):
                    text, rows = table.everything(), table.rows
                else:
                    text, rows = self._screen_text(), ()
                paths = [take.write(self._directory, stem, ".txt", text + "\n")]
                if rows:
                    paths.append(take.write(self._directory, stem, ".jsonl", take.json_lines(rows)))
                self.say(f"Wrote {', '.join(path.name for path in paths)}.")
                return
            if not isinstance(table, LiveTable) or not table.marked:
                self.say("No row is selected.")
                return
            text = table.text() if name == "copy" else take.json_lines(table.marked).rstrip("\n")
            self._copy(text)
        except WsmonError as error:
            self.say(error.message, bad=True)

    def _copy(self, text: str) -> None:
        """Put a text into the terminal's clipboard; not all terminals let us, so it goes into a file as well."""
        sequence = take.osc52(text)
        if sequence is not None and self._driver is not None:
            self._driver.write(sequence)
        path = take.keep_copy(text)
        self.say(f"Copied {len(text.splitlines())} line{'s' * (len(text.splitlines()) != 1)}; also in {path}.")

    def _screen_text(self) -> str:
        strips = self.screen_stack[0]._compositor.render_strips()  # noqa: SLF001  # As Textual's own screenshot does.
        return "\n".join(strip.text.rstrip() for strip in strips)

    def _take_screen(self) -> None:
        stem = f"wsmon-{self._page}-{take.stamp(self._shown.header.at)}"
        try:
            svg = take.write(self._directory, stem, ".svg", self.export_screenshot(title=f"wsmon {self._page}"))
            text = take.write(self._directory, stem, ".txt", self._screen_text() + "\n")
            self.say(f"Wrote {svg.name} and {text.name}.")
        except WsmonError as error:
            self.say(error.message, bad=True)

    async def _bundle(self) -> None:
        if not isinstance(self.live, LiveSource):
            self.say("This is a recording already.")
            return
        cluster = "".join(c if c.isalnum() or c in "-_" else "_" for c in self._shown.header.cluster)[:40]
        path = self._directory / f"wsmon-{cluster}-{take.stamp(time.time())}.wsr"
        try:
            await asyncio.to_thread(self.live.keep, path)
            self.say(f"Wrote {path.name}; `wsmon replay {path.name}` shows it.")
        except WsmonError as error:
            self.say(error.message, bad=True)


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    """Have something called by the loop of another thread, if it still runs."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what)
