"""Themes: complete, readable, and clear about what is wrong with them."""

from pathlib import Path

import pytest

from wsmon.errors import ConfigError
from wsmon.ui import theme
from wsmon.ui.render.lines import Ground, Ink, Tone


def _luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    """Source: WCAG 2.2, contrast ratio."""
    light, dark = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_shipped_themes_are_there() -> None:
    assert {"dark", "light", "high-contrast", "mono", "terminal"} <= set(theme.names())


@pytest.mark.parametrize("name", ["dark", "light", "high-contrast"])
def test_text_can_be_read_on_every_ground(name: str) -> None:
    looks = theme.load(name).looks
    least = 7.0 if name == "high-contrast" else 4.5
    for ground in Ground:
        for tone in (Tone.TEXT, Tone.MUTED, Tone.ACCENT, Tone.GOOD, Tone.WARNING, Tone.BAD):
            ink, paper = looks[tone].color, looks[ground].color
            assert ink is not None
            assert paper is not None
            assert contrast(ink, paper) >= least, (tone, ground)


def test_mono_has_no_colour_and_still_tells_good_from_bad() -> None:
    mono = theme.load("mono")
    assert all(look.color in {None, "ansi_default"} for look in mono.looks.values())
    assert mono.style(Ink(Tone.BAD)) != mono.style(Ink(Tone.GOOD))
    assert mono.style(Ink(ground=Ground.SELECTED)) != mono.style(Ink())


def test_what_a_theme_leaves_out_is_inherited(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('good = "bold #00ff00"\n')
    mine, dark = theme.load(str(path)), theme.load("dark")
    assert mine.looks["good"] == theme.Look("#00ff00", frozenset({"bold"}))
    assert mine.looks["bad"] == dark.looks["bad"]
    assert mine.dark
    assert mine.textual().success == "#00ff00"
    assert mine.style(Ink(Tone.GOOD)).bold


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('godo = "#000000"', "unknown key 'godo'"),
        ("good = 3", "good has to be text"),
        ('good = "grene"', "'grene'"),
        ('good = "#12345"', "'#12345'"),
        ('good = "ansi_grene"', "'ansi_grene'"),
        ('background = "dim #000000"', "background"),
        ('dark = "yes"', "dark has to be true or false"),
        ("inherit = 3", "inherit"),
        ('inherit = "nothing"', "no theme 'nothing'"),
        ("good = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        theme.load(str(path))
    assert said in caught.value.message


def test_an_unknown_key_comes_with_the_nearest_known(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('backgruond = "#000000"')
    with pytest.raises(ConfigError) as caught:
        theme.load(str(path))
    assert "background" in caught.value.hint


def test_a_theme_that_inherits_from_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'inherit = "{path}"')
    with pytest.raises(ConfigError, match="inherits from itself"):
        theme.load(str(path))


def test_a_theme_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        theme.load(str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError) as caught:
        theme.load("drak")
    assert "dark" in caught.value.hint
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * 70_000)
    with pytest.raises(ConfigError, match="larger"):
        theme.load(str(large))
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not valid TOML"):
        theme.load(str(broken))
