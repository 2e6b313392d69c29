"""The words of a scenario."""

import pytest

from tests.support.frames import HOSTILE
from wsmon.ui.render import caption
from wsmon.ui.render.lines import length_of, text_of

WORDS = "n2 is gone. Its sockets closed, so the checker needs no timeout"


@pytest.mark.parametrize("width", [1, 5, 20, 60, 120])
@pytest.mark.parametrize("words", ["", WORDS, "x" * 500, HOSTILE * 10, "日本語 " * 30])
def test_every_line_has_exactly_the_width(words: str, width: int) -> None:
    lines = caption.caption(words, width, 3)
    assert len(lines) <= 3
    assert all(length_of(line) == width for line in lines)


def test_words_are_broken_between_words() -> None:
    assert [text_of(line).strip(" ▌") for line in caption.caption(WORDS, 36, 5)] == [
        "n2 is gone. Its sockets closed,",
        "so the checker needs no timeout",
    ]
