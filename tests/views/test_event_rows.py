import pytest

from tests.support.facts import BOOT, T0, event, happened, well
from wsmon.protocol.events import (
    ActionDone,
    BreakerChanged,
    ClientLost,
    ClockJumped,
    DrainAborted,
    DrainDone,
    DrainProgress,
    DrainStarted,
    EventBody,
    FaultEnded,
    FaultStarted,
    FeedChanged,
    HeartbeatMissed,
    InputRefused,
    LeaderChanged,
    NodeStateChanged,
    ProcessExited,
    ReconnectFailed,
    ReconnectScheduled,
    ReconnectStarted,
    Resumed,
    Tilt,
    TunnelsCut,
    Unrecognised,
    ZombieRefused,
)
from wsmon.protocol.frames import EventFrame
from wsmon.views.events import EVENTS_SHOWN, event_row, event_rows
from wsmon.views.frame import Severity

REMOVED = NodeStateChanged(node="n2", old="suspect", new="removed", reason="heartbeat 3/3 missed")
SENTENCES: tuple[tuple[EventBody, Severity, str], ...] = (
    (REMOVED, Severity.BAD, "n2 suspect → removed: heartbeat 3/3 missed"),
    (NodeStateChanged(node="n2", old="joining", new="online"), Severity.GOOD, "n2 joining → online"),
    (NodeStateChanged(node="n2", old="online", new="odd"), Severity.INFO, "n2 online → odd"),
    (
        NodeStateChanged(node="n2", old="suspect", new="suspect", reason="held by panic: heartbeat 3/3 missed"),
        Severity.WARNING,
        "n2 stays suspect: held by panic: heartbeat 3/3 missed",
    ),
    (
        NodeStateChanged(node="n2", old="removed", new="removed", reason="ada ended the hold"),
        Severity.INFO,
        "n2 stays removed: ada ended the hold",
    ),
    (
        NodeStateChanged(node="n2", old="online", new="online", reason="held online by ada for 60 s"),
        Severity.INFO,
        "n2 stays online: held online by ada for 60 s",
    ),
    (HeartbeatMissed(node="n2", count=2, needed=3), Severity.WARNING, "n2 missed heartbeat 2/3"),
    (HeartbeatMissed(connection="k7", count=1, needed=3), Severity.INFO, "connection k7 missed heartbeat 1/3"),
    (HeartbeatMissed(count=1, needed=3), Severity.INFO, "connection ? missed heartbeat 1/3"),
    (ClientLost(client="c1", node="n2", code=1006), Severity.WARNING, "c1 lost n2 (1006 connection broken)"),
    (ClientLost(client="c1", code=1000), Severity.INFO, "c1 lost its node (1000 closed)"),
    (ClientLost(client="c1", node="n2", code=4999), Severity.WARNING, "c1 lost n2 (4999)"),
    (ClientLost(client="c1", node="n2"), Severity.WARNING, "c1 lost n2"),
    (
        ReconnectScheduled(client="c1", attempt=2, delay_s=0.4, jitter=1.13, delay_source="backoff"),
        Severity.QUIET,
        "c1 tries again in 0.40 s, attempt 2 (jitter ×1.13, backoff)",
    ),
    (
        ReconnectScheduled(client="c1", attempt=1, delay_s=10**400),
        Severity.QUIET,
        "c1 tries again in 1000000000000000000.00 s, attempt 1",
    ),
    (ReconnectStarted(client="c1", attempt=2), Severity.QUIET, "c1 attempt 2 begins"),
    (ReconnectFailed(client="c1", attempt=2, outcome="refused"), Severity.WARNING, "c1 attempt 2 failed: refused"),
    (ReconnectFailed(client="c1", outcome="timeout"), Severity.WARNING, "c1 attempt failed: timeout"),
    (
        Resumed(client="c1", node="n3", how="replay", ms=812.0, replayed=7),
        Severity.GOOD,
        "c1 is back on n3 after 0.81 s, 7 replayed",
    ),
    (
        Resumed(client="c1", node="n3", how="log", ms=812.0, replayed=7),
        Severity.GOOD,
        "c1 is back on n3 after 0.81 s, 7 replayed from the log",
    ),
    (Resumed(client="c1", node="n3"), Severity.GOOD, "c1 is back on n3"),
    (Resumed(client="c1", node="n3", replayed=7), Severity.GOOD, "c1 is back on n3, 7 replayed"),
    (
        Resumed(client="c1", node="n3", how="ring", ms=40.0, replayed=2),
        Severity.GOOD,
        "c1 is back on n3 after 0.04 s, 2 replayed from the ring",
    ),
    (Resumed(client="c1", node="n3", how="ring", replayed=0), Severity.GOOD, "c1 is back on n3, nothing missed"),
    (Resumed(client="c1", node="n3", how="live"), Severity.GOOD, "c1 is back on n3, nothing missed"),
    (Resumed(client="c1", node="n3", how="odd", replayed=2), Severity.GOOD, "c1 is back on n3, 2 replayed from odd"),
    (
        Resumed(client="c1", node="n3", how="resync", ms=40.0, replayed=0),
        Severity.WARNING,
        "c1 is back on n3 after 0.04 s, but had to begin anew: what it missed is gone",
    ),
    (
        Resumed(client="c012", node="n3", how="handover", ms=0.0, replayed=0),
        Severity.GOOD,
        "c012 moved to n3 without a pause",
    ),
    (
        Resumed(client="c012", node="n3", how="handover", replayed=2),
        Severity.GOOD,
        "c012 moved to n3 without a pause, 2 replayed",
    ),
    (DrainStarted(node="n1", total=20), Severity.INFO, "n1 begins to drain: 20 connections"),
    (DrainStarted(node="n1"), Severity.INFO, "n1 begins to drain"),
    (DrainProgress(node="n1", left=7, total=20), Severity.QUIET, "n1 drains: 7 of 20 to go"),
    (DrainProgress(node="n1", left=7), Severity.QUIET, "n1 drains: 7 to go"),
    (DrainDone(node="n1"), Severity.GOOD, "n1 is drained"),
    (DrainDone(node="n1", forced=2), Severity.WARNING, "n1 is drained; 2 connections were closed by force"),
    (DrainAborted(node="n1"), Severity.INFO, "n1 takes clients again: the drain was called off"),
    (FaultStarted(fault="freeze", target="n1", ttl_s=15), Severity.WARNING, "n1 fault injected: freeze for 15 s"),
    (FaultStarted(fault="freeze", target="n1"), Severity.WARNING, "n1 fault injected: freeze"),
    (
        FaultStarted(fault="latency", target="checker-n1", value="200ms±50ms", ttl_s=10),
        Severity.WARNING,
        "checker-n1 fault injected: latency 200ms±50ms for 10 s",
    ),
    (FaultEnded(fault="freeze", target="n1"), Severity.INFO, "n1 fault over: freeze"),
    (ProcessExited(id="n1", signal=9), Severity.BAD, "process n1 was killed by SIGKILL"),
    (ProcessExited(id="n1", signal=4_000), Severity.BAD, "process n1 was killed by signal 4000"),
    (ProcessExited(id="n1", code=0), Severity.INFO, "process n1 ended with code 0"),
    (ProcessExited(id="n1", code=3), Severity.BAD, "process n1 ended with code 3"),
    (ProcessExited(id="n1"), Severity.BAD, "process n1 ended"),
    (LeaderChanged(epoch=4, who="checker"), Severity.INFO, "checker leads the checkers, epoch 4"),
    (
        BreakerChanged(name="redis", old="closed", new="open"),
        Severity.WARNING,
        "redis breaker opened: no calls until the next try",
    ),
    (
        BreakerChanged(name="redis", old="half-open", new="open"),
        Severity.WARNING,
        "redis breaker stays open: the try failed",
    ),
    (
        BreakerChanged(name="redis", old="open", new="half_open"),
        Severity.INFO,
        "redis breaker half open: one call may try",
    ),
    (
        BreakerChanged(name="redis", old="half_open", new="closed"),
        Severity.GOOD,
        "redis breaker closed: calls go through again",
    ),
    (BreakerChanged(name="b", old="open", new="odd"), Severity.INFO, "b breaker open → odd"),
    (FeedChanged(channel="room.1", old="syncing", new="live"), Severity.GOOD, "feed room.1 is live"),
    (
        FeedChanged(channel="room.1", old="live", new="gap"),
        Severity.INFO,
        "feed room.1 has a gap, and reads it from the log",
    ),
    (
        FeedChanged(channel="room.1", old="live", new="stalled"),
        Severity.WARNING,
        "feed room.1 stalled: Redis is away",
    ),
    (
        FeedChanged(channel="room.1", old="live", new="deaf"),
        Severity.WARNING,
        "feed room.1 heard nothing while its log grew",
    ),
    (
        FeedChanged(channel="room.1", old="live", new="forked"),
        Severity.WARNING,
        "feed room.1 found another history in its log",
    ),
    (FeedChanged(channel="room.1", old="live", new="odd"), Severity.INFO, "feed room.1 live → odd"),
    (
        ZombieRefused(client="c1", node="n2", reason="old attempt"),
        Severity.WARNING,
        "an earlier attempt of c1 was refused at n2: old attempt",
    ),
    (ZombieRefused(client="c1"), Severity.WARNING, "an earlier attempt of c1 was refused"),
    (ZombieRefused(node="n2"), Severity.WARNING, "an earlier life of n2 was refused"),
    (ZombieRefused(), Severity.WARNING, "an earlier life of somebody was refused"),
    (
        InputRefused(what="entry", reason="registry entry of n7: it says that it is n8"),
        Severity.WARNING,
        "an entry was refused: registry entry of n7: it says that it is n8",
    ),
    (
        InputRefused(what="answer", reason="heartbeat of n3: it says that it is n1", node="n3"),
        Severity.WARNING,
        "an answer was refused: heartbeat of n3: it says that it is n1",
    ),
    (
        InputRefused(what="verdict", reason="epoch 2 is over", node="n3"),
        Severity.WARNING,
        "a verdict about n3 was refused: epoch 2 is over",
    ),
    (
        Tilt(gap_s=3_600.1, freeze_s=10.0),
        Severity.WARNING,
        "the checker did nothing for 1 h: it judges nobody for 10 s",
    ),
    (
        ClockJumped(seconds=7_200.0),
        Severity.WARNING,
        "the wall clock jumped forward by 2 h; nothing is judged by it",
    ),
    (ClockJumped(seconds=-1.5), Severity.WARNING, "the wall clock jumped back by 1.5 s; nothing is judged by it"),
    (TunnelsCut(node="n2", count=20), Severity.WARNING, "the gateway cut 20 connections to n2"),
    (TunnelsCut(node="n2", count=1), Severity.WARNING, "the gateway cut 1 connection to n2"),
    (
        ActionDone(actor={"user": "ann", "host": "h"}, op="drain", target="n1", reason="new kernel"),
        Severity.INFO,
        "by ann: drain n1: new kernel",
    ),
    (
        ActionDone(actor={"user": 7}, op="drain", target="n1", ok=False),
        Severity.WARNING,
        "by somebody: drain n1 was refused",
    ),
    (
        Unrecognised(
            kind="dance", fields={"a": 1, "b": [1, 2], "c": {"d": 1}, "e": None, "f": 1.5, "g": "x", "h": True}
        ),
        Severity.INFO,
        "dance a=1 b=[2] c={1} e=null f=1.5 g=x h=true",
    ),
    (Unrecognised(kind="dance", fields={}), Severity.INFO, "dance"),
)


@pytest.mark.parametrize(("body", "severity", "text"), SENTENCES)
def test_an_event_is_one_clear_sentence(body: EventBody, severity: Severity, text: str) -> None:
    row = event_row(event(body, seq=1))
    assert (row.severity, row.text) == (severity, text)


def test_every_kind_has_a_sentence() -> None:
    told = {type(body) for body, _, _ in SENTENCES}
    assert told == set(EventBody.__args__)


@pytest.mark.parametrize(
    ("body", "plural"),
    [
        (ClientLost(client="c1", node="n2"), "clients lost n2"),
        (ClientLost(client="c1"), "clients lost their node"),
        (ReconnectFailed(client="c1", outcome="refused"), "attempts to reconnect failed"),
        (Resumed(client="c1", node="n3", how="ring"), "clients are back on n3"),
        (Resumed(client="c1", node="n3", how="handover"), "clients moved to n3 without a pause"),
        (Resumed(client="c1", node="n3", how="resync"), "clients began anew on n3: what they missed is gone"),
        (FeedChanged(channel="room.1", old="live", new="stalled"), "feeds stalled: Redis is away"),
        (FeedChanged(channel="room.1", old="live", new="odd"), ""),
        (ZombieRefused(client="c1", node="n2"), "earlier attempts of clients were refused at n2"),
        (ZombieRefused(node="n2"), ""),
        (REMOVED, ""),
    ],
)
def test_what_can_happen_to_many_has_a_plural(body: EventBody, plural: str) -> None:
    assert event_row(event(body, seq=1)).plural == plural


def test_an_unknown_event_with_many_fields_is_cut() -> None:
    row = event_row(event(Unrecognised(kind="k" * 60, fields={f"f{i}": "x" * 900 for i in range(90)}), seq=1))
    assert len(row.text) <= 240
    assert row.text.endswith("…")


def test_rows_know_who_they_are_about() -> None:
    row = event_row(event(Resumed(client="c1", node="n3"), T0 + 1, seq=4, source="fleet"))
    assert (row.key, row.at, row.source, row.kind) == (("fleet", BOOT, 4), T0 + 1, "fleet", "resumed")
    assert (row.node, row.client) == ("n3", "c1")
    assert event_row(event(LeaderChanged(epoch=1, who="x"), seq=1)).node is None


def test_hostile_names_are_harmless_and_keys_stay_unique() -> None:
    rows = [
        event_row(EventFrame(source=source, boot=1, seq=1, at=1e300, kind="\x1b]0;", fields={"\x07": "\x1b[2J"}))
        for source in ("a\x1b", "a\x1c", "a\ufffd")
    ]
    assert len({row.key for row in rows}) == 3
    for row in rows:
        assert all(char.isprintable() for char in f"{row.key[0]}{row.source}{row.kind}{row.text}")
        assert row.at <= 1e11


def test_the_newest_events_are_shown_and_a_row_is_made_once() -> None:
    model = well()
    for seq in range(EVENTS_SHOWN + 10):
        model.apply(happened(DrainAborted(node="n1"), T0 + seq, seq=seq))
    rows = event_rows(model)
    assert (len(rows), rows[-1].at, rows[0].at) == (EVENTS_SHOWN, T0 + EVENTS_SHOWN + 9, T0 + 10)
    assert event_rows(model)[0] is rows[0]
