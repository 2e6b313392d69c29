"""What the cluster can stand, for questions about what an action would do."""

from typing import Final

from wsmon.model.cluster import ClusterModel
from wsmon.model.reading import count, number, table
from wsmon.model.standing import Voices
from wsmon.protocol.states import PeerKind
from wsmon.views.frame import Forecast
from wsmon.views.text import name

LINKS_MAX: Final = 4_096


def forecast(model: ClusterModel, heard: Voices) -> Forecast:
    """Return it at `heard.now`; what silent peers said does not count."""
    now = heard.now
    rates = [number(peer.state, "handshakes_per_s") for peer in model.of_kind(PeerKind.GATEWAY) if peer.fresh(now)]
    checker = model.checker(now)
    panic = table({} if checker is None else checker.state, "panic")
    profiles = [peer.hello.profile for peer in model.peers.values() if peer.hello is not None and peer.hello.profile]
    spreads = [number(table(profile, "reconnect"), "spread_s") for profile in profiles]
    deadlines = [number(profile, "drain_deadline_s") for profile in profiles]
    supervisor = model.supervisor()
    links = table(supervisor.state, "links") if supervisor is not None and supervisor.fresh(now) else {}
    return Forecast(
        # Each gateway measures the same nodes: the one that has seen most knows best.
        handshakes_per_s=max((rate for rate in rates if rate is not None), default=None),
        spread_s=next((one for one in spreads if one is not None), None),
        panic_removed=count(panic, "removed"),
        panic_allowed=count(panic, "allowed"),
        drain_deadline_s=next((one for one in deadlines if one is not None), None),
        links=tuple(name(link) for link in list(links)[:LINKS_MAX]),
    )
