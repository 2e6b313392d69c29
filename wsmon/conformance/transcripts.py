"""Transcripts: files of steps, and the steps as values."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from wsmon.conformance.patterns import check_pattern
from wsmon.protocol.frames import Json, JsonObject

WITHIN_S: Final = 3.0
RULES: Final = ("revisions", "events", "pace")
MAIN: Final = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Open a connection; it has to be taken, or with `refused` turned away by HTTP."""

    on: str
    says: str
    subprotocol: str | None
    token: str
    """`given` (whichever wsmon was given), `wrong` or `none`."""
    refused: tuple[int, ...] | None
    """Allowed statuses; an empty tuple is every one from 400 to 499."""
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a frame, or any text."""

    on: str
    says: str
    frame: JsonObject | None
    text: str
    bytes_least: int
    """Filled up to this length with a field that nobody knows."""
    when: str | None
    """Skipped unless something of this name is bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """A frame has to come. Frames of other types are passed over, unless it has to be the next one."""

    on: str
    says: str
    pattern: JsonObject
    within_s: float
    not_before_s: float
    is_next: bool
    barred: tuple[str, ...]
    """Types of frames that are not passed over."""
    optional: bool
    """Nothing may come, too; the transcript then shows less than it could, and says so."""
    when: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """For some time no such frame may come, and the connection has to stay open."""

    on: str
    says: str
    patterns: tuple[JsonObject, ...]
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The peer has to close the connection with one of these codes."""

    on: str
    says: str
    codes: tuple[int, ...]
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Read for some time; what came since the connection began must obey a rule."""

    on: str
    says: str
    rule: str
    for_s: float
    apart_s: float


Step: TypeAlias = Open | Send | Expect | Never | Closed | Follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Of whom a transcript may be asked."""

    role: str | None = None
    transport: str | None = None
    ops: tuple[str, ...] = ()
    """One of these has to be offered; the first that is gets bound as `op`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One thing that the protocol promises, and how it is seen to be kept."""

    name: str
    title: str
    needs: Needs
    steps: tuple[Step, ...]


def parse(text: str, *, file: str) -> Transcript:
    """Return the transcript.

    Raises:
        ValueError: it is not one; the message names the file and the line.

    """
    number = 0
    head: JsonObject = {}
    steps: list[Step] = []
    try:
        for number, line in enumerate(text.splitlines(), 1):
            document = json.loads(line)
            if not isinstance(document, dict):
                raise ValueError("not an object")  # noqa: TRY004  # The file is wrong, not its reader.
            if number == 1:
                head = document
                _only(head, {"name", "title", "needs"})
            else:
                steps.append(_step(document))
        if not steps:
            raise ValueError("no steps")
        needs = _object(head, "needs") if "needs" in head else {}
        _only(needs, {"role", "transport", "ops"})
        return Transcript(
            name=_text(head, "name"),
            title=_text(head, "title"),
            needs=Needs(
                role=_text(needs, "role") if "role" in needs else None,
                transport=_text(needs, "transport") if "transport" in needs else None,
                ops=tuple(str(op) for op in _list(needs, "ops")),
            ),
            steps=tuple(steps),
        )
    except ValueError as error:
        raise ValueError(f"{file}:{number}: {error}") from None


_OPTIONS: Final = {
    "open": {"subprotocol", "token", "within_s"},
    "refused": {"subprotocol", "token", "within_s", "statuses"},
    "send": {"if", "bytes_least"},
    "send_text": {"if"},
    "expect": {"within_s", "not_before_s", "next", "not", "optional", "if"},
    "never": {"for_s"},
    "closed": {"within_s"},
    "follow": {"for_s", "apart_s"},
}


def _step(document: JsonObject) -> Step:
    kinds = [name for name in _OPTIONS if name in document]
    if len(kinds) != 1:
        raise ValueError(f"a step is one of {', '.join(_OPTIONS)}")
    (kind,) = kinds
    _only(document, {kind, "on", "says", *_OPTIONS[kind]})
    on, says = str(document.get("on", MAIN)), _text(document, "says")
    within_s = _seconds(document, "within_s", WITHIN_S)
    when = _text(document, "if") if "if" in document else None
    match kind:
        case "open" | "refused":
            subprotocol, token = document[kind], str(document.get("token", "given"))
            if subprotocol is not None and not isinstance(subprotocol, str):
                raise ValueError(f"{kind} is a subprotocol or null")
            if token not in ("given", "wrong", "none"):
                raise ValueError(f"there is no token {token!r}")
            refused = tuple(_wholes(document, "statuses")) if kind == "refused" else None
            return Open(on=on, says=says, subprotocol=subprotocol, token=token, refused=refused, within_s=within_s)
        case "send":
            frame = _object(document, "send")
            check_pattern(frame)
            least = int(_seconds(document, "bytes_least", 0))
            return Send(on=on, says=says, frame=frame, text="", bytes_least=least, when=when)
        case "send_text":
            return Send(on=on, says=says, frame=None, text=_text(document, kind), bytes_least=0, when=when)
        case "expect":
            pattern = _object(document, kind)
            check_pattern(pattern)
            _text(pattern, "type")
            return Expect(
                on=on,
                says=says,
                pattern=pattern,
                within_s=within_s,
                not_before_s=_seconds(document, "not_before_s", 0.0),
                is_next=document.get("next") is True,
                barred=tuple(str(name) for name in _list(document, "not")),
                optional=document.get("optional") is True,
                when=when,
            )
        case "never":
            patterns = tuple(item for item in _list(document, kind) if isinstance(item, dict))
            check_pattern(list(patterns))
            return Never(on=on, says=says, patterns=patterns, for_s=_seconds(document, "for_s", 0.5))
        case "closed":
            return Closed(on=on, says=says, codes=tuple(_wholes(document, kind)), within_s=within_s)
        case _:
            rule = _text(document, kind)
            if rule not in RULES:
                raise ValueError(f"there is no rule {rule!r}")
            for_s, apart_s = _seconds(document, "for_s", 0.0), _seconds(document, "apart_s", 0.0)
            return Follow(on=on, says=says, rule=rule, for_s=for_s, apart_s=apart_s)


def _only(document: JsonObject, allowed: set[str]) -> None:
    unknown = document.keys() - allowed
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(allowed))}")


def _text(document: JsonObject, name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is not text")
    return value


def _object(document: JsonObject, name: str) -> JsonObject:
    value = document.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")  # noqa: TRY004  # The file is wrong, not its reader.
    return value


def _list(document: JsonObject, name: str) -> Sequence[Json]:
    value = document.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")  # noqa: TRY004  # The file is wrong, not its reader.
    return value


def _wholes(document: JsonObject, name: str) -> Iterator[int]:
    for value in _list(document, name):
        if not isinstance(value, int):
            raise ValueError(f"{name} holds something that is not a number")  # noqa: TRY004  # As above.
        yield value


def _seconds(document: JsonObject, name: str, default: float) -> float:
    value = document.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name} is not a number from 0")
    return float(value)
