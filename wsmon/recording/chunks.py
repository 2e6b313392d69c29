"""The pieces of a recording: checksummed, so that what is damaged is known, and found again after any damage.

A file is one line that says what it is, and then chunks. A chunk is a head of 25 bytes and a payload:

    mark      4   b"\\xd7WSR"; where one is looked for after damage
    kind      1   S begins a segment, P goes on with its preface, R holds rows, E is the end of the recording
    number    4   counts the chunks of a recording; a hole tells that some are missing
    length    4   of the payload
    at        8   the moment up to which the recording is complete with this chunk, a double
    checksum  4   CRC-32 of kind, number, length, at and payload

All numbers are big-endian. The payloads of one segment, joined, are one zlib stream, flushed after each chunk; it does
not refer to other segments. `recording.py` says what is in it.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

VERSION: Final = 1
TITLE: Final = b"wsmon recording 1\n"
"""First line of a file."""
TITLE_MAX: Final = 64
MARK: Final = b"\xd7WSR"
APART: Final = 0
"""Number of chunks that are not counted: what was before a recording began, put before it."""
_HEAD: Final = struct.Struct(">4scIIdI")
HEAD_SIZE: Final = _HEAD.size
_SUMMED: Final = struct.Struct(">cIId")
PAYLOAD_MAX: Final = 64 * 2**20
"""A longer payload is damage."""
_LOOK_SIZE: Final = 2**16


class ChunkKind(StrEnum):
    """What a chunk holds."""

    SEGMENT = "S"
    PREFACE = "P"
    ROWS = "R"
    END = "E"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as it stands in a file; `offset` is that of its payload."""

    kind: ChunkKind
    number: int
    at: float
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes of a file that are no chunk. `cut`: a chunk begins there that the file is too short for."""

    offset: int
    length: int
    cut: bool = False


class Store(Protocol):
    """Bytes that can be read anywhere."""

    @property
    def size(self) -> int:
        """Return how many there are."""

    def read(self, offset: int, length: int) -> bytes:
        """Return these bytes, fewer beyond the end."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Return how many there are."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Return these bytes."""
        return self.data[offset : offset + length]


def pack(kind: ChunkKind, number: int, at: float, payload: bytes) -> bytes:
    """Return a chunk."""
    letter = kind.encode()
    summed = zlib.crc32(payload, zlib.crc32(_SUMMED.pack(letter, number, len(payload), at)))
    return _HEAD.pack(MARK, letter, number, len(payload), at, summed) + payload


def version_of(store: Store) -> int | None:
    """Return the version that the first line tells; None if it is not that of a recording."""
    found = re.match(rb"wsmon recording (\d{1,9})\n", store.read(0, TITLE_MAX))
    return None if found is None else int(found[1])


def scan(store: Store) -> Iterator[Chunk | Hole]:
    """Return all chunks that are whole, in order, and what lies between them that is none."""
    offset = len(TITLE) if store.read(0, len(TITLE)) == TITLE else 0
    while offset < store.size:
        chunk = _chunk_at(store, offset)
        if isinstance(chunk, Chunk):
            yield chunk
            offset = chunk.offset + chunk.length
            continue
        found = _next_chunk(store, offset + 1)
        end = store.size if found is None else found
        yield Hole(offset, end - offset, cut=chunk and found is None)
        offset = end


def _chunk_at(store: Store, offset: int) -> Chunk | bool:
    """Return the chunk that begins there; if there is none, whether there could be one if the file were longer."""
    head = store.read(offset, HEAD_SIZE)
    if len(head) < HEAD_SIZE:
        return MARK.startswith(head[:4])
    mark, letter, number, length, at, summed = _HEAD.unpack(head)
    if mark != MARK or length > PAYLOAD_MAX:
        return False
    payload = store.read(offset + HEAD_SIZE, length)
    if len(payload) < length:
        return True
    if summed != zlib.crc32(payload, zlib.crc32(_SUMMED.pack(letter, number, length, at))):
        return False
    try:
        kind = ChunkKind(letter.decode())
    except ValueError:
        return False
    return Chunk(kind, number, at, offset + HEAD_SIZE, length)


def _next_chunk(store: Store, offset: int) -> int | None:
    """Return where the next whole chunk begins."""
    while offset < store.size:
        window = store.read(offset, _LOOK_SIZE)
        place = window.find(MARK)
        if place < 0:
            # The mark may lie across the end of the window.
            offset += max(1, len(window) - len(MARK) + 1)
            continue
        offset += place
        if isinstance(_chunk_at(store, offset), Chunk):
            return offset
        offset += 1
    return None
