"""The engine: inputs in, frames out at a bounded rate, failures shown."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.support.frames import healthy, removed
from wsmon.commands import Action, Outcome
from wsmon.engine import BEAT_AFTER_S, FRAMES_PER_S, Engine
from wsmon.engine_thread import EngineThread
from wsmon.errors import UnreachableError
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import ClusterEnded, Input, PeerGone, RedisSeen, VerdictsSeen
from wsmon.operators.refuse import RefusingOperator
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import NodeState
from wsmon.views.frame import Frame, Looking, PageName


def clock() -> float:
    return 1_000.0 + asyncio.get_running_loop().time()


class Told:
    """A source that tells what a test puts into it."""

    def __init__(self) -> None:
        self.emit: Callable[[Input], None] = lambda _: None

    async def run(self, emit: Callable[[Input], None]) -> None:
        self.emit = emit
        await asyncio.get_running_loop().create_future()


class Broken:
    """A source that fails after a second."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run(self, emit: Callable[[Input], None]) -> None:
        await asyncio.sleep(1)
        raise self._error


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_gauges_wait_for_the_beat_and_news_do_not() -> None:
    source, frames = Told(), list[Frame]()
    engine = Engine(source, RefusingOperator("test"), ClusterModel("c"), clock, on_frame=frames.append)
    task = asyncio.ensure_future(engine.run())
    await asyncio.sleep(10.15)
    before = len(frames)
    source.emit(RedisSeen(state="ok", rtt_ms=1.0, at=clock()))
    await asyncio.sleep(0.2)
    assert len(frames) == before
    source.emit(PeerGone(id="n1", reason="gone", at=clock()))
    await asyncio.sleep(0.01)
    assert len(frames) == before + 1
    await stop(task)


async def test_a_table_of_verdicts_is_news_only_if_it_says_something_else() -> None:
    source, frames = Told(), list[Frame]()
    engine = Engine(source, RefusingOperator("test"), ClusterModel("c"), clock, on_frame=frames.append)
    task = asyncio.ensure_future(engine.run())
    await asyncio.sleep(10 + BEAT_AFTER_S + 0.15)  # Between two beats, and rested from the first.
    counts = []
    for state in (NodeState.ONLINE, NodeState.ONLINE, NodeState.REMOVED, NodeState.REMOVED):
        before = len(frames)
        verdict = Verdict(node="n1", state=state, reason="", epoch=1, version=1, at=1_000.0)
        source.emit(VerdictsSeen(verdicts=(verdict,), at=clock()))
        await asyncio.sleep(0.01)
        counts.append(len(frames) - before)
        await asyncio.sleep(0.99)
    assert counts == [1, 0, 1, 0]
    await stop(task)


async def test_a_burst_of_news_costs_no_more_than_the_bounded_rate() -> None:
    source, frames = Told(), list[Frame]()
    engine = Engine(source, RefusingOperator("test"), ClusterModel("c"), clock, on_frame=frames.append)
    task = asyncio.ensure_future(engine.run())
    await asyncio.sleep(0)
    for _ in range(1_000):
        await asyncio.sleep(0.002)
        source.emit(PeerGone(id="n1", reason="gone", at=clock()))
    assert len(frames) <= 2 * FRAMES_PER_S + 2
    await stop(task)


async def test_with_nothing_new_frames_come_on_the_beat_because_ages_grow() -> None:
    frames = list[Frame]()
    engine = Engine(Told(), RefusingOperator("test"), ClusterModel("c"), clock, on_frame=frames.append)
    task = asyncio.ensure_future(engine.run())
    await asyncio.sleep(10)
    assert 20 <= len(frames) <= 22
    await stop(task)


async def test_the_beat_is_slower_in_calm_and_whoever_listens_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"frame": healthy()}
    monkeypatch.setattr("wsmon.engine.build_frame", lambda *_: shown["frame"])
    frames, calm = list[Frame](), list[bool]()
    engine = Engine(
        Told(), RefusingOperator("test"), ClusterModel("c"), clock, on_frame=frames.append, on_calm=calm.append
    )
    task = asyncio.ensure_future(engine.run())
    await asyncio.sleep(10)
    assert 10 <= len(frames) <= 12
    assert calm == [True]
    shown["frame"] = removed()
    await asyncio.sleep(1.1)
    before = len(frames)
    await asyncio.sleep(10)
    assert 19 <= len(frames) - before <= 21
    assert calm == [True, False]
    await stop(task)


async def test_a_source_that_fails_ends_in_the_picture() -> None:
    engine = Engine(Broken(UnreachableError("nobody there")), RefusingOperator("test"), ClusterModel("c"), clock)
    await engine.run()
    assert engine.frame.ended == "nobody there"


async def test_our_own_mistake_ends_in_the_picture_too() -> None:
    engine = Engine(Broken(KeyError("x")), RefusingOperator("test"), ClusterModel("c"), clock)
    await engine.run()
    assert "KeyError" in engine.frame.ended


async def test_an_action_is_told_before_and_after() -> None:
    source = Told()

    class Slow:
        async def perform(self, action: Action) -> Outcome:
            await asyncio.sleep(2)
            return Outcome(ok=False, code="no", message="not today", effect={})

    engine = Engine(source, Slow(), ClusterModel("c"), clock)
    task = asyncio.ensure_future(engine.run())
    asked = asyncio.ensure_future(engine.perform(Action(op="kill", node="n1", args={"signal": "KILL"}, key="k")))
    await asyncio.sleep(1)
    (row,) = engine.frame.actions
    assert (row.text, row.done) == ("kill n1 with KILL", False)
    await asyncio.sleep(2)
    (row,) = engine.frame.actions
    assert (row.done, row.ok, row.message) == (True, False, "not today")
    assert not (await asked).ok
    await stop(task)


async def test_the_end_of_the_cluster_is_in_the_next_frame() -> None:
    source = Told()
    engine = Engine(source, RefusingOperator("test"), ClusterModel("c"), clock)
    task = asyncio.ensure_future(engine.run())
    await asyncio.sleep(0.5)
    source.emit(ClusterEnded(reason="gone", at=clock()))
    await asyncio.sleep(0.2)
    assert engine.frame.ended == "gone"
    await stop(task)


class Willing:
    """An operator that does everything, or fails by its own mistake."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[Action] = []
        self._error = error

    async def perform(self, action: Action) -> Outcome:
        self.asked.append(action)
        if self._error is not None:
            raise self._error
        return Outcome(ok=True, code="", message="done", effect={})


DRAIN = Action(op="drain", node="n1", args={}, key="k")


async def test_what_was_refused_stays_refused_when_something_is_done_later() -> None:
    operator, model = Willing(), ClusterModel("c")
    engine = Engine(Told(), operator, model, clock, armed=False)
    assert not (await engine.perform(DRAIN)).ok
    assert operator.asked == []
    engine.armed = True
    assert (await engine.perform(DRAIN)).ok
    assert operator.asked == [DRAIN]
    assert [asked.answer is not None and asked.answer.ok for asked in model.actions] == [False, True]
    assert len({asked.key for asked in model.actions}) == 2


async def test_an_action_that_fails_by_our_mistake_is_answered() -> None:
    model = ClusterModel("c")
    outcome = await Engine(Told(), Willing(KeyError("x")), model, clock).perform(DRAIN)
    assert (outcome.ok, outcome.message) == (False, "wsmon failed: KeyError('x')")
    (asked,) = model.actions
    assert asked.answer is not None


async def test_a_picture_that_cannot_be_built_is_told_and_later_ones_come(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Told(), RefusingOperator("test"), ClusterModel("c"), clock)
    task = asyncio.ensure_future(engine.run())
    await asyncio.sleep(1)

    def broken(*_: object) -> Frame:
        raise KeyError("x")

    with monkeypatch.context() as patch:
        patch.setattr("wsmon.engine.build_frame", broken)
        await asyncio.sleep(2)
        assert engine.frame.ended == "wsmon cannot draw what it knows: KeyError('x')"
    await asyncio.sleep(2)
    assert engine.frame.ended == ""
    assert not task.done()
    await stop(task)


def test_what_is_said_before_there_is_an_engine_holds_for_it_and_a_failing_companion_is_told() -> None:
    said, told = threading.Event(), threading.Event()
    made: list[Engine] = []

    def look(frame: Frame) -> None:
        if frame.caption:
            told.set()

    def make() -> Engine:
        assert said.wait(10)
        made.append(Engine(Told(), Willing(), ClusterModel("c"), lambda: 1_000.0, on_frame=look))
        return made[0]

    async def companion(_: Engine) -> None:
        raise KeyError("x")

    thread = EngineThread(make, companion=companion)
    thread.start()
    thread.arm(on=False)
    thread.look_at(Looking(page=PageName.REDIS))
    said.set()
    assert told.wait(10)
    assert thread.frame.caption == "wsmon failed here: KeyError('x')"
    assert made[0].armed is False
    assert made[0]._looking == Looking(page=PageName.REDIS)
    thread.stop()
