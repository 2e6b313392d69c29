"""A node process that is stopped for longer than its lease holds, on a real Redis-compatible server."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sample_cluster.membership import connect_redis
from tests.support.redis_server import start_redis
from wsmon.agent.client import open_admin
from wsmon.errors import UnreachableError
from wsmon.protocol.frames import Actor

pytestmark = pytest.mark.e2e

ACTOR = Actor(user="tester", host="here")
TTL_S = 3.0
"""Short enough to wait for, and long enough that a busy machine does not lose a lease by itself."""
RUN = f"""
import sys
from sample_cluster.config import TEST
from sample_cluster.role import RoleSettings, set_up_logging
from sample_cluster.spawner import run_to_end
from wsmon.protocol.states import PeerKind
redis, admin = sys.argv[1:]
set_up_logging("n1")
settings = RoleSettings(
    kind=PeerKind.NODE, id="n1", cluster="t", redis=redis, admin=admin, profile=TEST, entry_ttl_s={TTL_S}
)
run_to_end(settings, {{}})
"""
LOG = "wsc:t:c:{c}:log"


class Rig:
    """A server and one node."""

    def __init__(self, url: str, server: subprocess.Popen[bytes], process: asyncio.subprocess.Process) -> None:
        self.redis = connect_redis(url)
        self.server = server
        self.process = process
        self.address = ""

    async def entry(self) -> dict[str, Any]:
        """Return what the node registered; empty without an entry."""
        text = await self.redis.get("wsc:{t}:node:n1")
        document: dict[str, Any] = json.loads(text) if text else {}
        return document

    async def health(self) -> tuple[int, dict[str, Any]]:
        """Return status and body of `/health`."""
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /health HTTP/1.1\r\nHost: n1\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), json.loads(body)

    async def online(self) -> None:
        """Wait until the node takes clients."""
        async with asyncio.timeout(10):
            while True:
                self.address = (await self.entry()).get("address", "")
                if self.address and (await self.health())[1].get("state") == "online":
                    return
                await asyncio.sleep(0.02)

    def connect(self) -> connect:
        return connect(f"ws://{self.address}/ws", compression=None, ping_interval=None, proxy=None)

    async def join(self, **fields: Any) -> tuple[ClientConnection, dict[str, Any]]:
        """Return a connection that was welcomed, and the welcome."""
        client = await self.connect()
        await send(client, {"type": "hello"} | fields)
        return client, await receive(client, "welcome")


async def send(client: ClientConnection, frame: dict[str, Any]) -> None:
    await client.send(json.dumps(frame))


async def receive(client: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next frame of a kind; pings are answered."""
    async with asyncio.timeout(10):
        while True:
            for line in str(await client.recv()).split("\n"):
                frame: dict[str, Any] = json.loads(line)
                if frame["type"] == kind:
                    return frame
                if frame["type"] == "ping":
                    await send(client, {"type": "pong", "ts": frame["ts"]})


def publish(cseq: int) -> dict[str, Any]:
    return {"type": "publish", "channel": "c", "cseq": cseq, "data": cseq}


async def closed(client: ClientConnection) -> int | None:
    """Read to the end, and return how it ended."""
    try:
        async with asyncio.timeout(10):
            while True:
                await client.recv()
    except ConnectionClosed:
        return client.close_code


@pytest.fixture
def admin(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"ws+unix://{tmp_path_factory.mktemp('f')}/n1.sock"


@pytest.fixture
async def rig(tmp_path_factory: pytest.TempPathFactory, admin: str) -> AsyncIterator[Rig]:
    url, server = await start_redis(tmp_path_factory.mktemp("f"))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, url, admin, cwd=Path(__file__).parents[2])
    rig = Rig(url, server, process)
    try:
        await rig.online()
        yield rig
    finally:
        for number in (signal.SIGKILL, signal.SIGCONT):
            server.send_signal(number)
        if process.returncode is None:
            process.kill()
        await process.wait()
        server.wait()
        await rig.redis.aclose()


async def test_a_node_stopped_for_longer_than_its_lease_begins_another_life_before_it_reads_anything(
    rig: Rig, admin: str
) -> None:
    client, first = await rig.join()
    silent = await rig.connect()  # Has not said hello.
    operator = await open_admin(admin)
    await send(client, publish(1))
    assert (await receive(client, "published"))["seq"] == 1

    rig.process.send_signal(signal.SIGSTOP)
    for cseq in (2, 3, 4):
        await send(client, publish(cseq))
    await send(silent, {"type": "hello"})
    command = asyncio.ensure_future(operator.command("cordon", {}, actor=ACTOR))
    await asyncio.sleep(TTL_S + 0.3)
    rig.server.send_signal(signal.SIGSTOP)  # So that the node cannot join again while we look.
    rig.process.send_signal(signal.SIGCONT)

    assert await closed(client) == 4010
    assert await closed(silent) == 4010
    with pytest.raises(UnreachableError):
        await command
    status, health = await rig.health()
    assert (status, health["status"], health["state"]) == (503, "fenced", "joining")
    assert health["boot"] > first["boot"]
    with pytest.raises(InvalidStatus) as refused:
        await rig.connect()
    assert refused.value.response.status_code == 503

    rig.server.send_signal(signal.SIGCONT)
    await rig.online()
    status, health = await rig.health()
    assert (status, health["status"]) == (200, "ok")
    entry = await rig.entry()
    assert entry["boot"] == health["boot"] > first["boot"]
    assert await rig.redis.xlen(LOG) == 1  # Nothing that was sent to the node that stood still.
    assert rig.process.returncode is None
    entries: Any = await rig.redis.xrange("wsc:{t}:events")
    events = [json.loads(fields["event"]) for _, fields in entries]
    (told,) = [event for event in events if event["kind"] == "node_state"]
    assert (told["boot"], told["old"], told["new"]) == (entry["boot"], "online", "joining")
    assert "its lease ran out" in told["reason"]
    async with await open_admin(admin) as operator:
        assert operator.hello.boot == entry["boot"]
        assert "cordoned" not in operator.state

    back, welcome = await rig.join(
        type="resume", session=first["session"], secret=first["secret"], attempt=2, positions={}
    )
    assert welcome["boot"] == entry["boot"]
    await send(back, publish(2))
    assert (await receive(back, "published"))["seq"] == 2
    await back.close()


async def test_neither_a_shorter_pause_nor_the_absence_of_redis_is_a_reason(rig: Rig) -> None:
    client, first = await rig.join()
    rig.process.send_signal(signal.SIGSTOP)
    await send(client, publish(1))
    await asyncio.sleep(1.2)  # Long enough to be noticed.
    rig.process.send_signal(signal.SIGCONT)
    assert (await receive(client, "published"))["seq"] == 1

    rig.server.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(TTL_S + 1):
        for _ in range(3):  # The node goes on pinging every 1.5 s.
            ping = await receive(client, "ping")
            await send(client, {"type": "pong", "ts": ping["ts"]})
    rig.server.send_signal(signal.SIGCONT)

    async with asyncio.timeout(10):
        while not (entry := await rig.entry()):  # noqa: ASYNC110  # Nothing tells when it is written again.
            await asyncio.sleep(0.05)
    assert entry["boot"] == first["boot"]
    assert (await rig.health())[0] == 200
    await send(client, publish(2))
    await receive(client, "published")
    await client.close()
