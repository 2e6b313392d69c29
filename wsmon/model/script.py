"""Scenario files as values: which cluster, which steps, what is wanted of it.

A file is read strictly. What is unknown, of the wrong type or out of range is refused, with the file, the number of
the step and the nearest word that is known: a misspelt objective that nobody judges would always pass.
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Final, NoReturn, TypeAlias

from wsmon.errors import ConfigError
from wsmon.model.scorecard import MEASURES, Objective
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.states import NodeState

PROFILES: Final = ("demo", "production", "test")
SIGNALS: Final = ("TERM", "KILL", "STOP", "CONT", "INT", "HUP")
STEPS_MAX: Final = 200
SECONDS_MAX: Final = 3_600.0
LEADER: Final = "leader"
"""As a target: whichever checker leads at that moment."""
FLEET: Final = "fleet"
CLIENTS_BACK: Final = "clients back"
HEALTHY: Final = "healthy"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TARGET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The cluster that the scenario wants."""

    nodes: int = 3
    clients: int = 60
    rate: float = 20.0
    profile: str = "test"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a step waits for: a node's state, or with `node` empty one of `clients back` and `healthy`."""

    node: str
    word: str

    def __str__(self) -> str:
        return f"{self.node} {self.word}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Ask for one operation, of each target in turn; an empty target is the whole cluster."""

    op: str
    targets: tuple[str, ...] = ("",)
    args: JsonObject = field(default_factory=dict)

    def __str__(self) -> str:
        words = [self.op, ", ".join(target for target in self.targets if target)]
        words += [f"{name} {value}" for name, value in self.args.items()]
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Roll:
    """Restart these nodes one after the other without costing a client its connection; all of them if none is named."""

    nodes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"restart {', '.join(self.nodes) or 'all nodes'}, one at a time"


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds:g} s" if self.seconds else "go on"


Deed: TypeAlias = Do | Roll | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do: at a time since the beginning, or as soon as a condition holds."""

    number: int
    deed: Deed
    at: float | None = None
    after: Condition | None = None
    delay_s: float = 0.0
    """How long after the condition held."""
    within_s: float = 30.0
    """How long the condition is waited for."""
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A whole scenario."""

    name: str
    title: str
    cluster: Setting = field(default_factory=Setting)
    steps: tuple[Step, ...] = ()
    objectives: tuple[Objective, ...] = ()
    end_within_s: float = 30.0
    """How long after the last step everything has to be well again."""
    settle_s: float = 2.0
    """How long it has to stay so before it is judged."""


class _Kind(StrEnum):
    TARGET = "a process"
    TARGETS = "a process or link, or a list of them"
    NODE = "a node"
    SECONDS = "seconds"
    COUNT = "a whole number"
    NUMBER = "a number"
    WORD = "a word"


@dataclass(frozen=True, slots=True)
class _Form:
    """Which keys an action takes, and what it is."""

    make: Callable[["_Table"], Deed]
    required: Mapping[str, _Kind] = field(default_factory=dict)
    optional: Mapping[str, _Kind] = field(default_factory=dict)


def _on_target(op: str, *names: str) -> Callable[["_Table"], Deed]:
    """Return what makes an operation on a target, with these arguments where they are given."""

    def make(step: "_Table") -> Deed:
        args: JsonObject = {name: step.values[name] for name in names if name in step.values}  # type: ignore[misc]  # Checked.
        return Do(op=op, targets=(str(step.values["target"]),), args=args)

    return make


def _kill(step: "_Table") -> Deed:
    word = str(step.values.get("signal", "KILL"))
    targets = (str(step.values.get("target", LEADER)),)
    if word not in SIGNALS:
        step.refuse_word("signal", word, SIGNALS)
    if "ttl_s" not in step.values:
        return Do(op="kill", targets=targets, args={"signal": word})
    if "signal" in step.values:
        step.refuse("signal and ttl_s exclude each other", "what is killed for a while gets a KILL")
    return Do(op="fault", targets=targets, args={"kind": "kill", "ttl_s": _float(step.values["ttl_s"])})


def _link(step: "_Table") -> Deed:
    values = step.values
    args: JsonObject = {"kind": str(values["fault"]), "ttl_s": _float(values["ttl_s"])}
    if "value" in values:
        args["value"] = str(values["value"])
    if "seed" in values:
        args["seed"] = _int(values["seed"])
    targets = values["target"]
    assert isinstance(targets, tuple)
    return Do(op="fault", targets=targets, args=args)


def _redis(kind: str) -> Callable[["_Table"], Deed]:
    return lambda step: Do(op="fault", targets=("redis",), args={"kind": kind, "ttl_s": _float(step.values["ttl_s"])})


_TTL: Final = {"ttl_s": _Kind.SECONDS}
_SHOWN_MOST: Final = 10**18
ACTIONS: Final[Mapping[str, _Form]] = {
    "kill": _Form(_kill, {"target": _Kind.TARGET}, {"signal": _Kind.WORD, **_TTL}),
    "kill_checker": _Form(_kill, optional=_TTL),
    "freeze": _Form(_on_target("freeze", "ttl_s"), {"target": _Kind.TARGET, **_TTL}),
    "thaw": _Form(_on_target("thaw"), {"target": _Kind.TARGET}),
    "stop": _Form(_on_target("stop"), {"target": _Kind.TARGET}),
    "start": _Form(_on_target("start"), {"target": _Kind.TARGET}),
    "drain": _Form(
        _on_target("drain", "deadline_s", "rate"),
        {"target": _Kind.NODE},
        {"deadline_s": _Kind.SECONDS, "rate": _Kind.NUMBER},
    ),
    "abort": _Form(_on_target("abort"), {"target": _Kind.NODE}),
    "cordon": _Form(_on_target("cordon"), {"target": _Kind.NODE}),
    "uncordon": _Form(_on_target("uncordon"), {"target": _Kind.NODE}),
    "restart": _Form(lambda step: Roll((str(step.values["target"]),)), {"target": _Kind.NODE}),
    "restart_all": _Form(lambda _: Roll()),
    "link": _Form(
        _link,
        {"target": _Kind.TARGETS, "fault": _Kind.WORD, **_TTL},
        {"value": _Kind.WORD, "seed": _Kind.COUNT},
    ),
    "heal": _Form(
        lambda step: Do(op="heal", targets=(str(step.values.get("target", "")),)), optional={"target": _Kind.TARGET}
    ),
    "redis_stall": _Form(_redis("stall"), _TTL),
    "redis_restart": _Form(_redis("restart"), _TTL),
    "scale": _Form(
        lambda step: Do(op="clients", targets=(FLEET,), args={"clients": _int(step.values["clients"])}),
        {"clients": _Kind.COUNT},
    ),
    "rate": _Form(
        lambda step: Do(op="rate", targets=(FLEET,), args={"messages_per_s": _float(step.values["messages_per_s"])}),
        {"messages_per_s": _Kind.NUMBER},
    ),
    "wait": _Form(lambda step: Wait(_float(step.values.get("seconds", 0.0))), optional={"seconds": _Kind.SECONDS}),
}
"""What a step can do."""


def parse_script(text: str, *, file: str) -> Script:
    """Return the scenario in `text`; `file` is its name in messages.

    Raises:
        ConfigError: it is not one; the message says where, the hint what is allowed.

    """
    try:
        document: object = tomllib.loads(text)
    except ValueError as error:  # Of tomllib, or of an integer of thousands of digits.
        raise ConfigError(f"{file} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file} is not TOML: nested too deeply") from None
    top = _Table(file, document)
    top.allow(required=("name", "title", "step"), optional=("cluster", "objectives", "end_within_s", "settle_s"))
    name = top.text("name")
    if not _NAME.fullmatch(name):
        top.refuse(f"name is {name!r}", "small letters, digits, '.', '_' and '-'")
    return Script(
        name=name,
        title=top.text("title"),
        cluster=_setting(_Table(f"{file}: cluster", top.raw.get("cluster", {}))),
        steps=_steps(file, top.raw["step"]),
        objectives=_objectives(_Table(f"{file}: objectives", top.raw.get("objectives", {}))),
        end_within_s=top.number("end_within_s", 30.0, most=SECONDS_MAX),
        settle_s=top.number("settle_s", 2.0, most=60.0),
    )


def _setting(told: "_Table") -> Setting:
    told.allow(optional=("nodes", "clients", "rate", "profile"))
    ours = Setting()
    profile = told.text("profile", ours.profile)
    if profile not in PROFILES:
        told.refuse_word("profile", profile, PROFILES)
    return Setting(
        nodes=told.whole("nodes", ours.nodes, least=1, most=32),
        clients=told.whole("clients", ours.clients, least=0, most=20_000),
        rate=told.number("rate", ours.rate, most=100_000),
        profile=profile,
    )


def _objectives(told: "_Table") -> tuple[Objective, ...]:
    told.allow(optional=MEASURES)
    return tuple(
        Objective(
            name=name,
            wanted=told.whole(name, 0, least=0, most=10**9) if MEASURES[name].whole else told.number(name, 0.0),
        )
        for name in told.raw
    )


def _steps(file: str, told: object) -> tuple[Step, ...]:
    if not isinstance(told, list) or not 1 <= len(told) <= STEPS_MAX:
        raise ConfigError(f"{file}: step has to be a list of 1 to {STEPS_MAX} tables", hint="each begins with [[step]]")
    steps: list[Step] = []
    latest = 0.0
    for number, raw in enumerate(told, 1):
        table = _Table(f"{file}: step {number}", raw)
        step = _step(number, table)
        if step.at is not None:
            if step.at < latest:
                table.refuse(f"at is {step.at:g}, before an earlier step's {latest:g}", "steps in the order of time")
            latest = step.at
        steps.append(step)
    return tuple(steps)


_COMMON: Final = ("at", "after", "delay_s", "within_s", "action", "caption")


def _step(number: int, told: "_Table") -> Step:
    if "action" not in told.raw:
        told.refuse("it has no action", f"one of {', '.join(ACTIONS)}")
    word = told.text("action")
    if word not in ACTIONS:
        told.refuse_word("action", word, ACTIONS)
    form = ACTIONS[word]
    told.allow(required=form.required, optional=(*_COMMON, *form.optional), of=f" of {word}")
    if ("at" in told.raw) == ("after" in told.raw):
        told.refuse("it needs either `at` or `after`", "at = seconds since the beginning, or after = 'n1 removed'")
    if "at" in told.raw and {"delay_s", "within_s"} & told.raw.keys():
        told.refuse("delay_s and within_s belong to `after`", "leave them out beside `at`")
    told.read({**form.required, **form.optional})
    return Step(
        number=number,
        deed=form.make(told),
        at=told.number("at", 0.0, most=SECONDS_MAX) if "at" in told.raw else None,
        after=_condition(told) if "after" in told.raw else None,
        delay_s=told.number("delay_s", 0.0, most=SECONDS_MAX),
        within_s=told.number("within_s", 30.0, most=SECONDS_MAX),
        caption=told.text("caption", ""),
    )


def _condition(told: "_Table") -> Condition:
    words = told.text("after").split()
    states = [str(state) for state in NodeState]
    match words:
        case [word] if word == HEALTHY:
            return Condition("", HEALTHY)
        case ["clients", "back"]:
            return Condition("", CLIENTS_BACK)
        case [node, word] if node != "clients" and _TARGET.fullmatch(node):
            if word not in states:
                told.refuse_word("after", word, states, whole=" ".join(words))
            return Condition(node, word)
        case _:
            hint = f"'{HEALTHY}', '{CLIENTS_BACK}' or a node and its state: 'n1 removed'"
            raise told.wrong(f"after is {told.raw['after']!r}", hint)


class _Table:
    """One table of the file, and where it stands."""

    def __init__(self, where: str, raw: object) -> None:
        self._where = where
        if not isinstance(raw, dict):
            raise ConfigError(f"{where} is {_type(raw)}", hint="it has to be a table")
        self.raw: dict[str, object] = raw
        self.values: dict[str, object] = {}
        """What an action takes, of the right type."""

    def refuse(self, what: str, hint: str) -> NoReturn:
        """Say what is wrong here and what would be right."""
        raise self.wrong(what, hint)

    def wrong(self, what: str, hint: str) -> ConfigError:
        """Return what is wrong here and what would be right."""
        return ConfigError(f"{self._where}: {what}", hint=hint)

    def refuse_word(self, key: str, word: str, allowed: Iterable[str], *, whole: str | None = None) -> NoReturn:
        """Say that a word is unknown, and which it may have been."""
        shown = word if whole is None else whole
        self.refuse(f"{key} {shown!r} is unknown", _nearest(word, allowed))

    def allow(self, *, required: Iterable[str] = (), optional: Iterable[str] = (), of: str = "") -> None:
        """Refuse any key but these, and the lack of the required ones."""
        needed = tuple(required)
        allowed = (*needed, *optional)
        for key in self.raw:
            if key not in allowed:
                self.refuse(f"unknown key {key!r}{of}", _nearest(key, allowed))
        for key in needed:
            if key not in self.raw:
                self.refuse(f"{key} is missing{of}", f"needed: {', '.join(needed)}")

    def read(self, kinds: Mapping[str, _Kind]) -> None:
        """Check what an action takes."""
        for key, kind in kinds.items():
            if key not in self.raw:
                continue
            match kind:
                case _Kind.SECONDS:
                    self.values[key] = self.number(key, 0.0, most=SECONDS_MAX)
                case _Kind.NUMBER:
                    self.values[key] = self.number(key, 0.0, most=100_000)
                case _Kind.COUNT:
                    self.values[key] = self.whole(key, 0, least=0, most=2**53)
                case _Kind.TARGETS:
                    told = self.raw[key]
                    names = told if isinstance(told, list) and told else [told]
                    self.values[key] = tuple(self._target(key, name) for name in names)
                case _Kind.TARGET | _Kind.NODE:
                    self.values[key] = self._target(key, self.raw[key])
                case _Kind.WORD:
                    self.values[key] = self.text(key)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text."""
        value = self.raw.get(key, default)
        if not isinstance(value, str) or not (value or default == ""):
            self.refuse(f"{key} is {_type(value)}", "it has to be a text")
        return value

    def number(self, key: str, default: float, *, most: float = 1e9) -> float:
        """Return a number that is not negative."""
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(f"{key} is {_type(value)}", f"a number from 0 to {most:g}")
        if not 0 <= value <= most or math.isnan(value):
            self.refuse(f"{key} is {value:g}", f"a number from 0 to {most:g}")
        return float(value)

    def whole(self, key: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number."""
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(f"{key} is {_type(value)}", f"a whole number from {least} to {most}")
        if not least <= value <= most:
            self.refuse(f"{key} is {value}", f"a whole number from {least} to {most}")
        return value

    def _target(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not _TARGET.fullmatch(value):
            self.refuse(f"{key} is {value!r}" if isinstance(value, str) else f"{key} is {_type(value)}", "such as 'n1'")
        return value


def _nearest(word: str, allowed: Iterable[str]) -> str:
    known = sorted(allowed)
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{meant}allowed: {', '.join(known)}"


def _type(value: object) -> str:
    match value:
        case None:
            return "missing"
        case bool():
            return f"{str(value).lower()}, a truth value"
        case str():
            return f"{value!r}, a text"
        case int() if not -_SHOWN_MOST < value < _SHOWN_MOST:
            return "a number beyond reason"  # Of one with thousands of digits Python makes no text.
        case int() | float():
            return f"{value}, a number"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"


def _float(value: object) -> float:
    assert isinstance(value, float)
    return value


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
