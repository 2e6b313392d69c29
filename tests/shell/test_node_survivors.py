"""Whom a node may hope for when it drains."""

import asyncio
import logging
from typing import Any, cast

import pytest
import redis.exceptions

from sample_cluster.core.drain import Survivors
from sample_cluster.gateway.entry import Load, with_load
from sample_cluster.node.survivors import BELIEVED_S, Lookout, survivors_of
from wsmon.protocol.fields import dump_object
from wsmon.protocol.frames import JsonObject
from wsmon.protocol.registry import Keys, RegistryEntry, Verdict
from wsmon.protocol.states import NodeState, PeerKind


def verdict(node: str, state: NodeState = NodeState.ONLINE) -> str:
    return dump_object(Verdict(node=node, state=state, reason="", epoch=1, version=1, at=1.0).to_object())


def entry(name: str, kind: PeerKind = PeerKind.NODE) -> RegistryEntry:
    return RegistryEntry(kind=kind, id=name, boot=1, admin="ws+unix:///a", version="1")


def node(name: str) -> str:
    return dump_object(entry(name).to_object())


def gateway(load: Load) -> str:
    return dump_object(with_load(entry("g", PeerKind.GATEWAY), load).to_object())


TABLE = {
    "n1": verdict("n1"),
    "n2": verdict("n2"),
    "n3": verdict("n3"),
    "n4": verdict("n4", NodeState.SUSPECT),
    "n5": verdict("n5"),
    "n6": "nonsense",
}
ENTRIES: dict[str, str | None] = {
    "n1": node("n1"),
    "n2": node("n2"),
    "n3": node("n3"),
    "n4": node("n4"),
    "n6": node("n6"),
}


def test_the_other_nodes_that_are_online_and_registered_survive() -> None:
    assert survivors_of(TABLE, ENTRIES, node="n1") == Survivors(connections={"n2": None, "n3": None})


def test_gateways_tell_how_fast_nodes_are_and_what_they_have() -> None:
    loads = {
        "g": gateway(Load(connections={"n1": 9, "n2": 3, "strange": 4}, handshakes_per_s=500)),
        "h": gateway(Load(connections={"n2": 2, "n3": 7}, handshakes_per_s=200)),
        "i": gateway(Load()),
    }
    found = survivors_of(TABLE, {**ENTRIES, **loads}, node="n1")
    assert found == Survivors(connections={"n2": 5, "n3": 7}, per_node=200)


@pytest.mark.parametrize(
    "load",
    [
        "nonsense",
        {"handshakes_per_s": "many"},
        {"handshakes_per_s": -1},
        {"handshakes_per_s": 1e30},
        {"connections": {"n2": -1}, "handshakes_per_s": 100},
        {"connections": [], "handshakes_per_s": 100},
    ],
)
def test_a_load_that_makes_no_sense_is_as_good_as_none(load: Any) -> None:
    text = dump_object({**entry("g", PeerKind.GATEWAY).to_object(), "load": load})
    assert survivors_of(TABLE, {**ENTRIES, "g": text}, node="n1").per_node is None
    assert survivors_of(TABLE, {**ENTRIES, "g": "{"}, node="n1").per_node is None


def test_nobody_but_a_gateway_is_believed() -> None:
    document: JsonObject = {**entry("n2").to_object(), "load": {"handshakes_per_s": 1_000.0}}
    assert survivors_of(TABLE, {**ENTRIES, "n2": dump_object(document)}, node="n1").per_node is None


class FakeRedis:
    """As much of a Redis as is read."""

    def __init__(self) -> None:
        self.away = False
        self._asked: list[str] = []

    def pipeline(self, *, transaction: bool) -> "FakeRedis":
        assert not transaction
        return self

    def hgetall(self, key: str) -> None:
        self._asked.append(key)

    def zrangebyscore(self, key: str, least: float, most: str) -> None:
        assert least > 0
        assert most == "+inf"
        self._asked.append(key)

    async def execute(self) -> tuple[dict[str, str], list[str]]:
        if self.away:
            raise redis.exceptions.ConnectionError("away")
        assert self._asked[-2:] == ["wsc:{t}:health", "wsc:{t}:nodes"]
        return TABLE, ["n1", "n2", "g"]

    async def mget(self, keys: list[str]) -> list[str | None]:
        assert keys == ["wsc:{t}:node:n1", "wsc:{t}:node:n2", "wsc:{t}:node:g"]
        return [node("n1"), node("n2"), gateway(Load(handshakes_per_s=300))]


async def test_what_was_read_holds_for_a_while_when_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = FakeRedis()
    lookout = Lookout(cast("Any", server), Keys("t"), "n1")
    assert lookout.survivors == Survivors()
    running = asyncio.create_task(lookout.run())
    await asyncio.sleep(1)
    known = Survivors(connections={"n2": None}, per_node=300)
    assert lookout.survivors == known
    server.away = True
    await asyncio.sleep(BELIEVED_S - 2)
    assert lookout.survivors == known
    await asyncio.sleep(3)
    assert lookout.survivors == Survivors()
    server.away = False
    await asyncio.sleep(3)
    assert lookout.survivors == known
    running.cancel()
