"""A transcript being played, without a peer: what it asks for, when it gives up, what it says."""

import json

import pytest

from wsmon.conformance.performance import (
    Connect,
    Gone,
    Opened,
    Peer,
    Performance,
    Say,
    Told,
    TurnedAway,
    Verdict,
    unmet,
)
from wsmon.conformance.stage import shipped
from wsmon.conformance.transcripts import Needs, Send, parse
from wsmon.protocol.frames import JsonObject

PEER = Peer(transport="unix", kind="node", id="n1", role="control", ops=("drain", "probe"))
OPEN: JsonObject = {"open": "v1", "says": "o"}
PONG: JsonObject = {"expect": {"type": "pong", "id": "p"}, "within_s": 2, "says": "p"}


def play(*steps: JsonObject, needs: JsonObject | None = None, now: float = 0.0) -> Performance:
    head: JsonObject = {"name": "t", "title": "T"}
    lines = [head if needs is None else head | {"needs": needs}, *steps]
    return Performance(parse("\n".join(map(json.dumps, lines)), file="t.jsonl"), PEER, now=now)


def told(performance: Performance, now: float, frame: JsonObject | str | bytes) -> None:
    text = json.dumps(frame) if isinstance(frame, dict) else frame
    performance.receive(Told("main", text), now=now)


def verdict(performance: Performance) -> tuple[Verdict, str]:
    assert performance.outcome is not None
    return performance.outcome.verdict, performance.outcome.steps[-1].came


def opened(*steps: JsonObject) -> Performance:
    performance = play(OPEN, *steps)
    performance.receive(Opened("main", "v1"), now=0.0)
    return performance


def test_steps_are_taken_in_order_and_others_passed_over() -> None:
    performance = play(OPEN, {"send": {"type": "ping", "id": "p"}, "says": "s"}, PONG)
    assert performance.take() == (Connect("main", "v1", "given"),)
    assert performance.deadline == 3.0
    performance.receive(Opened("main", "v1"), now=1.0)
    assert performance.take() == (Say("main", '{"type": "ping", "id": "p"}'),)
    assert performance.deadline == 3.0
    told(performance, 1.5, {"type": "beat"})
    assert performance.outcome is None
    told(performance, 1.6, {"type": "pong", "id": "p"})
    assert verdict(performance) == (Verdict.PASSED, '{"type":"pong","id":"p"}')


def test_what_does_not_come_in_time_fails() -> None:
    performance = opened(PONG)
    performance.tick(now=1.9)
    assert performance.outcome is None
    performance.tick(now=2.0)
    assert verdict(performance) == (Verdict.FAILED, "nothing within 2 s")


def test_the_first_of_its_type_has_to_fit() -> None:
    performance = opened(PONG)
    told(performance, 1.0, {"type": "pong", "id": "q"})
    assert verdict(performance) == (Verdict.FAILED, 'id is "q", not "p": {"type":"pong","id":"q"}')


def test_what_came_too_soon_fails() -> None:
    performance = opened({**PONG, "not_before_s": 1})
    told(performance, 0.5, {"type": "pong", "id": "p"})
    assert verdict(performance) == (Verdict.FAILED, "it after 0.50 s, sooner than 1 s")


@pytest.mark.parametrize("option", [{"next": True}, {"not": ["beat"]}])
def test_some_frames_are_not_passed_over(option: JsonObject) -> None:
    performance = opened(PONG | option)
    told(performance, 0.5, {"type": "beat"})
    assert verdict(performance)[0] is Verdict.FAILED


def test_a_connection_that_is_closed_fails_what_waits_for_it() -> None:
    performance = opened(PONG)
    performance.receive(Gone("main", 1011, "oops"), now=0.5)
    assert verdict(performance) == (Verdict.FAILED, "the connection was closed with 1011 oops")


@pytest.mark.parametrize(("code", "came"), [(1002, Verdict.PASSED), (1006, Verdict.FAILED)])
def test_a_close_has_its_code(code: int, came: Verdict) -> None:
    performance = opened({"closed": [1002], "says": "c"})
    performance.receive(Gone("main", code, ""), now=0.5)
    assert verdict(performance) == (came, f"closed with {code}")


@pytest.mark.parametrize(
    ("step", "status", "came"),
    [
        ({"refused": None}, 400, Verdict.PASSED),
        ({"refused": None}, 500, Verdict.FAILED),
        ({"refused": "v1", "statuses": [401]}, 401, Verdict.PASSED),
        ({"refused": "v1", "statuses": [401]}, 403, Verdict.FAILED),
        ({"open": "v1"}, 401, Verdict.FAILED),
    ],
)
def test_a_handshake_is_turned_away_as_it_should(step: JsonObject, status: int, came: Verdict) -> None:
    performance = play({**step, "says": "r"})
    performance.receive(TurnedAway("main", status, ""), now=0.1)
    assert verdict(performance) == (came, f"HTTP {status}")


def test_a_handshake_must_choose_the_subprotocol_and_not_take_what_it_must_refuse() -> None:
    for step in ({"open": "v1"}, {"refused": None}):
        performance = play({**step, "says": "r"})
        performance.receive(Opened("main", None), now=0.1)
        assert verdict(performance) == (Verdict.FAILED, "opened, with none")


def test_what_must_never_come_fails_and_its_absence_takes_time() -> None:
    never: JsonObject = {"never": [{"type": "event"}], "for_s": 1, "says": "n"}
    performance = opened(never)
    told(performance, 0.5, {"type": "beat"})
    performance.tick(now=1.0)
    assert verdict(performance) == (Verdict.PASSED, "nothing")
    performance = opened(never)
    told(performance, 0.5, {"type": "event"})
    assert verdict(performance)[0] is Verdict.FAILED


@pytest.mark.parametrize(
    "text", ["x", "[]", "{}", '{"type":1}', '{"type":"a","x":NaN}', '{"type":"a","x":[null]}', b"{}"]
)
def test_no_step_bears_what_is_no_frame(text: str | bytes) -> None:
    performance = opened(PONG)
    told(performance, 0.5, text)
    assert verdict(performance)[0] is Verdict.FAILED


def test_null_is_for_patches() -> None:
    performance = opened(PONG)
    told(performance, 0.5, {"type": "delta", "rev": 2, "prev": 1, "patch": {"a": None}})
    assert performance.outcome is None


def test_a_ping_of_the_peer_is_answered() -> None:
    performance = opened(PONG)
    performance.take()
    told(performance, 0.5, {"type": "ping", "id": "x", "at": 1.0})
    assert performance.take() == (Say("main", '{"type": "pong", "id": "x", "at": 1.0}'),)


def test_steps_without_their_value_are_left_out() -> None:
    performance = opened({"send": {"type": "q"}, "if": "cursor", "says": "s"}, {**PONG, "if": "cursor"})
    assert performance.take() == (Connect("main", "v1", "given"),)
    assert verdict(performance) == (Verdict.PASSED, "not asked")


def test_what_was_never_seen_is_skipped() -> None:
    performance = opened({"follow": "events", "for_s": 1, "says": "f"})
    performance.tick(now=1.0)
    assert performance.outcome is not None
    assert (performance.outcome.verdict, performance.outcome.why) == (
        Verdict.SKIPPED,
        "no event came that could be judged",
    )


def test_a_transcript_is_for_those_whom_it_concerns() -> None:
    assert unmet(Needs(), PEER) == ""
    assert unmet(Needs(role="read"), PEER) == "only for a connection that may read"
    assert unmet(Needs(transport="tcp"), PEER) == "only for tcp"
    assert unmet(Needs(ops=("thaw",)), PEER) == "it offers none of thaw"
    performance = play(OPEN, needs={"role": "read"})
    assert performance.outcome is not None
    assert performance.outcome.verdict is Verdict.SKIPPED
    assert performance.take() == ()


def test_the_first_operation_that_is_offered_is_used() -> None:
    command: JsonObject = {"send": {"type": "command", "op": {"$same": "op"}}, "says": "c"}
    performance = play(OPEN, command, needs={"ops": ["thaw", "probe", "drain"]})
    performance.receive(Opened("main", "v1"), now=0.0)
    assert performance.take()[1] == Say("main", '{"type": "command", "op": "probe"}')


def test_a_frame_is_filled_up() -> None:
    performance = opened({"send": {"type": "ping", "id": "p"}, "bytes_least": 5_000, "says": "s"})
    say = performance.take()[1]
    assert isinstance(say, Say)
    assert 5_000 <= len(say.text) < 5_100
    assert json.loads(say.text)["id"] == "p"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"says":"x"}', "a step is one of"),
        ('{"open":"v1","send":{},"says":"x"}', "a step is one of"),
        ('{"open":"v1"}', "says is not text"),
        ('{"open":1,"says":"x"}', "subprotocol"),
        ('{"open":"v1","says":"x","whithin_s":1}', "unknown: whithin_s"),
        ('{"expect":{"type":"a","b":{"$iz":1}},"says":"x"}', "no test"),
        ('{"expect":{"id":"a"},"says":"x"}', "type is not text"),
        ('{"follow":"faults","says":"x"}', "no rule"),
        ('{"closed":["1002"],"says":"x"}', "not a number"),
        ('{"closed":[1002],"within_s":-1,"says":"x"}', "within_s"),
        ("[]", "not an object"),
        ("x", "Expecting value"),
    ],
)
def test_a_transcript_that_cannot_be_used_says_where(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=rf"^t\.jsonl:2: .*{says}"):
        parse('{"name":"t","title":"T"}\n' + line, file="t.jsonl")


def test_the_shipped_transcripts_are_read_and_called_like_their_files() -> None:
    names = [transcript.name for transcript in shipped()]
    assert names == sorted(names)
    assert {"hello", "snapshot", "deltas", "events", "beats", "query", "ping", "dry-run"} <= {*names}


def test_the_shipped_transcripts_carry_nothing_out() -> None:
    harmless = {"thaw", "forget", "probe", "hold"}  # Each names whom it concerns, and there is nobody of that name.
    commands = 0
    for transcript in shipped():
        assert set(transcript.needs.ops) <= harmless
        for step in transcript.steps:
            if isinstance(step, Send) and step.frame is not None and step.frame.get("type") == "command":
                commands += 1
                op = step.frame["op"]
                assert op == "wsmon-conform-nothing" or (op == {"$same": "op"} and step.frame["dry_run"] is True)
                args = step.frame.get("args")
                assert isinstance(args, dict)
                assert set(args.values()) <= {"wsmon-conform-nobody"}
    assert commands >= 6
