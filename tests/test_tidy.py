"""What a search can see."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for top in ("wsmon", "sample_cluster", "tests") for path in (ROOT / top).rglob("*.py"))
TEXTS = [*SOURCES, *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.toml"))]
MARKS = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X"))
BANNED = {
    # In words of the source, and what to use instead.
    r"\brandom\.(random|uniform|choice|randint)\(": "the random.Random that was handed in",
    r"\bdatetime\.now\(": "the `now` or `at` that was handed in",
    r"\bredis\.exceptions import .*\b(ConnectionError|TimeoutError)\b": "redis.exceptions.… written in full",
}


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def lines_with(pattern: str, paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def test_nothing_is_marked_as_unfinished() -> None:
    assert lines_with(rf"\b({MARKS})\b", [path for path in TEXTS if path != Path(__file__)]) == []


def test_no_test_outside_e2e_waits_for_the_wall_clock() -> None:
    tests = [path for path in SOURCES if (ROOT / "tests") in path.parents and "e2e" not in path.parts]
    asleep = lines_with(r"\btime\.sleep\(", tests)
    # tests/shell runs on virtual time, where sleeping takes no time, and so does what it is supported by.
    asleep += lines_with(
        r"\basyncio\.sleep\([^0)]", [path for path in tests if not {"shell", "support"} & {*path.parts}]
    )
    assert [line for line in asleep if not line.startswith("tests/test_tidy.py")] == []


@pytest.mark.parametrize("pattern", BANNED)
def test_banned_words_do_not_occur(pattern: str) -> None:
    paths = [path for path in SOURCES if (ROOT / "tests") not in path.parents]
    assert lines_with(pattern, paths) == [], f"use {BANNED[pattern]}"


def test_every_core_has_a_test_file_of_its_own() -> None:
    cores = {path.stem for path in (ROOT / "sample_cluster" / "core").glob("*.py")} - {"__init__", "messages"}
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "core").glob("test_*.py")}
    assert cores - tested == set()


def test_constraints_name_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line)] == []


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {project['project']['version']}" in changelog
