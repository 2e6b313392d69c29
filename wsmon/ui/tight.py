"""Sends only the cells that changed.

Theory of operation. A `Canvas` keeps two pictures of the screen: what is wanted there, which follows every update of
Textual's, and what the terminal shows, which follows what was sent. Sending is writing down the difference with the
fewest bytes: the shortest way for the cursor, only those attributes that differ, one order for a blank end of a line.
The difference can be sent in pieces of bounded size, the most important regions first; what was drawn over in between
is never sent at all.

This leans on the shape of two of Textual's internal classes. An update that is not as expected is refused, and
Textual's own way has to be taken.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

_CHOPS: Final = ("chops", "spans", "chop_ends")
_LAYOUT: Final = ("strips", "region")
# Rich numbers its attributes so: bold, dim, italic, underline, blink, fast blink, reverse, conceal, strike, double
# underline, frame, encircle, overline.
_ON: Final = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")
_OFF: Final = (
    (0b0_0000_0000_0011, "22"),
    (0b0_0000_0000_0100, "23"),
    (0b0_0010_0000_1000, "24"),
    (0b0_0000_0011_0000, "25"),
    (0b0_0000_0100_0000, "27"),
    (0b0_0000_1000_0000, "28"),
    (0b0_0001_0000_0000, "29"),
    (0b0_1100_0000_0000, "54"),
    (0b1_0000_0000_0000, "55"),
)
_SEEN_ON_BLANKS: Final = 0b1_1111_0100_1000
"""Attributes that show where there is no character: lines, and reversal."""
_NO_FOREGROUND: Final = "39"
_NO_BACKGROUND: Final = "49"


class Pen(NamedTuple):
    """How a cell is drawn: SGR parameters of its colours, and Rich's bits of its attributes."""

    foreground: str = _NO_FOREGROUND
    background: str = _NO_BACKGROUND
    attributes: int = 0


PLAIN: Final = Pen()


@lru_cache(4096)
def sgr(old: Pen, new: Pen) -> str:
    """Return the shortest sequence that turns one pen into another."""
    if old == new:
        return ""
    afresh = [_ON[bit] for bit in range(len(_ON)) if new.attributes >> bit & 1]
    afresh += [new.foreground] if new.foreground != _NO_FOREGROUND else []
    afresh += [new.background] if new.background != _NO_BACKGROUND else []
    short: list[str] = []
    have = old.attributes
    for mask, code in _OFF:
        if have & mask & ~new.attributes:
            short.append(code)
            have &= ~mask
    short += [_ON[bit] for bit in range(len(_ON)) if new.attributes & ~have & (1 << bit)]
    short += [new.foreground] if new.foreground != old.foreground else []
    short += [new.background] if new.background != old.background else []
    reset = ";".join(["", *afresh] if afresh else afresh)  # An empty first parameter is a zero.
    return f"\x1b[{min(reset, ';'.join(short), key=len)}m"


class Canvas:
    """What the terminal shows and what it should show."""

    def __init__(self, color_system: ColorSystem | None, *, erases_in_color: bool) -> None:
        """`erases_in_color`: erasing leaves the background colour of the pen, not the terminal's."""
        self._color_system = color_system
        self._erases_in_color = erases_in_color
        self.width = self.height = 0
        self.incomplete = True
        """Only parts of what is wanted were told since the size is what it is: an update of the whole screen is due."""
        self._texts: list[list[str]] = []
        self._pens: list[list[Pen]] = []
        self._shown_texts: list[list[str]] = []
        self._shown_pens: list[list[Pen]] = []
        self._dirty: set[int] = set()
        self._known = False
        self._pen = PLAIN
        self._at: tuple[int, int] | None = None
        self._next = 0
        self._first: list[tuple[int, int, int]] = []
        self._styles: dict[Style | None, tuple[Pen, Pen]] = {}

    @property
    def differs(self) -> bool:
        """Whether there may be something to send."""
        return bool(self._dirty)

    def forget(self) -> None:
        """Whatever the terminal shows now, it is not known: the next pieces draw everything."""
        self._known = False
        self._dirty.update(range(self.height))

    def moved(self, x: int, y: int) -> None:
        """Somebody else moved the cursor."""
        self._at = (x, y)

    # What is wanted.

    def take(self, update: object, first: Iterable[Region] = ()) -> bool:
        """Draw one of Textual's updates; return whether it was understood.

        What it changes inside the regions of `first` will be sent before anything else, lower lines before upper ones:
        lists grow downwards.
        """
        if type(update) is ChopsUpdate and all(hasattr(update, name) for name in _CHOPS):
            ends = update.chop_ends
            self._fit(ends[0][-1] if ends and ends[0] else 0, len(ends))
            if first:
                self._put_first(update.spans, first)
            drawn: set[tuple[int, int]] = set()
            for y, left, right in update.spans:
                for end, (start, strip) in zip(ends[y], update.chops[y].items(), strict=False):
                    if strip is None or end <= left or start >= right or (y, start) in drawn:
                        continue
                    drawn.add((y, start))
                    self._put(start, y, strip)
            return True
        if type(update) is LayoutUpdate and all(hasattr(update, name) for name in _LAYOUT):
            region = update.region
            if region.x or region.y:
                return False
            self._fit(region.width, region.height)
            self._next = 0
            self.incomplete = False
            for y, strips in enumerate(update.strips):
                x = 0
                for strip in strips:
                    x = self._put(x, y, strip)
            return True
        return False

    def _put_first(self, spans: Iterable[tuple[int, int, int]], regions: Iterable[Region]) -> None:
        """Note the parts of spans that lie inside of regions."""
        hot = [
            (y, max(left, region.x), min(right, region.right))
            for region in regions
            for y, left, right in spans
            if region.y <= y < region.bottom and left < region.right and right > region.x
        ]
        self._first = sorted({*self._first, *hot}, reverse=True)

    def _fit(self, width: int, height: int) -> None:
        """Take another size; all that was there is void."""
        if (width, height) == (self.width, self.height):
            return
        self.width, self.height = width, height
        self.incomplete = True
        self._texts = [[" "] * width for _ in range(height)]
        self._pens = [[PLAIN] * width for _ in range(height)]
        self._next = 0
        self._first.clear()
        self._dirty.clear()
        self.forget()

    def _put(self, x: int, y: int, strip: Strip) -> int:
        """Draw a strip; return the column after it."""
        texts: list[str] = []
        pens: list[Pen] = []
        for text, style, control in strip:
            if control:
                continue
            pen, blank = self._styles.get(style) or self._learn(style)
            if text.isascii():
                texts += text
                if pen is blank or " " not in text:
                    pens += [pen] * len(text)
                elif text.isspace():
                    pens += [blank] * len(text)
                else:
                    pens += [blank if character == " " else pen for character in text]
                continue
            for character in text:
                cells = _cells(character)
                if cells:
                    texts.append(character)
                    pens.append(blank if character == " " else pen)
                    if cells > 1:
                        texts.append("")
                        pens.append(pen)
                elif texts:
                    texts[-1 if texts[-1] else -2] += character
        if y >= self.height:
            return x
        end = min(x + len(texts), self.width)
        length = end - x
        if length < len(texts):
            if length and not texts[length]:
                texts[length - 1] = " "  # Half a character cannot be shown.
            del texts[length:], pens[length:]
        row, inks = self._texts[y], self._pens[y]
        if row[x:end] != texts or inks[x:end] != pens:
            row[x:end] = texts
            inks[x:end] = pens
            self._dirty.add(y)
        return end

    def _learn(self, style: Style | None) -> tuple[Pen, Pen]:
        """Return a style's pen, and the pen of a blank in that style, on which a foreground cannot be seen."""
        pen = PLAIN
        if style is not None:
            system = self._color_system
            front, back = style.color, style.bgcolor
            pen = Pen(
                ";".join(front.downgrade(system).get_ansi_codes()) if front and system else _NO_FOREGROUND,
                ";".join(back.downgrade(system).get_ansi_codes(foreground=False))
                if back and system
                else _NO_BACKGROUND,
                style._attributes & style._set_attributes,  # noqa: SLF001  # One number instead of thirteen questions.
            )
        blank = pen if pen.attributes & _SEEN_ON_BLANKS else Pen(background=pen.background)
        if len(self._styles) > 4096:
            self._styles.clear()
        self._styles[style] = pen, (pen if blank == pen else blank)
        return self._styles[style]

    # What is sent.

    def piece(self, budget: int) -> str:
        """Return what brings the terminal nearer to what is wanted, in about `budget` bytes; it counts as sent."""
        out = _Out(budget)
        if not self._known:
            self._clear(out)
        while self._first:
            y, left, right = self._first[0]
            if y in self._dirty:
                self._line(y, max(0, left), min(right, self.width), out)
            if out.full:
                return out.text
            del self._first[0]
        # The others take turns, lest the last lines of a slow screen stay behind for ever.
        for y in sorted(self._dirty, key=lambda y: (y < self._next, y)):
            self._line(y, 0, self.width, out)
            self._next = y
            if out.full:
                return out.text
            self._dirty.discard(y)
        self._next = 0
        return out.text

    def _clear(self, out: "_Out") -> None:
        """Make the screen blank in its commonest colour."""
        self._known = True
        ground = PLAIN
        if self._erases_in_color:
            grounds = Counter(pen.background for row in self._pens for pen in row)
            ground = Pen(background=grounds.most_common(1)[0][0]) if grounds else PLAIN
        out.put(f"\x1b[m{sgr(PLAIN, ground)}\x1b[2J")
        self._pen, self._at = ground, None
        self._shown_texts = [[" "] * self.width for _ in range(self.height)]
        self._shown_pens = [[ground] * self.width for _ in range(self.height)]
        self._dirty.update(range(self.height))

    def _line(self, y: int, left: int, right: int, out: "_Out") -> None:
        """Send what differs in a part of a line, as far as the budget goes."""
        texts, pens = self._texts[y], self._pens[y]
        old_texts, old_pens = self._shown_texts[y], self._shown_pens[y]
        if texts == old_texts and pens == old_pens:
            return
        changes = [x for x in range(left, right) if texts[x] != old_texts[x] or pens[x] != old_pens[x]]
        if not changes:
            return
        tail = self._tail(y) if right == self.width else self.width
        for number, x in enumerate(changes):
            text = texts[x]
            if not text:
                old_texts[x], old_pens[x] = text, pens[x]
                continue  # The right half of the character before.
            if out.full:
                return
            self._move(x, y, out)
            pen = pens[x]
            here = self._pen
            if text != " " or pen.background != here.background or (pen.attributes | here.attributes) & _SEEN_ON_BLANKS:
                out.put(sgr(here, pen))
                self._pen = pen
            if x >= tail and len(changes) - number > 3:
                out.put("\x1b[K")
                old_texts[x:], old_pens[x:] = texts[x:], pens[x:]
                return
            out.put(text)
            old_texts[x], old_pens[x] = text, pen
            end = x + (2 if x + 1 < self.width and not texts[x + 1] else 1)
            self._at = (end, y) if end < self.width else None

    def _tail(self, y: int) -> int:
        """Return where the blank end of the line begins that can be erased at once."""
        texts, pens = self._texts[y], self._pens[y]
        pen, x = pens[-1], self.width
        if pen.attributes or pen.foreground != _NO_FOREGROUND:
            return x
        if not self._erases_in_color and pen.background != _NO_BACKGROUND:
            return x
        while x and texts[x - 1] == " " and pens[x - 1] == pen:
            x -= 1
        return x

    def _move(self, x: int, y: int, out: "_Out") -> None:
        """Bring the cursor to a cell the shortest way."""
        if self._at == (x, y):
            return
        way = f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H" if y else "\x1b[H"
        if self._at is not None:
            here, line = self._at
            if line == y:
                gap = x - here
                if gap > 0:
                    way = _shorter(way, f"\x1b[{gap}C" if gap > 1 else "\x1b[C")
                    between = range(here, x)
                    if gap < 5 and all(
                        self._as_it_is(self._shown_texts[y][i], self._shown_pens[y][i]) for i in between
                    ):
                        way = _shorter(way, "".join(self._shown_texts[y][here:x]))
                else:
                    way = _shorter(way, "\b" * -gap if gap > -4 else f"\x1b[{-gap}D")
            elif x == here and line < y:
                way = _shorter(way, f"\x1b[{y - line}B" if y - line > 1 else "\x1b[B")
        out.put(way)
        self._at = (x, y)

    def _as_it_is(self, text: str, pen: Pen) -> bool:
        """Return whether a cell can be written once more without changing the pen."""
        if text == " ":
            seen = (pen.attributes | self._pen.attributes) & _SEEN_ON_BLANKS
            return pen == self._pen or (pen.background == self._pen.background and not seen)
        return pen == self._pen and text.isascii() and bool(text)


class _Out:
    """Collects text up to a size."""

    def __init__(self, budget: int) -> None:
        self._parts: list[str] = []
        self._left = budget

    @property
    def full(self) -> bool:
        return self._left <= 0

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def put(self, text: str) -> None:
        self._parts.append(text)
        self._left -= len(text)


def _shorter(one: str, other: str) -> str:
    return other if len(other) < len(one) else one


@lru_cache(4096)
def _cells(character: str) -> int:
    return cell_len(character)
