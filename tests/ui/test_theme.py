"""Themes: complete, readable, and clear about what is wrong with them."""

import json
import re
from pathlib import Path

import pytest

from wsmon.errors import ConfigError, UsageError
from wsmon.modes import theme as command
from wsmon.ui import contrast, theme
from wsmon.ui.render.lines import Ground, Ink, Tone

SHIPPED = ("dark", "light", "high-contrast", "deuteranopia", "tide", "linen", "mono", "terminal")
COLOURED = ("dark", "light", "high-contrast", "deuteranopia", "tide", "linen")
NOBODY: dict[str, str] = {"HOME": "/nonexistent"}
"""The environment of somebody without themes of their own."""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has a directory for themes of their own."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    theme.user_directory(environ).mkdir(parents=True)
    return environ


def mine(home: dict[str, str], name: str, text: str) -> Path:
    """Write a theme of the user's own."""
    path = theme.user_directory(home) / f"{name}.toml"
    path.write_text(text)
    return path


def test_the_shipped_themes_are_there() -> None:
    assert set(theme.names(NOBODY)) == set(SHIPPED)


@pytest.mark.parametrize("name", COLOURED)
def test_everything_can_be_read_on_every_ground(name: str) -> None:
    """Text 7:1, muted 4.5:1, accent and states 4.5:1, faint 3:1; on background, surface and selection."""
    found = contrast.readings(theme.load(name, NOBODY).colors)
    assert len(found) == len(contrast.LEAST_CONTRAST) * len(contrast.GROUNDS)
    assert [reading for reading in found if not reading.fine] == []


def test_high_contrast_has_it_for_everything() -> None:
    found = contrast.readings(theme.load("high-contrast", NOBODY).colors)
    assert min(reading.ratio for reading in found if reading.tone != "faint") >= 7.0


@pytest.mark.parametrize("name", COLOURED)
def test_good_warning_and_bad_can_be_told_apart(name: str) -> None:
    shown = theme.load(name, NOBODY)
    found = contrast.differences(shown.colors, dichromats=shown.dichromats)
    assert len(found) == 9
    assert sum(pair.wanted for pair in found) == (9 if name == "deuteranopia" else 3)
    assert [pair for pair in found if not pair.fine] == []


def test_only_one_theme_claims_to_suit_people_who_see_fewer_colours() -> None:
    assert [name for name in SHIPPED if theme.load(name, NOBODY).dichromats] == ["deuteranopia"]
    # And the claim means something: red and green, as in the default, are too near each other for them.
    dark = contrast.differences(theme.load("dark", NOBODY).colors, dichromats=True)
    assert any(not pair.fine for pair in dark)


@pytest.mark.parametrize("name", COLOURED)
def test_ranks_of_text_differ_in_weight(name: str) -> None:
    """Text stands out from muted and muted from faint, or they would all be one grey."""
    colors = theme.load(name, NOBODY).colors
    text, muted, faint = (contrast.contrast(colors[rank], colors["background"]) for rank in ("text", "muted", "faint"))
    assert text > 1.3 * muted > 1.3 * 1.3 * faint


def test_what_is_left_to_the_terminal_is_not_judged() -> None:
    assert theme.load("terminal", NOBODY).colors == {}
    assert contrast.readings({}) == ()
    assert contrast.differences({}, dichromats=True) == ()


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
        ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_distance_of_colours_is_the_published_one(
    one: tuple[float, float, float], other: tuple[float, float, float], distance: float
) -> None:
    """Source: the test data of Sharma, Wu and Dalal."""
    assert contrast.difference(contrast.Lab(*one), contrast.Lab(*other)) == pytest.approx(distance, abs=5e-5)
    assert contrast.difference(contrast.Lab(*other), contrast.Lab(*one)) == pytest.approx(distance, abs=5e-5)


def test_lab_and_contrast_have_their_fixed_points() -> None:
    assert contrast.lab("#ffffff") == pytest.approx((100, 0, 0), abs=0.02)
    assert contrast.lab("#000000") == pytest.approx((0, 0, 0), abs=0.02)
    assert contrast.lab("#ff0000") == pytest.approx((53.24, 80.09, 67.20), abs=0.05)
    assert contrast.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("sight", list(contrast.Sight))
def test_everybody_sees_the_same_greys(sight: contrast.Sight) -> None:
    assert contrast.lab("#808080", sight) == pytest.approx(contrast.lab("#808080"), abs=0.05)


@pytest.mark.parametrize("sight", [contrast.Sight.PROTANOPE, contrast.Sight.DEUTERANOPE])
def test_red_and_green_come_together_for_those_who_lack_one_of_them(sight: contrast.Sight) -> None:
    red, green = (contrast.lab(color, sight) for color in ("#c83232", "#4b8b2a"))
    assert abs(red.a - green.a) < 0.25 * abs(contrast.lab("#c83232").a - contrast.lab("#4b8b2a").a)


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
        ("name = 3", "name has to be text"),
        ("dichromats = 1", "dichromats has to be true or false"),
        ("x = " + "[" * 5_000, "not valid TOML"),
        ("x = " + "9" * 5_000, "not valid TOML"),
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
    odd = tmp_path / "directory.toml"
    odd.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        theme.load(str(odd))
    with pytest.raises(ConfigError, match="cannot be read"):
        theme.load("nul\0.toml")


def test_the_nearest_word_is_offered(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for text, near in (('good = "bolt"', "'bold'"), ('good = "ansi_gren"', "'ansi_green'")):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            theme.load(str(path))
        assert near in caught.value.hint
        assert str(path) in caught.value.message


def test_a_theme_of_ones_own_is_found_by_name(home: dict[str, str]) -> None:
    path = mine(home, "night", 'text = "#123456"\n')
    assert "night" in theme.names(home)
    found = theme.load("night", home)
    assert (found.name, found.files[0]) == ("night", path)
    assert found.looks["text"].color == "#123456"
    assert found.looks["bad"] == theme.load("dark", NOBODY).looks["bad"]


def test_ones_own_theme_comes_before_a_shipped_one_and_builds_upon_it(home: dict[str, str]) -> None:
    mine(home, "tide", 'inherit = "tide"\nbad = "#ff0000"\n')
    found, shipped = theme.load("tide", home), theme.load("tide", NOBODY)
    assert found.looks["bad"].color == "#ff0000"
    assert found.looks["text"] == shipped.looks["text"]
    assert found.files[1:] == shipped.files
    assert theme.names(home).count("tide") == 1


def test_ones_own_default_is_what_others_inherit_from_but_not_the_shipped_ones(home: dict[str, str]) -> None:
    mine(home, "dark", 'good = "#00ff00"\n')
    mine(home, "night", "")
    assert theme.load("night", home).looks["good"].color == "#00ff00"
    assert theme.load("light", home) == theme.load("light", NOBODY)


def test_two_of_ones_own_that_inherit_from_each_other_are_refused(home: dict[str, str]) -> None:
    mine(home, "one", 'inherit = "other"')
    mine(home, "other", 'inherit = "one"')
    with pytest.raises(ConfigError, match="inherits from itself"):
        theme.load("one", home)


def test_an_unknown_parent_names_the_child_and_the_nearest(home: dict[str, str]) -> None:
    path = mine(home, "one", 'inherit = "lihgt"')
    with pytest.raises(ConfigError) as caught:
        theme.load("one", home)
    assert str(path) in caught.value.message
    assert "did you mean 'light'?" in caught.value.hint


def test_no_directory_of_ones_own_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "wsmon").write_text("not a directory")
    assert set(theme.names({"XDG_CONFIG_HOME": str(tmp_path)})) == set(SHIPPED)


def test_every_shipped_theme_is_documented() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "themes.md").read_text(encoding="utf-8")
    table = text.partition("| name | for |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(SHIPPED)


# Reading again


def test_an_edit_is_seen_once_and_at_most_once_a_second(home: dict[str, str]) -> None:
    path = mine(home, "night", 'good = "#00ff00"')
    watched = theme.watch(theme.load("night", home))
    assert theme.reloaded(watched, 10.0, environ=home) is None
    path.write_text('good = "#00ff00"\nbad = "#ff0000"')
    assert theme.reloaded(watched, 10.9, environ=home) is None
    reload = theme.reloaded(watched, 11.0, environ=home)
    assert reload is not None
    assert reload.theme is not None
    assert reload.theme.looks["bad"].color == "#ff0000"
    assert "read again" in reload.sentence
    assert theme.reloaded(watched, 12.0, environ=home) is None


def test_textual_takes_an_edited_theme_for_another_one(home: dict[str, str]) -> None:
    path = mine(home, "night", 'good = "#00ff00"')
    before = theme.load("night", home).textual().name
    assert theme.load("night", home).textual().name == before
    path.write_text('good = "#00ff01"')
    assert theme.load("night", home).textual().name != before


def test_a_broken_edit_keeps_the_old_look_and_is_said_once(home: dict[str, str]) -> None:
    path = mine(home, "night", 'good = "#00ff00"')
    watched = theme.watch(theme.load("night", home))
    path.write_text('goood = "#00ff00"')
    reload = theme.reloaded(watched, 1.0, environ=home)
    assert reload is not None
    assert reload.theme is None
    assert str(path) in reload.sentence
    assert "did you mean 'good'?" in reload.sentence
    assert "the old look stays" in reload.sentence
    assert watched.theme.looks["good"].color == "#00ff00"
    assert theme.reloaded(watched, 2.0, environ=home) is None
    path.write_text('good = "#0000ff"')
    again = theme.reloaded(watched, 3.0, environ=home)
    assert again is not None
    assert again.theme is not None
    assert again.theme.looks["good"].color == "#0000ff"


def test_a_changed_parent_counts_too(home: dict[str, str]) -> None:
    parent = mine(home, "base", 'good = "#00ff00"')
    mine(home, "night", 'inherit = "base"')
    watched = theme.watch(theme.load("night", home))
    parent.write_text('good = "#00ffff"')
    reload = theme.reloaded(watched, 1.0, environ=home)
    assert reload is not None
    assert reload.theme is not None
    assert reload.theme.looks["good"].color == "#00ffff"


def test_a_new_parent_is_watched_from_then_on(home: dict[str, str]) -> None:
    path = mine(home, "night", "")
    parent = mine(home, "base", 'good = "#00ff00"')
    watched = theme.watch(theme.load("night", home))
    path.write_text('inherit = "base"')
    assert theme.reloaded(watched, 1.0, environ=home) is not None
    assert theme.reloaded(watched, 2.0, environ=home) is None
    parent.write_text('good = "#0000ff" # longer')
    assert theme.reloaded(watched, 3.0, environ=home) is not None


def test_a_file_that_is_gone_counts_only_when_it_stays_away() -> None:
    path = Path("/themes/night.toml")
    shown = theme.Theme("night", dark=True, ansi=False, looks={}, files=(path,))
    watched = theme.ThemeWatch(shown, {path: (1, 10, 7)})
    assert not watched.see(1.0, {path: None})
    assert not watched.see(2.0, {path: (1, 10, 7)})
    assert not watched.see(3.0, {path: None})
    assert watched.see(4.0, {path: None})
    assert not watched.see(5.0, {path: None})
    assert watched.see(6.0, {path: (1, 10, 8)})
    assert watched.deadline == 7.0


def test_a_file_that_stays_away_is_told_of(home: dict[str, str]) -> None:
    path = mine(home, "night", "")
    watched = theme.watch(theme.load("night", home))
    path.unlink()
    assert theme.reloaded(watched, 1.0, environ=home) is None
    reload = theme.reloaded(watched, 2.0, environ=home)
    assert reload is not None
    assert reload.theme is None
    assert "cannot be read" in reload.sentence


# `wsmon theme`


def test_the_check_passes_every_shipped_theme(capsys: pytest.CaptureFixture[str]) -> None:
    for name in SHIPPED:
        assert command.run(["check", str(theme.directory() / f"{name}.toml")]) == 0, name
    printed = capsys.readouterr().out
    assert printed.count("can be told apart") == len(COLOURED)
    assert printed.count("left to the terminal") == 2


def test_the_check_names_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('muted = "#444444"\nwarning = "#ff6060"\n')
    assert command.run(["check", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "muted on background: 1.90, needs 4.5" in printed
    assert "warning and bad are too alike with full colour vision" in printed


def test_the_check_asks_more_of_a_theme_that_claims_more(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("")
    assert command.run(["check", str(path)]) == 0
    path.write_text("dichromats = true\n")
    assert command.run(["check", str(path)]) == 1


def test_the_check_is_an_object_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["check", str(theme.directory() / "deuteranopia.toml"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert len(report["contrasts"]) == 21
    assert {pair["sight"] for pair in report["differences"] if pair["needed"]} == set(contrast.Sight)


def test_the_list_has_all_and_says_which_cannot_be_used(
    home: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", home["XDG_CONFIG_HOME"])
    mine(home, "broken", "goood = 3")
    night = mine(home, "night", "dark = false")
    assert command.run(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted([*SHIPPED, "broken", "night"])
    assert any("cannot be used" in line and "'goood'" in line for line in lines if line.startswith("broken"))
    assert any("light" in line and str(night) in line for line in lines if line.startswith("night"))


def test_a_wrong_command_line_is_refused() -> None:
    for words in ([], ["chekc"], ["check"]):
        with pytest.raises(UsageError):
            command.run(words)
    with pytest.raises(ConfigError, match="no theme 'drak'"):
        command.run(["check", "drak"])
