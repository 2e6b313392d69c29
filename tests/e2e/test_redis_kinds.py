"""What the cluster asks of Redis, on all three kinds of it, and what it does when one of their servers is lost."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis.asyncio

from sample_cluster.checker.redis_plane import RedisPlane
from sample_cluster.config import TEST
from sample_cluster.core.lease import Claim, Granted, HeldBy
from sample_cluster.gateway.redis_table import RedisTable
from sample_cluster.membership import Membership
from sample_cluster.node.store import Store
from sample_cluster.redis_link import (
    REDIS_ERRORS,
    Call,
    FanOut,
    FanOutNews,
    Heard,
    Ponged,
    RedisClient,
    Scripts,
    Subscribed,
    connect_redis,
    open_fan_out,
    publish,
    publish_word,
    replicas_with,
)
from tests.support.redis_kinds import SERVICE, Servers, cluster, plain_server, sentinel_set, until
from tests.support.store_contract import check_store
from wsmon.agent.cancellation import end, obey_cancellation
from wsmon.protocol.codec import decode_event
from wsmon.protocol.fields import parse_object
from wsmon.protocol.frames import EventFrame
from wsmon.protocol.registry import Keys, RegistryEntry
from wsmon.protocol.states import PeerKind
from wsmon.sources.locate import locate

pytestmark = pytest.mark.e2e

PASSWORD = "hunter2@:x"
SCRIPTS = {
    "push": "return redis.call('RPUSH', KEYS[1], ARGV[1])",
    "tell": "return redis.call(ARGV[1], KEYS[1], ARGV[2])",
    "fail": "return redis.error_reply('ERR not today')",
}
# More than enough to have some on every server of a Cluster.
NAMES = tuple(f"{{name-{number}}}" for number in range(30))


@pytest.fixture(scope="module", params=["plain", "sentinel", "cluster"])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that no test harms."""
    directory = tmp_path_factory.mktemp("redis")
    kinds = {
        "plain": lambda: plain_server(directory),
        "sentinel": lambda: sentinel_set(directory, password=PASSWORD),
        "cluster": lambda: cluster(directory, password=PASSWORD),
    }
    context = kinds[request.param]()
    loop = asyncio.new_event_loop()
    try:
        running = loop.run_until_complete(context.__aenter__())
        try:
            yield running
        finally:
            loop.run_until_complete(context.__aexit__(None, None, None))
    finally:
        loop.close()


@pytest.fixture
async def client(servers: Servers) -> AsyncIterator[RedisClient]:
    client = connect_redis(servers.url)
    try:
        yield client
    finally:
        await flush(client)
        await client.aclose()


async def flush(client: RedisClient) -> None:
    if isinstance(client, redis.asyncio.RedisCluster):
        await client.flushall(target_nodes=redis.asyncio.RedisCluster.PRIMARIES)
    else:
        await client.flushall()


def make_scripts(client: RedisClient) -> Scripts:
    return Scripts(client, SCRIPTS.__getitem__)


async def hear(fan_out: FanOut, count: int) -> list[FanOutNews]:
    """Return the next `count` news."""
    async with asyncio.timeout(5.0):
        return [await fan_out.next() for _ in range(count)]


async def subscribed(fan_out: FanOut, *channels: str) -> None:
    """Subscribe and wait for all of the answers."""
    await fan_out.subscribe(*channels)
    news = await hear(fan_out, len(channels))
    assert sorted(item.channel for item in news if isinstance(item, Subscribed)) == sorted(channels)


async def answers(client: RedisClient) -> bool:
    await client.set("{here}", "yes")
    return bool(await client.get("{here}") == "yes")


# On servers that nobody harms.


async def test_scripts_run_in_order_and_fail_alone(client: RedisClient) -> None:
    scripts = make_scripts(client)
    calls = [Call("push", (name,), (number,)) for number in range(5) for name in NAMES]
    calls.insert(7, Call("fail", (NAMES[0],), ()))
    replies = await scripts.run(calls)
    failure = replies.pop(7)
    assert isinstance(failure, redis.exceptions.ResponseError)
    assert "not today" in str(failure)
    assert replies == [length for length in range(1, 6) for _ in NAMES]
    for name in NAMES:
        assert await client.lrange(name, 0, -1) == ["0", "1", "2", "3", "4"]
    assert await scripts.run([]) == []


async def test_scripts_that_a_server_forgets_are_sent_again(servers: Servers, client: RedisClient) -> None:
    """Also in the middle of a batch, without a message twice or out of order."""
    other = connect_redis(servers.url)
    scripts = make_scripts(client)
    sent = 0
    rounds = 0
    send = scripts._send

    async def count(calls: list[Call]) -> list[object]:
        nonlocal rounds
        rounds += 1
        return await send(calls)

    scripts._send = count  # type: ignore[method-assign,assignment]

    async def forget() -> None:
        while True:
            obey_cancellation()
            await other.script_flush()

    # A server reads 16 KiB of one client before it turns to the next: so much that it has to turn often.
    filler = "x" * 1_000
    forgetting = asyncio.create_task(forget())
    try:
        async with asyncio.timeout(10.0):
            for batch in range(1, 50):
                calls = [Call("push", (NAMES[n % 3],), (f"{n} {filler}",)) for n in range(sent, sent + 300)]
                sent += 300
                assert not [reply for reply in await scripts.run(calls) if isinstance(reply, Exception)]
                if rounds > batch:
                    break
    finally:
        await end(forgetting)
        await other.aclose()
    assert rounds > batch, "no batch was interrupted"
    for place, name in enumerate(NAMES[:3]):
        found: Any = await client.lrange(name, 0, -1)
        assert [int(text.split()[0]) for text in found] == [*range(place, sent, 3)]


async def test_a_fan_out_brings_what_is_published(client: RedisClient) -> None:
    fan_out = open_fan_out(client)
    try:
        await fan_out.connect()
        await fan_out.ping("early")
        assert await hear(fan_out, 1) == [Ponged("early")]
        await subscribed(fan_out, *NAMES)
        await subscribed(fan_out, NAMES[0])  # Asking again is answered again.
        scripts = make_scripts(client)
        word = publish_word(client)
        assert await scripts.run([Call("tell", (name,), (word, "ü")) for name in NAMES]) == [1] * len(NAMES)
        news = await hear(fan_out, len(NAMES))
        assert sorted(map(repr, news)) == sorted(repr(Heard(name, "ü")) for name in NAMES)
        for number in range(100):
            assert await publish(client, NAMES[0], str(number)) == 1
        await fan_out.ping("late")
        assert await hear(fan_out, 101) == [*(Heard(NAMES[0], str(number)) for number in range(100)), Ponged("late")]
        await fan_out.unsubscribe(*NAMES[1:])
        await fan_out.ping("done")
        assert await hear(fan_out, 1) == [Ponged("done")]
        assert [await publish(client, name, "x") for name in NAMES[:3]] == [1, 0, 0]
        assert await hear(fan_out, 1) == [Heard(NAMES[0], "x")]
    finally:
        await fan_out.aclose()


async def test_a_fan_out_outlives_a_message_that_is_no_text(servers: Servers, client: RedisClient) -> None:
    fan_out = open_fan_out(client)
    try:
        await fan_out.connect()
        await subscribed(fan_out, NAMES[0])
        await client.execute_command(publish_word(client), NAMES[0], b"\xff")
        assert await hear(fan_out, 1) == [Heard(NAMES[0], "\ufffd")]
    finally:
        await fan_out.aclose()


async def test_a_wait_for_news_may_be_given_up(client: RedisClient) -> None:
    fan_out = open_fan_out(client)
    try:
        await fan_out.connect()
        await subscribed(fan_out, NAMES[0])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await fan_out.next()
        await publish(client, NAMES[0], "x")
        assert await hear(fan_out, 1) == [Heard(NAMES[0], "x")]
    finally:
        await fan_out.aclose()


async def test_the_control_plane_works(servers: Servers, client: RedisClient) -> None:
    keys = Keys("k")
    wakeups = connect_redis(servers.url)
    entry = RegistryEntry(kind=PeerKind.NODE, id="n1", boot=1, admin="ws+unix:///x", version="1")
    membership = Membership(client, keys, entry)
    plane = RedisPlane(client, keys, who="me", lease_ttl_s=5.0)
    other = RedisPlane(client, keys, who="you", lease_ttl_s=5.0)
    table = RedisTable(client, wakeups, keys)
    running = asyncio.create_task(membership.run())
    try:
        await table.changed()
        membership.journal(EventFrame(source="n1", boot=1, seq=1, at=1.0, kind="hello", fields={}))

        async def written() -> bool:
            return bool(await client.xlen(keys.events) == 1)

        await until(written)
        assert membership.available
        entries: Any = await client.xrange(keys.events)
        assert decode_event(parse_object(entries[0][1]["event"], what="event")).kind == "hello"
        assert isinstance(await plane.claim(Claim(epoch=0, floor=0, fresh=True)), Granted)
        assert isinstance(await other.claim(Claim(epoch=0, floor=0, fresh=True)), HeldBy)
        view = await plane.read()
        assert view.nodes == {"n1": entry}
        assert not view.expired
        await client.xadd(keys.health_log, {"node": "n1"})
        started = time.monotonic()
        await table.changed()
        assert time.monotonic() - started < 0.5
        await table.changed()  # Nothing new: it waits its time, and that is no error.
        assert await table.read() == {}
        assert (await locate(servers.url)).cluster == "k"
        await membership.leave()
        assert (await plane.read()).nodes == {}
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await wakeups.aclose()


async def test_the_message_log_keeps_its_contract(servers: Servers, client: RedisClient) -> None:
    store = Store(client, "k", TEST, Random(1))
    running = asyncio.create_task(store.run())
    try:
        await check_store(store, replicas=1 if "replica" in servers.processes else 0)
    finally:
        await end(running)


async def test_replicas_confirm(servers: Servers, client: RedisClient) -> None:
    assert await replicas_with(client, "{here}:safe", within_ms=900) == (1 if "replica" in servers.processes else 0)


# Loss, each on servers of its own.


async def test_a_server_that_was_restarted(tmp_path: Path) -> None:
    async with plain_server(tmp_path) as servers:
        client = connect_redis(servers.url)
        scripts = make_scripts(client)
        fan_out = open_fan_out(client)
        try:
            await fan_out.connect()
            await subscribed(fan_out, "c")
            calls = [Call("push", ("k",), (1,)), Call("push", ("k",), (2,))]
            assert await scripts.run(calls) == [1, 2]
            servers.kill("server")
            with pytest.raises(REDIS_ERRORS):
                await scripts.run(calls)
            with pytest.raises(REDIS_ERRORS):
                await hear(fan_out, 1)
            with pytest.raises(REDIS_ERRORS):
                await fan_out.ping("x")
            with pytest.raises(REDIS_ERRORS):
                await fan_out.subscribe("d")
            async with plain_server(tmp_path) as again:
                assert again.url == servers.url
                assert await scripts.run(calls) == [3, 4]
                with pytest.raises(REDIS_ERRORS):  # It does not come back by itself: that would hide the gap.
                    await fan_out.next()
        finally:
            await fan_out.aclose()
            await client.aclose()


async def test_a_server_that_stands_still_gives_no_sign_of_life(tmp_path: Path) -> None:
    async with plain_server(tmp_path) as servers:
        client = connect_redis(servers.url)
        fan_out, late = open_fan_out(client), open_fan_out(client)
        try:
            await fan_out.connect()
            servers.processes["server"].send_signal(signal.SIGSTOP)
            await fan_out.ping("x")
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await fan_out.next()
            with pytest.raises(REDIS_ERRORS):
                await late.connect()
            with pytest.raises(REDIS_ERRORS):
                await make_scripts(client).run([Call("push", ("k",), (1,))])
            assert time.monotonic() - started < 4.0
        finally:
            await fan_out.aclose()
            await late.aclose()
            await client.aclose()


async def test_a_new_primary_is_found_when_sentinel_has_decided(tmp_path: Path) -> None:
    async with sentinel_set(tmp_path) as servers:
        client = connect_redis(servers.url)
        fan_out, again = open_fan_out(client), open_fan_out(client)
        try:
            await fan_out.connect()
            await subscribed(fan_out, "c")
            assert await answers(client)
            old, new = servers.ports["primary"], servers.ports["replica"]
            # One of the Sentinels must not be needed.
            servers.processes["sentinel-1"].send_signal(signal.SIGSTOP)
            servers.kill("primary")
            with pytest.raises(REDIS_ERRORS):
                await hear(fan_out, 1)
            with pytest.raises(REDIS_ERRORS):
                await answers(client)

            async def decided() -> bool:
                answer = await servers.ask("sentinel-2", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                assert int(answer[1]) in (old, new)
                return int(answer[1]) == new

            await until(decided)
            started = time.monotonic()
            await until(lambda: answers(client))
            assert time.monotonic() - started < 2.0
            await again.connect()
            await subscribed(again, "c")
            assert await publish(client, "c", "x") == 1
            assert await hear(again, 1) == [Heard("c", "x")]
        finally:
            servers.processes["sentinel-1"].send_signal(signal.SIGCONT)
            await fan_out.aclose()
            await again.aclose()
            await client.aclose()


async def test_a_demoted_primary_is_not_written_to(tmp_path: Path) -> None:
    async with sentinel_set(tmp_path, down_after_ms=60_000) as servers:
        client = connect_redis(servers.url)
        fan_out = open_fan_out(client)
        try:
            assert await answers(client)
            await fan_out.connect()
            await servers.ask("primary", "REPLICAOF", "127.0.0.1", servers.ports["replica"])
            with pytest.raises(redis.exceptions.ConnectionError, match="not the primary any more"):
                await make_scripts(client).run([Call("push", ("k",), (1,))])
            # The Sentinels do not know it yet; the server itself says it.
            with pytest.raises(redis.exceptions.ConnectionError, match="not the primary any more"):
                await client.get("k")
            await servers.ask("replica", "REPLICAOF", "NO", "ONE")
            for name in ("sentinel-1", "sentinel-2", "sentinel-3"):
                await servers.ask(name, "SENTINEL", "REMOVE", SERVICE)
            with pytest.raises(redis.exceptions.ConnectionError, match="no Sentinel of 3 names the primary"):
                await client.get("k")
            for name in ("sentinel-1", "sentinel-2", "sentinel-3"):
                await servers.ask(name, "SENTINEL", "MONITOR", SERVICE, "127.0.0.1", servers.ports["replica"], 2)
            assert await answers(client)
            with pytest.raises(REDIS_ERRORS, match="another server is the primary now"):
                await fan_out.ping("x")  # Its connection still stands, to the wrong one.
        finally:
            await fan_out.aclose()
            await client.aclose()


async def test_a_cluster_goes_on_without_one_of_its_servers(tmp_path: Path) -> None:
    async with cluster(tmp_path, with_replica=True) as servers:
        client = connect_redis(servers.url)
        assert isinstance(client, redis.asyncio.RedisCluster)
        scripts = make_scripts(client)
        fan_out, again = open_fan_out(client), open_fan_out(client)
        calls = [Call("push", (name,), (1,)) for name in NAMES]
        try:
            await fan_out.connect()
            await subscribed(fan_out, *NAMES)
            assert await scripts.run(calls) == [1] * len(NAMES)
            port = servers.ports["first"]
            theirs = {name for name in NAMES if client.get_node_from_key(name).port == port}  # type: ignore[union-attr]
            assert 0 < len(theirs) < len(NAMES)
            assert await replicas_with(client, f"{min(theirs)}:safe", within_ms=900) == 1
            servers.kill("first")
            with pytest.raises(REDIS_ERRORS):
                await hear(fan_out, 1)
            await fan_out.aclose()
            replies = await scripts.run(calls)
            for call, reply in zip(calls, replies, strict=True):
                assert isinstance(reply, REDIS_ERRORS) if call.keys[0] in theirs else reply == 2
            # The channels of the others are there at once, those of the lost one when it has a successor.
            await again.connect()
            await again.subscribe(*NAMES)
            await again.ping("0")
            news = await hear(again, len(NAMES) - len(theirs) + 1)
            assert {item.channel for item in news if isinstance(item, Subscribed)} == set(NAMES) - theirs
            assert Ponged("0") in news
            back: set[str] = set()
            async with asyncio.timeout(10.0):
                while back != theirs:
                    await again.ping("1")
                    while not isinstance(item := await again.next(), Ponged):
                        assert isinstance(item, Subscribed)
                        back.add(item.channel)
                    await asyncio.sleep(0.1)
            started = time.monotonic()

            async def all_run() -> bool:
                return not [reply for reply in await scripts.run(calls) if isinstance(reply, Exception)]

            await until(all_run)
            assert time.monotonic() - started < 2.0
            for name in NAMES:
                assert await publish(client, name, "x") == 1
            assert {item.channel for item in await hear(again, len(NAMES)) if isinstance(item, Heard)} == set(NAMES)
        finally:
            await fan_out.aclose()
            await again.aclose()
            await client.aclose()


async def test_a_cluster_moves_a_slot(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers:
        client = connect_redis(servers.url)
        assert isinstance(client, redis.asyncio.RedisCluster)
        scripts = make_scripts(client)
        fan_out = open_fan_out(client)
        try:
            await fan_out.connect()
            await subscribed(fan_out, *NAMES)
            slot = client.keyslot(NAMES[0])
            owner = next(name for name, port in servers.ports.items() if port == _port_of(client, NAMES[0]))
            target = next(name for name in servers.ports if name != owner)
            await servers.move_slot(slot, owner, target)
            # Nobody asked anew: the subscription follows by itself, and says so.
            async with asyncio.timeout(5.0):
                number = 0
                while True:
                    await fan_out.ping(str(number))
                    news = [await fan_out.next()]
                    while not isinstance(news[-1], Ponged):
                        news.append(await fan_out.next())
                    if Subscribed(NAMES[0]) in news:
                        break
                    number += 1
                    await asyncio.sleep(0.05)
            # Two of three at the new server, one at the other: whoever is asked for the wrong one says where it is.
            assert await scripts.run([Call("push", (name,), (1,)) for name in NAMES[:3]]) == [1, 1, 1]
            assert _port_of(client, NAMES[0]) == servers.ports[target]
            assert await publish(client, NAMES[0], "x") == 1
            assert await hear(fan_out, 1) == [Heard(NAMES[0], "x")]
        finally:
            await fan_out.aclose()
            await client.aclose()


async def test_a_transaction_finds_a_slot_that_has_moved(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers:
        client = connect_redis(servers.url)
        assert isinstance(client, redis.asyncio.RedisCluster)
        try:
            await client.set("{a}1", "x")
            owner = next(name for name, port in servers.ports.items() if port == _port_of(client, "{a}"))
            target = next(name for name in servers.ports if name != owner)
            await servers.ask(owner, "DEL", "{a}1")
            await servers.move_slot(client.keyslot("{a}"), owner, target)
            pipe = client.pipeline(transaction=True)
            pipe.xadd("{a}1", {"f": "v"}, id="1-0")
            pipe.xrange("{a}1")
            assert await pipe.execute() == ["1-0", [("1-0", {"f": "v"})]]
            pipe = client.pipeline(transaction=True)
            pipe.set("{a}2", "x")
            pipe.lpush("{a}2", "y")
            with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
                await pipe.execute()
            pipe = client.pipeline(transaction=True)
            pipe.set("{a}2", "x")
            pipe.set("{b}2", "x")
            with pytest.raises(REDIS_ERRORS, match="one slot"):
                await pipe.execute()
        finally:
            await client.aclose()


# Everything together.


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "lost"), [(sentinel_set, "primary"), (cluster, "first")])
async def test_a_whole_cluster_outlives_the_loss_of_a_primary(
    tmp_path: Path, kind: Callable[..., AbstractAsyncContextManager[Servers]], lost: str
) -> None:
    options = {"with_replica": True} if kind is cluster else {}
    async with kind(tmp_path, password=PASSWORD, **options) as servers:
        # Socket paths must stay short, which those of tmp_path are not.
        with tempfile.TemporaryDirectory(prefix="wsm-") as root:
            environment = {**os.environ, "XDG_RUNTIME_DIR": root, "SAMPLE_CLUSTER_REDIS": servers.url}
            words = ("up", "--until-eof", "--port", "0", "--profile", "test", "--clients", "6", "--rate", "20")
            errors = Path(root, "errors")
            with errors.open("wb") as stderr:  # noqa: ASYNC230  # Opening takes no time.
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "sample_cluster", *words),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=environment,
                )
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(20.0):
                    assert b"gateway" in await process.stdout.readline()

                async def healthy(at_least: int) -> int:
                    """Wait until all is well and so many messages have been delivered; return how many were."""
                    async with asyncio.timeout(20.0):
                        while True:
                            status = await look(servers.url, environment)
                            delivered = status.get("audit", {}).get("delivered") or 0
                            if status.get("health") == "healthy" and delivered >= at_least:
                                assert status["audit"]["lost"] == 0
                                return int(delivered)

                before = await healthy(1)
                servers.kill(lost)
                await asyncio.sleep(2.0)  # Until then it may not have been noticed.
                await healthy(before + 300)
                logs = [errors, *Path(root).rglob("*.log")]
                assert len(logs) > 5
                for path in logs:
                    assert "hunter2" not in path.read_text(encoding="utf-8")
            finally:
                process.stdin.close()
                try:
                    async with asyncio.timeout(10.0):
                        await process.wait()
                finally:
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
            assert process.returncode == 0


async def look(url: str, environment: dict[str, str]) -> dict[str, Any]:
    """Return what `wsmon status` says of the cluster registered in a Redis; nothing if it finds none."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wsmon", "status", "--json", url),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    output, _ = await process.communicate()
    try:
        found: dict[str, Any] = json.loads(output)
    except ValueError:
        return {}
    return found


@pytest.mark.parametrize("kind", ["redis+sentinel", "redis+cluster"])
async def test_nobody_there_is_said_soon_and_without_the_password(kind: str) -> None:
    client = connect_redis(f"{kind}://:hunter2@127.0.0.1:1,127.0.0.1:2{'/main' if kind.endswith('l') else ''}")
    fan_out = open_fan_out(client)
    started = time.monotonic()
    try:
        for call in (client.get("x"), make_scripts(client).run([Call("push", ("k",), ())]), fan_out.connect()):
            with pytest.raises(REDIS_ERRORS) as caught:
                await call
            assert "hunter2" not in str(caught.value)
        assert time.monotonic() - started < 2.0
    finally:
        await fan_out.aclose()
        await client.aclose()


def _port_of(client: redis.asyncio.RedisCluster, key: str) -> int:
    server = client.get_node_from_key(key)
    assert server is not None
    return int(server.port)
