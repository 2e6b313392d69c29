"""What an import costs: proved in fresh interpreters."""

import subprocess
import sys

import pytest

HEAVY = ("textual", "rich", "redis", "httpx", "websockets", "psutil")


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("wsmon.protocol.session", (*HEAVY, "asyncio")),
        ("wsmon.protocol.events", (*HEAVY, "asyncio")),
        ("wsmon.cli", HEAVY),
        ("wsmon.headless", ("textual", "rich", "redis", "httpx")),
        ("wsmon.agent.server", ("textual", "rich", "redis", "httpx")),
        ("sample_cluster.cli", HEAVY),
        ("sample_cluster.node", ("textual", "rich", "httpx")),
    ],
)
def test_a_module_loads_nothing_heavy(module: str, banned: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[name for name in {banned!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == []


def test_the_protocol_imports_the_standard_library_alone() -> None:
    code = (
        "import sys, wsmon.protocol.session, wsmon.protocol.events, wsmon.protocol.registry, wsmon.protocol.descriptor;"
        "roots = {name.partition('.')[0] for name in sys.modules};"
        "print(*sorted(roots - set(sys.stdlib_module_names) - {'wsmon', '__main__', 'sitecustomize'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    foreign = [name for name in done.stdout.split() if not name.startswith(("_", "distutils"))]
    assert foreign == []
