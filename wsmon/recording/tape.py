"""Writes a recording: rows into chunks, chunks into segments. And keeps the newest segments in memory.

Theory of operation. A segment begins with a preface: everything that was last said by anybody. A reader that comes from
the segment before does not need it, and does not apply it; one that begins here, or has lost a segment to damage, knows
by it how everything stands. Then the rows follow, one chunk for each `flush`. After `SEGMENT_S` seconds, or
`SEGMENT_BYTES`, the next segment begins.

The ring is the same chunks, the newest segments of the last minutes. `bundle` makes a recording of its own of them: it
puts a longer preface first, which also tells the events of before.
"""

import json
import re
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

from wsmon.model.inputs import ActionAnswered, ActionAsked, Captioned, ClusterEnded, Happened, Input, Marked
from wsmon.protocol.frames import JsonObject
from wsmon.recording.chunks import APART, TITLE, VERSION, ChunkKind, pack
from wsmon.recording.rows import RowWriter, heard, stream_of

SEGMENT_S: Final = 60.0
SEGMENT_BYTES: Final = 8 * 2**20
"""Of rows before compression."""
CHUNK_BYTES: Final = 2**20
"""A chunk that has this much before compression is closed at once."""
RING_S: Final = 300.0
RING_BYTES: Final = 32 * 2**20
EVENTS_KEPT: Final = 2_000
"""Events of before that a bundle tells; the model keeps as many."""
FACTS_MAX: Final = 16_384
"""Standing facts in a preface; the ones told longest ago go first."""
LEVEL: Final = 6
SECRETS: Final = re.compile(r"(?<=://)[^/\s\"]*(?=@)|(?<=\bpassword=)[^&\s\"]*")
"""What a URL may hold that a recording must not: it is handed around."""
PASSING: Final = (Happened, ActionAsked, ActionAnswered, Marked)
"""Inputs that each tell something of their own; of all others, the newest of its kind and name holds."""


@dataclass(slots=True)
class _Kept:
    """A segment in memory."""

    began_at: float
    first: int
    """Number of its first input."""
    facts: tuple[tuple[int, Input], ...]
    """How everything stood when it began."""
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class Tape:
    """Turns inputs into chunks. Feed it by `take`, take what `flush` returns; `now` is the watcher's clock."""

    def __init__(
        self,
        cluster: str,
        *,
        embedded: bool = False,
        ring_s: float = RING_S,
        ring_bytes: int = RING_BYTES,
        segment_s: float = SEGMENT_S,
    ) -> None:
        self._told: JsonObject = {"version": VERSION, "cluster": cluster, "embedded": embedded}
        self._ring_s, self._ring_bytes, self._segment_s = ring_s, ring_bytes, segment_s
        self._facts: dict[tuple[str, str], tuple[int, Input]] = {}
        self._passed: deque[tuple[int, Input]] = deque(maxlen=EVENTS_KEPT)
        self._ring: deque[_Kept] = deque()
        self._taken = 0
        self._number = 0
        self._rows = RowWriter()
        self._pressed = zlib.compressobj(LEVEL)
        self._waiting: list[str] = []
        self._waiting_bytes = self._segment_bytes = 0
        self._begun_at: float | None = None
        self._ready: list[bytes] = []

    def take(self, item: Input) -> None:
        """Take the next input."""
        at = heard(item)
        full = self._rows.full or self._segment_bytes >= SEGMENT_BYTES
        if self._begun_at is None or full or at - self._begun_at >= self._segment_s:
            self._begin(at)
        self._write(item)
        if self._waiting_bytes >= CHUNK_BYTES:
            self._close(ChunkKind.ROWS, at)
        self._remember(item)

    def flush(self, now: float) -> bytes:
        """Return everything that was taken and not returned yet, as whole chunks."""
        if self._waiting:
            self._close(ChunkKind.ROWS, now)
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    def restart(self, now: float) -> None:
        """Begin a new segment with the next input: whoever begins to read there understands it."""
        if self._waiting:
            self._close(ChunkKind.ROWS, now)
        self._begun_at = None

    def opening(self, now: float) -> bytes:
        """Return the begin of a recording that goes on with the chunks of the next `flush`, after a `restart`."""
        return TITLE + self._long_preface(now, self._known())

    def ending(self, now: float, *, reason: str, dropped: int = 0) -> bytes:
        """Return the chunk that ends a recording."""
        told = json.dumps({"reason": reason, "dropped": dropped}).encode()
        return pack(ChunkKind.END, self._number + 1, now, told)

    def bundle(self, now: float) -> bytes:
        """Return the ring as a recording. Flush first."""
        began_at = self._ring[0].began_at if self._ring else now
        if self._ring:
            oldest = self._ring[0]
            before = (*(pair for pair in self._passed if pair[0] < oldest.first), *oldest.facts)
        else:
            before = self._known()
        parts = [TITLE, self._long_preface(began_at, before)]
        for kept in self._ring:
            parts += kept.chunks
        parts.append(pack(ChunkKind.END, self._number + 1, now, b'{"reason":"","dropped":0}'))
        return b"".join(parts)

    @property
    def bare(self) -> bool:
        """Whether nothing was taken that tells of a cluster: only that there is none, or words of our own."""
        return not self._passed and all(isinstance(item, ClusterEnded | Captioned) for _, item in self._facts.values())

    @property
    def ring_size(self) -> int:
        """Return how many bytes the ring holds."""
        return sum(kept.size for kept in self._ring)

    # Parts.

    def _remember(self, item: Input) -> None:
        self._taken += 1
        if isinstance(item, PASSING):
            self._passed.append((self._taken, item))
            return
        key = stream_of(item)
        self._facts.pop(key, None)
        self._facts[key] = self._taken, item
        if len(self._facts) > FACTS_MAX:
            del self._facts[next(iter(self._facts))]

    def _begin(self, at: float) -> None:
        if self._waiting:
            self._close(ChunkKind.ROWS, at)
        self._rows, self._pressed = RowWriter(), zlib.compressobj(LEVEL)
        self._begun_at = at
        facts = self._standing()
        self._ring.append(_Kept(at, self._taken + 1, facts))
        self._trim(at)
        self._waiting = [json.dumps({**self._told, "began_at": at})]
        kind = ChunkKind.SEGMENT
        for _, item in facts:
            self._write(item)
            if self._waiting_bytes >= CHUNK_BYTES:
                self._close(kind, at)
                kind = ChunkKind.PREFACE
        if self._waiting:
            self._close(kind, at)
        self._segment_bytes = 0

    def _standing(self) -> tuple[tuple[int, Input], ...]:
        return tuple(self._facts.values())  # What is told again goes to the end, so they are in order.

    def _known(self) -> tuple[tuple[int, Input], ...]:
        return (*self._passed, *self._facts.values())

    def _write(self, item: Input) -> None:
        text = _text(self._rows, item)
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        self._segment_bytes += len(text)

    def _close(self, kind: ChunkKind, at: float) -> None:
        chunk = self._packed(kind, at, self._waiting, self._pressed)
        self._waiting, self._waiting_bytes = [], 0
        self._ready.append(chunk)
        kept = self._ring[-1]
        kept.chunks.append(chunk)
        kept.size += len(chunk)
        self._trim(at)

    def _packed(self, kind: ChunkKind, at: float, lines: list[str], pressed: "zlib._Compress") -> bytes:
        self._number += 1
        return _pressed_chunk(kind, self._number, at, lines, pressed)

    def _trim(self, at: float) -> None:
        ring = self._ring
        while len(ring) > 1 and (ring[1].began_at <= at - self._ring_s or self.ring_size > self._ring_bytes):
            ring.popleft()

    def _long_preface(self, began_at: float, before: Iterable[tuple[int, Input]]) -> bytes:
        """Return a segment of its own that tells what was before `began_at`, and holds no time itself."""
        rows, pressed = RowWriter(), zlib.compressobj(LEVEL)
        lines = [json.dumps({**self._told, "began_at": began_at})]
        chunks, size, kind = [], 0, ChunkKind.SEGMENT
        for _, item in sorted(before, key=itemgetter(0)):
            if rows.full:
                break
            lines.append(_text(rows, item))
            size += len(lines[-1])
            if size >= CHUNK_BYTES:
                chunks.append(_pressed_chunk(kind, APART, began_at, lines, pressed))
                lines, size, kind = [], 0, ChunkKind.PREFACE
        chunks.append(_pressed_chunk(kind, APART, began_at, lines, pressed))
        return b"".join(chunks)


def _text(rows: RowWriter, item: Input) -> str:
    return SECRETS.sub("***", json.dumps(rows.row(item), separators=(",", ":")))


def _pressed_chunk(kind: ChunkKind, number: int, at: float, lines: list[str], pressed: "zlib._Compress") -> bytes:
    payload = pressed.compress("".join(f"{line}\n" for line in lines).encode("ascii"))
    return pack(kind, number, at, payload + pressed.flush(zlib.Z_SYNC_FLUSH))
