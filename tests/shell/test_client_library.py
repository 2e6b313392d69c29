"""The client library against a fake node, on virtual time."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import pytest

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
    Stopped,
    Welcomed,
)
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

TIMING = BackoffTiming(spread_s=0.5, base_s=0.1, factor=2, cap_s=1, jitter=0.2, stable_s=6)
ROOM = "room.1"


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
) -> AsyncIterator[Client]:
    """Yield a connected client that follows the room."""
    client = Client(
        node.url,
        ClientOptions(timing=TIMING, attempt_timeout_s=2, unanswered_max=unanswered_max),
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
        answers = [await client.publish(ROOM, {"n": number}) for number in range(3)]
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


async def test_a_publish_whose_answer_was_lost_is_sent_again_and_written_once() -> None:
    log, seen = FakeLog(), Seen()
    async with FakeNode(log) as node, following(node, seen) as client:
        node.answers_publishes = False
        answer = client.publish(ROOM, "precious")
        await eventually(lambda: len(log.entries.get(ROOM, [])) == 1)
        await node.kill()
        other = client.publish(ROOM, "published while away")
        async with FakeNode(log, name="n2") as second:
            assert (await answer).dup
            assert (await other).seq == 2
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
        assert [(await answer).seq for answer in (*answers, late)] == [1, 2, 3, 4]
        assert [message.data for message in node.log.entries[ROOM]] == [0, 1, 2, "late"]


async def test_a_refusal_for_good_reaches_the_publisher() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen) as client:
        node.refusal = ("too_big", False, None)
        with pytest.raises(PublishRefusedError) as caught:
            await client.publish(ROOM, "x" * 1_000)
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
        assert seen.changes[-1] == Jumped(told=told, lost=9)
        back = Position(epoch=EPOCH, seq=8, nonce=nonce(8))
        rewind = Rewind(channel=ROOM, to=8, void=(9, 10), position=back)
        node.send(rewind)
        await eventually(lambda: client.position(ROOM) == back)
        assert seen.changes[-1] == Jumped(told=rewind, lost=0)


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
        assert (await answer).seq == 1
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
        await client.publish(ROOM, 1)
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
            await answer
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


async def test_a_stale_attempt_is_followed_by_a_higher_one() -> None:
    seen = Seen()
    async with FakeNode() as node, following(node, seen):

        def refuse(session: FakeSession, frame: ClientFrame | UnknownFrame) -> bool:
            if isinstance(frame, Resume) and frame.attempt < 4:
                session.send(Error(code="stale_attempt", message="attempt 3 was here"))
                return True
            return False

        node.answer = refuse
        await node.close_all(1012)
        await eventually(lambda: bool(seen.backs()))
        assert [frame.attempt for frame in node.said if isinstance(frame, Resume)] == [2, 3, 4]


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
        assert [(await answer).dup for answer in answers] == [False, False]
        assert (await late).seq == 3
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
