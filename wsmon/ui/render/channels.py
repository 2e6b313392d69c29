"""Redis in a few lines, the channels and the circuit breakers as tables, and one channel node by node."""

from typing import Final

from wsmon.ui.render import values
from wsmon.ui.render.lines import (
    CROSS,
    EMPTY,
    FAINT,
    MINUS,
    MUTED,
    STRONG,
    TEXT,
    WARNING,
    Ink,
    Line,
    Run,
    Tone,
    clip,
    fitted,
    joined,
    length_of,
    title,
)
from wsmon.ui.render.table import Cell, Column
from wsmon.views.channels_frame import BreakerRow, ChannelRow, Feed, RedisLink, RedisPicture, Table
from wsmon.views.frame import Severity

NO_CHANNELS: Final = "No node follows a channel: clients that subscribe begin one."
NO_BREAKERS: Final = "Nobody tells of circuit breakers."
NO_CHANNEL: Final = "Select a channel to see how far each node is."
FACTS: Final = 4
"""Lines of `facts`."""
RTT_WARNING_MS: Final = 50.0
LABEL: Final = 10
WORD: Final = 16
"""Cells of a state's word that somebody made up."""
_TONES: Final = {
    Severity.QUIET: Tone.MUTED,
    Severity.INFO: Tone.ACCENT,
    Severity.GOOD: Tone.GOOD,
    Severity.WARNING: Tone.WARNING,
    Severity.BAD: Tone.BAD,
}
GLYPHS: Final = {
    "live": "●",
    "idle": "◌",
    "subscribing": "◔",
    "syncing": "◔",
    "gap": "◐",
    "stalled": "◫",
    "deaf": CROSS,
    "forked": CROSS,
    "": "·",
}
_BREAKERS: Final = {"closed": "●", "open": "○", "half open": "◐"}


# Redis in a few lines.


def facts(picture: RedisPicture, width: int) -> tuple[Line, ...]:
    """Return `FACTS` lines: Redis itself, the checkers, what is kept in it, and how the nodes stand with it."""
    return (
        title("redis", joined(_redis(picture), max(0, width - 12)), width),
        _labelled("checkers", _checkers(picture), width),
        _labelled("holds", _holds(picture), width),
        _labelled("nodes", [_link(link) for link in picture.links], width),
    )


def _labelled(label: str, parts: list[Line], width: int) -> Line:
    start = Run(f"  {label:<{LABEL}}", MUTED)
    told = joined(parts, max(0, width - len(start.text))) if parts else (Run(values.UNKNOWN, FAINT),)
    return fitted((start, *told), width)


def _redis(picture: RedisPicture) -> list[Line]:
    tone = _TONES[picture.severity]
    calm = picture.severity in (Severity.GOOD, Severity.QUIET)
    word: Line = (
        Run("● " if calm else "○ ", Ink(tone)),
        Run(clip(picture.state, WORD), STRONG if calm else Ink(tone, bold=True)),
    )
    if picture.since_s is not None:
        word = (*word, Run(f" {values.age(picture.since_s)}", MUTED))
    parts: list[Line] = [word]
    if picture.state == "silent":
        parts.append((Run(f"not asked for {values.age(picture.asked_s)}", WARNING),))
    if picture.rtt_ms is not None:
        slow = picture.rtt_ms >= RTT_WARNING_MS
        parts.append((Run(values.lasting(picture.rtt_ms), WARNING if slow else TEXT),))
    if picture.role:
        # Nothing can be written to a replica: no verdict, no lease, no message.
        parts.append((Run(clip(picture.role, WORD), WARNING if picture.role == "replica" else MUTED),))
    if picture.ops_s is not None:
        parts.append((Run(f"{values.count(round(min(picture.ops_s, 1e15)))} ops/s", MUTED),))
    if picture.process and picture.process != "running":
        parts.append((Run(f"process {clip(picture.process, WORD)}", WARNING),))
    if picture.restarts:
        again = "once" if picture.restarts == 1 else f"{values.count(picture.restarts)} times"
        parts.append((Run(f"restarted {again}", MUTED),))
    cut = sum(row.severity is Severity.WARNING for row in picture.breakers)
    if cut:
        parts.append((Run(f"{cut} {'breaker' if cut == 1 else 'breakers'} open", WARNING),))
    if picture.detail:
        parts.append((Run(clip(picture.detail, 60), MUTED),))
    return parts


def _checkers(picture: RedisPicture) -> list[Line]:
    if picture.leader is None:
        parts: list[Line] = [(Run("nobody leads", WARNING),)]
    else:
        epoch = "" if picture.epoch is None else f", epoch {picture.epoch}"
        parts = [(Run(clip(picture.leader, 20), STRONG), Run(f" leads{epoch}", TEXT))]
        parts.append((Run(f"heard {values.age(picture.leader_s)} ago", MUTED),))
    if picture.standbys:
        names = ", ".join(clip(item, 16) for item in picture.standbys)
        parts.append((Run(f"{names} {'stands' if len(picture.standbys) == 1 else 'stand'} by", MUTED),))
    return parts


def _holds(picture: RedisPicture) -> list[Line]:
    entries = "entry" if picture.registry.number == 1 else "entries"
    verdicts = "verdict" if picture.verdicts.number == 1 else "verdicts"
    parts = [_kept("registry", picture.registry, entries), _kept("health table", picture.verdicts, verdicts)]
    if picture.newest_s is not None and not picture.verdicts.old:
        parts.append((Run(f"newest {values.age(picture.newest_s)} old", MUTED),))
    return parts


def _kept(label: str, table: Table, noun: str) -> Line:
    if table.age_s is None:
        return (Run(f"{label} ", MUTED), Run(values.UNKNOWN, FAINT))
    if table.old:
        return (Run(f"{label} {table.number} {noun} ", FAINT), Run(f"{values.age(table.age_s)} ago", WARNING))
    return (
        Run(f"{label} ", MUTED),
        Run(f"{table.number} {noun}", TEXT),
        Run(f" {values.age(table.age_s)} ago", MUTED),
    )


def _link(link: RedisLink) -> Line:
    node = clip(link.node, 12)
    if link.old_s is not None:
        return (Run(f"{node} {clip(link.state, WORD) or values.UNKNOWN} {values.age(link.old_s)} ago", FAINT),)
    if not link.state:
        return (Run(f"{node} ", TEXT), Run(values.UNKNOWN, FAINT))
    good = link.state in {"ok", "live"}
    rtt = "" if link.rtt_ms is None else f" {values.lasting(link.rtt_ms)}"
    return (Run(f"{node} ", TEXT), Run(f"{clip(link.state, WORD)}{rtt}", MUTED if good else WARNING))


# The channels.


def _channel_state(row: ChannelRow) -> Cell:
    word = row.state or values.UNKNOWN
    calm = row.severity in (Severity.GOOD, Severity.QUIET)
    ink = Ink(_TONES[row.severity], bold=row.severity is Severity.WARNING)
    if row.old_s is not None:
        return f"? stale {values.age(row.old_s)}", FAINT
    return f"{GLYPHS.get(row.state, '?')} {word}", (TEXT if row.state else FAINT) if calm else ink


def _number(number: int | None, ink: Ink = TEXT) -> Cell:
    return values.count(number), FAINT if not number else ink


def _behind(row: ChannelRow) -> Cell:
    return (f"{MINUS}{values.count(row.behind)}", WARNING) if row.behind else ("", FAINT)


def _feeds(row: ChannelRow) -> Cell:
    """Return a glyph for each node, in the order of the nodes."""
    return "".join("?" if feed.old_s is not None else GLYPHS.get(feed.state, "?") for feed in row.feeds), MUTED


def _where(row: ChannelRow) -> Cell:
    """Return in words what is not as it should be; if all is well, how many members each node has."""
    told = []
    for feed in row.feeds:
        if feed.old_s is not None or not feed.state:
            continue
        off = feed.state if feed.state not in {"live", "idle"} else ""
        behind = f"{values.count(feed.behind)} behind" if feed.behind else ""
        if off or behind:
            told.append(" ".join(part for part in (feed.node, off, behind) if part))
    if not told:
        homes = [feed for feed in row.feeds if feed.old_s is None and feed.members]
        return ", ".join(f"{feed.node} {values.count(feed.members)}" for feed in homes), MUTED
    return ", ".join(told), Ink(_TONES[row.severity]) if row.severity is Severity.WARNING else MUTED


CHANNELS: Final[tuple[Column[ChannelRow], ...]] = (
    Column("channel", "CHANNEL", 12, 0, lambda row: (row.channel, STRONG), right=False, key=lambda row: row.key),
    Column(
        "state",
        "STATE",
        13,
        0,
        _channel_state,
        right=False,
        own=True,
        key=lambda row: (row.severity in (Severity.GOOD, Severity.QUIET), row.state),
        glyph=lambda row: FAINT if row.old_s is not None else Ink(_TONES[row.severity]),
    ),
    Column("top", "TOP", 6, 1, lambda row: _number(row.top), own=True, key=lambda row: row.top, falls=True),
    Column(
        "members", "MEMBERS", 7, 2, lambda row: _number(row.members), own=True, key=lambda row: row.members, falls=True
    ),
    Column("behind", "BEHIND", 6, 3, _behind, own=True, key=lambda row: row.behind, falls=True),
    Column("feeds", "FEEDS", 6, 4, _feeds, right=False, own=True),
    Column("where", "BY NODE", 10, 5, _where, right=False, own=True, grows=True),
)


def channel_in_trouble(row: ChannelRow) -> bool:
    """Return whether a channel asks for attention."""
    return row.severity is Severity.WARNING or row.behind > 0


def channel(row: ChannelRow | None, width: int) -> Line:
    """Return one channel node by node: `room.1  n1 live 160, 10 members · n2 gap 148, 12 behind`."""
    if row is None:
        return fitted((Run(f"  {NO_CHANNEL}", MUTED),), width)
    start = (Run(f"  {clip(row.channel, 24)}  ", STRONG),)
    told = [_feed(feed) for feed in row.feeds if feed.state]
    if not told:
        return fitted((*start, Run("no node names it any more", MUTED)), width)
    return fitted((*start, *joined(told, max(0, width - length_of(start)))), width)


def _feed(feed: Feed) -> Line:
    node = clip(feed.node, 12)
    seq = "" if feed.seq is None else f" {values.count(feed.seq)}"
    if feed.old_s is not None:
        return (Run(f"{node} {clip(feed.state, WORD)}{seq} {values.age(feed.old_s)} ago", FAINT),)
    calm = feed.state in {"live", "idle"}
    parts = [Run(f"{node} ", TEXT), Run(f"{clip(feed.state, WORD)}{seq}", MUTED if calm else WARNING)]
    if feed.behind:
        parts.append(Run(f", {values.count(feed.behind)} behind", WARNING))
    elif feed.members is not None:
        parts.append(Run(f", {values.count(feed.members)} {'member' if feed.members == 1 else 'members'}", MUTED))
    return tuple(parts)


def hidden(picture: RedisPicture) -> Line:
    """Return what to say of channels that have no row; nothing if all have one."""
    if not picture.hidden:
        return EMPTY
    return (Run(f"{values.exact(min(picture.hidden, 10**15))} more without a row", MUTED),)


# The breakers.


def _breaker_state(row: BreakerRow) -> Cell:
    if row.old_s is not None:
        return f"? {row.state} {values.age(row.old_s)}", FAINT
    calm = row.severity is Severity.QUIET
    return f"{_BREAKERS.get(row.state, '?')} {row.state}", MUTED if calm else Ink(_TONES[row.severity], bold=True)


def _retry(row: BreakerRow) -> Cell:
    if row.retry_in_s is None:
        return (values.UNKNOWN, FAINT) if row.state == "open" else ("", FAINT)
    return f"{row.retry_in_s:.1f} s" if row.retry_in_s < 100 else values.age(row.retry_in_s), TEXT


BREAKERS: Final[tuple[Column[BreakerRow], ...]] = (
    Column("caller", "CALLER", 8, 0, lambda row: (row.caller, STRONG), right=False, key=lambda row: row.caller),
    Column("target", "→ TARGET", 12, 0, lambda row: (row.target, TEXT), right=False, key=lambda row: row.target),
    Column(
        "state",
        "STATE",
        13,
        0,
        _breaker_state,
        right=False,
        own=True,
        key=lambda row: row.state,
        glyph=lambda row: FAINT if row.old_s is not None else Ink(_TONES[row.severity]),
    ),
    Column("retry", "RETRY", 6, 1, _retry, own=True, key=lambda row: row.retry_in_s),
)


def breaker_in_trouble(row: BreakerRow) -> bool:
    """Return whether a breaker asks for attention."""
    return row.severity is not Severity.QUIET
