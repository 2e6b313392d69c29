"""What a prober's own sockets tell of a node that does not answer, with real sockets and real processes."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sample_cluster.checker.kernel import look_at
from sample_cluster.config import TEST
from sample_cluster.core.classify import Look, Silence, silence
from tests.e2e.detection import Cluster, running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells"),
]


@asynccontextmanager
async def connected(family: int) -> AsyncIterator[tuple[asyncio.StreamWriter, socket.socket]]:
    """Return the writing end of a connection, and the other one, which nobody reads."""
    if family == socket.AF_UNIX:
        near, far = socket.socketpair()
    else:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
    near.setblocking(False)
    far.setblocking(False)
    _, writer = await asyncio.open_connection(sock=near)
    with far:
        yield writer, far
        writer.close()


async def test_a_unix_socket_tells_whether_the_process_at_its_other_end_reads() -> None:
    async with connected(socket.AF_UNIX) as (writer, far):
        assert look_at(writer.transport) == Look(unread=0)
        writer.write(b"are you there?")
        assert silence(look_at(writer.transport), ended=False, asked_s=0.1) is Silence.FROZEN
        assert far.recv(100) == b"are you there?"
        assert look_at(writer.transport) == Look(unread=0)


async def test_a_tcp_connection_tells_whether_the_other_kernel_has_what_was_sent() -> None:
    async with connected(socket.AF_INET) as (writer, _):
        writer.write(b"are you there?")
        async with asyncio.timeout(5):
            while (info := look_at(writer.transport).tcp) is None or info.unacked:  # noqa: ASYNC110  # Nothing tells.
                await asyncio.sleep(0.01)
        assert info.rtt_s < 1
        assert info.retransmitted_total == 0
        assert silence(Look(tcp=info), ended=False, asked_s=9.0) is Silence.FROZEN


async def test_a_connection_that_is_closed_tells_nothing() -> None:
    async with connected(socket.AF_INET) as (writer, _):
        writer.transport.abort()
        await asyncio.sleep(0.01)
        assert look_at(writer.transport) == Look()


def word(cluster: Cluster, node: str) -> object:
    return cluster.target(node).get("link", {}).get("word")


@pytest.mark.slow
async def test_a_checker_of_a_real_cluster_tells_frozen_unreachable_slow_and_gone_apart() -> None:
    async with running(TEST) as cluster:
        assert word(cluster, "n1") == "ok"
        checker = cluster.leader

        # It stands still: its kernel takes what is sent.
        pid = cluster.pid("n1")
        os.kill(pid, signal.SIGSTOP)
        try:
            await cluster.until(lambda: cluster.moved("n1", "removed") is not None, within_s=10)
            assert word(cluster, "n1") == "frozen"
        finally:
            os.kill(pid, signal.SIGCONT)
        removed = cluster.moved("n1", "removed")
        assert removed is not None
        evidence = removed.fields["evidence"]
        assert isinstance(evidence, dict)
        assert evidence["link"] == "frozen"
        assert str(removed.fields["reason"]).endswith("(frozen)")

        # Nothing gets through from the checker, and others reach it.
        await cluster.fault("blackhole", f"{checker}-n2", ttl_s=4)
        await cluster.until(lambda: word(cluster, "n2") == "unreachable", within_s=4)
        assert cluster.target("n2")["state"] == "online"

        # Each way takes longer than a heartbeat may.
        await cluster.fault("latency", f"{checker}-n3", value="150ms", ttl_s=20)
        await cluster.until(lambda: word(cluster, "n3") == "high latency", within_s=14)
        await cluster.until(lambda: cluster.target("n3")["link"]["rtt_ms"] >= 300, within_s=14)
        assert cluster.target("n3")["state"] == "online"

        os.kill(cluster.pid("n4"), signal.SIGKILL)
        await cluster.until(lambda: cluster.moved("n4", "removed") is not None, within_s=10)
        removed = cluster.moved("n4", "removed")
        assert removed is not None
        evidence = removed.fields["evidence"]
        assert isinstance(evidence, dict)
        assert evidence["kind"] == "gone"
