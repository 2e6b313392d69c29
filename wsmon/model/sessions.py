"""What happened to each client, one chapter after the other: bounded biographies.

Theory of operation. A biography is a list of chapters in the order of their source's numbers, and the standing that
follows from them: where the client is, how often it was lost, how it came back. A chapter that comes late, by the
slower road, is put in its place and the standing is worked out again; one that is there already changes nothing, and
neither does one from before the chapters that had to be dropped. So any order of arrival, and any number of
duplicates, gives the same biography as long as nothing was dropped. What a fleet's state says ends an absence whose
end was not heard of. The standing counts dropped chapters too: only their words are gone.

Memory is bounded three times: chapters of a client, clients, and chapters of all clients together. What is dropped
first belongs to the client of whom nothing was heard for longest.
"""

import sys
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from wsmon.model.inputs import Happened, Input, PeerSeen, PeerState
from wsmon.model.reading import NOTHING, TIME_MOST, bounded, count, text
from wsmon.model.timeline import CONFIRM_S, CONNECTED_WORDS, HANDOVER, PLAN_MOST_S, STOPPED_WORD, WAY_MOST_MS
from wsmon.protocol.events import (
    ClientLost,
    EventBody,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
    decode_body,
)
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.states import PeerKind

CHAPTERS_MAX: Final = 50
"""Chapters kept of one client."""
CHAPTERS_LEAST: Final = 1
"""As many are left to a client whose chapters go to make room for others."""
CLIENTS_MAX: Final = 10_000
ALL_CHAPTERS_MAX: Final = 20_000
"""Chapters of all clients together, about 5 MB: two storms of two thousand clients, or ten minutes of 50 events/s."""
SOURCES_MAX: Final = 256
NAME_KEPT: Final = 256
"""Characters of a client's name; two that differ only behind them are taken for one."""
WORD_KEPT: Final = 120
NUMBER_MOST: Final = 1e9

Key: TypeAlias = tuple[str, str]
"""Source and client: two fleets may call their clients alike."""


class ChapterKind(StrEnum):
    """What a chapter tells."""

    LOST = "lost"
    PLANNED = "planned"
    TRIED = "tried"
    FAILED = "failed"
    BACK = "back"
    TOLD = "told"
    """The fleet's state said how it stands; no event did."""
    RESTARTED = "restarted"
    """Its fleet began a new life, and it with it."""


class Chapter(NamedTuple):
    """One thing that happened to a client. A tuple: there are many of them."""

    boot: int
    seq: int
    after: int
    """0 for an event, 1 for what the fleet's state said after it."""
    at: float
    kind: ChapterKind
    word: str = ""
    """Raw. Node of lost and back, outcome of failed, where the delay of planned is from, state of told."""
    number: int | None = None
    """Close code of lost, attempt of planned, tried and failed, messages replayed of back."""
    seconds: float | None = None
    """Delay of planned, length of the way back."""
    more: str = ""
    """Raw. How it came back; node of told."""

    @property
    def order(self) -> tuple[int, int, int]:
        """Where the chapter stands among those of its client."""
        return self[:3]


class Word(StrEnum):
    """How a client stands, as far as its chapters tell."""

    CONNECTED = "connected"
    MOVING = "moving"
    """Told to go elsewhere by its node, and still connected."""
    AWAY = "away"
    WAITING = "waiting"
    TRYING = "trying"
    STOPPED = "stopped"
    """Told never to come back."""
    UNKNOWN = "unknown"


ABSENT: Final = frozenset({Word.AWAY, Word.WAITING, Word.TRYING})


@dataclass(slots=True)
class Standing:
    """What follows from the chapters so far."""

    word: Word = Word.UNKNOWN
    since_at: float | None = None
    node: str = ""
    """Where it is, or was before it was lost. Raw."""
    lost: int = 0
    """How often the connection was lost."""
    tries: int = 0
    """Attempts since it was lost, or on its last way back."""
    tries_ever: int = 0
    next_at: float | None = None
    """When the next attempt is planned."""
    lost_at: float | None = None
    how: str = ""
    """How it came back last. Raw."""
    way_s: float | None = None
    """How long the last way back took."""
    worst_s: float | None = None
    """The longest one ever."""
    replayed: int | None = None
    """Messages that it was handed belatedly after the last way back."""
    resyncs: int = 0


@dataclass(slots=True)
class Biography:
    """One client's chapters. Read it; only `Sessions` writes."""

    client: str
    """Raw."""
    source: str
    """Who tells of it. Raw."""
    chapters: list[Chapter] = field(default_factory=list)
    now: Standing = field(default_factory=Standing)
    dropped: int = 0
    """Chapters that were dropped, from the oldest on."""
    floor: tuple[int, int, int] = (-1, -1, -1)
    """Place of the last one that was dropped."""
    before: Standing | None = None
    """What followed from the dropped ones."""

    @property
    def last_at(self) -> float:
        """When the last thing happened."""
        return self.chapters[-1].at if self.chapters else 0.0


@dataclass(slots=True)
class _Source:
    boot: int
    highest: int = 0
    first_at: float | None = None
    first: ReadOnlyJson = field(default_factory=dict)
    settled: bool = False
    """Whether the fleet's clients had all been connected once by then."""


class Sessions:
    """All biographies. Feed it by `apply`, or by `take`, `confirm` and `restarted`; read the rest."""

    def __init__(
        self, *, clients_max: int = CLIENTS_MAX, chapters_max: int = CHAPTERS_MAX, all_max: int = ALL_CHAPTERS_MAX
    ) -> None:
        assert all_max >= 2 * CHAPTERS_LEAST * clients_max or all_max >= chapters_max * clients_max
        self._clients_max, self._chapters_max, self._all_max = clients_max, chapters_max, all_max
        self._known: OrderedDict[Key, Biography] = OrderedDict()
        self._away: dict[Key, None] = {}
        self._sources: dict[str, _Source] = {}
        self.chapters = 0
        """Chapters kept, of all clients."""
        self.dropped = 0
        """Chapters dropped, ever."""
        self.forgotten = 0
        """Clients forgotten because there were too many."""
        self.overflow = 0
        """Events of sources beyond the first so many."""

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Biography]:
        """Return all biographies, those of whom nothing was heard for longest first."""
        return iter(self._known.values())

    def get(self, source: str, client: str) -> Biography | None:
        """Return a client's biography."""
        return self._known.get((source, client[:NAME_KEPT]))

    @property
    def known(self) -> Mapping[Key, Biography]:
        """All biographies by source and client."""
        return self._known

    def first(self, source: str) -> tuple[float | None, ReadOnlyJson]:
        """Return when the source's present life first told of its clients, all having been connected once, and what."""
        known = self._sources.get(source)
        return (None, NOTHING) if known is None else (known.first_at, known.first)

    def apply(self, item: Input) -> bool:
        """Fold one fact in; return whether it changed a biography. What is not about clients changes nothing."""
        match item:
            case Happened(event=event, heard_at=heard_at):
                body = decode_body(event)
                at = min(max(0.0, event.at), heard_at)
                return self.take(body, source=event.source, boot=event.boot, seq=event.seq, at=at)
            case PeerState(id=name, boot=boot, state=state, at=at, heard_at=heard_at):
                return self.confirm(state, source=name, boot=boot, at=min(max(0.0, at), heard_at))
            case PeerSeen(id=name, kind=PeerKind.FLEET, boot=boot, at=at):
                return self.restarted(name, boot, at=at)
            case _:
                return False

    def take(self, body: EventBody, *, source: str, boot: int, seq: int, at: float) -> bool:
        """Fold one event in; return whether it changed a biography."""
        if not isinstance(body, ClientLost | ReconnectScheduled | ReconnectStarted | ReconnectFailed | Resumed):
            return False
        known = self._source(source, boot)
        if known is None or boot < known.boot:
            return False
        known.highest = max(known.highest, seq)
        return self._write((source, body.client[:NAME_KEPT]), _chapter(body, boot, seq, bounded(at, most=TIME_MOST)))

    def confirm(self, state: ReadOnlyJson, *, source: str, boot: int, at: float) -> bool:
        """Compare those who are away with the fleet's `clients_state`, sampled `at`."""
        told = state.get("clients_state")
        if not isinstance(told, dict):
            return False
        known = self._source(source, boot)
        if known is None or boot < known.boot:
            return False
        if not known.settled:
            known.first_at, known.first = at, told
            known.settled = not count(state, "connecting")
        changed = False
        for key in list(self._away):
            one = self._known[key]
            if key[0] != source or one.last_at > at - CONFIRM_S:
                continue
            entry = told.get(one.client)
            word, node = "", ""
            if isinstance(entry, dict):
                word, node = text(entry, "state") or "", text(entry, "node") or ""
                if word not in CONNECTED_WORDS and word != STOPPED_WORD:
                    continue  # Away by either account.
            changed |= self._write(
                key, Chapter(boot, known.highest, 1, at, ChapterKind.TOLD, word, more=sys.intern(node[:NAME_KEPT]))
            )
        return changed

    def restarted(self, source: str, boot: int, *, at: float) -> bool:
        """End the absences of an earlier life of `source`: its clients are gone with it."""
        before = self._sources.get(source)
        if before is None or boot <= before.boot:
            return False
        self._source(source, boot)
        changed = False
        for key in [key for key in self._away if key[0] == source]:
            changed |= self._write(key, Chapter(boot, 0, 0, at, ChapterKind.RESTARTED))
        return changed

    def _source(self, source: str, boot: int) -> _Source | None:
        known = self._sources.get(source)
        if known is None or boot > known.boot:
            if known is None and len(self._sources) >= SOURCES_MAX:
                self.overflow += 1
                return None
            known = self._sources[source] = _Source(boot)
        return known

    def _write(self, key: Key, chapter: Chapter) -> bool:
        one = self._known.get(key)
        if one is None:
            if len(self._known) >= self._clients_max:
                self._forget()
            one = self._known[key] = Biography(key[1], key[0])
        else:
            self._known.move_to_end(key)
        chapters, order = one.chapters, chapter[:3]
        if not chapters or chapters[-1][:3] < order:
            if order <= one.floor:
                return False
            chapters.append(chapter)
            fold(one.now, chapter)
        else:
            place = bisect_left(chapters, order, key=_order)
            if order <= one.floor or chapters[place][:3] == order:
                return False
            insort(chapters, chapter, key=_order)
            one.now = Standing() if one.before is None else replace(one.before)
            for each in chapters:
                fold(one.now, each)
        self.chapters += 1
        if one.now.word in ABSENT:
            self._away[key] = None
        else:
            self._away.pop(key, None)
        if len(chapters) > self._chapters_max:
            self._drop(one)
        while self.chapters > self._all_max:
            self._make_room()
        return True

    def _drop(self, one: Biography) -> None:
        """Drop the oldest chapter; what it counted stays counted."""
        oldest = one.chapters.pop(0)
        if one.before is None:
            one.before = Standing()
        fold(one.before, oldest)
        one.floor = oldest.order
        one.dropped += 1
        self.dropped += 1
        self.chapters -= 1

    def _make_room(self) -> None:
        """Drop a chapter of the client of whom nothing was heard for longest and who has some to spare."""
        while True:
            key, one = next(iter(self._known.items()))
            if len(one.chapters) > CHAPTERS_LEAST:
                self._drop(one)
                return
            # There is one with more, for the bound is twice what all have then.
            self._known.move_to_end(key)

    def _forget(self) -> None:
        key, one = self._known.popitem(last=False)
        self._away.pop(key, None)
        self.chapters -= len(one.chapters)
        self.forgotten += 1


def _order(chapter: Chapter) -> tuple[int, int, int]:
    return chapter[:3]


def _chapter(
    body: ClientLost | ReconnectScheduled | ReconnectStarted | ReconnectFailed | Resumed,
    boot: int,
    seq: int,
    at: float,
) -> Chapter:
    # The words repeat from client to client; kept once each they cost nothing.
    match body:
        case ClientLost(node=node, code=code):
            return Chapter(boot, seq, 0, at, ChapterKind.LOST, _kept(node), _number(code))
        case ReconnectScheduled(attempt=attempt, delay_s=delay_s, delay_source=delay_source):
            delay_s = bounded(delay_s, least=0, most=PLAN_MOST_S)
            return Chapter(boot, seq, 0, at, ChapterKind.PLANNED, _kept(delay_source), _number(attempt), delay_s)
        case ReconnectStarted(attempt=attempt):
            return Chapter(boot, seq, 0, at, ChapterKind.TRIED, "", _number(attempt))
        case ReconnectFailed(attempt=attempt, outcome=outcome):
            return Chapter(boot, seq, 0, at, ChapterKind.FAILED, _kept(outcome), _number(attempt))
        case Resumed(node=node, how=how, ms=ms, replayed=replayed):
            seconds = None if ms is None else bounded(ms, least=0, most=WAY_MOST_MS) / 1_000
            return Chapter(boot, seq, 0, at, ChapterKind.BACK, _kept(node), _number(replayed), seconds, _kept(how))


def _kept(word: str | None) -> str:
    return sys.intern(word[:WORD_KEPT]) if word else ""


def _number(value: int | None) -> int | None:
    return None if value is None else int(bounded(value, least=0, most=NUMBER_MOST))


def fold(standing: Standing, chapter: Chapter) -> None:
    """Let one more chapter happen."""
    at = chapter.at
    match chapter.kind:
        case ChapterKind.LOST:
            _leave(standing, at, chapter.word)
        case ChapterKind.PLANNED:
            if standing.word is Word.TRYING or standing.word is Word.AWAY or standing.word is Word.WAITING:
                standing.word = Word.WAITING
            elif standing.word is not Word.MOVING:
                # Still connected: its node asked it to go elsewhere.
                standing.word, standing.since_at, standing.tries = Word.MOVING, at, 0
            standing.next_at = at + (chapter.seconds or 0.0)
        case ChapterKind.TRIED:
            if standing.word not in ABSENT:
                _leave(standing, at, "")
            standing.word, standing.next_at = Word.TRYING, None
            standing.tries += 1
            standing.tries_ever += 1
        case ChapterKind.FAILED:
            if chapter.word.startswith(STOPPED_WORD):
                standing.word, standing.since_at, standing.next_at = Word.STOPPED, at, None
                return
            if standing.word not in ABSENT:
                _leave(standing, at, "")
            standing.word, standing.next_at = Word.AWAY, None
        case ChapterKind.BACK:
            _come_back(standing, chapter)
        case ChapterKind.TOLD:
            if standing.word not in ABSENT and standing.word is not Word.MOVING:
                return  # An event told it better meanwhile.
            standing.next_at = None
            if chapter.word in CONNECTED_WORDS:
                standing.word, standing.node = Word.CONNECTED, chapter.more
            else:
                standing.word = Word.STOPPED if chapter.word == STOPPED_WORD else Word.UNKNOWN
            standing.since_at = at
            standing.how, standing.way_s, standing.replayed = "", None, None
        case ChapterKind.RESTARTED:
            standing.word, standing.since_at, standing.next_at = Word.UNKNOWN, at, None


def _leave(standing: Standing, at: float, node: str) -> None:
    standing.word, standing.since_at, standing.lost_at = Word.AWAY, at, at
    standing.node = node or standing.node
    standing.lost += 1
    standing.tries, standing.next_at = 0, None


def _come_back(standing: Standing, chapter: Chapter) -> None:
    at, seconds = chapter.at, chapter.seconds
    if chapter.more == HANDOVER:
        seconds = 0.0 if seconds is None else seconds
    elif seconds is None and standing.word in ABSENT and standing.lost_at is not None:
        seconds = max(0.0, at - standing.lost_at)
    if standing.word is not Word.CONNECTED or standing.node != chapter.word:
        standing.since_at = at
    standing.word, standing.next_at = Word.CONNECTED, None
    standing.node = chapter.word or standing.node
    standing.how, standing.way_s, standing.replayed = chapter.more, seconds, chapter.number
    standing.resyncs += chapter.more == "resync"
    if seconds is not None:
        standing.worst_s = seconds if standing.worst_s is None else max(standing.worst_s, seconds)
