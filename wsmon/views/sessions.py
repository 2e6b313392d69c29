"""Clients: where each is, how often it was lost, how it came back, and the life of the one that is looked at."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from wsmon.model.cluster import ClusterModel, Peer
from wsmon.model.reading import count, moment, number, table, text
from wsmon.model.sessions import ABSENT as GONE
from wsmon.model.sessions import Biography, Chapter, ChapterKind, Key, Standing, Word
from wsmon.model.timeline import AWAY_WORDS, CONFIRM_S, CONNECTED_WORDS, HANDOVER, STOPPED_WORD
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.views.events import CLOSE_CODES
from wsmon.views.frame import Severity
from wsmon.views.sessions_frame import ABSENT, Life, LifeLine, SessionRow, SessionsPicture, Stand
from wsmon.views.text import age, clean, name, natural, span

ROWS_MAX: Final = 1_000
OUTCOME_LONGEST: Final = 80
_STANDS: Final = {
    Word.CONNECTED: Stand.CONNECTED,
    Word.MOVING: Stand.MOVING,
    Word.AWAY: Stand.AWAY,
    Word.WAITING: Stand.WAITING,
    Word.TRYING: Stand.TRYING,
    Word.STOPPED: Stand.STOPPED,
    Word.UNKNOWN: Stand.UNKNOWN,
}
_WORDS: Final = {
    "waiting": Stand.WAITING,
    "attempting": Stand.TRYING,
    "trying": Stand.TRYING,
    "connecting": Stand.CONNECTING,
    STOPPED_WORD: Stand.STOPPED,
    **dict.fromkeys(CONNECTED_WORDS, Stand.CONNECTED),
}
_PLACES: Final = {"ring": "the ring", "log": "the log", "replay": ""}


def sessions_picture(model: ClusterModel, now: float, client: str | None = None) -> SessionsPicture:
    """Return all clients at `now`, and the life of the one whose key, or name, is `client`."""
    told = {fleet.id: table(fleet.state, "clients_state") for fleet in model.fleets()}
    ranked = _ranked(model, told)
    keys = [key for _, _, key in ranked]
    chosen = keys
    if len(keys) > ROWS_MAX:
        chosen = [key for _, _, key in heapq.nsmallest(ROWS_MAX, ranked)]
    twice = _names_of_several(keys) if len(told) > 1 else frozenset()
    heard = {fleet.id: fleet.fresh(now) for fleet in model.fleets()}
    rows = [_row(model, key, told, now, twice, heard=heard.get(key[0], False)) for key in chosen]
    rows.sort(key=lambda row: natural(row.key))
    counts = [count(fleet.state, "clients") for fleet in model.fleets()]
    known = [value for value in counts if value is not None]
    silent = [age(fleet.heard_at, now) for fleet in model.fleets() if not heard[fleet.id]]
    return SessionsPicture(
        rows=tuple(rows),
        total=sum(known) if known else None,
        away=sum(not settled for settled, _, _ in ranked),
        hidden=len(keys) - len(rows),
        unlisted=max(0, sum(known) - len(keys)),
        forgotten=model.sessions.forgotten,
        silent_s=max((quiet for quiet in silent if quiet is not None), default=None),
        life=None if client is None else _life_of(model, client, told=told, keys=keys, twice=twice, now=now),
    )


def _ranked(model: ClusterModel, told: dict[str, ReadOnlyJson]) -> list[tuple[bool, float, Key]]:
    """Return every client that a fleet names or that has a biography; smaller is worth more attention.

    Who is away comes first, then who was not long ago. Ten thousand of them are gone through many times a second.
    """
    lives = model.sessions.known
    ranked: list[tuple[bool, float, Key]] = []
    for source, clients in told.items():
        fleet = model.peers[source]
        sampled_at = (fleet.state_at or 0.0) - CONFIRM_S
        for client, entry in clients.items():
            if not isinstance(entry, dict):
                continue
            key = (source, client)
            word = entry.get("state")
            away = isinstance(word, str) and word in AWAY_WORDS
            one = lives.get(key)
            if one is None:
                ranked.append((not away, 0.0, key))
                continue
            last_at = one.last_at
            if last_at >= sampled_at:
                away = one.now.word in GONE
            ranked.append((not away, -last_at, key))
    complete = {
        source: len(clients) >= (count(model.peers[source].state, "clients") or 1) for source, clients in told.items()
    }
    for key, one in lives.items():
        source, client = key
        # Of a fleet that names all its clients, one that it does not name is no more.
        if not complete.get(source, False) and client not in told.get(source, {}):
            ranked.append((one.now.word not in GONE, -one.last_at, key))
    return ranked


def _names_of_several(keys: Iterable[Key]) -> frozenset[str]:
    once: set[str] = set()
    twice: set[str] = set()
    for _, client in keys:
        (twice if client in once else once).add(client)
    return frozenset(twice)


def _key(source: str, client: str, twice: frozenset[str]) -> str:
    """Return a text for a client that no other client has, even if the names differ only in what is neutralised."""
    bare = client if name(client) == client else ascii(client)
    return f"{bare}@{source if name(source) == source else ascii(source)}" if client in twice else bare


def _row(
    model: ClusterModel,
    key: Key,
    told: dict[str, ReadOnlyJson],
    now: float,
    twice: frozenset[str],
    *,
    heard: bool,
) -> SessionRow:
    source, client = key
    fleet = model.peers.get(source)
    one = model.sessions.known.get(key)
    entry = told.get(source, {}).get(client)
    entry = entry if isinstance(entry, dict) else {}
    standing = Standing() if one is None else one.now
    state, node, since_at, at_least = _stands(model, fleet, one, entry, key)
    absent = state in ABSENT
    codec = text(entry, "codec")
    next_at = moment(entry, "next_at") if one is None else standing.next_at
    attempt = count(entry, "attempt") if one is None else standing.tries
    return SessionRow(
        key=_key(source, client, twice),
        client=name(client),
        state=state,
        node=name(node) if node else None,
        since_s=None if since_at is None else _since_s(now - since_at),
        at_least=at_least,
        attempt=attempt,
        next_in_s=round(max(0.0, next_at - now), 1) if absent and next_at is not None and heard else None,
        lost=standing.lost if one is not None else (0 if at_least else None),
        how=clean(standing.how, 12) if standing.how else None,
        way_ms=_ms(standing.way_s),
        worst_ms=_ms(standing.worst_s),
        replayed=standing.replayed,
        resyncs=standing.resyncs,
        codec=clean(codec, 10) if codec else None,
        position=count(entry, "position") if "position" in entry else None,
        behind=count(entry, "behind") if "behind" in entry else None,
        old=not heard,
    )


def _stands(
    model: ClusterModel, fleet: Peer | None, one: Biography | None, entry: ReadOnlyJson, key: Key
) -> tuple[Stand, str, float | None, bool]:
    """Return state, raw node, since when, and whether it is so for longer than that.

    The fleet's state is sampled, events are not: what it says counts where it is newer, or alone.
    """
    word, told_node = text(entry, "state"), text(entry, "node") or ""
    told = None if word is None else _WORDS.get(word, Stand.AWAY if word in AWAY_WORDS else Stand.UNKNOWN)
    if one is None:
        if told is None:
            return Stand.UNKNOWN, "", None, False
        first_at, first = model.sessions.first(key[0])
        before = first.get(key[1])
        same = isinstance(before, dict) and before.get("state") == word and before.get("node") == entry.get("node")
        return told, told_node, first_at if same else None, same
    standing = one.now
    mine = _STANDS[standing.word]
    sampled_at = None if fleet is None else fleet.state_at
    if told is None or sampled_at is None or sampled_at <= one.last_at + CONFIRM_S:
        return mine, standing.node, standing.since_at, False
    if told is mine or (told in ABSENT and mine in ABSENT) or (told is Stand.CONNECTED and mine is Stand.MOVING):
        moved = told is Stand.CONNECTED and told_node not in {"", standing.node}
        return mine, told_node if moved else standing.node, None if moved else standing.since_at, False
    return told, told_node or standing.node, None, False


def _since_s(seconds: float) -> float:
    """Return an age no finer than it is drawn: rows that are equal need no repainting."""
    whole = int(max(0.0, seconds))
    return float(whole if whole < 60 else whole // 60 * 60)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 1)


def _life_of(
    model: ClusterModel,
    wanted: str,
    *,
    told: dict[str, ReadOnlyJson],
    keys: Iterable[Key],
    twice: frozenset[str],
    now: float,
) -> Life | None:
    found: Key | None = None
    for key in keys:
        if _key(*key, twice) == wanted:
            found = key
            break
        if found is None and name(key[1]) == wanted:
            found = key
    if found is None:
        return None
    source, client = found
    one = model.sessions.known.get(found)
    entry = told.get(source, {}).get(client)
    return Life(
        key=_key(source, client, twice),
        client=name(client),
        lines=_unwritten(model, source, entry if isinstance(entry, dict) else {})
        if one is None
        else tuple(_lines(one, now)),
        dropped=0 if one is None else one.dropped,
    )


def _unwritten(model: ClusterModel, source: str, entry: ReadOnlyJson) -> tuple[LifeLine, ...]:
    """Return the life of a client of which no event was heard."""
    word, node = clean(text(entry, "state") or "", 16), text(entry, "node")
    at = model.sessions.first(source)[0]
    if word in CONNECTED_WORDS:
        where = f" to {name(node)}" if node else ""
        return (LifeLine(at, Severity.QUIET, f"connected{where}; nothing has happened to it"),)
    wait_s = number(entry, "delay_s")
    plan = "" if wait_s is None else f", waits {min(max(wait_s, 0.0), 3_600):.2f} s"
    return (LifeLine(None, Severity.WARNING, f"{word or 'unknown'}{plan}; how it came to that was not heard"),)


def _lines(one: Biography, now: float) -> Iterator[LifeLine]:
    chapters = one.chapters
    if not one.dropped and chapters and chapters[0].kind is ChapterKind.LOST and chapters[0].word:
        yield LifeLine(None, Severity.QUIET, f"connected to {name(chapters[0].word)}")
    entered: tuple[str, float] | None = None
    tried: Chapter | None = None
    for chapter, after in pairwise((*chapters, None)):
        assert chapter is not None
        line = _line(chapter, after, tried, entered, now)
        if line is not None:
            yield line
        tried = chapter if chapter.kind is ChapterKind.TRIED else None
        if chapter.kind is ChapterKind.BACK:
            entered = (chapter.word, chapter.at)
        elif chapter.kind is ChapterKind.TOLD:
            entered = None


def _line(
    chapter: Chapter, after: Chapter | None, tried: Chapter | None, entered: tuple[str, float] | None, now: float
) -> LifeLine | None:
    at = chapter.at
    match chapter.kind:
        case ChapterKind.LOST:
            node, code = chapter.word, chapter.number
            stayed = f" after {span(at - entered[1])}" if entered is not None and entered[0] == node else ""
            meaning = "" if code is None else f" ({f'{code} {CLOSE_CODES[code]}' if code in CLOSE_CODES else code})"
            severity = Severity.INFO if code == 1000 else Severity.WARNING
            return LifeLine(at, severity, f"lost {name(node) if node else 'its node'}{stayed}{meaning}")
        case ChapterKind.PLANNED:
            return LifeLine(at, Severity.QUIET, _waited(chapter, after, now))
        case ChapterKind.TRIED:
            if after is None:
                return LifeLine(at, Severity.INFO, f"{_try(chapter)} is under way")
            # What follows says how it ended, and when it began.
            return (
                None
                if after.kind in (ChapterKind.FAILED, ChapterKind.BACK)
                else LifeLine(at, Severity.QUIET, _try(chapter))
            )
        case ChapterKind.FAILED:
            outcome = clean(chapter.word, OUTCOME_LONGEST)
            if outcome.startswith(STOPPED_WORD):
                return LifeLine(at, Severity.BAD, f"{outcome}: it will not come back")
            took = "" if tried is None else f", {max(0.0, at - tried.at):.2f} s"
            return LifeLine(at if tried is None else tried.at, Severity.WARNING, f"{_try(chapter)} → {outcome}{took}")
        case ChapterKind.BACK:
            return LifeLine(at, Severity.WARNING if chapter.more == "resync" else Severity.GOOD, _back(chapter, tried))
        case ChapterKind.TOLD:
            if chapter.word in CONNECTED_WORDS:
                where = f" on {name(chapter.more)}" if chapter.more else ""
                return LifeLine(at, Severity.GOOD, f"back{where}, says its fleet; how was not heard")
            if chapter.word == STOPPED_WORD:
                return LifeLine(at, Severity.BAD, "stopped, says its fleet: it will not come back")
            return LifeLine(at, Severity.QUIET, "no longer named by its fleet: back, or no more")
        case ChapterKind.RESTARTED:
            return LifeLine(at, Severity.INFO, "its fleet began a new life, and it with it")


def _waited(chapter: Chapter, after: Chapter | None, now: float) -> str:
    planned_s = chapter.seconds or 0.0
    source = f" ({name(chapter.word)})" if chapter.word else ""
    if after is None:
        left_s = chapter.at + planned_s - now
        return f"waits {planned_s:.2f} s{source}" + (f", {left_s:.1f} s left" if left_s > 0 else ", and is due")
    if after.kind is ChapterKind.TRIED:
        return f"waited {max(0.0, after.at - chapter.at):.2f} s{source}"
    return f"meant to wait {planned_s:.2f} s{source}"


def _try(chapter: Chapter) -> str:
    return "tried" if chapter.number is None else f"try {chapter.number}"


def _back(chapter: Chapter, tried: Chapter | None) -> str:
    node = f" {name(chapter.word)}" if chapter.word else " a node"
    how, replayed = chapter.more, chapter.number
    if how == HANDOVER:
        return f"moved to{node} without a pause{f', {replayed} replayed' if replayed else ''}"
    took = "" if chapter.seconds is None else f" after {chapter.seconds:.2f} s"
    trial = f" with {_try(tried)}" if tried is not None and (tried.number or 0) > 1 else ""
    if how == "resync":
        return f"back on{node}{took}{trial}, but had to begin anew: what it missed is gone"
    if replayed:
        where = _PLACES.get(how, name(how))
        return f"back on{node}{took}{trial}, {replayed} replayed{f' from {where}' if where else ''}"
    return f"back on{node}{took}{trial}{', nothing missed' if replayed == 0 else ''}"
