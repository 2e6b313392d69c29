"""How a feed is brought to the end of its log, whatever the log looks like.

Theory of operation. `catch_up` is a generator: it yields what it needs done and is sent the result, so that the same
procedure runs on real time in a node and step by step in tests. Any other call of the feed may happen between two
steps: what comes by pub/sub does not wait for a page. Closing the generator gives up; the feed is still behind then,
and the procedure can be started again.
"""

from collections.abc import Generator
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from sample_cluster.core.feed import Break, Entry, Feed, FeedState, Page
from sample_cluster.core.messages import Position, Resync, Rewind
from sample_cluster.core.repair import Repair, plan_repair, read_from

BEGIN_ENTRIES: Final = 512
"""What a new feed takes from the log, to be able to serve who comes back, and to put it back if need be."""
REPAIR_ENTRIES: Final = 2_048
"""How much of a log is looked at when it has to be brought together with a ring: two rings full."""
PAGE_ENTRIES: Final = 256
FORK_LOOKS: Final = 10
"""How often a log that we cannot repair is looked at again: another node may be repairing it."""
FORK_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class ReadRecent:
    """Read the newest `most` entries. Answer: the page, None if Redis does not answer."""

    most: int


@dataclass(frozen=True, slots=True)
class ReadAfter:
    """Read at most `most` entries after `after`. Answer: the page, None if Redis does not answer."""

    after: int
    most: int


@dataclass(frozen=True, slots=True)
class Restore:
    """Carry out a repair. Answer: whether that was done; None if Redis does not answer."""

    repair: Repair


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for a moment; 0: let others run. No answer."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Begun:
    """The feed has a position now. No answer."""


@dataclass(frozen=True, slots=True)
class Took:
    """The feed took these entries: deliver them before anything else happens. No answer."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Jumps:
    """The feed is about to go on elsewhere: tell the listeners before anything else happens. No answer."""

    told: Resync | Rewind


Step: TypeAlias = ReadRecent | ReadAfter | Restore | Pause | Begun | Took | Jumps
Answer: TypeAlias = Page | bool | None


def catch_up(feed: Feed, dice: Random, *, unanswered_s: float) -> Generator[Step, Answer, None]:
    """Read until the feed asks for no more. `unanswered_s`: wait after Redis did not answer."""
    looks = 0
    while feed.behind:
        if feed.position is None:
            feed.ask()
            page = yield ReadRecent(BEGIN_ENTRIES)
            if isinstance(page, Page):
                feed.begin(page)
                yield Begun()
            else:
                yield Pause(unanswered_s)
            continue
        page = yield ReadAfter(feed.ask(), PAGE_ENTRIES)
        if not isinstance(page, Page):
            yield Pause(unanswered_s)
            continue
        found = feed.read(page)
        if not isinstance(found, Break):
            looks = 0
            if found:
                yield Took(found)
            yield Pause(0)
        elif found is Break.TRIMMED:
            yield from _restart(feed, found, page, page.start)
        else:
            hopeless = page.epoch != feed.position.epoch and page.top > 0
            mended = yield from _mend(feed, dice, last=looks >= FORK_LOOKS)
            if mended is None:
                yield Pause(unanswered_s)
            elif not mended and (hopeless or looks >= FORK_LOOKS):
                yield from _give_up(feed, found)
            elif not mended:
                looks += 1
                yield Pause(FORK_PAUSE_S)


def _mend(feed: Feed, dice: Random, *, last: bool) -> Generator[Step, Answer, bool | None]:
    """Bring feed and log together. Return False if that cannot be done, None if Redis does not answer.

    `last`: nobody else has come to help.
    """
    feed.doubt(FeedState.FORKED)
    here, ring = feed.position, feed.ring
    assert here is not None
    whole = yield ReadAfter(read_from(here, ring), REPAIR_ENTRIES)
    if not isinstance(whole, Page):
        return None
    if feed.position != here:
        return True  # Something was taken meanwhile: look again.
    if whole.epoch == here.epoch and 0 < whole.top <= read_from(here, ring):
        # The log ends before our ring: what others have written again stands at its end, not at our numbers.
        whole = yield ReadRecent(REPAIR_ENTRIES)
        if not isinstance(whole, Page):
            return None
        if feed.position != here:
            return True
    repair = plan_repair(here, ring, whole, dice)
    if repair is None or (repair.last_resort and not last):
        return False
    if repair.entries:
        done = yield Restore(repair)
        if done is not True:
            return True if done is False else None  # Somebody was faster: look again.
    if feed.position != here:
        return True
    if repair.last_resort:
        yield from _restart(feed, Break.FORK, whole, repair.end)
    elif repair.to is not None:
        void = (repair.to.seq + 1, here.seq)
        yield Jumps(Rewind(channel=feed.channel, to=repair.to.seq, void=void, position=repair.to))
        feed.rewind(repair.to)
    return True


def _give_up(feed: Feed, why: Break) -> Generator[Step, Answer, None]:
    """Go on where the log can be taken up, whatever is missing.

    After a fork that is the end of the log: what lies before may have been seen under another number.
    """
    page = yield ReadAfter(0, 1)
    if isinstance(page, Page):
        yield from _restart(feed, why, page, page.end if why is Break.FORK else page.start)
    else:
        yield Pause(FORK_PAUSE_S)


def _restart(feed: Feed, why: Break, page: Page, to: Position) -> Generator[Step, Answer, None]:
    here = feed.position
    assert here is not None
    told = Resync(
        channel=feed.channel, reason=str(why), have=here.seq, first=page.start.seq + 1, top=page.top, position=to
    )
    yield Jumps(told)
    feed.restart(to)
