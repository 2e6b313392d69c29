"""Whatever a key writes, it writes where nobody minds."""

from pathlib import Path

import pytest
from textual import _wait


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often whether the app is idle, for tests that press hundreds of keys and judge at the end only.

    Textual's pilot looks 50 times a second, after every key; that is most of what such a test takes. With less of a
    wait, a layout may still be to come when the pilot goes on.
    """
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", 1 / 200)
