"""Plays a scenario on a cluster of its own, and judges how the cluster took it.

Theory of operation. The cluster is a child process with a private name and a free port. An engine watches it as a
dashboard would, and every step leaves by the engine's one door, audited, with the scenario's name as its reason. All
that is measured comes from events and states on the wire (`Incidents`); nothing is timed here. The files are read by
`wsmon.model.script`, the verdict is `wsmon.model.scorecard`'s.
"""

import asyncio
import os
import shutil
import signal
import uuid
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from wsmon.agent.cancellation import end
from wsmon.agent.runtime_dir import ensure_private, runtime_dir
from wsmon.commands import Action
from wsmon.embedded import EmbeddedCluster
from wsmon.engine import Engine
from wsmon.errors import ConfigError, StartError, WsmonError
from wsmon.model.cluster import ClusterModel
from wsmon.model.incidents import Incidents
from wsmon.model.scorecard import Evidence, Scorecard, judge
from wsmon.model.script import HEALTHY, LEADER, Condition, Do, Roll, Script, Step, Wait, parse_script
from wsmon.model.standing import leader, voices
from wsmon.operators.admin import AdminOperator, this_actor
from wsmon.protocol.states import NodeState
from wsmon.rolling import order, roll, see
from wsmon.sources.clock import Clock
from wsmon.sources.merge import LiveCluster
from wsmon.views.frame import Audit, Frame
from wsmon.views.scorecard import markdown_lines as markdown_lines  # noqa: PLC0414  # For whoever prints what `run` returns.
from wsmon.views.scorecard import text_lines as text_lines  # noqa: PLC0414
from wsmon.views.text import clean, name

PACKAGE: Final = "sample_cluster"
"""Ships scenarios beside itself; looked for, never imported."""
SUFFIX: Final = ".toml"
FILE_MAX: Final = 1_000_000
UP_WITHIN_S: Final = 60.0
LOOK_EVERY_S: Final = 0.05
CAPTION_MAX: Final = 400
HELD_S: Final = 1.0
"""What is told twice a second counts once it has been so for this long."""
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# Files


def shipped() -> dict[str, Path]:
    """Return the scenarios that come with the sample cluster, by name."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return {}
    return {path.stem: path for path in sorted((Path(spec.origin).parent / "scenarios").glob(f"*{SUFFIX}"))}


def load(what: str) -> Script:
    """Return the scenario in a file, or the shipped one of this name.

    Raises:
        ConfigError: there is none, or it cannot be used.

    """
    known = shipped()
    if what.endswith(SUFFIX) or "/" in what:
        path = Path(what).expanduser()
    elif what in known:
        path = known[what]
    else:
        near = get_close_matches(what, known, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"there is no scenario {what!r}", hint=f"{meant}a file, or one of {', '.join(known)}")
    try:
        with path.open("rb") as file:
            told = file.read(FILE_MAX + 1)
        if len(told) > FILE_MAX:
            raise ConfigError(f"{path} is too large for a scenario")
        return parse_script(told.decode(), file=what if what in known else str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8") from None


# Playing


def run(script: Script, *, tell: Callable[[str], None]) -> Scorecard | None:
    """Start the cluster, play, end the cluster; return the scorecard, None if a signal ended it before.

    `tell` gets lines that say how far it is.

    Raises:
        StartError: the cluster did not come up.
        WsmonError: the cluster ended while it was needed.

    """
    cluster = f"run-{os.getpid()}"
    directory = runtime_dir(cluster)
    ensure_private(directory)
    setting = script.cluster
    embedded = EmbeddedCluster(
        cluster,
        [
            *("--nodes", str(setting.nodes), "--clients", str(setting.clients), "--rate", str(setting.rate)),
            *("--profile", setting.profile, "--port", "0"),
        ],
    )
    try:
        return asyncio.run(_watch(script, embedded, tell))
    finally:
        embedded.stop()
        shutil.rmtree(directory, ignore_errors=True)


def companion(script: Script, clock: Callable[[], float]) -> Callable[[Engine], Awaitable[None]]:
    """Return what plays the script beside a dashboard: its captions are shown there.

    What goes wrong is said in the caption, and ends the play.
    """

    async def play(engine: Engine) -> None:
        player = Player(script, engine, clock, lambda _: None, caption=engine.caption)
        engine.caption(clean(script.title, CAPTION_MAX))
        try:
            card = await player.play()
        except WsmonError as error:
            engine.caption(f"The tour ends here: {error.message}")
            return
        met = sum(judged.passed for judged in card.objectives)
        engine.caption(
            f"That was the tour: {met} of {len(card.objectives)} objectives met. Now it is yours: ? lists all keys."
        )

    return play


async def _watch(script: Script, embedded: EmbeddedCluster, tell: Callable[[str], None]) -> Scorecard | None:
    """Play the script in a task that a signal ends."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in ENDING:
        loop.add_signal_handler(number, stopping.set)
    embedded.launch()
    clock = Clock()
    source = LiveCluster(embedded.locate, clock, ended=embedded.ended)
    model = ClusterModel(embedded.cluster, embedded=True, incidents=Incidents())
    engine = Engine(source, AdminOperator(source.client, this_actor()), model, clock)
    player = Player(script, engine, clock, tell)
    collecting = loop.create_task(engine.run(), name="engine")
    playing = loop.create_task(player.play(), name="play")
    waiting = loop.create_task(stopping.wait(), name="stopping")
    try:
        await asyncio.wait((playing, waiting), return_when=asyncio.FIRST_COMPLETED)
        return None if stopping.is_set() else playing.result()
    finally:
        for task in (playing, waiting, collecting):
            await end(task)
            if not task.cancelled():
                task.exception()  # It was raised already, or the end is what counts.


class StepFailedError(WsmonError):
    """A step could not be done; what follows it is not tried."""


class Player:
    """Plays one script on a cluster that is coming up."""

    def __init__(
        self,
        script: Script,
        engine: Engine,
        clock: Callable[[], float],
        tell: Callable[[str], None],
        *,
        caption: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`tell` gets lines about the progress, `caption` what a spectator is to look at."""
        self._script = script
        self._engine = engine
        self._caption = caption
        self._incidents = engine.model.incidents
        self._clock = clock
        self._tell_line = tell
        self._began = clock()
        self._clients = script.cluster.clients
        self._told: set[str] = set()
        self._acted_at = self._unwell_at = 0.0

    async def play(self) -> Scorecard:
        """Wait for the cluster, play all steps, wait for the end, and judge.

        Raises:
            StartError: the cluster did not come up.
            WsmonError: the cluster ended.

        """
        script = self._script
        self._tell(f"{script.name}: {script.title}")
        setting = script.cluster
        self._tell(f"starting {setting.nodes} nodes and {setting.clients} clients, profile {setting.profile}")
        if await self._until(self._whole, UP_WITHIN_S) is None:
            raise StartError(f"the cluster is not up after {UP_WITHIN_S:g} s: {_problems(self._frame())}")
        began = self._began = self._acted_at = self._clock()
        before = self._frame().header.audit or Audit()
        self._tell("everything is online, go")
        done = await self._steps()
        settled = max(script.settle_s, HELD_S)
        well = await self._until(self._whole, script.end_within_s + settled, held_s=settled)
        healthy_after_s = None if well is None else max(0.0, self._unwell_at - self._acted_at)
        if well is None:
            self._tell(f"not well after {script.end_within_s:g} s: {_problems(self._frame())}")
        return self._card(began, before, done, healthy_after_s)

    async def _steps(self) -> int:
        """Play the steps; return how many were done."""
        done = 0
        for step in self._script.steps:
            try:
                await self._wait_for(step)
                caption = f" – {clean(step.caption)}" if step.caption else ""
                when = f"{step.after}: " if step.after is not None else ""
                self._tell(f"step {step.number}: {when}{step.deed}{caption}")
                if step.caption:
                    self._caption(clean(step.caption, CAPTION_MAX))
                await self._do(step)
            except StepFailedError as error:
                self._tell(f"step {step.number} failed: {error.message}")
                break
            done += 1
        return done

    def _card(self, began: float, before: Audit, done: int, healthy_after_s: float | None) -> Scorecard:
        script, incidents = self._script, self._incidents
        after = self._frame().header.audit
        shown = Evidence(
            incidents=tuple(incident for incident in incidents.all() if incident.started_at >= began),
            removals=tuple(removal for removal in incidents.removals() if removal.at >= began),
            clients_lost=incidents.clients_lost(since=began),
            quarantines=len(incidents.entered(NodeState.QUARANTINED, since=began)),
            lost=_grown(before, after, "lost"),
            duplicated=_grown(before, after, "duplicated"),
            inverted=_grown(before, after, "inverted"),
            overdue=None if after is None else after.overdue,
            never_acked=None if after is None else after.never_acked,
            healthy_after_s=healthy_after_s,
            steps=len(script.steps),
            steps_done=done,
        )
        return Scorecard(
            scenario=script.name,
            title=script.title,
            objectives=judge(script.objectives, shown),
            incidents=shown.incidents,
        )

    # Waiting.

    async def _wait_for(self, step: Step) -> None:
        if step.at is not None:
            await self._sleep(self._began + step.at - self._clock())
        elif step.after is not None:
            condition = step.after
            held_s = 0.0 if condition.node else HELD_S
            if await self._until(lambda: self._holds(condition), step.within_s, held_s=held_s) is None:
                raise StepFailedError(f"{condition} did not come within {step.within_s:g} s")
            await self._sleep(step.delay_s)

    def _holds(self, condition: Condition) -> bool:
        if condition.node:
            return any(row.id == condition.node and row.state == condition.word for row in self._frame().nodes)
        return self._whole() if condition.word == HEALTHY else self._clients_back()

    def _clients_back(self) -> bool:
        head = self._frame().header
        told = head.clients_connected == self._clients and head.clients_reconnecting == 0
        return told and not self._incidents.clients_away()

    def _whole(self) -> bool:
        """Say whether everything is as it should be, but for what was lost before."""
        frame = self._frame()
        nodes = [row.state for row in frame.nodes if row.state is not NodeState.LEFT]
        known = len(frame.nodes) >= self._script.cluster.nodes
        services = bool(frame.services) and all(row.good for row in frame.services)
        return known and services and {*nodes} == {NodeState.ONLINE} and self._clients_back()

    async def _until(self, holds: Callable[[], bool], within_s: float, *, held_s: float = 0.0) -> float | None:
        """Wait until something holds and has held for a while; return since when it does, None if it never did."""
        deadline = self._clock() + within_s
        since: float | None = None
        while True:
            now = self._clock()
            since = (now if since is None else since) if holds() else None
            if since is not None and now - since >= held_s:
                return since
            if now >= deadline:
                return None
            await self._sleep(LOOK_EVERY_S)

    async def _sleep(self, seconds: float) -> None:
        """Let time pass, and tell what happens meanwhile."""
        deadline = self._clock() + seconds
        while True:
            self._tell_news()
            if not self._whole():
                self._unwell_at = self._clock()
            if self._engine.frame.ended:
                raise WsmonError(self._engine.frame.ended)
            left = deadline - self._clock()
            if left <= 0:
                return
            await asyncio.sleep(min(left, LOOK_EVERY_S))

    def _frame(self) -> Frame:
        return self._engine.frame

    # Doing.

    async def _do(self, step: Step) -> None:
        if not isinstance(step.deed, Wait):
            self._acted_at = self._clock()
        match step.deed:
            case Wait(seconds=seconds):
                await self._sleep(seconds)
            case Roll(nodes=nodes):
                await self._roll(nodes)
            case Do(op="clients", args=args) as deed:
                await self._ask(deed)
                wanted = args["clients"]
                assert isinstance(wanted, int)
                self._clients = wanted
            case Do() as deed:
                await self._ask(deed)

    async def _ask(self, deed: Do) -> None:
        for target in deed.targets:
            node = self._leader() if target == LEADER else target
            action = Action(
                op=deed.op, node=node, args=deed.args, reason=f"scenario {self._script.name}", key=uuid.uuid4().hex
            )
            outcome = await self._engine.perform(action)
            if not outcome.ok:
                raise StepFailedError(f"{deed.op} {name(node)}: {clean(outcome.message)}")

    def _leader(self) -> str:
        found = leader(voices(self._engine.model, self._clock()))
        if found is None:
            raise StepFailedError("no checker leads")
        return found.id

    async def _roll(self, nodes: tuple[str, ...]) -> None:
        seen = see(self._engine.model, self._clock())
        try:
            chosen = nodes or order(seen)
        except WsmonError as error:
            raise StepFailedError(error.message) from None
        over = await roll(
            self._engine, chosen, clock=self._clock, reason=f"scenario {self._script.name}", tell=self._tell
        )
        if not over.ok:
            raise StepFailedError(over.sentence)
        self._tell(over.sentence)

    # Telling.

    def _tell(self, line: str) -> None:
        self._tell_line(f"{self._clock() - self._began:6.1f} s  {line}")

    def _tell_news(self) -> None:
        for row in self._frame().nodes:
            word = f"{row.id} is {row.state}"
            if word not in self._told:
                self._told = {said for said in self._told if not said.startswith(f"{row.id} is ")} | {word}
                self._tell(f"{word}{f': {row.reason}' if row.reason else ''}")


def _grown(before: Audit, after: Audit | None, part: str) -> int | None:
    now = None if after is None else getattr(after, part)
    return None if now is None else max(0, now - (getattr(before, part) or 0))


def _problems(frame: Frame) -> str:
    return "; ".join(frame.header.problems) or "clients are missing"
