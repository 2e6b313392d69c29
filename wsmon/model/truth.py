"""What was done to each node, and what was said of it, as stretches of time.

Theory of operation. `Truth` keeps the marks at which something began, ended or changed: faults by their target, and a
checker's verdicts by node, the newest of each, sorted by the time at which they happened. Stretches are made of them
when somebody asks, so that events may come in any order. The same event must not come twice.
"""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from wsmon.model.incidents import EXIT, KILL, SIGKILL, node_of
from wsmon.protocol.events import (
    DrainAborted,
    DrainDone,
    DrainStarted,
    EventBody,
    FaultEnded,
    FaultStarted,
    NodeStateChanged,
    ProcessExited,
)
from wsmon.protocol.states import NodeState

SUBJECTS_MAX: Final = 512
"""Targets, and nodes, that are remembered; the one that was first heard of goes first."""
MARKS_KEPT: Final = 64
"""Of each of them."""
DRAIN: Final = "drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Something that lasted. `what` is a fault, or the word of a verdict; `until` None: it still does."""

    what: str
    target: str
    since: float
    until: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, order=True)
class _Mark:
    at: float
    key: tuple[str, int, int]
    what: str
    begins: bool = True
    reason: str = ""


class Truth:
    """Faults and verdicts of the last while."""

    def __init__(self) -> None:
        self._faults: dict[str, list[_Mark]] = {}
        self._verdicts: dict[str, list[_Mark]] = {}

    def take(self, body: EventBody, *, source: str, boot: int, seq: int, at: float) -> None:
        """Fold one event in that happened `at`."""
        key = source, boot, seq
        match body:
            case FaultStarted(fault=fault, target=target):
                _keep(self._faults, target, _Mark(at, key, fault))
            case FaultEnded(fault=fault, target=target):
                _keep(self._faults, target, _Mark(at, key, fault, begins=False))
            case ProcessExited(id=target, signal=number, code=code) if code != 0:
                _keep(self._faults, target, _Mark(at, key, KILL if number == SIGKILL else EXIT))
            case DrainStarted(node=node):
                _keep(self._faults, node, _Mark(at, key, DRAIN))
            case DrainDone(node=node) | DrainAborted(node=node):
                _keep(self._faults, node, _Mark(at, key, DRAIN, begins=False))
            case NodeStateChanged(node=node, new=new, reason=reason) if source != node:
                _keep(self._verdicts, node, _Mark(at, key, new, reason=reason))
            case _:
                pass

    def done_to(self, node: str, nodes: Iterable[str]) -> tuple[Stretch, ...]:
        """Return what was done to a node or to its links, in the order in which it began.

        A process that ended without anybody telling why is gone until a checker finds it online again.
        """
        names = frozenset(nodes)
        back = [mark.at for mark in self._verdicts.get(node, ()) if mark.what == NodeState.ONLINE]
        found: list[Stretch] = []
        for target, marks in self._faults.items():
            if node_of(target, names) != node:
                continue
            going_on: dict[str, float] = {}
            for mark in marks:
                if mark.begins:
                    since = going_on.get(mark.what)
                    again = since is not None and _after(back, since) < mark.at
                    if since is None or again:
                        if since is not None:
                            found.append(Stretch(what=mark.what, target=target, since=since, until=_after(back, since)))
                        going_on[mark.what] = mark.at
                elif mark.what in going_on:
                    found.append(Stretch(what=mark.what, target=target, since=going_on.pop(mark.what), until=mark.at))
            for what, since in going_on.items():
                until = _after(back, since) if what in (KILL, EXIT) else float("inf")
                found.append(
                    Stretch(what=what, target=target, since=since, until=None if until == float("inf") else until)
                )
        return tuple(sorted(found, key=lambda stretch: (stretch.since, stretch.target, stretch.what)))

    def said_of(self, node: str) -> tuple[Stretch, ...]:
        """Return a checker's verdicts of a node, in order; a verdict that is told anew goes on."""
        changes: list[_Mark] = []
        for mark in self._verdicts.get(node, ()):
            if not changes or changes[-1].what != mark.what:
                changes.append(mark)
        return tuple(
            Stretch(
                what=mark.what,
                target=node,
                since=mark.at,
                until=None if after is None else after.at,
                reason=mark.reason,
            )
            for mark, after in pairwise([*changes, None])
            if mark is not None
        )


def _after(times: Iterable[float], at: float) -> float:
    return next((time for time in times if time > at), float("inf"))


def _keep(subjects: dict[str, list[_Mark]], subject: str, mark: _Mark) -> None:
    marks = subjects.get(subject)
    if marks is None:
        if len(subjects) >= SUBJECTS_MAX:
            del subjects[next(iter(subjects))]
        marks = subjects[subject] = []
    insort(marks, mark)
    if len(marks) > MARKS_KEPT:
        del marks[0]
