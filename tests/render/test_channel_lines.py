"""Redis, channels and breakers as text."""

from dataclasses import replace

import pytest

from tests.support.frames import HOSTILE
from wsmon.ui.render import channels, table
from wsmon.ui.render.lines import FAINT, MINUS, Tone, ascii_only, length_of, safe, text_of
from wsmon.views.channels_frame import BreakerRow, ChannelRow, Feed, RedisLink, RedisPicture, Table
from wsmon.views.frame import Severity

WIDTHS = (20, 60, 80, 120, 200)
WELL = RedisPicture(
    state="ok",
    severity=Severity.GOOD,
    since_s=312.0,
    rtt_ms=0.4,
    asked_s=0.2,
    process="running",
    pid=50,
    restarts=0,
    leader="checker",
    epoch=3,
    leader_s=0.2,
    standbys=("checker2",),
    registry=Table(number=8, age_s=0.4),
    verdicts=Table(number=3, age_s=0.4),
    newest_s=128.0,
    links=(
        RedisLink(node="n1", state="ok", rtt_ms=0.3),
        RedisLink(node="n2", state="ok", rtt_ms=0.3, old_s=11.0),
        RedisLink(node="n3", state="away"),
        RedisLink(node="n4"),
    ),
    nodes=("n1", "n2", "n3", "n4"),
)
LIVE = ChannelRow(
    channel="room.1",
    key="room.1",
    state="live",
    severity=Severity.GOOD,
    top=172,
    members=30,
    feeds=(
        Feed(node="n1", state="live", seq=172, members=20),
        Feed(node="n2", state="live", seq=31, members=20, old_s=11.0),
        Feed(node="n3", state="live", seq=172, members=10),
        Feed(node="n4"),
    ),
)
GAP = ChannelRow(
    channel="room.2",
    key="room.2",
    state="gap",
    severity=Severity.WARNING,
    top=172,
    members=21,
    behind=12,
    feeds=(
        Feed(node="n1", state="live", seq=172, members=20),
        Feed(node="n2"),
        Feed(node="n3", state="gap", seq=160, behind=12, members=1),
        Feed(node="n4", state="idle", seq=172, members=0),
    ),
)
OPEN = BreakerRow(key="g n2", caller="gateway", target="n2", state="open", severity=Severity.WARNING, retry_in_s=3.0)
CLOSED = BreakerRow(key="n1 r", caller="n1", target="redis reads", state="closed", severity=Severity.QUIET)


def facts(picture: RedisPicture, width: int) -> list[str]:
    return [text_of(line) for line in channels.facts(picture, width)]


def channel_table(width: int) -> list[str]:
    plan = table.layout(channels.CHANNELS, width)
    return [text_of(table.head(plan, width)), *(text_of(table.line(row, plan, width)) for row in (LIVE, GAP))]


def test_redis_at_80_columns() -> None:
    assert facts(WELL, 80) == [
        "─ redis  ● ok 5m · 0.4ms " + "─" * 55,
        "  checkers  checker leads, epoch 3 · heard 0s ago · checker2 stands by          ",
        "  holds     registry 8 entries 0s ago · health table 3 verdicts 0s ago          ",
        "  nodes     n1 ok 0.3ms · n2 ok 11s ago · n3 away · n4 –                        ",
    ]


def test_what_redis_is_and_how_much_it_does_stand_beside_how_fast_it_answers() -> None:
    primary, replica = (replace(WELL, role=role, ops_s=1_234.4) for role in ("primary", "replica"))
    assert facts(primary, 80)[0].startswith("─ redis  ● ok 5m · 0.4ms · primary · 1234 ops/s ─")
    tones = {run.text.strip(): run.ink.tone for picture in (primary, replica) for run in channels.facts(picture, 80)[0]}
    assert (tones["primary"], tones["replica"]) == (Tone.MUTED, Tone.WARNING)


def test_redis_at_60_columns() -> None:
    assert [line.rstrip() for line in facts(WELL, 60)[1:]] == [
        "  checkers  checker leads, epoch 3 · heard 0s ago",
        "  holds     registry 8 entries 0s ago",
        "  nodes     n1 ok 0.3ms · n2 ok 11s ago · n3 away · n4 –",
    ]


def test_redis_at_120_columns_has_room_for_the_newest_verdict() -> None:
    assert "3 verdicts 0s ago · newest 2m old" in facts(WELL, 120)[2]


def test_redis_that_is_away_says_since_when_and_why() -> None:
    picture = replace(
        WELL,
        state="away",
        severity=Severity.BAD,
        since_s=4.0,
        rtt_ms=None,
        process="exited",
        restarts=2,
        detail="connection refused",
        leader=None,
        registry=Table(number=8, age_s=6.0, old=True),
        links=(),
    )
    lines = facts(picture, 120)
    assert lines[0].startswith("─ redis  ○ away 4s · process exited · restarted 2 times · connection refused ─")
    assert lines[1].startswith("  checkers  nobody leads · checker2 stands by")
    assert lines[2].startswith("  holds     registry 8 entries 6s ago")
    assert lines[3].strip() == "nodes     –"
    inks = {run.text.strip(): run.ink.tone for line in channels.facts(picture, 120) for run in line}
    assert (inks["away"], inks["nobody leads"], inks["6s ago"]) == (Tone.BAD, Tone.WARNING, Tone.WARNING)


def test_nothing_is_known_of_redis() -> None:
    assert facts(RedisPicture(), 60)[0].startswith("─ redis  ● unknown ─")
    assert facts(RedisPicture(), 60)[2].strip() == "holds     registry – · health table –"
    assert "silent 5m · not asked for 14s" in facts(replace(WELL, state="silent", asked_s=14.0), 80)[0]


def test_channels_at_60_columns() -> None:
    assert channel_table(60) == [
        "  CHANNEL      STATE            TOP MEMBERS BEHIND FEEDS    ",
        "  room.1       ● live           172      30        ●?●·     ",
        f"  room.2       ◐ gap            172      21    {MINUS}12 ●·◐◌     ",
    ]


def test_channels_at_80_columns_say_where_something_is_off() -> None:
    assert channel_table(80) == [
        "  CHANNEL      STATE            TOP MEMBERS BEHIND FEEDS  BY NODE               ",
        "  room.1       ● live           172      30        ●?●·   n1 20, n3 10          ",
        f"  room.2       ◐ gap            172      21    {MINUS}12 ●·◐◌   n3 gap 12 behind      ",
    ]


@pytest.mark.parametrize("width", [120, 200])
def test_wider_tables_only_give_more_room_to_words(width: int) -> None:
    for narrow, wide in zip(channel_table(80), channel_table(width), strict=True):
        assert wide.rstrip() == narrow.rstrip()


def test_a_channel_of_silent_nodes_says_how_old_it_is() -> None:
    row = replace(LIVE, state="", severity=Severity.QUIET, old_s=7.2)
    plan = table.layout(channels.CHANNELS, 80)
    line = table.line(row, plan, 80, stale=True)
    assert "? stale 7s" in text_of(line)
    assert {run.ink for run in line if run.text.strip() in {"172", "30"}} == {FAINT}


def test_one_channel_node_by_node() -> None:
    assert text_of(channels.channel(LIVE, 100)).rstrip() == (
        "  room.1  n1 live 172, 20 members · n2 live 31 11s ago · n3 live 172, 10 members"
    )
    assert text_of(channels.channel(GAP, 100)).rstrip() == (
        "  room.2  n1 live 172, 20 members · n3 gap 160, 12 behind · n4 idle 172, 0 members"
    )
    assert text_of(channels.channel(None, 60)).strip() == channels.NO_CHANNEL
    assert "no node names it" in text_of(channels.channel(replace(LIVE, feeds=()), 60))


def test_breakers_as_a_table() -> None:
    plan = table.layout(channels.BREAKERS, 45)
    lines = [text_of(table.head(plan, 45)), *(text_of(table.line(row, plan, 45)) for row in (OPEN, CLOSED))]
    assert [line.rstrip() for line in lines] == [
        "  CALLER   → TARGET     STATE          RETRY",
        "  gateway  n2           ○ open         3.0 s",
        "  n1       redis reads  ● closed",
    ]
    assert "· 1 breaker open" in facts(replace(WELL, breakers=(OPEN, CLOSED)), 80)[0]
    stale = table.line(replace(CLOSED, old_s=11.0), plan, 45, stale=True)
    assert "? closed 11s" in text_of(stale)


def test_what_asks_for_attention() -> None:
    assert channels.channel_in_trouble(GAP)
    assert channels.channel_in_trouble(replace(LIVE, behind=1))
    assert not channels.channel_in_trouble(LIVE)
    assert channels.breaker_in_trouble(OPEN)
    assert not channels.breaker_in_trouble(CLOSED)


def test_channels_without_a_row_are_counted() -> None:
    assert channels.hidden(WELL) == ()
    assert text_of(channels.hidden(replace(WELL, hidden=1_200))) == "1,200 more without a row"


def test_every_glyph_has_a_stand_in() -> None:
    lines = [*facts(WELL, 120), *channel_table(120)]
    plan = table.layout(channels.BREAKERS, 48)
    lines += [text_of(table.line(replace(OPEN, state=state), plan, 48)) for state in ("open", "closed", "half open")]
    assert not [line for line in lines if ascii_only(line.replace("?", "")).count("?")]


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_stays_in_its_place(width: int) -> None:
    feed = Feed(node=HOSTILE, state=HOSTILE, seq=10**30, behind=10**30, members=-(10**30))
    row = ChannelRow(
        channel=HOSTILE * 30,
        key=HOSTILE,
        state=HOSTILE,
        severity=Severity.WARNING,
        top=10**30,
        members=10_000_000,
        behind=10**30,
        feeds=(feed, replace(feed, old_s=1e300)) * 40,
    )
    breaker = replace(OPEN, caller=HOSTILE, target=HOSTILE, state=HOSTILE, retry_in_s=1e300)
    link = RedisLink(node=HOSTILE, state=HOSTILE, rtt_ms=1e300)
    picture = RedisPicture(
        state=HOSTILE,
        severity=Severity.BAD,
        since_s=1e300,
        rtt_ms=float("inf"),
        detail=HOSTILE,
        process=HOSTILE,
        restarts=10**30,
        leader=HOSTILE,
        epoch=10**15,
        standbys=(HOSTILE,) * 8,
        registry=Table(number=10**9, age_s=1e300, old=True),
        links=(link, replace(link, old_s=1e300)) * 20,
        hidden=10**30,
    )
    lines = [
        *channels.facts(picture, width),
        table.line(row, table.layout(channels.CHANNELS, width), width),
        table.line(breaker, table.layout(channels.BREAKERS, width), width),
        channels.channel(row, width),
    ]
    assert all(length_of(line) == width for line in lines)
    assert all(safe(run.text) == run.text for line in lines for run in line)
