"""Timing profiles: every number of time in the cluster, in one place, with its reason.

A profile is a preset of timings and nothing else. Peers learn the numbers from the wire (`hello.profile` on the
admin socket, `welcome` for clients); nobody else keeps a copy.
"""

from dataclasses import dataclass
from typing import Final

from wsmon.protocol.frames import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTiming:
    """One kind of check: asked every `interval_s`, answered within `timeout_s`, given up after `failures` in a row."""

    interval_s: float
    timeout_s: float
    failures: int

    def removal_window(self, *, round_trip_s: float = 0.0) -> tuple[float, float]:
        """Return the least and the greatest time from falling silent to being given up, in seconds."""
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
    ramp_s: float
    """Time over which a node that came back takes its full share of new connections again."""

    def to_object(self) -> JsonObject:
        """Return the numbers under the names they have on the wire."""
        least, most = self.heartbeat.removal_window()
        document: JsonObject = {
            "name": self.name,
            "refused_gap_s": self.refused_gap_s,
            "removal_window_s": [round(least, 3), round(most, 3)],
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


PRODUCTION: Final = Profile(
    name="production",
    # The numbers that operators of such systems expect: a phone that sleeps briefly is not given up.
    client_ping=ProbeTiming(interval_s=30, timeout_s=10, failures=3),
    heartbeat=ProbeTiming(interval_s=5, timeout_s=1, failures=3),
    http=ProbeTiming(interval_s=10, timeout_s=2, failures=2),
    refused_gap_s=0.5,
    # The spread keeps the first wave of a 10,000-client node within what two survivors accept.
    reconnect=ReconnectTiming(spread_s=5, base_s=1, factor=2, cap_s=60, jitter=0.2, stable_s=30),
    connect_timeout_s=5,
    hello_timeout_s=5,
    drain_deadline_s=25,
    lease_ttl_s=6,
    lease_renew_s=2,
    resume_ttl_s=120,
    flap_half_life_s=120,
    ramp_s=30,
)

DEMO: Final = Profile(
    name="demo",
    # Production's ratios at a fifth of the time, so that a whole failover fits into a sentence on a stage.
    client_ping=ProbeTiming(interval_s=6, timeout_s=2, failures=3),
    heartbeat=ProbeTiming(interval_s=1, timeout_s=0.2, failures=3),
    http=ProbeTiming(interval_s=2, timeout_s=0.4, failures=2),
    refused_gap_s=0.5,
    reconnect=ReconnectTiming(spread_s=1, base_s=0.2, factor=2, cap_s=12, jitter=0.2, stable_s=6),
    connect_timeout_s=2,
    hello_timeout_s=5,
    drain_deadline_s=25,
    lease_ttl_s=3,
    lease_renew_s=1,
    resume_ttl_s=120,
    flap_half_life_s=24,
    ramp_s=6,
)

TEST: Final = Profile(
    name="test",
    # As fast as two busy cores allow without a timeout that is only the scheduler's.
    client_ping=ProbeTiming(interval_s=1.5, timeout_s=0.5, failures=3),
    heartbeat=ProbeTiming(interval_s=0.5, timeout_s=0.2, failures=3),
    http=ProbeTiming(interval_s=1, timeout_s=0.4, failures=2),
    refused_gap_s=0.5,
    reconnect=ReconnectTiming(spread_s=0.3, base_s=0.1, factor=2, cap_s=2, jitter=0.2, stable_s=2),
    connect_timeout_s=1,
    hello_timeout_s=2,
    drain_deadline_s=10,
    lease_ttl_s=2,
    lease_renew_s=0.5,
    resume_ttl_s=60,
    flap_half_life_s=12,
    ramp_s=2,
)

PROFILES: Final = {profile.name: profile for profile in (PRODUCTION, DEMO, TEST)}
