"""Plays one transcript, without I/O.

Theory of operation. The steps are taken in order. A step that sends is over at once; one that waits looks at what its
connection was told and nobody has looked at yet, until it has what it wants or its time is over. The first step that
fails ends the performance. Whatever the step, every frame must be a JSON object in a text message, have a `type`, and
hold no null outside the patch of a delta. A ping of the peer is answered.

Limits of time count from the end of the step before: that is when the frame came which ended it, not when it was read.
"""

import json
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from wsmon.conformance.patterns import Bound, compare, nulls, resolve, shown
from wsmon.conformance.stream import Stream
from wsmon.conformance.transcripts import Closed, Expect, Follow, Needs, Never, Open, Send, Step, Transcript
from wsmon.protocol.frames import Json, JsonObject

FILLING: Final = "conform_filling"


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the connection `on`."""

    on: str
    subprotocol: str | None
    token: str


@dataclass(frozen=True, slots=True)
class Say:
    """Send `text` on the connection `on`; a connection that is gone says so by itself."""

    on: str
    text: str


Do: TypeAlias = Connect | Say


@dataclass(frozen=True, slots=True)
class Opened:
    """The connection stands."""

    on: str
    subprotocol: str | None


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """There is no connection: HTTP `status`, or 0 if nothing said why in HTTP."""

    on: str
    status: int
    why: str


@dataclass(frozen=True, slots=True)
class Told:
    """A message came."""

    on: str
    text: str | bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """The connection was closed, with 1006 if it simply broke."""

    on: str
    code: int
    reason: str


Came: TypeAlias = Opened | TurnedAway | Told | Gone


class Verdict(StrEnum):
    """How a transcript ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What a step wanted and what came."""

    number: int
    """Of its line in the file; the title is line 1."""
    says: str
    expected: str
    came: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a transcript."""

    name: str
    title: str
    verdict: Verdict
    why: str = ""
    """Of a transcript that was skipped."""
    steps: tuple[StepReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What is known of the peer before anything is played: from its hello, if that can be read."""

    transport: str
    kind: str = ""
    id: str = ""
    role: str = ""
    ops: tuple[str, ...] = ()


def unmet(needs: Needs, peer: Peer) -> str:
    """Return why the peer cannot be asked for this, empty if it can."""
    if needs.transport is not None and needs.transport != peer.transport:
        return f"only for {needs.transport}"
    if needs.role is not None and needs.role != peer.role:
        return f"only for a connection that may {needs.role}"
    if needs.ops and not set(needs.ops) & set(peer.ops):
        return f"it offers none of {', '.join(needs.ops)}"
    return ""


@dataclass(slots=True)
class _Line:
    """One connection."""

    came: deque[tuple[float, Opened | TurnedAway | JsonObject | Gone]] = field(default_factory=deque)
    stream: Stream = field(default_factory=Stream)


class Performance:
    """One transcript being played. Feed it with `receive` and `tick`, do what `take` returns, until there is an `outcome`."""

    def __init__(self, transcript: Transcript, peer: Peer, *, now: float) -> None:
        self.outcome: Outcome | None = None
        self._transcript = transcript
        self._steps = deque(enumerate(transcript.steps, 2))
        self._reports: list[StepReport] = []
        self._do: list[Do] = []
        self._lines: dict[str, _Line] = {}
        self._bound: Bound = {}
        self._unseen = ""
        self._since = now
        """When the last step ended."""
        why = unmet(transcript.needs, peer)
        if why:
            self._end(Verdict.SKIPPED, why)
            return
        offered = [op for op in transcript.needs.ops if op in peer.ops]
        if offered:
            self._bound["op"] = offered[0]
        self._begin(now)
        self._go_on(now)

    @property
    def deadline(self) -> float:
        """When the shell has to call `tick` at the latest."""
        match self._steps[0][1] if self._steps else None:
            case Open(within_s=wait_s) | Expect(within_s=wait_s) | Closed(within_s=wait_s):
                return self._since + wait_s
            case Never(for_s=wait_s) | Follow(for_s=wait_s):
                return self._since + wait_s
            case _:
                return self._since

    def take(self) -> tuple[Do, ...]:
        """Return what is to be done now, in order."""
        do, self._do = tuple(self._do), []
        return do

    def receive(self, came: Came, *, now: float) -> None:
        """Take what happened on a connection."""
        if self.outcome is not None:
            return
        line = self._lines[came.on]
        if isinstance(came, Told):
            frame, wrong = _read(came.text)
            if frame is None:
                self._report(passed=False, came=f"{wrong}: {shown(str(came.text))}")
                return
            line.came.append((now, frame))
            if frame["type"] == "ping":
                self._do.append(Say(came.on, json.dumps(frame | {"type": "pong"})))
        else:
            line.came.append((now, came))
        self._go_on(now)

    def tick(self, *, now: float) -> None:
        """Let time pass."""
        if self.outcome is None:
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        while self.outcome is None and self._look(self._steps[0][1], now):
            pass

    def _begin(self, now: float) -> None:
        """Do what the first of the steps left does by itself."""
        if not self._steps:
            self._end(Verdict.SKIPPED if self._unseen else Verdict.PASSED, self._unseen)
            return
        self._since = now
        match self._steps[0][1]:
            case Open(on=on, subprotocol=subprotocol, token=token):
                self._lines[on] = _Line()
                self._do.append(Connect(on, subprotocol, token))
            case Send() as send if self._wanted(send.when):
                self._do.append(Say(send.on, _text(send, self._bound)))
            case _:
                pass

    def _wanted(self, when: str | None) -> bool:
        return when is None or when in self._bound

    def _look(self, step: Step, now: float) -> bool:
        """Say whether the step ended, well or badly."""
        late = now >= self.deadline
        match step:
            case Send():
                return self._report(passed=True, came="", at=now)
            case Expect(when=when) if not self._wanted(when):
                return self._report(passed=True, came="not asked", at=now)
            case _:
                pass
        line = self._lines[step.on]
        while line.came:
            at, item = line.came.popleft()
            if isinstance(item, dict):
                line.stream.feed(item, now=at)
            ended = self._judge(step, item, at)
            if ended:
                return True
        if not late:
            return False
        match step:
            case Never():
                return self._report(passed=True, came="nothing", at=now)
            case Follow():
                return self._followed(step, line.stream, now)
            case Expect(optional=True):
                self._unseen = f"no {step.pattern['type']} came that could be judged"
                return self._report(passed=True, came="nothing", at=now)
            case _:
                return self._report(passed=False, came=f"nothing within {step.within_s:g} s")

    def _judge(self, step: Step, item: Opened | TurnedAway | JsonObject | Gone, at: float) -> bool:
        """Say whether the item ends the step."""
        match step, item:
            case Open(refused=refused, subprotocol=wanted), Opened(subprotocol=got):
                return self._report(
                    passed=refused is None and got == wanted, came=f"opened, with {got or 'none'}", at=at
                )
            case Open(refused=refused), TurnedAway(status=status, why=why):
                fine = refused is not None and (status in refused if refused else 400 <= status < 500)
                return self._report(passed=fine, came=f"HTTP {status}" if status else why, at=at)
            case Closed(codes=codes), Gone(code=code, reason=reason):
                return self._report(passed=code in codes, came=f"closed with {code} {reason}".strip(), at=at)
            case _, Gone(code=code, reason=reason):
                return self._report(passed=False, came=f"the connection was closed with {code} {reason}".strip())
            case Expect(), dict():
                return self._expected(step, item, at)
            case Never(patterns=patterns), dict():
                bad = any(compare(pattern, item, self._bound) is None for pattern in patterns)
                return bad and self._report(passed=False, came=shown(item))
            case _:
                return False

    def _expected(self, step: Expect, frame: JsonObject, at: float) -> bool:
        if frame["type"] in step.barred:
            return self._report(passed=False, came=shown(frame))
        if frame["type"] != step.pattern["type"] and not step.is_next:
            return False
        miss = compare(step.pattern, frame, self._bound)
        if miss is not None:
            return self._report(passed=False, came=f"{miss}: {shown(frame)}")
        after_s = at - self._since
        if step.not_before_s and after_s < step.not_before_s:
            return self._report(passed=False, came=f"it after {after_s:.2f} s, sooner than {step.not_before_s:g} s")
        if after_s > step.within_s:
            return self._report(passed=False, came=f"it after {after_s:.2f} s, later than {step.within_s:g} s")
        return self._report(passed=True, came=shown(frame), at=at)

    def _followed(self, step: Follow, stream: Stream, now: float) -> bool:
        seen, what = (stream.events, "event") if step.rule == "events" else (stream.deltas, "delta")
        if step.rule == "pace":
            hasty = [gap for gap in stream.gaps_s if gap < step.apart_s]
            faults = [f"two states {hasty[0]:.2f} s apart"] if hasty else []
        else:
            faults = stream.faults[step.rule]
        if faults:
            return self._report(passed=False, came=faults[0])
        if not seen:
            self._unseen = f"no {what} came that could be judged"
        return self._report(passed=True, came=f"{seen} of kind {what}", at=now)

    def _report(self, *, passed: bool, came: str, at: float = 0.0) -> bool:
        """End the first of the steps left; a step that passes ended `at`."""
        number, step = self._steps[0]
        expected = shown(resolve(_wanted_of(step), self._bound))
        self._reports.append(StepReport(number=number, says=step.says, expected=expected, came=came, passed=passed))
        if not passed:
            self._end(Verdict.FAILED)
            return True
        self._steps.popleft()
        self._begin(at)
        return True

    def _end(self, verdict: Verdict, why: str = "") -> None:
        self.outcome = Outcome(
            name=self._transcript.name,
            title=self._transcript.title,
            verdict=verdict,
            why=why,
            steps=tuple(self._reports),
        )


def _read(text: str | bytes) -> tuple[JsonObject | None, str]:
    """Return the frame, or what is wrong with the message."""
    if isinstance(text, bytes):
        return None, "a binary message"
    try:
        document: Json = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None, "no JSON"
    if not isinstance(document, dict):
        return None, "no JSON object"
    if not isinstance(document.get("type"), str):
        return None, "no type"
    patch = {"patch"} if document["type"] == "delta" else set()
    path = nulls({name: value for name, value in document.items() if name not in patch})
    return (document, "") if path is None else (None, f"null in {path}")


def _refuse(name: str) -> Json:
    raise ValueError(name)


def _text(send: Send, bound: Bound) -> str:
    if send.frame is None:
        return send.text
    frame = resolve(send.frame, bound)
    assert isinstance(frame, dict)
    bare = json.dumps(frame)
    missing = send.bytes_least - len(bare.encode())
    return json.dumps(frame | {FILLING: "x" * missing}) if missing > 0 else bare


def _wanted_of(step: Step) -> Json:
    """Return what a report shows as wanted."""
    match step:
        case Open(refused=None, subprotocol=subprotocol):
            return {"open": subprotocol}
        case Open(refused=refused):
            return {"refused": [*refused] if refused else "4xx"}
        case Send(frame=frame, text=text):
            return {"send": text if frame is None else frame}
        case Expect(pattern=pattern):
            return pattern
        case Never(patterns=patterns):
            return {"never": [*patterns]}
        case Closed(codes=codes):
            return {"closed": [*codes]}
        case Follow(rule=rule):
            return {"follow": rule}
