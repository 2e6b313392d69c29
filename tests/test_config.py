"""Settings: what comes before what, and clear words about mistakes."""

import os
import re
from pathlib import Path

import pytest
from textual.keys import _character_to_key

from wsmon import config
from wsmon.agent.redis_url import ClusterUrl, PlainUrl, SentinelUrl, parse_redis_url
from wsmon.commands import BY_ID, COMMANDS, USUAL_KEYS, Group
from wsmon.config import Flags, GlyphChoice, Settings
from wsmon.errors import ConfigError

PATH = Path("/home/me/.config/wsmon/config.toml")
PRIVATE, OPEN = 0o100600, 0o100644


def parse(text: str, mode: int = OPEN) -> Settings:
    return config.parse(text.encode(), path=PATH, mode=mode)


def refusal(text: str, mode: int = OPEN) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, mode)
    assert str(PATH) in caught.value.message
    return caught.value


# What comes before what


def test_without_a_file_everything_is_as_usual(tmp_path: Path) -> None:
    assert config.load(environ={"HOME": str(tmp_path)}) == Settings()
    assert Settings().keys == USUAL_KEYS
    assert config.load(environ={"HOME": "/dev/null"}) == Settings()


def test_flags_come_before_environment_before_file(tmp_path: Path) -> None:
    directory = tmp_path / "wsmon"
    directory.mkdir()
    (directory / "config.toml").write_text('[ui]\ntheme = "tide"\nglyphs = "block"\nfps = 10\nslow_link = true\n')
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    read = config.load(environ=environ)
    assert (read.theme, read.glyphs, read.fps, read.slow_link) == ("tide", GlyphChoice.BLOCK, 10, True)
    assert read.file == directory / "config.toml"
    environ |= {"WSMON_THEME": "linen", "WSMON_GLYPHS": "ascii", "WSMON_FPS": "20", "WSMON_SLOW_LINK": "no"}
    read = config.load(environ=environ)
    assert (read.theme, read.glyphs, read.fps, read.slow_link) == ("linen", GlyphChoice.ASCII, 20, False)
    read = config.load(Flags(theme="light", glyphs="braille", fps=30, slow_link=True), environ)
    assert (read.theme, read.glyphs, read.fps, read.slow_link) == ("light", GlyphChoice.BRAILLE, 30, True)


def test_an_empty_variable_says_nothing() -> None:
    environ = dict.fromkeys(("WSMON_THEME", "WSMON_GLYPHS", "WSMON_FPS", "WSMON_SLOW_LINK"), "")
    assert config.settle(Flags(), environ, Settings(theme="tide", fps=9)) == Settings(theme="tide", fps=9)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("WSMON_GLYPHS", "dots", "braille"),
        ("WSMON_FPS", "0", "from 1 to 60"),
        ("WSMON_FPS", "61", "from 1 to 60"),
        ("WSMON_FPS", "fast", "from 1 to 60"),
        ("WSMON_FPS", "9" * 5_000, "from 1 to 60"),
        ("WSMON_SLOW_LINK", "maybe", "1 or 0"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.settle(Flags(), {name: value}, Settings())
    assert name in caught.value.message
    assert hint in caught.value.hint


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(ConfigError, match="--glyphs is 'dots'"):
        config.settle(Flags(glyphs="dots"), {}, Settings())
    with pytest.raises(ConfigError, match="--fps is 0"):
        config.settle(Flags(fps=0), {}, Settings())


def test_the_directory_follows_the_standard() -> None:
    assert config.config_dir({"XDG_CONFIG_HOME": "/cfg", "HOME": "/home/me"}) == Path("/cfg/wsmon")
    assert config.config_dir({"XDG_CONFIG_HOME": "cfg", "HOME": "/home/me"}) == Path("/home/me/.config/wsmon")
    assert config.config_dir({"HOME": "/home/me"}) == Path("/home/me/.config/wsmon")


def test_another_file_can_be_named_and_then_has_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(ConfigError, match="there is no"):
        config.load(environ={"WSMON_CONFIG": str(path)})
    path.write_text("[ui]\nfps = 5\n")
    assert config.load(environ={"WSMON_CONFIG": str(path)}).fps == 5


def test_a_file_that_cannot_be_read_is_an_error_and_not_nothing(tmp_path: Path) -> None:
    (tmp_path / "wsmon" / "config.toml").mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(environ={"XDG_CONFIG_HOME": str(tmp_path)})


def test_the_settings_cannot_be_changed() -> None:
    settings = parse('[contexts.a]\nredis = "redis://h"\n')
    with pytest.raises(TypeError):
        settings.contexts["b"] = settings.contexts["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        settings.keys["up"] = ()  # type: ignore[index]


def test_a_theme_by_path_is_looked_for_beside_the_file() -> None:
    assert parse('[ui]\ntheme = "tide"').theme == "tide"
    assert parse('[ui]\ntheme = "mine.toml"').theme == "/home/me/.config/wsmon/mine.toml"
    assert parse('[ui]\ntheme = "/srv/mine.toml"').theme == "/srv/mine.toml"


# Mistakes in the file


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[contexs]", "unknown section 'contexs'", "did you mean 'contexts'?"),
        ('theme = "tide"', "unknown section 'theme'", "allowed: ui, keys, contexts"),
        ('[ui]\ntehme = "tide"', "[ui]: unknown key 'tehme'", "did you mean 'theme'?"),
        ("ui = 3", "ui has to be a section", "[ui]"),
        ("[ui]\ntheme = 3", "theme has to be", ""),
        ('[ui]\ntheme = ""', "theme has to be", ""),
        ('[ui]\nglyphs = "dots"', "[ui] glyphs is 'dots'", "braille"),
        ("[ui]\nglyphs = []", "[ui] glyphs is []", "braille"),
        ("[ui]\nfps = 0", "[ui] fps is 0", "1 to 60"),
        ("[ui]\nfps = true", "[ui] fps is True", "1 to 60"),
        ("[ui]\nslow_link = 1", "slow_link has to be true or false", ""),
        ("[ui", "not valid TOML", ""),
        ("x = " + "[" * 5_000, "not valid TOML", ""),
        ("[ui]\nfps = " + "9" * 5_000, "not valid TOML", ""),
        ("[ui]\nfps = 0x" + "f" * 5_000, "[ui] fps is a number beyond reason", "1 to 60"),
        ("[ui]\nglyphs = [0x" + "f" * 5_000 + "]", "[ui] glyphs is a number beyond reason", "braille"),
        (f'[ui]\nglyphs = "{"x" * 5_000}"', f"[ui] glyphs is '{'x' * 79}…", "braille"),
        ("contexts = 1", "contexts has to be a section", ""),
        ("[contexts]\na = 1", "[contexts.a] has to be a section", ""),
        ('[contexts."a b"]\nredis = "redis://h"', "'a b' is not allowed", "letters"),
        ("[contexts.a]", "needs redis or descriptor", ""),
        ('[contexts.a]\nredis = "redis://h"\ndescriptor = "/x"', "not both", ""),
        ('[contexts.a]\nrediss = "redis://h"', "unknown key 'rediss'", "did you mean 'redis'?"),
        ("[contexts.a]\nredis = 3", "redis has to be text", ""),
        ('[contexts.a]\nredis = "http://h"', "not a Redis URL", ""),
        ('[contexts.a]\nredis = "redis://h"\narmed = "yes"', "armed has to be true or false", ""),
        ('[contexts.a]\ndescriptor = "/x"\npassword_env = "P"', "password_env goes with redis only", ""),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str, hint: str) -> None:
    error = refusal(text)
    assert said in error.message
    assert hint in error.hint


def test_a_file_that_is_too_large_or_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger than 65536"):
        config.parse(b"#" * 65_537, path=PATH, mode=OPEN)
    assert config.parse(b"#" * 65_536, path=PATH, mode=OPEN) == Settings(file=PATH)
    with pytest.raises(ConfigError, match="not valid TOML"):
        config.parse(b"\xff", path=PATH, mode=OPEN)
    many = "".join(f'[contexts.c{number}]\nredis = "redis://h"\n' for number in range(257))
    assert "more than 256" in refusal(many).message


# Contexts


def test_a_context_is_a_target() -> None:
    settings = parse(
        '[contexts.prod]\nredis = "redis://me@db:6379/2"\npassword_env = "PROD"\n'
        '[contexts.lab]\ndescriptor = "lab.json"\narmed = true\n'
        '[contexts.far]\ndescriptor = "/srv/far.json"\n'
    )
    environ = {"PROD": "p@ss/w:rd?#"}
    assert settings.resolve("prod", environ) == ("redis://me:p%40ss%2Fw%3Ard%3F%23@db:6379/2", False)
    assert settings.resolve("lab", environ) == ("/home/me/.config/wsmon/lab.json", True)
    assert settings.resolve("far", environ) == ("/srv/far.json", False)
    assert settings.resolve("demo", environ) == ("demo", False)
    assert settings.resolve(None, environ) == (None, False)


def test_a_password_that_is_not_there_is_said_when_it_is_needed() -> None:
    settings = parse('[contexts.prod]\nredis = "redis://db"\npassword_env = "PROD"\n')
    for environ in ({}, {"PROD": ""}):
        with pytest.raises(ConfigError, match="the variable PROD is not set"):
            settings.resolve("prod", environ)


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("redis://db", "redis://:s%2Fx@db"),
        ("rediss://me@db:1/3?ssl_cert_reqs=none", "rediss://me:s%2Fx@db:1/3?ssl_cert_reqs=none"),
        ("unix:///run/r.sock?db=1", "unix://:s%2Fx@/run/r.sock?db=1"),
        ("unix:///run/r@a.sock", "unix://:s%2Fx@/run/r@a.sock"),
        ("redis+sentinel://a:1,b:2/main", "redis+sentinel://:s%2Fx@a:1,b:2/main"),
        ("redis+cluster://me@a:1,b:2", "redis+cluster://me:s%2Fx@a:1,b:2"),
    ],
)
def test_the_password_gets_into_every_kind_of_url(url: str, filled: str) -> None:
    assert not config.holds_password(url)
    assert config.with_password(url, "s/x") == filled
    assert config.holds_password(filled)
    match parse_redis_url(filled):
        case PlainUrl(text):
            assert text == filled
        case SentinelUrl() | ClusterUrl() as place:
            assert place.password == "s/x"


@pytest.mark.parametrize("url", ["redis://u:secret@db", "redis://:secret@db", "redis://db?password=secret"])
def test_a_password_in_a_file_that_others_can_read_is_refused_and_not_repeated(url: str) -> None:
    text = f'[contexts.prod]\nredis = "{url}"\n'
    for mode in (0o100644, 0o100640, 0o100604):
        error = refusal(text, mode)
        assert "others can read the file" in error.message
        assert "chmod 600" in error.hint
        assert "secret" not in error.message + error.hint
    settings = parse(text, PRIVATE)
    assert settings.resolve("prod", {}) == (url, False)
    assert "secret" not in repr(settings)


def test_the_mode_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[contexts.prod]\nredis = "redis://:secret@db"\n')
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640"):
        config.load(environ={"WSMON_CONFIG": str(path)})
    path.chmod(0o600)
    assert config.load(environ={"WSMON_CONFIG": str(path)}).contexts["prod"].redis is not None


def test_a_password_stands_in_one_place_only() -> None:
    error = refusal('[contexts.a]\nredis = "redis://:secret@db"\npassword_env = "P"\n', PRIVATE)
    assert "a password in redis" in error.message
    error = refusal('[contexts.a]\nredis = "redis://db"\npassword_env = "my secret!"\n')
    assert "not the password" in error.message
    assert "secret" not in error.message


# Keys


def test_no_table_leaves_the_usual_keys() -> None:
    assert config.remapped(COMMANDS, {}) == dict(USUAL_KEYS)
    assert parse("").keys == USUAL_KEYS


def test_keys_are_given_as_characters_or_names() -> None:
    keys = parse('[keys]\nfilter = ["%", "ctrl+f", "F5"]\nwide = "W"\nlive = "="\n').keys
    assert keys["filter"] == ("percent_sign", "ctrl+f", "f5")
    assert keys["wide"] == ("W",)
    assert keys["live"] == ("equals_sign",)
    assert keys["drain"] == USUAL_KEYS["drain"]


def test_a_mark_may_arm_but_not_act() -> None:
    assert config.remapped(COMMANDS, {"arm": ("%",)})["arm"] == ("percent_sign",)


def test_keys_can_be_swapped() -> None:
    keys = config.remapped(COMMANDS, {"drain": ("C",), "cordon": ("D",)})
    assert (keys["drain"], keys["cordon"]) == (("C",), ("D",))


@pytest.mark.parametrize("character", [chr(code) for code in range(0x21, 0x7F)])
def test_characters_are_called_as_textual_calls_them(character: str) -> None:
    assert config.key_of(character, "up") == _character_to_key(character)
    assert config.key_of(_character_to_key(character).lower(), "up") == _character_to_key(character.lower())


def test_every_usual_key_can_be_written_in_the_file() -> None:
    for command in COMMANDS:
        assert config.remapped(COMMANDS, {command.id: command.keys}) == dict(USUAL_KEYS)


@pytest.mark.parametrize(
    ("table", "said", "hint"),
    [
        ({"drian": ("Z",)}, "unknown command 'drian'", "did you mean 'drain'?"),
        ({"drain": ("pagedwon",)}, "there is no key 'pagedwon'", "did you mean 'pagedown'?"),
        ({"drain": ("",)}, "there is no key ''", "a character"),
        ({"up": ("\u0301",)}, "there is no key", "a character"),
        ({"up": ("f10",)}, "'f10': terminals open their menu", ""),
        ({"up": ("ctrl+m",)}, "cannot tell it from enter", ""),
        ({"up": ("alt+x",)}, "not every terminal sends it", ""),
        ({"up": ("u", "u")}, "names the key 'u' twice", ""),
        ({"up": ("ctrl+c",)}, "it is always quit", ""),
        ({"up": tuple("abcdehijm")}, "more than 8 keys", ""),
        ({"drain": ("d",)}, "drain cannot lie on 'd'", "capital letter"),
        ({"drain": ("ctrl+d",)}, "drain cannot lie on 'ctrl+d'", "capital letter"),
        ({"heal": ("enter",)}, "heal cannot lie on 'enter'", "capital letter"),
        ({"heal": ("7",)}, "heal cannot lie on '7'", "capital letter"),
        ({"heal": ("%",)}, "heal cannot lie on '%'", "capital letter"),
        ({"arm": ("a",)}, "arm cannot lie on 'a'", "capital letter"),
        ({"drain": ("J",)}, "drain cannot lie on 'J'", "another capital letter"),
        ({"up": ("d",)}, "drain cannot lie on 'D'", "another capital letter"),
        ({"follow": ("D",)}, "follow and drain would both lie on 'D'", "give drain another key"),
        ({"follow": ("?",)}, "follow and help would both lie on '?'", "give help another key"),
        ({"drain": ()}, "drain needs a key", ""),
        ({"help": ()}, "help needs a key", ""),
    ],
)
def test_a_key_that_cannot_be_is_refused(table: dict[str, tuple[str, ...]], said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.remapped(COMMANDS, table)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_there_is_always_a_way_out() -> None:
    assert config.remapped(COMMANDS, {"quit": ("Q",)})["quit"] == ("Q", "ctrl+c")
    assert config.remapped(COMMANDS, {"quit": ()})["quit"] == ("ctrl+c",)


def test_what_only_looks_may_go_without_a_key() -> None:
    assert config.remapped(COMMANDS, {"marker": ()})["marker"] == ()


def test_a_mistake_in_keys_names_the_file_and_the_section() -> None:
    error = refusal('[keys]\ndrian = "Z"')
    assert "[keys] unknown command 'drian'" in error.message
    assert "each as text" in refusal("[keys]\ndrain = 3").message
    assert "each as text" in refusal("[keys]\ndrain = [3]").message


def test_the_usual_keys_keep_the_rules_that_others_have_to_keep() -> None:
    for command in COMMANDS:
        if command.group is Group.ACT:
            assert all(len(key) == 1 and key.isupper() for key in command.keys)
    assert {key for keys in config.remapped(COMMANDS, {}).values() for key in keys} >= {"D", "up", "ctrl+c"}
    assert set(config.ALWAYS.values()) <= set(BY_ID)
    assert set(config._MOVES) <= set(BY_ID)


def test_the_variables_are_those_that_are_read() -> None:
    """Every documented variable changes something; a file that is named changes all."""
    base = Settings()
    values = {"WSMON_THEME": "tide", "WSMON_GLYPHS": "ascii", "WSMON_FPS": "3", "WSMON_SLOW_LINK": "1"}
    assert {*values, "WSMON_CONFIG"} == set(config.VARIABLES)
    for name, value in values.items():
        assert config.settle(Flags(), {name: value}, base) != base


def test_a_home_that_nobody_has_stays_as_it_is() -> None:
    settings = parse('[contexts.a]\ndescriptor = "~no-such-user/x.json"\n')
    assert settings.resolve("a", {})[0] == "/home/me/.config/wsmon/~no-such-user/x.json"
    at_home = parse('[contexts.a]\ndescriptor = "~/x.json"\n').resolve("a", {})[0]
    assert at_home == os.path.expanduser("~/x.json")  # noqa: PTH111


def test_the_documented_file_is_a_good_one() -> None:
    text = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    settings = parse(example)
    assert set(settings.contexts) == {"prod", "lab"}
    assert settings.keys["live"] == ("L", "equals_sign")
    assert settings.contexts["lab"].armed
    for name in config.VARIABLES:
        assert f"| `{name}` |" in text
