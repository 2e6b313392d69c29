"""Timing profiles: every number of time in the cluster, in one place, with its reason.

A profile is a preset of timings and nothing else. Peers learn the numbers from the wire (`hello.profile` on the
admin socket, `welcome` for clients); nobody else keeps a copy.
"""

from dataclasses import dataclass
from typing import Final

from wsmon.protocol.frames import Json, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTiming:
    """One kind of check: asked every `interval_s`, answered within `timeout_s`, given up after `failures` in a row."""

    interval_s: float
    timeout_s: float
    failures: int

    def removal_window(self, *, round_trip_s: float = 0.0) -> tuple[float, float]:
        """Return the least and the greatest time from falling silent to being given up, in seconds.

        With interval I, timeout T and k failures these are (k-1)I+T, less one round trip, and kI+T: the last answer
        came at most an interval before the first question that stays open, and just after it at the latest.
        """
        least = (self.failures - 1) * self.interval_s + self.timeout_s - round_trip_s
        return least, self.failures * self.interval_s + self.timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectTiming:
    """How a client comes back: first delay uniform in [0, spread], then base × factor^(n-1) up to cap, ± jitter."""

    spread_s: float
    base_s: float
    factor: float
    cap_s: float
    jitter: float
    stable_s: float
    """The attempt counter starts again only after a connection was open this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One preset. All times in seconds."""

    name: str
    client_ping: ProbeTiming
    """Node pings its clients."""
    heartbeat: ProbeTiming
    """Checker pings a node on its admin socket."""
    http: ProbeTiming
    """Checker asks a node's `/health` on a fresh connection."""
    refused_gap_s: float
    """After the admin socket closed, two refused connects at least this far apart are hard evidence of death."""
    reconnect: ReconnectTiming
    connect_timeout_s: float
    """A client's patience with one attempt, from the TCP connect to the welcome."""
    hello_timeout_s: float
    """A node's patience with a client that has not said hello."""
    drain_deadline_s: float
    lease_ttl_s: float
    lease_renew_s: float
    resume_ttl_s: float
    """How long a session without a connection is kept."""
    flap_half_life_s: float
    """Half-life of the penalty that a removal costs a node."""
    tilt_gap_s: float
    """A checker that did nothing for longer than this does not judge for a while."""
    tilt_s: float
    """How long that while is."""
    ramp_s: float
    """Time over which a node that came back takes its full share of new connections again."""

    def to_object(self) -> JsonObject:
        """Return the numbers under the names they have on the wire."""
        document: JsonObject = {
            "name": self.name,
            "refused_gap_s": self.refused_gap_s,
            "removal_window_s": _window(self.heartbeat),
            "http_removal_window_s": _window(self.http),
            "flap_half_life_s": self.flap_half_life_s,
            "tilt_gap_s": self.tilt_gap_s,
            "tilt_s": self.tilt_s,
            "lease_ttl_s": self.lease_ttl_s,
            "drain_deadline_s": self.drain_deadline_s,
            "reconnect": {
                "spread_s": self.reconnect.spread_s,
                "base_s": self.reconnect.base_s,
                "factor": self.reconnect.factor,
                "cap_s": self.reconnect.cap_s,
                "jitter": self.reconnect.jitter,
                "stable_s": self.reconnect.stable_s,
            },
        }
        for name in ("client_ping", "heartbeat", "http"):
            probe: ProbeTiming = getattr(self, name)
            document[name] = {"interval_s": probe.interval_s, "timeout_s": probe.timeout_s, "failures": probe.failures}
        return document


def _window(probe: ProbeTiming) -> list[Json]:
    return [round(edge, 3) for edge in probe.removal_window()]


PRODUCTION: Final = Profile(
    name="production",
    # A phone that sleeps for a minute is not given up, one that left the net costs its node's memory for 100 s at most.
    client_ping=ProbeTiming(interval_s=30, timeout_s=10, failures=3),
    # A pause of up to 11 s, a long stop of a garbage collector or a live migration, never removes a node; silence of
    # more than 16 s always does. A node that answers at all answers within a few milliseconds: 1 s is for a lost packet
    # and its repetition.
    heartbeat=ProbeTiming(interval_s=5, timeout_s=1, failures=3),
    # Shows what heartbeats do not: that the node still accepts anybody. Half as often, since each costs a connection,
    # and with 2 s, since the first packet of a connection is repeated after 1 s.
    http=ProbeTiming(interval_s=10, timeout_s=2, failures=2),
    # The kernel takes back the sockets of a killed process within milliseconds; a server that is replaced in place has
    # its new socket within half a second, and must not be taken for dead.
    refused_gap_s=0.5,
    # The spread keeps the first wave of a 10,000-client node within what two survivors accept.
    reconnect=ReconnectTiming(spread_s=5, base_s=1, factor=2, cap_s=60, jitter=0.2, stable_s=30),
    # Three losses of the first packet of a connection: 1 + 2 s, and then some.
    connect_timeout_s=5,
    hello_timeout_s=5,
    # Below the 30 s after which service managers kill what they asked to end.
    drain_deadline_s=25,
    # Two renewals may be lost before another checker leads; nobody leads for longer than the lease.
    lease_ttl_s=6,
    lease_renew_s=2,
    resume_ttl_s=120,
    # The third removal within about a minute keeps a node out for two and a half; after ten minutes all is forgiven.
    flap_half_life_s=120,
    # A heartbeat's whole time has passed twice: whatever was measured across such a gap was measured on us.
    tilt_gap_s=2,
    # Every node was asked twice by then, and what was old in the sockets is read.
    tilt_s=10,
    ramp_s=30,
)

DEMO: Final = Profile(
    name="demo",
    # Production's ratios at a fifth of the time, so that a whole failover fits into a sentence on a stage.
    client_ping=ProbeTiming(interval_s=6, timeout_s=2, failures=3),
    heartbeat=ProbeTiming(interval_s=1, timeout_s=0.2, failures=3),
    http=ProbeTiming(interval_s=2, timeout_s=0.4, failures=2),
    # Not a fifth: how long a kernel takes to end a process does not depend on the profile.
    refused_gap_s=0.5,
    reconnect=ReconnectTiming(spread_s=1, base_s=0.2, factor=2, cap_s=12, jitter=0.2, stable_s=6),
    connect_timeout_s=2,
    # Not a fifth: starting fifty clients at once on a laptop takes its time.
    hello_timeout_s=5,
    # Not a fifth: what is shown is how gently clients move.
    drain_deadline_s=25,
    # Half, not a fifth: a laptop that is busy for a second must not lose its leader.
    lease_ttl_s=3,
    lease_renew_s=1,
    resume_ttl_s=120,
    flap_half_life_s=24,
    # Not a fifth: a busy laptop holds a process up for half a second now and then, and that is no standstill.
    tilt_gap_s=2,
    tilt_s=4,
    ramp_s=6,
)

TEST: Final = Profile(
    name="test",
    # As fast as two busy cores allow without a timeout that is only the scheduler's.
    client_ping=ProbeTiming(interval_s=1.5, timeout_s=0.5, failures=3),
    heartbeat=ProbeTiming(interval_s=0.5, timeout_s=0.2, failures=3),
    http=ProbeTiming(interval_s=1, timeout_s=0.4, failures=2),
    # As everywhere: a kernel takes the time that it takes.
    refused_gap_s=0.5,
    reconnect=ReconnectTiming(spread_s=0.3, base_s=0.1, factor=2, cap_s=2, jitter=0.2, stable_s=2),
    connect_timeout_s=1,
    hello_timeout_s=2,
    drain_deadline_s=10,
    # Redis shares the two cores with everything else: shorter leases are lost to nobody's fault.
    lease_ttl_s=2,
    lease_renew_s=0.5,
    resume_ttl_s=60,
    flap_half_life_s=12,
    tilt_gap_s=2,
    tilt_s=2,
    ramp_s=2,
)

PROFILES: Final = {profile.name: profile for profile in (PRODUCTION, DEMO, TEST)}
