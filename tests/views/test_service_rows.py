import pytest

from tests.support.facts import T0, all_beat, entries, gone, leading, running, says, seen, target, well
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import PeerGone, ProcessSample, RedisSeen
from wsmon.model.standing import voices
from wsmon.protocol.frames import JsonObject
from wsmon.views.frame import ServiceRow
from wsmon.views.services import service_rows


def rows(model: ClusterModel, now: float = T0) -> dict[str, ServiceRow]:
    return {row.id: row for row in service_rows(model, voices(model, now))}


def process(model: ClusterModel, name: str, at: float = T0, **fields: object) -> None:
    state = running("n1", "n2", "n3")
    state["processes"][name] |= fields  # type: ignore[index,call-overload,operator,assignment]
    model.apply(says("supervisor", state, at))


def test_redis_comes_first_and_nodes_are_not_services() -> None:
    assert list(rows(well())) == ["redis", "checker", "gateway", "fleet", "supervisor"]


def test_everything_well_is_good_and_tells_the_essential_number() -> None:
    shown = rows(well())
    assert all(row.good for row in shown.values())
    assert {row.id: (row.state, row.detail) for row in shown.values()} == {
        "redis": ("ok", "0.4 ms"),
        "checker": ("leading", "epoch 1"),
        "gateway": ("running", "60 tunnels"),
        "fleet": ("running", "60/60 connected"),
        "supervisor": ("running", ""),
    }


def test_redis_that_is_away_says_for_how_long() -> None:
    model = well()
    model.apply(RedisSeen(state="away", detail="refused", at=T0 + 1))
    process(model, "redis", T0 + 1, status="exited", exit="SIGKILL", restarts=2)
    row = rows(model, T0 + 4)["redis"]
    assert (row.state, row.good, row.detail, row.restarts, row.pid) == ("away", False, "SIGKILL for 3.0 s", 2, None)


def test_redis_without_a_supervisor_is_known_by_its_answers() -> None:
    model = ClusterModel("demo")
    assert rows(model) == {}
    model.apply(RedisSeen(state="ok", at=T0))
    assert (rows(model)["redis"].state, rows(model)["redis"].detail) == ("ok", "")
    other = ClusterModel("demo")
    other.apply(seen("supervisor"))
    other.apply(says("supervisor", running()))
    assert rows(other)["redis"].state == "running"
    assert not rows(other)["redis"].good


def test_a_service_that_is_gone_says_so_with_its_restarts() -> None:
    model = well()
    model.apply(gone("gateway", T0 + 1))
    assert rows(model, T0 + 1)["gateway"].state == "gone"
    process(model, "gateway", T0 + 1, status="exited", exit="code 1", restarts=1)
    row = rows(model, T0 + 1)["gateway"]
    assert (row.state, row.detail, row.restarts, row.good) == ("exited", "code 1", 1, False)
    process(model, "gateway", T0 + 1, status="frozen")
    assert rows(model, T0 + 1)["gateway"].state == "frozen"


def test_a_silent_service_says_for_how_long() -> None:
    model = well()
    all_beat(model, T0 + 8, but=("fleet",))
    row = rows(model, T0 + 8)["fleet"]
    assert (row.state, row.good, row.detail) == ("silent", False, "for 8.0 s")


def test_a_service_that_was_never_reached_is_starting_or_unreachable() -> None:
    model = ClusterModel("demo")
    model.apply(entries("gateway"))
    assert rows(model)["gateway"].state == "starting"
    model.apply(PeerGone(id="gateway", reason="connection refused", at=T0))
    row = rows(model)["gateway"]
    assert (row.state, row.detail) == ("unreachable", "connection refused")
    model.apply(seen("supervisor"))
    process(model, "gateway", status="starting")
    assert rows(model)["gateway"].state == "starting"


@pytest.mark.parametrize(
    ("mode", "good"), [("leading", True), ("standby", True), ("blind", False), ("tilt", False), ("odd", False)]
)
def test_a_checker_is_as_good_as_its_mode(mode: str, good: bool) -> None:
    model = well()
    model.apply(says("checker", leading({"n1": target("online")}) | {"mode": mode}))
    row = rows(model)["checker"]
    assert (row.state, row.good) == (mode, good)


def test_a_peer_that_has_said_nothing_yet_has_no_numbers() -> None:
    model = ClusterModel("demo")
    for name in ("checker", "gateway", "fleet", "supervisor"):
        model.apply(seen(name))
    shown = rows(model)
    assert [shown[name].detail for name in ("checker", "gateway", "fleet")] == ["", "", ""]
    assert shown["checker"].state == "starting"


def test_what_a_service_costs_is_sampled_here_or_told_by_itself() -> None:
    model = well()
    own: JsonObject = {"process": {"cpu": 2.22, "rss": 77}}
    model.apply(says("gateway", own))
    assert (rows(model)["gateway"].cpu, rows(model)["gateway"].rss) == (2.2, 77)
    model.apply(ProcessSample(id="gateway", pid=52, cpu=4, rss=88, at=T0))
    assert (rows(model)["gateway"].cpu, rows(model)["gateway"].rss) == (4.0, 88)
    all_beat(model, T0 + 9)
    assert rows(model, T0 + 9)["gateway"].rss == 77


def test_the_pid_is_the_supervisors_the_samples_or_the_peers() -> None:
    model = ClusterModel("demo")
    model.apply(seen("gateway", pid=7))
    assert rows(model)["gateway"].pid == 7
    model.apply(ProcessSample(id="gateway", pid=8, cpu=0, rss=1, at=T0))
    assert rows(model)["gateway"].pid == 8
    model.apply(seen("supervisor"))
    process(model, "gateway")
    assert rows(model)["gateway"].pid == 52


def test_a_process_of_unknown_kind_is_shown_as_a_server() -> None:
    model = well()
    model.apply(says("supervisor", {"processes": {"odd": {"status": "running"}, "bad": 7, "strange": {"kind": "x"}}}))
    assert [(row.id, row.kind) for row in rows(model).values()][-2:] == [("odd", "server"), ("strange", "x")]
