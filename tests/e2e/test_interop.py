"""Clients of both subprotocols on different nodes: real processes, a real server, the client library."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sample_cluster.client import Client, ClientOptions
from sample_cluster.codecs import codec_for
from sample_cluster.core.backoff import BackoffTiming
from sample_cluster.core.messages import Message
from tests.e2e.test_node import Rig

pytestmark = pytest.mark.e2e

TIMING = BackoffTiming(spread_s=0.1, base_s=0.1, factor=2, cap_s=1, jitter=0.2, stable_s=2)


@asynccontextmanager
async def connected(address: str, subprotocol: str) -> AsyncIterator[tuple[Client, list[Message]]]:
    """Yield a client that follows `room`, and what it is handed."""
    client = Client(f"ws://{address}/ws", ClientOptions(timing=TIMING, codec=codec_for(subprotocol)))
    got: list[Message] = []
    try:
        async with asyncio.timeout(10):
            await client.connect()
            await client.subscribe("room", got.append)
        yield client, got
    finally:
        await client.close()


@pytest.mark.parametrize("order", [("wsc.v1.pb", "wsc.v1.json"), ("wsc.v1.json", "wsc.v1.pb")])
async def test_what_one_subprotocol_publishes_the_other_gets_through_another_node(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    async with Rig(tmp_path) as rig:
        here, there = await rig.node("n1"), await rig.node("n2")
        async with connected(here, order[0]) as (publisher, mine), connected(there, order[1]) as (_, theirs):
            async with asyncio.timeout(10):
                first = await publisher.publish("room", {"text": "grüße", "n": [1, 2.5, None]})
                second = await publisher.publish("room", b"\x00\xff raw")
                while len(mine) < 2 or len(theirs) < 2:  # noqa: ASYNC110  # Both lists grow in a callback.
                    await asyncio.sleep(0.02)
        assert (first.seq, second.seq) == (1, 2)
        assert [message.data for message in theirs] == [{"text": "grüße", "n": [1, 2.5, None]}, "AP8gcmF3"]
        assert [message.encoding for message in theirs] == [None, "base64"]
        assert mine == theirs
