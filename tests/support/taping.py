"""Recordings of what a test tells, made at once."""

from collections.abc import Iterable

from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import Input
from wsmon.recording.chunks import Held
from wsmon.recording.recording import Recording
from wsmon.recording.rows import heard
from wsmon.recording.tape import Tape

FLUSH_EVERY_S = 0.5


def taped(items: Iterable[Input], *, tape: Tape | None = None, end: bool = True) -> bytes:
    """Return a recording of these inputs, flushed twice a second of their own time."""
    tape = Tape("demo") if tape is None else tape
    parts: list[bytes] = []
    flushed_at = now = 0.0
    for item in items:
        now = heard(item)
        if not parts:
            parts.append(tape.opening(now))
            flushed_at = now
        tape.take(item)
        if now - flushed_at >= FLUSH_EVERY_S:
            parts.append(tape.flush(now))
            flushed_at = now
    parts += [tape.flush(now), tape.ending(now, reason="") if end else b""]
    return b"".join(parts)


def opened(data: bytes) -> Recording:
    """Return the recording in these bytes."""
    return Recording(Held(data))


def inputs_of(recording: Recording) -> list[Input]:
    """Return everything that a recording tells."""
    return [read.item for read in recording.inputs()]


def told(items: Iterable[Input]) -> ClusterModel:
    """Return a model that was told these inputs."""
    model = ClusterModel("demo")
    for item in items:
        model.apply(item)
    return model
