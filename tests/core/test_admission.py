"""Who comes in, who waits, and who comes again when."""

import heapq
import math
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_cluster.core.admission import (
    AHEAD_S,
    HANDSHAKES_PER_S_LEAST,
    Head,
    Line,
    Newcomers,
    Release,
    Speed,
    judge_head,
)

HEAD = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\n\r\n"


# Newcomers.


def test_the_oldest_newcomer_of_an_address_gives_way() -> None:
    made = Newcomers[int](most=10, most_per_address=3)
    assert [made.add(number, "a") for number in range(3)] == [None] * 3
    assert made.add(10, "b") is None
    assert made.add(3, "a") == 0
    assert made.add(4, "a") == 1
    assert len(made) == 4


def test_the_oldest_of_all_gives_way_when_there_are_too_many() -> None:
    made = Newcomers[int](most=3, most_per_address=3)
    assert [made.add(number, f"a{number}") for number in range(4)] == [None, None, None, 0]


def test_whoever_said_what_it_wants_does_not_count() -> None:
    made = Newcomers[int](most=3, most_per_address=1)
    made.add(1, "a")
    made.remove(1)
    made.remove(1)
    assert made.add(2, "a") is None
    assert len(made) == 1


# Heads.


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (HEAD, Head.UPGRADE),
        (HEAD + b"early", Head.UPGRADE),
        (b"GET /health HTTP/1.0\r\n\r\n", Head.REQUEST),
        (b"GET / HTTP/1.1\r\nX-Upgrade: websocket\r\n\r\n", Head.REQUEST),
        (b"G", Head.UNFINISHED),
        (HEAD[:-1], Head.UNFINISHED),
        (b"\x16\x03\x01", Head.GARBAGE),
        (b"get / HTTP/1.1\r\n\r\n", Head.GARBAGE),
        (b"GETTTTTTTTTTTTTTTTTTTTTT", Head.GARBAGE),
        (b"GET /\r\n\r\n", Head.GARBAGE),
        (b"GET / HTTP/2.0\r\n\r\n", Head.GARBAGE),
        (b"GET /" + b"x" * 200, Head.TOO_BIG),
        (HEAD + b"x" * 200, Head.TOO_BIG),
    ],
)
def test_heads_are_judged(data: bytes, head: Head) -> None:
    assert judge_head(data, most=200) is head


@given(st.integers(0, len(HEAD) - 1))
def test_a_request_is_never_garbage_on_its_way(end: int) -> None:
    expected = Head.UNFINISHED if end else Head.GARBAGE
    assert judge_head(HEAD[:end], most=200) is expected


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(data: bytes) -> None:
    judge_head(data, most=200)


# The nodes' speed.


def test_speed_is_measured_while_there_is_a_line() -> None:
    speed = Speed(400.0)
    for step in range(500):
        speed.done(step * 0.01, waiting=True, nodes=2)
    assert speed.per_node == pytest.approx(50, rel=0.05)


def test_without_a_line_callers_and_not_nodes_are_slow() -> None:
    speed = Speed(400.0)
    for step in range(500):
        speed.done(step * 0.01, waiting=step % 20 != 0, nodes=2)
        speed.done(step * 0.01, waiting=True, nodes=0)
    assert speed.per_node == 400.0


def test_a_measurement_of_other_nodes_begins_anew_and_no_speed_is_nothing() -> None:
    speed = Speed(400.0)
    speed.done(0.0, waiting=True, nodes=1)
    speed.done(0.4, waiting=True, nodes=2)
    speed.done(0.6, waiting=True, nodes=2)
    assert speed.per_node == 400.0
    for step in range(20):
        speed.done(1_000.0 * step, waiting=True, nodes=2)
    assert speed.per_node == HANDSHAKES_PER_S_LEAST


def test_what_was_done_without_a_line_shows_that_nodes_are_faster_and_never_that_they_are_slower() -> None:
    speed = Speed(400.0)
    assert not speed.measured
    for step in range(100):
        speed.done(step * 0.1, waiting=False, nodes=2)
    assert (speed.per_node, speed.measured) == (400.0, False)
    for step in range(2_000):
        speed.done(100 + step * 0.001, waiting=False, nodes=2)
    assert speed.per_node == pytest.approx(500, rel=0.01)
    assert speed.measured


# Letting go.


def let_go(count: int, *, per_s: float, spread_s: float = 1.0, most_s: float = 15.0) -> list[float]:
    release = Release(spread_s=spread_s, most_s=most_s)
    return [release.wait_s(100.0, per_s=per_s) for _ in range(count)]


def test_as_many_as_the_others_can_take_are_let_go_of_at_once_and_the_rest_at_their_pace() -> None:
    waits = let_go(600, per_s=200)
    assert waits[:100] == [0.0] * 100
    assert waits[100:] == pytest.approx([number / 200 for number in range(1, 501)])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread_s", [0.3, 1.0, 5.0])
def test_clients_that_spread_themselves_never_come_much_faster_than_they_can_be_taken(
    seed: int, spread_s: float
) -> None:
    dice = Random(seed)
    waits = let_go(2_000, per_s=200, spread_s=spread_s)
    came = sorted(wait_s + dice.uniform(0, spread_s) for wait_s in waits)
    assert came[-1] <= 2_000 / 200 + spread_s
    window_s = max(1.0, spread_s)
    fullest = max(sum(1 for at in came if start <= at < start + window_s) for start in range(12))
    assert fullest <= 1.6 * 200 * window_s


def test_clients_of_one_node_after_the_other_are_no_crowd() -> None:
    release = Release(spread_s=1.0, most_s=15.0)
    assert all(release.wait_s(number * 0.01, per_s=100) == 0.0 for number in range(1_000))
    assert [release.wait_s(20.0 + turn, per_s=100) for turn in range(3)] == [0.0] * 3


@pytest.mark.parametrize("spread_s", [0.3, 1.0, 5.0])
def test_connections_that_end_one_by_one_are_no_crowd_even_if_nodes_are_faster_than_believed(spread_s: float) -> None:
    release = Release(spread_s=spread_s, most_s=15.0)
    assert max(release.wait_s(number / 350, per_s=200) for number in range(2_000)) == 0.0
    waits = [release.wait_s(100.0, per_s=200) for _ in range(1_000)]
    assert max(waits) == pytest.approx(1_000 / 200 - spread_s / 2)


def test_nobody_is_kept_for_longer_than_he_would_wait_himself_and_those_too_many_are_shared_out() -> None:
    waits = let_go(5_000, per_s=100, most_s=10.0)
    assert max(waits) <= 10.0
    by_second = Counter(int(wait_s) for wait_s in waits)
    assert max(by_second.values()) <= 1.25 * 5_000 / 10


# The line.


def test_the_nth_that_is_turned_away_gets_the_nth_place() -> None:
    line = Line(wait_s=4, per_node=10)
    assert [line.arrive("a", 0.0, waiting=waiting, nodes=1) for waiting in range(40)] == [None] * 40
    told = [line.arrive("a", 0.5, waiting=40, nodes=1) for _ in range(25)]
    # Half of the four seconds before their turn; nine places a second, the tenth is kept in reserve.
    assert told == [2] * 9 + [3] * 9 + [4] * 7
    assert line.invited == 25
    assert line.turned_away("a", 0.5, waiting=40) == 2, "who has been in the line comes before"


def test_whoever_comes_when_told_finds_his_place_kept() -> None:
    line = Line(wait_s=4, per_node=10)
    told = [line.arrive(f"c{number}", 0.0, waiting=40, nodes=1) for number in range(9)]
    assert told == [2] * 9
    # Others come first and fill the line as far as they may.
    waiting = 0
    while line.arrive("other", 2.0, waiting=waiting, nodes=1) is None:
        waiting += 1
    assert waiting == 31
    assert [line.arrive(f"c{number}", 2.1, waiting=waiting + number, nodes=1) for number in range(9)] == [None] * 9
    assert line.invited == 1


def test_an_invitation_holds_a_little_longer_than_its_second() -> None:
    line = Line(wait_s=4, per_node=10)
    assert [line.arrive(f"c{number}", 0.0, waiting=40, nodes=1) for number in range(9)] == [2] * 9
    assert line.arrive("other", 4.9, waiting=39, nodes=1) == 2
    assert line.arrive("c1", 4.9, waiting=39, nodes=1) is None


def test_an_invitation_lapses_when_nobody_comes() -> None:
    line = Line(wait_s=4, per_node=10)
    assert line.arrive("a", 0.0, waiting=40, nodes=1) == 2
    assert line.arrive("b", 5.0, waiting=39, nodes=1) is None
    assert line.invited == 0


def test_without_nodes_nobody_waits_and_the_pace_is_that_of_before() -> None:
    line = Line(wait_s=4, per_node=10)
    line.arrive("a", 0.0, waiting=0, nodes=2)
    told = [line.arrive("a", 0.0, waiting=0, nodes=0) for _ in range(36)]
    assert told == [1] * 18 + [2] * 18
    assert line.capacity == 20


def test_nobody_is_sent_away_for_longer_than_two_minutes() -> None:
    line = Line(wait_s=4, per_node=5)
    told = [line.arrive("a", 0.0, waiting=40, nodes=1) for _ in range(1_000)]
    assert max(number for number in told if number) == AHEAD_S
    assert line.invited <= AHEAD_S * 5


@dataclass
class Storm:
    """Clients that come at once, and nodes that serve the line one after the other."""

    seed: int
    clients: int
    spread_s: float
    capacity: float
    believed: float
    addresses: int = 1
    lost: float = 0.0
    """Share of those told to come again that never do."""
    strangers: float = 0.0
    """Others that come each second, all through."""
    wait_s: float = 4.0
    now: float = 0.0
    most_waiting: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    returns: list[float] = field(default_factory=list)
    served: dict[int, float] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)

    def run(self, until: float = 200.0) -> None:
        dice = Random(self.seed)
        line = Line(wait_s=self.wait_s, per_node=self.believed)
        events = [(dice.uniform(0, self.spread_s), number) for number in range(self.clients)]
        number, at = self.clients, 0.0
        while self.strangers and (at := at + dice.expovariate(self.strangers)) < until:
            events.append((at, number))
            number += 1
        heapq.heapify(events)
        waiting: deque[int] = deque()
        free_at = 0.0
        while events or waiting:
            if waiting and (not events or max(free_at, self.now) <= events[0][0]):
                self.now = max(free_at, self.now)
                free_at = self.now + 1 / self.capacity
                self.served[waiting.popleft()] = self.now
                line.speed.done(self.now, waiting=bool(waiting), nodes=1)
                continue
            self.now, client = heapq.heappop(events)
            if self.refusals[client]:
                self.returns.append(self.now)
            caller = f"a{client % self.addresses}"
            told = line.arrive(caller, self.now, waiting=len(waiting), nodes=1)
            if told is None:
                waiting.append(client)
                self.most_waiting = max(self.most_waiting, len(waiting))
                continue
            self.refusals[client] += 1
            if dice.random() < self.lost:
                self.gone.add(client)
            else:
                # A round trip and a timer that is a little late.
                heapq.heappush(events, (self.now + told + dice.uniform(0.001, 0.05), client))

    @property
    def last(self) -> float:
        """When the last of the storm was served."""
        return max(at for client, at in self.served.items() if client < self.clients)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("addresses", [1, 10_000])
def test_a_storm_of_ten_thousand_is_served_in_nearly_ideal_time(seed: int, addresses: int) -> None:
    storm = Storm(seed, clients=10_000, spread_s=5, capacity=1_000, believed=1_000, addresses=addresses)
    storm.run()
    assert len(storm.served) == 10_000
    assert storm.last <= 1.05 * 10_000 / 1_000 + 0.1
    assert storm.most_waiting <= 4_010
    assert max(storm.refusals.values()) == 1, "nobody is turned away twice"
    by_second = Counter(math.floor(at) for at in storm.returns)
    assert max(by_second.values()) <= 1_000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("believed", [200.0, 500.0, 2_000.0, 4_000.0])
def test_a_wrong_belief_is_corrected_and_starves_nobody(seed: int, believed: float) -> None:
    storm = Storm(seed, clients=10_000, spread_s=5, capacity=1_000, believed=believed)
    storm.run()
    assert len(storm.served) == 10_000
    assert storm.last <= 1.4 * 10_000 / 1_000
    assert storm.most_waiting <= 4 * max(1_000, believed) + 1  # What is measured is exact up to its last digit.
    assert max(storm.refusals.values()) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_strangers_do_not_take_the_places_of_those_who_were_told_when_to_come(seed: int) -> None:
    storm = Storm(
        seed, clients=5_000, spread_s=2, capacity=500, believed=500, addresses=1_000_000, strangers=200, lost=0.1
    )
    storm.run(until=60)
    assert set(range(5_000)) <= storm.served.keys() | storm.gone
    assert storm.last <= 1.5 * 5_000 / (500 - 200)
    assert max(storm.refusals[client] for client in range(5_000)) <= 2
    assert storm.served.keys() | storm.gone == set(storm.refusals | storm.served)


@pytest.mark.parametrize("wait_s", [0.8, 1.6])
def test_a_short_line_serves_everybody_too(wait_s: float) -> None:
    storm = Storm(1, clients=3_000, spread_s=0.3, capacity=300, believed=400, wait_s=wait_s)
    storm.run()
    assert len(storm.served) == 3_000
    assert storm.last <= 1.35 * 3_000 / 300
    assert storm.most_waiting <= wait_s * 400 + 1
