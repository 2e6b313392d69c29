"""Faults of links: which there are, how long they last, and what they do to bytes."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.faults import (
    PIECE_BYTES_MIN,
    RETRANSMIT_S,
    SEGMENT_BYTES,
    TTL_MAX_S,
    VALUES,
    Bandwidth,
    Blackhole,
    Lane,
    Latency,
    Link,
    LinkFault,
    LinkFaults,
    Loss,
    Reset,
    Reshaped,
    Shape,
    Way,
    check_ttl,
    decode_shape,
    dice_of,
    links,
)
from wsmon.errors import OperationRefusedError
from wsmon.protocol.events import FaultEnded, FaultStarted

# Values


@pytest.mark.parametrize(
    ("fault", "value", "shape"),
    [
        ("latency", "200ms", Latency(0.2)),
        ("latency", "1.5s", Latency(1.5)),
        ("latency", "200ms±50ms", Latency(0.2, 0.05)),
        ("latency", "1s~200ms", Latency(1.0, 0.2)),
        ("latency", "1s+-1s", Latency(1.0, 1.0)),
        ("loss", "5%", Loss(0.05)),
        ("loss", "0.5%", Loss(0.005)),
        ("bandwidth", "64kB/s", Bandwidth(64_000)),
        ("bandwidth", "500B/s", Bandwidth(500)),
        ("bandwidth", "1.5MB/s", Bandwidth(1.5e6)),
        ("blackhole", None, Blackhole(Way.BOTH)),
        ("blackhole", "to", Blackhole(Way.TO)),
        ("blackhole", "from", Blackhole(Way.FROM)),
        ("reset", None, Reset()),
    ],
)
def test_values_are_read_as_people_write_them(fault: str, value: str | None, shape: Shape) -> None:
    assert decode_shape(LinkFault(fault), value) == shape


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("latency", None),
        ("latency", ""),
        ("latency", "200"),
        ("latency", "-1s"),
        ("latency", "0ms"),
        ("latency", "61s"),
        ("latency", "10ms±20ms"),
        ("latency", "1s\n"),
        ("latency", "٣s"),  # A digit, but not one of ours.
        ("loss", "0%"),
        ("loss", "91%"),
        ("loss", "5"),
        ("bandwidth", "99B/s"),
        ("bandwidth", "1001MB/s"),
        ("bandwidth", "64k"),
        ("blackhole", "up"),
        ("reset", "now"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_those_that_do(fault: str, value: str | None) -> None:
    with pytest.raises(OperationRefusedError) as caught:
        decode_shape(LinkFault(fault), value)
    assert caught.value.code == "bad_argument"
    assert VALUES[LinkFault(fault)] in caught.value.message


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, TTL_MAX_S + 1, math.inf, math.nan])
def test_a_fault_has_to_end(ttl_s: float) -> None:
    with pytest.raises(OperationRefusedError, match="ttl_s"):
        check_ttl(ttl_s)
    assert check_ttl(TTL_MAX_S) == TTL_MAX_S


# Links


def test_links_are_named_after_who_calls_whom() -> None:
    processes = [("redis", "redis"), ("n1", "node"), ("n2", "node"), ("checker", "checker"), ("checker2", "checker")]
    found = links([*processes, ("gateway", "gateway"), ("fleet", "fleet")])
    assert {name for name, link in found.items() if link.main} == {
        *("n1-redis", "n2-redis", "checker-redis", "checker-n1", "checker-n2", "checker2-redis", "checker2-n1"),
        *("checker2-n2", "gateway-redis", "gateway-n1", "gateway-n2", "fleet-gateway"),
    }
    assert {name for name, link in found.items() if not link.main} == {"n1-n2", "n2-n1"}
    assert found["checker-n2"] == Link("checker", "n2")


def test_a_fault_begins_and_ends_by_itself() -> None:
    faults = LinkFaults()
    assert faults.deadline == math.inf
    faults.start("n1-redis", Latency(0.2), "200ms", 10.0, now=5.0)
    assert faults.take() == (
        Reshaped("n1-redis"),
        FaultStarted(fault="latency", target="n1-redis", value="200ms", ttl_s=10.0),
    )
    assert faults.shapes("n1-redis") == (Latency(0.2),)
    assert faults.value("n1-redis", "latency") == "200ms"
    assert faults.deadline == 15.0
    faults.tick(14.9)
    assert faults.take() == ()
    faults.tick(15.0)
    assert faults.take() == (Reshaped("n1-redis"), FaultEnded(fault="latency", target="n1-redis"))
    assert faults.shapes("n1-redis") == ()
    assert faults.value("n1-redis", "latency") == ""
    assert faults.deadline == math.inf


def test_faults_of_one_link_add_up_and_one_of_the_same_kind_gives_way() -> None:
    faults = LinkFaults()
    link = Link("n1", "redis")
    faults.start(link.name, Latency(0.2), "200ms", 10.0, now=0.0)
    faults.start(link.name, Loss(0.1), "10%", 5.0, now=0.0)
    assert faults.state([link]) == {"n1-redis": {"fault": "latency+loss"}}
    faults.take()
    faults.start(link.name, Latency(0.5), "500ms", 2.0, now=1.0)
    assert faults.take() == (
        Reshaped("n1-redis"),
        FaultEnded(fault="latency", target="n1-redis"),
        Reshaped("n1-redis"),
        FaultStarted(fault="latency", target="n1-redis", value="500ms", ttl_s=2.0),
    )
    assert set(faults.shapes(link.name)) == {Loss(0.1), Latency(0.5)}
    faults.tick(3.0)
    assert faults.shapes(link.name) == (Loss(0.1),)


def test_a_refused_lifetime_changes_nothing() -> None:
    faults = LinkFaults()
    faults.start("n1-redis", Latency(0.2), "200ms", 10.0, now=0.0)
    faults.take()
    with pytest.raises(OperationRefusedError):
        faults.start("n1-redis", Latency(0.9), "900ms", -1.0, now=1.0)
    assert faults.take() == ()
    assert faults.shapes("n1-redis") == (Latency(0.2),)
    assert faults.deadline == 10.0


def test_heal_ends_the_faults_of_one_link_or_of_all() -> None:
    faults = LinkFaults()
    for name in ("a-b", "c-d"):
        faults.start(name, Reset(), "", 60.0, now=0.0)
    faults.take()
    assert faults.heal("a-b", dry_run=True) == ("a-b",)
    assert faults.take() == ()
    assert faults.heal("a-b") == ("a-b",)
    assert faults.take() == (Reshaped("a-b"), FaultEnded(fault="reset", target="a-b"))
    assert faults.heal("a-b") == ()
    assert faults.heal() == ("c-d",)
    assert faults.deadline == math.inf


def test_links_between_nodes_are_shown_only_while_they_are_broken() -> None:
    faults = LinkFaults()
    known = [Link("n1", "redis"), Link("n1", "n2", main=False)]
    assert faults.state(known) == {"n1-redis": {}}
    faults.start("n1-n2", Blackhole(Way.BOTH), "", 1.0, now=0.0)
    assert faults.state(known) == {"n1-redis": {}, "n1-n2": {"fault": "blackhole"}}


# Bytes


def lane(*shapes: Shape, way: Way = Way.TO, seed: int = 1) -> Lane:
    made = Lane(way, Random(seed))
    made.reshape(shapes, 0.0)
    return made


def arrivals(made: Lane) -> list[tuple[float, bytes]]:
    """Return when what comes out, as far as it comes by itself."""
    found = []
    while (due := made.deadline) < math.inf:
        found += [(due, data) for data in made.take(due)]
    return found


def test_without_faults_bytes_pass_at_once() -> None:
    made = lane()
    assert (made.clear, made.empty) == (True, True)
    made.put(b"abc", 1.0)
    assert (made.clear, made.empty) == (False, False)
    assert made.take(1.0) == (b"abc",)
    assert (made.clear, made.empty, made.deadline) == (True, True, math.inf)


def test_latency_delays_and_keeps_the_distance() -> None:
    made = lane(Latency(0.2))
    made.put(b"a", 1.0)
    made.put(b"b", 1.05)
    assert made.take(1.19) == ()
    assert arrivals(made) == [(1.2, b"a"), (1.25, b"b")]


def test_jitter_stays_in_its_range_and_nothing_overtakes() -> None:
    made = lane(Latency(0.2, 0.1))
    for number in range(50):
        made.put(bytes([number]), number / 1_000)
    found = arrivals(made)
    assert b"".join(data for _, data in found) == bytes(range(50))
    delays = [due - number / 1_000 for number, (due, _) in enumerate(found)]
    assert len({round(delay, 6) for delay in delays}) > 3
    assert all(0.1 <= delay <= 0.3 for delay in delays)


def test_a_slow_link_hands_on_a_little_at_a_time() -> None:
    made = lane(Bandwidth(10_000))
    made.put(bytes(5_000), 0.0)
    assert made.waiting == 5_000
    found = arrivals(made)
    assert max(len(data) for _, data in found) == 500
    assert found[-1][0] == pytest.approx(0.5)
    made.put(bytes(100), 2.0)  # What was not used is not saved up.
    assert arrivals(made)[-1][0] == pytest.approx(2.01)


def test_the_slowest_links_hand_on_a_little_all_the_same() -> None:
    made = lane(Bandwidth(100))
    made.put(bytes(PIECE_BYTES_MIN * 3), 0.0)
    assert [len(data) for _, data in arrivals(made)] == [PIECE_BYTES_MIN] * 3


def test_a_loss_costs_a_retransmission_and_holds_up_what_follows() -> None:
    made = lane(Loss(0.5))
    for number in range(40):
        made.put(bytes([number]), 0.0)
    found = arrivals(made)
    assert b"".join(data for _, data in found) == bytes(range(40))
    dues = [due for due, _ in found]
    assert dues == sorted(dues)
    steps = {round(due / RETRANSMIT_S) for due in dues}
    assert steps <= {0, 1, 3, 7, 15, 31, 63}
    assert len(steps) > 1


def test_a_rare_loss_is_seen_as_often_as_it_should_be() -> None:
    dice = Random(7)
    hit = 0
    for _ in range(2_000):
        made = Lane(Way.TO, dice)
        made.reshape((Loss(0.05),), 0.0)
        made.put(b"x", 0.0)
        hit += made.deadline > 0
    assert 70 <= hit <= 130


def test_long_data_is_hit_more_often_than_short() -> None:
    def hits(size: int) -> int:
        dice, found = Random(3), 0
        for _ in range(300):
            made = Lane(Way.TO, dice)
            made.reshape((Loss(0.05),), 0.0)
            made.put(bytes(size), 0.0)
            found += made.deadline > 0
        return found

    assert hits(20 * SEGMENT_BYTES) > 4 * hits(1)


@pytest.mark.parametrize(
    ("hole", "way", "stuck"),
    [
        (Way.TO, Way.TO, True),
        (Way.TO, Way.FROM, False),
        (Way.FROM, Way.TO, False),
        (Way.FROM, Way.FROM, True),
        (Way.BOTH, Way.TO, True),
        (Way.BOTH, Way.FROM, True),
    ],
)
def test_a_black_hole_has_a_direction(hole: Way, way: Way, *, stuck: bool) -> None:
    made = lane(Blackhole(hole), way=way)
    made.put(b"x", 1.0)
    assert made.take(1e9) == (() if stuck else (b"x",))


def test_what_fell_into_a_black_hole_arrives_when_it_closes() -> None:
    made = lane(Blackhole(Way.TO), Latency(0.1))
    made.put(b"a", 1.0)
    made.put(b"b", 2.0)
    made.end(3.0)
    assert (made.deadline, made.waiting) == (math.inf, 2)
    made.reshape((Latency(0.1),), 10.0)
    assert made.deadline == pytest.approx(10.1)
    made.reshape((), 10.0)
    assert made.take(10.0) == (b"a", b"b", b"")
    assert made.empty


def test_a_reset_is_not_the_bytes_business() -> None:
    made = lane(Reset())
    made.put(b"a", 1.0)
    assert made.take(1.0) == (b"a",)


def test_one_seed_falls_the_same_way_again_and_every_lane_in_its_own() -> None:
    def roll(seed: int | str) -> list[float]:
        dice = dice_of(seed)
        return [dice().random() for _ in range(3)]

    assert roll(5) == roll(5)
    assert len({*roll(5), *roll(6), *roll("n1-redis")}) == 9


SHAPES = st.lists(
    st.one_of(
        st.builds(Latency, st.floats(0.001, 5), st.just(0.0)),
        st.builds(lambda delay_s: Latency(delay_s, delay_s), st.floats(0.001, 5)),
        st.builds(Loss, st.floats(0.01, 0.9)),
        st.builds(Bandwidth, st.floats(100, 1e6)),
        st.builds(Blackhole, st.sampled_from(Way)),
        st.just(Reset()),
    ),
    max_size=3,
).map(tuple)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "take", "reshape"]), st.binary(max_size=300), SHAPES), max_size=30
    ),
    seed=st.integers(0, 99),
)
def test_whatever_happens_no_byte_is_lost_doubled_or_overtaken(
    steps: list[tuple[str, bytes, tuple[Shape, ...]]], seed: int
) -> None:
    made, now = Lane(Way.TO, Random(seed)), 0.0
    sent = b""
    came: list[bytes] = []
    for op, data, shapes in steps:
        now += 0.1
        match op:
            case "put" if data:
                made.put(data, now)
                sent += data
            case "take":
                came += made.take(now)
            case _:
                made.reshape(shapes, now)
        assert made.deadline >= 0.0
        assert made.waiting == len(sent) - len(b"".join(came))
    made.end(now)
    made.reshape((), now)
    came += made.take(now)
    assert b"".join(came) == sent
    assert came[-1] == b""
    assert b"" not in came[:-1]
    assert made.empty
