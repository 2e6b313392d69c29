"""How well the colours of a theme can be read, and told apart: by everybody, and by people who see fewer of them.

Colours here are `#rrggbb`. What a theme leaves to the terminal (`ansi_…`) cannot be judged and is not.

Source: contrast ratio: WCAG 2.2, "relative luminance" and "contrast ratio". Colour difference: CIEDE2000, G. Sharma,
W. Wu, E. Dalal, Color Research and Application 30 (2005). Dichromats: G. Machado, M. Oliveira, L. Fernandes, IEEE
Transactions on Visualization and Computer Graphics 15 (2009), severity 1.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt
from typing import Final, NamedTuple, TypeAlias

GROUNDS: Final = ("background", "surface", "selection")
STATES: Final = ("good", "warning", "bad")
LEAST_CONTRAST: Final = {
    "text": 7.0,
    "muted": 4.5,
    "faint": 3.0,
    "accent": 4.5,
    "good": 4.5,
    "warning": 4.5,
    "bad": 4.5,
}
"""What each tone needs on every ground: WCAG's AAA for text, AA for the others, and for `faint`, which draws rules and
marks that are said elsewhere too, what AA wants of graphics."""
LEAST_DIFFERENCE: Final = 20.0
"""CIEDE2000 between two of good, warning and bad. 2 is just seen side by side; glyphs are small and far apart."""


class Sight(StrEnum):
    """Whose eyes look."""

    TRICHROMAT = "full colour vision"
    PROTANOPE = "protanopia"
    DEUTERANOPE = "deuteranopia"


_Triple: TypeAlias = tuple[float, float, float]
_MACHADO: Final[Mapping[Sight, tuple[_Triple, _Triple, _Triple]]] = {
    Sight.PROTANOPE: (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    Sight.DEUTERANOPE: (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


class Lab(NamedTuple):
    """A colour in CIELAB, D65."""

    lightness: float
    a: float
    b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One tone on one ground."""

    tone: str
    ground: str
    ratio: float
    least: float

    @property
    def fine(self) -> bool:
        """Whether it can be read."""
        return self.ratio >= self.least


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two tones beside each other."""

    one: str
    other: str
    sight: Sight
    distance: float
    """CIEDE2000."""
    wanted: bool
    """Whether it counts: with full colour vision always, with less where the theme says it is made for that."""

    @property
    def fine(self) -> bool:
        """Whether they can be told apart, or need not be by colour alone: glyph and word say it as well."""
        return not self.wanted or self.distance >= LEAST_DIFFERENCE


def readings(colors: Mapping[str, str]) -> tuple[Reading, ...]:
    """Return the contrast of every tone on every ground, of those that are there."""
    return tuple(
        Reading(tone=tone, ground=ground, ratio=contrast(colors[tone], colors[ground]), least=least)
        for tone, least in LEAST_CONTRAST.items()
        if tone in colors
        for ground in GROUNDS
        if ground in colors
    )


def differences(colors: Mapping[str, str], *, dichromats: bool) -> tuple[Difference, ...]:
    """Return how far apart the states are, for each sight; `dichromats`: the theme is made for them too."""
    return tuple(
        Difference(
            one=one,
            other=other,
            sight=sight,
            distance=difference(lab(colors[one], sight), lab(colors[other], sight)),
            wanted=dichromats or sight is Sight.TRICHROMAT,
        )
        for sight in Sight
        for one, other in combinations(STATES, 2)
        if one in colors and other in colors
    )


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance, 0 to 1."""
    red, green, blue = _linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def lab(color: str, sight: Sight = Sight.TRICHROMAT) -> Lab:
    """Return the colour as it is seen."""
    red, green, blue = _seen(_linear(color), sight)
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = (cube_root(value) for value in (x, y, z))
    return Lab(116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz))


def cube_root(value: float) -> float:
    """Return CIELAB's cube root, which is straight near black."""
    return value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116


def _linear(color: str) -> _Triple:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _expanded(red), _expanded(green), _expanded(blue)


def _expanded(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _seen(rgb: _Triple, sight: Sight) -> _Triple:
    matrix = _MACHADO.get(sight)
    if matrix is None:
        return rgb
    # Some results lie outside what a screen shows; an eye would see the nearest that it does show.
    red, green, blue = (min(1.0, max(0.0, sum(m * c for m, c in zip(row, rgb, strict=True)))) for row in matrix)
    return red, green, blue


def difference(one: Lab, other: Lab) -> float:
    """Return CIEDE2000 with all weights 1."""
    chroma_7 = ((hypot(one.a, one.b) + hypot(other.a, other.b)) / 2) ** 7
    stretch = 1.5 - 0.5 * sqrt(chroma_7 / (chroma_7 + 25**7))
    a1, a2 = one.a * stretch, other.a * stretch
    c1, c2 = hypot(a1, one.b), hypot(a2, other.b)
    h1, h2 = _hue(a1, one.b), _hue(a2, other.b)
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    mean_l, mean_c = (one.lightness + other.lightness) / 2, (c1 + c2) / 2
    if c1 * c2 == 0:
        mean_h = h1 + h2
    elif abs(h1 - h2) <= 180:
        mean_h = (h1 + h2) / 2
    else:
        mean_h = ((h1 + h2 + 360) / 2) % 360
    weight_t = (
        1
        - 0.17 * cos(radians(mean_h - 30))
        + 0.24 * cos(radians(2 * mean_h))
        + 0.32 * cos(radians(3 * mean_h + 6))
        - 0.20 * cos(radians(4 * mean_h - 63))
    )
    off = (mean_l - 50) ** 2
    dl = (other.lightness - one.lightness) / (1 + 0.015 * off / sqrt(20 + off))
    dc = (c2 - c1) / (1 + 0.045 * mean_c)
    dh = 2 * sqrt(c1 * c2) * sin(radians(turn / 2)) / (1 + 0.015 * mean_c * weight_t)
    spin = 30 * exp(-(((mean_h - 275) / 25) ** 2))
    rotation = -sin(radians(2 * spin)) * 2 * sqrt(mean_c**7 / (mean_c**7 + 25**7))
    return sqrt(dl * dl + dc * dc + dh * dh + rotation * dc * dh)


def _hue(a: float, b: float) -> float:
    return 0.0 if a == b == 0 else degrees(atan2(b, a)) % 360
