"""The supervisor's table of processes."""

import math
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.processes import (
    DROP_EVERY_S,
    STOPPED_FOR_S,
    DropSubscribers,
    Processes,
    SendSignal,
    Spawn,
    Status,
    signal_name,
)
from wsmon.errors import OperationRefusedError
from wsmon.protocol.events import FaultEnded, FaultStarted, ProcessExited

STOP_WITHIN_S = 27.0


def make(*running: str, kinds: dict[str, str] | None = None) -> Processes:
    """Return a table in which `running` run, the first with pid 101."""
    table = Processes(stop_within_s=STOP_WITHIN_S)
    for number, name in enumerate(running):
        table.add(name, (kinds or {}).get(name, "node" if name.startswith("n") else name))
        table.start(name)
        table.spawned(name, 101 + number, now=0.0, at=1_000.0)
        table.running(101 + number)
    table.take()
    return table


def refusal(table: Processes, op: str, *args: object, **named: object) -> str:
    with pytest.raises(OperationRefusedError) as caught:
        getattr(table, op)(*args, **named)
    return caught.value.code


def test_a_process_is_starting_until_it_answers_and_shows_what_is_known() -> None:
    table = Processes(stop_within_s=1)
    table.add("n1", "node")
    assert table.state() == {"n1": {"kind": "node", "status": "starting", "restarts": 0}}
    assert table.start("n1") == {"id": "n1", "status": "starting"}
    assert table.take() == (Spawn("n1"),)
    table.spawned("n1", 7, now=5.0, at=99.0)
    assert table.status("n1") is Status.STARTING
    table.running(7)
    assert table.state() == {
        "n1": {"kind": "node", "status": "running", "restarts": 0, "pid": 7, "started_at": 99.0},
    }
    assert table.pids() == (("n1", 7),)


def test_ensure_starts_only_what_does_not_live() -> None:
    table = make("n1")
    table.ensure("n1")
    assert table.take() == ()
    table.add("n2", "node")
    table.ensure("n2")
    table.ensure("n2")
    assert table.take() == (Spawn("n2"),)


def test_what_is_said_of_an_unknown_pid_changes_nothing() -> None:
    table = make("n1")
    before = table.state()
    table.running(5)
    table.seen(5, stopped=True)
    assert table.state() == before


def test_a_killed_node_stays_down_and_its_end_is_told() -> None:
    table = make("n1")
    table.exited("n1", number=9, code=None, now=3.0)
    assert table.take() == (ProcessExited(id="n1", signal=9),)
    assert table.state() == {"n1": {"kind": "node", "status": "exited", "restarts": 0, "exit": "SIGKILL"}}
    assert table.deadline == math.inf


def test_a_node_that_ends_before_it_runs_has_failed() -> None:
    table = Processes(stop_within_s=1)
    table.add("n1", "node")
    table.start("n1")
    table.exited("n1", number=None, code=1, now=0.0)
    assert table.state() == {"n1": {"kind": "node", "status": "failed", "restarts": 0, "exit": "code 1"}}


def test_everything_else_is_started_again_at_once_and_then_ever_later() -> None:
    table = make("gateway")
    delays = []
    now = 1.0
    for _ in range(4):
        table.exited("gateway", number=9, code=None, now=now)
        delays.append(table.deadline - now)
        now = table.deadline
        table.take()
        table.tick(now)
        assert table.take() == (Spawn("gateway"),)
        table.spawned("gateway", 200, now=now, at=0.0)
    assert delays == [0.0, 0.5, 1.0, 2.0]
    assert table.state()["gateway"] == {
        "kind": "gateway",
        "status": "starting",
        "restarts": 4,
        "pid": 200,
        "started_at": 0.0,
    }


def test_an_exit_told_twice_counts_once() -> None:
    table = make("gateway")
    table.exited("gateway", number=9, code=None, now=1.0)
    due = table.deadline
    table.take()
    table.exited("gateway", number=9, code=None, now=2.0)
    assert table.take() == ()
    assert table.deadline == due


def test_start_is_for_processes_that_do_not_run() -> None:
    table = make("n1")
    assert refusal(table, "start", "n1") == "already_running"
    table.seen(101, stopped=True)
    with pytest.raises(OperationRefusedError, match="thaw"):
        table.start("n1")
    table.exited("n1", number=9, code=None, now=1.0)
    table.take()
    table.start("n1", dry_run=True)
    assert table.take() == ()
    table.start("n1")
    assert table.take() == (Spawn("n1"),)
    assert table.state()["n1"] == {"kind": "node", "status": "starting", "restarts": 1}


def test_an_unknown_process_is_refused_with_those_that_exist() -> None:
    table = make("n1", "gateway")
    with pytest.raises(OperationRefusedError, match=r"no process 'n9'; there are: n1, gateway") as caught:
        table.kill("n9", "KILL", now=1.0)
    assert caught.value.code == "unknown_process"


def test_stop_asks_first_and_kills_when_the_deadline_passes() -> None:
    table = make("n1")
    effect = table.stop("n1", now=10.0)
    assert effect == {"id": "n1", "pid": 101, "status": "stopping", "killed_after_s": STOP_WITHIN_S}
    assert table.take() == (SendSignal(101, signal.SIGTERM),)
    assert table.status("n1") is Status.STOPPING
    table.tick(10.0 + STOP_WITHIN_S - 0.1)
    assert table.take() == ()
    table.tick(table.deadline)
    assert table.take() == (SendSignal(101, signal.SIGKILL),)
    table.exited("n1", number=9, code=None, now=38.0)
    assert table.deadline == math.inf
    assert table.status("n1") is Status.EXITED


def test_a_process_that_was_stopped_stays_down_whatever_it_is() -> None:
    table = make("gateway")
    table.stop("gateway", now=0.0)
    table.exited("gateway", number=None, code=0, now=1.0)
    assert table.deadline == math.inf
    assert table.state()["gateway"] == {"kind": "gateway", "status": "exited", "restarts": 0, "exit": "code 0"}
    assert refusal(table, "stop", "gateway", now=1.0) == "not_running"


def test_stop_calls_off_the_next_attempt_of_a_process_that_is_down() -> None:
    table = make("gateway")
    table.exited("gateway", number=None, code=1, now=1.0)
    assert table.stop("gateway", now=1.0, dry_run=True) == {"id": "gateway", "status": "exited"}
    assert table.deadline == 1.0
    table.stop("gateway", now=1.0)
    assert table.deadline == math.inf


def test_a_frozen_process_that_is_stopped_goes_on_so_that_it_can_end() -> None:
    table = make("n1")
    table.freeze("n1", 60, now=0.0)
    table.take()
    table.stop("n1", now=1.0)
    assert table.take() == (
        SendSignal(101, signal.SIGTERM),
        SendSignal(101, signal.SIGCONT),
        FaultEnded(fault="freeze", target="n1"),
    )


def test_restart_starts_a_node_again_as_soon_as_it_is_gone() -> None:
    table = make("n1")
    assert table.restart("n1", now=0.0, dry_run=True)["status"] == "stopping"
    assert table.take() == ()
    table.restart("n1", now=0.0)
    assert table.take() == (SendSignal(101, signal.SIGTERM),)
    table.exited("n1", number=None, code=0, now=2.0)
    assert table.deadline == 2.0
    table.take()
    table.tick(2.0)
    assert table.take() == (Spawn("n1"),)


def test_restart_of_a_process_that_is_down_starts_it() -> None:
    table = make("n1")
    table.exited("n1", number=9, code=None, now=0.0)
    table.take()
    table.restart("n1", now=1.0)
    assert table.take() == (Spawn("n1"),)


def test_stop_after_restart_wins() -> None:
    table = make("n1")
    table.restart("n1", now=0.0)
    table.stop("n1", now=1.0)
    table.exited("n1", number=None, code=0, now=2.0)
    assert table.deadline == math.inf


def test_kill_sends_the_signal_and_nothing_else() -> None:
    table = make("gateway")
    assert table.kill("gateway", "KILL", dry_run=True, now=1.0) == {"id": "gateway", "pid": 101, "signal": "SIGKILL"}
    assert table.take() == ()
    table.kill("gateway", "HUP", now=1.0)
    assert table.take() == (SendSignal(101, signal.SIGHUP),)
    assert refusal(table, "kill", "gateway", "SEGV", now=1.0) == "unknown_signal"
    table.exited("gateway", number=1, code=None, now=0.0)
    assert table.deadline == 0.0  # It is wanted: the policy brings it back.
    assert refusal(table, "kill", "gateway", "KILL", now=1.0) == "not_running"


def test_stop_and_cont_show_at_once_and_so_does_what_is_seen_from_outside() -> None:
    table = make("n1")
    table.kill("n1", "STOP", now=1.0)
    assert table.status("n1") is Status.FROZEN
    table.kill("n1", "CONT", now=1.0)
    assert table.status("n1") is Status.RUNNING
    table.seen(101, stopped=True)
    assert table.status("n1") is Status.FROZEN
    table.seen(101, stopped=False)
    assert table.status("n1") is Status.RUNNING


def test_a_freeze_ends_by_itself() -> None:
    table = make("n1")
    table.freeze("n1", 5, now=10.0, dry_run=True)
    assert table.take() == ()
    table.freeze("n1", 5, now=10.0)
    assert table.take() == (
        SendSignal(101, signal.SIGSTOP),
        FaultStarted(fault="freeze", target="n1", ttl_s=5),
    )
    assert table.deadline == 15.0
    table.tick(15.0)
    assert table.take() == (SendSignal(101, signal.SIGCONT), FaultEnded(fault="freeze", target="n1"))
    assert table.status("n1") is Status.RUNNING
    assert table.deadline == math.inf


def test_thaw_ends_a_freeze_early_and_a_second_freeze_replaces_the_first() -> None:
    table = make("n1")
    table.freeze("n1", 5, now=0.0)
    table.freeze("n1", 5, now=3.0)
    assert table.deadline == 8.0
    table.take()
    table.thaw("n1", now=4.0)
    assert table.take() == (SendSignal(101, signal.SIGCONT), FaultEnded(fault="freeze", target="n1"))
    assert table.deadline == math.inf


@pytest.mark.parametrize("ttl_s", [0, -1, 3_601])
def test_a_freeze_needs_a_bounded_time(ttl_s: float) -> None:
    assert refusal(make("n1"), "freeze", "n1", ttl_s, now=0.0) == "bad_argument"


def test_a_frozen_process_that_is_killed_ends_its_fault() -> None:
    table = make("n1")
    table.freeze("n1", 5, now=0.0)
    table.take()
    table.exited("n1", number=9, code=None, now=1.0)
    assert table.take() == (FaultEnded(fault="freeze", target="n1"), ProcessExited(id="n1", signal=9))
    assert table.deadline == math.inf


def test_scale_adds_the_lowest_free_nodes_and_stops_the_highest() -> None:
    table = make("n1", "n2", "n3", "gateway")
    assert table.scale(5, now=0.0, dry_run=True) == {"nodes": 5, "started": ["n4", "n5"], "stopped": []}
    assert "n4" not in table.state()
    table.scale(5, now=0.0)
    assert table.take() == (Spawn("n4"), Spawn("n5"))
    table.spawned("n4", 201, now=0.0, at=0.0)
    table.spawned("n5", 202, now=0.0, at=0.0)
    assert table.scale(2, now=1.0) == {"nodes": 2, "started": [], "stopped": ["n3", "n4", "n5"]}
    assert table.take() == tuple(SendSignal(pid, signal.SIGTERM) for pid in (103, 201, 202))
    table.exited("n3", number=None, code=0, now=2.0)
    table.take()
    # n4 and n5 still wind up: they are neither counted nor started.
    assert table.scale(3, now=2.0) == {"nodes": 3, "started": ["n3"], "stopped": []}


@pytest.mark.parametrize("nodes", [0, 33])
def test_scale_has_limits(nodes: int) -> None:
    assert refusal(make("n1"), "scale", nodes, now=0.0) == "bad_argument"


def test_kinds_are_told_of_all_processes() -> None:
    table = make("redis", "n1")
    table.exited("n1", number=9, code=None, now=0.0)
    assert table.kinds() == (("redis", "redis"), ("n1", "node"))


def test_when_the_spawner_dies_everything_that_was_wanted_comes_back() -> None:
    table = make("redis", "n1", "n2", "n3")
    table.stop("n2", now=0.0)
    table.exited("n3", number=9, code=None, now=0.0)
    table.take()
    table.all_lost(now=5.0)
    assert table.take() == (
        ProcessExited(id="redis", signal=9),
        ProcessExited(id="n1", signal=9),
        ProcessExited(id="n2", signal=9),
        Spawn("redis"),
        Spawn("n1"),
    )


def test_names_outside_the_scheme_can_be_nodes_too() -> None:
    table = make("edge", kinds={"edge": "node"})
    assert table.scale(2, now=0.0)["started"] == ["n1"]


def test_signals_without_a_name_are_shown_by_number() -> None:
    assert (signal_name(15), signal_name(250)) == ("SIGTERM", "signal 250")


# Faults


def test_a_kill_is_a_fault_until_the_process_runs_again() -> None:
    table = make("n1")
    table.kill("n1", "KILL", now=1.0)
    assert table.take() == (SendSignal(101, signal.SIGKILL), FaultStarted(fault="kill", target="n1"))
    table.exited("n1", number=9, code=None, now=1.1)
    assert table.take() == (ProcessExited(id="n1", signal=9),)
    assert table.deadline == math.inf
    table.start("n1")
    table.spawned("n1", 102, now=5.0, at=0.0)
    table.take()
    table.running(102)
    assert table.take() == (FaultEnded(fault="kill", target="n1"),)


def test_a_signal_that_asks_is_no_fault() -> None:
    table = make("n1")
    table.kill("n1", "TERM", now=1.0)
    assert table.take() == (SendSignal(101, signal.SIGTERM),)


def test_a_process_that_was_sent_stop_goes_on_after_an_hour_at_the_latest() -> None:
    table = make("n1")
    table.kill("n1", "STOP", now=10.0)
    assert table.take() == (
        SendSignal(101, signal.SIGSTOP),
        FaultStarted(fault="freeze", target="n1", ttl_s=STOPPED_FOR_S),
    )
    assert table.deadline == 10.0 + STOPPED_FOR_S
    table.kill("n1", "CONT", now=11.0)
    assert table.take() == (SendSignal(101, signal.SIGCONT), FaultEnded(fault="freeze", target="n1"))


@pytest.mark.parametrize("name", ["n1", "gateway"])
def test_what_is_killed_for_a_while_stays_down_so_long_and_then_comes_back(name: str) -> None:
    table = make(name)
    assert table.fault(name, "kill", 8, now=10.0, dry_run=True) == {
        "id": name,
        "pid": 101,
        "fault": "kill",
        "ttl_s": 8,
    }
    assert table.take() == ()
    table.fault(name, "kill", 8, now=10.0)
    assert table.take() == (SendSignal(101, signal.SIGKILL), FaultStarted(fault="kill", target=name, ttl_s=8))
    table.exited(name, number=9, code=None, now=10.1)
    assert table.deadline == 18.0
    table.take()
    table.tick(17.9)
    assert table.take() == ()
    table.tick(18.0)
    assert table.take() == (Spawn(name),)
    table.spawned(name, 102, now=18.0, at=0.0)
    table.running(102)
    assert table.take() == (FaultEnded(fault="kill", target=name),)


def test_who_is_stopped_on_purpose_does_not_come_back_when_the_kill_is_over() -> None:
    table = make("n1")
    table.fault("n1", "kill", 8, now=0.0)
    table.exited("n1", number=9, code=None, now=0.1)
    table.take()
    table.stop("n1", now=1.0)
    assert table.take() == (FaultEnded(fault="kill", target="n1"),)
    assert table.deadline == math.inf


def test_healing_starts_who_was_killed_and_thaws_who_was_frozen() -> None:
    table = make("n1", "n2", "n3")
    table.fault("n1", "kill", 60, now=0.0)
    table.exited("n1", number=9, code=None, now=0.1)
    table.fault("n2", "freeze", 60, now=0.0)
    table.take()
    assert table.heal(now=1.0, dry_run=True) == ("n1", "n2")
    assert table.take() == ()
    assert table.heal(now=1.0) == ("n1", "n2")
    assert table.take() == (
        Spawn("n1"),
        SendSignal(102, signal.SIGCONT),
        FaultEnded(fault="freeze", target="n2"),
    )
    assert table.deadline == math.inf
    assert table.heal("n3", now=1.0) == ()


def test_healing_a_process_that_still_dies_starts_it_when_it_is_gone() -> None:
    table = make("n1")
    table.kill("n1", "KILL", now=0.0)
    table.heal("n1", now=0.1)
    table.exited("n1", number=9, code=None, now=0.2)
    assert table.deadline == 0.2
    table.take()
    table.tick(0.2)
    assert table.take() == (Spawn("n1"),)


def test_redis_can_be_stalled() -> None:
    table = make("redis", "n1")
    table.fault("redis", "stall", 2, now=0.0)
    assert table.take() == (
        SendSignal(101, signal.SIGSTOP),
        FaultStarted(fault="stall", target="redis", ttl_s=2),
    )
    assert table.status("redis") is Status.FROZEN
    table.fault("redis", "freeze", 5, now=1.0)  # The same by another name: it gives way.
    assert table.take() == (
        FaultEnded(fault="stall", target="redis"),
        SendSignal(101, signal.SIGSTOP),
        FaultStarted(fault="freeze", target="redis", ttl_s=5),
    )
    table.tick(6.0)
    assert table.take() == (SendSignal(101, signal.SIGCONT), FaultEnded(fault="freeze", target="redis"))


def test_redis_can_be_restarted_and_is_killed_if_it_takes_too_long() -> None:
    table = make("redis")
    table.fault("redis", "restart", 3, now=0.0)
    assert table.take() == (
        SendSignal(101, signal.SIGTERM),
        FaultStarted(fault="restart", target="redis", ttl_s=3),
    )
    table.tick(3.0)
    assert table.take() == (SendSignal(101, signal.SIGKILL),)
    table.exited("redis", number=9, code=None, now=3.1)
    table.tick(3.1)
    table.spawned("redis", 102, now=3.2, at=0.0)
    table.take()
    table.running(102)
    assert table.take() == (FaultEnded(fault="restart", target="redis"),)


def test_subscribers_are_dropped_again_and_again_until_the_fault_is_over() -> None:
    table = make("redis")
    table.fault("redis", "drop_pubsub", 0.5, now=0.0)
    assert table.take() == (FaultStarted(fault="drop_pubsub", target="redis", ttl_s=0.5), DropSubscribers())
    dropped_at = []
    while table.deadline < math.inf:
        now = table.deadline
        table.tick(now)
        for deed in table.take():
            assert deed in (DropSubscribers(), FaultEnded(fault="drop_pubsub", target="redis"))
            dropped_at += [now] if isinstance(deed, DropSubscribers) else []
    assert dropped_at == [DROP_EVERY_S, 2 * DROP_EVERY_S]
    table.fault("redis", "drop_pubsub", 9, now=1.0)
    table.take()
    assert table.heal("redis", now=1.1) == ("redis",)
    assert table.take() == (FaultEnded(fault="drop_pubsub", target="redis"),)
    assert table.deadline == math.inf


@pytest.mark.parametrize("word", ["explode", "stall", "restart", "drop_pubsub", "latency"])
def test_a_fault_that_a_process_cannot_have_is_refused_with_those_that_it_can(word: str) -> None:
    table = make("n1")
    with pytest.raises(OperationRefusedError, match=r"allowed: kill, freeze$") as caught:
        table.fault("n1", word, 1, now=0.0)
    assert caught.value.code == "unknown_fault"
    assert table.take() == ()


def test_faults_need_a_process_that_runs_and_a_bounded_time() -> None:
    table = make("n1")
    assert refusal(table, "fault", "n9", "kill", 1, now=0.0) == "unknown_process"
    assert refusal(table, "fault", "n1", "kill", -1, now=0.0) == "bad_argument"
    assert refusal(table, "fault", "n1", "kill", 3_601, now=0.0) == "bad_argument"
    table.exited("n1", number=9, code=None, now=0.0)
    assert refusal(table, "fault", "n1", "kill", 1, now=0.0) == "not_running"


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *("start", "stop", "restart", "kill", "freeze", "thaw", "exited", "tick", "lost", "scale"),
                    *("break", "stall", "drop", "heal", "running"),
                ]
            ),
            st.sampled_from(["n1", "n2", "gateway", "redis"]),
            st.floats(min_value=0, max_value=40),
        ),
        max_size=40,
    )
)
def test_signals_go_only_to_living_pids_and_no_process_lives_twice(steps: list[tuple[str, str, float]]) -> None:
    table = make("n1", "n2", "gateway", "redis")
    alive = {"n1": 101, "n2": 102, "gateway": 103, "redis": 104}
    now, pid = 0.0, 1_000
    in_force: set[tuple[str, str]] = set()
    for op, name, wait_s in steps:
        now += wait_s
        living = set(alive.values())
        try:
            match op:
                case "exited":
                    alive.pop(name, None)
                    table.exited(name, number=9, code=None, now=now)
                case "tick":
                    table.tick(now)
                case "lost":
                    alive.clear()
                    table.all_lost(now=now)
                case "kill":
                    table.kill(name, "KILL", now=now)
                case "break" | "stall" | "drop":
                    word = {"break": "kill", "stall": "stall", "drop": "drop_pubsub"}[op]
                    table.fault(name, word, 7, now=now)
                case "running" if name in alive:
                    table.running(alive[name])
                case "running":
                    pass
                case "freeze":
                    table.freeze(name, 5, now=now)
                case "scale":
                    table.scale(2, now=now)
                case "start":
                    table.start(name)
                case _:
                    getattr(table, op)(name, now=now)
        except OperationRefusedError:
            assert table.take() == ()
        for deed in table.take():
            match deed:
                case Spawn(spawned):
                    assert spawned not in alive
                    pid += 1
                    alive[spawned] = pid
                    table.spawned(spawned, pid, now=now, at=now)
                case SendSignal(target, _):
                    assert target in living
                case FaultStarted(fault=fault, target=named):
                    assert (fault, named) not in in_force
                    in_force.add((fault, named))
                case FaultEnded(fault=fault, target=named):
                    in_force.remove((fault, named))
                case _:
                    pass
        assert dict(table.pids()) == alive
        timed = {fault for fault in in_force if fault[0] in ("freeze", "stall", "drop_pubsub")}
        assert not timed or table.deadline < math.inf
