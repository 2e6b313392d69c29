"""Recordings of real processes: one whose recorder is killed, and one of a cluster that loses a node."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fingerprint import differences, fingerprint
from tests.support.tale import tale
from tests.support.taping import inputs_of
from wsmon.agent.runtime_dir import ensure_private, runtime_dir
from wsmon.commands import Action
from wsmon.embedded import EmbeddedCluster
from wsmon.engine import Engine
from wsmon.engine_thread import EngineThread
from wsmon.model.cluster import ClusterModel
from wsmon.modes.report import report_of
from wsmon.operators.admin import AdminOperator, this_actor
from wsmon.protocol.states import NodeState
from wsmon.recording.files import open_recording
from wsmon.recording.recorder import Recorder
from wsmon.recording.tape import Tape
from wsmon.replaying import Replay
from wsmon.sources.clock import Clock
from wsmon.sources.merge import LiveCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
ROOT = Path(__file__).parent.parent.parent
WRITER = """
import pathlib, sys, time
from tests.support.tale import tale
from wsmon.recording.recorder import Recorder
from wsmon.recording.tape import Tape

recorder = Recorder(Tape("demo"), time.time, path=pathlib.Path(sys.argv[1]))
recorder.start()
for number, item in enumerate(tale(9, seconds=600, failover_every=0.01), 1):
    recorder.take(item)
    if number % 100 == 0:
        print(number, flush=True)
        time.sleep(0.05)
"""
BUDGET_BYTES_PER_S = 100e6 / 86_400
WITHIN_S = 30.0


def test_a_recorder_that_is_killed_leaves_all_but_its_last_second(tmp_path: Path) -> None:
    path = tmp_path / "a.wsr"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as writer:
        try:
            assert writer.stdout is not None
            taken = [(int(line), time.monotonic()) for line, _ in zip(writer.stdout, range(60), strict=False)]
        finally:
            killed_at = time.monotonic()
            writer.kill()
    recording = open_recording(path)
    told = inputs_of(recording)
    items = tale(9, seconds=600, failover_every=0.01)
    assert fingerprint(told) == fingerprint(items[: len(told)])
    assert len(told) >= max(number for number, at in taken if at < killed_at - 1)
    assert "It was cut off at" in recording.damage


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    ensure_private(runtime_dir("recorded"))
    embedded = EmbeddedCluster("recorded", ["--nodes", "3", "--clients", "60", "--rate", "20", "--port", "0"])
    embedded.launch()
    yield embedded
    embedded.stop()


def test_a_failover_is_replayed_as_it_was_seen(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    path, clock = tmp_path / "a.wsr", Clock()
    recorder = Recorder(Tape("recorded", embedded=True), clock, path=path)
    model = ClusterModel("recorded", embedded=True)

    def make() -> Engine:
        source = LiveCluster(cluster.locate, clock, ended=cluster.ended)
        return Engine(source, AdminOperator(source.client, this_actor()), model, clock, recorder=recorder)

    live = EngineThread(make)
    live.start()
    try:
        reaches(live, "n2", NodeState.ONLINE)
        began, began_at = path.stat().st_size, time.monotonic()
        live.mark("now")
        live.perform(Action(op="kill", node="n2", args={"signal": "KILL"}, reason="test", dry_run=False, key="k"))
        reaches(live, "n2", NodeState.REMOVED)
        threading.Event().wait(5)
        spent = (path.stat().st_size - began) / (time.monotonic() - began_at)
        assert live.frame.recording == "rec"
        twin = live.ring()
        assert twin is not None
        twin.close()
        live.keep(tmp_path / "b.wsr")
    finally:
        live.stop()
    recording = open_recording(path)
    replay = Replay(recording)
    replay.to_the_end()
    assert recording.damage == ""
    assert differences(fingerprint(replay.model), fingerprint(model)) == []
    (incident,) = report_of(recording, file="a").incidents
    assert (incident.fault, incident.target, incident.lost) == ("kill", "n2", 0)
    assert [marker.text for marker in replay.model.markers] == ["now"]
    # The storm after a failover is the most expensive time.
    assert spent <= 2 * BUDGET_BYTES_PER_S
    kept = Replay(open_recording(tmp_path / "b.wsr"))
    kept.to_the_end()
    assert [marker.text for marker in kept.model.markers] == ["now"]


def reaches(live: EngineThread, node: str, state: NodeState) -> None:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if any(row.id == node and row.state is state for row in live.frame.nodes):
            return
        time.sleep(0.05)
    raise AssertionError(f"{node} is not {state}: {live.frame.nodes}")
