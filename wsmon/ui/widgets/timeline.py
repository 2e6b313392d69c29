"""The reconnect timeline; while the cluster starts, the steps of that instead."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from textual.events import Click, MouseDown
from textual.message import Message

from wsmon.ui.render import start, storm, timeline
from wsmon.ui.render.lines import Line, clip, known
from wsmon.ui.widgets.detail import glyphs_of
from wsmon.ui.widgets.pane import Pane
from wsmon.views.detail_frame import NodeDetail
from wsmon.views.frame import Lane, StartStep, Timeline
from wsmon.views.text import natural

ORDERS: Final[tuple[tuple[str, Callable[[Lane], object] | None], ...]] = (
    ("newest first", None),
    ("away first", lambda lane: not lane.away),
    ("by name", lambda lane: natural(lane.client)),
)
"""How lanes can stand: a name, and what to sort by; they come with the newest loss first."""
AWAY_FIRST: Final = 1


class TimelinePane(Pane, can_focus=True):
    """One lane for each client that is or was away, one of them selected while the pane has the focus."""

    class Opened(Message):
        """Somebody wants to know more of a client."""

        def __init__(self, client: str) -> None:
            super().__init__()
            self.client = client

    def __init__(self, *, id: str = "timeline", order: int = 0) -> None:  # noqa: A002
        super().__init__(id=id)
        self._all = Timeline()
        self._timeline = Timeline()
        self._steps: tuple[StartStep, ...] | None = None
        self._quiet = timeline.UNKNOWN
        self._hint = ""
        self._usual = order
        self._order = order
        self._reverse = False
        self._wanted = ""
        self._past_s: float | None = None
        self._client: str | None = None
        """The selected client; None: the first lane is."""
        self.top = 0
        self.least_s = 0.0
        """How much of the past something else on the page needs."""
        self.replays = False
        """Whether what is shown is a replay: then the keys of the pace are not ours."""

    def show(
        self, shown: Timeline, *, steps: tuple[StartStep, ...] | None, clients: int | None, hint: str = ""
    ) -> None:
        """Show other lanes, or the steps of a start; `clients` is how many are connected, as far as known."""
        self._steps, self._hint = steps, hint
        self._quiet = timeline.UNKNOWN if clients is None else timeline.QUIET
        if shown is not self._all:
            self._all = shown
            self._arrange()
        self.redraw()

    @property
    def cursor(self) -> int:
        """The place of the selected lane."""
        lanes = self._timeline.lanes
        return next((place for place, lane in enumerate(lanes) if lane.client == self._client), 0)

    @property
    def selected(self) -> str | None:
        """The client of the selected lane."""
        lanes = self._timeline.lanes
        return lanes[self.cursor].client if lanes else None

    @property
    def reach_s(self) -> float:
        """How much of the past is shown: what was asked for, else all absences that last, else the lanes in sight."""
        if self._past_s is not None:
            return self._past_s
        now = self._all.now_at
        asking = [lane for lane in self._all.lanes if lane.away]
        if not asking:
            # All are back: what the lanes in sight tell stays in sight, or there would be nothing but lines.
            asking = list(self._timeline.lanes[self.top : self.top + max(1, self.size.height - 2)])
        longest = max((now - lane.lost_at for lane in asking if known(lane.lost_at)), default=0.0)
        needed = max(longest, self.least_s) + 1.0
        return min(max(needed, timeline.PAST_LEAST_S), timeline.PAST_MOST_S)

    def select(self, client: str) -> None:
        """Select a client's lane."""
        self._client = client
        self._scroll()
        self.redraw()

    def move(self, rows: int) -> None:
        """Select another lane; the first step only shows which one is."""
        lanes = self._timeline.lanes
        if not lanes:
            return
        place = max(0, min(self.cursor + rows, len(lanes) - 1))
        self._client = lanes[place].client
        self._scroll()
        self.redraw()

    @property
    def filter_text(self) -> str | None:
        """The filter that is on."""
        return self._wanted

    def filter(self, wanted: str) -> None:
        """Show only lanes that hold these words."""
        self._wanted = wanted
        self._arrange()
        self.redraw()

    def command(self, id: str) -> bool:  # noqa: A002
        """Do what a key stands for here."""
        match id:
            case "faster" | "slower" if not self.replays:
                self._zoom(1 if id == "faster" else -1)
            case "sort_left" | "sort_right":
                self._order = (self._order + (1 if id == "sort_right" else -1)) % len(ORDERS)
                self._arrange()
            case "sort_invert":
                self._reverse = not self._reverse
                self._arrange()
            case "open" if self.selected is not None:
                self.post_message(self.Opened(self.selected))
            case "back" if self._wanted or self._past_s is not None:
                if self._wanted:
                    self.filter("")
                self._past_s = None
            case _:
                return super().command(id)
        self.redraw()
        return True

    def on_mouse_down(self, event: MouseDown) -> None:
        """Select the lane that was clicked."""
        place = self.top + event.y - 1
        # The last line is the ruler.
        if 1 <= event.y < self.size.height - 1 and place < len(self._timeline.lanes):
            self.select(self._timeline.lanes[place].client)

    def on_click(self, event: Click) -> None:
        """Two clicks open."""
        if event.chain == 2 and 1 <= event.y < self.size.height - 1:
            self.command("open")

    def _zoom(self, step: int) -> None:
        """Show more of the past, or less."""
        choices = timeline.PASTS_S
        if self._past_s is None:
            self._past_s = choices[2 if step > 0 else 0]
        else:
            place = choices.index(self._past_s) + step
            self._past_s = choices[max(0, min(place, len(choices) - 1))]

    def _arrange(self) -> None:
        """Filter and sort; the selection stays with its client."""
        lanes = self._all.lanes
        words = self._wanted.casefold().split()
        if words:
            lanes = tuple(lane for lane in lanes if _holds(lane, words))
        key = ORDERS[self._order][1]
        if key is not None:
            lanes = tuple(sorted(lanes, key=key))  # type: ignore[arg-type]  # Each order compares its own kind.
        if self._reverse:
            lanes = lanes[::-1]
        self._timeline = self._all if lanes is self._all.lanes else replace(self._all, lanes=lanes)
        if self._client is not None and self.has_focus:
            self._scroll()

    def _scroll(self) -> None:
        """Keep the selected lane in sight."""
        room = max(1, self.size.height - 2)
        place = self.cursor
        self.top = max(place - room + 1, min(self.top, place))

    def _note(self) -> str:
        notes = []
        if self._wanted:
            notes.append(f"{len(self._timeline.lanes)} of {len(self._all.lanes)} hold “{clip(self._wanted, 24)}”")
        if self._order != self._usual or self._reverse:
            notes.append(ORDERS[self._order][0] + (", turned round" if self._reverse else ""))
        if self._past_s is not None:
            notes.append(f"last {self._past_s:.0f} s")
        return ", ".join(notes)

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head, lanes and time axis."""
        if self._steps is not None:
            return start.pane(self._steps, width, height)
        self.top = max(0, min(self.top, len(self._timeline.lanes) - (height - 2)))
        return timeline.pane(
            self._timeline,
            width,
            height,
            top=self.top,
            focused=self.has_focus,
            quiet=self._quiet if not self._wanted else "No lane holds that; esc shows all again.",
            selected=self.selected if self.has_focus else None,
            past_s=self.reach_s,
            note=self._note(),
            hint=self._hint,
        )


class StormPane(Pane):
    """The storm ahead, and the last minutes of the whole cluster."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._timeline = Timeline()
        self._capacity: float | None = None
        self._past: NodeDetail | None = None

    def show(self, shown: Timeline, *, capacity: float | None, past: NodeDetail | None) -> None:
        """Show other plans; `capacity` is how many handshakes a second the nodes online take, None if nobody says."""
        self._timeline, self._capacity, self._past = shown, capacity, past
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the radar."""
        return storm.pane(self._timeline, self._capacity, self._past, width, height, glyphs=glyphs_of(self.app))


def _holds(lane: Lane, words: list[str]) -> bool:
    """Return whether the lane's words hold all of these; one after `!` must not be there."""
    text = f"{lane.client} {lane.node or ''} {lane.summary} {'away' if lane.away else 'back'}".casefold()
    return all((word.removeprefix("!") in text) is not word.startswith("!") for word in words if word != "!")
