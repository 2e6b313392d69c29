"""Events, registry entries, verdicts and descriptors: there and back, and refused by name."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsmon.errors import RemoteProtocolError, UsageError
from wsmon.protocol.codec import ENVELOPE
from wsmon.protocol.descriptor import Descriptor, decode_descriptor
from wsmon.protocol.events import (
    KINDS,
    ActionDone,
    ClockJumped,
    EventBody,
    FaultStarted,
    HeartbeatMissed,
    InputRefused,
    NodeStateChanged,
    ReconnectScheduled,
    Tilt,
    TunnelsCut,
    Unrecognised,
    body_fields,
    decode_body,
    kind_of,
)
from wsmon.protocol.fields import dump_object
from wsmon.protocol.frames import EventFrame, JsonObject
from wsmon.protocol.names import check_cluster_name
from wsmon.protocol.registry import Keys, RegistryEntry, Verdict, decode_entry, decode_verdict
from wsmon.protocol.states import NodeState, PeerKind


def frame(kind: str, fields: JsonObject) -> EventFrame:
    return EventFrame(source="s", boot=1, seq=1, at=1.0, kind=kind, fields=fields)


BODIES: tuple[EventBody, ...] = (
    NodeStateChanged(node="n1", old="online", new="suspect", reason="r", evidence={"failed": 1}, epoch=3),
    HeartbeatMissed(node="n1", count=1, needed=3),
    ReconnectScheduled(client="c1", attempt=2, delay_s=0.5, jitter=1.1, delay_source="backoff"),
    FaultStarted(fault="latency", target="checker-n1", value="200ms±50ms", ttl_s=10),
    InputRefused(what="entry", reason="registry entry of n7: it says that it is n8", node="n7"),
    Tilt(gap_s=3.2, freeze_s=10),
    ClockJumped(seconds=-7_200.0),
    TunnelsCut(node="n2", count=20),
    ActionDone(actor={"user": "u"}, op="kill", target="n1", ok=False),
    Unrecognised(kind="later", fields={"x": 1}),
)


@pytest.mark.parametrize("body", BODIES, ids=kind_of)
def test_an_event_body_comes_back_as_it_went(body: EventBody) -> None:
    assert decode_body(frame(kind_of(body), body_fields(body))) == body


def test_no_body_has_a_field_of_the_envelope() -> None:
    """It would give the event another identity on its way."""
    taken = {item.name for body in KINDS.values() for item in dataclasses.fields(body)} & set(ENVELOPE)
    assert taken == set()


@pytest.mark.parametrize(
    "fields",
    [
        {"client": "c1", "attempt": 1},
        {"client": 7, "attempt": 1, "delay_s": 1},
        {"client": "c1", "attempt": True, "delay_s": 1},
        {"client": "c1", "attempt": 1.5, "delay_s": 1},
        {"client": "c1", "attempt": 1, "delay_s": "soon"},
    ],
)
def test_an_event_with_wrong_fields_is_shown_as_it_is(fields: JsonObject) -> None:
    assert decode_body(frame("reconnect_scheduled", fields)) == Unrecognised(kind="reconnect_scheduled", fields=fields)


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=5))
def test_no_fields_break_the_reader(kind: str, fields: JsonObject) -> None:
    decode_body(frame(kind, fields))


def test_a_registry_entry_and_a_verdict_come_back_as_they_went() -> None:
    entry = RegistryEntry(
        kind=PeerKind.NODE, id="n1", boot=5, admin="ws+unix:///x", version="1", address="127.0.0.1:1", zone="a"
    )
    assert decode_entry(dump_object(entry.to_object())) == entry
    verdict = Verdict(
        node="n1", state=NodeState.SUSPECT, reason="r", epoch=1, version=2, at=3.0, boot=5, evidence={"failed": 1}
    )
    assert decode_verdict(dump_object(verdict.to_object()), node="n1") == verdict


@pytest.mark.parametrize("text", ["", "{}", '{"kind":"node"}', '{"kind":"x","id":"n","boot":1,"admin":"u"}'])
def test_a_broken_registry_entry_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_entry(text)


def test_a_descriptor_comes_back_as_it_went_and_another_version_is_refused() -> None:
    descriptor = Descriptor(cluster="demo", redis="unix:///r", supervisor="ws+unix:///s", pid=4)
    assert decode_descriptor(descriptor.to_text()) == descriptor
    with pytest.raises(RemoteProtocolError, match="version is 2"):
        decode_descriptor('{"version":2,"cluster":"x"}')


def test_all_keys_of_a_cluster_share_one_hash_slot() -> None:
    keys = Keys("demo")
    names = (
        keys.nodes,
        keys.node("n1"),
        keys.health,
        keys.health_log,
        keys.events,
        keys.checker_lease,
        keys.checker_epoch,
    )
    assert all(name.startswith("wsc:{demo}:") for name in names)


@pytest.mark.parametrize("name", ["", "a b", "../x", "A", "-x", "x" * 33, "a{b}"])
def test_names_that_could_leave_their_place_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_cluster_name(name)
