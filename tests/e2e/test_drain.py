"""Drains of a whole cluster with a few hundred clients: who is told, who moves, and what a call-off leaves behind."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from wsmon.agent.client import AdminClient, open_admin
from wsmon.protocol.events import DrainAborted, DrainDone, DrainStarted, decode_body
from wsmon.protocol.fields import Fields
from wsmon.protocol.frames import Actor, EventFrame, ReadOnlyJson
from wsmon.protocol.session import WatchInput

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ACTOR = Actor(user="tester", host="here")
CLIENTS = 300
NODES = ("n1", "n2", "n3")


async def until(true: Callable[[], bool], *, within_s: float = 40) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110  # The client of an admin socket tells nobody of a new state.
            await asyncio.sleep(0.05)


class Running:
    """A cluster and its admin sockets."""

    def __init__(self) -> None:
        self.peers: dict[str, AdminClient] = {}
        self.events: list[EventFrame] = []

    def heard(self, told: WatchInput) -> None:
        if isinstance(told, EventFrame):
            self.events.append(told)

    def count(self, peer: str, *path: str) -> int:
        state: Any = self.peers[peer].state
        for name in path:
            state = state.get(name, {})
        return state if isinstance(state, int) else -1

    def audit(self) -> dict[str, int]:
        return {name: self.count("fleet", "audit", name) for name in ("lost", "duplicated", "inverted")}

    def kinds(self, kind: str) -> list[EventFrame]:
        return [event for event in self.events if event.kind == kind]

    async def rows(self, node: str, **asked: Any) -> list[ReadOnlyJson]:
        """Return all rows of a node's sessions, the oldest connection first."""
        rows: list[ReadOnlyJson] = []
        cursor: str | None = None
        while True:
            page = await self.peers[node].query("sessions", limit=64, cursor=cursor, **asked)
            rows += page.rows
            cursor = page.cursor
            if cursor is None:
                return rows

    async def places(self, node: str) -> dict[str, str]:
        """Return session → connection."""
        return {str(row["session"]): str(row["connection"]) for row in await self.rows(node)}

    async def steady(self) -> None:
        """Wait until everybody is connected, and the nodes say so."""
        await until(lambda: self.count("fleet", "connected") == CLIENTS)
        await until(lambda: sum(self.count(node, "connections") for node in NODES) == CLIENTS)


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    words = ["--cluster", f"t{os.getpid()}", "--profile", "demo", "--port", "0", "--until-eof"]
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="wsm-"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sample_cluster", "up", *words, "--clients", str(CLIENTS), "--rate", "10"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_RUNTIME_DIR": directory},
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stack.push_async_callback(process.wait)
        stack.callback(process.stdin.close)
        async with asyncio.timeout(40):
            descriptor = json.loads(await process.stdout.readline())
        made = Running()
        sockets = os.path.dirname(descriptor["supervisor"])  # noqa: PTH120  # Of a URL.
        for name in ("fleet", "gateway", *NODES):
            client = await open_admin(f"{sockets}/{name}.sock", made.heard, timeout_s=20)
            made.peers[name] = await stack.enter_async_context(client)
        await made.steady()
        yield made


async def test_a_drain_moves_everybody_steadily_and_one_that_is_called_off_leaves_the_rest_alone(run: Running) -> None:
    fleet, n2, n3 = run.peers["fleet"], run.peers["n2"], run.peers["n3"]
    before, losses = await run.places("n2"), run.audit()
    assert 80 <= len(before) <= 120

    # A rehearsal says what would happen, and nothing does. Who the survivors are is known within 3 s.
    async with asyncio.timeout(15):
        while True:
            plan = (await n2.command("drain", {}, actor=ACTOR, dry_run=True)).effect
            assert plan is not None
            told = Fields(plan, "effect")
            survivors = {
                name: Fields(row, name) for name, row in told.object("survivors").items() if isinstance(row, dict)
            }
            if [row.has("connections") for row in survivors.values()] == [True, True]:
                break
            await asyncio.sleep(0.2)
    assert survivors.keys() == {"n1", "n3"}
    assert all(80 <= row.integer("connections") <= 120 for row in survivors.values())
    assert told.integer("connections") == len(before)
    assert 0.5 < told.number("eta_s") < 5
    assert told.flag("hurried") is False
    assert "drain" not in n2.state

    # Half of a slow drain.
    assert (await n2.command("drain", {"rate": 20}, actor=ACTOR, reason="half")).ok
    await until(lambda: run.count("n2", "connections") <= len(before) // 2)
    assert isinstance(n2.state["drain"], dict)
    assert n2.state["drain"]["rate"] == 20.0
    assert (await n2.command("undrain", {}, actor=ACTOR)).effect == {"state": "online"}
    await run.steady()
    await asyncio.sleep(1)  # Whoever was on its way has arrived, and that has been told.
    after = await run.places("n2")
    moved = [event for event in run.kinds("resumed") if event.fields["how"] == "handover"]
    # One or two were on their way when it was called off, and may have found the node open again.
    stayed = {session for session in after if before.get(session) == after[session]}
    assert len(after) - len(stayed) <= 5
    assert len(before) / 3 < len(stayed) <= len(before) / 2
    assert len(moved) >= len(before) - len(stayed) - 5
    assert run.count("fleet", "handovers") == len(moved)
    by_second = [sum(second <= event.at - moved[0].at < second + 1 for event in moved) for second in range(2)]
    assert all(12 <= count <= 28 for count in by_second), by_second

    # The whole of another one, while its clients publish.
    left = await run.places("n3")
    assert (await n3.command("drain", {}, actor=ACTOR, reason="all")).ok
    await until(lambda: n3.state.get("state") == "left")
    await run.steady()
    assert await run.places("n3") == {}
    assert {*left} <= {*await run.places("n1"), *await run.places("n2")}
    bodies = [decode_body(event) for event in run.events]
    assert [body.node for body in bodies if isinstance(body, DrainStarted)] == ["n2", "n3"]
    assert [body.node for body in bodies if isinstance(body, DrainAborted)] == ["n2"]
    assert [(body.node, body.forced) for body in bodies if isinstance(body, DrainDone)] == [("n3", 0)]
    assert run.kinds("client_lost") == []
    assert run.kinds("reconnect_failed") == []
    await until(lambda: run.count("fleet", "audit", "never_acked") == 0)
    assert run.audit() == losses
    assert fleet.state["stopped"] == 0


async def test_the_oldest_connections_are_sent_away_one_after_the_other_and_nobody_is_asked_twice(run: Running) -> None:
    n1 = run.peers["n1"]
    rows = await run.rows("n1")
    oldest = [str(row["session"]) for row in rows[:30]]
    assert [row["since"] for row in rows] == sorted(float(str(row["since"])) for row in rows)
    first = await n1.command("disconnect", {"count": 20}, actor=ACTOR)
    second = await n1.command("disconnect", {"count": 10}, actor=ACTOR)
    assert (first.effect, second.effect) == ({"closed": 20, "rate": 20.0}, {"closed": 10, "rate": 10.0})
    # The nodes are even: whoever goes may come back to the same one, by another connection.
    was = {str(row["session"]): row["connection"] for row in rows}
    async with asyncio.timeout(20):
        while [s for s, name in (await run.places("n1")).items() if s in oldest and was[s] == name]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await run.steady()
    here = await run.places("n1")
    assert all(here.get(session) == name for session, name in was.items() if session not in oldest)
    assert run.kinds("client_lost") == []
    await until(lambda: run.count("fleet", "handovers") == 30)
    moved_at = [event.at for event in run.kinds("resumed")]
    assert moved_at[-1] - moved_at[0] > 0.6


async def test_sessions_are_told_a_page_at_a_time(run: Running) -> None:
    rows = await run.rows("n1")
    assert len({row["session"] for row in rows}) == len(rows) == run.count("n1", "sessions")
    assert {row["codec"] for row in rows} == {"json", "protobuf"}
    names = {str(row["client"]) for row in rows}
    assert len(names) == len(rows)
    assert all(name.startswith("c") for name in names)
    for row in rows:
        assert isinstance(row["channels"], list)
        assert isinstance(row["positions"], dict)
        assert len(row["channels"]) == 1
        assert [*row["positions"]] == row["channels"]
        assert str(row["address"]).startswith("127.0.0.1:")
    nobody = await run.peers["n1"].query("nonsense", limit=10)
    assert nobody.rows == ()
