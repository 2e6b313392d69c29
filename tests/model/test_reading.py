import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsmon.model.reading import bounded, count, moment, number, span, table, text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from("abc"), JSON))
def test_no_state_makes_a_reader_raise_or_return_what_cannot_be_drawn(state: dict[str, object]) -> None:
    for name in "abc":
        value = number(state, name)  # type: ignore[arg-type]
        assert value is None or math.isfinite(value)
        whole = count(state, name)  # type: ignore[arg-type]
        assert whole is None or whole >= 0
        at = moment(state, name)  # type: ignore[arg-type]
        assert at is None or 0 <= at <= 1e11
        pair = span(state, name)  # type: ignore[arg-type]
        assert pair is None or pair[0] <= pair[1]
        word = text(state, name)  # type: ignore[arg-type]
        assert word is None or word
        assert isinstance(table(state, name, "a"), dict)  # type: ignore[arg-type]


def test_a_field_of_another_type_is_unknown() -> None:
    state = json.loads('{"n": true, "i": 1e999, "t": 7, "s": [1, true], "r": [2, 1], "o": [1], "x": ["a", "b"]}')
    assert number(state, "n") is None
    assert number(state, "i") is None
    assert text(state, "t") is None
    assert [span(state, name) for name in "sroxn"] == [None] * 5


def test_what_fits_is_read() -> None:
    state = json.loads('{"a": {"b": {"n": 3}}, "t": "word", "s": [1, 2.5], "at": 5}')
    assert number(table(state, "a", "b"), "n") == 3.0
    assert table(state, "a", "t", "b") == {}
    assert text(state, "t") == "word"
    assert span(state, "s") == (1.0, 2.5)
    assert moment(state, "at") == 5.0


@pytest.mark.parametrize("value", [10**400, math.inf, -(10**400)])
def test_values_beyond_reason_are_cut(value: float) -> None:
    assert math.isfinite(bounded(value))
    assert bounded(value, least=0, most=5) in (0.0, 5.0)
