"""`wsmon conform` against processes of a running cluster, and against one that breaks a promise."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.admin_peer import AdminPeer, Wrong

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

SKIPPED = {"token", "read-only", "events"}
"""Nobody asks this on a Unix socket, or where nothing happens."""
IDLE = {"deltas", "pace", "since"}


@pytest.fixture
async def cluster() -> AsyncIterator[Path]:
    """Two nodes and what belongs to them; return where their sockets are."""
    with tempfile.TemporaryDirectory(prefix="wsm-") as root:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sample_cluster", "up", "--until-eof", "--cluster", "conform"),
            *("--port", "0", "--profile", "test", "--nodes", "2", "--clients", "4"),
            env=os.environ | {"XDG_RUNTIME_DIR": root},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        descriptor = json.loads(await process.stdout.readline())
        yield Path(descriptor["supervisor"].removeprefix("ws+unix://")).parent
        process.stdin.close()
        await process.wait()


async def conform(endpoint: str, *flags: str, token: str = "") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wsmon", "conform", endpoint, *flags),
        env=os.environ | {"WSMON_TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_a_node_and_the_supervisor_of_a_running_cluster_conform(cluster: Path) -> None:
    names = ("n1", "supervisor")
    done = await asyncio.gather(*(conform(f"ws+unix://{cluster / name}.sock", "--json") for name in names))
    for name, (status, out, errors) in zip(names, done, strict=True):
        report = json.loads(out)
        failed = [transcript for transcript in report["transcripts"] if transcript["verdict"] == "failed"]
        assert (status, errors, failed) == (0, "", [])
        assert (report["peer"]["id"], report["conforms"]) == (name, True)
        skipped = {transcript["name"] for transcript in report["transcripts"] if transcript["verdict"] == "skipped"}
        assert skipped <= (SKIPPED if name == "n1" else SKIPPED | IDLE)


async def test_a_broken_promise_is_told_step_by_step_and_exits_1() -> None:
    peer = AdminPeer(Wrong.PONG_ID)
    port = await peer.start(0)
    url = f"ws://127.0.0.1:{port}/admin"
    status, out, errors = await conform(url, "--only", "ping", "--only", "query", token="right")
    assert (status, errors) == (1, "")
    lines = out.splitlines()
    assert lines[0] == f"n1 at {url}: node, role control"
    assert lines[1].startswith("FAIL  ping")
    assert [line.split()[1] for line in lines[2:6]] == ["ok", "ok", "ok", "FAIL"]
    assert lines[6].split() == ["expected", '{"type":"pong","id":"p1","at":1700000000.25}']
    assert 'came      id is "p0", not "p1"' in lines[7]
    assert lines[8].startswith("ok    query")
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"
    status, out, _ = await conform(url, "--only", "ping", "--json", token="right")
    assert (status, json.loads(out)["conforms"]) == (1, False)
    status, _, errors = await conform(url, token="wrong")
    assert (status, len(errors.splitlines())) == (3, 1)
    assert "HTTP 401" in errors
    assert "wrong" not in errors
    await peer.stop()


async def test_what_cannot_be_asked_exits_2_and_who_is_not_there_3(tmp_path: Path) -> None:
    assert (await conform("http://127.0.0.1/"))[0] == 2
    assert (await conform("ws://example.org:1/admin"))[0] == 2
    status, _, errors = await conform("ws://127.0.0.1:1/admin", "--only", "pong")
    assert (status, "ping" in errors) == (2, True)
    status, out, _ = await conform(f"ws+unix://{tmp_path}/x.sock", "--json")
    assert (status, json.loads(out)["error"]["code"]) == (3, "unreachable")
