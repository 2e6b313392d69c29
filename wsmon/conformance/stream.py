"""Follows the revisions and events of one connection and notes what does not follow on."""

from collections.abc import Mapping

from wsmon.conformance.patterns import equal, shown
from wsmon.protocol.codec import merge_patch
from wsmon.protocol.frames import JsonObject


class Stream:
    """What one connection told. Feed it every frame with the time at which it came."""

    def __init__(self) -> None:
        self.deltas = 0
        self.events = 0
        self.faults: dict[str, list[str]] = {"revisions": [], "events": []}
        self.gaps_s: list[float] = []
        """Seconds between one state, whole or not, and the next."""
        self._rev: int | None = None
        self._state: JsonObject = {}
        self._came: float | None = None
        self._seqs: dict[tuple[str, int], int] = {}

    def feed(self, frame: Mapping[str, object], *, now: float) -> None:
        """Take one frame."""
        match frame:
            case {"type": "snapshot", "rev": int(rev), "state": dict(state)}:
                if self._rev is not None and rev < self._rev:
                    self._fault("revisions", f"a snapshot of revision {rev} came after revision {self._rev}")
                if rev == self._rev and not equal(state, self._state):
                    self._fault(
                        "revisions",
                        f"the deltas up to {rev} lead to {shown(self._state)}, the snapshot says {shown(state)}",
                    )
                self._rev, self._state = rev, state
                self._came = now  # Whoever asks anew gets it at once; the pace counts from here.
            case {"type": "delta", "rev": int(rev), "prev": int(prev), "patch": dict(patch)}:
                self.deltas += 1
                if prev != self._rev:
                    self._fault("revisions", f"a delta from revision {prev} came after revision {self._rev}")
                if rev <= prev:
                    self._fault("revisions", f"a delta led from revision {prev} to {rev}")
                self._rev, self._state = rev, merge_patch(self._state, patch)
                if self._came is not None:
                    self.gaps_s.append(now - self._came)
                self._came = now
            case {"type": "delta"}:
                self.deltas += 1
                self._fault("revisions", f"a delta without rev, prev or patch: {shown({**frame})}")  # type: ignore[dict-item]
            case {
                "type": "event",
                "source": str(source),
                "boot": int(boot),
                "seq": int(seq),
                "kind": str(),
                "at": at,
            } if isinstance(at, int | float):
                self.events += 1
                last = self._seqs.get((source, boot))
                if last is not None and seq != last + 1:
                    self._fault("events", f"event {seq} of {source} came after event {last}")
                self._seqs[source, boot] = seq
            case {"type": "event"}:
                self.events += 1
                self._fault("events", f"an event without source, boot, seq, at or kind: {shown({**frame})}")  # type: ignore[dict-item]
            case _:
                pass

    def _fault(self, rule: str, what: str) -> None:
        self.faults[rule].append(what)
