"""What makes no sense is refused with its reason, told once, and disturbs nobody: in a real cluster."""

import asyncio
import time
from dataclasses import replace

import pytest

from sample_cluster.config import TEST
from sample_cluster.membership import connect_redis
from sample_cluster.redis_link import RedisClient
from tests.e2e.detection import NODES, Cluster, running
from wsmon.protocol.fields import dump_object
from wsmon.protocol.registry import Keys, RegistryEntry, decode_entry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


def reasons(cluster: Cluster, kind: str) -> set[str]:
    """Return what the leading checker told of refusals."""
    return {str(event.fields.get("reason")) for event in cluster.events if event.kind == kind}


def told(cluster: Cluster, words: str) -> bool:
    """Say whether something was refused with these words."""
    return any(words in reason for reason in reasons(cluster, "refused"))


async def entry_of(client: RedisClient, node: str) -> RegistryEntry:
    """Return what a node registered."""
    text = await client.get(Keys("detection").node(node))
    assert text is not None
    return decode_entry(text)


async def test_a_registry_full_of_nonsense_disturbs_nobody() -> None:
    async with running(TEST) as cluster:
        assert cluster.redis is not None
        client, keys = connect_redis(cluster.redis), Keys("detection")
        entry = await entry_of(client, "n1")
        forged = {
            "n7": "not JSON",
            "n8": dump_object(entry.to_object()),  # It says that it is n1.
            "n9": dump_object(replace(entry, id="n9", boot=entry.boot + 1).to_object()),  # Its admin socket is n1's.
        }
        cluster.forget()
        for name, text in forged.items():
            await client.set(keys.node(name), text, ex=20)
            await client.zadd(keys.nodes, {name: time.time() + 20})
        # An earlier life of n2 registers, again and again: n2 itself renews its entry.
        earlier = await entry_of(client, "n2")
        zombie = dump_object(replace(earlier, boot=earlier.boot - 1).to_object())
        for _ in range(10):
            await client.set(keys.node("n2"), zombie, ex=20)
            await asyncio.sleep(0.1)
        try:
            await cluster.until(lambda: bool(reasons(cluster, "zombie_refused")), within_s=10)
            for words in (
                "registry entry of n7: ",
                "registry entry of n8: it says that it is n1",
                " of n9: it says that it is n1",
            ):
                await cluster.until(lambda words=words: told(cluster, words), within_s=10)  # type: ignore[misc]
            assert reasons(cluster, "zombie_refused") == {
                f"boot {earlier.boot - 1} is over, boot {earlier.boot} stands for the node"
            }
            await asyncio.sleep(3)
            moved = [event for event in cluster.events if event.kind == "node_state"]
            assert {event.fields["node"] for event in moved} <= {"n9"}
            assert {event.fields["new"] for event in moved} <= {"joining"}
            assert all(cluster.target(node)["state"] == "online" for node in NODES)
        finally:
            await client.aclose()
