"""The client library against a fake node, on virtual time."""

import asyncio
import dataclasses
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeVar

import pytest

import sample_cluster.client
from sample_cluster.client import (
    Asked,
    Attempted,
    Back,
    Change,
    Client,
    ClientOptions,
    Failed,
    Jumped,
    Lost,
    Rewound,
    Rewritten,
    Stopped,
    Welcomed,
)
from sample_cluster.codecs import codec_for
from sample_cluster.core.backoff import BackoffTiming, Source
from sample_cluster.core.messages import (
    Ack,
    ClientFrame,
    Error,
    GoAway,
    GoAwayReason,
    Hello,
    Message,
    Ping,
    Pong,
    Position,
    Publish,
    Published,
    Reconnect,
    Resume,
    Resync,
    Rewind,
    Subscribe,
    Subscribed,
    Timings,
    UnknownFrame,
    Unsubscribe,
    Welcome,
)
from sample_cluster.core.reconnect import Phase, Wait
from sample_cluster.errors import LocalProtocolError, PublishRefusedError, RemoteProtocolError
from tests.support.fake_node import EPOCH, RECONNECT, FakeLog, FakeNode, FakeSession, eventually, nonce
from wsmon.protocol.frames import Json

TIMING = BackoffTiming(spread_s=0.5, base_s=0.1, factor=2, cap_s=1, jitter=0.2, stable_s=6)
ROOM = "room.1"
T = TypeVar("T")


class Seen:
    """What a client handed out and told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.changes: list[Change] = []

    @property
    def seqs(self) -> list[int]:
        """Numbers of the messages in the order of delivery."""
        return [message.seq for message in self.messages]

    def kinds(self) -> list[str]:
        """Names of the changes."""
        return [type(change).__name__ for change in self.changes]

    def last(self, kind: type) -> Change:
        """Return the newest change of a kind."""
        return next(change for change in reversed(self.changes) if isinstance(change, kind))

    def backs(self) -> list[Back]:
        """Return all returns."""
        return [change for change in self.changes if isinstance(change, Back)]


@asynccontextmanager
async def following(
    node: FakeNode,
    seen: Seen,
    *,
    start: Position | Literal["now", "start"] = "now",
    unanswered_max: int = 64,
    subscribe: bool = True,
    subprotocol: str = "wsc.v1.json",
    url: str | tuple[str, ...] | None = None,
) -> AsyncIterator[Client]:
    """Yield a connected client that follows the room."""
    client = Client(
        node.url if url is None else url,
        ClientOptions(timing=TIMING, codec=codec_for(subprotocol), attempt_timeout_s=2, unanswered_max=unanswered_max),
        dice=random.Random(1),
        on_change=seen.changes.append,
    )
    await client.connect()
    if subscribe:
        await client.subscribe(ROOM, seen.messages.append, start=start)
    try:
        yield client
    finally:
        await client.close()


async def soon(future: asyncio.Future[T]) -> T:
    """Wait for a future, though not for ever: time is virtual, and a client that never gives up never ends.

    Raises:
        TimeoutError: it never came.

    """
    async with asyncio.timeout(120):
        return await future


async def test_a_client_says_hello_subscribes_and_gets_every_message_once_in_order() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        for number in range(5):
            node.log.append(ROOM, number)
        await eventually(lambda: len(seen.messages) == 5)
        assert seen.seqs == [1, 2, 3, 4, 5]
        assert client.position(ROOM) == Position(epoch=EPOCH, seq=5, nonce=nonce(5))
        assert seen.kinds() == ["Attempted", "Welcomed"]
        assert isinstance(node.said[0], Hello)
        assert node.sessions[0].connection.subprotocol == "wsc.v1.json"


async def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = str(sample_cluster.client.__doc__)
    code = text.split("```python\n")[1].split("\nasyncio.run(main())", maxsplit=1)[0]
    names: dict[str, Any] = {}
    exec(code, names)
    async with FakeNode() as node:
        node.timings = dataclasses.replace(node.timings, ping_ms=100_000)  # It does not ping, and is not missed.
        await names["main"]()
        assert node.codes()[-1] == 1000
    told = capsys.readouterr().out
    assert "in the log at 1\n" in told
    assert "1 {'text': 'hello'}\n" in told
    assert "Welcomed(node='n1')" in told


async def test_a_subscription_from_the_start_gets_the_history_first() -> None:
    seen = Seen()
    async with FakeNode() as node:
        for number in range(3):
            node.log.append(ROOM, number)
        async with following(node, seen, start="start"):
            node.log.append(ROOM, 3)
            await eventually(lambda: len(seen.messages) == 4)
    assert seen.seqs == [1, 2, 3, 4]


async def test_a_subscription_made_before_the_first_welcome_is_sent_with_it() -> None:
    async with FakeNode() as node:
        client = Client(node.url, ClientOptions(timing=TIMING))
        client.start()
        position = await client.subscribe(ROOM, lambda _: None)
        assert position.seq == 0
        await client.close()


async def test_a_channel_can_be_followed_once_only_and_again_after_leaving_it() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        with pytest.raises(LocalProtocolError):
            client.subscribe(ROOM, seen.messages.append)
        client.unsubscribe(ROOM)
        client.unsubscribe(ROOM)
        assert client.position(ROOM) is None
        await eventually(lambda: any(isinstance(frame, Unsubscribe) for frame in node.said))
        node.send(node.log.append(ROOM, "unheard"))
        await client.subscribe(ROOM, seen.messages.append)
        node.log.append(ROOM, "heard")
        await eventually(lambda: bool(seen.messages))
    assert seen.seqs == [2]


async def test_a_publish_is_answered_with_its_place_in_the_log() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        answers = [await soon(client.publish(ROOM, {"n": number})) for number in range(3)]
        assert [(answer.cseq, answer.seq, answer.dup) for answer in answers] == [
            (1, 1, False),
            (2, 2, False),
            (3, 3, False),
        ]
        await eventually(lambda: len(seen.messages) == 3)


async def test_a_killed_node_costs_no_message_and_the_way_back_is_told() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        log.append(ROOM, "before")
        await eventually(lambda: seen.seqs == [1])
        await node.kill()
        log.append(ROOM, "meanwhile")
        await eventually(lambda: client.phase is Phase.WAITING)
        assert not client.connected
        assert len(client.planned) == 3
        async with FakeNode(log, name="n2"):
            await eventually(lambda: bool(seen.backs()))
            log.append(ROOM, "after")
            await eventually(lambda: seen.seqs == [1, 2, 3])
            kinds = seen.kinds()
    assert kinds == ["Attempted", "Welcomed", "Lost", "Wait", "Attempted", "Welcomed", "Back"]
    lost, wait, back = seen.changes[2], seen.changes[3], seen.changes[6]
    assert lost == Lost(node="n1", code=1006)
    assert isinstance(wait, Wait)
    assert wait.source is Source.SPREAD
    assert wait.delay_s <= RECONNECT.spread_ms / 1_000
    assert isinstance(back, Back)
    assert (back.node, back.replayed) == ("n2", 1)
    assert back.away_s == pytest.approx(wait.delay_s, abs=0.05)


async def test_attempts_that_fail_are_told_with_their_outcome_and_planned_longer() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        await node.kill()
        await eventually(lambda: sum(isinstance(change, Failed) for change in seen.changes) == 4)
        waits = [change for change in seen.changes if isinstance(change, Wait)]
        assert [wait.attempt for wait in waits] == [1, 2, 3, 4, 5]
        for wait, base_s in zip(waits[1:], (0.2, 0.4, 0.8, 1.6), strict=True):
            assert base_s * 0.8 <= wait.delay_s <= base_s * 1.2
            assert wait.source is Source.BACKOFF
        assert {change.outcome for change in seen.changes if isinstance(change, Failed)} == {"refused"}
        await node.start()
        await eventually(lambda: bool(seen.backs()))
        resume = next(frame for frame in node.said if isinstance(frame, Resume))
        assert [retry.outcome for retry in resume.retries] == ["refused"] * 4


async def test_only_so_many_clients_of_a_turnstile_attempt_at_a_time() -> None:
    here: set[asyncio.StreamWriter] = set()
    most = came = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most, came
        here.add(writer)
        most, came = max(most, len(here)), came + 1
        with suppress(ConnectionError):
            await reader.read()
            await reader.read()
        here.discard(writer)
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 9_900)
    turnstile, options = asyncio.Semaphore(2), ClientOptions(timing=TIMING, attempt_timeout_s=2)
    clients = [
        Client("ws://127.0.0.1:9900/ws", options, dice=random.Random(number), turnstile=turnstile)
        for number in range(6)
    ]
    for client in clients:
        client.start()
    await asyncio.sleep(1)
    assert came == 2
    await asyncio.sleep(4)
    assert came == 6
    await asyncio.gather(*(client.close() for client in clients))
    assert most == 2
    assert not turnstile.locked()
    server.close()


async def test_a_publish_whose_answer_was_lost_is_sent_again_and_written_once() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        node.answers_publishes = False
        answer = client.publish(ROOM, "precious")
        await eventually(lambda: len(log.entries.get(ROOM, [])) == 1)
        await node.kill()
        other = client.publish(ROOM, "published while away")
        async with FakeNode(log, name="n2") as second:
            assert (await soon(answer)).dup
            assert (await soon(other)).seq == 2
            resume = second.said[0]
            assert isinstance(resume, Resume)
            assert resume.attempt == 2
            assert resume.pending == {ROOM: 2}
            await eventually(lambda: seen.seqs == [1, 2])


async def test_a_temporary_refusal_is_answered_by_sending_everything_again_in_order() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.refusal = ("redis_away", True, 300)
        answers = [client.publish(ROOM, number) for number in range(3)]
        await eventually(lambda: sum(isinstance(frame, Publish) for frame in node.said) == 3)
        await asyncio.sleep(0.05)
        late = client.publish(ROOM, "late")
        await asyncio.sleep(0.2)
        assert sum(isinstance(frame, Publish) for frame in node.said) == 3
        node.refusal = None
        assert [(await soon(answer)).seq for answer in (*answers, late)] == [1, 2, 3, 4]
        assert [message.data for message in node.log.entries[ROOM]] == [0, 1, 2, "late"]


async def test_a_refusal_for_good_reaches_the_publisher() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.refusal = ("too_big", False, None)
        with pytest.raises(PublishRefusedError) as caught:
            await soon(client.publish(ROOM, "x" * 1_000))
        assert caught.value.code == "too_big"
        assert client.can_publish


async def test_unanswered_publishes_are_bounded() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen, unanswered_max=2) as client:
        node.answers_publishes = False
        answers = [client.publish(ROOM, number) for number in range(2)]
        assert not client.can_publish
        with pytest.raises(LocalProtocolError):
            client.publish(ROOM, "one too many")
    assert all(answer.cancelled() for answer in answers)


async def test_messages_are_acknowledged_after_a_second_or_every_32() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        node.log.append(ROOM, 0)
        await asyncio.sleep(0.9)
        acks = [frame for frame in node.said if isinstance(frame, Ack)]
        assert not acks
        await asyncio.sleep(0.2)
        for number in range(70):
            node.log.append(ROOM, number)
        await eventually(lambda: len(seen.messages) == 71)
        await asyncio.sleep(0.1)
        assert [frame.acks for frame in node.said if isinstance(frame, Ack)] == [{ROOM: 1}, {ROOM: 33}, {ROOM: 65}]
        await asyncio.sleep(1)
        assert [frame.acks for frame in node.said if isinstance(frame, Ack)][-1] == {ROOM: 71}


async def test_pings_are_answered() -> None:
    async with FakeNode() as node, following(node, Seen()):
        node.send(Ping(ts=42))
        await eventually(lambda: Pong(ts=42) in node.said)


async def test_silence_for_the_time_of_a_ping_and_its_answer_is_a_dead_connection() -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()
    async with FakeNode() as node, following(node, seen):
        await asyncio.sleep(7)
        node.ping()
        await asyncio.sleep(0.1)
        heard_at = loop.time()
        node.silent = True
        await eventually(lambda: any(isinstance(change, Lost) for change in seen.changes))
        assert loop.time() - heard_at == pytest.approx(8, abs=0.2)
        assert seen.last(Lost) == Lost(node="n1", code=1006)
        # The node takes the connection and never says welcome: the attempt times out.
        await eventually(lambda: any(isinstance(change, Failed) for change in seen.changes))
        failed = seen.last(Failed)
        assert isinstance(failed, Failed)
        assert failed.outcome == "timeout"


async def test_a_hole_is_asked_for_and_nothing_is_lost_or_handed_out_twice() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.log.append(ROOM, 1)
        node.log.append(ROOM, 2, tell=False)
        node.log.append(ROOM, 3)
        node.log.append(ROOM, 4)
        await eventually(lambda: len(seen.messages) == 4)
        assert seen.seqs == [1, 2, 3, 4]
        node.send(node.log.entries[ROOM][1])
        await eventually(lambda: client.dropped > 0)
        assert seen.seqs == [1, 2, 3, 4]
        asked = [frame.start for frame in node.said if isinstance(frame, Subscribe)]
        assert asked == ["now", Position(epoch=EPOCH, seq=1, nonce=nonce(1))]
        assert client.connected


async def test_a_node_that_never_continues_the_history_is_left() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        foreign = Message(channel=ROOM, seq=1, nonce=5, prev=99, id="m", ts=0, data=None)

        def lie(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Subscribe):
                position = Position(epoch=EPOCH, seq=0, nonce=0)
                session.send(Subscribed(id=frame.id, channel=ROOM, position=position, replay=1), foreign)
            return isinstance(frame, Subscribe)

        node.answer = lie
        node.send(foreign)
        await eventually(lambda: any(isinstance(change, Lost) for change in seen.changes))
        assert seen.last(Lost) == Lost(node="n1", code=1002)
    assert seen.messages == []


async def test_a_resync_moves_the_position_and_tells_what_is_gone() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.log.append(ROOM, 1)
        await eventually(lambda: len(seen.messages) == 1)
        position = Position(epoch=EPOCH, seq=10, nonce=nonce(10))
        told = Resync(channel=ROOM, reason="trimmed", have=1, first=11, top=12, position=position)
        elsewhere = Resync(channel="other", reason="trimmed", have=1, first=11, top=12, position=position)
        node.send(told, elsewhere)
        await eventually(lambda: client.position(ROOM) == position)
        assert seen.last(Jumped) == Jumped(told=told, lost=9)
        back = Position(epoch=EPOCH, seq=8, nonce=nonce(8))
        rewind = Rewind(channel=ROOM, to=8, void=(9, 10), position=back)
        node.send(rewind)
        await eventually(lambda: client.position(ROOM) == back)
        assert seen.last(Rewound) == Rewound(told=rewind, handed_out=0)  # What it had jumped over was never handed out.


async def test_a_client_leaves_in_its_slot_when_asked_and_nobody_calls_that_a_loss() -> None:
    log, seen = FakeLog(), Seen()
    loop = asyncio.get_running_loop()
    async with FakeNode(log) as node, following(node, seen) as client:
        goaway = GoAway(reason=GoAwayReason.DRAIN, retry_ms=1_000, spread_ms=500, deadline_ms=9_000, handover=False)
        asked_at = loop.time()
        node.send(goaway, goaway)
        await eventually(lambda: client.phase is Phase.MOVING)
        node.answer = lambda session, frame: session is node.sessions[0] and isinstance(frame, Publish)
        answer = client.publish(ROOM, "in flight")
        assert client.connected
        assert (await soon(answer)).seq == 1
        await eventually(lambda: bool(seen.backs()))
        assert seen.kinds() == ["Attempted", "Welcomed", "Asked", "Wait", "Attempted", "Welcomed", "Back"]
        assert seen.changes[2] == Asked(node="n1", reason=GoAwayReason.DRAIN)
        wait = seen.changes[3]
        assert isinstance(wait, Wait)
        assert wait.source is Source.GOAWAY
        assert 1 <= wait.delay_s <= 1.5
        assert wait.delay_s <= loop.time() - asked_at <= wait.delay_s + 0.5
        assert node.sessions[0].connection.close_code == 1000


async def test_a_client_with_nothing_unanswered_leaves_at_once() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        await soon(client.publish(ROOM, 1))
        node.send(GoAway(reason=GoAwayReason.DRAIN, retry_ms=0, spread_ms=0, deadline_ms=9_000, handover=False))
        await eventually(lambda: bool(seen.backs()))
        assert seen.backs()[0].away_s < 0.1
        assert client.welcomes == 2


async def test_a_node_that_goes_before_the_slot_comes_is_a_loss_and_the_slot_stays() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        node.send(GoAway(reason=GoAwayReason.DRAIN, retry_ms=3_000, spread_ms=0, deadline_ms=1_000, handover=False))
        await asyncio.sleep(1)
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        assert seen.kinds() == [
            *["Attempted", "Welcomed", "Asked", "Wait"],
            *["Lost", "Wait"],
            *["Attempted", "Welcomed", "Back"],
        ]
        assert seen.changes[4] == Lost(node="n1", code=1012)
        wait = seen.changes[5]
        assert isinstance(wait, Wait)
        assert wait.source is Source.GOAWAY
        assert wait.delay_s == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("code", [1000, 1001, 1012, 1013, 4001, 4010])
async def test_a_client_comes_back_after_close_code(code: int) -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        await node.close_all(code)
        await eventually(lambda: bool(seen.backs()))
        assert seen.last(Lost) == Lost(node="n1", code=code)


@pytest.mark.parametrize("code", [4501, 4502, 4503, 4504])
async def test_a_client_stays_away_after_close_code(code: int) -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.answers_publishes = False
        answer = client.publish(ROOM, 1)
        await node.close_all(code)
        with pytest.raises(PublishRefusedError):
            await soon(answer)
        assert seen.kinds()[-2:] == ["Lost", "Stopped"]
        assert seen.changes[-1] == Stopped(code=code)
        assert not client.can_publish
        assert client.phase is Phase.STOPPED
        await asyncio.sleep(100)
        assert node.handshakes == 1


async def test_a_client_that_is_refused_before_its_first_welcome_says_so() -> None:
    async with FakeNode() as node:
        closing: list[asyncio.Task[None]] = []

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            closing.append(asyncio.get_running_loop().create_task(session.connection.close(4503)))
            return True

        node.answer = refuse
        client = Client(node.url, ClientOptions(timing=TIMING))
        with pytest.raises(RemoteProtocolError):
            await client.connect()
        await client.close()


async def test_a_session_that_the_cluster_does_not_know_any_more_is_given_up_for_a_new_one() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        closing: list[asyncio.Task[None]] = []

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                closing.append(asyncio.get_running_loop().create_task(session.connection.close(4503)))
            return isinstance(frame, Resume)

        node.answer = refuse
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        failed = seen.last(Failed)
        assert isinstance(failed, Failed)
        assert failed.outcome == "session refused"
        assert isinstance(node.sessions[-1].said[0], Hello)
        assert node.log.position(ROOM).seq == 0


async def test_whoever_finds_a_later_attempt_than_its_own_has_lost_the_session_to_somebody_and_stops() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.log.owners[node.sessions[0].session] = 7, node.sessions[0]
        await node.close_all(1012)
        await eventually(lambda: client.phase is Phase.STOPPED)
        assert seen.last(Failed) == Failed(attempt=1, outcome="error stale_attempt")
        assert seen.changes[-1] == Stopped(code=4502)
        assert [frame.attempt for frame in node.said if isinstance(frame, Resume)] == [2]


async def test_every_resume_carries_a_higher_attempt_than_any_before() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume) and frame.attempt < 4:
                session.send(Error(code="busy", message=""))
                return True
            return False

        node.answer = refuse
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        assert [frame.attempt for frame in node.said if isinstance(frame, Resume)] == [2, 3, 4]
        assert seen.last(Failed) == Failed(attempt=2, outcome="error busy")


async def test_the_servers_advice_replaces_the_next_delay() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        node.retry_after = "7.5"
        await node.close_all(1012)
        await eventually(lambda: any(isinstance(change, Failed) for change in seen.changes))
        wait = seen.changes[-1]
        assert isinstance(wait, Wait)
        assert (wait.source, wait.delay_s) == (Source.ADVICE, 7.5)
        node.retry_after = "Wed, 21 Oct 2015 07:28:00 GMT"
        await eventually(lambda: sum(isinstance(change, Failed) for change in seen.changes) == 2)
        wait = seen.changes[-1]
        assert isinstance(wait, Wait)
        assert wait.source is Source.BACKOFF
        failed = seen.last(Failed)
        assert isinstance(failed, Failed)
        assert failed.outcome == "http 503"


async def test_a_client_waits_for_a_cluster_that_is_not_there_yet() -> None:
    seen = Seen()
    node = FakeNode()
    client = Client(node.url, ClientOptions(timing=TIMING), on_change=seen.changes.append, first_delay_s=0.5)
    connecting = asyncio.get_running_loop().create_task(client.connect())
    await asyncio.sleep(5)
    assert client.welcomes == 0
    assert all(not isinstance(change, Lost | Back) for change in seen.changes)
    async with node:
        welcome = await connecting
        assert welcome.node == "n1"
        assert isinstance(seen.changes[-1], Welcomed)
        await client.close()


@pytest.mark.parametrize("text", ["garbage", '{"type":"message"}', "[]"])
async def test_a_node_that_speaks_garbage_is_left_and_tried_again(text: str) -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        await node.sessions[0].connection.send(text)
        await eventually(lambda: bool(seen.backs()))
        assert seen.last(Lost) == Lost(node="n1", code=1002)
        await node.sessions[-1].connection.send(b"binary")
        await eventually(lambda: len(seen.backs()) == 2)
        assert client.connected


async def test_frames_that_say_nothing_to_a_client_are_ignored() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        await node.sessions[0].connection.send(
            '{"type":"brand_new"}\n{"type":"notice","component":"redis","state":"degraded"}\n'
            '{"type":"error","code":"odd","message":"what?"}\n'
            '{"type":"published","channel":"room.1","cseq":9,"seq":9}\n'
            '{"type":"subscribed","id":99,"channel":"room.1","position":{"epoch":"0000abcd","seq":50,"nonce":1}}'
        )
        node.log.append(ROOM, 1)
        await eventually(lambda: seen.seqs == [1])
        assert client.connected


async def test_a_second_welcome_and_a_first_frame_that_is_none_are_broken_protocol() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        assert client.welcome is not None
        node.send(client.welcome)
        await eventually(lambda: bool(seen.backs()))

        def ping_first(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.send(Ping(ts=1))
            return isinstance(frame, Resume)

        node.answer = ping_first
        await node.close_all(1012)
        await eventually(lambda: any(isinstance(change, Failed) for change in seen.changes))
        failed = seen.last(Failed)
        assert isinstance(failed, Failed)
        assert failed.outcome == "bad welcome"


async def test_a_subscribe_that_is_refused_for_now_is_repeated_and_one_refused_for_good_raises() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Subscribe) and frame.channel == "later" and frame.id == 2:
                session.send(Error(code="redis_away", message="", temporary=True, retry_ms=400, id=frame.id))
                return True
            if isinstance(frame, Subscribe) and frame.channel == "never":
                session.send(Error(code="too_many_channels", message="enough", id=frame.id))
                return True
            return False

        node.answer = refuse
        await client.subscribe("later", seen.messages.append)
        with pytest.raises(LocalProtocolError):
            await client.subscribe("never", seen.messages.append)


async def test_timings_that_make_no_sense_are_not_taken_from_a_node() -> None:
    seen = Seen()
    async with FakeNode() as node:
        node.reconnect = Reconnect(spread_ms=1, base_ms=0, factor=2.0, cap_ms=12_000, jitter=0.2, stable_ms=6_000)
        async with following(node, seen):
            await node.close_all(1012)
            await eventually(lambda: bool(seen.backs()))
            wait = next(change for change in seen.changes if isinstance(change, Wait))
            assert wait.delay_s > 0.001


async def test_a_handler_that_fails_ends_the_client_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Message) -> None:
        raise RuntimeError("a bug of the application")

    async with FakeNode() as node:
        client = Client(node.url, ClientOptions(timing=TIMING))
        await client.connect()
        await client.subscribe(ROOM, broken)
        node.log.append(ROOM, 1)
        await eventually(lambda: not client.connected)
        await client.close()
    assert "a client failed" in caplog.text


async def test_a_peer_that_floods_is_cut() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        node.send(*[Ping(ts=number) for number in range(600)])
        await eventually(lambda: any(isinstance(change, Lost) for change in seen.changes))


async def test_closing_takes_half_a_second_at_most_even_if_the_node_does_not_answer() -> None:
    loop = asyncio.get_running_loop()
    async with FakeNode() as node:
        client = Client(node.url, ClientOptions(timing=TIMING))
        await client.connect()
        node.sessions[0].connection.transport.pause_reading()
        before = loop.time()
        await client.close()
        assert loop.time() - before <= 0.5
        assert not client.connected


async def test_a_client_closes_while_it_connects_and_before_it_was_started() -> None:
    await Client("ws://127.0.0.1:1/ws", ClientOptions(timing=TIMING)).close()
    async with FakeNode() as node:
        node.silent = True
        client = Client(node.url, ClientOptions(timing=TIMING))
        client.start()
        waiting = client.subscribe(ROOM, lambda _: None)
        await eventually(lambda: node.handshakes == 1)
        await client.close()
        assert waiting.cancelled()


async def test_a_client_remembers_the_newest_welcome() -> None:
    log = FakeLog()
    async with FakeNode(log) as node, following(node, Seen()) as client:
        node.timings = Timings(ping_ms=500, pong_ms=100, misses=3, resume_ttl_ms=1, ack_ms=1_000)
        node.name = "n9"
        await node.close_all(1012)
        await eventually(lambda: client.welcomes == 2)
        assert isinstance(client.welcome, Welcome)
        assert (client.welcome.node, client.welcome.timings.ping_ms) == ("n9", 500)


async def test_attempts_are_numbered_from_one_again_after_a_stable_time() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        for stay_s in (1, 1, 7):
            await asyncio.sleep(stay_s)
            await node.close_all(1012)
            await asyncio.sleep(1.5)
        started = [change.attempt for change in seen.changes if isinstance(change, Attempted)]
        assert started == [1, 1, 2, 1]


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the connection and say nothing until the client is gone."""
    await reader.read()
    writer.close()


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection as soon as the client has asked."""
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with something that is not HTTP."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"+PONG\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("server", "outcome"), [(hang, "timeout"), (cut, "reset"), (babble, "bad handshake")], ids=["hang", "cut", "babble"]
)
async def test_what_is_no_node_is_an_attempt_that_failed(
    server: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], outcome: str
) -> None:
    seen = Seen()
    listening = await asyncio.start_server(server, "127.0.0.1", 8_800)
    client = Client(
        "ws://127.0.0.1:8800/ws",
        ClientOptions(timing=TIMING, attempt_timeout_s=2),
        on_change=seen.changes.append,
    )
    client.start()
    await eventually(lambda: any(isinstance(change, Failed) for change in seen.changes))
    await client.close()
    listening.close()
    await listening.wait_closed()
    assert seen.changes[1] == Failed(attempt=1, outcome=outcome)


async def test_what_comes_in_one_frame_with_the_welcome_is_read_too() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        welcome = client.welcome
        assert welcome is not None

        def hurry(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.send(welcome, Ping(ts=7))
            return isinstance(frame, Resume)

        node.answer = hurry
        await node.close_all(1012)
        await eventually(lambda: Pong(ts=7) in node.said)


async def test_a_client_that_leaves_waits_for_the_answers_to_what_it_sent() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.answers_publishes = False
        answers = [client.publish(ROOM, number) for number in range(2)]
        node.send(GoAway(reason=GoAwayReason.DRAIN, retry_ms=0, spread_ms=0, deadline_ms=9_000, handover=False))
        await eventually(lambda: len(node.log.entries.get(ROOM, [])) == 2)
        late = client.publish(ROOM, "not for this node")
        await asyncio.sleep(0.1)
        assert client.phase is Phase.MOVING
        node.answers_publishes = True
        node.send(*(Published(channel=ROOM, cseq=cseq, seq=cseq) for cseq in (1, 2)))
        assert [(await soon(answer)).dup for answer in answers] == [False, False]
        assert (await soon(late)).seq == 3
        assert client.welcomes == 2
        assert not any(isinstance(frame, Publish) and frame.cseq == 3 for frame in node.sessions[0].said)


async def test_a_subscription_can_be_left_before_it_was_answered() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        waiting = client.subscribe("other", seen.messages.append)
        client.unsubscribe("other")
        await asyncio.sleep(0.1)
        assert waiting.cancelled()
        node.send(Message(channel="other", seq=1, nonce=1, prev=0, id="m", ts=0, data=None))
        node.log.append(ROOM, 1)
        await eventually(lambda: bool(seen.messages))
        assert [message.channel for message in seen.messages] == [ROOM]


# Coming back into a session.


def positions(node: FakeNode) -> list[dict[str, Position]]:
    """Return the positions of all resumes that a node was sent."""
    return [dict(frame.positions) for frame in node.said if isinstance(frame, Resume)]


def asked(node: FakeNode) -> list[str]:
    """Return the channels that a node was asked for, request by request."""
    return [frame.channel for frame in node.said if isinstance(frame, Subscribe)]


@pytest.mark.parametrize("lists", ["exact", "all"])
async def test_a_resume_carries_all_positions_and_what_is_resumed_is_not_asked_for(
    lists: Literal["exact", "all"],
) -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        await client.subscribe("other", seen.messages.append)
        log.append(ROOM, 1)
        await eventually(lambda: seen.seqs == [1])
        await node.kill()
        for number in (2, 3):
            log.append(ROOM, number)
        async with FakeNode(log, name="n2") as second:
            second.lists = lists
            await eventually(lambda: bool(seen.backs()))
            assert positions(second) == [{ROOM: log.at(ROOM, 1), "other": log.position("other")}]
            assert asked(second) == []
            assert seen.seqs == [1, 2, 3]
            back = seen.backs()[0]
            assert (back.replayed, back.jumped, back.handover) == (2, 0, False)
            log.append("other", "live")
            await eventually(lambda: len(seen.messages) == 4)


async def test_a_channel_that_was_never_answered_is_asked_for() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        node.answer = lambda session, frame: isinstance(frame, Subscribe)
        waiting = client.subscribe("other", seen.messages.append)
        await asyncio.sleep(0.1)
        node.answer = None
        await node.close_all(1012)
        assert (await soon(waiting)).seq == 0
        assert positions(node) == [{ROOM: log.position(ROOM)}]
        assert asked(node) == [ROOM, "other", "other"]


async def test_a_channel_that_the_welcome_does_not_name_is_asked_for_from_the_own_position() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.log.append(ROOM, 1)
        await eventually(lambda: seen.seqs == [1])
        welcome = client.welcome
        assert welcome is not None

        def forget(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.send(welcome)
            return isinstance(frame, Resume)

        node.answer = forget
        await node.close_all(1012)
        await eventually(lambda: asked(node) == [ROOM, ROOM])
        last = [frame.start for frame in node.said if isinstance(frame, Subscribe)][-1]
        assert last == node.log.at(ROOM, 1)


async def test_a_channel_that_cannot_go_on_is_fresh_and_goes_on_where_its_resync_says() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen):
        log.append(ROOM, 1)
        await eventually(lambda: seen.seqs == [1])
        await node.kill()
        for number in range(2, 8):
            log.append(ROOM, number)
        log.first[ROOM] = 5
        async with FakeNode(log, name="n2") as second:
            await eventually(lambda: bool(seen.backs()))
            assert asked(second) == []
            assert seen.seqs == [1, 5, 6, 7]
            jumped = seen.last(Jumped)
            assert isinstance(jumped, Jumped)
            assert (jumped.told.reason, jumped.lost) == ("trimmed", 3)
            assert seen.backs()[0].jumped == 1


async def test_a_channel_left_while_the_resume_was_under_way_is_left_on_the_new_connection_too() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        await client.subscribe("other", seen.messages.append)
        node.welcome_after_s = 0.5
        await node.close_all(1012)
        await eventually(lambda: any(isinstance(frame, Resume) for frame in node.said))
        client.unsubscribe("other")
        client.unsubscribe(ROOM)
        again = client.subscribe(ROOM, seen.messages.append)
        await soon(again)
        left = [frame.channel for frame in node.said if isinstance(frame, Unsubscribe)]
        assert left == ["other"]
        assert asked(node) == [ROOM, "other", ROOM]


async def test_what_only_the_node_remembers_is_left() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        welcome = client.welcome
        assert welcome is not None

        def remember(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.send(dataclasses.replace(welcome, resumed=(ROOM, "old"), fresh=("older",)))
            return isinstance(frame, Resume)

        node.answer = remember
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        assert {frame.channel for frame in node.said if isinstance(frame, Unsubscribe)} == {"old", "older"}


async def test_a_forgotten_session_whose_channels_can_be_continued_has_lost_nothing() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.log.append(ROOM, 1)
        await eventually(lambda: seen.seqs == [1])
        welcome, here = client.welcome, node.log.position(ROOM)
        assert welcome is not None

        def forget(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                told = Resync(channel=ROOM, reason="expired", have=1, first=1, top=1, position=here)
                session.send(dataclasses.replace(welcome, fresh=(ROOM,)), told)
            return isinstance(frame, Resume)

        node.answer = forget
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        assert seen.backs()[0].jumped == 0
        jumped = seen.last(Jumped)
        assert isinstance(jumped, Jumped)
        assert jumped.lost == 0


async def test_a_client_is_back_only_when_the_replay_is_over_and_that_silence_is_not_counted() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        log.append(ROOM, 0)
        await eventually(lambda: seen.seqs == [1])
        missed = [log.append(ROOM, number, tell=False) for number in range(5)]
        welcome = client.welcome
        assert welcome is not None

        def slowly(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.send(dataclasses.replace(welcome, resumed=(ROOM,)))
                for number, message in enumerate(missed):
                    later = 0.03 * (number + 1)
                    asyncio.get_running_loop().call_later(
                        later, session.send, dataclasses.replace(message, replay=True)
                    )
            return isinstance(frame, Resume)

        node.answer = slowly
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        back, wait = seen.backs()[0], seen.last(Wait)
        assert isinstance(wait, Wait)
        assert back.replayed == 5
        assert back.away_s == pytest.approx(wait.delay_s + 0.15, abs=0.04)


async def test_a_client_counts_as_back_after_a_second_if_a_channel_cannot_be_served() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        welcome = client.welcome
        assert welcome is not None

        def promise(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.send(dataclasses.replace(welcome, fresh=(ROOM,)))
            return isinstance(frame, Resume)

        node.answer = promise
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        wait = seen.last(Wait)
        assert isinstance(wait, Wait)
        assert seen.backs()[0].away_s == pytest.approx(wait.delay_s + 1, abs=0.05)


async def test_duplicates_are_acknowledged_promptly_and_together() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        first, second = node.log.append(ROOM, 1), node.log.append(ROOM, 2)
        await eventually(lambda: seen.seqs == [1, 2])
        node.send(first, second)
        node.send(first)
        await eventually(lambda: client.dropped == 3)
        await asyncio.sleep(0.05)
        assert [frame.acks for frame in node.said if isinstance(frame, Ack)] == [{ROOM: 2}]
        await asyncio.sleep(2)
        assert sum(isinstance(frame, Ack) for frame in node.said) == 1
        assert seen.seqs == [1, 2]


async def test_only_channels_that_were_refused_for_now_are_held_back_each_for_its_time() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        refused: list[str] = []
        retry_ms = {"slow": 400, "slower": 900}

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Publish) and frame.channel in retry_ms and refused.count(frame.channel) < 2:
                refused.append(frame.channel)
                session.send(
                    Error(
                        code="busy",
                        message="",
                        temporary=True,
                        retry_ms=retry_ms[frame.channel],
                        channel=frame.channel,
                        cseq=frame.cseq,
                    )
                )
                return True
            return False

        node.answer = refuse
        slow = [client.publish("slow", number) for number in range(2)]
        slower = [client.publish("slower", number) for number in range(2)]
        await eventually(lambda: len(refused) == 4)
        await asyncio.sleep(0.05)
        slow.append(client.publish("slow", 2))
        assert (await soon(client.publish(ROOM, "quick"))).seq == 1
        assert not any(answer.done() for answer in slow + slower)
        assert [(await soon(answer)).seq for answer in slow] == [1, 2, 3]
        assert not any(answer.done() for answer in slower)
        assert [(await soon(answer)).seq for answer in slower] == [1, 2]
        assert client.welcomes == 1


async def test_what_was_unanswered_is_numbered_anew_in_a_new_session() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        await soon(client.publish(ROOM, "answered"))
        node.answers_publishes = False
        answers = [client.publish(ROOM, "written, and the answer lost")]
        await eventually(lambda: len(log.entries[ROOM]) == 2)

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.close(4503)
            return isinstance(frame, Resume)

        node.answer = refuse
        await node.close_all(1012)
        answers.append(client.publish(ROOM, "published while away"))
        node.answers_publishes = True
        assert [(await soon(answer)).cseq for answer in answers] == [1, 2]
        last = node.sessions[-1]
        assert last.session != node.sessions[0].session
        assert [frame.cseq for frame in last.said if isinstance(frame, Publish)] == [1, 2]
        # The log cannot know that the first of them was there before.
        assert [message.data for message in log.entries[ROOM]] == [
            "answered",
            "written, and the answer lost",
            "written, and the answer lost",
            "published while away",
        ]
        assert (await soon(client.publish(ROOM, "next"))).cseq == 3


@pytest.mark.parametrize("data", [float("nan"), "\ud800"])
async def test_data_without_a_json_text_is_refused_at_once(data: float | str) -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        with pytest.raises(LocalProtocolError):
            client.publish(ROOM, data)
        with pytest.raises(LocalProtocolError):
            client.publish("no channel!", 1)
        with pytest.raises(LocalProtocolError):
            client.subscribe("no channel!", seen.messages.append)
        assert (await soon(client.publish(ROOM, "fine"))).cseq == 1


async def test_advice_is_about_the_close_that_follows_it() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        node.send(Error(code="rate_limited", message="slower", temporary=True, retry_ms=4_000))
        await asyncio.sleep(2)
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        wait = seen.last(Wait)
        assert isinstance(wait, Wait)
        assert wait.source is Source.SPREAD


async def test_a_node_that_says_when_to_come_back_is_believed() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):
        node.send(Error(code="overload", message="too many", temporary=True, retry_ms=4_000))
        await asyncio.sleep(0.1)
        await node.close_all(1013)
        await eventually(lambda: bool(seen.backs()))
        wait = seen.last(Wait)
        assert isinstance(wait, Wait)
        assert (wait.source, wait.delay_s) == (Source.ADVICE, 4)

        def advise(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.send(Error(code="overload", message="still", temporary=True, retry_ms=3_000))
                session.close(1013)
            return isinstance(frame, Resume)

        node.answer = advise
        await node.close_all(1012)
        await eventually(lambda: isinstance(seen.changes[-1], Wait) and seen.changes[-1].source is Source.ADVICE)
        wait = seen.last(Wait)
        assert isinstance(wait, Wait)
        assert wait.delay_s == 3


async def test_of_several_addresses_another_one_is_tried_after_a_loss() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, FakeNode(log, name="n2", port=8_801) as other:
        async with following(node, seen, url=(node.url, other.url)) as client:
            for _ in range(3):
                await node.close_all(1012)
                await other.close_all(1012)
                await eventually(lambda: client.connected)
                await asyncio.sleep(0.5)
            took = [change.node for change in seen.changes if isinstance(change, Welcomed)]
        assert all(before != after for before, after in itertools.pairwise(took))
        assert len(took) >= 3
    with pytest.raises(ValueError, match="at least one"):
        Client((), ClientOptions(timing=TIMING))


# The log forks.


async def test_what_was_handed_out_before_the_log_forked_is_not_handed_out_when_it_is_written_again() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        for number in range(6):
            node.log.append(ROOM, number)
        await eventually(lambda: len(seen.messages) == 6)
        void = node.log.fork(ROOM, 2)
        node.log.append(ROOM, "new")
        node.log.restore(*void)
        node.log.append(ROOM, "newer")
        await eventually(lambda: bool(seen.messages) and seen.messages[-1].data == "newer")
        assert [message.data for message in seen.messages] == [0, 1, 2, 3, 4, 5, "new", "newer"]
        assert client.position(ROOM) == node.log.position(ROOM)
        assert client.rewritten == 4
        rewound = seen.last(Rewound)
        assert isinstance(rewound, Rewound)
        assert (rewound.told.void, rewound.handed_out) == ((3, 6), 4)
        assert [change.message.id for change in seen.changes if isinstance(change, Rewritten)] == [
            message.id for message in void
        ]
        await asyncio.sleep(1.1)
        assert [frame.acks for frame in node.said if isinstance(frame, Ack)][-1] == {ROOM: 8}
        assert asked(node) == [ROOM]


async def test_a_fork_that_happened_while_away_is_a_resync_and_hands_nothing_out_twice() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        for number in range(4):
            log.append(ROOM, number)
        await eventually(lambda: len(seen.messages) == 4)
        await node.kill()
        void = log.fork(ROOM, 1)
        async with FakeNode(log, name="n2"):
            await eventually(lambda: bool(seen.backs()))
            jumped = seen.last(Jumped)
            assert isinstance(jumped, Jumped)
            assert jumped.told.reason == "fork"
            log.restore(*void)
            log.append(ROOM, "new")
            await eventually(lambda: seen.messages[-1].data == "new")
            assert [message.data for message in seen.messages] == [0, 1, 2, 3, "new"]
            assert client.rewritten == 3


async def test_a_resync_may_come_for_a_channel_that_was_called_resumed() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        for number in range(4):
            log.append(ROOM, number)
        await eventually(lambda: len(seen.messages) == 4)
        node.lists = "all"
        log.fork(ROOM, 1, tell=False)
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        assert client.position(ROOM) == log.at(ROOM, 1)
        log.append(ROOM, "new")
        await eventually(lambda: seen.messages[-1].data == "new")
        assert seen.seqs == [1, 2, 3, 4, 2]


# Hand-over.


@asynccontextmanager
async def chatter(log: FakeLog, every_s: float = 0.01) -> AsyncIterator[None]:
    """Write to the room without a pause."""

    async def write() -> None:
        for number in itertools.count():
            log.append(ROOM, number)
            await asyncio.sleep(every_s)

    task = asyncio.get_running_loop().create_task(write())
    try:
        yield
    finally:
        task.cancel()


class Handed(Seen):
    """Also remembers when messages were handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def take(self, message: Message) -> None:
        """Handle a message."""
        self.messages.append(message)
        self.at.append(asyncio.get_running_loop().time())

    def longest_pause_s(self) -> float:
        """Return the longest time between two messages."""
        return max(after - before for before, after in itertools.pairwise(self.at))

    def contiguous(self) -> bool:
        """Say whether each message came once and in order."""
        return self.seqs == list(range(1, len(self.seqs) + 1))


@pytest.mark.parametrize("takeover_s", [1.0, 0.05])
@pytest.mark.parametrize("subprotocol", ["wsc.v1.json", "wsc.v1.pb"])
async def test_a_hand_over_has_no_gap_no_duplicate_and_no_pause(subprotocol: str, takeover_s: float) -> None:
    log, seen = FakeLog(), Handed()
    async with FakeNode(log) as node, following(node, seen, subscribe=False, subprotocol=subprotocol) as client:
        await client.subscribe(ROOM, seen.take)
        async with chatter(log):
            await asyncio.sleep(1)
            await node.stop_listening()
            async with FakeNode(log, name="n2") as second:
                second.welcome_after_s = 0.3
                second.takeover_s = takeover_s
                node.go_away()
                await eventually(lambda: any(isinstance(frame, Resume) for frame in second.said))
                assert client.phase is Phase.HANDOVER
                assert client.connected
                during = len(seen.messages)
                await eventually(lambda: client.phase is Phase.CONNECTED)
                assert len(seen.messages) > during + 20  # The old node went on serving.
                await eventually(lambda: bool(seen.backs()))
                await asyncio.sleep(2)
                assert seen.contiguous()
                assert seen.longest_pause_s() < 0.05
                assert len(seen.messages) > 250
                assert client.dropped > 20  # What the new node had to repeat.
                assert node.codes() == [1000]
                resume = second.said[0]
                assert isinstance(resume, Resume)
                assert resume.attempt == 2
                assert second.sessions[0].connection.subprotocol == subprotocol
                back = seen.backs()[0]
                assert (back.node, back.away_s, back.handover) == ("n2", 0, True)
                assert seen.kinds() == ["Attempted", "Welcomed", "Asked", "Wait", "Attempted", "Welcomed", "Back"]
                assert seen.changes[4] == Attempted(attempt=1, handover=True)
                assert client.welcomes == 2


async def test_publishes_go_to_the_new_node_from_its_welcome_on_and_each_is_written_once() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        await soon(client.publish(ROOM, 0))
        node.answers_publishes = False
        open_ones = [client.publish(ROOM, number) for number in (1, 2)]
        await eventually(lambda: len(log.entries[ROOM]) == 3)
        await node.stop_listening()
        async with FakeNode(log, name="n2") as second:
            second.welcome_after_s = 0.2
            node.go_away()
            await eventually(lambda: client.phase is Phase.HANDOVER)
            during = client.publish(ROOM, 3)
            await eventually(lambda: client.welcomes == 2)
            after = client.publish(ROOM, 4)
            answers = [await soon(answer) for answer in (*open_ones, during, after)]
            assert [(answer.seq, answer.dup) for answer in answers] == [(2, True), (3, True), (4, True), (5, False)]
            assert [frame.cseq for frame in second.said if isinstance(frame, Publish)] == [2, 3, 4, 5]
            assert [frame.cseq for frame in node.said if isinstance(frame, Publish)] == [1, 2, 3, 4]


async def test_an_answer_on_the_old_connection_counts_and_closes_it() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        node.answers_publishes = False
        answer = client.publish(ROOM, 1)
        await eventually(lambda: len(log.entries.get(ROOM, [])) == 1)
        await node.stop_listening()
        async with FakeNode(log, name="n2") as second:
            second.answer = lambda session, frame: isinstance(frame, Publish)
            node.go_away()
            await eventually(lambda: client.welcomes == 2)
            await asyncio.sleep(0.1)
            assert not answer.done()
            assert node.codes() == [None]
            node.send(Published(channel=ROOM, cseq=1, seq=1), Message(**STRAY), Subscribed(**UNASKED))
            assert (await soon(answer)).seq == 1
            await asyncio.sleep(0.05)
            assert node.codes() == [1000]
            assert seen.seqs == [1]


async def test_an_old_connection_is_closed_after_a_quarter_of_a_second_whatever_it_owes() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        node.answers_publishes = False
        answer = client.publish(ROOM, 1)
        await eventually(lambda: len(log.entries.get(ROOM, [])) == 1)
        await node.stop_listening()
        async with FakeNode(log, name="n2") as second:
            second.answer = lambda session, frame: isinstance(frame, Publish)
            node.go_away()
            await eventually(lambda: client.welcomes == 2)
            await asyncio.sleep(0.2)
            assert node.codes() == [None]
            await asyncio.sleep(0.1)
            assert node.codes() == [1000]
            assert not answer.done()


STRAY: dict[str, Any] = {"channel": ROOM, "seq": 2, "nonce": nonce(2), "prev": nonce(1), "id": "x", "ts": 0, "data": 0}
UNASKED: dict[str, Any] = {"id": 1, "channel": ROOM, "position": Position(epoch=EPOCH, seq=9, nonce=9)}


async def test_a_second_connection_that_is_refused_is_tried_again_while_the_old_one_serves() -> None:
    log, seen = FakeLog(), Handed()
    async with FakeNode(log) as node, following(node, seen, subscribe=False) as client:
        await client.subscribe(ROOM, seen.take)
        async with chatter(log):
            await node.stop_listening()
            node.go_away()
            await eventually(lambda: sum(isinstance(change, Failed) for change in seen.changes) == 3)
            assert client.connected
            assert client.phase is Phase.MOVING
            assert all(change.handover for change in seen.changes if isinstance(change, Failed))
            waits = [change for change in seen.changes if isinstance(change, Wait)]
            assert [wait.source for wait in waits] == [Source.GOAWAY, *[Source.BACKOFF] * 3]
            async with FakeNode(log, name="n2") as second:
                await eventually(lambda: bool(seen.backs()))
                await asyncio.sleep(0.5)
                assert (seen.backs()[0].handover, seen.backs()[0].away_s) == (True, 0)
                assert "Lost" not in seen.kinds()
                resume = second.said[0]
                assert isinstance(resume, Resume)
                assert [retry.outcome for retry in resume.retries] == ["refused"] * 3
        assert seen.contiguous()
        assert seen.longest_pause_s() < 0.05


async def test_a_node_without_room_puts_a_hand_over_off_as_long_as_it_says() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        node.retry_after = "3"
        node.go_away()
        await eventually(lambda: any(isinstance(change, Failed) for change in seen.changes))
        wait = seen.last(Wait)
        assert isinstance(wait, Wait)
        assert (wait.source, wait.delay_s) == (Source.ADVICE, 3)
        assert client.connected
        node.retry_after = None
        await eventually(lambda: bool(seen.backs()))
        assert seen.backs()[0].handover


async def test_an_old_connection_lost_while_the_second_is_made_is_a_loss_and_the_attempt_goes_on() -> None:
    log, seen = FakeLog(), Handed()
    async with FakeNode(log) as node, following(node, seen, subscribe=False) as client:
        await client.subscribe(ROOM, seen.take)
        async with chatter(log):
            await asyncio.sleep(0.5)
            await node.stop_listening()
            async with FakeNode(log, name="n2") as second:
                second.welcome_after_s = 0.5
                node.go_away()
                await eventually(lambda: bool(second.said))
                node.sessions[0].connection.transport.abort()
                await eventually(lambda: not client.connected)
                await eventually(lambda: bool(seen.backs()))
                await asyncio.sleep(0.5)
        assert seen.contiguous()
        assert seen.kinds()[4:9] == ["Attempted", "Lost", "Attempted", "Welcomed", "Back"]
        assert seen.changes[5:7] == [Lost(node="n1", code=1006), Attempted(attempt=1)]
        back = seen.backs()[0]
        assert not back.handover
        assert 0.3 < back.away_s < 0.6
        assert len(second.sessions) == 1


async def test_an_old_connection_lost_between_two_attempts_leaves_the_planned_slot() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        node.retry_after = "3"
        node.go_away(deadline_ms=1_000)
        await eventually(lambda: any(isinstance(change, Failed) for change in seen.changes))
        planned = seen.last(Wait)
        await asyncio.sleep(1)
        await node.close_all(1012)
        await eventually(lambda: not client.connected)
        wait = seen.last(Wait)
        assert isinstance(planned, Wait)
        assert isinstance(wait, Wait)
        assert wait.due == pytest.approx(planned.due)
        assert seen.kinds()[-2:] == ["Lost", "Wait"]
        node.retry_after = None
        await eventually(lambda: bool(seen.backs()))
        assert not seen.backs()[0].handover
        assert seen.backs()[0].away_s == pytest.approx(2, abs=0.1)


async def test_4502_on_the_old_connection_only_says_that_the_second_one_took_over() -> None:
    log, seen = FakeLog(), Handed()
    async with FakeNode(log) as node, following(node, seen, subscribe=False) as client:
        await client.subscribe(ROOM, seen.take)
        async with chatter(log):
            await node.stop_listening()
            async with FakeNode(log, name="n2") as second:
                second.welcome_after_s = 0.3
                node.go_away()
                await eventually(lambda: bool(second.said))
                await node.close_all(4502)
                await eventually(lambda: not client.connected)
                assert client.phase is Phase.ATTEMPTING
                await eventually(lambda: bool(seen.backs()))
                await asyncio.sleep(0.5)
        assert seen.contiguous()
        assert seen.kinds()[4:7] == ["Attempted", "Welcomed", "Back"]
        assert seen.backs()[0].handover
        assert 0.1 < seen.backs()[0].away_s < 0.4


async def test_a_hand_over_that_took_the_session_and_then_failed_is_a_loss_after_all() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        await node.stop_listening()
        async with FakeNode(log, name="n2") as second:
            second.silent = True
            node.go_away()
            await eventually(lambda: bool(second.said))
            await node.close_all(4502)
            await eventually(lambda: isinstance(seen.changes[-1], Wait) and client.phase is Phase.WAITING)
            assert seen.kinds()[4:] == ["Attempted", "Lost", "Failed", "Wait"]
            assert seen.last(Lost) == Lost(node="n1", code=4502)
            assert seen.last(Failed) == Failed(attempt=1, outcome="timeout")
            second.silent = False
            await eventually(lambda: bool(seen.backs()))
            assert not seen.backs()[0].handover
            assert [frame.attempt for frame in second.said if isinstance(frame, Resume)] == [2, 3]


async def test_4502_without_an_attempt_under_way_stops_a_client_that_was_to_move() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.go_away(retry_ms=5_000)
        await asyncio.sleep(1)
        await node.close_all(4502)
        await eventually(lambda: client.phase is Phase.STOPPED)
        assert seen.kinds()[-2:] == ["Lost", "Stopped"]


async def test_a_session_revoked_during_a_hand_over_stops_the_client_on_both_connections() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        await node.stop_listening()
        async with FakeNode(log, name="n2") as second:
            second.welcome_after_s = 0.3
            node.go_away()
            await eventually(lambda: bool(second.said))
            await node.close_all(4504)
            await asyncio.sleep(5)
            assert seen.kinds()[-2:] == ["Lost", "Stopped"]
            assert client.welcomes == 1
            assert second.codes() == [1000]
            assert second.handshakes == 1
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:

        def revoke(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.close(4504)
            return isinstance(frame, Resume)

        node.answer = revoke
        node.go_away()
        await eventually(lambda: client.phase is Phase.STOPPED)
        await asyncio.sleep(1)
        assert node.codes() == [1000, 4504]
        assert seen.kinds()[-2:] == ["Failed", "Stopped"]
        assert not client.connected


async def test_a_client_that_closes_during_a_hand_over_leaves_no_connection_behind() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node:
        async with following(node, seen) as client:
            node.welcome_after_s = 0.5
            node.go_away()
            await eventually(lambda: len(node.sessions) == 2)
            await client.close()
        await asyncio.sleep(2)
        assert node.codes() == [1000, 1006]
        assert node.log.followers == []


async def test_a_node_that_takes_a_client_and_sends_it_on_at_once_is_not_asked_without_a_pause() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):

        def pass_on(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                asyncio.get_running_loop().call_soon(node.go_away)
            return False

        node.answer = pass_on
        node.go_away()
        await asyncio.sleep(5)
        assert 5 <= len(node.sessions) <= 30


# The other form of the protocol.


async def test_protobuf_and_json_clients_hear_each_other() -> None:
    log, json_seen, pb_seen = FakeLog(), Seen(), Seen()
    async with (
        FakeNode(log) as node,
        following(node, json_seen) as json_client,
        following(node, pb_seen, subprotocol="wsc.v1.pb") as pb_client,
    ):
        assert [session.connection.subprotocol for session in node.sessions] == ["wsc.v1.json", "wsc.v1.pb"]
        values: list[Json] = [{"n": 1, "text": "ü"}, None, [1.5, True]]
        for value in values:
            await soon(json_client.publish(ROOM, value))
            await soon(pb_client.publish(ROOM, value))
        assert (await soon(pb_client.publish(ROOM, b"\x00\xff"))).seq == 7
        await eventually(lambda: len(json_seen.messages) == len(pb_seen.messages) == 7)
        assert json_seen.messages == pb_seen.messages
        assert [message.data for message in pb_seen.messages[::2][:3]] == values
        assert pb_seen.messages[-1].data == "AP8="
        for seen in (json_seen, pb_seen):
            seen.messages.clear()
        await node.close_all(1012)
        await eventually(lambda: bool(json_seen.backs()) and bool(pb_seen.backs()))
        log.append(ROOM, "after")
        await eventually(lambda: bool(json_seen.messages) and bool(pb_seen.messages))
        assert json_seen.seqs == pb_seen.seqs == [8]


async def test_a_text_frame_on_a_protobuf_connection_is_broken_protocol() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen, subprotocol="wsc.v1.pb"):
        await node.sessions[0].connection.send("text")
        await eventually(lambda: bool(seen.backs()))
        assert seen.last(Lost) == Lost(node="n1", code=1002)


async def test_a_hand_over_into_a_new_session_numbers_anew_and_ignores_answers_of_the_old_one() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        await soon(client.publish(ROOM, 1))
        node.answers_publishes = False
        answer = client.publish(ROOM, 2)
        await eventually(lambda: len(log.entries[ROOM]) == 2)

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session.close(4503)
            return isinstance(frame, Resume) or (isinstance(frame, Publish) and session is not node.sessions[0])

        node.answer = refuse
        node.go_away()
        old = node.sessions[0]
        old.connection.transport.pause_reading()
        await eventually(lambda: client.welcomes == 2)
        assert seen.last(Failed) == Failed(attempt=1, outcome="session refused", handover=True)
        await eventually(lambda: any(isinstance(frame, Publish) for frame in node.sessions[-1].said))
        # It was number 2 there and is number 1 here: what the old connection says of number 1 is about another.
        old.send(Published(channel=ROOM, cseq=1, seq=1))
        await asyncio.sleep(0.1)
        assert not answer.done()
        node.sessions[-1].send(Published(channel=ROOM, cseq=1, seq=3))
        assert (await soon(answer)).seq == 3
        assert seen.seqs == [1, 2]
        assert seen.backs()[0].handover


async def test_a_node_that_answers_with_garbage_is_an_attempt_that_failed() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):

        def babble_on(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume):
                session._queue.put_nowait(b"garbage")
            return isinstance(frame, Resume)

        node.answer = babble_on
        await node.close_all(1012)
        await eventually(lambda: any(isinstance(change, Failed) for change in seen.changes))
        assert seen.last(Failed) == Failed(attempt=1, outcome="bad frame")


async def test_a_state_callback_that_fails_ends_the_client_and_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(change: Change) -> None:
        if change == Welcomed(node="n1"):
            raise RuntimeError("a bug of the application")

    async with FakeNode() as node:
        client = Client(node.url, ClientOptions(timing=TIMING), on_change=broken)
        client.start()
        await eventually(lambda: node.codes() == [1006])
        assert not client.connected
        await client.close()
    assert "a client failed" in caplog.text


async def test_a_subscribe_put_off_by_a_node_is_not_repeated_to_it_after_a_hand_over() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:

        def put_off(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Subscribe):
                session.send(Error(code="busy", message="", temporary=True, retry_ms=300, id=frame.id))
            return isinstance(frame, Subscribe)

        node.answer = put_off
        waiting = client.subscribe("other", seen.messages.append)
        await asyncio.sleep(0.1)
        await node.stop_listening()
        async with FakeNode(log, name="n2") as second:
            node.sessions[0].connection.transport.pause_reading()
            node.go_away()
            await soon(waiting)
            await asyncio.sleep(1)
            assert asked(second) == ["other"]
            assert client._subscriptions["other"].live
            log.append("other", 1)
            await eventually(lambda: seen.seqs == [1])
