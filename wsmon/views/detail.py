"""Everything about one node: why it is where it is, what that costs, who it is, what it does, what ails it."""

import math
from collections.abc import Iterable
from typing import Final

from wsmon.model.cluster import ClusterModel, Node, Peer, leads
from wsmon.model.reading import NOTHING, bounded, count, moment, number, span, table, text
from wsmon.model.standing import Standing, Voices, standing
from wsmon.model.trails import CLUSTER, KEPT, STEP_S
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.states import CheckerMode, NodeState
from wsmon.views import text as words
from wsmon.views.detail_frame import Fact, Measure, NodeDetail, Section, Strip
from wsmon.views.events import CLOSE_CODES
from wsmon.views.frame import NodeRow, Severity
from wsmon.views.nodes import node_row
from wsmon.views.text import age, ago, clean, name

LATE: Final = 2.5
"""A check whose last good answer is this many intervals ago says how long ago that was."""
USUAL_S: Final = 2.0
"""Between two checks, where nobody says."""
FEEDS_SHOWN: Final = 4
BREAKERS_SHOWN: Final = 4
FAULTS_SHOWN: Final = 4
HELPERS_SHOWN: Final = 6
CLOSES_SHOWN: Final = 6
LEASE_LATE_S: Final = 6.0
"""Twice the time between two renewals."""
PENALTY_QUARANTINE: Final = 2_000
_GOOD_FEEDS: Final = frozenset({"live", "idle"})
_ASKED: Final = frozenset({NodeState.ONLINE, NodeState.SUSPECT, NodeState.DRAINING, NodeState.CORDONED})
"""Of other nodes the last answer may be any time ago: that is always said."""
_MEASURES: Final = (
    ("clients", "connections", Measure.COUNT),
    ("in/s", "in", Measure.RATE),
    ("out/s", "out", Measure.RATE),
    ("lag", "lag", Measure.MILLISECONDS),
)


def node_detail(model: ClusterModel, shown: str | None, heard: Voices) -> NodeDetail | None:
    """Return what is known of the node that is shown as `shown`; None if there is no such node."""
    item = next((item for item in model.listed() if name(item) == shown), None)
    if item is None:
        return None
    row = node_row(model, item, heard)
    node, peer = model.nodes.get(item) or Node(item), model.peers.get(item) or Peer(item)
    stands = standing(model, item, heard)
    target = table(heard.targets, item)
    connected = peer.gone_at is None and peer.heard_at is not None
    state: ReadOnlyJson = peer.state if connected else NOTHING
    old = row.silent_s is not None
    sections = (
        Section("why", tuple(_guard(model, node, stands, target, heard, speaks=not old))),
        Section("cost", tuple(_cost(model, item, heard.now))),
        Section("at work", tuple(_work(state, peer, heard.now, old=old))),
        Section("problems", tuple(_ailments(model, item, state, peer, heard.now))),
        Section("sessions", tuple(_continuity(state, old=old))),
        Section("process", tuple(_identity(node, peer, row, item, heard))),
    )
    return NodeDetail(
        node=row.id,
        state=row.state,
        silent_s=row.silent_s,
        why=row.why,
        sections=tuple(section for section in sections if section.facts),
        strips=tuple(_strips(model, item, row, heard.now)),
        strips_s=KEPT * STEP_S,
    )


def cluster_detail(model: ClusterModel, now: float) -> NodeDetail:
    """Return what the whole cluster was like over the last minutes: connected clients, and how many came back."""
    connected = model.trails.read(CLUSTER, "connected", now)
    # Of the cell that is not over yet nobody knows how much it will hold.
    counted = model.trails.read(CLUSTER, "resumed", now)[:-1]
    resumed = tuple(None if value is None else round(value / STEP_S, 1) for value in counted)
    known = [value for fleet in model.fleets() if (value := count(fleet.state, "connected")) is not None]
    return NodeDetail(
        node=CLUSTER,
        state=NodeState.ONLINE,
        strips=(
            Strip(label="connected", measure=Measure.COUNT, now=float(sum(known)) if known else None, values=connected),
            Strip(
                label="back/s",
                measure=Measure.RATE,
                now=(resumed[-1] if resumed else 0.0) if known else None,
                values=resumed,
            ),
        ),
        strips_s=KEPT * STEP_S,
    )


# Why.


def _guard(
    model: ClusterModel, node: Node, stands: Standing, target: ReadOnlyJson, heard: Voices, *, speaks: bool
) -> Iterable[Fact]:
    now = heard.now
    checker = heard.checker
    profile = NOTHING if checker is None or checker.hello is None else checker.hello.profile
    old = checker is None and bool(target)
    verdict = node.verdict
    asked = stands.state in _ASKED
    for kind in ("heartbeat", "http"):
        interval_s = number(table(profile, kind), "interval_s") if asked else 0.0
        yield from _probe(kind, table(target, kind), now, interval_s, old=old, asked=asked)
    link = text(table(target, "link"), "word")
    if link not in {None, "ok"}:
        since = moment(table(target, "link"), "since")
        yield Fact("link", clean(link or "", 40) + _for(since, now), Severity.WARNING)
    evidence = NOTHING if verdict is None or verdict.state is not stands.state else verdict.evidence
    yield from _evidence(evidence, stands.state)
    patient = checker is not None and bool(count(checker.state, "score"))
    yield from _prospect(stands.state, target, profile, now, patient=patient)
    yield from _held(model, target, heard)
    penalty = count(target, "penalty")
    if penalty:
        worse = Severity.WARNING if penalty >= PENALTY_QUARANTINE / 2 else Severity.INFO
        yield Fact("flapping", f"{penalty} points; {PENALTY_QUARANTINE} quarantine it", worse)
    yield from _decided(node, checker, now)
    if speaks and node.word is not None and node.word is not stands.state:
        word_at = node.word_at or None
        yield Fact("it says", f"{node.word}{_for(word_at, now)}", Severity.QUIET)


def _probe(
    kind: str, probe: ReadOnlyJson, now: float, interval_s: float | None, *, old: bool, asked: bool
) -> Iterable[Fact]:
    failed, needed = count(probe, "failed"), count(probe, "needed")
    last_ok = moment(probe, "last_ok")
    if failed is None and last_ok is None:
        return
    parts = []
    late = last_ok is not None and now - last_ok > LATE * (USUAL_S if interval_s is None else interval_s)
    if failed:
        verb = "missed" if kind == "heartbeat" else "failed"
        parts.append(f"{failed}/{needed} {verb}" if needed else f"{failed} {verb}")
        late = True
    elif last_ok is not None and asked:
        parts.append("ok")
    if late or last_ok is None:
        parts.append("never answered" if last_ok is None else f"last answer {ago(age(last_ok, now) or 0.0)}")
    status = count(probe, "status")
    if status is not None and (failed or status != 200):
        parts.append(f"status {min(status, 9_999)}")
    yield Fact(kind, ", ".join(parts), Severity.WARNING if failed else Severity.QUIET, old or (late and not failed))


def _evidence(evidence: ReadOnlyJson, state: NodeState) -> Iterable[Fact]:
    """Tell what the present verdict rests on."""
    if state is NodeState.ONLINE:
        return
    helpers = table(evidence, "helpers")
    if helpers:
        told = [f"{name(who)} {clean(said, 16)}" for who, said in helpers.items() if isinstance(said, str)]
        more = f" and {len(told) - HELPERS_SHOWN} more" if len(told) > HELPERS_SHOWN else ""
        yield Fact("helpers", ", ".join(told[:HELPERS_SHOWN]) + more)
    rests = [clean(answer, 80)] if (answer := text(evidence, "answer")) else []
    refused = count(evidence, "refused")
    if refused:
        rests.append("1 connect refused" if refused == 1 else f"{refused} connects refused")
    link = text(evidence, "link")
    if link:
        rests.append(clean(link, 40))
    if rests:
        yield Fact("evidence", ", ".join(rests))


def _prospect(
    state: NodeState, target: ReadOnlyJson, profile: ReadOnlyJson, now: float, *, patient: bool
) -> Iterable[Fact]:
    """Tell what will become of it."""
    window = span(target, "removal_window")
    if state is NodeState.SUSPECT and window is not None:
        least, most = (max(0.0, at - now) for at in window)
        when = "due" if most <= 0 else f"within {most:.1f} s" if least <= 0 else f"in {least:.1f}–{most:.1f} s"
        yield Fact("removal", f"{when} unless it answers", Severity.WARNING)
    # What the line under the table says, unless the checker has become patient.
    silence = span(target, "removal_window_s") if patient else span(profile, "removal_window_s")
    if state is NodeState.ONLINE and silence is not None:
        least, most = (bounded(edge, least=0, most=1e6) for edge in silence)
        yield Fact("removal", f"after {least:.1f}–{most:.1f} s of silence", Severity.QUIET)
    reuse_s = count(target, "reuse_in_s")
    if state is NodeState.QUARANTINED and reuse_s is not None:
        yield Fact("quarantine", f"may come back in {reuse_s // 60}:{reuse_s % 60:02}", Severity.WARNING)


def _held(model: ClusterModel, target: ReadOnlyJson, heard: Voices) -> Iterable[Fact]:
    """Tell what keeps the checker from deciding."""
    until = moment(target, "held_until")
    if until is not None and until > heard.now:
        yield Fact("held", f"by an operator for {words.span(until - heard.now)}", Severity.WARNING)
    checker = heard.checker
    state = NOTHING if checker is None else checker.state
    mode = text(state, "mode")
    panic = table(state, "panic")
    if mode == CheckerMode.PANIC:
        out, allowed = count(panic, "removed"), count(panic, "allowed")
        numbers = "" if out is None or allowed is None else f": {out} of {allowed} that may be out are out"
        yield Fact("held", f"by panic{numbers}", Severity.WARNING)
    elif mode in {CheckerMode.TILT, CheckerMode.BLIND}:
        yield Fact("held", f"the checker is {mode}: nobody is judged", Severity.WARNING)
    elif checker is None and model.nodes:
        yield Fact("held", "no checker is heard: nobody is judged", Severity.WARNING)


def _decided(node: Node, checker: Peer | None, now: float) -> Iterable[Fact]:
    """Tell what stands in the table, since when, and whose it is."""
    verdict = node.verdict
    if verdict is None:
        return
    when = "" if verdict.at <= 0 else f", {ago(age(verdict.at, now) or 0.0)}"
    # An epoch has one leader: that it is the present one says who wrote this.
    own = checker is not None and leads(checker) and count(checker.state, "epoch") == verdict.epoch
    who = f" by {name(checker.id)}" if checker is not None and own else ""
    where = f"epoch {min(verdict.epoch, 10**9)}, version {min(verdict.version, 10**9)}"
    yield Fact("verdict", f"{verdict.state}{when}{who}, {where}", Severity.QUIET, checker is None)


# What it costs.


def _cost(model: ClusterModel, item: str, now: float) -> Iterable[Fact]:
    toll = model.tolls.get(item)
    if toll is None or not toll.lost:
        return
    away = toll.lost - toll.back
    over = toll.over_at is not None or (not toll.troubled and not away)
    severity = Severity.WARNING if away else Severity.QUIET if over else Severity.INFO
    lost = "1 lost it" if toll.lost == 1 else f"{toll.lost} lost it"
    whole_at = toll.whole_at
    back = (
        f"{toll.back} back, {away} away"
        if whole_at is None
        else f"all back in {words.span(max(0.0, min(whole_at, now) - toll.began_at))}"
    )
    yield Fact("clients", f"{lost}, {back}", severity)
    began = f"began {ago(age(toll.began_at, now) or 0.0)}"
    ended = "" if toll.over_at is None else f", online again after {words.span(max(0.0, toll.over_at - toll.began_at))}"
    yield Fact("trouble", f"{began}{ended}", Severity.QUIET if over else Severity.INFO)


# What it does.


def _work(state: ReadOnlyJson, peer: Peer, now: float, *, old: bool) -> Iterable[Fact]:
    drain = table(state, "drain")
    left, total = count(drain, "left"), count(drain, "total")
    if left is not None:
        eta_s, deadline = number(drain, "eta_s"), moment(drain, "deadline")
        heard_at = now if peer.state_at is None else peer.state_at
        parts = [f"{left} of {total} to go" if total is not None else f"{left} to go"]
        if eta_s is not None and eta_s > 0:
            parts.append(f"about {math.ceil(bounded(max(0.0, eta_s - (now - heard_at)), most=1e6))} s to go")
        if deadline is not None and deadline > now:
            parts.append(f"the rest is closed in {words.span(deadline - now)}")
        phase = text(drain, "phase")
        yield Fact("drain", ", ".join(parts), Severity.WARNING if left else Severity.GOOD, old)
        if phase:
            yield Fact("phase", clean(phase, 24), Severity.QUIET, old)
    if state.get("cordoned") is True:
        yield Fact("cordon", "keeps its clients, takes no new ones", Severity.WARNING, old)


def _ailments(model: ClusterModel, item: str, state: ReadOnlyJson, peer: Peer, now: float) -> Iterable[Fact]:
    """Tell what is not as it should be: faults on purpose, breakers, feeds, Redis, slow clients."""
    for fault in model.faults_at(item, now)[:FAULTS_SHOWN]:
        left = "" if fault.until_at - now > 1e6 else f", heals in {words.span(fault.until_at - now)}"
        where = "" if fault.target == item else f" on {name(fault.target)}"
        yield Fact("injected", f"{name(fault.fault)}{where}{left}", Severity.BAD)
    heard_at = now if peer.state_at is None else peer.state_at
    breakers = [(word, told) for word, told in table(state, "breakers").items() if isinstance(told, dict)]
    for word, told in breakers[:BREAKERS_SHOWN]:
        stands = text(told, "state")
        if stands in {None, "closed"}:
            continue
        wait_s = number(told, "retry_in_s")
        wait_s = None if wait_s is None or stands != "open" else wait_s - (now - heard_at)
        again = "" if wait_s is None or wait_s <= 0 else f", tries in {math.ceil(bounded(wait_s, most=1e6))} s"
        yield Fact("breaker", f"{name(word)} {clean(stands or '', 16).replace('_', ' ')}{again}", Severity.WARNING)
    feeds = [
        (channel, text(told, "state"))
        for channel, told in table(state, "feeds").items()
        if isinstance(told, dict) and text(told, "state") not in {None, *_GOOD_FEEDS}
    ]
    for channel, stand in feeds[:FEEDS_SHOWN]:
        yield Fact("feed", f"{clean(channel, 32)} {clean(stand or '', 16)}", Severity.WARNING)
    if len(feeds) > FEEDS_SHOWN:
        yield Fact("feeds", f"{len(feeds) - FEEDS_SHOWN} more are not live", Severity.WARNING)
    redis = text(table(state, "redis"), "state")
    if redis not in {None, "ok", "live"}:
        yield Fact("redis", f"is {clean(redis or '', 16)} for it", Severity.WARNING)
    lagging = count(state, "lagging")
    if lagging:
        yield Fact("slow", "1 session lags" if lagging == 1 else f"{lagging} sessions lag", Severity.WARNING)


def _continuity(state: ReadOnlyJson, *, old: bool) -> Iterable[Fact]:
    sessions, connections = count(state, "sessions"), count(state, "connections")
    if sessions is not None:
        held = f"{sessions} on {connections} connections" if connections is not None else str(sessions)
        yield Fact("sessions", held, Severity.INFO, old)
    unacked, again = count(state, "unacked"), count(state, "retransmits")
    if unacked is not None or again is not None:
        parts = ([] if unacked is None else [f"{unacked}"]) + ([] if again is None else [f"{again} sent once more"])
        yield Fact("unacked", ", ".join(parts), Severity.INFO, old)
    resumes = table(state, "resumes")
    ways = [(way, count(resumes, way)) for way in ("ring", "log", "resync", "stale")]
    told = [f"{way} {times}" for way, times in ways if times is not None]
    if told:
        worse = Severity.WARNING if count(resumes, "resync") else Severity.INFO
        yield Fact("resumes", ", ".join(told), worse, old)
    beats = table(state, "heartbeat")
    dead = count(beats, "dead")
    if dead:
        yield Fact("silent", f"{dead} connections fell silent and were closed", Severity.INFO, old)
    closes = [
        (code, times) for code in table(state, "closes") if (times := count(table(state, "closes"), code)) is not None
    ]
    closes.sort(key=lambda entry: -entry[1])
    for code, times in closes[:CLOSES_SHOWN]:
        meaning = CLOSE_CODES.get(int(code)) if code.isascii() and code.isdigit() and len(code) < 6 else None
        about = f" {meaning}" if meaning else ""
        yield Fact("closes", f"{times} × {clean(code, 8)}{about}", Severity.QUIET, old)


# Who it is.


def _identity(node: Node, peer: Peer, row: NodeRow, item: str, heard: Voices) -> Iterable[Fact]:
    process = table(heard.processes, item)
    parts = [row.process] if row.process else []
    if row.pid is not None:
        parts.append(f"pid {row.pid}")
    if row.uptime_s is not None:
        parts.append(f"up {words.span(row.uptime_s)}")
    restarts = count(process, "restarts")
    if restarts:
        parts.append(f"{restarts} restart{'s' * (restarts != 1)}")
    ended = text(process, "exit")
    if ended:
        parts.append(clean(ended, 32))
    if parts:
        yield Fact("process", ", ".join(parts), Severity.INFO if row.process in {"", "running"} else Severity.WARNING)
    if row.address is not None:
        yield Fact("address", row.address, Severity.INFO, row.silent_s is not None)
    hello, entry = peer.hello, node.entry
    if hello is not None:
        yield Fact("host", f"{clean(hello.host, 40)}, version {clean(hello.version, 24)}", Severity.QUIET)
    boot = peer.boot or (0 if entry is None else entry.boot)
    if boot:
        yield Fact("boot", str(min(boot, 10**18)), Severity.QUIET)
    # What a process told last says nothing of it once it is gone.
    state: ReadOnlyJson = peer.state if peer.gone_at is None else NOTHING
    own = table(state, "process")
    fds, limit = count(own, "fds"), count(own, "fd_limit")
    if fds is not None:
        yield Fact(
            "files", f"{fds} of {limit} open" if limit else f"{fds} open", Severity.QUIET, row.silent_s is not None
        )
    lease_s = number(state, "lease_age_s")
    if lease_s is not None and peer.state_at is not None:
        lease_s = max(0.0, lease_s + heard.now - peer.state_at)
        late = lease_s > LEASE_LATE_S
        yield Fact(
            "lease",
            f"renewed {ago(float(int(bounded(lease_s, most=1e9))))}" if late else "fresh",
            Severity.WARNING if late else Severity.QUIET,
        )


# The last minutes.


def _strips(model: ClusterModel, item: str, row: NodeRow, now: float) -> Iterable[Strip]:
    latest = {
        "connections": None if row.connections is None else float(row.connections),
        "in": row.messages_in_s,
        "out": row.messages_out_s,
        "lag": row.lag_ms,
    }
    for label, trail, measure in _MEASURES:
        yield Strip(
            label=label,
            measure=measure,
            now=latest[trail],
            values=model.trails.read(item, trail, now),
            old=row.silent_s is not None,
        )


def _for(since: float | None, now: float) -> str:
    return "" if since is None else f" for {words.span(max(0.0, now - since))}"
