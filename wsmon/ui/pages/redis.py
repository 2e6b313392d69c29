"""Redis and the channels: what everything stands on, how far each feed is, and who believes what of whom."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Resize

from wsmon.ui.pages.page import Page
from wsmon.ui.render import channels
from wsmon.ui.render.lines import Line, title
from wsmon.ui.widgets.beliefs import BeliefsPane
from wsmon.ui.widgets.pane import Pane
from wsmon.ui.widgets.table import LiveTable
from wsmon.views.channels_frame import BreakerRow, ChannelRow, RedisPicture
from wsmon.views.frame import Frame, PageName

SIDE_BY_SIDE: Final = 110
"""From this width on the breakers stand beside the channels."""
SHORT: Final = 18
HIGH: Final = 30
"""Heights below and from which the page leaves something out, and gives the breakers their share."""


class RedisFacts(Pane):
    """Redis in a few lines."""

    def __init__(self) -> None:
        super().__init__(id="redis-facts")
        self._picture = RedisPicture()

    def show(self, picture: RedisPicture) -> None:
        """Show other facts."""
        self._picture = picture
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the lines."""
        return channels.facts(self._picture, width)[:height]


class ChannelLine(Pane):
    """The selected channel, node by node; above it a head that counts the channels without a row."""

    def __init__(self) -> None:
        super().__init__(id="redis-channel")
        self._row: ChannelRow | None = None
        self._picture = RedisPicture()

    def show(self, row: ChannelRow | None, picture: RedisPicture) -> None:
        """Show another channel."""
        self._row, self._picture = row, picture
        self.redraw()

    def picture(self, width: int, height: int) -> tuple[Line, ...]:
        """Return head and line."""
        head = title("node by node", (), width, right=channels.hidden(self._picture))
        return (head, channels.channel(self._row, width))[:height]


class RedisPage(Page):
    """Shows what the nodes have in common."""

    NAME: ClassVar = PageName.REDIS
    DEFAULT_CSS: ClassVar[str] = f"""
    RedisPage #redis-facts {{ height: {channels.FACTS}; }}
    RedisPage #redis-tables {{ height: 1fr; min-height: 4; layout: vertical; }}
    RedisPage #redis-channels {{ height: 3fr; width: 1fr; min-height: 3; }}
    RedisPage #redis-breakers {{ height: 3; width: 1fr; }}
    RedisPage.-high #redis-breakers {{ height: 2fr; }}
    RedisPage #redis-channel {{ height: 2; }}
    RedisPage #redis-beliefs {{ height: auto; max-height: 40%; }}
    RedisPage.-side #redis-tables {{ layout: horizontal; }}
    RedisPage.-side #redis-channels {{ height: 100%; }}
    RedisPage.-side #redis-breakers {{ height: 100%; width: 45; }}
    RedisPage.-short #redis-channel, RedisPage.-short #redis-breakers {{ display: none; }}
    """

    def __init__(self) -> None:
        super().__init__()
        self.facts = RedisFacts()
        self.channels: LiveTable[ChannelRow] = LiveTable(
            id="redis-channels",
            columns=channels.CHANNELS,
            key=lambda row: row.key,
            empty=channels.NO_CHANNELS,
            name="channels",
            stale=lambda row: row.old_s is not None,
            attention=channels.channel_in_trouble,
            grows=True,
        )
        self.breakers: LiveTable[BreakerRow] = LiveTable(
            id="redis-breakers",
            columns=channels.BREAKERS,
            key=lambda row: row.key,
            empty=channels.NO_BREAKERS,
            name="breakers",
            stale=lambda row: row.old_s is not None,
            attention=channels.breaker_in_trouble,
            grows=True,
        )
        self.channel = ChannelLine()
        self.beliefs = BeliefsPane(id="redis-beliefs")
        self.tables = Container(self.channels, self.breakers, id="redis-tables")
        self._picture = RedisPicture()
        self._most: int | None = None
        """The lines that the tables may have at most."""

    def compose(self) -> ComposeResult:
        """Build it."""
        yield self.facts
        yield self.tables
        yield self.channel
        yield self.beliefs

    @property
    def main(self) -> Pane:
        """The channels."""
        return self.channels

    def show(self, frame: Frame, *, offset_s: float) -> None:
        """Show another frame; one without Redis was made before somebody looked here."""
        del offset_s
        if frame.redis is not None:
            self._picture = frame.redis
            self.facts.show(frame.redis)
            self.channels.show(frame.redis.channels)
            self.breakers.show(frame.redis.breakers)
            self.channel.show(self.channels.selected, frame.redis)
            self._share()
        self.beliefs.show(frame.beliefs)

    def _share(self) -> None:
        """Give tables side by side no more lines than the longer one has, so that what is below them follows at once."""
        longest = max(len(self._picture.channels), len(self._picture.breakers), 2)
        most = longest + 2 if self.has_class("-side") else None
        if most != self._most:
            self._most = most
            self.tables.styles.max_height = most

    def on_live_table_selected(self, _: LiveTable.Selected) -> None:
        """Tell of another channel."""
        self.channel.show(self.channels.selected, self._picture)

    def on_resize(self, event: Resize) -> None:
        """Put the tables beside each other where there is room; leave out what is told twice where there is none."""
        self.set_class(event.size.width >= SIDE_BY_SIDE, "-side")
        self.set_class(event.size.height < SHORT, "-short")
        self.set_class(event.size.height >= HIGH, "-high")
        self._share()


PAGE: Final = RedisPage
