"""The strip of services as text."""

from dataclasses import replace

import pytest

from tests.support import frames
from wsmon.ui.render import services
from wsmon.ui.render.lines import length_of, text_of


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (100, "  ● redis running   ● checker leading   ● gateway running   ● fleet running   ● supervisor running"),
        (60, "  ● redis   ● checker   ● gateway   ● fleet   ● supervisor"),
        (50, "  ● redis   ● checker   ● gateway   ● 2 more"),
    ],
)
def test_as_much_is_told_as_there_is_room_for(width: int, text: str) -> None:
    line = services.strip(frames.services(), width)
    assert length_of(line) == width
    assert text_of(line).startswith(text)
    assert "…" not in text_of(line)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_what_is_wrong_is_in_sight_wherever_it_stands(width: int) -> None:
    rows = (*frames.services()[:-1], replace(frames.services()[-1], good=False, state="gone"))
    assert "○ supervisor gone" in text_of(services.strip(rows, width))
