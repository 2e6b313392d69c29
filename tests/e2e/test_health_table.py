"""Lease, verdicts and the gateway's view against a real server, and what a refused connect looks like."""

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sample_cluster.checker.dial import AdminLink, Canary, RefusedError
from sample_cluster.checker.ports import Conflict, Stale, Written
from sample_cluster.checker.redis_plane import RedisPlane
from sample_cluster.core.health import Evidence, Kind, Transition
from sample_cluster.core.lease import Claim, Granted, HeldBy
from sample_cluster.errors import StoreUnavailableError
from sample_cluster.gateway.redis_table import RedisTable
from sample_cluster.membership import Membership, connect_redis
from tests.support.redis_server import start_redis
from wsmon.agent.server import AdminServer, Identity
from wsmon.errors import OperationRefusedError, UnreachableError
from wsmon.protocol.fields import dump_object
from wsmon.protocol.frames import Command, JsonObject
from wsmon.protocol.registry import Keys, RegistryEntry, Verdict
from wsmon.protocol.states import NodeState, PeerKind

pytestmark = pytest.mark.e2e

KEYS = Keys("t")
FIRST = Claim(epoch=0, floor=0, fresh=True)


@pytest.fixture
async def redis_url() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        url, process = await start_redis(Path(name))
        try:
            yield url
        finally:
            process.kill()
            process.wait()


@pytest.fixture
async def directory() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wsm-") as name:
        yield Path(name)


def verdict(state: NodeState, *, version: int, epoch: int = 1, node: str = "n1") -> Verdict:
    return Verdict(
        node=node,
        state=state,
        reason="because “so”",
        epoch=epoch,
        version=version,
        at=time.time(),
        boot=7,
        evidence={"kind": "word"},
    )


def move(old: NodeState, new: NodeState) -> Transition:
    return Transition(node="n1", old=old, new=new, reason="", evidence=Evidence(kind=Kind.WORD), boot=7, now=0.0)


async def test_the_lease_is_taken_renewed_followed_and_fenced(redis_url: str) -> None:
    client = connect_redis(redis_url)
    one = RedisPlane(client, KEYS, who="c1", lease_ttl_s=0.3)
    two = RedisPlane(client, KEYS, who="c2", lease_ttl_s=0.3)
    assert await one.claim(FIRST) == Granted(epoch=1)
    assert await one.claim(Claim(epoch=1, floor=1, fresh=False)) == Granted(epoch=1)
    assert await two.claim(FIRST) == HeldBy(who="c1", epoch=1)
    # A restarted checker follows itself at once; what is left of its earlier life is fenced.
    assert await one.claim(FIRST) == Granted(epoch=2)
    assert await one.claim(Claim(epoch=1, floor=1, fresh=False)) == HeldBy(who="c1", epoch=2)
    await asyncio.sleep(0.4)
    assert await two.claim(Claim(epoch=0, floor=7, fresh=False)) == Granted(epoch=8)
    assert await client.get(KEYS.checker_epoch) == "8"
    await client.aclose()


async def test_a_lease_is_given_back_looked_at_and_never_taken_by_who_only_looks(redis_url: str) -> None:
    client = connect_redis(redis_url)
    one = RedisPlane(client, KEYS, who="c1", lease_ttl_s=3)
    two = RedisPlane(client, KEYS, who="c2", lease_ttl_s=3)
    look = Claim(epoch=0, floor=0, fresh=False, take=False)
    assert await two.claim(look) == HeldBy(who="", epoch=0)
    assert await one.claim(FIRST) == Granted(epoch=1)
    held = await two.claim(look)
    assert held == HeldBy(who="c1", epoch=1)
    assert isinstance(held, HeldBy)
    assert held.left_s == pytest.approx(3, abs=0.5)
    await two.release(look)  # It is not ours to give back.
    await one.release(Claim(epoch=9, floor=0, fresh=False))  # Nor that of another epoch.
    assert await two.claim(FIRST) == HeldBy(who="c1", epoch=1)
    await one.release(Claim(epoch=1, floor=0, fresh=False))
    assert await two.claim(FIRST) == Granted(epoch=2)
    await client.aclose()


async def test_a_server_that_can_only_be_read_makes_leader_and_standby_blind(redis_url: str) -> None:
    client = connect_redis(redis_url)
    one = RedisPlane(client, KEYS, who="c1", lease_ttl_s=3)
    two = RedisPlane(client, KEYS, who="c2", lease_ttl_s=3)
    await one.claim(FIRST)
    await two.claim(FIRST)
    await client.execute_command("CONFIG", "SET", "min-replicas-to-write", "1")
    assert await client.execute_command("PING")
    for plane, claim in ((one, Claim(epoch=1, floor=1, fresh=False)), (two, FIRST)):
        with pytest.raises(StoreUnavailableError):
            await plane.claim(claim)
    await client.aclose()


async def test_a_verdict_is_written_once_and_only_by_the_newest_leader(redis_url: str) -> None:
    client = connect_redis(redis_url)
    plane = RedisPlane(client, KEYS, who="c1", lease_ttl_s=3)
    await plane.claim(FIRST)
    joining, online = verdict(NodeState.JOINING, version=1), verdict(NodeState.ONLINE, version=2)
    assert await plane.write(joining, move(NodeState.LEFT, NodeState.JOINING), expected=0) == Written()
    change = move(NodeState.JOINING, NodeState.ONLINE)
    assert await plane.write(online, change, expected=0) == Conflict(joining, 1)
    assert await plane.write(online, change, expected=1) == Written()
    assert (await plane.read()).table == {"n1": online}
    log: Any = await client.xrange(KEYS.health_log)
    last = log[-1][1]
    assert (last["node"], last["old"], last["new"], last["epoch"]) == ("n1", "joining", "online", "1")
    assert (last["version"], last["reason"]) == ("2", "because “so”")
    await client.set(KEYS.checker_epoch, 5)
    removed = verdict(NodeState.REMOVED, version=3)
    assert await plane.write(removed, move(NodeState.ONLINE, NodeState.REMOVED), expected=2) == Stale(5)
    assert await plane.forget(online, epoch=4, reason="", at=1.0) == Stale(5)
    assert await plane.forget(joining, epoch=5, reason="", at=1.0) == Conflict(online, 2)
    await client.zadd(KEYS.nodes, {"n1": 1.0})
    assert await plane.forget(online, epoch=5, reason="", at=2.0) == Written()
    assert (await plane.read()).table == {}
    assert await client.zscore(KEYS.nodes, "n1") is None
    await client.aclose()


@pytest.mark.parametrize("nonsense", ["{", "[]", '{"version":"x"}', '{"state":"odd","version":3}'])
async def test_what_does_not_parse_is_ignored_and_overwritten(redis_url: str, nonsense: str) -> None:
    client = connect_redis(redis_url)
    plane = RedisPlane(client, KEYS, who="c1", lease_ttl_s=3)
    await plane.claim(FIRST)
    await client.hset(KEYS.health, "n1", nonsense)
    assert (await plane.read()).table == {}
    online, change = verdict(NodeState.ONLINE, version=1), move(NodeState.LEFT, NodeState.ONLINE)
    outcome = await plane.write(online, change, expected=0)
    if isinstance(outcome, Conflict):
        assert outcome.standing is None
        outcome = await plane.write(online, change, expected=outcome.version)
    assert outcome == Written()
    await client.aclose()


async def test_registry_entries_are_running_expired_or_taken_back(redis_url: str) -> None:
    client = connect_redis(redis_url)
    plane = RedisPlane(client, KEYS, who="c1", lease_ttl_s=3)
    entry = RegistryEntry(kind=PeerKind.NODE, id="n1", boot=7, admin="ws+unix:///a", version="1", address="h:1")
    member = Membership(client, KEYS, entry)
    await member.register()
    await client.zadd(KEYS.nodes, {"n2": time.time() - 1, "gateway": time.time() + 9})
    gateway = RegistryEntry(kind=PeerKind.GATEWAY, id="gateway", boot=1, admin="ws+unix:///g", version="1")
    await client.set(KEYS.node("gateway"), dump_object(gateway.to_object()))
    view = await plane.read()
    assert view.nodes == {"n1": entry}
    assert view.expired == {"n2"}
    await member.leave()
    view = await plane.read()
    assert view.nodes == {}
    assert "n1" not in view.expired
    await client.aclose()


async def test_entries_that_lie_or_do_not_parse_are_refused_with_the_reason_and_disturb_nobody(redis_url: str) -> None:
    client = connect_redis(redis_url)
    plane = RedisPlane(client, KEYS, who="c1", lease_ttl_s=3)
    entry = RegistryEntry(kind=PeerKind.NODE, id="n1", boot=7, admin="ws+unix:///a", version="1", address="h:1")
    await Membership(client, KEYS, entry).register()
    checker = RegistryEntry(kind=PeerKind.CHECKER, id="c1", boot=1, admin="ws+unix:///c", version="1")
    texts = {"n2": "{", "n3": dump_object(entry.to_object()), "c1": dump_object(checker.to_object())}
    for name, text in texts.items():
        await client.zadd(KEYS.nodes, {name: time.time() + 9})
        await client.set(KEYS.node(name), text)
    await client.hset(KEYS.health, "n4", '{"state":"odd"}')
    view = await plane.read()
    assert view.nodes == {"n1": entry}
    assert view.checkers == {"c1"}
    not_json, lie, odd = view.refused
    assert not_json.startswith("registry entry of n2: registry entry is not JSON")
    assert lie == "registry entry of n3: it says that it is n1"
    assert odd.startswith("verdict on n4: verdict.state is 'odd', not one of")
    await client.aclose()


async def test_the_gateway_is_woken_by_a_verdict_and_reads_it(redis_url: str) -> None:
    client, wakeups = connect_redis(redis_url), connect_redis(redis_url)
    plane = RedisPlane(client, KEYS, who="c1", lease_ttl_s=3)
    await plane.claim(FIRST)
    entry = RegistryEntry(kind=PeerKind.NODE, id="n1", boot=7, admin="ws+unix:///a", version="1", address="h:1")
    await Membership(client, KEYS, entry).register()
    table = RedisTable(client, wakeups, KEYS)
    assert await table.read() == {}
    await table.changed()  # The first time it only finds out where the log ends.
    waiting = asyncio.create_task(table.changed())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await plane.write(verdict(NodeState.ONLINE, version=1), move(NodeState.LEFT, NodeState.ONLINE), expected=0)
    async with asyncio.timeout(0.4):
        await waiting
    backend = (await table.read())["n1"]
    assert (backend.state, backend.boot, backend.address) == (NodeState.ONLINE, 7, "h:1")
    await client.delete(KEYS.node("n1"))
    assert (await table.read())["n1"].address == "h:1"
    begun = time.monotonic()
    await table.changed()
    assert time.monotonic() - begun < 1
    await client.aclose()
    await wakeups.aclose()


async def test_a_store_that_is_away_is_said_to_be(directory: Path) -> None:
    client = connect_redis(f"unix://{directory}/none.sock")
    with pytest.raises(StoreUnavailableError):
        await RedisPlane(client, KEYS, who="c1", lease_ttl_s=3).read()
    table = RedisTable(client, client, KEYS)
    with pytest.raises(StoreUnavailableError):
        await table.read()
    with pytest.raises(StoreUnavailableError):
        await table.changed()
    await client.aclose()


async def test_a_socket_that_nobody_listens_at_refuses_and_a_living_one_tells_the_nodes_word(directory: Path) -> None:
    path = directory / "n1.sock"
    url = f"ws+unix://{path}"
    words: list[str] = []
    with pytest.raises(RefusedError):
        await AdminLink.open(url, words.append)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(RefusedError):
        await AdminLink.open(url, words.append)
    agent = AdminServer(Identity(kind=PeerKind.NODE, id="n1", version="1", boot=7))
    agent.publish({"state": "online"})
    await agent.serve(url)

    async def probe(command: Command) -> JsonObject:
        if command.args["node"] == "n9":
            raise OperationRefusedError("unknown_node", "no address is known")
        return {"reached": command.args["node"] == "n2", "asked_ms": command.args["timeout_ms"]}

    agent.operation("probe", probe, audited=False)
    link = await AdminLink.open(url, words.append)
    assert (link.id, link.boot) == ("n1", 7)
    assert await link.ping() < 1
    assert [await link.reaches(name, within_s=0.2) for name in ("n2", "n3", "n9")] == [True, False, None]
    canary = Canary(url)
    await canary.sing()
    await canary.sing()
    agent.publish({"state": "draining"})
    async with asyncio.timeout(2):
        while words != ["online", "draining"]:  # noqa: ASYNC110  # The words come by callback.
            await asyncio.sleep(0.01)
    await agent.close()
    async with asyncio.timeout(2):
        await link.closed()
    with pytest.raises(UnreachableError):
        await link.reaches("n2", within_s=0.2)
    await link.close()
    for _ in range(2):
        with pytest.raises(UnreachableError):
            await canary.sing()
    await canary.close()
