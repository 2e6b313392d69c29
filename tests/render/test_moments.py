"""Moments as people type them."""

import pytest

from wsmon.ui.render.moment import parse

NOON = 1_790_000_000.0 // 86_400 * 86_400 + 43_200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("-30", -30),
        ("+2m", 120),
        ("-1.5 s", -1.5),
        ("-2h", -7_200),
        ("12:00", 0),
        ("12:00:05.250", 5.25),
        (" 11:59:59 ", -1),
        ("23:59", 43_140),
        ("00:00", -43_200),
    ],
)
def test_a_moment_is_a_time_of_day_or_a_distance(text: str, seconds: float) -> None:
    assert parse(text, NOON, offset_s=0) == NOON + seconds


def test_a_time_of_day_is_local_and_the_nearest_one() -> None:
    assert parse("14:00", NOON, offset_s=7_200) == NOON
    just_after_midnight = NOON + 43_200 + 60
    assert parse("23:59", just_after_midnight, offset_s=0) == just_after_midnight - 120


@pytest.mark.parametrize("text", ["", "now", "30", "25:00", "12:60", "12:00:60", "--3", "-1d", "1e9", "-9999999999"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    assert parse(text, NOON, offset_s=0) is None
