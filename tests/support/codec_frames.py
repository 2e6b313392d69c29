"""Frames of every type, as examples and as hypothesis strategies of all that both subprotocols can say alike."""

import base64
from typing import Any

from hypothesis import strategies as st

from sample_cluster.codecs.limits import CLIENT_FIELDS, KEY_MAX, NAME_MAX, SEQ_MAX, U32_MAX, WORD_MAX
from sample_cluster.core.messages import (
    Ack,
    Auth,
    ClientFrame,
    Error,
    GoAway,
    GoAwayReason,
    Hello,
    Level,
    Limits,
    Message,
    NodeFrame,
    Notice,
    Ping,
    Pong,
    Position,
    Publish,
    Published,
    Reconnect,
    Resume,
    Resync,
    Retry,
    Rewind,
    Subscribe,
    Subscribed,
    Timings,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)

PLACE = Position(epoch="00c0ffee", seq=7, nonce=2**32 - 1)
CLIENT_FRAMES: tuple[ClientFrame, ...] = (
    Hello(),
    Hello(token="t", client={"name": "x", "lang": "py"}, caps=("a", "b")),
    Resume(session="s", secret="x", attempt=2),
    Resume(
        session="s",
        secret="x",
        attempt=2,
        token="t",
        positions={"c": PLACE, "d": Position(epoch="00000000", seq=0, nonce=0)},
        pending={"c": 9},
        retries=(Retry(ago_ms=900, delay_ms=200, outcome="refused"),),
    ),
    Subscribe(id=1, channel="c"),
    Subscribe(id=0, channel="c", start="start"),
    Subscribe(id=2**32 - 1, channel="c", start=PLACE),
    Subscribe(id=1, channel="c", start=Position(epoch="00000000", seq=0, nonce=0)),
    Unsubscribe(id=1, channel="c"),
    Publish(channel="c", cseq=1, data=None),
    Publish(channel="c", cseq=1, data={"a": [1, 2.5, "ü", None, True]}, level=Level.SAFE),
    Publish(channel="c", cseq=2**53 - 1, data="eA==", encoding="base64", level=Level.SAFE),
    Publish(channel="c", cseq=1, data="", encoding="base64"),
    Ack(acks={"c": 3}),
    Ack(acks={}),
    Pong(ts=5),
    Auth(token="t"),
)
NODE_FRAMES: tuple[NodeFrame, ...] = (
    Welcome(
        session="s",
        secret="x",
        attempt=1,
        node="n1",
        boot=5,
        timings=Timings(ping_ms=1, pong_ms=2, misses=3, resume_ttl_ms=4, ack_ms=5),
        limits=Limits(max_frame=1, max_data=2, window=3),
        reconnect=Reconnect(spread_ms=1, base_ms=2, factor=2.0, cap_ms=3, jitter=0.2, stable_ms=4),
        resumed=("a",),
        fresh=("b",),
    ),
    Subscribed(id=1, channel="c", position=PLACE, replay=3),
    Unsubscribed(id=1, channel="c"),
    Message(channel="c", seq=1, nonce=2, prev=3, id="i", ts=4, data=None),
    Message(channel="c", seq=1, nonce=2, prev=3, id="i", ts=4, data="eA==", encoding="base64", replay=True),
    Message(channel="c", seq=1, nonce=0, prev=0, id="i", ts=0, data={"a": ["ü"]}),
    Published(channel="c", cseq=1, seq=2),
    Published(channel="c", cseq=1, seq=2, dup=True, replicas=1),
    Published(channel="c", cseq=1, seq=0, dup=True),
    Resync(channel="c", reason="trimmed", have=1, first=5, top=9, position=PLACE),
    Rewind(channel="c", to=4, void=(5, 9), position=PLACE),
    Ping(ts=5),
    GoAway(reason=GoAwayReason.DRAIN, retry_ms=0, spread_ms=1, deadline_ms=2, handover=False),
    GoAway(reason=GoAwayReason.OVERLOAD, retry_ms=3, spread_ms=0, deadline_ms=0, handover=True),
    Notice(component="redis", state="degraded"),
    Notice(component="redis", state="live"),
    Error(code="c", message=""),
    Error(code="c", message="m", temporary=True, id=1, retry_ms=2, channel="c", cseq=3),
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
"""What `data` can be."""

_flags = st.booleans()
_u32 = st.integers(0, U32_MAX)
_some_u32 = st.integers(1, U32_MAX)
_seqs = st.integers(0, SEQ_MAX)
_some_seqs = st.integers(1, SEQ_MAX)
_channels = st.text("azAZ09._:-", min_size=1, max_size=64)
_words = st.text(min_size=1, max_size=WORD_MAX)
_keys = st.text(min_size=1, max_size=KEY_MAX)
_names = st.text(min_size=1, max_size=NAME_MAX)
_positions = st.builds(Position, epoch=_u32.map(lambda epoch: f"{epoch:08x}"), seq=_seqs, nonce=_u32)
_data: st.SearchStrategy[tuple[Any, str | None]] = st.tuples(JSON, st.none()) | st.tuples(
    st.binary(max_size=64).map(lambda raw: base64.b64encode(raw).decode()), st.just("base64")
)
_retries = st.builds(Retry, ago_ms=_u32, delay_ms=_u32, outcome=_words)

CLIENT: st.SearchStrategy[ClientFrame] = st.one_of(
    st.builds(
        Hello,
        token=st.none() | _words,
        client=st.dictionaries(st.sampled_from(CLIENT_FIELDS), _names),
        caps=st.lists(_words, max_size=3).map(tuple),
    ),
    st.builds(
        Resume,
        session=_keys,
        secret=_keys,
        attempt=_some_seqs,
        token=st.none() | _words,
        positions=st.dictionaries(_channels, _positions, max_size=3),
        pending=st.dictionaries(_channels, _seqs, max_size=3),
        retries=st.lists(_retries, max_size=3).map(tuple),
    ),
    st.builds(Subscribe, id=_u32, channel=_channels, start=st.sampled_from(("now", "start")) | _positions),
    st.builds(Unsubscribe, id=_u32, channel=_channels),
    st.builds(
        lambda channel, cseq, data, level: Publish(
            channel=channel, cseq=cseq, data=data[0], encoding=data[1], level=level
        ),
        _channels,
        _some_seqs,
        _data,
        st.sampled_from(Level),
    ),
    st.builds(Ack, acks=st.dictionaries(_channels, _seqs, max_size=3)),
    st.builds(Pong, ts=_seqs),
    st.builds(Auth, token=_words),
)
MESSAGES: st.SearchStrategy[Message] = st.builds(
    lambda data, **fields: Message(data=data[0], encoding=data[1], **fields),
    data=_data,
    channel=_channels,
    seq=_some_seqs,
    nonce=_u32,
    prev=_u32,
    id=_keys,
    ts=_seqs,
    replay=_flags,
)
NODE: st.SearchStrategy[NodeFrame] = st.one_of(
    MESSAGES,
    st.builds(
        Welcome,
        session=_keys,
        secret=_keys,
        attempt=_some_seqs,
        node=_names,
        boot=_seqs,
        timings=st.builds(
            Timings, ping_ms=_some_u32, pong_ms=_some_u32, misses=_some_u32, resume_ttl_ms=_u32, ack_ms=_some_u32
        ),
        limits=st.builds(Limits, max_frame=_u32, max_data=_u32, window=_u32),
        reconnect=st.builds(
            Reconnect,
            spread_ms=_u32,
            base_ms=_u32,
            factor=st.floats(1, allow_infinity=False),
            cap_ms=_u32,
            jitter=st.floats(0, 1),
            stable_ms=_u32,
        ),
        resumed=st.lists(_channels, max_size=3).map(tuple),
        fresh=st.lists(_channels, max_size=3).map(tuple),
    ),
    st.builds(Subscribed, id=_u32, channel=_channels, position=_positions, replay=_u32),
    st.builds(Unsubscribed, id=_u32, channel=_channels),
    st.builds(Published, channel=_channels, cseq=_some_seqs, seq=_seqs, dup=_flags, replicas=st.none() | _some_u32),
    st.builds(Resync, channel=_channels, reason=_words, have=_seqs, first=_seqs, top=_seqs, position=_positions),
    st.builds(
        Rewind,
        channel=_channels,
        to=_seqs,
        void=st.tuples(_seqs, _seqs).map(lambda ends: (min(ends), max(ends))),
        position=_positions,
    ),
    st.builds(Ping, ts=_seqs),
    st.builds(
        GoAway,
        reason=st.sampled_from(GoAwayReason),
        retry_ms=_u32,
        spread_ms=_u32,
        deadline_ms=_u32,
        handover=_flags,
    ),
    st.builds(Notice, component=_words, state=st.sampled_from(("degraded", "live"))),
    st.builds(
        Error,
        code=_words,
        message=st.text(max_size=64),
        temporary=_flags,
        id=st.none() | _some_u32,
        retry_ms=st.none() | _some_u32,
        channel=st.none() | _channels,
        cseq=st.none() | _some_seqs,
    ),
)
