"""Numbers as text: short, never wider than their column, unknown as a dash."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsmon.ui.render import values

NUMBERS = st.none() | st.floats() | st.integers(-(10**20), 10**20)


@pytest.mark.parametrize(
    ("draw", "width"),
    [
        (values.age, 4),
        (values.count, 6),
        (values.rate, 6),
        (values.delta, 6),
        (values.milliseconds, 6),
        (values.percent, 4),
        (values.size, 5),
    ],
)
@given(number=NUMBERS)
def test_no_number_is_wider_than_its_column(
    draw: Callable[[float | None], str], width: int, number: float | None
) -> None:
    assert len(draw(number)) <= width


@pytest.mark.parametrize("number", [None, math.nan, math.inf, -math.inf])
def test_what_is_unknown_is_a_dash(number: float | None) -> None:
    for draw in (values.age, values.count, values.rate, values.delta, values.milliseconds, values.size, values.seconds):
        assert draw(number) == values.UNKNOWN


def test_ages_are_coarse_after_a_minute() -> None:
    assert [values.age(s) for s in (0, 0.9, 12, 59.9, 60, 3_599, 3_600, 172_800, -1)] == [
        "0s",
        "0s",
        "12s",
        "59s",
        "1m",
        "59m",
        "1h",
        "2d",
        "0s",
    ]


def test_numbers_keep_two_or_three_digits() -> None:
    assert [values.rate(n) for n in (0, 0.4, 6.66, 42, 9_999, 12_345, 1_234_567)] == [
        "0",
        "0.4",
        "6.7",
        "42",
        "9999",
        "12k",
        "1.2M",
    ]
    assert [values.count(n) for n in (0, 99_999, 123_456)] == ["0", "99999", "123k"]
    assert [values.delta(n) for n in (0, 5, -20)] == ["", "+5", "\N{MINUS SIGN}20"]
    assert [values.milliseconds(n) for n in (0.42, 12.4, 999, 3_200, 120_000)] == ["0.4", "12", "999", "3.2s", "2m"]
    assert values.size(64 * 2**20) == "64M"
    assert values.size(1.5 * 2**30) == "1.5G"
    assert values.percent(250.4) == "250%"
    assert values.exact(12_345) == "12,345"
    assert values.seconds(0.524) == "0.52 s"


def test_the_clock_has_as_many_digits_as_asked_for() -> None:
    at = 1_790_000_000.1239
    assert values.clock(at, 0.0) == "14:13:20"
    assert values.clock(at, 3_600.0, digits=3) == "15:13:20.123"
    assert values.clock(math.nan, 0.0) == values.UNKNOWN
