"""Whatever peers say, a frame holds finished, harmless, finite values."""

import dataclasses
import json
import math
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.facts import BOOT, T0, entries, happened, says, seen, well
from wsmon.model.cluster import ClusterModel
from wsmon.model.inputs import (
    ActionAnswered,
    ActionAsked,
    Happened,
    Input,
    PeerGarbage,
    PeerGone,
    ProcessSample,
    RedisSeen,
    StartProgress,
    StepSeen,
    VerdictsSeen,
)
from wsmon.protocol.events import KINDS, ClientLost
from wsmon.protocol.frames import EventFrame, Json
from wsmon.protocol.registry import Verdict
from wsmon.protocol.states import NodeState
from wsmon.views.build import build_frame
from wsmon.views.frame import Looking, PageName
from wsmon.views.plain import plain_event_line, plain_status_line
from wsmon.views.status import frame_status, status_lines

AT_TIMELINE = Looking(page=PageName.TIMELINE)
EVIL = "\x1b[31m\u202e\r\n[bold]\x00\ud800"
WORDS = (
    "state mode epoch targets reason since heartbeat http failed needed last_ok rtt_ms removal_window reuse_in_s drain "
    "left total deadline connections messages_in process cpu rss fds address faults clients connected reconnecting "
    "audit lost delivered clients_state node attempt next_at delay_s processes kind status started_at restarts exit "
    "unacked lagging retransmits resumes ring log resync stale feeds breakers retry_in_s resume_ms p50 p99 published "
    "resyncs rewound overdue channel name how replayed handover open half_open gap forked "
    "backends n1 c1 redis gateway odd client old new outcome ms fault target ttl_s id actor op user"
)
FIELDS = tuple(WORDS.split())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**320), 10**320),
    st.floats(allow_nan=False),
    st.sampled_from([EVIL, "online", "removed", "draining", "exited", "frozen", "waiting", "connected", "x" * 5_000]),
    st.sampled_from([T0 - 5, T0, T0 + 5, 0, 1, 20]),
)
STATES = st.dictionaries(
    st.sampled_from([*FIELDS, EVIL]),
    st.recursive(
        SCALARS,
        lambda inner: (
            st.dictionaries(st.sampled_from([*FIELDS, EVIL]), inner, max_size=5) | st.lists(inner, max_size=3)
        ),
        max_leaves=12,
    ),
    max_size=8,
)
PEERS = st.sampled_from(["n1", "checker", "fleet", "supervisor", "gateway", EVIL])
INPUTS: st.SearchStrategy[Input] = st.one_of(
    st.builds(says, PEERS, STATES, st.floats(T0, T0 + 9)),
    st.builds(
        lambda source, seq, kind, fields: Happened(
            event=EventFrame(source=source, boot=BOOT, seq=seq, at=T0, kind=kind, fields=fields), heard_at=T0
        ),
        PEERS,
        st.integers(0, 50),
        st.sampled_from([*sorted(KINDS), EVIL]),
        STATES,
    ),
    st.builds(lambda name: PeerGone(id=name, reason=EVIL, at=T0), PEERS),
    st.builds(lambda name: PeerGarbage(id=name, reason=EVIL * 100, at=T0), PEERS),
    st.builds(seen, PEERS),
    st.builds(entries, PEERS),
    st.builds(
        lambda name, state: VerdictsSeen(
            verdicts=(Verdict(node=name, state=state, reason=EVIL, epoch=1, version=1, at=T0),), at=T0
        ),
        PEERS,
        st.sampled_from(NodeState),
    ),
)


def leaves(value: object) -> Iterator[object]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def check(model: ClusterModel, now: float) -> None:
    frame = build_frame(model, now)
    elsewhere = tuple(build_frame(model, now, looking).detail for looking in (Looking(node="n1"), AT_TIMELINE))
    for leaf in leaves((frame, elsewhere)):
        if isinstance(leaf, str):
            assert all(char.isprintable() or char == "\ufffd" for char in leaf), leaf
            assert len(leaf) <= 300
        elif isinstance(leaf, float):
            assert math.isfinite(leaf)
        else:
            assert leaf is None or isinstance(leaf, bool | int)
    document: Json = frame_status(frame)
    json.dumps(document, allow_nan=False)
    for line in (*status_lines(frame), plain_status_line(frame), *map(plain_event_line, frame.events)):
        assert line.isprintable()


@settings(max_examples=400, deadline=None)
@given(st.lists(INPUTS, max_size=12), st.floats(T0, T0 + 100))
def test_nothing_that_peers_say_breaks_or_dirties_a_frame(told: list[Input], now: float) -> None:
    model = well()
    for item in told:
        model.apply(item)
    check(model, now)


def test_hostile_words_in_every_other_input_are_harmless() -> None:
    model = ClusterModel(EVIL)
    model.apply(StartProgress(steps=(StepSeen(EVIL, done=False, detail=EVIL, seconds=math.inf),), at=T0))
    model.apply(ActionAsked(key=1, text=EVIL, at=T0))
    model.apply(ActionAnswered(key=1, ok=False, message=EVIL * 100, at=T0))
    model.apply(RedisSeen(state="away", detail=EVIL, at=T0))
    model.apply(ProcessSample(id="n1", pid=1, cpu=1.0, rss=1, status=EVIL, at=T0))
    model.apply(seen(EVIL, profile={"name": EVIL, "removal_window_s": [1, 2]}))
    check(model, T0)
    rows = build_frame(model, T0).actions
    assert [(row.key, row.done, row.ok) for row in rows] == [(1, True, False)]


def test_an_action_that_was_not_answered_is_not_done() -> None:
    model = well()
    model.apply(ActionAsked(key=1, text="drain n1", at=T0))
    assert [(row.text, row.done) for row in build_frame(model, T0).actions] == [("drain n1", False)]


def test_building_a_frame_changes_nothing() -> None:
    model = well()
    model.apply(happened(ClientLost(client="c1", node="n1"), seq=1))
    first = build_frame(model, T0 + 1)
    build_frame(model, T0 + 900)
    assert build_frame(model, T0 + 1) == first
