"""Clients as rows, and the life of one of them in sentences."""

import random

import pytest

from tests.support import facts
from tests.support.facts import T0, all_beat, happened, says, well
from tests.support.frames import HOSTILE
from wsmon.model.cluster import ClusterModel
from wsmon.protocol.events import (
    ClientLost,
    EventBody,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
)
from wsmon.protocol.frames import Json, JsonObject
from wsmon.views import sessions as view
from wsmon.views.frame import Severity
from wsmon.views.sessions import sessions_picture
from wsmon.views.sessions_frame import SessionRow, SessionsPicture, Stand

STORY: tuple[tuple[float, EventBody], ...] = (
    (1.0, ClientLost(client="c1", node="n2", code=1006)),
    (1.0, ReconnectScheduled(client="c1", attempt=1, delay_s=0.31, delay_source="spread")),
    (1.31, ReconnectStarted(client="c1", attempt=1)),
    (1.71, ReconnectFailed(client="c1", attempt=1, outcome="503 try later")),
    (1.71, ReconnectScheduled(client="c1", attempt=2, delay_s=0.5, delay_source="backoff")),
    (2.21, ReconnectStarted(client="c1", attempt=2)),
    (2.3, Resumed(client="c1", node="n3", how="log", ms=1_300.0, replayed=3)),
)


def fleet_of(*clients: str, **states: JsonObject) -> JsonObject:
    told: JsonObject = {client: {"state": "connected", "node": "n2"} for client in clients}
    told.update(states)
    return {"clients": len(told), "connected": len(told), "clients_state": told}


def cluster(chapters: int = len(STORY)) -> ClusterModel:
    model = well(clients=2)
    model.apply(says("fleet", fleet_of("c1", "c2"), T0, rev=2))
    for seq, (after, body) in enumerate(STORY[:chapters], 1):
        model.apply(happened(body, T0 + after, seq=seq))
    return model


def row(picture: SessionsPicture, client: str = "c1") -> SessionRow:
    return next(row for row in picture.rows if row.client == client)


def life(model: ClusterModel, now: float, client: str = "c1") -> list[str]:
    told = sessions_picture(model, now, client).life
    assert told is not None
    return [line.text for line in told.lines]


def test_a_client_that_is_back_is_told_whole() -> None:
    one = row(sessions_picture(cluster(), T0 + 4))
    assert (one.state, one.node, one.lost, one.attempt, one.how) == (Stand.CONNECTED, "n3", 1, 2, "log")
    assert (one.way_ms, one.worst_ms, one.replayed, one.since_s) == (1_300.0, 1_300.0, 3, 1.0)
    assert not one.old
    assert not one.at_least


def test_a_client_that_was_always_there_is_there_for_at_least_so_long() -> None:
    one = row(sessions_picture(cluster(), T0 + 4), "c2")
    assert (one.state, one.node, one.lost, one.since_s, one.at_least) == (Stand.CONNECTED, "n2", 0, 4.0, True)
    assert (one.how, one.way_ms, one.worst_ms, one.replayed, one.codec, one.position) == (None,) * 6


def test_how_long_a_client_is_there_counts_from_when_all_were() -> None:
    model = well(clients=2)
    early: JsonObject = {"clients": 2, "connecting": 1, "clients_state": {"c1": {"state": "connecting"}}}
    model.apply(says("fleet", early, T0, rev=2))
    model.apply(says("fleet", {**fleet_of("c1", "c2"), "connecting": 0}, T0 + 3, rev=3))
    model.apply(says("fleet", {**fleet_of("c1", "c2"), "connecting": 0}, T0 + 9, rev=4))
    one = row(sessions_picture(model, T0 + 10))
    assert (one.state, one.since_s, one.at_least) == (Stand.CONNECTED, 7.0, True)


def test_one_that_is_away_says_when_it_tries_again() -> None:
    one = row(sessions_picture(cluster(5), T0 + 1.81))
    assert (one.state, one.node, one.next_in_s, one.attempt) == (Stand.WAITING, "n2", 0.4, 1)
    assert sessions_picture(cluster(5), T0 + 1.81).away == 1


def test_what_the_fleet_says_later_counts_where_no_event_came() -> None:
    model = cluster()
    model.apply(says("fleet", fleet_of("c2", c1={"state": "connected", "node": "n1"}), T0 + 9, rev=3))
    one = row(sessions_picture(model, T0 + 10))
    assert (one.state, one.node, one.since_s) == (Stand.CONNECTED, "n1", None)


def test_codec_and_place_are_shown_if_a_fleet_tells_them() -> None:
    model = well(clients=1)
    entry: JsonObject = {"state": "connected", "node": "n1", "codec": "protobuf", "position": 40, "behind": 2}
    model.apply(says("fleet", fleet_of(c1=entry), T0, rev=2))
    one = row(sessions_picture(model, T0 + 1))
    assert (one.codec, one.position, one.behind) == ("protobuf", 40, 2)


def test_of_a_silent_fleet_all_rows_are_old() -> None:
    model = cluster()
    all_beat(model, T0 + 20, but=("fleet",))
    picture = sessions_picture(model, T0 + 20)
    assert all(one.old for one in picture.rows)
    assert picture.silent_s == 20.0
    assert all(one.next_in_s is None for one in picture.rows)


def test_a_client_that_its_fleet_no_longer_names_has_no_row() -> None:
    model = cluster()
    model.apply(says("fleet", fleet_of("c2"), T0 + 9, rev=3))
    assert [one.client for one in sessions_picture(model, T0 + 10).rows] == ["c2"]


def test_a_large_fleet_names_few_and_the_rest_is_counted() -> None:
    model = cluster()
    model.apply(says("fleet", {"clients": 10_000, "clients_state": {}}, T0 + 9, rev=3))
    picture = sessions_picture(model, T0 + 10)
    assert [one.client for one in picture.rows] == ["c1"]
    assert (picture.total, picture.unlisted) == (10_000, 9_999)


def test_too_many_rows_leave_those_that_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "ROWS_MAX", 3)
    model = well(clients=6)
    model.apply(says("fleet", fleet_of(*(f"c{index}" for index in range(6))), T0, rev=2))
    model.apply(happened(ClientLost(client="c5", node="n1"), T0 + 1, seq=1))
    model.apply(happened(Resumed(client="c4", node="n1"), T0 + 2, seq=2))
    picture = sessions_picture(model, T0 + 3)
    assert [one.client for one in picture.rows] == ["c0", "c4", "c5"]
    assert (picture.hidden, picture.away) == (3, 1)


def test_clients_of_two_fleets_with_one_name_have_keys_of_their_own() -> None:
    model = well(clients=1)
    model.apply(says("fleet", fleet_of("c1"), T0, rev=2))
    facts.KINDS["fleet2"] = facts.KINDS["fleet"]
    try:
        model.apply(facts.seen("fleet2"))
        model.apply(says("fleet2", fleet_of("c1"), T0))
    finally:
        del facts.KINDS["fleet2"]
    picture = sessions_picture(model, T0 + 1, "c1@fleet2")
    assert [one.key for one in picture.rows] == ["c1@fleet", "c1@fleet2"]
    assert picture.life is not None
    assert picture.life.key == "c1@fleet2"


def test_a_life_is_told_in_sentences() -> None:
    assert life(cluster(), T0 + 4) == [
        "connected to n2",
        "lost n2 (1006 connection broken)",
        "waited 0.31 s (spread)",
        "try 1 → 503 try later, 0.40 s",
        "waited 0.50 s (backoff)",
        "back on n3 after 1.30 s with try 2, 3 replayed from the log",
    ]


def test_a_life_goes_on() -> None:
    assert life(cluster(2), T0 + 1.11)[-1] == "waits 0.31 s (spread), 0.2 s left"
    assert life(cluster(2), T0 + 5)[-1] == "waits 0.31 s (spread), and is due"
    assert life(cluster(3), T0 + 1.4)[-1] == "try 1 is under way"


def test_a_loss_says_how_long_it_lasted_before() -> None:
    model = cluster()
    model.apply(happened(ClientLost(client="c1", node="n3", code=4001), T0 + 32.3, seq=8))
    assert life(model, T0 + 40)[-1] == "lost n3 after 30 s (4001 client too slow)"


@pytest.mark.parametrize(
    ("body", "sentence", "severity"),
    [
        (
            Resumed(client="c1", node="n1", how="handover", replayed=2),
            "moved to n1 without a pause, 2 replayed",
            "good",
        ),
        (
            Resumed(client="c1", node="n1", how="resync", ms=40.0),
            "back on n1 after 0.04 s, but had to begin anew: what it missed is gone",
            "warning",
        ),
        (
            Resumed(client="c1", node="n1", how="ring", ms=40.0, replayed=0),
            "back on n1 after 0.04 s, nothing missed",
            "good",
        ),
        (ReconnectFailed(client="c1", outcome="stopped by 4504"), "stopped by 4504: it will not come back", "bad"),
        (ClientLost(client="c1"), "lost its node", "warning"),
        (ClientLost(client="c1", node="n1", code=1000), "lost n1 (1000 closed)", "info"),
    ],
)
def test_each_chapter_has_its_sentence(body: EventBody, sentence: str, severity: str) -> None:
    model = well()
    model.apply(happened(body, T0 + 1, seq=1))
    told = sessions_picture(model, T0 + 2, "c1").life
    assert told is not None
    assert (told.lines[-1].text, told.lines[-1].severity) == (sentence, Severity(severity))


def test_one_to_which_nothing_happened_says_so() -> None:
    assert life(cluster(), T0 + 4, "c2") == ["connected to n2; nothing has happened to it"]
    model = well(clients=1)
    model.apply(says("fleet", fleet_of(c1={"state": "connecting", "delay_s": 0.5}), T0, rev=2))
    assert life(model, T0 + 4) == ["connecting, waits 0.50 s; how it came to that was not heard"]


def test_what_only_the_fleets_state_tells_says_so() -> None:
    model = cluster(1)
    model.apply(says("fleet", fleet_of("c2", c1={"state": "connected", "node": "n1"}), T0 + 5, rev=3))
    assert life(model, T0 + 6)[-1] == "back on n1, says its fleet; how was not heard"


def test_nobody_is_looked_at_and_nobody_is_found() -> None:
    assert sessions_picture(cluster(), T0 + 4).life is None
    assert sessions_picture(cluster(), T0 + 4, "nobody").life is None
    assert sessions_picture(ClusterModel("demo"), T0) == SessionsPicture()


def test_hostile_names_and_fields_harm_nobody() -> None:
    model = well(clients=3)
    dice = random.Random(1)
    strange: tuple[Json, ...] = (
        None,
        True,
        -1,
        1e300,
        "x" * 10_000,
        HOSTILE,
        [],
        {},
        {"state": HOSTILE, "node": HOSTILE},
    )
    clients: JsonObject = {
        f"{HOSTILE}{index}": {key: dice.choice(strange) for key in ("state", "node", "next_at", "attempt", "codec")}
        for index in range(200)
    }
    clients[HOSTILE] = 7
    model.apply(says("fleet", {"clients": -4, "clients_state": clients}, T0, rev=2))
    for seq in range(1, 40):
        body = ClientLost(client=f"{HOSTILE}{seq % 7}", node=HOSTILE * 50, code=10**40)
        model.apply(happened(body, T0 + seq / 10, seq=seq))
    picture = sessions_picture(model, T0 + 5, ascii(f"{HOSTILE}1"))
    assert picture.life is not None
    texts = [one.client + (one.node or "") + (one.how or "") + (one.codec or "") for one in picture.rows]
    texts += [line.text for line in picture.life.lines]
    assert len({one.key for one in picture.rows}) == len(picture.rows)
    assert all(text.isprintable() and len(text) < 400 for text in texts)
