"""Redis, the channels and the breakers as rows."""

import random

import pytest

from tests.support.facts import T0, all_beat, beats, entries, gone, happened, says, table, verdict, well
from tests.support.frames import HOSTILE
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import RedisSeen
from wsmon.protocol.events import NodeStateChanged
from wsmon.protocol.frames import Json, JsonObject
from wsmon.protocol.states import NodeState
from wsmon.views import channels as view
from wsmon.views.channels import redis_picture
from wsmon.views.channels_frame import BreakerRow, ChannelRow, RedisPicture
from wsmon.views.frame import Severity


def feeding(breakers: JsonObject | None = None, **feeds: tuple[str, int, int]) -> JsonObject:
    told: JsonObject = {
        channel: {"state": state, "seq": seq, "members": members} for channel, (state, seq, members) in feeds.items()
    }
    return {
        "state": "online",
        "channels": len(told),
        "feeds": told,
        "breakers": breakers or {},
        "redis": {"state": "ok", "rtt_ms": 0.26},
        "lease_age_s": 2.0,
    }


def row(picture: RedisPicture, channel: str = "lobby") -> ChannelRow:
    return next(row for row in picture.channels if row.channel == channel)


def three(*states: tuple[str, int, int]) -> ClusterModel:
    """Three nodes that feed one channel and say so at once."""
    model = well()
    for index, state in enumerate(states):
        model.apply(says(f"n{index + 1}", feeding(lobby=state), T0 + 1, rev=2))
    return model


def test_a_channel_that_is_well() -> None:
    one = row(redis_picture(three(("live", 172, 20), ("live", 172, 10), ("idle", 150, 0)), T0 + 2))
    assert (one.state, one.severity, one.top, one.members, one.behind) == ("live", Severity.GOOD, 172, 30, 0)
    assert [(feed.node, feed.state, feed.seq) for feed in one.feeds] == [
        ("n1", "live", 172),
        ("n2", "live", 172),
        ("n3", "idle", 150),
    ]


@pytest.mark.parametrize(
    ("words", "word", "severity"),
    [
        (("live", "gap", "syncing"), "gap", Severity.WARNING),
        (("live", "forked", "stalled"), "forked", Severity.WARNING),
        (("live", "syncing", "live"), "syncing", Severity.INFO),
        (("idle", "idle", "idle"), "idle", Severity.QUIET),
        (("live", "sideways", "live"), "sideways", Severity.INFO),
    ],
)
def test_the_worst_feed_names_the_channels_state(words: tuple[str, ...], word: str, severity: Severity) -> None:
    one = row(redis_picture(three(*((each, 5, 1) for each in words)), T0 + 2))
    assert (one.state, one.severity) == (word, severity)


def test_a_node_that_keeps_saying_an_old_number_is_behind() -> None:
    model = three(("live", 172, 20), ("live", 160, 10), ("live", 172, 1))
    one = row(redis_picture(model, T0 + 2))
    assert (one.behind, [feed.behind for feed in one.feeds]) == (12, [0, 12, 0])


def test_one_that_has_just_not_been_asked_again_is_not_behind() -> None:
    """Nodes tell of themselves one after the other: the first to tell is not behind for that."""
    model = well()
    model.apply(says("n1", feeding(lobby=("live", 160, 20)), T0 + 1, rev=2))
    model.apply(says("n2", feeding(lobby=("live", 172, 20)), T0 + 1.2, rev=2))
    assert row(redis_picture(model, T0 + 1.3)).behind == 0
    model.apply(beats("n1", T0 + 3, rev=2))
    assert row(redis_picture(model, T0 + 3.1)).behind == 12


def test_a_silent_node_says_how_it_was_and_its_members_do_not_count() -> None:
    model = three(("live", 172, 20), ("forked", 160, 10), ("live", 172, 1))
    model.apply(gone("n2", T0 + 2))
    one = row(redis_picture(model, T0 + 4))
    assert (one.state, one.members, one.behind, one.old_s) == ("live", 21, 0, None)
    assert [feed.old_s for feed in one.feeds] == [None, 3.0, None]


def test_a_channel_of_silent_nodes_alone_is_old() -> None:
    model = well()
    model.apply(says("n2", feeding(lobby=("live", 160, 10)), T0 + 1, rev=2))
    model.apply(gone("n2", T0 + 2))
    one = row(redis_picture(model, T0 + 4))
    assert (one.state, one.top, one.members, one.old_s) == ("", 160, None, 3.0)


def test_channels_without_a_row_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = well()
    state = feeding(a=("live", 1, 1), b=("live", 1, 1), c=("gap", 1, 1))
    model.apply(says("n1", {**state, "channels": 100}, T0 + 1, rev=2))
    assert redis_picture(model, T0 + 2).hidden == 97
    monkeypatch.setattr(view, "CHANNELS_MAX", 2)
    picture = redis_picture(model, T0 + 2)
    assert ([one.channel for one in picture.channels], picture.hidden) == (["a", "c"], 98)


def test_an_open_breaker_stands_first_and_counts_down() -> None:
    model = well()
    quiet: JsonObject = {"redis reads": {"state": "closed", "retry_in_s": 0.0}}
    model.apply(says("n1", feeding(quiet), T0 + 1, rev=2))
    backends: JsonObject = {"n2": {"state": "open", "retry_in_s": 5}, "n1": {"state": "half-open"}, "n3": {}}
    model.apply(says("gateway", {"breakers": backends}, T0 + 1, rev=2))
    rows = redis_picture(model, T0 + 3).breakers
    assert [(one.caller, one.target, one.state, one.retry_in_s) for one in rows] == [
        ("gateway", "n2", "open", 3.0),
        ("gateway", "n1", "half open", None),
        ("gateway", "n3", "unknown", None),
        ("n1", "redis reads", "closed", None),
    ]
    assert rows[0].severity is Severity.WARNING


def test_the_breakers_of_a_silent_caller_alarm_nobody() -> None:
    model = well()
    model.apply(says("gateway", {"breakers": {"n2": {"state": "open", "retry_in_s": 5}}}, T0 + 1, rev=2))
    model.apply(gone("gateway", T0 + 2))
    one = redis_picture(model, T0 + 4).breakers[0]
    assert one == BreakerRow(
        key="'gateway' 'n2'", caller="gateway", target="n2", state="open", severity=Severity.QUIET, old_s=3.0
    )


def test_redis_and_what_is_kept_there() -> None:
    model = three(("live", 1, 1))
    picture = redis_picture(model, T0 + 2)
    assert (picture.state, picture.severity, picture.rtt_ms, picture.since_s) == ("ok", Severity.GOOD, 0.4, 2.0)
    assert (picture.leader, picture.epoch, picture.standbys) == ("checker", 1, ())
    assert (picture.registry.number, picture.registry.age_s, picture.registry.old) == (7, 2.0, False)
    assert (picture.verdicts.number, picture.newest_s) == (3, 2.0)
    assert (picture.process, picture.pid, picture.restarts) == ("running", 50, 0)
    assert [(link.node, link.state, link.rtt_ms, link.lease_s) for link in picture.links][:2] == [
        ("n1", "ok", 0.3, 2.0),
        ("n2", "", None, None),
    ]


def test_what_redis_is_and_how_much_it_does() -> None:
    model = well()
    assert (redis_picture(model, T0 + 1).role, redis_picture(model, T0 + 1).ops_s) == ("", None)
    model.apply(RedisSeen(state="ok", role="\x1b[31mprimary", ops_s=212.04, at=T0 + 1))
    picture = redis_picture(model, T0 + 2)
    assert picture.role.isprintable()
    assert "primary" in picture.role
    assert picture.ops_s == 212.0
    model.apply(RedisSeen(state="away", at=T0 + 3))
    assert (redis_picture(model, T0 + 4).role, redis_picture(model, T0 + 4).ops_s) == ("", None)


def test_redis_that_is_away_and_one_that_nobody_asks() -> None:
    model = well()
    model.apply(RedisSeen(state="away", detail="refused", at=T0 + 1))
    picture = redis_picture(model, T0 + 4)
    assert (picture.state, picture.severity, picture.since_s, picture.detail) == ("away", Severity.BAD, 3.0, "refused")
    assert picture.rtt_ms is None
    assert picture.registry.old is False
    assert redis_picture(model, T0 + 6).registry.old
    assert redis_picture(well(), T0 + 11).state == "silent"
    assert redis_picture(ClusterModel("demo"), T0).state == "unknown"


def test_the_last_leader_is_not_shown_as_the_present_one() -> None:
    model = well()
    all_beat(model, T0 + 20, but=("checker",))
    assert redis_picture(model, T0 + 20).leader is None


def test_hostile_fields_harm_nobody() -> None:
    dice = random.Random(3)
    strange: tuple[Json, ...] = (None, True, -1, 1e300, 10**40, "x" * 10_000, HOSTILE, [], {}, [HOSTILE])
    model = well(("n1", HOSTILE, "x" * 10_000))
    broken: JsonObject = {"state": HOSTILE, "rtt_ms": -1}
    for rev in range(2, 80):
        feeds: JsonObject = {
            f"{HOSTILE}{index}": {key: dice.choice(strange) for key in ("state", "seq", "members")}
            for index in range(rev % 5)
        }
        feeds["y" * 10_000] = dice.choice(strange)
        breakers: JsonObject = {HOSTILE: {"state": dice.choice(strange), "retry_in_s": dice.choice(strange)}}
        state: JsonObject = {
            "feeds": dice.choice((feeds, *strange)),
            "breakers": dice.choice((breakers, *strange)),
            "redis": dice.choice((broken, *strange)),
            "channels": dice.choice(strange),
            "lease_age_s": dice.choice(strange),
        }
        model.apply(says(dice.choice(("n1", HOSTILE, "x" * 10_000)), state, T0 + rev / 100, rev=rev))
        picture = redis_picture(model, T0 + 2)
        texts = [one.channel + one.state for one in picture.channels]
        texts += [one.caller + one.target + one.state for one in picture.breakers]
        texts += [link.node + link.state for link in picture.links]
        assert all(text.isprintable() and len(text) < 200 for text in texts)


def test_events_of_others_do_not_matter() -> None:
    model = well()
    before = redis_picture(model, T0 + 1)
    model.apply(happened(NodeStateChanged(node="n1", old="online", new="online"), T0, seq=1, source="checker"))
    model.apply(entries("n1", "n2", "n3", "checker", "gateway", "fleet", "supervisor"))
    model.apply(table(*(verdict(node, NodeState.ONLINE) for node in ("n1", "n2", "n3"))))
    assert redis_picture(model, T0 + 1) == before
