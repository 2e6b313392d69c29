"""Node processes on a real Redis-compatible server."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from sample_cluster.codecs.json import decode_node, encode
from sample_cluster.config import TEST
from sample_cluster.core.messages import (
    ClientFrame,
    Error,
    GoAway,
    Hello,
    Level,
    Message,
    NodeFrame,
    Ping,
    Pong,
    Publish,
    Published,
    Subscribe,
    Subscribed,
    UnknownFrame,
    Welcome,
)
from sample_cluster.membership import connect_redis
from sample_cluster.node.store import Appended, Store
from tests.support.redis_kinds import Servers, free_ports, until
from tests.support.redis_server import start_redis
from tests.support.store_contract import append, check_store
from wsmon.agent.client import open_admin
from wsmon.protocol.frames import Actor, JsonObject

pytestmark = pytest.mark.e2e

ACTOR = Actor(user="tester", host="here")
RUN = """
import asyncio, sys
from sample_cluster.config import TEST
from sample_cluster.node import NodeLoop, run_node
from sample_cluster.role import RoleSettings, set_up_logging
from wsmon.protocol.states import PeerKind
name, redis, admin = sys.argv[1:]
set_up_logging(name)
settings = RoleSettings(kind=PeerKind.NODE, id=name, cluster="t", redis=redis, admin=admin, profile=TEST)
with asyncio.Runner(loop_factory=NodeLoop) as runner:
    runner.run(run_node(settings))
"""


class Rig:
    """A server and node processes, ended with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.nodes: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        self.url, self.redis = await start_redis(self.directory)
        self.client = connect_redis(self.url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self.nodes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()
        await self.client.aclose()
        self.redis.kill()
        self.redis.wait()

    def admin(self, name: str) -> str:
        return f"ws+unix://{self.directory}/{name}.sock"

    async def node(self, name: str) -> str:
        """Start a node and return the address at which it is online."""
        self.nodes[name] = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, name, self.url, self.admin(name), cwd=Path(__file__).parents[2]
        )
        async with asyncio.timeout(10):
            while True:
                text = await self.client.get(f"wsc:{{t}}:node:{name}")
                address = json.loads(text).get("address") if text else None
                if address and (await http(address, "/ready")).startswith("HTTP/1.1 200"):
                    return str(address)
                await asyncio.sleep(0.05)


class Client:
    """A client that answers pings and keeps everything else."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[NodeFrame | UnknownFrame] = []
        self._new = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    async def send(self, *frames: ClientFrame) -> None:
        await self.connection.send("\n".join(encode(frame) for frame in frames))

    async def until(self, kind: type[NodeFrame], count: int = 1, *, within_s: float = 10) -> list[NodeFrame]:
        """Return the frames of a kind once there are `count`."""
        async with asyncio.timeout(within_s):
            while len(found := [frame for frame in self.frames if isinstance(frame, kind)]) < count:
                self._new.clear()
                await self._new.wait()
        return found

    async def _read(self) -> None:
        try:
            async for text in self.connection:
                assert isinstance(text, str)
                for frame in decode_node(text):
                    if isinstance(frame, Ping):
                        await self.send(Pong(ts=frame.ts))
                    else:
                        self.frames.append(frame)
                self._new.set()
        except ConnectionClosed:
            pass


async def join(address: str) -> Client:
    client = Client(await connect(f"ws://{address}/ws", compression=None, ping_interval=None, proxy=None))
    await client.send(Hello())
    await client.until(Welcome)
    return client


async def http(address: str, path: str, *, method: str = "GET", headers: str = "") -> str:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


@pytest.fixture
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with Rig(tmp_path_factory.mktemp("n")) as rig:
        yield rig


async def test_the_scripts_keep_the_contract_of_the_log(rig: Rig) -> None:
    store = Store(rig.client, "t", TEST, Random(1))
    task = asyncio.create_task(store.run())
    await check_store(store)
    await rig.client.script_flush()  # As after a restart of the server.
    await rig.client.flushall()
    await check_store(store)
    task.cancel()


async def test_a_safe_message_is_confirmed_by_the_replica_as_long_as_there_is_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory, servers = tmp_path_factory.mktemp("r"), Servers()
    primary, replica = free_ports(2)
    servers.ports = {"primary": primary, "replica": replica}
    client = connect_redis(f"redis://127.0.0.1:{primary}")
    store = Store(client, "t", TEST, Random(1))
    task = asyncio.create_task(store.run())
    try:
        servers.start("primary", directory, {"port": str(primary), "repl-diskless-sync-delay": "0"})
        servers.start("replica", directory, {"port": str(replica), "replicaof": f"127.0.0.1 {primary}"})

        async def replicates() -> bool:
            role = await servers.ask("replica", "ROLE")
            return bool(role[3] == "connected")

        await until(replicates)
        assert await append(store, 1, level=Level.SAFE) == Appended(1, dup=False, replicas=1)
        key = store.fan_out("c")
        assert await servers.ask("replica", "HGET", f"{key}:meta", "top") == "1", "it is there when we are told so"
        assert await append(store, 1, level=Level.SAFE) == Appended(1, dup=True, replicas=1)
        assert await append(store, 2) == Appended(2, dup=False, replicas=None)
        servers.kill("replica")
        assert await append(store, 3, level=Level.SAFE) == Appended(3, dup=False, replicas=0)
    finally:
        task.cancel()
        await client.aclose()
        servers.end()


async def test_plain_http_on_the_clients_port(rig: Rig) -> None:
    address = await rig.node("n1")
    for path in ("/live", "/health", "/ready", "/metrics"):
        assert (await http(address, path)).startswith("HTTP/1.1 200 OK\r\n")
    health = json.loads((await http(address, "/health")).partition("\r\n\r\n")[2])
    assert (health["status"], health["node"], health["state"]) == ("ok", "n1", "online")
    assert 'wsc_connections{node="n1"} 0\n' in await http(address, "/metrics")
    assert (await http(address, "/elsewhere")).startswith("HTTP/1.1 404")
    assert (await http(address, "/health", method="POST")).startswith("HTTP/1.1 405")
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://{address}/ws", subprotocols=[Subprotocol("wsc.v9.xml")], proxy=None)
    assert caught.value.response.status_code == 400
    assert b"wsc.v1.json" in caught.value.response.body
    subprotocols = [Subprotocol("wsc.v9.xml"), Subprotocol("wsc.v1.json")]
    async with connect(f"ws://{address}/ws", subprotocols=subprotocols, proxy=None) as connection:
        assert connection.subprotocol == "wsc.v1.json"


async def test_nothing_is_lost_between_nodes_although_pub_sub_is_cut_again_and_again(rig: Rig) -> None:
    here, there = await asyncio.gather(rig.node("n1"), rig.node("n2"))
    publisher, subscriber = await join(here), await join(there)
    await subscriber.send(Subscribe(id=1, channel="c"))
    await subscriber.until(Subscribed)
    for cseq in range(1, 501):
        await publisher.send(Publish(channel="c", cseq=cseq, data=cseq))
        if cseq % 100 == 50:
            await publisher.until(Published, cseq - 5)
            await rig.client.client_kill_filter(_type="pubsub")
    await publisher.until(Published, 500)
    messages = await subscriber.until(Message, 500)
    assert [frame.data for frame in messages if isinstance(frame, Message)] == [*range(1, 501)]


async def test_redis_is_killed_and_comes_back(rig: Rig) -> None:
    here, there = await asyncio.gather(rig.node("n1"), rig.node("n2"))
    publisher, subscriber = await join(here), await join(there)
    await subscriber.send(Subscribe(id=1, channel="c"))
    await subscriber.until(Subscribed)  # From now on: what is published before is not for it.
    await publisher.send(*(Publish(channel="c", cseq=cseq, data=cseq) for cseq in (1, 2, 3)))
    await publisher.until(Published, 3)
    rig.redis.kill()
    rig.redis.wait()
    await publisher.send(Publish(channel="c", cseq=4, data=4))
    (error,) = await publisher.until(Error)
    assert isinstance(error, Error)
    assert (error.temporary, error.channel, error.cseq) == (True, "c", 4)
    _, rig.redis = await start_redis(rig.directory)
    for _ in range(50):  # As a client does: again after the advice, until it is taken.
        await publisher.send(Publish(channel="c", cseq=4, data=4))
        await asyncio.sleep(0.1)
        if len([frame for frame in publisher.frames if isinstance(frame, Published)]) >= 4:
            break
    messages = await subscriber.until(Message, 4)
    assert [frame.data for frame in messages if isinstance(frame, Message)] == [1, 2, 3, 4]


async def test_a_drain_tells_everybody_and_closes_who_stays(rig: Rig) -> None:
    address = await rig.node("n1")
    polite, deaf = await join(address), await join(address)
    admin = await open_admin(rig.admin("n1"))
    dry = await admin.command("drain", {"deadline_s": 1}, actor=ACTOR, dry_run=True)
    assert dry.effect == {
        "connections": 2,
        "deadline_s": 1.0,
        "rate": 6.7,  # Half a second is for the others to hear of it, a fifth of the time for the last one to go.
        "hurried": True,
        "eta_s": 0.8,
        "survivors": {},
    }
    assert (await admin.command("drain", {"deadline_s": 1}, actor=ACTOR)).ok
    await polite.until(GoAway)
    assert (await http(address, "/health")).startswith("HTTP/1.1 503")
    with pytest.raises(InvalidStatus):
        await connect(f"ws://{address}/ws", proxy=None)
    await polite.connection.close(1000)
    await deaf.task
    assert deaf.connection.close_code == 1012
    async with asyncio.timeout(5):
        while admin.state.get("state") != "left":  # noqa: ASYNC110  # The client of the admin socket keeps no events.
            await asyncio.sleep(0.05)
    assert "drain" not in admin.state
    assert (await admin.command("undrain", {}, actor=ACTOR)).effect == {"state": "online"}
    assert (await http(address, "/health")).startswith("HTTP/1.1 200")
    await admin.close()


async def test_sigterm_drains_and_ends_the_process(rig: Rig) -> None:
    address = await rig.node("n1")
    client = await join(address)
    rig.nodes["n1"].send_signal(signal.SIGTERM)
    (away,) = await client.until(GoAway)
    assert isinstance(away, GoAway)
    assert (away.reason, away.handover) == ("drain", True)
    await client.connection.close(1000)
    assert await asyncio.wait_for(rig.nodes["n1"].wait(), 5) == 0
    assert await rig.client.get("wsc:{t}:node:n1") is None


async def test_operations_on_a_node(rig: Rig) -> None:
    await rig.node("n2")
    address = await rig.node("n1")
    client = await join(address)
    admin = await open_admin(rig.admin("n1"))
    reached = await admin.command("probe", {"node": "n2", "timeout_ms": 1_000}, actor=ACTOR)
    assert reached.effect is not None
    assert reached.effect["reached"] is True
    given = await admin.command("probe", {"node": "somebody", "timeout_ms": 500, "address": address}, actor=ACTOR)
    assert given.effect is not None
    assert given.effect["reached"] is True  # Whoever asks said where: Redis, which knows nobody of that name, is not.
    for nonsense in ("nonsense", "a:0", 7):
        args: JsonObject = {"node": "n2", "timeout_ms": 100, "address": nonsense}
        assert not (await admin.command("probe", args, actor=ACTOR)).ok
    rig.nodes["n2"].send_signal(signal.SIGSTOP)
    frozen = await admin.command("probe", {"node": "n2", "timeout_ms": 100}, actor=ACTOR)
    assert frozen.effect is not None
    assert frozen.effect["reached"] is False
    assert not (await admin.command("probe", {"node": "nobody", "timeout_ms": 100}, actor=ACTOR)).ok
    assert (await admin.command("cordon", {}, actor=ACTOR)).ok
    with pytest.raises(InvalidStatus):
        await connect(f"ws://{address}/ws", proxy=None)
    assert (await http(address, "/health")).startswith("HTTP/1.1 200")
    assert (await admin.command("uncordon", {}, actor=ACTOR)).ok
    assert (await admin.command("disconnect", {"count": 5}, actor=ACTOR)).effect == {"closed": 1, "rate": 5.0}
    assert (await admin.command("disconnect", {"count": 5}, actor=ACTOR)).effect == {"closed": 0, "rate": 5.0}
    await client.task
    assert client.connection.close_code == 1012
    assert not (await admin.command("drain", {"deadline_s": -1}, actor=ACTOR)).ok
    assert not (await admin.command("kill", {"signal": "HUP"}, actor=ACTOR)).ok
    assert (await admin.command("kill", {"signal": "KILL"}, actor=ACTOR)).ok
    assert await asyncio.wait_for(rig.nodes["n1"].wait(), 5) == -signal.SIGKILL
    await admin.close()
