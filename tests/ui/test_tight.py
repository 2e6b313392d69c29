"""What is sent is what changed, and a terminal that gets it shows what was wanted."""

import random
import re

import pyte
import pytest
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from wsmon.ui.tight import PLAIN, Canvas, Pen, sgr

RED = Style.parse("red on blue")
BOLD = Style.parse("bold underline")
WIDE = 1_000_000
WORDS = ("a", " ", "  ", "0123456789", "über", "日本", "e\u0301", "│", "x y z", "           ")
STYLES = (None, RED, BOLD, Style.parse("reverse"), Style.parse("#102030 on #405060"), Style.parse("dim"))


def layout(*rows: Strip, width: int) -> LayoutUpdate:
    return LayoutUpdate([[row.adjust_cell_length(width)] for row in rows], Region(0, 0, width, len(rows)))


def strip(text: str, style: Style | None = None) -> Strip:
    return Strip([Segment(text, style)])


def chops(rows: list[Strip], spans: list[tuple[int, int, int]], width: int) -> ChopsUpdate:
    return ChopsUpdate([{0: row.adjust_cell_length(width)} for row in rows], spans, [[width] for _ in rows])


def canvas(*, erases: bool = True, system: ColorSystem | None = ColorSystem.TRUECOLOR) -> Canvas:
    return Canvas(system, erases_in_color=erases)


def shown(screen: pyte.Screen) -> list[str]:
    return [line.rstrip() for line in screen.display]


def test_the_first_piece_clears_the_screen_and_draws_what_is_not_blank() -> None:
    it = canvas()
    assert it.take(layout(strip("ab"), strip(""), strip("  c"), width=9))
    assert it.differs
    assert it.piece(WIDE) == "\x1b[m\x1b[2J\x1b[Hab\x1b[2Bc"
    assert len(it.piece(WIDE)) == 0


def test_only_cells_that_changed_are_sent() -> None:
    it = canvas()
    it.take(layout(strip("load 0123456789 ok"), width=20))
    it.piece(WIDE)
    assert it.take(chops([strip("load 0129456789 no")], [(0, 0, 20)], 20))
    assert it.piece(WIDE) == "\x1b[10D9\x1b[7Cno"


def test_a_short_gap_is_written_over() -> None:
    it = canvas()
    it.take(layout(strip("1a3"), width=9))
    it.piece(WIDE)
    it.take(layout(strip("2a4"), width=9))
    assert it.piece(WIDE) == "\x1b[H2a4"


def test_an_equal_update_sends_nothing() -> None:
    it = canvas()
    it.take(layout(strip("same", RED), width=9))
    it.piece(WIDE)
    it.take(layout(strip("same", RED), width=9))
    assert not it.differs


def test_a_color_that_cannot_be_seen_is_no_change() -> None:
    it = canvas()
    it.take(layout(strip("a b"), width=9))
    it.piece(WIDE)
    it.take(layout(Strip([Segment("a"), Segment(" ", Style.parse("red")), Segment("b")]), width=9))
    assert not it.differs


@pytest.mark.parametrize("erases", [True, False])
def test_the_blank_end_of_a_line_is_erased_at_once_where_that_keeps_the_color(erases: bool) -> None:
    it = canvas(erases=erases)
    it.take(layout(strip("a long line of text", RED), strip(" " * 20, RED), width=20))
    it.piece(WIDE)
    it.take(layout(strip("a                   ", RED), strip(" " * 20, RED), width=20))
    piece = it.piece(WIDE)
    assert ("\x1b[K" in piece) is erases
    assert (len(piece) < 20) is erases


def test_a_piece_is_not_much_longer_than_its_budget_and_the_rest_comes_later() -> None:
    it = canvas()
    rows = [strip(f"{number:02} " + "x" * 60) for number in range(20)]
    it.take(layout(*rows, width=80))
    screen = pyte.Screen(80, 20)
    stream = pyte.Stream(screen)
    pieces = 0
    while it.differs:
        piece = it.piece(100)
        assert len(piece) < 120
        stream.feed(piece)
        pieces += 1
    assert pieces > 10
    assert shown(screen) == [row.text.rstrip() for row in rows]


def test_what_matters_most_goes_first_and_its_lowest_line_before_the_others() -> None:
    it = canvas()
    it.take(layout(*[strip("aaaaaaaa") for _ in range(6)], width=8))
    it.piece(WIDE)
    rows = [strip("bbbbbbbb") for _ in range(6)]
    it.take(chops(rows, [(y, 0, 8) for y in range(6)], 8), first=(Region(0, 3, 8, 2),))
    screen = pyte.Screen(8, 6)
    stream = pyte.Stream(screen)
    complete = []
    while it.differs:
        stream.feed(it.piece(8))
        complete += [y for y in range(6) if screen.display[y] == "b" * 8 and y not in complete]
    assert complete == [4, 3, 0, 1, 2, 5]


def test_lines_take_turns_so_that_none_stays_behind() -> None:
    it = canvas()
    width, height = 10, 8
    it.take(layout(*[strip("." * width) for _ in range(height)], width=width))
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    stream.feed(it.piece(WIDE))
    for turn in range(20):  # New values come faster than they can be sent.
        rows = [strip(chr(97 + turn) * width) for _ in range(height)]
        it.take(chops(rows, [(y, 0, width) for y in range(height)], width))
        stream.feed(it.piece(width + 6))
    assert all("." not in line for line in shown(screen))


def test_what_is_not_known_is_drawn_again() -> None:
    it = canvas()
    it.take(layout(strip("abc"), width=9))
    first = it.piece(WIDE)
    it.forget()
    assert it.differs
    assert it.piece(WIDE) == first


def test_another_size_draws_everything() -> None:
    it = canvas()
    it.take(layout(strip("abc"), width=9))
    it.piece(WIDE)
    it.take(layout(strip("abc"), strip("def"), width=12))
    piece = it.piece(WIDE)
    assert "\x1b[2J" in piece
    assert "abc" in piece
    assert "def" in piece


def test_a_part_of_a_screen_of_another_size_asks_for_the_whole() -> None:
    it = canvas()
    states = [it.incomplete]
    for update in (
        layout(strip("abc"), width=9),
        chops([strip("xyz"), strip("def")], [(1, 0, 12)], 12),
        layout(strip("abc"), strip("def"), width=12),
    ):
        it.take(update)
        states.append(it.incomplete)
    assert states == [True, False, True, False]


def test_no_color_system_means_no_color() -> None:
    it = canvas(system=None)
    it.take(layout(strip("abc", RED), strip("def", BOLD), width=9))
    assert set(re.findall(r"\x1b\[([\d;]*)m", it.piece(WIDE))) == {"", "1;4"}


@pytest.mark.parametrize("other", [None, "text", object(), ChopsUpdate])
def test_what_is_not_understood_is_refused(other: object) -> None:
    assert not canvas().take(other)


def test_an_update_of_a_part_of_the_screen_without_place_for_the_rest_is_refused() -> None:
    assert not canvas().take(LayoutUpdate([[strip("x")]], Region(3, 0, 1, 1)))


def test_a_style_is_left_the_shortest_way() -> None:
    bold_red = Pen("31", "49", 1)
    assert sgr(PLAIN, bold_red) == "\x1b[1;31m"
    assert sgr(bold_red, PLAIN) == "\x1b[m"
    assert sgr(bold_red, Pen("32", "49", 1)) == "\x1b[32m"
    assert sgr(bold_red, Pen("31", "49", 2)) in ("\x1b[22;2m", "\x1b[;2;31m")
    assert sgr(Pen("31", "44", 3), Pen("31", "44", 2)) == "\x1b[22;2m"
    assert sgr(bold_red, bold_red) == ""


def pyte_style(style: Style | None) -> tuple[str, str, bool, bool, bool]:
    screen = pyte.Screen(2, 1)
    codes = "" if style is None else Strip.render_ansi(style, ColorSystem.TRUECOLOR)
    pyte.Stream(screen).feed(f"\x1b[{codes}mx")
    cell = screen.buffer[0][0]
    return cell.fg, cell.bg, cell.bold, cell.underscore, cell.reverse


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("erases", [True, False])
def test_after_any_updates_in_any_pieces_the_terminal_shows_what_was_wanted(seed: int, erases: bool) -> None:
    dice = random.Random(seed)
    width, height = 24, 6
    it = canvas(erases=erases)
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    screen.reset_mode(7, private=True)  # As Textual does: no wrapping at the right edge.
    rows: list[Strip] = [strip("")] * height
    for _ in range(40):
        spans = []
        for y in dice.sample(range(height), dice.randint(1, height)):
            rows[y] = Strip([Segment(dice.choice(WORDS), dice.choice(STYLES)) for _ in range(dice.randint(0, 6))])
            spans.append((y, 0, width))
        update = layout(*rows, width=width) if dice.random() < 0.2 else chops(rows, sorted(spans), width)
        assert it.take(update)
        if dice.random() < 0.1:
            it.forget()
        for _ in range(dice.randint(0, 3)):
            stream.feed(it.piece(dice.choice((5, 40, WIDE))))
    while it.differs:
        stream.feed(it.piece(30))
    plain = pyte.Screen(width, height)
    straight = pyte.Stream(plain)
    plain.reset_mode(7, private=True)
    whole = canvas(erases=False)
    whole.take(layout(*rows, width=width))
    straight.feed(whole.piece(WIDE))
    for y in range(height):
        row = rows[y].adjust_cell_length(width)
        assert screen.display[y].rstrip() == plain.display[y].rstrip()
        x = 0
        for segment in row:
            for character in segment.text:
                cells = Segment(character).cell_length
                if cells and x + cells <= width and character not in " e":  # pyte composes e with its accent.
                    cell = screen.buffer[y][x]
                    assert cell.data.startswith(character), (y, x, row.text)
                    assert (cell.fg, cell.bg, cell.bold, cell.underscore, cell.reverse) == pyte_style(segment.style)
                x += cells
