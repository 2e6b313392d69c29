"""Patterns: what fits, what does not, and where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsmon.conformance.patterns import Bound, check_pattern, compare, equal, nulls, resolve
from wsmon.protocol.frames import Json

JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_everything_without_tests_wants_itself(value: Json) -> None:
    assert compare(value, value, {}) is None
    assert equal(value, value)


@given(JSON, JSON)
def test_values_are_equal_both_ways_or_not_at_all(one: Json, other: Json) -> None:
    assert equal(one, other) == equal(other, one)


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        (1, [1, 1.0], [True, 2, "1", None]),
        (True, [True], [1, False]),
        ({"a": 1}, [{"a": 1}, {"a": 1, "b": 2}], [{}, {"a": 2}, [], None]),
        ([1, 2], [[1, 2]], [[1], [1, 2, 3], [2, 1], {}]),
        ({"$is": "any"}, [None, 1, {}], []),
        ({"$is": "integer"}, [0, 3.0, 10**400], [True, 0.5, "1", 1e999, None]),
        ({"$is": "number"}, [0, 0.5], [True, "1"]),
        ({"$is": "flag"}, [True], [1]),
        ({"$is": "text", "$least": 1, "$most": 2}, ["a", "ab"], ["", "abc", 1]),
        ({"$is": "list", "$most": 1, "$each": {"$is": "object"}}, [[], [{}]], [[1], [{}, {}], {}]),
        ({"$each": {"$is": "text"}}, [{"a": "b"}, 1], [{"a": 1}]),
        ({"$among": [1, "a"]}, [1, "a"], [True, "b"]),
        ({"a": {"$optional": True, "$is": "text"}}, [{}, {"a": "b"}], [{"a": 1}]),
        ({"a": {"$absent": True}}, [{}, {"b": 1}], [{"a": 1}]),
        ({"a": 1, "$any_of": [{"b": 1}, {"c": 1}]}, [{"a": 1, "b": 1}, {"a": 1, "c": 1}], [{"a": 1}, {"b": 1}]),
        ({"$same": "n"}, [5], [4, "5"]),
        ({"$above": "n"}, [6], [5, "6"]),
        ({"$not_below": "n"}, [5, 6], [4, None]),
        ({"$apart": "l"}, [[], [3]], [[1], [3, 2], 3]),
        ({"$same": "unbound"}, [None], [1]),
        ({"$above": "unbound"}, [], [1]),
    ],
)
def test_a_pattern_fits_what_it_says(pattern: Json, fits: list[Json], does_not: list[Json]) -> None:
    check_pattern(pattern)
    bound: Bound = {"n": 5, "l": [1, 2]}
    assert [value for value in fits if compare(pattern, value, dict(bound)) is not None] == []
    assert [value for value in does_not if compare(pattern, value, dict(bound)) is None] == []


def test_a_miss_says_where_and_what() -> None:
    miss = compare({"a": [{"b": 1}]}, {"a": [{"b": "x"}]}, {})
    assert str(miss) == 'a.0.b is "x", not 1'
    assert str(compare({"a": 1}, {}, {})) == "a is missing, not 1"
    assert str(compare(1, 2, {})) == "it is 2, not 1"


def test_names_are_given_only_by_what_fits() -> None:
    bound: Bound = {}
    assert compare({"a": {"$as": "a"}, "b": 1}, {"a": 1, "b": 2}, bound) is not None
    assert compare({"$any_of": [{"a": {"$as": "x"}, "b": 9}, {"a": {"$as": "y"}}]}, {"a": 1, "b": 1}, bound) is None
    assert bound == {"y": 1}
    assert resolve({"y": {"$same": "y"}, "l": [{"$same": "y"}], "z": {"$same": "z"}}, bound) == {
        "y": 1,
        "l": [1],
        "z": {"$same": "z"},
    }


@pytest.mark.parametrize(
    "pattern", [{"$si": 1}, {"a": [{"$is": "number", "$up": 1}]}, {"$each": {"$x": 1}}, {"$is": "int"}]
)
def test_a_test_that_does_not_exist_is_refused(pattern: Json) -> None:
    with pytest.raises(ValueError, match="there is no"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("value", "path"),
    [({"a": 1}, None), ({"a": None}, "a"), ({"a": [1, {"b": None}]}, "a.1.b"), ([], None), (None, "")],
)
def test_null_is_found_wherever_it_is(value: Json, path: str | None) -> None:
    assert nulls(value) == path
