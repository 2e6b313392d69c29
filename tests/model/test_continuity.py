import pytest

from wsmon.model.continuity import CHANNELS_NAMED, WORDS_MAX, FeedsOff, feeds_off, resumes
from wsmon.protocol.frames import Json, JsonObject


def feeds(**states: Json) -> JsonObject:
    return {"feeds": {channel: {"state": state, "seq": 4, "members": 2} for channel, state in states.items()}}


def test_feeds_that_are_live_or_idle_are_no_news() -> None:
    assert feeds_off(feeds(a="live", b="idle")) == ()
    assert feeds_off({}) == ()


def test_the_worst_state_comes_first_and_states_nobody_knows_last() -> None:
    told = feeds(a="odd", b="syncing", c="forked", d="stalled", e="stalled")
    assert feeds_off(told) == (
        FeedsOff("forked", ("c",), 1),
        FeedsOff("stalled", ("d", "e"), 2),
        FeedsOff("syncing", ("b",), 1),
        FeedsOff("odd", ("a",), 1),
    )


def test_a_thousand_feeds_are_counted_and_a_few_are_named() -> None:
    (off,) = feeds_off(feeds(**{f"r{index}": "gap" for index in range(1_000)}))
    assert (off.number, len(off.channels)) == (1_000, CHANNELS_NAMED)


def test_a_node_that_invents_states_has_only_a_few_of_them_kept() -> None:
    assert len(feeds_off(feeds(**{f"r{index}": f"word {index}" for index in range(1_000)}))) == WORDS_MAX


@pytest.mark.parametrize("odd", [7, "live", [], {"a": 7}, {"a": {}}, {"a": {"state": 7}}, {"a": None}])
def test_feeds_of_another_shape_are_nothing(odd: Json) -> None:
    assert feeds_off({"feeds": odd}) == ()


def test_resumes_are_read_as_far_as_they_make_sense() -> None:
    assert resumes({"resumes": {"ring": 4, "log": 0, "resync": -1, "stale": "x", "odd": 3}}) == {"ring": 4, "log": 0}
    assert resumes({"resumes": {"ring": 10**400, "log": True}}) == {}
    assert resumes({"resumes": 7}) == {}
