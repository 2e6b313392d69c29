import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsmon.views.text import age, ago, clean, listing, name, span

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=80), st.integers(1, 60))
def test_no_text_keeps_a_control_a_direction_or_a_hidden_character(text: str, longest: int) -> None:
    shown = clean(text, longest)
    assert len(shown) <= longest
    assert {unicodedata.category(char) for char in shown} & HIDDEN == set()
    shown.encode()
    assert clean(shown, longest) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("n1", "n1"),
        ("Zürich 東京 ●", "Zürich 東京 ●"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("a\r\nb\tc", "a b c"),
        ("one\u2028two", "one two"),
        ("safe\u202eevil", "safe\ufffdevil"),
        ("a\u200bb\ufeff", "a\ufffdb\ufffd"),
        ("\ud800", "\ufffd"),
        ("\x9b2J", "\ufffd2J"),
        ("[red]not markup[/red]", "[red]not markup[/red]"),
        ("", ""),
    ],
)
def test_harmful_characters_are_replaced_and_all_else_stays(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert clean("abcdef", 4) == "abc…"
    assert clean("abcd", 4) == "abcd"
    assert len(name("x" * 500)) == 48


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "9 s"),
        (59.9, "59 s"),
        (60, "1 m"),
        (3_599, "59 m"),
        (3_600, "1 h"),
        (3_900, "1 h 5 m"),
        (200_000, "2 d"),
        (1e300, "11574 d"),
    ],
)
def test_times_are_said_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_ages_have_the_grain_that_is_drawn() -> None:
    assert age(None, 5) is None
    assert age(10, 12.34) == 2.3
    assert age(10, 32.9) == 22.0
    assert age(10, 5) == 0.0
    assert ago(4) == "4.0 s ago"


def test_long_lists_are_cut() -> None:
    assert listing(["n1", "n2"]) == "n1, n2"
    assert listing(["n1", "n2", "n3", "n4", "n5"]) == "n1, n2, n3 and 2 more"
