"""Reads a recording, whatever became of it: from the beginning, or from any of its segments.

A segment is lines of JSON: one object that says what the recording is of, then rows. Those of the preface (chunks S and
P) tell how everything stood when the segment began; they are skipped where the segment before was read to its end. What
is damaged is left out up to the next segment, and told in `damage`.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from wsmon.errors import ConfigError, RemoteProtocolError
from wsmon.model.inputs import Input
from wsmon.model.reading import TIME_MOST
from wsmon.protocol.fields import Fields
from wsmon.protocol.frames import Json, JsonObject
from wsmon.recording.chunks import APART, VERSION, Chunk, ChunkKind, Hole, Store, scan, version_of
from wsmon.recording.rows import RowReader, UnreadableError, heard

UNPACKED_MAX: Final = 64 * 2**20
"""What one chunk may unpack to; a writer closes them at a few MB."""
SEGMENT_MAX: Final = 256 * 2**20
"""The same for a whole segment."""
LINES_MAX: Final = 2_000_000
"""Rows of one chunk."""
NAMED_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a recording that can be read by itself."""

    index: int
    chunks: tuple[Chunk, ...]
    began_at: float
    ended_at: float
    follows: bool
    """Whether it goes on where the one before ends, with nothing missing in between."""


@dataclass(frozen=True, slots=True)
class Read:
    """One input of a recording. `preface`: it was told before, and tells how things stood."""

    item: Input
    preface: bool


@dataclass(slots=True)
class _Tally:
    """What is wrong with a recording."""

    holes: int = 0
    bytes: int = 0
    missing: bool = False
    first_at: float | None = None
    cut: bool = False
    unreadable: set[int] = field(default_factory=set)


class Recording:
    """A recording that lies in a store. Reading it twice gives the same."""

    def __init__(self, store: Store, *, what: str = "the recording") -> None:
        """Look at all chunks and at the begin of each segment.

        Raises:
            ConfigError: nothing in it can be read; the message says why.

        """
        self._store = store
        self._tally = _Tally()
        self._end: JsonObject | None = None
        self.cluster = ""
        self.embedded = False
        self.segments = self._segments()
        if not self.segments:
            raise ConfigError(*_why_not(store, what))
        self.start_at = next(
            (segment.began_at for segment in self.segments if not _is_apart(segment)), self.segments[0].began_at
        )
        self.end_at = max(self.start_at, *(segment.ended_at for segment in self.segments))

    @property
    def size(self) -> int:
        """Return its length in bytes."""
        return self._store.size

    @property
    def damage(self) -> str:
        """Return what is wrong with it in a sentence or two; empty if nothing is. Reading may find more."""
        tally = self._tally
        told = []
        missing = tally.holes or tally.missing or tally.unreadable
        if missing:
            since = "" if tally.first_at is None else f" from {_clock(tally.first_at)} UTC on"
            size = f", {tally.bytes} bytes" if tally.bytes else ""
            parts = max(1, tally.holes + len(tally.unreadable))
            told.append(f"{parts} {'part is' if parts == 1 else 'parts are'} damaged or missing{size}{since}.")
        if tally.cut or self._end is None:
            told.append(f"It was cut off at {_clock(self.end_at)} UTC: whoever wrote it did not end it.")
        reason = "" if self._end is None else self._end.get("reason")
        if isinstance(reason, str) and reason:
            told.append(f"It ended early: {reason[:NAMED_MAX]}.")
        dropped = 0 if self._end is None else self._end.get("dropped")
        if isinstance(dropped, int) and dropped > 0:
            told.append(f"{dropped} facts are not in it, because writing did not keep up.")
        return " ".join(told)

    def read(self, segment: Segment, *, whole: bool = True) -> Iterator[Read]:
        """Return the inputs of a segment in order; those of its preface only if the segment is to stand by itself."""
        before = self.segments[segment.index - 1].chunks if segment.index else ()
        wanted = whole or not segment.follows or any(chunk.offset in self._tally.unreadable for chunk in before)
        rows, unpacker = RowReader(), zlib.decompressobj()
        first, room = True, SEGMENT_MAX
        for chunk in segment.chunks:
            preface = chunk.kind is not ChunkKind.ROWS or chunk.number == APART
            try:
                text = self._text(chunk, unpacker)
                room -= len(text)
                if room < 0:
                    raise UnreadableError("a segment that unpacks to too much")
                lines = text.split("\n")
                for line in lines[1:] if first else lines:
                    item = rows.item(json.loads(line))
                    if not 0 <= heard(item) <= TIME_MOST:
                        raise UnreadableError("heard at no time that there is")
                    if not preface or wanted:
                        yield Read(item, preface)
                first = False
            except _DAMAGE:
                self._tally.unreadable.add(chunk.offset)
                self._note_at(segment.began_at)
                return

    def inputs(self) -> Iterator[Read]:
        """Return everything from the beginning."""
        for segment in self.segments:
            yield from self.read(segment, whole=False)

    # Parts.

    def _text(self, chunk: Chunk, unpacker: "zlib._Decompress") -> str:
        """Return the lines of a chunk, without the end of the last one."""
        text = unpacker.decompress(self._store.read(chunk.offset, chunk.length), UNPACKED_MAX)
        if unpacker.unconsumed_tail:
            raise UnreadableError("unpacks to too much")
        if not text.endswith(b"\n") or text.count(b"\n") > LINES_MAX:
            raise UnreadableError("not rows, or too many")
        return text[:-1].decode("ascii", "replace")

    def _segments(self) -> tuple[Segment, ...]:
        found: list[Segment] = []
        gathered: list[Chunk] = []
        follows = broken = False
        number: int | None = None

        def close() -> bool:
            """Return whether what was gathered, if anything, is a segment."""
            segment = self._opened(len(found), tuple(gathered), follows=follows) if gathered else None
            if segment is not None:
                found.append(segment)
            whole = bool(gathered) == (segment is not None)
            gathered.clear()
            return whole

        for piece in scan(self._store):
            if isinstance(piece, Hole):
                self._tally.holes += not piece.cut
                self._tally.cut |= piece.cut
                self._tally.bytes += 0 if piece.cut else piece.length
                self._note_at(gathered[-1].at if gathered else None)
                broken = True
                continue
            if piece.kind is ChunkKind.END:
                self._end = self._ending(piece)
                if number is not None and piece.number != number + 1 and piece.number != APART:
                    self._missing(gathered)
                continue
            self._end = None
            next_one = number is None or piece.number == number + 1
            if piece.number != APART:
                if not next_one and not broken:
                    self._missing(gathered)
                broken |= not next_one
                number = piece.number
            if piece.kind is ChunkKind.SEGMENT:
                follows = close() and bool(found) and not broken
                broken = False
                gathered.append(piece)
            elif gathered and not broken:
                gathered.append(piece)
            else:
                # It goes on with something that is not there.
                broken = True
        close()
        return tuple(found)

    def _opened(self, index: int, chunks: tuple[Chunk, ...], *, follows: bool) -> Segment | None:
        """Return the segment, if its first line can be understood."""
        try:
            told: Json = json.loads(self._text(chunks[0], zlib.decompressobj()).partition("\n")[0])
            if not isinstance(told, dict):
                raise UnreadableError("no first line")
            head = Fields(told, "segment")
            if head.integer("version") != VERSION:
                raise UnreadableError("of another version")
            cluster, embedded = head.text("cluster", longest=NAMED_MAX), head.flag("embedded")
            began_at = head.number("began_at", least=0, most=TIME_MOST)
        except _DAMAGE:
            self._tally.unreadable.add(chunks[0].offset)
            return None
        if not self.cluster:
            self.cluster, self.embedded = cluster, embedded
        times = [chunk.at for chunk in chunks if began_at <= chunk.at <= TIME_MOST]
        return Segment(index, chunks, began_at, max(times, default=began_at), follows)

    def _ending(self, chunk: Chunk) -> JsonObject:
        try:
            told = json.loads(self._store.read(chunk.offset, min(chunk.length, 4_096)))
        except (ValueError, RecursionError):
            told = None
        return told if isinstance(told, dict) else {}

    def _missing(self, gathered: list[Chunk]) -> None:
        self._tally.missing = True
        self._note_at(gathered[-1].at if gathered else None)

    def _note_at(self, at: float | None) -> None:
        if at is not None and self._tally.first_at is None:
            self._tally.first_at = at


_DAMAGE: Final = (UnreadableError, RemoteProtocolError, ValueError, RecursionError, zlib.error, OverflowError)


def _is_apart(segment: Segment) -> bool:
    return segment.chunks[0].number == APART


def _why_not(store: Store, what: str) -> tuple[str]:
    version = version_of(store)
    if store.size == 0:
        return (f"{what} is empty",)
    if version is not None and version > VERSION:
        return (f"{what} was written by a newer wsmon (format {version}; this one reads {VERSION})",)
    if version is None:
        return (f"{what} is not a recording of wsmon",)
    return (f"{what} holds nothing that can be read: it was cut off at its very beginning, or is damaged",)


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(min(max(0.0, at), TIME_MOST), tz=UTC):%H:%M:%S}"


def moment_of(item: Input, now: float) -> float:
    """Return the recorded clock after this input: it never goes back, and nonsense does not move it."""
    at = heard(item)
    return at if now < at <= TIME_MOST else now
